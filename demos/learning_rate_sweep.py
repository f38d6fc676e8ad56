"""Learning rate too large, too small (1.19): dozens of rates trained at once, a quadratic with a known edge, and the range test.

The three experiments share one loop, `_descend`. K = rates × seeds problems move together (demos/core/stacked.py); problem k has rate k // seeds
and seed k % seeds.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from demos.core.charts import Axis, Line, LineChart, Role, Rule
from demos.core.datasets import load_digits_or_own
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import SGD, Adam, Stack, StackedMLP, diverged_as_infinite
from demos.core.statistics import interval, log_spaced, mean_and_band, mean_and_spread, thinned
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

DIMENSIONS = 10  # of the quadratic
SHOWN_CURVES = 10


@dataclass(frozen=True)
class Rates(Parameters):
    task: str = mode_choice(
        "network",
        {
            "network": Text("数字识别网络", "digit network"),
            "quadratic": Text("二次函数", "quadratic"),
            "range-test": Text("学习率范围测试", "range test"),
        },
        label=Text("实验", "Experiment"),
        help=Text("要训练什么，或用哪种办法找学习率。", "What is trained, or how a rate is looked for."),
    )
    low: float = real(
        0.003, 1e-6, 0.1, log=True, label=Text("最小学习率", "Lowest rate"), help=Text("网格的左端。", "Left end of the grid.")
    )
    high: float = real(
        30.0, 0.2, 1000, log=True, label=Text("最大学习率", "Highest rate"), help=Text("网格的右端。", "Right end of the grid.")
    )
    count: int = integer(
        36,
        5,
        36,
        label=Text("学习率个数", "Learning rates"),
        help=Text("对数等距，全部同时训练。", "Evenly spaced on a log scale, all trained at once."),
    )
    optimizer: str = choice(
        "sgd",
        {"sgd": same("SGD"), "momentum": Text("SGD + 动量", "SGD + momentum"), "adam": same("Adam")},
        label=Text("优化器", "Optimiser"),
        help=Text("Adam 的每一步大小约等于学习率，与梯度大小无关。", "Adam's steps are about as long as the rate, whatever the gradient."),
    )
    schedule: str = choice(
        "constant",
        {
            "constant": Text("恒定", "constant"),
            "cosine": Text("余弦衰减", "cosine decay"),
            "step": Text("阶梯衰减", "step decay"),
            "warmup": Text("前 20% 预热", "warm-up over the first 20 %"),
        },
        label=Text("学习率调度", "Schedule"),
        help=Text("训练中学习率怎么变；范围测试用自己的调度。", "How the rate changes while training; the range test has its own."),
    )
    steps: int = integer(
        600, 20, 1000, step=20, label=Text("步数", "Steps"), help=Text("每个网络走多少步。", "Steps that each network takes.")
    )
    seeds: int = integer(
        5,
        5,
        8,
        label=Text("种子数", "Seeds"),
        help=Text("每个学习率用几组不同的初始权重和小批量。", "Initial weights and batches tried for each rate."),
        advanced=True,
    )
    curvature: float = real(
        10.0,
        0.1,
        1000,
        log=True,
        label=Text("最大曲率 λmax", "Largest curvature λmax"),
        help=Text("二次函数最陡方向的曲率。", "Curvature of the quadratic's steepest direction."),
        modes=("quadratic",),
    )
    condition: float = real(
        20.0,
        1,
        10000,
        log=True,
        label=Text("条件数 κ", "Condition number κ"),
        help=Text("二次函数最陡与最平方向曲率之比。", "Steepest over flattest curvature of the quadratic."),
        modes=("quadratic",),
    )
    momentum: float = real(
        0.9, 0, 0.99, advanced=True, label=Text("动量 β", "Momentum β"), help=Text("仅用于“SGD + 动量”。", "Only for SGD + momentum.")
    )
    width: int = integer(
        32,
        4,
        64,
        advanced=True,
        label=Text("隐藏单元", "Hidden units"),
        help=Text("网络的宽度。", "Width of the network."),
        modes=("network", "range-test"),
    )
    batch: int = integer(
        32,
        1,
        64,
        advanced=True,
        label=Text("批大小", "Batch size"),
        help=Text("每步用多少张图。", "Images in each step."),
        modes=("network", "range-test"),
    )
    data: str = own_data("classes", modes=("network", "range-test"))


PRESETS = {
    "network": Preset(
        Text("网络", "Network"),
        Text(
            "36 个学习率 × 5 个种子的小网络一起训练：太小走不动，太大就崩。",
            "36 rates × 5 seeds trained at once: too small crawls, too large breaks.",
        ),
        {"task": "network"},
        "textbook",
    ),
    "adam": Preset(
        Text("换成 Adam", "With Adam"),
        Text(
            "经验法则说最好的学习率紧挨着悬崖。Adam 的步长有上限：悬崖还在吗？",
            "The rule of thumb puts the best rate close to the cliff. Adam's steps are bounded: is there still a cliff?",
        ),
        {"task": "network", "optimizer": "adam", "low": 1e-3, "high": 3.0, "seeds": 8, "steps": 200},
        "limits",
        look_for=Text(
            "看损失随学习率变化的曲线：过了最低点，是像掉下悬崖一样突然发散，还是一路慢慢变差？再看“最好”和“上限”两条竖线隔多远。",
            "Watch the loss against the rate: past its lowest point, does it diverge at once, as if over a cliff, or get worse little by little? Then see how far the upright lines “best” and “edge” are apart.",
        ),
    ),
    "quadratic": Preset(
        Text("二次函数", "Quadratic"),
        Text(
            "曲率已知的碗：学习率多大会发散，能事先算出来吗？",
            "A bowl of known curvature: can one tell beforehand which rate diverges?",
        ),
        {"task": "quadratic", "low": 0.001, "high": 1.0, "steps": 200},
        "textbook",
        look_for=Text(
            "看损失从哪个学习率起发散，与竖线标出的理论值差多少。再看各学习率的训练曲线：发散的与不发散的，怎样分成两类？",
            "See at which rate the loss starts to diverge, and how far that is from the theory, the upright line. Then see in the training curves how those that diverge part from those that do not.",
        ),
    ),
    "range-test": Preset(
        Text("范围测试", "Range test"),
        Text("一次短训练里学习率指数上升，能否省掉整张网格？", "One short run with a rising rate: can it replace the whole grid?"),
        {"task": "range-test"},
        look_for=Text(
            "先找范围测试的损失在哪里掉头（竖线“转折”），再看整张网格的最低点，也就是最好的恒定学习率：它落在“下界”与“转折”之间，还是之外？",
            "Find where the loss of the range test turns up (the upright line “turn”). Then look for the lowest point of the whole grid, the best constant rate: is it between the lines “from” and “turn”, or outside?",
        ),
    ),
}

GOH = Source("Why Momentum Really Works", "Gabriel Goh", 2017, "https://distill.pub/2017/momentum/")
SMITH = Source("Cyclical Learning Rates for Training Neural Networks", "Leslie N. Smith", 2017, "https://arxiv.org/abs/1506.01186")


# ---- what is trained -------------------------------------------------------------------------------------------------


class _Problem(Stack, Protocol):
    def gradients(self, step: int) -> tuple[Tensor, list[Tensor]]: ...


class _DigitNetworks:
    """One-hidden-layer networks on the digits. Networks of one seed see the same batches and start with the same weights."""

    def __init__(self, p: Rates, rates: int, device: torch.device, generator: torch.Generator) -> None:
        digits = load_digits_or_own(p.data, device)
        self._images, self._labels = digits.train_x, digits.train_y
        self._seed_of = torch.arange(p.seeds).repeat(rates)
        self.guessing = math.log(digits.classes)  # the loss of one who gives every class the same probability, in nats
        sizes = (digits.features, p.width, digits.classes)
        self._network = StackedMLP(sizes, self._seed_of.tolist(), generator, device=device)
        self._batches = torch.randint(0, len(self._labels), (p.steps, p.seeds, p.batch), generator=generator)
        self.parameters, self.count, self.device = self._network.parameters, self._network.count, device

    def gradients(self, step: int) -> tuple[Tensor, list[Tensor]]:
        batch = self._batches[step][self._seed_of].to(self.device)  # (K, B)
        return self._network.gradients(self._images[batch], self._labels[batch])


class _Quadratics:
    """f(w) = ½ wᵀAw from a random start; A has eigenvalues λmax/κ … λmax and is turned at random, anew for each seed."""

    def __init__(self, p: Rates, rates: int, device: torch.device, generator: torch.Generator) -> None:
        eigenvalues = p.curvature * p.condition ** -torch.linspace(0, 1, DIMENSIONS)
        turns = torch.linalg.qr(torch.randn(p.seeds, DIMENSIONS, DIMENSIONS, generator=generator))[0]
        start = torch.randn(p.seeds, DIMENSIONS, 1, generator=generator)
        self.count, self.device = rates * p.seeds, device
        self._matrices = (turns * eigenvalues @ turns.transpose(1, 2)).repeat(rates, 1, 1).to(device)  # (K, n, n)
        self._w = start.repeat(rates, 1, 1).to(device)  # (K, n, 1)
        self._first = self.value()

    def value(self) -> Tensor:
        return (self._w * torch.bmm(self._matrices, self._w)).sum((1, 2)) / 2

    def parameters(self) -> list[Tensor]:
        return [self._w]

    def gradients(self, step: int) -> tuple[Tensor, list[Tensor]]:
        """The loss as a share of the loss at the start (K,), and the gradient."""
        return self.value() / self._first, [torch.bmm(self._matrices, self._w)]


def _optimizer(p: Rates, problem: _Problem, rates: Sequence[float]) -> SGD | Adam:
    each = torch.tensor(rates).repeat_interleave(p.seeds)
    if p.optimizer == "adam":
        return Adam(problem, each)
    return SGD(problem, each, p.momentum if p.optimizer == "momentum" else 0.0)


def _descend(p: Rates, problem: _Problem, rates: Sequence[float], factors: Sequence[float]) -> Iterator[Tensor]:
    """One step for each factor, which multiplies all rates. Yields the losses so far (steps, rates, seeds), the last time at the end."""
    optimizer, history, pace = _optimizer(p, problem, rates), [], Pace()
    for step, factor in enumerate(factors):
        losses, gradients = problem.gradients(step)
        optimizer.step(gradients, factor)
        history.append(losses)
        if pace.due() or step + 1 == len(factors):
            yield torch.stack(history).cpu().view(-1, len(rates), p.seeds)


def _factors(p: Rates) -> list[float]:
    """The schedule: what multiplies the rate at each step."""
    shares = [step / p.steps for step in range(p.steps)]
    return {
        "constant": [1.0 for _ in shares],
        "cosine": [(1 + math.cos(math.pi * share)) / 2 for share in shares],
        "step": [0.1 ** (int(share >= 0.5) + int(share >= 0.75)) for share in shares],
        "warmup": [min(1.0, (share + 1 / p.steps) / 0.2) for share in shares],
    }[p.schedule]


# ---- what is shown ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Frame:
    """Fixed axes of one experiment's charts."""

    p: Rates
    y: Axis
    title: Text

    def line(self, name: Text, role: Role, rates: Sequence[float], losses: Tensor) -> Line:
        """Mean and band over seeds of losses (rates, seeds). What rises above the axis or is not a number has diverged."""
        floor, ceiling = self.y.low or 0.0, self.y.high or math.inf
        shown = diverged_as_infinite(losses.double()).clamp_min(floor)
        mean, low, high = mean_and_band(shown.where(shown <= ceiling, math.inf).T.tolist(), log=True)
        return Line(name, role, rates, mean, low, high)

    def by_rate(self, lines: Sequence[Line], rules: Sequence[Rule] = ()) -> LineChart:
        x = Axis(Text("学习率（对数）", "learning rate (log)"), log=True, low=self.p.low, high=self.p.high)
        if not lines:
            summary = Text("还没有数据。", "No data yet.")
        elif math.isinf(tuple(lines[-1].y)[-1]):
            summary = Text("损失随学习率先降后升，最大的学习率已发散。", "Loss falls with the rate, then rises; the largest rate diverges.")
        else:
            summary = Text("损失随学习率的变化，最大的学习率没有发散。", "Loss against rate; the largest rate does not diverge.")
        return LineChart(self.title, x, self.y, tuple(lines), summary, tuple(rules))

    def by_step(self, rates: Sequence[float], history: Tensor) -> LineChart:
        """Loss curves of some of the rates, from small (shade 0) to large (shade 1); each point is the mean of a stretch of steps and seeds."""
        steps, lines = len(history), []
        edges = sorted({round(i * steps / 40) for i in range(41)})
        stretches = torch.stack([history[a:b].mean(0) for a, b in pairwise(edges)]) if steps else history
        chosen = thinned(len(rates), SHOWN_CURVES)
        for i in chosen if steps else ():
            line = self.line(same(f"{rates[i]:.2g}"), "first", edges[1:], stretches[:, i])
            lines.append(Line(line.name, line.role, line.x, line.y, shade=i / (len(rates) - 1)))
        return LineChart(
            Text("各学习率的训练曲线", "Training curves by rate"),
            Axis(Text("训练步", "training step"), low=0, high=self.p.steps),
            self.y,
            tuple(lines),
            Text(
                f"{len(lines)} 条曲线，从紫到黄绿，学习率从小到大。", f"{len(lines)} curves, from violet to yellow-green as the rate grows."
            ),
        )


