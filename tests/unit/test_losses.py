"""Losses against autograd, NumPy's mean and median, a linear program for the line of MAE, and the judging rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from demos.core.demo import Snapshot
from demos.core.stacked import Adam
from demos.losses import (
    DEMO,
    LOSSES,
    NAMES,
    STEPS,
    Lines,
    Losses,
    constants,
    judge_constant,
    judge_line,
    judge_logit,
    logit_gradients,
    spoil,
)

torch.set_num_threads(1)


def last(seed: int = 0, **values: object) -> Snapshot:
    *_, snapshot = DEMO.run(Losses.parse(values), torch.device("cpu"), torch.Generator().manual_seed(seed))
    return snapshot


def best(y: torch.Tensor, name: str, delta: float = 1.345) -> torch.Tensor:
    *_, constant = constants(y, name, delta)
    return constant


@pytest.mark.parametrize("name", NAMES)
def test_slopes_are_the_derivatives_of_the_losses(name: str) -> None:
    r = torch.linspace(-4, 4, 40, dtype=torch.float64, requires_grad=True)  # 0 is not among them
    value, slope = LOSSES[name]
    (automatic,) = torch.autograd.grad(value(r, 0.7).sum(), r)
    assert torch.allclose(slope(r.detach(), 0.7), automatic, atol=1e-9)


def test_huber_is_that_of_pytorch() -> None:
    r = torch.linspace(-4, 4, 41)
    assert torch.allclose(LOSSES["Huber"][0](r, 0.7), torch.nn.functional.huber_loss(r, torch.zeros(41), delta=0.7, reduction="none"))


@pytest.mark.parametrize("n", [5, 8, 101])
def test_mse_finds_the_mean_and_mae_a_median(n: int) -> None:
    y = torch.randn(50, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    y[:, 0] += 100
    ordered = np.sort(y.numpy(), 1)
    assert np.allclose(best(y, "MSE"), y.numpy().mean(1), atol=1e-9)
    found = best(y, "MAE").numpy()
    assert (found >= ordered[:, (n - 1) // 2] - 1e-9).all() and (found <= ordered[:, n // 2] + 1e-9).all()
    if n % 2:
        assert np.allclose(found, np.median(y.numpy(), 1), atol=1e-9)


def test_huber_goes_from_the_median_to_the_mean() -> None:
    y = torch.tensor([[1.0, 2.0, 3.0, 4.0, 100.0]], dtype=torch.float64)
    assert float(best(y, "Huber", 1e-9)) == pytest.approx(3, abs=1e-8)
    assert float(best(y, "Huber", 1e6)) == pytest.approx(22)
    middle = float(best(y, "Huber", 10))
    assert float((middle - y).clamp(-10, 10).sum()) == pytest.approx(0, abs=1e-9)
    assert 3 < middle < 22


def test_lines_reach_least_squares_and_least_absolute_deviations() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 60, generator=generator)
    y = 0.6 * x + 0.5 * torch.randn(1, 60, generator=generator)
    y[:, :6] += 10
    lines = Lines(x.repeat(4, 1), y.repeat(4, 1), [1, 2, 3], 1.345)
    optimizer = Adam(lines, [0.15] * 4)
    for step in range(1, STEPS + 1):
        optimizer.step(lines.gradients(), 1 - step / (STEPS + 1))
    slope, intercept = np.polyfit(x[0].numpy(), y[0].numpy(), 1)
    assert (float(lines.slope[0]), float(lines.intercept[0])) == pytest.approx((slope, intercept), abs=1e-3)
    a, b = x[0].double().numpy(), y[0].double().numpy()  # the line of MAE as a linear program: minimise Σ t with t ≥ |residual|
    design = np.stack([a, np.ones(60)], 1)
    rows = np.block([[design, -np.eye(60)], [-design, -np.eye(60)]])
    solved = linprog(np.r_[0, 0, np.ones(60)], rows, np.r_[b, -b], bounds=[(None, None)] * 2 + [(0, None)] * 60)
    ours = np.abs(float(lines.slope[1]) * a + float(lines.intercept[1]) - b).sum()
    assert solved.fun <= ours + 1e-4 < solved.fun * 1.001


def test_spoiling_moves_the_asked_share() -> None:
    x, y = torch.randn(3, 40, generator=torch.Generator().manual_seed(4)), torch.zeros(3, 40)
    order = torch.rand(3, 40, generator=torch.Generator().manual_seed(5)).argsort(1)
    _, targets, hit = spoil(Losses(task="line", size=5), x, y, 0.2, order)
    assert hit.sum(1).tolist() == [8, 8, 8]
    assert (targets[hit] == -5).all() and (targets[~hit] == 0).all()
    assert (x[hit] > x.median(1, keepdim=True).values.expand_as(x)[hit]).all()
    features, _, hit = spoil(Losses(task="line", axis="x", size=5), x, y, 0.2, order)
    assert torch.equal(features - x > 4, hit)


def test_logit_gradients_are_those_of_autograd() -> None:
    z = torch.linspace(-6, 3, 19, requires_grad=True)
    p = z.sigmoid()
    plain = [torch.autograd.grad(loss.sum(), z, retain_graph=True)[0] for loss in (-p.log(), (p - 1) ** 2 / 2)]
    assert torch.allclose(logit_gradients(z.detach()), torch.stack(plain), atol=1e-6)
    assert logit_gradients(torch.tensor(math.log(0.01 / 0.99))).tolist() == pytest.approx([-0.99, -0.0098], abs=1e-4)


def judged(p: Losses, error: float) -> str:
    y = torch.randn(500, p.count, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    y[:, : round(p.outliers * p.count)] += p.size
    found = torch.stack([best(y, name) for name in NAMES])
    found[0] += error
    return judge_constant(p, y, found)[1].verdict.status


def test_the_constant_is_judged_by_its_distance_from_mean_and_median() -> None:
    assert [judged(Losses(count=21), error) for error in (0.0, 1e-4, 0.1)] == ["reproduced", "same_direction", "not_at_this_scale"]


@pytest.mark.parametrize(
    ("ratio", "status", "answer"), [(1.57, "reproduced", "more"), (1.2, "same_direction", "more"), (0.8, "not_at_this_scale", "less")]
)
def test_clean_data_are_judged_by_the_ratio_of_variances(ratio: float, status: str, answer: str) -> None:
    y = torch.randn(1000, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    mean = y.mean(1)
    found = torch.stack([mean, mean * ratio**0.5, mean, mean])
    _, outcome = judge_constant(Losses(outliers=0, count=9), y, found)
    assert (outcome.verdict.status, outcome.answer) == (status, answer)


@pytest.mark.parametrize(
    ("axis", "share", "ratio", "status"),
    [
        ("y", 0.1, 0.2, "reproduced"),
        ("y", 0.1, 0.5, "same_direction"),
        ("y", 0.1, 1.2, "not_at_this_scale"),
        ("x", 0.1, 0.9, "reproduced"),
        ("x", 0.1, 0.3, "same_direction"),
        ("x", 0.1, 0.1, "not_at_this_scale"),
        ("x", 0.0, 1.0, "not_at_this_scale"),
    ],
)
def test_the_line_is_judged_by_how_far_it_is_carried_off(axis: str, share: float, ratio: float, status: str) -> None:
    off = torch.tensor([1.0, ratio, 0.5, 0.5])[:, None] * torch.linspace(0.9, 1.1, 12)
    assert judge_line(Losses(task="line", axis=axis, outliers=share), off)[1].verdict.status == status


@pytest.mark.parametrize(
    ("ce", "mse", "gap", "status", "answer"),
    [
        (10.0, 200.0, 0.0, "reproduced", "much"),
        (10.0, 200.0, 1e-3, "same_direction", "much"),
        (10.0, 20.0, 0.0, "same_direction", "alike"),
        (10.0, 9.0, 0.0, "not_at_this_scale", "alike"),
        (10.0, math.inf, 0.0, "reproduced", "never"),
        (math.inf, math.inf, 0.0, "not_at_this_scale", "never"),
    ],
)
def test_the_logit_is_judged_by_the_steps_it_takes(ce: float, mse: float, gap: float, status: str, answer: str) -> None:
    counts = torch.tensor([ce, mse])[:, None] * torch.linspace(1, 1.01, 20)
    _, outcome = judge_logit(Losses(task="logit"), counts, gap)
    assert (outcome.verdict.status, outcome.answer) == (status, answer)


def test_past_one_half_mae_goes_with_the_outliers() -> None:
    means = [{f.name.en: f.value for f in last(outliers=share, draws=500).figures}["Mean estimate: MAE"] for share in (0.45, 0.55)]
    assert means[0] < 2
    assert means[1] > 8


def test_an_even_sample_has_an_interval_of_medians() -> None:
    outcome = last(count=10, draws=550).outcome
    assert outcome is not None
    assert outcome.verdict.status == "reproduced"
