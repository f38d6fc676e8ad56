"""Initialisation (1.22, 1.29): why equal weights never part, where zeros are harmless, and which scale lets a deep stack train.

`weights` holds every scheme; `build` stacks networks scheme by scheme (each with the same random draws), `train` feeds all of them the same batches.
The three modes differ in what they look at: the cosines between the hidden units' incoming weights, the gradient that reaches the hidden layer, and
the scale of the activations from layer to layer, for which `expected_scale` is the theory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from demos.core.charts import Axis, Chart, Image, ImageGrid, Line, LineChart, Role
from demos.core.datasets import Dataset, load_digits_or_own
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import ACTIVATIONS, SGD, Adam, StackedMLP, diverged_as_infinite, error_rate
from demos.core.statistics import interval, mean_and_band, mean_and_spread
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

BATCH, FEW, PROBE = 32, 64, 300  # samples in a step; training samples that show the signals at the start, and that measure the error
TIE = 1e-6  # cosines closer to 1 than this are equal but for rounding
STUCK = 0.05  # a run that takes away less than this share of the labels' entropy has not learnt anything
ALIKE = 2.0  # percentage points of test error; a smaller difference counts as none
DRAWS = 32  # of the weights, to measure the factor by which a layer changes the signal


@dataclass(frozen=True)
class Initialization(Parameters):
    task: str = mode_choice(
        "constant",
        {"constant": Text("相同的权重", "equal weights"), "zero": Text("无害的零", "harmless zeros"), "depth": Text("深层的尺度", "scale and depth")},
        label=Text("实验", "Experiment"), help=Text("看对称性，还是看深层里的尺度。", "Symmetry, or the scale in a deep stack."),
    )  # fmt: skip
    depth: int = integer(
        30, 2, 60, label=Text("层数", "Layers"), modes=("depth",),
        help=Text("有权重的层，含输出层。", "Layers with weights, the output layer included."),
    )  # fmt: skip
    constant: float = real(
        0.1, 0.001, 2, log=True, label=Text("常数 c", "Constant c"), modes=("constant",),
        help=Text("所有权重的起点。", "Where all weights start."),
    )  # fmt: skip
    noise: float = real(
        0.01, 0, 1, step=0.001, label=Text("噪声 ε（相对 c）", "Noise ε (relative to c)"), modes=("constant",),
        help=Text("c·(1+ε·正态)：加多少随机才够？", "c·(1 + ε·normal): how much randomness is enough?"),
    )  # fmt: skip
    activation: str = choice(
        "tanh", {"tanh": same("tanh"), "relu": same("ReLU"), "sigmoid": same("sigmoid")}, label=Text("激活函数", "Activation"),
        help=Text("所有隐藏层都用它。", "Of all hidden layers."),
    )  # fmt: skip
    optimizer: str = choice(
        "sgd", {"sgd": Text("SGD + 动量 0.9", "SGD, momentum 0.9"), "adam": same("Adam")}, label=Text("优化器", "Optimiser"),
        help=Text("换优化器能救回来吗？", "Does another optimiser save the run?"),
    )  # fmt: skip
    rate: float = real(
        0.1, 1e-4, 10, log=True, label=Text("学习率", "Learning rate"), help=Text("各种初始化共用。", "The same for every start.")
    )
    steps: int = integer(300, 50, 500, step=50, label=Text("步数", "Steps"), help=Text("每步 32 个样本。", "With 32 samples each."))
    width: int = integer(16, 2, 48, advanced=True, label=Text("每层单元数", "Units a layer"), help=Text("隐藏层的宽度。", "Hidden width."))
    runs: int = integer(
        8, 5, 8, advanced=True, label=Text("重复次数", "Repetitions"),
        help=Text("不同的批次和随机权重。", "Different batches and random weights."),
    )  # fmt: skip
    data: str = own_data("classes")


KINDS = {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid"}  # torch's names
_DEEP = {"task": "depth", "activation": "relu", "rate": 0.01, "width": 32, "runs": 5}
_BY_LAYER = Text(
    "看各层激活的大小：Xavier 和 He 的曲线随层数走平、上升还是下降，离虚线（起点的理论值）多远？再看起点处的梯度和训练损失：哪几条损失降得下去，与梯度的大小对得上吗？",
    "See in the size of the activations whether the curves of Xavier and He stay level, rise or fall from layer to layer, and how near they are to the dashed theory of the start. Then see which losses go down, and whether the gradients at the start would tell.",
)

PRESETS = {
    "constant": Preset(
        Text("全部相同", "All the same"), Text("所有权重都从同一个数出发，训练能把它们分开吗？", "All weights start at one number: does training part them?"),
        {"task": "constant"}, "textbook",
    ),
    "zero-is-fine": Preset(
        Text("零也没关系", "Harmless zeros"),
        Text("逻辑回归从零开始，或者只把输出层置零：会出事吗？", "Logistic regression from zero, or only the output layer at zero: does it do harm?"),
        {"task": "zero"}, "limits",
        look_for=Text(
            "看训练损失：从零开始的三种（全零、末层为零、逻辑回归：零），哪几条降得下去，离各自的随机起点多远？再看余弦矩阵：各隐藏单元的方向是否彼此不同？",
            "See in the training loss which of the three that start from zero (all of it, the last layer, logistic regression) go down, and how far they stay from their random starts. Then see in the cosine matrices whether the hidden units differ in direction.",
        ),
    ),
    "depth": Preset(
        Text("30 层 ReLU", "30 ReLU layers"), Text("Xavier 和 He 只差 √2 倍，层数多了会怎样？", "Xavier and He differ by √2. What does depth make of it?"),
        _DEEP, "textbook", look_for=_BY_LAYER,
    ),
    "tanh": Preset(
        Text("30 层 tanh", "30 tanh layers"), Text("换成 tanh，He 还是更好吗？", "With tanh, is He still the better choice?"),
        {**_DEEP, "activation": "tanh"}, look_for=_BY_LAYER,
    ),
    "adam": Preset(
        Text("换成 Adam", "Adam"), Text("同样是 30 层 ReLU，尺度不对还会停滞吗？", "The same 30 ReLU layers: does a wrong scale still stall?"),
        {**_DEEP, "optimizer": "adam", "rate": 0.002, "steps": 200}, "limits",
        look_for=Text(
            "先看起点处的梯度：Xavier 和 He 相差多少？再看训练损失：梯度小的那几种，换了 Adam 降不降得下去，落后多少？",
            "See first how far the gradients of Xavier and He are apart at the start. Then see in the training loss whether the starts with small gradients go down with Adam, and how far they lag behind.",
        ),
    ),
}  # fmt: skip

CS231N = Source("CS231n notes: Neural Networks, part 2", "Andrej Karpathy and others", 2016, "https://cs231n.github.io/neural-networks-2/")
FIXUP = Source(
    "Fixup Initialization: Residual Learning Without Normalization", "Hongyi Zhang, Yann N. Dauphin, Tengyu Ma", 2019, "https://arxiv.org/abs/1901.09321",
)  # fmt: skip
HE = Source(
    "Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet Classification",
    "Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun", 2015, "https://arxiv.org/abs/1502.01852",
)  # fmt: skip
GLOROT = Source(
    "Understanding the difficulty of training deep feedforward neural networks", "Xavier Glorot, Yoshua Bengio", 2010,
    "https://proceedings.mlr.press/v9/glorot10a.html",
)  # fmt: skip
KINGMA = Source("Adam: A Method for Stochastic Optimization", "Diederik P. Kingma, Jimmy Ba", 2015, "https://arxiv.org/abs/1412.6980")

NAMES = {
    "zero": Text("全零", "zero"), "constant": Text("常数", "constant"), "noise": Text("常数+噪声", "with noise"), "random": Text("随机", "random"),
    "last": Text("末层为零", "last zero"), "small": Text("小正态", "small"), "xavier": same("Xavier"), "he": same("He"),
}  # fmt: skip
ROLES: dict[str, Role] = {
    "zero": "warning", "constant": "second", "noise": "third", "random": "first", "last": "third", "small": "baseline", "xavier": "second", "he": "first",
}  # fmt: skip


# ---- the starts, and training from them ------------------------------------------------------------------------------


def weights(scheme: str, normal: Tensor, last: bool, p: Initialization) -> Tensor:
    """The initial weights (runs, out, in) of one layer from standard normal numbers of that shape; `last` marks the output layer."""
    fan_out, fan_in = normal.shape[1:]
    if scheme == "zero" or (scheme == "last" and last):
        return torch.zeros_like(normal)
    if scheme in ("constant", "noise"):
        spread = p.constant * p.noise if scheme == "noise" else 0.0
        return torch.add(torch.full_like(normal, p.constant), normal, alpha=spread)
    if scheme in ("random", "last"):
        scheme = "he" if p.activation == "relu" else "xavier"
    scale = {"small": 0.01, "xavier": (2 / (fan_in + fan_out)) ** 0.5, "he": (2 / fan_in) ** 0.5}[scheme]
    return torch.mul(normal, scale)


def build(schemes: Sequence[str], sizes: Sequence[int], p: Initialization, generator: torch.Generator, device: torch.device) -> StackedMLP:
    """Networks scheme by scheme, each with all runs (K = schemes × runs); run r has the same normal numbers in every scheme. Biases are 0."""
    network = StackedMLP(sizes, list(range(p.runs)) * len(schemes), generator, activation=p.activation, gain=1.0, device=device)
    for i, scheme in enumerate(schemes):
        rows = slice(i * p.runs, (i + 1) * p.runs)
        for layer, weight in enumerate(network.weights):
            weight[rows] = weights(scheme, weight[rows] * weight.shape[2] ** 0.5, layer == network.hidden, p)
    return network


Result = tuple["Tensor", "list[Tensor]"]  # losses (K,), gradients (as StackedMLP.parameters)


def train(p: Initialization, networks: Sequence[StackedMLP], data: Dataset, generator: torch.Generator) -> Iterator[list[Result]]:
    """Trains all networks; after each step the losses and gradients of each stack. Run r gets the same batches in every scheme."""
    optimizers = [SGD(network, [p.rate], 0.9) if p.optimizer == "sgd" else Adam(network, [p.rate]) for network in networks]
    for _ in range(p.steps):
        picked = torch.randint(len(data.train_y), (p.runs, BATCH), generator=generator).to(data.train_x.device)
        results = []
        for network, optimizer in zip(networks, optimizers, strict=True):
            rows = picked.repeat(network.count // p.runs, 1)
            results.append(network.gradients(data.train_x[rows], data.train_y[rows]))
            optimizer.step(results[-1][1])
        yield results


def entropy(data: Dataset) -> float:
    """Of the training labels, in nats: the loss of a network that knows only how frequent each class is."""
    shares = torch.bincount(data.train_y.cpu(), minlength=data.classes).double() / len(data.train_y)
    return float(-(shares * shares.clamp_min(1e-12).log()).sum())


def loss_chart(p: Initialization, names: Sequence[tuple[Text, Role]], losses: Sequence[Tensor], level: float) -> LineChart:
    """Training loss, mean and band over runs, in blocks of steps; losses: after each step (settings, runs)."""
    block = max(1, p.steps // 50)
    count = len(losses) // block
    lines = []
    if count:
        blocks = diverged_as_infinite(torch.stack(list(losses[: count * block])).double()).view(count, block, len(names), p.runs).mean(1)
        steps = [block * (i + 1) for i in range(count)]
        for i, (name, role) in enumerate(names):
            mean, low, high = mean_and_band(blocks[:, i].T.tolist())
            lines.append(Line(name, role, steps, mean, [max(0.0, value) for value in low], high))
        told = [Text(f"{line.name.zh} {list(line.y)[-1]:.2g}", f"{line.name.en} {list(line.y)[-1]:.2g}") for line in lines]
    else:
        told = [Text("尚未开始", "not started")]
    return LineChart(
        Text("训练损失", "Training loss"),
        Axis(Text("步数", "step"), low=0, high=p.steps),
        Axis(Text("交叉熵（nat）", "cross-entropy (nats)"), low=0, high=math.ceil(2.6 * level) / 2),
        tuple(lines),
        Text(
            f"第 {len(losses)} 步的损失：{'，'.join(t.zh for t in told)}。", f"Loss at step {len(losses)}: {', '.join(t.en for t in told)}."
        ),
    )


def percent_wrong(network: StackedMLP, x: Tensor, y: Tensor, runs: int) -> Tensor:
    """Error in percent (schemes, runs), on the CPU."""
    return 100 * error_rate(network.logits(x), y).double().cpu().view(-1, runs)


# ---- equal weights, and harmless zeros -------------------------------------------------------------------------------

STARTS = {"constant": ("zero", "constant", "noise", "random"), "zero": ("zero", "last", "random")}
LOGISTIC: list[tuple[Text, Role]] = [
    (Text("逻辑回归：零", "logistic: zero"), "fourth"),
    (Text("逻辑回归：随机", "logistic: random"), "baseline"),
]


def cosines(weight: Tensor, runs: int) -> Tensor:
    """Cosines (schemes, runs, units, units) between the incoming weights (schemes · runs, units, in) of units; NaN where they are all 0."""
    w = weight.cpu().double()
    w = w / w.norm(dim=2, keepdim=True)
    product: Tensor = (w @ w.transpose(1, 2)).unflatten(0, (-1, runs))
    return product


def pairs(matrices: Tensor) -> Tensor:
    """The cosines (…, units · (units − 1)) between different units."""
    different = ~torch.eye(matrices.shape[-1], dtype=torch.bool)
    off: Tensor = matrices.flatten(-2)[..., different.flatten()]
    return off


def similarity_charts(p: Initialization, steps: Sequence[int], history: Sequence[Tensor]) -> tuple[ImageGrid, LineChart]:
    """The matrices of run 0 now, and the mean over pairs at each of `steps` so far; history: what `cosines` gave at these steps."""
    means = pairs(torch.stack(list(history))).mean(3)  # (points, schemes, runs)
    images, lines = [], []
    for i, scheme in enumerate(STARTS[p.task]):
        name, value = NAMES[scheme], float(means[-1, i, 0])
        told = Text("无方向", "none") if math.isnan(value) else same(f"{value:.3f}")
        images.append(Image(Text(f"{name.zh}：{told.zh}", f"{name.en}: {told.en}"), history[-1][i, 0]))
        known = [j for j in range(len(steps)) if not means[j, i].isnan().any()]
        if known:
            lines.append(Line(name, ROLES[scheme], [steps[j] for j in known], *mean_and_band(means[known, i].T.tolist())))
    grid = ImageGrid(
        Text(f"第 {steps[-1]} 步：隐藏单元两两的余弦", f"Step {steps[-1]}: cosine between hidden units"), tuple(images),
        Text(f"平均余弦：{'；'.join(image.name.zh for image in images)}。", f"Mean cosine: {'; '.join(image.name.en for image in images)}."),
        low=-1, high=1, diverging=True, columns=4,
    )  # fmt: skip
    curves = LineChart(
        Text("平均余弦", "Mean cosine"), Axis(Text("步数", "step"), low=0, high=p.steps),
        Axis(Text("单元之间的余弦", "cosine between units"), low=-0.2, high=1.1), tuple(lines),
        Text("单元之间的平均余弦随训练的变化；1 表示完全相同。", "Mean cosine between units during training; 1 means that they are equal."),
    )  # fmt: skip
    return grid, curves


def _run_equal(p: Initialization, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    data, schemes = load_digits_or_own(p.data, device, generator=generator), STARTS[p.task]
    networks = [build(schemes, (data.features, p.width, data.classes), p, generator, device)]
    names: list[tuple[Text, Role]] = [(NAMES[scheme], ROLES[scheme]) for scheme in schemes]
    if p.task == "zero":
        networks.append(build(("zero", "random"), (data.features, data.classes), p, generator, device))
        names += LOGISTIC
    losses: list[Tensor] = []
    steps, history = [0], [cosines(networks[0].weights[0], p.runs)]
    largest = torch.zeros(p.runs, device=device)  # gradient of any weight, from the zero start

    def charts() -> tuple[Chart, ...]:
        grid, curves = similarity_charts(p, steps, history)
        loss = loss_chart(p, names, losses, entropy(data))
        return (grid, curves, loss) if p.task == "constant" else (loss, grid)

    pace = Pace()
    yield Snapshot(0, Text("就绪", "Ready"), charts())
    for step, results in enumerate(train(p, networks, data, generator), 1):
        losses.append(torch.cat([loss.cpu() for loss, _ in results]).view(len(names), p.runs))
        gradients = results[0][1]
        for gradient in gradients[:2]:
            largest = torch.maximum(largest, gradient[: p.runs].abs().amax((1, 2)))
        if step % max(1, p.steps // 50) == 0 or step == p.steps:
            history.append(cosines(networks[0].weights[0], p.runs))
            steps.append(step)
        if pace.due(step / p.steps):
            yield Snapshot(0.99 * step / p.steps, Text(f"第 {step}/{p.steps} 步", f"Step {step}/{p.steps}"), charts())
    errors = torch.cat([percent_wrong(network, data.test_x, data.test_y, p.runs) for network in networks])
    if p.task == "zero":
        judged = judge_zero(errors)
    else:
        bias = gradients[-1][: p.runs].abs().amax(1).cpu()
        judged = judge_constant(p, pairs(torch.stack(history[1:])).amin((0, 3)), largest.cpu(), bias, errors)
    yield Snapshot(1, Text("完成", "Done"), charts(), *judged)


def judge_constant(p: Initialization, least: Tensor, largest: Tensor, bias: Tensor, errors: Tensor) -> tuple[tuple[Figure, ...], Outcome]:
    """least: smallest cosine during training (schemes, runs); largest, bias: gradients of any weight and of the output bias from zero (runs,);
    errors: test error in percent (schemes, runs).

    Reproduced: from the constant no cosine ever leaves 1 by more than rounding, and from zero no weight has a gradient (with sigmoid: the units stay
    equal). Same direction: cosines stay above 0.999, so that rounding alone parts the units. Otherwise not at this scale.
    """
    lowest = float(least[1].min())
    stuck = bool((least[0] >= 1 - TIE).all()) if p.activation == "sigmoid" else float(largest.max()) == 0
    status: Status = "not_at_this_scale"
    if lowest > 0.999:
        status = "reproduced" if lowest >= 1 - TIE and stuck else "same_direction"
    means = [float(row.mean()) for row in errors]
    _, constant, noise, drawn = means
    share = (noise - drawn) / (constant - drawn) if constant - drawn > ALIKE else math.nan
    answer = "alike" if math.isnan(share) else "good" if share < 0.1 else "bad" if share > 0.9 else "between"
    figures = (
        Figure(Text("常数起点：余弦的最小值", "Constant start: least cosine"), math.inf if math.isnan(lowest) else lowest),
        Figure(Text("全零起点：权重梯度的最大值", "Zero start: largest gradient of a weight"), float(diverged_as_infinite(largest).max())),
        Figure(Text("全零起点：输出偏置的梯度", "Zero start: gradient of the output bias"), float(diverged_as_infinite(bias).mean())),
        *[
            Figure(Text(f"测试错误率：{NAMES[scheme].zh}", f"Test error: {NAMES[scheme].en}"), *mean_and_spread(row.tolist()), "%")
            for scheme, row in zip(STARTS["constant"], errors, strict=True)
        ],
    )
    published = Text(
        "起点相同的神经元输出相同、梯度相同、更新完全相同（余弦恒为 1）",
        "neurons that start equal compute the same output and gradient and undergo the exact same updates (cosine 1)",
    )
    explanation = _explain_constant(p, lowest, float(largest.max()), means)
    return figures, Outcome(Verdict(status, figures[0], published, CS231N, explanation), answer)


def _explain_constant(p: Initialization, lowest: float, largest: float, errors: Sequence[float]) -> Text:
    zero, constant, noise, drawn = errors
    if math.isnan(lowest):
        return Text(
            f"常数起点的训练发散了（学习率 {p.rate:g}），余弦无从谈起；请换小一点的学习率或常数。",
            f"Training from the constant diverged (rate {p.rate:g}), so there is no cosine left to compare; take a smaller rate or constant.",
        )
    kept = Text(
        f"{p.steps} 步里，{p.width} 个单元的余弦始终为 1：交换两个单元，损失不变，所以它们的梯度相同；批次噪声和优化器也分不开它们，因为它们看到的完全一样。"
        f"整层只抵得上一个神经元：测试错误率 {constant:.3g}%，随机起点是 {drawn:.3g}%。",
        f"For {p.steps} steps the cosines between the {p.width} units stay at 1: swapping two of them leaves the loss as it is, so their gradients are equal, and "
        f"neither batch noise nor the optimiser parts them. The layer is worth one neuron: test error {constant:.3g} %, random start {drawn:.3g} %. ",
    )
    if lowest < 1 - TIE:
        kept = Text(
            f"余弦最低到 {lowest:.6f}：理论上永远是 1，是浮点舍入在这台设备上打破了平局。",
            f"The cosine fell to {lowest:.6f}: in theory it stays at 1; rounding on this device broke the tie. ",
        )
    zeros = Text(
        f"全零起点：隐藏层输出是 0，输出层的权重就没有梯度；输出层的权重是 0，隐藏层也就没有梯度。权重的梯度最大为 {largest:g}，只有输出偏置在学各类别的频率。",
        f"From zero the hidden layer puts out 0, so the output weights get no gradient; as they are 0, neither does the hidden layer. The largest gradient of a "
        f"weight was {largest:g}: only the output bias learns, namely the class frequencies. ",
    )
    if p.activation == "sigmoid":
        zeros = Text(
            f"全零起点的 sigmoid 输出 ½ 而不是 0，所以输出层能动，隐藏层随后也动，但各单元始终相同（错误率 {zero:.3g}%）。",
            f"From zero a sigmoid puts out ½ rather than 0, so the output layer moves, then the hidden one, but the units stay equal (error {zero:.3g} %). ",
        )
    broken = Text(
        f"给常数加上 {100 * p.noise:.2g}% 的噪声，错误率就是 {noise:.3g}%：关键是各单元彼此不同。",
        f"With {100 * p.noise:.2g} % of noise on the constant the error is {noise:.3g} %: what counts is that the units differ.",
    )
    if p.noise == 0:
        broken = Text("这里噪声是 0，“常数+噪声”就是常数。", "The noise is 0 here, so that start is the constant one.")
    return kept + zeros + broken


def judge_zero(errors: Tensor) -> tuple[tuple[Figure, ...], Outcome]:
    """errors: test error in percent (all zero, last zero, random, logistic zero, logistic random; runs).

    Reproduced: with the last layer at zero, and in logistic regression from zero, the paired difference to the random start lies within ±2 percentage
    points. Same direction: both are nearer to the random start than to the network of zeros. Otherwise not at this scale.
    """
    differences = {"last": errors[1] - errors[2], "logistic": errors[3] - errors[4], "zero": errors[0] - errors[2]}
    bands = {name: interval(row.tolist()) for name, row in differences.items()}
    last, logistic, zero = bands.values()
    status: Status = "not_at_this_scale"
    if max(last[2], logistic[2]) < zero[0] / 2:
        status = "same_direction"
    if min(last[1], logistic[1]) >= -ALIKE and max(last[2], logistic[2]) <= ALIKE:
        status = "reproduced"
    worse = [name for name in ("logistic", "last", "zero") if bands[name][0] > ALIKE]
    told = {
        "last": Text("末层为零", "last layer zero"),
        "logistic": Text("逻辑回归从零", "logistic from zero"),
        "zero": Text("全零", "all zero"),
    }
    figures = tuple(
        Figure(Text(f"测试错误率之差：{told[n].zh} − 随机", f"Test error: {told[n].en} − random"), *mean_and_spread(row.tolist()), Text("个百分点", "points"))
        for n, row in differences.items()
    )  # fmt: skip
    published = Text(
        "分类层从 0 开始照样能训练（即差别约为 0）", "a network trains with its classification layer at 0 (a difference of about 0)"
    )
    stuck = Text("两层互相挡住了对方的梯度", "each layer blocks the other's gradient")
    if "zero" not in worse:
        stuck = Text("这里这样也够用", "here even that is enough")
    explanation = Text(
        f"与随机起点相比，末层为零的测试错误率相差 {last[0]:+.2g} 个百分点，逻辑回归从零开始相差 {logistic[0]:+.2g} 个。末层为零时隐藏单元本来就各不相同：第 1 步输出层先动，"
        f"第 2 步起隐藏层就有梯度。逻辑回归没有隐藏单元，没有对称性可破，损失又是凸的。整个网络全部置零，则相差 {zero[0]:+.2g} 个：{stuck.zh}。论文还把残差分支的最后一层置零，这里只有分类层。",
        f"Compared with a random start, a zero last layer changes the test error by {last[0]:+.2g} points, a zero start of logistic regression by {logistic[0]:+.2g}. With a zero last "
        "layer the hidden units differ all the same: the output layer moves in step 1, and from step 2 the hidden layer has a gradient. Logistic regression has no "
        f"hidden units, so no symmetry to break, and a convex loss. With all weights at zero the difference is {zero[0]:+.2g} points: {stuck.en}. The paper also zeroes the last layer of each "
        "residual branch; here it is the classification layer only.",
    )
    return figures, Outcome(Verdict(status, figures[0], published, FIXUP, explanation), worse[0] if worse else "none")


# ---- scale and depth -------------------------------------------------------------------------------------------------

DEEP = ("zero", "small", "xavier", "he")


def expected_scale(p: Initialization, scheme: str, sizes: Sequence[int], square: float) -> list[float]:
    """Root mean square of each hidden layer's output at the start, in infinitely wide layers, from the inputs' mean square.

    Given the layer before, a pre-activation is normal with variance fan_in · Var(w) · E[h²], and E[φ(z)²] follows (½ Var(z) for ReLU: He et al. 2015, Eq. 9).
    """
    function, grid = ACTIVATIONS[p.activation][0], (torch.arange(800, dtype=torch.float64) - 399.5) / 50
    mass = (-grid.square() / 2).exp()
    scales = []
    for fan_in, fan_out in pairwise(sizes[:-1]):
        deviation = (fan_in * square * {"zero": 0.0, "small": 1e-4, "xavier": 2 / (fan_in + fan_out), "he": 2 / fan_in}[scheme]) ** 0.5
        square = float((mass * function(deviation * grid).square()).sum() / mass.sum())
        scales.append(square**0.5)
    return scales


def layer_factor(p: Initialization, generator: torch.Generator, device: torch.device) -> list[float]:
    """The factor from one layer's Var(z) to the next one's, divided by ½ · n · Var(w): for each of DRAWS draws the mean over ReLU layers, in theory 1."""
    network = StackedMLP((p.width,) * (p.depth + 1), range(DRAWS), generator, gain=2**0.5, device=device)
    _, tape = network.forward(torch.randn(16, p.width, generator=generator).to(device), training=False)
    squares = [torch.bmm(w, h).square().mean((1, 2)) for w, h in zip(network.weights, tape.inputs, strict=True)]  # of z
    ratios = torch.stack([after / before.clamp_min(1e-30) for before, after in pairwise(squares)])
    return [float(value) for value in ratios.mean(0).cpu()]


def scales(network: StackedMLP, x: Tensor, runs: int) -> Tensor:
    """Root mean square (layers, schemes, runs) of what each hidden layer puts out."""
    outputs = network.forward(x, training=False)[1].outputs
    return torch.stack([h.square().mean((1, 2)).sqrt() for h in outputs]).double().cpu().view(len(outputs), -1, runs)


def brief(values: Tensor) -> str:
    """The geometric mean over runs, as the charts draw it, for a text."""
    return f"{diverged_as_infinite(values).clamp_min(1e-16).log().mean().exp():.2g}".replace("inf", "∞")


def _layer_lines(values: Tensor, floor: float) -> list[Line]:
    """A line over layers for each of DEEP but the zero start; values (layers, schemes, runs). It ends where it falls below `floor`."""
    lines = []
    for i, scheme in enumerate(DEEP[1:], 1):
        mean, low, high = mean_and_band(diverged_as_infinite(values[:, i]).clamp_min(floor / 1e9).T.tolist(), log=True)
        kept = range(next((j for j, value in enumerate(mean) if value <= floor), len(mean)))
        mean, low, high = ([max(floor, row[j]) for j in kept] for row in (mean, low, high))
        lines += [Line(NAMES[scheme], ROLES[scheme], [j + 1 for j in kept], mean, low, high)] if kept else []
    return lines


def _run_depth(p: Initialization, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    data = load_digits_or_own(p.data, device, generator=generator)
    sizes = (data.features, *[p.width] * (p.depth - 1), data.classes)
    network = build(DEEP, sizes, p, generator, device)
    x, y, level, layers = data.train_x[:PROBE], data.train_y[:PROBE], entropy(data), range(1, p.depth)
    start, slopes = scales(network, x[:FEW], p.runs), network.gradients(x[:FEW], y[:FEW])[1][: p.depth]
    slope = torch.stack([g.flatten(1).square().mean(1).sqrt() for g in slopes]).double().cpu().view(p.depth, len(DEEP), p.runs)
    theory = [(s, expected_scale(p, s, sizes, float(data.train_x.square().mean()))) for s in ("xavier", "he")]
    losses: list[Tensor] = []

    def charts() -> tuple[Chart, ...]:
        now = scales(network, x[:BATCH], p.runs)
        dashed = [Line(Text(f"{NAMES[s].zh} 理论", f"{NAMES[s].en} theory"), "theory", layers, y) for s, y in theory]
        signal = LineChart(
            Text(f"第 {len(losses)} 步：各层激活的大小", f"Step {len(losses)}: size of the activations"),
            Axis(Text("隐藏层（1 最靠近输入）", "hidden layer (1 is next to the input)"), low=1, high=p.depth - 1 if p.depth > 2 else 2),
            Axis(Text("激活的均方根（对数）", "root mean square of activations (log)"), log=True, low=1e-7, high=1e3),
            (*_layer_lines(now, 1e-7), *dashed),
            Text(
                f"最后一个隐藏层的均方根：He {brief(now[-1, 3])}，Xavier {brief(now[-1, 2])}；虚线是起点的理论值。",
                f"In the last hidden layer: He {brief(now[-1, 3])}, Xavier {brief(now[-1, 2])}; dashed: theory at the start.",
            ),
        )
        gradient = LineChart(
            Text("起点处各层的梯度", "Gradient by layer at the start"), Axis(Text("层", "layer"), low=1, high=p.depth),
            Axis(Text("权重梯度的均方根（对数）", "root mean square of dL/dW (log)"), log=True, low=1e-9, high=10),
            tuple(_layer_lines(slope, 1e-9)),
            Text(f"第 2 层的梯度：He {brief(slope[1, 3])}，Xavier {brief(slope[1, 2])}。",
                 f"Gradient of layer 2: He {brief(slope[1, 3])}, Xavier {brief(slope[1, 2])}."),
        )  # fmt: skip
        return signal, loss_chart(p, [(NAMES[s], ROLES[s]) for s in DEEP], losses, level), gradient

    pace = Pace()
    yield Snapshot(0, Text("就绪", "Ready"), charts())
    for step, ((loss, _),) in enumerate(train(p, [network], data, generator), 1):
        losses.append(loss.cpu().view(len(DEEP), p.runs))
        if pace.due(step / p.steps):
            yield Snapshot(0.99 * step / p.steps, Text(f"第 {step}/{p.steps} 步", f"Step {step}/{p.steps}"), charts())
    error = percent_wrong(network, x, y, p.runs)
    late = diverged_as_infinite(torch.stack(losses[-p.steps // 4 :]).double()).mean(0)  # a single batch is too noisy
    factor = layer_factor(p, generator, device) if p.activation == "relu" and p.depth > 2 else []
    yield Snapshot(1, Text("完成", "Done"), charts(), *judge_depth(p, (1 - late / level).clamp_min(-1), error, start, slope, factor))


def claim(p: Initialization) -> str:
    """Which publication speaks of this setting."""
    return "scale" if p.activation != "relu" else "adam" if p.optimizer == "adam" else "stall" if p.depth > 25 else "both"


PUBLISHED = {
    "stall": (HE, Text("30 层 ReLU：He 能收敛，Xavier 完全停滞，梯度越传越小", "30 ReLU layers: He converges, Xavier completely stalls with diminishing gradients")),
    "both": (HE, Text("22 层 ReLU：两者都收敛，He 的误差更早开始下降", "22 ReLU layers: both converge, with He the error starts falling earlier")),
    "adam": (KINGMA, Text("Adam 的更新与梯度的尺度无关，所以初始尺度不对也不该停滞", "Adam's updates do not depend on the gradient's scale, so a wrong scale of weights should not stall it")),
    "scale": (GLOROT, Text("Xavier 让激活和梯度的方差在各层大致不变", "Xavier keeps the variance of activations and gradients about the same in all layers")),
}  # fmt: skip


def judge_depth(
    p: Initialization, learnt: Tensor, error: Tensor, start: Tensor, slope: Tensor, factor: Sequence[float]
) -> tuple[tuple[Figure, ...], Outcome]:
    """learnt: share of the labels' entropy that training removed (mean loss over the last quarter of the steps), error: training error in percent, both (schemes, runs); start, slope: root mean
    square of activations and weight gradients at the start (layers, schemes, runs); factor: see `layer_factor`. "Learns" means: the interval of
    `learnt` begins above STUCK; "stalls": it ends below.

    Reproduced, by claim: stall: He learns and Xavier stalls · both: both learn, He more · adam: most runs of Xavier learn · scale: Xavier learns, and between first and
    last layer its activations and gradients change by less than a factor of 10 either way. Same direction: stall, both: He learns more than
    Xavier (interval of the difference above 0); adam: some runs of Xavier learn; scale: Xavier learns. Otherwise not at this scale.
    """
    which = claim(p)
    (xavier, he), gain = [interval(learnt[i].tolist()) for i in (2, 3)], interval((learnt[3] - learnt[2]).tolist())
    ends = [
        (values[-1, 2] / values[first, 2].clamp_min(1e-30)).tolist()
        for values, first in ((start, 0), (slope[:-1], 1 if p.depth > 2 else 0))
    ]
    held = all(0.1 <= value <= 10 for row in ends for value in row)
    ahead, learning = gain[1] > 0, int((learnt[2] > STUCK).sum())
    best, weaker = {
        "stall": (he[1] > STUCK and xavier[2] < STUCK, ahead),
        "both": (he[1] > STUCK and xavier[1] > STUCK and ahead, ahead),
        "adam": (2 * learning > p.runs, learning > 0),
        "scale": (xavier[1] > STUCK and held, xavier[1] > STUCK),
    }[which]
    status: Status = "reproduced" if best else "same_direction" if weaker else "not_at_this_scale"
    answer = {(False, False): "neither", (True, False): "xavier", (False, True): "he", (True, True): "both"}[
        (xavier[0] > STUCK, he[0] > STUCK)
    ]
    figures = [
        Figure(
            Text(f"训练消除的熵：{NAMES[s].zh}", f"Entropy removed by training: {NAMES[s].en}"), *mean_and_spread((100 * row).tolist()), "%"
        )
        for s, row in zip(DEEP, learnt, strict=True)
    ]
    figures = [figures[2], figures[3], *figures[:2]]
    figures += [
        Figure(Text(f"训练错误率：{NAMES[s].zh}", f"Training error: {NAMES[s].en}"), *mean_and_spread(error[i].tolist()), "%")
        for i, s in ((2, "xavier"), (3, "he"))
    ]
    changed = [
        Text("末层与首层激活之比", "Activations, last over first layer"),
        Text("末层与首层梯度之比", "Gradients, last over first layer"),
    ]
    figures += [
        Figure(Text(f"{n.zh}（Xavier）", f"{n.en} (Xavier)"), *mean_and_spread(row), "×") for n, row in zip(changed, ends, strict=True)
    ]
    if factor:
        figures.append(Figure(Text("每层方差因子 ÷ (½·n·Var w)", "Variance factor of a layer ÷ (½·n·Var w)"), *mean_and_spread(factor)))
    source, published = PUBLISHED[which]
    explanation = _explain_depth(
        p, which, xavier, he, (float(learnt[0].mean()), float(learnt[1].mean()), learning), [sum(row) / len(row) for row in ends]
    )
    return tuple(figures), Outcome(Verdict(status, figures[0], published, source, explanation), answer)


def _percent(share: float) -> str:
    """A share in whole percent (without a sign where it rounds to 0)."""
    return f"{round(100 * share):d}" if math.isfinite(share) else "–"


def _explain_depth(
    p: Initialization, which: str, xavier: Sequence[float], he: Sequence[float], low: Sequence[float], ends: Sequence[float]
) -> Text:
    found = Text(
        f"{p.steps} 步训练消除的标签熵（0% 即只学到类别频率）：He {_percent(he[0])}%，Xavier {_percent(xavier[0])}%，小正态 {_percent(low[1])}%，全零 {_percent(low[0])}%。",
        f"Share of the labels' entropy that {p.steps} steps removed (0 %: only the class frequencies are known): He {_percent(he[0])} %, Xavier {_percent(xavier[0])} %, "
        f"small normal {_percent(low[1])} %, zero {_percent(low[0])} %. ",
    )
    shrunk = 2 ** (-(p.depth - 1) / 2)
    if p.activation == "relu":
        why = Text(
            f"ReLU 每层丢掉一半的二阶矩，所以方差每层乘以 ½·n·Var(w)：He 是 1，Xavier 是 ½；{p.depth - 1} 个隐藏层之后，信号约剩 {shrunk:.1g}，反传的梯度也一样。",
            f"Each ReLU layer drops half the second moment, so it multiplies the variance by ½·n·Var(w): 1 with He, ½ with Xavier, which leaves about {shrunk:.1g} of the "
            f"signal after {p.depth - 1} hidden layers, and as little of the gradient. ",
        )
    elif p.activation == "tanh":
        why = Text(
            f"tanh 在 0 附近斜率为 1，别处更小，所以 Xavier 的激活每层只略微变小：末层与首层之比，激活是 {ends[0]:.2g}，梯度是 {ends[1]:.2g}。He 的尺度对 tanh 偏大：单元饱和，微小的差别被逐层放大。",
            f"Near 0 tanh has slope 1, elsewhere less, so under Xavier activations shrink only a little from layer to layer: last layer over first, they are {ends[0]:.2g}, gradients {ends[1]:.2g}. "
            "He's scale is too large for tanh: units saturate and small differences grow. ",
        )
    else:
        why = Text(
            f"sigmoid 的斜率至多 ¼，输出又全为正：哪种尺度都保不住梯度（首末层之比 {ends[1]:.2g}）。",
            f"A sigmoid's slope is at most ¼ and its output positive: no scale saves the gradient (last over first layer: {ends[1]:.2g}). ",
        )
    if which == "adam":
        more = Text(
            f"Adam 把梯度除以它自己的大小，只要梯度还明显大于 ε = 1e-8，缩小多少都一样：Xavier 的 {p.runs} 次运行里有 {low[2]:g} 次学起来了。层数多时，小正态的梯度小于 ε 或下溢为 0，Adam 也无能为力。",
            f"Adam divides a gradient by its own size, so shrinking does not matter while it stays well above ε = 1e-8: {low[2]:g} of {p.runs} runs from Xavier learn. In a deep "
            "stack the gradient under small normal weights is below ε, or underflows to 0, and Adam cannot help.",
        )
    elif p.activation == "relu":
        ratio = "Xavier 的网络只调动了输出偏置" if xavier[0] < STUCK else "Xavier 虽慢，仍然学起来了"
        told = "Xavier's nets only adjust the output bias" if xavier[0] < STUCK else "Xavier is behind but does learn"
        if he[0] < STUCK:
            ratio, told = "这里连 He 也没学起来（学习率或步数不合适）", "not even He learns (the rate or the steps do not suit)"
        more = Text(
            f"{ratio}。与论文不同：这里是窄的全连接网络和几百步，论文是 ImageNet 上的卷积网络和几十万步，所以停滞的界限在这里更浅（论文 22 层还能收敛）。",
            f"Here {told}. Unlike the paper's convolutional nets with many epochs of ImageNet these are narrow dense nets with a few hundred steps, so the border of "
            "stalling lies at fewer layers (in the paper 22 still converge).",
        )
    else:
        more = Text(
            "与论文不同：这里每层只有几十个单元，只训练几百步。", "Unlike the paper: a few dozen units a layer and a few hundred steps."
        )
    return found + why + more


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Initialization) -> Prediction:
    if p.task == "constant":
        return Prediction(
            Text(
                f"所有权重从 {p.constant:g} 出发，另一份加上 {100 * p.noise:.2g}% 的噪声。{p.steps} 步后，加了噪声的那份测试错误率如何？",
                f"All weights start at {p.constant:g}; a second copy has {100 * p.noise:.2g} % of noise added. How is its test error after {p.steps} steps?",
            ),
            {
                "bad": Text("和常数一样差：噪声太小", "as bad as the constant: too little noise"),
                "between": Text("介于两者之间", "between constant and random"),
                "good": Text("和随机一样好", "as good as a random start"),
                "alike": Text("常数本来就和随机一样", "constant and random do not differ"),
            },
        )
    if p.task == "zero":
        return Prediction(
            Text(
                "从零开始，谁的测试错误率会比随机起点高 2 个百分点以上？",
                "Starting at zero, which ends with a test error more than 2 points above that of a random start?",
            ),
            {
                "none": Text("谁都不会", "none of them"),
                "zero": Text("只有全部置零的网络", "only the network with all weights at zero"),
                "last": Text("末层置零的也会", "the one with a zero last layer too"),
                "logistic": Text("连逻辑回归也会", "even logistic regression"),
            },
        )
    return Prediction(
        Text(
            f"{p.depth} 层 {KINDS[p.activation]}，{'SGD' if p.optimizer == 'sgd' else 'Adam'}，学习率 {p.rate:g}，{p.steps} 步。谁能学到类别频率以外的东西？",
            f"{p.depth} layers of {KINDS[p.activation]}, {'SGD' if p.optimizer == 'sgd' else 'Adam'} at rate {p.rate:g}, {p.steps} steps. Which learns more than class frequencies?",
        ),
        {
            "neither": Text("都不能", "neither"),
            "he": Text("只有 He", "only He"),
            "xavier": Text("只有 Xavier", "only Xavier"),
            "both": Text("两者都能", "both"),
        },
    )


def run(parameters: Initialization, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from {"constant": _run_equal, "zero": _run_equal, "depth": _run_depth}[parameters.task](parameters, device, generator)


_CODE = """\
import torch
from torch import nn

