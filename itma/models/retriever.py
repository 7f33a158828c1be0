"""Image encoder, text encoder, composer, tracker: from pixels and sentences to embeddings; to and from a folder."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from itma.config import APPLIES, BELONGS, check_ranges, fill_options, from_plain, to_plain
from itma.data.conversations import split_turns
from itma.data.images import Preprocess, Source, as_pixels
from itma.data.tokenizer import Tokenizer, Tokens
from itma.device import takes_bf16
from itma.errors import ConfigError, DataError, FeedbackError, ItmaError, PluginError, RunError, UnknownNameError
from itma.io import file_sum, parse_json, refuse_stream, write_text, write_with
from itma.models import hub, pretrained
from itma.models.checkpoint import CONFIG, FILES, FORMAT, MANIFEST, TOKENIZER, WEIGHTS, checkpoint_folder, verify
from itma.models.composers import FeatureShapes, composer_named
from itma.models.embedder import Embedder, unit
from itma.models.feedback import readable
from itma.models.image_encoders.base import ImageEncoder, ImageEncoderConfig
from itma.models.image_encoders.hub import HubImageEncoder, LiteEncoder, locate_image_encoder
from itma.models.text_encoders.base import TextEncoder, TextEncoderConfig, Words, WordsMemory
from itma.models.towers import UNTRAINED, Towers, holds_towers, read_towers
from itma.models.trackers import tracker_named
from itma.registry import needs, require

START_SCALE = 4.0
"""Length that embeddings are scaled to for the loss, before training (published value)."""
PARTS = ("image_encoder", "text_encoder", "text_encoder.network", "composer", "tracker", "scale")
"""What can be frozen; `text_encoder.network` is the text encoder without its last linear map."""


@dataclass(frozen=True)
class RetrieverConfig:
    """Everything that decides a model's shape.

    >>> RetrieverConfig(composer="itma").options.blocks >= 1
    True
    """

    composer: str = "itma"
    """A name in the registry of composers."""
    dim: int = 128
    """Features of an embedding, of a word and of an image token."""
    image_encoder: ImageEncoderConfig = field(default_factory=ImageEncoderConfig)
    text_encoder: TextEncoderConfig = field(
        default_factory=TextEncoderConfig,
        metadata={APPLIES: lambda model: composer_named(model.composer).reads_words},
    )
    preprocess: Preprocess = field(default_factory=Preprocess)
    options: Any = field(default=None, metadata={BELONGS: "composer"})
    """The composer's own options (its `Options` dataclass); None: their defaults."""
    tracker: str = field(default="joined", metadata={APPLIES: lambda model: composer_named(model.composer).reads_words})
    """What earlier turns of a conversation become: all that was said is one text (`joined`), each turn's query moves a
    `recurrent` state, or one of your own."""
    tracker_options: Any = field(default=None, metadata={BELONGS: "tracker"})
    """The tracker's own options (its `Options` dataclass); None: their defaults."""

    def __post_init__(self) -> None:
        check_ranges(self, "model", at_least_one="dim")
        fill_options(self, "options", composer_named(self.composer), f"options of {self.composer!r}")
        fill_options(self, "tracker_options", tracker_named(self.tracker), f"tracker_options of {self.tracker!r}")

    def find_networks(self) -> None:
        """See that the networks of others that it names are there; what is on the hub is fetched.

        Raises:
            ConfigError, DataError: one is not to be had.
        """
        weights = self.image_encoder.weights
        if weights not in (None, LiteEncoder.PACKAGED) and not Path(str(weights)).exists():
            raise DataError(f"the image encoder weights {str(weights)!r} do not exist")
        if weights is not None:
            refuse_stream(Path(weights))
        locate_image_encoder(self.image_encoder)
        if self.text_encoder.name is not None:
            pretrained.locate(self.text_encoder.name, "text encoder", also=pretrained.TOKENIZERS)

    @property
    def parts(self) -> dict[str, str]:
        """Kind of part → its name, for `itma.registry.needs`."""
        return {
            "composer": self.composer,
            "image encoder": self.image_encoder.name,
            "text encoder": self.text_encoder.kind,
            "tracker": self.tracker,
        }


