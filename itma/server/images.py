"""Images that go out, made anew without what else stood in their files."""

import hashlib
from pathlib import Path

from itma.errors import ImageError
from itma.server.decoding import Decoder
from itma.server.memory import Memory


class Thumbnails:
    """Small images, kept in memory.

    Args:
        size: bytes of memory.
        decoder: makes them.
    """

    def __init__(self, size: int, decoder: Decoder) -> None:
        self._cache, self._decoder = Memory(size), decoder

    def tag(self, path: str, size: int) -> str:
        """A sign of an image's content at a size: another one when the file is another.

        Raises:
            ImageError: there is no such file.
        """
        try:
            status = Path(path).stat()
        except OSError as error:
            raise ImageError(path, "the file does not exist") from error
        content = f"{path} {status.st_mtime_ns} {status.st_size} {size}"
        return hashlib.sha256(content.encode(errors="replace")).hexdigest()[:32]

    def of(self, path: str, size: int) -> tuple[str, bytes]:
        """The tag and the JPEG of an image whose longest side is at most `size`; nothing of its metadata is in it.

        Raises:
            ImageError: it cannot be read.
        """
        tag = self.tag(path, size)
        jpeg = self._cache.get(tag)
        if jpeg is None:
            jpeg = self._decoder.thumbnail(path, size)
            self._cache.put(tag, jpeg)
        return tag, jpeg
