"""Activation functions (1.1): what each does to a gradient on its way back, which units die, and when the choice hardly matters.

Two experiments send a gradient through stacks of random layers (`_Stack`: six functions × draws of the weights at once); two train
networks on the digits (`_Training`: functions × rates × seeds at once).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Grid, Line, LineChart, PlaneChart, Role
from demos.core.datasets import Dataset, load_digits_or_own
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict, effect_status
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, flag, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import SGD, Adam, cross_entropy, error_rate
from demos.core.statistics import mean_and_band, mean_and_spread, ratio_interval
from demos.core.text import Text, joined, same

if TYPE_CHECKING:
    from torch import Tensor

Function = tuple["Callable[[Tensor], Tensor]", "Callable[[Tensor], Tensor]"]  # value and derivative
NAMES: dict[str, tuple[Text, Role]] = {
    "sigmoid": (same("sigmoid"), "baseline"),
    "tanh": (same("tanh"), "fourth"),
    "relu": (same("ReLU"), "first"),
    "leaky": (same("Leaky ReLU"), "second"),
    "gelu": (same("GELU"), "third"),
    "silu": (same("SiLU"), "warning"),
}
DRAWS, SAMPLES = 32, 16  # of the weights of a stack; inputs through each, the first of them all zeros
BATCH, LOOKS = 32, 10  # of a training: images in a step, looks at the networks
DEAD = 1e-3  # a unit is dead if its derivative is smaller than this on every training image
DONE = Text("完成", "Done")


def functions(slope: float) -> dict[str, Function]:
    """Name → (value, derivative), both element by element; `slope` is the leaky ReLU's on the negative side."""

    def steps(z: Tensor) -> Tensor:
        return torch.where(z > 0, torch.ones_like(z), slope)

    def bell(z: Tensor) -> Tensor:
        return (-z * z / 2).exp() / math.sqrt(2 * math.pi)

    return {
        "sigmoid": (lambda z: z.sigmoid(), lambda z: z.sigmoid() * (-z).sigmoid()),
        "tanh": (lambda z: z.tanh(), lambda z: 1 - z.tanh().square()),
        "relu": (lambda z: z.relu(), lambda z: (z > 0).to(z)),
        "leaky": (lambda z: z * steps(z), steps),
        "gelu": (torch.nn.functional.gelu, lambda z: (1 + torch.erf(z / math.sqrt(2))) / 2 + z * bell(z)),
        "silu": (lambda z: z * z.sigmoid(), lambda z: z.sigmoid() * (1 + z * (-z).sigmoid())),
    }


def each(kinds: Sequence[Callable[[Tensor], Tensor]], z: Tensor) -> Tensor:
    """z (K, …), cut into equal parts along K, one for each function."""
    return torch.cat([kind(part) for kind, part in zip(kinds, z.chunk(len(kinds)), strict=True)])


TRAINED = ("dying", "shallow")  # the modes that train networks


@dataclass(frozen=True)
class Activations(Parameters):
    task: str = mode_choice(
        "stack",
        {
            "stack": Text("梯度穿过多层", "gradient through a stack"),
            "dying": Text("死亡神经元", "dying units"),
            "shallow": Text("浅网络与深网络", "shallow and deep"),
        },
        label=Text("实验", "Experiment"),
        help=Text("从哪个角度比较激活函数。", "Which aspect of the functions to compare."),
    )
    depth: int = integer(20, 1, 50, label=Text("层数", "Layers"), help=Text("梯度要穿过多少层。", "How many layers the gradient passes through."), modes=("stack",))  # fmt: skip
    weights: str = choice(
        "unit", {"unit": Text("单位权重", "unit weights"), "he": Text("He / Xavier 初始化", "He / Xavier")}, label=Text("权重", "Weights"),
        help=Text(
            "单位权重：正交矩阵，只旋转、不伸缩；偏置使输入 0 在每一层都停在 z = 0。He / Xavier：高斯分布，方差 2/n（sigmoid、tanh 为 1/n），偏置为 0。",
            "Unit: orthogonal matrices, which rotate and never stretch; biases keep input 0 at z = 0 in every layer. He / Xavier: normal with variance 2/n (sigmoid, tanh: 1/n), biases 0.",
        ),
        modes=("stack",),
    )  # fmt: skip
    scale: float = real(
        1.0, 0.1, 10, log=True, label=Text("权重放大倍数", "Weights multiplied by"), help=Text("每一层的权重都乘以它。", "All weights are multiplied by it."), modes=("stack",)
    )  # fmt: skip
    width: int = integer(
        64, 2, 128, label=Text("每层单元数", "Units in a layer"), help=Text("网络又窄又深时，每次的结果相差很大。", "In narrow, deep stacks results vary a lot from draw to draw."), modes=("stack",)
    )  # fmt: skip
    spread: float = real(
        1.0, 0.1, 10, log=True, label=Text("输入的标准差", "Inputs' standard deviation"), help=Text("输入越大，第一层越饱和。", "Larger inputs saturate the first layer."),
        advanced=True, modes=("stack",),
    )  # fmt: skip
    layers: int = integer(2, 1, 5, label=Text("隐藏层数", "Hidden layers"), help=Text("在“浅网络与深网络”里指深的那个。", "In “shallow and deep”, those of the deep network."), modes=TRAINED)  # fmt: skip
    low: float = real(0.001, 1e-5, 0.01, log=True, label=Text("最小学习率", "Lowest rate"), help=Text("网格的左端。", "Left end of the grid."), modes=TRAINED)  # fmt: skip
    high: float = real(1.0, 0.02, 100, log=True, label=Text("最大学习率", "Highest rate"), help=Text("网格的右端。", "Right end of the grid."), modes=TRAINED)  # fmt: skip
    slope: float = real(0.01, 0, 1, label=Text("Leaky ReLU 的负斜率", "Leaky ReLU's slope"), help=Text("0 就是 ReLU，1 就是直线。", "0 is ReLU, 1 a straight line."))  # fmt: skip
    bias: float = real(
        0.0, -3, 3, step=0.1, label=Text("隐藏层初始偏置", "First hidden biases"), help=Text("负得多，一开始就有死的单元。", "Far below 0, units are dead from the start."), modes=("dying",)
    )  # fmt: skip
    centred: bool = flag(
        True, label=Text("输入减去均值", "Centred inputs"), help=Text("关掉后像素全为正，像 sigmoid 或 ReLU 的输出那样。", "If off, all pixels are positive, like the outputs of sigmoid or ReLU."), modes=("dying",)
    )  # fmt: skip
    optimizer: str = choice(
        "adam", {"adam": same("Adam"), "sgd": same("SGD")}, label=Text("优化器", "Optimiser"),
        help=Text("SGD 需要大约 30 倍的学习率，再大就会发散。", "SGD wants rates about 30 times as large, and diverges beyond."), advanced=True, modes=TRAINED,
    )  # fmt: skip
    steps: int = integer(200, 50, 400, step=50, label=Text("步数", "Steps"), help=Text("每个网络走多少步。", "Steps that each network takes."), advanced=True, modes=TRAINED)  # fmt: skip
    units: int = integer(32, 4, 48, label=Text("隐藏单元", "Hidden units"), help=Text("每个隐藏层的宽度。", "Width of each hidden layer."), advanced=True, modes=TRAINED)  # fmt: skip
    data: str = own_data("classes", modes=TRAINED)


