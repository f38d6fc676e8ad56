"""First- and second-order methods (1.14, 1.20): how many steps they take, what a step costs, and what noise does to them.

*quadratic*: random bowls, the steps to the bottom, and every multiplication counted as it is made; *rosenbrock*: a bent valley; *mini-batch*: L-BFGS on
noisy gradients. `Pairs` (L-BFGS) and `Inverse` (BFGS) serve all of them. All in float64, on the CPU: the vectors are tiny.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demos.core.charts import Axis, Chart, Grid, Line, LineChart, PlaneChart, Role
from demos.core.datasets import load_bundled, load_own, shuffles
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict, effect_status
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import diverged_as_infinite
from demos.core.statistics import exponent, log_spaced, mean_and_band, mean_and_spread, ratio_interval, thinned
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SecondOrder(Parameters):
    task: str = mode_choice(
        "quadratic",
        {"quadratic": Text("二次函数", "quadratic"), "rosenbrock": same("Rosenbrock"), "mini-batch": Text("小批量", "mini-batch")},
        label=Text("实验", "Experiment"), help=Text("在什么函数上比较。", "What the methods are compared on."),
    )  # fmt: skip
    condition: float = real(
        300, 1.1, 2000, log=True, label=Text("条件数 κ", "Condition number κ"), modes=("quadratic",),
        help=Text("最陡与最平方向的曲率之比。", "Steepest over flattest curvature."),
    )  # fmt: skip
    dimension: int = integer(
        256, 16, 320, step=16, label=Text("参数个数 n", "Number of parameters n"), modes=("quadratic",),
        help=Text("最大的一组；另外还跑更小的几组。", "Of the largest bowl; smaller ones are run too."),
    )  # fmt: skip
    steepness: float = real(
        100, 1, 1000, log=True, label=Text("谷壁陡度 b", "Steepness of the valley b"), modes=("rosenbrock",),
        help=Text("f = b(y−x²)² + (1−x)²，通常 b = 100。", "f = b(y−x²)² + (1−x)²; usually b = 100."),
    )  # fmt: skip
    batch: int = integer(
        8, 2, 128, label=Text("最小的批量", "Smallest batch"), modes=("mini-batch",),
        help=Text("从全部样本到这个数，共四档。", "Four sizes, from all samples down to this."),
    )  # fmt: skip
    pairs: str = choice(
        "different", {"different": Text("相邻两个批次", "two successive batches"), "same": Text("同一批次（多算一次梯度）", "one batch (a second gradient)")},
        label=Text("梯度之差取自", "Gradient differences from"), modes=("mini-batch",),
        help=Text("L-BFGS 从梯度之差估计曲率。", "L-BFGS infers curvature from them."),
    )  # fmt: skip
    passes: int = integer(
        30, 5, 60, step=5, label=Text("遍历数据的遍数", "Passes over the data"), modes=("mini-batch",),
        help=Text("每种方法可用的梯度总量。", "The gradients that each method may use."),
    )  # fmt: skip
    memory: int = integer(
        10, 1, 30, advanced=True, label=Text("L-BFGS 记忆 m", "L-BFGS memory m"), help=Text("保留最近几对差。", "How many pairs of differences are kept.")
    )  # fmt: skip
    draws: int = integer(
        6, 5, 12, advanced=True, label=Text("重复次数", "Repetitions"), help=Text("随机的起点、函数或样本。", "Random starts, bowls or samples.")
    )  # fmt: skip
    data: str = own_data("classes", modes=("mini-batch",))


PRESETS = {
    "quadratic": Preset(
        Text("二次函数", "Quadratic"),
        Text("κ = 300：牛顿法一步到底，但一步要算多少？", "κ = 300: Newton needs one step, but what does that step cost?"),
        {"task": "quadratic"}, "textbook",
    ),
    "rosenbrock": Preset(
        Text("弯曲的山谷", "Bent valley"),
        Text("Rosenbrock 函数上三种方法各走几步？", "How many steps does each method take on Rosenbrock's function?"),
        {"task": "rosenbrock"},
        look_for=Text(
            "先看三条路径怎样绕过弯谷。再看梯度的长度：各条曲线在第几步落下去；步数轴是对数，从一个刻度到下一个就是十倍。",
            "See how the three paths take the bend. Then see at which step each curve of the gradient's length drops: the axis of steps is logarithmic, and each mark is ten times the one before.",
        ),
    ),
    "mini-batch": Preset(
        Text("小批量噪声", "Mini-batch noise"),
        Text("梯度带噪声时，L-BFGS 的优势还剩多少？", "How much of L-BFGS's edge is left when gradients are noisy?"),
        {"task": "mini-batch"}, "limits",
        look_for=Text(
            "看“按批量”那张图：批量变小时，SGD 与 L-BFGS 两条线的距离怎样变。再看损失与梯度那张图：批量最小时，两种方法的曲线是一路下降，还是中途停住。",
            "In the chart by batch size, see what becomes of the distance between SGD and L-BFGS as batches get smaller. Then see in the other chart whether the curves of the smallest batch keep falling or come to a halt.",
        ),
    ),
    "same-batch": Preset(
        Text("同批次求差", "Same-batch pairs"),
        Text("补救：两次梯度取自同一批次，噪声还会混进曲率吗？", "A remedy: both gradients from one batch. Does noise still pass for curvature?"),
        {"task": "mini-batch", "pairs": "same", "batch": 32}, "limits",
        look_for=Text(
            "看“按批量”那张图里 SGD 与 L-BFGS 的距离，与“小批量噪声”那一次对照。再打开数值表：差分读出的曲率是真曲率的几倍，有多少读成了负的。",
            "In the chart by batch size, look at the distance between SGD and L-BFGS, and compare it with the run of “Mini-batch noise”. Then open the figures: how many times the true curvature is the one read, and how often is it negative?",
        ),
    ),
}  # fmt: skip

LECUN = Source("Efficient BackProp", "Y. LeCun, L. Bottou, G. B. Orr, K.-R. Müller", 1998, "https://doi.org/10.1007/3-540-49430-8_2")
NOCEDAL = Source(
    "Numerical Optimization (2nd ed.), section 6.1", "J. Nocedal, S. J. Wright", 2006, "https://doi.org/10.1007/978-0-387-40065-5"
)
BOTTOU = Source(
    "Optimization Methods for Large-Scale Machine Learning", "L. Bottou, F. E. Curtis, J. Nocedal", 2018, "https://arxiv.org/abs/1606.04838"
)
METHODS: dict[str, tuple[Text, Role]] = {
    "gd": (Text("梯度下降", "plain GD"), "baseline"), "newton": (Text("牛顿法", "Newton"), "first"),
    "bfgs": (same("BFGS"), "second"), "lbfgs": (same("L-BFGS"), "third"),
}  # fmt: skip


# ---- the methods -----------------------------------------------------------------------------------------------------


@dataclass
class Arithmetic:
    """Linear algebra on rows (K, n) that counts the multiplications of one row as it makes them."""

    count: int = 0

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """(K, 1)"""
        self.count += a.shape[-1]
        return (a * b).sum(-1, keepdim=True)

    def add(self, a: Tensor, factor: Tensor | float, b: Tensor) -> Tensor:
        """a + factor · b, of vectors or matrices."""
        self.count += b[0].numel()
        return a + factor * b

    def times(self, matrix: Tensor, v: Tensor) -> Tensor:
        """(K, n, n) · (K, n)"""
        self.count += matrix[0].numel()
        return (matrix @ v[..., None])[..., 0]

    def solve(self, matrix: Tensor, b: Tensor) -> Tensor:
        """The x (K, n) with matrix · x = b, by Gaussian elimination, column after column (no pivoting: the matrix is positive definite)."""
        m, n = torch.cat([matrix, b[..., None]], 2), b.shape[-1]
        for j in range(n - 1):
            removed = m[:, j + 1 :, j : j + 1] / m[:, j : j + 1, j : j + 1] * m[:, j : j + 1, j + 1 :]
            m[:, j + 1 :, j + 1 :] -= removed
            self.count += removed[0].numel()
        x = torch.zeros_like(b)
        for j in range(n - 1, -1, -1):
            x[:, j] = (m[:, j, n] - (m[:, j, :n] * x).sum(1)) / m[:, j, j]
            self.count += n - j
        return x


@dataclass
class Pairs:
    """L-BFGS: the last `memory` pairs (s, y) of moves and gradient differences, (K, n) each; nothing else is known of the curvature.

    In a row where sᵀy is not positive the pair says nothing usable: there its ρ is 0, and both loops pass over it.
    """

    memory: int
    kept: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    scale: Tensor | float = 1.0

    def add(self, a: Arithmetic, s: Tensor, y: Tensor) -> None:
        sy, yy = a.dot(s, y), a.dot(y, y)
        usable = sy > 1e-12 * yy
        self.kept = [*self.kept[max(0, len(self.kept) + 1 - self.memory) :], (s, y, torch.where(usable, 1 / sy, 0.0))]
        self.scale = torch.where(usable, sy / yy, self.scale)

    def direction(self, a: Arithmetic, gradient: Tensor) -> Tensor:
        """−B·gradient by the two-loop recursion, B being the estimate of the inverse Hessian."""
        q, shares = gradient, []
        for s, y, rho in reversed(self.kept):
            shares.append(rho * a.dot(s, q))
            q = a.add(q, -shares[-1], y)
        q = q * self.scale
        for (s, y, rho), share in zip(self.kept, reversed(shares), strict=True):
            q = a.add(q, share - rho * a.dot(y, q), s)
        return -q


@dataclass
class Inverse:
    """BFGS: the estimate B of the inverse Hessian as a full matrix (K, n, n). A pair with sᵀy ≤ 0 leaves it as it is."""

    matrix: Tensor

    def add(self, a: Arithmetic, s: Tensor, y: Tensor) -> None:
        sy, by = a.dot(s, y), a.times(self.matrix, y)
        rho = torch.where(sy > 0, 1 / sy, 0.0)
        lean = rho * (1 + rho * a.dot(y, by)) / 2 * s - rho * by
        outer = lean[:, :, None] * s[:, None]
        a.count += outer[0].numel()
        self.matrix = self.matrix + outer + outer.transpose(1, 2)

    def direction(self, a: Arithmetic, gradient: Tensor) -> Tensor:
        return -a.times(self.matrix, gradient)


# ---- the functions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bowl:
    """K quadratics ½ wᵀHw with H = P diag(λ) P and a mirror P = I − 2uuᵀ: H is a full matrix, yet H·v takes only about 5n multiplications.

    So does a network: its gradient is cheap beside its Hessian. curvature: λ (n,), mirror: u (K, n) of length 1, start: (K, n).
    """

    curvature: Tensor
    mirror: Tensor
    start: Tensor
    tolerance = 1e-6

    @classmethod
    def draw(cls, n: int, condition: float, count: int, generator: torch.Generator) -> Bowl:
        mirror, start = torch.randn(2, count, n, generator=generator, dtype=torch.float64)
        return cls(torch.tensor(log_spaced(1 / condition, 1.0, n), dtype=torch.float64), mirror / mirror.norm(dim=1, keepdim=True), start)

    def gradient(self, a: Arithmetic, w: Tensor) -> Tensor:
        turned = a.add(w, -2 * a.dot(self.mirror, w), self.mirror) * self.curvature
        a.count += turned.shape[-1]
        return a.add(turned, -2 * a.dot(self.mirror, turned), self.mirror)

    def newton(self, a: Arithmetic, w: Tensor, gradient: Tensor) -> Tensor:
        return -a.solve(self.hessian(), gradient)

    def hessian(self) -> Tensor:
        """(K, n, n)"""
        bent = self.curvature * self.mirror
        cross = bent[:, :, None] * self.mirror[:, None]
        lean = 4 * (self.mirror * bent).sum(1)[:, None, None] * self.mirror[:, :, None] * self.mirror[:, None]
        return torch.diag(self.curvature) - 2 * (cross + cross.transpose(1, 2)) + lean

    def rate(self, a: Arithmetic, w: Tensor, gradient: Tensor, direction: Tensor, method: str) -> Tensor | float:
        """Newton's step is taken as it is; gradient descent knows the best constant rate; the others go to the lowest point of the line."""
        if method in ("gd", "newton"):
            return 1.0 if method == "newton" else 2 / float(self.curvature[0] + self.curvature[-1])
        fall, bend = -a.dot(gradient, direction), a.dot(direction, self.gradient(a, direction))
        return fall / bend.clamp_min(1e-300)

    def error(self, w: Tensor, gradient: Tensor) -> Tensor:
        """The distance from the minimum ÷ that at the start (K,)."""
        return (w.square().sum(1) / self.start.square().sum(1)).sqrt()


