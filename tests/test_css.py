"""CSS: made-up annotations in the published form, files that try to do harm, and drawings pixel by pixel."""

import io
import json
import os
import pickle
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from itma.data import datasets
from itma.data.batching import Plan
from itma.data.datasets import css
from itma.data.datasets.css import ANNOTATION, COLOURS, SHAPES, SIZES, Css, Thing, draw
from itma.data.images import FileImages, Preprocess
from itma.data.triplets import cover
from itma.errors import DataError, ImageError, UnknownNameError
from itma.evaluation.evaluate import score

load, counts = partial(datasets.load, "css"), Css(datasets.DataConfig("css")).counts


CUBE = {"shape": "rectangle", "color": "red", "size": "large", "pos": [0.5, 1 / 6]}
BALL = {"shape": "circle", "color": "blue", "size": "small", "pos": [1 / 6, 5 / 6]}
CONE = {"shape": "triangle", "color": "gray", "size": "small", "pos": [5 / 6, 0.5]}
SPLIT: dict[str, Any] = {
    "objects_img": [[CUBE], [CUBE, BALL], [CUBE, CONE], [BALL], [BALL, CONE], []],
    "mods": [
        {"from": [0, 3], "to": [2, 4], "to_str": "add small gray cylinder", "from_str": ""},
        {"from": [1], "to": [0], "to_str": "remove sphere", "from_str": ""},
        {"from": [0], "to": [1], "to_str": "add small blue sphere", "from_str": ""},
    ],
    "labels": [0, 1, 2, 3, 4, 0],
}
WHOLE = {"train": SPLIT, "test": deepcopy(SPLIT)}
ROWS = [
    ("css_test_000000.png", "add small gray cylinder", "css_test_000002.png"),
    ("css_test_000003.png", "add small gray cylinder", "css_test_000004.png"),
    ("css_test_000001.png", "remove sphere", "css_test_000000.png"),
    ("css_test_000000.png", "add small blue sphere", "css_test_000001.png"),
]


def array(value: object) -> np.ndarray:
    """One object in an array without dimensions."""
    result = np.empty((), dtype=object)
    result[()] = value
    return result


def header(value: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(value))
    return file.getvalue()


def python_2(value: object) -> bytes:
    """A pickle of an array around a value, with the names that numpy had when the file was published."""
    return pickle.dumps(array(value), protocol=2).replace(b"numpy._core", b"numpy.core")


def write(root: Path, value: object = WHOLE, *, data: bytes | None = None) -> Path:
    """A root with an annotation that holds a value, or a pickle."""
    (root / ANNOTATION).write_bytes(header(array(None)) + (python_2(value) if data is None else data))
    return root


# Rows, labels and protocols


def test_every_pair_of_a_modification_is_a_row_in_the_order_of_the_file(tmp_path: Path) -> None:
    triplets = load(write(tmp_path), "test").triplets
    assert [tuple(vars(triplets[row]).values()) for row in range(4)] == ROWS
    assert list(triplets.kinds[:4]) == ["add", "add", "remove", "add"]
    assert triplets.name == "css/test"
    train = load(tmp_path, "train")
    assert [train.triplets[row].reference for row in range(len(train.triplets))] == [
        name.replace("test", "train") for name, _, _ in ROWS
    ]
    assert not train.protocols and not train.triplets.draws_targets
    assert isinstance(train.triplets.images, FileImages)
    assert train.triplets.images.paths[1] == tmp_path / "images" / "css_train_000001.png"
    assert counts(tmp_path, "train") == {"images": 6, "queries": 4, "modifications": 3}


def test_two_feedbacks_to_one_reference_come_side_by_side(tmp_path: Path) -> None:
    triplets = load(write(tmp_path), "train").triplets
    for seed in range(5):
        plan = Plan(triplets.references, batch=4, seed=seed, per_reference=2)
        positions = np.flatnonzero(triplets.references[plan.rows(0)] == 0)
        assert np.diff(positions).tolist() == [1]


