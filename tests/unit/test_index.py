"""The index against brute-force NumPy, and its cache."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from retrieval_fakes import WordEncoder

from tutor.index import EntryIndex, Hit, IndexInputError, VectorIndex, normalized_text


def test_search_equals_brute_force() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(200, 16)) * generator.uniform(0.1, 9, size=(200, 1))
    query = generator.normal(size=16) * 5
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    expected = np.argsort(-cosines)[:7]

    found = VectorIndex(vectors).search(query, top_k=7)

    assert [neighbor.position for neighbor in found] == expected.tolist()
    np.testing.assert_allclose([neighbor.score for neighbor in found], cosines[expected], atol=1e-5)


def test_asking_for_more_than_there_is_returns_what_there_is() -> None:
    index = VectorIndex(np.eye(3))
    found = index.search(np.array([1.0, 0.5, 0.0]), top_k=10)
    assert [neighbor.position for neighbor in found] == [0, 1, 2]  # no position -1
    assert (len(index), index.dimensions) == (3, 3)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.zeros((0, 4)), "shape"),
        (np.ones(4), "shape"),
        (np.array([[1.0, 0.0], [np.nan, 1.0]]), "vector 1"),
        (np.array([[0.0, 0.0], [1.0, 1.0]]), "vector 0"),
    ],
)
def test_vectors_without_a_direction_are_refused(embeddings: np.ndarray, message: str) -> None:
    with pytest.raises(IndexInputError, match=message):
        VectorIndex(embeddings)


@pytest.mark.parametrize("query", [np.ones(4), np.ones((1, 3)), np.array([np.nan, 1, 1])])
def test_queries_of_the_wrong_shape_or_value_are_refused(query: np.ndarray) -> None:
    with pytest.raises(IndexInputError):
        VectorIndex(np.eye(3)).search(query, top_k=1)


def test_top_k_starts_at_one() -> None:
    with pytest.raises(IndexInputError, match="top_k"):
        VectorIndex(np.eye(3)).search(np.ones(3), top_k=0)


def test_a_question_scores_as_the_mean_of_its_three_best_texts() -> None:
    index = EntryIndex.build({"a": ["softmax", "adam", "adam adam", "dropout", "adam"], "b": ["adam", "softmax"]}, WordEncoder())
    assert index.rank("adam") == [Hit("a", pytest.approx(1.0)), Hit("b", pytest.approx(0.5))]
    assert index.rank("dropout") == [Hit("a", pytest.approx(1 / 3)), Hit("b", pytest.approx(0.0))]
    assert index.rank("a word it never saw") == []


def test_ranking_agrees_with_brute_force() -> None:
    generator = np.random.default_rng(0)
    owners = np.sort(generator.integers(0, 9, 60))
    embeddings, query = generator.normal(size=(60, 8)), generator.normal(size=8)

    class Fixed:
        def encode(self, inputs: Sequence[str], *, show_progress_bar: bool | None = None) -> np.ndarray:
            return np.array([query for _ in inputs])

    texts = {f"q{owner}": ["x"] * int((owners == owner).sum()) for owner in np.unique(owners)}
    cosines = embeddings @ query / np.linalg.norm(embeddings, axis=1) / np.linalg.norm(query)
    expected = {f"q{owner}": float(np.sort(cosines[owners == owner])[-3:].mean()) for owner in np.unique(owners)}
    found = EntryIndex(texts, embeddings, Fixed()).rank("anything")
    assert [hit.question_id for hit in found] == sorted(expected, key=expected.__getitem__, reverse=True)
    assert {hit.question_id: hit.score for hit in found} == pytest.approx(expected, abs=1e-6)


def test_normalized_text_folds_width_and_space() -> None:
    assert normalized_text("  ＢＮ　在\n eval ") == "BN 在 eval"


def test_only_changed_texts_are_encoded_again(tmp_path: Path) -> None:
    encoder = WordEncoder()
    EntryIndex.build({"a": ["dropout"], "b": ["adam"]}, encoder, "one", tmp_path)
    encoder.encoded.clear()
    index = EntryIndex.build({"a": ["dropout"], "b": ["adam softmax"]}, encoder, "one", tmp_path)
    assert encoder.encoded == ["adam softmax"]
    assert index.rank("softmax")[0].question_id == "b"


def test_another_encoder_does_not_see_the_cache(tmp_path: Path) -> None:
    EntryIndex.build({"a": ["dropout"]}, WordEncoder(), "one", tmp_path)
    other = WordEncoder()
    EntryIndex.build({"a": ["dropout"]}, other, "two", tmp_path)
    assert other.encoded == ["dropout"]


@pytest.mark.parametrize("broken", [b"", b"not a zip file"])
def test_a_broken_cache_is_rebuilt_with_a_log_line(tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: bytes) -> None:
    texts = {"a": ["dropout"], "b": ["adam"]}
    EntryIndex.build(texts, WordEncoder(), "one", tmp_path)
    (cache,) = tmp_path.iterdir()
    whole = cache.read_bytes()
    cache.write_bytes(broken)
    with caplog.at_level(logging.WARNING):
        index = EntryIndex.build(texts, WordEncoder(), "one", tmp_path)
    assert "rebuilding" in caplog.text
    assert index.rank("adam")[0].question_id == "b"
    assert len(cache.read_bytes()) == len(whole)
    assert list(tmp_path.iterdir()) == [cache]  # nothing half-written is left


def test_a_cache_of_other_dimensions_is_rebuilt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    EntryIndex.build({"a": ["dropout"]}, WordEncoder(), "one", tmp_path)
    (cache,) = tmp_path.iterdir()
    with np.load(cache) as stored:
        keys = stored["keys"]
    with cache.open("wb") as file:
        np.savez(file, keys=keys, vectors=np.ones((1, 2), dtype=np.float32))
    index = EntryIndex.build({"a": ["dropout"], "b": ["adam"]}, WordEncoder(), "one", tmp_path)
    assert "another encoder" in caplog.text
    assert index.rank("adam")[0].question_id == "b"


def test_texts_and_embeddings_must_match() -> None:
    with pytest.raises(IndexInputError, match="2 texts but 1"):
        EntryIndex({"a": ["x", "y"]}, np.ones((1, 2)), WordEncoder())
    with pytest.raises(IndexInputError, match="no text"):
        EntryIndex.build({}, WordEncoder())
