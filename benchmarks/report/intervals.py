"""How sure a mean over seeds is: Student's 95 % interval, from three seeds on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

ENOUGH = 3  # of two seeds the interval is nine deviations wide to each side and tells nothing
WORDS = (
    "Bands and bars are Student's 95 % interval of the mean over seeds, from three seeds on; of two seeds they span "
    "both; one seed has none."
)


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean, n - 1 degrees of freedom; None for fewer than three values."""
    if len(values) < ENOUGH:
        return None
    low, high = _student(np.asarray(values, dtype=float))
    return float(low), float(high)


def band(values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Of (seeds, ...) values the lower and upper ends to draw: the interval, of two seeds both, of one None."""
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return None
    return _student(array) if len(array) >= ENOUGH else (array.min(0), array.max(0))


def _student(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean, error = values.mean(0), values.std(0, ddof=1) / len(values) ** 0.5
    from scipy import stats  # a second of imports, for an interval alone

    half = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return mean - half, mean + half


def accuracy_text(values: Sequence[float]) -> str:
    """An interval of percentages within their scale, for instance 57.0 to 98.7; a dash for fewer than three values."""
    found = interval(values)
    return "-" if found is None else f"{max(0.0, found[0]):.1f} to {min(100.0, found[1]):.1f}"
