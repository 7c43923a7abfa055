"""Numbers taken out of answers, and prompts with shots: those of lm-eval's GSM8K, item by item."""

import json

import pytest

from pliant.measures import Generate
from pliant.measures.generate import EXTRACTIONS, same

ANSWERS = [
    "16 - 7 = 9\n#### 18",
    "#### 1,234 and then 5",
    "It is $1,250.00.",
    "#### -3",
    "#### - 3",
    "#### $18",
    "#### 18.",
    "#### 18.0",
    "#### 1\n#### 2",
    "####18",
    "so 5 and -7",
    "5-7",
    "$ 5",
    "$5",
    "a.b",
    "wait... what",
    "1,000,000 dollars",
    "-$4.50",
    "3 % of 20,",
    "",
    "  ",
    "no idea",
    "#### ,",
    "#### .",
    "\u0663 birds",
    "1e5",
    "2/3",
    "THE ANSWER IS #### 18\nQuestion",
]
RIGHT = ["9 * 2 = 18\n#### 18", "#### -3", "#### 1,234", "#### 2", "5", "-7", "$1,250.00", "#### 18.0", ""]


def test_extractions_and_matches_are_the_harness_s():
    pytest.importorskip("lm_eval", reason="extra tasks")
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter

    filters = {
        "exact_match_strict": RegexFilter(r"#### (\-?[0-9\.\,]+)"),
        "exact_match_flexible": RegexFilter("(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1),
    }
    ignored = [",", r"\$", "(?s).*#### ", r"\.$"]
    for metric, taken in EXTRACTIONS.items():
        for answer in ANSWERS:
            ((theirs,),) = filters[metric].apply([[answer]], [{}])
            assert taken(answer) == theirs, (metric, answer)
            for right in RIGHT:
                told = exact_match_hf_evaluate([theirs], [right], regexes_to_ignore=ignored, ignore_case=True)["exact_match"]
                assert same(theirs, right) == bool(told), (metric, answer, right)


def test_prompts_with_shots_are_the_harness_s(tmp_path, monkeypatch):
    pytest.importorskip("lm_eval", reason="extra tasks")
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    records = [{"question": f"{n} birds, {n} more. How many?", "answer": f"{n}+{n}={2 * n}\n#### {2 * n}"} for n in range(6)]
    shots, asked = tmp_path / "shots.jsonl", tmp_path / "asked.jsonl"
    shots.write_text("\n".join(map(json.dumps, records[:4])))
    asked.write_text("\n".join(map(json.dumps, records[4:])))
    (tmp_path / "mine.yaml").write_text(
        f"""
task: sums_of_my_own
dataset_path: json
dataset_kwargs: {{data_files: {{train: {shots}, test: {asked}}}}}
output_type: generate_until
training_split: train
fewshot_split: train
test_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{answer}}}}"
fewshot_config: {{sampler: first_n}}
num_fewshot: 3
"""
    )
    told = TaskManager(include_path=str(tmp_path)).load(["sums_of_my_own"])
    task = told["tasks"]["sums_of_my_own"] if "tasks" in told else next(iter(told.values()))
    measure = Generate(data=str(asked), shots=str(shots), shown=3)
    prompts = []
    monkeypatch.setattr("pliant.measures.generate.generate", lambda model, found, **_: prompts.extend(found) or [])
    measure.said(None, measure.problems())
    assert prompts == [task.fewshot_context(doc, num_fewshot=3) for doc in task.test_docs()]
