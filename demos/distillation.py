"""Distillation (1.33): what a small student learns from a teacher's soft labels that hard labels do not tell it, and when it learns nothing from them.

The teacher is the average of four wide networks, trained with dropout and random shifts on all training digits. Students see a small transfer set, each a draw of
its own. Three groups of them start from the same weights and see the same batches: with hard labels, with soft labels at temperature 1, and at temperature T.
In `unseen` one class is missing from the transfer set, and the bias of that class is put right afterwards, as in Hinton et al. (2015).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demos.core.charts import Axis, BarChart, Bars, Chart, Image, ImageGrid, Line, LineChart, Role
from demos.core.datasets import Dataset, load_digits_or_own, moved
from demos.core.demo import Demo, Figure, Outcome, Prediction, Preset, Snapshot, Source, Status, Verdict
from demos.core.lazy import torch
from demos.core.own_data import own_data
from demos.core.pace import Pace
from demos.core.parameters import Parameters, integer, mode_choice, real
from demos.core.scripts import digits_or_own
from demos.core.stacked import SGD, Adam, StackedMLP, error_rate
from demos.core.statistics import interval, mean_and_band, mean_and_spread, ratio_interval
from demos.core.text import Text, same

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 8  # of a digit, in pixels
TEACHERS, TEACHER_BATCH, TEACHER_RATE, DROPOUT = 4, 64, 0.1, 0.2
BATCH, LOOKS, SHOWN = 50, 10, 8  # images in a student's step; looks while training; images that are shown with their soft labels
BIASES = 31  # tries for the bias of the unseen class, 0 … 15
PUBLISHED_RATIO, PUBLISHED_UNSEEN = 146 / 74, 98.6
MOST = 80.0  # percent of an unseen class that must be recognised


@dataclass(frozen=True)
class Distillation(Parameters):
    task: str = mode_choice(
        "errors", {"errors": Text("测试错误", "test errors"), "unseen": Text("没见过的类", "an unseen class")},
        label=Text("实验", "Experiment"), help=Text("比较错误率，还是把一个类从迁移集里拿掉。", "Compare test errors, or leave a class out of the transfer set."),
    )  # fmt: skip
    temperature: float = real(4.0, 1, 40, log=True, label=Text("温度 T", "Temperature T"), help=Text("教师和学生的 logit 都除以它；1 就是原样。", "Logits of teacher and student are divided by it; 1 leaves them as they are."))  # fmt: skip
    alpha: float = real(0.9, 0, 1, step=0.05, label=Text("软标签的权重 α", "Weight α of the soft labels"), help=Text("损失是 α·T²·KL(软) + (1−α)·交叉熵(硬)。", "The loss is α·T²·KL (soft) + (1−α)·cross-entropy (hard)."))  # fmt: skip
    samples: int = integer(100, 30, 1297, label=Text("迁移集大小", "Transfer set"), help=Text("学生能看到多少张图；教师看过全部。", "How many images a student sees; the teacher has seen all."))  # fmt: skip
    width: int = integer(32, 2, 96, label=Text("学生的宽度", "Student's width"), help=Text("学生两个隐藏层各有多少单元；教师是 4 个 128 单元的网络。", "Units in each of the student's two hidden layers; the teacher is 4 networks of 128."))  # fmt: skip
    unseen: int = integer(3, 0, 9, label=Text("拿掉哪一类", "Class left out"), help=Text("迁移集里没有这一类；自己的数据按类别名排序。", "Missing from the transfer set; classes of your own data are in the order of their names."), modes=("unseen",))  # fmt: skip
    steps: int = integer(400, 50, 1000, step=50, advanced=True, label=Text("学生的步数", "Student's steps"), help=Text("每步 50 张图。", "Each uses 50 images."))  # fmt: skip
    teacher_steps: int = integer(500, 0, 1000, step=50, advanced=True, label=Text("教师的步数", "Teacher's steps"), help=Text("太少的话，教师自己就不行。", "Too few make a poor teacher."))  # fmt: skip
    lr: float = real(0.01, 0.0001, 1, log=True, advanced=True, label=Text("学生的学习率", "Student's learning rate"), help=Text("Adam。", "Of Adam."))  # fmt: skip
    seeds: int = integer(10, 5, 16, advanced=True, label=Text("学生数", "Students"), help=Text("每组有多少个学生，各有自己的初始权重和迁移集。", "In each group; each has its own initial weights and transfer set."))  # fmt: skip
    data: str = own_data("classes")


PRESETS = {
    "few-samples": Preset(
        Text("100 张图的学生", "100 images"),
        Text("学生只有 100 张图：软标签能让错误少多少？", "The student has 100 images: how many errors do soft labels save?"),
        {"task": "errors"},
        "textbook",
    ),
    "unseen": Preset(
        Text("没见过的 3", "Unseen 3s"),
        Text("迁移集里没有一张 3，学生只学软标签：它认得出 3 吗？", "Not one 3 in the transfer set, and nothing but soft labels: will the student know a 3?"),
        {"task": "unseen", "samples": 1000, "temperature": 20.0, "alpha": 1.0, "width": 64, "steps": 500},
        look_for=Text(
            "看没见过的类认出了多少（越高越好）：硬标签、T = 1、T = 20 三组各到多高，T = 20 修正与未修正偏置差多少。再看教师觉得那些图像什么：迁移集里没有 3，教师在哪些别的数字里看出了 3 的影子，给了几分？",
            "See how much of the unseen class is recognised (the higher the better): how far do hard labels, T = 1 and T = 20 get, and what does correcting the bias add at T = 20? Then look at what the teacher takes the images for: without any 3 in the transfer set, in which other digits does it see something of a 3, and how much?",
        ),
    ),
    "tiny-student": Preset(
        Text("学生太小", "Student too small"),
        Text("每层只有 4 个单元，全部 1,297 张图：软标签还有用吗？", "Four units per layer and all 1,297 images: are soft labels still of use?"),
        {"task": "errors", "width": 4, "samples": 1297},
        "limits",
    ),
}  # fmt: skip

HINTON = Source(
    "Distilling the Knowledge in a Neural Network", "Geoffrey Hinton, Oriol Vinyals, Jeff Dean", 2015, "https://arxiv.org/abs/1503.02531"
)


# ---- teacher and students --------------------------------------------------------------------------------------------


class _Teacher:
    """The average (of logits) of TEACHERS networks. Half of the digits in a batch are moved by up to a pixel; rows of a table are not."""

    def __init__(self, p: Distillation, data: Dataset, generator: torch.Generator) -> None:
        self._data, self._generator, self._steps = data, generator, max(p.teacher_steps, 1)
        self._places = data.train_x[None]
        if not p.data:
            lowest = data.train_x.amin(0)
            self._places = moved(data.train_x - lowest) + lowest
        sizes = (data.features, 128, 128, data.classes)
        self.network = StackedMLP(sizes, range(TEACHERS), generator, dropout=DROPOUT, device=data.train_x.device)
        self._optimizer = SGD(self.network, [TEACHER_RATE] * TEACHERS, momentum=0.9)

    def step(self, step: int) -> None:
        rows = torch.randint(len(self._data.train_y), (TEACHERS, TEACHER_BATCH), generator=self._generator)
        places = torch.randint(len(self._places), rows.shape, generator=self._generator)
        stay = torch.rand(rows.shape, generator=self._generator) < 0.5
        places = places.masked_fill(stay, len(self._places) // 2)
        masks = self.network.draw_masks(TEACHER_BATCH, self._generator)
        _, gradients = self.network.gradients(self._places[places, rows], self._data.train_y[rows], masks)
        self._optimizer.step(gradients, 1 - 0.95 * step / self._steps)

    def logits(self, x: Tensor) -> Tensor:
        """(B, classes) for x (B, F)."""
        return self.network.logits(x).mean(0)


def slope_of(outputs: Tensor, teacher: Tensor, one_hot: Tensor, temperature: Tensor, alpha: Tensor) -> Tensor:
    """The gradient by the outputs (K, classes, B) of α·T²·KL(teacher ‖ student at T) + (1−α)·cross-entropy, each averaged over the batch.

    teacher: its logits, one_hot: the true classes, both like `outputs`; temperature and alpha (K, 1, 1).
    """
    soft = (outputs / temperature).softmax(1) - (teacher / temperature).softmax(1)
    return (alpha * temperature * soft + (1 - alpha) * (outputs.softmax(1) - one_hot)) / outputs.shape[2]


class _Students:
    """Groups of students side by side: hard labels, soft at T = 1, soft at T. Student k has the start and the transfer set of seed k % seeds."""

    def __init__(self, p: Distillation, data: Dataset, teacher: Tensor, generator: torch.Generator) -> None:
        self.p, self.data, self.teacher, self._generator = p, data, teacher, generator
        self.device, self.unseen = data.train_x.device, min(p.unseen, data.classes - 1)
        usable = torch.arange(len(data.train_y))
        if p.task == "unseen":
            usable = usable[data.train_y.cpu() != self.unseen]
        count = min(p.samples, len(usable))
        self.transfer = torch.stack([usable[torch.randperm(len(usable), generator=generator)][:count] for _ in range(p.seeds)])
        groups = [(1.0, 0.0), (1.0, p.alpha), (p.temperature, p.alpha)]
        spread = torch.tensor(groups, device=self.device).repeat_interleave(p.seeds, 0)
        self._temperature, self._alpha = spread[:, :1, None], spread[:, 1:, None]
        self.network = StackedMLP((data.features, p.width, p.width, data.classes), list(range(p.seeds)) * 3, generator, device=self.device)
        self._optimizer = Adam(self.network, [p.lr] * self.network.count)

    def step(self, step: int) -> None:
        at = torch.randint(self.transfer.shape[1], (self.p.seeds, BATCH), generator=self._generator)
        rows = self.transfer.gather(1, at).repeat(3, 1).to(self.device)
        outputs, tape = self.network.forward(self.data.train_x[rows], training=True, update=True)
        one_hot = torch.nn.functional.one_hot(self.data.train_y[rows], self.data.classes).to(outputs)
        slope = slope_of(outputs, self.teacher[rows].transpose(1, 2), one_hot.transpose(1, 2), self._temperature, self._alpha)
        self._optimizer.step(self.network.backward(tape, slope), 1 - 0.9 * step / self.p.steps)

    def errors(self) -> Tensor:
        """Test errors in percent, (3, seeds)."""
        return 100 * error_rate(self.network.logits(self.data.test_x), self.data.test_y).view(3, -1).cpu()

    def unlearnt(self) -> Tensor:
        """Errors on the own transfer set in percent, (3, seeds)."""
        rows = self.transfer.repeat(3, 1).to(self.device)
        return 100 * error_rate(self.network.logits(self.data.train_x[rows]), self.data.train_y[rows]).view(3, -1).cpu()

    def recognised(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the unseen class's test samples the percentage that is right as it is, and with the bias; and that bias; each (3, seeds)."""
        bias = best_bias(self.network.logits(self.data.train_x), self.data.train_y, self.unseen)
        logits = self.network.logits(self.data.test_x[self.data.test_y == self.unseen])
        rates = [(beats(logits, self.unseen) > -b[:, None]).float().mean(1) for b in (torch.zeros_like(bias), bias)]
        before, after, bias = (values.view(3, -1).cpu() for values in (100 * rates[0], 100 * rates[1], bias))
        return before, after, bias


