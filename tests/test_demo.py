"""The demo from nothing to its page, at toy size."""

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from itma.cli import cli
from itma.demo import MODELS, DemoResult, demo
from itma.errors import ConfigError, DataError, UnknownNameError
from itma.models.checkpoint import weights_sum
from itma.retrieval.catalogue import Catalogue


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    return demo(tmp_path_factory.mktemp("demo") / "demo", train=True, size="tiny", preset="tiny", steps=4)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    return demo(tmp_path_factory.mktemp("demo") / "demo", size="tiny")


def test_the_demo_leaves_runs_gallery_catalogue_and_page(result: DemoResult) -> None:
    assert {path.name for path in result.folder.iterdir()} == {"runs", "gallery", "catalogue", "report.html"}
    assert {path.name for path in (result.folder / "runs").iterdir()} == set(MODELS) == set(result.reports)
    images = list((result.folder / "gallery").glob("*.png"))
    assert len(images) == result.reports["itma"].gallery == len(Catalogue.open(result.folder / "catalogue"))


def test_the_page_shows_the_numbers_of_the_reports(result: DemoResult) -> None:
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    for name, title in MODELS.items():
        assert title in page and f"{result.reports[name].recall[1]:.1%}" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)  # nothing is loaded from elsewhere


def test_every_report_says_which_weights_it_measured(result: DemoResult) -> None:
    for name, report in result.reports.items():
        assert report.weights == weights_sum(result.folder / "runs" / name)


@pytest.mark.parametrize("which", ["result", "ready"])
def test_what_to_type_next_works(which: str, request: pytest.FixtureRequest) -> None:
    text = str(request.getfixturevalue(which))
    (line,) = (line.strip() for line in text.splitlines() if " search " in line and "--image" in line)
    words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]
    program, *rest = words
    assert shutil.which(program), "the line works as it is, also where the environment is not active"
    result = CliRunner().invoke(cli, rest)
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == 10
    assert "report.html" in text


def test_without_training_a_shop_is_ready_to_be_searched(ready: DemoResult) -> None:
    assert {path.name for path in ready.folder.iterdir()} == {"gallery", "catalogue", "report.html"}
    catalogue = Catalogue.open(ready.folder / "catalogue")
    assert len(catalogue) == len(list((ready.folder / "gallery" / "images").glob("*.jpg")))
    assert {"name", "price", "brand", "colour"} <= set(catalogue.info().columns)
    page = (ready.folder / "report.html").read_text(encoding="utf-8")
    assert "Step 3 of a conversation" in page and f"{ready.reports['itma'].recall[1]:.1%}" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_the_shapes_are_ready_too(tmp_path: Path) -> None:
    result = demo(tmp_path / "demo", world="shapes", size="tiny")
    assert result.run == "shapes" and set(result.reports) == {"itma"}
    assert len(Catalogue.open(tmp_path / "demo" / "catalogue")) == result.reports["itma"].gallery


def test_settings_of_a_training_need_a_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--train"):
        demo(tmp_path / "demo", steps=5)
    with pytest.raises(UnknownNameError, match="wardrobe"):
        demo(tmp_path / "demo", world="kitchen")
    assert not (tmp_path / "demo").exists()


def test_an_existing_folder_is_refused_before_any_work(result: DemoResult) -> None:
    with pytest.raises(DataError, match="exists already; remove it or choose another folder"):
        demo(result.folder, size="tiny")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers(result: DemoResult, tmp_path: Path) -> None:
    again = demo(tmp_path / "demo", train=True, size="tiny", preset="tiny", steps=4)
    assert {name: report.recall for name, report in again.reports.items()} == {
        name: report.recall for name, report in result.reports.items()
    }


def test_the_demo_asks_for_what_its_shop_has(ready: DemoResult) -> None:
    page = (ready.folder / "report.html").read_text(encoding="utf-8")
    counts = re.findall(r"(\w+) of the shop(?:'|&#39;|&#x27;)s [\d,]+ products fit", page)
    assert len(counts) == 4
    assert "none" not in counts
