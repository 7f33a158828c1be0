"""Any backbone of transformers, cut to the levels in use, with weights from scratch, a file or a folder."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from itma.errors import ConfigError, DataError
from itma.models.image_encoders.hub import KNOWN, HubImageEncoder, ImageEncoderConfig
from itma.models.image_encoders.torchvision_names import torchvision_name
from tests import published_checkpoints as published


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small backbone as `transformers` saves it."""
    from transformers import ResNetBackbone, ResNetConfig

    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], layer_type="basic")
    path = tmp_path_factory.mktemp("hub") / "small"
    ResNetBackbone(config).save_pretrained(path)
    return path


@pytest.mark.parametrize("name", KNOWN)
def test_each_level_has_its_stride_and_no_deeper_stage_is_kept(name: str) -> None:
    image_encoder = HubImageEncoder.build(ImageEncoderConfig(name, levels=(2, 3)))
    maps = image_encoder(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape[2:]) for level in maps] == [(8, 12), (4, 6)]
    assert tuple(level.shape[1] for level in maps) == image_encoder.channels
    assert len(image_encoder.network.encoder.stages) == 3


def test_an_image_encoder_is_built_again_from_its_description() -> None:
    first = HubImageEncoder.build(ImageEncoderConfig(levels=(1, 3)))
    second = HubImageEncoder(first.description, (1, 3))
    second.load_state_dict(first.state_dict())
    images = torch.rand(2, 3, 32, 48)
    assert all(torch.equal(a, b) for a, b in zip(first.eval()(images), second.eval()(images), strict=True))


def test_a_local_folder_brings_its_weights(folder: Path) -> None:
    from transformers import ResNetBackbone

    image_encoder = HubImageEncoder.build(ImageEncoderConfig(str(folder), levels=(2,)))
    whole = ResNetBackbone.from_pretrained(folder, out_features=["stage2"])
    images = torch.rand(2, 3, 32, 48)
    assert torch.equal(image_encoder.eval()(images)[0], whole.eval()(images).feature_maps[0])


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_weights_come_from_a_file(folder: Path, tmp_path: Path, kind: str) -> None:
    source = HubImageEncoder.build(ImageEncoderConfig(str(folder), levels=(3,)))
    path, state = tmp_path / f"weights.{kind}", source.network.state_dict()
    save_file(state, path) if kind == "safetensors" else torch.save(state, path)
    other = HubImageEncoder(source.description, (3,))
    other.load_weights(path)
    assert all(torch.equal(value, other.network.state_dict()[name]) for name, value in state.items())


def test_weights_that_do_not_fit_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    image_encoder = HubImageEncoder.build(ImageEncoderConfig(str(folder), levels=(2,)))
    with pytest.raises(DataError, match="do not exist"):
        image_encoder.load_weights(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(DataError, match=r"bad.safetensors' cannot be read"):
        image_encoder.load_weights(tmp_path / "bad.safetensors")
    state = dict(image_encoder.network.state_dict())
    name = next(iter(state))
    save_file({name: state[name]}, tmp_path / "few.safetensors")
    with pytest.raises(DataError, match=r"lack .* tensors"):
        image_encoder.load_weights(tmp_path / "few.safetensors")
    save_file(state | {name: state[name][:1].clone()}, tmp_path / "shape.safetensors")
    with pytest.raises(DataError, match="do not fit"):
        image_encoder.load_weights(tmp_path / "shape.safetensors")


def test_a_pickle_that_runs_code_is_not_opened(folder: Path, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "harm",)  # type: ignore[return-value]

    torch.save({"weight": Hostile()}, tmp_path / "hostile.pth")
    with pytest.raises(DataError, match="cannot be read"):
        HubImageEncoder.build(ImageEncoderConfig(str(folder), levels=(2,))).load_weights(tmp_path / "hostile.pth")
    assert not (tmp_path / "harm").exists()


def test_an_unknown_image_encoder_or_level_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"efficientnet-lite0, .*resnet-18, .*, or give a local folder"):
        HubImageEncoder.build(ImageEncoderConfig(str(tmp_path / "nothing"), levels=(2,)))
    with pytest.raises(ConfigError, match="levels 1 to 4"):
        HubImageEncoder.build(ImageEncoderConfig(levels=(2, 5)))


