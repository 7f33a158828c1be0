"""Our ResNet gives the answers, names and statistics of `transformers`' ResNet, whose weights it reads."""

import pytest
import torch
from transformers import AutoBackbone, ResNetConfig

from itma.models.image_encoders.hub import HubImageEncoder, ImageEncoderConfig, ResNetEncoder
from itma.models.image_encoders.resnet import ResNetShape

SHAPES = {
    "basic": {"layer_type": "basic", "hidden_sizes": [8, 16, 24, 32], "depths": [2, 1, 1, 2], "embedding_size": 8},
    "bottleneck": {"hidden_sizes": [16, 32], "depths": [2, 1], "embedding_size": 8},
    "early-stride": {"hidden_sizes": [16, 32], "depths": [1, 2], "downsample_in_bottleneck": True},
    "first-stage": {"hidden_sizes": [16, 32], "depths": [1, 1], "downsample_in_first_stage": True},
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", SHAPES)
def test_a_resnet_answers_as_that_of_transformers(kind: str, training: bool) -> None:
    depth = len(SHAPES[kind]["depths"])  # type: ignore[arg-type]
    config = ResNetConfig(**SHAPES[kind], out_features=[f"stage{level}" for level in range(1, depth + 1)])
    other = AutoBackbone.from_config(config).train(training)
    own = HubImageEncoder.rebuilt(config.to_dict(), range(1, depth + 1)).train(training)
    assert isinstance(own, ResNetEncoder)
    own.network.load_state_dict(other.state_dict())
    images = torch.randn(2, 3, 48, 64)
    for actual, expected in zip(own(images), other(images).feature_maps, strict=True):
        torch.testing.assert_close(actual, expected)
    state = own.network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in other.state_dict().items())


def test_a_resnet_is_built_again_from_what_transformers_leaves_out_as_its_default() -> None:
    shape = ResNetShape.read({"model_type": "resnet"})
    assert shape == ResNetShape.read(ResNetConfig().to_dict())


def test_another_activation_is_left_to_transformers() -> None:
    config = ResNetConfig(**SHAPES["basic"], hidden_act="gelu")
    assert not isinstance(HubImageEncoder.rebuilt(config.to_dict(), (1,)), ResNetEncoder)


def test_convolutions_begin_with_the_spread_that_keeps_relu_s_variance() -> None:
    weight = HubImageEncoder.build(ImageEncoderConfig("resnet-18", levels=(1,))).network.state_dict()
    spread = weight["encoder.stages.0.layers.0.layer.0.convolution.weight"].std()
    assert spread == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
