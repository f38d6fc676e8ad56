"""The learning-rate experiments against exact theory, at the ends of their parameters, and over other seeds."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from demos.core.demo import Snapshot
from demos.core.statistics import log_spaced
from demos.learning_rate_sweep import DEMO, Rates, _descend, _find_edge, _limit, _Quadratics, _smooth

torch.set_num_threads(1)
CPU = torch.device("cpu")


def last(seed: int = 0, **values: object) -> Snapshot:
    *_, snapshot = DEMO.run(Rates.parse(values), CPU, torch.Generator().manual_seed(seed))
    return snapshot


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.19, 0.21])
def test_the_quadratic_follows_its_closed_form(rate):
    """After t steps each eigendirection has shrunk by (1 − ηλ)ᵗ."""
    p = Rates(task="quadratic", curvature=10, condition=20)
    problem = _Quadratics(p, 1, CPU, torch.Generator().manual_seed(0))
    matrices, start = problem._matrices.double(), problem._w.double().clone()
    *_, history = _descend(p, problem, [rate], [1.0] * 21)
    values, turns = torch.linalg.eigh(matrices)
    weights = (turns.transpose(1, 2) @ start)[..., 0] ** 2
    expected = (values * weights * (1 - rate * values) ** 40).sum(1) / (values * weights).sum(1)
    torch.testing.assert_close(history[20, 0].double(), expected, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(values[:, -1], torch.full((5,), 10.0).double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(values[:, 0], torch.full((5,), 0.5).double(), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("optimizer", "momentum", "expected"), [("sgd", 0, 2), ("momentum", 0.9, 3.8), ("momentum", 0.5, 3)])
@pytest.mark.parametrize("curvature", [1.0, 25.0])
@pytest.mark.parametrize("condition", [1.0, 50.0])
def test_divergence_begins_at_the_theoretical_limit(optimizer, momentum, expected, curvature, condition):
    p = Rates(task="quadratic", optimizer=optimizer, momentum=momentum, curvature=curvature, condition=condition, high=10)
    assert _limit(p) * curvature == pytest.approx(expected)
    search = _find_edge(p, CPU, torch.Generator().manual_seed(3), log_spaced(p.low, p.high, p.count), Snapshot(0, DEMO.title, ()))
    try:
        while True:
            next(search)
    except StopIteration as found:
        assert found.value == pytest.approx([_limit(p)] * p.seeds, rel=1e-3)


def test_the_quadratic_verdict_is_reproduced_and_names_two():
    snapshot = last(**DEMO.presets["quadratic"].values)
    assert snapshot.outcome and snapshot.outcome.verdict.status == "reproduced" and snapshot.outcome.answer == "two"


def test_a_range_without_the_edge_is_said_to_have_none():
    snapshot = last(task="quadratic", curvature=0.1, high=0.2, steps=20)
    assert snapshot.outcome and snapshot.outcome.answer == "none"
    assert snapshot.outcome.verdict.status == "not_at_this_scale"


@pytest.mark.parametrize("seed", [11, 12])
def test_other_seeds_agree_that_the_best_rate_sits_near_the_cliff(seed):
    snapshot = last(seed, task="network", steps=300, count=24)
    assert snapshot.outcome and snapshot.outcome.verdict.status in ("reproduced", "same_direction")
    best, edge = (figure.value for figure in snapshot.figures[1:3])
    assert 0.2 < best <= edge < 5


def test_the_range_test_turns_within_a_decade_of_the_best_rate():
    snapshot = last(7, task="range-test", steps=300, count=24)
    assert snapshot.outcome and snapshot.outcome.verdict.status in ("reproduced", "same_direction")
    assert 0.1 < snapshot.figures[0].value < 10


def test_smoothing_has_no_bias_at_the_start_and_follows_a_constant():
    assert _smooth(torch.full((30, 2), 3.0)) == pytest.approx(torch.full((30, 2), 3.0).numpy(), rel=1e-5)


EXTREMES = {
    "smallest": {"low": 1e-6, "high": 0.2, "count": 5, "steps": 20, "width": 4, "batch": 1, "curvature": 0.1, "condition": 1},
    "wildest": {
        "low": 0.1,
        "high": 1000,
        "count": 5,
        "steps": 60,
        "width": 64,
        "batch": 64,
        "curvature": 1000,
        "condition": 1e4,
        "seeds": 8,
    },
}


@pytest.mark.parametrize(
    ("task", "ends", "optimizer"), list(itertools.product(Rates.specs()["task"].options, EXTREMES, ["sgd", "momentum", "adam"]))
)
def test_extremes_end_in_a_drawn_and_explained_result(task, ends, optimizer):
    schedule = {"sgd": "cosine", "momentum": "step", "adam": "warmup"}[optimizer]
    p = Rates.parse({"task": task, **EXTREMES[ends], "optimizer": optimizer, "momentum": 0.99, "schedule": schedule})
    snapshots = list(DEMO.run(p, CPU, torch.Generator().manual_seed(0)))
    outcome = snapshots[-1].outcome
    assert outcome and outcome.answer in DEMO.predict(p).options and outcome.verdict.explanation.zh
    for figure in snapshots[-1].figures:
        assert not math.isnan(figure.value) and not (figure.spread is not None and math.isnan(figure.spread))
    for snapshot in snapshots:
        assert all(not math.isnan(y) for chart in snapshot.charts for line in chart.lines for y in line.y)
