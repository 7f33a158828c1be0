"""MultiturnFashionRetrieval (Yuan & Lam 2021, arXiv:2106.04128): sessions of several turns over FashionIQ's images.

Expected under the root, or under `data` in it, as published: `<category>.train.json` and `<category>.val.json`, of as
many of the three categories as there are; images where FashionIQ's are looked for.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from itma.data.datasets.base import Dataset, register
from itma.data.datasets.fashioniq import CATEGORIES, IMAGE_FOLDERS, KS, MARKER, image_files
from itma.data.datasets.reading import JsonRow, check_root, read_rows, short, without_ending
from itma.data.images import FileImages
from itma.data.tokenizer import EARLIER
from itma.data.triplets import Protocol, Split, Task, Triplets
from itma.data.validation.diagnosis import Finding
from itma.errors import UnknownNameError

log = logging.getLogger(__name__)

SPLITS = ("train", "val")

PUBLISHED: Mapping[str, Mapping[str, int]] = {"train": {"dress sessions": 3_338}, "val": {"dress sessions": 1_000}}
"""Split → what is counted → how many the published files hold."""

_WAY_OUT = "get the published sessions again from https://github.com/yfyuan01/MultiturnFashionRetrieval"


class _Turn(NamedTuple):
    """One turn of a session, with what was said before."""

    category: str
    session: int
    """Counted from 0 in its file."""
    turn: int
    """From 1."""
    last: bool
    reference: str
    target: str
    captions: list[str]
    """Of this turn alone."""
    feedback: str
    """All that was said up to now."""


def load(root: Path, split: str, categories: Sequence[str] = ()) -> Split:
    """Read one split: each turn of each session is a row, whose target is that of the session.

    A row's reference is the image that its turn speaks of. Its feedback is what was said in all turns so far, joined by
    `then` as a search with earlier sentences joins it; the captions of one turn are joined by `inadditiontothat`, as
    FashionIQ's. The kind of a row is its category, and rows are also divided by turn.

    - train: the rows.
    - val: the protocols `multiturn` (the last turn of each session) and `multiturn/every-turn`. The gallery of each
      category holds the images that its sessions speak of: the lists that the published code ranks were not published.

    Args:
        root: the folder that holds the sessions' files.
        split: train or val.
        categories: those to read. Empty: those whose files are there.

    Raises:
        UnknownNameError: another split.
        DataError: the root is another folder, or a file is missing or damaged; the message names file, row and turn.
    """
    turns = _turns(root, split, categories)
    absent = [
        f"{name}.{split}.json" for name in categories or CATEGORIES if name not in {turn.category for turn in turns}
    ]
    if absent:
        log.warning("%r lacks %s; the other categories are read", str(root), " and ".join(absent))
    names = sorted({name for turn in turns for name in (turn.reference, turn.target)})
    number = {name: index for index, name in enumerate(names)}
    triplets = Triplets(
        f"multiturn/{split}",
        FileImages(names, image_files(root, names)),
        np.arange(len(names)),
        np.array([number[turn.reference] for turn in turns], dtype=np.int64),
        np.array([number[turn.target] for turn in turns], dtype=np.int64),
        [turn.feedback for turn in turns],
        [turn.category for turn in turns],
        groups={"turn": [str(turn.turn) for turn in turns]},
    )
    if split == "train":
        return Split(triplets, {})
    kinds, last = np.array(triplets.kinds, dtype=object), np.array([turn.last for turn in turns])
    read = list(dict.fromkeys(triplets.kinds))
    own = {category: np.flatnonzero(kinds == category) for category in read}
    gallery = {
        category: np.unique(np.concatenate([triplets.references[rows], triplets.targets[rows]]))
        for category, rows in own.items()
    }
    protocols = {}
    for name, what, chosen in (
        ("multiturn", "the last turn of each session is asked", last),
        ("multiturn/every-turn", "every turn is asked", np.ones(len(turns), dtype=bool)),
    ):
        only = f"; of {' and '.join(read)} alone" if len(read) < len(CATEGORIES) else ""
        about = (
            f"gallery = the images that the category's val sessions speak of; {what}, with all that was said before; "
            f"the reference is not removed; only the target counts{only}"
        )
        tasks = tuple(Task(category, rows[chosen[rows]], gallery[category]) for category, rows in own.items())
        protocols[name] = Protocol(name, about, tasks, KS, without_reference=False)
    return Split(triplets, protocols)


def counts(root: Path, split: str) -> dict[str, int]:
    """What there is of what `PUBLISHED` counts.

    Raises:
        UnknownNameError, DataError: see `load`.
    """
    turns = _turns(root, split, ())
    sessions = Counter(turn.category for turn in turns if turn.last)
    return {**{f"{category} sessions": sessions[category] for category in CATEGORIES}, "turns": len(turns)}


def written(root: Path, split: str, found: Split) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Each turn: its number in the table of `load`, where it stands, and all that was said up to it."""
    for row, turn in enumerate(_turns(root, split, ())):
        yield row, _where(turn, split), (found.triplets.feedback[row],)


