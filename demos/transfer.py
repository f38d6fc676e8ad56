"""Transfer (1.9): which layers of a network trained on some classes can be copied to others, frozen or fine-tuned, and what a gain depends on.

For each seed the digits' classes are split at random into a source and a target half, as in Yosinski et al. (2014). A network is pre-trained on the source; then
networks for the target take its first n layers, for every n, and are trained on few target images: with the copied layers frozen, with all layers learning,
with as many random layers frozen, and from scratch. All of them, seeds × treatments, are one stack (demos/core/stacked.py) with the same draws.

Every image is moved by up to `shift` pixels at random. The digits are centred, photographs are not; this is what there is to learn that holds for all classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demos.core.charts import Axis, Chart, Image, ImageGrid, Line, LineChart, Role
from demos.core.datasets import load_digits_or_own, moved, shuffles
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, integer, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import SGD, StackedMLP
from demos.core.statistics import interval, mean_and_band, mean_and_spread
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 8  # of a digit, in pixels
BATCH, LOOKS = 32, 8  # images in a step on the target; looks while training
TEST, PLACES = 300, 2  # test images of each seed, at most, and random places that each is put in
SOURCE_BATCH, PRE_RATE = 96, 0.05  # of the pre-training: images in a step; learning rate, which falls linearly to a tenth
PUBLISHED, MARGIN = 1.6, 0.5  # points; what a test on a few hundred images cannot tell from nothing
KINDS: dict[str, tuple[Text, Role]] = {
    "tuned": (Text("微调", "fine-tuned"), "second"),
    "frozen": (Text("冻结", "frozen"), "first"),
    "random": (Text("随机冻结", "random, frozen"), "third"),
}
SCRATCH = Text("从头训练", "from scratch")


@dataclass(frozen=True)
class Transfer(Parameters):
    samples: int = integer(100, 10, 600, step=10, label=Text("目标样本数", "Target samples"), help=Text("新类别一共有多少张训练图。", "Training images of all new classes together."))  # fmt: skip
    lr: float = real(0.03, 0.001, 1, log=True, label=Text("目标任务的学习率", "Learning rate on the target"), help=Text("SGD，动量 0.9；微调和从头训练都用它。", "SGD with momentum 0.9; for fine-tuning and from scratch alike."))  # fmt: skip
    turns: int = integer(4, 1, 4, label=Text("源图的朝向数", "Source orientations"), help=Text("每个源数字在每个朝向上算一类：4 个朝向就有 20 个源类别。自己的表格不旋转。", "A source digit in each orientation counts as a class: 4 make 20 source classes. A table of your own is not turned."))  # fmt: skip
    pre_steps: int = integer(600, 0, 1200, step=100, label=Text("预训练步数", "Pre-training steps"), help=Text("0 就是没有预训练：复制来的只是随机权重。", "With 0 nothing is pre-trained, and what is copied is random."))  # fmt: skip
    depth: int = integer(3, 1, 4, label=Text("隐藏层数", "Hidden layers"), help=Text("可以复制 1 层到全部隐藏层；输出层总是新的。", "From one to all of them can be copied; the output layer is always new."))  # fmt: skip
    shift: int = integer(1, 0, 2, label=Text("随机平移（像素）", "Random shift (pixels)"), help=Text("每张图随机平移，至多这么多像素；自己的表格不平移。", "Each image is moved by up to this much; a table of your own is not."))  # fmt: skip
    steps: int = integer(160, 20, 600, step=20, advanced=True, label=Text("目标任务的步数", "Steps on the target"), help=Text("每步 32 张图。", "Each of 32 images."))  # fmt: skip
    width: int = integer(48, 8, 96, step=8, advanced=True, label=Text("隐藏层宽度", "Width"), help=Text("每个隐藏层的单元数。", "Units in each hidden layer."))  # fmt: skip
    seeds: int = integer(12, 5, 16, advanced=True, label=Text("种子数", "Seeds"), help=Text("每个种子有自己的类别划分和初始权重。", "Each has its own split of the classes and initial weights."))  # fmt: skip
    data: str = own_data("classes")


PRESETS = {
    "few-samples": Preset(
        Text("目标样本少", "Few target samples"),
        Text("新类别一共只有 100 张图：复制几层、冻结还是微调？", "Only 100 images of the new classes: how many layers to copy, and freeze them or not?"),
        {},
        "textbook",
    ),
    "plenty": Preset(
        Text("目标样本充足", "Plenty of samples"),
        Text("新类别有 600 张图：预训练还有用吗？", "600 images of the new classes: does pre-training still matter?"),
        {"samples": 600, "steps": 300},
        "limits",
    ),
    "too-fast": Preset(
        Text("微调学习率太大", "Rate too large"),
        Text("同样 100 张图，学习率放到 0.4：预训练的特征还在吗？", "The same 100 images at a rate of 0.4: do the pre-trained features survive?"),
        {"lr": 0.4},
        "limits",
    ),
}  # fmt: skip

YOSINSKI = Source("How transferable are features in deep neural networks?", "Jason Yosinski, Jeff Clune, Yoshua Bengio, Hod Lipson", 2014, "https://arxiv.org/abs/1411.1792")  # fmt: skip


# ---- the two tasks ---------------------------------------------------------------------------------------------------


class _Tasks:
    """For each seed a source and a target task on classes of their own; with fewer than four classes the two overlap.

    `rank` (S, classes) puts the classes in an order; the first `half` are the source, the last `half` the target. Samples are pairs (offset, row).
    """

    def __init__(self, p: Transfer, device: torch.device, generator: torch.Generator) -> None:
        data = load_digits_or_own(p.data, device, generator=generator)
        self.p, self.device, self._generator, self.features = p, device, generator, data.features
        self.y, x = torch.cat([data.train_y, data.test_y]).cpu(), torch.cat([data.train_x, data.test_x])
        self.turns = 1 if p.data else p.turns
        if p.data:
            self._x = x[None, None]
        else:
            x = x - data.train_x.amin(0)  # 0 where a digit is empty
            turned = [torch.rot90(x.view(-1, SIDE, SIDE), turn, (1, 2)).flatten(1) for turn in range(p.turns)]
            self._x = torch.stack([moved(images, p.shift) for images in turned])  # (turns, offsets, N, 64)
            self._x -= self._x.mean()
        self.classes, self.half = data.classes, max(2, data.classes // 2)
        self.last = self.classes - self.half
        self.rank = shuffles(data.classes, p.seeds, generator)
        self.source, self.sources = self._rows(self.rank[:, self.y] < self.half)
        target, counts = self._rows(self.rank[:, self.y] >= self.last)
        self.samples = min(p.samples, int(counts.min()) // 2)
        self.target = target[:, : self.samples], self._offsets(self.samples)
        tests = target[:, self.samples : int(counts.min())][:, :TEST].repeat(1, PLACES)
        self.test_x, self.test_labels = self._x[0, self._offsets(tests.shape[1]), tests], self.labels(tests, self.last)

    def _rows(self, member: Tensor) -> tuple[Tensor, Tensor]:
        """Of each seed's members (S, N) the indices, shuffled, first (S, N), and how many there are (S,)."""
        shuffled = torch.rand(member.shape, generator=self._generator) - member.float()
        return shuffled.argsort(1), member.sum(1)

    def _offsets(self, count: int) -> Tensor:
        return torch.randint(self._x.shape[1], (self.p.seeds, count), generator=self._generator)

    def labels(self, rows: Tensor, first: int) -> Tensor:
        """Classes of samples (S, B) by their place in each seed's order, counted from `first`, on the device."""
        return (self.rank.gather(1, self.y[rows]) - first).to(self.device)

    def source_batch(self) -> tuple[Tensor, Tensor]:
        """A digit counts as another class in each orientation."""
        rows = self.source.gather(1, (torch.rand(self.p.seeds, SOURCE_BATCH, generator=self._generator) * self.sources[:, None]).long())
        turns = torch.randint(self.turns, rows.shape, generator=self._generator)
        labels = self.labels(rows, 0) + self.half * turns.to(self.device)
        return self._x[turns, self._offsets(SOURCE_BATCH), rows], labels

    def target_batch(self) -> tuple[Tensor, Tensor]:
        """From the few target samples, each of which stays where it was put."""
        at = torch.randint(self.samples, (self.p.seeds, BATCH), generator=self._generator)
        rows, offsets = (part.gather(1, at) for part in self.target)
        return self._x[0, offsets, rows], self.labels(rows, self.last)


