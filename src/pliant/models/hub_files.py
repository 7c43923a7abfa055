"""Which files of a hub repository are fetched, how, and what is said when that fails.

Idea: huggingface-hub's own client does the talking (its settings hold: HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN); this adds the choice
of files (one set of safetensors, configuration, tokenizer; never pickles or other frameworks' weights), patience with a
network that breaks off, and one line for each thing that can go wrong.
Cost: three small requests a revision, then the files. A download that breaks off goes on where it stopped; one whose process
was killed keeps the files that were complete.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Event
from typing import Any

from pliant.errors import PliantError
from pliant.files import disk_errors
from pliant.models.checkpoint import FACTS_FILE
from pliant.models.weight_files import INDEX, SINGLE, TOKENIZER_FILES, why_no_weights

_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
LISTING_TIMEOUT = 10.0
"""Seconds that the hub may take to answer a small request. It is asked once: patience belongs to downloads."""


class Cancelled(Exception):
    """A download that nobody waits for any more."""


class Unreachable(PliantError):
    """The hub did not answer, which may pass."""


class SwitchedOff(Unreachable):
    """The user keeps this process off the hub."""


def chosen_files(names: Iterable[str], address: str, *, gguf_file: str | None = None, code: bool = False) -> list[str]:
    """Those of a repository's files that make up one model.

    Args:
        names: Every file of the revision.
        address: For the message.
        gguf_file: Take the weights from this file.
        code: Take modelling code too.

    Raises PliantError when there are no weights that can be loaded safely.
    """
    present = {name for name in names if "/" not in name or name == gguf_file}
    patterns = ("config.json", "generation_config.json", FACTS_FILE, *TOKENIZER_FILES, *(("*.py",) if code else ()))
    chosen = {name for name in present for pattern in patterns if fnmatchcase(name, pattern)}
    if gguf_file is not None:
        weights = {gguf_file} & present
        problem = f"no file {gguf_file!r} in it"
    else:
        weights = {SINGLE} & present or {name for name in present if name == INDEX or _SHARD.fullmatch(name)}
        problem = why_no_weights(present)
    if not weights:
        raise PliantError(f"{address}: {problem}")
    return sorted(chosen | weights)


def list_revisions(hub: str, endpoint: str | None = None) -> dict[str, str]:
    """Branch or tag -> commit. Raises PliantError when the hub or the repository cannot be had."""
    from huggingface_hub import HfApi

    with hub_errors(hub, endpoint):
        refs = HfApi(endpoint=endpoint).list_repo_refs(hub)
        return {ref.name: ref.target_commit for ref in [*refs.tags, *refs.branches]}


def list_files(hub: str, commit: str, endpoint: str | None = None) -> list[str]:
    """Every file of one commit. Raises PliantError when the hub or the commit cannot be had."""
    with hub_errors(f"{hub}@{commit}", endpoint):
        return _files(hub, commit, endpoint)


def _files(hub: str, revision: str, endpoint: str | None) -> list[str]:
    """Every file of a revision, in one request; the client's own listing of files asks for half a minute where nobody answers."""
    from huggingface_hub import HfApi

    found = HfApi(endpoint=endpoint).model_info(hub, revision=revision, timeout=LISTING_TIMEOUT)
    return [file.rfilename for file in found.siblings or ()]


def fetch(hub: str, commit: str, names: Sequence[str], folder: Path, endpoint: str | None = None, cancelled: Event | None = None) -> None:
    """Download files of one commit into `folder`; those that are complete there already are not fetched again.

    Raises Unreachable when the hub stops answering, PliantError when it refuses or the disk is full, and Cancelled soon
    after `cancelled` is set.
    """
    from huggingface_hub import hf_hub_download

    meter: Any = _meter(cancelled or Event())
    for name in names:
        with hub_errors(f"{hub}@{commit}", endpoint), disk_errors(folder):
            hf_hub_download(hub, name, revision=commit, local_dir=folder, endpoint=endpoint, tqdm_class=meter)


def _meter(cancelled: Event) -> type:
    """A progress bar that shows nothing and breaks the download off once `cancelled` is set."""
    from tqdm import tqdm

    class Meter(tqdm):  # pyright: ignore[reportMissingTypeArgument, reportUntypedBaseClass]
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            settings.pop("name", None)  # huggingface-hub's own bars have a name
            super().__init__(*arguments, **{**settings, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            if cancelled.is_set():
                raise Cancelled
            return super().update(n)

    return Meter


def cached_snapshot(
    hub: str, revision: str | None, *, gguf_file: str | None = None, code: bool = False, endpoint: str | None = None
) -> Path:
    """The folder of a revision in the hub's own cache, downloaded where it is missing; without a connection, what is cached.

    Raises PliantError when it can be had neither from the hub nor from the cache.
    """
    from huggingface_hub import snapshot_download

    address = hub if revision is None else f"{hub}@{revision}"
    try:
        with hub_errors(address, endpoint):
            names = chosen_files(_files(hub, revision or "main", endpoint), address, gguf_file=gguf_file, code=code)
            return Path(snapshot_download(hub, revision=revision, allow_patterns=names, endpoint=endpoint))
    except Unreachable as error:
        cached = _in_cache(hub, revision, gguf_file or "config.json")
        if cached is None:
            reason = str(error).removeprefix(f"{address}: ")
            raise PliantError(f"{address}: not a folder here, and {reason}") from error
        return cached


def cached_commit(hub: str, revision: str) -> str | None:
    """The commit of a revision in the hub's own cache, if it is there."""
    cached = _in_cache(hub, revision, "config.json")
    return cached.name if cached is not None else None


def _in_cache(hub: str, revision: str | None, file: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    with hub_errors(hub, None):
        found = try_to_load_from_cache(hub, file, revision=revision)
    return Path(found).parent if isinstance(found, str) else None


@contextlib.contextmanager
def hub_errors(address: str, endpoint: str | None) -> Generator[None]:
    """Turns the client's many exceptions into one line about `address`."""
    from huggingface_hub import constants, errors

    site = endpoint or constants.ENDPOINT
    try:
        yield
    except (PliantError, Cancelled):
        raise
    except errors.OfflineModeIsEnabled:
        raise SwitchedOff(f"{address}: the hub is switched off (HF_HUB_OFFLINE is set) and it is not in the cache") from None
    except errors.GatedRepoError:
        raise PliantError(f"{address}: access must be asked for on its page at {site}, then log in with `hf auth login`") from None
    except errors.RevisionNotFoundError:
        raise PliantError(f"{address}: the repository has no such revision") from None
    except errors.RepositoryNotFoundError:
        raise PliantError(f"{address}: no such repository at {site} (or it is private: log in with `hf auth login`)") from None
    except errors.HFValidationError as error:
        raise PliantError(f"{address}: not a hub name ({str(error).splitlines()[0]})") from None
    except errors.RemoteEntryNotFoundError as error:
        raise PliantError(f"{address}: a file vanished from the repository ({str(error).splitlines()[-1]})") from None
    except errors.HfHubHTTPError as error:
        raise Unreachable(f"{address}: the hub at {site} answered {error.response.status_code}") from error
    except OSError as error:
        if error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
            raise  # the disk's complaint
        raise Unreachable(f"{address}: the download from {site} broke off or the hub cannot be reached ({_reason(error)})") from error
    except Exception as error:  # whatever the HTTP library calls a lost connection
        raise Unreachable(f"{address}: the hub at {site} cannot be reached ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    root = error.__cause__ or error
    return f"{type(root).__name__}: {(str(root).splitlines() or [''])[0][:120]}".rstrip(": ")
