"""Saddle points (1.35): who runs into them, who gets away, and how often a network's Hessian has negative eigenvalues while it trains.

*saddle*: five methods on 5x² − y²; *flat*: the same on x³ + y², whose Hessian at the critical point is non-negative although that is no minimum;
*network*: the exact Hessian of tiny networks along their training. Everything is float64 on the CPU: there are at most 97 parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demos.core.charts import Axis, Chart, Grid, Line, LineChart, PlaneChart, Points, Role
from demos.core.datasets import circles, moons, spirals
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.statistics import interval, mean_and_band, mean_and_spread, ratio_interval, thinned
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

ON_PLANE = ("saddle", "flat")


@dataclass(frozen=True)
class SaddlePoints(Parameters):
    task: str = mode_choice(
        "saddle", {"saddle": same("5x² − y²"), "flat": same("x³ + y²"), "network": Text("小网络", "a network")},
        label=Text("实验", "Experiment"), help=Text("在哪个函数上。", "On which function."),
    )  # fmt: skip
    rate: float = real(
        0.1, 0.001, 0.3, log=True, label=Text("学习率 η", "Learning rate η"), modes=ON_PLANE,
        help=Text("5x² − y² 上超过 0.2 就在 x 方向发散。", "On 5x² − y² the x direction diverges above 0.2."),
    )  # fmt: skip
    offset: float = real(
        1e-6, 1e-15, 1, log=True, label=Text("起点离山脊的距离 y₀", "Distance y₀ from the ridge"), modes=("saddle",),
        help=Text("正好在 y = 0 上时梯度没有 y 分量。", "On y = 0 itself the gradient has no y component."),
    )  # fmt: skip
    noise: float = real(
        0.1, 0, 2, step=0.01, label=Text("梯度噪声 σ", "Gradient noise σ"), modes=ON_PLANE,
        help=Text("加在梯度每个分量上的正态噪声。", "Normal noise on each component of the gradient."),
    )  # fmt: skip
    beta: float = real(
        0.9, 0, 0.99, advanced=True, label=Text("动量系数 β", "Momentum β"), modes=ON_PLANE, help=Text("保留上一步的比例。", "Share of the last move that is kept.")
    )  # fmt: skip
    shape: str = choice(
        "moons", {"moons": Text("双月", "moons"), "circles": Text("圆环", "circles"), "spirals": Text("螺旋", "spirals")},
        label=Text("数据", "Data"), modes=("network",), help=Text("60 个二维点，两类。", "60 points in the plane, two classes."),
    )  # fmt: skip
    hidden: int = integer(
        5, 2, 24, label=Text("隐藏单元", "Hidden units"), modes=("network",), help=Text("h 个单元有 4h + 1 个参数。", "h units have 4h + 1 parameters.")
    )  # fmt: skip
    scale: float = real(
        0.5, 0.01, 2, log=True, label=Text("初始权重的标准差", "Standard deviation of the initial weights"), modes=("network",),
        help=Text("很小时就从全零这个鞍点旁出发。", "If small, training begins beside the saddle of all zeros."),
    )  # fmt: skip
    steps: int = integer(60, 20, 1200, step=20, label=Text("步数", "Steps"), help=Text("走多少步。", "How many steps are taken."))
    draws: int = integer(
        12, 5, 16, advanced=True, label=Text("重复次数", "Repetitions"), help=Text("随机的起点和噪声（或初始权重）。", "Random starts and noise (or initial weights).")
    )  # fmt: skip


PRESETS = {
    "paths": Preset(
        Text("五条路径", "Five paths"),
        Text("从鞍点的山脊旁出发：60 步之后谁还困在鞍点？", "Beside the ridge of a saddle: who is still there after 60 steps?"),
        {"task": "saddle"}, "textbook",
    ),
    "spectrum": Preset(
        Text("网络的 Hessian 谱", "A network's spectrum"),
        Text("训练中损失下降时，负特征值的比例怎么变？", "As the loss falls in training, what becomes of the negative eigenvalues?"),
        {"task": "network", "steps": 600, "draws": 16},
        look_for=Text(
            "看特征值的分布：0 以下那几行的颜色随训练怎样变，到最后还剩不剩。再看散点图：损失低的网络，负特征值的比例是高还是低。",
            "In the spread of the eigenvalues, see what becomes of the rows below 0, and whether anything is left there in the end. Then look at the scattered points: do networks of low loss have a high or a low share of negative eigenvalues?",
        ),
    ),
    "flat": Preset(
        Text("Hessian 半正定", "Non-negative Hessian"),
        Text("x³ + y²：梯度为零、Hessian 半正定，就是极小值吗？", "x³ + y²: zero gradient, non-negative Hessian. Is that a minimum?"),
        {"task": "flat", "noise": 0.5, "steps": 200}, "limits",
        look_for=Text(
            "先看从 x > 0 一侧出发的路径：哪几条停在 (0, 0)，哪几条越过它往 x < 0 走。再看损失：停在 0 附近的方法，下面还有没有更低的地方。",
            "All paths start at x > 0: see which stop at (0, 0) and which go on past it to x < 0. Then see the loss: for the methods that stay near 0, is there anywhere lower to go?",
        ),
    ),
}  # fmt: skip

DAUPHIN = Source(
    "Identifying and attacking the saddle point problem in high-dimensional non-convex optimization",
    "Y. N. Dauphin, R. Pascanu, C. Gulcehre, K. Cho, S. Ganguli, Y. Bengio", 2014, "https://arxiv.org/abs/1406.2572",
)  # fmt: skip
LIBERZON = Source(
    "Calculus of Variations and Optimal Control Theory, section 1.2.1", "Daniel Liberzon", 2012, "https://liberzon.csl.illinois.edu/teaching/cvoc/node8.html"
)  # fmt: skip
METHODS: dict[str, tuple[Text, Role]] = {
    "gd": (Text("梯度下降", "plain GD"), "baseline"),
    "newton": (Text("牛顿法", "Newton"), "first"),
    "noise": (Text("加噪声", "GD + noise"), "second"),
    "momentum": (Text("动量", "momentum"), "third"),
    "sfn": (Text("无鞍牛顿", "saddle-free"), "fourth"),
}
AWAY = -1.0  # a run has got away when the loss is below this; the saddle lies at 0


# ---- the plane -------------------------------------------------------------------------------------------------------


def surface(task: str, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss (…), gradient (…, 2) and the Hessian's diagonal (…, 2) at points (…, 2); there is nothing off the diagonal, and both saddles are at (0, 0)."""
    x, y = w.unbind(-1)
    if task == "saddle":
        return 5 * x**2 - y**2, torch.stack([10 * x, -2 * y], -1), torch.stack([torch.full_like(x, 10), torch.full_like(x, -2)], -1)
    return x**3 + y**2, torch.stack([3 * x**2, 2 * y], -1), torch.stack([6 * x, torch.full_like(x, 2)], -1)


