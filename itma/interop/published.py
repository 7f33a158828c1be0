"""Checkpoints of the published code of TIRG, MAAF and ITMA → a `Retriever` that answers alike.

Sources: Vo et al. 2019 (arXiv:1812.07119), Dodds et al. 2020 (arXiv:2007.00145), Huynh & Ly 2021. A checkpoint is a
pickled dictionary of `it` (steps done), `opt` (an `argparse.Namespace` of the command line) and `model_state_dict`;
ITMA's code is MAAF's. What is said here of their behaviour was compared with outputs of that code.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from itma.data.images import Preprocess
from itma.data.tokenizer import Tokenizer
from itma.errors import ConfigError, DataError
from itma.models.composers.itma import ItmaOptions
from itma.models.image_encoders.base import ImageEncoderConfig
from itma.models.image_encoders.torchvision_names import stage_of, torchvision_name
from itma.models.pickles import WRAPPERS, load_allowed, why_not_opened, without_prefixes
from itma.models.retriever import Retriever, RetrieverConfig
from itma.models.text_encoders.base import TextEncoderConfig
from itma.models.transformer import sequence_sinusoids

COMPOSERS = {
    "imgonly": "image-only",
    "textonly": "words-only",
    "add": "add",
    "concat": "concat",
    "tirg": "tirg",
    "tirg_lastconv": "tirg-last-map",
    "sequence_concat_attention": "itma",
}
"""The published name of each model → ours."""

_REFUSED = {
    "attention": "the two-stream attention model has no counterpart here; import a sequence_concat_attention model",
    "seqcat_outtoken": (
        "its output token was neither trained nor saved by the published code, so its answers cannot be had again; "
        "import a sequence_concat_attention model"
    ),
}
_IMAGE_ENCODERS = {"resnet18": "resnet-18", "resnet50": "resnet-50"}
_LONGEST = 500
"""Words of a sentence, as many as the published Transformer has positions for; its LSTM has no limit."""
_BLOCK = {
    "norm_attention.weight": "sublayer.0.norm.a_2",
    "norm_attention.bias": "sublayer.0.norm.b_2",
    "norm_forward.weight": "sublayer.1.norm.a_2",
    "norm_forward.bias": "sublayer.1.norm.b_2",
    "forward_network.0": "feed_forward.w_1",
    "forward_network.3": "feed_forward.w_2",
    **{f"attention.{name}": f"self_attn.linears.{i}" for i, name in enumerate(("query", "key", "value", "output"))},
}
"""The beginning of a name within an encoder layer of ours → of theirs."""
_LAYERS = 8
"""Layers of TIRG's gate and residual, at most."""


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint as it lies on disk."""

    path: Path
    code: Literal["tirg", "maaf"]
    """Whose code wrote it; ITMA's is MAAF's."""
    options: Mapping[str, Any]
    """The command line of the training."""
    tensors: Mapping[str, torch.Tensor]
    steps: int

    def __str__(self) -> str:
        return f"the checkpoint {str(self.path)!r}"

    @property
    def model(self) -> str:
        """The published name of the model."""
        return str(self.options.get("model"))

    def option(self, name: str, default: Any) -> Any:
        """An option, which has to be of its default's type.

        Raises:
            ConfigError: it is of another.
        """
        value = self.options.get(name, default)
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        if value is not None and default is not None and type(value) is not type(default):
            raise self.error(name, f" must be {type(default).__name__}")
        return value

    def error(self, name: str, what: str) -> ConfigError:
        """Why an option is not supported."""
        return ConfigError(f"{self} has {name}={self.options.get(name)!r}{what}")

    @property
    def ids(self) -> int:
        """How many words have an embedding, the unknown one included."""
        name = "text_model.embedding_layer.weight"
        if name not in self.tensors:
            raise DataError(f"{self} lacks the tensor {name!r}; it holds no words' embeddings")
        return len(self.tensors[name])


@dataclass(frozen=True)
class LeftOut:
    """Tensors of a checkpoint that have no part in its model's answers."""

    names: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        names = ", ".join(self.names[:2]) + (f" and {len(self.names) - 2} more" if len(self.names) > 2 else "")
        return f"{names}: {self.why}"


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint by torch's allow-list of plain tensors and values, and `argparse.Namespace`; nothing is run.

    Raises:
        DataError: the file is missing, damaged, asks for something else, or is no such checkpoint.
    """
    path = Path(path)
    try:
        content = load_allowed(path)
    except FileNotFoundError as error:
        raise DataError(f"the checkpoint {str(path)!r} does not exist") from error
    except Exception as error:  # torch raises many kinds on damaged files; nothing of the file has run
        raise DataError(
            f"the checkpoint {str(path)!r} was not opened: {why_not_opened(path, error)}; expected a file as TIRG's, "
            "MAAF's or ITMA's code saves it"
        ) from error
    wrapper = next((key for key in WRAPPERS if isinstance(content, dict) and key in content), "model_state_dict")
    if not isinstance(content, dict) or not {"opt", wrapper} <= set(content):
        holds = ", ".join(map(str, list(content)[:5])) if isinstance(content, dict) else type(content).__name__
        raise DataError(
            f"{str(path)!r} is no checkpoint of TIRG's, MAAF's or ITMA's code: expected it, opt and model_state_dict, "
            f"found {holds or 'nothing'}. Weights of an image encoder alone go into model.image_encoder.weights"
        )
    options, tensors = content["opt"], content[wrapper]
    if isinstance(options, argparse.Namespace):
        options = vars(options)
    if not isinstance(options, dict) or not isinstance(tensors, dict):
        raise DataError(f"{str(path)!r} is damaged: opt or model_state_dict is a {type(tensors).__name__}")
    strange = next((name for name, tensor in tensors.items() if not isinstance(tensor, torch.Tensor)), None)
    if strange is not None or not tensors:
        raise DataError(f"{str(path)!r} is damaged: {strange!r} in model_state_dict is no tensor")
    tensors = without_prefixes({str(name): tensor for name, tensor in tensors.items()}, known="img_model.")
    code: Literal["tirg", "maaf"] = "maaf" if any(name.startswith("img_model.model.") for name in tensors) else "tirg"
    steps = content.get("it", 0)
    return Checkpoint(path, code, options, tensors, steps if isinstance(steps, int) else 0)


def shape(checkpoint: Checkpoint, size: tuple[int, int] | None = None) -> RetrieverConfig:
    """The model that a checkpoint's options describe.

    Args:
        checkpoint: the file.
        size: width and height of the images it was trained on. None: as the published code has them.

    Raises:
        ConfigError: the published code offers the option, but it is not supported here; the message says why.
    """
    option = checkpoint.option
    if checkpoint.model not in COMPOSERS:
        why = _REFUSED.get(checkpoint.model, f"it is none of {', '.join(COMPOSERS)}")
        raise checkpoint.error("model", f": {why}")
    composer = COMPOSERS[checkpoint.model]
    dim = option("embed_dim", 512)
    kind = option("text_model_arch", "lstm")
    if kind == "BERT":
        why = "the published code does not save how its BERT was read"
        raise checkpoint.error("text_model_arch", f": {why}; train with model.text_encoder.kind=pretrained instead")
    if kind not in ("embeddings", "transformer"):
        kind = "lstm"  # as the published code does
    elif composer not in ("itma", "image-only"):
        why = "that text encoder gives a feature for each word, and the published model needs one for the sentence"
        what = f" with model={checkpoint.model}: {why}; the published code does not run it"
        raise checkpoint.error("text_model_arch", what)
    arch = option("image_model_arch", "resnet18") or "resnet18"
    if arch not in _IMAGE_ENCODERS:
        raise checkpoint.error("image_model_arch", f": expected {' or '.join(_IMAGE_ENCODERS)}")
    levels: tuple[int, ...] = (4,)
    if composer == "itma":
        levels = tuple(level for level in (2, 3, 4) if str(level) in str(option("att_layer_spec", "3_4")))
        if not levels:
            raise checkpoint.error("att_layer_spec", " names no stage; expected one or more of 2, 3 and 4")
    layers, dropout = option("text_model_layers", 1) if kind != "embeddings" else 1, float(option("dropout_rate", 0.1))
    raw = checkpoint.code == "tirg" and option("dataset", "css3d") == "css3d"  # not resized: 180×120 pixels
    width, height = size or ((180, 120) if raw else (224, 224))
    return RetrieverConfig(
        composer=composer,
        dim=dim,
        image_encoder=ImageEncoderConfig(_IMAGE_ENCODERS[arch], levels),
        text_encoder=TextEncoderConfig(
            kind=kind, width=dim, layers=layers, dropout=dropout, heads=1, unknown="keep", max_words=_LONGEST
        ),
        preprocess=Preprocess(height, width) if raw else Preprocess(height, width, fit="crop"),
        options=_itma_options(checkpoint, dropout) if composer == "itma" else None,
    )


def _itma_options(checkpoint: Checkpoint, dropout: float) -> ItmaOptions:
    option = checkpoint.option
    positions = option("attn_positional_encoding", None)
    if positions == "mixed":
        why = "the published code computes these positions before training and saves others"
        what = f": {why}, so those that the model was trained with are not in the checkpoint"
        raise checkpoint.error("attn_positional_encoding", what)
    attention = option("attn_softmax_replacement", "none")
    if attention not in ("none", "identity"):
        raise checkpoint.error("attn_softmax_replacement", ": expected none or identity")
    return ItmaOptions(
        blocks=option("number_attention_blocks", 1),
        heads=option("number_attention_heads", 8),
        width=option("width_per_attention_block", 256),
        attention="identity" if attention == "identity" else "softmax",
        positions="sequence" if positions == "sinusoidal" else "none",  # as published, other names give none
        pool="levels" if option("resolutionwise_pool", False) else "cells",
        pool_words=option("sequence_concat_include_text", False),
        gallery_through_transformer=option("sequence_concat_img_through_attn", False),
        dropout=dropout,
    )


def rebuild(
    checkpoint: Checkpoint, words: Sequence[str], size: tuple[int, int] | None = None
) -> tuple[Retriever, list[LeftOut]]:
    """The model of a checkpoint, with its weights.

    Every tensor of the checkpoint is used, or is known to have no part in the answers of its model, or is an error.

    Args:
        checkpoint: what `open_checkpoint` read.
        words: the vocabulary in the order of ids, `<UNK>` first; see `itma.data.vocabulary`.
        size: width and height of the images it was trained on. None: as the published code has them.

    Returns:
        The model, in evaluation mode, and what was left out.

    Raises:
        ConfigError: see `shape`.
        DataError: a tensor is lacking, has another shape, contradicts another, or is not known.
    """
    config = shape(checkpoint, size)
    tokenizer = Tokenizer.from_published(words, **config.text_encoder.reading())
    model = Retriever.assemble(config, tokenizer)
    remaining = dict(checkpoint.tensors)
    state = {}
    for name, tensor in model.state_dict().items():
        published = their_name(name, config, checkpoint.code)
        if published not in checkpoint.tensors:
            raise DataError(
                f"{checkpoint} lacks the tensor {published!r} that its options ask for (model={checkpoint.model})"
            )
        remaining.pop(published, None)
        state[name] = _convert(name, checkpoint.tensors[published], config, checkpoint.code)
        if state[name].shape != tensor.shape:
            raise DataError(
                f"the tensor {published!r} of {checkpoint} has the shape {tuple(state[name].shape)}; by its options it "
                f"should be {tuple(tensor.shape)}"
            )
    left_out = _account(remaining, checkpoint, config)
    model.load_state_dict(state)
    return model.eval(), left_out


def their_name(name: str, config: RetrieverConfig, code: str) -> str:
    """The published name of a tensor of ours.

    >>> their_name("composer.gate.2.weight", RetrieverConfig("tirg"), "maaf")
    'gated_feature_composer.3.weight'
    """
    if name.startswith("image_encoder."):
        image_encoder = "img_model.model." if code == "maaf" else "img_model."
        return image_encoder + torchvision_name(name.removeprefix("image_encoder.network."))
    names = _their_names(config)
    prefix = next(prefix for prefix in names if name.startswith(prefix))
    return names[prefix] + name.removeprefix(prefix)


def _their_names(config: RetrieverConfig) -> dict[str, str]:
    """The beginnings of the names of our tensors, but for the image encoder's → of theirs."""
    names = {
        "scale": "normalization_layer.norm_s",
        "text_encoder.embedding.": "text_model.embedding_layer.",
        "composer.image.output.": "img_model.fc.0.",
        "composer.weights": "a",
        "composer.network.": "composer.m.",
    }
    if config.text_encoder.kind == "lstm":
        names |= {"text_encoder.network.": "text_model.lstm.", "text_encoder.output.": "text_model.fc_output."}
    else:
        names |= _their_layers("text_encoder.", "network", "text_model.model.", config.text_encoder.layers)
    if config.composer == "tirg":  # theirs begin with a layer that concatenates
        parts = {"gate": "gated_feature_composer", "residual": "res_info_composer"}
        names |= {f"composer.{own}.{n}.": f"{parts[own]}.{n + 1}." for own in parts for n in range(_LAYERS)}
    if config.composer == "tirg-last-map":
        names |= {"composer.gate.": "mod2d_gate.", "composer.residual.": "mod2d."}
    if isinstance(config.options, ItmaOptions):
        names |= _their_layers("composer.", "blocks", "composer.encoder.", config.options.blocks)
        for number, level in enumerate(config.image_encoder.levels):
            for inner, kind in enumerate(("conv", "bn")):
                names[f"composer.projections.{number}.{inner}."] = f"img_model.l{level}_conv_proj.{kind}."
    return names