# ---- the networks ----------------------------------------------------------------------------------------------------


class _Target:
    """Networks for the target: from scratch, then each kind of KINDS with n = 1 … depth layers; network k belongs to seed k % seeds."""

    def __init__(self, p: Transfer, tasks: _Tasks, source: StackedMLP, generator: torch.Generator) -> None:
        self.p, self.tasks = p, tasks
        self.jobs = [("scratch", 0), *((kind, n) for kind in KINDS for n in range(1, p.depth + 1))]
        self.network = StackedMLP((*source.sizes[:-1], tasks.half), list(range(p.seeds)) * len(self.jobs), generator, device=tasks.device)
        learns = torch.ones(p.depth + 1, len(self.jobs), device=tasks.device)
        for job, (kind, n) in enumerate(self.jobs):
            own = slice(job * p.seeds, (job + 1) * p.seeds)
            for layer in range(n if kind in ("tuned", "frozen") else 0):
                self.network.weights[layer][own] = source.weights[layer]
                self.network.biases[layer][own] = source.biases[layer]
            if kind != "tuned":
                learns[:n, job] = 0
        self._learns = [layer.repeat_interleave(p.seeds) for layer in learns]  # (K,) for each layer: 0 where it is frozen
        self._optimizer = SGD(self.network, [p.lr] * self.network.count, momentum=0.9)

    def step(self) -> None:
        x, y = self.tasks.target_batch()
        _, gradients = self.network.gradients(x.repeat(len(self.jobs), 1, 1), y.repeat(len(self.jobs), 1))
        layers = len(self._learns)  # weights of all layers, then biases of all layers
        frozen = [g.mul_(self._learns[i % layers].view(-1, *[1] * (g.dim() - 1))) for i, g in enumerate(gradients)]
        self._optimizer.step(frozen)

    def accuracies(self) -> Tensor:
        """Test accuracy in percent, (treatments, seeds); a network with NaN has none right."""
        logits = self.network.logits(self.tasks.test_x.repeat(len(self.jobs), 1, 1))
        right = (logits.argmax(2) == self.tasks.test_labels.repeat(len(self.jobs), 1)) & ~logits.isnan().any(2)
        return 100 * right.float().mean(1).view(len(self.jobs), self.p.seeds).cpu()


