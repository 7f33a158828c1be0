"""FashionIQ (Wu et al. 2021, arXiv:1905.12794): dresses, shirts and tops, two captions to each pair of images.

Expected under the root, as published: `captions/cap.<category>.<split>.json`,
`image_splits/split.<category>.<split>.json`, and images as `images/<ASIN>.jpg` (or .png), `img/<category>/<ASIN>`,
`image_data/<category>/<ASIN>.jpg` (as the published download script leaves them) or
`resized_images/<category>/<ASIN>.jpg`; each of these folders may be flat or by category, and lie in the root or in a
folder of it. The first that holds an image gives it.
"""

import json
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np

from itma.data.datasets.base import AnnotatedRow, Dataset, Submission, register
from itma.data.datasets.reading import check_root, read_json_rows, read_rows, row_error, scan, short, without_ending
from itma.data.images import FileImages
from itma.data.triplets import UNKNOWN_TARGET, Protocol, Rows, Split, Task, Track, Triplets
from itma.errors import DataError, UnknownNameError
from itma.io import write_text

log = logging.getLogger(__name__)

CATEGORIES = ("dress", "shirt", "toptee")
SPLITS = ("train", "val", "test")
MARKER = "inadditiontothat"
"""Stands between the two captions of a feedback."""
SUBMITTED = 50
"""Images to each query of a submission."""

_COUNTED = (
    *(f"{category} {what}" for what in ("queries", "split entries") for category in CATEGORIES),
    "distinct images",
)
PUBLISHED = {
    "train": dict(zip(_COUNTED, (5_985, 5_988, 6_027, 11_452, 19_036, 16_121, 45_429), strict=True)),
    "val": dict(zip(_COUNTED, (2_017, 2_038, 1_961, 3_817, 6_346, 5_373, 15_415), strict=True)),
    "test": dict(zip(_COUNTED, (2_024, 2_038, 2_056, 3_818, 6_346, 5_374, 15_417), strict=True)),
}
"""Split → what is counted → how many the published files hold."""

_HOMES = ("images", "image_data", "img", "resized_images")
IMAGE_FOLDERS = tuple(f"{home}{inner}" for home in _HOMES for inner in ("", "/<category>"))
"""Where images are looked for, in the root and in each folder of it."""
_ENDINGS = (".jpg", ".jpeg", ".png", "")
_WAY_OUT = "get the published annotations again from https://github.com/XiaoxiaoGuo/fashion-iq"


class Prediction(TypedDict):
    """One query of a submission."""

    candidate: str
    captions: list[str]
    ranking: list[str]
    """ASINs, best first."""


class _Query(NamedTuple):
    """One row of a captions file; images by number."""

    category: str
    reference: int
    target: int
    captions: tuple[str, str]


def join_captions(first: str, second: str) -> str:
    """Two captions as one feedback.

    >>> join_captions("is red", "has long sleeves")
    'is red inadditiontothat has long sleeves'
    """
    return f"{first} {MARKER} {second}"


def split_captions(feedback: str) -> tuple[str, str]:
    """The two captions of a feedback: `join_captions` undone.

    Raises:
        DataError: the feedback is not of two captions.
    """
    first, marker, second = feedback.partition(f" {MARKER} ")
    if not marker:
        raise DataError(f"the feedback {feedback!r} is not of two captions with {MARKER!r} between them")
    return first, second


def draw_order(triplets: Triplets, rows: np.ndarray, random: np.random.Generator) -> Rows:
    """Training samples by the published rule: the two captions of each row in either order, evenly at random."""
    feedback = [triplets.feedback[row] for row in rows.tolist()]
    swap = random.random(len(rows)) < 0.5
    swapped = [
        join_captions(*split_captions(text)[::-1]) if other else text
        for text, other in zip(feedback, swap.tolist(), strict=True)
    ]
    return Rows(triplets.references[rows], triplets.targets[rows], swapped)


