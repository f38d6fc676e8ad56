"""Adam by hand against torch.optim.Adam, its closed forms, the bounds on its steps, and the judging rules."""

from __future__ import annotations

import math

import pytest
import torch

from demos.adam_anatomy import (
    DEMO,
    Anatomy,
    _Adam,
    _first,
    _judge_silence,
    _judge_valley,
    _lone,
    _paper_bound,
    _TorchAdam,
    _true_bound,
    _Walk,
    _walk,
)
from demos.core.demo import Snapshot

torch.set_num_threads(1)


def last(seed: int = 0, **values: object) -> Snapshot:
    *_, snapshot = DEMO.run(Anatomy.parse(values), torch.device("cpu"), torch.Generator().manual_seed(seed))
    return snapshot


def steps_of(p: Anatomy, gradients: torch.Tensor, correction: bool = True) -> torch.Tensor:
    """Steps ÷ lr (T, …) for gradients (T, …)."""
    adam = _Adam(p, gradients[0], correction)
    return torch.stack([adam.step(g, 1.0) for g in gradients])


@pytest.mark.parametrize("values", [{}, {"beta1": 0.0}, {"beta1": 0.5, "beta2": 0.9, "epsilon": 0.1}, {"beta2": 0.0}, {"rate": 10.0}])
def test_by_hand_and_in_the_function_it_is_torch_optim_adam(values):
    p = Anatomy.parse(values)
    gradients = torch.randn(60, 4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * torch.tensor([1e-3, 1e3])
    w = torch.ones(4, 2, dtype=torch.float64)
    theirs = w.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=p.rate, betas=(p.beta1, p.beta2), eps=p.epsilon)
    by_hand, function = _Adam(p, w), _TorchAdam(p, w)
    for g in gradients:
        theirs.grad = g.clone()
        optimizer.step()
        function.step(g)
        w = w - by_hand.step(g, p.rate)
        torch.testing.assert_close(w, theirs.detach(), rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(function.w, theirs.detach(), rtol=0, atol=0)


@pytest.mark.parametrize("correction", [True, False])
@pytest.mark.parametrize("epsilon", [1e-8, 1.0])
def test_the_first_step_follows_its_formula_at_every_scale(correction, epsilon):
    p = Anatomy(correction=correction, epsilon=epsilon)
    g = torch.tensor([1e-12, -1e-8, 1e-3, 1.0, -1e9], dtype=torch.float64)
    first = steps_of(p, g[None], correction)[0]
    torch.testing.assert_close(first.abs(), _first(p, g), rtol=1e-12, atol=0)
    assert torch.equal(first.sign(), g.sign())
    factor = 1.0 if correction else 0.1 / math.sqrt(0.001)
    assert float(_first(p, torch.tensor(1e12))) == pytest.approx(factor, rel=1e-5)
    if correction and epsilon == 1e-8:
        assert float(first[1].abs()) == pytest.approx(0.5)  # |g| = ε


@pytest.mark.parametrize("silence", [0, 1, 30, 2000])
def test_a_lone_gradient_after_a_silence(silence):
    p = Anatomy(epsilon=1e-16)
    gradients = torch.zeros(silence + 1, 1, dtype=torch.float64)
    gradients[-1] = -37.0
    assert float(-steps_of(p, gradients)[-1]) == pytest.approx(_lone(p, silence), rel=1e-9)
    assert _lone(p, 1e6) == pytest.approx(_paper_bound(p)) == pytest.approx(3.1623, abs=1e-4)


def test_a_burst_after_a_silence_is_the_start_without_correction():
    p = Anatomy(epsilon=1e-16)
    ones = torch.ones(30, 1, dtype=torch.float64)
    silent = torch.cat([torch.zeros(20_000, 1, dtype=torch.float64), ones])
    n = torch.arange(1, 31, dtype=torch.float64)[:, None]
    expected = (1 - 0.9**n) / (1 - 0.999**n).sqrt()
    torch.testing.assert_close(steps_of(p, silent)[-30:], expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(steps_of(p, ones, correction=False), expected, rtol=1e-9, atol=0)
    assert float(expected.max()) > 2 * _paper_bound(p)


@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99), (0.9, 0.9)])
def test_the_bound_is_reached_by_the_worst_gradients_and_passed_by_none(beta1, beta2):
    p = Anatomy(beta1=beta1, beta2=beta2, epsilon=1e-16)
    ages = torch.arange(5000, -1, -1, dtype=torch.float64)
    worst = torch.tensor(beta1 / beta2, dtype=torch.float64) ** ages  # equality in Cauchy–Schwarz: g ∝ a/b
    assert float(steps_of(p, worst[:, None])[-1]) == pytest.approx(_true_bound(p), rel=0.01)
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(3000, 50, generator=generator, dtype=torch.float64) * (torch.rand(3000, 50, generator=generator) < 0.02)
    assert float(steps_of(p, random).abs().max()) <= _true_bound(p)


