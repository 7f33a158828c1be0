"""Pipes and devices in the place of files: never waited for, never replaced."""

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from itma.cli import cli
from itma.config import read_changes
from itma.data.datasets.pickled import read_pickled_npy
from itma.data.datasets.reading import read_text
from itma.errors import DataError, StorageError
from itma.io import file_sum, refuse_stream, write_text
from itma.models.pickles import load_allowed
from itma.models.shipped import find_shipped_folder
from itma.models.towers import holds_towers
from itma.retrieval.stores.lance import LanceStore

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "train shapes --config f.toml",
        "train --resume f.toml",
        "settings --config f.toml",
        "triplets f.csv out",
        "triplets items.csv out --templates f.toml",
        "train products --root f.csv",
        "doctor own --root f.jsonl",
        "import f.pth --out out",
        "import some.pth --words f.txt --out out",
        "index shapes f.csv out",
        "index shapes f.parquet out",
        "search catalogue --image f.jpg",
        "search catalogue --embedding f.npy",
        "explain catalogue --image f.jpg",
        "evaluate f.npz shapes",
        "submit f.npz out cirr",
        "catalogue import f.parquet out",
        "catalogue add catalogue f.jpg",
        "adapt catalogue f.csv",
        "quantise shapes images --text f.txt",
    ],
)
def test_no_command_waits_for_a_pipe(here: Path, line: str) -> None:
    words = line.split()
    os.mkfifo(next(word for word in words if word.startswith("f.")))
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1 and "is a pipe, a socket or a device, not a file; give a file" in done.output
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    "read",
    [
        read_changes,
        load_allowed,
        lambda path: read_text(path, ""),
        file_sum,
        lambda path: read_pickled_npy(path, ""),
        lambda path: holds_towers(path.parent),
        lambda path: LanceStore(path.parent).read(path.name),
    ],
)
def test_nothing_that_reads_waits_for_a_pipe(here: Path, read: object) -> None:
    os.mkfifo(here / "config.json")
    with pytest.raises(DataError, match="is a pipe"):
        read(here / "config.json")  # type: ignore[operator]


def test_a_model_whose_settings_are_a_pipe_is_refused(here: Path) -> None:
    shutil.copytree(find_shipped_folder("shapes"), here / "m")
    (here / "m" / "config.json").unlink()
    os.mkfifo(here / "m" / "config.json")
    assert "is a pipe" in CliRunner().invoke(cli, ["evaluate", "m", "shapes"]).output


def test_what_a_shell_fills_is_read(here: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"[train]\nsteps = 3\n")
    os.close(writing)
    assert read_changes(f"/dev/fd/{reading}") == {"train.steps": 3}
    os.close(reading)
    with pytest.raises(DataError, match="'/dev/zero' is a pipe, a socket or a device"):
        refuse_stream(Path("/dev/zero"))


def test_what_is_written_to_a_pipe_goes_into_it_and_takes_no_place(here: Path) -> None:
    os.mkfifo("out.md")
    with pytest.raises(StorageError, match="a pipe that nobody reads"):
        write_text("out.md", "a card")
    reading = os.open("out.md", os.O_RDONLY | os.O_NONBLOCK)
    write_text("out.md", "a card")
    assert os.read(reading, 100) == b"a card" and Path("out.md").is_fifo()
    os.close(reading)


def test_a_device_is_never_replaced(here: Path) -> None:
    (here / "null").symlink_to("/dev/null")
    write_text(here / "null", "nothing")
    assert (here / "null").is_symlink() and (here / "null").is_char_device()