torch.set_num_threads(1)  # matrices as small as these gain nothing from more
torch.manual_seed(0)
{load}
order = torch.randperm(len(y))
test, train = order[: len(y) // 3], order[len(y) // 3 :]

def build(start, hidden={hidden}):
    sizes = [x.shape[1]] + [{width}] * hidden + [classes]
    linears = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]
    for i, linear in enumerate(linears):
        w = linear.weight.data
        nn.init.zeros_(linear.bias)
        if start == "zero" or (start == "last zero" and i == len(linears) - 1):
            nn.init.zeros_(w)
        elif start in ("constant", "constant + noise"):
            w.copy_({constant} * (1 + (0 if start == "constant" else {noise}) * torch.randn_like(w)))
        elif start == "small":
            nn.init.normal_(w, std=0.01)
        elif start == "he":
            nn.init.kaiming_normal_(w, nonlinearity="relu")
        else:
            nn.init.xavier_normal_(w)
    layers = [part for linear in linears for part in (linear, nn.{kind}())]
    return nn.Sequential(*layers[:-1])

for start{variants}:
    net = build(start{passed})
    optimizer = {optimizer}
    for step in range({steps}):
        batch = train[torch.randint(len(train), (32,))]
        loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        loss = nn.functional.cross_entropy(net(x[train]), y[train]).item()
        error = 100 * (net(x[test]).argmax(1) != y[test]).float().mean().item()
        rows = nn.functional.normalize(net[0].weight.double(), dim=1)
        cosine = (rows @ rows.T)[~torch.eye(len(rows), dtype=torch.bool)].min().item()
    print(f"{{start:16}} training loss {{loss:.3f}}, test error {{error:5.1f}} %, least cosine between first-layer units {{cosine:.6f}}")