def beats(logits: Tensor, unseen: int) -> Tensor:
    """By how much the unseen class's logit exceeds the largest of the others: (K, B) of logits (K, B, classes)."""
    others = torch.cat([logits[..., :unseen], logits[..., unseen + 1 :]], -1).amax(-1)
    return logits[..., unseen] - others


def best_bias(logits: Tensor, y: Tensor, unseen: int) -> Tensor:
    """The number (K,) from 0 to 15 that, added to the unseen class's logit, makes most of the samples right; the least of several equal ones."""
    lead, own = beats(logits, unseen), y == unseen
    masked = logits.clone()
    masked[..., unseen] = -torch.inf
    right = masked.argmax(2) == y  # of the other classes, as long as the unseen one does not come in between
    tries = torch.linspace(0, 15, BIASES, device=logits.device)
    counts = torch.stack([((lead > -b) & own).sum(1) + ((lead <= -b) & right & ~own).sum(1) for b in tries])
    return tries[counts.argmax(0)]


# ---- the run ---------------------------------------------------------------------------------------------------------


@dataclass
class _View:
    """What the pictures show so far: looks (each (3, seeds)) and their steps, the teacher's level, and images with the teacher's logits."""

    teacher: float | None = None
    steps: list[int] = field(default_factory=list)
    looks: list[Tensor] = field(default_factory=list)
    plain: list[Tensor] = field(default_factory=list)  # without the bias
    images: Tensor | None = None  # (SHOWN, F)
    labels: list[int] = field(default_factory=list)
    logits: Tensor | None = None  # (SHOWN, classes)


