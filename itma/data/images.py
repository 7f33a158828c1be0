"""Find, decode, orient, resize and normalise images: the one place that opens image files.

Pixels travel as uint8 tensors of shape (images, 3, height, width) in RGB until `Preprocess.normalise` turns a
batch into floats, so that an image in memory costs one byte per value.
"""

import errno
import io
import logging
import math
import os
import re
import stat
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError

from itma.data import image_limits as limits
from itma.data.colour import in_srgb
from itma.errors import ConfigError, DataError, ImageError

log = logging.getLogger(__name__)

Source = str | Path | bytes | Image.Image | np.ndarray | torch.Tensor
"""What an image may be given as: a path, the bytes of a file, or a Pillow image."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:|www\.", re.IGNORECASE)
NOT_REGULAR = "it is a pipe, a socket or a device, not a file"

MAX_PIXELS = 128_000_000
"""Larger images are refused before they are decoded: 128 million pixels take 384 MB as RGB."""

_BAND_PIXELS = 16_000_000
"""Images of more pixels become RGB in bands of a quarter of it: of small ones the copies matter to nobody."""

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF", "JPEG2000", "PPM")
"""Pillow's names of the formats that images are read in, wherever they come from. HEIF needs the extra `heif`."""

_HEIF_ENDINGS = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
_OTHER_IMAGES = frozenset(
    ".3fr .ai .arw .avif .cr2 .cr3 .dng .emf .eps .erf .exr .hdr .jxl .jxr .kdc .mrw .nef .nrw .orf .pef .psb .psd "
    ".raf .raw .rw2 .rwl .sr2 .srf .srw .svg .svgz .wdp .wmf .x3f .xcf".split()
)
"""Endings of images that Pillow does not know."""
_SYSTEM_FOLDERS = frozenset(
    {"#recycle", "#snapshot", "$recycle.bin", "recycler", "system volume information", "lost+found", "__macosx"}
)
"""Folders in which systems keep thumbnails and what was thrown away, in small letters."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what sets the image upright."""

_filters = threading.Lock()  # warning filters belong to the whole process: one thread at a time sets them


@dataclass(frozen=True)
class FolderContents:
    """What a folder holds: its images, and how many files and folders were left out, by reason."""

    images: Sequence[Path]
    """Sorted by the text of their paths, the same on every system."""
    left_out: Mapping[str, int]


def find_images(folder: str | Path) -> list[Path]:
    """All images under `folder`; see `list_folder`, with links out of the folder."""
    return list(list_folder(folder, allow_outside=True).images)


def list_folder(folder: str | Path, *, allow_outside: bool = False) -> FolderContents:
    """All files under `folder` (and its folders) whose names end like one of `FORMATS`, and what was left out.

    Left out are: hidden files and folders and those that systems keep for themselves (`@eaDir`, `$RECYCLE.BIN`, …),
    files that end otherwise, what is no regular file (pipes, sockets, devices), links to folders, links to files
    elsewhere, and folders that cannot be read, which the log names as well.

    Args:
        folder: where to look.
        allow_outside: take links to files outside the folder as well.

    Raises:
        DataError: the folder does not exist, is a file, cannot be read, or holds no image.
    """
    folder = Path(folder)
    if not folder.exists():
        raise DataError(f"the folder {str(folder)!r} does not exist; give a folder that holds images")
    if not folder.is_dir():
        raise DataError(f"{str(folder)!r} is a file; give the folder that holds the images")
    paths: list[Path] = []
    left_out: Counter[str] = Counter()
    endings, inside = image_endings(), os.path.realpath(folder)
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as listed:
                entries = list(listed)
        except OSError as error:
            if current == folder:
                raise DataError(f"the folder {str(folder)!r} cannot be read: {error.strerror}") from error
            log.warning("%r cannot be read (%s); images in it are left out", str(current), error.strerror)
            left_out["folders that cannot be read"] += 1
            continue
        for entry in entries:
            reason = _why_not(entry, endings, None if allow_outside else inside)
            if reason:
                left_out[reason] += 1
            elif entry.is_dir():
                waiting.append(current / entry.name)
            else:
                paths.append(current / entry.name)
    if not paths:
        counted = f"; left out: {list_counts(left_out)}" if left_out else ""
        raise DataError(
            f"the folder {str(folder)!r} holds no images; expected files ending in .jpg, .png, .webp or another of "
            f"{formats_shown()}, in it or in its sub-folders{counted}"
        )
    return FolderContents(sorted(paths, key=lambda path: path.relative_to(folder).as_posix()), dict(left_out))