class Retriever(Embedder, nn.Module):
    """A model that embeds images and queries into one space, where near means alike.

    Make a new one with `Retriever.build`, open a trained one with `Retriever.load`.

    Args:
        config: its shape.
        tokenizer: knows the words.
        image_encoder: see `ImageEncoder`.
        text_encoder: see `TextEncoder`; None where the composer reads no words.
    """

    precision: Literal["float32", "bf16"] = "float32"
    """Arithmetic of its answers, not of its training; weights and embeddings are float32 in both. In bf16 embeddings
    depend a little on the device and on what is embedded beside them; a CPU that does not know it takes float32."""

    def __init__(
        self,
        config: RetrieverConfig,
        tokenizer: Tokenizer,
        image_encoder: ImageEncoder,
        text_encoder: TextEncoder | None,
    ) -> None:
        super().__init__()
        self.config, self.tokenizer, self.preprocess = config, tokenizer, config.preprocess
        composer = composer_named(config.composer)
        self.image_encoder, self.text_encoder = image_encoder, text_encoder
        grids = image_encoder.grids(config.preprocess.height, config.preprocess.width)
        shapes = FeatureShapes(image_encoder.channels, grids, config.dim, image_encoder.embeds, text_encoder, tokenizer)
        self.composer = composer(config.options, shapes)
        self.tracker = tracker_named(config.tracker)(config.tracker_options, self.features)
        self.scale = nn.Parameter(torch.tensor(START_SCALE))
        self.name, self.reads_words = config.composer, text_encoder is not None
        self.by_turn = self.reads_words and self.tracker.by_turn
        """Whether each turn of a conversation is composed by itself, see `itma.models.trackers.Tracker`."""
        self.reads_earlier = self.reads_words and (config.text_encoder.earlier or self.by_turn)
        self._frozen: tuple[str, ...] = ()
        self._frozen_levels, self._fixed_norms = 0, False

    @classmethod
    def build(cls, config: RetrieverConfig, sentences: Iterable[str], *, seed: int = 0) -> "Retriever":
        """A new model; `seed` decides its weights, `sentences` its words.

        Of folders and files that pretrained parts came from, the model's own configuration keeps the last part only.

        Raises:
            ConfigError, UnknownNameError, DataError: see `ImageEncoderConfig`, `TextEncoderConfig`, `Tokenizer.fit`.
        """
        return cls.assemble(config, config.text_encoder.tokenizer(sentences), seed=seed)

    @classmethod
    def assemble(
        cls, config: RetrieverConfig, tokenizer: Tokenizer, *, seed: int = 0, own: RetrieverConfig | None = None
    ) -> "Retriever":
        """As `build`, with a tokenizer that is there already.

        Args:
            config: see `build`.
            tokenizer: knows the words.
            seed: see `build`.
            own: the configuration that the model keeps; None: `config` without folders.

        Raises:
            ConfigError, UnknownNameError, DataError: see `build`.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            image_encoder = HubImageEncoder.build(config.image_encoder)
            text_encoder = _text_encoder(config, tokenizer)
            return cls(own or _without_folders(config), tokenizer, image_encoder, text_encoder).eval()

    @classmethod
    def over(cls, towers: Towers, config: RetrieverConfig | None = None, *, seed: int = 0) -> "Retriever":
        """A model over CLIP's or SigLIP's towers with their weights.

        Args:
            towers: the networks, see `itma.models.towers.read_towers`.
            config: its shape, with `towers.shape` or a change of it; None: nothing to train, the composer `sum`.
            seed: decides the weights of what stands on the towers.

        Raises:
            ConfigError, DataError: the towers do not fit, or their weights or tokenizer cannot be read.
        """
        config = config or RetrieverConfig(UNTRAINED, **towers.shape)
        folder = str(towers.folder)
        image_encoder = replace(config.image_encoder, name=folder)
        text_encoder = replace(config.text_encoder, name=folder)
        opened = replace(config, image_encoder=image_encoder, text_encoder=text_encoder)
        return cls.assemble(opened, text_encoder.tokenizer([]), seed=seed, own=config)

    @property
    def features(self) -> int:
        """Numbers of an embedding."""
        return self.composer.features or self.config.dim

    @property
    def runtime(self) -> str:
        """`torch`, or `torch-bf16` where it answers in bf16."""
        return "torch" if self.precision == "float32" else "torch-bf16"

    @property
    def device(self) -> torch.device:
        """Where the weights are; pixels and sentences are brought there."""
        return self.scale.device

    # -- learning -----------------------------------------------------------------------------------------------------

    def freeze(self, parts: Sequence[str], *, levels: int = 0, fixed_norms: bool = False) -> None:
        """Keep these parts (names in `PARTS`) as they are, batch-norm statistics included.

        Args:
            parts: names in `PARTS`.
            levels: of the image encoder, from the first, that stay as they are too.
            fixed_norms: whether all of the image encoder's batch norms keep their statistics.

        Raises:
            UnknownNameError: no such part.
            ConfigError: the image encoder cannot be parted after that level.
        """
        for part in parts:
            if part not in PARTS:
                raise UnknownNameError("part to freeze", part, PARTS)
        still = self.image_encoder.first_levels(levels)
        self._frozen, self._frozen_levels, self._fixed_norms = tuple(parts), levels, fixed_norms
        self.requires_grad_(True)
        for module in (*map(self._part, parts), *still):
            if module is not None:
                module.requires_grad_(False)
        self.train(self.training)

    def learn_words(self, sentences: Iterable[str], *, seed: int = 0) -> list[str]:
        """Give each word that is new a random feature of its own, so that training can teach it.

        Args:
            sentences: what training will say.
            seed: decides the features.

        Returns:
            The new words; of a model with a pretrained text encoder, which has all words, none.
        """
        table = getattr(self.text_encoder, "embedding", None)
        if not isinstance(table, nn.Embedding):
            return []
        words = self.tokenizer.learn(sentences)
        random = torch.Generator().manual_seed(seed)
        fresh = torch.randn(len(words), table.embedding_dim, generator=random).to(table.weight)
        table.weight = nn.Parameter(torch.cat([table.weight.detach(), fresh]))
        table.num_embeddings += len(words)
        return words

    def resize(self, height: int, width: int) -> "Retriever":
        """This model for images of another size; its encoders are shared, learned positions are interpolated.

        Args:
            height, width: pixels of the images that it will see.

        Raises:
            ConfigError: the size is none, or weights depend on it in another way.
        """
        config = replace(self.config, preprocess=replace(self.preprocess, height=height, width=width))
        model = Retriever(config, self.tokenizer, self.image_encoder, self.text_encoder)
        state = self.state_dict()
        for name, tensor in model.state_dict().items():
            if tensor.shape == state[name].shape:
                continue
            if tensor.dim() != 3 or len(tensor) != len(state[name]):
                raise ConfigError(
                    f"the weights {name} belong to images of {self.preprocess.height}×{self.preprocess.width}; a model "
                    f"for {height}×{width} must be trained from its beginning, without a start"
                )
            grid = (tensor.shape[1], tensor.shape[2])
            state[name] = F.interpolate(state[name][None], grid, mode="bilinear", align_corners=False)[0]
        model.load_state_dict(state)
        return model.to(self.device).eval()

    def average(self, other: "Retriever", share: float) -> None:
        """Move the weights towards those of a model that this one began with, or that learned from the same one.

        Midway between a model and its start, what was learned last is mostly kept, and less is forgotten of images
        unlike those of the training (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv:2109.01903).

        Args:
            other: of the same shape; its words may be fewer, and its images of another size.
            share: of `other`, from 0 to 1.

        Raises:
            ConfigError: the share is beyond its range, or the two models are not related.
        """
        if not 0 <= share <= 1:
            raise ConfigError(f"share={share!r} is not from 0 (this model alone) to 1 (the other alone)")
        other = other.resize(self.preprocess.height, self.preprocess.width)
        own, others = self.state_dict(), other.state_dict()
        words, other_words = list(self.tokenizer.vocabulary), list(other.tokenizer.vocabulary)
        different = sorted(own.keys() ^ others.keys()) + [
            name for name in own if name in others and own[name].shape != others[name].shape and name != _WORD_TABLE
        ]
        if words[: len(other_words)] != other_words:
            different.append("their words")
        if different:
            raise ConfigError(f"the two models cannot be averaged, for they are of different shapes: {different[0]}")
        # the composer's, which are drawn at random where a training begins
        matrices = [name for name in own if name.startswith("composer.") and own[name].dim() in (2, 4)]
        own_weights, other_weights = (
            torch.cat([state[name].flatten().float() for name in matrices]) for state in (own, others)
        )
        if (likeness := float(F.cosine_similarity(own_weights, other_weights, dim=0))) < _RELATED:
            raise ConfigError(
                f"the two models cannot be averaged, for neither learned from the other (cosine of their weights "
                f"{likeness:.2f}); give the model that training began with (itma train … --start)"
            )
        for name, tensor in own.items():
            if tensor.is_floating_point():
                rows = tensor[: len(others[name])] if name == _WORD_TABLE else tensor
                rows.lerp_(others[name], share)

    def _part(self, name: str) -> Any:
        """A part in `PARTS`: a module or a parameter; None where the model has none."""
        module: Any = self
        for step in name.split("."):
            module = getattr(module, step, None)
        return module

    def train(self, mode: bool = True) -> "Retriever":
        """As in torch, but frozen parts stay in evaluation mode."""
        super().train(mode)
        still = [*map(self._part, self._frozen), *self.image_encoder.first_levels(self._frozen_levels)]
        if self._fixed_norms:
            # also those that several processes share, which are of another class
            still += [module for module in self.image_encoder.modules() if hasattr(module, "running_mean")]
        for module in still:
            if isinstance(module, nn.Module):
                module.eval()
        if self.text_encoder is not None:
            # on other devices asking for the ids would wait for them
            remembers = mode and self.device.type == "cpu" and self.text_encoder.is_fixed
            self.text_encoder.memory = (self.text_encoder.memory or WordsMemory()) if remembers else None
        return self

    def forward(
        self,
        pixels: torch.Tensor | Sequence[torch.Tensor],
        references: torch.Tensor,
        targets: torch.Tensor,
        tokens: Tokens,
        turns: torch.Tensor | None = None,
        *,
        references_too: bool = False,
        own_loss: bool = False,
    ) -> tuple[torch.Tensor, ...]:
        """One training batch, in which an image goes through the image encoder once however many rows use it.

        Args:
            pixels: normalised images (images, 3, height, width), or what its frozen levels made of them.
            references: (rows,) int64, which image is each row's reference; −1 where it has words only. They may stay on
                the CPU, where looking at them makes no device wait.
            targets: (rows,) int64, which image is each row's target; likewise.
            tokens: the feedback, (rows, words); of a model that reads by turn, (turns, words), row by row.
            turns: (rows,) int64, how many turns each row has; None: one. See `read`.
            references_too: whether the references are wanted as images of the gallery as well.
            own_loss: whether the composer's own loss is wanted.

        Returns:
            Queries (rows, dim) and targets (rows, dim) float32 of length 1; with `references_too`, the targets are
            followed by the references, (2 · rows, dim). With `own_loss` a scalar as well: the composer's own loss over
            the rows that have a reference, 0 where it has none.
        """
        if isinstance(pixels, torch.Tensor):
            maps = self.image_encoder(pixels)
        else:
            maps = self.image_encoder.finish(pixels, self._frozen_levels)
        needed = torch.cat([targets, torch.where(references < 0, targets, references)]) if references_too else targets
        needed, rows = (self._send(each) for each in needed.unique(return_inverse=True))
        images = self._check_rows(self.composer.embed_images([level[needed] for level in maps]), len(needed), "images")
        if self.composer.learns_alone:
            references, turns, rest = targets, None, Tokens(*(part[: len(targets), :1] for part in tokens))
            tokens = Tokens(rest.ids, torch.zeros_like(rest.mask))
        row_of = torch.arange(len(targets), device=references.device)
        if turns is not None:
            row_of = row_of.repeat_interleave(turns)
            references = references[row_of]
        # of words alone, a model that reads none can make nothing
        has_reference = (
            references >= 0 if self.text_encoder is not None else torch.ones_like(references, dtype=torch.bool)
        )
        with_reference, alone = has_reference.nonzero()[:, 0], (~has_reference).nonzero()[:, 0]
        order = self._send(torch.cat([with_reference, alone]).argsort())
        referred = self._send(references[with_reference].clamp(min=0))
        with_reference, alone = self._send(with_reference), self._send(alone)
        parts, further = [], self.scale * 0
        if len(with_reference):
            reference_maps = [level[referred] for level in maps]
            words = self._words(reference_maps, Tokens(*(part[with_reference] for part in tokens)))
            queries = self.composer.embed_queries(reference_maps, words)
            parts.append(self._check_rows(queries, len(with_reference), "queries"))
            if own_loss and self.composer.has_own_loss:
                of_rows = images[rows[: len(targets)][self._send(row_of)[with_reference]]]
                further = further + self.composer.own_loss(reference_maps, words, parts[0], of_rows)
        if len(alone):
            parts.append(self.compose(None, Tokens(*(part[alone] for part in tokens))))
        queries = self.follow(unit(torch.cat(parts)[order]), turns)
        embedded = queries, unit(images)[rows]
        return (*embedded, further) if own_loss else embedded

    def _check_rows(self, embeddings: torch.Tensor, count: int, what: str) -> torch.Tensor:
        """What a composer made, which may be one of the person's own."""
        if embeddings.dim() != 2 or len(embeddings) != count:
            raise ConfigError(
                f"the composer {self.name!r} made embeddings of the shape {tuple(embeddings.shape)} of {count} {what}; "
                f"embed_{what} must give a row for each: ({count}, features)"
            )
        return embeddings

    def compose(self, maps: Sequence[torch.Tensor] | None, tokens: Tokens | None) -> torch.Tensor:
        """The references' feature maps and the feedback's tokens → (queries, dim), not of length 1; one may be None."""
        return self.composer.embed_queries(maps, self._words(maps, tokens))

    def _words(self, maps: Sequence[torch.Tensor] | None, tokens: Tokens | None) -> Words | None:
        if tokens is None or self.text_encoder is None:
            return None
        return self.composer.read(self.text_encoder, tokens, maps)

    def _send(self, indices: torch.Tensor) -> torch.Tensor:
        """Indices on the model's device, which nothing waits for."""
        return indices.to(self.device, non_blocking=True)

    def read(self, feedback: Sequence[str]) -> tuple[Tokens, torch.Tensor | None]:
        """Feedbacks as `forward` takes them: token ids, and how many turns each has; None where it is read as one."""
        if not self.by_turn:
            return self.tokenizer(feedback), None
        sentences, turns = self.turns(feedback)
        return self.tokenizer(sentences), turns

    def turns(self, feedback: Sequence[str]) -> tuple[list[str], torch.Tensor]:
        """The sentences of some conversations, one after the other, and (rows,) int64 how many of them each has.

        What holds no word that the model knows is passed over; of a conversation without any, one sentence stays.
        """
        conversations = [
            [one for one in split_turns(text) if bool(self.tokenizer([one]).mask.any())] or [text] for text in feedback
        ]
        return [one for each in conversations for one in each], torch.tensor([len(each) for each in conversations])

    def follow(self, queries: torch.Tensor, turns: torch.Tensor | None = None) -> torch.Tensor:
        """Embeddings of turns, (turns, dim) of length 1 → those of conversations, (rows, dim) of length 1.

        Args:
            queries: one for each turn, conversation by conversation.
            turns: (rows,) int64, how many turns each has; None: one.
        """
        if not self.by_turn:
            return queries
        counts = torch.ones(len(queries), dtype=torch.int64) if turns is None else turns
        return unit(self.tracker(queries, counts.to(queries.device)))

    def logits(self, queries: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Scores for the loss: scale² · cosine, (queries, images)."""
        return self.scale**2 * queries @ images.T

    # -- answering ----------------------------------------------------------------------------------------------------

    def feature_maps(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """uint8 images (images, 3, h, w) of any one size → one feature map for each level; no gradient.

        Images as `itma.data.images.as_pixels` takes them will do: also arrays, Pillow images, floats from 0 to 1.
        """
        with self._answering():
            maps = self.image_encoder(self.preprocess.normalise(as_pixels(pixels).to(self.device)))
            return [level.float() for level in maps]

    def embed_images_from(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `Embedder`."""
        with self._answering():
            return unit(self.composer.embed_images(maps))

    def embed_queries_from(self, maps: Sequence[torch.Tensor] | None, feedback: Sequence[str] | None) -> torch.Tensor:
        """See `Embedder`."""
        if not self.by_turn or feedback is None or (maps is not None and len(maps[0]) != len(feedback)):
            return super().embed_queries_from(maps, feedback)
        sentences, turns = self.turns(feedback)
        reference_maps = (
            None if maps is None else [level.repeat_interleave(turns.to(level.device), 0) for level in maps]
        )
        queries = super().embed_queries_from(reference_maps, sentences)
        with self._answering():
            return self.follow(queries, turns)

    def _queries(self, maps: Sequence[torch.Tensor] | None, tokens: Tokens | None) -> torch.Tensor:
        with self._answering():
            reference_maps = None if maps is None else [level.to(self.device) for level in maps]
            return unit(self.compose(reference_maps, None if tokens is None else tokens.to(self.device)))

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Evaluation mode without gradients, in the precision that is wanted, and back to what it was."""
        training = self.training
        if training:  # a walk through hundreds of modules, which a search has no time for
            self.eval()
        try:
            low = takes_bf16(self.precision, self.device)
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16) if low else nullcontext():
                yield
        finally:
            if training:
                self.train()

    def encode(
        self,
        images: Source | np.ndarray | torch.Tensor | Sequence[Source | np.ndarray | torch.Tensor | None] | None = None,
        sentences: str | Sequence[str | None] | None = None,
        *,
        batch: int = 32,
    ) -> np.ndarray:
        """Images, sentences, or images with sentences → embeddings, in one space.

        Images alone are embedded as those of a gallery, anything with a sentence as queries; their products are
        cosines. Each image is fitted to the model by itself, so that they may be of any size.

        Args:
            images: one or several: paths, bytes of files, Pillow images, arrays or tensors (see
                `itma.data.images.as_pixels`); one tensor of four axes counts as several, and so does a column of a
                table. None stands for no reference.
            sentences: one or several, as many as there are images. None stands for no sentence.
            batch: how many are computed at once.

        Returns:
            (dim,) float32 of length 1 where one was given, (number, dim) where several were.

        Raises:
            FeedbackError: a sentence without any word that the model knows, as in a search; or their numbers differ.
            DataError, ImageError: an image that cannot be read.
        """
        if images is None and sentences is None:
            raise FeedbackError("an image, a sentence, or both are needed; neither was given")
        many, one_text = _several(images), isinstance(sentences, str | bytes | None)
        several = many or not isinstance(sentences, str | None)
        sources: list[Any] = list(images) if many else [images]  # type: ignore[arg-type]
        texts: list[Any] = [sentences] if one_text else list(sentences)  # type: ignore[arg-type]
        if images is None:
            sources *= len(texts)
        if sentences is None:
            texts *= len(sources)
        if len(texts) != len(sources):
            raise FeedbackError(f"{len(sources)} images were given with {len(texts)} sentences; one each, please")
        if not isinstance(batch, int) or batch < 1:
            raise ConfigError(f"batch={batch!r} must be a whole number of at least 1")
        rows = np.empty((len(texts), self.features), dtype=np.float32)
        kinds: dict[tuple[bool, bool], list[int]] = {}
        for row, (source, text) in enumerate(zip(sources, texts, strict=True)):
            texts[row] = None if text is None else readable(self, text, alone=source is None)
            kinds.setdefault((source is not None, texts[row] is not None), []).append(row)
        for (has_image, has_text), members in kinds.items():
            for begin in range(0, len(members), batch):
                part = members[begin : begin + batch]
                pixels = torch.stack([self._fit(sources[row]) for row in part]) if has_image else None
                feedback = [texts[row] for row in part] if has_text else None
                if sentences is None and pixels is not None:
                    embeddings = self.embed_images(pixels)
                else:
                    embeddings = self.embed_queries(pixels, feedback)
                rows[part] = embeddings.cpu().numpy()
        return rows if several else rows[0]

    def _fit(self, image: Any) -> torch.Tensor:
        """One image at the model's own size: uint8 (3, height, width)."""
        if isinstance(image, np.ndarray | torch.Tensor):
            return self.preprocess.fit_pixels(as_pixels(image))[0]
        return self.preprocess.read(image)

    # -- the folder ---------------------------------------------------------------------------------------------------

    def fingerprint(self) -> str:
        """sha256 over weights, shape, preprocessing and words: models that answer alike share it."""
        digest = hashlib.sha256()
        shape = self._shape()
        shape["model"]["text_encoder"].pop("earlier")  # what it was taught is in its weights
        if not self.by_turn:  # models from before there were trackers answer alike
            for name in ("tracker", "tracker_options"):
                shape["model"].pop(name, None)
        digest.update(json.dumps([FORMAT, shape], sort_keys=True, default=str).encode())
        digest.update(self.tokenizer.to_json().encode())
        add_tensors(digest, self.state_dict())
        return digest.hexdigest()

    def _shape(self) -> dict[str, Any]:
        """What rebuilds the networks, without their weights."""
        return {
            "model": to_plain(self.config),
            "image_network": self.image_encoder.description,
            "text_network": None if self.text_encoder is None else self.text_encoder.description,
        }

    def save(self, folder: str | Path, *, half: bool = False) -> None:
        """Write weights, configuration and tokenizer into `folder`; with them alone `load` rebuilds the model.

        Args:
            folder: where to.
            half: write weights as float16, in half the space; they are rounded, and the model opened from them, which
                computes as any other, is another one to its fingerprint.

        Raises:
            StorageError: the disk is full or the folder cannot be written to.
        """
        folder = Path(folder)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        if half:
            state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
        write_with(folder / WEIGHTS, lambda draft: save_tensors(state, draft))
        config = {"format": FORMAT, "needs": needs(self.config.parts), **self._shape()}
        write_text(folder / CONFIG, json.dumps(config, indent=2, default=str) + "\n")
        self.tokenizer.save(folder / TOKENIZER)
        sums = {name: file_sum(folder / name) for name in (WEIGHTS, CONFIG, TOKENIZER)}
        write_text(folder / MANIFEST, json.dumps(sums, indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path, *, which: str = "best") -> "Retriever":
        """Open a model from a run folder (its best checkpoint, or `which="last"`) or from a checkpoint folder.

        CLIP and SigLIP, as a folder in the hub's form or as a name on the hub, answer as they are: by the sum of both
        embeddings.

        Raises:
            RunError: the folder or a file in it is missing, damaged, or of a newer format; the message names it.
            ConfigError, DataError: what the folder of CLIP or SigLIP lacks.
        """
        folder = checkpoint_folder(folder, which)
        if holds_towers(folder):
            return cls.over(read_towers(folder))
        verify(folder, (WEIGHTS, CONFIG, TOKENIZER))
        try:
            plain = parse_json((folder / CONFIG).read_text(encoding="utf-8"))
            require(plain.get("needs", ()), f"the model in {str(folder)!r}")
            if plain["format"] > FORMAT:
                raise RunError(
                    f"{str(folder)!r} was written by a newer itma (format {plain['format']}, this one reads {FORMAT}); "
                    "upgrade with: pip install -U itma"
                )
            config = from_plain(RetrieverConfig, plain["model"])
            tokenizer = Tokenizer.load(folder / TOKENIZER, **config.text_encoder.reading())
            image_encoder = HubImageEncoder.rebuilt(
                plain["image_network"], config.image_encoder.levels, config.image_encoder.name
            )
            text_encoder = _text_encoder(config, tokenizer, plain.get("text_network"))
            model = cls(config, tokenizer, image_encoder, text_encoder)
            model.load_state_dict(load_file(folder / WEIGHTS))
            for name, weights in model.named_parameters():
                if not torch.isfinite(weights).all():
                    raise ValueError(
                        f"the weights {name} hold NaN or Infinity, as after a training that ran away; take an earlier "
                        "checkpoint, or train again at a lower rate"
                    )
        except (RunError, PluginError):
            raise
        except (ItmaError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
            raise RunError(f"the model in {str(folder)!r} cannot be opened: {error}") from error
        return model.eval()

    # -- the hub ------------------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        progress: bool = False,
    ) -> "Retriever":
        """Open a model from the Hugging Face Hub, or from a folder as `load` does.

        Only the files that rebuild the model are fetched, into the hub's cache, and checked against their sums.

        Args:
            name_or_folder: `ORG/NAME` on the hub, or a folder, which wins.
            revision: a branch, tag or commit; None: `main`.
            cache_dir: None: the hub's own, see `HF_HOME`.
            token: None: the one of `hf auth login` or `HF_TOKEN`.
            local_files_only: open what is in the cache, without the network.
            progress: show progress bars.

        Raises:
            HubError: there is no such model, it is not open to this person, or the hub cannot be reached.
            RunError: a file is damaged or of a newer format.
        """
        if Path(name_or_folder).is_dir():
            return cls.load(name_or_folder)
        folder = hub.download(
            str(name_or_folder),
            FILES,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
            progress=progress,
        )
        try:
            return cls.load(folder)
        except RunError as error:
            raise RunError(f"the hub's model {str(name_or_folder)!r} cannot be opened: {error}") from error


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors as safetensors, readable to whom new files are; by itself it lets only their owner read them."""
    path.touch()
    mode = path.stat().st_mode
    save_file(dict(tensors), path)
    path.chmod(mode)


def load_retriever(name: str | Path, *, which: str = "best") -> Retriever:
    """Open a model by a run folder, a folder that holds one, or a name: of a model that comes with itma, or on the hub.

    Args:
        name: e.g. `runs/mine`, `wardrobe`, `openai/clip-vit-base-patch32`.
        which: `best` or `last` checkpoint of a run.

    Raises:
        RunError, ConfigError, DataError: see `Retriever.load`.
    """
    return Retriever.load(name, which=which)


_WORD_TABLE = "text_encoder.embedding.weight"
"""A row for each word: what training learned of new words stands after those of its start."""
_RELATED = 0.3
"""Cosine of two models' weights from which they count as related; of models that began apart it is about 0."""


def _text_encoder(
    config: RetrieverConfig, tokenizer: Tokenizer, description: Mapping[str, Any] | None = None
) -> TextEncoder | None:
    """See `TextEncoder.build`; None where the composer reads no words."""
    reads = composer_named(config.composer).reads_words
    return TextEncoder.build(config.text_encoder, len(tokenizer), config.dim, description) if reads else None


def _without_folders(config: RetrieverConfig) -> RetrieverConfig:
    """The configuration without folders of this machine, which nobody needs once the parts are opened."""

    def last(name: Any) -> Any:
        return (Path(name).name or name) if name is not None and Path(name).exists() else name

    image, text = config.image_encoder, config.text_encoder
    image = replace(image, name=last(image.name), weights=last(image.weights))
    return replace(config, image_encoder=image, text_encoder=replace(text, name=last(text.name)))


def _several(images: object) -> bool:
    """Whether it is a collection of images, each of which has a row of its own."""
    if isinstance(images, np.ndarray | torch.Tensor):
        return images.ndim == 4 or (isinstance(images, np.ndarray) and images.dtype.kind in "OUS")  # names
    one = isinstance(images, str | bytes | Path | Image.Image) or hasattr(images, "read")
    return isinstance(images, Iterable) and not one


def add_tensors(digest: "hashlib._Hash", tensors: Mapping[str, torch.Tensor]) -> None:
    """Add names and bytes of tensors of any type, wherever they are, to a sum that begins."""
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
