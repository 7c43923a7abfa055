from __future__ import annotations

import contextlib
import json
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.data import ByteTokenizer, load_tokenizer
from pliant.data.pretrained import PretrainedTokenizer
from pliant.data.transliterate import transliterate
from pliant.errors import PliantError

texts = st.text(st.characters(exclude_categories=["Cs"]))
typographic = st.text(st.sampled_from("‘’“”–—…\u00a0é\r\n\t aZ~\x00\x7f中🙂"))


@given(texts)
def test_bytes_round_trip(text: str) -> None:
    tokenizer = ByteTokenizer("bytes")
    ids = tokenizer.encode([text])[0]
    assert ids.dtype == np.int32
    assert ids.tolist() == list(text.encode("utf-8"))
    assert tokenizer.decode(ids) == text


@given(texts | typographic)
def test_ascii_gives_the_transliterated_text(text: str) -> None:
    tokenizer = ByteTokenizer("ascii")
    ids = tokenizer.encode([text])[0]
    assert tokenizer.decode(ids) == transliterate(text)
    assert all(0 <= token < 128 for token in ids)
    assert transliterate(transliterate(text)) == transliterate(text)
    assert [c for c in text if c.isascii()] == list(transliterate("".join(c for c in text if c.isascii())))


def test_transliteration_of_each_kind() -> None:
    assert transliterate("“It’s” 1–2 — a\u00a0b… naïve 中") == '"It\'s" 1-2 - a b... nave '


def test_half_characters_and_lone_surrogates_do_not_stop_anything() -> None:
    assert ByteTokenizer().decode([0xC3, 65]) == "\ufffdA"
    assert ByteTokenizer().decode(ByteTokenizer().encode(["a\ud800b"])[0]) == "a?b"


@lru_cache
def in_transformers(alphabet: Any, folder: Path) -> Any:
    from transformers import AutoTokenizer, LlamaConfig

    ByteTokenizer(alphabet).save(folder)
    LlamaConfig().save_pretrained(folder)  # beside a model's configuration, which must not change how it is read
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizers")


@pytest.mark.parametrize("alphabet", ["bytes", "ascii"])
@given(text=texts | typographic)
def test_transformers_gives_the_same_ids(scratch: Path, alphabet: Any, text: str) -> None:
    theirs = in_transformers(alphabet, scratch / alphabet)
    ours = ByteTokenizer(alphabet)
    assert theirs(text)["input_ids"] == ours.encode([text])[0].tolist()
    assert len(theirs) == ours.vocab_size


@pytest.mark.parametrize("alphabet", ["bytes", "ascii"])
def test_a_saved_byte_tokenizer_is_read_as_one(scratch: Path, tmp_path: Path, alphabet: Any) -> None:
    theirs = in_transformers(alphabet, scratch / alphabet)
    theirs.save_pretrained(tmp_path / "by transformers")
    for place in (scratch / alphabet, scratch / alphabet / "tokenizer.json", tmp_path / "by transformers"):
        assert load_tokenizer(place) == ByteTokenizer(alphabet)
        assert load_tokenizer(str(place)).fingerprint == load_tokenizer(alphabet).fingerprint


