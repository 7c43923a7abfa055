"""Mixtures: shares as planned, changes at a token count, and nothing but a function of (seed, step)."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from pliant.changes import Finetune
from pliant.data import Corpus, load_tokenizer, packed
from pliant.data.mixture import Mixture
from pliant.errors import PliantError
from pliant.objectives import NextToken
from pliant.study.ladders import parse_ladder
from pliant.train import Recipe, TrainedLadder, train
from pliant.train.new_model import NewModel


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Three languages of one letter each, and so told apart token by token."""
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    for letter in "abc":
        texts = [letter * (40 + number) for number in range(60)]
        (tmp_path / f"{letter}.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return {letter: str(tmp_path / f"{letter}.jsonl") for letter in "abc"}


def drawn(mixture, steps, rows=8, length=16, seed=3):
    """The letter of every row of a run of so many steps."""
    text = mixture.packed(load_tokenizer("ascii"), "all").of_run(steps * rows * length)
    letters = load_tokenizer("ascii").encode(["abc"])[0]
    tokens = np.concatenate([text.at(text.positions(step, rows, length, seed)) for step in range(steps)])
    counts = np.stack([(tokens == letter).sum(axis=1) for letter in letters], axis=1)
    assert ((counts > 0).sum(axis=1) == 1).all(), "a row is of one source"
    return counts.argmax(axis=1)


def mixed(sources, *phases, **epochs):
    """A mixture of the letters, of which some are bounded."""
    pools = {letter: {"source": source, "epochs": epochs.get(letter)} for letter, source in sources.items()}
    return Mixture(mixture=pools, phases=phases or ({"temperature": 1},))


def test_every_source_has_its_share_all_along(sources):
    found = drawn(mixed(sources, {"weights": {"a": 0.7, "b": "20%", "c": 0.1}}), 250)
    for until in (50, 500, 2000):
        counts = np.bincount(found[:until], minlength=3)
        assert np.abs(counts - until * np.array([0.7, 0.2, 0.1])).max() < 4


def test_weights_change_at_a_token_count_and_at_a_share_of_the_run(sources):
    phases = [{"until": "1.6k", "weights": {"a": 1}}, {"until": 0.625, "weights": {"b": 1}}, {"weights": {"a": 0.5, "c": 0.5}}]
    found = drawn(mixed(sources, *phases), 40)
    assert set(found[:100]) == {0}, "1,600 tokens are 100 rows of 16"
    assert set(found[100:200]) == {1}, "62.5% of 320 rows are 200"
    assert set(found[200:]) == {0, 2}
    form = mixed(sources, *phases).canonical()["phases"]
    assert [phase["until"] for phase in form] == [1600, "62.5%", None]
    assert mixed(sources, *phases).label() == "100% a until 1.6k tokens, then 100% b until 62.5%, then 50% a + 50% c"


def test_temperature_is_a_power_of_each_sources_tokens(sources):
    (Path(sources["b"])).write_text("\n".join(json.dumps({"text": "b" * (40 + number)}) for number in range(15)))
    ascii_ = load_tokenizer("ascii")
    sizes = np.array([len(packed(Corpus(source=source), ascii_, "all")) for source in sources.values()], float)
    for temperature in (1, 2, 1e9):
        text = mixed(sources, {"temperature": temperature}).packed(ascii_, "all").of_run(10_000)
        expected = sizes ** (1 / temperature)
        assert np.allclose(text.planned(), 10_000 * expected / expected.sum())
    assert Mixture(mixture=sources).phases == mixed(sources).phases, "as they are by default"


def test_bounded_passes_leave_what_is_too_much_to_the_others(sources):
    ascii_ = load_tokenizer("ascii")
    text = mixed(sources, {"until": "50%", "temperature": 1}, {"temperature": 1}, a=0.5, b=1).packed(ascii_, "all")
    size = len(text.texts[0])
    assert text.of_run(2 * size).planned() == pytest.approx([0.5 * size, 0.75 * size, 0.75 * size], rel=0.01)
    assert text.of_run(3 * size).planned() == pytest.approx([0.5 * size, size, 1.5 * size], rel=0.01)
    counts = np.bincount(drawn(mixed(sources, a=0.5, b=1), 3 * size // 16 // 8), minlength=3) * 16
    assert counts == pytest.approx([0.5 * size, size, 1.5 * size], rel=0.02), "what is planned is what is drawn"
    with pytest.raises(PliantError, match="all sources within their epochs are"):
        mixed(sources, a=0.5, b=1, c=1).packed(ascii_, "all").of_run(3 * size)
    weighed = mixed(sources, {"weights": {"a": 0.5, "b": 0.5}}, a=0.5).packed(ascii_, "all")
    assert weighed.of_run(size).planned() == pytest.approx([size / 2, size / 2, 0])
    with pytest.raises(PliantError, match=r"a: 0.5 epochs of its .* tokens are .*, and the phases take .* \(1 epochs\); lower its weight"):
        weighed.of_run(2 * size)


def test_an_unchanged_change_is_none_and_one_source_is_itself(sources):
    weights = {"a": 0.5, "b": 0.5}
    plain = mixed(sources, {"weights": weights}).packed(load_tokenizer("ascii"), "all")
    same = mixed(sources, {"until": 800, "weights": weights}, {"weights": weights}).packed(load_tokenizer("ascii"), "all")
    alone = Mixture(mixture={"a": sources["a"]}).packed(load_tokenizer("ascii"), "all")
    text = packed(Corpus(source=sources["a"]), load_tokenizer("ascii"), "all")
    for step in (0, 3, 20):
        assert (plain.positions(step, 4, 16, 7) == same.positions(step, 4, 16, 7)).all()
        assert (plain.at(plain.positions(step, 4, 16, 7)) == plain.batch(step, 4, 16, 7)[1]).all()
        assert (plain.positions(step, 4, 16, 7)[:, 0] == plain.batch(step, 4, 16, 7)[0]).all()
        assert (alone.positions(step, 4, 16, 7) == text.positions(step, 4, 16, 7)).all()
        assert (plain.positions(step, 4, 16, 7) != plain.positions(step, 4, 16, 8)).any()
    assert len(plain) == len(text) + len(packed(Corpus(source=sources["b"]), load_tokenizer("ascii"), "all")), "c is never seen"
    again = pickle.loads(pickle.dumps(plain))
    assert (again.positions(5, 4, 16, 7) == plain.positions(5, 4, 16, 7)).all()


def test_its_fingerprint_is_of_content_phases_and_bounds(sources, tmp_path):
    weights = {"a": 0.25, "b": 0.75}
    base = mixed(sources, {"weights": weights})
    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes())
    renamed = {"x": str(tmp_path / "copy.jsonl"), "y": sources["b"], "z": sources["c"]}
    assert Mixture(mixture=renamed, phases=[{"weights": {"x": 0.25, "y": 0.75}}]).fingerprint() == base.fingerprint()
    others = [
        mixed(sources, {"weights": {"a": 0.5, "b": 0.5}}),
        mixed(sources, {"until": 5, "weights": weights}, {"weights": {"c": 1}}),
        mixed(sources | {"c": sources["a"]}, {"weights": weights}),
        mixed(sources, {"weights": weights}, a=3),
    ]
    assert len({base.fingerprint(), *(other.fingerprint() for other in others)}) == 5
    prints = [{one.packed(load_tokenizer("ascii"), "all").of_run(size).fingerprint for size in (800, 1600)} for one in (base, others[1])]
    assert [len(found) for found in prints] == [1, 1], "a longer run begins as a shorter one does"
    share = mixed(sources, {"until": "50%", "weights": weights}, {"weights": {"c": 1}})
    text = share.packed(load_tokenizer("ascii"), "all")
    assert share.of_length
    assert text.of_run(800).fingerprint != text.of_run(1600).fingerprint


def test_it_is_a_training_source_like_any_other(sources):
    form = {"mixture": sources, "phases": [{"weights": {"a": 0.5, "b": 0.5}}]}
    change = Finetune(data=form, lr=1e-3)
    assert isinstance(change.data, Mixture)
    assert change.learned == NextToken(data=form)
    assert change.title() == "Fine-tuning on 50% a + 50% b, 30 steps"
    assert Finetune.parse({name: value for name, value in change.canonical().items() if name != "kind"}) == change
    ladder = {"model": {"preset": "llama-16x1", "tokenizer": "ascii", "context": 16}, "tokens": "2k", "batch": 4, "lr": 1e-2}
    later = {"mixture": sources, "phases": [{"until": "50%", **form["phases"][0]}, {"weights": {"c": 1}}]}
    arms = parse_ladder({"ladder": ladder | {"corpus": [sources["a"], form, later]}})
    names = [rung.checkpoint.name for rung in arms.rungs()]
    assert names == [f"llama-16x1, corpus {told}" for told in ("a.jsonl", "50% a + 50% b", "50% a + 50% b until 50%, then 100% c")]
    assert parse_ladder(arms.form()) == arms


def test_a_run_is_cut_and_goes_on_bit_for_bit_and_only_as_long_as_planned(sources, tmp_path):
    phases = [{"until": "50%", "weights": {"a": 1}}, {"temperature": 2}]
    objective = NextToken(data=mixed(sources, *phases))
    trained = []
    for place in ("whole", "cut"):
        model = NewModel(preset="llama-16x1", tokenizer="ascii", context=16).build(0)
        recipe = Recipe(steps=8, batch=4, lr=1e-2)
        if place == "cut":
            train(model, objective, recipe, folder=tmp_path / place, until=3, quiet=True)
            with pytest.raises(PliantError, match="of another run"):
                train(model, objective, Recipe(steps=10, batch=4, lr=1e-2, schedule="constant"), folder=tmp_path / place, quiet=True)
            model = NewModel(preset="llama-16x1", tokenizer="ascii", context=16).build(0)
        train(model, objective, recipe, folder=tmp_path / place, quiet=True)
        trained.append(model.weights())
    assert trained[0] == trained[1]


def test_a_plain_corpus_is_written_as_ever(sources):
    change = Finetune(data=sources["a"], lr=1e-3)
    assert change.canonical()["data"] == {"source": sources["a"], "field": None}
    ladder = TrainedLadder(model="llama-16x1", corpus=sources["a"], tokens="1M")
    assert ladder.form()["ladder"]["corpus"] == {"source": sources["a"], "field": None}
    assert not {"objective", "steps", "examples"} & set(ladder.canonical())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phases": [{"weights": {"d": 1}}]}, "no source is called 'd'"),
        ({"phases": [{"weights": {"a": 0}}]}, "sum to 0, not to 1"),
        ({"phases": [{"weights": {"a": 0.5, "b": 0.3}}]}, "sum to 0.8, not to 1; in proportion that is a: 0.625, b: 0.375"),
        ({"phases": [{"weights": {"a": -1, "b": 2}}]}, "weights.a: a number of at least 0"),
        ({"phases": [{"weights": {"a": "much"}}]}, "'much' is no share"),
        ({"phases": [{}]}, "give weights, or a temperature"),
        ({"phases": []}, "phases"),
        ({"mixture": {}}, "mixture"),
        ({"phases": [{"until": "many", "weights": {"a": 1}}]}, "many"),
        ({"phases": [{"until": "120%", "weights": {"a": 1}}, {"temperature": 1}]}, "120% is no share of a run"),
        ({"phases": [{"until": 0, "weights": {"a": 1}}, {"temperature": 1}]}, "until"),
        ({"phases": [{"weights": {"a": 1}}, {"temperature": 1}]}, "every phase but the last says until when"),
        ({"phases": [{"until": "1M", "temperature": 1}]}, "the last phase goes on to the end"),
        ({"phases": [*({"until": until, "temperature": 1} for until in (9, 5)), {"temperature": 1}]}, "until 5 comes after until 9"),
        ({"wieghts": {}}, "wieghts"),
        ({"mixture": {"a": {"sorce": "x"}}}, "sorce"),
        ({"mixture": {"a": {"source": "x", "epochs": 0}}}, "epochs"),
    ],
)
def test_wrong_fields_are_one_line(sources, changes, message):
    with pytest.raises(PliantError, match=message) as caught:
        Finetune(data={"mixture": sources, **changes}, lr=1e-3)
    assert len(str(caught.value).splitlines()) == 1


