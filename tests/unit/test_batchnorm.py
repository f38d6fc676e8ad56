"""The batch-norm experiments: paired comparisons, exact properties of the two modes, the ends of the parameters, and other seeds."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from demos.batchnorm import DEMO, BatchNorm, _jitter, _shifts, _steps_to, _Training
from demos.core.charts import BarChart
from demos.core.demo import Snapshot, effect_status

torch.set_num_threads(1)
CPU = torch.device("cpu")


def last(seed: int, task: str, **values: object) -> Snapshot:
    p = BatchNorm.parse({**DEMO.presets[task].values, **values})
    *_, snapshot = DEMO.run(p, CPU, torch.Generator().manual_seed(seed))
    return snapshot


def figure(snapshot: Snapshot, start: str) -> float:
    return next(figure.value for figure in snapshot.figures if figure.name.en.startswith(start))


def test_with_and_without_batch_norm_start_from_the_same_weights_and_batches():
    p = BatchNorm(steps=50, depth=2)
    plain, normed = (_Training(p, CPU, 5, [0.1], batch_norm=batch_norm) for batch_norm in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(plain.network.weights, normed.network.weights, strict=True))
    assert torch.equal(plain._batches, normed._batches)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_stacked_step_equals_an_ordinary_network(batch_norm):
    training = _Training(BatchNorm(steps=50, depth=2, rate=0.1), CPU, 1, [0.1, 0.3], batch_norm=batch_norm)
    nets = [training.network.to_sequential(k) for k in range(training.network.count)]
    for i in range(10):
        training.step(i)
        for k, net in enumerate(nets):
            batch = training._batches[i][k % training.seeds]
            loss = torch.nn.functional.cross_entropy(net(training.digits.train_x[batch]), training.digits.train_y[batch])
            grads = torch.autograd.grad(loss, list(net.parameters()))
            with torch.no_grad():
                for parameter, grad in zip(net.parameters(), grads, strict=True):
                    parameter -= (0.1, 0.3)[k // training.seeds] * grad
    for k, net in enumerate(nets):
        expected = net.eval()(training.digits.test_x).detach()
        torch.testing.assert_close(training.network.logits(training.digits.test_x)[k], expected, rtol=1e-2, atol=5e-3)


def test_steps_to_the_target_are_those_of_the_first_look_below_it():
    errors = torch.tensor([[[[9.0, 9.0], [4.0, 6.0], [7.0, 5.5]]]])  # (kind, rate, look, seed)
    assert _steps_to(BatchNorm(target=95), [10, 20, 30], errors).tolist() == [[[20.0, math.inf]]]


def test_status_follows_its_rule():
    assert effect_status(14.0, 9.0, 1, 14.8) == "reproduced"
    assert effect_status(2.0, 1.5, 1, 14.8) == "same_direction"
    assert effect_status(2.0, 0.9, 1, 14.8) == "not_at_this_scale"


def test_without_batch_norm_no_mode_depends_on_the_neighbours():
    training = _Training(BatchNorm(depth=2, steps=50), CPU, 0, [0.1], batch_norm=False)
    in_train, in_eval, flips = _jitter(training, 8, torch.Generator().manual_seed(0))
    assert in_train.max() == in_eval.max() == flips.max() == 0


def test_a_momentum_of_one_stores_the_last_batch_exactly():
    training = _Training(BatchNorm(depth=1, steps=50, momentum=1.0), CPU, 0, [0.1])
    for i in range(3):
        tape = training.step(i)
    unbiased = (tape.inverse_std[0][..., 0] ** -2 - 1e-5) * 32 / 31
    torch.testing.assert_close(training.network.running_variance[0], unbiased, rtol=1e-3, atol=1e-4)


def test_variance_shift_of_a_linear_layer_behind_dropout_matches_theory():
    """Li 2019: for zero-mean inputs of variance v, dropout that keeps a share q makes it v/q in training, so the shift is 1/q."""
    training = _Training(BatchNorm(depth=2, steps=50), CPU, 0, [0.0, 0.0], dropout=[[0.0, 0.0], [0.5, 0.0]])
    for i in range(50):
        training.step(i)  # with rate 0 only the running statistics move
    shifts = _shifts(training).mean(1)
    assert shifts[:, 0] == pytest.approx([1.05, 1.05], abs=0.1)
    assert shifts[0, 1] == pytest.approx(1.05, abs=0.1)
    # ReLU's outputs are not centred: with E[h²] = v + m², training sees v/q + m²(1−q)/q, so the shift exceeds 1/q = 2.
    assert 2 < shifts[1, 1] < 4.5


def test_eval_does_not_depend_on_the_neighbours_and_train_does():
    snapshot = last(3, "train-eval", steps=100)
    assert snapshot.outcome and snapshot.outcome.answer == "train" and snapshot.outcome.verdict.status == "reproduced"
    assert snapshot.outcome.verdict.measured.value == 0
    assert figure(snapshot, "Jitter ∝") == pytest.approx(-0.45, abs=0.15)


def test_statistics_that_lag_behind_spoil_eval():
    lagging, following = (last(0, "train-eval", steps=100, momentum=momentum) for momentum in (0.002, 0.1))
    assert figure(lagging, "Test error") > 2 * figure(following, "Test error")
    assert abs(figure(following, "Running variance") - 1) < 0.1 < abs(figure(lagging, "Running variance") - 1)


@pytest.mark.parametrize("seed", [21, 22])
def test_other_seeds_agree_that_tiny_batches_hurt(seed):
    snapshot = last(seed, "tiny-batch", steps=100, seeds=5)
    assert snapshot.outcome and snapshot.outcome.answer == "harm"


@pytest.mark.parametrize("seed", [31, 32])
def test_other_seeds_agree_that_dropout_before_batch_norm_shifts_the_variance(seed):
    snapshot = last(seed, "dropout-order", steps=150, seeds=5)
    assert snapshot.outcome and snapshot.outcome.answer == "worse"
    assert figure(snapshot, "Variance shift: after every") > 1.5 > figure(snapshot, "Variance shift: after the last")


def test_other_seeds_agree_that_batch_norm_bears_the_larger_rate():
    snapshot = last(41, "training", steps=250)
    assert snapshot.outcome and snapshot.outcome.verdict.status in ("same_direction", "reproduced")


EXTREMES = {
    "smallest": {
        "rate": 0.001,
        "depth": 1,
        "width": 4,
        "batch": 2,
        "steps": 50,
        "target": 98,
        "seeds": 5,
        "momentum": 0.001,
        "dropout": 0.0,
    },
    "wildest": {"rate": 1.0, "depth": 8, "width": 24, "batch": 64, "steps": 50, "target": 50, "seeds": 5, "momentum": 1.0, "dropout": 0.9},
    "sigmoid": {"rate": 1.0, "depth": 8, "width": 4, "batch": 2, "steps": 50, "activation": "sigmoid", "seeds": 5},
}


@pytest.mark.parametrize(("task", "ends"), list(itertools.product(BatchNorm.specs()["task"].options, EXTREMES)))
def test_extremes_end_in_a_drawn_and_explained_result(task, ends):
    p = BatchNorm.parse({"task": task, **EXTREMES[ends]})
    snapshots = list(DEMO.run(p, CPU, torch.Generator().manual_seed(0)))
    outcome = snapshots[-1].outcome
    assert outcome and outcome.answer in DEMO.predict(p).options and outcome.verdict.explanation.zh
    assert "nan" not in outcome.verdict.explanation.en
    for figure in snapshots[-1].figures:
        assert not math.isnan(figure.value) and not (figure.spread is not None and math.isnan(figure.spread)), figure.name.en
    for chart in snapshots[-1].charts:
        shown = [group.values for group in chart.groups] if isinstance(chart, BarChart) else [line.y for line in chart.lines]
        assert shown and not any(math.isnan(value) for values in shown for value in values), chart.title.en
