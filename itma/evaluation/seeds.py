"""What several seeds say of one number: the mean, how far they lie apart, and an interval for the mean."""

import math
from collections.abc import Sequence

import numpy as np

from itma.records import Interval


def spread(values: Sequence[float]) -> tuple[float, Interval | None, tuple[float, ...]]:
    """The mean, its 95 % interval by Student's t (None for a single value), and the values.

    >>> spread([1.0, 2.0, 3.0])[1]
    Interval(low=-0.48..., high=4.48...)
    """
    mean = float(np.mean(values))
    deviation = deviation_of(values)
    if deviation is None:
        return mean, None, tuple(values)
    half = student(len(values) - 1) * deviation / math.sqrt(len(values))
    return mean, Interval(mean - half, mean + half), tuple(values)


def deviation_of(values: Sequence[float]) -> float | None:
    """The standard deviation of a sample (divided by one less than its size); None for a single value.

    >>> deviation_of([1.0, 2.0, 3.0])
    1.0
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def student(freedom: int, steps: int = 20_000) -> float:
    """The 97.5 % point of Student's t: its density over t = √freedom·tan(a) is cos(a)^(freedom - 1), summed up.

    With few seeds it is far from the normal 1.96. SciPy, which has it, would be its only use of 100 MB.

    >>> round(student(2), 3)
    4.303
    """
    angles = (np.arange(steps) + 0.5) * (math.pi / 2 / steps)
    mass = np.cumsum(np.cos(angles) ** (freedom - 1))
    angle = np.interp(0.95 * mass[-1], mass, angles + math.pi / 4 / steps)
    return math.sqrt(freedom) * math.tan(angle)
