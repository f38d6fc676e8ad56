"""The update-to-weight ratio (1.25): ‖ΔW‖ / ‖W‖ by layer over time, and which ratio the settings that learn best really have.

A grid of learning rates × runs, and the learner's own rate, train as one stack. The same training gives the answer for every shorter budget as well:
at a few checkpoints the test error of each rate is taken beside its mean ratio so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demos.core.charts import Axis, Chart, Line, LineChart, Role, Rule
from demos.core.datasets import Dataset, load_digits_or_own
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import SGD, Adam, StackedMLP, error_rate
from demos.core.statistics import log_spaced, mean_and_band, mean_and_spread, ratio_interval, thinned
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

RULE = 1e-3  # the rule of thumb
RATES = {"sgd": (1e-3, 0.3), "adam": (2e-4, 0.06)}  # ends of the grid: from far too slow to unstable
COUNT = 10  # learning rates in the grid
BEST = 1.0  # percentage points of test error: rates this close to the best count as good
BAD = 5.0  # and rates this far above it as bad
FLOOR = 0.3  # percent: the lowest test error that the chart, which is logarithmic, can tell from 0
STILL, WILD = 1e-6, 1.0  # ratios are kept between these; what is not a number counts as WILD


@dataclass(frozen=True)
class UpdateRatio(Parameters):
    optimizer: str = choice(
        "sgd", {"sgd": Text("SGD + 动量 0.9", "SGD, momentum 0.9"), "adam": same("Adam")}, label=Text("优化器", "Optimiser"),
        help=Text("比值用参数的真实变化来算。", "The ratio is that of the actual change."),
    )  # fmt: skip
    rate: float = real(
        0.03, 1e-4, 10, log=True, label=Text("学习率", "Learning rate"), help=Text("第一张图画的就是它。", "The one that the first chart shows.")
    )  # fmt: skip
    scale: float = real(
        1,
        0.05,
        10,
        log=True,
        label=Text("初始权重 ÷ He", "Initial weights ÷ He"),
        help=Text("1 就是 He 初始化。", "1 is He's initialisation."),
    )
    batch: int = integer(32, 1, 64, label=Text("批大小", "Batch size"), help=Text("每步的样本数。", "Samples in a step."))
    steps: int = integer(600, 50, 800, step=50, label=Text("训练步数", "Training steps"), help=Text("训练预算。", "The training budget."))
    hidden: int = integer(2, 1, 4, advanced=True, label=Text("隐藏层数", "Hidden layers"), help=Text("都用 ReLU。", "With ReLU."))
    width: int = integer(32, 4, 48, advanced=True, label=Text("每层单元数", "Units a layer"), help=Text("隐藏层的宽度。", "Hidden width."))
    runs: int = integer(
        5, 5, 8, advanced=True, label=Text("重复次数", "Repetitions"), help=Text("不同的权重和批次。", "Different weights and batches.")
    )
    data: str = own_data("classes")


PRESETS = {
    "rule": Preset(
        Text("千分之一法则", "The 1e-3 rule"), Text("600 步、SGD：学得最好的学习率，比值是多少？", "600 steps of SGD: which ratio do the best rates have?"),
        {}, "textbook",
    ),
    "short": Preset(
        Text("只训练 100 步", "Only 100 steps"), Text("预算少得多，最好的比值还是 1e-3 吗？", "A much smaller budget: is 1e-3 still the best ratio?"),
        {"steps": 100}, "limits",
    ),
    "small-weights": Preset(
        Text("Adam，小权重", "Adam, small weights"), Text("初始权重缩小 10 倍：比值还说明得了学习率吗？", "Initial weights 10 times smaller: what does the ratio still tell?"),
        {"optimizer": "adam", "scale": 0.1, "rate": 0.003, "steps": 200}, "limits",
    ),
}  # fmt: skip

CS231N = Source(
    "CS231n notes: Neural Networks, part 3", "Andrej Karpathy and others", 2016, "https://cs231n.github.io/neural-networks-3/#ratio"
)


# ---- training, and the ratio at each step ----------------------------------------------------------------------------


@dataclass
class Log:
    """Ratios at each step so far, on the CPU: weights (layers, K), all biases together (K,); and at checkpoints the error in percent (K,)."""

    weights: list[Tensor] = field(default_factory=list)
    biases: list[Tensor] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)
    errors: list[Tensor] = field(default_factory=list)

    def mean_ratios(self, steps: int, runs: int) -> Tensor:
        """Geometric mean over layers and the first `steps` steps: (rates, runs), the learner's rate last."""
        logs = torch.stack(self.weights[:steps]).double().log()
        mean: Tensor = logs.mean((0, 1)).exp().view(-1, runs)
        return mean