def run(p: Distillation, device: torch.device, generator: torch.Generator) -> Iterator[Snapshot]:
    view, pace = _View(), Pace()
    yield Snapshot(0, Text("载入数据", "Loading the data"), _charts(p, view))
    data = load_digits_or_own(p.data, device, generator=generator)
    teacher, share = _Teacher(p, data, generator), p.teacher_steps / (p.teacher_steps + p.steps)
    own = data.test_y == min(p.unseen, data.classes - 1)

    def level() -> float:
        """The teacher's own test error, or what it recognises of the class that its students do not see, in percent."""
        right = teacher.logits(data.test_x).argmax(1) == data.test_y
        return 100 * float(right[own].float().mean() if p.task == "unseen" else (~right).float().mean())

    for step in range(p.teacher_steps):
        teacher.step(step)
        if pace.due(step / p.teacher_steps):
            view.teacher = level()
            status = Text(f"训练教师，第 {step + 1}/{p.teacher_steps} 步", f"Training the teacher, step {step + 1}/{p.teacher_steps}")
            yield Snapshot(share * step / p.teacher_steps, status, _charts(p, view))
    view.teacher = level()
    logits = teacher.logits(data.train_x)
    students, pace = _Students(p, data, logits, generator), Pace()
    _choose_images(p, view, students)
    for step in range(p.steps + 1):
        if step:
            students.step(step - 1)
        if step * LOOKS // p.steps > (step - 1) * LOOKS // p.steps and (step or p.task == "errors"):  # random networks know no class
            view.steps.append(step)
            if p.task == "unseen":
                before, after, bias = students.recognised()
                view.plain.append(before)
            view.looks.append(students.errors() if p.task == "errors" else after)
        if pace.due(step / p.steps):
            count = students.network.count
            status = Text(f"训练 {count} 个学生，第 {step}/{p.steps} 步", f"Training {count} students, step {step}/{p.steps}")
            yield Snapshot(share + 0.99 * (1 - share) * step / p.steps, status, _charts(p, view))
    if p.task == "errors":
        figures, outcome = _judge_errors(p, view.teacher, students.errors(), students.unlearnt(), logits, len(data.test_y))
    else:
        figures, outcome = _judge_unseen(p, view.teacher, view.plain[-1], view.looks[-1], bias, students.errors())
    yield Snapshot(1, Text("完成", "Done"), _charts(p, view), figures, outcome)


