"""Sigmoid, softmax and temperature (1.23): the formulas held to float tolerance, then temperature scaling on predictions of real networks.

`formula` sweeps the temperature over logits that the learner sets, and checks on thousands of random logits that the share of one of two classes is a sigmoid.
`calibration` trains small networks on few digits, fits one temperature for each on held-out digits, and measures on others whether confidence has come to
mean accuracy. Networks are stacked (demos/core/stacked.py); each has its own training, held-out and test digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Line, LineChart, Role, Rule
from demos.core.datasets import load_digits_or_own, shuffles
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict, effect_status
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import SGD, StackedMLP
from demos.core.statistics import interval, log_spaced, mean_and_band, mean_and_spread
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

DRAWS, TOLERANCE = 10_000, 1e-9  # random sets of logits, and how far (in float64) they may miss the identities
BINS = 15  # of confidence, as in Guo et al. (2017)
BATCH, LOOKS, TEST = 50, 20, 1000  # images in a step; looks at the networks while training; test images of each network, at most
SIZES = (5, 10, 20, 50, 100, 200, 300)  # numbers of held-out images
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are tried
MARGIN = 0.1  # a smaller share of ECE removed counts as nothing
PUBLISHED = (16.53, 1.26)


@dataclass(frozen=True)
class Softmax(Parameters):
    task: str = mode_choice(
        "formula", {"formula": Text("公式", "formulas"), "calibration": Text("校准", "calibration")},
        label=Text("实验", "Experiment"), help=Text("只看公式，还是用真实网络的预测。", "The formulas alone, or predictions of real networks."),
    )  # fmt: skip
    z1: float = real(2.0, -10, 10, step=0.1, label=Text("第 1 类的 logit z₁", "Logit z₁ of class 1"), help=Text("网络给这一类的原始分数。", "The network's raw score for that class."), modes=("formula",))  # fmt: skip
    z2: float = real(1.0, -10, 10, step=0.1, label=Text("第 2 类的 logit z₂", "Logit z₂ of class 2"), help=Text("概率之比只取决于 z₁−z₂。", "The ratio of the two probabilities depends on z₁−z₂ only."), modes=("formula",))  # fmt: skip
    temperature: float = real(2.0, COLDEST, HOTTEST, log=True, label=Text("温度 T", "Temperature T"), help=Text("softmax 之前所有 logit 都除以它。", "All logits are divided by it before the softmax."), modes=("formula",))  # fmt: skip
    classes: int = integer(2, 2, 10, label=Text("类别数", "Classes"), help=Text("softmax 的输出个数。", "How many outputs the softmax has."), modes=("formula",))  # fmt: skip
    rest: float = real(0.1, -10, 10, step=0.1, label=Text("其余各类的 logit", "Logit of each further class"), help=Text("第 3 类起每一类的分数；只有两类时不起作用。", "Of every class from the third on; no effect with two classes."), modes=("formula",))  # fmt: skip
    samples: int = integer(100, 20, 1000, step=10, label=Text("训练样本数", "Training samples"), help=Text("越少，网络越容易过度自信。", "The fewer, the more over-confident the network."), modes=("calibration",))  # fmt: skip
    held_out: int = integer(300, 5, 300, step=5, label=Text("留出样本数", "Held-out samples"), help=Text("用来拟合温度 T 的样本，不参与训练。", "What T is fitted on; the network is not trained on them."), modes=("calibration",))  # fmt: skip
    weight_decay: float = real(0.0, 0, 0.1, step=0.001, label=Text("权重衰减", "Weight decay"), help=Text("加在梯度上的 λw；压住权重，logit 就大不起来。", "λw added to the gradient; small weights keep the logits small."), modes=("calibration",))  # fmt: skip
    steps: int = integer(400, 20, 1000, step=20, label=Text("训练步数", "Training steps"), help=Text("每步 50 张图；少就是早停。", "Each of 50 images; few of them is early stopping."), modes=("calibration",))  # fmt: skip
    lr: float = real(0.1, 0.001, 3, log=True, advanced=True, label=Text("学习率", "Learning rate"), help=Text("SGD，动量 0.9；太大会发散。", "SGD with momentum 0.9; too large a rate diverges."), modes=("calibration",))  # fmt: skip
    width: int = integer(64, 4, 96, step=4, advanced=True, label=Text("隐藏层宽度", "Width"), help=Text("两个隐藏层各有多少单元。", "Units in each of the two hidden layers."), modes=("calibration",))  # fmt: skip
    networks: int = integer(16, 5, 24, advanced=True, label=Text("网络个数", "Networks"), help=Text("初始权重和样本划分各不相同。", "Each with its own initial weights and split of the samples."), modes=("calibration",))  # fmt: skip
    data: str = own_data("classes", modes=("calibration",))


PRESETS = {
    "two-classes": Preset(
        Text("两类 = sigmoid", "Two classes"),
        Text("z = (2, 1)，T = 2：两类的 softmax 是不是某个 sigmoid？", "z = (2, 1), T = 2: is a softmax over two classes some sigmoid?"),
        {"task": "formula"},
        "textbook",
    ),
    "over-confident": Preset(
        Text("过度自信的网络", "Over-confident"),
        Text("在 100 张数字上训练到全对：只除以一个 T，能不能让置信度变得可信？", "Trained on 100 digits until all are right: can dividing by one T make its confidence honest?"),
        {"task": "calibration"},
        look_for=Text(
            "看可靠性图：T = 1 的点离对角线多远、在哪一侧，除以 T 之后又怎样。再看 ECE 与温度：拟合出的 T 离曲线的最低处有多远。",
            "In the reliability diagram, see how far from the diagonal the points at T = 1 are and on which side, and where they are after dividing by T. Then look at ECE against temperature: how far from the bottom of the curve is the fitted T?",
        ),
    ),
    "calibrated": Preset(
        Text("本来就校准", "Already calibrated"),
        Text("同样的网络，加一点权重衰减：温度还有用吗？", "The same network with a little weight decay: is there anything left for T to do?"),
        {"task": "calibration", "weight_decay": 0.003},
        "limits",
        look_for=Text(
            "看可靠性图：T = 1 的点离对角线多远，除以 T 之后动了多少。再看 ECE 与温度：T = 1 离曲线的最低处有多远，那里的 ECE 又低多少。",
            "In the reliability diagram, see how far from the diagonal the points at T = 1 are, and how much they move when divided by T. Then look at ECE against temperature: how far is T = 1 from the bottom of the curve, and how much lower is ECE there?",
        ),
    ),
    "few-held-out": Preset(
        Text("留出样本太少", "Too few held out"),
        Text("同一个网络，只用 10 张留出的图拟合 T。", "That network, with T fitted on 10 held-out digits only."),
        {"task": "calibration", "weight_decay": 0.003, "held_out": 10},
        "limits",
        look_for=Text(
            "看 ECE 与留出样本数：在“所选”的竖线处，拟合的 T 与不校准相比，ECE 是高还是低。再看拟合那条线的带有多宽、从多少个样本起变窄：它说明换一个网络，结果会差多少。",
            "In ECE against held-out samples, see at the line “chosen” whether the fitted T or no scaling has the lower ECE. Then see how wide the band of the fitted T is, and from how many samples it is narrow: it shows how much the result differs between networks.",
        ),
    ),
}  # fmt: skip

UFLDL = Source("UFLDL Tutorial: Softmax Regression", "Andrew Ng and others", 2013, "https://ufldl.stanford.edu/tutorial/supervised/SoftmaxRegression/")  # fmt: skip
GUO = Source("On Calibration of Modern Neural Networks", "Chuan Guo, Geoff Pleiss, Yu Sun, Kilian Q. Weinberger", 2017, "https://arxiv.org/abs/1706.04599")  # fmt: skip


# ---- the formulas ----------------------------------------------------------------------------------------------------


def softmax(z: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Probabilities (…, classes) from logits (…, classes). Taking the largest off first changes nothing but the size of the exponents."""
    z = z / temperature
    exponentials = (z - z.amax(-1, keepdim=True)).exp()
    return exponentials / exponentials.sum(-1, keepdim=True)


