"""Network anatomy: which layers and tensors of a network are what. The one place that knows.

Idea: what an architecture says of itself (transformers' accessors, module types) answers for causal and masked language models and
for classifiers of sequences and images alike: a head is what makes the logits, or, where nothing makes any over a vocabulary, whatever
stands outside the base model. Names decide only what nothing else tells (`tensor_groups`).
Cost: a walk over the modules; nothing is kept, since changes put other modules in their place.
What goes wrong: a network that is not built as transformers builds them has no base model, and so no head that could be told.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.spec import nearest

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers.pytorch_utils import Conv1D

TENSORS = (
    "Which tensors: `matrices` (all of two or more dimensions, embeddings included), `linear` (those outside embeddings and "
    "output head), or name patterns separated by commas, such as `*.mlp.*, *.q_proj.weight`"
)

ATTENTION = ("attn", "attention")
"""Words in the names of attention's weights, whatever the architecture."""

MLP = ("mlp", "ffn", "feed_forward", "fc1", "fc2", "experts", "intermediate.dense", "output.dense", "densereludense")
"""Words in the names of the other weights of a block; they are asked second."""


# tensors


def named_tensors(tensors: str) -> bool:
    """Whether `tensors` chooses by names, of which there may be none; the words for all and all linear ones always stand for some."""
    return tensors not in ("matrices", "linear")


def select(network: nn.Module, tensors: str) -> dict[str, Tensor]:
    """The weights that `tensors` (see `TENSORS`) stands for, by name, as rows of outputs (see `rows_of_outputs`).

    Detached, but sharing the network's memory. Biases and norm gains, which have one dimension, are never among them. A tied tensor
    appears once, under its first name. Raises PliantError when nothing matches.
    """
    matrices = {name: p for name, p in network.named_parameters() if p.ndim >= 2 and p.is_floating_point()}
    outside = embedding_weights(network) | head_weights(network) if tensors == "linear" else set[str]()
    owners = _owners(network)
    patterns = [pattern.strip() for pattern in tensors.split(",")]
    chosen = {
        name: rows_of_outputs(p.detach(), owners[name])
        for name, p in matrices.items()
        if tensors == "matrices" or (tensors == "linear" and name not in outside) or any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    if not chosen:
        raise PliantError(f"no weight matrix is called {tensors!r}; {nearest(tensors, ['matrices', 'linear', *matrices])}")
    return chosen


def rows_of_outputs(weight: Tensor, owner: nn.Module) -> Tensor:
    """A view of `owner`'s weight whose last dimension is all that one output is made of.

    (out, in) for a linear layer, also where it is stored the other way round; (out, channels x height x width) for a convolution;
    any other tensor as it is.
    """
    if is_transposed(owner):
        return weight.T
    return weight.view(len(weight), -1) if _is_convolution(owner) and not owner.transposed else weight


def as_stored(rows: Tensor, network: nn.Module, name: str) -> Tensor:
    """What has the shape that `select` gives the weight called `name`, in the shape in which the network stores it."""
    path, _, leaf = name.rpartition(".")
    owner = network.get_submodule(path)
    return rows.T if is_transposed(owner) else rows.reshape(getattr(owner, leaf).shape)


def embedding_weights(network: nn.Module) -> set[str]:
    """Names of what is looked up or added, not multiplied: tables of tokens and positions, and what an embedding layer itself holds."""
    from torch import nn

    tables = weights_of(network, (module for module in network.modules() if isinstance(module, nn.Embedding)))
    return tables | {name for name, owner in _owners(network).items() if type(owner).__name__.endswith("Embeddings")}


def head_weights(network: nn.Module) -> set[str]:
    """Names of the parameters of the network's `heads`; a tied one is called by its embedding's name."""
    return weights_of(network, heads(network))


def weights_of(network: nn.Module, modules: Iterable[nn.Module]) -> set[str]:
    """Names in `network` of the parameters of `modules`; a tied tensor has its first name only."""
    owned = {id(parameter) for module in modules for parameter in module.parameters()}
    return {name for name, parameter in network.named_parameters() if id(parameter) in owned}


def tensor_groups(network: nn.Module, tensors: str = "matrices") -> dict[str, list[str]]:
    """The selected weights by what they are for: embedding, attention, mlp, head, other."""
    tables, outputs = embedding_weights(network), head_weights(network)
    groups: dict[str, list[str]] = {}
    for name in select(network, tensors):
        part = "embedding" if name in tables else "head" if name in outputs else _part_of_block(name)
        groups.setdefault(part, []).append(name)
    return groups


def check_finite(name: str, weight: Tensor) -> None:
    """Raises PliantError that names the tensor when a weight is infinite or not a number."""
    import torch

    if not torch.isfinite(weight).all():
        raise PliantError(f"{name} holds infinite or undefined weights; the checkpoint is damaged, or its training diverged")


@contextmanager
def naming(tensor: str) -> Generator[None]:
    """Errors inside say which tensor they are about."""
    try:
        yield
    except PliantError as error:
        raise error.within(tensor) from None


# layers


def linear_layers(network: nn.Module, head: bool = True) -> dict[str, nn.Linear | Conv1D]:
    """The layers that multiply by a matrix, by name; with `head` off, without those of the network's `heads`."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    outputs = set[Any]() if head else {inner for module in heads(network) for inner in module.modules()}
    layers = ((name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear | Conv1D))
    return {name: layer for name, layer in layers if layer not in outputs}


def is_transposed(layer: nn.Module) -> bool:
    """Whether it stores its weight as (in, out), as GPT-2's layers do."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(layer, Conv1D)


def token_embedding(network: nn.Module) -> nn.Embedding:
    """The table (`weight`: tokens, width) in which token ids are looked up. Raises PliantError for a network that reads none."""
    reader = getattr(network, "text_model", None)  # of a network that reads images as well
    table: Any = _told(network if reader is None else reader, "get_input_embeddings")
    if getattr(getattr(table, "weight", None), "ndim", 0) != 2:
        raise PliantError(f"{type(network).__name__} has no table of tokens: it reads no text")
    return table


def places_before(network: nn.Module) -> int:
    """Rows of a table of positions that no token has: RoBERTa counts its positions from behind that of the padding."""
    tables = (module for name, module in network.named_modules() if name.endswith("position_embeddings"))
    found: list[Any] = [padding for table in tables if (padding := getattr(table, "padding_idx", None)) is not None]
    return found[0] + 1 if found else 0


def token_head(network: nn.Module) -> nn.Module | None:
    """What makes logits over the vocabulary; None for a network that answers with something else."""
    return _told(network, "get_output_embeddings")


def heads(network: nn.Module) -> list[nn.Module]:
    """What makes the network's answers: its `token_head`, or else all that stands outside its base model, such as a classifier."""
    layer = token_head(network)
    if layer is not None:
        return [layer]
    inside = set(getattr(network, "base_model", network).modules())
    return [child for child in network.children() if inside.isdisjoint(child.modules()) and next(child.parameters(), None) is not None]


def decoder(network: Any) -> nn.Module:
    """What turns tokens into hidden states, its head left out. Raises AttributeError for a build that does not tell."""
    return network.get_decoder()


def blocks(network: nn.Module) -> dict[str, nn.Module]:
    """The network's stack of blocks, by name: the longest list of modules with linear layers that lies in no other; empty without one."""
    from torch import nn

    lists = {name: module for name, module in network.named_modules() if isinstance(module, nn.ModuleList) and linear_layers(module)}
    inner = {id(inside) for module in lists.values() for inside in module.modules() if inside is not module}
    stacks = [name for name, module in lists.items() if id(module) not in inner]
    stack = max(stacks, key=lambda name: len(lists[name]), default=None)
    return {} if stack is None else {f"{stack}.{number}".lstrip("."): block for number, block in lists[stack].named_children()}


def dropouts(network: nn.Module) -> list[tuple[nn.Module, str, float]]:
    """Whatever drops at random: a module, the attribute that holds its rate, and the rate."""
    from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]

    layers = [(module, "p", module.p) for module in network.modules() if isinstance(module, _DropoutNd)]
    attention: list[Any] = [(module, "attention_dropout", getattr(module, "attention_dropout", None)) for module in network.modules()]
    return [*layers, *(found for found in attention if isinstance(found[2], float | int))]


