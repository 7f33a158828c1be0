"""Studies of a trained model that go beyond recall: `itma study conversation`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from itma.api import load_measured_split, read_data, results_folder
from itma.data.conversations import check_turns
from itma.data.datasets import dataset_named
from itma.data.images import Preprocess, to_image
from itma.data.synthetic.user import User
from itma.data.triplets import Triplets
from itma.demo.page import TurnOnPage, conversations_page
from itma.device import device_named
from itma.display import data_url
from itma.errors import RunError
from itma.evaluation.conversations import ConversationStudy, PlayedConversation, play
from itma.io import check_writable, write_text
from itma.models.checkpoint import checkpoint_folder
from itma.models.retriever import Retriever
from itma.models.towers import holds_towers

MARKDOWN, JSON, PAGE = "conversations.md", "conversations.json", "conversations.html"
_ON_PAGE = 30
"""Conversations that failed that are shown, at most."""


@dataclass(frozen=True)
class Studied:
    """What a study found, and where it was written."""

    study: ConversationStudy
    folder: Path

    def __str__(self) -> str:
        return str(self.study)


def study_conversation(
    run: str | Path,
    *,
    conversations: int = 200,
    turns: int = 4,
    root: str | Path | None = None,
    split: str | None = None,
    seed: int = 0,
    forgetful: bool = False,
    out: str | Path | None = None,
    device: str = "auto",
    progress: bool = False,
) -> Studied:
    """Let a simulated user talk to a model about the world that it was trained on; see `itma.evaluation.conversations`.

    Args:
        run: a run folder, of data of whose images it is known what they show: shapes, wardrobe or products.
        conversations: how many.
        turns: of each, at most.
        root: the folder of the data, if it was moved.
        split: whose images are searched. None: the test's, which training never saw.
        seed: decides where conversations start and lead, and what is said.
        forgetful: tell the model the last sentence alone.
        out: gets `conversations.md`, `conversations.json`, and `conversations.html` with those that failed. None:
            `conversations-<split>` in the run, with `-forgetful` behind it where it is; of a model of itma's own or of
            the hub, `conversations-<model>-<split>` in the present folder, with a number where that is taken.
        device: `auto`, `cpu`, `cuda`, …
        progress: show progress bars.

    Returns:
        Success and mean rank at each turn, and what became of each kind of wish.

    Raises:
        RunError, DataError: the run cannot be opened, or nobody knows what is true of its data's images.
        ConfigError: conversations of one turn, or none.
        StorageError: `out` cannot be written to, which is found before the work.
    """
    check_turns(turns)
    if holds_towers(checkpoint_folder(run)):
        raise RunError(f"{str(run)!r} was trained on no data set of itma; a user talks about the world of a run")
    source = read_data(run)
    if source.external:
        raise RunError(
            f"{str(run)!r} was trained on external data {source.name!r}, of which nobody knows what is true of each "
            "image; take a run on shapes, wardrobe or products"
        )
    changes = {} if root is None else {"root": str(root)}
    source, split = source if root is None else replace(source, root=str(root)), split or source.measured
    user = dataset_named(source.name)(source).user(split)
    if out is None:
        out = results_folder(run, "conversations", f"{split}{'-forgetful' * forgetful}")
    folder = Path(out)
    check_writable(str(folder))
    torch_device = device_named(device)
    model = Retriever.load(run).to(torch_device)
    triplets = load_measured_split(
        run, model.preprocess, split=split, changes=changes, device=torch_device, progress=progress
    )[0].triplets
    played = play(
        model, triplets, user, count=conversations, turns=turns, seed=seed, forgetful=forgetful, progress=progress
    )
    gallery = len(user.gallery) if triplets.present is None else int(triplets.present[user.gallery].sum())
    about: dict[str, Any] = {"model": f"{model.name} ({run})", "data": triplets.name, "gallery": gallery}
    study = ConversationStudy.of(played, turns, seed=seed, forgetful=forgetful, **about)
    write_text(folder / MARKDOWN, study.markdown())
    write_text(folder / JSON, study.to_json())
    write_text(folder / PAGE, _page(study, played, triplets, user, model.preprocess))
    return Studied(study, folder)


def _page(
    study: ConversationStudy,
    played: Sequence[PlayedConversation],
    triplets: Triplets,
    user: User[Any],
    size: Preprocess,
) -> str:
    """The conversations that failed."""
    failed = [(number, one) for number, one in enumerate(played, start=1) if not one.succeeded]

    def show(image: int, kind: str) -> tuple[str, str, str]:
        pixels = triplets.images.load([image], size)[0]
        return data_url(to_image(pixels)), user.title(image), kind

    def rows(one: PlayedConversation) -> list[TurnOnPage]:
        turns, label = [TurnOnPage("wanted:", [show(one.target, "right")])], triplets.labels[one.target]
        for turn in one.turns:
            wish = f"“{turn.wish.sentence}” – {turn.wish.kind}, {'granted' if turn.granted else 'not granted'}"
            hits = [show(hit, "right" if triplets.labels[hit] == label else "wrong") for hit in turn.hits]
            text = f"{wish}; the target is at rank {turn.rank}"
            turns.append(TurnOnPage(text, [show(turn.reference, "start"), *hits]))
        return turns

    some = f"; the first {_ON_PAGE} are shown" if len(failed) > _ON_PAGE else ""
    head = f"{study.head} {len(failed):,} of {len(played):,} did not end at the target{some}."
    return conversations_page(
        "Conversations that failed", head, [(f"conversation {number}", rows(one)) for number, one in failed[:_ON_PAGE]]
    )