def _choose_images(p: Distillation, view: _View, students: _Students) -> None:
    """From the first student's transfer set: where the teacher is least sure, or sees most of the unseen class."""
    rows = students.transfer[0].to(students.device)
    soft = (students.teacher[rows] / p.temperature).softmax(1)
    told = soft[:, students.unseen] if p.task == "unseen" else soft.topk(2, 1).values[:, 1]
    picked = rows[told.argsort(descending=True)[:SHOWN]]
    ink = students.data.train_x - students.data.train_x.amin(0)  # 0 where a digit is empty
    view.images, view.logits = ink[picked].cpu(), students.teacher[picked].cpu()
    view.labels = students.data.train_y[picked].tolist()


# ---- pictures --------------------------------------------------------------------------------------------------------


def _groups(p: Distillation) -> list[tuple[Text, Role]]:
    soft = f"T = {p.temperature:.3g}"
    return [(Text("硬标签", "hard labels"), "baseline"), (same("T = 1"), "second"), (same(soft) if p.temperature > 1 else Text("软标签 T = 1", "soft, T = 1"), "first")]  # fmt: skip


def _charts(p: Distillation, view: _View) -> tuple[Chart, ...]:
    lines = []
    if view.teacher is not None:
        lines.append(Line(Text("教师", "teacher"), "theory", [0, p.steps], [max(view.teacher, 0.5)] * 2))
    told = Text("教师还在训练。", "The teacher is still in training.")
    if view.looks:
        parts = [*zip(_groups(p), torch.stack(view.looks, 1), strict=True)]
        if p.task == "unseen":
            name = _groups(p)[2][0] + Text("，未修正", ", uncorrected")
            parts.append(((name, "fourth"), torch.stack([plain[2] for plain in view.plain])))
        lines += [Line(name, role, view.steps, *mean_and_band(values.T.clamp_min(0.2 if p.task == "errors" else 0).tolist(), log=p.task == "errors")) for (name, role), values in parts]  # fmt: skip
        now = [(name, float(values[-1].mean())) for (name, _), values in parts]
        told = Text(
            f"第 {view.steps[-1]} 步，" + "；".join(f"{name.zh}：{value:.1f}%" for name, value in now) + f"；教师：{view.teacher:.1f}%。",
            f"At step {view.steps[-1]}, "
            + "; ".join(f"{name.en}: {value:.1f} %" for name, value in now)
            + f"; teacher: {view.teacher:.1f} %.",
        )
    step = Axis(Text("学生的训练步数", "student's training step"), low=0, high=p.steps)
    if p.task == "errors":
        main = LineChart(Text("学生的测试错误率", "Test error of the students"), step, Axis(Text("测试错误率（%，对数）", "test error (%, log)"), log=True, low=0.5, high=100), tuple(lines), told)  # fmt: skip
    else:
        main = LineChart(
            Text("没见过的类：修正偏置后认出多少", "The unseen class: how much is recognised once its bias is corrected"), step,
            Axis(Text("认出的比例（%）", "recognised (%)"), low=0, high=100), tuple(lines), told,
        )  # fmt: skip
    return (main, _soft_labels(p, view), *_pictures(p, view))


