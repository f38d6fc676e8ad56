"""Why activations at all (1.3): a deep linear network and a ReLU network of the same size, beside a single linear layer.

Without activations the layers multiply into one matrix. `one_matrix` does that multiplication; the network's own outputs are held against it, its test error against
that of one layer (logistic regression), and its decision boundary against the straight line that the matrix draws. All three kinds of network are trained on the same
samples by full-batch Adam; seeds are networks stacked in one (demos/core/stacked.py), each with its own draw of the data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demos.core.charts import Axis, Chart, Grid, Line, LineChart, PlaneChart, Points, Role
from demos.core.datasets import Dataset, circles, load_own, moons, spirals
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import Adam, StackedMLP, error_rate
from demos.core.statistics import interval, mean_and_band, mean_and_spread
from demos.core.text import Text, joined, same

if TYPE_CHECKING:
    from torch import Tensor

TEST_COUNT = 2000  # test samples of each seed
LOOKS = 25  # times that the test error is measured
CELLS = 40  # of the decision maps, a side
EXACT = 1e-5  # how far float32 outputs may lie from the one matrix, as a share of the largest output
CLOUD = (0.5, 0.25)  # the centre of one cloud; the other lies opposite
SHAPES = {
    "spirals": Text("双螺旋", "spirals"), "moons": Text("双月牙", "moons"),
    "circles": Text("同心圆", "circles"), "clouds": Text("两团高斯云", "two clouds"),
}  # fmt: skip


@dataclass(frozen=True)
class Collapse(Parameters):
    shape: str = choice(
        "spirals", SHAPES,
        label=Text("数据", "Data"), help=Text("平面上的两类点。", "Two classes of points in the plane."),
    )  # fmt: skip
    depth: int = integer(
        3, 1, 10, label=Text("隐藏层数", "Hidden layers"), help=Text("两个深网络的隐藏层数相同。", "The same for both deep networks.")
    )
    width: int = integer(24, 1, 48, label=Text("隐藏层宽度", "Width"), help=Text("每个隐藏层的单元数。", "Units in each hidden layer."))
    noise: float = real(
        0.03, 0, 1, step=0.01, label=Text("噪声", "Noise"), help=Text("加在每个坐标上的正态噪声的标准差。", "Standard deviation added to each coordinate.")
    )  # fmt: skip
    steps: int = integer(
        500, 50, 1000, step=50, label=Text("训练步数", "Training steps"), help=Text("每步用全部训练样本。", "Each step takes all training samples.")
    )  # fmt: skip
    samples: int = integer(
        200, 20, 400, step=20, advanced=True, label=Text("训练样本数", "Training samples"), help=Text("每个种子各抽这么多。", "Drawn for each seed.")
    )  # fmt: skip
    lr: float = real(
        0.01, 0.0001, 1, log=True, advanced=True, label=Text("学习率", "Learning rate"), help=Text("Adam，三种网络相同。", "Adam's, the same for all three.")
    )  # fmt: skip
    seeds: int = integer(
        6, 5, 8, advanced=True, label=Text("种子数", "Seeds"), help=Text("各有自己的样本和初始权重。", "Each has its own samples and initial weights.")
    )  # fmt: skip
    data: str = own_data("classes", columns=2)


PRESETS = {
    "spirals": Preset(
        Text("双螺旋", "Spirals"),
        Text("三个隐藏层，有没有激活差多少？", "Three hidden layers: what difference does the activation make?"),
        {},
        "textbook",
    ),
    "moons": Preset(
        Text("双月牙", "Moons"),
        Text("边界只稍微弯一点，线性网络已经能分对大半。", "The boundary bends only a little, and a linear network is right most of the time."),
        {"shape": "moons", "noise": 0.15, "depth": 8, "width": 8},
    ),
    "clouds": Preset(
        Text("直线就是最优", "A line is best"),
        Text("两团同样的高斯云：最优边界本来就是直线，激活还有用吗？", "Two equal Gaussian clouds: the best boundary is a straight line. Does an activation still help?"),
        {"shape": "clouds", "noise": 0.5, "seeds": 8},
        "limits",
        look_for=Text(
            "看测试错误率图里三条线各停在离理论下限多远的地方，训练久了是否还在变。再看 ReLU 网络的决策区域：边界是直是弯，跟着哪些训练点走。",
            "See how far above the theoretical bound each of the three test errors comes to rest, and whether they still change late in training. Then look at the regions of the ReLU net: is the boundary straight, and which training points does it follow?",
        ),
    ),
}  # fmt: skip

GOODFELLOW = Source(
    "Deep Learning, chapter 6: Deep Feedforward Networks",
    "Ian Goodfellow, Yoshua Bengio, Aaron Courville",
    2016,
    "https://www.deeplearningbook.org/contents/mlp.html",
)
HASTIE = Source(
    "The Elements of Statistical Learning, 2nd edition, section 4.3",
    "Trevor Hastie, Robert Tibshirani, Jerome Friedman",
    2009,
    "https://hastie.su.domains/ElemStatLearn/",
)

KINDS: dict[str, tuple[Text, Role]] = {
    "one": (Text("单层", "one layer"), "baseline"),
    "linear": (Text("深层线性", "deep linear"), "first"),
    "relu": (same("ReLU"), "second"),
}


# ---- the data --------------------------------------------------------------------------------------------------------


def _clouds(count: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two round Gaussian clouds about ±CLOUD: x (count, 2), y (count,) in 0, 1."""
    y = torch.arange(count) % 2
    centres = torch.tensor(CLOUD) * (2 * y[:, None] - 1)
    return centres + noise * torch.randn(count, 2, generator=generator), y


