"""Batch size and epochs (1.17): plain SGD with small and large batches, at equal epochs (with and without the linear scaling rule) and at equal steps.

For each batch size one stack of K = rates × seeds networks, the seed varying fastest. All sizes begin with the same weights and see the same rows; every seed has its
own split into training and test rows, so that differences are paired and their interval covers the choice of rows as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demos.core.charts import Axis, Chart, Line, LineChart, Role, Rule
from demos.core.datasets import Dataset, load_digits_or_own, shuffles
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import SGD, StackedMLP, cross_entropy, diverged_as_infinite, error_rate
from demos.core.statistics import interval, log_spaced, mean_and_band, mean_and_spread, thinned
from demos.core.text import Text, joined

if TYPE_CHECKING:
    from torch import Tensor

MARGIN = 1.0  # percentage points of test accuracy; less counts as no difference
KESKAR_GAP = 2.78  # percentage points, their C1: 80.04 against 77.26
POOL = 1800  # rows used at most
ALPHAS = tuple(i / 8 - 1 for i in range(25))  # −1 … 2 along the line: 0 is the small-batch solution, 1 the large-batch one
LOOKS = 5  # times that test rows are looked at while training


@dataclass(frozen=True)
class Batches(Parameters):
    task: str = mode_choice(
        "epochs", {"epochs": Text("轮数相同", "equal epochs"), "steps": Text("步数相同", "equal steps")},
        label=Text("实验", "Experiment"), help=Text("两种批大小之间让什么相同。", "What the batch sizes have in common."),
    )  # fmt: skip
    small: int = integer(8, 1, 64, label=Text("小批量", "Small batch"), help=Text("每步用多少行。", "Rows in each step."))
    ratio: int = integer(
        8,
        2,
        256,
        label=Text("大批量是它的几倍 k", "Large batch: k times that"),
        help=Text("最大到整个训练集。", "At most all training rows."),
    )
    rate: float = real(
        0.1, 0.001, 10, log=True, label=Text("小批量的学习率", "Rate at the small batch"),
        help=Text("线性缩放规则让大批量用 k 倍。", "The linear scaling rule gives the large batch k times that."),
    )  # fmt: skip
    epochs: int = integer(
        10, 1, 20, label=Text("轮数", "Epochs"), modes=("epochs",), help=Text("数据看几遍。", "How many times the data are seen.")
    )
    steps: int = integer(
        300,
        10,
        600,
        step=10,
        label=Text("步数", "Steps"),
        modes=("steps",),
        help=Text("大小批量都走这么多步。", "Taken with either batch."),
    )
    samples: int = integer(
        512, 64, 1000, step=64, label=Text("训练样本数", "Training rows"), help=Text("多出来的不用。", "Rows beyond these are left out.")
    )
    warmup: float = real(
        0.0, 0, 0.5, step=0.05, advanced=True, label=Text("预热占全程的比例", "Warm-up, share of the run"), modes=("epochs",),
        help=Text("放大后的学习率在这一段里从 0 线性升上去。", "Over this stretch the scaled rate rises from 0."),
    )  # fmt: skip
    seeds: int = integer(
        10,
        5,
        12,
        advanced=True,
        label=Text("种子数", "Seeds"),
        help=Text("划分、初始权重和批次各不相同。", "Each has its own split, weights and batches."),
    )
    width: int = integer(
        32, 4, 64, advanced=True, label=Text("隐藏单元", "Hidden units"), help=Text("一层隐藏层。", "In one hidden layer.")
    )
    data: str = own_data("classes")


PRESETS = {
    "scaling-rule": Preset(
        Text("线性缩放规则", "Linear scaling rule"),
        Text("批量 8 换成 64，轮数不变：学习率要不要乘 8？", "From batch 8 to 64 with equal epochs: should the rate be 8 times as large?"),
        {}, "textbook",
    ),
    "too-large": Preset(
        Text("大到规则失效", "Where the rule ends"),
        Text("批量放大 64 倍，就是整个训练集，学习率也乘 64。", "64 times the batch, which is the whole training set, and 64 times the rate."),
        {"ratio": 64}, "limits",
    ),
    "equal-steps": Preset(
        Text("步数相同", "Equal steps"),
        Text("都走 300 步，都训练到位：大批量还会泛化得差吗？", "300 steps each, both fully trained: does the large batch still generalise worse?"),
        {"task": "steps", "ratio": 32, "rate": 0.3, "samples": 256}, "limits",
        look_for=Text(
            "看两个解之间连线上的损失：从两条竖线（两个解）往外走，哪一侧升得更快，两个解处的测试损失又差多少。再看测试错误率：底部更尖的那一个，是不是也泛化得更差？",
            "Look at the loss along the line between the solutions: going outwards from the two vertical lines (the solutions), on which side does it rise faster, and how far apart are the test losses at the two? Then look at the test error: does the sharper of the two also generalise worse?",
        ),
    ),
}  # fmt: skip

GOYAL = Source(
    "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
    "Priya Goyal, Piotr Dollár, Ross Girshick, Pieter Noordhuis, Lukasz Wesolowski, Aapo Kyrola, Andrew Tulloch, Yangqing Jia, Kaiming He",
    2017, "https://arxiv.org/abs/1706.02677",
)  # fmt: skip
KESKAR = Source(
    "On Large-Batch Training for Deep Learning: Generalization Gap and Sharp Minima",
    "Nitish Shirish Keskar, Dheevatsa Mudigere, Jorge Nocedal, Mikhail Smelyanskiy, Ping Tak Peter Tang",
    2017, "https://arxiv.org/abs/1609.04836",
)  # fmt: skip


# ---- what is trained -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """The data, and which rows each seed trains and tests on: train (S, N), test (S, T)."""

    x: Tensor
    y: Tensor
    train: Tensor
    test: Tensor
    classes: int

    @staticmethod
    def split(p: Batches, data: Dataset, generator: torch.Generator) -> _Rows:
        x, y = torch.cat([data.train_x, data.test_x])[:POOL], torch.cat([data.train_y, data.test_y])[:POOL]
        held_out = len(y) * 5 // 18
        order = shuffles(len(y), p.seeds, generator)
        return _Rows(x, y, order[:, held_out:][:, : p.samples], order[:, :held_out], data.classes)


def _sizes(p: Batches, count: int) -> list[int]:
    """Batch sizes from small to large for `count` training rows: two at equal steps, up to five at equal epochs."""
    small = min(p.small, count // 2)
    large = min(small * p.ratio, count)
    between = 2 if p.task == "steps" else min(5, 1 + math.ceil(math.log2(large / small)))
    return sorted({round(size) for size in log_spaced(small, large, max(2, between))})


class _Run:
    """The networks of one batch size: with the rate as it is and, at equal epochs, with the scaled one as well."""

    def __init__(self, p: Batches, rows: _Rows, size: int, smallest: int, seed: int, device: torch.device) -> None:
        self.p, self.rows, self.size, self.device = p, rows, size, device
        self.rates = [p.rate] if p.task == "steps" else [p.rate, p.rate * size / smallest]
        self.network = StackedMLP(
            (rows.x.shape[1], p.width, rows.classes),
            list(range(p.seeds)) * len(self.rates),
            torch.Generator().manual_seed(seed),
            device=device,
        )
        self._optimizer = SGD(self.network, [1.0] * self.network.count)
        self._generator = torch.Generator().manual_seed(seed + 1)  # its own, so that sizes may take turns in any order
        self._order = torch.empty(p.seeds, 0, dtype=torch.long)
        self.count = rows.train.shape[1]
        self.total = p.steps if p.task == "steps" else p.epochs * math.ceil(self.count / size)
        self.done = 0

    def advance(self, target: int) -> Tensor | None:
        """Takes steps up to the target. The mean loss of their batches (rates, seeds) in nats, None if there were none."""
        losses = []
        while self.done < target:
            if not self._order.shape[1]:  # a new epoch: every seed shuffles its rows
                shuffled = shuffles(self.count, self.p.seeds, self._generator)
                self._order = self.rows.train.gather(1, shuffled)
            batch, self._order = self._order[:, : self.size].repeat(len(self.rates), 1).to(self.device), self._order[:, self.size :]
            loss, gradients = self.network.gradients(self.rows.x[batch], self.rows.y[batch])
            self._optimizer.rates = torch.tensor(self._rates_now()).repeat_interleave(self.p.seeds).to(self.device)
            self._optimizer.step(gradients)
            losses.append(loss.view(-1, self.p.seeds))
            self.done += 1
        return torch.stack(losses).mean(0).cpu() if losses else None

    def _rates_now(self) -> list[float]:
        ramp = min(1.0, (self.done + 1) / (self.p.warmup * self.total)) if self.p.warmup else 1.0
        return [self.rates[0], *[rate * ramp for rate in self.rates[1:]]]

    def test_error(self) -> Tensor:
        """In percent (rates, seeds)."""
        rows = self.rows.test.repeat(len(self.rates), 1).to(self.device)
        share = error_rate(self.network.logits(self.rows.x[rows]), self.rows.y[rows]).view(-1, self.p.seeds).cpu()
        return torch.round(100 * share.double(), decimals=4)

    def solution(self) -> list[Tensor]:
        """The weights (S, …) of its last rate: the scaled one at equal epochs."""
        return [tensor[-self.p.seeds :] for tensor in self.network.parameters()]


def _losses_along(p: Batches, rows: _Rows, ends: Sequence[_Run], device: torch.device) -> Iterator[Tensor]:
    """Training and test loss (2, S) in nats at (1 − α) · small + α · large, for each α."""
    network = StackedMLP((rows.x.shape[1], p.width, rows.classes), list(range(p.seeds)), torch.Generator().manual_seed(0), device=device)
    parts = [(rows.x[part], rows.y[part]) for part in (rows.train.to(device), rows.test.to(device))]
    for alpha in ALPHAS:
        for tensor, small, large in zip(network.parameters(), ends[0].solution(), ends[1].solution(), strict=True):
            tensor.copy_(small * (1 - alpha) + large * alpha if alpha else small)  # 0 · ∞ is not 0
        losses = [cross_entropy(network.forward(x, training=False)[0], y)[0] for x, y in parts]
        yield diverged_as_infinite(torch.stack(losses)).cpu()


# ---- what is shown ---------------------------------------------------------------------------------------------------

LOSS = Axis(Text("训练损失（nats，对数）", "training loss (nats, log)"), log=True, low=1e-3, high=10)
SMALL, SAME, SCALED = Text("小批量", "small"), Text("学习率不变", "same rate"), Text("学习率 × k", "rate × k")


def _band(name: Text, role: Role, x: Sequence[float], values: Tensor, axis: Axis) -> Line:
    """Mean and band over seeds of values (points, S); what is not finite, or far above the axis, has diverged."""
    shown = diverged_as_infinite(values.double()).clamp_min(axis.low or 0)
    mean, low, high = mean_and_band(shown.where(shown <= 1e3 * (axis.high or 1), math.inf).T.tolist(), log=axis.log)
    return Line(name, role, x, mean, low, high)


def _error_chart(p: Batches, sizes: Sequence[int], errors: Sequence[Tensor]) -> LineChart:
    """Test error against batch size from errors (rates, S) of each size."""
    y = Axis(Text("测试错误率（%，对数）", "test error (%, log)"), log=True, low=1, high=100)
    x = Axis(Text("批大小（对数）", "batch size (log)"), log=True, low=sizes[0], high=sizes[-1])
    lines, told = [], Text("还没有数据。", "No data yet.")
    if errors:
        whole = torch.stack(list(errors))  # (sizes, rates, S)
        means = whole.mean(2)
        flat = float(means[0, 0])
        lines = [Line(SMALL, "theory", [sizes[0], sizes[-1]], [flat, flat]), _band(SAME, "first", sizes, whole[:, 0], y)]
        if whole.shape[1] > 1:
            lines.append(_band(SCALED, "second", sizes, whole[:, 1], y))
        told = Text(
            f"批大小 {sizes[0]} 的测试错误率 {flat:.3g}%；批大小 {sizes[-1]}：学习率不变 {means[-1, 0]:.3g}%"
            + (f"，乘 k 后 {means[-1, 1]:.3g}%。" if whole.shape[1] > 1 else "。"),
            f"Test error {flat:.3g} % at batch {sizes[0]}; at batch {sizes[-1]} {means[-1, 0]:.3g} % with the same rate"
            + (f", {means[-1, 1]:.3g} % with k times the rate." if whole.shape[1] > 1 else "."),
        )
    return LineChart(Text("测试错误率与批大小", "Test error against batch size"), x, y, tuple(lines), told)


def _curves(p: Batches, sizes: Sequence[int], shares: Sequence[float], history: Sequence[Sequence[Tensor | None]]) -> LineChart:
    """Training loss of the smallest and the largest batch; history[tick][size] (rates, S), None where a tick had no step."""
    length = p.epochs if p.task == "epochs" else p.steps
    wanted: list[tuple[Text, Role, int, int]] = [
        (SMALL, "baseline", 0, 0),
        (SAME if p.task == "epochs" else Text("大批量", "large"), "first", len(sizes) - 1, 0),
    ]
    if p.task == "epochs":
        wanted.append((SCALED, "second", len(sizes) - 1, 1))
    lines = []
    for name, role, size, rate in wanted:
        points = [(share * length, losses[rate]) for share, row in zip(shares, history, strict=True) if (losses := row[size]) is not None]
        points = [points[i] for i in thinned(len(points), 40)]
        if points:
            lines.append(_band(name, role, [x for x, _ in points], torch.stack([values for _, values in points]), LOSS))
    x = Axis(Text("轮数", "epochs") if p.task == "epochs" else Text("步数", "steps"), low=0, high=length)
    return LineChart(
        Text("训练曲线：最小与最大的批量", "Training: smallest and largest batch"), x, LOSS, tuple(lines),
        Text(f"批大小 {sizes[0]} 与 {sizes[-1]} 的训练损失。", f"Training loss with batches of {sizes[0]} and {sizes[-1]}."),
    )  # fmt: skip


def _line_chart(p: Batches, sizes: Sequence[int], losses: Tensor | None) -> LineChart:
    """Loss along the line, from losses (alphas, 2, S)."""
    y = Axis(Text("损失（nats，对数）", "loss (nats, log)"), log=True, low=1e-3, high=10)
    lines, told = [], Text("还没有数据。", "No data yet.")
    if losses is not None:
        lines = [
            _band(Text("训练", "training"), "first", ALPHAS, losses[:, 0], y),
            _band(Text("测试", "test"), "second", ALPHAS, losses[:, 1], y),
        ]
        means = [float(losses[ALPHAS.index(at), 0].mean()) for at in (-1, 0, 1, 2)]
        far = 1e3 * (y.high or 1)  # as in `_band`
        ends = [f"{mean:.2g}" if mean <= far else "∞" for mean in means]
        told = Text(
            f"训练损失：两个解处 {ends[1]} 和 {ends[2]}，再往外走同样的距离，小批量一侧 {ends[0]}，大批量一侧 {ends[3]}。",
            f"Training loss: {ends[1]} and {ends[2]} at the two solutions; as far again beyond them, {ends[0]} on the small-batch side, {ends[3]} on the other.",
        )
    rules = (
        Rule(Text(f"批量 {sizes[0]}", f"batch {sizes[0]}"), 0, "baseline"),
        Rule(Text(f"批量 {sizes[-1]}", f"batch {sizes[-1]}"), 1, "baseline"),
    )
    x = Axis(Text("连线上的位置 α", "position α on the line"), low=-1, high=2)
    return LineChart(Text("两个解之间连线上的损失", "Loss along the line between the solutions"), x, y, tuple(lines), told, rules)


# ---- the run ---------------------------------------------------------------------------------------------------------


def run(parameters: Batches, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    p = parameters
    rows = _Rows.split(p, load_digits_or_own(p.data, device, generator=generator), generator)
    sizes = _sizes(p, rows.train.shape[1])
    seed = int(torch.randint(2**31, (1,), generator=generator))
    runs = [_Run(p, rows, size, sizes[0], seed, device) for size in sizes]
    errors: list[Tensor] = []
    losses: Tensor | None = None
    shares: list[float] = []
    history: list[list[Tensor | None]] = []

    def charts() -> tuple[Chart, ...]:
        three = (_error_chart(p, sizes, errors), _curves(p, sizes, shares, history), _line_chart(p, sizes, losses))
        return three if p.task == "epochs" else (three[2], three[1], three[0])

    yield Snapshot(0, Text("就绪", "Ready"), charts())
    pace, ticks = Pace(), max(40, runs[0].total // (16 if p.task == "epochs" else 4))
    looks = {round(ticks * (i + 1) / LOOKS) for i in range(LOOKS)}
    for tick in range(1, ticks + 1):
        shares.append(tick / ticks)
        history.append([])
        status = Text(f"批大小 {sizes[0]} 的第 {runs[0].done}/{runs[0].total} 步", f"Batch {sizes[0]}: step {runs[0].done}/{runs[0].total}")
        for one in runs:
            history[-1].append(one.advance(round(one.total * tick / ticks)))
        if tick in looks:
            errors, found = [one.test_error() for one in runs], []
            for pair in _losses_along(p, rows, (runs[0], runs[-1]), device):
                found.append(pair)
                if pace.due():
                    yield Snapshot(0.99 * tick / ticks, status, charts())
            losses = torch.stack(found)
        if pace.due(tick / ticks):
            yield Snapshot(0.99 * tick / ticks, status, charts())
    assert losses is not None
    figures, outcome = (_judge_epochs if p.task == "epochs" else _judge_steps)(p, runs, errors, losses)
    yield Snapshot(1, Text("完成", "Done"), charts(), figures, outcome)


# ---- the verdicts ----------------------------------------------------------------------------------------------------


def _judge_epochs(p: Batches, runs: Sequence[_Run], errors: Sequence[Tensor], losses: Tensor) -> tuple[tuple[Figure, ...], Outcome]:
    """Test accuracy lost by going from the small to the large batch in the same epochs, in percentage points for each seed.

    Reproduced: with the scaled rate less than a point is lost (its interval ends below), and less than with the same rate (the interval of the difference lies
    above 0). Same direction: only the latter. Otherwise not at this scale.
    """
    same, scaled = ((errors[-1][i] - errors[0][0]).tolist() for i in (0, 1))
    mean, low, high = interval(scaled)
    helped = interval([a - b for a, b in zip(same, scaled, strict=True)])[1] > 0
    status: Status = "not_at_this_scale" if not helped else "reproduced" if high < MARGIN else "same_direction"
    points = Text("个百分点", "points")
    figures = (
        Figure(
            Text("大批量、学习率 × k：测试准确率的损失", "Large batch, rate × k: test accuracy lost"),
            round(mean, 4),
            (high - low) / 2,
            points,
        ),
        Figure(Text("大批量、学习率不变：测试准确率的损失", "Large batch, same rate: test accuracy lost"), *mean_and_spread(same), points),
        Figure(Text("小批量的测试准确率", "Test accuracy, small batch"), *mean_and_spread((100 - errors[0][0]).tolist()), "%"),
        Figure(Text("更新次数：小批量", "Updates, small batch"), runs[0].total),
        Figure(Text("更新次数：大批量", "Updates, large batch"), runs[-1].total),
    )
    kept = {"scaled": mean < MARGIN, "same": figures[1].value < MARGIN}
    answer = "both" if all(kept.values()) else "scaled" if kept["scaled"] else "same" if kept["same"] else "neither"
    published = Text(
        "ImageNet、ResNet-50：批量 256 的错误率 23.60%，批量 8192（学习率乘 32、逐步预热）23.74%，只差 0.14 个百分点；批量再大，准确率就迅速下降",
        "ImageNet, ResNet-50: error 23.60 % with batch 256, 23.74 % with 8192 (32 times the rate, gradual warm-up), so 0.14 points lost; beyond that accuracy falls fast",
    )
    return figures, Outcome(Verdict(status, figures[0], published, GOYAL, _explain_epochs(p, runs, figures, status, losses)), answer)


def _explain_epochs(p: Batches, runs: Sequence[_Run], figures: Sequence[Figure], status: Status, losses: Tensor) -> Text:
    scaled, same = figures[0].value, figures[1].value
    small, large = runs[0], runs[-1]
    told = Text(
        f"{p.epochs} 轮里，批量从 {small.size} 到 {large.size}，更新从 {small.total} 次减到 {large.total} 次。学习率不变（{p.rate:g}）损失 {same:.3g} 个百分点的测试准确率，"
        f"换成 {large.rates[1]:.3g} 损失 {scaled:.3g} 个。",
        f"Within {p.epochs} epochs, going from batch {small.size} to {large.size} cuts the updates from {small.total} to {large.total}. With the same rate ({p.rate:g}) this costs {same:.3g} "
        f"points of test accuracy, with {large.rates[1]:.3g} it costs {scaled:.3g}. ",
    )
    start = math.log(small.rows.classes)
    if status == "reproduced":
        why = Text(
            "只要这几步里权重变化不大，k 个小步的梯度就差不多，加起来等于走一大步，长 k 倍。所以差的不是批量，而是总共走了多远。",
            "As long as the weights hardly change in between, the gradients of k small steps are alike and add up to one step k times as long. What hurt was not the batch but how far training had got.",
        )
    elif not float(losses[ALPHAS.index(1), 0].mean()) < start:
        why = Text(
            f"学习率 {large.rates[1]:.3g} 已经超过曲率能承受的上限，训练损失比瞎猜还高：梯度再准，步子也不能无限放大。批量大到这个程度，规则就失效了，论文也这么说。",
            f"The rate {large.rates[1]:.3g} is past what the curvature bears, and the training loss is above that of guessing: however exact the gradient, a step cannot grow without end. "
            "At such a batch size the rule no longer holds, as the paper says as well.",
        )
    elif status == "same_direction":
        why = Text(
            "规则只挽回了一部分：k 步里权重已经走远，第一步的梯度代表不了后面几步。",
            "The rule recovers only a part: within k steps the weights move so far that the first gradient no longer stands for the others.",
        )
    else:
        why = Text(
            "放大学习率在这里没有帮助：要么学习率不变也已训练到位，要么放大后反而不稳。",
            "A larger rate is no help here: either the same rate is enough to finish training, or the larger one is unsteady.",
        )
    return told + why


def _judge_steps(p: Batches, runs: Sequence[_Run], errors: Sequence[Tensor], losses: Tensor) -> tuple[tuple[Figure, ...], Outcome]:
    """Test accuracy of the small batch minus that of the large one after equally many steps, in percentage points for each seed.

    Reproduced: the small batch is ahead by over a point (its interval is) and by at most √10 times the published 2.78. Same direction: only the first holds. Otherwise
    not at this scale.
    """
    gaps = (errors[-1][0] - errors[0][0]).tolist()
    mean, low, high = interval(gaps)
    status: Status = "not_at_this_scale" if low <= MARGIN else "reproduced" if mean <= 10**0.5 * KESKAR_GAP else "same_direction"
    at = {alpha: losses[ALPHAS.index(alpha), 0] for alpha in (-1, 0, 1, 2)}  # training loss (S,)
    rises = [(at[-1] - at[0]).tolist(), (at[2] - at[1]).tolist()]
    figures = (
        Figure(
            Text("测试准确率：小批量 − 大批量", "Test accuracy: small − large batch"),
            round(mean, 4),
            (high - low) / 2,
            Text("个百分点", "points"),
        ),
        Figure(Text("训练损失：小批量", "Training loss, small batch"), *mean_and_spread(at[0].tolist()), "nats"),
        Figure(Text("训练损失：大批量", "Training loss, large batch"), *mean_and_spread(at[1].tolist()), "nats"),
        Figure(Text("连线向外一倍距离，损失升高：小批量一侧", "Rise beyond the small-batch end"), *mean_and_spread(rises[0]), "nats"),
        Figure(Text("连线向外一倍距离，损失升高：大批量一侧", "Rise beyond the large-batch end"), *mean_and_spread(rises[1]), "nats"),
    )
    published = Text(
        "表 2，小批量与大批量的测试准确率：C1（CIFAR-10 卷积网）80.04% 与 77.26%，F1（MNIST 全连接网）98.03% 与 97.81%，C4 63.08% 与 57.81%",
        "Table 2, test accuracy of small and large batch: C1 (convolutional, CIFAR-10) 80.04 and 77.26 %, F1 (fully connected, MNIST) 98.03 and 97.81 %, C4 63.08 and 57.81 %",
    )
    answer = "small" if mean > MARGIN else "large" if mean < -MARGIN else "same"
    return figures, Outcome(Verdict(status, figures[0], published, KESKAR, _explain_steps(p, runs, figures, rises)), answer)


def _explain_steps(p: Batches, runs: Sequence[_Run], figures: Sequence[Figure], rises: Sequence[Sequence[float]]) -> Text:
    mean, spread = figures[0].value, figures[0].spread or 0.0
    told = Text(
        f"都走 {p.steps} 步后，训练损失是 {figures[1].value:.2g}（批量 {runs[0].size}）和 {figures[2].value:.2g}（批量 {runs[-1].size}）。",
        f"After {p.steps} steps each, the training loss is {figures[1].value:.2g} (batch {runs[0].size}) and {figures[2].value:.2g} (batch {runs[-1].size}). ",
    )
    if mean - spread > MARGIN:
        found = Text(f"小批量的测试准确率高 {mean:.2g} 个百分点。", f"The small batch has {mean:.2g} points more test accuracy. ")
    elif abs(mean) + spread < MARGIN:
        found = Text(
            f"测试准确率相差 {abs(mean):.2g} 个百分点，区间在 ±{MARGIN:g} 之内：更新次数相同时，看不到泛化差距。论文的差距没有出现，正说明批量大不必然泛化差。",
            f"Test accuracy differs by {abs(mean):.2g} points, with an interval within ±{MARGIN:g}: with equally many updates there is no gap to be seen. That the paper's gap is missing is the lesson: a large batch need not generalise worse. ",
        )
    else:
        found = Text(
            f"测试准确率相差 {mean:+.2g} ± {spread:.2g} 个百分点，不足以说小批量领先 {MARGIN:g} 个以上。",
            f"Test accuracy differs by {mean:+.2g} ± {spread:.2g} points, which is not enough to say that the small batch leads by over {MARGIN:g}. ",
        )
    sharper, low, high = interval([large - small for small, large in zip(*rises, strict=True)])
    if low > 0:
        line = Text(
            "沿连线向外走，大批量一侧升得更快：更“尖”，却不等于更差。",
            "Beyond its end of the line the large batch's loss rises faster: its minimum is sharper, which need not be worse. ",
        )
    elif high < 0:
        line = Text(
            "沿连线向外走，升得更快的反而是小批量一侧。", "Beyond the ends of the line it is the small-batch side that rises faster. "
        )
    else:
        line = Text("沿连线向外走，两侧升得差不多快。", "Beyond the ends of the line the loss rises about equally on both sides. ")
    if not math.isfinite(sharper):
        line = Text("连线上有一端已发散。", "One end of the line has diverged. ")
    note = Text(
        "论文用 Adam 训练，批量 256 对 10% 的数据，不限轮数；它的 MNIST 全连接网也只差 0.22 个百分点，这里的测试样本分辨不出那么小的差距。",
        "The paper trains with Adam, batch 256 against 10 % of the data, without a limit on epochs; for its own fully connected network on MNIST the gap is only 0.22 points, too small to be seen with so few test rows.",
    )
    parts = (told, found, line, note)
    return joined(parts)


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Batches) -> Prediction:
    if p.task == "steps":
        return Prediction(
            Text(
                f"批量 {p.small} 和它的 {p.ratio} 倍（最多 {p.samples}），学习率都是 {p.rate:g}，都走 {p.steps} 步。谁的测试准确率高？",
                f"Batches of {p.small} and of {p.ratio} times as many (at most {p.samples}), both at rate {p.rate:g} for {p.steps} steps. Which has the higher test accuracy?",
            ),
            {
                "small": Text(f"小批量，高 {MARGIN:g} 个百分点以上", f"the small batch's, by over {MARGIN:g} point"),
                "same": Text(f"相差不到 {MARGIN:g} 个百分点", f"less than {MARGIN:g} point apart"),
                "large": Text(f"大批量，高 {MARGIN:g} 个百分点以上", f"the large batch's, by over {MARGIN:g} point"),
            },
        )
    return Prediction(
        Text(
            f"批量从 {p.small} 放大 {p.ratio} 倍（最多 {p.samples}），都训练 {p.epochs} 轮。大批量用哪种学习率，测试准确率的损失不到 {MARGIN:g} 个百分点？",
            f"The batch grows {p.ratio}-fold from {p.small} (to {p.samples} at most); both sizes train for {p.epochs} epochs. With which rate does the large batch lose less than {MARGIN:g} point of test accuracy?",
        ),
        {
            "same": Text(f"不变（{p.rate:g}）", f"the same ({p.rate:g})"),
            "scaled": Text("按批量同比放大", "one that grows with the batch"),
            "both": Text("两种都行", "either"),
            "neither": Text("两种都不行", "neither"),
        },
    )


_CODE = """\
import math
import torch

