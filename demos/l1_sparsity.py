"""L1 and exact zeros (1.27): the same L1 penalty by plain SGD and by a proximal step, and what pruning gets without either.

Softmax regression is convex, so its exact minimum is known: there a weight is zero exactly where the loss's gradient is at most λ in size. How many zeros a
training method leaves can be held against that. One stack holds all methods, all λ and all seeds:

    w ← S(w − η(g + l2·w + l1·sign w), η·prox)        S(v, t) = sign(v)·max(|v| − t, 0), the soft threshold

SGD with L1 has l1 = λ; the proximal step (ISTA, or FOBOS on mini-batches) has prox = λ; L2 has l2 = λ. The bias is never penalised.
Shapes: S seeds, V variants (method and λ), C classes, F features and a constant 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Line, LineChart, Role, Rule
from demos.core.datasets import load_digits_or_own, shuffles
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import error_rate
from demos.core.statistics import interval, mean_and_band, mean_and_spread
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

SCALES = (0.1, 10**-0.5, 1.0, 10**0.5, 10.0)  # the λ that are trained at once, in units of the chosen one
CHOSEN = SCALES.index(1.0)
METHODS = ("l2", "sgd", "prox")  # V = without a penalty, then each method at each λ
EXACT_STEPS = 600  # of FISTA, for the exact minimum
CHECKPOINTS = 40  # looks at the test data
EDGES = (0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0)  # sizes that part the bars


@dataclass(frozen=True)
class Sparsity(Parameters):
    task: str = mode_choice(
        "zeros", {"zeros": Text("数零", "count zeros"), "prune": Text("剪枝", "pruning"), "noise": Text("小批量", "small batches")},
        label=Text("实验", "Experiment"), help=Text("比较什么。", "What is compared."),
    )  # fmt: skip
    lam: float = real(
        0.01, 0.003, 0.3, log=True, label=Text("L1 系数 λ", "L1 strength λ"),
        help=Text("惩罚 λ·Σ|w|；同时还训练它的 0.1–10 倍。", "The penalty is λ·Σ|w|; 0.1 to 10 times it are trained as well."),
    )  # fmt: skip
    batch: int = integer(
        50, 1, 500, label=Text("批量大小", "Batch size"),
        help=Text("不小于样本数时用全部样本，梯度没有噪声。", "From the number of samples on, all are used and the gradient has no noise."),
    )  # fmt: skip
    steps: int = integer(600, 50, 1500, step=50, label=Text("训练步数", "Training steps"), help=Text("SGD 的步数。", "Steps of SGD."))
    rate: float = real(
        1.0, 0.05, 3, step=0.05, label=Text("学习率 η（以 1/L 为单位）", "Learning rate η (in units of 1/L)"),
        help=Text("L 是损失的最大曲率，数字集上 1/L ≈ 0.2。", "L is the loss's largest curvature; on the digits 1/L ≈ 0.2."),
    )  # fmt: skip
    samples: int = integer(
        300, 30, 1297, advanced=True, label=Text("训练样本数", "Training samples"),
        help=Text("每个种子各抽这么多。", "Drawn anew for each seed."),
    )  # fmt: skip
    seeds: int = integer(
        6, 5, 8, advanced=True, label=Text("种子数", "Seeds"),
        help=Text("初始权重、训练样本和批次各不相同。", "Each with its own weights, training samples and batches."),
    )  # fmt: skip
    data: str = own_data("classes")


PRESETS = {
    "zeros": Preset(
        Text("数一数零", "Count the zeros"),
        Text("同样的 L1 惩罚，SGD 和近端梯度各留下多少个精确的零？", "The same L1 penalty: how many exact zeros do SGD and the proximal step leave?"),
        {"task": "zeros"},
        "textbook",
    ),
    "prune": Preset(
        Text("不用 L1，直接剪枝", "Pruning instead"),
        Text("不加惩罚训练，再剪到同样多的零：还需要 L1 吗？", "Train without a penalty, prune to as many zeros: is L1 needed at all?"),
        {"task": "prune"},
        "limits",
        look_for=Text(
            "看准确率那张图：零一样多时，“无惩罚，剪枝”在“L1，近端梯度”的上面还是下面？再看零的占比越来越大时，几条曲线的差距怎样变。",
            "Look at the accuracy: with as many zeros, is “no penalty, pruned” above or below “L1 by prox”? Then see how the gap between the curves changes as more and more weights are 0.",
        ),
    ),
    "noise": Preset(
        Text("批量只有 2", "Batches of two"),
        Text("梯度噪声比 λ 大得多，近端梯度还守得住零吗？", "The gradient's noise is far larger than λ: does the proximal step hold its zeros?"),
        {"task": "noise", "batch": 2},
        "limits",
    ),
}  # fmt: skip

NIKOLOVSKI = Source("Gradient Descent Methods for Regularized Optimization", "Filip Nikolovski, Irena Stojkovska, Katerina Hadzi-Velkova Saneva, Zoran Hadzi-Velkov", 2024, "https://arxiv.org/abs/2412.20115")  # fmt: skip
GALE = Source("The State of Sparsity in Deep Neural Networks", "Trevor Gale, Erich Elsen, Sara Hooker", 2019, "https://arxiv.org/abs/1902.09574")  # fmt: skip
DHINGRA = Source("Learning Large Scale Sparse Models", "Atul Dhingra, Jie Shen, Nicholas Kleene", 2023, "https://arxiv.org/abs/2301.10958")

LOOKS: dict[str, tuple[Text, Role]] = {
    "exact": (Text("最优解", "exact minimum"), "theory"), "free": (Text("无惩罚", "no penalty"), "third"), "l2": (same("L2"), "baseline"),
    "sgd": (Text("L1，SGD", "L1 by SGD"), "first"), "prox": (Text("L1，近端梯度", "L1 by prox"), "second"),
}  # fmt: skip
PERCENT = Text("精确为 0 的权重（%）", "weights exactly 0 (%)")
CORRECT = Axis(Text("测试准确率（%）", "test accuracy (%)"), low=0, high=100)


# ---- softmax regression, stacked -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """Training data of each seed, x (S, N, F) with a last column of 1 and y (S, N), common test data, the curvature L (S,) and the number of classes."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    curvature: Tensor
    classes: int


