"""What is wrong with a data set on disk, and what will be left out of it: `itma doctor NAME --root DIR`.

A *problem* is what can be mended, or keeps a row from being used: counts other than those of the published files
(a note where `itma generate` wrote the folder),
images that are missing or cannot be read, rows that are both learned from and asked. A *note* is how the data are:
odd captions, rows and images that stand there twice, images in more than one split.

What this module does not know of a data set, its class says: see `Dataset.counts` and the methods below it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import numpy as np

from itma.data import datasets
from itma.data.datasets.base import AnnotatedRow, DataConfig, Dataset
from itma.data.datasets.generated import read_splits
from itma.data.datasets.tables import short
from itma.data.sources import image_paths
from itma.data.tokenizer import MAX_WORDS
from itma.data.triplets import UNKNOWN_TARGET, Coverage, Split, cover
from itma.data.validation.diagnosis import Diagnosis, Finding, Severity, many, none_of
from itma.data.validation.inspection import Inspected, inspect
from itma.errors import DataError, UnknownNameError

SIDES = (2, 10_000)
"""Images with a side outside of this many pixels are noted."""

_NEXT = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"  # what Latin-1 and Windows-1252 make of a second or later byte
_TWICE_ENCODED = re.compile(f"[Â-ß]{_NEXT}|[à-ï]{_NEXT}{{2}}|[ð-ô]{_NEXT}{{3}}")
"""UTF-8 that was read as Latin-1 or Windows-1252, such as `Ã©` for `é`."""


@dataclass(frozen=True)
class _Examined:
    """One split, and what is known of its images."""

    name: str
    split: Split
    rows: Sequence[AnnotatedRow]
    captions: Sequence[tuple[str, str]]
    """Where each stands, and itself."""
    categories: Mapping[str, np.ndarray]
    """Category → indices of its images; empty where the data set has none."""
    names: Sequence[str]
    """Of the images."""
    paths: Sequence[Path | None]
    missing: np.ndarray
    """(images,) bool."""
    files: Mapping[int, Inspected]
    """Index of an image → its file; empty where none was opened."""


def examine(name: str, root: str | Path, *, images: bool = True, progress: bool = False) -> Diagnosis:
    """Look through a data set: its annotations, its images, and what its splits have in common.

    Args:
        name: of a data set on disk.
        root: the folder that holds it.
        images: open every image; otherwise only see which are missing, which takes seconds.
        progress: show a progress bar while images are opened.

    Raises:
        UnknownNameError: no such data set.
        DataError: none of its splits can be read; the first one's message.
    """
    dataset = datasets.dataset_named(name)
    if dataset.generated:
        raise UnknownNameError("data set on disk", name, datasets.NAMES)
    data = dataset(DataConfig(name, root=str(root)))
    splits, errors, findings = dict[str, Split](), list[DataError](), list[Finding]()
    generated = read_splits(root)
    for split in dataset.splits:
        try:
            splits[split] = data.load(split)
        except DataError as error:
            errors.append(error)
            severity: Severity = "problem" if generated is None or split in generated else "note"
            findings.append(Finding(severity, split, "annotations that cannot be read", 1, examples=(str(error),)))
    if not splits:
        raise errors[0]
    looked = _look(splits.values(), progress) if images else {}
    every = [_examine(data, split, annotated, looked) for split, annotated in splits.items()]
    differs: Severity = "problem" if generated is None else "note"
    for one in every:
        known = dataset.published.get(one.name, {})
        rows = "queries" if dataset.published else "rows"
        counts = data.counts(data.root, one.name) or {"images": len(one.names), rows: len(one.rows)}
        assert known.keys() <= counts.keys()
        findings += [_all(one.name, what, count, known.get(what), differs=differs) for what, count in counts.items()]
        findings += data.notes(data.root, one.name)
        findings += _captions(one)
        findings += _images(one)
        if one.missing.all():
            what = "folders that were looked in" if dataset.image_folders else "files that were looked for"
            sought = dataset.image_folders or [str(path) for path in one.paths if path is not None]
            findings += [none_of("problem", one.name, what, sought)] if sought else []
        findings += _coverage(one)
    findings += _leaks(every, bool(dataset.published))
    left_out = {split: f"{split}: all of it, since its annotations cannot be read." for split in dataset.splits}
    left_out |= {one.name: _say_left_out(one) for one in every}
    return Diagnosis(name, str(root), images, tuple(findings), tuple(left_out.values()))


def _look(splits: Iterable[Split], progress: bool) -> Mapping[Path, Inspected]:
    """Every image that is there, opened once however many splits it is in."""
    present: dict[Path, None] = {}
    for split in splits:
        there = zip(image_paths(split.triplets.images), split.triplets.images.missing().tolist(), strict=True)
        present |= dict.fromkeys(path for path, missing in there if path is not None and not missing)
    return inspect(list(present), progress=progress)


def _examine(data: Dataset, name: str, split: Split, looked: Mapping[Path, Inspected]) -> _Examined:
    paths, names = image_paths(split.triplets.images), split.triplets.images.names
    rows = list(data.list_rows(data.root, name, split))
    captions = list(data.captions(data.root, name).items())
    captions = captions or [(where, caption) for _, where, own in rows for caption in own]
    files = {index: looked[path] for index, path in enumerate(paths) if path is not None and path in looked}
    galleries = data.galleries(data.root, name)
    return _Examined(name, split, rows, captions, galleries, names, paths, split.triplets.images.missing(), files)


def _all(
    split: str, what: str, count: int, expected: int | None, parts: Sequence[str] = (), *, differs: Severity = "problem"
) -> Finding:
    """What is a problem (or what `differs` says) unless there are as many as expected, where that is known."""
    return Finding("ok" if expected in (count, None) else differs, split, what, count, expected, None, tuple(parts))


# Annotations


_CAPTIONS: Mapping[str, Callable[[str], bool]] = {
    "empty captions": lambda caption: not caption.strip(),
    "captions without a word": lambda caption: bool(caption.strip()) and not any(map(str.isalnum, caption)),
    f"captions that are cut after {MAX_WORDS} words": lambda caption: len(caption.split()) > MAX_WORDS,
    "captions that are not ASCII": lambda caption: not caption.isascii(),
    "captions that were probably encoded twice": lambda caption: bool(_TWICE_ENCODED.search(caption)),
    "captions in letters other than Latin ones": lambda caption: (
        not caption.isascii()
        and not _TWICE_ENCODED.search(caption)
        and any(letter.isalpha() and not unicodedata.name(letter, "").startswith("LATIN") for letter in caption)
    ),
}
"""What is noted of captions → whether one is so."""


def _captions(one: _Examined) -> Iterator[Finding]:
    for what, is_so in _CAPTIONS.items():
        some = [(where, caption) for where, caption in one.captions if is_so(caption)]
        examples = [f"{where}: {short(caption)}" if caption.strip() else where for where, caption in some]
        yield none_of("note", one.name, what, examples)
    if not one.split.triplets.draws_targets:
        yield none_of("note", one.name, "rows that repeat an earlier one", _say_repeated(one))


def _say_repeated(one: _Examined) -> list[str]:
    triplets = one.split.triplets
    first: dict[tuple[object, ...], str] = {}
    again = []
    for row, where, captions in one.rows:
        kind = triplets.kinds[row] if triplets.kinds else ""
        key = (kind, int(triplets.references[row]), int(triplets.targets[row]), *captions)
        if (earlier := first.setdefault(key, where)) is not where:
            again.append(f"{where}, as {earlier}")
    return again


# Images


def _images(one: _Examined) -> Iterator[Finding]:
    missing = [one.names[index] for index in np.flatnonzero(one.missing).tolist()]
    yield none_of("problem", one.name, "missing images", missing, sum(path is not None for path in one.paths))
    if not one.files:
        return
    files = [(one.names[index], file) for index, file in one.files.items()]
    yield none_of("problem", one.name, "files of zero bytes", [name for name, file in files if not file.length])
    unreadable = [f"{name}: {file.problem}" for name, file in files if file.length and file.problem]
    yield none_of("problem", one.name, "images that cannot be read", unreadable)
    odd = [
        f"{name}: {file.width:,}×{file.height:,}"
        for name, file in files
        if not file.problem and not SIDES[0] <= min(file.width, file.height) <= max(file.width, file.height) <= SIDES[1]
    ]
    yield none_of("note", one.name, f"images with a side under {SIDES[0]} or over {SIDES[1]:,} pixels", odd)
    first: dict[str, int] = {}
    pairs = ((index, first.setdefault(file.sum, index)) for index, file in one.files.items() if file.sum)
    # of one file several parts may be images
    twins = [f"{one.names[a]} is {one.names[b]}" for a, b in pairs if one.paths[a] != one.paths[b]]
    yield none_of("note", one.name, "images with the content of another", twins)


def _coverage(one: _Examined) -> Iterator[Finding]:
    """How many of the queries, by protocol and task, or of the rows have their images."""
    left, coverage = cover(one.split, one.missing)
    if not one.split.protocols:
        yield _all(one.name, "rows that can be used", coverage.usable, coverage.rows)
    alike: dict[tuple[tuple[str, int, int], ...], list[str]] = {}  # protocols with as many queries as one another
    for name, protocol in one.split.protocols.items():
        pairs = zip(protocol.tasks, left.protocols[name].tasks, strict=True)
        tasks = tuple((task.name, len(rest.rows), len(task.rows)) for task, rest in pairs)
        alike.setdefault(tasks, []).append(name)
    for tasks, names in alike.items():
        parts = [f"{task}: {usable:,} of {total:,}" for task, usable, total in tasks if task and usable < total]
        usable, total = sum(usable for _, usable, _ in tasks), sum(total for _, _, total in tasks)
        yield _all(one.name, f"queries of {', '.join(names)}", usable, total, parts)


# Splits beside one another


def _leaks(every: Sequence[_Examined], published: bool) -> Iterator[Finding]:
    for one in every:
        if one.categories:
            homes = np.bincount(np.concatenate(list(one.categories.values())), minlength=len(one.names))
            where = _between_categories(one, one, combinations(one.categories, 2))
            yield none_of("note", one.name, "images in more than one category", where, count=int((homes > 1).sum()))
    for one, other in combinations(every, 2):
        names, paths = f"{one.name} and {other.name}", set(one.paths) - {None}
        shared = dict.fromkeys(name for name, path in zip(other.names, other.paths, strict=True) if path in paths)
        where = _between_categories(one, other, product(one.categories, other.categories)) or list(shared)
        yield none_of("note", "", f"images in both {names}", where, count=len(shared))
        if one.files and other.files:
            contents = {file.sum: one.names[index] for index, file in one.files.items() if file.sum}
            alike = [
                f"{other.names[index]} is {contents[file.sum]}"
                for index, file in other.files.items()
                if file.sum in contents and other.paths[index] not in paths
            ]
            yield none_of("note", "", f"images of one content under two names in {names}", alike)
        known = _rows(one)
        rows = [f"{where} and {known[row]}" for row, where in _rows(other).items() if row in known]
        yield none_of("note" if published else "problem", "", f"rows in both {names}", rows)


def _between_categories(one: _Examined, other: _Examined, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """How many images each two categories have in common, most first."""
    own, others = (
        {category: {split.names[index] for index in images.tolist()} for category, images in split.categories.items()}
        for split in (one, other)
    )
    counts = Counter({(first, second): len(own[first] & others[second]) for first, second in pairs})
    return [
        f"{one.name} {first} and {other.name} {second}: {count:,}"
        for (first, second), count in counts.most_common()
        if count
    ]


def _rows(one: _Examined) -> dict[tuple[object, ...], str]:
    """Reference, captions and target of each row, and where it stands; without those whose target is not in it."""
    triplets = one.split.triplets
    if triplets.draws_targets:
        return {}
    return {
        (one.paths[triplets.references[row]], *captions, one.paths[triplets.targets[row]]): where
        for row, where, captions in one.rows
        if triplets.targets[row] != UNKNOWN_TARGET
    }


# What is to be done without


def _say_left_out(one: _Examined) -> str:
    """In a sentence or two."""
    left, coverage = cover(one.split, one.missing)
    texts = [f"{one.name}: {_say_lost(one, left, coverage) if coverage.missing else 'nothing'}."]
    if one.name == "train" and coverage.share < DataConfig.coverage:
        hint = f": --set data.coverage={int(100 * coverage.share) / 100:g}" if coverage.usable else ""
        texts.append(
            f"{coverage.share:.1%} are left, and training wants {DataConfig.coverage:.0%} unless told otherwise{hint}."
        )
    stops = np.isin(np.arange(len(one.names)), [index for index, file in one.files.items() if file.problem])
    if stops.any():
        without = cover(one.split, one.missing | stops)[1]
        lost = coverage.usable - without.usable
        low = one.name == "train" and without.usable and without.share < DataConfig.coverage
        setting = f" (then with --set data.coverage={int(100 * without.share) / 100:g})" if low else ""
        texts.append(
            f"Training and evaluation stop at each of the {many(int(stops.sum()), 'image')} that cannot be read (all "
            "of them: --json FILE): get them again, or let them count as missing (--skip-unreadable), which leaves "
            f"out {many(lost, 'row')} more{setting}."
        )
    unasked = len(one.names) - len(np.unique(one.split.triplets.references))
    if one.split.triplets.draws_targets and unasked:
        texts.append(
            f"{many(unasked, 'image')} of {len(one.names):,} can only be targets: nothing can be asked of them."
        )
    if not one.split.protocols and one.name != "train":
        texts.append("Its targets were never published, so that it cannot be evaluated here.")
    return " ".join(texts)


def _say_lost(one: _Examined, left: Split, coverage: Coverage) -> str:
    if not one.split.protocols:
        return f"{coverage.rows - coverage.usable:,} of {coverage.rows:,} rows, for want of an image"
    whole, rest = one.split.protocol(), left.protocol()
    queries, usable = (sum(len(task.rows) for task in protocol.tasks) for protocol in (whole, rest))
    gallery, ranked = (len(set().union(*(task.gallery.tolist() for task in p.tasks))) for p in (whole, rest))
    return (
        f"of {whole.name}, {queries - usable:,} of {queries:,} queries and {gallery - ranked:,} of {gallery:,} images "
        "of the gallery, for want of an image"
    )