def test_labels_are_those_of_the_file_and_the_drawing_has_its_images(tmp_path: Path) -> None:
    assert load(write(tmp_path), "test").triplets.labels.tolist() == [0, 1, 2, 3, 4, 0] * 2
    words = deepcopy(WHOLE)
    words["test"]["labels"] = ["b", "a", "c", "b", "b", "d"]
    assert load(write(tmp_path, words), "test").triplets.labels.tolist() == [1, 0, 2, 1, 1, 3] * 2


def test_without_labels_each_image_has_its_own(tmp_path: Path) -> None:
    bare = {split: {key: SPLIT[key] for key in ("objects_img", "mods")} for split in Css.splits}
    assert load(write(tmp_path, bare), "train").triplets.labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_four_protocols_ask_and_rank_images_or_drawings(tmp_path: Path) -> None:
    split = load(write(tmp_path), "test")
    names = np.array(split.triplets.images.names)
    assert list(split.protocols) == ["css", "css/2d-to-3d", "css/3d-to-2d", "css/2d-to-2d"]
    for name, protocol in split.protocols.items():
        reference_kind, target_kind = {"css": ("3d", "3d")}.get(name) or tuple(name.removeprefix("css/").split("-to-"))
        (task,) = protocol.tasks
        ending = {"2d": ".2d", "3d": ".png"}
        rows = [split.triplets[row] for row in task.rows.tolist()]
        assert [(row.reference, row.feedback, row.target) for row in rows] == [
            (reference.replace(".png", ending[reference_kind]), feedback, target.replace(".png", ending[target_kind]))
            for reference, feedback, target in ROWS
        ]
        assert names[task.gallery].tolist() == [f"css_test_{number:06d}{ending[target_kind]}" for number in range(6)]
        removed = names[task.references(split.triplets)].tolist()
        assert removed == [reference.replace(".png", ending[target_kind]) for reference, _, _ in ROWS]
        assert protocol.name == name and protocol.without_reference and protocol.ks == (1, 5, 10, 50)


def test_a_reference_does_not_hide_its_target_in_any_protocol(tmp_path: Path) -> None:
    split = load(write(tmp_path), "test")
    vectors = np.eye(6, dtype=np.float32)[[0, 1, 2, 3, 4, 5] * 2] + 0.5
    for protocol in split.protocols.values():
        queries = vectors[split.triplets.references] + 0.9 * vectors[split.triplets.targets]
        assert score(split.triplets, protocol, queries, vectors).report.recall[1] == 1.0


# Images and drawings


def test_images_and_drawings_are_loaded_in_the_order_asked_for(tmp_path: Path) -> None:
    (write(tmp_path) / "images").mkdir()
    for number in range(6):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(tmp_path / "images" / f"css_test_{number:06d}.png")
    images = load(tmp_path, "test").triplets.images
    pixels = images.load([7, 2, 11, 0], Preprocess(height=64, width=64))
    assert pixels.shape == (4, 3, 64, 64) and pixels.dtype == torch.uint8
    assert pixels[1].unique().tolist() == [0, 2] and pixels[3].unique().tolist() == [0]
    assert (pixels[0].numpy() == draw((thing(CUBE), thing(BALL)))).all()
    assert pixels[2].unique().tolist() == [255]
    assert images.load([], Preprocess(height=8, width=12)).shape == (0, 3, 8, 12)


def test_only_rendered_images_can_be_missing(tmp_path: Path) -> None:
    split = load(write(tmp_path), "test")
    images = split.triplets.images
    assert isinstance(images, css.SceneImages)
    assert images.missing().tolist() == [True] * 6 + [False] * 6
    with pytest.raises(ImageError, match=r"css_test_000001\.png"):
        images.load([7, 1], Preprocess())
    left, coverage = cover(split, images.missing())
    assert coverage.usable == 4
    assert [len(protocol.tasks[0].rows) for protocol in left.protocols.values()] == [0, 0, 0, 4]


