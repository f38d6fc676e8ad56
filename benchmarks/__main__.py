"""The runner: `python -m benchmarks [NAME …] [--quick]`. Exits with 1 if a benchmark fails, with 2 for a name that there is not."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import pkgutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.core.comparison import Aim, Row, data_of, plain
from benchmarks.core.machine import circumstances

RESULTS = Path(__file__).resolve().parent / "results"
WIDTH = 120  # columns of a table, where the terminal has fewer or there is none
BUSY = 0.5  # load for each core above which a timing is not to be trusted


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmarks, one after the other; one that fails does not keep the others from running."""
    names = available()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures each result beside its baseline.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names)}; all if none is given")
    parser.add_argument("--quick", action="store_true", help="small settings, to see that it works; the results go to results/quick")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names):
        parser.error(f"there is no benchmark called {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: through the blocks that end what was started
    console = Console(width=max(WIDTH, Console().width))
    failed = [name for name in options.names or names if not run(name, options.quick, console)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def available() -> list[str]:
    """The names of the benchmarks: the modules beside this one."""
    return sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.ispkg and module.name != "__main__")


def run(name: str, quick: bool, console: Console) -> bool:
    """Runs one benchmark, prints its table and writes its result; False if it failed."""
    try:
        measure = importlib.import_module(f"benchmarks.{name}").measure
        record = {"benchmark": name, "quick": quick, **circumstances()}
        _warn_if_busy(record, console)
        started = time.perf_counter()
        result = _measured(measure, quick)
        record["seconds"] = time.perf_counter() - started
        files = result.pop("files", {})
        record["rows"] = result.pop("rows", None) or data_of(_rows_without(name, result))
        record = plain(record | {"details": result})
        _print(record, console)
        _write(record, files, RESULTS / "quick" if quick else RESULTS)
    except Exception:
        traceback.print_exc()
        return False
    return True


def _measured(measure: Callable[..., dict[str, Any]], quick: bool) -> dict[str, Any]:
    """The result of a benchmark, told to be quick if it can be told."""
    return measure(quick=quick) if "quick" in inspect.signature(measure).parameters else measure()


def _rows_without(name: str, result: dict[str, Any]) -> list[Row]:
    """Rows for a benchmark that returns none: `stacked` has two times, any other is shown number by number."""
    if name == "stacked":
        speed = Aim("result", "≥", 10)
        return [
            Row("stacked network", result["stacked_s"], "s", result["loop_s"], "loop over ordinary networks"),
            Row("speed-up", result["speedup"], "×", aim=speed),
            Row("largest difference of the losses", result["largest_loss_difference"]),
        ]
    return [Row(key, float(value)) for key, value in result.items() if isinstance(value, (int, float))]


def _warn_if_busy(record: dict[str, Any], console: Console) -> None:
    load = record["load_average"]
    if load and load[0] > BUSY * record["cores"]:
        console.print(f"[yellow]load average {load[0]} on {record['cores']} cores: other processes disturb the timings[/yellow]")


def _print(record: dict[str, Any], console: Console) -> None:
    quick = ", quick" if record["quick"] else ""
    table = Table(title=f"{record['benchmark']} ({record['seconds']:.0f} s{quick})", title_justify="left")
    for heading in ("", "result", "baseline", "ratio", "aim", "baseline is"):
        table.add_column(heading, justify="right" if heading in ("result", "baseline", "ratio") else "left", no_wrap=True)
    for row in record["rows"]:
        baseline = f"{_number(row['baseline'])} {row['unit']}".strip()
        table.add_row(
            row["name"],
            f"{_number(row['result'])} {row['unit']}".strip() + _interval(row["interval"]),
            baseline if row["baseline"] is not None else "–",
            _number(row["ratio"]),
            _aim(row),
            row["baseline_is"],
        )
    console.print(table)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _interval(interval: Sequence[float] | None) -> str:
    return f" ({_number(interval[0])} … {_number(interval[1])})" if interval else ""


def _aim(row: dict[str, Any]) -> str:
    if row["aim"] is None:
        return ""
    return f"{row['aim']} " + {True: "[green]✓[/green]", False: "[red]✗[/red]", None: "?"}[row["met"]]


def _write(record: dict[str, Any], files: Mapping[str, str], folder: Path) -> None:
    """Writes the record as JSON, and beside it the texts of `files` by name."""
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {f"{record['benchmark']}.json": text, **files}.items():
        (folder / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
