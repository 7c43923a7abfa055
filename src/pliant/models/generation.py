"""Generation: what a model says next, for many prompts at once. The one home of it.

Idea: prompts go through together, those of like length in a block of keys and values of their own (`pliant.models.row_groups`). A row
that is done (at its end token, a stop string or its limit) makes room at once: its keys and values are dropped, and when enough rows are
free the next prompts are read and join the others. So no row waits for the longest answer. Drawn tokens come from random numbers of each
prompt's own, so that what a prompt is answered with depends on nothing it is batched with.
Cost: a forward pass of one token a row and step; keys and values of the rows at work.
What goes wrong: greedy text may differ between batch sizes where two tokens are equally likely to the last digit. What cannot be cached
so (recurrent networks) is found out with the first prompt, and goes one row at a time without a cache, slowly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.models.modules import evaluating
from pliant.models.row_groups import rows_of
from pliant.progress import progress, remark

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models.model import Model

CACHE = {"cpu": 2**29, "cuda": 2**33}
"""Bytes of keys and values that are held at once."""

ROWS = {"cpu": 128, "cuda": 512}
"""Rows at work at most: more make a step no cheaper for each."""

READ_TOKENS = {"cpu": 4096, "cuda": 32768}
"""Tokens of prompts that are read at once."""

REFILL = 0.25
"""Free rows, as a fraction of all, at which new prompts join: reading a few at a time costs more than waiting a little."""


NOT_FOLLOWED = {
    "num_beams": 1,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
    "bad_words_ids": None,
    "sequence_bias": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
}
"""What a model's generation config may ask for beside a repetition penalty, with the values that ask for nothing."""


@dataclass(frozen=True)
class Said:
    """What a model said; `ended`: by itself or with a stop string, not at the limit."""

    text: str
    ended: bool


def generate(
    model: Model,
    prompts: Sequence[str],
    *,
    most: int = 256,
    stop: Sequence[str] = (),
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_tokens: int | None = None,
) -> list[Said]:
    """What follows each prompt, up to `most` tokens, an end token or the first of the `stop` strings, which is left out.

    Args:
        model: A causal language model with its tokenizer.
        prompts: Texts; one longer than the context allows beside `most` tokens loses its beginning.
        most: Tokens of an answer.
        stop: Texts that end an answer.
        temperature: 0 takes the likeliest token each time; above it, tokens are drawn.
        top_p: Draw among the likeliest tokens that make up this probability.
        seed: Of what is drawn. The caller's random state is left untouched.
        batch_tokens: Tokens held at once, where the default needs too much memory.

    Raises PliantError for an empty prompt, for `most` beyond the context, and for logits that are no numbers.
    """
    import torch

    if not 0 < most < model.context:
        raise PliantError(f"answers of {most} tokens leave no room for a prompt in a context of {model.context}")
    if not prompts:
        return []
    asked = [_Row(number, ids) for number, ids in enumerate(_encoded(model, prompts, model.context - most))]
    asked.sort(key=lambda row: -len(row.prompt))  # the shortest is taken first: longer ones fit in when answers have made rows long
    rules = _Rules(model, most, stop, temperature, top_p, seed)
    with torch.no_grad(), evaluating(model.network), progress("generating", len(prompts)) as advance:
        longest = asked[0].prompt
        state, held = rows_of(model.network, longest)
        size = _most_rows(model.device.type, held, len(longest) + most, batch_tokens)
        done: list[_Row] = []
        rows: list[_Row] = []
        while asked or rows:
            if asked and len(rows) <= size * (1 - REFILL):
                for joining in _joining(asked, size - len(rows), READ_TOKENS.get(model.device.type, READ_TOKENS["cuda"])):
                    state.join([row.prompt for row in joining])
                    rows += joining
            for row, token in zip(rows, rules.next_tokens(state.logits, rows), strict=True):
                row.said.append(token)
            over = [rules.over(row) for row in rows]
            if any(over):
                done += [row for row, ended in zip(rows, over, strict=True) if ended]
                advance(sum(over))
                kept = [number for number, ended in enumerate(over) if not ended]
                rows = [rows[number] for number in kept]
                state.keep(kept)
            if rows:
                state.step([row.said[-1] for row in rows])
    return [rules.text(row) for row in sorted(done, key=lambda row: row.number)]


