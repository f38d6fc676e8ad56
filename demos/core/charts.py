"""Charts as plain data. A demo says what to show; the page and the terminal decide how.

In `y`, infinity means *diverged* (drawn as an arrow that leaves the frame, with the word) and NaN means *missing* (a gap).
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from demos.core.text import Language, Text

Role = Literal["baseline", "first", "second", "third", "fourth", "warning", "theory"]
Style = Literal["line", "dots", "dots+line"]


def _numbers(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


@dataclass(frozen=True)
class Axis:
    """Name with unit, scale and, where the picture must not jump, fixed limits.

    `names` makes it an axis of categories: position 0 is called by the first name, 1 by the second, …
    """

    label: Text
    log: bool = False
    low: float | None = None
    high: float | None = None
    names: tuple[Text, ...] = ()


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


@dataclass(frozen=True)
class Points:
    """A cloud of points. `group` 0 … 9 gives each class a colour and a symbol of its own; without it the role gives the colour."""

    name: Text
    x: Iterable[float]
    y: Iterable[float]
    role: Role = "first"
    group: int | None = None

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            object.__setattr__(self, name, _numbers(getattr(self, name)))
        if len(self.x) != len(self.y):  # type: ignore[arg-type]  # tuples after the loop above
            raise ValueError(f"points {self.name.en!r}: x and y differ in length")


@dataclass(frozen=True)
class Grid:
    """Values on a rectangle of cells, coloured along a sequential scale (or one with a neutral middle, if `diverging`).

    cells: rows × columns (nested sequences or a tensor); row 0 lies at the low end of y, column 0 at the low end of x.
    low, high: the ends of the colour scale; values beyond are clipped to it, +inf is drawn as the high end, NaN is left blank. Without them they are those of
        the finite values (and symmetric about 0 if `diverging`).
    bands: that many steps of colour, which look like contour lines; 0 for a smooth scale.
    """

    label: Text
    cells: Any
    low: float | None = None
    high: float | None = None
    log: bool = False
    diverging: bool = False
    bands: int = 0


@dataclass(frozen=True)
class PlaneChart:
    """A plane: a coloured grid (contours, decision regions, a matrix, a strip of layers by steps) under points and paths.

    The grid's cells fill the rectangle between the limits of both axes, evenly (in the logarithm on a log axis), so both need `low` and `high`, or
    `names`. On an axis with names the cells are centred on the positions 0, 1, 2, … `equal` draws both axes to the same scale.
    """

    title: Text
    x: Axis
    y: Axis
    summary: Text
    grid: Grid | None = None
    points: tuple[Points, ...] = ()
    lines: tuple[Line, ...] = ()
    rules: tuple[Rule, ...] = ()
    equal: bool = False
    kind: Literal["plane"] = field(default="plane", init=False)

    def __post_init__(self) -> None:
        for axis in (self.x, self.y) if self.grid else ():
            if not axis.names and (axis.low is None or axis.high is None):
                raise ValueError(f"chart {self.title.en!r}: a grid needs the limits (or the names) of the axis {axis.label.en!r}")


@dataclass(frozen=True)
class Image:
    """A small picture: pixels in rows × columns (row 0 on top) and what is written under it."""

    name: Text
    pixels: Any


@dataclass(frozen=True)
class ImageGrid:
    """Pictures side by side on one scale of grey (or of two colours with a neutral middle at 0, if `diverging`).

    low, high: the ends of the scale; without them those of all pictures.
    """

    title: Text
    images: tuple[Image, ...]
    summary: Text
    low: float | None = None
    high: float | None = None
    diverging: bool = False
    columns: int = 8
    kind: Literal["images"] = field(default="images", init=False)


Chart = LineChart | BarChart | PlaneChart | ImageGrid


def to_data(chart: Any, language: Language) -> Any:
    """The chart as JSON-ready data in one language; numbers keep four significant digits, infinity becomes "inf", NaN None.

    The cells of a Grid and the pixels of an ImageGrid, which are many, become 16-bit whole numbers in base64 (see `_packed`).
    """
    if isinstance(chart, float):
        if math.isfinite(chart):
            return float(f"{chart:.4g}")
        return None if math.isnan(chart) else "inf" if chart > 0 else "-inf"
    if isinstance(chart, Text):
        return chart[language]
    if isinstance(chart, (tuple, list)):
        return [to_data(item, language) for item in chart]
    if not hasattr(chart, "__dataclass_fields__"):
        return chart  # a string, a whole number, a truth value, None
    data = {name: to_data(getattr(chart, name), language) for name in chart.__dataclass_fields__ if name not in ("cells", "pixels")}
    if isinstance(chart, Grid):
        data |= _packed([chart.cells], chart.low, chart.high, log=chart.log, diverging=chart.diverging)[0]
    elif isinstance(chart, ImageGrid):
        packed = _packed([image.pixels for image in chart.images], chart.low, chart.high, diverging=chart.diverging)
        data["images"] = [image | cells for image, cells in zip(data["images"], packed, strict=True)]
    return data


_STEPS = 65534  # of the 16-bit scale; one more means: not a number


def _packed(
    matrices: Sequence[Any], low: float | None, high: float | None, *, log: bool = False, diverging: bool = False
) -> list[dict[str, Any]]:
    """Matrices on one scale: rows, columns, low, high and the cells as base64 of little-endian uint16: 0 is `low`, 65534 `high`, 65535 NaN."""
    rows = [[_numbers(row) for row in (matrix.tolist() if hasattr(matrix, "tolist") else matrix)] for matrix in matrices]
    finite = [value for matrix in rows for row in matrix for value in row if math.isfinite(value) and (value > 0 or not log)]
    if not (low is not None and high is not None):
        reach = max(map(abs, finite), default=1.0)
        low = low if low is not None else -reach if diverging else min(finite, default=1.0 if log else 0.0)
        high = high if high is not None else reach if diverging else max(finite, default=1.0)
    if high <= low:
        high = low * 2 if log else low + 1
    scale = math.log if log else float
    start, unit = scale(low), _STEPS / (scale(high) - scale(low))

    def cell(value: float) -> int:
        if math.isnan(value):
            return _STEPS + 1
        if value <= low:
            return 0
        return _STEPS if value >= high else round((scale(value) - start) * unit)

    packed = []
    for matrix in rows:
        whole = [cell(value) for row in matrix for value in row]
        text = base64.b64encode(struct.pack(f"<{len(whole)}H", *whole)).decode()
        packed.append({"rows": len(matrix), "columns": len(matrix[0]) if matrix else 0, "low": low, "high": high, "cells": text})
    return packed
