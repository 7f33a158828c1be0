"""Published checkpoints become runs: by the command line, with the right words, and never half or wrongly."""

import argparse
import json
import pickle
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from itma.api import evaluate_by, index, load_measured_split, read_run, resume, search, train
from itma.cli import cli
from itma.data.images import FileImages, Preprocess
from itma.data.sources import other_size
from itma.errors import ConfigError, DataError, RunError
from itma.hub import sharing
from itma.hub.sharing import save_pretrained
from itma.interop.imports import import_published
from itma.interop.published import open_checkpoint, rebuild, shape
from itma.io import file_sum
from itma.models.checkpoint import weights_sum
from itma.models.provenance import read_provenance
from itma.models.retriever import Retriever
from tests import published_checkpoints as published


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words") / "words.txt"
    path.write_text("\n".join(published.VOCABULARY[1:]) + "\n")
    return path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published.write(tmp_path_factory.mktemp("original") / "latest_checkpoint.pth", "itma-css")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, original: Path, words: Path) -> Path:
    return import_published(original, tmp_path_factory.mktemp("runs") / "imported", words=words).folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for index_, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (40, 30), colour).save(folder / f"{index_}.png")
    return folder


def tirg_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict of MAAF's code as TIRG's has it: the image network without a shell around it."""
    flat = {name.replace("img_model.model.", "img_model."): tensor for name, tensor in state.items()}
    swapped = {
        name: tensor.transpose(2, 3).contiguous()
        for name, tensor in flat.items()
        if name.startswith("mod2d") and tensor.dim() == 4
    }
    return flat | swapped


# -- the run ----------------------------------------------------------------------------------------------------------


def test_the_command_says_what_became_of_the_checkpoint(original: Path, words: Path, tmp_path: Path) -> None:
    out = tmp_path / "imported"
    done = CliRunner().invoke(cli, ["import", str(original), "--words", str(words), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "sequence_concat_attention of MAAF's code as 'itma', 7 steps, 13 words" in done.output
    assert "img_model.model.fc.0.bias and 2 more" in done.output and "which this model does not reach" in done.output
    assert not list(tmp_path.glob(".*"))


def test_an_imported_run_answers_like_the_checkpoint_through_its_folder(run: Path) -> None:
    model = Retriever.load(run)
    assert model.name == "itma"
    with torch.inference_mode():
        maps = model.image_encoder(published.images(2))
        queries = model.composer.embed_queries(maps, model.text_encoder(model.tokenizer(published.SENTENCES)))
    expected, _ = published.outputs("itma-css")
    torch.testing.assert_close(queries, expected, rtol=1e-3, atol=1e-4)


def test_an_imported_run_indexes_and_searches(run: Path, images: Path, tmp_path: Path) -> None:
    index(run, images, tmp_path / "catalogue")
    hits = search(tmp_path / "catalogue", image=images / "0.png", text="make it blue", k=2)
    assert {hit.id for hit in hits} == {"1.png", "2.png"}


def test_an_unknown_word_is_said_to_be_read_as_one(
    run: Path, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index(run, images, tmp_path / "catalogue")
    search(tmp_path / "catalogue", text="make it quux")
    assert "reads as one unknown word: 'quux'" in caplog.text


def test_an_imported_run_is_measured_on_data_that_is_named(run: Path, tmp_path: Path) -> None:
    (report,) = evaluate_by([], run, "shapes", changes={"size": "tiny"}, out=tmp_path)
    assert report.queries > 0 and (tmp_path / "report.json").is_file()


def test_an_imported_run_keeps_its_published_recipe_and_origin(run: Path) -> None:
    settings = read_run(run)
    assert settings.data.name == "css"
    assert (settings.train.optimizer, settings.train.precision, settings.train.image_encoder_rate) == (
        "sgd",
        "float32",
        1.0,
    )
    origin = json.loads((run / "run.json").read_text())["made_with"]["imported_from"]
    assert origin["options"]["attn_softmax_replacement"] == "identity" and len(origin["sha256"]) == 64


def test_an_imported_run_cannot_be_resumed_and_says_how_to_go_on(run: Path) -> None:
    with pytest.raises(RunError, match=r"itma train DATA --start"):
        resume(run)


ONE_STEP = {"data.size": "tiny", "train.steps": "1", "train.batch": "4", "train.learning_rate": "1e-9"}


@pytest.fixture(scope="module")
def continued(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("itma.api._look", lambda *_: None)  # measuring and explaining take ten seconds at this size
        return train("shapes", preset="tiny", changes=ONE_STEP, start=run, out=tmp_path_factory.mktemp("on") / "on")


def test_a_new_run_starts_from_the_weights_of_an_imported_one(run: Path, continued: Path) -> None:
    folder = continued
    before, after = Retriever.load(run).state_dict(), Retriever.load(folder).state_dict()

    def known_part(now: torch.Tensor, then: torch.Tensor) -> torch.Tensor:
        return now[: len(then)] if now.dim() == 2 and now.shape[1] == then.shape[1] else now  # new words stand last

    moved = [
        name
        for name in before
        if "running" not in name
        and "num_batches" not in name
        and not torch.allclose(before[name], known_part(after[name], before[name]), atol=1e-4)
    ]
    assert not moved
    old, new = (Retriever.load(path).tokenizer.vocabulary for path in (run, folder))
    assert list(new)[: len(old)] == list(old)
    assert set(new) - set(old) >= {"add", "gray"}
    assert len(after["text_encoder.embedding.weight"]) == len(new)
    assert read_run(folder).model == read_run(run).model
    assert read_run(folder).train.steps == 1
    began = json.loads((folder / "run.json").read_text())["made_with"]["started_from"]
    assert began == {"sha256": weights_sum(run), "path": str(run), "seconds": None}  # nobody knows how long that took
    assert f"| began with | weights with the sha256 `{weights_sum(run)}` |" in sharing.card(folder)


@pytest.mark.slow
def test_the_time_of_trainings_one_after_the_other_adds_up(continued: Path, tmp_path: Path) -> None:
    again = train("shapes", preset="tiny", changes=ONE_STEP, start=continued, out=tmp_path / "again")
    times = [read_provenance(one, weights_sum(one)).seconds for one in (continued, again)]
    assert times[0] is not None and times[1] is not None and times[1] > times[0] > 0


def test_the_card_of_an_imported_run_tells_who_trained_it(run: Path, original: Path, tmp_path: Path) -> None:
    save_pretrained(Retriever.load(run), tmp_path / "saved", run=run)
    for folder in (run, tmp_path / "saved"):
        text = sharing.card(folder)
        assert f"`latest_checkpoint.pth`, sha256 `{file_sum(original)}`" in text
        assert "It was trained by that code, not by `itma`" in text


def test_a_run_that_starts_from_another_has_its_model(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leave out the model 'tirg'"):
        train("shapes", model="tirg", start=run, out=tmp_path / "on")
    with pytest.raises(ConfigError, match=r"leave out model\.dim"):
        train("shapes", changes={"model.dim": "8"}, start=run, out=tmp_path / "on")
    assert not (tmp_path / "on").exists()


def test_an_existing_folder_is_not_written_to(original: Path, words: Path, run: Path) -> None:
    with pytest.raises(RunError, match="exists already"):
        import_published(original, run, words=words)


# -- tensors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        "tirg",
        "words-only",
        *(pytest.param(case, marks=pytest.mark.slow) for case in ("tirg-last-map", "concat", "image-only")),
    ],
)
def test_checkpoints_of_tirgs_code_answer_as_maafs_of_the_same_weights(case: str, tmp_path: Path) -> None:
    saved = published.checkpoint(case, dataset="fashion200k")
    torch.save(saved, tmp_path / "maaf.pth")
    torch.save(saved | {"model_state_dict": tirg_names(saved["model_state_dict"])}, tmp_path / "tirg.pth")
    answers = []
    for name in ("maaf", "tirg"):
        checkpoint = open_checkpoint(tmp_path / f"{name}.pth")
        assert checkpoint.code == name
        model, _ = rebuild(checkpoint, published.VOCABULARY)
        with torch.inference_mode():
            maps = model.image_encoder(published.images(2))
            spoken = None if model.text_encoder is None else model.text_encoder(model.tokenizer(published.SENTENCES))
            answers.append(model.composer.embed_queries(maps, spoken))
    torch.testing.assert_close(*answers)


def test_css_images_of_tirgs_code_are_not_resized(tmp_path: Path) -> None:
    saved = published.checkpoint("tirg", dataset="css3d")
    torch.save(saved | {"model_state_dict": tirg_names(saved["model_state_dict"])}, tmp_path / "tirg.pth")
    fitted = shape(open_checkpoint(tmp_path / "tirg.pth")).preprocess
    assert (fitted.height, fitted.width) == (120, 180)


@pytest.mark.parametrize(
    ("images", "model", "warned"),
    [
        ((96, 64), (180, 120), True),
        ((180, 120), (180, 120), False),
        ((400, 300), (180, 120), True),
        ((200, 300), (224, 224), False),
        ((100, 150), (224, 224), True),
    ],
)
def test_images_that_are_smaller_or_of_another_shape_are_told(
    images: tuple[int, int], model: tuple[int, int], warned: bool, tmp_path: Path
) -> None:
    for number in range(3):
        Image.new("RGB", images).save(tmp_path / f"{number}.png")
    files = FileImages(["0", "1", "2"], [tmp_path / f"{number}.png" for number in range(3)])
    assert other_size(files, Preprocess(height=model[1], width=model[0])) == (images if warned else None)


def test_an_imported_model_warns_of_data_of_another_size(
    run: Path, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "reference,feedback,target,split\n0.png,red,1.png,test\n1.png,red,2.png,train\n"
    (tmp_path / "triplets.csv").write_text(rows)
    shutil.copytree(images, tmp_path / "images")
    settings = {"root": str(tmp_path), "cache": "false"}
    load_measured_split(run, Retriever.load(run).preprocess, "own", changes=settings)
    assert "the images of own are 40×30 pixels" in caplog.text and "--size 40x30" in caplog.text


def test_the_older_file_format_of_torch_opens_too(tmp_path: Path) -> None:
    torch.save(published.checkpoint("tirg"), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert open_checkpoint(tmp_path / "old.pth").model == "tirg"


def altered(case: str, change: Any, path: Path) -> Path:
    saved = published.checkpoint(case)
    change(saved["model_state_dict"])
    torch.save(saved, path)
    return path


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s.update({"img_model.mystery": torch.ones(3)}), r"holds the tensor 'img_model\.mystery' \(3,\)"),
        (lambda s: s.pop("composer.encoder.norm.a_2"), r"lacks the tensor 'composer\.encoder\.norm\.a_2'"),
        (
            lambda s: s.update({"composer.m.norm.a_2": torch.ones(32)}),
            "one tensor in the published code, with different",
        ),
        (
            lambda s: s.update({"text_model.lstm.bias_ih_l0": torch.ones(7)}),
            r"'text_model\.lstm\.bias_ih_l0' .* has the shape \(7,\); by its options it should be \(128,\)",
        ),
        (lambda s: s.update({"composer.position.pe": torch.ones(1, 9, 32)}), r"'composer\.position\.pe'"),
        (lambda s: s.update({"img_model.l2_conv_proj.bn.weight": torch.ones(32)}), "l2_conv_proj"),
    ],
)
def test_a_tensor_that_is_lacking_left_over_or_wrong_is_named(change: Any, problem: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(altered("itma-css", change, tmp_path / "altered.pth"))
    with pytest.raises(DataError, match=problem):
        rebuild(checkpoint, published.VOCABULARY)


def test_a_table_of_positions_that_is_another_is_refused(tmp_path: Path) -> None:
    def move(state: dict[str, torch.Tensor]) -> None:
        for name in ("composer.position.pe", "composer.m.pos_embed.pe"):
            state[name] = state[name] + 0.5

    checkpoint = open_checkpoint(altered("itma-sinusoidal", move, tmp_path / "altered.pth"))
    with pytest.raises(DataError, match=r"composer\.(position|m\.pos_embed)\.pe"):
        rebuild(checkpoint, published.VOCABULARY)


def test_what_has_no_part_in_the_answers_is_told_with_the_reason(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(published.write(tmp_path / "original.pth", "itma-identity-sinusoidal"))
    _, left_out = rebuild(checkpoint, published.VOCABULARY)
    reasons = {each.why: each.names for each in left_out}
    assert any(
        "beyond the last one" in why and all("layer4" in name for name in names) for why, names in reasons.items()
    )
    assert any("positions" in why for why in reasons)
    model, left_out = rebuild(
        open_checkpoint(published.write(tmp_path / "images.pth", "image-only")), published.VOCABULARY
    )
    assert not model.reads_words
    assert all(name.startswith("text_model.") for each in left_out for name in each.names)


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": "attention"}, "two-stream attention model has no counterpart"),
        ({"model": "seqcat_outtoken"}, "output token was neither trained nor saved"),
        ({"model": "mystery"}, "model='mystery': it is none of imgonly, textonly"),
        ({"attn_positional_encoding": "mixed"}, "those that the model was trained with are not in the checkpoint"),
        ({"attn_softmax_replacement": "relu"}, "attn_softmax_replacement='relu': expected none or identity"),
        ({"att_layer_spec": "1"}, "att_layer_spec='1' names no stage"),
        ({"text_model_arch": "BERT"}, "model.text_encoder.kind=pretrained"),
        ({"image_model_arch": "vgg"}, "image_model_arch='vgg': expected resnet18 or resnet50"),
        ({"embed_dim": "512"}, "embed_dim='512' must be int"),
        ({"model": "tirg", "text_model_arch": "transformer"}, "a feature for each word"),
    ],
)
def test_an_option_that_is_not_supported_is_named_with_the_reason(
    changes: dict[str, Any], problem: str, words: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=problem):
        import_published(published.write(tmp_path / "o.pth", "itma-css", **changes), tmp_path / "out", words=words)
    assert not (tmp_path / "out").exists()


# -- files ------------------------------------------------------------------------------------------------------------


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("key", ["opt", "model_state_dict", "it"])
def test_a_checkpoint_that_is_made_to_run_code_is_refused(key: str, tmp_path: Path) -> None:
    saved: dict[str, Any] = {"it": 1, "opt": argparse.Namespace(), "model_state_dict": OrderedDict(a=torch.ones(1))}
    saved[key] = Hostile(tmp_path / "harm")
    torch.save(saved, tmp_path / "hostile.pth")
    with pytest.raises(DataError, match=r"it asks for .* which no checkpoint needs"):
        open_checkpoint(tmp_path / "hostile.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(saved))
    with pytest.raises(DataError, match="was not opened"):
        open_checkpoint(tmp_path / "plain.pth")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("saved", "problem"),
    [
        ({"state_dict": {}}, "expected it, opt and model_state_dict, found state_dict"),
        ([1], "found list"),
        ({"opt": argparse.Namespace(), "model_state_dict": {"a": 1}}, "'a' in model_state_dict is no tensor"),
        ({"opt": 3, "model_state_dict": {}}, "is damaged"),
    ],
)
def test_a_file_of_something_else_says_what_was_expected(saved: object, problem: str, tmp_path: Path) -> None:
    torch.save(saved, tmp_path / "other.pth")
    with pytest.raises(DataError, match=problem):
        open_checkpoint(tmp_path / "other.pth")


def test_a_whole_module_and_a_pointer_of_git_lfs_are_named_as_such(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), tmp_path / "whole.pth")
    with pytest.raises(DataError, match=r"a whole module \(torch.nn.*state_dict\(\), FILE\)"):
        open_checkpoint(tmp_path / "whole.pth")
    (tmp_path / "lfs.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(DataError, match="a pointer of git-lfs"):
        open_checkpoint(tmp_path / "lfs.pth")


def test_a_missing_empty_or_cut_file_is_named(original: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.pth' does not exist"):
        open_checkpoint(tmp_path / "none.pth")
    for name, data in (("empty.pth", b""), ("cut.pth", original.read_bytes()[:100_000])):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=f"{name}' was not opened: it is damaged or cut off"):
            open_checkpoint(tmp_path / name)


# -- words ------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_without_its_words_says_how_to_give_them(original: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give it with --words"):
        import_published(original, tmp_path / "out")


def test_a_model_that_reads_no_words_needs_none(tmp_path: Path) -> None:
    imported = import_published(published.write(tmp_path / "o.pth", "image-only"), tmp_path / "out")
    assert imported.words == 0 and not Retriever.load(tmp_path / "out").reads_words


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda words: words[:-1], r"holds 12 words besides <UNK>, and the checkpoint has embeddings for 13"),
        (lambda words: [*words[:-1], "long-sleeves"], r"line 13: 'long-sleeves' is no word"),
        (lambda words: [*words[:-1], "make"], r"line 13: 'make' stands in line 1 already"),
        (lambda words: [*words, ""], r"line 14: '' is no word"),
    ],
)
def test_a_list_of_words_that_does_not_fit_is_refused(
    change: Any, problem: str, original: Path, tmp_path: Path
) -> None:
    (tmp_path / "words.txt").write_text("\n".join(change(published.VOCABULARY[1:])) + "\n")
    with pytest.raises(DataError, match=problem):
        import_published(original, tmp_path / "out", words=tmp_path / "words.txt")


def test_the_mark_of_the_unknown_word_may_stand_first_in_the_list(original: Path, run: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\r\n".join(published.VOCABULARY) + "\r\n")
    import_published(original, tmp_path / "out", words=tmp_path / "words.txt")
    assert Retriever.load(tmp_path / "out").fingerprint() == Retriever.load(run).fingerprint()


def test_unknown_words_are_read_as_one_word_as_published(run: Path) -> None:
    tokens = Retriever.load(run).tokenizer(["make quux red", "make xyzzy red", "make red"])
    assert tokens.ids[0].tolist() == tokens.ids[1].tolist() == [1, 0, 3]
    assert tokens.mask.sum(1).tolist() == [3, 3, 2]
