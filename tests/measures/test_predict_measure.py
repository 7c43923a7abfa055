"""The measure `predictions`: answers without labels, kept by name, from which a ledger tells how often two models agree."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

import pliant as pl
from pliant.cli import main
from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures import Accuracy, Choice, Predict
from pliant.models import build, save, with_head
from pliant.models.generation import Said

COLOURS = ["blue", "green", "red"]
AGREEMENT = """
select avg((one.answer = other.answer)::int) as alike, count(*) as n from samples as one join samples as other using (sample, metric)
where one.measure = 'answers' and other.measure = 'answers' and one.change_kind = 'none' and other.change_kind = 'perturb'"""


@pytest.fixture
def texts(tmp_path, cache):
    """The same texts with and without labels, one of them twice."""
    records = [{"text": f"{n % 40} is {COLOURS[n % 40 % 3]}" + "." * (n % 40 % 7), "label": COLOURS[n % 40 % 3]} for n in range(41)]
    (tmp_path / "labelled.jsonl").write_text("\n".join(map(json.dumps, records)))
    (tmp_path / "bare.jsonl").write_text("\n".join(json.dumps({"text": record["text"]}) for record in records))
    return str(tmp_path / "bare.jsonl"), str(tmp_path / "labelled.jsonl")


def classifier(seed=0):
    return with_head(build("llama-16x2", load_tokenizer("ascii"), seed, context=32), "sequence", COLOURS, seed=seed)


def test_labels_are_not_looked_at(texts):
    bare, labelled = (Predict(data=source)(classifier()) for source in texts)
    assert list(bare.answers) == list(labelled.answers)
    assert list(bare.samples) == list(labelled.samples)
    assert len(bare.samples) == 40
    with_labels = Accuracy(data=texts[1], part="all").predictions(classifier())
    assert list(bare.answers) == with_labels.answers(), "both read the table in its order"
    assert ((bare.values > 1 / 3) & (bare.values <= 1)).all(), "the likeliest of three is likelier than a third"


def test_agreement_is_read_off_a_ledger(texts, tmp_path):
    save(classifier(), tmp_path / "model")
    form = {
        "checkpoints": [str(tmp_path / "model")],
        "changes": [{"perturb": {"scale": 2.0, "draws": 1}}],
        "measures": {"answers": {"predictions": {"data": texts[0]}}, "right": {"accuracy": {"data": texts[1], "part": "all"}}},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(form))
    runs = pl.run(tmp_path / "study.yaml", ledger=tmp_path / "ledger")
    (told,) = runs.ledger.sql(AGREEMENT).to_pylist()
    model = classifier()
    measure = Predict(data=texts[0])
    before = measure(model)
    with pl.changes.Perturb(scale=2.0).applied(model, 0) as changed:
        after = measure(changed)
    alike = np.mean([one == other for one, other in zip(before.answers, after.answers, strict=True)])
    assert (told["alike"], told["n"]) == (pytest.approx(alike), 40)
    assert 0 < alike < 1
    answers = runs.ledger.sql("select distinct answer is null as absent, measure from samples order by measure").to_pylist()
    assert {(row["measure"], row["absent"]) for row in answers} == {("answers", False), ("right", True)}


def test_the_command_tells_the_answers(texts, tmp_path, monkeypatch, capsys):
    save(classifier(), tmp_path / "model")
    arguments = ["measure", "predictions", "--model", tmp_path / "model", "--data", texts[0], "--json", "--change", "perturb: {scale: 2.0}"]
    monkeypatch.setattr("sys.argv", ["pliant", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    found = Predict(data=texts[0])(classifier())
    assert (told["samples"], told["answers"]["unchanged"]) == (list(found.samples), list(found.answers))
    unchanged, changed = told["answers"].values()
    assert len(changed) == len(unchanged) == told["results"]["unchanged"]["n"]
    assert changed != unchanged


def test_images_need_no_classes(tmp_path, cache):
    model = pl.load(_digits(tmp_path))
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "bare.npz", x=pixels)
    np.savez(tmp_path / "labelled.npz", x=pixels, y=np.arange(6))
    (tmp_path / "flat").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "flat" / f"{number}.png")
    bare, labelled, flat = (Predict(data=str(tmp_path / name))(model) for name in ("bare.npz", "labelled.npz", "flat"))
    assert list(bare.answers) == list(labelled.answers) == list(flat.answers)
    assert set(bare.answers) <= set(model.labels)
    assert bare.values == pytest.approx(flat.values)
    assert Accuracy(data=str(tmp_path / "labelled.npz"), part="all").predictions(model).answers() == list(bare.answers)


def _digits(folder):
    from pliant.models.images import ImageInput

    model = build("mlp-16x1", None, 0, images=ImageInput((8, 8), 1), labels=tuple("0123456789"))
    save(model, folder / "digits")
    return folder / "digits"


def test_choices_and_words(tmp_path, cache, monkeypatch):
    records = [{"question": f"{n}?", "choices": ["two", "nine"], "answer": n % 2} for n in range(6)]
    (tmp_path / "set.jsonl").write_text("\n".join(map(json.dumps, records)))
    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=64)
    found = Predict(data=str(tmp_path / "set.jsonl"), samples=4)(model)
    places = Choice(data=str(tmp_path / "set.jsonl"), samples=4).predictions(model).values
    assert list(found.answers) == [("two", "nine")[place] for place in places]
    asked = []

    def said(model, prompts, **settings):
        asked.extend(prompts)
        return [Said(" Alexandra ", True), Said(" a town", False)]

    monkeypatch.setattr("pliant.measures.generate.generate", said)
    (tmp_path / "facts.jsonl").write_text('{"sub_label": "Allan Peiper"}\n{"sub_label": "Paul Mounsey"}')
    found = Predict(data={"source": str(tmp_path / "facts.jsonl"), "question": "Where was {sub_label} born?"})(model)
    assert asked[0] == "Question: Where was Allan Peiper born?\nAnswer:"
    assert (list(found.answers), found.values.tolist()) == (["Alexandra", "a town"], [1, 0])


@pytest.mark.parametrize(
    ("record", "fields", "message"),
    [
        ({"text": "a"}, {}, "no field 'question'"),
        ({"question": "a", "choices": ["b", "c"]}, {}, "hold no questions with choices"),
        ({"question": "a", "choices": ["b", "c"], "answer": 0}, {"by": "acc"}, "no rule 'acc'"),
        ({"question": ""}, {}, "line 1: the question is empty"),
    ],
)
def test_what_asks_nothing_is_one_line(tmp_path, cache, record, fields, message):
    (tmp_path / "set.jsonl").write_text(json.dumps(record))
    with pytest.raises(PliantError, match=message):
        Predict(data=str(tmp_path / "set.jsonl"), **fields)(build("llama-16x1", load_tokenizer("ascii"), 0, context=64))