def _soft_labels(p: Distillation, view: _View) -> BarChart:
    """What the teacher says about the first of the images."""
    title, share = Text("一张图的软标签", "Soft labels of one image"), Axis(Text("概率", "probability"), low=0, high=1)
    if view.logits is None:
        return BarChart(title, (), share, (), Text("教师训练完以后才有软标签。", "Soft labels appear once the teacher is trained."))
    logits, label, (_, plain, soft) = view.logits[0], view.labels[0], _groups(p)
    top = (logits / p.temperature).softmax(0).topk(min(4, len(logits))).indices.tolist()
    rows = [[round(v, 3) for v in (logits / t).softmax(0)[top].tolist()] for t in (1.0, p.temperature)]
    other = next(i for i, k in enumerate(top) if k != label)
    return BarChart(
        title, tuple(Text(f"类 {k}（真）", f"class {k} (true)") if k == label else Text(f"类 {k}", f"class {k}") for k in top), share,
        tuple(Bars(*group, row) for group, row in zip((plain, soft), rows, strict=True)),
        Text(f"真实的类是 {label}；类 {top[other]} 在 T = 1 时得 {rows[0][other]:.2g}，在 T = {p.temperature:.3g} 时得 {rows[1][other]:.2g}。", f"The true class is {label}; class {top[other]} gets {rows[0][other]:.2g} at T = 1 and {rows[1][other]:.2g} at T = {p.temperature:.3g}."),
    )  # fmt: skip


def _pictures(p: Distillation, view: _View) -> tuple[Chart, ...]:
    """The images with the teacher's second thought about each."""
    if p.data or view.images is None or view.logits is None:
        return ()
    images = []
    for image, label, logits in zip(view.images, view.labels, (view.logits / p.temperature).softmax(1), strict=True):
        others = logits.clone()
        others[label] = -1
        second = p.unseen if p.task == "unseen" else int(others.argmax())
        images.append(Image(Text(f"{label}，像 {second}：{100 * logits[second]:.0f}%", f"{label} as {second}: {100 * logits[second]:.0f} %"), image.view(SIDE, SIDE)))  # fmt: skip
    told = Text("每张图下面：真实的类、另一类，以及教师在温度 T 下分给后者的概率。", "Below each image: its true class, another class, and the probability that the teacher gives that one at temperature T.")  # fmt: skip
    return (ImageGrid(Text("教师觉得它们像什么", "What the teacher takes them for"), tuple(images), told, columns=4),)


# ---- verdicts --------------------------------------------------------------------------------------------------------


def _judge_errors(p: Distillation, teacher: float, errors: Tensor, unlearnt: Tensor, logits: Tensor, tests: int) -> tuple[tuple[Figure, ...], Outcome]:  # fmt: skip
    """Test errors with hard labels ÷ with soft labels at T, student by student, against the published 146 / 74.

    Reproduced: the interval of the ratio begins above 1 + 0.97/√10, a third of what the published ratio is beyond 1. Same direction: above 1. Otherwise not at this
    scale. errors and unlearnt (errors on the transfer set) are (3, seeds) in percent; logits (N, classes) the teacher's on its training set.
    """
    least = 50 / tests  # half an error
    ratios = (errors[0].clamp_min(least) / errors[2].clamp_min(least)).tolist()
    ratio, low, high = ratio_interval(ratios)
    status: Status = "reproduced" if low > 1 + (PUBLISHED_RATIO - 1) / 10**0.5 else "same_direction" if low > 1 else "not_at_this_scale"
    names = [name for name, _ in _groups(p)]
    figures = (
        Figure(Text("错误数：硬标签 ÷ 软标签", "Errors: hard labels ÷ soft labels"), ratio, (high - low) / 2, "×"),
        *(Figure(Text(f"测试错误率：{name.zh}", f"Test error: {name.en}"), *mean_and_spread(row), "%") for name, row in zip(names, errors.tolist(), strict=True)),
        Figure(Text("测试错误率：教师", "Test error: teacher"), teacher, None, "%"),
        *(Figure(Text(f"迁移集上的错误率：{name.zh}", f"Error on the transfer set: {name.en}"), *mean_and_spread(row), "%") for name, row in zip(names, unlearnt.tolist(), strict=True)),
    )  # fmt: skip
    seconds = [100 * float((logits / t).softmax(1).topk(2, 1).values[:, 1].mean()) for t in (1.0, p.temperature)]
    hard, plain, soft = (float(row.mean()) for row in errors)
    text = _explain_errors(p, (hard, plain, soft, teacher), float(unlearnt[0].mean()), seconds, status)
    published = Text(
        "MNIST，两层各 800 单元的学生：硬标签错 146 个，T = 20 的软标签错 74 个（1.97 倍），教师错 67 个",
        "MNIST, a student with two layers of 800 units: 146 test errors with hard labels, 74 with soft targets at T = 20 (a ratio of 1.97); the teacher makes 67",
    )
    answer = "half" if ratio >= 2 else "fewer" if ratio >= 1.15 else "none"
    return figures, Outcome(Verdict(status, figures[0], published, HINTON, text), answer)


