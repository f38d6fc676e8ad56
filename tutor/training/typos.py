"""Typing errors for training: what is asked carelessly should mean what it was meant to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

_LONG_WORD = re.compile(r"[A-Za-z]{5,}")
_CHANCE = 0.35  # that a long word is misspelt


def with_typos(texts: Sequence[str], seed: int) -> Iterator[str]:
    """A misspelt copy of each text with a long Latin word. The same texts and seed give the same copies."""
    generator = np.random.default_rng(seed)
    for text in texts:
        misspelt = _LONG_WORD.sub(lambda found: _typo(found[0], generator) if generator.random() < _CHANCE else found[0], text)
        if misspelt != text:
            yield misspelt


def _typo(word: str, generator: np.random.Generator) -> str:
    """The word with two letters swapped, one left out or one doubled; the first letter stays."""
    place = int(generator.integers(1, len(word) - 1))
    kind = generator.integers(3)
    if kind == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if kind == 1:
        return word[:place] + word[place + 1 :]
    return word[: place + 1] + word[place:]
