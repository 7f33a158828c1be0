"""What was found in a data set, as values and in words; `itma.data.validation.doctor` finds it."""

import dataclasses
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "note", "problem"]
"""A problem can be mended, or keeps a row from being used; a note is how the data are."""

_SHOWN = 3
_WIDTH = 110


@dataclass(frozen=True)
class Finding:
    """One thing that was counted.

    >>> print(Finding("problem", "val", "missing images", 2, of=40, examples=("B00A", "B00B")))
    missing images: 2 of 40, 5.0% (B00A; B00B)
    """

    severity: Severity
    split: str
    """Empty: of splits beside one another."""
    what: str
    count: int
    expected: int | None = None
    """What `count` is in complete data; None: nothing is expected."""
    of: int | None = None
    """Out of how many `count` is a part; None: not known."""
    examples: tuple[str, ...] = ()
    """All that was counted, or what the count is made of; in words only the first few are shown."""

    def __str__(self) -> str:
        whole = ""
        if self.expected is not None and self.expected != self.count:
            whole = f" {'of' if self.count < self.expected else 'instead of'} {self.expected:,}"
        elif self.of and self.count:
            whole = f" of {self.of:,}, {self.count / self.of:.1%}"
        more = "; …" if len(self.examples) > _SHOWN else ""
        listed = f" ({'; '.join(map(_printable, self.examples[:_SHOWN]))}{more})" if self.examples else ""
        return f"{self.what}: {self.count:,}{whole}{listed}"


def none_of(
    bad: Severity, split: str, what: str, examples: Sequence[str], of: int | None = None, *, count: int | None = None
) -> Finding:
    """What there had better be none of; else of the severity `bad`. `count`: where the examples are not all of it."""
    count = len(examples) if count is None else count
    return Finding(bad if count else "ok", split, what, count, None, of, tuple(examples))


@dataclass(frozen=True)
class Diagnosis:
    """What was found in a data set."""

    name: str
    root: str
    opened: bool
    """Whether the images were opened; otherwise it is only known which are missing."""
    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]
    """Split by split, what training and evaluation will do without, and why."""

    @property
    def healthy(self) -> bool:
        """Whether there is no problem; there may be notes."""
        return all(finding.severity != "problem" for finding in self.findings)

    def to_json(self) -> str:
        """All of it, for other programs."""
        return json.dumps({"healthy": self.healthy, **dataclasses.asdict(self)}, indent=1) + "\n"

    def __str__(self) -> str:
        problems, notes = (
            sum(finding.severity == severity for finding in self.findings) for severity in ("problem", "note")
        )
        lines = [f"{self.name} in {self.root!r}: {many(problems, 'problem')}, {many(notes, 'note')}"]
        if not self.opened:
            lines.append("the images were not opened: those that are damaged or alike were not looked for")
        for split in dict.fromkeys(finding.split for finding in self.findings):
            own = [finding for finding in self.findings if finding.split == split]
            lines += ["", split or "between splits"]
            for severity in ("problem", "note"):
                lines += [_hung(severity, str(finding)) for finding in own if finding.severity == severity]
            fine = "; ".join(str(finding) for finding in own if finding.severity == "ok")
            lines += [_hung("ok", fine)] if fine else []
        lines += ["", "what will be left out", *(_hung("", text) for text in self.left_out)]
        return "\n".join(lines)


def _printable(text: str) -> str:
    """Names and captions may hold anything, even what a terminal would obey."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def many(count: int, what: str) -> str:
    """A count with its noun.

    >>> many(0, "note"), many(1, "note"), many(1200, "note")
    ('no notes', '1 note', '1,200 notes')
    """
    return f"{f'{count:,}' if count else 'no'} {what}{'' if count == 1 else 's'}"


def _hung(mark: str, text: str) -> str:
    indent = f"  {mark:<9}" if mark else "  "
    return textwrap.fill(
        text, _WIDTH, initial_indent=indent, subsequent_indent=" " * (len(indent) + 2), break_on_hyphens=False
    )
