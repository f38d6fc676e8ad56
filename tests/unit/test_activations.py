"""The activation demo against autograd, plain PyTorch networks and closed forms; and its verdicts on made-up measurements."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from demos import activations
from demos.activations import DEMO, DYING, NAMES, Activations, _Stack, _Training, functions
from demos.core.datasets import Dataset, load_digits
from demos.core.demo import Outcome
from demos.core.runner import run_demo
from demos.core.text import same

MODULES = {"sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "relu": nn.ReLU(), "leaky": nn.LeakyReLU(0.2), "gelu": nn.GELU(), "silu": nn.SiLU()}
ROW = {name: i for i, name in enumerate(NAMES)}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def passed(p: Activations) -> _Stack:
    stack = _Stack(p, seeded())
    for _ in range(p.depth):
        stack.forward()
    for _ in range(p.depth):
        stack.backward()
    return stack


# ---- the functions and the stack -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives_are_those_of_pytorch(name: str) -> None:
    z = torch.linspace(-9, 9, 200, dtype=torch.float64, requires_grad=True)
    value, derivative = functions(slope=0.2)[name]
    expected = MODULES[name](z)
    (slope,) = torch.autograd.grad(expected.sum(), z)
    torch.testing.assert_close(value(z), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(derivative(z), slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weights", ["unit", "he"])
def test_the_stack_is_a_plain_network_with_autograd(weights: str) -> None:
    p = Activations(depth=3, width=5, weights=weights, slope=0.2, scale=1.5)
    stack = _Stack(p, seeded())
    x, direction = stack._inputs.clone(), stack._gradient.clone()
    for _ in range(p.depth):
        stack.forward()
    matrices = list(stack._weights)
    for _ in range(p.depth):
        stack.backward()
    for name, row in ROW.items():
        for draw in (0, 7):
            inputs = x[row, draw].T.clone().requires_grad_()  # (samples, units)
            h = inputs
            for matrix in matrices:
                rest = MODULES[name](torch.zeros((), dtype=torch.float64)) if weights == "unit" and h is not inputs else 0.0
                h = MODULES[name](activations.gain(name, p) * (h - rest) @ matrix[draw].T)
            (gradient,) = torch.autograd.grad((h * direction[row, draw].T).sum(), inputs)
            torch.testing.assert_close(stack.norms[-1][row, draw], gradient.norm(dim=1), rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize(("depth", "scale"), [(1, 1.0), (20, 1.0), (50, 0.3), (12, 4.0), (8, 10.0)])
def test_sigmoid_meets_its_bound_at_zero_and_stays_below_elsewhere(depth: int, scale: float) -> None:
    sigmoid = passed(Activations(depth=depth, width=16, scale=scale)).norms[-1][ROW["sigmoid"]]
    bound = (0.25 * scale) ** depth
    torch.testing.assert_close(sigmoid[:, 0] / bound, torch.ones(len(sigmoid), dtype=torch.float64), rtol=1e-9, atol=0)
    assert (sigmoid[:, 1:] < bound).all()


def test_with_weights_that_are_not_unit_ones_the_bound_is_missed() -> None:
    sigmoid = passed(Activations(depth=20, width=16, weights="he")).norms[-1][ROW["sigmoid"]]
    assert ((sigmoid[:, 0] / 0.25**20 - 1).abs() > 0.01).all()


def test_sigmoid_with_weights_four_times_as_large_is_tanh() -> None:
    """σ(z) = ½ + ½·tanh(z/2): with inputs half as large, the same gradient arrives."""
    sigmoid = passed(Activations(depth=9, width=8, scale=4.0, spread=0.5)).norms[-1][ROW["sigmoid"]]
    tanh = passed(Activations(depth=9, width=8, scale=1.0, spread=1.0)).norms[-1][ROW["tanh"]]
    torch.testing.assert_close(sigmoid, tanh, rtol=1e-9, atol=0)


def test_he_keeps_the_mean_square_of_relus_gradient() -> None:
    """It is 1 on average over weights, at any depth; without He's factor it halves at each layer."""
    for scale, expected in ((1.0, 1.0), (0.5**0.5, 2.0**-10)):
        ratios = passed(Activations(depth=10, width=64, weights="he", scale=scale)).typical()[ROW["relu"], -1].square() / expected
        error = float(ratios.std()) / len(ratios) ** 0.5
        assert abs(float(ratios.mean()) - 1) < 4 * error < 0.5


