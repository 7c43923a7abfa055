"""Short answers: whether what a model says is one of the right answers, word for word, or shares words with it.

Idea: both are written in one way first: small letters, no punctuation, no articles (a, an, the), one space between words, and letters
with their accents as one character (NFC). `exact_match` is whether any of the right answers is left; `f1` is the harmonic mean of
precision and recall over words, against the right answer that it is highest for.
Source: the evaluation script of SQuAD (arXiv 1606.05250), as NQ-open has it too; the Unicode form is our own, since NQ-open's (NFD) takes
the a out of words such as "ação" for an article.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """An answer in the one way in which answers are compared."""
    plain = unicodedata.normalize("NFC", text).lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def exact_match(said: str, right: Sequence[str]) -> bool:
    """Whether it is one of the right answers."""
    return normalised(said) in set(map(normalised, right))


def token_f1(said: str, right: Sequence[str]) -> float:
    """Of the right answer it is nearest to, from 0 to 1."""
    return max(_f1(normalised(said).split(), normalised(answer).split()) for answer in right)


def _f1(said: Sequence[str], right: Sequence[str]) -> float:
    if not said or not right:  # nothing is left of an article
        return float(said == right)
    shared = sum((Counter(said) & Counter(right)).values())
    return 2 * shared / (len(said) + len(right))