def test_a_byte_tokenizer_that_someone_changed_is_not_taken_for_ours(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    ByteTokenizer().save(tmp_path)
    changed = AutoTokenizer.from_pretrained(tmp_path)
    changed.add_special_tokens({"eos_token": "<end>"})
    changed.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert isinstance(tokenizer, PretrainedTokenizer)
    assert (tokenizer.vocab_size, tokenizer.end_id) == (257, 256)
    assert tokenizer.fingerprint != ByteTokenizer().fingerprint


def test_fingerprints_tell_tokenizers_apart(shared_data: Path) -> None:
    names = ["bytes", "ascii", shared_data / "models" / "smollm2-tokenizer", shared_data / "models" / "stories260K-hf"]
    assert len({load_tokenizer(name).fingerprint for name in names}) == 4


@pytest.mark.parametrize(("folder", "beginning", "end", "size"), [("smollm2-tokenizer", None, 2, 49152), ("stories260K-hf", 1, 2, 512)])
def test_published_tokenizers(shared_data: Path, tmp_path: Path, folder: str, beginning: int | None, end: int, size: int) -> None:
    import tokenizers

    source = shared_data / "models" / folder
    tokenizer = load_tokenizer(source)
    reference = tokenizers.Tokenizer.from_file(str(source / "tokenizer.json"))
    samples = ["Once upon a time there was a tiny model.", "naïve — “quotes” 🙂\n\tdef f(): 1234", ""]
    assert [ids.tolist() for ids in tokenizer.encode(samples)] == [reference.encode(s, add_special_tokens=False).ids for s in samples]
    assert tokenizer.decode(tokenizer.encode([samples[0]])[0]).strip() == samples[0]
    assert (tokenizer.beginning_id, tokenizer.end_id, tokenizer.vocab_size) == (beginning, end, size)
    tokenizer.save(tmp_path / "copy")
    assert load_tokenizer(tmp_path / "copy").fingerprint == tokenizer.fingerprint


def test_a_tokenizer_file_that_cuts_and_pads_does_neither_here(shared_data: Path, tmp_path: Path) -> None:
    definition = json.loads((shared_data / "models" / "smollm2-tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))
    definition["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    definition["padding"] = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<|endoftext|>",
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition), encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    original = load_tokenizer(shared_data / "models" / "smollm2-tokenizer")
    for text in ("a", "one two three four five six seven"):
        assert tokenizer.encode([text])[0].tolist() == original.encode([text])[0].tolist()


def test_what_is_no_tokenizer_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tokenizer.json").write_text("{")
    written = {"list": "[]", "deep": "[" * 10**6, "other": "{}", "model": '{"model": 1}', "huge": '{"model": {"type": "BPE"}, "a": 1e999}'}
    for name, content in written.items():
        (tmp_path / f"{name}.json").write_text(content)
    os.mkfifo(tmp_path / "pipe.json")
    names = ["./nowhere", tmp_path / "empty", tmp_path / "broken", "no-such-owner/no-such-name", tmp_path / "pipe.json"]
    names += [tmp_path / f"{name}.json" for name in written]
    for name in names:
        with pytest.raises(PliantError) as caught:
            load_tokenizer(name)
        assert str(name).removeprefix("./") in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """The folder of a tokenizer that is read by transformers."""
    from transformers import AutoTokenizer

    ByteTokenizer().save(tmp_path / "words")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "words")
    tokenizer.add_special_tokens({"eos_token": "<end>"})
    tokenizer.save_pretrained(tmp_path / "words")
    return tmp_path / "words"


@pytest.mark.parametrize("name", ["tokenizer_config.json", "added_tokens.json", "special_tokens_map.json", "chat_template.jinja"])
@pytest.mark.parametrize("kind", ["pipe", "deep"])
def test_whatever_lies_beside_a_tokenizer_is_waited_for_by_nobody(words: Path, name: str, kind: str) -> None:
    (words / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(words / name)
        with pytest.raises(PliantError, match="is a pipe or device, not a file"):
            load_tokenizer(words)
        return
    (words / name).write_text("[" * 10**6)
    message = "which nothing here needs"
    try:
        assert load_tokenizer(words).vocab_size == 257
    except PliantError as error:
        message = str(error)
    assert message.isprintable()
    assert len(message) < 500


def configure(folder: Path, **fields: Any) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize("elsewhere", ["../other/tokenizer.4.0.0.json", "/tmp/tokenizer.4.0.0.json", "part/tokenizer.4.0.0.json"])
def test_a_tokenizer_lies_in_its_folder(words: Path, elsewhere: str) -> None:
    configure(words, fast_tokenizer_files=["tokenizer.json", elsewhere])
    with pytest.raises(PliantError, match="fast_tokenizer_files"):
        load_tokenizer(words)
    configure(words, fast_tokenizer_files=["tokenizer.json"], tokenizer_file=elsewhere, vocab_file=elsewhere)
    assert load_tokenizer(words).vocab_size == 257


@pytest.mark.parametrize("place", ["code", "somebody/repository--code"])
def test_a_tokenizers_code_is_neither_fetched_nor_run(words: Path, place: str) -> None:
    (words / "code.py").write_text(f"open({str(words / 'ran')!r}, 'w')\n")
    for auto_map in ([None, f"{place}.Words"], {"AutoTokenizer": [f"{place}.Words", None]}):
        configure(words, auto_map=auto_map, tokenizer_class="Words")
        with contextlib.suppress(PliantError):
            assert load_tokenizer(words).vocab_size == 257
    assert not (words / "ran").exists()


def test_sentencepiece_alone_names_the_packages_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer"}))
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(PliantError, match="sentencepiece and protobuf: pip install sentencepiece") as caught:
        load_tokenizer(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