def starts(p: SaddlePoints, generator: torch.Generator) -> Tensor:
    """(draws, 2): on the saddle far out along its ridge and about y₀ beside it; on x³ + y² uphill of the flat point."""
    size = 0.5 + torch.rand(p.draws, 2, generator=generator, dtype=torch.float64)  # ½ … 1½
    sign = 1.0 - 2 * torch.randint(2, (p.draws, 2), generator=generator)
    if p.task == "saddle":
        return sign * size * torch.tensor([1.0, p.offset], dtype=torch.float64)
    return torch.stack([size[:, 0], (sign * size)[:, 1]], 1)


def move(p: SaddlePoints, w: Tensor, before: Tensor, noise: Tensor) -> Tensor:
    """The next points of all methods, w (5, draws, 2) in the order of METHODS; a run far below the saddle stays where it is (the loss has no floor)."""
    loss, gradient, curvature = surface(p.task, w)
    safe = curvature.abs().clamp_min(1e-300)
    shift = -p.rate * gradient
    shift[1] = -gradient[1] / torch.where(curvature[1] < 0, -safe[1], safe[1])  # Newton: divided by the curvature
    shift[2] -= p.rate * noise
    shift[3] += p.beta * (w[3] - before[3])
    shift[4] = -gradient[4] / safe[4]  # saddle-free Newton: by its absolute value
    return torch.where((loss < 4 * AWAY)[..., None], w, w + shift)


def _run_plane(p: SaddlePoints, generator: torch.Generator) -> Iterator[Snapshot]:
    w = before = starts(p, generator).expand(len(METHODS), -1, -1)
    noise = p.noise * torch.randn(p.steps, p.draws, 2, generator=generator, dtype=torch.float64)
    path, pace = [w], Pace()
    yield Snapshot(0, Text("就绪", "Ready"), _plane_charts(p, path))
    for step in range(p.steps):
        w, before = move(p, w, before, noise[step]), w
        path.append(w)
        if pace.due((step + 1) / p.steps):
            yield Snapshot(0.99 * (step + 1) / p.steps, Text(f"第 {step + 1} 步", f"Step {step + 1}"), _plane_charts(p, path))
    judge = judge_saddle if p.task == "saddle" else judge_flat
    figures, outcome = judge(p, torch.stack(path))
    yield Snapshot(1, Text("完成", "Done"), _plane_charts(p, path), figures, outcome)


