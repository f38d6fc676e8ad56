"""Gradients of deep stacks: against a plain PyTorch loop, against exact theory, the judging rules, the ends of the parameters, and other seeds."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from demos.core.demo import Snapshot
from demos.core.text import same
from demos.gradient_flow import (
    DEMO,
    DeepStack,
    GradientFlow,
    History,
    Recipe,
    Training,
    _length,
    _median_band,
    build_recipes,
    judge_clipping,
    judge_depth,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")


def training(seed: int = 0, **values: object) -> Training:
    return Training(GradientFlow.parse(values), CPU, torch.Generator().manual_seed(seed))


def last(seed: int, preset: str, **values: object) -> Snapshot:
    p = GradientFlow.parse({**DEMO.presets[preset].values, **values})
    *_, snapshot = DEMO.run(p, CPU, torch.Generator().manual_seed(seed))
    return snapshot


class Plain(nn.Module):
    """The same network written the usual way, from copies of the weights of number k of a stack."""

    def __init__(self, stack: DeepStack, k: int, recipe: Recipe, width: int) -> None:
        super().__init__()
        first, hidden, output, _, out = (parameter.detach() for parameter in stack.parameters)
        self.weights = nn.ParameterList([first[k].clone(), *hidden[:, k].clone(), output[k].clone()])
        self.biases = nn.ParameterList([torch.zeros(width) for _ in range(recipe.layers)] + [out[k, :, 0].clone()])
        norms = {
            "batch": nn.BatchNorm1d(width, affine=False, track_running_stats=False),
            "layer": nn.LayerNorm(width, elementwise_affine=False),
        }
        self.norm, self.skip = norms.get(recipe.norm, nn.Identity()), recipe.skip
        self.zs: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.zs = [x @ self.weights[0].T]
        for i in range(1, len(self.weights)):
            z = torch.tanh(self.norm(self.zs[-1]) + self.biases[i - 1]) @ self.weights[i].T
            if i == len(self.weights) - 1:
                return z + self.biases[-1]
            self.zs.append(z + self.zs[i - 2] if self.skip and i % 2 == 0 else z)
        raise AssertionError


@pytest.mark.parametrize(("task", "norm"), [("depth", "batch"), ("depth", "layer"), ("depth", "none"), ("exploding", "layer")])
def test_a_stacked_step_equals_the_plain_loop(task, norm):
    p = GradientFlow.parse(
        {"task": task, "norm": norm, "depth": 6, "gain": 1.5, "clip": 0.5, "activation": "tanh", "seeds": 5, "steps": 60}
    )
    ours = Training(p, CPU, torch.Generator().manual_seed(3))
    nets = [(number, k, Plain(stack, place * p.seeds + k, ours.recipes[number], p.width))
            for stack, group in zip(ours.stacks, ours.groups.values(), strict=True) for place, number in enumerate(group) for k in range(p.seeds)]  # fmt: skip
    assert len(nets) == len(ours.recipes) * p.seeds
    for i in range(4):
        losses, norms = ours.step(i)
        for number, k, net in nets:
            batch = ours.batches[i, k]
            loss = nn.functional.cross_entropy(net(ours.data.train_x[batch]), ours.data.train_y[batch])
            optimizer = torch.optim.SGD(net.parameters(), lr=p.rate)
            for z in net.zs:
                z.retain_grad()
            net.zero_grad()
            loss.backward()
            theirs = torch.stack([torch.stack([z.grad.norm() for z in net.zs]), torch.stack([w.grad.norm() for w in net.weights[:-1]])])
            if math.isfinite(ours.recipes[number].clip):
                assert nn.utils.clip_grad_norm_(net.parameters(), p.clip) > p.clip  # or the clipping would not be tested
            optimizer.step()
            torch.testing.assert_close(losses[number, k], loss.detach(), rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(norms[number][:, k], theirs, rtol=1e-2, atol=1e-4)
    for group, errors in ours.errors():
        for number, k, net in (item for item in nets if item[0] in group):
            wrong = net(ours.data.train_x[:500]).argmax(1) != ours.data.train_y[:500]
            assert errors[group.index(number), k].item() == pytest.approx(100 * wrong.float().mean().item(), abs=0.5)


def test_a_relu_stack_without_biases_grows_with_the_power_of_its_depth():
    """Positive homogeneity: twice the weights in L + 1 layers make the logits 2^(L+1) times as large, and the k-th z 2^k times."""
    recipes = [Recipe(same("a"), "first", 9, "none", False, gain) for gain in (1.0, 2.0)]
    p = GradientFlow()
    logits, zs = DeepStack(recipes, p, 64, 10, 0, CPU).forward(torch.randn(7, 64, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(logits[p.seeds :], 2.0**10 * logits[: p.seeds])
    for k, z in enumerate(zs, 1):
        torch.testing.assert_close(z[p.seeds :], 2.0**k * z[: p.seeds])


def test_with_empty_branches_the_skip_carries_the_gradient_back_unchanged():
    """Jacobian I + J with J = 0: the signal is the same at every layer that the identity path passes, and without skips nothing arrives."""
    recipes = [Recipe(same("a"), "first", 7, "none", skip, 1.0) for skip in (True, False)]
    p = GradientFlow()
    stack = DeepStack(recipes, p, 64, 10, 0, CPU)
    stack.parameters[1].data.zero_()
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 8, 64, generator=generator), torch.randint(10, (12, 8), generator=generator)
    _, norms = stack.step(x, y)
    path = norms[0, : p.seeds, ::2]  # layers 1, 3, 5, 7
    assert path.min() > 0.01
    torch.testing.assert_close(path, path[:, -1:].expand_as(path))
    assert norms[0, p.seeds :, :-1].max() == 0


def test_networks_of_one_seed_start_from_the_same_draws_in_every_recipe():
    ours = training(depth=6)
    starts = [stack.parameters[1][:, place * ours.seeds] for stack, group in zip(ours.stacks, ours.groups.values(), strict=True) for place in range(len(group))]  # fmt: skip
    assert len(starts) == 6
    for a, b in itertools.pairwise(starts):
        assert torch.equal(a[:1], b[:1])
    assert not torch.equal(ours.stacks[0].parameters[1][0, 0], ours.stacks[0].parameters[1][0, 1])


def test_a_clipped_step_is_as_long_as_rate_times_threshold():
    ours = training(task="exploding", depth=8, gain=2.0, clip=0.25, rate=0.1)
    stack = ours.stacks[0]
    before = [parameter.detach().clone() for parameter in stack.parameters]
    ours.step(0)
    moved = torch.zeros(stack.count)
    for old, new, axis in zip(before, stack.parameters, (0, 1, 0, 1, 0), strict=True):
        moved += (new.detach() - old).square().movedim(axis, 0).flatten(1).sum(1)
    lengths = moved.sqrt().view(3, -1)  # good scale, no clipping, clipped
    torch.testing.assert_close(lengths[2], torch.full_like(lengths[2], 0.025), rtol=1e-2, atol=0)
    assert lengths[1].min() > 0.25


def test_a_norm_neither_underflows_nor_overflows_where_its_square_would():
    values = torch.tensor([[3e-30, 4e-30], [3e25, 4e25], [0.0, 0.0], [math.inf, 1.0]])
    expected = torch.tensor([5e-30, 5e25, 0.0, math.inf])
    torch.testing.assert_close(_length(values).nan_to_num(math.inf, posinf=math.inf), expected, rtol=1e-5, atol=0)


def test_the_median_is_finite_unless_more_than_half_have_diverged():
    middle, low, high = _median_band(torch.tensor([[3.0, 5.0], [2.0, math.inf], [math.inf, math.inf], [1.0, 4.0]]))
    assert (middle, low, high) == ([2.0, 5.0], [2.0, 5.0], [3.0, math.inf])
    assert _median_band(torch.tensor([[1.0], [math.inf], [math.inf]]))[0] == [math.inf]


# ---- verdicts on made-up runs ----------------------------------------------------------------------------------------


def made_up(p: GradientFlow, errors: list[float], signal: tuple[float, float] = (0.1, 0.1), loss: float = 1.0) -> tuple[str, str, str]:
    """Status, answer and English text for these mean errors of the recipes, a gradient from layer 1 to the last, and a last loss."""
    recipes, wobble = build_recipes(p), torch.tensor([-0.2, -0.1, 0.0, 0.0, 0.1, 0.2])
    norms = [torch.logspace(math.log10(signal[0]), math.log10(signal[1]), r.layers).expand(2, p.seeds, -1) for r in recipes]
    history = History([torch.full((len(recipes), p.seeds), loss)], [norms])
    judge = judge_depth if p.task == "depth" else judge_clipping
    _, outcome = judge(p, history, torch.tensor(errors)[:, None] + wobble, 90.0)
    explanation = outcome.verdict.explanation
    assert explanation.zh and "  " not in explanation.en
    assert outcome.answer in DEMO.predict(p).options
    return outcome.verdict.status, outcome.answer, explanation.en


@pytest.mark.parametrize(
    ("errors", "status", "answer"),
    [
        ([90, 60, 2, 90, 5, 2], "reproduced", "plain"),
        ([90, 60, 20, 90, 5, 2], "same_direction", "both"),
        ([90, 60, 2, 90, 60, 2], "same_direction", "neither"),
        ([90, 60, 80, 90, 5, 2], "not_at_this_scale", "both"),
        ([5, 3, 3, 5, 3, 3], "not_at_this_scale", "neither"),
        ([5, 3, 30, 5, 3, 3], "not_at_this_scale", "skip"),
        ([90, 5.5, 2, 90, 5, 2], "same_direction", "neither"),  # half a point worse counts as nothing
    ],
)
def test_the_verdict_on_depth_follows_its_rule(errors, status, answer):
    assert made_up(GradientFlow(), errors)[:2] == (status, answer)


@pytest.mark.parametrize(
    ("errors", "status", "answer"),
    [
        ([10, 100, 40, 5], "reproduced", "rescues"),
        ([10, 100, 89.5, 5], "same_direction", "survives"),
        ([10, 40, 40, 5], "not_at_this_scale", "same"),
        ([10, 20, 40, 5], "not_at_this_scale", "hurts"),
    ],
)
def test_the_verdict_on_clipping_follows_its_rule(errors, status, answer):
    assert made_up(GradientFlow(task="exploding"), errors)[:2] == (status, answer)


def test_the_explanation_tells_what_the_gradient_did():
    degraded = [90, 60, 2, 90, 5, 2]
    assert (
        "it vanishes" in made_up(GradientFlow(), degraded, (1e-9, 0.1))[2]
        and "not healthy here" in made_up(GradientFlow(), degraded, (1e-9, 0.1))[2]
    )
    assert "it explodes" in made_up(GradientFlow(), degraded, (50, 0.1))[2]
    assert "keeps its size" in made_up(GradientFlow(), degraded)[2] and "vanishing is not the cause" in made_up(GradientFlow(), degraded)[2]
    assert "different case" in made_up(GradientFlow(norm="none"), [60, 2, 5, 2])[2]
    assert "not even the shallow stack trains" in made_up(GradientFlow(norm="none"), [90, 2, 90, 2])[2]
    assert "not against explosion" in made_up(GradientFlow(norm="none"), [60, 100, 5, 2], loss=math.inf)[2]
    assert "overflows" in made_up(GradientFlow(task="exploding"), [10, 100, 100, 5], loss=math.inf)[2]


# ---- whole runs ------------------------------------------------------------------------------------------------------


def test_the_scale_of_the_weights_decides_whether_the_signal_vanishes_or_explodes():
    figures = {gain: {figure.name.en: figure.value for figure in last(1, "skip-only", depth=20, steps=60, gain=gain, seeds=5).figures} for gain in (0.58, 1.41, 2.0)}  # fmt: skip
    fall = {gain: f["‖∂L/∂z‖ at step 1, layer 1: plain"] / f["‖∂L/∂z‖ at step 1, layer 20: plain"] for gain, f in figures.items()}
    for (
        gain,
        ratio,
    ) in fall.items():  # a factor of g/√2 for each of the 19 layers between, if all were independent; a narrow stack strays from it
        assert math.log10(ratio) == pytest.approx(19 * math.log10(gain / 2**0.5), abs=1.2)


@pytest.mark.parametrize(
    "values", [{"gain": 4.0, "norm": "none"}, {"gain": 0.1, "norm": "none"}, {"norm": "layer", "activation": "sigmoid"}]
)
def test_a_hundred_layers_overflow_or_underflow_without_an_error(values):
    snapshot = last(0, "exploding", depth=100, steps=60, width=8, seeds=5, **values)
    assert snapshot.outcome and all(not math.isnan(figure.value) for figure in snapshot.figures)


def test_other_seeds_agree_that_clipping_rescues():
    snapshot = last(31, "exploding")
    assert snapshot.outcome and snapshot.outcome.verdict.status == "reproduced"


def test_other_seeds_agree_that_shallow_stacks_have_nothing_to_mend():
    snapshot = last(32, "shallow")
    assert snapshot.outcome and (snapshot.outcome.verdict.status, snapshot.outcome.answer) == ("not_at_this_scale", "neither")


def test_it_takes_the_learners_own_table():
    rows = "\n".join(f"{i % 7},{i % 3 - i % 2},{'ab'[i % 2]}" for i in range(60))
    snapshot = last(0, "shallow", data=rows, steps=60, seeds=5)
    assert snapshot.outcome and 'open("data.csv"' in DEMO.code(GradientFlow(data=rows))
