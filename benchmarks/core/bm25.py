"""The baseline that knows no meaning: BM25 (Robertson & Zaragoza, 2009) over words, Chinese ones cut by jieba."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tutor.index import Hit, normalized_text


class BM25Index:
    """Ranks questions as `tutor.index.EntryIndex` does: a question's score is the best BM25 score among its texts."""

    def __init__(self, texts: Mapping[str, Sequence[str]]) -> None:
        import bm25s

        self._jieba = _jieba()
        self._ids = list(texts)
        self._owners = np.repeat(np.arange(len(texts)), [len(of_question) for of_question in texts.values()])
        self._index = bm25s.BM25()
        self._index.index([self._words(text) for of_question in texts.values() for text in of_question], show_progress=False)

    def rank(self, query: str) -> list[Hit]:
        """Every question that shares a word with the query, best first."""
        words = self._words(query)
        if not words:
            return []
        best = np.zeros(len(self._ids))
        np.maximum.at(best, self._owners, self._index.get_scores(words))
        return [Hit(self._ids[i], float(best[i])) for i in np.argsort(-best, kind="stable") if best[i] > 0]

    def _words(self, text: str) -> list[str]:
        words = self._jieba.lcut(normalized_text(text).lower())
        return [word for word in words if any(character.isalnum() for character in word)]


def _jieba() -> Any:
    """jieba with its dictionary loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it writes regular expressions the old way and asks for pkg_resources
        jieba = importlib.import_module("jieba")
    jieba.setLogLevel(logging.WARNING)
    jieba.initialize()
    return jieba
