"""What networks can solve (1.32): memorise random labels, learn XOR, and approximate a function on an interval, but only there.

*labels*: five shares of random labels at once; training accuracy tells nothing about test accuracy. *xor*: hundreds of random starts for each number of hidden units;
what can be represented is not always found. *function*: all widths at once, inside and outside the range of the training points. Networks of different width are one
stack (demos/core/stacked.py) whose surplus units are masked out: a masked unit has no output and no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Grid, Line, LineChart, PlaneChart, Points, Role, Rule
from demos.core.datasets import load_digits_or_own, shuffles
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import Adam, StackedMLP, cross_entropy, diverged_as_infinite, error_rate
from demos.core.statistics import exponent, interval, mean_and_band, mean_and_spread, ratio_interval, share_interval
from demos.core.text import Text, joined, same

if TYPE_CHECKING:
    from torch import Tensor

FUNCTIONS = {"wave": same("sin 2πx"), "square": same("x²"), "jump": Text("阶跃 sign x", "step, sign x")}
SHARES = 5  # shares of random labels, from 0 to the chosen one
BATCH = 50
LOOKS = 30  # times that accuracies are measured
XOR_X, XOR_Y = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)), (0, 1, 1, 0)
SURE = 0.6  # probability of the right class at each point of XOR from which on it counts as learnt
XOR_WIDTHS = (1, 2, 3, 4, 8, 16, 32)
WIDTHS = (2, 4, 8, 16, 32, 64, 128)
POINTS = 64  # training points of the function, evenly spaced from −1 to 1
EDGE = 1.5  # how far outside it is tested
CELLS = 40


@dataclass(frozen=True)
class Memorization(Parameters):
    task: str = mode_choice(
        "labels", {"labels": Text("随机标签", "random labels"), "xor": Text("异或", "XOR"), "function": Text("一元函数", "a function")},
        label=Text("实验", "Experiment"), help=Text("要网络解决什么问题。", "What the network is to solve."),
    )  # fmt: skip
    noise: float = real(
        1.0, 0, 1, step=0.05, label=Text("随机标签的比例", "Share of random labels"), modes=("labels",),
        help=Text("多大比例的训练标签换成随机抽的类别；测试标签总是真的。", "How much of the training labels is drawn at random; test labels stay true."),
    )  # fmt: skip
    target: str = choice(
        "wave", FUNCTIONS, modes=("function",),
        label=Text("目标函数", "Function"), help=Text("网络要拟合的函数。", "What the network is to fit."),
    )  # fmt: skip
    width: int = integer(
        64, 1, 128, label=Text("隐藏单元数", "Hidden units"),
        help=Text("唯一的隐藏层有多宽；异或和一元函数会比较不超过它的多种宽度。", "In the only hidden layer; for XOR and the function, widths up to this one are compared."),
    )  # fmt: skip
    steps: int = integer(500, 20, 2000, step=20, label=Text("训练步数", "Training steps"), help=Text("Adam 的步数。", "Steps of Adam."))
    samples: int = integer(
        200, 20, 1000, step=20, label=Text("训练样本数", "Training samples"), modes=("labels",), help=Text("要记住多少个标签。", "How many labels there are to memorise.")
    )  # fmt: skip
    activation: str = choice(
        "relu", {"relu": same("ReLU"), "tanh": same("tanh")}, advanced=True, modes=("xor", "function"),
        label=Text("激活函数", "Activation"), help=Text("隐藏单元的激活函数。", "Of the hidden units."),
    )  # fmt: skip
    lr: float = real(
        0.01, 0.0001, 1, log=True, advanced=True, label=Text("学习率", "Learning rate"), help=Text("Adam 的学习率。", "Adam's.")
    )
    starts: int = integer(
        200, 20, 400, step=20, advanced=True, label=Text("随机起点数", "Random starts"), modes=("xor",), help=Text("每种宽度试多少次。", "Tried for each width.")
    )  # fmt: skip
    seeds: int = integer(
        8, 5, 8, advanced=True, label=Text("种子数", "Seeds"), modes=("labels", "function"), help=Text("重复几次。", "How often it is repeated.")
    )  # fmt: skip
    data: str = own_data("classes", modes=("labels",))


PRESETS = {
    "random-labels": Preset(
        Text("随机标签", "Random labels"),
        Text("200 张数字，标签全部随机：训练准确率能到多少？", "200 digits whose labels are all random: how far does training accuracy get?"),
        {},
        "textbook",
    ),
    "too-narrow": Preset(
        Text("太窄", "Too narrow"),
        Text("同样的随机标签，隐藏层只有 3 个单元。", "The same random labels, but only 3 hidden units."),
        {"width": 3},
        "limits",
    ),
    "xor": Preset(
        Text("异或", "XOR"),
        Text("200 个随机起点：要几个隐藏单元才学得会？", "200 random starts: how many hidden units does it take?"),
        {"task": "xor", "width": 8, "lr": 0.03},
        look_for=Text(
            "两个单元就能表示异或；看柱状图里真正学会的起点有多少，单元增加时怎样变。再看排好序的损失：没学会的起点停在哪几个高度上。",
            "Two units can represent XOR: see in the bars how many starts really learn it, and how that changes with more units. Then look at the sorted losses: at which heights do the other starts get stuck?",
        ),
    ),
    "function": Preset(
        Text("拟合函数", "A function"),
        Text("网络越来越宽，训练区间内的误差会怎样？区间外呢？", "As the network grows wider, what happens to the error inside the training range? And outside?"),
        {"task": "function", "lr": 0.02, "steps": 1200},
        "limits",
        look_for=Text(
            "看拟合图里“区间始”“区间止”两条竖线的内侧和外侧，各种宽度的曲线离 f(x) 多远。再看误差与宽度：网络加宽时，区间内、区间外两条线是否一起变。",
            "In the chart of the fit, see how far the curves of each width lie from f(x) between the two lines that mark the range, and beyond them. Then see whether the errors inside and outside move together as the network grows wider.",
        ),
    ),
}  # fmt: skip

ZHANG = Source(
    "Understanding deep learning requires rethinking generalization, Table 1",
    "Chiyuan Zhang, Samy Bengio, Moritz Hardt, Benjamin Recht, Oriol Vinyals", 2017, "https://arxiv.org/abs/1611.03530",
)  # fmt: skip
GOODFELLOW = Source(
    "Deep Learning, section 6.1: Learning XOR",
    "Ian Goodfellow, Yoshua Bengio, Aaron Courville", 2016, "https://www.deeplearningbook.org/contents/mlp.html",
)  # fmt: skip
LESHNO = Source(
    "Multilayer feedforward networks with a nonpolynomial activation function can approximate any function",
    "Moshe Leshno, Vladimir Ya. Lin, Allan Pinkus, Shimon Schocken", 1993, "https://doi.org/10.1016/S0893-6080(05)80131-5",
)  # fmt: skip


def stack_of_widths(
    widths: Sequence[int], each: int, ends: tuple[int, int], activation: str, generator: torch.Generator, device: torch.device
) -> tuple[StackedMLP, list[Tensor]]:
    """`each` networks of each width in one stack, and the masks that switch surplus units off. Each has the scale of weights that its own width asks for."""
    most = max(widths)
    network = StackedMLP((ends[0], most, ends[1]), range(len(widths) * each), generator, activation=activation, device=device)
    width = torch.tensor(widths, device=device).repeat_interleave(each)[:, None, None]
    network.weights[1].mul_((most / width) ** 0.5)
    return network, [(torch.arange(most, device=device)[None, :, None] < width).float()]


# ---- random labels ---------------------------------------------------------------------------------------------------


def corrupted(y: Tensor, classes: int, shares: Sequence[float], generator: torch.Generator) -> Tensor:
    """Labels (shares, S, N): of y (S, N), each share replaced by classes drawn at random; a larger share contains the smaller ones."""
    drawn, order = torch.randint(classes, y.shape, generator=generator), torch.rand(y.shape, generator=generator)
    return torch.stack([torch.where(order < share, drawn, y) for share in shares])


@dataclass
class _Accuracies:
    """What is measured while training, in percent: a list over looks of (shares, S) tensors."""

    steps: list[int]
    train: list[Tensor]
    test: list[Tensor]

    def add(self, step: int, network: StackedMLP, x: Tensor, labels: Tensor, test_x: Tensor, test_y: Tensor) -> None:
        self.steps.append(step)
        self.train.append(100 - 100 * error_rate(network.logits(x), labels).cpu().view(SHARES, -1))
        self.test.append(100 - 100 * error_rate(network.logits(test_x), test_y).cpu().view(SHARES, -1))


def _label_charts(p: Memorization, seen: _Accuracies, shares: Sequence[float], chance: float) -> tuple[Chart, ...]:
    curves = []
    kinds: list[tuple[int, Text, tuple[Role, Role]]] = [(0, Text("真标签", "true"), ("third", "first"))]
    if p.noise:
        kinds.append((SHARES - 1, Text("随机", "random") if p.noise == 1 else Text("有噪声", "noisy"), ("fourth", "second")))
    for row, name, roles in kinds:
        for rows, part, role in zip((seen.train, seen.test), (Text("训练", "training"), Text("测试", "test")), roles, strict=True):
            band = mean_and_band(torch.stack([look[row] for look in rows], 1).tolist()) if rows else ([], [], [])
            curves.append(Line(Text(f"{name.zh}，{part.zh}", f"{name.en}, {part.en}"), role, seen.steps, *band))
    curves.append(Line(Text("瞎猜", "chance"), "theory", [0, p.steps], [chance] * 2))
    final = []
    parts: tuple[tuple[list[Tensor], Text, Role], ...] = (
        (seen.train, Text("训练", "training"), "baseline"),
        (seen.test, Text("测试", "test"), "first"),
    )
    for rows, name, role in parts:
        band = mean_and_band(rows[-1].T.tolist()) if rows and p.noise else ([], [], [])
        final.append(Line(name, role, [100 * share for share in shares] if rows and p.noise else [], *band, style="dots+line"))
    right = [100 - share * (100 - chance) for share in shares]
    final.append(Line(Text("标签正确的比例", "correct labels"), "theory", [100 * share for share in shares], right))
    now, clean = ([float(rows[-1][row].mean()) if rows else math.nan for rows in (seen.train, seen.test)] for row in (SHARES - 1, 0))
    accuracy = Axis(Text("准确率（%）", "Accuracy (%)"), low=0, high=105)
    return (
        LineChart(
            Text("训练与测试准确率", "Training and test accuracy"), Axis(Text("训练步数", "Training steps"), low=0, high=p.steps), accuracy, tuple(curves),
            Text("还没有开始训练。", "Training has not begun.") if not seen.steps else Text(
                f"第 {seen.steps[-1]} 步，{100 * p.noise:.0f}% 的标签随机时：训练准确率 {now[0]:.3g}%，测试 {now[1]:.3g}%。",
                f"Step {seen.steps[-1]}, with {100 * p.noise:.0f} % of the labels random: training accuracy {now[0]:.3g} %, test {now[1]:.3g} %.",
            ),
        ),
        LineChart(
            Text("准确率与随机标签的比例", "Accuracy against random labels"), Axis(Text("随机标签的比例（%）", "Random labels (%)"), low=0, high=100), accuracy, tuple(final),
            Text("还没有开始训练。", "Training has not begun.") if not seen.steps else Text(
                f"随机标签从 0 增加到 {100 * p.noise:.0f}%：训练准确率从 {clean[0]:.3g}% 变为 {now[0]:.3g}%，测试从 {clean[1]:.3g}% 变为 {now[1]:.3g}%。",
                f"From 0 to {100 * p.noise:.0f} % random labels, training accuracy goes from {clean[0]:.3g} % to {now[0]:.3g} %, test accuracy from {clean[1]:.3g} % to {now[1]:.3g} %.",
            ),
        ),
    )  # fmt: skip


def _run_labels(p: Memorization, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    shares, seen = [p.noise * i / (SHARES - 1) for i in range(SHARES)], _Accuracies([], [], [])
    data = load_digits_or_own(p.data, device, generator=generator)
    chance = 100 / data.classes
    yield Snapshot(0, Text("就绪", "Ready"), _label_charts(p, seen, shares, chance))
    count = min(p.samples, len(data.train_y))
    picked = shuffles(len(data.train_y), p.seeds, generator, count)
    labels = corrupted(data.train_y.cpu()[picked], data.classes, shares, generator).flatten(0, 1).to(device)  # (shares · S, N)
    x = data.train_x[picked.to(device)].repeat(SHARES, 1, 1)
    network = StackedMLP((data.features, p.width, data.classes), list(range(p.seeds)) * SHARES, generator, device=device)
    optimizer, rows = Adam(network, [p.lr] * network.count), torch.arange(network.count, device=device)[:, None]
    pace, marks = Pace(), {0, p.steps, *(round(p.steps * i / LOOKS) for i in range(LOOKS))}
    for step in range(p.steps + 1):
        if step in marks:
            seen.add(step, network, x, labels, data.test_x, data.test_y)
        if step == p.steps:
            break
        batch = torch.randint(count, (p.seeds, BATCH), generator=generator).repeat(SHARES, 1).to(device)
        optimizer.step(network.gradients(x[rows, batch], labels[rows, batch])[1])
        if pace.due((step + 1) / p.steps):
            status = Text(f"第 {step + 1}/{p.steps} 步，{network.count} 个网络", f"step {step + 1}/{p.steps}, {network.count} networks")
            yield Snapshot(0.99 * (step + 1) / p.steps, status, _label_charts(p, seen, shares, chance))
    levels = {
        f"{part}-{kind}": last[row].tolist()
        for part, last in (("train", seen.train[-1]), ("test", seen.test[-1]))
        for kind, row in (("true", 0), ("noisy", -1))
    }
    broken = not all(bool(parameter.isfinite().all()) for parameter in network.parameters())
    weights = sum(parameter[0].numel() for parameter in network.parameters())
    figures, outcome = result_labels(p, levels, chance, weights, count, broken)
    yield Snapshot(1, Text("完成", "Done"), _label_charts(p, seen, shares, chance), figures, outcome)


def judge_labels(p: Memorization, levels: Mapping[str, Sequence[float]], chance: float) -> tuple[Status, str]:
    """Reproduced: on the noisy labels the interval of training accuracy begins at 99 % or above, and mean test accuracy lies within 5 points of chance (if only a part of
    the labels is random: its interval lies below that with true labels). Same direction: training accuracy begins at 90 % or above. Otherwise not at this scale.
    """
    train, test, clean = (interval(levels[name]) for name in ("train-noisy", "test-noisy", "test-true"))
    forgets = abs(test[0] - chance) <= 5 if p.noise == 1 else test[2] < clean[1]
    status: Status = "not_at_this_scale" if train[1] < 90 else "reproduced" if train[1] >= 99 and forgets else "same_direction"
    if train[0] >= 90:
        return status, "memorised" if test[0] <= chance + 10 else "learnt"
    return status, "partial" if train[0] > chance + 10 else "nothing"


def result_labels(
    p: Memorization, levels: Mapping[str, Sequence[float]], chance: float, weights: int, count: int, broken: bool
) -> tuple[tuple[Figure, ...], Outcome]:
    status, answer = judge_labels(p, levels, chance)
    noisy = f"{100 * p.noise:.0f}"
    names = {
        "train-noisy": Text(f"训练准确率，{noisy}% 随机标签", f"Training accuracy, {noisy} % of labels random"),
        "test-noisy": Text(f"测试准确率，{noisy}% 随机标签", f"Test accuracy, {noisy} % of labels random"),
        "train-true": Text("训练准确率，真标签", "Training accuracy, true labels"),
        "test-true": Text("测试准确率，真标签", "Test accuracy, true labels"),
    }
    figures = {name: Figure(text, *mean_and_spread(levels[name]), "%") for name, text in names.items()}
    published = Text(
        "CIFAR-10，标签全部随机，512 个隐藏单元的 MLP：训练 99.34%，测试 10.61%（瞎猜是 10%）",
        "CIFAR-10 with all labels random, an MLP of 512 hidden units: 99.34 % in training, 10.61 % in testing (chance is 10 %)",
    )
    train, test, true_train, true_test = (figures[name].value for name in ("train-noisy", "test-noisy", "train-true", "test-true"))
    told = [_diverged(p)] if broken else _told_labels(p, train, test, true_train, true_test, chance, weights, count)
    return tuple(figures.values()), Outcome(Verdict(status, figures["train-noisy"], published, ZHANG, joined(told)), answer)


# fmt: off
def _told_labels(p: Memorization, train: float, test: float, true_train: float, true_test: float, chance: float, weights: int, count: int) -> list[Text]:
    found = Text(
        f"{count} 个训练样本里 {100 * p.noise:.0f}% 的标签是随机抽的，{p.steps} 步后训练准确率 {train:.3g}%，测试 {test:.3g}%（瞎猜是 {chance:.3g}%）；同样的网络用真标签是 {true_train:.3g}% 和 {true_test:.3g}%。",
        f"With {100 * p.noise:.0f} % of {count} labels random, accuracy after {p.steps} steps is {train:.3g} % in training and {test:.3g} % in testing (chance: {chance:.3g} %); with true labels "
        f"the same network gets {true_train:.3g} % and {true_test:.3g} %.",
    )
    if train >= 90:
        why = Text(
            f"{weights:,} 个参数足够把 {count} 个标签逐个背下来，所以训练准确率高，不能证明学到了规律；用真标签训练能泛化，是因为数据里有规律，而不是因为网络背不下随机标签。",
            f"Its {weights:,} parameters are enough to store {count} labels one by one, so a high training accuracy does not prove that a rule was learnt. Training on true labels "
            "generalises because there is a rule in the data, not because the network could not store anything else.",
        )
        return [found, why]
    if true_train > train + 10:
        why = Text(
            f"论文的网络够大、训练够久；这里 {weights:,} 个参数、{p.steps} 步背不下这么多互不相干的标签，与论文不同在意料之中。真标签有规律，需要的容量少得多，学得也快。记忆不是白来的：网络太窄或训练太短，就记不住。",
            f"The paper's network was large enough and trained for long enough. {weights:,} parameters and {p.steps} steps are not enough for so many unrelated labels, so a different result is to be expected; "
            "true labels follow a rule that takes less capacity and fewer steps. Memorising is not free: a network too narrow or trained too briefly cannot do it.",
        )
    else:
        why = Text("连真标签也没有学好：步数太少、学习率不合适，或者网络太窄。", "Not even the true labels were learnt well: too few steps, an unsuitable learning rate, or too narrow a network.")
    return [found, why]
# fmt: on


def _diverged(p: Memorization) -> Text:
    return Text(
        f"学习率 {p.lr:g} 太大，有网络发散了，它的结果没有意义。",
        f"At a learning rate of {p.lr:g} a network diverged, and its results mean nothing.",
    )


# ---- XOR -------------------------------------------------------------------------------------------------------------


@dataclass
class _Xor:
    """No hidden layer, and one stack for all numbers of hidden units: `starts` networks each. Solved means right at all four points, and by more than rounding."""

    widths: list[int]
    flat: StackedMLP
    deep: StackedMLP
    masks: list[Tensor]
    starts: int

    def state(self) -> tuple[Tensor, Tensor]:
        """Losses and whether all four points are right, each (1 + widths, starts), on the CPU."""
        x, y = torch.tensor(XOR_X, device=self.flat.device), torch.tensor(XOR_Y, device=self.flat.device)
        logits = torch.cat([self.flat.logits(x), self.deep.logits(x, self.masks)])
        losses, _ = cross_entropy(logits.transpose(1, 2), y)
        right = logits.softmax(2)[:, torch.arange(4), y].amin(1) > SURE
        return diverged_as_infinite(losses).cpu().view(-1, self.starts), right.cpu().view(-1, self.starts)


def _xor_charts(p: Memorization, xor: _Xor, step: int) -> tuple[Chart, ...]:
    losses, solved = xor.state()
    shares = [_percent(int(row.sum()), p.starts) for row in solved]
    row = xor.widths.index(2) if 2 in xor.widths else 0
    name = Text(f"{xor.widths[row]} 个单元", f"{xor.widths[row]} units" if xor.widths[row] > 1 else "1 unit")
    start = row * p.starts + int(solved[row + 1].int().argmax())
    ticks = (torch.arange(CELLS, device=xor.deep.device) + 0.5) / CELLS * 2 - 0.5
    places = torch.stack([ticks.repeat(CELLS), ticks.repeat_interleave(CELLS)], 1)
    hidden = places @ xor.deep.weights[0][start].T + xor.deep.biases[0][start]
    hidden = (hidden.relu() if p.activation == "relu" else hidden.tanh()) * xor.masks[0][start, :, 0]
    says = (hidden @ xor.deep.weights[1][start].T + xor.deep.biases[1][start]).softmax(1)[:, 1].cpu().view(CELLS, CELLS)
    corners: list[Points] = []
    looks: tuple[tuple[int, Role, list[tuple[float, float]]], ...] = (
        (0, "first", [XOR_X[0], XOR_X[3]]),  # in the colours of the grid
        (1, "second", [XOR_X[1], XOR_X[2]]),
    )
    for value, role, group in looks:
        corners.append(Points(Text(f"异或 = {value}", f"XOR = {value}"), [x for x, _ in group], [y for _, y in group], role))
    ranks = [100 * (i + 0.5) / p.starts for i in range(0, p.starts, max(1, p.starts // 50))]
    ordered = losses.sort(1).values[:, :: max(1, p.starts // 50)].tolist()
    lines = [Line(Text("无隐藏层", "no hidden"), "baseline", ranks, ordered[0]), Line(name, "first", ranks, ordered[row + 1])]
    if row + 1 < len(xor.widths):
        lines.append(Line(Text(f"{xor.widths[-1]} 个单元", f"{xor.widths[-1]} units"), "second", ranks, ordered[-1]))
    middle = [100 * (share[1] + share[2]) / 200 for share in shares]
    return (
        BarChart(
            Text("学会异或的起点比例", "Starts that have learnt XOR"), (Text("无隐藏层", "no hidden"), *[same(str(width)) for width in xor.widths]),
            Axis(Text("四个点全对的比例（%）", "All four points right (%)"), low=0, high=100),
            (Bars(Text("隐藏单元数", "hidden units"), "first", [share[0] for share in shares], [max(share[2] - middle[i], share[0] - share[1]) for i, share in enumerate(shares)]),),
            Text(
                f"第 {step} 步：无隐藏层 {shares[0][0]:.3g}% 学会，{name.zh} {shares[row + 1][0]:.3g}%，{xor.widths[-1]} 个单元 {shares[-1][0]:.3g}%。",
                f"Step {step}: {shares[0][0]:.3g} % of the starts are right without a hidden layer, {shares[row + 1][0]:.3g} % with {name.en}, {shares[-1][0]:.3g} % with {xor.widths[-1]}.",
            ),
        ),
        PlaneChart(
            Text(f"一个有 {xor.widths[row]} 个单元的网络", f"A network with {name.en}"), Axis(same("x₁"), low=-0.5, high=1.5), Axis(same("x₂"), low=-0.5, high=1.5),
            Text("它把平面分成的区域；四个点是异或的真值表，点与底色同色就是答对了。", "How it divides the plane; the four points are XOR's truth table, and one on its own colour is right."),
            Grid(same("P(XOR = 1)"), says, low=0, high=1, diverging=True), points=tuple(corners), equal=True,
        ),
        LineChart(
            Text("各起点的损失，从小到大", "Loss of every start, sorted"), Axis(Text("起点（按损失排序，%）", "Starts, by loss (%)"), low=0, high=100), Axis(Text("损失（nat）", "Loss (nats)"), low=0, high=1),
            tuple(lines), Text("平台是一些起点停住的地方：局部极小或死掉的单元。", "Plateaus are where starts get stuck: local minima, or dead units."),
        ),
    )  # fmt: skip


def _run_xor(p: Memorization, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    widths = [width for width in XOR_WIDTHS if width <= p.width]
    flat = StackedMLP((2, 2), range(p.starts), generator, device=device)
    xor = _Xor(widths, flat, *stack_of_widths(widths, p.starts, (2, 2), p.activation, generator, device), p.starts)
    optimizers = [Adam(network, [p.lr] * network.count) for network in (xor.flat, xor.deep)]
    x, y = torch.tensor(XOR_X, device=device), torch.tensor(XOR_Y, device=device)
    yield Snapshot(0, Text("就绪", "Ready"), _xor_charts(p, xor, 0))
    pace, total = Pace(), xor.flat.count + xor.deep.count
    for step in range(1, p.steps + 1):
        optimizers[0].step(xor.flat.gradients(x, y)[1])
        optimizers[1].step(xor.deep.gradients(x, y, xor.masks)[1])
        if pace.due(step / p.steps):
            yield Snapshot(
                0.99 * step / p.steps,
                Text(f"第 {step}/{p.steps} 步，{total} 个网络", f"step {step}/{p.steps}, {total} networks"),
                _xor_charts(p, xor, step),
            )
    solved = dict(zip([0, *widths], xor.state()[1].sum(1).tolist(), strict=True))
    figures, outcome = result_xor(p, solved)
    yield Snapshot(1, Text("完成", "Done"), _xor_charts(p, xor, p.steps), figures, outcome)


def _percent(successes: int, count: int) -> list[float]:
    return [100 * end for end in share_interval(successes, count)]


def judge_xor(p: Memorization, solved: Mapping[int, int]) -> tuple[Status, str]:
    """`solved`: of `starts`, how many found XOR, by the number of hidden units (0: no hidden layer).

    Reproduced: none without a hidden layer or with one unit, and with two the share's interval begins above 1 %. Same direction: none with fewer than two, and some with
    more. Otherwise not at this scale.
    """
    few = solved[0] + solved.get(1, 0)
    two = _percent(solved.get(2, 0), p.starts)
    status: Status = "not_at_this_scale"
    if few == 0 and any(solved.values()):
        status = "reproduced" if two[1] > 1 else "same_direction"
    return status, "none" if two[0] == 0 else "some" if two[0] < 90 else "nearly-all"


def result_xor(p: Memorization, solved: Mapping[int, int]) -> tuple[tuple[Figure, ...], Outcome]:
    status, answer = judge_xor(p, solved)
    shares = {width: _percent(found, p.starts) for width, found in solved.items()}
    names = {width: Text(f"{width} 个隐藏单元", f"{width} hidden units" if width > 1 else "1 hidden unit") for width in solved} | {
        0: Text("无隐藏层", "no hidden layer")
    }
    figures = {width: Figure(Text(f"学会异或：{names[width].zh}", f"XOR learnt: {names[width].en}"), share[0], (share[2] - share[1]) / 2, "%") for width, share in shares.items()}  # fmt: skip
    published = Text(
        "线性模型表示不了异或，最小均方误差的解处处输出 0.5；两个 ReLU 单元就能精确表示。梯度下降收敛到哪里取决于初值",
        "a linear model cannot represent XOR (least squares gives 0.5 everywhere), two ReLU units represent it exactly; where gradient descent converges depends on the start",
    )
    most = max(solved)
    told = [Text(
        f"没有隐藏层时 {p.starts} 个起点里 {solved[0]} 个学会：一条直线分不开四个点，最多对三个。",
        f"Without a hidden layer {solved[0]} of {p.starts} starts learn it: no line separates the four points, and three is the most it gets right.",
    )]  # fmt: skip
    if solved.get(2):
        told.append(Text(
            f"两个单元学会的占 {shares[2][0]:.3g}%（95% 区间 {shares[2][1]:.3g}–{shares[2][2]:.3g}%）"
            + (f"，{most} 个单元是 {shares[most][0]:.3g}%" if most > 2 else "") + "。能表示不等于学得到：其余起点停在了局部极小（ReLU 还会有死掉的单元），多给几个单元，就更可能有几个落在有用的位置。",
            f"With two units {shares[2][0]:.3g} % do (95 % interval {shares[2][1]:.3g} to {shares[2][2]:.3g} %)" + (f", with {most} units {shares[most][0]:.3g} %" if most > 2 else "")
            + ". Being able to represent a function is not finding it: the other starts are stuck in local minima (ReLU units can also die), and with units to spare some are more likely to begin in useful places.",
        ))  # fmt: skip
    else:
        told.append(Text(
            f"两个单元本来足够，但这里没有起点学会：只试到 {most} 个单元、{p.steps} 步，学习率 {p.lr:g}。",
            f"Two units would suffice, but no start with two has learnt it here: up to {most} units were tried, for {p.steps} steps at a learning rate of {p.lr:g}.",
        ))  # fmt: skip
    return tuple(figures.values()), Outcome(Verdict(status, figures.get(2, figures[most]), published, GOODFELLOW, joined(told)), answer)


# ---- a function ------------------------------------------------------------------------------------------------------


TARGETS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {  # the function, and its standard deviation on −1 … 1
    "wave": (lambda x: (2 * math.pi * x).sin(), 0.5**0.5),
    "square": (lambda x: x * x, (1 / 5 - 1 / 9) ** 0.5),
    "jump": (lambda x: x.sign(), 1.0),
}


def _errors(p: Memorization, network: StackedMLP, masks: list[Tensor]) -> Tensor:
    """Root mean square error (2, widths, S) inside and outside the training range, in percent of the function's standard deviation there."""
    target, deviation = TARGETS[p.target]
    inside = (torch.arange(400, device=network.device) + 0.5) / 200 - 1
    beyond = 1 + (EDGE - 1) * (torch.arange(200, device=network.device) + 0.5) / 200
    found = []
    for x in (inside, torch.cat([beyond, -beyond])):
        gap = network.logits(x[:, None], masks)[:, :, 0] - target(x)
        found.append(100 / deviation * gap.square().mean(1).sqrt())
    return diverged_as_infinite(torch.stack(found)).cpu().view(2, -1, p.seeds)


