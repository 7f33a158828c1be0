"""The stages as verbs: generate → train → evaluate → index → search; each hands on what the next one takes.

Every command of the command line is one call of a function here.
"""

import logging
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from itma.config import changed, from_plain, to_plain
from itma.data.images import Preprocess, Source, to_pixels
from itma.data.sources import WORLDS, DataConfig, kept, load, shapes_config, wardrobe_config
from itma.data.tokenizer import typical
from itma.data.triplets import UNKNOWN_TARGET, Split, Task, Triplets, by_label, hold_out
from itma.device import device_named
from itma.errors import ConfigError, DataError, RunError, UnknownNameError
from itma.export.runtime import OnnxRetriever
from itma.export.runtimes import open_model
from itma.models.hub_names import hub_name
from itma.models.provenance import read_provenance, shown
from itma.models.retriever import Retriever, RetrieverConfig, checkpoint_folder, weights_sum
from itma.models.shipped import is_shipped, located
from itma.models.towers import FIRST, Towers, holds_towers, read_towers
from itma.records import Hit, Report
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.filters import Where
from itma.training.config import TrainConfig
from itma.training.presets import OVER_TOWERS, preset_for, preset_named, with_composer
from itma.training.run import RUN, new_run_folder, read_settings, refuse_imported, write_settings

if TYPE_CHECKING:  # what one verb alone needs is imported in it: a search waits for no training code
    from itma.data.datasets.attributes import Made
    from itma.explanations import Explanation
    from itma.training.loop import Look, Seen

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """All settings of a training run; `run.json` holds them."""

    model: RetrieverConfig
    train: TrainConfig
    data: DataConfig