def _draw(p: Collapse, device: torch.device, generator: torch.Generator) -> Dataset:
    """Points (S, N, 2) and classes (S, N) of each seed, standardised by its training points. The learner's own table is the same for all seeds."""
    if p.data:
        own = load_own(p.data, "classes", device, generator=generator, columns=2)
        x, test_x = own.train_x[: p.samples].expand(p.seeds, -1, 2), own.test_x[:TEST_COUNT].expand(p.seeds, -1, 2)
        return Dataset(x, own.train_y[: p.samples].expand(p.seeds, -1), test_x, own.test_y[:TEST_COUNT].expand(p.seeds, -1), own.classes)
    make = {"spirals": spirals, "moons": moons, "circles": circles, "clouds": _clouds}[p.shape]
    drawn = [make(p.samples + TEST_COUNT, p.noise, generator) for _ in range(p.seeds)]
    x, y = torch.stack([x for x, _ in drawn]), torch.stack([y for _, y in drawn]).to(device)
    train = x[:, : p.samples]
    x = ((x - train.mean(1, keepdim=True)) / train.std(1, keepdim=True).clamp_min(1e-6)).to(device)
    return Dataset(x[:, : p.samples], y[:, : p.samples], x[:, p.samples :], y[:, p.samples :], 2)


def _line_is_best(p: Collapse) -> bool:
    """Whether theory knows that no boundary beats a straight one."""
    return p.shape == "clouds" and not p.data


def least_error(p: Collapse) -> float:
    """The error in percent that no classifier of the two clouds gets below: Φ(−d/2σ), with d the distance of the centres."""
    return 50 * math.erfc(math.hypot(*CLOUD) / max(p.noise, 1e-9) / 2**0.5)


# ---- the collapse ----------------------------------------------------------------------------------------------------


def one_matrix(network: StackedMLP) -> tuple[Tensor, Tensor]:
    """The matrix (K, classes, 2) and bias (K, classes) that the linear layers multiply into, in float64 on the CPU."""
    matrix = torch.eye(network.sizes[0], dtype=torch.float64).expand(network.count, -1, -1)
    bias = torch.zeros(network.count, network.sizes[0], dtype=torch.float64)
    for weight, shift in zip(network.weights, network.biases, strict=True):
        weight = weight.cpu().double()
        bias = (weight @ bias[..., None])[..., 0] + shift.cpu().double()
        matrix = weight @ matrix
    return matrix, bias


