"""Saddle points: each method against autograd or a plain loop, exact growth, the stacked Hessian against torch's own, and the rules."""

from __future__ import annotations

import math

import pytest
import torch

from demos.core.demo import Snapshot
from demos.saddle_points import (
    DEMO,
    METHODS,
    RATE,
    Look,
    Networks,
    SaddlePoints,
    escapes,
    judge_flat,
    judge_network,
    judge_saddle,
    move,
    rank_correlation,
    starts,
    surface,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")
NAMES = list(METHODS)


def walk(p: SaddlePoints, seed: int = 0) -> torch.Tensor:
    """(steps + 1, 5, draws, 2), as the demo walks."""
    generator = torch.Generator().manual_seed(seed)
    w = before = starts(p, generator).expand(len(METHODS), -1, -1)
    noise = p.noise * torch.randn(p.steps, p.draws, 2, generator=generator, dtype=torch.float64)
    path = [w]
    for step in range(p.steps):
        w, before = move(p, w, before, noise[step]), w
        path.append(w)
    return torch.stack(path)


def last(preset: str, **values: object) -> Snapshot:
    p = SaddlePoints.parse({**DEMO.presets[preset].values, **values})
    *_, snapshot = DEMO.run(p, CPU, torch.Generator().manual_seed(0))
    return snapshot


@pytest.mark.parametrize("task", ["saddle", "flat"])
def test_derivatives_agree_with_autograd(task: str) -> None:
    w = torch.tensor([[0.7, -0.4], [-1.2, 0.3]], dtype=torch.float64)
    _, gradient, curvature = surface(task, w)
    for k in range(2):
        torch.testing.assert_close(gradient[k], torch.autograd.functional.jacobian(lambda v: surface(task, v)[0], w[k]))
        torch.testing.assert_close(curvature[k].diag(), torch.autograd.functional.hessian(lambda v: surface(task, v)[0], w[k]))


@pytest.mark.parametrize("task", ["saddle", "flat"])
def test_the_stack_walks_as_plain_loops_do(task: str) -> None:
    """Against torch.optim.SGD for the first-order methods and an explicit solve with the Hessian for the second-order ones."""
    p = SaddlePoints(task=task, steps=20, noise=0.3, offset=0.01, draws=5)
    path = walk(p)
    generator = torch.Generator().manual_seed(0)
    begin = starts(p, generator)[0]
    noise = p.noise * torch.randn(p.steps, p.draws, 2, generator=generator, dtype=torch.float64)
    for name in METHODS:
        w = begin.clone().requires_grad_()
        optimizer = torch.optim.SGD([w], lr=p.rate, momentum=p.beta if name == "momentum" else 0)
        for step in range(p.steps):
            loss = surface(task, w)[0]
            if loss < -4:
                break
            optimizer.zero_grad()
            loss.backward()
            assert w.grad is not None
            if name in ("newton", "sfn"):
                values, vectors = torch.linalg.eigh(torch.autograd.functional.hessian(lambda v: surface(task, v)[0], w.detach()))
                with torch.no_grad():
                    w -= vectors @ ((vectors.T @ w.grad) / (values.abs() if name == "sfn" else values))
            else:
                w.grad += noise[step, 0] if name == "noise" else 0
                optimizer.step()
            torch.testing.assert_close(path[step + 1, NAMES.index(name), 0], w.detach(), rtol=1e-9, atol=1e-12)


def test_newton_lands_on_the_saddle_in_one_step_and_stays() -> None:
    path = walk(SaddlePoints(offset=0.5))[:, NAMES.index("newton")]
    assert path[1:].norm(dim=2).max() < 1e-15


def test_gradient_descent_grows_by_one_plus_two_eta_and_saddle_free_newton_doubles() -> None:
    p = SaddlePoints(rate=0.07, offset=1e-9, steps=20)
    y = walk(p)[..., 1]
    t = torch.arange(21, dtype=torch.float64)[:, None]
    torch.testing.assert_close(y[:, 0], y[0, 0] * 1.14**t, rtol=1e-12, atol=0)
    torch.testing.assert_close(y[:, 4], y[0, 0] * 2.0**t, rtol=1e-12, atol=0)


def test_exactly_on_the_ridge_gradient_descent_never_leaves() -> None:
    p = SaddlePoints(noise=0, draws=5)
    w = before = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(5, 5, 2)
    for _ in range(500):
        w, before = move(p, w, before, torch.zeros(5, 2, dtype=torch.float64)), w
    assert bool((w[..., 1] == 0).all())


def test_the_step_of_the_knowledge_base() -> None:
    """With η = 0.1 a y of 1e-6 needs 76 steps to reach 1."""
    assert math.ceil(math.log(1e6) / math.log(1.2)) == 76
    p = SaddlePoints(offset=1e-6, noise=0, steps=80, draws=5)
    w = before = torch.tensor([1.0, 1e-6], dtype=torch.float64).expand(5, 5, 2)
    path = [w]
    for _ in range(80):
        w, before = move(p, w, before, torch.zeros(5, 2, dtype=torch.float64)), w
        path.append(w)
    assert escapes("saddle", torch.stack(path))[0].tolist() == [76.0] * 5


def test_on_the_cube_newton_halves_x_and_gradient_descent_creeps() -> None:
    p = SaddlePoints(task="flat", steps=60, noise=0)
    x = walk(p)[..., 0]
    torch.testing.assert_close(x[60, 1], x[0, 1] / 2.0**60, rtol=1e-9, atol=0)
    torch.testing.assert_close(x[:, 1], x[:, 4])
    assert x[60, 0].min() > 0
    late = walk(SaddlePoints(task="flat", steps=1200, noise=0))[1200, 0, :, 0] * 3 * 0.1 * 1200
    assert late.tolist() == pytest.approx([1] * 12, rel=0.05)


# ---- the network -----------------------------------------------------------------------------------------------------


def test_hessians_agree_with_torchs_own() -> None:
    networks = Networks(SaddlePoints(task="network", hidden=3, draws=5), torch.Generator().manual_seed(0))
    hessians = networks.hessian()
    for k in (0, 4):
        expected = torch.autograd.functional.hessian(lambda w: networks.losses(w[None])[0], networks.w[k])
        torch.testing.assert_close(hessians[k], expected)
    torch.testing.assert_close(hessians, hessians.transpose(1, 2))


def test_losses_and_steps_agree_with_a_plain_network() -> None:
    networks = Networks(SaddlePoints(task="network", hidden=4, draws=5), torch.Generator().manual_seed(0))
    plain = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()
    w = networks.w[2]
    with torch.no_grad():
        for parameter, values in zip(plain.parameters(), w.split([8, 4, 4, 1]), strict=True):
            parameter.copy_(values.view_as(parameter))
    optimizer = torch.optim.SGD(plain.parameters(), lr=RATE)
    for _ in range(5):
        loss = (plain(networks.x)[:, 0] - networks.y).square().mean() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.testing.assert_close(networks.step()[2], loss.detach())
    torch.testing.assert_close(networks.w[2], torch.cat([parameter.detach().flatten() for parameter in plain.parameters()]))


def test_beside_the_saddle_of_all_zeros_every_unit_has_one_way_down() -> None:
    """At w = 0 only a unit's input and output weights interact: its Hessian block has eigenvalues ± |E[y·(x, 1)]| and zeros."""
    networks = Networks(SaddlePoints(task="network", hidden=4, draws=5), torch.Generator().manual_seed(0))
    networks.w = torch.zeros_like(networks.w)
    values = torch.linalg.eigvalsh(networks.hessian())[0]
    pull = torch.cat([networks.x, torch.ones(60, 1, dtype=torch.float64)], 1).T @ networks.y / 60
    torch.testing.assert_close(values[:4], -pull.norm().expand(4), rtol=1e-6, atol=1e-9)
    assert int((values < -1e-6).sum()) == 4


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [([1, 2, 3], [10, 20, 40], 1.0), ([1, 2, 3], [3, 2, 1], -1.0), ([1, 2, 3], [5, 5, 5], 0.0), ([1, 2, 2, 4], [1, 3, 2, 4], 0.9486833)],
)
def test_rank_correlation(a: list[float], b: list[float], expected: float) -> None:
    assert rank_correlation(a, b) == pytest.approx(expected, abs=1e-6)


