"""What an image may cost, decided before anything of it is decoded: small files that would take gigabytes or minutes.

A file's pieces are counted by their headers alone; what is damaged is left to the decoder, which names it.
"""

import io
import re
import struct
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from PIL import Image

MAX_SIDE = 65_535
"""Pixels along one side: as many as a JPEG can have."""
_WHOLE = frozenset({"WEBP", "AVIF", "HEIF", "JPEG2000"})
"""Formats whose decoders hold the whole image several times over; a file of some bytes can say that it is one."""
MAX_WHOLE_PIXELS = 64_000_000
"""Pixels of an image in such a format, which take up to 1.3 GB."""
MAX_SCANS = 100
"""Times that a JPEG may go over its pixels; programs write about ten."""
_SCANS_OF_ALL = 24
"""So many scans of the largest image are allowed: a smaller one may have more, up to `MAX_SCANS`."""
MAX_PIECES = 100_000
"""Chunks of a PNG, segments of a JPEG, blocks before a GIF's first frame: each takes time of its own."""
MAX_TILES = 262_144
"""Tiles or strips of a TIFF."""
MAX_TILE_SIDE = 4_096
"""Pixels along one side of a TIFF's tile, where the image itself is smaller."""
MAX_FRAMES = 4_096
MAX_BLOCKS = 1_000_000
"""Code-blocks and precincts of a JPEG 2000 image: its decoder makes a record for each before it reads any."""
MAX_JPEG2000_TILES = 32_768
"""Tiles of a JPEG 2000 image, times its components."""
MAX_METADATA = 64_000_000
"""Bytes that the entries of a TIFF or of EXIF metadata may hold together; all may point to the same ones."""

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""In a JPEG's compressed data: what is neither a stuffed zero nor a restart."""
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_JPEG2000_MARKERS = frozenset(
    {*range(0x50, 0x54), *range(0x55, 0x5A), *range(0x5C, 0x62), 0x63, 0x64, 0x74, 0x75, 0x77, 0x78, 0x90}
)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value, by the type of a TIFF's entry."""
_STRIPS, _TILE_WIDTH, _TILE_HEIGHT, _TILES = 273, 322, 323, 324


class LimitError(ValueError):
    """An image would cost more than is allowed; the message says what of."""


def check_file(file: BinaryIO, pixels: int) -> None:
    """Refuse what costs too much already when it is opened, or whose cost no header says; leaves the file at its begin.

    Args:
        file: at its begin.
        pixels: the limit of an image's pixels.

    Raises:
        LimitError: too many scans, chunks, segments, blocks or tiles, or too much metadata.
    """
    start = file.read(16)
    file.seek(0)
    if start.startswith(b"\xff\xd8"):
        _check_jpeg(file, pixels)
    elif start.startswith(b"\x89PNG\r\n\x1a\n"):
        _check_count(sum(1 for _ in islice(_png_chunks(file), MAX_PIECES + 1)), "chunks")
    elif start.startswith((b"GIF87a", b"GIF89a")):
        _check_count(sum(1 for _ in islice(_gif_blocks(file), MAX_PIECES + 1)), "blocks before its first frame")
    elif start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")) and _metadata_bytes(file) > MAX_METADATA:
        raise LimitError(f"its metadata would take more than {MAX_METADATA:,} bytes; save it anew without them")
    elif start.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")):
        _check_jpeg2000(file, pixels)
    file.seek(0)


def check_image(image: Image.Image, pixels: int) -> None:
    """Refuse an image, its header read, whose pixels would take too much memory or time.

    Args:
        image: opened, not decoded yet.
        pixels: more than so many are refused.

    Raises:
        LimitError: it is empty, too large, has too long a side, too many frames, tiles or strips, or too large tiles.
    """
    width, height = image.size
    if not width * height:
        raise LimitError(f"{width}×{height} pixels: it is empty")
    limit = min(pixels, MAX_WHOLE_PIXELS) if image.format in _WHOLE else pixels
    if width * height > limit:
        raise LimitError(f"{width:,}×{height:,} pixels is over the limit of {limit:,}; scale it down first")
    if max(width, height) > MAX_SIDE:
        raise LimitError(f"{width:,}×{height:,} pixels: a side may have {MAX_SIDE:,} at most; scale it down first")
    if image.format in ("WEBP", "AVIF", "PNG") and getattr(image, "n_frames", 1) > MAX_FRAMES:
        raise LimitError(f"more than {MAX_FRAMES:,} frames; send one of them")
    if image.format == "TIFF":
        _check_tiles(image)


