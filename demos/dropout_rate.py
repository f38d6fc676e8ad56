"""Choosing the dropout rate (1.11): test error against p, at a fixed width and at a fixed number of units that stay on, and the trap in the letter p.

Srivastava et al. (2014) call p the probability to KEEP a unit; nn.Dropout(p) takes the probability to DROP it. Here p is always PyTorch's, and keep = 1 − p.
All rates and seeds at one width are one stack (demos/core/stacked.py); where the width grows as 1/keep, each width is a stack over the seeds. Network s of
every rate sees the same batches of the same samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demos.core.charts import Axis, Chart, Image, ImageGrid, Line, LineChart, Role, Rule
from demos.core.datasets import Dataset, load_digits_or_own, shuffles
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import SGD, StackedMLP, error_rate
from demos.core.statistics import interval, mean_and_band, mean_and_spread
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

DROPS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9)
PLATEAU = (0.2, 0.35, 0.5, 0.6)  # keep 0.8 … 0.4, where the paper finds a flat curve
BATCH, MOMENTUM, CHECKPOINTS = 20, 0.9, 15
SEEN = 300  # at most so many training samples are looked at for the training error
SHOWN = 4  # digits in the pictures


@dataclass(frozen=True)
class Rate(Parameters):
    task: str = mode_choice(
        "sweep", {"sweep": Text("扫描丢弃概率", "sweep"), "input": Text("输入层", "on the inputs"), "limits": Text("帮不上忙", "no help")},
        label=Text("实验", "Experiment"), help=Text("检验哪个说法。", "Which claim is tested."),
    )  # fmt: skip
    width: int = integer(
        80, 5, 200, step=5, label=Text("固定宽度 n", "Fixed width n"), help=Text("一个隐藏层的单元数。", "Units of the hidden layer.")
    )
    kept: int = integer(
        20, 5, 40, label=Text("平均保留的单元数 (1−p)·n", "Units kept (1−p)·n"), modes=("sweep", "limits"),
        help=Text("另一条曲线的宽度随 p 增大，使平均保留的单元数不变。", "For the second curve the width grows with p, so that as many units are on."),
    )  # fmt: skip
    p: float = real(
        0.8, 0.5, 0.95, step=0.05, label=Text("误写的 p", "p by mistake"), modes=("input",),
        help=Text("把“保留概率”直接写进 nn.Dropout(p)；正确的是 nn.Dropout(1−p)。", "A keep probability written into nn.Dropout(p), where nn.Dropout(1−p) is meant."),
    )  # fmt: skip
    samples: int = integer(
        100, 20, 1297, label=Text("训练样本数", "Training samples"), help=Text("越少越容易过拟合。", "The fewer, the more it overfits.")
    )
    steps: int = integer(
        250, 50, 600, step=50, label=Text("训练步数", "Training steps"),
        help=Text(f"每步 {BATCH} 个样本。", f"Each step takes {BATCH} samples."),
    )  # fmt: skip
    lr: float = real(
        0.05, 0.001, 1, log=True, advanced=True, label=Text("学习率", "Learning rate"),
        help=Text("带动量的 SGD，后一半线性降到 0。", "SGD with momentum; it falls to 0 over the second half."),
    )  # fmt: skip
    seeds: int = integer(
        8, 5, 10, advanced=True, label=Text("种子数", "Seeds"), help=Text("初始权重和样本各不相同。", "Each with its own weights and samples.")
    )  # fmt: skip
    data: str = own_data("classes")


PRESETS = {
    "sweep": Preset(
        Text("扫描 p", "Sweep p"),
        Text("80 个单元、100 个样本：p 取多少最好，有多要紧？", "80 units, 100 samples: which p is best, and how much does it matter?"),
        {"task": "sweep"},
        "textbook",
    ),
    "trap": Preset(
        Text("保留还是丢弃", "Keep or drop?"),
        Text("“输入层取 0.8”写成 nn.Dropout(0.8)：丢掉了八成像素。", "“0.8 for the inputs”, written as nn.Dropout(0.8): four pixels in five are gone."),
        {"task": "input"},
        look_for=Text(
            "先看网络看到的输入：两种 p 各留下多少笔画？再看“本意”和“误写”两条竖线处的测试错误率差多少，训练错误率（灰线）有没有跟着抬头。",
            "See first what the network sees: how much of the digits does either p leave? Then compare the test error at the two upright lines, “meant” and “written”, and see whether the training error (grey) lifts off too.",
        ),
    ),
    "tiny": Preset(
        Text("网络很小", "Tiny network"),
        Text("只有 10 个单元，再丢掉一部分会怎样？", "Ten units, and some of them dropped: what happens?"),
        {"task": "limits", "width": 10, "kept": 10, "samples": 300},
        "limits",
        look_for=Text(
            "比较曲线在 p = 0 处与两条竖线之间的高低，再看“固定 n”和“固定 (1−p)n”从哪里分开。灰线是训练错误率：它抬头的地方，就开始欠拟合了。",
            "Compare the curve at p = 0 with its part between the two upright lines, and see where “fixed n” and “fixed (1−p)n” part. Grey is the training error: where it lifts off, the network under-fits.",
        ),
    ),
    "plenty": Preset(
        Text("数据充足", "Plenty of data"),
        Text("样本多到 1297 个，还需要 Dropout 吗？", "With 1,297 samples, is dropout still needed?"),
        {"task": "limits", "samples": 1297},
        "limits",
        look_for=Text(
            "比较测试错误率在 p = 0 处与两条竖线之间的高低，再看 p = 0 处它与灰线（训练错误率）隔多远：那就是 Dropout 能缩小的差距。",
            "Compare the test error at p = 0 with its part between the two upright lines. Then see how far it is at p = 0 from the grey line, the training error: that gap is all that dropout could close.",
        ),
    ),
}  # fmt: skip

SRIVASTAVA = Source(
    "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    "Nitish Srivastava, Geoffrey Hinton, Alex Krizhevsky, Ilya Sutskever, Ruslan Salakhutdinov",
    2014,
    "https://jmlr.org/papers/v15/srivastava14a.html",
)
ERROR = Text("错误率（%）", "error (%)")


def rates(p: Rate) -> list[float]:
    """The drop probabilities that are trained; on the inputs also the learner's p and 1 − p."""
    return sorted({*DROPS, p.p, round(1 - p.p, 4)} if p.task == "input" else DROPS)


