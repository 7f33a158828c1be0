"""A checkpoint as TIRG's code saves it after training on CSS, and what that code computes with it, in plain PyTorch.

The computation is written down from Vo et al. 2019 (arXiv:1812.07119), equations 1 to 3 and section 4. Weights are made
from the tensors' names (see `tests.published_checkpoints`), so that no file of 45 MB has to be kept.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from tests import published_checkpoints as published

State = dict[str, torch.Tensor]
OPTIONS = {"model": "tirg", "dataset": "css3d", "embed_dim": 32, "loss": "soft_triplet", "batch_size": 32}
MEAN, STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def vocabulary(sentences: list[str]) -> dict[str, int]:
    """Word → id, as TIRG numbers them: sorted; 0 is the unknown word."""
    return {
        word: number for number, word in enumerate(sorted({w for sentence in sentences for w in sentence.split()}), 1)
    }


def state(words: int) -> State:
    """Names and shapes of `model_state_dict`; a query stays near its reference, so that recalls are neither 0 nor 1."""
    tensors = published.tensors("tirg")
    flat = {name.replace("img_model.model.", "img_model."): tensor for name, tensor in tensors.items()}
    name = "text_model.embedding_layer.weight"
    return {**flat, "a": torch.tensor([1.0, 0.3, 1.0, 1.0]), name: published.value(name, (words + 1, 32))}


def write(path: Path, words: int) -> Path:
    """Save a checkpoint."""
    saved: dict[str, Any] = {"it": 30, "opt": argparse.Namespace(**OPTIONS), "model_state_dict": state(words)}
    torch.save(saved, path)
    return path


def pixels(path: Path) -> torch.Tensor:
    """(1, 3, height, width) float32, as the file has them, without ImageNet's mean."""
    with Image.open(path) as image:
        plain = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy((plain - np.float32(MEAN)) / np.float32(STD)).permute(2, 0, 1)[None]


def norm(x: torch.Tensor, of: State, name: str) -> torch.Tensor:
    """Batch norm in evaluation."""
    parts = (of[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *parts)


def image_feature(x: torch.Tensor, of: State) -> torch.Tensor:
    """ResNet-18, its mean over all cells, and a linear layer: (images, 32)."""
    x = F.relu(norm(F.conv2d(x, of["img_model.conv1.weight"], stride=2, padding=3), of, "img_model.bn1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage in range(1, 5):
        for block in range(2):
            own, stride = f"img_model.layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = F.conv2d(x, of[f"{own}.conv1.weight"], stride=stride, padding=1)
            inner = F.conv2d(F.relu(norm(inner, of, f"{own}.bn1")), of[f"{own}.conv2.weight"], padding=1)
            if f"{own}.downsample.0.weight" in of:
                x = norm(F.conv2d(x, of[f"{own}.downsample.0.weight"], stride=stride), of, f"{own}.downsample.1")
            x = F.relu(norm(inner, of, f"{own}.bn2") + x)
    return linear(x.mean((2, 3)), of, "img_model.fc.0")


def text_feature(sentence: str, ids: dict[str, int], of: State) -> torch.Tensor:
    """The LSTM's output at the last word, and a linear layer: (1, 32)."""
    lstm = torch.nn.LSTM(32, 32)
    lstm.load_state_dict({name.rpartition("lstm.")[2]: tensor for name, tensor in of.items() if ".lstm." in name})
    words = of["text_model.embedding_layer.weight"][[ids.get(word, 0) for word in sentence.split()]]
    with torch.no_grad():
        return linear(lstm(words[:, None])[0][-1], of, "text_model.fc_output.1")


def compose(image: torch.Tensor, text: torch.Tensor, of: State) -> torch.Tensor:
    """Equations 1 to 3: the gated image and the residual, weighted."""
    both = torch.cat([image, text], dim=1)
    gate = linear(F.relu(norm(both, of, "gated_feature_composer.1")), of, "gated_feature_composer.3")
    residual = linear(F.relu(norm(both, of, "res_info_composer.1")), of, "res_info_composer.3")
    residual = linear(F.relu(residual), of, "res_info_composer.5")
    return of["a"][0] * torch.sigmoid(gate) * image + of["a"][1] * residual


def linear(x: torch.Tensor, of: State, name: str) -> torch.Tensor:
    return F.linear(x, of[f"{name}.weight"], of[f"{name}.bias"])


def ranks(root: Path, annotation: dict[str, Any], ids: dict[str, int], of: State) -> list[int]:
    """The rank of each test query's first image of the target's label, the reference left out, as TIRG's test does."""
    test = annotation["test"]
    paths = [root / "images" / f"css_test_{number:06d}.png" for number in range(len(test["objects_img"]))]
    images = image_feature(torch.cat([pixels(path) for path in paths]), of)
    gallery, labels, result = F.normalize(images), np.array(test["labels"]), []
    for change in test["mods"]:
        text = text_feature(change["to_str"], ids, of)
        for source, target in zip(change["from"], change["to"], strict=True):
            query = F.normalize(compose(images[source : source + 1], text, of))[0]
            scores = gallery @ query
            scores[source] = -1e10
            order = torch.argsort(-scores).tolist()
            result.append(1 + next(rank for rank, image in enumerate(order) if labels[image] == labels[target]))
    return result
