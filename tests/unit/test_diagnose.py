"""The diagnosis experiment: each fault as an ordinary PyTorch loop has it, the rules and the verdict on made-up signs, and a hidden fault that stays hidden."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
import torch
from torch import nn

from demos.core.charts import LineChart
from demos.core.datasets import load_digits
from demos.core.demo import Snapshot
from demos.diagnose import (
    DEMO,
    FAULTS,
    MOMENTUM,
    Diagnose,
    Setting,
    Signs,
    _Runs,
    calibrated_loss,
    diagnose,
    floor,
    hidden_fault,
    judge,
    loss_and_slope,
    read_signs,
    setting,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")
HEALTHY = Signs(
    start_loss=2.5, start_dead=0.03, start_gradient=0.9, largest_step=0.006, moved=0.7,
    train_loss=0.01, test_loss=0.13, train_accuracy=1.0, test_accuracy=0.96,
)  # fmt: skip


def snapshots(seed: int = 0, **values: object) -> list[Snapshot]:
    return list(DEMO.run(Diagnose.parse({"steps": 50, "seeds": 5, **values}), CPU, torch.Generator().manual_seed(seed)))


def runs_of(*faults: str, **values: object) -> _Runs:
    generator = torch.Generator().manual_seed(7)
    return _Runs(Diagnose.parse({"seeds": 5, **values}), load_digits(CPU), CPU, generator, faults)


# ---- the stack against ordinary networks -----------------------------------------------------------------------------


def test_the_loss_of_a_doubled_softmax_and_its_slope_are_autograds():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 10, 6, generator=generator).mul(3).requires_grad_()
    y = torch.randint(10, (3, 6), generator=generator)
    double = torch.tensor([False, True, True])
    losses, slope = loss_and_slope(outputs.detach(), y, double)
    expected = torch.stack(
        [nn.functional.cross_entropy(o.T.softmax(1) if twice else o.T, target) for o, target, twice in zip(outputs, y, double, strict=True)]
    )
    torch.testing.assert_close(losses, expected.detach())
    torch.testing.assert_close(slope, torch.autograd.grad(expected.sum(), outputs)[0])


def test_every_fault_trains_as_an_ordinary_loop_does(monkeypatch):
    runs = runs_of(*FAULTS, strength=0.6)
    nets = [runs.network.to_sequential(k) for k in range(runs.count)]
    optimizers = [
        torch.optim.SGD(net.parameters(), lr=setting(list(FAULTS)[k // 5], 0.6).rate, momentum=MOMENTUM) for k, net in enumerate(nets)
    ]
    draw, drawn = runs._draw, []
    monkeypatch.setattr(runs, "_draw", lambda count: drawn.append(draw(count)) or drawn[-1])
    for i in range(6):
        look = runs.step(i)
        x, y = drawn[-1]
        for k, (net, optimizer) in enumerate(zip(nets, optimizers, strict=True)):
            before = [net[j].weight.detach().clone() for j in (0, 2, 4, 6)]
            outputs = net(x[k])
            optimizer.zero_grad()
            nn.functional.cross_entropy(outputs.softmax(1) if runs.double[k] else outputs, y[k]).backward()
            optimizer.step()
            if look and k % 5 == 0:  # the panels' gradients and updates are those of this step
                layers = [net[j] for j in (0, 2, 4, 6)]
                norms = torch.stack([layer.weight.grad.norm() for layer in layers])
                ratios = torch.stack([(layer.weight.detach() - old).norm() / old.norm() for layer, old in zip(layers, before, strict=True)])
                torch.testing.assert_close(look.gradients[k], norms, rtol=1e-3, atol=1e-7)
                torch.testing.assert_close(look.ratios[k], ratios, rtol=1e-2, atol=1e-7)
    for k, net in enumerate(nets):
        torch.testing.assert_close(runs.network.weights[0][k], net[0].weight.detach(), rtol=2e-3, atol=2e-4)
        torch.testing.assert_close(runs.network.biases[-1][k], net[6].bias.detach(), rtol=2e-3, atol=2e-4)


def test_the_panels_are_those_of_an_ordinary_network():
    runs = runs_of("none", "inputs", "dead", strength=0.5)
    look = runs.step(0)
    fresh = runs_of("none", "inputs", "dead", strength=0.5)  # the same networks before the step
    for k in range(0, 15, 5):
        net, (x, y) = fresh.network.to_sequential(k), fresh.probe
        torch.testing.assert_close(look.train_loss[k], nn.functional.cross_entropy(net(x[k]), y[k]).detach())
        tested = net(fresh.data.test_x[:300] * fresh.scale[k] + fresh.shift[k])
        assert look.test_accuracy[k] == pytest.approx(float((tested.argmax(1) == fresh.data.test_y[:300]).float().mean()))
        dead = [float((net[: 2 * layer + 2](x[k]) == 0).all(0).float().mean()) for layer in range(3)]
        assert look.dead[k].tolist() == pytest.approx(dead)


# ---- the faults ------------------------------------------------------------------------------------------------------


def test_a_fault_changes_one_thing_and_vanishes_with_its_strength():
    for fault in FAULTS:
        fields = {
            field.name for field in dataclasses.fields(Setting) if getattr(setting(fault, 1), field.name) != getattr(Setting(), field.name)
        }
        assert fields == {
            "none": set(), "rate_high": {"rate"}, "rate_low": {"rate"}, "labels": {"wrong"}, "inputs": {"scale", "shift"},
            "init": {"gain"}, "dead": {"bias"}, "overfit": {"kept"}, "softmax": {"double"},
        }[fault]  # fmt: skip
        assert fault == "softmax" or dataclasses.astuple(setting(fault, 0)) == pytest.approx(dataclasses.astuple(Setting()))


def test_labels_are_shuffled_among_themselves_and_few_samples_stay_few():
    runs = runs_of("labels", "overfit", strength=1)
    true = runs.data.train_y
    assert torch.equal(runs.labels[0].bincount(), true.bincount())
    assert float((runs.labels[0] == true).float().mean()) < 0.2
    assert torch.equal(runs.labels[5], true)
    assert runs.kept[5:].flatten().tolist() == [52] * 5
    seen = {tuple(row) for _ in range(40) for row in runs._draw(32)[0][5].tolist()}
    assert len(seen) <= 52


def test_dead_layers_pass_no_gradient_and_small_weights_a_power_of_their_size():
    runs = runs_of("dead", "init", strength=1)
    look, weaker = runs.step(0), runs_of("dead", "init", strength=0.9).step(0)
    assert look.gradients[:5, :-1].abs().max() == 0
    gains = setting("init", 1).gain / setting("init", 0.9).gain
    # ReLU layers without biases are homogeneous, and at logits near 0 the loss's slope is fixed: 3 further layers scale the first one's gradient.
    torch.testing.assert_close(look.gradients[5:, 0] / weaker.gradients[5:, 0], torch.full((5,), gains**3), rtol=2e-3, atol=0)
    torch.testing.assert_close(look.train_loss, torch.full((10,), math.log(10)), rtol=0, atol=1e-3)


def test_the_floor_is_where_a_perfect_network_ends():
    for classes in (2, 10):
        outputs = torch.full((1, classes, classes), -50.0)
        outputs[0].fill_diagonal_(50.0)
        losses, _ = loss_and_slope(outputs, torch.arange(classes), torch.tensor([True]))
        assert float(losses) == pytest.approx(floor(classes), abs=1e-6)
    assert floor(10) == pytest.approx(1.461, abs=5e-4)


# ---- rules and verdict -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "signs"),
    [
        ("none", {}),
        ("inputs", {"start_loss": 3.6}),
        ("dead", {"start_dead": 0.6}),
        ("init", {"start_gradient": 0.009}),
        ("rate_high", {"largest_step": 0.06}),
        ("rate_high", {"largest_step": math.inf, "train_loss": math.inf, "train_accuracy": 0.0, "test_accuracy": 0.0}),
        ("softmax", {"train_loss": 1.5, "train_accuracy": 0.95}),
        ("rate_low", {"moved": 0.05, "train_loss": 2.4, "train_accuracy": 0.1, "test_accuracy": 0.1}),
        ("labels", {"train_loss": 2.0, "train_accuracy": 0.3, "test_accuracy": 0.1}),
        ("overfit", {"test_accuracy": 0.8}),
        ("inputs", {"start_loss": 3.6, "start_dead": 0.6, "largest_step": 0.06}),  # the earlier rule goes first
    ],
)
def test_a_rule_names_its_fault(fault, signs):
    assert diagnose(dataclasses.replace(HEALTHY, **signs), 10) == fault


def test_an_honest_loss_is_no_doubled_softmax():
    half_right = dataclasses.replace(HEALTHY, train_loss=1.55, train_accuracy=0.6, test_accuracy=0.6)  # above the floor, yet calibrated
    assert diagnose(half_right, 10) == "none"
    assert calibrated_loss(0.1, 10) == pytest.approx(math.log(10))
    p = torch.tensor([0.6, *[0.4 / 9] * 9])
    assert calibrated_loss(0.6, 10) == pytest.approx(float(-(p * p.log()).sum()), abs=1e-6)


def test_status_follows_its_rule():
    assert judge(10, 10) == judge(9, 10) == "reproduced"
    assert judge(8, 10) == "same_direction"  # 49 … 94 %
    assert judge(4, 10) == judge(12, 54) == judge(0, 5) == "not_at_this_scale"


def test_moved_is_continued_to_all_steps_and_divergence_counts_as_the_largest_step():
    look = runs_of("none", "none").step(0)
    broken = dataclasses.replace(look, step=10, train_loss=look.train_loss.clone().fill_(math.nan))
    (first, *_), (last, *_) = read_signs([look], 300), read_signs([look, broken], 300)
    assert first.moved == pytest.approx(300 * sorted(look.ratios[0].tolist())[1])  # of four layers the lower middle one
    assert last.largest_step == math.inf and last.train_loss == math.inf
    assert diagnose(last, 10) == "rate_high"


# ---- runs ------------------------------------------------------------------------------------------------------------


def told(frames: list[Snapshot]) -> list[str]:
    """Every text that a run shows before its verdict, without numbers."""
    texts = [frame.status for frame in frames] + [figure.name for frame in frames for figure in frame.figures]
    for frame in frames:
        for chart in frame.charts:
            texts += [chart.title, chart.summary, chart.y.label]
            texts += [line.name for line in chart.lines] if isinstance(chart, LineChart) else [bars.name for bars in chart.groups]
    return sorted({re.sub(r"[-+]?\d+(\.\d+)?(×10)?[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]*|∞", "#", text[language]) for text in texts for language in ("zh", "en")})


def test_nothing_shown_before_the_answer_gives_the_fault_away():
    rounds = [snapshots(seed) for seed in range(len(FAULTS))]
    assert {frames[-1].outcome.answer for frames in rounds} == set(FAULTS)  # nine rounds meet every case once
    assert all(told(frames) == told(rounds[0]) for frames in rounds)
    assert all(len(frames[-1].figures) == len(rounds[0][-1].figures) for frames in rounds)
    axes = [[(chart.y.low, chart.y.high) for chart in frames[-1].charts] for frames in rounds]
    assert all(limits == axes[0] for limits in axes)
    for seed, frames in enumerate(rounds):
        assert frames[-1].outcome.answer == hidden_fault(seed)
        assert FAULTS[hidden_fault(seed)].en in frames[-1].outcome.verdict.explanation.en


def test_the_script_for_a_hidden_fault_does_not_name_it():
    script = DEMO.code(Diagnose())
    assert "ROUND, SHOW_ANSWER = 0, False" in script
    assert DEMO.predict(Diagnose()).after and set(DEMO.predict(Diagnose()).options) == set(FAULTS)
    assert not DEMO.predict(Diagnose(fault="init")).after


def test_naming_the_fault_repeats_the_round():
    hidden, named = snapshots(3)[-1], snapshots(3, fault=hidden_fault(3))[-1]
    assert hidden.figures == named.figures


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("values", [{"strength": 0.5}, {"depth": 1}])
def test_every_verdict_is_told_in_full(fault, values):
    outcome = snapshots(1, fault=fault, **values)[-1].outcome
    assert outcome.answer in DEMO.predict(Diagnose(fault=fault)).options
    for text in (outcome.verdict.explanation.zh, outcome.verdict.explanation.en):
        assert not re.search(r"[{}]|nan", text)


def test_the_rules_name_whole_faults_and_miss_quiet_ones():
    whole, quiet = (snapshots(2, task="all", steps=300, strength=strength)[-1] for strength in (1, 0.2))
    assert whole.outcome.verdict.status == "reproduced" and whole.outcome.answer == "most"
    assert quiet.outcome.verdict.status == "not_at_this_scale" and quiet.outcome.answer == "few"
    matrix = torch.tensor(whole.charts[0].grid.cells).flip(0)  # the first row lies at the bottom
    assert matrix.sum(1).tolist() == pytest.approx([1] * 9) and matrix.diag().min() >= 0.6


def test_own_data_with_two_classes_run_to_a_verdict():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(60, 3, generator=generator)
    table = "a,b,c,class\n" + "\n".join(",".join(f"{v:.3f}" for v in row) + f",{'yes' if row[0] > 0 else 'no'}" for row in rows.tolist())
    for values in ({"fault": "softmax"}, {"fault": "overfit"}, {"task": "all"}):
        assert snapshots(0, data=table, **values)[-1].outcome is not None
