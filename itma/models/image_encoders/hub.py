"""Image → feature maps at several depths: adapters over `transformers`' backbones, CLIP's tower and EfficientNet-Lite.

`transformers` is imported only where a network of its own is built, because that takes seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from itma.errors import ConfigError, DataError
from itma.io import refuse_stream
from itma.models import pretrained
from itma.models.image_encoders import efficientnet_lite
from itma.models.image_encoders.base import REGISTRY, ImageEncoder, ImageEncoderConfig, register
from itma.models.image_encoders.resnet import ResNet, ResNetShape
from itma.models.image_encoders.torchvision_names import CLASSIFIER, stage_of, torchvision_name
from itma.models.pickles import load_allowed, unwrap, why_not_opened, without_prefixes

if TYPE_CHECKING:
    from transformers import PretrainedConfig

KNOWN = {
    "resnet-small": ResNetShape(32, (32, 64, 128, 256), (1, 1, 1, 1), "basic"),
    "resnet-18": ResNetShape(64, (64, 128, 256, 512), (2, 2, 2, 2), "basic"),
    "resnet-50": ResNetShape(64, (256, 512, 1024, 2048), (3, 4, 6, 3), "bottleneck"),
}
"""Image encoders known by a short name; built from scratch unless weights are given. `resnet-small` is meant for images
of about 96×64 pixels."""

_PROBE = 64
"""Height and width in pixels of the image that a network is tried with, where its configuration names none."""


def locate_image_encoder(config: ImageEncoderConfig) -> str:
    """The name of an image encoder that is registered, or the folder of another, fetched from the hub if need be.

    Raises:
        ConfigError: there is none.
    """
    if REGISTRY.lookup(config.name) is not None:
        return config.name
    return pretrained.locate(config.name, "image encoder", ", ".join(sorted(REGISTRY)))


@register("resnet-small")
@register("resnet-18")
@register("resnet-50")
class HubImageEncoder(ImageEncoder):
    """A backbone of `transformers` that returns one feature map for each level.

    Stages deeper than the deepest level are left out, so that every weight has a part in the answer. Make one with
    `HubImageEncoder.build` or, from a saved model, with `HubImageEncoder.rebuilt`.

    Args:
        network: the configuration of the backbone, in the dictionary form of `transformers`.
        levels: stages to return, ascending.
    """

    def __init__(self, network: Mapping[str, Any], levels: Sequence[int]) -> None:
        super().__init__(levels)
        from transformers import AutoBackbone, AutoConfig

        self.network = AutoBackbone.from_config(_cut(AutoConfig.for_model(**network), self.levels))
        self.channels = tuple(self.network.channels)
        if self.network.config.model_type != "resnet":
            self.channels = self._examine()

    @staticmethod
    def build(config: ImageEncoderConfig) -> ImageEncoder:
        """The encoder that `config` names, with the weights it names.

        Raises:
            ConfigError: the name is neither known nor a folder or hub name, or has no such level.
            DataError: the weights cannot be read or do not fit.
        """
        return (REGISTRY.lookup(config.name) or HubImageEncoder).open(config)

    @staticmethod
    def rebuilt(description: Mapping[str, Any], levels: Sequence[int], name: str = "") -> ImageEncoder:
        """The encoder that a `description` describes, to be filled by `load_state_dict`.

        Args:
            description: what the saved encoder's `description` was.
            levels: its levels.
            name: what its settings call it; needed of one that is registered from outside.
        """
        if "model_type" not in description:  # only networks of transformers and our own say that
            return REGISTRY.find(name).reopen(description, levels)
        if ResNetShape.read(description) is not None:
            return ResNetEncoder(description, levels)
        if description["model_type"] == LiteEncoder.MODEL_TYPE:
            return LiteEncoder(description, levels)
        return (_tower_of(description) or HubImageEncoder)(description, levels)

    @classmethod
    def open(cls, config: ImageEncoderConfig) -> "HubImageEncoder":
        """See `build`; a name that is not registered is a folder's, or one on the hub."""
        if config.name in KNOWN:
            image_encoder: HubImageEncoder = ResNetEncoder(asdict(KNOWN[config.name]), config.levels)
        else:
            config = replace(config, name=locate_image_encoder(config))
            hub = pretrained.open_config(config.name, "image encoder")
            if (tower := _tower_of(hub)) is not None:
                if config.weights is not None:
                    raise ConfigError(
                        f"model.image_encoder.weights={config.weights!r}: {config.name!r} brings its own weights; "
                        "leave it out"
                    )
                return tower(hub, config.levels, config.name)
            try:
                image_encoder = cls(hub.to_dict(), config.levels)
            except (ValueError, KeyError, ImportError, ConfigError) as error:
                raise ConfigError(f"the image encoder {config.name!r} cannot be used: {error}") from error
            if config.weights is None:
                network, new = image_encoder.network, "hidden_states_norms."
                # a hub's classifier has no norms for the maps between: they begin neutral
                image_encoder.network = pretrained.load_weights(
                    type(network), config.name, network.config, "image encoder", new=new
                )
                image_encoder._examine()
        if config.weights is not None:
            image_encoder.load_weights(config.weights)
        return image_encoder

    def _examine(self) -> tuple[int, ...]:
        """Each map's channels, measured; parameters that have no part in any map (mask tokens, …) become buffers.

        So they are stored with the rest, while what is trained, also on several devices, has gradients.

        Raises:
            ConfigError: the backbone gives no maps.
        """
        size = getattr(self.network.config, "image_size", None) or _PROBE
        height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
        parameters, training = list(self.parameters()), self.training
        with torch.enable_grad():
            maps = self.eval()(torch.zeros(1, 3, height, width))
            shapes = [tuple(level.shape) for level in maps]
            if len(shapes) != len(self.levels) or any(len(shape) != 4 for shape in shapes):
                raise ConfigError(
                    f"the image encoder gives {len(shapes)} outputs of shapes {shapes} for {len(self.levels)} levels; "
                    "expected maps (images, channels, rows, columns)"
                )
            total = torch.stack([level.sum() for level in maps]).sum()
            gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        idle = {id(one) for one, gradient in zip(parameters, gradients, strict=True) if gradient is None}
        for module in self.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                if id(parameter) in idle:
                    delattr(module, name)
                    module.register_buffer(name, parameter.detach())
        self.train(training)
        return tuple(shape[1] for shape in shapes)

    def load_weights(self, path: str | Path) -> None:
        """Fill the backbone from a `.safetensors` or `.pth` file of its own state, or of torchvision's same ResNet.

        Tensors of stages that were left out, and torchvision's classifier, are passed over; every tensor of the
        backbone must be there, and nothing may be left over. A `.pth` file is opened by torch's allow-list of plain
        tensors; nothing else in it is run.

        Raises:
            DataError: the file cannot be read, lacks a tensor or has one too many, or one has another shape.
        """
        path = Path(path)
        tensors = _read_state(path)
        own = self.network.state_dict()
        first = next(iter(own))
        names = {name: name for name in own}
        prefix = next((p for p in ("", "resnet.", "backbone.", "model.") if p + first in tensors), None)
        if prefix is None and self.description["model_type"] == "resnet":
            names = {name: torchvision_name(name) for name in own}
            prefix = next((p for p in ("", "module.", "model.", "img_model.") if p + names[first] in tensors), None)
        if prefix is None:  # under a name of somebody's own, if there is but one
            ends = {name.removesuffix(names[first]) for name in tensors if name.endswith(f".{names[first]}")}
            whole = [each for each in ends if all(each + ending in tensors for ending in names.values())]
            prefix = whole[0] if len(whole) == 1 else ""
        full_names = {name: prefix + names[name] for name in own}
        others: list[str] = []
        if names[first] != first:
            used = {*full_names.values(), *(prefix + name for name in CLASSIFIER)}
            others = [name for name in tensors if name not in used]
        extra = [name for name in others if stage_of(name.removeprefix(prefix)) <= max(self.levels)]
        expected = "the state of the same backbone, named as transformers or torchvision name it"
        _fill(self.network, path, tensors, full_names, extra=extra, expected=expected)

    @property
    def description(self) -> dict[str, Any]:
        """The backbone's configuration; with it the image encoder can be built again without its name."""
        return pretrained.describe(self.network)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(images, 3, height, width) normalised → for each level (images, channels, rows, columns)."""
        return list(self.network(images).feature_maps)


class ResNetEncoder(HubImageEncoder):
    """A plain ResNet, see `itma.models.image_encoders.resnet`; its stages 1 to 4 are the levels."""

    MODEL_TYPE = "resnet"

    def __init__(self, network: Mapping[str, Any], levels: Sequence[int]) -> None:
        nn.Module.__init__(self)
        shape = ResNetShape.read({**network, "model_type": self.MODEL_TYPE})
        assert shape is not None
        _check_levels(levels, len(shape.depths))
        self.levels, deepest = tuple(levels), max(levels)
        self.network = ResNet(replace(shape, hidden_sizes=shape.hidden_sizes[:deepest], depths=shape.depths[:deepest]))
        self.channels = tuple(shape.hidden_sizes[level - 1] for level in levels)

    @property
    def description(self) -> dict[str, Any]:
        """See `ImageEncoder`."""
        shape = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self.network.shape).items()}
        return {"model_type": self.MODEL_TYPE, **shape}

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See `ImageEncoder`."""
        maps = self.network(images)
        return [maps[level - 1] for level in self.levels]


