"""Calibration: from cosine similarities to a confidence, and from a confidence to a decision, for one encoder.

Cosines mean different things to different encoders and in different languages. A logistic regression per language (Platt, "Probabilistic
Outputs for Support Vector Machines", 1999) turns the best score and its margin over the next question into the probability that the best
question answers the query; two thresholds on it separate ANSWER, SUGGEST and ABSTAIN.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tutor.encoder import Encoder, encoder_folder, fingerprint
from tutor.index import EntryIndex, Hit
from tutor.knowledge import KnowledgeBase, passages
from tutor.labelled import LabelledQuery, load_labelled_queries
from tutor.question import LANGUAGES, Language

QUERIES = Path(__file__).resolve().parent / "training" / "calibration.tsv"

# What the thresholds aim at, as shares of the labelled queries.
MAX_IN_ABSTAINED = 0.05
MIN_FAR_UNANSWERED = 0.95
MIN_NEAR_UNANSWERED = 0.75

_FEWEST = 5  # labelled queries of one kind and language
_RIDGE = 1e-2  # keeps the fit finite where the classes can be separated

_log = logging.getLogger(__name__)


class CalibrationError(ValueError):
    """A calibration that cannot be read or made; the message says why."""


@dataclass(frozen=True)
class Scale:
    """One language: confidence = sigmoid(intercept + score * best score + margin * lead over the next question).

    At `answer` confidence or more the best question is answered outright; below `suggest` nothing is offered.
    """

    intercept: float
    score: float
    margin: float
    answer: float
    suggest: float

    def confidence(self, hits: Sequence[Hit]) -> float:
        """The probability, 0 … 1, that the first of the ranked hits answers the query; 0 without hits."""
        if not hits:
            return 0.0
        best, lead = _features(hits)
        logit = self.intercept + self.score * best + self.margin * lead
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))


@dataclass(frozen=True)
class Calibration:
    """The scales of an encoder. `encoder` is its fingerprint, `made_from` counts the labelled queries by language and kind."""

    encoder: str
    scales: Mapping[Language, Scale]
    made_from: Mapping[str, int]

    def save(self, path: Path) -> None:
        """Writes JSON, moved into place when it is whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.stem}-{os.getpid()}.partial")
        partial.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Reads what `save` wrote. Raises CalibrationError, naming the file."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            scales = {language: Scale(**data["scales"][language]) for language in LANGUAGES}
            calibration = cls(str(data["encoder"]), scales, dict(data["made_from"]))
            finite = all(math.isfinite(value) for scale in scales.values() for value in asdict(scale).values())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CalibrationError(f"{path}: not a calibration: {type(error).__name__}: {error}") from error
        if not finite:
            raise CalibrationError(f"{path}: not a calibration: a parameter is not finite")
        return calibration


def calibration_for(path_or_hub_id: str | Path, knowledge: KnowledgeBase, encoder: Encoder, cache_dir: Path | None = None) -> Calibration:
    """The calibration of an encoder: beside its weights, or from the cache, or made now (seconds) and kept in the cache.

    One with another fingerprint belongs to other weights and is not used.
    """
    mark = fingerprint(path_or_hub_id)
    folder = encoder_folder(path_or_hub_id)
    cached = cache_dir / f"calibration-{hashlib.sha256(mark.encode()).hexdigest()[:24]}.json" if cache_dir else None
    for path in (folder / "calibration.json" if folder else None, cached):
        if path is None or not path.is_file():
            continue
        try:
            calibration = Calibration.load(path)
        except CalibrationError as error:
            _log.warning("%s", error)
            continue
        if calibration.encoder == mark:
            return calibration
        _log.warning("%s belongs to other weights (%s, not %s)", path, calibration.encoder, mark)
    _log.warning("the encoder %s has no calibration of its own; calibrating it on %s", path_or_hub_id, QUERIES.name)
    calibration = calibrate(knowledge, encoder, load_labelled_queries(QUERIES), mark, cache_dir)
    if cached is not None:
        try:
            calibration.save(cached)
        except OSError as error:
            _log.warning("the calibration cannot be kept in %s: %s", cached, error)
    return calibration


def calibrate(
    knowledge: KnowledgeBase, encoder: Encoder, rows: Sequence[LabelledQuery], encoder_fingerprint: str = "", cache_dir: Path | None = None
) -> Calibration:
    """Fits a scale to each language. Rows whose questions the knowledge base lacks are left out. Raises CalibrationError if few remain."""
    texts = {question.id: passages(question) for question in knowledge.questions.values()}
    index = EntryIndex.build(texts, encoder, encoder_fingerprint, cache_dir)
    usable = [row for row in rows if row.kind != "in" or row.question_ids(knowledge)]
    made_from = Counter(f"{row.language} {row.kind}" for row in usable)
    scales: dict[Language, Scale] = {}
    for language in LANGUAGES:
        short = [kind for kind in ("in", "near", "far") if made_from[f"{language} {kind}"] < _FEWEST]
        if short:
            raise CalibrationError(
                f"fewer than {_FEWEST} usable queries of kind {', '.join(short)} in {language} to calibrate the encoder on"
            )
        scales[language] = _fit([row for row in usable if row.language == language], index, knowledge)
    return Calibration(encoder_fingerprint, scales, dict(sorted(made_from.items())))


def _features(hits: Sequence[Hit]) -> tuple[float, float]:
    """The best score, and its lead over the second question (over 0 where there is none)."""
    return hits[0].score, hits[0].score - (hits[1].score if len(hits) > 1 else 0.0)


def _fit(rows: Sequence[LabelledQuery], index: EntryIndex, knowledge: KnowledgeBase) -> Scale:
    ranked = [(row, hits) for row in rows if (hits := index.rank(row.query))]
    right = np.array([hits[0].question_id in row.question_ids(knowledge) for row, hits in ranked], dtype=float)
    features = np.array([_features(hits) for _, hits in ranked])
    intercept, score, margin = _logistic_regression(features, right)
    unset = Scale(intercept, score, margin, 1.0, 0.0)
    by_kind: dict[str, list[float]] = {"in": [], "near": [], "far": []}
    for row in rows:
        by_kind[row.kind].append(unset.confidence(index.rank(row.query)))
    suggest = float(np.quantile(by_kind["in"], MAX_IN_ABSTAINED, method="lower"))
    # Just above the confidence that all but the allowed share stay at or below.
    beyond = max(
        float(np.quantile(by_kind["far"], MIN_FAR_UNANSWERED, method="higher")),
        float(np.quantile(by_kind["near"], MIN_NEAR_UNANSWERED, method="higher")),
    )
    return Scale(intercept, score, margin, max(suggest, math.nextafter(beyond, 2.0)), suggest)


def _logistic_regression(features: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    """Intercept and weights of the most likely logistic model, by Newton's method. features (rows, 2), labels (rows,) of 0 and 1."""
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-9
    design = np.column_stack([np.ones(len(features)), (features - mean) / deviation])
    weights = np.zeros(design.shape[1])
    penalty = np.diag([0.0, *[_RIDGE * len(labels)] * features.shape[1]])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (labels - chance) - penalty @ weights
        hessian = (design * (chance * (1 - chance))[:, None]).T @ design + penalty + 1e-9 * np.eye(len(weights))
        step = np.linalg.solve(hessian, gradient)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    slopes = weights[1:] / deviation
    return float(weights[0] - slopes @ mean), float(slopes[0]), float(slopes[1])
