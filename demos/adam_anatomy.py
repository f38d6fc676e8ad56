"""Adam taken apart (1.12): every step in units of the learning rate, written by hand and held against PyTorch's own.

`_Adam` is the whole optimiser. *Valley*: a bowl with a steep and a flat direction, where SGD's steps are as unequal as the gradients and Adam's are not. *Silence*: a
gradient that stays 0 for thousands of steps and then comes back, which is where Adam's steps are longest. There are only a few dozen numbers, so they are
float64 on the CPU whatever the device: that is what lets the formulas be held to 1e-9.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from demos.core.charts import Axis, Chart, Grid, Line, LineChart, PlaneChart, Role
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.pace import Pace
from demos.core.parameters import Parameters, flag, integer, mode_choice, real
from demos.core.stacked import diverged_as_infinite
from demos.core.statistics import interval, log_spaced, mean_and_spread, ratio_interval, thinned
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

SGD_RATE = 0.5  # fits the valley as long as the loss is not rescaled
EXACT = 1e-6  # how far a first step may lie from its formula, and Adam by hand from torch's, both in learning rates
CLOSE = 0.01  # steps that differ by less are "equal"
DECADES = tuple(range(-12, 7))  # powers of ten tried as the size of the first gradient
WINDOW = 60  # steps shown after a silence
NOISE = 0.1  # relative spread of the gradients in a burst


@dataclass(frozen=True)
class Anatomy(Parameters):
    task: str = mode_choice(
        "valley", {"valley": Text("山谷", "valley"), "silence": Text("沉默之后", "after a silence")},
        label=Text("实验", "Experiment"), help=Text("看头几步，还是看梯度消失很久之后。", "The first steps, or what comes after a long silence."),
    )  # fmt: skip
    scale: float = real(
        1.0, 1e-12, 1e12, log=True, label=Text("损失乘以 c", "Loss times c"), modes=("valley",),
        help=Text("整个损失（因而梯度）放大的倍数；学习率不变。", "Multiplies the loss, and so every gradient; the rates stay."),
    )  # fmt: skip
    beta1: float = real(
        0.9, 0, 0.999, label=same("β₁"), help=Text("梯度滑动平均的保留比例。", "Share of the mean of gradients that is kept at each step.")
    )
    beta2: float = real(
        0.999, 0, 0.99999, step=0.001, label=same("β₂"),
        help=Text("梯度平方滑动平均的保留比例。", "Share of the mean of squared gradients that is kept at each step."),
    )  # fmt: skip
    epsilon: float = real(
        1e-8, 1e-16, 1e3, log=True, label=same("ε"), help=Text("加在分母上的常数。", "The constant added to the denominator.")
    )
    correction: bool = flag(
        True,
        label=Text("偏差修正", "Bias correction"),
        modes=("valley",),
        help=Text("除以 1−βᵗ；PyTorch 总是做。", "Divide by 1−βᵗ; PyTorch always does."),
    )
    silence: int = integer(
        5000, 10, 10000, step=10, label=Text("最长的沉默（步）", "Longest silence (steps)"), modes=("silence",),
        help=Text("梯度连续为 0 多少步。", "For how many steps the gradient is 0."),
    )  # fmt: skip
    burst: int = integer(
        12, 1, 50, label=Text("连来几个梯度", "Gradients in a row"), modes=("silence",),
        help=Text("沉默之后接连出现几个同号的梯度，然后又归零。", "How many gradients of one sign follow; then it is 0 again."),
    )  # fmt: skip
    rate: float = real(
        0.05, 1e-4, 1e4, log=True, advanced=True, label=Text("Adam 的学习率", "Adam's learning rate"), modes=("valley",),
        help=Text(f"SGD 的固定为 {SGD_RATE:g}。", f"SGD's is fixed at {SGD_RATE:g}."),
    )  # fmt: skip
    condition: float = real(
        100, 2, 1e6, log=True, advanced=True, label=Text("条件数 κ", "Condition number κ"), modes=("valley",),
        help=Text("陡、平两个方向的曲率之比。", "Steep over flat curvature."),
    )  # fmt: skip
    steps: int = integer(
        80, 20, 600, step=20, advanced=True, label=Text("步数", "Steps"), modes=("valley",), help=Text("走多少步。", "How many are taken.")
    )
    draws: int = integer(
        8,
        5,
        50,
        advanced=True,
        label=Text("重复次数", "Repetitions"),
        help=Text("随机的起点或梯度有几组。", "Random starts, or random gradients."),
    )


PRESETS = {
    "first-step": Preset(
        Text("第一步走多远", "The first step"),
        Text("陡方向的梯度大 100 倍：两个方向各走多远？", "The steep gradient is 100 times the flat one: how far does each go?"),
        {}, "textbook",
    ),
    "no-correction": Preset(
        Text("不做偏差修正", "No bias correction"),
        Text("m 和 v 都从 0 开始，不修正会怎样？", "m and v both start at 0: what if nothing corrects for that?"),
        {"correction": False, "rate": 0.01},
        look_for=Text(
            "看每个坐标的步长：Adam 头几步与学习率（纵轴上的 1）相比是长是短，往后怎么变。再看第一步与梯度大小：平的那一段停在多高，离 1 有多远。",
            "Look at the length of each coordinate's steps: are Adam's first ones longer or shorter than the learning rate (1 on the axis), and how do they change later? Then look at the first step against the gradient's size: how high is its flat part, and how far from 1?",
        ),
    ),
    "large-eps": Preset(
        Text("ε 很大", "A large ε"),
        Text("ε = 100 压过了所有梯度：Adam 还是 Adam 吗？", "ε = 100 outweighs every gradient: is it still Adam?"),
        {"epsilon": 100.0, "rate": 50.0}, "limits",
        look_for=Text(
            "看每个坐标的步长：Adam 陡、平两条线隔得有多开，与 SGD 的两条比一比。再看第一步与梯度大小：公式在哪里是斜的，在哪里变平；起点处的梯度（约 0.01 和 1）落在哪一段？",
            "Look at the length of each coordinate's steps: how far apart are Adam's steep and flat lines, and how far SGD's? Then look at the first step against the gradient's size: where does the formula slope, where is it flat, and in which part are the gradients at the start (about 0.01 and 1)?",
        ),
    ),
    "silence": Preset(
        Text("沉默之后", "After a silence"),
        Text("5000 步没有梯度，然后来一个，或连来 12 个。", "No gradient for 5,000 steps, then one, or twelve in a row."),
        {"task": "silence"}, "limits",
        look_for=Text(
            "看沉默之后连来 12 个梯度的步长：沉默越久线越亮，步长在第几个梯度处最长，与两条虚线（论文的界、严格的界）相比怎样。再看最长沉默之后的 m̂ 与 √v̂：两条线各走得多快？它们之比就是步长。",
            "Look at the steps on 12 gradients after a silence, the brighter the line the longer the silence: at which gradient is the step longest, and how does it compare with the two dashed bounds, the paper's and the proved one? Then look at m̂ and √v̂ after the longest silence: how fast does each move? Their ratio is the step.",
        ),
    ),
}  # fmt: skip

KINGMA = Source("Adam: A Method for Stochastic Optimization", "Diederik P. Kingma, Jimmy Ba", 2015, "https://arxiv.org/abs/1412.6980")


# ---- the optimiser, and what is known of its steps -------------------------------------------------------------------


class _Adam:
    """Algorithm 1 of Kingma & Ba (2015) for many coordinates at once, each for itself. `step` returns what is to be subtracted."""

    def __init__(self, p: Anatomy, like: Tensor, correction: bool = True) -> None:
        self.p, self.correction, self.t = p, correction, 0
        self.m = self.v = torch.zeros_like(like)
        self.m_hat = self.v_hat = self.m

    def step(self, g: Tensor, rate: float) -> Tensor:
        p, self.t = self.p, self.t + 1
        self.m = p.beta1 * self.m + (1 - p.beta1) * g  # mean of the gradients
        self.v = p.beta2 * self.v + (1 - p.beta2) * g * g  # mean of their squares
        self.m_hat, self.v_hat = self.m, self.v
        if self.correction:  # of the weights in each mean only 1−βᵗ has been given out so far
            self.m_hat, self.v_hat = self.m / (1 - p.beta1**self.t), self.v / (1 - p.beta2**self.t)
        return rate * self.m_hat / (self.v_hat.sqrt() + p.epsilon)


class _TorchAdam:
    """The function that torch.optim.Adam calls in its `step`. (The class itself would import the compiler: a second or more without a picture.)"""

    def __init__(self, p: Anatomy, w: Tensor) -> None:
        self.p, self.w, self.count = p, w.clone(), torch.zeros(())
        self.mean, self.square = torch.zeros_like(w), torch.zeros_like(w)
        self._adam = importlib.import_module("torch.optim.adam").adam

    def step(self, g: Tensor) -> None:
        settings = {"beta1": self.p.beta1, "beta2": self.p.beta2, "lr": self.p.rate, "eps": self.p.epsilon}
        state: tuple[list[Tensor], ...] = ([self.mean], [self.square], [], [self.count])  # the empty one would hold AMSGrad's maxima
        self._adam([self.w], [g], *state, amsgrad=False, maximize=False, weight_decay=0.0, **settings)


def _first(p: Anatomy, g: Tensor) -> Tensor:
    """Length of the first step ÷ lr: |g|/(|g| + ε), as m̂ = g and v̂ = g²; uncorrected they are (1−β₁)g and (1−β₂)g²."""
    m, root = (1.0, 1.0) if p.correction else (1 - p.beta1, (1 - p.beta2) ** 0.5)
    return m * g.abs() / (root * g.abs() + p.epsilon)


def _lone(p: Anatomy, silence: float) -> float:
    """Length ÷ lr of the step at a lone gradient after `silence` steps without one; (1−β₁)/√(1−β₂) in the end."""
    t = silence + 1
    return (1 - p.beta1) / float(1 - p.beta1**t) * math.sqrt((1 - p.beta2**t) / (1 - p.beta2))


def _paper_bound(p: Anatomy) -> float:
    """Upper bound ÷ lr that section 2.1 of the paper gives."""
    return max(1.0, (1 - p.beta1) / math.sqrt(1 - p.beta2))


def _true_bound(p: Anatomy) -> float:
    """Upper bound ÷ lr of any step in the long run, by Cauchy–Schwarz: with weights a of m and b of v, (Σag)² ≤ Σ(a²/b) · Σbg²."""
    if p.beta1**2 >= p.beta2 and p.beta1:
        return math.inf
    return (1 - p.beta1) / math.sqrt((1 - p.beta2) * (1 - p.beta1**2 / (p.beta2 or 1)))


# ---- the valley ------------------------------------------------------------------------------------------------------

LENGTHS = Axis(Text("步长 ÷ 学习率（对数）", "step ÷ learning rate (log)"), log=True, low=1e-4, high=30)
REACH = 1.25  # half the width of the plane
SGD_ROLE: Role = "baseline"
SGD_STEEP_ROLE: Role = "warning"
ADAM_ROLE: Role = "first"
STEEP_ROLE: Role = "second"


class _Walk(NamedTuple):
    """SGD and Adam from the same starts: weights (2, steps + 1, draws, 2), lengths of their steps ÷ rate (2, steps, draws, 2); coordinates flat, steep."""

    paths: Tensor
    lengths: Tensor
    from_torch: float  # largest distance of Adam by hand from torch's, on the same gradients, in learning rates


def _walk(p: Anatomy, generator: torch.Generator) -> _Walk:
    curvature = p.scale * torch.tensor([1 / p.condition, 1.0], dtype=torch.float64)
    signs = 1.0 - 2 * torch.randint(2, (p.draws, 2), generator=generator)
    start = signs * (0.7 + 0.4 * torch.rand(p.draws, 2, generator=generator, dtype=torch.float64))
    by_hand, torchs, gap = _Adam(p, start, p.correction), _TorchAdam(p, start), 0.0
    paths, lengths = [torch.stack([start, start])], []
    for _ in range(p.steps):
        gradients = curvature * paths[-1]
        step = torch.stack([SGD_RATE * gradients[0], by_hand.step(gradients[1], p.rate)])
        paths.append(paths[-1] - step)
        lengths.append(step.abs() / torch.tensor([SGD_RATE, p.rate])[:, None, None])
        torchs.step(gradients[1])
        gap = max(gap, float((torchs.w - paths[-1][1]).abs().max()) / p.rate)
    return _Walk(torch.stack(paths, 1), diverged_as_infinite(torch.stack(lengths, 1)), gap)


def _length_chart(p: Anatomy, walk: _Walk, step: int) -> LineChart:
    lines, now, chosen = [], [0.0], thinned(step)
    for i, (name, flat, steep) in enumerate((("SGD", SGD_ROLE, SGD_STEEP_ROLE), ("Adam", ADAM_ROLE, STEEP_ROLE))):
        for j, (way, role) in enumerate(((Text("平", "flat"), flat), (Text("陡", "steep"), steep))):
            values = walk.lengths[i, :step, :, j].mean(1).tolist()
            now.append(values[-1] if step else 0.0)
            lines.append(
                Line(
                    Text(f"{name} {way.zh}", f"{name} {way.en}"),
                    role,
                    [k + 1 for k in chosen],
                    [max(values[k], LENGTHS.low or 0) for k in chosen],
                )
            )
    told = Text(
        f"第 {step} 步，平、陡两个方向的步长：SGD {now[1]:.2g} 和 {now[2]:.2g} 倍学习率，Adam {now[3]:.2g} 和 {now[4]:.2g} 倍。",
        f"Step {step}, flat and steep: {now[1]:.2g} and {now[2]:.2g} learning rates for SGD, {now[3]:.2g} and {now[4]:.2g} for Adam.",
    )
    x = Axis(Text("步数", "step"), low=1, high=p.steps)
    return LineChart(Text("每个坐标的步长", "Length of each coordinate's steps"), x, LENGTHS, tuple(lines), told)


def _path_chart(p: Anatomy, walk: _Walk, step: int) -> PlaneChart:
    cells = ((torch.arange(40) + 0.5) / 20 - 1) * REACH
    lines = []
    for name, role, path in (("SGD", SGD_ROLE, walk.paths[0, : step + 1, 0]), ("Adam", ADAM_ROLE, walk.paths[1, : step + 1, 0])):
        x, y = path[path.abs().amax(1) < 1e6].T.tolist()
        chosen = thinned(len(x), 120)
        lines.append(Line(same(name), role, [x[i] for i in chosen], [y[i] for i in chosen]))
    return PlaneChart(
        Text("走过的路（第一个起点）", "The way down (first start)"),
        Axis(Text("平的方向", "flat direction"), low=-REACH, high=REACH),
        Axis(Text("陡的方向", "steep direction"), low=-REACH, high=REACH),
        Text(f"前 {step} 步的路径；底色是损失的等高线。", f"The first {step} steps; the shading shows levels of the loss."),
        Grid(Text("损失 ÷ c", "loss ÷ c"), (cells[:, None] ** 2 + cells**2 / p.condition) / 2, low=1e-4, high=2, log=True, bands=10),
        lines=tuple(lines),
        equal=True,
    )


def _first_chart(p: Anatomy, sizes: Sequence[float], measured: Sequence[float]) -> LineChart:
    fine = log_spaced(10.0 ** DECADES[0], 10.0 ** DECADES[-1], 50)
    theory = _first(p, torch.tensor(fine, dtype=torch.float64)).tolist()
    law = same("|g|/(|g|+ε)") if p.correction else Text("公式", "formula")
    return LineChart(
        Text("第一步与梯度大小", "First step against the gradient's size"),
        Axis(Text("梯度 |g|（对数）", "gradient |g| (log)"), log=True, low=10.0 ** DECADES[0], high=10.0 ** DECADES[-1]),
        Axis(Text("第一步 ÷ 学习率（对数）", "first step ÷ learning rate (log)"), log=True, low=1e-6, high=100),
        (
            Line(same("SGD"), "baseline", fine, fine),
            Line(law, "theory", fine, theory),
            Line(same("Adam"), "first", sizes, measured, style="dots"),
        ),
        Text(
            f"梯度从 10⁻¹² 到 10⁶，Adam 的第一步在 {min(measured, default=0):.3g} 到 {max(measured, default=0):.3g} 倍学习率之间；SGD 与梯度成正比。",
            f"For gradients from 10⁻¹² to 10⁶ Adam's first step is {min(measured, default=0):.3g} to {max(measured, default=0):.3g} learning rates; SGD's is proportional to the gradient.",
        ),
    )


def _run_valley(p: Anatomy, generator: torch.Generator) -> Iterator[Snapshot]:
    walk = _walk(p, generator)
    sizes = torch.tensor(DECADES, dtype=torch.float64)[:, None] + torch.rand(
        len(DECADES), p.draws, generator=generator, dtype=torch.float64
    )
    sizes = (10**sizes).clamp_max(10.0 ** DECADES[-1])
    measured = _Adam(p, sizes, p.correction).step(sizes, 1.0)
    off_formula = float((measured / _first(p, sizes) - 1).abs().max())

    def charts(step: int, decades: int) -> tuple[Chart, ...]:
        shown = [values[:decades, 0].tolist() for values in (sizes, measured)]
        return _length_chart(p, walk, step), _first_chart(p, *shown), _path_chart(p, walk, step)

    yield Snapshot(0, Text("就绪", "Ready"), charts(0, 0))
    pace = Pace()
    for step in range(1, p.steps + 1):
        if pace.due(step / p.steps):
            status = Text(f"第 {step}/{p.steps} 步", f"Step {step}/{p.steps}")
            yield Snapshot(0.99 * step / p.steps, status, charts(step, round(len(DECADES) * step / p.steps)))
    figures, outcome = _judge_valley(p, walk, off_formula)
    yield Snapshot(1, Text("完成", "Done"), charts(p.steps, len(DECADES)), figures, outcome)


def _judge_valley(p: Anatomy, walk: _Walk, off_formula: float) -> tuple[tuple[Figure, ...], Outcome]:
    """The first step in learning rates, mean over draws and both coordinates.

    Reproduced: every first step is within 1 % of the learning rate, follows its formula over 18 decades to 1e-6, and Adam by hand is torch's to 1e-6 of a
    learning rate. Same direction: the formula holds and steep and flat agree to 1 %, though not on one learning rate. Otherwise not at this scale.
    """
    gradients, first = walk.lengths[:, 0]
    exact = off_formula <= EXACT and (walk.from_torch <= EXACT or not p.correction)
    ratios = (first[:, 1] / first[:, 0]).tolist()
    status: Status = "not_at_this_scale"
    if exact and max(abs(ratio - 1) for ratio in ratios) <= CLOSE:
        status = "reproduced" if float((first - 1).abs().max()) <= CLOSE else "same_direction"
    ratio, gradient_ratio = (ratio_interval(values)[0] for values in (ratios, (gradients[:, 1] / gradients[:, 0]).tolist()))
    largest = mean_and_spread(walk.lengths[1].amax((0, 2)).tolist())
    gap = Text("手写与 torch 的最大差距", "By hand against torch: largest gap")
    if not p.correction:
        gap = Text("手写（不修正）与 torch（总是修正）的最大差距", "By hand (not corrected) against torch (always corrected): largest gap")
    figures = (
        Figure(Text("Adam 的第一步", "Adam's first step"), *mean_and_spread(first.mean(1).tolist()), Text("倍学习率", "learning rates")),
        Figure(Text("第一步，陡 ÷ 平：Adam", "First step, steep ÷ flat: Adam"), ratio, unit="×"),
        Figure(Text("第一步，陡 ÷ 平：SGD", "First step, steep ÷ flat: SGD"), gradient_ratio, unit="×"),
        Figure(Text("Adam 最长的一步", "Adam's longest step"), *largest, Text("倍学习率", "learning rates")),
        Figure(Text("第一步与公式的最大相对偏差", "First step: largest relative deviation from the formula"), off_formula),
        Figure(gap, walk.from_torch, unit=Text("倍学习率", "learning rates")),
    )
    published = Text(
        "第 2.1 节：步长约等于学习率；梯度乘以 c 时被 c·m̂/√(c²·v̂) 约掉（取 ε = 0）",
        "section 2.1: a step is about the learning rate, and a factor c on the gradient cancels in c·m̂/√(c²·v̂) (for ε = 0)",
    )
    explanation = _explain_valley(p, status, figures, exact)
    answer = "equal" if ratio < 1.1 else "gradients" if ratio > gradient_ratio / 1.1 else "between"
    return figures, Outcome(Verdict(status, figures[0], published, KINGMA, explanation), answer)


def _explain_valley(p: Anatomy, status: Status, figures: Sequence[Figure], exact: bool) -> Text:
    first, ratio, gradients, longest, _, gap = (figure.value for figure in figures)
    told = Text(
        f"陡、平两个方向的梯度之比是 {gradients:.3g}，Adam 第一步之比是 {ratio:.3g}，平均走了 {first:.3g} 倍学习率。",
        f"The ratio of steep to flat is {gradients:.3g} for the gradients and {ratio:.3g} for Adam's first steps, which are {first:.3g} learning rates long on average. ",
    )
    law = "|g|/(|g|+ε)" if p.correction else "(1−β₁)|g|/(√(1−β₂)|g|+ε)"
    early = (1 - p.beta1) / math.sqrt(1 - p.beta2)
    if not exact:
        why = Text("这次计算偏离了公式，不下结论。", "This run strays from the formula, so nothing is concluded.")
    elif status == "not_at_this_scale":
        why = Text(
            f"论文的说法取 ε = 0。这里 ε = {p.epsilon:g} 与梯度相比不可忽略，第一步是 lr·{law}：ε 远大于梯度时，Adam 就成了学习率为 lr/ε = {p.rate / p.epsilon:.3g} 的（带动量的）SGD，"
            "尺度不再被约掉。与论文不符正在意料之中，测得的点仍与公式吻合。",
            f"The paper's statement takes ε = 0. Here ε = {p.epsilon:g} is not negligible beside the gradients, and the first step is lr·{law}: where ε outweighs the gradient, Adam is SGD "
            f"(with momentum) at the rate lr/ε = {p.rate / p.epsilon:.3g}, and scale no longer cancels. So the paper's statement was not to be expected here; the dots still follow the formula.",
        )
    elif not p.correction:
        more = early > 1
        why = Text(
            f"尺度照样被约掉，但头几步不对：m 只有 (1−β₁)g，v 只有 (1−β₂)g²，所以第一步是 (1−β₁)/√(1−β₂) = {early:.3g} 倍学习率，最长的一步 {longest:.3g} 倍。"
            f"{'√v 比 m 偏得更厉害，步子偏大' if more else 'm 比 √v 偏得更厉害，步子偏小'}。",
            f"Scale still cancels, but the first steps are off: m holds only (1−β₁)g and v only (1−β₂)g², so the first step is (1−β₁)/√(1−β₂) = {early:.3g} learning rates, and the longest "
            f"{longest:.3g}: {'√v is biased more than m, and steps are too long' if more else 'm is biased more than √v, and steps are too short'}.",
        )
    else:
        why = Text(
            f"第一步 m̂ = g、v̂ = g²，步长就是 lr·|g|/(|g|+ε)：梯度跨 18 个数量级都与公式吻合，只有 |g| 接近 ε = {p.epsilon:g} 时才变短。"
            f"所以损失乘以常数不改变 Adam 的路径，对 SGD 却等于换了学习率。手写的 Adam 与 torch 的差距不超过 {max(gap, 1e-16):.1g} 倍学习率。",
            f"In the first step m̂ = g and v̂ = g², so its length is lr·|g|/(|g|+ε). Measured over 18 decades of gradients this holds, and only where |g| comes near ε = {p.epsilon:g} is the step shorter. "
            f"So multiplying the loss by a constant leaves Adam's path as it is, while for SGD it amounts to another learning rate. Adam by hand and torch's differ by {max(gap, 1e-16):.1g} learning rates at most.",
        )
    return told + why


# ---- after a silence -------------------------------------------------------------------------------------------------


def _silences(p: Anatomy) -> list[int]:
    """Lengths of silence, from none to the longest."""
    return [0, *sorted({round(length) for length in log_spaced(10, p.silence, 6)})]


def _streams(p: Anatomy, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """When each lane's gradients begin (lanes,) and what they are (50, lanes): lanes = (burst, lone) × silences × draws.

    The size of a lane's gradients is anything from 1e-4 to 1e4; those in a burst vary by 10 %.
    """
    lengths = _silences(p)
    size = 10 ** (8 * torch.rand(1, 1, 1, p.draws, generator=generator, dtype=torch.float64) - 4)
    noise = (NOISE * torch.randn(p.burst, 1, 1, p.draws, generator=generator, dtype=torch.float64)).exp()
    gradients = (size * noise).expand(p.burst, 2, len(lengths), p.draws).clone()
    gradients[1:, 1] = 0
    begin = torch.tensor(lengths)[None, :, None].expand(2, -1, p.draws)
    return begin.reshape(-1), gradients.reshape(p.burst, -1)


def _gradient_at(step: int, begin: Tensor, gradients: Tensor) -> Tensor:
    """The gradient (lanes,) at a step counted from 0."""
    since = step - begin
    found = gradients.gather(0, since.clamp(0, len(gradients) - 1)[None])[0]
    return found.where((since >= 0) & (since < len(gradients)), 0.0)


def _burst_chart(p: Anatomy, lengths: Sequence[int], curves: Sequence[Sequence[float]]) -> LineChart:
    bounds = ((Text("论文的界", "paper"), _paper_bound(p)), (Text("严格的界", "proved"), _true_bound(p)))
    lines = [Line(name, "theory", [1, WINDOW], [value, value]) for name, value in bounds if math.isfinite(value)]
    for i, (length, curve) in enumerate(zip(lengths, curves, strict=False)):
        lines.append(Line(same(f"{length}"), "second", range(1, len(curve) + 1), curve, shade=i / (len(lengths) - 1)))
    told = [str(length) for length in lengths]
    longest = max((max(curve, default=0.0) for curve in curves), default=0.0)
    return LineChart(
        Text(f"沉默之后连来 {p.burst} 个梯度的步长", f"Steps on {p.burst} gradients after a silence"),
        Axis(Text("沉默结束后的步数", "step after the silence"), low=1, high=WINDOW),
        Axis(
            Text("步长 ÷ 学习率", "step ÷ learning rate"),
            low=0,
            high=1.15 * min(100.0, max(bounds[0][1], 2 if math.isinf(bounds[1][1]) else bounds[1][1])),
        ),
        tuple(lines),
        Text(
            f"每条线是一种沉默长度，颜色越亮沉默越久：{'、'.join(told)} 步。最长的一步是 {longest:.3g} 倍学习率。",
            f"One line for each length of silence, the brighter the longer: {', '.join(told)} steps. The longest step is {longest:.3g} learning rates.",
        ),
    )


def _silence_chart(p: Anatomy, lengths: Sequence[int], lone: Sequence[float], burst: Sequence[float]) -> LineChart:
    fine = log_spaced(1, p.silence, 40)
    lines = (
        Line(Text("单个：公式", "one: formula"), "theory", fine, [_lone(p, length - 1) for length in fine]),
        Line(Text("单个", "one"), "first", [length + 1 for length in lengths[: len(lone)]], lone, style="dots"),
        Line(
            Text(f"连来 {p.burst} 个", f"{p.burst} in a row"),
            "second",
            [length + 1 for length in lengths[: len(burst)]],
            burst,
            style="dots+line",
        ),
    )
    return LineChart(
        Text("最长的一步与沉默的长度", "Longest step against the silence"),
        Axis(Text("沉默的步数 + 1（对数）", "silent steps + 1 (log)"), log=True, low=1, high=p.silence + 1),
        Axis(Text("最长的一步 ÷ 学习率", "longest step ÷ learning rate"), low=0),
        lines,
        Text(
            "沉默不长时单个梯度走不到一个学习率；沉默够久就走得更远，直到饱和。",
            "After a short silence a lone gradient makes a step of less than a learning rate, after a long one a longer step, up to a limit.",
        ),
    )


def _anatomy_chart(mean: Sequence[float], root: Sequence[float]) -> LineChart:
    x = range(1, len(mean) + 1)
    return LineChart(
        Text("最长沉默之后的 m̂ 与 √v̂", "m̂ and √v̂ after the longest silence"),
        Axis(Text("沉默结束后的步数", "step after the silence"), low=1, high=WINDOW),
        Axis(Text("÷ 梯度的大小（对数）", "÷ size of the gradients (log)"), log=True, low=1e-4, high=2),
        (Line(same("|m̂|"), "third", x, mean), Line(same("√v̂"), "fourth", x, root)),
        Text(
            "m̂ 很快追上梯度，√v̂ 慢得多；两者之比就是步长。", "m̂ soon catches up with the gradient, √v̂ much later; their ratio is the step."
        ),
    )


def _run_silence(p: Anatomy, generator: torch.Generator) -> Iterator[Snapshot]:
    lengths, (begin, gradients) = _silences(p), _streams(p, generator)
    steps = lengths[-1] + WINDOW
    taken = torch.zeros(steps, len(begin), dtype=torch.float64)  # lengths of steps ÷ lr
    moments: list[tuple[float, float]] = []  # m̂ and √v̂ of the last lane of bursts, after the longest silence
    adam, pace = _Adam(p, taken[0]), Pace()
    last = len(begin) // 2 - 1

    def lane(kind: int, i: int, until: int) -> Tensor:
        """The steps (window, draws) after silence i."""
        return taken[lengths[i] : min(until, lengths[i] + WINDOW)].view(-1, 2, len(lengths), p.draws)[:, kind, i]

    def charts(until: int) -> tuple[Chart, ...]:
        started = [i for i, length in enumerate(lengths) if length < until]
        curves = [lane(0, i, until).mean(1).tolist() for i in started]
        lone = [float(lane(1, i, until)[0].mean()) for i in started]
        burst = [float(lane(0, i, until).amax(0).mean()) for i in started]
        size = float(gradients[0, last])
        shown = [[pair[i] / size for pair in moments] for i in (0, 1)]
        return _burst_chart(p, lengths, curves), _silence_chart(p, lengths, lone, burst), _anatomy_chart(*shown)

    yield Snapshot(0, Text("就绪", "Ready"), charts(0))
    for step in range(steps):
        taken[step] = adam.step(_gradient_at(step, begin, gradients), 1.0).abs()
        if step >= lengths[-1]:
            moments.append((abs(float(adam.m_hat[last])), float(adam.v_hat[last]) ** 0.5))
        share = (step + 1) / steps
        if pace.due(share) or (step % 4 == 0 and (step < WINDOW or step >= lengths[-1])):  # in the windows something happens
            yield Snapshot(0.99 * share, Text(f"第 {step + 1}/{steps} 步", f"Step {step + 1}/{steps}"), charts(step + 1))
    longest = len(lengths) - 1
    figures, outcome = _judge_silence(p, lane(1, longest, steps)[0].tolist(), lane(0, longest, steps).amax(0).tolist())
    yield Snapshot(1, Text("完成", "Done"), charts(steps), figures, outcome)


def _judge_silence(p: Anatomy, lone: Sequence[float], burst: Sequence[float]) -> tuple[tuple[Figure, ...], Outcome]:
    """The step at a lone gradient after the longest silence, in learning rates, for each draw; `burst` holds the longest step of a burst.

    Reproduced: no lone step is beyond the paper's bound, and they come within 10 % of (1−β₁)/√(1−β₂). Same direction: within the bound, and above one
    learning rate. Otherwise not at this scale.
    """
    mean, low, high = interval(lone)
    limit, bound = (1 - p.beta1) / (1 - p.beta2) ** 0.5, _paper_bound(p)
    status: Status = "not_at_this_scale"
    if max(lone) <= bound * (1 + EXACT):
        status = "reproduced" if low >= 0.9 * limit else "same_direction" if low > 1 else "not_at_this_scale"
    unit = Text("倍学习率", "learning rates")
    figures = (
        Figure(Text("单个梯度的一步", "Step at a lone gradient"), mean, (high - low) / 2, unit),
        Figure(Text(f"连来 {p.burst} 个：最长的一步", f"{p.burst} in a row: longest step"), *mean_and_spread(burst), unit),
        Figure(Text("论文给出的上界", "The paper's upper bound"), bound, unit=unit),
        Figure(Text("柯西–施瓦茨上界", "Upper bound by Cauchy–Schwarz"), _true_bound(p), unit=unit),
    )
    published = Text(
        f"第 2.1 节：梯度一直为 0、只在当前一步不为 0 时最稀疏，步长不超过 lr·(1−β₁)/√(1−β₂) = {limit:.3g} 倍学习率",
        f"section 2.1: in the sparsest case, a gradient that was 0 at all steps but the current one, a step is at most lr·(1−β₁)/√(1−β₂) = {limit:.3g} learning rates",
    )
    longest = figures[1].value
    answer = "one" if longest <= 1.05 else "two" if longest <= 2 else "bound" if longest <= max(2.0, bound) else "beyond"
    return figures, Outcome(Verdict(status, figures[0], published, KINGMA, _explain_silence(p, mean, longest)), answer)


def _explain_silence(p: Anatomy, lone: float, longest: float) -> Text:
    bound, expected, memories = _true_bound(p), _lone(p, p.silence), [f"{1 / (1 - beta):,.0f}" for beta in (p.beta1, p.beta2)]
    said = [
        (
            f"{p.silence} 步没有梯度之后，单个梯度走 {lone:.3g} 倍学习率（不计 ε 的公式给出 {expected:.3g}，与梯度大小无关）：m̂ 只含它的 {1 - p.beta1:.2g}，v̂ 只含它平方的约 {1 - p.beta2:.2g}。",
            f"After {p.silence} steps without a gradient, a lone one makes a step of {lone:.3g} learning rates (the formula, without ε, says {expected:.3g} for any size of gradient): "
            f"m̂ holds {1 - p.beta1:.2g} of it, v̂ about {1 - p.beta2:.2g} of its square. ",
        )
    ]
    if math.isinf(bound):
        said.append(
            ("β₁² ≥ β₂：v 忘得比 m 快，m̂ 还在而 √v̂ 已消失，没有上界。", "With β₁² ≥ β₂ there is no bound: v forgets before m does. ")
        )
    else:
        said.append(
            (
                f"柯西–施瓦茨不等式给出对任何梯度序列都成立的上界 {bound:.3g}。",
                f"Cauchy–Schwarz gives a bound for all gradients: {bound:.3g} in the long run. ",
            )
        )
    if p.burst > 1 and 1 < 1.02 * lone < longest and p.beta1 < p.beta2:
        said.append(
            (
                f"连来 {p.burst} 个走到了 {longest:.3g} 倍：m̂ 约 {memories[0]} 步就追上，v̂ 要约 {memories[1]} 步。论文接着说“不那么稀疏时步长更小”，这里并不成立。",
                f"{p.burst} in a row reach {longest:.3g}, as m̂ catches up in about {memories[0]} steps and v̂ in about {memories[1]}. The paper goes on to say that less sparse gradients "
                "give smaller steps; here they do not. ",
            )
        )
    said.append(
        (
            "没有偏差修正，训练开头也会这样；而沉默之后，偏差修正帮不上忙。",
            "Without bias correction, training would begin in the same way; after a silence, that correction no longer helps.",
        )
    )
    return Text("".join(zh for zh, _ in said), "".join(en for _, en in said))


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Anatomy) -> Prediction:
    if p.task == "silence":
        bound = max(2.0, _paper_bound(p))
        return Prediction(
            Text(
                f"梯度 {p.silence} 步都是 0，然后连来 {p.burst} 个（β₁ = {p.beta1:g}，β₂ = {p.beta2:g}）。Adam 最长的一步是学习率的多少倍？",
                f"The gradient is 0 for {p.silence} steps, then {p.burst} come in a row (β₁ = {p.beta1:g}, β₂ = {p.beta2:g}). How many learning rates is Adam's longest step?",
            ),
            {
                "one": Text("最多 1 倍", "at most 1"),
                "two": Text("1–2 倍", "1 to 2"),
                "bound": Text(f"2–{bound:.3g} 倍", f"2 to {bound:.3g}"),
                "beyond": Text(f"超过 {bound:.3g} 倍", f"over {bound:.3g}"),
            },
        )
    return Prediction(
        Text(
            f"起点处陡方向的梯度约是平方向的 {p.condition:g} 倍（ε = {p.epsilon:g}，损失乘以 {p.scale:g}）。Adam 的第一步，陡方向是平方向的多少倍？",
            f"At the start the steep gradient is about {p.condition:g} times the flat one (ε = {p.epsilon:g}, loss times {p.scale:g}). How does Adam's first step along the steep direction compare with the flat one?",
        ),
        {
            "equal": Text("一样长", "equally long"),
            "between": Text("长一些，但不到梯度之比", "longer, but by less than the gradients' ratio"),
            "gradients": Text("与梯度之比一样", "longer by the gradients' ratio"),
        },
    )


def run(parameters: Anatomy, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from {"valley": _run_valley, "silence": _run_silence}[parameters.task](parameters, generator)


_STEP = """\
import torch