# ---- training --------------------------------------------------------------------------------------------------------


class Sweep:
    """Networks of one hidden layer for each of `drops` (R of them) and each seed (S), as one or more stacks."""

    def __init__(self, p: Rate, data: Dataset, generator: torch.Generator, *, widen: bool) -> None:
        """With `widen`, kept/(1−p) units for each p; otherwise p.width for all."""
        self.drops, self._on_inputs, self._generator = rates(p), p.task == "input", generator
        groups = [[drop] for drop in self.drops] if widen else [self.drops]
        self.nets, self._kept = [], []
        for group in groups:
            width = max(1, round(p.kept / (1 - group[0]))) if widen else p.width
            drop = torch.tensor(group).repeat_interleave(p.seeds)[:, None]
            starts, sizes = list(range(p.seeds)) * len(group), (data.features, width, data.classes)
            hidden = 0.0 if self._on_inputs else drop
            self.nets.append(StackedMLP(sizes, starts, generator, dropout=hidden, device=data.train_x.device))
            self._kept.append(1 - drop[..., None])
        self._optimizers = [SGD(net, [p.lr], momentum=MOMENTUM) for net in self.nets]

    def step(self, x: Tensor, y: Tensor, factor: float) -> None:
        """One step of all networks on a batch for each seed, x (S, B, F), y (S, B)."""
        for net, kept, optimizer in zip(self.nets, self._kept, self._optimizers, strict=True):
            copies = net.count // len(x)
            batch, masks = x.repeat(copies, 1, 1), None
            if self._on_inputs:
                batch = batch * masked(batch.shape, kept, self._generator).to(x.device)
            else:
                masks = net.draw_masks(x.shape[1], self._generator)
            _, gradients = net.gradients(batch, y.repeat(copies, 1), masks)
            optimizer.step(gradients, factor)

    def errors(self, x: Tensor, y: Tensor) -> Tensor:
        """Error in percent (R, S), with nothing dropped, on the CPU; x is (B, F) or (S, B, F)."""
        found = []
        for net in self.nets:
            copies = net.count // x.shape[0]
            wide = (x, y) if x.dim() == 2 else (x.repeat(copies, 1, 1), y.repeat(copies, 1))
            found.append(100 * error_rate(net.logits(wide[0]), wide[1]).cpu())
        return torch.cat(found).view(len(self.drops), -1)


