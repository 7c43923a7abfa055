"""A search that the system kills, whatever it is doing: the same answer, and no more trained than what no state was saved of."""

import os
import signal

import pytest

from method_search import base_of, ground_of, write_domains
from pliant.decide.methods.arm import parse_arms
from pliant.decide.methods.decide import decide
from pliant.decide.methods.ground import Half
from pliant.decide.methods.plan import SearchPlan
from pliant.train import loop
from pliant.train.factor_stack import FactorStack

PLAN = SearchPlan(steps=8, trials=3, seeds=1)


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(folder / "cache"))
        write_domains(folder)
        yield folder, base_of(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_search_killed_at_any_moment_goes_on(domains, tmp_path, monkeypatch):
    folder, model = domains
    arms, made = parse_arms(["full", {"lora": {"rank": 2}}]), tmp_path / "steps"
    step, several, read, die = loop._step, FactorStack.step, Half.read, lambda: os.kill(os.getpid(), signal.SIGKILL)
    left = {"steps": -1, "reads": -1}

    def counted(original, what, *arguments):
        left[what] -= 1
        if not left[what]:
            die()
        if what == "steps":
            arms_together = len(arguments[1]) if original is several else 1
            with made.open("ab") as file:
                file.write(b"." * arms_together)
        return original(*arguments)

    monkeypatch.setattr(loop, "_step", lambda *arguments: counted(step, "steps", *arguments))
    monkeypatch.setattr(FactorStack, "step", lambda *arguments: counted(several, "steps", *arguments))
    monkeypatch.setattr(Half, "read", lambda *arguments: counted(read, "reads", *arguments))

    def search(place):
        return decide(ground_of(model, folder, tmp_path / place, PLAN.steps), arms, PLAN, 3e-3, keep="prose").json() | {"folder": ""}

    whole = search("whole")
    assert made.stat().st_size == 2 * PLAN.arm_steps
    made.unlink()
    for what, after in (("reads", 3), ("reads", 9), ("steps", 4), ("steps", 7)):
        child = os.fork()
        if not child:
            left[what] = after
            try:
                search("killed")
            finally:
                os._exit(0)  # never back into the tests
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert search("killed") == whole
    again = made.stat().st_size - 2 * PLAN.arm_steps
    assert 0 <= again <= 2 * 3, "what was trained since the last point that was read: at most three steps, twice"
