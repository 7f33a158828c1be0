"""Sharing models: saved, pushed, fetched and pulled, over a hub that runs on this machine for the test."""

import json
import logging
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch
from click.testing import CliRunner
from huggingface_hub import constants
from safetensors.torch import load_file

import itma
from itma import api
from itma.cli import cli
from itma.errors import ConfigError, DataError, HubError, RunError, StorageError
from itma.hub import sharing
from itma.hub.sharing import push_to_hub, save_pretrained
from itma.models.checkpoint import FILES
from itma.models.retriever import Retriever
from itma.models.text_encoders.base import TextEncoder, TextEncoderConfig
from itma.retrieval.catalogue import Catalogue
from tests import made_up, tiny_hub
from tests.local_hub import TOKEN, LocalHub, Repository
from tests.test_project import ROOT, blocks

REPORT = "evaluation-shapes-test/report.json"
PUSHED = {*FILES, "README.md", "run.json", REPORT}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny trained and measured run, whose data lie in a folder of this machine."""
    folder = tmp_path_factory.mktemp("someone")
    api.generate("shapes", folder / "world", size="tiny")
    api.train("shapes", preset="tiny", changes={"data.root": str(folder / "world")}, out=folder / "run")
    api.evaluate(folder / "run")
    return folder / "run"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub with nothing on it, and a person who has logged in there and has nothing in the cache."""
    with LocalHub() as hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        _move(monkeypatch, hub.endpoint)
        huggingface_hub.close_session()
        yield hub
        huggingface_hub.close_session()


def push(run: Path, name: str, **more: str) -> str:
    return push_to_hub(Retriever.load(run), name, run=run, **more)  # type: ignore[arg-type]


def _move(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + template)


