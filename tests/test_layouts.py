"""Generated worlds in the layouts of public data sets: their loaders, and plain readers, find the same queries."""

import json
import pickletools
import shutil
from pathlib import Path

import numpy as np
import pytest

from itma import api
from itma.data import datasets
from itma.data.datasets import DataConfig
from itma.data.datasets.css import ANNOTATION
from itma.data.datasets.fashioniq import MARKER
from itma.data.images import Preprocess
from itma.data.sources import load
from itma.data.synthetic import shapes, wardrobe
from itma.data.triplets import Triplets
from itma.data.validation.doctor import examine
from itma.errors import UnknownNameError
from tests.test_data_sets import call

CATEGORIES = ("dress", "shirt", "toptee")


def rows(triplets: Triplets) -> list[tuple[str, str, str]]:
    return [(one.reference, one.feedback, one.target) for one in map(triplets.__getitem__, range(len(triplets)))]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("css") / "scenes"
    output = call("generate", "shapes", folder, "--size", "tiny", "--layout", "css")
    assert f"itma train css --root {folder}" in output
    return folder


@pytest.fixture(scope="module")
def clothes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return api.generate("wardrobe", tmp_path_factory.mktemp("iq") / "world", size="tiny", layout="fashioniq")


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return api.generate("wardrobe", tmp_path_factory.mktemp("f200k") / "world", size="tiny", layout="fashion200k")


@pytest.mark.parametrize("split", ["train", "test"])
def test_css_reads_the_scenes_of_a_shapes_world(scenes: Path, split: str) -> None:
    written = load(DataConfig("css", root=str(scenes)), split)
    own = load(DataConfig("shapes", size="tiny"), split).triplets
    if split == "test":
        task = written.protocol("css").tasks[0]
        assert len(task.gallery) == len(own.labels)
        triplets = written.triplets.only(task.rows)
    else:
        triplets = written.triplets
    assert rows(triplets) == rows(own)
    assert triplets.labels[: len(own.labels)].tolist() == own.labels.tolist()
    size = Preprocess(shapes.SIZES["tiny"].height, shapes.SIZES["tiny"].width)
    assert (triplets.images.load([3], size) == own.images.load([3], size)).all()


def test_the_world_s_own_loader_reads_that_folder_too(scenes: Path) -> None:
    assert rows(load(DataConfig("shapes", root=str(scenes)), "test").triplets) == rows(
        load(DataConfig("shapes", size="tiny"), "test").triplets
    )


def test_other_people_s_code_opens_css_s_file_as_it_opens_the_published_one(scenes: Path) -> None:
    content = np.load(scenes / ANNOTATION, allow_pickle=True, encoding="latin1").item()
    assert content == json.loads((scenes / "annotations.json").read_text())
    with (scenes / ANNOTATION).open("rb") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
        np.lib.format.read_array_header_1_0(file)
        instructions = list(pickletools.genops(file.read()))
    named = {argument for code, argument, _ in instructions if code.name == "GLOBAL"}
    assert named == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype", "_codecs encode"}
    assert max(code.proto for code, _, _ in instructions) == 2  # Python 2 reads no later ones


@pytest.mark.parametrize(("name", "world"), [("css", "scenes"), ("fashioniq", "clothes"), ("fashion200k", "products")])
def test_the_doctor_notes_the_numbers_of_a_generated_world(
    name: str, world: str, request: pytest.FixtureRequest
) -> None:
    root: Path = request.getfixturevalue(world)
    findings = examine(name, root, images=False).findings
    assert {one.what for one in findings if one.severity == "problem"} <= {"rows in both train and test"}
    assert [one.what for one in findings if one.severity == "note" and one.expected is not None]


