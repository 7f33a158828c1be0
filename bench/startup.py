"""How long a command takes before it answers, and how much it loads.

    python bench/startup.py --repeats 5

Each line is the fastest of so many new processes. `import torch` stands beside them: no search can be faster.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import itma

PROBES = {
    "python": "pass",
    "import itma": "import itma",
    "import torch": "import torch",
    "import torch, lance": "import torch, lance",
    "itma --help": "from itma.cli import cli; cli(['--help'], standalone_mode=False)",
}
_SEARCH = "from itma.cli import cli; cli({words!r}, standalone_mode=False)"
_COUNT = "; import sys; print(len(sys.modules), file=sys.stderr)"


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="new processes a line; the fastest counts")
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        itma.generate("wardrobe", home / "shop", size="tiny")
        itma.index("wardrobe", home / "shop" / "images", home / "catalogue")
        image = min((home / "shop" / "images").iterdir())
        words = ["search", str(home / "catalogue"), "--image", str(image), "--text", "the same in red", "-k", "3"]
        probes = {**PROBES, "itma search": _SEARCH.format(words=words)}
        print(f"| {'':<20} | seconds | of it processor | modules |\n|---|---|---|---|")
        for name, program in probes.items():
            seconds, processor, modules = min(_timed(program) for _ in range(repeats))
            print(f"| {name:<20} | {seconds:.2f} | {processor:.2f} | {modules} |")


def _timed(program: str) -> tuple[float, float, int]:
    """(seconds, seconds of the processor, modules loaded) of a new process."""
    before, begun = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program + _COUNT], capture_output=True, text=True, check=True)
    seconds, after = time.perf_counter() - begun, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, used, int(done.stderr.split()[-1])


if __name__ == "__main__":
    main()
