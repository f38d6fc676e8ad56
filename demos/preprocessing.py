"""Preprocessing (1.28): raw, centred, standardised and whitened inputs, and how many steps gradient descent takes on each.

*plane*: linear regression on two features, where theory is exact; *table*: logistic regression on a real table; *whitening* and *statistics*: the same
training, with the eye on what whitening does to the test loss, and on test rows standardised by their own statistics. float64 on the CPU throughout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Grid, Line, LineChart, PlaneChart, Points, Role
from demos.core.datasets import raw_table
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data, read_table
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import diverged_as_infinite
from demos.core.statistics import exponent, interval, log_spaced, mean_and_band, mean_and_spread, ratio_interval, thinned
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

KINDS: dict[str, tuple[Text, Role]] = {
    "raw": (Text("原始", "raw"), "baseline"), "centred": (Text("中心化", "centred"), "first"),
    "standardised": (Text("标准化", "standardised"), "second"), "whitened": (Text("白化", "whitened"), "third"),
}  # fmt: skip
ON_TABLE = ("table", "whitening", "statistics")


@dataclass(frozen=True)
class Preprocessing(Parameters):
    task: str = mode_choice(
        "plane", {"plane": Text("两个特征", "two features"), "table": Text("真实表格", "a real table"), "whitening": Text("白化", "whitening"),
                  "statistics": Text("测试集的统计量", "test statistics")},
        label=Text("实验", "Experiment"), help=Text("看哪一件事。", "What to look at."),
    )  # fmt: skip
    ratio: float = real(
        10, 1, 50, log=True, label=Text("尺度比 r", "Scale ratio r"), modes=("plane",), help=Text("第二个特征的标准差是第一个的 r 倍。", "The second feature's standard deviation is r times the first's.")
    )  # fmt: skip
    mean: float = real(
        1, 0, 5, step=0.1, label=Text("均值 ÷ 标准差", "Mean ÷ standard deviation"), modes=("plane",), help=Text("两个特征的均值离零多远。", "How far the means of both features are from zero.")
    )  # fmt: skip
    correlation: float = real(
        0.8, 0, 0.99, label=Text("相关系数 ρ", "Correlation ρ"), modes=("plane",), help=Text("标准化去不掉它，白化才行。", "Standardising leaves it; whitening removes it.")
    )  # fmt: skip
    beside: str = choice(
        "standardised", {kind: name for kind, (name, _) in KINDS.items() if kind != "raw"},
        label=Text("与原始数据并排画出", "Drawn beside the raw data"), modes=("plane",), help=Text("它的损失曲面和路径。", "Its loss and its path."),
    )  # fmt: skip
    smoothing: float = real(
        1e-6, 1e-8, 1, log=True, label=Text("白化的平滑 ε", "Smoothing ε of whitening"), modes=("table", "whitening"), help=Text("各主轴除以 √(λ+ε)，λ 是相关矩阵的特征值。", "Each axis is divided by √(λ+ε), with λ an eigenvalue of the correlation matrix.")
    )  # fmt: skip
    batch: int = integer(
        8, 2, 64, label=Text("测试批的大小", "Rows in a test batch"), modes=("statistics",), help=Text("每批多少行，用这一批自己的统计量标准化。", "Size of the batches that are standardised by their own statistics.")
    )  # fmt: skip
    steps: int = integer(
        200, 50, 600, step=50, label=Text("训练步数", "Training steps"), modes=ON_TABLE, help=Text("全批量梯度下降。", "Full-batch gradient descent.")
    )  # fmt: skip
    draws: int = integer(
        6, 5, 10, advanced=True, label=Text("重复次数", "Repetitions"), help=Text("随机的数据（或训练、测试划分）。", "Random data (or splits).")
    )  # fmt: skip
    data: str = own_data("classes", modes=ON_TABLE)


PRESETS = {
    "plane": Preset(
        Text("两个特征", "Two features"),
        Text("尺度差 10 倍、均值不为零、还彼此相关：每种处理各能省多少步？", "Tenfold difference in scale, off centre, correlated: how many steps does each remedy save?"),
        {"task": "plane"}, "textbook",
    ),
    "table": Preset(
        Text("乳腺癌数据", "Breast cancer"),
        Text("30 个量纲各异的特征：训练能走多远？", "30 features in all sorts of units: how far does training get?"),
        {"task": "table"},
        look_for=Text(
            "比较训练损失和测试损失两张图：四种输入的名次是否一致。再看特征值图里四条线各有多平，与训练的快慢对得上吗。",
            "Compare the charts of training and test loss: do they rank the four inputs alike? Then see how flat each line of the eigenvalues is, and whether that agrees with the speed of training.",
        ),
    ),
    "whitening": Preset(
        Text("白化放大噪声", "Whitening noise"),
        Text("白化训练最快，测试呢？", "Whitening trains fastest. And on the test set?"),
        {"task": "whitening"}, "limits",
        look_for=Text(
            "盯住白化和标准化两条线：在训练损失图和测试损失图里各是谁低，差距随步数怎样变。再看特征值图里名次靠后的方向，白化把它们放大了多少。",
            "Follow the lines of whitened and standardised inputs: which is lower in training and which in the test, and how does the gap change with the steps? Then look at the last ranks of the eigenvalues: how much does whitening blow them up?",
        ),
    ),
    "statistics": Preset(
        Text("测试集自己算", "Test set by itself"),
        Text("测试时用测试批自己的均值方差，会怎样？", "What if test batches are standardised by their own mean and standard deviation?"),
        {"task": "statistics"}, "limits",
        look_for=Text(
            "看柱状图：四根柱子是同一个模型，只有测试时用的均值和标准差不同；后三根的错误率与第一根差多少。另两张图是用训练集的统计量训练的过程，可作对照。",
            "Look at the bars: all four are one model, and only the mean and standard deviation at test time differ; by how much does the error of each depart from that of the first? The other two charts show the training, with the training rows' statistics throughout.",
        ),
    ),
}  # fmt: skip

LECUN = Source("Efficient BackProp", "Y. LeCun, L. Bottou, G. B. Orr, K.-R. Müller", 1998, "https://doi.org/10.1007/3-540-49430-8_2")
CS231N = Source("CS231n course notes: Neural Networks Part 2", "Stanford University", 2016, "https://cs231n.github.io/neural-networks-2/")


def prepare(kind: str, x: Tensor, train: Tensor, smoothing: float = 0.0) -> Tensor:
    """Features x (…, N, F) prepared by the statistics of `train` (…, M, F); whitening turns standardised features onto their principal axes."""
    if kind == "raw":
        return x
    centred = x - train.mean(-2, keepdim=True)
    if kind == "centred":
        return centred
    scale = _scale(train.std(-2, keepdim=True))
    if kind == "standardised":
        return centred / scale
    own = (train - train.mean(-2, keepdim=True)) / scale
    values, axes = torch.linalg.eigh(own.transpose(-1, -2) @ own / own.shape[-2])
    white: Tensor = centred / scale @ axes / _scale((values.clamp_min(0) + smoothing).sqrt())[..., None, :]
    return white


def _scale(deviation: Tensor) -> Tensor:
    """What to divide by: a column that never changes stays 0."""
    changing: Tensor = deviation.where(deviation > 1e-9, 1.0)
    return changing


# ---- two features ----------------------------------------------------------------------------------------------------

ROWS, RATIOS, TOLERANCE, MOST_STEPS = 200, 8, 1e-3, 20_000
TARGET = (1.0, -0.5)  # the true weights of the features in units of their deviations


@dataclass
class Race:
    """Gradient descent on every draw, scale ratio and preparation at once: tensors are (draws, RATIOS, 4, …), preparations in the order of KINDS.

    The model is y = w·x without a constant, the loss half the mean squared error; the Hessian is E[xxᵀ], and the rate 2/(λmax + λmin).
    """

    hessian: Tensor  # (…, 2, 2)
    target: Tensor  # E[xy] (…, 2)
    w: Tensor
    arrived: Tensor  # steps until the error is TOLERANCE of that at the start; infinite: not yet
    path: list[Tensor] = field(default_factory=list)  # of the first draw at the largest ratio (4, 2)

    @classmethod
    def draw(cls, p: Preprocessing, generator: torch.Generator) -> Race:
        """The target is TARGET · features in units of their deviations, plus noise of deviation 0.1."""
        z, noise = torch.randn(p.draws, ROWS, 3, generator=generator, dtype=torch.float64).split([2, 1], 2)
        second = p.correlation * z[..., 0] + (1 - p.correlation**2) ** 0.5 * z[..., 1]
        units = torch.stack([z[..., 0], second], 2) + p.mean  # (draws, ROWS, 2)
        ratios = torch.tensor(log_spaced(1, p.ratio, RATIOS), dtype=torch.float64)
        x = units[:, None] * torch.stack([torch.ones_like(ratios), ratios], 1)[:, None]  # (draws, RATIOS, ROWS, 2)
        y = (units @ torch.tensor(TARGET, dtype=torch.float64) + 0.1 * noise[..., 0])[:, None, None, :, None]
        prepared = torch.stack([prepare(kind, x, x) for kind in KINDS], 2)
        y = y - torch.tensor([0.0, 1, 1, 1], dtype=torch.float64)[:, None, None] * y.mean(3, keepdim=True)  # raw inputs go with raw targets
        hessian = prepared.transpose(-1, -2) @ prepared / ROWS
        target = (prepared.transpose(-1, -2) @ y / ROWS)[..., 0]
        return cls(hessian, target, torch.zeros_like(target), torch.full(target.shape[:-1], math.inf, dtype=torch.float64))

    def __post_init__(self) -> None:
        values = torch.linalg.eigvalsh(self.hessian)
        self.condition, self.rate = values[..., 1] / values[..., 0], 2 / values.sum(-1, keepdim=True)
        self.best = torch.linalg.solve(self.hessian, self.target)
        self.path.append(self.w[0, -1])

    def step(self, number: int) -> bool:
        """One step of all; whether all have arrived."""
        self.w = self.w - self.rate * ((self.hessian @ self.w[..., None])[..., 0] - self.target)
        near = (self.w - self.best).square().sum(-1) <= TOLERANCE**2 * self.best.square().sum(-1)
        self.arrived = torch.where(near, self.arrived.clamp_max(number), self.arrived)
        self.path.append(self.w[0, -1])
        return bool(self.arrived.isfinite().all())


def theory(condition: float) -> float:
    """Steps until the error has shrunk to TOLERANCE, at the best rate: each multiplies it by (κ−1)/(κ+1) (in two dimensions exactly)."""
    return math.log(1 / TOLERANCE) / math.log((condition + 1) / max(condition - 1, 1e-12)) if condition > 1 else 1.0


def _run_plane(p: Preprocessing, generator: torch.Generator) -> Iterator[Snapshot]:
    race, pace, step = Race.draw(p, generator), Pace(), 0
    yield Snapshot(0, Text("就绪", "Ready"), _plane_charts(p, race))
    longest = min(MOST_STEPS, theory(float(race.condition.max()))) + 2
    done = False
    while not done and step < MOST_STEPS:
        step += 1
        done = race.step(step)
        share = min(0.99, math.log(step + 1) / math.log(longest + 1))
        if pace.due(share):
            yield Snapshot(share, Text(f"第 {step} 步", f"Step {step}"), _plane_charts(p, race))
    figures, outcome = judge_plane(p, race)
    yield Snapshot(1, Text("完成", "Done"), _plane_charts(p, race), figures, outcome)


def _landscape(race: Race, kind: str) -> PlaneChart:
    """Levels of the loss over both weights of one preparation (first draw, largest ratio), and the path so far."""
    name, role = KINDS[kind]
    i = list(KINDS).index(kind)
    best, hessian = race.best[0, -1, i], race.hessian[0, -1, i]
    wide, cells = 0.9 * float(best.square().sum().sqrt()), 50
    line = ((torch.arange(cells, dtype=torch.float64) + 0.5) / cells * 2 - 1) * wide
    middle = best / 2
    apart = torch.stack(torch.meshgrid(line, line, indexing="xy"), 2) + middle - best
    loss = ((apart @ hessian) * apart).sum(2) / 2
    made = min(len(race.path) - 1, int(min(float(race.arrived[0, -1, i]), MOST_STEPS)))
    # Steep valleys are crossed at each step: of long paths every other point shown is of an odd step, so that the picture still zigzags.
    chosen = [t if made < 60 else min(made, t + (t + n) % 2) for n, t in enumerate(thinned(made + 1))]
    first = float((best @ hessian @ best) / 2)
    across, up = ([float(race.path[t][i, axis]) for t in chosen] for axis in (0, 1))
    low, high = (middle - wide).tolist(), (middle + wide).tolist()
    kappa = float(race.condition[0, -1, i])
    return PlaneChart(
        Text(f"{name.zh}：κ = {kappa:.3g}", f"{name.en.capitalize()}: κ = {kappa:.3g}"), Axis(same("w₁"), low=low[0], high=high[0]), Axis(same("w₂"), low=low[1], high=high[1]),
        Text(f"{name.zh}数据的损失等高线（起点为 1）和梯度下降前 {made} 步的路径。", f"Levels of the loss for {name.en} inputs (1 at the start), and the path of gradient descent over {made} steps."),
        Grid(Text("损失", "loss"), loss / first, low=1e-3, high=4, log=True, bands=12),
        points=(Points(Text("最小值", "minimum"), [float(best[0])], [float(best[1])], "warning"),), lines=(Line(Text("路径", "path"), role, across, up),), equal=True,
    )  # fmt: skip


def _plane_charts(p: Preprocessing, race: Race) -> tuple[Chart, ...]:
    most = max(100.0, 10 ** math.ceil(math.log10(float(race.condition.max()))))
    kappas = log_spaced(1.02, most, 40)
    lines = [Line(Text("理论", "theory"), "theory", kappas, [theory(kappa) for kappa in kappas])]
    for i, (name, role) in enumerate(KINDS.values()):
        done = race.arrived[:, :, i].isfinite()
        runs = sorted(zip(race.condition[:, :, i][done].clamp_min(1.02).tolist(), race.arrived[:, :, i][done].tolist(), strict=True))
        runs = [runs[t] for t in thinned(len(runs))]
        lines.append(Line(name, role, [kappa for kappa, _ in runs], [steps for _, steps in runs], style="dots+line"))
    now = [f"{name.en} {_short(float(race.arrived[:, -1, i].mean()))}" for i, (name, _) in enumerate(KINDS.values())]
    zh = [f"{name.zh} {_short(float(race.arrived[:, -1, i].mean()))}" for i, (name, _) in enumerate(KINDS.values())]
    return (
        _landscape(race, "raw"),
        _landscape(race, p.beside),
        LineChart(
            Text("步数与条件数", "Steps against the condition number"), Axis(Text("条件数 κ（对数）", "condition number κ (log)"), log=True, low=1, high=most),
            Axis(Text("误差到千分之一的步数（对数）", "steps to a thousandth of the error (log)"), log=True, low=0.8, high=4 * most), tuple(lines),
            Text(f"每个点是一组数据；r = {p.ratio:g} 时的平均步数：{'，'.join(zh)}（∞：还没到）。", f"Each point is one set of data; mean steps at r = {p.ratio:g}: {', '.join(now)} (∞: not there yet)."),
        ),
    )  # fmt: skip


def judge_plane(p: Preprocessing, race: Race) -> tuple[tuple[Figure, ...], Outcome]:
    """The exponent of steps over κ, fitted for each draw to its runs with κ ≥ 10. Reproduced: its interval lies within 0.05 of 1, and every run that arrived took
    as many steps as theory says, to within 1. Same direction: the exponent's interval lies above ½. Otherwise, or without a factor of 3 between the
    largest and the least κ ≥ 10 of each draw, not at this scale.
    """
    powers, off = [], 0.0
    for condition, arrived in zip(race.condition.flatten(1).tolist(), race.arrived.flatten(1).tolist(), strict=True):
        runs = [(kappa, steps) for kappa, steps in zip(condition, arrived, strict=True) if math.isfinite(steps)]
        off = max([off, *(abs(steps - max(1, math.ceil(theory(kappa) - 1e-6))) for kappa, steps in runs)])
        hard = [run for run in runs if run[0] >= 10]
        if hard and max(hard)[0] > 3 * min(hard)[0]:
            powers.append(exponent(*zip(*hard, strict=True)))
    fitted = len(powers) == p.draws
    mean, low, high = interval(powers) if fitted else (0.0, 0.0, 0.0)
    status: Status = "not_at_this_scale"
    if fitted and low > 0.5:
        status = "reproduced" if low >= 0.95 and high <= 1.05 and off <= 1 else "same_direction"
    kappa = {kind: mean_and_spread(race.condition[:, -1, i].tolist()) for i, kind in enumerate(KINDS)}
    steps = {kind: mean_and_spread(race.arrived[:, -1, i].tolist()) for i, kind in enumerate(KINDS)}
    raw, chosen = (race.arrived[:, -1, list(KINDS).index(kind)].clamp_max(MOST_STEPS) for kind in ("raw", p.beside))
    gain = ratio_interval((raw / chosen).tolist())
    figures = (
        Figure(Text("指数：步数 ∝ κ^a", "Exponent: steps ∝ κ^a"), mean, (high - low) / 2 if fitted else None),
        *[Figure(Text(f"条件数：{name.zh}", f"Condition number: {name.en}"), *kappa[kind]) for kind, (name, _) in KINDS.items()],
        *[Figure(Text(f"步数：{name.zh}", f"Steps: {name.en}"), *steps[kind]) for kind, (name, _) in KINDS.items()],
        Figure(Text("步数与理论最多相差", "Steps differ from theory by at most"), off),
        Figure(Text(f"步数之比：原始 ÷ {KINDS[p.beside][0].zh}", f"Steps: raw ÷ {KINDS[p.beside][0].en}"), gain[0], (gain[2] - gain[1]) / 2, "×"),
    )  # fmt: skip
    told = {kind: (f"{kappa[kind][0]:.3g}", _short(steps[kind][0])) for kind in KINDS}
    law = Text(f"步数按 κ 的 {mean:.3f} 次方增长", f"steps grow as κ to the power {mean:.3f}") if fitted else Text("κ 大的数据太少，拟合不出指数", "there are too few sets with a large κ to fit an exponent")  # fmt: skip
    late = Text("", "") if bool(race.arrived.isfinite().all()) else Text(f"走了 {MOST_STEPS:,} 步还没到的不计入。", f" Runs that had not arrived after {MOST_STEPS:,} steps are left out.")  # fmt: skip
    explanation = Text(
        f"κ（和步数）：原始 {told['raw'][0]}（{told['raw'][1]}），中心化 {told['centred'][0]}（{told['centred'][1]}），标准化 {told['standardised'][0]}（{told['standardised'][1]}），"
        f"白化 {told['whitened'][0]}（{told['whitened'][1]}）。{law.zh}，每次的步数与理论（每步误差乘以 (κ−1)/(κ+1)）最多差 {off:.0f} 步。学习率受最陡的方向限制，最平的方向就走得慢：均值不为零会多出一个很大的特征值，"
        f"尺度不一会把谷拉长，相关会把谷转斜；中心化、标准化、白化依次去掉它们。变的只是坐标。{late.zh}",
        f"κ (and steps): raw {told['raw'][0]} ({told['raw'][1]}), centred {told['centred'][0]} ({told['centred'][1]}), standardised {told['standardised'][0]} ({told['standardised'][1]}), whitened "
        f"{told['whitened'][0]} ({told['whitened'][1]}). Here {law.en}, and no run differs from theory, a factor of (κ−1)/(κ+1) for each step, by more than {off:.0f} steps. The steepest direction limits the rate, so the "
        "flattest is slow: a mean off zero adds a very large eigenvalue, unequal scales stretch the valley, correlation tilts it; centring, standardising and whitening remove them in this order. "
        f"Only the coordinates change.{late.en}",
    )  # fmt: skip
    answer = "little" if gain[0] < 3 else "tens" if gain[0] < 30 else "hundreds" if gain[0] < 300 else "more"
    published = Text("收敛时间正比于条件数 κ = λmax/λmin；均值不为零会产生很大的特征值", "convergence time is proportional to the condition number κ = λmax/λmin; a mean off zero makes a very large eigenvalue")  # fmt: skip
    return figures, Outcome(Verdict(status, figures[0], published, LECUN, explanation), answer)


def _short(value: float) -> str:
    """Three significant digits: 2,070, 0.0143, ∞."""
    return "∞" if math.isinf(value) else f"{float(f'{value:.3g}'):,.0f}" if value >= 1000 else f"{value:.3g}"


# ---- a real table ----------------------------------------------------------------------------------------------------

MULTIPLES = (1.0, 2.0, 4.0, 8.0)  # of the rate 1/L that is safe everywhere; each preparation is judged at its best
MOST_ROWS, LOOKS = 900, 40


class Training:
    """Softmax regression on D splits × 4 preparations × 4 learning rates. G = D · 4 groups share their inputs, preparations within a split."""

    def __init__(self, p: Preprocessing, generator: torch.Generator) -> None:
        if p.data:
            table = read_table(p.data, "classes")
            x, y = torch.tensor(table.features, dtype=torch.float64), torch.tensor(table.targets).long()
        else:
            features, y, _ = raw_table("breast_cancer")
            x = features.double()
        orders = [torch.randperm(len(y), generator=generator)[:MOST_ROWS] for _ in range(p.draws)]
        third = len(orders[0]) // 3
        self.classes, self.draws = int(y.max()) + 1, p.draws
        self.raw = [(x[order[third:]], x[order[:third]]) for order in orders]  # training and test rows of each split
        self.labels = torch.stack([y[order] for order in orders])  # the test rows first
        inputs = [
            _with_ones(torch.cat([prepare(kind, part, train, p.smoothing) for part in (test, train)]))
            for train, test in self.raw for kind in KINDS
        ]  # fmt: skip
        self.test_x, self.train_x = torch.stack(inputs).split([third, len(orders[0]) - third], 1)  # (G, N, F + 1)
        hot = torch.nn.functional.one_hot(self.labels, self.classes).double().repeat_interleave(len(KINDS), 0)
        self.test_y, self.train_y = hot.split([third, len(orders[0]) - third], 1)  # (G, N, classes)
        self.spectrum = torch.linalg.eigvalsh(self.train_x.transpose(1, 2) @ self.train_x / self.train_x.shape[1]).view(
            p.draws, len(KINDS), -1
        )
        rates = torch.tensor(MULTIPLES, dtype=torch.float64) / (self.spectrum[..., -1:].reshape(-1, 1) / 2)  # (G, 4)
        self.rates = rates.repeat_interleave(self.classes, 1)[..., None]
        self.w = torch.zeros(len(inputs), len(MULTIPLES) * self.classes, x.shape[1] + 1, dtype=torch.float64)

    def losses(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy (G, 4) in nats, and its gradient in w (G, 4 · classes, F + 1)."""
        logs = (self.w @ x.transpose(1, 2)).view(len(x), len(MULTIPLES), self.classes, -1).log_softmax(2)
        target = y.transpose(1, 2)[:, None]
        return -(logs * target).sum(2).mean(2), (logs.exp() - target).flatten(1, 2) @ x / x.shape[1]

    def step(self) -> Tensor:
        """One step of all; the training losses (draws, 4 kinds, 4 rates) before it."""
        losses, gradient = self.losses(self.train_x, self.train_y)
        self.w = self.w - self.rates * gradient
        return self._shaped(losses)

    def test(self) -> Tensor:
        return self._shaped(self.losses(self.test_x, self.test_y)[0])

    def _shaped(self, losses: Tensor) -> Tensor:
        return diverged_as_infinite(losses.view(self.draws, len(KINDS), -1))

    def weights(self, kind: int, rate: int) -> Tensor:
        """(draws, classes, F + 1)"""
        return self.w.view(self.draws, len(KINDS), len(MULTIPLES), self.classes, -1)[:, kind, rate]


