"""A ladder of local folders: `./run/checkpoint-*` of the transformers Trainer, or any `from_pretrained` folders.

Idea: facts come from what lies beside the weights (`pliant.json`, `trainer_state.json`), then from the folder's name, read
like a hub revision; what the user states wins over both.
Cost: listing reads headers only; `identity` reads every weight once (one to two gigabytes a second).
What goes wrong: a Trainer folder written without `include_num_input_tokens_seen` knows no tokens; give `batch_tokens`.
"""

from __future__ import annotations

import contextlib
import glob
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from pliant import files
from pliant.errors import PliantError
from pliant.models.checkpoint import Checkpoint, read_facts
from pliant.models.gguf import gguf_parameters
from pliant.models.ladder import Stored
from pliant.models.revisions import parse, tokens_of
from pliant.models.trainer_state import read_trainer_state
from pliant.models.weight_files import content_hash, stored_parameters, weight_files

if TYPE_CHECKING:
    from pliant.models.model import Model


class FolderLadder(Stored):
    """Checkpoints in local folders. Short forms: one path or pattern, or a list of them."""

    folders: tuple[str, ...] = Field(
        description="Checkpoints, folders of them, .gguf files; * and ? stand for parts of names", min_length=1
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, form: Any) -> Any:
        form = {"folders": form} if isinstance(form, str | list) else form
        return {**form, "folders": [form["folders"]]} if isinstance(form, dict) and isinstance(form.get("folders"), str) else form

    def rungs(self, seed: int = 0) -> list[FolderRung]:
        """Every folder in the order of its tokens; those whose tokens are unknown come last, in the order of their names.

        Raises PliantError when a path does not exist or a pattern matches no checkpoint.
        """
        paths = list(dict.fromkeys(path for pattern in self.folders for path in _matches(pattern)))
        self._check_token_map(paths)
        rungs = [FolderRung(self, str(path), self._facts(path)) for path in paths]
        return sorted(rungs, key=lambda rung: (rung.checkpoint.tokens is None, rung.checkpoint.tokens or 0, _natural(rung.path)))

    def _check_token_map(self, paths: list[Path]) -> None:
        unknown = sorted(set(self.tokens or ()) - {path.name for path in paths})
        if unknown:
            raise PliantError(f"tokens: {unknown[0]!r} is none of the folders ({', '.join(sorted(path.name for path in paths)[:4])})")

    def _facts(self, path: Path) -> Checkpoint:
        """What is known without loading. A folder that cannot be read is reported when it is opened."""
        facts: dict[str, Any] = {}
        with contextlib.suppress(PliantError):
            if path.is_file():
                facts = {"params": gguf_parameters(path)}
            else:
                stored = read_facts(path)
                facts = stored.model_dump(exclude_none=True) if stored is not None else read_trainer_state(path, self.batch_tokens)
                facts["params"] = stored_parameters(weight_files(path))
        tokens = (self.tokens or {}).get(path.name, facts.get("tokens"))
        tokens = self._tokens_in_name(path.name) if tokens is None else tokens
        return Checkpoint.model_validate({**facts, "name": str(path), "revision": None, "tokens": tokens})

    def _tokens_in_name(self, name: str) -> int | None:
        """From names such as `step1000-tokens4B`, or `checkpoint-500` where the batch is given."""
        step = name.removeprefix("checkpoint-")
        if parse(step) is not None:
            with contextlib.suppress(PliantError):
                return tokens_of([step], batch_tokens=self.batch_tokens)[step]
        return None


@dataclass(frozen=True)
class FolderRung:
    """One local folder or GGUF file."""

    ladder: FolderLadder
    path: str
    checkpoint: Checkpoint
    cost: float = 0.0

    @property
    def identity(self) -> str:
        """Of the bytes in the folder. Raises PliantError when the weights are missing or damaged."""
        path = Path(self.path)
        if path.is_file():
            return self.ladder.identity_of(content_hash(path.parent, [path]))
        return self.ladder.identity_of(content_hash(path, weight_files(path)))

    @contextlib.contextmanager
    def open(self) -> Generator[Model]:
        """The loaded model. Raises PliantError as `load` does."""
        from dataclasses import replace

        from pliant.models.load import load

        model = load(self.path, **self.ladder.loading())
        stated = self.checkpoint.model_dump(exclude_none=True, exclude={"params", "params_non_embedding"})
        yield replace(model, checkpoint=model.checkpoint.model_copy(update=stated))


def _matches(pattern: str) -> Iterator[Path]:
    """The checkpoints a path or pattern stands for."""
    expanded = str(files.expanded(pattern))
    if not glob.has_magic(expanded):
        if not Path(expanded).exists():
            raise PliantError(f"{pattern}: no such folder")
        inner = [] if _holds_model(Path(expanded)) else sorted(filter(_holds_model, Path(expanded).iterdir()))
        return iter(inner or [Path(expanded)])  # a folder of checkpoints stands for them
    found = [Path(name) for name in sorted(glob.glob(expanded, recursive=True)) if _holds_model(Path(name))]  # noqa: PTH207
    if not found:
        raise PliantError(f"{pattern}: matches no checkpoint (a folder with config.json and weights, or a .gguf file)")
    return iter(found)


def _holds_model(path: Path) -> bool:
    """Whether a checkpoint may be meant: a folder with weights of any kind, or a GGUF file."""
    if not path.is_dir():
        return path.suffix == ".gguf"
    return any(next(path.glob(name), None) is not None for name in ("config.json", "*.safetensors", "*.safetensors.index.json", "*.bin"))


def _natural(name: str) -> list[tuple[int, str]]:
    """Orders `checkpoint-500` before `checkpoint-1000`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
