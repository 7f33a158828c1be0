"""What needs no model: pages of items, single items, where images are, what the columns hold."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itma.data.datasets import REGISTRY as DATASETS
from itma.data.datasets import Dataset
from itma.data.tokenizer import typical
from itma.errors import ItmaError
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.facets import Facet
from itma.retrieval.info import Info
from itma.retrieval.ingest.rows import Item, Page
from itma.retrieval.snapshot import Snapshot
from itma.training.run import read_settings

log = logging.getLogger(__name__)

_PATHS = 20_000
"""Items whose images' places are remembered."""
_SHOWN = 24
"""Sentences that show a newcomer what to say to this model."""


@dataclass(frozen=True)
class Summary:
    """What is to be known of one state of a catalogue."""

    snapshot: Snapshot
    info: Info
    facets: Sequence[Facet]
    suggestions: Sequence[str]


class Browser:
    """Looks at a catalogue.

    Args:
        catalogue: what is looked at.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._paths: OrderedDict[str, str] = OrderedDict()
        self._paths_stamp = catalogue.stamp
        self._summary: Summary | None = None

    def page(self, rows: int, after: str | None, where: Any) -> Page:
        """See `Catalogue.page`."""
        page = self._catalogue.page(rows, after=after, where=where)
        self.remember([(item.id, str(item.image or "")) for item in page.items])
        return page

    def get(self, id: str) -> Item:
        """See `Catalogue.get`."""
        item = self._catalogue.get(id)
        self.remember([(id, str(item.image or ""))])
        return item

    def remember(self, paths: Sequence[tuple[str, str]]) -> None:
        """Where these items' images are, as long as nobody writes."""
        with self._lock:
            if self._paths_stamp != (stamp := self._catalogue.stamp):
                self._paths.clear()
                self._paths_stamp = stamp
            for id, path in paths:
                self._paths[id] = path
            while len(self._paths) > _PATHS:
                self._paths.popitem(last=False)

    def image(self, id: str) -> str:
        """Where an item's image is; empty where it has none.

        Raises:
            UnknownItemError: there is no such item.
        """
        with self._lock:
            if self._paths_stamp == self._catalogue.stamp and id in self._paths:
                return self._paths[id]
        return str(self.get(id).image or "")

    def summary(self) -> Summary:
        """What is to be known of the catalogue; looked at anew only after a change."""
        summary, snapshot = self._summary, self._catalogue.snapshot
        if summary is None or summary.snapshot is not snapshot:
            sentences = suggestions(snapshot, self._catalogue.run)
            summary = Summary(snapshot, self._catalogue.info_of(snapshot), snapshot.facets(), sentences)
            self._summary = summary
        return summary

    def ready(self) -> bool:
        """Whether the catalogue can be read."""
        try:
            self._catalogue.refresh()
        except ItmaError as error:
            log.warning("not ready: %s", error)
            return False
        return True


def suggestions(snapshot: Snapshot, run: Path | None) -> Sequence[str]:
    """Sentences from the model's training, as its run tells; or one of the kind of its data set; or none.

    Sentences with words that the model does not know are left out.

    Args:
        snapshot: of the catalogue.
        run: the run folder of its model. None: it is not there.
    """
    if run is None or not snapshot.has_model:
        return []
    try:
        settings = read_settings(run)
        tokenizer = snapshot.model.tokenizer
        name = data.get("name") if isinstance(data := settings.get("data"), dict) else None
        dataset = DATASETS.lookup(name) if isinstance(name, str) else None
    except ItmaError:
        return []
    examples = settings.get("sentences") or [(dataset or Dataset).example]
    sentences = (
        [sentence for sentence in examples if isinstance(sentence, str) and sentence]
        if isinstance(examples, list)
        else []
    )
    known = [sentence for sentence in sentences if not tokenizer.unknown(sentence)]
    return typical(known, _SHOWN)