def misses(z: Tensor, temperature: float, shift: Tensor) -> tuple[Tensor, float, float]:
    """For logits (draws, classes): p₁ (draws,); the largest |p₁/(p₁+p₂) − σ((z₁−z₂)/T)|; the largest change of a probability when `shift` is added to all."""
    p = softmax(z, temperature)
    share = p[:, 0] / (p[:, 0] + p[:, 1])
    from_sigmoid = (share - ((z[:, 0] - z[:, 1]) / temperature).sigmoid()).abs().max()
    from_shift = (softmax(z + shift, temperature) - p).abs().max()
    return p[:, 0], float(from_sigmoid), float(from_shift)


def _logits(p: Softmax) -> Tensor:
    return torch.tensor([p.z1, p.z2, *[p.rest] * (p.classes - 2)], dtype=torch.float64)


def _run_formula(p: Softmax, generator: torch.Generator) -> Iterator[Snapshot]:
    """In float64 on the CPU whatever the device: the identities are to be met to 1e-9."""
    grid = log_spaced(0.1, 10, 40)
    curves = softmax(_logits(p), torch.tensor(grid, dtype=torch.float64)[:, None])  # (grid, classes)
    drawn = 20 * torch.rand(DRAWS, p.classes, generator=generator, dtype=torch.float64) - 10
    shift = 20 * torch.rand(DRAWS, 1, generator=generator, dtype=torch.float64) - 10
    first, from_sigmoid, from_shift = misses(drawn, p.temperature, shift)
    dots = [(drawn[i, 0] - drawn[i, 1]).item() for i in range(60)], first[:60].tolist()
    for i, temperature in enumerate(grid):
        status = Text(f"温度扫到 T = {temperature:.2g}", f"The temperature has reached T = {temperature:.2g}")
        yield Snapshot(0.99 * i / len(grid), status, _formula_charts(p, grid[: i + 1], curves[: i + 1], temperature, dots))
    now = softmax(_logits(p), p.temperature)
    naive = (drawn.float() / p.temperature).exp()
    overflow = 100 * float((naive / naive.sum(1, keepdim=True)).isnan().any(1).float().mean())
    sigmoids = (_logits(p) / p.temperature).sigmoid()
    figures = (
        Figure(Text("p₁/(p₁+p₂) 与 σ((z₁−z₂)/T) 的最大差", "Largest |p₁/(p₁+p₂) − σ((z₁−z₂)/T)|"), from_sigmoid),
        Figure(Text("所有 logit 加同一个数，概率的最大变化", "Largest change when one number is added to all logits"), from_shift),
        Figure(Text("p₁（所选的 T）", "p₁ at the chosen T"), float(now[0])),
        Figure(Text("逐类 sigmoid 之和（softmax 恒为 1）", "Sum of one sigmoid for each class (softmax: 1)"), float(sigmoids.sum())),
        Figure(Text("不减最大值时溢出的随机 logit（float32）", "Random logits that overflow without taking off the maximum (float32)"), overflow, None, "%"),
    )  # fmt: skip
    charts = _formula_charts(p, grid, curves, p.temperature, dots)
    yield Snapshot(1, Text("完成", "Done"), charts, figures, _judge_formula(p, figures, float(now[0]), float(now[1])))