def settings_for(
    data: str = "shapes",
    *,
    model: str | None = None,
    preset: str | None = None,
    changes: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of a preset, with another model or single values changed.

    >>> settings_for(model="tirg", changes={"train.steps": "50"}).train.steps
    50

    Args:
        data: name of the data set.
        model: name of the composer; absent: the preset's.
        preset: name of the recipe; absent: the one that is meant for the data set.
        changes: values by dotted name, e.g. `{"train.learning_rate": "1e-3", "model.options.blocks": "3"}`.

    Raises:
        UnknownNameError, ConfigError: a name that does not exist, or a value that cannot be.
    """
    recipe = preset_named(preset or preset_for(data))
    shape = with_composer(recipe.model, model or recipe.model.composer)
    settings = Settings(shape, recipe.train, DataConfig(data, size=recipe.size))
    return changed(settings, changes or {})


def generate(
    world: str, folder: str | Path, *, size: str = "demo", seed: int = 0, device: str = "auto", progress: bool = False
) -> Path:
    """Write a generated world to disk, so that it is rendered only once.

    Args:
        world: name of the world: `shapes` or `wardrobe`.
        folder: where; must not exist yet.
        size: one of the world's sizes.
        seed: decides scenes, sentences and pictures.

    Returns:
        The folder, for `train(…, changes={"data.root": folder})`.
    """
    from itma.data.synthetic import shapes, wardrobe

    config = DataConfig(world, size=size, seed=seed)
    if world == "shapes":
        shapes.World(shapes_config(config)).write(Path(folder), progress=progress, device=device_named(device))
    elif world == "wardrobe":
        wardrobe.World(wardrobe_config(config)).write(Path(folder), progress=progress)
    else:
        raise UnknownNameError("generated world", world, WORLDS)
    return Path(folder)


def triplets(
    table: str | Path,
    out: str | Path,
    *,
    templates: str | Path | None = None,
    attributes: Sequence[str] | None = None,
    within: str | None = None,
    per_reference: int = 4,
    test_share: float = 0.1,
    seed: int = 0,
) -> "Made":
    """Make triplets from a table of attributes, for `train("own", changes={"data.root": out})`.

    Args:
        table: CSV or JSON Lines, one row for each picture.
        out: the folder for what is made.
        templates: sentence templates; absent: `templates.toml` in `out`, written where there is none.
        attributes: the columns to use; absent: all that look like attributes.
        within: a column in which the items of a pair always agree.
        per_reference: triplets for each reference, at most.
        test_share: the share of the items for testing.
        seed: decides pairs, sentences and split.

    Returns:
        What was made, with counts; see `itma.data.datasets.attributes.make` for what can go wrong.
    """
    from itma.data.datasets.attributes import make

    return make(
        table,
        out,
        templates=templates,
        attributes=attributes,
        within=within,
        per_reference=per_reference,
        split=test_share,
        seed=seed,
    )


def train(
    data: str = "shapes",
    *,
    model: str | None = None,
    preset: str | None = None,
    changes: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    start: str | Path | None = None,
    comment: str = "",
    device: str = "auto",
    triplets: tuple[Triplets, Triplets] | None = None,
    progress: bool = False,
) -> Path:
    """Train a model and leave a run folder.

    Args:
        data: name of the data set.
        model: name of the composer: itma, tirg, …; absent: the preset's.
        preset: named recipe that the settings start from; absent: the one that is meant for the data set.
        changes: single settings by dotted name; see `settings_for`.
        out: the run folder; absent: `runs/<time>_<model><comment>`.
        start: a run whose best checkpoint is gone on from: its model and its words, to which those of the data are
            added, by the recipe of `preset`. Or CLIP or SigLIP, a folder or a name on the hub: over its networks, which
            stay as they are, the composer `model` is trained (absent: combiner) by the recipe `clip`.
        comment: added to the folder's name.
        device: `auto`, `cpu`, `cuda`, …
        triplets: (train, test) where they are in memory already.
        progress: show progress bars.

    Returns:
        The run folder, for `evaluate`, `index` and `Retriever.load`.

    Raises:
        ItmaError: see `settings_for`, `itma.training.loop.train`.
    """
    place = None if start is None else checkpoint_folder(start)
    towers = read_towers(place) if place is not None and holds_towers(place) else None
    beginning: Retriever | None = None
    if towers is not None:
        settings = _over(towers, data, model, preset, changes or {})
        beginning = Retriever.over(towers, settings.model, seed=settings.train.seed)
        torch.nn.init.constant_(beginning.scale, settings.train.start_scale)
    else:
        settings = settings_for(data, model=model, preset=preset, changes=changes)
        beginning = None if place is None else Retriever.load(place)
    if beginning is not None and towers is None:
        own = [name for name in changes or {} if name.startswith("model.")]
        if model is not None or own:
            raise ConfigError(
                f"a run that starts from {str(start)!r} has the model of that run; leave out "
                f"{', '.join(own) or f'the model {model!r}'}"
            )
        settings = replace(settings, model=beginning.config)
    name = f"{settings.model.composer}_{comment}" if comment else settings.model.composer
    folder = new_run_folder(name) if out is None else Path(out)
    if (folder / RUN).exists():
        raise RunError(
            f"{str(folder)!r} holds a run already; go on with it by resuming (itma train --resume {folder}), or choose "
            "another folder"
        )
    started: dict[str, Any] | None = None
    if start is not None:
        started = {"sha256": weights_sum(start)}
        if towers is not None:
            started["name"] = shown(str(start))
        else:
            started["seconds"] = read_provenance(start, started["sha256"]).seconds
    return _learn(settings, folder, device, triplets, beginning=beginning, started=started, progress=progress)


def _over(towers: Towers, data: str, model: str | None, preset: str | None, changes: Mapping[str, str]) -> Settings:
    """The settings of a model that is trained over towers, which stay as they are unless the settings say otherwise."""
    recipe = preset_named(preset or OVER_TOWERS)
    frozen = replace(recipe.train, frozen=("trunk", "language.network"))
    settings = Settings(
        RetrieverConfig(model or FIRST, **towers.shape),
        recipe.train if preset else frozen,
        DataConfig(data, size=(recipe if preset else preset_named(preset_for(data))).size),
    )
    settings = changed(settings, changes)
    named = [name for name in changes if name in ("model.trunk.name", "model.trunk.weights", "model.language.name")]
    if named:
        raise ConfigError(f"a run that starts from {towers.folder.name!r} has its networks; leave out {named[0]}")
    return settings


def resume(
    folder: str | Path,
    *,
    device: str = "auto",
    triplets: tuple[Triplets, Triplets] | None = None,
    progress: bool = False,
) -> Path:
    """Go on with an interrupted run; the end result is that of an uninterrupted one.

    Raises:
        RunError: the folder is no run, or something in it is missing or damaged.
    """
    settings = read_run(folder)
    refuse_imported(folder)
    model = Retriever.load(folder, which="last")  # what pretrained parts came from may be gone
    return _learn(settings, Path(folder), device, triplets, beginning=model, resume=True, progress=progress)


def read_run(folder: str | Path) -> Settings:
    """The settings a run was made with.

    Raises:
        RunError: the folder is no run, or its settings are damaged.
    """
    plain = read_settings(folder)
    if "data" not in plain and "started from" in plain.get("made with", {}):
        raise RunError(f"{str(folder)!r} was trained on no data set of itma; name the data")
    try:
        return from_plain(Settings, {name: plain[name] for name in ("model", "train", "data")})
    except (KeyError, ValueError) as error:
        raise RunError(f"{str(Path(folder) / RUN)!r} is damaged: {error}") from error


def _learn(
    settings: Settings,
    folder: Path,
    device: str,
    triplets: tuple[Triplets, Triplets] | None,
    *,
    beginning: Retriever | None,
    started: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: bool,
) -> Path:
    from itma.training.loop import train as learn

    place = device_named(device)
    bars = progress and int(os.environ.get("RANK", 0)) == 0
    if triplets is None:
        learning, test = (
            kept(load(settings.data, split, progress=bars, device=place), settings.data, settings.model.preprocess)
            for split in ("train", settings.data.measured)
        )
    else:
        learning, test = (Split(part, {"by label": by_label(part)}) for part in triplets)
    rows, validation = hold_out(learning.triplets, settings.train.hold_out, seed=settings.train.seed)
    model = beginning
    if model is None:
        model = Retriever.build(settings.model, rows.feedback, seed=settings.train.seed)
        torch.nn.init.constant_(model.scale, settings.train.start_scale)
    elif not resume and (fresh := model.learn_words(rows.feedback, seed=settings.train.seed)):
        log.info("%d words are new to the model: %s", len(fresh), ", ".join(fresh[:8]) + (" …" if fresh[8:] else ""))
    model.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not resume and int(os.environ.get("RANK", 0)) == 0:
        origin = {} if started is None else {"started from": dict(started)}
        made_with = {**environment(place), **origin}
        write_settings(
            folder, {**to_plain(settings), "made with": made_with, "sentences": typical(learning.triplets.feedback)}
        )
    look = _look(rows, validation, test, settings.train)
    config = settings.train
    if validation is None and config.metric.startswith("validation/"):
        config = replace(config, metric="train/recall@1")
    learn(model, rows, config, folder, look=look, resume=resume, progress=bars)
    return folder


def environment(device: torch.device) -> dict[str, Any]:
    """What a run was made with, for the record."""
    return {
        "itma": installed_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def installed_version() -> str:
    """The package's version; `unknown` where it runs from a folder without being installed."""
    try:
        return version("itma")
    except PackageNotFoundError:
        return "unknown"


_EXPLAINED = 2
"""Queries that are explained in TensorBoard at every look."""
_PROBE_ROWS = 400
"""Rows of the training set that are looked at during training, to compare with the test set."""


def _look(learning: Triplets, validation: Triplets | None, test: Split, config: TrainConfig) -> "Look":
    """Recall on held-out, training and test rows, example queries as pictures, and two of them explained."""
    from itma.evaluation.evaluate import evaluate as measure
    from itma.evaluation.strips import query_strip
    from itma.explanations import case_in, explained
    from itma.training.loop import Seen

    probe: Triplets | None = learning
    if len(learning) > _PROBE_ROWS:
        _, probe = hold_out(learning, _PROBE_ROWS / len(learning), seed=config.seed + 1)

    def look(model: Retriever) -> "Seen":
        numbers: dict[str, float] = {}
        evaluations = {
            name: measure(model, triplets, intervals=False)[0]
            for name, triplets in (("validation", validation), ("train", probe))
            if triplets is not None
        }
        shown = measure(model, test.triplets, protocols=[test.protocol()], intervals=False)[0]
        for name, evaluation in {**evaluations, "test": shown}.items():
            numbers |= {f"{name}/recall@{k}": evaluation.report.recall[k] for k in (1, 10)}
        places = range(0, len(shown.asked), max(1, len(shown.asked) // 8))
        pictures = {f"queries/{place}": query_strip(model.preprocess, shown, place) for place in places}
        for place in places[:: max(1, len(places) // _EXPLAINED)][:_EXPLAINED]:
            explanation = explained(case_in(model, shown, place))
            pictures[f"explanations/{place}"] = to_pixels(explanation.draw())
        return Seen(numbers, pictures)

    return look


def evaluate(run: str | Path, data: str | None = None, *, protocol: str | None = None, **options: Any) -> Report:
    """Measure a trained model by one protocol.

    Args:
        run: a run folder, or a checkpoint folder.
        data: name of the data set; absent: the one the run was trained on.
        protocol: one of the data set's; absent: its first.
        options: as for `evaluate_by`.

    Returns:
        The report, which states its protocol.
    """
    return evaluate_by([] if protocol is None else [protocol], run, data, **options)[0]


def evaluate_by(
    protocols: Sequence[str],
    run: str | Path,
    data: str | None = None,
    *,
    split: str | None = None,
    which: str = "best",
    changes: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    runtime: str = "torch",
    device: str = "auto",
    progress: bool = False,
) -> list[Report]:
    """Measure a trained model by several protocols, from one embedding pass.

    Args:
        protocols: by name; empty: the data set's first.
        run: a run folder, or a checkpoint folder.
        data: name of the data set; absent: the one the run was trained on.
        split: absent: the one that the data set is measured on (`test`; `val` of FashionIQ).
        which: `best` or `last` checkpoint of the run.
        changes: settings of the data by name, e.g. `{"size": "css"}`, `{"root": "/data/fashioniq"}`.
        out: where `report.json` and `ranks.csv` go; absent: `<run>/evaluation-<data>-<split>`, with the runtime
            before it where that is not torch; of a model of itma's own or of the hub, in the present folder. Of several
            protocols each gets a folder of its own in there.
        runtime: what computes the answers: `torch`, `onnx` or `onnx-int8`; see `itma.export.runtimes`.
        device: `auto`, `cpu`, `cuda`, …
        progress: show progress bars.

    Returns:
        One report for each protocol.

    Raises:
        RunError, DataError, UnknownNameError: the run or the data cannot be read, or a name does not exist.
    """
    from itma.evaluation.evaluate import evaluate as measure

    place = device_for(runtime, device)
    model = open_model(run, which=which, runtime=runtime, device=place, progress=progress)
    found, source, split = measured_split(
        run, model.preprocess, data, split=split, changes=changes, device=place, progress=progress
    )
    asked = [found.protocol(name) for name in protocols] or [found.protocol()]
    other = runtime != "torch"
    evaluations = measure(
        model,
        found.triplets,
        protocols=asked,
        model_name=f"{model.name} ({run}{f', {runtime}' if other else ''})",
        weights=model.weights if isinstance(model, OnnxRetriever) else weights_sum(run, which),
        progress=progress,
    )
    # those of other runtimes are named so that a model card does not take them for the model's own
    home = Path() if is_shipped(run) or hub_name(run) is not None else Path(run)
    folder = home / f"{f'{runtime}-' if other else ''}evaluation-{source.name}-{split}" if out is None else Path(out)
    for evaluation in evaluations:
        name = evaluation.protocol.name.replace("/", "-")
        evaluation.write(folder / name if len(evaluations) > 1 else folder)
    return [evaluation.report for evaluation in evaluations]


def measured_split(
    run: str | Path,
    preprocess: Preprocess,
    data: str | None = None,
    *,
    split: str | None = None,
    changes: Mapping[str, str] | None = None,
    device: torch.device | None = None,
    progress: bool = False,
) -> tuple[Split, DataConfig, str]:
    """What a run is measured on: the split with its protocols, where it comes from, and its name.

    Args:
        run: a run folder, or a checkpoint folder where `data` is given.
        preprocess: the model's.
        data, split, changes, progress: as for `evaluate_by`.
        device: where a generated world is rendered.
    """
    if data is None and holds_towers(checkpoint_folder(run)):
        raise RunError(f"{str(run)!r} was trained on no data set of itma; name the data to measure it on")
    if data is None:
        source = read_run(run).data
    elif (
        (located(run) / RUN).is_file() and "data" in read_settings(run) and (trained := read_run(run).data).name == data
    ):
        source = trained  # the same size and seed, so that scenes seen in training are never asked for in the test
    else:
        source = DataConfig(data)
    source = changed(source, changes or {})
    split = split or source.measured
    return kept(load(source, split, progress=progress, device=device), source, preprocess), source, split


def device_for(runtime: str, device: str) -> torch.device:
    """The device known by a name, for a runtime.

    Raises:
        ConfigError: it is not there, or the runtime does not work on it.
    """
    if runtime == "torch":
        return device_named(device)
    if device not in ("auto", "cpu"):
        raise ConfigError(f"the runtime {runtime!r} works on the CPU; leave out --device {device}, or use torch")
    return torch.device("cpu")


def submit(
    run: str | Path,
    out: str | Path,
    *,
    root: str | Path | None = None,
    split: str = "test",
    which: str = "best",
    device: str = "auto",
    progress: bool = False,
) -> list[Path]:
    """Write a model's answers to FashionIQ's queries in the form that its challenge takes.

    Args:
        run: a run folder, or a checkpoint folder.
        out: gets `<category>.predict.json` for dress, shirt and toptee.
        root: FashionIQ's folder; absent: where it was in training.
        split: `test`, whose targets were never published.
        which: `best` or `last` checkpoint of the run.
        device: `auto`, `cpu`, `cuda`, …
        progress: show progress bars.

    Returns:
        The files.

    Raises:
        RunError, DataError: the run or the data cannot be read.
        StorageError: the files cannot be written.
    """
    from itma.data.datasets import fashioniq
    from itma.evaluation.evaluate import answers

    place = device_named(device)
    model = Retriever.load(run, which=which).to(place)
    source = DataConfig("fashioniq", root=str(root)) if root is not None else read_run(run).data
    if source.name != "fashioniq":
        raise DataError(f"{str(run)!r} was trained on {source.name}; say where FashionIQ is: --root DIR")
    triplets = load(source, split, device=place).triplets
    if triplets.targets.size and triplets.targets.max() != UNKNOWN_TARGET:
        raise DataError(f"the targets of FashionIQ's {split} split are published; measure it with: itma evaluate")
    present = triplets.present if triplets.present is not None else np.ones(len(triplets.labels), dtype=bool)
    galleries = {
        category: pictures[present[pictures]]
        for category, pictures in fashioniq.galleries(Path(str(source.root)), split).items()
    }
    kinds = np.array(triplets.kinds)
    tasks = [Task(category, np.flatnonzero(kinds == category), ranked) for category, ranked in galleries.items()]
    found = answers(model, triplets, tasks, k=fashioniq.SUBMITTED, progress=progress)
    return fashioniq.write_submission(out, fashioniq.submission(triplets, galleries, found))


def index(
    run: str | Path,
    source: str | Path,
    catalogue: str | Path,
    *,
    replace_existing: bool = False,
    prune: bool = False,
    id_column: str | None = None,
    picture_column: str | None = None,
    types: Mapping[str, str] | None = None,
    tokens: bool = False,
    durable: bool = False,
    recall: float = 0.98,
    batch: int = 64,
    runtime: str | None = None,
    engine: str = "local",
    address: str | None = None,
    device: str = "auto",
    progress: bool = False,
) -> Catalogue:
    """Embed all pictures of a folder or a table, so that they can be searched; a catalogue that exists is updated.

    Args:
        run: the run folder of a trained model.
        source: a folder of pictures, in any format that Pillow reads, also in sub-folders; or a CSV, JSON Lines or
            Parquet file with a row for each item.
        catalogue: where the catalogue goes.
        replace_existing: put the new catalogue in the place of an existing one.
        prune: remove items that the source does not name, or whose file is gone.
        id_column, picture_column, types, tokens, durable, recall, batch, engine, address: see `Catalogue.build`.
        runtime: what computes the embeddings: `torch`, `onnx` or `onnx-int8`; absent: what computed those that are
            there already, or torch.

    Returns:
        The catalogue; `outcome` says what was new, and `skipped` names the pictures that could not be read.
    """
    place = device_for(runtime or "torch", device)
    return Catalogue.build(
        run,
        source,
        catalogue,
        replace=replace_existing,
        update=not replace_existing,
        prune=prune,
        id_column=id_column,
        picture_column=picture_column,
        types=types,
        tokens=tokens,
        durable=durable,
        recall=recall,
        batch=batch,
        runtime=runtime,
        engine=engine,
        address=address,
        device=place,
        progress=progress,
    )


def search(
    catalogue: str | Path,
    *,
    image: Source | None = None,
    id: str | None = None,
    text: str | None = None,
    k: int = 10,
    where: Where | None = None,
    exclude: Sequence[str] = (),
    fields: Sequence[str] = (),
    distinct: str | float | None = None,
    earlier: Sequence[str] = (),
    version: int | None = None,
    run: str | Path | None = None,
    runtime: str | None = None,
    device: str = "auto",
) -> list[Hit]:
    """The k pictures of a catalogue that fit a picture, a sentence, or both, best first.

    Args:
        catalogue: its folder.
        image: the reference, see `Catalogue.search`.
        id: an item as the reference.
        text: the feedback.
        k: how many.
        where, exclude, fields, distinct, earlier: see `Catalogue.search`.
        version: an earlier state of the catalogue; absent: the newest.
        run: where the run that made the catalogue is now; absent: where it was then.
        runtime: what computes the query's embedding; absent: what computed the catalogue's.
        device: `auto`, `cpu`, `cuda`, …

    Raises:
        CatalogueError, PictureError, FeedbackError, DataError: see `Catalogue.open` and `Catalogue.search`.
    """
    place = device_for(runtime or "torch", device)
    opened = Catalogue.open(catalogue, run, version=version, runtime=runtime, device=place)
    return opened.search(
        image=image,
        id=id,
        text=text,
        k=k,
        where=where,
        exclude=exclude,
        fields=fields,
        distinct=distinct,
        earlier=earlier,
    )


def explain(
    place: Catalogue | Retriever | str | Path,
    image: Source | None = None,
    text: str | None = None,
    *,
    device: str = "auto",
    **options: Any,
) -> "Explanation":
    """Say why a picture is where it is among the answers to a query: which words, which regions, what attention.

    Args:
        place: a catalogue or its folder; or a model or a run folder, where the target is a picture and has no rank.
        image: the reference: a path, the bytes of a file, or a Pillow image.
        text: the feedback.
        device: where a model that is opened here is to work: `auto`, `cpu`, `cuda`, …
        options: `id`, `target`, `methods`, `fill`, `steps`, `run`: as for `itma.explanations.explain`.

    Returns:
        The explanation, with arrays, a text and a `save`.

    Raises:
        ItmaError: see `itma.explanations.explain`.
    """
    from itma.explanations import explain as explain_query

    return explain_query(place, image, text, device=device_named(device), **options)


__all__: Sequence[str] = (
    "Settings",
    "evaluate",
    "evaluate_by",
    "explain",
    "generate",
    "index",
    "resume",
    "search",
    "settings_for",
    "submit",
    "train",
    "triplets",
)
