"""Trunks: any backbone of transformers, cut to the levels in use, with weights from scratch, a file or a folder."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from itma.errors import ConfigError, DataError
from itma.model.trunk import KNOWN, Trunk, TrunkConfig


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
    trunk = Trunk.build(TrunkConfig(name, levels=(2, 3)))
    maps = trunk(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape[2:]) for level in maps] == [(8, 12), (4, 6)]
    assert tuple(level.shape[1] for level in maps) == trunk.channels
    assert len(trunk.backbone.encoder.stages) == 3


def test_a_trunk_is_built_again_from_its_description() -> None:
    first = Trunk.build(TrunkConfig(levels=(1, 3)))
    second = Trunk(first.description, (1, 3))
    second.load_state_dict(first.state_dict())
    pictures = torch.rand(2, 3, 32, 48)
    assert all(torch.equal(a, b) for a, b in zip(first.eval()(pictures), second.eval()(pictures), strict=True))


def test_a_local_folder_brings_its_weights(folder: Path) -> None:
    from transformers import ResNetBackbone

    trunk = Trunk.build(TrunkConfig(str(folder), levels=(2,)))
    whole = ResNetBackbone.from_pretrained(folder, out_features=["stage2"])
    pictures = torch.rand(2, 3, 32, 48)
    assert torch.equal(trunk.eval()(pictures)[0], whole.eval()(pictures).feature_maps[0])


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_weights_come_from_a_file(folder: Path, tmp_path: Path, kind: str) -> None:
    source = Trunk.build(TrunkConfig(str(folder), levels=(3,)))
    path, state = tmp_path / f"weights.{kind}", source.backbone.state_dict()
    save_file(state, path) if kind == "safetensors" else torch.save(state, path)
    other = Trunk(source.description, (3,))
    other.load_weights(path)
    assert all(torch.equal(value, other.backbone.state_dict()[name]) for name, value in state.items())


def test_weights_that_do_not_fit_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    trunk = Trunk.build(TrunkConfig(str(folder), levels=(2,)))
    with pytest.raises(DataError, match="do not exist"):
        trunk.load_weights(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(DataError, match=r"bad.safetensors' cannot be read"):
        trunk.load_weights(tmp_path / "bad.safetensors")
    state = dict(trunk.backbone.state_dict())
    name = next(iter(state))
    save_file({name: state[name]}, tmp_path / "few.safetensors")
    with pytest.raises(DataError, match=r"lack .* tensors"):
        trunk.load_weights(tmp_path / "few.safetensors")
    save_file(state | {name: state[name][:1].clone()}, tmp_path / "shape.safetensors")
    with pytest.raises(DataError, match="do not fit"):
        trunk.load_weights(tmp_path / "shape.safetensors")


def test_a_pickle_that_runs_code_is_not_opened(folder: Path, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "harm",)  # type: ignore[return-value]

    torch.save({"weight": Hostile()}, tmp_path / "hostile.pth")
    with pytest.raises(DataError, match="cannot be read"):
        Trunk.build(TrunkConfig(str(folder), levels=(2,))).load_weights(tmp_path / "hostile.pth")
    assert not (tmp_path / "harm").exists()


def test_an_unknown_trunk_or_level_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose from resnet-18, resnet-50, resnet-small, or give a local folder"):
        Trunk.build(TrunkConfig(str(tmp_path / "nothing"), levels=(2,)))
    with pytest.raises(ConfigError, match="levels 1 to 4"):
        Trunk.build(TrunkConfig(levels=(2, 5)))
