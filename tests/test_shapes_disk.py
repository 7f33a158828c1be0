"""The shapes world on disk: what is written is read back, whole or not at all, and damage is named."""

import errno
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image

from itma.data import sources
from itma.data.datasets import DataConfig
from itma.data.images import MemoryImages, Preprocess
from itma.data.synthetic.shapes import SIZES, World, read, read_config, world
from itma.data.synthetic.shapes.config import SPLITS
from itma.data.synthetic.shapes.scenes import POSITIONS, Scene, Thing, scene_of
from itma.data.triplets import Triplets
from itma.errors import DataError, ImageError, StorageError, UnknownNameError

WORLD = World(SIZES["tiny"])
PREPROCESS = Preprocess(height=32, width=48)
"""Leaves the images of the tiny world as they are."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny world on disk, for tests that only read."""
    folder = tmp_path_factory.mktemp("worlds") / "tiny"
    WORLD.write(folder)
    return folder


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    """The tiny world on disk, for tests that damage it."""
    return shutil.copytree(written, tmp_path / "tiny")


def annotations(folder: Path) -> Any:
    return json.loads((folder / "annotations.json").read_text())


def pixels(triplets: Triplets) -> torch.Tensor:
    return triplets.images.load(range(len(triplets.images.names)), PREPROCESS)


def assert_same(one: Triplets, other: Triplets) -> None:
    assert one.name == other.name
    assert list(one.images.names) == list(other.images.names)
    assert list(one.feedback) == list(other.feedback)
    assert list(one.kinds) == list(other.kinds)
    for column in ("labels", "references", "targets"):
        actual, expected = getattr(one, column), getattr(other, column)
        assert actual.dtype == expected.dtype == np.int64
        np.testing.assert_array_equal(actual, expected)
    assert torch.equal(pixels(one), pixels(other))


def scene_from(objects: list[dict[str, Any]]) -> Scene:
    """A scene from CSS's words for it."""
    shapes = {"rectangle": "cube", "circle": "sphere", "triangle": "cylinder"}
    things = []
    for one in objects:
        row, column = (int(part * 3) for part in one["pos"])
        things.append(Thing(shapes[one["shape"]], one["color"], one["size"], POSITIONS[3 * row + column]))
    return scene_of(*things)


# --- what is written --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_what_was_written_is_read_back(written: Path, split: str) -> None:
    assert_same(read(written)[split], WORLD.triplets(split))


