"""Find, decode, orient, resize and normalise pictures: the one place that opens picture files.

Pixels travel as uint8 tensors of shape (pictures, 3, height, width) in RGB until `Preprocess.normalise` turns a
batch into floats, so that a picture in memory costs one byte per value.
"""

import io
import logging
import math
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError

from itma.data.colour import in_srgb
from itma.errors import ConfigError, DataError, PictureError

log = logging.getLogger(__name__)

Source = str | Path | bytes | Image.Image
"""What a picture may be given as: a path, the bytes of a file, or a Pillow image."""

MAX_PIXELS = 128_000_000
"""Larger pictures are refused before they are decoded: 128 million pixels take 384 MB as RGB."""

_NOT_OPENED = frozenset({"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5"})
"""Formats that Pillow hands to another program (EPS to Ghostscript) or knows by name only."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what sets the picture upright."""

_filters = threading.Lock()  # warning filters belong to the whole process: one thread at a time sets them


def find_pictures(folder: str | Path) -> list[Path]:
    """All files under `folder` (and its folders) whose names end like a format that Pillow reads, sorted by path.

    Hidden files and folders are passed over; links to folders are not followed; a folder inside that cannot be read
    is passed over with a warning in the log. Order is by path text, the same on every system.

    Raises:
        DataError: the folder does not exist, is a file, cannot be read, or holds no picture.
    """

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise DataError(f"the folder {str(folder)!r} cannot be read: {error.strerror}") from error
        log.warning("%r cannot be read (%s); pictures in it are left out", error.filename, error.strerror)

    folder = Path(folder)
    if not folder.exists():
        raise DataError(f"the folder {str(folder)!r} does not exist; give a folder that holds pictures")
    if not folder.is_dir():
        raise DataError(f"{str(folder)!r} is a file; give the folder that holds the pictures")
    found, endings = [], _endings()
    for place, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place) / name for name in files if not name.startswith(".") and Path(name).suffix.lower() in endings
        ]
    if not found:
        raise DataError(
            f"the folder {str(folder)!r} holds no pictures; expected files ending in .jpg, .png, .webp or another "
            "format that Pillow reads, in it or in its sub-folders"
        )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _formats() -> list[str]:
    """The formats that pictures are opened in, those of Pillow's plugins included."""
    Image.init()
    return [name for name in Image.ID if name not in _NOT_OPENED]


def _endings() -> set[str]:
    formats = _formats()
    return {ending for ending, name in Image.registered_extensions().items() if name in formats}


def open_picture(source: Source, *, at_least: tuple[int, int] | None = None) -> Image.Image:
    """Decode one picture as an upright RGB image.

    Colours are those of sRGB: an ICC profile is applied. The EXIF orientation is applied too; both are passed over
    where they are damaged. Transparent parts become white; of an animation the first frame is taken. A Pillow image
    is left as it is.

    Args:
        source: a path, the bytes of a file, or a Pillow image.
        at_least: (height, width) in pixels that are needed; a JPEG is then decoded at a reduced size that is no
            smaller than this, which is several times faster.

    Raises:
        PictureError: the picture is missing, empty, truncated, not a picture, or larger than `MAX_PIXELS`.
    """
    name = _name(source)
    try:
        # A Pillow image belongs to the caller: it is neither closed nor decoded at a reduced size.
        with nullcontext(source) if isinstance(source, Image.Image) else _header_read(source) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise PictureError(
                    name, f"{width:,}×{height:,} pixels is over the limit of {MAX_PIXELS:,}; scale it down first"
                )
            if not width * height:
                raise PictureError(name, f"{width}×{height} pixels: it is empty")
            if at_least is not None and image is not source:
                side = max(at_least)  # the picture may still be turned by its EXIF orientation
                image.draft("RGB", (side, side))
            return _upright_rgb(image)
    except FileNotFoundError as error:
        raise PictureError(name, "the file does not exist") from error
    except IsADirectoryError as error:
        raise PictureError(name, "this is a folder, not a file") from error
    except PermissionError as error:
        raise PictureError(name, "there is no permission to read it") from error
    except UnidentifiedImageError as error:
        raise PictureError(name, "not a picture in any format that Pillow reads, or empty") from error
    except Image.DecompressionBombError as error:
        raise PictureError(name, f"over the limit of {MAX_PIXELS:,} pixels; scale it down first") from error
    except PictureError:
        raise
    except Exception as error:  # on damaged files Pillow's decoders raise nearly everything there is
        raise PictureError(name, f"damaged or truncated ({error})") from error


