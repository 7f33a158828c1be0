"""Images of strangers, decoded where it can be ended: each in a process of its own with limits of time and memory.

A small program imports what decoding needs and then makes a copy of itself (fork) for every image. Whatever an image
does to its copy, it ends with it: the memory it took is given back, and the kernel kills it when its time is over.
"""

import io
import json
import logging
import os
import shutil
import signal
import socket
import socketserver
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from itma.data.images import Preprocess, open_image, open_upload, upload_format
from itma.errors import ImageError, ItmaError

log = logging.getLogger(__name__)

_ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif", "HEIF": "heic", "JPEG2000": "jp2"}
"""Of formats whose files do not end in the format's own name."""
_START_SECONDS = 120.0
"""That the program may take until it listens, on a machine that is busy."""


class Decoder:
    """Decodes images of strangers. Several threads may use it; their images do not wait for one another.

    Where the system cannot make copies of a process (Windows), images are decoded in this one, without the limits.

    Args:
        pixels: larger uploads are refused before they are decoded.
        seconds: for each image; after that its process is killed.
        memory: bytes for each image; what needs more is refused.
    """

    def __init__(self, *, pixels: int, seconds: float, memory: int) -> None:
        self._settings = {"pixels": pixels, "seconds": seconds, "memory": memory}
        self._seconds = seconds

    def start(self) -> None:
        """Have everything ready, so that the first image does not wait for it; where that fails, images wait."""
        try:
            if hasattr(os, "fork"):
                _PROGRAM.connect().close()
        except ItmaError as error:
            log.warning("%s yet; images wait for it", error)

    def pixels(self, data: bytes, preprocess: Preprocess) -> torch.Tensor:
        """An upload as a model takes it: uint8 (3, height, width).

        Raises:
            ImageError: see `open_upload`; or it takes too long or too much memory.
        """
        answer, content = self._run({"do": "pixels", "preprocess": asdict(preprocess)}, data)
        return torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(answer["shape"])

    def image(self, data: bytes, preprocess: Preprocess) -> Image.Image:
        """An upload, decoded as far as a model needs it; errors as for `pixels`."""
        answer, content = self._run({"do": "image", "preprocess": asdict(preprocess)}, data)
        return Image.frombytes("RGB", (answer["width"], answer["height"]), content)

    def ending(self, data: bytes) -> str:
        """The ending of the file that an upload becomes, which was decoded to its end; errors as for `pixels`."""
        answer, _ = self._run({"do": "ending"}, data)
        return str(answer["ending"])

    def thumbnail(self, path: str, size: int) -> bytes:
        """A JPEG of an image whose longest side is at most `size`; nothing of the file's metadata is in it.

        Raises:
            ImageError: it cannot be read, or takes too long or too much memory.
        """
        _, content = self._run({"do": "thumbnail", "path": path, "size": size}, b"")
        return content

    def _run(self, job: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        whole = {**self._settings, **job}
        if not hasattr(os, "fork"):
            answer, content = work(whole, data)
        else:
            answer, content = _PROGRAM.ask(whole, data, self._seconds)
        if "reason" in answer:
            raise ImageError(job.get("path", ""), answer["reason"])
        return answer, content


def work(job: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """What a job gives: a description, and bytes; or the reason why the image cannot be read."""
    try:
        if job["do"] == "thumbnail":
            return {}, _thumbnail(str(job["path"]), int(job["size"]))
        if job["do"] == "ending":
            open_upload(data, pixels=job["pixels"])
            return {"ending": _ENDINGS.get(name := upload_format(data), name.lower())}, b""
        preprocess = Preprocess(**job["preprocess"])
        need = (2 * preprocess.height, 2 * preprocess.width)
        image = open_upload(data, pixels=job["pixels"], at_least=need)
        if job["do"] == "image":
            return {"width": image.width, "height": image.height}, image.tobytes()
        pixels = preprocess.read(image)
        return {"shape": list(pixels.shape)}, pixels.numpy().tobytes()
    except (ImageError, MemoryError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, MemoryError):
            cause = cause.__cause__
        if cause is not None or not isinstance(error, ImageError):
            return {"reason": "it takes too much memory to decode; scale it down first"}, b""
        return {"reason": error.reason}, b""


def _thumbnail(path: str, size: int) -> bytes:
    image = open_image(path, at_least=(size, size))
    image.thumbnail((size, size), Image.Resampling.BILINEAR if size <= 240 else Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85, optimize=False, exif=b"", icc_profile=None)
    return buffer.getvalue()


_FOLDER, _SOCKET = "itma-decoding-", "socket"
"""What the names of the folders with sockets begin with."""


def sweep() -> None:
    """Remove what servers that were killed left of their sockets: folders of this user in which nobody listens."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        with suppress(OSError):
            facts = folder.lstat()
            young = time.time() - facts.st_mtime < 2 * _START_SECONDS  # its program may be about to listen
            if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not young and not _listens(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _listens(folder: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(folder / _SOCKET))
        except OSError as error:  # others than these: it is busy, or cannot be seen into
            return not isinstance(error, FileNotFoundError | ConnectionRefusedError)
    return True


class _Program:
    """The program that decodes, one for all of this process; it starts with the first image and ends with us."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str]

    def start(self) -> str:
        """Where it listens; it is started where it does not run."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                sweep()
                self._folder = tempfile.TemporaryDirectory(prefix=_FOLDER, ignore_cleanup_errors=True)
                self._path = str(Path(self._folder.name) / _SOCKET)
                code = f"import sys; sys.path[:] = sys.argv.pop(1).split(chr(10)); from {__name__} import main; main()"
                self._process = subprocess.Popen(
                    [sys.executable, "-c", code, "\n".join(sys.path), self._path, str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                )
            return self._path

    def ask(self, job: Mapping[str, Any], data: bytes, seconds: float) -> tuple[dict[str, Any], bytes]:
        with self.connect() as connection, suppress(OSError, ValueError):  # nothing, or half a line: it was ended
            connection.settimeout(seconds + 5)  # the kernel ends the other side before
            with connection.makefile("rwb") as stream:
                stream.write(json.dumps({**job, "bytes": len(data)}).encode() + b"\n" + data)
                stream.flush()
                answer: dict[str, Any] = json.loads(stream.readline())
                content = stream.read()
            if "reason" in answer or answer.pop("size", -1) == len(content):
                return answer, content
        return {"reason": f"it takes more than {seconds:g} seconds, or too much memory, to decode"}, b""

    def connect(self) -> socket.socket:
        """A connection, after waiting for the program to listen."""
        end = time.monotonic() + _START_SECONDS
        while True:
            path = self.start()
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(path)
                return connection
            except OSError as error:
                connection.close()
                if time.monotonic() > end:
                    raise ItmaError("the program that decodes images does not start") from error
                time.sleep(0.02)


_PROGRAM = _Program()


def main() -> None:
    """Of the program: listen, and answer every connection from a copy of this process, until the server is gone."""
    path, parent = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C goes to the whole group; the server ends us when it ends
    torch.set_num_threads(1)
    Image.init()

    class Copies(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
        request_queue_size = 128
        max_children = 64
        block_on_close = False

        def service_actions(self) -> None:
            super().service_actions()
            if os.getppid() != parent:
                shutil.rmtree(Path(path).parent, ignore_errors=True)
                os._exit(0)

    with Copies(path, _Answering) as server:
        server.serve_forever(poll_interval=0.25)


class _Answering(socketserver.StreamRequestHandler):
    """One image, in a process of its own."""

    def handle(self) -> None:
        first = self.rfile.readline()
        if not first:  # somebody only looked whether we listen
            return
        job = json.loads(first)
        data = self.rfile.read(job["bytes"])
        limit(job["seconds"], job["memory"] + len(data))
        answer, content = work(job, data)
        self.wfile.write(json.dumps({**answer, "size": len(content)}).encode() + b"\n" + content)


def limit(seconds: float, memory: int) -> None:
    """Let this process live for so long, and take so many bytes beyond what it has."""
    import resource

    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process, whatever it does
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        have = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:"))
    except (OSError, StopIteration):  # not Linux, where this limit means nothing
        return
    resource.setrlimit(resource.RLIMIT_DATA, (have + memory, have + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
