"""Texts and pairs of texts as one sequence of ids each, the way a network that answers once for a whole text reads them.

A tokenizer's own template puts its special tokens where its networks expect them (`[CLS] a [SEP] b [SEP]`), with the second text marked
where the networks tell texts apart by that. A tokenizer whose template puts nothing between two texts gets them as two lines.
What is too long is cut: a text at its end, of a pair always the longer one first, as transformers does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pliant.data.pretrained import PretrainedTokenizer
from pliant.errors import PliantError

if TYPE_CHECKING:
    from pliant.data.tokenizer import Tokenizer

Encoded = tuple[list[int], list[int], bool]
"""Ids, which text each is of (0 or 1), and whether anything was cut."""


def encoded_rows(tokenizer: Tokenizer, texts: Sequence[tuple[str, ...]], length: int) -> list[Encoded]:
    """One or two texts a row, in at most `length` tokens. Raises PliantError for a length that special tokens alone fill."""
    if not isinstance(tokenizer, PretrainedTokenizer):
        found = tokenizer.encode(["\n".join(row) for row in texts])
        return [(ids[:length].tolist(), [0] * min(len(ids), length), len(ids) > length) for ids in found]
    inner: Any = tokenizer.tokenizer
    pairs = len(texts[0]) == 2
    if pairs and not _separates(inner):
        joined: list[tuple[str, ...]] = [("\n".join(row),) for row in texts]
        texts, pairs = joined, False
    if length <= inner.num_special_tokens_to_add(pair=pairs):
        raise PliantError(f"length {length} leaves no room for a text between the tokens that this tokenizer puts around one")
    first, second = [row[0] for row in texts], [row[-1] for row in texts] if pairs else None
    found = inner(first, second, truncation=True, max_length=length, padding=False, return_token_type_ids=True, verbose=False)
    whole = inner(first, second, truncation=False, padding=False, verbose=False)["input_ids"]
    rows = zip(found["input_ids"], found["token_type_ids"], whole, strict=True)
    return [(list(ids), list(types), len(every) > len(ids)) for ids, types, every in rows]


def marks_texts(tokenizer: Tokenizer) -> bool:
    """Whether its networks are told which of two texts a token is of."""
    return isinstance(tokenizer, PretrainedTokenizer) and "token_type_ids" in tokenizer.tokenizer.model_input_names


def _separates(inner: Any) -> bool:
    """Whether its template puts a token between two texts."""
    return inner.num_special_tokens_to_add(pair=True) > inner.num_special_tokens_to_add(pair=False)
