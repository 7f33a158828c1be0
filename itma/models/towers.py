"""CLIP and SigLIP folders in the hub's form, read as whole models that need no training.

A folder says how images and sentences are prepared and where the embeddings stand; `Retriever.over` does the rest.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from itma.data.images import Preprocess
from itma.errors import ConfigError, DataError, RunError
from itma.io import file_sum, parse_json, refuse_stream
from itma.models import pretrained
from itma.models.composers import composer_named
from itma.models.hub_names import weights_files
from itma.models.image_encoders.base import ImageEncoderConfig
from itma.models.pretrained import CLIP, SIGLIP
from itma.models.text_encoders.base import TextEncoderConfig

log = logging.getLogger(__name__)

UNTRAINED, FIRST = "sum", "combiner"
"""The composer with which towers answer as they are, and the one that is trained over them where none is named."""
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)
_OTHERS = {
    "vision_model": "an image network alone, which cannot read sentences; give the folder of the whole model, or train "
    "with it as the image encoder: itma train … --set model.image_encoder.name=FOLDER",
    "text_model": "a text network alone, which cannot see images; give the folder of the whole model",
    "siglip2": "a SigLIP 2 of variable image size (NaFlex), which is not supported; the SigLIP 2 of a fixed size is, "
    "e.g. google/siglip2-base-patch16-224",
}
"""Kind of a network, without the name of CLIP or SigLIP before it → what it is that is no whole model."""


@dataclass(frozen=True)
class Towers:
    """An image and a text network that others trained together, whose embeddings share one space."""

    folder: Path
    """Where they are."""
    kind: str
    """`clip` or `siglip`; stands for their name in a model's own configuration, so that a folder can be renamed."""
    dim: int
    """Features of both embeddings."""
    image_encoder: ImageEncoderConfig
    """The image network; its one level is the image's embedding."""
    text_encoder: TextEncoderConfig
    preprocess: Preprocess

    @property
    def shape(self) -> dict[str, Any]:
        """The parts of a `RetrieverConfig` over these towers."""
        return {name: getattr(self, name) for name in ("dim", "image_encoder", "text_encoder", "preprocess")}

    def shape_for(self, composer: str) -> dict[str, Any]:
        """As `shape`, with room for the tokens that a composer puts beside those of a feedback."""
        room = self.text_encoder.max_words - composer_named(composer).adds_words
        return {**self.shape, "text_encoder": replace(self.text_encoder, max_words=room)}


def holds_towers(folder: Path) -> bool:
    """Whether a folder is in the form in which `transformers` writes networks, and no model of ours."""
    refuse_stream(folder / "config.json")
    try:
        plain = parse_json((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(plain, dict) and "model_type" in plain and "format" not in plain


def towers_sum(folder: Path) -> str:
    """sha256 of the weights in a folder in the hub's form; of several files, over their sums.

    Raises:
        DataError: there are none.
    """
    sums = [file_sum(path) for path in weights_files(folder)]
    if not sums:
        raise DataError(
            f"{str(folder)!r} has no weights: expected model.safetensors or pytorch_model.bin beside its config.json"
        )
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def read_towers(folder: Path) -> Towers:
    """What a folder of CLIP or SigLIP holds.

    Raises:
        RunError: it is another network, or one tower alone.
        ConfigError: images or embeddings are prepared in a way that is not known here.
        DataError: a file is damaged or missing.
    """
    config: Any = pretrained.open_config(str(folder), "model")
    kind = config.model_type
    if kind not in (CLIP, SIGLIP):
        what = _OTHERS.get(kind.removeprefix("siglip_").removeprefix("clip_")) or (
            f"a network of the kind {kind!r}, which is neither CLIP nor SigLIP nor a run of itma; it can be a part of "
            "a model that is trained: --set model.image_encoder.name=FOLDER or --set model.text_encoder.name=FOLDER"
        )
        raise RunError(f"{str(folder)!r} holds {what}")
    towers_sum(folder)  # no weights: said here, with the file's name
    vision, text = config.vision_config, config.text_config
    if kind == CLIP:
        dim = config.projection_dim
    elif vision.vision_use_head and vision.hidden_size == text.projection_size:
        dim = vision.hidden_size
    else:
        raise ConfigError(
            f"{str(folder)!r}: image embeddings of {vision.hidden_size} and text embeddings of {text.projection_size} "
            "features do not share a space, or the image network has no head; expected SigLIP as published"
        )
    return Towers(
        folder=folder,
        kind=kind,
        dim=dim,
        image_encoder=ImageEncoderConfig(kind, levels=(vision.num_hidden_layers + 1,)),
        text_encoder=TextEncoderConfig(kind="pretrained", name=kind, max_words=text.max_position_embeddings),
        preprocess=_preprocess(folder, kind, vision.image_size),
    )


def _preprocess(folder: Path, kind: str, side: Any) -> Preprocess:
    """How the folder says that images are prepared; what it does not say is as published."""
    plain = _image_settings(folder)
    crop = bool(plain.get("do_center_crop", kind == CLIP))
    size = _sides(plain.get("size")) or _sides(side)
    height, width = (_sides(plain.get("crop_size")) or size) if crop else size or (0, 0)  # type: ignore[misc]
    if crop and size is not None and min(size) != min(height, width):
        log.warning(
            "%s scales images to %d pixels before it cuts out %d×%d; here they are scaled to what is cut out",
            folder, min(size), width, height,
        )  # fmt: skip
    if not plain.get("do_rescale", True) or abs(float(plain.get("rescale_factor", 1 / 255)) * 255 - 1) > 1e-3:
        raise ConfigError(
            f"{str(folder)!r} wants pixels times {plain.get('rescale_factor')}; expected 1/255, values from 0 to 1"
        )
    mean, std = (CLIP_MEAN, CLIP_STD) if kind == CLIP else (_HALF, _HALF)
    if not plain.get("do_normalize", True):
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    else:
        mean, std = (tuple(plain.get(name, value)) for name, value in (("image_mean", mean), ("image_std", std)))
    return Preprocess(int(height), int(width), "crop" if crop else "stretch", mean, std)


def _image_settings(folder: Path) -> Mapping[str, Any]:
    for name, inner in (("preprocessor_config.json", None), ("processor_config.json", "image_processor")):
        path = folder / name
        if path.is_file():
            try:
                plain = parse_json(path.read_text(encoding="utf-8"))
                settings = plain.get(inner, {}) if inner else plain
                if isinstance(settings, dict):
                    return {key: value for key, value in settings.items() if value is not None}
            except (ValueError, AttributeError) as error:
                raise DataError(f"{str(path)!r} is damaged: {error}") from error
    return {}


def _sides(size: Any) -> tuple[int, int] | None:
    """(height, width) of the ways in which a size is written."""
    if isinstance(size, Mapping):
        edge = size.get("shortest_edge")
        return _sides(edge) if edge is not None else _sides([size.get("height"), size.get("width")])
    if isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return size[0], size[1]
    return (size, size) if isinstance(size, int) else None
