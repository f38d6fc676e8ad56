"""Charts as plain data. A demo says what to show; the page and the terminal decide how.

In `y`, infinity means *diverged* (drawn as an arrow that leaves the frame, with the word) and NaN means *missing* (a gap).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from demos.core.text import Language, Text

Role = Literal["baseline", "first", "second", "third", "fourth", "warning", "theory"]
Style = Literal["line", "dots", "dots+line"]


def _numbers(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


@dataclass(frozen=True)
class Axis:
    """Name with unit, scale and, where the picture must not jump, fixed limits."""

    label: Text
    log: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """A series: x, y of equal length, an optional band `low … high` (the spread over seeds), a role that fixes its colour.

    `shade` in 0 … 1 colours the line along a sequential scale instead (many curves ordered by one quantity).
    """

    name: Text
    role: Role
    x: Iterable[float]
    y: Iterable[float]
    low: Iterable[float] = ()
    high: Iterable[float] = ()
    style: Style = "line"
    shade: float | None = None

    def __post_init__(self) -> None:
        for name in ("x", "y", "low", "high"):
            object.__setattr__(self, name, _numbers(getattr(self, name)))
        lengths = {len(self.x), len(self.y)} | {len(band) for band in (self.low, self.high) if band}  # type: ignore[arg-type]  # tuples after the loop above
        if len(lengths) != 1 or bool(self.low) != bool(self.high):
            raise ValueError(f"line {self.name.en!r}: x, y, low and high differ in length: {sorted(lengths)}")


@dataclass(frozen=True)
class Rule:
    """A labelled straight line at one value of x: a known limit, a threshold."""

    name: Text
    x: float
    role: Role = "theory"


@dataclass(frozen=True)
class LineChart:
    """Lines with bands over a common pair of axes. `summary` says in one sentence what the chart shows (read by screen readers)."""

    title: Text
    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    summary: Text
    rules: tuple[Rule, ...] = ()
    kind: Literal["lines"] = field(default="lines", init=False)


@dataclass(frozen=True)
class Bars:
    """One value for each category of the chart, with an optional half-width of its error bar."""

    name: Text
    role: Role
    values: Iterable[float]
    errors: Iterable[float] = ()

    def __post_init__(self) -> None:
        for name in ("values", "errors"):
            object.__setattr__(self, name, _numbers(getattr(self, name)))


@dataclass(frozen=True)
class BarChart:
    """Groups of bars side by side."""

    title: Text
    categories: tuple[Text, ...]
    y: Axis
    groups: tuple[Bars, ...]
    summary: Text
    kind: Literal["bars"] = field(default="bars", init=False)


Chart = LineChart | BarChart


def to_data(chart: Any, language: Language) -> Any:
    """The chart as JSON-ready data in one language; numbers keep four significant digits, infinity becomes "inf", NaN None."""
    if isinstance(chart, Text):
        return chart[language]
    if isinstance(chart, bool) or chart is None or isinstance(chart, (str, int)):
        return chart
    if isinstance(chart, float):
        if math.isnan(chart):
            return None
        return float(f"{chart:.4g}") if math.isfinite(chart) else "inf" if chart > 0 else "-inf"
    if isinstance(chart, (tuple, list)):
        return [to_data(item, language) for item in chart]
    return {name: to_data(getattr(chart, name), language) for name in chart.__dataclass_fields__}
