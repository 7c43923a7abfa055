"""Content that lies in files, wherever `locate` finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from pliant.data.content import contents
from pliant.data.locate import locate
from pliant.spec import Content, digest


class Located(Content):
    """Base of content with a `source`; a plain string or a path is its `source`."""

    source: str = Field(min_length=1, description="A file, a folder, a glob, or hub:owner/name[:config][@revision][[split]]")

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, form: Any) -> Any:
        return {"source": str(form)} if isinstance(form, (str, Path)) else form

    def label(self) -> str:
        """Its source, as tables show it."""
        return self.source

    def fingerprint(self) -> str:
        """Of what the files hold. Raises PliantError for files that cannot be found or read."""
        return digest(" ".join(contents(locate(self.source))))
