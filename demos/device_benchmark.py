"""Why a GPU (1.30): how many floating-point operations a second this machine does, and on what that depends.

Matrix products of growing size, element-wise additions, one Python operation after another, and the training step of a small network are timed on every
device present. What is counted (the parameters of VGG16) is exact; what is timed holds for this machine and this minute only.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Line, LineChart, Role
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.device import available_devices
from demos.core.lazy import torch
from demos.core.pace import Pace
from demos.core.parameters import Parameters, flag, integer, mode_choice
from demos.core.statistics import mean_and_spread, ratio_interval
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

LONGEST = 0.12  # seconds that one call may take; what would take longer is left out
BURST = 7e-4  # seconds of a burst of calls
BURSTS = 3  # of them make a repetition: the fastest counts, as others are held up by other programs
PUBLISHED = 138_357_544  # parameters of VGG16
GROWTH = 3  # how many times faster the largest product must be than the smallest
HALVES, ROLES = ("bfloat16", "float16"), list[Role](["second", "third"])
SMALLEST, PYTHON = 8, 32  # sizes of the smallest product and of the largest one in plain Python
BATCHES = (1, 4, 16, 64, 256, 1024)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)  # of the input of a linear layer, for the roofline
IMAGES = 1.28e6  # in ImageNet
UNIT = same("GFLOP/s")


@dataclass(frozen=True)
class Benchmark(Parameters):
    task: str = mode_choice(
        "product", {"product": Text("矩阵乘法", "matrix product"), "step": Text("训练一步", "training step")},
        label=Text("实验", "Experiment"), help=Text("测矩阵乘法，还是训练一步。", "Time matrix products, or a training step."),
    )  # fmt: skip
    largest: int = integer(
        512, 64, 1024, step=64, label=Text("最大的矩阵 n", "Largest matrix n"), modes=("product",),
        help=Text("CPU 上测到 n×n；加速器测到 8 倍大。", "n×n on the CPU; accelerators go 8 times as far."),
    )  # fmt: skip
    half: bool = flag(
        False, label=Text("也测半精度", "Half precision too"), modes=("product",),
        help=Text("bfloat16 和 float16，在所选设备上。", "bfloat16 and float16, on the chosen device."),
    )  # fmt: skip
    width: int = integer(
        128, 16, 2048, step=16, label=Text("隐藏层宽度", "Hidden width"), modes=("step",),
        help=Text("64 → 宽度 → 10 的网络。", "Of a network 64 → width → 10."),
    )  # fmt: skip
    repeats: int = integer(
        7, 5, 15, advanced=True, label=Text("重复次数", "Repetitions"),
        help=Text("每个点测几次，取中位数。", "How often each point is measured; the median is drawn."),
    )  # fmt: skip


PRESETS = {
    "product": Preset(
        Text("矩阵越大越快", "Larger is faster"),
        Text("同样的乘加，从 8×8 到 512×512：每秒能做多少？", "The same multiply-adds from 8×8 to 512×512: how many per second?"),
        {"task": "product"},
        "textbook",
    ),
    "half": Preset(
        Text("半精度", "Half precision"),
        Text("位数减半，这台机器会更快吗？", "Half the bits: is this machine any faster?"),
        {"task": "product", "half": True, "largest": 256},
        look_for=Text(
            "看速度与矩阵大小的图里 float32、bfloat16、float16 三条曲线：在最大的矩阵上谁快谁慢，差几倍（纵轴是对数）；矩阵很小时，精度还要紧吗？",
            "Compare the curves of float32, bfloat16 and float16 in the chart of speed against matrix size: which is fastest at the largest matrices, and by what factor (the axis is logarithmic)? Does precision matter when the matrices are tiny?",
        ),
    ),
    "small": Preset(
        Text("小网络", "A small network"),
        Text("批量从 1 到 1024：小活儿为什么喂不饱硬件？", "Batches from 1 to 1024: why does a small job leave the hardware idle?"),
        {"task": "step"},
        "limits",
        look_for=Text(
            "看每秒训练的样本数：批量变大时，它与“按批量等比”的虚线贴在一起还是分开，在哪里分开。再看一步的时间：在哪一段几乎不随批量变，从哪里起明显变长？",
            "Look at the samples trained per second: as the batch grows, does the curve follow the dashed line “proportional”, and where do they part? Then look at the time of a step: where does it hardly depend on the batch, and from where on does it grow?",
        ),
    ),
}

VGG = Source(
    "Very Deep Convolutional Networks for Large-Scale Image Recognition", "Karen Simonyan, Andrew Zisserman", 2014, "https://arxiv.org/abs/1409.1556"
)  # fmt: skip
NVIDIA = Source(
    "GPU Performance Background User's Guide", "NVIDIA", 2023, "https://docs.nvidia.com/deeplearning/performance/dl-performance-gpu-background/index.html"
)  # fmt: skip


# ---- VGG16, counted --------------------------------------------------------------------------------------------------

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # channels of the 3×3 convolutions between poolings


def vgg16() -> tuple[list[int], list[int]]:
    """Parameters and multiply-adds (for a 224×224 image) of the convolutions and of the dense layers: (conv, dense) each.

    The layers are real ones, on the meta device: they have shapes and no memory.
    """
    nn, side, channels = torch.nn, 224, 3
    parameters, work = [0, 0], [0, 0]
    for stage in STAGES:
        for width in stage:
            convolution = nn.Conv2d(channels, width, 3, padding=1, device="meta")
            parameters[0] += sum(p.numel() for p in convolution.parameters())
            work[0] += convolution.weight.numel() * side**2
            channels = width
        side //= 2
    for inputs, outputs in ((channels * side**2, 4096), (4096, 4096), (4096, 1000)):
        dense = nn.Linear(inputs, outputs, device="meta")
        parameters[1] += sum(p.numel() for p in dense.parameters())
        work[1] += dense.weight.numel()
    return parameters, work


# ---- the stop-watch --------------------------------------------------------------------------------------------------


@dataclass
class Series:
    """A line of measurements: what it is called, and at each x the operations (or samples) a second of every repetition."""

    name: Text
    role: Role
    device: str = "cpu"
    x: list[float] = field(default_factory=list)
    rates: list[list[float]] = field(default_factory=list)
    slow: bool = False  # the next point would take too long, or the device cannot do it

    def medians(self) -> list[float]:
        return [statistics.median(rates) for rates in self.rates]

    def line(self) -> Line:
        """Medians, with a band from the slowest to the fastest repetition; points that are still being measured are drawn as well."""
        low, high = ([end(rates) for rates in self.rates] for end in (min, max))
        return Line(self.name, self.role, self.x, self.medians(), low, high, style="dots+line")


@dataclass(frozen=True)
class Job:
    """One point of a series: x, the operations (or samples) of a call, a guess of its seconds, and how to prepare the call."""

    series: Series
    x: float
    amount: float
    guess: float
    prepare: Callable[[], Callable[[], object]]


def wait_for(device: str) -> None:
    """Until the device has done all that it was told to: accelerators work behind the caller's back."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(torch.device(device))
    elif device == "mps":
        torch.mps.synchronize()


