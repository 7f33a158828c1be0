"""The six checks that every retriever must pass, over the whole registry and the variants of ITMA."""

import atexit
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch

from itma.data.images import Preprocess
from itma.models.composers import REGISTRY
from itma.models.composers.itma import ItmaOptions
from itma.models.composers.maaf import MaafOptions, TwoStreamOptions
from itma.models.composers.pic2word import Pic2WordOptions
from itma.models.composers.rtic import RticOptions
from itma.models.composers.val import ValOptions
from itma.models.image_encoders.base import ImageEncoderConfig
from itma.models.retriever import Retriever, RetrieverConfig
from itma.models.text_encoders.base import TextEncoderConfig
from tests import tiny_hub

SENTENCES = ["make red cube blue", "remove small sphere", "add large green cylinder to top left"]
TINY = RetrieverConfig(
    dim=16,
    image_encoder=ImageEncoderConfig(levels=(2, 3)),
    text_encoder=TextEncoderConfig(width=16),
    preprocess=Preprocess(height=32, width=48),
)
HUB = Path(mkdtemp(prefix="itma-hub-"))
atexit.register(shutil.rmtree, HUB, ignore_errors=True)
BERT, CLIP, SIGLIP = tiny_hub.bert(HUB / "bert"), tiny_hub.clip(HUB / "clip"), tiny_hub.siglip(HUB / "siglip")
FROM_CLIP = TextEncoderConfig(kind="pretrained", name=str(CLIP))
FROM_SIGLIP = TextEncoderConfig(kind="pretrained", name=str(SIGLIP), max_words=16)
SMALL_ITMA = ItmaOptions(blocks=1, heads=2, width=16)
FROM_SIGLIP_WITH_ROOM = replace(FROM_SIGLIP, max_words=11)
CONFIGS = {name: replace(TINY, composer=name, options=None) for name in REGISTRY if name != "itma"} | {
    "pic2word": replace(TINY, composer="pic2word", options=Pic2WordOptions(hidden=8, learns="triplets")),
    "pic2word-clip": replace(
        TINY,
        composer="pic2word",
        options=None,
        dim=12,
        image_encoder=ImageEncoderConfig(str(CLIP), levels=(4,)),
        text_encoder=FROM_CLIP,
    ),
    "pic2word-siglip": replace(
        TINY,
        composer="pic2word",
        options=Pic2WordOptions(learns="triplets"),
        dim=12,
        image_encoder=ImageEncoderConfig(str(SIGLIP), levels=(4,)),
        text_encoder=FROM_SIGLIP_WITH_ROOM,
    ),
    "rtic-graph": replace(TINY, composer="rtic", options=RticOptions(graph=1.0)),
    # from the published weight 0 on, the self-attention has no gradient in the first step
    "val": replace(TINY, composer="val", options=ValOptions(attention_weight=0.5)),
    "maaf-two-streams-both": replace(
        TINY, composer="maaf-two-stream", options=TwoStreamOptions(heads=2, steps="xxx_mmm_xmm.mxx_xff_mff")
    ),
    "maaf-output-token-identity": replace(
        TINY, composer="maaf-output-token", options=MaafOptions(heads=2, attention="identity")
    ),
    "itma": replace(TINY, options=SMALL_ITMA),
    "itma-identity": replace(TINY, options=replace(SMALL_ITMA, attention="identity", positions="none")),
    "itma-sinusoidal": replace(TINY, options=replace(SMALL_ITMA, positions="sinusoidal", pool_words=False)),
    "itma-plain-gallery": replace(TINY, options=replace(SMALL_ITMA, gallery_through_transformer=False)),
    "itma-in-sequence": replace(TINY, options=replace(SMALL_ITMA, positions="sequence", pool="cells")),
    "itma-added": replace(TINY, options=replace(SMALL_ITMA, query="added", pool="weighted")),
    "itma-gated": replace(TINY, options=replace(SMALL_ITMA, query="gated")),
    "itma-look": replace(TINY, options=replace(SMALL_ITMA, look=0.5)),
    "itma-embeddings": replace(TINY, options=SMALL_ITMA, text_encoder=TextEncoderConfig(kind="embeddings", width=8)),
    "itma-bert": replace(TINY, options=SMALL_ITMA, text_encoder=TextEncoderConfig(kind="pretrained", name=str(BERT))),
    "itma-clip": replace(
        TINY, options=SMALL_ITMA, image_encoder=ImageEncoderConfig(str(CLIP), levels=(1, 4)), text_encoder=FROM_CLIP
    ),
    "itma-lite": replace(
        TINY, options=SMALL_ITMA, image_encoder=ImageEncoderConfig("efficientnet-lite0", levels=(1, 2))
    ),
    "tirg-clip": replace(
        TINY,
        composer="tirg",
        options=None,
        image_encoder=ImageEncoderConfig(str(CLIP), levels=(2,)),
        text_encoder=FROM_CLIP,
    ),
    "combiner-siglip": replace(
        TINY,
        composer="combiner",
        options=None,
        image_encoder=ImageEncoderConfig(str(SIGLIP), levels=(4,)),
        text_encoder=FROM_SIGLIP,
    ),
    "itma-siglip": replace(
        TINY, options=SMALL_ITMA, image_encoder=ImageEncoderConfig(str(SIGLIP), levels=(2,)), text_encoder=FROM_SIGLIP
    ),
    "itma-transformer-language": replace(
        TINY, options=SMALL_ITMA, text_encoder=TextEncoderConfig(kind="transformer", width=16, heads=2)
    ),
}

