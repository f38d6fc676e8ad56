"""The transfer demo against a plain loop; its tasks, what is copied and what stays frozen; and its verdicts on made-up measurements."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from demos.core.stacked import StackedMLP
from demos.transfer import DEMO, KINDS, Transfer, _judge, _Target, _Tasks, gains

SMALL = Transfer(samples=40, depth=2, width=8, seeds=5, steps=20, turns=2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tasks_of(p: Transfer) -> _Tasks:
    return _Tasks(p, torch.device("cpu"), seeded())


def test_source_and_target_have_classes_of_their_own_and_no_target_sample_is_tested() -> None:
    tasks = tasks_of(SMALL)
    for seed in range(5):
        source = {int(tasks.y[row]) for row in tasks.source[seed, : tasks.sources[seed]]}
        target = {int(tasks.y[row]) for row in tasks.target[0][seed]}
        assert len(source) == 5 and len(target) <= 5 and not source & target
    assert len({tuple(row) for row in tasks.rank.tolist()}) > 1
    x, y = tasks.target_batch()
    assert x.shape == (5, 32, 64) and int(y.min()) >= 0 and int(y.max()) <= 4
    x, y = tasks.source_batch()
    assert int(y.max()) > 4  # a digit in another orientation is another class
    few = {tuple(image.tolist()) for image in torch.cat([tasks.target_batch()[0][0] for _ in range(30)])}
    tested = {tuple(image.tolist()) for image in tasks.test_x[0]}
    assert len(few) == 40 and not few & tested


def test_two_or_three_classes_overlap() -> None:
    rows = "\n".join(f"{i * 0.37 % 1:.3f},{i % 3 + i * 0.11 % 1:.3f},{'abc'[i % 3]}" for i in range(90))
    tasks = tasks_of(Transfer(data=rows, seeds=5))
    assert (tasks.half, tasks.last, tasks.turns) == (2, 1, 1)
    assert int(tasks.target_batch()[1].max()) == 1


def test_copies_are_copies_frozen_layers_stay_and_the_rest_is_a_plain_loop() -> None:
    tasks, generator = tasks_of(SMALL), seeded(1)
    source = StackedMLP((64, 8, 8, 10), range(5), generator)
    target = _Target(SMALL, tasks, source, generator)
    assert target.jobs == [("scratch", 0), *((kind, n) for kind in KINDS for n in (1, 2))]
    network = target.network
    index = {job: 5 * i + 3 for i, job in enumerate(target.jobs)}  # of the fourth seed
    start = [weights.clone() for weights in network.weights]
    for (kind, n), k in index.items():
        for layer in range(3):
            copied = kind in ("tuned", "frozen") and layer < n
            assert start[layer][k].equal(source.weights[layer][3] if copied else start[layer][index["scratch", 0]])
    plain = {job: network.to_sequential(k) for job, k in index.items()}
    optimizers = {}
    for (kind, n), net in plain.items():
        net[: 2 * n].requires_grad_(kind == "tuned")
        optimizers[kind, n] = torch.optim.SGD([w for w in net.parameters() if w.requires_grad], lr=SMALL.lr, momentum=0.9)
    for _ in range(4):
        state = tasks._generator.get_state()
        x, y = tasks.target_batch()
        tasks._generator.set_state(state)
        target.step()
        for job, net in plain.items():
            optimizers[job].zero_grad()
            nn.functional.cross_entropy(net(x[3]), y[3]).backward()
            optimizers[job].step()
    accuracies = target.accuracies()
    for job, net in plain.items():
        for layer in range(3):
            torch.testing.assert_close(network.weights[layer][index[job]], net[2 * layer].weight.detach(), rtol=1e-4, atol=1e-6)
            if job[0] in ("frozen", "random") and layer < job[1]:
                assert network.weights[layer][index[job]].equal(start[layer][index[job]])
        right = (net(tasks.test_x[3]).argmax(1) == tasks.test_labels[3]).float().mean()
        assert float(accuracies[target.jobs.index(job), 3]) == pytest.approx(100 * float(right), abs=0.2)


def test_a_diverged_network_has_nothing_right() -> None:
    target = _Target(SMALL, tasks_of(SMALL), StackedMLP((64, 8, 8, 10), range(5), seeded()), seeded())
    target.network.weights[0][0] = math.nan
    assert float(target.accuracies()[0, 0]) == 0 < float(target.accuracies()[0, 1])


def measured(tuned: Tensor, scratch: float = 60.0) -> Tensor:
    """Accuracies (treatments, seeds) of networks with two layers whose fine-tuned copies gain so much (seeds,)."""
    base = torch.full((len(tuned),), scratch)
    return torch.stack([base, base + tuned, base + tuned, base + 1, base - 5, base - 4, base - 20])


@pytest.mark.parametrize(
    ("gain", "spread", "status", "answer"),
    [(4.0, 1.0, "reproduced", "gain"), (15.0, 1.0, "reproduced", "much"), (1.2, 0.3, "same_direction", "none"), (0.3, 0.5, "not_at_this_scale", "none"),
     (4.0, 9.0, "not_at_this_scale", "gain"), (-3.0, 1.0, "not_at_this_scale", "none")],
)  # fmt: skip
def test_each_verdict_can_be_reached(gain: float, spread: float, status: str, answer: str) -> None:
    p = Transfer(depth=2, seeds=10)
    accuracies = measured(gain + spread * torch.linspace(-1, 1, 10))
    assert gains(p, accuracies)["tuned"].shape == (2, 10)
    figures, outcome = _judge(p, accuracies, 5, 10)
    assert (outcome.verdict.status, outcome.answer) == (status, answer)
    assert figures[0].value == pytest.approx(gain, abs=1e-4)
    assert [figure.value for figure in figures[1:5]] == pytest.approx([1, -4, -5, -20], abs=1e-4)


def test_a_rate_that_destroys_everything_is_told() -> None:
    accuracies = measured(torch.linspace(-1, 1, 10), scratch=20.0)
    assert "gone within a few steps" in _judge(Transfer(depth=2, seeds=10, lr=0.4), accuracies, 5, 10)[1].verdict.explanation.en


def test_the_first_preset_is_the_default() -> None:
    assert DEMO.parameters.parse(DEMO.presets[DEMO.default_preset].values) == Transfer()
