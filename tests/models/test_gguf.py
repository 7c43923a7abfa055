import numpy as np
import pytest

from pliant.errors import PliantError
from pliant.models import FolderLadder
from pliant.models.gguf import gguf_parameters


@pytest.fixture
def small(tmp_path):
    """A GGUF file of a 6 x 64 matrix in 8 bits a number and 7 numbers as they are."""
    gguf = pytest.importorskip("gguf")
    pytest.importorskip("accelerate")
    path = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    packed = gguf.quants.quantize(np.ones((6, 64), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("blk.0.attn_q.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("output_norm.weight", np.ones(7, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_numbers_are_counted_not_bytes(small):
    assert gguf_parameters(small) == 6 * 64 + 7
    (rung,) = FolderLadder.parse({"folders": [str(small)]}).rungs()
    assert rung.checkpoint.params == 6 * 64 + 7


@pytest.mark.parametrize("kept", [8, 40, 200])
def test_half_a_file_is_damaged(small, kept):
    small.write_bytes(small.read_bytes()[:kept])
    with pytest.raises(PliantError, match="damaged"):
        gguf_parameters(small)
    (rung,) = FolderLadder.parse({"folders": [str(small)]}).rungs()
    assert rung.checkpoint.params is None
