"""The command line, from the first command to the last, and what it says when something is wrong."""

import csv
import inspect
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import itma
from itma import api
from itma.adaptation import adapt
from itma.benchmark import benchmark
from itma.cli import cli
from itma.cli.changes import SHORT
from itma.data.datasets.attributes import make
from itma.demo import demo
from itma.errors import ItmaError
from itma.hub import sharing
from itma.interop import exchange
from itma.interop.imports import import_published
from itma.models.checkpoint import weights_sum
from itma.server.config import ServeConfig
from tests.shop_table import items, shop


def call(*words: str | Path) -> Result:
    result = CliRunner().invoke(cli, ["--quiet", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception  # an error that is none of ours must not pass for one
    return result


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole walk was gone at toy size: world, run, evaluation, catalogue."""
    folder = tmp_path_factory.mktemp("walk")
    for words in (
        ["generate", "shapes", folder / "world", "--size", "tiny"],
        ["train", "shapes", "--preset", "tiny", "--out", folder / "run", "--set", f"data.root={folder / 'world'}"],
        ["evaluate", folder / "run"],
        ["index", folder / "run", folder / "world" / "images", folder / "catalogue"],
    ):
        result = call(*words)
        assert result.exit_code == 0, result.output
    return folder


def test_an_evaluation_prints_its_protocol_and_leaves_a_report_and_every_rank(walked: Path) -> None:
    result = call("evaluate", walked / "run", "--out", walked / "again")
    assert "recall@1 " in result.output and "recall@50" in result.output
    assert "protocol: shapes/test" in result.output and "the reference is removed" in result.output
    report = json.loads((walked / "again" / "report.json").read_text())
    with (walked / "again" / "ranks.csv").open(newline="") as file:
        ranks = [int(line["rank"]) for line in csv.DictReader(file)]
    assert len(ranks) == report["queries"]
    assert sum(rank == 1 for rank in ranks) / len(ranks) == pytest.approx(report["recall"]["1"])
    assert report["weights"] == weights_sum(walked / "run")


def test_a_table_of_products_becomes_a_model_that_is_measured_and_searched(tmp_path: Path) -> None:
    table, run = shop(tmp_path / "shop", items(), folders=["images"]), tmp_path / "run"
    small = ["model.image_encoder.weights=null", "train.steps=2", "train.warmup=1", "train.batch=12"]
    small += ["model.preprocess.height=32", "model.preprocess.width=32"]
    changes = [word for change in small for word in ("--set", change)]
    call("train", "products", "--root", table, "--out", run, *changes)
    assert "protocol: products" in call("evaluate", run).output
    call("index", run, table / "images", tmp_path / "catalogue")
    image, text = ["--image", table / "images" / "p000.jpg"], ["--text", "in red"]
    for query in (image, text, [*image, *text]):
        result = call("search", tmp_path / "catalogue", *query, "-k", "3")
        assert result.exit_code == 0 and len(result.output.splitlines()) == 3


def test_a_search_prints_k_hits_best_first(walked: Path) -> None:
    image = walked / "world" / "images" / "css_test_000000.png"
    result = call("search", walked / "catalogue", "--image", image, "--text", "remove red cube", "-k", "4")
    lines = [line.split() for line in result.output.splitlines()]
    assert [line[0] for line in lines] == ["1", "2", "3", "4"]
    scores = [float(line[1]) for line in lines]
    assert scores == sorted(scores, reverse=True)
    assert "css_test_000000.png" not in result.output


@pytest.mark.parametrize("options", [["--image"], ["--text", "red cube"]])
def test_an_image_alone_and_a_sentence_alone_can_be_searched(walked: Path, options: list[str]) -> None:
    words = [*options, walked / "world" / "images" / "css_test_000000.png"] if options == ["--image"] else options
    result = call("search", walked / "catalogue", *words, "-k", "2")
    assert result.exit_code == 0 and len(result.output.splitlines()) == 2


def test_unreadable_images_are_listed_after_indexing(walked: Path, tmp_path: Path) -> None:
    Image.new("RGB", (20, 30), "red").save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_text("no image")
    result = call("index", walked / "run", tmp_path, tmp_path / "out" / "catalogue")
    assert "indexed 1 images" in result.output
    assert "skipped 1" in result.output and "bad.jpg" in result.output


def test_a_table_is_indexed_filtered_changed_and_copied_from_the_command_line(walked: Path, tmp_path: Path) -> None:
    shutil.copytree(walked / "world" / "images", tmp_path / "images")
    images = sorted((tmp_path / "images").iterdir())[:6]
    lines = [f"s{number},{path},{'red' if number % 2 else 'blue'},{number}" for number, path in enumerate(images)]
    (tmp_path / "items.csv").write_text("\n".join(["sku,photo,colour,price", *lines]))
    catalogue = tmp_path / "c"
    words: list[str | Path] = [
        "index",
        walked / "run",
        tmp_path / "items.csv",
        catalogue,
        "--id",
        "sku",
        "--image",
        "photo",
    ]
    first = call(*words)
    assert first.exit_code == 0, first.output
    assert "indexed 6 images" in first.output and ": 6 new" in first.output
    assert "metadata: colour (text), price (whole numbers)" in first.output
    assert "6 unchanged" in call(*words).output
    for condition in ("colour = 'red' and price > 1", '{"colour": "red", "price": {">": 1}}'):
        result = call("search", catalogue, "--id", "s1", "--text", "red", "--where", condition, "--fields", "price")
        assert sorted(line.split()[2::2] for line in result.output.splitlines()) == [
            ["s3", "price=3"],
            ["s5", "price=5"],
        ]
    assert len(call("search", catalogue, "--text", "red", "--distinct", "colour").output.splitlines()) == 2
    added = call(
        "catalogue", "add", catalogue, images[0], "--id", "more", "--field", "price=9", "--field", "colour=green"
    )
    assert added.output == "added more; 7 items\n"
    assert "price: 9" in call("catalogue", "get", catalogue, "more").output
    version = call("catalogue", "versions", catalogue).output.splitlines()[-1].split()[0]
    assert "same  more  s0" in call("catalogue", "duplicates", catalogue, "--threshold", "0.999999").output
    assert "copied to" in call("catalogue", "backup", catalogue, tmp_path / "b").output
    assert "removed 4 items" in call("catalogue", "delete", catalogue, "s0", "--where", "colour = 'red'").output
    assert "3 items of" in call("catalogue", "compact", catalogue).output
    assert len(call("search", catalogue, "--text", "red", "--version", version).output.splitlines()) == 7
    assert "restored 7 items" in call("catalogue", "restore", tmp_path / "b", catalogue, "--replace").output
    assert "wrote 7 items" in call("catalogue", "export", catalogue, tmp_path / "e.parquet").output
    imported = call("catalogue", "import", tmp_path / "e.parquet", tmp_path / "i", "--run", walked / "run")
    assert "imported 7 items" in imported.output
    assert call("search", tmp_path / "i", "--text", "red").output == call("search", catalogue, "--text", "red").output
    assert "embedded 7 images" in call("reindex", catalogue, walked / "run").output
    assert "7 items of" in call("catalogue", "info", catalogue).output


def test_a_world_on_disk_and_in_memory_train_the_same_model(walked: Path, tmp_path: Path) -> None:
    assert call("train", "shapes", "--preset", "tiny", "--out", tmp_path / "run").exit_code == 0
    numbers = [json.loads((folder / "run" / "checkpoints.json").read_text()) for folder in (walked, tmp_path)]
    assert numbers[0] == numbers[1]
    weights = [
        (f / "run" / n["last"] / "model.safetensors").read_bytes()
        for f, n in zip((walked, tmp_path), numbers, strict=True)
    ]
    assert weights[0] == weights[1]


def test_a_checkpoint_is_measured_on_the_data_of_its_run(walked: Path, tmp_path: Path) -> None:
    result = call("evaluate", next((walked / "run").glob("step-*")), "--out", tmp_path / "report")
    assert result.exit_code == 0 and "recall@1" in result.output


def test_a_finished_run_resumes_to_itself_and_says_so(walked: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = call("train", "--resume", walked / "run")
    assert result.exit_code == 0 and f"trained: {walked / 'run'}" in result.output
    assert "has done all its 8 steps" in caplog.text


def failing(*words: str | Path) -> str:
    result = call(*words)
    assert result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    return re.sub(r"\s+", " ", result.output)


def test_wrong_input_is_answered_by_one_clear_line(walked: Path, tmp_path: Path) -> None:
    image = walked / "world" / "images" / "css_test_000000.png"
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "items.xlsx").write_text("a spreadsheet")
    (tmp_path / "empty").mkdir()
    for words, expected in (
        (["train", "fashionicue"], "unknown data set 'fashionicue'; choose from: birds_to_words, "),
        (["train", "fashioniq"], "say where fashioniq is on this machine: --root DIR"),
        (["train", "fashioniq", "--root", tmp_path], "is not the folder of"),
        (["evaluate", walked / "run", "--protocol", "css"], "unknown protocol 'css'; choose from: by label"),
        (["train", "shapes", "--model", "tirgg"], "unknown composer 'tirgg'; choose from:"),
        (["train", "shapes", "--preset", "huge"], "unknown preset 'huge'; choose from:"),
        (["train", "shapes", "--set", "train.stepz=3"], "Did you mean 'steps'?"),
        (["train", "shapes", "--set", "steps"], "is not of the form name=value"),
        (["train", "shapes", "--set", "data.size=giant"], "unknown size of the shapes world"),
        (["train", "shapes", "--out", walked / "run"], "holds a run already"),
        (["train", "shapes", "--device", "cuda:99"], "the device 'cuda:99' is not available"),
        (["train", "--resume", walked / "run", "--steps", "3"], "has done 8 steps already; give more"),
        (["train", "--resume", tmp_path], "run.json' is missing"),
        (["train", "--resume", tmp_path / "none"], "none' does not exist"),
        (["train", "--resume", walked / "run", "--set", "train.stepz=9"], "Did you mean 'steps'?"),
        (["train", "shapes", "--set", "steps=3"], "Write train.steps."),
        (["train", "shapes", "--set", "blocks=3"], "unknown setting of Settings 'blocks'"),
        (["compare", walked], f"there are runs in it, e.g. '{walked / 'run'}'"),
        (["evaluate", tmp_path / "none"], "does not exist"),
        (["evaluate", walked / "run", "--split", "middle"], "unknown split 'middle'; choose from: test, train"),
        (["evaluate", walked / "run", "css"], "say where css is"),
        (["evaluate", walked / "run", "--which", "worst"], "unknown checkpoint 'worst'"),
        (["generate", "shapes", walked / "world", "--size", "tiny"], "choose another name or remove it first"),
        (["generate", "forest", tmp_path / "forest"], "unknown data set 'forest'"),
        (["index", walked / "run", tmp_path / "none", tmp_path / "c"], "does not exist"),
        (["index", walked / "run", tmp_path / "empty", tmp_path / "c"], "holds no images"),
        (["index", walked / "run", walked / "world", walked / "catalogue"], "was made from"),
        (["index", walked / "run", walked / "world" / "images", walked / "run"], "exists and is no catalogue"),
        (["index", walked / "run", walked / "world" / "images", tmp_path / "c", "--id", "sku"], "is no table"),
        (["search", walked / "catalogue", "--text", "red", "--where", "colr = 1"], "unknown column 'colr'"),
        (["search", walked / "catalogue", "--text", "red", "--where", "colr = 1"], "There is no metadata"),
        (["search", walked / "catalogue", "--text", "red", "--fields", "colr"], "There is no metadata"),
        (["search", walked / "catalogue", "red cube"], "a sentence stands behind --text"),
        (["index", walked / "run", "My", "Pictures", tmp_path / "c"], "Names with blanks stand in quotes"),
        (["index", walked / "run", tmp_path / "items.xlsx", tmp_path / "c"], "save it as “CSV UTF-8”"),
        (["search", walked / "catalogue", "--image", "https://shop.example/a.jpg"], "that is an address: download"),
        (["search", walked / "catalogue", "--image", "red cube"], "a sentence goes into the text (--text)"),
        (["search", walked / "catalogue", "--text", "red", "-o", tmp_path / "s.txt"], "does not end in .png"),
        (["search", walked / "catalogue", "--text", "red", "--where", "{"], "begins like JSON but is none"),
        (["search", walked / "catalogue", "--text", "red", "--version", "99"], "unknown version 99"),
        (["search", walked / "catalogue", "--id", "none", "--text", "red"], "no item 'none'"),
        (["catalogue", "delete", walked / "catalogue"], "say which items"),
        (["catalogue", "restore", walked / "world", tmp_path / "c"], "is no catalogue"),
        (["catalogue", "export", walked / "catalogue", tmp_path / "c.txt"], "ends in .parquet or .npz"),
        (["reindex", walked / "catalogue", tmp_path / "none"], "does not exist"),
        (["search", walked / "catalogue"], "reference image"),
        (["search", walked / "catalogue", "--image", tmp_path / "text.jpg"], "not an image in a format"),
        (["search", walked / "catalogue", "--image", tmp_path / "none.jpg"], "the file does not exist"),
        (["search", walked / "catalogue", "--image", image, "--text", "🔥 quux"], "quux"),
        (["search", walked / "catalogue", "--image", image, "-k", "0"], "k=0"),
        (["search", tmp_path / "none", "--text", "red"], "does not exist"),
    ):
        assert expected in failing(*words), words


def test_errors_of_ours_show_their_place_when_asked() -> None:
    with pytest.raises(ItmaError, match="unknown preset"):
        CliRunner().invoke(cli, ["--traceback", "train", "--preset", "huge"], catch_exceptions=False)


def test_models_presets_and_settings_are_listed() -> None:
    assert "tirg-last-map" in call("models").output
    assert "itma-fashioniq" in call("presets").output
    assert 'model.options.attention="identity"' in call("settings", "--preset", "itma-css").output
    assert "train.steps=7" in call("settings", "--set", "train.steps=7").output


def test_examples_in_the_help_stand_on_lines_of_their_own() -> None:
    below = [(name, one) for name, group in cli.commands.items() for one in getattr(group, "commands", ())]
    for names in [*((name,) for name in cli.commands), *below]:
        text = call(*names, "--help").output
        assert "\\b" not in text, names
        assert not re.search(r"^.*\bitma .*\bitma ", text.partition("\n")[2], re.MULTILINE), names


CALLED: dict[str, Callable[..., object]] = {
    "adapt": adapt,
    "benchmark": benchmark,
    "demo": demo,
    "evaluate": api.evaluate_by,
    "explain": itma.explain,
    "generate": api.generate,
    "import": import_published,
    "pack": sharing.pack,
    "push": sharing.push_to_hub,
    "quantise": exchange.quantise,
    "serve": ServeConfig,
    "settings": api.explain_settings,
    "submit": api.submit,
    "train": api.train,
    "triplets": make,
}
"""Commands that hand options on as they are, and to what."""
SETTINGS = {"adapt", "benchmark", "evaluate", "settings", "train"}
"""Those of which some options become settings: `take_settings`."""


@pytest.mark.parametrize("name", CALLED)
def test_options_that_are_handed_on_are_parameters_of_the_same_default(name: str) -> None:
    command, parameters = cli.commands[name], inspect.signature(CALLED[name]).parameters
    assert command.callback is not None
    own = inspect.signature(inspect.unwrap(command.callback)).parameters
    assert "options" in own
    for option in command.params:
        if name in SETTINGS and option.name in (*SHORT, "config", "skip_unreadable"):
            assert "changes" in parameters
        elif option.name not in own:
            assert option.name in parameters
            default = option.type_cast_value(click.Context(command), option.to_info_dict()["default"])
            assert (default or None) == (parameters[option.name].default or None), option.name


def test_help_teaches() -> None:
    assert "A first walk, with nothing to download" in call("--help").output
    for name in cli.commands:
        assert len(call(name, "--help").output.splitlines()) > 4, name


@pytest.mark.parametrize("words", [["models"], ["presets"], ["plugins"], ["settings", "train.steps"], ["cache"]])
def test_what_is_listed_is_listed_as_json_too(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITMA_CACHE", str(tmp_path))
    listed = json.loads(call(*words, "--json").output)
    assert isinstance(listed, list) and all(isinstance(entry, dict) for entry in listed)
    assert listed or words[0] in ("plugins", "cache")  # parts of other tests may be registered


@pytest.mark.parametrize("words", [["--quiet", "models"], ["models", "--quiet"], ["models", "--traceback", "--quiet"]])
def test_quiet_and_traceback_stand_in_any_place(words: list[str]) -> None:
    assert CliRunner().invoke(cli, words).exit_code == 0


def test_an_option_of_all_commands_behind_the_command_s_name_counts(tmp_path: Path) -> None:
    indexing = ["index", "nowhere", "nowhere", str(tmp_path / "c")]
    assert isinstance(CliRunner().invoke(cli, indexing).exception, SystemExit)
    assert isinstance(CliRunner().invoke(cli, [*indexing, "--traceback"]).exception, ItmaError)


def test_what_stands_after_two_dashes_is_no_option() -> None:
    assert CliRunner().invoke(cli, ["runs", "--", "--quiet"]).output.startswith("error: the folder '--quiet'")
