"""Stacked SGD with any batch against plain PyTorch loops, the linear scaling rule in its exact limit, the line between solutions, and the judging rules."""

from __future__ import annotations

import math

import pytest
import torch

from demos.batch_size import ALPHAS, DEMO, Batches, _judge_epochs, _judge_steps, _losses_along, _Rows, _Run, _sizes
from demos.core.datasets import load_digits

torch.set_num_threads(1)
CPU = torch.device("cpu")
SMALL = {"seeds": 5, "width": 5, "samples": 64, "epochs": 2, "small": 4, "ratio": 8}


def runs_of(**values: object) -> tuple[Batches, _Rows, list[_Run]]:
    p = Batches.parse({**SMALL, **values})
    generator = torch.Generator().manual_seed(0)
    rows = _Rows.split(p, load_digits(generator=generator), generator)
    sizes = _sizes(p, rows.train.shape[1])
    return p, rows, [_Run(p, rows, size, sizes[0], 7, CPU) for size in sizes]


@pytest.mark.parametrize(("task", "warmup"), [("epochs", 0.0), ("epochs", 0.5), ("steps", 0.0)])
def test_every_network_trains_as_in_a_plain_loop(task, warmup):
    p, rows, runs = runs_of(task=task, warmup=warmup, steps=20, samples=76)  # 76 rows: the last batch of an epoch is smaller
    for run in (runs[0], runs[-1]):
        networks = [run.network.to_sequential(k) for k in range(run.network.count)]
        generator, step = torch.Generator().manual_seed(8), 0
        for part in (0.3, 1.0):
            run.advance(round(run.total * part))
        while step < run.total:
            orders = [torch.randperm(rows.train.shape[1], generator=generator) for _ in range(p.seeds)]
            batches = [rows.train[seed][order].split(run.size) for seed, order in enumerate(orders)]
            for i in range(min(len(batches[0]), run.total - step)):
                step += 1
                for k, network in enumerate(networks):
                    batch, which = batches[k % p.seeds][i], k // p.seeds
                    ramp = min(1.0, step / (warmup * run.total)) if warmup and which else 1.0
                    network.zero_grad()
                    torch.nn.functional.cross_entropy(network(rows.x[batch]), rows.y[batch]).backward()
                    with torch.no_grad():
                        for weight in network.parameters():
                            weight -= run.rates[which] * ramp * weight.grad
        assert run.done == run.total == step
        for k, network in enumerate(networks):
            torch.testing.assert_close(run.network.weights[0][k], network[0].weight.detach(), rtol=1e-3, atol=1e-5)


def test_updates_and_rates_of_each_size():
    p, _, runs = runs_of()
    assert [run.size for run in runs] == [4, 8, 16, 32]
    assert [run.total for run in runs] == [32, 16, 8, 4]  # two epochs of 64 rows
    assert [run.rates for run in runs] == [[p.rate, p.rate * k] for k in (1, 2, 4, 8)]
    _, _, equal = runs_of(task="steps", steps=30)
    assert [(run.size, run.total, run.rates) for run in equal] == [(4, 30, [0.1]), (32, 30, [0.1])]


@pytest.mark.parametrize(
    ("small", "ratio", "count", "expected"),
    [(8, 8, 512, [8, 16, 32, 64]), (8, 64, 512, [8, 23, 64, 181, 512]), (64, 256, 1000, [64, 127, 253, 503, 1000]), (64, 2, 22, [11, 22])],
)
def test_the_sizes_reach_from_the_small_batch_to_the_large_one_or_all_rows(small, ratio, count, expected):
    assert _sizes(Batches(small=small, ratio=ratio), count) == expected


def test_with_a_tiny_rate_the_scaled_large_batch_goes_where_the_small_one_goes():
    """To first order in the rate the rule is exact: over one epoch both follow the same sum of gradients. With the same rate it is an eighth of the way."""
    _, _, runs = runs_of(rate=0.001, epochs=1)
    starts = [weight.clone() for weight in runs[0].network.weights]
    for run in (runs[0], runs[-1]):
        run.advance(run.total)
    small, large = ([now - start for now, start in zip(run.network.weights, starts, strict=True)] for run in (runs[0], runs[-1]))
    for a, b in zip(small, large, strict=True):
        away = a[:5].flatten(1).norm(dim=1)
        assert float(((b[5:] - a[:5]).flatten(1).norm(dim=1) / away).max()) < 0.05
        torch.testing.assert_close(8 * b[:5].flatten(1).norm(dim=1) / away, torch.ones(5), rtol=0, atol=0.15)


