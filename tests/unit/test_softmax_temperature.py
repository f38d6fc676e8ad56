"""The softmax and temperature demo against torch, a plain loop and closed forms; and its verdicts on made-up measurements."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from demos.core.runner import run_demo
from demos.softmax_temperature import (
    BINS,
    COLDEST,
    DEMO,
    Softmax,
    _judge_calibration,
    _judge_formula,
    _Networks,
    _View,
    confidence_of,
    ece,
    fit_temperature,
    misses,
    softmax,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_softmax_is_that_of_torch_and_survives_what_overflows() -> None:
    z = 300 * torch.randn(50, 7, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(softmax(z, 0.7), torch.softmax(z / 0.7, 1), rtol=1e-12, atol=0)
    assert softmax(torch.tensor([1e4, 0.0])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("classes", [2, 6])
def test_the_share_of_one_of_two_classes_is_a_sigmoid_and_a_shift_changes_nothing(classes: int) -> None:
    z = 4 * torch.randn(500, classes, generator=seeded(), dtype=torch.float64)
    p1, from_sigmoid, from_shift = misses(z, 2.0, torch.full((500, 1), 5.0, dtype=torch.float64))
    assert from_sigmoid < 1e-12 and from_shift < 1e-12
    by_hand = (1 / (1 + torch.exp(-(z[:, 0] - z[:, 1]) / 2)) - p1).abs().max()
    assert (by_hand < 1e-12) == (classes == 2)


def test_the_fitted_temperature_has_the_least_loss_and_undoes_a_known_one() -> None:
    logits = 3 * torch.randn(2, 4000, 5, generator=seeded())
    y = torch.multinomial(logits.softmax(2).flatten(0, 1), 1, generator=seeded(1)).view(2, 4000)
    scaled = logits * torch.tensor([0.5, 3.0])[:, None, None]
    fitted = fit_temperature(scaled, y)
    torch.testing.assert_close(fitted, torch.tensor([0.5, 3.0]), rtol=0.05, atol=0)
    for k in range(2):
        loss = [float(nn.functional.cross_entropy(scaled[k] / (fitted[k] * factor), y[k])) for factor in (0.97, 1.0, 1.03)]
        assert loss[1] < min(loss[0], loss[2])


def test_without_an_error_among_the_held_out_samples_the_temperature_goes_to_its_bound() -> None:
    z = torch.eye(3)[None] * 2
    assert fit_temperature(z, torch.arange(3)[None]).item() == pytest.approx(COLDEST, rel=1e-4)


def test_ece_is_a_loop_over_bins() -> None:
    confidence = torch.rand(2, 300, generator=seeded())
    right = (torch.rand(2, 300, generator=seeded(1)) < confidence**2).float()
    for k, found in enumerate(ece(confidence, right).tolist()):
        total = 0.0
        for b in range(BINS):
            inside = [i for i in range(300) if b / BINS < confidence[k, i] <= (b + 1) / BINS]
            if inside:
                gap = sum(float(right[k, i]) for i in inside) / len(inside) - sum(float(confidence[k, i]) for i in inside) / len(inside)
                total += len(inside) / 300 * abs(gap)
        assert found == pytest.approx(100 * total, rel=1e-4)


def test_a_diverged_network_has_no_ece() -> None:
    z = torch.full((1, 9, 3), math.nan)
    assert ece(*confidence_of(z, torch.zeros(1, 9, dtype=torch.long))).isnan().all()


def test_the_stacked_training_is_a_plain_loop_and_no_sample_is_used_twice() -> None:
    p = Softmax(task="calibration", samples=60, weight_decay=0.01, width=8, networks=5, steps=20)
    nets, again = _Networks(p, torch.device("cpu"), seeded(3)), _Networks(p, torch.device("cpu"), seeded(3))
    for k in range(5):
        rows = torch.cat([nets.train[k], nets.held_out[k], nets.test[k]]).tolist()
        assert len(rows) == len(set(rows)) == 60 + 300 + 1000
    plain = nets.network.to_sequential(2)
    decayed = [parameter for parameter in plain.parameters() if parameter.dim() == 2]
    biases = [parameter for parameter in plain.parameters() if parameter.dim() == 1]
    optimizer = torch.optim.SGD([{"params": decayed, "weight_decay": 0.01}, {"params": biases}], lr=p.lr, momentum=0.9)
    generator = nets._generator
    for _ in range(4):
        state = generator.get_state()
        drawn = (torch.rand(5, 50, generator=generator) * 60).long()
        generator.set_state(state)
        nets.step()
        batch = nets.train[2][drawn[2]]
        optimizer.zero_grad()
        nn.functional.cross_entropy(plain(nets.x[batch]), nets.y[batch]).backward()
        optimizer.step()
    torch.testing.assert_close(nets.network.weights[1][2], plain[2].weight.detach(), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(again.network.weights[1][2], plain[2].weight.detach(), atol=1e-3)


def judged(before: Tensor, after: Tensor, flip: bool = False, usable: bool = True) -> str:
    """The status when ten networks have these calibration errors (in 0 … 1): all predictions are of one confidence, half of them right."""
    right = (torch.arange(200) % 2).float().expand(10, 200)
    view = _View((0.5 + before[:, None].expand(10, 200), right), (0.5 + after[:, None].expand(10, 200), 1 - right if flip else right))
    one = torch.ones(10)
    return _judge_calibration(Softmax(task="calibration"), view, one, one, one, torch.full((10,), usable), 300)[1].verdict.status


def test_each_verdict_on_calibration_can_be_reached() -> None:
    jitter = torch.linspace(-0.005, 0.005, 10)
    before = 0.2 + jitter
    assert judged(before, 0.02 + jitter) == "reproduced"
    assert judged(before, 0.15 + jitter) == "same_direction"
    assert judged(before, 0.19 + jitter) == "not_at_this_scale"
    assert judged(before, 0.3 + jitter) == "not_at_this_scale"
    assert judged(before, 0.02 + jitter, flip=True) == "not_at_this_scale"
    assert judged(before, 0.02 + jitter, usable=False) == "not_at_this_scale"


def test_the_formulas_are_not_reproduced_if_they_miss() -> None:
    *_, last = run_demo(DEMO, Softmax(), "cpu")
    figures = last.snapshot.figures
    assert _judge_formula(Softmax(), figures, 0.62, 0.38).verdict.status == "reproduced"
    for i in (0, 1):
        wrong = tuple(dataclasses.replace(figure, value=1e-6) if j == i else figure for j, figure in enumerate(figures))
        assert _judge_formula(Softmax(), wrong, 0.62, 0.38).verdict.status == "not_at_this_scale"


@pytest.mark.parametrize(("z1", "answer"), [(0.0, "low"), (1.0, "middle"), (4.0, "high"), (9.0, "sure")])
def test_the_answer_is_read_off_the_run(z1: float, answer: str) -> None:
    *_, last = run_demo(DEMO, Softmax(z1=z1), "cpu")
    assert last.snapshot.outcome is not None and last.snapshot.outcome.answer == answer


def test_a_rate_at_which_networks_diverge_is_told() -> None:
    p = Softmax(task="calibration", lr=3.0, steps=60, weight_decay=0.1, networks=5, width=96)
    *_, last = run_demo(DEMO, p, "cpu")
    outcome = last.snapshot.outcome
    assert outcome is not None
    assert outcome.verdict.measured.value == math.inf and outcome.verdict.status == "not_at_this_scale"
    assert outcome.answer == "worse" and "diverged" in outcome.verdict.explanation.en
