"""Results that several runs of one process share: data that were loaded, maps of frozen levels."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

_T = TypeVar("_T")
_RESULTS: ContextVar[dict[str, tuple[Hashable, Any]] | None] = ContextVar("_RESULTS", default=None)


@contextmanager
def share_results() -> Iterator[None]:
    """While this is open, `share` keeps the last result of each name; for many runs on the same data."""
    token = _RESULTS.set({})
    try:
        yield
    finally:
        _RESULTS.reset(token)


def share(name: str, key: Callable[[], Hashable], make: Callable[[], _T]) -> _T:
    """What `make` makes; inside `share_results` the last one of that name, where the key is the same.

    Args:
        name: of the result; one of each is kept.
        key: gives all that the result depends on; only called inside `share_results`.
        make: makes the result.

    >>> with share_results():
    ...     first, second = (share("rows", lambda: "a", list) for _ in range(2))
    >>> first is second
    True
    """
    results = _RESULTS.get()
    if results is None:
        return make()
    current = key()
    if name not in results or results[name][0] != current:
        results.pop(name, None)  # the old one goes before the new one takes its room
        results[name] = current, make()
    result: _T = results[name][1]
    return result
