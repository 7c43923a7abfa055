"""The factors of several LoRA runs as one tensor, and the frozen network through which all of them go at once; see `side_by_side`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.methods import Method, Run
from pliant.models.modules import in_mode, is_transposed
from pliant.train.log import Diverged, LossWatch
from pliant.train.loop import begun, optimizer_of, prepared, state_of
from pliant.train.recipe import Recipe
from pliant.train.state import State

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.models import Model
    from pliant.objectives import Objective

FIRST, SECOND = ".lora_A.default.weight", ".lora_B.default.weight"
MARK = "arm_of_row"
"""The input by which each row's arm goes through an objective to the network."""


class NotTogether(Exception):
    """Arms that have to be trained one by one."""


@dataclass(frozen=True)
class SharedArm:
    """One of several runs: what differs, and the folder of its state."""

    recipe: Recipe
    seed: int
    methods: Sequence[Method]
    folder: Path


@dataclass
class KeptArm:
    """One arm between its first step and its last: its run, its factors and the optimizer's moments, by the names they have in it."""

    arm: SharedArm
    run: Run
    state: State
    watch: LossWatch
    factors: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]]
    scales: dict[str, float]
    """By layer."""
    made: int
    """Steps, also where it has diverged."""
    diverged: bool = False

    @classmethod
    def begun(cls, model: Model, objective: Objective, arm: SharedArm) -> KeptArm:
        """As its seed has it, or as its folder does. Raises PliantError for data, or a state, that cannot be read, and NotTogether."""
        run, examples = begun(model, objective, arm.recipe, arm.seed)
        state = state_of(run, examples, arm.recipe, arm.methods, arm.folder, 0.0)
        with prepared(run, arm.methods) as attached:
            optimizer = optimizer_of(run, arm.recipe)
            watch = LossWatch(examples.chance, state.load(run, optimizer, [kept for _, kept in attached]))
            parameters = run.parameters()
            if not all(name.endswith((FIRST, SECOND)) for name in parameters):
                raise NotTogether("more than factors is trained")
            factors = {name: p.detach().clone() for name, p in parameters.items()}
            moments = {name: {key: value.clone() for key, value in optimizer.state[p].items()} for name, p in parameters.items()}
            layers = [name.removesuffix(FIRST) for name in parameters if name.endswith(FIRST)]
            adapted: dict[str, Any] = {layer: run.network.get_submodule(layer) for layer in layers}
            scales = {layer: float(module.scaling["default"]) for layer, module in adapted.items()}
        return cls(arm, run, state, watch, factors, moments, scales, len(watch.losses))

    @property
    def shapes(self) -> dict[str, int]:
        """The rank of each factor."""
        return {name: factor.shape[0 if name.endswith(FIRST) else 1] for name, factor in self.factors.items()}

    def add(self, loss: Tensor, lr: float) -> None:
        """The next step's loss. Where it diverges, it is not watched any longer, nor saved."""
        self.made += 1
        if not self.diverged:
            try:
                self.watch.add(loss, lr)
            except Diverged:
                self.diverged = True

    @contextmanager
    def merged(self) -> Generator[None]:
        """The network with the arm's update in its weights, for the length of the block."""
        import torch

        network, before = self.run.network, dict[str, "Tensor"]()
        with torch.no_grad():
            for layer, scale in self.scales.items():
                module: Any = network.get_submodule(layer)
                before[layer] = module.weight.detach().clone()
                update = (self.factors[layer + SECOND] @ self.factors[layer + FIRST]) * scale
                module.weight.add_((update.T if is_transposed(module) else update).to(module.weight.dtype))
        try:
            yield
        finally:
            with torch.no_grad():
                for layer, weight in before.items():
                    network.get_submodule(layer).weight.copy_(weight)  # pyright: ignore[reportCallIssue, reportArgumentType]

    def save(self) -> None:
        """As `train` saves it, so that it goes on from there."""
        if self.diverged or not self.made:
            return
        try:
            losses = self.watch.fetch()
        except Diverged:
            self.diverged = True
            return
        with prepared(self.run, self.arm.methods) as attached:
            optimizer = optimizer_of(self.run, self.arm.recipe)
            for name, parameter in self.run.parameters().items():
                parameter.data.copy_(self.factors[name])
                optimizer.state[parameter] = self.moments[name]
            self.state.save(self.run, optimizer, [kept for _, kept in attached], losses)


