"""Dropout (1.10, 1.111): why it helps, how many thinned networks one eval() pass is worth, and where it stops helping.

A network trained with dropout is 2^units networks that share their weights. Three experiments look at that from three sides:
`ensemble` averages k thinned networks and asks when they are as good as one eval() pass, `train-test` leaves dropout on while testing,
`data` compares networks with and without dropout while the training digits grow.

Seeds are networks stacked in one (demos/core/stacked.py); each seed has its own training digits, and all share the 500 test digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demos.core.charts import Axis, Line, LineChart, Role
from demos.core.datasets import Dataset, load_digits_or_own, shuffles
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import SGD, StackedMLP
from demos.core.statistics import mean_and_band, mean_and_spread
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

MEMBERS = 5  # independently trained networks in an ensemble, as in Lakshminarayanan et al. (2017)
ORDERS = 20  # shuffles of the drawn thinned networks; averages over the first k of each show what k networks do on average
BATCH = 50
CHECKPOINTS = 20  # looks at the test digits while training


@dataclass(frozen=True)
class Dropout(Parameters):
    task: str = mode_choice(
        "ensemble",
        {
            "ensemble": Text("平均多个子网络", "average thinned networks"),
            "train-test": Text("测试时开着 Dropout", "dropout left on at test time"),
            "data": Text("换训练样本数", "vary the training samples"),
        },
        label=Text("实验", "Experiment"),
        help=Text("从哪个角度看 Dropout。", "Which side of dropout is looked at."),
    )
    p: float = real(
        0.5, 0, 0.95, step=0.05, label=Text("丢弃概率 p", "Drop probability p"),
        help=Text("每个隐藏单元被丢弃的概率，即 nn.Dropout(p)；保留概率是 1−p。", "Chance that a hidden unit is dropped, as in nn.Dropout(p); 1−p is kept."),
    )  # fmt: skip
    samples: int = integer(
        100, 20, 1297, label=Text("训练样本数", "Training samples"),
        help=Text("每个种子各抽这么多张数字；越少越容易过拟合。", "Digits drawn for each seed; the fewer, the more it overfits."),
    )  # fmt: skip
    width: int = integer(
        64, 8, 128, step=8, label=Text("隐藏层宽度", "Width"), help=Text("每个隐藏层的单元数。", "Units in each hidden layer.")
    )
    largest_k: int = integer(
        100, 10, 200, step=10, label=Text("最多平均几个网络", "Largest k"),
        help=Text("测试时最多平均多少个子网络。", "How many thinned networks are averaged at most."),
    )  # fmt: skip
    steps: int = integer(
        300, 50, 1000, step=50, label=Text("训练步数", "Training steps"), help=Text("每步 50 张图。", "Each step takes 50 images.")
    )
    lr: float = real(
        0.02, 0.001, 1.0, log=True, advanced=True, label=Text("学习率", "Learning rate"),
        help=Text("SGD，动量 0.9。太大会发散。", "SGD with momentum 0.9. Too large a rate diverges."),
    )  # fmt: skip
    layers: int = integer(
        2, 1, 2, advanced=True, label=Text("隐藏层数", "Hidden layers"),
        help=Text("只有一层时，eval() 恰好是所有子网络的归一化几何平均。", "With one, eval() is exactly the normalised geometric mean of all thinned networks."),
    )  # fmt: skip
    seeds: int = integer(
        10, 5, 12, advanced=True, label=Text("种子数", "Seeds"),
        help=Text("初始权重、训练样本和掩码各不相同的重复次数。", "Repeats with their own weights, training digits and masks."),
    )  # fmt: skip
    data: str = own_data("classes")


_BY_SAMPLES = Text(
    "看“Dropout 的好处”：曲线在零线上方还是下方，随训练样本数怎样变？再看有无 Dropout 的两条错误率曲线相不相交，负对数似然是否也一样。",
    "See in “What dropout gains” whether the curve lies above or below the zero line, and how it moves with more training digits. Then see whether the two curves of the test error cross, and whether the NLL tells the same.",
)

PRESETS = {
    "ensemble": Preset(
        Text("平均与缩放", "Averaging"),
        Text("教科书的 p = 0.5，100 张训练图：平均多少个子网络，才追得上一次 eval()？", "The textbook's p = 0.5 on 100 digits: when do k thinned networks match one eval() pass?"),
        {"task": "ensemble"},
        "textbook",
    ),
    "train-test": Preset(
        Text("训练与测试", "Train against test"),
        Text("测试时忘了关 Dropout，或者忘了缩放，会怎样？", "What if dropout is left on at test time, or the scaling is forgotten?"),
        {"task": "train-test"},
        "textbook",
        look_for=Text(
            "看测试错误率在 k = 1 处（忘了关 Dropout）比 eval() 高多少，再看“忘了缩放”的水平线：它在错误率和负对数似然里，与 eval() 各差多少？最后看平均输出与 eval() 的偏差，随 k 是不是一直缩小。",
            "See how far the test error at k = 1 (dropout left on) is above eval(), and how far the level of “scaling forgotten” is from eval() in the error and in the NLL. Then see whether the averaged output keeps nearing eval() as k grows.",
        ),
    ),
    "plenty-of-data": Preset(
        Text("数据充足", "Plenty of data"),
        Text("训练图从 41 张加到 1297 张，Dropout 的好处还在吗？", "From 41 training digits to 1,297: does dropout's gain last?"),
        {"task": "data", "samples": 1297, "steps": 400},
        "limits",
        look_for=_BY_SAMPLES,
    ),
    "tiny-network": Preset(
        Text("小网络", "Tiny network"),
        Text("每层只有 16 个单元，再丢掉一半会怎样？", "Only 16 units a layer: what if half of them are dropped?"),
        {"task": "data", "samples": 1297, "width": 16},
        "limits",
        look_for=_BY_SAMPLES,
    ),
}  # fmt: skip

PUBLISHED_K = 50
SRIVASTAVA = Source(
    "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    "Nitish Srivastava, Geoffrey Hinton, Alex Krizhevsky, Ilya Sutskever, Ruslan Salakhutdinov",
    2014,
    "https://jmlr.org/papers/v15/srivastava14a.html",
)

THINNED = Text("平均 k 个子网络", "k thinned networks")
EVAL = same("eval()")
ENSEMBLE = Text("k 个独立网络", "k plain networks")
PLAIN = Text("单个普通网络", "one plain network")
UNSCALED = Text("忘了缩放", "scaling forgotten")
ERROR = Text("测试错误率（%）", "Test error (%)")
POINTS = Text("个百分点", "percentage points")
DIVERGED = Text(
    "p = {p}、学习率 {lr} 时有网络发散，没有可比的结果：保留下来的激活要除以 1−p，p 越大步子越要小。",
    "At p = {p} and a learning rate of {lr} networks diverged, so there is nothing to compare: kept activations are divided by 1−p, and the larger p, the smaller the rate must be.",
)
NLL = Text("测试负对数似然（nat）", "Test NLL (nats)")


# ---- training --------------------------------------------------------------------------------------------------------


def _train(
    p: Dropout, networks: Sequence[StackedMLP], digits: Dataset, counts: Tensor, generator: torch.Generator
) -> Iterator[tuple[int, list[Tensor]]]:
    """Trains stacks in which network k belongs to seed k % seeds and knows the first `counts`[k] digits of that seed's own shuffle.

    Yields after each stack's step: the number of the step and the training losses (K,) of the stacks that have taken it.
    """
    images, labels, device = digits.train_x, digits.train_y, digits.train_x.device
    counts = counts.clamp_max(len(labels))  # a table of one's own may hold fewer rows
    orders = shuffles(len(labels), p.seeds, generator)
    optimizers = [SGD(network, [p.lr] * network.count, momentum=0.9) for network in networks]
    for step in range(1, p.steps + 1):
        losses = []
        for network, optimizer in zip(networks, optimizers, strict=True):
            drawn = (torch.rand(network.count, BATCH, generator=generator) * counts[: network.count, None]).long()
            batch = orders.repeat(network.count // p.seeds, 1).gather(1, drawn).to(device)  # (K, B)
            masks = network.draw_masks(BATCH, generator) if bool(network.dropout.any()) else None
            loss, gradients = network.gradients(images[batch], labels[batch], masks)
            optimizer.step(gradients)
            losses.append(loss)
            yield step, losses


def _is_checkpoint(p: Dropout, step: int) -> bool:
    return step == 1 or step * CHECKPOINTS // p.steps > (step - 1) * CHECKPOINTS // p.steps


def _build(p: Dropout, data: Dataset, count: int, dropout: float, generator: torch.Generator, activation: str = "relu") -> StackedMLP:
    sizes = (data.features, *[p.width] * p.layers, data.classes)
    return StackedMLP(sizes, range(count), generator, activation=activation, dropout=dropout, device=data.train_x.device)


def score(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Test error in percent and NLL in nats, each (…), of probabilities (…, B, classes). A diverged network (NaN) gets infinity for both."""
    picked = probabilities.gather(-1, labels.expand(probabilities.shape[:-1])[..., None])[..., 0]
    nll = -picked.clamp_min(1e-37).log().mean(-1)
    error = 100 * (probabilities.argmax(-1) != labels).float().mean(-1)
    broken = probabilities.isnan().any(-1).any(-1)
    return error.masked_fill(broken, math.inf).cpu(), nll.masked_fill(broken, math.inf).cpu()


