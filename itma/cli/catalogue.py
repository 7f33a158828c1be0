"""Commands about catalogues: `itma reindex`, `itma adapt` and `itma catalogue …`."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from itma.cli.changes import setting_changes, setting_file, skip_unreadable, take_settings
from itma.cli.options import INPUT_PATH, OUTPUT_PATH, as_json, device, pairs, where
from itma.cli.output import bars, echo_each, echo_hint, echo_json
from itma.errors import CatalogueError
from itma.io import parse_json
from itma.retrieval import request


class CataloguePath(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic in newer ones
    """Where a catalogue is: a path, or an address such as `s3://bucket/name`, whose slashes stay as they are."""

    name = "path"

    def convert(
        self, value: str | Path, parameter: click.Parameter | None, context: click.Context | None
    ) -> str | Path:
        """A path, or the address as text."""
        return value if "://" in str(value) else Path(value)


CATALOGUE_PATH = CataloguePath()


RUNTIMES = click.Choice(request.RUNTIMES)


@click.command()
@click.argument("catalogue", type=CATALOGUE_PATH)
@click.argument("run", type=INPUT_PATH)
@click.option("--leave-out", is_flag=True, help="Drop items whose image cannot be read, instead of stopping.")
@click.option("--runtime", type=RUNTIMES, default="torch", help="What computes the embeddings.")
@device
def reindex(catalogue: str | Path, run: Path, leave_out: bool, runtime: str, device: str) -> None:
    """Move CATALOGUE to the model in RUN: all images are embedded anew, then searches switch to it in one step.

    Until then the catalogue is searched as before, by its old model; writes wait.
    """
    from itma.api import device_for

    outcome = _open(catalogue).reindex(
        run, leave_out=leave_out, runtime=runtime, device=device_for(runtime, device), progress=bars()
    )
    click.echo(f"embedded {outcome.embedded:,} images; {catalogue} is now searched by the model in {run}")


@click.command()
@click.argument("catalogue", type=CATALOGUE_PATH)
@click.argument("table", type=INPUT_PATH)
@click.option("--steps", type=click.IntRange(1), help="Of the training. Without it, the preset's (products: 1,000).")
@click.option("--out", type=OUTPUT_PATH, help="The run folder. Without it, runs/<time>_<model>_adapted.")
@click.option("--preset", help="The recipe. Without it, products.")
@click.option("--run", type=INPUT_PATH, help="Where the catalogue's run is now, if it was moved.")
@click.option("--yes", is_flag=True, help="Reindex without asking, unless the recall has fallen.")
@skip_unreadable
@setting_file
@setting_changes
@device
def adapt(catalogue: str | Path, table: Path, yes: bool, device: str, **options: Any) -> None:
    r"""Teach the model of CATALOGUE with the attributes in TABLE, and measure it before and after.

    TABLE has a row for each item and a column for each attribute; see docs/own-data.md, and itma doctor products for
    what of it is used. Items for testing are kept out of the training. Then CATALOGUE can be moved to the new model:
    the command asks where there is a terminal, and says how otherwise. Until then it stays as it is.

    \b
    itma adapt catalogue/ items.csv
    itma adapt catalogue/ items.csv --steps 300 --yes
    """
    from itma.adaptation import adapt as adapt_model

    changes = take_settings(options)
    result = adapt_model(catalogue, table, changes=changes, device=device, progress=bars(), **options)
    click.echo(f"{result}\ntrained: {result.run}")
    if yes and result.gain < 0:
        click.echo("the catalogue stays as it is: the new model is right less often than the old one", err=True)
    elif yes or (at_a_terminal() and click.confirm(f"move {catalogue} to the new model?")):
        click.get_current_context().invoke(reindex, catalogue=catalogue, run=result.run, device=device)
        return
    echo_hint(f"move the catalogue to it with: itma reindex {catalogue} {result.run}")


def at_a_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


@click.group()
def catalogue() -> None:
    """Look after a catalogue: what is in it, changes, copies.

    Searching and indexing have commands of their own: index, search and reindex.
    """


def _on_catalogue(function: Callable[..., Any]) -> click.Command:
    """Make a function a command of the group, whose first argument is a catalogue."""
    return catalogue.command()(click.argument("catalogue", type=CATALOGUE_PATH)(function))


@_on_catalogue
@as_json
def info(catalogue: str | Path, as_json: bool) -> None:
    """Show how many items there are, their metadata, the model, and how exactly searches go."""
    summary = _open(catalogue).info()
    echo_json(asdict(summary)) if as_json else click.echo(str(summary))


@_on_catalogue
@as_json
def verify(catalogue: str | Path, as_json: bool) -> None:
    """Read all files and compare them with the sums that were kept when they were written."""
    report = _open(catalogue).verify()
    echo_json(asdict(report)) if as_json else click.echo(str(report))
    if not report.sound:
        raise CatalogueError(f"the catalogue {str(catalogue)!r} is damaged; restore a backup, or index again")


@_on_catalogue
@click.argument("id")
@as_json
def get(catalogue: str | Path, id: str, as_json: bool) -> None:
    """Show one item: its image and its metadata."""
    item = _open(catalogue).get(id)
    if as_json:
        echo_json({"id": item.id, "image": item.image, "fields": item.fields})
        return
    click.echo(f"{item.id}\n  image: {item.image or '(none)'}")
    for name, value in item.fields.items():
        click.echo(f"  {name}: {value}")


@_on_catalogue
@click.argument("image", type=INPUT_PATH)
@click.option("--id", help="Without it, the image's name below the catalogue's folder of images, or its whole path.")
@click.option("--field", "fields", multiple=True, metavar="NAME=VALUE", callback=pairs, help="Metadata; repeatable.")
@click.option("--replace", is_flag=True, help="In the place of an item of the same id.")
@click.option("--run", type=INPUT_PATH, help="Where the run is now, if it was moved.")
def add(
    catalogue: str | Path, image: Path, id: str | None, fields: dict[str, str], replace: bool, run: Path | None
) -> None:
    r"""Add one IMAGE. For many, give a table to itma index.

    Values are read as JSON where they are JSON (3, 0.5, true, ["a", "b"]), and as text otherwise.

    \b
    itma catalogue add catalogue/ new/dress.jpg --id sku-17 --field colour=red --field price=49.9
    """
    from itma.retrieval.catalogue import Catalogue
    from itma.retrieval.ingest.rows import Item

    opened = Catalogue.open(catalogue, run)
    item = Item(id or opened.name_of(image), image, fields={name: _value(text) for name, text in fields.items()})
    (opened.replace if replace else opened.add)([item])
    click.echo(f"added {item.id}; {len(opened):,} items")


@_on_catalogue
@click.argument("ids", nargs=-1)
@where
def delete(catalogue: str | Path, ids: tuple[str, ...], where: Any) -> None:
    r"""Remove items, by their IDS, by a condition, or both. The images' files stay.

    \b
    itma catalogue delete catalogue/ sku-17 sku-18
    itma catalogue delete catalogue/ --where "sold = true"
    """
    if not ids and where is None:
        raise click.UsageError("say which items: IDS, or --where CONDITION")
    opened = _open(catalogue)
    if unknown := [name for name in ids if name not in opened]:
        click.echo(f"not there: {', '.join(map(repr, unknown))}", err=True)
    click.echo(f"removed {opened.delete(ids, where=where):,} items")


@_on_catalogue
@as_json
def versions(catalogue: str | Path, as_json: bool) -> None:
    """List the states that can still be searched: itma search --version N. All times are this machine's."""
    echo_each(_open(catalogue).versions(), as_json)