def relative_change(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """‖after − before‖ ÷ ‖before‖ of all tensors together (K,), within STILL … WILD; before 0 it is WILD, unless nothing changed."""
    moved, size = (
        torch.stack([t.flatten(1).square().sum(1) for t in tensors]).sum(0)
        for tensors in ([b - a for a, b in zip(before, after, strict=True)], before)
    )
    return (moved / size.clamp_min(1e-30)).sqrt().nan_to_num(WILD, WILD).clamp(STILL, WILD)


def train(p: UpdateRatio, data: Dataset, generator: torch.Generator, log: Log) -> Iterator[int]:
    """Trains (COUNT + 1) rates × runs networks (K = rates × runs) and yields the number of steps done; run r has the same start and batches for all rates."""
    rates = [rate for rate in (*log_spaced(*RATES[p.optimizer], COUNT), p.rate) for _ in range(p.runs)]
    sizes = (data.features, *[p.width] * p.hidden, data.classes)
    starts = list(range(p.runs)) * (COUNT + 1)
    network = StackedMLP(sizes, starts, generator, gain=p.scale * 2**0.5, device=data.train_x.device)
    optimizer = SGD(network, rates, 0.9) if p.optimizer == "sgd" else Adam(network, rates)
    marks = {round(mark) for mark in log_spaced(min(25, p.steps), p.steps, 10)}
    for step in range(1, p.steps + 1):
        picked = torch.randint(len(data.train_y), (p.runs, p.batch), generator=generator).to(data.train_x.device).repeat(COUNT + 1, 1)
        before = [[tensor.clone() for tensor in group] for group in (network.weights, network.biases)]
        optimizer.step(network.gradients(data.train_x[picked], data.train_y[picked])[1])
        log.weights.append(torch.stack([relative_change([old], [new]) for old, new in zip(before[0], network.weights, strict=True)]).cpu())
        log.biases.append(relative_change(before[1], network.biases).cpu())
        if step in marks:
            log.checkpoints.append(step)
            log.errors.append(100 * error_rate(network.logits(data.test_x), data.test_y).double().cpu())
        yield step


def good_rates(errors: Tensor) -> list[int]:
    """The rates of the grid whose mean test error, errors (rates, runs), is within BEST of the lowest."""
    means = errors[:COUNT].mean(1)
    return [i for i, mean in enumerate(means.tolist()) if mean <= float(means.min()) + BEST]


def best_ratio(errors: Tensor, ratios: Tensor) -> list[float]:
    """For each run the geometric mean ratio of the good rates; errors, ratios (rates, runs)."""
    return [float(value) for value in ratios[good_rates(errors)].log().mean(0).exp()]


# ---- what is shown ---------------------------------------------------------------------------------------------------

LAYER_ROLES: tuple[Role, ...] = ("first", "second", "third", "fourth", "baseline")


def _layer_chart(p: UpdateRatio, log: Log) -> LineChart:
    """Ratios over time at the learner's rate, averaged (geometrically) over runs and the last ten steps."""
    steps = len(log.weights)
    lines = [Line(same("1e-3"), "theory", [1, p.steps], [RULE, RULE])]
    told = []
    if steps:
        chosen = thinned(steps, 50)
        rows = torch.cat([torch.stack(log.weights)[:, :, -p.runs :], torch.stack(log.biases)[:, None, -p.runs :]], 1).double().log()
        smooth = torch.stack([rows[max(0, i - 9) : i + 1].mean(0) for i in chosen]).exp()  # (points, layers + 1, runs)
        names = [Text(f"第 {layer} 层", f"layer {layer}") for layer in range(1, smooth.shape[1])]
        roles: tuple[Role, ...] = (*LAYER_ROLES[: len(names)], "warning")
        for layer, name in enumerate([*names, Text("偏置", "biases")]):
            mean, low, high = mean_and_band(smooth[:, layer].T.tolist(), log=True)
            lines.append(Line(name, roles[layer], [i + 1 for i in chosen], mean, low, high))
            told.append(Text(f"{name.zh} {mean[-1]:.2g}", f"{name.en} {mean[-1]:.2g}"))
    return LineChart(
        Text(f"学习率 {p.rate:g}：各层的更新量 ÷ 权重", f"Rate {p.rate:g}: update ÷ weight by layer"), Axis(Text("步数", "step"), low=0, high=p.steps),
        Axis(Text("‖ΔW‖ / ‖W‖（对数）", "‖ΔW‖ / ‖W‖ (log)"), log=True, low=1e-5, high=1), tuple(lines),
        Text(f"第 {steps} 步：{'，'.join(t.zh for t in told) or '尚未开始'}。", f"Step {steps}: {', '.join(t.en for t in told) or 'not started'}."),
    )  # fmt: skip


def _sweep_charts(p: UpdateRatio, log: Log) -> tuple[LineChart, LineChart]:
    """Test error against ratio at the last checkpoint, rates in order; and the ratio of the good rates at every checkpoint."""
    sweep, budgets = [], []
    said = [Text("还没有测试。", "No test yet."), Text("还没有测试。", "No test yet.")]
    if log.checkpoints:
        steps = log.checkpoints[-1]
        errors, ratios = log.errors[-1].view(-1, p.runs), log.mean_ratios(steps, p.runs)
        x, y = ratios.log().mean(1).exp().tolist(), errors.mean(1).clamp_min(FLOOR).tolist()
        good = good_rates(errors)
        ends = min(x[i] for i in good), max(x[i] for i in good)
        sweep = [
            Line(Text("小 → 大学习率", "slow → fast rate"), "first", x[:COUNT], y[:COUNT], style="dots+line"),
            Line(Text("最好的", "good rates"), "third", [x[i] for i in good], [y[i] for i in good], style="dots"),
            Line(Text("你的学习率", "your rate"), "second", x[COUNT:], y[COUNT:], style="dots"),
        ]
        bests = [best_ratio(e.view(-1, p.runs), log.mean_ratios(s, p.runs)) for s, e in zip(log.checkpoints, log.errors, strict=True)]
        means, lows, highs = zip(*(ratio_interval(best) for best in bests), strict=True)
        budgets.append(Line(Text("最好的比值", "best ratio"), "third", log.checkpoints, means, lows, highs, style="dots+line"))
        said = [
            Text(f"{steps} 步后，最好的学习率平均比值为 {ends[0]:.2g} 到 {ends[1]:.2g}。", f"After {steps} steps the good rates have mean ratios from {ends[0]:.2g} to {ends[1]:.2g}."),
            Text(f"只训练 {log.checkpoints[0]} 步时最好的比值是 {means[0]:.2g}，{steps} 步时是 {means[-1]:.2g}。", f"With {log.checkpoints[0]} steps the best ratio is {means[0]:.2g}, with {steps} it is {means[-1]:.2g}."),
        ]  # fmt: skip
    span = [min(25, p.steps), p.steps]
    dashed = (
        Line(same("1e-3"), "theory", span, [RULE, RULE]),
        Line(Text("1 ÷ 步数", "1 ÷ steps"), "baseline", span, [1 / steps for steps in span]),
    )
    ratio = Axis(Text("平均比值（对数）", "mean ratio (log)"), log=True, low=1e-5, high=1)
    return (
        LineChart(Text("测试错误率与比值", "Test error against ratio"), ratio, Axis(Text("测试错误率（%，对数）", "test error (%, log)"), log=True, low=FLOOR, high=100),
                  tuple(sweep), said[0], (Rule(same("1e-3"), RULE),)),
        LineChart(Text("最好的比值与训练长度", "Best ratio against length of training"),
                  Axis(Text("训练步数（对数）", "training steps (log)"), log=True, low=span[0], high=span[1]), ratio, (*budgets, *dashed), said[1]),
    )  # fmt: skip


def run(p: UpdateRatio, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    data, log, pace = load_digits_or_own(p.data, device, generator=generator), Log(), Pace()

    def charts() -> tuple[Chart, ...]:
        return _layer_chart(p, log), *_sweep_charts(p, log)

    yield Snapshot(0, Text("就绪", "Ready"), charts())
    for step in train(p, data, generator, log):
        if pace.due(step / p.steps):
            yield Snapshot(0.99 * step / p.steps, Text(f"第 {step}/{p.steps} 步", f"Step {step}/{p.steps}"), charts())
    first = log.weights[0].log().mean(0).exp().view(-1, p.runs)
    bias = torch.stack(log.biases).log().mean(0).exp().view(-1, p.runs)
    budgets = [(s, best_ratio(e.view(-1, p.runs), log.mean_ratios(s, p.runs))) for s, e in zip(log.checkpoints, log.errors, strict=True)]
    judged = judge(p, log.errors[-1].view(-1, p.runs), log.mean_ratios(p.steps, p.runs), bias.double(), first.double(), budgets)
    yield Snapshot(1, Text("完成", "Done"), charts(), *judged)


# ---- the verdict -----------------------------------------------------------------------------------------------------


def judge(
    p: UpdateRatio, errors: Tensor, ratios: Tensor, bias: Tensor, first: Tensor, budgets: Sequence[tuple[int, Sequence[float]]]
) -> tuple[tuple[Figure, ...], Outcome]:
    """errors: test error in percent; ratios, bias: mean ratio of weights and of biases; first: ratio in the first step, all (rates, runs), the learner's
    rate last; budgets: the best ratios of the runs at each checkpoint.

    Reproduced: the interval of the good rates' ratio lies within a factor √10 of 1e-3. Same direction: it reaches into that range. Otherwise, or if even
    the best rate errs in more than half of the tests, not at this scale.
    """
    good, means = good_rates(errors), errors[:COUNT].mean(1)
    mean, low, high = ratio_interval(best_ratio(errors, ratios))
    learns = float(means.min()) < 50
    status: Status = "not_at_this_scale"
    lowest, highest = RULE / 10**0.5, RULE * 10**0.5
    if learns and low <= highest and high >= lowest:
        status = "reproduced" if lowest <= low and high <= highest else "same_direction"
    answer = "none" if not learns else "below" if mean < RULE / 3 else "rule" if mean < RULE * 3 else "above" if mean < RULE * 30 else "far"
    levels = ratios.log().mean(1).exp().tolist()
    ends = min(levels[i] for i in good), max(levels[i] for i in good)
    rates = log_spaced(*RATES[p.optimizer], COUNT)
    fooled = [rates[i] for i in range(COUNT) if lowest <= levels[i] <= highest and float(means[i]) > float(means.min()) + BAD]
    figures = (
        Figure(
            Text(f"最好的学习率的平均比值（95%：{low:.2g} … {high:.2g}）", f"Mean ratio of the good rates (95 %: {low:.2g} … {high:.2g})"),
            mean,
        ),
        Figure(Text("最好的学习率中比值最小的", "Lowest ratio among the good rates"), ends[0]),
        Figure(Text("最好的学习率中比值最大的", "Highest ratio among the good rates"), ends[1]),
        Figure(Text("最好的比值 × 步数", "Best ratio × steps"), mean * p.steps),
        Figure(Text("它们的偏置的平均比值", "Mean ratio of their biases"), float(bias[good].log().mean().exp())),
        Figure(Text("它们第 1 步的比值", "Their ratio in the first step"), float(first[good].log().mean().exp())),
        Figure(Text("最低的测试错误率", "Lowest test error"), *mean_and_spread(errors[int(means.argmin())].tolist()), "%"),
        Figure(Text(f"学习率 {p.rate:g}：平均比值", f"Rate {p.rate:g}: mean ratio"), levels[COUNT]),
        Figure(Text(f"学习率 {p.rate:g}：测试错误率", f"Rate {p.rate:g}: test error"), *mean_and_spread(errors[COUNT].tolist()), "%"),
    )
    published = Text(
        "经验法则：更新量与权重之比应在 1e-3 左右；更小说明学习率可能太低，更大可能太高",
        "rough heuristic: the ratio should be somewhere around 1e-3; lower, and the rate might be too low, higher, and it is likely too high",
    )
    explanation = _explain(p, mean, ends, [rates[good[0]], rates[good[-1]]], fooled, figures[4].value, budgets, learns)
    return figures, Outcome(Verdict(status, figures[0], published, CS231N, explanation), answer)


def _explain(
    p: UpdateRatio, mean: float, ends: Sequence[float], rates: Sequence[float], fooled: Sequence[float], bias: float,
    budgets: Sequence[tuple[int, Sequence[float]]], learns: bool,
) -> Text:  # fmt: skip
    if not learns:
        return Text(
            "网格里没有一个学习率学得起来，比值也就无从评判；换回合适的初始权重或更多步数。",
            "No rate of the grid learns here, so there is no good ratio to speak of; go back to a sound initial scale, or take more steps.",
        )
    steps, early = budgets[0][0], ratio_interval(budgets[0][1])[0]
    found = Text(
        f"测试错误率与最低值相差不超过 {BEST:g} 个百分点的学习率是 {rates[0]:.2g} 到 {rates[1]:.2g}，它们的平均比值为 {ends[0]:.2g} 到 {ends[1]:.2g}，几何平均 {mean:.2g}，是 1e-3 的 {mean / RULE:.2g} 倍。",
        f"Rates from {rates[0]:.2g} to {rates[1]:.2g} come within {BEST:g} point of the lowest test error; their mean ratios run from {ends[0]:.2g} to {ends[1]:.2g}, with a geometric mean of "
        f"{mean:.2g}, {mean / RULE:.2g} times 1e-3. ",
    )
    budget = Text(
        f"这个数与预算有关：比值 × 步数 ≈ {mean * p.steps:.2g}，即各步的更新量加起来约为权重的 {mean * p.steps:.2g} 倍；只训练 {steps} 步时最好的比值是 {early:.2g}。照此推算，1e-3 在这里适合约 {round(mean * p.steps / RULE, -2):.0f} 步，它并不是普适常数。",
        f"It depends on the budget: ratio × steps is about {mean * p.steps:.2g}, so the updates of a run add up to that many times the weights' own size; with {steps} steps the best ratio is {early:.2g}. "
        f"By that, 1e-3 would suit about {round(mean * p.steps / RULE, -2):.0f} steps here; it is no constant of nature. ",
    )
    blind = Text(
        f"偏置从 0 开始，比值偏大（平均 {bias:.2g}），不能拿来判断。",
        f"Biases start at 0 and have inflated ratios (mean {bias:.2g}): do not judge by them. ",
    )
    if bias < 1.5 * mean:
        blind = Text("偏置从 0 开始，头几步的比值没有意义。", "Biases start at 0, so that their first ratios mean nothing. ")
    if p.scale < 0.5 or p.scale > 2:
        blind = Text(
            f"初始权重是 He 的 {p.scale:g} 倍，分母跟着变，比值说的更多是权重而不是学习率。" + blind.zh,
            f"The initial weights are {p.scale:g} times He's, and the denominator with them: the ratio tells more of the weights than of the rate. "
            + blind.en,
        )
    if p.optimizer == "adam":
        blind = Text(
            "Adam 每步约走 η，不管梯度多大，所以起点的比值约为 η ÷ 权重的均方根，看不出梯度有没有问题。" + blind.zh,
            "Adam moves by about η whatever the gradient, so at the start the ratio is about η ÷ the weights' root mean square and cannot show faulty gradients. "
            + blind.en,
        )
    shown = [f"{rate:.2g}" for rate in fooled[:3]]
    trap = Text(
        f"比值接近 1e-3 也不等于学得好：例如学习率 {'、'.join(shown)} 的平均比值与 1e-3 相差不到 √10 倍，错误率却比最低的高 {BAD:g} 个百分点以上。",
        f"Nor does a ratio near 1e-3 mean that all is well: at learning rates such as {', '.join(shown)} it is within a factor of √10 of 1e-3, and yet the error is more than {BAD:g} points above the lowest.",
    )
    if not fooled:
        trap = Text("比值只是路标，最后还得看验证误差。", "The ratio is a signpost; the validation error decides.")
    return found + budget + blind + trap


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: UpdateRatio) -> Prediction:
    name = same("SGD") if p.optimizer == "sgd" else same("Adam")
    return Prediction(
        Text(
            f"{name.zh}，{p.steps} 步，批大小 {p.batch}，初始权重为 He 的 {p.scale:g} 倍。学得最好的学习率，更新量 ÷ 权重的平均值是多少？",
            f"{name.en}, {p.steps} steps of {p.batch} samples, initial weights {p.scale:g} × He. Which mean update ÷ weight do the best rates have?",
        ),
        {
            "below": Text("小于 3e-4", "below 3e-4"),
            "rule": Text("3e-4 到 3e-3（法则）", "3e-4 to 3e-3 (the rule)"),
            "above": Text("3e-3 到 3e-2", "3e-3 to 3e-2"),
            "far": Text("大于 3e-2", "above 3e-2"),
            "none": Text("没有一个学得起来", "no rate learns"),
        },
    )


_CODE = """\
import math
import torch
from torch import nn

torch.set_num_threads(1)  # matrices as small as these gain nothing from more
torch.manual_seed(0)
{load}
order = torch.randperm(len(y))
test, train = order[: len(y) // 3], order[len(y) // 3 :]

def run(rate):
    torch.manual_seed(1)
    sizes = [x.shape[1]] + [{width}] * {hidden} + [classes]
    linears = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]
    for linear in linears:
        nn.init.normal_(linear.weight, std={scale:g} * math.sqrt(2 / linear.in_features))
        nn.init.zeros_(linear.bias)
    net = nn.Sequential(*[part for linear in linears for part in (linear, nn.ReLU())][:-1])
    optimizer = torch.optim.{optimizer}
    logs = torch.zeros(len(linears))
    for step in range({steps}):
        batch = train[torch.randint(len(train), ({batch},))]
        loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        before = [linear.weight.detach().clone() for linear in linears]
        optimizer.step()
        with torch.no_grad():  # the actual change, so that it holds for any optimiser
            ratios = [((linear.weight - old).norm() / old.norm()).clamp(1e-6, 1) for linear, old in zip(linears, before)]
        logs += torch.stack(ratios).log() / {steps}
    with torch.no_grad():
        error = 100 * (net(x[test]).argmax(1) != y[test]).float().mean().item()
    return logs.exp().tolist(), error

for rate in {rates}:
    ratios, error = run(rate)
    print(f"rate {{rate:8.2g}}: test error {{error:5.1f}} %, mean update / weight by layer", " ".join(f"{{ratio:.1e}}" for ratio in ratios))
"""


def code(p: UpdateRatio) -> str:
    rates = [float(f"{rate:.2g}") for rate in (*log_spaced(*RATES[p.optimizer], 5), p.rate)]
    kind = "Adam(net.parameters(), lr=rate)" if p.optimizer == "adam" else "SGD(net.parameters(), lr=rate, momentum=0.9)"
    values = {**p.values(), "load": digits_or_own(p.data), "rates": rates, "optimizer": kind}
    return _CODE.format(**values)


DEMO = Demo(
    topic="activations",
    title=Text("更新量与权重之比", "The update-to-weight ratio"),
    question=Text("每步更新多少才合适？1e-3 的法则靠得住吗？", "How large should an update be, and can the rule of 1e-3 be relied on?"),
    look_for=Text(
        "先看各层的比值随训练怎么走、偏置差多少；再看测试错误率最低处的比值离 1e-3 多远，训练长短不同时它变不变。",
        "Watch how each layer's ratio goes during training, and how far off the biases are; then how far from 1e-3 the lowest test error lies, and whether that depends on "
        "the length of training.",
    ),
    scaled_down=Text(
        "8×8 数字、两个 32 单元的隐藏层、几百步；讲义的经验来自图像上的卷积网络和长得多的训练。",
        "8×8 digits, two hidden layers of 32 units and a few hundred steps; the heuristic comes from convolutional nets on images and much longer training.",
    ),
    parameters=UpdateRatio,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=2,
)  # fmt: skip