def _with_ones(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)


def own_statistics(training: Training, rate: int, batch: int) -> list[list[float]]:
    """Test error in % for each split when the test rows of the standardised model are standardised by: the training rows; themselves as a whole; themselves in
    batches; themselves in batches of one class each (a batch holds `batch` rows, or what is left of them, at least 2).
    """
    weights, errors = training.weights(list(KINDS).index("standardised"), rate), []
    for (train, test), labels, w in zip(training.raw, training.labels, weights, strict=True):
        y = labels[: len(test)]
        everything = torch.arange(len(test))
        batches = everything.split(batch)
        by_class = [chunk for k in y.unique() for chunk in everything[y == k].split(batch)]
        errors.append(
            [_error(test, y, w, *how) for how in (([everything], train), ([everything], None), (batches, None), (by_class, None))]
        )
    return errors


def _error(x: Tensor, y: Tensor, w: Tensor, groups: Sequence[Tensor], statistics: Tensor | None) -> float:
    """Error in % on groups of rows of x, each standardised by `statistics` or, without them, by itself. A single row has no deviation and is left out."""
    kept = [rows for rows in groups if len(rows) > 1]
    if not kept:
        return 0.0
    z = torch.cat([prepare("standardised", x[rows], x[rows] if statistics is None else statistics) for rows in kept])
    return 100 * float(((_with_ones(z) @ w.T).argmax(1) != y[torch.cat(kept)]).double().mean())


