"""The command `demo`: runs one experiment, or every preset of all of them, and prints what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from demos.core.demo import Demo
from demos.core.own_data import OwnData
from demos.core.parameters import ParameterError, Parameters
from demos.core.report import report
from demos.core.runner import DeadlineReached, Frame, run_demo
from demos.core.text import Language
from tutor.results import ResultFile, keep

_WORDS = {
    "zh": ("量", "数值", "± 95%", "本次测得", "文献报告", "实际结果"),
    "en": ("Quantity", "Value", "± 95%", "Measured here", "Published", "Outcome"),
}


class CommandError(Exception):
    """What the command was given cannot be used; the message says what can."""


def parse(demo: Demo, preset: str, changes: list[str]) -> Parameters:
    """The preset with changes `NAME=VALUE` (`NAME=@FILE` for a table of one's own). Raises CommandError, ParameterError."""
    if preset not in demo.presets:
        raise CommandError(f"{demo.id} has no preset {preset}; there are: {', '.join(demo.presets)}")
    values: dict[str, object] = dict(demo.presets[preset].values)
    for change in changes:
        name, sign, value = change.partition("=")
        if not sign:
            raise CommandError(f"--set {name}: expected NAME=VALUE")
        is_table = isinstance(demo.parameters.specs().get(name), OwnData)
        values[name] = _text_of(value.removeprefix("@")) if is_table and value.startswith("@") else value
    return demo.parameters.parse(values)


def _text_of(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"the table {file} cannot be read: {error}") from error


def run_one(
    demo: Demo, preset: str, parameters: Parameters, device: str | None, seed: int, deadline: float, language: Language, quiet: bool
) -> tuple[Frame, float]:
    """The last frame of a run, and the seconds to the first; progress is drawn unless `quiet`. Raises ParameterError, DeadlineReached."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    frame, first = None, 0.0
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=quiet, transient=True) as progress:
        task = progress.add_task(f"{demo.title[language]} · {demo.presets[preset].label[language]}", total=1.0)
        for frame in run_demo(demo, parameters, device, seed, deadline):
            first = first or frame.elapsed_s
            progress.update(task, completed=frame.snapshot.progress, description=frame.snapshot.status[language])
    if frame is None:
        raise RuntimeError(f"demo {demo.id} yielded nothing")
    return frame, first


def run_all(
    demos: Mapping[str, Demo], device: str | None, seed: int, deadline: float, language: Language, kept: ResultFile, quiet: bool
) -> Iterator[dict[str, Any]]:
    """The report of every preset, as it ends, with `first_frame_s`; a run that failed has `error` instead. Each result is kept."""
    for demo in demos.values():
        for preset in demo.presets:
            parameters = parse(demo, preset, [])
            try:
                frame, first = run_one(demo, preset, parameters, device, seed, deadline, language, quiet)
            except (ParameterError, DeadlineReached) as error:
                yield {"demo": demo.id, "preset": preset, "seed": seed, "error": error.text[language]}
            except Exception as error:
                yield {"demo": demo.id, "preset": preset, "seed": seed, "error": f"{type(error).__name__}: {error}"}
            else:
                keep(demo, preset, parameters, seed, frame, kept)
                yield report(demo, preset, parameters, seed, frame, language) | {"first_frame_s": round(first, 3)}


def print_one(result: Mapping[str, Any], language: Language) -> None:
    """Figures and verdict of a report as a table and a few lines."""
    from rich.console import Console
    from rich.table import Table

    name, value, spread, measured, published, outcome = _WORDS[language]
    console = Console()
    table = Table(name, value, spread)
    for figure in result["figures"]:
        table.add_row(figure["name"], *_number(figure))
    console.print(table)
    verdict, source = result["verdict"], result["verdict"]["source"]
    console.print(f"[bold]{verdict['status'].replace('_', ' ')}[/bold]  ({result['device']}, {result['elapsed_s']:.1f} s)")
    figure = verdict["measured"]
    console.print(f"{measured}: {figure['name']} = {' ± '.join(text for text in _number(figure) if text != '–')}", highlight=False)
    console.print(f"{published}: {verdict['published']} ({source['authors']} {source['year']}, {source['url']})", highlight=False)
    console.print(f"{outcome}: {result['prediction']['answer']}", highlight=False)
    console.print(verdict["explanation"], highlight=False)


def print_all(results: Iterator[dict[str, Any]], language: Language, as_json: bool) -> bool:
    """Prints each report as it comes (a JSON object a line, or a line of text), then what was not reproduced and why; False if a run failed."""
    from rich.console import Console

    console, done = Console(), []
    for result in results:
        done.append(result)
        if as_json:
            typer.echo(json.dumps(result, ensure_ascii=False))
        elif "error" in result:
            console.print(f"[red]failed[/red] {result['demo']} · {result['preset']}: {result['error']}", highlight=False)
        else:
            measured = result["verdict"]["measured"]
            told = " ± ".join(text for text in _number(measured) if text != "–")
            status = result["verdict"]["status"].replace("_", " ")
            times = f"{result['first_frame_s']:.2f} / {result['elapsed_s']:.1f} s"
            console.print(
                f"{result['demo']:<20} {result['preset']:<18} {status:<18} {times:>14}  {measured['name']} = {told}", highlight=False
            )
    others = [result for result in done if "verdict" in result and result["verdict"]["status"] != "reproduced"]
    if others and not as_json:
        console.print(f"\n[bold]{len(others)} of {len(done)} were not reproduced, and why:[/bold]")
        for result in others:
            console.print(f"- {result['demo']} · {result['preset']}: {result['verdict']['explanation']}", highlight=False)
    return not any("error" in result for result in done)


def _number(figure: Mapping[str, Any]) -> tuple[str, str]:
    value, spread = figure["value"], figure["spread"]
    shown = value.replace("inf", "∞") if isinstance(value, str) else "–" if value is None else f"{value:.4g}"
    return f"{shown} {figure['unit']}".strip(), f"{spread:.2g}" if isinstance(spread, float) else "–"
