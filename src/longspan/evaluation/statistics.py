"""What a difference is worth: bootstrap intervals over the examples, and the effective window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
_AT_ONCE = 2**20


@dataclass(frozen=True)
class Interval:
    """A mean and where it would lie if other examples had been drawn.

    Attributes:
        mean: Over the examples.
        low: Lower end.
        high: Upper end.
        n: How many examples.
    """

    mean: float
    low: float
    high: float
    n: int


def interval(values: Sequence[float], level: float = 0.95, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of a mean (Efron 1979).

    Args:
        values: One for each example, or the differences of two systems on each (a paired bootstrap).
        level: Share of the draws inside.
        seed: Same seed, same interval.
    """
    array = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    # In slices: draws x examples at once could be gigabytes, draw by draw is ten times slower.
    slices = np.array_split(np.arange(DRAWS), max(1, DRAWS * len(array) // _AT_ONCE))
    means = np.concatenate([array[rng.integers(0, len(array), (len(s), len(array)))].mean(axis=1) for s in slices])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(array.mean()), float(low), float(high), len(array))


def paired(ours: Sequence[float], theirs: Sequence[float], level: float = 0.95, seed: int = 0) -> Interval:
    """Interval of the mean difference of two systems on the same examples, ours minus theirs.

    Raises:
        ValueError: They are not on the same number of examples.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} values are not of the same examples.")
    return interval(np.subtract(ours, theirs).tolist(), level, seed)


def macro(differences: Sequence[Sequence[float]], level: float = 0.95, seed: int = 0) -> Interval:
    """Interval of the mean over sets of the mean difference on each, every set resampled by itself.

    Args:
        differences: For each set the differences of two systems on its examples.
        level: Share of the draws inside.
        seed: Same seed, same interval.
    """
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(one, dtype=np.float64) for one in differences]
    draws = [[one[rng.integers(0, len(one), len(one))].mean() for _ in range(DRAWS)] for one in arrays]
    low, high = np.quantile(np.mean(draws, axis=0), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean([one.mean() for one in arrays])), float(low), float(high), sum(map(len, arrays)))


def effective_window(values: Mapping[int, float], threshold: float = 0.85) -> int | None:
    """The longest length up to which the score stays at ``threshold`` of that of the shortest length or above.

    As RULER's effective length (Hsieh et al. 2024), with the model's own short score in the place of a fixed one.

    Args:
        values: Length [tokens] to score; higher is better.
        threshold: Share of the score at the shortest length [0..1].

    Returns:
        Tokens; None where there is nothing to compare, or the shortest length scores nothing.
    """
    lengths = sorted(values)
    if len(lengths) < 2 or values[lengths[0]] <= 0:
        return None
    needed = threshold * values[lengths[0]]
    reached = lengths[0]
    for length in lengths[1:]:
        if values[length] < needed:
            break
        reached = length
    return reached
