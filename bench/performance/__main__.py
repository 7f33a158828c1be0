"""How fast each stage is, beside a plain program for it, in one run on this machine.

    python -m bench.performance [--rows step-itma-96,ranks] [--size full] [--threads 1] [--out FILE.json]
    python -m bench.performance --page FILE.json         # write its table into docs/performance.md
    python -m bench.performance --quick --check bench/quick.json  # make bench-quick: fail where a ratio fell
    python -m bench.performance --curves FILE.json       # how cost grows, see bench.performance.growth
    python -m bench.performance --plots FILE.json        # draw that into docs/performance

Both sides of a row run in processes of their own on the same data. A row that is measured again takes the place of the
older one in FILE.json; the others stay.
"""

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from bench.performance.growth import draw, measure_curves
from bench.performance.page import PAGE, write_page
from bench.performance.rows import SIZES, Result, measure
from bench.performance.table import ROWS

SLACK = 0.5
"""What a ratio may fall to, as a share of the stored one: on shared machines two runs differ by a third."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help="names with commas between; without it, all of that size")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--quick", action="store_const", dest="size", const="quick", help="the same as --size quick")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write all numbers there")
    parser.add_argument("--check", type=Path, help="compare the ratios with those stored there")
    parser.add_argument("--curves", type=Path, help="measure how cost grows, and write it there")
    parser.add_argument("--page", type=Path, nargs="+", help="measure nothing: write the table of these into the docs")
    parser.add_argument(
        "--plots", type=Path, help="measure nothing: draw the curves of this file into docs/performance"
    )
    parser.add_argument("--side", choices=["itma", "other"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(getattr(ROWS[options.rows], options.side)(options.folder, options.size)))
        return 0
    if options.page:
        write_page(options.page)
        return 0
    if options.plots:
        draw(options.plots, PAGE.parent / "performance")
        return 0
    if options.curves:
        options.curves.write_text(json.dumps(measure_curves(options.size)) + "\n")
        return 0
    names = (
        options.rows.split(",")
        if options.rows
        else [n for n, row in ROWS.items() if options.size == "full" or row.quick]
    )
    results = []
    for name in names:
        results.append(measure(name, ROWS[name], size=options.size, threads=options.threads))
        print(line(results[-1]), flush=True)
    if options.out:
        store(options.out, results, options.threads)
    if options.check:
        worse = fallen(results, json.loads(options.check.read_text())["rows"])
        print("\n".join(worse) or "no ratio fell")
        return 1 if worse else 0
    return 0


def line(result: Result) -> str:
    goal = f" (goal {result.goal:g}×)" if result.goal else ""
    near = "" if result.near is None else f", {result.near:.0%} of {result.itma['limit']}"
    missed = f"; missed: {', '.join(result.missed)}" if result.missed else ""
    return f"{result.name}: {result.ratio:.1f}×{goal}{near}{missed}"


def store(path: Path, results: list[Result], threads: int) -> None:
    """Write results beside those of other rows that are there already."""
    rows: dict[str, Any] = json.loads(path.read_text())["rows"] if path.exists() else {}
    rows |= {each.name: each.plain() for each in results}
    ordered = {name: rows[name] for name in ROWS if name in rows}
    path.write_text(json.dumps({"machine": machine(threads), "rows": ordered}, indent=1) + "\n")


def machine(threads: int) -> str:
    import torch

    about = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        named = [text for text in Path("/proc/cpuinfo").read_text().splitlines() if text.startswith("model name")]
        about = named[0].partition(":")[2].strip() if named else about
    widest = torch.backends.cpu.get_cpu_capability()
    return (
        f"{os.cpu_count()} cores of {about} ({widest}), {threads} thread{'s' * (threads > 1)} used, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def fallen(results: list[Result], stored: dict[str, Any]) -> list[str]:
    """What is said of each ratio that is below the slack."""
    return [
        f"{each.name}: {each.ratio:.1f}× against {stored[each.name]['ratio']:.1f}× stored; less than {SLACK:.0%} of it"
        for each in results
        if each.name in stored and each.ratio < SLACK * stored[each.name]["ratio"]
    ]


if __name__ == "__main__":
    sys.exit(main())