def masked(shape: Sequence[int], kept: Tensor, generator: torch.Generator) -> Tensor:
    """A mask of 0 and 1/kept, as nn.Dropout draws it; `kept` broadcasts to the shape."""
    return (torch.rand(*shape, generator=generator) < kept).float() / kept


@dataclass
class Results:
    """Errors in percent (R, S): in the test at the fixed width, in training there, and in the test where the width grows; and the first by checkpoint."""

    test: Tensor
    train: Tensor
    wider: Tensor
    steps: list[int] = field(default_factory=list)
    history: list[Tensor] = field(default_factory=list)


# ---- charts ----------------------------------------------------------------------------------------------------------


def charts(p: Rate, results: Results, pictures: Tensor) -> tuple[Chart, ...]:
    """`pictures` (2, SHOWN, 64): digits under nn.Dropout(1 − p) and nn.Dropout(p), for the trap."""
    drops, high = rates(p), error_frame(p)
    error = Axis(ERROR, low=0, high=high)
    lines = [
        _line(Text("训练", "training"), "baseline", drops, results.train),
        _line(Text("固定 n", "fixed n"), "first", drops, results.test),
    ]
    rules = (Rule(Text("保留 0.8", "keep 0.8"), 0.2), Rule(Text("保留 0.4", "keep 0.4"), 0.6))
    if p.task == "input":
        rules = (Rule(Text("本意", "meant"), round(1 - p.p, 4)), Rule(Text("误写", "written"), p.p, "warning"))
    else:
        lines.append(_line(Text("固定 (1−p)n", "fixed (1−p)n"), "second", drops, results.wider))
    best = drops[int(results.test.mean(1).argmin())] if len(results.test) else 0.0
    where = Text("输入层", "the inputs") if p.task == "input" else Text("隐藏层", "the hidden layer")
    curve = LineChart(
        Text(f"错误率与{where.zh}的丢弃概率", f"Error against p on {where.en}"),
        Axis(Text("丢弃概率 p（保留 1−p）", "probability to drop, p (keep 1−p)"), low=0, high=1), error, tuple(lines),
        Text(f"测试错误率随 p 变化，目前最低在 p = {best:g}（保留 {1 - best:.2g}）。", f"Test error against p; at present it is lowest at p = {best:g} (keep {1 - best:.2g})."),
        rules,
    )  # fmt: skip
    shown = sorted({0.0, round(1 - p.p, 4), p.p} if p.task == "input" else {0.0, 0.5, 0.9})
    roles: tuple[Role, ...] = ("baseline", "first", "second")
    past = [[results.history[i][drops.index(drop)] for i in range(len(results.history))] for drop in shown]
    told = [(f"{drop:g}", f"{float(rows[-1].mean()):.3g}" if rows else "–") for drop, rows in zip(shown, past, strict=True)]
    history = LineChart(
        Text("训练过程中的测试错误率", "Test error while training"), Axis(Text("训练步数", "training steps"), low=0, high=p.steps), error,
        tuple(_line(same(f"p = {drop:g}"), role, results.steps, torch.stack(rows) if rows else torch.empty(0, 1)) for drop, role, rows in zip(shown, roles, past, strict=True)),
        Text(
            f"宽度 {p.width} 时的测试错误率（%），目前：{'，'.join(f'p = {drop} 为 {error}' for drop, error in told)}。",
            f"Test error in % at width {p.width}; at present {', '.join(f'{error} at p = {drop}' for drop, error in told)}.",
        ),
    )  # fmt: skip
    if p.task != "input" or p.data:
        return curve, history
    names = [same(f"p = {drop:g}") for drop in (round(1 - p.p, 4), p.p)]
    images = tuple(Image(name, picture.view(8, 8)) for name, row in zip(names, pictures, strict=True) for picture in row)
    seen = Text(f"同样的数字，丢掉 {100 * (1 - p.p):.3g}% 或 {100 * p.p:.3g}% 的像素；丢掉的像素取均值（中间色）。", f"The same digits with {100 * (1 - p.p):.3g} % or {100 * p.p:.3g} % of the pixels dropped; those are set to their mean (the neutral colour).")  # fmt: skip
    return curve, ImageGrid(Text("网络看到的输入", "What the network sees"), images, seen, columns=SHOWN, diverging=True), history


