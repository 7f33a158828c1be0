"""The files around the code say what the code does: README, generated pages, versions, citation, wheel."""

import ast
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
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
        options = {word.partition("=")[0] for word in rest if re.match(r"--?[a-zA-Z]", word)}
        assert options <= {*known, "--help", "-h"}, shlex.join(words)


def test_the_readme_s_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = {word for words in shell_lines("make") for word in words[1:] if "=" not in word}
    assert {"demo", "test"} <= named <= targets


def test_the_readme_installs_the_torch_that_was_tested() -> None:
    (pinned,) = re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert {words for line in shell_lines("pip") for words in line if words.startswith("torch")} == {
        f"torch=={pinned}+cpu"
    }


def test_ci_runs_the_readme_s_own_test_command() -> None:
    assert ["make", "test"] in shell_lines("make")
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_command_line_page_is_up_to_date() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_cli.py"))["page"]()
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == page, "run: make docs"


def test_changelog_and_citation_name_the_package_s_version() -> None:
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert newest is not None
    assert newest[1] == itma.__version__
    assert citation()["version"] == itma.__version__


def test_the_citation_names_the_three_papers_first() -> None:
    references = citation()["references"]
    assert [reference["authors"][0]["family-names"] for reference in references[:3]] == ["Huynh", "Dodds", "Vo"]
    assert all(reference["title"] and reference["year"] for reference in references)


def test_every_requirement_is_pinned_by_number_alone() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    pinned = {normal(line.partition("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    assert {normal(re.split(r"[\[<>=!~;]", name)[0]) for name in requirements} - {"itma"} <= pinned


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


def test_no_two_files_import_each_other_in_a_circle() -> None:
    graph = import_graph(ROOT, "itma")
    assert len(graph) > 100 and "itma.models.retriever" in graph["itma.api"]
    assert circle_in(graph) is None


@pytest.mark.parametrize(
    ("code", "imports"),
    [
        ("import shop.b", {"shop.b"}),
        ("from shop import b", {"shop.b"}),
        ("from shop.b import name", {"shop.b"}),
        ("def later():\n    from shop.b import name", {"shop.b"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop.b import Name", set()),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    x = 1\nelse:\n    import shop.b", {"shop.b"}),
    ],
)
def test_the_import_graph_sees_imports_wherever_they_run(tmp_path: Path, code: str, imports: set[str]) -> None:
    (tmp_path / "shop").mkdir()
    for name, text in {"__init__": "", "a": code, "b": ""}.items():
        (tmp_path / "shop" / f"{name}.py").write_text(text)
    assert import_graph(tmp_path, "shop")["shop.a"] == imports


def test_a_circle_is_named() -> None:
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}}) is not None
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def import_graph(root: Path, package: str) -> dict[str, set[str]]:
    """Module → the modules of the package that it imports, also within functions; not those for type checkers alone."""
    modules = {}
    for path in (root / package).rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for module, path in modules.items():
        named = {
            name
            for node in imports_that_run(ast.parse(path.read_text(encoding="utf-8")))
            for name in modules_named(node, modules)
        }
        graph[module] = named - {module}
    return graph


def imports_that_run(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports below a node, without the bodies of `if TYPE_CHECKING`."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
    types_alone = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    for child in node.orelse if types_alone else ast.iter_child_nodes(node):
        yield from imports_that_run(child)


def modules_named(node: ast.Import | ast.ImportFrom, modules: Mapping[str, Path]) -> Iterator[str]:
    """`from package import name` names the module of that name where there is one, else the package."""
    for alias in node.names:
        whole = alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
        above = whole if isinstance(node, ast.Import) else node.module or ""
        if module := next((name for name in (whole, above) if name in modules), None):
            yield module


def circle_in(graph: Mapping[str, set[str]]) -> list[str] | None:
    """Some modules that import each other in a circle, the first named again at the end; None where there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return None


def citation() -> dict[str, object]:
    loaded: dict[str, object] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    return loaded


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
