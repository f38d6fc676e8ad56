"""The distillation demo against PyTorch's own losses and a plain loop; what students see; and its verdicts on made-up measurements."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from demos.core.datasets import Dataset, load_digits
from demos.distillation import (
    BATCH,
    DEMO,
    TEACHERS,
    Distillation,
    _judge_errors,
    _judge_unseen,
    _Students,
    _Teacher,
    beats,
    best_bias,
    slope_of,
)  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def digits() -> Dataset:
    return load_digits(generator=seeded())


def loss(student: Tensor, teacher: Tensor, y: Tensor, t: float, alpha: float) -> Tensor:
    """The textbook's loss of logits (B, classes)."""
    soft = functional.kl_div(functional.log_softmax(student / t, 1), functional.softmax(teacher / t, 1), reduction="batchmean")
    return alpha * t * t * soft + (1 - alpha) * functional.cross_entropy(student, y)


@pytest.mark.parametrize(("t", "alpha"), [(1.0, 1.0), (4.0, 0.7), (20.0, 1.0), (7.0, 0.0)])
def test_the_slope_is_that_of_the_textbooks_loss(t: float, alpha: float) -> None:
    student = torch.randn(1, 6, 9, generator=seeded(), dtype=torch.float64, requires_grad=True)
    teacher, y = 5 * torch.randn(1, 6, 9, generator=seeded(1), dtype=torch.float64), torch.arange(9) % 6
    (expected,) = torch.autograd.grad(loss(student[0].T, teacher[0].T, y, t, alpha), student)
    one_hot = functional.one_hot(y, 6).double().T[None]
    found = slope_of(student.detach(), teacher, one_hot, torch.tensor([[[t]]]).double(), torch.tensor([[[alpha]]]).double())
    torch.testing.assert_close(found, expected)


def test_at_a_high_temperature_it_is_regression_on_centred_logits() -> None:
    """Hinton et al. (2015), section 2.1: the gradient tends to (z − v)/N, both centred."""
    z, v = torch.randn(1, 10, 1, generator=seeded()).double(), torch.randn(1, 10, 1, generator=seeded(1)).double()
    one = torch.ones(1, 1, 1).double()
    found = slope_of(z, v, torch.zeros_like(z), 1e4 * one, one)
    torch.testing.assert_close(found, ((z - z.mean()) - (v - v.mean())) / 10, rtol=1e-3, atol=1e-6)


def test_the_best_bias_is_the_best_of_all_that_are_tried() -> None:
    logits = 4 * torch.randn(3, 200, 5, generator=seeded())
    logits[..., 2] -= 4
    y = torch.randint(5, (200,), generator=seeded(1))
    for k, bias in enumerate(best_bias(logits, y, 2).tolist()):
        scores = []
        for i in range(31):
            raised = logits[k].clone()
            raised[:, 2] += i / 2
            scores.append(int((raised.argmax(1) == y).sum()))
        assert scores[round(2 * bias)] == max(scores) and scores.index(max(scores)) == round(2 * bias)
    torch.testing.assert_close(beats(logits, 2), (logits[..., 2:3] - logits[..., [0, 1, 3, 4]]).amin(-1))


def test_the_teacher_is_the_average_of_its_networks_and_learns() -> None:
    data, p = digits(), Distillation(teacher_steps=60)
    teacher = _Teacher(p, data, seeded())
    assert len(teacher._places) == 9
    torch.testing.assert_close(teacher._places[4], data.train_x)
    for step in range(60):
        teacher.step(step)
    mean = sum(teacher.network.to_sequential(k).eval()(data.test_x) for k in range(TEACHERS)) / TEACHERS
    torch.testing.assert_close(teacher.logits(data.test_x), mean.detach(), rtol=1e-4, atol=1e-4)
    assert float((mean.argmax(1) == data.test_y).float().mean()) > 0.85


