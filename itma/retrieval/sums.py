"""A sum for every file of a catalogue's folder, so that bytes that changed on the disk are found out.

They stand in `sums.sha256`, a line a file, as `sha256sum` writes and checks them.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from itma.io import file_sum, refuse_stream, write_bytes

NAME = "sums.sha256"
_HINT = "latest_version_hint.json"
"""The one file that the engine writes over; it only saves a look at the folder."""


@dataclass(frozen=True)
class Verification:
    """What reading a catalogue's files has shown."""

    files: int = 0
    """Files whose content is what was written."""
    damaged: tuple[str, ...] = ()
    """Files whose content is another than what was written."""
    lost: tuple[str, ...] = ()
    """Files that the newest state needs and that are not there, or the newest state itself."""
    unknown: tuple[str, ...] = ()
    """Files without a sum; an interrupted write, or an older itma, left them."""

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged or lost."""
        return not self.damaged and not self.lost

    def __str__(self) -> str:
        lines = [f"{self.files:,} files are as they were written"] + [f"damaged: {name}" for name in self.damaged]
        lines += [f"lost: {name}" for name in self.lost]
        if self.unknown:
            lines.append(
                f"{len(self.unknown):,} files have no sum, e.g. {self.unknown[0]}; the next write gives them one"
            )
        return "\n".join(lines)


def record(folder: Path, name: str) -> None:
    """Keep the sums of a document, or of the new files of a table; those of files that are gone are forgotten.

    Args:
        folder: of the catalogue.
        name: of the document, or of the folder of a table.

    Raises:
        OSError: a file cannot be read, or the sums cannot be written.
    """
    sums = _read_known(folder)
    if (folder / name).is_dir():
        present = set(_files(folder, name))
        new = {path: file_sum(folder / path) for path in sorted(present) if path not in sums}
    else:
        present, new = {name}, {name: file_sum(folder / name)}
    now = {path: sum for path, sum in sums.items() if path in present or not path.startswith(f"{name}/")}
    now = {path: sum for path, sum in now.items() if path in present or (folder / path.partition("/")[0]).exists()}
    if now | new == sums:
        return
    lines = "".join(f"{sum}  {path}\n" for path, sum in (now | new).items() if path not in sums)
    if len(now) == len(sums) and not new.keys() & sums.keys():  # nothing but new files: a killed writer costs a line
        with (folder / NAME).open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(lines)
    else:
        text = "".join(f"{sum}  {path}\n" for path, sum in (now | new).items())
        write_bytes(folder / NAME, text.encode("utf-8", "surrogateescape"))


def verify(folder: Path) -> Verification:
    """Read all files of a catalogue's folder and compare them with their sums."""
    sums = _read_known(folder)
    right, damaged, unknown = 0, [], []
    paths = [path for path in sums if "/" not in path and (folder / path).exists()]
    for table in sorted(folder.glob("*.lance")):
        paths += _files(folder, table.name)
    for path in paths:
        if path not in sums:
            unknown.append(path)
            continue
        try:
            same = file_sum(folder / path) == sums[path]
        except FileNotFoundError:  # tidied up in the meantime
            continue
        except OSError:  # of a bad sector
            same = False
        if same:
            right += 1
        else:
            damaged.append(path)
    return Verification(right, tuple(damaged), tuple(unknown))


def newest_version(folder: Path, table: str) -> int:
    """The newest version of a table that a sum was kept of; 0 where there is none."""
    numbers = re.findall(rf"^{table}\.lance/_versions/(\d+)\.manifest$", "\n".join(_read_known(folder)), re.MULTILINE)
    # the engine counts down in names, so that the newest stands first
    return max((2**64 - 1 - number if (number := int(name)) > 2**63 else number for name in numbers), default=0)


def _read_known(folder: Path) -> dict[str, str]:
    refuse_stream(folder / NAME)
    try:
        text = (folder / NAME).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return {}
    parts = (line.split("  ", 1) for line in text.split("\n"))
    return {path: sum for sum, path in (part for part in parts if len(part) == 2) if len(sum) == 64}


def _files(folder: Path, table: str) -> Iterator[str]:
    for parent, _, names in os.walk(folder / table):
        for name in names:
            if name != _HINT:
                yield (Path(parent) / name).relative_to(folder).as_posix()
