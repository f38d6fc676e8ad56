"""Odd and even kernels (1.36): where a stack of convolutions moves its input to.

A k×k kernel that keeps the size at stride 1 pads k − 1 rows in all. An odd k shares them out equally; an even one has a row left over. With p rows in front
each layer moves the map by (k − 1)/2 − p towards the top left, which `run` measures as the drift of the map's centre of mass. The canvas is larger than
anything can spread, so that no mass is lost at the rim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Image, ImageGrid, Line, LineChart, Role
from demos.core.datasets import load_digits
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice
from demos.core.statistics import mean_and_band, mean_and_spread
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

SIZES = (1, 2, 3, 4, 5, 6)  # kernels of which the drift is measured
HALVING = (2, 3, 4, 5)  # kernels of the layers of stride 2
CHANNELS = 4  # of the stacks at stride 1: one for each corner of symmetric padding
TOLERANCE = {"equal": 1e-3, "positive": 0.1, "signed": 0.1}  # how far from theory the drift may be, in pixels a layer


@dataclass(frozen=True)
class KernelParity(Parameters):
    task: str = mode_choice(
        "shift", {"shift": Text("步幅 1", "stride 1"), "halving": Text("步幅 2", "stride 2")},
        label=Text("实验", "Experiment"), help=Text("步幅 1 的漂移，或者步幅 2 的对齐。", "Drift at stride 1, or alignment at stride 2."),
    )  # fmt: skip
    kernel: int = integer(
        2, 1, 6, label=Text("核尺寸 k", "Kernel size k"), modes=("shift",),
        help=Text("与 3×3 比较的 k×k 核。", "The k×k kernel that is compared with 3×3."),
    )  # fmt: skip
    depth: int = integer(
        8,
        2,
        16,
        label=Text("层数", "Layers"),
        modes=("shift",),
        help=Text("依次做多少次卷积。", "How many convolutions follow one another."),
    )
    picture: str = choice(
        "impulse", {"impulse": Text("一个亮点（脉冲）", "one bright pixel (impulse)"), "digit": Text("手写数字", "handwritten digit")},
        label=Text("输入", "Input"), modes=("shift",), help=Text("送进网络的图。", "The picture that goes in."),
    )  # fmt: skip
    weights: str = choice(
        "equal", {"equal": Text("全部相等", "all equal"), "positive": Text("随机非负", "random, not negative"), "signed": Text("随机正负（He）", "random, both signs (He)")},
        label=Text("权重", "Weights"), modes=("shift",),
        help=Text("权重有正有负时，每层后接 leaky ReLU，质量取绝对值。", "With both signs a leaky ReLU follows, and mass is the absolute value."),
    )  # fmt: skip
    levels: int = integer(
        3, 1, 4, label=Text("下采样层数", "Layers of stride 2"), modes=("halving",),
        help=Text("每层把边长减半。", "Each of them halves the sides."),
    )  # fmt: skip
    draws: int = integer(
        40, 5, 48, advanced=True, label=Text("重复次数", "Draws"),
        help=Text("随机的输入和权重有几组。", "How many draws of inputs and weights."),
    )  # fmt: skip


PRESETS = {
    "drift": Preset(
        Text("2×2 与 3×3", "2×2 against 3×3"),
        Text("8 层相等权重的卷积：亮点跑了多远？", "8 convolutions with equal weights: how far does the bright pixel move?"),
        {"task": "shift"},
        "textbook",
    ),
    "random": Preset(
        Text("随机权重", "Random weights"),
        Text("手写数字经过 8 层随机正负的 4×4 卷积加 leaky ReLU，平均还漂多少？", "A digit through 8 random 4×4 layers with leaky ReLU: does the drift hold on average?"),
        {"task": "shift", "kernel": 4, "picture": "digit", "weights": "signed"},
    ),
    "stride": Preset(
        Text("步幅为 2", "Stride 2"),
        Text("下采样和反卷积：这回谁没对齐？", "Halving and transposed convolution: which one is off now?"),
        {"task": "halving"},
        "limits",
        look_for=Text(
            "看一个输出看到的区域，它的中心与边上的标记（该输出代表的像素块）对得上吗，哪种核偏了，是否越叠越偏？再看反卷积的覆盖：哪种核处处一样，哪种有深有浅？",
            "See whether the region that one output sees is centred on the marks (the block of pixels it stands for), which kernels are off, and whether that adds up with the layers. Then look at the transposed convolution: which kernels cover every pixel alike, and which do not?",
        ),
    ),
}  # fmt: skip

WU = Source(
    "Convolution with even-sized kernels and symmetric padding",
    "Shuang Wu, Guanrui Wang, Pei Tang, Feng Chen, Luping Shi",
    2019,
    "https://arxiv.org/abs/1903.08385",
)
ODENA = Source(
    "Deconvolution and Checkerboard Artifacts", "Augustus Odena, Vincent Dumoulin, Chris Olah", 2016, "https://distill.pub/2016/deconv-checkerboard/"
)  # fmt: skip


# ---- stacks at stride 1 ----------------------------------------------------------------------------------------------


def padded(x: Tensor, k: int, scheme: str, layer: int) -> Tensor:
    """x (D, C, n, n) with k − 1 more rows and columns of zeros. `side`: what cannot be shared equally comes last, as PyTorch's "same" does;
    `alternate`: last and first by turns; `corners`: each quarter of the channels towards another corner (Wu et al.)."""
    few, many = (k - 1) // 2, k - 1 - (k - 1) // 2
    pad: Callable[..., Tensor] = torch.nn.functional.pad
    if scheme == "corners":
        fronts = [(few, few), (many, few), (few, many), (many, many)]
        return torch.cat([pad(part, (a, k - 1 - a, b, k - 1 - b)) for part, (a, b) in zip(x.chunk(4, 1), fronts, strict=True)], 1)
    front = many if scheme == "alternate" and layer % 2 else few
    return pad(x, (front, k - 1 - front, front, k - 1 - front))


def drawn_weights(kind: str, draws: int, k: int, generator: torch.Generator) -> Tensor:
    """Kernels (D, C, C, k, k), another one for each draw. Those without a sign add up to 1 for each output channel."""
    shape = (draws, CHANNELS, CHANNELS, k, k)
    if kind == "signed":
        return torch.randn(shape, generator=generator) * math.sqrt(2 / (CHANNELS * k * k))
    weights = torch.rand(shape, generator=generator) if kind == "positive" else torch.ones(shape)
    return weights / weights.sum((2, 3, 4), keepdim=True)


def convolved(x: Tensor, weights: Tensor, scheme: str, layer: int) -> Tensor:
    """One layer for all draws at once: x (D, C, n, n), weights (D, C, C, k, k); each draw is a group of the convolution."""
    draws, channels, n, _ = x.shape
    k = weights.shape[-1]
    wide = padded(x, k, scheme, layer).view(1, draws * channels, n + k - 1, n + k - 1)
    out = torch.nn.functional.conv2d(wide, weights.view(draws * channels, channels, k, k), groups=draws)
    return torch.nn.functional.leaky_relu(out.view(draws, channels, n, n), 0.2)


def centre_of_mass(x: Tensor) -> Tensor:
    """Row and column (D, 2) of the centre of |x|, summed over the channels of x (D, C, n, n), in float64 on the CPU."""
    mass = x.abs().sum(1).cpu().double()
    at = torch.arange(mass.shape[1], dtype=torch.float64)
    total = mass.sum((1, 2)).clamp_min(1e-300)
    return torch.stack([(mass.sum(2) * at).sum(1) / total, (mass.sum(1) * at).sum(1) / total], 1)


def drift_in_theory(k: int, scheme: str, layers: int) -> float:
    """Pixels towards the top left after so many layers."""
    odd_out = 0.5 * (k % 2 == 0)
    return {"side": layers * odd_out, "alternate": (layers % 2) * odd_out, "corners": 0.0}[scheme]


def receptive_field(k: int, layers: int) -> int:
    """How many pixels across an output of a stack sees: the width of what an impulse turns into."""
    x = torch.zeros(1, CHANNELS, 2 * layers * k + 1, 2 * layers * k + 1)
    x[..., layers * k, layers * k] = 1
    for layer in range(layers):
        x = convolved(x, torch.ones(1, CHANNELS, CHANNELS, k, k), "side", layer)
    return int((x[0, 0] != 0).any(0).sum())


def weights_of(k: int) -> int:
    """Weights of a k×k convolution for each pair of an input and an output channel, counted in a layer of 8 by 8."""
    layer = torch.nn.Conv2d(8, 8, k, bias=False, device="meta")
    return sum(parameter.numel() for parameter in layer.parameters()) // 64


def _inputs(p: KernelParity, size: int, generator: torch.Generator) -> Tensor:
    """Pictures (D, C, size, size), the same in all channels: a bright pixel or a digit near the middle of the canvas."""
    x = torch.zeros(p.draws, CHANNELS, size, size)
    places = (size // 2 + torch.randint(-2, 3, (p.draws, 2), generator=generator)).tolist()
    if p.picture == "digit":
        digits = load_digits(generator=generator).train_x
        ink = (digits - digits.amin(0)).view(-1, 8, 8)  # every pixel is blank in some digit
        for draw, (row, column) in enumerate(places):
            x[draw, :, row - 4 : row + 4, column - 4 : column + 4] = ink[draw]
    else:
        for draw, (row, column) in enumerate(places):
            x[draw, :, row, column] = 1
    return x


# ---- pictures --------------------------------------------------------------------------------------------------------


def _picture(name: Text, pixels: Tensor, centre: Sequence[float], reach: float) -> Image:
    """The surroundings of a point, the brightest pixel 1, with marks of the other colour at the rim in line with that point."""
    shown = pixels.cpu().float()
    shown = shown / shown.max().clamp_min(1e-30)
    spans = [(max(0, math.ceil(c - reach)), min(len(shown) - 1, math.floor(c + reach))) for c in centre]
    (top, bottom), (left, right) = spans
    shown = shown[top : bottom + 1, left : right + 1].clone()
    for row in {math.floor(centre[0]) - top, math.ceil(centre[0]) - top}:
        shown[row, :2] = shown[row, -2:] = -0.7
    for column in {math.floor(centre[1]) - left, math.ceil(centre[1]) - left}:
        shown[:2, column] = shown[-2:, column] = -0.7
    return Image(name, shown)


def _grid(title: Text, images: Sequence[Image], summary: Text) -> ImageGrid:
    return ImageGrid(title, tuple(images), summary, low=-1, high=1, diverging=True, columns=4)


def _curve(name: Text, role: Role, values: Tensor) -> Line:
    """Mean and interval over draws of values (D, points), against 0, 1, 2, …"""
    mean, low, high = mean_and_band(values.tolist())
    return Line(name, role, range(values.shape[1]), mean, low, high, style="dots+line")


# ---- stride 1 --------------------------------------------------------------------------------------------------------


def _stacks(p: KernelParity) -> list[tuple[int, str]]:
    """Kernel size and padding of each stack: all sizes padded on one side, then the chosen size with both cures."""
    return [*((k, "side") for k in SIZES), (p.kernel, "corners"), (p.kernel, "alternate")]


def _shown(p: KernelParity) -> list[tuple[Text, Role, int]]:
    """Name, colour and stack of those that are drawn."""
    k = p.kernel
    own = Text(f"{k}×{k} 单侧填充", f"{k}×{k} one side") if k % 2 == 0 else Text(f"{k}×{k} 两侧相等", f"{k}×{k} centred")
    names: list[tuple[Text, Role, int]] = [(own, "second", k - 1), (same("3×3"), "baseline", 2)] if k != 3 else [(own, "second", 2)]
    return [
        *names,
        (Text(f"{k}×{k} 四角填充", f"{k}×{k} corners"), "third", 6),
        (Text(f"{k}×{k} 交替填充", f"{k}×{k} by turns"), "fourth", 7),
    ]


def _run_shift(p: KernelParity, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    stacks = _stacks(p)
    size = 2 * (p.depth * max(3, p.kernel // 2) + 8) + 1
    start = _inputs(p, size, generator).to(device)
    origin = centre_of_mass(start)
    maps = [start] * len(stacks)
    drifts = torch.full((len(stacks), p.draws, p.depth + 1), math.nan, dtype=torch.float64)
    drifts[:, :, 0] = 0
    reach = 3 + p.depth / 2 + 2.2 * math.sqrt(p.depth * (p.kernel**2 - 1) / 12 + 4 * (p.picture == "digit"))

    def charts(layer: int) -> tuple[Chart, ...]:
        images = [_picture(name, maps[i][0].abs().sum(0), origin[0].tolist(), min(reach, 28)) for name, _, i in _shown(p)]
        ours, others = (_px(float(drifts[i, :, layer].mean())) for i in (p.kernel - 1, 2))
        told = Text(
            f"{layer} 层以后，{p.kernel}×{p.kernel} 单侧填充的重心漂了 {ours} 像素，3×3 漂了 {others} 像素。",
            f"After {layer} layers the centre of mass has moved {ours} pixels with {p.kernel}×{p.kernel}, {others} with 3×3.",
        )
        seen = Text(
            "颜色越浓，激活越大；四边的标记对准图案出发的位置。",
            "The stronger the colour, the larger the activation; the marks at the rim are in line with where it began.",
        )
        theory = Line(Text("理论", "theory"), "theory", [0, p.depth], [0, drift_in_theory(p.kernel, "side", p.depth)])
        lines = [_curve(name, role, drifts[i, :, : layer + 1]) for name, role, i in _shown(p)]
        paths = LineChart(
            Text("重心漂移与层数", "Drift of the centre of mass"),
            Axis(Text("层", "layer"), low=0, high=p.depth),
            Axis(Text("向左上的漂移（像素/轴）", "drift to the top left (px per axis)"), low=-1, high=p.depth / 2 + 1),
            (*lines, theory),
            told,
        )
        done = max(layer, 1)
        each = [mean_and_spread((drifts[i, :, layer] / done).tolist()) for i in range(len(SIZES))]
        bars = BarChart(
            Text("每层漂移与核尺寸", "Drift a layer by kernel size"),
            tuple(same(f"{k}×{k}") for k in SIZES),
            Axis(Text("每层漂移（像素）", "drift a layer (px)"), low=-0.2, high=0.8),
            (Bars(Text("实测", "measured"), "second", [round(mean, 3) for mean, _ in each], [spread or 0 for _, spread in each]),),
            Text("单侧填充；理论上偶数核 0.5，奇数核 0。", "Padded on one side; theory says 0.5 for even kernels and 0 for odd ones."),
        )
        return (
            _grid(Text(f"第 {layer} 层的特征图（边上的标记是起点）", f"Layer {layer} (marks: where it began)"), images, seen),
            paths,
            bars,
        )

    yield Snapshot(0, Text("就绪", "Ready"), charts(0))
    pace = Pace()
    for layer in range(p.depth):
        moved = []
        for i, (k, scheme) in enumerate(stacks):
            out = convolved(maps[i], drawn_weights(p.weights, p.draws, k, generator).to(device), scheme, layer)
            drifts[i, :, layer + 1] = (origin - centre_of_mass(out)).mean(1)
            moved.append(out)
            if pace.due():
                share = (layer + (i + 1) / len(stacks)) / p.depth
                yield Snapshot(0.99 * share, Text(f"第 {layer + 1}/{p.depth} 层", f"layer {layer + 1} of {p.depth}"), charts(layer))
        maps = moved
        yield Snapshot(
            0.99 * (layer + 1) / p.depth, Text(f"第 {layer + 1}/{p.depth} 层", f"layer {layer + 1} of {p.depth}"), charts(layer + 1)
        )
    figures, outcome = judge_shift(p, drifts[:, :, -1])
    yield Snapshot(1, Text("完成", "Done"), charts(p.depth), figures, outcome)


def _px(pixels: float) -> str:
    """A length in a text: nothing finer than a hundredth of a pixel."""
    return f"{pixels:.2g}" if abs(pixels) >= 0.005 else "0"


def judge_shift(p: KernelParity, drifts: Tensor) -> tuple[tuple[Figure, ...], Outcome]:
    """drifts (stacks, D): pixels moved after all layers, for the stacks of `_stacks`.

    Reproduced: each stack's mean lies within TOLERANCE · layers of theory. Same direction: even kernels padded on one side drift by at least a quarter of a
    pixel a layer more than odd ones. Otherwise not at this scale.
    """
    stacks, k = _stacks(p), p.kernel
    means = drifts.mean(1).tolist()
    gap = max(abs(mean - drift_in_theory(*stack, p.depth)) for mean, stack in zip(means, stacks, strict=True)) / p.depth
    apart = (sum(means[1:6:2]) - sum(means[0:6:2])) / 3 / p.depth
    status: Status = "reproduced" if gap <= TOLERANCE[p.weights] else "same_direction" if apart >= 0.25 else "not_at_this_scale"
    each = [mean_and_spread((row / p.depth).tolist()) for row in drifts.round(decimals=5)]  # finer than that is rounding
    pixel = Text("像素/层", "px a layer")
    figures = (
        Figure(Text(f"{k}×{k} 单侧填充的漂移", f"Drift of {k}×{k}, padded on one side"), *each[k - 1], pixel),
        Figure(Text("3×3 的漂移", "Drift of 3×3"), *each[2], pixel),
        Figure(Text(f"{k}×{k} 四角填充的漂移", f"Drift of {k}×{k}, padded at four corners"), *each[6], pixel),
        Figure(Text(f"{k}×{k} 交替填充的漂移", f"Drift of {k}×{k}, padded by turns"), *each[7], pixel),
        Figure(Text("与理论的最大差距", "Largest distance from theory"), gap, None, pixel),
        Figure(Text("两层 3×3 的感受野", "Receptive field of two layers of 3×3"), receptive_field(3, 2), None, Text("像素", "px")),
        Figure(Text("一层 5×5 ÷ 两层 3×3：权重数", "One 5×5 ÷ two layers of 3×3: weights"), weights_of(5) / (2 * weights_of(3)), None, "×"),
    )
    published = Text(
        "偶数核（2×2、4×4）一侧多补一格，每层移半个像素并逐层累积；分四组朝四个方向填充就能消除",
        "even kernels (2×2, 4×4) padded on one side shift the map by half a pixel a layer, and it adds up; padding four groups towards four sides removes it",
    )
    marks = {"none": 0.0, "half": 0.5, "grows": p.depth / 2, "full": float(p.depth)}
    answer = min(marks, key=lambda key: abs(marks[key] - abs(means[k - 1])))
    return figures, Outcome(Verdict(status, figures[0], published, WU, _explain_shift(p, means, each[2][1] or 0.0, status)), answer)


def _explain_shift(p: KernelParity, means: Sequence[float], spread: float, status: Status) -> Text:
    k, total = p.kernel, means[p.kernel - 1]
    if k % 2 == 0:
        few, many = (k - 1) // 2, k // 2
        why = Text(
            f"{k}×{k} 要补 {k - 1} 格，一侧 {few} 格、一侧 {many} 格：输出 i 的感受野中心在 i + {(k - 1) / 2:g} − {few} = i + ½。每层都偏半个像素，{p.depth} 层后实测漂了 "
            f"{total:.3g} 像素（理论 {p.depth / 2:g}）。四角填充漂 {_px(means[6])}，交替填充漂 {_px(means[7])}：半个像素还在，只是互相抵消了。",
            f"{k}×{k} pads {k - 1} in all, {few} on one side and {many} on the other, so the receptive field of output i is centred at i + {(k - 1) / 2:g} − {few} = i + ½. That adds up: "
            f"{total:.3g} pixels after {p.depth} layers (theory: {p.depth / 2:g}). Padded at four corners it is {_px(means[6])}, by turns {_px(means[7])}: the half pixels "
            "are still there, but cancel. ",
        )
    else:
        why = Text(
            f"{k} 是奇数，两侧各补 {(k - 1) // 2} 格，感受野正好以输出为中心：{p.depth} 层后只漂了 {_px(total)} 像素。条形图里，偶数核每层都漂约半个像素。",
            f"{k} is odd: with {(k - 1) // 2} on either side every receptive field is centred on its output, and after {p.depth} layers the map has moved {_px(total)} pixels. Even kernels "
            "move by about half a pixel a layer (bars). ",
        )
    if p.weights == "equal":
        seen, few, many = receptive_field(3, 2), 2 * weights_of(3), weights_of(5)
        note = Text(
            f"权重相等时这是精确的算术，与输入无关。3×3 是能看到邻居的最小奇数核：叠两层，感受野宽 {seen} 像素，与 5×5 相同，权重却是 {few}C² 对 {many}C²（C 为通道数）。",
            f"With equal weights this is exact arithmetic, whatever the input. 3×3 is the smallest odd kernel that sees any neighbours: two layers see {seen} pixels across, as 5×5 does, "
            f"with {few}C² weights for C channels instead of {many}C².",
        )
    else:
        note = Text(
            f"权重随机时，这只在平均意义上成立：各次重复并不相同（3×3 的平均漂移也有 ±{spread:.2g} 像素/层的区间），所以奇数核只保证感受野居中，不保证特征不动。",
            f"With random weights it holds on average only: draws differ (even the mean drift of 3×3 has an interval of ±{spread:.2g} pixels a layer), so an odd kernel centres the "
            "receptive field but does not pin the features down.",
        )
    if status != "reproduced":
        note = Text(
            note.zh + "这一次至少有一组的平均值离理论较远：重复次数太少，或层数太少。",
            note.en + " This time at least one stack lies far from theory: too few draws, or too few layers.",
        )
    return why + note


# ---- stride 2 --------------------------------------------------------------------------------------------------------


def coverage(k: int, device: torch.device) -> Tensor:
    """How many inputs each pixel (12, 12) in the middle of a transposed convolution of stride 2 receives from."""
    ones = torch.ones(1, 1, 12, 12, device=device)
    return torch.nn.functional.conv_transpose2d(ones, torch.ones(1, 1, k, k, device=device), stride=2)[0, 0, 6:18, 6:18].cpu()


def looked_at(field: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """What `field` (D, n, n) looks at one layer of stride 2 further down (D, 2n, 2n): the transposed convolution with random non-negative kernels.

    Padding is (k − 1)/2, rounded down, on both sides, so that every k halves the size exactly.
    """
    draws, p = len(field), (k - 1) // 2
    weights = torch.rand(draws, 1, k, k, generator=generator)
    weights = (weights / weights.sum((1, 2, 3), keepdim=True)).to(field.device)
    out = torch.nn.functional.conv_transpose2d(field[None], weights, stride=2, padding=p, output_padding=k % 2, groups=draws)
    return out[0]


def _run_halving(p: KernelParity, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    top = 7
    fields = [torch.zeros(p.draws, top, top, device=device) for _ in HALVING]
    for field in fields:
        field[:, top // 2, top // 2] = 1
    offsets = torch.zeros(len(HALVING), p.draws, p.levels + 1, dtype=torch.float64)
    covers = {k: coverage(k, device) for k in (2, 3, 4, 5, 6)}
    uneven = {k: float(cover.max() / cover.min()) for k, cover in covers.items()}
    roles: tuple[Role, ...] = ("first", "baseline", "second", "fourth")

    def charts(level: int) -> tuple[Chart, ...]:
        centre = [top // 2 * 2**level + (2**level - 1) / 2] * 2
        images = [_picture(same(f"{k}×{k}"), field[0], centre, max(3, 2 * 2**level)) for k, field in zip(HALVING, fields, strict=True)]
        images += [Image(Text(f"反卷积 {k}×{k}", f"transposed {k}×{k}"), covers[k] / covers[k].max()) for k in HALVING]
        off = [_px(float(row[:, level].mean())) for row in offsets]
        told = Text(
            f"{level} 层步幅 2 之后：偏离像素块中心，3×3 为 {off[1]} 像素，4×4 为 {off[2]} 像素。",
            f"After {level} layers of stride 2: off the centre of its block by {off[1]} pixels with 3×3, {off[2]} with 4×4.",
        )
        at = list(range(p.levels + 1))
        lines = [_curve(same(f"{k}×{k}"), role, offsets[i, :, : level + 1]) for i, (k, role) in enumerate(zip(HALVING, roles, strict=True))]
        theory = [
            Line(Text("理论：奇数", "theory: odd"), "theory", at, [(2**at_level - 1) / 2 for at_level in at]),
            Line(Text("理论：偶数", "theory: even"), "theory", at, [0 for _ in at]),
        ]
        line = LineChart(
            Text("感受野偏离多少", "How far off the receptive field is"),
            Axis(Text("步幅 2 的层数", "layers of stride 2"), low=0, high=p.levels),
            Axis(Text("偏离（输入像素）", "off (input pixels)"), low=-1, high=2 ** (p.levels - 1) + 1),
            (*theory, *lines),
            told,
        )
        bars = BarChart(
            Text("反卷积的覆盖：最多 ÷ 最少", "Transposed: most ÷ least covered"),
            tuple(same(f"{k}×{k}") for k in uneven),
            Axis(Text("倍", "ratio"), low=0, high=4.5),
            (Bars(Text("实测", "measured"), "second", list(uneven.values())),),
            Text("偶数核处处均匀，奇数核出现棋盘格。", "Even kernels cover evenly, odd ones in a checkerboard."),
        )
        title = Text(
            "一个输出看到的区域（标记：它代表的像素块）与反卷积的覆盖", "What one output sees (marks: its block), and transposed coverage"
        )
        seen = Text(
            "上排：一个输出看到的输入像素，标记对准它代表的像素块的中心。下排：反卷积时每个像素被覆盖的次数。",
            "Above: the input pixels that one output sees; the marks are in line with the centre of its block. Below: how often a transposed convolution covers each pixel.",
        )
        return _grid(title, images, seen), line, bars

    yield Snapshot(0, Text("就绪", "Ready"), charts(0))
    for level in range(p.levels):
        fields = [looked_at(field, k, generator) for k, field in zip(HALVING, fields, strict=True)]
        block = top // 2 * 2 ** (level + 1) + (2 ** (level + 1) - 1) / 2
        for i, field in enumerate(fields):
            offsets[i, :, level + 1] = block - centre_of_mass(field[:, None]).mean(1)
        yield Snapshot(0.99 * (level + 1) / p.levels, Text(f"第 {level + 1} 层", f"layer {level + 1}"), charts(level + 1))
    figures, outcome = judge_halving(p, offsets[:, :, -1], uneven)
    yield Snapshot(1, Text("完成", "Done"), charts(p.levels), figures, outcome)


def judge_halving(p: KernelParity, offsets: Tensor, uneven: dict[int, float]) -> tuple[tuple[Figure, ...], Outcome]:
    """offsets (kernels, D): how far the receptive field is off its block in input pixels; uneven: most ÷ least coverage by kernel size.

    Reproduced: coverage is even (exactly 1) for the kernels that stride 2 divides and for no other, and the mean offsets lie within 0.1 · (2^levels − 1) pixels
    of theory: 0 for even kernels, half of 2^levels − 1 for odd ones. Same direction: only the coverage is as it should be. Otherwise not at this scale.
    """
    reach = 2**p.levels - 1
    means = dict(zip(HALVING, offsets.mean(1).tolist(), strict=True))
    covered = all((abs(ratio - 1) < 1e-6) == (k % 2 == 0) for k, ratio in uneven.items())
    aligned = all(abs(mean - (k % 2) * reach / 2) <= 0.1 * reach for k, mean in means.items())
    status: Status = "not_at_this_scale" if not covered else "reproduced" if aligned else "same_direction"
    pixel = Text("像素", "px")
    figures = (
        Figure(Text("4×4 反卷积：最多 ÷ 最少的覆盖", "4×4 transposed: most ÷ least coverage"), uneven[4], None, "×"),
        Figure(Text("3×3 反卷积：最多 ÷ 最少的覆盖", "3×3 transposed: most ÷ least coverage"), uneven[3], None, "×"),
        *[
            Figure(Text(f"{k}×{k} 步幅 2：感受野偏离", f"{k}×{k} at stride 2: off its block by"), *mean_and_spread(row.tolist()), pixel)
            for k, row in zip(HALVING, offsets, strict=True)
        ],
    )
    published = Text(
        "核尺寸不能被步幅整除时，反卷积的覆盖不均匀（棋盘格）；能整除时处处均匀",
        "transposed convolution overlaps unevenly (a checkerboard) where the stride does not divide the kernel size, and evenly where it does",
    )
    explanation = Text(
        f"既要两侧填充相等，又要对得齐地减半，须有 2p = k − 2，即核与步幅同奇偶。3×3 只能取 p = 1，每层偏半个像素（以该层的像素计），{p.levels} 层累积成 {means[3]:.2g} 个输入像素（理论 "
        f"{reach / 2:g}）；4×4 为 {_px(means[4])}，2×2 为 {_px(means[2])}。反卷积时，3×3 的覆盖次数最多相差 {uneven[3]:.2g} 倍，4×4 处处相同。“用奇数核”只对步幅 1 成立；ViT 的切块、2×2 池化、核 4 步幅 2 "
        "的反卷积用的都是偶数核。不过，学到的权重可以部分弥补这两种偏差。",
        f"Equal padding and aligned halving ask for 2p = k − 2, so kernel and stride must both be even (or both odd). A 3×3 has to take p = 1 and is off by half a pixel of each layer, which adds up to "
        f"{means[3]:.2g} input pixels over {p.levels} layers (theory: {reach / 2:g}); 4×4 is off by {_px(means[4])}, 2×2 by {_px(means[2])}. Transposed, 3×3 covers some pixels {uneven[3]:.2g} times "
        "as much as others, 4×4 all alike. “Use odd kernels” is a rule for stride 1; ViT patches, 2×2 pooling and transposed 4×4 kernels at stride 2 are all even. Learnt weights can make "
        "up for part of either.",
    )
    off = {"odd": abs(means[3]) > 2 * abs(means[4]) + 0.1, "even": abs(means[4]) > 2 * abs(means[3]) + 0.1}
    answer = "odd" if off["odd"] else "even" if off["even"] else "neither"
    return figures, Outcome(Verdict(status, figures[0], published, ODENA, explanation), answer)


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: KernelParity) -> Prediction:
    if p.task == "halving":
        return Prediction(
            Text(f"{p.levels} 层步幅 2、两侧填充相等：3×3 和 4×4 谁的感受野偏离了它代表的像素块？", f"{p.levels} layers of stride 2 with equal padding: whose receptive field is off its block, 3×3's or 4×4's?"),
            {"odd": same("3×3"), "even": same("4×4"), "neither": Text("都没有", "neither's")},
        )  # fmt: skip
    k, half = p.kernel, p.depth / 2
    kind = {
        "equal": Text("权重相等", "equal weights"),
        "positive": Text("权重随机非负", "random positive weights"),
        "signed": Text("权重随机", "random weights"),
    }
    return Prediction(
        Text(
            f"{p.depth} 层 {k}×{k} 卷积（{kind[p.weights].zh}，padding='same'），重心平均沿每个轴漂多远？",
            f"{p.depth} convolutions of {k}×{k} ({kind[p.weights].en}, padding='same'): how far does the centre of mass move along each axis, on average?",
        ),
        {
            "none": Text("几乎不动", "hardly at all"),
            "half": Text("半个像素，不累积", "half a pixel, it does not add up"),
            "grows": Text(f"{half:g} 像素", f"{half:g} pixel{'s' * (half != 1)}"),
            "full": Text(f"{p.depth} 像素", f"{p.depth} pixels"),
        },
    )


def run(parameters: KernelParity, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from {"shift": _run_shift, "halving": _run_halving}[parameters.task](parameters, device, generator)


_SHIFT_CODE = """\
import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)
LAYERS, WEIGHTS = {depth}, "{weights}"

