"""LoRA: the weights stay, and beside each chosen matrix a product of two thin ones is learned and added.

Idea: W + (alpha / r) B A with A (r, in) random and B (out, r) zero, so that training starts from the network as it is; with
`rank_stabilised`, alpha / sqrt(r), which keeps the size of the update when the rank grows.
When to use it: little memory, several adaptations of one base, or to forget less of what the base knew. All linear layers of the
blocks; attention alone is clearly worse.
The head of a classifier is trained as it is, beside the update.
Cost: no gradients and no moments for the base's matrices; a step takes about as long as without it, or a third less.
What goes wrong: its best learning rate is several times that of full fine-tuning, so both arms are to be tuned; it learns less than
full fine-tuning at low rank. Merged into weights of few bits, what it added is rounded away.
Source: arXiv 2106.09685; ranks, modules and rates, arXiv 2405.09673; alpha / sqrt(r), arXiv 2312.03732. Layers by PEFT.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pliant.errors import PliantError
from pliant.methods.method import Method, MethodState, Run
from pliant.models.adapters import Adapter, merge_into_base
from pliant.models.modules import head_weights, linear_layers
from pliant.spec import nearest

if TYPE_CHECKING:
    from torch import nn

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "query_key_value", "c_attn", "query", "key", "value", "dense", "out_proj", "qkv_proj")
"""What architectures call the projections of attention."""

QUERY_KEY = ("q_proj", "k_proj", "query", "key", "q_lin", "k_lin")
"""What they call those of queries and keys, where they are layers of their own."""

GROUPS = {"attention": ATTENTION, "query-key": QUERY_KEY}


class Lora(Method):
    """Learn a low-rank update of the linear layers; it is merged into the weights in the end."""

    holds = frozenset({"trained", "factors"})
    magnitudes: ClassVar[bool] = False
    """Whether lengths are learned apart from directions, as in DoRA."""
    strength_field = "rank"
    strengths = (4, 16, 64)
    rate_factor = 10.0
    rank: int = Field(16, ge=1, description="Rank of the update")
    alpha: float | None = Field(None, gt=0, description="Scale of the update; twice the rank by default")
    rank_stabilised: bool = Field(False, description="Divide alpha by the square root of the rank instead of the rank")
    modules: str = Field(
        "linear",
        description="Which layers: `linear` (all but the head), `attention`, `query-key`, or ends of their names separated by commas",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Fraction of the update's inputs that is dropped in training")

    @property
    def factors_alone(self) -> bool:
        """Unless inputs are dropped, or lengths learned apart."""
        return not self.dropout and not self.magnitudes

    def prepare(self, run: Run, state: MethodState) -> None:
        """Freeze the network and put the adapters in. Raises PliantError when no layer has such a name."""
        from peft import LoraConfig, LoraModel

        config: dict[str, Any] = {
            "r": self.rank,
            "lora_alpha": self.alpha or 2 * self.rank,
            "lora_dropout": self.dropout,
            "use_rslora": self.rank_stabilised,
            "target_modules": self._targets(run.network),
            "bias": "none",
            **({"use_dora": True} if self.magnitudes else {}),
        }
        wanted = {name: parameter.requires_grad for name, parameter in run.network.named_parameters()}
        with warnings.catch_warnings(action="ignore"):  # of what PEFT asks transformers for
            adapted: Any = LoraModel(run.network, {"default": LoraConfig(**config)}, "default")
        if run.model.task.labelled:  # no update of few numbers would do for a head that is new
            for name, parameter in run.network.named_parameters():
                parameter.requires_grad_(parameter.requires_grad or name in head_weights(run.network))
        run.linear_in = {name for name in run.parameters() if ".lora_A." not in name}
        state.objects |= {"adapted": adapted, "config": config}
        state.undo.callback(self._take_out, run.network, state, wanted)

    def _targets(self, network: nn.Module) -> list[str]:
        """The names of the layers that are adapted."""
        names = list(linear_layers(network, head=False))
        if not names:
            raise PliantError("lora: the network has no linear layer besides its head; leave the method out to train all weights")
        if self.modules == "linear":
            return names
        ends = GROUPS.get(self.modules) or tuple(part.strip() for part in self.modules.split(","))
        chosen = [name for name in names if name.rsplit(".", 1)[-1] in ends or name in ends]
        known = {name.rsplit(".", 1)[-1] for name in names}
        unknown = (
            [] if self.modules in GROUPS else [end for end in ends if not any(end in (name, name.rsplit(".", 1)[-1]) for name in names)]
        )
        if not chosen and self.modules in GROUPS:
            raise PliantError(f"{self.kind}: no linear layer is for {self.modules} alone here; give names: {', '.join(sorted(known))}")
        if unknown or not chosen:
            wrong = unknown[0] if unknown else self.modules
            raise PliantError(f"{self.kind}: no linear layer is called {wrong!r}; {nearest(wrong, {'linear', *GROUPS, *known})}")
        return chosen

    def finish(self, run: Run, state: MethodState) -> None:
        """Merge the update into the weights; it is left apart in `run.adapter`, too."""
        from peft import get_peft_model_state_dict

        found = get_peft_model_state_dict(state.objects["adapted"], adapter_name="default")
        tensors = {name.removeprefix("model."): tensor.detach().cpu().clone() for name, tensor in found.items()}
        run.adapter = Adapter({"peft_type": "LORA", **state.objects["config"]}, tensors)
        merge_into_base(state.objects.pop("adapted"), self.kind)

    def _take_out(self, network: nn.Module, state: MethodState, wanted: dict[str, bool]) -> None:
        """The network's own layers again, also after a run that failed."""
        adapted = state.objects.pop("adapted", None)
        if adapted is not None:
            adapted.unload()
        for attribute in ("peft_config", "_hf_peft_config_loaded"):
            network.__dict__.pop(attribute, None)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(wanted.get(name, True))