def seconds_for(work: Callable[[], object], calls: int, device: str) -> float:
    """Seconds that one call takes, over so many in a row."""
    wait_for(device)
    began = time.perf_counter()
    for _ in range(calls):
        work()
    wait_for(device)
    return (time.perf_counter() - began) / calls


def measured(jobs: Sequence[Job], repeats: int) -> Iterator[float]:
    """Does the jobs, filling their series; yields the share done after each burst of calls. A series that gets too slow is ended."""
    for i, job in enumerate(jobs):
        series = job.series
        series.slow = series.slow or (bool(series.x) and job.amount / series.medians()[-1] > LONGEST)
        if series.slow:
            continue
        try:
            work = job.prepare()
            work()  # the first call allocates memory and chooses a kernel
        except (RuntimeError, NotImplementedError, TypeError):  # a precision that this device does not know, or too little memory
            series.slow = True
            continue
        calls = max(1, min(500, round(BURST / job.guess)))
        rates: list[float] = []
        for repeat in range(repeats):
            bursts = []
            for burst in range(BURSTS):
                bursts.append(max(1e-9, seconds_for(work, calls, series.device)))
                yield (i + (repeat + (burst + 1) / BURSTS) / repeats) / len(jobs)
            rates.append(job.amount / min(bursts))
            if repeat == 0:
                series.x.append(job.x)
                series.rates.append(rates)


def _devices(device: torch.device) -> list[str]:
    """The chosen device first, then the others; three at most."""
    return [str(device), *[name for name in available_devices() if name != str(device)]][:3]


