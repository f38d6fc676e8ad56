"""The count of VGG16 against its layers one by one, the stop-watch with a clock of its own, and the judging rules."""

from __future__ import annotations

import pytest
import torch

from demos import device_benchmark
from demos.core.text import same
from demos.device_benchmark import (
    BURSTS,
    DEMO,
    PUBLISHED,
    Benchmark,
    Job,
    Products,
    Series,
    _devices,
    _python_product,
    _sizes,
    intensity,
    judge_product,
    judge_step,
    measured,
    seconds_for,
    training_step,
    vgg16,
)

torch.set_num_threads(1)


def test_vgg16_has_as_many_parameters_as_published() -> None:
    parameters, work = vgg16()
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    sides = [224, 224, 112, 112, 56, 56, 56, 28, 28, 28, 14, 14, 14]
    pairs = list(zip(widths, widths[1:], sides, strict=False))
    assert parameters[0] == sum(9 * a * b + b for a, b, _ in pairs)
    assert work[0] == sum(9 * a * b * side**2 for a, b, side in pairs)
    assert parameters[1] == 25088 * 4096 + 4096 + 4096**2 + 4096 + 4096 * 1000 + 1000
    assert sum(parameters) == PUBLISHED
    assert sum(work) / 1e9 == pytest.approx(15.47, abs=0.005)  # torchvision's GFLOPS


def test_intensity_is_operations_per_byte() -> None:
    assert intensity(512, 512) == pytest.approx(2 * 512**3 / (3 * 512**2 * 4))
    assert intensity(1, 4096) == pytest.approx(0.5, rel=1e-3)


def test_the_python_loop_multiplies_matrices() -> None:
    a, b = torch.rand(2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(torch.tensor(_python_product(a.tolist(), b.tolist()), dtype=torch.float64), a @ b)


def test_a_training_step_is_that_of_pytorch() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(6, 64, generator=generator), torch.randint(10, (6,), generator=generator)
    ours = [torch.randn(a, b, generator=generator).requires_grad_() for a, b in ((64, 16), (16, 10))]
    theirs = [weight.detach().clone().requires_grad_() for weight in ours]
    optimizer = torch.optim.SGD(theirs, lr=0.01)
    torch.nn.functional.cross_entropy((x @ theirs[0]).relu() @ theirs[1], y).backward()
    optimizer.step()
    training_step(x, y, ours)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


def test_a_call_is_timed_by_the_mean_of_many() -> None:
    calls = []
    assert seconds_for(lambda: calls.append(1), 7, "cpu") > 0
    assert len(calls) == 7


def watched(monkeypatch: pytest.MonkeyPatch, jobs: list[Job], seconds: list[float]) -> list[float]:
    """The jobs done on a clock that says these seconds, one burst after another, again and again."""
    said = iter(seconds * 1000)
    monkeypatch.setattr(device_benchmark, "seconds_for", lambda work, calls, device: next(said))
    return list(measured(jobs, 5))


def nothing() -> None:
    """The work of a job on a clock that does not look."""


def test_the_fastest_burst_of_each_repetition_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    series = Series(same("a"), "first")
    shares = watched(monkeypatch, [Job(series, 8, 100, 1, lambda: nothing)], [3.0, 2.0, 9.0])
    assert series.rates == [[50.0] * 5]
    assert len(shares) == 5 * BURSTS
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_series_ends_before_it_gets_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    series = Series(same("a"), "first")
    watched(monkeypatch, [Job(series, n, n**3, 1, lambda: nothing) for n in (1, 2, 4)], [0.02])
    assert series.x == [1]  # the next one would take 8 times as long: 0.16 s
    assert series.slow


def test_what_a_device_cannot_do_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> None:
        raise RuntimeError("not implemented for 'Half'")

    series, other = Series(same("a"), "first"), Series(same("b"), "second")
    watched(monkeypatch, [Job(series, 8, 1, 1, lambda: unknown), Job(other, 8, 1, 1, lambda: nothing)], [0.01])
    assert series.x == []
    assert other.x == [8]


def test_sizes_are_powers_of_two_and_the_largest() -> None:
    assert _sizes(Benchmark(largest=192)) == [8, 16, 32, 64, 128, 192, 256, 512, 1024]


def test_the_chosen_device_comes_first() -> None:
    assert _devices(torch.device("cpu"))[0] == "cpu"


def series(name: str, *rates: float) -> Series:
    return Series(same(name), "first", "cpu", [8.0 * 4**i for i in range(len(rates))], [[1e9 * rate] * 5 for rate in rates])


def judged(small: float, large: float, parameters: int = PUBLISHED, *, half: bool = False) -> tuple[str, str]:
    low = [series("cpu bfloat16", 1, 300), series("cpu float16", 1)] if half else []
    products = Products(
        [series("cpu float32", small, large)], low, series("x + 1", 1), series("loop", 0.01), series("l", 1), series("s", 1)
    )
    outcome = judge_product(Benchmark(half=half), products, [parameters, 0], [15_000_000_000, 0])[1]
    return outcome.verdict.status, outcome.answer


def test_a_product_is_judged_by_the_count_and_by_growth() -> None:
    assert judged(1, 100) == ("reproduced", "much")
    assert judged(1, 5) == ("reproduced", "some")
    assert judged(1, 2) == ("same_direction", "little")
    assert judged(1, 100, PUBLISHED - 1) == ("not_at_this_scale", "much")
    assert judged(1, 100, half=True) == ("reproduced", "bfloat16")


@pytest.mark.parametrize(
    ("ratio", "status", "answer"),
    [(100, "reproduced", "most"), (10, "reproduced", "some"), (2, "same_direction", "flat"), (0.9, "not_at_this_scale", "flat")],
)
def test_a_step_is_judged_by_what_large_batches_gain(ratio: float, status: str, answer: str) -> None:
    line = Series(
        same("cpu"), "first", "cpu", [1, 1024], [[99.0, 100, 101, 100, 100], [ratio * rate for rate in (99.0, 100, 101, 99, 101)]]
    )
    outcome = judge_step(Benchmark(task="step"), [line])[1]
    assert (outcome.verdict.status, outcome.answer) == (status, answer)


def test_two_devices_are_compared_with_each_other() -> None:
    gpu, cpu = series("cuda:0 float32", 0.1, 1000), series("cpu float32", 1, 100)
    gpu.device = "cuda:0"
    products = Products([gpu, cpu], [], series("x + 1", 1), series("loop", 0.01), series("l", 1), series("s", 1))
    figures, _ = judge_product(Benchmark(), products, [PUBLISHED, 0], [15_000_000_000, 0])
    ratios = {figure.name.en: figure.value for figure in figures if "÷ cpu" in figure.name.en}
    assert ratios == {"cuda:0 ÷ cpu, n = 8": pytest.approx(0.1), "cuda:0 ÷ cpu, n = 32": pytest.approx(10)}


def test_the_charts_end_with_what_was_measured() -> None:
    *_, last = DEMO.run(Benchmark(largest=64, repeats=5), torch.device("cpu"), torch.Generator().manual_seed(0))
    sizes = {line.name.en: list(line.x) for line in last.charts[0].lines}  # type: ignore[union-attr]
    assert sizes["Python loop"] == [8, 16, 32]
    assert sizes["x + 1"] == [8, 16, 32, 64]
