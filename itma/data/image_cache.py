"""Images decoded and resized once, then read from one memory-mapped file: a cache that may be removed at any time.

A cache is one file for one list of image files at one size: a header, a record for each image, the pixels. Its
name follows from the list and the size, so that different uses never meet. Several threads and processes may read and
write one cache at once, and any of them may die at any moment. No lock is needed for that:

- What stands at a place follows from the image file alone: two that decode the same file write the same bytes.
- A record holds the size and time of the image file and a sum of the pixels, and is written after them. What is read
  counts only if the record agrees with the file and the sum with the pixels read, at every reading. Whatever was torn
  (by a crash, a loss of power, a full disk, a second writer that saw a newer file) is decoded anew.
- A cache never shrinks and is never replaced under its name, so that nobody's memory map loses its ground.
"""

import hashlib
import io
import json
import logging
import os
import re
import shutil
import sys
import zlib
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from pathlib import Path

import numpy as np
import PIL.features
import torch

from itma.data import colour, images
from itma.data.images import FileImages, Images, Preprocess
from itma.errors import DataError, StorageError, UnknownNameError
from itma.io import parse_json
from itma.progress import bar

log = logging.getLogger(__name__)

LIMIT_BYTES = 20 * 1000**3
"""A cache that would be larger is not made, unless another limit is given."""
FREE_SHARE = 0.5
"""Nor one that would take more than this share of the disk space that is free without it."""

_FORMAT = 1
_HEADER_BYTES = 4096
_RECORD = np.dtype([("bytes", "<i8"), ("changed", "<i8"), ("recipe", "<u4"), ("sum", "<u4")])
"""Size and time (nanoseconds) of the image file, what decoded it, and the sum of all that and the pixels."""
_NAME = re.compile(r"[0-9a-f]{32}\.pixels")
_LOOKERS = 8
"""Threads that look at image files when a cache is opened: on a network disk each look takes a while."""
_FILL_IMAGES, _FILL_BYTES = 256, 2**26
"""What `fill` decodes at once, at most."""


def open_cache(
    images: Images, preprocess: Preprocess, *, folder: str | Path | None = None, limit_bytes: int = LIMIT_BYTES
) -> Images:
    """The same images, read from a cache where it fits and can be written; else as they are.

    Args:
        images: those that are not decoded from files come back as they are.
        preprocess: the size at which they are cached; at another they are decoded from their files.
        folder: where caches are kept; None: `default_folder()`.
        limit_bytes: the largest cache allowed; `FREE_SHARE` of the free disk space is another limit.

    Returns:
        A `CachedImages`, or `images`; the log says why there is no cache.
    """
    if not isinstance(images, FileImages):
        return images
    try:
        root = Path(folder or default_folder())
        layout = _Layout.of(images, preprocess)
        existing = _bytes_on_disk(root / layout.file_name)
        free = shutil.disk_usage(next(at for at in (root.absolute(), *root.absolute().parents) if at.exists())).free
        allowed = min(limit_bytes, int(FREE_SHARE * (free + existing)))
        if layout.total_bytes > allowed:
            size, limit = _readable(layout.total_bytes), _readable(allowed)
            reason = f"they would take {size} in {root}, and {limit} are allowed"
            log.info("%d images are not cached: %s", layout.images, reason)
            return images
        return CachedImages(images, preprocess, root)
    except OSError as error:
        log.warning("images are not cached but decoded each time (%s); ITMA_CACHE may name another folder", error)
        return images


