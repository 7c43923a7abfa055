"""Attacks: adversaries with a stated budget. One file each; a new one is a file and a name in `ATTACKS`."""

from __future__ import annotations

from pliant.attacks.attack import Attack
from pliant.attacks.pgd import Pgd
from pliant.spec import Catalog

ATTACKS: Catalog[Attack] = Catalog("attack", Pgd)

__all__ = ["ATTACKS", "Attack", "Pgd"]
