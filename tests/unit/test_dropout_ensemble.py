"""Dropout: what is exact in theory, the stacked training against a plain loop, and the edges of the parameters."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from demos.core.charts import LineChart
from demos.core.datasets import load_digits
from demos.core.demo import Snapshot
from demos.core.stacked import StackedMLP
from demos.dropout_ensemble import (
    BATCH,
    DEMO,
    _build,
    _train,
    marks_up_to,
    meeting_points,
    score,
    score_averages,
    score_ensembles,
    training_sizes,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")
QUICK = {"samples": 60, "width": 8, "largest_k": 20, "steps": 50, "seeds": 5}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def last_of(seed: int = 0, **values: object) -> Snapshot:
    *_, last = DEMO.run(DEMO.parameters.parse(values), CPU, generator(seed))
    return last


def average_over_all_masks(network: StackedMLP, x: torch.Tensor, p: float) -> torch.Tensor:
    """The exact mean of the logits over every thinned network, each weighted with its probability."""
    widths = network.sizes[1:-1]
    total = torch.zeros(())
    for bits in itertools.product((0.0, 1.0), repeat=sum(widths)):
        chance = math.prod(1 - p if bit else p for bit in bits)
        masks = [part[None, :, None] / (1 - p) for part in torch.tensor(bits).split(list(widths))]
        total = total + chance * network.logits(x, masks)
    return total


@pytest.mark.parametrize("p", [0.2, 0.5])
@pytest.mark.parametrize(("sizes", "activation"), [((4, 7, 3), "relu"), ((4, 4, 4, 3), "linear")])
def test_eval_is_the_mean_of_all_thinned_networks_where_the_mask_acts_linearly(sizes, activation, p):
    network = StackedMLP(sizes, range(2), generator(), activation=activation, dropout=p)
    x = torch.randn(5, 4, generator=generator(1))
    torch.testing.assert_close(average_over_all_masks(network, x, p), network.logits(x), rtol=1e-4, atol=1e-5)
    # Mean logits are the logarithms of the normalised geometric mean: what eval() predicts is that mean of all 2^units networks.


def test_a_second_relu_layer_makes_eval_an_approximation():
    network = StackedMLP((4, 4, 4, 3), range(2), generator(), dropout=0.5)
    x = torch.randn(5, 4, generator=generator(1))
    assert (average_over_all_masks(network, x, 0.5) - network.logits(x)).abs().max() > 0.01


def test_drawn_masks_keep_the_mean_activation():
    network = StackedMLP((4, 50, 3), range(3), generator(), dropout=0.8)
    (mask,) = network.draw_masks(20_000, generator(2))
    assert set(mask.unique().tolist()) == {0.0, mask.max().item()}
    assert mask.mean().item() == pytest.approx(1.0, abs=5 * 2 / math.sqrt(mask.numel()))  # one value has standard deviation √(p/(1−p)) = 2


def test_training_equals_a_plain_loop():
    p = DEMO.parameters.parse({**QUICK, "p": 0, "steps": 50, "lr": 0.01})
    digits = load_digits()
    network = _build(p, digits, 2 * p.seeds, 0.0, generator(3))
    plain = [network.to_sequential(k) for k in range(network.count)]
    counts = torch.tensor([10] * p.seeds + [40] * p.seeds)
    losses = [loss for _, (loss,) in _train(p, [network], digits, counts, generator(4))]

    draw = generator(4)
    shuffles = [torch.randperm(len(digits.train_y), generator=draw) for _ in range(p.seeds)]
    optimizers = [torch.optim.SGD(net.parameters(), lr=p.lr, momentum=0.9) for net in plain]
    for step in range(p.steps):
        drawn = torch.rand(network.count, BATCH, generator=draw)
        for k, (net, optimizer) in enumerate(zip(plain, optimizers, strict=True)):
            batch = shuffles[k % p.seeds][: counts[k]][(drawn[k] * counts[k]).long()]
            loss = nn.functional.cross_entropy(net(digits.train_x[batch]), digits.train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert losses[step][k].item() == pytest.approx(loss.item(), rel=1e-3, abs=1e-5)


def test_scores():
    labels = torch.tensor([0, 1])
    right, wrong = [[0.9, 0.1], [0.2, 0.8]], [[0.4, 0.6], [0.2, 0.8]]
    error, nll = score(torch.tensor([right, wrong, [[math.nan] * 2] * 2]), labels)
    assert error.tolist() == [0.0, 50.0, math.inf]
    assert nll.tolist() == pytest.approx([-(math.log(0.9) + math.log(0.8)) / 2, -(math.log(0.4) + math.log(0.8)) / 2, math.inf])


def test_averages_are_of_the_first_k_in_order():
    draws = torch.rand(6, 2, 30, 4, generator=generator()).softmax(-1)
    labels = torch.randint(0, 4, (30,), generator=generator(1))
    order = [5, 2, 0, 1, 3, 4]
    errors, nlls = score_averages(list(draws), order, [1, 3, 6], labels)
    for column, k in enumerate([1, 3, 6]):
        error, nll = score(draws[order[:k]].mean(0), labels)
        torch.testing.assert_close(errors[:, column], error)
        torch.testing.assert_close(nlls[:, column], nll)
    error, nll = score_ensembles(draws, labels)
    torch.testing.assert_close(error[:, 0], score(draws, labels)[0].mean(0))
    torch.testing.assert_close(nll[:, -1], score(draws.mean(0), labels)[1])


def test_meeting_points():
    thinned = torch.tensor([[9.0, 7.0, 5.5], [9.0, 8.0, 7.0], [4.0, 4.0, 4.0], [math.inf] * 3])
    scatter = torch.tensor([[1.0, 1.0, 1.0]] * 4)
    scaled = torch.tensor([6.0, 5.0, 5.0, math.inf])
    assert meeting_points(thinned, scatter, scaled, [1, 4, 9]) == [4.0, math.inf, 1.0, math.inf]


def test_grids():
    assert marks_up_to(10) == list(range(1, 11))
    assert marks_up_to(200)[0] == 1 and marks_up_to(200)[-1] == 200 and len(marks_up_to(200)) <= 28
    assert training_sizes(1297) == [41, 81, 162, 324, 648, 1297]
    assert training_sizes(20) == [10, 20]


EDGES = [
    {"p": 0.0},
    {"p": 0.95},
    {"lr": 1.0},
    {"lr": 0.001, "steps": 50},
    {"samples": 20, "width": 8, "largest_k": 10},
    {"samples": 1297, "layers": 1},
]


@pytest.mark.parametrize("task", ["ensemble", "train-test", "data"])
@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_edges_end_in_a_drawn_and_explained_result(task, edge):
    values = {**QUICK, **edge, "task": task}
    last = last_of(**values)
    assert last.outcome is not None and last.outcome.answer in DEMO.predict(DEMO.parameters.parse(values)).options
    for figure in last.figures:
        assert not math.isnan(figure.value) and (figure.spread is None or math.isfinite(figure.spread)), figure
        assert math.isinf(figure.value) or abs(figure.value) < 1e6, figure
    for chart in last.charts:
        assert isinstance(chart, LineChart)
        assert not any(math.isnan(value) for line in chart.lines for value in (*line.y, *line.low, *line.high))


def test_without_dropout_one_network_is_eval():
    last = last_of(**QUICK, p=0.0)
    assert last.figures[0].value == 1.0
    assert last.outcome is not None and (last.outcome.answer, last.outcome.verdict.status) == ("one", "not_at_this_scale")
    assert last_of(**QUICK, p=0.0, task="train-test").figures[0].value == 0.0


def test_a_linear_network_nears_eval_as_one_over_root_k():
    figures = {figure.name.en: figure.value for figure in last_of(**QUICK, task="train-test").figures}
    assert figures["linear network's deviation, k = 20"] == pytest.approx(figures["theory, 1/√k"], rel=0.05)


def test_other_seeds_agree():
    seed, less = 7, {"steps": 200, "seeds": 8}
    outcomes = {task: last_of(seed, **less, task=task).outcome for task in ("ensemble", "train-test")}
    outcomes["data"] = last_of(seed, **less, task="data", samples=1297).outcome
    statuses = {task: outcome.verdict.status for task, outcome in outcomes.items() if outcome is not None}
    assert statuses["ensemble"] in ("reproduced", "same_direction")
    assert statuses["train-test"] == "reproduced"
    assert statuses["data"] in ("reproduced", "same_direction")
