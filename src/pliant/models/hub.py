"""A ladder of hub revisions: the branches in which a published model keeps its training history.

Idea: download, measure, delete. While one checkpoint is measured the next one is fetched, and each is deleted when its turn is
over, so a series of any length needs the disk of two.
When to use: released series (Pythia, OLMo, ...). For one revision that will be used again, `keep: true` leaves it in the hub's
own cache.
Cost: one request for the list of revisions, then the weights of each rung once each time it is opened.
What goes wrong: intermediate checkpoints of such series are not annealed, so that tokens and final learning rate go together
(arXiv 2503.19206); the records leave the learning rate empty unless `pliant.json` in the repository tells it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from pliant.data.patterns import matching
from pliant.errors import PliantError
from pliant.models import hub_store
from pliant.models.checkpoint import Checkpoint
from pliant.models.hub_client import Site, Unreachable
from pliant.models.hub_files import cached_commit, cached_snapshot
from pliant.models.hub_listing import COMMIT, list_revisions
from pliant.models.ladder import Stored
from pliant.models.revisions import parse, tokens_of
from pliant.spec import nearest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.models.model import Model


class HubLadder(Stored):
    """Revisions of one hub repository. Short form: `NAME@REVISIONS`, such as `EleutherAI/pythia-70m@step*`."""

    key: ClassVar[str] = "hub"

    hub: str = Field(description="Name of the repository, such as EleutherAI/pythia-70m")
    revisions: tuple[str, ...] = Field(
        default=("main",), description="Branches, tags or commits; * and ? stand for parts of names", min_length=1
    )
    keep: bool = Field(default=False, description="Leave the downloads in the hub's own cache instead of deleting each after its turn")
    endpoint: str | None = Field(default=None, description="Address of the hub, where it is not the public one or $HF_ENDPOINT")
    token: bool = Field(
        default=False, description="Send your hub token to `endpoint`; otherwise only the public hub and $HF_ENDPOINT get it"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, form: Any) -> Any:
        if isinstance(form, str):
            hub, _, revision = form.partition("@")
            form = {"hub": hub, "revisions": revision or "main"}
        return {**form, "revisions": [form["revisions"]]} if isinstance(form, dict) and isinstance(form.get("revisions"), str) else form

    @classmethod
    def takes(cls, form: Any) -> bool:
        """Also `NAME@REVISIONS`, unless that lies here as a folder or looks like the path of one."""
        named = isinstance(form, str) and "@" in form and not form.startswith(("/", ".", "~")) and not matching(form)
        return named or super().takes(form)

    @property
    def one_at_a_time(self) -> bool:
        """Unless everything that is downloaded is kept."""
        return not self.keep

    def rungs(self, seed: int = 0, folder: Path | None = None) -> list[HubRung]:
        """Every revision in the order of its axis. One that is missing is reported when it is opened.

        Raises PliantError when the hub cannot be reached, a pattern matches nothing, or a name tells neither tokens nor steps.
        """
        commits = self._commits()
        names = self._matches(list(commits))
        known = [self._facts(name, tokens) for name, tokens in self._tokens(names, list(commits)).items()]
        known = [checkpoint for _, checkpoint in sorted(zip(self.place(known), known, strict=True), key=lambda placed: placed[0])]
        sources = [self._source(str(checkpoint.revision), commits) for checkpoint in known]
        following = [*sources[1:], None]
        if not self.keep:
            hub_store.tidy_at_exit(self.hub, self.endpoint)
        return [HubRung(self, *facts) for facts in zip(known, sources, following, strict=True)]

    def _commits(self) -> dict[str, str]:
        """Every revision with its commit; those in the cache where the hub cannot be reached and downloads are kept."""
        try:
            return list_revisions(self.hub, Site(self.endpoint, self.token))
        except Unreachable:
            cached = {name: cached_commit(self.hub, name, self.endpoint) for name in self.revisions} if self.keep else {}
            found = {name: commit for name, commit in cached.items() if commit is not None}
            if not found:
                raise
            return found

    def _matches(self, present: list[str]) -> list[str]:
        names: list[str] = []
        for pattern in self.revisions:
            found = [name for name in present if fnmatchcase(name, pattern)] if re.search(r"[*?\[]", pattern) else [pattern]
            if not found:
                raise PliantError(f"{self.hub}: no revision matches {pattern!r}; {nearest(pattern, present[:12])}")
            names += found
        return list(dict.fromkeys(names))

    def _tokens(self, names: list[str], present: list[str]) -> dict[str, int | None]:
        """In increasing order. They may stay unknown where nobody says them and every name tells its step, or there is but one."""
        try:
            return {**tokens_of(names, hub=self.hub, batch_tokens=self.batch_tokens, token_map=self.tokens, all_names=present)}
        except PliantError as error:
            told = self.tokens or self.batch_tokens
            steps_tell = not told and None not in map(_steps, names)
            if steps_tell or (len(names) == 1 and not self.tokens):
                return dict.fromkeys(names)
            raise error.within(self.hub) from None

    def _source(self, name: str, commits: dict[str, str]) -> hub_store.Source | None:
        commit = commits.get(name, name if COMMIT.fullmatch(name) else None)
        return hub_store.Source(self.hub, commit, self.endpoint, self.trust_remote_code, self.token) if commit is not None else None

    def _facts(self, name: str, tokens: int | None) -> Checkpoint:
        revision = parse(name)
        stage = f"stage{revision.stage}" if revision is not None and revision.stage is not None else None
        seed = (revision.seed if revision is not None else None) or ""
        seed = int(seed) if re.fullmatch(r"[0-9]{1,9}", seed) else None
        return Checkpoint(name=self.hub, revision=name, tokens=tokens, steps=_steps(name), phase=stage, seed=seed)


def _steps(name: str) -> int | None:
    revision = parse(name)
    return revision.steps if revision is not None else None


@dataclass(frozen=True)
class HubRung:
    """One revision; `source` is None where the repository has no such revision, `ahead` is what is fetched meanwhile."""

    ladder: HubLadder
    checkpoint: Checkpoint
    source: hub_store.Source | None
    ahead: hub_store.Source | None
    damage: ClassVar[None] = None
    cost: float = 0.0

    @property
    def identity(self) -> str:
        """Of the commit. Raises PliantError when there is no such revision."""
        return self.ladder.identity_of(self._found().commit)

    def outline(self) -> PreTrainedModel | None:
        """The network without numbers, where its configuration has been fetched."""
        from pliant.models.outline import folder_outline

        return folder_outline(self.source.folder) if self.source is not None else None

    def _found(self) -> hub_store.Source:
        if self.source is None:
            raise PliantError(f"{self.checkpoint.address}: the repository has no such revision")
        return self.source

    @contextlib.contextmanager
    def open(self) -> Generator[Model]:
        """The loaded model; its files are deleted when the block ends.

        Raises PliantError when the revision is missing, the hub stops answering, or as `load` does.
        """
        source = self._found()
        if self.ladder.keep:
            folder = cached_snapshot(
                source.hub,
                self.checkpoint.revision,
                commit=source.commit,
                code=source.code,
                endpoint=source.endpoint,
                token=source.token,
            )
            yield self._load(folder)
            return
        held = hub_store.hold(source)
        try:
            model = self._load(source.folder)
            if self.ahead is not None:
                hub_store.fetch_ahead(self.ahead)
            yield model
        finally:
            held.release()

    def _load(self, folder: Path) -> Model:
        from pliant.models.load import load_folder

        try:
            return load_folder(folder, self.checkpoint, **self.ladder.loading())
        except PliantError as error:
            raise error.within(self.checkpoint.address) from error
