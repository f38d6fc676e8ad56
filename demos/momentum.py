"""Momentum (1.15): heavy ball and Nesterov on a quadratic valley, whose best rates are known exactly, and on one with a noisy gradient.

The valley has two directions, a steep one of curvature λmax = 1 and a flat one of curvature 1/κ (learning rates are thus in units of 1/λmax); more
directions in between would change nothing, as the slowest is always at one of the ends. `_next` is the whole optimiser. `_Rates` measures how fast the
error shrinks for thousands of (learning rate, β) at once, and `_Search` closes in on the best of them without being told the formula.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from demos.core.charts import Axis, Chart, Grid, Line, LineChart, PlaneChart, Role
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.stacked import diverged_as_infinite
from demos.core.statistics import interval, mean_and_band, mean_and_spread, ratio_interval, thinned
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 0.02  # how far steps per factor of 10 may lie from theory
BETAS, COLUMNS = 50, 60  # cells of the map
LEVELS = 3  # grids of the search: the map, and two that zoom in
FASTEST = 6.0  # right end of the map
FRAMES = 40  # at least so many for each grid, so that a replay moves
PATH = 150  # points drawn of a path


@dataclass(frozen=True)
class Momentum(Parameters):
    task: str = mode_choice(
        "curvature", {"curvature": Text("无噪声", "no noise"), "noise": Text("梯度有噪声", "noisy gradient")},
        label=Text("实验", "Experiment"), help=Text("只看曲率，还是再加上梯度噪声。", "Curvature alone, or with noise in the gradient."),
    )  # fmt: skip
    method: str = choice(
        "heavy-ball", {"heavy-ball": Text("重球法", "heavy ball"), "nesterov": same("Nesterov")}, label=Text("动量", "Momentum"),
        help=Text("Nesterov 先按惯性走一步，再在到达处求梯度。", "Nesterov takes the gradient at the point that inertia carries it to."),
    )  # fmt: skip
    rate: float = real(
        3.3, 0.001, FASTEST, log=True, label=Text("学习率 η（以 1/λmax 为单位）", "Learning rate η (in units of 1/λmax)"),
        help=Text("不加动量时到 2 就发散。", "Without momentum it diverges at 2."),
    )  # fmt: skip
    beta: float = real(
        0.67, 0, 0.999, step=0.005, label=Text("动量系数 β", "Momentum β"),
        help=Text("上一步的位移保留多大比例；0 就是梯度下降。", "Share of the last move that is kept; 0 is gradient descent."),
    )  # fmt: skip
    condition: float = real(
        100, 1.1, 1000, log=True, label=Text("条件数 κ", "Condition number κ"),
        help=Text("最陡与最平方向的曲率之比：越大，山谷越狭长。", "Steepest over flattest curvature: the larger, the narrower the valley."),
    )  # fmt: skip
    noise: float = real(
        1.0, 0, 3, step=0.1, label=Text("梯度噪声 σ", "Gradient noise σ"), modes=("noise",),
        help=Text("加在梯度每个分量上的正态噪声的标准差。", "Standard deviation of what is added to each component of the gradient."),
    )  # fmt: skip
    steps: int = integer(
        120, 20, 600, step=20, label=Text("步数", "Steps"), help=Text("画出的路径有多长。", "Length of the paths that are drawn.")
    )
    runs: int = integer(
        16, 5, 200, advanced=True, label=Text("重复次数", "Repetitions"),
        help=Text("随机的起点（和噪声）有几组。", "Random starts (and draws of the noise)."),
    )  # fmt: skip


PRESETS = {
    "valley": Preset(
        Text("狭长山谷", "Narrow valley"),
        Text("κ = 100，学习率和 β 接近最优：动量快多少？", "κ = 100, rate and β near their best: how much does momentum gain?"),
        {"task": "curvature"},
        "textbook",
    ),
    "nesterov": Preset(
        Text("Nesterov 动量", "Nesterov"),
        Text("同一个山谷换成 Nesterov，取它自己的最优参数。", "The same valley with Nesterov's momentum at its own best setting."),
        {"task": "curvature", "method": "nesterov", "rate": 1.32, "beta": 0.795},
    ),
    "too-heavy": Preset(
        Text("惯性太大", "Too much inertia"),
        Text("β = 0.99：球越重就越快吗？", "β = 0.99: is a heavier ball a faster one?"),
        {"task": "curvature", "rate": 1.0, "beta": 0.99},
        "limits",
    ),
    "noise": Preset(
        Text("噪声为主", "Mostly noise"),
        Text("学习率小、噪声大：动量与学习率 η/(1−β) 的普通 SGD 有区别吗？", "Small rate, large noise: does momentum differ from plain SGD with rate η/(1−β)?"),
        {"task": "noise", "rate": 0.01, "beta": 0.9, "condition": 10, "steps": 600, "runs": 128},
        "limits",
        look_for=Text(
            "看损失与步数：动量的曲线在开头和后期各离哪一条 SGD 更近。再在后期损失图上沿“η/(1−β) 不变”的虚线走，看颜色变不变。",
            "In the chart of loss against steps, see which of the two SGD curves momentum is closer to, early and late. Then follow the dashed line of equal η/(1−β) on the map of the late loss: does the colour change along it?",
        ),
    ),
}  # fmt: skip

GOH = Source("Why Momentum Really Works", "Gabriel Goh", 2017, "https://distill.pub/2017/momentum/")
LESSARD = Source(
    "Analysis and Design of Optimization Algorithms via Integral Quadratic Constraints",
    "Laurent Lessard, Benjamin Recht, Andrew Packard",
    2016,
    "https://arxiv.org/abs/1408.3595",
)
WANG = Source(
    "The Marginal Value of Momentum for Small Learning Rate SGD",
    "Runzhe Wang, Sadhika Malladi, Tianhao Wang, Kaifeng Lyu, Zhiyuan Li",
    2023,
    "https://arxiv.org/abs/2307.15196",
)


# ---- the optimiser ---------------------------------------------------------------------------------------------------


def _next(w: Tensor, before: Tensor, rate: Tensor, beta: Tensor, curvature: Tensor, nesterov: bool, noise: Tensor | float = 0.0) -> Tensor:
    """One step along the axes of the quadratic ½ Σ λw²: the last move goes on, shortened to β, and a gradient step is added to it.

    Equal to v ← βv + g, w ← w − ηv, since −ηv is the last move. Nesterov's takes the gradient after inertia has acted. All arguments broadcast.
    """
    carried = w + beta * (w - before)
    return carried - rate * (curvature * (carried if nesterov else w) + noise)


def _trace(p: Momentum, settings: Sequence[tuple[float, float]], start: Tensor, noise: Tensor | None = None) -> Tensor:
    """Iterates (settings, runs, steps + 1, 2) of each (rate, β) from start (runs, 2), all with the same noise (steps, runs, 2)."""
    rate, beta = torch.tensor(settings, device=start.device).T[:, :, None, None]
    curvature = _curvature(p).to(start.device)
    w = before = start.expand(len(settings), *start.shape)
    iterates = [w]
    for step in range(p.steps):
        w, before = _next(w, before, rate, beta, curvature, p.method == "nesterov", 0.0 if noise is None else noise[step]), w
        iterates.append(w)
    return torch.stack(iterates, 2)


def _curvature(p: Momentum) -> Tensor:
    return torch.tensor([1 / p.condition, 1.0])


def _starts(p: Momentum, device: torch.device, generator: torch.Generator) -> Tensor:
    """Random points (runs, 2) far out along the valley floor, where the loss is ½."""
    angle = 0.15 + 0.35 * torch.rand(p.runs, generator=generator)
    sign = 1.0 - 2 * torch.randint(2, (p.runs, 2), generator=generator)
    return (sign * torch.stack([p.condition**0.5 * angle.cos(), angle.sin()], 1)).to(device)


# ---- measuring how fast the error shrinks ----------------------------------------------------------------------------


class _Rates:
    """Runs many descents, each a row of `start` (R, D) with its rate (R,), β (R,) and curvatures (R, D), and logs the error of each.

    The error is the root mean square over a block of steps, which evens out oscillations. As the iteration is linear, rows are scaled back after each
    block, so that thousands of steps neither underflow nor overflow; what was divided out is kept as a logarithm.
    """

    BLOCK, BLOCKS = 8, 4  # steps in a block, blocks in a record

    def __init__(self, p: Momentum, rate: Tensor, beta: Tensor, curvature: Tensor, start: Tensor) -> None:
        self._constants = (rate[:, None], beta[:, None], curvature, p.method == "nesterov")
        self._w = self._before = start
        self.records = max(32, math.ceil(25 * p.condition**0.5))  # 800 √κ steps: many times what the best momentum needs for a factor of 10
        self._logs = torch.zeros(self.records, len(start), device=start.device)
        self._done, self._sum = 0, torch.zeros(len(start), device=start.device)

    def advance(self) -> None:
        """One more record of BLOCK · BLOCKS steps."""
        for _ in range(self.BLOCKS):
            squares = torch.zeros_like(self._w)
            for _ in range(self.BLOCK):
                self._w, self._before = _next(self._w, self._before, *self._constants), self._w
                squares.addcmul_(self._w, self._w)
            size = squares.sum(1, keepdim=True).sqrt().clamp_min(1e-18)
            self._w, self._before = self._w / size, self._before / size
            self._sum = self._sum + size[:, 0].log()
            self._logs[self._done] += self._sum / self.BLOCKS
        self._done += 1

    def log_rates(self) -> Tensor:
        """The logarithm (R,) of what each step multiplies the error by: its slope between the third and the last quarter of the steps so far."""
        quarter = max(1, self._done // 4)
        if self._done < 2:
            return self._sum / (self._done * self.BLOCK * self.BLOCKS)
        last, third = self._logs[self._done - quarter : self._done], self._logs[max(0, self._done - 2 * quarter) : self._done - quarter]
        return (last.mean(0) - third.mean(0)) / (quarter * self.BLOCK * self.BLOCKS)


class _Setting(NamedTuple):
    """A learning rate, a β, and the logarithm of what a step multiplies the error by there."""

    rate: float
    beta: float
    log_rate: float

    @property
    def decade(self) -> float:
        """Steps until the error has shrunk by a factor of 10."""
        return _decade(self.log_rate)


@dataclass(frozen=True)
class _Window:
    """A stretch of learning rates (logarithmic) and of β, divided into cells."""

    slow: float
    fast: float
    low: float = 0.0
    high: float = 0.0

    def rates(self) -> Tensor:
        return self.slow * (self.fast / self.slow) ** ((torch.arange(COLUMNS) + 0.5) / COLUMNS)

    def betas(self) -> Tensor:
        return self.low + (self.high - self.low) * (torch.arange(BETAS) + 0.5) / BETAS

    def around(self, rate: float, beta: float) -> _Window:
        """Five cells about a point: where the next grid looks."""
        reach, wide = (self.fast / self.slow) ** (2.5 / COLUMNS), 2.5 * (self.high - self.low) / BETAS
        return _Window(rate / reach, rate * reach, max(0.0, beta - wide), min(self.high, beta + wide))


class _Search:
    """A grid of (rate, β), and a row of rates without momentum, all measured at once. The slower direction of each counts."""

    def __init__(self, p: Momentum, device: torch.device, plane: _Window, plain: _Window) -> None:
        self.plane, self.plain = plane, plain
        self._rate = torch.cat([plane.rates().repeat(BETAS), plain.rates()])
        self._beta = torch.cat([plane.betas().repeat_interleave(COLUMNS), torch.zeros(COLUMNS)])
        curvature = _curvature(p).repeat_interleave(len(self._rate))[:, None]
        rows = [self._rate.repeat(2), self._beta.repeat(2), curvature, torch.ones_like(curvature)]
        self.measured = _Rates(p, *[row.to(device) for row in rows])

    def log_rates(self) -> Tensor:
        """(BETAS × COLUMNS + COLUMNS,) on the CPU: the map row by row, then the row without momentum."""
        return self.measured.log_rates().view(2, -1).amax(0).cpu()

    def best(self) -> tuple[_Setting, _Setting]:
        """The fastest cell, and the fastest without momentum."""
        logs = self.log_rates()
        cells = (int(logs[:-COLUMNS].argmin()), len(logs) - COLUMNS + int(logs[-COLUMNS:].argmin()))
        first, second = [_Setting(float(self._rate[i]), float(self._beta[i]), float(logs[i])) for i in cells]
        return first, second


def _decade(log_rate: float) -> float:
    """Steps until the error has shrunk by a factor of 10; infinite if it does not shrink."""
    return -math.log(10) / log_rate if log_rate < 0 else math.inf


# ---- exact theory ----------------------------------------------------------------------------------------------------


def _best(p: Momentum) -> _Setting:
    """The best setting of the method: Polyak's for the heavy ball, Lessard's for Nesterov."""
    k, root = p.condition, p.condition**0.5
    if p.method == "nesterov":
        root = (3 * k + 1) ** 0.5
        return _Setting(4 / (3 + 1 / k), (root - 2) / (root + 2), math.log(1 - 2 / root))
    factor = (root - 1) / (root + 1)
    return _Setting((2 / (1 + 1 / root)) ** 2, factor**2, math.log(factor))


def _plain(p: Momentum) -> _Setting:
    """The best gradient descent."""
    return _Setting(2 / (1 + 1 / p.condition), 0.0, math.log((p.condition - 1) / (p.condition + 1)))


def _gain(p: Momentum) -> float:
    """How many times fewer steps the best momentum takes than the best gradient descent."""
    return _best(p).log_rate / _plain(p).log_rate


def _limit(p: Momentum, beta: float) -> float:
    """The rate from which on the steep direction diverges."""
    return 2 * (1 + beta) / (1 + 2 * beta) if p.method == "nesterov" else 2 * (1 + beta)


def _slowest(p: Momentum) -> tuple[float, Text]:
    """This setting's factor per step, and in words what holds it up: from the roots of z² − bz + c of both directions."""
    found = []
    for curvature in (1 / p.condition, 1.0):
        shrunk = 1 - p.rate * curvature
        b, c = ((1 + p.beta) * shrunk, p.beta * shrunk) if p.method == "nesterov" else (shrunk + p.beta, p.beta)
        gap = cmath.sqrt(b * b - 4 * c)
        found.append((max(abs(b + gap), abs(b - gap)) / 2, curvature, gap.imag != 0))
    factor, curvature, turns = max(found)
    if factor >= 1:
        return factor, Text(
            f"学习率 {p.rate:.3g} 超过了这个 β 的稳定上限 {_limit(p, p.beta):.3g}：陡的方向每步都在放大。",
            f"The rate {p.rate:.3g} is past the limit {_limit(p, p.beta):.3g} for this β: the steep direction grows with every step.",
        )
    if math.log(factor) <= (1 - TOLERANCE) * _best(p).log_rate:
        return factor, Text(
            "平的方向接近临界阻尼，陡的方向与它一样快：这正是最优点。",
            "The flat direction is close to critical damping, and the steep one is just as fast: that is the optimum.",
        )
    if turns:
        law = "√(β(1−ηλmin))" if p.method == "nesterov" else "√β"
        return factor, Text(
            f"惯性有余：球一次次冲过谷底再折返，每步误差只乘以 {law} = {factor:.4g}，β 越大越慢（这里最优的 β 是 {_best(p).beta:.2g}）。",
            f"There is inertia to spare: the ball overshoots and swings back, and each step multiplies the error by only {law} = {factor:.4g}, so a larger β "
            f"is slower (the best β here is {_best(p).beta:.2g}).",
        )
    if curvature < 1:
        return factor, Text(
            "平的方向最慢，而且没有冲过头：惯性或学习率还不够大。",
            "The flat direction is the slowest and does not overshoot: there is too little inertia, or too small a rate.",
        )
    return factor, Text(
        f"陡的方向最慢：学习率离稳定上限 {_limit(p, p.beta):.3g} 太近，球在谷壁之间来回弹。",
        f"The steep direction is the slowest: the rate is close to the limit {_limit(p, p.beta):.3g}, and the ball bounces between the walls.",
    )


