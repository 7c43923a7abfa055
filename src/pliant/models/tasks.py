"""Tasks: what a network reads and what it answers with, and by which class of transformers it is loaded.

Idea: one table. A checkpoint's task is told by the class that its `config.json` names; a network's, by its own class. Classes that
another package registers with transformers' auto classes are known like transformers' own.
What goes wrong: an architecture without that entry, or with a class of its own, counts as a causal language model where its type has
one; `load(..., task=...)` says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.models.vision import register
from pliant.spec import nearest

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig

    from pliant.models.images import ImageInput


@dataclass(frozen=True)
class Task:
    """What networks of one kind read and answer with."""

    name: str
    called: str
    """What such a network is called, with its article."""
    auto: str
    """The auto class of transformers that loads it."""
    table: str
    """Transformers' own table of its classes, by model type."""
    text: bool = True
    """Whether it reads text."""
    images: bool = False
    """Whether it reads images."""
    labelled: bool = False
    """Whether its head has one output for each label; otherwise its answers are of the vocabulary, or no labels at all."""

    def classes(self, kind: str) -> tuple[str, ...]:
        """The names of its classes for a model type; none where that cannot have this task."""
        from transformers.models.auto import modeling_auto

        register()
        own = getattr(modeling_auto, self.table).get(kind, ())
        registered = self.auto_class._model_mapping._extra_content  # there is no public way to ask
        added = (network.__name__ for config, network in registered.items() if config.model_type == kind)
        return (*((own,) if isinstance(own, str) else own), *added)

    @property
    def auto_class(self) -> Any:
        """The auto class itself."""
        import transformers

        return getattr(transformers, self.auto)

    def network_class(self, config: PreTrainedConfig) -> Any:
        """The class of a network of this task with such a configuration. Raises PliantError where there is none."""
        if not self.classes(config.model_type):
            raise PliantError(f"{config.model_type!r} has no network that is {self.called}")
        found = self.auto_class._model_mapping[type(config)]
        return found[0] if isinstance(found, (list, tuple)) else found


TASKS = {
    task.name: task
    for task in (
        Task("causal", "a causal language model", "AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"),
        Task("masked", "a masked language model", "AutoModelForMaskedLM", "MODEL_FOR_MASKED_LM_MAPPING_NAMES"),
        Task(
            "sequence",
            "a classifier of text, or a head with numbers",
            "AutoModelForSequenceClassification",
            "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
            labelled=True,
        ),
        Task(
            "image",
            "a classifier of images",
            "AutoModelForImageClassification",
            "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
            text=False,
            images=True,
            labelled=True,
        ),
        Task(
            "dual",
            "a dual encoder of text and images",
            "AutoModelForZeroShotImageClassification",
            "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES",
            images=True,
        ),
        Task("trunk", "an encoder of text without a head", "AutoModel", "MODEL_MAPPING_NAMES"),
        Task("image_trunk", "an encoder of images without a head", "AutoModel", "MODEL_MAPPING_NAMES", text=False, images=True),
    )
}
"""Every task by its name, in the order in which they are looked for."""

CAUSAL = TASKS["causal"]


def task_called(name: str) -> Task:
    """The task of that name. Raises PliantError where there is none."""
    if name not in TASKS:
        raise PliantError(f"unknown task {name!r}; {nearest(name, TASKS)}")
    return TASKS[name]


def configured_task(config: Mapping[str, Any]) -> Task | None:
    """The task of the network that a `config.json` describes; None where it is none of these.

    A type that can be causal and is not described as something else is causal.
    """
    kind, named = str(config.get("model_type")), config.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else ""
    for task in TASKS.values():
        if architecture in task.classes(kind) and not (_headless(task) and _decoder(kind)):
            return _of_its_input(task, kind)
    code = config.get("auto_map")
    written = [task for task in TASKS.values() if isinstance(code, Mapping) and task.auto in code]
    return written[0] if written else CAUSAL if CAUSAL.classes(kind) else None


def task_of(network: nn.Module) -> Task:
    """The task that a network's own class has; causal where nothing tells, as of networks with code of their own."""
    config: Any = getattr(network, "config", None)
    kind, named = getattr(config, "model_type", ""), type(network).__name__
    return next((_of_its_input(task, kind) for task in TASKS.values() if named in task.classes(kind)), CAUSAL)


def _headless(task: Task) -> bool:
    return task.auto == "AutoModel"


def _decoder(kind: str) -> bool:
    """Whether a trunk of this type is a causal language model's: its head may be its embedding."""
    return bool(CAUSAL.classes(kind)) and not TASKS["masked"].classes(kind)


def _of_its_input(task: Task, kind: str) -> Task:
    """Transformers has one auto class for all trunks; those that classify images and no text read images."""
    images = TASKS["image"].classes(kind) and not TASKS["masked"].classes(kind) and not CAUSAL.classes(kind)
    return TASKS["image_trunk"] if _headless(task) and images else task


@dataclass(frozen=True)
class Needs:
    """What a network must be to be trained on an objective."""

    task: str = "causal"
    """The name of its task."""
    labels: tuple[str, ...] | None = None
    """What its head has an output for, in order; None where the task has no labels."""
    numbers: bool = False
    """Whether each label is a number to predict, and not a class to choose."""
    images: ImageInput | None = None
    """The form of the images it is to read, for a network that is yet to be made."""
    fresh: bool = False
    """Whether its head is to be a new one also where it has one."""
