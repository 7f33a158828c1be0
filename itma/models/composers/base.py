"""What every composer is, and the registry that knows them by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from itma.config import NoOptions
from itma.data.tokenizer import Tokenizer, Tokens
from itma.models.text_encoders.base import TextEncoder, Words
from itma.registry import Registry

Maps = Sequence[torch.Tensor]
"""One feature map for each level: (images, channels, rows, columns)."""


@dataclass(frozen=True)
class FeatureShapes:
    """What a composer is told about the parts around it."""

    channels: tuple[int, ...]
    """Channels of each level's feature map."""
    grids: tuple[tuple[int, int], ...]
    """(rows, columns) of each level's map at the model's own image size."""
    dim: int
    """Features of a word, and of an embedding."""
    embedded: bool = False
    """Whether the last level is the image encoder's own embedding of the image, a map of one cell."""
    text_encoder: TextEncoder | None = None
    """The text encoder, which the composer may ask for sizes but does not keep; None: it reads no words."""
    tokenizer: Tokenizer | None = None
    """What turns sentences into tokens."""


class Composer(nn.Module):
    """Joins a reference's feature maps and a sentence's words into one embedding (not yet of unit length).

    A composer is made from its options and its `FeatureShapes`, and answers for whole batches.
    """

    Options: ClassVar[type] = NoOptions
    """The frozen dataclass of this composer's own options."""
    reads_images: ClassVar[bool] = True
    """Whether a query's embedding depends on the reference."""
    reads_words: ClassVar[bool] = True
    """Whether a query's embedding depends on the feedback; if not, no text encoder is built."""
    adds_words: ClassVar[int] = 0
    """How many tokens it may put beside those of a feedback, which a pretrained text encoder has to have room for."""
    features: int | None = None
    """Of an embedding. None: `FeatureShapes.dim`."""
    learns_alone: bool = False
    """Whether training asks for each target by that image itself, not by reference and feedback."""
    has_own_loss: bool = False
    """Whether `own_loss` is added to the loss of a batch."""

    def read(self, text_encoder: TextEncoder, tokens: Tokens, maps: Maps | None) -> Words:
        """What the text encoder makes of the feedback, with the references' feature maps where there are any."""
        return text_encoder(tokens)

    def own_loss(self, maps: Maps, words: Words | None, queries: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """A further loss of a training batch, a scalar, which a catalogue knows nothing of.

        Args:
            maps: the references' feature maps.
            words: the feedbacks' words.
            queries: (rows, dim), what `embed_queries` made of the two.
            targets: (rows, dim), what `embed_images` made of the targets.
        """
        raise NotImplementedError

    def embed_images(self, maps: Maps) -> torch.Tensor:
        """Feature maps of gallery images → (images, dim)."""
        raise NotImplementedError

    def embed_queries(self, maps: Maps | None, words: Words | None) -> torch.Tensor:
        """References' feature maps and feedbacks' words → (queries, dim); one of them may be absent, not both.

        Words alone are the sentence's feature, a reference alone is what it is in the gallery.
        """
        if maps is None:
            assert words is not None
            return words.sentence_BD
        if words is None:
            return self.embed_images(maps)
        return self.join(maps, words)

    def join(self, maps: Maps, words: Words) -> torch.Tensor:
        """References' feature maps and feedbacks' words, both given → (queries, dim)."""
        raise NotImplementedError


_NAMES = (
    "artemis combiner composeae cosmo film itma maaf-output-token maaf-two-stream mrn pic2word image-only words-only "
    "add concat relationship rtic tirg tirg-last-map sum val"
)
_MODULES = {
    **dict.fromkeys(("maaf-output-token", "maaf-two-stream"), "maaf"),
    **dict.fromkeys(("image-only", "words-only", "add", "concat"), "simple"),
    "tirg-last-map": "tirg",
    "sum": "weighted_sum",
}
"""Composer → the module that has it, where that is not called as it is."""
REGISTRY: Registry[type[Composer]] = Registry(
    "composer", Composer, {name: f"{__package__}.{_MODULES.get(name, name)}" for name in _NAMES.split()}
)
"""Composer by name."""
register = REGISTRY.register
composer_named = REGISTRY.find


class PooledImage(nn.Module):
    """The last level's map, averaged over its cells, then a linear map to `dim`: TIRG's image feature.

    An embedding that has `dim` features already is taken as it is, so that it stays in the space of its words.
    """

    def __init__(self, shapes: FeatureShapes) -> None:
        super().__init__()
        fits = shapes.embedded and shapes.channels[-1] == shapes.dim
        self.output = nn.Identity() if fits else nn.Linear(shapes.channels[-1], shapes.dim)

    def forward(self, maps: Maps) -> torch.Tensor:
        """Feature maps → (images, dim)."""
        return self.output(maps[-1].mean((2, 3)))
