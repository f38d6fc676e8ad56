"""What a demo is: parameters, a prediction, a run that yields snapshots, a verdict, and code to copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from demos.core.charts import Chart
from demos.core.parameters import Parameters
from demos.core.text import Text

if TYPE_CHECKING:
    import torch

Status = Literal["reproduced", "same_direction", "not_at_this_scale"]
Case = Literal["textbook", "limits", "other"]


@dataclass(frozen=True)
class Preset:
    """Named parameter values; the first preset of a demo is its default. `note` says in one sentence what it is for.

    `case` marks the textbook's case, and those where its advice fails or does not matter; every demo has both. `look_for` says what to look for
    where this preset shows other charts than those that the demo's own `look_for` speaks of.
    """

    label: Text
    note: Text
    values: Mapping[str, Any]
    case: Case = "other"
    look_for: Text | None = None


@dataclass(frozen=True)
class Prediction:
    """A multiple choice. Which option is right is computed by the run (`Outcome.answer`), never stored.

    It is put before the run; with `after`, the learner answers from what the run showed, and only then sees the verdict.
    """

    question: Text
    options: Mapping[str, Text]
    after: bool = False


@dataclass(frozen=True)
class Source:
    """Where a published number was read."""

    title: str
    authors: str
    year: int
    url: str


@dataclass(frozen=True)
class Figure:
    """A measured number. `spread` is the half-width of its 95 % confidence interval over seeds (None if exact or single).

    An infinite value means that it was never reached, or diverged.
    """

    name: Text
    value: float
    spread: float | None = None
    unit: str | Text = ""


@dataclass(frozen=True)
class Verdict:
    """This run's number beside the published one.

    The status judges what stands under `published`, in every preset alike; one that breaks its conditions on purpose is not at this scale, and the
    explanation says that this was to be expected. `explanation` says why the status is what it is, and what was different from the publication.
    """

    status: Status
    measured: Figure
    published: Text
    source: Source
    explanation: Text


def effect_status(mean: float, low: float, nothing: float, published: float) -> Status:
    """The verdict on an effect that should be larger than `nothing` (no effect: 0 for a difference, 1 for a ratio).

    Reproduced: its interval begins (`low`) above `nothing` and not below a 1/√10 of the published size, and its mean is at most √10 times that size. For a
    difference the size is what lies beyond `nothing`; ratios are compared themselves. Same direction: the interval begins above `nothing`.
    Otherwise not at this scale.
    """
    if not low > nothing:
        return "not_at_this_scale"
    base = 0.0 if nothing == 1 else nothing
    reached = (low - base) / (published - base) >= 10**-0.5 and (mean - base) / (published - base) <= 10**0.5
    return "reproduced" if reached else "same_direction"


@dataclass(frozen=True)
class Outcome:
    """What the last snapshot adds: the verdict, and the key of the prediction's option that this run proved right."""

    verdict: Verdict
    answer: str


@dataclass(frozen=True)
class Snapshot:
    """The state of a run: share done (0 … 1), what it is doing, charts and figures so far. Only the last one has an outcome."""

    progress: float
    status: Text
    charts: tuple[Chart, ...]
    figures: tuple[Figure, ...] = ()
    outcome: Outcome | None = None


Run = Callable[[Any, "torch.device", "torch.Generator"], Iterator[Snapshot]]


@dataclass(frozen=True)
class Demo:
    """One experiment. A demo file ends with `DEMO = Demo(...)`; its id is the file's name.

    `run(parameters, device, generator)` yields a snapshot at least every 200 ms, draws all randomness from `generator` (a CPU generator, so that
    every device sees the same draws), and keeps nothing on the device afterwards. `code(parameters)` is a short plain PyTorch script for the same
    experiment. `topic` is one of the topics of the knowledge base. `about_s` is what the default preset takes on two CPU cores, in seconds.
    A demo that is `timed` measures time itself: two of its runs with one seed agree in their verdict and in what they count, not in every figure.
    """

    topic: str
    title: Text
    question: Text
    look_for: Text
    scaled_down: Text
    parameters: type[Parameters]
    presets: Mapping[str, Preset]
    predict: Callable[[Any], Prediction]
    run: Run
    code: Callable[[Any], str]
    about_s: int
    timed: bool = False
    id: str = ""

    def what_to_look_for(self, preset: str) -> Text:
        """In two sentences, what the charts of a preset show."""
        return self.presets[preset].look_for or self.look_for

    @property
    def default_preset(self) -> str:
        return next(iter(self.presets))
