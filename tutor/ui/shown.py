"""What the stage shows of a run: kept after a stop, told again in the other language, or after the learner's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demos.core.demo import Demo
from demos.core.parameters import Choice
from demos.core.runner import Frame
from demos.core.text import Language, Text
from tutor.ui import link, stage
from tutor.ui.link import Configuration
from tutor.ui.strings import STRINGS

Score = Mapping[str, list[int]]  # demo id → answers that were right, answers


@dataclass(frozen=True)
class Shown:
    """The state of the stage. `started`, on the monotonic clock, tells runs apart."""

    configuration: Configuration
    prediction: Any
    guess: str | None
    started: float = 0.0
    frame: Frame | None = None
    state: str = "running"
    error: Text | None = None

    @property
    def asks(self) -> bool:
        """Whether the run has ended and waits for the learner's answer."""
        return self.state == "done" and self.prediction is not None and self.prediction.after and self.guess is None

    @property
    def right(self) -> bool | None:
        """Whether the learner's answer is the run's; None without an answer or an outcome."""
        outcome = self.frame.snapshot.outcome if self.frame else None
        return None if outcome is None or self.guess is None else self.guess == outcome.answer


def scored(score: object, shown: Shown) -> dict[str, list[int]]:
    """The score with the answer of `shown` added; what a browser kept of an earlier visit may be anything."""
    known = {
        name: [int(part) for part in pair]
        for name, pair in (score.items() if isinstance(score, dict) else ())
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, int) and 0 <= part < 10**6 for part in pair)
    }
    right, rounds = known.get(shown.configuration.demo_id, [0, 0])
    return known | {shown.configuration.demo_id: [right + int(bool(shown.right)), rounds + 1]}


def tell(shown: Shown, demos: Mapping[str, Demo], score: Score, language: Language) -> str:
    """The stage's frame as JSON."""
    frame, demo = shown.frame, demos[shown.configuration.demo_id]
    return stage.frame(
        demo,
        frame.snapshot if frame else None,
        language,
        state=shown.state,
        status=_status(shown, language),
        run=run_label(shown.configuration, demo, language),
        mode=_mode(shown.configuration, demo),
        elapsed=frame.elapsed_s if frame else None,
        remaining=frame.remaining_s if frame else None,
        device=frame.device_label if frame else "",
        guess=shown.guess,
        prediction=shown.prediction,
        score=_score(shown, score, language),
    )


def _status(shown: Shown, language: Language) -> str:
    if shown.error:
        return shown.error[language]
    if shown.asks:
        return STRINGS["answer_now"][language]
    if name := {"done": "finished", "stopped": "stopped"}.get(shown.state):
        return STRINGS[name][language]
    return shown.frame.snapshot.status[language] if shown.frame else STRINGS["waiting"][language]


def _score(shown: Shown, score: Score, language: Language) -> str:
    if shown.prediction is None or not shown.prediction.after or shown.configuration.demo_id not in score:
        return ""
    right, rounds = score[shown.configuration.demo_id]
    return STRINGS["score"][language].format(right=right, rounds=rounds)


def run_label(configuration: Configuration, demo: Demo, language: Language) -> str:
    """What a run is called beside others: its preset, what was changed, the seed."""
    base = link.of_preset(demo, configuration.preset).values
    specs = demo.parameters.specs()
    changed = [
        f"{specs[name].label[language]} = {specs[name].brief(value)}"
        for name, value in configuration.values.items()
        if name in specs and value != base[name]
    ]
    seed = f"{STRINGS['seed'][language]} {configuration.seed}"
    return " · ".join([demo.presets[configuration.preset].label[language], *changed, seed])


def _mode(configuration: Configuration, demo: Demo) -> str:
    """The experiment within the demo: only runs of the same one can be laid over each other."""
    modes = [name for name, spec in demo.parameters.specs().items() if isinstance(spec, Choice) and spec.is_mode]
    return "/".join(str(configuration.values[name]) for name in modes)