@dataclass(frozen=True)
class Valley:
    """Rosenbrock's function b(y − x²)² + (1 − x)², with its minimum at (1, 1); start: (K, 2)."""

    b: float
    start: Tensor
    tolerance = 1e-5

    def loss(self, w: Tensor) -> Tensor:
        x, y = w.unbind(-1)
        return self.b * (y - x * x) ** 2 + (1 - x) ** 2

    def gradient(self, a: Arithmetic, w: Tensor) -> Tensor:
        x, y = w.unbind(1)
        above = 2 * self.b * (y - x * x)
        return torch.stack([-2 * x * above - 2 * (1 - x), above], 1)

    def newton(self, a: Arithmetic, w: Tensor, gradient: Tensor) -> Tensor:
        (x, y), (first, second) = w.unbind(1), gradient.unbind(1)
        p, q, r = 12 * self.b * x**2 - 4 * self.b * y + 2, -4 * self.b * x, 2 * self.b  # the Hessian is [[p, q], [q, r]]
        return -torch.stack([r * first - q * second, p * second - q * first], 1) / (p * r - q * q)[:, None]

    def rate(self, a: Arithmetic, w: Tensor, gradient: Tensor, direction: Tensor, method: str) -> Tensor:
        """The largest of 1, ½, ¼, … that lowers the loss enough (Armijo) and moves by at most ½, so that nobody leaps from arm to arm."""
        halves = 0.5 ** torch.arange(30, dtype=torch.float64)[:, None]
        allowed = self.loss(w) + 1e-4 * halves * (gradient * direction).sum(1)
        good: Tensor = (self.loss(w + halves[..., None] * direction) <= allowed) & (halves * direction.square().sum(1).sqrt() <= 0.5)
        return halves[good.int().argmax(0)]

    def error(self, w: Tensor, gradient: Tensor) -> Tensor:
        """The length of the gradient (K,), as the book has it."""
        return gradient.square().sum(1).sqrt()