def test_sources_that_hold_too_little_are_named(sources, tmp_path):
    ascii_ = load_tokenizer("ascii")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(PliantError, match=r"mixture.b: .*empty.jsonl"):
        Mixture(mixture=sources | {"b": str(tmp_path / "empty.jsonl")}).packed(ascii_)
    phases = [{"until": 800, "weights": {"a": 1}}, {"until": "10%", "weights": {"b": 1}}, {"weights": {"c": 1}}]
    with pytest.raises(PliantError, match="until 10% ends at token 200, which the one before it has reached"):
        _ = mixed(sources, *phases).packed(ascii_, "all").of_run(2000)
    with pytest.raises(PliantError, match="needs to know how long its run is"):
        mixed(sources, {"until": "10%", "weights": {"b": 1}}, {"temperature": 1}).packed(ascii_, "all").positions(0, 2, 16, 0)
    (tmp_path / "short.jsonl").write_text(json.dumps({"text": "b" * 12}))
    short = mixed(sources | {"b": str(tmp_path / "short.jsonl")}, {"weights": {"a": 0.9, "b": 0.1}}).packed(ascii_, "all")
    with pytest.raises(PliantError, match="12 tokens are fewer than one crop of 17"):
        short.positions(0, 20, 16, 0)


def test_runs_that_differ_in_their_last_phase_go_on_from_one_another(sources, tmp_path):
    weights = ({"a": 0.5, "b": 0.5}, {"c": 1}, {"a": 1})
    texts = {
        name: mixed(sources, {"until": until, "weights": weights[0]}, {"weights": last}).packed(load_tokenizer("ascii"), "all").of_run(2000)
        for name, until, last in (("c", "50%", weights[1]), ("a", 1000, weights[2]), ("early", "40%", weights[1]))
    }
    assert texts["c"].seen(1000) == texts["a"].seen(1000) == texts["early"].seen(800)
    assert len({text.seen(1001) for text in texts.values()}) == 3
    assert texts["c"].seen(2000) == texts["c"].seen(1001)
    bounded = [mixed(sources, {"until": until, "temperature": 1}, {"temperature": 1}, a=0.1) for until in ("40%", "50%")]
    first, second = (one.packed(load_tokenizer("ascii"), "all").of_run(9000) for one in bounded)
    assert first.seen(1) != second.seen(1), "a bounded phase's shares depend on its end"