def list_counts(counts: Mapping[str, int]) -> str:
    """Counts by reason as a message has them, the largest first."""
    return ", ".join(f"{number:,} {what}" for what, number in sorted(counts.items(), key=lambda each: -each[1]))


def _why_not(entry: os.DirEntry[str], endings: Container[str], inside: str | None) -> str:
    """Why an entry of a folder is left out; empty where it is an image, or a folder to look into.

    Args:
        entry: a file, a folder, or anything else.
        endings: of images.
        inside: the folder that links may not leave; None: they may.
    """
    name = entry.name
    system = name.startswith((".", "@eaDir")) or name.lower() in _SYSTEM_FOLDERS
    try:
        if entry.is_dir():
            if system:
                return "hidden or system folders"
            return "links to folders" if entry.is_symlink() else ""
        ending = Path(name).suffix.lower()
        if ending not in endings:
            if ending in _HEIF_ENDINGS:
                return f"{ending} files (to read them: pip install 'itma[heif]')"
            return f"{ending} files (images in a format that is not read)" if ending in _unread() else "other files"
        if name.startswith("."):
            return "hidden files"
        if entry.is_symlink() and not Path(entry.path).exists():
            return "links that lead nowhere"
        if not entry.is_file():
            return "pipes, sockets or devices"
        if inside is not None and entry.is_symlink() and not is_inside(entry.path, inside):
            return "links that lead out of the folder (to take them: --allow-outside)"
    except OSError:
        return "files that cannot be looked at"
    return ""


def is_inside(path: str | Path, folder: str | Path) -> bool:
    """Whether a path, its links followed, lies in a folder; the folder's own links have been followed already."""
    return Path(os.path.realpath(path)).is_relative_to(folder)


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that images are read in: those of `FORMATS` that this machine can read."""
    with suppress(ImportError):
        import pillow_heif  # type: ignore[import-untyped, unused-ignore]

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def formats_shown() -> str:
    """The formats that images are read in, as people call them."""
    called = {"WEBP": "WebP", "HEIF": "HEIC", "JPEG2000": "JPEG 2000", "MPO": ""}
    return ", ".join(filter(None, (called.get(name, name) for name in formats())))


@cache
def image_endings() -> frozenset[str]:
    """Endings of files in the formats that images are read in, in small letters, with their dots."""
    readable = formats()
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in readable)


@cache
def _unread() -> frozenset[str]:
    """Endings of images in formats that are not read."""
    formats()
    return frozenset(Image.registered_extensions()) | _OTHER_IMAGES


def open_image(source: Source, *, at_least: tuple[int, int] | None = None) -> Image.Image:
    """Decode one image as an upright RGB image.

    Colours are those of sRGB: an ICC profile is applied. The EXIF orientation is applied too; both are passed over
    where they are damaged. Transparent parts become white; of an animation the first frame is taken. A Pillow image
    is left as it is.

    Args:
        source: a path, the bytes of a file, a Pillow image, or one image as `as_pixels` takes it.
        at_least: (height, width) in pixels that are needed; a JPEG is then decoded at a reduced size that is no
            smaller than this, which is several times faster, and what has more than 16 million pixels is reduced to
            no less than twice of it.

    Raises:
        ImageError: the image is missing, empty, truncated, not an image, or larger than `MAX_PIXELS`.
        DataError: numbers that are no image, or more than one.
    """
    if isinstance(source, np.ndarray | torch.Tensor):
        pixels = as_pixels(source)
        if len(pixels) != 1:
            raise DataError(f"{len(pixels)} images were given where one is expected; give them one by one")
        source = to_image(pixels[0])
    elif not isinstance(source, str | Path | bytes | Image.Image):
        raise DataError(
            f"{source!r:.60} is no image; expected a path, the bytes of a file, a Pillow image, or an array or tensor"
        )
    with _name_errors(_name(source), MAX_PIXELS):
        if not isinstance(source, Image.Image):
            return _decode(source, MAX_PIXELS, at_least)
        limits.check_image(source, MAX_PIXELS)  # it belongs to the caller: neither closed nor read at a reduced size
        return _upright_rgb(source, at_least)


def open_upload(data: bytes, *, pixels: int, at_least: tuple[int, int] | None = None) -> Image.Image:
    """Decode an image that came from a stranger: as `open_image`, but with a limit of its own.

    Args:
        data: the bytes of the file.
        pixels: more than so many are refused before anything is decoded.
        at_least: see `open_image`.

    Raises:
        ImageError: it is empty, damaged, too large, or in none of `FORMATS`.
    """
    name = _name(data)
    with _name_errors(name, pixels):
        try:
            return _decode(data, pixels, at_least)
        except UnidentifiedImageError as error:
            what = "it is no image" if data else "it is empty"
            raise ImageError(name, f"{what}; send one of: {formats_shown()}") from error


def upload_format(data: bytes) -> str:
    """Pillow's name of the format of an image that `open_upload` has taken."""
    with _header_read(data) as image:
        return str(image.format)


