"""Every exception a person can meet, as one tree: catch `ItmaError` to catch them all.

A message says what happened, what was expected and what to do about it, with the person's own values in it.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path


class ItmaError(Exception):
    """The root of everything this package raises on purpose.

    Args:
        message: for whoever runs itma: what happened, what was expected, what to do; it may name folders.
        public: the same for a stranger who asks over HTTP. None: the message holds nothing but what was asked.
    """

    def __init__(self, message: str = "", *, public: str | None = None) -> None:
        super().__init__(message)
        self.public = message if public is None else public


class UnknownNameError(ItmaError, ValueError):
    """A name was asked for that does not exist; the message lists the ones that do."""

    def __init__(self, kind: str, name: object, choices: Iterable[str], *, advice: str = "") -> None:
        known = sorted(choices)
        near = get_close_matches(str(name), known, n=1)
        hint = (f" Did you mean {near[0]!r}?" if near else "") + (f" {advice}" if advice else "")
        super().__init__(f"unknown {kind} {name!r}; choose from: {', '.join(known) or '(none)'}.{hint}")


class ConfigError(ItmaError, ValueError):
    """Settings that contradict one another or lie outside their range."""


class DataError(ItmaError):
    """Input data that cannot be used as it is: a missing or empty folder, a row that makes no sense."""


class ItemExistsError(DataError):
    """An item was to be added whose id is in the catalogue already."""


class ImageError(DataError):
    """A file that is not an image, is damaged, or is too large to open safely; without a path where it was sent."""

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path, self.reason = str(path), reason
        super().__init__(f"cannot read the image{f' {self.path!r}' if self.path else ''}: {reason}")


class FeedbackError(ItmaError, ValueError):
    """A sentence that the model cannot use."""


class RunError(ItmaError):
    """A run folder that is missing, incomplete, damaged, or made for something else."""


class MissingPartError(RunError):
    """A model or a run that needs a part which is not known here; the message says where the part comes from."""


class PluginError(ItmaError, ImportError):
    """A file or an installed package that should add parts, and that cannot be imported."""


class TrainingError(ItmaError):
    """Training that cannot go on, for example because the loss is no longer a number."""


class FilterError(ItmaError, ValueError):
    """A condition on a catalogue's items that makes no sense."""


class CatalogueError(ItmaError):
    """A catalogue that is missing, damaged, or was made by another model."""


class UnknownItemError(CatalogueError):
    """An id was asked for that no item of the catalogue has."""


class UnanswerableError(CatalogueError):
    """A question that this catalogue cannot answer: it has no model, or the item it begins from has no image."""


class BusyError(CatalogueError):
    """A catalogue that somebody else is writing; the same call may go through a moment later."""


class ExplanationError(ItmaError, ValueError):
    """An explanation that this model, or this query, cannot have."""


class StorageError(ItmaError, OSError):
    """Writing failed, for example because the disk is full; what was there before is untouched."""


class UnwrittenReportError(StorageError):
    """An evaluation whose results could not be written; the message shows them.

    Args:
        reports: the results.
        error: why they were not written.
    """

    def __init__(self, reports: Sequence[object], error: Exception) -> None:
        self.reports = tuple(reports)
        super().__init__("\n\n".join([*map(str, reports), f"the results above were not written: {error}"]))


class HubError(ItmaError):
    """A model hub that cannot be reached, or something on it that is not there or not open to this person."""


class MissingExtraError(ItmaError, ImportError):
    """A feature needs a package that is not installed; the message holds the command that installs it."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional part of itma; install it with: pip install 'itma[{extra}]'")


class MissingPackageError(ItmaError, ImportError):
    """A package that is installed with itma is not there; the message holds the command that installs it."""

    def __init__(self, feature: str, package: str) -> None:
        super().__init__(f"{feature} needs the package {package!r}; install it with: pip install {package}")


CODES: dict[str, tuple[int, type[ItmaError]]] = {
    "unknown_item": (404, UnknownItemError),
    "item_exists": (409, ItemExistsError),
    "unanswerable": (409, UnanswerableError),
    "unexplainable": (409, ExplanationError),
    "unreadable_image": (422, ImageError),
    "unusable_feedback": (422, FeedbackError),
    "bad_filter": (422, FilterError),
    "unknown_name": (422, UnknownNameError),
    "out_of_range": (422, ConfigError),
    "bad_data": (422, DataError),
}
"""What a server says of a request's errors: a word for programs → status of HTTP and the error; the first that fits."""