def _plane_charts(p: SaddlePoints, path: Sequence[Tensor]) -> tuple[Chart, ...]:
    """Paths of the first start over the loss; the loss and the distance from the saddle against steps, means over starts."""
    chosen = thinned(len(path))
    w = torch.stack([path[i] for i in chosen])  # (steps, 5, draws, 2)
    wide, cells = 1.8, 50
    line = ((torch.arange(cells) + 0.5) / cells * 2 - 1) * wide
    ground = surface(p.task, torch.stack(torch.meshgrid(line, line, indexing="xy"), 2))[0]
    first = [w[:, m, 0].clamp(-2 * wide, 2 * wide).T.tolist() for m in range(len(METHODS))]
    now = surface(p.task, w)[0].nan_to_num(math.inf)  # (steps, 5, draws)
    far = w.norm(dim=3).nan_to_num(math.inf)
    gone = [names for names, runs in zip(METHODS.values(), now[-1] < AWAY, strict=True) if runs.double().mean() > 0.5]
    zh, en = "、".join(name.zh for name, _ in gone) or "还没有", ", ".join(name.en for name, _ in gone) or "nobody yet"
    steps = Axis(Text("步数", "step"), low=0, high=p.steps)

    def curves(values: Tensor, log: bool) -> tuple[Line, ...]:
        return tuple(Line(*METHODS[m], chosen, *mean_and_band(values[:, i].T.tolist(), log=log)) for i, m in enumerate(METHODS))

    theory = [(1 + 2 * p.rate) ** t * p.offset for t in chosen] if p.task == "saddle" else [1 / (1 + 3 * p.rate * t) for t in chosen]
    law = Text("理论 y₀(1+2η)ᵗ", "theory y₀(1+2η)ᵗ") if p.task == "saddle" else Text("理论 1/(1+3ηt)", "theory 1/(1+3ηt)")
    return (
        PlaneChart(
            Text("五种方法的路径", "The paths of five methods"), Axis(same("x"), low=-wide, high=wide), Axis(same("y"), low=-wide, high=wide),
            Text(f"从同一点出发的路径，鞍点在 (0, 0)。已离开的：{zh}。", f"Paths from one start; the saddle is at (0, 0). Away already: {en}."),
            Grid(Text("损失", "loss"), ground, low=-3, high=9 if p.task == "saddle" else 6, bands=12),
            points=(Points(Text("鞍点", "saddle"), [0], [0], "warning"),), lines=tuple(Line(*METHODS[m], *first[i]) for i, m in enumerate(METHODS)),
        ),
        LineChart(
            Text("损失与步数", "Loss against steps"), steps, Axis(Text("损失（鞍点处为 0）", "loss (0 at the saddle)"), low=-2, high=7 if p.task == "saddle" else 4),
            curves(now.clamp(-3, 30), False), Text(f"平均损失；落到 −1 以下就算离开。已离开的：{zh}。", f"Mean loss; below −1 a run is away. Away already: {en}."),
        ),
        LineChart(
            Text("离鞍点多远", "Distance from the saddle"), steps, Axis(Text("距离（对数）", "distance (log)"), log=True, low=1e-8, high=10),
            (Line(law, "theory", chosen, [min(value, 10.0) for value in theory]), *curves(far.clamp(1e-9, 10), True)),
            Text("到鞍点的平均距离；牛顿法一步就到，落在图外。" if p.task == "saddle" else "到平坦点的平均距离。",
                 "Mean distance; Newton is there after one step, below the frame." if p.task == "saddle" else "Mean distance from the flat point."),
        ),
    )  # fmt: skip


def escapes(task: str, path: Tensor) -> Tensor:
    """When each run (5, draws) got away, in steps; infinite: not yet. path: (steps + 1, 5, draws, 2)."""
    low = surface(task, path)[0] < AWAY
    return torch.where(low.any(0), low.int().argmax(0).double(), math.inf)


def _answer(left: Tensor) -> str:
    """Which methods are still at the saddle in most of the draws; left (5, draws): when each got away."""
    stuck = {m for i, m in enumerate(METHODS) if left[i].isinf().double().mean() > 0.5}
    return {("newton",): "newton", ("gd", "newton"): "newton-gd", ("gd", "newton", "sfn"): "three"}.get(tuple(sorted(stuck)), "other")


def _escape_figures(left: Tensor) -> list[Figure]:
    """Medians, as some never get away."""
    names = [name for name, _ in METHODS.values()]
    return [Figure(Text(f"离开的步数（中位数）：{name.zh}", f"Steps to get away (median): {name.en}"), float(runs.median())) for name, runs in zip(names, left, strict=True)]  # fmt: skip


