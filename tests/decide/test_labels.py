from __future__ import annotations

import pytest

from pliant.changes import parse_changes, recorded


@pytest.mark.parametrize(
    ("form", "family", "member", "strength"),
    [
        ("none", "unchanged", "", None),
        ({"quantize": {"bits": 4}}, "Quantization", "4 bits", 4),
        ({"quantize": {"bits": 3, "group": 64}}, "Quantization, group 64", "3 bits", 3),
        (
            {"quantize": {"bits": 3, "method": "gptq", "calibration": "builtin:prose"}},
            "Quantization by GPTQ, calibrated on prose",
            "3 bits",
            3,
        ),
        ({"perturb": {"scale": 0.1}}, "Gaussian noise, relative to weight RMS", "×0.1", 0.1),
        ({"perturb": {"scale": 0.1, "unit": "init", "draws": 8}}, "Gaussian noise, relative to initial spread", "×0.1", 0.1),
        ({"perturb": {"scale": 20, "unit": "snr_db"}}, "Gaussian noise, by signal to noise", "20 dB", 20),
        ({"finetune": {"data": "builtin:code", "steps": 30, "lr": 1e-3}}, "Fine-tuning on code, 30 steps", "lr 0.001", 1e-3),
        (
            [{"finetune": {"data": "texts/mine.txt", "steps": 30, "lr": 1e-3}}, {"quantize": {"bits": 4}}],
            "Fine-tuning on mine.txt, 30 steps, then Quantization",
            "lr 0.001 + 4 bits",
            4,
        ),
    ],
)
def test_changes_have_names_for_people(form, family, member, strength):
    (change,) = parse_changes([form])
    found = recorded(change.canonical_json())
    assert (found.title(), found.member(), found.strength) == (family, member, strength)


def test_a_tuned_rate_and_a_kind_that_is_not_installed_have_names_too():
    (change,) = parse_changes([{"finetune": {"data": "builtin:code", "steps": 30, "lr": 1e-3}}])
    assert change.member(tuned=True) == "lr tuned"
    melted = recorded('{"kind": "melt", "heat": 3, "where": "everywhere"}')
    assert melted.name() == "melt, heat 3, everywhere"
    assert melted.canonical() == {"kind": "melt", "heat": 3, "where": "everywhere"}


def test_changes_that_differ_in_strength_alone_have_one_title():
    changes = parse_changes([{"quantize": {"bits": [3, 4], "group": ["channel", 64]}}])
    assert len({change.title() for change in changes}) == 2
