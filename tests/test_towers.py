"""CLIP and SigLIP in the hub's form as whole models: no training, the sum of both embeddings, a composer on top."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

import itma
from itma import api
from itma.cli import cli
from itma.errors import CatalogueError, ConfigError, DataError, RunError
from itma.export.runtimes import open_model
from itma.hub import sharing
from itma.hub.card import model_card
from itma.models.checkpoint import weights_sum
from itma.models.composers import FeatureShapes, composer_named
from itma.models.composers.combiner import CombinerOptions
from itma.models.provenance import read_provenance
from itma.models.retriever import Retriever
from itma.models.shipped import list_shipped
from itma.models.text_encoders.base import Words
from itma.models.towers import read_towers
from itma.retrieval.catalogue import Catalogue
from tests import made_up, tiny_hub
from tests.forked import Program
from tests.test_fashioniq import write as fashioniq

SENTENCES = ["make red cube blue", "remove small sphere", "add"]
MAKERS = {"clip": tiny_hub.clip, "siglip": tiny_hub.siglip}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each kind."""
    folder = tmp_path_factory.mktemp("hub")
    for kind, make in MAKERS.items():
        make(folder / kind)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    made_up.photos(folder, [f"{name}.png" for name in "abcdef"])
    (folder / "broken.png").unlink()
    return folder


def pixels(count: int = 3, height: int = 32, width: int = 32) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=random)


def embed_by_transformers(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """What `transformers` makes of `pixels` and `SENTENCES` by its own tokenizer: unit embeddings."""
    from transformers import AutoModel, PreTrainedTokenizerFast

    model = AutoModel.from_pretrained(folder).eval()
    clip = model.config.model_type == "clip"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="<|endoftext|>" if clip else "</s>"
    )
    length = model.config.text_config.max_position_embeddings
    read = tokenizer(SENTENCES, padding="longest" if clip else "max_length", max_length=length, return_tensors="pt")
    preprocess = Retriever.load(folder).preprocess
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocess.mean, preprocess.std))
    with torch.inference_mode():
        mask = {"attention_mask": read["attention_mask"]} if clip else {}
        text = model.get_text_features(input_ids=read["input_ids"], **mask).pooler_output
        image = model.get_image_features(pixel_values=(pixels() / 255 - mean) / std).pooler_output
    return F.normalize(image, dim=1), F.normalize(text, dim=1)


def varied(folder: Path, copy: Path, **changes: dict[str, object]) -> Path:
    """A copy of a folder in which JSON files have other values."""
    shutil.copytree(folder, copy)
    for name, values in changes.items():
        path = copy / f"{name}.json"
        path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **values}))
    return copy