def judge_saddle(p: SaddlePoints, path: Tensor) -> tuple[tuple[Figure, ...], Outcome]:
    """Reproduced: after one step Newton is within 1e-12 of the saddle in every draw and stays; at least 80 % of the runs with noise and of those of saddle-free
    Newton get away; and noise takes fewer steps than none (who has not got away counts with one step more than were taken; the interval of the ratio lies
    above 1). Same direction: Newton ends at the saddle and 80 % of another method's runs get away. Otherwise not at this scale.
    """
    left = escapes("saddle", path)
    after = float(path[1, 1].norm(dim=1).max())
    gone = left.isfinite().double().mean(1) >= 0.8  # (5,)
    plain, noisy = left[0].clamp_max(p.steps + 1.0), left[2].clamp_max(p.steps + 1.0)
    gain, low, high = ratio_interval(((plain + 1) / (noisy + 1)).tolist())
    status: Status = "not_at_this_scale"
    if after <= 1e-12 and bool(left[1].isinf().all()) and bool(gone.any()):
        status = "reproduced" if low > 1 and bool(gone[2] and gone[4]) else "same_direction"
    growth = (path[1, 0, :, 1] / path[0, 0, :, 1]).tolist()
    figures = (
        Figure(Text("牛顿法一步之后离鞍点（最远）", "Newton's distance from the saddle after one step (largest)"), after),
        *_escape_figures(left),
        Figure(Text("梯度下降每步 |y| 乘以", "Plain GD: |y| grows each step by"), *mean_and_spread(growth), "×"),
        Figure(Text("理论 1 + 2η", "Theory 1 + 2η"), 1 + 2 * p.rate, None, "×"),
        Figure(Text("加噪声后逃离快多少倍", "Noise gets away sooner by"), gain, (high - low) / 2, "×"),
    )  # fmt: skip
    noisily = Text("噪声一上来就把它推离山脊", "Noise pushes it off the ridge at once") if p.noise else Text("噪声为零，与梯度下降相同", "There is no noise, so this is plain GD again")  # fmt: skip
    need = math.log(1 / p.offset) / math.log(1 + 2 * p.rate)
    steps = [_steps(float(runs.median())) for runs in left]
    explanation = Text(
        f"这里 Hessian 是 diag(10, −2)。牛顿步除以特征值，负曲率那一维的方向就反了：一步落到鞍点（误差 {after:.1g}），再也不动，因为它找的是梯度为零的点，不是极小值。无鞍牛顿除以 |λ|，"
        f"y 每步翻倍，{steps[4].zh}。梯度下降的 |y| 每步只乘 {1 + 2 * p.rate:.3g}，从 {_short(p.offset)} 长到 1 要约 {need:.0f} 步，{steps[0].zh}；"
        f"{noisily.zh}（σ = {p.noise:g}），{steps[2].zh}；动量 {steps[3].zh}。若起点恰好在 y = 0，没有噪声的梯度下降永远走不开。",
        f"The Hessian is diag(10, −2). Newton divides by the eigenvalues, which turns the step round where curvature is negative: one step lands on the saddle (to {after:.1g}) and stays, as Newton "
        f"looks for a zero gradient, not for a minimum. Saddle-free Newton divides by |λ| and doubles y each step: {steps[4].en}. Plain GD only multiplies |y| by {1 + 2 * p.rate:.3g}, which takes about "
        f"{need:.0f} steps from {_short(p.offset)} to 1: {steps[0].en}. {noisily.en} (σ = {p.noise:g}): {steps[2].en}. Momentum: {steps[3].en}. "
        "Exactly on y = 0, GD without noise would never leave.",
    )  # fmt: skip
    if p.rate > 0.2:
        explanation = Text(explanation.zh + f"学习率 {p.rate:g} 超过 2/10，没有动量的梯度下降在 x 方向发散。", explanation.en + f" The rate {p.rate:g} is above 2/10: without momentum, GD diverges along x.")  # fmt: skip
    published = Text(
        "在鞍点附近，牛顿法在负曲率方向上走反，鞍点成了吸引点；除以 |λ| 的无鞍牛顿法则被推开（图 2：5x² − y²）",
        "near a saddle Newton's method goes the wrong way along negative curvature and is attracted; dividing by |λ| (saddle-free Newton) makes it a repeller (Fig. 2: 5x² − y²)",
    )
    return figures, Outcome(Verdict(status, figures[0], published, DAUPHIN, explanation), _answer(left))


def _short(value: float) -> str:
    """1e-6 rather than 1e-06."""
    return f"{value:.3g}".replace("e-0", "e-")


def _steps(value: float) -> Text:
    return (
        Text(f"{value:.0f} 步离开", f"away after {value:.0f} steps")
        if math.isfinite(value)
        else Text("到最后也没离开", "not away by the end")
    )