def test_where_the_bound_ends():
    assert _true_bound(Anatomy(beta1=0.9, beta2=0.81)) == math.inf
    assert _true_bound(Anatomy(beta1=0.0, beta2=0.0)) == 1.0
    assert _true_bound(Anatomy()) == pytest.approx(7.27, abs=0.01)


def test_a_factor_in_the_loss_moves_sgd_and_leaves_adam_alone():
    small, large = (_walk(Anatomy(scale=scale, epsilon=1e-16), torch.Generator().manual_seed(3)) for scale in (1.0, 1e6))
    torch.testing.assert_close(small.paths[1], large.paths[1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(1e6 * small.lengths[0, 0], large.lengths[0, 0], rtol=1e-9, atol=0)
    assert small.from_torch < 1e-9


@pytest.mark.parametrize(
    ("first", "off_formula", "from_torch", "values", "status"),
    [
        ([1.0, 1.0], 0.0, 0.0, {}, "reproduced"),
        ([3.0, 3.0], 0.0, 9.0, {"correction": False}, "same_direction"),
        ([0.5, 0.9], 0.0, 0.0, {}, "not_at_this_scale"),
        ([1.0, 1.0], 1e-3, 0.0, {}, "not_at_this_scale"),
        ([1.0, 1.0], 0.0, 1e-3, {}, "not_at_this_scale"),
    ],
)
def test_the_rule_for_the_first_step(first, off_formula, from_torch, values, status):
    lengths = torch.tensor([[0.01, 1.0], first], dtype=torch.float64)[:, None, None].expand(2, 4, 5, 2)
    _, outcome = _judge_valley(Anatomy.parse(values), _Walk(lengths, lengths, from_torch), off_formula)
    assert outcome.verdict.status == status


@pytest.mark.parametrize(
    ("lone", "status"), [(3.15, "reproduced"), (2.0, "same_direction"), (0.8, "not_at_this_scale"), (3.3, "not_at_this_scale")]
)
def test_the_rule_for_a_lone_gradient(lone, status):
    assert _judge_silence(Anatomy(task="silence"), [lone] * 5, [6.0] * 5)[1].verdict.status == status


@pytest.mark.parametrize(
    ("values", "status", "answer"),
    [
        ({}, "reproduced", "equal"),
        ({"scale": 1e-12}, "not_at_this_scale", "gradients"),
        ({"scale": 1e12}, "reproduced", "equal"),
        ({"epsilon": 0.1}, "not_at_this_scale", "between"),
        ({"correction": False, "scale": 1e6}, "same_direction", "equal"),
        ({"task": "silence"}, "reproduced", "beyond"),
        ({"task": "silence", "burst": 1}, "reproduced", "bound"),
        ({"task": "silence", "burst": 1, "silence": 400}, "same_direction", "two"),
        ({"task": "silence", "beta1": 0.9, "beta2": 0.9, "burst": 1}, "reproduced", "one"),
        ({"task": "silence", "beta1": 0.0, "beta2": 0.0}, "reproduced", "one"),
        ({"task": "silence", "beta2": 0.0}, "reproduced", "beyond"),
    ],
)
def test_verdicts_and_answers_over_the_range_of_the_parameters(values, status, answer):
    outcome = last(**values).outcome
    assert outcome and (outcome.verdict.status, outcome.answer) == (status, answer)
