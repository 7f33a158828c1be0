"""The Hugging Face Hub: a folder goes up, files come down, and what can go wrong becomes one `HubError`.

`huggingface_hub` is imported when it is used; it costs a tenth of a second.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from itma.errors import HubError
from itma.models.hub_names import find_cached_folder, weights_files

_SMALL = ("*.json", "*.txt", "*.model")
"""Everything of a model but its weights: settings, tokenizer, sums."""


def create(repo_id: str, *, private: bool | None, token: str | bool | None) -> str:
    """Make a repository, unless it is there already.

    Args:
        repo_id: `ORG/NAME`, or `NAME` for one of the person's own.
        private: whether only its owners see it; None: as the organisation has it. No effect where it is there.
        token: see `itma.hub.sharing.push_to_hub`.

    Returns:
        Its whole name.

    Raises:
        HubError: it cannot be made, for example because this person may not.
    """
    with _translate_errors(repo_id, writing=True):
        from huggingface_hub import HfApi

        return str(HfApi(token=token).create_repo(repo_id, private=private, exist_ok=True).repo_id)


def upload(
    folder: Path,
    repo_id: str,
    *,
    token: str | bool | None,
    revision: str | None,
    create_pr: bool,
    replaced: str,
    progress: bool,
    **options: Any,
) -> str:
    """Put all files of a folder into a repository.

    Args:
        folder: the files.
        repo_id: `ORG/NAME`, which is there.
        token, revision, create_pr: see `itma.hub.sharing.push_to_hub`, as for the option `commit_message`.
        replaced: pattern of files there that go, such as reports on earlier weights.
        progress: show the hub's progress bars.

    Returns:
        The address of the commit, or of the pull request.

    Raises:
        HubError: it cannot be uploaded.
    """
    with _translate_errors(repo_id, revision, writing=True), _bars(progress):
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        if revision is not None and not create_pr and not revision.startswith("refs/"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            revision=revision,
            create_pr=create_pr,
            delete_patterns=replaced,
            **options,
        )
        return str(commit.pr_url or commit.commit_url)


def download(
    repo_id: str,
    needed: Sequence[str],
    also: Sequence[str] = (),
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    progress: bool = False,
    **options: Any,
) -> Path:
    """Bring files of a repository into the hub's cache; those that are there already are not fetched again.

    Args:
        repo_id: `ORG/NAME`.
        needed: which files.
        also: patterns of files to fetch where there are any.
        revision, local_files_only: see `Retriever.from_pretrained`, as for the options `cache_dir` and `token`.
        progress: show the hub's progress bars.

    Returns:
        The folder that holds them; other files of the repository may lie in it too.

    Raises:
        HubError: there is no such repository or revision, it lacks a file or is not open to this person, or the hub
            cannot be reached and the files are not in the cache.
    """
    options |= {"revision": revision, "local_files_only": local_files_only}
    with _translate_errors(repo_id, revision, local=local_files_only), _bars(progress):
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(repo_id, allow_patterns=[*needed, *also], **options))
    lacking = [name for name in needed if not (folder / name).is_file()]
    if not all(_fetch_file(repo_id, name, **options) for name in lacking):  # the hub must say so
        raise HubError(
            f"{repo_id!r}{_at(revision)} holds no model of itma: it lacks {', '.join(lacking)}; expected what itma "
            "push leaves there"
        )
    return folder


def fetch_network(name: str, also: Sequence[str] = ()) -> Path:
    """The folder of a network on the hub, in the hub's cache; what is there already is not asked for.

    Args:
        name: `ORG/NAME`.
        also: files of which one is needed besides, if the hub has any.

    Raises:
        HubError: it is not to be had; the message says why.
    """
    folder = find_cached_folder(name)
    if folder is None:
        folder = download(name, ("config.json",), _SMALL)
        for weights in ("model*.safetensors", "pytorch_model*.bin"):  # both are the same where both are there
            if not weights_files(folder):
                folder = download(name, ("config.json",), (weights,))
        if not weights_files(folder):  # without a network, the hub's library is content with what there is
            _fetch_file(name, "model.safetensors")
    if also and not any((folder / file).is_file() for file in also):
        for file in also:
            _fetch_file(name, file)
    return folder


def _fetch_file(name: str, file: str, **options: Any) -> bool:
    """Whether the hub has a file of a model, which is in its cache then.

    Raises:
        HubError: the hub was not reached, and the file is not in its cache on this machine.
    """
    from huggingface_hub import errors, hf_hub_download

    with _translate_errors(name, options.get("revision"), local=options.get("local_files_only", False)):
        try:
            hf_hub_download(name, file, **options)
        except errors.LocalEntryNotFoundError:
            raise
        except errors.EntryNotFoundError:
            return False
        return True


@contextmanager
def _translate_errors(
    repo_id: str, revision: str | None = None, *, writing: bool = False, local: bool = False
) -> Iterator[None]:
    """Turn what `huggingface_hub` raises into a `HubError` that names the repository and says what to do."""
    from huggingface_hub import constants, errors

    unanswered: type[BaseException] = errors.HfHubHTTPError.__bases__[0]  # the root of httpx, or of what follows it
    where = f"{constants.ENDPOINT}/{repo_id}"
    login = "log in with: hf auth login (or set HF_TOKEN)"
    try:
        yield
    except errors.HFValidationError as error:
        raise HubError(f"{repo_id!r} is not a name on the hub; expected ORG/NAME. {error}") from error
    except errors.LocalTokenNotFoundError as error:
        raise HubError(f"{repo_id!r} was asked for with a token, but there is none here; {login}") from error
    except errors.GatedRepoError as error:
        raise HubError(f"access to {repo_id!r} is restricted; ask for it at {where}, then {login}") from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            f"there is no model {repo_id!r} on the hub, or it is private and not open to you; check the name at {where}"
            f", and if it is private, {login}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(
            f"the model {repo_id!r} has no revision {revision or constants.DEFAULT_REVISION!r}; its branches and tags "
            f"are at {where}/tree/main"
        ) from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        if local or constants.is_offline_mode():
            switch = "local_files_only" if local else "HF_HUB_OFFLINE"
            what = "cannot be uploaded" if writing else "is not in the hub's cache on this machine"
            raise HubError(
                f"{repo_id!r}{_at(revision)} {what}, and {switch} keeps the network closed; try again without it"
            ) from error
        raise _unreachable_error(repo_id, writing, error) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            deed = "write to" if writing else "read"
            raise HubError(f"you may not {deed} {repo_id!r}; {login}, with a token that allows it") from error
        raise HubError(
            f"the hub answered {status} for {repo_id!r}; try again later. {error.server_message or ''}".rstrip()
        ) from error
    except unanswered as error:
        raise _unreachable_error(repo_id, writing, error) from error
    except OSError as error:
        raise HubError(f"{repo_id!r} could not be {'sent' if writing else 'stored'}: {error}") from error
    except ValueError as error:  # settings that contradict one another, or a card that the hub does not take
        raise HubError(f"the hub does not take {repo_id!r}: {error}") from error


def _unreachable_error(repo_id: str, writing: bool, error: BaseException) -> HubError:
    from huggingface_hub import constants

    while error.__cause__ is not None:
        error = error.__cause__
    otherwise = "" if writing else ", and it is not in the hub's cache on this machine"
    return HubError(
        f"{constants.ENDPOINT} cannot be reached for {repo_id!r}{otherwise}; check the network and try again "
        f"({type(error).__name__}: {error})"
    )


def _at(revision: str | None) -> str:
    return "" if revision is None else f" at {revision!r}"


@contextmanager
def _bars(show: bool) -> Iterator[None]:
    """The hub's progress bars, switched off unless they are wanted, and back to what they were."""
    from huggingface_hub.constants import HF_HUB_DISABLE_PROGRESS_BARS
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if show or are_progress_bars_disabled() or HF_HUB_DISABLE_PROGRESS_BARS is False:  # by the environment, for good
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
