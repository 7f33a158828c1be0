"""Parts from outside: an installed package, a file that is named, and what is said where neither is there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from itma import registry
from itma.cli import cli
from itma.errors import ConfigError, MissingPartError, PluginError, UnknownNameError
from itma.models.composers import REGISTRY, Composer, register
from tests.forked import Program

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "examples" / "plugin"
TRAIN = ["train", "squares", "--model", "gate", "--set", "train.loss=margin", "--set", "train.steps=2"]
TRAIN += [
    "--set",
    "model.image_encoder.name=patches",
    "--set",
    "model.image_encoder.levels=1",
    "--set",
    "train.batch=4",
]

USE_IT = """
import sys
from pathlib import Path
from PIL import Image
from click.testing import CliRunner
from fastapi.testclient import TestClient
from itma.cli import cli
from itma.server.app import make_app
from itma.server.config import ServeConfig

run, folder = sys.argv[1], Path(sys.argv[2])
(folder / "photos").mkdir()
for number, colour in enumerate(("red", "green", "blue")):
    Image.new("RGB", (24, 24), colour).save(folder / "photos" / f"{number}.png")

def itma(*words):
    result = CliRunner().invoke(cli, ["--traceback", "--quiet", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output

assert "recall@1" in itma("evaluate", run, "--out", folder / "report")
itma("index", run, folder / "photos", folder / "catalogue")
found = itma("search", folder / "catalogue", "--image", folder / "photos" / "0.png", "--text", "make it blue", "-k", 2)
assert "1.png" in found or "2.png" in found
image = folder / "photos" / "0.png"
target = folder / "photos" / "1.png"
assert "score" in itma("explain", run, "--image", image, "--text", "make it blue", "--target", target)

with TestClient(make_app(ServeConfig(str(folder / "catalogue"), hosts=("*",)))) as client:
    answer = client.post("/api/v1/search", json={"id": "0.png", "text": "make it blue", "k": 1})
    assert answer.status_code == 200 and len(answer.json()["hits"]) == 1, answer.text
"""


def python(*words: object, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A new process that sees this checkout and, where it is given, a folder of installed packages."""
    folders = [str(ROOT), *([] if path is None else [str(path)])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *map(str, words)], env=env, capture_output=True, text=True, check=False)


def run_forked(program: str, *words: object, path: Path | None = None) -> None:
    """A program that needs a process of its own, but no new Python; `path` is a folder of installed packages."""
    head = "" if path is None else f"import sys; sys.path.insert(0, {str(path)!r})\n"
    with Program(head + program, *words) as process:
        output = process.stdout.read()
    assert process.wait() == 0, output[-2000:]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `examples/plugin` is installed into."""
    folder = tmp_path_factory.mktemp("site")
    source = folder.parent / "plugin"
    shutil.copytree(PLUGIN, source)  # building leaves nothing in the checkout
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    result = python(*pip, "--target", folder, source)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def run(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training with every part of the plugin leaves."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    program = "import sys; from itma.cli import cli; cli(sys.argv[1:], standalone_mode=False)"
    run_forked(program, "--quiet", *TRAIN, "--out", folder, path=site)
    return folder


def test_a_run_says_which_package_each_part_comes_from(run: Path) -> None:
    needs = json.loads((run / "run.json").read_text())["needs"]
    assert {(one["kind"], one["name"]) for one in needs} == {
        ("composer", "gate"),
        ("image encoder", "patches"),
        ("loss", "margin"),
        ("data set", "squares"),
    }
    assert {(one["package"], one["version"], one["module"]) for one in needs} == {
        ("itma-example", "0.1.0", "itma_example")
    }


def test_a_run_of_installed_parts_does_everything_in_another_process(run: Path, site: Path, tmp_path: Path) -> None:
    run_forked(USE_IT, run, tmp_path, path=site)


@pytest.mark.slow
def test_a_run_of_installed_parts_is_exported_in_another_process(run: Path, site: Path, tmp_path: Path) -> None:
    result = python("-m", "itma", "--quiet", "export", run, "--out", tmp_path / "onnx", path=site)
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "onnx" / "query.onnx").is_file()


def test_without_the_package_the_error_names_the_part_and_what_to_install(run: Path, tmp_path: Path) -> None:
    refused = CliRunner().invoke(cli, ["export", str(run), "--out", str(tmp_path / "onnx")])
    assert refused.exit_code == 1
    assert "needs the composer 'gate' of the package itma-example 0.1.0" in refused.stderr
    assert "pip install itma-example" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_installed_parts_are_listed_without_being_imported(site: Path) -> None:
    program = "from itma.cli import cli; import sys; cli(['plugins'], standalone_mode=False); print(*sys.modules)"
    listed = python("-c", program, path=site)
    assert "gate" in listed.stdout and "itma-example 0.1.0" in listed.stdout
    assert "itma_example" not in listed.stdout.splitlines()[-1].split()


USE_FILE = """
import sys
from itma.cli import cli

file, folder, *words = sys.argv[1:]
begin = ["--quiet", "--import", file]
cli([*begin, *words, "--out", folder + "/run"], standalone_mode=False)
row = ["benchmark", "squares", "--models", "gate,add", "--seeds", "1", "--steps", "2", "--set", "train.batch=4"]
cli([*begin, *row, "--out", folder + "/out"], standalone_mode=False)
"""


@pytest.fixture(scope="module")
def by_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with parts, and what a training and a benchmark leave in one process that was told of it."""
    folder = tmp_path_factory.mktemp("by-file")
    shutil.copy(PLUGIN / "itma_example" / "__init__.py", folder / "my_composer.py")
    run_forked(USE_FILE, folder / "my_composer.py", folder, *TRAIN)
    return folder


def test_a_file_that_is_named_adds_its_parts_and_is_named_where_it_lacks(by_file: Path) -> None:
    assert str(by_file) not in json.dumps(json.loads((by_file / "run" / "run.json").read_text())["needs"])
    command = ["-m", "itma", "--quiet", "--import", by_file / "my_composer.py"]
    measured = python(*command, "evaluate", by_file / "run")
    assert measured.returncode == 0 and "recall@1" in measured.stdout, measured.stderr
    refused = CliRunner().invoke(cli, ["evaluate", str(by_file / "run")])
    assert refused.exit_code == 1
    assert "itma --import my_composer.py COMMAND" in refused.stderr


def test_a_composer_of_ones_own_is_a_further_row_of_a_benchmark(by_file: Path) -> None:
    (table,) = json.loads((by_file / "out" / "comparison.json").read_text())["measurements"]
    assert list(table["recall"]) == ["gate", "add"]
    assert "| gate | 1 |" in (by_file / "out" / "comparison.md").read_text(encoding="utf-8")


# -- the registry ------------------------------------------------------------------------------------------------------


class Mine(Composer):
    """A composer of this file."""


@pytest.mark.parametrize("name", ["My own", "", "a/b", "../x", "-a", "Ä"])
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a composer"):
        register(name)


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the composer 'tirg' is registered already, by itma\.\S*tirg"):
        register("tirg")(Mine)


def test_a_part_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="Linear cannot be the composer 'linear': expected a class that extends"):
        register("linear")(torch.nn.Linear)


