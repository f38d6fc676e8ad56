"""Vector search. A score is always the cosine similarity: -1 … 1, higher is better."""

from __future__ import annotations

import hashlib
import logging
import os
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tutor.encoder import Encoder

_SMALLEST_NORM = 1e-6  # a shorter vector has no direction: no token of the text is known
_COUNTED = 3  # texts of a question that make its score

_log = logging.getLogger(__name__)


class IndexInputError(ValueError):
    """Vectors that cannot be indexed or searched for."""


class Neighbor(NamedTuple):
    """A vector of the index: its position and its cosine similarity to the query."""

    position: int
    score: float


class Hit(NamedTuple):
    """A question and its score: the mean cosine similarity of its best texts, higher is better."""

    question_id: str
    score: float


class VectorIndex:
    """Exact search by cosine similarity over FAISS."""

    def __init__(self, embeddings: np.ndarray) -> None:
        """Indexes embeddings of shape (vectors, dimensions); they are normalised here. Raises IndexInputError."""
        import faiss

        if embeddings.ndim != 2 or 0 in embeddings.shape:
            raise IndexInputError(f"expected embeddings of shape (vectors, dimensions), both at least 1, got {embeddings.shape}")
        vectors = normalized(embeddings)
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimensions(self) -> int:
        return int(self._index.d)

    def search(self, embedding: np.ndarray, top_k: int) -> list[Neighbor]:
        """The `top_k` nearest vectors (fewer if the index is smaller) to one embedding of shape (dimensions,), best first."""
        positions, scores = self.nearest(embedding, top_k)
        return [Neighbor(position, score) for position, score in zip(positions.tolist(), scores.tolist(), strict=True)]

    def nearest(self, embedding: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `search`, as two arrays: positions and cosine similarities, best first."""
        if top_k < 1:
            raise IndexInputError(f"top_k must be at least 1, got {top_k}")
        if embedding.shape != (self.dimensions,):
            raise IndexInputError(f"expected an embedding of shape ({self.dimensions},), got {embedding.shape}")
        scores, positions = self._index.search(normalized(embedding[None]), top_k)
        # FAISS fills up with position -1 when it holds fewer than top_k vectors.
        found = positions[0] >= 0
        return positions[0][found], np.clip(scores[0][found], -1.0, 1.0)


class EntryIndex:
    """Questions, each indexed under many texts: the score of a question is the mean of its three best texts' (of all, if it has fewer).

    On the development queries the mean of three found 1 to 3 more of 100 than the best text alone, which one stray text can win.
    """

    def __init__(self, texts: Mapping[str, Sequence[str]], embeddings: np.ndarray, encoder: Encoder) -> None:
        self._names = list(texts)
        sizes = [len(of_question) for of_question in texts.values()]
        self._owners = np.repeat(np.arange(len(sizes)), sizes)  # (texts,)
        self._counted = np.minimum(sizes, _COUNTED)  # (questions,)
        if len(self._owners) != len(embeddings):
            raise IndexInputError(f"{len(self._owners)} texts but {len(embeddings)} embeddings")
        self._index = VectorIndex(embeddings)
        self._encoder = encoder

    @classmethod
    def build(
        cls, texts: Mapping[str, Sequence[str]], encoder: Encoder, fingerprint: str = "", cache_dir: Path | None = None
    ) -> EntryIndex:
        """Encodes the texts of each question; with `cache_dir` only those not encoded before by the encoder of this fingerprint."""
        flat = [normalized_text(text) for of_question in texts.values() for text in of_question]
        if not flat:
            raise IndexInputError("there is no text to index")
        path = cache_dir / f"embeddings-{_digest(fingerprint)}.npz" if cache_dir else None
        return cls(texts, _encode_cached(flat, encoder, path), encoder)

    def rank(self, query: str) -> list[Hit]:
        """Every question with its score, best first; nothing if the encoder knows no token of the query."""
        embedding = np.asarray(self._encoder.encode([normalized_text(query)], show_progress_bar=False), dtype=np.float32)[0]
        if not np.isfinite(embedding).all() or np.linalg.norm(embedding) < _SMALLEST_NORM:
            return []
        positions, scores = self._index.nearest(embedding, len(self._index))
        owners = self._owners[positions]
        # Texts grouped by question, best first within each: the place within a group is the distance from its start.
        grouped = np.argsort(owners, kind="stable")
        groups, starts = np.unique(owners[grouped], return_index=True)
        place = np.arange(len(grouped)) - np.repeat(starts, np.diff([*starts, len(grouped)]))
        counted = grouped[place < _COUNTED]
        means = np.bincount(owners[counted], weights=scores[counted], minlength=len(self._names)) / np.maximum(self._counted, 1)
        order = groups[np.argsort(-means[groups], kind="stable")]
        return [Hit(self._names[i], float(means[i])) for i in order]


def normalized_text(text: str) -> str:
    """The text in Unicode normal form NFKC (full-width letters become plain ones) with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def normalized(embeddings: np.ndarray) -> np.ndarray:
    """The vectors (vectors, dimensions) at unit length, float32. Raises IndexInputError for NaN, infinity or a vector of length 0."""
    vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1) | (norms[:, 0] < _SMALLEST_NORM))
    if broken.size:
        raise IndexInputError(f"vector {broken[0]} (one of {broken.size}) holds NaN or infinity, or is zero: it has no direction")
    unit: np.ndarray = vectors / norms
    return unit


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _encode_cached(texts: Sequence[str], encoder: Encoder, path: Path | None) -> np.ndarray:
    """Embeddings (texts, dimensions). The file maps the hash of a text to its vector, so that a changed entry costs only its own texts."""
    keys = [_digest(text) for text in texts]
    known = _load_embeddings(path)
    missing = list({key: text for key, text in zip(keys, texts, strict=True) if key not in known}.items())
    if missing:
        fresh = np.asarray(encoder.encode([text for _, text in missing], show_progress_bar=False), dtype=np.float32)
        if known and fresh.shape[1] != len(next(iter(known.values()))):
            _log.warning("the cache %s is of another encoder; rebuilding it", path)
            return _encode_cached(texts, encoder, _without(path))
        known.update(zip((key for key, _ in missing), fresh, strict=True))
    if path is not None and (missing or len(known) > len(set(keys))):
        _save_embeddings(path, {key: known[key] for key in keys})
    return np.stack([known[key] for key in keys])


def _without(path: Path | None) -> Path | None:
    if path is not None:
        path.unlink(missing_ok=True)
    return path


def _load_embeddings(path: Path | None) -> dict[str, np.ndarray]:
    if path is None or not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            keys, vectors = stored["keys"].tolist(), stored["vectors"]
        normalized(vectors)
        return dict(zip(keys, vectors, strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _log.warning("the cache %s cannot be read (%s); rebuilding it", path, error)
        return {}


def _save_embeddings(path: Path, known: Mapping[str, np.ndarray]) -> None:
    """Written beside and moved into place, so that a reader never sees half a file. A cache that cannot be written is only logged."""
    partial = path.with_name(f"{path.stem}-{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
        partial.replace(path)
    except OSError as error:
        _log.warning("the cache %s cannot be written: %s", path, error)
        partial.unlink(missing_ok=True)
