"""What catalogue and evaluation ask of a model, whatever computes its answers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from itma.data.images import Preprocess
from itma.data.tokenizer import Tokenizer, Tokens
from itma.errors import FeedbackError


class Embedder(ABC):
    """Embeds images and queries into one space, where near means alike.

    A runtime says how feature maps, images and queries are computed; what may be asked is the same for all.
    """

    tokenizer: Tokenizer
    """Knows the words."""
    preprocess: Preprocess
    """How an image of any size becomes pixels."""
    name: str
    """The composer's name."""
    reads_words: bool
    """Whether a query's embedding depends on the feedback."""
    reads_earlier: bool = False
    """Whether training spoke in conversations, see `itma.models.text_encoders.base.TextEncoderConfig.earlier`."""

    @property
    @abstractmethod
    def runtime(self) -> str:
        """What computes the answers: a name in `itma.export.runtimes.RUNTIMES`."""

    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 over all that decides an answer: models that answer alike share it."""

    @abstractmethod
    def feature_maps(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """uint8 images (images, 3, h, w) → what `embed_queries_from` takes: tensors of one row for each image."""

    def embed_images(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 images (images, 3, h, w) of any one size → (images, dim) of length 1; no gradient."""
        return self.embed_images_from(self.feature_maps(pixels))

    @abstractmethod
    def embed_images_from(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """As `embed_images`, from what `feature_maps` made of the images."""

    def embed_queries(self, pixels: torch.Tensor | None, feedback: Sequence[str] | None) -> torch.Tensor:
        """References and feedbacks → (queries, dim) of length 1; no gradient.

        Args:
            pixels: uint8 (queries, 3, h, w); None: search by words alone.
            feedback: one sentence for each query; None: search by images alone.

        Raises:
            FeedbackError: both are absent, or one of the sentences has no words where no reference is given, or
                none that the model knows; or their numbers differ.
        """
        if isinstance(feedback, str):
            raise FeedbackError(f"{feedback!r:.60} is one text where a list is expected; write [...] around it")
        if self.reads_words:
            for sentence in feedback or ():
                self.tokenizer.check(sentence)
        return self.embed_queries_from(None if pixels is None else self.feature_maps(pixels), feedback)

    def embed_queries_from(self, maps: Sequence[torch.Tensor] | None, feedback: Sequence[str] | None) -> torch.Tensor:
        """As `embed_queries`, from what `feature_maps` made of the references."""
        if maps is None and feedback is None:
            raise FeedbackError("a query needs a reference image, a feedback sentence, or both; both are absent")
        if maps is not None and feedback is not None and len(maps[0]) != len(feedback):
            raise FeedbackError(
                f"{len(maps[0])} references were given with {len(feedback)} sentences; one each, please"
            )
        tokens = None
        if feedback is not None and self.reads_words:
            tokens = self.tokenizer(feedback)
            if maps is None and not bool(tokens.mask.any(1).all()):
                raise FeedbackError("a sentence without words was given where there is no reference image either")
        if maps is None and tokens is None:
            raise FeedbackError(f"the model {self.name!r} does not read words; give it a reference image")
        return self._queries(maps, tokens)

    @abstractmethod
    def _queries(self, maps: Sequence[torch.Tensor] | None, tokens: Tokens | None) -> torch.Tensor:
        """(queries, dim) of length 1 from what `feature_maps` made and from token ids; one may be absent, not both."""


def unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows scaled to length 1, in float32."""
    return F.normalize(rows.float(), dim=1)