@dataclass
class Record:
    """What the looks so far have seen: steps, training and test losses (draws, 4 kinds, 4 rates)."""

    steps: list[int] = field(default_factory=list)
    train: list[Tensor] = field(default_factory=list)
    test: list[Tensor] = field(default_factory=list)

    def best(self, kind: int) -> int:
        """The rate with the lowest training loss at the last look."""
        return int(self.train[-1][:, kind].log().mean(0).argmin())

    def at_best(self, losses: Sequence[Tensor], kind: int) -> list[list[float]]:
        """One row of looks for each split."""
        return torch.stack([loss[:, kind, self.best(kind)] for loss in losses], 1).clamp(1e-6, 1e6).tolist()


def _run_table(p: Preprocessing, generator: torch.Generator) -> Iterator[Snapshot]:
    record, errors = Record(), list[list[float]]()
    yield Snapshot(0, Text("载入数据", "Loading the data"), _table_charts(p, None, record, errors))
    training, pace, when = Training(p, generator), Pace(), set(thinned(p.steps + 1, LOOKS))
    for step in range(p.steps + 1):
        test = training.test() if step in when else None
        train = training.step()
        if test is not None:
            record.steps.append(step)
            record.train.append(train)
            record.test.append(test)
            errors = own_statistics(training, record.best(2), p.batch) if p.task == "statistics" else []
        if pace.due(step / p.steps):
            yield Snapshot(0.98 * step / p.steps, Text(f"第 {step} 步", f"Step {step}"), _table_charts(p, training, record, errors))
    judge = {"table": judge_table, "whitening": judge_whitening}.get(p.task)
    figures, outcome = judge(p, record) if judge else judge_statistics(p, errors)
    yield Snapshot(1, Text("完成", "Done"), _table_charts(p, training, record, errors), figures, outcome)


