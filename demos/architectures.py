"""FNN, RNN, CNN (1.31): three networks with equally many weights on a task of memory and on one of shifted patterns, and what each can see.

Sequences have 24 steps of two channels. *Lag*: the first channel holds random bits, the second marks one of them, and the bit marked `lag` steps before
the end is to be named there. *Shift*: one of two patterns lies somewhere in noise, and training shows only some of the places. All seeds of an
architecture are trained at once: their weights have the seed first, S seeds in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from demos.core.charts import Axis, BarChart, Bars, Chart, Grid, Line, LineChart, PlaneChart, Role, Rule
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.stacked import Adam
from demos.core.statistics import interval, mean_and_band, mean_and_spread
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

STEPS, CHANNELS = 24, 2  # of a sequence
PATTERNS = ((1, 1, -1, -1, 1), (1, -1, -1, 1, 1))  # the same values in another order
PLACES, PLACE = 18, 8  # where a pattern may begin: 0 … 17; the place of "one place only"
BATCH, CLIP = 64, 1.0
TESTS, LOOKS = 64, 20  # samples at each lag or place in the last look, a quarter of them in each of the earlier ones
BIG, SMALL, LEARNT = 0.25, 0.05, 0.75  # a clear gain and a tie, in accuracy; from where a network counts as having learnt
NAMES: dict[str, tuple[Text, Role]] = {"fnn": (same("FNN"), "baseline"), "rnn": (same("RNN"), "second"), "cnn": (same("CNN"), "first")}


@dataclass(frozen=True)
class Architectures(Parameters):
    task: str = mode_choice(
        "lag", {"lag": Text("记忆", "memory"), "shift": Text("平移", "shift")},
        label=Text("任务", "Task"), help=Text("记住若干步之前的输入，或认出任意位置的图案。", "Remember an input from some steps ago, or find a pattern anywhere."),
    )  # fmt: skip
    max_lag: int = integer(
        20, 0, STEPS - 1, label=Text("最大延迟", "Longest lag"), modes=("lag",), help=Text("要记住多少步之前的输入。", "How many steps back the input may lie.")
    )  # fmt: skip
    places: str = choice(
        "half", {"half": Text("左半边", "left half"), "all": Text("所有位置", "everywhere"), "one": Text("只有一处", "one place")},
        label=Text("训练时的位置", "Places in training"), modes=("shift",), help=Text("训练时图案出现在哪里；测试遍历所有位置。", "Where the pattern lies in training; tests try every place."),
    )  # fmt: skip
    depth: int = integer(
        3, 1, 8, label=Text("CNN 层数", "CNN layers"), help=Text("越深看得越远。", "The deeper, the farther back it sees.")
    )
    kernel: int = integer(3, 1, 7, label=Text("卷积核宽度", "Kernel width"), help=Text("一层看几步。", "Steps that one layer sees."))
    budget: int = integer(
        400, 100, 3000, step=100, label=Text("参数个数", "Weights"), help=Text("三个网络都尽量用满、但不超过。", "Each network uses as many as fit in this number.")
    )  # fmt: skip
    steps: int = integer(
        250, 50, 1000, step=50, label=Text("训练步数", "Training steps"), help=Text("每步 64 个新样本。", "Each uses 64 new samples.")
    )
    noise: float = real(
        0.5, 0, 2, step=0.1, advanced=True, label=Text("噪声", "Noise"), modes=("shift",), help=Text("加在序列上的标准差。", "Its standard deviation.")
    )  # fmt: skip
    rate: float = real(
        0.01, 0.0003, 0.3, log=True, advanced=True, label=Text("学习率", "Learning rate"), help=Text("Adam 的学习率。", "Adam's.")
    )
    runs: int = integer(8, 5, 12, advanced=True, label=Text("种子数", "Seeds"), help=Text("每种网络训练几个。", "Networks of each kind."))


PRESETS = {
    "memory": Preset(
        Text("记忆任务", "Memory"),
        Text("记住最多 20 步之前被标记的那一位。", "Remember the marked bit, from up to 20 steps ago."),
        {},
        "textbook",
    ),
    "shift": Preset(
        Text("平移任务", "Shift"),
        Text("训练时图案只在左半边，测试时到处都有。", "In training the pattern lies in the left half, in tests anywhere."),
        {"task": "shift", "steps": 200},
        look_for=Text(
            "看正确率越过“训练到此”那条竖线以后：谁保持得住，谁掉下来，掉到 50%（瞎猜）的上面还是下面。再看导数图：哪个网络把整条序列都看在眼里，哪个主要看训练时有图案的那一段。",
            "See what becomes of the accuracy beyond the line “trained up to here”: which network keeps it, which one falls, and does it end above or below 50 % (guessing)? Then look at the map of derivatives: which network looks at the whole sequence, and which one mainly at the part that held a pattern in training?",
        ),
    ),
    "short-lag": Preset(
        Text("延迟在感受野内", "Lag within reach"),
        Text("延迟都小于 CNN 的感受野：还需要 RNN 吗？", "All lags lie within the CNN's receptive field: is an RNN needed?"),
        {"max_lag": 5},
        "limits",
        look_for=Text(
            "看正确率与延迟：三个网络分得出高下吗，哪一个在哪些延迟上落后。再看导数图里 CNN 亮着的那几步：盖得住这些延迟吗？",
            "Look at the accuracy by lag: can the three networks be told apart, and which falls behind at which lags? Then look at the steps where the CNN's row of the map of derivatives is bright: do they cover these lags?",
        ),
    ),
    "fixed-place": Preset(
        Text("位置固定", "Fixed place"),
        Text("图案总在同一处：平移等变还有用吗？", "The pattern is always in one place: does shift equivariance help?"),
        {"task": "shift", "places": "one", "steps": 200},
        "limits",
        look_for=Text(
            "看曲线在“只训练此处”那条竖线上的高度：三个网络谁高谁低；再看离开一两步，各自又怎样。导数图里看哪个网络只盯着图案所在的几步，哪个还在看别处的噪声。",
            "See how high the three curves are at the line “trained only here”, and what becomes of each a step or two away. In the map of derivatives, see which network looks only at the steps that hold the pattern, and which one also looks at the noise elsewhere.",
        ),
    ),
}  # fmt: skip

BAI = Source(
    "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling",
    "Shaojie Bai, J. Zico Kolter, Vladlen Koltun",
    2018,
    "https://arxiv.org/abs/1803.01271",
)
GOODFELLOW = Source(
    "Deep Learning, Chapter 9: Convolutional Networks",
    "Ian Goodfellow, Yoshua Bengio, Aaron Courville",
    2016,
    "https://www.deeplearningbook.org/contents/convnets.html",
)


# ---- the networks ----------------------------------------------------------------------------------------------------


class Network(Protocol):
    """S networks of one kind: `weights`, each (S, …), and one logit (S, B) for each sequence (S, B, channels, time)."""

    weights: list[Tensor]

    def logits(self, x: Tensor) -> Tensor: ...


class FNN:
    """All steps at once into one hidden layer of ReLUs."""

    def __init__(self, runs: int, width: int, generator: torch.Generator) -> None:
        self.weights = [_drawn(runs, CHANNELS * STEPS, width, 2, generator), torch.zeros(runs, 1, width)]
        self.weights += [_drawn(runs, width, 1, 1, generator), torch.zeros(runs, 1, 1)]

    def logits(self, x: Tensor) -> Tensor:
        first, shift, last, bias = self.weights
        return torch.baddbmm(bias, torch.baddbmm(shift, x.flatten(2), first).relu(), last)[..., 0]


class RNN:
    """h ← tanh(hW + xU + b), read out after the last step. W starts as a rotation, which keeps the length of h."""

    def __init__(self, runs: int, width: int, generator: torch.Generator) -> None:
        rotation = torch.linalg.qr(torch.randn(runs, width, width, generator=generator))[0]
        self.weights = [rotation.contiguous(), _drawn(runs, CHANNELS, width, 1, generator), torch.zeros(runs, 1, width)]
        self.weights += [_drawn(runs, width, 1, 1, generator), torch.zeros(runs, 1, 1)]

    def logits(self, x: Tensor) -> Tensor:
        recurrent, inward, shift, last, bias = self.weights
        driven = x.permute(3, 0, 1, 2) @ inward + shift  # (time, S, B, width)
        h = torch.zeros_like(driven[0])
        for step in driven:
            h = torch.baddbmm(step, h, recurrent).tanh()
        return torch.baddbmm(bias, h, last)[..., 0]


class CNN:
    """Causal convolutions with ReLU (what lies before the sequence is 0), read out at the last step or, with `pooled`, as the maximum over all steps.

    kernels: (S, kernel · channels in, width); a row for each step back (the present last) and channel.
    """

    def __init__(self, p: Architectures, width: int, generator: torch.Generator) -> None:
        self.kernel, self.depth, self.pooled = p.kernel, p.depth, p.task == "shift"
        self.weights = []
        for layer in range(p.depth):
            rows = p.kernel * (width if layer else CHANNELS)
            self.weights += [_drawn(p.runs, rows, width, 2, generator), torch.zeros(p.runs, 1, width)]
        self.weights += [_drawn(p.runs, width, 1, 1, generator), torch.zeros(p.runs, 1, 1)]

    def logits(self, x: Tensor) -> Tensor:
        runs, batch = x.shape[:2]
        h = x.permute(0, 3, 1, 2)  # (S, time, B, channels)
        for layer in range(self.depth):
            kernel, shift = self.weights[2 * layer : 2 * layer + 2]
            padded = torch.cat([h.new_zeros(runs, self.kernel - 1, batch, h.shape[3]), h], 1)
            windows = torch.cat([padded[:, i : i + STEPS] for i in range(self.kernel)], 3)
            h = torch.baddbmm(shift, windows.flatten(1, 2), kernel).relu().view(runs, STEPS, batch, -1)
        read = h.amax(1) if self.pooled else h[:, -1]
        return torch.baddbmm(self.weights[-1], read, self.weights[-2])[..., 0]


def _drawn(runs: int, rows: int, columns: int, gain: float, generator: torch.Generator) -> Tensor:
    scale: float = (gain / rows) ** 0.5
    return torch.randn(runs, rows, columns, generator=generator) * scale


def receptive_field(p: Architectures) -> int:
    """Steps that the last output of the CNN sees: each layer adds kernel − 1."""
    return (p.kernel - 1) * p.depth + 1


def weights_of(kind: str, p: Architectures, width: int) -> int:
    """How many weights a network of this width has."""
    if kind == "fnn":
        return CHANNELS * STEPS * width + 2 * width + 1
    if kind == "rnn":
        return width * width + CHANNELS * width + 2 * width + 1
    return p.kernel * CHANNELS * width + (p.depth - 1) * p.kernel * width * width + p.depth * width + width + 1


def width_of(kind: str, p: Architectures) -> int:
    """The largest width within the budget, at least 1."""
    return next(width for width in range(1, 4000) if weights_of(kind, p, width + 1) > p.budget)


def build(kind: str, p: Architectures, generator: torch.Generator) -> Network:
    width = width_of(kind, p)
    return CNN(p, width, generator) if kind == "cnn" else FNN(p.runs, width, generator) if kind == "fnn" else RNN(p.runs, width, generator)


# ---- the tasks -------------------------------------------------------------------------------------------------------


def tested(p: Architectures) -> list[int]:
    """The lags or places that are tested."""
    return list(range(p.max_lag + 1)) if p.task == "lag" else list(range(PLACES))


def trained(p: Architectures) -> tuple[int, int]:
    """The first and the last lag or place that training shows."""
    if p.task == "lag":
        return 0, p.max_lag
    return (PLACE, PLACE) if p.places == "one" else (0, PLACES // 2 - 1 if p.places == "half" else PLACES - 1)


def judged(p: Architectures) -> list[int]:
    """The lags or places of the verdict: beyond the CNN's reach, places not seen in training, or the only place; all where there are none such."""
    first, last = trained(p)
    if p.task == "lag":
        return [lag for lag in tested(p) if lag >= receptive_field(p)] or tested(p)
    return [place for place in tested(p) if place > last] or [first] if p.places == "half" else list(range(first, last + 1))


