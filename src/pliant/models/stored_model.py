"""Another model that a spec names: a reference, a teacher, one to combine with. Known by what its files hold, so it enters keys.

Idea: a frozen reference or a teacher decides what a run becomes, as its data does. So it is content: when its weights change, so does the
key, and the same weights in another folder are the same.
Cost: hashing reads every weight once; files that did not change since are not read again.
What goes wrong: a hub's model is downloaded to be hashed; in a plan, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from pliant.files import expanded
from pliant.models.adapters import CONFIG, WEIGHTS, base_of, is_adapter
from pliant.models.ladder import Loading
from pliant.models.weight_files import content_hash, weight_files
from pliant.spec import Content, digest

if TYPE_CHECKING:
    import torch

    from pliant.models.model import Model


class StoredModel(Loading, Content):
    """Weights that exist, by their address; a plain string is the `address`."""

    address: str = Field(min_length=1, description="A folder, a .gguf file, or a hub repository as name or name@revision")

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, form: Any) -> Any:
        return {"address": str(form)} if isinstance(form, (str, Path)) else form

    def label(self) -> str:
        """Its address, as tables show it."""
        return self.address

    def fingerprint(self) -> str:
        """Of its files and how they are loaded. Raises PliantError for what is no model."""
        path = expanded(self.address)
        content = content_hash(path.parent, [path]) if path.is_file() else _content(self.folder())
        return digest(f"{content} {self.tokenizer} {self.dtype}")

    def load(self, device: torch.device | str | None = None) -> Model:
        """The model. Raises PliantError as `models.load` does."""
        from pliant.models.load import load

        return load(self.address, device=device, **self.loading())

    def folder(self) -> Path:
        """Where its files lie: downloaded where it is a hub's. Raises PliantError where there is nothing."""
        path = expanded(self.address)
        from pliant.models.hub_files import cached_snapshot
        from pliant.models.load import split_address

        return path if path.is_dir() else cached_snapshot(*split_address(self.address), code=self.trust_remote_code)


def _content(folder: Path) -> str:
    """Of a folder; of an adapter, with its base."""
    if not is_adapter(folder):
        return content_hash(folder, weight_files(folder))
    own = content_hash(folder, [path for path in (folder / CONFIG, folder / WEIGHTS) if path.is_file()])
    return digest(f"{own} {_content(base_of(folder))}")