BARS = (Text("训练集的统计量", "training rows"), Text("整个测试集自己的", "whole test set"), Text("每批自己的", "each batch"), Text("单一类别的批自己的", "batches of one class"))  # fmt: skip


def _table_charts(p: Preprocessing, training: Training | None, record: Record, errors: list[list[float]]) -> tuple[Chart, ...]:
    steps = Axis(Text("步数", "step"), low=0, high=p.steps)
    charts: list[Chart] = []
    for title, losses in ((Text("训练损失", "Training loss"), record.train), (Text("测试损失", "Test loss"), record.test)):
        lines = [Line(name, role, record.steps, *mean_and_band(record.at_best(losses, i), log=True)) for i, (name, role) in enumerate(KINDS.values()) if losses]  # fmt: skip
        last = [(line.name, _short(list(line.y)[-1])) for line in lines]
        charts.append(LineChart(
            title, steps, Axis(Text("交叉熵（nat，对数）", "cross-entropy (nats, log)"), log=True, low=0.005, high=3), tuple(lines),
            Text(f"目前的{title.zh}：{'，'.join(f'{n.zh} {v}' for n, v in last) or '未开始'}。", f"{title.en} so far: {', '.join(f'{n.en} {v}' for n, v in last) or 'not begun'}."),
        ))  # fmt: skip
    if p.task == "statistics":
        means = [mean_and_spread(list(column)) for column in zip(*errors, strict=True)] or [(0.0, 0.0)] * len(BARS)
        charts.insert(0, BarChart(
            Text("测试时用谁的均值和标准差", "Whose mean and deviation at test time"), BARS, Axis(Text("测试错误率（%）", "test error (%)"), low=0, high=60),
            (Bars(Text("测试错误率", "test error"), "second", [m for m, _ in means], [s or 0.0 for _, s in means]),),
            Text(f"测试错误率：{'，'.join(f'{b.zh} {m:.1f}%' for b, (m, _) in zip(BARS, means, strict=True))}。" if errors else "还没有测。",
                 f"Test error: {', '.join(f'{b.en} {m:.1f} %' for b, (m, _) in zip(BARS, means, strict=True))}." if errors else "Not measured yet."),
        ))  # fmt: skip
        return tuple(charts)
    spectra = training.spectrum.flip(2).clamp_min(1e-12) if training else torch.ones(1, len(KINDS), 2)
    ranks = thinned(spectra.shape[2])
    charts.append(LineChart(
        Text("输入二阶矩的特征值", "Eigenvalues of the second moments"), Axis(Text("名次", "rank"), low=1, high=spectra.shape[2]),
        Axis(Text("特征值（对数）", "eigenvalue (log)"), log=True, low=1e-7, high=1e7),
        tuple(Line(name, role, [r + 1 for r in ranks], *mean_and_band(spectra[:, i, ranks].tolist(), log=True)) for i, (name, role) in enumerate(KINDS.values())),
        Text("从大到小排的特征值：越平，条件数越小。", "Eigenvalues in descending order: the flatter, the smaller the condition number."),
    ))  # fmt: skip
    return tuple(charts)


