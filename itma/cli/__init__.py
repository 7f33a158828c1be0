"""The command line: each command is one call of a public function, whose errors become one clear line."""

import atexit
import gc
import io
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from itma.allocation import choose_threads, reuse_memory
from itma.cli.catalogue import CATALOGUE_PATH, RUNTIMES, adapt, catalogue, reindex
from itma.cli.changes import setting_changes, setting_file, skip_unreadable, take_settings
from itma.cli.explain import explain, study
from itma.cli.options import INPUT_PATH, OUTPUT_PATH, as_json, device, options_from, take_request
from itma.cli.output import bars, echo_each, echo_hint, echo_hits, echo_json
from itma.cli.runs import benchmark, compare, runs
from itma.cli.serve import serve
from itma.errors import ItmaError
from itma.program import runnable
from itma.registry import import_file
from itma.retrieval.request import IndexOptions, SearchRequest

_EPILOG = """\b
With images of your own:
  itma index photos FOLDER catalogue            a model for clothes, shoes and bags, which comes with itma
  itma search catalogue --image a.jpg --text "the same in navy"
  itma serve catalogue                          a search page at http://127.0.0.1:8000/

\b
A first walk, with nothing to download:
  itma demo                                     a shop of drawn clothes, ready to search
  itma demo --train                             the whole path, training included: about five minutes
  itma train shapes --model itma                trains, leaves runs/<time>_itma
  itma evaluate runs/<time>_itma                recall on images never trained on
  itma index runs/<time>_itma PHOTOS catalogue/ embeds a folder of images
  itma search catalogue/ --image a.jpg --text "make red cube blue"
"""


class _Formatter(logging.Formatter):
    """Lines of the log, whose commands can be typed here as they stand there."""

    def format(self, record: logging.LogRecord) -> str:
        return runnable(super().format(record), cli.commands)


_ANYWHERE = ("--quiet", "--traceback")
"""Options that may stand behind the command's name as well."""


class _Commands(click.Group):
    """Turns itma's own errors into a line on standard error and exit status 1; anything else is a bug of itma."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        first = [word for word in args[:end] if word in _ANYWHERE]
        rest = [word for word in args[:end] if word not in _ANYWHERE]
        return super().parse_args(context, [*first, *rest, *args[end:]])

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except click.UsageError as error:
            if "unexpected extra argument" not in error.message:
                raise
            takes_text = error.ctx is not None and any(each.name == "text" for each in error.ctx.command.params)
            advice = "; a sentence stands behind --text" if takes_text else ""
            raise click.UsageError(f"{error.message}. Names with blanks stand in quotes{advice}", error.ctx) from None
        except ItmaError as error:
            if context.params.get("traceback"):
                raise
            click.secho(f"error: {runnable(str(error), self.commands)}", fg="red", err=True)
            from itma.training.loop import TrainingInterrupted

            raise SystemExit(130 if isinstance(error, TrainingInterrupted) else 1) from None
        except KeyboardInterrupt:  # click would say "Aborted!", also where a server stopped as it was asked to
            click.echo("stopped", err=True)
            raise SystemExit(130) from None

    def add_command(self, command: click.Command, name: str | None = None) -> None:
        for one in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
            # click's mark for lines to leave alone; docstrings are raw
            one.help = (one.help or "").replace(r"\b", "\b")
        super().add_command(command, name)

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)  # the order of the stages, not of the alphabet


@click.group(
    cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.version_option(package_name="itma")
@click.option("--traceback", is_flag=True, help="Show where in the code an error came from; in any place.")
@click.option("--quiet", is_flag=True, help="No progress bars; in any place.")
@click.option(
    "--import",
    "imports",
    multiple=True,
    metavar="FILE.py|MODULE",
    envvar="ITMA_IMPORT",
    help="Run this file first, which adds parts of your own; repeatable.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    envvar="ITMA_THREADS",
    show_envvar=True,
    help="Threads that compute. Without it: one for a search, otherwise all cores that the process may use.",
)
@click.pass_context
def cli(context: click.Context, traceback: bool, quiet: bool, imports: tuple[str, ...], threads: int | None) -> None:
    """Find images from an image and a sentence: "like this one, but red and with long sleeves".

    A model is trained on triplets (a reference image, a feedback sentence, the target image), measured on a
    gallery it has never seen, and then searches a catalogue of your own images. Each command hands on what the
    next one takes.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    reuse_memory()
    if "torch" not in sys.modules:  # a new process
        choose_threads(threads, queries=1 if context.invoked_subcommand == "search" else None)
        # modules being loaded make no garbage; looking for it is a tenth of the start
        gc.set_threshold(100_000, 20, 20)
        atexit.register(gc.freeze)  # nor are they searched at the end, which was a fifth of a search
    for source in imports:
        import_file(source)


