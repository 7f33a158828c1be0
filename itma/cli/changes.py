"""Options by which settings are changed: --set, --config, and short ones for single settings."""

from functools import partial
from typing import Any

import click

from itma.cli.options import INPUT_PATH, pairs
from itma.config import read_changes

skip_unreadable = click.option(
    "--skip-unreadable",
    is_flag=True,
    help="Count images that are there but cannot be read as missing; short for --set data.unreadable=missing.",
)
setting_changes = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    callback=partial(pairs, example=", e.g. train.steps=100"),
    help="Change one setting; repeatable.",
)


setting_file = click.option(
    "--config",
    type=INPUT_PATH,
    callback=lambda context, parameter, path: {} if path is None else read_changes(path),
    metavar="FILE.toml",
    help="Settings from a file, e.g. [train] and under it steps = 100; other options win over it.",
)


SHORT = {"steps": "train.steps", "seed": "train.seed", "root": "data.root"}
"""Options that are short for a setting."""


def take_settings(options: dict[str, Any]) -> dict[str, Any]:
    """The settings that the options of a command make; they are taken out of `options`.

    Those of the file, over them those of `--set`, over them the short options.
    """
    config = options.pop("config", {})
    if options.get("model") is not None:
        config.pop("model.composer", None)
    named = {setting: str(value) for name, setting in SHORT.items() if (value := options.pop(name, None)) is not None}
    if options.pop("skip_unreadable", False):
        named["data.unreadable"] = "missing"
    return {**config, **options.pop("changes", {}), **named}
