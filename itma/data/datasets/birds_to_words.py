"""Birds-to-Words (Forbes et al. 2019, arXiv:1909.04101): two birds, and paragraphs on how they differ.

Expected under the root, as published: `birds-to-words-v1.0.tsv`. Its images are links, such as
`https://static.inaturalist.org/photos/647514/large.jpg?1414`; they are found anywhere below, as `647514.jpg` (or
.png …) or, as MAAF's code has them, under the last part of the link.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from itma.data.datasets.base import Dataset, register
from itma.data.datasets.reading import check_root, find_images, read_text_rows, short
from itma.data.images import FileImages
from itma.data.triplets import Protocol, Split, Task, Triplets

SPLITS = ("train", "val", "test")
TABLE = "birds-to-words-v1.0.tsv"
COLUMNS = tuple(
    "img1ObservationURL img1ImgURL img1Species img1Selection img2ObservationURL img2ImgURL img2Species img2Selection "
    "split annN description".split()
)

_WAY_OUT = "get the published file again from https://github.com/google-research-datasets/birds-to-words"
_PHOTO = re.compile(r"/photos/(\d+)/")
_ANIMAL = re.compile(r"\b(animal ?)([12])\b", re.IGNORECASE)


def exchange_birds(description: str) -> str:
    """A description from the other bird's side.

    >>> exchange_birds("animal1 is smaller than Animal 2 .")
    'animal2 is smaller than Animal 1 .'
    """
    return _ANIMAL.sub(lambda match: match[1] + {"1": "2", "2": "1"}[match[2]], description)


def _queries(root: Path, split: str) -> Iterator[tuple[str, str, str]]:
    """The rows of the table; images by link."""
    check_root(root, "Birds-to-Words", (TABLE,))
    columns = f"{len(COLUMNS)} with tabs between: {', '.join(COLUMNS)}"
    for line, row in read_text_rows(root / TABLE, _WAY_OUT):
        cells = [cell.strip() for cell in line.split("\t")]
        if cells[0] == COLUMNS[0]:
            continue
        if len(cells) != len(COLUMNS):
            raise row.error(f"it has {len(cells)} columns; expected {columns}")
        fields = dict(zip(COLUMNS, cells, strict=True))
        if fields["split"] not in SPLITS:
            raise row.error(f"its split is {short(fields['split'])}; expected {', '.join(SPLITS)}")
        reference, target = fields["img1ImgURL"], fields["img2ImgURL"]
        if not reference or not target or reference == target:
            raise row.error(f"its images are {short(reference)} and {short(target)}; expected two links")
        if fields["split"] == split:
            yield reference, target, fields["description"]


def _name(link: str) -> str:
    photo = _PHOTO.search(link)
    return photo[1] if photo else link.rpartition("/")[2]


def _paths(root: Path, links: list[str]) -> list[Path]:
    files = find_images(root)
    paths = []
    for link in links:
        last = link.rpartition("/")[2]
        other = next((path for folder in ("images", ".") if (path := root / folder / last).is_file()), None)
        paths.append(files.get(_name(link)) or other or root / "images" / f"{_name(link)}.jpg")
    return paths


@register("birds_to_words")
class BirdsToWords(Dataset):
    """Pairs of birds with paragraphs on how they differ (Forbes et al. 2019)."""

    title = "Birds-to-Words"
    splits = SPLITS

    def read(self, root: Path, split: str) -> Split:
        """Read one split: each description is a row, from the left image to the right one.

        - train: each row also the other way round, with the two animals of its description exchanged, as MAAF's code
          has it (Dodds et al. 2020, arXiv:2007.00145).
        - val, test: the protocol `birds_to_words`; the gallery holds all images of the split.

        Args:
            root: the folder that holds `birds-to-words-v1.0.tsv`.
            split: train, val or test.

        Raises:
            DataError: the root is another folder, or the file is missing or damaged; the message names file and row.
        """
        rows = list(_queries(root, split))
        if split == "train":
            rows += [(target, reference, exchange_birds(feedback)) for reference, target, feedback in rows]
        links = sorted({link for row in rows for link in row[:2]})
        files = FileImages([_name(link) for link in links], _paths(root, links))
        triplets = Triplets.of(f"birds_to_words/{split}", files, rows, keys=links)
        if split == "train":
            return Split(triplets)
        about = (
            f"gallery = the {len(links):,} images of the split; each description asks from the left image for the "
            "right one; the reference is removed; only the target counts"
        )
        return Split.of(triplets, Protocol("birds_to_words", about, (Task.of_all(triplets),)))