def centre(x):  # of mass, along the rows
    mass = x.abs().sum((0, 1, 3))
    return ((mass * torch.arange(len(mass))).sum() / mass.sum()).item()

for k in sorted({{3, {kernel}}}):
    drifts = []
    for draw in range(12):
        x = torch.zeros(1, 4, 24 * 6 + 9, 24 * 6 + 9)
        x[..., 76, 76] = 1
        begin = centre(x)
        for layer in range(LAYERS):
            conv = nn.Conv2d(4, 4, k, bias=False)
            few = (k - 1) // 2  # what padding="same" puts in front; the rest comes last
            with torch.no_grad():
                if WEIGHTS == "equal":
                    conv.weight.fill_(1 / (4 * k * k))
                elif WEIGHTS == "positive":
                    conv.weight.uniform_(0, 1).div_(conv.weight.sum((1, 2, 3), keepdim=True))
                else:
                    nn.init.kaiming_normal_(conv.weight)
                x = nn.functional.leaky_relu(conv(nn.functional.pad(x, (few, k - 1 - few, few, k - 1 - few))), 0.2)
        drifts.append((begin - centre(x)) / LAYERS)
    drifts = torch.tensor(drifts)
    print(f"{{k}}x{{k}}: {{drifts.mean():.4f}} pixels a layer, standard deviation {{drifts.std():.4f}}")
