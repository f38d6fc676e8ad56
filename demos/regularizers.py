"""Regularisation (1.6): nine regularisers and none on the same network and few samples, and what each does to the gap between training and test error.

Without a penalty, L1, L2, max-norm, early stopping, augmentation, batch norm, dropout, and dropout with L2 or max-norm: methods × seeds are one stack
(demos/core/stacked.py; three stacks, as masks and batch norm belong to a whole stack). Network s of every method starts with the weights of seed s and sees
the same batches of the same samples, so that methods are compared pairwise. `strength` s scales them all: L1 and L2 by s², the radius of max-norm and the
keep probability of dropout to 1/s and ½^s, shifts by s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Line, LineChart, Role
from demos.core.datasets import Dataset, load_digits_or_own, moved, shuffles
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import SGD, StackedMLP, cross_entropy, error_rate
from demos.core.statistics import interval, mean_and_band, mean_and_spread
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

PLAIN = ("none", "l1", "l2", "max-norm", "early", "augment")  # a stack
DROPPED = ("dropout", "dropout+l2", "dropout+max-norm")  # a second one, with masks
METHODS = (*PLAIN, "batch-norm", *DROPPED)  # batch norm is a third
TABLE_9 = {"l2": 1.62, "max-norm": 1.35, "dropout+l2": 1.25, "dropout+max-norm": 1.05}  # test error in %, Srivastava et al. (2014)
L1, L2, RADIUS, SHIFT, NOISE = 0.001, 0.01, 1.0, 0.5, 0.5  # at strength 1; shifts in pixels
VALIDATION = 0.2  # of its training samples that early stopping puts aside
BATCH, MOMENTUM, CHECKPOINTS = 20, 0.9, 20
SEEN = 300  # at most so many training samples are looked at for the training error


@dataclass(frozen=True)
class Regularizers(Parameters):
    task: str = mode_choice(
        "order", {"order": Text("名次", "ranking"), "plenty": Text("数据充足", "plenty of data"), "strong": Text("过强", "too strong")},
        label=Text("实验", "Experiment"), help=Text("检验哪个说法。", "Which claim is tested."),
    )  # fmt: skip
    samples: int = integer(
        100, 20, 1297, label=Text("训练样本数", "Training samples"), help=Text("越少越容易过拟合。", "The fewer, the more it overfits.")
    )
    strength: float = real(
        1.0, 0, 4, step=0.25, label=Text("正则强度 s", "Strength s"),
        help=Text("Dropout 保留 ½^s，L1、L2 系数乘 s²，最大范数半径除以 s；0 是不加。", "Dropout keeps ½^s, L1 and L2 are scaled by s², the max-norm radius by 1/s; 0 is none."),
    )  # fmt: skip
    width: int = integer(100, 10, 200, step=10, label=Text("隐藏层宽度", "Width"), help=Text("隐藏单元数。", "Hidden units."))
    steps: int = integer(
        300, 50, 600, step=50, label=Text("训练步数", "Training steps"),
        help=Text(f"每步 {BATCH} 个样本。", f"Each step takes {BATCH} samples."),
    )  # fmt: skip
    lr: float = real(
        0.05, 0.001, 1, log=True, advanced=True, label=Text("学习率", "Learning rate"),
        help=Text("带动量的 SGD，后一半线性降到 0。", "SGD with momentum; it falls to 0 over the second half."),
    )  # fmt: skip
    seeds: int = integer(
        8, 5, 10, advanced=True, label=Text("种子数", "Seeds"), help=Text("初始权重和样本各不相同。", "Each with its own weights and samples.")
    )  # fmt: skip
    data: str = own_data("classes")


PRESETS = {
    "few": Preset(
        Text("样本很少", "Few samples"),
        Text("100 个样本：哪种正则化最有用，名次与论文一样吗？", "100 samples: which method helps most, and is the order that of the paper?"),
        {"task": "order"},
        "textbook",
    ),
    "plenty": Preset(
        Text("数据充足", "Plenty of data"),
        Text("样本多到 1297 个，正则化还有多少好处？", "With 1,297 samples, how much is there left to gain?"),
        {"task": "plenty", "samples": 1297},
        "limits",
    ),
    "too-strong": Preset(
        Text("用力过猛", "Too strong"),
        Text("强度 3：Dropout 只保留八分之一，会怎样？", "Strength 3, dropout keeps one unit in eight: what happens?"),
        {"task": "strong", "strength": 3},
        "limits",
    ),
}  # fmt: skip

SRIVASTAVA = Source(
    "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    "Nitish Srivastava, Geoffrey Hinton, Alex Krizhevsky, Ilya Sutskever, Ruslan Salakhutdinov",
    2014,
    "https://jmlr.org/papers/v15/srivastava14a.html",
)
NAMES = {
    "none": Text("不加正则", "none"), "l1": same("L1"), "l2": same("L2"), "max-norm": Text("最大范数", "max-norm"), "early": Text("早停", "early stopping"),
    "augment": Text("数据增强", "augmentation"), "batch-norm": Text("批量归一化", "batch norm"), "dropout": same("Dropout"), "dropout+l2": Text("Dropout+L2", "dropout + L2"),
    "dropout+max-norm": Text("Dropout+最大范数", "dropout + max-norm"),
}  # fmt: skip
SHORT = {
    **NAMES, "none": Text("无", "none"), "max-norm": Text("范数", "norm"), "early": Text("早停", "early"), "augment": Text("增强", "augm."), "batch-norm": same("BN"),
    "dropout": same("drop"), "dropout+l2": same("D+L2"), "dropout+max-norm": Text("D+范数", "D+norm"),
}  # fmt: skip
DRAWN: dict[str, Role] = {"none": "baseline", "l2": "first", "dropout": "second", "augment": "third", "batch-norm": "fourth"}  # as curves


# ---- training --------------------------------------------------------------------------------------------------------


class Samples:
    """Training samples of each seed (S, N, F), their classes (S, N), and their augmented copies (directions, S, N, F): the digits moved by one pixel each way."""

    def __init__(self, p: Regularizers, data: Dataset, generator: torch.Generator) -> None:
        order = shuffles(len(data.train_x), p.seeds, generator, p.samples)
        order = order.to(data.train_x.device)
        self.x, self.y, self.count = data.train_x[order], data.train_y[order], order.shape[1]
        self.strength, self.moved = p.strength, None if p.data else shifted(data.train_x)[:, order]

    def augmented(self, x: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """The samples x (S, B, F) of numbers `chosen` (S, B), each moved by up to SHIFT·s pixels; noise is added instead where features are not pixels."""
        if self.moved is None:
            return x + NOISE * self.strength * torch.randn(x.shape, generator=generator).to(x.device)
        way = torch.randint(len(self.moved), chosen.shape, generator=generator).to(x.device)
        far = torch.rand(*chosen.shape, 1, generator=generator).to(x.device) * min(1.0, SHIFT * self.strength)
        seeds = torch.arange(len(x), device=x.device)[:, None]
        return x + far * (self.moved[way, seeds, chosen] - x)


def shifted(x: Tensor) -> Tensor:
    """Digits x (N, 64) moved by a pixel to the right, left, down and up (4, N, 64); what comes in is background, the darkest value of each pixel."""
    dark = x.amin(0)
    return moved(x - dark)[[3, 5, 1, 7]] + dark


class Stack:
    """Networks method by method, S seeds each, with what holds them back."""

    def __init__(self, p: Regularizers, methods: Sequence[str], data: Dataset, generator: torch.Generator) -> None:
        self.methods, self.generator, device = methods, generator, data.train_x.device
        drop = 1 - 0.5**p.strength if methods == DROPPED else 0.0
        sizes, starts = (data.features, p.width, data.classes), list(range(p.seeds)) * len(methods)
        self.net = StackedMLP(sizes, starts, generator, batch_norm=methods == ("batch-norm",), dropout=drop, device=device)
        self._optimizer, square = SGD(self.net, [p.lr], momentum=MOMENTUM), p.strength**2
        self._l1 = self._each({"l1": L1 * square}, 0.0)
        self._l2 = self._each(dict.fromkeys(("l2", "dropout+l2"), L2 * square), 0.0)
        radius = RADIUS / max(p.strength, 1e-6)
        self._radius = self._each(dict.fromkeys(("max-norm", "dropout+max-norm"), radius), math.inf)

    def _each(self, values: dict[str, float], otherwise: float) -> Tensor:
        """A number for each network, (K, 1, 1)."""
        numbers = torch.tensor([values.get(method, otherwise) for method in self.methods], device=self.net.device)
        return numbers.repeat_interleave(self.net.count // len(self.methods))[:, None, None]

    def step(self, x: Tensor, y: Tensor, factor: float) -> None:
        """One step on x (K, B, F), y (K, B)."""
        masks = self.net.draw_masks(x.shape[1], self.generator) if self.methods == DROPPED else None
        _, gradients = self.net.gradients(x, y, masks)
        for i, weight in enumerate(self.net.weights):
            gradients[i] = gradients[i] + self._l2 * weight + self._l1 * weight.sign()
        self._optimizer.step(gradients, factor)
        hidden = self.net.weights[0]  # max-norm: the weights into each hidden unit stay within the radius
        hidden.mul_((self._radius / hidden.norm(dim=2, keepdim=True).clamp_min(1e-12)).clamp_max(1))

    def errors(self, x: Tensor, y: Tensor) -> Tensor:
        """Error in percent (methods, S), without masks; x (B, F) or (S, B, F)."""
        x, y = (t.repeat(len(self.methods), *[1] * (t.dim() - 1)) if x.dim() == 3 else t for t in (x, y))
        return 100 * error_rate(self.net.logits(x), y).view(len(self.methods), -1)


@dataclass
class Results:
    """Errors in percent of each method, on the CPU: the present ones (S,), and the test errors at each checkpoint."""

    train: dict[str, Tensor] = field(default_factory=dict)
    test: dict[str, Tensor] = field(default_factory=dict)
    steps: list[int] = field(default_factory=list)
    history: list[dict[str, Tensor]] = field(default_factory=list)
    _lowest: Tensor | None = None  # validation loss (S,) of early stopping

    def look(self, step: int, stacks: Sequence[Stack], samples: Samples, data: Dataset, kept: int) -> None:
        """Measures all networks; early stopping keeps what it had unless its validation loss, on the samples from `kept` on, is lower than ever."""
        for stack in stacks:
            train, test = stack.errors(samples.x[:, :SEEN], samples.y[:, :SEEN]).cpu(), stack.errors(data.test_x, data.test_y).cpu()
            for i, method in enumerate(stack.methods):
                if method != "early":
                    self.train[method], self.test[method] = train[i], test[i]
                    continue
                held = [t[:, kept:].repeat(len(stack.methods), *[1] * (t.dim() - 2), 1) for t in (samples.x, samples.y)]
                loss = cross_entropy(stack.net.logits(held[0]).transpose(1, 2), held[1])[0].view(len(stack.methods), -1)[i].cpu()
                better = torch.ones_like(loss, dtype=torch.bool) if self._lowest is None else loss < self._lowest
                self._lowest = loss if self._lowest is None else torch.where(better, loss, self._lowest)
                for part, now in ((self.train, train[i]), (self.test, test[i])):
                    part[method] = torch.where(better, now, part.get(method, now))
        self.steps.append(step)
        self.history.append(dict(self.test))

    def gain(self, method: str) -> list[float]:
        """By how many points the test error lies below that without regularisation, seed by seed."""
        return (self.test["none"] - self.test[method]).tolist()


# ---- charts ----------------------------------------------------------------------------------------------------------


def charts(p: Regularizers, results: Results) -> tuple[Chart, ...]:
    shown = results.test or dict.fromkeys(METHODS, torch.zeros(1))
    train = results.train or dict.fromkeys(METHODS, torch.zeros(1))
    names, frame = tuple(SHORT[method] for method in METHODS), error_frame(p)
    reach = round(frame / (2 if frame == 100 else 3))
    error = Axis(Text("错误率（%）", "error (%)"), low=0, high=frame)
    none, trained = float(shown["none"].mean()), float(train["none"].mean())
    gap = BarChart(
        Text("训练错误率与测试错误率", "Training error and test error"), names, error,
        (_bars(Text("训练", "training"), "baseline", train), _bars(Text("测试", "test"), "second", shown)),
        Text(f"不加正则：训练 {trained:.3g}%，测试 {none:.3g}%；两根柱子之差就是泛化差距。", f"Without regularisation: {trained:.3g} % in training, {none:.3g} % in the test; the difference of two bars is the gap."),
    )  # fmt: skip
    gains = {m: shown["none"] - shown[m] for m in METHODS[1:]}
    best = max(gains, key=lambda m: float(gains[m].mean()))
    gained = BarChart(
        Text("测试错误率降了多少", "What each method gains"), names[1:],
        Axis(Text("比不加正则低（百分点）", "below no regularisation (points)"), low=-reach, high=reach), (_bars(Text("改进", "gain"), "first", gains),),
        Text(f"改进最大的方法：{NAMES[best].zh}，{float(gains[best].mean()):.2g} 个百分点。", f"The largest gain is that of {NAMES[best].en}: {float(gains[best].mean()):.2g} points."),
    )  # fmt: skip
    lines = []
    for method, role in DRAWN.items():
        mean, low, high = (
            mean_and_band(torch.stack([past[method] for past in results.history], 1).tolist()) if results.history else ([], [], [])
        )
        lines.append(Line(SHORT[method], role, results.steps, mean, low, high))
    curves = LineChart(
        Text("训练过程中的测试错误率", "Test error while training"), Axis(Text("训练步数", "training steps"), low=0, high=p.steps), error, tuple(lines),
        Text(f"五种训练方式的测试错误率；不加正则的现在是 {none:.3g}%。", f"Test error of five ways to train; without regularisation it is now {none:.3g} %."),
    )  # fmt: skip
    return gap, gained, curves


def error_frame(p: Regularizers) -> float:
    """The error up to which the charts reach, fixed beforehand so that nothing jumps; nothing is computed from it."""
    return 100.0 if p.data or p.strength > 2 else 40.0 if p.samples < 60 else 25.0 if p.samples < 300 else 10.0


def _bars(name: Text, role: Role, values: dict[str, Tensor]) -> Bars:
    told = [mean_and_spread(v.tolist()) for v in values.values()]
    return Bars(name, role, [mean for mean, _ in told], [spread or 0.0 for _, spread in told])


# ---- run -------------------------------------------------------------------------------------------------------------


def run(p: Regularizers, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    results, pace = Results(), Pace()
    yield Snapshot(0, Text("就绪", "Ready"), charts(p, results))
    data = load_digits_or_own(p.data, device, generator=generator)
    samples = Samples(p, data, generator)
    begin = generator.get_state()
    stacks = []
    for methods in (PLAIN, ("batch-norm",), DROPPED):  # each stack draws the same initial weights
        generator.set_state(begin)
        stacks.append(Stack(p, methods, data, generator))
    kept = max(1, samples.count - max(1, round(VALIDATION * samples.count)))
    for step in range(1, p.steps + 1):
        drawn = torch.rand(p.seeds, BATCH, generator=generator).to(device)
        chosen, fewer = (drawn * samples.count).long(), (drawn * kept).long()
        x, y = take(samples, chosen)
        own = {"early": take(samples, fewer), "augment": (samples.augmented(x, chosen, generator), y)}
        factor = min(1.0, 2 * (1 - (step - 1) / p.steps))
        for stack in stacks:
            batches = [own.get(method, (x, y)) for method in stack.methods]
            stack.step(torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches]), factor)
        if step == 1 or step * CHECKPOINTS // p.steps > (step - 1) * CHECKPOINTS // p.steps:
            results.look(step, stacks, samples, data, kept)
        if pace.due(step / p.steps):
            networks = len(METHODS) * p.seeds
            status = Text(f"第 {step}/{p.steps} 步，{networks} 个网络一起", f"Step {step}/{p.steps}, {networks} networks at once")
            yield Snapshot(0.99 * step / p.steps, status, charts(p, results))
    figures, outcome = judge(p, results)
    yield Snapshot(1, Text("完成", "Done"), charts(p, results), figures, outcome)


def take(samples: Samples, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """The samples of numbers `chosen` (S, B): x (S, B, F), y (S, B)."""
    return samples.x.gather(1, chosen[..., None].expand(-1, -1, samples.x.shape[2])), samples.y.gather(1, chosen)


# ---- verdict ---------------------------------------------------------------------------------------------------------


def agreement(errors: dict[str, Sequence[float]]) -> list[float]:
    """For each seed, the share in percent of pairs of Table 9's four methods whose test errors come in the table's order; a tie counts half."""
    pairs = [(a, b) if TABLE_9[a] > TABLE_9[b] else (b, a) for a, b in combinations(TABLE_9, 2)]
    seeds = zip(
        *[
            [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(errors[worse], errors[better], strict=True)]
            for worse, better in pairs
        ],
        strict=True,
    )
    return [100 * sum(agreed) / len(pairs) for agreed in seeds]


def status_of_order(shares: Sequence[float]) -> Status:
    """Reproduced: surely five of six pairs are in the published order (the interval lies above 5/6). Same direction: surely two of three, where chance
    gives half. Otherwise not at this scale."""
    low = interval(shares)[1]
    return "reproduced" if low >= 500 / 6 else "same_direction" if low >= 200 / 3 else "not_at_this_scale"


def status_of_plenty(gains: Sequence[float]) -> Status:
    """Reproduced: the methods gain less than a point on average (whole interval). Same direction: less than two. Otherwise not at this scale."""
    high = interval(gains)[2]
    return "reproduced" if high < 1 else "same_direction" if high < 2 else "not_at_this_scale"


def status_of_strength(training: Sequence[float], test: Sequence[float]) -> Status:
    """How far dropout's errors lie above those without regularisation, in points. Reproduced: its training error by surely over 1, and its test error
    surely too. Same direction: its test error surely. Otherwise not at this scale."""
    worse = interval(test)[1] > 0
    return "reproduced" if worse and interval(training)[1] > 1 else "same_direction" if worse else "not_at_this_scale"


def judge(p: Regularizers, results: Results) -> tuple[tuple[Figure, ...], Outcome]:
    """`average` is the mean gain of the eight methods that see all samples: early stopping has a fifth fewer."""
    points = Text("个百分点", "points")
    shares = agreement({method: results.test[method].tolist() for method in TABLE_9})
    counted = [method for method in METHODS if method not in ("none", "early")]
    average = torch.stack([results.test["none"] - results.test[m] for m in counted]).mean(0).tolist()
    excess = [(part["dropout"] - part["none"]).tolist() for part in (results.train, results.test)]
    agreed = Figure(Text("与表 9 名次一致的方法对", "Pairs in Table 9's order"), *mean_and_spread(shares), "%")
    gained = Figure(Text("八种方法平均降低的测试错误率", "Mean gain of eight methods in test error"), *mean_and_spread(average), points)
    above = Figure(Text("训练错误率：Dropout − 不加正则", "Training error: dropout − none"), *mean_and_spread(excess[0]), points)
    told, status, published = {
        "order": (agreed, status_of_order(shares), PUBLISHED["order"]),
        "plenty": (gained, status_of_plenty(average), PUBLISHED["plenty"]),
        "strong": (above, status_of_strength(*excess), PUBLISHED["strong"]),
    }[p.task]
    figures = [told, *[figure for figure in (agreed, gained, above) if figure != told]]
    for kind, values in ((Text("测试错误率", "Test error"), results.test), (Text("训练错误率", "Training error"), results.train)):
        figures += [
            Figure(Text(f"{kind.zh}：{NAMES[m].zh}", f"{kind.en}: {NAMES[m].en}"), *mean_and_spread(values[m].tolist()), "%")
            for m in METHODS
        ]
    mean = mean_and_spread(average)[0]
    answer = "lower" if mean > 0.5 else "same" if mean >= -0.5 else "higher"
    explain = {"order": _explain_order, "plenty": _explain_plenty, "strong": _explain_strength}[p.task]
    return tuple(figures), Outcome(Verdict(status, told, published, SRIVASTAVA, explain(p, results, told)), answer)


PUBLISHED = {
    "order": Text(
        "测试错误率 L2 1.62% > 最大范数 1.35% > Dropout+L2 1.25% > Dropout+最大范数 1.05%（表 9，MNIST）：六对全部成立即 100%，随机排名约 50%",
        "test error: L2 1.62 % > max-norm 1.35 % > dropout + L2 1.25 % > dropout + max-norm 1.05 % (Table 9, MNIST); all six pairs in this order would be 100 %, chance 50 %",
    ),
    "plenty": Text(
        "数据增多时 Dropout 的收益先升后降：数据足够多，过拟合不再是问题（7.4 节，图 10）",
        "as data grow, dropout's gain rises and then declines: with enough of them overfitting is no longer a problem (Section 7.4, Fig. 10)",
    ),
    "strong": Text(
        "宽度固定、保留概率很小时，训练中只有很少的单元工作，连训练错误率都高，即欠拟合（7.3 节，图 9a）",
        "at a fixed width and a small keep probability very few units are on in training: it under-fits, and even the training error is high (Section 7.3, Fig. 9a)",
    ),
}  # fmt: skip


def _means(values: dict[str, Tensor]) -> dict[str, float]:
    return {method: float(errors.mean()) for method, errors in values.items()}


def _explain_order(p: Regularizers, results: Results, told: Figure) -> Text:
    test, train = _means(results.test), _means(results.train)
    ranked = sorted(TABLE_9, key=lambda m: -test[m])
    wide = max(test[m] for m in TABLE_9) - min(test[m] for m in TABLE_9)
    noise = mean_and_spread((results.test["dropout+max-norm"] - results.test["l2"]).tolist())[1] or 0.0
    best = max(METHODS[1:], key=lambda m: test["none"] - test[m])
    early = test["none"] - test["early"]
    zh, en = (" > ".join(f"{NAMES[m][language]} {test[m]:.3g}" for m in ranked) for language in ("zh", "en"))
    return Text(
        f"这里的名次是 {zh}（%）：六对里平均 {told.value:.3g}% 与表 9 一致。四种方法最多只差 {wide:.2g} 个百分点，两两之差的置信区间半宽约 {noise:.2g}{'。' if told.value >= 80 else '：样本少、网络小、强度没有逐一调优，排不出论文的名次。'}"
        f"论文用 6 万张图、1024-1024-2048 的网络，每种方法都在验证集上调过。不加正则时训练错误率 {train['none']:.2g}%、测试 {test['none']:.3g}%；改进最大的方法：{NAMES[best].zh}（{test['none'] - test[best]:.2g} 个百分点）。"
        f"早停{'只改进' if early > 0 else '反而差'} {abs(early):.2g} 个百分点：它要拿出五分之一的样本做验证。",
        f"Here the order is {en} (%): {told.value:.3g} % of the six pairs agree with Table 9. The four lie within {wide:.2g} points, and the interval of a difference is about ±{noise:.2g}"
        f"{'. ' if told.value >= 80 else ': with few samples, a small network and untuned strengths the order of the paper does not stand out. '}The paper has 60,000 images, a network of 1024-1024-2048 units, and every method tuned on "
        f"validation data. Without regularisation the training error is {train['none']:.2g} %, the test error {test['none']:.3g} %; the largest gain is that of {NAMES[best].en} ({test['none'] - test[best]:.2g} points). "
        f"Early stopping {'gains only' if early > 0 else 'loses'} {abs(early):.2g} points: it gives up a fifth of the samples for validation.",
    )  # fmt: skip


def _explain_plenty(p: Regularizers, results: Results, told: Figure) -> Text:
    test, train = _means(results.test), _means(results.train)
    best, worst = (pick(METHODS[1:], key=lambda m: test["none"] - test[m]) for pick in (max, min))
    little = told.value < 1
    return Text(
        f"不加正则，测试错误率是 {test['none']:.3g}%，训练 {train['none']:.2g}%：差距{'只' if little else ''}有 {test['none'] - train['none']:.2g} 个百分点"
        + ("，能改进的不多，八种方法平均改进 " if little else "，八种方法平均仍改进 ")
        + f"{told.value:.2g} 个百分点。最好的：{NAMES[best].zh}（{test['none'] - test[best]:+.2g}），最差的：{NAMES[worst].zh}（{test['none'] - test[worst]:+.2g}）。"
        + ("数据本身就是最好的正则化：换成“样本很少”看同样的方法。" if little else "数据还不算充足。"),
        f"Without regularisation the test error is {test['none']:.3g} %, the training error {train['none']:.2g} %: a gap of {'only ' if little else ''}{test['none'] - train['none']:.2g} points"
        + (", so there is little to gain: eight methods gain " if little else "; eight methods still gain ")
        + f"{told.value:.2g} points on average. The best is {NAMES[best].en} ({test['none'] - test[best]:+.2g}), the worst {NAMES[worst].en} ({test['none'] - test[worst]:+.2g}). "
        + ("Data are the best regulariser; see the same methods on few samples." if little else "Data are not yet plentiful."),
    )  # fmt: skip


def _explain_strength(p: Regularizers, results: Results, told: Figure) -> Text:
    test, train = _means(results.test), _means(results.train)
    under = [m for m in METHODS if m not in ("none", "early") and train[m] > train["none"] + 1 and test[m] > test["none"]]
    helped = [m for m in METHODS[1:] if test[m] < test["none"]]
    zh, en = (("、" if language == "zh" else ", ").join(NAMES[m][language] for m in under) for language in ("zh", "en"))
    zh_, en_ = (("、" if language == "zh" else ", ").join(NAMES[m][language] for m in helped) for language in ("zh", "en"))
    return Text(
        f"Dropout 只保留 {50.0 * 2 ** (1 - p.strength):.3g}% 的单元：训练错误率 {train['dropout']:.3g}%，测试 {test['dropout']:.3g}%；不加正则是 {train['none']:.2g}% 和 {test['none']:.3g}%。"
        + (f"训练和测试都变差（欠拟合）的有：{zh}。" if under else "没有哪种方法欠拟合。")
        + (f"测试仍比不加正则好的有：{zh_}。" if helped else "没有一种方法比不加正则更好。")
        + "差距变小不等于变好：要看测试错误率，训练错误率已经高时应减弱正则。",
        f"Dropout keeps {50.0 * 2 ** (1 - p.strength):.3g} % of the units: {train['dropout']:.3g} % training error, {test['dropout']:.3g} % test error, against {train['none']:.2g} % and {test['none']:.3g} % without. "
        + (f"Worse in both, which is under-fitting: {en}. " if under else "No method under-fits. ")
        + (f"Still better than none in the test: {en_}. " if helped else "No method beats none. ")
        + "A smaller gap is not a better network: look at the test error, and regularise less where the training error is high.",
    )  # fmt: skip


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Regularizers) -> Prediction:
    return Prediction(
        Text(
            f"{p.samples} 个训练样本，正则强度 {p.strength:g}。除早停外的八种方法，平均测试错误率与不加正则相比？",
            f"{p.samples} training samples, strength {p.strength:g}. The mean test error of the eight methods (without early stopping), compared with no regularisation, is…",
        ),
        {
            "lower": Text("低 0.5 个百分点以上", "over half a point lower"),
            "same": Text("相差不到 0.5 个百分点", "within half a point"),
            "higher": Text("高 0.5 个百分点以上", "over half a point higher"),
        },
    )


_CODE = """\
import torch

