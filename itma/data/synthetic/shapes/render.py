"""The ray-caster: scenes and looks → images, in batches, on any device.

Things and shadows are tested only for the samples inside their rectangles of the image: flat lists of pairs
(thing, sample) are intersected shape by shape, and the nearest hit of each sample is kept. Things are sampled several
times to a pixel; the floor and the shadows on it, which are smooth, once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from itma.data.synthetic.shapes.look import Look
from itma.data.synthetic.shapes.scenes import COLOURS, SHAPES, Scene
from itma.data.synthetic.shapes.solids import PENUMBRA, Solids, Vectors, facing, lit, meet
from itma.data.synthetic.shapes.view import EYE, Rays, pairs, rectangles, runs

SAMPLES = 3
"""Samples of a pixel, along either side."""

PALETTE: dict[str, tuple[int, int, int]] = {
    "gray": (88, 88, 90),
    "red": (196, 42, 40),
    "blue": (44, 78, 214),
    "green": (34, 128, 40),
    "brown": (132, 78, 34),
    "purple": (134, 44, 192),
    "cyan": (46, 202, 206),
    "yellow": (250, 222, 50),
}
"""Colour of a thing in full light, as sRGB bytes."""

_FLOOR = 0.40
"""How much light the floor returns, from 0 to 1."""
_AMBIENT, _DIFFUSE, _SPECULAR = 0.34, 0.95, 0.4
_SHADOW_MARGIN = 1.5 * (PENUMBRA[0] + PENUMBRA[1])
_CONTACT = (0.14, 0.45)
"""Around a thing the floor gets less of the ambient light: how far out, and how much less."""


@dataclass(frozen=True)
class Hits:
    """The samples that see a thing of one shape, ordered by thing."""

    thing: torch.Tensor
    """Index into the solids."""
    pixel: torch.Tensor
    """Index into all pixels of all images."""
    depth: torch.Tensor
    ray: Vectors
    """Its direction."""


@torch.no_grad()
def render(
    scenes: Sequence[Scene],
    looks: Sequence[Look],
    height: int,
    width: int,
    *,
    device: str | torch.device = "cpu",
    cull: bool = True,
) -> torch.Tensor:
    """Images of scenes.

    Args:
        scenes: what to show.
        looks: how, one for each scene.
        height: of an image, in pixels.
        width: of an image, in pixels.
        device: where to compute.
        cull: look for things and shadows only inside their bounding rectangles; the images are the same without.

    Returns:
        (scenes, 3, height, width) uint8 on `device`. An image does not depend on the others of the batch.
    """
    device = torch.device(device)
    solids = Solids.of(scenes, looks, device)
    floor = _floor(solids, looks, height, width, cull)
    if not len(solids):
        return _to_bytes(floor)
    hits = _cast(solids, len(scenes), height, width, cull)
    couples = _reaching(solids, cull)
    light = torch.zeros(3, len(scenes) * height * width, device=device)
    free = torch.full_like(light[0], SAMPLES**2)
    for shape, part in zip(SHAPES, hits, strict=True):
        colours = _shade(shape, solids, part, looks, couples)
        for channel, colour in zip(light, colours, strict=True):
            channel.index_add_(0, part.pixel, colour)
        free.index_add_(0, part.pixel, part.pixel.new_full((), -1, dtype=torch.float32).expand(len(part.pixel)))
    each = (len(scenes), height, width)
    floor *= free.view(each)[:, None]
    return _to_bytes((floor + light.view(3, *each).transpose(0, 1)) / SAMPLES**2)


@torch.no_grad()
def visible(scene: Scene, look: Look, height: int, width: int) -> torch.Tensor:
    """Which pixels of an image show which thing.

    Returns:
        (things, height, width) bool: a pixel belongs to the thing that fills the most of it, or to none where the
        floor fills more.
    """
    if not scene:
        return torch.zeros(0, height, width, dtype=torch.bool)
    solids = Solids.of([scene], [look], torch.device("cpu"))
    hits = _cast(solids, 1, height, width, cull=True)
    cell = torch.cat([solids.thing[part.thing] * (height * width) + part.pixel for part in hits])
    filled = torch.bincount(cell, minlength=len(scene) * height * width).view(len(scene), height, width)
    floor = SAMPLES**2 - filled.sum(0)
    most, winner = filled.max(0)
    return (torch.arange(len(scene))[:, None, None] == winner) & (most >= floor)


def _to_bytes(light: torch.Tensor) -> torch.Tensor:
    """Linear light to bytes, with a gamma of 2: exact arithmetic, so the same on every machine."""
    return (light.clamp_(0, 1).sqrt_() * 255 + 0.5).to(torch.uint8)


def _bounds(solids: Solids, rays: Rays, cull: bool, *, along_light: bool = False, margin: float = 0.0) -> torch.Tensor:
    """The samples that are tested for each thing, as `rectangles` gives them; see `Solids.corners`."""
    if cull:
        return rectangles(solids.corners(along_light=along_light, margin=margin), rays)
    return torch.tensor([[0, rays.rows, 0, rays.columns]], device=solids.x.device).expand(len(solids), 4)


def _cast(solids: Solids, images: int, height: int, width: int, cull: bool) -> list[Hits]:
    device = solids.x.device
    rays = Rays.of(height, width, SAMPLES, device)
    bounds = _bounds(solids, rays, cull)
    candidates = []
    for shape, part in zip(SHAPES, solids.of_shape, strict=True):
        tests = pairs(bounds[part])
        met, depth = meet(shape, solids, part.start, tests, rays)
        row_R = tests.row_P.index_select(0, met)
        column = tests.column_P.index_select(0, met)
        first_R = (solids.image[tests.thing_R + part.start] * rays.rows + tests.row_R) * rays.columns
        sample = first_R.index_select(0, row_R) + column
        candidates.append((sample, depth, tests.thing_R + part.start, tests.row_R, row_R, column))
    nearest = torch.full((images * rays.rows * rays.columns,), torch.inf, device=device)
    for sample, depth, *_ in candidates:
        nearest.scatter_reduce_(0, sample, depth, "amin")
    hits = []
    pixel_of_column = torch.arange(rays.columns, device=device) // SAMPLES
    for sample, depth, thing_R, row_of_R, row_R, column in candidates:
        front = torch.nonzero(depth <= nearest.index_select(0, sample))[:, 0]
        column, row_R = column.index_select(0, front), row_R.index_select(0, front)
        first_R = (solids.image[thing_R] * height + row_of_R // SAMPLES) * width
        pixel = first_R.index_select(0, row_R) + pixel_of_column.index_select(0, column)
        away, up = (numbers[row_of_R].index_select(0, row_R) for numbers in (rays.y, rays.z))
        ray = rays.x.index_select(0, column), away, up
        hits.append(Hits(thing_R.index_select(0, row_R), pixel, depth.index_select(0, front), ray))
    return hits


def _shade(
    shape: str, solids: Solids, hits: Hits, looks: Sequence[Look], couples: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Linear red, green and blue that the hits send to the camera."""
    thing, ray = hits.thing, hits.ray
    point = (EYE[0] + hits.depth * ray[0], EYE[1] + hits.depth * ray[1], EYE[2] + hits.depth * ray[2])
    normal = facing(shape, solids, thing, point)
    light = tuple(one.index_select(0, thing) for one in solids.light)
    direct = _dot(normal, light).clamp_(min=0) * _through(solids, thing, point, couples)
    per_length = 1 / _dot(ray, ray).sqrt_()
    half = tuple(one - other * per_length for one, other in zip(light, ray, strict=True))
    gloss = _dot(normal, half).clamp_(min=0) / _dot(half, half).sqrt_()
    for _ in range(5):
        gloss = gloss * gloss  # to the 32nd power, by products alone: the same on every machine
    gloss *= _SPECULAR * (direct * 2).clamp_(max=1)
    ambient = (0.62 + 0.38 * normal[2]) * (0.7 * _AMBIENT + _AMBIENT * point[2].clamp(max=0.3))
    device = thing.device
    own = ((torch.tensor([PALETTE[colour] for colour in COLOURS], device=device) / 255) ** 2)[solids.colour]
    lamp = _lamps(looks, device)[:, solids.image]
    return tuple(
        own[:, channel].index_select(0, thing) * ambient
        + (own[:, channel] * lamp[channel] * _DIFFUSE).index_select(0, thing) * direct
        + lamp[channel].index_select(0, thing) * gloss
        for channel in range(3)
    )


