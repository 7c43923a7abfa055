"""A ladder of local folders: `./run/checkpoint-*` of the transformers Trainer, any `from_pretrained` folders, PEFT's adapters.

Idea: facts come from what lies beside the weights (`pliant.json`, `trainer_state.json`), then from the folder's name, read
like a hub revision; what the user states wins over both.
Cost: listing reads headers only; `identity` reads every weight once (one to two gigabytes a second).
What goes wrong: a Trainer folder written without `include_num_input_tokens_seen` knows no tokens: such a run is ordered by its
steps; give `batch_tokens` for tokens. Sharded
training leaves folders that hold no weights anybody can load: they are left out by name, with what to do about them.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from pliant.data.content import contents
from pliant.data.patterns import is_pattern, matching
from pliant.errors import PliantError
from pliant.files import expanded
from pliant.models.adapters import CONFIG, WEIGHTS, base_of, is_adapter
from pliant.models.checkpoint import Checkpoint
from pliant.models.gguf import gguf_parameters
from pliant.models.ladder import Stored
from pliant.models.revisions import parse, tokens_of
from pliant.models.trainer_state import facts_beside
from pliant.models.weight_files import INDEX, SINGLE, content_hash, stored_parameters, weight_files, why_no_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.models.model import Model


UNFINISHED = "tmp-checkpoint-"
"""How the Trainer calls a folder until all of it is written."""


class FolderLadder(Stored):
    """Checkpoints in local folders. Short forms: one path or pattern, or a list of them."""

    key: ClassVar[str] = "folders"

    folders: tuple[str, ...] = Field(
        description="Checkpoints, folders of them, .gguf files; * and ? stand for parts of names", min_length=1
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, form: Any) -> Any:
        form = {"folders": form} if isinstance(form, str | list) else form
        return {**form, "folders": [form["folders"]]} if isinstance(form, dict) and isinstance(form.get("folders"), str) else form

    @classmethod
    def takes(cls, form: Any) -> bool:
        """Also one path or pattern, and a list of them."""
        return isinstance(form, str | list) or super().takes(form)

    def rungs(self, seed: int = 0, folder: Path | None = None) -> list[FolderRung]:
        """Every folder in the order of its axis; those whose place on it is unknown come last, in the order of their names.

        Raises PliantError when a path does not exist or a pattern matches no checkpoint.
        """
        paths, skipped = self._found()
        self._check_token_map([*paths, *skipped])
        rungs = [self._rung(path) for path in paths]
        places = self.place([rung.checkpoint for rung in rungs])
        ordered = sorted(zip(places, rungs, strict=True), key=lambda placed: (placed[0], _natural(placed[1].path)))
        return [rung for _, rung in ordered]

    def skipped(self) -> dict[str, str]:
        """The folders that are matched but hold no checkpoint: why, and what to do, by their path."""
        return {str(path): reason for path, reason in self._found()[1].items()}

    def _found(self) -> tuple[list[Path], dict[Path, str]]:
        """The checkpoints, and the folders beside them that are none with the reason."""
        paths: list[Path] = []
        skipped: dict[Path, str] = {}
        for pattern in self.folders:
            chosen, others = _matches(pattern)
            paths += chosen
            skipped |= others
        return list(dict.fromkeys(paths)), {path: reason for path, reason in skipped.items() if path not in paths}

    def _check_token_map(self, paths: list[Path]) -> None:
        unknown = sorted(set(self.tokens or ()) - {path.name for path in paths})
        if unknown:
            raise PliantError(f"tokens: {unknown[0]!r} is none of the folders ({', '.join(sorted(path.name for path in paths)[:4])})")

    def _rung(self, path: Path) -> FolderRung:
        """What is known without loading. A folder that cannot be read is reported when it is opened."""
        facts, damage = facts_beside(path, self.batch_tokens) if path.is_dir() else ({}, None)
        with contextlib.suppress(PliantError):
            facts["params"] = gguf_parameters(path) if path.is_file() else stored_parameters(weight_files(_network_of(path)))
        told = (self.tokens or {}).get(path.name)
        known = {**self._facts_in_name(path.name), **facts, "name": str(path), "revision": None}
        checkpoint = Checkpoint.parse(known if told is None else known | {"tokens": told}, str(path))
        return FolderRung(self, str(path), checkpoint, damage)

    def _facts_in_name(self, name: str) -> dict[str, int]:
        """From names such as `step1000-tokens4B` and `checkpoint-500`: steps, and tokens where the name or the batch tells them."""
        revision = parse(name.removeprefix("checkpoint-"))
        if revision is None:
            return {}
        facts = {} if revision.steps is None else {"steps": revision.steps}
        with contextlib.suppress(PliantError):
            facts |= {"tokens": tokens_of([revision.name], batch_tokens=self.batch_tokens)[revision.name]}
        return facts


@dataclass(frozen=True)
class FolderRung:
    """One local folder or GGUF file."""

    ladder: FolderLadder
    path: str
    checkpoint: Checkpoint
    damage: str | None = None
    """What lies beside the weights and cannot be read, though the weights can."""
    cost: float = 0.0

    @property
    def identity(self) -> str:
        """Of the bytes in the folder. Raises PliantError when the weights are missing or damaged."""
        path = Path(self.path)
        if path.is_file():
            return self.ladder.identity_of(content_hash(path.parent, [path]))
        base = _network_of(path)
        update = contents([path / CONFIG, path / WEIGHTS]) if base != path else []
        return self.ladder.identity_of(" ".join([content_hash(base, weight_files(base)), *update]))

    def outline(self) -> PreTrainedModel | None:
        """The network without numbers, where its configuration tells."""
        from pliant.models.outline import folder_outline

        try:
            return folder_outline(_network_of(Path(self.path)))
        except PliantError:  # said when it is opened
            return None

    @contextlib.contextmanager
    def open(self) -> Generator[Model]:
        """The loaded model. Raises PliantError as `load` does."""
        from dataclasses import replace

        from pliant.models.load import load

        model = load(self.path, **self.ladder.loading())
        stated = self.checkpoint.model_dump(exclude_none=True, exclude={"params", "params_non_embedding"})
        yield replace(model, checkpoint=model.checkpoint.model_copy(update=stated))


def _matches(pattern: str) -> tuple[list[Path], dict[Path, str]]:
    """The checkpoints a path or pattern stands for, and the folders it matches that are none, with the reason.

    Raises PliantError when it stands for no checkpoint.
    """
    found = matching(pattern)
    if not found:
        raise PliantError(f"{pattern}: {'matches no checkpoint or other folder' if is_pattern(pattern) else 'no such folder'}")
    if found == [expanded(pattern)]:
        (named,) = found
        if not named.is_dir() and named.suffix != ".gguf":
            raise PliantError(f"{pattern}: a checkpoint is a folder (config.json, {SINGLE}, tokenizer) or a .gguf file")
        inside = [] if named.is_file() or _holds_weights(named) else _inside(named)
        if not any(map(_is_checkpoint, inside)):
            return found, {}  # what it lacks is said when it is opened
        found = inside  # a folder of checkpoints stands for them
    checkpoints = [path for path in found if _is_checkpoint(path)]
    skipped = {path: _why_not(path) for path in found if path not in checkpoints and (path.is_dir() or path.is_symlink())}
    if not checkpoints:
        example = next((f"; {path}: {reason}" for path, reason in skipped.items()), "")
        more = f" ({len(skipped) - 1} more like it)" if len(skipped) > 1 else ""
        raise PliantError(f"{pattern}: matches no checkpoint (a folder with config.json and {SINGLE}, or a .gguf file){example}{more}")
    return checkpoints, skipped


def _inside(folder: Path) -> list[Path]:
    """What a folder holds, without what is hidden."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_checkpoint(path: Path) -> bool:
    """Whether to measure it: a folder with weights, however damaged, that was not given up while it was written; or a GGUF file."""
    return _holds_weights(path) and not path.name.startswith(UNFINISHED) if path.is_dir() else path.suffix == ".gguf"


def _holds_weights(folder: Path) -> bool:
    """Of a model, or of an adapter."""
    return any(os.path.lexists(folder / name) for name in (SINGLE, INDEX)) or (is_adapter(folder) and os.path.lexists(folder / WEIGHTS))


def _network_of(path: Path) -> Path:
    """The folder that holds the network: of an adapter its base. Raises PliantError where that is not on this machine."""
    return base_of(path) if is_adapter(path) else path


def _why_not(path: Path) -> str:
    """Why a folder is left out, and what to do."""
    if not path.is_dir():
        return "is a link to nowhere"
    if path.name.startswith(UNFINISHED):
        return f"saving was cut short; if its weights are whole, rename it to {path.name.removeprefix('tmp-')}"
    try:
        inside = _inside(path)
        if any(map(_is_checkpoint, inside)):
            return f"holds checkpoints, not weights of its own; name them as well: {path}/*"
        return why_no_weights(file.name for file in path.iterdir())
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _natural(name: str) -> list[tuple[int, str]]:
    """Orders `checkpoint-500` before `checkpoint-1000`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
