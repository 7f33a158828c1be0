"""How the command line is called on this machine, so that a command in a message can be typed as it stands there."""

import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path


def program() -> str:
    """How the command line is called here: `itma`, or its path where its environment is not active."""
    own = Path(sys.executable).with_name("itma")
    path = shutil.which("itma")
    if path is not None and (Path(path) == own or not own.exists()):
        return "itma"
    if not own.exists():
        return f"{sys.executable} -m itma"
    return str(own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own)


def runnable(text: str, commands: Iterable[str]) -> str:
    """A message in which commands are written as they can be typed here.

    Args:
        text: the message, in which a command begins with `itma`.
        commands: the names of all that there are.
    """
    name = program()
    if name == "itma":
        return text
    return re.sub(rf"(?<![\w./-])itma(?= (?:{'|'.join(commands)})\b)", lambda match: name, text)
