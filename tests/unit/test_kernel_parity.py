"""Kernel parity against plain PyTorch convolutions, receptive fields from autograd, and the judging rules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from demos.core.demo import Snapshot
from demos.kernel_parity import (
    CHANNELS,
    DEMO,
    HALVING,
    SIZES,
    KernelParity,
    _stacks,
    centre_of_mass,
    convolved,
    coverage,
    drawn_weights,
    drift_in_theory,
    judge_halving,
    judge_shift,
    looked_at,
    padded,
    receptive_field,
    weights_of,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")


def last(seed: int = 0, **values: object) -> Snapshot:
    *_, snapshot = DEMO.run(KernelParity.parse(values), CPU, torch.Generator().manual_seed(seed))
    return snapshot


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("k", SIZES)
def test_one_side_is_what_pytorch_calls_same(k: int) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, CHANNELS, 11, 11, generator=generator)
    weights = drawn_weights("signed", 3, k, generator)
    ours = convolved(x, weights, "side", 0)
    for draw in range(3):  # the plain loop: one convolution for each draw
        plain = nn.functional.leaky_relu(nn.functional.conv2d(x[draw : draw + 1], weights[draw], padding="same"), 0.2)
        assert torch.allclose(ours[draw], plain[0], atol=1e-5)


def test_corners_pad_each_quarter_towards_another_corner() -> None:
    x = torch.ones(1, 4, 1, 1)
    assert [part.nonzero()[0].tolist() for part in padded(x, 2, "corners", 0)[0]] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert padded(x, 2, "alternate", 1)[0, 0].nonzero()[0].tolist() == [1, 1]


@pytest.mark.parametrize("scheme", ["side", "alternate", "corners"])
@pytest.mark.parametrize("k", SIZES)
def test_equal_weights_drift_exactly_as_theory_says(k: int, scheme: str) -> None:
    x = torch.zeros(1, CHANNELS, 61, 61)
    x[..., 30, 30] = 1
    for layer in range(5):
        x = convolved(x, drawn_weights("equal", 1, k, torch.Generator()), scheme, layer)
        expected = 30 - drift_in_theory(k, scheme, layer + 1)
        assert centre_of_mass(x)[0].tolist() == pytest.approx([expected, expected], abs=1e-4)
    assert float(x.sum()) == pytest.approx(CHANNELS, rel=1e-5)  # nothing is lost at the rim


def test_what_an_output_sees_is_its_gradient() -> None:
    generator = torch.Generator().manual_seed(2)
    for k in HALVING:
        field = torch.zeros(2, 5, 5)
        field[:, 2, 2] = 1
        state = generator.get_state()
        ours = looked_at(field, k, generator)
        generator.set_state(state)
        weights = torch.rand(2, 1, k, k, generator=generator)
        weights = weights / weights.sum((1, 2, 3), keepdim=True)
        x = torch.zeros(1, 2, 10, 10, requires_grad=True)
        nn.functional.conv2d(x, weights, stride=2, padding=(k - 1) // 2, groups=2)[0, :, 2, 2].sum().backward()
        assert x.grad is not None
        assert torch.allclose(ours, x.grad[0], atol=1e-6)


def test_coverage_is_even_where_the_stride_divides_the_kernel() -> None:
    assert {k: float(coverage(k, CPU).max() / coverage(k, CPU).min()) for k in (2, 3, 4, 5, 6)} == pytest.approx(
        {2: 1, 3: 4, 4: 1, 5: 2.25, 6: 1}
    )


def test_receptive_field_and_weights() -> None:
    assert [receptive_field(3, n) for n in (1, 2, 3)] == [3, 5, 7]
    assert receptive_field(2, 3) == 4
    assert (weights_of(3), weights_of(5)) == (9, 25)


def drifts(p: KernelParity, even: float, odd: float) -> torch.Tensor:
    """Made-up drifts a layer: `even` and `odd` on one side, none with the cures."""
    rows = [(odd if k % 2 else even) if scheme == "side" else 0.0 for k, scheme in _stacks(p)]
    return torch.tensor(rows)[:, None].repeat(1, 5) * p.depth


@pytest.mark.parametrize(
    ("weights", "even", "odd", "status", "answer"),
    [
        ("equal", 0.5, 0.0, "reproduced", "grows"),
        ("equal", 0.49, 0.0, "same_direction", "grows"),
        ("signed", 0.45, 0.05, "reproduced", "grows"),
        ("signed", 0.35, 0.05, "same_direction", "grows"),
        ("signed", 0.2, 0.0, "not_at_this_scale", "half"),
        ("signed", 0.0, 0.0, "not_at_this_scale", "none"),
        ("signed", 1.0, 0.0, "same_direction", "full"),
    ],
)
def test_the_drift_is_judged_by_its_distance_from_theory(weights: str, even: float, odd: float, status: str, answer: str) -> None:
    p = KernelParity(weights=weights)
    figures, outcome = judge_shift(p, drifts(p, even, odd))
    assert (outcome.verdict.status, outcome.answer) == (status, answer)
    assert figures[0].value == pytest.approx(even)


@pytest.mark.parametrize(
    ("odd", "even", "ratio", "status", "answer"),
    [
        (3.5, 0.0, 4.0, "reproduced", "odd"),
        (2.0, 0.0, 4.0, "same_direction", "odd"),
        (3.5, 0.0, 1.0, "not_at_this_scale", "odd"),
        (0.0, 3.5, 4.0, "same_direction", "even"),
        (0.0, 0.0, 4.0, "same_direction", "neither"),
    ],
)
def test_halving_is_judged_by_coverage_and_alignment(odd: float, even: float, ratio: float, status: str, answer: str) -> None:
    offsets = torch.tensor([even, odd, even, odd])[:, None].repeat(1, 5)
    _, outcome = judge_halving(KernelParity(task="halving"), offsets, {2: 1.0, 3: ratio, 4: 1.0, 5: 2.25, 6: 1.0})
    assert (outcome.verdict.status, outcome.answer) == (status, answer)


def test_a_run_measures_what_theory_says() -> None:
    four = {figure.name.en: figure.value for figure in last(kernel=4, depth=6).figures}
    assert four["Drift of 4×4, padded on one side"] == pytest.approx(0.5, abs=1e-4)
    assert four["Drift of 3×3"] == pytest.approx(0, abs=1e-4)
    outcome = last(kernel=5, depth=3, picture="digit", weights="positive").outcome
    assert outcome is not None
    assert (outcome.verdict.status, outcome.answer) == ("reproduced", "none")


@pytest.mark.parametrize("weights", ["equal", "positive", "signed"])
def test_the_largest_run_keeps_within_its_canvas(weights: str) -> None:
    outcome = last(kernel=6, depth=16, draws=5, weights=weights).outcome
    assert outcome is not None
    assert outcome.answer == "grows"