def deviation(network: StackedMLP, x: Tensor) -> list[float]:
    """For each network, how far its outputs for x (K, B, 2) lie from those of its one matrix, as a share of the largest output."""
    outputs = network.logits(x).cpu().double()
    matrix, bias = one_matrix(network)
    expected = x.cpu().double() @ matrix.transpose(1, 2) + bias[:, None]
    shares = (outputs - expected).abs().amax((1, 2)) / expected.abs().amax((1, 2)).clamp_min(1e-300)
    return [share if math.isfinite(share) else math.inf for share in shares.tolist()]


def _line_of(network: StackedMLP, reach: float) -> tuple[list[float], list[float]]:
    """Two ends of the straight line on which network 0's one matrix is undecided between two classes."""
    matrix, bias = one_matrix(network)
    (a, b), c = (matrix[0, 1] - matrix[0, 0]).tolist(), float(bias[0, 1] - bias[0, 0])
    size = math.hypot(a, b)
    if not (0 < size < math.inf and math.isfinite(c)):
        return [], []
    a, b, c = a / size, b / size, c / size
    if abs(c) > 2 * reach:
        return [], []  # far outside the frame
    return [-c * a - 4 * reach * b, -c * a + 4 * reach * b], [-c * b + 4 * reach * a, -c * b - 4 * reach * a]


# ---- charts ----------------------------------------------------------------------------------------------------------


def outputs_of_first(network: StackedMLP, x: Tensor) -> Tensor:
    """What network 0 alone gives for x (B, 2): (B, classes)."""
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        x = x @ weight[0].T + bias[0]
        x = x.relu() if network.activation == "relu" and layer < network.hidden else x
    return x


def _map(p: Collapse, kind: str, network: StackedMLP, data: Dataset, reach: float) -> PlaneChart:
    """Seed 0: what the network says all over the plane, under the training points."""
    ticks = ((torch.arange(CELLS, device=network.device) + 0.5) / CELLS * 2 - 1) * reach
    places = torch.stack([ticks.repeat(CELLS), ticks.repeat_interleave(CELLS)], 1)
    says = outputs_of_first(network, places).softmax(1).cpu()
    if data.classes == 2:
        grid = Grid(Text("P(类别 1)", "P(class 1)"), says[:, 1].view(CELLS, CELLS), low=0, high=1, diverging=True)
    else:
        grid = Grid(Text("判为类别", "predicted class"), says.argmax(1).float().view(CELLS, CELLS), low=0, high=data.classes - 1)
    x, y = data.train_x[0, :150].cpu(), data.train_y[0, :150].cpu()
    clouds = []
    for c in range(data.classes):
        first, second = x[y == c].T.tolist()
        clouds += [Points(Text(f"类别 {c}", f"class {c}"), first, second, group=c % 10)] if first else []
    title, more = Text("ReLU 网络的决策区域", "Regions of the ReLU net"), Text("", "")
    lines: tuple[Line, ...] = ()
    if kind == "linear":
        title = Text("深层线性网络的决策区域", "Regions of the deep linear net")
    if kind == "linear" and data.classes == 2:
        lines = (Line(Text("一个矩阵", "one matrix"), "theory", *_line_of(network, reach)),)
        more = Text("；虚线由各层权重乘成的一个矩阵算出", "; the dashed line is drawn by the one matrix of its layers")
    told = Text(
        f"{title.zh}（{p.depth} 个隐藏层）{more.zh}。",
        f"{title.en} with {p.depth} hidden {'layer' if p.depth == 1 else 'layers'}{more.en}.",
    )
    x_axis, y_axis = (Axis(same(name), low=-reach, high=reach) for name in ("x₁", "x₂"))
    return PlaneChart(title, x_axis, y_axis, told, grid, points=tuple(clouds), lines=lines, equal=True)


