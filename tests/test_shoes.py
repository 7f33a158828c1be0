"""Shoes: captions divided by two lists of images, and images anywhere below the root."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itma.data import datasets
from itma.data.datasets.shoes import Shoes
from itma.data.validation.doctor import examine
from itma.errors import DataError
from itma.evaluation.evaluate import score

Row = dict[str, object]


def image(split: str, number: int) -> str:
    return f"img_womens_{'clogs' if split == 'train' else 'pumps'}_{number}.jpg"


def row(reference: str, target: str, caption: object = "are red") -> Row:
    return {"ImageName": target, "ReferenceImageName": reference, "RelativeCaption": caption}


def rows() -> list[Row]:
    """Three captions of each split; the last one of eval leads to its own reference."""
    result = []
    for split in ("train", "eval"):
        result += [row(image(split, 0), image(split, 1)), row(image(split, 1), image(split, 2), "have heels")]
        result.append(row(image(split, 3), image(split, 3)))
    return result


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six images to each split."""
    for split in ("train", "eval"):
        names = [image(split, number) for number in range(6)]
        (tmp_path / f"{split}_im_names.txt").write_text("\n".join(names) + "\n")
    write(tmp_path, rows())
    return tmp_path


def write(root: Path, captions: list[Row]) -> None:
    (root / "relative_captions_shoes.json").write_text(json.dumps(captions))


def test_captions_are_divided_by_the_list_that_their_images_stand_in(root: Path) -> None:
    train, measured = datasets.load("shoes", root, "train").triplets, datasets.load("shoes", root, "eval").triplets
    assert [train[number].target for number in range(3)] == [f"img_womens_clogs_{number}" for number in (1, 2, 3)]
    assert measured[1].reference == "img_womens_pumps_1" and measured[1].feedback == "have heels"


def test_a_caption_whose_target_is_its_reference_is_not_asked(root: Path) -> None:
    protocol = datasets.load("shoes", root, "eval").protocol()
    assert protocol.tasks[0].rows.tolist() == [0, 1]
    assert "captions whose target is their reference are not asked (1)" in protocol.about


def test_each_gallery_holds_what_its_protocol_says(root: Path) -> None:
    split = datasets.load("shoes", root, "eval")
    sizes = {name: len(protocol.tasks[0].gallery) for name, protocol in split.protocols.items()}
    assert sizes == {"shoes": 6, "shoes/asked": 3}


def test_embeddings_alone_are_measured(root: Path) -> None:
    split = datasets.load("shoes", root, "eval")
    gallery = np.eye(6)
    report = score(split.triplets, split.protocol(), gallery[split.triplets.targets], gallery).report
    assert report.queries == 2 and report.recall[1] == 1.0


def test_images_are_found_in_any_folder_below(root: Path) -> None:
    folder = root / "attributedata" / "womens_pumps" / "0"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / image("eval", 2))
    missing = datasets.load("shoes", root, "eval").triplets.images.missing()
    assert missing.tolist() == [True, True, False, True, True, True]


def test_names_are_read_with_and_without_ending(root: Path) -> None:
    plain = datasets.load("shoes", root, "eval").triplets
    captions = [{key: str(value).removesuffix(".jpg") for key, value in one.items()} for one in rows()]
    write(root, captions)  # type: ignore[arg-type]
    bare = datasets.load("shoes", root, "eval").triplets
    assert bare.targets.tolist() == plain.targets.tolist() and len(bare) == 3


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (row(image("eval", 0), "img_99.jpg"), "'img_99' is neither in train_im_names.txt nor in eval_im_names.txt"),
        (row(image("eval", 0), image("train", 0)), "is in the list of eval, 'img_womens_clogs_0' in the other"),
        (row(image("eval", 0), image("eval", 1), []), r"'RelativeCaption' is \[\]; expected a text"),
        (row(image("eval", 0), image("eval", 1), ["a", "b", "c"]), "expected a text"),
        ({"ImageName": image("eval", 0)}, "'ReferenceImageName' is missing, found ImageName"),
    ],
)
@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_row_that_cannot_be_used_is_named(root: Path, bad: Row, problem: str, split: str) -> None:
    write(root, [*rows(), bad])
    with pytest.raises(DataError, match=rf"relative_captions_shoes\.json', row 7: .*{problem}"):
        datasets.load("shoes", root, split)


def test_an_image_in_both_lists_is_named(root: Path) -> None:
    with (root / "eval_im_names.txt").open("a") as file:
        file.write(image("train", 4) + "\n")
    with pytest.raises(DataError, match=r"eval_im_names\.txt', row 7: 'img_womens_clogs_4\.jpg' also stands in train"):
        datasets.load("shoes", root, "eval")


def test_another_folder_is_refused_with_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected relative_captions_shoes\.json, train_im_names\.txt"):
        datasets.load("shoes", tmp_path, "eval")


@pytest.mark.realdata
def test_the_published_files_are_as_published_but_for_their_images(real_data: Callable[[str], Path]) -> None:
    for split in ("train", "eval"):
        assert Shoes(datasets.DataConfig("shoes")).counts(real_data("shoes"), split) == Shoes.published[split]
    for one in examine("shoes", real_data("shoes")).findings:
        if one.severity == "problem":
            assert one.what.startswith(
                ("missing images", "files that were looked for", "queries of shoes", "rows that can be used")
            ), one