class FactorStack:
    """All arms' factors beside the layers of a frozen network: called like that, with the arm of each row."""

    def __init__(self, network: nn.Module, kept: Sequence[KeptArm]) -> None:
        import torch

        self.network, self.kept, self.undo = network, kept, ExitStack()
        self.ranks = {name: max(one.shapes[name] for one in kept) for name in kept[0].shapes}
        self.sizes = [self._filled(name, kept[0].factors[name]).numel() for name in self.ranks]
        recipe = kept[0].arm.recipe
        self.clip = recipe.clip
        self.factors = torch.nn.Parameter(torch.stack([self._flat(one.factors) for one in kept]))  # (arms, numbers)
        groups = [{"params": [self.factors], "weight_decay": recipe.weight_decay}]
        self.optimizer = recipe.optimizer.build(groups, 1.0, recipe.betas, recipe.epsilon)
        first = next(iter(self.ranks))
        for key, value in kept[0].moments[first].items():
            whole = value.dim() > 0
            held = torch.stack([self._flat({name: one.moments[name][key] for name in self.ranks}) for one in kept]) if whole else value
            self.optimizer.state[self.factors][key] = held.clone()
        device = self.factors.device
        self.scales = {layer: torch.tensor([one.scales[layer] for one in kept], device=device)[:, None, None] for layer in kept[0].scales}
        self.parts: dict[str, Tensor] = {}
        self.rows: Tensor | None = None
        self.count = 0

    def __enter__(self) -> FactorStack:
        for parameter in self.network.parameters():
            self.undo.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(False)
        self.undo.enter_context(in_mode(self.network, training=True))
        for layer in self.scales:
            hook = self.network.get_submodule(layer).register_forward_hook(partial(self._beside, layer))
            self.undo.callback(hook.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self.undo.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["network"], name)

    def __call__(self, *, arm_of_row: Tensor | None = None, **inputs: Any) -> Any:
        """The network's answer to rows of which each has its arm. Raises NotTogether for an objective that loses which is whose."""
        import torch

        if arm_of_row is None:
            raise NotTogether("the objective makes inputs of its own")
        first = next(value for value in inputs.values() if isinstance(value, torch.Tensor))
        told = arm_of_row.reshape(-1)  # of rows that an objective has taken apart, one after the other, as well
        if len(first) % len(told):
            raise NotTogether("the objective makes rows of its own")
        arms, rows = len(self.kept), told.repeat_interleave(len(first) // len(told))
        block = torch.arange(arms, device=rows.device).repeat_interleave(max(1, len(rows) // arms))
        self.rows = None if torch.equal(rows, block) else rows
        self.count = len(rows)
        pieces = self.factors.split(self.sizes, 1)
        self.parts = {name: piece.unflatten(1, self._shape(name)) for name, piece in zip(self.ranks, pieces, strict=True)}
        return self.network(**inputs)

    def _beside(self, layer: str, _: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return output + self._update(layer, inputs[0])

    def _update(self, layer: str, x: Tensor) -> Tensor:
        """What every row's own factors add: (rows, length, out). Raises NotTogether for a layer that is not given all rows in order."""
        if x.dim() != 3 or len(x) != self.count:
            raise NotTogether(f"{layer} is not given every row of a batch")
        a, b, scale = self.parts[layer + FIRST], self.parts[layer + SECOND], self.scales[layer]
        if self.rows is not None:
            a, b, scale = a[self.rows], b[self.rows], scale[self.rows]
        flat = x.reshape(len(a), -1, x.shape[-1])
        return (((flat @ a.mT) @ b.mT) * scale).reshape(*x.shape[:-1], -1)

    def step(self, rates: Sequence[float]) -> None:
        """Clip arm by arm, and let the optimizer step, every arm at its own rate."""
        import torch

        gradients = self.factors.grad
        assert gradients is not None
        if self.clip:
            gradients.mul_((self.clip / (gradients.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1))
        before = self.factors.detach().clone()
        self.optimizer.step()
        lr = torch.tensor(rates, dtype=before.dtype, device=before.device)[:, None]
        self.factors.data = before + lr * (self.factors.data - before)

    def give_back(self) -> None:
        """To every arm its factors and moments."""
        state = self.optimizer.state[self.factors]
        for number, one in enumerate(self.kept):
            one.factors = self._apart(self.factors.detach()[number], one)
            apart = {key: self._apart(value[number], one) if value.dim() else value for key, value in state.items()}
            one.moments = {
                name: {key: held[name] if isinstance(held, dict) else held.clone() for key, held in apart.items()} for name in self.ranks
            }

    def _shape(self, name: str) -> tuple[int, int]:
        rows, columns = self.kept[0].factors[name].shape
        return (self.ranks[name], columns) if name.endswith(FIRST) else (rows, self.ranks[name])

    def _filled(self, name: str, factor: Tensor) -> Tensor:
        """With zeros up to the largest rank."""
        filled = factor.new_zeros(self._shape(name))
        filled[: factor.shape[0], : factor.shape[1]] = factor
        return filled

    def _flat(self, factors: dict[str, Tensor]) -> Tensor:
        import torch

        return torch.cat([self._filled(name, factors[name]).flatten() for name in self.ranks])

    def _apart(self, flat: Tensor, one: KeptArm) -> dict[str, Tensor]:
        """One arm's tensors, in their own shapes."""
        pieces = zip(self.ranks, flat.split(self.sizes), strict=True)
        shapes = {name: factor.shape for name, factor in one.factors.items()}
        return {name: piece.view(self._shape(name))[: shapes[name][0], : shapes[name][1]].clone() for name, piece in pieces}
