"""Headers that lie, and what must not be read."""

import json
import os
import struct

import pytest
import torch
from safetensors.torch import save_file

from pliant.errors import PliantError
from pliant.models.weight_files import content_hash, header, stored_parameters, tensors, weight_files


def written(path, text, data=b""):
    content = text.encode() if isinstance(text, str) else json.dumps(text).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content + data)
    return path


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


LIES = {
    "a gap": {"a": entry(), "b": entry(offsets=(12, 20))},
    "an overlap": {"a": entry(), "b": entry(offsets=(4, 12))},
    "the same place": {"a": entry(), "b": entry()},
    "not from the beginning": {"a": entry(offsets=(8, 16))},
    "backwards": {"a": entry(offsets=(8, 0))},
    "another shape": {"a": entry(shape=(3,))},
    "another type": {"a": entry(dtype="F16")},
    "no type": {"a": entry(dtype="F33")},
    "a type that is a number": {"a": entry(dtype=4)},
    "half a size": {"a": entry(shape=(0.5, 4))},
    "a negative size": {"a": entry(shape=(-1, -2))},
    "a size that is text": {"a": entry(shape=("2",))},
    "true": {"a": entry(shape=(True, 2))},
    "three offsets": {"a": entry(offsets=(0, 4, 8))},
    "no offsets": {"a": {"dtype": "F32", "shape": [2]}},
    "offsets of two kinds": {"a": entry(), "b": entry(offsets=("0", "8"))},
    "beyond 64 bits": '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 1' + "0" * 30 + "]}}",
    "no tensor": {"a": 4},
    "a list": [1, 2],
    "a text": '"tensors"',
    "null": "null",
    "too deep": "[" * 200_000,
    "half a header": '{"a": {"dtype": "F32", "sha',
    "not text": '{"a\udcff": 1}'.encode("utf-8", "surrogatepass").decode("latin-1"),
    "a nameless list": {"": []},
}


@pytest.mark.parametrize("kind", LIES)
def test_a_header_that_lies_is_one_line(tmp_path, kind):
    path = written(tmp_path / "model.safetensors", LIES[kind], bytes(20))
    with pytest.raises(PliantError) as caught:
        header(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message.splitlines()) == 1
    assert len(message) < len(str(path)) + 300


def test_twice_the_same_name_is_refused(tmp_path):
    first, second = json.dumps(entry()), json.dumps(entry(offsets=(8, 16)))
    with pytest.raises(PliantError, match="given twice"):
        header(written(tmp_path / "model.safetensors", f'{{"a": {first}, "a": {second}}}', bytes(16)))


@pytest.mark.parametrize("missing", [1, 8, 100])
def test_bytes_too_few_or_too_many(tmp_path, missing):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.arange(100.0), "b": torch.ones(3, 4)}, path)
    content = path.read_bytes()
    assert stored_parameters([path]) == 112
    for wrong in (content[:-missing], content + bytes(missing), content[:missing]):
        path.write_bytes(wrong)
        with pytest.raises(PliantError, match=r"truncated|corrupt"):
            header(path)


def test_every_type_that_torch_writes_is_known(tmp_path):
    types = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2, torch.bool]
    types += [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64, torch.complex64]
    stored = {str(dtype): torch.zeros(3, 5).to(dtype) for dtype in types} | {"empty": torch.zeros(0, 4), "number": torch.tensor(1.0)}
    save_file(stored, tmp_path / "model.safetensors", {"format": "pt"})
    assert {name: tuple(found["shape"]) for name, found in header(tmp_path / "model.safetensors").items()} == {
        name: tuple(tensor.shape) for name, tensor in stored.items()
    }


def test_a_tensor_in_two_files(tmp_path):
    for name in ("one", "two"):
        save_file({"a": torch.ones(2), name: torch.ones(3)}, tmp_path / f"{name}.safetensors")
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    with pytest.raises(PliantError, match=r"two\.safetensors: holds a, which another"):
        tensors(files)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"a": "../model.safetensors"}}, "no safetensors file beside it"),
        ({"weight_map": {"a": "/etc/model.safetensors"}}, "no safetensors file beside it"),
        ({"weight_map": {"a": "part/model.safetensors"}}, "no safetensors file beside it"),
        ({"weight_map": {"a": "pytorch_model.bin"}}, "no safetensors file beside it"),
        ({"weight_map": {"a": "pytorch_model.pt"}}, "no safetensors file beside it"),
        ({"weight_map": {"a": None}}, "no safetensors file beside it"),
        ({"weight_map": {"a": ["x.safetensors"]}}, "no safetensors file beside it"),
        ({"weight_map": {"a": "x\0.safetensors"}}, r"safetensors"),
        ({"weight_map": {}}, "not an index"),
        ({"weight_map": ["x.safetensors"]}, "not an index"),
        ([], "not an index"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
def test_an_index_that_leads_elsewhere(tmp_path, index, message):
    (tmp_path / "model.safetensors.index.json").write_text(index if isinstance(index, str) else json.dumps(index))
    with pytest.raises(PliantError, match=message):
        weight_files(tmp_path)


def test_a_replaced_file_with_its_time_kept_is_another(tmp_path):
    """As `cp -p`, `rsync -t` and `tar` leave it, with the same size; in one process and under a link."""
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(4)}, path)
    before, times = content_hash(tmp_path, [path]), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    other = tmp_path / "other"
    save_file({"a": torch.ones(4)}, other)
    other.replace(path)
    os.utime(path, ns=times)
    assert path.stat().st_mtime_ns == times[1]
    assert content_hash(tmp_path, [path]) != before
    save_file({"a": torch.zeros(4)}, path)
    assert content_hash(tmp_path, [path]) == before


def test_what_lies_beside_weights_has_a_size(tmp_path):
    (tmp_path / "vocab.txt").touch()
    os.truncate(tmp_path / "vocab.txt", 2**41)
    with pytest.raises(PliantError, match="larger than such a file can be"):
        content_hash(tmp_path, [])