def open_upload(
    data: bytes, *, formats: Sequence[str], pixels: int, at_least: tuple[int, int] | None = None
) -> Image.Image:
    """Decode a picture that came from a stranger: as `open_picture`, but narrower in what is taken.

    Args:
        data: the bytes of the file.
        formats: Pillow's names of the formats that are taken; what else the bytes may be is not tried.
        pixels: more than so many are refused before anything is decoded.
        at_least: see `open_picture`.

    Raises:
        PictureError: it is empty, damaged, too large, or in none of the formats.
    """
    name = _name(data)
    known = ", ".join(formats)
    try:
        with _quiet():
            image = Image.open(io.BytesIO(data), formats=list(formats))
    except UnidentifiedImageError as error:
        raise PictureError(name, f"{'it is no picture' if data else 'it is empty'}; send one of: {known}") from error
    except Image.DecompressionBombError as error:
        raise PictureError(name, f"it is over the limit of {pixels:,} pixels; scale it down first") from error
    except Exception as error:  # as in `open_picture`
        raise PictureError(name, f"damaged or truncated ({error})") from error
    with image:
        if image.width * image.height > pixels:
            size = f"{image.width:,}×{image.height:,} pixels is over the limit of {pixels:,}"
            raise PictureError(name, f"{size}; scale it down first")
        try:
            if at_least is not None:
                image.draft("RGB", (max(at_least), max(at_least)))
            return open_picture(image)
        except PictureError as error:
            raise PictureError(name, error.reason) from error


def picture_size(source: str | Path | bytes) -> tuple[int, int]:
    """Width and height in pixels, as stored, from the header alone; what follows it may be damaged.

    Raises:
        PictureError: there is no file, or its header is that of no picture.
    """
    try:
        with _header_read(source) as image:
            return image.size
    except Exception as error:  # as in `open_picture`
        raise PictureError(_name(source), f"not a picture, or damaged ({error})") from error


def _name(source: Source) -> str:
    if isinstance(source, bytes):
        return f"<{len(source):,} bytes>"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "")) or f"<image of {source.width:,}×{source.height:,} pixels>"
    return str(source)


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow warns of large pictures, for which there is a limit here, and of damaged metadata, which nobody needs."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _header_read(file: str | Path | bytes) -> Image.Image:
    with _quiet():
        return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=_formats())


def _upright_rgb(image: Image.Image) -> Image.Image:
    if image.format == "TIFF":
        _orientation(image)  # Pillow keeps what is read here; it would read it while decoding, with warnings
    image.load()
    turn = _UPRIGHT.get(_orientation(image))
    image = in_srgb(image)
    rgb = _rgb(image if turn is None else image.transpose(turn))
    rgb.info = {}  # else the orientation would be applied again when the result is opened
    return rgb


def _orientation(image: Image.Image) -> int:
    try:
        with _quiet():
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged metadata, on which Pillow raises nearly everything, leave the pixels as they are
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    """A new RGB image."""
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits and more: Pillow's own conversion clips to white
        values = np.array(image, dtype=np.float32)
        finite = float(values.max(initial=0.0, where=np.isfinite(values)))
        top = max(65535.0 if image.mode.startswith("I") else 1.0, finite)
        if "transparency" in image.info:
            values[values == image.info["transparency"]] = top
        values = np.nan_to_num(values, nan=0.0, posinf=top, neginf=0.0).clip(0, top)
        return Image.fromarray((values * (255.0 / top)).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def to_pixels(image: Image.Image) -> torch.Tensor:
    """An RGB image as a uint8 tensor of shape (3, height, width)."""
    return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1)


