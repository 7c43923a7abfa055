"""Text in, token batches out: corpora, tokenizers, and packed token files."""

from pliant.data.corpus import Corpus, Document, Part
from pliant.data.packed import Packed, Window, packed
from pliant.data.tokenizer import ByteTokenizer, Tokenizer, load_tokenizer

__all__ = ["ByteTokenizer", "Corpus", "Document", "Packed", "Part", "Tokenizer", "Window", "load_tokenizer", "packed"]
