"""A query and its answers as one image: reference, then the first hits, the right ones framed."""

import torch
from PIL import Image, ImageDraw, ImageFont

from itma.data.images import Preprocess, to_pixels
from itma.evaluation.evaluate import Evaluation

GREEN, GREY = (0, 140, 60), (150, 150, 150)
FRAME, GAP, CAPTION = 3, 6, 18


def query_strip(size: Preprocess, evaluation: Evaluation, index: int, *, hits: int = 5) -> torch.Tensor:
    """One query of an evaluation as an image.

    Args:
        size: gives the images' size, e.g. the model's own preprocessing.
        evaluation: the result.
        index: which query, by its index in `evaluation.rows`.
        hits: how many answers to show.

    Returns:
        uint8 (3, height, width): the sentence and the target's rank on top, below it the reference, a gap, and the
        hits, framed green where right.
    """
    triplets, row = evaluation.triplets, int(evaluation.rows[index])
    best, _ = evaluation.top([index], k=hits)[0]
    label = triplets.labels[triplets.targets[row]]
    images = triplets.images.load([int(triplets.references[row]), *best], size)
    step = size.width + 2 * FRAME + GAP
    canvas = Image.new("RGB", (step * len(images) + GAP, size.height + 2 * FRAME + CAPTION + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    caption = f"{triplets.feedback[row]}   (rank {evaluation.ranks[index]})"
    draw.text((GAP, 2), caption, "black", ImageFont.load_default(12))
    for column, image in enumerate(images):
        left = GAP + step * column + (GAP if column else 0)
        right = column > 0 and triplets.labels[best[column - 1]] == label
        frame = (left, CAPTION, left + size.width + 2 * FRAME - 1, CAPTION + size.height + 2 * FRAME - 1)
        draw.rectangle(frame, GREEN if right else GREY if column == 0 else None)
        canvas.paste(Image.fromarray(image.permute(1, 2, 0).numpy()), (left + FRAME, CAPTION + FRAME))
    return to_pixels(canvas)
