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

from itma.data.datasets.base import AnnotatedRow, Dataset, register
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
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
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
        f"{table.path.name}, split {'by its column' if table.column('split') else by_name}",
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
    files = [root] if root.is_file() else [root / name for name in FILES if (root / name).is_file()]
    if len(files) > 1:
        raise DataError(
            f"{str(root)!r} holds both {' and '.join(FILES)}; give one of the two files instead of the folder"
        )
    if files:
        return files[0]
    if root.is_dir():
        near = [*root.glob("*/triplets.*"), *root.resolve().parent.glob("triplets.*")]
        if right := sorted(path.parent for path in near if path.name in FILES):
            raise DataError(f"{str(root)!r} holds neither {' nor '.join(FILES)}; did you mean {str(right[0])!r}?")
    check_root(root, "one's own triplets", [" or ".join(FILES)])
    raise AssertionError("no file has such a name")


def _plain_rows(table: Table, needed: Sequence[str], optional: Sequence[str], *, more: bool = False) -> list[Row]:
    """The rows of a table by columns in small letters; the columns that are not used are named, unless `more` are.

    Raises:
        DataError: it has no such column as is needed.
    """
    plain = {column: column.strip().lower() for column in table.columns}
    if missing := [column for column in needed if column not in plain.values()]:
        raise DataError(
            f"{str(table.path)!r} has no column {' and no column '.join(map(repr, missing))}; found "
            f"{', '.join(map(repr, table.columns))}; expected {', '.join(needed)}, where wanted {', '.join(optional)}"
        )
    if not more and (unused := [column for column, name in plain.items() if name not in (*needed, *optional)]):
        log.warning("%s: these columns are not used: %s", table.path, ", ".join(unused))
    return [Row(row.line, {plain[column]: value for column, value in row.cells.items()}) for row in table.rows]


def _triplets(table: Table) -> list[_Triplet]:
    """The rows, checked; where there are no test rows, those for validation are the test rows."""
    triplets = []
    rows = [row._replace(cells=_unpack(row.cells)) for row in _plain_rows(table, NEEDED, OPTIONAL)]
    _refuse_empty(table, rows)
    for row in rows:
        if isinstance(target := row.cells.get("target"), list):
            raise table.error(
                row,
                f"target is {short(target)}; expected one image. Where several are right, give them one "
                f"label in {LABELS} (columns image, label) and name any of them here",
            )
        reference, feedback, name = (_text(table, row, column) for column in NEEDED)
        kind = _text(table, row, "kind") if row.cells.get("kind") else ""
        try:
            (feedback + kind).encode()
        except UnicodeEncodeError as error:  # JSON can write half a character, which no tokenizer takes
            half = error.object[error.start]
            raise table.error(row, f"the text holds half a character, {half!a}; write it anew") from error
        split = "test" if for_testing(reference) else "train"
        if table.column("split"):
            cell = _text(table, row, "split")
            if cell.lower() not in _SPELT:
                raise table.error(row, f"the split is {short(cell)}; expected train, val or test")
            split = _SPELT[cell.lower()]
        triplets.append(_Triplet(row, reference, feedback, name, split, kind))
    if any(triplet.split == "test" for triplet in triplets):
        return triplets
    return [triplet._replace(split="test") if triplet.split == VALIDATION else triplet for triplet in triplets]


def _refuse_empty(table: Table, rows: Sequence[Row]) -> None:
    """Refuse rows without a sentence, all at once."""
    empty = [row for row in rows if str(row.cells.get("feedback") or "").strip().lower() in ("", *_NOTHING)]
    if not empty:
        return
    others = ", ".join(f"{row.line:,}" for row in empty[1:11]) + (", …" if len(empty) > 11 else "")
    also = f"; so it is in {len(empty) - 1:,} further rows, of line {others}" if others else ""
    problem = f"feedback {_what(empty[0].cells.get('feedback'))}; expected text{also}"
    raise table.error(empty[0], f"{problem}. Write what should change, or take such rows out")


def _unpack(cells: Mapping[str, object]) -> dict[str, object]:
    """A row with a list of one target as that target, and of sentences, as FashionIQ has them, as one."""
    target, feedback = cells.get("target"), cells.get("feedback")
    if isinstance(target, list) and len(target) == 1:
        target = target[0]
    if isinstance(feedback, list) and feedback and all(isinstance(each, str) for each in feedback):
        feedback = ", ".join(filter(None, map(str.strip, feedback)))
    return {**cells, "target": target, "feedback": feedback}


def _text(table: Table, row: Row, column: str) -> str:
    value = row.cells.get(column)
    if isinstance(value, str) and value.strip() and "\0" not in value:
        return value.strip()
    raise table.error(row, f"{column} {_what(value)}; expected text")


def _what(value: object) -> str:
    empty = isinstance(value, str) and not value.strip()
    return "is missing" if value is None else "is empty" if empty else f"is {short(value)}"


def _labels(path: Path, finder: Finder) -> tuple[dict[Path, _Listed], list[str]]:
    """What `labels.csv` says, by image; and the names of its further columns."""
    if not path.is_file():
        return {}, []
    table = read_table(path)
    heading = "picture" if "picture" in table.named and "image" not in table.named else "image"
    columns = [column for column in table.columns if column.strip().lower() not in (heading, *LABEL_COLUMNS)]
    listed: dict[Path, _Listed] = {}
    plain_rows = _plain_rows(table, (heading,), LABEL_COLUMNS[1:], more=True)
    for row, whole in zip(plain_rows, table.rows, strict=True):  # columns of one's own may differ in capitals alone
        name = _text(table, row, heading)
        truths = tuple(str(whole.cells.get(column, "")).strip() for column in columns)
        split = str(row.cells.get("split") or "").lower()
        if split not in ("", *_SPELT):
            raise table.error(row, f"the split is {split!r}; expected train, val, test or nothing")
        image = _Listed(name, str(row.cells.get("label", "")), _SPELT.get(split, ""), truths)
        if listed.setdefault(finder.path(name), image)[1:] != image[1:]:
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
        training = [name for row in triplets if row.split == "train" for name in (row.reference, row.target)]
        elsewhere = set(map(finder.path, training))
        if split == "test":
            barred = elsewhere | {image for image, entry in listed.items() if entry.split == "train"}
            for name in [*(entry.name for entry in listed.values() if entry.split == "test"), *_images(path.parent)]:
                if finder.path(name) not in barred:
                    names.setdefault(finder.path(name), name)
        entries = [listed.get(image, _Listed("", "", "", ("",) * len(columns))) for image in names]
        truths = zip(*(entry.truths for entry in entries), strict=True)
        annotated = Triplets.of(
            f"own/{split}",
            FileImages(list(names.values()), list(names)),
            [(finder.path(row.reference), finder.path(row.target), row.feedback) for row in rows],
            _numbers([entry.label for entry in entries]),
            keys=names,
            kinds=[row.kind or "other" for row in rows] if any(row.kind for row in rows) else [],
            aspects={column: encode_aspect(values) for column, values in zip(columns, truths, strict=True)},
        )
        if split == "train":
            return Split(annotated)
        shared = sum(image in elsewhere for image in names)
        return Split.of(annotated, _protocol(annotated, mentioned, shared, table))

    def list_rows(self, root: Path, split: str, annotated: Split) -> Iterator[AnnotatedRow]:
        """See `Dataset`."""
        path = _file(root)
        rows = (triplet for triplet in _triplets(read_table(path)) if triplet.split == split)
        for number, triplet in enumerate(rows):
            yield number, f"{path.name} line {triplet.row.line:,}", (triplet.feedback,)
