"""Commands that read what runs left behind: `itma runs` and `itma compare`."""

from pathlib import Path

import click

from itma.cli.options import as_json, echo_json

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("folder", type=_PATH, default="runs")
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

    found = summarise_below(folder)
    if as_json:
        echo_json([run.row() for run in found])
    elif found:
        click.echo(str(table_of(found)))
    else:
        click.echo(f"no runs in {folder}; itma train makes one", err=True)


@click.command()
@click.argument("runs", type=_PATH, nargs=-1, required=True, metavar="RUN...")
@as_json
@click.option("--out", type=_PATH, metavar="FILE.md", help="Write it there too, as Markdown.")
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