@_on_catalogue
@click.option("--keep-hours", type=click.FloatRange(0), default=1.0, help="Younger versions stay.")
@click.option(
    "--recall", type=click.FloatRange(0, 1, min_open=True), help="What an index must reach; default: as before."
)
def compact(catalogue: str | Path, keep_hours: float, recall: float | None) -> None:
    """Join small files, forget old versions, and make or renew the index where there are enough items for one.

    Happens by itself after an indexing, and after every 64 changes.
    """
    from datetime import timedelta

    opened = _open(catalogue)
    opened.compact(keep=timedelta(hours=keep_hours), recall=recall)
    click.echo(str(opened.info()))


@_on_catalogue
@click.option(
    "--threshold",
    type=click.FloatRange(-1, 1),
    help="Cosine of near duplicates; without it, one that fits the catalogue's own scores.",
)
@as_json
def duplicates(catalogue: str | Path, threshold: float | None, as_json: bool) -> None:
    """List groups of items whose images are the same, byte by byte, and groups that are nearly the same to the model.

    Every member of a near group is near to the first that is named.
    """
    groups = _open(catalogue).near_duplicates(threshold, progress=bars())
    if as_json:
        echo_json({"threshold": groups.threshold, "groups": [asdict(group) for group in groups]})
        return
    for group in groups:
        click.echo(str(group))
    same = sum(group.same_content for group in groups)
    click.echo(
        f"in all: {same:,} groups of the same content, {len(groups) - same:,} of near images (cosine from "
        f"{groups.threshold:.4f})",
        err=True,
    )