def _explain_errors(p: Distillation, errors: Sequence[float], unlearnt: float, seconds: Sequence[float], status: Status) -> Text:
    """errors: hard, T = 1, T, teacher; unlearnt: hard-label students on their transfer set; seconds: the runner-up's probability at 1 and T; all in percent."""
    hard, plain, soft, teacher = errors
    found = Text(
        f"测试错误率：硬标签 {hard:.1f}%，软标签 T = 1 时 {plain:.1f}%，T = {p.temperature:.3g} 时 {soft:.1f}%，教师 {teacher:.1f}%。",
        f"Test errors: {hard:.1f} % with hard labels, {plain:.1f} % with soft ones at T = 1, {soft:.1f} % at T = {p.temperature:.3g}; the teacher makes {teacher:.1f} %. ",
    )
    if status != "not_at_this_scale" and p.temperature < 1.5:
        why = Text(
            f"T = {p.temperature:.3g} 时第二名平均只分到 {seconds[1]:.2g}%：只有几张模棱两可的图标签是软的，省下的错误也就有限；把 T 调大再看。",
            f"At T = {p.temperature:.3g} the runner-up gets {seconds[1]:.2g} % on average: only the labels of a few doubtful images are soft, and few errors are saved. Try a larger T. ",
        )
    elif status != "not_at_this_scale":
        why = Text(
            f"教师看过所有训练图，知道谁像谁；T = 1 时它分给第二名的概率平均只有 {seconds[0]:.2g}%，与硬标签几乎没有区别，T = {p.temperature:.3g} 时是 {seconds[1]:.2g}%，这些相似度才进得了梯度。",
            f"The teacher has seen all training images and knows what resembles what. At T = 1 it leaves the runner-up {seconds[0]:.2g} % on average, hardly different from a hard label; at T = {p.temperature:.3g} it is {seconds[1]:.2g} %, and only then do such resemblances reach the gradient. ",
        )
    elif teacher > hard:
        why = Text("教师自己比学生还差，没有什么可教。", "The teacher is worse than its students and has nothing to teach. ")
    elif soft > 60:
        why = Text("学生根本没有学起来：学习率或步数不合适。", "The students hardly learn at all: the rate or the number of steps is off. ")
    elif p.alpha == 0 or p.temperature < 1.5:
        why = Text(
            f"{'α = 0，软标签没有进入损失。' if p.alpha == 0 else f'T = {p.temperature:.3g} 时第二名平均只分到 {seconds[1]:.2g}%，软标签几乎就是硬标签。'}",
            f"{'With α = 0 soft labels are not in the loss. ' if p.alpha == 0 else f'At T = {p.temperature:.3g} the runner-up gets {seconds[1]:.2g} % on average, and soft labels are almost hard ones. '}",
        )
    elif unlearnt > 5:
        why = Text(
            f"学生连自己的迁移集都有 {unlearnt:.0f}% 分不对：缺的是容量，不是信息。软标签要它拟合所有类的概率，比只分出最大的一类更费容量，所以得不到论文里的好处。",
            f"Even on their own transfer set the students get {unlearnt:.0f} % wrong: what they lack is capacity, not information. Soft labels ask for the probabilities of all classes, which takes more of it than naming the largest, so the paper's gain is not to be expected. ",
        )
    else:
        why = Text(
            f"{p.samples} 张图的硬标签已经够用，离教师只差 {hard - teacher:.1f} 个百分点，软标签带来的那一点在 {p.seeds} 个学生上分辨不出来。",
            f"Hard labels on {p.samples} images are enough: they are {hard - teacher:.1f} points from the teacher, and {p.seeds} students are too few to show what little soft labels add. ",
        )
    scaled = Text(
        "论文里学生与教师用同一批 6 万张图，这里学生只有其中一部分（可用滑块改）。",
        "In the paper student and teacher have the same 60,000 images; here a student has only some of the teacher's (see the slider).",
    )
    return found + why + scaled


