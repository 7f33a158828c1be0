"""What is kept in memory so that it need not be made twice: the latest, up to so many bytes."""

import threading
from collections import OrderedDict
from collections.abc import Hashable


class Memory:
    """Bytes by key; those that were not asked for longest go first. Several threads may use it.

    >>> memory = Memory(10)
    >>> memory.put("a", b"12345")
    >>> memory.put("b", b"1234567")
    >>> memory.get("a") is None, memory.get("b")
    (True, b'1234567')

    Args:
        size: bytes in all; what is larger than a quarter of it, or of 1 MB, whichever is more, is not kept.
    """

    def __init__(self, size: int) -> None:
        self._size, self._used = size, 0
        self._values: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> bytes | None:
        """What is kept under this key."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: Hashable, value: bytes) -> None:
        """Keep this, and forget what is too much."""
        if len(value) > max(self._size // 4, min(self._size, 1_000_000)):
            return
        with self._lock:
            self._used += len(value) - len(self._values.pop(key, b""))
            self._values[key] = value
            while self._used > self._size:
                self._used -= len(self._values.popitem(last=False)[1])