def as_pixels(images: object) -> torch.Tensor:
    """Images as people hold them → uint8 (images, 3, height, width).

    >>> as_pixels(np.zeros((48, 64, 3), dtype=np.uint8)).shape
    torch.Size([1, 3, 48, 64])

    Args:
        images: one image or several of one size: a Pillow image; an array of numpy or a tensor of torch, uint8 from 0
            to 255 or floats from 0 to 1, with the colours last or first; or a list of such. A path is opened by
            `Preprocess.read`.

    Raises:
        DataError: the shape or the values are none of these.
    """
    if isinstance(images, Image.Image):
        return to_pixels(_upright_rgb(images))[None]
    if isinstance(images, list | tuple):
        rows = [as_pixels(one) for one in images]
        sizes = sorted({f"{row.shape[-1]}×{row.shape[-2]}" for row in rows})
        if len(sizes) != 1:
            raise DataError(
                f"{len(rows)} images of the sizes {', '.join(sizes[:4]) or '(none)'} were given together; expected one "
                "size, or give them to encode, which fits each to the model"
            )
        return torch.cat(rows)
    if isinstance(images, np.ndarray) and images.dtype.kind in "uif":
        images = torch.from_numpy(np.ascontiguousarray(images))
    if not isinstance(images, torch.Tensor):
        raise DataError(
            f"{type(images).__name__} is no image; expected a Pillow image, an array of numpy or a tensor of torch"
        )
    pixels = images if images.dim() == 4 else images[None]
    if pixels.dim() == 4 and pixels.shape[1] != 3 and pixels.shape[3] == 3:
        pixels = pixels.permute(0, 3, 1, 2)
    if pixels.dim() != 4 or pixels.shape[1] != 3 or 0 in pixels.shape[2:]:
        raise DataError(
            f"images of the shape {tuple(images.shape)} were given; expected (images, 3, height, width) or (images, "
            "height, width, 3), or one image without the first axis"
        )
    if pixels.dtype == torch.uint8:
        return pixels
    low, high = (pixels.min().item(), pixels.max().item()) if pixels.numel() else (0.0, 0.0)
    if not pixels.is_floating_point() or not (low >= 0 and high <= 1):
        raise DataError(
            f"images of the type {pixels.dtype} with values from {low:g} to {high:g} were given; expected uint8 from 0 "
            "to 255, or floats from 0 to 1: the model does its own normalising"
        )
    return (pixels * 255).round().to(torch.uint8)


