"""One's own triplets: a table of reference, feedback and target, with the images beside it.

Expected under the root:

triplets.jsonl or triplets.csv   columns reference, feedback, target and, where wanted, split (train, val or test) and
                                 kind
images/                          the images; they may also stand in the root itself, or anywhere else that is named
labels.csv                       optional: columns image, label and, where wanted, split. Images of one label count
                                 as the same, for example several photographs of one dress.
"""

import hashlib
import logging
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from itma.data.datasets.base import Dataset, Written, register
from itma.data.datasets.image_finder import IMAGES, Finder
from itma.data.datasets.reading import check_root
from itma.data.datasets.tables import Row, Table, read_table, short
from itma.data.images import FileImages, find_images
from itma.data.triplets import Protocol, Split, Task, Triplets, encode_aspect
from itma.errors import DataError

log = logging.getLogger(__name__)

SPLITS = ("train", "test")
VALIDATION = "val"
_SPELT = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
}
"""What tables call their splits."""
_NOTHING = frozenset({"nan", "n/a", "null"})
"""What programs write where there is no sentence."""
FILES = ("triplets.jsonl", "triplets.csv")
LABELS = "labels.csv"
LABEL_COLUMNS = ("image", "label", "split")
"""Of `labels.csv`; whatever further columns it has say what is true of an image."""
NEEDED, OPTIONAL = ("reference", "feedback", "target"), ("split", "kind")

TEST_SHARE = 0.1
"""Of the references, where no column says which rows are for testing."""


class _Triplet(NamedTuple):
    row: Row
    reference: str
    feedback: str
    target: str
    split: str
    kind: str


class _Listed(NamedTuple):
    """An image of `labels.csv`; label, split and truths are empty where nothing is said."""

    name: str
    label: str
    split: str
    truths: tuple[str, ...] = ()
    """What the further columns say of it, in their order."""


def _protocol(triplets: Triplets, mentioned: int, shared: int, table: Table) -> Protocol:
    """All images of the test split are ranked for each of its rows."""
    rows, images = len(triplets), len(triplets.labels)
    by_name = f"by the sum of the reference's name, {TEST_SHARE:.0%} for testing"
    about = [
        f"{table.path.name}, split {'by its column' if 'split' in _fold(table.columns) else by_name}",
        f"gallery = the {mentioned:,} images that test rows mention"
        + (f" and {images - mentioned:,} more that training does not mention" if images > mentioned else ""),
        "the reference is removed",
        f"any image with the target's label in {LABELS} counts"
        if len(np.unique(triplets.labels)) < images
        else "only the target counts",
    ]
    if shared:
        about.append(f"{shared:,} images of the gallery also stand in training rows")
    return Protocol("own", "; ".join(about), (Task("", np.arange(rows), np.arange(images)),))


def for_testing(reference: str) -> bool:
    """Whether a reference belongs to the tenth for testing, by its name alone.

    >>> [number for number in range(30) if for_testing(f"images/{number}.jpg")]
    [6]
    """
    name = unicodedata.normalize("NFC", reference).replace("\\", "/").removeprefix("./")
    sum_ = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(sum_[:8], "big") < TEST_SHARE * 2**64


def _file(root: Path) -> Path:
    """The table of triplets."""
    if root.is_file():
        return root
    files = [root / name for name in FILES if (root / name).is_file()]
    if len(files) > 1:
        raise DataError(
            f"{str(root)!r} holds both {' and '.join(FILES)}; give one of the two files instead of the folder"
        )
    if files:
        return files[0]
    if root.is_dir():
        near = [*root.glob("*/triplets.*"), *root.resolve().parent.glob("triplets.*")]
        right = sorted(path.parent for path in near if path.name in FILES)
        if right:
            raise DataError(f"{str(root)!r} holds neither {' nor '.join(FILES)}; did you mean {str(right[0])!r}?")
    check_root(root, "one's own triplets", [" or ".join(FILES)])
    raise AssertionError("no file has such a name")


def _fold(columns: Sequence[str]) -> list[str]:
    return [column.strip().lower() for column in columns]


def _check_columns(table: Table, needed: Sequence[str], optional: Sequence[str], *, more: bool = False) -> None:
    """Refuse a table without a needed column; name the columns that are not used, unless `more` are."""
    columns = _fold(table.columns)
    missing = [column for column in needed if column not in columns]
    if missing:
        raise DataError(
            f"{str(table.path)!r} has no column {' and no column '.join(map(repr, missing))}; found "
            f"{', '.join(map(repr, table.columns))}; expected {', '.join(needed)}, where wanted {', '.join(optional)}"
        )
    unused = [column for column in table.columns if column.strip().lower() not in (*needed, *optional)]
    if unused and not more:
        log.warning("%s: these columns are not used: %s", table.path, ", ".join(unused))


