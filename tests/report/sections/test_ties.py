"""What may be best: checkpoints that no paired difference puts below another."""

import numpy as np

from pliant.comparison import Outcomes, System
from pliant.report.results import Results
from pliant.report.sections.ties import may_be_best
from pliant.report.ties import Ties, _of


def systems(means, seed=0):
    rng = np.random.default_rng(seed)
    hard = rng.standard_normal(50)
    items = [str(n) for n in range(50)]
    return [
        System(
            name,
            "",
            {("generic", "loss"): Outcomes("generic", "loss", items, mean + hard + 0.1 * rng.standard_normal(50), "lower", "nats")},
        )
        for name, mean in means.items()
    ]


def test_the_clear_best_is_alone_and_those_it_ties_with_are_beside_it():
    key = ("generic", "loss", "nothing")
    assert _of(key, systems({"a": 0.0, "b": 0.5, "c": 1.0})).best == ["a"]
    found = _of(key, systems({"a": 0.0, "b": 0.0, "c": 1.0}))
    assert sorted(found.best) == ["a", "b"]
    assert (found.measure, found.count) == ("generic, loss", 3)


def test_other_lengths_from_checkpoint_to_checkpoint_rank_nothing():
    made = systems({"a": 0.0, "b": 0.5, "c": 1.0})
    (key,) = made[2].outcomes
    told = made[2].outcomes[key]
    other = System("c", "", {key: Outcomes("generic", "loss", told.items, told.values, "lower", "bits")})
    assert _of(("generic", "loss", "nothing"), [*made[:2], other]) is None


def test_the_section_names_them_and_is_left_out_where_there_is_nothing_to_rank():
    nothing = Results("s", [], "", [], [], {}, [])
    assert may_be_best(nothing) is None
    told = Ties("generic, loss", "nothing", [f"step {n}" for n in range(8)], 9, 2.5)
    (table,) = may_be_best(Results("s", [], "", [], [], {}, [], ties=[told])).parts
    assert table.rows == [["generic, loss", "nothing", "step 0, step 1, step 2, step 3, step 4, step 5 and 2 more", "8 of 9", "2.5"]]
