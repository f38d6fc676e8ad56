"""Settings and their environment overrides, in one place."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tutor.encoder import DEFAULT_ENCODER

ROOT = Path(__file__).resolve().parent.parent
IN_PROCESS = "in-process"
RAY_LOCAL = "ray://local"


class SettingError(ValueError):
    """An environment variable with a value that cannot be used."""


@dataclass(frozen=True)
class Settings:
    """What can be set from outside. Each field names its variable.

    knowledge: TUTOR_KNOWLEDGE, the folder of the questions.
    encoder: TUTOR_ENCODER, a bundled name, a folder or a hub id of a sentence-transformers model.
    cache: TUTOR_CACHE, where embeddings and calibrations are kept between starts.
    feedback: TUTOR_FEEDBACK, the JSON-lines file of the thumbs; `off` for none. On a Space it is off unless set.
    demo_deadline: TUTOR_DEMO_DEADLINE, seconds after which a demo run is stopped.
    demo_concurrency: TUTOR_DEMO_CONCURRENCY, demo runs at the same time; others queue.
    runner: TUTOR_RUNNER, where demos run: `in-process`; on the Ray cluster at `ray://HOST:PORT`; in Ray's processes on this machine with
        `ray://local` (both need the extra `ray`).
    mcp: TUTOR_MCP, 1 to serve the Model Context Protocol as well (needs the extra `mcp`).
    """

    knowledge: Path
    encoder: str
    cache: Path
    feedback: Path | None
    demo_deadline: float
    demo_concurrency: int
    runner: str
    mcp: bool

    @classmethod
    def from_environment(cls) -> Settings:
        """Reads the environment. Raises SettingError, naming the variable."""
        environment = os.environ
        cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deep-learning-tutor"
        return cls(
            knowledge=Path(environment.get("TUTOR_KNOWLEDGE") or ROOT / "knowledge"),
            encoder=environment.get("TUTOR_ENCODER") or DEFAULT_ENCODER,
            cache=Path(environment.get("TUTOR_CACHE") or cache),
            feedback=_feedback(environment.get("TUTOR_FEEDBACK"), cache),
            demo_deadline=_number("TUTOR_DEMO_DEADLINE", 60.0, 1, 3600),
            demo_concurrency=_whole("TUTOR_DEMO_CONCURRENCY", 2, 1, 64),
            runner=_runner("TUTOR_RUNNER"),
            mcp=_whole("TUTOR_MCP", 0, 0, 1) == 1,
        )

    @property
    def results(self) -> Path:
        """The file of the verdicts of the last runs."""
        return self.cache / "results.json"

    def __post_init__(self) -> None:
        if self.runner != IN_PROCESS and not all(importlib.util.find_spec(package) for package in ("ray", "grpc")):
            raise SettingError(
                f"TUTOR_RUNNER={self.runner} needs the packages of the extra ray: pip install 'deep-learning-tutor[ray]' (or 'ray[client]')"
            )
        if self.mcp and importlib.util.find_spec("mcp") is None:
            raise SettingError(
                "the Model Context Protocol needs the package mcp: pip install 'gradio[mcp]', or switch TUTOR_MCP (--mcp) off"
            )


def _feedback(value: str | None, cache: Path) -> Path | None:
    if value:
        return None if value.lower() == "off" else Path(value)
    return None if os.environ.get("SPACE_ID") else cache / "feedback.jsonl"


def _runner(name: str) -> str:
    raw = os.environ.get(name) or IN_PROCESS
    if raw in (IN_PROCESS, RAY_LOCAL):
        return raw
    try:
        place = urlsplit(raw)
        rest = (place.path, place.query, place.fragment, place.username, place.password)
        if place.scheme == "ray" and place.hostname and place.port and not any(rest):
            return raw
    except ValueError:  # a port that is none
        pass
    raise SettingError(f"{name}={raw!r} is none of {IN_PROCESS}, ray://HOST:PORT and {RAY_LOCAL}")


def _number(name: str, default: float, low: float, high: float) -> float:
    raw = os.environ.get(name)
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise SettingError(f"{name}={raw!r} is not a number in {low:g} … {high:g}")
    return value


def _whole(name: str, default: int, low: int, high: int) -> int:
    value = _number(name, default, low, high)
    if value != int(value):
        raise SettingError(f"{name}={value:g} is not a whole number")
    return int(value)