def _ratios(record: Record, losses: Sequence[Tensor], above: int, below: int) -> tuple[float, float, float]:
    """Loss of one preparation ÷ that of another at the last look, split by split: mean and interval."""
    first, second = ([row[-1] for row in record.at_best(losses[-1:], kind)] for kind in (above, below))
    return ratio_interval([a / b for a, b in zip(first, second, strict=True)])


def _loss_figures(record: Record) -> list[Figure]:
    return [
        Figure(Text(f"{zh}：{name.zh}", f"{en}: {name.en}"), *mean_and_spread([row[-1] for row in record.at_best(losses, i)]))
        for zh, en, losses in (("训练损失", "Training loss", record.train), ("测试损失", "Test loss", record.test)) for i, (name, _) in enumerate(KINDS.values())
    ]  # fmt: skip


def judge_table(p: Preprocessing, record: Record) -> tuple[tuple[Figure, ...], Outcome]:
    """Training losses after the same number of steps. Reproduced: each remedy lowers it (the intervals of raw ÷ centred, centred ÷ standardised and
    standardised ÷ whitened all lie above 1). Same direction: raw ÷ standardised does. Otherwise not at this scale.
    """
    steps = [_ratios(record, record.train, i, i + 1) for i in range(3)]
    mean, low, high = _ratios(record, record.train, 0, 2)
    status: Status = "reproduced" if all(step[1] > 1 for step in steps) else "same_direction" if low > 1 else "not_at_this_scale"
    figures = (
        Figure(Text("训练损失之比：原始 ÷ 标准化", "Training loss: raw ÷ standardised"), mean, (high - low) / 2, "×"),
        *_loss_figures(record),
    )
    train, test = ([figure.value for figure in figures[start : start + 4]] for start in (1, 5))
    names = [name for name, _ in KINDS.values()]
    lowest = min(range(4), key=lambda i: test[i])
    moral = Text("训练得快不等于泛化得好", "faster training is not better generalisation")
    if train[lowest] == min(train):
        moral = Text("这里训练最快的，测试也最好", "here the fastest in training is also the best in the test")
    explanation = Text(
        f"{p.steps} 步之后的训练损失：" + "，".join(f"{n.zh} {v:.3g}" for n, v in zip(names, train, strict=True)) + "（各取最好的学习率）。原始特征量级不同，学习率受最大的那个限制，其余方向几乎不动。"
        f"测试损失最低的是{names[lowest].zh}（" + "，".join(f"{n.zh} {v:.3g}" for n, v in zip(names, test, strict=True)) + "）："
        f"{moral.zh}。逻辑回归的 Hessian 随权重变，步数与 κ 只是大致成比例；"
        "决策树只看大小次序，缩放对它没有影响。",
        f"Training loss after {p.steps} steps: " + ", ".join(f"{n.en} {v:.3g}" for n, v in zip(names, train, strict=True)) + " (each at its best rate). Where raw features differ in scale, the largest "
        f"limits the rate, and the other directions hardly move. The lowest test loss is that of the {names[lowest].en} inputs (" + ", ".join(f"{n.en} {v:.3g}" for n, v in zip(names, test, strict=True)) + "): "
        f"{moral.en}. The Hessian of logistic regression changes with the weights, so steps follow κ only roughly; decision trees look only at the order of values, so scaling makes no difference to them.",
    )  # fmt: skip
    published = Text(
        "输入均值接近零、各维协方差相近、互不相关时收敛更快",
        "convergence is faster if inputs have mean near zero, about the same covariance, and are uncorrelated if possible",
    )
    return figures, Outcome(Verdict(status, figures[0], published, LECUN, explanation), list(KINDS)[lowest])


