import pytest

from pliant.data.tokenizer import load_tokenizer
from pliant.models import build, save


@pytest.fixture(scope="session")
def ascii_tokenizer():
    return load_tokenizer("ascii")


@pytest.fixture
def tiny(ascii_tokenizer):
    """A fresh llama-16x2."""
    return build("llama-16x2", ascii_tokenizer, seed=0, context=32)


@pytest.fixture(scope="session")
def saved(tmp_path_factory, ascii_tokenizer):
    """A folder with a llama-16x2; tests copy it before they change anything."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    save(build("llama-16x2", ascii_tokenizer, seed=0, context=32), folder)
    return folder
