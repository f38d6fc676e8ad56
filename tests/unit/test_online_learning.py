"""The stream and its exact theory, refits and regret against plain computations, the judging rules, and the edges."""

from __future__ import annotations

import math

import pytest
import torch

from demos.core.demo import Snapshot
from demos.online_learning import (
    DEMO,
    GROUPS,
    RADIUS,
    SIZE,
    best_rate,
    bounds,
    draw,
    expected_error,
    exponents,
    fits,
    judge_regret,
    judge_stream,
    least_loss,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parameters(**values: object):
    return DEMO.parameters.parse({"steps": 500, "runs": 16, **values})


def last_of(seed: int = 0, **values: object) -> Snapshot:
    *_, last = DEMO.run(parameters(**values), CPU, generator(seed))
    return last


def figures_of(last: Snapshot) -> dict[str, float]:
    return {figure.name.en: figure.value for figure in last.figures}


def test_the_stream_is_what_theory_supposes():
    p = parameters(steps=2000, runs=64, noise=0.7)
    stream = draw(p, 0.1, generator())
    assert torch.allclose(stream.x.norm(dim=2), torch.tensor(SIZE**0.5, dtype=torch.float64))
    noise = stream.y - (stream.x * stream.truth).sum(2)
    assert noise.std().item() == pytest.approx(0.7, rel=0.01)
    assert (stream.truth[1:] - stream.truth[:-1]).std().item() == pytest.approx(0.1, rel=0.01)
    assert torch.allclose(stream.truth[0].norm(dim=1), torch.ones(64, dtype=torch.float64))


@pytest.mark.parametrize("window", [None, 10])
def test_refits_equal_least_squares_on_the_samples_before(window):
    p = parameters()
    stream = draw(p, 0.05, generator())
    found = fits(stream, window)
    assert torch.equal(found[0], torch.zeros(16, 2, dtype=torch.float64))
    for t in (5, 10, 11, 200, 499):
        first = 0 if window is None else max(0, t - window)
        for run in (0, 7):
            expected = torch.linalg.lstsq(stream.x[first:t, run], stream.y[first:t, run, None]).solution[:, 0]
            torch.testing.assert_close(found[t, run], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("rate", "noise", "drift"), [(0.05, 0.5, 0.025), (0.4, 1.0, 0.1), (0.01, 0.0, 0.05), (0.9, 0.2, 0.0)])
def test_the_expected_error_is_exact(rate, noise, drift):
    """Against the recursion written out for the matrix of second moments, and against many runs of torch's own SGD."""
    moments, errors = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64), []
    identity = torch.eye(2, dtype=torch.float64)
    for _ in range(60):
        errors.append(moments.trace().item())
        fourth = (2 * moments + moments.trace() * identity) / 2  # E[x xᵀ M x xᵀ] for x uniform on the circle of radius √2
        moments = moments - 2 * rate * moments + rate**2 * fourth + (rate**2 * noise**2 + drift**2) * identity
    assert expected_error(rate, noise, drift, 0, 1) == pytest.approx(1)
    assert expected_error(rate, noise, drift, 20, 60) == pytest.approx(sum(errors[20:]) / 40, rel=1e-9)
    p = parameters(runs=128, noise=noise)
    stream = draw(p, drift, generator())
    w = torch.zeros(128, 2, dtype=torch.float64, requires_grad=True)
    optimizer, measured = torch.optim.SGD([w], lr=rate), []
    for t in range(60):
        measured.append((w.detach() - stream.truth[t]).square().sum(1))
        optimizer.zero_grad()
        ((stream.y[t] - (w * stream.x[t]).sum(1)).square() / 2).sum().backward()
        optimizer.step()
    late = torch.stack(measured[20:]).mean(0)
    assert late.mean().item() == pytest.approx(expected_error(rate, noise, drift, 20, 60), abs=4 * late.std().item() / 128**0.5 + 1e-12)


def test_theory_at_its_edges():
    assert expected_error(1.0, 0.5, 0.0, 10, 20) == math.inf
    rates = torch.linspace(0.02, 0.3, 561, dtype=torch.float64)
    level = (rates * 0.5**2 + 0.05**2 / rates) / (1 - rates)
    assert best_rate(0.5, 0.05) == pytest.approx(rates[level.argmin()].item(), abs=0.001)


def test_the_demo_measures_what_theory_expects():
    figures = figures_of(last_of(steps=2000, runs=64))
    assert figures["Error |w − w*|² (second half): online SGD"] == pytest.approx(figures["Error of online SGD in theory"], rel=0.1)


def test_mini_batches_take_the_sum_of_their_samples():
    """Without noise or drift and at a small rate, summed mini-batches go as fast as single samples."""
    figures = figures_of(last_of(noise=0.0, drift=0.0, rate=0.005, batch=2))
    single, batched = (figures[f"Error |w − w*|² (second half): {name}"] for name in ("online SGD", "mini-batch"))
    assert batched == pytest.approx(single, rel=0.1)


