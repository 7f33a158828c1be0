"""The model card: what a model is, how it was made, what it was measured to do, how to use it.

Every number comes from the model itself or from its run's files; what is not known is not said.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from itma.config import to_plain
from itma.data.datasets import REGISTRY as DATASETS
from itma.data.datasets import Dataset
from itma.errors import RunError
from itma.io import file_sum, write_text
from itma.models.checkpoint import CHECKPOINTS, WEIGHTS, checkpoint_folder, weights_sum
from itma.models.composers import composer_named
from itma.models.image_encoders.hub import KNOWN
from itma.models.provenance import Provenance, read_provenance, show_name
from itma.models.retriever import Retriever
from itma.models.shipped import locate
from itma.models.towers import holds_towers
from itma.records import Interval, Part, Report, count_queries
from itma.registry import summary

CARD = "README.md"
INTRODUCTION = (
    "Finds images with an image and a sentence: a reference and the feedback that says what should change go in, "
    "and a catalogue's images come out, nearest first. Made with `itma`."
)
TASK, TASK_NAME = "image-feature-extraction", "Image retrieval with text feedback"
"""The hub's nearest task, and what it is here."""
PAPERS = {
    "itma": (
        "Truc Luong-Phuong Huynh and Ngoc Quoc Ly: Image Retrieval with Text Feedback based on Transformer Deep Model. "
        "NICS 2021."
    ),
    "maaf": (
        "Eric Dodds, Jack Culpepper, Simao Herdade, Yang Zhang and Kofi Boakye: Modality-Agnostic Attention Fusion for "
        "visual search with text feedback. 2020. https://arxiv.org/abs/2007.00145"
    ),
    "tirg": (
        "Nam Vo, Lu Jiang, Chen Sun, Kevin Murphy, Li-Jia Li, Li Fei-Fei and James Hays: Composing Text and Image for "
        "Image Retrieval - An Empirical Odyssey. CVPR 2019. https://arxiv.org/abs/1812.07119"
    ),
    "combiner": (
        "Alberto Baldrati, Marco Bertini, Tiberio Uricchio and Alberto Del Bimbo: Effective conditioned and composed "
        "image retrieval combining CLIP-based features. CVPR 2022."
    ),
    "film": (
        "Ethan Perez, Florian Strub, Harm de Vries, Vincent Dumoulin and Aaron Courville: FiLM: Visual Reasoning with "
        "a General Conditioning Layer. AAAI 2018. https://arxiv.org/abs/1709.07871"
    ),
    "mrn": (
        "Jin-Hwa Kim, Sang-Woo Lee, Donghyun Kwak, Min-Oh Heo, Jeonghee Kim, Jung-Woo Ha and Byoung-Tak Zhang: "
        "Multimodal Residual Learning for Visual QA. NIPS 2016. https://arxiv.org/abs/1606.01455"
    ),
    "relationship": (
        "Adam Santoro, David Raposo, David G. T. Barrett, Mateusz Malinowski, Razvan Pascanu, Peter Battaglia and "
        "Timothy Lillicrap: A simple neural network module for relational reasoning. NIPS 2017. "
        "https://arxiv.org/abs/1706.01427"
    ),
    "composeae": (
        "Muhammad Umer Anwaar, Egor Labintcev and Martin Kleinsteuber: Compositional Learning of Image-Text Query for "
        "Image Retrieval. WACV 2021. https://arxiv.org/abs/2006.11149"
    ),
    "cosmo": (
        "Seungmin Lee, Dongwan Kim and Bohyung Han: CoSMo: Content-Style Modulation for Image Retrieval with Text "
        "Feedback. CVPR 2021."
    ),
    "val": (
        "Yanbei Chen, Shaogang Gong and Loris Bazzani: Image Search with Text Feedback by Visiolinguistic Attention "
        "Learning. CVPR 2020."
    ),
    "artemis": (
        "Ginger Delmas, Rafael Sampaio de Rezende, Gabriela Csurka and Diane Larlus: ARTEMIS: Attention-based "
        "Retrieval with Text-Explicit Matching and Implicit Similarity. ICLR 2022. "
        "https://openreview.net/forum?id=CVfLvQq9gLo"
    ),
    "rtic": (
        "Minchul Shin, Yoonjae Cho, Byungsoo Ko and Geonmo Gu: RTIC: Residual Learning for Text and Image Composition "
        "using Graph Convolutional Network. 2021. https://arxiv.org/abs/2104.03015"
    ),
}
"""The papers of CITATION.cff, as a card names them; a composer's own is known by the composer's name."""


