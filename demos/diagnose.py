"""Directions for tuning (1.26): a run has one hidden fault; which one do its curves give away?

The faults are built in, so the truth is known. Every panel shows the faulty runs beside healthy ones. A short list of rules reads the same curves
(`diagnose`): how often it names the fault is the measured number. All runs are one stack of networks (demos/core/stacked.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from demos.core.charts import Axis, BarChart, Bars, Chart, Grid, Line, LineChart, PlaneChart, Role, Style
from demos.core.datasets import Dataset, load_digits_or_own
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, choice, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import SGD, StackedMLP, cross_entropy
from demos.core.statistics import mean_and_band, mean_and_spread, share_interval, thinned
from demos.core.text import Text, joined, same

if TYPE_CHECKING:
    from torch import Tensor

FAULTS = {
    "none": Text("没有故障", "no fault"),
    "rate_high": Text("学习率太大", "learning rate too high"),
    "rate_low": Text("学习率太小", "learning rate too low"),
    "labels": Text("标签与样本错位", "labels do not match the samples"),
    "inputs": Text("输入没有缩放", "inputs not scaled"),
    "init": Text("初始权重太小", "initial weights too small"),
    "dead": Text("ReLU 死亡", "dead ReLUs"),
    "overfit": Text("过拟合（训练样本太少）", "overfitting (too few samples)"),
    "softmax": Text("多做了一次 softmax", "softmax applied twice"),
}
_SHORT = {
    "none": Text("无", "none"), "rate_high": Text("学习率大", "rate high"), "rate_low": Text("学习率小", "rate low"),
    "labels": Text("标签错位", "labels"), "inputs": Text("未缩放", "inputs"), "init": Text("初始化小", "init"),
    "dead": Text("ReLU 死", "dead"), "overfit": Text("过拟合", "overfit"), "softmax": same("softmax"),
}  # fmt: skip


@dataclass(frozen=True)
class Diagnose(Parameters):
    task: str = mode_choice(
        "one",
        {"one": Text("诊断一种故障", "diagnose one fault"), "all": Text("所有故障一起", "all faults at once")},
        label=Text("实验", "Experiment"),
        help=Text("诊断一种故障，或看规则对所有故障认得多准。", "Diagnose one fault, or see how well rules name them all."),
    )
    fault: str = choice(
        "hidden",
        {"hidden": Text("隐藏（由种子抽取）", "hidden (drawn by the seed)")} | FAULTS,
        label=Text("故障", "Fault"),
        help=Text("隐藏时换一个种子就是下一轮；指定一种可以单独研究。", "Hidden: the next seed is the next round. Choose one to study it."),
        modes=("one",),
    )
    strength: float = real(
        1, 0.05, 1, step=0.05,
        label=Text("故障强度", "Strength of the fault"),
        help=Text("1 是整份故障，越小越隐蔽（两次 softmax 不分强弱）。", "1 is the whole fault; smaller values are harder to see (softmax twice is all or nothing)."),
    )  # fmt: skip
    steps: int = integer(
        300, 50, 600, step=50, label=Text("步数", "Steps"), help=Text("每个网络走多少步。", "Steps that each network takes.")
    )
    depth: int = integer(
        3,
        1,
        5,
        label=Text("隐藏层数", "Hidden layers"),
        help=Text("越深，太小的初始权重越要命。", "The deeper, the more small weights hurt."),
    )
    width: int = integer(
        32, 8, 48, step=8, advanced=True, label=Text("隐藏单元", "Hidden units"), help=Text("每层的宽度。", "Width of each layer.")
    )
    seeds: int = integer(
        10, 5, 12, advanced=True,
        label=Text("每种故障的运行次数", "Runs of each fault"),
        help=Text("初始权重和小批量各不相同。", "With different initial weights and batches."),
    )  # fmt: skip
    data: str = own_data("classes")


PRESETS = {
    "hidden": Preset(
        Text("隐藏的故障", "A hidden fault"),
        Text("看完曲线再答：是哪一种故障？换个种子就是下一轮。", "Read the curves, then answer: which fault is it? The next seed is the next round."),
        {},
        "textbook",
    ),
    "study-stuck": Preset(
        Text("研究：停在 ln 10", "Study: stuck at ln 10"),
        Text("初始权重太小，loss 停在 ln 10：它和另外三种停住的原因怎么区分？", "Small initial weights leave the loss at ln 10: how can this be told from three other causes?"),
        {"fault": "init"},
    ),
    "study-floor": Preset(
        Text("研究：降不下去的 loss", "Study: a loss with a floor"),
        Text("多做了一次 softmax，网络照样能训练：毛病露在哪条曲线上？", "Softmax was applied twice, and the network still trains: which curve gives it away?"),
        {"fault": "softmax"},
    ),
    "all": Preset(
        Text("全部故障", "Every fault"),
        Text("八条规则读同样的曲线，九种情况里认对多少？", "Eight rules read the same curves: how many of nine cases do they name?"),
        {"task": "all", "seeds": 6},
        look_for=Text(
            "看真正的故障与规则说的故障：亮格子在对角线上就是认对了，在别处就看是把什么说成了什么。再看规则要看到第几步才说得准：刚开始能说对多少，往后升到多高，与 DeepFD 的虚线相比怎样。",
            "Look at the true faults and what the rules say: a bright cell on the diagonal is right; any other tells which fault was taken for which. Then see how many steps the rules need: what share is right at the very start, how high does it rise, and how does it compare with DeepFD's dashed line?",
        ),
    ),
    "quiet": Preset(
        Text("轻微的故障", "Quiet faults"),
        Text("强度降到 0.2：网络照样训练，曲线还说得出毛病吗？", "At a fifth of the strength the network still trains: do the curves still tell?"),
        {"task": "all", "seeds": 6, "strength": 0.2},
        "limits",
        look_for=Text(
            "看真正的故障与规则说的故障：亮格子还在不在对角线上，不在的话落在哪一列。再看每种故障下的测试准确率：规则没认出来的，是不是就没有坏处？",
            "Look at the true faults and what the rules say: are the bright cells still on the diagonal, and if not, in which column are they? Then look at the test accuracy under each fault: is a fault that the rules miss harmless?",
        ),
    ),
}  # fmt: skip

DEEPFD = Source(
    "DeepFD: Automated Fault Diagnosis and Localization for Deep Learning Programs",
    "Jialun Cao, Meiziniu Li, Xiao Chen, Ming Wen, Yongqiang Tian, Bo Wu, Shing-Chi Cheung",
    2022,
    "https://arxiv.org/abs/2205.01938",
)
PUBLISHED, EARLIER = 0.52, 0.27  # the share of faulty programs that DeepFD diagnosed, and the best of the earlier tools, which go by rules
RATE, MOMENTUM, BATCH, EVERY = 0.02, 0.9, 32, 10  # EVERY: steps between two looks
PROBE, TEST = 128, 300  # samples of a look
OUTPUT_GAIN = (
    0.5  # of the output layer's initial weights, in units of He's: small logits, so that the loss of a healthy run starts near ln C
)
LOADING, DONE, STEP = Text("载入数据", "Loading the data"), Text("完成", "Done"), Text("训练步", "training step")


# ---- the faults ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """What a fault changes. Inputs become x · scale + shift; `double` feeds softmax's output to the cross-entropy, which takes logits."""

    rate: float = RATE
    gain: float = 1.0  # of the initial weights, in units of He's
    bias: float = 0.0  # initial, of the hidden layers
    kept: float = 1.0  # share of the training samples
    wrong: float = 0.0  # share of the training labels that are shuffled among themselves
    scale: float = 1.0
    shift: float = 0.0
    double: bool = False