def test_a_class_that_is_defined_again_takes_the_place_of_the_first() -> None:
    first, second = (type("Again", (Composer,), {}) for _ in range(2))
    register("again")(first)
    register("again")(second)
    assert REGISTRY.find("again") is second
    listed = CliRunner().invoke(cli, ["models"], catch_exceptions=False)  # it has no docstring
    assert listed.exit_code == 0 and "again" in listed.output and registry.summary(second) == ""
    del REGISTRY._parts["again"]


def test_the_package_of_a_part_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    monkeypatch.setattr(registry, "packages_distributions", lambda: reads.append(1) or {})
    register("once")(type("Once", (Composer,), {"__module__": "a_module_of_one_s_own"}))
    assert [REGISTRY.origin("once") is None for _ in range(3)] == [False] * 3
    assert len(reads) == 1
    del REGISTRY._parts["once"]


def test_an_unknown_name_gets_near_names_and_how_to_add_one() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'tirg'\? One of your own .*--import FILE\.py"):
        REGISTRY.find("tirgg")


@pytest.mark.parametrize(
    "plain",
    [
        "gate",
        {"kind": "composer"},
        {"kind": "composer", "name": "x", "module": "m", "package": "x; rm -rf /"},
        {"kind": "composer", "name": "x", "module": "m", "file": "../x.py"},
        {"kind": "composer", "name": "x\n", "module": "m"},
        {"kind": "composer", "name": ["x"], "module": "m"},
    ],
)
def test_what_a_folder_says_that_it_needs_is_checked_before_it_is_repeated(plain: object) -> None:
    with pytest.raises(MissingPartError, match="in a way that cannot be read"):
        registry.require([plain], "the model in 'x'")  # type: ignore[list-item]


def test_what_a_folder_needs_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    plain = {"kind": "composer", "name": "evil", "module": "evil_module", "file": "evil_module.py"}
    with pytest.raises(MissingPartError, match=r"needs the composer 'evil' of 'evil_module\.py'"):
        registry.require([plain], "the model in 'x'")
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nothing.py", None, "there is no such file"),
        ("broken_part.py", "1 / 0", "failed: ZeroDivisionError"),
        ("json.py", "", "there is another module named 'json'"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(PluginError, match=message):
        registry.import_file(str(tmp_path / name))
