"""Margin-based softmax losses (1.24): 2-D embeddings of digits under softmax, ArcFace, CosFace, L-Softmax and center loss.

All losses take ArcFace's common form (Deng et al. 2019, Eq. 4), so that losses × seeds are one stack: network k has loss k // seeds and seed
k % seeds. Networks of one seed start from the same weights and see the same batches, so losses are compared in pairs.

How tight classes are is measured on test digits, as in Deng's Table 3: the mean angle between a digit and the centre of its class ("intra"), over
the mean angle between a centre and the nearest other one ("inter"). For center loss, which acts on distances, the same with distances.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Line, LineChart, PlaneChart, Points, Role, Rule
from demos.core.datasets import CLASSES, Dataset, load_digits, load_digits_or_own
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict, effect_status
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import Adam, StackedMLP
from demos.core.statistics import interval, mean_and_band, mean_and_spread, ratio_interval
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

WIDTH, BATCH = 64, 64  # units in each of two hidden layers; images in a batch
DRAWN = 300  # test points in a plane
COMPARED = ("arcface", "l-softmax", "center")  # the modes that compare one improved loss with softmax


@dataclass(frozen=True)
class MarginSoftmax(Parameters):
    task: str = mode_choice(
        "arcface",
        {
            "arcface": same("ArcFace"),
            "l-softmax": same("L-Softmax"),
            "center": Text("中心损失", "center loss"),
            "too-large": Text("间隔过大", "margin too large"),
            "unseen": Text("没见过的数字", "unseen digits"),
        },
        label=Text("实验", "Experiment"),
        help=Text("看哪一种改进，或者看它们什么时候失灵。", "Which improvement to look at, or where they fail."),
    )
    angle: float = real(
        0.5,
        0,
        1.5,
        step=0.05,
        label=Text("角度间隔 m（弧度）", "Angular margin m (radians)"),
        help=Text("ArcFace：目标类用 cos(θ + m)。", "ArcFace: the target class gets cos(θ + m)."),
        modes=("arcface", "unseen"),
    )
    factor: float = real(
        3,
        1,
        6,
        step=0.5,
        label=Text("角度倍数 m", "Angle multiplier m"),
        help=Text("L-Softmax：目标类用 cos(mθ)；1 就是普通 softmax。", "L-Softmax: the target class gets cos(mθ); 1 is plain softmax."),
        modes=("l-softmax", "unseen"),
    )
    pull: float = real(
        0.1,
        0.001,
        100,
        log=True,
        label=Text("中心损失的权重 λ", "Weight λ of the center loss"),
        help=Text("越大，特征被拉向类中心越用力。", "The larger, the harder features are pulled to their class centre."),
        modes=("center", "unseen"),
    )
    scale: float = real(
        30,
        1,
        64,
        step=1,
        label=Text("尺度 s", "Scale s"),
        help=Text("归一化后的余弦乘以它；太小就学不动。", "Multiplies the cosines; with too small a scale nothing is learnt."),
        modes=("arcface", "too-large", "unseen"),
    )
    known: int = integer(
        CLASSES,
        3,
        CLASSES,
        label=Text("训练的数字个数", "Digits trained on"),
        help=Text("只用 0 到 n−1。“没见过的数字”最多用 8 个。", "Only 0 … n−1; at most 8 in the preset with unseen digits."),
        modes=("too-large", "unseen"),
    )
    steps: int = integer(
        800, 100, 1500, step=100, label=Text("步数", "Steps"), help=Text("每步 64 张图（Adam）。", "Each of 64 images (Adam).")
    )
    warm_up: float = real(
        0.3,
        0,
        0.8,
        step=0.1,
        advanced=True,
        label=Text("间隔的预热", "Margin warm-up"),
        help=Text("在前多大比例的步数里，间隔从 0 逐渐增大到 m。", "Share of the steps in which the margin grows from 0 to m."),
    )
    rate: float = real(
        0.01,
        0.0003,
        0.1,
        log=True,
        advanced=True,
        label=Text("学习率", "Learning rate"),
        help=Text("线性降到十分之一。", "Falls linearly to a tenth."),
    )
    seeds: int = integer(
        8,
        5,
        10,
        advanced=True,
        label=Text("种子数", "Seeds"),
        help=Text("不同的初始权重和小批量。", "Different initial weights and batches."),
    )
    data: str = own_data("classes", modes=COMPARED)


PRESETS = {
    "arcface": Preset(
        Text("ArcFace 角度间隔", "ArcFace"),
        Text("角度间隔 0.5 弧度：同一类的数字会收得多紧？", "An angular margin of 0.5: how tightly does each digit gather?"),
        {"task": "arcface"},
        "textbook",
    ),
    "l-softmax": Preset(
        Text("L-Softmax 倍角", "L-Softmax"),
        Text("角度乘以 3 再取余弦，不做归一化。", "The cosine of three times the angle, without normalisation."),
        {"task": "l-softmax"},
    ),
    "center": Preset(
        Text("中心损失", "Center loss"),
        Text("softmax 之外再把特征拉向类中心：每一类会变成什么形状？", "Softmax plus a pull to the class centres: what shape does each class take?"),
        {"task": "center"},
    ),
    "too-large": Preset(
        Text("间隔过大", "Margin too large"),
        Text("平面上十个类只容得下 0.19 的余弦间隔；再大会怎样？", "Ten classes in a plane have room for a cosine margin of 0.19; what if it is larger?"),
        {"task": "too-large", "seeds": 6},
        "limits",
        look_for=Text(
            "看准确率的曲线在“上限”竖线之前和之后各是什么走势，训练与测试是否一样。再比较两张平面图：是不是每种颜色都还有自己的方向。",
            "See how accuracy goes before and after the line of the bound, and whether training and test agree. Then compare the two planes: does every colour still have a direction of its own?",
        ),
    ),
    "unseen": Preset(
        Text("没见过的数字", "Unseen digits"),
        Text("只学 0–6：认见过的数字、认没见过的 7、8、9，会沾光吗？", "Trained on 0–6: is anything gained on these digits, or on the unseen 7, 8, 9?"),
        {"task": "unseen", "known": 7, "steps": 600},
        "limits",
        look_for=Text(
            "先看没见过的数字：改进的三种损失与 softmax 的线谁高谁低，离“原始像素”的虚线多远。再看见过的类收得最紧的是谁，两张图里的名次是否一致。",
            "On the unseen digits, see which of the three improved losses lie above softmax and which below, and how far from the dashed line of the raw pixels. Then see which loss holds the known classes tightest, and whether the two charts rank the losses alike.",
        ),
    ),
}  # fmt: skip

DENG = Source(
    "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
    "Jiankang Deng, Jia Guo, Niannan Xue, Stefanos Zafeiriou",
    2019,
    "https://arxiv.org/abs/1801.07698",
)
LIU = Source(
    "Large-Margin Softmax Loss for Convolutional Neural Networks",
    "Weiyang Liu, Yandong Wen, Zhiding Yu, Meng Yang",
    2016,
    "https://arxiv.org/abs/1612.02295",
)
WEN = Source(
    "A Discriminative Feature Learning Approach for Deep Face Recognition",
    "Yandong Wen, Kaipeng Zhang, Zhifeng Li, Yu Qiao",
    2016,
    "https://doi.org/10.1007/978-3-319-46478-7_31",
)
WANG = Source(
    "CosFace: Large Margin Cosine Loss for Deep Face Recognition",
    "Hao Wang, Yitong Wang, Zheng Zhou, Xing Ji, Dihong Gong, Jingchao Zhou, Zhifeng Li, Wei Liu",
    2018,
    "https://arxiv.org/abs/1801.09414",
)
DENG_GAIN = (33.97 / 65.60) / (28.05 / 66.55)  # Table 3, LFW: intra and inter angle without margin, over those of ArcFace: 1.23
LOADING, DONE = Text("载入数字", "Loading the digits"), Text("完成", "Done")


# ---- the losses ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    """The target's logit is length · (ψ(factor·θ + angle) − cosine), every other one length · cos θ; `pull` is λ of the center loss.

    length: the fixed scale s with normalised features and class vectors, or, if `scale` is 0, the product of their own lengths.
    """

    name: Text
    role: Role
    scale: float = 0.0
    factor: float = 1.0
    angle: float = 0.0
    cosine: float = 0.0
    pull: float = 0.0


class Heads:
    """The numbers of the losses as tensors (K, 1, 1), each for as many networks as there are seeds."""

    def __init__(self, losses: Sequence[Loss], seeds: int, device: torch.device) -> None:
        def column(value: Callable[[Loss], float]) -> Tensor:
            return torch.tensor([value(loss) for loss in losses for _ in range(seeds)], device=device)[:, None, None]

        self.scale, self.factor, self.angle = column(lambda x: x.scale), column(lambda x: x.factor), column(lambda x: x.angle)
        self.cosine, self.pull = column(lambda x: x.cosine), column(lambda x: x.pull)


def psi(phi: Tensor) -> Tensor:
    """cos φ on [0, π], continued so that it keeps falling: (−1)^k cos φ − 2k on [kπ, (k+1)π] (Liu et al. 2016)."""
    k = (phi / math.pi).floor().detach()
    return (1 - 2 * (k % 2)) * phi.cos() - 2 * k


def lengths(x: Tensor, dim: int) -> Tensor:
    return x.square().sum(dim, keepdim=True).clamp_min(1e-12).sqrt()


def batch_losses(features: Tensor, weights: Tensor, centres: Tensor, y: Tensor, heads: Heads, ramp: float = 1.0) -> Tensor:
    """Mean loss (K,) in nats of a batch. features (K, D, B), class vectors (K, C, D), centres (K, D, C), y (K, B); `ramp` scales the margins."""
    target = y[:, None]
    own, class_lengths = lengths(features, 1), lengths(weights, 2)
    cosines = torch.bmm(weights / class_lengths, features / own)  # (K, C, B)
    length = torch.where(heads.scale > 0, heads.scale, class_lengths * own)
    factor, angle = 1 + (heads.factor - 1) * ramp, heads.angle * ramp
    plain = cosines.gather(1, target)
    theta = plain.clamp(-1 + 1e-6, 1 - 1e-6).acos()  # arccos has an infinite slope at ±1
    harder = torch.where((factor == 1) & (angle == 0), plain, psi(factor * theta + angle)) - heads.cosine * ramp
    logits = length * cosines.scatter(1, target, harder)
    cross_entropy = -logits.log_softmax(1).gather(1, target)[:, 0].mean(1)
    from_centre = features - centres.gather(2, target.expand(-1, features.shape[1], -1))
    return cross_entropy + heads.pull[:, 0, 0] / 2 * from_centre.square().sum(1).mean(1)


class _Training:
    """Losses × seeds networks 64 → 64 → 64 → `dimensions`, each with a vector for every class; no biases there, as the angle has to decide."""

    def __init__(self, p: MarginSoftmax, losses: Sequence[Loss], data: Dataset, generator: torch.Generator, dimensions: int = 2) -> None:
        self.p, self.losses, self.data, self.generator, self.device = p, losses, data, generator, data.train_x.device
        self.count = len(losses) * p.seeds
        starts = [k % p.seeds for k in range(self.count)]
        self.network = StackedMLP((data.features, WIDTH, WIDTH, dimensions), starts, generator, device=self.device)
        vectors = torch.randn(p.seeds, data.classes, dimensions, generator=generator)
        self.vectors = vectors[torch.tensor(starts)].to(self.device)  # (K, C, D)
        self.centres = torch.zeros(self.count, dimensions, data.classes, device=self.device)
        self.heads = Heads(losses, p.seeds, self.device)
        self.optimizer = Adam(self, [p.rate] * self.count)

    def parameters(self) -> list[Tensor]:
        return [*self.network.parameters(), self.vectors]

    def step(self, i: int) -> None:
        """Step i from 0, with the same batches for all losses of a seed."""
        p, data = self.p, self.data
        chosen = torch.randint(0, len(data.train_y), (p.seeds, BATCH), generator=self.generator).to(self.device).repeat(len(self.losses), 1)
        y = data.train_y[chosen]
        features, tape = self.network.forward(data.train_x[chosen], training=True)
        features, vectors = features.detach().requires_grad_(), self.vectors.detach().requires_grad_()
        ramp = min(1.0, i / (p.warm_up * p.steps)) if p.warm_up else 1.0
        loss = batch_losses(features, vectors, self.centres, y, self.heads, ramp).sum()
        by_features, by_vectors = torch.autograd.grad(loss, (features, vectors))
        self.optimizer.step([*self.network.backward(tape, by_features), by_vectors], 1 - 0.9 * i / p.steps)
        move_centres(self.centres, features.detach(), y)

    def features(self, x: Tensor) -> Tensor:
        """Embeddings (K, D, N) of images (N, F)."""
        return self.network.forward(x, training=False)[0]

    def accuracy(self, features: Tensor, y: Tensor) -> Tensor:
        """Share (K,) in percent, without any margin."""
        vectors = torch.where(self.heads.scale > 0, self.vectors / lengths(self.vectors, 2), self.vectors)
        right = torch.bmm(vectors, features).argmax(1) == y
        return 100 * (right & features.isfinite().all(1)).float().mean(1)

    def measure(self) -> Measured:
        """What test data (and as many training data) say about each loss and seed."""
        data = self.data
        features = self.features(data.test_x)
        train = self.accuracy(self.features(data.train_x[: len(data.test_x)]), data.train_y[: len(data.test_x)])
        each = [*tightness(features, data.test_y, angular=True), *tightness(features, data.test_y, angular=False)]
        each += [self.accuracy(features, data.test_y), train]
        a, b, c, d, e, f = (part.cpu().nan_to_num(math.inf, math.inf).view(len(self.losses), self.p.seeds) for part in each)
        first = features.view(len(self.losses), self.p.seeds, *features.shape[1:])[:, 0, :, :DRAWN].cpu()
        return Measured(a, b, c, d, e, f, first)


def move_centres(centres: Tensor, features: Tensor, y: Tensor, rate: float = 0.5) -> None:
    """Moves the centres (K, D, C) of the classes in a batch towards its features (Wen et al. 2016, Eq. 4, with their α = 0.5)."""
    member = torch.nn.functional.one_hot(y, centres.shape[2]).to(features.dtype)  # (K, B, C)
    counts = member.sum(1)[:, None]
    centres.sub_(rate * (centres * counts - torch.bmm(features, member)) / (1 + counts))


# ---- measures --------------------------------------------------------------------------------------------------------


@dataclass
class Measured:
    """By loss and seed: intra and inter as angles (degrees) and as distances, accuracy on test and training data (%); features (losses, D, N) of seed 0."""

    angle_intra: Tensor
    angle_inter: Tensor
    distance_intra: Tensor
    distance_inter: Tensor
    test: Tensor
    train: Tensor
    features: Tensor

    def ratio(self, angular: bool) -> Tensor:
        """intra / inter (losses, seeds); infinite where a network has diverged."""
        ratio = self.angle_intra / self.angle_inter if angular else self.distance_intra / self.distance_inter
        return ratio.nan_to_num(math.inf, math.inf)


def tightness(features: Tensor, y: Tensor, *, angular: bool) -> tuple[Tensor, Tensor]:
    """Intra (K,): mean angle (degrees) or distance from a sample to its class centre; inter (K,): mean from a centre to the nearest other one.

    features (K, D, N). A centre is the mean of the class's features, scaled to length 1 first for angles. Classes without a sample are left out.
    """
    present, member = y.unique(return_inverse=True)
    share = torch.nn.functional.one_hot(member, len(present)).to(features.dtype)
    x = features / lengths(features, 1) if angular else features
    centres = x @ (share / share.sum(0))  # (K, D, P)
    if angular:
        centres = centres / lengths(centres, 1)
        intra = (x * centres[:, :, member]).sum(1).clamp(-1, 1).acos().mul(180 / math.pi)
        between = (centres.transpose(1, 2) @ centres).clamp(-1, 1).acos().mul(180 / math.pi)
    else:
        intra = lengths(x - centres[:, :, member], 1)[:, 0]
        between = lengths(centres[:, :, :, None] - centres[:, :, None], 1)[:, 0]
    itself = torch.eye(len(present), dtype=torch.bool, device=y.device)
    return intra.mean(1), between.masked_fill(itself, math.inf).amin(2).mean(1)


def verification_auc(features: Tensor, y: Tensor) -> Tensor:
    """How often (K,), in percent, a pair of one digit has a larger cosine than a pair of two digits, over all pairs of features (K, D, N)."""
    x = features / lengths(features, 1)
    first, second = torch.triu_indices(len(y), len(y), 1, device=y.device)
    cosines = (x.transpose(1, 2) @ x)[:, first, second]
    one = y[first] == y[second]
    ranks = cosines.argsort(1).argsort(1).to(torch.float64 if y.device.type == "cpu" else torch.float32) + 1
    pairs, others = int(one.sum()), int((~one).sum())
    return 100 * (ranks[:, one].mean(1) - (pairs + 1) / 2).float() / max(others, 1)


# ---- one improved loss against softmax -------------------------------------------------------------------------------

SOFTMAX = Loss(same("softmax"), "baseline")


def compared_losses(p: MarginSoftmax) -> list[Loss]:
    """Softmax, then the improved loss; for ArcFace, the same without margin between them, so that margin and normalisation can be told apart."""
    if p.task == "l-softmax":
        return [SOFTMAX, Loss(same("L-Softmax"), "first", factor=p.factor)]
    if p.task == "center":
        return [SOFTMAX, Loss(Text("中心损失", "center loss"), "first", pull=p.pull)]
    return [
        SOFTMAX,
        Loss(same("m = 0"), "third", scale=p.scale),
        Loss(same("ArcFace"), "first", scale=p.scale, angle=p.angle),
    ]


def _run_compare(p: MarginSoftmax, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    losses = compared_losses(p)
    yield Snapshot(0, LOADING, _compare_charts(p, losses, None, []))
    data = load_digits_or_own(p.data, device, generator=generator)
    training, history, pace = _Training(p, losses, data, generator), [], Pace()
    for i in range(p.steps):
        training.step(i)
        if i + 1 in marks(p):
            history.append(training.measure())
        if pace.due():
            yield Snapshot(0.99 * (i + 1) / p.steps, _at(p, i), _compare_charts(p, losses, data, history))
    figures, outcome = judge_compare(p, losses, history[-1], data.classes)
    yield Snapshot(1, DONE, _compare_charts(p, losses, data, history), figures, outcome)


def marks(p: MarginSoftmax) -> list[int]:
    """The steps after which the networks are measured; the last is the last step."""
    count = 50 if p.task in COMPARED else 25
    return [(i + 1) * p.steps // count for i in range(count)]


def _at(p: MarginSoftmax, i: int) -> Text:
    return Text(f"第 {i + 1}/{p.steps} 步", f"Step {i + 1}/{p.steps}")


def _compare_charts(p: MarginSoftmax, losses: Sequence[Loss], data: Dataset | None, history: Sequence[Measured]) -> tuple[Chart, ...]:
    now = history[-1] if history else None
    planes = [_plane(losses[i], None if now is None else now.features[i], data) for i in (0, -1)]
    return (*planes, _ratio_chart(p, losses, history), _accuracy_chart(losses, now))


def _plane(loss: Loss, features: Tensor | None, data: Dataset | None) -> PlaneChart:
    """The embeddings (2, N) of test digits, all divided by the largest length among them."""
    points = []
    if features is not None and data is not None:
        xy = (features / lengths(features, 0).max()).nan_to_num(0, 0, 0)
        y = data.test_y[:DRAWN].cpu()
        points = [Points(same(str(c)), xy[0, y == c].tolist(), xy[1, y == c].tolist(), group=c % 10) for c in range(data.classes)]
    side = Axis(Text("坐标（÷ 最大长度）", "coordinate (over largest length)"), low=-1, high=1)
    return PlaneChart(
        Text(f"{loss.name.zh}：测试数字的二维特征", f"{loss.name.en}: test digits in 2-D"),
        side,
        side,
        Text(
            f"学到的特征（{loss.name.zh}，种子 0），每类一种颜色；束越窄、团越小，类内越紧。",
            f"Features learnt with {loss.name.en} (seed 0), a colour for each class; the narrower the rays or blobs, the tighter the classes.",
        ),
        points=tuple(points),
        equal=True,
    )


def _ratio_chart(p: MarginSoftmax, losses: Sequence[Loss], history: Sequence[Measured]) -> LineChart:
    angular = p.task != "center"
    kind = Text("角度", "angle") if angular else Text("距离", "distance")
    steps, lines = marks(p)[: len(history)], []
    for i, loss in enumerate(losses if history else ()):
        runs = torch.stack([measured.ratio(angular)[i] for measured in history], 1).tolist()
        lines.append(Line(loss.name, loss.role, steps, *mean_and_band(runs, log=True)))
    now = _said([(line.name, list(line.y)[-1]) for line in lines], ".2f")
    return LineChart(
        Text(
            f"类内{kind.zh} ÷ 类间{kind.zh}（越小越紧）",
            f"Intra-class ÷ inter-class {kind.en} (lower is tighter)",
        ),
        Axis(Text("训练步", "training step"), low=0, high=p.steps),
        Axis(Text("类内 ÷ 类间（对数）", "intra ÷ inter (log)"), log=True, low=0.05, high=2),
        tuple(lines),
        Text(f"测试数字上的比值：{now.zh}。", f"The ratio on test digits: {now.en}."),
    )


def _said(values: Sequence[tuple[Text, float]], form: str) -> Text:
    """Names with their values, for the summary of a chart."""
    if not values:
        return Text("还没有结果", "nothing yet")
    return Text(
        "，".join(f"{name.zh} {value:{form}}" for name, value in values),
        ", ".join(f"{value:{form}} for {name.en}" for name, value in values),
    )


def _accuracy_chart(losses: Sequence[Loss], now: Measured | None) -> BarChart:
    bars = []
    for i, loss in enumerate(losses if now is not None else ()):
        assert now is not None
        pairs = [mean_and_spread(part[i].tolist()) for part in (now.test, now.train)]
        bars.append(Bars(loss.name, loss.role, [mean for mean, _ in pairs], [spread or 0.0 for _, spread in pairs]))
    said = _said([(bar.name, next(iter(bar.values))) for bar in bars], ".1f")
    return BarChart(
        Text("准确率（判别时不加间隔）", "Accuracy (no margin when classifying)"),
        (Text("测试", "test"), Text("训练", "training")),
        Axis(Text("准确率（%）", "accuracy (%)"), low=0, high=100),
        tuple(bars),
        Text(f"测试准确率（%）：{said.zh}。", f"Test accuracy in %: {said.en}."),
    )


def gains(plain: Tensor, improved: Tensor) -> list[float]:
    """How many times smaller the improved ratio is, for each seed; 0 where one of them diverged."""
    return [
        a / b if math.isfinite(a) and math.isfinite(b) and b > 0 else 0.0 for a, b in zip(plain.tolist(), improved.tolist(), strict=True)
    ]


def judge_compare(p: MarginSoftmax, losses: Sequence[Loss], end: Measured, classes: int) -> tuple[tuple[Figure, ...], Outcome]:
    """The verdict on how many times the improved loss tightens the classes (geometric mean over paired seeds, 95 % interval).

    L-Softmax and center loss are held against softmax: reproduced if the interval lies above 1 and test accuracy is not surely lower than softmax's,
    same direction if it is surely lower (the papers give pictures, no number). ArcFace is held against the same loss without margin: as before, and for
    reproduced `effect_status` also has to find the size within √10 of the 1.23 in Deng's Table 3.
    """
    angular = p.task != "center"
    ratios = end.ratio(angular)
    mean, low, high = ratio_interval(gains(ratios[-2], ratios[-1]))
    cost = interval((end.test[-1] - end.test[0]).tolist())
    status = qualitative_status(low, cost[2])
    if p.task == "arcface" and status == "reproduced":
        status = effect_status(mean, low, 1, DENG_GAIN)
    name = Text("比值：无间隔（m = 0）÷ ArcFace", "Ratio: no margin (m = 0) ÷ ArcFace") if p.task == "arcface" else Text(f"比值：softmax ÷ {losses[-1].name.zh}", f"Ratio: softmax ÷ {losses[-1].name.en}")  # fmt: skip
    measured = Figure(name, mean, (high - low) / 2, "×")
    rows = [measured]
    for i, loss in enumerate(losses):
        intra, inter, unit = (end.angle_intra, end.angle_inter, "°") if angular else (end.distance_intra, end.distance_inter, "")
        for what, part, mark in (
            (Text("类内", "intra"), intra, unit), (Text("类间", "inter"), inter, unit),
            (Text("比值", "ratio"), ratios, ""), (Text("测试准确率", "test accuracy"), end.test, "%"),
        ):  # fmt: skip
            rows.append(Figure(Text(f"{what.zh}：{loss.name.zh}", f"{what.en}, {loss.name.en}"), *mean_and_spread(part[i].tolist()), mark))
    published, source = {
        "arcface": (
            Text("ResNet-50、LFW 人脸：33.97° ÷ 65.60° 变为 28.05° ÷ 66.55°，紧 1.23 倍（表 3）", "ResNet-50, LFW faces: 33.97° / 65.60° becomes 28.05° / 66.55°, 1.23 times tighter (Table 3)"),
            DENG,
        ),
        "l-softmax": (Text("类内更紧、类间更开（MNIST 上的图，没有给出数值）", "tighter classes, farther apart (pictures on MNIST, no figures given)"), LIU),
        "center": (Text("类内变化明显变小，λ 在很大范围内都有效（MNIST 上的图 2、3，没有给出数值）", "far smaller variation within classes, over a wide range of λ (Figs. 2 and 3 on MNIST, no figures given)"), WEN),
    }[p.task]  # fmt: skip
    answer = "none" if mean < 1.1 else "little" if mean < 2 else "much" if mean < 5 else "huge"
    text = _explain_compare(p, losses, end, classes, (mean, low, high), cost)
    return tuple(rows), Outcome(Verdict(status, measured, published, source, text), answer)


def qualitative_status(low: float, cost_high: float) -> Status:
    """For a claim without a number. low: lower end of how many times tighter; cost_high: upper end of the change in accuracy (points)."""
    if not low > 1:
        return "not_at_this_scale"
    return "same_direction" if cost_high < 0 else "reproduced"


def _explain_compare(
    p: MarginSoftmax,
    losses: Sequence[Loss],
    end: Measured,
    classes: int,
    gain: tuple[float, float, float],
    cost: tuple[float, float, float],
) -> Text:
    if gain[0] == 0:
        return _diverged(p)
    angular, tighter = p.task != "center", gain[1] > 1
    kind, unit = (Text("角度", "angle"), "°") if angular else (Text("距离", "distance"), "")
    intra, inter = (end.angle_intra, end.angle_inter) if angular else (end.distance_intra, end.distance_inter)
    ratios = end.ratio(angular)
    said = [f"{_mean(a):.3g}{unit} / {_mean(b):.3g}{unit} = {_mean(c):.2f}" for a, b, c in zip(intra, inter, ratios, strict=True)]
    how = {"arcface": _how_arcface, "l-softmax": _how_l_softmax, "center": _how_center}[p.task](p, end, classes, tighter)
    ends = Text("类变紧了", "The classes got tighter") if tighter else Text("看不出类变紧", "The classes did not clearly get tighter")
    price = (
        Text("确实变高", "clearly higher") if cost[1] > 0 else Text("确实变低", "clearly lower") if cost[2] < 0 else Text("看不出变化", "no clear change")
    )  # fmt: skip
    return Text(
        f"{ends.zh}：{gain[0]:.2f} 倍（95% 区间 {gain[1]:.2f}–{gain[2]:.2f}）。比值是测试样本到自己类中心的平均{kind.zh}，除以类中心到最近的另一中心的平均{kind.zh}："
        f"{'；'.join(f'{x.name.zh}：{text}' for x, text in zip(losses, said, strict=True))}。{how.zh}"
        f"测试准确率从 softmax 的 {_mean(end.test[0]):.1f}% 变为 {_mean(end.test[-1]):.1f}%（{price.zh}）。论文用的是卷积网络和大得多的数据，这里是小型全连接网络。",
        f"{ends.en}: {gain[0]:.2f} times (95 % interval {gain[1]:.2f} to {gain[2]:.2f}). The ratio is the mean {kind.en} from a test digit to its class centre, over the mean {kind.en} from a centre to the nearest other: "
        f"{'; '.join(f'{x.name.en}: {text}' for x, text in zip(losses, said, strict=True))}. {how.en}"
        f"Test accuracy went from softmax's {_mean(end.test[0]):.1f} % to {_mean(end.test[-1]):.1f} % ({price.en}). The papers train convolutional networks on far more data; here a small fully connected one is trained.",
    )  # fmt: skip


def _how_arcface(p: MarginSoftmax, end: Measured, classes: int, tighter: bool) -> Text:
    _, low, high = ratio_interval(gains(end.ratio(True)[0], end.ratio(True)[1]))
    alone = Text("让类变紧", "tightens the classes") if low > 1 else Text("反而让类变松", "loosens the classes") if 0 < high < 1 else Text("看不出让类变紧", "does not clearly tighten the classes")  # fmt: skip
    before = Text(
        f"只做归一化（m = 0，s = {p.scale:g}）{alone.zh}；没有间隔时，刚过边界就算分对。",
        f"Normalising alone (m = 0, s = {p.scale:g}) {alone.en}; without a margin, a digit is right as soon as it is across the border. ",
    )
    if p.angle == 0:
        return Text(f"{before.zh}m = 0 的 ArcFace 就是它。", f"{before.en}ArcFace with m = 0 is just that. ")
    room = 2 * math.pi / classes
    left = (room - p.angle) / 2 * 180 / math.pi
    apart = f"{room * 180 / math.pi:.0f}°"
    fits = (
        Text(f"要完全满足间隔，样本须在自己方向的 {left:.1f}° 以内。", f"to satisfy the margin in full, a digit has to lie within {left:.1f}° of its direction. ")
        if left > 0
        else Text(f"这只有 {room:.2f} 弧度，m = {p.angle:g} 没有样本能完全满足。", f"which is only {room:.2f} rad: no digit can satisfy m = {p.angle:g} in full. ")
    )  # fmt: skip
    return Text(
        f"{before.zh}有了间隔，目标类的角度先加上 {p.angle:g} 弧度再比；{classes} 个类平分圆周，相邻隔 {apart}，{fits.zh}",
        f"{before.en}With one, an angle of {p.angle:g} rad is added to the target's before it is compared; {classes} classes share the circle, {apart} apart, {'so ' if left > 0 else ''}{fits.en}",
    )


def _how_l_softmax(p: MarginSoftmax, end: Measured, classes: int, tighter: bool) -> Text:
    if p.factor == 1:
        return Text("m = 1 的 L-Softmax 就是 softmax。", "L-Softmax with m = 1 is softmax. ")
    hard = Text("", "") if tighter else Text("但要求太严，有的网络连类都没分全：换小一点的 m，或者预热久一点。", "So hard a demand can keep networks from finding every class: try a smaller m or a longer warm-up. ")  # fmt: skip
    return Text(
        f"目标类的余弦换成 cos({p.factor:g}θ)：对 softmax 来说够好的角度，现在仍算分错，只能把 θ 学得更小。{hard.zh}",
        f"The target's cosine becomes cos({p.factor:g}θ): an angle that was good enough for softmax still counts as wrong, and only a smaller θ helps. {hard.en}",
    )


def _how_center(p: MarginSoftmax, end: Measured, classes: int, tighter: bool) -> Text:
    pulled = Text("扇形就成了团", "and the fan becomes blobs") if tighter else Text("但中心也跟着挤到一起，比值没有变好", "but the centres are drawn together as well, and the ratio gains nothing")  # fmt: skip
    return Text(
        f"softmax 只要求分对，拉长特征也能降低损失，于是成了扇形；λ = {p.pull:g} 的平方距离项把特征拉向中心，{pulled.zh}。这一项只管拉近，把类与类分开还得靠 softmax 那一项，所以 λ 太大时特征会塌缩到一起。",
        f"Softmax only asks for the right class and can lower its loss by lengthening features, hence the fan; the squared distances, with λ = {p.pull:g}, keep them near their centres, {pulled.en}. It only pulls together; keeping classes apart is left to the softmax term, so with too large a λ everything collapses. ",
    )  # fmt: skip


def _diverged(p: MarginSoftmax) -> Text:
    return Text(
        f"学习率 {p.rate:g} 下有网络发散了，特征不再是有限的数，无从比较。请调小学习率。",
        f"At learning rate {p.rate:g} networks diverged and their features are no longer finite; there is nothing to compare. Try a smaller rate.",
    )


def _mean(values: Tensor) -> float:
    return mean_and_spread(values.tolist())[0]


# ---- a margin with no room -------------------------------------------------------------------------------------------

MULTIPLES = (0.0, 0.5, 1.0, 1.25, 1.5, 2.0, 4.0)  # of the bound
HALF, ONCE, TWICE = MULTIPLES.index(0.5), MULTIPLES.index(1.0), MULTIPLES.index(2.0)


def largest_margin(classes: int) -> float:
    """The largest cosine margin that `classes` directions, evenly spread in a plane, have room for: 1 − cos(2π/C) (Wang et al. 2018, Eq. 7)."""
    return 1 - math.cos(2 * math.pi / classes)


def only(data: Dataset, known: int) -> Dataset:
    """The rows of the classes 0 … known − 1."""
    train, test = data.train_y < known, data.test_y < known
    return Dataset(data.train_x[train], data.train_y[train], data.test_x[test], data.test_y[test], known)


def _run_too_large(p: MarginSoftmax, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    bound = largest_margin(p.known)
    losses = [Loss(same(f"m = {x * bound:.2f}"), "first", scale=p.scale, cosine=x * bound) for x in MULTIPLES]
    yield Snapshot(0, LOADING, _too_large_charts(p, losses, None, None))
    data = only(load_digits(device, generator=generator), p.known)
    training, now, pace = _Training(p, losses, data, generator), None, Pace()
    for i in range(p.steps):
        training.step(i)
        if i + 1 in marks(p):
            now = training.measure()
        if pace.due():
            yield Snapshot(0.99 * (i + 1) / p.steps, _at(p, i), _too_large_charts(p, losses, data, now))
    assert now is not None  # the last step is a mark
    figures, outcome = judge_too_large(p, now)
    yield Snapshot(1, DONE, _too_large_charts(p, losses, data, now), figures, outcome)


def _too_large_charts(p: MarginSoftmax, losses: Sequence[Loss], data: Dataset | None, now: Measured | None) -> tuple[Chart, ...]:
    def curve(name: Text, role: Role, values: Tensor | None) -> Line:
        mean, low, high = mean_and_band(values.T.tolist()) if values is not None else ([], [], [])
        return Line(name, role, MULTIPLES if values is not None else (), mean, low, high, style="dots+line")

    bound = largest_margin(p.known)
    said = _said([] if now is None else [(losses[i].name, _mean(now.train[i])) for i in (0, HALF, TWICE)], ".1f")
    return (
        LineChart(
            Text(f"CosFace 在平面上分 {p.known} 个类：准确率与间隔", f"CosFace with {p.known} classes in a plane: accuracy against margin"),
            Axis(Text(f"余弦间隔 m ÷ 上限 {bound:.2f}", f"cosine margin m ÷ its bound, {bound:.2f}"), low=0, high=MULTIPLES[-1]),
            Axis(Text("准确率（%）", "accuracy (%)"), low=0, high=100),
            (
                curve(Text("测试", "test"), "first", None if now is None else now.test),
                curve(Text("训练", "training"), "baseline", None if now is None else now.train),
            ),
            Text(f"训练准确率（%）：{said.zh}。", f"Training accuracy in %: {said.en}."),
            (Rule(Text("上限", "bound"), 1),),
        ),
        *(_plane(losses[i], None if now is None else now.features[i], data) for i in (HALF, TWICE)),
    )  # fmt: skip


def judge_too_large(p: MarginSoftmax, end: Measured) -> tuple[tuple[Figure, ...], Outcome]:
    """The verdict on the training accuracy (points) lost when the margin goes from half of the bound to twice the bound, over paired seeds.

    Reproduced: surely more than 2 points are lost, and half of the bound itself does not surely cost 2 against m = 0. Same direction: surely more
    than 2 are lost between half of the bound and the largest margin. Otherwise not at this scale.
    """
    lost = [interval((end.train[HALF] - row).tolist()) for row in end.train]
    status: Status = "not_at_this_scale"
    if lost[TWICE][1] > 2 and interval((end.train[0] - end.train[HALF]).tolist())[1] < 2:
        status = "reproduced"
    elif lost[-1][1] > 2:
        status = "same_direction"
    bound, ratio = largest_margin(p.known), end.ratio(True)
    points = Text("个百分点", "percentage points")
    measured = Figure(Text("m 从上限的一半到两倍，丢掉的训练准确率", "Training accuracy lost from half to twice the bound"), lost[TWICE][0], lost[TWICE][2] - lost[TWICE][0], points)  # fmt: skip
    rows = [measured]
    for i in (0, HALF, ONCE, TWICE, len(MULTIPLES) - 1):
        for what, part, unit in ((Text("训练准确率", "training accuracy"), end.train, "%"), (Text("测试准确率", "test accuracy"), end.test, "%"), (Text("比值", "ratio"), ratio, "")):  # fmt: skip
            rows.append(Figure(Text(f"{what.zh}，m = {MULTIPLES[i] * bound:.2f}", f"{what.en}, m = {MULTIPLES[i] * bound:.2f}"), *mean_and_spread(part[i].tolist()), unit))  # fmt: skip
    gap = p.scale * bound  # at a class's own direction, with m twice the bound: by how much its logit is below its neighbour's
    ends = {
        "reproduced": Text(
            "间隔取上限的一半，训练照常；取两倍，训练就失败了", "At half of the bound training goes as usual, at twice the bound it breaks"
        ),
        "same_direction": Text(
            "间隔很大时训练才失败，并不正好在上限处", "A very large margin breaks training, though not right at the bound"
        ),
        "not_at_this_scale": Text("训练没有因为间隔而失败", "The margin did not break training"),
    }[status]
    why = Text(
        f"两倍时，样本即使在最好的位置上，目标类的 logit 也比邻类低 s·{bound:.2f} = {gap:.2g}；每个样本不论对错，拉力几乎一样大，损失不再偏重分错的样本，一开始排错位置的类就挪不过去了。"
        + ("让间隔从 0 慢慢增大（预热）也救不了。" if p.warm_up else "")
        + f"比值从 {_mean(ratio[HALF]):.2f} 变到 {_mean(ratio[TWICE]):.2f}：光看紧不紧，看不出有的类已经被放弃。",
        f"At twice the bound, the target's logit is lower than its neighbour's by s·{bound:.2f} = {gap:.2g} even in the best place, so every digit, right or wrong, pulls with nearly the same force: the loss no longer favours those that are wrong, and a class that starts in the wrong place cannot get past the others. "
        + ("A margin that grows slowly from 0 (warm-up) does not cure it. " if p.warm_up else "")
        + f"The ratio goes from {_mean(ratio[HALF]):.2f} to {_mean(ratio[TWICE]):.2f}: tightness alone does not show that classes have been given up. ",
    ) if status == "reproduced" and gap > 3 else Text("没有样本能满足间隔，这本身还不足以毁掉训练：类少时，邻居之间够宽，各类都能找到自己的位置。", "A margin that no digit can satisfy does not by itself spoil training: with few classes, neighbours are far enough apart for each to find its place. ") if status == "not_at_this_scale" else Text("", "")  # fmt: skip
    text = Text(
        f"{ends.zh}。平面上 {p.known} 个类平分圆周，相邻方向隔 {360 / p.known:.0f}°；即使样本正好落在自己的方向上，cos θ₁ − m ≥ cos θ₂ 也只能在 m ≤ 1 − cos {360 / p.known:.0f}° = {bound:.2f} 时成立。"
        f"m 为上限的一半、一倍、两倍时，训练准确率为 {_mean(end.train[HALF]):.1f}%、{_mean(end.train[ONCE]):.1f}%、{_mean(end.train[TWICE]):.1f}%（m = 0 时 {_mean(end.train[0]):.1f}%）。{why.zh}"
        "论文的特征维数高，容得下更大的间隔（人脸上 m > 0.45 才不收敛）。",
        f"{ends.en}. In a plane {p.known} classes share the circle, {360 / p.known:.0f}° apart; even for a digit exactly at its own direction, cos θ₁ − m ≥ cos θ₂ can hold only up to m = 1 − cos {360 / p.known:.0f}° = {bound:.2f}. "
        f"At half of that bound, at it and at twice, training accuracy is {_mean(end.train[HALF]):.1f} %, {_mean(end.train[ONCE]):.1f} % and {_mean(end.train[TWICE]):.1f} % (at m = 0 {_mean(end.train[0]):.1f} %). {why.en}"
        "The paper's features have many more dimensions and room for more (on faces, no convergence above m = 0.45).",
    )
    if not bool(ratio[0].isfinite().all()):
        text = _diverged(p)
    answer = "same" if lost[TWICE][0] < 2 else "some" if _mean(end.train[TWICE]) > 150 / p.known else "chance"
    published = Text("K = 2 维时 0 ≤ m ≤ 1 − cos(2π/C)；m 太大则不收敛（式 7、3.4 节；人脸上 m > 0.45）", "in K = 2 dimensions 0 ≤ m ≤ 1 − cos(2π/C); too large an m does not converge (Eq. 7, Section 3.4; on faces m > 0.45)")  # fmt: skip
    return tuple(rows), Outcome(Verdict(status, measured, published, WANG, text), answer)


# ---- digits never trained on -----------------------------------------------------------------------------------------

DIMENSIONS, LEFT_OUT, PAIRED = 16, 2, 120  # of the embedding; digits left out at least; unseen test digits whose pairs are compared


def _run_unseen(p: MarginSoftmax, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    known = min(p.known, CLASSES - LEFT_OUT)
    losses = [
        SOFTMAX,
        Loss(same("ArcFace"), "first", scale=p.scale, angle=p.angle),
        Loss(same("L-Softmax"), "second", factor=p.factor),
        Loss(Text("中心损失", "center loss"), "third", pull=p.pull),
    ]
    history: list[Measured] = []
    aucs: list[Tensor] = []  # each (losses, seeds)
    pixels = math.nan

    def show(progress: float, status: Text) -> Snapshot:
        auc = _auc_chart(p, losses, aucs, known, pixels)
        return Snapshot(
            progress, status, (auc, _ratio_chart(p, losses, history), _accuracy_chart(losses, history[-1] if history else None))
        )

    yield show(0, LOADING)
    digits = load_digits(device, generator=generator)
    x, y = (part[digits.test_y >= known][:PAIRED] for part in (digits.test_x, digits.test_y))
    pixels = float(verification_auc(x.T[None], y)[0])
    training, pace = _Training(p, losses, only(digits, known), generator, DIMENSIONS), Pace()
    for i in range(p.steps):
        training.step(i)
        if i + 1 in marks(p):
            history.append(training.measure())
            aucs.append(verification_auc(training.features(x), y).cpu().nan_to_num(0).view(len(losses), p.seeds))
        if pace.due():
            yield show(0.99 * (i + 1) / p.steps, _at(p, i))
    figures, outcome = judge_unseen(p, losses, history[-1], aucs[-1], known, pixels)
    last = show(1, DONE)
    yield Snapshot(1, DONE, last.charts, figures, outcome)


def _auc_chart(p: MarginSoftmax, losses: Sequence[Loss], aucs: Sequence[Tensor], known: int, pixels: float) -> LineChart:
    steps = [float(step) for step in marks(p)[: len(aucs)]]
    lines = [Line(x.name, x.role, steps, *mean_and_band(torch.stack([auc[i] for auc in aucs], 1).tolist())) for i, x in enumerate(losses)] if aucs else []  # fmt: skip
    said = _said([(line.name, list(line.y)[-1]) for line in lines], ".1f")
    if aucs:
        lines.append(Line(Text("原始像素", "raw pixels"), "theory", (0, p.steps), (pixels, pixels)))
    return LineChart(
        Text(f"没见过的数字 {known}–9：认出是不是同一个数字", f"Unseen digits {known}–9: same digit or not?"),
        Axis(Text("训练步", "training step"), low=0, high=p.steps),
        Axis(Text("AUC（%，50 = 瞎猜）", "AUC (%, 50 = guessing)"), low=50, high=100),
        tuple(lines),
        Text(f"没见过的数字的 AUC（%）：{said.zh}。", f"AUC of unseen digits in %: {said.en}."),
    )  # fmt: skip


def judge_unseen(
    p: MarginSoftmax, losses: Sequence[Loss], end: Measured, auc: Tensor, known: int, pixels: float
) -> tuple[tuple[Figure, ...], Outcome]:
    """The verdict on what the loss with the tightest known classes gains over softmax in the AUC (points) of pairs of unseen digits.

    `effect_status` with the 22.3 points that unseen people gain on MegaFace (Wang et al. 2018, Table 2; rank-1 accuracy, so only the size compares).
    The loss is picked by tightness alone, so picking it favours no outcome.
    """
    ratio = end.ratio(True)
    tightest = min(range(1, len(losses)), key=lambda i: _mean(ratio[i].log()))
    name = losses[tightest].name
    gain, low, high = interval((auc[tightest] - auc[0]).tolist())
    accuracy = mean_and_spread((end.test[tightest] - end.test[0]).tolist())
    points = Text("个百分点", "percentage points")
    measured = Figure(Text(f"没见过的数字，AUC：{name.zh} − softmax", f"Unseen digits, AUC: {name.en} − softmax"), gain, (high - low) / 2, points)  # fmt: skip
    rows = [measured, Figure(Text(f"见过的数字，准确率：{name.zh} − softmax", f"Known digits, accuracy: {name.en} − softmax"), *accuracy, points)]  # fmt: skip
    for i, loss in enumerate(losses):
        for what, part, unit in ((Text("AUC（没见过）", "AUC (unseen)"), auc, "%"), (Text("准确率（见过）", "accuracy (known)"), end.test, "%"), (Text("比值（见过）", "ratio (known)"), ratio, "")):  # fmt: skip
            rows.append(Figure(Text(f"{what.zh}：{loss.name.zh}", f"{what.en}, {loss.name.en}"), *mean_and_spread(part[i].tolist()), unit))
    rows.append(Figure(Text("AUC（没见过）：原始像素", "AUC (unseen), raw pixels"), pixels, None, "%"))
    status = effect_status(gain, low, 0, 77.11 - 54.85)
    ends, why = (
        (Text("没见过的数字沾了光", "The unseen digits gain"), Text("收紧见过的类时，也留住了能区分新数字的差别。", "Tightening the known classes has kept what tells new digits apart. ")) if low > 0
        else (
            Text("没见过的数字反而更难认", "The unseen digits are even harder to tell apart") if high < 0 else Text("看不出没见过的数字沾了光", "The unseen digits do not clearly gain"),
            Text(f"网络只学区分这 {known} 个数字，把类收紧就是鼓励它丢掉其余的差别，而区分新数字正要靠那些差别，所以这个结果在意料之中。", f"The network learns only what tells {known} digits apart; tightening their classes rewards it for dropping all other differences, on which new digits depend, so this is to be expected. "),
        )
    )  # fmt: skip
    closed = (
        Text("闭集准确率几乎没动", "closed-set accuracy hardly moves") if abs(accuracy[0]) < 1 else Text("闭集准确率也变了", "closed-set accuracy changes too")
    )  # fmt: skip
    text = Text(
        f"{ends.zh}。见过的数字上，最紧的（{name.zh}）比值是 {_mean(ratio[tightest]):.2f}，softmax 是 {_mean(ratio[0]):.2f}；{closed.zh}，从 {_mean(end.test[0]):.1f}% 到 {_mean(end.test[tightest]):.1f}%。"
        f"没见过的 {known}–9：AUC 从 {_mean(auc[0]):.1f}% 到 {_mean(auc[tightest]):.1f}%（差的 95% 区间 {low:.1f} … {high:.1f} 个百分点），而原始像素就有 {pixels:.1f}%。{why.zh}"
        "论文用上万个人的脸训练，特征必须能表达人与人之间的一般差别，这才对没见过的人有用。",
        f"{ends.en}. On the known digits {name.en} is the tightest: ratio {_mean(ratio[tightest]):.2f}, softmax {_mean(ratio[0]):.2f}; {closed.en}: from {_mean(end.test[0]):.1f} % to {_mean(end.test[tightest]):.1f} %. "
        f"On the unseen {known}–9 the AUC goes from {_mean(auc[0]):.1f} % to {_mean(auc[tightest]):.1f} % (95 % interval of the difference {low:.1f} to {high:.1f} points), and raw pixels alone have {pixels:.1f} %. {why.en}"
        "The paper trains on some ten thousand people, so its features have to hold what differs between people in general, and that helps with new ones.",
    )  # fmt: skip
    if not bool(ratio[0].isfinite().all()):
        text = _diverged(p)
    answer = "much" if low > 0 and gain >= 10 else "some" if low > 0 else "none"
    published = Text(
        "MegaFace（训练时没见过的人）首位识别率：softmax 54.85%，CosFace 77.11%，多 22.3 个百分点（表 2）",
        "MegaFace (people not trained on), rank-1 accuracy: softmax 54.85 %, CosFace 77.11 %, 22.3 points more (Table 2)",
    )
    return tuple(rows), Outcome(Verdict(status, measured, published, WANG, text), answer)


# ---- prediction, code, demo ------------------------------------------------------------------------------------------

_TIMES = {
    "none": Text("差不多，或者更松", "about the same, or looser"),
    "little": Text("1.1 到 2 倍", "1.1 to 2 times"),
    "much": Text("2 到 5 倍", "2 to 5 times"),
    "huge": Text("5 倍以上", "more than 5 times"),
}


def predict(p: MarginSoftmax) -> Prediction:
    if p.task == "too-large":
        bound = largest_margin(p.known)
        return Prediction(
            Text(
                f"平面上 {p.known} 个类只容得下 {bound:.2f} 的余弦间隔。m 取它的两倍（{2 * bound:.2f}），与取一半（{bound / 2:.2f}）相比，训练准确率会怎样？",
                f"{p.known} classes in a plane have room for a cosine margin of {bound:.2f}. What does twice as much ({2 * bound:.2f}) do to training accuracy, compared with half ({bound / 2:.2f})?",
            ),
            {
                "same": Text("不变（差不到 2 个百分点）", "nothing (less than 2 points)"),
                "some": Text("下降：有些类被放弃", "it falls: some classes are given up"),
                "chance": Text("降到瞎猜附近", "it falls to about chance"),
            },
        )
    if p.task == "unseen":
        known = min(p.known, CLASSES - LEFT_OUT)
        return Prediction(
            Text(
                f"只用数字 0–{known - 1} 训练，改进的损失把这些类收得更紧。没见过的 {known}–9，会比 softmax 更容易认出“是不是同一个数字”吗？",
                f"Trained on the digits 0–{known - 1}, the improved losses tighten their classes. Are pairs of the unseen {known}–9 told apart better than with softmax?",
            ),
            {
                "much": Text("好得多（AUC 多 10 个百分点以上）", "much better (AUC up by 10 points or more)"),
                "some": Text("好一些", "a little better"),
                "none": Text("没有变好，甚至更差", "no better, or even worse"),
            },
        )
    against = {
        "arcface": Text(f"加上 m = {p.angle:g} 弧度的角度间隔（s = {p.scale:g}）后，类比没有间隔时紧几倍？", f"How many times tighter does an angular margin of m = {p.angle:g} rad (s = {p.scale:g}) make the classes than no margin?"),
        "l-softmax": Text(f"目标类换成 cos({p.factor:g}θ) 后，类比 softmax 的紧几倍？", f"With cos({p.factor:g}θ) for the target class, how many times tighter are the classes than with softmax?"),
        "center": Text(f"加上 λ = {p.pull:g} 的中心损失后，类比 softmax 的紧几倍？", f"With a center loss of λ = {p.pull:g}, how many times tighter are the classes than with softmax alone?"),
    }[p.task]  # fmt: skip
    return Prediction(against, _TIMES)


def run(parameters: MarginSoftmax, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    runs = {"too-large": _run_too_large, "unseen": _run_unseen}
    yield from runs.get(parameters.task, _run_compare)(parameters, device, generator)


_CODE = """\
import math

