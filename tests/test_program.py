"""Commands in messages can be typed as they stand there, also where the environment is not active."""

import logging
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from itma.cli import cli
from itma.program import program, runnable


@pytest.fixture
def inactive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an environment in it, `here`, that is not active."""
    (tmp_path / "here").mkdir()
    for name in ("python", "itma"):
        (tmp_path / "here" / name).touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "here" / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    return tmp_path / "here"


def test_the_command_is_named_by_its_path_where_the_environment_is_not_active(
    inactive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert program() == "here/itma"
    monkeypatch.setenv("PATH", str(inactive))
    assert program() == "itma"
    monkeypatch.setenv("PATH", "/nowhere")
    (inactive / "itma").unlink()
    assert program() == f"{inactive / 'python'} -m itma"


def test_only_commands_are_written_anew(inactive: Path) -> None:
    text = "make it with: itma index RUN; itma train and itma itself, pip install -U itma, runs/itma train, itma trains"
    assert runnable(text, ["index", "train"]) == text.replace("itma index", "here/itma index").replace(
        "; itma train", "; here/itma train"
    )


def test_errors_of_the_command_line_name_commands_that_work(inactive: Path) -> None:
    result = CliRunner().invoke(cli, ["search", "nowhere", "--text", "in red"])
    assert "make it with: here/itma index RUN FOLDER nowhere" in result.output


def test_ctrl_c_is_one_quiet_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.commands["plugins"], "callback", interrupted)
    result = CliRunner().invoke(cli, ["plugins"])
    assert (result.exit_code, result.output) == (130, "stopped\n")


def test_the_shell_is_told_how_to_complete_commands() -> None:
    result = CliRunner().invoke(cli, env={"_ITMA_COMPLETE": "bash_source"}, prog_name="itma")
    assert "complete -o nosort" in result.output


def test_warnings_of_the_command_line_name_commands_that_work(
    inactive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    CliRunner().invoke(cli, ["plugins"])  # sets up the log
    (handler,) = logging.root.handlers
    record = logging.LogRecord("itma", logging.WARNING, "", 0, "say %s", ("itma doctor",), None)
    assert handler.format(record) == "WARNING: say here/itma doctor"