def _formula_charts(p: Softmax, grid: Sequence[float], curves: Tensor, at: float, dots: tuple[list[float], list[float]]) -> tuple[Chart, ...]:  # fmt: skip
    """`curves` (len(grid), classes) are the probabilities so far; `at` is the temperature of the bars; `dots` are 60 random (z₁−z₂, p₁)."""
    names: list[tuple[Text, Role]] = [(same("p₁"), "first"), (same("p₂"), "second"), (Text("其余每类", "each other"), "baseline")]
    lines = [Line(*names[i], grid, curves[:, i].tolist()) for i in range(min(3, p.classes))]
    theory = Line(same("σ((z₁−z₂)/T)"), "theory", grid, [1 / (1 + math.exp(-(p.z1 - p.z2) / t)) for t in grid])
    now, each = softmax(_logits(p), at).tolist(), (_logits(p) / at).sigmoid().tolist()
    wide = [i / 4 for i in range(-24, 25)]
    scaled = [(gap / p.temperature, y) for gap, y in zip(*dots, strict=True)]
    near = [(x, y) for x, y in scaled if abs(x) <= 6]
    share = Axis(Text("概率", "probability"), low=0, high=1)
    return (
        LineChart(
            Text("概率与温度", "Probabilities against temperature"), Axis(Text("温度 T（对数）", "temperature T (log)"), log=True, low=0.1, high=10), share, (*lines, theory),
            Text(f"T = {grid[-1]:.2g} 时 p₁ = {curves[-1, 0]:.2f}，p₂ = {curves[-1, 1]:.2f}；T 小趋于独热，T 大趋于 1/{p.classes}。", f"At T = {grid[-1]:.2g}, p₁ = {curves[-1, 0]:.2f} and p₂ = {curves[-1, 1]:.2f}; a small T tends to one-hot, a large one to 1/{p.classes}."),
            (Rule(Text("所选 T", "chosen T"), p.temperature),) if 0.1 <= p.temperature <= 10 else (),
        ),
        BarChart(
            Text(f"T = {at:.2g}：softmax 与逐类 sigmoid", f"T = {at:.2g}: softmax, and a sigmoid for each class"), tuple(Text(f"第 {i + 1} 类", f"class {i + 1}") for i in range(p.classes)), share,
            (Bars(same("softmax"), "first", now), Bars(same("sigmoid"), "third", each)),
            Text(f"softmax 的 {p.classes} 个概率之和是 1，sigmoid 的是 {sum(each):.2f}。", f"The {p.classes} softmax probabilities add up to 1, the sigmoids to {sum(each):.2f}."),
        ),
        LineChart(
            Text(f"随机 logit，T = {p.temperature:.3g}", f"Random logits at T = {p.temperature:.3g}"), Axis(same("(z₁−z₂)/T"), low=-6, high=6), Axis(same("p₁"), low=0, high=1),
            (Line(same("σ"), "theory", wide, [1 / (1 + math.exp(-x)) for x in wide]), Line(same("softmax"), "first", [x for x, _ in near], [y for _, y in near], style="dots")),
            Text("两类时每个随机点都落在 sigmoid 曲线上；类别更多时点在曲线下方，因为别的类也分走概率。", "With two classes every random point lies on the sigmoid; with more, points fall below it, as the other classes take their share."),
        ),
    )  # fmt: skip


def _judge_formula(p: Softmax, figures: tuple[Figure, ...], p1: float, p2: float) -> Outcome:
    """Reproduced: over all random logits the share of class 1 among the first two is the sigmoid, and a shift changes nothing, both to 1e-9. No half-way."""
    holds = figures[0].value < TOLERANCE and figures[1].value < TOLERANCE
    gap, total, overflow = (p.z1 - p.z2) / p.temperature, figures[3].value, figures[4].value
    two = p.classes == 2
    met = Text("相差只有舍入误差", "they differ by rounding only") if holds else Text("并不相等", "they are not equal")
    lost = (
        Text(f"这里有 {overflow:.2g}% 的随机 logit 因此得到 NaN", f"which makes NaN of {overflow:.2g} % of the random logits here")
        if overflow
        else Text(f"这里 z/T 不超过 {10 / p.temperature:.3g}，T 低于 0.11 时才会", f"which takes a T below 0.11; here z/T is {10 / p.temperature:.3g} at most")
    )  # fmt: skip
    explanation = Text(
        f"在 {DRAWS:,} 组随机 logit 上比较，{met.zh}：分子分母同除以 exp(z₁/T)，剩下的就是 σ((z₁−z₂)/T)，此处是 σ({gap:.3g}) = {p1 / (p1 + p2):.3g}。"
        + ("所以二分类用一个 logit 就够，两个输出有一个是多余的。" if two else f"有 {p.classes} 类时这是前两类之间的份额；p₁ 本身只有 {p1:.3g}，其余各类也要分走概率。")
        + f"加一个常数不改变概率，所以可以先减去最大值；直接算 exp(z/T)，float32 在 z/T > 88.7 时溢出，{lost.zh}。"
        + f"温度只缩放差值，不改变名次。逐类 sigmoid 的和是 {total:.3g}：各类互不影响，标签可以并存时用它；类别互斥时用 softmax。",
        f"Compared on {DRAWS:,} sets of random logits, {met.en}: divide through by exp(z₁/T), and what is left is σ((z₁−z₂)/T), here σ({gap:.3g}) = {p1 / (p1 + p2):.3g}. "
        + ("So one logit is enough for two classes; of two outputs one is redundant. " if two else f"With {p.classes} classes that is the share between the first two; p₁ itself is {p1:.3g}, as the others take theirs. ")
        + f"A constant added to all logits changes nothing, so the largest may be taken off first; computed straight away, exp(z/T) overflows in float32 where z/T > 88.7, {lost.en}. "
        + f"Temperature scales the differences and keeps the order. One sigmoid for each class adds up to {total:.3g}: no class affects another, which suits labels that may occur together; softmax suits classes that exclude one another.",
    )  # fmt: skip
    published = Text(
        "k = 2 时 softmax 回归就是 logistic 回归，概率只取决于参数之差；所有参数减去同一个向量，预测完全不变（差为 0）",
        "with k = 2 softmax regression is logistic regression in the difference of the parameters; subtracting one vector from all of them changes no prediction (a difference of 0)",
    )
    answer = "low" if p1 < 0.5 else "middle" if p1 < 0.75 else "high" if p1 < 0.95 else "sure"
    return Outcome(Verdict("reproduced" if holds else "not_at_this_scale", figures[0], published, UFLDL, explanation), answer)


