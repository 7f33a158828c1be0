"""The command `itma adapt`: a catalogue's own model, taught by the table of its items."""

import sys
from pathlib import Path
from typing import Any

import click

from itma.cli.catalogue import CATALOGUE_PATH, reindex
from itma.cli.options import (
    INPUT_PATH,
    OUTPUT_PATH,
    bars,
    device,
    echo_hint,
    setting_changes,
    setting_file,
    skip_unreadable,
    take_settings,
)


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
