"""Colours as they are meant: pixels that come with an ICC profile are brought to sRGB."""

import hashlib
import io
import logging
import threading
from collections import OrderedDict
from functools import cache

import numpy as np
from PIL import Image, ImageCms, features

log = logging.getLogger(__name__)

_PROFILES = 64
"""Transforms that are kept: cameras and programs write the same few profiles again and again."""
_SAME = 2
"""A profile that moves no colour by more than this, of 255, is sRGB under some name; its pixels stay as they are."""
_STEPS = np.linspace(0, 255, 9).round().astype(np.uint8)

_transforms: OrderedDict[tuple[bytes, str], ImageCms.ImageCmsTransform | None] = OrderedDict()
_lock = threading.Lock()


def in_srgb(image: Image.Image) -> Image.Image:
    """The image with its colours in sRGB, where it holds a profile that says otherwise; else the image itself.

    Colours outside sRGB are clipped (relative colorimetric, with black point compensation). A profile that is damaged
    or belongs to another kind of pixels is passed over.

    Args:
        image: a decoded image of 8 bits a channel; of others the profile is passed over.
    """
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "L", "LA", "CMYK", "P", "YCbCr") or not _able():
        return image
    mode = {"L": "L", "LA": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    transform = _transform(bytes(profile), mode)
    if transform is None:
        return image
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    converted: Image.Image = transform.apply(image if image.mode == mode else image.convert(mode))
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


@cache
def _able() -> bool:
    if not features.check("littlecms2"):
        log.warning("this Pillow was built without LittleCMS: colour profiles of images are passed over")
        return False
    return True


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; nothing where it is sRGB itself, damaged, or of another kind of pixels."""
    key = hashlib.sha256(profile).digest(), mode
    with _lock:
        if key in _transforms:
            _transforms.move_to_end(key)
            return _transforms[key]
        transform = _transforms[key] = _make(profile, mode)
        if len(_transforms) > _PROFILES:
            _transforms.popitem(last=False)
        return transform


def _make(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        transform = ImageCms.ImageCmsTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            # without its cache of one pixel a transform may be used by several threads at once
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOCACHE,
        )
        if mode == "CMYK":  # no profile of inks is sRGB
            return transform
        probe = Image.fromarray(_colours(mode))
        plain = np.asarray(probe.convert("RGB"), dtype=np.int16)
        moved = int(np.abs(np.asarray(transform.apply(probe), dtype=np.int16) - plain).max())
    except Exception as error:  # LittleCMS refuses in many ways
        log.debug("a colour profile is passed over: %s", error)
        return None
    return None if moved <= _SAME else transform


def _colours(mode: str) -> np.ndarray:
    """All colours, coarsely: uint8 (1, colours) of grey or (1, colours, 3)."""
    if mode == "L":
        return np.arange(256, dtype=np.uint8)[None]
    return np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS), axis=-1).reshape(1, -1, 3)
