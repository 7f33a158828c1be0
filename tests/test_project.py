"""The files around the code say what the code does: README, generated pages, versions, citation, wheel."""

import re
import runpy
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import click
import pytest
import yaml

import itma

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, *languages: str) -> list[str]:
    """The code blocks of a Markdown text that are marked with one of `languages`."""
    fences = re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [code for language, code in fences if language in languages]


def shell_lines(program: str, text: str = README) -> list[list[str]]:
    """The shell lines of a page (the README) that begin with `program`, as words, comments left out."""
    code = "".join(blocks(text, "sh", "bash", "console")).replace("\\\n", " ")
    lines = [shlex.split(line.removeprefix("$ "), comments=True) for line in code.splitlines()]
    return [words for words in lines if words[:1] == [program]]


def test_the_readme_s_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "readme"}
    for number, code in enumerate(blocks(README, "python"), start=1):
        exec(compile(code, f"README.md, Python block {number}", "exec"), names)


@pytest.mark.parametrize("page", ["README.md", "docs/others.md", "docs/photographs.md"])
def test_the_commands_and_options_of_a_page_exist(page: str) -> None:
    from itma.cli import cli

    lines = shell_lines("itma", (ROOT / page).read_text(encoding="utf-8"))
    assert len(lines) > 5
    for words in lines:
        command: click.Command = cli
        rest = words[1:]
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            name, *rest = rest
            assert name in command.commands, f"{shlex.join(words)}: no command {name!r}"
            command = command.commands[name]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        asked = {word.partition("=")[0] for word in rest if re.match(r"--?[a-zA-Z]", word)}
        assert asked <= {*known, "--help", "-h"}, shlex.join(words)


def test_the_readme_s_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    asked = {word for words in shell_lines("make") for word in words[1:] if "=" not in word}
    assert {"demo", "test"} <= asked <= targets


def test_the_readme_installs_the_torch_that_was_tested() -> None:
    (pinned,) = re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert {words for line in shell_lines("pip") for words in line if words.startswith("torch")} == {
        f"torch=={pinned}+cpu"
    }


def test_ci_runs_the_readme_s_own_test_command() -> None:
    assert ["make", "test"] in shell_lines("make")
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_command_line_page_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_cli.py"))["page"]()
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == made, "run: make docs"


def test_changelog_and_citation_name_the_package_s_version() -> None:
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert newest is not None
    assert newest[1] == itma.__version__
    assert citation()["version"] == itma.__version__


def test_the_citation_names_the_three_papers() -> None:
    references = citation()["references"]
    assert [reference["authors"][0]["family-names"] for reference in references] == ["Huynh", "Dodds", "Vo"]
    assert all(reference["title"] and reference["year"] for reference in references)


def test_every_requirement_is_pinned_by_number_alone() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    pinned = {normal(line.partition("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    assert {normal(re.split(r"[\[<>=!~;]", name)[0]) for name in wanted} - {"itma"} <= pinned


def test_the_wheel_holds_the_whole_package_and_nothing_else(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    on_disk = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "itma").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert "itma/py.typed" in packed
    assert packed == on_disk


def citation() -> dict[str, object]:
    loaded: dict[str, object] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    return loaded


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