def _judge_unseen(p: Distillation, teacher: float, before: Tensor, after: Tensor, bias: Tensor, errors: Tensor) -> tuple[tuple[Figure, ...], Outcome]:  # fmt: skip
    """The share of the unseen class that students at T recognise once its bias is put right, all (3, seeds); in percent.

    Reproduced: its interval begins above MOST, four in five (a test set holds only some fifty of a class). Same direction: it begins above the interval of students
    with hard labels. Otherwise not at this scale.
    """
    mean, low, _ = interval(after[2].tolist())
    _, _, hard_high = interval(after[0].tolist())
    status: Status = "reproduced" if low > MOST else "same_direction" if low > hard_high else "not_at_this_scale"
    names = [name for name, _ in _groups(p)]
    figures = (
        Figure(Text("认出没见过的类，修正偏置后", "Unseen class recognised, bias corrected"), *mean_and_spread(after[2].tolist()), "%"),
        Figure(Text("认出没见过的类，未修正", "Unseen class recognised, uncorrected"), *mean_and_spread(before[2].tolist()), "%"),
        *(Figure(Text(f"修正后认出：{name.zh}", f"Recognised, bias corrected: {name.en}"), *mean_and_spread(row), "%") for name, row in zip(names[:2], after.tolist(), strict=False)),
        Figure(Text("教师认出这一类", "The teacher on that class"), teacher, None, "%"),
        Figure(Text("加上的偏置", "Bias added"), *mean_and_spread(bias[2].tolist())),
        Figure(Text("全部测试图的错误率，未修正", "Error on all test images, uncorrected"), *mean_and_spread(errors[2].tolist()), "%"),
    )  # fmt: skip
    published = Text(
        "MNIST，迁移集里没有 3：把 3 的偏置调高之后认出 98.6% 的测试 3，调之前 1010 个里错 133 个（认出 86.8%）",
        "MNIST without any 3 in the transfer set: 98.6 % of the test 3s are right once the bias of class 3 is raised; before, 133 of 1,010 are wrong (86.8 % right)",
    )
    hard, plain, soft = (float(row.mean()) for row in after)
    found = Text(
        f"迁移集里没有类 {p.unseen}，T = {p.temperature:.3g} 的学生仍认出 {float(before[2].mean()):.0f}%，把这一类的偏置加上 {float(bias[2].mean()):.1f} 之后 {soft:.0f}%；同样修正，T = 1 的学生 {plain:.0f}%，硬标签 {hard:.0f}%。",
        f"With no sample of class {p.unseen} in the transfer set, students at T = {p.temperature:.3g} still recognise {float(before[2].mean()):.0f} %, and {soft:.0f} % with {float(bias[2].mean()):.1f} added to that class's bias; with the same kind of correction, students at T = 1 reach {plain:.0f} % and those with hard labels {hard:.0f} %. ",
    )
    if status == "not_at_this_scale":
        why = Text("软标签里关于这一类的信息没有学到：温度太低、α 太小、学生太小或教师太差。", "What the soft labels say about that class was not learnt: the temperature, α or the student is too small, or the teacher too poor. ")  # fmt: skip
    else:
        why = Text(
            f"教师在别的类的图上也说了“有几分像类 {p.unseen}”（见图），学生由此知道它长什么样；但这一类在软标签里总是很低，偏置也就学得太低，所以要修正。",
            f"The teacher also says of images of other classes how much they resemble class {p.unseen} (see the pictures), and from that the student learns what it looks like; but its share in those labels is always low, so its bias is learnt too low and has to be corrected. ",
        )
    scaled = Text(
        "论文按测试集挑偏置，这里按教师的训练图挑，没有动用测试图；论文有 6 万张图和更宽的学生。",
        "The paper chose the bias on the test set; here it is chosen on the teacher's training images. The paper had 60,000 images and wider students.",
    )
    explanation = found + why + scaled
    answer = "most" if mean >= MOST else "some" if mean >= 20 else "none"
    return figures, Outcome(Verdict(status, figures[0], published, HINTON, explanation), answer)


# ---- prediction, code, demo ------------------------------------------------------------------------------------------


def predict(p: Distillation) -> Prediction:
    if p.task == "unseen":
        return Prediction(
            Text(
                f"迁移集里没有 {p.unseen}，软标签的权重 α = {p.alpha:g}，T = {p.temperature:g}。修正偏置之后，学生能认出测试集里多少 {p.unseen}？",
                f"There is no {p.unseen} in the transfer set; soft labels have the weight α = {p.alpha:g}, T = {p.temperature:g}. With the bias corrected, how many of the test {p.unseen}s will the student recognise?",
            ),
            {"none": Text("不到 20%", "fewer than 20 %"), "some": Text("20%–80%", "20 to 80 %"), "most": Text("80% 以上", "over 80 %")},
        )
    return Prediction(
        Text(
            f"学生每层 {p.width} 个单元，{p.samples} 张图。改用 T = {p.temperature:g}、α = {p.alpha:g} 的软标签，测试错误会怎样？",
            f"Students with {p.width} units per layer and {p.samples} images. What do soft labels with T = {p.temperature:g} and α = {p.alpha:g} do to their test errors?",
        ),
        {
            "half": Text("减少一半以上", "more than halve them"),
            "fewer": Text("明显减少，但不到一半", "save a clear share, but less than half"),
            "none": Text("几乎不减少，甚至更多", "save hardly any, or even add some"),
        },
    )


