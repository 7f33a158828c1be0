"""Catalogues in several processes: one is killed at any moment, others read meanwhile, and only one writes."""

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itma.errors import CatalogueError
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.rows import Item
from tests import made_up
from tests.forked import Program

pytest.importorskip("lance")

DIM = 16
HEAD = """
import sys, itertools
from pathlib import Path
import numpy as np
from itma.retrieval.ingest import indexing
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.rows import Item

def items(number, seed):
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal((3, 16))
    return [Item(f"{number}-{part}", embedding=row, fields={"seed": seed}) for part, row in enumerate(values)]

def say(*words):
    print(*words, flush=True)

folder = Path(sys.argv[1])
"""
CHANGES = """
catalogue = Catalogue.open(folder / "c")
say("ready")
for number in itertools.count():
    catalogue.add(items(number, 1))
    say("added", number)
    catalogue.replace(items(number, 2))
    say("replaced", number)
    if number % 3 == 2:
        catalogue.delete([f"{number - 1}-{part}" for part in range(3)])
        say("deleted", number - 1)
"""
INDEXING = """
import torch
torch.set_num_threads(1)
from itma.retrieval.stores.lance import LanceItems
indexing.COMMIT_ROWS = 3
insert = LanceItems.insert
def told(self, rows):
    insert(self, rows)
    say("committed", *rows["id"].to_pylist())
LanceItems.insert = told
say("ready")
Catalogue.build(folder / "run", folder / "photos", folder / "p", update=True, batch=3)
say("done")
"""
READING = """
catalogue = Catalogue.open(folder / "c")
say("ready")
for line in sys.stdin:
    hits = catalogue.search(embedding=np.ones(16), k=1000)
    say(len(catalogue), len(hits), len({hit.id for hit in hits}), catalogue.version)
"""
HOLDING = """
catalogue = Catalogue.open(folder / "c")
with catalogue._store.writing("holding it"):
    say("ready")
    sys.stdin.readline()
"""


def started(program: str, folder: Path) -> Program:
    child = Program(HEAD + program, folder)
    assert child.stdout.readline() == "ready\n"
    return child


def killed_after(child: Program, lines: int, seconds: float) -> list[list[str]]:
    """What the child said until it was killed: so many lines, and then at some moment within what follows."""
    output = [child.stdout.readline().split() for _ in range(lines)]
    time.sleep(seconds)
    child.kill()
    output += [line.split() for line in child.stdout.read().splitlines()]
    child.wait()
    return [line for line in output if line]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an empty catalogue."""
    Catalogue.from_embeddings([Item("x", embedding=np.ones(DIM), fields={"seed": 0})], tmp_path / "c").delete(["x"])
    return tmp_path


@pytest.fixture(scope="module")
def imaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and thirty images."""
    folder = tmp_path_factory.mktemp("imaged")
    made_up.model().save(folder / "run")
    (folder / "photos").mkdir()
    random = np.random.Generator(np.random.PCG64(0))
    for number in range(30):
        pixels = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"photos/{number:02d}.png")
    return folder


def check_changes(folder: Path, output: list[list[str]]) -> None:
    """Everything that was acknowledged is there, once; the one change under way is there wholly or not at all."""
    seeds: dict[str, list[int]] = {}
    catalogue = Catalogue.open(folder / "c")
    hits = catalogue.search(embedding=np.ones(DIM), k=10**6, fields=["seed"])
    assert len({hit.id for hit in hits}) == len(hits) == len(catalogue)
    for hit in hits:
        seeds.setdefault(hit.id.split("-")[0], []).append(int(str(hit.fields["seed"])))
    assert all(len(values) == 3 and len(set(values)) == 1 for values in seeds.values()), seeds
    expected: dict[str, int] = {}
    for what, number in output:
        if what == "deleted":
            expected.pop(number, None)
        else:
            expected[number] = 1 if what == "added" else 2
    last = str(max((int(number) for what, number in output if what != "deleted"), default=-1))
    stored = {number: values[0] for number, values in seeds.items()}
    under_way = {last, str(int(last) + 1), str(int(last) - 1)}
    assert {n: s for n, s in stored.items() if n not in under_way} == {
        n: s for n, s in expected.items() if n not in under_way
    }
    if output and output[-1][0] == "added":
        assert stored[last] in (1, 2)
    if output and output[-1] == ["replaced", last]:
        assert stored[last] == 2
    catalogue.add([Item("after", embedding=np.ones(DIM))])  # and whoever comes next can write
    assert catalogue.search(embedding=np.ones(DIM), k=1)[0].id == "after"
    catalogue.delete(where="true")


