"""A catalogue's own model, taught by the table of its items, and measured before and after."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itma.api import evaluate, refuse_trained, settings_for, train
from itma.errors import CatalogueError
from itma.evaluation.tables import Table
from itma.io import check_writable
from itma.models.retriever import Retriever
from itma.records import Report
from itma.retrieval.catalogue import Catalogue
from itma.training.run import new_run_folder

DATA = "products"
"""The data set that makes triplets of a table's attributes."""
BEFORE = "before"
"""Where the report of the model before the training stands in the run folder."""


@dataclass(frozen=True)
class Adaptation:
    """What a training on a catalogue's items changed, on items that it did not see."""

    run: Path
    before: Report
    after: Report

    @property
    def gain(self) -> float:
        """Change of the recall at the smallest k, as a fraction."""
        first = min(self.after.recall)
        return self.after.recall[first] - self.before.recall[first]

    def __str__(self) -> str:
        rows = [
            (f"recall@{k}", *_cells(self.before.recall[k], share))
            for k, share in self.after.recall.items()
            if k in self.before.recall
        ]
        first = min(self.after.recall)
        rows += [
            (f"recall@{first}, {kind}", *_cells(self.before.recall_by_kind[kind][first], recall[first]))
            for kind, recall in self.after.recall_by_kind.items()
            if kind in self.before.recall_by_kind
        ]
        head = f"{self.after.queries:,} queries against {self.after.gallery:,} images; {self.after.protocol}"
        return f"{head}\n{Table(('', 'before', 'after', 'change'), rows)}"


def adapt(
    catalogue: str | Path,
    table: str | Path,
    *,
    steps: int | None = None,
    out: str | Path | None = None,
    preset: str | None = None,
    changes: Mapping[str, Any] | None = None,
    run: str | Path | None = None,
    device: str = "auto",
    progress: bool = False,
) -> Adaptation:
    """Go on training the model of a catalogue on a table of items; the catalogue itself stays as it is.

    Triplets come from the table's attributes, as of the data set `products`; a part of its items is for testing only.

    Args:
        catalogue: its folder.
        table: CSV or JSON Lines with a row for each item and a column for each attribute, or a folder that holds one.
        steps: of the training. None: the preset's.
        out: the run folder. None: `runs/<time>_<model>_adapted`.
        preset: named recipe. None: `products`; of a model with another image encoder, whose first levels then learn
            too.
        changes: settings by dotted name; see `itma.settings_for`.
        run: where the run that made the catalogue is now. None: where it was then.
        device: `auto`, `cpu`, `cuda`, …
        progress: show progress bars.

    Returns:
        The new run, for `Catalogue.reindex`, and what was measured before and after.

    Raises:
        CatalogueError: the catalogue has no model of itma's own, or it is not to be found.
        DataError: the table cannot be used.
        ConfigError, UnknownNameError: see `itma.train`.
    """
    opened = Catalogue.open(catalogue, run)
    model, start = opened.model, run if run is not None else opened.run
    if not isinstance(model, Retriever) or start is None:
        raise CatalogueError(
            f"the catalogue {str(catalogue)!r} is searched by {model.runtime}, from no run folder that training can go "
            "on from; index it with a run, by the runtime torch"
        )
    settings = {**(changes or {}), "data.root": str(table)}
    if steps is not None:
        settings["train.steps"] = str(steps)
    usual = settings_for(DATA, preset=preset)
    if not preset and model.config.image_encoder.name != usual.model.image_encoder.name:
        # its first levels are other ones
        settings = {"train.frozen_levels": "0", "train.views": "0", **settings}
    folder = new_run_folder(f"{model.name}_adapted") if out is None else Path(out)
    refuse_trained(folder)
    check_writable(folder)
    source = {name.removeprefix("data."): value for name, value in settings.items() if name.startswith("data.")}
    with tempfile.TemporaryDirectory() as draft:
        before = evaluate(start, DATA, changes=source, out=Path(draft), device=device, progress=progress)
        train(DATA, start=start, preset=preset, changes=settings, out=folder, device=device, progress=progress)
        shutil.copytree(draft, folder / BEFORE, dirs_exist_ok=True)
    return Adaptation(folder, before, evaluate(folder, device=device, progress=progress))


def _cells(before: float, after: float) -> tuple[str, str, str]:
    return f"{before:.1%}", f"{after:.1%}", f"{100 * (after - before):+.1f}"
