"""Backbones of the kinds that `transformers` has: levels, grids, folders; what cannot work is refused by reason."""

from pathlib import Path
from typing import Any

import pytest
import torch

from itma.data.images import Preprocess
from itma.errors import ConfigError
from itma.models.composers.itma import ItmaOptions
from itma.models.image_encoders.hub import HubImageEncoder, ImageEncoderConfig
from itma.models.retriever import Retriever, RetrieverConfig
from itma.models.text_encoders.base import TextEncoderConfig

FOUR = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
HEADS = {"image_size": 32, "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2]}
LAYERS = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
KINDS: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "resnet": ({"embedding_size": 8, "layer_type": "basic", **FOUR}, (4, 16)),
    "bit": ({"embedding_size": 8, "num_groups": 2, **FOUR}, (4, 16)),
    "convnext": (FOUR, (4, 16)),
    "convnextv2": (FOUR, (4, 16)),
    "swin": ({"patch_size": 2, "window_size": 4, **HEADS}, (2, 8)),
    "swinv2": ({"patch_size": 2, "window_size": 4, **HEADS}, (2, 8)),
    "pvt_v2": ({"num_attention_heads": [1, 2, 2, 2], "mlp_ratios": [2, 2, 2, 2], **FOUR}, (4, 16)),
    "focalnet": ({"image_size": 32, "embed_dim": 8, **FOUR, "hidden_sizes": [8, 16, 32, 64]}, (8, 32)),
    "dinov2": (LAYERS, (8, 8)),
    "dinov2_with_registers": ({"num_register_tokens": 2, **LAYERS}, (8, 8)),
    "beit": ({"use_absolute_position_embeddings": True, **LAYERS}, (8, 8)),
    "vitdet": ({"pretrain_image_size": 32, **LAYERS}, (8, 8)),
}
"""The kind → its smallest configuration, and the strides of its levels 1 and 3 in pixels."""