"""


def code(p: Initialization) -> str:
    starts = {"constant": ("zero", "constant", "constant + noise", "random"), "depth": ("zero", "small", "xavier", "he")}
    variants, passed = f" in {starts.get(p.task)}", ""
    if p.task == "zero":
        variants, passed = ', hidden in (("zero", 1), ("last zero", 1), ("random", 1), ("zero", 0), ("random", 0))', ", hidden"
    return _CODE.format(
        load=digits_or_own(p.data), hidden=p.depth - 1 if p.task == "depth" else 1, width=p.width, constant=p.constant, noise=p.noise, steps=p.steps,
        kind=KINDS[p.activation], variants=variants, passed=passed,
        optimizer=f"torch.optim.{'Adam(' if p.optimizer == 'adam' else 'SGD('}net.parameters(), lr={p.rate}{', momentum=0.9' if p.optimizer == 'sgd' else ''})",
    )  # fmt: skip


DEMO = Demo(
    topic="normalization",
    title=Text("初始化：对称与尺度", "Initialisation: symmetry and scale"),
    question=Text("权重能从 0 或同一个数开始吗？该取多大？", "May weights start at zero or at one number, and how large should they be?"),
    look_for=Text(
        "先看余弦矩阵：常数起点的格子会不会变色？再看平均余弦和训练损失：加了噪声的那条，是跟着常数走，还是跟着随机走？",
        "Watch whether the cosine matrix of the constant start ever changes colour. Then see in the mean cosine and the training loss whether the start with noise "
        "goes the way of the constant one or of the random one.",
    ),
    scaled_down=Text(
        "8×8 的数字图像、每层几十个单元、几百步，代替 ImageNet 上的卷积网络；深度与论文相同。",
        "8×8 digits, a few dozen units a layer and a few hundred steps instead of convolutional nets on ImageNet; the depth is the paper's.",
    ),
    parameters=Initialization,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=1,
)
