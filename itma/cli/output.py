"""What commands print: values, lists, hits, hints, progress bars."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from itma.evaluation.tables import columns
from itma.program import runnable
from itma.records import Hits


def bars() -> bool:
    """Whether progress bars are shown: unless `--quiet` is given."""
    return not click.get_current_context().find_root().params["quiet"]


def echo_json(value: Any) -> None:
    """Print a value as JSON; dates and paths as texts."""
    click.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def echo_each(values: Sequence[Any], as_json: bool) -> None:
    """Print some dataclasses, a line each or as JSON."""
    if as_json:
        echo_json([asdict(value) for value in values])
    else:
        click.echo("".join(f"{value}\n" for value in values), nl=False)


def echo_hint(text: str) -> None:
    """Print a text that names commands, so that they can be typed here as they stand there."""
    root = click.get_current_context().find_root().command
    click.echo(runnable(text, root.commands if isinstance(root, click.Group) else ()))


def echo_hits(hits: Hits, *, plain: bool) -> None:
    """Print hits: a line each with rank, score, id, path and metadata; or all as JSON. Notes are in the log as well."""
    if plain:
        echo_json({"hits": [asdict(hit) for hit in hits], "notes": hits.notes})
        return
    lines = columns([(f"{hit.rank:4d}", f"{hit.score:+.4f}", hit.id, hit.path or "(no image)") for hit in hits])
    for hit, line in zip(hits, lines, strict=True):
        click.echo(line + "".join(f"  {name}={value}" for name, value in hit.fields.items()))
    if not hits:
        click.echo("nothing found", err=True)