def _recent(history: Tensor) -> Tensor:
    """The loss (rates, seeds) over the last tenth of the steps: single batches are too noisy to compare."""
    return history[-max(1, len(history) // 10) :].mean(0)


# ---- the digit network -----------------------------------------------------------------------------------------------


def _loss_axis(p: Rates) -> Axis:
    """Above it a loss counts as diverged. Adam's bounded steps lead to large losses that stay finite, so its axis reaches further."""
    return Axis(Text("训练损失（nat，对数）", "training loss (nats, log)"), log=True, low=1e-3, high=1e4 if p.optimizer == "adam" else 30)


def _best_and_edge(rates: Sequence[float], losses: Tensor, guessing: float) -> list[tuple[float, float]]:
    """For each seed, the rate of the lowest loss and the largest rate that trained. (inf, inf) where none trained.

    An edge at the end of the grid is no edge: inf, as the true one lies beyond.
    """
    found = []
    for column in diverged_as_infinite(losses).T.tolist():
        trained = [i for i, loss in enumerate(column) if loss < guessing / 2]  # others diverged, died or hardly moved
        if not trained:
            found.append((math.inf, math.inf))
            continue
        edge = math.inf if trained[-1] == len(rates) - 1 else rates[trained[-1]]
        found.append((rates[min(trained, key=column.__getitem__)], edge))
    return found


def _run_network(p: Rates, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    frame = _Frame(p, _loss_axis(p), Text("训练损失与学习率", "Training loss against learning rate"))
    yield Snapshot(0, Text("载入数字", "Loading the digits"), (frame.by_rate(()), frame.by_step((), torch.empty(0))))
    rates = log_spaced(p.low, p.high, p.count)
    networks = _DigitNetworks(p, p.count, device, generator)
    for history in _descend(p, networks, rates, _factors(p)):
        line = frame.line(Text(f"第 {len(history)} 步", f"step {len(history)}"), "first", rates, _recent(history))
        charts = (frame.by_rate([line]), frame.by_step(rates, history))
        status = Text(
            f"{p.count * p.seeds} 个网络，第 {len(history)}/{p.steps} 步", f"{p.count * p.seeds} networks, step {len(history)}/{p.steps}"
        )
        yield Snapshot(0.98 * len(history) / p.steps, status, charts)

    pairs = _best_and_edge(rates, _recent(history), networks.guessing)
    best, best_spread = mean_and_spread([best for best, _ in pairs])
    edge, edge_spread = mean_and_spread([edge for _, edge in pairs])
    rules = []
    if math.isfinite(best):
        rules.append(Rule(Text(f"最好 {best:.2g}", f"best {best:.2g}"), best, "second"))
    if math.isfinite(edge):
        rules.append(Rule(Text(f"上限 {edge:.2g}", f"edge {edge:.2g}"), edge, "warning"))
    figures = (
        Figure(Text("损失最低的学习率", "Rate of the lowest loss"), best, best_spread),
        Figure(Text("还能训练的最大学习率", "Largest rate that still trains"), edge, edge_spread),
        Figure(
            Text("最好学习率的损失", "Loss at the best rate"),
            *mean_and_spread(diverged_as_infinite(_recent(history)).amin(0).tolist()),
            unit="nats",
        ),
    )
    charts = (frame.by_rate([line], rules), frame.by_step(rates, history))
    outcome = _judge_network(p, [edge / best if math.isfinite(edge) else math.inf for best, edge in pairs], rates)
    yield Snapshot(1, Text("完成", "Done"), charts, (outcome.verdict.measured, *figures), outcome)


def _judge_network(p: Rates, ratios: Sequence[float], rates: Sequence[float]) -> Outcome:
    """Reproduced: the interval of edge/best lies at or below 2, on a grid fine enough to tell. Same direction: below 10."""
    mean, spread = mean_and_spread(ratios)
    _, _, upper = interval(ratios)
    fine = rates[1] / rates[0] <= 2
    status: Status = "reproduced" if upper <= 2 and fine else "same_direction" if upper < 10 else "not_at_this_scale"
    found = Text(
        f"还能训练的最大学习率是最好学习率的 {mean:.2g} 倍（相邻网格点相差 {rates[1] / rates[0]:.2g} 倍，再细就分辨不出了）。",
        f"The largest rate that still trains is {mean:.2g} times the best one (neighbours on the grid differ by a factor of {rates[1] / rates[0]:.2g}, "
        "so nothing finer can be told). ",
    )
    if math.isinf(mean):
        found = Text(
            "至少有一个种子在这个范围里找不到上限：要么没有一个学习率能把损失降到瞎猜的一半以下，要么最大的学习率也还能训练。",
            "For at least one seed this range shows no edge: no rate brought the loss below half that of guessing, or the largest still trains. ",
        )
        why = Text("请增加步数或改变范围再试。", "Take more steps or another range.")
    elif upper <= 2 and fine:
        why = Text("最好的学习率紧挨着悬崖，与经验法则一致。", "The best rate sits close to the cliff, as the rule of thumb says.")
    elif upper <= 2:
        why = Text("网格太粗，检验不了“2 倍以内”；请增加学习率个数。", "The grid is too coarse to test a factor of two; take more rates.")
    elif p.optimizer == "adam":
        why = Text(
            "Adam 的步长有上限，所以没有悬崖，只有一段缓坡：学习率超过最好值后，起初还能学到一些，但越来越差。经验法则说的是 SGD。",
            "Adam's steps are bounded, so there is a slope rather than a cliff: past the best rate a network still learns at first, but ever less. "
            "The rule of thumb is about SGD.",
        )
    else:
        why = Text(
            "悬崖前有一段“勉强能训练”的区域：损失降到瞎猜的一半以下就算能训练，但已远不如最好的学习率。",
            "Before the cliff there is a stretch where a network still trains, below half the loss of guessing, but far worse than at its best.",
        )
    verdict = Verdict(
        status,
        Figure(Text("能训练的最大学习率 ÷ 最好学习率", "Largest rate that trains ÷ best rate"), mean, spread, "×"),
        Text(
            "最优学习率通常在能收敛的最大学习率的 2 倍以内",
            "the optimum is usually within a factor of two of the largest rate that converges",
        ),
        SMITH,
        found + why,
    )
    answer = "unclear" if math.isinf(mean) else "cliff" if mean <= 2 else "near" if mean <= 5 else "far"
    return Outcome(verdict, answer)


# ---- the quadratic ---------------------------------------------------------------------------------------------------


def _limit(p: Rates) -> float:
    """Where gradient descent on the quadratic stops converging: 2/λmax; momentum moves it to 2(1+β)/λmax."""
    return (2 * (1 + p.momentum) if p.optimizer == "momentum" else 2) / p.curvature


def _grows(
    p: Rates, device: torch.device, generator: torch.Generator, rates: Sequence[float], waiting: Snapshot
) -> Generator[Snapshot, None, Tensor]:
    """Whether the gradient's norm grows over the second half of 400 steps (rates, seeds).

    The gradient, not the loss, as it weighs the steepest direction most, and that is the one that breaks away.
    """
    problem, pace = _Quadratics(p, len(rates), device, generator), Pace()
    optimizer = _optimizer(p, problem, rates)
    norms = []
    for step in range(401):
        _, gradients = problem.gradients(step)
        if step in (200, 400):
            norms.append(gradients[0].norm(dim=(1, 2)))
        optimizer.step(gradients)
        if pace.due():
            yield waiting
    shrinks: Tensor = (norms[1] <= norms[0]) & norms[1].isfinite()
    return ~shrinks.cpu().view(len(rates), p.seeds)


def _find_edge(
    p: Rates, device: torch.device, generator: torch.Generator, rates: Sequence[float], waiting: Snapshot
) -> Generator[Snapshot, None, list[float]]:
    """The rate at which each seed's quadratic begins to diverge: four grids, each between two neighbours of the last.

    If the edge lies outside the range, each seed gets inf (not even the largest rate diverges) or 0 (even the smallest does).
    """
    seed = int(torch.randint(2**31, (), generator=generator))  # all four grids search on the same quadratics
    for _ in range(4):
        grows = yield from _grows(p, device, torch.Generator().manual_seed(seed), rates, waiting)
        calm = [i for i in range(len(rates)) if not grows[: i + 1].any()]
        wild = [i for i in range(len(rates)) if grows[i:].all()]
        if not calm or not wild:
            return [0.0 if wild else math.inf] * p.seeds
        first = [column.index(True) for column in grows.T.tolist()]
        edges = [math.sqrt(rates[i] * rates[i - 1]) for i in first]
        rates = log_spaced(rates[calm[-1]], rates[wild[0]], max(p.count, 12))
    return edges


def _run_quadratic(p: Rates, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    y = Axis(Text("损失 ÷ 起点损失（对数）", "loss ÷ loss at the start (log)"), log=True, low=1e-8, high=1e4)
    frame = _Frame(p, y, Text("二次函数：损失与学习率", "Quadratic: loss against learning rate"))
    theory = Rule(same(f"{'2(1+β)' if p.optimizer == 'momentum' else '2'}/λmax = {_limit(p):.3g}"), _limit(p))
    rules = [theory] if p.optimizer != "adam" and p.low <= _limit(p) <= p.high else []
    rates = log_spaced(p.low, p.high, p.count)
    for history in _descend(p, _Quadratics(p, p.count, device, generator), rates, _factors(p)):
        line = frame.line(Text(f"第 {len(history)} 步", f"step {len(history)}"), "first", rates, history[-1])
        charts = (frame.by_rate([line], rules), frame.by_step(rates, history))
        yield Snapshot(0.5 * len(history) / p.steps, Text(f"第 {len(history)}/{p.steps} 步", f"step {len(history)}/{p.steps}"), charts)

    searching = Text("用更细的网格逼近发散点（恒定学习率）", "Closing in on the edge with finer grids (constant rate)")
    edges = yield from _find_edge(p, device, generator, rates, Snapshot(0.6, searching, charts))
    outcome = _judge_quadratic(p, edges)
    best = [rates[i] for i in diverged_as_infinite(history[-1]).argmin(0).tolist()]
    figures = (
        outcome.verdict.measured,
        Figure(Text("开始发散的学习率", "Rate where it begins to diverge"), *mean_and_spread(edges)),
        Figure(Text("理论值", "Theory"), _limit(p)),
        Figure(Text("网格上最快的学习率", "Fastest rate on the grid"), *mean_and_spread(best)),
        Figure(
            Text("理论上最快 2/(λmax+λmin)（恒定 SGD）", "Fastest in theory, 2/(λmax+λmin) (constant SGD)"),
            2 / (p.curvature * (1 + 1 / p.condition)),
        ),
    )
    yield Snapshot(1, Text("完成", "Done"), charts, figures, outcome)


def _judge_quadratic(p: Rates, edges: Sequence[float]) -> Outcome:
    """Reproduced: the interval, widened by the search's resolution of 0.1 %, holds the theoretical limit. There is no half-way."""
    mean, spread = mean_and_spread([edge * p.curvature for edge in edges])
    expected = _limit(p) * p.curvature
    holds = abs(mean - expected) <= (spread or 0) + 0.001 * expected and p.optimizer != "adam"
    found = Text(f"实测发散点 × λmax = {mean:.5g}，理论值 {expected:.5g}。", f"Measured edge × λmax = {mean:.5g}, theory {expected:.5g}. ")
    if p.optimizer == "adam":
        why = Text(
            "Adam 把每一步归一化到约等于学习率的长度，所以 2/λmax 管不到它：学习率大时它在谷底两侧来回摆动，而不是指数爆炸；量到的“发散点”只说明后半程梯度没有变小。",
            "Adam scales each step to about the length of the rate, so 2/λmax does not bind it: at large rates it swings about the bottom rather than exploding; "
            "the 'edge' measured here only says that the gradient did not shrink over the second half.",
        )
    elif not 0 < mean < math.inf:
        why = Text(
            f"这个范围里找不到发散点：理论值 {_limit(p):.3g} 在 {p.low:g} … {p.high:g} 之外或贴着边。请改变学习率范围或 λmax。",
            f"No edge in this range: theory puts it at {_limit(p):.3g}, outside {p.low:g} … {p.high:g} or at its border. Change the range or λmax.",
        )
    else:
        why = Text(
            found.zh
            + "最陡方向上的分量每步乘以 1−ηλmax，绝对值一超过 1 就指数增长；条件数只决定收敛快慢，不改变发散点。"
            + ("图中曲线用了学习率调度，发散点用恒定学习率量。" if p.schedule != "constant" else ""),
            found.en
            + "Each step multiplies the component along the steepest direction by 1−ηλmax; once that exceeds 1 in size it grows exponentially. The condition number sets the speed, "
            "not the edge."
            + (" The curves follow the schedule; the edge is measured at a constant rate." if p.schedule != "constant" else ""),
        )
    options = {"one": 1.0, "two": 2.0, "four": 4.0}
    answer = min(options, key=lambda key: abs(math.log(mean / options[key]))) if 0 < mean < math.inf else "none"
    published = Text(
        "每个方向都须满足 0 < ηλ < 2，即 η < 2/λmax（有动量时 2(1+β)/λmax）",
        "every direction needs 0 < ηλ < 2, so η < 2/λmax (with momentum 2(1+β)/λmax)",
    )
    measured = Figure(Text("发散点 × λmax", "Edge × λmax"), mean, spread)
    return Outcome(Verdict("reproduced" if holds else "not_at_this_scale", measured, published, GOH, why), answer)


# ---- the range test --------------------------------------------------------------------------------------------------


def _smooth(history: Tensor) -> Tensor:
    """Each seed's loss (steps, seeds), averaged over the ~20 steps before with exponentially falling weights."""
    average, smoothed, weight = torch.zeros(history.shape[1]), [], 0.05
    for step, losses in enumerate(history):
        average = average + weight * (losses - average)
        smoothed.append(average / (1 - (1 - weight) ** (step + 1)))
    return torch.stack(smoothed)


def _run_range_test(p: Rates, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    frame = _Frame(p, _loss_axis(p), Text("一次短训练与整张网格", "One short run against the whole grid"))
    yield Snapshot(0, Text("载入数字", "Loading the digits"), (frame.by_rate(()),))
    rising, test_name = log_spaced(p.low, p.high, p.steps), Text("范围测试", "range test")
    factors = [rate / p.high for rate in rising]
    for history in _descend(p, _DigitNetworks(p, 1, device, generator), [p.high], factors):
        smoothed = _smooth(history[:, 0])
        points = thinned(len(smoothed))
        test = frame.line(test_name, "first", [rising[i] for i in points], smoothed[points])
        now = rising[len(history) - 1]
        yield Snapshot(
            0.3 * len(history) / p.steps, Text(f"学习率升到 {now:.2g}", f"the rate has risen to {now:.2g}"), (frame.by_rate([test]),)
        )

    turns = [rising[i] for i in diverged_as_infinite(smoothed).argmin(0).tolist()]
    turn, turn_spread = mean_and_spread(turns)
    rules = (
        Rule(Text(f"转折 {turn:.2g}", f"turn {turn:.2g}"), turn, "warning"),
        Rule(Text(f"下界 {turn / 4:.2g}", f"from {turn / 4:.2g}"), turn / 4, "first"),
    )
    rates = log_spaced(p.low, p.high, p.count)
    networks = _DigitNetworks(p, p.count, device, generator)
    for history in _descend(p, networks, rates, _factors(p)):
        sweep = frame.line(Text("整张网格", "whole grid"), "baseline", rates, _recent(history))
        status = Text(f"用整张网格核对，第 {len(history)}/{p.steps} 步", f"Checking with the whole grid, step {len(history)}/{p.steps}")
        charts = (frame.by_rate([test, sweep], rules),)
        yield Snapshot(0.3 + 0.68 * len(history) / p.steps, status, charts)

    best = [best for best, _ in _best_and_edge(rates, _recent(history), networks.guessing)]
    outcome = _judge_range_test([b / t for b, t in zip(best, turns, strict=True)])
    figures = (
        outcome.verdict.measured,
        Figure(Text("范围测试的转折点", "Turning point of the range test"), turn, turn_spread),
        Figure(Text("网格上最好的学习率", "Best rate of the grid"), *mean_and_spread(best)),
        Figure(Text("网格用的步数 ÷ 范围测试", "Steps of the grid ÷ range test"), p.count, None, "×"),
    )
    yield Snapshot(1, Text("完成", "Done"), charts, figures, outcome)


def _judge_range_test(ratios: Sequence[float]) -> Outcome:
    """Reproduced: the interval of best/turn lies within ¼ … 1, the band that the rule suggests. Same direction: within ten times of the turn."""
    mean, spread = mean_and_spread(ratios)
    _, low, high = interval(ratios)
    status: Status = "reproduced" if low >= 0.25 and high <= 1 else "same_direction" if low > 0.1 and high < 10 else "not_at_this_scale"
    where = "unclear" if math.isinf(mean) else "below" if mean < 0.25 else "within" if mean <= 1 else "above"
    reasons = {
        "within": Text(
            f"最好的恒定学习率是转折点的 {mean:.2g} 倍，落在建议的 ¼ … 1 倍之间：一次短训练就足以选好学习率。",
            f"The best constant rate is {mean:.2g} times the turning point, within the suggested ¼ … 1: one short run was enough to choose.",
        ),
        "below": Text(
            f"最好的恒定学习率只有转折点的 {mean:.2g} 倍：学习率上升时，网络在每个值上只停留片刻，不稳定来不及显现，所以范围测试高估了。",
            f"The best constant rate is only {mean:.2g} times the turning point: the rising run stays only a moment at each rate, so instability shows late and the test aims too high.",
        ),
        "above": Text(
            f"最好的恒定学习率是转折点的 {mean:.2g} 倍：学习率在上升途中，一步就可能毁掉已学到的东西；从头就用这个学习率训练却承受得住，所以范围测试低估了。",
            f"The best constant rate is {mean:.2g} times the turning point: a rate that spoils the rising run may still suit a run that keeps to it from the start, so the test aims too low.",
        ),
        "unclear": Text(
            "在这个范围和步数内，至少有一个种子的所有学习率都没能把损失降到瞎猜的一半以下，无从比较。请增加步数。",
            "With this range and number of steps, for at least one seed no rate brought the loss below half that of guessing, so there is nothing to compare. Take more steps.",
        ),
    }
    note = Text(
        "（整个 95% 区间都落在 ¼ … 1 之内才算复现；原文让学习率线性上升，这里是指数上升。）",
        " (It counts as reproduced only if the whole 95 % interval lies within ¼ … 1; the paper raises the rate linearly, here it rises exponentially.)",
    )
    verdict = Verdict(
        status,
        Figure(Text("最好学习率 ÷ 转折点", "Best rate ÷ turning point"), mean, spread, "×"),
        Text(
            "取转折点为上界，下界为它的 1/3 或 1/4，最优学习率在两者之间",
            "take the turning point as the upper bound and 1/3 or 1/4 of it as the lower; the optimum lies between",
        ),
        SMITH,
        reasons[where] + note,
    )
    return Outcome(verdict, where)


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Rates) -> Prediction:
    if p.task == "quadratic":
        c = p.curvature
        return Prediction(
            Text(
                f"最大曲率 λmax = {c:g}。学习率从多大起开始发散？",
                f"The largest curvature is λmax = {c:g}. From which rate on does it diverge?",
            ),
            {
                "one": Text(f"约 1/λmax = {1 / c:.3g}", f"about 1/λmax = {1 / c:.3g}"),
                "two": Text(f"约 2/λmax = {2 / c:.3g}", f"about 2/λmax = {2 / c:.3g}"),
                "four": Text(f"约 4/λmax = {4 / c:.3g}", f"about 4/λmax = {4 / c:.3g}"),
                "none": Text("这个范围里没有这样的点", "there is no such point in this range"),
            },
        )
    if p.task == "range-test":
        return Prediction(
            Text(
                "最好的恒定学习率与范围测试的转折点（损失最低处）相比？",
                "How does the best constant rate compare with the range test's turning point (its lowest loss)?",
            ),
            {
                "below": Text("不到它的 1/4", "below a quarter of it"),
                "within": Text("在它的 1/4 到 1 倍之间", "between a quarter of it and itself"),
                "above": Text("比它还大", "above it"),
                "unclear": Text("这个范围看不出来", "this range does not show it"),
            },
        )
    return Prediction(
        Text("还能训练的最大学习率，是最好学习率的几倍？", "How many times the best rate is the largest rate that still trains?"),
        {
            "cliff": Text("不超过 2 倍：最好的紧挨悬崖", "at most 2: the best sits at the cliff"),
            "near": Text("2 到 5 倍", "2 to 5"),
            "far": Text("5 倍以上", "more than 5"),
            "unclear": Text("这个范围看不出来", "this range does not show it"),
        },
    )


def run(parameters: Rates, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    runs = {"network": _run_network, "quadratic": _run_quadratic, "range-test": _run_range_test}
    yield from runs[parameters.task](parameters, device, generator)


_OPTIMIZERS = {
    "sgd": "torch.optim.SGD({0}, lr=rate)",
    "momentum": "torch.optim.SGD({0}, lr=rate, momentum={1})",
    "adam": "torch.optim.Adam({0}, lr=rate)",
}
_SCHEDULES = {
    "constant": "lambda step: 1.0",
    "cosine": "lambda step: (1 + math.cos(math.pi * step / STEPS)) / 2",
    "step": "lambda step: 0.1 ** ((step >= STEPS / 2) + (step >= STEPS * 3 / 4))",
    "warmup": "lambda step: min(1.0, (step + 1) / STEPS / 0.2)",
}
_NETWORK_CODE = """\
import math
import torch
from torch import nn

torch.set_num_threads(1)  # networks as small as these gain nothing from more
STEPS, BATCH, WIDTH = {steps}, {batch}, {width}
{data}
schedule = {schedule}

def train(rate, schedule=schedule):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(x.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes))
    for layer in network[::2]:  # He's initialisation
        nn.init.normal_(layer.weight, std=(2 / layer.in_features) ** 0.5)
        nn.init.zeros_(layer.bias)
    optimizer = {optimizer}
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    losses = []
    for step in range(STEPS):
        batch = torch.randint(0, len(x), (BATCH,))
        loss = nn.functional.cross_entropy(network(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses
"""
_SWEEP_CODE = """
for i in range({count}):
    rate = {low:g} * ({high:g} / {low:g}) ** (i / ({count} - 1))
    last = train(rate)[-max(1, STEPS // 10):]
    print(f"rate {{rate:8.4g}}  loss {{sum(last) / len(last):.4g}}")
"""
_RANGE_CODE = """
# One run whose rate rises from {low:g} to {high:g}: where is the smoothed loss lowest?
losses = train({high:g}, lambda step: ({low:g} / {high:g}) ** (1 - step / (STEPS - 1)))
average, smoothed = 0.0, []
for step, loss in enumerate(losses):
    average += 0.05 * (loss - average)
    smoothed.append(average / (1 - 0.95 ** (step + 1)))
turn = min(range(STEPS), key=lambda i: smoothed[i] if math.isfinite(smoothed[i]) else math.inf)
rate = {low:g} * ({high:g} / {low:g}) ** (turn / (STEPS - 1))
print(f"lowest smoothed loss {{smoothed[turn]:.3g}} at rate {{rate:.3g}}: try {{rate / 4:.3g}} to {{rate:.3g}}")
"""
_QUADRATIC_CODE = """\
import math
import torch

torch.set_num_threads(1)  # vectors as small as these gain nothing from more
STEPS, CURVATURE, CONDITION = {steps}, {curvature:g}, {condition:g}
torch.manual_seed(0)
eigenvalues = CURVATURE * CONDITION ** -torch.linspace(0, 1, 10)
turn = torch.linalg.qr(torch.randn(10, 10))[0]
A = turn * eigenvalues @ turn.T
start = torch.randn(10)
schedule = {schedule}

print(f"theory for plain gradient descent: diverges above 2/lambda_max = {{2 / CURVATURE:.4g}}")
for i in range({count}):
    rate = {low:g} * ({high:g} / {low:g}) ** (i / ({count} - 1))
    w = start.clone().requires_grad_()
    optimizer = {optimizer}
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    for step in range(STEPS):
        loss = w @ A @ w / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    share = (w @ A @ w / (start @ A @ start)).item()
    print(f"rate {{rate:8.4g}}  loss / first loss {{share:.3g}}")
"""


def code(p: Rates) -> str:
    template = _QUADRATIC_CODE if p.task == "quadratic" else _NETWORK_CODE + (_RANGE_CODE if p.task == "range-test" else _SWEEP_CODE)
    values = p.values() | {"data": digits_or_own(p.data)}
    values["optimizer"] = _OPTIMIZERS[p.optimizer].format("[w]" if p.task == "quadratic" else "network.parameters()", p.momentum)
    values["schedule"] = _SCHEDULES[p.schedule]
    return template.format(**values)


DEMO = Demo(
    topic="optimization",
    title=Text("学习率：太大与太小", "Learning rate: too large, too small"),
    question=Text("学习率设得太大或太小，会发生什么？", "What happens when the learning rate is too large or too small?"),
    look_for=Text(
        "看损失随学习率变化的 U 形曲线：左边走得太慢，右边像掉下悬崖一样突然发散。留意最好的学习率离悬崖有多远。",
        "Watch the U-shape of loss against rate: on the left training crawls, on the right it diverges as if over a cliff. Note how far the best rate is from that cliff.",
    ),
    scaled_down=Text(
        "用 1,797 张 8×8 数字和一个隐藏层的小网络代替 CIFAR-10 与 ImageNet 上的大网络，每个网络只训练几百步。",
        "1,797 digits of 8×8 pixels and networks with one hidden layer stand in for large networks on CIFAR-10 and ImageNet, for a few hundred steps each.",
    ),
    parameters=Rates,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=2,
)