# ---- rules -----------------------------------------------------------------------------------------------------------


def made_path(away: dict[str, int], newton_at: float = 0.0, steps: int = 60) -> torch.Tensor:
    """A path on the saddle on which each named method is far down from its step on, and the others stay near (0, 0)."""
    path = torch.full((steps + 1, 5, 5, 2), 1e-3, dtype=torch.float64)
    path[:, 1] = newton_at
    for name, step in away.items():
        path[step:, NAMES.index(name), :, 1] = 2.0
    path[:, 2] += 1e-6 * torch.arange(5, dtype=torch.float64)[:, None]
    return path


@pytest.mark.parametrize(
    ("away", "newton_at", "status", "answer"),
    [
        ({"noise": 20, "sfn": 20, "momentum": 30}, 0.0, "reproduced", "newton-gd"),
        ({"gd": 20, "noise": 20, "sfn": 20, "momentum": 30}, 0.0, "same_direction", "newton"),
        ({"momentum": 30}, 0.0, "same_direction", "other"),
        ({}, 0.0, "not_at_this_scale", "other"),
        ({"noise": 20, "sfn": 20, "momentum": 30}, 0.1, "not_at_this_scale", "newton-gd"),
    ],
)
def test_saddle_rule(away: dict[str, int], newton_at: float, status: str, answer: str) -> None:
    _, outcome = judge_saddle(SaddlePoints(), made_path(away, newton_at))
    assert (outcome.verdict.status, outcome.answer) == (status, answer)