@dataclass(frozen=True)
class Averaged:
    """Which weights a model is the average of."""

    run: str
    """Sum of the run's own weights file."""
    other: str
    """Sum of the other's."""
    share: float
    """Of the other's, from 0 to 1."""


def write_card(
    model: Retriever,
    folder: Path,
    *,
    run: str | Path | None = None,
    repo_id: str | None = None,
    license: str | None = None,
    rounded: bool = False,
    averaged: Averaged | None = None,
) -> None:
    """Add a card, and what of `run` it was written from, to a folder that holds the model; see `save_pretrained`.

    Weights that were `rounded` or `averaged` are not the run's own: its reports do not count for them.
    """
    weights = file_sum(folder / WEIGHTS)
    provenance = Provenance()
    if run is not None:
        digest = averaged.run if averaged else _sum_in(run, model, weights, rounded=rounded)
        provenance = read_provenance(run, digest)
        reports = {name: replace(report, weights=weights) for name, report in provenance.reports.items()}
        provenance = replace(provenance, reports={} if (rounded or averaged) and digest != weights else reports)
    if averaged is not None:
        settings = dict(provenance.settings or {})
        other = {"sha256": averaged.other, "share": averaged.share}
        settings["made_with"] = {**settings.get("made_with", {}), "averaged_with": other}
        provenance = replace(provenance, settings=settings)
    provenance.write(folder)
    write_text(folder / CARD, model_card(model, weights, provenance, repo_id=repo_id, license=license))


def _sum_in(run: str | Path, model: Retriever, weights: str, *, rounded: bool) -> str:
    """The sum by which a run knows a model's weights, which its files may hold in another precision.

    Args:
        run: a run folder or a name.
        model: that was opened from it.
        weights: the sum of the file that was written of the model.
        rounded: whether that was rounded.
    """
    if holds_towers(locate(run)):  # whose files hold more than what is kept of them
        return weights_sum(run)
    sums = {which: weights_sum(run, which) for which in CHECKPOINTS}
    if weights in sums.values():
        return weights
    state = model.state_dict()
    for which, digest in sums.items():
        tensors = load_file(checkpoint_folder(run, which) / WEIGHTS)
        same = (torch.equal(tensor.to(state[name].dtype), state[name].cpu()) for name, tensor in tensors.items())
        if tensors.keys() == state.keys() and all(same):
            return digest
    return sums["best"] if rounded else weights


def model_card(
    model: Retriever, weights: str, provenance: Provenance, *, repo_id: str | None = None, license: str | None = None
) -> str:
    """A model card: YAML that the hub reads, then Markdown.

    Args:
        model: the model.
        weights: sha256 of its weights file.
        provenance: how it was made and measured.
        repo_id: where it will be on the hub; None: the examples speak of a folder.
        license: what the person who shares the weights allows, e.g. `apache-2.0`; None: the card says nothing of it.
    """
    data = _data(provenance)
    title = repo_id or (f"{model.name}, trained on {_data_name(data)}" if data else model.name)
    parts = [
        f"# {title}",
        INTRODUCTION,
        *("## The model", _model(model, weights, provenance)),
        *("## Training", _training(provenance)),
        *("## Results", _results(provenance.reports)),
        *("## How to use it", _usage(model, data, repo_id)),
        *("## Limits", _limits(model, provenance)),
        *("## Sources", _sources(model.name)),
    ]
    head = _metadata(model, provenance, repo_id, license)
    return f"---\n{head}\n---\n\n" + "\n\n".join(parts) + "\n"


