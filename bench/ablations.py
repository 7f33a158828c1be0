"""Variants of one recipe, each with several seeds: `python bench/ablations.py --folder DIR [--world shapes]`.

Every variant is trained for the same number of steps on the same data, and evaluated on the test split. The table shows
recall@1 as the mean over seeds with the lowest and the highest, and the difference from the first variant with a 95 %
interval: seeds and queries are drawn again 2,000 times, the same ones for both sides. Runs are kept in DIR; what is
there already is not trained again, so that the command can be stopped and given again, or given with more variants.

    python bench/ablations.py --folder runs/ablations --only "default,query added,TIRG"
    python bench/ablations.py --folder runs/ablations --base model.options.query=added
"""

import argparse
from pathlib import Path

import numpy as np

from itma import api
from itma.data.sources import load
from itma.evaluation.evaluate import evaluate
from itma.models.retriever import Retriever
from itma.training.run import read_metrics

PUBLISHED = {
    "model.options.attention": "identity",
    "model.options.positions": "none",
    "model.options.dropout": "0.1",
    "model.options.query": "transformed",
    "model.options.pool": "levels",
    "train.loss_options.reference_negatives": "false",
}
"""ITMA as its published recipe for CSS has it; image encoder, levels, optimizer and steps are those of the base."""
VARIANTS: dict[str, tuple[str, dict[str, str]]] = {
    "default": ("itma", {}),
    "query added": ("itma", {"model.options.query": "added"}),
    "query gated": ("itma", {"model.options.query": "gated"}),
    "references as negatives": ("itma", {"train.loss_options.reference_negatives": "true"}),
    "weighted pooling": ("itma", {"model.options.pool": "weighted"}),
    "ITMA as published": ("itma", PUBLISHED),
    "addition": ("add", {}),
    "TIRG": ("tirg", {}),
    "levels 3 and 4": ("itma", {"model.image_encoder.levels": "3,4"}),
    "no positions": ("itma", {"model.options.positions": "none"}),
    "identity attention": ("itma", {"model.options.attention": "identity"}),
    "two blocks": ("itma", {"model.options.blocks": "2"}),
    "one row a reference": ("itma", {"train.per_reference": "1"}),
    "six rows a reference": ("itma", {"train.per_reference": "6"}),
    "words not pooled": ("itma", {"model.options.pool_words": "false"}),
    "gallery past the Transformer": ("itma", {"model.options.gallery_through_transformer": "false"}),
    "query transformed": ("itma", {"model.options.query": "transformed"}),
    "TIRG on the last map": ("tirg-last-map", {}),
    "concatenation": ("concat", {}),
    "image only": ("image-only", {}),
    "words only": ("words-only", {}),
    "dropout 0.1": ("itma", {"model.options.dropout": "0.1"}),
    "images moved and recoloured": ("itma", {"train.augment": "0.3"}),
    "without the graded loss": ("itma", {"train.loss": "classification"}),
    "levels 2 and 3": ("itma", {"model.image_encoder.levels": "2,3"}),
}
"""Name → composer, and what is set apart from the preset."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--world", default="shapes")
    parser.add_argument("--preset", help="absent: the one meant for the world")
    parser.add_argument("--seeds", type=int, default=3, help="how many; seed 0 first")
    parser.add_argument("--only", help="variants, with commas between; the first is compared with; absent: all")
    parser.add_argument("--base", action="append", default=[], metavar="NAME=VALUE", help="set for every variant")
    args = parser.parse_args()
    base = dict(change.split("=", 1) for change in args.base)
    names = args.only.split(",") if args.only else list(VARIANTS)
    settings = api.settings_for(args.world, preset=args.preset, changes=_for_all(base))
    triplets = tuple(load(settings.data, split, progress=True).triplets for split in ("train", "test"))
    print(f"{len(triplets[0]):,} training rows, {len(triplets[1]):,} test queries, {settings.train.steps:,} steps\n")
    print("| variant | recall@1 | lowest to highest | difference (95 %) | recall@10 |\n|---|---|---|---|---|")
    first: np.ndarray | None = None
    for name in names:
        composer, changes = VARIANTS[name]
        ranks = []
        for seed in range(args.seeds):
            run = args.folder / f"{name.replace(' ', '-')}-{seed}"
            if not (run / "checkpoints.json").exists() or _steps_of(run) < settings.train.steps:
                _trained(args, run, composer, _fitting(base | changes, composer) | {"train.seed": str(seed)}, triplets)
            ranks.append(evaluate(Retriever.load(run), triplets[1])[0].ranks)
        hits = np.stack(ranks) == 1
        first = hits if first is None else first
        ones = hits.mean(1)
        cells = (
            name,
            f"{ones.mean():.1%}",
            f"{ones.min():.1%} to {ones.max():.1%}",
            "" if hits is first else difference(hits, first),
            f"{np.mean(np.stack(ranks) <= 10):.1%}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


def _trained(
    args: argparse.Namespace, run: Path, composer: str, changes: dict[str, str], triplets: tuple[object, ...]
) -> None:
    if (run / "run.json").exists() and (run / "checkpoints.json").exists():
        api.resume(run, progress=True)
        return
    api.train(
        args.world,
        model=composer,
        preset=args.preset,
        changes=changes,
        out=run,
        triplets=triplets,  # type: ignore[arg-type]
        progress=True,
    )


def _steps_of(run: Path) -> int:
    return int(read_metrics(run)[-1]["step"])


def _for_all(changes: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in changes.items() if not name.startswith("model.options.")}


def _fitting(changes: dict[str, str], composer: str) -> dict[str, str]:
    """Without ITMA's own options, where the composer is another one."""
    return changes if composer == "itma" else _for_all(changes)


def difference(hits: np.ndarray, base: np.ndarray, *, draws: int = 2_000) -> str:
    """Mean difference and its interval, over seeds and queries drawn again: both (seeds, queries) bool."""
    random = np.random.default_rng(0)
    apart = hits.astype(float) - base
    seeds, queries = apart.shape
    means = [
        apart[np.ix_(random.integers(0, seeds, seeds), random.integers(0, queries, queries))].mean()
        for _ in range(draws)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{100 * apart.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


if __name__ == "__main__":
    main()
