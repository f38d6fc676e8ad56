"""Whether the words of a query are those of the questions or of what lies outside: a second opinion beside the encoder's.

An encoder knows a word it never saw through its pieces only, and a short query of such words means little to it. Counting words does not
have that weakness: naive Bayes (Maron, "Automatic Indexing", 1961), here the mean log-likelihood ratio of the words of a query.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from tutor.index import normalized_text

_SMOOTHING = 0.5  # added to every count
_LATIN = re.compile(r"[a-z][a-z0-9]+")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+")


class WordEvidence:
    """Counts in how many texts of the questions, and in how many of those outside, each word stands."""

    def __init__(self, inside: Sequence[str], outside: Sequence[str]) -> None:
        self._inside, self._outside = (Counter(word for text in texts for word in words(text)) for texts in (inside, outside))
        self._sizes = len(inside), len(outside)

    def ratio(self, query: str) -> float:
        """The mean over the words of log P(word | a question's text) - log P(word | an outside text); 0 without words."""
        found = words(query)
        return sum(map(self._ratio, found)) / max(1, len(found))

    def _ratio(self, word: str) -> float:
        inside, outside = self._sizes
        return math.log((self._inside[word] + _SMOOTHING) / inside) - math.log((self._outside[word] + _SMOOTHING) / outside)


def words(text: str) -> set[str]:
    """Latin words in lower case, and every two neighbouring Chinese characters."""
    text = normalized_text(text).lower()
    found = set(_LATIN.findall(text))
    for run in _HAN.findall(text):
        found.update([run[start : start + 2] for start in range(len(run) - 1)] or [run])
    return found