def judge_whitening(p: Preprocessing, record: Record) -> tuple[tuple[Figure, ...], Outcome]:
    """Test loss of whitened ÷ standardised inputs. Reproduced: the interval lies above 1 although the training loss is lower. Same direction: it lies above 1.
    Otherwise not at this scale.
    """
    mean, low, high = _ratios(record, record.test, 3, 2)
    faster = _ratios(record, record.train, 2, 3)
    status: Status = "not_at_this_scale" if not low > 1 else "reproduced" if faster[1] > 1 else "same_direction"
    figures = (
        Figure(Text("测试损失之比：白化 ÷ 标准化", "Test loss: whitened ÷ standardised"), mean, (high - low) / 2, "×"),
        Figure(Text("训练损失之比：标准化 ÷ 白化", "Training loss: standardised ÷ whitened"), faster[0], (faster[2] - faster[1]) / 2, "×"),
        *_loss_figures(record),
    )
    if low > 1:
        why = Text(
            "白化把方差极小的方向也拉到 1，那里多半是测量噪声，模型很快就把它们当成信号。ε 越大，小特征值的方向被放大得越少：把 ε 往 1 调试试。",
            "Whitening stretches the directions of tiny variance to 1 as well; they are mostly measurement noise, and the model soon takes them for signal. The larger ε, the less the small eigenvalues are blown up: move it towards 1.",
        )
    else:
        why = Text(
            "置信区间没有全在 1 以上：ε 压住了小特征值，或者这些数据里方差小的方向也带信号。",
            "The interval does not lie above 1: ε keeps the small eigenvalues down, or in these data the directions of small variance carry signal too.",
        )
    explanation = Text(
        f"白化（ε = {p.smoothing:g}）的训练损失是标准化的 {1 / faster[0]:.2g} 倍，测试损失是 {mean:.2g} 倍。{why.zh}特征多时白化还要 O(d³) 的特征分解，所以通常只做标准化。",
        f"Whitening (ε = {p.smoothing:g}) has {1 / faster[0]:.2g} times the training loss of standardising, and {mean:.2g} times the test loss. {why.en} With many features it also takes an "
        "eigendecomposition of order d³, so in practice one mostly just standardises.",
    )  # fmt: skip
    published = Text(
        "白化会大大放大数据中的噪声；加大平滑可以缓解",
        "whitening can greatly exaggerate the noise in the data; stronger smoothing mitigates it",
    )
    answer = "lower" if mean < 1 / 1.1 else "same" if mean <= 1.1 else "higher" if mean <= 2 else "much"
    return figures, Outcome(Verdict(status, figures[0], published, CS231N, explanation), answer)