@dataclass
class _View:
    """What the pictures show so far: looks at the target networks (each (treatments, seeds)) and the steps they were taken at; filters (8, 64)."""

    steps: list[int] = field(default_factory=list)
    looks: list[Tensor] = field(default_factory=list)
    filters: Tensor | None = None


def run(p: Transfer, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    view, pace = _View(), Pace()
    yield Snapshot(0, Text("载入数据", "Loading the data"), _charts(p, view))
    tasks = _Tasks(p, device, generator)
    source = StackedMLP((tasks.features, *[p.width] * p.depth, tasks.half * tasks.turns), range(p.seeds), generator, device=device)
    optimizer, share = SGD(source, [PRE_RATE] * p.seeds, momentum=0.9), p.pre_steps / (p.pre_steps + 4 * p.steps)
    for step in range(1, p.pre_steps + 1):
        losses, gradients = source.gradients(*tasks.source_batch())
        optimizer.step(gradients, 1 - 0.9 * step / p.pre_steps)
        if pace.due(step / p.pre_steps):
            view.filters = _filters(p, source)
            status = Text(f"在源类别上预训练，第 {step}/{p.pre_steps} 步，损失 {losses.mean():.2g}", f"Pre-training on the source classes, step {step}/{p.pre_steps}, loss {losses.mean():.2g}")  # fmt: skip
            yield Snapshot(share * step / p.pre_steps, status, _charts(p, view))
    view.filters = _filters(p, source)
    target, pace = _Target(p, tasks, source, generator), Pace()
    for step in range(p.steps + 1):
        if step:
            target.step()
        if step * LOOKS // p.steps > (step - 1) * LOOKS // p.steps:
            view.steps.append(step)
            view.looks.append(target.accuracies())
        if pace.due(step / p.steps):
            count = target.network.count
            status = Text(f"目标任务：{count} 个网络，第 {step}/{p.steps} 步", f"Target task: {count} networks, step {step}/{p.steps}")
            yield Snapshot(share + 0.99 * (1 - share) * step / p.steps, status, _charts(p, view))
    figures, outcome = _judge(p, view.looks[-1], tasks.half, tasks.classes)
    yield Snapshot(1, Text("完成", "Done"), _charts(p, view), figures, outcome)


def _filters(p: Transfer, source: StackedMLP) -> Tensor | None:
    """Weights into the first eight units of the first seed's network, (8, 64), if the inputs are images."""
    return None if p.data else source.weights[0][0, :8].detach().cpu().clone()


# ---- pictures --------------------------------------------------------------------------------------------------------


def gains(p: Transfer, accuracies: Tensor) -> dict[str, Tensor]:
    """For each kind the accuracy beyond training from scratch, in points, (depth, seeds); accuracies (treatments, seeds) in percent."""
    return dict(zip(KINDS, (accuracies[1:] - accuracies[:1]).view(len(KINDS), p.depth, p.seeds), strict=True))


def _charts(p: Transfer, view: _View) -> tuple[Chart, ...]:
    reach = 80 if p.lr > 0.1 else 40  # where nothing but frozen layers survives, they are far ahead
    lines, curves = [Line(SCRATCH, "baseline", [0, p.depth], [0, 0])], []
    told = Text("还没有开始训练目标任务。", "Training on the target has not begun.")
    if view.looks:
        found = gains(p, view.looks[-1])
        for kind, (name, role) in KINDS.items():
            rows = torch.cat([torch.zeros(1, p.seeds), found[kind]]).T.tolist()
            lines.append(Line(name, role, range(p.depth + 1), *mean_and_band(rows)))
        means = {kind: float(rows[-1].mean()) for kind, rows in found.items()}
        told = Text(
            f"第 {view.steps[-1]} 步，{p.depth} 层全部来自源网络时，与从头训练相比：微调 {means['tuned']:+.1f}，冻结 {means['frozen']:+.1f}，随机冻结 {means['random']:+.1f} 个百分点。",
            f"Step {view.steps[-1]}, with all {p.depth} layers taken over, against training from scratch: fine-tuned {means['tuned']:+.1f}, frozen {means['frozen']:+.1f}, random and frozen {means['random']:+.1f} points.",
        )
        history = torch.stack(view.looks)  # (looks, treatments, seeds)
        parts: list[tuple[Text, Role, Tensor]] = [(SCRATCH, "baseline", history[:, 0])]
        for i, (name, role) in enumerate(KINDS.values()):
            parts.append((name, role, history[:, 1 + i * p.depth : 1 + (i + 1) * p.depth].mean(1)))
        curves = [Line(name, role, view.steps, *mean_and_band(values.T.tolist())) for name, role, values in parts]
    charts: list[Chart] = [
        LineChart(
            Text("复制或固定前 n 层，比从头训练好多少", "Taking over the first n layers: gain over training from scratch"), Axis(Text("前 n 层", "first n layers"), names=tuple(same(str(n)) for n in range(p.depth + 1))),
            Axis(Text("准确率之差（百分点）", "difference in accuracy (points)"), low=-reach, high=reach), tuple(lines), told,
        ),
        LineChart(
            Text("目标任务的训练过程（对 n 平均）", "Training on the target (mean over n)"), Axis(Text("步数", "step"), low=0, high=p.steps),
            Axis(Text("测试准确率（%）", "test accuracy (%)"), low=0, high=100), tuple(curves),
            Text("测试准确率：" + "，".join(f"{line.name.zh} {tuple(line.y)[-1]:.0f}%" for line in curves) + "。", "Test accuracy: " + ", ".join(f"{line.name.en} {tuple(line.y)[-1]:.0f} %" for line in curves) + ".") if curves else told,
        ),
    ]  # fmt: skip
    if view.filters is not None:
        charts.append(
            ImageGrid(
                Text("源网络第一层的 8 个单元", "Eight units of the source network's first layer"), tuple(Image(Text(f"单元 {i + 1}", f"unit {i + 1}"), unit.view(SIDE, SIDE)) for i, unit in enumerate(view.filters)),
                Text("每个单元对 64 个像素的权重，预训练时从噪声变成有形状的图案。", "Each unit's weights for the 64 pixels: in pre-training noise turns into patterns."),
                low=-0.6, high=0.6, diverging=True, columns=4,
            )
        )  # fmt: skip
    return tuple(charts)


# ---- the verdict -----------------------------------------------------------------------------------------------------


def _judge(p: Transfer, accuracies: Tensor, half: int, classes: int) -> tuple[tuple[Figure, ...], Outcome]:
    """The gain of fine-tuned copies over training from scratch, seed by seed, on average over n, against the published +1.6 points.

    Reproduced: its interval begins above MARGIN, and its mean is at least as large as published; it may well be larger, as the paper's target has hundreds of
    thousands of images, and fewer leave more to gain. Same direction: only the first. Otherwise not at this scale. accuracies (treatments, seeds) in percent.
    """
    found = gains(p, accuracies)
    tuned = found["tuned"].mean(0)
    mean, low, _ = interval(tuned.tolist())
    status: Status = "not_at_this_scale" if low <= MARGIN else "reproduced" if mean >= PUBLISHED else "same_direction"
    points = Text("个百分点", "points")
    names = [
        (Text("微调，对 n 平均", "fine-tuned, mean over n"), tuned),
        (Text("第 1 层复制并冻结", "first layer copied and frozen"), found["frozen"][0]),
        (Text("第 1 层随机并冻结", "first layer random and frozen"), found["random"][0]),
        (Text(f"{p.depth} 层全部复制并冻结", f"all {p.depth} layers copied and frozen"), found["frozen"][-1]),
        (Text(f"{p.depth} 层全部随机并冻结", f"all {p.depth} layers random and frozen"), found["random"][-1]),
    ]
    scratch = mean_and_spread(accuracies[0].tolist())
    figures = (
        *(Figure(Text(f"比从头训练高：{name.zh}", f"Gain over scratch: {name.en}"), *mean_and_spread(values.tolist()), points) for name, values in names),
        Figure(Text("从头训练的测试准确率", "Test accuracy from scratch"), *scratch, "%"),
        Figure(Text("复制全部层再微调的测试准确率", "Test accuracy, all layers copied and fine-tuned"), *mean_and_spread(accuracies[p.depth].tolist()), "%"),
    )  # fmt: skip
    answer = "much" if mean > 10 else "gain" if mean > 2 else "none"
    published = Text(
        "ImageNet 的两半之间：复制 1–7 层再微调，平均高 1.6 个百分点（至少复制 5 层时高 2.1）；冻结时前两层几乎完全可迁移，越往上掉得越多",
        "between two halves of ImageNet: copying 1 to 7 layers and fine-tuning gains 1.6 points on average (2.1 with five or more); frozen, the first two layers transfer almost perfectly, higher ones lose more and more",
    )
    kept = float(accuracies[1 + p.depth : 1 + 2 * p.depth].mean(1).max())
    text = _explain(p, {name: float(values.mean()) for name, values in zip(("tuned", "f1", "r1", "fd", "rd"), (v for _, v in names), strict=True)}, scratch[0], kept, half, classes, status)  # fmt: skip
    return figures, Outcome(Verdict(status, figures[0], published, YOSINSKI, text), answer)


def _explain(p: Transfer, gain: dict[str, float], scratch: float, kept: float, half: int, classes: int, status: Status) -> Text:
    """`gain` over training from scratch in points: tuned, and the first (f1, r1) and all (fd, rd) layers frozen; `kept`: best accuracy of frozen copies."""
    if scratch < 140 / half:
        return Text(
            f"学习率 {p.lr:g} 下，从头训练只有 {scratch:.0f}%（乱猜是 {100 / half:.0f}%）：头几步迈得太大，大批 ReLU 单元死亡（发散的网络按 0% 计），微调的副本也一样（相差 {gain['tuned']:+.1f} 个百分点），预训练的特征几步之内就没了。"
            f"冻结的层没有被碰过，其中最好的一种还有 {kept:.0f}%。所以微调要用比预训练小得多的学习率，或者先冻结、只训练新的输出层。",
            f"At the rate {p.lr:g} training from scratch ends at {scratch:.0f} % (guessing: {100 / half:.0f} %): the first steps are so large that most ReLU units die (networks that diverge count as 0 %). Fine-tuned copies fare no better "
            f"({gain['tuned']:+.1f} points): what was pre-trained is gone within a few steps. Frozen layers were not touched; the best of them still reach {kept:.0f} %. "
            "Hence fine-tune at a much smaller rate than pre-training, or freeze first and train the new output layer alone.",
        )
    found = Text(
        f"微调的副本比从头训练平均{'高' if gain['tuned'] >= 0 else '低'} {abs(gain['tuned']):.1f} 个百分点。冻结第 1 层：复制来的 {gain['f1']:+.1f}，随机的 {gain['r1']:+.1f}"
        + (f"；冻结全部 {p.depth} 层：{gain['fd']:+.1f} 对 {gain['rd']:+.1f}。" if p.depth > 1 else "。"),
        f"Fine-tuned copies are {abs(gain['tuned']):.1f} points {'better' if gain['tuned'] >= 0 else 'worse'} than training from scratch on average. First layer frozen: {gain['f1']:+.1f} if copied, {gain['r1']:+.1f} if random"
        + (f"; all {p.depth} frozen: {gain['fd']:+.1f} against {gain['rd']:+.1f}. " if p.depth > 1 else ". "),
    )
    if not p.pre_steps:
        why = Text("没有预训练，复制来的不过是另一组随机权重，没有什么可迁移。", "Nothing was pre-trained: what is copied is another set of random weights, and there is nothing to transfer. ")  # fmt: skip
    elif status != "not_at_this_scale":
        drop = gain["fd"] < gain["f1"] - 2
        why = Text(
            f"笔画换个位置仍是同一笔画，这对所有类别都成立；源网络从许多图里学到了这一点，只靠 {p.samples} 张目标图学不会。"
            + ("越靠上的层越贴着源类别，冻结它们就有损失；让它们一起学，损失就补回来了。" if drop else "样本这么少，连上层的特征也比自己学的好；样本多了，冻结上层就会有损失（换“目标样本充足”看看）。"),
            f"A stroke is the same stroke in another place, and that holds for all classes; the source network has learnt this from many images, and {p.samples} target images are too few to teach it. "
            + ("Higher layers fit the source classes, so freezing them costs; letting them learn makes up for it. " if drop else "With so few samples even high-level features beat those learnt from scratch; with more, freezing them costs (see the preset with plenty). "),
        )  # fmt: skip
    elif gain["tuned"] > PUBLISHED:
        why = Text(
            f"平均是高的，但 {p.seeds} 个种子之间差别太大，置信区间够到了 {MARGIN:g} 个百分点以下，不能下结论。",
            f"On average they are better, but the {p.seeds} seeds differ so much that the interval reaches below {MARGIN:g} points: no conclusion. ",
        )
    elif scratch > 75 or gain["fd"] < -2:
        tied = gain["fd"] < -2
        why = Text(
            f"{p.samples} 张目标图足以让从头训练自己学到有用的特征，起点就不那么重要了" + ("；冻结上层反而成了束缚，因为它们贴着源类别。" if tied else "。"),
            f"{p.samples} target images are enough for training from scratch to find features of its own, and the start hardly matters any more" + ("; freezing the higher layers even ties its hands, as they fit the source classes. " if tied else ". "),
        )  # fmt: skip
    else:
        why = Text(
            "源类别教会的东西在这里帮不上目标任务：两者需要的特征不够一样，或者训练太短。",
            "What the source classes teach is of no help on the target here: the two need different features, or training was too short. ",
        )
    note = (
        Text(f"只有 {classes} 个类别，源和目标有重叠。", f"With only {classes} classes, source and target overlap. ")
        if classes < 4
        else Text("", "")
    )
    scaled = Text(
        "论文是 8 层卷积网络，源和目标各约 64.5 万张图；这里是小的全连接网络和数字。",
        "The paper has a convolutional network of 8 layers and some 645,000 images in each half; here it is a small fully connected network on digits.",
    )
    return found + why + note + scaled


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Transfer) -> Prediction:
    return Prediction(
        Text(
            f"源类别预训练 {p.pre_steps} 步，目标类别一共 {p.samples} 张图，学习率 {p.lr:g}。复制若干层再整体微调，比从头训练如何？",
            f"{p.pre_steps} steps of pre-training on the source classes, {p.samples} images of the target classes, rate {p.lr:g}. Layers are copied, then all are fine-tuned. Compared with training from scratch?",
        ),
        {
            "much": Text("好 10 个百分点以上", "over 10 points better"),
            "gain": Text("好 2–10 个百分点", "2 to 10 points better"),
            "none": Text("好不到 2 个百分点，甚至更差", "not even 2 points better, or worse"),
        },
    )


