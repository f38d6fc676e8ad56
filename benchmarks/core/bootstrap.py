"""Bootstrap intervals (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

SAMPLES = 2000


def bootstrap_interval(
    statistic: Callable[..., float], *groups: Sequence[float] | np.ndarray, samples: int = SAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of `statistic(*groups)`: each group's values are drawn again with replacement, apart from the others.

    NaN without a value to draw from.
    """
    arrays = [np.asarray(group, dtype=float) for group in groups]
    if any(len(array) == 0 for array in arrays):
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    drawn = [statistic(*(array[generator.integers(0, len(array), len(array))] for array in arrays)) for _ in range(samples)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
