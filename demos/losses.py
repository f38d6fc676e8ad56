"""Loss functions (1.34): what each of them makes of outliers, and of an output that is confidently wrong.

Three experiments. The best constant for a sample, found by following the sign of the gradient with ever smaller steps: the mean for MSE, the median for MAE.
A line through a table, part of whose rows are spoilt. And one logit that starts on the wrong side, under cross-entropy and under MSE.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Line, LineChart, PlaneChart, Points, Role, Rule
from demos.core.datasets import load_bundled, load_own
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import Adam
from demos.core.statistics import log_spaced, mean_and_band, mean_and_spread, ratio_interval, thinned
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

EXACT = 1e-6  # standard deviations by which a minimiser may miss the mean or the median
HALVINGS = 50  # steps to a constant; the last is 2^-51 of the sample's range
GROUP = 100  # samples whose mean squares make one ratio
STEPS = 400  # of Adam, for a line
TURNS = 3000  # of gradient descent, for a logit
SURE = 0.9  # the probability that a logit has to reach

Function = Callable[["Tensor", float], "Tensor"]
# Loss of a residual r, and its slope; d is Huber's δ.
LOSSES: dict[str, tuple[Function, Function]] = {
    "MSE": (lambda r, d: r * r / 2, lambda r, d: r),
    "MAE": (lambda r, d: r.abs(), lambda r, d: r.sign()),
    "Huber": (lambda r, d: torch.where(r.abs() <= d, r * r / 2, d * (r.abs() - d / 2)), lambda r, d: r.clamp(-d, d)),
    "log-cosh": (lambda r, d: r.abs() + torch.nn.functional.softplus(-2 * r.abs()) - math.log(2), lambda r, d: r.tanh()),
}
NAMES: tuple[str, ...] = tuple(LOSSES)
ROLES: tuple[Role, ...] = ("first", "second", "third", "fourth")
ROBUST = ("constant", "line")


@dataclass(frozen=True)
class Losses(Parameters):
    task: str = mode_choice(
        "constant", {"constant": Text("一个常数", "a constant"), "line": Text("一条直线", "a line"), "logit": Text("分类的 logit", "a logit")},
        label=Text("实验", "Experiment"), help=Text("估计常数、拟合直线，或者分类。", "Estimate a constant, fit a line, or classify."),
    )  # fmt: skip
    outliers: float = real(
        0.1, 0, 0.6, label=Text("离群点比例", "Share of outliers"), modes=ROBUST,
        help=Text("多少数据被弄坏。", "How much of the data is spoilt."),
    )  # fmt: skip
    size: float = real(
        10, 0, 30, step=0.5, label=Text("离群距离（标准差）", "Distance of outliers (sd)"), modes=ROBUST,
        help=Text("被弄坏的值移了多远。", "How far a spoilt value is moved."),
    )  # fmt: skip
    delta: float = real(
        1.345, 0.01, 30, log=True, label=Text("Huber 的 δ", "Huber's δ"), modes=ROBUST,
        help=Text("残差超过它就按绝对值算：趋于 0 像 MAE，很大就是 MSE。", "Larger residuals count by their absolute value: with δ near 0 it acts like MAE, with a large δ it is MSE."),
    )  # fmt: skip
    axis: str = choice(
        "y", {"y": Text("目标 y", "the target y"), "x": Text("特征 x", "the feature x")},
        label=Text("坏在哪里", "What is spoilt"), modes=("line",), help=Text("目标值错了，还是特征值错了。", "Wrong targets, or wrong features."),
    )  # fmt: skip
    count: int = integer(
        101, 5, 501, step=2, label=Text("样本数 n", "Sample size n"), modes=("constant",),
        help=Text("每个常数用多少个数估计。", "Numbers in each sample."),
    )  # fmt: skip
    start: float = real(
        -6, -15, 0, step=0.5, label=Text("初始 logit", "Logit at the start"), modes=("logit",),
        help=Text("标签是 1；越负就错得越自信。", "The label is 1: the more negative, the more confidently wrong."),
    )  # fmt: skip
    rate: float = real(
        1, 0.01, 30, log=True, label=Text("学习率", "Learning rate"), modes=("logit",),
        help=Text("梯度下降的学习率。", "Of gradient descent."),
    )  # fmt: skip
    draws: int = integer(
        4000, 500, 8000, step=500, advanced=True, label=Text("样本个数", "Samples"), modes=("constant",),
        help=Text("用多少个样本重复估计。", "How many samples the constants are estimated on."),
    )  # fmt: skip
    data: str = own_data("number", modes=("line",))


PRESETS = {
    "outliers": Preset(
        Text("10% 离群点", "10 % outliers"),
        Text("同一批数，四种损失的最优常数各落在哪里？", "One sample, four losses: where does the best constant end up?"),
        {"task": "constant"},
        "textbook",
    ),
    "clean": Preset(
        Text("没有离群点", "No outliers"),
        Text("数据干净、噪声是高斯的：稳健要付多少代价？", "Clean data, Gaussian noise: what does robustness cost?"),
        {"task": "constant", "outliers": 0},
        "limits",
        look_for=Text(
            "先看四条损失曲线的最低点隔得多远。再看方差的柱状图：换一批数据，谁的估计变动最大，是 MSE 的多少倍。",
            "See how far apart the minima of the four losses lie. Then look at the bars of the variance: whose estimate changes most from sample to sample, and how many times as much as MSE's?",
        ),
    ),
    "leverage": Preset(
        Text("坏的是特征", "Spoilt features"),
        Text("5% 的行 x 被移远：MAE 的直线还稳吗？", "x moved far out in 5 % of the rows: does MAE's line still hold?"),
        {"task": "line", "axis": "x", "outliers": 0.05, "size": 20},
        "limits",
        look_for=Text(
            "先看拟合图里四条直线各偏离“干净数据”的虚线多远，移远的那几个点在哪里。再看坏行比例增加时，MAE 的距离曲线与 MSE 的隔多远。",
            "See how far each of the four lines turns away from the dashed one of the clean data, and where the spoilt rows lie. Then compare MAE's distance with MSE's as the share of spoilt rows grows.",
        ),
    ),
    "logit": Preset(
        Text("交叉熵与 MSE", "Cross-entropy and MSE"),
        Text("输出自信地错了：两种损失各要多少步改过来？", "The output is confidently wrong: how many steps to put it right?"),
        {"task": "logit"},
        look_for=Text(
            "看正确类的概率图：两条曲线各要多少步才升上去（步数轴取了对数，一格就是 10 倍）。再看梯度图里 logit 很负、错得最离谱的一端，两种损失的梯度各有多大。",
            "See how many steps each curve takes to rise in the chart of the probability (its axis of steps is logarithmic). Then look at the gradients where the logit is very negative, that is, most wrong: how large is that of each loss?",
        ),
    ),
}  # fmt: skip

BOOK = Source(
    "Deep Learning, Chapter 6", "Ian Goodfellow, Yoshua Bengio, Aaron Courville", 2016, "https://www.deeplearningbook.org/contents/mlp.html"
)
MEDIAN = Source(
    "Variance of the median",
    "Cross Validated (Stack Exchange)",
    2021,
    "https://stats.stackexchange.com/questions/553097/variance-of-the-median",
)
LEVERAGE = Source(
    "Modified Least Trimmed Quantile Regression to Overcome Effects of Leverage Points", "Habshah Midi, Taha Alshaybawee, Mohammed Alguraibawi", 2020,
    "https://www.hindawi.com/journals/mpe/2020/1243583/",
)  # fmt: skip


# ---- the best constant -----------------------------------------------------------------------------------------------


def constants(y: Tensor, name: str, delta: float) -> Iterator[Tensor]:
    """Better and better constants (K,) for samples y (K, N): against the sign of the mean loss's gradient, each step half the last.

    The loss is convex and its minimum lies between the smallest and the largest value, so that the steps cannot miss it.
    """
    low, high = y.amin(1), y.amax(1)
    constant, step = (low + high) / 2, (high - low) / 4
    slope = LOSSES[name][1]
    for _ in range(HALVINGS):
        constant = constant - step * slope(constant[:, None] - y, delta).sum(1).sign()
        step = step / 2
        yield constant


def spoilt_sample(p: Losses, rows: int, share: float, generator: torch.Generator) -> Tensor:
    """Standard normal samples (rows, n) in float64, in which the first share · n numbers of each are moved up by `size`."""
    y = torch.randn(rows, p.count, generator=generator, dtype=torch.float64)
    y[:, : round(share * p.count)] += p.size
    return y


def _spoilt_count(p: Losses) -> int:
    return round(p.outliers * p.count)


SHARES = [i / 20 for i in range(13)]  # 0 … 60 %, for the curves of breakdown
REPEATS = 20  # samples for each of them


def _run_constant(p: Losses, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    del device  # float64, which not every device has, and small
    y = spoilt_sample(p, p.draws, p.outliers, generator)
    many = torch.cat([spoilt_sample(p, REPEATS, share, generator) for share in SHARES])
    both = torch.cat([y, many])
    mean, median = float(y[0].mean()), float(y[0].median())
    reach = max(2.5, 2 * mean + 1)
    inside = y[0][(y[0] >= -2.5) & (y[0] <= reach)].tolist()
    at = torch.linspace(-2.5, reach, 60, dtype=torch.float64)
    curves = [LOSSES[name][0](at[:, None] - y[0], p.delta).mean(1) for name in NAMES]
    slopes = torch.linspace(-5, 5, 201, dtype=torch.float64)

    def charts(found: Tensor) -> tuple[Chart, ...]:
        """found: the constants (4, all samples) so far."""
        first = found[:, 0].tolist()
        heights = []
        for name, curve, constant in zip(NAMES, curves, first, strict=True):
            value = float(LOSSES[name][0](constant - y[0], p.delta).mean())
            heights.append((value - float(curve.min())) / max(1e-12, float(curve.max() - curve.min())))
        scaled = [((curve - curve.min()) / (curve.max() - curve.min()).clamp_min(1e-12)).tolist() for curve in curves]
        lines = [Line(same(name), role, at.tolist(), curve) for name, role, curve in zip(NAMES, ROLES, scaled, strict=True)]
        numbers = Line(Text("数据", "data"), "baseline", inside, [-0.06] * len(inside), style="dots")
        here = Line(Text("估计", "estimate"), "warning", first, heights, style="dots")
        told = Text(
            f"第一个样本（{p.count - len(inside)} 个点在图外）的估计："
            + "，".join(f"{n} {value:.3g}" for n, value in zip(NAMES, first, strict=True)),
            f"First sample ({p.count - len(inside)} points beyond the frame): "
            + ", ".join(f"{n} {value:.3g}" for n, value in zip(NAMES, first, strict=True)),
        )
        landscape = LineChart(
            Text("平均损失与常数（第一个样本）", "Mean loss against the constant (first sample)"),
            Axis(Text("常数（标准差）", "constant (sd)"), low=-2.5, high=reach),
            Axis(Text("平均损失（缩放）", "scaled mean loss"), low=-0.1, high=1),
            (*lines, numbers, here),
            told,
            (Rule(Text("均值", "mean"), mean), Rule(Text("中位数", "median"), median)),
        )
        gradient = LineChart(
            Text("单个样本的梯度", "Gradient of one sample's loss"),
            Axis(Text("残差", "residual"), low=-5, high=5),
            Axis(Text("梯度", "gradient"), low=-5, high=5),
            tuple(Line(same(n), r, slopes.tolist(), LOSSES[n][1](slopes, p.delta).tolist()) for n, r in zip(NAMES, ROLES, strict=True)),
            Text("MSE 的梯度随残差无限增大，其余有上限。", "MSE's gradient grows without bound; the others are bounded."),
        )
        return landscape, _breakdown(p, found[:, p.draws :]) if _spoilt_count(p) else _variances(found[:, : p.draws]), gradient

    found = torch.stack([(both.amin(1) + both.amax(1)) / 2] * len(NAMES))
    yield Snapshot(0, Text("就绪", "Ready"), charts(found))
    descents = [constants(both, name, p.delta) for name in NAMES]
    for step in range(HALVINGS):
        for i, descent in enumerate(descents):
            found[i] = next(descent)
        if step < 12 or step % 4 == 0:
            yield Snapshot(0.95 * (step + 1) / HALVINGS, Text(f"第 {step + 1} 步", f"step {step + 1}"), charts(found))
    figures, outcome = judge_constant(p, y, found[:, : p.draws])
    yield Snapshot(1, Text("完成", "Done"), charts(found), figures, outcome)


def _breakdown(p: Losses, found: Tensor) -> LineChart:
    """found: constants (4, shares · repeats)."""
    lines = []
    late = found.view(len(NAMES), len(SHARES), REPEATS)[:, SHARES.index(0.45)].mean(1).tolist()
    for name, role, row in zip(NAMES, ROLES, found, strict=True):
        mean, low, high = mean_and_band(row.view(len(SHARES), REPEATS).T.tolist())
        lines.append(Line(same(name), role, [100 * share for share in SHARES], mean, low, high))
    return LineChart(
        Text("估计偏了多少", "How far the estimate is off"),
        Axis(Text("离群点比例（%）", "share of outliers (%)"), low=0, high=60),
        Axis(Text("估计（真值为 0）", "estimate (truth: 0)"), low=-1, high=p.size + 1),
        tuple(lines),
        Text(
            "45% 离群点时的平均估计：" + "，".join(f"{name} {value:.2g}" for name, value in zip(NAMES, late, strict=True)),
            "Mean estimate at 45 % outliers: " + ", ".join(f"{name} {value:.2g}" for name, value in zip(NAMES, late, strict=True)),
        ),
        (Rule(Text("一半", "half"), 50),),
    )


def _variances(found: Tensor) -> BarChart:
    """found: constants (4, draws)."""
    squares = found.square().mean(1)
    return BarChart(
        Text("估计的方差（MSE 为 1）", "Variance of the estimate (MSE = 1)"),
        tuple(same(name) for name in NAMES),
        Axis(Text("倍", "ratio"), low=0, high=2),
        (Bars(Text("实测", "measured"), "second", (squares / squares[0]).clamp_max(2).tolist()),),
        Text("噪声为高斯时均值的方差最小。", "With Gaussian noise the mean has the smallest variance."),
    )


def judge_constant(p: Losses, y: Tensor, found: Tensor) -> tuple[tuple[Figure, ...], Outcome]:
    """y: samples (K, n); found: the constants (4, K) of the losses.

    With outliers: reproduced if every MSE constant is its sample's mean and every MAE constant a median (for an even n: anywhere between the middle two) to EXACT
    standard deviations; same direction to 1000 · EXACT; otherwise not at this scale. Without: reproduced if the variance of MAE's constant is π/2 times that
    of MSE's within 10 %, with an interval above 1; same direction if the interval lies above 1; otherwise not at this scale.
    """
    ordered = y.sort(1).values
    low, high = ordered[:, (p.count - 1) // 2], ordered[:, p.count // 2]
    gaps = [float((found[0] - y.mean(1)).abs().max()), float(torch.maximum(low - found[1], found[1] - high).clamp_min(0).max())]
    few = y[:200]
    limits = [list(constants(few, "Huber", delta))[-1] for delta in (1e-9, 1e6)]
    bound = torch.minimum((limits[0] - low[:200]).abs(), (limits[0] - high[:200]).abs()).where(
        (limits[0] < low[:200]) | (limits[0] > high[:200]), 0.0
    )
    gaps += [float(bound.max()), float((limits[1] - few.mean(1)).abs().max())]
    squares = found[:, : len(y) // GROUP * GROUP].square().view(len(NAMES), -1, GROUP).mean(2)
    ratios = [ratio_interval((row / squares[0]).tolist()) for row in squares[1:]]
    shifts = [mean_and_spread(row.tolist()) for row in found]
    gap = max(gaps)
    told = [
        Figure(Text("与均值 / 中位数的最大差距", "Largest distance from mean / median"), max(gaps[:2]), None, Text("标准差", "sd")),
        Figure(Text("Huber：δ→0 与中位数、δ→∞ 与均值的最大差距", "Huber: distance from the median (δ → 0), the mean (δ → ∞)"), max(gaps[2:]), None, Text("标准差", "sd")),
        *[Figure(Text(f"平均估计：{name}", f"Mean estimate: {name}"), *shift, Text("标准差", "sd")) for name, shift in zip(NAMES, shifts, strict=True)],
    ]  # fmt: skip
    variance = [
        Figure(Text(f"均方误差 {name} ÷ MSE", f"Mean square error of the estimate: {name} ÷ MSE"), mean, (top - bottom) / 2, "×")
        for name, (mean, bottom, top) in zip(NAMES[1:], ratios, strict=True)
    ]
    if _spoilt_count(p):
        status: Status = "reproduced" if gap <= EXACT else "same_direction" if gap <= 1000 * EXACT else "not_at_this_scale"
        published = Text("使 MSE 最小的是均值，使 MAE 最小的是中位数", "MSE is minimised by the mean, MAE by the median")
        relative = abs(shifts[1][0] / shifts[0][0]) if abs(shifts[0][0]) > 0.05 else 1.0
        answer = "little" if relative < 1 / 3 else "half" if relative < 0.8 else "same"
        return (*told, *variance), Outcome(Verdict(status, told[0], published, BOOK, _explain_outliers(p, shifts, gap)), answer)
    mean, bottom, _ = ratios[0]
    status = "not_at_this_scale" if bottom <= 1 else "reproduced" if abs(mean / (math.pi / 2) - 1) <= 0.1 else "same_direction"
    published = Text(
        "高斯噪声、大样本时，中位数的方差是均值的 π/2 ≈ 1.57 倍",
        "for large Gaussian samples the median has π/2 ≈ 1.57 times the variance of the mean",
    )
    answer = "less" if mean < 0.9 else "equal" if mean < 1.1 else "more" if mean < 2 else "double"
    return (*variance, *told), Outcome(
        Verdict(status, variance[0], published, MEDIAN, _explain_clean(p, [r[0] for r in ratios], status)), answer
    )


def _explain_outliers(p: Losses, shifts: Sequence[tuple[float, float | None]], gap: float) -> Text:
    mse, mae, huber = (shifts[i][0] for i in range(3))
    share = _spoilt_count(p) / p.count
    held = Text(
        f"MAE 的梯度只看符号，一个点再远也只算一票：离群点不到一半，中位数就还在好数据里（{mae:.2g}）。",
        f"MAE's gradient is only a sign, so a point has one vote however far away it is: as long as fewer than half are outliers, the median stays among the good data ({mae:.2g}). ",
    )
    if share >= 0.5:
        held = Text(
            f"离群点占了 {share:.0%}，它们成了“多数”，MAE 也被带到 {mae:.2g}。",
            f"With {100 * share:.0f} % outliers they are the majority, and take MAE along to {mae:.2g}. ",
        )
    return Text(
        f"{p.draws} 个样本里，MSE 的最优常数就是均值，MAE 的就是中位数，最多差 {gap:.1g}。MSE 的梯度与残差成正比，所以每个离群点都按距离拉它：平均估计 {mse:.3g}（比例 × 距离 = {share * p.size:.3g}，真值 0）。"
        f"{held.zh}Huber（δ = {p.delta:g}）为 {huber:.2g}：残差在 δ 以内像 MSE，以外像 MAE；δ 趋于 0 得中位数，δ 很大得均值。",
        f"Over {p.draws} samples the best constant of MSE is the mean, that of MAE the median, to {gap:.1g}. MSE's gradient is the residual itself, so each outlier pulls by its distance: "
        f"{mse:.3g} on average (share × distance = {share * p.size:.3g}; the truth is 0). {held.en}Huber (δ = {p.delta:g}) gives {huber:.2g}: like MSE for residuals within δ, like MAE beyond; "
        "δ → 0 gives the median, a large δ the mean.",
    )


def _explain_clean(p: Losses, ratios: Sequence[float], status: Status) -> Text:
    small = Text("", "")
    if status == "same_direction":
        small = Text(
            f"π/2 是大样本的极限，n = {p.count} 还不够大，所以有偏离。", f"π/2 is the limit for large samples; n = {p.count} is not one. "
        )
    elif status == "not_at_this_scale":
        small = Text("这一次置信区间越过了 1，看不出差别。", "This time the interval reaches 1, and no difference shows. ")
    return Text(
        f"没有离群点时，稳健是有代价的：MAE 的估计方差是 MSE 的 {ratios[0]:.3g} 倍，等于白扔了 {max(0, 1 - 1 / ratios[0]):.0%} 的数据，因为中位数只用次序，不用距离。{small.zh}Huber（δ = {p.delta:g}）只有 {ratios[1]:.3g} "
        f"倍，log-cosh {ratios[2]:.3g} 倍：近处用距离，远处才看符号。所以先看数据再选损失；噪声是高斯的就用 MSE。",
        f"Without outliers robustness has a price: MAE's estimate has {ratios[0]:.3g} times the variance of MSE's, as if {100 * max(0, 1 - 1 / ratios[0]):.0f} % of the data were thrown away, since the "
        f"median uses ranks and no distances. {small.en}Huber (δ = {p.delta:g}) has only {ratios[1]:.3g} times, log-cosh {ratios[2]:.3g} times: they use distance nearby and only the sign far off. So look at "
        "the data first; with Gaussian noise take MSE.",
    )


# ---- a line ----------------------------------------------------------------------------------------------------------

SPLITS = 12  # random splits of the table, with other rows spoilt in each
LEVELS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)


class Lines:
    """Lines y = slope · x + intercept, one for each row of x, y (K, N), all minimised at once; `cuts` says where each loss's rows end."""

    def __init__(self, x: Tensor, y: Tensor, cuts: Sequence[int], delta: float) -> None:
        self.x, self.y, self.cuts, self.delta, self.count, self.device = x, y, cuts, delta, len(x), x.device
        self.slope, self.intercept = torch.zeros(len(x), device=x.device), torch.zeros(len(x), device=x.device)

    def parameters(self) -> list[Tensor]:
        return [self.slope, self.intercept]

    def gradients(self) -> list[Tensor]:
        """Of each row's mean loss, by slope and by intercept."""
        residual = self.slope[:, None] * self.x + self.intercept[:, None] - self.y
        parts = residual.tensor_split(list(self.cuts), 0)
        pull = torch.cat([LOSSES[name][1](part, self.delta) for name, part in zip(NAMES, parts, strict=True)])
        return [(pull * self.x).mean(1), pull.mean(1)]


