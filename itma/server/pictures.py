"""Pictures that go out, made anew without what else stood in their files; and pictures that come in, checked first."""

import hashlib
import io
from pathlib import Path

import torch
from PIL import Image

from itma.data.images import Preprocess, open_picture, open_upload
from itma.errors import PictureError
from itma.server.config import FORMATS, ServeConfig
from itma.server.memory import Memory

SIZES = (96, 240, 480, 1600)
"""Longest side of a picture that goes out, in pixels; the largest is what `picture` gives."""
_ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "TIFF": "tif", "BMP": "bmp"}


class Thumbnails:
    """Small pictures, kept in memory.

    Args:
        size: bytes of memory.
    """

    def __init__(self, size: int) -> None:
        self._kept = Memory(size)

    def tag(self, path: str, size: int) -> str:
        """A sign of a picture's content at a size: another one when the file is another.

        Raises:
            PictureError: there is no such file.
        """
        try:
            seen = Path(path).stat()
        except OSError as error:
            raise PictureError(path, "the file does not exist") from error
        return hashlib.sha256(f"{path} {seen.st_mtime_ns} {seen.st_size} {size}".encode(errors="replace")).hexdigest()[
            :32
        ]

    def of(self, path: str, size: int) -> tuple[str, bytes]:
        """The tag and the JPEG of a picture whose longest side is at most `size`; nothing of its metadata is in it.

        Raises:
            PictureError: it cannot be read.
        """
        tag = self.tag(path, size)
        kept = self._kept.get(tag)
        if kept is None:
            image = open_picture(path, at_least=(size, size))
            image.thumbnail((size, size), Image.Resampling.BILINEAR if size <= 240 else Image.Resampling.LANCZOS)
            held = io.BytesIO()
            image.save(held, "JPEG", quality=85, optimize=False, exif=b"", icc_profile=None)
            kept = held.getvalue()
            self._kept.put(tag, kept)
        return tag, kept


def as_pixels(data: bytes, preprocess: Preprocess, config: ServeConfig) -> torch.Tensor:
    """A reference that came from a stranger, as the model takes it: uint8 (3, height, width).

    Raises:
        PictureError: see `open_upload`.
    """
    return preprocess.read(as_image(data, preprocess, config))


def as_image(data: bytes, preprocess: Preprocess, config: ServeConfig) -> Image.Image:
    """A picture that came from a stranger, decoded as far as the model needs it.

    Raises:
        PictureError: see `open_upload`.
    """
    need = (2 * preprocess.height, 2 * preprocess.width)
    return open_upload(data, formats=FORMATS, pixels=config.upload_pixels, at_least=need)


def checked(data: bytes, config: ServeConfig) -> str:
    """The ending of the file that a stranger's picture becomes; the picture was decoded to its end.

    Raises:
        PictureError: see `open_upload`.
    """
    open_upload(data, formats=FORMATS, pixels=config.upload_pixels)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return _ENDINGS[str(image.format)]


def no_picture(path: str) -> bool:
    """Whether an item's picture is not there."""
    return not path or not Path(path).is_file()