def test_a_world_drawn_in_several_batches_is_the_same(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(world._PIXELS_AT_ONCE, "cpu", 7 * 32 * 48)
    WORLD.write(tmp_path / "batches")
    for split in SPLITS:
        assert torch.equal(pixels(read(tmp_path / "batches")[split]), pixels(read(written)[split]))
        assert torch.equal(pixels(WORLD.triplets(split)), pixels(read(written)[split]))


@pytest.mark.parametrize("split", SPLITS)
def test_the_annotation_holds_every_scene(written: Path, split: str) -> None:
    objects = annotations(written)[split]["objects_img"]
    assert [scene_from(scene) for scene in objects] == list(WORLD.split(split).scenes)


def test_the_configuration_is_read_back(written: Path) -> None:
    assert read_config(written) == WORLD.config


def test_files_are_laid_out_and_named_as_those_of_css(written: Path) -> None:
    assert sorted(path.name for path in written.iterdir()) == ["annotations.json", "images", "shapes.json"]
    assert sorted(path.name for path in (written / "images").iterdir()) == [
        f"css_{split}_{index:06d}.png" for split in ("test", "train") for index in range(24)
    ]


def test_the_annotation_has_the_keys_of_css(written: Path) -> None:
    plain = annotations(written)
    assert set(plain) == {"train", "test"}
    for split in plain.values():
        assert set(split) == {"objects_img", "mods", "labels"}
        assert all(set(mod) == {"from", "to", "from_str", "to_str"} for mod in split["mods"])
        assert {key for scene in split["objects_img"] for one in scene for key in one} == {
            "shape",
            "color",
            "size",
            "pos",
        }


def test_queries_that_share_a_sentence_are_one_modification(written: Path) -> None:
    for name, split in annotations(written).items():
        assert len(split["mods"]) == WORLD.split(name).modifications.max() + 1
        assert max(len(mod["from"]) for mod in split["mods"]) == WORLD.config.repeats


def test_images_are_lossless_rgb_files(written: Path) -> None:
    with Image.open(written / "images" / "css_test_000005.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (48, 32))
        assert np.array_equal(np.asarray(image), WORLD.render("test", [5])[0].permute(1, 2, 0).numpy())


def test_the_same_world_is_written_byte_for_byte_again(written: Path, tmp_path: Path) -> None:
    World(SIZES["tiny"]).write(tmp_path / "again")
    files = [path.relative_to(written) for path in written.rglob("*") if path.is_file()]
    assert all((tmp_path / "again" / file).read_bytes() == (written / file).read_bytes() for file in files)


# --- writing that fails -----------------------------------------------------------------------------------------------


def full(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("there", ["a world", "an empty folder", "a file"])
def test_what_is_there_already_is_refused_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    target = tmp_path / "world"
    if there == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
    if there == "a world":
        (target / "shapes.json").write_text("mine")
    monkeypatch.setattr(World, "render", lambda *_: pytest.fail("images were drawn in vain"))
    with pytest.raises(StorageError, match=r"world'.*is there already; choose another name or remove it first"):
        WORLD.write(target)
    assert list(tmp_path.iterdir()) == [target]
    assert [path.read_text() for path in [target, *target.glob("*")] if path.is_file()] == ["mine"] * (
        there != "an empty folder"
    )


def test_a_full_disk_is_explained_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = Image.Image.save
    saved: list[Path] = []

    def until_full(image: Image.Image, path: Path, **options: Any) -> None:
        if len(saved) == 30:
            path.write_bytes(b"\x89PNG half an image")
            full()
        saved.append(path)
        save(image, path, **options)

    monkeypatch.setattr(Image.Image, "save", until_full)
    with pytest.raises(StorageError, match=r"could not write .*world'.*the disk is full; free some space"):
        WORLD.write(tmp_path / "world")
    assert len(saved) == 30 and not list(tmp_path.iterdir())


def test_a_full_disk_at_the_first_file_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StorageError, match="the disk is full"):
        WORLD.write(tmp_path / "world")
    assert not list(tmp_path.iterdir())


def test_an_interruption_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        WORLD.write(tmp_path / "world")
    assert not list(tmp_path.iterdir())


# --- reading what is damaged ------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_is_named_with_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*nowhere'; write one with: itma generate shapes"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["annotations.json", "shapes.json"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(DataError, match=rf"is not a written shapes world: {name} is missing"):
        read(copy)


def test_missing_images_are_counted_and_the_first_is_named(copy: Path) -> None:
    for index in (7, 11):
        (copy / "images" / f"css_test_{index:06d}.png").unlink()
    with pytest.raises(DataError, match=r"2 of 24 images are missing from .*images', for example css_test_000007"):
        read(copy)


def test_a_damaged_image_is_named_when_it_is_decoded(copy: Path) -> None:
    path = copy / "images" / "css_train_000003.png"
    path.write_bytes(path.read_bytes()[:200])
    triplets = read(copy)["train"]
    assert triplets.images.load([2, 4], PREPROCESS).shape == (2, 3, 32, 48)
    with pytest.raises(ImageError, match=r"css_train_000003\.png'.*damaged or truncated"):
        triplets.images.load([2, 3], PREPROCESS)


@pytest.mark.parametrize("name", ["annotations.json", "shapes.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b'{"train": {"labels": [0, 1,', b"\xff\xfe\x00", b"null", b"[]", b"7", b"[" * 100_000],
    ids=["empty", "cut off", "not text", "null", "a list", "a number", "too deep"],
)
def test_a_damaged_file_is_named(copy: Path, name: str, content: bytes) -> None:
    (copy / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}' is damaged"):
        read(copy)


@pytest.mark.parametrize(
    "damage",
    [
        lambda split: split.pop("labels"),
        lambda split: split.pop("mods"),
        lambda split: split.update(labels=5),
        lambda split: split.update(labels=[[0]] * 24),
        lambda split: split.update(labels=[0.5] * 24),
        lambda split: split["labels"].__setitem__(0, 2**70),
        lambda split: split.update(mods=["remove cube"]),
        lambda split: split["mods"][0].pop("to"),
        lambda split: split["mods"][0].update(to_str=None),
        lambda split: split["mods"][0].update(to_str="paint it black"),
        lambda split: split["mods"][0]["from"].append(0),
        lambda split: split["mods"][0]["from"].__setitem__(0, 0.7),
        lambda split: split["mods"][0]["from"].__setitem__(0, "3"),
        lambda split: split["mods"][0]["to"].__setitem__(0, True),
        lambda split: split["mods"][0]["to"].__setitem__(0, 24),
        lambda split: split["mods"][0]["from"].__setitem__(0, -1),
    ],
)
def test_an_annotation_that_makes_no_sense_is_named_with_its_split(
    copy: Path, damage: Callable[[dict[str, Any]], object]
) -> None:
    plain = annotations(copy)
    damage(plain["test"])
    (copy / "annotations.json").write_text(json.dumps(plain))
    with pytest.raises(DataError, match=r"annotations\.json' is damaged.*test"):
        read(copy)


def test_an_annotation_without_one_of_the_splits_is_refused(copy: Path) -> None:
    plain = annotations(copy)
    (copy / "annotations.json").write_text(json.dumps({"train": plain["train"]}))
    with pytest.raises(DataError, match=r"annotations\.json' is damaged in 'test'"):
        read(copy)


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("labels", "has 23 labels in 'train'; shapes.json says 24"),
        ("mods", r"has \d+ queries in 'train'; shapes.json says 20"),
    ],
)
def test_an_annotation_that_lost_rows_is_refused(copy: Path, key: str, complaint: str) -> None:
    plain = annotations(copy)
    plain["train"][key].pop()
    (copy / "annotations.json").write_text(json.dumps(plain))
    with pytest.raises(DataError, match=rf"annotations\.json' {complaint}"):
        read(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"objects": [1, 2, 3]},
        {"objects": 5},
        {"objects": "19"},
        {"height": 32.5},
        {"height": "32"},
        {"height": 4},
        {"seed": None},
        {"colours": 9},
    ],
    ids=str,
)
def test_a_configuration_that_makes_no_sense_is_named(copy: Path, change: dict[str, object]) -> None:
    plain = json.loads((copy / "shapes.json").read_text())
    (copy / "shapes.json").write_text(json.dumps(plain | change))
    with pytest.raises(DataError, match=r"shapes\.json' is damaged"):
        read_config(copy)


