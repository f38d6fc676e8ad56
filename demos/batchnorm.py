"""Batch normalisation (1.7, 1.21): how much faster it trains, what its two modes do, and where it hurts.

Every comparison is paired: networks of one seed start from the same weights and see the same batches, with batch norm and without.
The four experiments share `_Training`, which moves settings × seeds as one stack (demos/core/stacked.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Line, LineChart, Role
from demos.core.datasets import load_digits_or_own
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict, effect_status
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import SGD, StackedMLP, Tape, cross_entropy, diverged_as_infinite, error_rate
from demos.core.statistics import interval, mean_and_band, mean_and_spread, ratio_interval, thinned
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BatchNorm(Parameters):
    task: str = mode_choice(
        "training",
        {
            "training": Text("训练速度", "training speed"),
            "train-eval": Text("train() 与 eval()", "train() and eval()"),
            "tiny-batch": Text("极小批量", "tiny batches"),
            "dropout-order": Text("与 Dropout 的顺序", "order with dropout"),
        },
        label=Text("实验", "Experiment"),
        help=Text("从哪个角度看批量归一化。", "Which aspect of batch norm to look at."),
    )
    rate: float = real(
        0.1,
        0.001,
        1,
        log=True,
        label=Text("基准学习率", "Base learning rate"),
        help=Text("“训练速度”还会试它的 5 倍和 30 倍。", "“Training speed” also tries 5 and 30 times as much."),
    )
    depth: int = integer(
        4,
        1,
        8,
        label=Text("隐藏层数", "Hidden layers"),
        help=Text("网络越深，归一化越有用。", "The deeper the network, the more it helps."),
    )
    batch: int = integer(
        32,
        2,
        64,
        label=Text("批大小", "Batch size"),
        help=Text("每步用多少张图。", "Images in each step."),
        modes=("training", "train-eval", "dropout-order"),
    )
    activation: str = choice(
        "relu",
        {"relu": same("ReLU"), "tanh": same("tanh"), "sigmoid": same("sigmoid")},
        label=Text("激活函数", "Activation"),
        help=Text("sigmoid 的深网络没有归一化很难训练。", "Deep sigmoid networks hardly train without batch norm."),
    )
    start: str = choice(
        "he",
        {"he": Text("He 初始化", "He's"), "small": Text("PyTorch 默认的尺度", "PyTorch's default scale")},
        label=Text("初始权重", "Initial weights"),
        help=Text(
            "标准差：He 为 √(2/n)（sigmoid 与 tanh 用 √(1/n)），PyTorch 默认为 √(1/(3n))。",
            "Standard deviation: He √(2/n) (√(1/n) for sigmoid and tanh), PyTorch's default √(1/(3n)).",
        ),
        advanced=True,
    )
    momentum: float = real(
        0.1,
        0.001,
        1,
        log=True,
        label=Text("滑动统计的动量", "Momentum of the running statistics"),
        help=Text(
            "新一批统计量的权重：1 只记最后一批，太小则跟不上。",
            "Weight of the newest batch: 1 keeps only the last one; too small a weight lags behind.",
        ),
        modes=("train-eval", "tiny-batch", "dropout-order"),
        advanced=True,
    )
    dropout: float = real(
        0.5,
        0,
        0.9,
        label=Text("丢弃概率 p", "Drop probability p"),
        help=Text("仅用于“与 Dropout 的顺序”。", "Only for “order with dropout”."),
        modes=("dropout-order",),
    )
    target: float = real(
        95,
        50,
        98,
        step=1,
        label=Text("目标准确率（%）", "Target accuracy (%)"),
        help=Text("“训练速度”数的是到达它要几步。", "“Training speed” counts the steps to it."),
        modes=("training",),
    )
    steps: int = integer(
        400, 50, 1000, step=50, label=Text("步数", "Steps"), help=Text("每个网络走多少步。", "Steps that each network takes.")
    )
    seeds: int = integer(
        8,
        5,
        8,
        label=Text("种子数", "Seeds"),
        help=Text("不同的初始权重和小批量。", "Different initial weights and batches."),
        advanced=True,
    )
    width: int = integer(
        32, 4, 64, advanced=True, label=Text("隐藏单元", "Hidden units"), help=Text("每层的宽度。", "Width of each layer.")
    )
    data: str = own_data("classes")


PRESETS = {
    "training": Preset(
        Text("训练速度", "Training speed"),
        Text(
            "有无批量归一化，学习率 1×、5×、30×，几步到 95%？",
            "With and without batch norm at 1×, 5× and 30× the rate: how many steps to 95 %?",
        ),
        {"task": "training"},
        "textbook",
    ),
    "weak-start": Preset(
        Text("弱初始化", "Weak start"),
        Text("同样的比较，初始权重用 PyTorch 默认的较小尺度。", "The same comparison from PyTorch's smaller default weights."),
        {"task": "training", "start": "small"},
    ),
    "train-eval": Preset(
        Text("train() 与 eval()", "train() and eval()"),
        Text("同一张图换一批邻居，输出还一样吗？", "The same image among other neighbours: is the output the same?"),
        {"task": "train-eval", "depth": 2, "steps": 300},
        "textbook",
        look_for=Text(
            "看抖动：图没换、邻居换了，train() 与 eval() 的输出各变多少，测试批变大时又怎样。再看批方差与滑动方差：哪一个逐步跳动，哪一个平稳，eval() 该用哪一个？",
            "Look at the jitter: the image stays and its neighbours change, so how much does its output vary in train() and in eval(), and what happens as the test batch grows? Then look at the batch variance and the running variance: which one jumps, which is steady, and which should eval() use?",
        ),
    ),
    "tiny-batch": Preset(
        Text("极小批量", "Tiny batches"),
        Text("每批只有两张图时，批量归一化是帮忙还是添乱？", "With two images in a batch, does batch norm help or harm?"),
        {"task": "tiny-batch", "depth": 2, "rate": 0.03},
        "limits",
        look_for=Text(
            "从横轴右端的大批往左看到批大小 2：有、无批量归一化的两条曲线一直靠在一起，还是在某处分开，谁在上面？",
            "Follow the axis from large batches down to batches of 2: do the curves with and without batch norm stay together, or part somewhere, and which one is then on top?",
        ),
    ),
    "dropout-order": Preset(
        Text("与 Dropout 的顺序", "Order with dropout"),
        Text(
            "Dropout 放在批量归一化之前，存下的方差到测试时还对得上吗？",
            "Dropout before batch norm: does the stored variance still hold at test time?",
        ),
        {"task": "dropout-order", "depth": 3},
        "limits",
        look_for=Text(
            "看方差偏移的柱子，1 表示存下的方差与 eval() 遇到的一致：三种放法里，哪一种、第几个 BN 离 1 最远？再看测试错误率：三条曲线的次序与偏移的大小对得上吗？",
            "Look at the bars of the variance shift, where 1 means that the stored variance and the one in eval() agree: in which arrangement, and at which BN, is it farthest from 1? Then look at the test error: does the order of the three curves match the size of the shift?",
        ),
    ),
}

IOFFE = Source(
    "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    "Sergey Ioffe, Christian Szegedy",
    2015,
    "https://arxiv.org/abs/1502.03167",
)
WU = Source("Group Normalization", "Yuxin Wu, Kaiming He", 2018, "https://arxiv.org/abs/1803.08494")
LI = Source(
    "Understanding the Disharmony between Dropout and Batch Normalization by Variance Shift",
    "Xiang Li, Shuo Chen, Xiaolin Hu, Jian Yang",
    2019,
    "https://arxiv.org/abs/1801.05134",
)
ERROR = Axis(Text("测试错误率（%，对数）", "test error (%, log)"), log=True, low=1, high=100)
LOADING = Text("载入数字", "Loading the digits")
DONE = Text("完成", "Done")


# ---- networks in training --------------------------------------------------------------------------------------------


class _Training:
    """Settings × seeds networks; network k has setting k // seeds. What it draws depends on `seed` only, so instances can be compared in pairs."""

    def __init__(
        self,
        p: BatchNorm,
        device: torch.device,
        seed: int,
        rates: Sequence[float],
        *,
        batch_norm: bool = True,
        batch: int | None = None,
        dropout: Sequence[Sequence[float]] | None = None,
    ) -> None:
        self.generator, self.device, self.seeds, self.settings = torch.Generator().manual_seed(seed), device, p.seeds, len(rates)
        self.digits = load_digits_or_own(p.data, device)
        self._seed_of = torch.arange(p.seeds).repeat(len(rates))
        self.dropout = torch.tensor(dropout).repeat_interleave(p.seeds, 0) if dropout else 0.0
        self.network = StackedMLP(
            (self.digits.features, *[p.width] * p.depth, self.digits.classes),
            self._seed_of.tolist(),
            self.generator,
            activation=p.activation,
            batch_norm=batch_norm,
            dropout=self.dropout,
            momentum=p.momentum,
            gain=_gain(p),
            device=device,
        )
        count = len(self.digits.train_y)
        self._batches = torch.randint(0, count, (p.steps, p.seeds, batch or p.batch), generator=self.generator)
        self._optimizer = SGD(self.network, torch.tensor(rates).repeat_interleave(p.seeds))

    def step(self, i: int) -> Tape:
        batch = self._batches[i][self._seed_of].to(self.device)  # (K, B)
        masks = self.network.draw_masks(batch.shape[1], self.generator) if isinstance(self.dropout, torch.Tensor) else None
        outputs, tape = self.network.forward(self.digits.train_x[batch], masks, training=True, update=True)
        _, slope = cross_entropy(outputs, self.digits.train_y[batch])
        self._optimizer.step(self.network.backward(tape, slope))
        return tape

    def errors(self) -> Tensor:
        """Test error in % of the networks in `eval()`, (settings, seeds), on the CPU."""
        wrong = error_rate(self.network.logits(self.digits.test_x), self.digits.test_y)
        return 100 * wrong.cpu().view(self.settings, self.seeds)