MOST_STEPS = 15_000


@dataclass
class Course:
    """What one method did: the error (K,) at each step, when each of the K starts arrived (infinite: not yet), the first two coordinates of the first start,
    and the multiplications of one step.
    """

    errors: list[Tensor]
    arrived: Tensor
    path: list[tuple[float, float]]
    per_step: float = math.nan

    def steps(self) -> tuple[float, float | None]:
        """Mean and spread of the steps that were needed."""
        return mean_and_spread(self.arrived.tolist())


def descend(problem: Bowl | Valley, method: str, memory: int, course: Course) -> Iterator[None]:
    """Step after step until all K starts have arrived; what happens is kept in `course`."""
    a, w, steps = Arithmetic(), problem.start, 0
    estimate = Pairs(memory) if method == "lbfgs" else Inverse(torch.eye(w.shape[1], dtype=w.dtype).repeat(len(w), 1, 1))
    gradient = problem.gradient(a, w)
    while bool(course.arrived.isinf().any()) and steps < MOST_STEPS:
        direction = -gradient
        if method != "gd":
            proposed = problem.newton(a, w, gradient) if method == "newton" else estimate.direction(a, gradient)
            direction = torch.where(a.dot(proposed, gradient) < 0, proposed, direction)  # where it leads uphill: the gradient's way
        step = problem.rate(a, w, gradient, direction, method) * direction
        w, before, steps = w + step, gradient, steps + 1
        gradient = problem.gradient(a, w)
        if method in ("bfgs", "lbfgs"):
            estimate.add(a, step, gradient - before)
        course.errors.append(problem.error(w, gradient))
        course.arrived = torch.where(course.errors[-1] <= problem.tolerance, course.arrived.clamp_max(steps), course.arrived)
        course.path.append((float(w[0, 0]), float(w[0, 1])))
        course.per_step = a.count / steps
        yield


def race(problem: Bowl | Valley, methods: Sequence[str], memory: int) -> Iterator[dict[str, Course]]:
    """The methods side by side, each until it is at the bottom; a look after every step."""
    first, at = problem.error(problem.start, problem.gradient(Arithmetic(), problem.start)), problem.start[0].tolist()
    courses = {method: Course([first], torch.full_like(first, math.inf), [(at[0], at[1])]) for method in methods}
    running = {method: descend(problem, method, memory, courses[method]) for method in methods}
    while running:
        running = {method: steps for method, steps in running.items() if next(steps, steps) is None}
        yield courses


# ---- quadratics ------------------------------------------------------------------------------------------------------


def _sizes(p: SecondOrder) -> list[int]:
    return [round(n) for n in log_spaced(p.dimension / 8, p.dimension, 4)]


def _horizon(p: SecondOrder) -> int:
    """How many steps are drawn: a little more than a quasi-Newton method should take."""
    return 10 + round(1.2 * math.sqrt(p.condition) * math.log(2 / Bowl.tolerance) / 2)


def _run_quadratic(p: SecondOrder, generator: torch.Generator) -> Iterator[Snapshot]:
    results: dict[int, dict[str, Course]] = {}
    yield Snapshot(0, Text("就绪", "Ready"), _quadratic_charts(p, results))
    sizes, pace = _sizes(p)[::-1], Pace()
    for i, n in enumerate(sizes):
        for step, courses in enumerate(race(Bowl.draw(n, p.condition, p.draws, generator), list(METHODS), p.memory)):
            results[n] = courses
            share = (i + min(1.0, step / (10 * _horizon(p)))) / len(sizes)
            if pace.due(share if step < _horizon(p) else None):
                yield Snapshot(0.99 * share, Text(f"n = {n}，第 {step + 1} 步", f"n = {n}, step {step + 1}"), _quadratic_charts(p, results))
    figures, outcome = judge_quadratic(p, results)
    yield Snapshot(1, Text("完成", "Done"), _quadratic_charts(p, results), figures, outcome)


def _curves(courses: dict[str, Course], chosen: dict[str, list[int]], floor: float, shift: int = 0) -> tuple[Line, ...]:
    """Mean error and band at the chosen steps of each method."""
    lines = []
    for m, steps in chosen.items():
        bands = mean_and_band(torch.stack([courses[m].errors[i] for i in steps]).clamp_min(floor).T.tolist(), log=True)
        lines.append(Line(*METHODS[m], [i + shift for i in steps], *bands))
    return tuple(lines)


def _quadratic_charts(p: SecondOrder, results: dict[int, dict[str, Course]]) -> tuple[Chart, ...]:
    courses, far, most = results.get(p.dimension, {}), _horizon(p), 10.0 ** math.ceil(3 * math.log10(p.dimension))
    en, zh = _told({m: course.steps()[0] for m, course in courses.items()})
    errors = LineChart(
        Text(f"误差与步数（n = {p.dimension}）", f"Error against steps (n = {p.dimension})"), Axis(Text("步数", "step"), low=0, high=far),
        Axis(Text("误差 ÷ 起点误差（对数）", "error ÷ error at the start (log)"), log=True, low=1e-8, high=2),
        _curves(courses, {m: thinned(min(len(course.errors), far + 1)) for m, course in courses.items()}, 1e-9),
        Text(f"误差降到 1e-6 的步数：{zh or '未开始'}（∞：还没到）。", f"Steps to an error of 1e-6: {en or 'not begun'} (∞: not there yet)."),
    )  # fmt: skip
    sizes = [n for n in _sizes(p) if n in results]

    def against_n(title: Text, cost: dict[str, list[float]], low: float, high: float) -> LineChart:
        en, zh = _told({m: values[-1] for m, values in cost.items() if values})
        return LineChart(
            title, Axis(Text("参数个数 n（对数）", "number of parameters n (log)"), log=True, low=_sizes(p)[0], high=p.dimension),
            Axis(Text("乘法（对数）", "multiplications (log)"), log=True, low=low, high=high),
            tuple(Line(*METHODS[m], sizes, values, style="dots+line") for m, values in cost.items()),
            Text(f"{title.zh}；n = {p.dimension} 时：{zh or '未开始'}。", f"{title.en}; at n = {p.dimension}: {en or 'not begun'}."),
        )  # fmt: skip

    step = {m: [results[n][m].per_step for n in sizes] for m in METHODS}
    total = {m: [results[n][m].per_step * results[n][m].steps()[0] for n in sizes] for m in METHODS}
    return (
        errors,
        against_n(Text("一步的乘法次数", "Multiplications of one step"), step, 10, most),
        against_n(Text("走到谷底的乘法次数", "Multiplications to the bottom"), total, 100, 10 * most),
    )


