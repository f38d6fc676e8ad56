"""The RNN against torch.nn.RNN and autograd, its Jacobian against torch.func, clipping against torch, the alarms and judging rules on made-up runs."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from demos.exploding_rnn import (
    ALARMS,
    ASKED,
    DEMO,
    LOST,
    RNN,
    SIGMAS,
    ExplodingRnn,
    Jacobians,
    alarm_steps,
    clipped,
    code,
    first_alarm,
    judge_condition,
    judge_train,
    recurrent_weights,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(activation: str = "tanh", copies: int = 1) -> RNN:
    return RNN(recurrent_weights("orthogonal", [0.8, 1.3, 2.0], 7, seeded()), activation, seeded(1), CPU, copies)


@pytest.mark.parametrize("matrix", ["orthogonal", "normal"])
def test_matrices_have_the_singular_value_asked_for(matrix):
    w = recurrent_weights(matrix, [0.5, 1.0, 2.5], 20, seeded())
    values = torch.linalg.svdvals(w)
    torch.testing.assert_close(values[:, 0], torch.tensor([0.5, 1.0, 2.5]))
    if matrix == "orthogonal":
        torch.testing.assert_close(values[:, -1], torch.tensor([0.5, 1.0, 2.5]))
    else:
        assert (values[:, 10] < 0.8 * values[:, 0]).all()


def test_states_are_those_of_torch_rnn():
    stack, x = network(), torch.randn(3, 4, 9, generator=seeded(2))
    states = stack.states(x)
    for k in range(3):
        plain = nn.RNN(1, 7)
        with torch.no_grad():
            plain.weight_hh_l0.copy_(stack.w[k])
            plain.weight_ih_l0.copy_(stack.u[k])
            plain.bias_hh_l0.copy_(stack.b[k])
            plain.bias_ih_l0.zero_()
            outputs, _ = plain(x[k].T[..., None])  # (T, B, units)
        torch.testing.assert_close(torch.stack([h[k] for h in states[1:]]).transpose(1, 2), outputs)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_backpropagation_through_time_equals_autograd(activation):
    stack, x, y = network(activation), torch.randn(3, 4, 9, generator=seeded(2)), torch.randn(3, 4, generator=seeded(3))
    stack.v *= 10
    losses, gradients, norms = stack.gradients(x, y)
    act = getattr(torch, activation)
    for k in range(3):
        w, u, b, v = (tensor[k].clone().requires_grad_() for tensor in stack.parameters())
        h = torch.zeros(7, 4, requires_grad=True)
        states = [h]
        for t in range(9):
            states.append(act(w @ states[-1] + u * x[k, :, t] + b[:, None]))
        loss = ((v @ states[-1])[0] - y[k]).square().mean()
        wanted = torch.autograd.grad(loss, [w, u, b, v, *reversed(states)])
        torch.testing.assert_close(losses[k], loss.detach())
        for got, want in zip(gradients, wanted[:4], strict=True):
            torch.testing.assert_close(got[k], want, rtol=1e-4, atol=1e-6)
        flows = torch.stack([(4 * flow).square().sum(0).mean().sqrt() for flow in wanted[4:]])  # of a sample: undo the mean over 4
        torch.testing.assert_close(norms[:, k], flows, rtol=1e-4, atol=1e-7)


def test_copies_begin_alike():
    stack = network(copies=2)
    assert stack.count == 6
    for parameter in stack.parameters():
        torch.testing.assert_close(parameter[:3], parameter[3:])


def test_clipping_is_that_of_torch():
    stack, x, y = network(), torch.randn(3, 4, 9, generator=seeded(2)), torch.full((3, 4), 5.0)
    gradients = stack.gradients(x, y)[1]
    short, norms = clipped(gradients, torch.tensor([0.3, 1e9, math.inf]))
    for k, limit in enumerate((0.3, 1e9, 1e9)):
        parameters = [nn.Parameter(torch.zeros_like(g[k])) for g in gradients]
        for parameter, g in zip(parameters, gradients, strict=True):
            parameter.grad = g[k].clone()
        norm = nn.utils.clip_grad_norm_(parameters, limit)
        assert norms[k].item() == pytest.approx(norm.item(), rel=1e-5)
        for parameter, got in zip(parameters, short, strict=True):
            torch.testing.assert_close(got[k], parameter.grad, rtol=1e-4, atol=1e-7)


def test_jacobians_are_those_of_autograd():
    p = ExplodingRnn.parse({"task": "condition", "length": 6, "units": 5, "runs": 5})
    jacobians = Jacobians(p, CPU, seeded())
    for _ in range(6):
        jacobians.advance()
    grid, asked = jacobians.growth()
    assert grid.shape == (2, len(SIGMAS), 5) and asked.shape == (ASKED,)
    stack = jacobians.network
    k = 5 * SIGMAS.index(2.0) + 3
    states = jacobians._states
    inputs = [torch.atanh(after[k, :, 0]) - stack.w[k] @ before[k, :, 0] for before, after in pairwise(states)]

    def last(h: torch.Tensor) -> torch.Tensor:
        for into in inputs:
            h = torch.tanh(stack.w[k] @ h + into)
        return h

    exact = torch.autograd.functional.jacobian(last, torch.zeros(5))
    assert grid[0, SIGMAS.index(2.0), 3].item() == pytest.approx(torch.linalg.matrix_norm(exact, 2).item(), rel=1e-3)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_no_jacobian_passes_its_bound(activation):
    p = ExplodingRnn.parse({"task": "condition", "length": 20, "activation": activation})
    *_, last = DEMO.run(p, CPU, seeded(3))
    below, excess = last.figures[0].value, last.figures[1].value
    assert below <= 1.0001
    assert 0.5 < excess <= 1.0001  # after one step of a network whose units are not saturated it is close to the bound
    assert last.outcome is not None and last.outcome.verdict.status in ("reproduced", "same_direction")


def healthy(steps: int = 100) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.full((steps, 1), 0.2), torch.full((steps, 1), 0.5), torch.ones(steps, 1)


def test_no_alarm_rings_in_a_healthy_run():
    assert alarm_steps(*healthy()).isinf().all()


@pytest.mark.parametrize(("alarm", "which", "value"), [("gradient", 1, 1.5), ("loss", 0, 1.5), ("weights", 2, 2.5)])
@pytest.mark.parametrize("broken", [False, True])
def test_each_alarm_rings_at_its_step(alarm, which, value, broken):
    run = healthy()
    run[which][39:] = math.nan if broken else value
    rings = dict(zip(ALARMS, alarm_steps(*run)[:, 0].tolist(), strict=True))
    assert rings[alarm] == 40
    assert all(math.isinf(step) for name, step in rings.items() if name not in (alarm, "stuck"))


def test_a_noisy_loss_that_is_still_small_has_not_jumped():
    losses, flows, sizes = healthy()
    losses[:] = 0.02
    losses[50] = 0.9
    assert alarm_steps(losses, flows, sizes).isinf().all()


def test_a_loss_that_stays_is_noticed_once_patience_is_over():
    losses, flows, sizes = healthy()
    rings = alarm_steps(torch.ones_like(losses), flows, sizes)[:, 0]
    assert rings.tolist() == [math.inf, math.inf, math.inf, 60]
    assert alarm_steps(losses[:5], flows[:5], sizes[:5]).isinf().all()


def test_the_first_alarm_is_that_of_most_runs():
    never = math.inf
    assert first_alarm(torch.tensor([[1.0, never, 9], [5, 2, never], [never, 7, 8], [never, never, never]])) in (
        "gradient",
        "loss",
        "weights",
    )
    assert first_alarm(torch.tensor([[3.0, 1, 1], [1, 2, 5], [9, 9, 9], [9, 9, 9]])) == "gradient"
    assert first_alarm(torch.full((4, 5), never)) == "none"


def train(growth: float, plain: list[float], short: list[float]) -> str:
    alarms = torch.full((4, 2, 5), math.inf)
    late = torch.tensor([plain, short], dtype=torch.float64)
    _, outcome = judge_train(ExplodingRnn(), torch.full((5,), growth).double(), late, alarms)
    assert outcome.answer == "none"
    return outcome.verdict.status


def test_the_rule_for_training():
    lost = [LOST, LOST, 1.2, 1.3, LOST]
    assert train(100, lost, [0.5, 0.6, 0.5, 0.4, 0.5]) == "reproduced"
    assert train(100, lost, [0.95, 0.96, 1.0, 0.99, 0.95]) == "same_direction"
    assert train(100, [0.5, 0.6, 0.4, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5, 0.5]) == "not_at_this_scale"
    assert train(0.01, [0.1, 0.11, 0.1, 0.09, 0.1], [0.1] * 5) == "reproduced"
    assert train(0.01, [0.1, 0.3, 0.1, 0.03, 0.1], [0.1] * 5) == "same_direction"
    assert train(0.01, lost, [0.1] * 5) == "not_at_this_scale"


def test_the_rule_for_the_condition():
    def judged(below: float, above: float, excess: float, asked: float = 0.5) -> tuple[str, str]:
        grid = torch.full((2, len(SIGMAS), 5), below, dtype=torch.float64)
        grid[:, SIGMAS.index(1.0) + 1 :] = above
        share = torch.full((ASKED,), 0.5).double()
        share[: round(ASKED * asked)] = 2.0
        _, outcome = judge_condition(ExplodingRnn.parse({"task": "condition"}), grid, share, excess)
        return outcome.verdict.status, outcome.answer

    assert judged(0.9, 100, 1.0) == ("reproduced", "some")
    assert judged(0.9, 0.9, 1.0, 0.0) == ("same_direction", "none")
    assert judged(1.2, 100, 1.0, 1.0) == ("not_at_this_scale", "most")
    assert judged(0.9, 100, 1.1)[0] == "not_at_this_scale"


@pytest.mark.parametrize(
    "values",
    [{"length": 5, "lag": 20}, {"sigma": 6, "rate": 5, "length": 100}, {"activation": "sigmoid", "sigma": 0.1}, {"units": 4, "clip": 0.01}],
)
def test_extremes_end_with_a_verdict(values):
    p = ExplodingRnn.parse({"task": "train", "steps": 100, "runs": 5, **values})
    *_, last = DEMO.run(p, CPU, seeded())
    assert last.outcome is not None
    assert "nan" not in last.outcome.verdict.explanation.en
    assert str(p.length) in code(p)
