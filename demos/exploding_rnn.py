"""Exploding gradients in an RNN (1.5): which alarm rings first, what clipping saves, and what the largest singular value has to do with it.

`RNN` holds K plain recurrent networks with backpropagation through time written out, so that the gradient that arrives at every time step can be seen.
One mode trains them on recalling an input, with and without clipping, and watches four alarms; the other follows the Jacobian ∂h_T/∂h_0 of hundreds of
untrained networks, which is all that the theory speaks of.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demos.core.charts import Axis, Chart, Line, LineChart, Role, Rule
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.stacked import ACTIVATIONS, SGD, diverged_as_infinite
from demos.core.statistics import mean_and_band, mean_and_spread, ratio_interval, thinned
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 16
INPUT = 0.5  # standard deviation of the inputs
SLOPES = {"tanh": 1.0, "sigmoid": 0.25}  # γ, the largest slope
WINDOW, PATIENCE = 25, 60  # steps over which a loss is averaged; steps after which it should have fallen
JUMP = 5.0  # a loss above so many times the mean of the last ten, and above 1 (knowing nothing), has jumped
LOST = 10.0  # a loss above this, or not a number, counts as this: ten times the variance of the target
SIMILAR = 1.5  # losses within this factor count as alike


@dataclass(frozen=True)
class ExplodingRnn(Parameters):
    task: str = mode_choice(
        "train", {"train": Text("训练与报警", "training and alarms"), "condition": Text("爆炸的条件", "the condition")},
        label=Text("实验", "Experiment"), help=Text("训练一个 RNN，或只看雅可比矩阵。", "Train an RNN, or look at its Jacobian only."),
    )  # fmt: skip
    matrix: str = choice(
        "orthogonal", {"orthogonal": Text("正交 × σ", "orthogonal × σ"), "normal": Text("随机正态", "random normal")},
        label=Text("循环权重", "Recurrent weights"),
        help=Text("正交：所有奇异值都是 σ；正态：只有最大的是 σ。", "Orthogonal: all singular values are σ. Normal: only the largest is."),
    )  # fmt: skip
    sigma: float = real(
        2,
        0.1,
        6,
        step=0.1,
        label=Text("最大奇异值 σ", "Largest singular value σ"),
        help=Text("训练开始时的值。", "At the start of training."),
    )
    length: int = integer(
        40,
        5,
        100,
        step=5,
        label=Text("序列长度 T", "Sequence length T"),
        help=Text("梯度往回走多少步。", "Steps that the gradient goes back."),
    )
    clip: float = real(
        1, 0.01, 100, log=True, label=Text("裁剪阈值", "Clipping threshold"), modes=("train",),
        help=Text("梯度总范数超过它就缩到它。", "A longer gradient is shortened to this norm."),
    )  # fmt: skip
    rate: float = real(
        0.1, 1e-3, 5, log=True, label=Text("学习率", "Learning rate"), modes=("train",), help=Text("普通 SGD。", "Plain SGD.")
    )  # fmt: skip
    activation: str = choice(
        "tanh", {"tanh": same("tanh"), "sigmoid": same("sigmoid")}, label=Text("激活函数", "Activation"), advanced=True,
        help=Text("最大斜率 γ：tanh 是 1，sigmoid 是 ¼。", "Largest slope γ: 1 for tanh, ¼ for sigmoid."),
    )  # fmt: skip
    lag: int = integer(
        3, 0, 20, label=Text("回忆多少步前", "Steps to recall"), advanced=True, modes=("train",),
        help=Text("目标是最后一步往前数第几步的输入。", "The target is the input so many steps before the last."),
    )  # fmt: skip
    steps: int = integer(
        200, 100, 400, step=20, advanced=True, modes=("train",), label=Text("训练步数", "Training steps"),
        help=Text("每步 16 条序列。", "With 16 sequences each."),
    )  # fmt: skip
    units: int = integer(
        32, 4, 48, advanced=True, label=Text("隐藏单元", "Hidden units"), help=Text("状态 h 的维数。", "Size of the state h.")
    )
    runs: int = integer(
        8, 5, 12, advanced=True, label=Text("重复次数", "Repetitions"), help=Text("不同的权重和数据。", "Different weights and data.")
    )  # fmt: skip


PRESETS = {
    "explodes": Preset(
        Text("爆炸与裁剪", "Explosion, clipping"), Text("σ = 2，40 步：四个警报谁先响，裁剪救得回来吗？", "σ = 2, 40 steps: which alarm is first, and does clipping help?"),
        {"task": "train"}, "textbook",
    ),
    "condition": Preset(
        Text("σ 要超过 1", "σ above 1"), Text("上百个随机矩阵：σ ≤ 1 时会不会有一个爆炸？", "Hundreds of random matrices: does a single one explode at σ ≤ 1?"),
        {"task": "condition", "matrix": "normal", "sigma": 1.5}, "other",
        look_for=Text(
            "看竖线 σγ = 1 的两侧：σγ ≤ 1 时有没有哪个网络的梯度放大，刚超过 1 是不是就放大？再比较正交和正态两条曲线各从哪里抬头，离虚线（上限）多远。",
            "Look at both sides of the upright line σγ = 1: does the gradient grow in any network at σγ ≤ 1, and does it grow as soon as 1 is passed? Then compare where the orthogonal and the normal curves lift off, and how far they stay from the dashed bound.",
        ),
    ),
    "quiet": Preset(
        Text("σ > 1 却没炸", "σ > 1, yet quiet"), Text("σ = 1.5 的正态矩阵：条件满足了，梯度就一定爆炸吗？", "Normal matrices with σ = 1.5: the condition holds, but must the gradient explode?"),
        {"task": "train", "matrix": "normal", "sigma": 1.5}, "limits",
    ),
}  # fmt: skip

PASCANU = Source(
    "On the difficulty of training Recurrent Neural Networks", "Razvan Pascanu, Tomas Mikolov, Yoshua Bengio", 2013, "https://arxiv.org/abs/1211.5063",
)  # fmt: skip
NORMS = {"orthogonal": Text("正交", "orthogonal"), "normal": Text("正态", "normal")}


# ---- the networks ----------------------------------------------------------------------------------------------------


def recurrent_weights(matrix: str, sigmas: Sequence[float], units: int, generator: torch.Generator) -> Tensor:
    """A random matrix (K, units, units) for each largest singular value."""
    drawn = torch.randn(len(sigmas), units, units, generator=generator)
    unit = torch.linalg.qr(drawn)[0] if matrix == "orthogonal" else drawn / torch.linalg.matrix_norm(drawn, 2)[:, None, None]
    scaled: Tensor = unit * torch.tensor(sigmas)[:, None, None]
    return scaled


class RNN:
    """K networks h_t = φ(W h_{t−1} + u x_t + b), output v·h_T; a stack that `SGD` can move. Each matrix has its own input and output weights."""

    def __init__(self, matrices: Tensor, activation: str, generator: torch.Generator, device: torch.device, copies: int = 1) -> None:
        def spread(tensor: Tensor) -> Tensor:
            return tensor.repeat(copies, *[1] * (tensor.dim() - 1)).to(device)

        count, units = matrices.shape[:2]
        self.count, self.device = count * copies, device
        self._act, self._derivative = ACTIVATIONS[activation]
        self.w, self.u = spread(matrices), spread(torch.randn(count, units, 1, generator=generator))
        self.b, self.v = spread(torch.zeros(count, units)), spread(0.1 * torch.randn(count, 1, units, generator=generator) / units**0.5)

    def parameters(self) -> list[Tensor]:
        return [self.w, self.u, self.b, self.v]

    def states(self, x: Tensor) -> list[Tensor]:
        """h_0 = 0, h_1, …, h_T, each (K, units, B), for inputs x (K, B, T)."""
        h = torch.zeros(self.count, self.w.shape[1], x.shape[1], device=self.device)
        driven = self.u * x.transpose(1, 2).reshape(self.count, 1, -1) + self.b[..., None]  # (K, units, T · B)
        states = [h]
        for into in driven.split(x.shape[1], 2):
            states.append(self._act(torch.baddbmm(into, self.w, states[-1])))
        return states

    def back(self, states: Sequence[Tensor], flow: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Backpropagation through time of `flow` = ∂L/∂h_T (K, units, any): ∂L/∂z_t for t = 1 … T, and ∂L/∂h_t for t = T, …, 0."""
        slopes, flows, transposed = [], [flow], self.w.transpose(1, 2)
        for h in reversed(states[1:]):
            slopes.append(flows[-1] * self._derivative(h))
            flows.append(torch.bmm(transposed, slopes[-1]))
        return slopes[::-1], flows

    def gradients(self, x: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Mean squared errors (K,), their gradients (as `parameters`), and ‖∂L/∂h_t‖ of a sample, root mean square (T + 1, K), t = T first. y is (K, B)."""
        states, batch = self.states(x), x.shape[1]
        error = torch.bmm(self.v, states[-1])[:, 0] - y
        slope = (2 / batch * error)[:, None]
        slopes, flows = self.back(states, self.v.transpose(1, 2) * slope)
        z, h = torch.cat(slopes, 2), torch.cat(states[:-1], 2)
        into = x.transpose(1, 2).reshape(self.count, -1, 1)
        norms = torch.stack([flow.square().sum((1, 2)) for flow in flows]).mul(batch).sqrt()
        return error.square().mean(1), [z @ h.transpose(1, 2), z @ into, z.sum(2), slope @ states[-1].transpose(1, 2)], norms


def clipped(gradients: Sequence[Tensor], thresholds: Tensor) -> tuple[list[Tensor], Tensor]:
    """Gradients shortened to the thresholds (K,), and the norms (K,) before that. What is not finite stays so."""
    norms = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0).sqrt()
    factors = (thresholds / norms).clamp_max(1)
    return [gradient * factors.view(-1, *[1] * (gradient.dim() - 1)) for gradient in gradients], norms


# ---- training, and four alarms ---------------------------------------------------------------------------------------

ALARMS = {
    "gradient": Text("梯度 > 1", "gradient > 1"), "loss": Text("损失跳变", "loss jumps"),
    "weights": Text("权重翻倍", "weights double"), "stuck": Text("损失不降", "loss stays"),
}  # fmt: skip
GROUPS: list[tuple[Text, Role]] = [(Text("不裁剪", "no clipping"), "second"), (Text("裁剪", "clipped"), "first")]


def alarm_steps(losses: Tensor, flows: Tensor, sizes: Tensor) -> Tensor:
    """The step (from 1) at which each alarm first rings, inf if never: (alarms as in ALARMS, K).

    losses (steps, K); flows: largest ‖∂L/∂h_t‖ over time (steps, K); sizes: norm of W over that at the start (steps, K). Gradient: above 1. Loss: not a
    number, or above JUMP times the mean of the ten before and above the target's variance. Weights: not a number, or twice the start. Stuck: from PATIENCE on, the mean of the last
    WINDOW losses is above 90 % of the target's variance.
    """
    never = torch.full_like(losses, False, dtype=torch.bool)
    jumped, stuck = ~losses.isfinite(), never.clone()
    if len(losses) > 10:
        before = losses.unfold(0, 10, 1).mean(2)[:-1]
        jumped[10:] |= losses[10:] > (JUMP * before).clamp_min(1)
    if len(losses) >= PATIENCE:
        late = losses.unfold(0, WINDOW, 1).mean(2)
        stuck[WINDOW - 1 :] = ~(late <= 0.9)
        stuck[: PATIENCE - 1] = False
    rings = torch.stack([~(flows <= 1), jumped, ~(sizes < 2), stuck])
    first: Tensor = rings.int().argmax(1).double() + 1
    return first.masked_fill(~rings.any(1), math.inf)


@dataclass
class Log:
    """What training leaves: one entry for each step, (K,) each, on the CPU."""

    losses: list[Tensor]
    peaks: list[Tensor]
    sizes: list[Tensor]
    start: Tensor  # ‖∂L/∂h_t‖ of a sample before training (T + 1, K), t = T first
    flows: Tensor  # and now

    def alarms(self, runs: int) -> Tensor:
        """(alarms, groups, runs)"""
        if not self.losses:
            return torch.full((len(ALARMS), 2, runs), math.inf, dtype=torch.float64)
        return alarm_steps(*(torch.stack(rows) for rows in (self.losses, self.peaks, self.sizes))).view(-1, 2, runs)


def _digits(value: float) -> str:
    """Two significant digits: 280, 0.49, 8.2e-08, ∞."""
    return f"{float(f'{value:.2g}'):g}".replace("inf", "∞")


def _timeline(p: ExplodingRnn, alarms: Tensor, steps: int) -> LineChart:
    """A dot for each run and alarm, at the step of its first ring; without clipping above, with clipping below the alarm's place."""
    lines, told = [], []
    for group, (name, role) in enumerate(GROUPS):
        found = [
            (float(alarms[a, group, r]), a + (0.2 - 0.4 * group) + 0.012 * (r - p.runs / 2))
            for a in range(len(ALARMS))
            for r in range(p.runs)
        ]
        dots = [(x, y) for x, y in found if math.isfinite(x)]
        lines.append(Line(name, role, [x for x, _ in dots], [y for _, y in dots], style="dots"))
        told.append(len(dots))
    return LineChart(
        Text("哪个警报先响（一个点是一次运行）", "Which alarm rings first (a dot for each run)"),
        Axis(Text("训练步数（对数）", "training step (log)"), log=True, low=1, high=p.steps),
        Axis(Text("警报", "alarm"), names=tuple(ALARMS.values())), tuple(lines),
        Text(
            f"到第 {steps} 步，{p.runs} 次不裁剪的运行共响 {told[0]} 次（最多 {4 * p.runs} 次），裁剪后 {told[1]} 次。",
            f"By step {steps}, {told[0]} of {4 * p.runs} possible first rings in {p.runs} runs without clipping, {told[1]} with clipping.",
        ),
    )  # fmt: skip


def _train_charts(p: ExplodingRnn, log: Log) -> tuple[Chart, ...]:
    steps, chosen = len(log.losses), thinned(p.length + 1)
    before = log.start[chosen, : p.runs].double().clamp_min(1e-12)
    back, curves = [Line(Text("训练前", "at the start"), "baseline", chosen, mean_and_band(before.T.tolist(), log=True)[0])], []
    for group, (name, role) in enumerate(GROUPS):
        rows = slice(group * p.runs, (group + 1) * p.runs)
        flow = diverged_as_infinite(log.flows[chosen, rows].double()).clamp_min(1e-12)
        back.append(Line(name, role, chosen, *mean_and_band(flow.T.tolist(), log=True)))
        if steps:
            picked = thinned(steps, 50)
            loss = torch.stack(log.losses)[:, rows].double()
            smooth = torch.stack([loss[max(0, i - 4) : i + 1].mean(0) for i in picked])
            mean, low, high = mean_and_band(diverged_as_infinite(smooth).clamp(1e-6).T.tolist(), log=True)
            curves.append(Line(name, role, [i + 1 for i in picked], mean, low, high))
    ratio = (log.flows[-1] / log.flows[0].clamp_min(1e-30)).view(2, -1).nan_to_num(math.inf).median(1).values
    gradient = LineChart(
        Text("梯度往回传", "The gradient going back in time"), Axis(Text("从最后一步往回走的步数", "steps back from the last one"), low=0, high=p.length),
        Axis(Text("‖∂L/∂h‖（对数）", "‖∂L/∂h‖ (log)"), log=True, low=1e-6, high=1e6), tuple(back),
        Text(f"往回走完 {p.length} 步，梯度变为 {_digits(float(ratio[0]))} 倍（不裁剪）、{_digits(float(ratio[1]))} 倍（裁剪）。",
             f"After {p.length} steps back the gradient is {_digits(float(ratio[0]))} times as large without clipping, {_digits(float(ratio[1]))} times with it."),
    )  # fmt: skip
    told = [_digits(list(line.y)[-1]) for line in curves] or ["–", "–"]
    loss_curves = LineChart(
        Text("训练损失", "Training loss"), Axis(Text("训练步数", "training step"), low=0, high=p.steps),
        Axis(Text("均方误差（对数）", "mean squared error (log)"), log=True, low=0.01, high=1000), tuple(curves),
        Text(f"损失：不裁剪 {told[0]}，裁剪 {told[1]}；什么都记不住时是 1。", f"Loss: {told[0]} without clipping, {told[1]} with it; 1 means no memory at all."),
    )  # fmt: skip
    return _timeline(p, log.alarms(p.runs), steps), gradient, loss_curves


def _run_train(p: ExplodingRnn, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    lag = min(p.lag, p.length - 1)
    network = RNN(recurrent_weights(p.matrix, [p.sigma] * p.runs, p.units, generator), p.activation, generator, device, copies=2)
    optimizer = SGD(network, [p.rate])
    thresholds = torch.tensor([math.inf, p.clip]).repeat_interleave(p.runs).to(device)
    start = network.w.flatten(1).norm(dim=1)

    def batch() -> tuple[Tensor, Tensor]:
        x = torch.randn(p.runs, BATCH, p.length, generator=generator).repeat(2, 1, 1).to(device)
        return INPUT * x, x[:, :, -1 - lag]

    start_flows = network.gradients(*batch())[2].cpu()
    log, growth = Log([], [], [], start_flows, start_flows), (start_flows[-1] / start_flows[0]).double()[: p.runs]
    pace = Pace()
    yield Snapshot(0, Text("就绪", "Ready"), _train_charts(p, log))
    for step in range(1, p.steps + 1):
        loss, gradients, flows = network.gradients(*batch())
        optimizer.step(clipped(gradients, thresholds)[0])
        log.flows = flows.cpu()
        log.losses.append(loss.cpu())
        log.peaks.append(flows.amax(0).cpu())
        log.sizes.append((network.w.flatten(1).norm(dim=1) / start).cpu())
        if pace.due(step / p.steps):
            yield Snapshot(0.99 * step / p.steps, Text(f"第 {step}/{p.steps} 步", f"Step {step}/{p.steps}"), _train_charts(p, log))
    late = torch.stack(log.losses[-p.steps // 4 :]).double().mean(0).nan_to_num(LOST).clamp(1e-9, LOST).view(2, -1)
    yield Snapshot(1, Text("完成", "Done"), _train_charts(p, log), *judge_train(p, growth, late, log.alarms(p.runs)))


def first_alarm(alarms: Tensor) -> str:
    """The alarm that rings first in most runs (alarms, runs), or none; of alarms in the same step the one named first in ALARMS."""
    firsts = [list(ALARMS)[int(run.argmin())] if run.isfinite().any() else "none" for run in alarms.T]
    return Counter(firsts).most_common(1)[0][0]


def judge_train(p: ExplodingRnn, growth: Tensor, late: Tensor, alarms: Tensor) -> tuple[tuple[Figure, ...], Outcome]:
    """growth: ‖∂L/∂h_0‖ ÷ ‖∂L/∂h_T‖ before training (runs,); late: mean loss over the last quarter, at most LOST, without and with clipping (2, runs);
    alarms: as Log.alarms.

    Where the gradient grows on its way back (median above 1), clipping should help. Reproduced: the interval of the ratio of losses (without ÷ with
    clipping) begins above 1, and with clipping the mean loss is below 0.9, less than knowing nothing. Same direction: only the former. Where it does
    not grow, clipping should change nothing. Reproduced: that interval lies within a factor of SIMILAR of 1. Same direction: the mean does.
    """
    explodes = float(growth.median()) > 1
    ratios = (late[0] / late[1]).tolist()
    mean, low, high = ratio_interval(ratios)
    status: Status = "not_at_this_scale"
    if explodes and low > 1:
        status = "reproduced" if float(late[1].mean()) < 0.9 else "same_direction"
    elif not explodes and 1 / SIMILAR < mean < SIMILAR:
        status = "reproduced" if low >= 1 / SIMILAR and high <= SIMILAR else "same_direction"
    answer = first_alarm(alarms[:, 0])
    factor = ratio_interval(growth.clamp_min(1e-30).tolist())[0]
    firsts = alarms[:, 0].median(1).values.tolist()
    figures = (
        Figure(Text(f"损失之比：不裁剪 ÷ 裁剪（95% 区间 {low:.2g} … {high:.2g}）", f"Loss without ÷ with clipping (95 % interval {low:.2g} … {high:.2g})"), mean, None, "×"),
        Figure(Text("开始时梯度往回的放大倍数", "Growth of the gradient on its way back, at the start"), factor, None, "×"),
        Figure(Text("后期损失：不裁剪（至多 10）", "Late loss without clipping (at most 10)"), *mean_and_spread(late[0].tolist())),
        Figure(Text("后期损失：裁剪", "Late loss with clipping"), *mean_and_spread(late[1].tolist())),
        *[Figure(Text(f"首次报警（不裁剪，中位数）：{n.zh}", f"First ring without clipping, median: {n.en}"), step, None, Text("步", "steps"))
          for n, step in zip(ALARMS.values(), firsts, strict=True)],
    )  # fmt: skip
    published = Text(
        "最大奇异值超过 1/γ 才可能爆炸（必要而不充分）；没有爆炸，裁剪也就无事可做（比值约为 1）",
        "gradients can explode only if the largest singular value is above 1/γ (necessary, not sufficient); without explosion clipping has nothing to do (ratio about 1)",
    )
    if explodes:
        published = Text(
            "裁剪范数能让 SGD 应付梯度爆炸；不裁剪时，一步会被甩到很远，训练变慢甚至失败（比值大于 1）",
            "norm clipping deals with exploding gradients, where an ordinary step lands far away and slows or prevents training (ratio above 1)",
        )
    explanation = _explain_train(p, explodes, factor, late, answer, firsts)
    return figures, Outcome(Verdict(status, figures[0], published, PASCANU, explanation), answer)


def _explain_train(p: ExplodingRnn, explodes: bool, growth: float, late: Tensor, first: str, firsts: Sequence[float]) -> Text:
    limit, lost = 1 / SLOPES[p.activation], int((late[0] >= LOST).sum())
    plain, clipped_loss = (float(row.mean()) for row in late)
    step, name = (firsts[list(ALARMS).index(first)], ALARMS[first]) if first != "none" else (math.inf, Text("", ""))
    told = Text(
        f"不裁剪时最先响的多半是“{name.zh}”（中位数：第 {step:.3g} 步）",
        f"Without clipping the first alarm is mostly “{name.en}” (median step {step:.3g})",
    )
    if first == "none":
        rang = Text("大多数不裁剪的运行没有任何警报。", "In most runs without clipping no alarm rings.")
    elif first != "gradient":
        rang = Text(
            f"{told.zh}，不是梯度：该查的是学习率或任务，而不是梯度爆炸。", f"{told.en}, not the gradient: look at the rate or the task."
        )
    elif explodes:
        rang = Text(
            f"{told.zh}，损失和权重的变化是后果，来得更晚。裁剪的运行里它也响（看的是裁剪前的梯度）：它提示的是危险，不等于已经造成损害。",
            f"{told.en}; loss and weights are consequences and follow. It rings in clipped runs too, as it looks at gradients before clipping: it warns of danger, which is not yet damage.",
        )
    else:
        rang = Text(
            f"{told.zh}，这是误报：梯度往回传时并没有放大；1 这个门槛没有绝对意义，应该和它自己的历史比。",
            f"{told.en}. That is a false alarm: the gradient does not grow on its way back, and 1 is no absolute bound; compare the gradient with its own past.",
        )
    if explodes:
        what = Text(
            f"每往回一步，梯度乘以 Wᵀ·diag(φ′)：训练刚开始，走完 {p.length} 步就已放大 {_digits(growth)} 倍。{p.runs} 次不裁剪的运行里有 {lost} 次损失超过 {LOST:g} 或变成 NaN，"
            f"后期平均损失 {plain:.2g}（最多按 {LOST:g} 计）；裁剪到 {p.clip:g} 后是 {clipped_loss:.2g}（什么都记不住时是 1）。",
            f"Each step back multiplies the gradient by Wᵀ·diag(φ′): over {p.length} steps it grows {_digits(growth)} times at the start. Of {p.runs} runs without clipping, {lost} "
            f"ended with a loss above {LOST:g} or NaN, and the late loss is {plain:.2g} on average (counted as {LOST:g} at most); clipped to {p.clip:g} it is {clipped_loss:.2g} (1: no memory at all). ",
        )
    else:
        why = Text(
            f"σ = {p.sigma:g} 没有超过 1/γ = {limit:g}，按理论不可能爆炸",
            f"σ = {p.sigma:g} is not above 1/γ = {limit:g}, so theory rules explosion out",
        )
        if p.sigma > limit:
            why = Text(
                f"σ = {p.sigma:g} 超过了 1/γ = {limit:g}，但这只是必要条件：正态矩阵只有少数方向能放大这么多，激活饱和时斜率又小于 γ",
                f"σ = {p.sigma:g} is above 1/γ = {limit:g}, but that is only necessary: a normal matrix stretches few directions that much, and saturated units have slopes below γ",
            )
            if p.matrix == "orthogonal":
                why = Text(
                    f"σ = {p.sigma:g} 超过了 1/γ = {limit:g}，但这只是必要条件：输入让单元饱和，斜率小于 γ，每步的乘积仍不到 1",
                    f"σ = {p.sigma:g} is above 1/γ = {limit:g}, but that is only necessary: the inputs saturate the units, whose slopes are below γ, and the product stays below 1",
                )
        what = Text(
            f"训练刚开始，梯度往回走 {p.length} 步变为原来的 {_digits(growth)} 倍，没有爆炸：{why.zh}。后期损失，裁剪时是 {clipped_loss:.2g}，不裁剪是 {plain:.2g}。",
            f"At the start the gradient becomes {_digits(growth)} times as large over {p.length} steps back, so nothing explodes: {why.en}. With and without clipping the late loss "
            f"is {clipped_loss:.2g} and {plain:.2g}. ",
        )
    return what + rang


# ---- the condition, over many random matrices ------------------------------------------------------------------------

SIGMAS = [0.25 * (i + 1) for i in range(16)]  # in units of 1/γ; 1 is among them
ASKED = 32  # networks with the learner's own matrix and σ


class Jacobians:
    """‖∂h_T/∂h_{T−k}‖, the largest growth that any gradient can have over k steps back, of untrained networks that read one random sequence each.

    Networks: orthogonal, then normal ones, each with every σ of SIGMAS in every run, then ASKED with the learner's matrix and σ.
    """

    def __init__(self, p: ExplodingRnn, device: torch.device, generator: torch.Generator) -> None:
        limit, self.runs = 1 / SLOPES[p.activation], p.runs
        grid = [sigma * limit for sigma in SIGMAS for _ in range(p.runs)]
        drawn = [recurrent_weights(kind, grid, p.units, generator) for kind in NORMS]
        drawn.append(recurrent_weights(p.matrix, [p.sigma] * ASKED, p.units, generator))
        self.bound = torch.tensor(grid + grid + [p.sigma] * ASKED, dtype=torch.float64) / limit  # of the growth in one step
        self.network = RNN(torch.cat(drawn), p.activation, generator, device)
        x = INPUT * torch.randn(self.network.count, 1, p.length, generator=generator)
        self._states = self.network.states(x.to(device))
        self._flow = torch.eye(p.units, device=device).expand(self.network.count, -1, -1)
        self.back, self.excess = 0, 0.0  # steps back so far; largest growth ÷ bound seen so far

    def advance(self) -> None:
        """One step further back in time."""
        h = self._states[-1 - self.back]
        self._flow = torch.bmm(self.network.w.transpose(1, 2), self._flow * self.network._derivative(h))
        self.back += 1

    def growth(self) -> tuple[Tensor, Tensor]:
        """Over the steps so far: (matrices, sigmas, runs) of the grid, and (ASKED,)."""
        norms = torch.linalg.matrix_norm(self._flow.cpu(), 2).double()
        visible = self.bound**self.back > 1e-30  # smaller numbers have lost their digits
        self.excess = max([self.excess, *(norms / self.bound**self.back)[visible].tolist()])
        return norms[:-ASKED].view(len(NORMS), len(SIGMAS), self.runs), norms[-ASKED:]


def _condition_charts(p: ExplodingRnn, back: int, grid: Tensor) -> tuple[Chart, ...]:
    names: list[tuple[Text, Role]] = [(NORMS["orthogonal"], "second"), (NORMS["normal"], "first")]
    lines, shares = [], []
    for (name, role), values in zip(names, grid, strict=True):
        lines.append(Line(name, role, SIGMAS, *mean_and_band(values.clamp_min(1e-30).T.tolist(), log=True)))
        shares.append(Line(name, role, SIGMAS, (100 * (values > 1).double().mean(1)).tolist(), style="dots+line"))
    decades = 10 * math.ceil(p.length / 40)  # above 1 that the chart shows
    within = [sigma for sigma in SIGMAS if back == 0 or back * math.log10(sigma) < decades]
    within += [10 ** (decades / back)] if len(within) < len(SIGMAS) else []  # the bound ends where it leaves the frame
    lines.append(Line(Text("上限", "bound"), "theory", within, [max(1e-30, sigma**back) for sigma in within]))
    x, rule = (
        Axis(Text("最大奇异值 σ × 最大斜率 γ", "largest singular value σ × largest slope γ"), low=0, high=4),
        (Rule(same("σγ = 1"), 1),),
    )
    told = [float(line_share) for line_share in (100 * (grid[:, SIGMAS.index(1.0) + 1 :] > 1).double().mean((1, 2)))]
    growth = LineChart(
        Text(f"往回 {back} 步，梯度最多放大多少", f"Largest growth of a gradient over {back} steps back"), x,
        Axis(Text("‖∂h_T/∂h‖（对数）", "‖∂h_T/∂h‖ (log)"), log=True, low=1e-10, high=10.0**decades), tuple(lines),
        Text(f"往回 {back} 步后的放大倍数；虚线是上限 (σγ)^{back}；大于 1 才是放大。", f"Growth after {back} steps back; dashed: the bound (σγ)^{back}. Above 1 it grows."), rule,
    )  # fmt: skip
    share = LineChart(
        Text("梯度放大的网络占多少", "Share of networks whose gradient grows"), x, Axis(Text("网络占比（%）", "share of networks (%)"), low=0, high=100), tuple(shares),
        Text(f"σγ > 1 的网络里，正交矩阵有 {told[0]:.0f}% 的梯度放大，正态矩阵有 {told[1]:.0f}%。", f"With σγ > 1 the gradient grows in {told[0]:.0f} % of networks with orthogonal matrices and in {told[1]:.0f} % of those with normal ones."),
        rule,
    )  # fmt: skip
    return growth, share


def _run_condition(p: ExplodingRnn, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield Snapshot(0, Text("就绪", "Ready"), _condition_charts(p, 0, torch.ones(len(NORMS), len(SIGMAS), p.runs)))
    jacobians = Jacobians(p, device, generator)
    shown = {i + 1 for i in thinned(p.length, 20)}
    for back in range(1, p.length + 1):
        jacobians.advance()
        if back in shown:
            grid, asked = jacobians.growth()
            status = Text(f"{jacobians.network.count} 个网络，往回第 {back} 步", f"{jacobians.network.count} networks, {back} steps back")
            yield Snapshot(0.99 * back / p.length, status, _condition_charts(p, back, grid))
    judged = judge_condition(p, grid, asked, jacobians.excess)
    yield Snapshot(1, Text("完成", "Done"), _condition_charts(p, p.length, grid), *judged)


def judge_condition(p: ExplodingRnn, grid: Tensor, asked: Tensor, excess: float) -> tuple[tuple[Figure, ...], Outcome]:
    """grid, asked: as from Jacobians.growth, over all T steps; excess: largest growth ÷ (σγ)^k at any step.

    Reproduced: to 0.1 % no growth passes the bound, none with σγ ≤ 1 is above 1, and some with σγ > 1 is above 10. Same direction: the first two.
    Otherwise not at this scale.
    """
    quiet = SIGMAS.index(1.0) + 1
    below, above = grid[:, :quiet], grid[:, quiet:]
    status: Status = "not_at_this_scale"
    if excess <= 1.001 and float(below.max()) <= 1.001:
        status = "reproduced" if float(above.max()) > 10 else "same_direction"
    share = float((asked > 1).double().mean())
    answer = "none" if share == 0 else "some" if share < 0.9 else "most"
    shares = [100 * float((row > 1).double().mean()) for row in above]
    half = [next((s for s, row in zip(SIGMAS, rows, strict=True) if float((row > 1).double().mean()) >= 0.5), math.inf) for rows in grid]
    figures = (
        Figure(Text("σγ ≤ 1：最大的放大倍数", "σγ ≤ 1: largest growth"), float(below.max()), None, "×"),
        Figure(Text("放大倍数 ÷ 上限 (σγ)^k 的最大值", "Largest growth ÷ its bound (σγ)^k"), excess, None, "×"),
        *[Figure(Text(f"σγ > 1：放大的比例（{n.zh}）", f"σγ > 1: share that grows ({n.en})"), v, None, "%") for n, v in zip(NORMS.values(), shares, strict=True)],
        *[Figure(Text(f"一半放大时的 σγ（{n.zh}）", f"σγ at which half of them grow ({n.en})"), v) for n, v in zip(NORMS.values(), half, strict=True)],
        Figure(Text(f"σ = {p.sigma:g} 的{NORMS[p.matrix].zh}矩阵：放大的比例", f"{NORMS[p.matrix].en} matrices with σ = {p.sigma:g}: share that grows"), 100 * share, None, "%"),
    )  # fmt: skip
    published = Text(
        "必要条件：最大奇异值大于 1/γ，否则梯度只会缩小（放大倍数不超过 1；tanh 的 γ 是 1，sigmoid 是 ¼）",
        "necessary for explosion: a largest singular value above 1/γ, else the gradient vanishes (growth at most 1; γ is 1 for tanh, ¼ for sigmoid)",
    )
    reached = [f"{value:g}".replace("inf", "> 4") for value in half]
    kept = (
        Text("一个也没有爆炸", "not one explodes")
        if float(below.max()) <= 1.001
        else Text("却有爆炸的，这与理论不符", "some explode, against theory")
    )
    explanation = Text(
        f"σγ ≤ 1 的 {below.numel()} 个网络里{kept.zh}：每往回一步，梯度至多乘以 σγ，任何方向都一样。σγ > 1 只是必要条件：往回 {p.length} 步，正交矩阵有 {shares[0]:.0f}% 的梯度放大（σγ = {reached[0]} 起过半），"
        f"正态矩阵有 {shares[1]:.0f}%（σγ = {reached[1]} 起过半）。正交矩阵把每个方向都放大 σ 倍；正态矩阵的谱半径只有约 σ/2，向量不会一直停留在被放大的方向上。激活饱和又使两者都打折扣。"
        f"你选的 σ = {p.sigma:g} 的{NORMS[p.matrix].zh}矩阵里，放大的有 {100 * share:.0f}%。注意：条件说的是最大奇异值，不是最大特征值。",
        f"Of {below.numel()} networks with σγ ≤ 1 {kept.en}: each step back multiplies a gradient by at most σγ, whatever its direction. σγ > 1 is only necessary: over {p.length} steps "
        f"back it grows in {shares[0]:.0f} % with orthogonal matrices (in most from σγ = {reached[0]}) and in {shares[1]:.0f} % with normal ones (from {reached[1]}). An orthogonal matrix "
        f"stretches every direction by σ; a normal one has a spectral radius of about σ/2, so a vector does not stay in the directions that are stretched. Saturated units weaken both. Of your {NORMS[p.matrix].en} "
        f"matrices with σ = {p.sigma:g}, {100 * share:.0f} % grow. The condition is about the largest singular value, not the largest eigenvalue.",
    )  # fmt: skip
    return figures, Outcome(Verdict(status, figures[0], published, PASCANU, explanation), answer)


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: ExplodingRnn) -> Prediction:
    kind = Text("正交", "orthogonal") if p.matrix == "orthogonal" else Text("随机正态", "random normal")
    if p.task == "condition":
        return Prediction(
            Text(
                f"{p.activation} RNN，{kind.zh}矩阵，最大奇异值 σ = {p.sigma:g}。往回 {p.length} 步，有多少网络的梯度会放大？",
                f"A {p.activation} RNN with {kind.en} matrices of largest singular value σ = {p.sigma:g}. In how many does a gradient grow over {p.length} steps back?",
            ),
            {
                "none": Text("一个也没有", "in none"),
                "some": Text("一部分", "in some"),
                "most": Text("几乎全部（≥ 90%）", "in nearly all (90 % or more)"),
            },
        )
    options = {name: Text(f"“{text.zh}”先响", f"“{text.en}”") for name, text in ALARMS.items()}
    return Prediction(
        Text(
            f"σ = {p.sigma:g} 的{kind.zh}矩阵，{p.length} 步，学习率 {p.rate:g}，不裁剪。哪个警报最先响？",
            f"{kind.en.capitalize()} matrices with σ = {p.sigma:g}, {p.length} steps, rate {p.rate:g}, no clipping. Which alarm rings first?",
        ),
        {**options, "none": Text("都不响", "none of them")},
    )


def run(parameters: ExplodingRnn, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from {"train": _run_train, "condition": _run_condition}[parameters.task](parameters, device, generator)


_HEAD = """\
import torch
from torch import nn

torch.set_num_threads(1)  # matrices as small as these gain nothing from more
torch.manual_seed(0)
SIGMA, LENGTH, UNITS = {sigma:g}, {length}, {units}

def recurrent(sigma=SIGMA, orthogonal={orthogonal}):
    drawn = torch.randn(UNITS, UNITS)
    return sigma * (torch.linalg.qr(drawn)[0] if orthogonal else drawn / torch.linalg.matrix_norm(drawn, 2))

"""
_TRAIN_CODE = """\
for clip in (float("inf"), {clip:g}):
    torch.manual_seed(0)
    w, u = nn.Parameter(recurrent()), nn.Parameter(torch.randn(UNITS, 1))
    b, v = nn.Parameter(torch.zeros(UNITS, 1)), nn.Parameter(0.1 * torch.randn(1, UNITS) / UNITS**0.5)
    optimizer = torch.optim.SGD([w, u, b, v], lr={rate:g})
    print(f"clipping threshold {{clip}}")
    for step in range({steps}):
        x = torch.randn(LENGTH, {batch})
        h = first = torch.zeros(UNITS, {batch}, requires_grad=True)
        for now in {spread:g} * x:
            h = torch.{activation}(w @ h + u * now + b)
        h.retain_grad()
        loss = (v @ h - x[-1 - {lag}]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_([w, u, b, v], clip)  # the norm before clipping
        growth = first.grad.norm() / h.grad.norm()
        optimizer.step()
        if step % 20 == 0 or not torch.isfinite(loss):
            print(f"  step {{step:3}}: loss {{loss.item():8.3g}}, gradient norm {{norm.item():8.3g}}, grew {{growth.item():8.3g}} times on its way back")
        if not torch.isfinite(loss):
            break
"""
_CONDITION_CODE = """\
for orthogonal in (True, False):
    for sigma in sorted({{0.5, 1.0, 1.5, 2.0, 3.0, 4.0, SIGMA * {slope}}}):
        growths = []
        for _ in range(16):
            w, u, h, states = recurrent(sigma / {slope}, orthogonal), torch.randn(UNITS), torch.zeros(UNITS), []
            for now in {spread:g} * torch.randn(LENGTH):
                h = torch.{activation}(w @ h + u * now)
                states.append(h)
            jacobian = torch.eye(UNITS)
            for h in reversed(states):
                slopes = {derivative}
                jacobian = jacobian @ (slopes[:, None] * w)
            growths.append(torch.linalg.matrix_norm(jacobian, 2))
        growths = torch.stack(growths)
        kind = "orthogonal" if orthogonal else "normal"
        print(f"{{kind:10}} sigma x slope {{sigma:4.2f}}: growth at most {{growths.max().item():.3g}}, above 1 in {{(growths > 1).float().mean().item():.0%}}")
"""


def code(p: ExplodingRnn) -> str:
    template = _HEAD + (_TRAIN_CODE if p.task == "train" else _CONDITION_CODE)
    extra = {
        "orthogonal": p.matrix == "orthogonal",
        "batch": BATCH,
        "spread": INPUT,
        "slope": SLOPES[p.activation],
        "lag": min(p.lag, p.length - 1),
    }
    derivative = "1 - h * h" if p.activation == "tanh" else "h * (1 - h)"
    return template.format(**{**p.values(), **extra, "derivative": derivative})


DEMO = Demo(
    topic="activations",
    title=Text("梯度爆炸：RNN 的四个警报", "Exploding gradients: four alarms of an RNN"),
    question=Text("怎么发现梯度爆炸，什么条件下才会爆炸？", "How do you notice that gradients explode, and when can they?"),
    look_for=Text(
        "先看四个警报谁先响、谁后响。再看梯度往回传时是升是降，裁剪与不裁剪的损失又差多少。",
        "Watch in which order the four alarms ring. Then see whether the gradient rises or falls on its way back, and how the loss differs with and without clipping.",
    ),
    scaled_down=Text(
        "用几十个单元的普通 RNN 回忆几步前的输入，代替论文里的时序任务、音乐和语言模型；雅可比矩阵的结论与规模无关。",
        "A plain RNN of a few dozen units that recalls an input of a few steps ago stands in for the paper's temporal tasks, music and language; what is said of "
        "the Jacobian holds at any size.",
    ),
    parameters=ExplodingRnn,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=2,
)  # fmt: skip
