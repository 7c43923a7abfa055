"""Every finding at size smoke, its rule and all."""

import json

import pytest

from pliant.findings import FINDINGS

TOO_SMALL = {
    "adversarial_attention_shortcut",
    "bi_drop_small_sets",
    "hard_examples",
    "layer_dropping",
    "lora_forgets_less",
    "perplexity_pruning",
    "sam_feature_diversity",
    "sam_label_noise",
    "sfa_keeps_source",
    "utility_halves",
}
"""Those that a few steps, or simulated runs, can only run, not settle."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("findings")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FINDINGS.specs()) - TOO_SMALL))
def test_at_size_smoke_the_claim_is_reproduced(name, folder):
    finding = FINDINGS[name](size="smoke")
    row = finding.row(finding.test(folder))
    assert row["verdict"] == "reproduced", row["checks"]
    assert row["ours"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TOO_SMALL))
def test_at_size_smoke_a_rule_is_applied_and_nothing_runs_twice(name, folder, monkeypatch):
    finding = FINDINGS[name](size="smoke")
    row = finding.row(finding.test(folder))
    assert row["verdict"] == ("reproduced" if all(row["checks"].values()) else "not at this scale")
    assert json.loads(json.dumps(row, allow_nan=False))["figures"]
    monkeypatch.setattr("pliant.findings.tuned.fit", None)
    assert finding.row(finding.test(folder)) == row


@pytest.mark.parametrize("name", sorted(FINDINGS.specs()))
def test_every_finding_states_its_claim_and_rule_before_it_runs(name):
    finding = FINDINGS[name]
    for stated in (finding.paper, finding.claim, finding.published, finding.rule):
        assert len(stated) > 20
    assert "arXiv" in finding.paper
    assert finding.rule.startswith("reproduced when")