def _table(p: Losses, generator: torch.Generator) -> tuple[Tensor, Tensor, int]:
    """x, y (SPLITS, N): the training rows of random splits, of the feature that goes best with the target; and the number of that feature."""
    splits = [
        load_own(p.data, "number", generator=generator) if p.data else load_bundled("diabetes", generator=generator) for _ in range(SPLITS)
    ]
    together = (splits[0].train_x * splits[0].train_y[:, None]).mean(0).nan_to_num().abs()
    best = int(together.argmax())
    return torch.stack([s.train_x[:, best] for s in splits]), torch.stack([s.train_y for s in splits]), best


def spoil(p: Losses, x: Tensor, y: Tensor, share: float, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x, y (S, N) with a share of the rows, in the given order (S, N), moved by `size`: targets down where x is large, or features up. And which."""
    rank = order + len(order[0]) * (x <= x.median(1, keepdim=True).values) if p.axis == "y" else order
    hit = rank.argsort(1).argsort(1) < round(share * x.shape[1])
    return (x, y - p.size * hit, hit) if p.axis == "y" else (x + p.size * hit, y, hit)


def _run_line(p: Losses, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    x, y, feature = _table(p, generator)
    order = torch.rand(x.shape, generator=generator).argsort(1)
    levels = sorted({*LEVELS, p.outliers})
    spoilt = [spoil(p, x, y, level, order) for level in levels]
    here = levels.index(p.outliers)
    rows = len(levels) * SPLITS
    xs, ys = (torch.cat([spoilt[i][part] for i in range(len(levels))]).repeat(len(NAMES), 1).to(device) for part in (0, 1))
    lines = Lines(xs, ys, [rows * i for i in range(1, len(NAMES))], p.delta)
    centred = x - x.mean(1, keepdim=True)
    slope = (centred * y).sum(1) / centred.square().sum(1).clamp_min(1e-9)
    clean = torch.stack([slope, y.mean(1) - slope * x.mean(1)])  # (2, S): least squares on the rows as they were

    def distances() -> Tensor:
        """Root mean square distance (4, levels, S) from the clean line, over the clean x."""
        fitted = torch.stack([v.cpu().view(len(NAMES), len(levels), SPLITS) for v in lines.parameters()]) - clean[:, None, None]
        return (fitted[0][..., None] * x + fitted[1][..., None]).square().mean(3).sqrt()

    def charts(step: int) -> tuple[Chart, ...]:
        off = distances()
        wide = float(spoilt[here][0][0].max()) + 0.3
        ends = torch.tensor([float(x[0].min()) - 0.3, wide])
        tall = float(y.abs().max()) + 0.5
        fits = [v.cpu().view(len(NAMES), len(levels), SPLITS)[:, here, 0] for v in lines.parameters()]
        drawn = [
            Line(same(n), r, ends.tolist(), (fits[0][i] * ends + fits[1][i]).tolist())
            for i, (n, r) in enumerate(zip(NAMES, ROLES, strict=True))
        ]
        drawn.append(Line(Text("干净数据", "clean data"), "theory", ends.tolist(), (clean[0, 0] * ends + clean[1, 0]).tolist()))
        kept = thinned(x.shape[1], 250)
        sx, sy, hit = (part[0][kept] for part in spoilt[here])
        mean = off[:, here].mean(1).tolist()
        told = Text(
            f"第 {step} 步，离干净直线：" + "，".join(f"{n} {m:.2g}" for n, m in zip(NAMES, mean, strict=True)) + "（标准差）。",
            f"Step {step}, distance from the clean line: " + ", ".join(f"{n} {m:.2g}" for n, m in zip(NAMES, mean, strict=True)) + " (sd).",
        )
        plane = PlaneChart(
            Text("拟合的直线", "The fitted lines"),
            Axis(Text(f"特征 {feature + 1}（标准化）", f"feature {feature + 1} (standardised)"), low=float(ends[0]), high=wide),
            Axis(Text("目标（标准化）", "target (standardised)"), low=min(-tall, float(sy.min()) - 0.5), high=tall),
            told,
            points=(
                Points(Text("好的行", "good rows"), sx[~hit].tolist(), sy[~hit].tolist(), "baseline"),
                Points(Text("坏的行", "spoilt rows"), sx[hit].tolist(), sy[hit].tolist(), "warning"),
            ),
            lines=tuple(drawn),
        )
        curves = []
        for n, r, values in zip(NAMES, ROLES, off, strict=True):
            mid, low, high = mean_and_band(values.T.double().tolist())
            curves.append(Line(same(n), r, [100 * level for level in levels], mid, low, high, style="dots+line"))
        by_share = LineChart(
            Text("离干净直线多远", "Distance from the clean line"),
            Axis(Text("坏行比例（%）", "share of spoilt rows (%)"), low=0, high=100 * levels[-1]),
            Axis(Text("距离（标准差）", "distance (sd)"), low=0, high=max(1.0, p.size / 3) if p.axis == "y" else 1.0),
            tuple(curves),
            told,
        )
        return plane, by_share

    yield Snapshot(0, Text("就绪", "Ready"), charts(0))
    optimizer, pace = Adam(lines, [0.05 + p.size / 100] * lines.count), Pace()
    for step in range(1, STEPS + 1):
        optimizer.step(lines.gradients(), 1 - step / (STEPS + 1))
        if pace.due(step / STEPS):
            yield Snapshot(0.99 * step / STEPS, Text(f"第 {step}/{STEPS} 步", f"step {step} of {STEPS}"), charts(step))
    figures, outcome = judge_line(p, distances()[:, here])
    yield Snapshot(1, Text("完成", "Done"), charts(STEPS), figures, outcome)


def judge_line(p: Losses, off: Tensor) -> tuple[tuple[Figure, ...], Outcome]:
    """off: distances (4, splits) of the fitted lines from the clean one. The ratio MAE ÷ MSE is judged, by its interval over splits.

    Spoilt targets: reproduced below 1/3 (MAE withstands them), same direction below 1. Spoilt features: reproduced above 1/2 (MAE does not withstand them
    either), same direction above 1/5. Otherwise not at this scale, and so with nothing spoilt.
    """
    rows = off.clamp_min(1e-6).double()
    ratios = [ratio_interval((row / rows[0]).tolist()) for row in rows[1:]]
    mean, low, high = ratios[0]
    spoilt = p.outliers > 0 and p.size > 0
    status: Status = "not_at_this_scale"
    if spoilt and p.axis == "y":
        status = "reproduced" if high < 1 / 3 else "same_direction" if high < 1 else status
    elif spoilt:
        status = "reproduced" if low > 0.5 else "same_direction" if low > 0.2 else status
    each = [mean_and_spread(row.tolist()) for row in rows]
    figures = (
        Figure(Text("直线被带偏多远：MAE ÷ MSE", "How far the line is pulled away: MAE ÷ MSE"), mean, (high - low) / 2, "×"),
        Figure(same("Huber ÷ MSE"), ratios[1][0], (ratios[1][2] - ratios[1][1]) / 2, "×"),
        *[Figure(Text(f"离干净直线：{n}", f"Distance from the clean line: {n}"), *pair, Text("标准差", "sd")) for n, pair in zip(NAMES, each, strict=True)],
    )  # fmt: skip
    published = Text(
        "分位数回归（MAE）耐得住 y 方向的离群点，但对杠杆点（x 方向）敏感",
        "quantile regression (MAE) is robust to outliers in y but sensitive to leverage points (in x)",
    )
    answer = "little" if mean < 1 / 3 else "half" if mean < 0.8 else "same"
    return figures, Outcome(Verdict(status, figures[0], published, LEVERAGE, _explain_line(p, mean, [m for m, _ in each], spoilt)), answer)


def _explain_line(p: Losses, ratio: float, each: Sequence[float], spoilt: bool) -> Text:
    found = Text(
        f"与干净数据的直线相比，MSE 平均偏了 {each[0]:.2g}、MAE 偏了 {each[1]:.2g}、Huber 偏了 {each[2]:.2g} 个标准差（{SPLITS} 次随机划分）。",
        f"On average, MSE's line is {each[0]:.2g} standard deviations away from that of the clean data, MAE's {each[1]:.2g}, Huber's {each[2]:.2g} ({SPLITS} random splits). ",
    )
    if not spoilt:
        why = Text("什么都没弄坏，差别只来自损失本身。", "Nothing is spoilt, so any difference comes from the losses themselves.")
    elif p.axis == "y" and ratio < 1:
        why = Text(
            "坏的是目标：MSE 的梯度是残差本身，MAE 只取符号，所以坏行的拉力有上限。坏行都在 x 较大的那一半里，占到那里的一半（总数的四分之一）时，MAE 也守不住。",
            "The targets are spoilt: MSE's gradient is the residual itself, MAE takes only its sign, so a spoilt row can pull only so hard. All spoilt rows lie in the upper half of x: once they make "
            "up half of it, a quarter of all rows, MAE does not hold either.",
        )
    elif p.axis == "x" and ratio > 0.2:
        why = Text(
            "坏的是特征：MAE 对斜率的梯度是 x 乘以残差的符号，符号有上限，x 没有，几个远处的点就能压过其余所有点。MAE、Huber 都防不住，要靠检查特征、截断，或别的稳健方法。",
            "The features are spoilt: MAE's gradient with respect to the slope is x times the sign of the residual. The sign is bounded, x is not, and a few rows far out outweigh all others. Neither MAE nor Huber "
            "helps: check or clip the features, or use another robust method.",
        )
    else:
        why = Text(
            "在这个比例和距离下，结果与通常的不同：坏行太多、太少，或者离得不够远。",
            "At this share and distance the result is not the usual one: too many spoilt rows, too few, or not far enough off.",
        )
    return found + why


# ---- a logit ---------------------------------------------------------------------------------------------------------

LOGITS = 20


def logit_gradients(z: Tensor) -> Tensor:
    """Gradients (2, …) with respect to the logit z of −ln p and of (p − 1)²/2, with p = σ(z) and the label 1: p − 1, and that times p(1 − p)."""
    p = z.sigmoid()
    return torch.stack([p - 1, (p - 1) * p * (1 - p)])


def _run_logit(p: Losses, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    z = (p.start + 0.5 * torch.randn(LOGITS, generator=generator)).to(device).repeat(2, 1)
    path = torch.full((TURNS + 1, 2, LOGITS), math.nan, device=device)
    path[0] = z
    names, roles = (Text("交叉熵", "cross-entropy"), same("MSE")), (ROLES[1], ROLES[0])
    at = torch.linspace(-10, 6, 33, requires_grad=True)
    losses = (torch.nn.functional.softplus(-at).sum(), ((at.sigmoid() - 1) ** 2 / 2).sum())
    automatic = torch.stack([torch.autograd.grad(loss, at)[0] for loss in losses])
    gap = float((automatic - logit_gradients(at.detach())).abs().max())
    shown = sorted({round(step) for step in log_spaced(1, TURNS, 60)})

    def charts(step: int) -> tuple[Chart, ...]:
        kept = [s for s in shown if s <= step] or [1]
        chance = path[kept].sigmoid().cpu() if step else path[[0]].sigmoid().cpu()
        curves = []
        for i, (name, role) in enumerate(zip(names, roles, strict=True)):
            mean, low, high = mean_and_band(chance[:, i].T.double().tolist())
            curves.append(Line(name, role, kept, mean, low, high))
        told = Text(
            f"第 {step} 步，正确类的概率：交叉熵 {chance[-1, 0].mean():.2g}，MSE {chance[-1, 1].mean():.2g}。",
            f"Step {step}, probability of the right class: {chance[-1, 0].mean():.2g} with cross-entropy, {chance[-1, 1].mean():.2g} with MSE.",
        )
        descent = LineChart(
            Text("正确类的概率", "Probability of the right class"),
            Axis(Text("步数（对数）", "step (log)"), log=True, low=1, high=TURNS),
            Axis(Text("概率", "probability"), low=0, high=1),
            tuple(curves),
            told,
        )
        slopes = LineChart(
            Text("对 logit 的梯度（大小）", "Gradient with respect to the logit (size)"),
            Axis(Text("logit（标签为 1）", "logit (the label is 1)"), low=-10, high=6),
            Axis(Text("梯度大小（对数）", "size of the gradient (log)"), log=True, low=1e-5, high=1),
            tuple(Line(n, r, at.tolist(), row.abs().tolist()) for n, r, row in zip(names, roles, automatic, strict=True)),
            Text("MSE 在错得最离谱时梯度最小。", "MSE's gradient is smallest where the output is most wrong."),
        )
        return descent, slopes

    yield Snapshot(0, Text("就绪", "Ready"), charts(0))
    pace = Pace()
    for step in range(1, TURNS + 1):
        gradients = logit_gradients(z)
        z = z - p.rate * torch.stack([gradients[0, 0], gradients[1, 1]])
        path[step] = z
        if pace.due(math.log(step + 1) / math.log(TURNS + 2)):
            yield Snapshot(0.99 * step / TURNS, Text(f"第 {step}/{TURNS} 步", f"step {step} of {TURNS}"), charts(step))
    reached = path.cpu().sigmoid() >= SURE
    counts = torch.where(reached.any(0), reached.float().argmax(0).float(), math.inf)  # (2, logits)
    figures, outcome = judge_logit(p, counts, gap)
    yield Snapshot(1, Text("完成", "Done"), charts(TURNS), figures, outcome)


def judge_logit(p: Losses, counts: Tensor, gap: float) -> tuple[tuple[Figure, ...], Outcome]:
    """counts: steps (2, logits) that cross-entropy and MSE take to SURE, infinite if they do not get there; gap: autograd against the formulas.

    Reproduced: the formulas hold to 1e-6, and MSE takes at least 3 times as many steps (its interval), or does not arrive where cross-entropy does. Same direction: it
    takes more. Otherwise, or if cross-entropy does not arrive, not at this scale.
    """
    arrived, stuck = bool(counts[0].isfinite().all()), not bool(counts[1].isfinite().all())
    mean, low, high = math.inf, math.inf, math.inf
    if arrived and not stuck:
        mean, low, high = ratio_interval((counts[1].clamp_min(1) / counts[0].clamp_min(1)).tolist())
    status: Status = "not_at_this_scale"
    if arrived and low > 1:
        status = "reproduced" if low >= 3 and gap <= 1e-6 else "same_direction"
    steps = [mean_and_spread(row.tolist()) for row in counts]
    p0 = 1 / (1 + math.exp(-p.start))
    unit = Text("步", "steps")
    figures = (
        Figure(Text(f"到概率 {SURE:g} 的步数：MSE ÷ 交叉熵", f"Steps to a probability of {SURE:g}: MSE ÷ cross-entropy"), mean, (high - low) / 2 if mean < math.inf else None, "×"),
        Figure(Text("交叉熵的步数", "Steps with cross-entropy"), *steps[0], unit),
        Figure(Text("MSE 的步数", "Steps with MSE"), *steps[1], unit),
        Figure(Text("起点的梯度：MSE ÷ 交叉熵", "Gradient at the start: MSE ÷ cross-entropy"), p0 * (1 - p0), None, "×"),
        Figure(Text("自动微分与公式的最大差距", "Autograd against the formulas, at most"), gap),
    )  # fmt: skip
    published = Text(
        "会饱和的输出单元配上 MSE 或 MAE 时梯度很小，所以交叉熵更常用",
        "with MSE or MAE, output units that saturate have very small gradients, one reason why cross-entropy is preferred",
    )
    answer = "never" if mean == math.inf else "alike" if mean < 3 else "slower" if mean < 12 else "much"
    outcome = (
        Text(f"MSE 要走交叉熵 {mean:.3g} 倍的步数", f"MSE takes {mean:.3g} times as many steps as cross-entropy")
        if mean < math.inf
        else Text(f"MSE 在 {TURNS} 步内没能全部做到", f"MSE does not always get there within {TURNS} steps")
    )
    explanation = Text(
        f"起点 p = {p0:.2g}，标签是 1。交叉熵对 logit 的梯度是 p − 1 = {p0 - 1:.3g}，错得越多越大；MSE 的还要乘 sigmoid 的导数 p(1−p)，只剩 {(p0 - 1) * p0 * (1 - p0):.1g}。"
        f"要把概率提到 {SURE:g}，{outcome.zh}。logit 离 0 不远时两者差别就小；这里只有一个 logit、一个标签，真实网络里别的样本也会推动它。",
        f"At the start p = {p0:.2g}, and the label is 1. Cross-entropy's gradient with respect to the logit is p − 1 = {p0 - 1:.3g}: the more wrong the output, the larger. MSE's is multiplied by the sigmoid's "
        f"slope p(1−p), which leaves {(p0 - 1) * p0 * (1 - p0):.1g}. To reach a probability of {SURE:g}, {outcome.en}. Near a logit of 0 the two differ little. This is one logit with one "
        "label; in a network other samples push it as well.",
    )
    return figures, Outcome(Verdict(status, figures[0], published, BOOK, explanation), answer)


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Losses) -> Prediction:
    if p.task == "logit":
        return Prediction(
            Text(f"标签是 1，logit 从 {p.start:g} 开始，学习率 {p.rate:g}。要把概率提到 {SURE:g}，MSE 的步数是交叉熵的多少倍？", f"The label is 1, the logit starts at {p.start:g}, the rate is {p.rate:g}. How many times as many steps as cross-entropy does MSE take to reach a probability of {SURE:g}?"),
            {"alike": Text("不到 3 倍", "less than 3 times"), "slower": Text("3–12 倍", "3 to 12 times"), "much": Text("12 倍以上", "over 12 times"), "never": Text(f"{TURNS} 步内到不了", f"not there in {TURNS} steps")},
        )  # fmt: skip
    if p.task == "constant" and not _spoilt_count(p):
        return Prediction(
            Text(f"{p.count} 个高斯噪声的数，没有离群点。MAE 的估计，方差是 MSE 的多少倍？", f"{p.count} numbers with Gaussian noise and no outliers: how large is the variance of MAE's estimate, compared with MSE's?"),
            {"less": Text("更小", "less"), "equal": Text("几乎一样", "about the same"), "more": Text("1.1–2 倍", "1.1 to 2 times as large"), "double": Text("2 倍以上", "over twice as large")},
        )  # fmt: skip
    what = Text("常数", "constant") if p.task == "constant" else Text("直线", "line")
    spoilt = Text("", "") if p.task == "constant" else Text(f"在 {p.axis} 方向", f" in {p.axis}")
    return Prediction(
        Text(
            f"{p.outliers:.0%} 的数据{spoilt.zh}移了 {p.size:g} 个标准差。MAE 的{what.zh}被带偏的距离，与 MSE 的相比？",
            f"{100 * p.outliers:.0f} % of the data are moved by {p.size:g} standard deviations{spoilt.en}. How far is MAE's {what.en} pulled away, compared with MSE's?",
        ),
        {
            "little": Text("不到三分之一", "less than a third as far"),
            "half": Text("三分之一到 80%", "a third to 80 %"),
            "same": Text("差不多，或者更远", "about as far, or farther"),
        },
    )


def run(parameters: Losses, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from {"constant": _run_constant, "line": _run_line, "logit": _run_logit}[parameters.task](parameters, device, generator)


_CONSTANT_CODE = """\
import torch

torch.manual_seed(0)
torch.set_num_threads(1)
N, SHARE, SIZE, DELTA = {count}, {outliers:g}, {size:g}, {delta:g}
y = torch.randn(2000, N, dtype=torch.float64)  # 2000 samples, whose truth is 0
y[:, : round(SHARE * N)] += SIZE
losses = {{
    "MSE": lambda r: r**2,
    "MAE": lambda r: r.abs(),
    "Huber": lambda r: torch.where(r.abs() <= DELTA, r**2 / 2, DELTA * (r.abs() - DELTA / 2)),
}}
errors = {{}}
for name, loss in losses.items():
    constant = ((y.amin(1) + y.amax(1)) / 2).requires_grad_()
    step = (y.amax(1) - y.amin(1)) / 4
    for _ in range(50):  # against the sign of the gradient, each step half the last
        (gradient,) = torch.autograd.grad(loss(constant[:, None] - y).sum(), constant)
        constant = (constant - step * gradient.sign()).detach().requires_grad_()
        step = step / 2
    errors[name] = constant.detach().square().mean()
    print(f"{{name:6}} mean estimate {{constant.mean():8.4f}}, distance from the mean {{(constant - y.mean(1)).abs().max():.2g}}, "
          f"from the median {{(constant - y.median(1).values).abs().max():.2g}}, mean square error / MSE's {{errors[name] / errors['MSE']:.3f}}")
"""
_DIABETES = """\
from sklearn.datasets import load_diabetes

data = load_diabetes()
x = torch.tensor(data.data, dtype=torch.float32)
y = torch.tensor(data.target, dtype=torch.float32)
x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
"""
_LINE_CODE = """\
import torch

torch.manual_seed(0)
torch.set_num_threads(1)
SHARE, SIZE, DELTA, AXIS = {outliers:g}, {size:g}, {delta:g}, "{axis}"
{data}
x = x[:, (x * y[:, None]).mean(0).abs().argmax()]  # the feature that goes best with the target
clean = torch.linalg.lstsq(torch.stack([x, torch.ones_like(x)], 1), y[:, None]).solution[:, 0]
grid = x.clone()
rows = torch.randperm(len(x))
if AXIS == "y":  # targets are spoilt where x is large
    rows = rows[x[rows] > x.median()]
    y[rows[: round(SHARE * len(x))]] -= SIZE
else:
    x[rows[: round(SHARE * len(x))]] += SIZE
for name, loss in (("MSE", torch.nn.MSELoss()), ("MAE", torch.nn.L1Loss()), ("Huber", torch.nn.HuberLoss(delta=DELTA))):
    line = torch.zeros(2, requires_grad=True)  # slope and intercept
    optimizer = torch.optim.Adam([line], lr=0.05 + SIZE / 100)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, 800)
    for _ in range(800):
        optimizer.zero_grad()
        loss(line[0] * x + line[1], y).backward()
        optimizer.step()
        schedule.step()
    off = (line - clean).detach()
    print(f"{{name:6}} slope {{line[0]:.3f}} (clean {{clean[0]:.3f}}), distance from the clean line {{(off[0] * grid + off[1]).square().mean().sqrt():.3f}}")