def _asked(p: Architectures) -> Text:
    """The lags or places of the verdict, in words."""
    first, last = judged(p)[0], judged(p)[-1]
    span, plural = (f"{first} … {last}", "s") if last > first else (str(first), "")
    return Text(f"延迟 {span} 步", f"lag{plural} {span}") if p.task == "lag" else Text(f"位置 {span}", f"place{plural} {span}")


def _told(scores: dict[str, float]) -> Text:
    """The accuracy (0 … 1) of each network, in words."""
    return Text(
        "，".join(f"{NAMES[kind][0].zh} {100 * score:.0f}%" for kind, score in scores.items()),
        ", ".join(f"{NAMES[kind][0].en} {100 * score:.0f} %" for kind, score in scores.items()),
    )


def samples(p: Architectures, at: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sequences (S, B, channels, time) and labels (S, B) in 0, 1, for lags or places `at` (S, B)."""
    shape = (*at.shape, STEPS)
    if p.task == "lag":
        bits = torch.randint(0, 2, shape, generator=generator)
        step = (STEPS - 1 - at)[..., None]
        marks = torch.zeros(shape).scatter_(2, step, 1.0)
        return torch.stack([2.0 * bits - 1, marks], 2), bits.gather(2, step)[..., 0].float()
    y = torch.randint(0, 2, at.shape, generator=generator)
    pattern = torch.tensor(PATTERNS, dtype=torch.float32)[y]
    signal = p.noise * torch.randn(shape, generator=generator)
    signal.scatter_add_(2, at[..., None] + torch.arange(pattern.shape[2]), pattern)
    return torch.stack([signal, torch.zeros(shape)], 2), y.float()


def clipped(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Each network's gradient, shortened to the length CLIP if it is longer."""
    lengths = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0).sqrt()
    return [gradient * (CLIP / lengths.clamp_min(CLIP)).view(-1, 1, 1) for gradient in gradients]