def judge_quadratic(p: SecondOrder, results: dict[int, dict[str, Course]]) -> tuple[tuple[Figure, ...], Outcome]:
    """Reproduced: after one Newton step the error is below 1e-8 of the first in every draw at every size (rounding leaves about κ · 1e-16), and the counted
    cost of a step grows with an exponent within 0.25 of 3. Same direction: one of the two. Otherwise not at this scale.
    """
    after = max(float(courses["newton"].errors[1].max()) for courses in results.values())
    sizes, top = sorted(results)[-3:], results[p.dimension]
    powers = {m: exponent(sizes, [results[n][m].per_step for n in sizes]) for m in METHODS}
    status: Status = ("not_at_this_scale", "same_direction", "reproduced")[(after <= 1e-8) + (abs(powers["newton"] - 3) <= 0.25)]
    steps = {m: course.steps() for m, course in top.items()}
    total = {m: steps[m][0] * top[m].per_step for m in METHODS}
    answer = min(total, key=lambda m: total[m])
    names = {m: METHODS[m][0] for m in METHODS}
    figures = (
        *[Figure(Text(f"步数：{names[m].zh}", f"Steps: {names[m].en}"), *steps[m]) for m in ("newton", "bfgs", "lbfgs", "gd")],
        Figure(Text("牛顿法一步之后的误差（最大）", "Error after one Newton step (largest)"), after),
        *[Figure(Text(f"一步乘法次数的指数：{names[m].zh}", f"Exponent of a step's multiplications: {names[m].en}"), powers[m]) for m in METHODS],
        *[Figure(Text(f"走到谷底的乘法：{names[m].zh}", f"Multiplications to the bottom: {names[m].en}"), total[m]) for m in METHODS],
    )  # fmt: skip
    counts, more = [_short(steps[m][0]) for m in ("gd", "bfgs", "lbfgs")], total["newton"] / total[answer]
    explanation = Text(
        f"二次函数的 Hessian 处处相同，一步牛顿就把误差降到起点的 {after:.1g}（只剩舍入误差），梯度下降却要 {counts[0]} 步；BFGS 和 L-BFGS 只看梯度之差，也只要 {counts[1]} 和 {counts[2]} 步。"
        f"可是牛顿的一步要解 n 元方程组：数出来的乘法按 n^{powers['newton']:.2f} 增长，BFGS 一步按 n^{powers['bfgs']:.2f}，L-BFGS 按 n^{powers['lbfgs']:.2f}。n = {p.dimension} 时全程乘法最少的方法："
        + ("牛顿法；n 再大就会反过来。" if answer == "newton" else f"{names[answer].zh}，牛顿法是它的 {more:.2g} 倍，n 越大差距越大。")
        + "复制的代码给真实的求解器计时：时间的指数略低于 3，因为矩阵越大，处理器用得越充分。",
        f"A quadratic has the same Hessian everywhere, so one Newton step leaves {after:.1g} of the error (rounding); gradient descent takes {counts[0]} steps, and BFGS and L-BFGS, which "
        f"see only differences of gradients, {counts[1]} and {counts[2]}. But a Newton step solves n equations: its multiplications, counted, grow as n^{powers['newton']:.2f}, those of a BFGS "
        f"step as n^{powers['bfgs']:.2f}, of L-BFGS as n^{powers['lbfgs']:.2f}. In total the fewest at n = {p.dimension} are made by "
        + ("Newton; with a larger n that will turn. " if answer == "newton" else f"{names[answer].en}; Newton makes {more:.2g} times as many, and the gap widens with n. ")
        + "The code to copy times a real solver: its exponent stays a little below 3, as a processor is used better by larger matrices.",
    )  # fmt: skip
    published = Text("二次函数上牛顿法一步收敛；每步要存并求逆 N×N 矩阵，O(N³)", "Newton converges in one step on a quadratic; storing and inverting takes O(N³) per iteration")  # fmt: skip
    return figures, Outcome(Verdict(status, figures[0], published, LECUN, explanation), answer)


def _told(values: dict[str, float]) -> tuple[str, str]:
    """A number for each method, in English and in Chinese."""
    told = [(METHODS[m][0], _short(value)) for m, value in values.items()]
    return ", ".join(f"{name.en} {value}" for name, value in told), "，".join(f"{name.zh} {value}" for name, value in told)


def _short(value: float) -> str:
    """Three significant digits without an exponent where that is shorter: 2,070, 1.2e7, ∞."""
    if math.isinf(value):
        return "∞"
    return f"{float(f'{value:.3g}'):,.0f}" if 1000 <= value < 1e6 else f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-")


# ---- Rosenbrock's valley ---------------------------------------------------------------------------------------------

PUBLISHED = {"gd": 5264, "bfgs": 34, "newton": 21}


def _run_rosenbrock(p: SecondOrder, generator: torch.Generator) -> Iterator[Snapshot]:
    """From the textbook's start (−1.2, 1), and from others within 0.3 of it."""
    start = torch.tensor([-1.2, 1.0], dtype=torch.float64) + 0.6 * (torch.rand(p.draws, 2, generator=generator, dtype=torch.float64) - 0.5)
    start[0] = torch.tensor([-1.2, 1.0])
    valley, pace = Valley(p.steepness, start), Pace()
    courses: dict[str, Course] = {}
    yield Snapshot(0, Text("就绪", "Ready"), _valley_charts(valley, courses))
    for step, courses in enumerate(race(valley, list(PUBLISHED), p.memory)):
        share = math.log(step + 1) / math.log(MOST_STEPS + 2)
        if pace.due(share):
            yield Snapshot(0.99 * share, Text(f"第 {step + 1} 步", f"Step {step + 1}"), _valley_charts(valley, courses))
    figures, outcome = judge_rosenbrock(p, {m: course.arrived.tolist() for m, course in courses.items()})
    yield Snapshot(1, Text("完成", "Done"), _valley_charts(valley, courses), figures, outcome)


def _valley_charts(valley: Valley, courses: dict[str, Course]) -> tuple[Chart, ...]:
    x, y = (low + (high - low) * (torch.arange(50) + 0.5) / 50 for low, high in ((-1.7, 1.7), (-0.7, 2.2)))
    cells = valley.loss(torch.stack(torch.meshgrid(x, y, indexing="xy"), 2))
    chosen = {m: sorted({round(i) - 1 for i in log_spaced(1, len(course.path), 60)}) for m, course in courses.items()}
    paths = []
    for m, steps in chosen.items():
        across, up = zip(*[courses[m].path[i] for i in steps], strict=True)
        paths.append(Line(*METHODS[m], across, up))
    en, zh = _told({m: course.steps()[0] for m, course in courses.items()})
    return (
        PlaneChart(
            Text("从 (−1.2, 1) 走到 (1, 1)", "From (−1.2, 1) to (1, 1)"), Axis(same("x"), low=-1.7, high=1.7), Axis(same("y"), low=-0.7, high=2.2),
            Text("三种方法的路径，底色是损失的等高线。", "The paths of the three methods over levels of the loss."),
            Grid(Text("损失", "loss"), cells, low=0.01, high=20 * valley.b, log=True, bands=12), lines=tuple(paths),
        ),
        LineChart(
            Text("梯度的长度与步数", "Length of the gradient against steps"), Axis(Text("步数 + 1（对数）", "step + 1 (log)"), log=True, low=1, high=MOST_STEPS),
            Axis(Text("梯度的长度（对数）", "length of the gradient (log)"), log=True, low=1e-6, high=1e4), _curves(courses, chosen, 1e-7, 1),
            Text(f"梯度短于 1e-5 所需的步数：{zh or '未开始'}（∞：还没到）。", f"Steps until the gradient is shorter than 1e-5: {en or 'not begun'} (∞: not there yet)."),
        ),
    )  # fmt: skip


