"""The three solids: where a ray meets them, which way their surface faces, and the shadow they cast.

All arithmetic is elementwise over flat lists of pairs (thing, sample) or (thing, point). Every solid stands upright on
the floor, so a ray from the camera enters through the top or through a side, never from below.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch

from itma.data.synthetic.shapes.look import Look, extent
from itma.data.synthetic.shapes.scenes import COLOURS, POSITIONS, SHAPES, Scene
from itma.data.synthetic.shapes.view import EYE, Pairs, Rays

PENUMBRA = (0.012, 0.1)
"""Half the width of a shadow's edge: at the caster, and how much more per unit of distance from it."""


Vectors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""x, y and z of many points or directions."""


@dataclass(frozen=True)
class Solids:
    """Things of several images as columns of numbers, ordered by shape."""

    image: torch.Tensor
    """(T,) int64: index of the image."""
    thing: torch.Tensor
    """(T,) int64: index of the thing in its scene."""
    colour: torch.Tensor
    """(T,) int64: index into COLOURS."""
    x: torch.Tensor
    y: torch.Tensor
    radius: torch.Tensor
    """(T,) Of a cube: half its side."""
    height: torch.Tensor
    cos: torch.Tensor
    """(T,) Of the turn about the vertical."""
    sin: torch.Tensor
    light: torch.Tensor
    """(3, T) Unit vector towards the light."""
    of_shape: tuple[slice, ...]
    """For each of SHAPES, which part of T."""

    @classmethod
    def of(cls, scenes: Sequence[Scene], looks: Sequence[Look], device: torch.device) -> "Solids":
        """The things of scenes, seen with their looks."""
        rows: dict[str, list[tuple[float, ...]]] = {shape: [] for shape in SHAPES}
        for image, (scene, look) in enumerate(zip(scenes, looks, strict=True)):
            for index, thing in enumerate(scene):
                position = POSITIONS.index(thing.position)
                x, y = position % 3 - 1 + look.shifts[position][0], 1 - position // 3 + look.shifts[position][1]
                radius, height = extent(thing)
                turn = look.turns[position]
                where = (x, y, radius, height, math.cos(turn), math.sin(turn))
                rows[thing.shape].append((image, index, COLOURS.index(thing.colour), *where, *look.light))
        flat = [row for shape in SHAPES for row in rows[shape]]
        columns = torch.tensor(flat, dtype=torch.float64).reshape(len(flat), 12).T.contiguous()
        ids, numbers = columns[:3].long().to(device), columns[3:].float().to(device)
        ends = accumulate(len(rows[shape]) for shape in SHAPES)
        slices = tuple(slice(*bounds) for bounds in pairwise([0, *ends]))
        image_T, thing_T, colour_T = ids.unbind()
        x_T, y_T, radius_T, height_T, cos_T, sin_T = numbers[:6].unbind()
        return cls(image_T, thing_T, colour_T, x_T, y_T, radius_T, height_T, cos_T, sin_T, numbers[6:], slices)

    def __len__(self) -> int:
        return len(self.image)

    def corners(self, *, along_light: bool = False, margin: float = 0.0) -> torch.Tensor:
        """Points whose hull holds each thing: (T, 16, 3).

        Args:
            along_light: instead of the thing, its shadow on the floor.
            margin: farther out by this much.
        """
        eighth = torch.arange(8, device=self.x.device) * (math.pi / 4)
        octagon = torch.stack([eighth.cos(), eighth.sin()], 1) / math.cos(math.pi / 8)
        square = (eighth * 2 + math.pi / 4).cos(), (eighth * 2 + math.pi / 4).sin()
        reach = (self.radius + margin)[:, None]
        across, away = reach * octagon[:, 0], reach * octagon[:, 1]
        cubes = self.of_shape[SHAPES.index("cube")]
        cos, sin, reach = self.cos[cubes, None], self.sin[cubes, None], reach[cubes] * math.sqrt(2)
        across[cubes] = reach * (cos * square[0] - sin * square[1])
        away[cubes] = reach * (sin * square[0] + cos * square[1])
        x, y = self.x[:, None] + across, self.y[:, None] + away
        top = self.height[:, None].expand(x.shape)
        low = torch.stack([x, y, torch.zeros_like(x)], 2)
        if not along_light:
            return torch.cat([low, torch.stack([x, y, top], 2)], 1)
        shift = torch.stack([top * (self.light[axis] / self.light[2])[:, None] for axis in (0, 1)] + [low[..., 2]], 2)
        return torch.cat([low, low - shift], 1)


def meet(shape: str, solids: Solids, start: int, pairs: Pairs, rays: Rays) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pairs of ray and solid meet, and at which depth.

    Args:
        shape: of all the things.
        solids: all things.
        start: the thing that the pairs count from.
        pairs: of things of this shape with samples.
        rays: of the image.

    Returns:
        Indices of the pairs that meet, and their depths.
    """
    thing_R, row_P = pairs.thing_R + start, pairs.row_P

    def spread(values_R: torch.Tensor) -> torch.Tensor:
        return values_R.index_select(0, row_P)

    across_P = rays.x.index_select(0, pairs.column_P)
    away_R, up_R = rays.y[pairs.row_R], rays.z[pairs.row_R]
    x_R, y_R = EYE[0] - solids.x[thing_R], EYE[1] - solids.y[thing_R]  # the camera, seen from the thing
    radius_R, height_R = solids.radius[thing_R], solids.height[thing_R]
    top_R = (height_R - EYE[2]) / up_R
    if shape == "cube":
        cos_R, sin_R = solids.cos[thing_R], solids.sin[thing_R]
        near, far = spread(top_R), spread(-EYE[2] / up_R)
        for cos, sin in ((cos_R, sin_R), (-sin_R, cos_R)):
            per_depth_P = 1 / (spread(cos) * across_P + spread(sin * away_R))
            from_R = cos * x_R + sin * y_R
            one, other = spread(-radius_R - from_R) * per_depth_P, spread(radius_R - from_R) * per_depth_P
            near, far = torch.maximum(near, torch.minimum(one, other)), torch.minimum(far, torch.maximum(one, other))
        met = torch.nonzero(near < far)[:, 0]
        return met, near.index_select(0, met)
    z_R = EYE[2] - radius_R if shape == "sphere" else torch.zeros_like(x_R)
    square_R = away_R**2 + (up_R**2 if shape == "sphere" else 0)
    product_R = y_R * away_R + z_R * up_R
    rest_R = x_R**2 + y_R**2 + z_R**2 - radius_R**2
    square_P = spread(square_R) + across_P * across_P
    product_P = spread(product_R) + spread(x_R) * across_P
    inside_P = product_P * product_P - square_P * spread(rest_R)
    depth_P = (-product_P - inside_P.clamp(min=0).sqrt()) / square_P
    if shape == "sphere":
        met = torch.nonzero(inside_P > 0)[:, 0]
        return met, depth_P.index_select(0, met)
    z_P = EYE[2] + depth_P * spread(up_R)
    top_P = spread(top_R)
    cap_x = spread(x_R) + top_P * across_P
    cap_P = cap_x * cap_x <= spread(radius_R**2 - (y_R + top_R * away_R) ** 2)
    side_P = (inside_P > 0) & (z_P >= 0) & (z_P <= spread(height_R))
    met = torch.nonzero(cap_P | side_P)[:, 0]
    return met, torch.where(cap_P, top_P, depth_P).index_select(0, met)


