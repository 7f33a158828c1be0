"""Which model finds products best? Small runs of several models at one budget beside a trained one.

python bench/photographs.py --root SHOP --steps 150 --seeds 3 --run photos

The small runs share one frozen EfficientNet-Lite0, whose maps of all images are computed once. Queries are those of
`itma.data.datasets.products`: test products, in wording that training does not use. An answer is right if kind, gender
and colour are, and whatever else was asked for. The gallery is all test images of one folder (size).
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from itma.allocation import reuse_memory
from itma.api import settings_for
from itma.data import datasets
from itma.data.datasets import products
from itma.data.images import FileImages
from itma.data.synthetic.generated import Dice
from itma.models.embedder import unit
from itma.models.retriever import Retriever
from itma.progress import bar
from itma.training import loop as training
from itma.training.views import Views

PUBLISHED = {
    "model.options.blocks": "2",
    "model.options.width": "128",
    "model.options.positions": "none",
    "model.options.dropout": "0.1",
    "train.loss": "classification",
    "train.start_scale": "4",
}
"""ITMA's published recipe for photographs (FashionIQ), apart from the optimizer and the number of steps."""
MODELS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "image only": ("image-only", {}),
    "words only": ("words-only", {}),
    "sum": ("add", {}),
    "TIRG": ("tirg", {}),
    "ITMA as published": ("itma", PUBLISHED),
    "ITMA": ("itma", {}),
}
KINDS = ("colour", "kind", "gender", "sleeves", "neck", "pattern", "two", "three")
BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="the table of products, or its folder")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", default=",".join(MODELS), help="with commas between; empty: none")
    parser.add_argument("--run", action="append", default=[], help="a trained run to measure beside them; repeatable")
    parser.add_argument("--queries", type=int, default=400, help="of each kind of change, at most")
    parser.add_argument("--out", type=Path, help="JSON of all numbers")
    args = parser.parse_args()

    reuse_memory()
    path = products.find_table(args.root)
    shops = {split: products.read_shop(path, split) for split in products.SPLITS}
    queries = products.draw_queries(shops["test"], products.Sampler(shops["test"]))
    numbers: dict[str, list[dict[str, float]]] = {}
    names = [name for name in args.models.split(",") if name]
    if names:
        numbers = small_runs(path, shops, queries, names, args)
    for run in args.run:
        model = Retriever.load(run)
        numbers[str(run)] = [measure(model, shops, queries, maps_of(model, shops["test"]), args.queries)]
    print(f"{len(shops['test'].names):,} test images, {args.steps} steps, {args.seeds} seeds\n")
    show(numbers)
    if args.out:
        args.out.write_text(json.dumps(numbers, indent=1) + "\n")


def small_runs(
    path: Path,
    shops: Mapping[str, products.Shop],
    queries: Sequence[products.Query],
    names: Sequence[str],
    args: argparse.Namespace,
) -> dict[str, list[dict[str, float]]]:
    """Each model, trained for the same few steps on the same frozen maps, with every seed."""
    triplets = datasets.load("products", path, "train").triplets
    budget = {
        "train.steps": str(args.steps),
        "train.evaluate_every": str(args.steps),
        "train.frozen_levels": "7",
        "train.views": "1",
        "train.grounds": "0",
        "train.hold_out": "0",
    }
    numbers: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    views, maps = None, None
    for seed in range(args.seeds):
        for name in names:
            composer, changes = MODELS[name]
            settings = settings_for("products", model=composer, changes={**budget, "train.seed": str(seed), **changes})
            model = Retriever.build(settings.model, triplets.feedback, seed=seed)
            torch.nn.init.constant_(model.scale, settings.train.start_scale)
            model.to(memory_format=torch.channels_last)
            if views is None or maps is None:
                model.freeze((), levels=7, fixed_norms=True)
                everything = np.arange(len(triplets.labels))
                views = Views(model, triplets.images, everything, settings.train, progress=True)
                maps = maps_of(model, shops["test"])
            training.Views = partial(lambda ready, *_, **__: ready, views)  # type: ignore[misc]  # once for all
            with tempfile.TemporaryDirectory() as folder:
                training.train(model, replace(triplets), settings.train, folder, progress=True)
            numbers[name].append(measure(model, shops, queries, maps, args.queries))
            print(name, seed, {key: round(value, 3) for key, value in numbers[name][-1].items()}, flush=True)
    return numbers


def maps_of(model: Retriever, shop: products.Shop) -> list[torch.Tensor]:
    """The image encoder's maps of all images, as float16."""
    images, maps = FileImages(shop.names, shop.paths), []
    with bar("looking at test images", show=True, total=len(shop.names), unit="image") as meter:
        for start in range(0, len(shop.names), BATCH):
            pixels = images.load(range(start, min(start + BATCH, len(shop.names))), model.preprocess)
            maps.append([level.half() for level in model.feature_maps(pixels)])
            meter.update(len(pixels))
    return [torch.cat(levels) for levels in zip(*maps, strict=True)]