@_on_catalogue
@click.argument("target", type=CATALOGUE_PATH)
def backup(catalogue: str | Path, target: str | Path) -> None:
    """Copy CATALOGUE, as it is now, to TARGET, as a catalogue of its own. Others may go on writing."""
    _open(catalogue).backup(target)
    echo_hint(f"copied to {target}; bring it back with: itma catalogue restore {target} {catalogue}")


@catalogue.command()
@click.argument("backup", type=CATALOGUE_PATH)
@click.argument("catalogue", type=CATALOGUE_PATH)
@click.option("--replace", is_flag=True, help="In the place of what is there.")
def restore(backup: str | Path, catalogue: str | Path, replace: bool) -> None:
    """Copy a BACKUP to CATALOGUE. The backup stays."""
    from itma.retrieval.catalogue import Catalogue

    Catalogue.restore(backup, catalogue, replace=replace)
    click.echo(f"restored {len(_open(catalogue)):,} items to {catalogue}")


@_on_catalogue
@click.argument("file", type=INPUT_PATH)
def export(catalogue: str | Path, file: Path) -> None:
    """Write all items to FILE: .parquet (ids, embeddings, images, metadata) or .npz (ids, embeddings)."""
    click.echo(f"wrote {_open(catalogue).export(file):,} items to {file}")


@catalogue.command("import")
@click.argument("file", type=INPUT_PATH)
@click.argument("catalogue", type=CATALOGUE_PATH)
@click.option(
    "--run", type=INPUT_PATH, help="The model that made them; default: searched by embeddings and items alone."
)
@click.option("--images", type=INPUT_PATH, help="The folder that images are named in; default: that of FILE.")
@click.option("--replace", is_flag=True, help="In the place of an existing catalogue.")
@click.option("--durable", is_flag=True, help="Every write waits until it would survive a loss of power.")
def import_(file: Path, catalogue: str | Path, run: Path | None, **options: Any) -> None:
    """Make CATALOGUE of ready-made embeddings in FILE.

    FILE is .parquet (a column embedding or vector; where wanted id, image or image_path, and metadata), .npz (arrays
    ids, embeddings), .npy (a row for each item), or a folder as clip-retrieval writes it (img_emb/*.npy, metadata/).
    """
    from itma.retrieval.catalogue import Catalogue

    imported = Catalogue.from_embeddings(file, catalogue, model=run, progress=bars(), **options)
    click.echo(f"imported {len(imported):,} items into {catalogue}")


def _open(path: str | Path) -> Any:
    from itma.retrieval.catalogue import Catalogue

    return Catalogue.open(path, without_model=True)


def _value(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text