def _decode(source: str | Path | bytes, pixels: int, at_least: tuple[int, int] | None) -> Image.Image:
    with _header_read(source, pixels) as image:
        limits.check_image(image, pixels)
        if at_least is not None:
            side = max(at_least)  # the image may still be turned by its EXIF orientation
            image.draft("RGB", (side, side))
        return _upright_rgb(image, at_least)


@contextmanager
def _name_errors(name: str, pixels: int) -> Iterator[None]:
    """Whatever goes wrong with one image becomes an error that names it."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:  # on damaged files Pillow's decoders raise nearly everything there is
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            raise ImageError(name[:60] + "…", "the name is too long for a file") from error
        unread = f"not an image in a format that is read ({formats_shown()}), or damaged, or empty"
        reasons: tuple[tuple[type[Exception], str], ...] = (
            (FileNotFoundError, _why_absent(name)),
            (IsADirectoryError, "this is a folder, not a file"),
            (PermissionError, "there is no permission to read it"),
            (UnidentifiedImageError, unread),
            (Image.DecompressionBombError, f"over the limit of {pixels:,} pixels; scale it down first"),
            (limits.LimitError, str(error)),
            (Exception, f"damaged or truncated ({error})"),
        )
        raise ImageError(name, next(why for kind, why in reasons if isinstance(error, kind))) from error


def _why_absent(name: str) -> str:
    """What else than a file's name it may be."""
    if _ADDRESS.match(name):
        return "the file does not exist; that is an address: download the image and name the file"
    sentence = " " in name and not Path(name).suffix and "/" not in name
    return "the file does not exist" + ("; a sentence goes into the text (--text)" if sentence else "")


def image_size(source: str | Path | bytes) -> tuple[int, int]:
    """Width and height in pixels, as stored, from the header alone; what follows it may be damaged.

    Raises:
        ImageError: there is no file, or its header is that of no image.
    """
    try:
        with _header_read(source) as image:
            return image.size
    except Exception as error:  # as in `open_image`
        raise ImageError(_name(source), f"not an image, or damaged ({error})") from error


def _name(source: Source) -> str:
    if isinstance(source, bytes):
        return f"<{len(source):,} bytes>"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "")) or f"<image of {source.width:,}×{source.height:,} pixels>"
    if isinstance(source, np.ndarray | torch.Tensor):
        return f"<array of the shape {tuple(source.shape)}>"
    return str(source)


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow warns of large images, for which there is a limit here, and of damaged metadata, which nobody needs."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _header_read(source: str | Path | bytes, pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """An image whose header is read and within the limits, and whose pixels are not read yet."""
    with io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as file:
        limits.check_file(file, pixels)
        with _quiet():
            image = Image.open(file, formats=formats())
        with image:
            yield image


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file for reading; never waits for a pipe, and never reads from a device.

    Raises:
        ImageError: it is a pipe, a socket or a device.
        OSError: it cannot be opened.
    """
    if stat.S_ISDIR(mode := Path(path).stat().st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise ImageError(str(path), NOT_REGULAR)
    # What was a file a moment ago may be a pipe by now: opening it must not wait.
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))


