"""The vocabulary that published checkpoints lack: read from a list, or built again as the code bases built it.

TIRG, MAAF and ITMA number the words of the training captions; their checkpoints hold the embeddings by number, but not
the words. Id 0 is the unknown word.
"""

import logging
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from itma.data import datasets
from itma.data.datasets import fashion200k, fashioniq, mitstates
from itma.data.datasets.reading import read_lines
from itma.errors import ConfigError, DataError, UnknownNameError

log = logging.getLogger(__name__)

UNKNOWN = "<UNK>"
Order = Literal["sorted", "appearance"]
BUILT_FROM = ("css", "fashion200k", "fashioniq", "mitstates")
"""Data sets whose vocabulary can be built again."""

_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Texts:
    """Sentences in the order in which the published code reads them."""

    about: str
    sentences: Sequence[str]
    certain: bool = True
    """Whether that order is the same on every machine."""


def split_as_published(text: str) -> list[str]:
    """The words of a sentence as TIRG's and MAAF's code see them.

    >>> split_as_published("Café-red, RED!")
    ['cafred', 'red']
    """
    return text.encode("ascii", "ignore").decode().lower().translate(_PUNCTUATION).split()


def read_words(path: Path, size: int) -> list[str]:
    """A vocabulary from a text file with one word a line, in the order of ids; `<UNK>` may stand first or be left out.

    Args:
        path: the file.
        size: how many ids the checkpoint has.

    Raises:
        DataError: the file cannot be read, a line is no single word as the published code sees words, a word stands
            twice, or there are more or fewer words than ids.
    """
    lines = [line.strip() for line in read_lines(path, "give a list of words, one a line, in the order of their ids")]
    words = [UNKNOWN, *lines[lines[:1] == [UNKNOWN] :]]
    line_of: dict[str, int] = {}
    for number, word in enumerate(lines, start=1):
        if (number > 1 or word != UNKNOWN) and split_as_published(word) != [word]:
            raise DataError(
                f"{str(path)!r}, line {number}: {word[:80]!r} is no word as the published code sees them: small "
                "letters and digits of ASCII, without punctuation, one a line"
            )
        if word in line_of:
            raise DataError(f"{str(path)!r}, line {number}: {word!r} stands in line {line_of[word]} already")
        line_of[word] = number
    if len(words) != size:
        raise DataError(
            f"{str(path)!r} holds {len(words) - 1:,} words besides {UNKNOWN}, and the checkpoint has embeddings for "
            f"{size - 1:,}; it needs the list of the training that made it"
        )
    return words


def build_words(name: str, root: Path, size: int, *, order: Order, rare: int = 0) -> list[str]:
    """The vocabulary of a data set's training captions, built as the published code built it.

    Args:
        name: css, fashion200k, fashioniq or mitstates.
        root: the folder that holds it.
        size: how many ids the checkpoint has.
        order: words by alphabet, or in the order of appearance.
        rare: words that appear fewer times have an id, but are read as the unknown word.

    Raises:
        UnknownNameError: no such data set.
        DataError: the data cannot be read, or has another number of words than the checkpoint has ids.
    """
    readings = dataset_texts(name, root)
    fitting, sizes = [], []
    for texts in readings:
        counts = Counter(word for sentence in texts.sentences for word in split_as_published(sentence))
        words = sorted(counts) if order == "sorted" else list(counts)
        sizes.append(f"{len(words):,} ({texts.about})")
        if len(words) + 1 == size:
            # a rare word keeps its number under a name that no sentence holds
            fitting.append([UNKNOWN, *(word if counts[word] >= rare else f"<rare {word}>" for word in words)])
    if not fitting:
        raise DataError(
            f"the training captions of {name} in {str(root)!r} hold {' or '.join(sizes)} words, and the checkpoint has "
            f"embeddings for {size - 1:,} besides {UNKNOWN}; it was trained on other captions. Give the root of those, "
            "or the list of words"
        )
    if any(other != fitting[0] for other in fitting) or (order == "appearance" and not readings[0].certain):
        log.warning(
            "%s: the order of the words follows which files are there and how the folder lists them, which may have "
            "been another where the checkpoint was made; measure the imported model before relying on it",
            root,
        )
    return fitting[0]


def dataset_texts(name: str, root: Path) -> list[Texts]:
    """The training sentences of a data set as the published code reads them, likelier readings first.

    Raises:
        UnknownNameError, DataError: see `build_words`.
    """
    if name == "css":
        return [Texts("all modifications", datasets.load("css", root, "train").triplets.feedback)]
    if name == "fashion200k":
        return [Texts("all captions", fashion200k.texts(root), certain=False)]
    if name == "mitstates":
        return [Texts("all folders", mitstates.texts(root), certain=False)]
    if name != "fashioniq":
        raise UnknownNameError("data set whose words can be built again", name, BUILT_FROM)
    triplets = datasets.load("fashioniq", root, "train").triplets
    missing = triplets.images.missing()
    readings = [Texts("all captions", _captions(triplets.feedback))]
    there = ~(missing[triplets.references] | missing[triplets.targets])
    if 0 < there.sum() < len(there):  # the published code leaves rows out whose images it does not find
        feedback = [triplets.feedback[row] for row in there.nonzero()[0].tolist()]
        readings.insert(0, Texts(f"captions of the {len(feedback):,} rows whose images are there", _captions(feedback)))
    return readings


def _captions(feedback: Sequence[str]) -> list[str]:
    return [fashioniq.MARKER, *(caption for row in feedback for caption in fashioniq.split_captions(row))]


def words_for(source: Path, size: int, *, name: str | None, order: Order, rare: int = 0) -> list[str]:
    """A vocabulary from a list of words, or from the folder of a data set.

    Args:
        source: a text file, see `read_words`, or a folder, see `build_words`.
        size: how many ids the checkpoint has.
        name: which data set the folder holds.
        order: see `build_words`.
        rare: see `build_words`.

    Raises:
        ConfigError: the folder's data set is not known, or a list is given where counts of words are needed.
        DataError, UnknownNameError: see `read_words`, `build_words`.
    """
    if source.is_dir():
        if name not in BUILT_FROM:
            raise ConfigError(
                f"the checkpoint was trained on {name!r}, whose words cannot be built again; say which data set "
                f"{str(source)!r} holds (--data {'|'.join(BUILT_FROM)}), or give the list of words"
            )
        return build_words(name, source, size, order=order, rare=rare)
    if rare:
        raise ConfigError(
            f"the checkpoint was trained with --threshold_rare_words={rare}: words seen fewer times are read as "
            f"unknown, and the list {str(source)!r} does not say which; give the root of the data set instead"
        )
    return read_words(source, size)