torch.set_num_threads(1)  # matrices as small as these gain nothing from more
SAMPLES, STRENGTH, WIDTH, STEPS, LR, SEEDS = {samples}, {strength:g}, {width}, {steps}, {lr:g}, 2
METHODS = ("none", "L1", "L2", "max-norm", "noise", "batch norm", "dropout", "dropout+L2", "dropout+max-norm", "early stopping")

{data}
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
test, rest = order[: len(x) // 3], order[len(x) // 3 :]

def error(net, rows):
    net.eval()
    with torch.no_grad():
        wrong = (net(x[rows]).argmax(1) != y[rows]).float().mean().item()
    net.train()
    return 100 * wrong

def fit(method, seed):
    torch.manual_seed(seed)
    train = rest[torch.randperm(len(rest))[:SAMPLES]]
    held = train[-max(1, len(train) // 5):]
    rows = train[: -len(held)] if method == "early stopping" else train
    layers = [torch.nn.Linear(x.shape[1], WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, classes)]
    if method == "batch norm":
        layers.insert(1, torch.nn.BatchNorm1d(WIDTH))
    if "dropout" in method:
        layers.insert(2, torch.nn.Dropout(1 - 0.5**STRENGTH))
    net = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=0.9)
    best = (float("inf"), 0.0, 0.0)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = LR * min(1, 2 * (1 - step / STEPS))
        batch = rows[torch.randint(len(rows), ({batch},))]
        noise = {noise} * STRENGTH * torch.randn({batch}, x.shape[1]) if method == "noise" else 0
        loss = torch.nn.functional.cross_entropy(net(x[batch] + noise), y[batch])
        for layer in (layers[0], layers[-1]):
            if "L2" in method:
                loss = loss + {l2} * STRENGTH**2 / 2 * layer.weight.square().sum()
            if method == "L1":
                loss = loss + {l1} * STRENGTH**2 * layer.weight.abs().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if "max-norm" in method:
            with torch.no_grad():
                w = layers[0].weight
                w.mul_(({radius} / max(STRENGTH, 1e-6) / w.norm(dim=1, keepdim=True)).clamp_max(1))
        if method == "early stopping" and step % 15 == 14:
            best = min(best, (torch.nn.functional.cross_entropy(net(x[held]), y[held]).item(), error(net, train), error(net, test)))
    return best[1:] if method == "early stopping" else (error(net, train), error(net, test))

print("error in %, mean of", SEEDS, "seeds: training, test")
for method in METHODS:
    runs = torch.tensor([fit(method, seed) for seed in range(SEEDS)])
    print(f"{{method:18}} {{runs[:, 0].mean():6.2f}} {{runs[:, 1].mean():6.2f}}")
"""


def code(p: Regularizers) -> str:
    fixed = {"data": digits_or_own(p.data), "l1": L1, "l2": L2, "radius": RADIUS, "noise": NOISE, "batch": BATCH}
    return _CODE.format(**p.values() | fixed)


DEMO = Demo(
    topic="regularization",
    title=Text("正则化：九种方法与泛化差距", "Nine ways to close the gap"),
    question=Text(
        "哪些正则化方法能减小泛化差距，什么时候没有用？", "Which regularisers close the gap to the test, and when do they not help?"
    ),
    look_for=Text(
        "先看每对柱子的差（训练与测试错误率之间的差距），再看“测试错误率降了多少”那张图：各方法比不加正则改进多少，误差线是否越过零。",
        "Look at each pair of bars: the difference is the gap between training and test. Then see what each method gains over none, and whether its error bar crosses zero.",
    ),
    scaled_down=Text(
        "论文用 6 万张 MNIST 和三层 1024–2048 个单元，每种方法各自调参；这里是 8×8 数字的少量样本、一个隐藏层，各方法用同一学习率和固定的强度。",
        "The paper uses 60,000 MNIST images, three layers of 1024 to 2048 units, and tunes each method; here there are a few 8×8 digits, one hidden layer, one learning rate and fixed strengths.",
    ),
    parameters=Regularizers,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=3,
)