# ---- what is shown ---------------------------------------------------------------------------------------------------


def _name(p: Momentum) -> Text:
    return Text("Nesterov 动量", "Nesterov") if p.method == "nesterov" else Text("动量", "momentum")


def _paths(p: Momentum, iterates: Tensor, names: Sequence[tuple[Text, Role]]) -> PlaneChart:
    """The first run of each setting so far, iterates (settings, steps so far, 2), over bands of equal loss."""
    wide, tall, cells = 1.15 * p.condition**0.5, 1.8, 40
    x, y = (((torch.arange(cells) + 0.5) / cells * 2 - 1) * reach for reach in (wide, tall))
    loss = (y[:, None] ** 2 + x[None] ** 2 / p.condition) / 2
    chosen = thinned(iterates.shape[1], PATH)
    lines = []
    for (name, role), path in zip(names, iterates[:, chosen].tolist(), strict=True):
        lines.append(Line(name, role, [point[0] for point in path], [point[1] for point in path]))
    last = iterates.shape[1] - 1
    return PlaneChart(
        Text("在山谷里走过的路", "The way down the valley"),
        Axis(Text("平的方向", "flat direction"), low=-wide, high=wide),
        Axis(Text("陡的方向（已拉伸）", "steep direction (stretched)"), low=-tall, high=tall),
        Text(f"前 {last} 步的路径，底色是损失的等高线。", f"Paths over the first {last} steps; the shading shows levels of the loss."),
        Grid(Text("损失", "loss"), loss, low=0.001, high=2, log=True, bands=12),
        lines=tuple(lines),
    )


