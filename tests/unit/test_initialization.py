"""Initialisation against plain PyTorch loops, closed forms and Monte Carlo, and its judging rules on made-up results."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from demos.core.datasets import load_digits
from demos.initialization import (
    DEMO,
    Initialization,
    build,
    claim,
    cosines,
    expected_scale,
    judge_constant,
    judge_depth,
    judge_zero,
    layer_factor,
    pairs,
    scales,
    train,
    weights,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_training_equals_a_plain_loop_over_networks(activation, optimizer):
    p = Initialization.parse({"activation": activation, "optimizer": optimizer, "rate": 0.02, "width": 6, "runs": 5, "noise": 1})
    data = load_digits()
    # From the constant the hidden gradient begins as a sum that cancels, and Adam would make full steps of its rounding error.
    schemes = ("noise", "random") if optimizer == "adam" else ("constant", "noise", "random")
    network = build(schemes, (64, 6, 10), p, seeded(), CPU)
    plain = [network.to_sequential(k) for k in range(network.count)]
    kind = (lambda net: torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)) if optimizer == "sgd" else None
    theirs = [kind(net) if kind else torch.optim.Adam(net.parameters(), lr=0.02) for net in plain]
    steps, draws = train(p, [network], data, seeded(1)), seeded(1)
    for _ in range(20):
        ((losses, _),) = next(steps)
        picked = torch.randint(len(data.train_y), (5, 32), generator=draws)
        for k, (net, step) in enumerate(zip(plain, theirs, strict=True)):
            rows = picked[k % 5]
            loss = nn.functional.cross_entropy(net(data.train_x[rows]), data.train_y[rows])
            assert losses[k].item() == pytest.approx(loss.item(), rel=1e-3, abs=1e-4)
            step.zero_grad()
            loss.backward()
            step.step()
    for k, net in enumerate(plain):
        torch.testing.assert_close(network.weights[0][k], net[0].weight.detach(), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(("scheme", "deviation"), [("small", 0.01), ("xavier", (2 / 500) ** 0.5), ("he", (2 / 300) ** 0.5)])
def test_schemes_have_their_textbook_deviation(scheme, deviation):
    w = weights(scheme, torch.randn(3, 200, 300, generator=seeded()), False, Initialization())
    assert w.std().item() == pytest.approx(deviation, rel=0.01)
    assert abs(w.mean().item()) < deviation / 100


def test_zero_and_constant_starts():
    p, normal = Initialization.parse({"constant": 0.3, "noise": 0.1, "activation": "relu"}), torch.randn(2, 40, 50, generator=seeded())
    assert not weights("zero", normal, False, p).any()
    assert (weights("constant", normal, False, p) == 0.3).all()
    torch.testing.assert_close(weights("noise", normal, True, p), 0.3 + 0.03 * normal)
    assert not weights("last", normal, True, p).any()
    torch.testing.assert_close(weights("last", normal, False, p), normal * 0.2)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh()])
def test_autograd_agrees_that_zeros_block_all_weights_but_not_the_output_bias(activation):
    data = load_digits()
    net = nn.Sequential(nn.Linear(64, 7), activation, nn.Linear(7, 10))
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    nn.functional.cross_entropy(net(data.train_x[:32]), data.train_y[:32]).backward()
    assert [bool(parameter.grad.any()) for parameter in net.parameters()] == [False, False, False, True]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_equal_units_stay_equal_and_noise_parts_them(optimizer):
    p = Initialization.parse({"optimizer": optimizer, "rate": 0.1 if optimizer == "sgd" else 0.01, "steps": 150, "runs": 5})
    data = load_digits()
    network = build(("constant", "noise"), (64, 16, 10), p, seeded(), CPU)
    for _ in train(p, [network], data, seeded(1)):
        pass
    off = pairs(cosines(network.weights[0], 5))
    assert off.shape == (2, 5, 16 * 15)
    assert off[0].min() > 1 - 1e-6
    assert off[1].mean() < 0.9


def test_cosines_are_those_of_torch():
    w = torch.randn(6, 4, 9, generator=seeded())
    got = cosines(w, 3)
    assert got[1, 2, 0, 3].item() == pytest.approx(nn.functional.cosine_similarity(w[5, 0], w[5, 3], dim=0).item(), abs=1e-6)
    assert cosines(torch.zeros(3, 4, 9), 3).isnan().all()


def test_expected_scale_has_the_closed_forms():
    p, sizes = Initialization.parse({"activation": "relu"}), (64, 32, 32, 32, 10)
    assert expected_scale(p, "he", sizes, 1.0) == pytest.approx([1, 1, 1], rel=1e-3)
    first = (64 * 2 / 96 / 2) ** 0.5
    assert expected_scale(p, "xavier", sizes, 1.0) == pytest.approx([first, first / 2**0.5, first / 2], rel=1e-3)
    assert expected_scale(p, "small", sizes, 1.0)[2] == pytest.approx((64e-4 / 2 * (32e-4 / 2) ** 2) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_expected_scale_meets_wide_networks(activation):
    p = Initialization.parse({"activation": activation, "width": 48, "runs": 8})
    x = torch.randn(64, 400, generator=seeded(3))
    sizes = (400, 400, 400, 400, 10)
    network = build(("xavier",), sizes, p, seeded(), CPU)
    measured = scales(network, x, 8)[:, 0].mean(1).tolist()
    assert measured == pytest.approx(expected_scale(p, "xavier", sizes, 1.0), rel=0.05)


def test_a_relu_layer_multiplies_the_variance_by_half_n_var():
    p = Initialization.parse({"depth": 30, "width": 32, "activation": "relu"})
    ratios = torch.tensor([layer_factor(p, seeded(seed), CPU) for seed in range(8)]).flatten()
    assert len(ratios) == 256
    assert ratios.mean().item() == pytest.approx(1, abs=4 * ratios.std().item() / 16)
    assert ratios.std().item() / 16 < 0.02


P = Initialization()


def constant(least: float, largest: float, errors: tuple[float, ...], p: Initialization = P) -> tuple[str, str]:
    cosine = torch.tensor([math.nan if p.activation != "sigmoid" else least, least, 0.1, -0.5])[:, None].expand(4, 5)
    rows = torch.tensor(errors, dtype=torch.float64)[:, None].expand(4, 5)
    _, outcome = judge_constant(p, cosine, torch.full((5,), largest), torch.full((5,), 0.1), rows)
    return outcome.verdict.status, outcome.answer


def test_the_rule_for_equal_weights():
    assert constant(1 - 1e-9, 0.0, (90, 70, 5, 4)) == ("reproduced", "good")
    assert constant(1 - 1e-9, 1e-9, (90, 70, 40, 4)) == ("same_direction", "between")
    assert constant(0.9995, 0.0, (90, 70, 69, 4)) == ("same_direction", "bad")
    assert constant(0.5, 0.0, (90, 4.5, 4, 4)) == ("not_at_this_scale", "alike")
    assert constant(math.nan, math.nan, (90, 90, 90, 4))[0] == "not_at_this_scale"
    sigmoid = Initialization.parse({"activation": "sigmoid"})
    assert constant(1 - 1e-9, 0.3, (70, 70, 5, 4), sigmoid)[0] == "reproduced"


def zero(*means: float) -> tuple[str, str]:
    jitter = torch.tensor([-0.3, -0.1, 0.0, 0.1, 0.3], dtype=torch.float64)
    _, outcome = judge_zero(torch.tensor(means, dtype=torch.float64)[:, None] + jitter * torch.arange(1, 6)[:, None])
    return outcome.verdict.status, outcome.answer


def test_the_rule_for_harmless_zeros():
    assert zero(90, 4, 4.2, 6, 6.1) == ("reproduced", "zero")
    assert zero(4.5, 4, 4.2, 6, 6.1) == ("reproduced", "none")
    assert zero(90, 10, 4, 6, 6) == ("same_direction", "last")
    assert zero(90, 4, 4, 80, 6) == ("not_at_this_scale", "logistic")


def depth(xavier: float, he: float, first: float = 1.0, spread: float = 0.01, **values: object) -> tuple[str, str]:
    p = Initialization.parse({**DEMO.presets["depth"].values, **values})
    jitter = spread * torch.tensor([-1, -0.5, 0, 0.5, 1.0], dtype=torch.float64)
    learnt = torch.tensor([0.0, 0.0, xavier, he], dtype=torch.float64)[:, None] + jitter
    start = torch.ones(p.depth - 1, 4, 5, dtype=torch.float64)
    start[0] = first
    _, outcome = judge_depth(p, learnt, 50 * torch.ones(4, 5), start, torch.ones(p.depth, 4, 5), [1.0, 1.1, 0.9])
    return outcome.verdict.status, outcome.answer


def test_the_rule_for_depth():
    assert depth(0.0, 0.4) == ("reproduced", "he")
    assert depth(0.3, 0.6) == ("same_direction", "both")
    assert depth(0.0, 0.0) == ("not_at_this_scale", "neither")
    assert depth(0.3, 0.6, depth=12) == ("reproduced", "both")
    assert depth(0.0, 0.6, depth=12) == ("same_direction", "he")
    assert depth(0.6, 0.6, depth=12)[0] == "not_at_this_scale"
    assert depth(0.6, 0.6, activation="tanh")[0] == "reproduced"
    assert depth(0.6, 0.6, first=0.01, activation="tanh")[0] == "same_direction"
    assert depth(0.0, 0.6, activation="tanh")[0] == "not_at_this_scale"
    assert depth(0.3, 0.6, optimizer="adam") == ("reproduced", "both")
    assert depth(0.04, 0.6, spread=0.02, optimizer="adam")[0] == "same_direction"
    assert depth(0.0, 0.6, optimizer="adam") == ("not_at_this_scale", "he")


def test_each_setting_has_its_publication():
    settings = [{}, {"depth": 22}, {"optimizer": "adam"}, {"activation": "tanh"}, {"activation": "tanh", "optimizer": "adam"}]
    found = [claim(Initialization.parse({**DEMO.presets["depth"].values, **values})) for values in settings]
    assert found == ["stall", "both", "adam", "scale", "scale"]


@pytest.mark.parametrize("values", [{"depth": 2}, {"depth": 2, "activation": "sigmoid"}, {"rate": 10}, {"depth": 3, "width": 2}])
def test_a_short_stack_and_a_diverging_one_end_with_a_verdict(values):
    p = Initialization.parse({**DEMO.presets["depth"].values, "steps": 50, **values})
    *_, last = DEMO.run(p, CPU, seeded())
    assert last.outcome is not None
    assert "nan" not in last.outcome.verdict.explanation.en
    assert all("nan" not in chart.summary.en for chart in last.charts)


@pytest.mark.parametrize("values", [{"rate": 10}, {"constant": 2.0, "activation": "relu"}, {"noise": 0}, {"activation": "sigmoid"}])
def test_odd_constant_starts_end_with_a_verdict(values):
    *_, last = DEMO.run(Initialization.parse({"steps": 50, **values}), CPU, seeded())
    assert last.outcome is not None
    assert "nan" not in last.outcome.verdict.explanation.en
