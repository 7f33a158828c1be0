"""Pic2Word: a mapping network turns the reference into a word, and a frozen text encoder reads it beside the feedback.

Saito, Sohn, Zhang, Li, Lee, Saenko and Pfister, "Pic2Word: Mapping Images to Words for Zero-shot Composed Image
Retrieval", CVPR 2023 (arXiv:2302.03084), section 3. The query is the text encoder's embedding of "a photo of *,
FEEDBACK", where * is not a word of its vocabulary but the vector that the network f makes of the image's embedding. f
is learned from images alone: "a photo of *" is to be nearest to the image that * was made of (section 3.1:
cross-entropy of both directions; `train.loss_options.both_ways`). SEARLE (Baldrati et al., ICCV 2023, arXiv:2303.15247)
maps an image so too; its optimised pseudo-words and the regularisation by a language model are not here.

Made for CLIP and its like: `itma train DATA --model pic2word --start FOLDER`. Both encoders then stay as they are, so
that images stand in a catalogue as the encoders have them.

Shapes: B queries, T tokens, C features of a token as the text encoder begins with them.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from itma.config import check_ranges
from itma.data.tokenizer import Tokenizer, Tokens
from itma.errors import ConfigError
from itma.models.composers.base import FeatureShapes, Maps, register
from itma.models.composers.simple import PooledComposer
from itma.models.text_encoders.base import TextEncoder, Words

BEFORE, AFTER = "a photo of", ","
"""What stands before the image's word, and between it and the feedback."""


@dataclass(frozen=True)
class Pic2WordOptions:
    """Pic2Word's own options.

    >>> Pic2WordOptions().learns
    'images'
    """

    hidden: int = 512
    """Features of the mapping network's hidden layers (published: 512, and 768 for ViT-L/14)."""
    layers: int = 2
    """Hidden layers of the mapping network (published: 2)."""
    dropout: float = 0.1
    """Share dropped after every hidden layer while training (published: 0.1)."""
    learns: Literal["images", "triplets"] = "images"
    """What training asks: for each target by its own word, whatever reference and feedback are (published), or for the
    target by the reference's word and the feedback."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.options", at_least_one="hidden layers", below_one="dropout")


@register("pic2word")
class Pic2Word(PooledComposer):
    """The embedding of a sentence in which one word is the reference."""

    Options = Pic2WordOptions
    adds_words = 10

    def __init__(self, options: Pic2WordOptions, shapes: FeatureShapes) -> None:
        super().__init__(options, shapes)
        if shapes.text_encoder is None or shapes.tokenizer is None:
            raise ConfigError("the composer pic2word needs to know the text encoder and its tokenizer")
        self.learns_alone = options.learns == "images"
        self.tokenizer: Tokenizer = shapes.tokenizer
        self._check_room(shapes.text_encoder.longest)
        widths = [shapes.dim, *[options.hidden] * options.layers]
        hidden = (
            nn.Sequential(nn.Linear(width, options.hidden), nn.Dropout(options.dropout), nn.ReLU())
            for width in widths[:-1]
        )
        self.mapping = nn.Sequential(*hidden, nn.Linear(options.hidden, shapes.text_encoder.width))

    def _check_room(self, longest: int | None) -> None:
        added = 1 + sum(len(self.tokenizer.content(text)) for text in (BEFORE, AFTER))
        if longest is not None and self.tokenizer.max_words + added > longest:
            raise ConfigError(
                f"model.text_encoder.max_words={self.tokenizer.max_words}: the text encoder reads at most {longest} "
                f"tokens, of which pic2word adds {added}; give at most {longest - added}"
            )

    def embed_queries(self, maps: Maps | None, words: Words | None) -> torch.Tensor:
        """See `Composer`. An image without a sentence is what it is in the gallery."""
        if words is not None:
            return words.sentence_BD
        assert maps is not None
        return self.embed_images(maps)

    def read(self, text_encoder: TextEncoder, tokens: Tokens, maps: Maps | None) -> Words:
        """See `Composer`: [opening marks] a photo of * , FEEDBACK [closing marks]; without feedback, "a photo of *"."""
        if maps is None:
            return super().read(text_encoder, tokens, maps)
        ids_BT, mask_BT = tokens
        B, T = ids_BT.shape
        opening, closing = self.tokenizer.marks()
        parts = [opening, self.tokenizer.content(BEFORE), self.tokenizer.content(AFTER), closing]
        template_N = torch.tensor([id_ for part in parts for id_ in part], dtype=torch.int64, device=ids_BT.device)
        # one question to the table, whose answers for the feedback's own tokens stand first, as explanations expect
        vectors = text_encoder.table(torch.cat([ids_BT, template_N.expand(B, -1)], 1))
        own, opened, before, after, closed = vectors.split([T, *map(len, parts)], 1)
        word = self.mapping(self.embed_images(maps))[:, None].to(own.dtype)
        spoken_B1 = mask_BT.any(1, keepdim=True)
        # moved, not cut, to where the opening marks were: so ONNX has one graph for every T
        places_T = torch.arange(T, device=ids_BT.device) + len(opening)
        own, own_mask = (part.index_select(1, places_T.clamp(max=T - 1)) for part in (own, mask_BT))
        feedback = torch.cat([after, own], 1)
        after_text = torch.cat([spoken_B1.expand(B, after.shape[1]), own_mask & (places_T < T)], 1)
        # without feedback, the closing marks alone are read of what follows the word
        silence = torch.cat([closed, torch.zeros_like(feedback)], 1)[:, : feedback.shape[1]]
        at_end = torch.arange(feedback.shape[1], device=ids_BT.device) < len(closing)
        rest = torch.where(spoken_B1[:, :, None], feedback, silence)
        beginning = torch.ones(B, len(opening) + before.shape[1] + 1, dtype=torch.bool, device=ids_BT.device)
        mask = torch.cat([beginning, spoken_B1 & after_text | ~spoken_B1 & at_end], 1)
        vectors = torch.cat([opened, before, word, rest], 1)
        length = 1 + before.shape[1] + feedback.shape[1]  # the rest, as many as there are opening marks, is never read
        return text_encoder.read_vectors(vectors[:, :length], mask[:, :length])
