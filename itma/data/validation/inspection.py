"""Image files looked at one by one, for what is wrong with them."""

import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from itma.data.images import image_size, open_image
from itma.errors import ImageError
from itma.io import file_sum
from itma.progress import bar


@dataclass(frozen=True)
class Inspected:
    """What is known of one file."""

    length: int
    """In bytes; below 0 where there is no file that could be opened."""
    problem: str | None
    """Why it cannot be used; None: it can."""
    width: int = 0
    """In pixels as stored, before any turning; 0 where it cannot be used."""
    height: int = 0
    sum: str | None = None
    """Of the content (SHA-256); None where no other file is of the same length, so that none can be alike."""


def inspect(paths: Sequence[Path], *, progress: bool = False) -> Mapping[Path, Inspected]:
    """Open every image to its end, in parallel.

    Args:
        paths: distinct.
        progress: show a progress bar.
    """
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        lengths = list(pool.map(_length, paths))
        common = Counter(lengths)
        look = partial(_inspect, twins=frozenset(length for length, files in common.items() if files > 1))
        by_path = {}
        with bar("images", show=progress and bool(paths), total=len(paths), unit=" images") as meter:
            for path, one in zip(paths, pool.map(look, paths, lengths), strict=True):
                by_path[path] = one
                meter.update()
        return by_path
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C the images that wait would still be opened


def _length(path: Path) -> int:
    """In bytes; below 0 where there is no file that could be opened."""
    try:
        status = path.stat()
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -2


def _inspect(path: Path, length: int, *, twins: frozenset[int]) -> Inspected:
    if length == 0:
        return Inspected(0, "the file is empty")
    if length == -2:
        return Inspected(length, "this is not a file")  # a pipe would keep its reader waiting forever
    try:
        open_image(path, at_least=(1, 1))  # a JPEG is read to its end even so, but unfolded into few pixels
        width, height = image_size(path)
        sum_ = file_sum(path) if length in twins else None
    except ImageError as error:
        return Inspected(length, error.reason)
    except OSError as error:
        return Inspected(length, str(error.strerror))
    return Inspected(length, None, width, height, sum_)
