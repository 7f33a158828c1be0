"""What a row of the table is, and how its two sides are measured: each in its own process, on the same data."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SIZES = ("full", "quick", "tiny")
"""That of the table; that of `make bench-quick`; that of the tests, which says nothing about speed."""

Side = Callable[[Path, str], dict[str, Any]]
"""A folder and a size → `seconds` for `count` things; `ideal`, the seconds that the limit allows, and `limit`, what it
is; and whatever else is worth a note. Seconds are those of the processor."""


@dataclass(frozen=True)
class Row:
    """One stage, measured on two sides."""

    about: str
    against: str
    itma: Side
    other: Side
    things: str = ""
    """What is counted; empty: seconds are shown, not things a second."""
    goal: float | None = None
    """How many times faster than the other side it is to be; None: there is no such goal."""
    at_most: Mapping[str, float] = field(default_factory=dict)
    """Further goals: a number of our side and what it must not exceed."""
    prepare: Callable[[Path, str], None] = lambda folder, size: None
    """Writes what both sides read."""
    quick: bool = True
    """Whether `make bench-quick` measures it."""
    smaller: str = ""
    """What is smaller where the size is `quick`."""


@dataclass(frozen=True)
class Result:
    """A row as it was measured."""

    name: str
    size: str
    itma: Mapping[str, Any]
    other: Mapping[str, Any]
    goal: float | None
    missed: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """How many times faster itma is."""
        return rate(self.itma) / rate(self.other)

    @property
    def near(self) -> float | None:
        """Ours as a share of what the limit allows."""
        ideal = self.itma.get("ideal")
        return None if ideal is None else ideal / self.itma["seconds"]

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**vars(self), "ratio": self.ratio, "near": self.near}


def rate(side: Mapping[str, Any]) -> float:
    """Things a second."""
    return float(side["count"] / side["seconds"])


def measure(name: str, row: Row, *, size: str = "full", threads: int = 1) -> Result:
    """Both sides of a row, one after the other."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        row.prepare(folder, size)
        other, itma = (_alone(name, side, folder, size, threads) for side in ("other", "itma"))
    missed = [f"{what} {itma[what]:.3g} > {most:g}" for what, most in row.at_most.items() if itma[what] > most]
    result = Result(name, size, itma, other, row.goal, ())
    if row.goal and result.ratio < row.goal:
        missed.insert(0, f"{result.ratio:.1f}× < {row.goal:g}×")
    return Result(name, size, itma, other, row.goal, tuple(missed))


def _alone(name: str, side: str, folder: Path, size: str, threads: int) -> dict[str, Any]:
    """One side in a new process, so that neither its memory nor its caches are the other's."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    own |= {"OMP_NUM_THREADS": str(threads), "ITMA_CACHE": str(folder / f"cache of {side}")}
    words = [sys.executable, "-m", "bench.performance", "--side", side, "--rows", name, "--folder", str(folder)]
    done = subprocess.run([*words, "--size", size], env=own, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def seconds_of(call: Callable[[], object], *, turns: int = 3, warm: bool = True) -> float:
    """Seconds of the processor in the fastest of some calls, all threads of this process together.

    On one core they are those of the clock, less what others took of it meanwhile.
    """
    if warm:
        call()
    durations = []
    for _ in range(turns):
        begun = time.process_time()
        call()
        durations.append(time.process_time() - begun)
    return min(durations)


def peak_megabytes() -> float:
    """The most memory that this process has held, in MB."""
    used: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)
