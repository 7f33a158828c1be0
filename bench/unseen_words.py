"""What words are worth that training never saw, on a table of products: known words, unseen ones read as near, dropped.

python -m bench.unseen_words --root SHOP --run photos

Every test image of the most common folder is asked for in another colour or as another kind, in one sentence three
times: with the usual word, with a word that the model was not taught and reads as the nearest, and with that word
dropped. An answer is right if it has what was asked for, and the reference's kind, colour and gender otherwise.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from bench.photographs import BATCH, maps_of
from itma.allocation import reuse_memory
from itma.data.datasets import products
from itma.models.embedder import unit
from itma.models.retriever import Retriever

UNSEEN = {
    "colour": {
        "red": "crimson",
        "brown": "chestnut",
        "green": "emerald",
        "blue": "azure",
        "purple": "plum",
        "pink": "blush",
        "grey": "slate",
        "yellow": "lemon",
        "black": "ebony",
        "white": "snow",
    },
    "kind": {
        "sweaters": "jumper",
        "sports shoes": "trainers",
        "trousers": "slacks",
        "sunglasses": "spectacles",
        "jackets": "anorak",
        "handbags": "tote",
        "dresses": "gown",
        "watches": "timepiece",
        "tshirts": "singlet",
        "jeans": "dungarees",
    },
}
"""Attribute → value → a word for it that no sentence of the training has."""
MOST = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--run", default="photos")
    args = parser.parse_args()

    reuse_memory()
    shop = products.read_shop(products.find_table(args.root), "test")
    model = Retriever.load(args.run)
    folder = Counter(shop.folders).most_common(1)[0][0]
    images = np.flatnonzero(np.array(shop.folders) == folder)
    maps = maps_of(model, shop)
    batches = [images[at : at + BATCH] for at in range(0, len(images), BATCH)]
    with torch.inference_mode():
        gallery = torch.cat([unit(model.composer.embed_images(rows_of(maps, part))) for part in batches])
    print("| | unseen word | read as | queries | usual word | read as near | dropped |\n|---|---|---|---|---|---|---|")
    totals = []
    for attribute, words in UNSEEN.items():
        for value, word in words.items():
            row = measured(model, shop, images, maps, gallery, attribute, value, word)
            if row is not None:
                totals.append(row[1:])
                cells = " | ".join(f"{100 * x:.0f}" for x in row[2:])
                print(f"| {value} | {word} | {row[0]} | {row[1]} | {cells} |", flush=True)
    counts = np.array([total[0] for total in totals])
    means = [(counts * np.array([total[number] for total in totals])).sum() / counts.sum() for number in (1, 2, 3)]
    print(
        f"| all | | | {counts.sum()} | " + " | ".join(f"{100 * mean:.1f}" for mean in means) + " |\n\nprecision@10, %"
    )


def rows_of(maps: list[torch.Tensor], rows: np.ndarray) -> list[torch.Tensor]:
    return [level[torch.as_tensor(rows)].float() for level in maps]


@torch.inference_mode()
def measured(
    model: Retriever,
    shop: products.Shop,
    images: np.ndarray,
    maps: list[torch.Tensor],
    gallery: torch.Tensor,
    attribute: str,
    value: str,
    word: str,
) -> tuple[str, int, float, float, float] | None:
    """What the word was read as, the number of queries, precision@10 in the three ways; none if the model knows it."""
    assert model.text_encoder is not None
    if word in model.tokenizer.vocabulary:  # names and descriptions taught it
        return None
    codes = {name: shop.codes[name][images] for name in products.MAIN}
    code = next((first[0] for first in codes_of(shop, attribute, value)), None)
    queries = []
    for reference in range(len(images)):
        others = [codes[name] == codes[name][reference] for name in products.MAIN if name != attribute]
        right = np.logical_and.reduce([codes[attribute] == code, *others])
        if codes[attribute][reference] != code and right.any():
            queries.append((reference, right))
    queries = [queries[reference] for reference in np.random.default_rng(0).permutation(len(queries))[:MOST]]
    if not queries:
        return None
    usual = getattr(products.shop_sentences, "COLOURS" if attribute == "colour" else "KINDS").get(value, (value,))[0]
    form = "the same but in {}" if attribute == "colour" else "i want {} instead"
    read = model.tokenizer.read_as(form.format(word)).get(word, "nothing")
    precisions = []
    for term, nearest in ((usual, True), (word, True), (word, False)):
        model.tokenizer.nearest = nearest
        words = model.text_encoder(model.tokenizer([form.format(term)] * len(queries)))
        rows = rows_of(maps, images[[reference for reference, _ in queries]])
        scores = unit(model.composer.embed_queries(rows, words)) @ gallery.T
        for row, (reference, _) in zip(scores, queries, strict=True):
            row[reference] = -2
        best = scores.topk(10).indices.numpy()
        precisions.append(float(np.mean([right[hits].mean() for hits, (_, right) in zip(best, queries, strict=True)])))
    model.tokenizer.nearest = True
    return read, len(queries), *precisions


def codes_of(shop: products.Shop, attribute: str, value: str) -> list[tuple[int]]:
    rows = [i for i in range(len(shop.names)) if shop.of(i).get(attribute) == value][:1]
    return [(int(shop.codes[attribute][row]),) for row in rows]


if __name__ == "__main__":
    main()
