"""The model card: every number in it is one of the run's, the hub can read it, and what it says to type works."""

import re
import runpy
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from PIL import Image

from itma.cli import cli
from itma.config import from_plain, to_plain
from itma.data.datasets import REGISTRY as DATASETS
from itma.data.datasets import DataConfig, Dataset
from itma.errors import RunError
from itma.evaluation import evaluate
from itma.hub.card import PAPERS, model_card
from itma.hub.sharing import save_pretrained
from itma.models import provenance as own
from itma.models.composers import REGISTRY
from itma.models.provenance import Provenance, how_chosen, read_provenance
from itma.models.retriever import Retriever, RetrieverConfig
from itma.records import Interval, Part, Report
from itma.training import run as run_folder
from itma.training.config import TrainConfig
from tests import made_up
from tests.test_project import citation

WEIGHTS = "5" * 64
REPORT = Report(
    model="itma (/home/someone/run)",
    protocol="shapes/test, by label: gallery = all images; the reference is removed",
    queries=1234,
    gallery=5678,
    recall={1: 0.8125, 10: 0.96875},
    interval={1: Interval(0.7891, 0.8342), 10: Interval(0.9511, 0.9777)},
    median_rank=1.0,
    mean_reciprocal_rank=0.8767,
    tied_queries=17,
    recall_by_kind={"add": {1: 0.7531}, "remove": {1: 0.9153}},
    queries_by_kind={"add": 1000, "remove": 234},
    weights=WEIGHTS,
)
PARTS = replace(
    REPORT,
    protocol="fashioniq/val, fashioniq/original: captions joined; the reference is removed",
    wanted=1300,
    parts=(
        Part("dress", 617, 650, 3817, {1: 0.25, 10: 0.5}, {1: Interval(0.2012, 0.3013)}, 10.0),
        Part("shirt", 617, 650, 6346, {1: 0.125, 10: 0.375}, {}, 20.0),
    ),
    recall_by_kind={},
    recall_by_aspect={"adjective": {1: 0.4321, 10: 0.5432}},
)


def settings(data: str = "shapes", **train: Any) -> dict[str, Any]:
    """What run.json would hold."""
    return {
        "model": to_plain(made_up.CONFIG),
        "train": to_plain(replace(TrainConfig(), **train)),
        "data": to_plain(DataConfig(data)),
        "made_with": {"itma": "0.1.0", "torch": "2.13.0", "device": "cpu"},
    }


def known(*reports: Report, data: str = "shapes", **train: Any) -> Provenance:
    values = settings(data, **train)
    measured = {f"evaluation-{n}": one for n, one in enumerate(reports)}
    return Provenance(values, 280, True, how_chosen(values, 280, best=True), measured)


def card(provenance: Provenance | None = None, model: Retriever | None = None, **options: Any) -> str:
    return model_card(model or made_up.model(), WEIGHTS, provenance or Provenance(), **options)