def judge_flat(p: SaddlePoints, path: Tensor) -> tuple[tuple[Figure, ...], Outcome]:
    """Is (0, 0) a counter-example to «zero gradient and non-negative Hessian, hence a minimum»? Reproduced: gradient and least eigenvalue there are 0, as autograd
    has them, and runs with noise or momentum get lower by more than 1 in most draws. Same direction: in some. Otherwise not at this scale.
    """
    left = escapes("flat", path)
    origin = torch.zeros(2, dtype=torch.float64)
    gradient = float(torch.autograd.functional.jacobian(lambda w: surface("flat", w)[0], origin).norm())
    least = float(torch.linalg.eigvalsh(torch.autograd.functional.hessian(lambda w: surface("flat", w)[0], origin)).min())
    leavers = left[2:4].isfinite().double().mean(1)
    share = 100 * float(leavers[0])
    critical = gradient == 0 and least == 0
    status: Status = "not_at_this_scale"
    if critical and leavers.max() > 0:
        status = "reproduced" if leavers.max() > 0.5 else "same_direction"
    end = path[-1, 0]
    slope, bent = float(surface("flat", end)[1].norm(dim=1).mean()), float(surface("flat", end)[2].min())
    figures = (
        Figure(Text("(0, 0) 处 Hessian 的最小特征值", "Least eigenvalue of the Hessian at (0, 0)"), least, 0.0),
        Figure(Text("(0, 0) 处的梯度", "Gradient at (0, 0)"), gradient),
        Figure(Text("加噪声后落到 −1 以下", "With noise, below −1 by the end"), share, None, "%"),
        *_escape_figures(left),
        Figure(Text("梯度下降的终点：梯度的长度", "End of plain GD: length of the gradient"), *mean_and_spread(surface("flat", end)[1].norm(dim=1).tolist())),
        Figure(Text("梯度下降的终点：最小特征值（最小的一次）", "End of plain GD: least eigenvalue (smallest)"), bent),
    )  # fmt: skip
    who = [_steps(float(runs.median())) for runs in left]
    inertia = Text("，靠的是惯性冲过去", ", carried over by inertia") if math.isfinite(float(left[3].median())) else same("")
    explanation = Text(
        f"在 (0, 0) 梯度为 {gradient:g}，Hessian 的特征值是 {least:g} 和 2，都不为负，可是往 x < 0 走损失就降：f(−0.1, 0) = −0.001。特征值为 0 的方向上要看三阶项，“Hessian 半正定”只是极小值的必要条件。"
        f"梯度下降从 x > 0 一侧越走越慢（x 约按 1/(3ηt)），终点梯度只有 {slope:.1g}、最小特征值 {bent:.1g}，看起来已经收敛；牛顿法和无鞍牛顿每步把 x 减半，也停在这里：取 |λ| 救不了零特征值。"
        f"噪声：{who[2].zh}（{share:.0f}% 的运行离开）；动量：{who[3].zh}{inertia.zh}。",
        f"At (0, 0) the gradient is {gradient:g} and the eigenvalues of the Hessian are {least:g} and 2, none negative; yet towards x < 0 the loss falls: f(−0.1, 0) = −0.001. Where an eigenvalue is 0, "
        "the third order decides: a non-negative Hessian is necessary for a minimum, not sufficient. Plain GD comes from x > 0 ever more slowly (x falls like 1/(3ηt)); at its end the gradient is "
        f"{slope:.1g} and the least eigenvalue {bent:.1g}, which looks converged. Newton and saddle-free Newton halve x each step and stop here too: |λ| is no help where λ is 0. "
        f"Noise: {who[2].en} ({share:.0f} % of the runs get away); momentum: {who[3].en}{inertia.en}.",
    )  # fmt: skip
    published = Text(
        "极小值的必要条件：梯度为零且 Hessian 半正定（特征值可以为 0）；充分条件要求正定",
        "necessary for a minimum: zero gradient and a positive semidefinite Hessian (eigenvalues may be 0); sufficient: a positive definite one",
    )
    return figures, Outcome(Verdict(status, figures[0], published, LIBERZON, explanation), _answer(left))


# ---- a network's Hessian ---------------------------------------------------------------------------------------------

SAMPLES, RATE, LOOKS = 60, 0.2, 30
ZERO = 1e-6  # eigenvalues within this of 0 count as 0
EDGES = (-1.0, -0.1, -0.01, -0.001, -ZERO, ZERO, 0.001, 0.01, 0.1, 1.0)  # of the bins of the strip
BINS = ("< −1", "−1", "−0.1", "−0.01", "−0.001", "0", "0.001", "0.01", "0.1", "1", "> 1")


class Networks:
    """S networks 2 → h → 1 with tanh and mean squared error against ±1; the weights of each are one row of w (S, 4h + 1)."""

    def __init__(self, p: SaddlePoints, generator: torch.Generator) -> None:
        x, y = {"moons": moons, "circles": circles, "spirals": spirals}[p.shape](SAMPLES, 0.1, generator)
        self.x, self.y, self.hidden = ((x - x.mean(0)) / x.std(0)).double(), 2.0 * y.double() - 1, p.hidden
        self.w = p.scale * torch.randn(p.draws, 4 * p.hidden + 1, generator=generator, dtype=torch.float64)

    def losses(self, w: Tensor) -> Tensor:
        """(S,): half the mean squared error."""
        inner, bias, outer, last = w.split([2 * self.hidden, self.hidden, self.hidden, 1], 1)
        units = torch.tanh(inner.view(len(w), self.hidden, 2) @ self.x.T + bias[..., None])  # (S, h, samples)
        errors: Tensor = (units * outer[..., None]).sum(1) + last - self.y
        return errors.square().mean(1) / 2

    def step(self) -> Tensor:
        """One step of gradient descent; the losses (S,) before it."""
        w = self.w.detach().requires_grad_()
        losses = self.losses(w)
        self.w = (w - RATE * torch.autograd.grad(losses.sum(), w)[0]).detach()
        return losses.detach()

    def hessian(self) -> Tensor:
        """The exact Hessians (S, P, P), row by row: as no network touches another, one backward pass gives row i of all of them."""
        w = self.w.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.losses(w).sum(), w, create_graph=True)
        return torch.stack([torch.autograd.grad(gradient[:, i].sum(), w, retain_graph=True)[0] for i in range(w.shape[1])], 1)