_CODE = """\
import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)
torch.manual_seed(0)
T, ALPHA, SAMPLES, WIDTH, STEPS, RATE, UNSEEN = {temperature:g}, {alpha:g}, {samples}, {width}, {steps}, {lr:g}, {left_out}
{data}
order = torch.randperm(len(y))
train, test = order[len(y) // 3 :], order[: len(y) // 3]

def build(width, dropout=0.0):
    layers = [nn.Linear(x.shape[1], width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(width, classes))

def fit(net, optimizer, rows, steps, loss_of):
    for step in range(steps):
        batch = rows[torch.randint(len(rows), (50,))]
        optimizer.zero_grad()
        loss_of(net(x[batch]), batch).backward()
        optimizer.step()
    return net.eval()

def hard(logits, batch):
    return F.cross_entropy(logits, y[batch])

teachers = []
for _ in range(3):  # no random shifts here, for shortness
    net = build(128, dropout=0.2)
    teachers.append(fit(net, torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9), train, {teacher_steps}, hard))
with torch.no_grad():
    taught = torch.stack([net(x) for net in teachers]).mean(0)  # logits for every sample
print(f"teacher: {{100 * (taught[test].argmax(1) != y[test]).float().mean():.1f}} % test errors")

def soft(logits, batch, t):
    kl = F.kl_div(F.log_softmax(logits / t, 1), F.softmax(taught[batch] / t, 1), reduction="batchmean")
    return ALPHA * t * t * kl + (1 - ALPHA) * hard(logits, batch)

rows = train[y[train] != UNSEEN][:SAMPLES]  # the transfer set
for name, loss_of in (("hard labels", hard), ("soft, T = 1", lambda z, b: soft(z, b, 1)), (f"soft, T = {{T:g}}", lambda z, b: soft(z, b, T))):
    student = build(WIDTH)
    fit(student, torch.optim.Adam(student.parameters(), lr=RATE), rows, STEPS, loss_of)
    with torch.no_grad():
        z, known = student(x[test]), student(x[train])
    print(f"{{name}}: {{100 * (z.argmax(1) != y[test]).float().mean():.1f}} % test errors")
    if UNSEEN >= 0:
        push = F.one_hot(torch.tensor(UNSEEN), classes)  # raise the bias of that class as far as it helps on the training set
        bias = max(torch.arange(0, 15, 0.25), key=lambda b: (known + b * push).argmax(1).eq(y[train]).sum())
        own = y[test] == UNSEEN
        for b in (0, bias):
            print(f"    class {{UNSEEN}} with {{b:.2f}} added: {{100 * ((z + b * push).argmax(1)[own] == UNSEEN).float().mean():.0f}} % recognised")
"""


def code(p: Distillation) -> str:
    return _CODE.format(**{**p.values(), "data": digits_or_own(p.data), "left_out": p.unseen if p.task == "unseen" else -1})


DEMO = Demo(
    topic="architectures",
    title=Text("知识蒸馏：软标签教小网络", "Distillation: soft labels for a small network"),
    question=Text("怎样让小网络更准：教师的软标签里有什么？", "How can a small network be made more accurate: what is in a teacher's soft labels?"),
    look_for=Text(
        "看三组学生的测试错误率：硬标签、T = 1 和 T = 4 的软标签差多少，离教师的虚线还有多远。再看一张图的软标签：T = 1 和 T = 4 时第二名各分到多少，图看上去像不像那个数字？",
        "Look at the test errors of the three groups of students: how far apart are hard labels, soft labels at T = 1 and at T = 4, and how far from the teacher's dashed line? Then look at the soft labels of one image: how much goes to the runner-up at T = 1 and at T = 4, and does the image look like it?",
    ),
    scaled_down=Text(
        "1,797 张 8×8 的数字代替 MNIST；教师是 4 个两层 128 单元的网络，学生的迁移集可以比教师的训练集小得多。",
        "1,797 digits of 8×8 pixels stand in for MNIST; the teacher is four networks with two layers of 128 units, and a student's transfer set may be far smaller than the teacher's training set.",
    ),
    parameters=Distillation,
    presets=PRESETS,
    predict=predict,
    run=run,
    code=code,
    about_s=3,
)  # fmt: skip