torch.set_num_threads(1)
B1, B2, EPS = {beta1:g}, {beta2:g}, {epsilon:g}

def adam_step(g, m, v, t, rate):
    m.mul_(B1).add_(g, alpha=1 - B1)
    v.mul_(B2).addcmul_(g, g, value=1 - B2)
    m_hat, v_hat = {hats}
    return rate * m_hat / (v_hat.sqrt() + EPS)

"""
_VALLEY_CODE = """\
RATE, STEPS = {rate:g}, {steps}
curvature = {scale:g} * torch.tensor([1 / {condition:g}, 1.0], dtype=torch.float64)  # flat, steep
w = torch.tensor([0.9, 0.8], dtype=torch.float64)
m, v = torch.zeros_like(w), torch.zeros_like(w)
twin = w.clone().requires_grad_()
optimizer = torch.optim.Adam([twin], lr=RATE, betas=(B1, B2), eps=EPS)  # always with bias correction
for t in range(1, STEPS + 1):
    g = curvature * w
    step = adam_step(g, m, v, t, RATE)
    w = w - step
    twin.grad = g
    optimizer.step()
    if t in (1, 2, 5, 10, 20, 50, 100):
        flat, steep = (step.abs() / RATE).tolist()
        print(f"step {{t:3}}: flat {{flat:.4g}}, steep {{steep:.4g}} learning rates; gradients {{g[0]:.3g}}, {{g[1]:.3g}}")