def _curve(name: Text, role: Role, values: Tensor, floor: float) -> Line:
    """Mean and band over runs of values (runs, steps + 1), as long as they stay above `floor`."""
    chosen = thinned(values.shape[1])
    mean, low, high = mean_and_band(values[:, chosen].double().tolist())
    kept = [i for i, value in enumerate(mean) if value > floor]
    return Line(name, role, [chosen[i] for i in kept], [mean[i] for i in kept], [max(floor, low[i]) for i in kept], [high[i] for i in kept])


def _overflowed(values: Tensor) -> Tensor:
    """With infinity for what is not a number: that has overflowed."""
    return values.where(~values.isnan(), math.inf)


def _amount(values: Tensor) -> str:
    """The mean, in a text."""
    return f"{values.mean():.2g}".replace("inf", "∞")


def _until(line: Line, step: int) -> Line:
    """The line as far as `step`."""
    x, y, low, high = (tuple(values)[: sum(at <= step for at in line.x)] for values in (line.x, line.y, line.low, line.high))
    return replace(line, x=x, y=y, low=low, high=high)


def _map_axes(p: Momentum) -> tuple[Axis, Axis]:
    x = Axis(Text("学习率 η（1/λmax，对数）", "learning rate η (1/λmax, log)"), log=True, low=_map(p).slow, high=FASTEST)
    return x, Axis(Text("动量系数 β", "momentum β"), low=0, high=1)


