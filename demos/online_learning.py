"""Online learning (1.18): one sample at a time on a stream whose target drifts, against refitting; and the regret of online gradient descent.

*stream*: y = x·w* + noise, and w* takes a random step after every sample. With |x|² = 2 in the plane the expected error of SGD obeys an exact one-line recursion, so that
the measured trade-off between lag and noise is held against theory. *regret*: cumulative loss beyond that of the best fixed weights in hindsight, for three schedules of
the learning rate. These are small vectors: everything is float64 on the CPU, whatever the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Line, LineChart, PlaneChart, Points, Role, Rule
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.statistics import interval, log_spaced, mean_and_band, mean_and_spread, ratio_interval, thinned
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

SIZE = 2  # weights, and |x|²
RATES = 24  # learning rates swept beside the chosen one
LOST = 1e6  # an error beyond which a learner counts as diverged
TRAIL = 800  # samples whose path is drawn
ROLLING = 100  # samples over which an error is averaged for the picture
RADIUS = 2.0  # of the ball that the regret experiment keeps its weights in
FIRST, LOOKS, GROUPS = 16, 25, 8  # first sample and number of looks at the regret, groups of runs for its exponent
NEAR = 0.2  # how far an exponent may lie from ½
SCHEDULES: tuple[tuple[Text, Role], ...] = ((same("∝ 1/√t"), "first"), (Text("固定", "constant"), "second"), (same("1/t"), "third"))


@dataclass(frozen=True)
class Online(Parameters):
    task: str = mode_choice(
        "stream", {"stream": Text("漂移的数据流", "drifting stream"), "regret": Text("累计遗憾", "regret")},
        label=Text("实验", "Experiment"), help=Text("跟踪漂移，或者与事后最优比较。", "Tracking a drift, or comparing with the best in hindsight."),
    )  # fmt: skip
    drift: float = real(
        0.025, 0, 0.2, step=0.005, label=Text("每步漂移 q", "Drift per step q"), modes=("stream",),
        help=Text("真权重每个分量每步随机走动的标准差；0 就是不漂移。", "Standard deviation of each true weight's random step; 0 is no drift."),
    )  # fmt: skip
    world: str = choice(
        "noise", {"noise": Text("带噪声的回归", "noisy regression"), "coin": Text("对手掷硬币", "coin-tossing adversary")}, modes=("regret",),
        label=Text("损失从哪里来", "Where losses come from"), help=Text("对手每步用硬币决定线性损失的正负，什么也预测不了。", "The adversary tosses a coin for the sign of a linear loss: nothing can be predicted."),
    )  # fmt: skip
    rate: float = real(
        0.05, 0.0005, 2, log=True, label=Text("固定学习率 η", "Constant learning rate η"), help=Text("在线 SGD 每来一个样本走一步；到 1 就发散。", "Online SGD takes a step for each sample; it diverges from 1 on.")
    )  # fmt: skip
    noise: float = real(
        0.5, 0, 2, step=0.05, label=Text("标签噪声 σ", "Label noise σ"), help=Text("标签上噪声的标准差（均匀分布）。", "Standard deviation of the (uniform) noise in the labels.")
    )  # fmt: skip
    steps: int = integer(3000, 500, 10000, step=500, label=Text("样本数", "Samples"), help=Text("数据流有多长。", "Length of the stream."))
    window: int = integer(
        100, 10, 1000, step=10, label=Text("窗口（样本）", "Window (samples)"), modes=("stream",), help=Text("窗口法只用最近这么多样本重新拟合。", "The window learner refits on this many of the latest samples.")
    )  # fmt: skip
    batch: int = integer(
        16, 2, 200, advanced=True, label=Text("小批量大小", "Mini-batch"), modes=("stream",), help=Text("攒够这么多样本才更新一次，更新量是各样本之和。", "Waits for this many samples, then takes one step, the sum of theirs.")
    )  # fmt: skip
    runs: int = integer(
        32, 16, 128, step=16, advanced=True, label=Text("重复次数", "Repetitions"), help=Text("各有自己的数据流。", "Each with a stream of its own.")
    )  # fmt: skip


PRESETS = {
    "drift": Preset(
        Text("目标在漂移", "Drift"),
        Text("真权重不停地走，谁跟得上？", "The true weights keep walking: who can follow?"),
        {},
        "textbook",
    ),
    "no-drift": Preset(
        Text("没有漂移", "No drift"),
        Text("目标不动时，在线学习还有优势吗？", "If nothing moves, does learning online still have an advantage?"),
        {"drift": 0.0},
        "limits",
        look_for=Text(
            "看滑动误差图里四条线是一直往下走，还是停在某个水平上。再看误差与学习率的图：与“目标在漂移”相比，谷底移到了哪里。",
            "See whether each of the four rolling errors keeps falling or comes to rest at some level. Then look at the error against the rate: where has its valley moved, compared with the preset with drift?",
        ),
    ),
    "regret": Preset(
        Text("累计遗憾", "Regret"),
        Text("学习率 ∝ 1/√t、固定、1/t：遗憾随样本数怎样增长？", "Rates ∝ 1/√t, constant and 1/t: how does regret grow with the samples?"),
        {"task": "regret", "noise": 1.0, "steps": 8000, "runs": 128},
        "textbook",
        look_for=Text(
            "累计遗憾的两轴都取了对数，斜率就是“T 的几次方”：比较三条线和“上界”的斜率。再看柱状图里的指数：小于 1，平均到每个样本的遗憾才会趋于 0。",
            "Both axes of the cumulative regret are logarithmic, so a slope is a power of T: compare the slopes of the three lines and of the bound. Then read the exponents in the bars: only if one is below 1 does the regret per sample go to 0.",
        ),
    ),
    "adversary": Preset(
        Text("对手", "Adversary"),
        Text("损失的正负由硬币决定：换学习率还有用吗？", "A coin decides the sign of each loss: does the schedule still matter?"),
        {"task": "regret", "world": "coin", "steps": 8000, "runs": 128},
        "limits",
        look_for=Text(
            "看累计遗憾图里三种学习率的线分不分得开，斜率与“上界”的差多少。再看柱状图：连同误差棒一起看，三个指数有没有区别。",
            "See whether the three lines of the cumulative regret come apart, and how their slopes compare with that of the bound. Then look at the bars: given their error bars, do the three exponents differ?",
        ),
    ),
}  # fmt: skip

WIDROW = Source(
    "Stationary and nonstationary learning characteristics of the LMS adaptive filter",
    "Bernard Widrow, John M. McCool, Michael G. Larimore, C. Richard Johnson", 1976, "https://doi.org/10.1109/PROC.1976.10286",
)  # fmt: skip
HAZAN = Source("Introduction to Online Convex Optimization, theorems 3.1 and 3.2", "Elad Hazan", 2016, "https://arxiv.org/abs/1909.05207")


# ---- the stream ------------------------------------------------------------------------------------------------------


@dataclass
class Stream:
    """Inputs x (T, S, 2) of length √2, labels y (T, S) and the true weights (T, S, 2) at each sample, for S runs."""

    x: Tensor
    y: Tensor
    truth: Tensor


def draw(p: Online, drift: float, generator: torch.Generator) -> Stream:
    angle = 2 * math.pi * torch.rand(p.steps, p.runs, generator=generator, dtype=torch.float64)
    x = SIZE**0.5 * torch.stack([angle.cos(), angle.sin()], 2)
    noise = p.noise * 3**0.5 * (2 * torch.rand(p.steps, p.runs, generator=generator, dtype=torch.float64) - 1)
    start = 2 * math.pi * torch.rand(p.runs, generator=generator, dtype=torch.float64)
    moves = torch.zeros(p.steps, p.runs, SIZE, dtype=torch.float64)
    if drift:
        moves.normal_(0, drift, generator=generator)
    moves[0] = torch.stack([start.cos(), start.sin()], 1)
    truth = moves.cumsum(0)
    return Stream(x, (x * truth).sum(2) + noise, truth)


def fits(stream: Stream, window: int | None) -> Tensor:
    """Least-squares weights (T, S, 2) from the samples before each moment: all of them, or the last `window`. 0 where there are none."""
    x = stream.x
    products = torch.stack([x[..., 0] ** 2, x[..., 0] * x[..., 1], x[..., 1] ** 2, x[..., 0] * stream.y, x[..., 1] * stream.y])
    sums = torch.cat([torch.zeros_like(products[:, :1]), products[:, :-1]], 1).cumsum(1)
    if window is not None:
        sums[:, window:] = sums[:, window:] - sums[:, :-window].clone()
    a, b, c, u, v = sums
    a, c = a + 1e-6, c + 1e-6  # so that a single sample has a solution as well
    solved: Tensor = torch.stack([c * u - b * v, a * v - b * u], 2) / (a * c - b * b)[..., None]
    return solved


def expected_error(rate: float, noise: float, drift: float, first: int, last: int) -> float:
    """E|w − w*|² of online SGD, averaged over the samples first … last − 1, from w = 0 and |w*| = 1. Infinite where it diverges.

    With |x|² = 2 in all directions alike, an update multiplies the squared error by 1 − 2η + 2η² and adds 2η²σ²; the walk adds 2q².
    """
    factor, added = 1 - 2 * rate + SIZE * rate**2, SIZE * (rate**2 * noise**2 + drift**2)
    if factor >= 1:
        return math.inf
    level = added / (1 - factor)
    return level + (1 - level) * (factor**first - factor**last) / (1 - factor) / (last - first)


def best_rate(noise: float, drift: float) -> float:
    """The rate with the lowest level in the long run (σ > 0): the positive root of σ²η² + 2q²η − q² = 0, which is near q/σ."""
    share = (drift / noise) ** 2
    return math.sqrt(share * share + share) - share


@dataclass
class _Errors:
    """Squared distances to the truth: of the four learners for each sample (T, S), and of all rates over the second half (rates, S)."""

    learners: dict[str, Tensor]
    swept: Tensor = field(default_factory=lambda: torch.zeros(0))


LEARNERS: dict[str, tuple[Text, Role]] = {
    "online": (Text("在线 SGD", "online SGD"), "first"),
    "mini": (Text("小批量", "mini-batch"), "fourth"),
    "window": (Text("窗口重拟合", "window refit"), "third"),
    "all": (Text("全部重拟合", "refit on all"), "baseline"),
}


def _rolling(errors: Tensor, done: int) -> tuple[list[int], Tensor]:
    """Up to 40 moments, and the mean error (S, moments) over the last ROLLING samples before each."""
    moments = [max(1, moment) for moment in thinned(done + 1, 40)[1:]]
    sums = torch.cat([torch.zeros_like(errors[:1]), errors[:done]]).cumsum(0)
    begin = [max(0, moment - ROLLING) for moment in moments]
    lengths = torch.tensor([m - b for m, b in zip(moments, begin, strict=True)])[:, None]
    return moments, ((sums[moments] - sums[begin]) / lengths).T


def _bounded(errors: Tensor) -> Tensor:
    """Errors with infinity for those of a learner that has diverged, and none below what a log axis shows."""
    return errors.masked_fill(~(errors < LOST), math.inf).clamp_min(1e-12)


def _band(errors: Tensor) -> tuple[list[float], list[float], list[float]]:
    """Mean and interval over runs of errors (S, points), for a log axis."""
    mean, low, high = mean_and_band(_bounded(errors).tolist())
    return mean, [max(value, 1e-6) for value in low], high


def _stream_charts(p: Online, stream: Stream, weights: dict[str, Tensor], errors: _Errors, rates: Sequence[float], done: int) -> tuple[Chart, ...]:  # fmt: skip
    way = torch.cat([stream.truth[:, 0], torch.zeros(1, SIZE, dtype=torch.float64)])  # all learners begin at 0
    middle, reach = (way.amax(0) + way.amin(0)) / 2, 0.6 * float((way.amax(0) - way.amin(0)).max()) + 0.1
    first, second = (
        Axis(same(name), low=round(at - reach, 1), high=round(at + reach, 1))
        for name, at in zip(("w₁", "w₂"), middle.tolist(), strict=True)
    )
    so_far = [max(0, done - TRAIL) + i for i in thinned(min(done, TRAIL), 60)]
    paths, heads, curves = [], [], []
    looks: list[tuple[Text, Role, Tensor]] = [(Text("真权重", "truth"), "theory", stream.truth)]
    for label, role, path in looks + [(*LEARNERS[name], weights[name]) for name in ("online", "all")]:
        places = (path[so_far, 0] - middle).clamp(-9 * reach, 9 * reach).nan_to_num(9 * reach) + middle
        x, y = places.T.tolist() if so_far else ([], [])
        paths.append(Line(label, role, x, y))
        if so_far and float((places[-1] - middle).abs().max()) < reach:
            heads.append(Points(label, x[-1:], y[-1:], role))
    now = dict.fromkeys(LEARNERS, math.nan)
    for name, (label, role) in LEARNERS.items():
        moments, rolled = _rolling(errors.learners[name], done)
        curves.append(Line(label, role, moments, *_band(rolled)) if done else Line(label, role, [], []))
        now[name] = float(_bounded(rolled)[:, -1].mean()) if done else math.nan
    half = p.steps // 2
    swept = []
    if len(errors.swept):
        swept = [Line(Text("实测", "measured"), "first", rates[1:], *_band(errors.swept[1:].T), style="dots+line")]
    theory = [expected_error(rate, p.noise, p.drift, half, p.steps) for rate in rates[1:]]
    return (
        PlaneChart(
            Text("权重平面：追赶真权重", "The weights: chasing the truth"), first, second,
            Text(
                f"最近 {TRAIL} 个样本里真权重走过的路，以及在线 SGD 和全部重拟合跟在后面走的路；圆点是现在的位置。",
                f"Where the true weights went over the last {TRAIL} samples, followed by online SGD and by refitting on all; dots show where they are now.",
            ),
            points=tuple(heads), lines=tuple(paths), equal=True,
        ),
        LineChart(
            Text("滑动误差", "Rolling error"), Axis(Text("样本", "Samples"), low=0, high=p.steps), Axis(Text("超额误差 |w−w*|²（对数）", "Excess error |w − w*|² (log)"), log=True, low=1e-4, high=10),
            tuple(curves), Text("还没有样本。", "No sample yet.") if not done else Text(
                f"第 {done} 个样本前的误差：在线 SGD {now['online']:.2g}，小批量 {now['mini']:.2g}，窗口 {now['window']:.2g}，全部重拟合 {now['all']:.2g}。",
                f"Errors before sample {done}: online SGD {now['online']:.2g}, mini-batch {now['mini']:.2g}, window {now['window']:.2g}, refit on all {now['all']:.2g}.",
            ),
        ),
        LineChart(
            Text("误差与学习率：太小跟不上，太大抖动", "Error against the rate: lag or noise"), Axis(Text("学习率 η（对数）", "Learning rate η (log)"), log=True, low=rates[1], high=rates[-1]),
            Axis(Text("后一半的误差（对数）", "Error, second half (log)"), log=True, low=1e-4, high=10), (*swept, Line(Text("理论", "theory"), "theory", rates[1:], theory)),
            Text("每个学习率后一半样本的误差，虚线是精确的理论值。", "Error over the second half for each rate; the dashed line is exact theory."), rules=(Rule(same("η"), p.rate),),
        ),
    )  # fmt: skip


def _run_stream(p: Online, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    rates = [p.rate, *log_spaced(0.001, 2, RATES)]
    stream = draw(p, p.drift, generator)
    weights = {
        "all": fits(stream, None),
        "window": fits(stream, p.window),
        "online": torch.zeros_like(stream.truth),
        "mini": torch.zeros_like(stream.truth),
    }
    errors = _Errors({name: (path - stream.truth).square().sum(2) for name, path in weights.items()})
    yield Snapshot(0, Text("就绪", "Ready"), _stream_charts(p, stream, weights, errors, rates, 0))
    w = torch.zeros(len(rates), p.runs, SIZE, dtype=torch.float64)
    total, half = torch.zeros(len(rates), p.runs, dtype=torch.float64), p.steps // 2
    mini, step = torch.zeros(p.runs, SIZE, dtype=torch.float64), torch.tensor(rates, dtype=torch.float64)[:, None, None]
    pace = Pace()
    for t in range(p.steps):
        x, y = stream.x[t], stream.y[t]
        weights["online"][t], weights["mini"][t] = w[0], mini
        if t >= half:
            total += (w - stream.truth[t]).square().sum(2)
        w = w + step * ((y - (w * x).sum(2))[..., None] * x)
        if (t + 1) % p.batch == 0:
            block = slice(t + 1 - p.batch, t + 1)
            mini = mini + p.rate * ((stream.y[block] - (stream.x[block] * mini).sum(2))[..., None] * stream.x[block]).sum(0)
        if pace.due((t + 1) / p.steps):
            for name in ("online", "mini"):
                errors.learners[name] = (weights[name] - stream.truth).square().sum(2)
            errors.swept = total / (t + 1 - half) if t >= half else errors.swept
            status = Text(f"第 {t + 1}/{p.steps} 个样本，{p.runs} 条数据流", f"sample {t + 1}/{p.steps}, {p.runs} streams")
            yield Snapshot(0.99 * (t + 1) / p.steps, status, _stream_charts(p, stream, weights, errors, rates, t + 1))
    errors.learners |= {name: (weights[name] - stream.truth).square().sum(2) for name in ("online", "mini")}
    errors.swept = total / (p.steps - half)
    late = {name: _bounded(rows[half:].mean(0)).tolist() for name, rows in errors.learners.items()}
    figures, outcome = result_stream(p, late)
    yield Snapshot(1, Text("完成", "Done"), _stream_charts(p, stream, weights, errors, rates, p.steps), figures, outcome)


def judge_stream(p: Online, late: dict[str, list[float]]) -> tuple[Status, str]:
    """`late`: mean error over the second half by run.

    Two things are asked: does online SGD's mean error lie within twice its interval (and 2 %) of exact theory, and is refitting on all samples worse than online SGD beyond
    doubt (without drift: better)? Reproduced: both. Same direction: one. Not at this scale: neither, or online SGD diverged.
    """
    online, theory = mean_and_spread(late["online"]), expected_error(p.rate, p.noise, p.drift, p.steps // 2, p.steps)
    if not math.isfinite(online[0]):
        return "not_at_this_scale", "more"
    agrees = abs(online[0] - theory) <= 2 * (online[1] or 0) + 0.02 * theory
    mean, low, high = ratio_interval([a / b for a, b in zip(late["all"], late["online"], strict=True)])
    claim = low > 1 if p.drift else high < 1
    status: Status = "reproduced" if agrees and claim else "same_direction" if agrees or claim else "not_at_this_scale"
    return status, "less" if mean < 0.5 else "alike" if mean < 2 else "more" if mean < 10 else "far-more"


def result_stream(p: Online, late: dict[str, list[float]]) -> tuple[tuple[Figure, ...], Outcome]:
    status, answer = judge_stream(p, late)
    theory = expected_error(p.rate, p.noise, p.drift, p.steps // 2, p.steps)
    figures = [Figure(Text(f"误差 |w−w*|²（后一半）：{name.zh}", f"Error |w − w*|² (second half): {name.en}"), *mean_and_spread(late[key])) for key, (name, _) in LEARNERS.items()]  # fmt: skip
    figures.append(Figure(Text("在线 SGD 的理论误差", "Error of online SGD in theory"), theory))
    if all(math.isfinite(error) for error in late["online"]):
        mean, low, high = ratio_interval([a / b for a, b in zip(late["all"], late["online"], strict=True)])
        figures.append(Figure(Text("全部重拟合 ÷ 在线 SGD", "Refit on all ÷ online SGD"), mean, (high - low) / 2, "×"))
    published = Text(
        f"误差是两项之和：梯度噪声项随学习率增大，滞后项随学习率减小，两项相等时和最小。按公式算出的和是 {theory:.3g}",
        f"the error is the sum of gradient noise, which grows with the rate, and lag, which shrinks with it; it is least where the two are equal. Worked out exactly, the sum is {theory:.3g}",
    )
    return tuple(figures), Outcome(Verdict(status, figures[0], published, WIDROW, _told_stream(p, late)), answer)


# fmt: off
def _told_stream(p: Online, late: dict[str, list[float]]) -> Text:
    online, every, window = (interval(late[name])[0] for name in ("online", "all", "window"))
    if not math.isfinite(online):
        return Text(
            f"学习率 {p.rate:g} 达到或超过了稳定上限 2/|x|² = 1，在线 SGD 发散了：每步的修正都比误差本身还大。",
            f"The rate of {p.rate:g} is at or past the limit of stability, 2/|x|² = 1, and online SGD diverged: each correction is larger than the error it corrects.",
        )
    lag, jitter = p.drift**2 / p.rate / (1 - p.rate), p.rate * p.noise**2 / (1 - p.rate)
    found = Text(
        f"后一半样本里，在线 SGD 的误差是 {online:.3g}，用全部旧样本重拟合是 {every:.3g}，只用最近 {p.window} 个是 {window:.3g}。",
        f"Over the second half of the samples the error of online SGD is {online:.3g}, of refitting on all samples so far {every:.3g}, on the last {p.window} of them {window:.3g}. ",
    )
    if p.drift == 0:
        why = Text(
            f"目标不动，每个旧样本都有用，重拟合的误差像 1/t 那样降到 0；固定学习率的 SGD 每步都被最新样本的噪声推开，停在约 ησ²/(1−η) = {jitter:.3g}。没有漂移就该用全部数据，或者让学习率递减。",
            f"Nothing moves, so every old sample helps and the error of refitting falls to 0 like 1/t. With a constant rate, each new sample's noise keeps pushing SGD about, and its error stays near "
            f"ησ²/(1−η) = {jitter:.3g}. Without drift use all the data, or let the rate fall.",
        )
        return found + why
    why = Text(
        "旧样本反映的是目标过去的位置：全部重拟合把它们一视同仁地平均，越往后越跟不上；固定学习率等于按指数遗忘。" if every > online else
        "漂移太慢（或样本太少），平均掉噪声比忘掉旧样本更要紧，所以全部重拟合没有落后。",
        "Old samples tell where the target used to be: refitting on all averages them alike and falls ever further behind, while a constant rate forgets exponentially. " if every > online else
        "The drift is so slow (or the stream so short) that averaging out noise matters more than forgetting, and refitting on all does not fall behind. ",
    )
    if p.noise == 0:
        more = Text(f"没有标签噪声，误差几乎全是滞后（长期 {lag:.2g}），学习率大一些更好。", f"Without noise in the labels nearly all of SGD's error is lag ({lag:.2g} in the long run), and a larger rate is better.")
    else:
        best = best_rate(p.noise, p.drift)
        side = Text("这里的学习率偏小，主要是滞后", "the rate here is on the small side, and lag prevails") if lag > 2 * jitter else Text("这里的学习率偏大，主要是抖动", "the rate here is on the large side, and noise prevails") if jitter > 2 * lag else Text("这里的学习率接近最优", "the rate here is close to the best")
        more = Text(
            f"长期来看，SGD 的误差里滞后占 {lag:.2g}，抖动占 {jitter:.2g}；最优学习率约为 q/σ，精确值是 {best:.2g}，{side.zh}。",
            f"In the long run lag contributes {lag:.2g} to SGD's error and noise {jitter:.2g}; the best rate is near q/σ, exactly {best:.2g}: {side.en}.",
        )
    return found + why + more
# fmt: on


# ---- regret ----------------------------------------------------------------------------------------------------------


def bounds(p: Online) -> tuple[float, float]:
    """D and G of the theorem: the diameter of the ball, and a bound on the length of every gradient in it."""
    length = SIZE**0.5
    return 2 * RADIUS, length if p.world == "coin" else length * (length * (RADIUS + 1) + 3**0.5 * p.noise)


def least_loss(p: Online, sums: Tensor) -> Tensor:
    """Loss (S,) of the best fixed weights in hindsight, from the sums (S, 6) of x₁², x₁x₂, x₂², x₁y, x₂y, y² (coin: of the two components of the gradients).

    For regression it is the minimum over the whole plane, which can only make the regret larger.
    """
    if p.world == "coin":
        return sums[:, :2].square().sum(1).sqrt() * -RADIUS
    a, b, c, u, v, yy = sums.T
    least: Tensor = (yy - (c * u * u - 2 * b * u * v + a * v * v) / (a * c - b * b)) / 2
    return least


def _regret_charts(p: Online, marks: Sequence[int], regrets: Sequence[Tensor]) -> tuple[Chart, ...]:
    """regrets: at each mark so far (3, S)."""
    diameter, steepest = bounds(p)
    seen, lines = list(marks[: len(regrets)]), []
    stacked = torch.stack(list(regrets)) if regrets else torch.zeros(0, 3, p.runs)
    for i, (name, role) in enumerate(SCHEDULES):
        band = mean_and_band(stacked[:, i].T.tolist()) if seen else ([], [], [])
        mean, low, high = ([max(value, 1e-3) for value in part] for part in band)  # regret can be negative for a moment
        lines.append(Line(name, role, seen, mean, low, high))
    bound = [1.5 * diameter * steepest * mark**0.5 for mark in marks]
    lines.append(Line(Text("上界", "bound"), "theory", marks, bound))
    told = Text("还没有样本。", "No sample yet.")
    if seen:
        one, two, three = stacked[-1].mean(1).tolist()
        told = Text(
            f"前 {seen[-1]} 个样本的平均遗憾：∝ 1/√t 为 {one:.3g}，固定学习率 {two:.3g}，1/t 为 {three:.3g}；上界 {bound[len(seen) - 1]:,.0f}。",
            f"Mean regret over {seen[-1]} samples: {one:.3g} with rates ∝ 1/√t, {two:.3g} constant, {three:.3g} with 1/t; bound {bound[len(seen) - 1]:,.0f}.",
        )
    found = exponents(marks, stacked) if len(regrets) == len(marks) else [[0.0] * GROUPS] * 3
    return (
        LineChart(
            Text("累计遗憾", "Cumulative regret"), Axis(Text("样本 T（对数）", "Samples T (log)"), log=True, low=FIRST, high=p.steps),
            Axis(Text("遗憾（对数）", "Regret (log)"), log=True, low=0.3, high=10 ** math.ceil(math.log10(bound[-1]))), tuple(lines), told,
        ),
        BarChart(
            Text("遗憾 ∝ T 的几次方", "Regret grows as T to the power"), tuple(name for name, _ in SCHEDULES), Axis(Text("指数", "Exponent"), low=0, high=1.2),
            (
                Bars(Text("实测", "measured"), "first", [max(0.0, mean_and_spread(row)[0]) for row in found], [mean_and_spread(row)[1] or 0.0 for row in found]),
                Bars(Text("理论（T → ∞）", "theory (T → ∞)"), "baseline", [0.5, 0.5, 0.5] if p.world == "coin" else [0.5, 1, 0]),
            ),
            Text("双对数图上的斜率，从 T/16 量到 T。", "Slopes in the log–log chart, measured from T/16 to T."),
        ),
    )  # fmt: skip


def exponents(marks: Sequence[int], regrets: Tensor) -> list[list[float]]:
    """For each schedule and each of GROUPS groups of runs the slope of log mean regret over log T, from T/16 on; regrets (marks, 3, S)."""
    late = [i for i, mark in enumerate(marks) if mark * 16 >= marks[-1]]
    x = torch.tensor([math.log(marks[i]) for i in late], dtype=torch.float64)
    y = regrets[late].unflatten(2, (GROUPS, -1)).mean(3).clamp_min(1e-6).log()  # (late, 3, groups)
    x = (x - x.mean()) / (x - x.mean()).square().sum()
    slopes: list[list[float]] = torch.einsum("t,tkg->kg", x, y).tolist()
    return slopes


def _run_regret(p: Online, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    marks = sorted({round(mark) for mark in log_spaced(FIRST, p.steps, LOOKS)})
    regrets: list[Tensor] = []
    yield Snapshot(0, Text("就绪", "Ready"), _regret_charts(p, marks, regrets))
    stream = draw(p, 0.0, generator)
    yield Snapshot(0, Text("抽样本", "drawing samples"), _regret_charts(p, marks, regrets))
    signs = 1.0 - 2 * torch.randint(2, (p.steps, p.runs, 1), generator=generator)
    diameter, steepest = bounds(p)
    w, losses = torch.zeros(3, p.runs, SIZE, dtype=torch.float64), torch.zeros(3, p.runs, dtype=torch.float64)
    sums = torch.zeros(p.runs, 6, dtype=torch.float64)
    pace, coin, rates = Pace(), p.world == "coin", torch.empty(3, 1, 1, dtype=torch.float64)
    for t in range(1, p.steps + 1):
        x, y = stream.x[t - 1], stream.y[t - 1, :, None]
        if coin:
            gradient = (signs[t - 1] * x).expand_as(w)
            losses += (gradient * w).sum(2)
            sums[:, :2] += gradient[0]
        else:
            gap = (w * x).sum(2) - y[:, 0]
            losses += gap.square() / 2
            gradient = gap[..., None] * x
            sums += torch.cat([x[:, :1] * x, x[:, 1:] ** 2, x * y, y * y], 1)
        rates[0], rates[1], rates[2] = diameter / (steepest * t**0.5), p.rate, 1 / t
        w = w - rates * gradient
        w = w * (RADIUS / w.norm(dim=2, keepdim=True).clamp_min(RADIUS))  # back into the ball
        if t == marks[len(regrets)]:
            regrets.append(losses - least_loss(p, sums))
        if pace.due(t / p.steps):
            yield Snapshot(0.99 * t / p.steps, Text(f"第 {t}/{p.steps} 个样本", f"sample {t}/{p.steps}"), _regret_charts(p, marks, regrets))
    stacked = torch.stack(regrets)
    limits = 1.5 * diameter * steepest * torch.tensor(marks, dtype=torch.float64).sqrt()
    share = float((stacked[:, 0] / limits[:, None]).max())
    figures, outcome = result_regret(p, exponents(marks, stacked), share)
    yield Snapshot(1, Text("完成", "Done"), _regret_charts(p, marks, regrets), figures, outcome)


def judge_regret(slopes: Sequence[Sequence[float]], share: float) -> tuple[Status, str]:
    """`slopes`: exponents by schedule and group of runs; `share`: the largest regret as a share of the bound, over all runs and moments.

    Reproduced: the bound holds throughout, and the interval of the exponent for rates ∝ 1/√t lies within NEAR of ½. Same direction: the bound holds, and the exponent is
    below ½ + NEAR. Otherwise not at this scale.
    """
    mean, low, high = interval(slopes[0])
    growth = 16**mean
    answer = "hardly" if growth < 2.2 else "root" if growth < 8 else "linear"
    if share > 1 or high > 0.5 + NEAR:
        return "not_at_this_scale", answer
    return "reproduced" if low >= 0.5 - NEAR else "same_direction", answer


def result_regret(p: Online, slopes: Sequence[Sequence[float]], share: float) -> tuple[tuple[Figure, ...], Outcome]:
    status, answer = judge_regret(slopes, share)
    figures = [Figure(Text(f"遗憾的指数（学习率：{name.zh}）", f"Exponent of regret (rate: {name.en})"), *mean_and_spread(row)) for (name, _), row in zip(SCHEDULES, slopes, strict=True)]  # fmt: skip
    figures.append(Figure(Text("最大遗憾占上界的比例", "Largest regret as a share of the bound"), 100 * share, None, "%"))
    published = Text(
        "凸损失、η = D/(G√t)：遗憾 ≤ 3/2·GD√T，指数至多 ½；最坏情形下任何算法都至少是 √T 量级，指数 ½",
        "convex losses and η = D/(G√t): regret ≤ 3/2·GD√T, an exponent of ½ at most; in the worst case no algorithm does better than order √T, so it is ½",
    )
    root, constant, inverse = (figure.value for figure in figures[:3])
    return tuple(figures), Outcome(Verdict(status, figures[0], published, HAZAN, _told_regret(p, root, constant, inverse, share)), answer)


# fmt: off
def _told_regret(p: Online, root: float, constant: float, inverse: float, share: float) -> Text:
    held = Text(
        f"学习率 ∝ 1/√t 时遗憾按 T 的 {root:.2g} 次方增长，所有数据流、所有时刻里，最多达到上界的 {100 * share:.2g}%。",
        f"With rates ∝ 1/√t regret grows as T to the power {root:.2g}, and over all streams and moments it reaches {100 * share:.2g} % of the bound at most. ",
    )
    if share > 1:
        held = Text("有的数据流越过了上界，这不该发生。", "On some stream regret passed the bound, which should not happen. ")
    if p.world == "coin":
        more = Text(
            f"硬币谁也预测不了，学习者的期望损失总是 0，遗憾全部来自事后最优方向赚到的 √T：固定学习率的指数是 {constant:.2g}，1/t 是 {inverse:.2g}，换什么算法都一样，所以 √T 无法改进。",
            f"Nobody can predict a coin: whatever the learner does, its expected loss is 0, and all regret is the √T that the best direction gains in hindsight. The exponents are {constant:.2g} for a "
            f"constant rate and {inverse:.2g} for 1/t: no algorithm changes that, so √T cannot be improved.",
        )
        return held + more
    if p.noise == 0:
        more = Text(
            "没有标签噪声，学会之后损失就是 0，遗憾不再增长：比定理针对的最坏情形容易得多。",
            "Without noise in the labels the loss is 0 once the target is learnt, and regret stops growing: far easier than the worst case of the theorem.",
        )
    else:
        more = Text(
            f"噪声让每步的超额损失与当时的学习率成正比，所以 Σ1/√t 给出 √T，固定学习率趋向线性（这里 {constant:.2g} 次方），1/t 只有对数增长（{inverse:.2g} 次方）：平方损失平均来看是强凸的，最坏情形的 ½ 可以改进。"
            + ("T 有限，开头那段损失还占一份，指数因此略低。" if root < 0.5 else ""),
            f"Noise costs each step in proportion to its rate, so the sum of 1/√t gives √T, a constant rate tends to linear growth (here a power of {constant:.2g}), and 1/t to a logarithm ({inverse:.2g}): "
            "squared loss is strongly convex on average, where the ½ of the worst case can be improved." + (" At finite T the first losses still count, which lowers the exponents a little." if root < 0.5 else ""),
        )
    return held + more
# fmt: on


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Online) -> Prediction:
    if p.task == "regret":
        return Prediction(
            Text(
                f"学习率 ∝ 1/√t。样本数从 {p.steps // 16} 增加到 {p.steps}（16 倍），累计遗憾变成原来的几倍？",
                f"Rates ∝ 1/√t. From {p.steps // 16} samples to {p.steps}, 16 times as many: how many times larger does the cumulative regret become?",
            ),
            {
                "hardly": Text("不到 2.2 倍", "less than 2.2 times"),
                "root": Text("4 倍左右（2.2–8 倍）", "about 4 times (2.2 to 8)"),
                "linear": Text("16 倍左右（8 倍以上）", "about 16 times (over 8)"),
            },
        )
    return Prediction(
        Text(
            f"每步漂移 q = {p.drift:g}，标签噪声 σ = {p.noise:g}，在线 SGD 的 η = {p.rate:g}。每来一个样本就用全部旧样本重新拟合，后一半的误差与在线 SGD 相比？",
            f"Drift q = {p.drift:g} per step, label noise σ = {p.noise:g}, online SGD at η = {p.rate:g}. How does the late error of refitting on all samples so far compare with online SGD's?",
        ),
        {
            "less": Text("不到一半", "less than half of it"),
            "alike": Text("相差不到 2 倍", "within a factor of 2"),
            "more": Text("2–10 倍", "2 to 10 times"),
            "far-more": Text("10 倍以上", "over 10 times"),
        },
    )


def run(p: Online, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from {"stream": _run_stream, "regret": _run_regret}[p.task](p, device, generator)


_STREAM_CODE = """\
import torch

