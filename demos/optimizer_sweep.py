"""When Adam, when SGD (1.16): five optimisers, each over a learning-rate grid of its own, on the same splits, starts and batches.

K = optimisers × rates × seeds networks are one stack, with the seed varying fastest. Each optimiser moves its slice of the stack. Every seed has its own split into
training, validation and test rows: the rate is chosen on validation rows and the verdict read from test rows, so that nobody picks the winner by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Line, LineChart, Role, Rule
from demos.core.datasets import load_digits_or_own, shuffles
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import SGD, Adam, Stack, StackedMLP
from demos.core.statistics import interval, log_spaced, mean_and_band, mean_and_spread
from demos.core.text import Text, joined, same

if TYPE_CHECKING:
    from torch import Tensor

MARGIN = 1.0  # percentage points of test accuracy; half the published difference. Less counts as no difference
PUBLISHED = 1.95  # percentage points, in Wilson et al.
POOL = 1800  # rows used at most, for training, validation and test together
CHUNK = 120  # rows in one evaluation
LOOKS = 10  # times that test rows are looked at while training, on every LOOKS-th row


@dataclass(frozen=True)
class Sweep(Parameters):
    task: str = mode_choice(
        "tuned", {"tuned": Text("各自调好", "each tuned"), "shared": Text("共用一个学习率", "one rate for all")},
        label=Text("实验", "Experiment"), help=Text("在什么学习率下比较。", "At which rate they are compared."),
    )  # fmt: skip
    steps: int = integer(
        150, 5, 500, step=5, label=Text("训练步数", "Training steps"), help=Text("每个网络走多少步。", "Steps that each network takes.")
    )
    samples: int = integer(
        600, 50, 1000, step=50, label=Text("训练样本数", "Training rows"), help=Text("多出来的不用。", "Rows beyond these are left out.")
    )
    count: int = integer(
        7,
        3,
        9,
        label=Text("每种优化器的学习率个数", "Rates for each optimiser"),
        help=Text("对数等距，以各自的常用值为中心。", "Evenly spaced on a log scale about its usual value."),
    )
    span: float = real(
        1.0,
        0.25,
        3,
        step=0.25,
        label=Text("网格半宽（数量级）", "Grid half-width (decades)"),
        help=Text("从中心向两边各伸多远。", "How far a grid reaches to either side."),
    )
    shared: float = real(
        1e-3, 1e-6, 10, log=True, label=Text("共用的学习率", "Shared rate"), modes=("shared",),
        help=Text("不调参，五种优化器都用它。", "Used for all five, without tuning."),
    )  # fmt: skip
    schedule: str = choice(
        "cosine", {"cosine": Text("余弦衰减", "cosine decay"), "constant": Text("恒定", "constant")}, label=Text("学习率调度", "Schedule"),
        help=Text("训练中学习率怎么变。", "How the rate changes while training."),
    )  # fmt: skip
    decay: float = real(
        0.01,
        0,
        1,
        step=0.01,
        advanced=True,
        label=Text("AdamW 的权重衰减", "AdamW's weight decay"),
        help=Text("其他优化器没有。", "The others have none."),
    )
    seeds: int = integer(
        10,
        5,
        12,
        advanced=True,
        label=Text("种子数", "Seeds"),
        help=Text("划分、初始权重和批次各不相同。", "Each has its own split, weights and batches."),
    )
    width: int = integer(
        32, 4, 64, advanced=True, label=Text("隐藏单元", "Hidden units"), help=Text("一层隐藏层。", "In one hidden layer.")
    )
    batch: int = integer(32, 1, 64, advanced=True, label=Text("批大小", "Batch size"), help=Text("每步用多少行。", "Rows in each step."))
    data: str = own_data("classes")


PRESETS = {
    "tuned": Preset(
        Text("各自调好再比", "Each tuned"),
        Text("每种优化器都在自己的学习率网格上选最好的：谁的测试准确率高？", "Each picks the best rate on a grid of its own: whose test accuracy is higher?"),
        {}, "textbook",
    ),
    "shared-rate": Preset(
        Text("统一用 0.001", "0.001 for all"),
        Text("不调参，都用 Adam 的默认学习率：“赢家”会换人吗？", "No tuning, Adam's default rate for all: does the winner change?"),
        {"task": "shared"}, "limits",
        look_for=Text(
            "看“共用”的竖线离每条曲线的谷底有多远。再看柱状图里每种优化器的两根柱子：用自己最好的学习率，与用共用的学习率，差多少。",
            "See how far the line of the shared rate is from the valley of each curve. Then compare the two bars of each optimiser: how much lies between its own best rate and the shared one?",
        ),
    ),
    "few-steps": Preset(
        Text("只训练 20 步", "Only 20 steps"),
        Text("都说 Adam 起步快：训练很短、各自调好时呢？", "Adam is said to start fast: trained only briefly, but each tuned?"),
        {"steps": 20},
    ),
}  # fmt: skip

WILSON = Source(
    "The Marginal Value of Adaptive Gradient Methods in Machine Learning",
    "Ashia C. Wilson, Rebecca Roelofs, Mitchell Stern, Nathan Srebro, Benjamin Recht", 2017, "https://arxiv.org/abs/1705.08292",
)  # fmt: skip
CHOI = Source(
    "On Empirical Comparisons of Optimizers for Deep Learning",
    "Dami Choi, Christopher J. Shallue, Zachary Nado, Jaehoon Lee, Chris J. Maddison, George E. Dahl", 2019, "https://arxiv.org/abs/1910.05446",
)  # fmt: skip


# ---- the optimisers --------------------------------------------------------------------------------------------------


class _RMSprop:
    """As torch.optim.RMSprop: no momentum, and no correction for the mean of squares that starts at 0."""

    def __init__(self, stack: Stack, rates: Tensor, alpha: float = 0.99, eps: float = 1e-8) -> None:
        self.parameters, self.rates, self.alpha, self.eps = stack.parameters(), rates, alpha, eps
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]

    def step(self, gradients: Sequence[Tensor], factor: float = 1.0) -> None:
        for parameter, gradient, square in zip(self.parameters, gradients, self.squares, strict=True):
            square.mul_(self.alpha).addcmul_(gradient, gradient, value=1 - self.alpha)
            parameter.sub_(gradient * _along(self.rates * factor, gradient) / square.sqrt().add_(self.eps))


class _AdamW:
    """As torch.optim.AdamW: every weight shrinks by rate × decay, then Adam takes its step."""

    def __init__(self, stack: Stack, rates: Tensor, decay: float) -> None:
        self.adam, self.decay = Adam(stack, rates), decay

    def step(self, gradients: Sequence[Tensor], factor: float = 1.0) -> None:
        for parameter in self.adam.parameters:
            parameter.mul_(1 - _along(self.adam.rates * (factor * self.decay), parameter))
        self.adam.step(gradients, factor)


def _along(rates: Tensor, like: Tensor) -> Tensor:
    """(K,) → (K, 1, …) with as many dimensions as `like`."""
    return rates.view(-1, *[1] * (like.dim() - 1))


@dataclass(frozen=True)
class _Kind:
    """An optimiser: its name, colour, the middle of its grid of rates, whether it is adaptive, how it is made here, and how in a script."""

    name: Text
    role: Role
    centre: float
    adaptive: bool
    build: Callable[[Sweep, Stack, Tensor], SGD | Adam | _RMSprop | _AdamW]
    script: str


KINDS = (
    _Kind(same("SGD"), "baseline", 1.0, False, lambda p, stack, rates: SGD(stack, rates), "torch.optim.SGD(weights, lr=rate)"),
    _Kind(
        Text("动量", "SGD+mom."), "first", 0.1, False, lambda p, stack, rates: SGD(stack, rates, 0.9),
        "torch.optim.SGD(weights, lr=rate, momentum=0.9)",
    ),
    _Kind(same("RMSprop"), "second", 0.01, True, lambda p, stack, rates: _RMSprop(stack, rates), "torch.optim.RMSprop(weights, lr=rate)"),
    _Kind(same("Adam"), "third", 0.02, True, lambda p, stack, rates: Adam(stack, rates), "torch.optim.Adam(weights, lr=rate)"),
    _Kind(
        same("AdamW"), "fourth", 0.02, True, lambda p, stack, rates: _AdamW(stack, rates, p.decay),
        "torch.optim.AdamW(weights, lr=rate, weight_decay={decay:g})",
    ),
)  # fmt: skip


def _grid(p: Sweep, kind: _Kind) -> list[float]:
    return log_spaced(kind.centre * 10**-p.span, kind.centre * 10**p.span, p.count)


class _Slice:
    """The part of a stack that one optimiser moves."""

    def __init__(self, network: StackedMLP, start: int, stop: int) -> None:
        self._tensors = [tensor[start:stop] for tensor in network.parameters()]  # views: to move them is to move the network
        self.count, self.device = stop - start, network.device

    def parameters(self) -> list[Tensor]:
        return self._tensors


# ---- training and evaluation -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scores:
    """By optimiser, rate and seed (5, rates, seeds): training and validation loss in nats, validation and test error in percent."""

    train_loss: Tensor
    valid_loss: Tensor
    valid_error: Tensor
    test_error: Tensor


class _Race:
    """All networks, their data and their optimisers. In the task `shared`, the last rate of each optimiser is the shared one."""

    def __init__(self, p: Sweep, device: torch.device, generator: torch.Generator) -> None:
        data = load_digits_or_own(p.data, device, generator=generator)
        self.x, self.y = torch.cat([data.train_x, data.test_x])[:POOL], torch.cat([data.train_y, data.test_y])[:POOL]
        rows = len(self.y)
        test, valid = rows * 5 // 18, rows // 6
        self.train_count = min(p.samples, rows - test - valid)
        order = shuffles(rows, p.seeds, generator)
        self.train_rows = order[:, test + valid :][:, : self.train_count]
        self.parts = torch.zeros(3, p.seeds, rows)  # 1 where a row is for training, validation, test
        for part, chosen in zip(self.parts, (self.train_rows, order[:, test : test + valid], order[:, :test]), strict=True):
            part.scatter_(1, chosen, 1.0)
        self.parts = self.parts.to(device)
        self.rates = [[*_grid(p, kind), *([p.shared] if p.task == "shared" else [])] for kind in KINDS]
        self.shape = (len(KINDS), len(self.rates[0]), p.seeds)
        each = self.shape[1] * p.seeds
        self.network = StackedMLP(
            (data.features, p.width, data.classes), list(range(p.seeds)) * (len(KINDS) * self.shape[1]), generator, device=device
        )
        self.slices = [(start, start + each) for start in range(0, self.network.count, each)]
        self.optimizers = [
            kind.build(p, _Slice(self.network, *span), torch.tensor(rates).repeat_interleave(p.seeds).to(device))
            for kind, span, rates in zip(KINDS, self.slices, self.rates, strict=True)
        ]
        self.p, self.device, self.generator = p, device, generator

    def step(self, share: float) -> Tensor:
        """One step of all at `share` of the way (for the schedule). Batch losses (5, rates, seeds)."""
        drawn = torch.randint(self.train_count, (self.p.seeds, self.p.batch), generator=self.generator)
        batch = self.train_rows.gather(1, drawn).repeat(self.shape[0] * self.shape[1], 1).to(self.device)
        losses, gradients = self.network.gradients(self.x[batch], self.y[batch])
        factor = (1 + math.cos(math.pi * share)) / 2 if self.p.schedule == "cosine" else 1.0
        for optimizer, (start, stop) in zip(self.optimizers, self.slices, strict=True):
            optimizer.step([gradient[start:stop] for gradient in gradients], factor)
        return losses.view(self.shape)

    def evaluate(self, every: int = 1) -> Iterator[_Scores | None]:
        """The scores on every `every`-th row at last; None after each chunk before."""
        rows = torch.arange(0, len(self.y), every, device=self.device)
        sums = torch.zeros(2, 3, *self.shape, device=self.device)  # of losses, of errors; by part
        for chunk in rows.split(CHUNK):
            outputs = self.network.forward(self.x[chunk], training=False)[0]  # (K, classes, rows)
            right = self.y[chunk].expand(len(outputs), -1)
            losses = -outputs.log_softmax(1).gather(1, right[:, None])[:, 0]
            wrong = ~(outputs.argmax(1) == right) | losses.isnan()
            for i, values in enumerate((losses.nan_to_num(1e9, 1e9), wrong.float())):
                sums[i] += torch.einsum("orsn,psn->pors", values.view(*self.shape, -1), self.parts[:, :, chunk])
            yield None
        means = (sums / self.parts[:, :, rows].sum(2).clamp_min(1)[:, None, None]).cpu()
        yield _Scores(means[0, 0], means[0, 1], 100 * means[1, 1], 100 * means[1, 2])


# ---- who is best -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Result:
    """What was chosen on validation rows, and how it does on test rows."""

    best: list[int]  # which rate of its grid, for each optimiser
    tuned: Tensor  # test accuracy in percent (5, seeds) at that rate
    shared: Tensor | None  # at the shared rate
    lead: list[float]  # best SGD-like minus best adaptive, each at its own rate, for each seed in percentage points
    shared_lead: list[float]
    winners: tuple[int, int]  # which optimisers these are: SGD-like, adaptive


def _result(p: Sweep, scores: _Scores) -> _Result:
    """On validation rows, the smallest error picks the rate and then the optimiser of each family (the loss decides between equals)."""
    valid = scores.valid_error.mean(2) + 1e-6 * scores.valid_loss.mean(2).clamp_max(1e3)  # (5, rates)
    best = valid[:, : p.count].argmin(1).tolist()
    accuracy = 100 - scores.test_error

    def lead(columns: Sequence[int]) -> tuple[Tensor, list[float], tuple[int, int]]:
        at = torch.stack([accuracy[kind, column] for kind, column in enumerate(columns)])
        first, second = (
            min((i for i, kind in enumerate(KINDS) if kind.adaptive == adaptive), key=lambda i: float(valid[i, columns[i]]))
            for adaptive in (False, True)
        )
        return at, [round(value, 4) for value in (at[first] - at[second]).tolist()], (first, second)

    tuned, tuned_lead, winners = lead(best)
    shared, shared_lead, _ = lead([p.count] * len(KINDS)) if p.task == "shared" else (None, [], winners)
    return _Result(best, tuned, shared, tuned_lead, shared_lead, winners)


# ---- what is shown ---------------------------------------------------------------------------------------------------


def _by_rate(p: Sweep, race: _Race, values: Tensor | None, title: Text, y: Axis, what: Text) -> LineChart:
    """Mean and band over seeds of values (5, rates, seeds) against the rate."""
    low, high = (edge(kind.centre * 10 ** (sign * p.span) for kind in KINDS) for edge, sign in ((min, -1), (max, 1)))
    rules = (Rule(Text("共用", "shared"), p.shared, "warning"),) if p.task == "shared" else ()
    lines = []
    for i, kind in enumerate(KINDS if values is not None else ()):
        assert values is not None
        shown = values[i, : p.count].double().nan_to_num(math.inf).clamp_min(y.low or 0)
        shown = shown.where(shown < 1e8, math.inf)
        mean, under, over = mean_and_band(shown.T.tolist(), log=True)
        lines.append(Line(kind.name, kind.role, race.rates[i][: p.count], mean, under, over))
    summary = Text("还没有数据。", "No data yet.")
    if lines:
        lowest = [min(tuple(line.y)) for line in lines]
        told = "，".join(f"{kind.name.zh} {value:.2g}" for kind, value in zip(KINDS, lowest, strict=True))
        said = ", ".join(f"{kind.name.en} {value:.2g}" for kind, value in zip(KINDS, lowest, strict=True))
        summary = Text(f"网格上最低的{what.zh}：{told}。", f"Lowest {what.en} on each grid: {said}.")
    x = Axis(
        Text("学习率（对数）", "learning rate (log)"),
        log=True,
        low=min(low, p.shared / 2 if rules else low),  # a rule on the edge of the frame would not be seen
        high=max(high, p.shared * 2 if rules else high),
    )
    return LineChart(title, x, y, tuple(lines), summary, rules)


def _bars(p: Sweep, result: _Result | None) -> BarChart:
    groups = []
    kinds: tuple[tuple[Text, Role, Tensor | None], ...] = (
        (Text("各自最好的学习率", "own best rate"), "first", result.tuned if result else None),
        (Text("共用的学习率", "shared rate"), "warning", result.shared if result else None),
    )
    for name, role, values in kinds:
        if values is not None:
            pairs = [mean_and_spread((100 - row).tolist()) for row in values]
            groups.append(Bars(name, role, [mean for mean, _ in pairs], [spread or 0.0 for _, spread in pairs]))
    summary = Text("训练结束后评测。", "Measured when training is over.")
    if result:
        best = int(result.tuned.mean(1).argmax())
        summary = Text(
            f"各自调好后测试误差最低的：{KINDS[best].name.zh}（{100 - result.tuned[best].mean():.3g}%）。",
            f"Each at its own best rate, {KINDS[best].name.en} has the lowest test error ({100 - result.tuned[best].mean():.3g} %).",
        )
    tops = [value + error for group in groups for value, error in zip(group.values, group.errors, strict=True)]
    y = Axis(Text("测试误差（%）", "test error (%)"), low=0, high=min(100.0, 1.2 * max(tops)) if tops else 10.0)
    return BarChart(
        Text("测试误差（±95% 置信区间）", "Test error (± 95 % interval)"), tuple(kind.name for kind in KINDS), y, tuple(groups), summary
    )


def _run(p: Sweep, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    error_axis = Axis(Text("测试误差（%，对数）", "test error (%, log)"), log=True, low=1, high=100)
    loss_axis = Axis(Text("训练损失（nat，对数）", "training loss (nats, log)"), log=True, low=1e-4, high=30)
    race, pace = _Race(p, device, generator), Pace()

    def charts(errors: Tensor | None, losses: Tensor | None, result: _Result | None = None) -> tuple[Chart, ...]:
        tested = _by_rate(
            p,
            race,
            errors,
            Text("测试误差与学习率", "Test error against learning rate"),
            error_axis,
            Text("测试误差（%）", "test error (%)"),
        )
        trained = _by_rate(
            p, race, losses, Text("训练损失与学习率", "Training loss against learning rate"), loss_axis, Text("训练损失", "training loss")
        )
        return tested, trained, _bars(p, result)

    yield Snapshot(0, Text("就绪", "Ready"), charts(None, None))
    errors: Tensor | None = None
    recent: list[Tensor] = []
    looks = {round(p.steps * (i + 1) / LOOKS) for i in range(LOOKS - 1)}
    for step in range(1, p.steps + 1):
        recent = [*recent[-9:], race.step((step - 1) / p.steps)]
        if step in looks:
            *_, scores = race.evaluate(LOOKS)
            errors = scores.test_error if scores else None
        if pace.due(step / p.steps) or step in looks:
            status = Text(f"{race.network.count} 个网络，第 {step}/{p.steps} 步", f"{race.network.count} networks, step {step}/{p.steps}")
            yield Snapshot(0.85 * step / p.steps, status, charts(errors, torch.stack(recent).mean(0).cpu()))
    losses, chunks, final = torch.stack(recent).mean(0).cpu(), math.ceil(len(race.y) / CHUNK), None
    for i, final in enumerate(race.evaluate()):
        if pace.due(i / chunks) and final is None:
            yield Snapshot(0.85 + 0.14 * i / chunks, Text("在全部测试样本上评测", "Measuring on all test rows"), charts(errors, losses))
    assert final is not None
    result = _result(p, final)
    figures, outcome = _judge(p, race.rates, result, final)
    yield Snapshot(1, Text("完成", "Done"), charts(final.test_error, final.train_loss, result), figures, outcome)


# ---- the verdict -----------------------------------------------------------------------------------------------------


def _status(p: Sweep, lead: Sequence[float], shared_lead: Sequence[float]) -> Status:
    """Tuned: reproduced if the SGD family leads by over a point (its interval does) and by at most √10 times the published 1.95; same direction if only the
    first holds.

    Shared: reproduced if one family leads by over a point at the shared rate (its interval does) and not after tuning, so that the rate made the ranking; same
    direction if tuning shrinks the lead without undoing it. Otherwise not at this scale.
    """
    mean, low, _ = interval(lead)
    if p.task == "tuned":
        return "not_at_this_scale" if low <= MARGIN else "reproduced" if mean <= PUBLISHED * 10**0.5 else "same_direction"
    sign = 1 if sum(shared_lead) > 0 else -1  # which family leads at the shared rate
    (before, under, _), (after, low, _) = (interval([sign * value for value in values]) for values in (shared_lead, lead))
    if under <= MARGIN:
        return "not_at_this_scale"
    return "reproduced" if low <= MARGIN else "same_direction" if after < before else "not_at_this_scale"


def _judge(p: Sweep, rates: Sequence[Sequence[float]], result: _Result, scores: _Scores) -> tuple[tuple[Figure, ...], Outcome]:
    """The figures, and the verdict by the rule of `_status`."""
    asked = result.shared_lead if p.task == "shared" else result.lead
    points = Text("个百分点", "points")
    lead, tuned_lead = mean_and_spread(asked), mean_and_spread(result.lead)
    accuracy = 100 - scores.test_error[:, : p.count].mean(2)  # (5, rates)
    by_rate = float((accuracy.amax(1) - accuracy.median(1).values).mean())
    by_kind = float(result.tuned.mean(1).max() - result.tuned.mean(1).min())
    figures = [
        Figure(Text("测试准确率：最好的 SGD 类 − 最好的自适应类", "Test accuracy: best SGD-like − best adaptive"), *lead, points),
        Figure(Text("换优化器的影响（各自最好的学习率）", "Changing the optimiser (each at its own rate)"), by_kind, unit=points),
        Figure(Text("换学习率的影响（最好 − 网格中位）", "Changing the rate (best − median of the grid)"), by_rate, unit=points),
    ]
    if p.task == "shared":
        figures.append(Figure(Text("各自调好之后的差距", "The same, each at its own rate"), *tuned_lead, points))
    for i, kind in enumerate(KINDS):
        at = f"{rates[i][result.best[i]]:.2g}"
        name = Text(f"测试准确率：{kind.name.zh}，学习率 {at}", f"Test accuracy: {kind.name.en} at rate {at}")
        figures.append(Figure(name, *mean_and_spread(result.tuned[i].tolist()), "%"))
    status = _status(p, result.lead, result.shared_lead)
    answer = "sgd" if lead[0] > MARGIN else "adaptive" if lead[0] < -MARGIN else "same"
    if p.task == "shared":
        verdict = Verdict(status, figures[0], PUBLISHED_SHARED, CHOI, _explain_shared(p, rates, result))
    else:
        verdict = Verdict(status, figures[0], PUBLISHED_TUNED, WILSON, _explain_tuned(p, rates, result, by_kind, by_rate))
    return tuple(figures), Outcome(verdict, answer)


PUBLISHED_TUNED = Text(
    "CIFAR-10 上的 VGG：测试误差最好的 SGD 是 7.65% ± 0.14%，最好的自适应方法（RMSProp）是 9.60% ± 0.19%，相差 1.95 个百分点",
    "VGG on CIFAR-10: test error 7.65 ± 0.14 % for the best SGD, 9.60 ± 0.19 % for the best adaptive method (RMSProp), a gap of 1.95 points",
)
PUBLISHED_SHARED = Text(
    "超参数的搜索空间也许是解释已发表的优化器排名的最重要因素；换一个搜索空间，排名就可能被推翻",
    "the hyperparameter search space may be the single most important factor behind published rankings of optimisers; with another space such rankings can be contradicted",
)


def _explain_tuned(p: Sweep, rates: Sequence[Sequence[float]], result: _Result, by_kind: float, by_rate: float) -> Text:
    mean, low, high = interval(result.lead)
    (first, second), accuracy = result.winners, result.tuned.mean(1).tolist()
    told = Text(
        f"验证集选出：{KINDS[first].name.zh}（学习率 {rates[first][result.best[first]]:.2g}，测试准确率 {accuracy[first]:.3g}%）和 {KINDS[second].name.zh}"
        f"（{rates[second][result.best[second]]:.2g}，{accuracy[second]:.3g}%）。",
        f"The validation rows chose {KINDS[first].name.en} (rate {rates[first][result.best[first]]:.2g}, test accuracy {accuracy[first]:.3g} %) and {KINDS[second].name.en} "
        f"({rates[second][result.best[second]]:.2g}, {accuracy[second]:.3g} %). ",
    )
    if low > MARGIN:
        found = Text(f"SGD 类领先 {mean:.2g} 个百分点。", f"The SGD family leads by {mean:.2g} points. ")
    elif high < -MARGIN:
        found = Text(f"领先的反而是自适应类，{-mean:.2g} 个百分点。", f"It is the adaptive family that leads, by {-mean:.2g} points. ")
    elif low > -MARGIN and high < MARGIN:
        found = Text(
            f"两者相差 {abs(mean):.2g} 个百分点，置信区间在 ±{MARGIN:g} 之内：在这里没有差别。",
            f"They differ by {abs(mean):.2g} points, with an interval within ±{MARGIN:g}: here there is no difference. ",
        )
    else:
        found = Text(
            f"相差 {mean:+.2g} 个百分点（区间 {low:.2g} 到 {high:.2g}），不足以说谁领先 {MARGIN:g} 个百分点以上。",
            f"They differ by {mean:+.2g} points ({low:.2g} to {high:.2g}), which is not enough to say that either leads by over {MARGIN:g}. ",
        )
    compared = Text(
        f"五种优化器都调好后，最多相差 {by_kind:.2g} 个百分点；而学习率从最好的换成网格的中位，平均要掉 {by_rate:.2g} 个。",
        f"All five, tuned, lie within {by_kind:.2g} points, while going from the best rate to the median of its grid costs {by_rate:.2g} on average. ",
    )
    plain, moving = [accuracy[i] for i in (0, 2)], [accuracy[i] for i in (1, 3, 4)]
    if min(plain) > max(moving) + MARGIN:
        compared = compared + Text(
            "拉开差距的是动量，不是自适应：不带动量的 SGD 和 RMSprop 都比另外三种高，步数这么少，动量来不及见效。",
            "What sets them apart is momentum, not adaptivity: SGD and RMSprop, which have none, are both ahead of the other three; momentum has no time to pay off in so few steps. ",
        )
    edges = [kind.name for kind, best in zip(KINDS, result.best, strict=True) if best in (0, p.count - 1)]
    note = Text(
        "论文用的是深层卷积网络和 CIFAR-10，这里只有一层隐藏层和小数据；后来有小规模的复现，也没有测出差别。",
        "The paper had a deep convolutional network and CIFAR-10, here it is one hidden layer and little data; a later small reproduction saw no gap either.",
    )
    if edges:
        note = Text(
            f"但有的最好学习率落在网格边缘（{'、'.join(name.zh for name in edges)}），还没有真正调好。",
            f"But the best rate of {', '.join(name.en for name in edges)} lies at the edge of its grid, so the search has to go further.",
        )
    parts = (told, found, compared, note)
    return joined(parts)


def _explain_shared(p: Sweep, rates: Sequence[Sequence[float]], result: _Result) -> Text:
    lead, tuned = (mean_and_spread(values)[0] for values in (result.shared_lead, result.lead))
    family = Text("SGD 类", "the SGD family") if lead > 0 else Text("自适应类", "the adaptive family")
    own = [rates[i][result.best[i]] for i in (0, 3)]
    status = _status(p, result.lead, result.shared_lead)
    told = Text(
        f"都用 {p.shared:g} 时，{family.zh}的测试准确率高 {abs(lead):.2g} 个百分点；各自调好后，同一个差距是 {tuned * (1 if lead > 0 else -1):.2g}。"
        f"SGD 最好的学习率是 {own[0]:.2g}，Adam 是 {own[1]:.2g}：SGD 的步长是学习率乘梯度，Adam 的约等于学习率，同一个数对两者不是同一回事。",
        f"With {p.shared:g} for all, {family.en} has a test accuracy {abs(lead):.2g} points higher; each at its own best rate, the same difference is {tuned * (1 if lead > 0 else -1):.2g}. "
        f"The best rate is {own[0]:.2g} for SGD and {own[1]:.2g} for Adam: SGD's step is the rate times the gradient, Adam's about the rate itself, so the same number means two different things. ",
    )
    why = {
        "reproduced": Text("这个“赢家”是学习率选出来的，不是优化器。", "It was the rate that made the winner, not the optimiser."),
        "same_direction": Text("调参缩小了差距，但没有消除。", "Tuning narrows the gap without closing it."),
        "not_at_this_scale": Text(
            f"这里看不到学习率造成的排名：共用时的差距不超过 {MARGIN:g} 个百分点，或者调好后反而更大。",
            f"No ranking made by the rate shows here: at the shared rate the gap is not beyond {MARGIN:g} point, or it is larger after tuning.",
        ),
    }[status]
    return told + why


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Sweep) -> Prediction:
    how = (
        Text(f"五种优化器都用学习率 {p.shared:g}", f"All five optimisers use the rate {p.shared:g}")
        if p.task == "shared"
        else Text(f"每种优化器各在 {p.count} 个学习率里选最好的", f"Each optimiser picks the best of {p.count} rates")
    )
    return Prediction(
        Text(
            f"{how.zh}，训练 {p.steps} 步。SGD（含动量）与自适应方法（RMSprop、Adam、AdamW）里各取最好的，谁的测试准确率高？",
            f"{how.en} and trains for {p.steps} steps. Which has the higher test accuracy, the best SGD (with or without momentum) or the best adaptive method?",
        ),
        {
            "sgd": Text(f"SGD 类，高 {MARGIN:g} 个百分点以上", f"SGD, by over {MARGIN:g} point"),
            "same": Text(f"相差不到 {MARGIN:g} 个百分点", f"less than {MARGIN:g} point between them"),
            "adaptive": Text(f"自适应类，高 {MARGIN:g} 个百分点以上", f"the adaptive ones, by over {MARGIN:g} point"),
        },
    )


def run(parameters: Sweep, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from _run(parameters, device, generator)


_CODE = """import math
import torch

