"""Programs in new processes that need not import torch: each is forked from a process that did, once for all tests.

What is about the start of Python itself (what is imported, installed packages, options) belongs into `subprocess`; for
everything else this is a process as any other, with memory, open files and locks of its own.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(
    ["torch", "torch._dynamo", "itma.retrieval.catalogue", "itma.data.image_cache", "tests.forked"]
)


class Program:
    """A running Python program, in some parts as a `subprocess.Popen` of text.

    Args:
        code: the program.
        arguments: what follows the name in its `sys.argv`.
    """

    def __init__(self, code: str, *arguments: object) -> None:
        (reads, self._writing), (self._reading, writes) = (FORKING.Pipe(duplex=False) for _ in range(2))
        message = (code, [*map(str, arguments)], dict(os.environ), reads, writes)
        self._process = FORKING.Process(target=_run, args=message, daemon=True)
        self._process.start()
        reads.close()
        writes.close()
        self.stdin = open(os.dup(self._writing.fileno()), "w", encoding="utf-8")  # noqa: SIM115, PTH123
        self.stdout = open(os.dup(self._reading.fileno()), encoding="utf-8")  # noqa: SIM115, PTH123
        self._writing.close()
        self._reading.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: Any) -> None:
        self.wait()

    @property
    def runs(self) -> bool:
        """Whether it has not come to its end yet."""
        return self._process.is_alive()

    def kill(self) -> None:
        """End it at once, amid whatever it does."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Close what it reads, and return what it ended with: 0, or less or more where it was killed or failed."""
        self.stdin.close()
        self._process.join(60)
        self.stdout.close()
        assert self._process.exitcode is not None, "it did not end within a minute"
        return self._process.exitcode


def _run(
    code: str, arguments: list[str], environment: Mapping[str, str], reads: Connection, writes: Connection
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(reads.fileno(), 0)
    os.dup2(writes.fileno(), 1)
    reads.close()
    writes.close()
    sys.stdin, sys.stdout = open(0, encoding="utf-8"), open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<program>", "exec"), {"__name__": "__main__"})
    sys.stdout.flush()
