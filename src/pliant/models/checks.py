"""What can be known to be wrong with a checkpoint before, and just after, transformers loads it.

Each check raises PliantError with one line that says what is wrong and what to do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.data.tokenizer import Tokenizer


def check_config(folder: Path, trust_remote_code: bool) -> None:
    """Says what `config.json` asks for that cannot be had, before transformers does it in many lines."""
    from transformers import CONFIG_MAPPING, __version__
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    path = folder / "config.json"
    if (folder / "adapter_config.json").is_file():
        raise PliantError(f"{folder}: holds an adapter, not a model; merge it into its base with peft (merge_and_unload) and save that")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind, own_code = str(config["model_type"]), config.get("auto_map")
        redirect = str(config.get("transformers_weights") or "model.safetensors")
    except FileNotFoundError:
        raise PliantError(f"{folder}: config.json is missing; a model folder has config.json, model.safetensors and a tokenizer") from None
    except KeyError:
        raise PliantError(f"{path}: names no model_type, so the architecture is unknown") from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise PliantError(f"{path}: cannot be read ({error})") from None
    if not redirect.endswith((".safetensors", ".safetensors.index.json")):
        raise PliantError(f"{path}: wants its weights from {redirect!r}, which is no safetensors file")
    if trust_remote_code:
        return
    if kind not in CONFIG_MAPPING and own_code:
        raise PliantError(f"{folder}: {kind!r} needs modelling code that comes with the weights; allow it with trust_remote_code")
    if kind not in CONFIG_MAPPING:
        raise PliantError(f"{folder}: unknown architecture {kind!r}; transformers {__version__} does not have it")
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise PliantError(f"{folder}: {kind!r} is not a causal language model")


def check_vocabulary(network: PreTrainedModel, tokenizer: Tokenizer, address: str) -> None:
    """An embedding may be padded beyond the tokenizer, though not by half; the other way round ids would point past its end."""
    embedding: Any = network.get_input_embeddings()
    rows = int(embedding.weight.shape[0])
    if not tokenizer.vocab_size <= rows < 1.5 * tokenizer.vocab_size:
        raise PliantError(f"{address}: the tokenizer has {tokenizer.vocab_size} ids but the model {rows}; they do not belong together")


def check_complete(found: dict[str, Any], address: str) -> None:
    """Refuses a network part of which transformers would have drawn at random. `found` is its report on loading."""
    for key, problem in (("missing_keys", "missing from the weight files"), ("mismatched_keys", "not of the shape config.json asks for")):
        names = sorted(item if isinstance(item, str) else item[0] for item in found[key])
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise PliantError(f"{address}: {names[0]}{more} {problem}; the checkpoint is incomplete or its config.json belongs to another")
