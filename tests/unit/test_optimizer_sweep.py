"""The race of five optimisers against plain PyTorch loops, its splits and scores against direct counts, and its judging rules."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from demos.core.statistics import interval
from demos.optimizer_sweep import DEMO, KINDS, MARGIN, Sweep, _grid, _judge, _Race, _result, _Scores, _status

torch.set_num_threads(1)
CPU = torch.device("cpu")
SMALL = {"count": 3, "seeds": 5, "width": 6, "batch": 7, "samples": 100}
TORCH = {
    "SGD": lambda weights, rate: torch.optim.SGD(weights, lr=rate),
    "SGD+mom.": lambda weights, rate: torch.optim.SGD(weights, lr=rate, momentum=0.9),
    "RMSprop": lambda weights, rate: torch.optim.RMSprop(weights, lr=rate),
    "Adam": lambda weights, rate: torch.optim.Adam(weights, lr=rate),
    "AdamW": lambda weights, rate: torch.optim.AdamW(weights, lr=rate, weight_decay=0.3),
}


def race(seed: int = 0, **values: object) -> _Race:
    return _Race(Sweep.parse({**SMALL, **values}), CPU, torch.Generator().manual_seed(seed))


def test_every_network_trains_as_in_a_plain_loop():
    """Each on its own seed's rows, with torch's own optimiser and a rate that changes each step."""
    ours = race(decay=0.3, task="shared", shared=0.02, span=0.5)
    networks = [ours.network.to_sequential(k) for k in range(ours.network.count)]
    pairs = [(kind, rate) for kind, rates in zip(KINDS, ours.rates, strict=True) for rate in rates]
    settings = [pair for pair in pairs for _ in range(ours.p.seeds)]
    optimizers = [TORCH[kind.name.en](network.parameters(), rate) for network, (kind, rate) in zip(networks, settings, strict=True)]
    for share in (0.0, 0.3, 0.6, 0.9):
        again = torch.Generator()
        again.set_state(ours.generator.get_state())
        losses = ours.step(share).flatten()
        drawn = torch.randint(ours.train_count, (ours.p.seeds, ours.p.batch), generator=again)
        for k, (network, optimizer, (_, rate)) in enumerate(zip(networks, optimizers, settings, strict=True)):
            rows = ours.train_rows[k % ours.p.seeds][drawn[k % ours.p.seeds]]
            optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * share)) / 2
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(ours.x[rows]), ours.y[rows])
            loss.backward()
            optimizer.step()
            assert float(losses[k]) == pytest.approx(loss.item(), rel=1e-3, abs=1e-5)
    for k, network in enumerate(networks):
        torch.testing.assert_close(ours.network.to_sequential(k)[0].weight, network[0].weight, rtol=1e-3, atol=1e-4)


def test_the_scores_are_those_of_a_direct_count():
    ours = race(seed=2, schedule="constant")
    for _ in range(30):
        ours.step(0.0)
    *waiting, scores = ours.evaluate()
    assert scores is not None and set(waiting) == {None}
    for kind, rate, seed in ((0, 1, 0), (2, 0, 3), (4, 2, 4)):
        network = ours.network.to_sequential((kind * 3 + rate) * 5 + seed)
        train, valid, test = (part[seed].bool() for part in ours.parts)
        assert int(train.sum()) == ours.train_count == 100
        with torch.no_grad():
            wrong = (network(ours.x).argmax(1) != ours.y).float()
            losses = torch.nn.functional.cross_entropy(network(ours.x), ours.y, reduction="none")
        assert float(scores.test_error[kind, rate, seed]) == pytest.approx(100 * float(wrong[test].mean()), abs=1e-3)
        assert float(scores.valid_error[kind, rate, seed]) == pytest.approx(100 * float(wrong[valid].mean()), abs=1e-3)
        assert float(scores.train_loss[kind, rate, seed]) == pytest.approx(float(losses[train].mean()), rel=1e-4)


def test_no_row_is_in_two_parts_and_seeds_have_splits_of_their_own():
    ours = race(samples=1000)
    assert float(ours.parts.sum(0).max()) == 1
    assert [int(part[0].sum()) for part in ours.parts] == [ours.train_count, 1797 // 6, 1797 * 5 // 18]
    assert ours.train_count == 1797 - 299 - 499
    assert not torch.equal(ours.parts[2, 0], ours.parts[2, 1])
    chosen = torch.zeros_like(ours.parts[0]).scatter_(1, ours.train_rows, 1.0)
    assert torch.equal(chosen, ours.parts[0])


def test_a_network_that_diverged_counts_as_wrong_on_every_row():
    ours = race()
    for tensor in ours.network.parameters():
        tensor[0] = math.nan
    *_, scores = ours.evaluate(10)
    assert scores is not None and float(scores.test_error[0, 0, 0]) == 100 and float(scores.test_error[0, 0, 1]) < 100


def scores_of(valid: list[list[float]], test: list[list[float]]) -> _Scores:
    """(5 optimisers, rates) of errors, the same for five seeds but for a little on the test rows."""
    shake = torch.linspace(-0.1, 0.1, 5)
    valid_error, test_error = (torch.tensor(rows)[:, :, None].expand(-1, -1, 5) for rows in (valid, test))
    return _Scores(torch.zeros_like(valid_error), torch.zeros_like(valid_error), valid_error, test_error + shake)


def test_rates_and_winners_are_chosen_on_validation_rows():
    p = Sweep(count=3)
    valid = [[9.0, 5.0, 7.0], [4.0, 6.0, 8.0], [3.0, 9.0, 9.0], [5.0, 5.0, 2.0], [9.0, 9.0, 9.0]]
    test = [[1.0, 8.0, 1.0], [10.0, 1.0, 1.0], [20.0, 1.0, 1.0], [1.0, 1.0, 12.0], [0.5, 1.0, 1.0]]
    result = _result(p, scores_of(valid, test))
    assert result.best == [1, 0, 0, 2, 0] and result.winners == (1, 3)
    assert result.lead == pytest.approx([12.0 - 10.0] * 5, abs=1e-4)
    figures, outcome = _judge(p, [_grid(p, kind) for kind in KINDS], result, scores_of(valid, test))
    assert outcome.answer == "sgd" and outcome.verdict.status == "reproduced" and figures[0].value == pytest.approx(2.0, abs=1e-4)


@pytest.mark.parametrize(
    ("lead", "status"),
    [(1.95, "reproduced"), (9.0, "same_direction"), (0.9, "not_at_this_scale"), (-3.0, "not_at_this_scale")],
)
def test_the_rule_for_tuned_optimisers(lead, status):
    values = [lead - 0.1, lead, lead + 0.1, lead, lead]
    assert (interval(values)[1] > MARGIN) == (status != "not_at_this_scale")
    assert _status(Sweep(), values, []) == status


@pytest.mark.parametrize(
    ("shared", "tuned", "status"),
    [
        (-38.0, -0.2, "reproduced"),
        (20.0, -3.0, "reproduced"),
        (-38.0, -5.0, "same_direction"),
        (-5.0, -38.0, "not_at_this_scale"),
        (0.5, 0.0, "not_at_this_scale"),
    ],
)
def test_the_rule_for_a_shared_rate(shared, tuned, status):
    p = Sweep(task="shared")
    assert _status(p, [tuned - 0.1, tuned + 0.1] * 3, [shared - 0.1, shared + 0.1] * 3) == status


def test_a_shared_rate_has_a_column_of_its_own_and_what_is_tuned_ignores_it():
    ours = race(task="shared", shared=0.5)
    assert all(rates[-1] == 0.5 and len(rates) == 4 for rates in ours.rates)
    valid = [[9.0, 5.0, 7.0, 0.0]] * 5
    result = _result(ours.p, scores_of(valid, [[1.0, 2.0, 3.0, 50.0]] * 5))
    assert result.best == [1] * 5 and float(result.tuned.mean()) == pytest.approx(98.0)
    assert result.shared is not None and float(result.shared.mean()) == pytest.approx(50.0)


def test_the_edge_of_a_grid_is_told():
    p = dataclasses.replace(Sweep(), steps=10, count=3, span=0.25, seeds=5, width=8)
    *_, last = DEMO.run(p, CPU, torch.Generator().manual_seed(0))
    assert last.outcome and "at the edge of its grid" in last.outcome.verdict.explanation.en
