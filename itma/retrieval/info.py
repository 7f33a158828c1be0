"""What is to be known of a catalogue, for people."""

from collections.abc import Mapping
from dataclasses import dataclass

from itma.retrieval import manifest
from itma.retrieval.ingest.indexing import read_skipped
from itma.retrieval.manifest import Ann
from itma.retrieval.snapshot import Snapshot
from itma.retrieval.stores.base import IndexState, Store, metadata_of
from itma.retrieval.stores.conditions import SHOWN, kind_of


@dataclass(frozen=True)
class Info:
    """What is to be known of a catalogue."""

    address: str
    items: int
    dim: int
    version: int
    model: str | None
    fingerprint: str | None
    run: str | None
    """The run folder, or the name, of its model; None: it was given in memory."""
    images: str | None
    """The folder that images are named in."""
    columns: Mapping[str, str]
    """Metadata, with what they hold."""
    durable: bool
    complete: bool
    """Whether the last indexing came to its end."""
    tokens_bytes: int
    """Bytes of feature maps kept with each item."""
    skipped: int
    """Files that could not be read when the images were indexed last."""
    exact: bool
    """Whether a search compares all items."""
    index: IndexState | None
    ann: Ann | None
    """How the index is searched, and the recall that was measured for that."""

    @classmethod
    def of(cls, store: Store, snapshot: Snapshot) -> "Info":
        """Gather it."""
        items, about, images = snapshot.items, snapshot.about, snapshot.images
        count = items.count()
        return cls(
            address=store.address,
            items=count,
            dim=about.dim,
            version=items.version,
            model=about.model,
            fingerprint=about.fingerprint,
            run=None if about.run is None else manifest.name_folder(about.run, store.address),
            images=None if images is None else str(images),
            columns={name: SHOWN[kind_of(kind)] for name, kind in metadata_of(items.schema).items()},
            durable=about.durable,
            complete=about.complete,
            tokens_bytes=0 if about.tokens is None else about.tokens.bytes_each,
            skipped=len(read_skipped(store)),
            exact=count <= snapshot.exact_items or about.ann is None or about.ann.effort is None,
            index=items.index_state(),
            ann=about.ann,
        )

    def __str__(self) -> str:
        lines = [
            f"{self.address}: {self.items:,} items of {self.dim} numbers, version {self.version}",
            f"model: {self.model or 'none'}"
            + (f" ({self.fingerprint[:12]}…)" if self.fingerprint else "")
            + (f", from {self.run}" if self.run else ""),
            f"images: {self.images or 'each has its whole path'}",
            "metadata: " + (", ".join(f"{name} ({kind})" for name, kind in self.columns.items()) or "none"),
            f"search: {self._search()}",
            "writes: "
            + ("wait until they would survive a loss of power" if self.durable else "survive a killed process"),
        ]
        if self.tokens_bytes:
            lines.append(f"feature maps: {self.tokens_bytes:,} bytes an item")
        if self.skipped:
            lines.append(f"could not be read: {self.skipped:,} files, see skipped.csv")
        if not self.complete:
            lines.append("the last indexing was interrupted; the same command does the rest")
        return "\n".join(lines)

    def _search(self) -> str:
        if self.exact:
            return "exact, all items are compared"
        assert self.ann is not None
        waiting = f", {self.index.waiting:,} newer items are compared one by one" if self.index else ""
        effort = ", ".join(f"{name} {value}" for name, value in (self.ann.effort or {}).items())
        return (
            f"{self.ann.kind} ({effort}): recall@10 {self.ann.recall:.3f} of {self.ann.wanted:g} wanted, over "
            f"{self.ann.queries} queries, {self.ann.milliseconds:.1f} ms each{waiting}"
        )
