"""Every public data set in small, in the form in which it was published, without images."""

import json
from collections.abc import Callable
from pathlib import Path

import tests.test_circo as circo
import tests.test_cirr as cirr
import tests.test_css as css
import tests.test_differences as differences
import tests.test_fashion200k as fashion200k
import tests.test_genecis as genecis
import tests.test_mitstates as mitstates
import tests.test_multiturn as multiturn
import tests.test_shoes as shoes
from itma.data.datasets.birds_to_words import COLUMNS, TABLE
from tests import shop_table

CATEGORIES = ("dress", "shirt", "toptee")


def write(name: str, root: Path) -> Path:
    """A data set's annotation files in a folder, which is made."""
    root.mkdir(parents=True, exist_ok=True)
    WRITERS[name](root)
    return root


def _birds(root: Path) -> None:
    splits = ("train", "val", "test")
    rows = [
        differences.bird(3 * number, 3 * number + 1 + step, splits[number]) for number in range(3) for step in (0, 1)
    ]
    (root / TABLE).write_text("\n".join(["\t".join(COLUMNS), *rows]) + "\n")


def _circo(root: Path) -> None:
    for split in ("val", "test"):
        circo.write(root, split, circo.rows_of(split))
    circo.write_list(root)


def _cirr(root: Path) -> None:
    (root / "image_splits").mkdir()
    for split in cirr.PREFIX:
        paths = {cirr.name(split, number): f"./{split}/{cirr.name(split, number)}.png" for number in range(12)}
        (root / "image_splits" / f"split.rc2.{split}.json").write_text(json.dumps(paths))
        cirr.write(root, split, cirr.rows_of(split))


def _fashion200k(root: Path) -> None:
    (root / "labels").mkdir()
    (root / "labels" / "dress_train_detect_all.txt").write_text(fashion200k.TRAIN)
    (root / "labels" / "skirt_test_detect_all.txt").write_text(fashion200k.TEST)
    (root / "test_queries.txt").write_text("women/t/1.jpeg women/t/2.jpeg\nwomen/t/3.jpeg women/t/1.jpeg\n")


def _fashioniq(root: Path) -> None:
    for folder in ("captions", "image_splits"):
        (root / folder).mkdir()
    for split in ("train", "val", "test"):
        for category in CATEGORIES:
            names = [f"{category}{split}{number}" for number in range(6)]
            rows = [
                {"candidate": names[row], "captions": [f"is {colour}", "has sleeves"]}
                | ({} if split == "test" else {"target": names[row + 1]})
                for row, colour in enumerate(("red", "blue", "green", "white"))
            ]
            (root / "captions" / f"cap.{category}.{split}.json").write_text(json.dumps(rows))
            (root / "image_splits" / f"split.{category}.{split}.json").write_text(json.dumps(names))


def _genecis(root: Path) -> None:
    for task in genecis.TASKS:
        genecis.write(root, task, genecis.rows_of(task))


def _multiturn(root: Path) -> None:
    for category in CATEGORIES:
        for split in ("train", "val"):
            multiturn.write(root, multiturn.sessions(category), category, split)


def _own(root: Path) -> None:
    rows = ["reference,feedback,target,split"]
    rows += [f"{number}.jpg,in red,{number + 1}.jpg,{'test' if number > 2 else 'train'}" for number in range(6)]
    (root / "triplets.csv").write_text("\n".join(rows) + "\n")


def _products(root: Path) -> None:
    shop_table.shop(root, shop_table.items())


def _shoes(root: Path) -> None:
    for split in ("train", "eval"):
        names = [shoes.image(split, number) for number in range(6)]
        (root / f"{split}_im_names.txt").write_text("\n".join(names) + "\n")
    shoes.write(root, shoes.rows())


def _spot_the_diff(root: Path) -> None:
    differences.pairs(root, differences.SPOTTED)
    for split in ("train", "test"):
        (root / "annotations" / f"{split}.json").write_text(json.dumps(differences.SPOTTED))


WRITERS: dict[str, Callable[[Path], object]] = {
    "birds_to_words": _birds,
    "circo": _circo,
    "cirr": _cirr,
    "css": css.write,
    "fashion200k": _fashion200k,
    "fashioniq": _fashioniq,
    "genecis": _genecis,
    "lasco": lambda root: differences.lasco(root, [differences.lasco_row(0, 3), differences.lasco_row(1, 2)]),
    "mitstates": lambda root: (root / "files.txt").write_text(mitstates.FILES),
    "multiturn": _multiturn,
    "own": _own,
    "products": _products,
    "shoes": _shoes,
    "spot_the_diff": _spot_the_diff,
}
"""Data set → what writes it."""
