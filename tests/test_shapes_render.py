"""The shapes world's images and masks: that they show what the scenes say, and nothing else."""

import math
from collections import Counter
from dataclasses import replace
from importlib import import_module
from itertools import combinations, product

import numpy as np
import pytest
import torch

from itma.data.synthetic.shapes import SIZES, ShapesConfig, World, render, solids, visible
from itma.data.synthetic.shapes.config import SPLITS
from itma.data.synthetic.shapes.look import SHIFT, Look, extent
from itma.data.synthetic.shapes.render import PALETTE
from itma.data.synthetic.shapes.scenes import COLOURS, POSITIONS, SHAPES, THING_SIZES, Scene, Thing, scene_of
from itma.data.synthetic.shapes.view import EYE, Rays
from itma.errors import DataError, UnknownNameError

WORLD = World(ShapesConfig(height=64, width=96, train_scenes=12, test_scenes=12, changes=5, seed=3))
LOOK = WORLD.look("train", 0)
PLAIN = replace(LOOK, shifts=((0.0, 0.0),) * 9)
"""A look in which every thing stands in the middle of its position."""
CROWD = tuple(
    Thing(SHAPES[index * 2 % 3], COLOURS[index % 8], THING_SIZES[index % 2], position)
    for index, position in enumerate(POSITIONS)
)
"""Nine things: every shape, colour and size."""
EVENING = replace(LOOK, light=(-0.3, -0.85, 0.433))
"""Light so low that shadows reach the next thing."""
LARGE = tuple(Thing(SHAPES[index * 2 % 3], "gray", "large", position) for index, position in enumerate(POSITIONS))
"""Nine large things that cast shadows on one another."""
FORMATS = [(64, 96), (120, 180), (23, 37), (37, 23), (8, 8), (8, 120), (120, 8)]


def draw(scene: Scene, look: Look = LOOK, height: int = 64, width: int = 96) -> torch.Tensor:
    """One image: (3, height, width)."""
    return render([scene], [look], height, width)[0]


def linear(pixels: torch.Tensor) -> torch.Tensor:
    """Bytes as amounts of light."""
    return (pixels.double() / 255) ** 2


def grown(mask: torch.Tensor, pixels: int = 1) -> torch.Tensor:
    """A mask (h, w) and all that is no farther from it than some pixels."""
    size = 2 * pixels + 1
    return torch.nn.functional.max_pool2d(mask[None].float(), size, stride=1, padding=pixels)[0] > 0


