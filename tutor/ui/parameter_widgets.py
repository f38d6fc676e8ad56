"""From the declaration of a parameter to its widget."""

from __future__ import annotations

from typing import Any

import gradio as gr

from demos.core.own_data import MAX_BYTES, OwnData
from demos.core.parameters import Choice, Flag, Number, Spec
from demos.core.text import Language
from tutor.ui.static import STATIC
from tutor.ui.strings import STRINGS


def widget(name: str, spec: Spec, value: Any, language: Language) -> Any:
    """A slider, number box, choice or check box that carries the parameter's bounds, label and help."""
    common: dict[str, Any] = {
        "label": spec.label[language], "info": spec.help[language], "interactive": True, "elem_id": f"parameter-{name}"
    }  # fmt: skip
    if isinstance(spec, Number):
        if spec.log:
            # A slider has no logarithmic scale: over several orders of magnitude a number is typed.
            return gr.Number(value, minimum=spec.low, maximum=spec.high, step=spec.step, **common)
        return gr.Slider(spec.low, spec.high, value, step=spec.step, **common)
    if isinstance(spec, Choice):
        options = [(text[language], key) for key, text in spec.options.items()]
        return gr.Radio(options, value=value, **common) if len(options) <= 4 else gr.Dropdown(options, value=value, **common)
    if isinstance(spec, Flag):
        return gr.Checkbox(value, **common)
    if isinstance(spec, OwnData):
        return own_data(name, spec, value, language)
    raise TypeError(f"parameter {name}: no widget for {type(spec).__name__}")


def own_data(name: str, spec: OwnData, value: str, language: Language) -> gr.HTML:
    """A file picker whose value is the text of the file: it is read in the browser, and no copy reaches the server's disk."""
    return gr.HTML(
        value=value,
        html_template=_OWN_DATA,
        js_on_load=(STATIC / "own_data.js").read_text(encoding="utf-8"),
        elem_id=f"parameter-{name}",
        **own_data_properties(spec, language),
    )


def own_data_properties(spec: OwnData, language: Language, problem: str = "") -> dict[str, Any]:
    """What the picker knows; `problem` says why a table was refused (an update replaces all of a component's own properties)."""
    words = {word: STRINGS[f"own_data_{word}"][language] for word in ("choose", "remove", "none", "used", "large")}
    return {
        "words": words | {"colon": STRINGS["colon"][language], "label": spec.label[language], "help": spec.help[language]},
        "limit": MAX_BYTES,
        "problem": problem,
    }


_OWN_DATA = """
<div class="own-data">
  <strong></strong><p class="quiet"></p>
  <label><span></span><input type="file" accept=".csv,.tsv,.txt,text/csv"></label><button type="button" hidden></button>
  <p role="status"></p>
</div>
"""