class CachedImages:
    """Images that are decoded from their files on first use and read from a cache from then on.

    The image files are looked at when the cache is opened: one that has another size or time than when it was
    cached is decoded anew, one that is gone raises an error although it was cached. An image that cannot be read is
    never cached. When the cache cannot be written any more, images are decoded each time and the log says so once.

    Args:
        images: the image files.
        preprocess: the size at which they are cached; at another they are decoded from their files.
        folder: where caches are kept; on a disk of this machine, since network disks may show stale pages.

    Raises:
        OSError: the cache can neither be opened nor made.
    """

    def __init__(self, images: FileImages, preprocess: Preprocess, folder: str | Path) -> None:
        self.names: Sequence[str] = images.names
        self._files, self._preprocess, self._look = images, preprocess, _look(preprocess)
        self._layout = _Layout.of(images, preprocess)
        self.path = Path(folder).absolute() / self._layout.file_name
        _lay_out(self.path, self._layout)
        with suppress(OSError):  # the time of last use; a cache that is shared may be read-only
            os.utime(self.path)
        mapped = np.memmap(self.path, np.uint8, "r", shape=(self._layout.total_bytes,))
        self._records, self._pixels = self._layout.parts(np.asarray(mapped))
        self._writable = True
        with ThreadPoolExecutor(_LOOKERS) as pool:
            parts = pool.map(self._look_at, np.array_split(np.arange(len(self.names)), _LOOKERS))
            self._sources = np.concatenate(list(parts))

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        """Another process opens the cache for itself; copied would be all that is mapped."""
        return partial(open_cache, folder=self.path.parent, limit_bytes=sys.maxsize), (self._files, self._preprocess)

    def missing(self) -> np.ndarray:
        """(images,) bool: which files are not there."""
        return self._files.missing()

    def load(self, indices: Sequence[int] | np.ndarray, preprocess: Preprocess) -> torch.Tensor:
        """See `Images.load`.

        Raises:
            ImageError: an image that cannot be read, by name.
        """
        if _look(preprocess) != self._look:
            return self._files.load(indices, preprocess)
        numbers = np.asarray(indices, dtype=np.int64)
        records = self._records[numbers]  # copied before the pixels: an image rewritten in between fails its sum
        valid = self._agrees(records, numbers)
        pixels = np.empty((len(numbers), *self._pixels.shape[1:]), dtype=np.uint8)
        for index in np.flatnonzero(valid).tolist():
            pixels[index] = self._pixels[numbers[index]]
            valid[index] = _sum(records[index], pixels[index]) == records[index]["sum"]
        if not valid.all():
            pixels[~valid] = self._decode(numbers[~valid])
        return torch.from_numpy(pixels)

    def fill(self, *, progress: bool = False) -> None:
        """Decode and cache whatever is not cached yet; files that are not there are passed over.

        Args:
            progress: show a progress bar.

        Raises:
            ImageError: an image that is there and cannot be read, by name.
        """
        total = len(self.names)
        step = max(1, min(_FILL_IMAGES, _FILL_BYTES // self._pixels[:1].nbytes)) if total else 1
        # Each process goes its own way, else those that begin together would decode the same images.
        starts = np.random.default_rng().permutation(np.arange(0, total, step))
        with bar("caching images", show=progress, total=total, unit="image") as meter:
            for start in starts.tolist():
                some = np.arange(start, min(start + step, total))
                present = self._sources["bytes"][some] >= 0
                waiting = some[present & ~self._agrees(self._records[some], some)]
                if len(waiting):
                    self._decode(waiting)
                if not self._writable:
                    return
                meter.update(len(some))

    def _look_at(self, indices: np.ndarray) -> np.ndarray:
        """Records, without sums, of the image files as they are now; a size of -1 where there is none."""
        recipe = _recipe()
        records = [(*_size_and_time(self._files.paths[index]), recipe, 0) for index in indices.tolist()]
        return np.array(records, dtype=_RECORD)

    def _agrees(self, records: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Whether each record is of the image file as it is now, decoded as it would be now."""
        parts = ["bytes", "changed", "recipe"]
        return np.asarray(records[parts] == self._sources[indices][parts])

    def _decode(self, indices: np.ndarray) -> np.ndarray:
        """Images from their files, which are then cached: (images, 3, height, width) uint8."""
        distinct, inverse = np.unique(indices % len(self.names), return_inverse=True)
        before = self._look_at(distinct)
        pixels: np.ndarray = self._files.load(distinct, self._preprocess).numpy()
        steady = before == self._look_at(distinct)  # a file that changed meanwhile may have been read half
        self._write(distinct[steady], before[steady], pixels[steady])
        return pixels[inverse]

    def _write(self, indices: np.ndarray, records: np.ndarray, pixels: np.ndarray) -> None:
        if not self._writable:
            return
        self._sources[indices] = records
        for record, image in zip(records, pixels, strict=True):
            record["sum"] = _sum(record, image)
        try:
            # Written to the file, not to the map: on a full disk that is an error, not the end of the process. And
            # opened for each batch: processes that were forked would share the position of an open file.
            with self.path.open("r+b", buffering=0) as file:
                for index, image in zip(indices.tolist(), pixels, strict=True):
                    _put(file, self._layout.pixels_at(index), image.tobytes())
                for index, record in zip(indices.tolist(), records, strict=True):
                    _put(file, self._layout.record_at(index), record.tobytes())
        except OSError as error:
            self._writable = False
            message = "the image cache %s cannot be written any more (%s); what is not in it is decoded each time"
            log.warning(message, self.path, error.strerror or error)


@dataclass(frozen=True)
class Cache:
    """One cache on the disk."""

    path: Path
    about: str
    """Which images at which size, in words."""
    images: int
    cached: int
    """Images that are in it by now."""
    bytes_on_disk: int
    used: datetime
    """When it was last opened or written, in local time."""
    folder: str = ""
    """That all its images are in; empty where they are in several that have none in common."""

    @property
    def name(self) -> str:
        """What `remove` knows it by."""
        return self.path.stem

    def is_of(self, which: str | Path) -> bool:
        """Whether this is its name, or a folder that all its images are in, such as that of a data set."""
        return str(which) == self.name or bool(self.folder and Path(self.folder).is_relative_to(Path(which).absolute()))

    def __str__(self) -> str:
        return (
            f"{self.name}  {_readable(self.bytes_on_disk)}  last used {self.used:%Y-%m-%d %H:%M}  "
            f"{self.cached:,} of {self.images:,} images  {self.about}"
        )


def default_folder() -> Path:
    """`$ITMA_CACHE`, or `itma` in `$XDG_CACHE_HOME` or in the system's own folder for caches.

    Raises:
        StorageError: there is neither such a variable nor a home folder.
    """
    if named := os.environ.get("ITMA_CACHE"):
        return Path(named)
    shared = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if shared.is_absolute():
        return shared / "itma"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise StorageError("there is no home folder to keep caches in; name a folder in ITMA_CACHE") from error
    usual = {"darwin": home / "Library" / "Caches", "win32": home / "AppData" / "Local"}
    return usual.get(sys.platform, home / ".cache") / "itma"


def caches(folder: str | Path | None = None, which: Sequence[str | Path] = ()) -> list[Cache]:
    """The caches of a folder, the last used first.

    Args:
        folder: where caches are kept; None: `default_folder()`.
        which: names of caches, or folders of data sets, whose caches are wanted. Empty: all.

    Raises:
        DataError: one of `which` has no cache.
        StorageError: the folder cannot be read.
    """
    root = Path(folder or default_folder())
    entries = []
    try:
        for path in root.iterdir() if root.exists() else ():
            with suppress(FileNotFoundError):  # removed by somebody else meanwhile
                if _NAME.fullmatch(path.name):
                    entries.append(_describe(path))
    except OSError as error:
        raise StorageError(f"the caches in {str(root)!r} cannot be listed: {error.strerror or error}") from error
    for each in which:
        if not any(one.is_of(each) for one in entries):
            folders = sorted({one.folder for one in entries if one.folder})
            raise DataError(
                f"there is no cache of {str(each)!r} in {str(root)!r}; expected the name of a cache, or a folder that "
                f"its images are in, as: {', '.join(folders[:5]) or '(none)'}"
            )
    entries = [one for one in entries if not which or any(one.is_of(each) for each in which)]
    return sorted(entries, key=lambda one: one.used, reverse=True)


def list_caches(entries: Sequence[Cache]) -> str:
    """How many caches, and what they take together."""
    return f"{len(entries):,} caches, {_readable(sum(one.bytes_on_disk for one in entries))}"


def remove(folder: str | Path | None = None, *, names: Collection[str] | None = None) -> list[Cache]:
    """Remove caches; nothing else in the folder is touched.

    A process that reads a removed cache goes on, decoding what it does not find.

    Args:
        folder: where caches are kept; None: `default_folder()`.
        names: of the caches to remove; None: all of them.

    Returns:
        What was removed.

    Raises:
        UnknownNameError: there is no cache of that name; none was removed.
        StorageError: a cache cannot be removed, for example because Windows keeps files that are in use.
    """
    by_name = {one.name: one for one in caches(folder)}
    for name in names or ():
        if name not in by_name:
            raise UnknownNameError("cache", name, by_name)
    chosen = [one for one in by_name.values() if names is None or one.name in names]
    for one in chosen:
        try:
            one.path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"the cache {str(one.path)!r} cannot be removed: {error.strerror or error}") from error
    return chosen


def _look(preprocess: Preprocess) -> tuple[object, ...]:
    """What of a preprocess decides pixels: the mean is the ground of what is padded, the deviation comes later."""
    ground = preprocess.mean if preprocess.fit == "pad" else None
    return preprocess.height, preprocess.width, preprocess.fit, ground


@cache
def _recipe() -> int:
    """Stands for what turns a file into pixels; a cache that another version filled is filled anew."""
    code = Path(images.__file__).read_bytes() + Path(colour.__file__).read_bytes()
    versions = f"{PIL.__version__} {PIL.features.version('littlecms2')} {torch.__version__}"
    return zlib.crc32(versions.encode(), zlib.crc32(code))


@dataclass(frozen=True)
class _Layout:
    """What stands where in a cache."""

    file_name: str
    header: bytes
    images: int
    height: int
    width: int

    @classmethod
    def of(cls, files: FileImages, preprocess: Preprocess) -> "_Layout":
        paths = [os.fsencode(path.absolute()) for path in files.paths]
        key = hashlib.sha256(b"\0".join([repr((_FORMAT, _look(preprocess))).encode(), *paths]))
        about = {
            "what": "images cached by itma; may be removed at any time",
            "format": _FORMAT,
            "images": len(paths),
            "height": preprocess.height,
            "width": preprocess.width,
            "fit": preprocess.fit,
            "folder": _find_shared_folder(paths)[-500:],
        }
        header = json.dumps(about).encode().ljust(_HEADER_BYTES - 1) + b"\n"
        return cls(f"{key.hexdigest()[:32]}.pixels", header, len(paths), preprocess.height, preprocess.width)

    @property
    def total_bytes(self) -> int:
        return self.pixels_at(self.images)

    def record_at(self, index: int) -> int:
        return _HEADER_BYTES + _RECORD.itemsize * index

    def pixels_at(self, index: int) -> int:
        return self.record_at(self.images) + 3 * self.height * self.width * index

    def parts(self, content: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Records (images,) and pixels (images, 3, height, width) as views of a whole cache (bytes,)."""
        records, pixels = content[_HEADER_BYTES : self.pixels_at(0)], content[self.pixels_at(0) :]
        return records.view(_RECORD), pixels.reshape(self.images, 3, self.height, self.width)


def _find_shared_folder(paths: Sequence[bytes]) -> str:
    """The folder that all image files lie in, or nothing."""
    try:
        return os.fsdecode(os.path.commonpath({os.path.dirname(path) for path in paths}))  # noqa: PTH120 - bytes
    except ValueError:  # no images, or on several drives
        return ""


def _lay_out(path: Path, layout: _Layout) -> None:
    """Bring a cache to its full size under its header; whatever was in it stays, and is judged by its sums."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        start, size = file.read(_HEADER_BYTES), os.fstat(file.fileno()).st_size
        if start == layout.header and size >= layout.total_bytes:
            return
        if start.strip(b"\0"):  # else somebody is about to lay it out, or never finished
            log.warning("the image cache %s is damaged; it is repaired, and what was lost is decoded anew", path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch()
    with path.open("r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size < layout.pixels_at(0):  # written out: a hole in a map that is read may want space on a full disk
            begin = max(size, _HEADER_BYTES)
            _put(file, begin, bytes(layout.pixels_at(0) - begin))
        if size < layout.total_bytes:
            file.truncate(layout.total_bytes)
        _put(file, 0, layout.header)  # last: whoever sees it maps the whole file


def _put(file: io.RawIOBase, at: int, data: bytes) -> None:
    file.seek(at)
    left = memoryview(data)
    while left:  # a nearly full disk takes a part first, and refuses the rest
        left = left[file.write(left) or 0 :]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except (OSError, ValueError):  # not there, or not a path at all
        return -1, -1
    return status.st_size, status.st_mtime_ns % 2**63  # file systems hand out stranger times than 64 bits hold


def _sum(record: np.void, pixels: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(pixels).data, zlib.crc32(record.tobytes()[:-4]))


def _describe(path: Path) -> Cache:
    status = path.stat()
    about, images, done, folder = "damaged", 0, 0, ""
    with path.open("rb") as file, suppress(ValueError, LookupError, TypeError):
        header = parse_json(file.read(_HEADER_BYTES))
        size = f"{header['height']}×{header['width']} pixels ({header['fit']})"
        images, folder = int(header["images"]), str(header["folder"])
        about = f"of {folder or 'several folders'} at {size}"
        records = np.fromfile(file, _RECORD, images)
        done = int((records["bytes"] > 0).sum())
    used = datetime.fromtimestamp(status.st_mtime).astimezone()
    return Cache(path, about, images, done, _bytes_on_disk(path), used, folder)


def _bytes_on_disk(path: Path) -> int:
    """What a file takes; less than its size while it is not filled, where the system says so."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return 512 * status.st_blocks if hasattr(status, "st_blocks") else status.st_size


def _readable(size_bytes: int) -> str:
    return f"{size_bytes / 1000**3:,.1f} GB" if size_bytes >= 10**8 else f"{size_bytes / 1000**2:,.1f} MB"
