"""The stacked race against plain PyTorch networks, the crossing of the target, and the judging rule."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from demos.relu_race import ACTIVATIONS, CHANNELS, EVERY, MOMENTUM, RATES, ReluRace, _Race, judge, mean_slope, standing, steps_to_target

torch.set_num_threads(1)
MODULES = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "leaky": lambda: nn.LeakyReLU(0.1), "gelu": nn.GELU}
NAMES = list(ACTIVATIONS)


def plain(race: _Race, k: int) -> nn.Sequential:
    """Network k of the race, layer by layer."""
    layers: list[nn.Module] = []
    for layer in range(race.p.depth):
        conv = nn.Conv2d(CHANNELS if layer else 1, CHANNELS, 3, stride=1 if layer else 2, padding=1)
        own = slice(k * CHANNELS, (k + 1) * CHANNELS)
        with torch.no_grad():
            conv.weight.copy_(race.kernels[layer][own])
            assert conv.bias is not None
            conv.bias.copy_(race.shifts[layer][own, 0, 0])
        layers += [conv, *([nn.BatchNorm2d(CHANNELS)] if race.p.batch_norm else []), MODULES[NAMES[k // (len(RATES) * race.p.runs)]]()]
    dense = nn.Linear(CHANNELS * 16, 10)
    with torch.no_grad():
        dense.weight.copy_(race.dense[0][k].T)
        dense.bias.copy_(race.dense[1][k, 0])
    return nn.Sequential(*layers, nn.Flatten(), dense)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_stacked_training_is_plain_training(batch_norm: bool) -> None:
    p = ReluRace(batch_norm=batch_norm)
    generator = torch.Generator().manual_seed(0)
    race = _Race(p, torch.device("cpu"), generator)
    x, y = torch.randn(3, p.runs, 8, 64, generator=generator), torch.randint(10, (3, p.runs, 8), generator=generator)
    watched = [3, 31, 62, 88, 124]  # one network of each activation
    assert [k // (len(RATES) * p.runs) for k in watched] == [0, 1, 2, 3, 4]
    networks = [plain(race, k) for k in watched]
    for step in range(3):
        race.step(x[step], y[step])
    for k, network in zip(watched, networks, strict=True):
        run, rate = k % p.runs, RATES[k // p.runs % len(RATES)]
        optimizer = torch.optim.SGD(list(network.parameters()), lr=rate, momentum=MOMENTUM)
        for module in network:
            if isinstance(module, nn.BatchNorm2d):
                module.weight.requires_grad_(False)  # the race has shifts only
        for step in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[step, run].view(-1, 1, 8, 8)), y[step, run]).backward()
            optimizer.step()
        ours = race.logits(x[0]).detach()[k]
        assert torch.allclose(ours, network(x[0, run].view(-1, 1, 8, 8)), atol=2e-3 if batch_norm else 1e-4), NAMES[k // 25]


def test_the_networks_of_a_run_start_alike() -> None:
    race = _Race(ReluRace(), torch.device("cpu"), torch.Generator().manual_seed(0))
    kernels = race.kernels[0].view(len(NAMES), len(RATES), 5, -1)
    assert torch.equal(kernels[0, 0], kernels[0, -1])
    assert torch.allclose(kernels[0] / kernels[1], torch.tensor(2**0.5))
    assert not torch.equal(kernels[0, 0, 0], kernels[0, 0, 1])


@pytest.mark.parametrize(
    ("name", "at", "slope"), [("relu", 1.0, 1.0), ("relu", -1.0, 0.0), ("tanh", 0.0, 1.0), ("sigmoid", 0.0, 0.25), ("leaky", -1.0, 0.1)]
)
def test_mean_slope(name: str, at: float, slope: float) -> None:
    assert float(mean_slope(name, torch.full((4,), at))) == pytest.approx(slope, abs=1e-3)


def test_steps_to_target() -> None:
    curve = torch.tensor([[0.9, 0.9, 0.2], [0.35, 0.9, 0.9], [0.15, 0.9, 0.1]])
    assert steps_to_target(curve, 40).tolist() == pytest.approx([1.5 * EVERY, 40.0, 0.0])


def made_up(relu: float, rival: float, p: ReluRace) -> tuple[str, str]:
    """Status and answer where ReLU takes about `relu` steps and its rival `rival`."""
    curve = torch.full((3, len(NAMES), len(RATES), p.runs), 0.9)
    now = standing(p, curve)
    for name, steps in (("relu", relu), (p.rival, rival)):
        now.reached[NAMES.index(name), now.chosen[NAMES.index(name)]] = steps * (1 + 0.02 * torch.arange(p.runs))
    assert not math.isnan(now.steps_of("relu")[0])
    _, outcome = judge(p, now, [0.5, 0.8, 0.2, 0.5, 0.5])
    assert outcome.verdict.explanation.en
    return outcome.verdict.status, outcome.answer


def test_every_status_can_be_reached() -> None:
    assert made_up(5, 30, ReluRace()) == ("reproduced", "several")
    assert made_up(5, 7, ReluRace()) == ("same_direction", "little")
    assert made_up(20, 10, ReluRace()) == ("not_at_this_scale", "not")
    assert made_up(20, 20, ReluRace()) == ("not_at_this_scale", "not")
    assert made_up(10, 40, ReluRace(rival="sigmoid")) == ("reproduced", "several")


def test_a_shared_rate_is_the_rate_of_the_one_named() -> None:
    curve = torch.full((6, len(NAMES), len(RATES), 5), 0.9)
    curve[3:, NAMES.index("relu"), 1] = 0.1
    curve[2:, NAMES.index("tanh"), 3] = 0.1
    assert standing(ReluRace(), curve).chosen[:2] == [1, 3]
    assert standing(ReluRace(rate_for="rival"), curve).chosen == [3] * 5
    assert standing(ReluRace(rate_for="relu"), curve).chosen == [1] * 5
