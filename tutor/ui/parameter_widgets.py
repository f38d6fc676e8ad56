"""From the declaration of a parameter to its widget."""

from __future__ import annotations

from typing import Any

import gradio as gr

from demos.core.parameters import Choice, Flag, Number, Spec
from demos.core.text import Language


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
    raise TypeError(f"parameter {name}: no widget for {type(spec).__name__}")
