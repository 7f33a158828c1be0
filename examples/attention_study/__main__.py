"""`python -m examples.attention_study`: does attention ignore what the feedback wants removed or changed?"""

from pathlib import Path

import click

from examples.attention_study.attention import study_attention
from itma.allocation import reuse_memory
from itma.device import device_named
from itma.errors import ItmaError

_EXAMPLE = """\b
for seed in 0 1 2; do itma train shapes --seed $seed --out runs/softmax-$seed; done
python -m examples.attention_study runs/softmax-0 runs/softmax-1 runs/softmax-2 --out study
"""


@click.command(epilog=_EXAMPLE)
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="RUN...")
@click.option("--out", type=click.Path(path_type=Path), help="A folder for the table, the plots and study.json.")
@click.option("--queries", type=click.IntRange(1), help="So many queries, drawn evenly [default: all of the split].")
@click.option("--split", type=click.Choice(["test", "train"]), default="test", show_default=True)
@click.option("--which", default="best", show_default=True, help="best or last checkpoint.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option("--quiet", is_flag=True, help="No progress bars.")
def main(
    runs: tuple[Path, ...],
    out: Path | None,
    queries: int | None,
    split: str,
    which: str,
    device: str,
    quiet: bool,
) -> None:
    """Does attention ignore what the feedback wants removed or changed?

    For add, remove and change feedback on the shapes world: the share of attention on the thing concerned, against its
    area, against the same thing under other sentences, and against what covering it or taking it out of the image
    does to the answer. See docs/explanations.md.

    Runs that differ in nothing but --seed count as one variant; give three and more of each for intervals.
    """
    reuse_memory()
    try:
        result = study_attention(
            runs, split=split, queries=queries, which=which, device=device_named(device), progress=not quiet
        )
        click.echo(str(result))
        for path in result.write(out) if out is not None else ():
            click.echo(f"written: {path}")
    except ItmaError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