def head(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return loaded


# -- what the hub reads ------------------------------------------------------------------------------------------------


def test_the_head_is_read_by_the_hub_s_library_and_written_back_unchanged() -> None:
    text = card(known(REPORT, PARTS), repo_id="shop/shapes", license="mit")
    read = ModelCard(text)
    assert str(read) == text
    assert read.data.to_dict() == head(text)


def test_the_results_in_the_head_are_the_report_s_own() -> None:
    results = ModelCard(card(known(REPORT, PARTS))).data.eval_results
    values = {(result.dataset_name, result.metric_name): result.metric_value for result in results}
    assert values == {
        ("shapes/test, by label", "recall@1"): 0.8125,
        ("shapes/test, by label", "recall@10"): 0.96875,
        ("fashioniq/val, fashioniq/original", "recall@1"): 0.8125,
        ("fashioniq/val, fashioniq/original", "recall@10"): 0.96875,
    }


def test_the_head_says_what_the_model_is_for() -> None:
    data = head(card(known(REPORT), repo_id="shop/shapes"))
    assert (data["library_name"], data["pipeline_tag"], data["language"]) == (
        "itma",
        "image-feature-extraction",
        "en",
    )
    assert {"composed-image-retrieval", "itma", "safetensors"} <= set(data["tags"])
    assert data["model-index"][0]["name"] == "shapes"


def test_a_licence_is_told_only_if_one_is_given() -> None:
    assert head(card(license="cc-by-4.0"))["license"] == "cc-by-4.0"
    assert "licen" not in card(known(REPORT)).lower()


def test_the_language_of_one_s_own_sentences_is_not_guessed() -> None:
    assert "language" not in head(card(known(data="own")))


# -- where the numbers come from ---------------------------------------------------------------------------------------


def test_the_results_stand_there_with_interval_protocol_queries_gallery_and_ties() -> None:
    text = card(known(REPORT))
    for line in (
        "### shapes/test, by label",
        "Gallery = all images; the reference is removed.",
        "| all | 1,234 | 5,678 | 81.2 % (78.9 to 83.4) | 96.9 % (95.1 to 97.8) |",
        "Median rank 1, mean reciprocal rank 0.877. Ties: 17 of 1,234 queries",
        "| add | 1,000 | 75.3 % |",
        "From `evaluation-0/report.json`.",
    ):
        assert line in text


def test_a_protocol_of_several_tasks_tells_each_and_the_mean() -> None:
    text = card(known(PARTS, data="fashioniq"))
    for line in (
        "| dress | 617 of 650 | 3,817 | 25.0 % (20.1 to 30.1) | 50.0 % |",
        "| shirt | 617 of 650 | 6,346 | 12.5 % | 37.5 % |",
        "| **mean** | 1,234 of 1,300 | 5,678 | 81.2 % (78.9 to 83.4) |",
        "| right adjective | 43.2 % | 54.3 % |",
        "images were missing, so 1,234 of 1,300 queries were asked",
    ):
        assert line in text


def test_every_recall_in_a_card_is_one_of_the_report_s() -> None:
    text = card(known(PARTS, data="fashioniq"))
    results = text.partition("## Results")[2].partition("## How")[0]
    parts = [PARTS, *PARTS.parts]
    numbers = {f"{100 * share:.1f}" for part in parts for share in part.recall.values()}
    numbers |= {f"{100 * end:.1f}" for part in parts for i in part.interval.values() for end in (i.low, i.high)}
    numbers |= {f"{100 * share:.1f}" for recall in PARTS.recall_by_aspect.values() for share in recall.values()}
    assert set(re.findall(r"\d+\.\d(?!\d)(?= %| to|\))", results)) == numbers


def test_a_model_that_was_not_measured_says_so_and_how_to_measure_it() -> None:
    text = card(known())
    assert "This model was not measured." in text and "itma evaluate RUN" in text
    assert "recall" not in head(text) and "model-index" not in head(text)
    assert "%" not in text.partition("## Results")[2]


def test_a_model_of_which_nothing_is_known_says_so() -> None:
    assert "How this model was trained was not known when the card was written." in card()


def test_the_training_is_told_from_the_run_s_settings() -> None:
    text = card(
        known(steps=350, batch=64, optimizer="sgd", learning_rate=0.02, seed=7, noise=0.125, frozen=("image_encoder",))
    )
    for line in (
        "| data | shapes, size `demo`, seed 0 |",
        "| checkpoint | step 280 of 350, the best by validation/recall@1, on the 5.0 % of the training references that",
        "| batch | 64 rows, 3 of each reference |",
        "| optimizer | sgd, learning rate 0.02 (the image encoder's times 1), weight decay 0.05, `cosine` schedule",
        "| images | noise 0.125 |",
        "| frozen | image encoder |",
        "| seed | 7 |",
        "| made with | itma 0.1.0, torch 2.13.0, device cpu |",
    ):
        assert line in text


def test_the_model_s_shape_is_told() -> None:
    model = made_up.model()
    text = card(known(), model)
    for line in (
        "| image encoder | resnet-small, maps of the stages 2, trained from scratch |",
        "| embedding | 16 features",
        "| images | 24×16 pixels (width × height)",
        f"| parameters | {sum(parameter.numel() for parameter in model.parameters()):,} |",
        f"| weights | `model.safetensors`, sha256 `{WEIGHTS}` |",
    ):
        assert line in text


@pytest.mark.parametrize("origin", [{"started_from": {"sha256": "7" * 64}}, None])
def test_an_image_encoder_is_called_trained_from_scratch_only_where_that_is_known(
    origin: dict[str, Any] | None,
) -> None:
    began = Provenance() if origin is None else Provenance({**settings(), "made_with": origin})
    text = card(began)
    assert "from scratch" not in text
    assert ("| began with | weights with the sha256 `777" in text) == (origin is not None)


def test_an_imported_model_is_told_as_trained_by_others() -> None:
    imported = {"file": "/home/someone/best.pth", "sha256": "8" * 64, "code": "maaf", "model": "concat", "options": {}}
    text = card(
        Provenance({**settings("fashioniq"), "made_with": {"itma": "0.1.0", "imported_from": imported}}, 150_000)
    )
    assert "| code | MAAF's, model `concat` |" in text
    assert f"| checkpoint | `best.pth`, sha256 `{'8' * 64}`, step 150,000 |" in text
    assert "trained by that code, not by `itma`" in text
    assert "| batch |" not in text and "from scratch" not in text and "someone" not in text


def test_a_world_on_disk_has_the_size_it_was_written_with() -> None:
    values = settings()
    values["data"]["root"] = "world"
    assert "| data | shapes |" in card(Provenance(values))


def test_weights_that_training_began_with_are_named_without_their_folder() -> None:
    model = made_up.model()
    image_encoder = replace(
        model.config.image_encoder, name="/home/someone/resnet", weights="/home/someone/resnet18.pth"
    )
    model.config = replace(model.config, image_encoder=image_encoder)
    text = card(model=model)
    assert "| image encoder | resnet, maps of the stages 2, trained from the weights resnet18.pth |" in text
    assert "someone" not in text


def test_shapes_models_warn_of_photographs_and_others_of_what_was_never_tried() -> None:
    assert "answers on photographs are poor" in card(known(data="shapes"))
    assert "Trained on fashioniq: other images" in card(known(data="fashioniq"))
    assert "Trained on drawn scenes" in card(known(data="css"))
    assert "by their looks alone" in card(known(data="products"))
    unknown = known()
    unknown.settings["data"]["name"] = "of-a-package"
    assert "Trained on of-a-package: other images" in card(unknown)


def test_a_data_set_of_ones_own_says_what_a_model_of_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = type("Mine", (Dataset,), {"limit": "Knows {name} alone.", "example": "more like mine"})
    monkeypatch.setitem(DATASETS._parts, "mine", mine)
    text = card(known(data="mine"))
    assert "- Knows mine alone." in text and '--text "more like mine"' in text


def test_settings_of_another_version_are_an_error_of_ours() -> None:
    strange = settings()
    del strange["train"]["batch"]
    with pytest.raises(RunError, match=r"run.json. are damaged or those of another version: KeyError..batch"):
        card(Provenance(strange))


def test_a_run_without_training_settings_is_told_as_unknown() -> None:
    assert "was not known" in card(Provenance({"imported_from": "elsewhere"}))


# -- what it says to type ----------------------------------------------------------------------------------------------


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("composer", REGISTRY)
def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, composer: str) -> None:
    monkeypatch.chdir(tmp_path)
    config = RetrieverConfig(
        composer, 16, made_up.CONFIG.image_encoder, made_up.CONFIG.text_encoder, preprocess=made_up.CONFIG.preprocess
    )
    model = Retriever.build(config, ["make red cube blue"])
    save_pretrained(model, "model")
    for name in ("reference.jpg", "a.jpg", "b.jpg"):
        Image.new("RGB", (30, 20), "red").save(name)
    (code,) = blocks(Path("model/README.md").read_text(), "python")
    Path("example.py").write_text(code)
    names = runpy.run_path("example.py")
    assert names["scores"].shape == (1, 2) and torch.isfinite(names["scores"]).all()