def _their_layers(own_prefix: str, layers: str, prefix: str, count: int) -> dict[str, str]:
    """Of a Transformer encoder: the beginnings of names in its layers, and its last norm."""
    return {
        **{
            f"{own_prefix}{layers}.{n}.{own}": f"{prefix}layers.{n}.{_BLOCK[own]}"
            for n in range(count)
            for own in _BLOCK
        },
        f"{own_prefix}norm.weight": f"{prefix}norm.a_2",
        f"{own_prefix}norm.bias": f"{prefix}norm.b_2",
    }


def _convert(name: str, tensor: torch.Tensor, config: RetrieverConfig, code: str) -> torch.Tensor:
    """A tensor of theirs as ours: its two used weights of TIRG's four, a scalar scale, kernels that lie otherwise."""
    if name == "scale":
        return tensor.reshape(()) if tensor.numel() == 1 else tensor
    if name == "composer.weights":
        return tensor[:2]
    if config.composer == "tirg-last-map" and code == "maaf" and tensor.dim() == 4 and name.startswith("composer."):
        return tensor.transpose(2, 3).contiguous()  # MAAF's code swaps rows and columns of the map before it
    return tensor


def _account(remaining: Mapping[str, torch.Tensor], checkpoint: Checkpoint, config: RetrieverConfig) -> list[LeftOut]:
    """Why each tensor that was not used was not.

    Raises:
        DataError: one of them is not known, or contradicts what was used.
    """
    reasons: dict[str, list[str]] = {}
    for name, tensor in remaining.items():
        if (twin := _twin(name, checkpoint)) is not None:
            if twin in checkpoint.tensors and not torch.equal(tensor, checkpoint.tensors[twin]):
                raise DataError(
                    f"{checkpoint} holds {name!r} and {twin!r}, which are one tensor in the published code, with "
                    "different values"
                )
            if twin in checkpoint.tensors and twin not in remaining:
                continue  # used under its first name
        if (why := _reason(name, tensor, config)) is None:
            raise DataError(
                f"{checkpoint} holds the tensor {name!r} {tuple(tensor.shape)}, which the published model "
                f"{checkpoint.model!r} with these options does not have; nothing was imported"
            )
        reasons.setdefault(why, []).append(name)
    left_out = [LeftOut(tuple(names), why) for why, names in reasons.items()]
    if "a" in checkpoint.tensors and len(checkpoint.tensors["a"]) > 2:
        left_out.append(LeftOut(("a[2:]",), "the published model reads the first two weights only"))
    return left_out