torch.set_num_threads(1)  # networks as small as these gain nothing from more
{data}
WIDTH, RATE, SEEDS = {width}, {rate:g}, 3

def trained(seed, batch, rate):
    torch.manual_seed(seed)  # the same split and the same start for all batch sizes
    order = torch.randperm(len(y))
    test, train = order[: len(y) * 5 // 18], order[len(y) * 5 // 18 :][:{samples}]
    network = torch.nn.Sequential(torch.nn.Linear(x.shape[1], WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, classes))
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    total = {total}
    step = 0
    while step < total:
        for rows in train[torch.randperm(len(train))].split(batch):
            for group in optimizer.param_groups:
                group["lr"] = rate{ramp}
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
            step += 1
            if step == total:
                break
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(network(x[train]), y[train]).item()
        accuracy = 100 * (network(x[test]).argmax(1) == y[test]).float().mean().item()
    return torch.tensor([loss, accuracy, step])

for batch, rate in {pairs}:
    loss, accuracy, updates = torch.stack([trained(seed, batch, rate) for seed in range(SEEDS)]).mean(0).tolist()
    print(f"batch {{batch:4}}, rate {{rate:6.3g}}: {{updates:5.0f}} updates, training loss {{loss:.4g}}, test accuracy {{accuracy:.2f}} %")
"""


def code(p: Batches) -> str:
    small, large = p.small, min(p.small * p.ratio, p.samples)
    pairs = [(small, p.rate), (large, p.rate)]
    total, ramp = f"{p.steps}", ""
    if p.task == "epochs":
        pairs.append((large, p.rate * large / small))
        total = f"{p.epochs} * math.ceil(len(train) / batch)"
        ramp = f" * (min(1.0, (step + 1) / ({p.warmup:g} * total)) if rate > RATE else 1.0)" if p.warmup else ""
    told = ", ".join(f"({batch}, {rate:.4g})" for batch, rate in pairs)
    return _CODE.format(**{**p.values(), "data": digits_or_own(p.data)}, total=total, ramp=ramp, pairs=f"({told})")


DEMO = Demo(
    topic="optimization",
    title=Text("批大小：等轮数还是等步数", "Batch size: equal epochs or equal steps"),
    question=Text(
        "batch size 变大之后，学习率和训练长度要怎么变？",
        "When the batch grows, how should the learning rate and the length of training change?",
    ),
    look_for=Text(
        "看测试错误率随批大小怎么变：学习率不变、学习率 × k 的两条曲线，各在多大的批以内守得住小批量的水平（虚线）？再看训练曲线：轮数相同，大批量用这两种学习率，训练损失各降到哪里？",
        "See how the test error changes with the batch size: up to what size do the curves with the same rate and with rate × k stay at the small batch's level (dashed)? Then look at the "
        "training curves: within the same epochs, how far does the large batch's training loss fall with either rate?",
    ),
    scaled_down=Text(
        "论文是 ImageNet 上的 ResNet-50（批量 256–8192）和 CIFAR 上的卷积网；这里是一层隐藏层、几百张 8×8 数字、批量 8–512、不带动量的 SGD。",
        "The papers had ResNet-50 on ImageNet (batches of 256 to 8192) and convolutional networks on CIFAR; this is one hidden layer, a few hundred digits of 8×8 pixels, batches of 8 "
        "to 512 and SGD without momentum.",
    ),
    parameters=Batches,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=1,
)
