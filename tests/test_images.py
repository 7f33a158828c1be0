"""Images from files to batches: found, decoded, upright, fitted, normalised; what is damaged is named."""

import io
import logging
import os
import random
import struct
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageFile, ImageOps, features

from itma.data import images
from itma.data.images import (
    MAX_PIXELS,
    FileImages,
    MemoryImages,
    Preprocess,
    find_images,
    image_size,
    open_image,
    to_pixels,
)
from itma.errors import ConfigError, DataError, ImageError

Fit = Literal["pad", "crop", "stretch"]
FITS: tuple[Fit, ...] = ("pad", "crop", "stretch")
INTO_FILE = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation → how an upright image lies in the file."""

needs_webp = pytest.mark.skipif(not features.check("webp"), reason="this Pillow was built without WebP")
not_as_root = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="the superuser may read every file and folder"
)


def scene(height: int, width: int, seed: int = 0) -> Image.Image:
    """An image like a photograph: smooth, coloured, each part unlike the others."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(upright: Image.Image, orientation: int, kind: str, **options: Any) -> bytes:
    """A file whose pixels lie as `orientation` says."""
    how, exif = INTO_FILE[orientation], Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encoded(upright if how is None else upright.transpose(how), kind, exif=exif, **options)


def png(width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 8, colour: int = 0) -> bytes:
    """A PNG file of a header and whatever chunks, each with its right check sum."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (header, *chunks)
    )


def array(image: Image.Image) -> np.ndarray:
    return np.array(image, dtype=np.float64)


def difference(one: Image.Image | torch.Tensor, other: Image.Image | torch.Tensor) -> np.ndarray:
    """Absolute differences in grey levels, (height, width, 3)."""
    first, second = (
        array(x) if isinstance(x, Image.Image) else x.permute(1, 2, 0).double().numpy() for x in (one, other)
    )
    assert first.shape == second.shape
    apart: np.ndarray = np.abs(first - second)
    return apart


def first_pixel(image: Image.Image) -> tuple[int, ...]:
    return tuple(np.asarray(image)[0, 0].tolist())


def plain(height: int, width: int, value: int) -> torch.Tensor:
    return torch.full((1, 3, height, width), value, dtype=torch.uint8)


JPEG = encoded(scene(60, 80), "JPEG", quality=90)


# Finding


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def find_names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_images(folder)]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holiday' does not exist; give a folder"):
        find_images(tmp_path / "holiday")


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(JPEG)
    with pytest.raises(DataError, match=r"one\.jpg' is a file; give the folder"):
        find_images(tmp_path / "one.jpg")


def test_an_empty_folder_holds_no_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no images; expected files ending in \.jpg"):
        find_images(tmp_path)


def test_a_folder_of_other_files_holds_no_images(tmp_path: Path) -> None:
    touched(tmp_path, "notes.txt", "clip.mp4", "page.pdf", "drawing.eps", "jpg")
    with pytest.raises(DataError, match="holds no images"):
        find_images(tmp_path)


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    assert find_names(touched(tmp_path, "a.jpg", ".b.jpg", ".trash/c.jpg", "d/.e/f.jpg", "d/.g.jpg")) == ["a.jpg"]


def test_a_hidden_folder_that_is_asked_for_is_searched(tmp_path: Path) -> None:
    assert find_names(touched(tmp_path / ".cache", "a.jpg")) == ["a.jpg"]


def test_images_in_sub_folders_are_found(tmp_path: Path) -> None:
    assert find_names(touched(tmp_path, "a/b/c/d.png", "e/f.webp")) == ["a/b/c/d.png", "e/f.webp"]


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    assert find_names(touched(tmp_path, "album.jpg/one.png")) == ["album.jpg/one.png"]


def test_endings_in_capitals_count(tmp_path: Path) -> None:
    assert find_names(touched(tmp_path, "A.JPG", "b.Png", "c.TIFF")) == ["A.JPG", "b.Png", "c.TIFF"]


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"])
def test_the_usual_endings_count(tmp_path: Path, ending: str) -> None:
    assert find_names(touched(tmp_path, f"a.{ending}")) == [f"a.{ending}"]


def test_images_are_sorted_by_the_text_of_their_paths(tmp_path: Path) -> None:
    names = ["B.jpg", "a-b.jpg", "a.jpg", "a/b.jpg", "a/c/d.jpg", "a0.jpg", "b.jpg", "é.jpg"]
    shuffled = names.copy()
    random.shuffle(shuffled)
    assert find_names(touched(tmp_path, *shuffled)) == names == sorted(names)


def test_a_folder_may_be_given_as_text(tmp_path: Path) -> None:
    assert find_images(str(touched(tmp_path, "a.jpg"))) == [tmp_path / "a.jpg"]


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    touched(tmp_path, "elsewhere/a.jpg", "here/b.jpg")
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "here" / "round").symlink_to(tmp_path / "here", target_is_directory=True)
    assert find_names(tmp_path / "here") == ["b.jpg"]


def test_links_to_images_count(tmp_path: Path) -> None:
    touched(tmp_path, "elsewhere/a.jpg", "here/b.jpg")
    (tmp_path / "here" / "a.jpg").symlink_to(tmp_path / "elsewhere" / "a.jpg")
    assert find_names(tmp_path / "here") == ["a.jpg", "b.jpg"]


@not_as_root
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    folder = touched(tmp_path / "closed", "a.jpg")
    folder.chmod(0)
    try:
        with pytest.raises(DataError, match=r"closed' cannot be read: Permission denied"):
            find_images(folder)
    finally:
        folder.chmod(0o700)


@not_as_root
def test_a_sub_folder_without_permission_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touched(tmp_path, "a.jpg", "closed/b.jpg")
    (tmp_path / "closed").chmod(0)
    try:
        with caplog.at_level(logging.WARNING):
            assert find_names(tmp_path) == ["a.jpg"]
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert "closed' cannot be read (Permission denied)" in caplog.text


# Opening what is to be refused


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an image in a format that is read"),
        (b"this is a letter, not an image\n" * 40, "not an image in a format that is read"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "not an image in a format that is read",
        ),  # never handed to Ghostscript
        (b"\x89PNG\r\n\x1a\n", "not an image in a format that is read"),
        (JPEG[: len(JPEG) // 2], "damaged or truncated"),
    ],
    ids=["nothing", "a letter", "PostScript", "a signature alone", "half a JPEG"],
)
def test_a_file_that_is_no_image_is_named_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "odd.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=reason) as caught:
        open_image(path)
    assert caught.value.path == str(path)
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_image_are_named_by_their_number() -> None:
    with pytest.raises(ImageError, match="<1,200 bytes>"):
        open_image(b"abc" * 400)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg': the file does not exist"):
        open_image(tmp_path / "gone.jpg")


def test_a_link_that_leads_nowhere_is_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match=r"link\.jpg': the file does not exist"):
        open_image(tmp_path / "link.jpg")


def test_a_folder_in_place_of_an_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="this is a folder, not a file"):
        open_image(tmp_path)


@not_as_root
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "private.jpg"
    path.write_bytes(JPEG)
    path.chmod(0)
    with pytest.raises(ImageError, match=r"private\.jpg': there is no permission to read it"):
        open_image(path)


def test_pillow_is_left_to_refuse_truncated_files_and_to_its_own_limit() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert Image.MAX_IMAGE_PIXELS == 1024**3 // 4 // 3


WHOLE = {
    "jpeg": JPEG,
    "progressive-jpeg": encoded(scene(60, 80), "JPEG", progressive=True),
    "png": encoded(scene(30, 40), "PNG"),
    "gif": encoded(scene(30, 40), "GIF"),
    "bmp": encoded(scene(30, 40), "BMP"),
    "tiff": encoded(scene(30, 40), "TIFF"),
}


@pytest.mark.parametrize("kind", WHOLE)
@given(share=st.floats(0, 1, exclude_max=True))
@example(share=0.999)
@settings(max_examples=40)
def test_a_truncated_file_is_refused_unless_all_its_pixels_are_there(kind: str, share: float) -> None:
    whole = WHOLE[kind]
    part = whole[: int(share * len(whole))]
    try:
        image = open_image(part)
    except ImageError:
        return
    assert not difference(image, open_image(whole)).any()


@pytest.mark.parametrize("missing", [1, 2, 3, 10, 100, 500])
def test_a_jpeg_that_lacks_its_end_is_refused(missing: int) -> None:
    with pytest.raises(ImageError, match="damaged or truncated"):
        open_image(JPEG[:-missing])


@pytest.mark.parametrize("missing", [2, 10, 500])
def test_a_jpeg_that_lacks_its_end_is_refused_at_a_reduced_size_too(missing: int) -> None:
    with pytest.raises(ImageError, match="damaged or truncated"):
        open_image(JPEG[:-missing], at_least=(8, 8))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_a_png_that_lacks_rows_is_refused(share: float) -> None:
    whole = encoded(scene(60, 80), "PNG")
    with pytest.raises(ImageError, match="damaged or truncated"):
        open_image(whole[: int(share * len(whole))])


def opens_or_is_named(source: Path | bytes, name: str) -> bool:
    try:
        return open_image(source, at_least=(8, 8)).mode == "RGB"
    except ImageError as error:
        return error.path == name


@given(changes=st.lists(st.tuples(st.integers(0, len(JPEG) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_jpeg_with_changed_bytes_opens_or_is_named(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(JPEG)
    for position, value in changes:
        damaged[position] = value
    path = tmp_path_factory.getbasetemp() / "changed.jpg"
    path.write_bytes(damaged)
    assert opens_or_is_named(path, str(path))


@given(start=st.sampled_from([b"", *(whole[:24] for whole in WHOLE.values()), b"P6\n9 9\n", b"RIFF"]), rest=st.binary())
def test_any_bytes_open_or_are_refused(start: bytes, rest: bytes) -> None:
    assert opens_or_is_named(start + rest, f"<{len(start + rest):,} bytes>")


@pytest.mark.parametrize(("width", "height"), [(12_000, 11_000), (20_000, 10_000), (1, MAX_PIXELS + 1)])
def test_an_image_above_the_limit_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    header_alone = png(width, height, (b"IDAT", zlib.compress(b"")))  # decoding would find no pixels
    with pytest.raises(ImageError, match=r"over the limit of 128,000,000.*; scale it down first"):
        open_image(header_alone)


@pytest.mark.parametrize("name", ["https://x.example/a.jpg", "s3://bucket/a.jpg", "www.x/a.jpg", "file:/none.jpg"])
def test_an_address_in_the_place_of_a_file_is_named_as_such(name: str) -> None:
    with pytest.raises(ImageError, match="does not exist; that is an address: download the image"):
        open_image(name)


def test_the_refusal_of_a_large_image_names_its_size() -> None:
    with pytest.raises(ImageError, match=r"12,000×11,000 pixels is over the limit"):
        open_image(png(12_000, 11_000, (b"IDAT", b"")))


# Opening what is to be taken


@pytest.fixture(scope="module")
def huge() -> bytes:
    """A grey JPEG of 10,000×10,000 pixels, below the limit."""
    return encoded(Image.new("L", (10_000, 10_000), 90), "JPEG", quality=1)


def test_ten_thousand_by_ten_thousand_pixels_open(huge: bytes) -> None:
    assert open_image(huge).size == (10_000, 10_000)


def test_a_huge_jpeg_is_decoded_at_a_reduced_size(huge: bytes) -> None:
    assert open_image(huge, at_least=(64, 96)).size == (1_250, 1_250)


def test_a_huge_jpeg_is_read_like_any_other(huge: bytes) -> None:
    pixels = Preprocess(64, 96, "stretch").read(huge)
    assert pixels.shape == (3, 64, 96)
    assert (pixels.float() - 90).abs().max() < 20  # of the coarsest quality


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF"])
def test_an_image_of_one_pixel_opens(kind: str) -> None:
    image = open_image(encoded(Image.new("RGB", (1, 1), (255, 255, 255)), kind), at_least=(64, 96))
    assert image.size == (1, 1)
    assert first_pixel(image) == (255, 255, 255)


@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    at_least=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    orientation=st.sampled_from([1, 6]),
)
@settings(max_examples=50)
def test_a_jpeg_is_never_decoded_smaller_than_needed(
    size: tuple[int, int], at_least: tuple[int, int], orientation: int
) -> None:
    image = open_image(turned(Image.new("RGB", size), orientation, "JPEG"), at_least=at_least)
    assert image.size == size or (image.height >= at_least[0] and image.width >= at_least[1])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_every_exif_orientation_comes_out_upright(kind: str, orientation: int) -> None:
    upright = scene(48, 64)
    image = open_image(turned(upright, orientation, kind))
    assert difference(image, upright).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright_at_a_reduced_size(orientation: int) -> None:
    upright = scene(480, 640)
    image = open_image(turned(upright, orientation, "JPEG"), at_least=(40, 60))
    assert image.size < upright.size
    assert difference(image, upright.resize(image.size, Image.Resampling.BOX)).mean() < 2


def test_an_orientation_that_does_not_exist_is_passed_over() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 9
    assert open_image(encoded(scene(20, 30), "JPEG", exif=exif)).size == (30, 20)


@given(changes=st.lists(st.tuples(st.integers(0, 65), st.integers(0, 255)), min_size=1, max_size=5))
@example(changes=[(8, 255), (9, 255)])  # more entries than there are: Pillow warns
@example(changes=[(22, 255)])  # a text beyond the file's end: Pillow warns
def test_damaged_exif_does_not_cost_the_image(changes: list[tuple[int, int]]) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    exif[ExifTags.Base.Make] = "a camera"
    exif[ExifTags.Base.DateTime] = "2020:01:01 00:00:00"
    upright = scene(20, 30)
    whole, metadata = encoded(upright, "JPEG", exif=exif), exif.tobytes()
    start = whole.index(metadata) + len(b"Exif\0\0")
    damaged = bytearray(whole)
    for position, value in changes:
        damaged[start + position % (len(metadata) - 6)] = value
    assert sorted(open_image(bytes(damaged)).size) == [20, 30]


def test_an_opened_image_is_not_turned_again() -> None:
    upright = scene(20, 30)
    once = open_image(turned(upright, 6, "PNG"))
    assert not difference(open_image(once), upright).any()


def test_a_cmyk_jpeg_keeps_its_colours() -> None:
    upright = scene(48, 64)
    assert difference(open_image(encoded(upright.convert("CMYK"), "JPEG", quality=95)), upright).mean() < 4


def test_a_grey_jpeg_has_three_equal_channels() -> None:
    image = open_image(encoded(scene(48, 64).convert("L"), "JPEG"), at_least=(8, 8))
    assert image.mode == "RGB"
    assert not np.ptp(array(image), axis=2).any()


RAMP = np.linspace(0, 65_535, 256).reshape(16, 16)
"""256 values over all of 16 bits, evenly: 0, 257, 514, …"""


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray(RAMP.astype(np.uint16)), "PNG"),
        encoded(Image.fromarray(RAMP.astype(np.uint16)), "TIFF"),
        encoded(Image.frombytes("I;16B", (16, 16), RAMP.astype(">u2").tobytes()), "TIFF"),
        encoded(Image.fromarray(RAMP.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray((RAMP * 2**15).astype(np.int32)), "TIFF"),
        encoded(Image.fromarray((RAMP / 65_535).astype(np.float32)), "TIFF"),
        encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
    ],
    ids=["16-bit PNG", "16-bit TIFF", "big-endian TIFF", "32-bit TIFF", "31 bits", "float to 1", "float beyond 1"],
)
def test_grey_of_more_than_eight_bits_is_scaled_not_clipped(content: bytes) -> None:
    values = np.asarray(open_image(content))
    assert (values == np.arange(256).reshape(16, 16, 1)).all()


def test_a_dark_sixteen_bit_image_stays_dark() -> None:
    assert np.asarray(open_image(Image.fromarray(np.full((2, 2), 2_570, dtype=np.uint16)))).max() == 10


def test_sixteen_bits_are_turned_upright_too() -> None:
    upright = Image.fromarray(RAMP[:8].astype(np.uint16))
    assert not difference(open_image(turned(upright, 6, "PNG")), open_image(upright)).any()


def test_values_that_are_no_numbers_do_not_darken_the_others() -> None:
    values = np.array([[0, 0.5, 1, -3, np.nan, np.inf, -np.inf]], dtype=np.float32)
    assert np.asarray(open_image(Image.fromarray(values)))[0, :, 0].tolist() == [0, 128, 255, 0, 0, 255, 0]


def indexed(transparency: int | bytes) -> bytes:
    """A palette PNG: red to the left, blue to the right; red is transparent."""
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    return encoded(image, "PNG", transparency=transparency)


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.new("RGBA", (2, 1), (255, 0, 0, 0)), "PNG"),
        encoded(Image.new("LA", (2, 1), (0, 0)), "PNG"),
        indexed(0),
        indexed(b"\x00\xff"),
        encoded(Image.new("L", (2, 1), 7), "PNG", transparency=7),
        encoded(Image.new("1", (2, 1), 0), "PNG", transparency=0),
        encoded(Image.new("RGB", (2, 1), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
        png(
            1,
            1,
            (b"tRNS", struct.pack(">H", 700)),
            (b"IDAT", zlib.compress(b"\0" + struct.pack(">H", 700))),
            (b"IEND", b""),
            depth=16,
        ),
        encoded(Image.new("RGBA", (2, 1), (255, 0, 0, 0)), "GIF"),
    ],
    ids=["RGBA", "LA", "palette", "palette of bytes", "grey key", "bit key", "RGB key", "16-bit key", "GIF"],
)
def test_transparent_parts_become_white(content: bytes) -> None:
    assert first_pixel(open_image(content)) == (255, 255, 255)


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_the_rest_of_an_image_with_transparent_parts_stays(transparency: int | bytes) -> None:
    assert np.asarray(open_image(indexed(transparency)))[0, 1].tolist() == [0, 0, 255]


def test_half_transparent_black_on_white_is_grey() -> None:
    assert first_pixel(open_image(encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 128)), "PNG"))) == (127, 127, 127)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", pytest.param("WEBP", marks=needs_webp)])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    options = {"lossless": True} if kind == "WEBP" else {}
    image = open_image(encoded(red, kind, save_all=True, append_images=[blue], **options))
    assert first_pixel(image) == (255, 0, 0)


def test_a_path_its_text_its_bytes_and_an_image_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "an image.jpg"
    path.write_bytes(JPEG)
    with Image.open(path) as image:
        images = [open_image(source) for source in (path, str(path), JPEG, image)]
    assert all(not difference(images[0], other).any() for other in images[1:])


def test_the_content_counts_not_the_ending(tmp_path: Path) -> None:
    (tmp_path / "really.jpg").write_bytes(encoded(Image.new("RGB", (3, 2), (9, 8, 7)), "PNG"))
    assert first_pixel(open_image(tmp_path / "really.jpg")) == (9, 8, 7)


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "LA", "PA", "I", "F"]
)
def test_an_image_of_any_mode_becomes_rgb(mode: str) -> None:
    image = open_image(Image.new(mode, (5, 4)))
    assert (image.mode, image.size) == ("RGB", (5, 4))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_the_image_that_was_given_stays_as_it_is(mode: str) -> None:
    given_image = scene(4, 5).convert(mode)
    before = given_image.copy()
    open_image(given_image, at_least=(1, 1)).paste((1, 2, 3), (0, 0, 5, 4))
    assert given_image == before


def test_an_image_that_was_given_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(encoded(scene(4, 5), "GIF", save_all=True, append_images=[scene(4, 5, 1)]))
    with Image.open(tmp_path / "a.gif") as image:
        open_image(image)
        image.seek(1)


def test_a_truncated_file_given_as_an_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    path.write_bytes(JPEG[: len(JPEG) // 2])
    with Image.open(path) as image, pytest.raises(ImageError, match=r"half\.jpg': damaged or truncated"):
        open_image(image)


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ImageError, match=r"<image of 0×3 pixels>': 0×3 pixels: it is empty"):
        open_image(Image.new("RGB", (0, 3)))


def test_warning_filters_are_left_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    before = list(warnings.filters)
    FileImages(["a"], [tmp_path / "a.jpg"]).load([0] * 16, Preprocess(8, 8))
    assert list(warnings.filters) == before


def test_pixels_are_rgb_in_rows() -> None:
    image = Image.new("RGB", (3, 2))
    image.putpixel((2, 1), (10, 20, 30))
    pixels = to_pixels(image)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (3, 2, 3)
    assert pixels[:, 1, 2].tolist() == [10, 20, 30]
    assert pixels.sum() == 60


# Fitting

sizes = st.tuples(st.integers(1, 120), st.integers(1, 120))


@given(size=sizes, wanted=sizes, fit=st.sampled_from(FITS))
def test_an_image_of_any_size_is_fitted_exactly(size: tuple[int, int], wanted: tuple[int, int], fit: Fit) -> None:
    pixels = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    fitted = Preprocess(*wanted, fit).fit_pixels(pixels)
    assert fitted.shape == (1, 3, *wanted)
    assert fitted.dtype == torch.uint8


@given(size=sizes, wanted=sizes, value=st.integers(0, 255), fit=st.sampled_from(["crop", "stretch"]))
def test_one_colour_stays_that_colour(size: tuple[int, int], wanted: tuple[int, int], value: int, fit: Fit) -> None:
    assert (Preprocess(*wanted, fit).fit_pixels(plain(*size, value)) == value).all()


@given(size=sizes, wanted=sizes)
def test_pad_keeps_the_whole_image_in_the_middle_of_a_grey_ground(
    size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    preprocess = Preprocess(*wanted, "pad", mean=(0.25, 0.5, 0.75))
    fitted = preprocess.fit_pixels(plain(*size, 255))[0]
    ratio = min(wanted[0] / size[0], wanted[1] / size[1])
    rows, columns = (fitted == 255).all(0).any(1).nonzero()[:, 0], (fitted == 255).all(0).any(0).nonzero()[:, 0]
    for lines, length, room in ((rows, size[0], wanted[0]), (columns, size[1], wanted[1])):
        assert len(lines) == max(1, round(length * ratio))
        assert len(lines) == lines[-1] - lines[0] + 1
        assert abs(int(lines[0]) - (room - 1 - int(lines[-1]))) <= 1
    ground = torch.tensor([64, 128, 191], dtype=torch.uint8)[:, None, None].expand_as(fitted).clone()
    ground[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 255
    assert torch.equal(fitted, ground)


def test_pad_is_a_plain_resize_within_its_ground() -> None:
    image = scene(90, 60)
    fitted = Preprocess(60, 60, "pad").fit_pixels(to_pixels(image)[None])[0]
    assert difference(fitted[:, :, 10:50], image.resize((40, 60), Image.Resampling.BILINEAR)).max() <= 1


def test_pad_grounds_every_image_of_a_batch() -> None:
    fitted = Preprocess(4, 8, "pad").fit_pixels(torch.cat([plain(4, 4, 10), plain(4, 4, 20)]))
    assert fitted[:, 0, 0, 2].tolist() == [10, 20]
    assert fitted[:, :, 0, 0].tolist() == [[124, 116, 104]] * 2


def test_crop_cuts_a_wide_image_evenly_at_both_ends() -> None:
    columns = torch.arange(100, dtype=torch.uint8).expand(1, 3, 20, 100)
    assert torch.equal(Preprocess(20, 20, "crop").fit_pixels(columns), columns[..., 40:60])


def test_crop_cuts_a_tall_image_evenly_at_both_ends() -> None:
    rows = torch.arange(100, dtype=torch.uint8)[:, None].expand(1, 3, 100, 20)
    assert torch.equal(Preprocess(20, 20, "crop").fit_pixels(rows), rows[..., 40:60, :])


def test_crop_is_a_plain_resize_of_the_middle() -> None:
    image = scene(90, 60)
    fitted = Preprocess(30, 40, "crop").fit_pixels(to_pixels(image)[None])[0]
    expected = image.crop((0, 22, 60, 67)).resize((40, 30), Image.Resampling.BILINEAR)
    assert difference(fitted, expected).max() <= 1


@given(size=sizes, wanted=sizes)
@example(size=(50, 40), wanted=(7, 1))
@example(size=(50, 40), wanted=(1, 1))
@settings(max_examples=60)
def test_stretch_agrees_with_pillows_resize(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    fitted = Preprocess(*wanted, "stretch").fit_pixels(torch.from_numpy(values).permute(2, 0, 1)[None])[0]
    apart = difference(fitted, Image.fromarray(values).resize(wanted[::-1], Image.Resampling.BILINEAR))
    assert apart.max() <= 2
    assert apart.mean() <= 0.5


@pytest.mark.parametrize("size", [(9, 1), (1, 9), (9, 7)])
@pytest.mark.parametrize("wanted", [(1, 1), (5, 1), (1, 5), (5, 4)])
def test_rows_columns_and_single_pixels_are_resized_alike_in_any_memory_layout(
    size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    pixels = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    layouts = [pixels, pixels.contiguous(memory_format=torch.channels_last), pixels.mT.contiguous().mT]
    layouts.append(torch.nn.functional.pad(pixels, (1, 2, 3, 4))[..., 3:-4, 1:-2])
    image = Image.fromarray(pixels[0].permute(1, 2, 0).contiguous().numpy())
    resized = image.resize(wanted[::-1], Image.Resampling.BILINEAR)
    for layout in layouts:
        assert difference(Preprocess(*wanted, "stretch").fit_pixels(layout)[0], resized).max() <= 1


@pytest.mark.parametrize("size", [(1, 5_000), (5_000, 1)])
@pytest.mark.parametrize("fit", FITS)
def test_a_strip_is_never_blown_up(fit: Fit, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    resized, sizes = images._resize, []

    def noted(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
        sizes.append(height * width)
        return resized(pixels, height, width)

    monkeypatch.setattr(images, "_resize", noted)
    assert Preprocess(64, 96, fit).read(encoded(Image.new("RGB", size[::-1], "red"), "PNG")).shape == (3, 64, 96)
    assert max(sizes) <= 64 * 96


@pytest.mark.parametrize(("size", "line"), [((1, 5_000), (1, 96)), ((5_000, 1), (64, 1))], ids=["wide", "tall"])
def test_a_padded_strip_is_one_line_of_its_colours(size: tuple[int, int], line: tuple[int, int]) -> None:
    strip = np.random.default_rng(0).integers(1, 256, (*size, 3), dtype=np.uint8)
    fitted = Preprocess(64, 96, "pad", mean=(0, 0, 0)).fit_pixels(torch.from_numpy(strip).permute(2, 0, 1)[None])[0]
    drawn = fitted[fitted.bool().any(0).expand_as(fitted)].view(3, *line)
    assert difference(drawn, Image.fromarray(strip).resize(line[::-1], Image.Resampling.BILINEAR)).max() <= 1


@pytest.mark.parametrize("fit", FITS)
def test_an_image_that_fits_already_keeps_its_pixels(fit: Fit) -> None:
    pixels = torch.randint(0, 256, (2, 3, 7, 9), dtype=torch.uint8)
    assert torch.equal(Preprocess(7, 9, fit).fit_pixels(pixels), pixels)


@pytest.mark.parametrize("fit", FITS)
def test_a_batch_is_fitted_as_its_images_are(fit: Fit) -> None:
    pixels = torch.randint(0, 256, (3, 3, 50, 31), dtype=torch.uint8)
    preprocess = Preprocess(20, 24, fit)
    alone = torch.cat([preprocess.fit_pixels(image[None]) for image in pixels])
    assert torch.equal(preprocess.fit_pixels(pixels), alone)


@pytest.mark.parametrize("fit", FITS)
def test_reading_an_image_is_fitting_a_batch_of_one(fit: Fit) -> None:
    image, preprocess = scene(50, 31), Preprocess(20, 24, fit)
    assert torch.equal(preprocess.read(encoded(image, "PNG")), preprocess.fit_pixels(to_pixels(image)[None])[0])


def test_reading_twice_gives_the_same() -> None:
    assert torch.equal(Preprocess(20, 24).read(JPEG), Preprocess(20, 24).read(JPEG))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(300, 400), (800, 450), (513, 771)])
def test_a_jpeg_decoded_at_a_reduced_size_reads_like_the_whole(fit: Fit, size: tuple[int, int]) -> None:
    content, preprocess = encoded(scene(*size), "JPEG", quality=90), Preprocess(64, 96, fit)
    assert open_image(content, at_least=(64, 96)).size < size[::-1]
    whole = preprocess.fit_pixels(to_pixels(open_image(content))[None])[0]
    assert difference(preprocess.read(content), whole).mean() < 1


# Normalising


def test_normalising_takes_the_mean_off_and_divides_by_the_deviation() -> None:
    pixels = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    preprocess = Preprocess(mean=(0.1, 0.5, 0.9), std=(0.2, 0.3, 0.4))
    values = pixels.double().numpy() / 255
    mean, std = (np.array(three)[:, None, None] for three in (preprocess.mean, preprocess.std))
    normal = preprocess.normalise(pixels)
    assert normal.dtype == torch.float32
    np.testing.assert_allclose(normal.numpy(), (values - mean) / std, rtol=0, atol=1e-6)


def test_a_normalised_batch_lies_channels_last() -> None:
    normal = Preprocess().normalise(torch.zeros(2, 3, 5, 7, dtype=torch.uint8))
    assert normal.shape == (2, 3, 5, 7)
    assert normal.is_contiguous(memory_format=torch.channels_last)


def test_normalising_leaves_the_pixels_as_they_are() -> None:
    pixels = plain(2, 2, 100)
    Preprocess().normalise(pixels)
    assert (pixels == 100).all()


def test_the_grey_ground_is_nearly_nought_when_normalised() -> None:
    normal = Preprocess(8, 16).normalise(Preprocess(8, 16).fit_pixels(plain(8, 8, 255)))
    assert normal[:, :, :, 0].abs().max() < 0.01


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"height": 0}, "height=0"),
        ({"width": -5}, "width=-5"),
        ({"fit": "zoom"}, "fit='zoom'.*crop, pad, stretch"),
        ({"std": (0.2, 0.0, 0.2)}, r"std=\(0\.2, 0\.0, 0\.2\)"),
        ({"std": (0.2, float("nan"), 0.2)}, r"std=.*nan"),
        ({"std": (0.2, float("inf"), 0.2)}, r"std=.*inf"),
        ({"std": (0.2, 0.2)}, r"std=\(0\.2, 0\.2\)"),
        ({"mean": (123.675, 116.28, 103.53)}, r"mean=\(123\.675, .*from 0 to 1"),
        ({"mean": (0.5, float("nan"), 0.5)}, "mean=.*nan"),
        ({"mean": (0.5,)}, r"mean=\(0\.5,\)"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Preprocess(**wrong)


# Collections


def stored(folder: Path, images: Sequence[Image.Image]) -> FileImages:
    paths = [folder / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        image.save(path, compress_level=1)
    return FileImages([path.stem for path in paths], paths)


@pytest.mark.parametrize("fit", FITS)
def test_files_and_memory_give_the_same_pixels(tmp_path: Path, fit: Fit) -> None:
    images = [scene(30, 44, seed) for seed in range(5)]
    files = stored(tmp_path, images)
    memory = MemoryImages(files.names, torch.stack([to_pixels(image) for image in images]))
    preprocess = Preprocess(16, 20, fit)
    wanted = [4, 0, 0, 2]
    assert torch.equal(files.load(wanted, preprocess), memory.load(wanted, preprocess))
    assert torch.equal(files.load(np.array(wanted), preprocess), memory.load(np.array(wanted), preprocess))


def test_names_and_images_must_be_as_many() -> None:
    with pytest.raises(DataError, match="2 names were given for 3 images"):
        MemoryImages(["a", "b"], torch.zeros(3, 3, 4, 4, dtype=torch.uint8))


def test_names_and_files_must_be_as_many() -> None:
    with pytest.raises(DataError, match="1 names were given for 2 image files"):
        FileImages(["a"], [Path("a.jpg"), Path("b.jpg")])


@pytest.mark.parametrize("none", [[], np.array([], dtype=np.int64)], ids=["list", "array"])
@pytest.mark.parametrize("size", [(4, 6), (8, 8)], ids=["as they are", "resized"])
def test_no_indices_give_an_empty_batch(none: Sequence[int] | np.ndarray, size: tuple[int, int]) -> None:
    memory = MemoryImages(["a"], plain(4, 6, 0))
    for source in (memory, FileImages(["a"], [Path("never opened.jpg")])):
        batch = source.load(none, Preprocess(*size))
        assert batch.shape == (0, 3, *size)
        assert batch.dtype == torch.uint8


def test_what_is_loaded_from_memory_is_a_copy() -> None:
    images = MemoryImages(["a"], plain(4, 4, 7))
    images.load([0], Preprocess(4, 4)).zero_()
    assert (images.pixels == 7).all()


def test_an_unreadable_image_is_named_not_replaced(tmp_path: Path) -> None:
    images = stored(tmp_path, [scene(8, 8, seed) for seed in range(4)])
    images.paths[2].write_bytes(b"")
    with pytest.raises(ImageError, match=r"2\.png") as caught:
        images.load([0, 1, 2, 3], Preprocess(8, 8))
    assert caught.value.path == str(images.paths[2])


def test_of_several_unreadable_images_the_first_is_named(tmp_path: Path) -> None:
    images = stored(tmp_path, [scene(400, 400), scene(8, 8), scene(8, 8)])
    half = images.paths[0].read_bytes()
    images.paths[0].write_bytes(half[: len(half) - 100])  # found out last: nearly all of it is decoded first
    images.paths[2].unlink()
    with pytest.raises(ImageError, match=r"0\.png"):
        images.load([0, 1, 2], Preprocess(8, 8))


def test_images_that_are_not_asked_for_are_not_opened(tmp_path: Path) -> None:
    images = stored(tmp_path, [scene(8, 8), scene(8, 8)])
    images.paths[1].unlink()
    assert len(images.load([0], Preprocess(8, 8))) == 1


def test_order_is_kept_when_decoding_in_parallel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    sides = [700, 3, 500, 3, 3, 300, 3, 3, 3, 100, 3, 3]  # the large ones are ready last
    images = stored(tmp_path, [Image.new("RGB", (side, side), (20 * i,) * 3) for i, side in enumerate(sides)])
    wanted = [0, 1, 2, 3, 11, 5, 4, 10, 9, 8, 7, 6, 0, 3]
    assert images.load(wanted, Preprocess(4, 4))[:, 0, 0, 0].tolist() == [20 * index for index in wanted]


def test_the_size_of_an_image_is_known_from_its_header_alone(tmp_path: Path) -> None:
    scene(30, 20).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    assert image_size(tmp_path / "whole.png") == image_size(tmp_path / "cut.png") == scene(30, 20).size
    with pytest.raises(ImageError, match=r"none\.png"):
        image_size(tmp_path / "none.png")


@pytest.mark.realdata
def test_photographs_are_read_as_pillow_would(real_data: Callable[[str], Path]) -> None:
    paths = find_images(real_data("photos/images"))
    paths = paths[:: max(1, len(paths) // 40)]
    loaded = FileImages([path.name for path in paths], paths).load(range(len(paths)), Preprocess(64, 96, "stretch"))
    means = []
    for path, pixels in zip(paths, loaded, strict=True):
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        means.append(difference(pixels, upright.resize((96, 64), Image.Resampling.BILINEAR)).mean())
    assert np.mean(means) < 1
    assert max(means) < 3.5