def thing(plain: dict[str, Any]) -> Thing:
    return Thing(plain["shape"], plain["color"], plain["size"], *plain["pos"])


def drawn_slowly(scene: list[Thing]) -> np.ndarray:
    """Line by line, with the published bounds."""
    image = np.full((64, 64, 3), 255, dtype=np.uint8)
    for one in scene:
        s, y, x = (8.0 if one.size == "large" else 4.0), one.row * 64, one.column * 64
        for line in range(int(y - s), int(y + s) + (one.shape == "circle")):
            if one.shape == "rectangle":
                bounds = (x - s, x + s)
            elif one.shape == "circle":
                begin = x + (abs(line - y) - s)
                bounds = (begin, 2 * x - begin)
            else:
                begin = x + (line - y + s) / 2
                bounds = (min(begin, 2 * x - begin), max(begin, 2 * x - begin))
            image[line, int(bounds[0]) : int(bounds[1])] = COLOURS[one.colour]
    return image.transpose(2, 0, 1)


POSITIONS = st.one_of(st.sampled_from([1 / 6, 0.5, 5 / 6]), st.floats(0.15, 0.85))
THINGS = st.builds(Thing, st.sampled_from(SHAPES), st.sampled_from(sorted(COLOURS)), st.sampled_from(sorted(SIZES)))


@given(st.lists(st.tuples(st.sampled_from(SHAPES), st.sampled_from(sorted(COLOURS)), st.sampled_from(sorted(SIZES)))))
def test_drawings_on_the_grid_are_the_published_ones(kinds: list[tuple[str, str, str]]) -> None:
    grid = [(row / 6, column / 6) for row in (1, 3, 5) for column in (1, 3, 5)]
    scene = [Thing(*kind, *grid[index % 9]) for index, kind in enumerate(kinds)]
    assert (draw(tuple(scene)) == drawn_slowly(scene)).all()


@given(st.sampled_from(SHAPES), st.sampled_from(sorted(SIZES)), POSITIONS, POSITIONS)
def test_a_drawing_at_any_place_is_the_published_one(shape: str, size: str, row: float, column: float) -> None:
    scene = [Thing(shape, "green", size, row, column)]
    assert (draw(tuple(scene)) == drawn_slowly(scene)).all()


def test_a_thing_at_the_edge_is_cut_off() -> None:
    assert (draw((Thing("circle", "red", "large", 0.0, 1.0),))[0, :2, 60:] == 244).all()


# The annotation file


