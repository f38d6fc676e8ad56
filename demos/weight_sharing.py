"""Weight sharing (1.8): one kernel for every place (convolution), a kernel for each place (locally connected), or a weight for every pixel (dense).

A digit of 8×8 pixels slides along a strip of 8×16. The first experiment asks whether the feature maps slide along: a property of the operation, whatever
the weights are, so they are random. The second trains the three layers, alike in everything else, and asks what sharing gains in accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Image, ImageGrid, Line, LineChart, Role, Rule
from demos.core.datasets import CLASSES, load_digits, shuffles
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict, effect_status
from demos.core.lazy import torch
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.stacked import Adam, cross_entropy, error_rate
from demos.core.statistics import interval, mean_and_band, mean_and_spread
from demos.core.text import Text, joined, same

if TYPE_CHECKING:
    from torch import Tensor

LAYER, TRAINING = ("layer",), ("training",)


@dataclass(frozen=True)
class Sharing(Parameters):
    task: str = mode_choice(
        "layer", {"layer": Text("平移等变", "equivariance"), "training": Text("训练", "training")},
        label=Text("实验", "Experiment"), help=Text("看一层的性质，还是训练后的准确率。", "A layer's property, or accuracy after training."),
    )  # fmt: skip
    kernel: int = integer(
        5, 1, 7, step=2, label=Text("核的边长 k", "Kernel size k"), help=Text("核为 k×k 像素。", "The kernel has k×k pixels.")
    )
    padding: str = choice(
        "circular", {"circular": Text("循环填充", "circular"), "zeros": Text("补零", "zeros")}, label=Text("填充", "Padding"),
        help=Text("边缘之外读到什么：另一侧的像素，或 0。", "What is read beyond the edge: the other side's pixels, or 0."),
    )  # fmt: skip
    stride: str = choice(
        "1", {"1": same("1"), "2": same("2"), "4": same("4")}, modes=LAYER, label=Text("步幅", "Stride"),
        help=Text("每隔几个像素算一个输出。", "One output every so many pixels."),
    )  # fmt: skip
    shift: int = integer(
        15, 1, 16, modes=LAYER, label=Text("最远平移（像素）", "Slide up to (pixels)"),
        help=Text("数字沿长条滑多远；16 像素绕一圈。", "How far the digit slides along the strip; 16 is once around."),
    )  # fmt: skip
    images: int = integer(
        320, 20, 1297, modes=TRAINING, label=Text("训练图数", "Training images"), help=Text("LeCun 1989 用了 320 张。", "LeCun 1989 had 320.")
    )  # fmt: skip
    train_shift: int = integer(
        0, 0, 4, modes=TRAINING, label=Text("训练时平移 ±", "Training shifts ±"),
        help=Text("训练图随机左右移动至多几个像素；0 为居中。", "Training images move sideways at random by at most so many pixels; 0 is centred."),
    )  # fmt: skip
    test_shift: int = integer(
        4, 0, 4, modes=TRAINING, label=Text("测试时平移 ±", "Test shifts ±"),
        help=Text("准确率取这个范围内各种平移的平均。", "Accuracies are averaged over all shifts in this range."),
    )  # fmt: skip
    head: str = choice(
        "pool", {"pool": Text("每张图取最大值", "maximum of each map"), "flatten": Text("ReLU 后展平", "ReLU and flatten")}, modes=TRAINING,
        label=Text("分类头之前", "Before the classifier"),
        help=Text("全局池化丢掉位置，展平保留位置。", "Global pooling forgets positions, flattening keeps them."),
    )  # fmt: skip
    maps: int = integer(16, 1, 24, advanced=True, label=Text("特征图数", "Feature maps"), help=Text("输出通道数。", "Output channels."))
    rate: float = real(
        0.03, 0.0005, 0.5, log=True, step=0.0005, advanced=True, modes=TRAINING, label=Text("学习率（Adam）", "Learning rate (Adam)"),
        help=Text("三种网络共用。", "The same for all three."),
    )  # fmt: skip
    steps: int = integer(
        200, 50, 400, step=50, advanced=True, modes=TRAINING, label=Text("步数", "Steps"), help=Text("每步 32 张图。", "Each takes 32 images.")
    )  # fmt: skip
    seeds: int = integer(
        6, 5, 8, advanced=True, label=Text("种子数", "Seeds"),
        help=Text("不同的初始权重；训练时还有不同的训练图。", "Different initial weights and, in training, images."),
    )  # fmt: skip


PRESETS = {
    "equivariance": Preset(
        Text("平移等变", "Equivariance"),
        Text("数字滑动时，三种层的特征图会跟着滑吗？", "As the digit slides, do the feature maps of the three layers slide along?"),
        {"task": "layer"},
        "textbook",
    ),
    "border": Preset(
        Text("补零的边缘", "Zero padding"),
        Text("换成补零：数字碰到边缘时会怎样？", "With zero padding: what happens as the digit meets the edge?"),
        {"task": "layer", "padding": "zeros"},
        "limits",
    ),
    "stride": Preset(
        Text("步幅 2", "Stride 2"),
        Text("每隔一个像素才算一个输出：哪些平移还对得上？", "One output for every two pixels: which shifts still fit?"),
        {"task": "layer", "stride": "2"},
        "limits",
    ),
    "unseen": Preset(
        Text("没见过的位置", "Unseen positions"),
        Text("用 320 张居中的数字训练，在移开的数字上测试。", "Trained on 320 centred digits, tested on shifted ones."),
        {"task": "training"},
        look_for=Text(
            "看测试准确率的曲线：数字离开训练时的位置以后，三种网络的准确率各怎样变。再看权值在哪里变了：哪些位置学到了东西，哪些还是原样。",
            "See what becomes of each network's accuracy as the digits leave the place where they were in training. Then see where weights have moved: which places have learned something, and which are as they were?",
        ),
    ),
    "net-1989": Preset(
        Text("1989 年的比较", "As in 1989"),
        Text("训练与测试的数字都随机左右移动，如 LeCun 1989。", "Digits shift at random in training and testing, as in LeCun 1989."),
        {"task": "training", "train_shift": 4},
        look_for=Text(
            "看测试准确率的三条曲线：哪条高，随平移起伏大不大。再对照柱状图：准确率高的，是不是参数多的那一种。",
            "Look at the three curves of test accuracy: which is the highest, and how level is each as the digits shift? Then look at the bars: is it the layer with more parameters that is more accurate?",
        ),
    ),
    "fixed": Preset(
        Text("位置固定", "Fixed in place"),
        Text("数字从不移动，数据也充足：共享还有用吗？", "Digits that never move, and plenty of them: does sharing still help?"),
        {"task": "training", "images": 1297, "test_shift": 0, "steps": 250},
        "limits",
        look_for=Text(
            "看测试准确率在平移 0 处的三个点：这次测试的数字也不移动，别处的点不计入结果。看三个点差多少，误差带重不重叠。",
            "Look at the three points of test accuracy at a shift of 0: here the test digits do not move either, and the other points do not count. How far apart are the three, and do their bands overlap?",
        ),
    ),
}

LECUN = Source(
    "Backpropagation Applied to Handwritten Zip Code Recognition",
    "Y. LeCun, B. Boser, J. S. Denker, D. Henderson, R. E. Howard, W. Hubbard, L. D. Jackel", 1989, "https://doi.org/10.1162/neco.1989.1.4.541",
)  # fmt: skip
KAYHAN = Source(
    "On Translation Invariance in CNNs: Convolutional Layers can Exploit Absolute Spatial Location",
    "Osman Semih Kayhan, Jan C. van Gemert", 2020, "https://arxiv.org/abs/2003.07064",
)  # fmt: skip
ZHANG = Source("Making Convolutional Networks Shift-Invariant Again", "Richard Zhang", 2019, "https://arxiv.org/abs/1904.11486")
HASTIE = Source(
    "The Elements of Statistical Learning, 2nd edition, Table 11.1",
    "Trevor Hastie, Robert Tibshirani, Jerome Friedman", 2009, "https://hastie.su.domains/ElemStatLearn/",
)  # fmt: skip
TAIGMAN = Source(
    "DeepFace: Closing the Gap to Human-Level Performance in Face Verification",
    "Yaniv Taigman, Ming Yang, Marc'Aurelio Ranzato, Lior Wolf", 2014, "https://doi.org/10.1109/CVPR.2014.220",
)  # fmt: skip

ROWS, COLUMNS = 8, 16
STRIP = ROWS * COLUMNS  # pixels of the strip; one more, number STRIP, is always blank: zero padding reads it
KINDS: dict[str, tuple[Text, Role]] = {
    "conv": (Text("卷积", "conv"), "first"),
    "local": (Text("局部连接", "local"), "second"),
    "dense": (Text("全连接", "dense"), "third"),
}
NAMES = [name for name, _ in KINDS.values()]
LOADING, DONE = Text("载入数字", "Loading the digits"), Text("完成", "Done")
BLANK = [[0.0] * COLUMNS] * ROWS


# ---- the strip, the three layers, and what they cost ---------------------------------------------------------------------


def _ink(x: Tensor, device: torch.device) -> Tensor:
    """Images (N, 64) with ink in 0 … 1 on blank paper (0) from centred ones: each pixel is blank in some image."""
    x = x - x.amin(0)
    return (x / x.max()).to(device)


def _strips(ink: Tensor, shifts: Sequence[int]) -> Tensor:
    """Images (N, 64) in the middle of the strip, moved right by each of `shifts` (around the end): (shifts, N, STRIP + 1)."""
    strip = ink.new_zeros(len(ink), ROWS, COLUMNS)
    strip[:, :, 4:12] = ink.view(-1, 8, 8)
    return torch.nn.functional.pad(torch.stack([strip.roll(shift, 2).flatten(1) for shift in shifts]), (0, 1))


def _taps(kernel: int, stride: int, padding: str) -> tuple[Tensor, Tensor]:
    """Which pixel each output place reads at each tap of its kernel (places, k²), and whether that tap lies beyond the left or right edge."""
    reach = torch.arange(kernel) - (kernel - 1) // 2
    row = torch.arange(0, ROWS, stride)[:, None, None, None] + reach[:, None]
    column = torch.arange(0, COLUMNS, stride)[:, None, None] + reach
    row, column = torch.broadcast_tensors(row, column)  # both (rows, columns, k, k)
    taps, beyond = row % ROWS * COLUMNS + column % COLUMNS, (column < 0) | (column >= COLUMNS)
    if padding == "zeros":
        taps = taps.masked_fill(beyond | (row < 0) | (row >= ROWS), STRIP)
    return taps.reshape(-1, kernel**2), beyond.reshape(-1, kernel**2)


class _Layer:
    """K layers of one kind: strips (K or 1, B, STRIP + 1) → feature maps (K, maps, places, B). Weights normal with variance 2/lines (He), biases 0.

    Weights are (K, maps, k²) for conv, (K, places, maps, k²) for local, (K, maps · places, STRIP) for dense; one bias for each row of weights.
    """

    def __init__(self, kind: str, count: int, maps: int, taps: Tensor, generator: torch.Generator, device: torch.device) -> None:
        places, lines = len(taps), STRIP if kind == "dense" else taps.shape[1]
        rows = {"conv": (maps,), "local": (places, maps), "dense": (maps * places,)}[kind]
        self.kind, self.count, self.maps, self.taps = kind, count, maps, taps.to(device)
        self.weights = (torch.randn(count, *rows, lines, generator=generator) * (2 / lines) ** 0.5).to(device)
        self.biases = torch.zeros(count, *rows, 1, device=device)
        self.connections = maps * places * (lines + 1)  # of one layer, biases included
        self.parameters = (self.weights.numel() + self.biases.numel()) // count

    def __call__(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        if self.kind == "local":
            by_place: Tensor = self.weights @ x[:, self.taps] + self.biases  # (K, places, maps, B)
            return by_place.transpose(1, 2)
        read = x[:, self.taps.T].flatten(2) if self.kind == "conv" else x[:, :STRIP]
        out: Tensor = self.weights @ read + self.biases
        return out.reshape(self.count, self.maps, len(self.taps), -1)


# Networks as layers: maps, places in a map, input lines of a unit, and whether the units of a map share weights. Every unit has a bias of its own.
# The zip-code network (LeCun 1989, section 3.3): H1 reads 5×5 of 16×16 pixels, a unit of H2 5×5 places in 8 of H1's 12 maps.
Wiring = tuple[tuple[int, int, int, bool], ...]
ZIP_CODE: Wiring = ((12, 64, 25, True), (12, 16, 200, True), (30, 1, 192, False), (10, 1, 30, False))


def _count(wiring: Wiring, inputs: int = 256) -> tuple[int, int, int]:
    """Units (inputs too), connections and independent parameters: each connection is given the number of its parameter, then both are counted."""
    units, connections, parameters = inputs, 0, 0
    for maps, places, lines, shared in wiring:
        unit = torch.arange(maps * places)
        weights = (unit // places if shared else unit)[:, None] * lines + torch.arange(lines)
        behind = torch.cat([weights, maps * places * lines + unit[:, None]], 1)  # (units, lines and bias)
        units, connections, parameters = units + len(unit), connections + behind.numel(), parameters + len(behind.unique())
    return units, connections, parameters


def _cost_chart(layers: Sequence[_Layer]) -> BarChart:
    summary = LOADING
    if layers:
        n = [layer.parameters for layer in layers]
        summary = Text(
            f"参数：卷积 {n[0]:,}，局部连接 {n[1]:,}，全连接 {n[2]:,}；前两者的连接一样多（{layers[0].connections:,}）。",
            f"Parameters: convolution {n[0]:,}, locally connected {n[1]:,}, dense {n[2]:,}; the first two have equally many connections ({layers[0].connections:,}).",
        )
    return BarChart(
        Text("共享省的是参数，不是连接", "Sharing saves parameters, not connections"),
        (Text("连接", "connections"), Text("参数", "parameters")),
        Axis(Text("个数（对数）", "number (log)"), log=True, low=1, high=1e6),
        tuple(Bars(name, role, [layer.connections, layer.parameters]) for (name, role), layer in zip(KINDS.values(), layers, strict=False)),
        summary,
    )


# ---- does the map slide along? -------------------------------------------------------------------------------------------

DIGITS, CHUNK = 360, 60
EXACT = 1e-5  # relative error that counts as 0 in float32


def _run_layer(p: Sharing, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    errors, cost = torch.empty(3, 0, p.seeds), _cost_chart([])
    yield Snapshot(0, LOADING, (_pictures(p, 0, [BLANK] * 8, [True] * 3), _error_chart(p, errors), cost))
    digits, stride, pace = _ink(load_digits(generator=generator).train_x, device)[:DIGITS], int(p.stride), Pace()
    taps, beyond = _taps(p.kernel, stride, p.padding)
    crossing = _taps(p.kernel, stride, "circular")[0][beyond].to(device)  # pixels that are read across the edge
    calm = ~beyond.any(1).view(ROWS // stride, -1)[0].to(device)  # output columns that do not read across it
    layers = [_Layer(kind, p.seeds, p.maps, taps, generator, device) for kind in KINDS]
    cost, start = _cost_chart(layers), _strips(digits, [0])
    before = [[_grid(layer(x), stride) for x in start.split(CHUNK, 1)] for layer in layers]
    size = torch.stack([sum((_energy(maps) for maps in chunks), torch.zeros_like(_energy(chunks[0]))) for chunks in before])  # (kind, K)
    inside, expected = [], []
    for shift in range(p.shift + 1):
        fits = sorted({shift // stride, -(-shift // stride)})  # the whole output steps nearest to the shift; the better one counts
        moved = _strips(digits, [shift])
        wrong, within = size.new_zeros(len(fits), 3, p.seeds), size.new_zeros(p.seeds)
        for part, x in enumerate(moved.split(CHUNK, 1)):
            for kind, layer in enumerate(layers):
                rests = [_grid(layer(x), stride) - before[kind][part].roll(fit, 3) for fit in fits]
                wrong[:, kind] += torch.stack([_energy(rest) for rest in rests])
                if kind == 0 and len(fits) == 1:
                    within += _energy(rests[0][:, :, :, calm & calm.roll(fits[0])])
            if part == 0:
                pictures = _draw(p, shift, layers, x, [chunks[0] for chunks in before], fits)
            if pace.due():
                status = Text(
                    f"平移 {shift} 像素：{3 * p.seeds} 层，{DIGITS} 个数字", f"Shifted by {shift}: {3 * p.seeds} layers, {DIGITS} digits"
                )
                share = (shift + (part + 1) * CHUNK / DIGITS) / (p.shift + 1)
                yield Snapshot(0.99 * share, status, (pictures, _error_chart(p, errors), cost))
        errors = torch.cat([errors, (wrong.amin(0) / size).sqrt().cpu()[:, None]], 1)
        inside.append(float((within / size[0]).sqrt().max()))
        touched = bool(start[0][:, crossing].any() or moved[0][:, crossing].any())
        expected.append(shift % COLUMNS == 0 or (shift % stride == 0 and not (p.padding == "zeros" and touched)))
        status = Text(f"平移 {shift} 像素", f"Shifted by {shift}")
        yield Snapshot(0.99 * (shift + 1) / (p.shift + 1), status, (pictures, _error_chart(p, errors), cost))
    figures, outcome = _judge_layer(p, errors, max(inside), expected, [layer.parameters for layer in layers])
    yield Snapshot(1, DONE, (pictures, _error_chart(p, errors), cost), figures, outcome)


def _grid(maps: Tensor, stride: int) -> Tensor:
    """(K, maps, places, B) → (K, maps, rows, columns, B)."""
    grid: Tensor = maps.unflatten(2, (ROWS // stride, COLUMNS // stride))
    return grid


def _energy(maps: Tensor) -> Tensor:
    """Sum of squares of each layer's maps (K, …): (K,)."""
    return maps.square().flatten(1).sum(1)


