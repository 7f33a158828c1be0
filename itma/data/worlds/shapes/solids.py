"""The three solids: where a ray meets them, which way their surface faces, and the shadow they cast.

All arithmetic is elementwise over flat lists of pairs (thing, sample) or (thing, point). Every solid stands upright on
the floor, so a ray from the camera enters through the top or through a side, never from below.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from itma.data.worlds.shapes.look import Look, extent
from itma.data.worlds.shapes.scenes import PLACES, SHAPES, Scene
from itma.data.worlds.shapes.view import EYE, Pairs, Rays

PENUMBRA = (0.012, 0.1)
"""Half the width of a shadow's edge: at the caster, and how much more per unit of distance from it."""


@dataclass(frozen=True)
class Solids:
    """Things of several pictures as columns of numbers, ordered by shape."""

    picture: torch.Tensor
    """(T,) int64: index of the picture."""
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
    def of(
        cls, scenes: Sequence[Scene], looks: Sequence[Look], colours: Sequence[str], device: torch.device
    ) -> "Solids":
        """The things of scenes, seen with their looks."""
        rows: dict[str, list[tuple[float, ...]]] = {shape: [] for shape in SHAPES}
        for picture, (scene, look) in enumerate(zip(scenes, looks, strict=True)):
            for index, thing in enumerate(scene):
                place = PLACES.index(thing.place)
                x, y = place % 3 - 1 + look.shifts[place][0], 1 - place // 3 + look.shifts[place][1]
                radius, height = extent(thing)
                turn = look.turns[place]
                numbers = (x, y, radius, height, math.cos(turn), math.sin(turn), *look.light)
                rows[thing.shape].append((picture, index, colours.index(thing.colour), *numbers))
        flat = [row for shape in SHAPES for row in rows[shape]]
        columns = torch.tensor(flat, dtype=torch.float64).reshape(len(flat), 12).T.contiguous().to(device)
        ids, numbers_of = columns[:3].long(), columns[3:].float()
        ends = [sum(len(rows[shape]) for shape in SHAPES[: count + 1]) for count in range(len(SHAPES))]
        slices = tuple(slice(start, end) for start, end in zip([0, *ends], ends, strict=False))
        picture_thing_colour, rest = ids.unbind(), numbers_of[:6].unbind()
        return cls(*picture_thing_colour, *rest, light=numbers_of[6:], of_shape=slices)

    def __len__(self) -> int:
        return len(self.picture)

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
        if not along_light:
            low, high = torch.stack([x, y, torch.zeros_like(x)], 2), torch.stack([x, y, top], 2)
            return torch.cat([low, high], 1)
        shift_x, shift_y = (top * (self.light[axis] / self.light[2])[:, None] for axis in (0, 1))
        floor = torch.zeros_like(x)
        return torch.cat([torch.stack([x, y, floor], 2), torch.stack([x - shift_x, y - shift_y, floor], 2)], 1)