class Runs:
    """Pickled, it stands for a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch made",), "system"),
        (eval, ("open('made', 'w')",), "builtins.eval|__builtin__.eval"),
        (exec, ("open('made', 'w')",), "builtins.exec|__builtin__.exec"),
        (getattr, ("", "join"), "getattr"),
        (np.fromfile, ("made",), "fromfile"),
        (np.load, ("made",), "numpy.load"),
        (np.memmap, ("made", "uint8", "w+", 0, (1,)), "memmap"),
        (np.savetxt, ("made", [1]), "savetxt"),
        (Path, ("made",), "Path"),
        (io.open, ("made", "w"), "open"),
    ],
)
def test_a_file_that_tries_to_run_code_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: Callable[..., object],
    arguments: tuple[object, ...],
    named: str,
    protocol: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    for value in (Runs(function, *arguments), {**WHOLE, "more": [Runs(function, *arguments)]}):
        write(tmp_path, data=pickle.dumps(array(value), protocol=protocol))
        with pytest.raises(DataError, match=rf"asks for '.*({named}).*so it was not opened") as error:
            load(tmp_path, "test")
        assert "get it again" in str(error.value)
    write(tmp_path, data=pickle.dumps(Runs(function, *arguments), protocol=protocol))
    with pytest.raises(DataError, match="so it was not opened"):
        load(tmp_path, "test")
    assert not (tmp_path / "made").exists()


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
NDARRAY, DTYPE = b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",  # an attribute of an allowed name
        b"\x80\x04\x8c\x04itma\x8c\x03cli\x93.",
        b"(S'touch made'\nios\nsystem\n.",  # protocol 0: found and called at once
        b"cposix\nsystem\n(S'touch made'\no.",
        b"\x82\x01.",  # a class by number
        b"Pmade\n.",  # something kept elsewhere
        NDARRAY + b")R.",  # the class itself called
        NDARRAY + b")\x81.",
        NDARRAY + b"}(X\x01\x00\x00\x00ax\x01\x00\x00\x00bub.",  # attributes of a class changed
        RECONSTRUCT + b"N}(X\x0c\x00\x00\x00__defaults__)u\x86b.",  # those of a function
        DTYPE + b"(X\x02\x00\x00\x00O8tR.",
        DTYPE + b"(X\x03\x00\x00\x00V99tR.",
        DTYPE + b"(X\x08\x00\x00\x00i4,O,f8\x00tR.",
        RECONSTRUCT + b"(" + DTYPE + b"K\x00\x85U\x01btR.",  # an array of another class
        RECONSTRUCT + b"(" + NDARRAY + b"K\x00\x85U\x01btR.",  # an array that is never filled
        b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00rottR.",
        b"]" * 100_000 + b"a" * 99_999 + b".",
        b")" + b"\x85" * 100_000 + b".",
        b"}" + b")" + b"\x85" * 300_000 + b"Ns.",  # a key that crashes Python when it is hashed
        b"}(" + b")" + b"\x85" * 300_000 + b"Nu.",
        b"Nr\xff\xff\xff\xff.",  # place 4,294,967,295 of a list
        b"X\xff\xff\xff\xffshort.",
        b"N.",
        b".",
        b"",
        b"\x80\x63N.",
        b"K\x01K\x02Rb0.",
        b"nothing of the kind",
    ],
)
def test_a_pickle_that_holds_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, data=data)
    with pytest.raises(DataError, match=f"{ANNOTATION}' (is damaged or was cut off: .|asks for)"):
        load(tmp_path, "test")
    assert not (tmp_path / "made").exists()
    assert load(write(tmp_path), "test").triplets.feedback  # nothing of it stays behind


def filled(kind: bytes, shape: bytes, data: bytes) -> bytes:
    """A pickle of an array of some type, shape and content."""
    dtype = (
        DTYPE
        + b"(U"
        + bytes([len(kind)])
        + kind
        + b"K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    return RECONSTRUCT + b"(" + NDARRAY + b"K\x00\x85U\x01btR(K\x01" + shape + dtype + b"\x89" + data + b"tb"


@pytest.mark.parametrize(
    "content",
    [
        filled(b"O8", b")", b"]"),
        filled(b"O8", b")", b"N"),
        filled(b"O8", b"(K\x02K\x02K\x02t", b"]"),
        filled(b"i8", b"(K\x02t", b"U\x04abcd"),
        filled(b"i8", b"(J\xff\xff\xff\xfft", b"U\x08abcdefgh"),
        filled(b"i8", b"(NtU\x04abcd", b"N"),
        filled(b"i8", b"(K\x01t", b"K\x01"),
        filled(b"i8", b")", b"U\x08abcdefgh"),
    ],
)
def test_an_array_whose_parts_do_not_fit_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"is damaged or was cut off|expected 'test' in it"):
        load(write(tmp_path, data=content + b"."), "test")


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = (write(tmp_path) / ANNOTATION).read_bytes()
    for size in range(len(whole)):
        (tmp_path / ANNOTATION).write_bytes(whole[:size])
        with pytest.raises(DataError, match=f"{ANNOTATION}' is damaged or was cut off: .*get it again"):
            load(tmp_path, "test")


@pytest.mark.parametrize("numbers", [np.arange(3), np.array([None, None], dtype=object), np.zeros((), dtype="i4")])
def test_an_npy_file_that_holds_no_single_object_is_refused(tmp_path: Path, numbers: np.ndarray) -> None:
    np.save(tmp_path / ANNOTATION, numbers, allow_pickle=True)
    with pytest.raises(DataError, match="expected one object, found an array of shape"):
        load(tmp_path, "test")


def test_a_file_that_is_no_npy_is_refused(tmp_path: Path) -> None:
    (tmp_path / ANNOTATION).write_bytes(b"<!DOCTYPE html><title>Quota exceeded</title>")
    with pytest.raises(DataError, match="is damaged or was cut off: the magic string is not correct"):
        load(tmp_path, "test")


def test_files_of_any_numpy_and_protocol_are_read(tmp_path: Path) -> None:
    expected = load(write(tmp_path), "test").triplets
    for protocol in (2, 3, 4):
        for home in (b"numpy._core", b"numpy.core"):
            data = pickle.dumps(array(WHOLE), protocol=protocol)
            if protocol < 4:  # later ones give the length of a name before it
                data = data.replace(b"numpy._core", home)
            assert load(write(tmp_path, data=data), "test").triplets.feedback == expected.feedback
    np.save(tmp_path / ANNOTATION, array(WHOLE), allow_pickle=True)
    assert load(tmp_path, "test").triplets.feedback == expected.feedback


def test_arrays_and_numbers_of_numpy_are_read_like_lists(tmp_path: Path) -> None:
    numpy = deepcopy(WHOLE)
    numpy["test"]["labels"] = np.array(SPLIT["labels"], dtype=">i4")
    numpy["test"]["mods"][0]["from"] = [np.int64(0), np.uint8(3)]
    numpy["test"]["mods"][0]["to"] = np.array([2, 4])
    numpy["test"]["objects_img"][0][0]["pos"] = np.array([0.5, 1 / 6])
    one, other = load(write(tmp_path), "test"), load(write(tmp_path, numpy), "test")
    assert one.triplets.labels.tolist() == other.triplets.labels.tolist()
    assert one.triplets.references.tolist() == other.triplets.references.tolist()
    assert one.triplets.targets.tolist() == other.triplets.targets.tolist()


def test_a_text_of_python_2_is_read_as_latin_1(tmp_path: Path) -> None:
    data = python_2(WHOLE).replace(b"X\x0d\x00\x00\x00remove sphere", b"U\x0dremove sph\xe9re")
    assert "remove sphére" in load(write(tmp_path, data=data), "test").triplets.feedback


# Annotations that make no sense


def test_an_unknown_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown split of CSS 'val'; choose from: test, train"):
        load(write(tmp_path), "val")


def test_a_root_one_level_off_is_named(tmp_path: Path) -> None:
    root = tmp_path / "css"
    (root / "images").mkdir(parents=True)
    write(root)
    for wrong in (tmp_path, root / "images"):
        with pytest.raises(DataError, match=f"expected {ANNOTATION} in it.*give '.*css' instead"):
            load(wrong, "test")
    with pytest.raises(DataError, match="does not exist; give the folder of CSS"):
        load(tmp_path / "none", "test")


Keys = tuple[str | int, ...]


@pytest.mark.parametrize(
    ("keys", "value", "problem"),
    [
        ((), None, "expected 'test' in it, found nothing"),
        (("objects_img",), None, "test objects_img: expected a list, found missing"),
        (("objects_img",), "cube", "test objects_img: expected a list, found 'cube'"),
        (("objects_img", 1), 7, "test image 1: expected a list, found 7"),
        (("objects_img", 1, 0), "cube", "test image 1: a thing is 'cube'; expected {shape, color, size, pos}"),
        (
            ("objects_img", 1, 0, "color"),
            "pink",
            "test image 1: the color of a thing is 'pink'; expected one of gray",
        ),
        (("objects_img", 1, 0, "shape"), None, "test image 1: the shape of a thing is missing; expected one of rect"),
        (
            ("objects_img", 1, 0, "size"),
            [],
            "test image 1: the size of a thing is of type list; expected one of small",
        ),
        (
            ("objects_img", 1, 0, "pos"),
            [0.5],
            "test image 1: the pos of a thing is of type list; expected row and column",
        ),
        (("objects_img", 1, 0, "pos"), [0.5, 2], "from 0 to 1 each"),
        (("objects_img", 1, 0, "pos"), [0.5, float("nan")], "from 0 to 1 each"),
        (("objects_img", 1, 0, "pos"), None, "test image 1, pos: expected a list, found missing"),
        (("labels",), [1, 2], "test labels: 2 for 6 images; expected one each"),
        (("labels", 3), None, "test labels: missing is no label; expected whole numbers, or texts"),
        (("labels", 3), 1.5, "1.5 is no label"),
        (("labels", 3), 2**200, "of type int is no label"),
        (("mods",), [], "holds no modifications for test"),
        (("mods", 1), None, "test modification 1 is missing; expected {from, to, to_str}"),
        (
            ("mods", 1, "to_str"),
            None,
            "test modification 1 is of type dict; expected {from, to, to_str} with a sentence",
        ),
        (("mods", 1, "to_str"), " ", "test modification 1 is of type dict; expected"),
        (("mods", 1, "to"), None, "test modification 1, to: expected a list, found missing"),
        (("mods", 1, "to"), [0, 2], "test modification 1 leads from 1 images to 2; expected as many"),
        (("mods", 1, "from"), [6], "test modification 1, from: 6 is no image; expected numbers below 6"),
        (("mods", 1, "from"), [-1], "from: -1 is no image"),
        (("mods", 1, "from"), [True], "from: True is no image"),
        (("mods", 1, "from"), ["0"], "from: '0' is no image"),
        (("mods", 1, "from"), [0.0], "from: 0.0 is no image"),
    ],
)
def test_a_part_that_makes_no_sense_is_named(tmp_path: Path, keys: Keys, value: object, problem: str) -> None:
    whole: Any = json.loads(json.dumps(WHOLE))  # in a deep copy, what is shared stays shared
    if keys:
        inner = whole["test"]
        for step in keys[:-1]:
            inner = inner[step]
        inner[keys[-1]] = value
    else:
        whole = {}
    with pytest.raises(DataError) as error:
        load(write(tmp_path, whole), "test")
    assert problem in str(error.value) and ANNOTATION in str(error.value) and "get it again" in str(error.value)
    assert keys == () or load(tmp_path, "train").triplets.feedback  # the other split is as it was


def test_a_scene_of_endless_depth_is_refused(tmp_path: Path) -> None:
    deep: list[Any] = []
    deep.append(deep)
    whole = {"test": {**SPLIT, "objects_img": deep}}
    with pytest.raises(DataError, match="test image 0: a thing is of type list; expected"):
        load(write(tmp_path, whole), "test")


# An annotation in the published form


@pytest.mark.realdata
def test_an_annotation_of_python_2_is_read(real_data: Callable[[str], Path]) -> None:
    root = real_data("css")
    assert counts(root, "train") == {"images": 71, "queries": 54, "modifications": 47}
    assert counts(root, "test") == {"images": 91, "queries": 75, "modifications": 60}
    assert set(Css.published["test"]) == set(counts(root, "test"))
    for split in Css.splits:
        images: Any = load(root, split).triplets.images
        assert not images.missing().any()


@pytest.mark.realdata
def test_what_is_read_is_what_numpy_reads(real_data: Callable[[str], Path]) -> None:
    plain = np.load(real_data("css") / ANNOTATION, allow_pickle=True, encoding="latin1").item()
    for split in Css.splits:
        triplets = load(real_data("css"), split).triplets
        pairs = [(mod, index) for mod in plain[split]["mods"] for index in range(len(mod["from"]))]
        assert triplets.references[: len(pairs)].tolist() == [mod["from"][index] for mod, index in pairs]
        assert triplets.targets[: len(pairs)].tolist() == [mod["to"][index] for mod, index in pairs]
        assert list(triplets.feedback[: len(pairs)]) == [mod["to_str"] for mod, _ in pairs]
        assert triplets.labels[: len(plain[split]["labels"])].tolist() == plain[split]["labels"]
