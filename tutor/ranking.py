"""`Ranker.rank(query)`: the questions nearest to a query, and how near the topics are that lie outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tutor.encoder import Encoder
from tutor.index import SMALLEST_NORM, EntryIndex, Hit, encode_cached, normalized_text
from tutor.knowledge import KnowledgeBase, passages
from tutor.spelling import Spelling
from tutor.words import WordEvidence, words

_ELLIPTIC = 10  # words up to which a follow-up's context weighs as much as the follow-up; less beside more words


@dataclass(frozen=True)
class Ranking:
    """Questions best first; the nearest neighbouring topic and the nearest everyday matter, None where the knowledge base has none.

    `words` is the evidence of the words (see `tutor.words`), None without any outside topic. No hits at all if the encoder knows no token.
    """

    hits: tuple[Hit, ...] = ()
    neighbor: Hit | None = None
    everyday: Hit | None = None
    words: float | None = None


class Ranker:
    """Scores questions and outside topics alike: by the mean cosine of their nearest texts."""

    def __init__(
        self,
        encoder: Encoder,
        questions: EntryIndex,
        neighbors: EntryIndex | None = None,
        everyday: EntryIndex | None = None,
        evidence: WordEvidence | None = None,
        spelling: Spelling | None = None,
    ) -> None:
        self._encoder, self._spelling = encoder, spelling
        self._questions, self._neighbors, self._everyday, self._evidence = questions, neighbors, everyday, evidence

    @classmethod
    def build(cls, knowledge: KnowledgeBase, encoder: Encoder, fingerprint: str = "", cache_dir: Path | None = None) -> Ranker:
        """Indexes every question under all its texts (never its probes) and every outside topic under its own.

        With `cache_dir` only those texts are encoded that the encoder of this fingerprint has not encoded before.
        """
        groups: list[Mapping[str, list[str]]] = [
            {question.id: passages(question) for question in knowledge.questions.values()},
            {topic.id: topic.all_texts for topic in knowledge.outside.values() if topic.name is not None},
            {topic.id: topic.all_texts for topic in knowledge.outside.values() if topic.name is None},
        ]
        inside, *beyond = [[text for of_owner in group.values() for text in of_owner] for group in groups]
        outside = [text for texts in beyond for text in texts]
        embeddings = encode_cached([*inside, *outside], encoder, fingerprint, cache_dir)
        indexes: list[EntryIndex | None] = []
        start = 0
        for group in groups:
            sizes = {name: len(of_owner) for name, of_owner in group.items()}
            stop = start + sum(sizes.values())
            indexes.append(EntryIndex(sizes, embeddings[start:stop]) if sizes else None)
            start = stop
        questions, neighbors, everyday = indexes
        if questions is None:
            raise ValueError("there is no question to index")
        return cls(
            encoder, questions, neighbors, everyday, WordEvidence(inside, outside) if outside else None, Spelling([*inside, *outside])
        )

    def rank(self, query: str, context: str = "") -> Ranking:
        """The ranking for a query; with a `context`, for what the query means after it.

        Not for two threads at once: a SentenceTransformer's tokenizer is not.
        """
        texts = [self._put_right(text) for text in (query, context) if text]
        vectors = np.asarray(self._encoder.encode(texts, show_progress_bar=False), dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1)
        known = np.isfinite(vectors).all(axis=1) & (lengths >= SMALLEST_NORM)
        if not known.any():
            return Ranking()
        # Each text counts by its meaning, not by its length: a short follow-up is not drowned by a long subject.
        shares = np.array([1.0, _context_share(query)][: len(texts)])[known]
        embedding = (shares[:, None] * vectors[known] / lengths[known, None]).sum(axis=0)
        neighbor, everyday = (index.rank(embedding)[0] if index else None for index in (self._neighbors, self._everyday))
        evidence = self._evidence.ratio(" ".join(texts)) if self._evidence else None
        return Ranking(tuple(self._questions.rank(embedding)), neighbor, everyday, evidence)

    def _put_right(self, query: str) -> str:
        text = normalized_text(query)
        return self._spelling.corrected(text) if self._spelling else text


def _context_share(query: str) -> float:
    """The weight of the context: the more a message says itself, the less."""
    return min(1.0, _ELLIPTIC / max(1, len(words(query))))