def _upright_rgb(image: Image.Image, at_least: tuple[int, int] | None = None) -> Image.Image:
    if image.format == "TIFF":
        _orientation(image)  # Pillow keeps what is read here; it would read it while decoding, with warnings
    image.load()
    turn = _UPRIGHT.get(_orientation(image))
    if image.width * image.height > _BAND_PIXELS:
        rgb = _rgb_in_bands(image, min(image.size) // (2 * max(at_least)) if at_least else 1)
    else:
        rgb = _to_srgb(image, _brightest(image))
    if turn is not None:
        rgb = rgb.transpose(turn)
    rgb.info = {}  # else the orientation would be applied again when the result is opened
    return rgb


def _rgb_in_bands(image: Image.Image, factor: int) -> Image.Image:
    """A new RGB image, made band by band: a conversion takes several copies, each as large as the image.

    Args:
        image: decoded.
        factor: the result has so many times fewer pixels along each side; from 2 on, for those who need a small one.
    """
    factor = max(1, factor)
    brightest = max(_brightest(band) for band in _bands(image, factor))
    rgb = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    top = 0
    for band in _bands(image, factor):
        part = _to_srgb(band, brightest).reduce(factor)
        rgb.paste(part, (0, top))
        top += part.height
    return rgb


def _bands(image: Image.Image, factor: int) -> Iterator[Image.Image]:
    """An image's rows, from the top, a multiple of `factor` in each band but the last."""
    rows = factor * max(1, _BAND_PIXELS // (4 * factor * image.width))
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _orientation(image: Image.Image) -> int:
    try:
        raw = image.info.get("Raw profile type exif", "")  # some programs write it so into a PNG, in digits
        exif = image.info.get("exif", b"") or bytes.fromhex("".join(raw.split("\n")[3:]))
        if not limits.is_plain_exif(exif):
            return 1
        with _quiet():
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged metadata, on which Pillow raises nearly everything, leave the pixels as they are
        return 1


def _to_srgb(image: Image.Image, top: float) -> Image.Image:
    """A new RGB image in sRGB, see `_rgb`; one of 16 bits and more has 8 before its profile is applied."""
    if top:
        profile = image.info.get("icc_profile")
        image = _rgb(image, top).convert("L")
        image.info = {"icc_profile": profile} if profile else {}
    return _rgb(in_srgb(image), 0.0)


def _brightest(image: Image.Image) -> float:
    """What is white: of images of 16 bits and more the largest number that they may hold, or do hold; of others 0."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return 0.0
    values = np.asarray(image)
    finite = float(values.max(initial=0, where=np.isfinite(values)))
    return max(65535.0 if image.mode.startswith("I") else 1.0, finite)


def _rgb(image: Image.Image, top: float) -> Image.Image:
    """A new RGB image; of one of 16 bits and more, `top` becomes white."""
    if top:  # 16 bits and more: Pillow's own conversion clips to white
        values = np.array(image, dtype=np.float32)
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


def to_image(pixels: torch.Tensor) -> Image.Image:
    """An RGB image from uint8 (3, height, width)."""
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())


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
    if isinstance(images, np.ndarray) and images.dtype.kind in "uifb":
        images = torch.from_numpy(np.array(images))  # a copy: torch wants to be able to write
    if not isinstance(images, torch.Tensor):
        what = f"an array of {images.dtype}" if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(f"{what} is no image; expected a Pillow image, an array of numpy or a tensor of torch")
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
    numbers = pixels if pixels.is_floating_point() else pixels.double()  # not all whole numbers can be compared
    low, high = (numbers.min().item(), numbers.max().item()) if pixels.numel() else (0.0, 0.0)
    if not pixels.is_floating_point() or not (low >= 0 and high <= 1):
        raise DataError(
            f"images of the type {pixels.dtype} with values from {low:g} to {high:g} were given; expected uint8 from 0 "
            "to 255, or floats from 0 to 1; the model does its own normalising"
        )
    return (pixels * 255).round().to(torch.uint8)


@dataclass(frozen=True)
class Preprocess:
    """How images of any size become the network's input; stored with the model.

    >>> Preprocess(height=64, width=96).fit_pixels(torch.zeros(1, 3, 10, 10, dtype=torch.uint8)).shape
    torch.Size([1, 3, 64, 96])
    """

    height: int = 64
    """Height of the network's input in pixels."""
    width: int = 96
    """Width of the network's input in pixels."""
    fit: Literal["pad", "crop", "stretch"] = "pad"
    """What becomes of another aspect: `pad` keeps all of the image on a grey ground, `crop` cuts the longer side
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

    def fit_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Resize uint8 images (images, 3, h, w) to (images, 3, height, width), antialiased."""
        h, w = pixels.shape[-2:]
        if (h, w) == (self.height, self.width):
            return pixels
        if self.fit == "stretch":
            return _resize(pixels, self.height, self.width)
        if self.fit == "crop":  # cut first: a long strip, enlarged, might not fit into memory
            ratio = max(self.height / h, self.width / w)
            cut_h, cut_w = min(h, max(1, round(self.height / ratio))), min(w, max(1, round(self.width / ratio)))
            top, left = (h - cut_h) // 2, (w - cut_w) // 2
            return _resize(pixels[..., top : top + cut_h, left : left + cut_w], self.height, self.width)
        ratio = min(self.height / h, self.width / w)
        new_h, new_w = max(1, round(h * ratio)), max(1, round(w * ratio))
        resized = _resize(pixels, new_h, new_w)
        top, left = (self.height - new_h) // 2, (self.width - new_w) // 2
        grey = torch.tensor([round(255 * value) for value in self.mean], dtype=torch.uint8, device=pixels.device)
        ground = grey[:, None, None].repeat(len(pixels), 1, self.height, self.width)
        ground[..., top : top + new_h, left : left + new_w] = resized
        return ground

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (images, 3, h, w) → float32 of the same shape, minus `mean`, divided by `std`, channels last."""
        scale = torch.tensor([1 / (255 * s) for s in self.std])
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)])
        scale, shift = (each.to(pixels.device, non_blocking=True)[:, None, None] for each in (scale, shift))
        batch = pixels.to(torch.float32).mul_(scale).add_(shift)
        return batch.contiguous(memory_format=torch.channels_last)

    def read(self, source: Source) -> torch.Tensor:
        """Decode one image and fit it: uint8 (3, height, width).

        Raises:
            ImageError: see `open_image`.
        """
        # Twice what is needed, as in Pillow's thumbnails: a JPEG reduced further differs visibly from the whole.
        image = open_image(source, at_least=(2 * self.height, 2 * self.width))
        return self.fit_pixels(to_pixels(image)[None])[0]


def _resize(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    if 1 in (width, pixels.shape[-1]):  # of one column, PyTorch may mistake the layout: other colours, or an error
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    return torch.nn.functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)


def list_names(folder: Path) -> frozenset[str]:
    """The names in a folder, at one go; none where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries)
    except (OSError, ValueError):  # the latter where a name holds a zero byte
        return frozenset()


def load_each(
    read: Callable[[int], torch.Tensor], indices: Sequence[int] | np.ndarray, preprocess: Preprocess
) -> torch.Tensor:
    """Images that are read one by one, in parallel, as `Images.load` gives them.

    Raises:
        ImageError: the first image that cannot be read, by name.
    """
    if not len(indices):
        return torch.zeros((0, 3, preprocess.height, preprocess.width), dtype=torch.uint8)
    with ThreadPoolExecutor(max_workers=min(len(indices), os.cpu_count() or 1)) as pool:
        return torch.stack(list(pool.map(read, indices)))


class Images(Protocol):
    """A numbered collection of images that can be loaded in batches."""

    @property
    def names(self) -> Sequence[str]:
        """One name for each image: its id."""

    def load(self, indices: Sequence[int] | np.ndarray, preprocess: Preprocess) -> torch.Tensor:
        """Images `indices` as uint8 (len(indices), 3, preprocess.height, preprocess.width)."""

    def missing(self) -> np.ndarray:
        """(images,) bool: which images are not there."""


@dataclass(frozen=True)
class MemoryImages:
    """Images that are held in memory as one uint8 tensor (images, 3, height, width)."""

    names: Sequence[str]
    pixels: torch.Tensor

    def __post_init__(self) -> None:
        if len(self.names) != len(self.pixels):
            raise DataError(f"{len(self.names)} names were given for {len(self.pixels)} images")

    def load(self, indices: Sequence[int] | np.ndarray, preprocess: Preprocess) -> torch.Tensor:
        """See `Images.load`."""
        return preprocess.fit_pixels(self.pixels[torch.as_tensor(indices, dtype=torch.long)])

    def missing(self) -> np.ndarray:
        """See `Images.missing`: none."""
        return np.zeros(len(self.names), dtype=bool)


@dataclass(frozen=True)
class FileImages:
    """Images that are decoded from their files each time they are asked for, in parallel."""

    names: Sequence[str]
    paths: Sequence[Path]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.paths):
            raise DataError(f"{len(self.names)} names were given for {len(self.paths)} image files")

    def missing(self) -> np.ndarray:
        """See `Images.missing`: those whose files are not there."""
        inside = cache(list_names)  # one look into each folder instead of one for each image
        return np.array([path.name not in inside(path.parent) for path in self.paths], dtype=bool)

    def load(self, indices: Sequence[int] | np.ndarray, preprocess: Preprocess) -> torch.Tensor:
        """See `Images.load`.

        Raises:
            ImageError: the first image that cannot be read, by name.
        """
        return load_each(lambda index: preprocess.read(self.paths[index]), indices, preprocess)