def judge_rosenbrock(p: SecondOrder, steps: dict[str, list[float]]) -> tuple[tuple[Figure, ...], Outcome]:
    """Steps of gradient descent ÷ steps of Newton, start by start (one that has not arrived counts with the limit of steps): `effect_status` against 5264/21."""
    capped = {m: [min(value, MOST_STEPS) for value in values] for m, values in steps.items()}
    mean, low, high = ratio_interval([a / max(1.0, b) for a, b in zip(capped["gd"], capped["newton"], strict=True)])
    status = effect_status(mean, low, 1, PUBLISHED["gd"] / PUBLISHED["newton"])
    figures = (
        Figure(Text("步数之比：梯度下降 ÷ 牛顿法", "Steps: gradient descent ÷ Newton"), mean, (high - low) / 2, "×"),
        *[Figure(Text(f"步数：{METHODS[m][0].zh}", f"Steps: {METHODS[m][0].en}"), *mean_and_spread(steps[m])) for m in PUBLISHED],
        *[Figure(Text(f"步数，从 (−1.2, 1) 出发：{METHODS[m][0].zh}", f"Steps from (−1.2, 1): {METHODS[m][0].en}"), steps[m][0]) for m in PUBLISHED],
    )  # fmt: skip
    late = sum(math.isinf(value) for value in steps["gd"])
    note = Text("", "") if not late else Text(
        f"梯度下降有 {late} 个起点走了 {MOST_STEPS:,} 步还没到，比值只是下限。", f" From {late} starts gradient descent had not arrived after {MOST_STEPS:,} steps: the ratio is a lower bound."
    )  # fmt: skip
    other = Text("", "") if p.steepness == 100 else Text(
        f"书中的数是 b = 100 的，这里 b = {p.steepness:g}。", f" The book's figures are for b = 100; here b = {p.steepness:g}."
    )  # fmt: skip
    told = [_short(mean_and_spread(capped[m])[0]) for m in PUBLISHED]
    explanation = Text(
        f"平均步数：梯度下降 {told[0]}，BFGS {told[1]}，牛顿法 {told[2]}。谷底又弯又平，负梯度几乎垂直于谷的走向，梯度下降只能来回折返着往前挪；牛顿法知道曲率，沿谷走；BFGS 不算二阶导数，"
        f"只靠相邻梯度之差就差不多一样快。这里不是二次函数，牛顿法一步也就不够。线搜索与书中不同（这里按 Armijo 条件折半、一步至多走 ½，书中用 Wolfe 条件），步数不会逐一相同。{note.zh}{other.zh}",
        f"Mean steps: gradient descent {told[0]}, BFGS {told[1]}, Newton {told[2]}. The valley is bent and flat, and the gradient points across it, so gradient descent creeps "
        "along in a zigzag; Newton knows the curvature and follows the bend. BFGS comes close with differences of gradients only. As this is no quadratic, one Newton step is not enough. The line "
        f"search is another than the book's (halving with Armijo's condition and at most ½ a step here, Wolfe's conditions there), so single counts differ.{note.en}{other.en}",
    )  # fmt: skip
    published = Text(
        "从 (−1.2, 1) 出发，梯度范数降到 1e-5：最速下降 5264 步，BFGS 34 步，牛顿法 21 步（251 倍）",
        "from (−1.2, 1) to a gradient norm of 1e-5: steepest descent 5264 iterations, BFGS 34, Newton 21 (251 times)",
    )
    answer = "same" if mean < 3 else "ten" if mean < 30 else "hundred"
    return figures, Outcome(Verdict(status, figures[0], published, NOCEDAL, explanation), answer)


# ---- mini-batches ----------------------------------------------------------------------------------------------------

PENALTY = 1e-3  # of ½‖w‖²: makes the loss strongly convex
RATES = log_spaced(0.003, 10, 8)  # each method at each batch size is judged at its best
LOOKS = 40