_which = click.option("--which", default="best", help="best or last checkpoint.")
_runtime = click.option("--runtime", type=RUNTIMES, default="torch", help="What computes the embeddings; see docs.")


@cli.command()
@click.option("--out", type=OUTPUT_PATH, help="A new folder; default: demo, or demo-2, … if taken.")
@click.option("--world", type=click.Choice(["wardrobe", "shapes"]), help="Without it, wardrobe; with --train, shapes.")
@click.option("--train", is_flag=True, help="Train four models first, in some minutes, instead of opening one.")
@click.option("--size", default="demo", help="Size of the world.")
@click.option("--steps", type=click.IntRange(1), help="With --train: steps of each model; default: the preset's.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Decides everything random.")
@device
def demo(out: Path | None, **options: Any) -> None:
    """A shop to search in less than a minute: nothing to download.

    Draws 1,000 products of the wardrobe world, indexes them with the model that comes with itma, holds a conversation
    of three steps, measures the model on products it has never seen, and writes report.html.

    With --train: generates the shapes world, trains ITMA and three models to compare it with, evaluates them on scenes
    never seen, indexes the gallery and asks it three questions; about five minutes on two cores.
    """
    from itma.demo import demo as run_demo

    click.echo(str(run_demo(out, progress=bars(), **options)))


@cli.command()
@click.argument("world")
@click.argument("folder", type=OUTPUT_PATH)
@click.option(
    "--size",
    default="demo",
    help="shapes: tiny, demo, hour or css; wardrobe: tiny, demo, hour, look-alikes, shop or full.",
)
@click.option("--seed", type=click.IntRange(0), default=0)
@click.option("--layout", help="As a public data set: css of shapes, fashioniq or fashion200k of wardrobe.")
@device
def generate(world: str, folder: Path, layout: str | None, **options: Any) -> None:
    r"""Write a generated world to FOLDER, so that it is rendered only once.

    WORLD is shapes or wardrobe. Train on it with: itma train WORLD --root FOLDER. With --layout it stands there as
    that data set was published, annotation file included, so that its loader and other people's code read it.

    \b
    itma generate shapes scenes --layout css
    itma train css --root scenes
    """
    from itma import api

    api.generate(world, folder, layout=layout, progress=bars(), **options)
    echo_hint(f"written to {folder}; train on it with: itma train {layout or world} --root {folder}")


@cli.command()
@click.argument("table", type=INPUT_PATH)
@click.argument("folder", type=OUTPUT_PATH)
@click.option("--templates", type=INPUT_PATH, help="Sentences; default: FOLDER/templates.toml.")
@click.option(
    "--attributes",
    metavar="COLUMN",
    multiple=True,
    help="Use this column; repeatable. Without it, all that look like attributes.",
)
@click.option("--within", metavar="COLUMN", help="Pair only items that agree in this column, e.g. category.")
@click.option("--per-reference", type=click.IntRange(1), default=4)
@click.option("--test-share", "split", type=float, default=0.1, help="Share of the items for testing.")
@click.option("--seed", type=click.IntRange(0), default=0)
def triplets(table: Path, folder: Path, attributes: tuple[str, ...], **options: Any) -> None:
    r"""Make triplets from a TABLE of attributes (CSV: file, colour, sleeve, …) into FOLDER.

    Items that differ in one or two attributes become pairs, and sentences say how: "blue instead of red".

    \b
    itma triplets items.csv shop
    itma train own --root shop
    """
    from itma.data.datasets.attributes import make

    click.echo(str(make(table, folder, attributes=list(attributes) or None, **options)))
    echo_hint(f"train on them with: itma train own --root {folder}")


