"""What there is of one noun, by name: pliant's own, and what installed packages add under an entry point of that name."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from pliant.errors import PliantError, named
from pliant.spec.validation import nearest

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """Entries of a noun by name, in order: first pliant's own, then those of other packages (entry points in `group`).

    `home` is the module that puts in pliant's own where they stand on a floor above their noun; imported when one is first asked for.
    """

    def __init__(self, noun: str, own: Mapping[str, Entry], home: str | None = None) -> None:
        self.noun = noun
        self.home = home
        self.group = f"pliant.{noun}s"
        self._entries = dict(own)
        self._entry_points_read = False

    def put(self, entries: Mapping[str, Entry]) -> None:
        """Further entries."""
        self._entries |= entries

    def entries(self) -> dict[str, Entry]:
        """Every entry by its name. Raises PliantError for one of another package that cannot be imported."""
        if not self._entry_points_read:
            if self.home is not None:
                home, self.home = self.home, None
                import_module(home)
            for point in entry_points(group=self.group):
                if point.name not in self._entries:
                    try:
                        self._entries[point.name] = point.load()
                    except Exception as error:
                        where = f"{self.noun} {point.name!r}, {point.value}, of an installed package"
                        raise PliantError(f"{where}: cannot be loaded ({named(error)}); update or uninstall it") from error
            self._entry_points_read = True
        return self._entries

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries and name not in self.entries():
            raise PliantError(f"unknown {self.noun} {name!r}; {nearest(name, self.entries())}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries())

    def __len__(self) -> int:
        return len(self.entries())

    def __contains__(self, name: object) -> bool:
        return name in self.entries()

    def values(self) -> ValuesView[Entry]:
        """The entries, in order."""
        return self.entries().values()

    def items(self) -> ItemsView[str, Entry]:
        """Names and entries, in order."""
        return self.entries().items()
