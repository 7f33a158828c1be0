"""Ranks by counting beside ranks by sorting, at the size of CSS's test set.

    python bench/rank.py [--queries 18057] [--gallery 19057] [--dim 512] [--threads 1]

Each way runs in a process of its own, so that its peak memory is its own. The sort is a fair one: it goes through the
queries in chunks of the same number of scores, and looks its targets up by array operations.
"""

import argparse
import resource
import subprocess
import sys
import time

import torch

from itma.evaluation.ranking import BLOCK, rank_targets


def by_counting(task: list[torch.Tensor]) -> list[torch.Tensor]:
    return list(rank_targets(*task)[:2])


def by_sorting(task: list[torch.Tensor]) -> list[torch.Tensor]:
    """A full argsort of every row, stable; the first target's place. Ties may put it lower than counting does."""
    queries, gallery, query_labels, gallery_labels, excluded = task
    ranks: list[torch.Tensor] = []
    chunk = max(1, BLOCK // len(gallery))
    for first in range(0, len(queries), chunk):
        scores = queries[first : first + chunk] @ gallery.T
        scores.scatter_(1, excluded[first : first + chunk, None], -torch.inf)
        order = scores.argsort(dim=1, descending=True, stable=True)
        right = gallery_labels[order] == query_labels[first : first + chunk, None]
        right &= order != excluded[first : first + chunk, None]
        ranks.append(right.byte().argmax(1) + 1)
    return [torch.cat(ranks)]


def product_alone(task: list[torch.Tensor]) -> list[torch.Tensor]:
    queries, gallery = task[:2]
    chunk = max(1, BLOCK // len(gallery))
    for first in range(0, len(queries), chunk):
        scores = queries[first : first + chunk] @ gallery.T
    return [scores[:, 0].long()]


WAYS = {"product alone": product_alone, "counting": by_counting, "sorting": by_sorting}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--queries", type=int, default=18_057)
    parser.add_argument("--gallery", type=int, default=19_057)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--way", choices=WAYS, help="run this one alone")
    options = parser.parse_args()
    if options.way:
        measure(options)
        return
    print(f"{options.queries:,} queries × {options.gallery:,} images × {options.dim}, {options.threads} thread(s)")
    results = {}
    for way in WAYS:
        line = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--way", way], check=True, capture_output=True, text=True
        ).stdout.split()
        seconds, megabytes = float(line[0]), float(line[1])
        results[way] = seconds, megabytes, [int(number) for number in line[2:]]
        print(f"{way:<14s} {seconds:7.1f} s   {megabytes:6.0f} MB above the embeddings")
    (seconds, megabytes, (ranks, ties)), other = results["counting"], results["sorting"]
    assert 0 <= other[2][0] - ranks <= ties, "the two ways disagree by more than the ties"
    print(f"sorting takes {other[0] / seconds:.1f} times the seconds and {other[1] / megabytes:.1f} times the memory")
    print(f"the sums of all ranks differ by {other[2][0] - ranks}; {ties} images tie with a target")


def measure(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    random = torch.Generator().manual_seed(0)

    def labels(number: int) -> torch.Tensor:
        return torch.arange(number).remainder(max(1, options.gallery // 3))

    queries, gallery = (
        torch.nn.functional.normalize(torch.randn(rows, options.dim, generator=random), dim=1)
        for rows in (options.queries, options.gallery)
    )
    excluded = torch.randint(0, options.gallery, (options.queries,), generator=random)
    task = [queries, gallery, labels(options.queries), labels(options.gallery), excluded]
    product_alone([queries[:1000], gallery])  # what the first product of a process takes is nobody's own
    before = peak_megabytes()
    started = time.perf_counter()
    results = WAYS[options.way](task)
    seconds = time.perf_counter() - started
    print(seconds, peak_megabytes() - before, *(int(part.sum()) for part in results))


def peak_megabytes() -> float:
    """The most memory that this process has held, in MB."""
    used: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
