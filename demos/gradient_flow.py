"""Vanishing and exploding gradients (1.4): the gradient of every layer of a deep stack, measured at every training step.

The stacks differ in depth, norm layer, skip connections, initial scale and clipping; networks of one seed start from the same normal draws
and see the same batches. Two experiments: *depth* (does a deeper stack end with a higher training error than a shallower one?) and *exploding*
(initial weights too large, with and without clipping).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demos.core.charts import Axis, Chart, Grid, Line, LineChart, PlaneChart, Role
from demos.core.datasets import load_digits_or_own
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import error_rate
from demos.core.statistics import interval, mean_and_spread, thinned
from demos.core.text import Text, joined, same

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GradientFlow(Parameters):
    task: str = mode_choice(
        "depth",
        {"depth": Text("深与浅", "deep against shallow"), "exploding": Text("梯度爆炸与裁剪", "explosion and clipping")},
        label=Text("实验", "Experiment"),
        help=Text("比较深浅，或比较裁剪。", "Compare depths, or clipping."),
    )
    depth: int = integer(
        30, 4, 100, label=Text("隐藏层数", "Hidden layers"), help=Text("梯度要穿过的层数。", "Layers that the gradient has to cross.")
    )
    activation: str = choice(
        "relu",
        {"relu": same("ReLU"), "tanh": same("tanh"), "sigmoid": same("sigmoid")},
        label=Text("激活函数", "Activation"),
        help=Text("sigmoid 的导数至多 0.25。", "Sigmoid's derivative is at most 0.25."),
    )
    gain: float = real(
        0.58,
        0.1,
        4,
        label=Text("初始权重的增益 g", "Gain g of the initial weights"),
        help=Text(
            "标准差 g/√n：PyTorch 的 Linear 为 0.58，Xavier 为 1，He 为 1.41。",
            "Standard deviation g/√n: 0.58 in PyTorch's Linear, 1 for Xavier, 1.41 for He.",
        ),
    )
    norm: str = choice(
        "batch",
        {
            "none": Text("无", "none"),
            "layer": Text("层归一化（LN）", "layer norm (LN)"),
            "batch": Text("批量归一化（BN）", "batch norm (BN)"),
        },
        label=Text("归一化层", "Norm layer"),
        help=Text("残差网络也用它；论文里都有 BN。", "The residual stack has it too; in the paper all nets have BN."),
    )
    clip: float = real(
        1,
        0.01,
        100,
        log=True,
        label=Text("裁剪阈值 τ", "Clipping threshold τ"),
        help=Text("梯度总范数超过 τ 就缩到 τ。", "A gradient longer than τ is shortened to τ."),
        modes=("exploding",),
    )
    quantity: str = choice(
        "signal",
        {"signal": Text("反向信号 ∂L/∂z", "backward signal ∂L/∂z"), "weights": Text("权重的梯度 ∂L/∂W", "weights' gradient ∂L/∂W")},
        label=Text("画哪种梯度", "Gradient shown"),
        help=Text(
            "前者由各层的导数连乘而来，后者决定该层学多快。",
            "The former is a product over layers, the latter decides how fast a layer learns.",
        ),
        advanced=True,
    )
    rate: float = real(
        0.1,
        0.001,
        1,
        log=True,
        label=Text("学习率", "Learning rate"),
        help=Text("普通 SGD，无动量。", "Plain SGD, no momentum."),
        advanced=True,
    )
    steps: int = integer(
        200, 60, 600, step=20, advanced=True, label=Text("步数", "Steps"), help=Text("每步 32 个样本。", "With 32 samples each.")
    )
    width: int = integer(
        24, 8, 32, advanced=True, label=Text("隐藏单元", "Hidden units"), help=Text("每层的宽度。", "Width of each layer.")
    )
    seeds: int = integer(
        6, 5, 8, advanced=True, label=Text("种子数", "Seeds"), help=Text("不同的初始权重和批次。", "Different initial weights and batches.")
    )
    data: str = own_data("classes")


PRESETS = {
    "residual": Preset(
        Text("普通与残差", "Plain and residual"),
        Text("30 层：不加、只加 BN、再加残差连接，谁训得动？", "30 layers: bare, with BN, with BN and skips. Which one trains?"),
        {"task": "depth"},
        "textbook",
    ),
    "exploding": Preset(
        Text("爆炸与裁剪", "Explosion and clipping"),
        Text("初始权重的方差是 He 的两倍，裁剪能救回来吗？", "Initial weights of twice He's variance: does clipping save the run?"),
        {"task": "exploding", "depth": 10, "gain": 2.0, "quantity": "weights"},
        look_for=Text(
            "先看第一张图：第 1 步的点，“不裁剪”与“合适的初值”相差多少，随后几条线又走到哪里？再看训练损失：裁剪的那条降不降得下去，离“合适的初值”和“BN”有多远？",
            "Look first at the gradient by layer: how far are the dots of step 1 of “no clipping” from those of “good scale”, and where do the lines go from there? Then see in the training loss whether the clipped run goes down, and how far it stays from “good scale” and “BN”.",
        ),
    ),
    "skip-only": Preset(
        Text("只有残差", "Skips alone"),
        Text(
            "去掉归一化、用 He 初始化：只靠残差，30 层训得动吗？",
            "No norm layer, He's initialisation: are skips alone enough to train 30 layers?",
        ),
        {"task": "depth", "norm": "none", "gain": 1.41},
        "limits",
    ),
    "shallow": Preset(
        Text("浅网络", "Shallow"),
        Text("只有 6 层：还用得着残差吗？", "Only 6 layers: are skips of any use?"),
        {"task": "depth", "depth": 6, "gain": 1.41},
        "limits",
        look_for=Text(
            "看第一张图：只有 6 层，第一层和最后一层的梯度相差多少？再看训练损失：同一种网络，6 层（线）与 2 层（点）分不分得开，加不加残差又差多少？",
            "See in the first chart how far the gradients of the first and last layer are apart across just 6 layers. Then see in the training loss whether 6 layers (lines) and 2 layers (dots) of one kind part, and what the skips change.",
        ),
    ),
}

HE = Source(
    "Deep Residual Learning for Image Recognition",
    "Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun",
    2015,
    "https://arxiv.org/abs/1512.03385",
)
PASCANU = Source(
    "On the difficulty of training Recurrent Neural Networks",
    "Razvan Pascanu, Tomas Mikolov, Yoshua Bengio",
    2013,
    "https://arxiv.org/abs/1211.5063",
)
BATCH = 32
PROBE = 500  # training images on which the training error is measured
MARGIN = 1.0  # percentage points of training error; a smaller difference counts as none
SHORT = {"none": "", "layer": "LN", "batch": "BN"}
SYMBOLS = {"signal": "‖∂L/∂z‖", "weights": "‖∂L/∂W‖"}


# ---- the networks ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How one of the compared networks is built and trained; each is trained once per seed."""

    name: Text
    role: Role
    layers: int
    norm: str
    skip: bool
    gain: float
    clip: float = math.inf


