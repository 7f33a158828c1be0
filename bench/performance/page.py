"""The tables and plots of docs/performance.md, written between markers from what was measured."""

import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def write_page(measured: list[Path], page: Path = PAGE) -> None:
    """Put the table of files that `--out` wrote into the page; of a row in several, the last counts."""
    rows: dict[str, Any] = {}
    for path in measured:
        results = json.loads(path.read_text(encoding="utf-8"))
        rows |= results["rows"]
    put(page, "table", f"Measured on: {results['machine']}.\n\n{table(rows)}")


def put(page: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of that name."""
    whole = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: written by bench.performance -->", f"<!-- end of {name} -->"
    before, _, rest = whole.partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise SystemExit(f"{page} lacks the markers {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")


def table(rows: dict[str, Any]) -> str:
    from bench.performance.table import ROWS

    lines = ["| row | stage | itma | the other side | ratio | goal | limit, and the share of it |", "|---" * 7 + "|"]
    for name, definition in ROWS.items():
        if name not in rows:
            continue
        row = rows[name]
        about = (
            f"{definition.about}; here {definition.smaller}"
            if row["size"] == "quick" and definition.smaller
            else definition.about
        )
        amounts = [amount(row[side], definition.things) for side in ("itma", "other")]
        goals = [f"{row['goal']:g}×"] if row["goal"] else []
        goals += [f"{what} ≤ {most:g}" for what, most in definition.at_most.items()]
        ratio = f"{row['ratio']:.1f}×" if row["goal"] else ""
        further = [f"{what} {row['itma'][what]:,.3g}" for what in definition.at_most if what != "seconds"]
        further += [str(row["itma"][what]) for what in ("runtime", "precision") if what in row["itma"]]
        verdict = "missed" if row["missed"] else "met"
        limit = f"{row['itma']['limit']}: {row['near']:.0%}" if row["near"] is not None else ""
        own = "; ".join([amounts[0], *further])
        other = f"{amounts[1]} ({definition.against})"
        cells = (f"`{name}`", about, own, other, ratio, f"{', '.join(goals)}: **{verdict}**", limit)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def amount(side: dict[str, Any], things: str) -> str:
    """Things a second, or how long one took."""
    if things:
        return f"{side['count'] / side['seconds']:,.3g} {things}/s"
    seconds = side["seconds"] / side["count"]
    return f"{seconds:.3g} s" if seconds >= 0.1 else f"{1000 * seconds:.3g} ms"
