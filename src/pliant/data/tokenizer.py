"""Tokenizers: text to token ids and back.

`bytes` is the 256 UTF-8 bytes and `ascii` the 128 ASCII characters of the transliterated text: nothing to train, nothing
to download, about 500 MB/s, and a vocabulary small enough for models of a few thousand parameters. Any tokenizer of
transformers or tokenizers is read by `load_tokenizer` as well. What goes wrong: a byte model sees about a quarter of the
text that a model with word pieces sees in the same context, and nats per token are not comparable between tokenizers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pliant.data.transliterate import PLAIN, transliterate
from pliant.errors import PliantError
from pliant.files import expanded, write_atomic
from pliant.spec import digest
from pliant.spec.yaml import read_json

LARGEST_DEFINITION = 256 * 2**20
"""Bytes of the largest `tokenizer.json` that is read; a vocabulary of a quarter of a million takes about 35 MB."""


class Tokenizer(Protocol):
    """What every room may ask of a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Number of ids; every id is below it."""
        ...

    @property
    def beginning_id(self) -> int | None:
        """The id that this tokenizer puts before a text, where it does."""
        ...

    @property
    def end_id(self) -> int | None:
        """The id that ends a document, where there is one."""
        ...

    @property
    def padding_id(self) -> int | None:
        """The id that fills shorter texts up, where there is one."""
        ...

    @property
    def mask_id(self) -> int | None:
        """The id that stands for a hidden token, where there is one."""
        ...

    @property
    def frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids that its own template puts before and behind a text."""
        ...

    @property
    def opening_id(self) -> int | None:
        """The id to begin with where a text is predicted from nothing: its beginning token, whether it puts one or not, or its end."""
        ...

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits; equal for tokenizers that give equal ids."""
        ...

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """The ids of each text, without beginning and end ids."""
        ...

    def decode(self, ids: ArrayLike, special: bool = True) -> str:
        """The text of a one-dimensional sequence of ids, with or without its special tokens."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write the files from which `load_tokenizer` and transformers' AutoTokenizer read it again."""
        ...


@dataclass(frozen=True)
class ByteTokenizer:
    """A token is a byte: of the UTF-8 text (`bytes`, 256 ids) or of its transliteration (`ascii`, 128 ids)."""

    alphabet: Literal["bytes", "ascii"] = "bytes"

    @property
    def vocab_size(self) -> int:
        """256 or 128."""
        return 256 if self.alphabet == "bytes" else 128

    @property
    def beginning_id(self) -> None:
        """None: texts have no beginning token."""
        return None

    @property
    def padding_id(self) -> None:
        """None: every byte is a text's."""

    @property
    def mask_id(self) -> None:
        """None: every byte is a text's."""

    @property
    def frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Nothing."""
        return (), ()

    @property
    def end_id(self) -> None:
        """None: documents follow each other directly."""
        return None

    @property
    def opening_id(self) -> None:
        """None: there is no such byte."""
        return None

    @property
    def fingerprint(self) -> str:
        """The hash of its `tokenizer.json`, so that a change of the transliteration changes it."""
        return digest(json.dumps(self._definition(), sort_keys=True))

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """The bytes of each text. Lone surrogates, which no UTF-8 text can hold, become question marks."""
        plain = texts if self.alphabet == "bytes" else map(transliterate, texts)
        return [np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int32) for text in plain]

    def decode(self, ids: ArrayLike, special: bool = True) -> str:
        """The text of `ids`; bytes that are not UTF-8 (a character cut in half) become U+FFFD."""
        return np.asarray(ids).astype(np.uint8).tobytes().decode("utf-8", "replace")

    def save(self, folder: str | Path) -> None:
        """Write a `tokenizer.json` that gives the same ids in transformers, and its configuration."""
        target = Path(folder)
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        write_atomic(target / "tokenizer.json", json.dumps(self._definition(), indent=1, ensure_ascii=False))
        write_atomic(target / "tokenizer_config.json", json.dumps(config, indent=1))

    def is_defined_by(self, definition: dict[str, Any]) -> bool:
        """Whether a parsed `tokenizer.json` is this tokenizer's, whoever wrote it."""
        parts = ("model", "normalizer", "pre_tokenizer", "post_processor", "added_tokens")
        ours = self._definition()
        return all(_meaning(definition.get(part)) == _meaning(ours[part]) for part in parts)

    def _definition(self) -> dict[str, Any]:
        """The tokenizer in the format of the tokenizers library: byte-level BPE without merges."""
        drop = {"type": "Replace", "pattern": {"Regex": r"[^\x00-\x7F]"}, "content": ""}
        plain = [{"type": "Replace", "pattern": {"String": old}, "content": new} for old, new in PLAIN.items()]
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
        template = {  # that adds nothing; transformers writes it too
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {},
        }
        vocabulary = {_byte_character(byte): byte for byte in range(self.vocab_size)}
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": {"type": "Sequence", "normalizers": [*plain, drop]} if self.alphabet == "ascii" else None,
            "pre_tokenizer": byte_level,
            "post_processor": template,
            "decoder": byte_level,
            "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
        }


@cache
def _byte_character(byte: int) -> str:
    """The printable character by which byte-level tokenizers write a byte: itself, or one from 256 upwards."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return chr(byte) if byte in printable else chr(256 + sum(other not in printable for other in range(byte)))


def _meaning(part: Any) -> Any:
    """A section of a `tokenizer.json` without the settings that are off, which libraries add as they please."""
    return {key: value for key, value in part.items() if value not in (None, False)} if isinstance(part, dict) else part


def load_tokenizer(name: str | Path, trust_remote_code: bool = False) -> Tokenizer:
    """The tokenizer called `bytes` or `ascii`, of a folder, a `tokenizer.json`, or a hub repository (`name@revision`).

    A tokenizer that comes with code of its own is refused unless `trust_remote_code`. Raises PliantError when there is none there.
    """
    if name in ("bytes", "ascii"):
        return ByteTokenizer("bytes" if name == "bytes" else "ascii")
    path = expanded(name)
    definition = path / "tokenizer.json" if path.is_dir() else path
    if definition.exists() and definition.suffix == ".json":
        parsed: Any = read_json(definition, LARGEST_DEFINITION)
        if not isinstance(parsed, dict) or not isinstance(parsed.get("model"), dict):
            raise PliantError(f"{definition}: is not a tokenizer file (it has no `model`)")
        for alphabet in ("bytes", "ascii"):
            if ByteTokenizer(alphabet).is_defined_by(parsed):
                return ByteTokenizer(alphabet)
    from pliant.data.pretrained import PretrainedTokenizer

    return PretrainedTokenizer.load(name, trust_remote_code)
