"""An image as a word of CLIP's and SigLIP's text encoders."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import itma
from itma import api
from itma.errors import ConfigError
from itma.models.composers.pic2word import Pic2Word, Pic2WordOptions
from itma.models.retriever import Retriever, RetrieverConfig
from itma.models.text_encoders.base import TextEncoder, TextEncoderConfig
from itma.models.towers import read_towers
from itma.retrieval.catalogue import Catalogue
from tests import made_up, tiny_hub
from tests.test_towers import pixels

MAKERS = {"clip": tiny_hub.clip, "siglip": tiny_hub.siglip}
FEEDBACK = ["make red", "add small cube", ""]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    for kind, make in MAKERS.items():
        make(folder / kind)
    return folder


def model_over(folder: Path, **options: object) -> Retriever:
    towers = read_towers(folder)
    shape = towers.shape_for("pic2word")
    config = RetrieverConfig("pic2word", options=Pic2WordOptions(**options), **shape)  # type: ignore[arg-type]
    return Retriever.over(towers, config)


def read_by_transformers(folder: Path, sentence: str, word: torch.Tensor) -> torch.Tensor:
    """The text tower's own embedding of a sentence, in which the vector of "?" is another one."""
    from transformers import AutoModel

    tower, tokenizer = AutoModel.from_pretrained(folder).eval(), Retriever.load(folder).tokenizer
    ids, mask = tokenizer([sentence])
    (position,) = (ids[0] == tokenizer.content("?")[0]).nonzero()[:, 0]
    clip = tower.config.model_type == "clip"
    if not clip:
        padding = tower.config.text_config.max_position_embeddings - ids.shape[1]
        ids = F.pad(ids, (0, padding), value=1)  # "</s>", as the folder's tokenizer says

    def instead(module: object, inputs: object, output: torch.Tensor) -> torch.Tensor:
        return torch.cat([output[:, :position], word[None, None], output[:, position + 1 :]], 1)

    table = tower.text_model.embeddings.token_embedding
    hook = table.register_forward_hook(instead)
    with torch.no_grad():
        embedded = tower.get_text_features(input_ids=ids, **({"attention_mask": mask.long()} if clip else {}))
    hook.remove()
    return F.normalize(embedded.pooler_output[0], dim=0)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_query_is_the_text_towers_sentence_in_which_one_word_is_the_image(kind: str, hub: Path) -> None:
    model = model_over(hub / kind)
    assert isinstance(model.composer, Pic2Word)
    with torch.no_grad():
        words = model.composer.mapping(model.composer.embed_images(model.feature_maps(pixels()))).clone()
    queries = model.embed_queries(pixels(), FEEDBACK)
    for row, feedback in enumerate(FEEDBACK):
        sentence = f"a photo of ? , {feedback}" if feedback else "a photo of ?"
        expected = read_by_transformers(hub / kind, sentence, words[row])
        torch.testing.assert_close(queries[row], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", MAKERS)
def test_images_and_words_alone_are_the_towers_own(kind: str, hub: Path) -> None:
    model, towers = model_over(hub / kind), Retriever.load(hub / kind)
    torch.testing.assert_close(model.embed_images(pixels()), towers.embed_images(pixels()))
    torch.testing.assert_close(model.embed_queries(pixels(), None), towers.embed_images(pixels()))
    torch.testing.assert_close(model.embed_queries(None, FEEDBACK[:2]), towers.embed_queries(None, FEEDBACK[:2]))


def test_training_asks_for_each_target_by_its_own_word_or_by_the_triplet(hub: Path) -> None:
    references, targets = torch.tensor([0, -1]), torch.tensor([1, 2])
    for learns in ("images", "triplets"):
        model = model_over(hub / "clip", learns=learns)
        images = model.preprocess.normalise(pixels())
        with torch.no_grad():
            queries, _ = model(images, references, targets, model.tokenizer(FEEDBACK[:2]))
        if learns == "images":
            expected = model.embed_queries(pixels()[1:], ["", ""])
        else:
            alone = model.embed_queries(None, FEEDBACK[1:2])
            expected = torch.cat([model.embed_queries(pixels()[:1], FEEDBACK[:1]), alone])
        torch.testing.assert_close(queries, expected, atol=1e-5, rtol=1e-4)


def test_a_sentence_that_leaves_no_room_for_the_image_is_refused(hub: Path) -> None:
    towers = read_towers(hub / "siglip")
    config = RetrieverConfig("pic2word", **towers.shape)
    with pytest.raises(ConfigError, match=r"max_words=16: the text encoder reads at most 16 tokens.*give at most 11"):
        Retriever.over(towers, config)
    Retriever.over(towers, replace(config, text_encoder=replace(config.text_encoder, max_words=11)))


@pytest.mark.parametrize(("kind", "room"), [("clip", 10), ("siglip", 5)])
def test_a_sentence_as_long_as_there_is_room_for_is_read(kind: str, room: int, hub: Path) -> None:
    towers = read_towers(hub / kind)
    config = RetrieverConfig("pic2word", **towers.shape_for("pic2word"))
    longest = Retriever.over(towers, config).text_encoder.longest
    config = replace(config, text_encoder=replace(config.text_encoder, max_words=longest - room))
    answers = Retriever.over(towers, config).embed_queries(pixels()[:2], ["red " * 100, ""])
    assert answers.isfinite().all()


def test_a_text_encoder_that_reads_token_ids_only_is_refused() -> None:
    class OfIds(TextEncoder):
        def encode(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
            return ids_BT[:, :, None].float()

    with pytest.raises(ConfigError, match="OfIds reads token ids only; give it the method read"):
        OfIds(TextEncoderConfig(), 1, 3).read(torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.bool))


def test_a_run_from_towers_learns_the_mapping_alone_and_serves_a_catalogue(hub: Path, tmp_path: Path) -> None:
    changes = {"train.steps": "2", "train.batch": "4", "train.precision": "float32", "data.size": "tiny"}
    changes["train.loss_options.both_ways"] = "true"
    run = api.train("shapes", model="pic2word", start=hub / "clip", changes=changes, out=tmp_path / "run", device="cpu")
    model, fresh = Retriever.load(run), model_over(hub / "clip")
    moved = {
        name.split(".")[0]
        for name, tensor in model.state_dict().items()
        if not torch.equal(tensor, fresh.state_dict()[name]) and name != "scale"
    }
    assert moved == {"composer"}
    (tmp_path / "photos").mkdir()
    made_up.photos(tmp_path / "photos", ["a.png", "b.png"])
    (tmp_path / "photos" / "broken.png").unlink()
    api.index(run, tmp_path / "photos", tmp_path / "shop", device="cpu")
    hits = Catalogue.open(tmp_path / "shop").search(image=tmp_path / "photos" / "a.png", text="make red", k=1)
    assert [hit.id for hit in hits] == ["b.png"]
    explained = itma.explain(
        run, tmp_path / "photos/a.png", "make red", target=tmp_path / "photos/b.png", device="cpu", steps=2
    )
    assert explained is not None
