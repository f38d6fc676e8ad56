"""The collapse of linear layers against PyTorch's own, the stacked training against a plain loop, the judging rule, and the edges."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from demos.core.demo import Snapshot
from demos.core.stacked import Adam
from demos.linear_collapse import (
    CLOUD,
    DEMO,
    EXACT,
    _build,
    _clouds,
    _draw,
    _line_of,
    deviation,
    judge,
    least_error,
    one_matrix,
    outputs_of_first,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")
QUICK = {"steps": 50, "samples": 40, "seeds": 5}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parameters(**values: object):
    return DEMO.parameters.parse({**QUICK, **values})


def last_of(**values: object) -> Snapshot:
    *_, last = DEMO.run(parameters(**values), CPU, generator())
    return last


@pytest.mark.parametrize("depth", [1, 4, 10])
def test_one_matrix_is_what_the_layers_do(depth):
    network = _build(parameters(depth=depth, width=7), 3, generator(), CPU)["linear"]
    for bias in network.biases:
        bias.copy_(torch.randn(bias.shape, generator=generator(1)))
    matrix, bias = one_matrix(network)
    x = torch.randn(20, 2, generator=generator(2))
    for k in range(network.count):
        expected = network.to_sequential(k).double()(x.double())
        torch.testing.assert_close(x.double() @ matrix[k].T + bias[k], expected, rtol=1e-10, atol=1e-10)
    assert 0 < max(deviation(network, x.expand(network.count, -1, -1))) < EXACT


def test_a_relu_network_is_no_matrix():
    network = _build(parameters(), 2, generator(), CPU)["relu"]
    assert min(deviation(network, torch.randn(5, 20, 2, generator=generator(1)))) > 0.05


def test_the_map_shows_what_the_first_network_says():
    x = torch.randn(20, 2, generator=generator(1))
    for network in _build(parameters(), 2, generator(), CPU).values():
        torch.testing.assert_close(outputs_of_first(network, x), network.logits(x)[0])


def test_the_line_is_where_the_network_is_undecided():
    network = _build(parameters(), 2, generator(), CPU)["linear"]
    network.biases[-1].copy_(torch.tensor([0.1, -0.1]))
    ends = torch.tensor(_line_of(network, 2.0)).T
    logits = network.to_sequential(0)(ends)
    torch.testing.assert_close(logits[:, 0], logits[:, 1], rtol=1e-4, atol=1e-5)
    network.weights[0].zero_()
    assert _line_of(network, 2.0) == ([], [])


def test_training_equals_a_plain_loop():
    p = parameters(lr=0.02)
    data = _draw(p, CPU, generator())
    for network in _build(p, 2, generator(1), CPU).values():
        plain = [network.to_sequential(k) for k in range(network.count)]
        optimizer = Adam(network, [p.lr] * p.seeds)
        for _ in range(20):
            _, gradients = network.gradients(data.train_x, data.train_y)
            optimizer.step(gradients)
        for k, net in enumerate(plain):
            own = torch.optim.Adam(net.parameters(), lr=p.lr)
            for _ in range(20):
                own.zero_grad()
                nn.functional.cross_entropy(net(data.train_x[k]), data.train_y[k]).backward()
                own.step()
            torch.testing.assert_close(network.logits(data.test_x)[k], net(data.test_x[k]), rtol=1e-2, atol=1e-3)


def test_the_least_error_is_that_of_the_perpendicular_bisector():
    p = parameters(shape="clouds", noise=0.5)
    x, y = _clouds(200_000, p.noise, generator())
    wrong = ((x @ torch.tensor(CLOUD) > 0).long() != y).float().mean().item()
    assert least_error(p) == pytest.approx(100 * wrong, abs=0.3)
    assert least_error(parameters(shape="clouds", noise=0)) == 0


LEVELS = [-0.2, -0.1, 0.0, 0.1, 0.2]


def errors(one: float, linear: float, relu: float, wobble: float = 1.0) -> dict[str, list[float]]:
    return {"one": [one] * 5, "linear": [linear + wobble * d for d in LEVELS], "relu": [relu - wobble * d for d in LEVELS]}


@pytest.mark.parametrize(
    ("shape", "levels", "apart", "status", "answer"),
    [
        ("spirals", errors(35, 35, 1), 1e-6, "reproduced", "relu"),
        ("spirals", errors(35, 35, 1), 1e-3, "not_at_this_scale", "relu"),
        ("spirals", errors(35, 35, 30), 1e-6, "same_direction", "relu"),
        ("spirals", errors(35, 35, 34, wobble=20), 1e-6, "not_at_this_scale", "same"),
        ("spirals", errors(45, 35, 1), 1e-6, "same_direction", "between"),
        ("spirals", errors(35, 50, 1), 1e-6, "same_direction", "other"),
        ("spirals", errors(35, math.inf, 1), 1e-6, "not_at_this_scale", "other"),
        ("clouds", errors(13, 13.2, 14), 1e-6, "reproduced", "same"),
        ("clouds", errors(13, 13.2, 18), 1e-6, "reproduced", "other"),
        ("clouds", errors(20, 20, 22), 1e-6, "same_direction", "same"),
        ("clouds", errors(20, 20, 13), 1e-6, "not_at_this_scale", "relu"),
    ],
)  # fmt: skip
def test_the_rule(shape, levels, apart, status, answer):
    assert judge(parameters(shape=shape, noise=0.5 if shape == "clouds" else 0.03), levels, apart) == (status, answer)


EDGES = [{"lr": 1.0, "depth": 10}, {"lr": 0.0001}, {"width": 1}, {"noise": 1.0, "shape": "circles"}, {"noise": 0.0, "shape": "moons"}, {"shape": "clouds", "noise": 0.0}]  # fmt: skip


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_edges_end_in_an_explained_result(edge):
    last = last_of(**edge)
    assert last.outcome is not None and last.outcome.answer in DEMO.predict(parameters(**edge)).options
    assert not any(math.isnan(figure.value) for figure in last.figures)
    assert "nan" not in last.outcome.verdict.explanation.en and "inf" not in last.outcome.verdict.explanation.en.replace("infinite", "")


def test_three_classes_of_ones_own():
    rows = "\n".join(f"{math.cos(i) + i % 3},{math.sin(i)},{'abc'[i % 3]}" for i in range(90))
    last = last_of(data=rows)
    assert last.outcome is not None and last.charts[0].grid.high == 2


def test_divergence_is_said():
    levels = {"one": [1.0] * 5, "linear": [math.inf] * 5, "relu": [1.0] * 5}
    from demos.linear_collapse import _result

    figures, outcome = _result(parameters(), levels, [math.inf])
    assert "diverged" in outcome.verdict.explanation.en and outcome.answer == "other"
    assert not any(math.isnan(figure.value) for figure in figures)