def saved(kind: str, settings: dict[str, Any], folder: Path) -> Path:
    """A backbone of random weights as `transformers` saves it."""
    from transformers import AutoBackbone, AutoConfig

    AutoBackbone.from_config(AutoConfig.for_model(kind, **settings)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


QUICK = ("resnet", "swin", "pvt_v2", "dinov2")
"""Of each family one: convolutions, windows, stages of tokens, one grid of tokens; the others with --slow."""


@pytest.fixture(params=[kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS])
def kind(request: pytest.FixtureRequest, folders: Path) -> str:
    if not (folders / request.param).exists():
        saved(request.param, KINDS[request.param][0], folders / request.param)
    return str(request.param)


def config(folder: Path, levels: tuple[int, ...] = (1, 3), height: int = 64, width: int = 96) -> RetrieverConfig:
    return RetrieverConfig(
        dim=16,
        image_encoder=ImageEncoderConfig(str(folder), levels),
        text_encoder=TextEncoderConfig(width=16),
        preprocess=Preprocess(height, width),
        options=ItmaOptions(blocks=1, heads=2, width=16),
    )


def test_the_grid_is_that_of_the_strides(folders: Path, kind: str) -> None:
    image_encoder = HubImageEncoder.build(ImageEncoderConfig(str(folders / kind), levels=(1, 3)))
    assert image_encoder.grids(64, 96) == tuple((64 // stride, 96 // stride) for stride in KINDS[kind][1])


def test_the_channels_are_those_of_the_maps_at_any_size(folders: Path, kind: str) -> None:
    image_encoder = HubImageEncoder.build(ImageEncoderConfig(str(folders / kind), levels=(1, 3))).eval()
    for size in ((64, 96), (48, 40)):
        assert tuple(level.shape[1] for level in image_encoder(torch.zeros(1, 3, *size))) == image_encoder.channels


def test_the_maps_are_those_of_the_whole_backbone(folders: Path, kind: str) -> None:
    image_encoder = HubImageEncoder.build(ImageEncoderConfig(str(folders / kind), levels=(1, 3))).eval()
    whole = type(image_encoder.network).from_pretrained(folders / kind, out_features=["stage1", "stage3"]).eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for one, other in zip(image_encoder(images), whole(images).feature_maps, strict=True):
            torch.testing.assert_close(one, other)


def test_what_can_be_trained_has_a_part_in_the_maps(folders: Path, kind: str) -> None:
    image_encoder = HubImageEncoder.build(ImageEncoderConfig(str(folders / kind), levels=(1, 3)))
    sum(level.sum() for level in image_encoder(torch.randn(2, 3, 64, 96))).backward()
    trained = dict(image_encoder.named_parameters())
    assert trained
    assert [name for name, parameter in trained.items() if parameter.grad is None] == []


def test_a_saved_model_answers_alike(folders: Path, kind: str, tmp_path: Path) -> None:
    model = Retriever.build(config(folders / kind), ["make it red"])
    pixels = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    answer = model.embed_queries(pixels, ["make it red", ""])
    model.save(tmp_path / "run")
    assert torch.equal(Retriever.load(tmp_path / "run").embed_queries(pixels, ["make it red", ""]), answer)


@pytest.mark.parametrize("kind", ["dinov2", "beit"])
def test_the_levels_of_a_vision_transformer_are_its_layers(kind: str, tmp_path: Path) -> None:
    folder = saved(kind, {**KINDS[kind][0], "num_hidden_layers": 6}, tmp_path / kind)
    image_encoder = HubImageEncoder.build(ImageEncoderConfig(str(folder), levels=(2, 5)))
    assert image_encoder.network.config.num_hidden_layers == 5
    with pytest.raises(ConfigError, match="this image encoder has the levels 1 to 6"):
        HubImageEncoder.build(ImageEncoderConfig(str(folder), levels=(7,)))


def test_a_classifiers_folder_brings_no_norms_for_the_maps_and_they_begin_neutral(tmp_path: Path) -> None:
    from transformers import ConvNextConfig, ConvNextForImageClassification

    ConvNextForImageClassification(ConvNextConfig(**FOUR)).save_pretrained(tmp_path / "convnext")
    norms = HubImageEncoder.build(
        ImageEncoderConfig(str(tmp_path / "convnext"), levels=(2, 4))
    ).network.hidden_states_norms
    assert all(bool((norm.weight == 1).all() and (norm.bias == 0).all()) for norm in norms.values())
    assert len(norms) == 2


def test_a_network_that_takes_one_size_only_is_refused_at_another(tmp_path: Path) -> None:
    settings = {**HEADS, "image_size": [64, 64], "num_heads": [1, 1, 2, 2]}
    folder = saved("hiera", settings, tmp_path / "hiera")
    Retriever.build(config(folder, (2, 4), 64, 64), ["red"])
    with pytest.raises(ConfigError, match=r"takes no images of 64×96 pixels .* it was made for \[64, 64\]"):
        Retriever.build(config(folder, (2, 4)), ["red"])


def test_a_network_without_maps_is_refused(tmp_path: Path) -> None:
    settings = {**LAYERS, "image_size": [32, 32], "patch_size": [8, 8]}
    folder = saved("vitpose_backbone", settings, tmp_path / "pose")
    with pytest.raises(ConfigError, match=r"pose' cannot be used: the image encoder gives 2 outputs .* expected maps"):
        HubImageEncoder.build(ImageEncoderConfig(str(folder), levels=(2, 4)))


def test_a_network_that_is_no_backbone_is_refused(tmp_path: Path) -> None:
    from transformers import ViTConfig

    ViTConfig(**LAYERS).save_pretrained(tmp_path / "vit")
    with pytest.raises(ConfigError, match=r"vit' cannot be used: a network of the kind 'vit' gives no feature maps"):
        HubImageEncoder.build(ImageEncoderConfig(str(tmp_path / "vit"), levels=(2,)))