def score_ensembles(members: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Error and NLL, each (S, M), of the average of 1 … M members (M, S, B, classes), over every run of neighbours in the ring of members."""
    sizes = range(1, len(members) + 1)
    scores = [score(torch.stack([members.roll(r, 0)[:k].mean(0) for r in range(len(members))]), labels) for k in sizes]
    return torch.stack([e.mean(0) for e, _ in scores], 1), torch.stack([n.mean(0) for _, n in scores], 1)


# ---- averaging thinned networks --------------------------------------------------------------------------------------


def marks_up_to(largest: int) -> list[int]:
    """Some 25 whole numbers from 1 to `largest`, evenly spaced on a log scale where that can be."""
    return sorted({round(largest ** (i / 27)) for i in range(28)})


def score_averages(draws: Sequence[Tensor], order: Sequence[int], marks: Sequence[int], labels: Tensor) -> tuple[Tensor, Tensor]:
    """Error and NLL, each (S, marks), of the average of the first k of `draws` (S, B, classes) in this order, for each k of `marks`."""
    total, done, errors, nlls = torch.zeros_like(draws[0]), 0, [], []
    for k in marks:
        for i in order[done:k]:
            total += draws[i]
        done = k
        error, nll = score(total / k, labels)
        errors.append(error)
        nlls.append(nll)
    return torch.stack(errors, 1), torch.stack(nlls, 1)


def meeting_points(thinned: Tensor, scatter: Tensor, scaled: Tensor, marks: Sequence[int]) -> list[float]:
    """For each seed, the first k of `marks` at which averaging k thinned networks is as good as eval(); infinity if there is none.

    As good: the mean error of such averages (S, marks) lies within one standard deviation of them (S, marks) above eval()'s (S,), or below.
    """
    close = (thinned - scatter <= scaled[:, None] + 1e-4) & thinned.isfinite()
    return [next((float(k) for k, ok in zip(marks, row, strict=True) if ok), math.inf) for row in close.tolist()]


@dataclass
class _Curves:
    """What the pictures show so far: for each line its x and, one row per seed, its y. Error and NLL share their lines."""

    error: dict[str, tuple[list[float], Tensor]] = field(default_factory=dict)
    nll: dict[str, tuple[list[float], Tensor]] = field(default_factory=dict)

    def put(self, name: str, x: Sequence[float], scores: tuple[Tensor, Tensor]) -> None:
        """`scores` are (S, len(x)), or (S,) for a level line."""
        wide = [s if s.dim() == 2 else s[:, None].expand(-1, len(x)) for s in scores]
        self.error[name], self.nll[name] = (list(map(float, x)), wide[0]), (list(map(float, x)), wide[1])


LOOKS: dict[str, tuple[Text, Role]] = {
    "thinned": (THINNED, "second"), "eval": (EVAL, "first"), "ensemble": (ENSEMBLE, "third"),
    "plain": (PLAIN, "baseline"), "unscaled": (UNSCALED, "warning"),
}  # fmt: skip


def _line(name: Text, role: Role, x: Sequence[float], y: Tensor, *, log: bool = False, dots: bool = False) -> Line:
    """Mean and band over seeds of y (S, len(x))."""
    mean, low, high = mean_and_band(y.tolist(), log=log) if len(x) else ([], [], [])
    return Line(name, role, x, mean, low, high, style="dots" if dots else "line")


def _frame(p: Dropout) -> float:
    """The error in percent up to which the pictures reach: fixed beforehand, so that nothing jumps. It only frames, nothing is computed from it."""
    typical = 27.0 * math.pow(40 / p.samples, 0.7)
    return min(100.0, typical * (1.4 + p.p / (1 - p.p)))


def _charts_by_k(p: Dropout, curves: _Curves) -> tuple[LineChart, LineChart]:
    x = Axis(Text("平均的网络个数 k（个，对数轴）", "Networks averaged, k (count, log)"), log=True, low=1, high=p.largest_k)
    lines = [[_line(*LOOKS[name], *xy) for name, xy in part.items()] for part in (curves.error, curves.nll)]
    return (
        LineChart(
            Text("测试错误率", "Test error"), x, Axis(ERROR, low=0, high=_frame(p)), tuple(lines[0]),
            Text("错误率随平均的子网络个数 k 变化，旁边是一次 eval() 的水平线。", "Error against the number k of thinned networks averaged, beside the level of one eval() pass."),
        ),
        LineChart(
            Text("测试负对数似然", "Test negative log-likelihood"), x, Axis(NLL, low=0, high=_frame(p) / (10 if p.task == "train-test" else 20)), tuple(lines[1]),
            Text("负对数似然随 k 变化：它惩罚自信的错误，越低越好。", "NLL against k: it punishes confident mistakes; lower is better."),
        ),
    )  # fmt: skip


@dataclass
class _Histories:
    """Losses while training: steps, and for each line a list of (S,) values."""

    steps: list[float] = field(default_factory=list)
    losses: dict[str, list[Tensor]] = field(default_factory=lambda: {"eval": [], "eval-train": [], "plain": [], "plain-train": []})

    def chart(self, p: Dropout) -> LineChart:
        names = {
            "eval": Text("有 Dropout，测试", "dropout, test"), "plain": Text("无 Dropout，测试", "plain, test"),
            "eval-train": Text("有 Dropout，训练", "dropout, training"), "plain-train": Text("无 Dropout，训练", "plain, training"),
        }  # fmt: skip
        lines = [
            _line(
                text, LOOKS[name.removesuffix("-train")][1], self.steps, torch.stack(self.losses[name], 1), log=True, dots="train" in name
            )
            for name, text in names.items()
            if self.losses[name]
        ]
        return LineChart(
            Text("训练过程：损失", "While training: the loss"),
            Axis(Text("训练步数（步）", "Training steps (steps)"), low=0, high=p.steps),
            Axis(Text("损失（nat，对数轴）", "Loss (nats, log)"), log=True, low=1e-3, high=10),
            tuple(lines),
            Text("训练损失（点）和测试损失（线）：两者拉开就是过拟合。", "Training loss (dots) and test loss (lines): where they part, the network overfits."),
        )  # fmt: skip


# ---- experiment 1: k thinned networks against eval() -----------------------------------------------------------------


def _run_ensemble(p: Dropout, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    curves, history, pace, ks = _Curves(), _Histories(), Pace(), marks_up_to(p.largest_k)

    def show(progress: float, zh: str, en: str) -> Snapshot:
        return Snapshot(progress, Text(zh, en), (*_charts_by_k(p, curves), history.chart(p)))

    yield show(0.0, "准备数字", "preparing the digits")
    digits = load_digits_or_own(p.data, device, generator=generator)
    x, y = digits.test_x, digits.test_y
    dropped = _build(p, digits, p.seeds, p.p, generator)
    plain = _build(p, digits, p.seeds * MEMBERS, 0.0, generator)
    counts = torch.full((plain.count,), p.samples)
    for step, losses in _train(p, (dropped, plain), digits, counts, generator):
        if len(losses) == 2 and _is_checkpoint(p, step):
            scaled = score(dropped.logits(x).softmax(-1), y)
            members = plain.logits(x).softmax(-1).view(MEMBERS, p.seeds, len(y), digits.classes)
            ensembles = score_ensembles(members, y)
            curves.put("eval", ks, scaled)
            curves.put("ensemble", range(1, MEMBERS + 1), ensembles)
            curves.put("plain", ks, (ensembles[0][:, 0], ensembles[1][:, 0]))
            history.steps.append(float(step))
            plain_loss = losses[1].cpu().view(MEMBERS, p.seeds).mean(0)
            for name, values in (
                ("eval", scaled[1]),
                ("eval-train", losses[0].cpu()),
                ("plain", ensembles[1][:, 0]),
                ("plain-train", plain_loss),
            ):
                history.losses[name].append(values.clamp_min(1e-9))  # a loss of exactly 0 has no place on a log axis
        if pace.due():
            yield show(
                0.6 * step / p.steps,
                f"训练第 {step} 步，{dropped.count + plain.count} 个网络一起",
                f"training step {step}, {dropped.count + plain.count} networks at once",
            )

    draws: list[Tensor] = []  # of thinned networks: probabilities (S, B, classes)
    while len(draws) < 2 * p.largest_k:
        draws.append(dropped.logits(x, dropped.draw_masks(len(y), generator)).softmax(-1))
        if pace.due():
            so_far = [k for k in ks if k <= len(draws)]
            curves.put("thinned", so_far, score_averages(draws, range(len(draws)), so_far, y))
            yield show(0.6 + 0.3 * len(draws) / (2 * p.largest_k), f"抽到第 {len(draws)} 个子网络", f"thinned network {len(draws)} drawn")
    errors: list[Tensor] = []  # of averages in other orders, each (S, ks)
    nlls: list[Tensor] = []
    while len(errors) < ORDERS:
        order = torch.randperm(len(draws), generator=generator).tolist()
        error, nll = score_averages(draws, order, ks, y)
        errors.append(error)
        nlls.append(nll)
        curves.put("thinned", ks, (torch.stack(errors).mean(0), torch.stack(nlls).mean(0)))
        if pace.due():
            yield show(0.9 + 0.1 * len(errors) / ORDERS, f"换第 {len(errors)} 种平均次序", f"averaging in order {len(errors)}")
    # Two averages of k out of n draws share some; the standard deviation of independent ones is larger by 1/√(1−k/n).
    scatter = torch.stack(errors).std(0) / (1 - torch.tensor(ks) / len(draws)).sqrt()
    figures, outcome = _judge_ensemble(p, curves, scatter, ks)
    yield Snapshot(1.0, Text("完成", "done"), (*_charts_by_k(p, curves), history.chart(p)), figures, outcome)


def _judge_ensemble(p: Dropout, curves: _Curves, scatter: Tensor, ks: list[int]) -> tuple[tuple[Figure, ...], Outcome]:
    """The verdict on k*, the geometric mean over seeds of `meeting_points` (a seed that never meets counts as the largest k).

    Geometric, as the points range over two orders of magnitude; its spread is half the width of its 95 % interval.
    Reproduced: the interval holds the published 50, lies above 1, and at least half of the seeds do meet. Same direction: more than one thinned network is surely needed. Otherwise not at this scale.
    """
    scaled, thinned = curves.error["eval"][1][:, 0], curves.error["thinned"][1]
    points = meeting_points(thinned, scatter, scaled, ks)
    missed = sum(math.isinf(k) for k in points)
    diverged = not bool(scaled.isfinite().all())
    (k,), (low,), (high,) = mean_and_band([[min(k, float(p.largest_k))] for k in points], log=True)
    surely = not diverged and low > 1
    near = low <= PUBLISHED_K <= high and missed <= p.seeds / 2
    status: Status = "not_at_this_scale" if not surely else "reproduced" if near else "same_direction"
    answer = "many" if diverged or k >= 39.5 else "tens" if k >= 9.5 else "few" if k >= 2.5 else "one"
    meeting = Figure(
        Text("追上 eval() 需要的 k", "k that matches eval()"), math.inf if diverged else k, None if diverged else (high - low) / 2
    )
    figures = (
        meeting,
        *_figures(curves, "error", "%", "thinned", "eval", "ensemble", "plain"),
        *_figures(curves, "nll", "nat", "thinned", "eval", "ensemble", "plain"),
    )
    published = Text(
        "MNIST 上约 k = 50 时蒙特卡罗平均与权重缩放一样好，再多只好一点点，仍在一个标准差以内（7.5 节，图 11）。",
        "On MNIST the Monte-Carlo average becomes as good as weight scaling around k = 50; more is slightly better, within one standard deviation (Section 7.5, Fig. 11).",
    )
    near_k, near_50 = (ks.index(min(ks, key=lambda mark: abs(mark - wanted))) for wanted in (k, 50))
    excess = _plus_minus(*mean_and_spread((thinned[:, near_50] - scaled).tolist()))
    text = _explain_ensemble(p, curves, float(scatter[:, near_k].mean()), f"{low:.2g} … {high:.2g}", excess, ks[near_50], missed, diverged)
    return figures, Outcome(Verdict(status, meeting, published, SRIVASTAVA, text), answer)


def _explain_ensemble(
    p: Dropout, curves: _Curves, deviation: float, interval: str, excess: str, k: int, missed: int, diverged: bool
) -> Text:
    if diverged:
        return DIVERGED.format(p=f"{p.p:g}", lr=f"{p.lr:g}")
    if p.p == 0:
        return Text(
            "p = 0 时没有掩码，每个“子网络”都是完整的网络，一次就等于 eval()。",
            "At p = 0 nothing is masked: every “thinned” network is the same one, and one equals eval().",
        )
    nll = {name: mean_and_spread(y[:, -1].tolist())[0] for name, (_, y) in curves.nll.items()}
    lowest = min(nll, key=lambda name: nll[name])
    zh = (
        f"“追上”指平均后的错误率高出 eval() 不到一个标准差（换一批掩码时的波动）。这里只有 500 张测试图，标准差约 {deviation:.2f} 个百分点，比论文（10000 张）的门槛宽，k 因此偏小。k 是各种子的几何平均，95% 区间 {interval}。"
        + f"k = {k} 时，平均后的错误率减去 eval() 的，得 {excess} 个百分点。"
        + (f"{p.seeds} 个种子里有 {missed} 个到 k = {p.largest_k} 还没追上，按 {p.largest_k} 计，所以 k 只是下限。" if missed else "")
        + f"负对数似然最低的是“{LOOKS[lowest][0].zh}”：子网络平均 {nll['thinned']:.3g}，eval() {nll['eval']:.3g}，{MEMBERS} 个独立网络 {nll['ensemble']:.3g}，"
        + f"单个普通网络 {nll['plain']:.3g} nat（Lakshminarayanan 等 2017，表 1：Boston 回归上 MC-dropout 2.46，独立集成 2.41）。"
    )
    en = (
        f"“Matches” means less than one standard deviation (between sets of masks) above eval()'s error; with only 500 test digits that is about {deviation:.2f} points, a looser test than with the paper's 10,000, so k tends to be smaller. It is a geometric mean over seeds, with the 95 % interval {interval}. "
        + f"At k = {k} the error of the average minus that of eval() is {excess} points. "
        + (
            f"Of {p.seeds} seeds, {missed} had not caught up by k = {p.largest_k} and counted as {p.largest_k}, so k is a lower bound. "
            if missed
            else ""
        )
        + f"The lowest NLL: {LOOKS[lowest][0].en}. Thinned average {nll['thinned']:.3g}, eval() {nll['eval']:.3g}, {MEMBERS} independent networks {nll['ensemble']:.3g}, "
        + f"one plain network {nll['plain']:.3g} nats (Lakshminarayanan et al. 2017, Table 1: Boston regression, MC-dropout 2.46, independent ensemble 2.41)."
    )
    return Text(zh, en)


def _figures(curves: _Curves, part: str, unit: str, *names: str) -> Iterator[Figure]:
    """The last value of each line, and the first one of the thinned networks: a single mask."""
    kind = Text("错误率", "error") if part == "error" else Text("NLL", "NLL")
    for name in names:
        x, y = getattr(curves, part)[name]
        label = LOOKS[name][0]
        ends = (0, -1) if name == "thinned" else (-1,)
        for end in ends:
            at = Text(f"，k = {x[end]:g}", f", k = {x[end]:g}") if name in ("thinned", "ensemble") else Text("", "")
            yield Figure(Text(f"{kind.zh}：{label.zh}", f"{kind.en}: {label.en}") + at, *mean_and_spread(y[:, end].tolist()), unit)


def _plus_minus(value: float, spread: float | None) -> str:
    return f"{value:.2f}" if spread is None else f"{value:.2f} ± {spread:.2f}"


# ---- experiment 2: dropout left on at test time ----------------------------------------------------------------------


def _run_train_test(p: Dropout, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    curves, pace, ks = _Curves(), Pace(), marks_up_to(p.largest_k)
    away: dict[str, list[Tensor]] = {"linear": [], "relu": [], "alone": []}  # (S,) at each k: see `_deviation_chart`

    def show(progress: float, zh: str, en: str) -> Snapshot:
        return Snapshot(progress, Text(zh, en), (*_charts_by_k(p, curves), _deviation_chart(p, ks, away)))

    yield show(0.0, "准备数字", "preparing the digits")
    digits = load_digits_or_own(p.data, device, generator=generator)
    x, y = digits.test_x, digits.test_y
    relu = _build(p, digits, p.seeds, p.p, generator)
    linear = _build(p, digits, p.seeds, p.p, generator, activation="linear")
    # nn.Dropout divides by 1−p while training. The older form does not, so its weights come out larger by 1/(1−p), and must be scaled at test
    # time. What happens if they are not is what this network does when every unit is kept and still divided by 1−p.
    unscaled = [torch.full((1, 1, 1), 1 / (1 - p.p), device=device)] * p.layers
    for step, losses in _train(p, (relu, linear), digits, torch.full((p.seeds,), p.samples), generator):
        if len(losses) == 2 and _is_checkpoint(p, step):
            curves.put("eval", ks, score(relu.logits(x).softmax(-1), y))
            curves.put("unscaled", ks, score(relu.logits(x, unscaled).softmax(-1), y))
        if pace.due():
            yield show(0.5 * step / p.steps, f"训练第 {step} 步", f"training step {step}")

    targets = {"linear": linear.logits(x), "relu": relu.logits(x)}
    sums = {name: torch.zeros_like(target) for name, target in targets.items()}
    squared = torch.zeros(p.seeds, device=device)
    draws: list[Tensor] = []
    for k in range(1, p.largest_k + 1):
        for name, network in (("linear", linear), ("relu", relu)):
            logits = network.logits(x, network.draw_masks(len(y), generator))
            sums[name] += logits
            if name == "relu":
                draws.append(logits.softmax(-1))
            else:
                squared += (logits - targets[name]).square().mean((1, 2))
        if k in ks:
            for name, target in targets.items():
                size = target.square().mean((1, 2)).sqrt()
                away[name].append(((sums[name] / k - target).square().mean((1, 2)).sqrt() / size).cpu())
        if pace.due():
            so_far = [mark for mark in ks if mark <= k]
            curves.put("thinned", so_far, score_averages(draws, range(k), so_far, y))
            yield show(0.5 + 0.5 * k / p.largest_k, f"抽到第 {k} 个掩码", f"mask {k} drawn")
    alone = squared.div(p.largest_k).sqrt() / targets["linear"].square().mean((1, 2)).sqrt()  # of one mask, averaged over all of them
    away["alone"] = [alone.cpu()]
    errors, nlls = score_averages(draws, range(p.largest_k), ks, y)
    singles = [score(draw, y) for draw in draws]  # k = 1 is known better than from one draw
    errors[:, 0], nlls[:, 0] = (torch.stack(part).double().mean(0) for part in zip(*singles, strict=True))
    curves.put("thinned", ks, (errors, nlls))
    figures, outcome = _judge_train_test(p, curves, ks, away)
    yield Snapshot(1.0, Text("完成", "done"), (*_charts_by_k(p, curves), _deviation_chart(p, ks, away)), figures, outcome)


def _deviation_chart(p: Dropout, ks: Sequence[int], away: dict[str, list[Tensor]]) -> LineChart:
    """How far the outputs averaged over k masks are from eval()'s: root mean square over test digits and classes, over eval()'s own."""
    names: dict[str, tuple[Text, Role]] = {
        "linear": (Text("线性网络", "linear network"), "third"),
        "relu": (Text("ReLU 网络", "ReLU network"), "second"),
    }
    lines = []
    for name, (text, role) in names.items():
        values = 100 * torch.stack(away[name], 1) if away[name] else torch.zeros(p.seeds, 0)
        shown = values.clamp_min(1e-6).nan_to_num(nan=math.inf, posinf=math.inf)
        lines.append(_line(text, role, list(map(float, ks[: values.shape[1]])), shown, log=True))
    if away["alone"]:
        one = 100 * mean_and_band([[max(value, 1e-8)] for value in away["alone"][0].nan_to_num(nan=math.inf).tolist()], log=True)[0][0]
        lines.append(Line(Text("理论：1/√k", "theory: 1/√k"), "theory", ks, [one / k**0.5 for k in ks]))
    return LineChart(
        Text("平均输出离 eval() 多远", "How far the averaged output is from eval()"),
        Axis(Text("平均的掩码个数 k（个，对数轴）", "Masks averaged, k (count, log)"), log=True, low=1, high=p.largest_k),
        Axis(Text("相对偏差（%，对数轴）", "Relative deviation (%, log)"), log=True, low=1, high=1000),
        tuple(lines),
        Text("线性网络按 1/√k 一直趋近 eval()；ReLU 网络的第二层不是线性的，最后总剩下一点偏差。", "The linear network nears eval() as 1/√k; the second layer of the ReLU network is not linear, so a bias remains."),
    )  # fmt: skip


def _judge_train_test(p: Dropout, curves: _Curves, ks: list[int], away: dict[str, list[Tensor]]) -> tuple[tuple[Figure, ...], Outcome]:
    """The verdict on the error that one mask adds to eval()'s, paired by seed. The paper says *worse*, without a number that could be
    checked, so it is reproduced if the interval lies above zero, and not at this scale otherwise."""
    scaled, single = curves.error["eval"][1][:, 0], curves.error["thinned"][1][:, 0]
    diverged = not bool((scaled.isfinite() & single.isfinite()).all())
    added, spread = mean_and_spread((single - scaled).tolist())
    status: Status = "reproduced" if not diverged and added - (spread or 0) > 0 else "not_at_this_scale"
    ratio = math.inf if diverged else float(single.mean() / scaled.mean().clamp_min(1e-9))
    answer = "same" if ratio < 1.1 else "half" if ratio < 1.5 else "double" if ratio < 3 else "more"
    measured = Figure(Text("一个掩码多出的错误率", "Error that one mask adds"), added, spread, POINTS)
    deviations = {name: mean_and_spread((100 * away[name][-1]).tolist()) for name in ("linear", "relu")}
    theory = 100 * float(away["alone"][0].mean()) / p.largest_k**0.5
    theory = theory if math.isfinite(theory) else math.inf
    figures = (
        measured,
        *_figures(curves, "error", "%", "thinned", "eval", "unscaled"),
        *_figures(curves, "nll", "nat", "thinned", "eval", "unscaled"),
        Figure(Text(f"线性网络的偏差，k = {ks[-1]}", f"linear network's deviation, k = {ks[-1]}"), *deviations["linear"], "%"),
        Figure(Text("理论值 1/√k", "theory, 1/√k"), theory, None, "%"),
        Figure(Text(f"ReLU 网络的偏差，k = {ks[-1]}", f"ReLU network's deviation, k = {ks[-1]}"), *deviations["relu"], "%"),
    )
    published = Text(
        "MNIST 上要平均约 50 个子网络才与权重缩放一样好，所以单独一个更差（图 11）。",
        "On MNIST about 50 thinned networks must be averaged to be as good as weight scaling, so a single one is worse (Fig. 11).",
    )
    nll = {name: mean_and_spread(y[:, -1].tolist())[0] for name, (_, y) in curves.nll.items()}
    text = _explain_train_test(p, diverged, deviations["linear"][0], theory, deviations["relu"][0], nll)
    return figures, Outcome(Verdict(status, measured, published, SRIVASTAVA, text), answer)


def _explain_train_test(p: Dropout, diverged: bool, linear: float, theory: float, relu: float, nll: dict[str, float]) -> Text:
    if diverged:
        return DIVERGED.format(p=f"{p.p:g}", lr=f"{p.lr:g}")
    if p.p == 0:
        return Text(
            "p = 0 时没有掩码，训练模式和测试模式是同一个网络，偏差为 0。",
            "At p = 0 nothing is masked: train and eval mode are the same network, and the deviation is 0.",
        )
    relu_zh, relu_en = (
        (
            "只有一个隐藏层时，掩码之后全是线性的，ReLU 网络同样没有偏差",
            "with one hidden layer all is linear after the mask, so the ReLU network has no bias either",
        )
        if p.layers == 1
        else (
            "ReLU 网络的第二层里，ReLU 的均值不等于均值的 ReLU，多出来的就是偏差",
            "in the ReLU network's second layer the mean of ReLU is not ReLU of the mean; what remains is bias",
        )
    )
    return Text(
        f"单个掩码随机丢掉 {100 * p.p:.3g}% 的单元，预测因此又差又抖。平均 {p.largest_k} 个掩码后，线性网络的输出与 eval() 相差 {linear:.3g}%（理论值 {theory:.3g}%，k 越大越接近 0），"
        f"ReLU 网络相差 {relu:.3g}%：{relu_zh}。训练时不除以 1−p 的旧写法，若在测试时忘了缩放，每层激活都变成 {1 / (1 - p.p):.3g} 倍，"
        f"预测过度自信：负对数似然 {nll['unscaled']:.3g} nat，eval() 是 {nll['eval']:.3g} nat。",
        f"One mask drops {100 * p.p:.3g} % of the units at random, which makes predictions worse and noisy. Averaged over {p.largest_k} masks the linear network's output is {linear:.3g} % away from eval()'s "
        f"(theory {theory:.3g} %, nearing 0 as k grows), the ReLU network's {relu:.3g} %: {relu_en}. In the older form, which does not divide by 1−p in training, forgetting to scale at test time "
        f"makes every layer's activations {1 / (1 - p.p):.3g} times too large and the network overconfident: NLL {nll['unscaled']:.3g} against {nll['eval']:.3g} nats with eval().",
    )


# ---- experiment 3: more and more training data -----------------------------------------------------------------------


def training_sizes(samples: int) -> list[int]:
    """Six sizes up to `samples`, doubling each time, none below 10."""
    return sorted({max(10, round(samples / 2**i)) for i in range(6)})


def _run_data(p: Dropout, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    sizes, pace = training_sizes(p.samples), Pace()
    errors: dict[str, Tensor] = {}  # (S, sizes)
    nlls: dict[str, Tensor] = {}

    def charts() -> tuple[LineChart, ...]:
        x = Axis(Text("训练样本数（张，对数轴）", "Training digits (count, log)"), log=True, low=sizes[0], high=sizes[-1])
        looks: dict[str, tuple[Text, Role]] = {
            "eval": (Text("有 Dropout", "with dropout"), "first"),
            "plain": (Text("无 Dropout", "without dropout"), "baseline"),
        }
        pairs = [[_line(*looks[name], sizes, part[name].clamp_min(0.01), log=True) for name in part] for part in (errors, nlls)]
        gain = [_line(Text("Dropout 降低的错误率", "error saved by dropout"), "first", sizes, _gain(errors))] if len(errors) == 2 else []
        zero = Line(Text("没有区别", "no difference"), "theory", (sizes[0], sizes[-1]), (0, 0))
        return (
            LineChart(Text("测试错误率", "Test error"), x, Axis(Text("测试错误率（%，对数轴）", "Test error (%, log)"), log=True, low=1, high=100), tuple(pairs[0]),
                      Text("有无 Dropout 的测试错误率随训练样本数下降。", "Test error with and without dropout falls with more training digits.")),
            LineChart(Text("Dropout 的好处", "What dropout gains"), x, Axis(Text("降低的错误率（百分点）", "Error saved (percentage points)"), low=-20, high=10), (zero, *gain),
                      Text("高于零线时 Dropout 有帮助，低于零线时有害。", "Above the zero line dropout helps, below it hurts.")),
            LineChart(Text("测试负对数似然", "Test negative log-likelihood"), x, Axis(Text("负对数似然（nat，对数轴）", "NLL (nats, log)"), log=True, low=0.03, high=3), tuple(pairs[1]),
                      Text("负对数似然随训练样本数下降。", "NLL falls with more training digits.")),
        )  # fmt: skip

    yield Snapshot(0.0, Text("准备数字", "preparing the digits"), charts())
    digits = load_digits_or_own(p.data, device, generator=generator)
    count = len(sizes) * p.seeds
    networks = {"eval": _build(p, digits, count, p.p, generator), "plain": _build(p, digits, count, 0.0, generator)}
    counts = torch.tensor(sizes).repeat_interleave(p.seeds)
    for step, losses in _train(p, tuple(networks.values()), digits, counts, generator):
        if _is_checkpoint(p, step):
            name = ("eval", "plain")[len(losses) - 1]
            scores = score(networks[name].logits(digits.test_x).softmax(-1), digits.test_y)
            errors[name], nlls[name] = (part.view(len(sizes), p.seeds).T for part in scores)
        if pace.due():
            yield Snapshot(
                step / p.steps,
                Text(f"训练第 {step} 步，{2 * count} 个网络一起", f"training step {step}, {2 * count} networks at once"),
                charts(),
            )
    figures, outcome = _judge_data(p, errors, sizes)
    yield Snapshot(1.0, Text("完成", "done"), charts(), figures, outcome)


def _gain(errors: dict[str, Tensor]) -> Tensor:
    """Error without dropout less error with it (S, sizes); infinite where one of them diverged."""
    return (errors["plain"] - errors["eval"]).nan_to_num(nan=math.inf, neginf=math.inf, posinf=math.inf)


def _judge_data(p: Dropout, errors: dict[str, Tensor], sizes: list[int]) -> tuple[tuple[Figure, ...], Outcome]:
    """The verdict on how much the gain declines: its mean over the smaller half of the sizes less its value at the largest, paired by seed.

    Reproduced: dropout surely helps on the smaller half, and the gain surely declines. Same direction: only the decline is sure.
    """
    gain = _gain(errors)
    half = len(sizes) // 2
    few, many = gain[:, :half].mean(1), gain[:, -1]
    (few_mean, few_spread), (many_mean, many_spread) = mean_and_spread(few.tolist()), mean_and_spread(many.tolist())
    decline, spread = mean_and_spread((few - many).nan_to_num(nan=math.inf, neginf=math.inf, posinf=math.inf).tolist())
    diverged = not bool(gain.isfinite().all())
    helps_few, helps_many = (
        not diverged and mean - (spread or 0) > 0 for mean, spread in ((few_mean, few_spread), (many_mean, many_spread))
    )
    declines = not diverged and decline - (spread or 0) > 0
    status: Status = "not_at_this_scale" if not declines else "reproduced" if helps_few else "same_direction"
    answer = {(True, False): "few", (True, True): "both", (False, True): "many", (False, False): "never"}[helps_few, helps_many]
    measured = Figure(Text("好处缩小了多少", "How much the gain declines"), decline, spread, POINTS)
    gains = [
        Figure(Text(f"好处，{size} 张", f"gain, {size} digits"), *mean_and_spread(gain[:, i].tolist()), POINTS)
        for i, size in enumerate(sizes)
    ]
    finals = [
        Figure(Text(f"错误率，{size} 张，{zh}", f"error, {size} digits, {en}"), *mean_and_spread(errors[name][:, i].tolist()), "%")
        for i, size in ((0, sizes[0]), (-1, sizes[-1]))
        for name, zh, en in (("eval", "有 Dropout", "with dropout"), ("plain", "无 Dropout", "without"))
    ]
    published = Text(
        "MNIST 上数据增多时，Dropout 的好处先升到某一点，然后下降（7.4 节）；这里检验的是下降。",
        "On MNIST, as the data set grows, the gain from dropout rises up to a point and then declines (Section 7.4); the decline is what is tested here.",
    )
    if diverged:
        text = DIVERGED.format(p=f"{p.p:g}", lr=f"{p.lr:g}")
    else:
        best = sizes[int(gain.mean(0).argmax())]
        text = _explain_data(
            p,
            "–".join(map(str, sorted({sizes[0], sizes[half - 1]}))),
            _plus_minus(few_mean, few_spread),
            _plus_minus(many_mean, many_spread),
            answer,
            best,
            sizes[0],
        )
    return (measured, *gains, *finals), Outcome(Verdict(status, measured, published, SRIVASTAVA, text), answer)


def _explain_data(p: Dropout, reach: str, few: str, many: str, answer: str, best: int, smallest: int) -> Text:
    tiny = Text("看不出防过拟合的好处，只看得到代价", "nothing is seen of the gain, only the price")
    if p.width * (1 - p.p) < 16:
        tiny = Text(
            "容量不够，只有代价、没有好处，所以谈不上好处缩小；论文里每层有上千个单元，这里不能复现本在意料之中",
            "that is too few, so there is only a price and no gain that could decline; the paper's layers have a thousand units, and a different result is to be expected here",
        )
    why = {
        "few": Text(
            "样本少时网络会过拟合，Dropout 防的就是它；样本多了没有多少过拟合可防，丢弃的代价（容量变小、训练变慢）就显出来了。",
            "With few digits the network overfits, which is what dropout prevents; with many there is little left to prevent, and its price shows: less capacity, slower training.",
        ),
        "never": Text(
            f"宽 {p.width}、p = {p.p:g} 时每层平均只留 {p.width * (1 - p.p):.3g} 个单元：{tiny.zh}。",
            f"At width {p.width} and p = {p.p:g} a layer keeps {p.width * (1 - p.p):.3g} units on average: {tiny.en}.",
        ),
        "both": Text("在这个范围里样本还不够多，好处没有消失。", "Within this range there are still too few digits for the gain to vanish."),
        "many": Text("样本太少时子网络学不会，多了才有帮助。", "With too few digits thinned networks do not learn; with more, dropout helps."),
    }[answer]  # fmt: skip
    peak = Text(f"好处最大的是 {best} 张。", f"The gain was largest with {best} digits. ")
    if answer == "never":
        peak = Text("", "")
    elif best == smallest:
        peak = Text(
            f"最少的 {best} 张时好处就最大，论文里先升的一段这里看不到。",
            f"The gain was largest with the fewest, {best}; the paper's rise before that is not seen here. ",
        )
    return Text(
        f"{reach} 张训练图时，Dropout 使错误率降低 {few} 个百分点；{p.samples} 张时是 {many}（负数表示变差）。{peak.zh}{why.zh}两边都只训练 {p.steps} 步。",
        f"With {reach} training digits dropout lowers the error by {few} percentage points, with {p.samples} by {many} (negative: it hurts). {peak.en}{why.en} Both sides took {p.steps} steps.",
    )


# ---- the demo --------------------------------------------------------------------------------------------------------

TASKS: dict[str, Callable[[Dropout, torch.device, torch.Generator], Iterator[Snapshot]]] = {
    "ensemble": _run_ensemble, "train-test": _run_train_test, "data": _run_data,
}  # fmt: skip


def run(parameters: Dropout, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from TASKS[parameters.task](parameters, device, generator)


def predict(parameters: Dropout) -> Prediction:
    if parameters.task == "ensemble":
        return Prediction(
            Text("平均多少个子网络，才能和一次 eval() 一样好？", "How many thinned networks must be averaged to match one eval() pass?"),
            {
                "one": Text("1–2 个", "1–2"), "few": Text("3–9 个", "3–9"), "tens": Text("10–39 个", "10–39"),
                "many": Text("40 个以上，或追不上", "40 or more, or it never does"),
            },
        )  # fmt: skip
    if parameters.task == "train-test":
        return Prediction(
            Text("测试时忘了 eval()，Dropout 还开着，错误率会怎样？", "eval() is forgotten and dropout stays on at test time. What happens to the error?"),
            {
                "same": Text("几乎不变（不到 1.1 倍）", "hardly changes (below 1.1 times)"), "half": Text("1.1–1.5 倍", "1.1–1.5 times"),
                "double": Text("1.5–3 倍", "1.5–3 times"), "more": Text("3 倍以上", "more than 3 times"),
            },
        )  # fmt: skip
    return Prediction(
        Text(f"训练样本一直加到 {parameters.samples} 张，Dropout 在什么时候能明显降低错误率？", f"With up to {parameters.samples} training digits, when does dropout clearly lower the error?"),
        {
            "few": Text("只在样本少时", "only with few digits"), "both": Text("样本多少都能", "with few and with many"),
            "many": Text("只在样本多时", "only with many"), "never": Text("都不能", "with neither"),
        },
    )  # fmt: skip


_SCRIPT = """import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)  # networks this small are faster on one core
P, SAMPLES, WIDTH, K, STEPS, LR = {p}, {samples}, {width}, {largest_k}, {steps}, {lr}
{data}
order = torch.randperm(len(y))
test, train = order[: len(y) // 3], order[len(y) // 3 :]
SAMPLES = min(SAMPLES, len(train))


def build(p):
    layers, features = [], x.shape[1]
    for _ in range({layers}):
        layers += [nn.Linear(features, WIDTH), nn.ReLU(), nn.Dropout(p)]
        features = WIDTH
    return nn.Sequential(*layers, nn.Linear(features, classes))


def train_network(p, samples):
    net = build(p)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=0.9)
    for _ in range(STEPS):
        batch = train[torch.randint(samples, (50,))]
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
    return net.eval()  # dropout off: every unit is kept


