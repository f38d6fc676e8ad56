"""The tab of the experiments: pick one, set it, predict, run, read the verdict."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from demos.core.demo import Demo
from demos.core.own_data import OwnData
from demos.core.parameters import ParameterError
from demos.core.runner import LARGEST_SEED, DeadlineReached
from demos.core.text import Language
from tutor.config import Settings
from tutor.knowledge import KnowledgeBase
from tutor.results import ResultFile, keep
from tutor.runners.errors import RunnerError
from tutor.runners.runner import Runner, build_runner
from tutor.ui import exports, link, stage
from tutor.ui.gallery import Gallery
from tutor.ui.link import Configuration
from tutor.ui.localized import Localized
from tutor.ui.parameter_widgets import own_data_properties, widget
from tutor.ui.shown import Score, Shown, scored, tell
from tutor.ui.strings import STRINGS

log = logging.getLogger(__name__)

_AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# What changes the configuration: two changes at the same time would both start from the old one, and one would be lost.
_IN_TURN: dict[str, Any] = {"concurrency_id": "configure", "concurrency_limit": 1, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class Opened:
    """What the widgets were last built from. `times` makes opening the same configuration again a change."""

    configuration: Configuration
    language: Language
    times: int = 0

    @property
    def mark(self) -> str:
        """Differs where the widgets have to be built anew."""
        return f"{self.language} {self.times}"

    def spoken(self, configuration: Configuration, language: Language) -> Opened:
        """The widgets in another language, with the values that they have now; nothing changes before there are any."""
        return replace(self, configuration=configuration, language=language) if self.times and language != self.language else self


class DemoTab:
    """Builds the tab inside the current Blocks and wires it. All state of a visitor lives in `gr.State`."""

    def __init__(
        self,
        blocks: gr.Blocks,
        demos: Mapping[str, Demo],
        knowledge: KnowledgeBase,
        settings: Settings,
        localized: Localized,
        language: gr.Radio,
    ) -> None:
        self.blocks, self.demos, self.knowledge, self.settings = blocks, demos, knowledge, settings
        self.localized, self.language = localized, language
        self.results = ResultFile(settings.results)
        self._rendering = threading.Lock()
        self.runner = build_runner(settings.runner)
        self.gallery = Gallery(demos, knowledge.topics)
        demo = next(iter(demos.values()))
        first = link.of_preset(demo, demo.default_preset)
        self.opened = gr.State(Opened(first, localized.initial))
        self.mark = gr.Textbox(self.opened.value.mark, elem_classes=_AWAY)  # states do not report a change by an unqueued event
        self.configuration = gr.State(first)
        self.shown = gr.State(None)
        self.stopped = gr.State(None)
        self.score = gr.BrowserState({}, storage_key=_SCORE, secret=_SCORE)
        with gr.Column(elem_id="gallery-view") as self.gallery_view:
            self.cards = self.gallery.build(localized.initial)
        with gr.Column(elem_id="experiment-view", elem_classes=_AWAY) as self.experiment_view:
            self._build(demo, first, localized.initial)
        self._wire()

    # --- layout ---

    def _build(self, demo: Demo, first: Configuration, language: Language) -> None:
        with gr.Row(elem_id="demo-path"):
            self.back = self.localized.worded(gr.Button, "all_demos", size="sm", scale=0, min_width=150, elem_id="back")
            self.demo_choice = gr.Radio(
                value=demo.id,
                choices=self._siblings(demo, language),
                label=self._topic(demo, language),
                elem_classes="pills",
                elem_id="siblings",
            )
        self.header = gr.Markdown(_header(demo, first.preset, language), elem_id="demo-header")
        with gr.Row(elem_id="demo-row"):
            with gr.Column(scale=1, min_width=290, elem_id="demo-controls"):
                self._build_controls(demo, first, language)
            with gr.Column(scale=3, min_width=320):
                self.guess = gr.Radio(**_prediction(demo, first, language), interactive=True, elem_id="prediction", elem_classes="pills")
                with gr.Row():
                    self.run_button = self.localized.worded(gr.Button, "run", variant="primary", elem_id="run")
                    self.stop_button = self.localized.worded(gr.Button, "stop", variant="stop", interactive=False, elem_id="stop")
                    self.next_round = self.localized.worded(gr.Button, "next_round", visible=_asks_after(demo, first), elem_id="next-round")
                self.stage = self.localized.add(stage.build_stage(language), lambda lang: {"words": stage.words(lang)})
                with self.localized.worded(gr.Accordion, "code", open=False):
                    self.code = self.localized.worded(gr.Code, "code_label", value=_code(demo, first), language="python", interactive=False)
                    with gr.Row():
                        self.save_script = self.localized.worded(gr.Button, "save_script", size="sm", elem_id="save-script")
                        self.save_notebook = self.localized.worded(gr.Button, "save_notebook", size="sm", elem_id="save-notebook")
                    self.saved = gr.Textbox(elem_id="saved-file", elem_classes=_AWAY)
                with self.localized.worded(gr.Accordion, "scaled_down", open=False):
                    self.scaled_down = gr.Markdown(demo.scaled_down[language])
                self.query = gr.Textbox(link.to_query(first, demo, language), elem_id="query", elem_classes=_AWAY)
                self.share = self.localized.worded(gr.Button, "share", size="sm", elem_id="share")
                self.questions = self.localized.worded(
                    gr.Dataset, "answers_questions", components=["textbox"], type="index", layout="gallery",
                    samples=self._question_samples(demo, language), elem_id="demo-questions",
                )  # fmt: skip

    def _build_controls(self, demo: Demo, first: Configuration, language: Language) -> None:
        self.preset_choice = self.localized.worded(
            gr.Radio, "presets", value=first.preset, choices=_preset_choices(demo, language), interactive=True, elem_classes="pills"
        )
        self.preset_note = gr.Markdown(demo.presets[first.preset].note[language], elem_classes="quiet")
        # One trigger: widgets that are built twice would drop what is typed into the first ones.
        gr.render(inputs=self.opened, triggers=[self.mark.change], queue=False)(self._render_parameters)
        self.device = self.localized.worded(gr.Radio, "device", choices=[], interactive=True, elem_id="device")
        self.seed = self.localized.worded(
            gr.Number, "seed", value=0, minimum=0, maximum=LARGEST_SEED, precision=0, interactive=True, elem_id="seed"
        )

    def _render_parameters(self, opened: Opened) -> None:
        with self._rendering:  # visitors render at the same time, and gradio counts its events while others are being added
            self._build_parameters(opened.configuration, opened.language)

    def _build_parameters(self, configuration: Configuration, language: Language) -> None:
        demo = self.demos[configuration.demo_id]
        # The preset's values, not the current ones: they are sound, and only a preset sets the mode.
        specs = demo.parameters.parse(demo.presets[configuration.preset].values).shown()
        plain = [name for name, spec in specs.items() if not spec.advanced]
        for name in plain:
            self._parameter(name, configuration, language)
        if len(plain) < len(specs):
            with gr.Accordion(STRINGS["advanced"][language], open=False):
                for name in (name for name in specs if name not in plain):
                    self._parameter(name, configuration, language)

    def _parameter(self, name: str, configuration: Configuration, language: Language) -> None:
        spec = self.demos[configuration.demo_id].parameters.specs()[name]
        component = widget(name, spec, configuration.values[name], language)

        def changed(value: object, current: Configuration, language: Language) -> dict[Any, Any]:
            if isinstance(spec, OwnData):  # a table is judged at once, and one with a fault leaves the one before in place
                try:
                    value = spec.parse(name, value)
                except ParameterError as error:
                    problem = own_data_properties(spec, language, error.text[language])
                    return {component: gr.update(value=current.values[name], **problem)}
            return self._reconfigured(replace(current, values={**current.values, name: value}), language)

        component.input(
            changed, [component, self.configuration, self.language], [component, self.configuration, self.code, self.query],
            trigger_mode="always_last", **_IN_TURN,
        )  # fmt: skip

    # --- what the components show ---

    def _siblings(self, demo: Demo, language: Language) -> list[tuple[str, str]]:
        return [(self.demos[name].title[language], name) for name in self.gallery.siblings(demo.id)]

    def _topic(self, demo: Demo, language: Language) -> str:
        return self.knowledge.topics[demo.topic][language] if demo.topic in self.knowledge.topics else demo.topic

    def _question_ids(self, demo_id: str) -> list[str]:
        return [name for name, question in self.knowledge.questions.items() if question.meta.demo and question.meta.demo.id == demo_id]

    def _question_samples(self, demo: Demo, language: Language) -> list[list[str]]:
        return [[self.knowledge.questions[name].meta.question[language]] for name in self._question_ids(demo.id)]

    def question_at(self, configuration: Configuration, position: int) -> str:
        """The id of the question at a position of the list under the experiment."""
        return self._question_ids(configuration.demo_id)[position]

    def describe(self, configuration: Configuration, language: Language) -> dict[Any, Any]:
        """Updates for everything that speaks of the demo and its configuration, in a language."""
        demo = self.demos[configuration.demo_id]
        try:
            demo.parameters.parse(configuration.values)
        except ParameterError:
            # A refused value stays in its widget; what is told of it is told of the preset.
            configuration = link.of_preset(demo, configuration.preset)
        return {
            self.demo_choice: gr.update(value=demo.id, choices=self._siblings(demo, language), label=self._topic(demo, language)),
            self.next_round: gr.update(visible=_asks_after(demo, configuration), value=STRINGS["next_round"][language]),
            self.header: _header(demo, configuration.preset, language),
            self.preset_choice: gr.update(
                value=configuration.preset, choices=_preset_choices(demo, language), label=STRINGS["presets"][language]
            ),
            self.preset_note: demo.presets[configuration.preset].note[language],
            self.guess: gr.update(**_prediction(demo, configuration, language)),
            self.scaled_down: demo.scaled_down[language],
            self.questions: gr.update(samples=self._question_samples(demo, language), label=STRINGS["answers_questions"][language]),
            self.code: gr.update(value=_code(demo, configuration), label=STRINGS["code_label"][language]),
            self.query: link.to_query(configuration, demo, language),
        }

    @property
    def described(self) -> list[Any]:
        """The components that `describe` updates."""
        return [
            self.demo_choice, self.next_round, self.header, self.preset_choice, self.preset_note, self.guess, self.scaled_down,
            self.questions, self.code, self.query,
        ]  # fmt: skip

    def open(self, configuration: Configuration, opened: Opened, language: Language) -> dict[Any, Any]:
        """Updates that show a configuration afresh, its stage empty."""
        opened = Opened(configuration, language, opened.times + 1)
        return self.describe(configuration, language) | {
            self.gallery_view: gr.update(elem_classes=_AWAY),
            self.experiment_view: gr.update(elem_classes=[]),
            self.opened: opened,
            self.mark: opened.mark,
            self.configuration: configuration,
            self.seed: configuration.seed,
            self.guess: gr.update(**_prediction(self.demos[configuration.demo_id], configuration, language), value=None),
            self.stage: gr.update(value=stage.idle(language), words=stage.words(language)),
            self.shown: None,
            **self._buttons(running=False),
        }

    @property
    def opens(self) -> list[Any]:
        """The components that `open` updates."""
        views = [self.gallery_view, self.experiment_view]
        return [
            *views,
            *self.described,
            self.opened,
            self.mark,
            self.configuration,
            self.seed,
            self.stage,
            self.shown,
            self.run_button,
            self.stop_button,
        ]

    def respeak(self, opened: Opened, configuration: Configuration, language: Language) -> dict[Any, Any]:
        """The parameters in another language."""
        opened = opened.spoken(configuration, language)
        return {self.opened: opened, self.mark: opened.mark}

    def retell(self, shown: Shown | None, language: Language, score: object = None) -> dict[Any, Any]:
        """Stage and gallery in another language."""
        value = stage.idle(language) if shown is None else tell(shown, self.demos, _known(score), language)
        return {
            self.stage: gr.update(value=value, words=stage.words(language)),
            self.cards: self.gallery.value(language, self.results.load()),
        }

    def _buttons(self, running: bool) -> dict[Any, Any]:
        return {self.run_button: gr.update(interactive=not running), self.stop_button: gr.update(interactive=running)}

    def _reconfigured(self, configuration: Configuration, language: Language) -> dict[Any, Any]:
        """After a parameter changed: code and link follow, unless the value is refused (the run will say why)."""
        demo = self.demos[configuration.demo_id]
        try:
            demo.parameters.parse(configuration.values)
        except ParameterError:
            return {self.configuration: configuration}
        query = link.to_query(configuration, demo, language)
        return {self.configuration: configuration, self.code: _code(demo, configuration), self.query: query}

    # --- events ---

    def _wire(self) -> None:
        outputs = [self.stage, self.shown, self.run_button, self.stop_button, self.guess]
        inputs = [self.configuration, self.device, self.seed, self.guess, self.language]
        runs: dict[str, Any] = {
            "concurrency_id": "demo",
            "concurrency_limit": self.settings.demo_concurrency,
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        running = self.run_button.click(self._run, inputs, outputs, **runs)
        reconfigured = [self.configuration, self.code, self.query]
        another = self.next_round.click(
            self._next_seed, [self.configuration, self.language], [*reconfigured, self.seed], cancels=[running], **_AT_ONCE
        ).then(self._run, inputs, outputs, **runs)
        self.under_way = under_way = [running, another]  # what opening another experiment ends
        stopped = self.stop_button.click(self._stop, [self.shown, self.language], [*outputs, self.stopped], cancels=under_way, **_AT_ONCE)
        stopped.then(self._settle, [self.shown, self.stopped, self.language], outputs, **_AT_ONCE)
        self.guess.input(
            self._answer, [self.guess, self.shown, self.score, self.language], [self.stage, self.shown, self.score], **_AT_ONCE
        )
        opening = {"cancels": under_way, **_AT_ONCE}
        self.cards.select(self._pick_card, [self.opened, self.language], self.opens, **opening)
        self.back.click(self._close, [self.language], [self.gallery_view, self.experiment_view, self.cards], **opening).then(
            None, None, None, js=_LEAVE, api_visibility="private"
        )
        self.demo_choice.input(self._pick_demo, [self.demo_choice, self.opened, self.language], self.opens, **opening)
        self.preset_choice.input(self._pick_preset, [self.preset_choice, self.opened, self.language], self.opens, **opening)
        self.seed.input(self._pick_seed, [self.seed, self.configuration, self.language], reconfigured, **_IN_TURN)
        self.query.change(None, [self.query], None, js=_SHOW_LINK, api_visibility="private")
        self.share.click(None, [self.query], None, js=_COPY_LINK, api_visibility="private")
        for button, make in ((self.save_script, exports.script), (self.save_notebook, exports.notebook)):
            button.click(self._export(make), [self.configuration, self.language], self.saved, **_AT_ONCE).success(
                None, self.saved, None, js=exports.SAVE, api_visibility="private"
            )
        self.blocks.load(lambda: _devices(self.runner), None, self.device, show_progress="hidden", api_visibility="private")

    def _pick_card(self, event: gr.EventData, opened: Opened, language: Language) -> dict[Any, Any]:
        name = str(event.demo)
        if name not in self.demos:
            raise gr.Error(STRINGS["error_demo"].format(name=name[:40], known=", ".join(self.demos))[language])
        return self._pick_demo(name, opened, language)

    def _close(self, language: Language) -> dict[Any, Any]:
        """Back to the gallery."""
        return {
            self.gallery_view: gr.update(elem_classes=[]),
            self.experiment_view: gr.update(elem_classes=_AWAY),
            self.cards: self.gallery.value(language, self.results.load()),
        }

    def _export(self, make: Any) -> Any:
        def export(configuration: Configuration, language: Language) -> str:
            try:
                return str(make(self.demos[configuration.demo_id], configuration, language))
            except ParameterError as error:
                raise gr.Error(error.text[language]) from error

        return export

    def _next_seed(self, configuration: Configuration, language: Language) -> dict[Any, Any]:
        seed = (configuration.seed + 1) % (LARGEST_SEED + 1)
        return self._reconfigured(replace(configuration, seed=seed), language) | {self.seed: seed}

    def _answer(self, guess: str | None, shown: Shown | None, score: object, language: Language) -> dict[Any, Any]:
        """The learner's answer after a run that asks for one; a prediction before the run waits for it."""
        if shown is None or not shown.asks or guess not in shown.prediction.options:
            return {self.shown: shown}
        shown = replace(shown, guess=guess)
        score = scored(score, shown)
        return {self.stage: tell(shown, self.demos, score, language), self.shown: shown, self.score: score}

    def _pick_demo(self, name: str, opened: Opened, language: Language) -> dict[Any, Any]:
        demo = self.demos[name]
        return self.open(link.of_preset(demo, demo.default_preset), opened, language)

    def _pick_preset(self, preset: str, opened: Opened, language: Language) -> dict[Any, Any]:
        return self.open(link.of_preset(self.demos[opened.configuration.demo_id], preset), opened, language)

    def _pick_seed(self, raw: object, configuration: Configuration, language: Language) -> dict[Any, Any]:
        try:
            return self._reconfigured(replace(configuration, seed=link.parse_seed(raw)), language)
        except ParameterError:
            return {self.configuration: configuration}  # the run will say what is wrong

    def _run(
        self, configuration: Configuration, device: str | None, seed: object, guess: str | None, language: Language
    ) -> Iterator[dict[Any, Any]]:
        language = link.parse_language(language)
        demo = self.demos[configuration.demo_id]
        shown = Shown(configuration, None, None, time.monotonic())
        try:
            parameters = demo.parameters.parse(configuration.values)
            prediction = demo.predict(parameters)
            early = None if prediction.after or guess not in prediction.options else guess
            shown = replace(shown, prediction=prediction, guess=early)
            yield self._update(shown, language, running=True) | {self.guess: gr.update(value=early)}
            frames = self.runner.frames(demo.id, configuration.values, device, link.parse_seed(seed), self.settings.demo_deadline)
            for frame in frames:
                shown = replace(shown, frame=frame)
                yield self._update(shown, language, running=True)
            shown = replace(shown, state="done")
            keep(demo, configuration.preset, parameters, configuration.seed, frame, self.results)
        except (ParameterError, DeadlineReached, RunnerError) as error:
            shown = replace(shown, state="error", error=error.text)
        except Exception as error:
            log.exception("demo %s failed with %s", demo.id, configuration)
            reason = f"{type(error).__name__}: {error}"[:300]
            shown = replace(shown, state="error", error=STRINGS["error_run"].format(reason=reason))
        yield self._update(shown, language, running=False)

    def _update(self, shown: Shown, language: Language, running: bool) -> dict[Any, Any]:
        return {self.stage: tell(shown, self.demos, {}, language), self.shown: shown, **self._buttons(running)}

    def _stop(self, shown: Shown | None, language: Language) -> dict[Any, Any]:
        if shown is None or shown.state != "running":
            return self._buttons(running=False)
        return self._update(replace(shown, state="stopped"), language, running=False) | {self.stopped: shown.started}

    def _settle(self, shown: Shown | None, stopped: float | None, language: Language) -> dict[Any, Any]:
        """Says *stopped* once more: a frame that was under way when the run was cancelled may have arrived after the first time."""
        time.sleep(0.5)
        if shown is None or shown.started != stopped or shown.state not in ("running", "stopped"):
            return {self.shown: shown}
        return self._update(replace(shown, state="stopped"), language, running=False)