@register("efficientnet-lite0")
@register("efficientnet-lite1")
@register("efficientnet-lite2")
class LiteEncoder(HubImageEncoder):
    """EfficientNet-Lite, see `itma.models.image_encoders.efficientnet_lite`; its stages 1 to 7 are the levels."""

    MODEL_TYPE = "efficientnet-lite"
    PACKAGED = "imagenet"

    def __init__(self, network: Mapping[str, Any], levels: Sequence[int]) -> None:
        nn.Module.__init__(self)
        _check_levels(levels, efficientnet_lite.STAGES)
        self.levels = tuple(levels)
        self.network = efficientnet_lite.EfficientNetLite(network["name"], max(levels))
        self.channels = tuple(self.network.channels[level - 1] for level in levels)

    @classmethod
    def open(cls, config: ImageEncoderConfig) -> "LiteEncoder":
        """The image encoder that `config` names, with new weights or those of the file or package that it names.

        Raises:
            ConfigError: there is no such level.
            MissingPackageError: the package's weights are wanted, but it is not installed.
            DataError: the weights cannot be read or are those of another network.
        """
        image_encoder = cls({"name": config.name}, config.levels)
        if config.weights is not None:
            packaged = config.weights == cls.PACKAGED
            image_encoder.load_weights(pretrained.find_packaged_lite(config.name) if packaged else config.weights)
        return image_encoder

    @property
    def description(self) -> dict[str, Any]:
        """See `ImageEncoder`."""
        return {"model_type": self.MODEL_TYPE, "name": self.network.name}

    def load_weights(self, path: str | Path) -> None:
        """Fill the network from a file of its own tensors or of the package's, whose classifier is passed over.

        Raises:
            DataError: the file cannot be read, or a tensor lacks, is left over or has another shape.
        """
        tensors = _read_state(Path(path))
        own = self.network.state_dict()
        names = efficientnet_lite.package_names(self.network)
        if not any(name in tensors for name in names.values()):
            names = {name: name for name in own}
        whole = efficientnet_lite.EfficientNetLite(self.network.name)
        published = {*efficientnet_lite.package_names(whole).values(), *efficientnet_lite.classifier_names().values()}
        extra = [name for name in tensors if name not in {*published, *whole.state_dict()}]
        expected = f"the state of the same network, {self.network.name}"
        _fill(self.network, path, tensors, names, extra=extra, expected=expected)

    def first_levels(self, count: int) -> list[nn.Module]:
        """See `ImageEncoder`."""
        return [self.network.stem, *self.network.stages[:count]] if count else []

    def begin(self, images: torch.Tensor, frozen: int) -> list[torch.Tensor]:
        """See `ImageEncoder`; the maps of the levels up to `frozen`, and that of `frozen` itself where it is no level.

        With 0 there is nothing to store but the images themselves.
        """
        if frozen < 0:
            raise ConfigError(f"frozen levels: {frozen}: expected a stage from 0 (none) to {efficientnet_lite.STAGES}")
        if frozen == 0:
            return [images]
        return self._maps(self.network.stem(images), 0, frozen)

    def finish(self, begun: Sequence[torch.Tensor], frozen: int) -> list[torch.Tensor]:
        """See `ImageEncoder`."""
        maps, x = list(begun[: sum(level <= frozen for level in self.levels)]), begun[-1]
        if frozen == 0:
            x = self.network.stem(x)
        return maps + self._maps(x, frozen)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See `ImageEncoder`."""
        maps = self.network(images)
        return [maps[level - 1] for level in self.levels]

    def _maps(self, x: torch.Tensor, first: int, last: int | None = None) -> list[torch.Tensor]:
        """The maps of the levels after `first`, up to `last`, and that of `last` itself; None: to the end."""
        maps = []
        for number, stage in enumerate(self.network.stages[first:last], start=first + 1):
            x = stage(x)
            if number in self.levels or number == last:
                maps.append(x)
        return maps


class ClipImageEncoder(HubImageEncoder):
    """CLIP's vision tower (Radford et al. 2021, arXiv:2103.00020).

    Level n is the n-th layer's output as a map of patches, without the class token; the level after the last layer is
    the image's embedding in CLIP's own space, as a map of one cell. Layers that no level needs are left out.
    Images of another size than the tower's get interpolated positions.

    Args:
        network: the tower's configuration, or that of the whole.
        levels: which are wanted, ascending.
        name: the folder of its weights; None: they are new.

    Raises:
        ConfigError: there is no such level.
        DataError: the weights cannot be read or lack a tensor.
    """

    def __init__(
        self, network: "PretrainedConfig | Mapping[str, Any]", levels: Sequence[int], name: str | None = None
    ) -> None:
        nn.Module.__init__(self)
        tower = pretrained.vision_tower(network, name)
        inner = getattr(tower, "vision_model", tower)
        settings, layers = tower.config, len(inner.encoder.layers)
        self._layers: int = getattr(settings, "whole_layers", layers)
        _check_levels(levels, self._layers + 1, embeds=True)
        self.levels, self.network = tuple(levels), tower
        self.embeds = self._layers + 1 in levels
        if not self.embeds:
            settings.whole_layers = self._layers  # so that a smaller tower still knows the number of its embedding
            settings.num_hidden_layers = max(levels)
            del inner.encoder.layers[max(levels) :]
            inner.post_layernorm = nn.Identity()
            self._without_embedding(tower)
        embedding = getattr(settings, "projection_dim", settings.hidden_size)
        self.channels = tuple(embedding if level > self._layers else settings.hidden_size for level in levels)

    @staticmethod
    def _without_embedding(tower: Any) -> None:
        """Take away what only the image's embedding needs."""
        tower.visual_projection = nn.Identity()

    @staticmethod
    def _maps(outputs: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The image's embedding and, for each layer, the features of its patches (images, patches, channels)."""
        return outputs.image_embeds, [layer[:, 1:] for layer in outputs.hidden_states]

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See `ImageEncoder`."""
        height, width = images.shape[2:]
        patch = self.network.config.patch_size
        if min(height, width) < patch:
            height, width = max(height, patch), max(width, patch)
            images = F.interpolate(images, (height, width), mode="bilinear", align_corners=False)
        outputs = self.network(images, output_hidden_states=True, interpolate_pos_encoding=True)
        embedding, layers = self._maps(outputs)
        rows, columns = height // patch, width // patch
        return [
            embedding[:, :, None, None]
            if level > self._layers
            else layers[level].transpose(1, 2).unflatten(2, (rows, columns))
            for level in self.levels
        ]


class SiglipImageEncoder(ClipImageEncoder):
    """SigLIP's vision tower (Zhai et al. 2023, arXiv:2303.15343), with levels as `ClipImageEncoder`'s.

    It has no class token; the image's embedding is what its attention-pooling head makes of the patches.
    """

    @staticmethod
    def _without_embedding(tower: Any) -> None:
        inner = getattr(tower, "vision_model", tower)
        inner.use_head = tower.config.vision_use_head = False
        inner.head = None  # there is none yet where a smaller tower is built again

    @staticmethod
    def _maps(outputs: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
        return outputs.pooler_output, list(outputs.hidden_states)


def _tower_of(config: "PretrainedConfig | Mapping[str, Any]") -> type[ClipImageEncoder] | None:
    """The image encoder for CLIP's or SigLIP's configuration, or that of its vision tower; else None."""
    kind = config["model_type"] if isinstance(config, Mapping) else config.model_type
    towers = {pretrained.CLIP: ClipImageEncoder, pretrained.SIGLIP: SiglipImageEncoder}
    return towers.get(kind.removesuffix("_vision_model"))


def _check_levels(levels: Sequence[int], most: int, *, embeds: bool = False) -> None:
    if max(levels) > most:
        all_levels = f"1 to {most - 1}, and {most} for the image's embedding" if embeds else f"1 to {most}"
        raise ConfigError(f"model.image_encoder.levels={tuple(levels)}: this image encoder has the levels {all_levels}")


def _fill(
    network: nn.Module,
    path: str | Path,
    tensors: Mapping[str, torch.Tensor],
    names: Mapping[str, str],
    *,
    extra: Sequence[str],
    expected: str,
) -> None:
    """Load a file's tensors into a network; one that lacks a tensor, has one too many or of another shape is refused.

    Args:
        path: of the file, for the error.
        tensors: what the file holds.
        names: our name of each tensor → its name in the file.
        extra: names in the file of what the network does not have.
        expected: what the file should hold, for the error.
    """
    own = network.state_dict()
    # files from before batch norms counted their batches lack the counts, which have no part in an answer
    needed = [name for name in own if not name.endswith("num_batches_tracked")]
    lacking = [name for name in needed if names[name] not in tensors]
    if lacking:
        raise DataError(
            f"the image encoder weights {str(path)!r} lack {len(lacking)} of {len(needed)} tensors, e.g. "
            f"{names[lacking[0]]!r}; expected {expected}; found {', '.join(list(tensors)[:3]) or 'nothing'}"
        )
    state = {name: tensors.get(names[name], tensor) for name, tensor in own.items()}
    for name, tensor in own.items():
        shape, actual = tuple(tensor.shape), tuple(state[name].shape)
        if actual != shape:
            raise DataError(
                f"the image encoder weights {str(path)!r} do not fit: {names[name]!r} is {actual}, expected {shape}"
            )
    if extra:
        raise DataError(
            f"the weights {str(path)!r} hold {len(extra)} tensors that this image encoder does not have, e.g. "
            f"{extra[0]!r}; expected {expected}"
        )
    network.load_state_dict(state)


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a `.safetensors` or `.pth` file; of a checkpoint, those under `state_dict`."""
    refuse_stream(path)
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else load_allowed(path)
    except FileNotFoundError as error:
        raise DataError(f"the image encoder weights {str(path)!r} do not exist") from error
    except Exception as error:  # safetensors and torch raise many kinds on damaged files
        raise DataError(
            f"the image encoder weights {str(path)!r} cannot be read: {why_not_opened(path, error)}"
        ) from error
    tensors = unwrap(content)
    if tensors is None:
        raise DataError(
            f"the image encoder weights {str(path)!r} hold no state dict, or several: expected names with one tensor "
            f"each, or one such group; found {', '.join(map(str, list(content)[:8])) or 'nothing'}"
        )
    return without_prefixes(tensors)


def _cut(config: "PretrainedConfig", levels: Sequence[int]) -> "PretrainedConfig":
    """The configuration without the stages (or layers) deeper than the deepest level, where the network allows it.

    Raises:
        ConfigError: the network has no stages, or no such level.
    """
    names = [name for name in getattr(config, "stage_names", None) or () if name != "stem"]
    if not names:
        raise ConfigError(f"a network of the kind {config.model_type!r} gives no feature maps")
    stages, deepest = len(names), max(levels)
    _check_levels(levels, stages)
    settings = config.to_dict()
    for name in ("stage_names", "_out_features", "_out_indices", "out_features", "out_indices"):
        settings.pop(name, None)
    settings["out_features"] = [names[level - 1] for level in levels]
    smaller = dict(settings)
    for name in ("depths", "hidden_sizes"):
        if isinstance(settings.get(name), list | tuple) and len(settings[name]) == stages:
            smaller[name] = list(settings[name][:deepest])
    for name in ("num_stages",) if "depths" in settings else ("num_hidden_layers",):
        if settings.get(name) == stages:
            smaller[name] = deepest
    whole = type(config)(**settings)
    return whole if smaller == settings else _if_a_part(type(config), smaller, whole)


def _if_a_part(
    kind: "type[PretrainedConfig]", smaller: Mapping[str, Any], whole: "PretrainedConfig"
) -> "PretrainedConfig":
    """The smaller configuration where its network is a part of the whole one, else the whole.

    In some kinds the last stage differs from the others (a norm's size, a missing reduction), so that one cut short
    would be another network.
    """
    from transformers import AutoBackbone

    if whole.model_type == "resnet":
        return kind(**smaller)
    try:
        cut = kind(**smaller)
        with torch.device("meta"):
            part, all_of_it = (AutoBackbone.from_config(config).state_dict() for config in (cut, whole))
    except Exception:  # each kind has checks of its own
        return whole
    fits = all(name in all_of_it and all_of_it[name].shape == tensor.shape for name, tensor in part.items())
    return cut if fits else whole