def test_the_line_has_both_solutions_at_its_marks():
    p, rows, runs = runs_of(task="steps", steps=40)
    for run in runs:
        run.advance(run.total)
    losses = torch.stack(list(_losses_along(p, rows, runs, CPU)))
    assert losses.shape == (len(ALPHAS), 2, 5) and (ALPHAS[0], ALPHAS[-1]) == (-1, 2)
    for seed in (0, 4):
        ends = [run.network.to_sequential(seed) for run in runs]
        for alpha in (0.0, 0.5, 1.0, 2.0):
            mixed = runs[0].network.to_sequential(seed)
            with torch.no_grad():
                for weight, small, large in zip(mixed.parameters(), *[end.parameters() for end in ends], strict=True):
                    weight.copy_((1 - alpha) * small + alpha * large)
                for which, part in enumerate((rows.train[seed], rows.test[seed])):
                    expected = torch.nn.functional.cross_entropy(mixed(rows.x[part]), rows.y[part])
                    assert float(losses[ALPHAS.index(alpha), which, seed]) == pytest.approx(float(expected), rel=1e-4)
    wrong = (ends[1](rows.x[rows.test[4]]).argmax(1) != rows.y[rows.test[4]]).double().mean()
    assert float(runs[1].test_error()[0, 4]) == pytest.approx(100 * float(wrong), abs=1e-3)


def test_no_row_is_both_trained_on_and_tested():
    _, rows, _ = runs_of(samples=1000)
    for train, test in zip(rows.train.tolist(), rows.test.tolist(), strict=True):
        assert not set(train) & set(test) and len(set(train)) == 1000 and len(set(test)) == 499


def errors_of(*means: float) -> torch.Tensor:
    """(rates, seeds) of errors with a little spread."""
    return torch.tensor(means, dtype=torch.float64)[:, None] + torch.linspace(-0.1, 0.1, 5, dtype=torch.float64)


@pytest.mark.parametrize(
    ("same", "scaled", "status", "answer"),
    [
        (9.0, 5.2, "reproduced", "scaled"),
        (9.0, 7.0, "same_direction", "neither"),
        (5.0, 5.0, "not_at_this_scale", "both"),
        (5.1, 90.0, "not_at_this_scale", "same"),
    ],
)
def test_the_rule_at_equal_epochs(same, scaled, status, answer):
    p, _, runs = runs_of()
    losses = torch.full((len(ALPHAS), 2, 5), 0.1)
    small = errors_of(5.0, 5.0)
    large = torch.stack([small[0] + same - 5.0, small[1] + scaled - 5.0]) + torch.tensor([[0.01, 0.0, -0.01, 0.02, -0.02], [0.0] * 5])
    figures, outcome = _judge_epochs(p, runs, [small, small, small, large], losses)
    assert (outcome.verdict.status, outcome.answer) == (status, answer)
    assert figures[0].value == pytest.approx(scaled - 5.0, abs=1e-6)


def test_a_large_batch_that_diverged_is_told():
    p, _, runs = runs_of()
    losses = torch.full((len(ALPHAS), 2, 5), math.inf)
    _, outcome = _judge_epochs(p, runs, [errors_of(5.0, 5.0), errors_of(30.0, 90.0)], losses)
    assert outcome.answer == "neither" and "past what the curvature bears" in outcome.verdict.explanation.en


@pytest.mark.parametrize(
    ("gap", "status", "answer"),
    [
        (2.8, "reproduced", "small"),
        (20.0, "same_direction", "small"),
        (0.9, "not_at_this_scale", "same"),
        (-3.0, "not_at_this_scale", "large"),
    ],
)
def test_the_rule_at_equal_steps(gap, status, answer):
    p, _, runs = runs_of(task="steps", steps=10)
    losses = torch.full((len(ALPHAS), 2, 5), 0.1)
    losses[ALPHAS.index(2)] = 0.4  # the large-batch side rises
    shaken = errors_of(5.0 + gap).flip(1) * 0.02 + errors_of(5.0 + gap) * 0.98
    _, outcome = _judge_steps(p, runs, [errors_of(5.0), shaken], losses)
    assert (outcome.verdict.status, outcome.answer) == (status, answer)
    assert "sharper" in outcome.verdict.explanation.en


def test_a_rate_beyond_all_bounds_is_drawn_and_explained():
    for task in ("epochs", "steps"):
        p = Batches.parse({**SMALL, "task": task, "rate": 10.0, "steps": 20})
        *_, last = DEMO.run(p, CPU, torch.Generator().manual_seed(0))
        assert last.outcome and last.outcome.verdict.status == "not_at_this_scale"