def check_indexing(imaged: Path, output: list[list[str]]) -> None:
    committed = [name for line in output if line[0] == "committed" for name in line[1:]]
    assert len(set(committed)) == len(committed)
    if (imaged / "p/catalogue.json").exists():
        assert set(committed) <= set(Catalogue.open(imaged / "p").ids)
    rest = Catalogue.build(imaged / "run", imaged / "photos", imaged / "p", update=True)
    assert rest.outcome is not None and rest.outcome.new + rest.outcome.unchanged == 30
    assert list(rest.ids) == [f"{number:02d}.png" for number in range(30)] and rest.info().complete
    assert rest.outcome.unchanged >= len(committed)


@pytest.mark.parametrize("lines", [*(pytest.param(lines, marks=pytest.mark.slow) for lines in (0, 2)), 7])
def test_a_writer_that_is_killed_loses_nothing_and_doubles_nothing(folder: Path, lines: int) -> None:
    check_changes(folder, killed_after(started(CHANGES, folder), lines, seconds=0.003 * lines))


@pytest.mark.parametrize("lines", [*(pytest.param(lines, marks=pytest.mark.slow) for lines in (0, 1)), 4])
def test_an_indexing_that_is_killed_is_finished_by_the_same_call(imaged: Path, tmp_path: Path, lines: int) -> None:
    for name in ("run", "photos"):
        (tmp_path / name).symlink_to(imaged / name)
    check_indexing(tmp_path, killed_after(started(INDEXING, tmp_path), lines, seconds=0.004 * lines))


@pytest.mark.slow
def test_a_writer_killed_at_forty_random_moments_loses_nothing(folder: Path) -> None:
    random = np.random.Generator(np.random.PCG64(int(time.time())))
    for _ in range(40):
        output = killed_after(started(CHANGES, folder), int(random.integers(0, 60)), float(random.random() * 0.03))
        check_changes(folder, output)


@pytest.mark.slow
def test_an_indexing_killed_at_twenty_random_moments_is_finished_every_time(imaged: Path, tmp_path: Path) -> None:
    random = np.random.Generator(np.random.PCG64(int(time.time())))
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in ("run", "photos"):
            (folder / name).symlink_to(imaged / name)
        output = killed_after(started(INDEXING, folder), int(random.integers(0, 10)), float(random.random() * 0.2))
        check_indexing(folder, output)


def test_readers_in_other_processes_see_each_commit_at_their_next_search(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    count, commits = (2, 40) if request.config.getoption("--slow") else (1, 20)
    readers = [started(READING, folder) for _ in range(count)]
    writer = Catalogue.open(folder / "c")
    values = np.random.Generator(np.random.PCG64(0)).standard_normal((commits, DIM))
    for number, row in enumerate(values):
        writer.add([Item(f"{number}", embedding=row)])
        if number % 10 == 9:
            writer.delete([f"{number - 1}"])
            writer.compact()
        for reader in readers:
            reader.stdin.write("\n")
            reader.stdin.flush()
            counts = [int(word) for word in reader.stdout.readline().split()]
            assert counts[:3] == [len(writer)] * 3 and counts[3] == writer.version
    for reader in readers:
        assert reader.wait() == 0


def test_a_second_writer_is_told_who_holds_the_catalogue_and_a_killed_one_holds_nothing(folder: Path) -> None:
    holder = started(HOLDING, folder)
    with pytest.raises(CatalogueError, match=rf"being written by process {holder.pid} on .* \(holding it, since 20"):
        Catalogue.open(folder / "c").add([Item("a", embedding=np.ones(DIM))])
    holder.kill()
    holder.wait()
    catalogue = Catalogue.open(folder / "c")
    catalogue.add([Item("a", embedding=np.ones(DIM))])
    assert len(catalogue) == 1
