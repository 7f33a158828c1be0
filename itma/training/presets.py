"""Named recipes: a model, a way to train it and a size of a generated world that go together."""

from dataclasses import dataclass, replace

from itma.data.datasets import dataset_named
from itma.data.images import Preprocess
from itma.errors import UnknownNameError
from itma.models.composers.itma import ItmaOptions
from itma.models.image_encoders import efficientnet_lite
from itma.models.image_encoders.base import ImageEncoderConfig
from itma.models.retriever import RetrieverConfig
from itma.models.text_encoders.base import TextEncoderConfig
from itma.models.towers import CLIP_MEAN, CLIP_STD
from itma.training.config import TrainConfig


@dataclass(frozen=True)
class Preset:
    """One recipe."""

    about: str
    """One sentence for `itma presets`."""
    model: RetrieverConfig
    train: TrainConfig
    size: str = "css"
    """The size of the generated world that it is meant for."""


_CLIP = "openai/clip-vit-base-patch32"

_PUBLISHED = RetrieverConfig(
    dim=512,
    image_encoder=ImageEncoderConfig("resnet-18", levels=(4,)),
    text_encoder=TextEncoderConfig(width=512),
    preprocess=Preprocess(height=224, width=224, fit="crop"),
)
_PUBLISHED_TIRG = replace(_PUBLISHED, composer="tirg", options=None)
_PUBLISHED_TRAINING = TrainConfig(
    steps=160_000,
    batch=32,
    per_reference=1,
    optimizer="sgd",
    learning_rate=0.01,
    image_encoder_rate=0.1,
    weight_decay=1e-6,
    schedule="step",
    warmup=0,
    decay_every=50_000,
    clip=0.0,
    precision="float32",
    metric="validation/recall@10",
    evaluate_every=5_000,
    log_every=50,
)
"""What the published code of TIRG, and of ITMA after it, has in common, but for the choice of the checkpoint."""

PUBLISHED_SUFFIX = "-published"
"""Ends the names of the presets that choose the checkpoint as the published code does: by recall on the test split."""

