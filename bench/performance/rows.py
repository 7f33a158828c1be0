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
    ours: Side
    reference: Side
    things: str = ""
    """What is counted; empty: seconds are shown, not things a second."""
    goal: float | None = None
    """How many times faster than the reference it is to be; None: there is no such goal."""
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
    ours: Mapping[str, Any]
    reference: Mapping[str, Any]
    goal: float | None
    missed: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return rate(self.ours) / rate(self.reference)

    @property
    def near(self) -> float | None:
        """Ours as a share of what the limit allows."""
        ideal = self.ours.get("ideal")
        return None if ideal is None else ideal / self.ours["seconds"]

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
        reference, ours = (_alone(name, side, folder, size, threads) for side in ("reference", "ours"))
    missed = [f"{what} {ours[what]:.3g} > {most:g}" for what, most in row.at_most.items() if ours[what] > most]
    found = Result(name, size, ours, reference, row.goal, ())
    if row.goal and found.ratio < row.goal:
        missed.insert(0, f"{found.ratio:.1f}× < {row.goal:g}×")
    return Result(name, size, ours, reference, row.goal, tuple(missed))


def _alone(name: str, side: str, folder: Path, size: str, threads: int) -> dict[str, Any]:
    """One side in a new process, so that neither its memory nor its caches are the other's."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    own |= {"OMP_NUM_THREADS": str(threads), "ITMA_CACHE": str(folder / f"cache of {side}")}
    words = [sys.executable, "-m", "bench.performance", "--side", side, "--rows", name, "--folder", str(folder)]
    done = subprocess.run([*words, "--size", size], env=own, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def seconds_of(call: Callable[[], object], *, turns: int = 3, warm: bool = True) -> float:
    """Seconds of the processor in the fastest of some calls, all threads of this process together.

    On one core they are those of the clock, less what others took of it meanwhile.
    """
    if warm:
        call()
    taken = []
    for _ in range(turns):
        begun = time.process_time()
        call()
        taken.append(time.process_time() - begun)
    return min(taken)


def peak_megabytes() -> float:
    """The most memory that this process has held, in MB."""
    used: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)
