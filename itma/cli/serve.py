"""The command `itma serve`."""

from pathlib import Path
from typing import Any

import click

from itma.cli.catalogue import CATALOGUE_PATH, RUNTIMES
from itma.cli.options import InputPath


class Millions(click.FloatRange):
    """A number of millions, such as megabytes."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """The number itself."""
        return round(1_000_000 * super().convert(value, parameter, context))


@click.command()
@click.argument("catalogue", type=CATALOGUE_PATH)
@click.option("--host", default="127.0.0.1", help="Where to listen; 0.0.0.0: everywhere.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="0: any that is free.")
@click.option("--workers", type=click.IntRange(1), default=1, help="Processes, each with the model.")
@click.option(
    "--allow-host", "hosts", multiple=True, metavar="NAME", help="A name that requests may call it by; repeatable."
)
@click.option("--run", type=InputPath(), help="Where the run is now, if it was moved.")
@click.option("--runtime", type=RUNTIMES, help="What answers; default: what made the catalogue.")
@click.option("--write", is_flag=True, help="Let who has a key in ITMA_WRITE_KEYS add, replace and delete items.")
@click.option("--uploads", type=click.Path(), help="The folder for images of added items.")
@click.option("--urls", is_flag=True, help="Let references be named by public addresses, which the server fetches.")
@click.option("--explain/--no-explain", default=True, help="Say why an image was found, where it can be said.")
@click.option("--upload-mb", "upload_bytes", type=Millions(0.001), default=20.0, help="Largest image.")
@click.option("--upload-megapixels", "upload_pixels", type=Millions(0.001), default=50.0, help="Likewise.")
@click.option("--batch", type=click.IntRange(1), default=32, help="Queries answered together.")
@click.option("--waiting", type=click.IntRange(1), default=256, help="Queries that may wait.")
@click.option("--seconds", type=click.FloatRange(0.1), default=20.0, help="Time of a request.")
@click.option("--cache-mb", "cache_bytes", type=Millions(0), default=32.0, help="Memory for answers.")
@click.option("--title", metavar="COLUMN", help="What items are called on the page.")
@click.option("--price", metavar="COLUMN", help="Their prices on the page.")
@click.option("--link", metavar="COLUMN", help="Addresses that items lead to from the page.")
@click.option(
    "--currency",
    default="",
    show_default=False,
    help="Stands behind a price, such as €; before it if it ends with a blank.",
)
@click.option("--access-log", is_flag=True, help="Log every request: method, route, status, milliseconds.")
def serve(catalogue: str | Path, **options: Any) -> None:
    r"""Serve CATALOGUE: a search page for people, an HTTP API for programs. Needs the extra serve.

    Only this machine is answered unless --host says otherwise, and nothing is written unless --write does. Keys stand
    in the environment, with commas between them: ITMA_WRITE_KEYS for who may write, ITMA_READ_KEYS where reading is not
    for everybody.

    \b
    itma serve catalogue/
    ITMA_WRITE_KEYS=$(cat keys) itma serve catalogue/ --write --host 0.0.0.0 --allow-host shop.example --workers 2
    """
    from itma.server.config import ServeConfig
    from itma.server.running import serve

    imports = click.get_current_context().find_root().params.get("imports", ())
    config = ServeConfig(str(catalogue), imports=imports, **options)
    serve(config, started=lambda address: click.echo(f"serving {catalogue} at {address} (Ctrl+C stops)", err=True))