def test_only_tanh_of_the_first_three_is_centred() -> None:
    means = torch.stack(passed(Activations(depth=4)).means).mean(0)
    assert means[ROW["sigmoid"]] > 0.95 and abs(float(means[ROW["tanh"]])) < 0.02 and means[ROW["relu"]] > 0.4


# ---- training --------------------------------------------------------------------------------------------------------


def small_digits() -> Dataset:
    return load_digits(generator=seeded(), train_count=60)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_stacked_training_is_a_plain_loop(optimizer: str) -> None:
    p = Activations(task="dying", units=6, steps=6, slope=0.2, bias=0.1, optimizer=optimizer)
    names, rates, seeds, layers = tuple(NAMES), [0.01, 0.05], 2, 2
    training = _Training(p, small_digits(), names, rates, seeds, layers, seeded(3))
    starts = [[tensor.clone() for tensor in kind] for kind in (training.weights, training.biases)]
    for i in range(p.steps):
        training.step(i)
    for k in range(0, training.count, 5):
        name, rate, seed = names[k // 4], rates[k // 2 % 2], k % 2
        modules: list[nn.Module] = []
        for weights, biases in zip(*starts, strict=True):
            linear = nn.Linear(weights.shape[2], weights.shape[1])
            linear.load_state_dict({"weight": weights[k], "bias": biases[k]})
            modules += [linear, MODULES[name]]
        network = nn.Sequential(*modules[:-1])
        kind = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
        plain = kind(network.parameters(), lr=rate)
        for batch in training._batches[:, seed]:
            loss = nn.functional.cross_entropy(network(training.data.train_x[batch]), training.data.train_y[batch])
            plain.zero_grad()
            loss.backward()
            plain.step()
        for linear, weights, biases in zip(network[::2], training.weights, training.biases, strict=True):
            torch.testing.assert_close(linear.weight, weights[k], rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(linear.bias, biases[k], rtol=1e-3, atol=1e-4)


def test_hidden_weights_have_the_usual_spread_for_their_function() -> None:
    training = _Training(Activations(task="shallow", units=48, slope=0.5), small_digits(), tuple(NAMES), [0.01], 5, 2, seeded())
    hidden, output = (weights.view(6, -1).std(1) for weights in training.weights[1:])
    expected = torch.tensor([1, 1, 2**0.5, (2 / 1.25) ** 0.5, 2**0.5, 2**0.5]) / 48**0.5
    torch.testing.assert_close(hidden, expected, rtol=0.03, atol=0)
    torch.testing.assert_close(output, torch.full((6,), 48**-0.5), rtol=0.06, atol=0)


def test_dead_units_are_counted_one_by_one() -> None:
    p = Activations(task="dying", units=8, steps=50, bias=-1.0)
    training = _Training(p, small_digits(), DYING, [0.01], 2, 2, seeded(5))
    shares = training.dead()  # (functions, 1, 2, layers)
    counted = torch.zeros(3, 2, 2)
    for k in range(training.count):
        h = training.data.train_x
        for layer in range(2):
            z = h @ training.weights[layer][k].T + training.biases[layer][k]
            if k < 2:  # ReLU: no image fires the unit
                counted[0, k, layer] = 100 * sum(bool((z[:, unit] <= 0).all()) for unit in range(8)) / 8
            h = [nn.ReLU(), nn.LeakyReLU(p.slope), nn.GELU()][k // 2](z)
    assert torch.equal(shares[0, 0], counted[0]) and counted[0].max() > 0
    assert (shares[1] == 0).all()


def test_a_network_that_diverged_has_no_dead_units() -> None:
    training = _Training(Activations(task="dying", units=4), small_digits(), DYING, [0.01], 2, 1, seeded())
    training.weights[-1][1] = math.inf
    shares = training.dead()
    assert shares[0, 0, 1].isnan().all() and not shares[0, 0, 0].isnan().any()
    line = activations._by_rate("relu", [0.1, 1.0], torch.tensor([[20.0, math.nan], [math.nan, math.nan]]))
    assert line.y[0] == 20 and math.isnan(line.y[1])  # type: ignore[index]


def test_positive_inputs_kill_the_first_layer() -> None:
    p = Activations(task="dying", layers=1, steps=60, units=16)
    data = load_digits(generator=seeded(), train_count=200)
    lowest = data.train_x.amin(0)
    shares = []
    for shift in (0, lowest):
        training = _Training(p, dataclasses.replace(data, train_x=data.train_x - shift), ("relu",), [0.3], 3, 1, seeded(1))
        for i in range(p.steps):
            training.step(i)
        shares.append(float(training.dead().mean()))
    assert shares[0] < 5 and shares[1] > 60


# ---- verdicts --------------------------------------------------------------------------------------------------------


def judged_unit(norms: Tensor) -> str:
    p = Activations(depth=2)
    typical, rest = torch.full((6, 4), 0.05, dtype=torch.float64), torch.zeros(6)
    return activations._judge_unit(p, norms, typical, rest, rest)[1].verdict.status


def test_the_bound_is_held_to_a_billionth() -> None:
    norms = torch.full((6, 4, 3), 0.06, dtype=torch.float64)
    norms[0, :, 0] = 0.25**2
    assert judged_unit(norms) == "reproduced"
    above = norms.clone()
    above[0, 1, 2] = 0.0626
    off = norms.clone()
    off[0, 2, 0] *= 1 + 1e-6
    assert judged_unit(above) == judged_unit(off) == "not_at_this_scale"


@pytest.mark.parametrize(
    ("relu", "status", "answer"),
    [
        ([0.9, 1.0, 1.2], "reproduced", "kept"),
        ([0.10, 0.11, 0.12], "same_direction", "kept"),
        ([2e-7, 1e-7, 3e-7], "not_at_this_scale", "tiny"),
        ([1.0, 1.0, 0.0], "not_at_this_scale", "kept"),
        ([50.0, 60.0, 70.0], "same_direction", "large"),
    ],
)
def test_relu_under_he_is_judged_by_its_factor_a_layer(relu: list[float], status: str, answer: str) -> None:
    typical = torch.full((6, 3), 1e-3, dtype=torch.float64)
    typical[ROW["relu"]] = torch.tensor(relu, dtype=torch.float64)
    _, outcome = activations._judge_he(Activations(weights="he", depth=8), typical)
    assert (outcome.verdict.status, outcome.answer) == (status, answer)


def judged_dying(relu: float, leaky: float, gelu: float, errors: float = 80.0, p: Activations | None = None) -> Outcome:
    """Shares in % at the second of two rates (none at the first), in both of two layers."""
    p = p or Activations(task="dying")
    dead = torch.zeros(3, 2, 5, 2)
    dead[:, 1] = torch.tensor([relu, leaky, gelu])[:, None, None]
    dead[:, 1, 0] *= 1.01  # a little spread
    wrong = torch.full((3, 2, 5), 5.0)
    wrong[:, 1] = errors
    return activations._judge_dying(p, [0.01, 1.0], torch.zeros(3, 2, 5, 2), dead, wrong)[1]


def test_dead_shares_are_held_against_forty_percent() -> None:
    assert judged_dying(50, 0, 48).verdict.status == "reproduced"
    assert judged_dying(8, 0, 0).verdict.status == "same_direction"
    assert judged_dying(0, 0, 0).verdict.status == "not_at_this_scale"
    assert judged_dying(math.nan, 0, 0).verdict.status == "not_at_this_scale"


def test_the_prediction_asks_what_saves_the_units() -> None:
    answers = [judged_dying(50, *pair).answer for pair in ((0.0, 40.0), (40.0, 0.0), (0.0, 0.0), (50.0, 40.0), (math.nan, math.nan))]
    assert answers == ["leaky", "gelu", "both", "neither", "neither"]


def test_the_explanation_of_death_follows_the_setting() -> None:
    assert "slope of 0.01 on the negative side" in judged_dying(50, 0, 48).verdict.explanation.en
    assert "as good as ReLU" in judged_dying(50, 50, 48, p=Activations(task="dying", slope=0.0)).verdict.explanation.en
    assert "not centred" in judged_dying(50, 0, 48, p=Activations(task="dying", centred=False)).verdict.explanation.en
    assert "both signs" in judged_dying(0, 0, 0, p=Activations(task="dying", layers=1)).verdict.explanation.en
    assert "first cure" in judged_dying(50, 0, 48).verdict.explanation.en
    assert "first cure" not in judged_dying(50, 0, 48, errors=6).verdict.explanation.en


def judged_shallow(gap: float, cost: float) -> Outcome:
    """Sigmoid `gap` points behind the others at the better of two rates, the other rate `cost` points worse for all."""
    errors = torch.full((2, 6, 2, 3), 3.0)
    errors[:, 0] += gap
    errors[:, :, 1] += cost
    return activations._judge_shallow(Activations(task="shallow"), [[0.01, 0.1]] * 2, [errors, errors])[1]


@pytest.mark.parametrize(
    ("gap", "cost", "status", "answer"),
    [
        (0.5, 20.0, "reproduced", "close"),
        (2.5, 20.0, "same_direction", "close"),
        (10.0, 20.0, "same_direction", "some"),
        (30.0, 20.0, "not_at_this_scale", "far"),
    ],
)
def test_the_choice_is_held_against_the_rate(gap: float, cost: float, status: str, answer: str) -> None:
    outcome = judged_shallow(gap, cost)
    assert (outcome.verdict.status, outcome.answer) == (status, answer)
    assert outcome.verdict.measured.value == pytest.approx(gap)


def test_the_rate_is_chosen_on_images_that_are_not_reported() -> None:
    errors = torch.tensor([[[[1.0, 1.0], [9.0, 9.0]]], [[[7.0, 8.0], [2.0, 2.0]]]])  # (2, 1 function, 2 rates, 2 seeds)
    best, chosen = activations._at_best(errors)
    assert best.tolist() == [[7, 8]] and chosen == [0]


@pytest.mark.parametrize(
    ("value", "told"), [(0.187, "0.19"), (99.6, "100"), (5727, "5,727"), (7.6e-13, "7.6×10⁻¹³"), (7.7e8, "7.7×10⁸"), (0, "0")]
)
def test_numbers_are_told_so_that_they_can_be_read(value: float, told: str) -> None:
    assert same(activations._told(value))["en"] == told


# ---- whole runs ------------------------------------------------------------------------------------------------------


def test_narrow_stacks_say_how_many_lost_everything() -> None:
    p = Activations(depth=20, width=3, weights="he")
    outcome = list(run_demo(DEMO, p, "cpu"))[-1].snapshot.outcome
    assert outcome is not None and "nothing came through" in outcome.verdict.explanation.en
    assert outcome.verdict.status == "not_at_this_scale"


@pytest.mark.parametrize("task", ["dying", "shallow"])
def test_it_trains_on_a_table_of_the_learners_own(task: str) -> None:
    generator = seeded()
    rows = [(*torch.randn(3, generator=generator).add(2 * (i % 2)).tolist(), "ab"[i % 2]) for i in range(60)]
    table = "\n".join(",".join(map(str, row)) for row in rows)
    p = DEMO.parameters.parse({"task": task, "data": table, "steps": 50, "units": 4, "layers": 2})
    last = list(run_demo(DEMO, p, "cpu"))[-1].snapshot
    assert last.outcome is not None
    assert "data.csv" in DEMO.code(p)