torch.set_num_threads(1)  # networks as small as these gain nothing from more
STEPS, BATCH, WIDTH = {steps}, {batch}, {width}
{data}
torch.manual_seed(0)
order = torch.randperm(len(y))
x, y = x[order], y[order]
test, valid = len(y) * 5 // 18, len(y) // 6
train = min({samples}, len(y) - test - valid)

def error(network, rows):
    with torch.no_grad():
        return 100 * (network(x[rows]).argmax(1) != y[rows]).float().mean().item()

def trained(build, rate):
    torch.manual_seed(1)  # the same start and the same batches for all
    network = torch.nn.Sequential(torch.nn.Linear(x.shape[1], WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, classes))
    weights = list(network.parameters())
    optimizer = build(weights, rate)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate * {factor}
        rows = test + valid + torch.randint(train, (BATCH,))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
        optimizer.step()
    return error(network, slice(test, test + valid)), rate, error(network, slice(0, test))

for name, build, rates in (
{kinds}
):
    valid_error, rate, test_error = min(trained(build, rate) for rate in rates)  # chosen by the validation error
    print(f"{{name:9}} best rate {{rate:8.2g}}: validation error {{valid_error:5.2f}} %, test error {{test_error:5.2f}} %")
"""


def code(p: Sweep) -> str:
    lines = []
    for kind in KINDS:
        rates = [p.shared] if p.task == "shared" else _grid(p, kind)[1::2]  # every other one, as a script trains them one by one
        told = ", ".join(f"{rate:.3g}" for rate in rates)
        lines.append(f'    ("{kind.name.en}", lambda weights, rate: {kind.script.format(decay=p.decay)}, [{told}]),')
    factor = "(1 + math.cos(math.pi * step / STEPS)) / 2" if p.schedule == "cosine" else "1.0"
    return _CODE.format(**{**p.values(), "data": digits_or_own(p.data)}, factor=factor, kinds="\n".join(lines))


DEMO = Demo(
    topic="optimization",
    title=Text("优化器之争：Adam 还是 SGD", "Adam or SGD: a fair race"),
    question=Text("什么时候用 Adam，什么时候用 SGD？SGD 泛化更好吗？", "When Adam, when SGD, and does SGD generalise better?"),
    look_for=Text(
        "看每条曲线的谷底在哪里、有多宽、有多低。再看柱状图：各用自己最好的学习率时，五种优化器的差距与误差棒相比是大是小。",
        "See where each curve has its valley, how wide it is and how deep. Then look at the bars: with each optimiser at its own best rate, are the differences large or small beside the error bars?",
    ),
    scaled_down=Text(
        "论文是 CIFAR-10 上的 VGG，每种优化器各搜学习率、重复 5 次；这里是一层隐藏层的小网络和 1,797 张 8×8 数字，训练一两百步。",
        "The paper had VGG on CIFAR-10 with a search of rates and 5 repetitions; here it is one hidden layer on 1,797 digits of 8×8 pixels, for a hundred steps or two.",
    ),
    parameters=Sweep,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=2,
)
