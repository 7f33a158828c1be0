"""Which rows a step sees, and what becomes of their images."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from itma.data.batching import Plan, augment, families, hash_seed, load_batch, replace_grounds, vary
from itma.data.images import MemoryImages, Preprocess
from itma.data.triplets import Triplets, hold_out
from itma.errors import ConfigError, DataError

REFERENCES = st.lists(st.integers(0, 5), min_size=1, max_size=30).map(np.array)


def triplets(rows: int = 12, images: int = 8) -> Triplets:
    pixels = torch.arange(images, dtype=torch.uint8)[:, None, None, None].expand(images, 3, 4, 6).contiguous()
    return Triplets(
        "made up",
        MemoryImages([str(index) for index in range(images)], pixels),
        np.arange(images),
        np.arange(rows) % 4,
        4 + np.arange(rows) % 4,
        [f"sentence {row}" for row in range(rows)],
        ["add", "remove"] * (rows // 2),
    )


@given(REFERENCES, st.integers(2, 9), st.integers(1, 4), st.integers(0, 5))
def test_each_pass_holds_every_row_once(references: np.ndarray, batch: int, together: int, seed: int) -> None:
    plan = Plan(references, batch=batch, seed=seed, per_reference=together)
    steps = np.concatenate([plan.rows(step) for step in range(len(references))])  # `batch` whole passes
    for number in range(batch):
        one = steps[number * len(references) : (number + 1) * len(references)]
        assert sorted(one) == list(range(len(references)))


@given(REFERENCES, st.integers(2, 9), st.integers(0, 20))
def test_a_step_is_a_pure_function_of_seed_and_number(references: np.ndarray, batch: int, step: int) -> None:
    first, second = (Plan(references, batch=batch, seed=3, per_reference=2) for _ in range(2))
    for earlier in range(step):
        first.rows(earlier)
    assert (first.rows(step) == second.rows(step)).all()


def test_rows_of_one_reference_stand_side_by_side() -> None:
    references = np.repeat(np.arange(10), 6)
    rows = Plan(references, batch=60, seed=0, per_reference=3).rows(0)
    assert (references[rows].reshape(-1, 3) == references[rows].reshape(-1, 3)[:, :1]).all()


def test_rows_of_one_family_stand_side_by_side_and_each_comes_once() -> None:
    references = np.repeat(np.arange(24), 2)  # four images lead to one another in a circle: six families
    targets = references // 4 * 4 + (references + 1) % 4
    plan = Plan(references, batch=48, seed=0, per_reference=2, targets=targets, per_family=8)
    rows = plan.rows(0)
    assert sorted(rows) == list(range(48))
    family = references[rows].reshape(-1, 8) // 4
    assert (family == family[:, :1]).all() and len(set(family[:, 0].tolist())) == 6
    assert (references[rows].reshape(-1, 2) == references[rows].reshape(-1, 2)[:, :1]).all()


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=20))
def test_a_family_is_what_images_lead_to_over_any_number_of_steps(pairs: list[tuple[int, int]]) -> None:
    groups: list[set[int]] = []
    for pair in pairs:
        joined = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in joined] + [set(pair).union(*joined)]
    slow = [min(next(group for group in groups if one in group)) for one, _ in pairs]
    both = np.array(pairs)
    assert families(both[:, 0], both[:, 1]).tolist() == slow


def test_another_seed_gives_another_order() -> None:
    orders = [Plan(np.arange(50), batch=50, seed=seed).rows(0).tolist() for seed in range(3)]
    assert orders[0] != orders[1] != orders[2]


def test_an_empty_set_or_a_batch_of_one_is_refused() -> None:
    with pytest.raises(DataError, match="no triplets"):
        Plan(np.array([], dtype=np.int64), batch=4, seed=0)
    with pytest.raises(ConfigError, match="batch=1"):
        Plan(np.arange(4), batch=1, seed=0)


def test_a_batch_holds_each_image_once_and_rows_point_at_theirs() -> None:
    data, rows = triplets(), np.array([0, 4, 8, 1])
    batch = load_batch(data, data.draw_samples(rows, np.random.default_rng(0)), Preprocess(height=4, width=6))
    assert batch.pixels[:, 0, 0, 0].tolist() == [0, 1, 4, 5]
    assert batch.pixels[batch.references, 0, 0, 0].tolist() == data.references[rows].tolist()
    assert batch.pixels[batch.targets, 0, 0, 0].tolist() == data.targets[rows].tolist()
    assert batch.feedback == ("sentence 0", "sentence 4", "sentence 8", "sentence 1")


def test_held_out_references_never_stay_in_what_is_learnt_from() -> None:
    data = triplets()
    rest, held_out = hold_out(data, 0.5, seed=0)
    assert held_out is not None
    learnt = {data.images.names[index] for index in rest.references}
    outside = {held_out.images.names[index] for index in held_out.references}
    assert learnt | outside == {"0", "1", "2", "3"} and not learnt & outside
    assert sorted([*rest.feedback, *held_out.feedback]) == sorted(data.feedback)
    assert held_out[0].feedback in data.feedback
    assert held_out.images.load([0], Preprocess(height=4, width=6))[0, 0, 0, 0] == int(held_out.images.names[0])
    assert len(held_out.kinds) == len(held_out)


def test_holding_out_nothing_or_nearly_everything() -> None:
    assert hold_out(triplets(), 0.0, seed=0)[1] is None
    rest, held_out = hold_out(triplets(), 0.99, seed=0)
    assert (
        held_out is not None and len(np.unique(rest.references)) == 1 and len(rest) + len(held_out) == len(triplets())
    )


def test_a_single_reference_cannot_be_held_out() -> None:
    one = hold_out(triplets(), 0.99, seed=0)[0]
    with pytest.raises(DataError, match="has 1 reference; holding it out leaves none to learn from"):
        hold_out(one, 0.05, seed=0)


def test_augmentation_is_a_pure_function_of_seed_and_step_and_can_be_off() -> None:
    pixels = torch.randint(0, 256, (4, 3, 20, 30), dtype=torch.uint8)
    one = augment(pixels, seed=1, step=2, strength=0.5)
    assert torch.equal(one, augment(pixels, seed=1, step=2, strength=0.5))
    assert not torch.equal(one, augment(pixels, seed=1, step=3, strength=0.5))
    assert one.shape == pixels.shape and one.dtype == torch.uint8
    assert torch.equal(augment(pixels, seed=1, step=2, strength=0), pixels)


def test_seeds_made_of_parts_are_the_same_everywhere() -> None:
    assert hash_seed(0, 1, "dropout") == 831685005793064872


def test_rows_outside_the_images_are_refused() -> None:
    data = triplets()
    with pytest.raises(DataError, match="outside the 8 images"):
        Triplets("bad", data.images, data.labels, np.array([0]), np.array([8]), ["x"])
    with pytest.raises(DataError, match="one of each"):
        Triplets("bad", data.images, data.labels, np.array([0]), np.array([1]), [])


def test_variation_is_a_pure_function_of_seed_and_step_and_can_be_off() -> None:
    pixels = torch.randint(0, 256, (6, 3, 20, 30), dtype=torch.uint8)
    one = vary(pixels, seed=1, step=2, crop=0.8, flip=True, noise=0.01)
    assert one.shape == pixels.shape and one.dtype == torch.uint8
    assert torch.equal(one, vary(pixels, seed=1, step=2, crop=0.8, flip=True, noise=0.01))
    assert not torch.equal(one, vary(pixels, seed=1, step=3, crop=0.8, flip=True, noise=0.01))
    assert torch.equal(vary(pixels, seed=1, step=2, crop=0, flip=False, noise=0), pixels)


def test_images_are_mirrored_about_half_of_the_time() -> None:
    pixels = torch.randint(0, 256, (400, 3, 4, 6), dtype=torch.uint8)
    flipped = vary(pixels, seed=1, step=0, crop=0, flip=True, noise=0)
    as_they_were = (flipped == pixels).flatten(1).all(1)
    mirrored = (flipped == pixels.flip(3)).flatten(1).all(1)
    assert (as_they_were | mirrored).all() and 140 < int(mirrored.sum()) < 260


def test_a_crop_keeps_at_least_its_share_and_the_middle_of_the_image() -> None:
    slope = torch.arange(0, 200, 2, dtype=torch.uint8).expand(300, 3, 80, 100)
    cropped = vary(slope, seed=1, step=0, crop=0.5, flip=False, noise=0).float()
    share = (cropped[..., -1] - cropped[..., 0]).mean((1, 2)) / 198  # share of the width
    assert share.max() <= 1.001 and share.min() > 0.5 and share.std() > 0.05


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    grey = torch.full((8, 3, 40, 40), 128, dtype=torch.uint8)
    assert abs(vary(grey, seed=0, step=0, crop=0, flip=False, noise=0.02).float().std().item() - 5.1) < 0.2


def before_white(ground: int = 255) -> torch.Tensor:
    """Twelve images of one dark rectangle each before an even ground."""
    pixels = torch.full((12, 3, 32, 24), ground, dtype=torch.uint8)
    pixels[:, :, 8:24, 6:18] = torch.tensor([120, 30, 60], dtype=torch.uint8)[:, None, None]
    return pixels


def test_a_ground_of_white_is_painted_over_and_the_thing_keeps_its_colour() -> None:
    painted = replace_grounds(before_white(), seed=0, step=0, share=1.0).float()
    assert (painted.amin(1)[:, :2] < 246).any((1, 2)).all()  # the upper border is no longer white
    distance = (painted - torch.tensor([120.0, 30.0, 60.0])[:, None, None]).abs().amax(1)
    share = (distance < 3).float().mean((1, 2))  # of the image; 0.25 before, and not below 0.36 of that
    assert share.min() > 0.05 and share.max() < 0.3


def test_white_within_a_thing_is_not_ground() -> None:
    pixels = before_white()
    pixels[:, :, 12:18, 9:14] = 255
    painted = replace_grounds(pixels, seed=0, step=0, share=1.0)
    assert (painted.amin(1) == 255).flatten(1).sum(1).min() >= 4


@pytest.mark.parametrize("ground", [0, 128, 200])
def test_an_image_without_a_white_ground_is_left_alone(ground: int) -> None:
    pixels = before_white(ground)
    assert torch.equal(replace_grounds(pixels, seed=0, step=0, share=1.0), pixels)


def test_grounds_are_a_function_of_seed_and_step_and_change_their_share_of_images() -> None:
    pixels = before_white().repeat(20, 1, 1, 1)
    painted, again = (replace_grounds(pixels, seed=4, step=2, share=0.25) for _ in range(2))
    assert torch.equal(painted, again) and not torch.equal(painted, replace_grounds(pixels, seed=4, step=3, share=0.25))
    changed = (painted != pixels).flatten(1).any(1).float().mean().item()
    assert 0.15 < changed < 0.35
    assert replace_grounds(pixels, seed=4, step=2, share=0.0) is pixels
