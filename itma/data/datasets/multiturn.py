"""MultiturnFashionRetrieval (Yuan & Lam 2021, arXiv:2106.04128): sessions of several turns over FashionIQ's images.

Expected under the root, or under `data` in it, as published: `<category>.train.json` and `<category>.val.json`, of as
many of the three categories as there are; images where FashionIQ's are looked for.
"""

import logging
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from itma.data.conversations import Conversation, Turn
from itma.data.datasets.base import AnnotatedRow, Dataset, register
from itma.data.datasets.fashioniq import CATEGORIES, IMAGE_FOLDERS, MARKER, image_files
from itma.data.datasets.reading import JsonRow, check_root, is_name, read_rows, short, without_ending
from itma.data.images import FileImages
from itma.data.triplets import Protocol, Split, Task, Triplets
from itma.data.validation.diagnosis import Finding, none_of
from itma.errors import DataError

log = logging.getLogger(__name__)

_WAY_OUT = "get the published sessions again from https://github.com/yfyuan01/MultiturnFashionRetrieval"


class _Session(NamedTuple):
    """One row of a file."""

    category: str
    number: int
    """From 1, in its file."""
    captions: list[list[str]]
    """Of each turn."""
    talk: Conversation[str]


def _some(tasks: Sequence[Task], chosen: np.ndarray) -> list[Task]:
    """Tasks with some of their rows, (rows,) bool; without those that then have none."""
    parts = [replace(task, rows=task.rows[chosen[task.rows]]) for task in tasks]
    return [task for task in parts if len(task.rows)]


def _scripts(session: _Session) -> set[str]:
    """The scripts of a session's letters, by the first words of their names, e.g. Latin and Cjk."""
    letters = {letter for captions in session.captions for text in captions for letter in text if letter.isalpha()}
    return {unicodedata.name(letter, "unknown").partition(" ")[0].capitalize() for letter in letters}


def _where(session: _Session, split: str) -> str:
    return f"{session.category}.{split}.json row {session.number:,}"


def _sessions(root: Path, split: str, categories: Sequence[str] = ()) -> list[_Session]:
    """The sessions of the categories' files."""
    home = root / "data" if (root / "data").is_dir() else root
    paths = {category: home / f"{category}.{split}.json" for category in CATEGORIES}
    chosen = [name for name, path in paths.items() if (name in categories if categories else path.exists())]
    if not chosen:
        check_root(home, "MultiturnFashionRetrieval", (paths[CATEGORIES[0]].name,))
    return [_session(row, category) for category in chosen for row in read_rows(paths[category], _WAY_OUT)]


def _session(row: JsonRow, category: str) -> _Session:
    target = row.items("target")
    if len(target) != 2 or not is_name(target[1]):
        raise row.error(f"'target' is {short(target)}; expected a link and an ASIN")
    images, captions = [], []
    for number, turn in enumerate(row.items("reference"), start=1):
        image, texts = _turn(row, number, turn)
        images.append(image)
        captions.append(texts)
    feedback = (f" {MARKER} ".join(filter(None, map(str.strip, texts))) for texts in captions)
    try:
        talk = Conversation(tuple(map(Turn, images, feedback)), without_ending(str(target[1])))
    except DataError as error:
        raise row.error(str(error)) from error
    return _Session(category, row.index + 1, captions, talk)


def _turn(row: JsonRow, number: int, turn: object) -> tuple[str, list[str]]:
    """The image and the captions of one turn."""
    if not isinstance(turn, list) or len(turn) != 3 or not is_name(turn[2]):
        raise row.error(f"turn {number} is {short(turn)}; expected a link, a list of captions and an ASIN")
    captions = turn[1]
    if not isinstance(captions, list) or not captions or not all(isinstance(one, str) for one in captions):
        raise row.error(f"turn {number}: captions are {short(captions)}; expected a list of texts, two as a rule")
    if any(MARKER in caption for caption in captions):
        raise row.error(f"turn {number}: a caption holds {MARKER!r}, the word that is put between captions")
    return without_ending(str(turn[2])), captions