def _curves(p: Collapse, steps: Sequence[int], errors: Mapping[str, Sequence[Sequence[float]]]) -> LineChart:
    """Test error against steps; errors[kind] holds a list of S percentages for each look."""
    lines = []
    for kind, (name, role) in KINDS.items():
        mean, low, high = mean_and_band(list(zip(*errors[kind], strict=True))) if steps else ([], [], [])
        lines.append(Line(name, role, steps, mean, low, high))
    if _line_is_best(p):
        lines.append(Line(Text("理论下限", "least possible"), "theory", [0, p.steps], [least_error(p)] * 2))
    now = {kind: interval(rows[-1])[0] if rows else math.nan for kind, rows in errors.items()}
    return LineChart(
        Text("测试错误率", "Test error"),
        Axis(Text("训练步数", "Training steps"), low=0, high=p.steps),
        Axis(Text("测试错误率（%）", "Test error (%)"), low=0, high=100 if p.data else 70),
        tuple(lines),
        Text("还没有开始训练。", "Training has not begun.") if not steps else Text(
            f"第 {steps[-1]} 步的测试错误率：单层 {now['one']:.3g}%，深层线性 {now['linear']:.3g}%，ReLU {now['relu']:.3g}%。",
            f"Test error at step {steps[-1]}: one layer {now['one']:.3g} %, deep linear {now['linear']:.3g} %, ReLU {now['relu']:.3g} %.",
        ),
    )  # fmt: skip


# ---- the run ---------------------------------------------------------------------------------------------------------


def _build(p: Collapse, classes: int, generator: torch.Generator, device: torch.device) -> dict[str, StackedMLP]:
    deep = (2, *[p.width] * p.depth, classes)
    sizes = {"one": (2, classes), "linear": deep, "relu": deep}
    return {
        kind: StackedMLP(size, range(p.seeds), generator, activation="relu" if kind == "relu" else "linear", device=device)
        for kind, size in sizes.items()
    }


def _percent_wrong(network: StackedMLP, x: Tensor, y: Tensor) -> list[float]:
    """Error in percent by seed; infinite for a network that has diverged."""
    logits = network.logits(x)
    wrong = 100 * error_rate(logits, y)
    return wrong.masked_fill(~logits.isfinite().all(2).all(1), math.inf).tolist()