_CODE = """\
import copy

import torch
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(0)
SAMPLES, STEPS, PRE_STEPS, DEPTH, WIDTH, RATE = {samples}, {steps}, {pre_steps}, {depth}, {width}, {lr:g}
{data}
{moved}
half = max(2, classes // 2)
order = torch.randperm(len(y))
source, target = order[y[order] < half], order[y[order] >= classes - half]
target, test = target[: min(SAMPLES, len(target) // 2)], target[len(target) // 2 :]
offsets = torch.randint(x.shape[1], (len(y),))  # target and test images stay where they are

def new_images(rows):
    return x[0, offsets[rows], rows], y[rows] - (classes - half)

def draw_source():  # a digit in another orientation is another class
    rows = source[torch.randint(len(source), (96,))]
    turn, offset = torch.randint(len(x), (96,)), torch.randint(x.shape[1], (96,))
    return x[turn, offset, rows], y[rows] + half * turn

def draw_target():
    return new_images(target[torch.randint(len(target), (32,))])

def build(outputs):
    sizes = [x.shape[-1]] + [WIDTH] * DEPTH
    layers = [m for a, b in zip(sizes, sizes[1:]) for m in (nn.Linear(a, b), nn.ReLU())]
    for layer in layers[::2]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return nn.Sequential(*layers, nn.Linear(WIDTH, outputs))

def train(net, draw, steps, rate, last=1.0):
    optimizer = torch.optim.SGD([w for w in net.parameters() if w.requires_grad], lr=rate, momentum=0.9)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 + (last - 1) * step / steps)
        inputs, labels = draw()
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()

base, start = build(half * len(x)), build(half)
train(base, draw_source, PRE_STEPS, 0.05, last=0.1)
images, labels = new_images(test)
for n in range(DEPTH + 1):
    for frozen in (False, True) if n else (False,):
        net = copy.deepcopy(start)
        net[: 2 * n].load_state_dict(base[: 2 * n].state_dict())
        net[: 2 * n].requires_grad_(not frozen)
        train(net, draw_target, STEPS, RATE)
        right = (net(images).argmax(1) == labels).float().mean().item()
        print(f"{{n}} layers copied, {{'frozen' if frozen else 'fine-tuned'}}: {{100 * right:.1f}} % right")
"""
_MOVED = """\
square = nn.functional.pad((x - x.amin(0)).view(-1, 8, 8), ({shift},) * 4)  # 0 where a digit is empty
turned = [torch.rot90(square, turn, (1, 2)) for turn in range({turns})]
places = range({places})
x = torch.stack([torch.stack([t[:, i : i + 8, j : j + 8].flatten(1) for i in places for j in places]) for t in turned])
x = x - x.mean()  # (orientations, offsets, images, pixels)
"""
_UNMOVED = """\
x = x[None, None]  # one orientation, one place
"""