QUICK = (*REGISTRY, "itma-bert", "itma-clip", "itma-lite")
"""Every composer, and every kind of encoder; what takes long is tried over other variants with --slow."""


ENCODERS = ("itma", "itma-bert", "itma-clip", "itma-lite")
"""One model for each kind of encoder: of other models with the same encoder, its parameters are moved with --slow."""


def some(names: Iterable[str]) -> list[Any]:
    """Parameters of a test: those in `QUICK` always, the others with --slow."""
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


def built(name: str, seed: int = 0) -> Retriever:
    model = Retriever.build(CONFIGS[name], SENTENCES, seed=seed)
    if name == "rtic-graph":  # whose published start is so near 0 that rounding hides what it does
        for layer in (model.composer.graph.first, model.composer.graph.second):
            torch.nn.init.xavier_normal_(layer.weight)
    return model


def images(count: int, height: int = 32, width: int = 48, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=random)


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_copied_into_a_second_model_make_it_answer_alike(name: str) -> None:
    first, second = built(name, seed=0), built(name, seed=1)
    before = second.embed_queries(images(3), SENTENCES)
    second.load_state_dict(first.state_dict())
    answer = first.embed_queries(images(3), SENTENCES)
    assert not torch.allclose(before, answer)
    assert torch.equal(second.embed_queries(images(3), SENTENCES), answer)
    assert torch.equal(second.embed_images(images(3)), first.embed_images(images(3)))


@pytest.mark.parametrize("name", some(CONFIGS))
def test_every_parameter_gets_a_gradient_and_moving_it_moves_an_output(
    name: str, request: pytest.FixtureRequest
) -> None:
    moves_encoders = name in ENCODERS or request.config.getoption("--slow")
    model = built(name)  # in evaluation mode: a training batch norm takes out every bias before it
    pixels = model.preprocess.normalise(images(6))
    tokens = model.tokenizer(SENTENCES)

    def outputs() -> torch.Tensor:
        queries, targets, own = model(pixels, torch.arange(3), torch.arange(3, 6), tokens, own_loss=True)
        return torch.cat([queries.flatten(), targets.flatten(), model.logits(queries, targets).flatten(), own[None]])

    start = outputs()
    random = torch.Generator().manual_seed(0)
    (start * torch.randn(start.shape, generator=random)).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        used = tokens.ids[tokens.mask].unique() if parameter_name == "text_encoder.embedding.weight" else slice(None)
        if _cannot_matter(parameter_name, name):
            continue
        assert parameter.grad[used].abs().max() > 0 if parameter.dim() else parameter.grad != 0, parameter_name
        if parameter_name.startswith(("image_encoder.", "text_encoder.")) and not moves_encoders:
            continue
        with torch.no_grad():
            before = parameter.clone()
            parameter.add_(torch.randn(parameter.shape, generator=random))
            assert not torch.allclose(outputs(), start, atol=1e-6), parameter_name
            parameter.copy_(before)