def run(p: Collapse, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    data = _draw(p, device, generator)
    networks = _build(p, data.classes, generator, device)
    optimizers = {kind: Adam(network, [p.lr] * p.seeds) for kind, network in networks.items()}
    reach = math.ceil(2 * min(4.0, float(data.train_x[0].abs().max()))) / 2
    errors: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    looks: list[int] = []

    def charts() -> tuple[Chart, ...]:
        return (*[_map(p, kind, networks[kind], data, reach) for kind in ("linear", "relu")], _curves(p, looks, errors))

    yield Snapshot(0, Text("就绪", "Ready"), charts())
    pace = Pace()
    for step in range(p.steps + 1):
        if step in (0, 1, p.steps) or step * LOOKS // p.steps > (step - 1) * LOOKS // p.steps:
            looks.append(step)
            for kind, network in networks.items():
                errors[kind].append(_percent_wrong(network, data.test_x, data.test_y))
        if step == p.steps:
            break
        for kind, network in networks.items():
            _, gradients = network.gradients(data.train_x, data.train_y)
            optimizers[kind].step(gradients)
        if pace.due((step + 1) / p.steps):
            status = Text(f"第 {step + 1}/{p.steps} 步，{3 * p.seeds} 个网络", f"step {step + 1}/{p.steps}, {3 * p.seeds} networks")
            yield Snapshot(0.99 * (step + 1) / p.steps, status, charts())
    figures, outcome = _result(p, {kind: rows[-1] for kind, rows in errors.items()}, deviation(networks["linear"], data.test_x))
    yield Snapshot(1, Text("完成", "Done"), charts(), figures, outcome)


# ---- the verdict -----------------------------------------------------------------------------------------------------


def judge(p: Collapse, errors: Mapping[str, Sequence[float]], apart: float) -> tuple[Status, str]:
    """The status, and the prediction's option; errors in percent by seed, `apart` the largest deviation from one matrix.

    Reproduced: the deviation is at most EXACT, the interval of (deep linear − one layer) lies within ±3 points, and the upper end of ReLU's interval lies below half the
    lower end of the linear net's. For the clouds instead of the latter two: the linear net's interval lies within 2 points of the theoretical limit, and (linear − ReLU)
    below 2 points. Same direction: the deviation is small, and ReLU's error is lower beyond doubt (for the clouds: not lower). Otherwise not at this scale.
    """
    if not all(math.isfinite(value) for row in errors.values() for value in row):
        return "not_at_this_scale", "other"
    one, linear, relu = (interval(errors[kind]) for kind in KINDS)
    extra = interval([b - a for a, b in zip(errors["one"], errors["linear"], strict=True)])
    gain = interval([a - b for a, b in zip(errors["linear"], errors["relu"], strict=True)])
    if _line_is_best(p):
        full = linear[1] >= least_error(p) - 2 and linear[2] <= least_error(p) + 2 and gain[2] < 2
        half = gain[1] <= 0
    else:
        full = extra[1] >= -3 and extra[2] <= 3 and relu[2] < linear[1] / 2
        half = gain[1] > 0
    status: Status = "not_at_this_scale" if apart > EXACT or not (full or half) else "reproduced" if full else "same_direction"
    if abs(linear[0] - one[0]) > 3:
        return status, "between" if relu[0] < linear[0] < one[0] else "other"
    return status, "other" if gain[0] < -3 else "relu" if gain[0] > 3 else "same"


def _result(p: Collapse, errors: Mapping[str, Sequence[float]], shares: Sequence[float]) -> tuple[tuple[Figure, ...], Outcome]:
    apart = max(shares)
    status, answer = judge(p, errors, apart)
    finite = all(math.isfinite(value) for row in errors.values() for value in row)
    extra = [round(b - a, 6) if finite else math.inf for a, b in zip(errors["one"], errors["linear"], strict=True)]
    rates = {
        kind: Figure(Text(f"测试错误率：{name.zh}", f"Test error: {name.en}"), *mean_and_spread(errors[kind]), "%")
        for kind, (name, _) in KINDS.items()
    }
    difference = Figure(
        Text("深层线性 − 单层：测试错误率", "Deep linear − one layer: test error"),
        *mean_and_spread(extra), Text("个百分点", "points"),
    )  # fmt: skip
    exact = Figure(Text("与一个矩阵的最大相对偏差", "Largest relative deviation from one matrix"), apart)
    figures = (difference, *rates.values(), exact)
    if _line_is_best(p):
        best = least_error(p)
        published = Text(
            f"两类是协方差相同的高斯分布时，对数后验比是 x 的线性函数，最优边界是直线；这里任何分类器的错误率都不低于 Φ(−d/2σ) = {best:.3g}%",
            f"for Gaussian classes of equal covariance the log-odds are linear in x and the best boundary is a straight line; no classifier gets below Φ(−d/2σ) = {best:.3g} %",
        )
        return (rates["linear"], difference, rates["one"], rates["relu"], exact), Outcome(
            Verdict(status, rates["linear"], published, HASTIE, _explain(p, errors, apart)), answer
        )
    published = Text(
        "各层都是线性的，整个网络就仍是输入的线性函数：与单层的差应为 0",
        "if its layers are linear, the network as a whole remains a linear function of its input: no difference from one layer",
    )
    return figures, Outcome(Verdict(status, difference, published, GOODFELLOW, _explain(p, errors, apart)), answer)


# fmt: off
def _explain(p: Collapse, errors: Mapping[str, Sequence[float]], apart: float) -> Text:
    one, linear, relu = (interval(errors[kind])[0] for kind in KINDS)
    if not math.isfinite(one + linear + relu):
        return Text(
            f"学习率 {p.lr:g} 太大，有网络发散了（输出不再是有限的数），没有可比的错误率。调小学习率或层数再试。",
            f"At a learning rate of {p.lr:g} a network diverged (its outputs are no longer finite), so there are no errors to compare. Try a smaller rate or fewer layers.",
        )
    size = Text("这只是浮点舍入", "which is mere rounding")
    if apart > EXACT:
        size = Text("比通常的舍入大：层间的数远大于输出，相减时丢了精度", "more than mere rounding: values between the layers are far larger than the outputs, and digits are lost when they cancel")
    line = Text(
        f"所以它的错误率 {linear:.3g}% 与单层的 {one:.3g}% 相当：再深，边界也还是直的。",
        f"So its error, {linear:.3g} %, matches that of a single layer, {one:.3g} %: however deep, its boundary stays straight.",
    )
    if abs(linear - one) > 3:
        line = Text(
            f"它能表示的函数与单层相同，错误率却是 {linear:.3g}%，单层是 {one:.3g}%：训练过程不同（每层的梯度都乘着其余各层的权重），{p.steps} 步之后两者没有停在同一条直线上。",
            f"It can represent what one layer can, yet its error is {linear:.3g} % against {one:.3g} %: training differs (each layer's gradient is multiplied by "
            f"all the other layers' weights), and after {p.steps} steps the two have not reached the same line.",
        )
    told = (
        Text(
            f"把 {p.depth + 1} 层权重乘起来就是一个矩阵，它与深层线性网络的输出最多差 {apart:.1g}（相对最大输出），{size.zh}。",
            f"Multiplied out, the {p.depth + 1} layers are one matrix, whose outputs differ from the deep linear net's by at most {apart:.1g} of the largest, {size.en}.",
        ),
        line,
        _explain_clouds(p, linear, relu) if _line_is_best(p) else _explain_relu(linear, relu),
    )
    return joined(told)


def _explain_clouds(p: Collapse, linear: float, relu: float) -> Text:
    if relu < linear - 2:
        return Text(
            f"ReLU 网络（{relu:.3g}%）却更低，理论下限是 {least_error(p):.3g}%：线性网络还没有训练到位。",
            f"The ReLU net is lower all the same ({relu:.3g} %; the least possible is {least_error(p):.3g} %): the linear net has not been trained to the end.",
        )
    extra = Text("也不会更好", "does no better")
    if relu > linear + 1:
        extra = Text("反而更差，因为它弯着边界去迁就噪声", "does worse, because it bends its boundary to fit the noise")
    return Text(
        f"这里最优的边界就是直线，任何分类器的错误率都不低于 {least_error(p):.3g}%：ReLU 网络（{relu:.3g}%）{extra.zh}。激活带来的是弯曲边界的能力，问题用不着时就帮不上忙。",
        f"Here the best boundary is a straight line and no classifier errs less than {least_error(p):.3g} %: the ReLU net ({relu:.3g} %) {extra.en}. An activation makes curved boundaries "
        "possible; where none is needed, it has nothing to give.",
    )


def _explain_relu(linear: float, relu: float) -> Text:
    if relu < linear / 2:
        return Text(
            f"只加上 ReLU，别的不变，错误率降到 {relu:.3g}%：每个单元折一次，各层一叠，边界就能弯着绕过数据。",
            f"With ReLU in between and nothing else changed, the error falls to {relu:.3g} %: every unit adds a fold, and stacked folds bend the boundary around the data.",
        )
    if relu < linear - 2:
        return Text(
            f"加上 ReLU 之后是 {relu:.3g}%，更低但没有减半：数据本身的噪声、网络太小或步数太少都会留下错误。",
            f"With ReLU it is {relu:.3g} %: lower, though not half. Noise in the data, too small a network or too few steps leave errors.",
        )
    return Text(
        f"加上 ReLU 之后是 {relu:.3g}%，没有明显的好处：有非线性还不够，网络要够宽、训练要够久，数据也要真的需要弯曲的边界。",
        f"With ReLU it is {relu:.3g} %, no clear gain: a non-linearity is not enough by itself. The network must be wide enough and trained for long enough, and the data must need a curved boundary.",
    )
# fmt: on


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Collapse) -> Prediction:
    where = Text("你的数据", "your data") if p.data else SHAPES[p.shape]
    return Prediction(
        Text(
            f"在{where.zh}上训练三种网络：单层、{p.depth} 个隐藏层（宽 {p.width}）的线性网络、同样大小的 ReLU 网络。它们的测试错误率（差 3 个百分点以内算相当）？",
            f"Three networks learn {where.en}: one layer, a linear net with {p.depth} hidden layers of {p.width} units, and a ReLU net of that size. How will their test errors compare "
            "(within 3 points counts as equal)?",
        ),
        {
            "between": Text("深层线性比单层好，ReLU 更好", "deep linear beats one layer, and ReLU beats both"),
            "relu": Text("深层线性与单层相当，ReLU 更好", "deep linear equals one layer; only ReLU is better"),
            "same": Text("三者相当", "all three are equal"),
            "other": Text("有一个深网络更差，或者发散", "a deep network is worse, or diverges"),
        },
    )