PRESETS = {
    "unit-weights": Preset(
        Text("单位权重", "Unit weights"),
        Text("权重不放大也不缩小，剩下的全是激活函数的作用：20 层之后还有多少梯度？", "The weights neither grow nor shrink anything, so all that happens is the function's doing: how much gradient is left after 20 layers?"),
        {},
        "textbook",
    ),
    "he-init": Preset(
        Text("He 初始化", "He initialisation"),
        Text("每个函数配上惯用的初始化：ReLU 的梯度能否不消失也不爆炸？", "Each function with its usual initial weights: does ReLU's gradient neither vanish nor explode?"),
        {"weights": "he"},
    ),
    "sigmoid-4x": Preset(
        Text("4 倍权重", "Weights × 4"),
        Text("“sigmoid 必然梯度消失”？把权重放大 4 倍再看，也看看别的函数怎么样了。", "“Sigmoid's gradient must vanish”? Make the weights four times as large and look again, at the other functions too."),
        {"scale": 4.0},
        "limits",
    ),
    "dying": Preset(
        Text("死亡的 ReLU", "Dying ReLU"),
        Text("在数字上真实训练，学习率越来越大：多少单元从此不再激活？换成 Leaky ReLU 或 GELU 呢？", "Real training on the digits at larger and larger rates: how many units never fire again, and does leaky ReLU or GELU help?"),
        {"task": "dying"},
        "limits",
        look_for=Text(
            "看死亡单元的比例：三种函数里哪几条曲线随学习率上升，从多大的学习率开始，同样的学习率下测试错误率又怎样。再看“ReLU：单元何时死去”里的亮格子：单元是头几步就死了，还是慢慢死去的。",
            "Look at the share of dead units: which of the three curves rise with the rate, from what rate on, and what happens to the test error there? Then look at the bright cells of “ReLU: when the units die”: do they die in the first steps, or little by little?",
        ),
    ),
    "shallow": Preset(
        Text("浅网络：选谁都行", "Shallow: any will do"),
        Text("每个函数用自己最好的学习率，一个隐藏层与五个隐藏层各差多少？", "Each function at its own best rate: how far apart are they with one hidden layer, and with five?"),
        {"task": "shallow", "layers": 5, "high": 0.1},
        "limits",
        look_for=Text(
            "看柱子：六个函数各用自己最好的学习率，一个隐藏层时相差多少，五个隐藏层时又相差多少。再看错误率与学习率的曲线：各条的最低点是不是在同一个学习率上；要是大家共用一个学习率，比的还是函数吗？",
            "Look at the bars: with each function at its own best rate, how far apart are the six with one hidden layer, and how far with five? Then look at the curves of error against rate: do they have their lowest points at the same rate, and would one rate for all be a fair comparison of functions?",
        ),
    ),
}  # fmt: skip

NIELSEN = Source(
    "Neural Networks and Deep Learning, chapter 5", "Michael Nielsen", 2015, "https://neuralnetworksanddeeplearning.com/chap5.html"
)
HE = Source(
    "Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet Classification",
    "Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun",
    2015,
    "https://arxiv.org/abs/1502.01852",
)
CS231N = Source("CS231n notes: Neural Networks, part 1", "Andrej Karpathy and others", 2016, "https://cs231n.github.io/neural-networks-1/")
GELU = Source("Gaussian Error Linear Units (GELUs)", "Dan Hendrycks, Kevin Gimpel", 2016, "https://arxiv.org/abs/1606.08415")


# ---- a gradient through a stack of layers ----------------------------------------------------------------------------


class _Stack:
    """Random stacks of layers, the same weights under every function: one forward pass and one backward pass, layer by layer.

    In float64 on the CPU whatever the device, as the theory is to be met to 1e-9 over forty orders of magnitude. Activations are
    (functions, draws, units, samples). `norms` (functions, draws, samples) has one item for each layer passed back, the first of them 1.
    """

    def __init__(self, p: Activations, generator: torch.Generator) -> None:
        self.p, self._generator, kinds = p, generator, functions(p.slope)
        self._values, self._derivatives = [value for value, _ in kinds.values()], [slope for _, slope in kinds.values()]
        self._gains = torch.tensor([gain(name, p) for name in NAMES], dtype=torch.float64)[:, None, None, None]
        zeros = torch.zeros(len(NAMES), 1, 1, 1, dtype=torch.float64)
        self._rest = each(self._values, zeros) if p.weights == "unit" else zeros  # what input 0 becomes, taken off by the biases
        self._steepest = each(self._derivatives, torch.linspace(-5, 5, 101, dtype=torch.float64).expand(len(NAMES), 101)).amax(1)
        self._weights: list[Tensor] = []  # (draws, units, units)
        self._slopes: list[Tensor] = []  # f′ where each unit stands
        self.means: list[Tensor] = []  # of a layer's outputs, over their root mean square (functions,)
        self.shut: list[Tensor] = []  # share of units with a derivative below 5 % of the largest (functions,)
        inputs = p.spread * self._normal(DRAWS, p.width, SAMPLES)
        inputs[..., 0] = 0
        self._inputs = inputs.expand(len(NAMES), *inputs.shape)
        gradient = self._normal(DRAWS, p.width, SAMPLES)
        self._gradient = (gradient / gradient.norm(dim=1, keepdim=True)).expand_as(self._inputs)
        self.norms = [self._gradient.norm(dim=2)]

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator, dtype=torch.float64)

    def forward(self) -> None:
        """One more layer."""
        drawn = self._normal(DRAWS, self.p.width, self.p.width)
        self._weights.append(torch.linalg.qr(drawn)[0] if self.p.weights == "unit" else drawn / math.sqrt(self.p.width))
        z = torch.matmul(self._weights[-1], self._inputs) * self._gains
        outputs, slopes = each(self._values, z), each(self._derivatives, z)
        self._slopes.append(slopes)
        self.means.append(outputs.mean((1, 2, 3)) / outputs.square().mean((1, 2, 3)).sqrt().clamp_min(1e-300))
        self.shut.append((slopes.abs() < 0.05 * self._steepest[:, None, None, None]).double().mean((1, 2, 3)))
        self._inputs = outputs - self._rest

    def backward(self) -> None:
        """One layer back, from the last one on."""
        weights = self._weights[self.p.depth - len(self.norms)].transpose(1, 2)
        self._gradient = torch.matmul(weights, self._gradient * self._slopes.pop()) * self._gains
        self.norms.append(self._gradient.norm(dim=2))

    def typical(self) -> Tensor:
        """Root mean square of the norms over all samples but the zero one: (functions, layers passed + 1, draws)."""
        return torch.stack([norms[..., 1:].square().mean(2).sqrt() for norms in self.norms], 1)


def gain(name: str, p: Activations) -> float:
    """By what the layers multiply an orthogonal matrix, or a normal one of variance 1/n."""
    he = {"relu": 2**0.5, "gelu": 2**0.5, "silu": 2**0.5, "leaky": (2 / (1 + p.slope**2)) ** 0.5}
    return p.scale * (he.get(name, 1.0) if p.weights == "he" else 1.0)


def _run_stack(p: Activations, generator: torch.Generator) -> Iterator[Snapshot]:
    yield Snapshot(0, Text("抽取权重", "Drawing the weights"), _stack_charts(p, None))
    stack, pace = _Stack(p, generator), Pace()
    for layer in range(p.depth):
        stack.forward()
        if pace.due():
            status = Text(f"前向：第 {layer + 1}/{p.depth} 层", f"Forward: layer {layer + 1} of {p.depth}")
            yield Snapshot(0.5 * (layer + 1) / p.depth, status, _stack_charts(p, None))
    for layer in range(p.depth):  # a frame for each layer: the picture is the backward pass
        stack.backward()
        status = Text(f"反向：穿过了 {layer + 1}/{p.depth} 层", f"Backward: {layer + 1} of {p.depth} layers passed")
        yield Snapshot(0.5 + 0.49 * (layer + 1) / p.depth, status, _stack_charts(p, stack.typical()))
    typical = stack.typical()
    arrived, means, shut = typical[:, -1], torch.stack(stack.means).mean(0), 100 * torch.stack(stack.shut).mean(0)
    measured, outcome = _judge_unit(p, stack.norms[-1], arrived, means, shut) if p.weights == "unit" else _judge_he(p, arrived)
    yield Snapshot(1, DONE, _stack_charts(p, typical), (measured, *_stack_figures(arrived, means, shut)), outcome)


