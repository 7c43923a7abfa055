"""Changes as records hold them: read back, so that a change can say of itself what upstairs wants to know.

A record holds a change's canonical form. Where its kind is installed, it becomes that change again; where it is not, or where
its fields have been renamed since, it becomes a `Recorded` that says what its form tells.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pliant.changes.change import Change
from pliant.changes.told import detail
from pliant.errors import PliantError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from pliant.models import Model


class Recorded(Change):
    """A change of which only the record is left."""

    form: dict[str, Any]

    def canonical(self) -> dict[str, Any]:
        """As it was recorded."""
        return self.form

    def label(self) -> str:
        """The form as it is stored."""
        return json.dumps(self.form)

    def title(self) -> str:
        """`melt, heat 3, everywhere`."""
        told = [detail(name, value) for name, value in self.form.items() if name != "kind" and value not in (None, [], {})]
        return ", ".join([str(self.form.get("kind", "unknown")), *told])

    def apply(self, model: Model, seed: int, draw: int, undo: ExitStack) -> None:
        """Raises PliantError: nobody knows how."""
        raise PliantError(f"the change {self.form.get('kind')!r} is not installed here")