def _most_rows(device: str, held: int, longest: int, batch_tokens: int | None) -> int:
    """How many answers are worked at: as many as have room, `held` being the bytes of a token; one where nothing is kept."""
    if not held:
        return 1
    tokens = batch_tokens or CACHE.get(device, CACHE["cuda"]) // held
    return max(1, min(tokens // longest, ROWS.get(device, ROWS["cuda"])))


def _joining(asked: list[_Row], count: int, budget: int) -> Iterator[list[_Row]]:
    """Takes `count` rows off the end of `asked`, the shortest first, as many at a time as are read at once."""
    rows = [asked.pop() for _ in range(min(count, len(asked)))]
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or (end + 1 - start) * len(rows[end].prompt) > budget:
            yield rows[start:end]
            start = end


def _encoded(model: Model, prompts: Sequence[str], longest: int) -> list[list[int]]:
    begin = model.tokenizer.beginning_id
    found: list[list[int]] = []
    for number, ids in enumerate(model.tokenizer.encode(prompts), 1):
        kept = ([] if begin is None else [begin]) + ids.tolist()
        if not kept:
            raise PliantError(f"prompt {number} is empty, so there is nothing to go on from")
        found.append(kept[-longest:])
    return found


@dataclass
class _Row:
    number: int
    prompt: list[int]
    said: list[int] = field(default_factory=list[int])


def _likeliest(logits: Tensor) -> list[int]:
    """The first of the likeliest. On a processor numpy, which goes through a large vocabulary several times as fast."""
    if logits.device.type == "cpu" and logits.element_size() >= 4:
        return logits.numpy().argmax(-1).tolist()
    return logits.argmax(-1).tolist()


class _Rules:
    """How tokens are chosen, and when an answer is over."""

    def __init__(self, model: Model, most: int, stop: Sequence[str], temperature: float, top_p: float, seed: int) -> None:
        self.tokenizer, self.most, self.stop, self.temperature, self.top_p, self.seed = (
            model.tokenizer,
            most,
            stop,
            temperature,
            top_p,
            seed,
        )
        config: Any = getattr(model.network, "generation_config", None)
        asked = [name for name, neutral in NOT_FOLLOWED.items() if getattr(config, name, None) not in (None, neutral, [], {})]
        if asked:
            remark(f"{model.checkpoint.address}: {', '.join(asked)} of its generation config is not followed")
        self.penalty = float(getattr(config, "repetition_penalty", None) or 1.0)
        own: Any = getattr(config, "eos_token_id", None)
        self.ends = {model.tokenizer.end_id, *(own if isinstance(own, list) else [own])} - {None}
        self.longest = max(map(len, stop), default=0)
        self.lasts = {word[-1] for word in stop} | {"\ufffd"}
        if any(last.isspace() for last in self.lasts):
            self.lasts.add("")  # decoders strip space at the beginning, so that a token alone may not show it
        self.stopping: dict[int, bool] = {}
        self.draws: dict[int, NDArray[np.float64]] = {}

    def next_tokens(self, logits: Tensor, rows: Sequence[_Row]) -> list[int]:
        """One for each row of logits (rows, vocabulary)."""
        import torch

        if self.penalty != 1:
            logits = self._penalised(logits, rows)
        if not self.temperature:
            return _likeliest(logits)
        likely, tokens = (logits.float() / self.temperature).softmax(-1).sort(dim=-1, descending=True)
        before = likely.cumsum(-1) - likely
        likely = likely.masked_fill(before >= self.top_p, 0.0)
        drawn = torch.tensor([[self._draw(row)] for row in rows], dtype=torch.float64, device=logits.device)
        total = likely.double().cumsum(-1)
        places = torch.searchsorted(total, drawn * total[:, -1:], right=True).clamp(max=logits.shape[-1] - 1)
        return tokens.gather(-1, places)[:, 0].tolist()

    def _penalised(self, logits: Tensor, rows: Sequence[_Row]) -> Tensor:
        """Tokens of the prompt and the answer made less likely, as the model's generation config asks (CTRL, arXiv 1909.05858)."""
        import torch

        logits = logits.clone()
        for scores, row in zip(logits, rows, strict=True):
            seen = torch.tensor(sorted({*row.prompt, *row.said}), device=logits.device)
            scores[seen] = torch.where(scores[seen] < 0, scores[seen] * self.penalty, scores[seen] / self.penalty)
        return logits

    def _draw(self, row: _Row) -> float:
        """The uniform random number of a prompt's next token."""
        if row.number not in self.draws:
            self.draws[row.number] = np.random.default_rng([self.seed, row.number]).random(self.most)
        return float(self.draws[row.number][len(row.said)])

    def over(self, row: _Row) -> bool:
        """Whether it has said its last token."""
        return len(row.said) >= self.most or row.said[-1] in self.ends or self._stopped(row)

    def _stopped(self, row: _Row) -> bool:
        """Whether a stop string is there. It holds at most as many tokens as characters, so only the last ones are looked at."""
        if not self.stop or not self._may_stop(row.said[-1]):
            return False
        text = self.tokenizer.decode(np.asarray(row.said[-self.longest - 1 :]))
        return any(word in text for word in self.stop)

    def _may_stop(self, token: int) -> bool:
        """Whether a stop string may end in this token: it has one's last character, or does not show alone what it writes."""
        if token not in self.stopping:
            text = self.tokenizer.decode(np.asarray([token]))
            self.stopping[token] = not text or any(last in text for last in self.lasts)
        return self.stopping[token]

    def text(self, row: _Row) -> Said:
        """The answer up to its end token or the first stop string, without special tokens."""
        ended = row.said[-1] in self.ends
        text = self.tokenizer.decode(np.asarray(row.said[:-1] if ended else row.said, np.int64), special=False)
        end = min((text.find(word) for word in self.stop if word in text), default=None)
        return Said(text[:end], ended or end is not None or self._stopped(row))