def meet(shape: str, solids: Solids, start: int, pairs: Pairs, rays: Rays) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pairs of ray and solid meet, and at which depth.

    Args:
        shape: of all the things.
        solids: all things.
        start: the thing that the pairs count from.
        pairs: of things of this shape with samples.
        rays: of the picture.

    Returns:
        Indices of the pairs that meet, and their depths.
    """
    thing_R, row_P = pairs.thing_R + start, pairs.row_P
    across_P = rays.x[pairs.column_P]
    away_R, up_R = rays.y[pairs.row_R], rays.z[pairs.row_R]
    x_R, y_R = EYE[0] - solids.x[thing_R], EYE[1] - solids.y[thing_R]  # the camera, seen from the thing
    radius_R, height_R = solids.radius[thing_R], solids.height[thing_R]
    top_R = (height_R - EYE[2]) / up_R
    if shape == "cube":
        cos_R, sin_R = solids.cos[thing_R], solids.sin[thing_R]
        near, far = top_R[row_P], (-EYE[2] / up_R)[row_P]
        for cos, sin in ((cos_R, sin_R), (-sin_R, cos_R)):
            per_depth_P = 1 / (cos[row_P] * across_P + (sin * away_R)[row_P])
            from_R = cos * x_R + sin * y_R
            one, other = (-radius_R - from_R)[row_P] * per_depth_P, (radius_R - from_R)[row_P] * per_depth_P
            near, far = torch.maximum(near, torch.minimum(one, other)), torch.minimum(far, torch.maximum(one, other))
        met = torch.nonzero(near < far)[:, 0]
        return met, near[met]
    z_R = EYE[2] - radius_R if shape == "sphere" else torch.zeros_like(x_R)
    square_R = away_R**2 + (up_R**2 if shape == "sphere" else 0)
    product_R = y_R * away_R + z_R * up_R
    rest_R = x_R**2 + y_R**2 + z_R**2 - radius_R**2
    square_P = square_R[row_P] + across_P * across_P
    product_P = product_R[row_P] + x_R[row_P] * across_P
    inside_P = product_P * product_P - square_P * rest_R[row_P]
    depth_P = (-product_P - inside_P.clamp(min=0).sqrt()) / square_P
    if shape == "sphere":
        met = torch.nonzero(inside_P > 0)[:, 0]
        return met, depth_P[met]
    z_P = EYE[2] + depth_P * up_R[row_P]
    top_P = top_R[row_P]
    cap_x = x_R[row_P] + top_P * across_P
    cap_P = cap_x * cap_x + ((y_R + top_R * away_R) ** 2)[row_P] <= (radius_R**2)[row_P]
    side_P = (inside_P > 0) & (z_P >= 0) & (z_P <= height_R[row_P])
    met = torch.nonzero(cap_P | side_P)[:, 0]
    return met, torch.where(cap_P, top_P, depth_P)[met]


Point = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def facing(shape: str, solids: Solids, thing: torch.Tensor, point: Point) -> torch.Tensor:
    """Unit vectors (3, points) at right angles to the surface of a thing, at points on it."""
    x, y, z = point[0] - solids.x[thing], point[1] - solids.y[thing], point[2]
    radius = solids.radius[thing]
    if shape == "sphere":
        return torch.stack([x, y, z - radius]) / radius
    half = solids.height[thing] / 2
    up = (z - half) / half
    if shape == "cylinder":
        on_top = up * up > (x * x + y * y) / (radius * radius)
        return torch.stack([(x / radius).where(~on_top, 0), (y / radius).where(~on_top, 0), on_top.float()])
    cos, sin = solids.cos[thing], solids.sin[thing]
    along, aside = (cos * x + sin * y) / radius, (cos * y - sin * x) / radius
    on_top = up > torch.maximum(along.abs(), aside.abs())
    on_long = (along.abs() > aside.abs()) & ~on_top
    on_side = ~on_long & ~on_top
    one, other = along.sign() * on_long, aside.sign() * on_side
    return torch.stack([cos * one - sin * other, sin * one + cos * other, on_top.float()])


def lit(shape: str, solids: Solids, thing: torch.Tensor, point: Point) -> torch.Tensor:
    """The share of the light, from 0 to 1, that a thing lets through to points outside it; softer farther away.

    Over the heights that the solid has above the point, the way to the light is a line on the floor plan: for the
    upright solids the distance from that line to the solid's plan decides; for the sphere the distance in space.
    """
    x, y = point[0] - solids.x[thing], point[1] - solids.y[thing]
    light_x, light_y, light_z = (solids.light[axis][thing] for axis in range(3))
    radius = solids.radius[thing]
    if shape == "sphere":
        z = point[2] - radius
        way = -(x * light_x + y * light_y + z * light_z).clamp(max=0)
        x, y, z = x + way * light_x, y + way * light_y, z + way * light_z
        outside = (x * x + y * y + z * z).sqrt() - radius
    else:
        whole = ((solids.height[thing] - point[2]) / light_z).clamp(min=0)
        flat = light_x * light_x + light_y * light_y
        way = torch.minimum((-(x * light_x + y * light_y) / flat).clamp(min=0), whole)
        if shape == "cylinder":
            x, y = x + way * light_x, y + way * light_y
            outside = (x * x + y * y).sqrt() - radius
        else:
            half = whole / 2
            cos, sin = solids.cos[thing], solids.sin[thing]
            along, aside = cos * x + sin * y, cos * y - sin * x
            light_along, light_aside = cos * light_x + sin * light_y, cos * light_y - sin * light_x
            one = (along + half * light_along).abs() - (radius + half * light_along.abs())
            other = (aside + half * light_aside).abs() - (radius + half * light_aside.abs())
            across = (along * light_aside - aside * light_along).abs() - radius * (
                light_along.abs() + light_aside.abs()
            )
            outside = torch.maximum(torch.maximum(one, other), across / flat.sqrt())
    width = PENUMBRA[0] + PENUMBRA[1] * way
    share = ((outside + width) / (2 * width)).clamp(0, 1)
    return share * share * (3 - 2 * share)
