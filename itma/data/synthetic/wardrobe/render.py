"""Draws a product as an image.

Outlines are filled by Pillow at four times the size and averaged down, which antialiases them; cloth, folds, light and
shadow are computed for each pixel.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter

from itma.data.synthetic.wardrobe import fabric
from itma.data.synthetic.wardrobe.bottoms import legs, skirt
from itma.data.synthetic.wardrobe.look import BACKDROPS, Look
from itma.data.synthetic.wardrobe.paths import Outline, Part
from itma.data.synthetic.wardrobe.products import Product
from itma.data.synthetic.wardrobe.tops import top

_FINER = 4
"""Times the size at which outlines are filled."""


_SHAPES = {"skirt": skirt, "trousers": legs, "shorts": legs}
"""Category → what gives its parts, the farthest first; those that are not here are worn on the upper body."""


def render(products: Sequence[Product], looks: Sequence[Look], height: int, width: int) -> torch.Tensor:
    """Images of products, each by itself.

    Args:
        products: what is shown.
        looks: how, one each.
        height: of an image, in pixels.
        width: of an image, in pixels.

    Returns:
        (products, 3, height, width) uint8.
    """
    images = np.empty((len(products), 3, height, width), dtype=np.uint8)
    for index, (product, look) in enumerate(zip(products, looks, strict=True)):
        images[index] = _Frame(product, look, height, width).paint().transpose(2, 0, 1)
    return torch.from_numpy(images)


class _Frame:
    """One image while it is drawn."""

    def __init__(self, product: Product, look: Look, height: int, width: int) -> None:
        self.product, self.look, self.height, self.width = product, look, height, width
        self.parts = _SHAPES.get(product.category, top)(product, look)
        self._fit()
        self.pixel = 1 / self.scale
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        x, y = columns + 0.5 - self.middle[0], rows + 0.5 - self.middle[1]
        cos, sin = math.cos(self.look.turn), math.sin(self.look.turn)
        self.y = (-sin * x + cos * y) / self.scale + self.centre[1]
        self.x = ((cos * x + sin * y) / self.scale - self._swing(self.y)) / look.width + self.centre[0]

    def _fit(self) -> None:
        """Where the garment lies: its middle in the frame's, as large as fits, though short ones stay short."""
        points = np.concatenate([shape for part in self.parts for shape in (*part.outlines, *part.lines)])
        low, high = points.min(0), points.max(0)
        self.centre = ((low[0] + high[0]) / 2, (low[1] + high[1]) / 2)
        tall, wide = high[1] - low[1], high[0] - low[0]
        room = min(self.height, self.width)
        fitting = 0.88 * min(self.height / tall, self.width / wide)
        usual = 0.62 * room / {"dress": 1.75, "trousers": 1.5}.get(self.product.category, 1.05)
        self.scale = min(1.04 * fitting, math.sqrt(fitting * min(usual, fitting))) * self.look.scale
        self.middle = (self.width / 2 + self.look.shift[0] * room, self.height / 2 + self.look.shift[1] * room)

    def _swing(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(self.look.sway[0] * np.sin(1.6 * (y - self.centre[1]) + self.look.sway[1]))

    def _pixels(self, outline: Outline) -> list[float]:
        """Garment units → fine pixels, across and down in turn."""
        points = np.array(outline)
        y = points[:, 1] - self.centre[1]
        x = (points[:, 0] - self.centre[0]) * self.look.width + self._swing(points[:, 1])
        cos, sin = math.cos(self.look.turn), math.sin(self.look.turn)
        across = self.middle[0] + self.scale * (cos * x - sin * y)
        down = self.middle[1] + self.scale * (sin * x + cos * y)
        return list((np.stack([across, down], 1) * _FINER).ravel().tolist())

    def _mask(self, part: Part) -> Image.Image:
        fine = Image.new("L", (self.width * _FINER, self.height * _FINER))
        draw = ImageDraw.Draw(fine)
        for outline in part.outlines:
            draw.polygon(self._pixels(outline), fill=255)
        thick = max(2, round(part.thickness * self.scale * _FINER))
        for line in part.lines:
            draw.line(self._pixels(line), fill=255, width=thick, joint="curve")
        return fine.reduce(_FINER)

    def paint(self) -> np.ndarray:
        """(height, width, 3) uint8."""
        masks = [self._mask(part) for part in self.parts]
        image = self._wall(masks)
        for part, mask in zip(self.parts, masks, strict=True):
            self._paint(image, part, mask)
        look = self.look
        tint = np.array([1 + 0.025 * look.warmth, 1.0, 1 - 0.03 * look.warmth], dtype=np.float32) * look.strength
        return np.asarray(np.clip(image * tint, 0, 1) * 255 + 0.5, dtype=np.uint8)

    def _wall(self, masks: list[Image.Image]) -> np.ndarray:
        """Wall, floor and the garment's shadow on them."""
        look = self.look
        rows = np.linspace(0, 1, self.height, dtype=np.float32)[:, None]
        columns = np.linspace(0, 1, self.width, dtype=np.float32)[None]
        far = (columns - look.glow[0]) ** 2 + (rows - look.glow[1]) ** 2
        light = 1.035 - 0.16 * far
        light = light * (1 - 0.05 / (1 + np.exp(np.clip(-(rows - look.floor) * 90, -50, 50))))
        union = Image.new("L", masks[0].size)
        for part, mask in zip(self.parts, masks, strict=True):
            if part.cloth in ("main", "inside"):
                union.paste(255, mask=mask)
        room = min(self.height, self.width)
        shadow = np.asarray(union.filter(ImageFilter.GaussianBlur(0.03 * room)), dtype=np.float32) / 255
        down, right = round(-0.03 * look.light[1] * room), round(-0.03 * look.light[0] * room)
        shadow = np.roll(shadow, (down, right), (0, 1))
        light = light * (1 - 0.3 * shadow)
        wall = np.array(BACKDROPS[look.backdrop], dtype=np.float32) / 255
        return np.asarray(wall * light[..., None])

    def _paint(self, image: np.ndarray, part: Part, mask: Image.Image) -> None:
        box = mask.getbbox()
        if box is None:
            return
        margin = math.ceil(0.05 * min(self.height, self.width))
        left, upper = max(0, box[0] - margin), max(0, box[1] - margin)
        right, lower = min(self.width, box[2] + margin), min(self.height, box[3] + margin)
        area = (slice(upper, lower), slice(left, right))
        small = mask.crop((left, upper, right, lower))
        covered = np.asarray(small, dtype=np.float32) / 255
        below = image[area]
        if part.cloth == "seam":
            below *= 1 - 0.42 * covered[..., None]
            return
        light = self._light(part, small, area)
        colour, share = self._colour(part, area)
        if share is not None:
            covered = covered * share
        below += covered[..., None] * (colour * light[..., None] - below)

    def _colour(self, part: Part, area: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray | None]:
        name = self.product.colour
        if part.cloth in fabric.EVEN:
            return fabric.EVEN[part.cloth](name), None
        u, v = self._axes(part, area)
        if part.cloth == "lace":
            return np.array((0.97, 0.95, 0.92), dtype=np.float32), fabric.lace(u, v, self.pixel)
        if part.folds:
            u = u + 0.012 * part.folds * np.sin(5.0 * v + self.look.folds[2])
            v = v + 0.014 * part.folds * np.sin(6.0 * u + self.look.folds[3])
        start = self.look.pattern
        return fabric.cloth(name, self.product.pattern, u + start[0], v + start[1], self.pixel), None

    def _axes(self, part: Part, area: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        """Where pixels are along a part's own axes."""
        x, y = self.x[area] - part.origin[0], self.y[area] - part.origin[1]
        cos, sin = math.cos(part.angle), math.sin(part.angle)
        return cos * x + sin * y, -sin * x + cos * y

    def _light(self, part: Part, mask: Image.Image, area: tuple[slice, slice]) -> np.ndarray:
        """How brightly each pixel of a part is lit; about 1."""
        look, room = self.look, min(self.height, self.width)
        if not part.relief and not part.folds:
            return np.full((mask.height, mask.width), part.shade, dtype=np.float32)
        broad = np.asarray(mask.filter(ImageFilter.GaussianBlur(0.035 * room)), dtype=np.float32) / 255
        slope_y, slope_x = np.gradient(broad)
        tilt = -(slope_x * look.light[0] + slope_y * look.light[1]) * room * 0.035
        light = 0.93 + 0.09 * np.clip(2 * broad - 1, 0, 1) + 0.2 * part.relief * tilt
        u, v = self._axes(part, area)
        if part.folds:
            light = light + self._folds(part, u, v)
        if part.rib:
            period = max(0.045, 2.6 * self.pixel)
            light = light + 0.07 * min(1.0, 0.02 / self.pixel) * part.rib * np.sin(2 * math.pi * u / period)
        return np.asarray(part.shade * light, dtype=np.float32)

    def _folds(self, part: Part, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        phase, deep = self.look.folds, 0.055 * self.look.depth * part.folds
        fan = u / (1 + part.spread * np.maximum(v, 0))
        strength = np.clip(0.35 + 0.75 * v, 0.25, 1.15)
        one = np.sin(13 * fan + phase[4] + 1.1 * np.sin(1.9 * v + phase[5]))
        two = np.sin(24 * fan + phase[6] + 1.6 * np.sin(2.7 * v + phase[7]))
        cross = np.sin(9 * v + 5 * u * math.copysign(1, phase[4] - math.pi) + phase[3])
        ridge = 0.62 * one + 0.3 * two
        if not part.spread:
            ridge = 0.5 * ridge + 0.4 * cross * np.abs(cross)
        return np.asarray(deep * strength * ridge)