@torch.inference_mode()
def measure(
    model: Retriever,
    shops: Mapping[str, products.Shop],
    queries: Sequence[products.Query],
    maps: Sequence[torch.Tensor],
    most: int,
) -> dict[str, float]:
    """Recall@1, recall@10 and precision@10 by folder and kind of change."""
    model.eval()
    shop = shops["test"]
    folders = np.array(shop.folders)
    trained = set(zip(*(shops["train"].codes[name].tolist() for name in ("kind", "colour")), strict=True))

    def some(rows: Sequence[int] | np.ndarray) -> list[torch.Tensor]:
        return [level[torch.as_tensor(rows)].float() for level in maps]

    images = range(0, len(shop.names), BATCH)
    gallery = torch.cat(
        [unit(model.composer.embed_images(some(range(at, min(at + BATCH, len(shop.names)))))) for at in images]
    )
    numbers: dict[str, float] = {}
    for folder, _ in Counter(shop.folders).most_common():
        ranked = np.flatnonzero(folders == folder)
        of_folder = [query for query in queries if folders[query.reference] == folder]
        groups = {kind: [q for q in of_folder if products.kind_of_change(q.changed) == kind] for kind in KINDS}
        main = [q for q in of_folder if set(q.changed) <= set(products.MAIN) and len(q.changed) <= 2]
        groups["kind, colour, gender"] = main
        for name, seen in (("seen pairs", True), ("unseen pairs", False)):
            groups[name] = [
                q
                for q in main
                if ((int(shop.codes["kind"][q.target]), int(shop.codes["colour"][q.target])) in trained) == seen
            ]
        for name, group in groups.items():
            chosen = group[: 5 * most if name == "kind, colour, gender" else most]
            answers = []
            for start in range(0, len(chosen), BATCH):
                part = chosen[start : start + BATCH]
                words = None
                if model.text_encoder is not None:
                    words = model.text_encoder(model.tokenizer([query.feedback for query in part]))
                rows = some([query.reference for query in part])
                scores = unit(model.composer.embed_queries(rows, words)) @ gallery[torch.as_tensor(ranked)].T
                for query, row in zip(part, scores, strict=True):
                    row[np.flatnonzero(shop.products[ranked] == shop.products[query.reference])] = -2
                    best = ranked[row.topk(min(10, len(row))).indices.numpy()]
                    if products.find_right_answers(shop, query, ranked).any():
                        answers.append(products.find_right_answers(shop, query, best))
            if answers:
                right = np.array(answers)
                key = f"{folder}: {name}"
                numbers[f"{key} queries"] = len(right)
                numbers[f"{key} recall@1"] = float(right[:, 0].mean())
                numbers[f"{key} recall@10"] = float(right.any(1).mean())
                numbers[f"{key} precision@10"] = float(right.mean())
    return numbers | wishes(model, shop, gallery)


def wishes(model: Retriever, shop: products.Shop, gallery: torch.Tensor) -> dict[str, float]:
    """Words alone: "navy shirt" for every kind and colour of which there are ten images; precision@10."""
    if model.text_encoder is None:
        return {}
    pairs = Counter((shop.of(image).get("kind"), shop.of(image).get("colour")) for image in range(len(shop.names)))
    right = []
    for (kind, colour), count in sorted((pair, count) for pair, count in pairs.items() if None not in pair):
        if count >= 10:
            sentence = products.shop_sentences.wish({"kind": kind, "colour": colour}, Dice(f"{kind}/{colour}"), "test")
            words = model.text_encoder(model.tokenizer([sentence]))
            best = (unit(model.composer.embed_queries(None, words)) @ gallery.T)[0].topk(10).indices.tolist()
            right.append(np.mean([(shop.of(i).get("kind"), shop.of(i).get("colour")) == (kind, colour) for i in best]))
    return {"words alone: queries": len(right), "words alone: precision@10": float(np.mean(right))}


def show(numbers: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """One Markdown table: recall@1 / recall@10 / precision@10 in percent, means over the seeds and their spread."""
    keys = [key.removesuffix(" recall@1") for runs in numbers.values() for key in runs[0] if key.endswith("recall@1")]
    rows = list(dict.fromkeys(keys))
    print("| recall@1 / @10 / precision@10, % | queries | " + " | ".join(numbers) + " |")
    print("|---" * (len(numbers) + 2) + "|")
    for row in rows:
        count = next(int(runs[0][f"{row} queries"]) for runs in numbers.values() if f"{row} queries" in runs[0])
        print(f"| {row} | {count:,} | " + " | ".join(cell(runs, row) for runs in numbers.values()) + " |")
    row = "words alone: precision@10"
    alone = [f"{100 * np.mean([run[row] for run in runs]):.1f}" if row in runs[0] else "" for runs in numbers.values()]
    print(f"| {row} | | " + " | ".join(alone) + " |")


def cell(runs: Sequence[Mapping[str, float]], row: str) -> str:
    if f"{row} recall@1" not in runs[0]:
        return ""
    ats = ("recall@1", "recall@10", "precision@10")
    text = " / ".join(f"{100 * np.mean([run[f'{row} {at}'] for run in runs]):.1f}" for at in ats)
    if len(runs) > 1:
        text += f" (± {100 * np.std([run[f'{row} recall@1'] for run in runs], ddof=1):.1f})"
    return text


if __name__ == "__main__":
    main()