def judge_statistics(p: Preprocessing, errors: list[list[float]]) -> tuple[tuple[Figure, ...], Outcome]:
    """By how many points the test error (see `own_statistics`) rises above that with the training statistics. Reproduced: for batches of one class, the interval
    lies above 0. Same direction: for mixed batches only. Otherwise not at this scale.
    """
    rises = [[row[i] - row[0] for row in errors] for i in (1, 2, 3)]
    mean, low, high = interval(rises[2])
    status: Status = "reproduced" if low > 0 else "same_direction" if interval(rises[1])[1] > 0 else "not_at_this_scale"
    points = Text("个百分点", "percentage points")
    levels = [mean_and_spread(list(column)) for column in zip(*errors, strict=True)]
    figures = (
        Figure(Text("单一类别的批：错误率上升", "Batches of one class: rise of the error"), mean, (high - low) / 2, points),
        *[Figure(Text(f"测试错误率：{name.zh}", f"Test error: {name.en}"), *level, "%") for name, level in zip(BARS, levels, strict=True)],
    )
    whole, mixed = (mean_and_spread(rise)[0] for rise in rises[:2])
    luck = (
        Text("（分布相同、样本又多，所以看不出错）", " (same distribution and many rows, so the mistake does not show)")
        if abs(whole) < 2
        else Text("", "")
    )
    why = Text(
        "：减去这一批自己的均值，恰好把区分两类的差别减掉了，模型只好靠猜", ": subtracting a batch's own mean takes away the very difference between the classes, and the model has to guess"
    ) if mean > 10 else Text("", "")  # fmt: skip
    explanation = Text(
        f"用训练集的统计量，测试错误率 {levels[0][0]:.1f}%；整个测试集自己算，变化 {whole:+.1f} 个百分点{luck.zh}；每批 {p.batch} 行自己算，变化 {mixed:+.1f}；每批只有一类时变化 {mean:+.1f}{why.zh}。"
        "线上的数据常常就是这样一小批一小批来的，所以均值和标准差要在训练集上算好，随模型一起保存。",
        f"With the training statistics the test error is {levels[0][0]:.1f} %. With those of the whole test set it changes by {whole:+.1f} points{luck.en}; with those of each batch of {p.batch} rows by "
        f"{mixed:+.1f}; with batches of one class by {mean:+.1f}{why.en}. Data in production often come like that, so compute mean and standard deviation on the training set and store them with the model.",
    )  # fmt: skip
    published = Text("预处理的统计量（如均值）只能在训练集上算，再用到验证集和测试集上", "preprocessing statistics (such as the mean) must be computed on the training data only, then applied to validation and test data")  # fmt: skip
    answer = "same" if mean < 2 else "some" if mean <= 10 else "many"
    return figures, Outcome(Verdict(status, figures[0], published, CS231N, explanation), answer)


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Preprocessing) -> Prediction:
    if p.task == "plane":
        name = KINDS[p.beside][0]
        return Prediction(
            Text(
                f"两个特征的标准差相差 {p.ratio:g} 倍，均值是标准差的 {p.mean:g} 倍，相关系数 {p.correlation:g}。原始数据上梯度下降的步数是{name.zh}之后的多少倍？",
                f"Two features: standard deviations that differ by a factor of {p.ratio:g}, means {p.mean:g} times the standard deviation, correlation {p.correlation:g}. How many times fewer steps does gradient descent take with {name.en} inputs?",
            ),
            {"little": Text("不到 3 倍", "less than 3 times"), "tens": Text("3–30 倍", "3 to 30 times"), "hundreds": Text("30–300 倍", "30 to 300 times"), "more": Text("300 倍以上", "over 300 times")},
        )  # fmt: skip
    if p.task == "table":
        return Prediction(
            Text(f"各训练 {p.steps} 步，学习率各取最好的。哪种输入的测试损失最低？", f"After {p.steps} steps at the best rate of each, which inputs give the lowest test loss?"),
            {kind: name for kind, (name, _) in KINDS.items()},
        )  # fmt: skip
    if p.task == "whitening":
        return Prediction(
            Text(f"白化（ε = {p.smoothing:g}）之后训练 {p.steps} 步，测试损失与标准化相比？", f"After {p.steps} steps on whitened inputs (ε = {p.smoothing:g}), how does the test loss compare with standardised inputs?"),
            {"lower": Text("低 10% 以上", "over 10 % lower"), "same": Text("差不多", "about the same"), "higher": Text("高，但不到 2 倍", "higher, but less than twice"), "much": Text("2 倍以上", "more than twice")},
        )  # fmt: skip
    return Prediction(
        Text(f"测试时每批 {p.batch} 行、同属一类，用这一批自己的均值和标准差标准化。错误率上升多少？", f"At test time, batches of {p.batch} rows of one class are standardised by their own mean and standard deviation. By how much does the error rise?"),
        {"same": Text("不到 2 个百分点", "less than 2 points"), "some": Text("2–10 个百分点", "2 to 10 points"), "many": Text("10 个百分点以上", "over 10 points")},
    )  # fmt: skip