def _gain(p: BatchNorm) -> float:
    """What the standard deviation of the initial weights is in units of 1/√fan_in."""
    he = 2**0.5 if p.activation == "relu" else 1.0
    return he if p.start == "he" else 3**-0.5


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**31, (), generator=generator))


def _error_line(name: Text, role: Role, x: Sequence[float], errors: Tensor, points: int = 60) -> Line:
    """Mean and band over seeds of errors (x, seeds), thinned out to `points`."""
    chosen = thinned(len(x), points)
    mean, low, high = mean_and_band(errors[chosen].clamp(1, 100).T.tolist(), log=True)
    return Line(name, role, [x[i] for i in chosen], mean, low, [min(value, 100.0) for value in high])


# ---- training speed --------------------------------------------------------------------------------------------------

FACTORS = (1, 5, 30)
EVERY = 10  # steps between two looks at the test set


def _run_training(p: BatchNorm, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    charts = _training_charts(p, [], torch.empty(2, 3, 0, p.seeds))
    yield Snapshot(0, LOADING, charts)
    seed, rates = _seed(generator), [p.rate * factor for factor in FACTORS]
    kinds = [_Training(p, device, seed, rates, batch_norm=batch_norm) for batch_norm in (False, True)]
    looked: list[float] = []
    errors: list[Tensor] = []  # one (kind, rate, seed) for each look
    pace = Pace()
    for i in range(p.steps):
        for kind in kinds:
            kind.step(i)
        if (i + 1) % EVERY == 0:
            looked.append(i + 1)
            errors.append(torch.stack([kind.errors() for kind in kinds]))
        if pace.due():
            charts = _training_charts(p, looked, torch.stack(errors, 2)) if errors else charts
            status = Text(f"{6 * p.seeds} 个网络，第 {i + 1}/{p.steps} 步", f"{6 * p.seeds} networks, step {i + 1}/{p.steps}")
            yield Snapshot(0.99 * (i + 1) / p.steps, status, charts)
    history = torch.stack(errors, 2)
    figures, outcome = _judge_training(p, _steps_to(p, looked, history), history[..., -1, :].mean(-1))
    yield Snapshot(1, DONE, _training_charts(p, looked, history, final=True), figures, outcome)


def _steps_to(p: BatchNorm, looked: Sequence[float], errors: Tensor) -> Tensor:
    """The first look at which each network (kind, rate, seed) had reached the target; inf if it never did."""
    reached = errors <= 100 - p.target  # (kind, rate, look, seed)
    steps = torch.tensor([*looked, math.inf])[reached.int().argmax(2)] if looked else torch.full(errors[:, :, 0:1].shape[:2], math.inf)
    return steps.where(reached.any(2), math.inf)


def _training_charts(p: BatchNorm, looked: Sequence[float], errors: Tensor, final: bool = False) -> tuple[Chart, ...]:
    names = (Text("无 BN 1×", "plain 1×"), Text("BN 1×", "BN 1×"), Text("BN 5×", "BN 5×"), Text("BN 30×", "BN 30×"))
    roles: tuple[Role, ...] = ("baseline", "first", "second", "third")
    curves = [errors[0, 0], *errors[1]]
    lines = [_error_line(name, role, looked, curve) for name, role, curve in zip(names, roles, curves, strict=True)] if looked else []
    bars = []
    if looked:
        missing = math.inf if final else math.nan  # until the end, one that has not arrived may still do so
        for name, role, steps in zip((Text("无 BN", "plain"), Text("BN", "BN")), roles, _steps_to(p, looked, errors), strict=False):
            pairs = [mean_and_spread(row) for row in steps.tolist()]
            bars.append(
                Bars(name, role, [mean if math.isfinite(mean) else missing for mean, _ in pairs], [spread or 0.0 for _, spread in pairs])
            )
    return (
        LineChart(
            Text("测试错误率与训练步数", "Test error against training steps"),
            Axis(Text("训练步", "training step"), low=0, high=p.steps), ERROR, tuple(lines),
            Text("有无批量归一化、不同学习率下错误率的下降。", "How the error falls with and without batch norm, at several rates."),
        ),
        BarChart(
            Text(f"到 {p.target:g}% 准确率的步数（箭头：没有到达）", f"Steps to {p.target:g} % accuracy (arrow: not reached)"),
            tuple(same(f"{factor}×") for factor in FACTORS),
            Axis(Text("步数", "steps"), low=0, high=p.steps), tuple(bars),
            Text("每个学习率倍数下，无 BN 与有 BN 到达目标的步数。", "Steps to the target at each multiple of the rate, without and with batch norm."),
        ),
    )  # fmt: skip


def _judge_training(p: BatchNorm, steps: Tensor, final: Tensor) -> tuple[tuple[Figure, ...], Outcome]:
    """Speed-up of BN at 5× over plain at 1×. A plain network that never arrives counts as arriving at the end; one with BN as no speed-up at all."""
    plain = steps[0, 0].clamp_max(p.steps)
    speedups = (plain / steps[1, 1]).tolist()
    mean, low, high = ratio_interval(speedups)
    names = [(Text(f"步数：{zh} {f}×", f"Steps: {en} {f}×")) for zh, en in (("无 BN", "plain"), ("有 BN", "BN")) for f in FACTORS]
    counts = [mean_and_spread(row) for row in steps.view(-1, p.seeds).tolist()]
    figures = [Figure(name, count, wide) for name, (count, wide) in zip(names, counts, strict=True)]

    def told(kind: int, rate: int) -> Text:
        count = counts[3 * kind + rate][0]
        if math.isfinite(count):
            return Text(f"用了 {count:.0f} 步", f"took {count:.0f} steps")
        return Text(
            f"没有全部到达（最后错误率 {final[kind, rate]:.1f}%）", f"did not always arrive (error {final[kind, rate]:.1f} % at the end)"
        )

    a, b, c, d, e = told(0, 0), told(0, 1), told(1, 0), told(1, 1), told(1, 2)
    same_rate, _, _ = ratio_interval((plain / steps[1, 0]).tolist())
    start = (
        Text(
            "He 初始化已经让这几层好训练，留给归一化的不多：换成 PyTorch 默认的尺度再比一次。",
            "He's initialisation already makes these few layers easy to train and leaves little for batch norm: compare with PyTorch's default scale.",
        )
        if p.start == "he"
        else Text(
            "较小的初始权重让信号逐层变弱，归一化把它拉了回来。",
            "The small initial weights let the signal fade from layer to layer; batch norm restores it.",
        )
    )
    why = Text(
        f"无 BN 时 1× {a.zh}，5× {b.zh}；有 BN 时 1× {c.zh}，5× {d.zh}，30× {e.zh}。同一学习率下 BN 快 {same_rate:.2g} 倍，学习率放大到 5 倍后快 {mean:.2g} 倍"
        f"（没有到达的普通网络按 {p.steps} 步算）。{start.zh}论文里的 Inception 深得多，任务也难得多。",
        f"Plain: at 1× it {a.en}, at 5× it {b.en}. With batch norm: at 1× it {c.en}, at 5× it {d.en}, at 30× it {e.en}. At the same rate batch norm is {same_rate:.2g} times "
        f"as fast, at 5× the rate {mean:.2g} times (a plain network that did not arrive counts as {p.steps} steps). {start.en} The paper's Inception is far deeper, and its task far harder.",
    )
    measured = Figure(Text("加速：BN 5× 相对无 BN 1×", "Speed-up: BN at 5× over plain at 1×"), mean, (high - low) / 2 or None, "×")
    published = Text(
        "到 72.2%：Inception 31.0 M 步，BN 1× 13.3 M，BN 5× 2.1 M（快 14.8 倍），BN 30× 2.7 M",
        "to 72.2 %: Inception 31.0 M steps, BN 1× 13.3 M, BN 5× 2.1 M (14.8 times faster), BN 30× 2.7 M",
    )
    answer = "none" if mean < 1.1 else "little" if mean < 3 else "much" if mean < 10 else "huge"
    return (measured, *figures), Outcome(Verdict(effect_status(mean, low, 1, 31.0 / 2.1), measured, published, IOFFE, why), answer)


# ---- train() and eval() ----------------------------------------------------------------------------------------------

TEST_BATCHES = (2, 4, 8, 16, 32, 64, 128, 256)
NEIGHBOURHOODS = 30


def _run_train_eval(p: BatchNorm, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield Snapshot(0, LOADING, (_jitter_chart([], []), _variance_chart(p, [])))
    training, pace = _Training(p, device, _seed(generator), [p.rate]), Pace()
    network, last = training.network, p.depth - 1
    seen = []  # variance of one unit in the batch, and its running variance
    for i in range(p.steps):
        tape = training.step(i)
        unbiased = tape.inverse_std[last][0, 0, 0] ** -2 * (p.batch / (p.batch - 1))
        seen.append(torch.stack([unbiased, network.running_variance[last][0, 0]]))
        if pace.due():
            charts = (_jitter_chart([], []), _variance_chart(p, torch.stack(seen).tolist()))
            yield Snapshot(0.6 * (i + 1) / p.steps, Text(f"训练，第 {i + 1}/{p.steps} 步", f"Training, step {i + 1}/{p.steps}"), charts)
    variances = _variance_chart(p, torch.stack(seen).tolist())
    jitters: list[tuple[list[float], list[float]]] = []
    flips = []
    for size in TEST_BATCHES:
        in_train, in_eval, flipped = _jitter(training, size, generator)
        jitters.append((in_train.tolist(), in_eval.tolist()))
        flips.append(flipped.tolist())
        status = Text(f"测试批 {size}：换 {NEIGHBOURHOODS} 次邻居", f"Test batch of {size}: {NEIGHBOURHOODS} sets of neighbours")
        yield Snapshot(0.6 + 0.39 * len(jitters) / len(TEST_BATCHES), status, (_jitter_chart(jitters, TEST_BATCHES), variances))
    figures, outcome = _judge_train_eval(training, jitters, flips)
    yield Snapshot(1, DONE, (_jitter_chart(jitters, TEST_BATCHES), variances), figures, outcome)


def _jitter(training: _Training, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """How much the logits of one test image vary with its neighbours in a batch of `size`: their standard deviation, averaged over classes (K,),
    in train() and in eval(); and the share (%) of neighbourhoods in which train() names another digit than eval(). One image for each network."""
    images = training.digits.test_x
    sample = torch.arange(training.network.count)
    outputs: dict[bool, list[Tensor]] = {True: [], False: []}
    for _ in range(NEIGHBOURHOODS):
        batch = torch.randint(0, len(images), (len(sample), size), generator=generator)
        batch[:, 0] = sample
        for mode, logits in outputs.items():
            logits.append(training.network.logits(images[batch.to(images.device)], training=mode)[:, 0].cpu())
    in_train, in_eval = (torch.stack(outputs[mode]).double() for mode in (True, False))  # (neighbourhoods, K, classes)
    # From the first one's value, so that equal outputs give exactly 0.
    spreads = [diverged_as_infinite((logits - logits[0]).std(0).mean(1)) for logits in (in_train, in_eval)]
    flips = 100 * (in_train.argmax(2) != in_eval.argmax(2)).double().mean(0)
    return spreads[0], spreads[1], flips


def _jitter_chart(jitters: Sequence[tuple[list[float], list[float]]], sizes: Sequence[int]) -> LineChart:
    roles: dict[str, Role] = {"train()": "warning", "eval()": "first"}
    lines = []
    for mode, (name, role) in enumerate(roles.items() if jitters else ()):
        mean, low, high = mean_and_band(list(zip(*(pair[mode] for pair in jitters), strict=True)))
        lines.append(Line(same(name), role, sizes[: len(mean)], mean, [max(value, 0.0) for value in low], high, "dots+line"))
    return LineChart(
        Text("换邻居时同一张图输出的抖动", "Jitter of one image's output as its neighbours change"),
        Axis(Text("测试批大小（对数）", "test batch size (log)"), log=True, low=2, high=256),
        Axis(Text("logit 的标准差", "standard deviation of the logits"), low=0),
        tuple(lines),
        Text(
            "train() 的输出随邻居而变，批越小越厉害；eval() 恒为一条零线。",
            "Outputs in train() vary with the neighbours, most in small batches; in eval() the line stays at zero.",
        ),
    )


def _variance_chart(p: BatchNorm, seen: Sequence[Sequence[float]]) -> LineChart:
    chosen = thinned(len(seen))
    columns = [[min(max(seen[i][which], 0.01), 100.0) for i in chosen] for which in range(2)]
    lines = (
        Line(Text("这一批的方差", "variance in the batch"), "baseline", [i + 1 for i in chosen], columns[0], style="dots"),
        Line(Text("滑动方差", "running variance"), "first", [i + 1 for i in chosen], columns[1]),
    )
    return LineChart(
        Text(f"一个单元的批方差与滑动方差（动量 {p.momentum:g}）", f"One unit's batch and running variance (momentum {p.momentum:g})"),
        Axis(Text("训练步", "training step"), low=0, high=p.steps),
        Axis(Text("方差（对数）", "variance (log)"), log=True, low=0.01, high=100),
        lines if seen else (),
        Text(
            "批方差逐步跳动，滑动方差平滑地跟随；eval() 用的是后者。",
            "The batch's variance jumps from step to step, the running one follows smoothly; eval() uses the latter.",
        ),
    )


def _judge_train_eval(
    training: _Training, jitters: Sequence[tuple[list[float], list[float]]], flips: Sequence[Sequence[float]]
) -> tuple[tuple[Figure, ...], Outcome]:
    """Reproduced: in eval() the output is the same to the last bit, and in train() its jitter is clear of zero at every batch size."""
    moved_eval = max(max(in_eval) for _, in_eval in jitters) > 0
    moved_train = all(interval(in_train)[1] > 0 for in_train, _ in jitters)
    x = [math.log(size) - sum(map(math.log, TEST_BATCHES)) / len(TEST_BATCHES) for size in TEST_BATCHES]
    slopes = []
    for column in zip(*(in_train for in_train, _ in jitters), strict=True):
        logs = [math.log(min(max(value, 1e-12), 1e12)) for value in column]
        slopes.append(sum(a * b for a, b in zip(x, logs, strict=True)) / sum(a * a for a in x))
    _, tape = training.network.forward(training.digits.train_x, training=True)
    population = torch.stack([inverse[..., 0] ** -2 for inverse in tape.inverse_std], 1)  # (K, layers, F)
    ratios = (torch.stack(training.network.running_variance, 1) / population).log().mean((1, 2)).exp().tolist()
    power = f"{mean_and_spread(slopes)[0]:.2f}".replace("-", "−")
    small = mean_and_spread(jitters[0][0])
    measured = Figure(Text("eval() 输出的抖动", "Jitter in eval()"), max(max(in_eval) for _, in_eval in jitters), None, "logit")
    figures = (
        measured,
        Figure(Text("train() 输出的抖动，测试批 2", "Jitter in train(), test batch of 2"), *small, "logit"),
        Figure(Text("train() 输出的抖动，测试批 256", "Jitter in train(), test batch of 256"), *mean_and_spread(jitters[-1][0]), "logit"),
        Figure(Text("抖动 ∝ 批大小的几次方", "Jitter ∝ batch size to the power"), *mean_and_spread(slopes)),
        Figure(
            Text("测试批 2 时 train() 与 eval() 认出的数字不同", "train() names another digit than eval(), test batch of 2"),
            *mean_and_spread(flips[0]),
            "%",
        ),
        Figure(Text("滑动方差 ÷ 全训练集方差", "Running variance ÷ variance over all training images"), *mean_and_spread(ratios)),
        Figure(Text("eval() 的测试错误率", "Test error in eval()"), *mean_and_spread(training.errors()[0].tolist()), "%"),
    )
    why = Text(
        f"换了 {NEIGHBOURHOODS} 批邻居，eval() 的输出{'有变化' if moved_eval else '一位都没变'}，因为它只用训练时存下的滑动统计；train() 用当前这批的均值和方差，邻居一换输出就变，"
        f"抖动约按批大小的 {power} 次方变化（独立样本估计的误差应为 −0.5 次方）。动量太小时滑动统计跟不上权重，eval() 会出错：看“滑动方差 ÷ 全训练集方差”离 1 多远。",
        f"Over {NEIGHBOURHOODS} sets of neighbours the output in eval() {'changed' if moved_eval else 'did not change by a single bit'}, as it uses only the running statistics stored "
        f"in training. train() uses the mean and variance of the batch at hand, so other neighbours mean another output; the jitter goes as the batch size to the power "
        f"{power} (−0.5 for an estimate from independent samples). With too small a momentum the running statistics lag behind the weights and eval() makes errors: see how far "
        "“running variance ÷ variance over all training images” is from 1.",
    )
    published = Text(
        "推断时依赖小批量的归一化既不必要也不可取：输出应只取决于输入，是确定的",
        "normalisation that depends on the mini-batch is neither necessary nor desirable in inference: the output should depend on the input alone",
    )
    answer = {(True, False): "train", (True, True): "both", (False, False): "neither", (False, True): "eval"}[moved_train, moved_eval]
    status: Status = "reproduced" if answer == "train" else "not_at_this_scale"
    return figures, Outcome(Verdict(status, measured, published, IOFFE, why), answer)


# ---- tiny batches ----------------------------------------------------------------------------------------------------

TRAIN_BATCHES = (2, 4, 8, 16, 32, 64)


def _run_tiny_batch(p: BatchNorm, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield Snapshot(0, LOADING, (_batch_chart([]),))
    seed, pace = _seed(generator), Pace()
    done: list[Tensor] = []  # for each batch size the errors (kind, seed)
    for number, batch in enumerate(TRAIN_BATCHES):
        kinds = [_Training(p, device, seed, [p.rate], batch_norm=batch_norm, batch=batch) for batch_norm in (False, True)]
        for i in range(p.steps):
            for kind in kinds:
                kind.step(i)
            if pace.due():
                charts = (_batch_chart([*done, torch.stack([kind.errors()[0] for kind in kinds])]),)
                share = (number + (i + 1) / p.steps) / len(TRAIN_BATCHES)
                yield Snapshot(
                    0.99 * share, Text(f"批大小 {batch}，第 {i + 1}/{p.steps} 步", f"Batches of {batch}, step {i + 1}/{p.steps}"), charts
                )
        done.append(torch.stack([kind.errors()[0] for kind in kinds]))
    figures, outcome = _judge_tiny_batch(done)
    yield Snapshot(1, DONE, (_batch_chart(done),), figures, outcome)


def _batch_chart(done: Sequence[Tensor]) -> LineChart:
    lines = []
    if done:
        sizes, errors = TRAIN_BATCHES[: len(done)], torch.stack(list(done))  # (batch size, kind, seed)
        lines = [
            _error_line(Text("无 BN", "plain"), "baseline", sizes, errors[:, 0]),
            _error_line(Text("有 BN", "BN"), "first", sizes, errors[:, 1]),
        ]
    return LineChart(
        Text("测试错误率与训练批大小（步数相同）", "Test error against training batch size (equal steps)"),
        Axis(Text("训练批大小（对数）", "training batch size (log)"), log=True, low=2, high=64),
        ERROR,
        tuple(lines),
        Text("各批大小下的测试错误率，有与没有批量归一化。", "Test error at each batch size, with and without batch norm."),
    )


def _judge_tiny_batch(done: Sequence[Tensor]) -> tuple[tuple[Figure, ...], Outcome]:
    gaps = (done[0][1] - done[0][0]).tolist()
    mean, spread = mean_and_spread(gaps)
    rows = [
        Figure(
            Text(f"测试错误率：{zh}，批大小 {size}", f"Test error: {en}, batches of {size}"), *mean_and_spread(done[i][kind].tolist()), "%"
        )
        for i, size in ((0, TRAIN_BATCHES[0]), (len(done) - 1, TRAIN_BATCHES[-1]))
        for kind, (zh, en) in enumerate((("无 BN", "plain"), ("有 BN", "BN")))
    ]
    crossing = next(
        (size for size, errors in zip(TRAIN_BATCHES, done, strict=True) if interval((errors[1] - errors[0]).tolist())[1] <= 0), None
    )
    where = (
        Text("在试过的每个批大小上它都更差。", "It is worse at every batch size tried.")
        if crossing is None
        else Text(f"从批大小 {crossing} 起就看不出害处了。", f"From batches of {crossing} upwards no harm can be seen.")
    )
    beyond = Text("", "")
    if mean > 10.6 * 10**0.5:
        beyond = Text("，比论文里的差距还大得多", ", far more than in the paper")
    why = Text(
        f"每批 2 张时，BN 的错误率比不用高 {mean:.1f} 个百分点{beyond.zh}。两个数归一化后只剩 ±1（略小），大小信息全丢了，训练时看到的与 eval() 用滑动统计算的也对不上。{where.zh}"
        "论文比的是组归一化（GN），这里比的是不归一化；网络与数据都小得多。",
        f"With two images in a batch the error with batch norm is {mean:.1f} points higher than without{beyond.en}. Two numbers, normalised, become nearly ±1: all information about their size is lost, "
        f"and what training saw does not match what eval() computes from the running statistics. {where.en} The paper compares with group norm, this run with no norm; "
        "network and data are far smaller.",
    )
    _, low, high = interval(gaps)
    answer = "harm" if low > 0 else "help" if high < 0 else "same"
    measured = Figure(
        Text("BN 多出的错误率，批大小 2", "Extra error of BN, batches of 2"), mean, spread, Text("个百分点", "percentage points")
    )
    published = Text(
        "ResNet-50、ImageNet、批大小 2：组归一化的错误率比 BN 低 10.6 个百分点",
        "ResNet-50, ImageNet, batches of 2: group norm has 10.6 points less error than batch norm",
    )
    return (measured, *rows), Outcome(Verdict(effect_status(mean, low, 0, 10.6), measured, published, WU, why), answer)


# ---- order with dropout ----------------------------------------------------------------------------------------------

ORDERS: tuple[tuple[Text, Role], ...] = (
    (Text("不用 Dropout", "no dropout"), "baseline"),
    (Text("每层之后", "after every layer"), "first"),
    (Text("最后一个 BN 之后", "after the last BN"), "second"),
)


def _run_dropout_order(p: BatchNorm, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    charts = _order_charts(p, [], torch.empty(0), None)
    yield Snapshot(0, LOADING, charts)
    none, every, end = [0.0] * p.depth, [p.dropout] * p.depth, [0.0] * (p.depth - 1) + [p.dropout]
    training, pace = _Training(p, device, _seed(generator), [p.rate] * 3, dropout=[none, every, end]), Pace()
    looked, errors = [], []
    for i in range(p.steps):
        training.step(i)
        if (i + 1) % EVERY == 0:
            looked.append(float(i + 1))
            errors.append(training.errors())
        if pace.due():
            charts = _order_charts(p, looked, torch.stack(errors, 1), _shifts(training)) if errors else charts
            yield Snapshot(0.99 * (i + 1) / p.steps, Text(f"第 {i + 1}/{p.steps} 步", f"Step {i + 1}/{p.steps}"), charts)
    history, shifts = torch.stack(errors, 1), _shifts(training)
    figures, outcome = _judge_order(p, history[:, -1], shifts)
    yield Snapshot(1, DONE, _order_charts(p, looked, history, shifts), figures, outcome)


def _shifts(training: _Training) -> Tensor:
    """Li's shift of variance (orders, seeds, layers): of the variance that batch norm has stored and the one it meets in eval(), the larger over
    the smaller, averaged over units. 1 means that they agree."""
    network = training.network
    _, tape = network.forward(training.digits.test_x, training=False)
    layers = []
    for weights, inputs, running in zip(network.weights, tape.inputs, network.running_variance, strict=False):
        real = torch.bmm(weights, inputs).var(2).clamp_min(1e-6)
        stored = running.clamp_min(1e-6)
        layers.append(torch.maximum(real / stored, stored / real).mean(1))
    return diverged_as_infinite(torch.stack(layers, 1).cpu()).view(training.settings, training.seeds, -1)


def _order_charts(p: BatchNorm, looked: Sequence[float], errors: Tensor, shifts: Tensor | None) -> tuple[Chart, ...]:
    bars, lines, tops = [], [], [0.0]
    if shifts is not None:
        for (name, role), order, curve in zip(ORDERS, shifts, errors, strict=True):
            pairs = [mean_and_spread(layer) for layer in order.T.tolist()]
            bars.append(Bars(name, role, [mean for mean, _ in pairs], [spread or 0.0 for _, spread in pairs]))
            lines.append(_error_line(name, role, looked, curve))
            tops += [1.1 * (mean + (spread or 0.0)) for mean, spread in pairs if math.isfinite(mean)]
    return (
        BarChart(
            Text("方差偏移：存下的方差与 eval() 遇到的相差几倍", "Variance shift: stored variance against the one met in eval()"),
            tuple(Text(f"第 {i + 1} 个 BN", f"BN {i + 1}") for i in range(p.depth)),
            Axis(Text("倍数（1 = 一致）", "factor (1 = they agree)"), low=0, high=max(4.0, *tops)),
            tuple(bars),
            Text(
                "Dropout 之后的批量归一化，存下的方差与测试时不符。",
                "Batch norms that follow dropout have stored a variance that no longer holds at test time.",
            ),
        ),
        LineChart(
            Text("测试错误率（eval()）", "Test error (eval())"),
            Axis(Text("训练步", "training step"), low=0, high=p.steps),
            ERROR,
            tuple(lines),
            Text("三种放法的错误率。", "The error of the three arrangements."),
        ),
    )


def _judge_order(p: BatchNorm, errors: Tensor, shifts: Tensor) -> tuple[tuple[Figure, ...], Outcome]:
    losses = (errors[1] - errors[0]).tolist()
    mean, spread = mean_and_spread(losses)
    deeper = shifts[..., 1:] if p.depth > 1 else shifts  # the first batch norm has no dropout before it
    each = [mean_and_spread(order.mean(1).tolist()) for order in deeper]
    last = [mean_and_spread(order.tolist()) for order in errors]
    measured = Figure(
        Text("Dropout 在 BN 之前多出的错误率", "Extra error with dropout before BN"), mean, spread, Text("个百分点", "percentage points")
    )
    figures = [
        Figure(Text(f"方差偏移：{n.zh}", f"Variance shift: {n.en}"), *value, "×") for (n, _), value in zip(ORDERS, each, strict=True)
    ]
    figures += [Figure(Text(f"测试错误率：{n.zh}", f"Test error: {n.en}"), *value, "%") for (n, _), value in zip(ORDERS, last, strict=True)]
    why = Text(
        f"Dropout 让训练时的方差变大，BN 把它存了下来，eval() 时不再丢弃，两者相差 {each[1][0]:.2f} 倍（不用 Dropout 时 {each[0][0]:.2f} 倍，只在最后用时 {each[2][0]:.2f} 倍）。"
        f"测试错误率依次为 {last[0][0]:.1f}%、{last[1][0]:.1f}%、{last[2][0]:.1f}%（不用、每层之后、只在最后）。错误率之差里还混着 Dropout 本身拖慢训练的影响；论文的网络更深，偏移逐层累积。",
        f"Dropout raises the variance in training, batch norm stores it, and eval() drops nothing: the two differ by a factor of {each[1][0]:.2f} (without dropout {each[0][0]:.2f}, "
        f"with dropout only at the end {each[2][0]:.2f}). Test error: {last[0][0]:.1f} % without, {last[1][0]:.1f} % after every layer, {last[2][0]:.1f} % only at the end. "
        "The difference in error includes what dropout itself costs in so few steps; the paper's networks are deeper, and the shift adds up over layers.",
    )
    _, low, high = interval(losses)
    answer = "worse" if low > 0 else "better" if high < 0 else "same"
    published = Text(
        "DenseNet、CIFAR-100：准确率 77.42%，每个瓶颈里加 Dropout 0.5 后 68.55%（少 8.87 个百分点）",
        "DenseNet on CIFAR-100: accuracy 77.42 %, with dropout 0.5 in each bottleneck 68.55 % (8.87 points less)",
    )
    return (measured, *figures), Outcome(Verdict(effect_status(mean, low, 0, 8.87), measured, published, LI, why), answer)


# ---- prediction, code, demo ------------------------------------------------------------------------------------------

_PREDICTIONS = {
    "training": Prediction(
        Text("原学习率的普通网络到达目标要的步数，是 5 倍学习率的 BN 网络的几倍？", "A plain network at 1× the rate and one with batch norm at 5×: how many times as many steps to the target does the plain one need?"),
        {
            "none": Text("差不多，或者更少", "about as many, or fewer"),
            "little": Text("1.1 到 3 倍", "1.1 to 3 times as many"),
            "much": Text("3 到 10 倍", "3 to 10 times as many"),
            "huge": Text("10 倍以上", "more than 10 times as many"),
        },
    ),
    "train-eval": Prediction(
        Text("一张图不变，只换同一批里的其他图。它的输出会变吗？", "One image stays, the others in its batch change. Does its output change?"),
        {
            "train": Text("只在 train() 里变", "only in train()"),
            "eval": Text("只在 eval() 里变", "only in eval()"),
            "both": Text("都变", "in both"),
            "neither": Text("都不变", "in neither"),
        },
    ),
    "tiny-batch": Prediction(
        Text("每批只有 2 张图时，加批量归一化后测试错误率会怎样？", "With 2 images in a batch, what does batch norm do to the test error?"),
        {"harm": Text("变高", "raises it"), "same": Text("看不出差别", "no clear difference"), "help": Text("变低", "lowers it")},
    ),
    "dropout-order": Prediction(
        Text("在每个批量归一化之前放 Dropout，与不用 Dropout 相比，测试错误率会怎样？", "Dropout before every batch norm: what happens to the test error, compared with no dropout?"),
        {"worse": Text("变高", "it rises"), "same": Text("看不出差别", "no clear difference"), "better": Text("变低", "it falls")},
    ),
}  # fmt: skip


def predict(p: BatchNorm) -> Prediction:
    return _PREDICTIONS[p.task]


def run(parameters: BatchNorm, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    runs = {"training": _run_training, "train-eval": _run_train_eval, "tiny-batch": _run_tiny_batch, "dropout-order": _run_dropout_order}
    yield from runs[parameters.task](parameters, device, generator)


_CODE = """\
import torch
from torch import nn

torch.set_num_threads(1)  # networks as small as these gain nothing from more
DEPTH, WIDTH, STEPS, BATCH, RATE = {depth}, {width}, {steps}, {batch}, {rate:g}
{data}
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
test, train = order[: len(x) // 3], order[len(x) // 3 :]

def linear(fan_in, fan_out):
    layer = nn.Linear(fan_in, fan_out)
    nn.init.normal_(layer.weight, std={gain:.4g} / fan_in**0.5)
    nn.init.zeros_(layer.bias)
    return layer

def build(batch_norm, dropout):
    layers, width = [], x.shape[1]
    for p in dropout:
        layers.append(linear(width, WIDTH))
        if batch_norm:
            layers.append(nn.BatchNorm1d(WIDTH, momentum={momentum:g}))
        layers += [nn.{activation}(), nn.Dropout(p)]
        width = WIDTH
    return nn.Sequential(*layers, linear(width, classes))

def error(network):
    network.eval()
    with torch.no_grad():
        wrong = (network(x[test]).argmax(1) != y[test]).float().mean().item()
    network.train()
    return 100 * wrong

def fit(batch_norm, rate=RATE, batch=BATCH, dropout=[0.0] * DEPTH, target=0.0):
    torch.manual_seed(0)
    network = build(batch_norm, dropout)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    for step in range(1, STEPS + 1):
        chosen = train[torch.randint(0, len(train), (batch,))]
        loss = nn.functional.cross_entropy(network(x[chosen]), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if target and step % 5 == 0 and error(network) <= target:
            return network, step
    return network, None
"""
_TAILS = {
    "training": """
for batch_norm in (False, True):
    for factor in (1, 5, 30):
        network, step = fit(batch_norm, RATE * factor, target=100 - {target:g})
        print(f"batch norm {{batch_norm}}, rate {{RATE * factor:g}}: steps to {target:g} % = {{step}}, error {{error(network):.1f}} %")
""",
    "train-eval": """
network, _ = fit(True)
for size in (2, 8, 32, 128):
    for mode in (True, False):
        network.train(mode)
        seen = []
        for _ in range(30):  # the first image stays, its neighbours change
            neighbours = test[torch.randint(0, len(test), (size - 1,))]
            with torch.no_grad():
                seen.append(network(torch.cat([x[test[:1]], x[neighbours]]))[0])
        seen = torch.stack(seen)
        print(f"batch of {{size}}, {{'train' if mode else 'eval'}}(): jitter {{(seen - seen[0]).std(0).mean():.4f}}")
""",
    "tiny-batch": """
for batch in (2, 4, 8, 16, 32, 64):
    plain, normed = fit(False, batch=batch)[0], fit(True, batch=batch)[0]
    print(f"batches of {{batch}}: error without batch norm {{error(plain):.1f}} %, with {{error(normed):.1f}} %")
""",
    "dropout-order": """
for name, dropout in {{"none": [0.0] * DEPTH, "after every layer": [{dropout:g}] * DEPTH, "only at the end": [0.0] * (DEPTH - 1) + [{dropout:g}]}}.items():
    network, _ = fit(True, dropout=dropout)
    h, shifts = x[test], []
    network.eval()
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.BatchNorm1d):  # the variance it stored against the one it meets
                ratio = h.var(0) / layer.running_var
                shifts.append(torch.maximum(ratio, 1 / ratio).mean().item())
            h = layer(h)
    print(name, "error %.1f %%" % error(network), "variance shift by layer", [round(shift, 2) for shift in shifts])
""",
}


def code(p: BatchNorm) -> str:
    values = p.values() | {
        "data": digits_or_own(p.data),
        "gain": _gain(p),
        "activation": {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid"}[p.activation],
    }
    return (_CODE + _TAILS[p.task]).format(**values)


DEMO = Demo(
    topic="normalization",
    title=Text("批量归一化：训练与测试", "Batch normalisation: training and testing"),
    question=Text(
        "批量归一化为什么让训练更快，训练和测试时又有什么不同？",
        "Why does batch norm speed up training, and how do training and testing differ?",
    ),
    look_for=Text(
        "看测试错误率：有批量归一化的网络在 1×、5×、30× 学习率下各降得多快，与没有的比一比。再看到达目标的步数：同一个学习率倍数下两根柱子差多少，哪种网络受得住更大的学习率？",
        "Look at the test error: how fast does it fall with batch norm at 1×, 5× and 30× the rate, and how fast without? Then look at the steps to the target: how do the two bars differ at each multiple of the rate, and which network bears the larger rates?",
    ),
    scaled_down=Text(
        "用 1,797 张 8×8 数字上的小型全连接网络代替 ImageNet 上的 Inception，目标是 95% 而不是 72.2% 的准确率。",
        "Small fully connected networks on 1,797 digits of 8×8 pixels stand in for Inception on ImageNet, with 95 % instead of 72.2 % accuracy as the target.",
    ),
    parameters=BatchNorm,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=2,
)
