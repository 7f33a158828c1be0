"""Colours as they are meant: profiles of wide gamuts, inks and greys are applied, bad ones are passed over."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from itma.data import colour
from itma.data.images import Preprocess, open_image, open_upload
from itma.models.image_encoders.efficientnet_lite import MEAN, STD
from itma.server.decoding import Decoder
from itma.server.images import Thumbnails

pytestmark = pytest.mark.skipif(not features.check("littlecms2"), reason="this Pillow was built without LittleCMS")

P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
"""The colorants of Display P3 (SMPTE EG 432-1 with D65), adapted to D50: X, Y, Z of red, green and blue."""
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141))
D50 = (0.9642, 1.0, 0.82491)


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def curve() -> bytes:
    """The curve of sRGB, from pixels to light, as 1,024 values."""
    x = np.linspace(0, 1, 1024)
    light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return b"curv" + bytes(4) + struct.pack(">I", 1024) + (light * 65535).round().astype(">u2").tobytes()


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256)) + bytes(2)


def icc(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2, of a screen: a header, a table of tags, and the tags."""
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(79),
        b"cprt": b"text" + bytes(4) + b"none\0\0\0\0",
        b"wtpt": b"XYZ " + bytes(4) + b"".join(map(fixed, D50)),
        **tags,
    }
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    rest = struct.pack(">I", len(tags)) + table + body
    header = struct.pack(">I4sI4s4s4s", 128 + len(rest), bytes(4), 0x02100000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + b"".join(map(fixed, D50))
    return header.ljust(128, b"\0") + rest


def matrix(colorants: tuple[tuple[float, ...], ...], tone: bytes) -> bytes:
    tags = {}
    for name, xyz in zip((b"r", b"g", b"b"), colorants, strict=True):
        tags[name + b"XYZ"] = b"XYZ " + bytes(4) + b"".join(map(fixed, xyz))
        tags[name + b"TRC"] = tone
    return icc(b"RGB ", tags)


DISPLAY_P3, ADOBE_RGB = matrix(P3, curve()), matrix(ADOBE, gamma(2.19921875))


def file(image: Image.Image, profile: bytes | None, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, icc_profile=profile)
    return buffer.getvalue()


def opened(value: object, mode: str = "RGB", profile: bytes | None = DISPLAY_P3, kind: str = "PNG") -> tuple[int, ...]:
    """What a plain image of one colour comes out as."""
    image = Image.new(mode, (8, 8), value)  # type: ignore[arg-type]
    return tuple(np.asarray(open_image(file(image, profile, kind)))[4, 4].tolist())


def light(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def test_a_colour_outside_srgb_is_clipped() -> None:
    assert opened((255, 0, 0)) == (255, 0, 0)
    assert max(abs(a - b) for a, b in zip(opened((0, 255, 0)), (0, 255, 0), strict=True)) <= 2


@pytest.mark.parametrize("grey", [0, 1, 60, 128, 200, 255])
def test_a_neutral_stays_neutral(grey: int) -> None:
    assert max(abs(value - grey) for value in opened((grey, grey, grey))) <= 1


@pytest.mark.parametrize("colorants", [P3, ADOBE])
def test_known_colours_of_srgb_come_back(colorants: tuple[tuple[float, ...], ...]) -> None:
    meant = np.random.default_rng(0).integers(40, 216, (50, 3))
    to_wide = np.linalg.inv(np.array(colorants).T) @ np.array(SRGB).T
    linear = (light(meant / 255) @ to_wide.T).clip(0, 1)
    p3 = colorants is P3
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    coded = coded if p3 else linear ** (1 / 2.19921875)
    image = Image.fromarray((255 * coded).round().astype(np.uint8)[None])
    pixels = np.asarray(open_image(file(image, DISPLAY_P3 if p3 else ADOBE_RGB)))[0]
    assert np.abs(pixels.astype(int) - meant).max() <= 2
    assert np.abs(np.asarray(image)[0].astype(int) - meant).max() > 10  # else the profile would not matter


@pytest.mark.parametrize("profile", [matrix(SRGB, curve()), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))])
def test_a_profile_of_srgb_changes_nothing(profile: object) -> None:
    data = profile.tobytes() if isinstance(profile, ImageCms.ImageCmsProfile) else profile
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8))
    image.info["icc_profile"] = data
    assert colour.in_srgb(image) is image