def _metadata(model: Retriever, provenance: Provenance, repo_id: str | None, license: str | None) -> str:
    """What the hub files the model under; results are shares from 0 to 1, as the reports hold them."""
    from huggingface_hub import EvalResult, ModelCardData

    data = _data(provenance)
    results = []
    for report in provenance.reports.values():
        table, protocol, _ = _protocol(report)
        name, _, split = table.partition("/")
        results += [
            EvalResult(
                task_type=TASK,
                task_name=TASK_NAME,
                dataset_type=name,
                dataset_name=f"{table}, {protocol}",
                dataset_config=protocol,
                dataset_split=split or None,
                metric_type=f"{metric}_at_{k}",
                metric_name=f"{metric}@{k}",
                metric_value=share,
            )
            for metric, values in {"recall": report.recall, **report.metrics}.items()
            for k, share in values.items()
        ]
    return ModelCardData(
        language="en" if data and _dataset(data).example else None,
        license=license,
        library_name="itma",
        pipeline_tag=TASK,
        tags=["composed-image-retrieval", "image-retrieval", "text-feedback", model.name, "pytorch", "safetensors"],
        model_name=(repo_id or model.name).rpartition("/")[2] if results else None,
        eval_results=results or None,
    ).to_yaml()


def _model(model: Retriever, weights: str, provenance: Provenance) -> str:
    config, about = model.config, summary(composer_named(model.name)).partition(";")[0]
    network, reads_words = config.image_encoder, model.text_encoder is not None
    image_encoder = f"{show_name(network.name)}, maps of the stages {', '.join(map(str, network.levels))}"
    settings = provenance.settings
    from_scratch = settings is not None and not {"imported_from", "started_from"} & set(settings.get("made_with", {}))
    if network.weights is not None:
        image_encoder += f", trained from the weights {show_name(network.weights)}"
    elif network.name in KNOWN and from_scratch:
        image_encoder += ", trained from scratch"
    rows: dict[str, str | None] = {
        "composer": f"`{model.name}`" + (f": {about}" if about else ""),
        "its options": _list(to_plain(config.options)),
        "image encoder": image_encoder,
        "text encoder": _list(to_plain(config.text_encoder)) if reads_words else None,
        "words": f"{len(model.tokenizer):,} token ids" if reads_words else None,
        "embedding": f"{model.features} features, of length 1; the score is the cosine",
        "images": f"{config.preprocess.width}×{config.preprocess.height} pixels (width × height), fitted by "
        f"`{config.preprocess.fit}`; any size is taken",
        "parameters": f"{sum(parameter.numel() for parameter in model.parameters()):,}",
        "weights": f"`model.safetensors`, sha256 `{weights}`",
    }
    return _rows(rows)


def _training(provenance: Provenance) -> str:
    try:
        return _describe_training(provenance)
    except (KeyError, TypeError) as error:
        raise RunError(f"the run's settings (run.json) are damaged or those of another version: {error!r}") from error


def _describe_training(provenance: Provenance) -> str:
    origin = (provenance.settings or {}).get("made_with", {})
    if "started_from" in origin and "data" not in (provenance.settings or {}):
        start = origin["started_from"]
        return (
            f"Not trained by itma: `{start['name']}` as others trained it (weights with the sha256 "
            f"`{start['sha256']}`); see there what it was trained on and what its licence allows."
        )
    if provenance.settings is None or not {"data", "train"} <= set(provenance.settings):
        return "How this model was trained was not known when the card was written."
    data = provenance.settings["data"]
    generated = _dataset(data).generated and data["root"] is None
    rows: dict[str, str | None] = {}
    rows["data"] = _data_name(data) + (f", size `{data['size']}`, seed {data['seed']}" if generated else "")
    rows["about the data"] = data.get("about")
    if "imported_from" in origin:
        code, step = origin["imported_from"], f", step {provenance.step:,}" if provenance.step else ""
        rows["code"] = f"{code['code'].upper()}'s, model `{code['model']}`"
        rows["checkpoint"] = f"`{show_name(code['file'])}`, sha256 `{code['sha256']}`{step}"
        after = "It was trained by that code, not by `itma`; the options that the checkpoint names are in `run.json`."
    else:
        rows |= _recipe(provenance.settings["train"], provenance)
        if (start := origin.get("started_from")) is not None:
            name = f"`{start['name']}`, " if "name" in start else ""
            rows["began with"] = f"{name}weights with the sha256 `{start['sha256']}`"
        if (other := origin.get("averaged_with")) is not None:
            shared = f"{other['share']:g} of the weights with the sha256 `{other['sha256']}`"
            rows["averaged"] = f"{shared}, the rest of this training's"
        rows["made with"] = _list({name: value for name, value in origin.items() if not isinstance(value, Mapping)})
        after = "All settings are in `run.json`."
    return _rows(rows) + f"\n\n{after}"


