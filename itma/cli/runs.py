"""Commands about several runs: `itma runs`, `itma compare`, `itma benchmark`."""

from pathlib import Path
from typing import Any

import click

from itma.cli.changes import setting_changes, setting_file, skip_unreadable, take_settings
from itma.cli.options import INPUT_PATH, OUTPUT_PATH, as_json, device
from itma.cli.output import bars, echo_json


@click.command()
@click.argument("folder", type=INPUT_PATH, default="runs")
@as_json
def runs(folder: Path, as_json: bool) -> None:
    r"""List the runs in and below FOLDER: what they learned, how far they are, and what was measured on them.

    Shown are the composer, the data, the steps done, the checkpoint that counts with the figure that chose it, and the
    recalls of the run's own reports. A report that measured other weights is only counted.

    \b
    itma runs
    itma runs experiments --json
    """
    from itma.evaluation.runs import summarise_below, table_of

    summaries = summarise_below(folder)
    if as_json:
        echo_json([run.row() for run in summaries])
    elif summaries:
        click.echo(str(table_of(summaries)))
    else:
        click.echo(f"no runs in {folder}; itma train makes one", err=True)


@click.command()
@click.argument("runs", type=INPUT_PATH, nargs=-1, required=True, metavar="RUN...")
@as_json
@click.option("--out", type=OUTPUT_PATH, metavar="FILE.md", help="Write it there too, as Markdown.")
def compare(runs: tuple[Path, ...], as_json: bool, out: Path | None) -> None:
    r"""Put runs side by side: their recalls, and the settings in which they differ.

    Runs that differ in the seed alone count as one model: mean ± standard deviation, with the 95 % interval of the
    mean. The numbers are those of the runs' reports (itma evaluate RUN); reports by different protocols, or on
    other queries, never share a table. To train what is to be compared, see itma benchmark.

    \b
    itma compare runs/itma-0 runs/itma-1 runs/tirg-0 runs/tirg-1
    itma compare runs/* --out comparison.md
    """
    from itma.evaluation.comparison import compare as compare_runs
    from itma.io import write_text

    result = compare_runs(runs)
    click.echo(result.to_json() if as_json else str(result), nl=not as_json)
    if out is not None:
        write_text(out, result.markdown())
        click.echo(f"written to {out}", err=as_json)


@click.command()
@click.argument("data", default="shapes")
@click.option(
    "--models", multiple=True, metavar="NAME[,NAME]", help="Composers; repeatable. Without it, all that there are."
)
@click.option("--seeds", type=click.IntRange(1), default=3, help="Runs of each model: seeds 0, 1, …")
@click.option("--out", type=OUTPUT_PATH, required=True, help="Gets a folder for each run, comparison.md, .json, .html.")
@click.option("--root", type=INPUT_PATH, help="The folder of DATA; generated worlds need none.")
@skip_unreadable
@click.option("--preset", help="The recipe of all. Without it, the one meant for DATA.")
@click.option("--steps", type=click.IntRange(1), help="Short for --set train.steps=N.")
@setting_file
@setting_changes
@as_json
@device
def benchmark(data: str, models: tuple[str, ...], out: Path, as_json: bool, **options: Any) -> None:
    r"""Train several models on DATA at equal budget, measure them, and write one table with intervals, curves and cost.

    All runs have one recipe, and differ in the composer and the seed alone. What is finished in the folder is not
    trained again, so the command can be stopped and given again, also with more models or seeds.

    \b
    itma benchmark shapes --models itma,tirg,add --seeds 3 --out runs/shapes-models
    itma benchmark own --root shop --models tirg --models add --steps 2000 --out runs/shop-models
    itma --import my_parts.py benchmark shapes --models mine,tirg --out runs/mine
    """
    from itma.benchmark import benchmark as compare_models

    composers = [name.strip() for names in models for name in names.split(",") if name.strip()] or None
    changes = take_settings(options)
    result = compare_models(data, composers, out, changes=changes, progress=bars(), **options)
    click.echo(result.to_json() if as_json else str(result), nl=not as_json)
    click.echo(f"written to {out}", err=as_json)
