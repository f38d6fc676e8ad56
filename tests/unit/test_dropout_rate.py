"""The stacked sweep against plain PyTorch with the same masks, its widths, and the rules of the verdicts."""

from __future__ import annotations

import pytest
import torch

from demos.core.datasets import Dataset
from demos.dropout_rate import DROPS, Rate, Shape, Sweep, masked, rates, status_of_limits, status_of_sweep, status_of_trap

ROWS, FEATURES, CLASSES, SEEDS = 60, 8, 3, 5


@pytest.fixture
def data() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(CLASSES, (ROWS,), generator=generator)
    x = torch.randn(ROWS, FEATURES, generator=generator) + 2 * torch.nn.functional.one_hot(y, FEATURES)
    return Dataset(x, y, x[:20], y[:20], CLASSES)


@pytest.mark.parametrize(("task", "widen"), [("sweep", False), ("sweep", True), ("input", False)])
def test_every_network_trains_as_plain_pytorch_under_the_same_masks(data: Dataset, task: str, widen: bool) -> None:
    p = Rate(task=task, width=12, kept=6, seeds=SEEDS, lr=0.1)
    generator = torch.Generator().manual_seed(1)
    sweep = Sweep(p, data, generator, widen=widen)
    drops = rates(p)
    weights = [[t.clone().requires_grad_() for t in net.parameters()] for net in sweep.nets]
    optimizers = [torch.optim.SGD(parameters, lr=p.lr, momentum=0.9) for parameters in weights]
    rows = torch.Generator().manual_seed(2)
    for step in range(3):
        chosen = torch.randint(ROWS, (SEEDS, 20), generator=rows)
        x, y, factor = data.train_x[chosen], data.train_y[chosen], 1 - 0.1 * step
        state = generator.get_state()
        sweep.step(x, y, factor)
        generator.set_state(state)  # the same masks once more
        for i, (first, second, a, b) in enumerate(weights):
            count = len(first)
            groups = drops if len(weights) == 1 else [drops[i]]
            keep = (1 - torch.tensor(groups)).repeat_interleave(SEEDS)[:, None, None]
            shape = (count, 20, FEATURES) if task == "input" else (count, first.shape[1], 20)
            masks = (torch.rand(*shape, generator=generator) < keep).float() / keep
            loss = torch.tensor(0.0)
            for k in range(count):
                inputs = x[k % SEEDS] * (masks[k] if task == "input" else 1)
                hidden = (inputs @ first[k].T + a[k]).relu() * (1 if task == "input" else masks[k].T)
                loss = loss + torch.nn.functional.cross_entropy(hidden @ second[k].T + b[k], y[k % SEEDS])
            optimizers[i].param_groups[0]["lr"] = p.lr * factor
            optimizers[i].zero_grad()
            loss.backward()
            optimizers[i].step()
    for net, parameters in zip(sweep.nets, weights, strict=True):
        for ours, theirs in zip(net.parameters(), parameters, strict=True):
            assert torch.allclose(ours, theirs, atol=2e-5)
    errors = sweep.errors(data.test_x, data.test_y)
    assert errors.shape == (len(drops), SEEDS)
    first, second, a, b = weights[-1]
    wrong = ((data.test_x @ first[-1].T + a[-1]).relu() @ second[-1].T + b[-1]).argmax(1) != data.test_y
    assert float(errors[-1, -1]) == pytest.approx(100 * float(wrong.float().mean()))


def test_the_width_grows_so_that_as_many_units_stay_on(data: Dataset) -> None:
    sweep = Sweep(Rate(kept=20, seeds=SEEDS), data, torch.Generator().manual_seed(1), widen=True)
    assert [net.sizes[1] for net in sweep.nets] == [20, 22, 25, 31, 40, 50, 67, 100, 200]
    assert [float(net.dropout[0, 0]) for net in sweep.nets] == pytest.approx(list(DROPS))


def test_masks_are_those_of_dropout() -> None:
    mask = masked((400, 50), torch.tensor(0.2), torch.Generator().manual_seed(0))
    assert set(mask.unique().tolist()) == {0.0, 5.0}
    assert float(mask.mean()) == pytest.approx(1, abs=0.05)


def test_the_learners_rate_and_its_complement_are_among_the_rates() -> None:
    assert rates(Rate(task="input", p=0.75)) == [0.0, 0.1, 0.2, 0.25, 0.35, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9]
    assert rates(Rate(task="input", p=0.8)) == list(DROPS)
    assert rates(Rate(task="sweep", p=0.75)) == list(DROPS)


def test_the_shape_of_a_curve() -> None:
    test = torch.tensor([13.0, 12.5, 10.0, 11.0, 12.0, 15.0, 20.0, 30.0, 42.0])[:, None].expand(-1, 3)
    shape = Shape.of(DROPS, test)
    assert shape.tilt == [3.0] * 3  # (12 + 15 − 10 − 11) / 2
    assert shape.rise == [30.0] * 3  # 42 − 12
    assert shape.gain == [1.0] * 3  # 13 − 12


@pytest.mark.parametrize(
    ("tilt", "rise", "status"),
    [
        ([0.1, -0.2, 0.0], [10, 11, 12], "reproduced"),
        ([3.0, 3.1, 3.2], [10, 11, 12], "same_direction"),
        ([8.0, 8.1, 8.2], [10, 11, 12], "not_at_this_scale"),
        ([0.0, 0.1, 0.0], [-1, 0, 1], "not_at_this_scale"),
    ],
)
def test_the_sweep_is_judged(tilt: list[float], rise: list[float], status: str) -> None:
    assert status_of_sweep(Shape(tilt, rise, [0.0] * 3)) == status


def test_the_trap_and_the_limits_are_judged() -> None:
    assert status_of_trap([5.0, 6.0, 7.0]) == "reproduced"
    assert status_of_trap([0.5, 0.6, 0.7]) == "same_direction"
    assert status_of_trap([-1.0, 0.0, 1.0]) == "not_at_this_scale"
    assert status_of_limits([-1.0, -0.9, -1.1]) == "reproduced"
    assert status_of_limits([-1.0, 1.5, 0.5]) == "same_direction"
    assert status_of_limits([1.0, 1.5, 2.0]) == "not_at_this_scale"