@register("multiturn")
class Multiturn(Dataset):
    """Sessions of several turns over FashionIQ's images (Yuan & Lam 2021)."""

    title = "MultiturnFashionRetrieval"
    splits = ("train", "val")
    measured = "val"
    preset = "itma-fashioniq"
    categories = CATEGORIES
    image_folders = IMAGE_FOLDERS
    published: ClassVar = {"train": {"dress sessions": 3_338}, "val": {"dress sessions": 1_000}}

    def read(self, root: Path, split: str) -> Split:
        """Read one split: each turn of each session is a row, whose target is that of the session.

        A row's reference is the image that its turn speaks of. Its feedback is what was said in all turns so far,
        joined by `then` as a search with earlier sentences joins it; the captions of one turn are joined by
        `inadditiontothat`, as FashionIQ's. The kind of a row is its category, and rows are also divided by turn.

        - train: the rows.
        - val: the protocols `multiturn` (the last turn of each session), `multiturn/every-turn`, and
          `multiturn/by-turn`, where each turn of each category is a task of its own: success and rank at turn 1, 2 and
          so on. The gallery of each category holds the images that its sessions speak of: the published code's lists
          were not published.

        The categories of the settings are read; where they name none, those whose files are there.

        Args:
            root: the folder that holds the sessions' files.
            split: train or val.

        Raises:
            DataError: the root is another folder, or a file is missing or damaged; the message names file, row, turn.
        """
        categories = self.config.categories
        sessions = _sessions(root, split, categories)
        read = list(dict.fromkeys(session.category for session in sessions))
        if missing := [f"{name}.{split}.json" for name in categories or CATEGORIES if name not in read]:
            log.warning("%r lacks %s; the other categories are read", str(root), " and ".join(missing))
        rows = [row for session in sessions for row in session.talk.rows()]
        names = sorted({name for reference, _, target in rows for name in (reference, target)})
        turn = np.array([turn for session in sessions for turn in range(1, len(session.captions) + 1)])
        last = np.append(turn[1:] == 1, True)
        kinds = np.array([session.category for session in sessions for _ in session.captions], dtype=object)
        triplets = Triplets.of(
            f"multiturn/{split}",
            FileImages(names, image_files(root, names)),
            [(reference, target, feedback) for reference, feedback, target in rows],
            keys=names,
            kinds=kinds.tolist(),
            groups={"turn": list(map(str, turn.tolist()))},
        )
        if split == "train":
            return Split(triplets)
        whole = []
        for category in read:
            own = np.flatnonzero(kinds == category)
            images = np.unique(np.concatenate([triplets.references[own], triplets.targets[own]]))
            whole.append(Task(category, own, images))
        by_turn = [
            replace(task, name=f"{task.name}, turn {one}")
            for one in range(1, turn.max() + 1)
            for task in _some(whole, turn == one)
        ]
        ways = {
            "multiturn": ("the last turn of each session is asked", _some(whole, last)),
            "multiturn/every-turn": ("every turn is asked", whole),
            "multiturn/by-turn": ("every turn is asked, by itself; success at a turn is its recall@1", by_turn),
        }
        only = f"; of {' and '.join(read)} alone" if len(read) < len(CATEGORIES) else ""
        gallery = "the images that the category's val sessions speak of"
        rest = f"with all that was said before; the reference is not removed; only the target counts{only}"
        protocols = (
            Protocol(name, f"gallery = {gallery}; {what}, {rest}", tuple(tasks), without_reference=False)
            for name, (what, tasks) in ways.items()
        )
        return Split.of(triplets, *protocols)

    def counts(self, root: Path, split: str) -> dict[str, int]:
        """See `Dataset`."""
        sessions = _sessions(root, split)
        sessions_of = Counter(session.category for session in sessions)
        turns = sum(len(session.captions) for session in sessions)
        return {**{f"{category} sessions": sessions_of[category] for category in CATEGORIES}, "turns": turns}

    def list_rows(self, root: Path, split: str, annotated: Split) -> Iterator[AnnotatedRow]:
        """See `Dataset`: each turn, with all that was said up to it."""
        sessions = _sessions(root, split)
        turns = [(session, turn) for session in sessions for turn in range(1, len(session.captions) + 1)]
        for row, ((session, turn), feedback) in enumerate(zip(turns, annotated.triplets.feedback, strict=True)):
            yield row, f"{_where(session, split)}, turn {turn}", (feedback,)

    def notes(self, root: Path, split: str) -> list[Finding]:
        """See `Dataset`: turns of other than two captions, sessions of one turn, and those in another script."""
        sessions = _sessions(root, split)
        odd = [
            f"{_where(session, split)}, turn {turn}: {short(captions)}"
            for session in sessions
            for turn, captions in enumerate(session.captions, start=1)
            if len(captions) != 2
        ]
        single = [_where(session, split) for session in sessions if len(session.captions) == 1]
        scripts = [_scripts(session) for session in sessions]
        usual = Counter(script for some in scripts for script in some).most_common(1)
        mixed = [
            f"{_where(session, split)}: {' and '.join(sorted(some))}: {short(session.captions)}"
            for session, some in zip(sessions, scripts, strict=True)
            if some - {script for script, _ in usual}
        ]
        return [
            none_of("note", split, "turns with other than two captions", odd),
            none_of("note", split, "sessions of one turn, which are no conversations", single),
            none_of("note", split, "sessions with letters of another script than most", mixed),
        ]