def facing(shape: str, solids: Solids, thing: torch.Tensor, point: Vectors) -> Vectors:
    """Unit vectors at right angles to the surface of each thing, at points on it."""
    x = point[0] - solids.x.index_select(0, thing)
    y = point[1] - solids.y.index_select(0, thing)
    inverse = 1 / solids.radius.index_select(0, thing)
    if shape == "sphere":
        return x * inverse, y * inverse, point[2] * inverse - 1
    up = point[2] * (2 / solids.height).index_select(0, thing) - 1  # from −1 at the floor to 1 at the top
    if shape == "cylinder":
        x, y = x * inverse, y * inverse
        on_top = (up * up > x * x + y * y).float()
        return x - x * on_top, y - y * on_top, on_top
    cos, sin = solids.cos.index_select(0, thing), solids.sin.index_select(0, thing)
    along, aside = (cos * x + sin * y) * inverse, (cos * y - sin * x) * inverse
    far_along, far_aside = along.abs(), aside.abs()
    on_top = up > torch.maximum(far_along, far_aside)
    one = along.sign() * ((far_along > far_aside) & ~on_top)
    other = aside.sign() * ((far_along <= far_aside) & ~on_top)
    return cos * one - sin * other, sin * one + cos * other, on_top.float()


def lit(shape: str, solids: Solids, thing: torch.Tensor, point: Vectors) -> torch.Tensor:
    """The share of the light, from 0 to 1, that each thing lets through to a point outside it; softer farther away.

    Over the heights that the solid has above the point, the way to the light is a line on the floor plan: for the
    upright solids the distance from that line to the solid's plan decides; for the sphere the distance in space.
    """

    def each(values: torch.Tensor) -> torch.Tensor:
        return values.index_select(0, thing)

    x, y = point[0] - each(solids.x), point[1] - each(solids.y)
    light_x, light_y, light_z = solids.light
    radius = each(solids.radius)
    if shape == "sphere":
        z = point[2] - radius
        to_x, to_y, to_z = each(light_x), each(light_y), each(light_z)
        way = -(x * to_x + y * to_y + z * to_z).clamp(max=0)
        x, y, z = x + way * to_x, y + way * to_y, z + way * to_z
        outside = (x * x + y * y + z * z).sqrt() - radius
    else:
        flat = light_x * light_x + light_y * light_y
        whole = ((each(solids.height) - point[2]) * each(1 / light_z)).clamp(min=0)
        way = torch.minimum(-(x * each(light_x / flat) + y * each(light_y / flat)).clamp(max=0), whole)
        if shape == "cylinder":
            x, y = x + way * each(light_x), y + way * each(light_y)
            outside = (x * x + y * y).sqrt() - radius
        else:
            half = whole * 0.5
            cos, sin = each(solids.cos), each(solids.sin)
            along, aside = cos * x + sin * y, cos * y - sin * x
            to_along = solids.cos * light_x + solids.sin * light_y
            to_aside = solids.cos * light_y - solids.sin * light_x
            spread = solids.radius * (to_along.abs() + to_aside.abs()) / flat.sqrt()
            across = (along * each(to_aside / flat.sqrt()) - aside * each(to_along / flat.sqrt())).abs() - each(spread)
            shift, reach = half * each(to_along), radius + half * each(to_along.abs())
            one = (along + shift).abs() - reach
            shift, reach = half * each(to_aside), radius + half * each(to_aside.abs())
            other = (aside + shift).abs() - reach
            outside = torch.maximum(torch.maximum(one, other), across)
    width = way * PENUMBRA[1] + PENUMBRA[0]
    share = ((outside / width).clamp(-1, 1) + 1) * 0.5
    return share * share * (3 - 2 * share)
