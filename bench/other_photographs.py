"""How a model does on photographs of another source than it was trained on: a folder with a table of kinds.

python bench/other_photographs.py --photos ../shared/data/photos --run photos --sheets sheets

1. The reference alone: how many of the first ten hits are of its kind; beside it chance, and the plain average of
   EfficientNet-Lite0's ImageNet features (extra `lite`).
2. The reference and "in COLOUR": how many of the first ten are of its kind still. With --sheets, images of 60 such
   queries with their first five hits, to count the colours by eye.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from itma.allocation import reuse_memory
from itma.data.images import FileImages
from itma.models.embedder import unit
from itma.models.image_encoders.hub import HubImageEncoder, ImageEncoderConfig
from itma.models.retriever import Retriever

COLOURS = ("red", "blue", "black", "white", "green", "grey", "pink", "yellow", "brown", "navy")
LEFT_OUT = ("Not sure", "Other", "Skip")
BATCH, SHOWN, WIDTH, HEIGHT = 64, 5, 96, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder with items.csv (file, category)")
    parser.add_argument("--run", action="append", default=[])
    parser.add_argument("--sheets", type=Path, help="a folder for images of the first run's answers")
    args = parser.parse_args()

    reuse_memory()
    with (args.photos / "items.csv").open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["category"] not in LEFT_OUT]
    kinds = np.array([row["category"] for row in rows])
    images = FileImages([row["file"] for row in rows], [args.photos / row["file"] for row in rows])
    chance = np.mean([(kinds == kind).mean() for kind in kinds])
    print(f"{len(rows)} photographs of {len(set(kinds))} kinds; chance {100 * chance:.1f} %\n")
    print("| kind right in | image alone, first ten | the first | with 'in COLOUR', first ten | the first |")
    print("|---|---|---|---|---|")
    for name in args.run:
        model = Retriever.load(name)
        pixels = [
            images.load(range(at, min(at + BATCH, len(rows))), model.preprocess) for at in range(0, len(rows), BATCH)
        ]
        gallery = torch.cat([model.embed_images(part) for part in pixels])
        ranked = first_hits(gallery, gallery)
        cells = shares(kinds, ranked)
        if model.reads_words:
            sentences = [f"in {COLOURS[number % len(COLOURS)]}" for number in range(len(rows))]
            queries = [
                model.embed_queries(part, sentences[at * BATCH : at * BATCH + len(part)])
                for at, part in enumerate(pixels)
            ]
            coloured = first_hits(torch.cat(queries), gallery)
            cells += shares(kinds, coloured)
            if args.sheets and name == args.run[0]:
                draw_sheets(args.sheets, images, sentences, coloured)
        print(f"| {name} | " + " | ".join(f"{100 * cell:.1f} %" for cell in cells) + " |", flush=True)
    plain = untrained(images, len(rows))
    print(
        "| EfficientNet-Lite0, untrained | "
        + " | ".join(f"{100 * c:.1f} %" for c in shares(kinds, first_hits(plain, plain)))
        + " | | |"
    )


def untrained(images: FileImages, count: int) -> torch.Tensor:
    """The average of ImageNet's features at 224×224, of unit length."""
    from itma.data.images import Preprocess
    from itma.models.image_encoders import efficientnet_lite

    preprocess = Preprocess(224, 224, mean=efficientnet_lite.MEAN, std=efficientnet_lite.STD)
    image_encoder = HubImageEncoder.build(
        ImageEncoderConfig("efficientnet-lite0", levels=(7,), weights="imagenet")
    ).eval()
    with torch.inference_mode():
        return torch.cat(
            [
                unit(
                    image_encoder(preprocess.normalise(images.load(range(at, min(at + BATCH, count)), preprocess)))[
                        0
                    ].mean((2, 3))
                )
                for at in range(0, count, BATCH)
            ]
        )


def first_hits(queries: torch.Tensor, gallery: torch.Tensor) -> np.ndarray:
    """(n, 10) the best images of each query, without the query's own."""
    scores = queries @ gallery.T
    scores.fill_diagonal_(-2)
    return scores.topk(10).indices.numpy()


def shares(kinds: np.ndarray, ranked: np.ndarray) -> list[float]:
    right = kinds[ranked] == kinds[:, None]
    return [float(right.mean()), float(right[:, 0].mean())]


def draw_sheets(folder: Path, images: FileImages, sentences: list[str], ranked: np.ndarray, count: int = 60) -> None:
    """The reference, what was said, and the first hits: 15 queries a sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = np.random.default_rng(0).permutation(len(sentences))[:count]
    for sheet in range(0, count, 15):
        page = Image.new("RGB", (3 * ((SHOWN + 1) * WIDTH + 16), 5 * (HEIGHT + 18)), "white")
        draw = ImageDraw.Draw(page)
        for number, row in enumerate(chosen[sheet : sheet + 15].tolist()):
            left, top = (number % 3) * ((SHOWN + 1) * WIDTH + 16), (number // 3) * (HEIGHT + 18)
            draw.text((left + 2, top + 2), f"{sheet + number + 1}: {sentences[row]}", fill="black")
            for column, image in enumerate([row, *ranked[row, :SHOWN].tolist()]):
                with Image.open(images.paths[image]) as opened:
                    small = opened.convert("RGB").resize((WIDTH - 4, HEIGHT - 4))
                page.paste(small, (left + column * WIDTH + (0 if column else -2) + 2, top + 16))
        page.save(folder / f"sheet-{sheet // 15 + 1}.png")


if __name__ == "__main__":
    main()