def run(parameters: Preprocessing, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from (_run_plane if parameters.task == "plane" else _run_table)(parameters, generator)


_PLANE_CODE = """\
import math
import torch

torch.set_num_threads(1)
torch.manual_seed(0)
RATIO, MEAN, RHO = {ratio:g}, {mean:g}, {correlation:g}

z = torch.randn(200, 2, dtype=torch.float64)
x = torch.stack([z[:, 0], RHO * z[:, 0] + math.sqrt(1 - RHO**2) * z[:, 1]], 1) + MEAN
y = x @ torch.tensor([1, -0.5], dtype=torch.float64) + 0.1 * torch.randn(200, dtype=torch.float64)
x = x * torch.tensor([1.0, RATIO])

centred = x - x.mean(0)
standardised = centred / x.std(0)
values, axes = torch.linalg.eigh(standardised.T @ standardised / 200)
whitened = standardised @ axes / values.sqrt()
for name, data in (("raw", x), ("centred", centred), ("standardised", standardised), ("whitened", whitened)):
    target = y if name == "raw" else y - y.mean()
    low, high = torch.linalg.eigvalsh(data.T @ data / 200).tolist()  # of the Hessian of the loss below
    best = torch.linalg.lstsq(data, target[:, None]).solution[:, 0]
    w, steps = torch.zeros(2, dtype=torch.float64), 0
    while (w - best).norm() > 1e-3 * best.norm() and steps < 20_000:
        w = w - 2 / (low + high) * (data.T @ (data @ w - target)) / 200  # the gradient of the mean of (data @ w - target)**2 / 2
        steps += 1
    kappa = high / low
    theory = math.log(1000) / math.log((kappa + 1) / (kappa - 1)) if kappa > 1 + 1e-9 else 1
    print(f"{{name:13}} kappa {{kappa:8.4g}}: {{steps}} steps, theory {{theory:.1f}}")
"""
_BREAST_CANCER = """\
from sklearn.datasets import load_breast_cancer

data = load_breast_cancer()
x = torch.tensor(data.data, dtype=torch.float32)
y = torch.tensor(data.target)
classes = 2
"""
_SCALED = "x = (x - x.mean(0)) / x.std(0).where(x.std(0) > 1e-12, 1.0)\n"  # the raw features are wanted here
_TABLE_CODE = """\
STEPS, EPSILON, BATCH = {steps}, {smoothing:g}, {batch}
x = x.double()
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
test, train = order[: len(x) // 3], order[len(x) // 3 :]

def scale(std):
    return std.where(std > 1e-9, 1.0)  # a column that never changes

mean, std = x[train].mean(0), scale(x[train].std(0))
z = (x - mean) / std
values, axes = torch.linalg.eigh(z[train].T @ z[train] / len(train))
inputs = {{"raw": x, "centred": x - mean, "standardised": z, "whitened": z @ axes / scale((values.clamp_min(0) + EPSILON).sqrt())}}

def fit(data, rate):
    data = torch.cat([data, torch.ones(len(data), 1, dtype=torch.float64)], 1)
    safe = 2 / torch.linalg.eigvalsh(data[train].T @ data[train] / len(train))[-1]
    hot = torch.nn.functional.one_hot(y[train], classes).double()
    w = torch.zeros(data.shape[1], classes, dtype=torch.float64)
    for _ in range(STEPS):
        w = w - rate * safe * data[train].T @ ((data[train] @ w).softmax(1) - hot) / len(train)
    loss = lambda rows: torch.nn.functional.cross_entropy(data[rows] @ w, y[rows]).item()
    return loss(train), loss(test), w

for name, data in inputs.items():
    training, testing, w = min((fit(data, rate) for rate in (1, 2, 4, 8)), key=lambda result: result[0])
    print(f"{{name:13}} training loss {{training:.4f}}, test loss {{testing:.4f}}")
    if name == "standardised":
        weights = w

def error(groups, own):
    wrong = count = 0
    for rows in groups:
        if len(rows) > 1:
            data = (x[rows] - x[rows].mean(0)) / scale(x[rows].std(0)) if own else z[rows]
            wrong += ((data @ weights[:-1] + weights[-1]).argmax(1) != y[rows]).sum().item()
            count += len(rows)
    return 100 * wrong / count

print(f"test error with the training rows' mean and deviation: {{error([test], False):.1f}} %")
print(f"with those of each batch of {{BATCH}}: {{error(test.split(BATCH), True):.1f}} %")
print(f"with those of batches of one class: {{error([b for k in range(classes) for b in test[y[test] == k].split(BATCH)], True):.1f}} %")
"""


def code(p: Preprocessing) -> str:
    if p.task == "plane":
        return _PLANE_CODE.format(**p.values())
    data = digits_or_own(p.data, bundled=_BREAST_CANCER).replace(_SCALED, "")
    return "import torch\n\ntorch.set_num_threads(1)\n" + data + _TABLE_CODE.format(steps=p.steps, smoothing=p.smoothing, batch=p.batch)


DEMO = Demo(
    topic="normalization",
    title=Text("预处理：把山谷变成圆碗", "Preprocessing: from a ravine to a bowl"),
    question=Text(
        "为什么输入要中心化、标准化，白化又要小心？", "Why centre and standardise the inputs, and why be careful with whitening?"
    ),
    look_for=Text(
        "先看两个损失曲面的形状和上面的路径，再看每个点的步数是否落在理论的虚线上。",
        "Compare the shapes of the two losses and the paths on them, then see whether each point lies on the dashed line of theory.",
    ),
    scaled_down=Text(
        "用线性回归和逻辑回归代替深层网络：Hessian 直接由输入的二阶矩得到，条件数算得出来；网络的第一层面对的也是这样的输入。",
        "Linear and logistic regression stand in for deep networks: there the Hessian comes straight from the inputs' second moments. A network's first layer meets the same inputs.",
    ),
    parameters=Preprocessing,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=1,
)