@pytest.mark.parametrize("key", ["objects", "height"])
def test_a_configuration_that_lacks_a_number_says_which(copy: Path, key: str) -> None:
    plain = json.loads((copy / "shapes.json").read_text())
    del plain[key]
    (copy / "shapes.json").write_text(json.dumps(plain))
    with pytest.raises(DataError, match=rf"shapes\.json' is damaged.*'{key}'"):
        read_config(copy)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.sprung,)


@pytest.mark.parametrize("name", ["annotations.json", "shapes.json", "images/css_train_000000.png"])
def test_nothing_is_ever_unpickled(copy: Path, tmp_path: Path, name: str) -> None:
    sprung = tmp_path / "sprung"
    (copy / name).write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(DataError, match=Path(name).name):
        pixels(read(copy)["train"])
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists(), "the trap would have sprung"


# --- as a data set ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_a_data_set_in_memory_equals_the_one_on_disk(written: Path, split: str) -> None:
    in_memory = sources.load(DataConfig("shapes", size="tiny"), split).triplets
    on_disk = sources.load(DataConfig("shapes", size="tiny", root=str(written)), split).triplets
    assert isinstance(in_memory.images, MemoryImages) and not isinstance(on_disk.images, MemoryImages)
    assert_same(in_memory, on_disk)


def test_the_seed_of_a_data_set_decides_its_world() -> None:
    one, other = (sources.load(DataConfig("shapes", size="tiny", seed=seed), "test").triplets for seed in (0, 1))
    assert list(one.feedback) != list(other.feedback)


@pytest.mark.parametrize("where", ["in memory", "on disk"])
def test_an_unknown_split_of_a_data_set_lists_those_there_are(written: Path, where: str) -> None:
    config = DataConfig("shapes", size="tiny", root=str(written) if where == "on disk" else None)
    with pytest.raises(UnknownNameError, match=r"unknown split 'validation'; choose from: test, train"):
        sources.load(config, "validation")


def test_an_unknown_size_lists_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown size of the shapes world 'huge'; choose from: css, demo"):
        sources.load(DataConfig("shapes", size="huge"), "test")