def test_a_grey_image_with_a_profile_is_brought_to_srgbs_curve() -> None:
    linear = icc(b"GRAY", {b"kTRC": gamma(1.0)})
    assert all(abs(value - 188) <= 2 for value in opened(128, "L", linear))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_have_the_colours_of_eight(kind: str) -> None:
    linear = icc(b"GRAY", {b"kTRC": gamma(1.0)})
    fine = Image.fromarray(np.full((4, 4), 128 * 257, dtype=np.uint16))
    coarse = Image.new("L", (4, 4), 128)
    assert np.array_equal(open_image(file(fine, linear, kind)), open_image(file(coarse, linear, kind)))


def test_sixteen_bits_of_colour_have_the_colours_of_eight() -> None:
    row = b"\0" + struct.pack(">3H", 200 * 257, 60 * 257, 60 * 257) * 4
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0),
        b"iCCP": b"x\0\0" + zlib.compress(DISPLAY_P3),
        b"IDAT": zlib.compress(row * 4),
        b"IEND": b"",
    }
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in parts.items()
    )
    assert open_image(data).getpixel((0, 0)) == opened((200, 60, 60))


def inks() -> bytes:
    """A profile of a printer that says of no and full ink of each kind which colour comes out (in L*a*b*)."""
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + b"".join(map(fixed, np.eye(3).ravel())) + bytes(range(256)) * 4
    for c, m, y, k in np.ndindex(2, 2, 2, 2):
        lightness = 100 * (1 - k) * (1 - 0.4 * c) * (1 - 0.5 * m) * (1 - 0.1 * y)
        table += bytes([round(lightness * 2.55), 128 - 37 * c + 75 * m, 128 - 50 * c + 93 * y])
    profile = bytearray(icc(b"CMYK", {b"A2B0": table + bytes(range(256)) * 3}))
    profile[12:16], profile[20:24] = b"prtr", b"Lab "
    return bytes(profile)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_have_the_colours_that_their_profile_says(kind: str) -> None:
    cyan = file(Image.new("CMYK", (400, 400), (255, 0, 0, 0)), inks(), kind)
    for image in (open_image(cyan), open_image(cyan, at_least=(20, 20))):
        pixel = np.array(image.getpixel((0, 0)))
        assert np.abs(pixel - (0, 165, 232)).max() <= 3  # L*a*b* 60, -37, -50; without the profile 0, 255, 255


def test_grey_with_transparency_keeps_its_transparency() -> None:
    linear = icc(b"GRAY", {b"kTRC": gamma(1.0)})
    assert opened((128, 0), "LA", linear) == (255, 255, 255)
    assert all(abs(value - 188) <= 2 for value in opened((128, 255), "LA", linear))


def test_transparent_parts_of_a_wide_gamut_image_become_white() -> None:
    assert opened((200, 60, 60, 0), "RGBA") == (255, 255, 255)
    assert opened((200, 60, 60, 255), "RGBA") == opened((200, 60, 60)) != (200, 60, 60)


BROKEN = [b"no profile", DISPLAY_P3[:150], icc(b"GRAY", {b"kTRC": gamma(1.0)}), icc(b"CMYK", {})]


@pytest.mark.parametrize("profile", BROKEN)
def test_a_profile_that_is_damaged_or_of_another_kind_is_passed_over(profile: bytes) -> None:
    assert opened((200, 60, 60), profile=profile) == (200, 60, 60)


def test_a_cmyk_jpeg_with_a_profile_of_rgb_opens_as_without() -> None:
    assert opened((0, 200, 200, 0), "CMYK", DISPLAY_P3, "JPEG") == opened((0, 200, 200, 0), "CMYK", None, "JPEG")