def build_recipes(p: GradientFlow) -> list[Recipe]:
    """Depth: all kinds deep, then the same kinds shallow. Exploding: good scale, too large, too large and clipped, too large with a norm layer."""
    short = SHORT[p.norm]
    if p.task == "exploding":
        recipes = [
            Recipe(Text("合适的初值", "good scale"), "baseline", p.depth, "none", False, good_gain(p)),
            Recipe(Text("不裁剪", "no clipping"), "second", p.depth, "none", False, p.gain),
            Recipe(Text("裁剪", "clipped"), "first", p.depth, "none", False, p.gain, p.clip),
        ]
        return recipes + [Recipe(same(short), "third", p.depth, p.norm, False, p.gain)] * bool(short)
    kinds: list[tuple[Text, Role, str, bool]] = [(Text("普通", "plain"), "baseline", "none", False)]
    if short:
        kinds += [(same(short), "second", p.norm, False), (Text(f"{short}+残差", f"{short}+skip"), "first", p.norm, True)]
    else:
        kinds += [(Text("残差", "skip"), "first", "none", True)]
    return [Recipe(name, role, layers, norm, skip, p.gain) for layers in (p.depth, shallow_depth(p)) for name, role, norm, skip in kinds]


def shallow_depth(p: GradientFlow) -> int:
    """A third of the depth, as 20 against 56 layers in the paper's Fig. 1."""
    return max(2, p.depth // 3)


def good_gain(p: GradientFlow) -> float:
    return 2**0.5 if p.activation == "relu" else 1.0


class DeepStack:
    """Networks of one depth and norm layer, trained side by side: every recipe with every seed, recipes first (K = recipes × seeds).

    A layer is z₁ = W₁x, zₗ = Wₗ·φ(norm(zₗ₋₁) + bₗ₋₁), and the logits come from z_L in the same way. With skips every second layer adds the z of
    two layers before, so that the identity path meets no activation (the order of He et al. 2016, Identity Mappings). Shapes are (K, F, B).
    """

    def __init__(self, recipes: Sequence[Recipe], p: GradientFlow, features: int, classes: int, seed: int, device: torch.device) -> None:
        self.norm, self.activation, self.layers = recipes[0].norm, p.activation, recipes[0].layers
        generator, width = torch.Generator().manual_seed(seed), p.width

        def each(values: Sequence[float]) -> Tensor:
            return torch.tensor(values).repeat_interleave(p.seeds).to(device)

        gains = each([recipe.gain for recipe in recipes])[:, None, None]
        self.skip = each([float(recipe.skip) for recipe in recipes])[:, None, None]
        self.has_skip = any(recipe.skip for recipe in recipes)
        self.clip, self.rate, self.count = each([recipe.clip for recipe in recipes]), p.rate, len(recipes) * p.seeds

        def draw(fan_out: int, fan_in: int) -> Tensor:
            normal: Tensor = torch.randn(p.seeds, fan_out, fan_in, generator=generator) / fan_in**0.5
            return normal.repeat(len(recipes), 1, 1).to(device) * gains

        first, last = draw(width, features), draw(classes, width)
        hidden = torch.stack([draw(width, width) for _ in range(self.layers - 1)])  # (L − 1, K, F, F)
        biases = torch.zeros(self.layers, self.count, width, 1, device=device)
        self.parameters = [first, hidden, last, biases, torch.zeros(self.count, classes, 1, device=device)]
        self._axes = (0, 1, 0, 1, 0)  # where K is in each of them
        for parameter in self.parameters:
            parameter.requires_grad_()

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (K, classes, B) and every z (K, F, B) for x (B, features) or (K, B, features)."""
        first, hidden, last, biases, out = self.parameters
        kept = torch.bmm(first, x.expand(self.count, *x.shape[-2:]).transpose(1, 2))
        zs = [kept]
        for i, (weight, bias) in enumerate(zip(hidden.unbind(), biases.unbind(), strict=False)):
            h = self._act(zs[-1], bias)
            if self.has_skip and i % 2:
                kept = torch.baddbmm(kept * self.skip, weight, h)
                zs.append(kept)
            else:
                zs.append(torch.bmm(weight, h))
        return torch.baddbmm(out, last, self._act(zs[-1], biases[-1])), zs

    def _act(self, z: Tensor, bias: Tensor) -> Tensor:
        standardise = torch.nn.functional.layer_norm  # to mean 0 and variance 1 over the last dimension
        if self.norm == "batch":
            z = standardise(z, z.shape[2:])  # over the samples of the batch
        elif self.norm == "layer":
            z = standardise(z.transpose(1, 2), z.shape[1:2]).transpose(1, 2)  # over the units
        activation: Callable[[Tensor], Tensor] = getattr(torch, self.activation)
        return activation(z + bias)

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """One step of SGD on x (K, B, features), y (K, B): losses (K,) and the norms (2, K, L) of ∂L/∂z and ∂L/∂W of each layer, before clipping."""
        logits, zs = self.forward(x)
        losses = torch.nn.functional.cross_entropy(logits, y, reduction="none").mean(1)
        gradients = torch.autograd.grad(losses.sum(), [*self.parameters, *zs])
        gradients, signals = gradients[: len(self.parameters)], torch.stack(gradients[len(self.parameters) :])
        with torch.no_grad():
            lengths = [_length(gradient.flatten(axis + 1)) for gradient, axis in zip(gradients, self._axes, strict=True)]
            total = _length(torch.cat([length.view(-1, self.count) for length in lengths]).T)  # (K,)
            factor = (self.clip / (total + 1e-6)).clamp_max(1).where(self.clip.isfinite(), 1.0)  # as torch.nn.utils.clip_grad_norm_
            for parameter, gradient, axis in zip(self.parameters, gradients, self._axes, strict=True):
                shape = [1] * axis + [-1] + [1] * (gradient.dim() - axis - 1)
                parameter.sub_(gradient * (self.rate * factor).view(shape))
            norms = torch.stack([_length(signals.flatten(2)), torch.cat([lengths[0][None], lengths[1]])]).transpose(1, 2)
        return losses.detach(), norms

    def errors(self, x: Tensor, y: Tensor) -> Tensor:
        """Training error (K,) in % on x (B, features), with the batch's own statistics: it is the optimisation that is judged, not `eval()`."""
        with torch.no_grad():
            return 100 * error_rate(self.forward(x)[0].transpose(1, 2), y)


def _length(values: Tensor) -> Tensor:
    """Euclidean norm over the last dimension, in units of the 1-norm: the squares of 1e-23 and 1e20 do not fit float32."""
    norm: Callable[..., Tensor] = torch.linalg.vector_norm
    unit = norm(values, 1, -1, keepdim=True).clamp_min(1e-37)
    return norm(values / unit, dim=-1) * unit[..., 0]


class Training:
    """All recipes in training, grouped into stacks of equal depth and norm layer. Results are in the order of `recipes`, on the CPU."""

    def __init__(self, p: GradientFlow, device: torch.device, generator: torch.Generator) -> None:
        self.recipes, self.seeds = build_recipes(p), p.seeds
        self.data = load_digits_or_own(p.data, device, generator=generator)
        self.batches = torch.randint(len(self.data.train_y), (p.steps, p.seeds, BATCH), generator=generator).to(device)
        seed = int(torch.randint(2**31, (), generator=generator))
        self.groups: dict[tuple[int, str], list[int]] = {}
        for i, recipe in enumerate(self.recipes):
            self.groups.setdefault((recipe.layers, recipe.norm), []).append(i)
        self.stacks = [
            DeepStack([self.recipes[i] for i in group], p, self.data.features, self.data.classes, seed, device)
            for group in self.groups.values()
        ]

    def step(self, i: int) -> tuple[Tensor, list[Tensor]]:
        """Losses (recipes, seeds), and for each recipe the norms (2, seeds, layers): of ∂L/∂z and of ∂L/∂W."""
        losses, norms = torch.empty(len(self.recipes), self.seeds), [torch.empty(0)] * len(self.recipes)
        for stack, group in zip(self.stacks, self.groups.values(), strict=True):
            batch = self.batches[i].repeat(len(group), 1)  # (K, B)
            loss, norm = stack.step(self.data.train_x[batch], self.data.train_y[batch])
            losses[group] = loss.cpu().view(len(group), self.seeds)
            for recipe, part in zip(group, norm.cpu().split(self.seeds, 1), strict=True):
                norms[recipe] = part
        return losses.nan_to_num(math.inf, posinf=math.inf), norms

    def errors(self) -> Iterator[tuple[list[int], Tensor]]:
        """For each stack its recipes and their training errors (recipes, seeds) in %; a diverged network gets everything wrong."""
        x, y = self.data.train_x[:PROBE], self.data.train_y[:PROBE]
        for stack, group in zip(self.stacks, self.groups.values(), strict=True):
            yield group, stack.errors(x, y).cpu().view(len(group), self.seeds)

    def guessing(self) -> float:
        """Training error in % of always naming the most frequent class."""
        return 100 * (1 - self.data.train_y[:PROBE].bincount().max().item() / len(self.data.train_y[:PROBE]))


@dataclass
class History:
    """What the steps so far have left: losses (recipes, seeds) and norms (2, seeds, layers) by recipe, one item for each step."""

    losses: list[Tensor]
    norms: list[list[Tensor]]

    def layer(self, recipe: int, layer: int, quantity: int = 0, start: bool = True) -> list[float]:
        """The norm at one layer (1 is next to the input), one for each seed: at the first step, or averaged over the last tenth (inf where it diverged)."""
        chosen = self.norms[:1] if start else self.norms[-max(1, len(self.norms) // 10) :]
        values = torch.stack([norms[recipe][quantity, :, layer - 1] for norms in chosen]).mean(0)
        return [float(value) for value in values.nan_to_num(math.inf, posinf=math.inf)]


def diverged(history: History, recipe: int) -> int:
    """How many networks of a recipe have no finite loss any more."""
    return int((~history.losses[-1][recipe].isfinite()).sum())


# ---- charts ----------------------------------------------------------------------------------------------------------


def run(p: GradientFlow, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    history, recipes = History([], []), build_recipes(p)
    yield Snapshot(0, Text("载入数据", "Loading the data"), _charts(p, recipes, history))
    training, pace = Training(p, device, generator), Pace()
    for i in range(p.steps):
        losses, norms = training.step(i)
        history.losses.append(losses)
        history.norms.append(norms)
        if pace.due():
            count = len(recipes) * p.seeds
            status = Text(f"{count} 个网络，第 {i + 1}/{p.steps} 步", f"{count} networks, step {i + 1}/{p.steps}")
            yield Snapshot(0.97 * (i + 1) / p.steps, status, _charts(p, recipes, history))
    charts, errors = _charts(p, recipes, history), torch.empty(len(recipes), p.seeds)
    for group, values in training.errors():
        errors[group] = values
        yield Snapshot(0.98, Text("测量训练错误率", "Measuring the training error"), charts)
    judge = judge_depth if p.task == "depth" else judge_clipping
    figures, outcome = judge(p, history, errors, training.guessing())
    yield Snapshot(1, Text("完成", "Done"), charts, figures, outcome)


def _limits(p: GradientFlow, norm: str) -> tuple[int, int]:
    """Powers of ten between which the gradients of a deep stack without skips should start, from a layer's factor at the given scale of weights."""
    if norm != "none":
        return -3, math.ceil(
            0.09 * p.depth
        ) if norm == "batch" else 1  # batch norm with ReLU: a factor of about 1.21 a layer (Yang et al. 2019)
    factor = p.gain / {"relu": 2**0.5, "tanh": 1.0, "sigmoid": 4.0}[p.activation]
    decades = p.depth * math.log10(factor if factor < 1 or p.activation == "relu" else factor**0.5)
    return max(-14, math.floor(min(decades, 0)) - 2), min(9, math.ceil(max(decades, 0)) + 1)


def _seen(norms: Tensor, low: float, high: float) -> Tensor:
    """Norms as they are drawn: within the scale, and infinite where a network has diverged."""
    return norms.clamp(low, high).where(norms.isfinite(), math.inf)


def _median(values: Tensor) -> Tensor:
    """Over seeds, the first dimension; the lower one of an even number. It is infinite only where more than half of the networks have diverged."""
    return values.sort(0).values[(len(values) - 1) // 2]


def _median_band(values: Tensor) -> tuple[list[float], list[float], list[float]]:
    """Median of values (seeds, points) and, as its band, the seeds without the lowest and the highest one."""
    ordered = values.sort(0).values
    return _median(values).tolist(), ordered[1].tolist(), ordered[-2].tolist()


def _charts(p: GradientFlow, recipes: Sequence[Recipe], history: History) -> tuple[Chart, ...]:
    return _profile(p, recipes, history), _strip(p, recipes, history), _loss_chart(p, recipes, history)


def _profile(p: GradientFlow, recipes: Sequence[Recipe], history: History) -> LineChart:
    """The gradient's norm by layer, for the stacks of full depth: median and band at the latest step as a line, at the first step as dots."""
    both = [_limits(p, norm) for norm in {recipe.norm for recipe in recipes}]
    low, high = 10.0 ** min(powers[0] for powers in both), 10.0 ** (max(powers[1] for powers in both) + 1)
    quantity, chosen, few = int(p.quantity == "weights"), thinned(p.depth), thinned(p.depth, 16)
    lines, dots, told = [], [], []
    for i, recipe in enumerate(recipes):
        if history.norms and recipe.layers == p.depth:
            start, now = (_seen(norms[i][quantity], low, high) for norms in (history.norms[0], history.norms[-1]))
            middle, *band = _median_band(now[:, chosen])
            lines.append(Line(recipe.name, recipe.role, [layer + 1 for layer in chosen], middle, band[0], band[1]))
            name = Text(f"{recipe.name.zh}，第 1 步", f"{recipe.name.en}, step 1")
            if p.task == "depth" or i < 2:  # a clipped stack starts as one that is not clipped
                dots.append(Line(name, recipe.role, [layer + 1 for layer in few], _median(start[:, few]).tolist(), style="dots"))
            told.append((recipe.name, middle[0], middle[-1]))
    says = Text(
        "；".join(f"“{name.zh}”第 1 层{_number(a, low).zh}，第 {p.depth} 层{_number(b, low).zh}" for name, a, b in told),
        "; ".join(f"“{name.en}” {_number(a, low).en} at layer 1, {_number(b, low).en} at layer {p.depth}" for name, a, b in told),
    )
    step, symbol = len(history.norms), SYMBOLS[p.quantity]
    return LineChart(
        Text(f"各层的梯度，第 {step} 步（点：第 1 步）", f"Gradient by layer, step {step} (dots: step 1)"),
        Axis(Text("层（1 = 靠近输入）", "layer (1 = next to the input)"), low=1, high=p.depth),
        Axis(Text(f"{symbol}（对数）", f"{symbol} (log)"), log=True, low=low, high=high),
        (*dots, *lines),
        Text(f"各层的梯度范数，种子的中位数：{says.zh}。", f"Gradient norms by layer, median over seeds: {says.en}.")
        if told
        else Text("还没有训练。", "No step has been taken yet."),
    )


def _strip(p: GradientFlow, recipes: Sequence[Recipe], history: History) -> PlaneChart:
    """Layers × steps of one deep stack, median over seeds: the plain one of the claim, or the clipped one."""
    number = 2 if p.task == "exploding" else [recipe.skip for recipe in recipes].index(True) - 1
    name, (low, high) = recipes[number].name, (10.0**power for power in _limits(p, recipes[number].norm))
    quantity, rows, columns = int(p.quantity == "weights"), thinned(p.depth), thinned(p.steps)
    cells = torch.full((len(rows), len(columns)), math.nan)
    done = [step for step in columns if step < len(history.norms)]
    if done:
        norms = torch.stack([history.norms[step][number][quantity][:, rows] for step in done], 2)  # (seeds, rows, columns)
        cells[:, : len(done)] = _median(_seen(norms, low, high))
    return PlaneChart(
        Text(f"“{name.zh}”的梯度：层 × 步", f"Gradients of “{name.en}”: layers × steps"),
        Axis(Text("训练步", "training step"), low=0, high=p.steps),
        Axis(Text("层（下 = 靠近输入）", "layer (bottom = next to the input)"), low=0, high=p.depth),
        Text(
            f"每一格是“{name.zh}”某一层在某一步的梯度范数；共 {p.depth} 层，已走 {len(history.norms)} 步。",
            f"Each cell is the gradient norm of one layer of “{name.en}” at one step; {p.depth} layers, {len(history.norms)} steps so far.",
        ),
        Grid(same(SYMBOLS[p.quantity]), cells, low=low, high=high, log=True),
    )


def _loss_chart(p: GradientFlow, recipes: Sequence[Recipe], history: History) -> LineChart:
    """Training loss, averaged over windows of steps: median and band over seeds; shallow stacks as dots."""
    window, lines = max(1, p.steps // 50), []
    count = len(history.losses) // window
    if count:
        losses = torch.stack(history.losses[: count * window]).view(count, window, len(recipes), p.seeds).mean(1).clamp(0.01, 10)
        losses = losses.where(torch.stack(history.losses[window - 1 : count * window : window]).isfinite(), math.inf)
        for i, recipe in enumerate(recipes):
            deep = recipe.layers == p.depth
            name = recipe.name if p.task == "exploding" else Text(f"{recipe.name.zh} {recipe.layers}", f"{recipe.name.en} {recipe.layers}")
            middle, low, high = _median_band(losses[:, i].T)
            x = [(step + 1) * window for step in range(count)]
            lines.append(Line(name, recipe.role, x, middle, low, high) if deep else Line(name, recipe.role, x, middle, style="dots"))
    says = [(line.name, list(line.y)[-1]) for line in lines]
    return LineChart(
        Text(
            "训练损失（点：浅的）" if p.task == "depth" else "训练损失",
            "Training loss (dots: shallow)" if p.task == "depth" else "Training loss",
        ),
        Axis(Text("训练步", "training step"), low=0, high=p.steps),
        Axis(Text("交叉熵（nat，对数）", "cross-entropy (nats, log)"), log=True, low=0.01, high=10),
        tuple(lines),
        Text(
            "训练损失：" + ("，".join(f"“{name.zh}”{_number(y).zh}" for name, y in says) or "还没有") + "。",
            "Training loss: " + (", ".join(f"“{name.en}” {_number(y).en}" for name, y in says) or "none yet") + ".",
        ),
    )


def _number(value: float, low: float = 0.0) -> Text:
    """In a sentence; values are not drawn below `low`."""
    if not math.isfinite(value):
        return Text("已发散", "diverged")
    if value <= low:
        return Text(f"不到 {_digits(low)}", f"under {_digits(low)}")
    return Text(f" {_digits(value)}", _digits(value))


def _digits(value: float) -> str:
    """Two significant digits: 620, 0.068, 2.2e-13."""
    return f"{float(f'{value:.2g}'):g}"


# ---- verdicts --------------------------------------------------------------------------------------------------------

POINTS = Text("个百分点", "percentage points")
NOTHING = Text("", "")


def judge_depth(p: GradientFlow, history: History, errors: Tensor, guessing: float) -> tuple[tuple[Figure, ...], Outcome]:
    """He's Table 2 on training errors (recipes, seeds) in %; *plain* is the stack without skips that has the norm layer, if there is one.

    A stack degrades if the interval of its deep − shallow error lies above MARGIN. Reproduced: the plain one degrades, the one with skips does not, and
    at full depth skips lower the error by more than MARGIN. Same direction: skips lower it, but the plain one does not degrade, or both do. Otherwise
    not at this scale. Signs only: 0.6 points on ImageNet and tens of points after a few hundred steps on a small task have no common scale.
    """
    recipes = build_recipes(p)
    kinds = len(recipes) // 2
    plain, skip = kinds - 2, kinds - 1
    worse = (errors[:kinds] - errors[kinds:]).tolist()
    plain_degrades, skip_degrades = (interval(worse[kind])[1] > MARGIN for kind in (plain, skip))
    helps = interval((errors[plain] - errors[skip]).tolist())[1] > MARGIN
    answer = "both" if plain_degrades and skip_degrades else "plain" if plain_degrades else "skip" if skip_degrades else "neither"
    status: Status = "reproduced" if helps and answer == "plain" else "same_direction" if helps else "not_at_this_scale"
    measured, other = (
        Figure(Text(f"深 − 浅的训练错误率：{name.zh}", f"Training error, deep − shallow: {name.en}"), *mean_and_spread(worse[kind]), POINTS)
        for kind, name in ((plain, recipes[plain].name), (skip, recipes[skip].name))
    )
    published = Text(
        "ImageNet 验证集 top-1 错误率，18 → 34 层：普通 27.94% → 28.54%（训练错误率也更高），残差 27.88% → 25.03%",
        "ImageNet top-1 validation error, 18 → 34 layers: plain 27.94 % → 28.54 % (its training error is higher too), residual 27.88 % → 25.03 %",
    )
    why = joined(
        [
            _told_errors(p, recipes, errors, history),
            *(_told_gradient(p, recipes[kind].name, kind, history) for kind in sorted({0, plain})),
            _told_cause(p, history, plain, plain_degrades, untrained=errors[plain + kinds].mean().item() > guessing - MARGIN),
            _told_skip(p, history, skip, plain_degrades, skip_degrades, helps, errors[[plain, skip]].mean(1).tolist()),
            Text(
                "与论文不同：小型全连接网络、8×8 数字（或自己的数据）、几百步 SGD，差距的大小不能与那 0.6 个百分点相比；残差支路内的顺序取自 He 等 2016 年的后续论文。",
                "Unlike the paper: small fully connected stacks on 8×8 digits (or your data) and a few hundred steps of SGD, so the size of the gap cannot be compared with "
                "its 0.6 points; the order inside a residual pair is that of the follow-up paper (He et al. 2016).",
            ),
        ]
    )
    figures = (measured, other, *_error_figures(recipes, errors), *_gradient_figures(p, recipes[:kinds], history))
    return figures, Outcome(Verdict(status, measured, published, HE, why), answer)


def judge_clipping(p: GradientFlow, history: History, errors: Tensor, guessing: float) -> tuple[tuple[Figure, ...], Outcome]:
    """What clipping does to the training error (recipes, seeds) in %, with the same weights and batches.

    Reproduced: it lowers the error by more than MARGIN (the whole interval), and the clipped stacks beat guessing by more than MARGIN. Same direction: it
    lowers the error, but the clipped stacks hardly beat guessing: they survive without learning. Otherwise not at this scale.
    """
    recipes = build_recipes(p)
    saved, means = (errors[1] - errors[2]).tolist(), errors.mean(1).tolist()
    _, low, high = interval(saved)
    learns = interval(errors[2].tolist())[2] < guessing - MARGIN
    answer = ("rescues" if learns else "survives") if low > MARGIN else "hurts" if high < -MARGIN else "same"
    statuses: dict[str, Status] = {"rescues": "reproduced", "survives": "same_direction"}
    measured = Figure(Text("裁剪使训练错误率降低", "Training error that clipping saves"), *mean_and_spread(saved), POINTS)
    published = Text(
        "RNN 的训练成绩，不裁剪 → 裁剪：MuseData 负对数似然 8.25 → 6.54，Nottingham 3.67 → 3.21，Penn Treebank 每字符 1.46 → 1.34 比特",
        "RNNs in training, without → with clipping: negative log likelihood on MuseData 8.25 → 6.54, Nottingham 3.67 → 3.21; Penn Treebank 1.46 → 1.34 bits a character",
    )
    size = [_mean(history.layer(i, 1, 1)) for i in (0, 1)]
    lost = [diverged(history, i) for i in (1, 2)]
    others = [(recipe.name, mean) for i, (recipe, mean) in enumerate(zip(recipes, means, strict=True)) if i not in (1, 2)]
    why = joined(
        [
            Text(
                f"增益 {p.gain:g}、{p.depth} 层：第 1 层权重的梯度一开始是 {_digits(size[1])}（合适的初值：{_digits(size[0])}）。不裁剪时 {p.seeds} 个网络有 {lost[0]} 个发散，训练错误率 "
                f"{means[1]:.1f}%（发散算全错）；裁剪到 τ = {p.clip:g} 时 {lost[1]} 个发散，错误率 {means[2]:.1f}%（瞎猜是 {guessing:.0f}%）。",
                f"Gain {p.gain:g}, {p.depth} layers: the gradient of layer 1's weights starts at {_digits(size[1])} (with a good scale: {_digits(size[0])}). Without clipping {lost[0]} of {p.seeds} "
                f"networks diverge, training error {means[1]:.1f} % (a diverged one gets all wrong); clipped to τ = {p.clip:g}, {lost[1]} diverge, error {means[2]:.1f} % (guessing: {guessing:.0f} %).",
            ),
            _told_clipping(p, history, answer),
            Text(
                "对照：" + "，".join(f"“{name.zh}” {mean:.1f}%" for name, mean in others) + "。",
                "For comparison: " + ", ".join(f"“{name.en}” {mean:.1f} %" for name, mean in others) + ".",
            ),
            Text(
                "论文裁剪的是 RNN（合成任务的阈值也是 1），同一个矩阵逐步相乘；这里每层有自己的矩阵，所以只比方向。",
                "The paper clips RNNs (in its synthetic tasks to 1), where one matrix is multiplied step after step; here each layer has its own, so only the direction is compared.",
            ),
        ]
    )
    figures = (measured, *_error_figures(recipes, errors), *_gradient_figures(p, recipes, history))
    return figures, Outcome(Verdict(statuses.get(answer, "not_at_this_scale"), measured, published, PASCANU, why), answer)


def _error_figures(recipes: Sequence[Recipe], errors: Tensor) -> list[Figure]:
    return [
        Figure(
            Text(f"训练错误率：{recipe.name.zh}，{recipe.layers} 层", f"Training error: {recipe.name.en}, {recipe.layers} layers"),
            *mean_and_spread(row),
            "%",
        )
        for recipe, row in zip(recipes, errors.tolist(), strict=True)
    ]


def _gradient_figures(p: GradientFlow, recipes: Sequence[Recipe], history: History) -> list[Figure]:
    """Geometric means over seeds at the first step, at the first and at the last hidden layer."""
    return [
        Figure(
            Text(f"第 1 步第 {layer} 层 ‖{symbol}‖：{recipe.name.zh}", f"‖{symbol}‖ at step 1, layer {layer}: {recipe.name.en}"),
            _mean(history.layer(i, layer, quantity)),
        )
        for i, recipe in enumerate(recipes)
        for quantity, symbol in enumerate(("∂L/∂z", "∂L/∂W"))
        for layer in (1, p.depth)
    ]


def _mean(norms: Sequence[float]) -> float:
    """Geometric mean of norms; 0 if one of them is 0, infinite if one is."""
    if not all(math.isfinite(norm) for norm in norms):
        return math.inf
    return math.exp(sum(map(math.log, norms)) / len(norms)) if min(norms) > 0 else 0.0


def _told_errors(p: GradientFlow, recipes: Sequence[Recipe], errors: Tensor, history: History) -> Text:
    kinds, means = len(recipes) // 2, errors.mean(1).tolist()
    pairs = [(recipes[i].name, means[i + kinds], means[i]) for i in range(kinds)]
    lost = [(recipes[i].name, diverged(history, i)) for i in range(kinds) if diverged(history, i)]
    zh = "，".join(f"“{name.zh}” {a:.1f}% → {b:.1f}%" for name, a, b in pairs)
    en = ", ".join(f"“{name.en}” {a:.1f} % → {b:.1f} %" for name, a, b in pairs)
    if lost:
        zh += f"；{p.depth} 层的 {p.seeds} 个网络里发散（算全错）的：" + "，".join(f"“{name.zh}” {count} 个" for name, count in lost)
        en += f"; diverged (all wrong) of {p.seeds} networks with {p.depth} layers: " + ", ".join(
            f"“{name.en}” {count}" for name, count in lost
        )
    return Text(f"训练错误率，{shallow_depth(p)} → {p.depth} 层：{zh}。", f"Training error, {shallow_depth(p)} → {p.depth} layers: {en}.")


def _told_gradient(p: GradientFlow, name: Text, recipe: int, history: History) -> Text:
    """Whether the backward signal of a deep stack vanishes, grows or keeps its size at the first step, and what its weights get."""
    first, last = (_mean(history.layer(recipe, layer)) for layer in (1, p.depth))
    weights = _mean(history.layer(recipe, p.depth, 1))
    if not math.isfinite(first + last):
        trend = Text("已溢出", "has overflowed")
    elif last == 0:
        trend = Text("是 0，因为前向信号已下溢", "is zero, as the forward signal has underflowed")
    elif first < 0.01 * last:
        trend = Text("越靠近输入越弱（消失）", "fades on its way back (it vanishes)")
    elif first > 100 * last:
        trend = Text("越靠近输入越强（爆炸）", "grows on its way back (it explodes)")
    else:
        trend = Text("大致保持大小", "roughly keeps its size")
    told = Text(
        f"“{name.zh}”在第 1 步的反向信号{trend.zh}：第 {p.depth} 层 {_digits(last)}，第 1 层 {_digits(first)}。",
        f"At step 1 the backward signal of “{name.en}” {trend.en}: {_digits(last)} at layer {p.depth}, {_digits(first)} at layer 1.",
    )
    if not weights < 1e-4 * last:
        return told
    return joined(
        [
            told,
            Text(
                f"连第 {p.depth} 层的权重也只得到 {_digits(weights)}：前向的激活值同样逐层变小，所以学不动的不只是前面几层。",
                f"Even the weights of layer {p.depth} get only {_digits(weights)}: the activations fade on the way forward too, so it is not just the early layers that stand still.",
            ),
        ]
    )


def _told_cause(p: GradientFlow, history: History, plain: int, degrades: bool, untrained: bool) -> Text:
    """What this run says about He's remark that vanishing gradients are an unlikely cause."""
    name = build_recipes(p)[plain].name
    if not degrades:
        if untrained:
            return Text(
                "不用残差时，浅的也没训动，深的谈不上更差。",
                "Without skips not even the shallow stack trains, so the deep one cannot be worse.",
            )
        return Text(f"“{name.zh}”变深以后没有明显变差。", f"“{name.en}” is not clearly worse when deep than when shallow.")
    paper = Text(
        "He 等人的普通网络都有 BN，他们查过反向梯度，范数正常，因此认为退化“不太可能”是梯度消失造成的",
        "He et al.'s plain nets all have BN; they found the norms of the gradients healthy and hold vanishing gradients an “unlikely” cause",
    )
    if p.norm == "none":
        return Text(f"{paper.zh}；这里没有归一化层，情形不同。", f"{paper.en}; there is no norm layer here, which is a different case.")
    first, last = (_mean(history.layer(plain, layer, start=False)) for layer in (1, p.depth))
    grown = p.norm == "batch" and _mean(history.layer(plain, 1)) > 10 * _mean(history.layer(plain, p.depth))
    healthy = math.isfinite(first) and first > 0.01 * last
    zh = "梯度没有消失，网络却照样退化，所以这里的原因也不是梯度消失" if healthy else "这里的梯度并不正常"
    en = "it has not vanished, and yet the stack degrades, so vanishing is not the cause here either" if healthy else "not healthy here"
    return joined([
        Text("（没有残差的深层 BN 网络，初始梯度本来就随深度增长：Yang 等，2019。）", "(In deep BN stacks without skips the initial gradient does grow with depth: Yang et al. 2019.)")
        if grown
        else NOTHING,
        Text(
            f"训练到最后，“{name.zh}”的反向信号在第 {p.depth} 层是 {_digits(last)}，第 1 层是 {_digits(first)}：{zh}。{paper.zh}，而是优化本身困难。",
            f"By the end the backward signal of “{name.en}” is {_digits(last)} at layer {p.depth} and {_digits(first)} at layer 1: {en}. {paper.en}: the optimisation itself is hard.",
        ),
    ])  # fmt: skip


def _told_skip(
    p: GradientFlow, history: History, skip: int, plain_degrades: bool, skip_degrades: bool, helps: bool, errors: Sequence[float]
) -> Text:
    """What skips did at full depth; `errors` are the means without and with them, in %."""
    if diverged(history, skip) and p.norm == "none":
        start = _mean(history.layer(skip, 1, 1))
        return Text(
            f"带残差的网络发散，在意料之中：恒等通路防消失，不防爆炸。没有归一化时，每对层都把支路的方差加上去（He 初始化约翻一倍），有残差时第 1 层权重的梯度一开始就有 {_digits(start)}。要靠归一化或更小的初值（试试 g = 0.58）。",
            "That the stack with skips diverges is to be expected: the identity path guards against vanishing, not against explosion. Without a norm layer every pair adds the variance of its branch (about a doubling with He's scale), "
            f"and with skips the gradient of layer 1's weights starts at {_digits(start)}. It takes a norm layer or smaller weights (try g = 0.58).",
        )
    if helps:
        rest = Text("，但深的仍比浅的差", ", yet deep is still worse than shallow") if skip_degrades else NOTHING
        return Text(
            f"残差给每对层一条恒等通路（雅可比 I + J），同样 {p.depth} 层，训练错误率从 {errors[0]:.1f}% 变为 {errors[1]:.1f}%{rest.zh}。",
            f"Skips give each pair of layers an identity path (Jacobian I + J): with the same {p.depth} layers the training error is {errors[1]:.1f} % instead of {errors[0]:.1f} %{rest.en}.",
        )
    if plain_degrades:
        return Text("在这个设置下，残差没有明显降低训练错误率。", "In this setting skips did not clearly lower the training error.")
    expected = NOTHING
    if errors[0] < 10:
        expected = Text(
            "；不用残差也训得动，自然见不到论文里的退化",
            "; a stack that trains without them cannot show the paper's degradation, as is to be expected",
        )
    return Text(
        f"残差没有什么可补救的：{p.depth} 层的训练错误率，有残差是 {errors[1]:.1f}%，没有是 {errors[0]:.1f}%{expected.zh}。",
        f"Skips had nothing to mend: the training error of {p.depth} layers is {errors[1]:.1f} % with them and {errors[0]:.1f} % without{expected.en}.",
    )


def _told_clipping(p: GradientFlow, history: History, answer: str) -> Text:
    lost, dead = diverged(history, 2), sum(norm == 0 for norm in history.layer(2, p.depth, 1, start=False))
    if answer == "rescues":
        return Text(
            "裁剪只缩短步长、不改方向，训练因此能继续下去。", "Clipping shortens the step and keeps its direction, so training can go on."
        )
    if answer == "hurts":
        return Text(
            "这里不裁剪也能训练，裁剪只是把步长剪小，反而更慢。",
            "Here training does not need clipping, which only shortens the steps and slows it down.",
        )
    if lost:
        return Text(
            f"裁剪的也有 {lost} 个发散：损失本身一旦溢出，就没有梯度可裁了。",
            f"{lost} of the clipped networks diverge as well: once the loss itself overflows there is no gradient left to shorten.",
        )
    if answer == "same":
        return Text("裁剪与否，训练错误率看不出差别。", "Clipping made no clear difference to the training error.")
    cause = (
        Text(f"其中 {dead} 个的 ReLU 全部死掉，梯度恰好为 0", f"in {dead} of them the ReLUs have died and the gradient is exactly 0")
        if 2 * dead > p.seeds
        else Text("步长被剪到 τ，相对于这么大的权重几乎没有挪动", "the steps are cut to τ, tiny moves beside weights this large")
    )
    return Text(
        f"裁剪挡住了溢出，却没有学会：{cause.zh}。裁剪对付偶发的尖峰，不能代替合适的初值或归一化。",
        f"Clipping kept the networks finite, yet they did not learn: {cause.en}. Clipping is for occasional spikes; it does not replace a good scale or a norm layer.",
    )


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: GradientFlow) -> Prediction:
    if p.task == "exploding":
        return Prediction(
            Text(
                f"{p.depth} 层、增益 {p.gain:g} 的网络，把梯度范数裁剪到 {p.clip:g}，{p.steps} 步后训练错误率会怎样？",
                f"{p.depth} layers, gain {p.gain:g}: what does clipping the gradient's norm to {p.clip:g} do to the training error after {p.steps} steps?",
            ),
            {
                "rescues": Text("明显更低，学得会", "clearly lower, and the stack learns"),
                "survives": Text("更低，但和瞎猜差不多", "lower, but hardly better than guessing"),
                "same": Text("看不出差别", "no clear difference"),
                "hurts": Text("更高：裁剪拖慢了训练", "higher: clipping slows training down"),
            },
        )
    name, skip = (recipe.name for recipe in build_recipes(p)[1:3]) if p.norm != "none" else (recipe.name for recipe in build_recipes(p)[:2])
    return Prediction(
        Text(
            f"各训练 {p.steps} 步，{p.depth} 层的训练错误率比 {shallow_depth(p)} 层更高的是哪种？（增益 {p.gain:g}）",
            f"After {p.steps} steps each, whose training error is higher with {p.depth} layers than with {shallow_depth(p)}? (gain {p.gain:g})",
        ),
        {
            "plain": Text(f"只有“{name.zh}”", f"only “{name.en}”"),
            "skip": Text(f"只有“{skip.zh}”", f"only “{skip.en}”"),
            "both": Text("两种都是", "both"),
            "neither": Text("都不是", "neither"),
        },
    )


_CODE = """import torch
{data}
torch.set_num_threads(1)  # networks as small as these gain nothing from more
WIDTH, STEPS, RATE, NORM = {width}, {steps}, {rate:g}, "{norm}"

def standardised(z, norm):
    if norm == "none":
        return z
    dim = 0 if norm == "batch" else 1  # over the samples, or over the units
    return (z - z.mean(dim, keepdim=True)) / (z.var(dim, keepdim=True, unbiased=False) + 1e-5).sqrt()

def forward(weights, biases, x, norm, skip):
    kept = x @ weights[0].T
    zs = [kept]
    for i, weight in enumerate(weights[1:-1]):
        z = torch.{activation}(standardised(zs[-1], norm) + biases[i]) @ weight.T
        if skip and i % 2:
            kept = z = z + kept
        zs.append(z)
    return torch.{activation}(standardised(zs[-1], norm) + biases[-2]) @ weights[-1].T + biases[-1], zs

def train(name, layers, norm="none", skip=False, gain={gain:g}, clip=None):
    torch.manual_seed(0)
    sizes = [x.shape[1]] + [WIDTH] * layers + [classes]
    weights = [(torch.randn(b, a) * gain / a**0.5).requires_grad_() for a, b in zip(sizes, sizes[1:])]
    biases = [torch.zeros(b, requires_grad=True) for b in sizes[1:]]
    optimizer = torch.optim.SGD(weights + biases, lr=RATE)
    for step in range(STEPS):
        chosen = torch.randint(0, len(x), (32,))
        logits, zs = forward(weights, biases, x[chosen], norm, skip)
        loss = torch.nn.functional.cross_entropy(logits, y[chosen])
        for z in zs:
            z.retain_grad()
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            print(name, "gradient of z at layer 1: %.1e, at layer %d: %.1e" % (zs[0].grad.norm(), layers, zs[-1].grad.norm()))
        if clip:
            torch.nn.utils.clip_grad_norm_(weights + biases, clip)
        optimizer.step()
    with torch.no_grad():
        logits, _ = forward(weights, biases, x[:500], norm, skip)
    error = 100 * (logits.argmax(1) != y[:500]).float().mean()
    print(name, "loss %.3f, training error %.1f %%" % (loss.item(), error.item()))  # a loss of nan: it has diverged

"""
_TAILS = {
    "depth": """
for layers in ({shallow}, {depth}):
    train(f"plain, {{layers}} layers:", layers)
    if NORM != "none":
        train(f"norm layer, {{layers}} layers:", layers, NORM)
    train(f"with skips, {{layers}} layers:", layers, NORM, skip=True)
""",
    "exploding": """
train("good scale:", {depth}, gain={good_gain:.4g})
train("no clipping:", {depth})
train("clipped:", {depth}, clip={clip:g})
if NORM != "none":
    train("norm layer:", {depth}, NORM)
""",
}


def code(p: GradientFlow) -> str:
    values = p.values() | {"shallow": shallow_depth(p), "good_gain": good_gain(p), "data": digits_or_own(p.data)}
    return (_CODE + _TAILS[p.task]).format(**values)


DEMO = Demo(
    topic="activations",
    title=Text("梯度的消失与爆炸", "Vanishing and exploding gradients"),
    question=Text("网络很深时，梯度一路传到前面几层还剩多少，怎样才训练得动？", "In a deep stack, how much of the gradient reaches the early layers, and what makes it train?"),
    look_for=Text(
        "看第一张图：越靠近输入，梯度是衰减、放大，还是持平？它随训练又怎样移动？再看损失：梯度没有消失的深网络，就一定训得动吗？",
        "Watch in the first chart whether the gradient fades, grows or keeps its size towards layer 1, and how that moves in training. Then look at the loss: does a deep stack whose gradient "
        "does not vanish always train?",
    ),
    scaled_down=Text(
        "用 8×8 数字上宽 24 的全连接网络、两百步 SGD 代替 ImageNet 上的卷积网络和 60 万步；深浅之比取三比一。",
        "Fully connected stacks of width 24 on 8×8 digits and 200 steps of SGD stand in for convolutional nets on ImageNet and 600,000 steps; deep is three times shallow.",
    ),
    parameters=GradientFlow,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=4,
)  # fmt: skip
