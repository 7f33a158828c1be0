"""What needs no model: pages of items, single items, where pictures are, what the columns hold."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from itma.errors import ItmaError
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.facets import Facet
from itma.retrieval.info import Info
from itma.retrieval.ingest.rows import Item, Page

log = logging.getLogger(__name__)

_PATHS = 20_000
"""Items whose pictures' places are remembered."""


class Browser:
    """A catalogue that is looked at beside the one that is searched, so that neither waits for the other.

    Args:
        place: of the catalogue.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._catalogue = Catalogue.open(place, without_model=True)
        self._lock = threading.Lock()
        self._paths: OrderedDict[str, str] = OrderedDict()
        self._paths_stamp = self.stamp = self._catalogue.stamp
        self._told: tuple[str, Info, list[Facet]] | None = None

    def look(self) -> str:
        """See what was written since; the state that is shown from now on."""
        self._catalogue.refresh()
        self.stamp = self._catalogue.stamp
        return self.stamp

    def page(self, rows: int, after: str | None, where: Any) -> Page:
        """See `Catalogue.page`."""
        found = self._catalogue.page(rows, after=after, where=where)
        self.remember([(item.id, str(item.picture or "")) for item in found.items])
        return found

    def get(self, id: str) -> Item:
        """See `Catalogue.get`."""
        found = self._catalogue.get(id)
        self.remember([(id, str(found.picture or ""))])
        return found

    def remember(self, paths: Sequence[tuple[str, str]]) -> None:
        """Where these items' pictures are, as long as nobody writes."""
        with self._lock:
            if self._paths_stamp != self.stamp:
                self._paths.clear()
                self._paths_stamp = self.stamp
            for id, path in paths:
                self._paths[id] = path
            while len(self._paths) > _PATHS:
                self._paths.popitem(last=False)

    def picture(self, id: str) -> str:
        """Where an item's picture is; empty where it has none.

        Raises:
            UnknownItemError: there is no such item.
        """
        with self._lock:
            if self._paths_stamp == self.stamp and id in self._paths:
                return self._paths[id]
        return str(self.get(id).picture or "")

    def told(self) -> tuple[str, Info, list[Facet]]:
        """The state, and what is to be known of the catalogue; looked at anew only after a change."""
        if self._told is None or self._told[0] != self.stamp:
            stamp = self.stamp
            looked = Catalogue.open(self.place, without_model=True)  # its own: this takes long, and nobody shall wait
            self._told = (stamp, looked.info(), looked.facets())
        return self._told

    def ready(self) -> bool:
        """Whether the catalogue can be read."""
        try:
            self._catalogue.refresh()
        except ItmaError as error:
            log.warning("not ready: %s", error)
            return False
        return True
