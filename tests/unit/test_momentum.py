"""Momentum against torch.optim, the eigenvalues of its iteration, the closed forms of its best rates and of its jitter, and its judging rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from demos.core.demo import Snapshot
from demos.momentum import (
    DEMO,
    FASTEST,
    TOLERANCE,
    Momentum,
    _best,
    _gain,
    _judge_curvature,
    _judge_noise,
    _limit,
    _map,
    _next,
    _plain,
    _Search,
    _Setting,
    _slowest,
    _starts,
    _trace,
    _Window,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")


def last(seed: int = 0, **values: object) -> Snapshot:
    *_, snapshot = DEMO.run(Momentum.parse(values), CPU, torch.Generator().manual_seed(seed))
    return snapshot


def exact(rate: float, beta: float, condition: float, nesterov: bool = False) -> float:
    """The larger spectral radius of the two 2×2 matrices that take (w, the iterate before) one step on."""
    radii = []
    for curvature in (1 / condition, 1.0):
        left = 1 - rate * curvature
        row = [left * (1 + beta), -left * beta] if nesterov else [left + beta, -beta]
        radii.append(abs(np.linalg.eigvals(np.array([row, [1.0, 0.0]]))).max())
    return float(max(radii))


def searched(p: Momentum, levels: int) -> tuple[_Search, _Setting, _Setting]:
    plane, plain = _map(p), _Window(_map(p).slow, FASTEST)
    for _ in range(levels):
        search = _Search(p, CPU, plane, plain)
        for _ in range(search.measured.records):
            search.measured.advance()
        best, fastest = search.best()
        plane, plain = plane.around(best.rate, best.beta), plain.around(fastest.rate, 0.0)
    return search, best, fastest


@pytest.mark.parametrize("settings", [[(0.5, 0.0), (1.2, 0.9), (3.9, 0.6)]])
def test_the_stack_walks_like_torch_sgd_in_a_loop(settings):
    """One network after the other, with autograd, under the same noise."""
    p = Momentum.parse({"steps": 40, "runs": 5, "condition": 30})
    generator = torch.Generator().manual_seed(2)
    start, noise = _starts(p, CPU, generator), torch.randn(40, 5, 2, generator=generator)
    trace = _trace(p, settings, start, noise)
    curvature = torch.tensor([1 / 30, 1.0])
    for i, (rate, beta) in enumerate(settings):
        for run in range(5):
            w = start[run].clone().requires_grad_()
            optimizer = torch.optim.SGD([w], lr=rate, momentum=beta)
            for step in range(40):
                optimizer.zero_grad()
                ((curvature * w**2).sum() / 2 + noise[step, run] @ w).backward()
                optimizer.step()
                torch.testing.assert_close(trace[i, run, step + 1], w.detach(), rtol=1e-3, atol=1e-4)


def test_nesterov_looks_ahead_to_where_torch_keeps_its_weights():
    curvature, rate, beta = torch.tensor([0.1, 1.0]), torch.tensor(0.8), torch.tensor(0.7)
    w = before = torch.tensor([3.0, 1.0])
    theirs = w.clone().requires_grad_()
    optimizer = torch.optim.SGD([theirs], lr=0.8, momentum=0.7, nesterov=True)
    for _ in range(30):
        w, before = _next(w, before, rate, beta, curvature, nesterov=True), w
        theirs.grad = curvature * theirs.detach()
        optimizer.step()
        torch.testing.assert_close(w + beta * (w - before), theirs.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["heavy-ball", "nesterov"])
def test_the_map_holds_the_spectral_radius_of_every_setting(method):
    p = Momentum.parse({"method": method, "condition": 10})
    search, _, _ = searched(p, 1)
    measured = search.log_rates().tolist()
    for i in range(0, len(measured), 11):
        rate, beta = float(search._rate[i]), float(search._beta[i])
        expected = exact(rate, beta, 10, method == "nesterov")
        assert measured[i] == pytest.approx(math.log(expected), abs=2e-3)
        assert (measured[i] > 0) == (rate > _limit(p, beta))


@pytest.mark.parametrize("method", ["heavy-ball", "nesterov"])
@pytest.mark.parametrize("condition", [1.1, 20.0])
def test_the_search_finds_the_best_rates_that_theory_knows(method, condition):
    p = Momentum.parse({"method": method, "condition": condition})
    _, best, fastest = searched(p, 3)
    assert best.log_rate == pytest.approx(_best(p).log_rate, rel=TOLERANCE)
    assert fastest.log_rate == pytest.approx(_plain(p).log_rate, rel=TOLERANCE)
    assert (best.rate, fastest.rate) == pytest.approx((_best(p).rate, _plain(p).rate), rel=0.01)
    assert best.beta == pytest.approx(_best(p).beta, abs=2e-3)


@pytest.mark.parametrize("method", ["heavy-ball", "nesterov"])
@pytest.mark.parametrize("condition", [1.5, 100.0, 1000.0])
def test_the_best_in_theory_is_what_it_says_and_nothing_near_is_better(method, condition):
    p, nesterov = Momentum.parse({"method": method, "condition": condition}), method == "nesterov"
    best = _best(p)
    assert exact(best.rate, best.beta, condition, nesterov) == pytest.approx(math.exp(best.log_rate), abs=1e-6)
    for factor in (0.7, 0.99, 1.01, 1.3):
        for shift in (-0.05, -0.002, 0.0, 0.002, 0.05):
            assert exact(best.rate * factor, max(0.0, best.beta + shift), condition, nesterov) > math.exp(best.log_rate)


def test_the_published_numbers_at_a_condition_of_100():
    p = Momentum.parse({"condition": 100})
    assert (math.exp(_best(p).log_rate), math.exp(_plain(p).log_rate)) == pytest.approx((9 / 11, 99 / 101))
    assert (_best(p).decade, _plain(p).decade, _gain(p)) == pytest.approx((11.5, 115, 10.0), rel=0.005)


@pytest.mark.parametrize(
    ("method", "rate", "beta", "said"),
    [
        ("heavy-ball", 3.3, 0.67, "that is the optimum"),
        ("nesterov", 1.32, 0.795, "that is the optimum"),
        ("heavy-ball", 1.0, 0.99, "√β = 0.995"),
        ("nesterov", 1.0, 0.99, "√(β(1−ηλmin)) = 0.99"),
        ("heavy-ball", 0.1, 0.1, "too little inertia"),
        ("heavy-ball", 2.03, 0.02, "bounces between the walls"),
        ("heavy-ball", 3.5, 0.67, "past the limit 3.34"),
        ("nesterov", 1.5, 0.67, "past the limit 1.43"),
    ],
)
def test_what_holds_a_setting_up_is_named(method, rate, beta, said):
    p = Momentum.parse({"method": method, "rate": rate, "beta": beta})
    factor, why = _slowest(p)
    assert factor == pytest.approx(exact(rate, beta, 100, method == "nesterov"), abs=1e-6)
    assert (factor >= 1) == (rate >= _limit(p, beta))
    assert said in why.en


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_the_jitter_at_rest_is_that_of_the_closed_form(beta):
    """Variance η(1+β)σ² / (λ(1−β)(2(1+β)−ηλ)) along each direction: ten times as large with β = 0.9 as without."""
    p = Momentum.parse({"task": "noise", "condition": 2, "steps": 600, "runs": 200, "rate": 0.05, "beta": beta})
    noise = torch.randn(600, 200, 2, generator=torch.Generator().manual_seed(5))
    variance = _trace(p, [(0.05, beta)], torch.zeros(200, 2), noise)[0, :, 300:].var((0, 1))
    for measured, curvature in zip(variance.tolist(), (0.5, 1.0), strict=True):
        expected = 0.05 * (1 + beta) / (curvature * (1 - beta) * (2 * (1 + beta) - 0.05 * curvature))
        assert measured == pytest.approx(expected, rel=0.05)


def judged(gain: float, found: float = 1.0, **values: object) -> tuple[str, str]:
    """Status and answer if this setting is `gain` times as fast as the best gradient descent, and the search finds `found` times the best rate."""
    p = Momentum.parse(values)
    logs = _plain(p).log_rate
    best, fastest = _best(p)._replace(log_rate=_best(p).log_rate * found), _plain(p)
    _, outcome = _judge_curvature(p, best, fastest, [[logs] * 5, [logs * gain * (1 + i * 1e-4) for i in range(5)]])
    assert outcome.verdict.explanation.zh and outcome.verdict.explanation.en
    return outcome.verdict.status, outcome.answer


def test_the_verdict_without_noise():
    assert judged(9.95) == ("reproduced", "tens")
    assert judged(9.95, found=0.95) == ("same_direction", "tens")
    assert judged(6.1) == ("same_direction", "tens")
    assert judged(6.1, method="nesterov") == ("reproduced", "tens")
    assert judged(1.5) == ("same_direction", "little")
    assert judged(0.99) == ("not_at_this_scale", "slower")
    assert judged(-3.0) == ("not_at_this_scale", "slower")
    assert judged(31.6, condition=1000) == ("reproduced", "more")


def judged_noise(early: float, late: float, spread: float = 0.01) -> tuple[str, str]:
    p = Momentum.parse(DEMO.presets["noise"].values)
    wobble = torch.linspace(1 - spread, 1 + spread, 8)
    rows = [torch.stack([torch.ones(8), torch.ones(8), ratio * wobble]) for ratio in (early, late)]
    figures, outcome = _judge_noise(p, *rows)
    assert all(not math.isnan(figure.value) for figure in figures)
    return outcome.verdict.status, outcome.answer


def test_the_verdict_with_noise():
    assert judged_noise(1.02, 0.97) == ("reproduced", "same")
    assert judged_noise(1.3, 0.97) == ("same_direction", "same")
    assert judged_noise(1.0, 0.7) == ("same_direction", "less")
    assert judged_noise(1.0, 1.5) == ("same_direction", "more")
    assert judged_noise(1.0, 1.0, spread=0.5) == ("same_direction", "same")
    assert judged_noise(1.0, 3.0) == ("not_at_this_scale", "more")
    assert judged_noise(1.0, math.nan) == judged_noise(1.0, math.inf) == judged_noise(1.0, 1e9) == ("not_at_this_scale", "diverges")


@pytest.mark.parametrize("seed", [11, 12])
def test_with_small_rates_and_noise_momentum_is_plain_sgd_at_a_larger_rate(seed):
    snapshot = last(seed, **DEMO.presets["noise"].values)
    assert snapshot.outcome and (snapshot.outcome.verdict.status, snapshot.outcome.answer) == ("reproduced", "same")


def test_at_large_rates_the_two_part_and_plain_sgd_diverges_first():
    snapshot = last(task="noise", rate=0.5, beta=0.9, condition=10, steps=300)
    assert snapshot.outcome and snapshot.outcome.answer == "diverges"
    assert snapshot.outcome.verdict.explanation.en.startswith("Plain SGD diverged")
    assert math.isfinite(snapshot.figures[-1].value) and math.isinf(snapshot.figures[-2].value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"noise": 0}, "Without noise"),
        ({"rate": 0.08}, "amplifies the noise"),
        ({"rate": 0.002, "beta": 0.98, "steps": 100}, "so the delay shows"),
        ({"runs": 5, "steps": 100}, "reaches beyond"),
    ],
)
def test_where_the_two_differ_the_reason_is_named(changed, said):
    snapshot = last(**{**DEMO.presets["noise"].values, **changed})
    assert snapshot.outcome and snapshot.outcome.verdict.status != "reproduced"
    assert said in snapshot.outcome.verdict.explanation.en


@pytest.mark.parametrize(
    "values",
    [
        {"condition": 1.1, "rate": FASTEST, "beta": 0.999, "runs": 5, "steps": 600},
        {"method": "nesterov", "condition": 1.1, "rate": 0.001, "beta": 0, "steps": 20},
        {"task": "noise", "rate": FASTEST, "beta": 0.999, "condition": 1000, "steps": 600},
        {"task": "noise", "rate": 0.001, "beta": 0, "noise": 0, "condition": 1.1, "steps": 20, "runs": 5},
        {"task": "noise", "method": "nesterov", "rate": 0.5, "beta": 0.5, "noise": 0, "steps": 600},
    ],
)
def test_extremes_end_with_a_verdict_and_texts_that_read(values):
    snapshot = last(**values)
    assert snapshot.outcome
    for text in (snapshot.outcome.verdict.explanation, *[chart.summary for chart in snapshot.charts]):
        assert "nan" not in text.en and "nan" not in text.zh