class _Trained:
    """S networks of one kind with their optimiser (a `Stack`)."""

    def __init__(self, kind: str, p: Architectures, device: torch.device, generator: torch.Generator) -> None:
        self.network, self.count, self.device = build(kind, p, generator), p.runs, device
        self.network.weights = [weight.to(device).requires_grad_() for weight in self.network.weights]
        self.optimizer = Adam(self, [p.rate] * p.runs)

    def parameters(self) -> list[Tensor]:
        return self.network.weights

    def step(self, x: Tensor, y: Tensor) -> None:
        loss = torch.nn.functional.binary_cross_entropy_with_logits(self.network.logits(x), y, reduction="none").mean(1).sum()
        gradients = clipped(torch.autograd.grad(loss, self.network.weights))
        with torch.no_grad():
            self.optimizer.step(gradients)

    def accuracy(self, x: Tensor, y: Tensor, places: int) -> list[list[float]]:
        """Share of right answers at each place, for each seed: samples lie place by place. A network that diverged is right by no answer."""
        with torch.no_grad():
            logits = self.network.logits(x)
        right = ((logits > 0) == (y > 0.5)) & logits.isfinite()
        found: list[list[float]] = right.float().view(len(x), places, -1).mean(2).tolist()
        return found


def jacobian(network: Network, x: Tensor) -> Tensor:
    """|∂ output / ∂ input| at each step (time,), summed over channels, the mean over samples and seeds."""
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(network.logits(x).sum(), x)
    return slope.abs().sum(2).mean((0, 1)).cpu()