def setting(fault: str, strength: float) -> Setting:
    """The fault at a strength in 0 … 1; factors grow geometrically. Unscaled inputs have mean 4.9 and deviation 4.3, as the digits' pixels of 0 … 16."""
    made = {
        "none": Setting(),
        "rate_high": Setting(rate=RATE * 30**strength),
        "rate_low": Setting(rate=RATE / 1000**strength),
        "labels": Setting(wrong=strength),
        "inputs": Setting(scale=4.3**strength, shift=4.9 * strength),
        "init": Setting(gain=0.05**strength),
        "dead": Setting(bias=-3 * strength),
        "overfit": Setting(kept=0.04**strength),
        "softmax": Setting(double=True),
    }
    return made[fault]


def hidden_fault(seed: int) -> str:
    """The fault of this seed's round. Nine rounds on end meet every case once, in an order of chance; naming the fault repeats the round's runs."""
    block, place = divmod(seed, len(FAULTS))
    return list(FAULTS)[int(torch.randperm(len(FAULTS), generator=torch.Generator().manual_seed(block))[place])]


def loss_and_slope(outputs: Tensor, y: Tensor, double: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy (K,) of outputs (K, C, B) and its gradient by them; where `double` (K,), softmax's output is taken for the logits."""
    losses, slope = cross_entropy(outputs, y)
    if double.any():
        p = outputs[double].softmax(1)
        losses[double], inner = cross_entropy(p, y if y.dim() == 1 else y[double])
        slope[double] = p * (inner - (p * inner).sum(1, keepdim=True))
    return losses, slope


@dataclass(frozen=True)
class Look:
    """The panels at one step, on the CPU: losses and accuracies (K,), gradient norms and update-to-weight ratios by linear layer (K, L), dead shares (K, L − 1)."""

    step: int
    train_loss: Tensor
    test_loss: Tensor
    train_accuracy: Tensor
    test_accuracy: Tensor
    gradients: Tensor
    ratios: Tensor
    dead: Tensor


class _Runs:
    """`faults` × seeds networks in training; network k has faults[k // seeds]. All are drawn independently."""

    def __init__(self, p: Diagnose, data: Dataset, device: torch.device, generator: torch.Generator, faults: Sequence[str]) -> None:
        settings = [setting(fault, p.strength) for fault in faults for _ in range(p.seeds)]
        self.data, self.device, self.generator, self.count = data, device, generator, len(settings)
        self.network = StackedMLP(
            (data.features, *[p.width] * p.depth, data.classes), range(self.count), generator, device=device
        )  # He's weights

        def column(name: str) -> Tensor:
            return torch.tensor([float(getattr(s, name)) for s in settings], device=device)

        for weight in self.network.weights:
            weight *= column("gain")[:, None, None]
        self.network.weights[-1] *= OUTPUT_GAIN
        for bias in self.network.biases[:-1]:
            bias += column("bias")[:, None]
        self.scale, self.shift, self.double = column("scale")[:, None, None], column("shift")[:, None, None], column("double") > 0
        self.optimizer = SGD(self.network, column("rate"), MOMENTUM)
        total = len(data.train_y)
        self.kept = torch.tensor([[max(2, round(s.kept * total))] for s in settings])
        self.order = torch.stack(
            [torch.randperm(total, generator=generator) for _ in settings]
        )  # (K, N): network k trains on the first `kept`
        self.labels = torch.stack([self._labels(data.train_y.cpu(), s.wrong) for s in settings])  # (K, N)
        self.probe = self._draw(PROBE)

    def _labels(self, y: Tensor, wrong: float) -> Tensor:
        chosen = torch.randperm(len(y), generator=self.generator)[: round(wrong * len(y))]
        shuffled = y.clone()
        shuffled[chosen] = y[chosen[torch.randperm(len(chosen), generator=self.generator)]]
        return shuffled

    def _draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Inputs (K, count, F) and labels (K, count) of random training samples, as each network gets them."""
        places = (torch.rand(self.count, count, generator=self.generator) * self.kept).long()
        samples = self.order.gather(1, places)
        x = self.data.train_x[samples.to(self.device)] * self.scale + self.shift
        return x, self.labels.gather(1, samples).to(self.device)

    def step(self, i: int) -> Look | None:
        """One step of all networks. Every EVERY steps a look at them before it."""
        x, y = self._draw(BATCH)
        outputs, tape = self.network.forward(x, training=True)
        gradients = self.network.backward(tape, loss_and_slope(outputs, y, self.double)[1])
        if i % EVERY:
            self.optimizer.step(gradients)
            return None
        sizes, panels = _norms(self.network.weights), self._panels()
        self.optimizer.step(gradients)
        updates = _norms(self.optimizer.velocities[: len(self.network.weights)]) * self.optimizer.rates[:, None]
        norms = _norms(gradients[: len(self.network.weights)])
        return Look(i, *[panel.cpu() for panel in (*panels[:4], norms, updates / sizes.clamp_min(1e-30), panels[4])])

    def _panels(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        losses, accuracies = [], []
        test_x = self.data.test_x[:TEST].expand(self.count, -1, -1) * self.scale + self.shift
        dead = torch.empty(0)
        for x, y in (self.probe, (test_x, self.data.test_y[:TEST].expand(self.count, -1))):
            outputs, tape = self.network.forward(x, training=False)
            losses.append(loss_and_slope(outputs, y, self.double)[0])
            accuracies.append(((outputs.argmax(1) == y) & ~outputs.isnan().any(1)).float().mean(1))
            if not len(dead):  # of the training probe
                silent = [(out.amax(2) <= 0).float().where(~out.isnan().any(2), math.nan).mean(1) for out in tape.outputs]
                dead = torch.stack(silent, 1)
        return losses[0], losses[1], accuracies[0], accuracies[1], dead


def _norms(matrices: Sequence[Tensor]) -> Tensor:
    """Norms (K, L) of L stacks of matrices."""
    return torch.stack([matrix.flatten(1).norm(dim=1) for matrix in matrices], 1)


# ---- reading the curves ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signs:
    """What one run's curves say. Accuracies and shares in 0 … 1, losses in nats."""

    start_loss: float  # before the first step
    start_dead: float  # of the hidden layer with the most silent units, before the first step
    start_gradient: float  # norm at the first layer, before the first step
    largest_step: float  # the largest update-to-weight ratio (middle layer of each look); inf if the run diverged
    moved: float  # the sum of those ratios over the whole run: how many times its own norm the weights travel
    train_loss: float
    test_loss: float
    train_accuracy: float
    test_accuracy: float


def read_signs(looks: Sequence[Look], steps: int) -> list[Signs]:
    """The signs of each network so far; `moved` is continued at the pace so far to all `steps`."""
    first, last = looks[0], looks[-1]
    ratios = torch.stack([look.ratios.nan_to_num(math.inf, posinf=math.inf).median(1).values for look in looks])  # (looks, K)
    losses = torch.stack([look.train_loss for look in looks])
    largest = ratios.amax(0).where(losses.isfinite().all(0), math.inf)
    columns = (
        first.train_loss, first.dead.amax(1), first.gradients[:, 0], largest, ratios.mean(0) * steps,
        last.train_loss, last.test_loss, last.train_accuracy, last.test_accuracy,
    )  # fmt: skip
    return [Signs(*row) for row in zip(*(column.nan_to_num(math.inf, posinf=math.inf).tolist() for column in columns), strict=True)]


def calibrated_loss(accuracy: float, classes: int) -> float:
    """The largest mean cross-entropy of a network that is right with this probability, knows it, and spreads its doubt evenly over the other classes."""
    a = min(max(accuracy, 1e-9), 1 - 1e-9)
    return -a * math.log(a) - (1 - a) * math.log((1 - a) / (classes - 1))


def floor(classes: int) -> float:
    """The least cross-entropy when probabilities are taken for logits: they end at 1 and 0, so ln(1 + (C − 1)/e), 1.46 for ten classes."""
    return math.log(1 + (classes - 1) / math.e)


def diagnose(signs: Signs, classes: int) -> str:
    """The fault that the first fitting rule names.

    The limits are round numbers with a reason each. They were set for whole faults in the default network and adjusted on seeds 1000 … 1003.

    Before the first step (Karpathy: verify the loss at init)
      1. inputs: the loss is over one and a half times ln C, that of guessing evenly.
      2. dead: over half the units of a layer are silent on every sample.
      3. init: the gradient that reaches the first layer is under 1 % of 1, the size of the loss's slope at the outputs.
    During the run (CS231n: updates of about 1e-3 of the weights)
      4. rate_high: a step of over 5 % of the weights (fifty times the rule of thumb), or the loss is no longer finite.
      5. softmax: over half of the training samples are right, yet the loss is above `calibrated_loss` (does not fit the accuracy) and `floor`.
      6. rate_low: all steps together would move the weights by less than 10 % of their norm.
    At the end (Deep Learning, ch. 11: compare training and test error)
      7. labels: nothing above is wrong, yet the test accuracy is within a tenth of the way from chance.
      8. overfit: training accuracy is over 10 points above test accuracy.
    Otherwise none.
    """
    chance = 1 / classes
    rules = {
        "inputs": signs.start_loss > 1.5 * math.log(classes),
        "dead": signs.start_dead > 0.5,
        "init": signs.start_gradient < 0.01,
        "rate_high": signs.largest_step > 0.05,
        "softmax": signs.train_accuracy > 0.5
        and signs.train_loss > max(0.95 * floor(classes), calibrated_loss(signs.train_accuracy, classes)),
        "rate_low": signs.moved < 0.1,
        "labels": signs.test_accuracy < chance + 0.1 * (1 - chance),
        "overfit": signs.train_accuracy - signs.test_accuracy > 0.1,
    }
    return next((fault for fault, fits in rules.items() if fits), "none")


def judge(right: int, count: int) -> Status:
    """Reproduced: the interval of the share named rightly lies above DeepFD's 52 %. Same direction: above the 27 % of the best earlier tool."""
    low = share_interval(right, count)[1]
    return "reproduced" if low > PUBLISHED else "same_direction" if low > EARLIER else "not_at_this_scale"


# ---- one fault -------------------------------------------------------------------------------------------------------

# The panel in which the rule for this fault looks; also the answer to the prediction when the fault is named beforehand.
_PANEL = {
    "none": "nothing", "inputs": "loss", "softmax": "loss", "init": "gradients", "rate_high": "gradients", "rate_low": "gradients",
    "dead": "units", "labels": "gap", "overfit": "gap",
}  # fmt: skip
# What betrays a fault: the runs' medians beside those of the reference (`ref_`).
_TELL = {
    "none": Text(
        "读数与参照相近：开始的 loss {start_loss}（参照 {ref_start_loss}），最大的一步是权重的 {largest_step}%，训练、测试准确率 {train_accuracy}% 和 {test_accuracy}%（参照测试 {ref_test_accuracy}%）。",
        "The readings are close to the reference: the loss starts at {start_loss} (reference {ref_start_loss}), the largest step is {largest_step} % of the weights, "
        "training and test accuracy are {train_accuracy} % and {test_accuracy} % (reference, test: {ref_test_accuracy} %).",
    ),
    "rate_high": Text(
        "看更新与权重之比：学习率 {rate}（参照 {ref_rate}），最大的一步是权重的 {largest_step}%（参照 {ref_largest_step}%，经验值约 0.1%）。太大的步子会冲过谷底，还会把 ReLU 成批推死；那是结果，不是起因：第一步之前最严重的一层只有 {start_dead}%。训练 loss 最后是 {train_loss}。",
        "Look at update ÷ weight: at a rate of {rate} (reference {ref_rate}) the largest step is {largest_step} % of the weights (reference {ref_largest_step} %, rule of thumb about 0.1 %). Steps too large overshoot the valley, and may kill "
        "ReLUs in numbers; that is an effect, not the cause: before the first step {start_dead} % of the worst layer were dead. The training loss ends at {train_loss}.",
    ),
    "rate_low": Text(
        "看更新与权重之比：学习率 {rate}（参照 {ref_rate}），全程的更新加起来只有权重的 {moved}%（参照 {ref_moved}%），而第一层起初的梯度 {start_gradient} 与参照的 {ref_start_gradient} 差不多：梯度没有问题，小的是乘上的学习率。",
        "Look at update ÷ weight: at a rate of {rate} (reference {ref_rate}) all updates together amount to {moved} % of the weights (reference {ref_moved} %), although the first layer's gradient begins at {start_gradient}, much like the reference's "
        "{ref_start_gradient}: the gradient is fine, what is small is the rate that multiplies it.",
    ),
    "labels": Text(
        "看训练与测试的差距：测试准确率 {test_accuracy}%（参照 {ref_test_accuracy}%，瞎猜 {chance}%），测试 loss {test_loss}，训练 loss {train_loss}；梯度和更新都正常（更新累计为权重的 {moved}%，参照 {ref_moved}%）。网络在动，却只能硬背错位的标签，背下来的东西对测试集没有用。",
        "Look at training against test: test accuracy is {test_accuracy} % (reference {ref_test_accuracy} %, guessing {chance} %), test loss {test_loss}, training loss {train_loss}; gradients and updates are normal "
        "(all updates together {moved} % of the weights, reference {ref_moved} %). The network moves, but wrong labels can only be learnt by heart, which is no use on the test set.",
    ),
    "inputs": Text(
        "看第一步之前的 loss：{start_loss}（参照 {ref_start_loss}，均匀瞎猜是 ln C = {even}）。输入不居中、不缩放，每一层的输出和 logits 就跟着放大，网络还没学就会错得很有把握；第一层起初的梯度 {start_gradient}（参照 {ref_start_gradient}）。",
        "Look at the loss before the first step: {start_loss} (reference {ref_start_loss}, guessing evenly ln C = {even}). Inputs that are not centred and scaled enlarge every layer's outputs and the logits, "
        "and a network can be wrong with confidence before it has learnt anything. The first layer's gradient begins at {start_gradient} (reference {ref_start_gradient}).",
    ),
    "init": Text(
        "看第一步之前的梯度：传到第一层的是 {start_gradient}（参照 {ref_start_gradient}），死亡单元最多的一层有 {start_dead}%。初始权重是参照的 {gain} 倍，信号每过一层就多乘一次，正向和反向都逐层变弱；loss 从 {start_loss} 起步（ln C = {even}），训练 loss 最后是 {train_loss}。",
        "Look at the gradient before the first step: {start_gradient} at the first layer (reference {ref_start_gradient}), with {start_dead} % dead units in the worst layer. The weights start at {gain} times the reference's, "
        "and every layer multiplies by that once more, forwards and backwards; the loss starts at {start_loss} (ln C = {even}), and the training loss ends at {train_loss}.",
    ),
    "dead": Text(
        "看死亡单元：第一步之前，最严重的一层就有 {start_dead}% 的单元对所有样本输出 0（参照 {ref_start_dead}%），第一层的梯度是 {start_gradient}（参照 {ref_start_gradient}）。偏置的初值是 {bias}：ReLU 不导通的地方，梯度传不回来。",
        "Look at the dead units: before the first step {start_dead} % of the worst layer are 0 for every sample (reference {ref_start_dead} %), and the first layer's gradient is {start_gradient} "
        "(reference {ref_start_gradient}). The biases start at {bias}: where no ReLU opens, no gradient comes back.",
    ),
    "overfit": Text(
        "看训练与测试的差距：训练准确率 {train_accuracy}%，测试只有 {test_accuracy}%（参照 {ref_test_accuracy}%）；训练 loss {train_loss}，测试 loss {test_loss}（参照 {ref_test_loss}）。训练样本只用了 {kept}%：样本越少，网络越容易把它们背下来。",
        "Look at training against test: {train_accuracy} % of the training samples are right and {test_accuracy} % of the test samples (reference {ref_test_accuracy} %); training loss {train_loss}, "
        "test loss {test_loss} (reference {ref_test_loss}). Only {kept} % of the training samples are used: the fewer, the easier they are learnt by heart.",
    ),
    "softmax": Text(
        "拿 loss 与准确率对照：训练准确率 {train_accuracy}%，训练 loss 却是 {train_loss}（参照 {ref_train_loss}）。把概率当成 logits 再做一次 softmax，全对也只能降到 ln(1+(C−1)/e) = {floor}；梯度也小了（起初 {start_gradient}，参照 {ref_start_gradient}）。",
        "Hold the loss against the accuracy: {train_accuracy} % of the training samples are right, yet the training loss is {train_loss} (reference {ref_train_loss}). With probabilities taken for logits and put through "
        "softmax again, even a perfect network gets no lower than ln(1+(C−1)/e) = {floor}; gradients shrink too (at first {start_gradient}, reference {ref_start_gradient}).",
    ),
}  # fmt: skip
_STUCK = Text(
    "学习率太小、标签错位、初始权重太小、ReLU 死亡都会让 loss 停在 ln C 附近，只看 loss 分不开：先看死亡单元，再看第一层的梯度，再看更新与权重之比；都正常，就去查标签。",
    "A low rate, wrong labels, small initial weights and dead ReLUs all leave the loss near ln C, and the loss alone does not tell them apart: look at dead units first, then at the first layer's gradient, "
    "then at update ÷ weight; if all are normal, check the labels.",
)  # fmt: skip
_EASIER = Text(
    "DeepFD 面对的是别人写的整段程序，网络和任务各不相同；这里每次只放一种故障，候选一共九种，网络也只有一种，规则又是专为它们写的，容易得多。",
    "DeepFD reads whole programs that others wrote, with networks and tasks of all kinds; here it is one fault at a time out of nine cases, in one kind of network, with rules written for just these, which is far easier.",
)
_HARDER = Text(
    "DeepFD 的判断是从许多运行的特征学来的；这里只有八条界限固定的规则，而且是为整份故障设的。",
    "DeepFD learnt to judge from the features of many runs; here there are only eight rules with fixed limits, meant for whole faults.",
)
_PUBLISHED = Text(
    "DeepFD 诊断对了 52% 的故障程序，此前最好的工具 27%（那些多按预设规则判断）",
    "DeepFD diagnosed 52 % of faulty programs, the best earlier tool 27 % (those went mainly by rules)",
)


def _run_one(p: Diagnose, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield Snapshot(0, LOADING, _panels(p, [], 10))
    fault = hidden_fault(generator.initial_seed()) if p.fault == "hidden" else p.fault
    data = load_digits_or_own(p.data, device, generator=generator)
    runs, looks, pace = _Runs(p, data, device, generator, [fault, "none"]), list[Look](), Pace()
    for i in range(p.steps + 1):
        if look := runs.step(i):
            looks.append(look)
        if pace.due():
            status = Text(
                f"{p.seeds} 次运行，另有 {p.seeds} 次参照：第 {i}/{p.steps} 步",
                f"{p.seeds} runs beside {p.seeds} for reference: step {i}/{p.steps}",
            )
            yield Snapshot(0.99 * i / p.steps, status, _panels(p, looks, data.classes))
    signs = read_signs(looks, p.steps)
    ours, reference = signs[: p.seeds], signs[p.seeds :]
    yield Snapshot(
        1,
        DONE,
        _panels(p, looks, data.classes),
        _sign_figures(ours, reference),
        _conclude(p, fault, ours, reference, data.classes),
    )


@dataclass(frozen=True)
class _Panel:
    """A chart over steps. Each series is (name, field of a Look, linear layer or None for all); it is drawn for these runs and for the reference."""

    title: Text
    y: Axis
    series: tuple[tuple[Text, str, int | None], ...]


_LAYERS = (Text("首层", "first"), 0), (Text("末层", "last"), -1)
_LOSS = _Panel(
    Text("损失（loss）", "Loss"),
    Axis(Text("交叉熵（nat，对数）", "cross-entropy (nats, log)"), log=True, low=1e-3, high=100),
    ((Text("训练", "training"), "train_loss", None), (Text("测试", "test"), "test_loss", None)),
)
_ACCURACY = _Panel(
    Text("准确率", "Accuracy"),
    Axis(Text("准确率（%）", "accuracy (%)"), low=0, high=100),
    ((Text("训练", "training"), "train_accuracy", None), (Text("测试", "test"), "test_accuracy", None)),
)
_GRADIENTS = _Panel(
    Text("梯度：首层与末层", "Gradient: first and last layer"),
    Axis(Text("范数（对数，0 在底边）", "norm (log, 0 at the bottom)"), log=True, low=1e-6, high=1e3),
    tuple((name, "gradients", layer) for name, layer in _LAYERS),
)
_UPDATES = _Panel(
    Text("每步更新 ÷ 权重", "Update ÷ weight in each step"),
    Axis(Text("范数之比（对数，0 在底边）", "ratio of norms (log, 0 at the bottom)"), log=True, low=1e-6, high=10),
    tuple((name, "ratios", layer) for name, layer in _LAYERS),
)


def _panels(p: Diagnose, looks: Sequence[Look], classes: int) -> tuple[Chart, ...]:
    """Loss, accuracy, gradients, updates and dead units. The names are the same whatever the fault."""
    even, thumb = _level(same("ln C"), p, math.log(classes)), _level(Text("经验值", "rule of thumb"), p, 1e-3)
    charts = [
        _over_steps(p, panel, looks, *level) for panel, level in ((_LOSS, [even]), (_ACCURACY, []), (_GRADIENTS, []), (_UPDATES, [thumb]))
    ]
    return (*charts, _dead_chart(p, looks))


def _level(name: Text, p: Diagnose, y: float) -> Line:
    return Line(name, "theory", [0, p.steps], [y, y])


def _over_steps(p: Diagnose, panel: _Panel, looks: Sequence[Look], *levels: Line) -> LineChart:
    lines: list[Line] = []
    for whose, runs, roles, styles in (
        (Text("参照", "ref. "), slice(p.seeds, None), ("baseline", "baseline"), ("line", "dots")),
        (Text("", ""), slice(0, p.seeds), ("first", "second"), ("line", "line")),
    ):
        for (name, field, layer), role, style in zip(panel.series, roles, styles, strict=True):
            values = [getattr(look, field)[runs] if layer is None else getattr(look, field)[runs, layer] for look in looks]
            lines += [_line(whose + name, cast(Role, role), looks, values, panel.y, cast(Style, style))] if looks else []
    told = [(line.name, _say(list(line.y)[-1])) for line in lines]
    summary = Text("，".join(f"{name.zh} {value}" for name, value in told), ", ".join(f"{name.en} {value}" for name, value in told))
    return LineChart(panel.title, Axis(STEP, low=0, high=p.steps), panel.y, (*lines, *levels), _now(looks, summary))


def _line(name: Text, role: Role, looks: Sequence[Look], rows: Sequence[Tensor], axis: Axis, style: Style) -> Line:
    """Mean and band over runs of rows (one (S,) for each look), held inside the axis; one run that is no longer finite makes the mean infinite."""
    assert axis.low is not None and axis.high is not None
    chosen = thinned(len(rows))
    values = torch.stack([rows[i] for i in chosen])
    values = (values if axis.log else 100 * values).clamp(axis.low, axis.high).where(values.isfinite(), math.inf)
    mean, low, high = mean_and_band(values.T.tolist(), log=axis.log)
    high = [min(value, axis.high) if math.isfinite(value) else value for value in high]
    return Line(name, role, [float(looks[i].step) for i in chosen], mean, [max(value, axis.low) for value in low], high, style)


def _dead_chart(p: Diagnose, looks: Sequence[Look]) -> BarChart:
    bars = []
    for name, role, runs in (
        (Text("参照", "reference"), "baseline", slice(p.seeds, None)),
        (Text("这次运行", "these runs"), "first", slice(0, p.seeds)),
    ):
        columns = [[100 * share for share in column if math.isfinite(share)] for column in looks[-1].dead[runs].T.tolist()] if looks else []
        pairs = [mean_and_spread(column) if column else (math.nan, None) for column in columns]  # no bar where all runs diverged
        bars += [Bars(name, cast(Role, role), [mean for mean, _ in pairs], [spread or 0.0 for _, spread in pairs])] if looks else []
    most = [max((value for value in bar.values if math.isfinite(value)), default=0.0) for bar in bars]
    told = (
        Text(
            f"最多的一层死亡 {most[1]:.0f}%（参照 {most[0]:.0f}%）",
            f"{most[1]:.0f} % of the worst layer are dead (reference {most[0]:.0f} %)",
        )
        if bars
        else same("")
    )
    return BarChart(
        Text("死亡单元：对所有样本都输出 0", "Dead units: 0 for every sample"),
        tuple(Text(f"第 {i + 1} 隐藏层", f"hidden {i + 1}") for i in range(p.depth)),
        Axis(Text("占该层的比例（%）", "share of the layer (%)"), low=0, high=100),
        tuple(bars),
        _now(looks, told),
    )


def _now(looks: Sequence[Look], told: Text) -> Text:
    if not looks:
        return Text("还没有数据。", "No data yet.")
    return Text(f"第 {looks[-1].step} 步：{told.zh}。", f"Step {looks[-1].step}: {told.en}.")


def _say(value: float) -> str:
    """Three digits; ∞ for what diverged."""
    return "∞" if not math.isfinite(value) else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


_PERCENT = {"start_dead", "largest_step", "moved", "train_accuracy", "test_accuracy"}
_FIGURES = {
    "start_loss": Text("第一步之前的 loss", "Loss before the first step"),
    "start_gradient": Text("第一层起初的梯度范数", "First layer's gradient norm at first"),
    "start_dead": Text("第一步之前的死亡单元（最多的一层）", "Dead units before the first step (worst layer)"),
    "largest_step": Text("最大的一步 ÷ 权重", "Largest step ÷ weights"),
    "moved": Text("更新累计 ÷ 权重", "All updates ÷ weights"),
    "train_loss": Text("最后的训练 loss", "Training loss at the end"),
    "test_loss": Text("最后的测试 loss", "Test loss at the end"),
    "train_accuracy": Text("最后的训练准确率", "Training accuracy at the end"),
    "test_accuracy": Text("最后的测试准确率", "Test accuracy at the end"),
}


def _sign_figures(ours: Sequence[Signs], reference: Sequence[Signs]) -> tuple[Figure, ...]:
    """The signs of the runs and of the reference: the same rows whatever the fault."""
    figures = []
    for name, label in _FIGURES.items():
        scale, unit = (100, "%") if name in _PERCENT else (1, "")
        for runs, whose in ((ours, Text("", "")), (reference, Text("（参照）", " (reference)"))):
            figures.append(Figure(label + whose, *mean_and_spread([scale * getattr(s, name) for s in runs]), unit))
    return tuple(figures)


def _medians(runs: Sequence[Signs], prefix: str = "") -> dict[str, str]:
    middle = {name: sorted(getattr(s, name) for s in runs)[len(runs) // 2] for name in _FIGURES}
    return {prefix + name: _say(100 * value if name in _PERCENT else value) for name, value in middle.items()}


def _conclude(p: Diagnose, fault: str, ours: Sequence[Signs], reference: Sequence[Signs], classes: int) -> Outcome:
    """The verdict by `judge`, and the right answer: the fault if it was hidden, else the panel where the rules found it most often."""
    named = Counter(diagnose(signs, classes) for signs in ours)
    right, usual = named[fault], named.most_common(1)[0][0]
    _, low, high = share_interval(right, len(ours))
    wrong = [(name, count) for name, count in named.most_common() if name != fault]
    values = _medians(ours) | _medians(reference, "ref_") | _built_in(p, fault, classes)
    rules = Text(
        f"规则在 {len(ours)} 次运行里说对 {right} 次（95% 区间 {100 * low:.0f}%–{100 * high:.0f}%）" + "".join(f"，{count} 次说成“{FAULTS[name].zh}”" for name, count in wrong) + "。",
        f"The rules name it in {right} of {len(ours)} runs (95 % interval {100 * low:.0f}–{100 * high:.0f} %)" + "".join(f"; {count} times they say “{FAULTS[name].en}”" for name, count in wrong) + ".",
    )  # fmt: skip
    head = Text("答案", "The answer") if p.fault == "hidden" else Text("这次的情况", "The case")
    parts = [Text(f"{head.zh}：{FAULTS[fault].zh}。", f"{head.en}: {FAULTS[fault].en}."), _TELL[fault].format(**values), rules]
    if 2 * right < len(ours):
        parts.append(_missed(p, usual, values))
    elif fault in ("rate_low", "labels", "init", "dead"):
        parts.append(_STUCK)
    share = Figure(Text("规则说对的比例", "Share named rightly by the rules"), 100 * right / len(ours), 50 * (high - low), "%")
    verdict = Verdict(
        judge(right, len(ours)), share, _PUBLISHED, DEEPFD, joined([*parts, _EASIER if right / len(ours) > PUBLISHED else _HARDER])
    )
    return Outcome(verdict, fault if p.fault == "hidden" else _PANEL[usual])


def _built_in(p: Diagnose, fault: str, classes: int) -> dict[str, str]:
    """What the texts tell of the fault's setting, and of the number of classes."""
    made = setting(fault, p.strength)
    values = {"rate": made.rate, "ref_rate": RATE, "gain": made.gain, "bias": made.bias, "kept": 100 * made.kept}
    return {
        name: _say(value)
        for name, value in (values | {"even": math.log(classes), "floor": floor(classes), "chance": 100 / classes}).items()
    }


def _missed(p: Diagnose, usual: str, values: dict[str, str]) -> Text:
    if p.strength < 1 and usual == "none":
        return Text(
            f"强度只有 {p.strength:g}，没有越过任何一条规则的界限。要与健康的参照对照才可能看出来：测试准确率 {values['test_accuracy']}%（参照 {values['ref_test_accuracy']}%），训练 loss {values['train_loss']}（参照 {values['ref_train_loss']}）。",
            f"At a strength of {p.strength:g} no rule's limit is passed. The fault may show beside a healthy reference: test accuracy {values['test_accuracy']} % (reference {values['ref_test_accuracy']} %), "
            f"training loss {values['train_loss']} (reference {values['ref_train_loss']}).",
        )
    return Text(
        "规则按次序判断，前面的会盖过后面的；界限又是按数字数据、三层网络和整份故障定的，换了设置未必合适：读数要对照健康的参照来看。",
        "The rules are tried in order, and an earlier one may hide a later one; their limits were chosen for the digits, three hidden layers and whole faults, and may not fit other settings: compare the readings with a healthy reference.",
    )


# ---- all faults ------------------------------------------------------------------------------------------------------


def _run_all(p: Diagnose, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield Snapshot(0, LOADING, _all_charts(p, [], [], 10))
    data = load_digits_or_own(p.data, device, generator=generator)
    runs, pace = _Runs(p, data, device, generator, list(FAULTS)), Pace()
    looks: list[Look] = []
    named: list[list[str]] = []  # what the rules say of each network at each look
    for i in range(p.steps + 1):
        if look := runs.step(i):
            looks.append(look)
            named.append([diagnose(signs, data.classes) for signs in read_signs(looks, p.steps)])
        if pace.due():
            status = Text(f"{runs.count} 次运行，第 {i}/{p.steps} 步", f"{runs.count} runs, step {i}/{p.steps}")
            yield Snapshot(0.99 * i / p.steps, status, _all_charts(p, looks, named, data.classes))
    figures, outcome = _conclude_all(p, [_right(p, row) for row in named], named[-1], looks[-1])
    yield Snapshot(1, DONE, _all_charts(p, looks, named, data.classes), figures, outcome)


def _confusion(p: Diagnose, named: Sequence[str]) -> list[list[float]]:
    """How often (0 … 1) each fault (row) is given each name (column)."""
    rows = [Counter(named[i * p.seeds : (i + 1) * p.seeds]) for i in range(len(FAULTS))]
    return [[row[name] / p.seeds for name in FAULTS] for row in rows]


def _right(p: Diagnose, named: Sequence[str]) -> int:
    return sum(name == fault for name, fault in zip(named, (fault for fault in FAULTS for _ in range(p.seeds)), strict=True))


def _all_charts(p: Diagnose, looks: Sequence[Look], named: Sequence[Sequence[str]], classes: int) -> tuple[Chart, ...]:
    total = len(FAULTS) * p.seeds
    rights = [_right(p, row) for row in named]
    bands = [share_interval(right, total) for right in rights]
    x = [float(look.step) for look in looks]
    shares = Line(
        Text("说对", "right"),
        "first",
        x,
        [100 * share for share, _, _ in bands],
        [100 * low for _, low, _ in bands],
        [100 * high for _, _, high in bands],
    )
    accuracy = (
        [mean_and_spread([100 * a for a in looks[-1].test_accuracy[i * p.seeds : (i + 1) * p.seeds].tolist()]) for i in range(len(FAULTS))]
        if looks
        else []
    )
    names = tuple(_SHORT[fault] for fault in FAULTS)
    now = (
        Text(
            f"规则在 {100 * rights[-1] / total:.0f}% 的运行里说对。",
            f"The rules are right in {100 * rights[-1] / total:.0f} % of the runs.",
        )
        if rights
        else Text("还没有数据。", "No data yet.")
    )
    least = min(zip(accuracy, FAULTS, strict=True), default=None) if accuracy else None
    worst = (
        Text(f"最低的是“{FAULTS[least[1]].zh}”，{least[0][0]:.0f}%。", f"The lowest is “{FAULTS[least[1]].en}” with {least[0][0]:.0f} %.")
        if least
        else now
    )
    return (
        PlaneChart(
            Text("真正的故障与规则说的故障", "The true fault and what the rules say"),
            Axis(Text("规则说的", "the rules say"), names=names), Axis(Text("真正的故障", "true fault"), names=names[::-1]), now,  # from the top
            grid=Grid(Text("占该故障运行的比例", "share of that fault's runs"), _confusion(p, named[-1])[::-1] if named else [[math.nan] * len(FAULTS)] * len(FAULTS), low=0, high=1),
        ),
        LineChart(
            Text("看到第几步，规则能说对多少", "Share named rightly by each step"), Axis(STEP, low=0, high=p.steps),
            Axis(Text("说对的比例（%）", "named rightly (%)"), low=0, high=100),
            (*((shares,) if looks else ()), _level(same("DeepFD"), p, 100 * PUBLISHED)), now,
        ),
        BarChart(
            Text("每种故障下的测试准确率", "Test accuracy under each fault"), names, Axis(Text("准确率（%）", "accuracy (%)"), low=0, high=100),
            (Bars(Text("测试", "test"), "first", [mean for mean, _ in accuracy], [spread or 0.0 for _, spread in accuracy]),) if accuracy else (), worst,
        ),
    )  # fmt: skip


def _conclude_all(p: Diagnose, rights: Sequence[int], named: Sequence[str], last: Look) -> tuple[tuple[Figure, ...], Outcome]:
    """The verdict by `judge` over all runs, and which faults pass unnoticed and what they cost."""
    total, right = len(named), rights[-1]
    _, low, high = share_interval(right, total)
    share = Figure(Text("规则说对的比例", "Share named rightly by the rules"), 100 * right / total, 50 * (high - low), "%")
    diagonal = {fault: row[i] for i, (fault, row) in enumerate(zip(FAULTS, _confusion(p, named), strict=True))}
    accuracies = dict(zip(FAULTS, (100 * last.test_accuracy).view(len(FAULTS), -1).tolist(), strict=True))
    healthy = mean_and_spread(accuracies["none"])[0]
    change = {fault: mean_and_spread(values)[0] - healthy for fault, values in accuracies.items()}
    figures = [
        Figure(Text(f"说对：{text.zh}", f"Named rightly: {text.en}"), 100 * diagonal[fault], None, "%") for fault, text in FAULTS.items()
    ]
    figures += [
        Figure(Text(f"测试准确率：{text.zh}", f"Test accuracy: {text.en}"), *mean_and_spread(accuracies[fault]), "%")
        for fault, text in FAULTS.items()
    ]
    count = Text(
        f"规则在 {total} 次运行里说对 {right} 次（95% 区间 {100 * low:.0f}%–{100 * high:.0f}%）；只看完第一步时是 {100 * rights[0] / total:.0f}%。",
        f"The rules name {right} of {total} runs rightly (95 % interval {100 * low:.0f}–{100 * high:.0f} %); after a single step it was {100 * rights[0] / total:.0f} %.",
    )  # fmt: skip
    outcome = Verdict(
        judge(right, total),
        share,
        _PUBLISHED,
        DEEPFD,
        joined([count, _unnoticed(p, diagonal, change), _EASIER if right / total > PUBLISHED else _HARDER]),
    )
    return (share, *figures), Outcome(outcome, "few" if 5 * right < 2 * total else "some" if 5 * right < 4 * total else "most")


def _unnoticed(p: Diagnose, diagonal: dict[str, float], change: dict[str, float]) -> Text:
    """Which faults the rules mostly miss, and by how many points those change the test accuracy."""
    missed = sorted((fault for fault, share in diagonal.items() if share < 0.5), key=lambda fault: change[fault])
    if not missed:
        return Text(
            f"每种故障都至少在一半的运行里被认出来：强度 {p.strength:g} 时，各有一个读数与众不同。把强度降到 0.2 再试。",
            f"Every fault is recognised in at least half of its runs: at a strength of {p.strength:g} each has a reading of its own. Try again at a strength of 0.2.",
        )
    names = Text("、".join(FAULTS[fault].zh for fault in missed), ", ".join(FAULTS[fault].en for fault in missed))
    worst, best = missed[0], missed[-1]
    quiet = Text("", "")
    if p.strength < 1:
        quiet = Text(f"强度只有 {p.strength:g}，规则认不出来在意料之中。", f" At a strength of {p.strength:g} that was to be expected.")
    return Text(
        f"多半没认出来的有 {len(missed)} 种：{names.zh}。{quiet.zh}与健康的运行相比，测试准确率相差 {change[worst]:+.1f}（{FAULTS[worst].zh}）到 {change[best]:+.1f} 个百分点（{FAULTS[best].zh}）。"
        "没有越过界限的故障不报错，单看曲线像是健康的：要与健康的基线对照、查看数据、一次只改一处来找。",
        f"Missed in most runs ({len(missed)}): {names.en}.{quiet.en} Compared with the healthy runs, their test accuracy differs by {change[worst]:+.1f} ({FAULTS[worst].en}) to {change[best]:+.1f} points ({FAULTS[best].en}). "
        "A fault within the limits raises no alarm, and its curves alone pass for healthy: compare with a healthy baseline, look at the data, change one thing at a time.",
    )


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Diagnose) -> Prediction:
    if p.task == "all":
        return Prediction(
            Text(f"故障强度 {p.strength:g}，九种情况各运行 {p.seeds} 次：八条规则能说对多少？", f"At a strength of {p.strength:g} and with {p.seeds} runs of each of nine cases, how many runs will eight rules name rightly?"),
            {"few": Text("不到 40%", "under 40 %"), "some": Text("40% 到 80%", "40 to 80 %"), "most": Text("80% 以上", "80 % or more")},
        )  # fmt: skip
    if p.fault == "hidden":
        return Prediction(
            Text(f"看完曲线：这 {p.seeds} 次运行出了什么毛病？", f"From the curves: what is wrong with these {p.seeds} runs?"),
            FAULTS,
            after=True,
        )
    return Prediction(
        Text(f"这次的情况是“{FAULTS[p.fault].zh}”，强度 {p.strength:g}。规则会在哪里认出毛病？", f"The case is “{FAULTS[p.fault].en}” at a strength of {p.strength:g}. Where will the rules find something wrong?"),
        {
            "loss": Text("loss 的高低：起点，或与准确率不相称", "in the level of the loss: at the start, or not matching the accuracy"),
            "gradients": Text("梯度，或更新与权重之比", "in the gradient or update ÷ weight"),
            "units": Text("死亡单元", "in the dead units"),
            "gap": Text("训练与测试的差距", "between training and test"),
            "nothing": Text("哪里都看不出来", "nowhere"),
        },
    )  # fmt: skip


def run(parameters: Diagnose, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    yield from (_run_all if parameters.task == "all" else _run_one)(parameters, device, generator)


_CODE = """\
import math

import torch
from torch import nn

torch.set_num_threads(1)  # networks as small as these gain nothing from more
{data}
FAULTS = {faults}
STRENGTH, STEPS, DEPTH, WIDTH = {strength:g}, {steps}, {depth}, {width}


def fit(fault, seed, show):
    generator, s = torch.Generator().manual_seed(seed), STRENGTH
    inputs, labels, rate, gain, bias = x.clone(), y.clone(), {rate:g}, 1.0, 0.0
    test, train = torch.randperm(len(x), generator=generator).split([len(x) // 4, len(x) - len(x) // 4])
    if fault == "rate_high":
        rate *= 30**s
    elif fault == "rate_low":
        rate /= 1000**s
    elif fault == "labels":  # that share of the training labels, shuffled among themselves
        mixed = train[: round(s * len(train))]
        labels[mixed] = labels[mixed[torch.randperm(len(mixed), generator=generator)]]
    elif fault == "inputs":  # as raw pixels of 0 ... 16
        inputs = inputs * 4.3**s + 4.9 * s
    elif fault == "init":
        gain = 0.05**s
    elif fault == "dead":
        bias = -3 * s
    elif fault == "overfit":
        train = train[: max(2, round(0.04**s * len(train)))]
    widths, layers = [x.shape[1]] + [WIDTH] * DEPTH + [classes], []
    for i in range(DEPTH + 1):
        linear = nn.Linear(widths[i], widths[i + 1])
        std = gain * math.sqrt(2 / widths[i]) * (1 if i < DEPTH else {output:g})
        linear.weight.data = std * torch.randn(linear.weight.shape, generator=generator)
        linear.bias.data.fill_(bias if i < DEPTH else 0.0)
        layers += [linear, nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum={momentum:g})

    def loss_of(outputs, target):
        return nn.functional.cross_entropy(outputs.softmax(1) if fault == "softmax" else outputs, target)

    for step in range(STEPS + 1):
        chosen = train[torch.randint(len(train), ({batch},), generator=generator)]
        optimizer.zero_grad()
        loss_of(network(inputs[chosen]), labels[chosen]).backward()
        before = network[0].weight.detach().clone()
        look = step % max(1, STEPS // 10) == 0
        if look:  # the panels before this step
            with torch.no_grad():
                outputs, tested = network(inputs[train]), network(inputs[test])
                row = [loss_of(outputs, labels[train]).item(), loss_of(tested, labels[test]).item()]
                row += [(o.argmax(1) == labels[i]).float().mean().item() for o, i in ((outputs, train), (tested, test))]
                hidden = [network[: 2 * i + 2](inputs[train]) for i in range(DEPTH)]
                row += [network[0].weight.grad.norm().item(), max((h <= 0).all(0).float().mean().item() for h in hidden)]
        optimizer.step()
        if look and show:
            row.append(((network[0].weight.detach() - before).norm() / before.norm()).item())
            names = ("train loss", "test loss", "train acc", "test acc", "gradient 1", "dead", "update/weight 1")
            print(f"step {{step:4d}}", *(f"{{name}} {{value:.3g}}" for name, value in zip(names, row)), sep="  ")
    return row
"""
_TAILS = {
    "hidden": """

ROUND, SHOW_ANSWER = 0, False  # the next number is the next round; read the numbers before you ask for the answer
block, place = divmod(ROUND, len(FAULTS))  # nine rounds meet every case once
fault = FAULTS[int(torch.randperm(len(FAULTS), generator=torch.Generator().manual_seed(block))[place])]
fit(fault, ROUND, show=True)
print("It was:", fault if SHOW_ANSWER else "?   one of " + ", ".join(FAULTS))
""",
    "named": """

for fault in ({fault!r}, "none"):
    print(fault)
    fit(fault, 0, show=True)
""",
    "all": """

for fault in FAULTS:
    row = fit(fault, 0, show=False)
    print(f"{{fault:10s}} train loss {{row[0]:.3g}}  test loss {{row[1]:.3g}}  train acc {{row[2]:.3g}}  test acc {{row[3]:.3g}}  dead {{row[5]:.2f}}")
""",
}


def code(p: Diagnose) -> str:
    tail = "all" if p.task == "all" else "hidden" if p.fault == "hidden" else "named"
    fixed = {
        "data": digits_or_own(p.data),
        "faults": list(FAULTS),
        "rate": RATE,
        "momentum": MOMENTUM,
        "batch": BATCH,
        "output": OUTPUT_GAIN,
    }
    return (_CODE + _TAILS[tail]).format(**p.values() | fixed)


DEMO = Demo(
    topic="optimization",
    title=Text("诊断：从曲线认出故障", "Diagnosis: name the fault from its curves"),
    question=Text("一次训练出了毛病：从曲线看，毛病在哪里？", "A training run has a fault: where does it lie, judging by its curves?"),
    look_for=Text(
        "先看第一步之前（死亡单元要回放到开头看）：loss 是不是 ln C，有没有死亡单元，梯度传到第一层还剩多少。再看更新与权重之比，最后看 loss 与准确率相称不相称、训练与测试差多少；灰色是健康的参照。",
        "First look at the state before the first step (for the dead units, replay from the beginning): is the loss ln C, are units dead, how much gradient reaches the first layer? Then look at update ÷ weight, and last at whether the loss matches the accuracy and how far training and test are apart; grey is a healthy reference.",
    ),
    scaled_down=Text(
        "用 8×8 数字上的小型全连接网络和八种人为放入的故障，代替论文里收集的各种故障程序。",
        "Small fully connected networks on digits of 8×8 pixels with eight faults put in on purpose stand in for the paper's collection of faulty programs.",
    ),
    parameters=Diagnose,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=1,
)