@cli.command()
@click.argument("data", default="shapes")
@click.option("--root", type=INPUT_PATH, help="The folder of DATA; generated worlds need none.")
@skip_unreadable
@click.option("--model", help="See: itma models; default: the preset's, mostly itma.")
@click.option("--preset", help="See: itma presets; default: the one meant for DATA.")
@click.option("--steps", type=click.IntRange(1), help="Short for --set train.steps=N.")
@click.option("--seed", type=click.IntRange(0), help="Short for --set train.seed=N; decides everything random.")
@click.option("--out", type=OUTPUT_PATH, help="The run folder; default: runs/<time>_<model>.")
@click.option("--start", type=INPUT_PATH, metavar="RUN", help="Go on from another run's model, or from CLIP or SigLIP.")
@click.option("--comment", default="", show_default=False, help="Added to the run folder's name.")
@click.option("--resume", type=INPUT_PATH, metavar="RUN", help="Go on with an interrupted run.")
@setting_file
@setting_changes
@device
@click.pass_context
def train(context: click.Context, /, data: str, resume: Path | None, device: str, **options: Any) -> None:
    r"""Train a model on DATA and leave a run folder.

    DATA is shapes or wardrobe (generated), birds_to_words, cirr, css, fashion200k, fashioniq, lasco, mitstates,
    multiturn, own, shoes, spot_the_diff or products (a table with a column for each attribute, and an image for each
    row); see docs/datasets.md and docs/own-data.md.

    \b
    itma train shapes --model tirg --steps 300
    itma train fashioniq --root /data/fashioniq --preset itma-fashioniq
    itma train shapes --preset hour --set train.learning_rate=1e-3 --set model.options.blocks=3
    itma train shapes --config mine.toml
    itma train own --root shop --start runs/imported
    itma train own --root shop --start openai/clip-vit-base-patch32 --model combiner
    itma train --resume runs/2026-01-31_12-00-00_itma
    itma train --resume runs/2026-01-31_12-00-00_itma --set train.steps=2000
    torchrun --nproc-per-node 2 -m itma train shapes

    Ctrl-C saves and says how to go on. Watch it with: tensorboard --logdir runs
    """
    from itma import api

    changes = take_settings(options)
    if resume is not None:
        fixed = [
            data if isinstance(parameter, click.Argument) else parameter.opts[0]
            for parameter in context.command.params
            if parameter.name in ("data", "model", "preset", "seed", "out", "start", "comment")
            and context.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE
        ]
        if fixed:
            raise click.UsageError(
                f"--resume goes on with the run's own data, model and folder; leave out {', '.join(fixed)}. What may "
                "change: --steps, --root, --skip-unreadable, --config, --set"
            )
        folder = api.resume(resume, changes=changes, device=device, progress=bars())
    else:
        folder = api.train(data, changes=changes, device=device, progress=bars(), **options)
    echo_hint(f"trained: {folder}\nmeasure it with: itma evaluate {folder}")