def _triplets(table: Table) -> list[_Triplet]:
    """The rows, checked; where there are no test rows, those for validation are the test rows."""
    _check_columns(table, NEEDED, OPTIONAL)
    by_column = "split" in _fold(table.columns)
    triplets = []
    rows = [(row, {column.strip().lower(): value for column, value in row.cells.items()}) for row in table.rows]
    _refuse_empty(table, rows)
    for row, cells in rows:
        target = cells.get("target")
        if isinstance(target, list) and len(target) == 1:
            cells["target"] = target[0]
        elif isinstance(target, list):
            raise table.error(
                row,
                f"target is {short(target)}; expected one image. Where several are right, give them one "
                f"label in {LABELS} (columns image, label) and name any of them here",
            )
        cells["feedback"] = _join(cells.get("feedback"))
        reference, feedback, name = (_text(table, row, cells, column) for column in NEEDED)
        kind = _text(table, row, cells, "kind") if cells.get("kind") else ""
        _check_encodable(table, row, feedback + kind)
        if by_column:
            written = _text(table, row, cells, "split")
            if written.lower() not in _SPELT:
                raise table.error(row, f"the split is {short(written)}; expected train, val or test")
            split = _SPELT[written.lower()]
        else:
            split = "test" if for_testing(reference) else "train"
        triplets.append(_Triplet(row, reference, feedback, name, split, kind))
    if any(triplet.split == "test" for triplet in triplets):
        return triplets
    return [triplet._replace(split="test") if triplet.split == VALIDATION else triplet for triplet in triplets]


def _refuse_empty(table: Table, rows: Sequence[tuple[Row, Mapping[str, object]]]) -> None:
    """Refuse rows without a sentence, all at once."""
    if "feedback" not in _fold(table.columns):
        return
    empty = [
        (row, value)
        for row, cells in rows
        if (value := _join(cells.get("feedback"))) is None
        or (isinstance(value, str) and value.strip().lower() in ("", *_NOTHING))
    ]
    if not empty:
        return
    row, value = empty[0]
    what = "is missing" if value is None else f"is {short(value)}" if str(value).strip() else "is empty"
    others = ", ".join(f"{other.line:,}" for other, _ in empty[1:11]) + (", …" if len(empty) > 11 else "")
    also = f"; so it is in {len(empty) - 1:,} further rows, of line {others}" if others else ""
    raise table.error(row, f"feedback {what}; expected text{also}. Write what should change, or take such rows out")


def _join(value: object) -> object:
    """Several sentences about one pair, as FashionIQ has them, as one."""
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return ", ".join(filter(None, map(str.strip, value)))
    return value


def _text(table: Table, row: Row, cells: dict[str, object], column: str) -> str:
    value = cells.get(column)
    if isinstance(value, str) and value.strip() and "\0" not in value:
        return value.strip()
    empty = isinstance(value, str) and not value.strip()
    what = "is missing" if value is None else "is empty" if empty else f"is {short(value)}"
    raise table.error(row, f"{column} {what}; expected text")


