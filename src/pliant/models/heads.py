"""A fresh head on a trunk: a language model becomes a classifier, a reward model, or another kind of language model.

Idea: the network of the other task is built without memory, and takes over the trunk's own tensors, the very same objects; what the
trunk does not have (the head, a pooler) is initialised as the architecture initialises it, by a seed of its own. So nothing is copied,
and the network that the trunk came from is left as it was, as long as the trunk is.
When to use it: before training on labels, numbers or preferences; a head that was never trained answers at random.
Cost: the memory of the head alone.
What goes wrong: both networks share their trunk: training one trains the other.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError, first_line
from pliant.models.model import Model, parameter_counts
from pliant.models.modules import looks_ahead, token_embedding
from pliant.models.tasks import CAUSAL, Needs, task_called

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel


def with_head(model: Model, task: str, labels: Sequence[str] | None = None, seed: int = 0, *, numbers: bool = False) -> Model:
    """The same trunk with a fresh head; the global random state is left untouched.

    Args:
        model: What has the trunk; it is left as it is, and shares its trunk with the answer.
        task: What the new network answers with (see `tasks`).
        labels: What the head has an output for, in order; one label is a number. None for tasks without labels.
        seed: Seed of the head's numbers.
        numbers: Whether each label is a number to predict, not a class; transformers then takes the squared error for its loss, too.

    Raises PliantError for an architecture that has no such network, and for labels that are none or repeated.
    """
    wanted = task_called(task)
    if wanted.labelled != (labels is not None) or (labels is not None and not 0 < len(labels) == len(set(labels))):
        raise PliantError(f"a head of {wanted.called} needs {'labels, each once' if wanted.labelled else 'no labels'}, not {labels!r:.80}")
    if wanted is CAUSAL and looks_ahead(model.network):
        raise PliantError(f"{model.checkpoint.address} looks at tokens to the right: it cannot become {wanted.called}")
    config = copy.deepcopy(model.network.config)
    if labels is not None:
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: number for number, name in enumerate(labels)}
        config.problem_type = "regression" if numbers else None
    if wanted.text and model.words is not None:
        config.get_text_config().pad_token_id = padding_id(model)
    try:
        network = _on_trunk(wanted.network_class(config), config, model.network, seed)
    except PliantError as error:
        raise error.within(model.checkpoint.address) from None
    except Exception as error:  # an architecture's own code: anything can come out of it
        raise PliantError(f"{model.checkpoint.address}: cannot become {wanted.called} ({first_line(error)})") from error
    total, inner = parameter_counts(network)
    facts = model.checkpoint.model_copy(update={"params": total, "params_non_embedding": inner})
    return replace(model, network=network, checkpoint=facts, transforms=list(model.transforms), adapter=None)


def fitted(model: Model, needs: Needs | None, seed: int = 0) -> Model:
    """The model itself where it answers with what is needed; else one with the same trunk and a fresh head.

    Raises PliantError for labels unknown to a head that stays, and as `with_head` does.
    """
    if needs is None:
        return model
    if model.task.name != needs.task or needs.fresh:
        return with_head(model, needs.task, needs.labels, seed, numbers=needs.numbers)
    if needs.labels is not None and needs.numbers and len(needs.labels) != len(model.labels):
        told = f"its head has {len(model.labels)} outputs ({_some(model.labels)}), where {len(needs.labels)} are needed"
        raise PliantError(f"{model.checkpoint.address}: {told}; `fresh_head: true` puts a new one there")
    if needs.labels is not None and not needs.numbers:
        outputs(model, needs.labels)
    return model


def fit(model: Model, needs: Needs | None, seed: int = 0) -> None:
    """`fitted` in place."""
    found = fitted(model, needs, seed)
    model.network, model.checkpoint = found.network, found.checkpoint


def with_trunk(model: Model, trained: Model) -> Model:
    """`model`'s own head on the trunk of `trained`, which got another one: what training it has left of what `model` could do.

    The trunk is shared (see `with_head`), so nothing is copied but where training put another tensor in the place of a shared one; both
    are the same where no head was put on.
    """
    if trained.network is model.network:
        return trained
    trunk, found = (getattr(network, "base_model", network) for network in (model.network, trained.network))
    for _, name, tensor in _holders(trunk):
        own = _tensor(found, name)
        if own is not None and own is not tensor and own.shape == tensor.shape:
            tensor.data = own.detach().to(tensor.dtype)
    return replace(trained, network=model.network, checkpoint=model.checkpoint)


def outputs(model: Model, labels: Sequence[str]) -> list[int]:
    """Which of the head's outputs stands for each of these classes: that of its name, or of its number where the head knows no names.

    Raises PliantError for a label that the head has no output for.
    """
    known = {name: number for number, name in enumerate(model.labels)}
    if all(name == f"LABEL_{number}" for name, number in known.items()):
        known |= {str(number): number for number in known.values()}
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise PliantError(
            f"{model.checkpoint.address}: label {unknown[0][:40]!r} is unknown to its head, which has {_some(model.labels)}; rename it in "
            "the data; in training, `fresh_head: true` puts a new head there"
        )
    return [known[label] for label in labels]


def padding_id(model: Model) -> int:
    """The id that fills rows up: the network's own, else the tokenizer's, else that of the end of a text, else 0 (no text's, of bytes)."""
    told = [getattr(model.network.config.get_text_config(), "pad_token_id", None), model.tokenizer.padding_id, model.tokenizer.end_id, 0]
    rows = len(token_embedding(model.network).weight)
    return next(number for number in told if isinstance(number, int) and 0 <= number < rows)


def _on_trunk(kind: Any, config: Any, old: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A network of class `kind` with the tensors of `old`'s trunk, and fresh ones where that has none."""
    import torch

    with torch.device("meta"):
        network = kind(config)
    trunk, inside = (getattr(found, "base_model", found) for found in (network, old))
    for module, name, tensor in _holders(trunk):
        own = _tensor(inside, name)
        if own is not None and own.shape == tensor.shape:
            _put(module, name, own)
    network.tie_weights()
    if not next(old.parameters()).is_meta:
        _initialise(network, next(old.parameters()), seed)
    return network.train(old.training)


def _initialise(network: PreTrainedModel, like: Tensor, seed: int) -> None:
    """Fill what has no numbers yet, on the device and in the number type of `like`; what has some keeps them."""
    import torch

    missing = [(module, name, tensor) for module, name, tensor in _holders(network) if tensor.is_meta]
    for module, name, tensor in missing:
        _put(module, name, _zeros(tensor))
    network.tie_weights()
    fresh = [id(_tensor(network, name)) for _, name, _ in missing]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.random.manual_seed(seed)
        for module in dict.fromkeys(module for module, _, _ in missing):
            shared = [tensor for tensor in _own(module) if id(tensor) not in fresh]
            before = [tensor.clone() for tensor in shared]
            network._init_weights(module)  # pyright: ignore[reportPrivateUsage]
            for tensor, content in zip(shared, before, strict=True):
                tensor.copy_(content)
    for _, name, _ in missing:
        tensor = _tensor(network, name)
        if tensor is not None:
            tensor.data = tensor.data.to(like.device, like.dtype if tensor.is_floating_point() else tensor.dtype)


def _zeros(tensor: Tensor) -> Tensor:
    """A tensor on the CPU in the place of one without numbers."""
    import torch

    found = torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu")
    return torch.nn.Parameter(found, tensor.requires_grad) if isinstance(tensor, torch.nn.Parameter) else found


def _holders(network: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
    """Every parameter and buffer with its name and the module that holds it, tied ones under each of their names."""
    return [
        (module, f"{prefix}.{name}".lstrip("."), tensor)
        for prefix, module in network.named_modules()
        for table in (module._parameters, module._buffers)  # pyright: ignore[reportPrivateUsage]
        for name, tensor in table.items()
        if tensor is not None
    ]


def _own(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


def _tensor(network: nn.Module, name: str) -> Tensor | None:
    """The tensor of that name; None where there is none."""
    path, _, leaf = name.rpartition(".")
    try:
        return getattr(network.get_submodule(path), leaf, None)
    except AttributeError:
        return None


def _put(module: nn.Module, name: str, tensor: Tensor) -> None:
    """The very object in the place of what a module holds under that name."""
    leaf = name.rpartition(".")[2]
    table: Any = module._parameters if leaf in module._parameters else module._buffers  # pyright: ignore[reportPrivateUsage]
    table[leaf] = tensor


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