def load(p: Sparsity, device: torch.device, generator: torch.Generator) -> Problem:
    data = load_digits_or_own(p.data, device, generator=generator)
    train, test = (torch.cat([x, torch.ones_like(x[:, :1])], 1) for x in (data.train_x, data.test_x))
    drawn = shuffles(len(train), p.seeds, generator, p.samples).to(device)
    x, y = train[drawn], data.train_y[drawn]
    # The cross-entropy's second derivative by the logits is at most ½, so by the weights it is at most ½ λmax(XᵀX/N).
    curvature = torch.linalg.eigvalsh((x.transpose(1, 2) @ x / x.shape[1]).cpu().double())[:, -1].float().to(device) / 2
    return Problem(x, y, test, data.test_y, curvature, data.classes)


def slope(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The gradient (S, V, C, F) of the mean cross-entropy at w (S, V, C, F) over the samples x (S, B, F), y (S, B)."""
    s, v, c, f = w.shape
    p = torch.bmm(w.reshape(s, v * c, f), x.transpose(1, 2)).view(s, v, c, -1).softmax(2)
    p.scatter_add_(2, y[:, None, None].expand(s, v, 1, -1), p.new_full((1, 1, 1, 1), -1.0).expand(s, v, 1, y.shape[1]))
    return torch.bmm(p.view(s, v * c, -1), x).view_as(w) / x.shape[1]


def draw(p: Sparsity, problem: Problem, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch for each seed, x (S, B, F) and y (S, B), drawn with replacement; all samples if there are no more than that."""
    count, features = problem.x.shape[1:]
    if p.batch >= count:
        return problem.x, problem.y
    drawn = torch.randint(count, (p.seeds, p.batch), generator=generator).to(problem.x.device)
    return problem.x.gather(1, drawn[..., None].expand(-1, -1, features)), problem.y.gather(1, drawn)


def gradient_noise(p: Sparsity, w: Tensor, problem: Problem, generator: torch.Generator) -> float:
    """The standard deviation of a batch's gradient about the full one, over 20 fresh batches and all weights."""
    full = slope(w, problem.x, problem.y)
    apart = [(slope(w, *draw(p, problem, generator)) - full)[..., :-1].square().mean() for _ in range(20)]
    return float(torch.stack(apart).mean().sqrt())


def soft_threshold(v: Tensor, t: Tensor) -> Tensor:
    """The minimiser of ½(w − v)² + t|w|, element by element."""
    return v.sign() * (v.abs() - t).clamp_min(0)


class Penalties:
    """l1, l2 and prox of every variant, each (V, 1, F) with 0 for the bias."""

    def __init__(self, p: Sparsity, features: int, device: torch.device) -> None:
        lam, off = [p.lam * scale for scale in SCALES], [0.0] * len(SCALES)
        weights = torch.ones(features, device=device)
        weights[-1] = 0.0
        rows = [[0.0, *lam, *off, *off], [0.0, *off, *lam, *off], [0.0, *off, *off, *lam]]
        self.l2, self.l1, self.prox = torch.tensor(rows, device=device)[:, :, None, None] * weights
        self.exact = torch.tensor(lam, device=device)[:, None, None] * weights

    def step(self, w: Tensor, gradient: Tensor, rate: Tensor) -> Tensor:
        """One step of every variant; rate (S, 1, 1, 1)."""
        return soft_threshold(w - rate * (gradient + self.l2 * w + self.l1 * w.sign()), rate * self.prox)


class ExactMinimum:
    """The minimum of loss + λ·Σ|w| at each λ, by FISTA (Beck & Teboulle 2009) on all samples, restarted whenever its momentum points uphill."""

    def __init__(self, problem: Problem, penalties: Penalties) -> None:
        self._problem, self._lam, self._rate = problem, penalties.exact, 1 / problem.curvature[:, None, None, None]
        self.w = problem.x.new_zeros(len(problem.x), len(SCALES), problem.classes, problem.x.shape[2])
        self._ahead, self._t = self.w, 1.0

    def advance(self) -> None:
        moved = soft_threshold(self._ahead - self._rate * slope(self._ahead, self._problem.x, self._problem.y), self._rate * self._lam)
        t = (1 + math.sqrt(1 + 4 * self._t**2)) / 2
        uphill = ((self._ahead - moved) * (moved - self.w)).sum((2, 3), keepdim=True) > 0
        self._ahead = moved.where(uphill, moved + (self._t - 1) / t * (moved - self.w))
        self.w, self._t = moved, t


def zeros(w: Tensor) -> Tensor:
    """The share (S, V), in percent, of weights that are exactly 0; the bias does not count."""
    return 100 * (w[..., :-1] == 0).float().mean((2, 3))


def pruned(w: Tensor, shares: Tensor) -> Tensor:
    """w (S, V, C, F) with its smallest weights set to 0, `shares` (S, V) percent of them; the bias stays."""
    sizes = w[..., :-1].abs().flatten(2)
    ranks = sizes.argsort(2).argsort(2)
    kept = (ranks >= (shares[..., None] / 100 * sizes.shape[2]).round()).view_as(w[..., :-1])
    return torch.cat([w[..., :-1] * kept, w[..., -1:]], 3)


def accuracy(w: Tensor, problem: Problem) -> Tensor:
    """Test accuracy (S, V) in percent."""
    s, v = w.shape[:2]
    return 100 * (1 - error_rate((problem.test_x @ w.transpose(2, 3)).flatten(0, 1), problem.test_y)).view(s, v)


def sizes(w: Tensor) -> Tensor:
    """The shares (S, 7), in percent, of weights (S, C, F) that are 0, below 1e-4, … , above 1."""
    size = w[..., :-1].abs().flatten(1)
    bins = torch.bucketize(size, torch.tensor(EDGES, device=w.device))  # bin i: EDGES[i − 1] < size ≤ EDGES[i]
    return 100 * torch.stack([(bins == i).float().mean(1) for i in range(len(EDGES) + 1)], 1)


# ---- what a frame shows ----------------------------------------------------------------------------------------------


@dataclass
class State:
    """Measured so far, in percent, on the CPU: method → (S, λ); `pruned` is the accuracy when pruned to as many zeros as the proximal step has."""

    zeros: dict[str, Tensor]
    accuracy: dict[str, Tensor]
    pruned: dict[str, Tensor]
    bars: dict[str, Tensor]  # method → (S, 7) at the chosen λ


def part(w: Tensor, method: str) -> Tensor:
    """The variants of one method, (S, λ, …), of w (S, V, …)."""
    if method == "free":
        return w[:, :1].expand(-1, len(SCALES), *w.shape[2:])
    first = 1 + METHODS.index(method) * len(SCALES)
    return w[:, first : first + len(SCALES)]


def bars(w: Tensor) -> dict[str, Tensor]:
    return {method: sizes(part(w, method)[:, CHOSEN]).cpu() for method in METHODS}


def look(w: Tensor, exact: Tensor, problem: Problem) -> State:
    shares, scores = zeros(w), accuracy(w, problem)
    return State(
        {method: part(shares, method).cpu() for method in METHODS} | {"exact": zeros(exact).cpu()},
        {method: part(scores, method).cpu() for method in ("free", *METHODS)} | {"exact": accuracy(exact, problem).cpu()},
        {method: accuracy(pruned(part(w, method), part(shares, "prox")), problem).cpu() for method in ("free", "sgd")},
        bars(w),
    )


def charts(p: Sparsity, state: State) -> tuple[Chart, ...]:
    lam = [p.lam * scale for scale in SCALES]
    x = Axis(Text("λ（对数）", "λ (log)"), log=True, low=lam[0], high=lam[-1])
    here = (Rule(Text("所选 λ", "chosen λ"), p.lam),)
    share = {method: _mean(state.zeros, method) for method in state.zeros}
    heights = {method: [mean_and_spread(column) for column in rows.T.tolist()] for method, rows in state.bars.items()}
    histogram = BarChart(
        Text(f"权重大小的分布，λ = {p.lam:g}", f"Size of the weights at λ = {p.lam:g}"),
        tuple(map(same, ("= 0", "< 10⁻⁴", "10⁻⁴–10⁻³", "10⁻³–0.01", "0.01–0.1", "0.1–1", "> 1"))),
        Axis(Text("权重占比（%）", "share of the weights (%)"), low=0, high=100),
        tuple(Bars(*LOOKS[method], [mean for mean, _ in row], [spread or 0.0 for _, spread in row]) for method, row in heights.items()),
        _said(
            f"精确为 0 的：SGD {share['sgd']:.2g}%，近端梯度 {share['prox']:.3g}%，L2 {share['l2']:.2g}%。",
            f"Exactly 0: {share['sgd']:.2g} % by SGD, {share['prox']:.3g} % by the proximal step, {share['l2']:.2g} % with L2.",
        ),
    )
    counted = LineChart(
        Text("精确为零的权重", "Weights that are exactly zero"), x, Axis(PERCENT, low=0, high=100),
        tuple(_line(method, lam, state.zeros[method]) for method in ("exact", *METHODS)),
        _said(f"零的占比随 λ 变化；λ = {p.lam:g} 时最优解有 {share['exact']:.3g}%。", f"Share of zeros against λ; at λ = {p.lam:g} the exact minimum has {share['exact']:.3g} %."),
        here,
    )  # fmt: skip
    if p.task == "prune":
        return _trade_off(state), counted, histogram
    free = _mean(state.accuracy, "free")
    scored = LineChart(
        Text("测试准确率", "Test accuracy"), x, CORRECT, tuple(_line(method, lam, state.accuracy[method]) for method in ("exact", *METHODS)),
        _said(f"准确率随 λ 变化；不加惩罚时 {free:.3g}%。", f"Accuracy against λ; without a penalty it is {free:.3g} %."), here,
    )  # fmt: skip
    return histogram, counted, scored


def _line(method: str, x: Sequence[float], y: Tensor, name: Text | None = None) -> Line:
    """Mean and band over seeds of y (S, len(x)); empty before there are any."""
    label, role = LOOKS[method]
    mean, low, high = mean_and_band(y.tolist())
    return Line(name or label, role, x[: len(mean)], mean, low, high, style="line" if role == "theory" else "dots+line")


def _mean(values: dict[str, Tensor], method: str) -> float:
    """The mean over seeds at the chosen λ."""
    return float(values[method][:, CHOSEN].mean())


def _said(zh: str, en: str) -> Text:
    """A text with a dash for what is not known yet."""
    return Text(zh.replace("nan", "–"), en.replace("nan", "–"))


def _trade_off(state: State) -> LineChart:
    """Accuracy at the same number of zeros: the proximal step at each λ, and the others pruned to as many."""
    x = state.zeros["prox"].mean(0).tolist()
    lines = (
        _line("prox", x, state.accuracy["prox"]),
        _line("sgd", x, state.pruned["sgd"], Text("SGD，剪枝", "SGD, pruned")),
        _line("free", x, state.pruned["free"], Text("无惩罚，剪枝", "no penalty, pruned")),
    )
    gap = _mean(state.pruned, "free") - _mean(state.accuracy, "prox")
    return LineChart(
        Text("同样多的零，谁更准？", "Accuracy at the same number of zeros"), Axis(PERCENT, low=0, high=100), replace(CORRECT, low=40), lines,
        _said(f"零一样多时，不加惩罚再剪枝的准确率减去近端梯度的，是 {gap:+.2g} 个百分点（所选 λ 处）。", f"With as many zeros, the accuracy of no penalty and pruning minus that of the proximal step is {gap:+.2g} points (at the chosen λ)."),
    )  # fmt: skip


def run(p: Sparsity, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    blank = dict.fromkeys(LOOKS, torch.empty(0, len(SCALES)))
    yield Snapshot(0, Text("就绪", "Ready"), charts(p, State(blank, blank, blank, dict.fromkeys(METHODS, torch.zeros(1, len(EDGES) + 1)))))
    problem = load(p, device, generator)
    rate, penalties = (p.rate / problem.curvature)[:, None, None, None], Penalties(p, problem.x.shape[2], device)
    start = 0.1 * torch.randn(p.seeds, 1, problem.classes, problem.x.shape[2], generator=generator)
    w = start.to(device).expand(-1, len(penalties.l1), -1, -1).contiguous()
    exact = ExactMinimum(problem, penalties)
    pace, state, done = Pace(), look(w, exact.w, problem), 0
    networks = p.seeds * len(penalties.l1)
    for step in range(1, p.steps + 1):
        w = penalties.step(w, slope(w, *draw(p, problem, generator)), rate)
        status = Text(f"第 {step}/{p.steps} 步，{networks} 个分类器一起", f"Step {step}/{p.steps}, {networks} classifiers at once")
        while done < EXACT_STEPS * step // p.steps:
            exact.advance()
            done += 1
            if pace.due():
                yield Snapshot(0.99 * step / p.steps, status, charts(p, state))
        checkpoint = step * CHECKPOINTS // p.steps > (step - 1) * CHECKPOINTS // p.steps
        if checkpoint:
            state = look(w, exact.w, problem)
        if checkpoint or pace.due():
            state.bars = bars(w)
            yield Snapshot(0.99 * step / p.steps, status, charts(p, state))
    noise = gradient_noise(p, part(w, "prox")[:, CHOSEN : CHOSEN + 1], problem, generator)
    figures, outcome = judge(p, state, float(rate.mean()) * p.lam, noise)
    yield Snapshot(1, Text("完成", "Done"), charts(p, state), figures, outcome)


# ---- verdict ---------------------------------------------------------------------------------------------------------


def judge(p: Sparsity, state: State, move: float, noise: float) -> tuple[tuple[Figure, ...], Outcome]:
    """The verdict at the chosen λ. `move` is ηλ, `noise` the standard deviation of a batch's gradient."""
    share, score, cut = ({m: v[:, CHOSEN].tolist() for m, v in values.items()} for values in (state.zeros, state.accuracy, state.pruned))
    lead = [a - b for a, b in zip(cut["free"], score["prox"], strict=True)]
    kept = [100 * a / b if b else 100.0 for a, b in zip(share["prox"], share["exact"], strict=True)]
    told = {
        "zeros": Figure(Text("精确的零：L1，近端梯度", "Exact zeros: L1 by prox"), *mean_and_spread(share["prox"]), "%"),
        "prune": Figure(Text("准确率：无惩罚再剪枝 − 近端梯度", "Accuracy: no penalty, pruned − prox"), *mean_and_spread(lead), Text("个百分点", "points")),
        "noise": Figure(Text("近端梯度守住的零（最优解的零 = 100）", "Zeros that prox keeps (exact minimum = 100)"), *mean_and_spread(kept), "%"),
    }[p.task]  # fmt: skip
    kinds = (
        Text("精确的零", "Exact zeros"),
        Text("准确率", "Accuracy"),
        Text("剪到同样多的零，准确率", "Accuracy, pruned to as many zeros"),
    )
    figures = [
        Figure(Text(f"{kind.zh}：{LOOKS[m][0].zh}", f"{kind.en}: {LOOKS[m][0].en}"), *mean_and_spread(v), "%")
        for kind, values in zip(kinds, (share, score, cut), strict=True)
        for m, v in values.items()
    ]
    figures = [told, *[figure for figure in figures if figure != told]]
    mean = {m: mean_and_spread(values)[0] for m, values in share.items()}
    if p.task == "zeros":
        status, explanation = status_of_zeros(share), _explain_zeros(p, mean, state, move, noise)
    elif p.task == "prune":
        status, explanation = status_of_pruning(lead), _explain_pruning(lead, mean["prox"], state)
    else:
        status, explanation = status_of_noise(kept), _explain_noise(p, mean_and_spread(kept)[0], mean, noise)
    return tuple(figures), Outcome(Verdict(status, told, *PUBLISHED[p.task], explanation), answer_of(p.task, mean, lead, kept))


def status_of_zeros(share: dict[str, list[float]]) -> Status:
    """Reproduced: over the whole intervals SGD leaves at most 1 % of zeros, the proximal step at least 10 % and half as many as the exact minimum has.
    Same direction: the proximal step's interval lies over a point above SGD's. Otherwise not at this scale."""
    least, most = interval(share["prox"])[1], interval(share["sgd"])[2]
    if most <= 1 and least >= max(10, interval(share["exact"])[0] / 2):
        return "reproduced"
    return "same_direction" if least > most + 1 else "not_at_this_scale"


def status_of_pruning(lead: list[float]) -> Status:
    """Reproduced: pruned without a penalty is at most a point worse (whole interval). Same direction: at most a point worse on average."""
    mean, low, _ = interval(lead)
    return "reproduced" if low >= -1 else "same_direction" if mean >= -1 else "not_at_this_scale"


def status_of_noise(kept: list[float]) -> Status:
    """Reproduced: at most three quarters of the zeros are kept (whole interval). Same direction: surely not all of them."""
    high = interval(kept)[2]
    return "reproduced" if high <= 75 else "same_direction" if high < 100 else "not_at_this_scale"


def answer_of(task: str, share: dict[str, float], lead: list[float], kept: list[float]) -> str:
    if task == "zeros":
        return ["neither", "sgd", "prox", "both"][(share["sgd"] >= 10) + 2 * (share["prox"] >= 10)]
    mean = mean_and_spread(lead if task == "prune" else kept)[0]
    if task == "prune":
        return "lost" if mean < -10 else "worse" if mean < -1 else "fine"
    return "most" if mean > 90 else "some" if mean > 60 else "few"


PUBLISHED = {
    "zeros": (
        Text("梯度下降遇到零点处不可导的惩罚会来回振荡；近端梯度用软阈值把迭代压到零，得到稀疏解（摘要，定性结论）", "gradient descent oscillates, as the penalty has no derivative at 0; the soft threshold of proximal gradient descent enables sparse solutions (abstract, qualitative)"),
        NIKOLOVSKI,
    ),
    "prune": (
        Text("简单的按幅值剪枝，效果与复杂的稀疏化方法相当甚至更好（ResNet-50、Transformer；摘要）", "simple magnitude pruning is comparable to complex techniques for sparsity, or better (ResNet-50, Transformer; abstract)"),
        GALE,
    ),
    "noise": (
        Text("参数相同，批量方法得到的稀疏性，换成逐样本的在线学习就保不住（摘要，定性结论）", "with the same parameter, the sparsity of batch methods is not preserved when samples come one by one (abstract, qualitative)"),
        DHINGRA,
    ),
}  # fmt: skip


def _explain_zeros(p: Sparsity, share: dict[str, float], state: State, move: float, noise: float) -> Text:
    sgd, prox, free = (_mean(state.accuracy, m) for m in ("sgd", "prox", "free"))
    found = Text(
        f"用 SGD 时，惩罚每步都把权重往零推固定的一截 ηλ ≈ {move:.2g}，到了零附近就来回跨越，精确的零只有 {share['sgd']:.2g}%；L2 越靠近零推得越轻，精确的零是 {share['l2']:.2g}%。近端梯度的软阈值把落进 ±ηλ 的权重直接置零，得到 {share['prox']:.3g}%。"
        f"准确率：SGD {sgd:.3g}%，近端梯度 {prox:.3g}%，不加惩罚 {free:.3g}%；两种 L1 的目标函数相同，只是在零点处理得不同。",
        f"In SGD the penalty moves each weight by a fixed ηλ ≈ {move:.2g} a step, so near 0 it jumps across and back: {share['sgd']:.2g} % are exactly 0. L2 pushes ever less near 0: {share['l2']:.2g} %. "
        f"The soft threshold sets to 0 whatever falls within ±ηλ: {share['prox']:.3g} %. Accuracy: {sgd:.3g} % by SGD, {prox:.3g} % by prox, {free:.3g} % without a penalty; both L1 methods have the same "
        "objective and differ only at 0. ",
    )  # fmt: skip
    note = Text("", "")
    if share["exact"] < 10:
        note = Text(f"λ 太小：连最优解也只有 {share['exact']:.2g}% 的零。", f"λ is too small: even the exact minimum has only {share['exact']:.2g} % zeros.")  # fmt: skip
    elif share["prox"] < share["exact"] - 3 and noise > p.lam:
        note = Text(
            f"最优解有 {share['exact']:.3g}% 的零：小批量梯度的噪声（标准差 {noise:.2g}）大于 λ，不断把一些权重从零上推开。",
            f"The exact minimum has {share['exact']:.3g} %: the noise of a batch's gradient (standard deviation {noise:.2g}) exceeds λ and keeps pushing some weights off 0.",
        )  # fmt: skip
    elif share["prox"] < share["exact"] - 3:
        note = Text(f"最优解有 {share['exact']:.3g}% 的零：近端梯度还没收敛。", f"The exact minimum has {share['exact']:.3g} %: the proximal step has not converged yet.")  # fmt: skip
    return found + note


def _explain_pruning(lead: list[float], zeros: float, state: State) -> Text:
    mean, low, high = interval(lead)
    sgd, free, prox = _mean(state.pruned, "sgd"), _mean(state.pruned, "free"), _mean(state.accuracy, "prox")
    found = Text(
        f"近端梯度有 {zeros:.3g}% 的零，准确率 {prox:.3g}%。把 L1-SGD 的权重按大小剪到同样多的零，准确率是 {sgd:.3g}%；完全不加惩罚，训练完直接剪，是 {free:.3g}%（与近端梯度之差的 95% 区间 {low:+.2g} … {high:+.2g} 个百分点）。",
        f"The proximal step leaves {zeros:.3g} % zeros and has an accuracy of {prox:.3g} %. SGD's L1 weights, pruned by size to as many zeros, get {sgd:.3g} %; no penalty at all, pruned after training, {free:.3g} % "
        f"(95 % interval of the difference: {low:+.2g} … {high:+.2g} points). ",
    )  # fmt: skip
    most, last = float(state.zeros["prox"][:, -1].mean()), float((state.pruned["free"] - state.accuracy["prox"])[:, -1].mean())
    why = Text(
        f"零不必在训练中得到：L1 把留下的权重也往零拉（有偏），剪枝没有这个代价。λ 再大 10 倍时，零占 {most:.3g}%，差距是 {last:+.2g} 个百分点。这里剪完没有微调。",
        f"Zeros need not come from training: L1 also shrinks the weights that stay (a bias), a price that pruning does not pay. At ten times the λ there are {most:.3g} % zeros and the difference is "
        f"{last:+.2g} points. Nothing is fine-tuned here.",
    )  # fmt: skip
    if mean < -1:
        why = Text(
            "剪掉的权重合起来已不可忽略，又没有微调；用 L1 时，留下的权重在训练中就已经适应。",
            "What is pruned away adds up, and nothing is fine-tuned; under L1 the weights that stay have adapted in training.",
        )
    return found + why


def _explain_noise(p: Sparsity, kept: float, share: dict[str, float], noise: float) -> Text:
    found = Text(
        f"最优解有 {share['exact']:.3g}% 的零，批量 {p.batch} 的近端梯度有 {share['prox']:.3g}%，相当于它的 {kept:.3g}%；SGD 仍是 {share['sgd']:.2g}%。",
        f"The exact minimum has {share['exact']:.3g} % zeros, the proximal step with batches of {p.batch} has {share['prox']:.3g} %, which is {kept:.3g} % of that; SGD still has {share['sgd']:.2g} %. ",
    )  # fmt: skip
    why = Text(
        f"批量够大：梯度噪声的标准差 {noise:.2g} 不超过 λ = {p.lam:g}，零就留得住；还差的那些只是没收敛。",
        f"The batch is large enough: the gradient's noise, {noise:.2g}, does not exceed λ = {p.lam:g}, so zeros stay; those still missing have not converged yet.",
    )
    if noise > p.lam:
        why = Text(
            f"权重要停在零上，每一步的梯度都得不超过 λ = {p.lam:g}；小批量梯度的噪声标准差是 {noise:.2g}，是 λ 的 {noise / p.lam:.2g} 倍，总会把一些权重推开。对策是增大批量，或像 RDA、FTRL 那样对平均梯度取阈值。",
            f"To rest at 0 a weight needs every step's gradient to be within λ = {p.lam:g}; the noise of a batch's gradient has a standard deviation of {noise:.2g}, {noise / p.lam:.2g} times λ, and keeps pushing some off. "
            "Remedies: larger batches, or a threshold on the average gradient, as in RDA and FTRL.",
        )  # fmt: skip
    return found + why


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Sparsity) -> Prediction:
    if p.task == "prune":
        return Prediction(
            Text(f"近端梯度用 λ = {p.lam:g} 训练；另一个不加惩罚，训练后剪到同样多的零、不微调。后者的测试准确率会怎样？", f"One trains by the proximal step at λ = {p.lam:g}, one without a penalty and is then pruned to as many zeros, with no fine-tuning. The second one's test accuracy is…"),
            {"fine": Text("不低，或只低不到 1 个百分点", "no lower, or by less than a point"), "worse": Text("低 1–10 个百分点", "1 to 10 points lower"), "lost": Text("低 10 个百分点以上", "over 10 points lower")},
        )  # fmt: skip
    if p.task == "noise":
        return Prediction(
            Text(f"λ = {p.lam:g}，批量大小是 {p.batch}。最优解里的零，近端梯度能守住多少？", f"λ = {p.lam:g} and batches of {p.batch}. Compared with the exact minimum, how many zeros does the proximal step have?"),
            {"most": Text("90% 以上", "over 90 %"), "some": Text("60%–90%", "60 to 90 %"), "few": Text("不到 60%", "under 60 %")},
        )  # fmt: skip
    return Prediction(
        Text(f"同样的 L1 惩罚，λ = {p.lam:g}，批量 {p.batch}。谁会让 10% 以上的权重精确等于 0？", f"The same L1 penalty with λ = {p.lam:g}, batches of {p.batch}. Which makes over 10 % of the weights exactly 0?"),
        {"prox": Text("只有近端梯度", "only the proximal step"), "both": Text("两者都会", "both"), "sgd": Text("只有 SGD", "only SGD"), "neither": Text("都不会", "neither")},
    )  # fmt: skip


_CODE = """\
import torch

torch.set_num_threads(1)  # matrices as small as these gain nothing from more
torch.manual_seed(0)
LAMBDA, BATCH, STEPS, RATE, SAMPLES = {lam:g}, {batch}, {steps}, {rate:g}, {samples}

{data}
order = torch.randperm(len(x))
test, train = order[: len(x) // 3], order[len(x) // 3 :][:SAMPLES]
bordered = torch.cat([x[train], torch.ones(len(train), 1)], 1)
lr = RATE * 2 / torch.linalg.eigvalsh(bordered.T @ bordered / len(train))[-1]  # RATE / L

def fit(method):
    torch.manual_seed(1)
    net = torch.nn.Linear(x.shape[1], classes)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr.item())
    for step in range(STEPS):
        batch = train if BATCH >= len(train) else train[torch.randint(len(train), (BATCH,))]
        loss = torch.nn.functional.cross_entropy(net(x[batch]), y[batch])
        if method == "L1 by SGD":
            loss = loss + LAMBDA * net.weight.abs().sum()
        if method == "L2 by SGD":
            loss = loss + LAMBDA / 2 * net.weight.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if method == "L1 by a proximal step":
            with torch.no_grad():
                w = net.weight
                w.copy_(w.sign() * (w.abs() - lr * LAMBDA).clamp_min(0))
    return net

@torch.no_grad()
def report(name, net):
    accuracy = (net(x[test]).argmax(1) == y[test]).float().mean().item()
    zeros = (net.weight == 0).float().mean().item()
    print(f"{{name:24}} exact zeros {{zeros:6.1%}}   test accuracy {{accuracy:6.1%}}")
    return zeros

for method in ("no penalty", "L2 by SGD", "L1 by SGD", "L1 by a proximal step"):
    zeros = report(method, fit(method))
pruned = fit("no penalty")
with torch.no_grad():
    smallest = pruned.weight.abs().flatten().argsort()[: round(zeros * pruned.weight.numel())]
    pruned.weight.view(-1)[smallest] = 0
report("no penalty, then pruned", pruned)
"""


def code(p: Sparsity) -> str:
    return _CODE.format(**p.values() | {"data": digits_or_own(p.data)})


DEMO = Demo(
    topic="regularization",
    title=Text("L1 与真正的零", "L1 and exact zeros"),
    question=Text("想得到稀疏的权重，一定要用 L1 吗？", "Is L1 needed to obtain sparse weights?"),
    look_for=Text(
        "先看最左边那组柱子：谁的权重恰好等于 0，谁的只是很小；再看零的占比离最优解（虚线）有多远，准确率又为此付出了多少。",
        "Look at the leftmost bars: whose weights are exactly 0, and whose are merely small. Then see how far the zeros are from the dashed line of the exact minimum, and what they cost in accuracy.",
    ),
    scaled_down=Text(
        "用 8×8 数字上的 softmax 回归代替深度网络：它是凸问题，最优解里有多少零可以算出来；深度网络没有这个保证，剪枝之后通常还要微调。",
        "Softmax regression on 8×8 digits stands in for a deep network: it is convex, so the zeros of the exact minimum can be computed. Deep networks give no such guarantee, and are usually fine-tuned after pruning.",
    ),
    parameters=Sparsity,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=2,
)