def test_the_best_in_hindsight():
    p = parameters(task="regret", noise=1.0)
    stream = draw(p, 0.0, generator())
    x, y = stream.x, stream.y
    sums = torch.stack([x[..., 0] ** 2, x[..., 0] * x[..., 1], x[..., 1] ** 2, x[..., 0] * y, x[..., 1] * y, y * y], 2).sum(0)
    found = least_loss(p, sums)
    for run in range(3):
        fit = torch.linalg.lstsq(x[:, run], y[:, run, None]).solution
        assert fit.norm() < RADIUS
        assert found[run].item() == pytest.approx(((y[:, run, None] - x[:, run] @ fit) ** 2).sum().item() / 2)
    coin = least_loss(parameters(task="regret", world="coin"), torch.tensor([[3.0, 4.0, 0, 0, 0, 0]]))
    assert coin.item() == -5 * RADIUS  # reached by the weights −RADIUS · (3, 4) / 5


def test_no_gradient_is_longer_than_its_bound():
    p = parameters(task="regret", noise=1.0)
    stream = draw(p, 0.0, generator())
    angle = torch.linspace(0, 2 * math.pi, 60, dtype=torch.float64)
    w = RADIUS * torch.stack([angle.cos(), angle.sin()], 1)
    gradients = (stream.x.flatten(0, 1) @ w.T - stream.y.flatten()[:, None]).abs() * SIZE**0.5
    assert 0.5 * bounds(p)[1] < gradients.max().item() <= bounds(p)[1]


def test_exponents_are_slopes_in_logs():
    marks = [16, 64, 256, 1024, 4096]
    t = torch.tensor(marks, dtype=torch.float64)
    regrets = torch.stack([t**0.5, 3 * t, t.log()]).T[:, :, None].expand(-1, -1, 2 * GROUPS)
    root, linear, logarithm = exponents(marks, regrets)
    assert root == pytest.approx([0.5] * GROUPS) and linear == pytest.approx([1.0] * GROUPS)
    assert 0.1 < logarithm[0] < 0.2


def runs_at(online: float, every: float) -> dict[str, list[float]]:
    return {"online": [online * (1 + d) for d in (-0.02, -0.01, 0, 0.01, 0.02)], "all": [every] * 5}


@pytest.mark.parametrize(
    ("drift", "online", "every", "status", "answer"),
    [
        (0.025, 1.0, 40, "reproduced", "far-more"), (0.025, 1.0, 4, "reproduced", "more"), (0.025, 1.5, 40, "same_direction", "far-more"),
        (0.025, 1.0, 0.7, "same_direction", "alike"), (0.025, 1.5, 0.1, "not_at_this_scale", "less"), (0.025, math.inf, 40, "not_at_this_scale", "more"),
        (0.0, 1.0, 0.01, "reproduced", "less"), (0.0, 1.0, 5, "same_direction", "more"),
    ],
)  # fmt: skip
def test_the_rule_for_streams(drift, online, every, status, answer):
    p = parameters(drift=drift)
    theory = expected_error(p.rate, p.noise, p.drift, 250, 500)
    assert judge_stream(p, runs_at(online * theory, every * theory)) == (status, answer)


@pytest.mark.parametrize(
    ("mean", "share", "status", "answer"),
    [(0.5, 0.1, "reproduced", "root"), (0.44, 0.1, "reproduced", "root"), (0.1, 0.1, "same_direction", "hardly"), (0.9, 0.1, "not_at_this_scale", "linear"), (0.5, 1.1, "not_at_this_scale", "root")],
)  # fmt: skip
def test_the_rule_for_regret(mean, share, status, answer):
    assert judge_regret([[mean - 0.01, mean, mean + 0.01]], share) == (status, answer)


EDGES = [
    {"rate": 2.0}, {"rate": 0.0005}, {"noise": 0.0}, {"noise": 0.0, "drift": 0.0}, {"drift": 0.2}, {"drift": 0.005}, {"window": 1000, "batch": 200},
    {"task": "regret"}, {"task": "regret", "noise": 0.0}, {"task": "regret", "rate": 2.0, "noise": 2.0}, {"task": "regret", "world": "coin"},
]  # fmt: skip


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_edges_end_in_an_explained_result(edge):
    last = last_of(**edge)
    assert last.outcome is not None and last.outcome.answer in DEMO.predict(parameters(**edge)).options
    assert not any(math.isnan(figure.value) for figure in last.figures)
    explanation = last.outcome.verdict.explanation.en
    assert "nan" not in explanation and " inf" not in explanation
    assert ("diverged" in explanation) == (edge == {"rate": 2.0})
