"""The command `itma explain`: why an image is where it is."""

from pathlib import Path
from typing import Any

import click

from itma.cli.catalogue import CATALOGUE_PATH
from itma.cli.options import INPUT_PATH, OUTPUT_PATH
from itma.cli.options import device as device_option

_METHODS = ("attention", "words", "regions", "target", "gradients", "checks", "all")


@click.command()
@click.argument("catalogue_or_model", type=CATALOGUE_PATH, metavar="CATALOGUE|RUN")
@click.option("--image", type=INPUT_PATH, help="The reference image.")
@click.option("--id", help="An item of the catalogue as the reference.")
@click.option("--text", help="The feedback.")
@click.option("--target", metavar="ID|IMAGE", help="What is asked about; default: the catalogue's best hit.")
@click.option(
    "--method",
    "methods",
    type=click.Choice(_METHODS),
    multiple=True,
    help="Repeatable; all: those that apply; default: attention, words, regions, target.",
)
@click.option(
    "--fill",
    type=click.Choice(["mean", "blur"]),
    default="mean",
    show_default=True,
    help="What covers a region: the image's mean colour, or the image blurred.",
)
@click.option("--steps", type=click.IntRange(1), default=32, show_default=True, help="Of the integrated gradients.")
@click.option("-o", "--out", type=OUTPUT_PATH, help="An image (.png), .json, or .npz with all arrays; see docs.")
@click.option("--run", type=INPUT_PATH, help="Where the run that made CATALOGUE is, if it was moved.")
@device_option
def explain(catalogue_or_model: str | Path, out: Path | None, **options: Any) -> None:
    r"""Say why an image is where it is among the answers to a query.

    \b
    attention   what each word, and the whole query, takes from each cell of the reference (models with attention)
    words       leave out each word: what becomes of the target's score and rank?
    regions     cover each region of the reference: the same
    target      cover each region of the target: what does the gallery image contribute?
    gradients   integrated gradients: what each pixel and each word adds to the score
    checks      does each map change with random weights, and does covering in its order do more than chance?

    Attention is a hint: it shows where a model looks. The others change something and look at the answer, and are the
    evidence. Orange speaks for the target, violet against it.

    \b
    itma explain catalogue/ --image a.jpg --text "make red cube blue" -o why.png
    itma explain catalogue/ --id sku-17 --text "with long sleeves" --target sku-40 --method words --method regions
    itma explain runs/2026-01-31_12-00-00_itma --image a.jpg --text "in red" --target b.jpg --method all -o why.json
    """
    from itma.explanations.explaining import explain as explain_query
    from itma.explanations.explanation import ending_of

    if out is not None:
        ending_of(out)  # refused before anything is computed
    made = explain_query(catalogue_or_model, **options)
    click.echo(str(made))
    if out is not None:
        made.save(out)
        click.echo(f"written to {out}")