def test_a_profile_seen_before_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened((200, 60, 60))
    monkeypatch.setattr(colour, "_make", lambda *_: pytest.fail("made again"))
    assert opened((200, 60, 60)) == first


def test_many_threads_give_the_same_colours() -> None:
    data = [file(Image.new("RGB", (64, 64), (value, 60, 90)), DISPLAY_P3) for value in range(0, 256, 8)]
    alone = [np.asarray(open_image(one)) for one in data]
    with ThreadPoolExecutor(8) as pool:
        together = [np.asarray(image) for image in pool.map(open_image, data * 4)]
    assert all(np.array_equal(one, alone[index % len(data)]) for index, one in enumerate(together))


def test_without_littlecms_profiles_are_passed_over_and_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    colour._able.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(colour.features, "check", lambda _: False)
        assert opened((200, 60, 60)) == opened((200, 60, 60)) == (200, 60, 60)
    colour._able.cache_clear()
    assert [record.message for record in caplog.records if "LittleCMS" in record.message] == [
        "this Pillow was built without LittleCMS: colour profiles of images are passed over"
    ]


def _thumbnails() -> Thumbnails:
    return Thumbnails(10**7, Decoder(pixels=10**7, seconds=30, memory=10**9))


def test_uploads_and_thumbnails_have_the_same_colours_without_a_profile(tmp_path: Path) -> None:
    data = file(Image.new("RGB", (64, 64), (200, 60, 60)), DISPLAY_P3)
    right = opened((200, 60, 60))
    assert tuple(np.asarray(open_upload(data, pixels=10**6))[0, 0].tolist()) == right
    (tmp_path / "one.png").write_bytes(data)
    with Image.open(io.BytesIO(_thumbnails().of(str(tmp_path / "one.png"), 48)[1])) as copy:
        assert "icc_profile" not in copy.info
        apart = np.abs(np.asarray(copy)[24, 24].astype(int) - right)
    assert apart.max() <= 3


@pytest.mark.parametrize(
    ("mode", "size", "kind"),
    [
        ("L", (30, 20), "JPEG"),
        ("LA", (30, 20), "PNG"),
        ("CMYK", (30, 20), "JPEG"),
        ("RGBA", (1, 1), "PNG"),
        ("RGB", (3, 4000), "PNG"),
        ("RGB", (4000, 3), "JPEG"),
    ],
)
def test_odd_photographs_become_the_lite_networks_input(mode: str, size: tuple[int, int], kind: str) -> None:
    preprocess = Preprocess(128, 96, mean=MEAN, std=STD)
    batch = preprocess.normalise(preprocess.read(file(Image.new(mode, size), None, kind))[None])
    assert batch.shape == (1, 3, 128, 96)
    assert bool((batch >= -127 / 128 - 1e-6).all() and (batch <= 1 + 1e-6).all())


def test_the_copy_for_the_page_of_a_display_p3_image_is_in_srgb(tmp_path: Path) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    primaries = {
        b"rXYZ": (0.51512, 0.2412, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.1571, 0.06657, 0.78407),
    }
    for number in range(struct.unpack(">I", profile[128:132])[0]):
        name, offset, size = struct.unpack(">4sII", profile[132 + 12 * number : 144 + 12 * number])
        if name in primaries:
            values = struct.pack(">iii", *(round(value * 65_536) for value in primaries[name]))
            profile[offset : offset + size] = b"XYZ \0\0\0\0" + values
    path = tmp_path / "p3.png"
    Image.new("RGB", (64, 48), (200, 120, 60)).save(path, icc_profile=bytes(profile))
    for size in (96, 1600):
        with Image.open(io.BytesIO(_thumbnails().of(str(path), size)[1])) as sent:
            red, green, blue = sent.getpixel((30, 20))  # type: ignore[misc]
            assert "icc_profile" not in sent.info and red > 208 and green < 120 and blue < 55
