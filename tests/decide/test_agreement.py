"""Accuracy without labels: the equations solved exactly, heads whose truth is known, and digits with corruption."""

import json

import numpy as np
import pytest
import torch

from attacked_digits import trained_digits
from pliant.cli import main
from pliant.data.images import Images
from pliant.decide.agreement.answers import HeadAnswers
from pliant.decide.agreement.asked import of_models, of_trunk
from pliant.decide.agreement.baselines import atc, naive_agreement
from pliant.decide.agreement.decide import decide
from pliant.decide.agreement.features import features_of
from pliant.decide.agreement.line import aline_d, aline_s, line_through, pairs_of
from pliant.decide.agreement.probes import trained_heads
from pliant.errors import PliantError
from pliant.models import save
from pliant.models.modules import heads
from pliant.objectives import Label


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A network, the images it was never trained on with noise, their labels, and folders of both."""
    folder = tmp_path_factory.mktemp("digits")
    model = trained_digits().model
    pictures = Images(source="builtin:digits").pictures("heldout", (8, 8))
    pixels = pictures.pixels(np.arange(len(pictures)))
    copies = np.concatenate([pixels] * 4)
    noisy = np.clip(copies + np.random.default_rng(0).normal(0, 25, copies.shape), 0, 255).astype(np.uint8)
    labels = np.concatenate([pictures.labels] * 4)
    np.savez(folder / "noisy.npz", images=noisy, labels=labels)
    save(model, folder / "model")
    return model, folder, labels


@pytest.mark.parametrize("models", [3, 8])
def test_both_estimators_recover_what_lies_on_a_line(models):
    generator = np.random.default_rng(models)
    slope, bias = 0.8, -0.3
    accuracy, known = generator.normal(0.8, 0.4, models), generator.normal(0.5, 0.4, models * (models - 1) // 2)
    shifted = slope * known + bias
    line = line_through(known, shifted)
    assert (line.slope, line.bias, line.r2) == (pytest.approx(slope), pytest.approx(bias), pytest.approx(1))
    np.testing.assert_allclose(aline_s(line, accuracy), slope * accuracy + bias, atol=1e-10)
    np.testing.assert_allclose(aline_d(line.slope, accuracy, known, shifted), slope * accuracy + bias, atol=1e-10)


def test_pairs_are_solved_by_least_squares_in_any_order_of_models():
    generator = np.random.default_rng(0)
    models = 7
    first, second = pairs_of(models)
    accuracy, known, shifted = generator.normal(size=models), generator.normal(size=len(first)), generator.normal(size=len(first))
    rows = np.zeros((len(first), models))
    rows[np.arange(len(first)), first] = rows[np.arange(len(first)), second] = 0.5
    wanted = shifted + 0.7 * (rows @ accuracy - known)
    found = aline_d(0.7, accuracy, known, shifted)
    np.testing.assert_allclose(found, np.linalg.lstsq(rows, wanted, rcond=None)[0], atol=1e-10)
    order = generator.permutation(models)
    square = [np.zeros((models, models)) for _ in range(2)]
    for table, values in zip(square, (known, shifted), strict=True):
        table[first, second] = table[second, first] = values
    mixed = [table[order[first], order[second]] for table in square]
    np.testing.assert_allclose(aline_d(0.7, accuracy[order], *mixed), found[order], atol=1e-10)
    with pytest.raises(PliantError, match="2 heads are too few"):
        aline_d(0.7, accuracy[:2], known[:1], shifted[:1])


def correlated(seed, power, models=10, items=1000):
    """Heads that see the truth through noise: with correlation r they are right, and of correlation r s agree, with probability
    1 - arccos / pi, so accuracy and agreement are the same function of correlation on both data, where r becomes r ** power.
    """
    generator = np.random.default_rng(seed)
    strength = np.sin((np.linspace(0.7, 0.95, models) - 0.5) * np.pi)

    def drawn(r):
        truth, noise = generator.standard_normal(items), generator.standard_normal((models, items))
        answers = (r[:, None] * truth + np.sqrt(1 - r[:, None] ** 2) * noise > 0).astype(int)
        return answers, (answers == (truth > 0)).astype(float)

    known, right = drawn(strength)
    shifted, _ = drawn(strength**power)
    sure = np.full(known.shape, 0.5)
    return HeadAnswers([f"{n}" for n in range(models)], known, sure, right, shifted, sure), float(
        (1 - np.arccos(strength**power) / np.pi).mean()
    )


def test_intervals_hold_the_truth_of_heads_that_see_it_through_noise():
    inside, errors = [], []
    for seed in range(12):
        answers, truth = correlated(seed, 1.5)
        found = decide(answers, seed)
        inside.append(found.low <= truth <= found.high)
        errors.append(float(found.by_pairs.mean()) - truth)
    assert sum(inside) >= 9, "of 12 intervals at 90%"
    assert abs(np.mean(errors)) < 0.012, "what the curve of arccos differs from a line"


def test_thresholds_and_naive_agreement():
    generator = np.random.default_rng(0)
    sure = generator.random((3, 400))
    right = (generator.random((3, 400)) < sure).astype(float)
    np.testing.assert_allclose(atc(sure, right, sure), right.mean(1), atol=1 / 400)
    np.testing.assert_allclose(naive_agreement(np.array([0.1, 0.2, 0.3]), *pairs_of(3), 3), [0.15, 0.2, 0.25])


def answered(known, shifted):
    known, shifted = np.array(known), np.array(shifted)
    return HeadAnswers([f"{n}" for n in range(len(known))], known, known / 9, known / 9, shifted, shifted / 9)


def test_heads_without_disagreement_are_refused():
    varied = [[0, 1, 2], [0, 1, 1], [2, 1, 1]]
    with pytest.raises(PliantError, match="all 3 heads answer alike on the unlabelled data"):
        answered(varied, [[1, 1]] * 3)
    with pytest.raises(PliantError, match="all 3 heads answer alike on the labelled data"):
        answered([[1, 1]] * 3, varied)
    with pytest.raises(PliantError, match="2 heads are too few"):
        answered(varied[:2], varied[:2])
    equal = [[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1]]
    with pytest.raises(PliantError, match="agrees equally often"):
        decide(answered(equal, equal))


def test_features_are_what_the_head_reads_and_heads_learn_as_one_alone(digits):
    model, _, _ = digits
    examples = Label.parse({"data": "builtin:digits", "part": "heldout"}).examples(model, None)
    features, labels = features_of(model, examples)
    (head,) = heads(model.network)
    with torch.no_grad():
        logits = model.network.eval()(**examples.at(np.arange(len(labels))).inputs).logits
        np.testing.assert_allclose(head(torch.from_numpy(features).float()), logits, atol=1e-4)
    found = trained_heads(features, labels, 10, 3, "head", 0.1, (2, 8), 0)
    drawn = np.random.default_rng(0).standard_normal((3, features.shape[1], 10))
    scaled = (features - found.mean) / found.deviation
    for number, steps in enumerate((2, 4, 8)):
        weights, bias = drawn[number].copy(), np.zeros(10)
        for step in range(steps):
            epoch, place = divmod(step * 64, len(labels) - len(labels) % 64)
            rows = np.random.default_rng([0, 0, epoch]).permutation(len(labels))[place : place + 64]
            logits = scaled[rows] @ weights + bias
            chances = np.exp(logits - logits.max(1, keepdims=True))
            error = (chances / chances.sum(1, keepdims=True) - np.eye(10)[labels[rows]]) / 64
            weights, bias = weights - 0.1 * scaled[rows].T @ error, bias - 0.1 * error.sum(0)
        np.testing.assert_allclose(found.weights[number], weights, atol=1e-4)
        np.testing.assert_allclose(found.biases[number], bias, atol=1e-4)


def test_random_heads_tell_the_accuracy_on_noisy_digits_and_reordered_ones_are_doubted(digits):
    """The truth is known here, and nobody asked for it."""
    model, folder, labels = digits
    told = {}
    for diversity in ("head", "order"):
        answers = of_trunk(model, "builtin:digits", str(folder / "noisy.npz"), 14, diversity)
        found = decide(answers)
        told[diversity] = found, float((answers.shifted == labels).mean())
    found, truth = told["head"]
    assert found.verdict == "trusted"
    assert found.low <= truth <= found.high
    assert abs(found.answer - truth) < 0.06
    assert abs(found.baselines["average_confidence"] - truth) > 0.1
    alike, truth = told["order"]
    assert alike.verdict != "trusted"
    assert any("wrong in the same way" in caveat for caveat in alike.caveats)


def test_the_command_answers_for_several_models(digits, tmp_path, monkeypatch, capsys):
    model, folder, _ = digits
    (head,) = heads(model.network)
    kept = {name: value.detach().clone() for name, value in head.named_parameters()}
    for number, noise in enumerate((0.0, 1.5, 3.0, 5.0)):
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for name, value in head.named_parameters():
                value.copy_(kept[name] + noise * value.std() * torch.randn(value.shape, generator=generator))
        save(model, tmp_path / f"{number}")
    with torch.no_grad():
        for name, value in head.named_parameters():
            value.copy_(kept[name])
    places = [str(tmp_path / f"{number}") for number in range(4)]
    options = [part for place in places for part in ("--heads", place)]
    monkeypatch.setattr(
        "sys.argv",
        ["pliant", "decide", "accuracy", *options, "--labelled", "builtin:digits", "--unlabelled", str(folder / "noisy.npz"), "--json"],
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    assert {"question", "answer", "low", "high", "verdict", "r2", "baselines"} <= set(told)
    assert [one["head"] for one in told["heads"]] == places
    assert told["heads"][0]["labelled"] > told["heads"][3]["labelled"]
    assert set(told["baselines"]) == {"average_confidence", "atc", "naive_agreement"}
    with pytest.raises(PliantError, match="given twice"):
        of_models([places[0]] * 3, "builtin:digits", "builtin:digits")
    with pytest.raises(PliantError, match="2 heads are too few"):
        of_models(places[:2], "builtin:digits", "builtin:digits")
