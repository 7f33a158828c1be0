"""ONNX graphs answer as torch does, for any batch; int8 nearly so; and a catalogue is searched with either."""

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from itma import api
from itma.cli import cli
from itma.errors import (
    CatalogueError,
    ConfigError,
    DataError,
    FeedbackError,
    MissingExtraError,
    RunError,
    StorageError,
    UnknownNameError,
)
from itma.export.export import export
from itma.export.runtime import OnnxRetriever, session
from itma.export.runtimes import open_model
from itma.interop import exchange
from itma.models import shipped
from itma.models.embedder import Embedder
from itma.models.retriever import Retriever
from itma.retrieval.catalogue import Catalogue
from tests import made_up
from tests.test_model_checks import CONFIGS, SENTENCES, built, images
from tests.test_project import ROOT, blocks

REASON = "needs the extra onnx: pip install 'itma[onnx]'"
onnx = pytest.importorskip("onnx", reason=REASON)
for module in ("onnxruntime", "onnxscript"):
    pytest.importorskip(module, reason=REASON)

Exported = Callable[[str], OnnxRetriever]
QUICK = ("itma",)
"""Exporting takes seconds a model; this one has all three graphs, the others are tried with --slow."""
EVERY = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in CONFIGS]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The tiny models' checkpoints with exports in them, each made once."""
    folder = tmp_path_factory.mktemp("exported")

    def open_exported(name: str) -> OnnxRetriever:
        if not (folder / name).exists():
            built(name).save(folder / name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("itma.export.export.export", export_unchanged)
            exported = open_model(folder / name, runtime="onnx")
        assert isinstance(exported, OnnxRetriever)
        return exported

    return open_exported


def export_unchanged(model: Retriever, *args: Any, **named: Any) -> Any:
    """`export`, which has to leave the model as it was."""
    before = model.train().fingerprint()
    result = export(model, *args, **named)
    assert model.training and model.fingerprint() == before
    return result


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained toy run, its export and its int8 graphs, and the world's images."""
    folder = tmp_path_factory.mktemp("walk")
    for words in (
        ["generate", "shapes", folder / "world", "--size", "tiny"],
        ["train", "shapes", "--preset", "tiny", "--model", "add", "--out", folder / "run"],
    ):
        assert call(*words).exit_code == 0
    exchange.quantise(folder / "run", folder / "world" / "images", samples=20)
    return folder


@pytest.fixture
def traced(exported: Exported, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Exports of the tiny model that reads images alone take graphs that were made before; with --slow all are made.

    Tracing takes seconds, and is no part of what such a test is about: all else of an export is done.
    """
    if not request.config.getoption("--slow"):
        ready = exported("image-only").folder
        monkeypatch.setattr(
            importlib.import_module("itma.export.export"),
            "_write",
            lambda graph, path, model: shutil.copy(ready / path.name, path),
        )


def call(*words: str | Path) -> Result:
    result = CliRunner().invoke(cli, ["--quiet", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


# -- the graphs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_images_are_embedded_as_by_torch_in_batches_of_any_size(exported: Exported, name: str) -> None:
    for count in (1, 2, 7):
        close(exported(name).embed_images(images(count)), built(name).embed_images(images(count)))


@pytest.mark.parametrize("name", EVERY)
def test_queries_are_embedded_as_by_torch_whatever_their_number_and_length(exported: Exported, name: str) -> None:
    for feedback in (["red"], SENTENCES, [*SENTENCES, "", "blue " * 64]):
        answers = [
            model.embed_queries_from(model.feature_maps(images(len(feedback))), feedback)
            for model in (exported(name), built(name))
        ]
        close(*answers)


def test_a_word_that_training_never_saw_is_read_as_by_torch(exported: Exported) -> None:
    model = exported("itma")
    assert model.tokenizer.read_as("crimson") == {"crimson": "red"}
    assert torch.equal(model.embed_queries(images(1), ["make crimson"]), model.embed_queries(images(1), ["make red"]))


@pytest.mark.parametrize("name", EVERY)
def test_sentences_without_words_beside_an_image_answer_as_by_torch(exported: Exported, name: str) -> None:
    for feedback in ([""], ["", "unheard-of", ""]):
        answers = [
            model.embed_queries_from(model.feature_maps(images(len(feedback))), feedback)
            for model in (exported(name), built(name))
        ]
        close(*answers)


@pytest.mark.parametrize("name", EVERY)
def test_an_image_alone_and_words_alone_answer_as_by_torch(exported: Exported, name: str) -> None:
    close(exported(name).embed_queries(images(3), None), built(name).embed_queries(images(3), None))
    if built(name).reads_words:
        close(exported(name).embed_queries(None, SENTENCES), built(name).embed_queries(None, SENTENCES))


@pytest.mark.parametrize(
    ("name", "graphs"),
    [
        ("itma", {"maps.onnx", "image.onnx", "query.onnx", "words.onnx"}),
        pytest.param("words-only", {"maps.onnx", "image.onnx", "words.onnx"}, marks=pytest.mark.slow),
        ("image-only", {"maps.onnx", "image.onnx"}),
    ],
)
def test_only_graphs_that_a_model_needs_are_written(exported: Exported, name: str, graphs: set[str]) -> None:
    assert set(exported(name).description.graphs) == graphs


def test_pixels_go_in_as_bytes_and_all_arithmetic_is_float32(exported: Exported) -> None:
    maps, query = (onnx.load(exported("itma").folder / name).graph for name in ("maps.onnx", "query.onnx"))
    inputs = [(part.name, part.type.tensor_type.elem_type) for graph in (maps, query) for part in graph.input]
    assert [part for part in inputs if not part[0].startswith("map_")] == [
        ("pixels", onnx.TensorProto.UINT8),
        ("ids", onnx.TensorProto.INT64),
        ("mask", onnx.TensorProto.BOOL),
    ]
    levels = [part.name for part in maps.output]
    assert levels == [name for name, _ in inputs if name.startswith("map_")] == [f"map_{n}" for n in range(len(levels))]
    parts = [part for graph in (maps, query) for part in (*graph.initializer, *graph.node)]
    kinds = {part.data_type for part in parts if isinstance(part, onnx.TensorProto)} | {
        attribute.i for part in parts if getattr(part, "op_type", "") == "Cast" for attribute in part.attribute
    }
    assert not kinds & {onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}


@pytest.mark.slow
def test_an_lstm_of_several_layers_answers_as_by_torch(tmp_path: Path) -> None:
    config = replace(CONFIGS["words-only"], text_encoder=replace(CONFIGS["words-only"].text_encoder, layers=3))
    model = Retriever.build(config, SENTENCES)
    export(model, tmp_path / "export")
    close(OnnxRetriever(tmp_path / "export").embed_queries(None, SENTENCES), model.embed_queries(None, SENTENCES))


def test_the_python_of_the_documentation_answers_as_the_model(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = exported("itma")
    shutil.copytree(model.folder, "export")
    (code,) = blocks((ROOT / "docs" / "serving-models.md").read_text(encoding="utf-8"), "python")
    sentence = max(SENTENCES, key=len)
    images = torch.randint(0, 256, (1, 3, model.preprocess.height, model.preprocess.width), dtype=torch.uint8)
    names = {"pixels": images[0].numpy()}
    exec(compile(code.replace("make red cube blue", sentence), "docs/serving-models.md", "exec"), names)
    close(torch.from_numpy(names["embedding"]), model.embed_queries(images, [sentence]))


def test_exporting_leaves_the_model_as_it_was(exported: Exported) -> None:
    exported("image-only")  # see `export_unchanged`


@pytest.mark.usefixtures("traced")
def test_a_graph_that_answers_otherwise_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = OnnxRetriever._queries
    monkeypatch.setattr(OnnxRetriever, "_queries", lambda self, maps, tokens: -truth(self, maps, tokens))
    with pytest.raises(RunError, match=r"answer otherwise than torch: an image alone, 1 rows, features up to \d"):
        export(built("image-only"), tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_exported_over(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(StorageError, match="choose another name"):
        export(built("image-only"), tmp_path / "mine")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "letter.txt"]


# -- answering --------------------------------------------------------------------------------------------------------


def test_an_export_has_the_name_the_words_and_the_fingerprint_of_its_model(exported: Exported) -> None:
    model, graphs = built("itma"), exported("itma")
    assert (graphs.name, graphs.reads_words, graphs.preprocess) == (model.name, model.reads_words, model.preprocess)
    assert graphs.tokenizer.to_json() == model.tokenizer.to_json()
    assert graphs.fingerprint() == model.fingerprint()


@pytest.mark.parametrize(
    ("name", "count", "feedback"),
    [
        ("itma", None, None),
        ("itma", 2, ["red"]),
        ("itma", None, ["red", ""]),
        ("image-only", None, ["red"]),
    ],
)
def test_what_cannot_be_asked_is_refused_in_the_words_of_torch(
    exported: Exported, name: str, count: int | None, feedback: list[str] | None
) -> None:
    messages = []
    models: list[Embedder] = [built(name), exported(name)]
    for model in models:
        with pytest.raises(FeedbackError) as caught:
            model.embed_queries(None if count is None else images(count), feedback)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_images_of_another_size_are_refused_with_the_size_that_is_wanted(exported: Exported) -> None:
    with pytest.raises(DataError, match=r"\(3, 32, 48\)"):
        exported("itma").embed_images(images(1, 48, 32))
    with pytest.raises(DataError, match=r"torch\.float32"):
        exported("itma").embed_images(images(1).float())


@pytest.fixture
def damaged(exported: Exported, tmp_path: Path) -> Path:
    """A copy of an export, to be damaged."""
    return Path(shutil.copytree(exported("image-only").folder, tmp_path / "copy"))


@pytest.mark.parametrize("name", ["image.onnx", "tokenizer.json"])
def test_a_damaged_export_is_refused_by_the_name_of_the_file(damaged: Path, name: str) -> None:
    data = (damaged / name).read_bytes()
    (damaged / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(RunError, match=rf"{name}' is damaged.*itma export RUN"):
        OnnxRetriever(damaged)
    (damaged / name).unlink()
    with pytest.raises(RunError, match=rf"{name}' is missing"):
        OnnxRetriever(damaged)


@pytest.mark.parametrize(
    "change",
    [
        {"preprocess": None},
        {"graphs": ["../image.onnx"]},
        {"sums": {}},
        {"precision": "float12"},
        {"format": "new"},
        {"surprise": 1},
    ],
)
def test_a_damaged_description_is_refused(damaged: Path, change: dict[str, Any]) -> None:
    plain = json.loads((damaged / "onnx.json").read_text())
    (damaged / "onnx.json").write_text(json.dumps(plain | change))
    with pytest.raises(RunError, match=r"onnx\.json' is damaged"):
        OnnxRetriever(damaged)


def test_what_is_no_export_or_a_newer_one_is_refused(damaged: Path, tmp_path: Path) -> None:
    plain = json.loads((damaged / "onnx.json").read_text())
    (damaged / "onnx.json").write_text(json.dumps(plain | {"format": 99}))
    with pytest.raises(RunError, match="exported by a newer itma"):
        OnnxRetriever(damaged)
    (damaged / "onnx.json").write_text(json.dumps(plain | {"format": 1}))
    with pytest.raises(RunError, match=r"exported by an older itma.*itma export RUN"):
        OnnxRetriever(damaged)
    with pytest.raises(RunError, match=r"onnx\.json is missing"):
        OnnxRetriever(tmp_path)


def test_a_graph_that_onnxruntime_cannot_open_is_named(damaged: Path) -> None:
    (damaged / "image.onnx").write_bytes(b"no graph")
    with pytest.raises(RunError, match=r"image\.onnx' cannot be opened by onnxruntime \d"):
        session(damaged / "image.onnx")


# -- in a run's folder ------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(exported: Exported, tmp_path: Path) -> Path:
    """A checkpoint of a tiny model, with its export."""
    return Path(shutil.copytree(exported("image-only").folder.parent, tmp_path / "checkpoint"))


@pytest.mark.usefixtures("traced")
def test_the_first_use_exports_and_the_next_takes_what_is_there(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint / "onnx")
    assert isinstance(open_model(checkpoint, runtime="torch"), Retriever)
    first = open_model(checkpoint, runtime="onnx")
    status = (checkpoint / "onnx" / "onnx.json").stat()
    assert open_model(checkpoint, runtime="onnx").fingerprint() == first.fingerprint()
    assert (checkpoint / "onnx" / "onnx.json").stat().st_mtime_ns == status.st_mtime_ns
    assert Retriever.load(checkpoint).fingerprint() == first.fingerprint()


def test_an_export_of_other_weights_is_not_taken(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_anew(*args: Any, **named: Any) -> None:
        raise RunError("made anew")

    monkeypatch.setattr("itma.export.export.export", make_anew)
    assert open_model(checkpoint, runtime="onnx").runtime == "onnx"
    built("image-only", seed=1).save(checkpoint)
    with pytest.raises(RunError, match="made anew"):
        open_model(checkpoint, runtime="onnx")


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("reason", ["version", pytest.param("weights", marks=pytest.mark.slow)])
def test_an_export_of_other_weights_or_of_another_version_is_made_anew(checkpoint: Path, reason: str) -> None:
    if reason == "weights":
        built("image-only", seed=1).save(checkpoint)
    else:
        description = checkpoint / "onnx" / "onnx.json"
        plain = json.loads(description.read_text())
        plain["made_with"]["itma"], plain["fingerprint"] = "0.0.1", "reckoned otherwise"
        description.write_text(json.dumps(plain))
    model = Retriever.load(checkpoint)
    again = open_model(checkpoint, runtime="onnx")
    assert again.fingerprint() == model.fingerprint()
    close(again.embed_images(images(2)), model.embed_images(images(2)))


def test_int8_graphs_that_are_absent_or_of_other_weights_are_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"were not made yet.*itma quantise .*checkpoint IMAGES"):
        open_model(checkpoint, runtime="onnx-int8")
    noise(tmp_path / "photos", 3)
    exchange.quantise(checkpoint, tmp_path / "photos")
    assert open_model(checkpoint, runtime="onnx-int8").runtime == "onnx-int8"
    built("image-only", seed=1).save(checkpoint)
    with pytest.raises(RunError, match=r"are of other weights.*itma quantise"):
        open_model(checkpoint, runtime="onnx-int8")


def test_a_run_that_cannot_be_written_to_names_the_way_out(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(checkpoint / "onnx", tmp_path / "elsewhere")
    truth = Path.mkdir

    def mkdir(self: Path, *args: Any, **named: Any) -> None:
        if checkpoint in self.parents:
            raise PermissionError(13, "Permission denied")
        truth(self, *args, **named)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(StorageError, match=r"cannot be written to.*itma export .*checkpoint --out FOLDER"):
        open_model(checkpoint, runtime="onnx")
    assert open_model(tmp_path / "elsewhere", runtime="onnx").fingerprint() == built("image-only").fingerprint()
    with pytest.raises(RunError, match="holds float32 graphs, but int8 ones were asked for"):
        open_model(tmp_path / "elsewhere", runtime="onnx-int8")


def test_an_unknown_runtime_lists_the_known_ones(checkpoint: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown runtime 'onxx'; choose from: onnx, onnx-int8, torch"):
        open_model(checkpoint, runtime="onxx")


def test_a_missing_extra_is_named_with_its_install_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, None)
    model = open_model(checkpoint)
    assert isinstance(model, Retriever)
    for use in (lambda: open_model(checkpoint, runtime="onnx"), lambda: export(model, tmp_path / "export")):
        with pytest.raises(MissingExtraError, match=r"pip install 'itma\[onnx\]'"):
            use()


def test_a_run_goes_on_and_opens_with_exports_in_its_checkpoints(walked: Path, tmp_path: Path) -> None:
    run = shutil.copytree(walked / "run", tmp_path / "run")
    best = run / json.loads((run / "checkpoints.json").read_text())["best"]
    assert (best / "onnx").is_dir() and (best / "onnx-int8").is_dir()
    assert api.resume(run) == run
    assert Retriever.load(run).fingerprint() == open_model(run, runtime="onnx").fingerprint()


# -- int8 -------------------------------------------------------------------------------------------------------------


def noise(folder: Path, count: int) -> None:
    """Images with large smooth patches, which differ from one another."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        random = np.random.Generator(np.random.PCG64(number))
        patches = Image.fromarray(random.integers(0, 256, (3, 4, 3), dtype=np.uint8))
        patches.resize((48, 32), Image.Resampling.BICUBIC).save(folder / f"{number:02d}.png")


@pytest.mark.parametrize("name", ["itma", pytest.param("tirg-last-map", marks=pytest.mark.slow)])
def test_int8_answers_nearly_as_float32(exported: Exported, name: str, tmp_path: Path) -> None:
    model = built(name)
    shutil.copytree(exported(name).folder.parent, tmp_path / "checkpoint")
    noise(tmp_path / "photos", 24)
    exchange.quantise(tmp_path / "checkpoint", tmp_path / "photos")
    small = open_model(tmp_path / "checkpoint", runtime="onnx-int8")
    read = [model.preprocess.read(path) for path in sorted((tmp_path / "photos").iterdir())]
    pixels, feedback = torch.stack(read), SENTENCES * 8
    for exact, rough in (
        (model.embed_images(pixels), small.embed_images(pixels)),
        (model.embed_queries(pixels, feedback), small.embed_queries(pixels, feedback)),
    ):
        assert not torch.allclose(exact, rough, atol=1e-5)  # else nothing was quantised
        apart = 1 - (exact @ exact.T)  # the images differ, so that a cosine near 1 says something
        assert (1 - (exact * rough).sum(1)).mean() < 0.05 * apart.mean()
    close(small.embed_queries(None, SENTENCES), model.embed_queries(None, SENTENCES))  # it has no convolution


def test_weights_of_convolutions_are_int8_and_the_file_is_smaller(walked: Path) -> None:
    exact, small = (open_model(walked / "run", runtime=name) for name in ("onnx", "onnx-int8"))
    assert isinstance(exact, OnnxRetriever) and isinstance(small, OnnxRetriever)
    kinds = {part.data_type for part in onnx.load(small.folder / "maps.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    sizes = [(model.folder / "maps.onnx").stat().st_size for model in (exact, small)]
    assert sizes[1] < 0.5 * sizes[0]


def test_what_was_lost_is_printed_and_written_beside_the_graphs(walked: Path) -> None:
    best = walked / "run" / json.loads((walked / "run" / "checkpoints.json").read_text())["best"]
    words = ["--samples", "20", "--seed", "1"]
    result = call("quantise", walked / "run", walked / "world" / "images", *words)
    assert result.exit_code == 0
    loss = json.loads((best / "onnx-int8" / "loss.json").read_text())
    assert loss["calibrated"] == 20 and loss["sentences"] == "the training sentences of shapes"
    assert 0.9 < loss["agreement"]["cosine"] <= 1.0001 and 0 < loss["agreement"]["overlap"] <= 1
    assert set(loss["recall"][0]["float32"]) == set(loss["recall"][0]["int8"]) >= {"1", "10"}
    assert "calibrated on 20 images" in result.output and "of the 10 nearest kept" in result.output
    assert "recall@1 " in result.output and "points)" in result.output


def test_int8_graphs_go_to_a_folder_of_their_own_where_one_is_named(walked: Path, tmp_path: Path) -> None:
    words = ["--samples", "2", "--no-recall", "--out", tmp_path / "small"]
    result = call("quantise", walked / "run", walked / "world" / "images", *words)
    assert result.exit_code == 0 and f"int8 graphs in {tmp_path / 'small'}" in result.output
    assert open_model(tmp_path / "small", runtime="onnx-int8").runtime == "onnx-int8"
    again = call("quantise", walked / "run", walked / "world" / "images", *words)
    assert again.exit_code == 1 and "is there already" in again.output


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("which", ["tiny", pytest.param("real", marks=pytest.mark.slow)])
def test_a_model_that_comes_with_itma_is_quantised_into_a_folder_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    if which == "tiny":
        built("image-only").save(tmp_path / "weights" / "shapes")
        monkeypatch.setattr(shipped, "_FOLDER", tmp_path / "weights")
    noise(tmp_path / "photos", 3)
    result = exchange.quantise("shapes", tmp_path / "photos", tmp_path / "small", samples=2, recall=False)
    assert result.folder == str(tmp_path / "small")
    with pytest.raises(RunError, match="--out FOLDER"):
        exchange.quantise("shapes", tmp_path / "photos", samples=2, recall=False)


def test_recall_before_and_after_is_that_of_an_evaluation(walked: Path) -> None:
    best = walked / "run" / json.loads((walked / "run" / "checkpoints.json").read_text())["best"]
    lost = json.loads((best / "onnx-int8" / "loss.json").read_text())["recall"][0]
    for runtime, precision in (("onnx", "float32"), ("onnx-int8", "int8")):
        report = api.evaluate(walked / "run", runtime=runtime)
        assert {str(k): share for k, share in report.recall.items()} == pytest.approx(lost[precision])
        assert report.queries == lost["queries"]


def test_without_the_runs_own_data_recall_is_left_out_with_the_reason(checkpoint: Path, tmp_path: Path) -> None:
    noise(tmp_path / "photos", 3)
    (tmp_path / "photos" / "broken.png").write_text("no image")
    result = exchange.quantise(checkpoint, tmp_path / "photos")
    assert result.recall == () and "run.json' is missing" in result.unmeasured
    assert (result.calibrated, result.agreement.images, result.agreement.query_cosine) == (3, 3, None)
    assert "recall was not measured: " in str(result)


def test_the_same_seed_gives_the_same_int8_model_and_another_its_own(checkpoint: Path, tmp_path: Path) -> None:
    noise(tmp_path / "photos", 12)
    fingerprints = []
    for seed in (0, 0, 5):
        exchange.quantise(checkpoint, tmp_path / "photos", samples=2, seed=seed)
        fingerprints.append(open_model(checkpoint, runtime="onnx-int8").fingerprint())
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert Retriever.load(checkpoint).fingerprint() not in fingerprints


def test_int8_is_calibrated_on_a_catalogue_s_own_images_and_on_sentences_from_a_file(
    walked: Path, tmp_path: Path
) -> None:
    Catalogue.build(walked / "run", walked / "world" / "images", tmp_path / "catalogue")
    (tmp_path / "asked.txt").write_text("make red cube blue\n\nremove small sphere\n")
    run = shutil.copytree(walked / "run", tmp_path / "run")
    result = exchange.quantise(run, tmp_path / "catalogue", samples=8, text=tmp_path / "asked.txt", recall=False)
    assert result.calibrated == 8 and result.sentences.startswith("2 sentences of ")


def test_what_cannot_calibrate_is_refused(checkpoint: Path, walked: Path, tmp_path: Path) -> None:
    noise(tmp_path / "photos", 1)
    (tmp_path / "blank.txt").write_text("\n \n")
    images = walked / "world" / "images"
    for arguments, named, error, message in (
        ((checkpoint, tmp_path / "photos"), {}, DataError, "1 of 1 images could be read; at least 2"),
        ((checkpoint, images), {"samples": 0}, ConfigError, "samples=0 must be at least 1"),
        ((walked / "run", images), {"text": tmp_path / "none.txt"}, DataError, "none.txt' does not exist"),
        ((walked / "run", images), {"text": tmp_path / "blank.txt"}, DataError, "there is no sentence in"),
    ):
        with pytest.raises(error, match=message):
            exchange.quantise(*arguments, **named)  # type: ignore[arg-type]


# -- catalogues, evaluations, the command line ------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", ["onnx", "onnx-int8"])
def test_a_catalogue_is_made_and_searched_with_the_runtime_that_made_it(
    walked: Path, tmp_path: Path, runtime: str
) -> None:
    images = walked / "world" / "images"
    result = call("index", walked / "run", images, tmp_path / "catalogue", "--runtime", runtime)
    assert result.exit_code == 0, result.output
    assert Catalogue.open(tmp_path / "catalogue").model.runtime == runtime
    query = ["--image", images / "css_test_000000.png", "--text", "remove red cube", "-k", "3"]
    result = call("search", tmp_path / "catalogue", *query)
    assert result.exit_code == 0 and len(result.output.splitlines()) == 3


def test_float32_graphs_and_torch_search_each_other_s_catalogues(walked: Path, tmp_path: Path) -> None:
    images = walked / "world" / "images"
    for runtime, other in (("torch", "onnx"), ("onnx", "torch")):
        catalogue = Catalogue.build(walked / "run", images, tmp_path / runtime, runtime=runtime)
        again = Catalogue.open(tmp_path / runtime, runtime=other)
        assert again.model.runtime == other
        for image, text in ((images / "css_test_000000.png", "remove red cube"), (None, "red cube")):
            hits, others = (one.search(image, text, k=5) for one in (catalogue, again))
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in others], abs=1e-5)


@pytest.mark.parametrize(("runtime", "other"), [("torch", "onnx-int8"), ("onnx-int8", "onnx")])
def test_int8_and_float32_embeddings_are_never_compared(walked: Path, tmp_path: Path, runtime: str, other: str) -> None:
    Catalogue.build(walked / "run", walked / "world" / "images", tmp_path / "catalogue", runtime=runtime)
    with pytest.raises(CatalogueError, match=f"made with the runtime {runtime!r}.*Use --runtime {runtime}"):
        Catalogue.open(tmp_path / "catalogue", runtime=other)


def test_an_evaluation_with_float32_graphs_reports_what_torch_reports(walked: Path) -> None:
    result = call("evaluate", walked / "run", "--runtime", "onnx")
    assert result.exit_code == 0 and "onnx" in result.output.splitlines()[0]
    assert call("evaluate", walked / "run").exit_code == 0
    ranks = [(walked / "run" / f"{start}evaluation-shapes-test" / "ranks.csv").read_text() for start in ("", "onnx-")]
    assert ranks[0] == ranks[1]


@pytest.mark.usefixtures("traced")
def test_export_says_where_the_graphs_are_and_they_serve_as_a_run(checkpoint: Path, tmp_path: Path) -> None:
    noise(tmp_path / "photos", 3)
    result = call("export", checkpoint, "--out", tmp_path / "export")
    assert result.exit_code == 0 and "image.onnx" in result.output and str(tmp_path / "export") in result.output
    indexed = call("index", tmp_path / "export", tmp_path / "photos", tmp_path / "catalogue", "--runtime", "onnx")
    assert indexed.exit_code == 0, indexed.output
    result = call("search", tmp_path / "catalogue", "--image", tmp_path / "photos" / "00.png")
    assert result.exit_code == 0 and len(result.output.splitlines()) == 2
    again = call("export", checkpoint, "--out", tmp_path / "export")
    assert again.exit_code == 1 and "choose another name or remove it first" in again.output


def test_a_device_that_onnx_does_not_work_on_is_refused(walked: Path, tmp_path: Path) -> None:
    for run in (
        lambda: api.evaluate(walked / "run", runtime="onnx", device="cuda"),
        lambda: api.index(walked / "run", tmp_path, tmp_path / "c", runtime="onnx-int8", device="cuda:1"),
        lambda: api.search(tmp_path / "c", text="red", runtime="onnx", device="mps"),
    ):
        with pytest.raises(ConfigError, match="works on the CPU; leave out --device"):
            run()


def test_int8_that_was_not_made_yet_names_the_command_on_the_command_line(tmp_path: Path) -> None:
    made_up.model().save(tmp_path / "run")
    noise(tmp_path / "photos", 2)
    result = call("index", tmp_path / "run", tmp_path / "photos", tmp_path / "catalogue", "--runtime", "onnx-int8")
    assert result.exit_code == 1 and f"itma quantise {tmp_path / 'run'} IMAGES" in result.output
    assert not (tmp_path / "catalogue").exists()