print(f"by hand against torch: {{float((w - twin.detach()).abs().max()) / RATE:.2g}} learning rates apart")
for power in range(-12, 7, 3):
    g = torch.tensor([10.0**power], dtype=torch.float64)
    first = adam_step(g, torch.zeros_like(g), torch.zeros_like(g), 1, 1.0)
    print(f"gradient 1e{{power}}: first step {{first.item():.6g}} learning rates")
"""
_SILENCE_CODE = """\
for name, burst in (("one gradient", 1), ("{burst} in a row", {burst})):
    m, v = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    longest = 0.0
    for t in range(1, {silence} + 60):
        g = torch.full_like(m, 0.01 if {silence} < t <= {silence} + burst else 0.0)
        longest = max(longest, abs(adam_step(g, m, v, t, 1.0).item()))
    print(f"{{name}} after {silence} silent steps: longest step {{longest:.4g}} learning rates")
print(f"bound in the paper: {{max(1.0, (1 - B1) / (1 - B2) ** 0.5):.4g}} learning rates")
"""


def code(p: Anatomy) -> str:
    hats = "m / (1 - B1**t), v / (1 - B2**t)" if p.correction or p.task == "silence" else "m, v  # not corrected"
    template = _STEP + (_SILENCE_CODE if p.task == "silence" else _VALLEY_CODE)
    return template.format(**p.values(), hats=hats)


DEMO = Demo(
    topic="optimization",
    title=Text("拆开 Adam：每一步走多远", "Adam taken apart: how far each step goes"),
    question=Text("Adam 的步长由什么决定，和 SGD 差在哪里？", "What sets the length of Adam's steps, and how does SGD differ?"),
    look_for=Text(
        "先比较陡、平两个方向的步长：SGD 的两条线隔得多开，Adam 的两条呢？再看第一步随梯度大小怎么变：哪条线是斜的，哪条有平的一段，平到哪里为止？",
        "Compare the steps in the steep and the flat direction: how far apart are SGD's two lines, and how far Adam's? Then see how the first step depends on the gradient's size: which "
        "line slopes, which has a flat part, and where does that end?",
    ),
    scaled_down=Text(
        "用两个参数的二次函数（或直接给定的梯度序列）代替真实网络：Adam 对每个坐标各算各的，公式在这里与在大网络里完全一样。",
        "A quadratic of two parameters (or gradients given outright) stands in for a network: Adam treats each coordinate by itself, so its formulas are the same as in a large one.",
    ),
    parameters=Anatomy,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=1,
)
