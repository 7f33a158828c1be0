"""Small files that would take gigabytes or minutes are refused before they are decoded; honest ones are not."""

import io
import os
import socket
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from itma.data.image_limits import MAX_SCANS, MAX_TILES
from itma.data.images import Preprocess, formats, list_folder, open_image, open_upload
from itma.errors import DataError, ImageError

PIXELS = 50_000_000


def encoded(kind: str, size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    pixels = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (header, *chunks)
    )


def tiff(*entries: tuple[int, int, int, int], more: bytes = b"") -> bytes:
    """A TIFF of one directory: (tag, type, count, value or offset)."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + b"\0\0\0\0" + more


def scans_again(jpeg: bytes, times: int) -> bytes:
    """A JPEG whose last scan stands there so many times more."""
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * times + b"\xff\xd9"


def many_scans() -> bytes:
    return scans_again(encoded("JPEG", progressive=True), 2_000)


def huge_tile() -> bytes:
    plain = [(256, 1), (257, 1), (258, 8), (259, 8), (262, 1), (277, 1), (322, 60_000), (323, 30_000), (325, 10)]
    return tiff(*((tag, 4, 1, value) for tag, value in plain), (324, 4, 1, 150), more=b"\0" * 100)


def many_strips() -> bytes:
    plain = [(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (277, 1), (278, 1)]
    count = MAX_TILES + 1
    entries = [(tag, 4, 1, value) for tag, value in plain]
    return tiff(*entries, (273, 4, count, 200), (279, 4, 1, 4), more=b"\0" * (4 * count + 300))


def many_entries() -> bytes:
    """A TIFF whose directory holds the same megabyte a thousand times."""
    return tiff(*((40_000 + number, 1, 1_000_000, 0) for number in range(1_000)), more=b"\0" * 1_000_000)


def exif_of_many_entries() -> bytes:
    inside = tiff(*((40_000 + number, 1, 60_000, 0) for number in range(4_000)), more=b"\0" * 10_000)
    parts = [inside[at : at + 60_000] for at in range(0, len(inside), 60_000)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts)
    jpeg = encoded("JPEG")
    return jpeg[:2] + segments + jpeg[2:]


def many_segments() -> bytes:
    jpeg = encoded("JPEG")
    return jpeg[:2] + b"\xff\xfe\0\x02" * 200_000 + jpeg[2:]


def many_blocks() -> bytes:
    gif = encoded("GIF")
    start = 13 + (3 << ((gif[10] & 7) + 1))
    return gif[:start] + b"!\xfe" + b"\x01a" * 300_000 + b"\0" + gif[start:]


def wide_tile() -> bytes:
    plain = [(256, 65_535), (257, 1), (258, 16), (259, 8), (262, 1), (277, 1), (322, 65_536), (323, 4_096), (325, 10)]
    return tiff(*((tag, 4, 1, value) for tag, value in plain), (324, 4, 1, 150), more=b"\0" * 100)


def large_directory() -> bytes:
    entries = [struct.pack("<HHQQ", 256 + number % 3, 1, 1, 1) for number in range(100_001)]
    return b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(entries)) + b"".join(entries) + b"\0" * 8


def jpeg2000(size: int, *, tile: int, block: int = 6, precinct: int | None = None, more: bytes = b"") -> bytes:
    """Headers without pixels; blocks and precincts have 2^n pixels along each side."""
    segments = [
        (0x51, struct.pack(">H8IH", 0, size, size, 0, 0, tile, tile, 0, 0, 1) + b"\7\1\1"),
        (0x52, struct.pack(">BBHB5B", precinct is not None, 0, 1, 0, 5, block - 2, block - 2, 0, 1)),
        (0x5C, b"\x40" + b"\x40" * 16),
    ]
    if precinct is not None:
        segments[1] = (0x52, segments[1][1] + bytes([precinct * 17] * 6))
    packed = b"".join(struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body for kind, body in segments)
    return b"\xff\x4f" + packed + more + b"\xff\x90\0\x0a\0\0\0\0\0\0\0\1\xff\x93" + b"\0" * 60 + b"\xff\xd9"


def boxed(codestream: bytes) -> bytes:
    """A JP2 file that says that its image has one pixel."""
    header = b"\0\0\0\x16ihdr" + struct.pack(">IIHBBBB", 1, 1, 1, 7, 7, 0, 0) + b"\0\0\0\x0fcolr\1\0\0\0\0\0\x11"
    start = b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 "
    return start + struct.pack(">I", len(header) + 8) + b"jp2h" + header + b"\0\0\0\0jp2c" + codestream


ATTACKS: list[tuple[Callable[[], bytes], str]] = [
    (many_scans, f"more than {MAX_SCANS} scans"),
    (lambda: png(49_000_000, 1, (b"IDAT", zlib.compress(b"\0" * 49_000_001)), (b"IEND", b"")), "a side may have"),
    (lambda: png(1, 49_000_000, (b"IDAT", zlib.compress(b"\0" * 98_000_000)), (b"IEND", b"")), "a side may have"),
    (huge_tile, "in tiles of"),
    (many_strips, "strips or tiles"),
    (many_entries, "its metadata would take"),
    (exif_of_many_entries, "its metadata would take"),
    (many_segments, "segments"),
    (many_blocks, "blocks before its first frame"),
    (lambda: png(1, 1, *[(b"teXt", b"")] * 200_000, (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")), "chunks"),
    (lambda: png(1, 1, (b"zTXt", b"a\0\0" + zlib.compress(b"a" * 80_000_000)), (b"IEND", b"")), "truncated"),
    (lambda: png(1, 1, (b"iCCP", b"a\0\0" + zlib.compress(b"a" * 80_000_000)), (b"IEND", b"")), "truncated"),
    (wide_tile, "in tiles of"),
    (large_directory, "its metadata would take"),
    (lambda: jpeg2000(7_000, tile=7_000, block=2), "a JPEG 2000 of [0-9,]+ blocks"),
    (lambda: jpeg2000(7_000, tile=7_000, precinct=1), "a JPEG 2000 of [0-9,]+ blocks"),
    (lambda: jpeg2000(7_000, tile=7_000, more=b"\xff\x53\0\x09\0\0\5\0\0\0\1"), "a JPEG 2000 of [0-9,]+ blocks"),
    (lambda: jpeg2000(7_000, tile=7_000, more=b"\xff\x30"), "a segment of the unknown kind"),
    (lambda: jpeg2000(7_000, tile=30), "a JPEG 2000 of 54,756 tiles"),
    (lambda: boxed(jpeg2000(7_000, tile=7_000, block=2)), "a JPEG 2000 of [0-9,]+ blocks"),
    (lambda: boxed(jpeg2000(20_000, tile=20_000)), "over the limit of"),
]
NAMES = (
    "scans wide tall tile strips entries exif segments blocks chunks text profile wide-tile directory code-blocks "
    "precincts one-component unknown-segment tiles boxed-blocks boxed-size".split()
)


@pytest.mark.parametrize(("make", "reason"), ATTACKS, ids=NAMES)
def test_a_small_file_of_great_cost_is_refused_at_once_from_a_file_and_from_a_stranger(
    make: Callable[[], bytes], reason: str, tmp_path: Path
) -> None:
    data = make()
    (tmp_path / "a.img").write_bytes(data)
    began = time.process_time()
    with pytest.raises(ImageError, match=reason):
        Preprocess().read(tmp_path / "a.img")
    with pytest.raises(ImageError, match=reason):
        open_upload(data, pixels=PIXELS)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("at_least", [None, (12, 8)])
def test_a_large_image_looks_alike_although_it_is_decoded_in_bands_of_little_memory(
    mode: str, at_least: tuple[int, int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave = (np.sin(np.arange(150 * 100).reshape(150, 100) / 900) + 1) * 127
    image = Image.fromarray(wave.astype(np.uint8)).convert("RGB").rotate(20, fillcolor="red")
    if mode in ("I;16", "F"):
        image = Image.fromarray(wave.astype(np.uint16) * 200 if mode == "I;16" else wave.astype(np.float32) - 20)
    elif mode == "P":
        image = image.quantize(16)
        image.info["transparency"] = 3
    else:
        image = image.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(wave.astype(np.uint8)))
    image.save(tmp_path / "a.tif" if mode != "P" else tmp_path / "a.png")
    (path,) = tmp_path.iterdir()
    whole = open_image(path)
    monkeypatch.setattr("itma.data.images._BAND_PIXELS", 2_000)
    banded = open_image(path, at_least=at_least)
    assert banded.tobytes() == (whole.reduce(4) if at_least else whole).tobytes()


HONEST = [
    ("JPEG", {"progressive": True}),
    ("JPEG", {"quality": 95, "comment": b"\xff\xda" * 2_000}),
    ("JPEG", {"exif": b"Exif\0\0" + b"\xff\xda" * 3_000}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", {"compression": "jpeg"}),
    ("TIFF", {"tiffinfo": {278: 1}}),
    ("GIF", {"comment": b"a" * 5_000}),
    ("PNG", {}),
    ("WEBP", {}),
    ("BMP", {}),
    ("JPEG2000", {"tile_size": (32, 32)}),
    ("JPEG2000", {"num_resolutions": 3, "codeblock_size": (16, 16), "precinct_size": (32, 32), "no_jp2": True}),
]


def plain_webp(width: int, height: int) -> bytes:
    """A WebP of 32 bytes, all of one colour."""
    body = b"\x2f" + struct.pack("<I", (width - 1) | ((height - 1) << 14)) + b"\x88\x88\x08\0\0\0\0"
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body) - 1) + body


@pytest.mark.skipif(not features.check("webp"), reason="this Pillow reads no WebP")
def test_a_format_that_is_decoded_as_a_whole_has_a_limit_of_its_own() -> None:
    assert open_image(plain_webp(300, 200), at_least=(64, 64)).size == (300, 200)
    for size in ((16_383, 7_812), (8_001, 8_000)):
        with pytest.raises(ImageError, match="over the limit of 64,000,000"):
            open_image(plain_webp(*size))


@pytest.mark.parametrize(("kind", "options"), HONEST)
def test_honest_images_are_within_the_limits(kind: str, options: dict[str, object]) -> None:
    data = encoded(kind, **options)
    assert open_image(data).size == open_upload(data, pixels=PIXELS).size == (64, 48)


def test_what_follows_a_jpegs_end_is_not_counted_as_its_scans() -> None:
    data = encoded("JPEG", progressive=True) + b"\xff\xda\0\x02" * 5_000
    assert open_image(data).size == (64, 48)


def test_a_progressive_jpeg_of_the_scans_that_programs_write_passes_at_any_size() -> None:
    assert open_image(scans_again(encoded("JPEG", progressive=True), 10)).size == (64, 48)


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_is_no_regular_file_is_refused_without_waiting(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        server = socket.socket(socket.AF_UNIX)
        server.bind(os.path.relpath(path))
        server.close()
    with pytest.raises(ImageError, match="a pipe, a socket or a device, not a file"):
        open_image(path)


# -- folders ----------------------------------------------------------------------------------------------------------


def test_all_that_is_left_out_of_a_folder_is_counted_by_reason(tmp_path: Path) -> None:
    inside, jpeg = tmp_path / "in", encoded("JPEG")
    names = [
        *("a.jpg", "sub/b.jpg", "._a.jpg", ".hidden.jpg", "sub/notes.txt", "raw.CR2", "x.jxl", "d.svg"),
        *("@eaDir/t.jpg", "#recycle/t.jpg", "$RECYCLE.BIN/t.jpg", ".thumbnails/t.jpg", "sub/__MACOSX/t.jpg"),
    ]
    for name in names:
        (inside / name).parent.mkdir(parents=True, exist_ok=True)
        (inside / name).write_bytes(jpeg)
    (tmp_path / "secret.jpg").write_bytes(jpeg)
    (inside / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (inside / "again.jpg").symlink_to(inside / "a.jpg")
    (inside / "nowhere.jpg").symlink_to(inside / "gone.jpg")
    (inside / "linked").symlink_to(inside / "sub", target_is_directory=True)
    os.mkfifo(inside / "pipe.jpg")
    contents = list_folder(inside)
    assert [path.relative_to(inside).as_posix() for path in contents.images] == ["a.jpg", "again.jpg", "sub/b.jpg"]
    assert contents.left_out == {
        "hidden or system folders": 5,
        "hidden files": 2,
        "other files": 1,
        ".cr2 files (images in a format that is not read)": 1,
        ".jxl files (images in a format that is not read)": 1,
        ".svg files (images in a format that is not read)": 1,
        "links that lead out of the folder (to take them: --allow-outside)": 1,
        "links that lead nowhere": 1,
        "links to folders": 1,
        "pipes, sockets or devices": 1,
    }
    assert inside / "out.jpg" in list_folder(inside, allow_outside=True).images


def test_a_folder_without_images_says_what_was_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.cr2").touch()
    with pytest.raises(DataError, match=r"left out: 1 \.cr2 files"):
        list_folder(tmp_path)


# -- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_what_phones_write_is_read_from_a_file_and_from_a_stranger(kind: str, tmp_path: Path) -> None:
    if kind not in formats():
        pytest.skip(f"{kind} is not to be had here")
    data = encoded(kind, quality=90)
    ending = {"AVIF": "avif", "HEIF": "heic"}[kind]
    (tmp_path / f"a.{ending}").write_bytes(data)
    assert [path.name for path in list_folder(tmp_path).images] == [f"a.{ending}"]
    assert open_image(tmp_path / f"a.{ending}").size == open_upload(data, pixels=PIXELS).size == (64, 48)


@pytest.mark.parametrize("data", [b"<html>404</html>", b"", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_an_upload_that_is_no_image_is_answered_with_the_formats_that_are_taken(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"send one of: JPEG, PNG, WebP, GIF, TIFF, BMP") as caught:
        open_upload(data, pixels=PIXELS)
    assert "MPO" not in str(caught.value)
    assert ("AVIF" in str(caught.value)) == features.check("avif")