def _recipe(train: Mapping[str, Any], provenance: Provenance) -> dict[str, str | None]:
    rate = f"learning rate {train['learning_rate']:g} (the image encoder's times {train['image_encoder_rate']:g})"
    changes = {name: train[name] for name in ("augment", "crop", "flip", "noise", "grounds") if train.get(name)}
    frozen = [name.replace("_", " ") for name in train["frozen"]]
    if train.get("frozen_levels"):
        frozen.append(f"the image encoder's first {train['frozen_levels']} levels")
    parts = f", in {train['accumulate']} parts" if train["accumulate"] > 1 else ""
    schedule = f"`{train['schedule']}` schedule after {train['warmup']:,} steps of warm-up"
    return {
        "checkpoint": provenance.chosen,
        "planned": None if provenance.chosen else f"{train['steps']:,} steps",
        "batch": f"{train['batch']:,} rows, {train['per_reference']} of each reference{parts}",
        "loss": train["loss"],
        "optimizer": f"{train['optimizer']}, {rate}, weight decay {train['weight_decay']:g}, {schedule}",
        "images": _list(changes) if changes else "not changed at random",
        "frozen": ", ".join(frozen),
        "took": None if provenance.seconds is None else f"{provenance.seconds / 60:,.0f} minutes up to this checkpoint",
        "arithmetic": train["precision"],
        "seed": str(train["seed"]),
    }


def _results(reports: Mapping[str, Report]) -> str:
    if not reports:
        return (
            "This model was not measured. Measure it, and write the card again:\n\n"
            "```sh\nitma evaluate RUN\nitma card RUN --out README.md\n```"
        )
    head = "In brackets: the 95 % bootstrap interval over queries. A number holds for its protocol alone."
    return "\n\n".join([head, *(_result(folder, report) for folder, report in reports.items())])


def _result(folder: str, report: Report) -> str:
    table, protocol, about = _protocol(report)
    recalls = [f"recall@{k}" for k in report.recall]
    further = [f"{metric}@{k}" for metric, values in report.metrics.items() for k in values]
    rows = [_row(part.name, part, {}) for part in report.parts]
    rows.append(_row("**mean**" if report.parts else "all", report, report.metric_intervals))
    summary = (
        f"Median rank {report.median_rank:g}, mean reciprocal rank {report.mean_reciprocal_rank:.3f}. Ties: "
        f"{report.tied_queries:,} of {report.queries:,} queries, in which the best target shares its score with an "
        f"image that is no target. From `{folder}/report.json`."
    )
    lines = [
        f"### {table}, {protocol}",
        f"{about[:1].upper()}{about[1:]}." if about else "",
        _table(["", "queries", "gallery", *recalls, *further], rows),
        summary,
    ]
    if report.recall_by_aspect:
        aspects = [[f"right {name}", *_shares(some)] for name, some in report.recall_by_aspect.items()]
        lines.append(_table(["", *recalls], aspects))
    divisions = {"kind of feedback": report.recall_by_kind} if report.recall_by_kind else {}
    queries = {"kind of feedback": report.queries_by_kind, **report.queries_by_group}
    for name, parts in {**divisions, **report.recall_by_group}.items():
        first, metrics = min(report.recall), report.metrics_by_group.get(name, {})
        divided = [
            [part, f"{queries[name][part]:,}", _percent(some[first])]
            + [share for values in metrics.get(part, {}).values() for share in _shares(values)]
            for part, some in parts.items()
        ]
        lines.append(_table([name, "queries", f"recall@{first}", *(further if metrics else ())], divided))
    return "\n\n".join(line for line in lines if line)


def _row(name: str, measured: Report | Part, intervals: Mapping[str, Mapping[int, Interval]]) -> list[str]:
    """What was measured as a line of the table of results; `intervals` are those of its metrics."""
    shares = [_shares(values, intervals.get(metric)) for metric, values in measured.metrics.items()]
    counts = [count_queries(measured), f"{measured.gallery:,}"]
    return [name, *counts, *_shares(measured.recall, measured.interval), *chain(*shares)]