# ---- what is shown ---------------------------------------------------------------------------------------------------


def _charts(p: Architectures, step: int, accuracy: dict[str, list[list[float]]], maps: dict[str, Tensor]) -> tuple[Chart, ...]:
    x, lag = tested(p), p.task == "lag"
    lines = tuple(Line(name, role, x, *mean_and_band(accuracy[kind])) for kind, (name, role) in NAMES.items())
    rule = Rule(Text("训练到此", "trained up to here"), trained(p)[1] + 0.5)
    if lag:
        rule = Rule(Text("CNN 感受野", "CNN's reach"), receptive_field(p) - 0.5)
    elif p.places == "one":
        rule = Rule(Text("只训练此处", "trained only here"), PLACE)
    means = {kind: mean_and_spread(focus(p, accuracy[kind])) for kind in NAMES}
    rows = torch.stack([maps[kind] / maps[kind].max().clamp_min(1e-30) for kind in NAMES])
    at = Axis(Text("延迟（步）", "lag (steps)") if lag else Text("图案的位置", "place of the pattern"), low=0, high=max(1, x[-1]))
    share = Axis(Text("正确率", "accuracy"), low=0, high=1)
    asked, told = _asked(p), _told({kind: mean for kind, (mean, _) in means.items()})
    return (
        LineChart(
            Text("正确率与延迟", "Accuracy by lag") if lag else Text("正确率与位置", "Accuracy by place"), at, share, lines,
            Text(f"第 {step} 步，{asked.zh}，平均正确率：{told.zh}。", f"Step {step}: mean accuracy at {asked.en}: {told.en}."),
            rules=(rule,) if rule.x < x[-1] else (),
        ),
        PlaneChart(
            Text("输出看输入的哪里", "Where the output looks"), Axis(Text("时间步", "time step"), low=-0.5, high=STEPS - 0.5),
            Axis(Text("网络", "network"), names=tuple(name for name, _ in NAMES.values())),
            Text("每个网络的 |∂输出/∂输入|，各行除以自己的最大值。", "|∂ output / ∂ input| of each network, each row divided by its largest."),
            Grid(Text("|∂输出/∂输入|", "|∂ output / ∂ input|"), rows, low=0, high=1),
        ),
        BarChart(
            Text("平均正确率", "Mean accuracy"), (asked,), share,
            tuple(Bars(name, role, [means[kind][0]], [means[kind][1] or 0.0]) for kind, (name, role) in NAMES.items()),
            Text(f"{told.zh}；误差棒是 95% 区间。", f"{told.en}; the error bars are 95 % intervals."),
        ),
    )  # fmt: skip