"""
_HALVING_CODE = """\
import torch
from torch import nn

LEVELS = {levels}
for k in (2, 3, 4, 5):
    x = torch.zeros(1, 1, 7 * 2**LEVELS, 7 * 2**LEVELS, requires_grad=True)
    h = x
    for level in range(LEVELS):
        h = nn.functional.conv2d(h, torch.ones(1, 1, k, k), stride=2, padding=(k - 1) // 2)
    h[0, 0, 3, 3].backward()  # what does the middle output see?
    seen = x.grad[0, 0].sum(1)
    centre = (seen * torch.arange(len(seen))).sum() / seen.sum()
    block = 3 * 2**LEVELS + (2**LEVELS - 1) / 2
    cover = nn.functional.conv_transpose2d(torch.ones(1, 1, 12, 12), torch.ones(1, 1, k, k), stride=2)[0, 0, 6:18, 6:18]
    print(f"{{k}}x{{k}}: off its block by {{block - centre:.3f}} pixels; transposed: most / least covered {{cover.max() / cover.min():.3f}}")
"""


def code(p: KernelParity) -> str:
    return {"shift": _SHIFT_CODE, "halving": _HALVING_CODE}[p.task].format(**p.values())


DEMO = Demo(
    topic="architectures",
    title=Text("奇数核与偶数核", "Odd and even kernels"),
    question=Text("卷积核为什么多用奇数，偶数核错在哪里？", "Why are kernels odd, and what is wrong with even ones?"),
    look_for=Text(
        "先看每张特征图离边上的起点标记有多远，再看每层的漂移随核尺寸怎样变。",
        "Watch how far each map is from the marks of its start, then how the drift a layer goes with the kernel's size.",
    ),
    scaled_down=Text(
        "不训练网络，只用 4 个通道、相等或随机的权重测几何位置；论文在 CIFAR 和 ImageNet 上比较了训练后的准确率，这里没有重做。",
        "Nothing is trained: four channels with equal or random weights measure the geometry alone. The paper compared trained networks on CIFAR and ImageNet, which is not repeated here.",
    ),
    parameters=KernelParity,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=1,
)