def _usage(model: Retriever, data: Mapping[str, Any] | None, repo_id: str | None) -> str:
    sentence = (_dataset(data).example if data else "") or "the same in blue"
    feedback, text = (f'["{sentence}"]', f' --text "{sentence}"') if model.text_encoder is not None else ("None", "")
    opened = (
        f'Retriever.from_pretrained("{repo_id}")' if repo_id else 'Retriever.load("model")  # the folder of this card'
    )
    pull = f"itma pull {repo_id} model\n" if repo_id else ""
    return f"""```python
import torch
from itma import Retriever

model = {opened}
reference = torch.stack([model.preprocess.read("reference.jpg")])
query = model.embed_queries(reference, {feedback})
images = torch.stack([model.preprocess.read(name) for name in ("a.jpg", "b.jpg")])
scores = query @ model.embed_images(images).T  # (1, 2); the larger, the nearer
```

A folder of images, from the shell:

```sh
{pull}itma index model PHOTOS catalogue
itma search catalogue --image reference.jpg{text} -k 5
```"""


def _limits(model: Retriever, provenance: Provenance) -> str:
    data, text_encoder = _data(provenance), to_plain(model.config.text_encoder)
    lines = [_limit_of(data)] if data else []
    if model.text_encoder is None:
        lines.append("It does not read words: feedback has no effect.")
    elif text_encoder["kind"] != "pretrained" and text_encoder.get("unknown", "skip") in _UNKNOWN:
        lines.append(_UNKNOWN[text_encoder.get("unknown", "skip")])
    if not provenance.reports:
        lines.append("It was not measured.")
    lines += [
        f"{table}, {protocol}: images were missing, so {report.queries:,} of {report.wanted:,} queries were asked."
        for report in provenance.reports.values()
        for table, protocol, _ in [_protocol(report)]
        if report.wanted not in (None, report.queries)
    ]
    lines.append(
        "Recall under another gallery, another way to ask or another rule for the reference cannot be compared."
    )
    return "\n".join(f"- {line}" for line in lines)


_UNKNOWN = {
    "skip": "Words that its training sentences did not hold are left out.",
    "nearest": (
        "English words that its training sentences did not hold are read as the nearest word that they held, or left "
        "out."
    ),
}
"""How a model takes words that it does not know → the limit that this is."""


def _limit_of(data: Mapping[str, Any]) -> str:
    """What a model cannot do because of what it was trained on."""
    name = data["name"]
    if data.get("external"):
        name = f"external data ({name}), which itma cannot load by name"
    return _dataset(data).limit.format(name=name)


def _dataset(data: Mapping[str, Any]) -> type[Dataset]:
    """The data set; of data that are external, or of a data set that is not known here, what holds of any."""
    return (None if data.get("external") else DATASETS.lookup(data["name"])) or Dataset


def _sources(composer: str) -> str:
    names = ("itma", "maaf", "tirg") if composer == "itma" else dict.fromkeys((composer, "tirg"))
    papers = [PAPERS[name] for name in names if name in PAPERS]
    return "\n".join(f"- {paper}" for paper in papers)


def _data(provenance: Provenance) -> Mapping[str, Any] | None:
    data: Mapping[str, Any] | None = (provenance.settings or {}).get("data")
    return data


def _data_name(data: Mapping[str, Any]) -> str:
    return f"{data['name']} (external data)" if data.get("external") else str(data["name"])


def _protocol(report: Report) -> tuple[str, str, str]:
    """A report's data, the protocol's name and what it says, as `itma.evaluation.evaluate.score` joins them."""
    head, _, about = report.protocol.partition(": ")
    table, _, protocol = head.partition(", ")
    return table, protocol, about


def _shares(recall: Mapping[int, float], interval: Mapping[int, Interval] | None = None) -> Iterator[str]:
    for k, share in recall.items():
        inside = (interval or {}).get(k)
        yield _percent(share) + (f" ({_percent(inside.low, '')} to {_percent(inside.high, '')})" if inside else "")


def _percent(share: float, unit: str = " %") -> str:
    return f"{100 * share:.1f}{unit}"


def _list(plain: Mapping[str, Any]) -> str:
    """Settings as text: `kind lstm, width 128`."""
    formats = {bool: lambda value: "yes" if value else "no", float: "{:g}".format, str: show_name}
    return ", ".join(
        f"{name.replace('_', ' ')} {formats.get(type(value), str)(value)}"
        for name, value in plain.items()
        if value is not None
    )


def _rows(facts: Mapping[str, str | None]) -> str:
    """A table of two columns; what is not known has no line."""
    return _table(["", ""], ([name, text] for name, text in facts.items() if text))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, numbers follow."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
