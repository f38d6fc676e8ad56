"""Vector search. A score is always the cosine similarity: -1 … 1, higher is better."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tutor.encoder import Encoder

EXACT_UP_TO = 50_000  # vectors: beyond, the search is approximate (benchmarks/scale.py says what that costs and saves)

SMALLEST_NORM = 1e-6  # a shorter vector has no direction: no token of the text is known
_COUNTED = 3  # texts of a question that make its score
_CANDIDATES = 512  # nearest texts whose questions are scored

# The approximate search, chosen in benchmarks/scale.py: ten nearest of a million with recall 0.98 within 5 ms.
_SEARCHED = 768  # clusters that are looked into, of four times the root of the number of vectors
_REFINED = 512  # candidates that are ordered by their true cosine
_CLUSTERING_ROUNDS = 8
_DRAWN_PER_CLUSTER = 40  # vectors that the clusters are learned from

_REGULARIZATION, _NORMALIZATION = re.compile(r"(?<=[Ll][12])\s*正規化"), re.compile("正規化")  # one word for both in Taiwan
_SPACE_IN_CHINESE = re.compile(r"(?<=[\u3400-\u4dbf\u4e00-\u9fff]) (?=[\u3400-\u4dbf\u4e00-\u9fff])")

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
    """Search by cosine similarity over FAISS: exact up to `exact_up_to` vectors, approximate beyond.

    The approximation looks into the nearest of many clusters, where every vector is kept as a short code (Johnson, Douze and Jégou,
    "Billion-scale similarity search with GPUs", 2017, https://arxiv.org/abs/1702.08734), and orders the best candidates by their true cosine.
    """

    def __init__(self, embeddings: np.ndarray, exact_up_to: int = EXACT_UP_TO) -> None:
        """Indexes embeddings of shape (vectors, dimensions); they are normalised here. Raises IndexInputError."""
        if embeddings.ndim != 2 or 0 in embeddings.shape:
            raise IndexInputError(f"expected embeddings of shape (vectors, dimensions), both at least 1, got {embeddings.shape}")
        self.vectors = normalized(embeddings)  # (vectors, dimensions), unit length
        self.exact = len(self.vectors) <= exact_up_to
        self._index = _exact_index(self.vectors) if self.exact else _approximate_index(self.vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dimensions(self) -> int:
        return int(self.vectors.shape[1])

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
        direction = normalized(embedding[None])
        scores, positions = self._index.search(direction, top_k if self.exact else max(top_k, _REFINED))
        # FAISS fills up with position -1 when it finds fewer than it was asked for.
        positions = positions[0][positions[0] >= 0]
        if self.exact:
            return positions, np.clip(scores[0][: len(positions)], -1.0, 1.0)
        cosines = np.clip(self.vectors[positions] @ direction[0], -1.0, 1.0)
        best = np.argsort(-cosines, kind="stable")[:top_k]
        return positions[best], cosines[best]


def _exact_index(vectors: np.ndarray) -> Any:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def _approximate_index(vectors: np.ndarray) -> Any:
    import faiss

    dimensions = vectors.shape[1]
    codes = dimensions // 2 if dimensions % 2 == 0 else dimensions  # of four bits, one for each pair of dimensions
    clusters = int(4 * len(vectors) ** 0.5)
    index: Any = faiss.index_factory(dimensions, f"IVF{clusters},PQ{codes}x4fs", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = _CLUSTERING_ROUNDS
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1  # FAISS warns on stderr otherwise
    drawn = np.random.default_rng(0).permutation(len(vectors))[: _DRAWN_PER_CLUSTER * clusters]
    index.train(vectors[np.sort(drawn)])
    index.add(vectors)
    index.nprobe = min(_SEARCHED, clusters)
    return index


class EntryIndex:
    """Questions, each indexed under many texts: the score of a question is the mean of its three best texts' (of all, if it has fewer).

    On the development queries the mean of three found 1 to 3 more of 100 than the best text alone, which one stray text can win.
    """

    def __init__(self, sizes: Mapping[str, int], embeddings: np.ndarray) -> None:
        """`sizes` counts the texts of each question; `embeddings` (texts, dimensions) holds theirs in the same order."""
        self._names = list(sizes)
        counts = list(sizes.values())
        if sum(counts) != len(embeddings) or min(counts, default=0) < 1:
            raise IndexInputError(f"{len(embeddings)} embeddings for {sum(counts)} texts; every question needs at least one")
        self._owners = np.repeat(np.arange(len(counts)), counts)  # (texts,)
        self._counted = np.minimum(counts, _COUNTED)  # (questions,)
        self._index = VectorIndex(embeddings)

    def rank(self, embedding: np.ndarray) -> list[Hit]:
        """The questions that own the nearest texts to an embedding of shape (dimensions,), each with its score, best first.

        Of a question with too few texts among the nearest, the others count as near as the last of these.
        """
        positions, cosines = self._index.nearest(embedding, _CANDIDATES)
        owners = self._owners[positions]
        # Texts grouped by question, best first within each: the place within a group is the distance from its start.
        grouped = np.argsort(owners, kind="stable")
        groups, starts, sizes = np.unique(owners[grouped], return_index=True, return_counts=True)
        place = np.arange(len(grouped)) - np.repeat(starts, sizes)
        best = grouped[place < _COUNTED]
        totals = np.bincount(owners[best], weights=cosines[best], minlength=len(self._names))[groups]
        missing = np.maximum(self._counted[groups] - sizes, 0)
        scores = (totals + missing * cosines[-1]) / self._counted[groups]
        order = np.argsort(-scores, kind="stable")
        return [Hit(self._names[groups[i]], float(scores[i])) for i in order]


def normalized_text(text: str) -> str:
    """The text in Unicode normal form NFKC (full-width letters become plain ones), in simplified Chinese, with single spaces, none in Chinese."""
    spaced = " ".join(unicodedata.normalize("NFKC", text).split())
    return simplified(_SPACE_IN_CHINESE.sub("", spaced))


def simplified(text: str) -> str:
    """Traditional Chinese in simplified characters and in the words of the mainland (最佳化 → 优化); any other text as it is."""
    characters, words = _converters()
    if characters.convert(text) == text:
        return text
    # OpenCC takes the word for the normal forms of databases.
    return str(words.convert(_NORMALIZATION.sub("歸一化", _REGULARIZATION.sub("正則化", text))))


@functools.cache
def _converters() -> tuple[Any, Any]:
    import opencc

    return opencc.OpenCC("t2s"), opencc.OpenCC("tw2sp")


def normalized(embeddings: np.ndarray) -> np.ndarray:
    """The vectors (vectors, dimensions) at unit length, float32. Raises IndexInputError for NaN, infinity or a vector of length 0."""
    vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1) | (norms[:, 0] < SMALLEST_NORM))
    if broken.size:
        raise IndexInputError(f"vector {broken[0]} (one of {broken.size}) holds NaN or infinity, or is zero: it has no direction")
    unit: np.ndarray = vectors / norms
    return unit


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def encode_cached(texts: Sequence[str], encoder: Encoder, fingerprint: str = "", cache_dir: Path | None = None) -> np.ndarray:
    """Embeddings (texts, dimensions); with `cache_dir` only texts that the encoder of this fingerprint has not encoded before are encoded.

    The file maps the hash of a text to its vector, so that a changed entry costs only its own texts.
    """
    path = cache_dir / f"embeddings-{_digest(fingerprint)}.npz" if cache_dir else None
    return _encode([normalized_text(text) for text in texts], encoder, path)


def _encode(texts: Sequence[str], encoder: Encoder, path: Path | None) -> np.ndarray:
    keys = [_digest(text) for text in texts]
    known = _load_embeddings(path)
    missing = list({key: text for key, text in zip(keys, texts, strict=True) if key not in known}.items())
    if missing:
        fresh = np.asarray(encoder.encode([text for _, text in missing], show_progress_bar=False), dtype=np.float32)
        if known and fresh.shape[1] != len(next(iter(known.values()))):
            _log.warning("the cache %s is of another encoder; rebuilding it", path)
            return _encode(texts, encoder, _without(path))
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
