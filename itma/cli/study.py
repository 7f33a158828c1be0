"""Commands that look at a trained model more closely: `itma study`."""

from pathlib import Path
from typing import Any

import click

from itma.cli.options import INPUT_PATH, OUTPUT_PATH, as_json, bars
from itma.cli.options import device as device_option


@click.group()
def study() -> None:
    """Look at a trained model beyond its recall."""


@study.command()
@click.argument("run", type=INPUT_PATH)
@click.option("--conversations", type=click.IntRange(1), default=200, show_default=True, help="How many.")
@click.option("--turns", type=int, default=4, show_default=True, help="Of each conversation, at most; from 2 on.")
@click.option("--root", type=INPUT_PATH, help="The folder of the data, if it was moved.")
@click.option("--split", help="Whose images are searched. Without it, the test's, which training never saw.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Decides all that is random.")
@click.option("--forgetful", is_flag=True, help="Tell the model the last sentence alone.")
@click.option("--out", type=OUTPUT_PATH, help="Gets the results. Without it, a folder conversations-SPLIT in RUN.")
@as_json
@device_option
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
