"""Any tokenizer of transformers or tokenizers, behind pliant's four verbs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pliant.data.regular import check_files
from pliant.errors import PliantError, first_line
from pliant.files import disk_errors, expanded
from pliant.spec import digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ANSWER_TIMEOUT = 10.0
"""Seconds that the hub may take to say anything at all."""


class PretrainedTokenizer:
    """Wraps a transformers tokenizer; the fast ones encode a batch on all cores inside the tokenizers library."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.vocab_size: int = 1 + max(tokenizer.get_vocab().values())
        """Highest id + 1, added tokens included."""
        template: list[int] = list(tokenizer("")["input_ids"])
        self.beginning_id: int | None = template[0] if template[:1] == [tokenizer.bos_token_id] else None
        """The id its own template puts first (Llama's `<s>`); None for tokenizers that put none (GPT-NeoX)."""
        self.end_id: int | None = cast("int | None", tokenizer.eos_token_id)
        """The id of its end-of-text token."""
        self.padding_id: int | None = cast("int | None", tokenizer.pad_token_id)
        """The id of its padding token."""
        self.mask_id: int | None = cast("int | None", getattr(tokenizer, "mask_token_id", None))
        """The id of its mask, of tokenizers of masked language models."""
        ends = [number for number in (getattr(tokenizer, "sep_token_id", None), self.end_id) if number in template]
        behind = template.index(cast("int", ends[0])) if ends else len(template)
        self.frame: tuple[tuple[int, ...], tuple[int, ...]] = (tuple(template[:behind]), tuple(template[behind:]))
        """The ids that its own template puts before and behind a text: `[CLS]` and `[SEP]`."""
        self.opening_id: int | None = cast("int | None", tokenizer.bos_token_id if tokenizer.bos_token_id is not None else self.end_id)
        """The id of its beginning token, whether its template puts it first or not; of its end token where it has none."""
        self.added_tokens = {number: (token.content, token.special) for number, token in tokenizer.added_tokens_decoder.items()}
        """Id -> (text, whether it is special: control, padding ...) of the tokens that were added to the vocabulary."""

    @classmethod
    def load(cls, name: str | Path, trust_remote_code: bool = False) -> PretrainedTokenizer:
        """From a folder, a `tokenizer.json`, or a hub repository (`name@revision`). Raises PliantError when there is none there."""
        from transformers import AutoTokenizer, PreTrainedTokenizerFast

        path = expanded(name)
        address, _, revision = str(name).partition("@")
        try:
            if path.is_file():
                return cls(PreTrainedTokenizerFast(tokenizer_file=str(path)))
            if path.is_dir():
                _check_folder(path)
                return cls(AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=trust_remote_code))
            if _looks_local(str(name)):
                raise PliantError(f"{name}: no such tokenizer folder or tokenizer.json")
            there = {"revision": revision or "main", "local_files_only": not _hub_answers(address)}
            return cls(AutoTokenizer.from_pretrained(address, **there, trust_remote_code=trust_remote_code))
        except PliantError:
            raise
        except BaseException as error:  # the libraries raise bare Exception, OSError, ValueError and many more
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # Rust's, which is no Exception
                raise
            reason = first_line(error)
            raise PliantError(f"{name}: no tokenizer can be read from it ({reason}); give bytes, ascii, a folder or a hub name") from None

    @property
    def fingerprint(self) -> str:
        """The hash of its vocabulary, rules and special ids."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        if self.tokenizer.is_fast:
            definition: dict[str, Any] = json.loads(self._fast().to_str())
            definition["truncation"] = definition["padding"] = None
        else:
            definition = {"class": type(self.tokenizer).__name__, "vocabulary": self.tokenizer.get_vocab()}
        return digest(json.dumps([definition, self.beginning_id, self.end_id], sort_keys=True))

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """The ids of each text, without beginning and end ids, never cut short."""
        if not self.tokenizer.is_fast:
            return [np.asarray(self.tokenizer.encode(text, add_special_tokens=False), np.int32) for text in texts]
        fast = self._fast()
        fast.no_truncation()
        fast.no_padding()
        return [np.asarray(found.ids, np.int32) for found in fast.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: ArrayLike, special: bool = True) -> str:
        """The text of `ids`, special tokens included or not."""
        from transformers import PreTrainedTokenizerFast as Plain

        tokens = np.asarray(ids).tolist()
        if type(self.tokenizer) is Plain:  # what it does then, without its checks of every id
            return str(self._fast().decode(tokens, skip_special_tokens=not special))
        return str(self.tokenizer.decode(tokens, skip_special_tokens=not special, clean_up_tokenization_spaces=False))

    def save(self, folder: str | Path) -> None:
        """Write it as transformers does."""
        target = Path(folder)
        with disk_errors(target):
            target.mkdir(parents=True, exist_ok=True)
            self.tokenizer.save_pretrained(str(target))

    def _fast(self) -> Any:
        return self.tokenizer.backend_tokenizer


def _check_folder(folder: Path) -> None:
    """Refuses a tokenizer that lies elsewhere, that is no file, or that packages must translate which are not here. Raises PliantError."""
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    check_files(folder)
    versions: Any = get_tokenizer_config(str(folder), local_files_only=True).get("fast_tokenizer_files") or []
    if any(Path(str(name)).name != name for name in versions):
        raise PliantError(f"{folder}/tokenizer_config.json: fast_tokenizer_files names files that are not beside it; remove that entry")
    pieces = next((path for path in sorted(folder.glob("*.model")) if path.is_file()), None)
    missing = [package for package, module in (("sentencepiece", "sentencepiece"), ("protobuf", "google.protobuf")) if not _is_here(module)]
    if pieces is not None and missing and not (folder / "tokenizer.json").exists() and _is_sentencepiece(pieces):
        raise PliantError(
            f"{folder}: there is {pieces.name} and no tokenizer.json, and translating it needs sentencepiece and protobuf: "
            f"pip install {' '.join(missing)} (or save it with transformers where both are installed)"
        )


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # what it is a part of is not here
        return False


def _is_sentencepiece(path: Path) -> bool:
    """Whether it is SentencePiece's binary form; others keep text, such as a token and its rank a line, under the same name."""
    with path.open("rb") as stream:
        return stream.read(1) == b"\n"


def _looks_local(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith(".json")


def _hub_answers(name: str) -> bool:
    """Whether the hub says anything about a repository, asked once: transformers asks for a minute, aloud, where nobody answers."""
    from huggingface_hub import HfApi, errors

    try:
        HfApi().model_info(name, timeout=ANSWER_TIMEOUT)
    except errors.HfHubHTTPError:  # a refusal is an answer, which transformers words
        return True
    except Exception:  # whatever the HTTP library calls a lost connection
        return False
    return True