def is_plain_exif(exif: bytes) -> bool:
    """Whether EXIF metadata may be read: their entries together are no larger than `MAX_METADATA`."""
    return _metadata_bytes(io.BytesIO(re.sub(b"^(Exif\0\0){1,2}", b"", exif))) <= MAX_METADATA


def _check_count(pieces: int, what: str, most: int = MAX_PIECES) -> None:
    if pieces > most:
        raise LimitError(f"more than {most:,} {what}; save it anew")


def _check_jpeg(file: BinaryIO, pixels: int) -> None:
    size, components, frame, exif, pieces = 0, 0, 0, b"", 0
    file.seek(2)
    while True:
        marker = file.read(2)
        if len(marker) < 2 or marker[0] != 0xFF:
            return
        if marker[1] == 0xD9:
            return
        if marker[1] == 0xFF:  # filling
            file.seek(-1, 1)
        elif marker[1] not in (0x01, *range(0xD0, 0xD9)):
            length = int.from_bytes(file.read(2), "big") - 2
            if length < 0:
                return
            if marker[1] == 0xDA:
                break
            body = file.read(length)
            if marker[1] in _FRAME_HEADERS and len(body) >= 6:
                frame, components = marker[1], body[5]
                size = int.from_bytes(body[1:3], "big") * int.from_bytes(body[3:5], "big")
            elif marker[1] == 0xE1 and body.startswith(b"Exif\0\0"):
                exif += body[6:]
        pieces += 1
        _check_count(pieces, "segments", MAX_PIECES // 10)
    if not is_plain_exif(exif):
        raise LimitError(f"its metadata would take more than {MAX_METADATA:,} bytes; save it anew without them")
    if file.read(length)[:1] == bytes([components]) and frame not in _PROGRESSIVE:
        return  # all components in one scan: the decoder reads no further one
    most = max(4, min(MAX_SCANS, _SCANS_OF_ALL * pixels // max(1, size)))
    if _scans(file.read(), most) > most:
        raise LimitError(f"a JPEG of more than {most} scans; save it anew (programs write about ten)")


def _scans(data: bytes, most: int) -> int:
    """How many scans there are in what follows the first one's header, that one included; no more than needed."""
    scans, at, pieces = 1, 0, 0
    while scans <= most and (match := _MARKER.search(data, at)):
        marker, at = data[match.start() + 1], match.end()
        pieces += 1
        if marker == 0xD9:
            break
        _check_count(pieces, "segments")
        if marker in (0x01, 0xD8):
            continue
        scans += marker == 0xDA
        at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return scans


def _png_chunks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(8)
    while len(header := file.read(8)) == 8:
        yield header
        file.seek(int.from_bytes(header[:4], "big") + 4, 1)


def _gif_blocks(file: BinaryIO) -> Iterator[int]:
    screen = file.read(13)
    if len(screen) == 13 and screen[10] & 0x80:
        file.seek(3 << ((screen[10] & 7) + 1), 1)
    while file.read(1) == b"!":
        file.seek(1, 1)
        while (length := file.read(1)) not in (b"", b"\0"):
            yield length[0]
            file.seek(length[0], 1)
        yield 0


def _check_jpeg2000(file: BinaryIO, pixels: int) -> None:
    """Walk through the headers of the code-stream, which may stand in boxes, and count what they make of the image."""
    if (begin := _codestream(file)) is None:
        return
    file.seek(begin + 4)
    body = file.read(int.from_bytes(file.read(2), "big") - 2)
    if len(body) < 36:
        return
    right, bottom, left, top, *tile, tile_left, tile_top, components = struct.unpack_from(">8IH", body, 2)
    if not tile[0] * tile[1]:
        return
    width, height = right - left, bottom - top  # a box before may say otherwise
    if width * height > pixels:
        raise LimitError(f"{width:,}×{height:,} pixels is over the limit of {pixels:,}; scale it down first")
    tiles = -(-(right - tile_left) // tile[0]) * -(-(bottom - tile_top) // tile[1])
    if tiles * components > MAX_JPEG2000_TILES:
        raise LimitError(f"a JPEG 2000 of {tiles:,} tiles and {components} components; save it anew in larger tiles")
    part, pieces = 0, 0
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        pieces += 1
        _check_count(pieces, "segments")
        if head[1] == 0xD9 or (head[1] == 0x93 and not part):  # the end, or data up to it
            return
        if head[1] == 0x93:  # the data of a part of a tile: on to the next one
            if part < file.tell() - 2:
                raise LimitError("a JPEG 2000 with a tile inside another; save it anew")
            file.seek(part)
            continue
        if head[1] not in _JPEG2000_MARKERS:  # the decoder looks for the next one that it knows, wherever it is
            raise LimitError(f"a JPEG 2000 with a segment of the unknown kind {head[:2].hex()}; save it anew")
        body = file.read(max(0, int.from_bytes(head[2:], "big") - 2))
        if head[1] == 0x90 and len(body) == 8:
            length = int.from_bytes(body[2:6], "big")
            part = file.tell() - 12 + length if length else 0
        elif head[1] in (0x52, 0x53):
            # COC begins with its component's number; COD has between its two halves what all components share
            coding = body[:1] + body[5:] if head[1] == 0x52 else body[1 if components < 257 else 2 :]
            count = tiles * components * _blocks(coding, min(width, tile[0]), min(height, tile[1]))
            if count > MAX_BLOCKS:
                raise LimitError(f"a JPEG 2000 of {count:,} blocks; save it anew with blocks of 64×64 pixels")


def _codestream(file: BinaryIO) -> int | None:
    """Where the code-stream of a JPEG 2000 file begins; None where no box holds one."""
    file.seek(0)
    if file.read(2) == b"\xff\x4f":
        return 0
    at = 0
    for _ in range(MAX_PIECES):
        file.seek(at)
        size, kind = int.from_bytes(file.read(4), "big"), file.read(4)
        if kind == b"jp2c":
            return at + (16 if size == 1 else 8)
        if size == 1:
            size = int.from_bytes(file.read(8), "big")
        if len(kind) < 4 or size < 8:
            return None
        at += size
    raise LimitError(f"more than {MAX_PIECES:,} boxes; save it anew")


def _blocks(coding: bytes, width: int, height: int) -> int:
    """Code-blocks and precincts of one component of a tile, from the part of COD or COC that both have."""
    if len(coding) < 6:
        return 0
    levels, block_width, block_height = min(coding[1], 32), (coding[2] & 15) + 2, (coding[3] & 15) + 2
    sizes = coding[6:] if coding[0] & 1 else b""
    pieces = 0
    for level in range(levels + 1):
        size = sizes[level] if level < len(sizes) else 0xFF
        bands, halved = (3, 1) if level else (1, 0)
        w, h = (-(-side // (1 << (levels - level))) for side in (width, height))
        across, down = size & 15, size >> 4
        pieces += bands * -(-w // (1 << across)) * -(-h // (1 << down))
        across, down = min(block_width, max(0, across - halved)), min(block_height, max(0, down - halved))
        w, h = -(-w // (1 << halved)), -(-h // (1 << halved))
        pieces += bands * -(-w // (1 << across)) * -(-h // (1 << down))
    return pieces


def _metadata_bytes(file: BinaryIO) -> int:
    """Bytes that the entries of the first directory of a TIFF say they hold, as far as the file has so many."""
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    large = start[2:4] in (b"+\0", b"\0+")
    number, counter, size = ("Q", "Q", 20) if large else ("I", "H", 12)
    if order is None or len(start) < (16 if large else 8):
        return 0
    (first,) = struct.unpack_from(order + number, start, 8 if large else 4)
    end = file.seek(0, 2)
    if first + struct.calcsize(counter) > end:
        return 0
    file.seek(first)
    (entries,) = struct.unpack(order + counter, file.read(struct.calcsize(counter)))
    if entries > MAX_PIECES:
        return MAX_METADATA + 1
    total = 0
    for _ in range(entries):
        entry = file.read(size)
        if len(entry) < size or total > MAX_METADATA:
            break
        kind, count = struct.unpack_from(f"{order}H{number}", entry, 2)
        total += min(count * _SIZES.get(kind, 1), end)
    return total


def _check_tiles(image: Image.Image) -> None:
    tags = getattr(image, "tag_v2", {})
    counts = [len(value) if isinstance(value := tags.get(name, ()), tuple) else 1 for name in (_STRIPS, _TILES)]
    if max(counts) > MAX_TILES:
        raise LimitError(f"a TIFF of {max(counts):,} strips or tiles; {MAX_TILES:,} are the limit; save it anew")
    width, height = (
        value if isinstance(value := tags.get(name), int | float) else 0 for name in (_TILE_WIDTH, _TILE_HEIGHT)
    )
    around = (image.width + 15) * (image.height + 15)
    for tile, side in ((width, image.width), (height, image.height)):
        if tile > max(MAX_TILE_SIDE, side + 15) or width * height > max(MAX_TILE_SIDE**2, around):
            raise LimitError(f"a TIFF of {image.width:,}×{image.height:,} pixels in tiles of {tile:,}; save it anew")