def submission(
    triplets: Triplets, galleries: Mapping[str, np.ndarray], ranked: Sequence[np.ndarray]
) -> dict[str, list[Prediction]]:
    """Rankings in the form that the FashionIQ challenge takes; `write_submission` makes the files.

    Args:
        triplets: the test split, or the joined rows of val.
        galleries: category → (ranked,) indices of the images that are ranked; see `FashionIq.galleries`.
        ranked: (rows) for each row, indices of images of its category's gallery, best first, its reference left out;
            the first 50 are taken.

    Returns:
        Category → its queries, in the order of its captions file.

    Raises:
        DataError: a ranking holds the reference, an image twice or one from outside the gallery, or fewer than 50
            images where the gallery has more.
    """
    if len(ranked) != len(triplets) or len(triplets.kinds) != len(triplets):
        raise DataError(
            f"{triplets.name} has {len(triplets):,} rows of {len(set(triplets.kinds))} categories, but there are "
            f"{len(ranked):,} rankings; one for each row is needed"
        )
    names = triplets.images.names
    within = {category: set(indices.tolist()) for category, indices in galleries.items()}
    files: dict[str, list[Prediction]] = {category: [] for category in galleries}
    for row, (category, reference, order) in enumerate(
        zip(triplets.kinds, triplets.references.tolist(), ranked, strict=True)
    ):
        if category not in within:
            raise UnknownNameError("category of a gallery", category, within)
        images = np.asarray(order).tolist()
        possible = min(SUBMITTED, len(within[category] - {reference}))
        if reference in images:
            problem = f"its ranking holds its own reference {names[reference]!r}; leave it out"
        elif not within[category].issuperset(images) or len(set(images)) < len(images):
            problem = f"its ranking holds an image twice, or one that is not among the {category} images"
        elif len(images) < possible:
            problem = f"its ranking holds {len(images)} images; {possible} are needed"
        else:
            ranking = [names[index] for index in images[:SUBMITTED]]
            captions = list(split_captions(triplets.feedback[row]))
            files[category].append({"candidate": names[reference], "captions": captions, "ranking": ranking})
            continue
        raise DataError(f"{triplets.name}, row {row + 1:,}: {problem}")
    return files


def write_submission(folder: str | Path, files: Mapping[str, Sequence[Prediction]]) -> list[Path]:
    """Write `<category>.predict.json` for each category; the challenge takes the three in one zip file.

    Raises:
        StorageError: the disk is full or the folder cannot be written to.
    """
    paths = {Path(folder) / f"{category}.predict.json": queries for category, queries in files.items()}
    for path, queries in paths.items():
        write_text(path, json.dumps(list(queries), indent=1) + "\n")
    return list(paths)


def _entries(root: Path, split: str, categories: Collection[str] = CATEGORIES) -> dict[str, list[str]]:
    """The distinct ASINs of each category's split file."""
    check_root(root, "FashionIQ", ("captions", "image_splits"))
    return {category: _split_file(root, category, split) for category in CATEGORIES if category in categories}


def _split_path(root: Path, category: str, split: str) -> Path:
    return root / "image_splits" / f"split.{category}.{split}.json"


def _split_file(root: Path, category: str, split: str) -> list[str]:
    path = _split_path(root, category, split)
    entries: dict[str, None] = {}  # unlike a set, keeps the order
    for number, asin in enumerate(read_json_rows(path, _WAY_OUT)):
        if not isinstance(asin, str) or not asin or {"/", "\\", "\0"} & set(asin):
            raise row_error(path, number, f"{short(asin)} is no image's ASIN, such as 'B005X4PL1G'; {_WAY_OUT}")
        entries[without_ending(asin)] = None
    return list(entries)


def _names(entries: Mapping[str, Sequence[str]]) -> list[str]:
    return sorted(set().union(*entries.values()))


def _queries_of(root: Path, split: str, entries: Mapping[str, Sequence[str]]) -> dict[str, list[_Query]]:
    """The rows of each category's captions file."""
    images = ("candidate",) if split == "test" else ("candidate", "target")
    number = {name: index for index, name in enumerate(_names(entries))}
    queries: dict[str, list[_Query]] = {}
    for category, own in entries.items():
        path, source = root / "captions" / f"cap.{category}.{split}.json", _split_path(root, category, split)
        known = set(own)
        queries[category] = []
        for row in read_rows(path, _WAY_OUT):
            asins = [row.text(key) for key in images]
            for key, asin in zip(images, asins, strict=True):
                if without_ending(asin) not in known:
                    raise row.error(
                        f"the {key} {short(asin)} is not among the {len(known):,} ASINs of {str(source)!r}; use "
                        "captions and split files of one release"
                    )
            reference, target = ([number[without_ending(asin)] for asin in asins] + [UNKNOWN_TARGET])[:2]
            if reference == target:
                raise row.error(f"candidate and target are the same image, {asins[0]!r}; expected two")
            captions = row.value("captions")
            if not isinstance(captions, list) or [type(text) for text in captions] != [str, str]:
                raise row.error(f"captions are {short(captions)}; expected a list of two texts, which may be empty")
            if any(MARKER in text for text in captions):
                raise row.error(f"a caption holds {MARKER!r}, the word that is put between captions")
            queries[category].append(_Query(category, reference, target, (captions[0], captions[1])))
    return queries