_MAKERS = {
    "spirals": """\
radius = torch.rand(COUNT).sqrt() * 0.95 + 0.05
angle = 2 * math.pi * (1.5 * radius + y / 2)
x = torch.stack([angle.cos(), angle.sin()], 1) * radius[:, None]
""",
    "moons": """\
angle, flip = math.pi * torch.rand(COUNT), 1 - 2 * y
x = torch.stack([angle.cos() * flip + y, angle.sin() * flip + y / 2], 1)
""",
    "circles": """\
angle = 2 * math.pi * torch.rand(COUNT)
x = torch.stack([angle.cos(), angle.sin()], 1) * (1 - y / 2)[:, None]
""",
    "clouds": "x = torch.tensor([0.5, 0.25]) * (2 * y[:, None] - 1)\n",
}
_MADE = """\
COUNT, NOISE = 1000, {noise:g}
y = torch.arange(COUNT) % 2
{maker}x = x + NOISE * torch.randn(COUNT, 2)
x = (x - x.mean(0)) / x.std(0)
classes = 2
"""
_CODE = """\
import math

import torch
from torch import nn

torch.set_num_threads(1)  # networks as small as these gain nothing from more
torch.manual_seed(0)
DEPTH, WIDTH, STEPS, RATE, SAMPLES = {depth}, {width}, {steps}, {lr:g}, {samples}
{data}
order = torch.randperm(len(y))
test = order[: len(y) // 3]
train = order[len(y) // 3 :][:SAMPLES]

def network(activation, depth=DEPTH):
    widths = [2] + [WIDTH] * depth + [classes]
    layers = []
    for fan_in, fan_out in zip(widths, widths[1:]):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.normal_(linear.weight, std=(2 if activation is nn.ReLU else 1) ** 0.5 / fan_in**0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])

kinds = {{"one layer": network(nn.Identity, 0), "deep linear": network(nn.Identity), "ReLU": network(nn.ReLU)}}
for name, net in kinds.items():
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    for step in range(STEPS):
        loss = nn.functional.cross_entropy(net(x[train]), y[train])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        wrong = (net(x[test]).argmax(1) != y[test]).float().mean().item()
    print(f"{{name:12}} test error {{100 * wrong:5.1f}} %")

matrix, bias = torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
for layer in kinds["deep linear"]:
    if isinstance(layer, nn.Linear):
        weight = layer.weight.detach().double()
        matrix, bias = weight @ matrix, weight @ bias + layer.bias.detach().double()
with torch.no_grad():
    outputs, expected = kinds["deep linear"](x).double(), x.double() @ matrix.T + bias
print(f"one matrix differs by {{((outputs - expected).abs().max() / expected.abs().max()).item():.1e}} of the largest output")
"""


def code(p: Collapse) -> str:
    made = _MADE.format(noise=p.noise, maker=_MAKERS[p.shape])
    return _CODE.format(**{**p.values(), "data": digits_or_own(p.data, bundled=made)})


DEMO = Demo(
    topic="activations",
    title=Text("没有激活：再深也是一条直线", "No activation: however deep, a straight line"),
    question=Text("去掉激活函数，深层网络还剩下什么？", "What is left of a deep network without activation functions?"),
    look_for=Text(
        "看两张决策区域图里的边界怎样移动，深层线性网络的边界离一个矩阵算出的虚线有多远。再看深层线性网络的错误率是靠近单层，还是靠近 ReLU。",
        "Watch how the two boundaries move, and how far that of the deep linear net is from the dashed line drawn by one matrix. Then see whether the deep linear net's error goes with one layer or with ReLU.",
    ),
    scaled_down=Text(
        "数据只有两维，网络只有几百到几千个权重，这样边界才看得见；坍缩成一个矩阵是代数恒等式，与规模无关。",
        "The data have two dimensions and the networks a few thousand weights at most, so that the boundary can be seen; that linear layers collapse into one matrix is an algebraic identity at any size.",
    ),
    parameters=Collapse,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=2,
)
