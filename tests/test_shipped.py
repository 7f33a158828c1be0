"""The models that come with the package: whole, small, measured, and opened by their names."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image, ImageDraw

import itma
from itma import api
from itma.cli import cli
from itma.data.datasets import WORLDS
from itma.errors import RunError, UnknownNameError
from itma.export.runtimes import export_run
from itma.hub.card import model_card
from itma.hub.sharing import pack
from itma.models.checkpoint import weights_sum
from itma.models.provenance import read_provenance
from itma.models.retriever import Retriever
from itma.models.shipped import find_shipped_folder, is_shipped, list_shipped, locate
from itma.retrieval.catalogue import Catalogue
from tests import made_up, shop_table

SIZE_LIMIT = 20e6
TAUGHT_BY = {**{world: world for world in WORLDS}, "photos": "products"}
"""Model → the data that it learnt from."""


def test_every_generated_world_has_one_and_photographs_have_one() -> None:
    assert set(list_shipped()) == set(TAUGHT_BY)


@pytest.mark.parametrize("name", TAUGHT_BY)
def test_it_is_small_and_of_half_precision(name: str) -> None:
    folder = find_shipped_folder(name)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= SIZE_LIMIT
    model = Retriever.load(name)
    assert all(torch.equal(parameter, parameter.half().float()) for parameter in model.parameters())


@pytest.mark.parametrize("name", TAUGHT_BY)
def test_its_reports_measured_these_weights_and_its_card_tells_them(name: str) -> None:
    folder, weights = find_shipped_folder(name), weights_sum(name)
    provenance = read_provenance(name, weights)
    assert provenance.reports and provenance.seconds and provenance.settings
    assert provenance.settings["data"]["name"] == TAUGHT_BY[name] and provenance.settings["data"]["root"] is None
    model = Retriever.load(name)
    license = "apache-2.0" if name in WORLDS else None  # of photographs whose licence is not stated, nothing is said
    assert (folder / "README.md").read_text(encoding="utf-8") == model_card(model, weights, provenance, license=license)


@pytest.mark.parametrize("name", TAUGHT_BY)
def test_nothing_in_it_tells_of_a_machine_s_folders(name: str) -> None:
    for path in find_shipped_folder(name).rglob("*"):
        if path.suffix in (".json", ".md"):
            assert "/root" not in path.read_text(encoding="utf-8") and "/tmp" not in path.read_text(encoding="utf-8")


def test_a_catalogue_knows_it_by_name_wherever_the_package_is(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    made_up.photos(photos, ["a.png", "b.png", "c.png"])
    (photos / "broken.png").unlink()
    Catalogue.build("shapes", photos, tmp_path / "catalogue")
    stored = json.loads((tmp_path / "catalogue" / "catalogue.json").read_text(encoding="utf-8"))
    assert stored["run"] == {"path": "shapes", "from_here": ""}
    hits = Catalogue.open(tmp_path / "catalogue").search(image=photos / "a.png", k=1)
    assert hits[0].id in ("b.png", "c.png")


def test_the_model_for_photographs_says_what_it_learnt_from_and_that_its_licence_is_not_stated() -> None:
    card = (find_shipped_folder("photos") / "README.md").read_text(encoding="utf-8")
    assert "licence is not stated" in card and "itma train products" in card


def test_the_model_for_photographs_answers_an_image_words_and_both(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, colour in (("red", (200, 20, 30)), ("blue", (30, 60, 190)), ("white", (235, 235, 235))):
        _shirt(colour).save(photos / f"{name}.png")
    catalogue = Catalogue.build("photos", photos, tmp_path / "catalogue")
    assert [hit.id for hit in catalogue.search(text="a red shirt", k=1)] == ["red.png"]
    assert [hit.id for hit in catalogue.search(text="a crimson shirt", k=1)] == ["red.png"]
    assert [hit.id for hit in catalogue.search(image=_shirt((140, 25, 50)), k=1)] == ["red.png"]
    assert [hit.id for hit in catalogue.search(id="red.png", text="the same in blue", k=1)] == ["blue.png"]
    assert [hit.id for hit in catalogue.search(id="red.png", text="in white", earlier=["for men"], k=1)] == [
        "white.png"
    ]


def test_a_folder_of_the_same_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_shipped("shapes")
    made_up.model().save("shapes")
    assert not is_shipped("shapes") and locate("shapes") == Path("shapes")
    assert itma.Retriever.load("shapes").fingerprint() == made_up.model().fingerprint()


def test_an_unknown_name_says_which_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match="wardrobe"):
        find_shipped_folder("wardrobes")
    with pytest.raises(RunError, match="come with itma: photos, shapes, wardrobe"):
        Retriever.load("wardrobes")


def test_its_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="--out FOLDER"):
        export_run("shapes")


def test_a_packed_model_answers_nearly_as_its_run_does(tmp_path: Path) -> None:
    made_up.model().save(tmp_path / "run")
    packed = pack(tmp_path / "run", tmp_path / "packed", half=True)
    whole = (tmp_path / "run" / "model.safetensors").stat().st_size
    assert (packed / "model.safetensors").stat().st_size < 0.7 * whole
    images = torch.stack([_noise(seed) for seed in range(4)])
    first, second = (Retriever.load(folder).embed_images(images) for folder in (tmp_path / "run", packed))
    assert not torch.equal(first, second)
    torch.testing.assert_close(first, second, atol=2e-3, rtol=0)


def test_a_folder_of_images_of_the_same_name_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes").mkdir()
    _shirt((200, 0, 0)).save(tmp_path / "shapes/a.png")
    catalogue = Catalogue.build("shapes", "shapes", "catalogue")
    assert Catalogue.open("catalogue").model.fingerprint() == catalogue.model.fingerprint()
    assert Path(str(catalogue.get("a.png").image)).resolve() == tmp_path / "shapes/a.png"
    catalogue.backup("copy")
    assert Catalogue.open("copy").get("a.png").image == str(tmp_path / "shapes/a.png")
    (tmp_path / "shapes/run.json").touch()
    assert not is_shipped("shapes")


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", sorted(list_shipped()))
def test_a_model_that_comes_with_itma_can_be_packed_with_what_was_measured_on_it(
    name: str, half: bool, tmp_path: Path
) -> None:
    packed = pack(name, tmp_path / "packed", half=half)
    before = read_provenance(name, weights_sum(name)).reports
    after = read_provenance(packed, weights_sum(packed)).reports
    assert before and {key: report.recall for key, report in after.items()} == {
        key: report.recall for key, report in before.items()
    }


def test_the_pointer_that_git_lfs_leaves_is_named_as_such(tmp_path: Path) -> None:
    made_up.model().save(tmp_path / "run")
    (tmp_path / "run/model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    with pytest.raises(RunError, match="is a pointer of git-lfs"):
        Retriever.load(tmp_path / "run")


def test_a_packed_model_takes_no_number_that_was_measured_on_other_weights(tmp_path: Path) -> None:
    run = itma.train("shapes", preset="tiny", out=tmp_path / "run")
    itma.evaluate(run)
    assert "recall@1" in (pack(run, tmp_path / "whole") / "README.md").read_text(encoding="utf-8")
    packed = pack(run, tmp_path / "half", half=True)
    assert "was not measured" in (packed / "README.md").read_text(encoding="utf-8")
    itma.evaluate(packed)
    assert read_provenance(packed, weights_sum(packed)).reports


def _noise(seed: int) -> torch.Tensor:
    random = np.random.Generator(np.random.PCG64(seed))
    image = Image.fromarray(random.integers(0, 256, (16, 24, 3), dtype=np.uint8))
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def _shirt(colour: tuple[int, int, int]) -> Image.Image:
    """Something like a T-shirt before white."""
    image = Image.new("RGB", (150, 200), "white")
    draw = ImageDraw.Draw(image)
    draw.polygon(
        [(45, 40), (105, 40), (140, 80), (122, 96), (108, 80), (108, 170), (42, 170), (42, 80), (28, 96), (10, 80)],
        fill=colour,
    )
    draw.ellipse((62, 28, 88, 54), fill="white")
    return image


def test_a_shop_s_table_teaches_the_model_for_photographs_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("itma.api._look", lambda *_: None)  # measuring and explaining take longer than the training
    rows = shop_table.items()
    for row in rows:
        shop_table.draw(tmp_path / "images" / f"{row['id']}.jpg", row)
    table = shop_table.write(tmp_path / "items.csv", rows)
    changes = {"data.root": str(table), "train.steps": "2", "train.batch": "12", "train.evaluate_every": "2"}
    changes |= {"train.views": "1", "train.hold_out": "0.1", "data.cache": "false"}
    run = api.train("products", start="photos", changes=changes, out=tmp_path / "run")
    before, after = Retriever.load("photos"), Retriever.load(run)
    assert after.config == before.config and after.fingerprint() != before.fingerprint()
    still, moved = (
        [
            torch.equal(one, other)
            for one, other in zip(
                *(m.image_encoder.network.stages[n].parameters() for m in (before, after)), strict=True
            )
        ]
        for n in (3, 6)
    )
    assert all(still) and not all(moved)


def test_what_cannot_be_done_with_it_says_what_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    messages = {
        "train --resume shapes": "holds a model without what training needs to go on.*itma train DATA --start shapes",
        "quantise shapes photos": "itma quantise shapes photos --out FOLDER",
        "pack shapes m --which first": "unknown checkpoint 'first'; choose from: best, last",
        "explain shapes --text red": "--target IMAGE",
    }
    for line, message in messages.items():
        done = CliRunner().invoke(cli, line.split())
        assert done.exit_code == 1 and re.search(message, " ".join(done.output.split())), done.output
    assert not (tmp_path / "m").exists()
    done = CliRunner().invoke(cli, ["compare", "shapes"])
    assert done.exit_code == 0 and "--resume" not in done.output


def test_results_that_take_the_place_of_others_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["--quiet", "evaluate", "shapes", "--set", "size=tiny", "--out", "e"]
    assert CliRunner().invoke(cli, line).output.endswith("written to e\n")
    assert CliRunner().invoke(cli, line).output.endswith("written to e, in the place of earlier results\n")