def _check_encodable(table: Table, row: Row, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can write half a character, which no tokenizer takes
        raise table.error(row, f"the text holds half a character, {text[error.start]!a}; write it anew") from error


def _labels(path: Path, finder: Finder) -> tuple[dict[Path, _Listed], list[str]]:
    """What `labels.csv` says, by image; and the names of its further columns."""
    if not path.is_file():
        return {}, []
    table = read_table(path)
    headings = [column.strip().lower() for column in table.columns]
    named = "picture" if "picture" in headings and "image" not in headings else "image"
    _check_columns(table, (named,), LABEL_COLUMNS[1:], more=True)
    columns = [column for column in table.columns if column.strip().lower() not in (named, *LABEL_COLUMNS)]
    listed: dict[Path, _Listed] = {}
    for row in table.rows:
        cells = {column.strip().lower(): value for column, value in row.cells.items()}
        name = _text(table, row, cells, named)
        truths = tuple(str(row.cells.get(column, "")).strip() for column in columns)
        written = str(cells.get("split") or "").lower()
        if written not in ("", *_SPELT):
            raise table.error(row, f"the split is {written!r}; expected train, val, test or nothing")
        said = _Listed(name, str(cells.get("label", "")), _SPELT.get(written, ""), truths)
        if listed.setdefault(finder.path(name), said)[1:] != said[1:]:
            raise table.error(
                row,
                f"another row says otherwise of {name!r}; give each image one label and one split, and say "
                "the same of it in every row",
            )
    return listed, columns


def _numbers(labels: Sequence[str]) -> np.ndarray:
    """A number to each label, in order of appearance; an image without a label has a number of its own."""
    known: dict[str, int] = {}
    return np.array(
        [known.setdefault(label, number) if label else number for number, label in enumerate(labels)], dtype=np.int64
    )


def _images(folder: Path) -> list[str]:
    """The names of all images under `images`."""
    images = folder / IMAGES
    if not images.is_dir():
        return []
    try:
        return [path.relative_to(folder).as_posix() for path in find_images(images)]
    except DataError as error:
        log.warning("%s; the gallery holds only what the tables name", error)
        return []


@register("own")
class Own(Dataset):
    """One's own triplets, in a table."""

    title = "one's own triplets"
    splits = SPLITS

    def read(self, root: Path, split: str) -> Split:
        """Read one split of one's own triplets.

        Without a column `split`, a sum of the reference's name decides which tenth of the references is for testing, so
        that a reference stays where it is when rows are added. Images are named relative to the root or to `images` in
        it, or with their whole path; they need not be there.

        Rows for validation are the test rows where the table has no others; else they are not used, for what chooses a
        checkpoint is held out of the training rows.

        - train: the images are those that its rows mention.
        - test: also every image under `images` and every test image of `labels.csv` that training does not mention;
          all of them are the gallery of the one protocol, `own`.

        Args:
            root: the folder that holds `triplets.jsonl` or `triplets.csv`, or such a file of any name.
            split: train or test.

        Raises:
            DataError: there is no such file, it is damaged, or the split has no rows; the message names file and line.
        """
        path = _file(root)
        table = read_table(path)
        triplets = _triplets(table)
        if unused := sum(triplet.split == VALIDATION for triplet in triplets):
            log.warning(
                "%s: %d rows for validation are not used: what chooses a checkpoint is held out of the training rows "
                "(train.hold_out)",
                path,
                unused,
            )
        rows = [triplet for triplet in triplets if triplet.split == split]
        if not rows:
            raise DataError(
                f"{str(path)!r}: none of {len(triplets):,} rows is for {split}. Say which are, with train or test in a "
                f"column 'split'; without it {TEST_SHARE:.0%} of the references are for testing, of a handful perhaps "
                "none"
            )
        if repeated := len(rows) - len({(row.reference, row.feedback, row.target) for row in rows}):
            log.warning("%s: %d of %d %s rows repeat an earlier one; they are kept", path, repeated, len(rows), split)
        finder = Finder(path.parent)
        names: dict[Path, str] = {}  # of each image once, whichever way its file was named
        for name in [*(row.reference for row in rows), *(row.target for row in rows)]:
            names.setdefault(finder.path(name), name)
        for row in rows:
            if finder.path(row.reference) == finder.path(row.target):
                raise table.error(row.row, f"reference and target are the same image, {row.target!r}; expected two")
        mentioned = len(names)
        listed, columns = _labels(path.parent / LABELS, finder)
        trained = {name for row in triplets if row.split == "train" for name in (row.reference, row.target)}
        elsewhere = {finder.path(name) for name in trained}
        if split == "test":
            training = elsewhere | {image for image, said in listed.items() if said.split == "train"}
            for name in [*(said.name for said in listed.values() if said.split == "test"), *_images(path.parent)]:
                if finder.path(name) not in training:
                    names.setdefault(finder.path(name), name)
        number = {image: index for index, image in enumerate(names)}
        said_of = [listed.get(image, _Listed("", "", "", ("",) * len(columns))) for image in names]
        annotated = Triplets.of(
            f"own/{split}",
            FileImages(list(names.values()), list(names)),
            [(number[finder.path(row.reference)], number[finder.path(row.target)], row.feedback) for row in rows],
            _numbers([said.label for said in said_of]),
            kinds=[row.kind or "other" for row in rows] if any(row.kind for row in rows) else [],
            aspects={
                column: encode_aspect([said.truths[place] for said in said_of]) for place, column in enumerate(columns)
            },
        )
        if split == "train":
            return Split(annotated)
        shared = sum(image in elsewhere for image in names)
        return Split.of(annotated, _protocol(annotated, mentioned, shared, table))

    def list_rows(self, root: Path, split: str, annotated: Split) -> Iterator[Written]:
        """See `Dataset`."""
        path = _file(root)
        rows = (triplet for triplet in _triplets(read_table(path)) if triplet.split == split)
        for number, triplet in enumerate(rows):
            yield number, f"{path.name} line {triplet.row.line:,}", (triplet.feedback,)
