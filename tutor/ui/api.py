"""The HTTP endpoints `ask` and `run_experiment` (and, with the flag, the tools of the MCP server)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import gradio as gr
from gradio.events import api

from demos.core.demo import Demo
from demos.core.parameters import ParameterError
from demos.core.report import report
from demos.core.runner import DeadlineReached
from demos.core.text import Language
from tutor.chat import Decision, MessageError, Reply, Tutor
from tutor.config import Settings
from tutor.runners.errors import RunnerError
from tutor.runners.runner import Runner, build_runner
from tutor.ui import link
from tutor.ui.loading import Loading
from tutor.ui.strings import STRINGS


def add_api(loading: Loading, demos: Mapping[str, Demo], settings: Settings) -> None:
    """Adds the endpoints to the current Blocks."""
    runner = build_runner(settings.runner)

    def ask(question: str, language: Literal["", "zh", "en"] = "") -> dict[str, Any]:
        """Answer a deep-learning interview question from the knowledge base.

        Parameters:
            question: the question in Chinese or English, 1 to 2,000 characters.
            language: zh or en; empty to take it from the question.

        Returns:
            question, language, decision (answer, suggest or abstain), confidence in 0 … 1, sure, outside (id of the topic that is not covered, or
            null), hits (id, section, cosine score of the five nearest), demo (id and preset, or null), answer (question, short, full, mistakes
            and corrections as Markdown, or null), and further: the same for each other question in the message.
        """
        try:
            spoken = link.parse_language(language) if language else None
            tutor = loading.tutor()
            reply = tutor.reply(question, language=spoken)
        except (MessageError, ParameterError) as error:
            raise gr.Error(f"{error.text.zh} / {error.text.en}") from error
        return _with_answers(tutor, reply)

    def run_experiment(
        demo: str, preset: str = "", parameters: dict[str, Any] | None = None, seed: int = 0, language: Literal["zh", "en"] = "en"
    ) -> dict[str, Any]:
        """Run a live PyTorch experiment to its end and return its measured figures and verdict.

        Parameters:
            demo: the id of the experiment.
            preset: one of its presets; empty for the first.
            parameters: values that differ from the preset, by name.
            seed: a whole number in 0 … 2147483647.
            language: zh or en, for the words in the result.

        Returns:
            demo, preset, parameters, seed, device, elapsed_s, figures, verdict, prediction (its question, and the option that came true).
        """
        try:
            return run_to_end(demos, demo, preset, parameters, seed, link.parse_language(language), settings.demo_deadline, runner)
        except (ParameterError, DeadlineReached, RunnerError) as error:
            raise gr.Error(f"{error.text.zh} / {error.text.en}") from error

    api(ask, api_name="ask", concurrency_id="chat")
    api(run_experiment, api_name="run_experiment", concurrency_id="demo", concurrency_limit=settings.demo_concurrency)


def _with_answers(tutor: Tutor, reply: Reply) -> dict[str, Any]:
    record, turn = tutor.record(reply), reply.turn
    record["answer"] = None
    if turn.decision is Decision.ANSWER:
        found = tutor.questions(turn)[0]
        record["answer"] = {"question": found.meta.question[turn.language], **found.answers[turn.language].__dict__}
    record["further"] = [_with_answers(tutor, part) for part in reply.further]
    return record


def run_to_end(
    demos: Mapping[str, Demo],
    name: object,
    preset: object,
    parameters: object,
    seed: object,
    language: Language,
    deadline: float,
    runner: Runner,
) -> dict[str, Any]:
    """The result of a whole run as JSON-ready data. Raises ParameterError, DeadlineReached and RunnerError."""
    if not isinstance(name, str) or name not in demos:
        raise ParameterError(STRINGS["error_demo"].format(name=str(name)[:40], known=", ".join(demos)))
    demo = demos[name]
    configuration = link.of_preset(demo, str(preset) if preset else demo.default_preset)
    if parameters is not None and not isinstance(parameters, dict):
        raise ParameterError(STRINGS["error_parameters"])
    values = demo.parameters.parse({**configuration.values, **(parameters or {})})
    *_, frame = runner.frames(name, values.values(), None, link.parse_seed(seed), deadline)
    return report(demo, configuration.preset, values, link.parse_seed(seed), frame, language)