@dataclass(frozen=True)
class Look:
    """One look at the networks in training: the step, the losses (S,) and all eigenvalues (S, P) in ascending order."""

    step: int
    losses: Tensor
    eigenvalues: Tensor

    @property
    def index(self) -> Tensor:
        """The share of negative eigenvalues (S,) in %."""
        return 100 * (self.eigenvalues < -ZERO).double().mean(1)


def _run_network(p: SaddlePoints, generator: torch.Generator) -> Iterator[Snapshot]:
    networks, pace = Networks(p, generator), Pace()
    looks: list[Look] = []
    yield Snapshot(0, Text("就绪", "Ready"), _network_charts(p, looks))
    when = set(thinned(p.steps + 1, LOOKS))
    for step in range(p.steps + 1):
        seen = torch.linalg.eigvalsh(networks.hessian().nan_to_num(0.0)) if step in when else None
        losses = networks.step()
        if seen is not None:
            looks.append(Look(step, losses.nan_to_num(math.inf), seen))
        if pace.due(step / p.steps):
            yield Snapshot(0.99 * step / p.steps, Text(f"第 {step} 步", f"Step {step}"), _network_charts(p, looks))
    figures, outcome = judge_network(p, looks)
    yield Snapshot(1, Text("完成", "Done"), _network_charts(p, looks), figures, outcome)