def focus(p: Architectures, accuracy: Sequence[Sequence[float]]) -> list[float]:
    """The mean accuracy of each seed over the lags or places of the verdict."""
    return [sum(row[at] for at in judged(p)) / len(judged(p)) for row in accuracy]


# ---- the run ---------------------------------------------------------------------------------------------------------


def run(p: Architectures, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    nets = {kind: _Trained(kind, p, device, generator) for kind in NAMES}
    low, high = trained(p)

    def look(count: int) -> tuple[dict[str, list[list[float]]], dict[str, Tensor]]:
        at = torch.tensor(tested(p)).repeat_interleave(count).expand(p.runs, -1)
        x, y = (tensor.to(device) for tensor in samples(p, at, generator))
        chosen = x[:, :: max(1, x.shape[1] // 100)]
        maps = {kind: jacobian(net.network, chosen) for kind, net in nets.items()}
        return {kind: net.accuracy(x, y, len(tested(p))) for kind, net in nets.items()}, maps

    pace, charts = Pace(), _charts(p, 0, *look(TESTS // 4))
    for step in range(p.steps):
        if pace.due(step / p.steps):
            yield Snapshot(step / p.steps, Text(f"第 {step}/{p.steps} 步", f"Step {step}/{p.steps}"), charts)
        x, y = samples(p, torch.randint(low, high + 1, (p.runs, BATCH), generator=generator), generator)
        for net in nets.values():
            net.step(x.to(device), y.to(device))
        if (step + 1) % max(1, p.steps // LOOKS) == 0:
            charts = _charts(p, step + 1, *look(TESTS // 4))
    accuracy, maps = look(TESTS)
    figures, outcome = judge(p, accuracy, maps)
    yield Snapshot(1, Text("完成", "Done"), _charts(p, p.steps, accuracy, maps), figures, outcome)


def judge(p: Architectures, accuracy: dict[str, list[list[float]]], maps: dict[str, Tensor]) -> tuple[tuple[Figure, ...], Outcome]:
    """The gain in accuracy (paired by seed) of the network that is said to win here, over the one it is compared with.

    A win (RNN over CNN at lags beyond the receptive field; CNN over FNN, which does not share its weights, otherwise): reproduced if the interval begins at 0.25 or
    more (half of the way from chance to perfect), same direction if it begins above 0. A tie (lags within the receptive field; one place only), where
    structure should bring at most 0.05: reproduced if the interval ends below 0.05, same direction if it only reaches below. Otherwise not at this scale.
    """
    winner, rival, tie = claim(p)
    scores = {kind: focus(p, accuracy[kind]) for kind in NAMES}
    mean, low, high = interval([a - b for a, b in zip(scores[winner], scores[rival], strict=True)])
    status: Status = "not_at_this_scale"
    if tie:
        status = "reproduced" if high < SMALL else "same_direction" if low < SMALL else status
    else:
        status = "reproduced" if low >= BIG else "same_direction" if low > 0 else status
    name = Text(f"正确率：{winner.upper()} − {rival.upper()}", f"Accuracy: {winner.upper()} − {rival.upper()}")
    measured = Figure(name, 100 * mean, 100 * (high - mean), Text("个百分点", "points"))
    figures = [measured]
    for kind, (label, _) in NAMES.items():
        at, spread = mean_and_spread(scores[kind])
        text = Text(
            f"{label.zh}（{weights_of(kind, p, width_of(kind, p))} 个参数）",
            f"{label.en} ({weights_of(kind, p, width_of(kind, p))} weights)",
        )
        figures.append(Figure(text, 100 * at, 100 * (spread or 0.0), "%"))
    if p.task == "lag":
        hidden = maps["cnn"][: max(0, STEPS - receptive_field(p))]
        figures.append(
            Figure(Text("CNN 感受野外的最大导数", "CNN's largest derivative beyond its reach"), float(hidden.max()) if len(hidden) else 0.0)
        )
    learnt = [kind for kind in NAMES if sum(scores[kind]) / p.runs > LEARNT]
    answer = "none" if not learnt else "several" if len(learnt) > 1 else learnt[0]
    published, source = _published(p, tie)
    explanation = _explanation(p, scores, (mean, low, high), status, tie)
    return tuple(figures), Outcome(Verdict(status, measured, published, source, explanation), answer)


def claim(p: Architectures) -> tuple[str, str, bool]:
    """Who is said to win over whom, and whether a tie is expected instead."""
    if p.task == "lag":
        return "rnn", "cnn", p.max_lag < receptive_field(p)
    return "cnn", "fnn", p.places == "one"


def _published(p: Architectures, tie: bool) -> tuple[Text, Source]:
    reach = receptive_field(p)
    if p.task == "lag" and tie:
        return Text(
            f"因果卷积一层回看 k−1 步；感受野 {reach} 步以内它都够得着",
            f"each causal layer looks back k−1 steps; a lag within the {reach} steps is in reach",
        ), BAI
    if p.task == "lag":
        return Text(
            f"无空洞的因果卷积能回看的历史只随深度线性增长（这里 {reach} 步），循环状态原则上没有上限",
            f"plain causal convolutions look back a history linear in their depth ({reach} steps here); a recurrent state has no limit in principle",
        ), BAI  # fmt: skip
    if tie:
        return Text(
            "平移等变靠共享权值而来；图案不动时就用不上",
            "shift equivariance comes from shared weights; it is of no use where nothing moves",
        ), GOODFELLOW
    return Text(
        "卷积共享权值，因此对平移等变：输入平移，输出跟着平移",
        "as its weights are shared, convolution is equivariant: shift the input and the output shifts",
    ), GOODFELLOW


def _explanation(p: Architectures, scores: dict[str, list[float]], gain: tuple[float, float, float], status: Status, tie: bool) -> Text:
    told, asked = _told({kind: sum(values) / p.runs for kind, values in scores.items()}), _asked(p)
    failed = status == "not_at_this_scale"
    if p.task == "lag":
        why = _why_lag_tie(p, failed) if tie else _why_lag(p, failed)
        return Text(
            f"{asked.zh}：{told.zh}（瞎猜是 50%）。{why.zh}FNN 要在每个位置分别学会“有标记且为 1”。论文的 TCN 加上空洞卷积和残差，在复制任务上达到 100%，同等大小的 LSTM 不到长度 50 就跌到 20% 以下：普通 CNN 缺的是感受野。",
            f"At {asked.en}: {told.en} (guessing gives 50 %). {why.en} The FNN must learn “marked and 1” for every position separately. With dilation and residual blocks the "
            "paper's TCN reaches 100 % on copying, while an LSTM of the same size falls below 20 % before length 50: what a plain CNN lacks is reach.",
        )  # fmt: skip
    why = _why_place(gain[0], failed) if tie else _why_shift(p, gain, failed)
    return Text(
        f"图案在{asked.zh} 时：{told.zh}（瞎猜是 50%）。{why.zh}",
        f"With the pattern at {asked.en}: {told.en} (guessing gives 50 %). {why.en}",
    )


def _why_lag(p: Architectures, failed: bool) -> Text:
    reach = receptive_field(p)
    rnn = Text(
        "RNN 这次也没学会：它的梯度要连乘许多步。",
        "The RNN has not learnt the task this time either: its gradient is a product over many steps.",
    )
    if not failed:
        rnn = Text("RNN 的状态把那一位一直带到最后。", "The RNN's state carries the bit to the end.")
    return Text(
        f"CNN 每层只多看 {p.kernel - 1} 步，共 {reach} 步；再早的输入对输出的导数恰好是 0，训练多久都只能猜。{rnn.zh}",
        f"Each layer lets the CNN see {p.kernel - 1} more steps, {reach} in all; the derivative with respect to any earlier input is exactly 0, so it can only guess, however long it is "
        f"trained. {rnn.en}",
    )  # fmt: skip


def _why_lag_tie(p: Architectures, failed: bool) -> Text:
    if failed:
        return Text("CNN 够得着那一位，却还没学会用它。", "The CNN can see the bit but has not learnt to use it.")
    return Text(
        f"CNN 的感受野 {receptive_field(p)} 步盖住了所有延迟，那一位不用一步步传递就到了输出，RNN 没有优势。",
        f"The CNN's {receptive_field(p)} steps cover every lag, and the bit reaches the output without being carried along: the RNN has no advantage.",
    )


def _why_place(gain: float, failed: bool) -> Text:
    if failed:
        return Text(
            "即使位置固定，CNN 也更好：FNN 要先分出哪些输入有用。",
            "Even in one place the CNN is better: the FNN has to find out which inputs matter.",
        )
    cost = Text("", "")
    if gain < -SMALL:
        cost = Text(
            "CNN 反而吃亏：取最大值时，别处的噪声也来竞争。",
            " It even costs the CNN something: when it takes the maximum, noise from everywhere else competes.",
        )
    return Text(
        f"图案不动，FNN 只要为这一处配好权值，共享权值换不来好处。{cost.zh}看曲线：换个位置，FNN 就认不得了；错开两步时两个图案的差别正好反号，它还会认反。",
        f"Nothing moves, so the FNN needs weights for this place only, and sharing buys nothing.{cost.en} The curve shows that the FNN is lost elsewhere; two steps away, where the difference between the two patterns "
        "changes sign, it even takes one for the other.",
    )


def _why_shift(p: Architectures, gain: tuple[float, float, float], failed: bool) -> Text:
    mean, low, high = (100 * value for value in gain)
    if failed:
        return Text(
            f"CNN 与 FNN 相差 {mean:+.0f} 个百分点（{low:+.0f} 到 {high:+.0f}），说不上 CNN 更好：可能还没有学会，也可能每个位置都训练过，FNN 逐处学会了。",
            f"CNN minus FNN is {mean:+.0f} points ({low:+.0f} to {high:+.0f}), so the CNN cannot be called better: it may not have learnt yet, or every place was shown and the FNN has learnt each by itself.",
        )
    own = Text("要一处一处地学", "must learn each place by itself")
    if p.places == "half":
        own = Text(
            "没见过的位置等于没学；紧挨着训练区的地方还会认反，因为错开两步时两个图案的差别正好反号",
            "those of an unseen place are untrained; just beyond the trained half it even takes one pattern for the other, as two steps away the difference between them changes sign",
        )
    return Text(
        f"CNN 比 FNN 高 {mean:.0f} 个百分点（{low:.0f} 到 {high:.0f}）。CNN 在每个位置用同一组核再取最大值，在一处学会就在处处学会；FNN 给每个位置单独的权值，{own.zh}。RNN 在时间上也共享权值，但要自己学会认出图案并记到最后，往往只有部分种子做得到。",
        f"The CNN leads the FNN by {mean:.0f} points ({low:.0f} to {high:.0f}). It uses the same kernels everywhere and takes the maximum, so what is learnt in one "
        f"place holds in all; the FNN has weights of its own for every place, and {own.en}. The RNN shares its weights over time as well, "
        "but must learn to recognise the pattern and to remember it to the end, which often only some seeds manage.",
    )  # fmt: skip


def predict(p: Architectures) -> Prediction:
    asked = _asked(p)
    seen = {
        "half": Text("左半边", "in the left half"),
        "all": Text("所有位置", "everywhere"),
        "one": Text(f"位置 {PLACE}", f"at place {PLACE}"),
    }[p.places]
    question = Text(
        f"参数一样多（约 {p.budget} 个），CNN 有 {p.depth} 层、核宽 {p.kernel}。{asked.zh}时，谁的正确率超过 75%？",
        f"Three networks of about {p.budget} weights; the CNN has {p.depth} layers of kernel width {p.kernel}. Which is right more than 75 % of the time at {asked.en}?",
    ) if p.task == "lag" else Text(
        f"训练时图案出现在{seen.zh}，参数一样多（约 {p.budget} 个）。测试时图案在{asked.zh}，谁的正确率超过 75%？",
        f"In training the pattern lies {seen.en}; all networks have about {p.budget} weights. With the pattern at {asked.en}, which is right more than 75 % of the time?",
    )  # fmt: skip
    only = {kind: Text(f"只有 {name.zh}", f"only the {name.en}") for kind, (name, _) in NAMES.items()}
    return Prediction(question, only | {"several": Text("不止一个", "more than one"), "none": Text("一个都没有", "none")})


SCRIPT = """\
import torch
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(0)
STEPS = 24
PATTERNS = torch.tensor([[1.0, 1, -1, -1, 1], [1.0, -1, -1, 1, 1]])


def samples(at):  # lags or places (B,) -> sequences (B, 2, 24), labels (B,)
    x, rows = torch.zeros(len(at), 2, STEPS), torch.arange(len(at))
    if "{task}" == "lag":
        x[:, 0] = torch.randint(0, 2, (len(at), STEPS)) * 2.0 - 1
        x[rows, 1, STEPS - 1 - at] = 1
        return x, (x[rows, 0, STEPS - 1 - at] > 0).float()
    y = torch.randint(0, 2, (len(at),))
    x[:, 0] = {noise} * torch.randn(len(at), STEPS)
    x[:, 0] = x[:, 0].scatter_add(1, at[:, None] + torch.arange(5), PATTERNS[y])
    return x, y.float()


class RNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.last = nn.RNN(2, {rnn}, batch_first=True), nn.Linear({rnn}, 1)
        nn.init.orthogonal_(self.rnn.weight_hh_l0)

    def forward(self, x):
        return self.last(self.rnn(x.transpose(1, 2))[0][:, -1])


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d({cnn} if i else 2, {cnn}, {kernel}) for i in range({depth}))
        self.last = nn.Linear({cnn}, 1)

    def forward(self, x):
        for layer in self.layers:
            x = layer(nn.functional.pad(x, ({kernel} - 1, 0))).relu()
        return self.last(x[:, :, -1] if "{task}" == "lag" else x.amax(2))


fnn = nn.Sequential(nn.Flatten(), nn.Linear(2 * STEPS, {fnn}), nn.ReLU(), nn.Linear({fnn}, 1))
for name, network in [("FNN", fnn), ("RNN", RNN()), ("CNN", CNN())]:
    optimizer = torch.optim.Adam(network.parameters(), lr={rate})
    for step in range({steps}):
        x, y = samples(torch.randint({low}, {high} + 1, (64,)))
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(network(x)[:, 0], y).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    accuracy = []
    for at in range({count}):
        x, y = samples(torch.full((500,), at))
        with torch.no_grad():
            accuracy.append(round(((network(x)[:, 0] > 0) == (y > 0)).float().mean().item(), 2))
    print(name, sum(weight.numel() for weight in network.parameters()), "weights; accuracy by lag or place:", accuracy)
"""


def code(p: Architectures) -> str:
    low, high = trained(p)
    return SCRIPT.format(**p.values(), **{kind: width_of(kind, p) for kind in NAMES}, low=low, high=high, count=len(tested(p)))


DEMO = Demo(
    topic="architectures",
    title=Text("FNN、RNN、CNN 各擅长什么", "What FNN, RNN and CNN are each good at"),
    question=Text(
        "参数一样多，谁擅长记忆，谁擅长平移？", "With equally many weights, which one remembers, and which one copes with shifts?"
    ),
    look_for=Text(
        "看正确率与延迟：哪个网络在哪里掉到 50%（瞎猜），与“CNN 感受野”那条竖线对照。再看导数图：颜色最暗的地方，网络几乎看不见，甚至完全看不见。",
        "Look at the accuracy by lag: which network falls to 50 % (guessing), and where, compared with the line “CNN's reach”? Then look at the map of derivatives: where it is darkest, the network sees next to nothing, or nothing at all.",
    ),
    scaled_down=Text(
        "论文用上万到百万参数的网络、上百步的序列；这里是 24 步的序列、约 400 个参数、没有空洞和残差的小网络。",
        "The paper trains networks of ten thousand weights and more on hundreds of steps; here there are 24 steps and about 400 weights, without dilation or residual blocks.",
    ),
    parameters=Architectures,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=4,
)