import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)  # networks as small as these gain nothing from more
STEPS, RATE, WARM_UP, SCALE = {steps}, {rate:g}, {warm_up:g}, {scale:g}
{data}
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
test, train = order[: len(x) // 3], order[len(x) // 3 :]
{known}
def psi(phi):  # cos, continued so that it keeps falling beyond π
    k = (phi / math.pi).floor().detach()
    return (1 - 2 * (k % 2)) * phi.cos() - 2 * k

def fit(scale=0.0, factor=1.0, angle=0.0, cosine=0.0, pull=0.0, dimensions=2):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, dimensions))
    for layer in network[::2]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    vectors, centres = nn.Parameter(torch.randn(classes, dimensions)), torch.zeros(classes, dimensions)
    optimizer = torch.optim.Adam([*network.parameters(), vectors], lr=RATE)
    for step in range(STEPS):
        ramp = min(1.0, step / (WARM_UP * STEPS)) if WARM_UP else 1.0
        chosen = train[torch.randint(0, len(train), (64,))]
        features, target = network(x[chosen]), y[chosen]
        cosines = F.normalize(features) @ F.normalize(vectors).T
        theta = cosines.gather(1, target[:, None]).clamp(-1 + 1e-6, 1 - 1e-6).acos()
        harder = psi((1 + (factor - 1) * ramp) * theta + angle * ramp) - cosine * ramp
        length = scale if scale else features.norm(dim=1, keepdim=True) * vectors.norm(dim=1)
        logits = length * cosines.scatter(1, target[:, None], harder)
        loss = F.cross_entropy(logits, target) + pull / 2 * (features - centres[target]).square().sum(1).mean()
        optimizer.param_groups[0]["lr"] = RATE * (1 - 0.9 * step / STEPS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():  # the centres of the center loss follow
            member = F.one_hot(target, classes).float()
            counts = member.sum(0)[:, None]
            centres -= 0.5 * (centres * counts - member.T @ features) / (1 + counts)
    return network, F.normalize(vectors) if scale else vectors

def report(name, network, vectors, angular=True):
    with torch.no_grad():
        right = [((network(x[rows]) @ vectors.T).argmax(1) == y[rows]).float().mean() * 100 for rows in (train, test)]
        features, labels = network(x[test]), y[test]
        features = F.normalize(features) if angular else features
        centres = torch.stack([features[labels == c].mean(0) for c in labels.unique()])
        own = centres[torch.searchsorted(labels.unique(), labels)]
        between = torch.cdist(centres, centres)
        intra = (features - own).norm(dim=1).mean()
        if angular:
            centres = F.normalize(centres)
            intra = F.cosine_similarity(features, own).clamp(-1, 1).acos().mean()
            between = (centres @ centres.T).clamp(-1, 1).acos()
        inter = between.fill_diagonal_(math.inf).amin(1).mean()
    print(f"{{name}}: intra / inter {{intra / inter:.3f}}, accuracy {{right[0]:.1f}} % on training, {{right[1]:.1f}} % on test data")
"""
_TAILS = {
    "arcface": """
report("softmax", *fit())
report("normalised, m = 0", *fit(scale=SCALE))
report("ArcFace, m = {angle:g}", *fit(scale=SCALE, angle={angle:g}))
""",
    "l-softmax": """
report("softmax", *fit())
report("L-Softmax, m = {factor:g}", *fit(factor={factor:g}))
""",
    "center": """
report("softmax", *fit(), angular=False)
report("center loss, weight {pull:g}", *fit(pull={pull:g}), angular=False)
""",
    "too-large": """
bound = 1 - math.cos(2 * math.pi / classes)
for multiple in (0, 0.5, 1, 1.5, 2, 4):
    report(f"CosFace, m = {{multiple * bound:.2f}} ({{multiple:g}} x bound)", *fit(scale=SCALE, cosine=multiple * bound))
""",
    "unseen": """
first, second = torch.triu_indices(len(unseen_y), len(unseen_y), 1)
one = unseen_y[first] == unseen_y[second]
losses = {{"softmax": {{}}, "ArcFace": dict(scale=SCALE, angle={angle:g}), "L-Softmax": dict(factor={factor:g}), "center loss": dict(pull={pull:g})}}
for name, loss in losses.items():
    network, vectors = fit(dimensions=16, **loss)
    report(name, network, vectors)
    with torch.no_grad():
        features = F.normalize(network(unseen_x))
    cosines = (features @ features.T)[first, second]
    auc = (cosines[one][:, None] > cosines[~one]).float().mean()
    print(f"  pairs of unseen digits: AUC {{100 * auc:.1f}} %")
""",
}


def code(p: MarginSoftmax) -> str:
    if p.task in COMPARED:
        known = ""
    else:
        count = p.known if p.task == "too-large" else min(p.known, CLASSES - LEFT_OUT)
        unseen = f"unseen = test[y[test] >= {count}][:120]\nunseen_x, unseen_y = x[unseen], y[unseen]\n" if p.task == "unseen" else ""
        known = f"{unseen}classes = {count}\ntest, train = test[y[test] < classes], train[y[train] < classes]\n"
    data = digits_or_own(p.data if p.task in COMPARED else "")
    return (_CODE + _TAILS[p.task]).format(**p.values() | {"data": data, "known": known})


DEMO = Demo(
    topic="losses",
    title=Text("间隔 softmax 与中心损失", "Margin softmax and center loss"),
    question=Text(
        "普通 softmax 的特征为什么不够紧，加间隔或中心损失后能紧多少？",
        "Why are the features of plain softmax loose, and how much tighter do a margin or a center loss make them?",
    ),
    look_for=Text(
        "在两张平面图里盯住同一种颜色，比较它散成什么形状、有多宽。再看类内 ÷ 类间的几条线差几倍，准确率又差多少。",
        "Follow one colour in the two planes: what shape does it take, and how wide is it? Then see by what factor the lines of the ratio of intra to inter differ, and by how much accuracy does.",
    ),
    scaled_down=Text(
        "用 1,797 张 8×8 数字上的小型全连接网络和 2 维特征，代替人脸或 MNIST 上的卷积网络；论文的特征通常有几百维、类有上万个。",
        "Small fully connected networks with 2-D features on 1,797 digits of 8×8 pixels stand in for convolutional networks on MNIST or faces; those usually have features of hundreds of dimensions and thousands of classes.",
    ),
    parameters=MarginSoftmax,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=4,
)
