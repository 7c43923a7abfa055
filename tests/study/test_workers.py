"""Worker processes: the same results, and nothing lost when one of them, the parent or the user ends it."""

import errno
import functools
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from awkward import Die, Refuse
from kill_study import kill_and_resume
from test_run import rows

import pliant
from pliant import PliantError
from pliant.changes import NoChange, Quantize
from pliant.ledger.ledger import Ledger
from pliant.study.cost import Cost
from pliant.study.messages import Opened, Opening, OpenRung, RunCell
from pliant.study.planning import Cell, Plan, plan
from pliant.study.pool import Pool
from pliant.study.processes import Worker, WorkerDied
from pliant.study.queue import Queue
from pliant.study.ray_cluster import Cluster
from pliant.study.running import run
from pliant.study.session import Session
from pliant.study.study import Study
from pliant.study.worker import WorkerSettings, module_path

HERE = Path(__file__).parent


def started(arguments, **settings):
    """A Python process that finds the tests' modules, in a group of its own, and that hears Ctrl-C."""
    modules = os.pathsep.join([str(HERE), str(Path(pliant.__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": modules, "OMP_NUM_THREADS": "1"}
    settings |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    # what a shell starts in the background ignores SIGINT, and would hand that on
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen([sys.executable, *map(str, arguments)], env=environment, preexec_fn=heard, **settings)


def appeared(path, seconds=60):
    deadline = time.monotonic() + seconds
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)
    return path.read_text()


def gone(process_id, seconds=90):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{process_id}/stat").read_text().split()[2] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def queue(costs, in_order=False):
    """A queue over rungs that cost so much to open, each with an unchanged and a quantized cell of one second."""
    changes = [Quantize(bits=4), NoChange()]
    cells = [Cell(f"{n}{c.kind}", "s", "tokens", n, c, 0, {}, {}, Cost(1, 1)) for n in range(len(costs)) for c in changes]
    return Queue(
        Plan(None, "tokens", [None] * len(costs), [Cost(cost, cost) for cost in costs], cells, 0, frozenset(), {}, {}, []), in_order
    )


def test_the_costliest_rung_is_opened_first_and_kept_until_it_is_done():
    waiting = queue([1, 9, 5])
    assert waiting.rung_for(None, set()) == 1
    assert [waiting.take(1).change.kind for _ in range(2)] == ["none", "quantize"]
    assert waiting.rung_for(1, set()) == 2
    assert waiting.rung_for(0, set()) == 0


def test_a_free_worker_helps_only_with_what_is_ready():
    waiting = queue([9, 5])
    assert waiting.rung_for(None, {0}) == 1
    assert waiting.rung_for(None, {0, 1}) is None
    waiting.ready.add(1)
    assert waiting.rung_for(None, {0, 1}) == 1
    waiting.take_all(1)
    assert waiting.rung_for(None, {0}) is None


def test_tasks_and_answers_travel_and_mean_what_they_say(form):
    planned = plan(Study.parse(form | {"changes": [], "seeds": 0}))
    cell, session = planned.cells[0], Session(None)
    opened = pickle.loads(pickle.dumps(OpenRung(planned.rungs[cell.rung]))).done(session)
    assert pickle.loads(pickle.dumps(opened)) == Opened(None)
    finished = pickle.loads(pickle.dumps(RunCell(cell).done(session)))
    assert [(record.cell, record.status) for record in finished.records] == [(cell.name, "ok")]
    session.close()


class Scripted(Worker):
    """A worker that says what it is told to, and then has died."""

    def __init__(self, *answers):
        super().__init__()
        self.answers, self.tasks = [*answers], []

    def send(self, task):
        self.tasks.append(task)

    def receive(self):
        if not self.answers:
            raise WorkerDied("it has died")
        return self.answers.pop(0)

    def stop(self):
        self.tasks.append(None)


def played(form, *scripts):
    """A plan of two rungs with one cell each, what workers of these scripts are given and deliver, and the work that is reported."""
    planned = plan(Study.parse(form | {"changes": [], "seeds": 0}))
    workers, delivered, advanced = [Scripted(*script) for script in scripts], [], []
    executor = SimpleNamespace(start=iter(workers).__next__, ready=list)
    Pool(planned, Queue(planned), executor, 1, delivered.extend, advanced.append).run()
    assert sum(advanced) == pytest.approx(planned.cost.seconds)
    return [[type(task) for task in worker.tasks if task] for worker in workers], [record.error for record in delivered]


def test_progress_counts_once_however_it_comes(trained):
    answers = Opening(0.25), Opening(0.75), Opening(0.5), Opened("no such weights"), Opened("nor these")
    assert played(trained, answers) == ([[OpenRung, OpenRung]], ["no such weights", "nor these"])


def test_a_worker_that_dies_takes_what_it_was_doing_with_it(trained):
    tasks, errors = played(trained, [Opened()], [Opened("no such weights")])
    assert (tasks, errors) == ([[OpenRung, RunCell], [OpenRung]], ["it has died", "no such weights"])


def test_downloads_come_in_order():
    waiting = queue([0, 0, 0], in_order=True)
    assert waiting.rung_for(None, set()) == 0
    waiting.take_all(0)
    assert waiting.rung_for(0, set()) == 1


@pytest.mark.slow
def test_workers_measure_what_one_process_measures_and_survive_a_death(form, tmp_path):
    form |= {"changes": [Die(), Refuse(), *Study.parse(form).changes]}
    study = Study.parse(form)
    runs = run(study, tmp_path / "workers", workers=2, quiet=True)
    assert {(row["change_kind"], row["error"].split(";")[0]) for row in runs.failed} == {
        ("die", "the worker process was killed by signal 9"),
        ("refuse", "this model cannot be changed so"),
    }
    assert len(runs.failed) == 4
    alone = run(study.model_copy(update={"changes": study.changes[:1] + study.changes[3:]}), tmp_path / "alone", workers=0)
    (records, samples), (expected, expected_samples) = rows(runs), rows(alone)
    assert [row for row in records if row["status"] == "ok"] == expected
    assert samples == expected_samples


SCRIPT = """
import sys
import pliant
runs = pliant.run(sys.argv[1], sys.argv[2], workers=1, quiet=True)
print(len(runs.records()))
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_may_use_workers(form, tmp_path):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(form | {"seeds": 0, "changes": []}))
    (tmp_path / "script.py").write_text(SCRIPT)
    process = started([tmp_path / "script.py", tmp_path / "study.yaml", tmp_path / "ledger"])
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output.strip(), errors) == (0, "2", "")


WAITING = """
import json, sys
from awkward import Wait
from pliant.study import Study, run
form = json.loads(sys.argv[1])
study = Study.parse(form | {"changes": [Wait(signal=sys.argv[3])]})
run(study, sys.argv[2], workers=1, quiet=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(form, tmp_path, end):
    process = started(["-c", WAITING, json.dumps(form | {"seeds": 0}), tmp_path / "ledger", tmp_path / "begun"])
    worker = int(appeared(tmp_path / "begun"))
    if end == signal.SIGINT:
        os.killpg(process.pid, end)  # as a terminal does
    else:
        process.kill()
    assert gone(worker)
    assert process.wait(90) != 0
    assert [row["change_kind"] for row in Ledger(tmp_path / "ledger").records()] == ["none"]
    with Ledger(tmp_path / "ledger").lock():
        pass


@pytest.mark.slow
def test_a_study_killed_at_random_moments_resumes_to_the_same_rows(trained, tmp_path):
    finished = kill_and_resume(trained, tmp_path, kills=3, workers=0, seed=1)
    assert finished == sorted(finished)  # nothing that was finished is lost
    assert 0 < finished[-1] < 12


@pytest.mark.slow
def test_workers_run_no_code_that_lies_in_the_current_folder(form, tmp_path):
    (tmp_path / "pliant").mkdir()
    for name in ("pydantic.py", "torch.py", "numpy.py", "json.py", "sitecustomize.py", "pliant/__init__.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'a').close()\n")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(form | {"seeds": 0, "changes": []}))
    code = "from pliant.cli import main; main()"  # with -P, as the installed command has no current folder among its modules
    process = started(["-P", "-c", code, "run", "study.yaml", "--ledger", "ledger", "--workers", "1"], cwd=tmp_path)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output.splitlines()[0].startswith("stored: 2 records in ledger")) == (0, True), errors
    assert not (tmp_path / "ran").exists()


def test_modules_of_the_current_folder_come_after_installed_ones(tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "/installed", "below", "__editable__.finder", str(tmp_path / "own")])
    assert module_path() == ["/installed", "__editable__.finder", str(tmp_path / "own"), str(tmp_path), str(tmp_path / "below")]


def test_ray_is_started_beside_the_package_and_works_in_the_current_folder(tmp_path, monkeypatch):
    began = []
    ray = SimpleNamespace(
        init=lambda **_: began.append(Path.cwd()),
        remote=lambda **_: lambda kind: SimpleNamespace(remote=lambda *arguments: SimpleNamespace(arguments=arguments)),
        cluster_resources=lambda: {"CPU": 2},
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.chdir(tmp_path)
    worker = Cluster(WorkerSettings(module_path(), 1, None)).start()
    assert began == [Path(pliant.__file__).parents[1]]
    assert Path.cwd() == tmp_path
    assert worker.actor.arguments[1] == str(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.02, 0.3])
def test_ctrl_c_while_a_worker_starts_is_one_line(form, tmp_path, delay):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(form))
    command = ["-P", "-c", "from pliant.cli import main; main()", "run", tmp_path / "study.yaml", "--ledger", tmp_path / "ledger"]
    process = started([*command, "--workers", "1"])
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = appeared(children).split()
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert errors.startswith("pliant: interrupted; what was finished is in")
    assert len(errors.splitlines()) == 1
    assert all(gone(worker) for worker in workers)