def _map(p: Momentum) -> _Window:
    return _Window(0.03 if p.rate > 0.05 else 10 ** math.floor(math.log10(p.rate / 1.5)), FASTEST, 0, 1)


def _dot(name: Text, role: Role, x: float, y: float) -> Line:
    return Line(name, role, [x], [y], style="dots")


# ---- without noise ---------------------------------------------------------------------------------------------------

ERRORS = Axis(Text("误差 ÷ 起点误差（对数）", "error ÷ error at the start (log)"), log=True, low=1e-9, high=100)


def _rate_map(p: Momentum, log_rates: Tensor, best: _Setting | None) -> PlaneChart:
    """Steps per factor of 10 over (rate, β); blank where the error grows."""
    cells = -math.log(10) / log_rates[:-COLUMNS].view(BETAS, COLUMNS)
    rate, beta, log_rate = _best(p)
    edge = [i / 20 for i in range(21)]
    cross_x = [rate / 1.5, rate * 1.5, math.nan, rate, rate]
    cross_y = [beta, beta, math.nan, max(0.0, beta - 0.08), min(1.0, beta + 0.08)]
    lines = [
        Line(Text("发散线", "divergence"), "theory", [_limit(p, b) for b in edge], edge),
        Line(Text("理论最优", "theory best"), "theory", cross_x, cross_y),
        _dot(Text("当前", "here"), "second", p.rate, p.beta),
    ]
    found = Text("搜索中。", "Searching.")
    if best is not None:
        lines.append(_dot(Text("实测最快", "found"), "third", best.rate, best.beta))
        found = Text(
            f"实测最快的是 η = {best.rate:.3g}、β = {best.beta:.3g}，要 {best.decade:.3g} 步。",
            f"The fastest found is η = {best.rate:.3g}, β = {best.beta:.3g}, at {best.decade:.3g} steps.",
        )
    summary = Text(
        f"颜色是误差缩小 10 倍要走的步数，空白处发散。{found.zh}",
        f"Colour: steps until the error is 10 times smaller; blank where it diverges. {found.en}",
    )
    colour = Grid(
        Text("步数", "steps"),
        cells.where(cells > 0, math.nan),
        low=_decade(log_rate),
        high=10 * _plain(p).decade,
        log=True,
    )
    return PlaneChart(
        Text(f"{BETAS * COLUMNS:,} 组 (η, β) 的实测收敛速度", f"Measured speed of {BETAS * COLUMNS:,} settings (η, β)"),
        *_map_axes(p),
        summary,
        colour,
        lines=tuple(lines),
    )


def _error_lines(p: Momentum, sizes: Tensor) -> tuple[list[Line], list[Line]]:
    """The slopes of theory; the errors of gradient descent and of momentum, sizes (2, runs, steps + 1)."""
    theory = []
    for name, setting in ((Text("理论 κ", "theory κ"), _plain(p)), (Text("理论 √κ", "theory √κ"), _best(p))):
        end = min(float(p.steps), math.log(ERRORS.low or 1) / setting.log_rate)
        theory.append(Line(name, "theory", [0, end], [1, math.exp(end * setting.log_rate)]))
    names: tuple[tuple[Text, Role], ...] = ((Text("梯度下降", "plain GD"), "baseline"), (_name(p), "second"))
    return theory, [_curve(name, role, size, ERRORS.low or 0) for (name, role), size in zip(names, sizes, strict=True)]


def _error_chart(p: Momentum, theory: Sequence[Line], measured: Sequence[Line], errors: Tensor, step: int) -> LineChart:
    """Errors so far; `errors` (2, runs) are the present ones."""
    return LineChart(
        Text("误差与步数", "Error against steps"),
        Axis(Text("步数", "step"), low=0, high=p.steps),
        ERRORS,
        (*theory, *[_until(line, step) for line in measured]),
        Text(
            f"第 {step} 步：梯度下降的误差还剩 {_amount(errors[0])}，{_name(p).zh}剩 {_amount(errors[1])}（以起点为 1）。",
            f"At step {step} the error is {_amount(errors[0])} of the first for plain GD, {_amount(errors[1])} for {_name(p).en}.",
        ),
    )