def looks_ahead(network: nn.Module) -> bool:
    """Whether attention sees tokens to the right everywhere, as far as its modules tell: there is then no loss of the next token."""
    causal = [module.is_causal for module in network.modules() if hasattr(module, "is_causal")]
    return bool(causal) and not any(causal)


# mode


def evaluating(network: nn.Module) -> AbstractContextManager[None]:
    """Evaluation mode inside the block; every module's own mode again after it."""
    return in_mode(network, training=False)


@contextmanager
def in_mode(network: nn.Module, training: bool) -> Generator[None]:
    """Training or evaluation mode inside the block; every module's own mode again after it."""
    before = {module: module.training for module in network.modules()}
    for module in before:
        module.training = training
    try:
        yield
    finally:
        for module in {*before, *network.modules()}:  # one that came meanwhile is as the network was
            module.training = before.get(module, before[network])


def _told(network: nn.Module, accessor: str) -> Any:
    """What transformers' `accessor` answers; None where the network has none, or none for its kind."""
    try:
        return getattr(network, accessor, lambda: None)()
    except NotImplementedError:
        return None


def _owners(network: nn.Module) -> dict[str, nn.Module]:
    """The module that holds each parameter, by the parameter's first name."""
    modules = dict(network.named_modules())
    return {name: modules[name.rpartition(".")[0]] for name, _ in network.named_parameters()}


def _is_convolution(layer: nn.Module) -> bool:
    from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]

    return isinstance(layer, _ConvNd)


def _part_of_block(name: str) -> str:
    words = name.lower()
    if any(word in words for word in ATTENTION):
        return "attention"
    return "mlp" if any(word in words for word in MLP) else "other"