def notes(root: Path, split: str) -> list[Finding]:
    """Turns that have other than two captions, and sessions of one turn, which say nothing of what was said before."""
    turns = _turns(root, split, ())
    odd = [f"{_where(turn, split)}: {short(turn.captions)}" for turn in turns if len(turn.captions) != 2]
    single = [_where(turn, split) for turn in turns if turn.turn == 1 and turn.last]
    return [
        Finding("note" if found else "ok", split, what, len(found), examples=tuple(found))
        for what, found in (("turns with other than two captions", odd), ("sessions of one turn", single))
    ]


def _where(turn: _Turn, split: str) -> str:
    return f"{turn.category}.{split}.json row {turn.session + 1:,}, turn {turn.turn}"


def _turns(root: Path, split: str, categories: Sequence[str]) -> list[_Turn]:
    """The turns of the categories' files, session by session."""
    if split not in SPLITS:
        raise UnknownNameError("split of MultiturnFashionRetrieval", split, SPLITS)
    home = root / "data" if (root / "data").is_dir() else root
    paths = {category: home / f"{category}.{split}.json" for category in CATEGORIES}
    chosen = [category for category in CATEGORIES if category in categories or not categories]
    if not categories:
        chosen = [category for category in chosen if paths[category].exists()]
        if not chosen:
            check_root(home, "MultiturnFashionRetrieval", (paths[CATEGORIES[0]].name,))
    return [turn for category in chosen for turn in _sessions(paths[category], category)]


def _sessions(path: Path, category: str) -> Iterator[_Turn]:
    for session, row in enumerate(read_rows(path, _WAY_OUT)):
        target = row.items("target")
        if len(target) != 2 or not _is_name(target[1]):
            raise row.error(f"'target' is {short(target)}; expected a link and an ASIN")
        asin, turns = without_ending(str(target[1])), row.items("reference")
        if not turns:
            raise row.error("'reference' is empty; expected at least one turn")
        said: list[str] = []
        for number, turn in enumerate(turns, start=1):
            reference, captions = _turn(row, number, turn)
            if reference == asin:
                raise row.error(f"turn {number}: its image is the target itself, {reference!r}; expected two")
            said.append(f" {MARKER} ".join(caption.strip() for caption in captions if caption.strip()))
            last = number == len(turns)
            yield _Turn(category, session, number, last, reference, asin, captions, EARLIER.join(said))


def _turn(row: JsonRow, number: int, turn: object) -> tuple[str, list[str]]:
    """The image and the captions of one turn."""
    if not isinstance(turn, list) or len(turn) != 3 or not _is_name(turn[2]):
        raise row.error(f"turn {number} is {short(turn)}; expected a link, a list of captions and an ASIN")
    captions = turn[1]
    if not isinstance(captions, list) or not captions or not all(isinstance(one, str) for one in captions):
        raise row.error(f"turn {number}: captions are {short(captions)}; expected a list of texts, two as a rule")
    if any(MARKER in caption for caption in captions):
        raise row.error(f"turn {number}: a caption holds {MARKER!r}, the word that is put between captions")
    return without_ending(str(turn[2])), captions


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != "" and not {"/", "\\", "\0"} & set(value)


@register("multiturn")
class Multiturn(Dataset):
    """Sessions of several turns over FashionIQ's images (Yuan & Lam 2021)."""

    splits = SPLITS
    measured = "val"
    preset = "itma-fashioniq"
    categories = CATEGORIES
    image_folders = IMAGE_FOLDERS

    def read(self, root: Path, split: str) -> Split:
        """See `load`."""
        return load(root, split, self.config.categories)
