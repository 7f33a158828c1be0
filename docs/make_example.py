"""Write docs/example.jpg, a few queries with the first hits: `python docs/make_example.py RUN [ROW …]`."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from itma import Retriever
from itma.api import read_run
from itma.data.sources import load
from itma.data.synthetic.shapes import SIZES, World
from itma.evaluation.evaluate import evaluate
from itma.evaluation.strips import query_strip


def main() -> None:
    """Embed, rank, draw."""
    run, *rows = sys.argv[1:]
    model, data = Retriever.load(run), read_run(run).data
    split = load(replace(data, root=None), "test", progress=True)
    (evaluation,) = evaluate(model, split.triplets, progress=True)
    # the same scenes drawn twice as large, to look at
    config = SIZES[data.size]
    large = World(replace(config, height=2 * config.height, width=2 * config.width, seed=data.seed)).triplets("test")
    enlarged = replace(evaluation, triplets=replace(split.triplets, images=large.images))
    size = replace(model.preprocess, height=2 * config.height, width=2 * config.width)
    kinds, right = np.array(split.triplets.kinds), evaluation.ranks == 1
    random = np.random.default_rng(0)
    queries = [int(row) for row in rows] or [
        int(random.choice(np.flatnonzero(right & (kinds == kind)))) for kind in ("make colour", "remove", "add")
    ]
    strips = [query_strip(size, enlarged, query, hits=4) for query in queries]
    image = torch.cat(strips, 1).permute(1, 2, 0).numpy()
    Image.fromarray(image).save(Path(__file__).with_name("example.jpg"), quality=88, optimize=True)


if __name__ == "__main__":
    main()