@pytest.mark.parametrize(("leavers", "status"), [(5, "reproduced"), (2, "same_direction"), (0, "not_at_this_scale")])
def test_flat_rule(leavers: int, status: str) -> None:
    path = torch.full((21, 5, 5, 2), 0.1, dtype=torch.float64)
    path[10:, 2, :leavers, 0] = -1.5
    _, outcome = judge_flat(SaddlePoints(task="flat", steps=20), path)
    assert outcome.verdict.status == status


@pytest.mark.parametrize(("rising", "status"), [(True, "same_direction"), (False, "not_at_this_scale")])
def test_network_rule(rising: bool, status: str) -> None:
    looks = []
    for i in range(10):
        negative = 10 - i if rising else i
        values = torch.cat([-torch.ones(5, negative), torch.ones(5, 11 - negative)], 1).double()
        looks.append(Look(i, torch.full((5,), 1.0 - 0.05 * i, dtype=torch.float64), values))
    _, outcome = judge_network(SaddlePoints(task="network"), looks)
    assert outcome.verdict.status == status


@pytest.mark.parametrize(
    ("preset", "values"),
    [
        ("paths", {"rate": 0.3, "noise": 2}),
        ("paths", {"offset": 1}),
        ("paths", {"noise": 0, "offset": 1e-15}),
        ("flat", {"rate": 0.3, "noise": 2, "beta": 0.99}),
        ("spectrum", {"hidden": 24, "scale": 2, "steps": 20}),
        ("spectrum", {"hidden": 2, "scale": 0.01, "steps": 40}),
    ],
)
def test_the_ends_of_the_parameters(preset: str, values: dict[str, object]) -> None:
    snapshot = last(preset, **values)
    assert snapshot.outcome is not None
    assert not any(math.isnan(figure.value) for figure in snapshot.figures)
