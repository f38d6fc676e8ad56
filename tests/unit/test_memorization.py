"""Masked stacks against plain networks of their width, what XOR allows, the corruption of labels, the judging rules, and the edges."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from demos.core.demo import Snapshot
from demos.core.stacked import Adam
from demos.memorization import (
    DEMO,
    POINTS,
    TARGETS,
    XOR_X,
    XOR_Y,
    _errors,
    _Xor,
    corrupted,
    judge_function,
    judge_labels,
    judge_xor,
    slopes,
    stack_of_widths,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def last_of(**values: object) -> Snapshot:
    *_, last = DEMO.run(DEMO.parameters.parse(values), CPU, generator())
    return last


def plain(network, k, width, activation):
    """Network k of the stack as an ordinary one of its own width."""
    inputs, outputs = network.sizes[0], network.sizes[-1]
    net = nn.Sequential(nn.Linear(inputs, width), {"relu": nn.ReLU, "tanh": nn.Tanh}[activation](), nn.Linear(width, outputs))
    with torch.no_grad():
        net[0].weight.copy_(network.weights[0][k, :width])
        net[0].bias.copy_(network.biases[0][k, :width])
        net[2].weight.copy_(network.weights[1][k, :, :width])
        net[2].bias.copy_(network.biases[1][k])
    return net


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_masked_network_trains_like_one_of_its_own_width(activation):
    widths, each = [1, 3, 8], 2
    network, masks = stack_of_widths(widths, each, (1, 1), activation, generator(), CPU)
    nets = [plain(network, k, widths[k // each], activation) for k in range(network.count)]
    x = torch.linspace(-1, 1, POINTS)[:, None]
    y = TARGETS["wave"][0](x + 0.3) + x  # not odd: a gradient of exactly 0 would let Adam follow rounding
    optimizer = Adam(network, [0.02] * network.count)
    for _ in range(30):
        outputs, tape = network.forward(x, masks, training=True)
        optimizer.step(network.backward(tape, (outputs - y.T) * (2 / POINTS)))
    for k, net in enumerate(nets):
        own = torch.optim.Adam(net.parameters(), lr=0.02)
        for _ in range(30):
            own.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            own.step()
        torch.testing.assert_close(network.logits(x, masks)[k], net(x), rtol=1e-3, atol=1e-4)


def test_each_width_begins_at_its_own_scale():
    network, _ = stack_of_widths([2, 128], 400, (1, 1), "relu", generator(), CPU)
    assert network.weights[1][:400].std().item() == pytest.approx((2 / 2) ** 0.5, rel=0.05)
    assert network.weights[1][400:].std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)


def test_the_books_weights_solve_xor_and_no_linear_network_does():
    flat = stack_of_widths([2], 1, (2, 2), "relu", generator(), CPU)[0]
    xor = _Xor([2], flat, *stack_of_widths([2], 1, (2, 2), "relu", generator(), CPU), starts=1)
    deep = xor.deep
    deep.weights[0].copy_(torch.ones(1, 2, 2))
    deep.biases[0].copy_(torch.tensor([[0.0, -1.0]]))
    deep.weights[1].copy_(torch.tensor([[[0.0, 0.0], [6.0, -12.0]]]))
    deep.biases[1].copy_(torch.tensor([[0.0, -3.0]]))
    xor.flat = deep  # counted in both rows
    assert xor.state()[1].all()
    deep.weights[1].zero_()
    deep.biases[1].zero_()
    losses, solved = xor.state()
    assert not solved.any()  # 0.5 everywhere is not an answer, whatever rounding makes of it
    assert losses[0, 0].item() == pytest.approx(math.log(2))


def test_nothing_without_two_hidden_units_learns_xor():
    figures = {figure.name.en: figure.value for figure in last_of(task="xor", width=4, lr=0.03, starts=100, steps=300).figures}
    assert figures["XOR learnt: no hidden layer"] == figures["XOR learnt: 1 hidden unit"] == 0
    assert 0 < figures["XOR learnt: 2 hidden units"] < 100
    assert sum(a[0] != a[1] for a in XOR_X) == sum(XOR_Y)


def test_labels_are_corrupted_at_the_given_share():
    y = torch.arange(10).repeat(2, 1000)
    labels = corrupted(y, 10, [0.0, 0.5, 1.0], generator())
    assert torch.equal(labels[0], y)
    right = [(part == y).float().mean().item() for part in labels]
    assert right[1] == pytest.approx(0.55, abs=0.02) and right[2] == pytest.approx(0.1, abs=0.02)
    changed = labels[1] != y
    assert torch.equal(labels[2][changed], labels[1][changed])  # the smaller share is contained in the larger


def test_slopes_and_errors():
    assert slopes([2, 4, 8], [[8.0, 1.0], [4.0, 1.0], [2.0, 1.0]]) == pytest.approx([-1, 0])
    p = DEMO.parameters.parse({"task": "function", "target": "square", "seeds": 5})
    network, masks = stack_of_widths([2], 5, (1, 1), "relu", generator(), CPU)
    network.weights[1].zero_()
    network.biases[1].fill_(1 / 3)  # the mean of x² on −1 … 1: an error of one standard deviation
    inside, outside = _errors(p, network, masks)
    assert inside.mean().item() == pytest.approx(100, abs=0.1)
    assert outside.min() > 300
    network.biases[1].fill_(math.nan)
    assert _errors(p, network, masks).isinf().all()


def levels(train, test, clean=90.0):
    wobble = (-0.2, -0.1, 0, 0.1, 0.2)
    means = {"train-noisy": train, "test-noisy": test, "train-true": 100.0, "test-true": clean}
    return {name: [mean + d for d in wobble] for name, mean in means.items()}


@pytest.mark.parametrize(
    ("noise", "train", "test", "status", "answer"),
    [
        (1.0, 99.8, 11, "reproduced", "memorised"), (1.0, 99.8, 17, "same_direction", "memorised"), (1.0, 95, 11, "same_direction", "memorised"),
        (1.0, 40, 11, "not_at_this_scale", "partial"), (1.0, 15, 11, "not_at_this_scale", "nothing"),
        (0.5, 99.8, 55, "reproduced", "learnt"), (0.5, 99.8, 90, "same_direction", "learnt"),
    ],
)  # fmt: skip
def test_the_rule_for_labels(noise, train, test, status, answer):
    assert judge_labels(DEMO.parameters.parse({"noise": noise}), levels(train, test), 10.0) == (status, answer)


@pytest.mark.parametrize(
    ("solved", "status", "answer"),
    [
        ({0: 0, 1: 0, 2: 40, 3: 90}, "reproduced", "some"), ({0: 0, 1: 0, 2: 199}, "reproduced", "nearly-all"), ({0: 0, 1: 0, 2: 0, 3: 9}, "same_direction", "none"),
        ({0: 0, 1: 0}, "not_at_this_scale", "none"), ({0: 1, 1: 0, 2: 40}, "not_at_this_scale", "some"),
    ],
)  # fmt: skip
def test_the_rule_for_xor(solved, status, answer):
    assert judge_xor(DEMO.parameters.parse({"task": "xor"}), solved) == (status, answer)


@pytest.mark.parametrize(
    ("inside", "outside", "status", "answer"),
    [
        ([[80.0, 90], [4, 5]], [[99.0, 99], [99, 99]], "reproduced", "inside"), ([[80.0, 90], [4, 5]], [[9.0, 9], [9, 9]], "reproduced", "both"),
        ([[80.0, 90], [40, 45]], [[99.0, 99], [99, 99]], "same_direction", "poor"), ([[80.0, 90], [90, 80]], [[99.0, 99], [99, 99]], "not_at_this_scale", "poor"),
        ([[80.0, 90], [4, math.inf]], [[99.0, 99], [99, math.inf]], "not_at_this_scale", "poor"),
    ],
)  # fmt: skip
def test_the_rule_for_functions(inside, outside, status, answer):
    assert judge_function([2, 64], [row * 3 for row in inside], [row * 3 for row in outside]) == (status, answer)


EDGES = [
    {"noise": 0.0, "steps": 20}, {"width": 1, "steps": 20}, {"lr": 1.0, "steps": 100, "width": 128}, {"noise": 0.3, "steps": 60, "samples": 20},
    {"task": "xor", "width": 1, "steps": 20}, {"task": "xor", "lr": 1.0, "steps": 60, "activation": "tanh"}, {"task": "function", "width": 1, "steps": 20},
    {"task": "function", "lr": 1.0, "steps": 60, "activation": "tanh"}, {"task": "function", "target": "jump", "steps": 60}, {"task": "function", "target": "square", "steps": 200},
]  # fmt: skip


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_edges_end_in_an_explained_result(edge):
    last = last_of(**edge)
    assert last.outcome is not None and last.outcome.answer in DEMO.predict(DEMO.parameters.parse(edge)).options
    assert not any(math.isnan(figure.value) for figure in last.figures)
    assert "nan" not in last.outcome.verdict.explanation.en and " inf " not in last.outcome.verdict.explanation.en
