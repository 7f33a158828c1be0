"""Commands that look at a trained model more closely: `itma explain`, why an image is where it is; `itma study …`."""

from pathlib import Path
from typing import Any

import click

from itma.cli.catalogue import CATALOGUE_PATH
from itma.cli.options import INPUT_PATH, OUTPUT_PATH, as_json, device
from itma.cli.output import bars

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
    help="What covers a region: the image's mean colour, or the image blurred.",
)
@click.option("--steps", type=click.IntRange(1), default=32, help="Of the integrated gradients.")
@click.option("-o", "--out", type=OUTPUT_PATH, help="An image (.png), .json, or .npz with all arrays; see docs.")
@click.option("--run", type=INPUT_PATH, help="Where the run that made CATALOGUE is, if it was moved.")
@device
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
    explanation = explain_query(catalogue_or_model, **options)
    click.echo(str(explanation))
    if out is not None:
        explanation.save(out)
        click.echo(f"written to {out}")


@click.group()
def study() -> None:
    """Look at a trained model beyond its recall."""


@study.command()
@click.argument("run", type=INPUT_PATH)
@click.option("--conversations", type=click.IntRange(1), default=200, help="How many.")
@click.option("--turns", type=int, default=4, help="Of each conversation, at most; from 2 on.")
@click.option("--root", type=INPUT_PATH, help="The folder of the data, if it was moved.")
@click.option("--split", help="Whose images are searched. Without it, the test's, which training never saw.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Decides all that is random.")
@click.option("--forgetful", is_flag=True, help="Tell the model the last sentence alone.")
@click.option("--out", type=OUTPUT_PATH, help="Gets the results. Without it, a folder conversations-SPLIT in RUN.")
@as_json
@device
def conversation(run: Path, as_json: bool, **options: Any) -> None:
    """Let a simulated user talk to the model in RUN: success and rank, turn by turn.

    The user wants one image of the test, sees another, and says one thing that is still wrong, in the sentences of the
    world; the best hit is what it sees next. RUN has to be one on shapes, wardrobe or products, of whose images it is
    known what they show. Writes conversations.md, conversations.json, and conversations.html, which shows the
    conversations that failed.
    """
    from itma.study import study_conversation

    result = study_conversation(run, progress=bars(), **options)
    click.echo(result.study.to_json() if as_json else str(result), nl=not as_json)
    click.echo(f"written to {result.folder}", err=as_json)
