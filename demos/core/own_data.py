"""A table of the learner's own in place of the bundled set: a parameter whose value is the text of a CSV file ("" for none).

    data: str = own_data("classes")          # declared like any other parameter

The text lives in the visitor's session and nowhere else: it is parsed when a run starts and never written to disk.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from demos.core.parameters import ParameterError, Spec, declare
from demos.core.text import Text

Target = Literal["classes", "number"]
MAX_BYTES = 1_000_000
MAX_COLUMNS = 64
MIN_ROWS = 30
MAX_CLASSES = 20
_DIVISOR = 3  # of every three rows one is kept for testing, so two a class is the least


@dataclass(frozen=True)
class Table:
    """Rows of numbers and their targets: class numbers 0 … (with their names), or numbers (no names)."""

    features: list[list[float]]
    targets: list[float]
    feature_names: list[str]
    class_names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OwnData(Spec):
    """The text of a CSV file, or "" for the bundled set. `columns` is the number of features that it must have (0: any)."""

    in_link: ClassVar[bool] = False

    target: Target
    columns: int

    def parse(self, name: str, raw: object) -> str:
        if not isinstance(raw, str):
            raise self.refuse(name, raw)
        if raw.strip():
            try:
                read_table(raw, self.target, self.columns)
            except ParameterError as error:
                label, reason = self.label, error.text
                raise ParameterError(Text(f"{label.zh}：{reason.zh}", f"{label.en}: {reason.en}")) from None
        return raw if raw.strip() else ""

    def allowed(self) -> str:
        return "CSV (≤ 1 MB, ≤ 64 columns / 列)"

    def reported(self, value: str) -> str:
        return self.brief(value) if value else ""

    def brief(self, value: str) -> str:
        """How large the table is; its contents stay where they are."""
        if not value:
            return "–"
        table = read_table(value, self.target, self.columns)
        return f"CSV {len(table.targets)} × {len(table.feature_names) + 1}"


def own_data(target: Target, *, columns: int = 0, modes: tuple[str, ...] = ()) -> Any:
    """A parameter that takes a CSV file: features in numbers, the target in the last column (class names, or numbers)."""
    last = (
        Text("最后一列是类别", "the last column is the class")
        if target == "classes"
        else Text("最后一列是要预测的数", "the last column is the number to predict")
    )
    wide = (
        Text(f"前 {columns} 列是数值特征", f"{columns} columns of numbers") if columns else Text("前面各列是数值特征", "columns of numbers")
    )
    help = Text(
        f"CSV，{wide.zh}，{last.zh}；最多 1 MB、{MAX_COLUMNS} 列。只在内存里，不保存。",
        f"CSV: {wide.en}; {last.en}. At most 1 MB and {MAX_COLUMNS} columns. Kept in memory only.",
    )
    return declare("", OwnData(Text("自己的数据", "Your own data"), help, True, modes, target, columns))


def read_table(text: str, target: Target, columns: int = 0) -> Table:
    """The table in a CSV text; commas, semicolons or tabs, with or without a line of names. Raises ParameterError, naming line and column."""
    size = len(text.encode("utf-8", "ignore"))
    if size > MAX_BYTES:
        raise _error(f"文件有 {size:,} 字节，最多 {MAX_BYTES:,}", f"the file has {size:,} bytes, at most {MAX_BYTES:,} are taken")
    rows = _rows(text)
    width = len(rows[0][1]) if rows else 0
    if width < 2:
        raise _error(
            "读不出表格：至少要有一列特征和一列目标，用逗号、分号或制表符分隔",
            "this is no table: it needs at least one column of features and one of targets, separated by commas, semicolons or tabs",
        )
    if width > MAX_COLUMNS:
        raise _error(f"有 {width} 列，最多 {MAX_COLUMNS} 列", f"it has {width} columns, at most {MAX_COLUMNS} are taken")
    if columns and width != columns + 1:
        raise _error(
            f"这个实验要 {columns} 列特征加 1 列目标，文件有 {width} 列",
            f"this experiment takes {columns} columns of features and one of targets; the file has {width} columns",
        )
    for line, row in rows:
        if len(row) != width:
            raise _error(f"第 {line} 行有 {len(row)} 列，第一行有 {width} 列", f"line {line} has {len(row)} columns, the first has {width}")
    names = [f"x{i + 1}" for i in range(width - 1)]
    if any(_number(cell) is None for cell in rows[0][1][:-1]):
        names = [cell.strip() or name for cell, name in zip(rows[0][1], names, strict=False)]
        rows = rows[1:]
    if len(rows) < MIN_ROWS:
        raise _error(
            f"只有 {len(rows)} 行数据，至少要 {MIN_ROWS} 行", f"it has only {len(rows)} rows of data, at least {MIN_ROWS} are needed"
        )
    features = [[_cell(cell, line, i, names[i]) for i, cell in enumerate(row[:-1])] for line, row in rows]
    last = [(line, row[-1].strip()) for line, row in rows]
    if target == "number":
        return Table(features, [_cell(cell, line, width - 1, "target") for line, cell in last], names)
    return _classified(features, last, names, width)


def _classified(features: list[list[float]], last: list[tuple[int, str]], names: list[str], width: int) -> Table:
    for line, cell in last:
        if not cell:
            raise _error(f"第 {line} 行第 {width} 列（类别）是空的", f"line {line}, column {width} (the class) is empty")
    known = sorted({cell for _, cell in last})
    if not 2 <= len(known) <= MAX_CLASSES:
        raise _error(
            f"最后一列有 {len(known)} 种取值，应为 2 … {MAX_CLASSES} 个类别",
            f"the last column has {len(known)} different values; there should be 2 … {MAX_CLASSES} classes",
        )
    numbers = {name: float(i) for i, name in enumerate(known)}
    counts = [sum(cell == name for _, cell in last) for name in known]
    if min(counts) < _DIVISOR:
        rare = known[counts.index(min(counts))]
        raise _error(
            f"类别 {rare[:30]!r} 只有 {min(counts)} 行，每类至少 {_DIVISOR} 行",
            f"class {rare[:30]!r} has only {min(counts)} rows, each needs at least {_DIVISOR}",
        )
    return Table(features, [numbers[cell] for _, cell in last], names, known)


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """The number of each line that is not empty, and its cells."""
    text = text.removeprefix("\ufeff").replace("\x00", "\ufffd")
    first = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    try:
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise _error(f"第 {reader.line_num} 行无法解析：{error}", f"line {reader.line_num} cannot be parsed: {error}") from error


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _cell(cell: str, line: int, column: int, name: str) -> float:
    value = _number(cell)
    if value is None:
        shown = repr(cell.strip()[:30])
        raise _error(
            f"第 {line} 行第 {column + 1} 列（{name[:30]}）不是有限的数：{shown}",
            f"line {line}, column {column + 1} ({name[:30]}) is not a finite number: {shown}",
        )
    return value


def _error(zh: str, en: str) -> ParameterError:
    return ParameterError(Text(zh, en))
