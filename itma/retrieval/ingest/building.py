"""From a listing to a catalogue: a new one, one that takes another's place, or one that is brought up to date."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from itma.errors import CatalogueError, DataError, RunError, StorageError
from itma.io import file_sum
from itma.models.checkpoint import FORMAT, MANIFEST, checkpoint_folder
from itma.models.embedder import Embedder
from itma.retrieval import ann, manifest
from itma.retrieval.ingest import image_names
from itma.retrieval.ingest.embedding import Workers
from itma.retrieval.ingest.indexing import Outcome, index, write_skipped
from itma.retrieval.ingest.listing import Listing
from itma.retrieval.manifest import About, MapShapes
from itma.retrieval.request import IndexOptions
from itma.retrieval.stores.base import Items, Store, schema_of

log = logging.getLogger(__name__)

EXACT_ITEMS = 200_000
"""Up to so many items every search compares all; beyond, an index is made and searched."""
KEEP = timedelta(hours=1)
"""How long earlier versions are kept by default."""


def make(
    store: Store,
    listing: Listing,
    model: Embedder,
    run: Path | None,
    options: IndexOptions,
    workers: Workers,
    *,
    progress: bool = False,
) -> Outcome:
    """Make a catalogue, or a new one in the place of another, which is searched until the new one is whole.

    Args:
        store: where; the caller is its only writer.
        listing: what is to be in it.
        model: makes the embeddings.
        run: where the model can be found again.
        options: how.
        workers: who embeds.
        progress: show a progress bar.

    Raises:
        DataError: none of the images can be read.
    """
    with new_table(store) as name:
        about = About(
            table=name,
            **describe_model(model, run, store, options.tokens),
            images=manifest.record_folder(listing.root.absolute(), store.address),
            durable=options.durable,
            complete=False,
            sources=(str(listing.source),),
        )
        items = store.create(name, schema_of(about.dim, listing.columns.items(), tokens=options.tokens))
        if not manifest.exists(store):
            manifest.write(store, about)  # from here on what is committed is found again after an interruption
        outcome = index(items, listing, workers, options, committed=syncing(store, about), progress=progress)
        if not outcome.new:
            raise DataError(
                f"none of the {len(listing.ids):,} images of {str(listing.source)!r} can be read; the first is "
                f"{outcome.skipped[0]}"
            )
        finish(store, items, about, outcome, recall=options.recall)
    return outcome


@contextmanager
def new_table(store: Store) -> Iterator[str]:
    """Give a name for a new table that becomes the one that is searched, whole or not at all.

    Whoever writes the document about the catalogue says when that is. Where it went wrong before that, the new table is
    removed, and all of a catalogue that came to nothing; where it went well, the tables that were searched before are.
    """
    numbers = [int(name.removeprefix("items-")) for name in store.tables() if re.fullmatch(r"items-\d+", name)]
    name = f"items-{max(numbers, default=0) + 1}"
    replacing = manifest.exists(store)
    try:
        yield name
    except BaseException:
        if replacing:
            store.drop(name)
        elif not manifest.exists(store) or not store.open(name).count():
            store.discard()
        raise
    for old in store.tables():
        if old != name:
            store.drop(old)


def update(
    store: Store,
    listing: Listing,
    model: Callable[[], Embedder],
    run: Path | None,
    options: IndexOptions,
    workers: Workers,
    *,
    runtime: str,
    progress: bool = False,
) -> Outcome:
    """Bring a catalogue to what a listing says; arguments as for `make` and `indexing.index`.

    The model is opened only where it is needed: not where its files are those that the catalogue was made with and no
    image is new.

    Raises:
        CatalogueError: it was made by another model, or from another folder, or keeps no feature maps and is to.
    """
    about = manifest.read(store)
    if options.tokens and about.tokens is None:
        raise CatalogueError(
            f"the catalogue {store.address!r} keeps no feature maps, which is decided when it is made; leave out "
            "--tokens, or make it anew with --replace"
        )
    checkpoint = checkpoint_sum(run, runtime)
    if (checkpoint is None or checkpoint != about.checkpoint) and about.fingerprint != model().fingerprint():
        name = str(run or model().name)
        made_by = None if about.run is None else manifest.name_folder(about.run, store.address)
        raise CatalogueError(
            f"the catalogue {store.address!r} was made by another model ({made_by or about.model!r}) than this one "
            f"({name!r}); "
            + (f"use its own: itma index {quote(made_by)} SOURCE {quote(store.address)}, " if made_by else "")
            + f"move it to this one: itma reindex {quote(store.address)} {quote(name)}, or make it anew: --replace"
        )
    images = None if about.images is None else manifest.find_folder(about.images, store.address)
    if images is not None and images.resolve() != listing.root.resolve() and images.exists():
        raise CatalogueError(
            f"the catalogue {store.address!r} was made from {str(images)!r}, not from {str(listing.root)!r}; index "
            "that folder into a catalogue of its own, or put this one in its place with --replace"
        )
    about = replace(
        about,
        images=manifest.record_folder(listing.root.absolute(), store.address),
        checkpoint=checkpoint or about.checkpoint,
        run=about.run if run is None else manifest.record_folder(run, store.address),
        durable=about.durable or options.durable,
        complete=False,
        sources=(str(listing.source),),
    )
    manifest.write(store, about)
    items = store.open(about.table)
    options = replace(options, tokens=about.tokens is not None)
    outcome = index(items, listing, workers, options, committed=syncing(store, about), progress=progress)
    finish(store, items, about, outcome, recall=options.recall)
    return outcome


def finish(store: Store, items: Items, about: About, outcome: Outcome, *, recall: float, complete: bool = True) -> None:
    """Write down what was left out, tidy up where something changed, and say that the work is done."""
    write_skipped(store, outcome.skipped)
    if outcome.new or outcome.changed or outcome.removed:
        tidy(items)
        about = build_index(items, about, recall=recall)
    image_names.sweep(store.address, items)
    about = replace(about, complete=complete)
    manifest.write(store, about)
    syncing(store, about)()


def tidy(items: Items) -> None:
    """Join small files and forget old versions; where that fails, what was written before stands all the same."""
    try:
        items.compact(KEEP)
    except (StorageError, CatalogueError) as error:
        log.warning("everything is written, but it could not be tidied up: %s", error)


def build_index(items: Items, about: About, *, recall: float, exact_items: int = EXACT_ITEMS) -> About:
    """Make or renew the index where the table is large enough for one, and find out how to search it."""
    count = items.count()
    if count <= exact_items:
        return replace(about, ann=None)
    state = items.index_state()
    made_for = 0 if about.ann is None else about.ann.items
    if state is None or not made_for or count > 2 * made_for or state.waiting > count // 4:
        items.build_index()
    elif about.ann is not None and about.ann.wanted >= recall and count < made_for * 1.25:
        return about
    return replace(about, ann=ann.tune(items, wanted=recall))


def syncing(store: Store, about: About) -> Callable[[], None]:
    """What is to be called after every commit."""
    return store.sync if about.durable else lambda: None


def checkpoint_sum(run: Path | None, runtime: str) -> str | None:
    """What tells a checkpoint from another without opening it; None where there is none, or int8 graphs answer."""
    if run is None or runtime == "onnx-int8":
        return None
    try:
        return f"{FORMAT}-{file_sum(checkpoint_folder(run) / MANIFEST)}"
    except (OSError, RunError):
        return None


def describe_model(model: Embedder, run: Path | None, store: Store, tokens: bool = False) -> dict[str, Any]:
    """What a catalogue keeps of its model, as fields of `About`; without a run it was given in memory."""
    blank = torch.zeros((1, 3, model.preprocess.height, model.preprocess.width), dtype=torch.uint8)
    maps = model.feature_maps(blank)
    shapes = tuple((int(c), int(h), int(w)) for _, c, h, w in (level.shape for level in maps))
    return {
        "dim": int(model.embed_images_from(maps).shape[1]),
        "model": model.name,
        "fingerprint": model.fingerprint(),
        "runtime": model.runtime,
        "checkpoint": checkpoint_sum(run, model.runtime),
        "run": None if run is None else manifest.record_folder(run, store.address),
        "tokens": MapShapes(shapes) if tokens else None,
    }
