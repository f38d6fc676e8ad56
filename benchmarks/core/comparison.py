"""A measured number beside its baseline, and what it aims at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Interval = tuple[float, float]

_ROUNDING = 1e-9  # relative: means of the same numbers in another order differ by less


@dataclass(frozen=True)
class Aim:
    """A limit on the result itself, or on result / baseline."""

    of: Literal["result", "ratio"]
    sense: Literal["≤", "≥"]
    limit: float

    def __str__(self) -> str:
        return f"{self.sense} {self.limit:g}" + (" × baseline" if self.of == "ratio" else "")

    def met(self, row: Row) -> bool | None:
        """Whether the row keeps to the limit; None if there is nothing to compare."""
        value = row.result if self.of == "result" else row.ratio
        if value is None or math.isnan(value):
            return None
        if math.isclose(value, self.limit, rel_tol=_ROUNDING):
            return True
        return value <= self.limit if self.sense == "≤" else value >= self.limit


@dataclass(frozen=True)
class Row:
    """One line of a comparison. `interval` is the 95 % interval of the result, `baseline_is` says what the baseline is."""

    name: str
    result: float
    unit: str = ""
    baseline: float | None = None
    baseline_is: str = ""
    aim: Aim | None = None
    interval: Interval | None = None

    @property
    def ratio(self) -> float | None:
        """Result / baseline; None without a baseline to divide by."""
        return self.result / self.baseline if self.baseline else None

    def data(self) -> dict[str, Any]:
        """The row as JSON-ready data."""
        return {
            "name": self.name,
            "unit": self.unit,
            "result": self.result,
            "interval": self.interval,
            "baseline": self.baseline,
            "baseline_is": self.baseline_is,
            "ratio": self.ratio,
            "aim": str(self.aim) if self.aim else None,
            "met": self.aim.met(self) if self.aim else None,
        }


def data_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as JSON-ready data."""
    return [row.data() for row in rows]


def plain(value: Any) -> Any:
    """The value as strict JSON takes it: five significant digits, None for NaN and infinity, lists for tuples, numbers for NumPy's."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    unwrap: Callable[[], Any] | None = getattr(value, "item", None)
    if not isinstance(value, float) and unwrap is not None:
        return plain(unwrap())
    number = float(value)
    return float(f"{number:.5g}") if math.isfinite(number) else None
