"""Why ReLU (1.2): the race to 25 % training error of one small convolutional network under five activations, each at its own best learning rate.

Krizhevsky's Figure 1 on a small scale. All activations × learning rates × seeds are trained at once (`_Race`): a convolution with one group for each
network keeps them apart. Networks of one seed start from the same weights, up to the scale that suits the activation, and see the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Line, LineChart, Role
from demos.core.datasets import load_digits, shuffles
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict, effect_status
from demos.core.lazy import torch
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, flag, integer, real
from demos.core.statistics import log_spaced, mean_and_band, mean_and_spread, ratio_interval, thinned
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

TARGET = 0.25  # training error to reach
CHANNELS = 8
PROBE, EVERY = 100, 2  # training images on which the error is measured, and after how many steps
MOMENTUM = 0.9
RATES = log_spaced(0.02, 0.8, 5)
TANH_GAIN, SEVERAL = 6.0, 3.0  # Krizhevsky's figure for tanh; "several times" for other saturating units is read as three
LEAK = 0.1

# Activation → its name, its role in the charts, and the gain of its initial weights (He's for the ReLU family, Xavier's for the others).
ACTIVATIONS: dict[str, tuple[Text, Role, float]] = {
    "relu": (same("ReLU"), "second", 2**0.5),
    "tanh": (same("tanh"), "first", 1.0),
    "sigmoid": (same("sigmoid"), "baseline", 1.0),
    "leaky": (same("leaky"), "third", 2**0.5),
    "gelu": (same("GELU"), "fourth", 2**0.5),
}


@dataclass(frozen=True)
class ReluRace(Parameters):
    rival: str = choice(
        "tanh", {"tanh": same("tanh"), "sigmoid": same("sigmoid")}, label=Text("对手", "Rival"),
        help=Text("和 ReLU 比的是哪一个饱和激活函数。", "The saturating activation that the verdict compares with ReLU."),
    )  # fmt: skip
    rate_for: str = choice(
        "own",
        {"own": Text("各用各的最佳", "each its own best"), "relu": Text("都用 ReLU 的最佳", "ReLU's best for all"),
         "rival": Text("都用对手的最佳", "the rival's best for all")},
        label=Text("学习率", "Learning rate"),
        help=Text("各自挑最快的，还是共用一个。", "Whether each takes its fastest, or all share one."),
    )  # fmt: skip
    depth: int = integer(3, 1, 6, label=Text("卷积层数", "Convolutions"), help=Text("之后还有一层全连接。", "A dense layer follows them."))
    batch_norm: bool = flag(False, label=Text("批量归一化", "Batch norm"), help=Text("在每个激活函数之前。", "Before every activation."))
    pixels: float = real(
        1.0, 0.1, 10, log=True, label=Text("像素的标准差", "Pixel scale"),
        help=Text("输入要乘的倍数；越大，会饱和的激活函数就越早饱和。", "What the inputs are multiplied by; the larger, the sooner saturating units saturate."),
    )  # fmt: skip
    steps: int = integer(
        40, 20, 200, step=20, label=Text("步数", "Steps"), help=Text("跑多少步；没降到 25% 的，按这么多步算。", "How many steps are run; a run that has not reached 25 % by then counts as this many.")
    )  # fmt: skip
    weights: float = real(
        1.0, 0.1, 5, log=True, advanced=True, label=Text("初始权重的倍数", "Initial weights ×"),
        help=Text("1 是各自合适的初始化（He 或 Xavier）。", "1 is the initialisation that suits each (He's or Xavier's)."),
    )  # fmt: skip
    batch: int = integer(16, 2, 64, advanced=True, label=Text("批大小", "Batch size"), help=Text("每步的图像数。", "Images in a step."))
    runs: int = integer(
        5, 5, 10, advanced=True, label=Text("种子数", "Seeds"), help=Text("每种设置重复几次。", "Repetitions of every setting.")
    )


PRESETS = {
    "tanh": Preset(
        Text("对 tanh", "Against tanh"),
        Text("重做论文图 1：各用最佳学习率，谁先到 25%？", "The paper's Figure 1 again: each at its best rate, who is first at 25 %?"),
        {},
        "textbook",
    ),
    "sigmoid": Preset(
        Text("对 sigmoid", "Against sigmoid"),
        Text("同样的比赛，对手换成 sigmoid。", "The same race against sigmoid."),
        {"rival": "sigmoid", "steps": 60},
    ),
    "batch-norm": Preset(
        Text("有批量归一化", "With batch norm"),
        Text("批量归一化让每层输入保持合适的尺度：激活函数还要紧吗？", "Batch norm keeps every layer's inputs in range: does the choice still matter?"),
        {"batch_norm": True},
        "limits",
    ),
    "shared-rate": Preset(
        Text("共用学习率", "One shared rate"),
        Text("都用 tanh 的最佳学习率：不分别调参，结论就变了吗？", "All at tanh's best rate: does the outcome change without separate tuning?"),
        {"rate_for": "rival"},
        "limits",
    ),
}  # fmt: skip

KRIZHEVSKY = Source(
    "ImageNet Classification with Deep Convolutional Neural Networks",
    "Alex Krizhevsky, Ilya Sutskever, Geoffrey E. Hinton",
    2012,
    "https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks",
)


# ---- the networks ----------------------------------------------------------------------------------------------------


def activate(name: str, z: Tensor) -> Tensor:
    if name == "leaky":
        return torch.nn.functional.leaky_relu(z, LEAK)
    return torch.nn.functional.gelu(z) if name == "gelu" else getattr(torch, name)(z)


class _Race:
    """K = activations × rates × runs networks (in that order): `depth` convolutions 3×3 (the first with stride 2, so on 4×4 maps), then a dense layer.

    kernels: (K·8, channels in, 3, 3) for each convolution; shifts: (K·8, 1, 1), added after it (and after batch norm); dense: (K, 128, 10) and (K, 1, 10).
    """

    def __init__(self, p: ReluRace, device: torch.device, generator: torch.Generator) -> None:
        self.p, self.device = p, device
        self.count = len(ACTIVATIONS) * len(RATES) * p.runs
        gains = torch.tensor([gain for _, _, gain in ACTIVATIONS.values()]).view(-1, 1, 1, 1) * p.weights

        def drawn(scale: Tensor, *shape: int) -> Tensor:
            """Normal weights (K, *shape), the same for all networks of a run up to `scale`."""
            base = torch.randn(1, 1, p.runs, math.prod(shape), generator=generator)
            return (scale * base).expand(len(ACTIVATIONS), len(RATES), -1, -1).reshape(self.count, *shape).contiguous().to(device)

        self.kernels, self.shifts = [], []
        for layer in range(p.depth):
            channels = CHANNELS if layer else 1
            kernel = drawn(gains / (9 * channels) ** 0.5, CHANNELS, channels, 3, 3)
            self.kernels.append(kernel.flatten(0, 1))
            self.shifts.append(torch.zeros(self.count * CHANNELS, 1, 1, device=device))
        features = CHANNELS * 16
        self.dense = [drawn(gains.new_full((1, 1, 1, 1), p.weights / features**0.5), features, 10)]
        self.dense.append(torch.zeros(self.count, 1, 10, device=device))
        self.velocities = [torch.zeros_like(weight) for weight in self.parameters()]
        self.rates = torch.tensor(RATES).repeat_interleave(p.runs).repeat(len(ACTIVATIONS)).to(device)

    def parameters(self) -> list[Tensor]:
        return [*self.kernels, *self.shifts, *self.dense]

    def logits(self, x: Tensor, slopes: list[Tensor] | None = None) -> Tensor:
        """(K, B, 10) for images x (runs, B, 64); `slopes` takes the mean derivative (activations,) of each layer's activations."""
        copies = self.count // self.p.runs
        h = x.transpose(0, 1)[:, None].expand(-1, copies, -1, -1).reshape(x.shape[1], self.count, 8, 8)  # (B, K, 8, 8)
        for layer, (kernel, shift) in enumerate(zip(self.kernels, self.shifts, strict=True)):
            h = torch.nn.functional.conv2d(h, kernel, stride=1 if layer else 2, padding=1, groups=self.count)
            if self.p.batch_norm:
                h = torch.nn.functional.batch_norm(h, None, None, training=True)
            parts = (h + shift).chunk(len(ACTIVATIONS), 1)
            if slopes is not None:
                slopes.append(torch.stack([mean_slope(name, part) for name, part in zip(ACTIVATIONS, parts, strict=True)]))
            h = torch.cat([activate(name, part) for name, part in zip(ACTIVATIONS, parts, strict=True)], 1)
        h = h.view(x.shape[1], self.count, -1).transpose(0, 1)
        return torch.baddbmm(self.dense[1], h, self.dense[0])

    def step(self, x: Tensor, y: Tensor) -> None:
        """One step of SGD with momentum on a batch for each run: x (runs, B, 64), y (runs, B)."""
        weights = [weight.requires_grad_() for weight in self.parameters()]
        target = y.repeat(self.count // self.p.runs, 1)
        loss = torch.nn.functional.cross_entropy(self.logits(x).transpose(1, 2), target, reduction="none").mean(1).sum()
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, velocity, gradient in zip(weights, self.velocities, gradients, strict=True):
                velocity.mul_(MOMENTUM).add_(gradient)
                own = weight.view(self.count, -1)
                own.sub_(velocity.view(self.count, -1) * self.rates[:, None])

    def errors(self, x: Tensor, y: Tensor) -> Tensor:
        """The share (activations, rates, runs) of wrong answers, on the CPU; a network that diverged answers wrongly."""
        with torch.no_grad():
            logits = self.logits(x)
        wrong = (logits.argmax(2) != y.repeat(self.count // self.p.runs, 1)) | ~logits.isfinite().all(2)
        return wrong.float().mean(1).view(len(ACTIVATIONS), len(RATES), -1).cpu()


def mean_slope(name: str, z: Tensor) -> Tensor:
    """The mean derivative of the activation at z, by central differences."""
    width = 1e-2
    return ((activate(name, z + width) - activate(name, z - width)) / (2 * width)).mean()


# ---- from curves to steps --------------------------------------------------------------------------------------------


def steps_to_target(curve: Tensor, steps: int) -> Tensor:
    """When each of the curves (probes, …), one value every EVERY steps, first is at TARGET, between probes by a straight line; `steps` if never."""
    found = torch.full(curve.shape[1:], float(steps))
    for i in range(len(curve) - 1, -1, -1):
        if i == 0:
            at = torch.zeros_like(found)
        else:
            fall = (curve[i - 1] - curve[i]).clamp_min(1e-9)
            at = EVERY * (i - 1 + ((curve[i - 1] - TARGET) / fall).clamp(0, 1))
        found = torch.where(curve[i] <= TARGET, at, found)
    return found


@dataclass(frozen=True)
class _Standing:
    """Where the race stands: errors (probes, activations, rates, runs), steps to the target (activations, rates, runs), and the rate taken by each."""

    curve: Tensor
    reached: Tensor
    chosen: list[int]

    def steps_of(self, name: str) -> list[float]:
        """Steps to the target of each run, at the rate chosen."""
        i = list(ACTIVATIONS).index(name)
        return [float(value) for value in self.reached[i, self.chosen[i]]]


def standing(p: ReluRace, curve: Tensor) -> _Standing:
    """The rate of each activation is that with the fewest steps (geometric mean over runs); among equals the one with the least error on the way."""
    reached = steps_to_target(curve, p.steps)
    score = reached.clamp_min(0.5).log().mean(2) + 1e-3 * curve.mean((0, 3))
    best = [int(i) for i in score.argmin(1)]
    if p.rate_for != "own":
        best = [best[list(ACTIVATIONS).index("relu" if p.rate_for == "relu" else p.rival)]] * len(best)
    return _Standing(curve, reached, best)


# ---- what is shown ---------------------------------------------------------------------------------------------------


def _charts(p: ReluRace, now: _Standing) -> tuple[Chart, ...]:
    probes = thinned(len(now.curve))
    x = [EVERY * i for i in probes]
    lines, bars, spreads, tuning = [], [], [], []
    for i, (key, (name, role, _)) in enumerate(ACTIVATIONS.items()):
        lines.append(Line(name, role, x, *mean_and_band(now.curve[probes, i, now.chosen[i]].T.tolist())))
        mean, spread = mean_and_spread(now.steps_of(key))
        bars.append(mean)
        spreads.append(spread or 0.0)
        tuning.append(Line(name, role, RATES, now.reached[i].clamp_min(0.5).log().mean(1).exp().tolist(), style="dots+line"))
    level = Line(Text("25%", "25 %"), "theory", [0, p.steps], [TARGET, TARGET])
    told = [f"{name.en} {value:.0f}" for (name, _, _), value in zip(ACTIVATIONS.values(), bars, strict=True)]
    most = Axis(Text("步数", "steps"), low=0, high=p.steps)
    bounds = Axis(Text("步数", "steps"), low=0, high=1.25 * p.steps)  # room for the error bars of a mean that runs into the limit
    return (
        LineChart(
            Text("训练错误率", "Training error"), most, Axis(Text("训练错误率", "training error"), low=0, high=1), (level, *lines),
            Text(f"{x[-1]} 步后各激活函数的训练错误率，带宽是 {p.runs} 个种子的 95% 区间。", f"Training error of each activation up to step {x[-1]}, with the 95 % interval over {p.runs} seeds."),
        ),
        BarChart(
            Text("到 25% 要几步", "Steps to 25 %"), tuple(name for name, _, _ in ACTIVATIONS.values()), bounds,
            (Bars(Text("步数", "steps"), "second", bars, spreads),),
            Text(f"平均步数：{'，'.join(told)}；{p.steps} 表示至少这么多。", f"Mean steps: {', '.join(told)}; {p.steps} means at least that."),
        ),
        LineChart(
            Text("对学习率有多敏感", "Sensitivity to the rate"), Axis(Text("学习率（对数）", "learning rate (log)"), log=True, low=RATES[0], high=RATES[-1]),
            Axis(Text("到 25% 的步数", "steps to 25 %"), low=0, high=p.steps), tuple(tuning),
            Text(f"每个学习率到 25% 的步数；贴着上边 {p.steps} 的没有到。", f"Steps to 25 % at each rate; those at the top ({p.steps}) did not reach it."),
        ),
    )  # fmt: skip


# ---- the run ---------------------------------------------------------------------------------------------------------


def run(p: ReluRace, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    data = load_digits(generator=generator)
    x, y = data.train_x * p.pixels, data.train_y
    race = _Race(p, device, generator)
    probe = shuffles(len(y), p.runs, generator, PROBE)
    probe_x, probe_y = x[probe].to(device), y[probe].to(device)
    errors = [race.errors(probe_x, probe_y)]
    pace = Pace()

    def shown(step: int) -> Snapshot:
        text = Text(f"第 {step}/{p.steps} 步，{race.count} 个网络", f"Step {step}/{p.steps} of {race.count} networks")
        return Snapshot(step / p.steps, text, _charts(p, standing(p, torch.stack(errors))))

    pace.due(0)
    yield shown(0)
    slopes: list[Tensor] = []
    with torch.no_grad():
        race.logits(probe_x, slopes)
    for step in range(p.steps):
        if pace.due(step / p.steps):
            yield shown(step)
        chosen = torch.randint(len(y), (p.runs, p.batch), generator=generator)
        race.step(x[chosen].to(device), y[chosen].to(device))
        if (step + 1) % EVERY == 0:
            if pace.due():
                yield shown(step)
            errors.append(race.errors(probe_x, probe_y))
    now = standing(p, torch.stack(errors))
    figures, outcome = judge(p, now, [float(value) for value in torch.stack(slopes).mean(0)])
    yield Snapshot(1, Text("完成", "Done"), _charts(p, now), figures, outcome)


def judge(p: ReluRace, now: _Standing, slopes: Sequence[float]) -> tuple[tuple[Figure, ...], Outcome]:
    """How many times fewer steps ReLU takes than the rival (a geometric mean of paired runs), by `effect_status` against 6 for tanh.

    For sigmoid the paper has no number but "several times", read as 3. Who never reached the target counts as having needed all steps, which makes a
    rival look better than it is. `slopes`: the mean derivative of each activation before training.
    """
    ours, theirs = now.steps_of("relu"), now.steps_of(p.rival)
    mean, low, high = ratio_interval([max(b, 0.5) / max(a, 0.5) for a, b in zip(ours, theirs, strict=True)])
    status: Status = effect_status(mean, low, 1, TANH_GAIN if p.rival == "tanh" else SEVERAL)
    published = Text(
        "ReLU 的四层 CNN 到 25% 训练错误率比 tanh 快约 6 倍（CIFAR-10，图 1）", "a four-layer CNN reaches 25 % training error about 6 times faster with ReLU than with tanh (CIFAR-10, Fig. 1)",
    ) if p.rival == "tanh" else Text(
        "ReLU 网络比饱和激活函数的网络快几倍（没有 sigmoid 的具体数字）", "networks with ReLUs learn several times faster than those with saturating units (no number for sigmoid)",
    )  # fmt: skip
    measured = Figure(
        Text(f"{p.rival} 的步数 ÷ ReLU 的步数", f"steps of {p.rival} ÷ steps of ReLU"), mean, max(high - mean, mean - low), same("×")
    )
    figures = [measured]
    for i, (key, (name, _, _)) in enumerate(ACTIVATIONS.items()):
        steps, spread = mean_and_spread(now.steps_of(key))
        label = Text(f"{name.zh} 到 25%（η = {RATES[now.chosen[i]]:.2g}）", f"{name.en} to 25 % (η = {RATES[now.chosen[i]]:.2g})")
        figures.append(Figure(label, steps, spread, Text("步", "steps")))
    answer = "not" if not low > 1 else "several" if mean >= 2 else "little"
    explanation = _explanation(p, now, slopes, (mean, low, high))
    return tuple(figures), Outcome(Verdict(status, measured, published, KRIZHEVSKY, explanation), answer)


def _explanation(p: ReluRace, now: _Standing, slopes: Sequence[float], ratio: tuple[float, float, float]) -> Text:
    mean, low, high = ratio
    names = list(ACTIVATIONS)
    relu, rival = slopes[names.index("relu")], slopes[names.index(p.rival)]
    why = _why(p, now, rival, relu, low)
    missing = [sum(step >= p.steps for step in now.steps_of(name)) for name in ("relu", p.rival)]
    rates = [RATES[now.chosen[names.index(name)]] for name in ("relu", p.rival)]
    a, b = (sum(now.steps_of(name)) / p.runs for name in ("relu", p.rival))
    first = Text(
        f"ReLU（η = {rates[0]:.2g}）平均 {a:.0f} 步到 25%，{p.rival}（η = {rates[1]:.2g}）{b:.0f} 步：ReLU 的速度是它的 {mean:.2g} 倍（{low:.2g}–{high:.2g}，小于 1 就是更慢）。",
        f"ReLU (η = {rates[0]:.2g}) took {a:.0f} steps to 25 % on average, {p.rival} (η = {rates[1]:.2g}) {b:.0f}: ReLU is {mean:.2g} times as fast "
        f"({low:.2g} to {high:.2g}; below 1 means slower).",
    )  # fmt: skip
    if any(missing):
        bound = (
            Text("所以这个比值只供参考", "so that the ratio says little")
            if all(missing)
            else Text("所以真实差距更大", "so that the true gap is wider")
            if (mean > 1) == (missing[1] > 0)
            else Text("所以真实差距更小", "so that the true gap is smaller")
        )
        first = Text(
            first.zh + f"{p.steps} 步内没到的种子：ReLU {missing[0]}/{p.runs}，{p.rival} {missing[1]}/{p.runs}，按 {p.steps} 步计，{bound.zh}。",
            first.en + f" Not there within {p.steps} steps: ReLU {missing[0]}, {p.rival} {missing[1]} of {p.runs} runs; they count as {p.steps}, {bound.en}.",
        )  # fmt: skip
    slope = Text(
        f"训练前，每层激活函数平均把梯度乘以 {rival:.2f}（{p.rival}）或 {relu:.2f}（ReLU），共 {p.depth} 层。",
        f"Before training, each layer of activations (there are {p.depth}) multiplies the gradient by {rival:.2f} on average ({p.rival}) or {relu:.2f} (ReLU).",
    )  # fmt: skip
    return Text(first.zh + slope.zh + why.zh, f"{first.en} {slope.en} {why.en}")


def _why(p: ReluRace, now: _Standing, rival: float, relu: float, low: float) -> Text:
    """What lies behind the outcome; `rival` and `relu` are the mean slopes before training, `low` the lower end of the ratio."""
    if low > 1 and rival < relu:
        return Text(
            f"梯度每过一层 {p.rival} 缩得更多，前面的层就学得慢：ReLU 的优势由此而来。",
            f"The gradient shrinks more in every layer of {p.rival}, so that the early layers learn slowly: that is where ReLU gains.",
        )
    if low > 1:
        return Text(
            f"{p.rival} 起初并没有把梯度压得更小，所以 ReLU 的优势来自训练途中：权重变大后 {p.rival} 才会饱和。",
            f"{p.rival} does not shrink the gradient more at first, so ReLU's gain arises during training, as growing weights saturate {p.rival}.",
        )
    if p.batch_norm:
        means = [sum(now.steps_of(name)) / p.runs for name in ACTIVATIONS]
        return Text(
            f"批量归一化把每层输入的方差保持为 1，没有谁会严重饱和：五种激活函数都在 {min(means):.0f} 到 {max(means):.0f} 步内到达（上限 {p.steps}），不再有学不动的；选哪一个没那么要紧，正在意料之中。",
            f"Batch norm keeps the variance of every layer's inputs at 1, so that nothing saturates badly: all five take {min(means):.0f} to {max(means):.0f} steps "
            f"(of {p.steps} at most). That the choice matters less is what one would expect.",
        ) if max(means) < p.steps else Text(
            "批量归一化把每层输入的方差保持为 1，没有谁会严重饱和。", "Batch norm keeps the variance of every layer's inputs at 1, so that nothing saturates badly.",
        )  # fmt: skip
    if p.rate_for != "own":
        return Text(
            "共用一个学习率，比的是这个学习率适合谁，而不是哪种激活函数快，得不出论文的结果并不奇怪：论文为每个网络单独选了学习率。",
            "A shared rate shows which activation that rate suits, not which is faster, so it is no surprise to miss the result of the paper, which chose a rate for each network.",
        )
    if rival > relu:
        return Text(
            f"没有饱和时 {p.rival} 传回的梯度比 ReLU 多（ReLU 把约一半的输入置零）；手写数字又容易，几十步就到 25%，还来不及饱和。论文用的是 CIFAR-10 上更大的网络，训练了许多轮。",
            f"As long as it does not saturate, {p.rival} passes on more of the gradient than ReLU, which zeroes about half of its inputs; and the digits are so easy that "
            "25 % comes within tens of steps, before anything saturates. The paper trained a larger network on CIFAR-10 for many epochs.",
        )  # fmt: skip
    return Text(
        f"{p.rival} 传回的梯度更少，但它的输出有界，在这样的尺度（像素 ×{p.pixels:g}，权重 ×{p.weights:g}）下反而稳定，ReLU 的输出则没有上限。",
        f"{p.rival} passes on less of the gradient, but its outputs are bounded, which is an advantage at this scale (pixels ×{p.pixels:g}, weights ×{p.weights:g}); "
        "ReLU's grow without limit.",
    )  # fmt: skip


def predict(p: ReluRace) -> Prediction:
    rule = {"own": Text("各用最佳学习率", "each at its best rate"), "relu": Text("都用 ReLU 的最佳学习率", "both at ReLU's best rate"),
            "rival": Text(f"都用 {p.rival} 的最佳学习率", f"both at {p.rival}'s best rate")}[p.rate_for]  # fmt: skip
    norm = Text("，带批量归一化", ", with batch norm") if p.batch_norm else Text("", "")
    return Prediction(
        Text(
            f"{p.depth} 层卷积的小网络{norm.zh}，{rule.zh}：谁先到 25% 训练错误率？",
            f"A small network of {p.depth} convolutions{norm.en}, {rule.en}: which reaches 25 % training error first?",
        ),
        {
            "several": Text("ReLU，至少快一倍", "ReLU, at least twice as fast"),
            "little": Text("ReLU，但快不到一倍", "ReLU, by less than a factor of 2"),
            "not": Text(f"不是 ReLU：{p.rival} 一样快或更快", f"not ReLU: {p.rival} is as fast or faster"),
        },
    )


SCRIPT = """\
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.set_num_threads(1)
data = load_digits()
x = torch.tensor(data.data, dtype=torch.float32)
x = ((x - x.mean(0)) / (x - x.mean(0)).std()).view(-1, 1, 8, 8) * {pixels}
y = torch.tensor(data.target)


def build(activation, gain):
    layers, channels = [], 1
    for layer in range({depth}):
        conv = nn.Conv2d(channels, 8, 3, stride=1 if layer else 2, padding=1)
        nn.init.normal_(conv.weight, 0, {weights} * gain / (9 * channels) ** 0.5)
        nn.init.zeros_(conv.bias)
        layers += [conv, *([nn.BatchNorm2d(8)] if {batch_norm} else []), activation()]
        channels = 8
    dense = nn.Linear(128, 10)
    nn.init.normal_(dense.weight, 0, {weights} / 128**0.5)
    nn.init.zeros_(dense.bias)
    return nn.Sequential(*layers, nn.Flatten(), dense)


def steps_to_target(activation, gain, rate, seed):
    torch.manual_seed(seed)
    network = build(activation, gain)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
    for step in range(0, {steps}):
        with torch.no_grad():
            if (network(x[:256]).argmax(1) != y[:256]).float().mean() <= 0.25:
                return step
        chosen = torch.randint(len(y), ({batch},))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[chosen]), y[chosen]).backward()
        optimizer.step()
    return {steps}  # not reached


for name, activation, gain in [("ReLU", nn.ReLU, 2**0.5), ("{rival}", nn.{module}, 1.0)]:
    for rate in {rates}:
        steps = [steps_to_target(activation, gain, rate, seed) for seed in range(3)]
        print(f"{{name:8}} lr {{rate:.3f}}: {{steps}} steps to 25 % training error")
"""


def code(p: ReluRace) -> str:
    rates = [round(rate, 3) for rate in RATES]
    return SCRIPT.format(**p.values(), module="Tanh" if p.rival == "tanh" else "Sigmoid", rates=rates)


DEMO = Demo(
    topic="activations",
    title=Text("ReLU 赛跑", "The ReLU race"),
    question=Text("ReLU 真的比 tanh 快几倍吗？", "Is ReLU really several times faster than tanh?"),
    look_for=Text(
        "看谁的曲线先穿过 25% 的虚线。再看学习率那张图：各激活函数最快的学习率是不是同一个，要是共用一个，名次会不会变。",
        "See whose curve crosses the dashed line at 25 % first. Then look at the rates: is the fastest the same for every activation, and would one "
        "rate for all change the order?",
    ),
    scaled_down=Text(
        "论文是 CIFAR-10 上的四层 CNN；这里是 8×8 手写数字上 8 个通道的四层小 CNN，几十步就到 25%。",
        "The paper has a four-layer CNN on CIFAR-10; here it is a four-layer CNN of 8 channels on 8×8 digits, at 25 % within tens of steps.",
    ),
    parameters=ReluRace,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=2,
)