def _draw(p: Sharing, shift: int, layers: Sequence[_Layer], x: Tensor, before: Sequence[Tensor], fits: Sequence[int]) -> ImageGrid:
    """The first digit with the first map of each first layer; below, the kernel and what is left of each map after taking away the old one moved along."""
    maps, rests = [], []
    for layer, old_maps in zip(layers, before, strict=True):
        old, new = old_maps[0, 0, :, :, 0], _grid(layer(x[:, :1]), int(p.stride))[0, 0, :, :, 0]
        unit = old.abs().max().clamp_min(1e-9)
        maps.append(new / unit)
        rests.append(min(((new - old.roll(fit, 1)) / unit for fit in fits), key=lambda rest: float(rest.norm())))
    k, weights = p.kernel, layers[0].weights[0, 0]
    kernel = x.new_full((ROWS, COLUMNS), float("nan"))  # on a strip left blank, so that its pixels are as large as the others'
    kernel[(ROWS - k) // 2 :, (COLUMNS - k) // 2 :][:k, :k] = (weights / weights.abs().max()).view(k, k)
    pixels = [x[0, 0, :STRIP].view(ROWS, COLUMNS), *maps, kernel, *rests]
    return _pictures(p, shift, [picture.tolist() for picture in pixels], [float(rest.norm()) <= EXACT for rest in rests])


def _pictures(p: Sharing, shift: int, pixels: Sequence[object], zero: Sequence[bool]) -> ImageGrid:
    labels = [Text(f"输入，右移 {shift}", f"input, +{shift} px"), *(Text(f"{name.zh}的图", f"{name.en}: map") for name in NAMES)]
    labels += [Text(f"卷积核 {p.kernel}×{p.kernel}", f"kernel {p.kernel}×{p.kernel}")]
    labels += [Text(f"{name.zh}：差", f"{name.en}: difference") for name in NAMES]
    said = [Text("为零", "zero") if exact else Text("不为零", "not zero") for exact in zero]
    return ImageGrid(
        Text("数字滑动，图跟着滑吗？（差 = 新图 − 移动后的旧图）", "The digit slides: does the map slide along? (difference = new map − old map moved)"),
        tuple(Image(label, picture) for label, picture in zip(labels, pixels, strict=True)),
        Text(
            f"数字右移 {shift} 像素。新图减去跟着移动的旧图：卷积的差{said[0].zh}，局部连接的差{said[1].zh}，全连接的差{said[2].zh}。",
            f"The digit has moved by {shift} pixels. New map less old map moved along: {said[0].en} for the convolution, {said[1].en} for the locally connected, {said[2].en} for the dense layer.",
        ),
        low=-1, high=1, diverging=True, columns=4,
    )  # fmt: skip


def _error_chart(p: Sharing, errors: Tensor) -> LineChart:
    """errors: (kind, shift, K)."""
    lines, last = [], errors.shape[1] - 1
    for (name, role), curves in zip(KINDS.values(), errors, strict=True):
        if len(curves):
            mean, low, high = mean_and_band(curves.T.tolist())
            lines.append(Line(name, role, range(len(mean)), mean, [max(value, 0.0) for value in low], high, "dots+line"))
    now = [float(curves[-1].mean()) if len(curves) else 0.0 for curves in errors]
    return LineChart(
        Text("等变误差与平移", "Equivariance error against the shift"),
        Axis(Text("平移（像素）", "shift (pixels)"), low=0, high=p.shift),
        Axis(Text("相对误差 ‖f(Tx) − Tf(x)‖ / ‖f(x)‖", "relative error ‖f(Tx) − Tf(x)‖ / ‖f(x)‖"), low=0, high=1.8),
        tuple(lines),
        Text(
            f"平移 {max(last, 0)} 像素时的误差：卷积 {now[0]:.2g}，局部连接 {now[1]:.2g}，全连接 {now[2]:.2g}。",
            f"Error at a shift of {max(last, 0)}: convolution {now[0]:.2g}, locally connected {now[1]:.2g}, dense {now[2]:.2g}.",
        ),
    )


def _judge_layer(
    p: Sharing, errors: Tensor, inside: float, expected: Sequence[bool], sizes: Sequence[int]
) -> tuple[tuple[Figure, ...], Outcome]:
    """Reproduced: the convolution's error (kind, shift, K) is 0 to float tolerance at exactly the shifts where theory says so (`expected`), the other
    layers' is clear of 0 at every shift but once around, and the 1989 network counts as published. Same direction: the convolution errs less than the
    locally connected layer on average. `inside` is the convolution's largest error where no place reads across the edge, `sizes` the parameters.
    """
    shifts, counted = range(1, errors.shape[1]), _count(ZIP_CODE)
    zero = [bool((errors[0, shift] <= EXACT).all()) for shift in (0, *shifts)]
    clear = all(interval(errors[kind, shift].tolist())[1] > 0.1 for kind in (1, 2) for shift in shifts if shift % COLUMNS)
    status: Status = "same_direction" if errors[0].mean() < errors[1].mean() else "not_at_this_scale"
    if zero == list(expected) and clear and counted == (1256, 64660, 9760):
        status = "reproduced"
    off = [shift for shift in shifts if not zero[shift]]
    largest = Text("卷积的最大等变误差", "Convolution's largest equivariance error")
    measured = Figure(largest, *mean_and_spread(errors[0, off].amax(0).tolist())) if off else Figure(largest, float(errors[0].max()))
    figures = [measured, Figure(Text("误差为零的平移", "Shifts with error 0"), float(sum(zero[1:])), None, f"/ {len(shifts)}")]
    if p.padding == "zeros":
        figures.append(Figure(Text("卷积的最大误差，远离边缘", "Convolution's largest error away from the edge"), inside))
    for kind, name in enumerate(NAMES):
        figures.append(Figure(Text(f"平均误差：{name.zh}", f"Mean error: {name.en}"), *mean_and_spread(errors[kind, 1:].mean(0).tolist())))
        figures.append(Figure(Text(f"参数：{name.zh}", f"Parameters: {name.en}"), float(sizes[kind])))
    for name, value in zip((Text("单元", "units"), Text("连接", "connections"), Text("独立参数", "parameters")), counted, strict=True):
        figures.append(Figure(Text(f"1989 邮编网络：{name.zh}", f"1989 network: {name.en}"), float(value)))
    multiples = [shift % int(p.stride) == 0 for shift in shifts]
    answer = "all" if not off else "multiples" if p.stride != "1" and zero[1:] == multiples else "inside" if zero[1] else "few"
    published, source = _published_layer(p)
    return tuple(figures), Outcome(Verdict(status, measured, published, source, _explain_layer(p, errors, zero, inside, sizes)), answer)


def _published_layer(p: Sharing) -> tuple[Text, Source]:
    if p.stride != "1":
        return Text(
            "下采样（最大池化、带步幅的卷积、平均池化）不顾采样定理，所以卷积网络并不平移不变：输入移一点，输出可能大变",
            "downsampling (max-pooling, strided convolution, average pooling) ignores the sampling theorem, so convolutional networks are not shift-invariant: small shifts can change the output drastically",
        ), ZHANG
    if p.padding == "zeros":
        return Text(
            "卷积层会借图像边缘的效应利用绝对位置，因此并不平移不变",
            "convolutional layers can exploit absolute location through effects at the image's edge, so they are not translation invariant",
        ), KAYHAN
    return Text(
        "一套权值在任何位置检测同一特征（误差 0）；邮编网络有 1,256 个单元、64,660 个连接，独立参数只有 9,760 个",
        "one set of weights detects a feature at any place (error 0); the zip-code network has 1,256 units and 64,660 connections, but only 9,760 independent parameters",
    ), LECUN


def _explain_layer(p: Sharing, errors: Tensor, zero: Sequence[bool], inside: float, sizes: Sequence[int]) -> Text:
    tried, exact, worst = len(zero) - 1, sum(zero[1:]), float(errors[0].mean(1).max())
    local, dense = (float(errors[kind, 1:].mean()) for kind in (1, 2))
    parts = [
        Text(
            f"先平移再卷积，与先卷积再平移，在 {tried} 种平移中有 {exact} 种结果相同（误差不超过 10⁻⁵）。"
            f"另两种层平均误差为 {local:.2f} 和 {dense:.2f}：数字换了地方就换了一组权值；两张互不相干、大小相近的图相差 √2 ≈ 1.41。",
            f"Shifting before or after the convolution gives the same result at {exact} of {tried} shifts (to within 10⁻⁵). The other two layers err by {local:.2f} and {dense:.2f} "
            "on average, as a digit that moves meets other weights; two unrelated maps of like size differ by √2 ≈ 1.41.",
        )
    ]
    if p.stride != "1" and exact < tried:
        parts.append(
            Text(
                f"步幅 {p.stride} 只保留每 {p.stride} 个像素中的一个输出。平移若不是 {p.stride} 的倍数，特征图就该移动几分之一格，这做不到：取最接近的整格，误差仍达 {worst:.2f}。",
                f"A stride of {p.stride} keeps one output in {p.stride}. A shift that is no multiple of {p.stride} would move the map by a fraction of a place, which cannot be: "
                f"with the nearest whole place the error is still up to {worst:.2f}.",
            )
        )
    if p.padding == "zeros" and exact < tried:
        parts.append(
            Text(
                f"补零时，边缘的核读到 0，而不是绕到另一侧的墨迹：远离边缘的地方误差至多 {inside:.1g}，整张图的误差达 {worst:.2f}。层数越多，边缘的影响越往里扩散。",
                f"With zero padding the kernels at the edge read 0, not the ink that has gone round to the other side: away from the edge the error is at most {inside:.1g}, over the whole map up to "
                f"{worst:.2f}. The more layers, the further in the edge reaches.",
            )
        )
    parts.append(
        Text(
            f"参数：卷积 {sizes[0]:,}；不共享，每个位置一套，就要 {sizes[1]:,}；全连接 {sizes[2]:,}。前两者连接一样多，所以共享省的是参数，不是计算。"
            "与论文不同：这里只有一层、权值随机，因为等变与权值无关。",
            f"Parameters: {sizes[0]:,} for the convolution, {sizes[1]:,} without sharing (a set for each place), {sizes[2]:,} for the dense layer. The first two have equally many connections: "
            "sharing saves parameters, not computation. Unlike the papers, this is one layer with random weights, as equivariance does not depend on them.",
        )
    )
    return joined(parts)


# ---- what sharing gains in accuracy --------------------------------------------------------------------------------------

SHIFTS = range(-4, 5)  # the ink stays on the strip
BATCH, LOOK, TEST = 32, 30, 300


class _Networks:
    """K networks of one kind side by side: layer → maximum of each map over its places (or ReLU and all places) → linear to the ten classes."""

    def __init__(self, kind: str, p: Sharing, generator: torch.Generator, device: torch.device) -> None:
        self.count, self.device, self.pool = p.seeds, device, p.head == "pool"
        self.layer = _Layer(kind, p.seeds, p.maps, _taps(p.kernel, 1, p.padding)[0], generator, device)
        features = p.maps * (1 if self.pool else STRIP)
        self.head = (torch.randn(p.seeds, CLASSES, features, generator=generator) / features**0.5).to(device)
        self.head_biases = torch.zeros(p.seeds, CLASSES, 1, device=device)
        self.start = self.layer.weights.clone()
        for parameter in self.parameters():
            parameter.requires_grad_()

    def parameters(self) -> list[Tensor]:
        return [self.layer.weights, self.layer.biases, self.head, self.head_biases]

    def outputs(self, x: Tensor) -> Tensor:
        """Logits (K, classes, B) of strips (K or 1, B, STRIP + 1)."""
        maps = self.layer(x)
        return torch.baddbmm(self.head_biases, self.head, maps.amax(2) if self.pool else maps.relu().flatten(1, 2))

    def gradients(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """Of the mean cross-entropy of a batch, as `parameters`; y (K, B)."""
        outputs = self.outputs(x)
        _, slope = cross_entropy(outputs.detach(), y)
        return list(torch.autograd.grad(outputs, self.parameters(), slope))

    def accuracy(self, x: Tensor, y: Tensor) -> Tensor:
        """In % at each shift (shifts, K), on the CPU, of the same digits at each: x (shifts, B, STRIP + 1), y (B,)."""
        with torch.no_grad():
            logits = self.outputs(x.flatten(0, 1)[None]).unflatten(2, x.shape[:2])  # (K, classes, shifts, B)
            rights = [1 - error_rate(logits[:, :, at].transpose(1, 2), y) for at in range(len(x))]
        return 100 * torch.stack(rights).cpu()

    def learned(self) -> list[list[float]]:
        """How far the first network's weights have moved: at each place (conv, local) or from each pixel (dense), of the largest. ROWS × COLUMNS."""
        moved = (self.layer.weights.detach() - self.start)[0].square()
        far = (
            moved.sum().expand(STRIP)
            if self.layer.kind == "conv"
            else moved.flatten(1).sum(1)
            if self.layer.kind == "local"
            else moved.sum(0)
        ).sqrt()
        return [[float(value) for value in row] for row in (far / far.max().clamp_min(1e-9)).view(ROWS, COLUMNS).tolist()]


def _run_training(p: Sharing, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    accuracy = torch.full((3, len(SHIFTS), p.seeds), float("nan"))
    yield Snapshot(0, LOADING, (_accuracy_chart(p, accuracy), _learned_chart([BLANK] * 4), _cost_chart([])))
    digits, pace = load_digits(generator=generator), Pace()
    ink = _ink(torch.cat([digits.train_x, digits.test_x[:TEST]]), device)
    train, test = _strips(ink[:-TEST], SHIFTS), _strips(ink[-TEST:], SHIFTS)
    train_y, test_y = digits.train_y.to(device), digits.test_y[:TEST].to(device)
    chosen = shuffles(len(train_y), p.seeds, generator, p.images)  # (K, images)
    moved = 4 + torch.randint(
        -p.train_shift, p.train_shift + 1, chosen.shape, generator=generator
    )  # their places in SHIFTS, for the whole run
    batches = torch.randint(p.images, (p.steps, p.seeds, BATCH), generator=generator)
    kinds = [_Networks(kind, p, generator, device) for kind in KINDS]
    optimizers = [Adam(networks, [p.rate] * p.seeds) for networks in kinds]
    typical, cost = (
        train[moved[0].to(device), chosen[0].to(device)].mean(0)[:STRIP].view(ROWS, COLUMNS).tolist(),
        _cost_chart([n.layer for n in kinds]),
    )
    for i in range(p.steps):
        index, where = chosen.gather(1, batches[i]).to(device), moved.gather(1, batches[i]).to(device)
        x, y = train[where, index], train_y[index]
        for kind, (networks, optimizer) in enumerate(zip(kinds, optimizers, strict=True)):
            gradients = networks.gradients(x, y)
            with torch.no_grad():
                optimizer.step(gradients)
            if i % max(p.steps // 12, 1) == 0:
                accuracy[kind] = networks.accuracy(test[:, :LOOK], test_y[:LOOK])
            if pace.due():
                charts = (_accuracy_chart(p, accuracy), _learned_chart([typical, *(n.learned() for n in kinds)]), cost)
                status = Text(f"{3 * p.seeds} 个网络，第 {i + 1}/{p.steps} 步", f"{3 * p.seeds} networks, step {i + 1}/{p.steps}")
                yield Snapshot(0.85 * (i + (kind + 1) / 3) / p.steps, status, charts)
    learned = _learned_chart([typical, *(n.learned() for n in kinds)])
    for kind, networks in enumerate(kinds):
        for at in range(len(SHIFTS)):
            accuracy[kind, at] = networks.accuracy(test[at : at + 1], test_y)[0]
            if pace.due():
                status = Text(f"在 {TEST} 个没见过的数字上测试", f"Testing on {TEST} unseen digits")
                yield Snapshot(0.85 + 0.14 * (kind + at / len(SHIFTS)) / 3, status, (_accuracy_chart(p, accuracy), learned, cost))
    figures, outcome = _judge_training(p, accuracy, [n.layer.parameters for n in kinds])
    yield Snapshot(1, DONE, (_accuracy_chart(p, accuracy), learned, cost), figures, outcome)


def _accuracy_chart(p: Sharing, accuracy: Tensor) -> LineChart:
    """accuracy: (kind, shift, K) in %, NaN where not yet measured."""
    lines, summary = [], LOADING
    for (name, role), curves in zip(KINDS.values(), accuracy, strict=True):
        if not curves.isnan().any():
            mean, low, high = mean_and_band(curves.T.tolist())
            lines.append(Line(name, role, SHIFTS, mean, [max(v, 0.0) for v in low], [min(v, 100.0) for v in high], "dots+line"))
    if len(lines) == len(KINDS):
        (a, b, c), (d, e, f) = (accuracy[:, at].mean(1).tolist() for at in (4, 8))
        summary = Text(
            f"居中时：卷积 {a:.0f}%，局部连接 {b:.0f}%，全连接 {c:.0f}%；右移 4 像素时：{d:.0f}%，{e:.0f}%，{f:.0f}%。",
            f"Centred: convolution {a:.0f} %, locally connected {b:.0f} %, dense {c:.0f} %; moved right by 4: {d:.0f} %, {e:.0f} %, {f:.0f} %.",
        )
    ends = sorted({-p.train_shift, p.train_shift} - {SHIFTS[0], SHIFTS[-1]})  # at the edges of the frame there is nothing to mark off
    return LineChart(
        Text("测试准确率与测试时的平移", "Test accuracy against the shift in testing"),
        Axis(Text("测试数字的平移（像素）", "shift of the test digits (pixels)"), low=-4, high=4),
        Axis(Text("测试准确率（%）", "test accuracy (%)"), low=0, high=100),
        tuple(lines),
        summary,
        tuple(Rule(Text("训练到此", "trained to here") if p.train_shift else Text("训练位置", "trained here"), at) for at in ends),
    )


def _learned_chart(pixels: Sequence[list[list[float]]]) -> ImageGrid:
    labels = [Text("训练图的平均", "mean training image"), *(Text(f"{name.zh}：学到的", f"{name.en}: learned") for name in NAMES)]
    local = 100 * sum(value > 0.1 for row in pixels[2] for value in row) / STRIP
    return ImageGrid(
        Text("权值在哪里变了（全连接按输入像素，其余按输出位置）", "Where weights have moved (dense: by input pixel, others: by output place)"),
        tuple(Image(label, picture) for label, picture in zip(labels, pixels, strict=True)),
        Text(
            f"卷积的核处处相同，在一处学到就处处学到；局部连接只有 {local:.0f}% 的位置学到了东西。",
            f"The convolution's kernel is the same everywhere: learned in one place, known in all. Of the locally connected layer {local:.0f} % of the places have learned.",
        ),
        low=0, high=1, columns=4,
    )  # fmt: skip


def _judge_training(p: Sharing, accuracy: Tensor, sizes: Sequence[int]) -> tuple[tuple[Figure, ...], Outcome]:
    """The gain from sharing: the convolution's accuracy (kind, shift, K) less the locally connected layer's, over all shifts within ± test_shift, paired by seed.

    Held by `effect_status` against 94.0 − 88.5 = 5.5 points (LeCun 1989). Where digits stay in the centre, in training and testing, the claim is that
    sharing does not help. Reproduced: the interval of the gain lies below 0. Same direction: it contains 0. Otherwise not at this scale.
    """
    tested = accuracy[:, 4 - p.test_shift : 5 + p.test_shift].mean(1)  # (kind, K)
    gain, low, high = interval((tested[0] - tested[1]).tolist())
    points = Text("个百分点", "percentage points")
    measured = Figure(Text("卷积的准确率比局部连接高", "Convolution ahead of locally connected"), gain, (high - low) / 2, points)
    figures = [
        measured,
        Figure(Text("卷积的准确率比全连接高", "Convolution ahead of dense"), *mean_and_spread((tested[0] - tested[2]).tolist()), points),
    ]
    for name, values, centred, size in zip(NAMES, tested, accuracy[:, 4], sizes, strict=True):
        figures.append(Figure(Text(f"准确率：{name.zh}", f"Accuracy: {name.en}"), *mean_and_spread(values.tolist()), "%"))
        figures.append(Figure(Text(f"居中时的准确率：{name.zh}", f"Accuracy, centred: {name.en}"), *mean_and_spread(centred.tolist()), "%"))
        figures.append(Figure(Text(f"该层参数：{name.zh}", f"Parameters of the layer: {name.en}"), float(size)))
    status: Status = effect_status(gain, low, 0, 5.5)
    published, source = (
        Text(
            "LeCun 1989（Net-3 与 Net-4）：320 张随机左右平移的数字，局部连接 88.5%，第一层共享后 94.0%（+5.5），两层都共享 98.4%；全连接 87.0%",
            "LeCun 1989 (Net-3 and Net-4), 320 digits shifted sideways at random: locally connected 88.5 %, first layer shared 94.0 % (+5.5), both shared 98.4 %; dense 87.0 %",
        ),
        HASTIE,
    )
    if p.train_shift == p.test_shift == 0:
        status = "reproduced" if high < 0 else "same_direction" if low <= 0 else "not_at_this_scale"
        published, source = (
            Text(
                "对齐的人脸各区域统计特性不同，卷积的空间平稳假设不成立；数据量大，才用得起三个不共享的局部连接层",
                "in aligned faces regions differ in their statistics, so convolution's assumption of stationarity cannot hold; only much data makes three large unshared layers affordable",
            ),
            TAIGMAN,
        )
    answer = "much" if low > 20 else "better" if low > 0 else "worse" if high < 0 else "same"
    return tuple(figures), Outcome(Verdict(status, measured, published, source, _explain_training(p, accuracy, tested, gain)), answer)


def _place(shift: int) -> Text:
    return Text(f"左右移动至多 {shift} 像素", f"shifted by up to ±{shift} pixels") if shift else Text("居中", "centred")


def _explain_training(p: Sharing, accuracy: Tensor, tested: Tensor, gain: float) -> Text:
    conv, local, dense = tested.mean(1).tolist()
    by_shift = accuracy[0].mean(1)
    swing = float(by_shift.max() - by_shift.min())
    why = _explain_gain(p, gain > 0)
    edge = Text("（补零时靠边除外）", " (with zero padding, away from the edge)") if p.padding == "zeros" else same("")
    head = (
        Text(
            f"取最大值把“跟着移”（等变）变成“不变”{edge.zh}：平移从 −4 到 4，卷积的准确率至多变动 {swing:.1f} 个百分点。",
            f"The maximum over places turns moving along (equivariance) into not changing (invariance){edge.en}: from −4 to 4 the convolution's accuracy varies by {swing:.1f} points at most.",
        )
        if p.head == "pool"
        else Text(
            f"展平之后的分类头给每个位置各自的权值，等变没有变成不变：平移从 −4 到 4，卷积的准确率变动达 {swing:.1f} 个百分点。",
            f"After flatten the classifier has weights of its own for each place, so equivariance does not become invariance: from −4 to 4 the convolution's accuracy varies by up to {swing:.1f} points.",
        )
    )
    centred = (
        Text(
            "那时训练图也平移过，差距自然小得多；这里", "there training images were shifted too, so the gap was far smaller; here there is "
        )
        if p.train_shift < p.test_shift
        else same("")
    )
    other = (
        Text(
            f"与 1989 年不同：{centred.zh}只有一个隐藏层，数字为 8×8，用 Adam 训练；三种网络特征图一样多，不共享的参数就多得多，而当年的 Net-3 与 Net-4 参数相近。",
            f"Unlike 1989: {centred.en}one hidden layer, digits of 8×8 pixels, Adam; all networks have equally many maps, so those without sharing have far more parameters, while Net-3 and Net-4 had about equally many.",
        )
        if p.train_shift or p.test_shift
        else Text(
            "论文用的是人脸和深得多的网络，只有高层不共享。",
            "The paper has faces and a far deeper network, of which only upper layers are unshared.",
        )
    )
    place = _place(p.test_shift)
    return Text(
        f"测试数字{place.zh}：卷积 {conv:.1f}%，局部连接 {local:.1f}%，全连接 {dense:.1f}%；共享使准确率{'提高' if gain > 0 else '降低'} {abs(gain):.1f} 个百分点。{why.zh}{head.zh}{other.zh}",
        f"Test digits {place.en}: convolution {conv:.1f} %, locally connected {local:.1f} %, dense {dense:.1f} %; sharing {'gains' if gain > 0 else 'loses'} {abs(gain):.1f} points. "
        f"{why.en} {head.en} {other.en}",
    )


def _explain_gain(p: Sharing, helps: bool) -> Text:
    """Why sharing gained or lost."""
    if p.train_shift == p.test_shift == 0:
        if helps:
            return Text(
                f"数字从不移动，共享仍有帮助：{p.images} 张图要定的权值少了许多。",
                f"The digits never move, and sharing helps all the same: from {p.images} images there are far fewer weights to settle.",
            )
        forgets = Text(
            "“共享加取最大值”却忘掉了笔画在哪里；换成“展平”保留位置，再比一次。",
            " Sharing with a maximum over places forgets where it was; choose flatten, which keeps the places, and compare.",
        )
        forgets = forgets if p.head == "pool" else same("")
        return Text(
            f"数字从不移动时，每个位置只需认得自己那一块笔画：不共享的核可以各司其职，笔画在哪里也有助于分辨类别。{forgets.zh}",
            f"Where digits never move, each place need only know its own piece of the strokes: unshared kernels can specialise, and where a stroke is helps to tell the class.{forgets.en}",
        )
    if not helps and p.head == "flatten":
        return Text(
            "核虽然共享，分类头却仍要逐个位置地学，所以共享没有换来准确率。",
            "The kernels are shared, but the classifier must still learn each place by itself, so sharing buys no accuracy.",
        )
    if not helps:
        return Text(
            "取最大值的卷积在哪里都与居中时一样，但它在这里学得不够：换个学习率，或加步数、加特征图再试。",
            "With a maximum over places the convolution does everywhere as it does in the centre, but here it has not learned enough: try another rate, more steps or maps.",
        )
    if p.train_shift < p.test_shift:
        seen = _place(p.train_shift)
        return Text(
            f"训练时数字{seen.zh}。局部连接和全连接在每个位置只认得那里出现过的笔画，没到过的地方还是初始的随机数；卷积只有一套核，在一处学会就处处会。",
            f"In training the digits were {seen.en}. The other two layers know at each place only the strokes that came there, and where none came their weights are still random; the convolution has one set of kernels, and what it learns in one place it knows in all.",
        )
    return Text(
        f"训练时数字也{_place(p.train_shift).zh}，但不共享的层在每个位置只见过 {p.images} 张图的一部分，同一笔画要在各处重学一遍；共享把各处的证据合在一起（梯度相加）。",
        f"In training, too, the digits were {_place(p.train_shift).en}. But without sharing each place sees only part of the {p.images} images, and the same stroke must be learned anew in each; sharing pools the evidence (gradients add up).",
    )


# ---- the demo ------------------------------------------------------------------------------------------------------------


def predict(p: Sharing) -> Prediction:
    if p.task == "layer":
        pad = Text("补零", "zero padding") if p.padding == "zeros" else Text("循环填充", "circular padding")
        return Prediction(
            Text(
                f"数字在长条上右移 1 … {p.shift} 像素。{p.kernel}×{p.kernel}、步幅 {p.stride}、{pad.zh}的卷积，在哪些平移下特征图丝毫不差地跟着移动？",
                f"A digit slides right by 1 … {p.shift} pixels. At which of these shifts does the map of a {p.kernel}×{p.kernel} convolution with stride {p.stride} and {pad.en} move along exactly?",
            ),
            {
                "all": Text("每一种平移", "At every shift"),
                "multiples": Text("只在步幅的倍数", "Only at multiples of the stride"),
                "inside": Text("只在笔画不碰边缘时", "Only while the strokes keep off the edge"),
                "few": Text("几乎没有", "Hardly any"),
            },
        )
    train, test = _place(p.train_shift), _place(p.test_shift)
    return Prediction(
        Text(
            f"用 {p.images} 张数字训练（{train.zh}），再测试别的数字（{test.zh}）。卷积与不共享的局部连接相比，准确率如何？",
            f"Trained on {p.images} digits ({train.en}), tested on others ({test.en}): how accurate is the convolution beside the locally connected layer, which does not share?",
        ),
        {
            "much": Text("高 20 个百分点以上", "More than 20 points better"),
            "better": Text("高一些", "Somewhat better"),
            "same": Text("差不多", "About the same"),
            "worse": Text("更低", "Worse"),
        },
    )


def run(p: Sharing, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    return (_run_layer if p.task == "layer" else _run_training)(p, device, generator)


_CODE = """\
# {title}
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy, pad, unfold

torch.set_num_threads(1)  # layers as small as these gain nothing from more
torch.manual_seed(0)
KERNEL, STRIDE, MAPS = {kernel}, {stride}, {maps}
PLACES = (8 // STRIDE) * (16 // STRIDE)
data = load_digits()
strips = torch.zeros(len(data.images), 1, 8, 16)  # each digit in the middle of a strip
strips[:, 0, :, 4:12] = torch.tensor(data.images, dtype=torch.float32) / 16


class Layer(nn.Module):
    def __init__(self, kind):
        super().__init__()
        lines = 128 if kind == "dense" else KERNEL**2
        shape = {{"conv": (MAPS, lines), "local": (PLACES, MAPS, lines), "dense": (MAPS * PLACES, lines)}}[kind]
        self.kind, self.weights = kind, nn.Parameter(torch.randn(shape) * (2 / lines) ** 0.5)
        self.biases = nn.Parameter(torch.zeros(MAPS, 1 if kind == "conv" else PLACES))

    def forward(self, x):  # (N, 1, 8, 16) -> (N, MAPS, PLACES)
        if self.kind == "dense":
            return (x.flatten(1) @ self.weights.T).view(-1, MAPS, PLACES) + self.biases
        before, behind = (KERNEL - 1) // 2, KERNEL // 2
        patches = unfold(pad(x, (before, behind, before, behind), mode="{mode}"), KERNEL, stride=STRIDE)
        sharing = "ml,nlp->nmp" if self.kind == "conv" else "pml,nlp->nmp"  # the same weights at every place p, or its own
        return torch.einsum(sharing, self.weights, patches) + self.biases

"""
_TAILS = {
    "layer": """
for kind in ("conv", "local", "dense"):
    layer = Layer(kind)
    print(kind, "parameters:", sum(parameter.numel() for parameter in layer.parameters()))
    with torch.no_grad():
        before = layer(strips[:200]).unflatten(2, (8 // STRIDE, -1))
        for shift in range({shift} + 1):
            after = layer(strips[:200].roll(shift, 3)).unflatten(2, (8 // STRIDE, -1))
            fits = {{shift // STRIDE, -(-shift // STRIDE)}}  # the nearest whole steps of the output
            error = min((after - before.roll(fit, 3)).norm() / before.norm() for fit in fits)
            print(f"  shift {{shift}}: relative error {{error:.2g}}")

connections = parameters = 0  # of the zip-code network of LeCun 1989
for maps, places, lines, shared in ((12, 64, 25, True), (12, 16, 200, True), (30, 1, 192, False), (10, 1, 30, False)):
    connections += maps * places * (lines + 1)
    parameters += maps * lines * (1 if shared else places) + maps * places  # every unit has its own bias
print("1989:", connections, "connections,", parameters, "independent parameters")
""",
    "training": """
y = torch.tensor(data.target)
test, train = torch.randperm(len(y)).split([500, len(y) - 500])
train = train[:{images}]
moves = torch.randint(-{train_shift}, {train_shift} + 1, (len(train),))
x = torch.stack([strips[i].roll(int(move), 2) for i, move in zip(train, moves)])

for kind in ("conv", "local", "dense"):
    layer, head = Layer(kind), nn.Linear({features}, 10)

    def network(x):
        return head({pooled})

    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr={rate:g})
    for step in range({steps}):
        batch = torch.randint(0, len(train), (32,))
        loss = cross_entropy(network(x[batch]), y[train[batch]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(kind, "parameters of the layer:", sum(parameter.numel() for parameter in layer.parameters()))
    with torch.no_grad():
        for shift in range(-4, 5):
            right = (network(strips[test].roll(shift, 3)).argmax(1) == y[test]).float().mean().item()
            print(f"  shift {{shift}}: accuracy {{100 * right:.1f}} %")
""",
}


def code(p: Sharing) -> str:
    pooled, features = ("layer(x).amax(2)", p.maps) if p.head == "pool" else ("layer(x).relu().flatten(1)", p.maps * STRIP)
    title = "Does the map move with the digit?" if p.task == "layer" else "What does sharing gain in accuracy?"
    mode, stride = "circular" if p.padding == "circular" else "constant", p.stride if p.task == "layer" else "1"
    values = p.values() | {"title": title, "mode": mode, "stride": stride, "pooled": pooled, "features": features}
    return (_CODE + _TAILS[p.task]).format(**values)


DEMO = Demo(
    topic="architectures",
    title=Text("权值共享与平移", "Weight sharing and shifts"),
    question=Text("同一个卷积核扫遍全图，换来了什么？", "One kernel for the whole image: what does it buy?"),
    look_for=Text(
        "看数字滑动时，三种层的特征图是原样跟着滑还是变了样，等变误差在哪些平移上为零。再看柱状图：卷积与局部连接的连接数差多少，参数又差多少。",
        "As the digit slides, see whether the map of each layer slides along unchanged or turns into something else, and at which shifts the equivariance error is zero. Then compare the bars: how do convolution and locally connected layer differ in connections, and how in parameters?",
    ),
    scaled_down=Text(
        "用 8×16 长条上的 8×8 数字和一个隐藏层，代替 1989 年 16×16 的邮编数字和三个隐藏层，以及后来论文里的 ImageNet 与人脸。",
        "Digits of 8×8 pixels on a strip of 8×16 and one hidden layer stand in for the 16×16 zip-code digits and three hidden layers of 1989, and for ImageNet and faces in the later papers.",
    ),
    parameters=Sharing,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=2,
)