def report(name, probabilities):
    error = 100 * (probabilities.argmax(1) != y[test]).float().mean().item()
    nll = -probabilities[range(len(test)), y[test]].clamp_min(1e-37).log().mean().item()
    print(f"{{name:32}} error {{error:5.1f}} %   NLL {{nll:.3f}} nats")


@torch.no_grad()
def predict(net):
    return net(x[test]).softmax(1)


"""
_AVERAGE = """net = train_network(P, SAMPLES)
report("eval()", predict(net))
net.train()  # dropout on: each pass is another thinned network
draws = torch.stack([predict(net) for _ in range(K)])
for k in sorted({1, 2, 5, 10, 20, 50, K}):
    if k <= K:
        report(f"{k} thinned networks averaged", draws[:k].mean(0))
plain = torch.stack([predict(train_network(0.0, SAMPLES)) for _ in range(5)])
report("one plain network", plain[0])
report("5 plain networks averaged", plain.mean(0))
"""
_SWEEP = """for samples in sorted({max(10, round(SAMPLES / 2**i)) for i in range(6)}):
    for p in (0.0, P):
        report(f"{samples} digits, p = {p}", predict(train_network(p, samples)))
"""


def code(parameters: Dropout) -> str:
    return _SCRIPT.format(**parameters.values() | {"data": digits_or_own(parameters.data)}) + (
        _SWEEP if parameters.task == "data" else _AVERAGE
    )


DEMO = Demo(
    topic="regularization",
    title=Text("Dropout：一个网络里的集成", "Dropout: an ensemble inside one network"),
    question=Text(
        "Dropout 是什么，为什么有用，训练和测试有什么区别？", "What is dropout, why does it work, and how do training and testing differ?"
    ),
    look_for=Text(
        "单独一个子网络（k = 1，即丢掉一部分单元后的网络）比 eval() 差多少，平均多少个才追上？再看负对数似然（NLL）：换成几个独立训练的网络，会不会更低？",
        "How much worse than eval() is a single thinned network (k = 1: some units dropped), and how many must be averaged to catch up? Then look at the negative log-likelihood (NLL): is it lower for a few independently trained networks?",
    ),
    scaled_down=Text(
        "论文用 MNIST 的 6 万张图和上千单元的层；这里用 8×8 的真实手写数字、几十个单元的层和 500 张测试图。",
        "The paper used MNIST's 60,000 images and layers of a thousand units; here real 8×8 digits, layers of some dozens of units and 500 test digits.",
    ),
    parameters=Dropout,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=5,
)