# ---- calibration -----------------------------------------------------------------------------------------------------


def fit_temperature(z: Tensor, y: Tensor) -> Tensor:
    """The temperature (K,) between COLDEST and HOTTEST with the least cross-entropy for logits z (K, N, classes) and classes y (K, N).

    The loss is convex in 1/T, with the slope E_p[z] − z_y on average over the samples, so bisection finds it.
    """
    low = torch.full((len(z),), math.log(COLDEST), device=z.device)
    high = torch.full_like(low, math.log(HOTTEST))
    target = z.gather(2, y[..., None])[..., 0]
    for _ in range(30):
        middle = (low + high) / 2
        slope = ((softmax(z, middle.exp()[:, None, None]) * z).sum(2) - target).mean(1)
        low, high = torch.where(slope > 0, middle, low), torch.where(slope > 0, high, middle)
    return ((low + high) / 2).exp()


def in_bins(confidence: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of predictions (K, N), in each of BINS equal bins of confidence: their number, sum of confidences, and how many are right, each (K, BINS)."""
    index = (confidence * BINS).ceil().clamp(1, BINS).nan_to_num(1).long() - 1
    member = torch.nn.functional.one_hot(index, BINS).to(confidence)
    return member.sum(1), torch.einsum("kn,knb->kb", confidence, member), torch.einsum("kn,knb->kb", right, member)


def ece(confidence: Tensor, right: Tensor) -> Tensor:
    """Expected calibration error (K,) in percent: |accuracy − mean confidence| over the bins, weighted by how many predictions (K, N) are in each."""
    _, sums, rights = in_bins(confidence, right)
    return 100 * (rights - sums).abs().sum(1) / confidence.shape[1]


def confidence_of(z: Tensor, y: Tensor, temperature: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """Largest probability and whether its class is right (1 or 0), both (K, N), of logits z (K, N, classes) at temperatures (K,)."""
    scale = temperature[:, None, None] if isinstance(temperature, torch.Tensor) else temperature
    confidence, guess = softmax(z, scale).max(2)
    return confidence, (guess == y).float()


@dataclass
class _View:
    """What the pictures show so far: predictions before and after (K, N), the mean ECE by temperature, and ECE (sizes, K) by held-out samples."""

    before: tuple[Tensor, Tensor] | None = None
    after: tuple[Tensor, Tensor] | None = None
    by_temperature: tuple[list[float], Tensor] | None = None
    by_size: list[tuple[int, Tensor]] = field(default_factory=list)
    fitted: float | None = None


class _Networks:
    """The networks in training, each with its own samples: rows of `train`, `held_out` and `test` (K, …) are indices into x and y."""

    def __init__(self, p: Softmax, device: torch.device, generator: torch.Generator) -> None:
        data = load_digits_or_own(p.data, device, generator=generator)
        self.p, self._generator, self.device = p, generator, device
        self.x, self.y = torch.cat([data.train_x, data.test_x]), torch.cat([data.train_y, data.test_y])
        third, order = len(self.y) // 3, shuffles(len(self.y), p.networks, generator)
        self.samples, most = min(p.samples, len(self.y) - 2 * third if p.data else p.samples), min(third, SIZES[-1])
        self.train, self.held_out = order[:, : self.samples], order[:, self.samples : self.samples + most].to(device)
        self.test = order[:, self.samples + most :][:, :TEST].to(device)
        self.network = StackedMLP((data.features, p.width, p.width, data.classes), range(p.networks), generator, device=device)
        self._optimizer = SGD(self.network, [p.lr] * p.networks, momentum=0.9)

    def step(self) -> None:
        drawn = (torch.rand(self.p.networks, BATCH, generator=self._generator) * self.samples).long()
        batch = self.train.gather(1, drawn).to(self.device)
        _, gradients = self.network.gradients(self.x[batch], self.y[batch])
        decayed = [g + self.p.weight_decay * w if w.dim() == 3 else g for g, w in zip(gradients, self.network.parameters(), strict=True)]
        self._optimizer.step(decayed)

    def outputs(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (K, N, classes) and classes (K, N) of samples by their indices (K, N)."""
        return self.network.logits(self.x[rows]), self.y[rows]


def _run_calibration(p: Softmax, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    view, pace, grid = _View(), Pace(), log_spaced(0.3, 5, 19)
    yield Snapshot(0, Text("载入数据", "Loading the data"), _calibration_charts(p, view))
    nets = _Networks(p, device, generator)
    for step in range(1, p.steps + 1):
        nets.step()
        if step * LOOKS // p.steps > (step - 1) * LOOKS // p.steps:
            z, y = nets.outputs(nets.test)
            view.before = confidence_of(z, y)
            view.by_temperature = grid, torch.stack([ece(*confidence_of(z, y, t)) for t in grid])
        if pace.due(step / p.steps):
            status = Text(f"训练 {p.networks} 个网络，第 {step}/{p.steps} 步", f"Training {p.networks} networks, step {step}/{p.steps}")
            yield Snapshot(0.8 * step / p.steps, status, _calibration_charts(p, view))
    z, y = nets.outputs(nets.test)
    held_z, held_y = nets.outputs(nets.held_out)
    most = held_y.shape[1]
    for size in sorted({*(size for size in SIZES if size <= most), min(p.held_out, most)}):
        fitted = fit_temperature(held_z[:, :size], held_y[:, :size])
        view.by_size.append((size, ece(*confidence_of(z, y, fitted))))
        yield Snapshot(0.85, Text(f"用 {size} 个留出样本拟合 T", f"Fitting T on {size} held-out samples"), _calibration_charts(p, view))
        if size == min(p.held_out, most):
            chosen = fitted
    for i in range(1, 11):
        view.after, view.fitted = confidence_of(z, y, chosen ** (i / 10)), float((chosen.log() * i / 10).mean().exp())
        yield Snapshot(0.85 + 0.014 * i, Text("logit 除以 T", "Dividing the logits by T"), _calibration_charts(p, view))
    probabilities = softmax(z, chosen[:, None, None]).nan_to_num(1.0).cpu()
    labels = torch.multinomial(probabilities.flatten(0, 1), 1, generator=generator).view(y.shape).to(device)
    floor = ece(*confidence_of(z, labels, chosen))
    usable = z.isfinite().all(2).all(1)
    trained = confidence_of(*nets.outputs(nets.train.to(device)))[1].mean(1)
    figures, outcome = _judge_calibration(p, view, chosen, floor, trained, usable, min(p.held_out, most))
    yield Snapshot(1, Text("完成", "Done"), _calibration_charts(p, view), figures, outcome)


def _calibration_charts(p: Softmax, view: _View) -> tuple[Chart, ...]:
    percent, sizes = Text("ECE（%）", "ECE (%)"), [size for size, _ in view.by_size]
    told = Text("训练还没有开始。", "Training has not begun.")
    diagram = [Line(Text("置信度 = 准确率", "calibrated"), "theory", [0, 1], [0, 1])]
    curves, levels = [], []
    by_heat = by_count = told
    if view.before is not None:
        diagram.append(_reliability(same("T = 1"), "second", *view.before))
        told = Text(f"T = 1：平均置信度 {_mean(view.before[0])}，准确率 {_mean(view.before[1])}。", f"At T = 1 the mean confidence is {_mean(view.before[0])}, the accuracy {_mean(view.before[1])}.")  # fmt: skip
        if sizes:
            levels.append(_band(Text("不校准", "no scaling"), "second", sizes, ece(*view.before).expand(len(sizes), -1)))
    if view.by_temperature is not None:
        grid, errors = view.by_temperature
        curves.append(_band(Text("测试 ECE", "test ECE"), "second", grid, errors))
        least, best = min(zip(curves[-1].y, grid, strict=True))
        by_heat = Text(
            f"平均 ECE 在 T = {best:.2g} 处最小，为 {least:.2g}%；竖线是在留出样本上拟合出的 T。",
            f"Mean ECE is least at T = {best:.2g}, with {least:.2g} %; the vertical line is the T fitted on held-out samples.",
        )
    if view.after is not None:
        diagram.append(_reliability(Text("拟合的 T", "fitted T"), "first", *view.after))
        told = Text(f"{told.zh}除以 T 后平均置信度 {_mean(view.after[0])}。", f"{told.en} Divided by T it is {_mean(view.after[0])}.")
    if sizes:
        levels.append(_band(Text("拟合的 T", "fitted T"), "first", sizes, torch.stack([errors for _, errors in view.by_size])))
        found = list(levels[-1].y)
        by_count = Text(
            f"用 {sizes[0]} 个留出样本拟合 T，测试 ECE 是 {found[0]:.2g}%；用 {sizes[-1]} 个，是 {found[-1]:.2g}%。",
            f"With T fitted on {sizes[0]} held-out samples the test ECE is {found[0]:.2g} %, with {sizes[-1]} it is {found[-1]:.2g} %.",
        )
    return (
        LineChart(
            Text("可靠性图：置信度与准确率", "Reliability diagram: confidence against accuracy"), Axis(Text("置信度（最大的概率）", "confidence (largest probability)"), low=0, high=1),
            Axis(Text("准确率", "accuracy"), low=0, high=1), tuple(diagram), told,
        ),
        LineChart(
            Text("ECE 与温度", "ECE against temperature"), Axis(Text("温度 T（对数）", "temperature T (log)"), log=True, low=0.3, high=5), Axis(percent, low=0, high=30), tuple(curves),
            by_heat,
            (Rule(Text("拟合的 T", "fitted T"), view.fitted, "first"),) if view.fitted and 0.3 <= view.fitted <= 5 else (),
        ),
        LineChart(
            Text("ECE 与留出样本数", "ECE against held-out samples"), Axis(Text("留出样本数（对数）", "held-out samples (log)"), log=True, low=SIZES[0], high=SIZES[-1]), Axis(percent, low=0, high=15), tuple(levels),
            by_count,
            (Rule(Text("所选", "chosen"), p.held_out),),
        ),
    )  # fmt: skip


def _mean(values: Tensor) -> str:
    """Over the predictions (K, N) of the networks that have not diverged."""
    finite = values[values.isfinite().all(1)]
    return f"{float(finite.mean()):.3f}" if len(finite) else "NaN"


def _reliability(name: Text, role: Role, confidence: Tensor, right: Tensor) -> Line:
    """Accuracy against mean confidence, all networks (K, N) together; bins with fewer than 20 predictions are left out."""
    finite = confidence.isfinite().all(1)
    counts, sums, rights = (part.sum(0).cpu() for part in in_bins(confidence[finite], right[finite]))
    full = counts >= 20
    return Line(name, role, (sums / counts)[full].tolist(), (rights / counts)[full].tolist(), style="dots+line")


def _band(name: Text, role: Role, x: Sequence[float], y: Tensor) -> Line:
    """Mean and interval over the networks that have not diverged, of y (len(x), K)."""
    rows = y[:, y.isfinite().all(0)].T.tolist() or [[math.inf] * len(x)]
    return Line(name, role, x, *mean_and_band(rows))


def _judge_calibration(p: Softmax, view: _View, fitted: Tensor, floor: Tensor, trained: Tensor, usable: Tensor, held_out: int) -> tuple[tuple[Figure, ...], Outcome]:  # fmt: skip
    """The share of ECE that temperature scaling removes, network by network, against the published 92 %.

    By `effect_status`, where a share of up to MARGIN counts as nothing, as ECE itself scatters by about as much. A changed prediction or a network that
    diverged rules out anything but not at this scale. All (K,): fitted temperatures, ECE of a perfectly calibrated network (floor), accuracy on the
    training samples (trained), has not diverged (usable).
    """
    assert view.before is not None and view.after is not None
    before, after = ece(*view.before), ece(*view.after)
    changed = int((view.before[1] != view.after[1]).sum())
    share = (100 * (1 - after / before.clamp_min(0.1))).where(usable, math.inf)
    mean, low, _ = interval(share.tolist())
    goal = 100 * (1 - PUBLISHED[1] / PUBLISHED[0])
    status: Status = "not_at_this_scale"
    if math.isfinite(mean) and not changed:
        status = effect_status(mean, low, 100 * MARGIN, goal)
    rows = (
        (Text("ECE，T = 1", "ECE at T = 1"), before),
        (Text("ECE，拟合的 T", "ECE at the fitted T"), after),
        (Text("完美校准的网络会测到的 ECE", "ECE that a perfectly calibrated network would show"), floor),
        (Text("测试准确率", "Test accuracy"), 100 * view.before[1].mean(1)),
        (Text("训练准确率", "Training accuracy"), 100 * trained),
        (Text("平均置信度，T = 1", "Mean confidence at T = 1"), 100 * view.before[0].mean(1)),
        (Text("平均置信度，拟合的 T", "Mean confidence at the fitted T"), 100 * view.after[0].mean(1)),
    )
    figures = (
        Figure(Text("温度去掉的 ECE 份额", "Share of ECE removed by T"), *mean_and_spread(share.tolist()), "%"),
        *(Figure(name, *mean_and_spread(values.where(usable, math.inf).tolist()), "%") for name, values in rows),
        Figure(Text("拟合的温度 T", "Fitted temperature T"), *mean_and_spread(fitted.tolist())),
        Figure(Text("被 T 改变的对错", "Predictions made right or wrong by T"), changed),
    )
    ratio = figures[2].value / max(figures[1].value, 0.1) if math.isfinite(mean) else math.inf
    answer = "far" if ratio < 0.5 else "some" if ratio < 0.85 else "same" if ratio <= 1.15 else "worse"
    published = Text(
        f"CIFAR-100 上的 ResNet-110：ECE 从 {PUBLISHED[0]}% 降到 {PUBLISHED[1]}%（去掉 {goal:.0f}%），准确率不变（表 1）",
        f"ResNet-110 on CIFAR-100: ECE falls from {PUBLISHED[0]} % to {PUBLISHED[1]} % ({goal:.0f} % of it removed), accuracy unchanged (Table 1)",
    )
    scatter = (float(fitted.min()), float(fitted.max()))
    explanation = _explain(p, [figure.value for figure in figures], scatter, held_out, status)
    return figures, Outcome(Verdict(status, figures[0], published, GUO, explanation), answer)


def _explain(p: Softmax, values: Sequence[float], scatter: tuple[float, float], held_out: int, status: Status) -> Text:
    """`values` are those of the figures, `scatter` the lowest and the highest of the fitted temperatures."""
    share, before, after, floor, accuracy, trained, confident, cooled, fitted, _ = values
    if not math.isfinite(share):
        return Text(
            f"学习率 {p.lr:g} 下有网络发散，logit 不再是有限的数，没有可比的结果；请调小学习率。",
            f"At the rate {p.lr:g} networks diverged, and their logits are no longer finite: nothing to compare. Try a smaller rate.",
        )
    found = Text(
        f"T = 1 时平均置信度 {confident:.1f}%，准确率 {accuracy:.1f}%；除以 T（平均 {fitted:.2f}）后平均置信度 {cooled:.1f}%，ECE 从 {before:.1f}% 变为 {after:.1f}%，预测的类别没有一个改变。",
        f"At T = 1 the mean confidence is {confident:.1f} %, the accuracy {accuracy:.1f} %; divided by T ({fitted:.2f} on average) it becomes {cooled:.1f} %, and ECE goes from {before:.1f} % to {after:.1f} %. No prediction changes. ",
    )
    if status == "not_at_this_scale" and scatter[1] / scatter[0] > 4:
        why = Text(
            f"{held_out} 个留出样本定不住 T：它只由寥寥几个预测决定，在不同网络上从 {scatter[0]:.2g} 到 {scatter[1]:.2g}；要是恰好全对，损失就把 T 一直推到下界。多少样本才划算，看最后一张图。",
            f"With {held_out} held-out samples T hangs on a handful of predictions: it ranges from {scatter[0]:.2g} to {scatter[1]:.2g}, and where all of them happen to be right, the loss drives T down to its bound. The last chart shows how many it takes. ",
        )
    elif status == "not_at_this_scale" and share > 100 * MARGIN:
        why = Text(
            f"平均去掉了 {share:.0f}%，但 {p.networks} 个网络之间差别太大，置信区间够到了 {100 * MARGIN:.0f}% 以下，不能下结论。",
            f"On average {share:.0f} % is removed, but the {p.networks} networks differ so much that the interval reaches below {100 * MARGIN:.0f} %: no conclusion. ",
        )
    elif status == "not_at_this_scale" and before > 2 * floor + 1:
        why = Text(
            f"ECE 本来不小（完美校准的网络会测到 {floor:.1f}%），但一个 T 只能把所有 logit 同样拉伸，修不了这里的偏差。",
            f"ECE was not small (a perfectly calibrated network would show {floor:.1f} %), but one T stretches all logits alike, and what is wrong here is not of that kind. ",
        )
    elif status == "not_at_this_scale":
        why = Text(
            f"这并不意外，没有多少可去掉的：{'权重衰减压住了 logit，' if p.weight_decay else ''}置信度本来就接近准确率。ECE 也到不了 0：每格样本有限，完美校准的网络在同样多的样本上也会测到 {floor:.1f}%。",
            f"This is no surprise, as there was little to remove: {'weight decay keeps the logits small, and ' if p.weight_decay else ''}confidence was close to accuracy from the start. Nor can ECE reach 0: with so few samples in a bin a perfectly calibrated network would show {floor:.1f} %. ",
        )
    elif fitted > 1 and trained >= 90:
        why = Text(
            f"训练样本已分对 {trained:.3g}%，损失在它们上面主要靠放大 logit 继续下降：置信度越来越高，测试准确率却跟不上；T > 1 把多出来的幅度除掉。剩下的 {after:.1f}% 里，完美校准的网络也会测到 {floor:.1f}%，因为每格样本有限。",
            f"The networks are right on {trained:.3g} % of their training samples: there the loss goes on falling by larger logits, confidence rises, and test accuracy does not follow. A T above 1 divides that excess out. "
            f"Of the {after:.1f} % left, a perfectly calibrated network would show {floor:.1f} % too, as the bins hold few samples. ",
        )
    elif fitted > 1:
        why = Text(
            f"训练样本还只分对 {trained:.0f}%：初始的随机权重和太大的步子就足以让 logit 偏大，T > 1 把它除小。完美校准的网络也会测到 {floor:.1f}%。",
            f"Only {trained:.0f} % of the training samples are right: random initial weights or large steps are enough for logits that are too large, and a T above 1 divides them. A perfectly calibrated network would show {floor:.1f} %. ",
        )
    else:
        why = Text(
            f"这里的网络反而不够自信（{'权重衰减压住了 logit' if p.weight_decay else '训练太短，logit 还小'}）：T < 1 把 logit 放大回来。完美校准的网络也会测到 {floor:.1f}%。",
            f"These networks are under-confident ({'weight decay keeps the logits small' if p.weight_decay else 'too little training, the logits are still small'}): a T below 1 makes the logits larger. A perfectly calibrated network would show {floor:.1f} %. ",
        )
    scaled = Text("论文用的是 CIFAR-100 上的 110 层残差网络，这里是两个隐藏层的小网络。", "The paper has a residual network of 110 layers on CIFAR-100; the networks here have two hidden layers.")  # fmt: skip
    return found + why + scaled


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Softmax) -> Prediction:
    if p.task == "formula":
        others = (
            Text(f"，其余 {p.classes - 2} 类 z = {p.rest:g}", f", z = {p.rest:g} for {p.classes - 2} more")
            if p.classes > 2
            else Text("", "")
        )
        return Prediction(
            Text(f"z₁ = {p.z1:g}，z₂ = {p.z2:g}{others.zh}。T = {p.temperature:g} 时 p₁ 有多大？", f"z₁ = {p.z1:g}, z₂ = {p.z2:g}{others.en}. How large is p₁ at T = {p.temperature:g}?"),
            {"low": Text("不到 0.5", "below 0.5"), "middle": same("0.5 – 0.75"), "high": same("0.75 – 0.95"), "sure": Text("超过 0.95", "above 0.95")},
        )  # fmt: skip
    return Prediction(
        Text(
            f"{p.samples} 个训练样本，权重衰减 {p.weight_decay:g}。在 {p.held_out} 个留出样本上拟合一个 T，测试集上的校准误差（ECE）会怎样？",
            f"{p.samples} training samples, weight decay {p.weight_decay:g}. One T is fitted on {p.held_out} held-out samples. What becomes of the calibration error (ECE) on the test samples?",
        ),
        {
            "far": Text("降到一半以下", "falls to less than half"),
            "some": Text("下降，但不到一半", "falls, by less than half"),
            "same": Text("几乎不变（±15%）", "hardly changes (±15 %)"),
            "worse": Text("变大，或者有网络发散", "rises, or networks diverge"),
        },
    )


def run(parameters: Softmax, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    if parameters.task == "formula":
        yield from _run_formula(parameters, generator)
    else:
        yield from _run_calibration(parameters, device, generator)


_FORMULA_CODE = """\
import torch

torch.set_num_threads(1)
T = {temperature:g}
z = torch.tensor([{z1:g}, {z2:g}] + [{rest:g}] * {more}, dtype=torch.float64)

p = torch.softmax(z / T, dim=0)
print("softmax:", [round(v, 4) for v in p.tolist()], "sum", round(p.sum().item(), 4))
each = torch.sigmoid(z / T)
print("one sigmoid a class:", [round(v, 4) for v in each.tolist()], "sum", round(each.sum().item(), 4))
print("p1 / (p1 + p2):", (p[0] / (p[0] + p[1])).item(), " sigmoid((z1 - z2) / T):", torch.sigmoid((z[0] - z[1]) / T).item())
print("largest change when 5 is added to all logits:", (torch.softmax((z + 5) / T, dim=0) - p).abs().max().item())

for temperature in (0.1, 0.5, 1, 2, 10):
    print(f"T = {{temperature:4}}:", [round(v, 4) for v in torch.softmax(z / temperature, dim=0).tolist()])
"""
_CALIBRATION_CODE = """\
import torch
from torch import nn

torch.set_num_threads(1)
SAMPLES, HELD_OUT, STEPS = {samples}, {held_out}, {steps}
torch.manual_seed(0)
{data}
def ece(logits, y, bins=15):  # percent
    confidence, guess = logits.softmax(1).max(1)
    right = (guess == y).float()
    bin_of = (confidence * bins).ceil().clamp(1, bins)
    gaps = [(right - confidence)[bin_of == b].sum().abs() for b in range(1, bins + 1)]
    return 100 * (sum(gaps) / len(y)).item()

for seed in range(3):
    order = torch.randperm(len(y))
    n = min(SAMPLES, len(y) // 3)
    train, held_out, test = order[:n], order[n : n + min(HELD_OUT, len(y) // 3)], order[-len(y) // 3 :]
    net = nn.Sequential(nn.Linear(x.shape[1], {width}), nn.ReLU(), nn.Linear({width}, {width}), nn.ReLU(), nn.Linear({width}, classes))
    optimizer = torch.optim.SGD(net.parameters(), lr={lr:g}, momentum=0.9, weight_decay={weight_decay:g})
    for step in range(STEPS):
        batch = train[torch.randint(len(train), (50,))]
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        held, logits = net(x[held_out]), net(x[test])
        grid = torch.logspace(-1.3, 1.3, 200)
        losses = torch.stack([nn.functional.cross_entropy(held / t, y[held_out]) for t in grid])
        t = grid[losses.argmin()]  # the temperature with the least loss on the held-out samples
        accuracy = 100 * (logits.argmax(1) == y[test]).float().mean().item()
        print(f"T = {{t:.2f}}, accuracy {{accuracy:.1f}} %, ECE {{ece(logits, y[test]):.1f}} % -> {{ece(logits / t, y[test]):.1f}} %")
"""


def code(p: Softmax) -> str:
    if p.task == "formula":
        return _FORMULA_CODE.format(**p.values(), more=p.classes - 2)
    return _CALIBRATION_CODE.format(**{**p.values(), "data": digits_or_own(p.data)})


DEMO = Demo(
    topic="losses",
    title=Text("sigmoid、softmax 与温度", "Sigmoid, softmax and temperature"),
    question=Text("sigmoid 和 softmax 有什么区别，softmax 的概率可信吗？", "How do sigmoid and softmax differ, and can a softmax probability be trusted?"),
    look_for=Text(
        "看概率与温度：T 很小和很大时，各类的概率趋向什么，p₁ 的曲线与虚线重不重合。再看随机 logit：换成别的分数，点还在不在 sigmoid 的虚线上。",
        "See where the probabilities go when T is very small and very large, and whether the curve of p₁ follows the dashed line. Then look at the random "
        "logits: with other scores, are the points still on the dashed sigmoid?",
    ),
    scaled_down=Text(
        "校准用的是 8×8 的数字和两个隐藏层的小网络，论文是 CIFAR、ImageNet 上的深网络；测试样本只有约一千个，所以 ECE 的下限约 2%。",
        "Calibration is shown on 8×8 digits with two hidden layers instead of deep networks on CIFAR and ImageNet; with about a thousand test samples ECE cannot fall below some 2 %.",
    ),
    parameters=Softmax,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=1,
)  # fmt: skip
