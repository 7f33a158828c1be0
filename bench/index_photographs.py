"""How fast photographs are indexed and searched: images a second, and milliseconds of a warm query by id and sentence.

python bench/index_photographs.py --photos ../shared/data/photos/images --run photos --count 10000

The photographs are repeated until there are enough, each copy with a few bytes of its own at its end, so that none is
known already. The other side is a plain loop: open with Pillow, resize, one image at a time through the same model.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from itma.allocation import reuse_memory
from itma.data.images import to_pixels
from itma.models.retriever import Retriever
from itma.retrieval.catalogue import Catalogue

SENTENCES = ("in red", "the same in blue", "with long sleeves", "for women", "but black and with a collar")
REFERENCES = 50
"""Items that are asked from, again and again."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--run", default="photos")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=200)
    args = parser.parse_args()

    reuse_memory()
    files = sorted(path for path in args.photos.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    model = Retriever.load(args.run)
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        for number in range(args.count):
            (photos / f"{number:06d}.jpg").write_bytes(
                files[number % len(files)].read_bytes() + number.to_bytes(8, "big")
            )
        some = sorted(photos.iterdir())[: max(1, args.count // 50)]
        start = time.perf_counter()
        for path in some:
            with Image.open(path) as image:
                small = image.convert("RGB").resize((model.preprocess.width, model.preprocess.height))
            model.embed_images(to_pixels(small)[None])
        plain = len(some) / (time.perf_counter() - start)
        start = time.perf_counter()
        catalogue = Catalogue.build(model, photos, Path(folder) / "catalogue", progress=True)
        rate = args.count / (time.perf_counter() - start)
        catalogue.search(id=f"{REFERENCES:06d}.jpg", text=SENTENCES[0])
        took = []
        for number in range(REFERENCES + args.queries):
            start = time.perf_counter()
            catalogue.search(id=f"{number % REFERENCES:06d}.jpg", text=SENTENCES[number % len(SENTENCES)], k=24)
            took.append(1000 * (time.perf_counter() - start))
    print(f"{args.count:,} photographs, {torch.get_num_threads()} threads\n")
    print("| | itma | one by one | ratio |\n|---|---|---|---|")
    print(f"| images a second | {rate:.0f} | {plain:.0f} | {rate / plain:.1f} |")
    for what, part in (("asked from before", took[REFERENCES:]), ("asked from first", took[:REFERENCES])):
        middle, slow = np.median(part), np.quantile(part, 0.9)
        print(f"| query by an id {what} and sentence, milliseconds, median (90 %) | {middle:.1f} ({slow:.1f}) | | |")


if __name__ == "__main__":
    main()
