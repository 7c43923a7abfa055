"""Study files: the forms they take, and what is said about the ones they do not."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

import pliant
from pliant import PliantError
from pliant.models import FolderLadder, HubLadder
from pliant.study.study import Study
from pliant.train import TrainedLadder


class Yaml12(yaml.SafeLoader):
    """Reads `1e-2` as a number, as editors do."""


Yaml12.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+"), list("-+0123456789"))
DEMOS = sorted((Path(pliant.__file__).parent / "cli" / "studies").glob("*.yaml"))
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def test_the_unchanged_checkpoint_is_always_there_once_and_first(form):
    assert [change.kind for change in Study.parse(form).changes] == ["none", "perturb", "perturb", "quantize"]
    form["changes"].append("none")
    assert [change.kind for change in Study.parse(form).changes] == ["none", "perturb", "perturb", "quantize"]
    form["changes"] = []
    assert [change.kind for change in Study.parse(form).changes] == ["none"]


@pytest.mark.parametrize("kind", ["form", "trained"])
def test_what_a_study_says_of_itself_is_the_same_study(kind, request):
    study = Study.parse(request.getfixturevalue(kind))
    again = Study.parse(json.loads(json.dumps({k: v for k, v in study.canonical().items() if k != "kind"})))
    assert again == study
    assert again.hash() == study.hash()


def test_the_forms_of_checkpoints(form):
    ladders = [
        ("a/checkpoint-*", FolderLadder),
        (["a", "b"], FolderLadder),
        ({"folders": ["a"], "batch_tokens": "2M"}, FolderLadder),
        ("owner/name@step*", HubLadder),
        ({"hub": "owner/name", "revisions": ["step1", "step2"]}, HubLadder),
        ({"ladder": {"model": "llama-16x2", "corpus": "x.txt", "tokens": "1M"}}, TrainedLadder),
    ]
    for checkpoints, ladder in ladders:
        assert type(Study.parse(form | {"checkpoints": checkpoints}).checkpoints) is ladder


def test_a_folder_with_an_at_is_a_folder(form, tmp_path, monkeypatch):
    (tmp_path / "run@home" / "checkpoint-1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for checkpoints in ("run@home", "run@home/checkpoint-*", "./gone@home/checkpoint-*", str(tmp_path / "gone@home"), "~/gone@home"):
        assert type(Study.parse(form | {"checkpoints": checkpoints}).checkpoints) is FolderLadder
    assert type(Study.parse(form | {"checkpoints": "gone@home"}).checkpoints) is HubLadder


def test_a_file_gives_a_study_its_name(form, tmp_path):
    path = tmp_path / "overtraining.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in form.items() if key != "name"}))
    assert Study.read(path).name == "overtraining"
    path.write_text(yaml.safe_dump(form))
    assert Study.read(path).name == "stored"


def test_one_seed_and_repeated_seeds(form):
    assert Study.parse(form | {"seeds": 3}).seeds == (3,)
    assert Study.parse(form | {"seeds": [1, 1, 0]}).seeds == (1, 0)


BAD = [
    ({"chekpoints": []}, "did you mean 'checkpoints'"),
    ({"checkpoints": {"laddr": {}}}, "did you mean 'ladder'"),
    ({"checkpoints": {"ladder": {"corpuss": "x"}}}, "did you mean 'corpus'"),
    ({"checkpoints": {"hub": "a/b", "revision": "main"}}, "did you mean 'revisions'"),
    ({"checkpoints": 5}, "checkpoints"),
    ({"changes": [{"quantise": {"bits": 4}}]}, "did you mean 'quantize'"),
    ({"changes": [{"quantize": {"bit": 4}}]}, "did you mean 'bits'"),
    ({"changes": [{"quantize": {"bits": "four"}}]}, "bits"),
    ({"changes": {"quantize": {"bits": 4}}}, "expected a list"),
    ({"measures": {"generic": {"los": {"data": "x"}}}}, "did you mean 'loss'"),
    ({"measures": {"generic": {"loss": {"dat": "x"}}}}, "did you mean 'data'"),
    ({"measures": {"generic": {"loss": {"data": ["x", "y"]}}}}, "a list is not allowed"),
    ({"measures": {}}, "measures"),
    ({"measures": ["loss"]}, "give names with measures"),
    ({"measures": {"": {"loss": {"data": "x"}}}}, "a name is empty"),
    ({"seeds": []}, "seeds"),
    ({"seeds": True}, "a seed is a whole number"),
    ({"seeds": [0, False]}, "a seed is a whole number"),
    ({"seeds": "many"}, "seeds"),
    ({"seeds": [0.5]}, "seeds"),
    ({"seeds": [-1]}, "seeds"),
    ({"seeds": [2**63]}, "beyond what a whole number can be"),
    ({"questions": ["chekpoint"]}, "did you mean 'checkpoint'"),
    ({"questions": [{"bits": {"mesure": "generic"}}]}, "did you mean 'measure'"),
    ({"questions": [{"checkpoint": {}, "bits": {}}]}, "a question is a name or one"),
    ({"questions": "checkpoint"}, "questions"),
    ({"name": ""}, "name"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD, ids=[json.dumps(wrong) for wrong, _ in BAD])
def test_what_is_wrong_is_said_in_one_line(form, tmp_path, wrong, message):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(form | wrong))
    with pytest.raises(PliantError) as caught:
        Study.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["1", "yes", "null", "1.5", "2020-01-01"])
def test_names_of_measures_are_the_text_that_was_written(form, tmp_path, name):
    """`1` and `"1"` are one name, so they cannot be two measures."""
    path = tmp_path / "study.yaml"

    def written(names):
        empty = yaml.safe_dump({**form, "measures": {}})
        path.write_text(empty.replace("measures: {}", f"measures: {{{names}}}".replace("{m}", "{loss: {data: x}}")))
        return Study.read(path)

    assert list(written(f"{name}: {{m}}").measures) == [name]
    with pytest.raises(PliantError, match="is given twice"):
        written(f"{name}: {{m}}, '{name}': {{m}}")


@pytest.mark.parametrize("missing", ["checkpoints", "measures"])
def test_what_is_missing_is_named(form, missing):
    del form[missing]
    with pytest.raises(PliantError, match=missing):
        Study.parse(form)


@pytest.mark.parametrize("content", ["", "- a\n- b\n", "42"])
def test_a_file_that_holds_no_study_says_so(tmp_path, content):
    (tmp_path / "empty.yaml").write_text(content)
    with pytest.raises(PliantError, match=r"empty\.yaml"):
        Study.read(tmp_path / "empty.yaml")


def test_there_are_demos_and_examples():
    assert len(DEMOS) >= 2
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("path", [*DEMOS, *EXAMPLES], ids=lambda path: path.name)
def test_the_schema_accepts_demos_and_examples(path):
    jsonschema.validate(yaml.load(path.read_text(), Yaml12), Study.model_json_schema())
    assert [question.form() for question in Study.read(path).questions] == ["checkpoint"]


@pytest.mark.parametrize("kind", ["form", "trained"])
def test_the_schema_accepts_what_the_parser_accepts(kind, request):
    schema = jsonschema.Draft202012Validator(Study.model_json_schema())
    assert not list(schema.iter_errors(request.getfixturevalue(kind)))


@pytest.mark.parametrize("wrong", [wrong for wrong, _ in BAD if wrong != {"questions": "checkpoint"} and "x" not in json.dumps(wrong)])
def test_the_schema_refuses_what_the_parser_refuses(form, wrong):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(form | wrong, Study.model_json_schema())
