"""Progress bars for long work: shown when asked for, silent otherwise, always on standard error."""

from typing import Any

from tqdm import tqdm


def bar(what: str, *, show: bool, total: int | None = None, unit: str = "it", done: int = 0) -> "tqdm[Any]":
    """A progress bar named `what` for `total` units of work, `done` of which are behind us.

    Use it as a context manager and call `update(n)`; with `show=False` it does nothing.
    """
    return tqdm(desc=what, total=total, unit=unit, initial=done, disable=not show, dynamic_ncols=True)
