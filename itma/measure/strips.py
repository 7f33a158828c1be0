"""A query and its answers as one picture: reference, then the first hits, the right ones framed."""

import torch
from PIL import Image, ImageDraw, ImageFont

from itma.data.images import Preprocess, to_pixels
from itma.data.triplets import Triplets
from itma.measure.evaluate import Evaluation
from itma.model.retriever import Retriever

GREEN, GREY = (0, 140, 60), (150, 150, 150)
FRAME, GAP, CAPTION = 3, 6, 18


def query_strip(
    model: Retriever, triplets: Triplets, evaluation: Evaluation, row: int, *, hits: int = 5
) -> torch.Tensor:
    """One row of an evaluation as a picture.

    Args:
        model: the model that was evaluated; its preprocessing gives the pictures' size.
        triplets: what it was evaluated on.
        evaluation: the result.
        row: which query.
        hits: how many answers to show.

    Returns:
        uint8 (3, height, width): the sentence and the target's rank on top, below it the reference, a gap, and the
        hits, framed green where right.
    """
    best, _ = evaluation.top(model, triplets, [row], k=hits)[0]
    label = triplets.labels[triplets.targets[row]]
    size: Preprocess = model.preprocess
    pictures = triplets.pictures.load([triplets.references[row], *best], size)
    step = size.width + 2 * FRAME + GAP
    canvas = Image.new("RGB", (step * len(pictures) + GAP, size.height + 2 * FRAME + CAPTION + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    caption = f"{triplets.feedback[row]}   (rank {evaluation.ranks[row]})"
    draw.text((GAP, 2), caption, "black", ImageFont.load_default(12))
    for place, picture in enumerate(pictures):
        left = GAP + step * place + (GAP if place else 0)
        right = place > 0 and triplets.labels[best[place - 1]] == label
        frame = (left, CAPTION, left + size.width + 2 * FRAME - 1, CAPTION + size.height + 2 * FRAME - 1)
        draw.rectangle(frame, GREEN if right else GREY if place == 0 else None)
        canvas.paste(Image.fromarray(picture.permute(1, 2, 0).numpy()), (left + FRAME, CAPTION + FRAME))
    return to_pixels(canvas)
