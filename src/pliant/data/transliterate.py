"""Text to ASCII: typographic characters become their plain twins, every other character beyond ASCII is dropped.

Used by the `ascii` tokenizer and the built-in corpora, so that a model needs no more than 128 tokens. Lossy on purpose:
"naïve" becomes "nave". For text in other languages use the `bytes` tokenizer.
"""

from __future__ import annotations

PLAIN = {
    **dict.fromkeys("‘’‚‛′", "'"),
    **dict.fromkeys("“”„‟″", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f", " "),
    "…": "...",
    "•": "*",
}
"""Characters with an obvious ASCII spelling: quotes, dashes, spaces, ellipsis, bullet."""

_TABLE = str.maketrans(PLAIN)


def transliterate(text: str) -> str:
    """`text` in ASCII. Idempotent; text that is already ASCII comes back unchanged."""
    return text if text.isascii() else text.translate(_TABLE).encode("ascii", "ignore").decode("ascii")
