"""What a checkpoint folder of the transformers Trainer says about its training.

Idea: `trainer_state.json` holds the step, the learning rates logged so far and, with `include_num_input_tokens_seen`, the
tokens. The final learning rate is the last one logged, so it is as exact as `logging_steps` is small.
What goes wrong: without `include_num_input_tokens_seen` the file knows steps only; tokens then come from step x the
batch tokens that the user gives. `training_args.bin` beside it is a pickle and is never opened.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pliant.errors import PliantError

STATE_FILE = "trainer_state.json"


def read_trainer_state(folder: Path, batch_tokens: int | None = None) -> dict[str, Any]:
    """The fields of a `Checkpoint` that the Trainer's state tells: tokens, peak_lr, final_lr. Empty without such a file.

    Args:
        folder: A checkpoint folder.
        batch_tokens: Tokens a step, over all devices and accumulated batches; overrides the Trainer's own count.

    Raises PliantError when the file is damaged.
    """
    path = folder / STATE_FILE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        rates = [float(entry["learning_rate"]) for entry in state["log_history"] if "learning_rate" in entry]
        step, seen = int(state["global_step"]), int(state.get("num_input_tokens_seen") or 0)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PliantError(f"{path}: cannot be read ({type(error).__name__}: {error}); is it the Trainer's own file?") from None
    rates = [rate for rate in rates if math.isfinite(rate) and rate >= 0]
    tokens = step * batch_tokens if batch_tokens is not None else seen or None
    facts = {"tokens": tokens, "peak_lr": max(rates, default=None), "final_lr": rates[-1] if rates else None}
    return {name: value for name, value in facts.items() if value is not None}