def _twin(name: str, checkpoint: Checkpoint) -> str | None:
    """The name of the same tensor elsewhere in the published model."""
    if name.startswith("img_model.model.fc."):
        return name.replace("img_model.model.fc.", "img_model.fc.")
    if checkpoint.model == "sequence_concat_attention" and name.startswith("composer.m."):
        inner = name.removeprefix("composer.m.")
        if inner == "pos_embed.pe":
            return "composer.position.pe"
        return "composer.encoder." + inner.removeprefix("encoder.")
    return None


def _reason(name: str, tensor: torch.Tensor, config: RetrieverConfig) -> str | None:
    """Why a tensor has no part in the answers; nothing where it is not known."""
    if name.endswith(".pe"):
        known = {"text_model.position_encoder.pe"} if config.text_encoder.kind == "transformer" else set()
        if isinstance(config.options, ItmaOptions) and config.options.positions == "sequence":
            known |= {"composer.position.pe", "composer.m.pos_embed.pe"}
        if name not in known or tensor.dim() != 3 or len(tensor) != 1:
            return None
        table = sequence_sinusoids(tensor.shape[1], tensor.shape[2])
        # the angles reach thousands, where float32 carries three decimals
        same = torch.allclose(tensor[0].float(), table, atol=2e-3)
        return "a fixed table of positions, computed anew here" if same else None
    if name.startswith(("img_model.fc.0.", "img_model.model.fc.0.")) and config.composer == "itma":
        return "the layer after the last map, which this model does not reach"
    image_encoder = name.removeprefix("img_model.model.").removeprefix("img_model.")
    if name.startswith("img_model.") and stage_of(image_encoder) > max(config.image_encoder.levels):
        return "stages of the image encoder beyond the last one that this model looks at"
    if name.startswith("text_model.") and config.composer == "image-only":
        return "the text encoder, which this model does not ask"
    if name.startswith("composer.ff.") and config.composer == "itma":
        return "a layer that one revision of the published code registers and never uses"
    return None
