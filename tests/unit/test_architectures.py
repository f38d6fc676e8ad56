"""The stacked networks against torch.nn, what the CNN can and cannot see, the tasks, and the judging rule."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from demos.architectures import (
    CNN,
    FNN,
    NAMES,
    PATTERNS,
    RNN,
    STEPS,
    Architectures,
    build,
    clipped,
    jacobian,
    judge,
    judged,
    receptive_field,
    samples,
    weights_of,
    width_of,
)  # fmt: skip
from demos.architectures import (
    tested as places_of,
)

torch.set_num_threads(1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("task", ["lag", "shift"])
def test_the_cnn_is_pytorchs(task: str) -> None:
    p = Architectures(task=task, depth=2, kernel=4)
    network = CNN(p, 3, generator())
    x = torch.randn(p.runs, 5, 2, STEPS, generator=generator(1))
    ours = network.logits(x)
    for run in range(p.runs):
        h = x[run]
        for layer in range(p.depth):
            kernel, shift = network.weights[2 * layer][run], network.weights[2 * layer + 1][run, 0]
            weight = kernel.view(4, -1, 3).permute(2, 1, 0)  # (out, in, width)
            h = nn.functional.conv1d(nn.functional.pad(h, (3, 0)), weight, shift).relu()
        read = h[:, :, -1] if task == "lag" else h.amax(2)
        assert torch.allclose(ours[run], (read @ network.weights[-2][run])[:, 0] + network.weights[-1][run, 0], atol=1e-5)


def test_the_rnn_is_pytorchs() -> None:
    network = RNN(5, 6, generator())
    network.weights[2] = torch.randn(5, 1, 6, generator=generator(2))
    x = torch.randn(5, 7, 2, STEPS, generator=generator(1))
    for run in range(5):
        plain = nn.RNN(2, 6, batch_first=True)
        with torch.no_grad():
            plain.weight_hh_l0.copy_(network.weights[0][run].T)
            plain.weight_ih_l0.copy_(network.weights[1][run].T)
            plain.bias_ih_l0.copy_(network.weights[2][run, 0])
            plain.bias_hh_l0.zero_()
            last = plain(x[run].transpose(1, 2))[0][:, -1]
        assert torch.allclose(network.logits(x)[run], (last @ network.weights[3][run])[:, 0], atol=1e-5)


def test_the_fnn_takes_every_input() -> None:
    network = FNN(5, 4, generator())
    x = torch.randn(5, 7, 2, STEPS, generator=generator(1))
    first, _, last, _ = network.weights
    assert torch.allclose(network.logits(x)[2], ((x[2].reshape(7, -1) @ first[2]).relu() @ last[2])[:, 0], atol=1e-5)


@pytest.mark.parametrize(("depth", "kernel"), [(1, 1), (1, 3), (3, 3), (2, 5), (8, 7)])
def test_the_receptive_field_is_exact(depth: int, kernel: int) -> None:
    p = Architectures(depth=depth, kernel=kernel, runs=12)
    x = torch.randn(p.runs, 200, 2, STEPS, generator=generator(1))
    seen = jacobian(CNN(p, 6, generator()), x)
    reach = min(STEPS, receptive_field(p))
    assert not seen[: STEPS - reach].any()
    if depth <= 3:
        assert seen[STEPS - reach] > 0
    assert (jacobian(RNN(p.runs, 6, generator()), x) > 0).all()


def test_a_pooled_cnn_does_not_mind_a_shift() -> None:
    p = Architectures(task="shift", noise=0)
    network = CNN(p, 6, generator())
    x = torch.zeros(p.runs, 2, 2, STEPS)
    for sample, place in enumerate((6, 11)):
        x[:, sample, 0, place : place + 5] = torch.tensor(PATTERNS[0], dtype=torch.float32)
    logits = network.logits(x)
    assert torch.allclose(logits[:, 0], logits[:, 1], atol=1e-6)
    other = FNN(p.runs, 6, generator()).logits(x)
    assert not torch.allclose(other[:, 0], other[:, 1], atol=1e-2)


@pytest.mark.parametrize("values", [{}, {"depth": 1, "kernel": 7}, {"budget": 3000}, {"budget": 100, "depth": 5}])
def test_all_networks_stay_just_within_the_budget(values: dict[str, Any]) -> None:
    p = Architectures(**values)
    for kind in NAMES:
        width = width_of(kind, p)
        counted = sum(weight.numel() for weight in build(kind, p, generator()).weights) // p.runs
        assert counted == weights_of(kind, p, width)
        assert (counted <= p.budget or width == 1) and weights_of(kind, p, width + 1) > p.budget


def test_the_label_is_the_marked_bit() -> None:
    at = torch.tensor([[0, 3, 20]])
    x, y = samples(Architectures(), at, generator())
    for sample, lag in enumerate(at[0].tolist()):
        assert x[0, sample, 1].nonzero()[:, 0].tolist() == [STEPS - 1 - lag]
        assert (x[0, sample, 0, STEPS - 1 - lag] > 0) == (y[0, sample] > 0.5)


def test_a_pattern_lies_where_it_should() -> None:
    x, y = samples(Architectures(task="shift", noise=0), torch.tensor([[4, 17]]), generator())
    for sample, place in enumerate((4, 17)):
        assert x[0, sample, 0, place : place + 5].tolist() == list(PATTERNS[int(y[0, sample])])
        assert x[0, sample, 0].abs().sum() == 5


def test_clipping_is_for_each_network() -> None:
    gradients = [torch.tensor([[[3.0]], [[0.3]]]), torch.tensor([[[4.0]], [[0.4]]])]
    assert torch.cat(clipped(gradients), 2)[:, 0].tolist() == [pytest.approx([0.6, 0.8]), pytest.approx([0.3, 0.4])]


def made_up(p: Architectures, **levels: float) -> tuple[str, str]:
    """Status and answer where each kind of network has about this accuracy everywhere."""
    accuracy = {kind: [[levels[kind] + 0.002 * run] * len(places_of(p)) for run in range(p.runs)] for kind in NAMES}
    _, outcome = judge(p, accuracy, {kind: torch.zeros(STEPS) for kind in NAMES})
    assert outcome.verdict.explanation.en and outcome.verdict.explanation.zh
    return outcome.verdict.status, outcome.answer


def test_every_status_can_be_reached() -> None:
    lag, short = Architectures(), Architectures(max_lag=5)
    assert judged(lag) == list(range(7, 21)) and judged(short) == list(range(6))
    assert made_up(lag, fnn=0.6, rnn=0.95, cnn=0.5) == ("reproduced", "rnn")
    assert made_up(lag, fnn=0.6, rnn=0.6, cnn=0.5) == ("same_direction", "none")
    assert made_up(lag, fnn=0.6, rnn=0.5, cnn=0.5) == ("not_at_this_scale", "none")
    assert made_up(short, fnn=0.6, rnn=0.97, cnn=0.97) == ("reproduced", "several")
    assert made_up(short, fnn=0.6, rnn=0.97, cnn=0.8) == ("not_at_this_scale", "several")
    shift, one = Architectures(task="shift"), Architectures(task="shift", places="one")
    assert judged(shift) == list(range(9, 18)) and judged(one) == [8]
    assert made_up(shift, fnn=0.5, rnn=0.6, cnn=0.9) == ("reproduced", "cnn")
    assert made_up(shift, fnn=0.8, rnn=0.5, cnn=0.9) == ("same_direction", "several")
    assert made_up(one, fnn=0.95, rnn=0.9, cnn=0.9) == ("reproduced", "several")
    assert made_up(one, fnn=0.6, rnn=0.5, cnn=0.9) == ("not_at_this_scale", "cnn")