def code(p: Transfer) -> str:
    moving = _UNMOVED if p.data else _MOVED.format(shift=p.shift, turns=p.turns, places=2 * p.shift + 1)
    return _CODE.format(**{**p.values(), "data": digits_or_own(p.data), "moved": moving})


DEMO = Demo(
    topic="architectures",
    title=Text("迁移：复制前 n 层", "Transfer: copying the first n layers"),
    question=Text("预训练网络的哪几层可以搬到新任务？冻结还是微调？", "Which pre-trained layers can be moved to a new task, and should they be frozen or fine-tuned?"),
    look_for=Text(
        "看三条线随 n 怎样分开：复制的层与随机的层差多少，冻结与微调差多少。再看预训练时，第一层的权值怎样变。",
        "See how the three lines part as n grows: how far apart are copied layers and random ones, and frozen and fine-tuned ones? During pre-training, watch the weights of the first layer change.",
    ),
    scaled_down=Text(
        "五个源类别、五个目标类别的 8×8 数字，随机平移一个像素，小的全连接网络；论文是 ImageNet 的两个 500 类和 8 层卷积网络。",
        "Five source and five target classes of 8×8 digits, moved at random by a pixel, and small fully connected networks, instead of two halves of ImageNet with 500 classes each and 8 convolutional layers.",
    ),
    parameters=Transfer,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=4,
)  # fmt: skip
