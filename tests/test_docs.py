"""The documentation is true: its Python runs, its tutorials can be walked, the site builds."""

import importlib
import inspect
import operator
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

import itma
from itma import api
from itma.cli import cli
from itma.cli.changes import take_settings
from tests.test_project import ROOT, blocks

DOCS = ROOT / "docs"
ONLY_PARSED = {("serve",)}
"""Commands of the tutorials that do not come to an end."""


def steps(page: Path) -> Iterator[tuple[str, str]]:
    """(language, code) of each block that a reader is to run, in order."""
    text = page.read_text(encoding="utf-8")
    ordered = sorted(
        (text.index(code), language, code) for language in ("sh", "python") for code in blocks(text, language)
    )
    for _, language, code in ordered:
        yield language, code


@pytest.mark.parametrize("name", ["shop", "researcher", "developer"])
def test_a_tutorial_can_be_walked(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page, names = DOCS / "tutorials" / f"{name}.md", {"__name__": "tutorial"}
    for number, (language, code) in enumerate(steps(page), start=1):
        if language == "python":
            exec(compile(code, f"{page.name}, block {number}", "exec"), names)
            continue
        for line in code.splitlines():
            program, *words = shlex.split(line, comments=True)
            assert program == "itma"
            if tuple(words[:1]) in ONLY_PARSED:
                words.append("--help")
            done = CliRunner().invoke(cli, ["--quiet", *words])
            assert done.exit_code == 0, f"{line}\n{done.output}"


def documented() -> list[str]:
    """Every command of README, the pages but the tutorials, and the helps, each once; of loops, one turn."""
    pages = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
    code = [block for page in pages for block in blocks(page.read_text(encoding="utf-8"), "sh")]
    for page in (DOCS / "tutorials").glob("*.md"):  # what cannot be walked there
        code += blocks(page.read_text(encoding="utf-8"), "text")
    code += [command.help or "" for command in cli.commands.values()]
    lines = "\n".join(code).replace("\\\n", " ").replace("$seed", "0").splitlines()
    return sorted({" ".join(line.split()) for line in lines if re.match(r"\s*itma [a-z-]", line)})


@pytest.mark.parametrize("line", documented())
def test_a_documented_command_is_one(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("[train]\nsteps = 3\n", encoding="utf-8")
    words = shlex.split(line, comments=True)[1:]
    if "--help" in words:
        return
    command: click.Command = cli
    context = cli.make_context("itma", words)
    while isinstance(command, click.Group):
        name, child, words = command.resolve_command(context, [*context._protected_args, *context.args])
        assert name is not None and child is not None
        command, context = child, child.make_context(name, words, parent=context)
    values = context.params
    if command.name == "train" and not values["resume"] and not values["start"]:
        changes = take_settings(values)
        settings = api.settings_for(values["data"], model=values["model"], preset=values["preset"], changes=changes)
        assert settings.data.name == values["data"]


@pytest.fixture
def explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the page of explanations speaks of: a catalogue and an image `a.jpg`."""
    monkeypatch.chdir(tmp_path)
    itma.generate("shapes", "scenes", size="tiny")
    image = next(iter(sorted((tmp_path / "scenes" / "images").glob("*test*.png"))))
    Image.open(image).convert("RGB").save("a.jpg")
    return {"itma": itma, "catalogue": itma.index("shapes", "scenes", "catalogue")}


@pytest.fixture
def tabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the page of own data speaks of: `items.csv` and its images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DIR" / "images").mkdir(parents=True)
    rows = [(colour, sleeve) for colour in ("red", "blue", "green", "navy") for sleeve in ("long", "short", "none")] * 3
    lines = ["file,category,colour,sleeve"]
    for number, (colour, sleeve) in enumerate(rows):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(f"DIR/images/{number}.png")
        lines.append(f"{number}.png,dress,{colour},{sleeve}")
    Path("items.csv").write_text("\n".join(lines), encoding="utf-8")
    return {}


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """For a page that brings all it needs."""
    monkeypatch.chdir(tmp_path)
    return {}


@pytest.mark.parametrize(
    ("page", "prepared"),
    [
        ("explanations.md", "explained"),
        ("own-data.md", "tabled"),
        *((page, "bare") for page in ("shapes.md", "datasets.md", "experiments.md")),
    ],
)
def test_the_python_of_a_page_runs(page: str, prepared: str, request: pytest.FixtureRequest) -> None:
    names = {"__name__": "page", **request.getfixturevalue(prepared)}
    code = blocks((DOCS / page).read_text(encoding="utf-8"), "python")
    assert code
    for number, block in enumerate(code, start=1):
        exec(compile(block, f"{page}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_the_python_of_every_page_is_python(page: Path) -> None:
    for number, code in enumerate(blocks(page.read_text(encoding="utf-8"), "python"), start=1):
        compile(code, f"{page.name}, block {number}", "exec")


def test_the_python_reference_names_everything_public() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    named = {line.removeprefix("::: itma.").strip() for line in text.splitlines() if line.startswith("::: itma.")}
    of_errors = {name for name in itma.__all__ if hasattr(itma.errors, name)}  # all by one line
    assert named == {*itma.__all__} - {"__version__"} - of_errors | {"ItmaError", "errors"}


@pytest.mark.parametrize(
    ("module", "path"), [("api", "index"), ("api", "search"), ("retrieval.catalogue", "Catalogue.search")]
)
def test_the_python_reference_shows_every_option_of_a_function(module: str, path: str) -> None:
    griffe = pytest.importorskip("griffe", reason="the extra is not installed: pip install 'itma[docs]'")
    extensions = griffe.load_extensions(str(DOCS / "signatures.py"))
    file = ROOT / "itma" / f"{module.replace('.', '/')}.py"
    source = griffe.visit(f"itma.{module}", filepath=file, code=file.read_text("utf-8"), extensions=extensions)
    shown = source[path]
    function = operator.attrgetter(path)(importlib.import_module(f"itma.{module}"))
    expected = inspect.signature(function).parameters
    assert [each.name for each in shown.parameters] == list(expected)
    assert [each.default for each in shown.parameters if each.name == "k"] in ([], ["10"])


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    for extra in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(extra, reason="the extra is not installed: pip install 'itma[docs]'")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "itma.Catalogue" in (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    for page in (tmp_path / "site").rglob("*.html"):
        assert 'src="http' not in page.read_text(encoding="utf-8")  # nothing is loaded from elsewhere