def answers(model: Retriever) -> torch.Tensor:
    pixels = torch.randint(0, 256, (3, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    queries = model.embed_queries(pixels, ["make red cube blue", "remove small sphere", "add"])
    return torch.stack([queries, model.embed_images(pixels)])


# -- the way there and back --------------------------------------------------------------------------------------------


def test_what_is_saved_opens_again_and_answers_bit_for_bit_alike(run: Path, tmp_path: Path) -> None:
    model = Retriever.load(run)
    save_pretrained(model, tmp_path / "saved", run=run)
    again = Retriever.from_pretrained(tmp_path / "saved")
    assert torch.equal(answers(again), answers(model))
    assert again.fingerprint() == model.fingerprint()


def test_whoever_may_read_new_files_may_read_all_files_of_a_run_and_of_what_is_saved(run: Path, tmp_path: Path) -> None:
    save_pretrained(Retriever.load(run), tmp_path / "saved", run=run)
    (tmp_path / "new").touch()
    files = [path for folder in (run, tmp_path / "saved") for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".safetensors", ".json"}
    modes = {path.name: path.stat().st_mode for path in files}
    assert modes == dict.fromkeys(modes, (tmp_path / "new").stat().st_mode)


def test_what_is_pushed_is_fetched_and_answers_bit_for_bit_alike(run: Path, hub: LocalHub) -> None:
    model = Retriever.load(run)
    address = push_to_hub(model, "shop/shapes", run=run)
    assert address.startswith(f"{hub.endpoint}/shop/shapes/commit/")
    again = Retriever.from_pretrained("shop/shapes")
    assert torch.equal(answers(again), answers(model))
    assert again.fingerprint() == model.fingerprint()


def test_the_python_of_the_documentation_runs(
    run: Path, hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "RUN")
    push(run, "ORG/NAME")
    (code,) = blocks((ROOT / "docs" / "hub.md").read_text(encoding="utf-8"), "python")
    exec(compile(code, "docs/hub.md", "exec"), {})
    assert Retriever.load("folder").fingerprint() == Retriever.load(run).fingerprint()


def test_only_the_model_its_card_and_what_it_is_written_from_go_up(run: Path, hub: LocalHub) -> None:
    push(run, "shop/shapes")
    assert set(hub.files("shop/shapes")) == PUSHED


def test_only_what_rebuilds_the_model_is_fetched(run: Path, hub: LocalHub) -> None:
    push(run, "shop/shapes")
    Retriever.from_pretrained("shop/shapes")
    assert hub.fetched() == set(FILES)


def test_no_folder_of_this_machine_goes_up(run: Path, hub: LocalHub) -> None:
    push(run, "shop/shapes")
    files = hub.files("shop/shapes")
    assert [name for name, data in files.items() if str(run.parent.parent).encode() in data] == []
    assert json.loads(files["run.json"])["data"]["root"] == "world"
    assert json.loads(files[REPORT])["model"] == "itma"


def test_a_pulled_model_is_a_run_for_the_commands_that_take_one(run: Path, hub: LocalHub, tmp_path: Path) -> None:
    world = str(run.parent / "world")
    push(run, "shop/shapes")
    pulled = sharing.pull("shop/shapes", tmp_path / "pulled")
    assert {path.relative_to(pulled).as_posix() for path in pulled.rglob("*") if path.is_file()} == PUSHED
    assert torch.equal(answers(Retriever.load(pulled)), answers(Retriever.load(run)))
    measured = api.evaluate(pulled, changes={"root": world})
    assert measured.recall == api.evaluate(run, out=tmp_path / "measured").recall
    assert len(api.index(pulled, run.parent / "world" / "images", tmp_path / "catalogue")) > 0
    assert len(api.search(tmp_path / "catalogue", text="remove red cube", k=2)) == 2


def test_the_card_of_a_pulled_model_is_the_one_that_was_pushed(run: Path, hub: LocalHub, tmp_path: Path) -> None:
    push(run, "shop/shapes", license="mit")
    pulled = sharing.pull("shop/shapes", tmp_path / "pulled")
    assert sharing.card(pulled, repo_id="shop/shapes", license="mit") == (pulled / "README.md").read_text()


def test_a_second_push_takes_away_reports_of_earlier_weights(run: Path, hub: LocalHub) -> None:
    push(run, "shop/shapes")
    push_to_hub(made_up.model(), "shop/shapes")
    assert set(hub.files("shop/shapes")) == {*FILES, "README.md", "run.json"}
    assert "was not measured" in hub.files("shop/shapes")["README.md"].decode()


def test_the_catalogue_of_a_run_is_also_that_of_the_pulled_model(run: Path, hub: LocalHub, tmp_path: Path) -> None:
    api.index(run, run.parent / "world" / "images", tmp_path / "catalogue")
    push(run, "shop/shapes")
    pulled = sharing.pull("shop/shapes", tmp_path / "pulled")
    assert len(api.search(tmp_path / "catalogue", text="remove red cube", k=2, run=pulled)) == 2


# -- what the hub's own arguments mean ---------------------------------------------------------------------------------


def test_a_name_without_an_organisation_is_the_person_s_own(run: Path, hub: LocalHub) -> None:
    push(run, "shapes")
    assert "me/shapes" in hub.repositories
    assert 'from_pretrained("me/shapes")' in hub.files("me/shapes")["README.md"].decode()


@pytest.mark.parametrize("private", [True, False, None])
def test_a_new_repository_is_private_as_asked(hub: LocalHub, private: bool | None) -> None:
    push_to_hub(made_up.model(), "shop/shapes", private=private)
    assert hub.repositories["shop/shapes"].private is private


def test_a_branch_is_made_and_fetched_by_its_name(hub: LocalHub) -> None:
    push_to_hub(made_up.model(seed=1), "shop/shapes", revision="tried")
    assert hub.files("shop/shapes", "main") == {}
    assert Retriever.from_pretrained("shop/shapes", revision="tried").fingerprint() == made_up.model(1).fingerprint()


def test_a_pull_request_leaves_the_branch_as_it_is(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the local hub knows the plain way of asking only
    address = push_to_hub(made_up.model(), "shop/shapes", create_pr=True)
    assert address == f"{hub.endpoint}/shop/shapes/discussions/1"
    assert hub.files("shop/shapes", "main") == {}
    assert set(FILES) < set(hub.files("shop/shapes", "refs/pr/1"))


def test_a_commit_says_what_it_is_told_to_say(hub: LocalHub) -> None:
    push_to_hub(made_up.model(), "shop/shapes")
    push_to_hub(made_up.model(1), "shop/shapes", commit_message="Better")
    assert hub.messages == ["Upload itma with itma", "Better"]


def test_a_token_that_is_given_opens_what_is_private(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    push_to_hub(made_up.model(), "shop/shapes", private=True)
    monkeypatch.delenv("HF_TOKEN")
    assert Retriever.from_pretrained("shop/shapes", token=TOKEN).name == "itma"


@pytest.mark.parametrize("closed", ["local_files_only", "HF_HUB_OFFLINE", "unplugged"])
def test_what_was_fetched_once_opens_without_a_network(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    push_to_hub(made_up.model(), "shop/shapes")
    Retriever.from_pretrained("shop/shapes")
    before = len(hub.requests)
    if closed == "HF_HUB_OFFLINE":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif closed == "unplugged":
        _move(monkeypatch, nowhere())
    again = Retriever.from_pretrained("shop/shapes", local_files_only=closed == "local_files_only")
    assert again.fingerprint() == made_up.model().fingerprint()
    assert len(hub.requests) == before


def test_a_cache_of_one_s_own_is_used(hub: LocalHub, tmp_path: Path) -> None:
    push_to_hub(made_up.model(), "shop/shapes")
    Retriever.from_pretrained("shop/shapes", cache_dir=tmp_path / "mine")
    assert list((tmp_path / "mine").rglob("model.safetensors"))
    assert not (tmp_path / "cache").exists()


# -- what can go wrong -------------------------------------------------------------------------------------------------


def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_an_unknown_model_is_named(hub: LocalHub) -> None:
    with pytest.raises(HubError, match=r"no model 'shop/shapez' on the hub, or it is private.*hf auth login"):
        Retriever.from_pretrained("shop/shapez")


def test_a_private_model_asks_for_a_login(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["shop/shapes"] = Repository(private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(
        HubError, match=r"'shop/shapes' on the hub, or it is private and not open to you.*hf auth login"
    ):
        Retriever.from_pretrained("shop/shapes")


def test_a_gated_model_says_where_to_ask(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["shop/shapes"] = Repository(gated=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=rf"'shop/shapes' is restricted; ask for it at {hub.endpoint}/shop/shapes"):
        Retriever.from_pretrained("shop/shapes")


def test_an_unknown_revision_is_named(hub: LocalHub) -> None:
    hub.repositories["shop/shapes"] = Repository()
    with pytest.raises(HubError, match="'shop/shapes' has no revision 'v9'"):
        Retriever.from_pretrained("shop/shapes", revision="v9")


def test_a_token_is_asked_for_that_is_not_there(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="'shop/shapes' was asked for with a token, but there is none here"):
        Retriever.from_pretrained("shop/shapes", token=True)


@pytest.mark.parametrize("name", ["runs/2026/itma", "a b", "shop/"])
def test_a_name_that_can_be_neither_folder_nor_model_is_refused(hub: LocalHub, name: str) -> None:
    with pytest.raises(HubError, match="is not a name on the hub; expected ORG/NAME"):
        Retriever.from_pretrained(name)
    assert hub.requests == []


def test_what_is_not_in_the_cache_cannot_be_opened_offline(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        HubError, match=r"'shop/shapes' is not in the hub's cache.*local_files_only keeps the network cl"
    ):
        Retriever.from_pretrained("shop/shapes", local_files_only=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"'shop/shapes' at 'v1' is not in the hub's cache.*HF_HUB_OFFLINE keeps"):
        Retriever.from_pretrained("shop/shapes", revision="v1")


def test_a_cache_that_holds_a_part_only_is_no_model(hub: LocalHub) -> None:
    push_to_hub(made_up.model(), "shop/shapes")
    huggingface_hub.hf_hub_download("shop/shapes", "config.json")
    with pytest.raises(HubError, match=r"'shop/shapes' is not in the hub's cache.*local_files_only keeps"):
        Retriever.from_pretrained("shop/shapes", local_files_only=True)


def test_nothing_is_pushed_offline(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="'shop/shapes' cannot be uploaded, and HF_HUB_OFFLINE keeps the network closed"):
        push_to_hub(made_up.model(), "shop/shapes")


def test_a_hub_out_of_reach_is_named(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = nowhere()
    _move(monkeypatch, gone)
    with pytest.raises(
        HubError, match=rf"{gone} cannot be reached for 'shop/shapes', and it is not in the hub's cache"
    ):
        Retriever.from_pretrained("shop/shapes")
    with pytest.raises(HubError, match=rf"{gone} cannot be reached for 'shop/shapes'; check the network"):
        push_to_hub(made_up.model(), "shop/shapes")


@pytest.mark.parametrize("names", [[], ["config.json"], ["config.json", "model.safetensors"]], ids=str)
def test_where_the_hub_is_not_reached_nothing_is_said_of_what_it_holds(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: list[str]
) -> None:
    tiny_hub.bert(tmp_path / "bert")
    files = {path.name: path.read_bytes() for path in (tmp_path / "bert").iterdir()}
    hub.repositories["shop/bert"] = Repository()
    hub.repositories["shop/bert"].commit("main", files)
    for name in names:
        huggingface_hub.hf_hub_download("shop/bert", name)
    changes = {"model.text_encoder.kind": "pretrained", "model.text_encoder.name": "shop/bert"}
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"no text encoder 'shop/bert': .*HF_HUB_OFFLINE keeps the network closed"):
        itma.train("shapes", preset="tiny", changes=changes, out=tmp_path / "run")
    if "model.safetensors" not in names:
        with pytest.raises(RunError, match="HF_HUB_OFFLINE keeps the network closed"):
            itma.load("shop/bert")
        with pytest.raises(ConfigError, match=r"no image encoder 'shop/bert': .*HF_HUB_OFFLINE keeps"):
            itma.train("shapes", preset="tiny", changes={"model.image_encoder.name": "shop/bert"}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_networks_of_a_new_model_come_from_the_hub(hub: LocalHub, tmp_path: Path) -> None:
    tiny_hub.bert(tmp_path / "bert")
    files = {path.name: path.read_bytes() for path in (tmp_path / "bert").iterdir()}
    hub.repositories["shop/bert"] = Repository()
    hub.repositories["shop/bert"].commit("main", files)
    encoder = TextEncoderConfig(kind="pretrained", name="shop/bert")
    assert len(encoder.tokenizer(())(["red"]).ids) == 1
    assert TextEncoder.build(encoder, 0, 8).brings_words


def test_networks_that_are_not_there_are_refused_before_data_are_read(tmp_path: Path) -> None:
    for changes in (
        {"model.image_encoder.name": str(tmp_path / "none")},
        {"model.image_encoder.weights": "none.pth"},
        {"model.text_encoder.kind": "pretrained", "model.text_encoder.name": str(tmp_path / "none")},
    ):
        with pytest.raises((ConfigError, DataError), match="none"):
            itma.train("own", changes={"data.root": "/no/such/data", **changes}, out=tmp_path / "run")


@pytest.mark.parametrize(
    "address",
    ["https://huggingface.co/shop/shapes", "hf://shop/shapes", "https://huggingface.co/shop/shapes/tree/main"],
)
def test_the_address_of_a_model_is_no_name(address: str) -> None:
    with pytest.raises(RunError, match="is an address; of a model on the hub give the name alone: shop/shapes"):
        itma.load(address)


def test_a_hub_out_of_order_is_named(hub: LocalHub) -> None:
    with pytest.raises(HubError, match=r"'broken/shapes'.*try again.*503"):
        Retriever.from_pretrained("broken/shapes")


def test_one_who_may_not_write_is_told_so(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HubError, match="you may not write to 'closed/shapes'; log in with: hf auth login"):
        push_to_hub(made_up.model(), "closed/shapes")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="you may not write to 'shop/shapes'; log in with: hf auth login"):
        push_to_hub(made_up.model(), "shop/shapes")


def test_settings_that_the_hub_does_not_take_are_an_error_of_ours(hub: LocalHub) -> None:
    with pytest.raises(HubError, match=r"the hub does not take 'shop/shapes'.*create_pr"):
        push_to_hub(made_up.model(), "shop/shapes", create_pr=True, revision="tried")


def test_a_repository_of_something_else_is_no_model(hub: LocalHub) -> None:
    hub.repositories["shop/bert"] = Repository()
    hub.repositories["shop/bert"].commit("main", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    with pytest.raises(
        HubError, match=r"'shop/bert' holds no model of itma: it lacks model.safetensors, tokenizer.json"
    ):
        Retriever.from_pretrained("shop/bert")
    assert hub.fetched() == {"config.json"}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "manifest.json"])
def test_a_damaged_file_is_refused_by_name(hub: LocalHub, tmp_path: Path, name: str) -> None:
    push_to_hub(made_up.model(), "shop/shapes")
    files = hub.files("shop/shapes")
    files[name] = files[name][:-20] + b"?" * 20
    with pytest.raises(RunError, match=f"the hub's model 'shop/shapes' cannot be opened: .*{name}' is damaged"):
        Retriever.from_pretrained("shop/shapes")
    with pytest.raises(RunError, match=f"{name}' is damaged"):
        sharing.pull("shop/shapes", tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()


def test_a_folder_that_is_taken_is_not_pulled_into(hub: LocalHub, tmp_path: Path) -> None:
    push_to_hub(made_up.model(), "shop/shapes")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(StorageError, match="choose another name or remove it first"):
        sharing.pull("shop/shapes", tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_a_run_is_never_written_over(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(RunError, match="holds a run, which would be written over; choose another folder"):
        save_pretrained(Retriever.load(run), tmp_path / "run", run=run)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_another_model_s_run_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no checkpoint with the weights of this model"):
        save_pretrained(made_up.model(), tmp_path / "saved", run=run)


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="none' does not exist"):
        save_pretrained(made_up.model(), tmp_path / "saved", run=tmp_path / "none")


# -- the run's own numbers ---------------------------------------------------------------------------------------------


def test_a_report_on_other_weights_is_left_out_and_named(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(run, tmp_path / "run")
    report = json.loads((tmp_path / "run" / REPORT).read_text())
    (tmp_path / "run" / REPORT).write_text(json.dumps({**report, "weights": "0" * 64}))
    with caplog.at_level(logging.WARNING):
        text = sharing.card(tmp_path / "run")
    assert "This model was not measured" in text and "recall_at" not in text
    assert "measured other weights" in caplog.text and REPORT in caplog.text.replace("\\", "/")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged: it holds no JSON object"),
        ("{}", "is damaged: 'format'"),
        ('{"format": 1, "model": "itma"}', "is damaged: .*missing"),
        ('{"format": 2}', "was written by a newer itma .format 2, this one reads 1."),
    ],
)
def test_a_damaged_report_is_named(run: Path, tmp_path: Path, text: str, message: str) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / REPORT).write_text(text)
    with pytest.raises(RunError, match=f"report.json' {message}"):
        sharing.card(tmp_path / "run")


def test_a_run_cut_short_says_at_which_step(tmp_path: Path) -> None:
    out = api.train("shapes", preset="tiny", changes={"train.evaluate_every": "4"}, out=tmp_path / "run")
    names = json.loads((out / "checkpoints.json").read_text())
    steps = {which: int(names[which].removeprefix("step-")) for which in ("best", "last")}
    for which, step in steps.items():
        best = ", the best by validation/recall@1" if step == steps["best"] else ""
        assert f"| checkpoint | step {step} of 8{best}" in sharing.card(out, which=which)


# -- the command line --------------------------------------------------------------------------------------------------


# -- models of others, by their names on the hub ----------------------------------------------------------------------


@pytest.fixture
def clip(hub: LocalHub, tmp_path: Path) -> str:
    """The name of a tiny CLIP on the hub, with its weights in two forms, as the first CLIP has them."""
    folder = tiny_hub.clip(tmp_path / "clip")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    files = {path.name: path.read_bytes() for path in folder.iterdir()} | {"tf_model.h5": b"x"}
    hub.repositories["someone/clip"] = Repository()
    hub.repositories["someone/clip"].commit("main", files)
    return "someone/clip"


def test_clip_is_fetched_by_its_name_once_and_only_what_is_read(clip: str, hub: LocalHub, tmp_path: Path) -> None:
    model = Retriever.load(clip)
    assert hub.fetched() == {"config.json", "tokenizer.json", "model.safetensors"}
    assert model.fingerprint() == Retriever.load(tmp_path / "clip").fingerprint()
    hub.requests.clear()
    Retriever.load(clip)
    assert hub.requests == []


def test_clip_with_weights_of_torch_alone_is_fetched_too(clip: str, hub: LocalHub) -> None:
    files = {name: data for name, data in hub.files(clip).items() if name != "model.safetensors"}
    hub.repositories[clip].commit("main", files)
    assert Retriever.load(clip).name == "sum"
    assert "pytorch_model.bin" in hub.fetched()


def test_a_catalogue_knows_clip_by_its_name_on_the_hub(
    clip: str, hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    made_up.photos(tmp_path / "photos", ["a.png", "b.png"])
    monkeypatch.chdir(tmp_path)
    api.index(clip, "photos", "shop", device="cpu")
    assert json.loads((tmp_path / "shop" / "catalogue.json").read_text())["run"] == {"path": clip, "from_here": ""}
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert len(Catalogue.open("shop").search(text="red")) == 2
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    shutil.rmtree(tmp_path / "cache")
    hub.requests.clear()
    assert len(Catalogue.open("shop").search(text="red")) == 2 and "model.safetensors" in hub.fetched()


def test_an_evaluation_of_clip_by_name_is_written_to_the_present_folder(
    clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = api.evaluate(clip, "shapes", changes={"size": "tiny"}, device="cpu")
    assert (
        report.model == "sum (someone/clip)"
        and (tmp_path / "evaluation-someone--clip-shapes-test" / "report.json").is_file()
    )


def test_a_run_that_starts_from_a_name_on_the_hub_tells_it(clip: str, tmp_path: Path) -> None:
    steps = {"train.steps": "1", "train.batch": "4", "data.size": "tiny"}
    run = api.train("shapes", start=clip, changes=steps, out=tmp_path / "run", device="cpu")
    assert json.loads((run / "run.json").read_text())["made_with"]["started_from"]["name"] == "someone/clip"
    assert "`someone/clip`, weights with the sha256" in sharing.card(run)


def test_a_pushed_model_is_a_run_by_its_name(run: Path, hub: LocalHub) -> None:
    push(run, "shop/shapes")
    assert torch.equal(answers(Retriever.load("shop/shapes")), answers(Retriever.load(run)))


def test_a_name_that_the_hub_does_not_have_is_no_run(hub: LocalHub) -> None:
    with pytest.raises(
        RunError,
        match=r"'shop/none' is no folder here, and .* no model 'shop/none' on the hub.*itma: .*shapes, wardrobe",
    ):
        Retriever.load("shop/none")


def call(*words: str | Path) -> str:
    result = CliRunner().invoke(cli, ["--quiet", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return f"{result.exit_code}: {result.output}"


def test_the_commands_go_the_whole_way(run: Path, hub: LocalHub, tmp_path: Path) -> None:
    assert call("push", run, "shop/shapes", "--private", "--license", "mit").startswith("0: pushed: http")
    assert hub.repositories["shop/shapes"].private is True
    assert "license: mit" in hub.files("shop/shapes")["README.md"].decode()
    assert "0: pulled: " in call("pull", "shop/shapes", tmp_path / "pulled")
    assert "0: pulled: " in call("pull", "shop/shapes", tmp_path / "again", "--offline")
    assert "# shop/shapes" in call("card", tmp_path / "pulled", "--repo", "shop/shapes")
    assert "written to" in call("card", tmp_path / "pulled", "--out", tmp_path / "card.md")
    assert (tmp_path / "card.md").read_text().startswith("---\nlanguage: en\n")


def test_the_commands_answer_what_is_wrong_with_one_line(hub: LocalHub, tmp_path: Path) -> None:
    assert "1: error: there is no model 'shop/none' on the hub" in call("pull", "shop/none", tmp_path / "none")
    assert "1: error: the run folder" in call("card", tmp_path / "none")
    assert "1: error: the run folder" in call("push", tmp_path / "none", "shop/shapes")


# -- averaged with its start -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapted(run: Path) -> Path:
    """A run that went on from `run`, with a word of its own and images of another size."""
    train, test = made_up.triplets(), made_up.triplets()
    sizes = {"model.preprocess.height": "40", "model.preprocess.width": "72"}
    changes = {**sizes, "train.steps": "4", "train.batch": "8", "train.hold_out": "0"}
    return api.train(
        "crimson", start=run, changes=changes, triplets=(train, test), out=run.parent / "adapted", preset="tiny"
    )


def test_a_run_may_see_images_of_another_size_than_its_start(run: Path, adapted: Path) -> None:
    start, model = Retriever.load(run), Retriever.load(adapted)
    assert (start.preprocess.height, start.preprocess.width) != (40, 72)
    assert (model.preprocess.height, model.preprocess.width) == (40, 72)
    resized = start.resize(40, 72)
    pixels = torch.randint(0, 256, (2, 3, 40, 72), dtype=torch.uint8)
    # on images of that size, tables that are interpolated once are those that are interpolated every time
    torch.testing.assert_close(resized.embed_images(pixels), start.embed_images(pixels), atol=1e-5, rtol=1e-5)


def test_a_run_with_another_size_than_its_start_that_never_saved_is_begun_again(adapted: Path, tmp_path: Path) -> None:
    shutil.copytree(adapted, tmp_path / "r", ignore=shutil.ignore_patterns("step-*", "checkpoints.json", "metrics.*"))
    api.resume(tmp_path / "r", triplets=(made_up.triplets(), made_up.triplets()))
    again = Retriever.load(tmp_path / "r").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in Retriever.load(adapted).state_dict().items())


def test_a_start_has_its_other_settings(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"leave out model\.dim"):
        api.train("shapes", start=run, changes={"model.dim": "8", "model.preprocess.height": "40"}, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_packed_model_is_averaged_with_its_start(share: float, run: Path, adapted: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli, ["pack", str(adapted), str(tmp_path / "m"), "--average", str(run), "--share", str(share)]
    )
    assert done.exit_code == 0, done.output
    own, start = Retriever.load(adapted).state_dict(), Retriever.load(run).resize(40, 72).state_dict()
    for name, tensor in Retriever.load(tmp_path / "m").state_dict().items():
        if tensor.is_floating_point():
            rows = own[name].clone()
            known = rows[: len(start[name])] if rows.dim() else rows
            known.copy_((1 - share) * known + share * start[name])
            torch.testing.assert_close(tensor, rows)
    card = (tmp_path / "m" / "README.md").read_text()
    assert f"| averaged | {share:g} of the weights with the sha256" in card
    assert "evaluation" not in {path.name.partition("-")[0] for path in (tmp_path / "m").iterdir()}
    record = json.loads((tmp_path / "m" / "run.json").read_text())["made_with"]
    assert record["averaged_with"]["share"] == share


def test_models_that_are_not_related_are_not_averaged(run: Path, tmp_path: Path) -> None:
    model, other, larger = (
        Retriever.build(replace(made_up.CONFIG, dim=dim, options=None), ["make it red"], seed=seed)
        for dim, seed in ((32, 0), (32, 1), (64, 0))
    )
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ConfigError, match=r"neither learned from the other \(cosine of their weights -?0\.\d\d\)"):
        model.average(other, 0.5)
    with pytest.raises(ConfigError, match="different shapes: "):
        model.average(larger, 0.5)
    with pytest.raises(ConfigError, match="different shapes: their words"):
        model.average(Retriever.build(model.config, ["make it blue"]), 0.5)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    with pytest.raises(ConfigError, match=r"share=2 is not from 0"):
        sharing.pack(run, tmp_path / "m", average=run, share=2)
    assert not (tmp_path / "m").exists()


def test_weights_that_belong_to_a_size_of_images_keep_it() -> None:
    model = Retriever.build(replace(made_up.CONFIG, composer="val", options=None), ["make it red"])
    with pytest.raises(ConfigError, match="must be trained from its beginning"):
        model.resize(96, 160)
