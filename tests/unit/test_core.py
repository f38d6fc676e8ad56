"""The small rooms under every demo: pace, statistics, devices, data, runner."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

from demos.core import device as devices
from demos.core.datasets import _raw_digits, load_digits
from demos.core.demo import Demo, Figure, Outcome, Snapshot, Source, Verdict
from demos.core.pace import Pace
from demos.core.parameters import ParameterError, Parameters
from demos.core.runner import DeadlineReached, run_demo
from demos.core.statistics import exponent, mean_and_band, mean_and_spread, share_interval, student_t95
from demos.core.text import Text, joined, same


def test_pace_is_due_at_once_and_then_only_after_its_interval(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("demos.core.pace.time.monotonic", lambda: now[0])
    pace = Pace(0.1)
    seen = []
    for now[0] in (100.0, 100.05, 100.11, 100.2, 100.22):
        seen.append(pace.due())
    assert seen == [True, False, True, False, True]


def test_student_t_equals_scipy():
    special = pytest.importorskip("scipy.special")
    for degrees in [*range(1, 40), 60, 120, 1000]:
        assert student_t95(degrees) == pytest.approx(special.stdtrit(degrees, 0.975), abs=1e-3)


def test_spread_is_the_half_width_of_the_interval():
    mean, spread = mean_and_spread([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3
    assert spread == pytest.approx(2.7764 * math.sqrt(2.5 / 5), rel=1e-4)


def test_wilsons_interval_ends_where_the_share_is_just_not_rejected():
    for right, count in ((0, 10), (7, 10), (10, 10), (20, 90)):
        for end in share_interval(right, count)[1:]:
            if 1e-9 < end < 1 - 1e-9:
                assert abs(right / count - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / count), rel=1e-6)
    assert share_interval(10, 10)[2] == pytest.approx(1) and share_interval(0, 10)[1] == pytest.approx(0)


def test_the_exponent_of_a_power_law():
    assert exponent([1, 2, 5], [3 * x**2.5 for x in (1, 2, 5)]) == pytest.approx(2.5)


def test_sentences_are_joined_with_a_space_in_english_only():
    told = joined([Text("一。", "One. "), Text("", ""), Text("二。", "Two.")]) + Text("三。", " Three.")
    assert (told.zh, told.en) == ("一。二。三。", "One. Two. Three.")


def test_numbers_in_texts_are_powers_of_ten_and_names_stay():
    told = Text(f"ε = {1e-8:g}，{4.7e12:.2g} 次，1e-3 的法则", f"{-6.6e-10:.2g} and 2e+20abc, resnet_1e-05")
    assert told == Text("ε = 10⁻⁸，4.7×10¹² 次，1e-3 的法则", "-6.6×10⁻¹⁰ and 2×10²⁰abc, resnet_1e-05")


def test_spread_without_enough_finite_values_is_none():
    assert mean_and_spread([7.0]) == (7.0, None)
    assert mean_and_spread([0.1] * 5) == (0.1, 0.0)
    assert mean_and_spread([1.0, math.nan, 2.0]) == (math.inf, None)
    with pytest.raises(ValueError):
        mean_and_spread([])


def test_band_on_a_log_axis_is_that_of_the_logarithms():
    mean, low, high = mean_and_band([[1.0, 1.0], [100.0, math.inf]], log=True)
    assert mean[0] == pytest.approx(10) and 0 < low[0] < 10 < high[0]
    assert mean[1] == low[1] == high[1] == math.inf


def test_there_is_always_a_cpu_and_every_device_has_a_name():
    there = devices.available_devices()
    assert "cpu" in there and all(there.values())
    assert devices.pick_device("cpu") == torch.device("cpu")
    assert str(devices.pick_device()) == next(iter(there))
    assert "core" in devices.device_label(torch.device("cpu"))


def test_several_gpus_are_told_apart(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"GPU {i}")
    assert list(devices.available_devices())[:2] == ["cuda:0", "cuda:1"]
    assert devices.pick_device("cuda") == torch.device("cuda:0")


def test_an_unknown_device_is_refused_with_those_there_are():
    with pytest.raises(ParameterError, match=r"there are: .*cpu"):
        devices.pick_device("tpu")


def test_the_digits_are_those_of_scikit_learn():
    data = pytest.importorskip("sklearn.datasets").load_digits()
    images, labels = _raw_digits()
    assert torch.equal(images, torch.tensor(data.data, dtype=torch.float32))
    assert torch.equal(labels, torch.tensor(data.target))


def test_digits_are_split_without_overlap_and_standardised():
    digits = load_digits()
    assert digits.train_x.shape == (1297, 64) and digits.test_x.shape == (500, 64)
    assert digits.train_x.mean(0).abs().max() < 1e-5
    assert digits.train_x.std() == pytest.approx(1, abs=1e-3)
    assert sorted(digits.train_y.unique().tolist()) == list(range(10))
    rows = {tuple(row) for row in digits.train_x.tolist()}
    assert sum(tuple(row) in rows for row in digits.test_x.tolist()) == 0


def test_the_split_follows_the_generator_and_is_fixed_without_one():
    drawn = [load_digits(generator=torch.Generator().manual_seed(seed)).test_y for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(load_digits(train_count=100).test_y, load_digits().test_y)
    with pytest.raises(ValueError, match="1297"):
        load_digits(train_count=5000)


@dataclass(frozen=True)
class Nothing(Parameters):
    pass


def counting_demo(steps: int = 3, closed: list[bool] | None = None) -> Demo:
    def run(parameters, device, generator):
        try:
            for step in range(1, steps + 1):
                drawn = Figure(same("drawn"), torch.rand((), generator=generator).item())
                verdict = Verdict("reproduced", drawn, same(""), Source("", "", 0, ""), same(""))
                outcome = Outcome(verdict, "yes") if step == steps else None
                yield Snapshot(step / steps, same("…"), (), (drawn,), outcome)
        finally:
            if closed is not None:
                closed.append(True)

    none = same("")
    return Demo("losses", none, none, none, none, Nothing, {}, lambda p: None, run, lambda p: "", 1)


def test_a_run_ends_with_the_outcome_and_is_the_same_for_a_seed():
    drawn = []
    for seed in (1, 1, 2):
        frames = list(run_demo(counting_demo(), Nothing(), "cpu", seed))
        assert [frame.snapshot.progress for frame in frames] == pytest.approx([1 / 3, 2 / 3, 1])
        assert frames[-1].snapshot.outcome and frames[-1].remaining_s == 0 and "core" in frames[0].device_label
        drawn.append(frames[-1].snapshot.figures[0].value)
    assert drawn[0] == drawn[1] != drawn[2]


def test_stopping_early_closes_the_demo():
    closed: list[bool] = []
    frames = run_demo(counting_demo(closed=closed), Nothing(), "cpu")
    next(frames)
    assert not closed
    frames.close()
    assert closed


def test_the_deadline_comes_after_a_frame_and_closes_the_demo():
    closed: list[bool] = []
    frames = run_demo(counting_demo(closed=closed), Nothing(), "cpu", deadline_s=-1)
    next(frames)
    with pytest.raises(DeadlineReached) as stopped:
        next(frames)
    assert closed and "时限" in stopped.value.text.zh


@pytest.mark.parametrize("seed", [-1, 2**31, 1.5, "1", True])
def test_a_bad_seed_is_refused_before_anything_runs(seed):
    with pytest.raises(ParameterError, match="seed"):
        run_demo(counting_demo(), Nothing(), "cpu", seed)
