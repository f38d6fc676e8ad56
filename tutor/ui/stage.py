"""The stage of an experiment: one component that draws progress, charts, verdict and figures in the browser from one JSON frame."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from demos.core.charts import to_data
from demos.core.demo import Demo, Outcome, Snapshot
from demos.core.text import Language
from tutor.ui.static import STATIC
from tutor.ui.strings import STRINGS

_WORDS = (
    "elapsed", "remaining", "second", "diverged", "download_png", "download_svg", "download_csv", "figures", "figure_name", "figure_value",
    "figure_spread", "measured", "published", "and_others", "colon", "status_reproduced", "status_same_direction", "status_not_at_this_scale", "log_scale", "pin",
    "unpin", "pinned", "pinned_mark", "pinned_elsewhere", "replay", "replay_pause", "replay_position",
)  # fmt: skip

_SCRIPTS = ("colours", "lines", "planes", "images", "compare", "replay", "downloads", "stage")  # joined in this order

_TEMPLATE = """
<section class="stage">
  <p class="stage-status" role="status" aria-live="polite"></p>
  <progress max="1" value="0" hidden></progress>
  <p class="stage-pinned" hidden><span></span><button type="button"></button></p>
  <div class="stage-charts"></div>
  <div class="stage-replay" hidden><button type="button"></button><input type="range" min="0" value="0" step="1"></div>
  <div class="stage-verdict" hidden></div>
  <div class="stage-downloads" hidden>
    <button type="button" class="stage-pin"></button><button type="button" class="stage-png"></button>
    <button type="button" class="stage-svg"></button><button type="button" class="stage-csv"></button>
  </div>
  <details class="stage-figures" hidden><summary></summary><div class="stage-table"></div></details>
</section>
"""


def build_stage(language: Language) -> gr.HTML:
    """The component. Its value is a frame as made by `frame`."""
    gr.set_static_paths([STATIC])
    return gr.HTML(
        value=idle(language),
        html_template=_TEMPLATE,
        js_on_load="\n".join((STATIC / "stage" / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS),
        words=words(language),
        min_height=420,
        elem_id="stage",
    )


def words(language: Language) -> dict[str, str]:
    """The words that the stage itself writes, and where its chart library lies (an update replaces all of a component's own properties)."""
    return {name: STRINGS[name][language] for name in _WORDS} | {"library": f"/gradio_api/file={STATIC / 'echarts.min.js'}"}


def idle(language: Language) -> str:
    """The frame before any run."""
    return json.dumps({"state": "idle", "status": STRINGS["ready"][language]})


def frame(
    demo: Demo,
    snapshot: Snapshot | None,
    language: Language,
    *,
    state: str,
    status: str,
    run: str,
    mode: str,
    elapsed: float | None = None,
    remaining: float | None = None,
    device: str = "",
    guess: str | None = None,
    prediction: Any = None,
    score: str = "",
) -> str:
    """One frame as JSON. `state` is running, done, stopped or error; times are in seconds; `guess` is the learner's option.

    `run` tells this run from others of the demo (its preset, what was changed, the seed); runs of one `mode` can be compared. A prediction that is
    put after the run keeps the verdict, and the figures, back until there is a guess.
    """
    data: dict[str, Any] = {
        "state": state,
        "status": status,
        "run": run,
        "mode": mode,
        "elapsed": elapsed,
        "remaining": remaining,
        "device": device,
        "file": demo.id,
    }
    asking = prediction is not None and prediction.after and guess is None
    if snapshot is not None:
        data["progress"] = snapshot.progress
        if snapshot.charts:  # none yet while a run waits for a worker
            data["charts"] = to_data(snapshot.charts, language)
        if not asking:
            data["figures"] = to_data(snapshot.figures, language)
        if snapshot.outcome and not asking:
            told = " ".join(filter(None, (_judged(snapshot.outcome, prediction, guess, language), score)))
            data["verdict"] = to_data(snapshot.outcome.verdict, language) | {"prediction": told}
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def _judged(outcome: Outcome, prediction: Any, guess: str | None, language: Language) -> str:
    answer = prediction.options[outcome.answer][language]
    if guess is None:
        return STRINGS["prediction_none"][language].format(answer=answer)
    if guess == outcome.answer:
        return STRINGS["prediction_right"][language].format(answer=answer)
    return STRINGS["prediction_wrong"][language].format(guess=prediction.options[guess][language], answer=answer)