def differing(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Which pixels (h, w) of two images differ at all."""
    return (one != other).any(0)


def single(shape: str, size: str = "large", position: str = "middle-center", colour: str = "red") -> Scene:
    return (Thing(shape, colour, size, position),)


def inside(scene: Scene, look: Look, points: torch.Tensor) -> torch.Tensor:
    """Which thing holds which of the points (…, 3), from what the shapes are: (things, …)."""
    masks = []
    for thing in scene:
        position = POSITIONS.index(thing.position)
        radius, height = extent(thing)
        x = points[..., 0] - (position % 3 - 1 + look.shifts[position][0])
        y = points[..., 1] - (1 - position // 3 + look.shifts[position][1])
        z = points[..., 2]
        upright = (z > 0) & (z < height)
        if thing.shape == "sphere":
            masks.append(x**2 + y**2 + (z - radius) ** 2 < radius**2)
        elif thing.shape == "cylinder":
            masks.append((x**2 + y**2 < radius**2) & upright)
        else:
            cos, sin = math.cos(look.turns[position]), math.sin(look.turns[position])
            masks.append(((cos * x + sin * y).abs() < radius) & ((cos * y - sin * x).abs() < radius) & upright)
    return torch.stack(masks)


def shaded(scene: Scene, look: Look, points: torch.Tensor) -> torch.Tensor:
    """Which points (…, 3) have a thing between themselves and the light, by going there in small steps."""
    to_light = torch.tensor(look.light)
    ways = np.arange(0.03, 1.0, 0.01).tolist()
    return torch.stack([inside(scene, look, points + way * to_light).any(0) for way in ways]).any(0)


def first_met(scene: Scene, look: Look, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which thing (h, w) the ray through each pixel's middle meets first, −1 for none, and where (h, w, 3)."""
    ways = directions(height, width)
    owner, where = torch.full((height, width), -1), torch.zeros(height, width, 3)
    for depth in np.arange(8.5, 3.5, -0.01).tolist():  # nearer things overwrite farther ones
        points = torch.tensor(EYE) + depth * ways
        within = inside(scene, look, points)
        owner = torch.where(within.any(0), within.int().argmax(0), owner)
        where = torch.where(within.any(0)[..., None], points, where)
    return owner, where


def directions(height: int, width: int) -> torch.Tensor:
    """The rays through the middles of an image's pixels, to depth 1: (height, width, 3)."""
    rays = Rays.of(height, width, 1, torch.device("cpu"))
    each = rays.x[None, :], rays.y[:, None], rays.z[:, None]
    return torch.stack([axis.expand(height, width) for axis in each], 2)


# --- images ---------------------------------------------------------------------------------------------------------


def test_images_are_bytes_on_the_cpu_unless_told_otherwise() -> None:
    images = WORLD.render("train", [3, 0, 3])
    assert (images.shape, images.dtype, images.device.type) == ((3, 3, 64, 96), torch.uint8, "cpu")


@pytest.mark.gpu
def test_a_gpu_draws_the_same_images_but_for_rounding() -> None:
    there = WORLD.render("train", range(20), "cuda")
    assert there.device.type == "cuda"
    apart = (there.cpu().int() - WORLD.render("train", range(20)).int()).abs()
    assert (apart <= 1).float().mean() > 0.999  # a sample on the very edge of a thing may fall to either side


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_seed_gives_the_same_pixels(split: str) -> None:
    images = range(WORLD.config.images(split))
    assert torch.equal(World(WORLD.config).render(split, images), WORLD.render(split, images))


def test_another_seed_gives_other_pixels() -> None:
    other = World(replace(WORLD.config, seed=4))
    assert not torch.equal(other.render("train", [0]), WORLD.render("train", [0]))


def test_an_image_alone_equals_itself_in_any_batch_exactly() -> None:
    together = WORLD.render("train", range(40))
    assert torch.equal(together, torch.cat([WORLD.render("train", [index]) for index in range(40)]))
    assert torch.equal(together[[31, 4]], WORLD.render("train", np.array([31, 4])))


@pytest.mark.parametrize(("height", "width"), FORMATS)
def test_culling_changes_no_pixel(height: int, width: int) -> None:
    count = 2 if height * width > 10_000 else 8
    scenes = [CROWD, LARGE] * count + list(WORLD.split("test").scenes[:count])
    looks = [WORLD.look("test", index) for index in range(len(scenes))]
    assert torch.equal(render(scenes, looks, height, width), render(scenes, looks, height, width, cull=False))


@pytest.mark.parametrize(("height", "width"), FORMATS)
def test_images_of_any_size_show_the_things(height: int, width: int) -> None:
    image = draw(CROWD, height=height, width=width)
    assert image.shape == (3, height, width)
    assert visible(CROWD, LOOK, height, width).shape == (9, height, width)
    assert differing(image, draw((), height=height, width=width)).any()


@pytest.mark.parametrize(("height", "width"), [(64, 150), (100, 96)])
def test_a_wider_or_taller_image_only_shows_more_floor(height: int, width: int) -> None:
    top, left = (height - 64) // 2, (width - 96) // 2
    middle = (slice(top, top + 64), slice(left, left + 96))
    assert torch.equal(draw(CROWD, height=height, width=width)[:, *middle], draw(CROWD))


def test_no_image_makes_an_empty_batch() -> None:
    assert WORLD.render("train", []).shape == (0, 3, 64, 96)


def test_a_scene_without_things_is_bare_floor() -> None:
    floor = linear(draw(()))
    assert visible((), LOOK, 64, 96).shape == (0, 64, 96)
    for steps in (floor.diff(dim=1), floor.diff(dim=2)):
        assert steps.abs().max() < 0.02, "the floor has an edge"


@pytest.mark.parametrize("index", [-1, 72])
def test_an_image_that_does_not_exist_is_refused(index: int) -> None:
    with pytest.raises(DataError, match=rf"there is no image {index} in train; its 72 images count from 0"):
        WORLD.render("train", [0, index])
    with pytest.raises(DataError, match=rf"there is no image {index} in train"):
        WORLD.masks("train", index)


def test_images_of_an_unknown_split_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown split 'tests'"):
        WORLD.render("tests", [0])


@pytest.mark.parametrize(
    ("image", "cells"),
    [
        (("train", 1), [[142, 131, 121, 137], [165, 149, 133, 156], [172, 165, 164, 155]]),
        (("test", 15), [[134, 113, 148, 148], [152, 153, 153, 143], [160, 166, 167, 165]]),
    ],
)
def test_the_tiny_world_looks_as_it_did(image: tuple[str, int], cells: list[list[int]]) -> None:
    split, index = image
    grey = World(SIZES["tiny"]).render(split, [index]).double().mean(1)
    means = torch.nn.functional.adaptive_avg_pool2d(grey, (3, 4))[0]
    assert (means - torch.tensor(cells)).abs().max() <= 2, means.round().int().tolist()


# --- light ------------------------------------------------------------------------------------------------------------


def test_edges_are_smooth(monkeypatch: pytest.MonkeyPatch) -> None:
    averaged = torch.nn.functional.avg_pool2d(linear(draw(CROWD, height=192, width=288)), 3)
    assert (linear(draw(CROWD)) - averaged).abs().max() < 0.15
    monkeypatch.setattr(import_module("itma.data.synthetic.shapes.render"), "SAMPLES", 1)
    assert (linear(draw(CROWD)) - averaged).abs().max() > 0.4, "one sample to a pixel would do as well"


def test_shadows_are_soft(monkeypatch: pytest.MonkeyPatch) -> None:
    floor, scene = linear(draw((), PLAIN, 120, 180)), single("cylinder")
    off = ~grown(visible(scene, PLAIN, 120, 180)[0])

    def half_dark() -> float:
        """The share of the shadow that is neither dark nor light."""
        share = (linear(draw(scene, PLAIN, 120, 180)) / floor).mean(0)[off]
        shade = (1 - share) / (1 - share.min())
        return (((shade > 0.3) & (shade < 0.7)).sum() / (shade > 0.3).sum()).item()

    assert half_dark() > 0.2
    monkeypatch.setattr(solids, "PENUMBRA", (1e-6, 0.0))
    assert half_dark() < 0.02, "hard shadows would pass as well"


@pytest.mark.parametrize("shape", SHAPES)
def test_shadows_fall_on_the_floor_where_the_thing_stands_before_the_light(shape: str) -> None:
    scene, size = single(shape), (160, 240)
    across = math.atan2(LOOK.light[1], LOOK.light[0]) + math.pi / 4
    look = replace(LOOK, turns=(across,) * 9)  # a cube's shadow is least like a box where the light meets an edge
    ways = directions(*size)
    expected = shaded(scene, look, torch.tensor(EYE) + (-EYE[2] / ways[..., 2:]) * ways)
    bare = ~grown(visible(scene, look, *size)[0])
    share = (linear(draw(scene, look, *size)) / linear(draw((), look, *size))).mean(0)
    dark = share < 0.6
    assert (expected & dark & bare).sum() > 0.9 * ((expected | dark) & bare).sum() > 100


def test_shadows_fall_on_other_things_where_one_stands_before_the_light() -> None:
    owner, where = first_met(LARGE, EVENING, 64, 96)
    image = linear(draw(LARGE, EVENING)).sum(0)
    agreeing, dark = 0, 0
    for index, thing in enumerate(LARGE):
        alone = linear(draw((thing,), EVENING)).sum(0)
        brighter = linear(draw((thing,), replace(EVENING, strength=1.3))).sum(0)
        lit = ~grown(owner != index) & (brighter > 1.15 * alone)
        expected = shaded(LARGE[:index] + LARGE[index + 1 :], EVENING, where)[lit]
        darker = (image / alone)[lit] < 0.7
        agreeing += int((expected & darker).sum())
        dark += int((expected | darker).sum())
    assert dark > 50
    assert agreeing > 0.8 * dark


def test_a_side_turned_away_from_the_light_gets_none_of_it() -> None:
    scene = single("cylinder")
    mask = visible(scene, PLAIN, 120, 180)[0]
    rows, columns = torch.nonzero(mask & ~grown(~mask)).unbind(1)
    right = columns > columns.min() + 0.9 * (columns.max() - columns.min())  # the light comes from the left
    low = rows > rows.min() + 0.4 * (rows.max() - rows.min())
    dim, bright = (draw(scene, replace(PLAIN, strength=strength), 120, 180) for strength in (0.92, 1.08))
    same = ~differing(dim, bright)[rows, columns]
    assert same[right & low].all() and (right & low).sum() > 10
    assert not same[~right & ~low].any()


def test_tops_are_brighter_than_the_sides_in_shade() -> None:
    image = draw(single("cylinder", colour="gray"), PLAIN, 120, 180).float().mean(0)
    mask = visible(single("cylinder"), PLAIN, 120, 180)[0]
    rows, columns = torch.nonzero(mask).unbind(1)
    right = columns > columns.min() + 0.8 * (columns.max() - columns.min())  # the light comes from the left
    high = rows < rows.min() + 0.3 * (rows.max() - rows.min())
    values = image[mask]
    assert values[high & ~right].mean() > 1.3 * values[right & ~high].mean()


def test_stronger_light_makes_the_image_brighter() -> None:
    dim, bright = (linear(draw(CROWD, replace(LOOK, strength=strength))) for strength in (0.92, 1.08))
    assert (bright - dim).min() >= 0 and bright.mean() > 1.05 * dim.mean()


def test_warmer_light_makes_floor_and_things_redder() -> None:
    things = visible(LARGE, LOOK, 64, 96).any(0)
    cold, warm = (linear(draw(LARGE, replace(LOOK, warmth=warmth))) for warmth in (-1.0, 1.0))
    for part in (things, ~things):
        red, green, blue = (warm[:, part].mean(1) / cold[:, part].mean(1)).tolist()
        assert red > 1.02 > 1.01 > green > 0.99 > 0.98 > blue


def test_a_brighter_floor_leaves_a_thing_as_it_is() -> None:
    scene = single("sphere")
    thing = visible(scene, LOOK, 64, 96)[0]
    dim, bright = (draw(scene, replace(LOOK, floor=floor)) for floor in (0.92, 1.08))
    within = ~grown(~thing)  # on the outline, floor and thing mix
    assert torch.equal(bright[:, within], dim[:, within])
    assert linear(bright)[:, ~thing].mean() > 1.1 * linear(dim)[:, ~thing].mean()


# --- things -----------------------------------------------------------------------------------------------------------


def test_two_images_of_one_scene_differ() -> None:
    world = World(ShapesConfig(height=64, width=96, train_scenes=9, test_scenes=9, changes=18, objects=(1, 2)))
    label, count = Counter(world.split("test").labels.tolist()).most_common(1)[0]
    assert count > 1, "this world was chosen so that some scenes are equal"
    images = world.render("test", np.flatnonzero(world.split("test").labels == label))
    for one, other in combinations(images, 2):
        assert differing(one, other).float().mean() > 0.5


def test_things_lie_inside_the_frame_wherever_they_stand() -> None:
    for shape, (right, away), turn in product(SHAPES, product((-SHIFT, SHIFT), repeat=2), (0.0, math.pi / 4)):
        scene = tuple(Thing(shape, "red", "large", position) for position in POSITIONS)
        look = replace(LOOK, shifts=((right, away),) * 9, turns=(turn,) * 9)
        mask = visible(scene, look, 160, 180).any(0)  # as in 120×180, and 20 rows more above and below
        outside = mask[:20].sum() + mask[140:].sum()
        assert outside <= 0.001 * mask.sum(), (shape, right, away)  # the corner of a cube: less than a pixel
        assert not mask[:, 0].any() and not mask[:, -1].any(), (shape, right, away)


def test_the_average_colour_of_a_thing_is_nearest_to_its_named_colour() -> None:
    palette = torch.tensor(list(PALETTE.values())).float()
    right, things = 0, 0
    for split in SPLITS:
        scenes = WORLD.split(split).scenes
        for index in range(0, len(scenes), 2):
            image = WORLD.render(split, [index])[0].float()
            for thing, mask in zip(scenes[index], WORLD.masks(split, index), strict=True):
                mean = image[:, mask].mean(1)
                right += list(PALETTE)[int((palette - mean).norm(dim=1).argmin())] == thing.colour
                things += 1
    assert things > 200
    assert right / things > 0.97  # some red things, much of them in shade, come out nearer to brown


@pytest.mark.parametrize("shape", SHAPES)
def test_a_large_thing_covers_twice_the_pixels_of_a_small_one(shape: str) -> None:
    for position in POSITIONS:
        small, large = (visible(single(shape, size, position), LOOK, 64, 96).sum() for size in THING_SIZES)
        assert large > 2 * small


@pytest.mark.parametrize(("one", "other"), [("cube", "sphere"), ("cube", "cylinder"), ("sphere", "cylinder")])
def test_shapes_differ_in_outline(one: str, other: str) -> None:
    for size, position in product(THING_SIZES, POSITIONS):
        masks = [visible(single(shape, size, position), LOOK, 64, 96)[0] for shape in (one, other)]
        assert (masks[0] & masks[1]).sum() < 0.93 * (masks[0] | masks[1]).sum()


def test_only_cubes_show_how_they_are_turned() -> None:
    turned = replace(LOOK, turns=tuple(turn + 0.5 for turn in LOOK.turns))
    for shape in SHAPES:
        same = torch.equal(draw(single(shape), turned), draw(single(shape)))
        assert same == (shape != "cube")


# --- masks ------------------------------------------------------------------------------------------------------------


def test_masks_are_one_for_each_thing_of_the_scene() -> None:
    for index, scene in enumerate(WORLD.split("train").scenes[:12]):
        masks = WORLD.masks("train", index)
        assert (masks.shape, masks.dtype) == ((len(scene), 64, 96), torch.bool)


def test_no_pixel_belongs_to_two_things() -> None:
    for index in range(WORLD.config.images("test")):
        assert WORLD.masks("test", index).sum(0).max() <= 1


def test_every_thing_is_seen() -> None:
    for index in range(WORLD.config.images("test")):
        assert WORLD.masks("test", index).flatten(1).sum(1).min() >= 20


def test_masks_stand_in_the_order_of_the_scene() -> None:
    rows, columns = [], []
    for mask in visible(CROWD, PLAIN, 64, 96):
        row, column = torch.nonzero(mask).double().mean(0).tolist()
        rows.append(row)
        columns.append(column)
    for start in (0, 3, 6):
        assert columns[start] < columns[start + 1] < columns[start + 2]
    assert max(rows[:3]) < min(rows[3:6]) and max(rows[3:6]) < min(rows[6:])


def test_masks_hold_the_pixels_whose_ray_meets_the_thing_first() -> None:
    first, _ = first_met(CROWD, LOOK, 64, 96)
    masks = visible(CROWD, LOOK, 64, 96)
    owner = torch.where(masks.any(0), masks.int().argmax(0), -1)
    assert (owner == first).float().mean() > 0.99  # on the edges a pixel's middle need not decide


def test_another_colour_changes_a_things_own_pixels_and_no_others() -> None:
    image, masks = draw(CROWD), visible(CROWD, LOOK, 64, 96)
    for index, thing in enumerate(CROWD):
        other = replace(thing, colour="cyan" if thing.colour != "cyan" else "red")
        changed = differing(image, draw((*CROWD[:index], other, *CROWD[index + 1 :])))
        assert changed[masks[index]].all()
        assert not (changed & ~grown(masks[index])).any()


def test_a_thing_taken_away_changes_its_pixels_and_lifts_its_shadow() -> None:
    image, masks = draw(CROWD).int(), visible(CROWD, LOOK, 64, 96)
    for index in range(len(CROWD)):
        without = draw(CROWD[:index] + CROWD[index + 1 :]).int()
        apart, own = without - image, grown(masks[index])
        assert apart[:, ~own].min() >= -1, "beside the thing it became darker"
        assert not apart[:, ~grown(own, 20)].any(), "far from the thing something changed"
        assert differing(without, image)[masks[index]].float().mean() > 0.95
        assert apart[:, own].abs().sum() > 0.6 * apart.abs().sum()


def test_a_thing_in_front_hides_what_is_behind_it() -> None:
    behind, front = single("cube", position="middle-center"), single("cube", position="bottom-center")
    close = replace(PLAIN, shifts=((0.0, -SHIFT),) * 3 + ((0.0, -SHIFT),) * 3 + ((0.0, SHIFT),) * 3)
    together = visible(scene_of(*behind, *front), close, 120, 180)
    alone = [visible(scene, close, 120, 180)[0] for scene in (behind, front)]
    assert torch.equal(together[1], alone[1])
    hidden = alone[0] & ~together[0]
    assert 20 < hidden.sum() < 0.5 * alone[0].sum()
    assert not (hidden & ~grown(together[1])).any() and not (together[0] & ~alone[0]).any()