def _stack_charts(p: Activations, typical: Tensor | None) -> tuple[Chart, ...]:
    """The strip of the gradient by layers passed, and the curves behind it; `typical` is (functions, layers passed + 1, draws)."""
    reach = 10.0 ** min(15, max(3, math.ceil(0.6 * p.depth)))
    names, rows = list(NAMES.values()), [[math.nan] * (p.depth + 1) for _ in NAMES]
    told = Text("梯度还没有出发。", "The gradient has not started.")
    if typical is not None:
        passed = typical.shape[1]
        for row, curve in zip(rows, typical.tolist(), strict=True):
            row[:passed] = [_over_draws(ratios)[0] for ratios in curve]
        now = [(name, _told(row[passed - 1])) for (name, _), row in zip(names, rows, strict=True)]
        told = Text(
            f"穿过 {passed - 1} 层后剩下：" + "，".join(f"{name.zh} {value}" for name, value in now) + "。",
            f"Left after {passed - 1} layers: " + ", ".join(f"{name.en} {value}" for name, value in now) + ".",
        )
    labels = [name for name, _ in names]
    if p.weights == "unit":
        labels.insert(0, Text(f"上界 {p.scale / 4:.3g}ᵏ", f"bound {p.scale / 4:.3g}ᵏ"))
        rows.insert(0, [(p.scale / 4) ** k for k in range(p.depth + 1)])
    strip = PlaneChart(
        Text("梯度往回穿过各层：蓝色消失，橙色爆炸", "The gradient on its way back through the layers: blue has vanished, orange has exploded"),
        Axis(Text("从输出往回穿过的层数 k", "layers k passed back from the output"), low=-0.5, high=p.depth + 0.5),
        Axis(Text("激活函数", "activation"), names=tuple(reversed(labels))), told,
        Grid(Text("梯度 ÷ 输出端的梯度", "gradient ÷ gradient at the output"), rows[::-1], 1 / reach, reach, log=True, diverging=True),
    )  # fmt: skip
    return (strip, *_curves(p))


