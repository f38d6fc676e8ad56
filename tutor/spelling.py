"""Misspelt Latin words of a query, put right by the words of the knowledge: "bacth noramlization" → "batch normalization"."""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections import Counter
from collections.abc import Iterable

_WORD = re.compile(r"[A-Za-z]{5,}")
_LEAST = 3  # occurrences of a word that others are corrected to
_LONG = 8  # letters from which two errors are put right, otherwise one


class Spelling:
    """Knows the words of some texts, and English."""

    def __init__(self, texts: Iterable[str]) -> None:
        from symspellpy import SymSpell

        counts = Counter(word.lower() for text in texts for word in _WORD.findall(text))
        self._known = english_words() | counts.keys()
        self._frequent = SymSpell(max_dictionary_edit_distance=2)
        for word, count in counts.items():
            if count >= _LEAST:
                self._frequent.create_dictionary_entry(word, count)

    def corrected(self, query: str) -> str:
        """The query with each unknown word of five letters or more replaced by the nearest word of the texts with the same initial, if there is one.

        Distance counts letters changed, left out, added, or swapped with their neighbour (Damerau, "A technique for computer detection and
        correction of spelling errors", 1964): one in a word of up to seven letters, two in a longer one. No English word is touched.
        """
        return _WORD.sub(lambda found: self._word(found[0]), query)

    def _word(self, written: str) -> str:
        from symspellpy import Verbosity

        word = written.lower()
        if word in self._known:
            return written
        found = self._frequent.lookup(word, Verbosity.CLOSEST, max_edit_distance=2 if len(word) >= _LONG else 1)
        return next((str(item.term) for item in found if item.term[0] == word[0]), written)


@functools.cache
def english_words() -> frozenset[str]:
    """The 82,765 English words that come with symspellpy."""
    path = importlib.resources.files("symspellpy") / "frequency_dictionary_en_82_765.txt"
    return frozenset(line.split(" ", 1)[0] for line in path.read_text(encoding="utf-8-sig").splitlines())
