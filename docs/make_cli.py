"""Write docs/cli.md: the help of every command, as the command line itself shows it."""

from collections.abc import Iterator
from pathlib import Path

import click

from itma.cli import cli

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100


def page() -> str:
    """The whole page as Markdown."""
    head = "# Command line\n\nWritten by `make docs` from the commands themselves; do not edit.\n"
    return "\n".join([head, *sections(cli, _context(cli, "itma"))])


def sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """The section of `command`, then those of the commands under it."""
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            part = command.get_command(context, name)
            if part is not None and not part.hidden:
                yield from sections(part, _context(part, name, context))


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    return click.Context(command, parent, name, terminal_width=WIDTH, **command.context_settings)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