def _line(name: Text, role: Role, x: Sequence[float], y: Tensor) -> Line:
    """Mean and band over seeds of y (len(x), S); empty before there are any."""
    mean, low, high = mean_and_band(y.T.tolist()) if len(y) else ([], [], [])
    return Line(name, role, x[: len(mean)], mean, low, high, style="dots+line" if len(x) <= len(DROPS) + 2 else "line")


def error_frame(p: Rate) -> float:
    """The error up to which the charts reach, fixed beforehand so that nothing jumps; nothing is computed from it."""
    return 100.0 if p.data or p.width < 30 or p.samples < 60 else 40.0 if p.samples < 300 else 25.0


# ---- run -------------------------------------------------------------------------------------------------------------


def run(p: Rate, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    nothing = torch.empty(0, p.seeds)
    results, pace = Results(nothing, nothing, nothing), Pace()
    pictures = torch.zeros(2, SHOWN, 64)
    yield Snapshot(0, Text("就绪", "Ready"), charts(p, results, pictures))
    data = load_digits_or_own(p.data, device, generator=generator)
    if p.task == "input" and not p.data:
        digits = data.train_x[:SHOWN].cpu()
        pictures = torch.stack([digits * (torch.rand(digits.shape, generator=generator) >= drop) for drop in (1 - p.p, p.p)])
    order = shuffles(len(data.train_x), p.seeds, generator, p.samples)
    samples = (data.train_x[order.to(device)], data.train_y[order.to(device)])
    fixed = Sweep(p, data, generator, widen=False)
    wider = Sweep(p, data, generator, widen=True) if p.task != "input" else None
    networks = sum(net.count for net in fixed.nets + (wider.nets if wider else []))
    for step in range(1, p.steps + 1):
        chosen = (torch.rand(p.seeds, BATCH, generator=generator) * order.shape[1]).long().to(device)
        x = samples[0].gather(1, chosen[..., None].expand(-1, -1, data.features))
        y = samples[1].gather(1, chosen)
        factor = min(1.0, 2 * (1 - (step - 1) / p.steps))
        fixed.step(x, y, factor)
        if wider:
            wider.step(x, y, factor)
        if step == 1 or step * CHECKPOINTS // p.steps > (step - 1) * CHECKPOINTS // p.steps:
            results.test, results.train = fixed.errors(data.test_x, data.test_y), fixed.errors(samples[0][:, :SEEN], samples[1][:, :SEEN])
            results.wider = wider.errors(data.test_x, data.test_y) if wider else nothing
            results.steps.append(step)
            results.history.append(results.test)
        if pace.due(step / p.steps):
            status = Text(f"第 {step}/{p.steps} 步，{networks} 个网络一起", f"Step {step}/{p.steps}, {networks} networks at once")
            yield Snapshot(0.99 * step / p.steps, status, charts(p, results, pictures))
    figures, outcome = judge(p, results)
    yield Snapshot(1, Text("完成", "Done"), charts(p, results, pictures), figures, outcome)


# ---- verdict ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """The curve at the fixed width, seed by seed, in points of test error."""

    tilt: list[float]  # mean at keep 0.4 and 0.5 minus mean at keep 0.65 and 0.8: 0 where it is flat
    rise: list[float]  # keep 0.1 minus the mean of keep 0.4 … 0.8
    gain: list[float]  # without dropout minus the mean of keep 0.4 … 0.8

    @classmethod
    def of(cls, drops: Sequence[float], test: Tensor) -> Shape:
        """From test errors (R, S)."""
        at = {drop: test[i] for i, drop in enumerate(drops)}
        plateau = torch.stack([at[drop] for drop in PLATEAU]).mean(0)
        tilt = (at[0.6] + at[0.5] - at[0.35] - at[0.2]) / 2
        return cls(tilt.tolist(), (at[0.9] - plateau).tolist(), (at[0.0] - plateau).tolist())


def status_of_sweep(shape: Shape) -> Status:
    """Reproduced: the error rises towards keep 0.1 (the interval lies above 0), and within 0.4 … 0.8 it tilts by less than a quarter of that rise (whole
    interval). Same direction: it rises, and the tilt is less than half of that on average. Otherwise not at this scale."""
    tilt, low, high = interval(shape.tilt)
    rise, least, _ = interval(shape.rise)
    if least > 0 and max(-low, high) < rise / 4:
        return "reproduced"
    return "same_direction" if least > 0 and abs(tilt) < rise / 2 else "not_at_this_scale"


def status_of_trap(excess: Sequence[float]) -> Status:
    """Reproduced: the mistake surely costs over a point. Same direction: it surely costs something. Otherwise not at this scale."""
    low = interval(excess)[1]
    return "reproduced" if low > 1 else "same_direction" if low > 0 else "not_at_this_scale"


def status_of_limits(gain: Sequence[float]) -> Status:
    """Reproduced: dropout surely gains less than half a point. Same direction: it gains less than half a point on average. Otherwise not at this scale."""
    mean, _, high = interval(gain)
    return "reproduced" if high < 0.5 else "same_direction" if mean < 0.5 else "not_at_this_scale"


def judge(p: Rate, results: Results) -> tuple[tuple[Figure, ...], Outcome]:
    drops, points = rates(p), Text("个百分点", "points")
    shape = Shape.of(drops, results.test)
    tilt = Figure(
        Text("平台的倾斜：保留 0.4–0.5 减 0.65–0.8", "Tilt: keep 0.4–0.5 minus keep 0.65–0.8"), *mean_and_spread(shape.tilt), points
    )
    rise = Figure(Text("保留 0.1 比平台高", "Keep 0.1 above keep 0.4–0.8"), *mean_and_spread(shape.rise), points)
    gain = Figure(Text("保留 0.4–0.8 比不用 Dropout 低", "Keep 0.4–0.8 below no dropout"), *mean_and_spread(shape.gain), points)
    told, status, answer = gain, status_of_limits(shape.gain), "lower" if gain.value > 0.5 else "alike" if gain.value >= -2 else "higher"
    if p.task == "sweep":
        bound = abs(rise.value) / 4
        told, status, answer = tilt, status_of_sweep(shape), "flat" if abs(tilt.value) <= bound else "less" if tilt.value > 0 else "more"
    if p.task == "input":
        excess = (results.test[drops.index(p.p)] - results.test[drops.index(round(1 - p.p, 4))]).tolist()
        told = Figure(
            Text(f"Dropout({p.p:g}) 比 Dropout({1 - p.p:.3g}) 高", f"Dropout({p.p:g}) above Dropout({1 - p.p:.3g})"),
            *mean_and_spread(excess),
            points,
        )
        status, answer = status_of_trap(excess), "little" if told.value < 1 else "some" if told.value < 3 else "much"
    figures = [told, *[figure for figure in (tilt, rise, gain) if figure != told]]
    kinds = [
        (Text("测试错误率，固定宽度", "Test error, fixed width"), results.test),
        (Text("训练错误率，固定宽度", "Training error, fixed width"), results.train),
    ]
    if p.task != "input":
        kinds.append((Text("测试错误率，宽度随 p 增大", "Test error, width grows with p"), results.wider))
    for kind, errors in kinds:
        for drop, row in zip(drops, errors, strict=True):
            figures.append(Figure(Text(f"{kind.zh}，p = {drop:g}", f"{kind.en}, p = {drop:g}"), *mean_and_spread(row.tolist()), "%"))
    explain = {"sweep": _explain_sweep, "input": _explain_trap, "limits": _explain_limits}[p.task]
    return tuple(figures), Outcome(Verdict(status, told, PUBLISHED[p.task], SRIVASTAVA, explain(p, results, shape)), answer)


PUBLISHED = {
    "sweep": Text(
        "宽度固定时，保留概率 0.4–0.8 之间测试错误率是平的（倾斜为 0），更小则欠拟合；保留单元数固定时，保留 0.1 的错误率从 2.7% 降到 1.7%（MNIST，7.3 节，图 9）",
        "at a fixed width the test error is flat for keep probabilities of 0.4 to 0.8 (a tilt of 0), and smaller ones under-fit; with the number of kept units fixed, the error at keep 0.1 is "
        "1.7 % instead of 2.7 % (MNIST, Section 7.3, Fig. 9)",
    ),
    "input": Text(
        "实值输入的保留概率一般取 0.8（附录 A）：在 PyTorch 里是 nn.Dropout(0.2)",
        "for real-valued inputs the usual probability to keep is 0.8 (Appendix A): nn.Dropout(0.2) in PyTorch",
    ),
    "limits": Text(
        "平均只有“保留概率 × n”个单元在工作，所以至少要 n ÷ 保留概率 个单元（附录 A）；数据足够多时过拟合不再是问题，收益下降（7.4 节）",
        "only keep × n units are on, so a network should have at least n ÷ keep of them (Appendix A); with enough data overfitting is no longer a problem and the gain declines (Section 7.4)",
    ),
}  # fmt: skip


def _at(p: Rate, errors: Tensor, drop: float) -> float:
    """The mean over seeds at one drop probability."""
    return float(errors[rates(p).index(drop)].mean())


def _explain_sweep(p: Rate, results: Results, shape: Shape) -> Text:
    levels = [_at(p, results.test, drop) for drop in PLATEAU]
    none, most, under, wide = (
        _at(p, errors, drop) for errors, drop in ((results.test, 0.0), (results.test, 0.9), (results.train, 0.9), (results.wider, 0.9))
    )
    gain, low, high = interval(shape.gain)
    seen = Text("两端都翘起来", "both ends rise") if low > 0 else Text("不用 Dropout 的一端几乎不翘", "the end without dropout hardly rises") if high > 0 else Text("不用 Dropout 反而最好", "no dropout at all is better")  # fmt: skip
    return Text(
        f"保留 0.8 … 0.4（p = 0.2 … 0.6）的测试错误率是 {' / '.join(f'{level:.3g}' for level in levels)}%。p = 0.9 时升到 {most:.3g}%，训练错误率也有 {under:.3g}%：平均只剩 {0.1 * p.width:.2g} 个单元工作，欠拟合。"
        f"若宽度随 p 增大、始终平均保留 {p.kept} 个单元，p = 0.9 时是 {wide:.3g}%。不用 Dropout 时是 {none:.3g}%，比平台高 {gain:.2g}（95% 区间 {low:+.2g} … {high:+.2g}）个百分点：{seen.zh}。"
        "论文用 3 层 2048 个单元和 6 万张图，训练也久得多。落在平台里，p 就不必细调。",
        f"With keep 0.8 … 0.4 (p = 0.2 … 0.6) the test error is {' / '.join(f'{level:.3g}' for level in levels)} %. At p = 0.9 it is {most:.3g} %, and the training error {under:.3g} %: on average only {0.1 * p.width:.2g} units are "
        f"on, which under-fits. With a width that grows with p, so that {p.kept} units stay on, p = 0.9 gives {wide:.3g} %. Without dropout it is {none:.3g} %, {gain:.2g} points (95 % interval {low:+.2g} … {high:+.2g}) above the "
        f"flat part: {seen.en}. The paper has 3 layers of 2048 units, 60,000 images and far longer training. Within the flat part p needs no fine tuning.",
    )  # fmt: skip


def _explain_trap(p: Rate, results: Results, shape: Shape) -> Text:
    meant = round(1 - p.p, 4)
    errors = [_at(p, part, drop) for drop in (p.p, meant) for part in (results.train, results.test)]
    worse = errors[1] > errors[3]
    return Text(
        f"论文的 p 是保留概率，nn.Dropout(p) 的 p 是丢弃概率。写成 nn.Dropout({p.p:g})，每步丢掉 {100 * p.p:.3g}% 的输入：训练错误率 {errors[0]:.3g}%，测试错误率 {errors[1]:.3g}%；本意是 nn.Dropout({meant:g})，对应 {errors[2]:.3g}% 和 {errors[3]:.3g}%。"
        + (f"输入一旦丢掉就找不回来，而且留下的要放大 {1 / (1 - p.p):.3g} 倍，噪声很大。" if worse else "这次误写没有造成损失：样本很少时，很强的噪声也可能有用。")
        + "隐藏层常用的 0.5 两种读法恰好一样，所以这个错误常常没人发现。",
        f"The paper's p is the probability to keep, that of nn.Dropout(p) the probability to drop. nn.Dropout({p.p:g}) drops {100 * p.p:.3g} % of the inputs at each step: {errors[0]:.3g} % training error and {errors[1]:.3g} % in the test; "
        f"nn.Dropout({meant:g}), which was meant, gives {errors[2]:.3g} % and {errors[3]:.3g} %. "
        + (f"What is dropped at the input cannot be recovered, and the rest is scaled up {1 / (1 - p.p):.3g} times: a lot of noise. " if worse else "This time the mistake cost nothing: on few samples even strong noise can be of use. ")
        + "The usual 0.5 for hidden layers means the same either way, which is why this mistake often goes unnoticed.",
    )  # fmt: skip


def _explain_limits(p: Rate, results: Results, shape: Shape) -> Text:
    gain, low, high = interval(shape.gain)
    none, half, wide = _at(p, results.test, 0.0), _at(p, results.test, 0.5), _at(p, results.wider, 0.5)
    gap, under, best = none - _at(p, results.train, 0.0), _at(p, results.train, 0.5), rates(p)[int(results.test.mean(1).argmin())]
    found = Text(
        f"不用 Dropout 的测试错误率是 {none:.3g}%，p = 0.5 是 {half:.3g}%（训练 {under:.3g}%）；保留 0.4–0.8 平均{'降低' if gain > 0 else '反而升高'} {abs(gain):.2g} 个百分点（降幅的 95% 区间 {low:+.2g} … {high:+.2g}），最低的是 p = {best:g}。",
        f"Without dropout the test error is {none:.3g} %, at p = 0.5 {half:.3g} % ({under:.3g} % in training); keep 0.4 to 0.8 {'gains' if gain > 0 else 'loses'} {abs(gain):.2g} points on average (95 % interval of the gain {low:+.2g} … {high:+.2g}), "
        f"and p = {best:g} is the lowest. ",
    )  # fmt: skip
    why = Text(
        f"泛化差距有 {gap:.3g} 个百分点，但掩码的噪声没有换来更好的测试错误率。" if gain < 0.5 else "这里仍然过拟合，Dropout 还有用。",
        f"The generalisation gap is {gap:.3g} points, but the masks' noise does not buy a better test error." if gain < 0.5 else "It still overfits here, and dropout is of use.",
    )  # fmt: skip
    if gain < 0.5 and p.width < 30:
        why = Text(
            f"p = 0.5 时平均只有 {p.width / 2:g} 个单元工作，容量不够。宽度改成 {2 * p.kept}（平均保留 {p.kept} 个）后，p = 0.5 的错误率是 {wide:.3g}%。",
            f"At p = 0.5 only {p.width / 2:g} units are on, which is too few. With a width of {2 * p.kept} ({p.kept} stay on) the error at p = 0.5 is {wide:.3g} %.",
        )
    elif gain < 0.5 and gap < 5:
        why = Text(
            f"泛化差距只有 {gap:.2g} 个百分点，过拟合本来就轻；掩码的噪声让学习变慢，{p.steps} 步之内没有补回来。",
            f"The generalisation gap is only {gap:.2g} points, so there is little overfitting to begin with; the masks' noise slows learning, and {p.steps} steps do not make up for that.",
        )
    return found + why


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Rate) -> Prediction:
    if p.task == "input":
        return Prediction(
            Text(f"输入层本该保留 {100 * p.p:.3g}%，却写成了 nn.Dropout({p.p:g})。测试错误率比 nn.Dropout({1 - p.p:.3g}) 高多少？", f"{100 * p.p:.3g} % of the inputs should be kept, but it says nn.Dropout({p.p:g}). How far above that of nn.Dropout({1 - p.p:.3g}) is the test error?"),
            {"little": Text("不到 1 个百分点", "less than a point"), "some": Text("1–3 个百分点", "1 to 3 points"), "much": Text("3 个百分点以上", "over 3 points")},
        )  # fmt: skip
    if p.task == "limits":
        return Prediction(
            Text(f"{p.width} 个单元，{p.samples} 个样本。保留概率 0.4–0.8 的平均测试错误率，比不用 Dropout 高还是低？", f"{p.width} units, {p.samples} samples. Compared with no dropout, the mean test error at keep 0.4 to 0.8 is…"),
            {"lower": Text("低 0.5 个百分点以上", "over half a point lower"), "alike": Text("差不多，或高不到 2 个百分点", "about the same, or up to 2 higher"), "higher": Text("高 2 个百分点以上", "over 2 points higher")},
        )  # fmt: skip
    return Prediction(
        Text(f"{p.width} 个单元，{p.samples} 个样本。保留概率从 0.8 降到 0.4（p 从 0.2 到 0.6），测试错误率会怎样？", f"{p.width} units, {p.samples} samples. As the keep probability falls from 0.8 to 0.4 (p from 0.2 to 0.6), the test error…"),
        {"flat": Text("几乎不变", "hardly changes"), "less": Text("明显升高", "clearly rises"), "more": Text("明显降低", "clearly falls")},
    )  # fmt: skip