def _over_draws(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean and interval over the draws in which any gradient came through."""
    through = [ratio for ratio in ratios if ratio > 0]
    return ratio_interval(through) if through else (0.0, 0.0, 0.0)


def _curves(p: Activations) -> tuple[Chart, ...]:
    half = torch.linspace(1e-3, 6, 31, dtype=torch.float64)  # either side of 0, where ReLU's derivative jumps
    x = torch.cat([-half.flip(0), half])
    kinds = functions(p.slope)
    values, slopes = ([Line(*NAMES[name], x.tolist(), kind[i](x).tolist()) for name, kind in kinds.items()] for i in (0, 1))
    entry = Axis(Text("单元的输入 z", "a unit's input z"), low=-6, high=6)
    return (
        LineChart(
            Text("导数 f′(z)：往回每层乘一次", "Derivative f′(z): one factor per layer on the way back"), entry, Axis(same("f′(z)"), low=-0.2, high=1.2), tuple(slopes),
            Text(
                f"sigmoid 的导数最大 0.25，tanh 最大 1，两者向两端都趋于 0。ReLU 的只取 0 或 1；Leaky ReLU 与它只差在负侧：是 {p.slope:g}，不是 0。",
                f"Sigmoid's derivative reaches 0.25, tanh's 1; both fall to 0 on either side. ReLU's is 0 or 1; leaky ReLU's differs only on the negative side, where it is {p.slope:g} instead of 0.",
            ),
        ),
        LineChart(
            Text("函数值 f(z)", "Value f(z)"), entry, Axis(same("f(z)"), low=-1.2, high=6), tuple(values),
            Text("sigmoid 恒为正，tanh 以零为中心，其余在正侧不封顶。", "Sigmoid is always positive, tanh is centred on zero, the others have no ceiling."),
        ),
    )  # fmt: skip


def _stack_figures(typical: Tensor, means: Tensor, shut: Tensor) -> list[Figure]:
    """The gradient that arrives under each function; how far from zero-centred the outputs are, and the share of units that are shut."""
    figures = []
    for (name, _), ratios in zip(NAMES.values(), typical.tolist(), strict=True):
        mean, low, high = _over_draws(ratios)
        figures.append(Figure(Text(f"到达输入端的梯度：{name.zh}", f"Gradient at the input: {name.en}"), mean, (high - low) / 2, "×"))
    for i, (name, _) in enumerate(list(NAMES.values())[:3]):
        figures.append(Figure(Text(f"输出均值 ÷ 均方根：{name.zh}", f"Mean output ÷ root mean square: {name.en}"), float(means[i])))
        low_slope = Text(f"导数不到最大值 5% 的单元：{name.zh}", f"Units below 5 % of the largest derivative: {name.en}")
        figures.append(Figure(low_slope, float(shut[i]), None, "%"))
    return figures


def _judge_unit(p: Activations, norms: Tensor, typical: Tensor, means: Tensor, shut: Tensor) -> tuple[Figure, Outcome]:
    """Sigmoid's bound (scale/4)^depth. Reproduced: met by input 0 and exceeded by no input, both to 1e-9; there is no half-way.

    norms (functions, draws, samples) and typical (functions, draws) are those of the gradient at the input; means and shut (functions,) as in
    `_stack_figures`.
    """
    bound = (p.scale / 4) ** p.depth
    at_zero, largest = norms[0, :, 0], float(norms[0].max())
    holds = bool(((at_zero / bound - 1).abs() < 1e-9).all()) and largest <= bound * (1 + 1e-9)
    s, t, r = (_over_draws(typical[i].tolist())[0] for i in range(3))
    cut_off = _cut_off(typical[2])
    factor = "0.25" if p.scale == 1 else f"{p.scale:g} × 0.25 = {p.scale / 4:.3g}"
    met = (
        Text("实测与它的相对误差小于 10⁻⁹，没有一个输入超过它", "it is met to 1 part in 10⁹, and no input exceeds it")
        if holds
        else Text(f"实测却是 {_told(float(at_zero.mean()))}，最大 {_told(largest)}", f"measured {_told(float(at_zero.mean()))}, at most {_told(largest)}")
    )  # fmt: skip
    why = Text(
        f"输入为 0 时每个单元都停在 sigmoid 最陡处，每层恰好把梯度乘以 {factor}，{p.depth} 层之后是 {_told(bound)} 倍：{met.zh}。其余输入离开了最陡处，典型值 {_told(s)} 倍。",
        f"Input 0 keeps every unit where sigmoid is steepest, so each layer multiplies the gradient by exactly {factor}, which makes {_told(bound)} after {p.depth} layers: {met.en}. "
        f"Other inputs leave the steepest point; a typical one keeps {_told(s)}. ",
    )
    if p.scale >= 4:
        rest = Text(
            f"权重补足了 0.25，“sigmoid 必然梯度消失”就不成立了：σ(z) = ½ + ½·tanh(z/2)，它成了平移缩放过的 tanh。代价是偏置要把每层的输入对准零点，而且同样的权重把 tanh 的梯度变成 {_told(t)} 倍、ReLU 的变成 {_told(r)} 倍。"
            f"这时 tanh 有 {shut[1]:.0f}% 的单元是饱和的：饱和不等于消失，要看它与权重的乘积。激活函数要和初始化配对着选；He 初始化是为 ReLU 配的。",
            f"The weights make up for the 0.25, and “sigmoid's gradient must vanish” no longer holds: σ(z) = ½ + ½·tanh(z/2), so it is tanh, shifted and scaled. The price: biases that centre each layer's input; "
            f"and the same weights make tanh's gradient {_told(t)} times and ReLU's {_told(r)} times what it was, with {shut[1]:.0f} % of tanh's units saturated: what counts is derivative times weight. "
            "Function and initial weights are chosen as a pair; He's are ReLU's. ",
        )
    elif p.scale == 1:
        rest = Text(
            f"tanh 剩 {_told(t)} 倍：它的导数只在 0 处到 1。ReLU 剩 {_told(r)} 倍：它不饱和，但约一半单元关着，每层的梯度平方减半；He 初始化的 √2 正好补上，换那个预设看看。{cut_off.zh}"
            f"sigmoid 的输出恒正（均值 ÷ 均方根 {means[0]:.2f}），ReLU 也偏正（{means[2]:.2f}），tanh 以零为中心（{abs(float(means[1])):.2f}）。",
            f"Tanh keeps {_told(t)}, as its derivative reaches 1 only at 0. ReLU keeps {_told(r)}: it does not saturate, but about half of its units are off, which halves the squared gradient at each layer; "
            f"He's √2 makes up for that (see that preset). {cut_off.en}Sigmoid's outputs are all positive (mean ÷ root mean square {means[0]:.2f}), ReLU's lean that way ({means[2]:.2f}), tanh's are centred ({abs(float(means[1])):.2f}). ",
        )
    else:
        rest = Text(
            f"同样的权重下，tanh 的梯度是 {_told(t)} 倍，ReLU 的是 {_told(r)} 倍：权重与导数相乘才是每层的倍数。",
            f"With the same weights tanh's gradient is {_told(t)} times and ReLU's {_told(r)} times what it was: a layer's factor is weights times derivative. ",
        )
    scaled = Text(
        "原书是每层一个神经元，这里换成整层的正交矩阵。", "The book has one neuron a layer; here whole layers have orthogonal weights."
    )
    published = Text(
        "σ′ 最大为 σ′(0) = 1/4，|w| < 1 时每一项 |w·σ′(z)| < 1/4，乘积随层数指数减小；只有 |w| ≥ 4 才可能不减小",
        "σ′ is largest at σ′(0) = 1/4; with |w| < 1 each term |w·σ′(z)| < 1/4 and the product falls exponentially; only |w| ≥ 4 can stop that",
    )
    measured = Figure(Text("输入 0 处 sigmoid 的梯度", "Sigmoid's gradient at input 0"), float(at_zero.mean()), None, "×")
    status: Status = "reproduced" if holds else "not_at_this_scale"
    explanation = why + rest + scaled
    return measured, Outcome(Verdict(status, measured, published, NIELSEN, explanation), _size(s))


def _judge_he(p: Activations, typical: Tensor) -> tuple[Figure, Outcome]:
    """ReLU's factor for each layer, ratio^(1/depth), should be 1. Reproduced: its interval over draws lies within 0.9 … 1.1.

    Same direction: outside, but fewer orders of magnitude from 1 than sigmoid's gradient. In no draw may all of it be lost. typical (functions, draws).
    """
    ratios = [_over_draws(row.tolist()) for row in typical]
    relu, low, high = (value ** (1 / p.depth) for value in ratios[2])
    through, nearer = bool((typical[2] > 0).all()), _orders(ratios[2]) < _orders(ratios[0])
    status: Status = (
        "reproduced" if through and low >= 0.9 and high <= 1.1 else "same_direction" if through and nearer else "not_at_this_scale"
    )
    s, t, r, _, g, u = (_told(mean) for mean, _, _ in ratios)
    kept = {
        "reproduced": Text("既不消失也不爆炸", "it neither vanishes nor explodes"),
        "same_direction": Text("没有守住 1，但比 sigmoid 离 1 近", "that is not 1, but nearer to it than sigmoid's"),
        "not_at_this_scale": Text("没有守住 1", "that is not 1"),
    }[status]
    note = Text("", "")
    if p.scale != 1:
        note = Text(f"权重另乘了 {p.scale:g}，每层的倍数也就乘了 {p.scale:g}。", f"The weights were multiplied by another {p.scale:g}, and so is the factor. ")  # fmt: skip
    elif not through or p.depth > p.width:
        note = Text(
            f"{p.depth} 层、每层只有 {p.width} 个单元：理论管的是方差的平均，单个窄网络时大时小，几何平均因此偏低。{_cut_off(typical[2]).zh}",
            f"{p.depth} layers of only {p.width} units: theory speaks of the average variance, single narrow stacks scatter, and their geometric mean falls below it. {_cut_off(typical[2]).en}",
        )
    smooth = (
        Text("：系数 2 是为 ReLU 推导的，这两个函数在 0 附近的斜率只有 ½，小信号会越传越小。", ": the 2 was derived for ReLU, and near 0 these two have a slope of only ½, so that small signals go on shrinking. ")
        if ratios[5][0] < ratios[2][0] / 2
        else Text("。", ". ")
    )  # fmt: skip
    why = Text(
        f"ReLU 关掉一半单元，方差 2/n 补上这一半：{p.depth} 层之后梯度是 {r} 倍，合每层 {relu:.3f} 倍，{kept.zh}。{note.zh}同样深度下 sigmoid 剩 {s} 倍，tanh 剩 {t} 倍。"
        f"GELU 是 {g} 倍、SiLU 是 {u} 倍{smooth.zh}论文推导的是卷积层，这里量的是随机的全连接层。",
        f"ReLU shuts half of its units, and the variance 2/n makes up for them: after {p.depth} layers the gradient is {r} times what it was, {relu:.3f} per layer: {kept.en}. {note.en}"
        f"At the same depth sigmoid is left with {s}, tanh with {t}. GELU has {g} and SiLU {u}{smooth.en}The paper derives this for convolutional layers; these are random fully connected ones.",
    )
    published = Text(
        "½·n·Var[w] = 1 时梯度的方差逐层不变（每层 1 倍），不会指数地变大或变小",
        "½·n·Var[w] = 1 keeps the gradient's variance from layer to layer (a factor of 1): neither exponentially large nor small",
    )
    measured = Figure(Text("ReLU 的梯度每层乘以", "ReLU's gradient: factor per layer"), relu, (high - low) / 2, "×")
    return measured, Outcome(Verdict(status, measured, published, HE, why), _size(ratios[2][0]))


def _orders(ratios: tuple[float, float, float]) -> float:
    """How many orders of magnitude a mean ratio is from 1."""
    return abs(math.log10(ratios[0])) if ratios[0] > 0 else math.inf


def _cut_off(ratios: Tensor) -> Text:
    """In how many of the draws no gradient came through; nothing if there are none."""
    lost = int((ratios == 0).sum())
    return Text(f"{DRAWS} 个 ReLU 网络里有 {lost} 个整层关闭、梯度断流，没有算进平均。", f"In {lost} of {DRAWS} ReLU stacks whole layers were off and nothing came through; they are not in the mean. ") if lost else Text("", "")  # fmt: skip


def _told(value: float) -> str:
    """Two significant digits; a power of ten where plain digits would be hard to read."""
    if value == 0 or 0.001 <= value < 100_000 or not math.isfinite(value):
        return f"{value:.2g}" if value < 10 else f"{value:,.0f}"
    return f"{value:.1e}"  # which Text writes as a power of ten


def _size(ratio: float) -> str:
    return "tiny" if ratio < 1e-6 else "small" if ratio < 0.03 else "kept" if ratio <= 30 else "large"


# ---- networks in training --------------------------------------------------------------------------------------------


class _Training:
    """Functions × rates × seeds networks, K in all, function first. Networks of one seed start from the same draws and see the same batches.

    Activations are (K, units, samples). Weights are normal with He's (ReLU's kind) or Xavier's (sigmoid, tanh) variance.
    """

    def __init__(
        self,
        p: Activations,
        data: Dataset,
        names: Sequence[str],
        rates: Sequence[float],
        seeds: int,
        layers: int,
        generator: torch.Generator,
    ) -> None:
        self.data, self.device, self.layers = data, data.train_x.device, layers
        self.shape, self.count = (len(names), len(rates), seeds), len(names) * len(rates) * seeds
        kinds = functions(p.slope)
        self._values, self._derivatives = [kinds[name][0] for name in names], [kinds[name][1] for name in names]
        self._seed_of = torch.arange(seeds).repeat(len(names) * len(rates))
        gains = torch.tensor([gain(name, Activations(weights="he", slope=p.slope)) for name in names])
        gains = gains.repeat_interleave(len(rates) * seeds)[:, None, None]
        sizes = (data.features, *[p.units] * layers, data.classes)
        self.weights, self.biases = [], []  # (K, out, in), (K, out)
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            drawn = torch.randn(seeds, fan_out, fan_in, generator=generator)[self._seed_of] / math.sqrt(fan_in)
            self.weights.append((drawn * gains if i < layers else drawn).to(self.device))
            self.biases.append(torch.full((self.count, fan_out), p.bias if i < layers else 0.0, device=self.device))
        self._batches = torch.randint(len(data.train_y), (p.steps, seeds, BATCH), generator=generator)
        each_rate = torch.tensor(rates).repeat_interleave(seeds).repeat(len(names))
        self._optimizer = Adam(self, each_rate) if p.optimizer == "adam" else SGD(self, each_rate)

    def parameters(self) -> list[Tensor]:
        return [*self.weights, *self.biases]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits (K, classes, B) for x (B, F) or (K, B, F); the inputs of each layer, and those of each hidden activation, z."""
        h = x.expand(self.count, *x.shape[-2:]).transpose(1, 2)
        inputs, z = [h], []
        for weights, biases in zip(self.weights[:-1], self.biases[:-1], strict=True):
            z.append(torch.baddbmm(biases[..., None], weights, h))
            h = each(self._values, z[-1])
            inputs.append(h)
        return torch.baddbmm(self.biases[-1][..., None], self.weights[-1], h), inputs, z

    def gradients(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """Of the mean cross-entropy, in the order of `parameters`."""
        logits, inputs, z = self.forward(x)
        slope = cross_entropy(logits, y)[1]
        weights, biases = [], []
        for layer in range(self.layers, -1, -1):
            weights.append(torch.bmm(slope, inputs[layer].transpose(1, 2)))
            biases.append(slope.sum(2))
            if layer:
                slope = torch.bmm(self.weights[layer].transpose(1, 2), slope) * each(self._derivatives, z[layer - 1])
        return [*weights[::-1], *biases[::-1]]

    def step(self, i: int) -> None:
        batch = self._batches[i][self._seed_of].to(self.device)
        self._optimizer.step(self.gradients(self.data.train_x[batch], self.data.train_y[batch]))

    def dead(self) -> Tensor:
        """Share in % of each hidden layer's units that are dead, (functions, rates, seeds, layers); NaN in a network that diverged."""
        logits, _, z = self.forward(self.data.train_x)
        shares = torch.stack([(each(self._derivatives, layer).abs() < DEAD).all(2).float().mean(1) for layer in z], 1)
        diverged = ~logits.isfinite().flatten(1).all(1)
        return 100 * shares.masked_fill(diverged[:, None], math.nan).cpu().view(*self.shape, self.layers)

    def errors(self, x: Tensor, y: Tensor) -> Tensor:
        """Error in %, (functions, rates, seeds)."""
        return 100 * error_rate(self.forward(x)[0].transpose(1, 2), y).cpu().view(self.shape)


def _rates(p: Activations, count: int) -> list[float]:
    return [p.low * (p.high / p.low) ** (i / (count - 1)) for i in range(count)]


def _every(p: Activations) -> int:
    """Steps between two looks at the networks."""
    return math.ceil(p.steps / LOOKS)


RATE = Text("学习率（对数）", "learning rate (log)")
ERROR = Axis(Text("测试错误率（%，对数）", "test error (%, log)"), log=True, low=1, high=100)
POINTS = Text("个百分点", "percentage points")


def _by_rate(name: str, rates: Sequence[float], values: Tensor, *, log: bool = False) -> Line:
    """A function's values (rates, seeds) in %, with their band. Diverged networks are left out; a rate at which all diverged is a gap."""
    rows = [[max(value, 1.0) if log else value for value in row if not math.isnan(value)] for row in values.tolist()]
    bands = [mean_and_band([[value] for value in row], log=log) if row else ([math.nan],) * 3 for row in rows]
    mean, low, high = ([part[0] for part in column] for column in zip(*bands, strict=True))
    return Line(*NAMES[name], rates, mean, [max(value, 0.0) for value in low], [min(value, 100.0) for value in high])


# ---- dying units -----------------------------------------------------------------------------------------------------

DYING = ("relu", "leaky", "gelu")
DYING_RATES, DYING_SEEDS, TRAIN_COUNT = 8, 5, 400
SAFE = 2.0  # a share of dead units (%) below which nothing needs explaining


def _run_dying(p: Activations, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    rates, looks = _rates(p, DYING_RATES), _looks(p)
    yield Snapshot(0, Text("载入数据", "Loading the data"), _dying_charts(p, rates, [], None))
    data = load_digits_or_own(p.data, device, generator=generator, train_count=TRAIN_COUNT)
    if not p.centred:
        lowest = data.train_x.amin(0)
        data = Dataset(data.train_x - lowest, data.train_y, data.test_x - lowest, data.test_y, data.classes)
    training, pace = _Training(p, data, DYING, rates, DYING_SEEDS, p.layers, generator), Pace()
    before, errors = training.dead(), training.errors(data.test_x, data.test_y)
    dead: list[Tensor] = []  # at each look
    for i in range(p.steps):
        training.step(i)
        if (i + 1) % _every(p) == _every(p) // 2:
            errors = training.errors(data.test_x, data.test_y)
        if i + 1 in looks:
            dead.append(training.dead())
        if pace.due():
            status = Text(f"{training.count} 个网络，第 {i + 1}/{p.steps} 步", f"{training.count} networks, step {i + 1}/{p.steps}")
            yield Snapshot(0.99 * (i + 1) / p.steps, status, _dying_charts(p, rates, dead, errors))
    errors = training.errors(data.test_x, data.test_y)
    figures, outcome = _judge_dying(p, rates, before, dead[-1], errors)
    yield Snapshot(1, DONE, _dying_charts(p, rates, dead, errors), figures, outcome)


def _looks(p: Activations) -> list[int]:
    """Steps at which dead units are counted, evenly spaced in the logarithm: at large rates most die within the first few steps."""
    return sorted({round(p.steps ** (i / 8)) for i in range(9)})


def _dying_charts(p: Activations, rates: Sequence[float], dead: Sequence[Tensor], errors: Tensor | None) -> tuple[Chart, ...]:
    """`dead` has one (functions, rates, seeds, layers) for each look so far; `errors` is (functions, rates, seeds)."""
    looks = _looks(p)
    cells = [[math.nan] * len(looks) for _ in rates]
    lines, curves = [], []
    told = Text("训练还没有开始。", "Training has not begun.")
    if dead and errors is not None:
        for column, look in enumerate(dead):
            for row, share in enumerate(look[0].mean(2).nanmean(1).tolist()):
                cells[row][column] = share
        lines = [_by_rate(name, rates, look.mean(2)) for name, look in zip(DYING, dead[-1], strict=True)]
        curves = [_by_rate(name, rates, look, log=True) for name, look in zip(DYING, errors, strict=True)]
        most = [max((value for value in line.y if not math.isnan(value)), default=0.0) for line in lines]
        told = Text(
            f"第 {looks[len(dead) - 1]} 步，死亡比例最高：ReLU {most[0]:.0f}%，Leaky ReLU {most[1]:.0f}%，GELU {most[2]:.0f}%。",
            f"At step {looks[len(dead) - 1]} the largest dead share is {most[0]:.0f} % for ReLU, {most[1]:.0f} % for leaky ReLU, {most[2]:.0f} % for GELU.",
        )
    edge, half = (p.high / p.low) ** (0.5 / (len(rates) - 1)), p.steps ** (0.5 / (len(looks) - 1))
    axis, share = Axis(RATE, log=True, low=p.low, high=p.high), Text("死亡单元（%）", "dead units (%)")
    return (
        LineChart(Text("死亡单元的比例与学习率", "Share of dead units against the rate"), axis, Axis(share, low=0, high=100), tuple(lines), told),
        LineChart(
            Text("测试错误率与学习率", "Test error against the rate"), axis, ERROR, tuple(curves),
            Text("学习率太大时，三种函数的错误率各升到多高。", "How high the error rises with each of the three functions when the rate is too large."),
        ),
        PlaneChart(
            Text("ReLU：单元何时死去", "ReLU: when the units die"),
            Axis(Text("训练步（对数）", "training step (log)"), log=True, low=1 / half, high=p.steps * half), Axis(RATE, log=True, low=p.low / edge, high=p.high * edge),
            Text("颜色越亮，死去的 ReLU 单元越多。", "The brighter, the more ReLU units are dead."), Grid(share, cells, 0, 100),
        ),
    )  # fmt: skip


def _judge_dying(
    p: Activations, rates: Sequence[float], before: Tensor, dead: Tensor, errors: Tensor
) -> tuple[tuple[Figure, ...], Outcome]:
    """ReLU's dead share over all hidden units at the rate where it is largest, against 40 %, by `effect_status`.

    before, dead (functions, rates, seeds, layers) in % at the first and the last step, NaN where diverged; errors (functions, rates, seeds) in %.
    """
    shares = dead.mean(3)
    typical = shares[0].nanmean(1).nan_to_num(-1)
    worst = int((typical >= typical.max() - 1).nonzero().max())  # the largest of the rates that are equally bad
    best = int(errors[0].mean(1).argmin())

    def at(kind: int, rate: int) -> tuple[float, float | None]:
        values = [value for value in shares[kind, rate].tolist() if not math.isnan(value)]
        return mean_and_spread(values) if values else (math.inf, None)  # all diverged

    (mean, spread), (leaky, _), (gelu, _) = at(0, worst), at(1, worst), at(2, worst)
    wrong = [[mean_and_spread(errors[kind, rate].tolist()) for kind in range(3)] for rate in (best, worst)]
    calm, high, low = at(0, best), f"{rates[worst]:.2g}", f"{rates[best]:.2g}"
    figures = [
        Figure(Text(f"ReLU 死亡单元，学习率 {high}", f"Dead ReLU units, rate {high}"), mean, spread, "%"),
        Figure(Text(f"ReLU 死亡单元，最好的学习率 {low}", f"Dead ReLU units, best rate {low}"), *calm, "%"),
        *(Figure(Text(f"{NAMES[name][0].zh} 死亡单元，学习率 {high}", f"Dead {NAMES[name][0].en} units, rate {high}"), *at(kind, worst), "%") for kind, name in enumerate(DYING) if kind),
        *(Figure(Text(f"{NAMES[name][0].zh} 测试错误率，学习率 {high}", f"Test error of {NAMES[name][0].en}, rate {high}"), *wrong[1][kind], "%") for kind, name in enumerate(DYING)),
    ]  # fmt: skip
    by_layer, diverged = dead[0, worst].nanmean(0).nan_to_num(0).tolist(), int(shares.isnan().sum())
    layers, (a, b) = [f"{value:.0f}" for value in by_layer], [" / ".join(f"{value:.0f}" for value, _ in row) for row in wrong]
    cured = wrong[0][0][0] < wrong[1][0][0] / 2
    parts = [
        Text(
            f"学习率 {high} 时，ReLU 网络有 {mean:.0f}% 的隐藏单元在每一张训练图上导数都是 0（逐层 {'、'.join(layers)}%）；在最好的学习率 {low} 下是 {calm[0]:.1f}%。",
            f"At rate {high}, {mean:.0f} % of the ReLU networks' hidden units have a derivative of 0 on every training image (by layer {', '.join(layers)} %); at the best rate, {low}, it is {calm[0]:.1f} %. ",
        ),
        *_why_dead(p, by_layer, float(before[0].mean()), leaky, gelu),
        Text(
            f"测试错误率（ReLU / Leaky ReLU / GELU）是 {b}%，在学习率 {low} 下是 {a}%{'：先调学习率才是正道' if cured else ''}。",
            f"Test errors (ReLU / leaky ReLU / GELU) are {b} %, at rate {low} {a} %{': a proper rate is the first cure' if cured else ''}. ",
        ),
        Text(f"另有 {diverged} 个网络发散，没有算进比例。" if diverged else "", f"Another {diverged} networks diverged and are not counted. " if diverged else ""),
        Text("讲义没有说明数据与网络，这里是数字上的小网络。", "The notes name neither data nor network; these are small networks on the digits."),
    ]  # fmt: skip
    published = Text(
        "学习率设得太高时，网络中可能多达 40% 的单元死亡；学习率合适时少见",
        "as much as 40 % of the network can be dead if the learning rate is too high; with a proper rate it is rarer",
    )
    explanation = joined(parts)
    answer = {(False, False): "neither", (True, False): "leaky", (False, True): "gelu", (True, True): "both"}[leaky < SAFE, gelu < SAFE]
    status = effect_status(mean, mean - (spread or 0.0), 0, 40) if math.isfinite(mean) else "not_at_this_scale"
    return tuple(figures), Outcome(Verdict(status, figures[0], published, CS231N, explanation), answer)


def _why_dead(p: Activations, by_layer: Sequence[float], started: float, leaky: float, gelu: float) -> list[Text]:
    """Which ReLU units died and why, and whether the other two functions helped; all shares in %, `started` before the first step."""
    mean = math.fsum(by_layer) / len(by_layer)
    if mean < SAFE:
        signs = Text(
            "只有一个隐藏层，它的输入有正有负，总有图能激活每个单元。",
            "With one hidden layer, whose inputs have both signs, some image always fires each unit. ",
        )
        advice = Text(
            "要看死亡，可以加层、关掉“输入减去均值”或提高学习率。",
            "To see units die, add layers, switch off “Centred inputs” or raise the rate. ",
        )
        return [Text("这样训练，ReLU 几乎不死。", "Trained like this, hardly any ReLU unit dies. "), *([signs] if p.layers == 1 and p.centred else []), advice]  # fmt: skip
    step = Text(
        "输入从不为负的单元最容易死：一大步把它所有的权重同向压低，z 就在所有图上变负，梯度从此为 0。",
        "Units whose inputs are never negative die most easily: one large step pushes all their weights down together, z is negative on every image, and the gradient is 0 from then on. ",
    )
    if started >= mean - SAFE:
        step = Text(
            f"它们一开始就是死的（偏置 {p.bias:g}，第 0 步 {started:.0f}%）：没有梯度，训练也没有救活它们。",
            f"They were dead from the start (biases of {p.bias:g}, {started:.0f} % at step 0): with no gradient, training has revived none. ",
        )
    first = Text("", "")
    if p.centred and len(by_layer) > 1 and by_layer[0] < max(by_layer) / 2:
        first = Text(
            "第一层的输入减过均值，有正有负，总有图能激活它。",
            "The first layer's inputs are centred, and some image fires most of its units. ",
        )
    elif not p.centred and by_layer[0] >= SAFE:
        first = Text("这里像素没有减均值，第一层也是这样。", "Here the pixels are not centred, so the first layer dies as well. ")
    smooth = Text("GELU 在这里没有死。", "GELU's units are alive here. ")
    if gelu >= SAFE:
        smooth = Text(
            f"GELU 也死了 {gelu:.0f}%：它的左尾导数同样趋于 0，光滑并不能救命。",
            f"GELU loses {gelu:.0f} % too: its left tail is just as flat, and smoothness does not help. ",
        )
    slope = Text(
        f"Leaky ReLU 负侧留着斜率 {p.slope:g}，死不了。",
        f"Leaky ReLU keeps a slope of {p.slope:g} on the negative side, and its units live. ",
    )
    if leaky >= SAFE:
        slope = Text(
            f"斜率 {p.slope:g} 的 Leaky ReLU 与 ReLU 无异，也死了 {leaky:.0f}%。",
            f"Leaky ReLU with a slope of {p.slope:g} is as good as ReLU and loses {leaky:.0f} %. ",
        )
    gone = Text("{name} 的网络在这个学习率下全部发散了。", "All networks with {name} diverged at this rate. ")
    helped = [
        gone.format(name=name) if math.isinf(share) else told
        for name, share, told in (("GELU", gelu, smooth), ("Leaky ReLU", leaky, slope))
    ]
    return [step, first, *helped]


# ---- shallow and deep ------------------------------------------------------------------------------------------------

SHALLOW_RATES, SHALLOW_SEEDS, DEEP_SEEDS = 5, 8, 5
PUBLISHED_GAP = 8.41 - 7.89  # points of test error between the best and the worst of the GELU paper's functions on CIFAR-10


def _run_shallow(p: Activations, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    grids = (_rates(p, SHALLOW_RATES), _rates(p, SHALLOW_RATES)[::2])  # deep networks are dear: every other rate
    yield Snapshot(0, Text("载入数据", "Loading the data"), _shallow_charts(p, grids, ()))
    data = load_digits_or_own(p.data, device, generator=generator)
    kept = len(data.train_y) - len(data.train_y) // 5
    fitted = Dataset(data.train_x[:kept], data.train_y[:kept], data.test_x, data.test_y, data.classes)
    kinds = [
        _Training(p, fitted, tuple(NAMES), grid, seeds, layers, generator)
        for grid, seeds, layers in zip(grids, (SHALLOW_SEEDS, DEEP_SEEDS), (1, p.layers), strict=True)
    ]

    def looked(kind: _Training) -> Tensor:
        """Errors (2, functions, rates, seeds) on held-out training images, to choose the rate by, and on the test images."""
        return torch.stack([kind.errors(data.train_x[kept:], data.train_y[kept:]), kind.errors(data.test_x, data.test_y)])

    errors, pace = [looked(kind) for kind in kinds], Pace()
    for i in range(p.steps):
        for k, kind in enumerate(kinds):
            kind.step(i)
            if (i + 1) % _every(p) == 0 or i + 1 == p.steps:
                errors[k] = looked(kind)
            if pace.due():
                count = sum(kind.count for kind in kinds)
                status = Text(f"{count} 个网络，第 {i + 1}/{p.steps} 步", f"{count} networks, step {i + 1}/{p.steps}")
                yield Snapshot(0.99 * (i + 1) / p.steps, status, _shallow_charts(p, grids, errors))
    figures, outcome = _judge_shallow(p, grids, errors)
    yield Snapshot(1, DONE, _shallow_charts(p, grids, errors), figures, outcome)


def _at_best(errors: Tensor) -> tuple[Tensor, list[int]]:
    """Test errors (functions, seeds) at the rate that suits each function best, and that rate's index.

    errors (2, functions, rates, seeds): the rate is chosen on the first, held-out images.
    """
    chosen = errors[0].mean(2).argmin(1).tolist()
    return torch.stack([row[rate] for row, rate in zip(errors[1], chosen, strict=True)]), chosen


def _gap(best: Tensor) -> tuple[int, int, float, float | None]:
    """The worst and the best function of (functions, seeds), and how far apart they are with the spread, paired by seed."""
    worst, first = int(best.mean(1).argmax()), int(best.mean(1).argmin())
    return worst, first, *mean_and_spread((best[worst] - best[first]).tolist())


def _hidden(layers: int) -> Text:
    return Text(f"{layers} 个隐藏层", f"{layers} hidden layer{'s' if layers > 1 else ''}")


def _shallow_charts(p: Activations, grids: Sequence[Sequence[float]], errors: Sequence[Tensor]) -> tuple[Chart, ...]:
    """errors: for the shallow and the deep networks (2, functions, rates, seeds), or nothing yet."""
    names: tuple[tuple[Text, Role], ...] = ((_hidden(1), "first"), (_hidden(p.layers), "second"))
    bars, told = [], Text("训练还没有开始。", "Training has not begun.")
    lines: list[list[Line]] = [[], []]
    if errors:
        for (name, role), each_depth in zip(names, errors, strict=True):
            pairs = [mean_and_spread(row) for row in _at_best(each_depth)[0].tolist()]
            bars.append(Bars(name, role, [mean for mean, _ in pairs], [spread or 0.0 for _, spread in pairs]))
        lines = [[_by_rate(name, grid, row, log=True) for name, row in zip(NAMES, one[1], strict=True)] for grid, one in zip(grids, errors, strict=True)]  # fmt: skip
        gaps = [_gap(_at_best(each_depth)[0])[2] for each_depth in errors]
        told = Text(
            f"最好与最差的函数相差：1 个隐藏层 {gaps[0]:.1f} 个百分点，{p.layers} 个隐藏层 {gaps[1]:.1f} 个。",
            f"The best and the worst function differ by {gaps[0]:.1f} points with 1 hidden layer and by {gaps[1]:.1f} with {p.layers}.",
        )
    axis = Axis(RATE, log=True, low=p.low, high=p.high)
    hint = Text(
        "曲线的最低点就是适合该函数的学习率，偏大偏小错误率都会升高。",
        "A curve's lowest point is the rate that suits that function; on either side the error rises.",
    )
    return (
        BarChart(
            Text("测试错误率，各用最好的学习率", "Test error, each function at its best rate"), tuple(name for name, _ in NAMES.values()),
            Axis(Text("测试错误率（%）", "test error (%)"), low=0, high=100), tuple(bars), told,
        ),
        *(
            LineChart(Text(f"{name.zh}：错误率与学习率", f"{name.en}: error against the rate"), axis, ERROR, tuple(curves), hint)
            for (name, _), curves in zip(names, lines, strict=True)
        ),
    )  # fmt: skip


def _judge_shallow(p: Activations, grids: Sequence[Sequence[float]], errors: Sequence[Tensor]) -> tuple[tuple[Figure, ...], Outcome]:
    """How far the worst function is behind the best with one hidden layer, in points; published 0.52 points.

    Reproduced: at most √10 times that, and less than a wrong rate costs ReLU. Same direction: only the latter.
    errors: for the shallow and the deep networks (2, functions, rates, seeds) in %.
    """
    (best, chosen), (deep, _) = _at_best(errors[0]), _at_best(errors[1])
    worst, first, gap, spread = _gap(best)
    deep_worst, _, deep_gap, deep_spread = _gap(deep)
    relu = errors[0][1, 2].mean(1)
    cost = float(relu.max() - relu.min())
    lowest = errors[0][1, :, 0].mean(1)  # every function at the lowest rate
    labels = [name.en for name, _ in NAMES.values()]
    status: Status = "not_at_this_scale" if gap >= cost else "reproduced" if gap <= PUBLISHED_GAP * math.sqrt(10) else "same_direction"
    own = [f"{label} {grids[0][i]:.2g}" for label, i in zip(labels, chosen, strict=True)]
    counts = deep_worst == 0 and deep_gap > 10
    why = Text(
        f"一个隐藏层时，最好的 {labels[first]}（{best[first].mean():.1f}%）与最差的 {labels[worst]}（{best[worst].mean():.1f}%）相差 {gap:.1f} 个百分点；ReLU 选错学习率要多错 {cost:.1f} 个百分点。"
        f"梯度只穿过一层，谈不上消失。各自最好的学习率：{'，'.join(own)}；如果都用 {p.low:g}，就会差 {lowest.max() - lowest.min():.1f} 个百分点，比的其实是学习率。"
        f"{p.layers} 个隐藏层时差距是 {deep_gap:.1f} 个百分点，{labels[deep_worst]} 最差（{deep[deep_worst].mean():.0f}%）"
        + ("：它的梯度到不了前面的层，选谁就要紧了。" if counts else "。")
        + "论文是 CIFAR-10 上的 9 层卷积网络，比的是 GELU、ReLU、ELU；从六个里取最好和最差，差距本来就会偏大一点。",
        f"With one hidden layer the best, {labels[first]} ({best[first].mean():.1f} %), and the worst, {labels[worst]} ({best[worst].mean():.1f} %), are {gap:.1f} points apart, while a wrong rate costs ReLU "
        f"{cost:.1f} points. The gradient passes one layer and has no chance to vanish. Best rates: {', '.join(own)}; at {p.low:g} for all they would be {lowest.max() - lowest.min():.1f} points apart, which is "
        f"the rate's doing. With {_hidden(p.layers).en} the gap is {deep_gap:.1f} points, {labels[deep_worst]} coming last ({deep[deep_worst].mean():.0f} %)"
        + (": its gradient does not reach the first layers, and now the choice counts. " if counts else ". ")
        + "The paper has a 9-layer convolutional network on CIFAR-10 and compares GELU, ReLU and ELU; picking the worst and the best of six makes the gap a little larger by itself.",
    )  # fmt: skip
    measured = Figure(Text("最差减最好，1 个隐藏层", "Worst minus best, 1 hidden layer"), gap, spread, POINTS)
    figures = [
        measured,
        Figure(Text(f"最差减最好，{_hidden(p.layers).zh}", f"Worst minus best, {_hidden(p.layers).en}"), deep_gap, deep_spread, POINTS),
        Figure(Text("ReLU 选错学习率的代价", "What a wrong rate costs ReLU"), cost, None, POINTS),
    ]
    for layers, rows in ((1, best), (p.layers, deep)):
        for (name, _), row in zip(NAMES.values(), rows.tolist(), strict=True):
            title = Text(f"测试错误率，{_hidden(layers).zh}：{name.zh}", f"Test error, {_hidden(layers).en}: {name.en}")
            figures.append(Figure(title, *mean_and_spread(row), "%"))
    published = Text(
        "CIFAR-10 测试错误率：GELU 7.89%，ReLU 8.16%，ELU 8.41%，最多差 0.52 个百分点",
        "CIFAR-10 test error: GELU 7.89 %, ReLU 8.16 %, ELU 8.41 %, 0.52 points apart at most",
    )
    answer = "close" if gap < 3 else "some" if gap < 15 else "far"
    return tuple(figures), Outcome(Verdict(status, measured, published, GELU, why), answer)


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Activations) -> Prediction:
    if p.task == "dying":
        return Prediction(
            Text(
                f"学习率大到 ReLU 单元成批死亡时，换成 Leaky ReLU（斜率 {p.slope:g}）或 GELU，哪个能避免？",
                f"At a rate so large that ReLU units die in numbers: which would prevent it, leaky ReLU (slope {p.slope:g}) or GELU?",
            ),
            {
                "leaky": Text("只有 Leaky ReLU", "only leaky ReLU"),
                "gelu": Text("只有 GELU", "only GELU"),
                "both": Text("两个都能", "both"),
                "neither": Text("都不能", "neither"),
            },
        )
    if p.task == "shallow":
        return Prediction(
            Text(
                "只有一个隐藏层、各用最好的学习率时，六个函数里最好与最差的测试错误率差多少？",
                "One hidden layer, each function at its best rate: how far apart are the best and the worst of the six in test error?",
            ),
            {
                "close": Text("不到 3 个百分点", "less than 3 points"),
                "some": Text("3 到 15 个百分点", "3 to 15 points"),
                "far": Text("超过 15 个百分点", "more than 15 points"),
            },
        )
    name, kind = (
        ("sigmoid", Text(f"单位权重 × {p.scale:g}", f"unit weights × {p.scale:g}"))
        if p.weights == "unit"
        else ("ReLU", Text(f"He 初始化 × {p.scale:g}", f"He's weights × {p.scale:g}"))
    )
    return Prediction(
        Text(
            f"{kind.zh}，{p.depth} 层：{name} 传到输入端的梯度是输出端的几倍？",
            f"{kind.en}, {p.depth} layers: how large is {name}'s gradient at the input, relative to its size at the output?",
        ),
        {
            "tiny": Text("不到百万分之一", "less than a millionth"),
            "small": Text("百万分之一到 3%", "a millionth to 3 %"),
            "kept": Text("大致不变（3% 到 30 倍）", "about as large (3 % to 30 times)"),
            "large": Text("30 倍以上", "more than 30 times"),
        },
    )


def run(parameters: Activations, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    if parameters.task == "stack":
        yield from _run_stack(parameters, generator)
    else:
        yield from (_run_dying if parameters.task == "dying" else _run_shallow)(parameters, device, generator)


_KINDS = """\
import torch
from torch import nn

torch.set_num_threads(1)  # networks as small as these gain nothing from more
torch.manual_seed(0)
FUNCTIONS = {{"sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "ReLU": nn.ReLU(), "leaky ReLU": nn.LeakyReLU({slope:g}), "GELU": nn.GELU(), "SiLU": nn.SiLU()}}
GAIN = {{"sigmoid": 1, "tanh": 1, "leaky ReLU": (2 / (1 + {slope:g}**2)) ** 0.5}}  # He's square root of 2 for the others
"""
_STACK_CODE = """\
torch.set_default_dtype(torch.float64)
DEPTH, WIDTH, SCALE, UNIT = {depth}, {width}, {scale:g}, {unit}
weights = []
for _ in range(DEPTH):
    drawn = torch.randn(WIDTH, WIDTH)
    weights.append(torch.linalg.qr(drawn)[0] if UNIT else drawn / WIDTH**0.5)
inputs = {spread:g} * torch.randn(16, WIDTH)
inputs[0] = 0  # here every unit stays where sigmoid is steepest, if the weights are unit ones
direction = nn.functional.normalize(torch.randn(16, WIDTH), dim=1)

print(f"sigmoid's bound: {{(SCALE / 4) ** DEPTH:.6g}}")
for name, function in FUNCTIONS.items():
    gain = SCALE * (1 if UNIT else GAIN.get(name, 2**0.5))
    rest = function(torch.zeros(())) if UNIT else 0.0  # the biases take off what input 0 becomes
    x = inputs.clone().requires_grad_()
    h = x
    for weight in weights:
        h = function(gain * h @ weight.T)
        mean = (h.mean() / h.square().mean().sqrt()).item()
        h = h - rest
    (h * direction).sum().backward()
    norms = x.grad.norm(dim=1)
    typical = norms[1:].square().mean().sqrt()
    print(f"{{name:>10}}: gradient at input 0 {{norms[0]:.6g}}, typical {{typical:.3g}}, mean output / rms {{mean:.2f}}")
"""
_TRAINING_CODE = """\
{data}
UNITS, STEPS, RATES = {units}, {steps}, {rates}
{shift}test, train = torch.randperm(len(x)).split([len(x) // 3, len(x) - len(x) // 3])

def fit(name, rate, depth):
    torch.manual_seed(1)
    layers, width = [], x.shape[1]
    for _ in range(depth):
        linear = nn.Linear(width, UNITS)
        nn.init.normal_(linear.weight, std=GAIN.get(name, 2**0.5) / width**0.5)
        nn.init.constant_(linear.bias, {bias:g})
        layers += [linear, FUNCTIONS[name]]
        width = UNITS
    network = nn.Sequential(*layers, nn.Linear(width, classes))
    optimizer = torch.optim.{optimizer}(network.parameters(), lr=rate)
    for _ in range(STEPS):
        batch = train[torch.randint(len(train), (32,))]
        loss = nn.functional.cross_entropy(network(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return network, 100 * (network(x[test]).argmax(1) != y[test]).float().mean().item()
"""
_DYING_CODE = """
def dead(network):  # share of units whose derivative is 0 on every training image
    h, shares = x[train], []
    for layer in network:
        if not isinstance(layer, nn.Linear):
            z = h.detach().requires_grad_()
            layer(z).sum().backward()
            shares.append(100 * (z.grad.abs() < 1e-3).all(0).float().mean().item())
        h = layer(h)
    return sum(shares) / len(shares)

for name in ("ReLU", "leaky ReLU", "GELU"):
    for rate in RATES:
        network, error = fit(name, rate, {layers})
        print(f"{{name:>10}}, rate {{rate:7.4g}}: dead {{dead(network):5.1f}} %, test error {{error:5.1f}} %")
"""
_SHALLOW_CODE = """
for depth in sorted({{1, {layers}}}):
    for name in FUNCTIONS:
        errors = {{rate: fit(name, rate, depth)[1] for rate in RATES}}
        best = min(errors, key=errors.get)
        print(f"{{depth}} hidden layers, {{name:>10}}: test error {{errors[best]:5.1f}} % at its best rate {{best:.2g}}")
"""


def code(p: Activations) -> str:
    values = p.values() | {"unit": p.weights == "unit", "optimizer": {"adam": "Adam", "sgd": "SGD"}[p.optimizer]}
    if p.task == "stack":
        return (_KINDS + _STACK_CODE).format(**values)
    count = 5 if p.task == "dying" else 3  # the script trains one network after the other
    values |= {"rates": [float(f"{rate:.3g}") for rate in _rates(p, count)], "data": digits_or_own(p.data)}
    values["shift"] = "" if p.centred else "x = x - x.min(0).values  # all positive\n"
    return (_KINDS + _TRAINING_CODE + (_DYING_CODE if p.task == "dying" else _SHALLOW_CODE)).format(**values)


DEMO = Demo(
    topic="activations",
    title=Text("激活函数：饱和、死亡与选择", "Activation functions: saturation, death, choice"),
    question=Text(
        "常见的激活函数各有什么优缺点，什么时候选谁真的要紧？",
        "What are the strengths and weaknesses of the common activation functions, and when does the choice matter?",
    ),
    look_for=Text(
        "看梯度逐层往回走时，哪一行变蓝（消失）、变橙（爆炸），哪一行保持不变。再看导数曲线：哪里接近 0，梯度就在哪里断掉。",
        "Watch which rows turn blue (vanish) or orange (explode) as the gradient walks back, and which stay. Then find the cause in the derivative: where it is near 0, the gradient stops.",
    ),
    scaled_down=Text(
        "梯度实验用随机的全连接层，不训练；训练实验用几百张 8×8 数字上的小网络代替 CIFAR-10 与 ImageNet 上的卷积网络。",
        "The gradients run through random fully connected layers without training; the trained networks are small ones on a few hundred digits of 8×8 pixels in place of convolutional ones on CIFAR-10 and ImageNet.",
    ),
    parameters=Activations,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=1,
)