PRESETS: dict[str, Preset] = {
    "demo": Preset("small images, a minute of training on two CPU cores", RetrieverConfig(), TrainConfig(), "demo"),
    "hour": Preset(
        "small images, more scenes, about an hour of training on two CPU cores",
        RetrieverConfig(image_encoder=ImageEncoderConfig(levels=(2, 3))),
        TrainConfig(steps=4_000, learning_rate=2e-3, evaluate_every=500, log_every=20, warmup=100),
        "hour",
    ),
    "wardrobe": Preset(
        "the wardrobe world: images of 96×96, some minutes of training on two CPU cores",
        RetrieverConfig(text_encoder=TextEncoderConfig(earlier=True), preprocess=Preprocess(height=96, width=96)),
        TrainConfig(steps=700, learning_rate=3e-3, evaluate_every=100, loss="graded"),
        "demo",
    ),
    "wardrobe-hour": Preset(
        "the wardrobe world, more products, about an hour of training on two CPU cores",
        RetrieverConfig(
            image_encoder=ImageEncoderConfig(levels=(3, 4)),
            text_encoder=TextEncoderConfig(earlier=True),
            preprocess=Preprocess(height=96, width=96),
        ),
        TrainConfig(
            steps=9_000,
            learning_rate=2e-3,
            evaluate_every=1_000,
            log_every=20,
            warmup=200,
            start_scale=8.0,
            loss="graded",
            flip=True,
            crop=0.85,
        ),
        "look-alikes",
    ),
    "photos": Preset(
        "photographs of one's own: ResNet-18, stages 3 and 4; give pretrained weights with model.image_encoder.weights",
        RetrieverConfig(
            dim=256,
            image_encoder=ImageEncoderConfig("resnet-18", levels=(3, 4)),
            text_encoder=TextEncoderConfig(width=256),
            preprocess=Preprocess(height=224, width=224, fit="pad"),
        ),
        TrainConfig(
            steps=4_000, batch=32, image_encoder_rate=0.2, learning_rate=1e-3, evaluate_every=400, flip=True, crop=0.8
        ),
    ),
    "products": Preset(
        "a shop's table of products: EfficientNet-Lite0, whose first stages stay; about an hour on two CPU cores",
        RetrieverConfig(
            dim=192,
            image_encoder=ImageEncoderConfig("efficientnet-lite0", levels=(5, 7), weights="imagenet"),
            text_encoder=TextEncoderConfig(width=192, earlier=True),
            options=ItmaOptions(width=384, look=0.5),
            preprocess=Preprocess(height=128, width=96, mean=efficientnet_lite.MEAN, std=efficientnet_lite.STD),
        ),
        TrainConfig(
            steps=1_000,
            batch=192,
            per_reference=1,
            learning_rate=1.5e-3,
            image_encoder_rate=0.15,
            warmup=60,
            start_scale=8.0,
            loss="graded",
            precision="float32",
            augment=0.15,
            crop=0.7,
            flip=True,
            grounds=0.6,
            frozen_levels=4,
            fixed_norms=True,
            views=2,
            hold_out=0.01,
            evaluate_every=250,
            log_every=20,
        ),
    ),
    "clip": Preset(
        "TIRG's gate on the frozen embeddings of CLIP ViT-B/32, which comes from the hub",
        RetrieverConfig(
            composer="tirg",
            dim=512,
            image_encoder=ImageEncoderConfig(_CLIP, levels=(13,)),
            text_encoder=TextEncoderConfig(kind="pretrained", name=_CLIP),
            preprocess=Preprocess(224, 224, "crop", CLIP_MEAN, CLIP_STD),
        ),
        TrainConfig(
            steps=4_000,
            batch=128,
            per_reference=1,
            learning_rate=1e-3,
            frozen=("image_encoder", "text_encoder"),
            frozen_levels=13,  # all there are: with views, images go through CLIP once and not in every step
            views=2,
            flip=True,
        ),
    ),
    "tiny": Preset(
        "for tests: a few steps on a handful of images",
        RetrieverConfig(dim=32, text_encoder=TextEncoderConfig(width=32), options=None),
        TrainConfig(steps=8, batch=8, warmup=2, evaluate_every=4, log_every=2, hold_out=0.25, precision="float32"),
        "tiny",
    ),
    "itma-css": Preset(
        "ITMA as published for CSS: ResNet-18, stage 4, one block, identity attention",
        replace(
            _PUBLISHED, options=ItmaOptions(blocks=1, width=256, attention="identity", positions="none", dropout=0.1)
        ),
        replace(_PUBLISHED_TRAINING, steps=60_000, per_reference=2, image_encoder_rate=1.0, evaluate_every=3_000),
    ),
    "itma-fashioniq": Preset(
        "ITMA as published for FashionIQ: ResNet-18, stages 3 and 4, two blocks, softmax",
        replace(
            _PUBLISHED,
            image_encoder=ImageEncoderConfig("resnet-18", levels=(3, 4)),
            options=ItmaOptions(blocks=2, width=128, attention="softmax", positions="none", dropout=0.1),
        ),
        replace(_PUBLISHED_TRAINING, steps=150_000, crop=0.8, flip=True, noise=0.01),
    ),
    "tirg-css": Preset(
        "TIRG as published for CSS",
        _PUBLISHED_TIRG,
        replace(_PUBLISHED_TRAINING, per_reference=2, image_encoder_rate=1.0, loss="soft-triplet", loss_options=None),
    ),
    "tirg-mitstates": Preset(
        "TIRG as published for MIT-States",
        _PUBLISHED_TIRG,
        replace(_PUBLISHED_TRAINING, per_reference=2, loss="soft-triplet", loss_options=None),
    ),
    "tirg-fashion200k": Preset("TIRG as published for Fashion200k", _PUBLISHED_TIRG, _PUBLISHED_TRAINING),
}
"""Preset by name."""

PRESETS |= {
    f"{name}{PUBLISHED_SUFFIX}": Preset(
        f"{preset.about}, which chooses the checkpoint by the TEST split: for comparison only",
        preset.model,
        replace(preset.train, hold_out=0.0, metric="test/recall@10"),
        preset.size,
    )
    for name, preset in list(PRESETS.items())
    if name in ("itma-css", "itma-fashioniq", "tirg-css", "tirg-mitstates", "tirg-fashion200k")
}


OVER_TOWERS = "clip"
"""The recipe for a composer that is trained over the towers of CLIP or SigLIP, where none is asked for."""


def preset_named(name: str) -> Preset:
    """The preset known as `name`.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    return PRESETS[name]


def preset_for(data: str) -> str:
    """The name of the preset that is meant for a data set, where none is asked for."""
    return dataset_named(data).preset


def with_composer(config: RetrieverConfig, composer: str) -> RetrieverConfig:
    """The same model with another composer, whose options are its defaults; all other parts stay."""
    return config if composer == config.composer else replace(config, composer=composer, options=None)