@pytest.mark.slow
def test_a_worker_that_cannot_go_on_says_why(form, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("pliant.study.processes.START", "import sys; sys.path[:] = sys.argv[3:]; sys.modules['torch'] = None\n" + MAIN)
    runs = run(form | {"seeds": 0, "changes": []}, tmp_path / "ledger", workers=1, quiet=True)
    assert {row["error"] for row in runs.failed} == {
        "the worker process could not go on: ModuleNotFoundError: import of torch halted; None in sys.modules"
    }
    assert len(runs.failed) == 2
    assert capfd.readouterr() == ("", "")


MAIN = "from pliant.study.worker import main; main()"


class Panic(BaseException):
    """As what is written in Rust raises."""


def test_whatever_goes_wrong_while_opening_is_a_record(form, tmp_path, monkeypatch):
    def fails(*_):
        raise Panic("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr("pliant.models.folders.FolderRung.open", fails)
    runs = run(form | {"seeds": 0, "changes": []}, tmp_path / "ledger", workers=0, quiet=True)
    assert {row["error"] for row in runs.failed} == {"Panic: called `Option::unwrap()` on a `None` value"}


def test_a_system_without_room_for_workers_is_one_line(form, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)
    with pytest.raises(PliantError, match=r"no worker process can be started .*--workers 0"):
        run(form, tmp_path / "ledger", workers=2, quiet=True)
