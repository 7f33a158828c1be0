"""Models that others use: card → pack → push → pull. Each command of that name is one call of a function here."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from itma.config import change
from itma.errors import ConfigError, RunError
from itma.hub.card import CARD, Averaged, model_card, write_card
from itma.io import new_folder, write_text
from itma.models import hub
from itma.models.checkpoint import FILES, POINTER, RUN, checkpoint_folder, weights_sum
from itma.models.provenance import REPORTS, read_provenance
from itma.models.retriever import Retriever, RetrieverConfig
from itma.models.towers import UNTRAINED, holds_towers, read_towers


def card(
    run: str | Path,
    *,
    which: str = "best",
    repo_id: str | None = None,
    license: str | None = None,
    out: str | Path | None = None,
) -> str:
    """The model card of a run: what the model is, how it was made, what was measured on it, how to use it.

    Args:
        run: a run folder, or one that `pull` made.
        which: `best` or `last` checkpoint.
        repo_id: where the model is or will be on the hub, for the examples.
        license: what is allowed with the weights, e.g. `apache-2.0`; None: the card says nothing of it.
        out: a file to write it to as well.

    Returns:
        The card, as Markdown with a head of YAML.

    Raises:
        RunError: the run is missing or damaged.
        StorageError: the file cannot be written.
    """
    model, weights = Retriever.load(run, which=which), weights_sum(run, which)
    text = model_card(model, weights, read_provenance(run, weights), repo_id=repo_id, license=license)
    if out is not None:
        write_text(out, text)
    return text


def pack(
    run: str | Path,
    folder: str | Path,
    *,
    which: str = "best",
    half: bool = False,
    license: str | None = None,
    changes: Mapping[str, str] | None = None,
    average: str | Path | None = None,
    share: float = 0.5,
) -> Path:
    """A model in a folder to hand on: weights, card and settings, without what only training needs.

    Args:
        run: a run folder, or one that `pull` made.
        folder: must not exist yet; every stage takes it as a run folder.
        which: `best` or `last` checkpoint.
        half: write weights as float16, in half the space. They are rounded, so that the run's reports do not count for
            them: measure the folder and write its card anew.
        license: what is allowed with the weights, e.g. `apache-2.0`; None: the card says nothing of it.
        changes: options of the sum by which CLIP or SigLIP answers untrained, by name, e.g.
            `{"model.options.text_weight": "0.7"}`; of a trained model nothing can be changed.
        average: a model that the run began with, or that learned from the same one: the weights are averaged with its
            weights, see `Retriever.average`. The run's reports do not count for them.
        share: of that model in the average, from 0 to 1.

    Returns:
        The folder.

    Raises:
        RunError: the run is missing or damaged.
        ConfigError: an option that does not exist, a trained model whose options were to be changed, or a model that
            the run is not related to.
        StorageError: the folder exists or cannot be written to.
    """
    model = _open_weighted(run, changes) if changes else Retriever.load(run, which=which)
    averaged = None
    if average is not None:
        model.average(Retriever.load(average), share)
        averaged = Averaged(weights_sum(run, which), weights_sum(average), share)
    with new_folder(folder) as draft:
        model.save(draft, half=half)
        write_card(model, draft, run=run, license=license, rounded=half, averaged=averaged)
    return Path(folder)


def _open_weighted(run: str | Path, changes: Mapping[str, str]) -> Retriever:
    """CLIP or SigLIP as it answers untrained, with other options of the sum."""
    folder = checkpoint_folder(run)
    other = [name for name in changes if not name.startswith("model.options.")]
    if other or not holds_towers(folder):
        raise ConfigError(
            f"{(other or list(changes))[0]!r} cannot be changed in {str(run)!r}: only CLIP and SigLIP as they "
            "came have settings that need no training, model.options.image_weight and model.options.text_weight"
        )
    towers = read_towers(folder)
    start = RetrieverConfig(UNTRAINED, **towers.shape)
    options = {name.removeprefix("model."): value for name, value in changes.items()}
    return Retriever.over(towers, change(start, options))


def pull(
    repo_id: str,
    folder: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    progress: bool = False,
) -> Path:
    """Download a model from the Hugging Face Hub into a folder that every stage takes as a run folder.

    Args:
        repo_id: `ORG/NAME`.
        folder: must not exist yet.
        revision, cache_dir, token, local_files_only, progress: see `Retriever.from_pretrained`.

    Returns:
        The folder.

    Raises:
        HubError: there is no such model, it is not open to this person, or the hub cannot be reached.
        RunError: a file is damaged or of a newer format.
        StorageError: the folder exists or cannot be written to.
    """
    source = hub.download(
        repo_id,
        FILES,
        (CARD, RUN, REPORTS),
        revision=revision,
        cache_dir=cache_dir,
        token=token,
        local_files_only=local_files_only,
        progress=progress,
    )
    reports = (path.relative_to(source) for path in source.glob(REPORTS.replace("/", "/**/")))
    names: list[str | Path] = [*FILES, CARD, RUN, *reports]
    with new_folder(folder) as draft:
        for name in names:
            if (source / name).is_file():
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, draft / name)
        Retriever.load(draft)
    return Path(folder)


def save_pretrained(
    model: Retriever,
    folder: str | Path,
    *,
    run: str | Path | None = None,
    repo_id: str | None = None,
    license: str | None = None,
    half: bool = False,
) -> None:
    """As `Retriever.save`, with a model card and, from `run`, the settings and reports that the card is written from.

    Paths of this machine are cut to their last part in what comes from `run`.

    Args:
        model: the model.
        folder: where to; every command takes it as a run folder.
        run: the run folder that the model was loaded from; None: the card says that nothing is known of it.
        repo_id: where the model will be on the hub, for the card's examples.
        license: what is allowed with the weights, e.g. `apache-2.0`; None: the card says nothing of it.
        half: see `Retriever.save`. Reports of the run are left out then, since they measured other weights.

    Raises:
        RunError: `run` is of another model or damaged, or `folder` holds a run, which stays untouched.
        StorageError: the disk is full or the folder cannot be written to.
    """
    folder = Path(folder)
    if (folder / POINTER).exists():
        raise RunError(f"{str(folder)!r} holds a run, which would be written over; choose another folder")
    model.save(folder, half=half)
    write_card(model, folder, run=run, repo_id=repo_id, license=license, rounded=half)


def push_to_hub(
    model: Retriever,
    repo_id: str,
    *,
    run: str | Path | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
    license: str | None = None,
    progress: bool = False,
) -> str:
    """Upload what `save_pretrained` writes to the Hugging Face Hub, into a repository that is made if need be.

    The other arguments mean what they mean in `huggingface_hub`.

    Args:
        model: the model.
        repo_id: `ORG/NAME`, or `NAME` for a repository of one's own.
        run: the run folder that the model was loaded from; see `save_pretrained`.
        private: whether only its owners see it; no effect on a repository that is there already.
        token: None: the one of `hf auth login` or `HF_TOKEN`.
        revision: the branch, which is made if need be; None: `main`.
        commit_message: None: `Upload <composer> with itma`.
        create_pr: open a pull request instead.
        license: see `save_pretrained`.
        progress: show progress bars.

    Returns:
        The address of the commit or of the pull request.

    Raises:
        HubError: the hub cannot be reached or does not take it.
        RunError: `run` is of another model, or damaged.
    """
    repo_id = hub.create(repo_id, private=private, token=token)
    with TemporaryDirectory(prefix="itma-") as folder:
        save_pretrained(model, folder, run=run, repo_id=repo_id, license=license)
        return hub.upload(
            Path(folder),
            repo_id,
            token=token,
            revision=revision,
            commit_message=commit_message or f"Upload {model.name} with itma",
            create_pr=create_pr,
            replaced=REPORTS,
            progress=progress,
        )