# -- the embeddings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MAKERS)
def test_image_text_and_both_are_transformers_own_embeddings_and_their_sum(kind: str, hub: Path) -> None:
    model = Retriever.load(hub / kind)
    image, text = embed_by_transformers(hub / kind)
    close = {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(model.embed_images(pixels()), image, **close)
    torch.testing.assert_close(model.embed_queries(pixels(), None), image, **close)
    torch.testing.assert_close(model.embed_queries(None, SENTENCES), text, **close)
    torch.testing.assert_close(model.embed_queries(pixels(), SENTENCES), F.normalize(image + text, dim=1), **close)
    assert float((text[0] - text[1]).abs().max()) > 1e-2 and float((image[0] - image[1]).abs().max()) > 1e-3


@pytest.mark.parametrize("kind", MAKERS)
def test_a_sentence_without_words_adds_nothing_to_the_image(kind: str, hub: Path) -> None:
    model = Retriever.load(hub / kind)
    torch.testing.assert_close(model.embed_queries(pixels(1), [""]), model.embed_images(pixels(1)))


@pytest.mark.parametrize("kind", MAKERS)
def test_a_sentences_embedding_does_not_depend_on_a_longer_neighbour(kind: str, hub: Path) -> None:
    model = Retriever.load(hub / kind)
    alone = model.embed_queries(None, ["add"])
    torch.testing.assert_close(model.embed_queries(None, SENTENCES)[2:], alone, atol=1e-5, rtol=1e-4)


def test_siglip_fills_sentences_up_with_the_padding_of_its_tokenizer(hub: Path, tmp_path: Path) -> None:
    other = varied(hub / "siglip", tmp_path / "other", tokenizer_config={"pad_token": "<pad>"})
    one, two = (Retriever.load(folder).embed_queries(None, ["add"]) for folder in (hub / "siglip", other))
    assert not torch.allclose(one, two, atol=1e-3)


def test_siglip_reads_small_letters_though_its_tokenizer_keeps_large_ones(hub: Path, tmp_path: Path) -> None:
    other = varied(hub / "siglip", tmp_path / "other", tokenizer={"normalizer": None})
    small, large = Retriever.load(other).embed_queries(None, ["make red", "Make RED"])
    assert torch.equal(small, large)


def test_a_sentence_longer_than_siglip_reads_is_cut(hub: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = Retriever.load(hub / "siglip")
    with caplog.at_level(logging.WARNING):
        assert model.embed_queries(None, ["red " * 50]).isfinite().all()
    assert "cut after 16 words" in caplog.text


# -- how images are prepared ----------------------------------------------------------------------------------------


def test_clip_cuts_the_longer_side_and_siglip_stretches(hub: Path) -> None:
    clip, siglip = (Retriever.load(hub / kind).preprocess for kind in MAKERS)
    assert (clip.height, clip.width, clip.fit) == (32, 32, "crop") and round(clip.mean[0], 3) == 0.481
    assert (siglip.height, siglip.width, siglip.fit, siglip.mean) == (32, 32, "stretch", (0.5, 0.5, 0.5))


@pytest.mark.parametrize("size", [48, {"shortest_edge": 48}])
@pytest.mark.parametrize("crop", [48, {"height": 48, "width": 48}])
def test_sizes_are_read_in_every_form_in_which_they_are_written(
    size: object, crop: object, hub: Path, tmp_path: Path
) -> None:
    values = {"size": size, "crop_size": crop, "image_mean": [0.1, 0.2, 0.3], "image_std": [1.0, 1.0, 1.0]}
    preprocess = read_towers(varied(hub / "clip", tmp_path / "clip", preprocessor_config=values)).preprocess
    assert (preprocess.height, preprocess.width, preprocess.fit, preprocess.mean) == (48, 48, "crop", (0.1, 0.2, 0.3))


def test_settings_in_the_file_of_a_whole_processor_are_read_too(hub: Path, tmp_path: Path) -> None:
    values = {"image_processor": {"size": {"height": 24, "width": 24}}}
    folder = varied(hub / "siglip", tmp_path / "siglip", processor_config=values)
    (folder / "preprocessor_config.json").unlink()
    assert read_towers(folder).preprocess.height == 24


def test_pixels_in_another_range_are_refused(hub: Path, tmp_path: Path) -> None:
    folder = varied(hub / "clip", tmp_path / "clip", preprocessor_config={"rescale_factor": 1 / 127.5})
    with pytest.raises(ConfigError, match=r"pixels times 0\.0078.*; expected 1/255"):
        Retriever.load(folder)


# -- the stages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["clip", pytest.param("siglip", marks=pytest.mark.slow)])
def test_a_catalogue_answers_by_image_by_text_and_by_the_sum_in_another_process(
    kind: str, hub: Path, photos: Path, tmp_path: Path
) -> None:
    api.index(hub / kind, photos, tmp_path / "shop", device="cpu")
    model = Retriever.load(hub / kind)
    names = [f"{name}.png" for name in "abcdef"]
    gallery = model.embed_images(torch.stack([model.preprocess.read(photos / name) for name in names]))
    image, text = gallery[1], model.embed_queries(None, SENTENCES[:1])[0]
    script = (
        "import json, sys; from itma import Catalogue; c = Catalogue.open(sys.argv[1])\n"
        "for options in json.loads(sys.argv[2]):\n"
        "    print(json.dumps({hit.id: hit.score for hit in c.search(**options, k=6)}))"
    )
    path = str(photos / "b.png")
    queries = [{"image": path}, {"text": SENTENCES[0]}, {"image": path, "text": SENTENCES[0]}]
    with Program(script, tmp_path / "shop", json.dumps(queries)) as process:
        lines = process.stdout.read().splitlines()
    for line, query in zip(lines, (image, text, F.normalize(image + text, dim=0)), strict=True):
        scores = json.loads(line)
        assert len(scores) >= 5
        for name, score in scores.items():
            assert score == pytest.approx(float(query @ gallery[names.index(name)]), abs=1e-4)


def test_a_catalogue_knows_the_model_again_in_a_folder_of_another_name(hub: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(hub / "clip", tmp_path / "one")
    api.index(tmp_path / "one", photos, tmp_path / "shop", device="cpu")
    (tmp_path / "one").rename(tmp_path / "two")
    assert len(Catalogue.open(tmp_path / "shop", tmp_path / "two").search(text="red")) > 0


def test_a_catalogue_of_another_model_is_refused(hub: Path, photos: Path, tmp_path: Path) -> None:
    api.index(hub / "clip", photos, tmp_path / "shop", device="cpu")
    other = tiny_hub.clip(tmp_path / "other", seed=1)
    with pytest.raises(CatalogueError, match=r"was made by another model \('sum', .* than this one \('sum', "):
        Catalogue.open(tmp_path / "shop", other)
    with pytest.raises(CatalogueError, match=r"was made by another model .* itma reindex"):
        api.index(hub / "siglip", photos, tmp_path / "shop", device="cpu")


def test_a_packed_folder_weighs_the_sum_as_it_was_told_and_knows_itself(
    hub: Path, photos: Path, tmp_path: Path
) -> None:
    folder = sharing.pack(hub / "clip", tmp_path / "packed", changes={"model.options.text_weight": "0.25"})
    packed, plain = Retriever.load(folder), Retriever.load(hub / "clip")
    image, text = plain.embed_images(pixels()), plain.embed_queries(None, SENTENCES)
    torch.testing.assert_close(packed.embed_queries(pixels(), SENTENCES), F.normalize(image + 0.25 * text, dim=1))
    assert packed.fingerprint() != plain.fingerprint()
    assert "Not trained by itma: `clip`" in (folder / "README.md").read_text(encoding="utf-8")
    api.index(folder, photos, tmp_path / "shop", device="cpu")
    with pytest.raises(CatalogueError, match="was made by another model"):
        Catalogue.open(tmp_path / "shop", hub / "clip")


def test_only_the_weights_of_an_untrained_sum_can_be_changed(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'model\.dim' cannot be changed"):
        sharing.pack(hub / "clip", tmp_path / "out", changes={"model.dim": "3"})
    with pytest.raises(ConfigError, match=r"cannot be changed in 'wardrobe'"):
        sharing.pack("wardrobe", tmp_path / "out", changes={"model.options.heads": "3"})
    changes = {"model.options.text_weight": "0", "model.options.image_weight": "0"}
    with pytest.raises(ConfigError, match="both 0"):
        sharing.pack(hub / "clip", tmp_path / "out", changes=changes)


def test_an_evaluation_says_what_it_measured(hub: Path, tmp_path: Path) -> None:
    changes = {"size": "tiny"}
    report = api.evaluate(hub / "siglip", "shapes", changes=changes, out=tmp_path / "report", device="cpu")
    assert report.model == f"sum ({hub / 'siglip'})" and report.weights == weights_sum(hub / "siglip")
    packed = sharing.pack(hub / "siglip", tmp_path / "packed")
    again = api.evaluate(packed, "shapes", changes=changes, out=tmp_path / "again", device="cpu")
    assert again.recall == report.recall


def test_fashioniq_is_measured_by_every_protocol_without_a_run(hub: Path, tmp_path: Path) -> None:
    root = fashioniq(tmp_path / "fashioniq")
    (root / "images").mkdir()
    noise = [f"{category}-val-{letter}.png" for category in ("dress", "shirt", "toptee") for letter in "abcd"]
    made_up.photos(root / "images", noise)
    report = api.evaluate(hub / "clip", "fashioniq", changes={"root": str(root)}, out=tmp_path / "report", device="cpu")
    assert report.queries == report.wanted == 3 and report.protocol.startswith("fashioniq/val, fashioniq/original")


def test_an_evaluation_without_a_data_set_asks_for_one(hub: Path, tmp_path: Path) -> None:
    packed = sharing.pack(hub / "clip", tmp_path / "packed")
    for folder in (hub / "clip", packed):
        with pytest.raises(RunError, match="was trained on no data set of itma; name the data"):
            api.evaluate(folder, device="cpu")


def test_an_explanation_divides_the_score_of_an_untrained_model(hub: Path, photos: Path) -> None:
    for kind in MAKERS:
        explanation = itma.explain(
            hub / kind, photos / "a.png", "make red", target=photos / "b.png", device="cpu", steps=2
        )
        assert explanation is not None


def test_its_card_tells_whose_weights_they_are(hub: Path) -> None:
    weights = weights_sum(hub / "clip")
    text = model_card(Retriever.load(hub / "clip"), weights, read_provenance(hub / "clip", weights))
    assert f"Not trained by itma: `clip` as others trained it (weights with the sha256 `{weights}`)" in text


def test_graphs_are_made_of_a_packed_folder_only(hub: Path) -> None:
    with pytest.raises(RunError, match="torch alone answers; make a folder that can be exported with: itma pack"):
        open_model(hub / "clip", runtime="onnx")


# -- a composer on top ------------------------------------------------------------------------------------------------

STEPS = {"train.steps": "2", "train.batch": "4", "train.precision": "float32", "data.size": "tiny"}


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    return Retriever.load(folder).state_dict()


@pytest.mark.parametrize("kind", MAKERS)
def test_training_from_towers_learns_a_combiner_and_leaves_the_towers_as_they_are(
    kind: str, hub: Path, tmp_path: Path
) -> None:
    run = api.train("shapes", start=hub / kind, changes=STEPS, out=tmp_path / "run", device="cpu")
    before, after = state_of(hub / kind), state_of(run)
    assert all(torch.equal(before[name], after[name]) for name in before if name != "scale")
    assert {name.split(".")[0] for name in after if name not in before} == {"composer"}
    model = Retriever.load(run)
    fresh = Retriever.over(read_towers(hub / kind), model.config)
    assert model.name == "combiner" and model.tokenizer.to_json() == fresh.tokenizer.to_json()
    moved = [name for name, tensor in fresh.state_dict().items() if not torch.equal(tensor, after[name])]
    assert any(name.startswith("composer.residual") for name in moved)
    start = json.loads((run / "run.json").read_text(encoding="utf-8"))["made_with"]["started_from"]
    assert start == {"name": kind, "sha256": weights_sum(hub / kind), "path": str(hub / kind)}
    assert f"`{kind}`, weights with the sha256" in sharing.card(run)


def test_a_run_over_towers_needs_their_folder_no_more_and_can_be_gone_on_from(hub: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(hub / "clip", tmp_path / "clip")
    run = api.train("shapes", start=folder, changes=STEPS, out=tmp_path / "run", device="cpu")
    shutil.rmtree(folder)
    again = api.train("shapes", start=run, preset="clip", changes=STEPS, out=tmp_path / "again", device="cpu")
    assert Retriever.load(again).name == "combiner"
    with pytest.raises(ConfigError, match="has the model of that run; leave out the model 'itma'"):
        api.train("shapes", start=run, model="itma", changes=STEPS, out=tmp_path / "third", device="cpu")


@pytest.mark.parametrize(("kind", "dim"), [("clip", "12"), ("siglip", "8")])
def test_itma_is_trained_over_the_patches_of_several_layers(kind: str, dim: str, hub: Path, tmp_path: Path) -> None:
    shape = {
        "model.image_encoder.levels": "2,3",
        "model.options.heads": "2",
        "model.options.width": "8",
        "model.dim": dim,
    }
    run = api.train(
        "shapes", model="itma", start=hub / kind, changes={**STEPS, **shape}, out=tmp_path / "run", device="cpu"
    )
    model = Retriever.load(run)
    assert [tuple(level.shape[2:]) for level in model.feature_maps(pixels())] == [(4, 4), (4, 4)]
    towers, after = state_of(hub / kind), model.state_dict()
    frozen = [name for name in towers if name in after and name.startswith(("image_encoder", "text_encoder.network"))]
    assert len(frozen) > 40 and all(torch.equal(towers[name], after[name]) for name in frozen)
    assert len({float(score) for score in model.embed_queries(pixels(1).repeat(2, 1, 1, 1), SENTENCES[:2])[:, 0]}) == 2


def test_a_start_from_towers_has_their_networks(hub: Path, tmp_path: Path) -> None:
    changes = {**STEPS, "model.image_encoder.name": "resnet-18"}
    with pytest.raises(ConfigError, match=r"'clip' has its networks; leave out model\.image_encoder\.name"):
        api.train("shapes", start=hub / "clip", changes=changes, out=tmp_path / "run")


def test_the_combiner_is_the_published_formula() -> None:
    """Section 3.2 of the paper, from its text: both embeddings projected, joined, and mixed by a gate."""
    feature_shapes = FeatureShapes((12,), ((1, 1),), dim=12, embedded=True)
    combiner = composer_named("combiner")(CombinerOptions(projection=2, hidden=3), feature_shapes).eval()
    image, text = torch.randn(5, 12), torch.randn(5, 12)
    words = Words(text[:, None], torch.ones(5, 1, dtype=torch.bool), text)
    weight = {name: tensor.double() for name, tensor in combiner.state_dict().items()}

    def linear(name: str, rows: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bi,oi->bo", rows, weight[f"{name}.weight"]) + weight[f"{name}.bias"]

    def relu(rows: torch.Tensor) -> torch.Tensor:
        return rows * (rows > 0)

    x, t = image.double(), text.double()
    both = torch.cat([relu(linear("text_projection.0", t)), relu(linear("image_projection.0", x))], 1)
    share = 1 / (1 + torch.exp(-linear("gate.1", relu(linear("gate.0.0", both)))))
    expected = linear("residual.1", relu(linear("residual.0.0", both))) + share * t + (1 - share) * x
    queries = combiner.embed_queries([image[:, :, None, None]], words)
    torch.testing.assert_close(queries.double(), expected, rtol=1e-4, atol=1e-5)
    assert share.shape == (5, 1)


def test_the_combiner_has_the_published_sizes() -> None:
    feature_shapes = FeatureShapes((640,), ((1, 1),), dim=640, embedded=True)
    with torch.device("meta"):
        combiner = composer_named("combiner")(CombinerOptions(), feature_shapes)
    shapes = {name: tuple(tensor.shape) for name, tensor in combiner.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "text_projection.0.weight": (2560, 640),
        "image_projection.0.weight": (2560, 640),
        "residual.0.0.weight": (5120, 5120),
        "residual.1.weight": (640, 5120),
        "gate.0.0.weight": (5120, 5120),
        "gate.1.weight": (1, 5120),
    }


# -- what is wrong with a folder --------------------------------------------------------------------------------------


def weights_of(folder: Path, copy: Path, dtype: torch.dtype, name: str = "model.safetensors") -> Path:
    """A copy with weights of another precision, or in a file of torch's own."""
    shutil.copytree(folder, copy)
    state = {key: tensor.to(dtype) for key, tensor in load_file(copy / "model.safetensors").items()}
    (copy / "model.safetensors").unlink()
    if name.endswith(".bin"):
        torch.save(state, copy / name)
    else:
        save_file(state, copy / name, metadata={"format": "pt"})
    return copy


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_answer_nearly_alike_in_float32(
    kind: str, dtype: torch.dtype, hub: Path, tmp_path: Path
) -> None:
    half, whole = Retriever.load(weights_of(hub / kind, tmp_path / kind, dtype)), Retriever.load(hub / kind)
    assert {tensor.dtype for tensor in half.state_dict().values()} == {torch.float32}
    assert float((half.embed_images(pixels()) - whole.embed_images(pixels())).abs().max()) < 0.05
    assert half.fingerprint() != whole.fingerprint()


@pytest.mark.parametrize("kind", MAKERS)
def test_a_file_of_torch_alone_is_read_by_its_allow_list(kind: str, hub: Path, tmp_path: Path) -> None:
    folder = weights_of(hub / kind, tmp_path / kind, torch.float32, "pytorch_model.bin")
    assert torch.equal(
        Retriever.load(folder).embed_queries(pixels(), SENTENCES),
        Retriever.load(hub / kind).embed_queries(pixels(), SENTENCES),
    )
    assert len(weights_sum(folder)) == 64


def test_a_file_of_torch_that_would_run_code_is_refused(hub: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(hub / "clip", tmp_path / "clip")
    (folder / "model.safetensors").unlink()
    mark = tmp_path / "ran"
    torch.save({"a": _Touch(str(mark))}, folder / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"are refused: the file asks for io\.open, and only plain tensors are read"):
        Retriever.load(folder)
    assert not mark.exists()


class _Touch:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (
            lambda f: (f / "tokenizer.json").unlink(),
            ConfigError,
            r"brings no tokenizer\.json .*; put the tokenizer\.json",
        ),
        (
            lambda f: (f / "tokenizer.json").rename(f / "spiece.model"),
            ConfigError,
            r"its spiece\.model cannot be read; put the tokenizer\.json",
        ),
        (
            lambda f: (f / "model.safetensors").write_text(
                "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
            ),
            DataError,
            r"model\.safetensors is a pointer of git-lfs to them; .* git lfs pull",
        ),
        (lambda f: (f / "model.safetensors").unlink(), DataError, r"has no weights: expected model\.safetensors or"),
        (lambda f: (f / "model.safetensors").write_bytes(b"no"), DataError, "cannot be read"),
        (lambda f: (f / "config.json").write_text("{"), RunError, "damaged|cannot be opened|missing"),
        (lambda f: (f / "preprocessor_config.json").write_text("{"), DataError, "preprocessor_config.json' is damaged"),
        (
            lambda f: (f / "config.json").write_text('{"model_type": "siglip2"}'),
            RunError,
            "SigLIP 2 of variable image size",
        ),
    ],
)
@pytest.mark.parametrize("kind", MAKERS)
def test_a_folder_that_lacks_something_is_refused_with_what_to_do(
    kind: str, change: Callable[[Path], object], error: type[Exception], text: str, hub: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(hub / kind, tmp_path / kind)
    change(folder)
    with pytest.raises(error, match=text):
        Retriever.load(folder)


def test_one_tower_alone_and_other_networks_are_refused(hub: Path, tmp_path: Path) -> None:
    from transformers import CLIPVisionModel, SiglipTextModel

    CLIPVisionModel.from_pretrained(hub / "clip").save_pretrained(tmp_path / "vision")
    SiglipTextModel.from_pretrained(hub / "siglip").save_pretrained(tmp_path / "text")
    tiny_hub.bert(tmp_path / "bert")
    for name, text in (
        ("vision", r"an image network alone, which cannot read sentences; .*model\.image_encoder\.name"),
        ("text", "a text network alone, which cannot see images"),
        ("bert", "a network of the kind 'bert', which is neither CLIP nor SigLIP"),
    ):
        with pytest.raises(RunError, match=text):
            Retriever.load(tmp_path / name)


def test_a_tower_that_lacks_a_tensor_is_refused(hub: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(hub / "siglip", tmp_path / "siglip")
    state = load_file(folder / "model.safetensors")
    del state["text_model.head.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"lack 1 tensors of a SiglipTextModel, e\.g\. .*head\.weight"):
        Retriever.load(folder)


def test_a_name_of_the_hub_that_cannot_be_reached_names_the_models_at_hand(photos: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["index", "openai/no-such-clip", str(photos), str(tmp_path / "shop")])
    assert done.exit_code == 1
    assert "'openai/no-such-clip' is no folder here, and the hub does not give it" in done.output
    assert "HF_HUB_OFFLINE keeps the network closed" in done.output and len(done.output) < 600
    assert all(name in done.output for name in list_shipped())


def test_a_path_of_two_parts_whose_folder_is_here_is_no_name_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(RunError, match=r"the run folder 'mine/model' does not exist; itma train makes one"):
        Retriever.load("mine/model")