def _python_product(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> list[list[float]]:
    columns = list(zip(*b, strict=True))
    return [[sum(x * y for x, y in zip(row, column, strict=True)) for column in columns] for row in a]


# ---- matrix products -------------------------------------------------------------------------------------------------


@dataclass
class Products:
    """What is measured: products by size for each device (and precision), element-wise addition, plain Python, and a linear layer by its rows."""

    full: list[Series]
    half: list[Series]
    add: Series
    python: Series
    linear: Series
    stream: Series  # one large addition: the bandwidth of memory

    def drawn(self) -> list[Series]:
        return [series for series in [*self.full, *self.half, self.add, self.python] if series.x]


def _plan(p: Benchmark, device: torch.device, generator: torch.Generator) -> tuple[Products, list[Job]]:
    names, roles = _devices(device), list[Role](["first", "third", "fourth"])
    chosen = names[0]
    full = [Series(same(f"{name} float32"), role, name) for name, role in zip(names, roles, strict=False)]
    low = [Series(same(f"{chosen} {kind}"), role, chosen) for kind, role in zip(HALVES, ROLES, strict=True)] if p.half else []
    add, stream = (Series(Text("逐元素 x + 1", "x + 1"), "warning", chosen) for _ in range(2))
    products = Products(
        full,
        low,
        add,
        Series(Text("Python 循环", "Python loop"), "baseline"),
        Series(Text("线性层", "linear layer"), "first", chosen),
        stream,
    )
    base = torch.rand(1024, 1024, generator=generator)

    def square(n: int, name: str, dtype: str = "float32") -> Tensor:
        tiles = -(-n // 1024)
        return base.to(name, getattr(torch, dtype)).repeat(tiles, tiles)[:n, :n].contiguous()

    def product(n: int, name: str, dtype: str = "float32") -> Callable[[], object]:
        return partial(torch.matmul, square(n, name, dtype), square(n, name, dtype))

    def addition(n: int) -> Callable[[], object]:
        x = square(n, chosen)
        return partial(torch.add, x, 1.0, out=torch.empty_like(x))

    def layer(rows: int, k: int) -> Callable[[], object]:
        return partial(torch.matmul, square(k, chosen)[:rows], square(k, chosen))

    def loop(n: int) -> Callable[[], object]:
        return partial(_python_product, base[:n, :n].tolist(), base[:n, :n].tolist())

    jobs = []
    for n in _sizes(p):
        work = 2.0 * n**3
        for series, dtype in [*((series, "float32") for series in full), *zip(low, HALVES, strict=False)]:
            if n <= _reach(p, series.device):
                guess = 2e-6 + work / 2e10 if series.device == "cpu" else 2e-5 + work / 1e13
                jobs.append(Job(series, n, work, guess, partial(product, n, series.device, dtype)))
        if n <= p.largest:
            jobs.append(Job(add, n, n * n, 2e-6 + n * n / 5e9, partial(addition, n)))
        if n <= PYTHON:
            jobs.append(Job(products.python, n, work, work / 3e7, partial(loop, n)))
    k, count = (1024, 2048) if chosen == "cpu" else (4096, 8192)  # too large for the caches
    jobs += [Job(products.linear, intensity(rows, k), 2.0 * rows * k * k, 2e-4, partial(layer, rows, k)) for rows in ROWS]
    return products, [*jobs, Job(stream, 1 / 8, count * count, 1e-3, partial(addition, count))]


def _reach(p: Benchmark, device: str) -> int:
    """The largest matrix on a device."""
    return p.largest if device == "cpu" else 8 * p.largest


def _sizes(p: Benchmark) -> list[int]:
    return sorted({p.largest, *(2**i for i in range(3, 14) if 2**i <= 8 * p.largest)})


def intensity(rows: int, k: int) -> float:
    """Operations for each byte moved, of a float32 product (rows, k) by (k, k)."""
    return 2 * rows * k * k / (4 * (k * k + 2 * rows * k))


def _roofline(products: Products) -> LineChart:
    peak = max(products.full[0].medians(), default=0.0) / 1e9
    stream = products.stream.medians()
    lines = []
    if stream and peak:  # measured last
        bandwidth = 8 * stream[0] / 1e9  # GB/s: four bytes read and four written for each addition
        at = [0.1 * 10 ** (i / 10) for i in range(33)]
        lines.append(Line(Text("屋顶线", "roofline"), "theory", at, [min(peak, bandwidth * x) for x in at]))
        lines.append(_scaled(products.stream))
    lines.append(_scaled(products.linear))
    reached = products.linear.medians()
    told = (
        Text(
            f"1 行输入 {reached[0] / 1e9:.3g} GFLOP/s，{ROWS[len(reached) - 1]} 行 {reached[-1] / 1e9:.3g} GFLOP/s；斜线以上的点吃到了缓存。",
            f"{reached[0] / 1e9:.3g} GFLOP/s with one row of input, {reached[-1] / 1e9:.3g} with {ROWS[len(reached) - 1]}; points above the slope read from caches.",
        )
        if reached
        else Text("还没有测到。", "Not measured yet.")
    )
    return LineChart(
        Text("算术强度与速度（屋顶线）", "Arithmetic intensity and speed (roofline)"),
        Axis(Text("每字节的运算数（对数）", "operations per byte (log)"), log=True, low=0.1, high=200),
        Axis(Text("GFLOP/s（对数）", "GFLOP/s (log)"), log=True, low=1, high=1e3 if products.full[0].device == "cpu" else 1e5),
        tuple(lines),
        told,
    )


def _scaled(series: Series) -> Line:
    """The series in GFLOP/s."""
    return replace(series, rates=[[rate / 1e9 for rate in rates] for rates in series.rates]).line()


def _run_product(p: Benchmark, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    parameters, work = vgg16()
    products, jobs = _plan(p, device, generator)
    far = max(_reach(p, series.device) for series in products.full)
    shares = [[100 * part / sum(whole) for part in whole] for whole in (parameters, work)]
    bars = BarChart(
        Text("VGG16：参数不等于计算", "VGG16: parameters are not work"),
        (Text("13 个卷积层", "13 convolutions"), Text("3 个全连接层", "3 dense layers")),
        Axis(Text("占比（%）", "share (%)"), low=0, high=100),
        (Bars(Text("参数", "parameters"), "baseline", shares[0]), Bars(Text("乘加次数", "multiply-adds"), "second", shares[1])),
        Text(
            f"共 {sum(parameters):,} 个参数，全连接层占 {shares[0][1]:.0f}%；卷积占乘加的 {shares[1][0]:.1f}%。",
            f"{sum(parameters):,} parameters, {shares[0][1]:.0f} % in dense layers; convolutions do {shares[1][0]:.1f} % of the multiply-adds.",
        ),
    )

    def charts() -> tuple[Chart, ...]:
        done = products.full[0].medians() or [0.0]
        told = Text(
            f"{products.full[0].device}：最小的矩阵 {done[0] / 1e9:.2g}，最大的 {done[-1] / 1e9:.3g} GFLOP/s。带状区域是最慢到最快的一次。",
            f"{products.full[0].device}: {done[0] / 1e9:.2g} GFLOP/s for the smallest product, {done[-1] / 1e9:.3g} for the largest. Bands: slowest to fastest repetition.",
        )
        by_size = LineChart(
            Text("速度与矩阵大小", "Speed against matrix size"),
            Axis(Text("n（n×n 矩阵，对数）", "n (of n×n matrices, log)"), log=True, low=SMALLEST, high=far),
            Axis(Text("GFLOP/s（对数）", "GFLOP/s (log)"), log=True, low=1e-2, high=1e3 if far == p.largest else 1e6),
            tuple(_scaled(series) for series in products.drawn()),
            told,
        )
        return by_size, _roofline(products), bars

    yield Snapshot(0, Text("就绪", "Ready"), charts())
    pace = Pace()
    for share in measured(jobs, p.repeats):
        if pace.due(share):
            yield Snapshot(0.99 * share, Text("计时中", "Timing"), charts())
    figures, outcome = judge_product(p, products, parameters, work)
    yield Snapshot(1, Text("完成", "Done"), charts(), figures, outcome)


def judge_product(p: Benchmark, products: Products, parameters: Sequence[int], work: Sequence[int]) -> tuple[tuple[Figure, ...], Outcome]:
    """Reproduced: VGG16 has exactly PUBLISHED parameters, and the largest product measured on the chosen device runs at GROWTH times the speed of the 8×8 one or more.

    Same direction: only the count is right. Otherwise not at this scale. What is timed decides nothing else, so that the status does not hang on the clock.
    """
    main, total = products.full[0], sum(parameters)
    rates = [[rate / 1e9 for rate in point] for point in main.rates]
    speeds = [statistics.median(point) for point in rates]
    growth = speeds[-1] / speeds[0]
    status: Status = "not_at_this_scale" if total != PUBLISHED else "reproduced" if growth >= GROWTH else "same_direction"
    figures = [
        Figure(Text("VGG16 的参数（百万）", "Parameters of VGG16 (millions)"), total / 1e6),
        Figure(Text("VGG16 一次前向的乘加（十亿）", "Multiply-adds of VGG16, forward (billions)"), sum(work) / 1e9),
        Figure(Text(f"{main.device}：{main.x[-1]:g}×{main.x[-1]:g}", f"{main.device}: {main.x[-1]:g}×{main.x[-1]:g}"), speeds[-1], mean_and_spread(rates[-1])[1], UNIT),
        Figure(Text(f"{main.device}：8×8", f"{main.device}: 8×8"), speeds[0], mean_and_spread(rates[0])[1], UNIT),
        Figure(Text("最大 ÷ 最小", "Largest ÷ smallest"), growth, None, "×"),
    ]  # fmt: skip
    others = [series for series in [*products.full[1:], *products.half, products.add, products.python] if series.x]
    figures += [
        Figure(Text(f"{series.name.zh}，n = {series.x[-1]:g}", f"{series.name.en}, n = {series.x[-1]:g}"), series.medians()[-1] / 1e9, mean_and_spread([r / 1e9 for r in series.rates[-1]])[1], UNIT)
        for series in others
    ]  # fmt: skip
    for other in products.full[1:]:
        if other.x and other.x[0] == main.x[0]:
            at = max(set(other.x) & set(main.x))
            for n in (main.x[0], at):
                ratio = main.medians()[main.x.index(n)] / other.medians()[other.x.index(n)]
                figures.append(
                    Figure(
                        Text(f"{main.device} ÷ {other.device}，n = {n:g}", f"{main.device} ÷ {other.device}, n = {n:g}"), ratio, None, "×"
                    )
                )
    published = Text(
        f"VGG16（论文表 2 的 D）有 138 M 个参数；torchvision 给出 {PUBLISHED:,}",
        f"VGG16 (D in Table 2 of the paper) has 138 M parameters; torchvision lists {PUBLISHED:,}",
    )
    answer = "little" if growth < GROWTH else "some" if growth < 10 else "much"
    if p.half:
        answer = max([main, *products.half], key=lambda series: (series.medians() or [0.0])[-1]).name.en.rpartition(" ")[2]
    explanation = _explain_product(p, products, speeds, total, work)
    return tuple(figures), Outcome(Verdict(status, figures[0], published, VGG, explanation), answer)


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2g}"


def _explain_product(p: Benchmark, products: Products, speeds: Sequence[float], total: int, work: Sequence[int]) -> Text:
    main = products.full[0]
    days = 3 * 2 * sum(work) * IMAGES / (speeds[-1] * 1e9) / 86400
    count = Text(
        f"数出来正好是 {total:,} 个参数（13 个卷积、3 个全连接）；一张图前向 {sum(work) / 1e9:.1f} G 次乘加，几乎全在卷积里。",
        f"Counted, there are exactly {total:,} parameters (13 convolutions, 3 dense layers); one image takes {sum(work) / 1e9:.1f} G multiply-adds, nearly all in convolutions. ",
    )
    cause = Text("，差别不大。", ": little difference. ")
    if speeds[-1] >= GROWTH * speeds[0]:
        cause = Text("：小矩阵的时间几乎都花在调用上。", ", where nearly all the time goes into the call. ")
    speed = Text(
        f"{main.device} 上 {main.x[-1]:g}×{main.x[-1]:g} 每秒 {speeds[-1]:.3g} G 次运算，是 8×8 的 {_times(speeds[-1] / speeds[0])} 倍{cause.zh}按这个速度，VGG16 把 128 万张图训练一遍要 {days:.2g} 天。",
        f"On {main.device} {main.x[-1]:g}×{main.x[-1]:g} runs at {speeds[-1]:.3g} GFLOP/s, {_times(speeds[-1] / speeds[0])} times the speed of 8×8{cause.en}At that speed "
        f"VGG16 takes {days:.2g} days for one pass over 1.28 million images. ",
    )
    if products.python.x and products.add.x:
        python, add = products.python.medians()[-1] / 1e9, products.add.medians()[-1] / 1e9
        slow = Text(
            f"逐个元素的 Python 循环只有 {python:.2g} GFLOP/s；逐元素加法 {add:.2g}，因为每次运算要搬 8 字节，受限于内存。",
            f"One Python operation at a time gives {python:.2g} GFLOP/s; element-wise addition {add:.2g}, as it moves 8 bytes for each operation and waits for memory. ",
        )
        speed = speed + slow
    if p.half:
        measured_at = [
            (series.name.en.rpartition(" ")[2], f"{series.medians()[-1] / 1e9:.3g}", f"n = {series.x[-1]:g}")
            for series in [main, *products.half]
            if series.x
        ]
        half = Text(
            "各精度（GFLOP/s）：" + "，".join(f"{kind} {rate}（{n}）" for kind, rate, n in measured_at) + "。位数少只有在硬件有相应单元时才快，没有就可能更慢。",
            "By precision, in GFLOP/s: " + ", ".join(f"{kind} {rate} ({n})" for kind, rate, n in measured_at) + ". Fewer bits are faster only where the hardware has units for them; without, they can be slower. ",
        )  # fmt: skip
        speed = speed + half
    alone = Text(
        "这里只有一个设备（单线程），没有加速器可比；上面的对比说明了为什么要成批地算。",
        "There is only one device here (on one thread) and no accelerator to compare with; the comparisons above show why work is done in bulk.",
    )
    if len(products.full) > 1:
        alone = Text(
            "设备之间的倍数见数值表：只对这台机器、这一刻有效。",
            "The table has the ratios between devices: they hold for this machine and this minute.",
        )
    return count + speed + alone


# ---- a training step -------------------------------------------------------------------------------------------------


def training_step(x: Tensor, y: Tensor, weights: Sequence[Tensor]) -> None:
    """Forward, backward and an SGD update of a network 64 → width → 10."""
    loss = torch.nn.functional.cross_entropy((x @ weights[0]).relu() @ weights[1], y)
    gradients = torch.autograd.grad(loss, list(weights))
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.sub_(gradient, alpha=0.01)


def _run_step(p: Benchmark, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    roles: tuple[Role, ...] = ("first", "second", "third")
    lines = [Series(same(name), role, name) for name, role in zip(_devices(device), roles, strict=False)]
    x, y = torch.randn(BATCHES[-1], 64, generator=generator), torch.randint(10, (BATCHES[-1],), generator=generator)
    start = [torch.randn(a, b, generator=generator) / a**0.5 for a, b in ((64, p.width), (p.width, 10))]

    def prepared(batch: int, name: str) -> Callable[[], object]:
        weights = [weight.to(name, copy=True).requires_grad_() for weight in start]
        inputs, labels = x[:batch].to(name), y[:batch].to(name)
        return partial(training_step, inputs, labels, weights)

    jobs = [
        Job(series, batch, batch, 2e-4 + batch * p.width * 74 * 6 / 2e10, partial(prepared, batch, series.device))
        for batch in BATCHES
        for series in lines
    ]

    def charts() -> tuple[Chart, ...]:
        main = lines[0].medians() or [1.0]
        told = Text(
            f"{lines[0].device}：批量 1 每秒 {main[0]:,.0f} 个样本，批量 {BATCHES[len(main) - 1]} 每秒 {main[-1]:,.0f} 个。",
            f"{lines[0].device}: {main[0]:,.0f} samples per second at batch 1, {main[-1]:,.0f} at batch {BATCHES[len(main) - 1]}.",
        )
        ideal = Line(Text("按批量等比", "proportional"), "theory", [1, BATCHES[-1]], [main[0], main[0] * BATCHES[-1]])
        axis = Axis(Text("批量（对数）", "batch size (log)"), log=True, low=1, high=BATCHES[-1])
        shown = [series for series in lines if series.x]
        speed = LineChart(
            Text("每秒训练的样本数", "Samples trained per second"),
            axis,
            Axis(Text("样本/秒（对数）", "samples/s (log)"), log=True, low=100, high=1e8),
            (*[series.line() for series in shown], *([ideal] if shown else [])),
            told,
        )
        each = LineChart(
            Text("一步的时间", "Time of a step"),
            axis,
            Axis(Text("毫秒（对数）", "milliseconds (log)"), log=True, low=0.01, high=1e3),
            tuple(
                Line(s.name, s.role, s.x, [1e3 * b / rate for b, rate in zip(s.x, s.medians(), strict=True)], style="dots+line")
                for s in shown
            ),
            Text("批量小时几乎不变：时间花在调用上。", "Nearly constant while batches are small: the time goes into the calls."),
        )
        return speed, each

    yield Snapshot(0, Text("就绪", "Ready"), charts())
    pace = Pace()
    for share in measured(jobs, p.repeats):
        if pace.due(share):
            yield Snapshot(0.99 * share, Text("计时中", "Timing"), charts())
    figures, outcome = judge_step(p, lines)
    yield Snapshot(1, Text("完成", "Done"), charts(), figures, outcome)


def judge_step(p: Benchmark, lines: Sequence[Series]) -> tuple[tuple[Figure, ...], Outcome]:
    """Samples a second of the largest batch ÷ those of batch 1 on the chosen device, with an interval over repetitions.

    Reproduced: its mean is 4 or more (little work leaves the hardware idle) and its interval lies above 1. Same direction: the interval does. Otherwise not at this
    scale.
    """
    main = lines[0]
    mean, low, high = ratio_interval([large / small for large, small in zip(main.rates[-1], main.rates[0], strict=False)])
    status: Status = "not_at_this_scale" if low <= 1 else "reproduced" if mean >= 4 else "same_direction"
    largest = int(main.x[-1])
    times = [1e3 * batch / rate for batch, rate in zip(main.x, main.medians(), strict=True)]
    figures = [
        Figure(Text(f"每秒样本数：批量 {largest} ÷ 批量 1", f"Samples per second: batch {largest} ÷ batch 1"), mean, (high - low) / 2, "×")
    ]
    for series in lines:
        for batch, rates in zip(series.x, series.rates, strict=True):
            figures.append(
                Figure(
                    Text(f"{series.device}，批量 {batch:g}", f"{series.device}, batch {batch:g}"),
                    statistics.median(rates),
                    mean_and_spread(rates)[1],
                    Text("样本/秒", "samples/s"),
                )
            )
    published = Text(
        "工作量不够大、不够并行时，处理器吃不饱，速度受延迟限制",
        "if the workload is not large enough or lacks parallelism, the processor is under-utilised and limited by latency",
    )
    found = Text(
        f"{main.device} 上一步（64 → {p.width} → 10）在批量 1 时 {times[0]:.2g} 毫秒，批量 {largest} 时 {times[-1]:.2g} 毫秒：样本是原来的 {largest} 倍，时间是原来的 {_times(times[-1] / times[0])} 倍。",
        f"On {main.device} a step (64 → {p.width} → 10) takes {times[0]:.2g} ms at batch 1 and {times[-1]:.2g} ms at batch {largest}: {largest} times the samples in {_times(times[-1] / times[0])} times the time. ",
    )
    why = Text(
        "这里批量 1 的计算量已经够大，加大批量赚得不多。", "Here a batch of 1 is enough work already, and larger batches gain little. "
    )
    if mean >= 4:
        why = Text(
            "小批量的时间大多是调用几十个小算子的固定开销，与算多少无关；曲线变平之处才轮到算力或内存。",
            "With small batches most of the time is the fixed cost of calling a few dozen small operations, however little they compute; only where the curve flattens do arithmetic or memory set the pace. ",
        )
    rest = Text(
        "这里没有加速器可比；加速器每次调用的开销通常更大。",
        "There is no accelerator here to compare with; each call to one usually costs more.",
    )
    if len(lines) > 1 and lines[1].x:
        ratio = [main.medians()[i] / lines[1].medians()[i] for i in (0, min(len(main.x), len(lines[1].x)) - 1)]
        rest = Text(
            f"{main.device} 的速度是 {lines[1].device} 的 {ratio[0]:.2g} 倍（批量 1）和 {ratio[1]:.2g} 倍（最大批量）。",
            f"{main.device} is {ratio[0]:.2g} times as fast as {lines[1].device} at batch 1 and {ratio[1]:.2g} times at the largest.",
        )
    answer = "flat" if mean < 4 else "some" if mean < 20 else "most" if mean < largest / 2 else "full"
    return tuple(figures), Outcome(Verdict(status, figures[0], published, NVIDIA, found + why + rest), answer)


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Benchmark) -> Prediction:
    if p.task == "step":
        return Prediction(
            Text(f"网络 64 → {p.width} → 10，批量从 1 加到 1024。每秒训练的样本数变成多少倍？", f"The batch of a network 64 → {p.width} → 10 grows from 1 to 1024. By what factor do the samples trained per second grow?"),
            {
                "flat": Text("不到 4 倍", "less than 4 times"),
                "some": Text("4–20 倍", "4 to 20 times"),
                "most": Text("20–512 倍", "20 to 512 times"),
                "full": Text("512 倍以上，几乎等比", "over 512 times: nearly in proportion"),
            },
        )  # fmt: skip
    if p.half:
        return Prediction(
            Text("在这台机器上，大矩阵相乘哪种精度最快？", "Which precision multiplies large matrices fastest on this machine?"),
            {"float32": same("float32"), "bfloat16": same("bfloat16"), "float16": same("float16")},
        )
    return Prediction(
        Text(f"每秒的运算次数，{p.largest}×{p.largest} 的矩阵乘法是 8×8 的多少倍？", f"In operations per second, how many times as fast is a product of {p.largest}×{p.largest} as one of 8×8?"),
        {"little": Text(f"不到 {GROWTH} 倍", f"less than {GROWTH} times"), "some": Text(f"{GROWTH}–10 倍", f"{GROWTH} to 10 times"), "much": Text("10 倍以上", "over 10 times")},
    )  # fmt: skip


def run(parameters: Benchmark, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from {"product": _run_product, "step": _run_step}[parameters.task](parameters, device, generator)


_HEAD = """\
import statistics
import time

import torch

torch.set_num_threads(1)
devices = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()

def wait(device):  # accelerators work behind the caller's back
    if device != "cpu":
        getattr(torch, device).synchronize()

def seconds(work, device, calls):
    work()  # the first call is slower
    times = []
    for _ in range({repeats}):
        wait(device)
        began = time.perf_counter()
        for _ in range(calls):
            work()
        wait(device)
        times.append((time.perf_counter() - began) / calls)
    return statistics.median(times)
"""
_PRODUCT_CODE = (
    _HEAD
    + """
for device in devices:
    for dtype in {dtypes}:
        n = 8
        while n <= {largest}:
            a, b = (torch.rand(n, n).to(device, dtype) for _ in range(2))
            took = seconds(lambda: a @ b, device, max(1, int(2e7 / n**3)) if n > 64 else 200)
            print(f"{{device}} {{dtype}} {{n:5}}: {{2 * n**3 / took / 1e9:10.3f}} GFLOP/s")
            n *= 2
            if 8 * took > 0.5:
                break

channels, count = 3, 0
for width in (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512):
    count += sum(p.numel() for p in torch.nn.Conv2d(channels, width, 3, device="meta").parameters())
    channels = width
for inputs, outputs in ((512 * 7 * 7, 4096), (4096, 4096), (4096, 1000)):
    count += sum(p.numel() for p in torch.nn.Linear(inputs, outputs, device="meta").parameters())
print(f"VGG16 has {{count:,}} parameters")
"""
)
_STEP_CODE = (
    _HEAD
    + """
for device in devices:
    network = torch.nn.Sequential(torch.nn.Linear(64, {width}), torch.nn.ReLU(), torch.nn.Linear({width}, 10)).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    for batch in (1, 4, 16, 64, 256, 1024):
        x, y = torch.randn(batch, 64, device=device), torch.randint(10, (batch,), device=device)

        def step():
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()

        took = seconds(step, device, 10)
        print(f"{{device}} batch {{batch:5}}: {{1e3 * took:8.3f}} ms, {{batch / took:12,.0f}} samples/s")
"""
)


def code(p: Benchmark) -> str:
    dtypes = "(torch.float32, torch.bfloat16, torch.float16)" if p.half else "(torch.float32,)"
    return (_STEP_CODE if p.task == "step" else _PRODUCT_CODE).format(**p.values(), dtypes=dtypes)


DEMO = Demo(
    topic="hardware",
    title=Text("算力从哪里来", "Where speed comes from"),
    question=Text("为什么深度学习要用 GPU，什么时候用不上？", "Why does deep learning use GPUs, and when are they of no use?"),
    look_for=Text(
        "看同一台机器的速度怎样随矩阵大小变化，在哪里变平；Python 循环和逐元素加法又在什么高度。再看屋顶线：每搬一个字节做多少次运算，速度才接近平顶？",
        "See how the speed of one and the same machine changes with the size of the matrices, where it flattens, and at what height the Python loop and the element-wise addition lie. Then look at the roofline: how many operations per byte does it take to come near the flat top?",
    ),
    scaled_down=Text(
        "VGG16 只数不训练；计时用单线程和小矩阵，几毫秒一次。倍数随机器、线程数和负载变化，只对这里有效。",
        "VGG16 is counted, not trained; timing uses one thread and small matrices, a few milliseconds each. Ratios vary with machine, threads and load, and hold here only.",
    ),
    parameters=Benchmark,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=2,
    timed=True,
)
