"""What may stand where labelled examples are asked for: images or texts, told apart by their fields, or by what the source holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BeforeValidator

from pliant.data.images import Images
from pliant.data.labelled_texts import LabelledTexts
from pliant.spec import Spec


def _recognised(form: Any) -> Any:
    """The spec of the right kind; what is no form of either stays as it is, for pydantic to refuse."""
    fields = {"source": str(form)} if isinstance(form, (str, Path)) else form
    if isinstance(form, Spec) or not isinstance(fields, Mapping):
        return form
    told = cast("Mapping[str, Any]", fields)
    kinds = (Images, LabelledTexts)
    fitting = [kind for kind in kinds if set(told) <= set(kind.model_fields)]
    if len(fitting) != 1:
        fitting = [Images if Images.recognised(str(told.get("source", ""))) else LabelledTexts]
    return fitting[0](**told)


AnyLabelled = Annotated[Images | LabelledTexts, BeforeValidator(_recognised)]
"""The type of a field that holds labelled examples."""