@pytest.mark.parametrize("repo_id", ["shop/shapes", None])
def test_its_commands_and_options_exist(repo_id: str | None) -> None:
    above = click.Context(cli, **cli.context_settings)
    lines = "".join(blocks(card(known(), repo_id=repo_id), "sh")).splitlines()
    commands = [shlex.split(line) for line in lines]
    for program, name, *rest in commands:
        assert program == "itma"
        cli.commands[name].make_context(name, list(rest), parent=above).close()  # a usage error where it is wrong
    assert any(words[:3] == ["itma", "pull", "shop/shapes"] for words in commands) == (repo_id is not None)


# -- facts that stand in two places ------------------------------------------------------------------------------------


def test_the_papers_are_those_of_the_citation_file() -> None:
    for paper, cited in zip(PAPERS.values(), citation()["references"], strict=True):
        assert cited["title"] in paper and str(cited["year"]) in paper
        assert all(author["family-names"] in paper for author in cited["authors"])
        assert cited.get("url", "") in paper or cited["identifiers"][0]["value"].removeprefix("arXiv:") in paper


@pytest.mark.parametrize(
    ("composer", "papers"), [("itma", ("itma", "maaf", "tirg")), ("mrn", ("mrn", "tirg")), ("add", ("tirg",))]
)
def test_a_card_names_the_paper_of_its_composer_first(composer: str, papers: tuple[str, ...]) -> None:
    config = replace(made_up.CONFIG, composer=composer, options=None, dim=16)
    text = card(model=Retriever.build(config, ["make red cube blue"]))
    assert text.split("## Sources\n\n")[1].split("\n\n")[0].splitlines() == [f"- {PAPERS[name]}" for name in papers]


def test_the_names_of_a_run_s_files_are_those_that_write_them() -> None:
    assert (own.RUN, own.STATE, own.POINTER) == (run_folder.RUN, run_folder.STATE, run_folder.POINTER)
    assert (own.REPORT, own.REPORT_FORMAT) == (evaluate.REPORT, evaluate.FORMAT)


@pytest.mark.parametrize("report", [REPORT, PARTS])
def test_a_report_survives_being_written_and_read(report: Report) -> None:
    assert from_plain(Report, to_plain(report)) == report


def test_what_is_known_survives_being_written_and_read(tmp_path: Path) -> None:
    before = known(REPORT)
    before.write(tmp_path)
    (tmp_path / "manifest.json").write_text(f'{{"model.safetensors": "{WEIGHTS}"}}')
    after = read_provenance(tmp_path, WEIGHTS)
    assert after == replace(before, reports={"evaluation-0": replace(REPORT, model="itma")})