def torchvision_state(arch: str = "resnet18") -> dict[str, torch.Tensor]:
    """A ResNet's state as torchvision names it, classifier included."""
    state = {name: published.value(name, shape) for name, shape in published.resnet(arch, "")}
    width = 2048 if arch == "resnet50" else 512
    return state | {"fc.weight": torch.ones(1000, width), "fc.bias": torch.ones(1000)}


@pytest.mark.parametrize(
    ("wrap", "ending"),
    [
        (lambda state: state, "safetensors"),
        (lambda state: state, "pth"),
        (lambda state: {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, "pth"),
        (lambda state: {name: value for name, value in state.items() if "num_batches" not in name}, "pth"),
    ],
)
def test_weights_named_as_in_torchvision_fill_a_resnet(wrap: Any, ending: str, tmp_path: Path) -> None:
    state, path = torchvision_state(), tmp_path / f"resnet.{ending}"
    save_file(wrap(state), path) if ending == "safetensors" else torch.save(wrap(state), path)
    image_encoder = HubImageEncoder.build(ImageEncoderConfig("resnet-18", levels=(2, 3), weights=str(path)))
    own = image_encoder.network.state_dict()
    assert torch.equal(own["encoder.stages.2.layers.1.layer.1.convolution.weight"], state["layer3.1.conv2.weight"])
    assert torch.equal(
        own["encoder.stages.1.layers.0.shortcut.normalization.bias"], state["layer2.0.downsample.1.bias"]
    )
    assert torch.equal(own["embedder.embedder.normalization.running_var"], state["bn1.running_var"])


@pytest.mark.parametrize("arch", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_every_tensor_of_torchvisions_resnet_has_its_place(arch: str, tmp_path: Path) -> None:
    state = torchvision_state(arch)
    torch.save(state, tmp_path / "resnet.pth")
    image_encoder = HubImageEncoder.build(
        ImageEncoderConfig(arch.replace("t", "t-"), levels=(4,), weights=str(tmp_path / "resnet.pth"))
    )
    names = {torchvision_name(name): name for name in image_encoder.network.state_dict()}
    assert set(names) | {"fc.weight", "fc.bias"} == set(state)
    assert all(torch.equal(image_encoder.network.state_dict()[own], state[name]) for name, own in names.items())


def test_weights_under_a_prefix_of_somebodys_own_are_found_where_there_is_one(tmp_path: Path) -> None:
    state: dict[str, Any] = torchvision_state()
    path = tmp_path / "resnet.pth"
    torch.save({"net": {f"student.trunk.{name}": tensor for name, tensor in state.items()}, "epoch": 3}, path)
    encoder = HubImageEncoder.build(ImageEncoderConfig("resnet-18", levels=(3,), weights=str(path)))
    assert torch.equal(encoder.network.state_dict()["embedder.embedder.convolution.weight"], state["conv1.weight"])
    torch.save({f"{each}{name}": tensor for name, tensor in state.items() for each in ("q.", "k.")}, path)
    with pytest.raises(DataError, match=r"lack .* found [qk]\."):
        HubImageEncoder.build(ImageEncoderConfig("resnet-18", levels=(3,), weights=str(path)))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: state.pop("layer3.0.conv1.weight"), r"lack 1 of .* named as transformers or torchvision name"),
        (lambda state: state.update({"layer1.2.conv1.weight": torch.ones(1)}), r"hold 1 tensors .* 'layer1\.2\.conv1"),
        (lambda state: state.update({"bn1.bias": torch.ones(3)}), r"do not fit: .* is \(3,\), expected \(64,\)"),
        (lambda state: state.update({"epoch": 3}), "hold no state dict"),
    ],
)
def test_torchvision_weights_that_are_not_the_same_network_are_refused(
    change: Any, problem: str, tmp_path: Path
) -> None:
    state: dict[str, Any] = torchvision_state()
    change(state)
    torch.save(state, tmp_path / "resnet.pth")
    with pytest.raises(DataError, match=problem):
        HubImageEncoder.build(ImageEncoderConfig("resnet-18", levels=(3,), weights=str(tmp_path / "resnet.pth")))


def test_a_name_that_is_no_resnets_has_no_name_in_torchvision() -> None:
    with pytest.raises(ValueError, match="is no tensor of a ResNet"):
        torchvision_name("encoder.layers.0.weight")