_CODE = """\
import torch

torch.set_num_threads(1)  # matrices as small as these gain nothing from more
WIDTH, KEPT, SAMPLES, STEPS, LR, SEEDS = {width}, {kept}, {samples}, {steps}, {lr:g}, 2
ON_INPUTS = {on_inputs}

{data}
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
test, rest = order[: len(x) // 3], order[len(x) // 3 :]

def error(drop, width, seed):
    torch.manual_seed(seed)
    train = rest[torch.randperm(len(rest))[:SAMPLES]]
    net = torch.nn.Sequential(
        torch.nn.Dropout(drop if ON_INPUTS else 0.0),  # PyTorch's p: the probability to DROP
        torch.nn.Linear(x.shape[1], width),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.0 if ON_INPUTS else drop),
        torch.nn.Linear(width, classes),
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=0.9)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = LR * min(1, 2 * (1 - step / STEPS))
        batch = train[torch.randint(len(train), ({batch},))]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        return 100 * (net(x[test]).argmax(1) != y[test]).float().mean().item()

print("test error in %, mean of", SEEDS, "seeds")
for drop in {drops}:
    fixed = sum(error(drop, WIDTH, seed) for seed in range(SEEDS)) / SEEDS
    line = f"nn.Dropout({{drop}}), keeps {{1 - drop:.2f}}: {{fixed:6.2f}} at width {{WIDTH}}"
    if not ON_INPUTS:
        width = max(1, round(KEPT / (1 - drop)))
        line += f", {{sum(error(drop, width, seed) for seed in range(SEEDS)) / SEEDS:6.2f}} at width {{width}}"
    print(line)
"""