@pytest.mark.parametrize("damage", ["marker", "split"])
def test_the_doctor_finds_what_is_damaged_in_a_generated_world(clothes: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(clothes, tmp_path / "world")
    (tmp_path / "world" / ("generated.json" if damage == "marker" else "captions/cap.dress.val.json")).unlink()
    problems = {
        one.what for one in examine("fashioniq", tmp_path / "world", images=False).findings if one.severity == "problem"
    }
    assert ("dress queries" if damage == "marker" else "annotations that cannot be read") in problems


def test_a_model_learns_css_from_a_written_shapes_world(scenes: Path, tmp_path: Path) -> None:
    output = call("train", "css", "--root", scenes, "--preset", "tiny", "--out", tmp_path / "run", "--steps", "2")
    assert "trained:" in output, output
    assert "css/test, css/2d-to-3d" in call("evaluate", tmp_path / "run", "--protocol", "css/2d-to-3d")


@pytest.mark.parametrize(("split", "own_split"), [("train", "train"), ("val", "test")])
def test_fashioniq_reads_the_clothes_of_a_wardrobe(clothes: Path, split: str, own_split: str) -> None:
    world = wardrobe.World(wardrobe.SIZES["tiny"]).split(own_split)
    home = {"dress": "dress", "shirt": "shirt", "T-shirt": "toptee", "jumper": "toptee"}
    pairs = zip(world.references.tolist(), world.targets.tolist(), world.captions, strict=True)
    expected = [
        (home[world.products[one].category], world.names[one], f" {MARKER} ".join(captions), world.names[other])
        for one, other, captions in pairs
        if world.products[one].category in home
        and home[world.products[one].category] == home.get(world.products[other].category)
    ]
    actual = load(DataConfig("fashioniq", root=str(clothes)), split)
    task_rows = range(len(expected))  # of val the joined captions stand first
    triplets = actual.triplets.only(np.array(task_rows))
    assert sorted(expected) == sorted(zip(triplets.kinds, *zip(*rows(triplets), strict=True), strict=True))
    if split == "val":
        assert sum(len(task.rows) for task in actual.protocol("fashioniq/original").tasks) == len(expected) > 3


def test_fashion200k_asks_the_queries_of_a_wardrobe_that_change_one_attribute(products: Path) -> None:
    world = wardrobe.World(wardrobe.SIZES["tiny"]).split("test")
    expected = []
    for one, other, kind in zip(world.references.tolist(), world.targets.tolist(), world.kinds, strict=True):
        if kind not in ("several", "category") and world.products[one].category == world.products[other].category:
            expected.append((world.names[one], world.names[other], kind))
    split = load(DataConfig("fashion200k", root=str(products)), "test")
    stems = [Path(name).name.removesuffix("_0.jpeg") for name in split.triplets.images.names]
    triplets = split.triplets
    pairs = [(stems[one], stems[other]) for one, other in zip(triplets.references, triplets.targets, strict=True)]
    assert pairs == [pair[:2] for pair in expected] and len(pairs) > 15
    of_name = dict(zip(world.names, world.products, strict=True))
    for (one, other, kind), sentence in zip(expected, triplets.feedback, strict=True):
        words = sentence.removeprefix("replace ").split(" with ")
        for name, word in zip((one, other), words, strict=True):
            value = of_name[name].attributes[kind]
            assert word.startswith(value.replace(" ", "-")) or (value == "none" and word == f"no-{kind}")


def test_fashion200k_s_captions_are_alike_where_the_products_are(products: Path) -> None:
    for split in ("train", "test"):
        world = wardrobe.World(wardrobe.SIZES["tiny"]).split(split)
        triplets = datasets.load("fashion200k", products, split).triplets
        assert len(triplets.labels) == len(world.names)
        assert len(np.unique(triplets.labels)) == len(np.unique(world.labels))
    assert not triplets.images.missing().any()


def test_a_model_learns_from_siblings_of_a_written_wardrobe(products: Path, tmp_path: Path) -> None:
    output = call("train", "fashion200k", "--root", products, "--preset", "tiny", "--out", tmp_path, "--steps", "2")
    assert "trained:" in output, output


@pytest.mark.parametrize(("world", "layout", "choices"), [("shapes", "fashioniq", "css"), ("wardrobe", "css", "fash")])
def test_a_layout_that_does_not_fit_the_world_is_refused_before_anything_is_drawn(
    world: str, layout: str, choices: str, tmp_path: Path
) -> None:
    with pytest.raises(UnknownNameError, match=f"layout of the {world} world '{layout}'.*{choices}"):
        api.generate(world, tmp_path / "out", size="tiny", layout=layout)
    assert not (tmp_path / "out").exists()