def _image_size(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().replace("×", "x").partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise click.BadParameter(f"{text!r} is no size; expected WIDTHxHEIGHT in pixels, e.g. 96x64")
    return int(width), int(height)


@cli.command("import")
@click.argument("checkpoint", type=INPUT_PATH)
@click.option("--words", type=INPUT_PATH, help="Its vocabulary: a list of words, or a data set's folder.")
@click.option("--out", type=OUTPUT_PATH, required=True, help="The run folder; must not exist yet.")
@click.option(
    "--data",
    metavar="NAME",
    help="css, fashion200k, fashioniq, mitstates, own, products; default: as the checkpoint says.",
)
@click.option(
    "--order",
    type=click.Choice(["sorted", "appearance"]),
    help="How words of a data set were numbered; default: sorted for TIRG's code, by appearance for MAAF's.",
)
@click.option(
    "--size",
    metavar="WIDTHxHEIGHT",
    callback=_image_size,
    help="Of the images it was trained on; by default 180x120 for CSS by TIRG's code, else 224x224.",
)
def import_(checkpoint: Path, out: Path, **options: Any) -> None:
    r"""Turn a CHECKPOINT of TIRG's, MAAF's or ITMA's published code into a run folder.

    Such a file lacks its vocabulary. Give it as a text file with one word a line, in the order of their ids, or give
    the folder of the data set that the model was trained on. The file is opened by an allow-list: nothing in it is run.

    \b
    itma import latest_checkpoint.pth --words /data/fashioniq --out runs/imported
    itma evaluate runs/imported fashioniq --root /data/fashioniq
    """
    from itma.interop.imports import import_published

    echo_hint(str(import_published(checkpoint, out, **options)))
    echo_hint(f"search your own images with it: itma index {out} IMAGES CATALOGUE")


@cli.command()
@click.argument("run", type=INPUT_PATH)
@click.argument("data", required=False)
@click.option("--root", type=INPUT_PATH, help="The folder of DATA, if it was moved.")
@skip_unreadable
@click.option("--split", help="Without it, the one that DATA is measured on (test; val of FashionIQ).")
@click.option("--protocol", "protocols", multiple=True, help="Repeatable: all from one embedding pass. See docs.")
@_which
@click.option("--out", type=OUTPUT_PATH, help="Folder for report.json and ranks.csv.")
@setting_changes
@_runtime
@device
def evaluate(run: Path, data: str | None, protocols: tuple[str, ...], **options: Any) -> None:
    r"""Measure the model in RUN on DATA; default: on the data it was trained with.

    RUN may also be an .npz file of embeddings that any model made: queries (one for each row of DATA's split), images
    (one for each image) and, where wanted, their names. DATA's images need not be there then; see docs/datasets.md.

    \b
    itma evaluate runs/mine cirr --root /data/cirr
    itma evaluate mine.npz circo --root /data/circo

    Prints recall@1/5/10/50 with confidence intervals, median rank, mean reciprocal rank and ties, what else the
    protocol asks for (recall within subsets of CIRR, mAP of CIRCO), and the protocol that decides them; writes
    report.json and a file of every query's rank.
    """
    from itma import api

    changes = {name.removeprefix("data."): value for name, value in take_settings(options).items()}
    measured = api.evaluate_by(protocols, run, data, changes=changes, progress=bars(), **options)
    click.echo(str(measured))
    if measured.folder is not None:
        click.echo(f"written to {measured.folder}{', in the place of earlier results' if measured.replaced else ''}")


for command in (runs, compare, benchmark, study):
    cli.add_command(command)


@cli.command()
@click.argument("run", type=INPUT_PATH)
@click.argument("out", type=OUTPUT_PATH)
@click.argument("data", required=False)
@click.option("--root", type=INPUT_PATH, help="The folder of DATA; default: where it was in training.")
@_which
@skip_unreadable
@device
def submit(run: Path, out: Path, data: str | None, **options: Any) -> None:
    r"""Answer the test queries of DATA, whose targets are not published, and write the files of its server into OUT.

    DATA is fashioniq, cirr or circo; without it, the data that RUN was trained on, or fashioniq. RUN may also be an
    .npz file of embeddings that any model made, as for itma evaluate.

    \b
    itma submit runs/mine answers cirr --root /data/cirr       # recall.json, recall_subset.json
    itma submit mine.npz answers cirr --root /data/cirr        # the same from embeddings
    itma submit runs/mine answers circo --root /data/circo     # circo.json
    """
    from itma import api

    for path in api.submit(run, out, data, progress=bars(), **options):
        click.echo(str(path))


@cli.command()
@click.argument("run", type=INPUT_PATH)
@click.argument("source", type=INPUT_PATH)
@click.argument("catalogue", type=CATALOGUE_PATH)
@options_from(IndexOptions)
@as_json
@device
def index(run: Path, source: Path, catalogue: str | Path, as_json: bool, **options: Any) -> None:
    r"""Embed all images of SOURCE with the model in RUN, into CATALOGUE.

    SOURCE is a folder of images, or a CSV, JSON Lines or Parquet file with a row for each item; its other columns
    become metadata, to be asked for with itma search --where. Where CATALOGUE exists, it is brought up to date: only
    new and changed images are embedded. An indexing may be interrupted; the same command does the rest. Images
    that cannot be read are skipped and listed at the end.

    \b
    itma index runs/mine photos catalogue/
    itma index openai/clip-vit-base-patch32 photos catalogue/
    itma index runs/mine items.csv catalogue/ --id sku --image photo --prune
    """
    from itma import api

    index = api.index(run, source, catalogue, options=take_request(IndexOptions, options), **options, progress=bars())
    outcome, columns = index.outcome, index.info().columns
    assert outcome is not None  # an indexing leaves one
    if as_json:
        echo_json({"items": len(index), **asdict(outcome), "columns": dict(columns)})
        return
    click.echo(f"indexed {len(index):,} images into {catalogue}: {outcome}")
    if columns:
        click.echo("metadata: " + ", ".join(f"{name} ({kind})" for name, kind in columns.items()))
    for note in outcome.notes():
        click.echo(note)
    if index.skipped:
        click.echo(f"skipped {len(index.skipped):,} that could not be read (all in {catalogue}/skipped.csv):", err=True)
        for skipped in index.skipped[:10]:
            click.echo(f"  {skipped}", err=True)


@cli.command()
@click.argument("catalogue", type=CATALOGUE_PATH)
@options_from(SearchRequest)
@click.option("--version", type=int, help="An earlier state; see: itma catalogue versions.")
@click.option("--run", type=INPUT_PATH, help="Where the run is now, if it was moved.")
@click.option("--runtime", type=RUNTIMES, help="Without it, what computed the catalogue's embeddings.")
@as_json
@click.option("-o", "--out", type=OUTPUT_PATH, help="An image of the query and its hits (.png, .jpg).")
@device
def search(catalogue: str | Path, as_json: bool, out: Path | None, **options: Any) -> None:
    r"""Search CATALOGUE by an image, a sentence, or both; best first.

    \b
    itma search catalogue/ --image a.jpg --text "make red cube blue" -k 5
    itma search catalogue/ --id sku-17 --text "with long sleeves" --where "price < 50" --fields colour --fields price
    itma search catalogue/ --id sku-23 --earlier "with long sleeves" --text "and now in navy" -o sheet.png
    itma search catalogue/ --text "red dress" --where '{"size": ["S", "M"]}' --distinct product --unlike sku-3
    """
    from itma import api

    request = take_request(SearchRequest, options)
    if out is not None:
        from itma.retrieval.sheet import check_ending, save_sheet

        check_ending(out)
    hits = api.search(catalogue, request=request, **options)
    echo_hits(hits, plain=as_json)
    if out is not None:
        from itma.retrieval.catalogue import Catalogue

        reference = request.image
        if request.id is not None:
            reference = Catalogue.open(catalogue, without_model=True).get(request.id).image
        click.echo(f"written to {save_sheet(out, request, hits, reference)}", err=as_json)


for command in (explain, serve, reindex, adapt, catalogue):
    cli.add_command(command)


_license = click.option("--license", metavar="NAME", help="What is allowed with the weights, e.g. apache-2.0.")


@cli.command()
@click.argument("run", type=INPUT_PATH)
@_which
@click.option("--repo", metavar="ORG/NAME", help="Where the model is on the hub, for the card's examples.")
@_license
@click.option("--out", type=OUTPUT_PATH, help="A file to write it to, instead of the screen.")
def card(run: Path, which: str, repo: str | None, license: str | None, out: Path | None) -> None:
    """Write the model card of RUN: what the model is, how it was made and measured, how to use it.

    Its numbers are those of the run's own reports (itma evaluate RUN writes them); without one, it says so.
    """
    from itma.hub import sharing

    text = sharing.card(run, which=which, repo_id=repo, license=license, out=out)
    click.echo(text if out is None else f"written to {out}", nl=out is not None)


@cli.command()
@click.argument("run", type=INPUT_PATH)
@click.argument("folder", type=OUTPUT_PATH)
@click.option("--half", is_flag=True, help="Weights as float16: half the size; measure it again before you quote it.")
@_which
@click.option("--average", type=INPUT_PATH, metavar="MODEL", help="Average its weights with those of its start.")
@click.option("--share", type=float, default=0.5, help="Of --average MODEL, from 0 to 1.")
@_license
@setting_changes
def pack(run: Path, folder: Path, **options: Any) -> None:
    r"""Write the model of RUN into FOLDER to hand on: weights, card and settings, nothing that only training needs.

    \b
    itma pack runs/mine model --half
    itma evaluate model
    itma card model --out model/README.md
    itma pack runs/adapted model --average photos
    itma pack openai/clip-vit-base-patch32 clip --set model.options.text_weight=0.7
    """
    from itma.hub import sharing

    sharing.pack(run, folder, **options)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    click.echo(f"{folder}: {size / 1e6:.1f} MB; every command takes it as RUN")


@cli.command()
@click.argument("run", type=INPUT_PATH)
@click.argument("name", metavar="ORG/NAME")
@_which
@click.option("--private/--public", default=None, help="Who sees a new repository; default: as ORG has it.")
@click.option("--revision", help="A branch, made if need be; default: main.")
@click.option("--message", "commit_message", help="Of the commit.")
@click.option("--create-pr", is_flag=True, help="Open a pull request instead.")
@_license
def push(run: Path, name: str, which: str, **options: Any) -> None:
    r"""Upload the model in RUN to the Hugging Face Hub, with its card and the reports that it is written from.

    Log in first, with hf auth login or HF_TOKEN. See docs/hub.md for what is uploaded.

    \b
    itma push runs/2026-01-31_12-00-00_itma ORG/NAME --private --license apache-2.0
    """
    from itma.hub import sharing
    from itma.models.retriever import Retriever

    model = Retriever.load(run, which=which)
    click.echo(f"pushed: {sharing.push_to_hub(model, name, run=run, progress=bars(), **options)}")


@cli.command()
@click.argument("name", metavar="ORG/NAME")
@click.argument("folder", type=OUTPUT_PATH)
@click.option("--revision", help="A branch, tag or commit; default: main.")
@click.option("--offline", is_flag=True, help="Take it from the hub's cache on this machine.")
def pull(name: str, folder: Path, revision: str | None, offline: bool) -> None:
    r"""Download a model from the Hugging Face Hub into FOLDER, which every command takes as RUN.

    \b
    itma pull ORG/NAME model
    itma index model PHOTOS catalogue
    """
    from itma.hub import sharing

    sharing.pull(name, folder, revision=revision, local_files_only=offline, progress=bars())
    click.echo(f"pulled: {folder}\nits card: {folder / 'README.md'}")


@cli.command()
@click.argument("run", type=INPUT_PATH)
@click.option("--out", type=OUTPUT_PATH, help="A new folder; default: the run's own, for --runtime onnx.")
@_which
def export(run: Path, out: Path | None, which: str) -> None:
    """Write the model in RUN as ONNX graphs, for any number of images and words, checked against torch.

    maps.onnx makes feature maps of images; image.onnx embeds those, query.onnx those with a sentence, words.onnx a
    sentence alone. A folder written with --out can be given as RUN to index, search and evaluate, with --runtime onnx.
    """
    from itma.export.runtimes import export_run

    runtime = export_run(run, out, which=which, progress=bars())
    largest = runtime.description.difference
    click.echo(f"exported to {runtime.folder}: {', '.join(runtime.description.graphs)}")
    click.echo(f"embeddings differ from torch's by {largest:.1g} at most; use them with: --runtime onnx")


@cli.command()
@click.argument("run", type=INPUT_PATH)
@click.argument("images", type=INPUT_PATH)
@click.option("--out", type=OUTPUT_PATH, help="A new folder; default: the run's own, for --runtime onnx-int8.")
@click.option("--samples", type=int, default=300, help="Images for the calibration.")
@click.option("--text", type=INPUT_PATH, help="Sentences, one on each line; default: the training's.")
@_which
@click.option(
    "--recall/--no-recall",
    default=True,
    show_default=False,
    help="Measure recall on the run's own data too, if it is there.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Decides which images are taken.")
def quantise(run: Path, images: Path, out: Path | None, **options: Any) -> None:
    """Write the model in RUN as int8 graphs, calibrated on IMAGES, and print what is lost.

    IMAGES is a folder of images like those to be searched, or a catalogue, whose images are taken. Search with
    the graphs after indexing with them: --runtime onnx-int8. A folder written with --out can be given as RUN then.
    """
    from itma.interop import exchange

    click.echo(str(exchange.quantise(run, images, out, progress=bars(), **options)))


@cli.command()
@click.argument("which", nargs=-1)
@click.option("--folder", type=OUTPUT_PATH, help="Without it, $ITMA_CACHE, or the user's cache folder.")
@click.option("--remove", is_flag=True, help="Remove them; they are made again when they are needed.")
@as_json
def cache(which: tuple[str, ...], folder: Path | None, remove: bool, as_json: bool) -> None:
    r"""List the caches of resized images that training and evaluation keep, with their sizes, or remove them.

    WHICH are folders of data sets, or names of caches as they are listed; without any, it is all of them.

    \b
    itma cache
    itma cache /data/fashioniq --remove
    """
    from itma.data import image_cache as images

    caches = images.caches(folder, which)
    if remove:
        caches = images.remove(folder, names=[each.name for each in caches])
    echo_each(caches, as_json)
    if not as_json:
        what = "removed" if remove else "in all"
        click.echo(f"{what}: {images.list_caches(caches)} in {folder or images.default_folder()}")


@cli.command()
@click.argument("name")
@click.option("--root", type=INPUT_PATH, required=True, help="The folder of the data set.")
@click.option("--no-images", is_flag=True, help="Do not open the images, only see which are missing: seconds.")
@click.option("--json", "file", type=OUTPUT_PATH, metavar="FILE", help="Write all findings there too.")
@click.pass_context
def doctor(context: click.Context, name: str, root: Path, no_images: bool, file: Path | None) -> None:
    """Say what is wrong with a data set on disk, and what will be left out and why.

    NAME is birds_to_words, circo, cirr, css, fashion200k, fashioniq, genecis, lasco, mitstates, multiturn, own,
    products, shoes or spot_the_diff; see docs/datasets.md.

    Counts beside the published sizes; missing, damaged, empty and identical images; odd captions; rows and images
    in more than one split; queries that can be asked. The exit status is 0 if there is no problem, 1 if there is one.
    """
    from itma.data.validation.doctor import examine
    from itma.io import write_text

    diagnosis = examine(name, root, images=not no_images, progress=bars())
    if file is not None:
        write_text(file, diagnosis.to_json())
    echo_hint(str(diagnosis))
    context.exit(0 if diagnosis.healthy else 1)


@cli.command()
@as_json
def models(as_json: bool) -> None:
    """List the composers that a model can be trained with."""
    from itma.models.composers import REGISTRY
    from itma.registry import summary

    summaries = {name: summary(part) for name, part in sorted(REGISTRY.items())}
    _echo_pairs([*summaries.items()], "about", as_json)


@cli.command()
@as_json
def plugins(as_json: bool) -> None:
    """List the parts that are not itma's own: those of installed packages, and those of --import.

    Of installed packages, what they say that they have; none of it is imported before it is asked for by name.
    """
    from itma import registry

    origins: list[tuple[str, str]] = []
    for entry in registry.find_installed():
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "no package"
        origins.append((entry.name, f"{package} ({entry.value})"))
    for kind, parts in registry.REGISTRIES.items():
        origins += [
            (name, f"{kind} of {origin.package or origin.file or origin.module}, in use")
            for name in parts
            if (origin := parts.origin(name)) is not None
        ]
    _echo_pairs(origins, "from", as_json)


@cli.command()
@as_json
def presets(as_json: bool) -> None:
    """List the named recipes."""
    from itma.training.presets import PRESETS

    _echo_pairs([(name, preset.about) for name, preset in PRESETS.items()], "about", as_json)


def _echo_pairs(pairs: list[tuple[str, str]], what: str, as_json: bool) -> None:
    """Names and what there is to say of each, as a table or as JSON."""
    if as_json:
        echo_json([{"name": name, what: text} for name, text in pairs])
    elif pairs:
        from itma.evaluation.tables import columns

        click.echo("\n".join(columns(pairs)))


@cli.command()
@click.argument("name", required=False)
@click.option("--data", default="shapes", help="The data set to learn from.")
@click.option("--preset", help="Without it, the one meant for the data set.")
@click.option("--model", help="Without it, the preset's.")
@setting_file
@setting_changes
@as_json
def settings(name: str | None, as_json: bool, **options: Any) -> None:
    r"""Show the settings that --set and --config can change: value, meaning, choices, default.

    NAME is one of them, a group, or the last part of a name; without it, all are shown. Shown are those that apply:
    of the loss and the composer their own options, and of the rest what means something beside the others.

    \b
    itma settings train.loss
    itma settings model.options --model tirg
    itma settings learning_rate --preset itma-css
    itma settings --data fashioniq --json
    """
    from itma import api

    echo_each(api.explain_settings(name, changes=take_settings(options), **options), as_json)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):  # a file name may hold bytes that are no text; show them, do not fail
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli()


if __name__ == "__main__":
    main()
