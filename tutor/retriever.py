"""`Retriever.retrieve(query)`: the questions nearest to a query, how sure that is, and what to do about it."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tutor.calibration import Calibration
from tutor.encoder import Encoder
from tutor.index import Hit, normalized_text
from tutor.knowledge import KnowledgeBase
from tutor.question import Language
from tutor.ranking import Ranker, Ranking

MAX_QUERY_CHARACTERS = 2000

_LEAST_TO_SUGGEST = 0.15  # confidence below which no question is worth offering

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")


class QueryError(ValueError):
    """A query that cannot be searched for; the message says why."""


class Decision(Enum):
    """What the confidence justifies: answer outright, offer the nearest questions, or say that nothing fits."""

    ANSWER = "answer"
    SUGGEST = "suggest"
    ABSTAIN = "abstain"


@dataclass(frozen=True)
class Retrieval:
    """What was found for a query: hits best first, and the probability, 0 … 1, that the first one answers it.

    `sure` marks an ANSWER whose confidence is high. `outside` is the id of the neighbouring topic that the query seems to be about, if it
    lies out of scope and there is one.
    """

    query: str
    language: Language
    hits: tuple[Hit, ...]
    confidence: float
    decision: Decision
    sure: bool = False
    outside: str | None = None


class Retriever:
    """Finds questions. May be shared by threads."""

    def __init__(self, ranker: Ranker, calibration: Calibration) -> None:
        self._ranker = ranker
        self._calibration = calibration
        # A SentenceTransformer's tokenizer must not be used by two threads at once; a query takes about a millisecond.
        self._lock = threading.Lock()

    @classmethod
    def build(cls, knowledge: KnowledgeBase, encoder: Encoder, calibration: Calibration, cache_dir: Path | None = None) -> Retriever:
        """Indexes the knowledge. `cache_dir` keeps the embeddings between starts."""
        return cls(Ranker.build(knowledge, encoder, calibration.encoder, cache_dir), calibration)

    def retrieve(self, query: str, language: Language | None = None, top_k: int = 5, context: str = "") -> Retrieval:
        """The `top_k` best questions for a query of 1 … 2,000 characters; its language is detected unless given. Raises QueryError.

        `context` is what a follow-up refers to.
        """
        text = _checked(query)
        if top_k < 1:
            raise QueryError(f"top_k must be at least 1, got {top_k}")
        language = language or detect_language(text)
        with self._lock:
            ranking = self._ranker.rank(text, context)
        scale = self._calibration.scales[language]
        judgement = scale.judge(ranking)
        confidence, hits = judgement.confidence, ranking.hits[:top_k]
        if not hits or judgement.scope < scale.in_scope or confidence < _LEAST_TO_SUGGEST:
            return Retrieval(query, language, hits, confidence, Decision.ABSTAIN, outside=_neighbor(ranking))
        if confidence >= scale.answer:
            return Retrieval(query, language, hits, confidence, Decision.ANSWER, sure=confidence >= scale.sure)
        return Retrieval(query, language, hits, confidence, Decision.SUGGEST)


def _neighbor(ranking: Ranking) -> str | None:
    """The neighbouring topic, if it is nearer than any question and any everyday matter."""
    if ranking.neighbor is None:
        return None
    others = [hit.score for hit in (ranking.hits[0], ranking.everyday) if hit]
    return ranking.neighbor.question_id if ranking.neighbor.score > max(others) else None


def detect_language(text: str) -> Language:
    """`zh` for a text with any Chinese character, such as "BN 在 eval 时用什么"; `en` for any other."""
    return "zh" if _HAN.search(text) else "en"


def _checked(query: str) -> str:
    if not isinstance(query, str):
        raise QueryError(f"a query is a text, not {type(query).__name__}")
    if len(query) > MAX_QUERY_CHARACTERS:
        raise QueryError(f"a query has at most {MAX_QUERY_CHARACTERS:,} characters, this one has {len(query):,}")
    text = normalized_text(query)
    if not text:
        raise QueryError("the query is empty")
    return text


__all__ = ["MAX_QUERY_CHARACTERS", "Decision", "Hit", "QueryError", "Retrieval", "Retriever", "detect_language"]
