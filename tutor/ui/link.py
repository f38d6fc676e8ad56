"""A configuration as the query string of a link, and back: `?demo=batchnorm&preset=train-eval&rate=0.3&seed=1`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from demos.core.demo import Demo
from demos.core.parameters import ParameterError
from demos.core.runner import LARGEST_SEED
from demos.core.text import LANGUAGES, Language
from tutor.ui.strings import STRINGS

_RESERVED = ("demo", "preset", "seed", "lang")


@dataclass(frozen=True)
class Configuration:
    """A demo with every value set: what a link reproduces exactly. (`gr.State` hashes it: the values, a dictionary, stay out of that.)"""

    demo_id: str
    preset: str
    values: Mapping[str, Any] = field(default_factory=dict, hash=False)
    seed: int = 0


def of_preset(demo: Demo, preset: str) -> Configuration:
    """The configuration of a preset, every parameter filled in. Raises ParameterError for an unknown preset."""
    if preset not in demo.presets:
        known = ", ".join(demo.presets)
        raise ParameterError(STRINGS["error_preset"].format(demo=demo.id, name=preset[:40], known=known))
    return Configuration(demo.id, preset, demo.parameters.parse(demo.presets[preset].values).values())


def to_query(configuration: Configuration, demo: Demo, language: Language) -> str:
    """The query string: only what differs from the preset is written out, and never the learner's own data."""
    base, specs = of_preset(demo, configuration.preset).values, demo.parameters.specs()
    changed = {name: value for name, value in configuration.values.items() if value != base[name] and specs[name].in_link}
    text = {name: str(value).lower() if isinstance(value, bool) else value for name, value in changed.items()}
    return "?" + urlencode({"demo": demo.id, "preset": configuration.preset, **text, "seed": configuration.seed, "lang": language})


def from_query(query: Mapping[str, str], demos: Mapping[str, Demo]) -> Configuration | None:
    """The configuration that a link names, or None if it names none. Raises ParameterError, saying what is wrong."""
    name = query.get("demo")
    if name is None:
        return None
    if name not in demos:
        raise ParameterError(STRINGS["error_demo"].format(name=name[:40], known=", ".join(demos)))
    demo = demos[name]
    preset = of_preset(demo, query.get("preset", demo.default_preset))
    # Names with two leading underscores are the platform's own (`__theme`, `__sign`).
    changed = {key: value for key, value in query.items() if key not in _RESERVED and not key.startswith("__")}
    values = demo.parameters.parse({**preset.values, **changed}).values()
    return Configuration(demo.id, preset.preset, values, parse_seed(query.get("seed", 0)))


def parse_seed(raw: object) -> int:
    """A whole number in 0 … 2³¹−1. Raises ParameterError."""
    try:
        number = float(raw) if isinstance(raw, (int, float, str)) and not isinstance(raw, bool) else -1.0
    except (ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= LARGEST_SEED or number != int(number):
        raise ParameterError(STRINGS["error_seed"])
    return int(number)


def parse_language(raw: object) -> Language:
    """`zh` or `en`. Raises ParameterError for anything else."""
    for language in LANGUAGES:
        if raw == language:
            return language
    raise ParameterError(STRINGS["error_language"])


def preferred_language(query: Mapping[str, str], stored: object, accept: str) -> Language:
    """The language of the page: the link's, else the one chosen before, else the browser's first (Chinese or English)."""
    for candidate in (query.get("lang"), stored):
        if candidate in LANGUAGES:
            return parse_language(candidate)
    return "zh" if accept.strip().lower().startswith("zh") else "en"
