"""Which band of a score to keep, compared honestly: the same model trained as long on each, against as many random documents.

Idea: a criterion is worth what training on its documents does for a target that has not been pruned by it: held-out text of the kind one
cares about, or tasks. Each band keeps as much, each arm sees as many training tokens, and random documents are the reference.
Cost: one run for each band and seed.
What goes wrong: the loss on the unpruned corpus falls least for whatever was pruned, so a measure of that corpus is refused. Which band
is best depends on the corpus and on the target; at equal tokens a smaller share is repeated more often.
Source: arXiv 2405.20541.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.data import Corpus
from pliant.decide.data.against import decide
from pliant.decide.data.prices import DataDecision
from pliant.decide.data.trained import fields_of, trained
from pliant.errors import PliantError
from pliant.scores.band import Band
from pliant.scores.selected import select
from pliant.spec import digest

if TYPE_CHECKING:
    from pliant.study import Study

RANDOM = "random"
USUAL = ("low", "medium", "high")


def pruning(
    study: Study, folder: Path, scores: Path, keep: str, bands: Sequence[str] = USUAL, *, margin: float = 0.0, **running: Any
) -> DataDecision:
    """Every band against random documents, by every measure of the study, whose ladder trains on the corpus that was scored.

    Raises PliantError for a study of another form, a measure that reads the unpruned corpus, a band that keeps nothing, and failed runs.
    """
    fields = fields_of(study)
    if "source" not in fields["corpus"]:
        raise PliantError("the ladder trains on a mixture; criteria are compared on the one corpus that was scored")
    corpus = Corpus.parse(fields["corpus"], "checkpoints.ladder.corpus")
    _check_targets(study, corpus)
    chosen = {name: Band.parse(keep, name) for name in dict.fromkeys((*bands, RANDOM))}
    place = folder / "selections" / digest(f"{digest(scores.read_bytes())} {keep}") if scores.is_file() else folder
    kept = {name: _selected(scores, band, place / name.replace(":", "-"), corpus) for name, band in chosen.items()}
    if len(fields.get("tokens") or [0]) != 1:
        raise PliantError("criteria are compared at one budget: give the ladder's tokens once")
    runs = trained(study, "pruning", {"ladder": {**fields, "corpus": list(kept.values())}}, folder, **running)
    answers = decide(runs.own, f"corpus {RANDOM}", None, margin)
    told = [f"kept {keep} of the documents in each arm; every arm saw the same number of training tokens"]
    told += list(dict.fromkeys(caveat for found in answers for caveat in found.caveats))
    return DataDecision(answers, told, {"keep": keep, "selections": {name: str(path) for name, path in kept.items()}})


def _check_targets(study: Study, corpus: Corpus) -> None:
    unpruned = corpus.fingerprint()
    for name, measure in study.measures.items():
        if any(content.fingerprint() == unpruned for content in measure.content()):
            raise PliantError(
                f"measures.{name}: reads the unpruned corpus, whose loss says nothing of pruning it; "
                "measure a target: other held-out text, or tasks"
            )


def _selected(scores: Path, band: Band, place: Path, corpus: Corpus) -> str:
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        select(scores, band, place, data=corpus)
    return str(place)
