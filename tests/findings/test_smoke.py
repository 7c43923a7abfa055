"""Every finding at size smoke, its rule and all."""

import pytest

from pliant.findings import FINDINGS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("findings")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FINDINGS.specs()))
def test_at_size_smoke_the_claim_is_reproduced(name, folder):
    finding = FINDINGS[name](size="smoke")
    row = finding.row(finding.test(folder))
    assert row["verdict"] == "reproduced", row["checks"]
    assert row["ours"]


@pytest.mark.parametrize("name", sorted(FINDINGS.specs()))
def test_every_finding_states_its_claim_and_rule_before_it_runs(name):
    finding = FINDINGS[name]
    for stated in (finding.paper, finding.claim, finding.published, finding.rule):
        assert len(stated) > 20
    assert "arXiv" in finding.paper
    assert finding.rule.startswith("reproduced when")