def _function_charts(p: Memorization, widths: Sequence[int], network: StackedMLP, masks: list[Tensor], step: int) -> tuple[Chart, ...]:
    target, _ = TARGETS[p.target]
    x = torch.linspace(-EDGE, EDGE, 60, device=network.device)
    drawn = network.logits(x[:, None], masks)[:: p.seeds, :, 0].cpu()  # the first seed of each width
    drawn = torch.where(drawn.abs() > 2.5, math.nan, drawn)  # has left the frame
    chosen = sorted({0, len(widths) // 2, len(widths) - 1})
    colours: tuple[Role, ...] = ("baseline", "third", "first")
    roles = colours[-len(chosen) :]
    given = torch.linspace(-1, 1, POINTS)[::3]
    names = [Text(f"{widths[i]} 个单元", f"{widths[i]} units" if widths[i] > 1 else "1 unit") for i in chosen]
    curves = [
        Line(same("f(x)"), "theory", x.tolist(), target(x).tolist()),
        Line(Text("训练点", "training"), "baseline", given.tolist(), target(given).tolist(), style="dots"),
    ]
    curves += [Line(name, role, x.tolist(), drawn[i].tolist()) for name, role, i in zip(names, roles, chosen, strict=True)]
    errors = _errors(p, network, masks)
    lines = []
    places: tuple[tuple[Text, Role], ...] = ((Text("区间内", "inside"), "first"), (Text("区间外", "outside"), "warning"))
    for rows, (name, role) in zip(errors, places, strict=True):
        lines.append(Line(name, role, widths, *mean_and_band(rows.T.tolist(), log=True), style="dots+line"))
    inner, outer = (_typical(errors[part, -1].tolist())[0] for part in (0, 1))
    return (
        LineChart(
            Text("训练区间内外的拟合", "The fit inside and outside the range"), Axis(same("x"), low=-EDGE, high=EDGE), Axis(same("f(x)"), low=-2.5, high=2.5), tuple(curves),
            Text(
                f"第 {step} 步：{names[-1].zh}的网络在区间内误差 {inner:.3g}%，区间外 {outer:.3g}%。",
                f"Step {step}: with {names[-1].en} the error is {inner:.3g} % inside the range, {outer:.3g} % outside.",
            ),
            rules=(Rule(Text("区间始", "range begins"), -1), Rule(Text("区间止", "range ends"), 1)),
        ),
        LineChart(
            Text("误差与宽度", "Error against width"), Axis(Text("隐藏单元数（对数）", "Hidden units (log)"), log=True, low=min(widths), high=max(*widths, min(widths) + 1)),
            Axis(Text("均方根误差（占标准差的 %，对数）", "RMS error (% of std, log)"), log=True, low=0.3, high=1000), tuple(lines),
            Text("各种宽度的误差，区间内与区间外。", "Errors by width, inside the range and outside."),
        ),
    )  # fmt: skip


def _run_function(p: Memorization, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    widths = [width for width in WIDTHS if width <= p.width] or [p.width]
    network, masks = stack_of_widths(widths, p.seeds, (1, 1), p.activation, generator, device)
    bends = 2 * torch.rand(network.biases[0].shape, generator=generator) - 1
    network.biases[0].sub_(network.weights[0][:, :, 0] * bends.to(device))  # each unit bends somewhere in the range, not all of them at 0
    x = torch.linspace(-1, 1, POINTS, device=device)[:, None]
    y, optimizer, pace = TARGETS[p.target][0](x.T), Adam(network, [p.lr] * network.count), Pace()
    yield Snapshot(0, Text("就绪", "Ready"), _function_charts(p, widths, network, masks, 0))
    for step in range(1, p.steps + 1):
        outputs, tape = network.forward(x, masks, training=True)
        optimizer.step(network.backward(tape, (outputs - y) * (2 / POINTS)), 1.0 if step < p.steps * 0.7 else 0.1)
        if pace.due(step / p.steps):
            status = Text(f"第 {step}/{p.steps} 步，{network.count} 个网络", f"step {step}/{p.steps}, {network.count} networks")
            yield Snapshot(0.99 * step / p.steps, status, _function_charts(p, widths, network, masks, step))
    inside, outside = _errors(p, network, masks).tolist()
    figures, outcome = result_function(p, widths, inside, outside)
    yield Snapshot(1, Text("完成", "Done"), _function_charts(p, widths, network, masks, p.steps), figures, outcome)


def slopes(widths: Sequence[int], errors: Sequence[Sequence[float]]) -> list[float]:
    """By seed, the slope of log error over log width; errors (widths, S)."""
    return [exponent(widths, [row[seed] for row in errors]) for seed in range(len(errors[0]))]


_PLACES = (Text("训练区间内", "inside the range"), Text("区间外", "outside"))


def _typical(errors: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of errors and its interval (one bad start in eight should not decide); infinite if one is."""
    return ratio_interval(errors) if all(0 < error < math.inf for error in errors) else (math.inf, math.inf, math.inf)


def judge_function(widths: Sequence[int], inside: Sequence[Sequence[float]], outside: Sequence[Sequence[float]]) -> tuple[Status, str]:
    """Errors (widths, S) in percent of the function's standard deviation.

    Reproduced: the slope of log error over log width is below 0 beyond doubt, and the interval of the widest net's error ends below 10 %. Same direction: the slope is. Otherwise, or if there is only one width or one diverged, not at this scale.
    """
    inner, outer = _typical(inside[-1]), _typical(outside[-1])[0]
    answer = "poor" if not inner[0] <= 10 else "inside" if outer > 5 * inner[0] else "both"
    if len(widths) < 2 or not all(0 < value < math.inf for row in inside for value in row) or not interval(slopes(widths, inside))[2] < 0:
        return "not_at_this_scale", answer
    return "reproduced" if inner[2] < 10 else "same_direction", answer


def result_function(
    p: Memorization, widths: Sequence[int], inside: Sequence[Sequence[float]], outside: Sequence[Sequence[float]]
) -> tuple[tuple[Figure, ...], Outcome]:
    status, answer = judge_function(widths, inside, outside)
    units = [Text(f"{width} 个单元", f"{width} units" if width > 1 else "1 unit") for width in (widths[-1], widths[0])]
    figures = []
    for unit, place, errors in ((units[0], _PLACES[0], inside[-1]), (units[0], _PLACES[1], outside[-1]), (units[1], _PLACES[0], inside[0])):
        mean, low, high = _typical(errors)
        spread = (high - low) / 2 if math.isfinite(mean) else None
        figures.append(Figure(Text(f"{unit.zh}，{place.zh}的误差", f"{unit.en}, error {place.en}"), mean, spread, "%"))
    if len(widths) > 1 and all(0 < value < math.inf for row in inside for value in row):
        figures.append(
            Figure(Text("log 误差对 log 宽度的斜率", "Slope of log error over log width"), *mean_and_spread(slopes(widths, inside)))
        )
    inner, outer, first = (figure.value for figure in figures[:3])
    published = Text(
        "一个隐藏层、激活函数不是多项式：宽度足够，紧集上任何连续函数都能逼近到任意精度（误差可趋于 0）",
        "one hidden layer with a non-polynomial activation: wide enough, it approximates any continuous function on a compact set to any accuracy (an error of 0 in the limit)",
    )
    told = [_diverged(p)] if not math.isfinite(inner + outer + first) else _told_function(p, widths, inner, outer, first)
    return tuple(figures), Outcome(Verdict(status, figures[0], published, LESHNO, joined(told)), answer)


# fmt: off
def _told_function(p: Memorization, widths: Sequence[int], inner: float, outer: float, first: float) -> list[Text]:
    told = [Text(
        f"单元数从 {widths[0]} 加到 {widths[-1]}，训练区间 [−1, 1] 内的误差从 {first:.3g}% 变为 {inner:.3g}%（以函数的标准差为单位）。",
        f"From {widths[0]} to {widths[-1]} units the error inside the training range [−1, 1] goes from {first:.3g} % to {inner:.3g} % of the function's standard deviation.",
    )]
    if inner > 10:
        told.append(Text(
            "定理只说存在足够好的权重，没有说训练找得到：这里宽度、步数或学习率还不够。",
            "The theorem says that good weights exist, not that training finds them: here the network is too narrow, or the steps or the learning rate do not suffice.",
        ))
    if p.target == "jump":
        told.append(Text(
            "阶跃不连续，不在定理之内：跳变处总有一段过渡，误差只能慢慢变小。",
            "A step is not continuous, so the theorem does not cover it: there is always a ramp at the jump, so the error shrinks slowly.",
        ))
    if outer > 5 * inner:
        far = Text("ReLU 在最后一个折点之外就是直线", "beyond its last bend a ReLU network is a straight line")
        if p.activation == "tanh":
            far = Text("tanh 在远处饱和成常数", "far out tanh saturates to a constant")
        told.append(Text(
            f"区间之外（到 ±{EDGE:g}）误差是 {outer:.3g}%：定理只管训练数据所在的紧集，{far.zh}，加宽也没有用。",
            f"Outside (up to ±{EDGE:g}) it is {outer:.3g} %: the theorem covers only the compact set where the data lie; {far.en}, and more width does not help.",
        ))
    else:
        told.append(Text(
            f"区间之外（到 ±{EDGE:g}）误差是 {outer:.3g}%，这一次差得不多，但没有什么能保证这一点。",
            f"Outside (up to ±{EDGE:g}) it is {outer:.3g} %: not much worse this time, but nothing guarantees that.",
        ))
    return told
# fmt: on


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Memorization) -> Prediction:
    if p.task == "xor":
        return Prediction(
            Text("用 Adam 从随机起点训练两个隐藏单元的网络，有多少起点能学会异或？", "Trained by Adam from random starts, how many networks of two hidden units will learn XOR?"),
            {"none": Text("一个也没有", "none"), "some": Text("一部分（不到 90%）", "some (under 90 %)"), "nearly-all": Text("几乎全部（90% 以上）", "nearly all (90 % or more)")},
        )  # fmt: skip
    if p.task == "function":
        name = FUNCTIONS[p.target]
        return Prediction(
            Text(
                f"在 [−1, 1] 上用 {POINTS} 个点拟合 {name.zh}，最宽的网络训练 {p.steps} 步之后？",
                f"Fitted to {name.en} at {POINTS} points of [−1, 1] for {p.steps} steps, how good is the widest network?",
            ),
            {
                "inside": Text("区间内误差 10% 以内，区间外大 5 倍以上", "within 10 % inside the range, over 5 times worse outside"),
                "both": Text("区间内 10% 以内，区间外也差不多", "within 10 % inside, and not much worse outside"),
                "poor": Text("区间内误差也超过 10%", "over 10 % off even inside"),
            },
        )  # fmt: skip
    return Prediction(
        Text(
            f"训练标签有 {100 * p.noise:.0f}% 是随机抽的，隐藏层 {p.width} 个单元，训练 {p.steps} 步。结果会怎样？",
            f"{100 * p.noise:.0f} % of the training labels are random; {p.width} hidden units, {p.steps} steps. What happens?",
        ),
        {
            "nothing": Text("学不到东西：训练准确率也接近瞎猜", "nothing to learn: even training accuracy stays near chance"),
            "partial": Text("训练准确率介于瞎猜与 90% 之间", "training accuracy ends between chance and 90 %"),
            "memorised": Text("训练 90% 以上，测试接近瞎猜", "over 90 % in training, near chance in testing"),
            "learnt": Text("训练 90% 以上，测试也明显好于瞎猜", "over 90 % in training, clearly better than chance in testing"),
        },
    )


def run(p: Memorization, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from {"labels": _run_labels, "xor": _run_xor, "function": _run_function}[p.task](p, device, generator)


_LABELS_CODE = """\
import torch
from torch import nn

torch.set_num_threads(1)  # networks as small as this gain nothing from more
torch.manual_seed(0)
NOISE, WIDTH, STEPS, SAMPLES, RATE = {noise:g}, {width}, {steps}, {samples}, {lr:g}
{data}
order = torch.randperm(len(y))
test = order[: len(y) // 4]
train = order[len(y) // 4 :][:SAMPLES]

for share in (0.0, NOISE):
    labels = y[train].clone()
    chosen = torch.rand(len(labels)) < share
    labels[chosen] = torch.randint(classes, (int(chosen.sum()),))
    net = nn.Sequential(nn.Linear(x.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes))
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    for step in range(STEPS):
        batch = torch.randint(len(train), ({batch},))
        loss = nn.functional.cross_entropy(net(x[train][batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        fitted = (net(x[train]).argmax(1) == labels).float().mean().item()
        right = (net(x[test]).argmax(1) == y[test]).float().mean().item()
    print(f"{{share:4.0%}} of the labels random: training accuracy {{fitted:6.1%}}, test {{right:6.1%}}, chance {{1 / classes:.1%}}")
"""
_XOR_CODE = """\
import torch
from torch import nn

torch.set_num_threads(1)  # networks as small as these gain nothing from more
torch.manual_seed(0)
WIDTH, STEPS, RATE, STARTS = {width}, {steps}, {lr:g}, 400
x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = torch.tensor([[0.0], [1.0], [1.0], [0.0]]).expand(STARTS, 4, 1)

for width in sorted({{0, 1, min(2, WIDTH), WIDTH}}):  # 0: no hidden layer; all starts are one batch of matrices
    sizes = (2, width, 1) if width else (2, 1)
    weights = [(torch.randn(STARTS, a, b) * (2 / a) ** 0.5).requires_grad_() for a, b in zip(sizes, sizes[1:])]
    biases = [torch.zeros(STARTS, 1, b, requires_grad=True) for b in sizes[1:]]
    optimizer = torch.optim.Adam([*weights, *biases], lr=RATE)
    for step in range(STEPS):
        h = x.expand(STARTS, 4, 2)
        for i, (weight, bias) in enumerate(zip(weights, biases)):
            h = h @ weight + bias
            h = torch.{activation}(h) if i + 1 < len(weights) else h
        loss = nn.functional.binary_cross_entropy_with_logits(h, y, reduction="sum") / 4  # each start has its own mean
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    solved = ((h > 0) == (y > 0.5)).all(1).float().mean().item()
    print(f"{{width}} hidden units: {{solved:6.1%}} of {{STARTS}} starts have learnt XOR")
"""
_FUNCTION_CODE = """\
import math

import torch
from torch import nn

torch.set_num_threads(1)  # networks as small as these gain nothing from more
torch.manual_seed(0)
WIDTH, STEPS, RATE = {width}, {steps}, {lr:g}

def target(x):
    return {formula}

x = torch.linspace(-1, 1, {points})[:, None]
inside = torch.linspace(-1, 1, 400)[:, None]
outside = torch.linspace(1, {edge:g}, 200)[:, None]
for width in [w for w in (2, 8, 32, 128) if w < WIDTH] + [WIDTH]:
    net = nn.Sequential(nn.Linear(1, width), nn.{layer}(), nn.Linear(width, 1))
    with torch.no_grad():
        nn.init.normal_(net[0].weight, std=2**0.5)
        net[0].bias.copy_(-net[0].weight[:, 0] * (2 * torch.rand(width) - 1))  # each unit bends somewhere in the range
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    for step in range(STEPS):
        if step == round(0.7 * STEPS):
            optimizer.param_groups[0]["lr"] = RATE / 10
        loss = (net(x) - target(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        errors = [((net(at) - target(at)).square().mean().sqrt() / target(inside).std()).item() for at in (inside, outside)]
    print(f"{{width:4}} units: error {{errors[0]:6.1%}} inside the training range, {{errors[1]:6.1%}} outside")
"""


def code(p: Memorization) -> str:
    if p.task == "labels":
        return _LABELS_CODE.format(**{**p.values(), "data": digits_or_own(p.data), "batch": BATCH})
    if p.task == "xor":
        return _XOR_CODE.format(**p.values())
    formula = {"wave": "(2 * math.pi * x).sin()", "square": "x * x", "jump": "x.sign()"}[p.target]
    layer = {"relu": "ReLU", "tanh": "Tanh"}[p.activation]
    return _FUNCTION_CODE.format(**p.values(), formula=formula, layer=layer, points=POINTS, edge=EDGE)


DEMO = Demo(
    topic="architectures",
    title=Text("网络能解决什么：记忆、异或、逼近", "What networks solve: memory, XOR, functions"),
    question=Text("神经网络能拟合什么，拟合得好说明什么？", "What can a network fit, and what does a good fit prove?"),
    look_for=Text(
        "把训练和测试分开看：真标签和随机标签的两条训练曲线各升到多高，两条测试曲线离“瞎猜”的虚线多远。再看随机标签的比例增加时，训练与测试准确率的差距怎样变。",
        "Watch training and test accuracy separately: how high does training get with true and with random labels, and how far from the dashed line of chance is each test curve? "
        "Then see how the gap between training and test changes as more labels are random.",
    ),
    scaled_down=Text(
        "论文用 5 万张 CIFAR-10 图和 120 万个权重，这里用 200 张 8×8 的数字和几千个权重；权重数与样本数之比是同一量级。",
        "The paper has 50,000 CIFAR-10 images and 1.2 million weights; here 200 digits of 8×8 pixels meet a few thousand weights, about the same number of weights for each sample.",
    ),
    parameters=Memorization,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=2,
)