def _cannot_matter(parameter: str, model: str) -> bool:
    """A key's bias adds the same to all scores of a row, which softmax takes out again."""
    return parameter.endswith(("key.bias", "k_proj.bias")) and "identity" not in model


@pytest.mark.parametrize("name", CONFIGS)
def test_a_rows_answer_depends_neither_on_its_neighbours_nor_on_padding(name: str) -> None:
    model, pixels = built(name), images(3)
    together = model.embed_queries(pixels, SENTENCES)
    alone = torch.cat([model.embed_queries(pixels[row : row + 1], [SENTENCES[row]]) for row in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    gallery = torch.cat([model.embed_images(pixels[row : row + 1]) for row in range(3)])
    torch.testing.assert_close(model.embed_images(pixels), gallery, atol=1e-5, rtol=1e-4)


def test_the_look_counts_for_an_image_alone_and_not_beside_words() -> None:
    model, pixels = built("itma-look"), images(3)
    gallery, alone = model.embed_images(pixels), model.embed_queries(pixels, None)
    torch.testing.assert_close(gallery[:, :16].norm(dim=1), torch.full((3,), 0.5**0.5))
    torch.testing.assert_close(alone, gallery)
    torch.testing.assert_close(model.embed_queries(pixels, ["", *SENTENCES[1:]])[0], gallery[0])
    assert not model.embed_queries(pixels, SENTENCES)[:, 16:].any()
    assert not model.embed_queries(None, SENTENCES)[:, 16:].any()


@pytest.mark.parametrize(
    "size", [(17, 90), (1, 1), *(pytest.param(size, marks=pytest.mark.slow) for size in ((32, 48), (64, 33)))]
)
@pytest.mark.parametrize("name", CONFIGS)
def test_there_is_one_row_for_each_image_at_any_image_size(name: str, size: tuple[int, int]) -> None:
    model, pixels = built(name), images(2, *size)
    for rows in (model.embed_images(pixels), model.embed_queries(pixels, SENTENCES[:2])):
        assert rows.shape == (2, model.features)
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("part", ["image_encoder", "text_encoder", "composer", "scale"])
@pytest.mark.parametrize("name", some(CONFIGS))
def test_a_frozen_part_keeps_weights_and_batch_norm_statistics(name: str, part: str) -> None:
    model = built(name).train()
    model.freeze([part])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    queries, targets = model(
        model.preprocess.normalise(images(6)), torch.arange(3), torch.arange(3, 6), model.tokenizer(SENTENCES)
    )
    torch.nn.functional.cross_entropy(model.logits(queries, targets), torch.arange(3)).backward()
    optimizer.step()
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert not {key for key in moved if key == part or key.startswith(part + ".")}
    assert moved


@pytest.mark.parametrize("name", CONFIGS)
def test_another_sentence_gives_another_embedding_where_words_are_read(name: str) -> None:
    model, pixels = built(name), images(1)
    one, other = model.embed_queries(pixels, SENTENCES[:1]), model.embed_queries(pixels, SENTENCES[1:2])
    assert torch.allclose(one, other) != REGISTRY[CONFIGS[name].composer].reads_words


@pytest.mark.parametrize("name", CONFIGS)
def test_another_reference_gives_another_embedding_where_images_are_read(name: str) -> None:
    model = built(name)
    one, other = (model.embed_queries(images(1, seed=seed), SENTENCES[:1]) for seed in (0, 1))
    assert torch.allclose(one, other) != REGISTRY[CONFIGS[name].composer].reads_images