torch.set_num_threads(1)  # vectors as small as these gain nothing from more
torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
DRIFT, NOISE, RATE, STEPS, WINDOW = {drift:g}, {noise:g}, {rate:g}, {steps}, {window}
truth = torch.tensor([1.0, 0.0])
online = torch.zeros(2, requires_grad=True)
optimizer = torch.optim.SGD([online], lr=RATE)
errors = {{"online SGD": 0.0, "refit on all": 0.0, "refit on the window": 0.0}}
xs, ys = torch.zeros(STEPS, 2), torch.zeros(STEPS)

for t in range(STEPS):
    x = torch.randn(2)
    x = 2**0.5 * x / x.norm()
    y = x @ truth + NOISE * 3**0.5 * (2 * torch.rand(()) - 1)
    if t >= STEPS // 2:  # predict first, then learn
        fits = {{"online SGD": online.detach()}}
        for name, first in (("refit on all", 0), ("refit on the window", max(0, t - WINDOW))):
            a, b = xs[first:t], ys[first:t]
            fits[name] = torch.linalg.solve(a.T @ a + 1e-6 * torch.eye(2), a.T @ b)
        for name, w in fits.items():
            errors[name] += (w - truth).square().sum().item() / (STEPS - STEPS // 2)
    loss = (y - x @ online).square() / 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    xs[t], ys[t] = x, y
    truth = truth + DRIFT * torch.randn(2)

for name, error in errors.items():
    print(f"{{name:20}} mean |w - truth|^2 over the second half: {{error:.4g}}")
if RATE < 1:
    print(f"theory for online SGD in the long run: {{(RATE * NOISE**2 + DRIFT**2 / RATE) / (1 - RATE):.4g}}")
"""
_REGRET_CODE = """\
import math

import torch

torch.set_num_threads(1)  # vectors as small as these gain nothing from more
torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
NOISE, RATE, STEPS, RUNS, RADIUS, COIN = {noise:g}, {rate:g}, {steps}, {runs}, {radius:g}, {coin}
D, G = 2 * RADIUS, 2**0.5 if COIN else 2**0.5 * (2**0.5 * (RADIUS + 1) + 3**0.5 * NOISE)
angle = 2 * math.pi * torch.rand(STEPS, RUNS)
x = 2**0.5 * torch.stack([angle.cos(), angle.sin()], 2)
y = x[..., 0] + NOISE * 3**0.5 * (2 * torch.rand(STEPS, RUNS) - 1)  # the true weights are (1, 0)
signs = 1.0 - 2 * torch.randint(2, (STEPS, RUNS, 1))

for name, rate in (("D/(G sqrt t)", lambda t: D / (G * t**0.5)), ("constant", lambda t: RATE), ("1/t", lambda t: 1 / t)):
    w, loss, regrets = torch.zeros(RUNS, 2), torch.zeros(RUNS), []
    for t in range(1, STEPS + 1):
        if COIN:
            gradient = signs[t - 1] * x[t - 1]
            loss += (gradient * w).sum(1)
        else:
            gap = (w * x[t - 1]).sum(1) - y[t - 1]
            gradient = gap[:, None] * x[t - 1]
            loss += gap.square() / 2
        w = w - rate(t) * gradient
        w = w * (RADIUS / w.norm(dim=1, keepdim=True).clamp_min(RADIUS))  # back into the ball
        if t in (STEPS // 16, STEPS):
            if COIN:
                best = -RADIUS * (signs[:t] * x[:t]).sum(0).norm(dim=1)
            else:
                a, b = x[:t].transpose(0, 1), y[:t].T[..., None]
                fit = torch.linalg.solve(a.transpose(1, 2) @ a, a.transpose(1, 2) @ b)
                best = ((b - a @ fit) ** 2).sum((1, 2)) / 2
            regrets.append((loss - best).mean().item())
    power = math.log(regrets[1] / regrets[0]) / math.log(STEPS / (STEPS // 16)) if min(regrets) > 0 else math.nan
    print(f"rate {{name:13}} regret {{regrets[0]:8.3g}} -> {{regrets[1]:8.3g}}, grows as T^{{power:.2f}}; bound for D/(G sqrt t): {{1.5 * D * G * STEPS**0.5:.4g}}")
"""


def code(p: Online) -> str:
    if p.task == "regret":
        return _REGRET_CODE.format(**{**p.values(), "runs": min(p.runs, 64)}, radius=RADIUS, coin=p.world == "coin")
    return _STREAM_CODE.format(**p.values())


DEMO = Demo(
    topic="optimization",
    title=Text("在线学习：来一个样本走一步", "Online learning: a step for each sample"),
    question=Text("样本一个个到来、目标还在漂移时，为什么用 SGD？", "Samples arrive one by one and the target drifts: why SGD?"),
    look_for=Text(
        "看权重平面上谁紧跟在真权重后面、谁落在别处，再看滑动误差差几倍。误差与学习率的图里，看谷底在哪里，往两边各升得多快。",
        "See in the plane of the weights who stays close to the true ones and who does not, and by what factor the rolling errors differ. In the chart of the error against the rate, see where the valley lies and how fast the error rises on either side.",
    ),
    scaled_down=Text(
        "只有两个权重、平方损失和随机游走的漂移，这样期望误差有精确公式；真实系统里漂移的快慢未知，也会变。",
        "Two weights, squared loss and a random walk, for which the expected error is known exactly; in a real system the speed of drift is unknown and changes.",
    ),
    parameters=Online,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=1,
)
