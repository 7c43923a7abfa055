"""Attacks: adversaries with a stated budget. One file each; a new one is a file and a name in `ATTACKS`."""

from __future__ import annotations

from typing import Annotated

from pliant.attacks.attack import Attack, Checks, Costing
from pliant.attacks.bim import Bim
from pliant.attacks.gcg import Gcg, Suffix
from pliant.attacks.pgd import Pgd
from pliant.attacks.random_signs import RandomSigns
from pliant.attacks.text_target import TextTarget
from pliant.spec import Catalog
from pliant.spec.fields import OneOf

ATTACKS: Catalog[Attack] = Catalog("attack", Pgd, Bim, RandomSigns, Gcg, TextTarget)

AnyAttack = Annotated[Attack, OneOf(ATTACKS)]
"""The type of a field that holds an attack."""

__all__ = ["ATTACKS", "AnyAttack", "Attack", "Bim", "Checks", "Costing", "Gcg", "Pgd", "RandomSigns", "Suffix", "TextTarget"]
