"""Mean and spread over seeds. A spread is always the half-width of the 95 % confidence interval of the mean (Student's t)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import linear_regression

# Two-sided 95 % quantiles of Student's t for 1 … 30 degrees of freedom.
_T95 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip


def student_t95(degrees: int) -> float:
    """The two-sided 95 % quantile of Student's t, to 0.001."""
    if degrees < 1:
        raise ValueError(f"Student's t needs at least 1 degree of freedom, got {degrees}")
    if degrees <= len(_T95):
        return _T95[degrees - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and its spread. The spread is None where there is none to give: fewer than two values, or a value that is not finite.

    A mean over seeds of which one diverged is infinite; a NaN counts as diverged.
    """
    if not values:
        raise ValueError("no values to take the mean of")
    if not all(math.isfinite(value) for value in values):
        return math.inf, None
    if len(values) < 2:
        return values[0], None
    if min(values) == max(values):  # said apart, as rounding would leave a spread of 1e-16
        return values[0], 0.0
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, student_t95(len(values) - 1) * math.sqrt(variance / len(values))


def mean_and_band(runs: Sequence[Sequence[float]], *, log: bool = False) -> tuple[list[float], list[float], list[float]]:
    """Mean, low and high at each point of several runs (one per seed) of the same length, as a Line takes them.

    With `log`, mean and interval are those of the logarithms (for a log axis; the values must be positive).
    """
    means, lows, highs = [], [], []
    for column in zip(*runs, strict=True):
        values = [math.log(value) if value > 0 else math.nan for value in column] if log else column
        mean, spread = mean_and_spread(values)
        shown = math.exp if log else float
        means.append(shown(mean))
        lows.append(shown(mean - (spread or 0.0)))
        highs.append(shown(mean + (spread or 0.0)))
    return means, lows, highs


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, low and high: the mean over seeds and the ends of its 95 % confidence interval (all infinite if a value is not finite)."""
    mean, spread = mean_and_spread(values)
    return mean, mean - (spread or 0.0), mean + (spread or 0.0)


def ratio_interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of ratios (twice as fast and half as fast cancel), and the ends of its interval; all 0 if a ratio is 0 or below."""
    if min(ratios) <= 0:
        return 0.0, 0.0, 0.0
    (mean,), (low,), (high,) = mean_and_band([[ratio] for ratio in ratios], log=True)
    return mean, low, high


def share_interval(successes: int, count: int) -> tuple[float, float, float]:
    """A share (0 … 1) and the ends of its 95 % interval, Wilson's: unlike mean ± spread it keeps a width where all or none of `count` succeeded."""
    z = 1.959964
    share, scale = successes / count, 1 + z * z / count
    middle = (share + z * z / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return share, max(0.0, middle - half), min(1.0, middle + half)


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The exponent of a power law: the slope of log y over log x by least squares. All must be positive."""
    return linear_regression([math.log(value) for value in x], [math.log(value) for value in y]).slope


def thinned(count: int, points: int = 60) -> list[int]:
    """At most `points` whole numbers from 0 to count − 1, evenly spaced, both ends included: which points of a long curve to draw."""
    if count <= points:
        return list(range(count))
    return sorted({round(i * (count - 1) / (points - 1)) for i in range(points)})


def log_spaced(low: float, high: float, count: int) -> list[float]:
    """`count` numbers from `low` to `high`, each the same multiple of the one before."""
    return [low * (high / low) ** (i / (count - 1)) for i in range(count)] if count > 1 else [low]