def _devices(runner: Runner) -> Any:
    devices = runner.devices()
    return gr.update(choices=[(label, name) for name, label in devices.items()], value=next(iter(devices)))


def _header(demo: Demo, preset: str, language: Language) -> str:
    return f"## {demo.question[language]}\n\n{demo.what_to_look_for(preset)[language]}"


def _preset_choices(demo: Demo, language: Language) -> list[tuple[str, str]]:
    return [(preset.label[language], name) for name, preset in demo.presets.items()]


def _prediction(demo: Demo, configuration: Configuration, language: Language) -> dict[str, Any]:
    prediction = demo.predict(demo.parameters.parse(configuration.values))
    choices = [(text[language], name) for name, text in prediction.options.items()]
    label = STRINGS["prediction_after" if prediction.after else "prediction"]
    return {"choices": choices, "label": label[language].format(question=prediction.question[language])}


def _asks_after(demo: Demo, configuration: Configuration) -> bool:
    return demo.predict(demo.parameters.parse(configuration.values)).after


def _known(score: object) -> Score:
    return score if isinstance(score, dict) else {}


def _code(demo: Demo, configuration: Configuration) -> str:
    return demo.code(demo.parameters.parse(configuration.values))


_AWAY = ["away"]  # the class of what is not shown (see style.css)
_SCORE = "deep-learning-tutor-score"  # the browser's storage key
_SHOW_LINK = "(query) => { history.replaceState(null, '', query) }"
_LEAVE = "() => { history.replaceState(null, '', location.pathname) }"
# Clipboards need a secure context; where there is none the address bar already holds the link.
_COPY_LINK = """(query) => {
  history.replaceState(null, '', query);
  navigator.clipboard?.writeText(location.origin + location.pathname + query);
}"""