def _dot(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


def _lamps(looks: Sequence[Look], device: torch.device) -> torch.Tensor:
    """Colour of each image's light: (3, images)."""
    rows = [
        (look.strength * (1 + 0.05 * look.warmth), look.strength, look.strength * (1 - 0.05 * look.warmth))
        for look in looks
    ]
    return torch.tensor(rows, dtype=torch.float64).float().reshape(-1, 3).T.contiguous().to(device)


def _through(solids: Solids, thing: torch.Tensor, point: Vectors, couples: torch.Tensor) -> torch.Tensor:
    """The share of the light that the other things let through to points on things, which are ordered by thing."""
    share = torch.ones_like(point[0])
    counts = torch.bincount(thing, minlength=len(solids))
    starts = counts.cumsum(0) - counts
    for shape, part in zip(SHAPES, solids.of_shape, strict=True):
        caster, receiver = torch.nonzero(couples[part] & (counts > 0)).unbind(1)
        if not len(caster):
            continue
        couple, index = runs(starts[receiver], counts[receiver])
        points = (point[0].index_select(0, index), point[1].index_select(0, index), point[2].index_select(0, index))
        through = lit(shape, solids, (caster + part.start).index_select(0, couple), points)
        share.scatter_reduce_(0, index, through, "amin")
    return share


def _reaching(solids: Solids, cull: bool) -> torch.Tensor:
    """(T, T) bool: whether the shadow of one thing can reach another, by circles on the floor plan."""
    same = solids.image[:, None] == solids.image
    same &= ~torch.eye(len(solids), dtype=torch.bool, device=same.device)
    if not cull:
        return same
    along_x, along_y = (solids.height / solids.light[2] * solids.light[axis] for axis in (0, 1))
    from_x, from_y = solids.x[:, None] - solids.x, solids.y[:, None] - solids.y
    square = (along_x**2 + along_y**2)[:, None]
    share = ((from_x * along_x[:, None] + from_y * along_y[:, None]) / square).clamp(0, 1)
    distance = ((from_x - share * along_x[:, None]) ** 2 + (from_y - share * along_y[:, None]) ** 2).sqrt()
    reach = solids.radius.clone()
    cubes = solids.of_shape[SHAPES.index("cube")]
    reach[cubes] = reach[cubes] * 2**0.5
    return same & (distance < reach[:, None] + reach + _SHADOW_MARGIN)


def _floor(solids: Solids, looks: Sequence[Look], height: int, width: int, cull: bool) -> torch.Tensor:
    """Linear light of the empty floor with the shadows on it: (images, 3, height, width)."""
    device = solids.x.device
    rays = Rays.of(height, width, 1, device)
    depth = -EYE[2] / rays.z
    y_row = EYE[1] + depth * rays.y
    direct = torch.ones(len(looks), height, width, device=device)
    around = torch.ones_like(direct)
    bounds = _bounds(solids, rays, cull, along_light=True, margin=max(_SHADOW_MARGIN, _CONTACT[0]))
    for shape, part in zip(SHAPES, solids.of_shape, strict=True):
        tests = pairs(bounds[part])
        thing_R = tests.thing_R + part.start
        thing = thing_R.index_select(0, tests.row_P)
        along = depth[tests.row_R].index_select(0, tests.row_P) * rays.x.index_select(0, tests.column_P)
        point = EYE[0] + along, y_row[tests.row_R].index_select(0, tests.row_P), torch.zeros((), device=device)
        first_R = (solids.image[thing_R] * height + tests.row_R) * width
        pixel = first_R.index_select(0, tests.row_P) + tests.column_P
        direct.view(-1).scatter_reduce_(0, pixel, lit(shape, solids, thing, point), "amin")
        x, y = point[0] - solids.x.index_select(0, thing), point[1] - solids.y.index_select(0, thing)
        gap = ((x * x + y * y).sqrt() - solids.radius.index_select(0, thing)).clamp(min=0) / _CONTACT[0]
        around.view(-1).scatter_reduce_(0, pixel, 1 - _CONTACT[1] * (1 - gap).clamp(min=0) ** 2, "amin")
    numbers = [(look.floor, *look.centre, look.light[2]) for look in looks]
    tone, centre_x, centre_y, upright = (
        torch.tensor(numbers, dtype=torch.float64).float().to(device).reshape(-1, 4).T[:, :, None, None]
    )
    x, y = EYE[0] + depth[:, None] * rays.x, y_row[:, None]
    fading = 1 - 0.035 * ((x - centre_x) ** 2 + (y - centre_y) ** 2)
    direct *= _DIFFUSE * upright * fading.clamp(min=0.15)
    around *= _AMBIENT * (0.4 + 0.6 * fading.clamp(min=0.15))
    lamp = _lamps(looks, device).T[:, :, None, None]
    light: torch.Tensor = (_FLOOR * tone)[:, None] * (around[:, None] + direct[:, None] * lamp)
    return light
