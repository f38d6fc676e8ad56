"""What this machine reproduced: the verdict of each preset's last run, kept in one small file of the cache."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from demos.core.demo import Demo
from demos.core.parameters import Parameters
from demos.core.report import report
from demos.core.runner import Frame
from demos.core.text import LANGUAGES, Language

log = logging.getLogger(__name__)
_writing = threading.Lock()


@dataclass(frozen=True)
class Result:
    """The verdict of a preset, run as it is (no parameter changed). `measured` and `published` are in both languages."""

    demo: str
    preset: str
    seed: int
    status: str
    measured: Mapping[str, str]
    published: Mapping[str, str]
    device: str
    seconds: float
    when: str  # UTC, to the minute


def result_of(reports: Mapping[Language, Mapping[str, Any]]) -> Result:
    """The result from a run's report in each language (as `demos.core.report.report` gives it)."""
    said = next(iter(reports.values()))
    return Result(
        demo=said["demo"],
        preset=said["preset"],
        seed=said["seed"],
        status=said["verdict"]["status"],
        measured={language: _told(each["verdict"]["measured"]) for language, each in reports.items()},
        published={language: each["verdict"]["published"] for language, each in reports.items()},
        device=said["device"],
        seconds=round(said["elapsed_s"], 1),
        when=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M"),
    )


class ResultFile:
    """The newest result of each preset, in a JSON file. Nothing is lost to a reader in between: the file is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> list[Result]:
        """The results, by demo and preset; none where there is no file. A file that cannot be read is told to the log and counts as none."""
        try:
            return [Result(**row) for row in json.loads(self.path.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            log.warning("the results of earlier runs cannot be read from %s: %s", self.path, error)
            return []

    def add(self, result: Result) -> None:
        """Puts a result in the place of the one before it. Where nothing can be written, the log says so and the run is none the worse."""
        with _writing:
            kept = {(each.demo, each.preset): each for each in self.load()} | {(result.demo, result.preset): result}
            text = json.dumps([asdict(kept[key]) for key in sorted(kept)], ensure_ascii=False, indent=1)
            new = self.path.with_suffix(f".{os.getpid()}")
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                new.write_text(text + "\n", encoding="utf-8")
                new.replace(self.path)
            except OSError as error:
                log.warning("the result of %s was not kept in %s: %s", result.demo, self.path, error)


def keep(demo: Demo, preset: str, parameters: Parameters, seed: int, last: Frame, kept: ResultFile) -> None:
    """Keeps the result of a preset that was run as it is, nothing changed."""
    if parameters != demo.parameters.parse(demo.presets[preset].values):
        return
    kept.add(result_of({spoken: report(demo, preset, parameters, seed, last, spoken) for spoken in LANGUAGES}))


def _told(figure: Mapping[str, Any]) -> str:
    """A figure as one line: name, value ± spread, unit."""
    value, spread = figure["value"], figure["spread"]
    number = value.replace("inf", "∞") if isinstance(value, str) else "–" if value is None else f"{value:.3g}"
    return (
        f"{figure['name']}: {number}"
        + (f" ± {spread:.2g}" if isinstance(spread, float) else "")
        + (f" {figure['unit']}" if figure["unit"] else "")
    )