def _run_curvature(p: Momentum, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    start = _starts(p, device, generator)
    settings = [(_plain(p).rate, 0.0), (p.rate, p.beta)]
    trace = _trace(p, settings, start).cpu()  # (2, runs, steps + 1, 2)
    names: list[tuple[Text, Role]] = [(Text("梯度下降（最优学习率）", "plain GD (best rate)"), "baseline"), (_name(p), "second")]

    sizes = _overflowed(trace.norm(dim=3) / trace[:, :, :1].norm(dim=3))
    lines = _error_lines(p, sizes)

    def charts(share: float, log_rates: Tensor, best: _Setting | None) -> tuple[Chart, ...]:
        step = round(share * p.steps)
        errors = _error_chart(p, *lines, sizes[:, :, step], step)
        return _paths(p, trace[:, 0, : step + 1], names), _rate_map(p, log_rates, best), errors

    coarse = torch.full(((BETAS + 1) * COLUMNS,), math.nan)
    yield Snapshot(0, Text("就绪", "Ready"), charts(0, coarse, None))
    rate, beta = torch.tensor(settings, device=device).T.repeat_interleave(p.runs, 1)
    both = _Rates(p, rate, beta, _curvature(p).expand(2 * p.runs, 2).to(device), start.repeat(2, 1))
    plane, plain, pace, frame = _map(p), _Window(_map(p).slow, FASTEST), Pace(), 0
    for level in range(LEVELS):
        search = _Search(p, device, plane, plain)
        for i in range(search.measured.records):
            search.measured.advance()
            if level == 0:
                both.advance()
            done = (level + (i + 1) / search.measured.records) / LEVELS
            if pace.due() or int(done * FRAMES) > frame:
                frame = int(done * FRAMES)
                coarse = search.log_rates() if level == 0 else coarse
                status = Text(
                    f"第 {level + 1}/{LEVELS} 张网格，{BETAS * COLUMNS:,} 组参数",
                    f"Grid {level + 1}/{LEVELS} of {BETAS * COLUMNS:,} settings",
                )
                yield Snapshot(0.99 * done, status, charts(done, coarse, search.best()[0] if level or i > 8 else None))
        best, fastest = search.best()
        plane, plain = plane.around(best.rate, best.beta), plain.around(fastest.rate, 0.0)
        coarse = search.log_rates() if level == 0 else coarse

    speeds = both.log_rates().view(2, p.runs).tolist()
    figures, outcome = _judge_curvature(p, best, fastest, speeds)
    yield Snapshot(1, Text("完成", "Done"), charts(1, coarse, best), figures, outcome)


def _judge_curvature(
    p: Momentum, best: _Setting, fastest: _Setting, log_rates: Sequence[Sequence[float]]
) -> tuple[tuple[Figure, ...], Outcome]:
    """How many times fewer steps per factor of 10 this setting needs than the best gradient descent, log_rates (2, runs).

    Reproduced: within 2 % of the best that theory allows, where the search also found the best momentum and the best gradient descent within 2 %
    of theory. Same direction: faster than gradient descent (the interval lies above 1). Otherwise not at this scale.
    """
    plain, ours = ([_decade(log_rate) for log_rate in runs] for runs in log_rates)
    mean, low, high = interval([a / b for a, b in zip(plain, ours, strict=True)])
    deviation = max(abs(_best(p).log_rate / best.log_rate - 1), abs(_plain(p).log_rate / fastest.log_rate - 1))
    status: Status = "same_direction" if low > 1 else "not_at_this_scale"
    if low > 1 and max(deviation, abs(mean / _gain(p) - 1)) <= TOLERANCE:
        status = "reproduced"
    figures = (
        Figure(Text("步数之比：梯度下降 ÷ 当前设置", "Steps: gradient descent ÷ this setting"), mean, (high - low) / 2, "×"),
        Figure(Text("缩小 10 倍的步数：当前设置", "Steps per factor of 10: this setting"), *mean_and_spread(ours)),
        Figure(Text("缩小 10 倍的步数：最优的梯度下降", "Steps per factor of 10: best gradient descent"), *mean_and_spread(plain)),
        Figure(Text("每步误差乘以：动量，搜到的最优", "Factor per step: momentum, best found"), math.exp(best.log_rate)),
        Figure(Text("每步误差乘以：动量，理论最优", "Factor per step: momentum, best in theory"), math.exp(_best(p).log_rate)),
        Figure(Text("每步误差乘以：梯度下降，搜到的最优", "Factor per step: gradient descent, best found"), math.exp(fastest.log_rate)),
        Figure(Text("每步误差乘以：梯度下降，理论最优", "Factor per step: gradient descent, best in theory"), math.exp(_plain(p).log_rate)),
    )
    answer = "slower" if mean < 1 else "little" if mean < 3 else "tens" if mean < 30 else "more"
    explanation = _explain(p, best, deviation, figures[2].value, figures[1].value)
    source = LESSARD if p.method == "nesterov" else GOH
    return figures, Outcome(Verdict(status, figures[0], _published(p), source, explanation), answer)


def _published(p: Momentum) -> Text:
    law, who = ("1 − 2/√(3κ+1)", same("Nesterov")) if p.method == "nesterov" else ("(√κ−1)/(√κ+1)", Text("重球法", "heavy ball"))
    return Text(
        f"最优时每步误差乘以：{who.zh} {law}，梯度下降 (κ−1)/(κ+1)；κ = {p.condition:g} 时步数相差 {_gain(p):.3g} 倍",
        f"at best a step multiplies the error by {law} ({who.en}) or (κ−1)/(κ+1) (gradient descent): {_gain(p):.3g} times fewer steps at κ = {p.condition:g}",
    )


def _explain(p: Momentum, best: _Setting, deviation: float, plain: float, ours: float) -> Text:
    """In words; `plain` and `ours` are the steps per factor of 10."""
    who, faster = _name(p), plain > ours
    told = Text(
        f"要让误差缩小 10 倍，{who.zh}需要 {ours:.3g} 步，最优的梯度下降{'需要' if faster else '只需'} {plain:.3g} 步。",
        f"To make the error 10 times smaller, {who.en} takes {ours:.3g} steps, the best gradient descent {'' if faster else 'only '}{plain:.3g}. ",
    )
    if math.isinf(ours):
        told = Text("这个设置下误差不缩小。", "At this setting the error does not shrink. ")
    searched = Text(
        f"搜索时不用公式，找到的最快一组是 η = {best.rate:.3g}、β = {best.beta:.3g}；它和最快的梯度下降的步数，与理论相差不超过 {100 * deviation:.2g}%"
        f"（容许 {100 * TOLERANCE:g}%）。",
        f" Without the formula the search found η = {best.rate:.3g}, β = {best.beta:.3g} to be the fastest; its steps, and those of the fastest gradient "
        f"descent, are within {100 * deviation:.2g} % of theory (allowed: {100 * TOLERANCE:g} %).",
    )
    note = Text("", "")
    if p.condition < 3:
        note = Text(
            f"κ 只有 {p.condition:g}，碗几乎是圆的，动量再好也只能快 {_gain(p):.2g} 倍。",
            f" With κ = {p.condition:g} the bowl is nearly round, and even the best momentum is only {_gain(p):.2g} times faster.",
        )
    elif faster:
        note = Text("这里没有噪声，加速全来自曲率。", " There is no noise here: the whole gain comes from curvature.")
    else:
        note = Text(
            "文献里的数说的是最优参数；这组参数离最优很远，达不到是意料之中的。",
            " The published number is for the best setting; this one is far from it, so falling short of it is to be expected.",
        )
    why = _slowest(p)[1]
    return told + why + searched + note


# ---- with noise ------------------------------------------------------------------------------------------------------

MAP_RUNS = 8  # draws of the noise for each cell of the map
SIMILAR = 1.1  # losses that differ by less than this factor count as alike
LOST = 1e4  # a mean loss above this has diverged


def _scaled(p: Momentum) -> float:
    """The rate at which plain SGD should do what momentum does."""
    return p.rate / (1 - p.beta)


def _loss_map(p: Momentum, losses: Tensor) -> PlaneChart:
    """The late loss over (rate, β), with the line of equal η/(1−β)."""
    betas = [i / 50 for i in range(50)]
    lines = (
        Line(Text("η/(1−β) 不变", "equal η/(1−β)"), "theory", [max(_map(p).slow, _scaled(p) * (1 - b)) for b in betas], betas),
        _dot(Text("SGD，η/(1−β)", "SGD at η/(1−β)"), "first", min(_scaled(p), FASTEST), 0),
        _dot(_name(p), "second", p.rate, p.beta),
    )
    return PlaneChart(
        Text(f"{BETAS * COLUMNS:,} 组 (η, β) 的后期损失", f"Late loss of {BETAS * COLUMNS:,} settings (η, β)"),
        *_map_axes(p),
        Text(
            "每个 (η, β) 的后期损失，空白处发散；小学习率处颜色应沿虚线不变。",
            "Late loss of each (η, β); blank where it diverges. At small rates the colour should not change along the dashed line.",
        ),
        Grid(Text("后期损失", "late loss"), losses.where(losses < LOST, math.nan), low=0.01, high=1, log=True),
        lines=lines,
    )


def _run_noise(p: Momentum, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    start = _starts(p, device, generator)
    noise = (p.noise * torch.randn(p.steps, p.runs, 2, generator=generator)).to(device)
    trace = _trace(p, [(p.rate, 0.0), (_scaled(p), 0.0), (p.rate, p.beta)], start, noise).cpu()  # (3, runs, steps + 1, 2)
    losses = _overflowed((trace.square() * _curvature(p)).sum(3) / 2)
    names: list[tuple[Text, Role]] = [(same("SGD η"), "baseline"), (same("SGD η/(1−β)"), "first"), (_name(p), "second")]
    lines = [_curve(name, role, loss, 1e-3) for (name, role), loss in zip(names, losses, strict=True)]

    def charts(step: int, cells: Tensor) -> tuple[Chart, ...]:
        curves = LineChart(
            Text("损失与步数", "Loss against steps"),
            Axis(Text("步数", "step"), low=0, high=p.steps),
            Axis(Text("损失（对数）", "loss (log)"), log=True, low=1e-3, high=10),
            tuple(_until(line, step) for line in lines),
            Text(
                f"第 {step} 步的平均损失：SGD η/(1−β) 为 {_amount(losses[1, :, step])}，{_name(p).zh}为 {_amount(losses[2, :, step])}。",
                f"Mean loss at step {step}: {_amount(losses[1, :, step])} for SGD at η/(1−β), {_amount(losses[2, :, step])} for {_name(p).en}.",
            ),
        )
        return _paths(p, trace[:, 0, : step + 1], names), curves, _loss_map(p, cells)

    late = torch.full((BETAS, COLUMNS), 0.5)
    yield Snapshot(0, Text("就绪", "Ready"), charts(0, late))
    curvature = _curvature(p).to(device)
    rates, betas = _map(p).rates().to(device)[:, None, None], _map(p).betas().to(device)[:, None, None, None]
    few = min(MAP_RUNS, p.runs)
    w = before = start[:few].expand(BETAS, COLUMNS, few, 2)
    late = late.to(device)
    pace, frame = Pace(), 0
    for step in range(p.steps):
        w, before = _next(w, before, rates, betas, curvature, p.method == "nesterov", noise[step, :few]), w
        loss = (w.square() * curvature).sum(3).mean(2) / 2
        late = late + (loss - late) * min(1.0, 4 / (step + 1))  # a mean in which step t weighs as t³
        if pace.due() or int((step + 1) / p.steps * FRAMES) > frame:
            frame = int((step + 1) / p.steps * FRAMES)
            status = Text(
                f"{BETAS * COLUMNS * few:,} 条路径，第 {step + 1}/{p.steps} 步",
                f"{BETAS * COLUMNS * few:,} paths, step {step + 1}/{p.steps}",
            )
            yield Snapshot(0.99 * (step + 1) / p.steps, status, charts(step + 1, late.cpu()))
    half = p.steps // 2
    figures, outcome = _judge_noise(p, losses[:, :, 1 : half + 1].mean(2), losses[:, :, half + 1 :].mean(2))
    yield Snapshot(1, Text("完成", "Done"), charts(p.steps, late.cpu()), figures, outcome)


def _judge_noise(p: Momentum, early: Tensor, late: Tensor) -> tuple[tuple[Figure, ...], Outcome]:
    """Loss of momentum ÷ loss of plain SGD at η/(1−β), run by run; early, late: mean losses (3, runs) over the first and second half.

    Reproduced: in both halves the interval lies within 10 % of 1. Same direction: within a factor of 2. Otherwise, or if one diverges, not at this scale.
    """
    lost = [not bool((late[i] < LOST).all()) for i in (1, 2)]  # NaN counts as lost
    ratios = [(half[2].clamp_min(1e-30) / half[1].clamp_min(1e-30)).tolist() for half in (early, late)]
    halves = [(math.inf, 0.0, math.inf) if any(lost) else ratio_interval(half) for half in ratios]
    low, high = min(half[1] for half in halves), max(half[2] for half in halves)
    status: Status = "not_at_this_scale"
    if low > 0.5 and high < 2:
        status = "reproduced" if low >= 1 / SIMILAR and high <= SIMILAR else "same_direction"
    told = [(mean, None if any(lost) else (high - low) / 2) for mean, low, high in halves]
    levels = [mean_and_spread(row) if max(row) < LOST else (math.inf, None) for row in diverged_as_infinite(late).tolist()]
    names = (same("SGD η"), same("SGD η/(1−β)"), _name(p))
    figures = (
        Figure(Text("动量 ÷ SGD η/(1−β)：后一半损失", "Momentum ÷ SGD at η/(1−β): loss, second half"), *told[1], "×"),
        Figure(Text("动量 ÷ SGD η/(1−β)：前一半损失", "Momentum ÷ SGD at η/(1−β): loss, first half"), *told[0], "×"),
        *[
            Figure(Text(f"后一半损失：{name.zh}", f"Loss, second half: {name.en}"), *level)
            for name, level in zip(names, levels, strict=True)
        ],
    )
    mean = halves[1][0]
    answer = "diverges" if any(lost) else "less" if mean < 1 / SIMILAR else "same" if mean <= SIMILAR else "more"
    published = Text(
        "学习率小、梯度噪声为主时，带与不带动量的 SGD 短期和长期都表现相近",
        "with a small rate and dominant gradient noise, SGD with and without momentum behave similarly in the short and the long run",
    )
    explanation = _explain_noise(p, lost, [half[0] for half in halves], status)
    return figures, Outcome(Verdict(status, figures[0], published, WANG, explanation), answer)


def _explain_noise(p: Momentum, lost: Sequence[bool], ratios: Sequence[float], status: Status) -> Text:
    who, scaled, memory = _name(p), _scaled(p), 1 / (1 - p.beta)
    if any(lost):
        which = Text("两者都", "Both") if all(lost) else Text("普通 SGD ", "Plain SGD") if lost[0] else Text(who.zh, who.en.capitalize())
        return Text(
            f"{which.zh}发散了：η/(1−β) = {scaled:.3g}，普通 SGD 的上限是 2，这个 β 的动量是 {_limit(p, p.beta):.3g}。学习率到了这个量级，"
            "起决定作用的是曲率而不是噪声，两者不再等价。",
            f"{which.en} diverged: η/(1−β) = {scaled:.3g}, while plain SGD is stable only up to 2 and momentum at this β up to {_limit(p, p.beta):.3g}. "
            "At such rates curvature decides rather than noise, and the two are no longer alike.",
        )
    found = Text(
        f"与学习率为 η/(1−β) = {scaled:.3g} 的普通 SGD 相比（噪声相同），{who.zh}的损失在前一半步数里是它的 {ratios[0]:.3g} 倍，后一半是 {ratios[1]:.3g} 倍。",
        f"{who.en.capitalize()} has {ratios[0]:.3g} times the loss of plain SGD at η/(1−β) = {scaled:.3g} over the first half of the steps, "
        f"{ratios[1]:.3g} times over the second (with the same noise). ",
    )
    if status == "reproduced":
        why = Text(
            f"每个梯度最终都按 η/(1−β) 起作用，只是分摊到约 1/(1−β) = {memory:.3g} 步里，晚到几步：看起来的加速只是学习率变大了，噪声也没有被平均掉。",
            f"In the end each gradient counts with η/(1−β), only spread over about 1/(1−β) = {memory:.3g} steps and so a little late: what looks like a gain is a "
            "larger rate, and the noise is not averaged away.",
        )
    elif all(1 / SIMILAR <= ratio <= SIMILAR for ratio in ratios):
        why = Text(
            f"平均相差不到 10%，但重复 {p.runs} 次的置信区间超出了这个范围，不能下结论。",
            f"On average they differ by less than 10 %, but with {p.runs} repetitions the interval reaches beyond that.",
        )
    elif p.noise == 0:
        why = Text(
            "没有噪声，损失一路降到几乎为 0，两者每步的微小差别不断累积，比值就拉开了。",
            "Without noise the loss falls to almost nothing, and the small difference in each step adds up in the ratio.",
        )
    elif scaled > 0.2 and ratios[1] < 1:
        why = Text(
            f"η/(1−β) = {scaled:.3g} 离普通 SGD 的上限 2 不算远：它在陡的方向上来回弹，把噪声放大；动量的 η = {p.rate:.3g} 离自己的上限 {_limit(p, p.beta):.3g} 还远。",
            f"η/(1−β) = {scaled:.3g} is not small beside plain SGD's limit of 2: it bounces in the steep direction and amplifies the noise, while momentum's "
            f"η = {p.rate:.3g} is far from its own limit {_limit(p, p.beta):.3g}.",
        )
    else:
        why = Text(
            f"速度要约 1/(1−β) = {memory:.3g} 步才跟得上，与总步数 {p.steps} 相比不算短，这段滞后就看得出来。",
            f"The velocity takes about 1/(1−β) = {memory:.3g} steps to follow, which is not short beside the {p.steps} steps of the run, so the delay shows.",
        )
    return found + why


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Momentum) -> Prediction:
    if p.task == "noise":
        return Prediction(
            Text(
                f"噪声 σ = {p.noise:g}。{_name(p).zh}（η = {p.rate:g}，β = {p.beta:g}）后一半的损失，与学习率为 η/(1−β) = {_scaled(p):.3g} 的普通 SGD 相比？",
                f"Noise σ = {p.noise:g}. How does the late loss of {_name(p).en} (η = {p.rate:g}, β = {p.beta:g}) compare with plain SGD at η/(1−β) = {_scaled(p):.3g}?",
            ),
            {
                "less": Text("低 10% 以上", "over 10 % lower"),
                "same": Text("几乎一样", "about the same"),
                "more": Text("高 10% 以上", "over 10 % higher"),
                "diverges": Text("至少有一个发散", "at least one of them diverges"),
            },
        )
    return Prediction(
        Text(
            f"κ = {p.condition:g}（√κ = {p.condition**0.5:.3g}），η = {p.rate:g}，β = {p.beta:g}。与学习率最优的梯度下降相比，{_name(p).zh}快多少倍？",
            f"κ = {p.condition:g} (√κ = {p.condition**0.5:.3g}), η = {p.rate:g}, β = {p.beta:g}. How many times faster than gradient descent at its best rate is {_name(p).en}?",
        ),
        {
            "slower": Text("反而更慢，或者发散", "not at all: it is slower, or diverges"),
            "little": Text("1–3 倍", "1 to 3 times"),
            "tens": Text("3–30 倍", "3 to 30 times"),
            "more": Text("30 倍以上", "over 30 times"),
        },
    )


def run(parameters: Momentum, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from {"curvature": _run_curvature, "noise": _run_noise}[parameters.task](parameters, device, generator)


_CURVATURE_CODE = """\
import math
import torch

torch.set_num_threads(1)  # vectors as small as these gain nothing from more
KAPPA, RATE, BETA = {condition:g}, {rate:g}, {beta:g}
curvature = torch.tensor([1 / KAPPA, 1.0], dtype=torch.float64)  # of f(w) = sum(curvature * w**2) / 2

def steps_per_factor_of_10(rate, beta, nesterov=False):
    w = torch.tensor([KAPPA**0.5, 1.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=rate, momentum=beta, nesterov=nesterov)
    logs = []
    for step in range(30_000):
        w.grad = curvature * w.detach()
        optimizer.step()
        error = w.detach().abs().max().item()
        logs.append(math.log10(max(error, 1e-300)))
        if not 1e-200 < error < 1e10:
            break
    quarter = len(logs) // 4  # the slope between the third and the last quarter, when the start is forgotten
    fall = (sum(logs[-2 * quarter : -quarter]) - sum(logs[-quarter:])) / quarter
    return quarter / fall if fall > 0 else math.inf

plain = steps_per_factor_of_10(2 / (1 + 1 / KAPPA), 0.0)
ours = steps_per_factor_of_10(RATE, BETA, nesterov={nesterov})
print(f"gradient descent, best rate: {{plain:.4g}} steps per factor of 10, theory {{math.log(10) / math.log((KAPPA + 1) / (KAPPA - 1)):.4g}}")
print(f"momentum at rate {{RATE}}, beta {{BETA}}: {{ours:.4g}} steps; ratio {{plain / ours:.3g}}")
root = KAPPA**0.5
print(f"best heavy ball in theory: {{math.log(10) / math.log((root + 1) / (root - 1)):.4g}} steps, at rate {{(2 / (1 + 1 / root)) ** 2:.4g}}, "
      f"beta {{((root - 1) / (root + 1)) ** 2:.4g}}")
"""
_NOISE_CODE = """\
import torch

torch.set_num_threads(1)  # vectors as small as these gain nothing from more
KAPPA, RATE, BETA, SIGMA, STEPS, RUNS = {condition:g}, {rate:g}, {beta:g}, {noise:g}, {steps}, 200
curvature = torch.tensor([1 / KAPPA, 1.0])  # of f(w) = sum(curvature * w**2) / 2

def descend(rate, beta, nesterov=False):
    torch.manual_seed(0)  # the same noise for all
    w = torch.tensor([KAPPA**0.5, 1.0]).mul(0.5**0.5).repeat(RUNS, 1).requires_grad_()
    optimizer = torch.optim.SGD([w], lr=rate, momentum=beta, nesterov=nesterov)
    losses = []
    for step in range(STEPS):
        w.grad = curvature * w.detach() + SIGMA * torch.randn(RUNS, 2)
        optimizer.step()
        losses.append((curvature * w.detach() ** 2).sum(1).mean().item() / 2)
    half = STEPS // 2
    return sum(losses[:half]) / half, sum(losses[half:]) / (STEPS - half)

print("mean loss over the first and the second half")
for name, rate, beta, nesterov in (
    ("plain SGD, rate", RATE, 0.0, False),
    ("plain SGD, rate / (1 - beta)", RATE / (1 - BETA), 0.0, False),
    ("momentum", RATE, BETA, {nesterov}),
):
    first, second = descend(rate, beta, nesterov)
    print(f"{{name:30}} {{first:8.4g}} {{second:8.4g}}")
"""


def code(p: Momentum) -> str:
    template = _NOISE_CODE if p.task == "noise" else _CURVATURE_CODE
    return template.format(**p.values(), nesterov=p.method == "nesterov" and p.beta > 0)


DEMO = Demo(
    topic="optimization",
    title=Text("动量：重球滚下山谷", "Momentum: a heavy ball in a valley"),
    question=Text("为什么动量能加速训练，什么时候不能？", "Why does momentum speed up training, and when does it not?"),
    look_for=Text(
        "先看两条路径沿谷底走了多远，再看收敛速度图上最快的一点落在哪里、离发散线多近。",
        "Watch how far each path gets along the valley floor, then where on the map the fastest setting lies and how near to the line of divergence.",
    ),
    scaled_down=Text(
        "用两个方向的二次函数代替真实的损失：二次函数上理论是精确的，方向再多也只有最陡、最平两个起作用；梯度噪声是正态的，与位置无关。",
        "A quadratic with two directions stands in for a real loss: there theory is exact, and with more directions still only the steepest and the flattest would count. The noise is "
        "normal and the same everywhere.",
    ),
    parameters=Momentum,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=2,
)
