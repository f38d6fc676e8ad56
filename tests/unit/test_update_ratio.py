"""The ratio against a plain loop with torch.optim, its closed form in Adam's first step, and the judging rule on made-up sweeps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from demos.core.datasets import load_digits
from demos.core.statistics import log_spaced
from demos.update_ratio import COUNT, DEMO, RATES, STILL, WILD, Log, UpdateRatio, best_ratio, good_rates, judge, relative_change, train

torch.set_num_threads(1)
CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_ratios_and_errors_are_those_of_a_plain_loop(optimizer):
    p = UpdateRatio.parse({"optimizer": optimizer, "steps": 50, "runs": 5, "width": 8, "rate": 0.01})
    data, log = load_digits(), Log()
    for _ in train(p, data, seeded(), log):
        pass
    generator = seeded()
    drawn = [torch.randn(5, out, into, generator=generator) * (2 / into) ** 0.5 for into, out in ((64, 8), (8, 8), (8, 10))]
    picked = [torch.randint(len(data.train_y), (5, 32), generator=generator) for _ in range(50)]
    rates = [*log_spaced(*RATES[optimizer], COUNT), 0.01]
    for rate, run in ((4, 2), (COUNT, 3)):
        linears = [nn.Linear(into, out) for into, out in ((64, 8), (8, 8), (8, 10))]
        for linear, weight in zip(linears, drawn, strict=True):
            linear.weight.data.copy_(weight[run])
            nn.init.zeros_(linear.bias)
        net = nn.Sequential(linears[0], nn.ReLU(), linears[1], nn.ReLU(), linears[2])
        kind = (
            torch.optim.Adam(net.parameters(), lr=rates[rate])
            if optimizer == "adam"
            else torch.optim.SGD(net.parameters(), rates[rate], 0.9)
        )
        k = rate * 5 + run
        for step in range(50):
            rows = picked[step][run]
            loss = nn.functional.cross_entropy(net(data.train_x[rows]), data.train_y[rows])
            kind.zero_grad()
            loss.backward()
            before = [linear.weight.detach().clone() for linear in linears]
            bias = torch.cat([linear.bias.detach().clone() for linear in linears])
            kind.step()
            for layer, (linear, old) in enumerate(zip(linears, before, strict=True)):
                expected = ((linear.weight.detach() - old).norm() / old.norm()).item()
                assert log.weights[step][layer, k].item() == pytest.approx(expected, rel=0.02)
            moved = torch.cat([linear.bias.detach() for linear in linears]) - bias
            expected = (moved.norm() / bias.norm()).item() if step else WILD
            assert log.biases[step][k].item() == pytest.approx(min(expected, WILD), rel=0.02)
        with torch.no_grad():
            wrong = 100 * (net(data.test_x).argmax(1) != data.test_y).float().mean().item()
        assert log.errors[-1][k].item() == pytest.approx(wrong, abs=0.5)
    assert log.checkpoints[0] == 25 and log.checkpoints[-1] == 50


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_adams_first_ratio_is_the_rate_over_the_weights_root_mean_square(scale):
    """Whatever the gradient: all that its size leaves is its sign."""
    p = UpdateRatio.parse({"optimizer": "adam", "scale": scale, "steps": 50, "rate": 0.003})
    log = Log()
    next(train(p, load_digits(), seeded(), log))
    last = log.weights[0][-1, -p.runs :].mean().item()
    assert last == pytest.approx(0.003 / (scale * (2 / 32) ** 0.5), rel=0.15)


def test_relative_change_and_its_ends():
    before = [torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])]
    after = [torch.tensor([[3.0, 4.5], [0.1, 0.0], [1.0, 0.0], [math.nan, 0.0], [0.0, 0.0]])]
    torch.testing.assert_close(relative_change(before, after), torch.tensor([0.1, WILD, STILL, WILD, STILL]))
    several = relative_change([torch.full((1, 3), 1.0), torch.full((1, 1), 1.0)], [torch.full((1, 3), 1.1), torch.full((1, 1), 1.1)])
    assert several.item() == pytest.approx(0.1, rel=1e-5)


def test_the_mean_ratio_is_geometric_over_layers_and_steps():
    log = Log(weights=[torch.tensor([[1e-2, 1e-3], [1e-4, 1e-3]]), torch.tensor([[1e-3, 1e-5], [1e-3, 1e-1]]), torch.ones(2, 2)])
    torch.testing.assert_close(log.mean_ratios(2, 1), torch.tensor([[1e-3], [1e-3]]).double())


def sweep(good: float, spread: float = 0.05, best: float = 4.0) -> tuple[str, str]:
    """A sweep of which three rates are good, with mean ratio `good`; per run it varies by `spread`."""
    means = [best + 40, best + 16, best + 0.5, best, best + 0.9, best + 1.5, best + 26, best + 80, best + 80, best + 80, best]
    errors = torch.tensor(means, dtype=torch.float64)[:, None].expand(COUNT + 1, 5)
    ratios = good * torch.tensor([0.1, 0.3, 0.5, 1, 2, 3, 9, 1e-3, 1e-3, 1e-3, 1])[:, None].double()
    ratios = ratios * torch.exp(spread * torch.tensor([-1.0, -0.5, 0, 0.5, 1])).double()
    assert good_rates(errors) == [2, 3, 4]
    assert sorted(best_ratio(errors, ratios))[2] == pytest.approx(good, rel=1e-6)
    figures, outcome = judge(UpdateRatio(), errors, ratios, ratios, ratios, [(25, [0.03] * 5), (600, [good] * 5)])
    assert all(not math.isnan(figure.value) for figure in figures)
    return outcome.verdict.status, outcome.answer


def test_the_rule():
    assert sweep(1e-3) == ("reproduced", "rule")
    assert sweep(2.5e-3, 0.01) == ("reproduced", "rule")
    assert sweep(3.1e-3, 0.3) == ("same_direction", "above")
    assert sweep(8e-3) == ("not_at_this_scale", "above")
    assert sweep(1e-4) == ("not_at_this_scale", "below")
    assert sweep(5e-2)[1] == "far"
    assert sweep(1e-3, best=80) == ("not_at_this_scale", "none")


def test_a_rate_that_is_bad_at_a_normal_ratio_is_named():
    errors = torch.tensor([60.0, 20, 4, 4, 4, 4, 30, 90, 90, 90, 4], dtype=torch.float64)[:, None].expand(COUNT + 1, 5)
    ratios = torch.full((COUNT + 1, 5), 1e-5, dtype=torch.float64)
    ratios[2:6] = ratios[8] = 1e-3
    _, outcome = judge(UpdateRatio(), errors, ratios, ratios, ratios, [(25, [0.03] * 5), (600, [1e-3] * 5)])
    assert f"{log_spaced(*RATES['sgd'], COUNT)[8]:.2g}" in outcome.verdict.explanation.en


@pytest.mark.parametrize(
    "values", [{"rate": 10}, {"batch": 1, "hidden": 1}, {"scale": 10, "optimizer": "adam"}, {"scale": 0.05, "hidden": 4, "width": 4}]
)
def test_extremes_end_with_a_verdict(values):
    *_, last = DEMO.run(UpdateRatio.parse({"steps": 50, **values}), CPU, seeded())
    assert last.outcome is not None
    assert "nan" not in last.outcome.verdict.explanation.en
