"""A part of the products, whole families, their small images only: what the comparison of all models learns from.

python -m bench.sample_products --root ../shared/data/products --out sixth
"""

import argparse
import gzip
import hashlib
import json
from pathlib import Path

PARTS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder with products.jsonl.gz and small/")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    args = parser.parse_args()

    args.out.mkdir(parents=True)
    (args.out / "small").symlink_to((args.root / "small").resolve())
    count = 0
    with (
        gzip.open(args.root / "products.jsonl.gz", "rt", encoding="utf-8") as rows,
        gzip.open(args.out / "products.jsonl.gz", "wt", encoding="utf-8") as sample,
    ):
        for row in map(json.loads, rows):
            if int(hashlib.sha256(row["family"].encode()).hexdigest(), 16) % PARTS == 0:
                sample.write(json.dumps({**row, "medium": False}) + "\n")
                count += 1
    print(f"{count:,} products in {args.out}")


if __name__ == "__main__":
    main()