def image_files(root: Path, names: Sequence[str]) -> list[Path]:
    """Where each image is; where it was not found, where it is expected."""
    sought, paths = set(names), dict[str, Path]()
    known = {"captions", "image_splits", *_HOMES}  # archives may unpack into a folder of their own
    others = [root / name for name in sorted(scan(root)) if name not in known and (root / name).is_dir()]
    homes = (outer / home for outer in (root, *others) for home in _HOMES)
    for folder in (home / inner for home in homes for inner in ("", *CATEGORIES)):
        best: dict[str, tuple[int, str]] = {}  # of several endings the first of _ENDINGS
        for name in scan(folder):
            stem, dot, ending = (name, "", "") if name in sought else name.rpartition(".")
            ending = (dot + ending).lower()
            if stem in sought and ending in _ENDINGS:
                key = (_ENDINGS.index(ending), name)
                best[stem] = min(best.get(stem, key), key)
        for stem, (_, name) in best.items():
            paths.setdefault(stem, folder / name)
    return [paths.get(name) or root / "images" / f"{name}.jpg" for name in names]


def _has_words(caption: str) -> bool:
    return any(letter.isalnum() for letter in caption)


def _galleries(entries: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    names = np.array(_names(entries))
    return {category: np.searchsorted(names, sorted(own)) for category, own in entries.items()}


def _leaking(root: Path, names: Sequence[str]) -> np.ndarray | None:
    """(images,) whether each stands in the train or val split file of more than one category; None: not known."""
    homes = Counter[str]()
    for category in CATEGORIES:
        for path in (_split_path(root, category, split) for split in ("val", "train")):
            if not path.exists():
                log.warning(
                    "%r does not exist, so that it is not known which images leak: there are no leak-free protocols",
                    str(path),
                )
                return None
        homes.update({*_split_file(root, category, "val"), *_split_file(root, category, "train")})
    return np.array([homes[name] > 1 for name in names], dtype=bool)


def _protocols(
    queries: Sequence[_Query], triplets: Triplets, original: Mapping[str, np.ndarray], leaking: np.ndarray | None
) -> list[Protocol]:
    """Every gallery with every way to ask; without and with what leaks."""
    kinds = np.array(triplets.kinds, dtype=object)
    ways = {
        "": ("the two captions joined in the file's order", np.arange(len(queries))),
        "both-orders": ("the two captions joined in either order, as two queries", np.arange(2 * len(queries))),
        "each": (f"each caption is a query by itself{_wordless(queries)}", np.arange(2 * len(queries), len(triplets))),
    }
    spoken = {}
    for category in original:
        own = np.flatnonzero(kinds[: len(queries)] == category)
        spoken[category] = np.unique(np.concatenate([triplets.references[own], triplets.targets[own]]))
    count = "three" if len(original) == len(CATEGORIES) else str(len(original))
    ranked = {
        "original": ("gallery = all images of the category's val split file", original),
        "val-union": ("gallery = candidates and targets of the category's val captions", spoken),
        "all-categories": (
            f"gallery = the images of all {count} val split files, each once",
            dict.fromkeys(original, np.arange(len(triplets.labels))),
        ),
    }
    repeated = len(queries) - len(set(queries))
    again = f"; {repeated} rows that stand in the files more than once count each time" if repeated else ""
    only = f"; of {' and '.join(original)} alone" if len(original) < len(CATEGORIES) else ""
    protocols: list[Protocol] = []
    for gallery, (what, images) in ranked.items():
        for way, (how, rows) in ways.items():
            name = "/".join(part for part in ("fashioniq", gallery, way) if part)
            about = f"{what}; {how}; the reference is removed; only the target counts{again}{only}"
            tasks = tuple(Task(category, rows[kinds[rows] == category], images[category]) for category in original)
            protocols.append(Protocol(name, about, tasks))
            if leaking is not None:
                protocols.append(_leak_free(protocols[-1], triplets, leaking))
    return protocols


def _wordless(queries: Sequence[_Query]) -> str:
    """What `each` leaves out, in words."""
    count = Counter(query.category for query in queries for caption in query.captions if not _has_words(caption))
    listed = ", ".join(f"{category} {count[category]}" for category in CATEGORIES if count[category])
    return f" ({count.total()} without a word are left out: {listed})" if count else ""


def _leak_free(protocol: Protocol, triplets: Triplets, leaking: np.ndarray) -> Protocol:
    """The protocol without the images that leak and without the queries that need one of them."""
    tasks, left_out = [], []
    for task in protocol.tasks:
        needs = leaking[triplets.references[task.rows]] | leaking[triplets.targets[task.rows]]
        tasks.append(Task(task.name, task.rows[~needs], task.gallery[~leaking[task.gallery]]))
        left_out.append(f"{task.name} {int(needs.sum()):,} of {len(needs):,}")
    about = (
        f"{protocol.about}; leak-free: images that also stand in the train or val split file of another category are "
        f"left out of the gallery, and queries with one as reference or target are not asked ({', '.join(left_out)})"
    )
    return Protocol(f"{protocol.name}/leak-free", about, tuple(tasks))


@register("fashioniq")
class FashionIq(Dataset):
    """Dresses, shirts and tops with people's sentences (Wu et al. 2021)."""

    title = "FashionIQ"
    splits = SPLITS
    preset = "itma-fashioniq"
    example = "is darker and has longer sleeves"
    measured = "val"
    categories = CATEGORIES
    submitted = "test"
    image_folders = IMAGE_FOLDERS
    published = PUBLISHED

    def read(self, root: Path, split: str) -> Split:
        """Read one split: its categories (all three, or those of the settings) in the order dress, shirt, toptee.

        Within a category the rows stand in the order of its file. The files of other categories need not be there.

        The images are the distinct ASINs of the three split files, sorted; the kind of a row is its category.

        - train: a row's two captions are joined by `inadditiontothat`, and swapped at random when samples are drawn, as
          TIRG, MAAF and ITMA do. Empty captions are kept.
        - val: first the rows joined in the file's order, then all of them in reversed order, then each caption that
          holds a word by itself. The protocols are `fashioniq/original`, `fashioniq/val-union` and
          `fashioniq/all-categories`, each also with `/both-orders` or `/each`, and each of these also with
          `/leak-free`. Whether an image leaks is told by the split files of train; where these are absent, there are no
          leak-free protocols.
        - test: rows joined in the file's order; targets were never published, so there is no protocol. See `galleries`
          and `submission`.

        Args:
            root: the folder that holds `captions` and `image_splits`.
            split: train, val or test.

        Raises:
            DataError: the root is another folder, or a file is missing or damaged; the message names file and row.
        """
        entries = _entries(root, split, self.config.categories or CATEGORIES)
        names = _names(entries)
        queries = [query for own in _queries_of(root, split, entries).values() for query in own]
        samples = [(query, join_captions(*query.captions)) for query in queries]
        if split == "val":
            samples += [(query, join_captions(*query.captions[::-1])) for query in queries]
            samples += [(query, caption) for query in queries for caption in query.captions if _has_words(caption)]
        triplets = Triplets.of(
            f"fashioniq/{split}",
            FileImages(names, image_files(root, names)),
            [(query.reference, query.target, feedback) for query, feedback in samples],
            kinds=[query.category for query, _ in samples],
            draw=draw_order if split == "train" else None,
        )
        if split != "val":
            return Split(triplets)
        return Split.of(triplets, *_protocols(queries, triplets, _galleries(entries), _leaking(root, names)))

    def galleries(self, root: Path, split: str) -> dict[str, np.ndarray]:
        """See `Dataset`: the images of each category's split file."""
        return _galleries(_entries(root, split))

    def list_rows(self, root: Path, split: str, annotated: Split) -> Iterator[AnnotatedRow]:
        """See `Dataset`."""
        triplets, counts = annotated.triplets, Counter[str]()
        for row, _, (feedback,) in super().list_rows(root, split, annotated):
            category = triplets.kinds[row]
            counts[category] += 1
            yield row, f"cap.{category}.{split}.json row {counts[category]:,}", split_captions(feedback)

    def counts(self, root: Path, split: str) -> dict[str, int]:
        """See `Dataset`."""
        entries = _entries(root, split)
        queries = _queries_of(root, split, entries)
        numbers = (*map(len, queries.values()), *map(len, entries.values()), len(_names(entries)))
        return dict(zip(_COUNTED, numbers, strict=True))

    def submission(self, root: Path, split: str, triplets: Triplets) -> Submission:
        """A file for each category, as the challenge takes them: 50 images for each query."""
        present = np.ones(len(triplets.labels), dtype=bool) if triplets.present is None else triplets.present
        ranked = {category: some[present[some]] for category, some in self.galleries(root, split).items()}
        kinds = np.array(triplets.kinds)
        tasks = tuple(Task(category, np.flatnonzero(kinds == category), some) for category, some in ranked.items())
        return Submission(
            (Track(tasks, SUBMITTED),),
            lambda folder, answers: write_submission(folder, submission(triplets, ranked, answers[0])),
        )
