"""A finished run as JSON-ready data: what the command line prints and the API returns."""

from __future__ import annotations

from typing import Any

from demos.core.charts import to_data
from demos.core.demo import Demo
from demos.core.parameters import Parameters
from demos.core.runner import Frame
from demos.core.text import Language


def report(demo: Demo, preset: str, parameters: Parameters, seed: int, last: Frame, language: Language) -> dict[str, Any]:
    """Configuration, device, figures, verdict and the option of the prediction that came true. `last` is the frame with the outcome."""
    outcome = last.snapshot.outcome
    if outcome is None:
        raise ValueError(f"the run of {demo.id} has not ended: its last frame has no outcome")
    return {
        "demo": demo.id,
        "preset": preset,
        "parameters": {name: spec.reported(getattr(parameters, name)) for name, spec in parameters.specs().items()},
        "seed": seed,
        "device": last.device_label,
        "elapsed_s": round(last.elapsed_s, 3),
        "figures": to_data(last.snapshot.figures, language),
        "verdict": to_data(outcome.verdict, language),
        "prediction": {
            "question": demo.predict(parameters).question[language],
            "answer": demo.predict(parameters).options[outcome.answer][language],
        },
    }
