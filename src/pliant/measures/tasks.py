"""Any task of the field's harness (lm-eval) by its name, read off this model in memory, sample by sample.

Idea: the harness asks, and scores; every metric it tells for single samples is a reading under the samples' own hashes, so that a changed
model is paired with the unchanged one. A group of tasks is read as all its samples together.
When to use it: benchmarks that `choice` and `generate` do not read, and scores to be compared with published ones.
Cost: the harness's own loop, slower than pliant's measures. Its tasks' data are downloaded from the hub by the harness, unless a task of
one's own (a folder of YAML files in `include`) names local files.
What goes wrong: metrics that are made from all samples at once (F1, correlation) have no values of single samples and are left out, with
a note, as are metrics of which neither the task nor the harness says whether more is better; means of groups are over samples, where the
harness may weigh tasks alike.
Source: lm-evaluation-harness, extra `tasks`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Generator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from pliant.data.content import contents
from pliant.data.located import Located
from pliant.errors import PliantError, first_line
from pliant.files import expanded
from pliant.measures.measure import Better, Measure, Reading, check_loaded
from pliant.numbers import Count
from pliant.progress import remark
from pliant.spec import digest, nearest

if TYPE_CHECKING:
    from pliant.models import Model


NETWORK = ("requests", "urllib3", "httpx", "httpcore", "huggingface_hub")
"""Packages whose errors are of a network, or of the hub."""


class TaskFolder(Located):
    """A folder with tasks of one's own; a plain string is its `source`."""

    def fingerprint(self) -> str:
        """Of all its files. Raises PliantError where it is no folder."""
        folder = expanded(self.source)
        if not folder.is_dir():
            raise PliantError(f"{self.source}: no such folder")
        return digest(" ".join(contents(sorted(path for path in folder.rglob("*") if path.is_file()))))


class Tasks(Measure):
    """A task of lm-eval, sample by sample."""

    task: str = Field(min_length=1, description="Its name, as lm-eval has it: a task or a group")
    include: TaskFolder | None = Field(None, description="A folder with tasks of one's own (YAML)")
    samples: Count | None = Field(None, ge=1, description="How many of each task, from the first; null for all")
    shots: int | None = Field(None, ge=0, description="Examples shown first; by default as the task says")
    rows: Count = Field(8, ge=1, exclude=True, description="Rows of a batch")

    def readings(self, model: Model) -> Sequence[Reading]:
        """A reading for each metric of single samples (`metric`, or `metric,filter` where answers are filtered).

        Raises PliantError where lm-eval is missing, for a task it does not know, and for whatever goes wrong inside it.
        """
        check_loaded(model)
        if find_spec("lm_eval") is None:
            raise PliantError("lm-eval is not installed; pip install 'pliant[tasks]'")
        told = self._told(model)
        found: dict[str, dict[str, float]] = {}
        left_out, asked = dict[str, None](), list[str]()
        for task, samples in told["samples"].items():
            for sample in samples:
                name = f"{sample['doc_hash'][:16]}:{task}:{sample['doc_id']}"
                asked += [name, str(sample.get("prompt_hash")), str(sample.get("target_hash"))]
                for metric in sample["metrics"]:
                    value = sample[metric]
                    if isinstance(value, (bool, int, float, np.number)):
                        key = metric if sample["filter"] == "none" else f"{metric},{sample['filter']}"
                        found.setdefault(key, {})[name] = float(value)
                    else:
                        left_out[metric] = None
        if left_out:
            remark(f"{self.task}: {', '.join(left_out)} has no value for single samples and is left out")
        better = self._better(told["higher_is_better"], list(found))
        if not better:
            raise PliantError(f"{self.task}: none of its metrics has a value for single samples, and a better direction")
        data = digest(" ".join([self.task, *asked]))
        return [
            Reading(
                metric, "score", list(found[metric]), np.array(list(found[metric].values())), np.ones(len(found[metric])), data, (), way
            )
            for metric, way in better.items()
        ]

    def _better(self, told: Mapping[str, Mapping[str, bool | None]], metrics: Sequence[str]) -> dict[str, Better]:
        """Of each metric, by what the task says, or else the harness; one of which neither says it is left out."""
        from lm_eval.api.registry import is_higher_better  # pyright: ignore[reportMissingImports]

        said = {metric: way for ways in told.values() for metric, way in ways.items() if way is not None}
        found: dict[str, Better] = {}
        for metric in metrics:
            name = metric.split(",")[0]
            way = said[name] if name in said else is_higher_better(name)
            if way is None:
                remark(f"{self.task}: whether more of {metric} is better is said neither by the task nor by lm-eval, so it is left out")
            else:
                found[metric] = "higher" if way else "lower"
        return found

    def _told(self, model: Model) -> Mapping[str, Any]:
        words = getattr(model.tokenizer, "tokenizer", None)
        if words is None:
            raise PliantError(f"{model.checkpoint.address}: lm-eval cannot use a tokenizer of plain characters; read choice or generate")
        own = ("", "") if self.include is None else (str(expanded(self.include.source)), self.include.fingerprint())
        padding = words.pad_token  # the harness sets one where there is none
        try:
            with _quiet():
                from lm_eval import simple_evaluate  # pyright: ignore[reportMissingImports]
                from lm_eval.models.huggingface import HFLM  # pyright: ignore[reportMissingImports]

                manager = _manager(*own)
                if self.task not in manager.all_tasks:
                    raise PliantError(f"lm-eval knows no task {self.task!r}; {nearest(self.task, manager.all_tasks)}")
                network = HFLM(pretrained=model.network, tokenizer=words, batch_size=self.rows, max_length=model.context)
                told = simple_evaluate(
                    model=network,
                    tasks=[self.task],
                    num_fewshot=self.shots,
                    limit=self.samples,
                    bootstrap_iters=0,
                    task_manager=manager,
                )
        except PliantError:
            raise
        except Exception as error:  # the harness, and the tasks' own code, raise anything
            hint = "; tasks whose data lie on the hub need the network once" if _of_the_hub(error) else ""
            raise PliantError(f"lm-eval, task {self.task}: {first_line(error)}{hint}") from error
        finally:
            words.pad_token = padding
        return told or {}


@lru_cache(2)
def _manager(folder: str, fingerprint: str) -> Any:
    """The harness's index of its tasks and those in `folder`, which takes it many seconds: once for a folder's content."""
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

    return TaskManager(include_path=folder or None)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Nothing that libraries print or log below an error."""
    before = logging.root.manager.disable
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore"):
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _of_the_hub(error: BaseException | None) -> bool:
    """Whether it, or what it comes from, is of a network or a hub."""
    while error is not None:
        kind = type(error)
        if isinstance(error, ConnectionError) or kind.__module__.split(".")[0] in NETWORK or kind.__name__ == "DatasetNotFoundError":
            return True
        error = error.__cause__ or error.__context__
    return False