@dataclass(frozen=True)
class Preprocess:
    """How pictures of any size become the network's input; stored with the model.

    >>> Preprocess(height=64, width=96).fitted(torch.zeros(1, 3, 10, 10, dtype=torch.uint8)).shape
    torch.Size([1, 3, 64, 96])
    """

    height: int = 64
    """Height of the network's input in pixels."""
    width: int = 96
    """Width of the network's input in pixels."""
    fit: Literal["pad", "crop", "stretch"] = "pad"
    """What becomes of another aspect: `pad` keeps all of the picture on a grey ground, `crop` cuts the longer side
    off evenly at both ends, `stretch` changes the aspect."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of each colour channel, of values from 0 to 1 (ImageNet's by default)."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviation of each colour channel, of values from 0 to 1."""

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ConfigError(f"height={self.height} and width={self.width} pixels are not possible; both must be ≥ 1")
        if self.fit not in ("pad", "crop", "stretch"):
            raise ConfigError(f"fit={self.fit!r} is not known; choose from: crop, pad, stretch")
        if len(self.mean) != 3 or not all(0 <= value <= 1 for value in self.mean):
            raise ConfigError(f"mean={self.mean} must be three values from 0 to 1")
        if len(self.std) != 3 or not all(0 < value < math.inf for value in self.std):
            raise ConfigError(f"std={self.std} must be three finite values above 0")

    def fitted(self, pixels: torch.Tensor) -> torch.Tensor:
        """Resize uint8 pictures (pictures, 3, h, w) to (pictures, 3, height, width), antialiased."""
        h, w = pixels.shape[-2:]
        if (h, w) == (self.height, self.width):
            return pixels
        if self.fit == "stretch":
            return _resized(pixels, self.height, self.width)
        if self.fit == "crop":  # cut first: a long strip, enlarged, might not fit into memory
            ratio = max(self.height / h, self.width / w)
            cut_h, cut_w = min(h, max(1, round(self.height / ratio))), min(w, max(1, round(self.width / ratio)))
            top, left = (h - cut_h) // 2, (w - cut_w) // 2
            return _resized(pixels[..., top : top + cut_h, left : left + cut_w], self.height, self.width)
        ratio = min(self.height / h, self.width / w)
        new_h, new_w = max(1, round(h * ratio)), max(1, round(w * ratio))
        resized = _resized(pixels, new_h, new_w)
        top, left = (self.height - new_h) // 2, (self.width - new_w) // 2
        grey = torch.tensor([round(255 * value) for value in self.mean], dtype=torch.uint8, device=pixels.device)
        ground = grey[:, None, None].repeat(len(pixels), 1, self.height, self.width)
        ground[..., top : top + new_h, left : left + new_w] = resized
        return ground

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (pictures, 3, h, w) → float32 of the same shape, minus `mean`, divided by `std`, channels last."""
        scale = torch.tensor([1 / (255 * s) for s in self.std], device=pixels.device)
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)], device=pixels.device)
        batch = pixels.to(torch.float32).mul_(scale[:, None, None]).add_(shift[:, None, None])
        return batch.contiguous(memory_format=torch.channels_last)

    def read(self, source: Source) -> torch.Tensor:
        """Decode one picture and fit it: uint8 (3, height, width).

        Raises:
            PictureError: see `open_picture`.
        """
        # Twice what is needed, as in Pillow's thumbnails: a JPEG reduced further differs visibly from the whole.
        image = open_picture(source, at_least=(2 * self.height, 2 * self.width))
        return self.fitted(to_pixels(image)[None])[0]


def _resized(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    if 1 in (width, pixels.shape[-1]):  # of one column, PyTorch may mistake the layout: other colours, or an error
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    return torch.nn.functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)


class Pictures(Protocol):
    """A numbered collection of pictures that can be loaded in batches."""

    @property
    def names(self) -> Sequence[str]:
        """One name for each picture: its id."""
        ...

    def load(self, indices: Sequence[int] | np.ndarray, preprocess: Preprocess) -> torch.Tensor:
        """Pictures `indices` as uint8 (len(indices), 3, preprocess.height, preprocess.width)."""
        ...

    def missing(self) -> np.ndarray:
        """(pictures,) bool: which pictures are not there."""
        ...


@dataclass(frozen=True)
class MemoryPictures:
    """Pictures that are held in memory as one uint8 tensor (pictures, 3, height, width)."""

    names: Sequence[str]
    pixels: torch.Tensor

    def __post_init__(self) -> None:
        if len(self.names) != len(self.pixels):
            raise DataError(f"{len(self.names)} names were given for {len(self.pixels)} pictures")

    def load(self, indices: Sequence[int] | np.ndarray, preprocess: Preprocess) -> torch.Tensor:
        """See `Pictures.load`."""
        return preprocess.fitted(self.pixels[torch.as_tensor(indices, dtype=torch.long)])

    def missing(self) -> np.ndarray:
        """See `Pictures.missing`: none."""
        return np.zeros(len(self.names), dtype=bool)


@dataclass(frozen=True)
class FilePictures:
    """Pictures that are decoded from their files each time they are asked for, in parallel."""

    names: Sequence[str]
    paths: Sequence[Path]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.paths):
            raise DataError(f"{len(self.names)} names were given for {len(self.paths)} picture files")

    def missing(self) -> np.ndarray:
        """See `Pictures.missing`: those whose files are not there."""
        listed: dict[Path, frozenset[str]] = {}
        absent = np.zeros(len(self.paths), dtype=bool)
        for index, path in enumerate(self.paths):
            if path.parent not in listed:  # one look into each folder instead of one for each picture
                try:
                    with os.scandir(path.parent) as entries:
                        listed[path.parent] = frozenset(entry.name for entry in entries)
                except (OSError, ValueError):  # the latter where a name holds a zero byte
                    listed[path.parent] = frozenset()
            absent[index] = path.name not in listed[path.parent]
        return absent

    def load(self, indices: Sequence[int] | np.ndarray, preprocess: Preprocess) -> torch.Tensor:
        """See `Pictures.load`.

        Raises:
            PictureError: the first picture that cannot be read, by name.
        """
        if not len(indices):
            return torch.zeros((0, 3, preprocess.height, preprocess.width), dtype=torch.uint8)
        with ThreadPoolExecutor(max_workers=min(len(indices), os.cpu_count() or 1)) as pool:
            return torch.stack(list(pool.map(lambda index: preprocess.read(self.paths[index]), indices)))