def test_the_stacked_students_are_plain_loops() -> None:
    data, p = digits(), Distillation(samples=40, width=6, seeds=5, steps=50, temperature=5.0, alpha=0.8, lr=0.02)
    taught = 5 * torch.randn(len(data.train_y), 10, generator=seeded(9))
    students = _Students(p, data, taught, seeded())
    plain = {k: students.network.to_sequential(k) for k in (2, 7, 12)}  # the third seed of each group
    optimizers = {k: torch.optim.Adam(net.parameters(), lr=p.lr) for k, net in plain.items()}
    assert plain[2][0].weight.equal(plain[7][0].weight) and plain[2][0].weight.equal(plain[12][0].weight)
    for step in range(5):
        state = students._generator.get_state()
        rows = students.transfer.gather(1, torch.randint(40, (5, BATCH), generator=students._generator))[2]
        students._generator.set_state(state)
        students.step(step)
        for k, (t, alpha) in zip(plain, ((1.0, 0.0), (1.0, 0.8), (5.0, 0.8)), strict=True):
            optimizers[k].param_groups[0]["lr"] = p.lr * (1 - 0.9 * step / p.steps)
            optimizers[k].zero_grad()
            loss(plain[k](data.train_x[rows]), taught[rows], data.train_y[rows], t, alpha).backward()
            optimizers[k].step()
    for k, net in plain.items():
        torch.testing.assert_close(students.network.weights[0][k], net[0].weight.detach(), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(students.network.weights[0][2], students.network.weights[0][12], atol=1e-3)


def test_the_class_left_out_is_in_no_transfer_set() -> None:
    data = digits()
    taught = torch.zeros(len(data.train_y), 10)
    students = _Students(Distillation(task="unseen", unseen=7, samples=1297, seeds=5), data, taught, seeded())
    seen = data.train_y[students.transfer]
    assert students.transfer.shape[1] == int((data.train_y != 7).sum()) and not (seen == 7).any() and len(seen.unique()) == 9
    nn.init.zeros_(students.network.weights[-1])
    before, after, bias = students.recognised()
    assert (before == 0).all() and after.shape == bias.shape == (3, 5)
    everything = _Students(Distillation(samples=1297, seeds=5), data, taught, seeded())
    assert len(data.train_y[everything.transfer].unique()) == 10


@pytest.mark.parametrize(
    ("ratio", "spread", "status", "answer"),
    [(1.8, 0.1, "reproduced", "fewer"), (2.4, 0.1, "reproduced", "half"), (1.15, 0.05, "same_direction", "none"), (1.0, 0.1, "not_at_this_scale", "none"),
     (0.7, 0.1, "not_at_this_scale", "none"), (1.6, 1.5, "not_at_this_scale", "fewer")],
)  # fmt: skip
def test_each_verdict_on_errors_can_be_reached(ratio: float, spread: float, status: str, answer: str) -> None:
    soft = torch.full((10,), 8.0)
    hard = soft * (ratio + spread * torch.linspace(-1, 1, 10))
    errors = torch.stack([hard, hard, soft])
    figures, outcome = _judge_errors(Distillation(), 1.0, errors, errors / 10, torch.randn(20, 10), 500)
    assert (outcome.verdict.status, outcome.answer) == (status, answer)
    assert figures[0].value == pytest.approx(ratio, rel=0.35)


@pytest.mark.parametrize(
    ("soft", "hard", "status", "answer"),
    [(95.0, 5.0, "reproduced", "most"), (60.0, 5.0, "same_direction", "some"), (12.0, 11.0, "not_at_this_scale", "none")],
)
def test_each_verdict_on_the_unseen_class_can_be_reached(soft: float, hard: float, status: str, answer: str) -> None:
    jitter = torch.linspace(-3, 3, 10)
    after = torch.stack([hard + jitter, hard + jitter, soft + jitter])
    outcome = _judge_unseen(Distillation(task="unseen"), 98.0, after / 2, after, after / 20, after)[1]
    assert (outcome.verdict.status, outcome.answer) == (status, answer)


def test_why_nothing_was_gained_is_told() -> None:
    def why(p: Distillation, hard: float, teacher: float, unlearnt: float) -> str:
        errors = torch.full((3, 10), float(hard))
        return _judge_errors(p, teacher, errors, torch.full((3, 10), float(unlearnt)), torch.randn(20, 10), 500)[1].verdict.explanation.en

    assert "capacity" in why(Distillation(), 20, 1, 15)
    assert "nothing to teach" in why(Distillation(), 5, 9, 0)
    assert "nothing to teach" in why(Distillation(), 70, 90, 0)
    assert "almost hard ones" in why(Distillation(temperature=1.0), 5, 1, 0)
    assert "not in the loss" in why(Distillation(alpha=0.0), 5, 1, 0)
    assert "hardly learn" in why(Distillation(), 90, 1, 90)
    assert "Hard labels on 1297 images are enough" in why(Distillation(samples=1297), 2, 1, 0)


def test_the_first_preset_is_the_default() -> None:
    assert DEMO.parameters.parse(DEMO.presets[DEMO.default_preset].values) == Distillation()
