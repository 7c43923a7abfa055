"""What a hub says there is: revisions with their commits, files with their sizes and hashes, checked before anybody uses them.

Idea: commits and names become paths here and parts of messages, so that each is looked at once, where it comes in. A commit is 40
hexadecimal digits; a name has no part that leads elsewhere and no character that cannot be seen. One that is different makes the
whole answer unusable: a hub that lies once is not asked what else it has.
Cost: one request each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pliant.errors import PliantError, brief
from pliant.models.hub_client import Answer, Site, listing

COMMIT = re.compile(r"[0-9a-f]{40}")
MOST_ENTRIES = 100_000
"""Files of a revision, or branches and tags, beyond which a list is not believed."""
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """One file as it was announced: its bytes, and hashes of its content (SHA-256, or a SHA-1 as git takes it)."""

    name: str
    size: int | None = None
    hashes: frozenset[str] = frozenset()

    def also(self, size: int | None, hashes: Iterable[str], where: str) -> File:
        """With what was announced elsewhere. Raises PliantError when the sizes differ."""
        if None not in (size, self.size) and size != self.size:
            raise PliantError(f"{where}: the hub announces {self.size:,} bytes of {self.name!r} and then {size:,}")
        return File(self.name, self.size if size is None else size, self.hashes.union(hashes))

    def announced_by(self, answer: Answer) -> File:
        """With what the headers of an answer to a request for this file say."""
        told, final = answer.announced, answer.headers
        etag = told.get("x-linked-etag", told.get("etag", "")).removeprefix("W/").strip('"').lower()
        file = self.also(_size(told.get("x-linked-size")), {etag} if _HASH.fullmatch(etag) else (), answer.where)
        if answer.status == 206:
            return file.also(_size(final.get("content-range", "").rpartition("/")[2]), (), answer.where)
        return file.also(_size(final.get("content-length")), (), answer.where)


def _size(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text) else None


def checked_commit(commit: Any, where: str) -> str:
    """`commit`, which is 40 hexadecimal digits. Raises PliantError when it is not."""
    if not isinstance(commit, str) or COMMIT.fullmatch(commit) is None:
        raise PliantError(f"{where}: {brief(str(commit))!r} is no commit (40 hexadecimal digits), so nothing of this hub is used")
    return commit


def checked_name(name: Any, where: str) -> str:
    """`name`, a relative path of visible characters that stays below where it begins. Raises PliantError when it is not."""
    if not isinstance(name, str) or len(name) > 500 or not name.isprintable() or "\\" in name or {"", ".", ".."} & set(name.split("/")):
        raise PliantError(f"{where}: {brief(str(name))!r} is no name of a file or branch, so nothing of this hub is used")
    return name


def list_revisions(hub: str, site: Site) -> dict[str, str]:
    """Branch or tag -> commit. Raises PliantError when the hub or the repository cannot be had, or what it says cannot be."""
    refs = _object(listing(site, f"/api/models/{repository(hub)}/refs", hub), hub)
    found = [_object(ref, hub) for kind in ("tags", "branches") for ref in _entries(refs.get(kind), hub)]
    return {
        checked_name(ref.get("name"), hub): checked_commit(ref.get("targetCommit"), f"{hub}@{brief(str(ref['name']))}") for ref in found
    }


def list_files(hub: str, revision: str, site: Site) -> tuple[str, dict[str, File]]:
    """The commit of a revision, and its files by name. Raises PliantError as `list_revisions` does."""
    where = f"{hub}@{revision}"
    told = _object(listing(site, f"/api/models/{repository(hub)}/revision/{quote(revision, safe='')}?blobs=true", where), where)
    commit = checked_commit(told.get("sha"), where)
    if COMMIT.fullmatch(revision) and commit != revision:
        raise PliantError(f"{where}: the hub answers with another commit, {commit}")
    files = (_file(_object(entry, where), where) for entry in _entries(told.get("siblings"), where))
    return commit, {file.name: file for file in files}


def repository(hub: str) -> str:
    """`hub` as part of an address. Raises PliantError when it cannot be the name of a repository."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(hub)
    except HFValidationError as error:
        raise PliantError(f"{brief(hub)}: not a hub name ({brief(str(error))})") from None
    return hub


def _file(entry: dict[str, Any], where: str) -> File:
    name = checked_name(entry.get("rfilename"), where)
    large = entry.get("lfs")  # then the blob is only a note of where the content is
    size, content = (large.get("size"), large.get("sha256")) if isinstance(large, dict) else (entry.get("size"), entry.get("blobId"))
    if size is not None and (type(size) is not int or size < 0):
        raise PliantError(f"{where}: the hub announces no possible size of {name!r}")
    if content is not None and not (isinstance(content, str) and _HASH.fullmatch(content)):
        raise PliantError(f"{where}: the hub announces no possible hash of {name!r}")
    return File(name, size, frozenset({content} if content else ()))


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PliantError(f"{where}: what answers there is no hub; check `endpoint` or $HF_ENDPOINT")
    return value


def _entries(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise PliantError(f"{where}: what answers there is no hub; check `endpoint` or $HF_ENDPOINT")
    if len(value) > MOST_ENTRIES:
        raise PliantError(f"{where}: the hub lists {len(value):,} entries, more than the {MOST_ENTRIES:,} that are read")
    return value