@dataclass(frozen=True)
class Softmax:
    """Softmax regression on S random subsets of the training rows: x (S, N, F) with a column of ones, y one-hot (S, N, C). Weights are rows (S·R, C·F)."""

    x: Tensor
    y: Tensor

    @classmethod
    def load(cls, p: SecondOrder, generator: torch.Generator) -> Softmax:
        data = load_own(p.data, "classes", generator=generator) if p.data else load_bundled("breast_cancer", generator=generator)
        rows = min(1024, int(0.8 * len(data.train_y)))
        chosen = shuffles(len(data.train_y), p.draws, generator, rows)
        x = torch.cat([data.train_x, torch.ones(len(data.train_x), 1)], 1).double()
        return cls(x[chosen], torch.nn.functional.one_hot(data.train_y[chosen], data.classes).double())

    def start(self, rates: int) -> Tensor:
        return torch.zeros(len(self.x) * rates, self.y.shape[2] * self.x.shape[2], dtype=torch.float64)

    def loss(self, w: Tensor, batch: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Losses (S, R) and gradients (S·R, C·F), on all rows or on a batch (S, B)."""
        each = torch.arange(len(self.x))[:, None]
        x, y = (self.x, self.y) if batch is None else (self.x[each, batch], self.y[each, batch])
        weights = w.view(len(x), -1, x.shape[2])  # (S, R·C, F)
        logits = (weights @ x.transpose(1, 2)).view(len(x), -1, y.shape[2], x.shape[1])  # (S, R, C, B)
        target = y.transpose(1, 2)[:, None]
        logs = logits.log_softmax(2)
        slope = ((logs.exp() - target) / x.shape[1]).flatten(1, 2) @ x + PENALTY * weights
        losses = -(logs * target).sum(2).mean(2) + PENALTY / 2 * w.square().sum(1).view(len(x), -1)
        return losses, slope.reshape(w.shape)


def train(problem: Softmax, method: str, batch: int, p: SecondOrder, generator: torch.Generator) -> Iterator[tuple[float, Tensor, Pairs]]:
    """Passes over the data used up, weights (S·R, C·F), and L-BFGS's pairs; one row of weights for each of RATES."""
    count, a, estimate, used = problem.x.shape[1], Arithmetic(), Pairs(p.memory), 0
    rates = torch.tensor(RATES, dtype=torch.float64).repeat(len(problem.x))[:, None]
    w, before = problem.start(len(RATES)), None
    while True:
        order = torch.stack([torch.randperm(count, generator=generator) for _ in problem.x])
        for rows in order.split(batch, 1)[: count // batch]:
            _, gradient = problem.loss(w, rows if batch < count else None)
            used += batch
            if method == "lbfgs" and before is not None:
                estimate.add(a, w - before[0], gradient - before[1])
            moved = w + rates * (estimate.direction(a, gradient) if method == "lbfgs" else -gradient)
            before = (w, gradient)
            if method == "lbfgs" and p.pairs == "same" and batch < count:
                estimate.add(a, moved - w, problem.loss(moved, rows)[1] - gradient)
                used, before = used + batch, None
            w = moved
            yield used / count, w, estimate


@dataclass
class Descent:
    """What a method did at one batch size: excess losses (S, R) at each look, and how many times too large the latest pair's curvature was (S, R)."""

    first: Tensor  # excess loss at the start (S, 1)
    passes: list[float] = field(default_factory=list)
    excess: list[Tensor] = field(default_factory=list)
    readings: list[Tensor] = field(default_factory=list)

    def look(self, problem: Softmax, passes: float, w: Tensor, estimate: Pairs, least: Tensor) -> None:
        losses = problem.loss(w)[0]
        self.passes.append(passes)
        self.excess.append(diverged_as_infinite((losses - least).clamp_min(1e-12)))
        if estimate.kept:
            s, y, _ = estimate.kept[-1]
            truth = problem.loss(w)[1] - problem.loss(w - s)[1]
            self.readings.append(((s * y).sum(1) / (s * truth).sum(1)).view(losses.shape))

    def late(self) -> Tensor:
        """The mean of the last tenth of the looks (S, R); who ends above the start, or diverged, counts as not having moved."""
        return torch.minimum(torch.stack(self.excess[-max(1, len(self.excess) // 10) :]).mean(0), self.first)

    def best(self) -> int:
        """Which of RATES is best, by the mean logarithm over subsets."""
        return int(self.late().log().mean(0).argmin())


def _batches(p: SecondOrder, count: int) -> list[int]:
    """Four sizes from all samples down to the smallest; the first and the last are drawn as curves."""
    return sorted({round(b) for b in log_spaced(min(p.batch, count // 2), count, 4)}, reverse=True)


def _run_batches(p: SecondOrder, generator: torch.Generator) -> Iterator[Snapshot]:
    results: dict[tuple[str, int], Descent] = {}
    yield Snapshot(0, Text("载入数据", "Loading the data"), _batch_charts(p, [], results))
    problem, pace = Softmax.load(p, generator), Pace()
    batches, first = _batches(p, problem.x.shape[1]), problem.loss(problem.start(1))[0]
    w, a, estimate, least = problem.start(1), Arithmetic(), Pairs(20), first
    for step in range(400):  # the minimum, by L-BFGS on all samples
        losses, gradient = problem.loss(w)
        least = torch.fmin(least, losses)
        moved = w + estimate.direction(a, gradient) * (1.0 if step else 0.1)
        estimate.add(a, moved - w, problem.loss(moved)[1] - gradient)
        w = moved
        if pace.due():
            yield Snapshot(0.05 * step / 400, Text("寻找最小值", "Finding the minimum"), _batch_charts(p, batches, results))
    jobs = [(method, batch) for batch in (batches[0], *batches[:0:-1]) for method in ("gd", "lbfgs")]
    for i, (method, batch) in enumerate(jobs):
        descent = results[method, batch] = Descent(first - least)
        for passes, w, estimate in train(problem, method, batch, p, generator):
            if passes >= (len(descent.passes) + 1) * p.passes / LOOKS:
                descent.look(problem, passes, w, estimate, least)
            share = 0.05 + 0.94 * (i + min(1.0, passes / p.passes)) / len(jobs)
            if pace.due(share):
                status = Text(f"批量 {batch}，第 {passes:.1f} 遍", f"Batch {batch}, pass {passes:.1f}")
                yield Snapshot(share, status, _batch_charts(p, batches, results))
            if passes >= p.passes:
                break
    figures, outcome = judge_batches(p, batches, results)
    yield Snapshot(1, Text("完成", "Done"), _batch_charts(p, batches, results), figures, outcome)


def _batch_charts(p: SecondOrder, batches: Sequence[int], results: dict[tuple[str, int], Descent]) -> tuple[Chart, ...]:
    """Curves of the largest and the smallest batch, and the excess at the end against the batch; each method at its best learning rate so far."""
    done = {key: descent for key, descent in results.items() if descent.excess}
    roles: dict[tuple[str, int], Role] = {("gd", 0): "baseline", ("lbfgs", 0): "first", ("gd", -1): "fourth", ("lbfgs", -1): "second"}
    curves, ends = [], []
    for (method, place), role in roles.items():
        key, name = (method, batches[place] if batches else 0), "SGD" if method == "gd" else "L-BFGS"
        if key in done:
            values = torch.stack(done[key].excess)[:, :, done[key].best()].T  # (S, looks)
            which = Text(f"{name} 批量 {key[1]}", f"{name} batch {key[1]}") if place else Text(f"{name} 全部", f"{name} full")
            curves.append(Line(which, role, done[key].passes, *mean_and_band(values.clamp(1e-12, 1e30).tolist(), log=True)))
        if place == 0:
            sizes = [batch for batch in batches[::-1] if (method, batch) in done]
            rows = [done[method, batch].late()[:, done[method, batch].best()].tolist() for batch in sizes]
            ends.append(Line(same(name), role, sizes, *mean_and_band(list(zip(*rows, strict=True)), log=True), style="dots+line"))
    told = ", ".join(f"{line.name.en} {_short(list(line.y)[-1])}" for line in curves)
    zh = "，".join(f"{line.name.zh} {_short(list(line.y)[-1])}" for line in curves)
    excess = Axis(Text("损失 − 最小值（对数）", "loss − minimum (log)"), log=True, low=1e-7, high=10)
    return (
        LineChart(
            Text("超出最小值的损失与用掉的梯度", "Excess loss against gradients used"),
            Axis(Text("用掉的梯度（遍历数据的遍数）", "gradients used (passes over the data)"), low=0, high=p.passes), excess, tuple(curves),
            Text(f"目前超出最小值：{zh or '未开始'}。", f"Excess so far: {told or 'not begun'}."),
        ),
        LineChart(
            Text(f"{p.passes} 遍之后，按批量", f"After {p.passes} passes, by batch size"),
            Axis(Text("批量（对数）", "batch size (log)"), log=True, low=batches[-1] if batches else 1, high=batches[0] if batches else 1000), excess, tuple(ends),
            Text("每个点都用该方法在该批量下最好的学习率。", "Each point has the best learning rate of its method at its batch size."),
        ),
    )  # fmt: skip


def judge_batches(p: SecondOrder, batches: Sequence[int], results: dict[tuple[str, int], Descent]) -> tuple[tuple[Figure, ...], Outcome]:
    """SGD's excess ÷ L-BFGS's after the same number of gradients, subset by subset, each at its best rate. Reproduced: L-BFGS is ahead on all samples (the
    interval lies above 1) and not at the smallest batch. Same direction: ahead at both, but by a smaller factor. Otherwise not at this scale.
    """
    late = {key: descent.late()[:, descent.best()].tolist() for key, descent in results.items()}
    full, small = ([a / b for a, b in zip(late["gd", batch], late["lbfgs", batch], strict=True)] for batch in (batches[0], batches[-1]))
    (whole, ahead, _), (mean, low, high) = ratio_interval(full), ratio_interval(small)
    shrunk = ratio_interval([a / b for a, b in zip(full, small, strict=True)])[1] > 1
    status: Status = "not_at_this_scale" if not (ahead > 1 and shrunk) else "same_direction" if low > 1 else "reproduced"
    last = results["lbfgs", batches[-1]]
    readings = torch.stack(last.readings)[:, :, last.best()].flatten().nan_to_num(math.inf)
    reading, wrong = min(1e9, float(readings.median())), float((readings <= 0).double().mean())
    figures = (
        Figure(Text(f"批量 {batches[-1]}：SGD ÷ L-BFGS 的超出损失", f"Batch {batches[-1]}: excess of SGD ÷ L-BFGS"), mean, (high - low) / 2, "×"),
        Figure(Text("全部样本：SGD ÷ L-BFGS 的超出损失", "All samples: excess of SGD ÷ L-BFGS"), whole, (ratio_interval(full)[2] - ahead) / 2, "×"),
        *[Figure(Text(f"超出最小值：{'L-BFGS' if m == 'lbfgs' else 'SGD'}，批量 {b}", f"Excess loss: {'L-BFGS' if m == 'lbfgs' else 'SGD'}, batch {b}"), *mean_and_spread(late[m, b]))
          for m, b in late],
        Figure(Text(f"批量 {batches[-1]}：差分读出的曲率 ÷ 真曲率（中位数）", f"Batch {batches[-1]}: curvature read ÷ true (median)"), reading, None, "×"),
        Figure(Text(f"批量 {batches[-1]}：读成负曲率", f"Batch {batches[-1]}: read as negative"), 100 * wrong, None, "%"),
    )  # fmt: skip
    answer = "lbfgs" if mean > 3 else "same" if mean >= 1 / 3 else "sgd"
    explanation = _explain_batches(p, batches, whole, mean, reading, wrong)
    published = Text(
        "拟牛顿更新对相邻两次梯度求差；梯度带噪声时曲率会估错，反而可能有害；一次坏的更新会影响许多步",
        "quasi-Newton updates difference two gradients; noise can make the curvature estimates poor and the steps worse rather than better, and one bad update lingers",
    )
    return figures, Outcome(Verdict(status, figures[0], published, BOTTOU, explanation), answer)


def _explain_batches(p: SecondOrder, batches: Sequence[int], whole: float, mean: float, reading: float, wrong: float) -> Text:
    size = "一百万倍以上" if reading > 1e6 else f" {reading:.2g} 倍", "more than a million" if reading > 1e6 else f"{reading:.2g}"
    found = Text(
        f"用掉同样多的梯度：若每步用全部样本，SGD（即梯度下降）超出最小值的损失是 L-BFGS 的 {_short(whole)} 倍；批量 {batches[-1]} 时是 {mean:.2g} 倍。",
        f"With equally many gradients, SGD's excess loss is {_short(whole)} times that of L-BFGS on all samples, and {mean:.2g} times at batch {batches[-1]}. ",
    )
    if p.pairs == "different":
        why = Text(
            f"相邻两步的批次不同，y = Hs + 噪声：步子越小 Hs 越小，噪声却不变。这里读出的曲率中位数是真值的{size[0]}，{100 * wrong:.0f}% 的读数是负的。曲率读得太大，步子就越缩越小，"
            "y 里就更只剩噪声；偶尔读得太小，一步又跳得很远。线搜索也救不了：换了批次，比较的就不是同一个函数。",
            f"Two successive steps see different batches, so y = Hs + noise: a smaller step has a smaller Hs, but no less noise. Here the median curvature read is {size[1]} times the true one, and "
            f"{100 * wrong:.0f} % of the readings are negative. Curvature read too large makes steps shrink, which leaves only noise in y; read too small, a step leaps far away. "
            "A line search would not help: on another batch it compares another function. ",
        )  # fmt: skip
    else:
        why = Text(
            f"两次梯度取自同一批次，差里就没有批次之间的噪声：读出的曲率中位数是真值的{size[0]}，不再错得离谱；但每步要两次梯度，读到的也只是这一批的曲率，而步子本身仍带噪声，"
            "再准的曲率也去不掉它。",
            f"With both gradients from one batch their difference is free of the noise between batches: the median curvature read is {size[1]} times the true one. But a step now costs two "
            "gradients, shows the curvature of that batch alone, and is noisy itself, which no curvature can mend. ",
        )  # fmt: skip
    setting = Text(
        f"与综述不同：一个几十维的小分类问题，学习率固定，每种方法取 {len(RATES)} 档里最好的一档。",
        f"Unlike the review: one small classifier, constant learning rates, and each method at the best of {len(RATES)} rates.",
    )
    return found + why + setting


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: SecondOrder) -> Prediction:
    if p.task == "quadratic":
        return Prediction(
            Text(
                f"κ = {p.condition:g}，n = {p.dimension}，误差要降到百万分之一。哪种方法总共做的乘法最少？（牛顿法只要一步）",
                f"κ = {p.condition:g}, n = {p.dimension}, and the error is to fall to a millionth. Which method makes the fewest multiplications in all? (Newton needs one step.)",
            ),
            {m: name for m, (name, _) in METHODS.items()},
        )  # fmt: skip
    if p.task == "rosenbrock":
        return Prediction(
            Text(
                f"b = {p.steepness:g} 的弯谷里，梯度下降的步数是牛顿法的多少倍？", f"In a bent valley with b = {p.steepness:g}, by what factor does gradient descent take more steps than Newton?"
            ),
            {"same": Text("不到 3 倍", "less than 3 times"), "ten": Text("3–30 倍", "3 to 30 times"), "hundred": Text("30 倍以上", "over 30 times")},
        )  # fmt: skip
    source = Text("相邻两个批次", "two successive batches") if p.pairs == "different" else Text("同一批次", "one batch")
    return Prediction(
        Text(
            f"批量降到 {p.batch}（梯度之差取自{source.zh}），用掉同样多的梯度，谁离最小值更近？",
            f"With batches of {p.batch} (gradient differences from {source.en}) and equally many gradients, which gets closer to the minimum?",
        ),
        {"lbfgs": Text("L-BFGS，差距不到 SGD 的 1/3", "L-BFGS, by over 3 times"), "same": Text("差不多", "about the same"), "sgd": Text("SGD，差距不到 L-BFGS 的 1/3", "SGD, by over 3 times")},
    )  # fmt: skip


def run(parameters: SecondOrder, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from {"quadratic": _run_quadratic, "rosenbrock": _run_rosenbrock, "mini-batch": _run_batches}[parameters.task](
        parameters, generator
    )


_QUADRATIC_CODE = """\
import math
import time
import torch

torch.set_num_threads(1)
torch.manual_seed(0)
KAPPA, N = {condition:g}, {dimension}

def bowl(n):  # the Hessian of f(w) = w @ H @ w / 2, with curvatures from 1/KAPPA to 1
    q, _ = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64))
    return q @ torch.diag(torch.logspace(-math.log10(KAPPA), 0, n, dtype=torch.float64)) @ q.T

H, start = bowl(N), 1000 * torch.randn(N, dtype=torch.float64)
w = start - torch.linalg.solve(H, H @ start)
print(f"Newton, 1 step: error {{w.norm() / start.norm():.1e}}")

w, steps = start.clone(), 0
while w.norm() > 1e-6 * start.norm():
    w, steps = w - 2 / (1 + 1 / KAPPA) * (H @ w), steps + 1
print(f"gradient descent at its best rate: {{steps}} steps to 1e-6")

def closure():
    w.grad = H @ w.detach()
    return w.detach() @ w.grad / 2

for steps in range(10, 3000, 10):
    w = start.clone().requires_grad_()
    torch.optim.LBFGS([w], max_iter=steps, max_eval=10 * steps, history_size={memory}, line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0).step(closure)
    if w.detach().norm() <= 1e-6 * start.norm():
        print(f"L-BFGS: {{steps}} steps or a few less to 1e-6")
        break

previous = None
for n in (350, 500, 700, 1000, 1400):  # a real solver: seconds of one Newton step
    A = torch.eye(n, dtype=torch.float64) * n + torch.randn(n, n, dtype=torch.float64)
    seconds = math.inf
    for _ in range(3):
        began = time.perf_counter()
        torch.linalg.solve(A, A[0])
        seconds = min(seconds, time.perf_counter() - began)
    power = f", locally n^{{math.log(seconds / previous[1]) / math.log(n / previous[0]):.2f}}" if previous else ""
    print(f"solving {{n}} equations: {{1000 * seconds:.1f}} ms{{power}}")
    previous = (n, seconds)
"""
_ROSENBROCK_CODE = """\
import math

B = {steepness:g}

def loss(x, y):
    return B * (y - x * x) ** 2 + (1 - x) ** 2

def gradient(x, y):
    return -4 * B * x * (y - x * x) - 2 * (1 - x), 2 * B * (y - x * x)

def newton(x, y, g, h):
    p, q, r = 12 * B * x * x - 4 * B * y + 2, -4 * B * x, 2 * B  # the Hessian is [[p, q], [q, r]]
    d = p * r - q * q
    return -(r * g - q * h) / d, -(p * h - q * g) / d

for name in ("gradient descent", "Newton"):
    x, y, steps = -1.2, 1.0, 0
    g, h = gradient(x, y)
    while math.hypot(g, h) > 1e-5 and steps < 15_000:
        u, v = newton(x, y, g, h) if name == "Newton" else (-g, -h)
        if u * g + v * h >= 0:  # not downhill
            u, v = -g, -h
        rate = 1.0
        while rate * math.hypot(u, v) > 0.5 or loss(x + rate * u, y + rate * v) > loss(x, y) + 1e-4 * rate * (u * g + v * h):
            rate /= 2
        x, y, steps = x + rate * u, y + rate * v, steps + 1
        g, h = gradient(x, y)
    print(f"{{name}}: {{steps}} steps to ({{x:.6f}}, {{y:.6f}})")
"""
_BREAST_CANCER = """\
from sklearn.datasets import load_breast_cancer

data = load_breast_cancer()
x = torch.tensor(data.data, dtype=torch.float32)
x = (x - x.mean(0)) / x.std(0)
y = torch.tensor(data.target)
classes = 2
"""
_BATCH_CODE = """\
x = torch.cat([x, torch.ones(len(x), 1)], 1).double()
target = torch.nn.functional.one_hot(y, classes).double()
PASSES, BATCH, MEMORY, SAME_BATCH = {passes}, {batch}, {memory}, {same}

def loss(w):
    return (-(target * (x @ w).log_softmax(1)).sum(1).mean() + 5e-4 * w.square().sum()).item()

def gradient(w, rows):
    return x[rows].T @ ((x[rows] @ w).softmax(1) - target[rows]) / len(rows) + 1e-3 * w

def direction(g, pairs):  # L-BFGS: two loops over pairs of moves and gradient differences
    q, shares = g, []
    for s, d in reversed(pairs):
        shares.append((s * q).sum() / (s * d).sum())
        q = q - shares[-1] * d
    if pairs:
        s, d = pairs[-1]
        q = q * (s * d).sum() / d.square().sum()
    for (s, d), share in zip(pairs, reversed(shares)):
        q = q + (share - (d * q).sum() / (s * d).sum()) * s
    return -q

def train(method, batch, rate):
    torch.manual_seed(0)
    w, pairs, before = torch.zeros(x.shape[1], classes, dtype=torch.float64), [], None
    for _ in range(PASSES):
        for rows in torch.randperm(len(x)).split(batch)[: len(x) // batch]:
            g = gradient(w, rows)
            if before is not None and not SAME_BATCH:
                pairs.append((w - before[0], g - before[1]))
            pairs = [(s, d) for s, d in pairs if (s * d).sum() > 1e-12 * d.square().sum()][-MEMORY:]
            new = w + rate * (direction(g, pairs) if method == "lbfgs" else -g)
            if method == "lbfgs" and SAME_BATCH:
                pairs.append((new - w, gradient(new, rows) - g))
            before, w = (w, g), new
    return loss(w)

for batch in (len(x), BATCH):
    for method in ("sgd", "lbfgs"):
        print(f"batch {{batch:4}} {{method:6}}", "  ".join(f"rate {{rate:g}}: loss {{train(method, batch, rate):.6g}}" for rate in (0.1, 1.0)))
"""


def code(p: SecondOrder) -> str:
    if p.task == "mini-batch":
        head = "import torch\n\ntorch.set_num_threads(1)\n" + digits_or_own(p.data, bundled=_BREAST_CANCER)
        return head + _BATCH_CODE.format(memory=p.memory, passes=p.passes, batch=p.batch, same=p.pairs == "same")
    return (_QUADRATIC_CODE if p.task == "quadratic" else _ROSENBROCK_CODE).format(**p.values())


DEMO = Demo(
    topic="losses",
    title=Text("一阶与二阶方法：步数与代价", "First and second order: steps and their price"),
    question=Text("牛顿法一步就到，为什么深度学习不用它？", "Newton needs one step: why is deep learning not trained that way?"),
    look_for=Text(
        "先看各方法的曲线各用多少步落到底，再看一步的代价随 n 涨得多快。最后把两者乘起来：走到谷底，谁的乘法最少。",
        "See in how many steps each method gets down, then how fast the price of a step grows with n. Last, multiply the two: who gets to the bottom with the fewest multiplications?",
    ),
    scaled_down=Text(
        "用几百维的二次函数、二维的 Rosenbrock 函数和几十维的逻辑回归代替网络：在那里可以把每次乘法数清楚，也知道真正的最小值。",
        "Quadratics of a few hundred dimensions, Rosenbrock's function of two and a logistic regression of a few dozen stand in for networks: there each multiplication can be counted and "
        "the true minimum is known.",
    ),
    parameters=SecondOrder,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=2,
)