def code(p: Rate) -> str:
    fixed = {"data": digits_or_own(p.data), "on_inputs": p.task == "input", "drops": tuple(rates(p)), "batch": BATCH}
    return _CODE.format(**p.values() | fixed)


DEMO = Demo(
    topic="regularization",
    title=Text("Dropout 的 p 取多少", "Choosing the dropout rate"),
    question=Text(
        "Dropout 的 p 取多少合适，0.8 和 0.5 是保留还是丢弃？", "Which p suits dropout, and do 0.8 and 0.5 mean to keep or to drop?"
    ),
    look_for=Text(
        "先看两条竖线之间的曲线平不平，再看 p 接近 1 时哪条线翘得更高；灰线是训练错误率，它一抬头，就开始欠拟合了。",
        "See how flat the curve is between the two upright lines, and which line rises more as p nears 1. Grey is the training error: where it lifts off, the network under-fits.",
    ),
    scaled_down=Text(
        "论文图 9 用 MNIST 6 万张图、3 层 2048 个单元；这里是 8×8 数字的少量样本、一个隐藏层，训练步数也少得多。",
        "Fig. 9 of the paper uses 60,000 MNIST images and 3 layers of 2048 units; here there are a few 8×8 digits, one hidden layer and far fewer steps.",
    ),
    parameters=Rate,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=3,
)