def _network_charts(p: SaddlePoints, looks: Sequence[Look]) -> tuple[Chart, ...]:
    cells = torch.full((len(BINS), LOOKS), math.nan)
    for column, look in enumerate(looks):
        bins = torch.bucketize(look.eigenvalues.flatten(), torch.tensor(EDGES, dtype=torch.float64))
        cells[:, column] = 100 * bins.bincount(minlength=len(BINS)) / len(bins)
    count = 4 * p.hidden + 1
    step = looks[-1].step if looks else 0
    roles: tuple[Role, ...] = ("second", "third", "first")
    chosen = [looks[0], looks[len(looks) // 2], looks[-1]] if looks else []
    points = [
        Points(Text(f"第 {look.step} 步", f"step {look.step}"), look.index.tolist(), look.losses.clamp(1e-3, 10).tolist(), role)
        for look, role in zip(chosen, roles, strict=False)
    ]
    mean = [[float(values.mean()) for values in pair] for pair in [(look.index, look.losses.log()) for look in looks]]
    steps = Axis(Text("训练步", "training step"), low=0, high=p.steps)
    told = f"{looks[-1].index.mean():.0f}" if looks else "–"
    return (
        PlaneChart(
            Text(f"{count} 个特征值怎样分布", f"How the {count} eigenvalues are spread"), steps, Axis(Text("特征值（绝对值至多）", "eigenvalue (up to this size)"), names=tuple(same(name) for name in BINS)),
            Text(f"每一列是某一步所有网络的特征值落在各数量级的比例；第 {step} 步有 {told}% 为负。", f"Each column: the shares of eigenvalues by size, all networks; at step {step}, {told} % are negative."),
            Grid(Text("占比（%）", "share (%)"), cells, low=0, high=40),
        ),
        PlaneChart(
            Text("负特征值的比例与损失", "Share of negative eigenvalues and loss"), Axis(Text("负特征值的比例（%）", "negative eigenvalues (%)"), low=0, high=70),
            Axis(Text("损失（对数）", "loss (log)"), log=True, low=0.01, high=4), Text("每个点是一个网络；线是平均。", "Each point is one network; the line is their mean."),
            points=tuple(points), lines=(Line(Text("平均", "mean"), "baseline", [pair[0] for pair in mean], [math.exp(min(pair[1], 3.0)) for pair in mean]),),
        ),
        LineChart(
            Text("训练损失", "Training loss"), steps, Axis(Text("损失（对数）", "loss (log)"), log=True, low=0.01, high=4),
            (Line(Text("损失", "loss"), "first", [look.step for look in looks], *mean_and_band(torch.stack([look.losses.clamp(1e-3, 10) for look in looks], 1).tolist() if looks else [[]], log=True)),),
            Text(f"{p.draws} 个网络的平均损失。", f"Mean loss of {p.draws} networks."),
        ),
    )  # fmt: skip


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's: the correlation of the ranks (ties share theirs); 0 where one of the two does not vary."""

    def ranks(values: Sequence[float]) -> list[float]:
        return [sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2 for value in values]

    first, second = torch.tensor(ranks(a)), torch.tensor(ranks(b))
    first, second = first - first.mean(), second - second.mean()
    size = float(first.norm() * second.norm())
    return float((first * second).sum()) / size if size > 0 else 0.0


def judge_network(p: SaddlePoints, looks: Sequence[Look]) -> tuple[tuple[Figure, ...], Outcome]:
    """Spearman's correlation of loss and index along the training of each network. Same direction: its interval lies above 0. Otherwise not at this scale.
    There is nothing better to be had: the paper compares critical points, which a network in training does not visit.
    """
    losses, index = torch.stack([look.losses for look in looks], 1), torch.stack([look.index for look in looks], 1)
    mean, low, high = interval([rank_correlation(a, b) for a, b in zip(losses.tolist(), index.tolist(), strict=True)])
    status: Status = "same_direction" if low > 0 else "not_at_this_scale"
    first, last = looks[0], looks[-1]
    ends = [mean_and_spread(look.index.tolist()) for look in (first, last)]
    least = [float(look.eigenvalues[:, 0].mean()) for look in (first, last)]
    minima = int((last.eigenvalues[:, 0] >= -ZERO).sum())
    figures = (
        Figure(Text("秩相关：损失与负特征值的比例", "Rank correlation: loss and share of negative eigenvalues"), mean, (high - low) / 2),
        Figure(Text("负特征值的比例：开始", "Negative eigenvalues: at the start"), *ends[0], "%"),
        Figure(Text("负特征值的比例：最后", "Negative eigenvalues: at the end"), *ends[1], "%"),
        Figure(Text("最小特征值：开始", "Least eigenvalue: at the start"), least[0]),
        Figure(Text("最小特征值：最后", "Least eigenvalue: at the end"), least[1]),
        Figure(Text("损失：开始", "Loss: at the start"), *mean_and_spread(first.losses.tolist())),
        Figure(Text("损失：最后", "Loss: at the end"), *mean_and_spread(last.losses.tolist())),
    )
    explanation = Text(
        f"损失从 {figures[5].value:.2g} 到 {figures[6].value:.2g}，负特征值的比例从 {ends[0][0]:.0f}% 变到 {ends[1][0]:.0f}%，最小的特征值从 {least[0]:.2g} 变到 {least[1]:.2g}{'：损失越高，向下的方向越多' if low > 0 else '，但两者的秩相关不显著'}。"
        f"{p.draws} 个网络中到最后没有负特征值的有 {minima} 个：损失降下来，并不等于到了极小值，只是向下的方向变少、变缓了。与论文不同：论文用牛顿法找出真正的临界点再比较，这里沿训练轨迹看，"
        "那里梯度不为零，而且损失和比例都随时间变，相关不等于因果；网络也只有几十个参数。",
        f"While the loss goes from {figures[5].value:.2g} to {figures[6].value:.2g}, the share of negative eigenvalues goes from {ends[0][0]:.0f} % to {ends[1][0]:.0f} %, the least eigenvalue from {least[0]:.2g} to "
        f"{least[1]:.2g}{': the higher the loss, the more ways lead down' if low > 0 else ', but their rank correlation is not clear'}. Of {p.draws} networks {minima} have no negative eigenvalue at the end: a low loss is not the same as a "
        "minimum; the ways down have only become fewer and less steep. Unlike the paper, which finds critical points with Newton's method and compares those, this looks along the way of training, where the gradient is not zero and both "
        "change with time, so the correlation is no proof of a cause; and the networks have a few dozen parameters.",
    )  # fmt: skip
    published = Text("临界点的误差越高，负特征值的比例（指标）越大（定性结果）", "the higher the error of a critical point, the larger its share of negative eigenvalues, its index (a qualitative result)")  # fmt: skip
    change = ends[1][0] - ends[0][0]
    answer = "none" if ends[1][0] < 1 else "fewer" if change < -5 else "more" if change > 5 else "same"
    return figures, Outcome(Verdict(status, figures[0], published, DAUPHIN, explanation), answer)


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: SaddlePoints) -> Prediction:
    if p.task == "network":
        return Prediction(
            Text(
                f"{4 * p.hidden + 1} 个参数的网络训练 {p.steps} 步。与开始时相比，Hessian 的负特征值最后会怎样？",
                f"A network of {4 * p.hidden + 1} parameters trains for {p.steps} steps. In the end, how do the negative eigenvalues of its Hessian compare with the start?",
            ),
            {
                "none": Text("一个也没有了：到了极小值", "there are none: it has reached a minimum"), "fewer": Text("变少，但还有", "fewer, but some are left"),
                "same": Text("差不多", "about as many"), "more": Text("变多", "more"),
            },
        )  # fmt: skip
    where = Text(f"从离山脊 {_short(p.offset)} 处出发（5x² − y²）", f"5x² − y², starting {_short(p.offset)} from the ridge") if p.task == "saddle" else Text("x³ + y²，从 x > 0 出发", "x³ + y², starting at x > 0")  # fmt: skip
    return Prediction(
        Text(
            f"{where.zh}，η = {p.rate:g}，噪声 σ = {p.noise:g}。{p.steps} 步之后，哪些方法还困在 (0, 0) 附近？",
            f"{where.en}, η = {p.rate:g}, noise σ = {p.noise:g}. Which methods are still stuck near (0, 0) after {p.steps} steps?",
        ),
        {
            "newton": Text("只有牛顿法", "only Newton"), "newton-gd": Text("牛顿法和梯度下降", "Newton and plain GD"),
            "three": Text("牛顿法、梯度下降和无鞍牛顿", "Newton, plain GD and saddle-free Newton"), "other": Text("别的组合", "another set"),
        },
    )  # fmt: skip


def run(parameters: SaddlePoints, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from (_run_network if parameters.task == "network" else _run_plane)(parameters, generator)


_PLANE_CODE = """\
import torch

torch.set_num_threads(1)
torch.manual_seed(0)
RATE, BETA, SIGMA, STEPS = {rate:g}, {beta:g}, {noise:g}, {steps}

def loss(w):
    return {formula}

def descend(method):
    w = torch.tensor({start}, dtype=torch.float64)
    before = w
    for step in range(STEPS):
        g = torch.autograd.functional.jacobian(loss, w)
        move = -RATE * g
        if method == "GD + noise":
            move = move - RATE * SIGMA * torch.randn(2, dtype=torch.float64)
        elif method == "momentum":
            move = move + BETA * (w - before)
        elif method != "GD":
            values, vectors = torch.linalg.eigh(torch.autograd.functional.hessian(loss, w))
            values = values.abs() if method == "saddle-free Newton" else values
            move = -vectors @ ((vectors.T @ g) / torch.where(values.abs() < 1e-12, 1e-12, values))
        before, w = w, w + move
        if loss(w) < -1:
            return f"away after {{step + 1}} steps"
    return f"after {{STEPS}} steps at ({{w[0]:.2g}}, {{w[1]:.2g}}), loss {{loss(w):.2g}}"

origin = torch.zeros(2, dtype=torch.float64)
print("at (0, 0): gradient", torch.autograd.functional.jacobian(loss, origin).tolist(),
      "eigenvalues", torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, origin)).tolist())
for method in ("GD", "GD + noise", "momentum", "Newton", "saddle-free Newton"):
    print(f"{{method:20}} {{descend(method)}}")
"""
_NETWORK_CODE = """\
import math
import torch

torch.set_num_threads(1)
torch.manual_seed(0)
HIDDEN, SCALE, STEPS = {hidden}, {scale:g}, {steps}

y = torch.arange(60) % 2
{points}
x = x + 0.1 * torch.randn(60, 2)
x, target = ((x - x.mean(0)) / x.std(0)).double(), 2.0 * y.double() - 1

def loss(w):
    inner, bias, outer, last = w.split([2 * HIDDEN, HIDDEN, HIDDEN, 1])
    output = torch.tanh(x @ inner.view(HIDDEN, 2).T + bias) @ outer + last
    return (output - target).square().mean() / 2

w = SCALE * torch.randn(4 * HIDDEN + 1, dtype=torch.float64)
for step in range(STEPS + 1):
    if step % max(1, STEPS // 10) == 0:
        values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, w))
        negative = 100 * (values < -1e-6).double().mean()
        print(f"step {{step:4}}: loss {{loss(w):.4f}}, {{negative:3.0f}} % of {{len(values)}} eigenvalues negative, from {{values[0]:.3g}} to {{values[-1]:.3g}}")
    w = w - 0.2 * torch.autograd.functional.jacobian(loss, w)
"""
_POINTS = {
    "moons": """\
angle, flip = math.pi * torch.rand(60), 1 - 2.0 * y
x = torch.stack([angle.cos() * flip + y - 0.5, angle.sin() * flip + 0.5 * y - 0.25], 1)""",
    "circles": """\
angle = 2 * math.pi * torch.rand(60)
x = torch.stack([angle.cos(), angle.sin()], 1) * (1 - 0.5 * y)[:, None]""",
    "spirals": """\
radius = torch.rand(60).sqrt() * 0.95 + 0.05
angle = 2 * math.pi * (1.5 * radius + y / 2)
x = torch.stack([angle.cos(), angle.sin()], 1) * radius[:, None]""",
}


def code(p: SaddlePoints) -> str:
    if p.task == "network":
        return _NETWORK_CODE.format(**p.values(), points=_POINTS[p.shape])
    formula, start = (
        ("5 * w[0] ** 2 - w[1] ** 2", f"[1.0, {p.offset:g}]") if p.task == "saddle" else ("w[0] ** 3 + w[1] ** 2", "[1.0, 1.0]")
    )
    return _PLANE_CODE.format(**p.values(), formula=formula, start=start)


DEMO = Demo(
    topic="losses",
    title=Text("鞍点：谁被吸住，谁逃得掉", "Saddle points: who is caught, who gets away"),
    question=Text(
        "梯度为零的地方一定是极小值吗？怎样离开鞍点？", "Is every point of zero gradient a minimum, and how does one leave a saddle?"
    ),
    look_for=Text(
        "先看哪几条路径停在中间的鞍点、哪几条沿 y 方向滑下去，再看损失在鞍点旁平了多久。",
        "See which paths stop at the saddle in the middle and which slide down along y, then how long the loss stays flat beside it.",
    ),
    scaled_down=Text(
        "二维函数代替高维损失：这样每一步都能精确算出；网络只有几十个参数，才能在训练中反复算出完整的 Hessian。",
        "Functions of two variables stand in for a loss in high dimensions, as every step can be worked out there; the networks have a few dozen parameters, so that the whole Hessian can be "
        "computed again and again.",
    ),
    parameters=SaddlePoints,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=1,
)