"""
_LOGIT_CODE = """\
import torch

RATE = {rate:g}
losses = {{"cross-entropy": lambda z: torch.nn.functional.softplus(-z), "MSE": lambda z: (z.sigmoid() - 1) ** 2 / 2}}  # the label is 1
for name, loss in losses.items():
    z = torch.full((), {start:g}, dtype=torch.float32, requires_grad=True)
    for step in range(3001):
        (gradient,) = torch.autograd.grad(loss(z), z)
        if step == 0:
            print(f"{{name}}: gradient {{gradient:.3g}} at p = {{z.sigmoid():.3g}}")
        if z.sigmoid() >= 0.9:
            print(f"{{name}}: p = 0.9 after {{step}} steps")
            break
        z = (z - RATE * gradient).detach().requires_grad_()
    else:
        print(f"{{name}}: p = {{z.sigmoid():.3g}} after {{step}} steps")
"""


def code(p: Losses) -> str:
    values = {**p.values(), "data": digits_or_own(p.data, "number", _DIABETES)}
    return {"constant": _CONSTANT_CODE, "line": _LINE_CODE, "logit": _LOGIT_CODE}[p.task].format(**values)


DEMO = Demo(
    topic="losses",
    title=Text("损失函数与离群点", "Loss functions and outliers"),
    question=Text(
        "MSE、MAE、Huber、交叉熵：换一个损失，学到的东西差在哪里？", "MSE, MAE, Huber, cross-entropy: what changes with the loss?"
    ),
    look_for=Text(
        "先看每条损失曲线的最低点落在均值还是中位数，再看离群点增加时谁先被带偏。原因在梯度图里：残差很大时，谁的梯度还在增长。",
        "See which loss has its minimum at the mean and which at the median, then which are pulled away as outliers become more. The gradients say why: see whose gradient still grows where the residual is large.",
    ),
    scaled_down=Text(
        "只拟合一个常数、一条直线、一个 logit：这里理论是精确的，神经网络的输出层面对的是同样的梯度。离群点都在同一侧、同样远。",
        "Only a constant, a line or one logit is fitted: here theory is exact, and a network's output layer meets the same gradients. All outliers lie on one side, equally far off.",
    ),
    parameters=Losses,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=1,
)
