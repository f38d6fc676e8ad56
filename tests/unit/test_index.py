"""The index against brute-force NumPy, the cache of embeddings, and what is made of a text before it is encoded."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from retrieval_fakes import WordEncoder

from tutor.index import EntryIndex, Hit, IndexInputError, VectorIndex, encode_cached, normalized, normalized_text, simplified


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


@pytest.fixture(scope="module")
def clustered() -> tuple[np.ndarray, np.ndarray]:
    """3,000 vectors about 60 centres, and 50 queries about the same."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(60, 16))
    vectors = np.repeat(centres, 50, axis=0) + 0.5 * generator.normal(size=(3000, 16))
    return vectors, centres[:50] + 0.5 * generator.normal(size=(50, 16))


@pytest.fixture(scope="module")
def approximate(clustered: tuple[np.ndarray, np.ndarray]) -> VectorIndex:
    return VectorIndex(clustered[0], exact_up_to=500)


def test_the_search_is_exact_up_to_the_limit(approximate: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not approximate.exact
    monkeypatch.setattr("tutor.index._approximate_index", lambda vectors: None)  # clustering takes seconds
    assert [VectorIndex(np.eye(5), exact_up_to=limit).exact for limit in (4, 5, 6)] == [False, True, True]


def test_the_approximate_search_finds_nearly_all_that_brute_force_finds(
    clustered: tuple[np.ndarray, np.ndarray], approximate: VectorIndex
) -> None:
    vectors, queries = clustered
    cosines = normalized(queries) @ normalized(vectors).T
    expected = np.argsort(-cosines, axis=1)[:, :10]
    found = [approximate.search(query, top_k=10) for query in queries]
    shared = [len({neighbor.position for neighbor in row} & set(best.tolist())) for row, best in zip(found, expected, strict=True)]
    assert np.mean(shared) / 10 >= 0.95
    for row, of_query in zip(found, cosines, strict=True):
        scores = [neighbor.score for neighbor in row]
        assert scores == sorted(scores, reverse=True)
        np.testing.assert_allclose(scores, of_query[[neighbor.position for neighbor in row]], atol=1e-5)  # the true cosine, not the code's


def test_the_approximate_search_repeats_its_answers(clustered: tuple[np.ndarray, np.ndarray], approximate: VectorIndex) -> None:
    vectors, queries = clustered
    again = VectorIndex(vectors, exact_up_to=500)
    for query in queries:
        assert approximate.search(query, top_k=10) == approximate.search(query, top_k=10) == again.search(query, top_k=10)


def test_asking_for_more_than_the_approximate_search_finds(clustered: tuple[np.ndarray, np.ndarray], approximate: VectorIndex) -> None:
    found = [neighbor.position for neighbor in approximate.search(clustered[1][0], top_k=4000)]
    assert 10 < len(found) <= 3000
    assert len(set(found)) == len(found)
    assert min(found) >= 0  # FAISS fills up with -1


@pytest.mark.parametrize("query", [np.ones(15), np.full(16, np.nan), np.zeros(16)])
def test_the_approximate_search_refuses_the_same_queries(approximate: VectorIndex, query: np.ndarray) -> None:
    with pytest.raises(IndexInputError):
        approximate.search(query, top_k=1)


def embedded(*texts: str) -> np.ndarray:
    return WordEncoder().encode(texts)


def test_a_question_scores_as_the_mean_of_its_three_best_texts() -> None:
    index = EntryIndex({"a": 5, "b": 2}, embedded("softmax", "adam", "adam adam", "dropout", "adam", "adam", "softmax"))
    assert index.rank(embedded("adam")[0]) == [Hit("a", pytest.approx(1.0)), Hit("b", pytest.approx(0.5))]
    assert index.rank(embedded("dropout")[0]) == [Hit("a", pytest.approx(1 / 3)), Hit("b", pytest.approx(0.0))]


def test_ranking_agrees_with_brute_force() -> None:
    generator = np.random.default_rng(0)
    owners = np.sort(generator.integers(0, 9, 60))
    embeddings, query = generator.normal(size=(60, 8)), generator.normal(size=8)
    sizes = {f"q{owner}": int((owners == owner).sum()) for owner in np.unique(owners)}
    cosines = embeddings @ query / np.linalg.norm(embeddings, axis=1) / np.linalg.norm(query)
    expected = {f"q{owner}": float(np.sort(cosines[owners == owner])[-3:].mean()) for owner in np.unique(owners)}
    found = EntryIndex(sizes, embeddings).rank(query)
    assert [hit.question_id for hit in found] == sorted(expected, key=expected.__getitem__, reverse=True)
    assert {hit.question_id: hit.score for hit in found} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("sizes", [{}, {"a": 1}, {"a": 3}, {"a": 2, "b": 0}])
def test_sizes_and_embeddings_must_match(sizes: dict[str, int]) -> None:
    with pytest.raises(IndexInputError, match=rf"2 embeddings for {sum(sizes.values())} texts"):
        EntryIndex(sizes, np.ones((2, 2)))


def test_normalized_text_folds_width_space_and_traditional_characters() -> None:
    assert normalized_text("  ＢＮ　在\n eval ") == "BN 在 eval"
    assert normalized_text("ＢＮ　在訓練時用什麼") == "BN 在训练时用什么"


@pytest.mark.parametrize(
    ("traditional", "expected"),
    [
        ("什麼是梯度消失與爆炸？", "什么是梯度消失与爆炸？"),
        ("為什麼 ReLU 比 sigmoid 好？", "为什么 ReLU 比 sigmoid 好？"),
        ("最佳化演算法怎麼選", "优化算法怎么选"),  # the mainland's words, not only its characters
    ],
)
def test_traditional_chinese_becomes_simplified(traditional: str, expected: str) -> None:
    assert simplified(traditional) == expected
    assert simplified(expected) == expected


@pytest.mark.parametrize("text", ["", "What is ReLU?", "什么是优化", "😀", "naïve", "程序和代码"])
def test_any_other_text_stays_as_it_is(text: str) -> None:
    assert simplified(text) == text


def test_embeddings_come_in_the_order_of_the_texts() -> None:
    texts = ["adam", "dropout", "adam", "ａｄａｍ　why"]
    np.testing.assert_array_equal(encode_cached(texts, WordEncoder()), embedded("adam", "dropout", "adam", "adam why"))


def test_only_changed_texts_are_encoded_again(tmp_path: Path) -> None:
    encoder = WordEncoder()
    encode_cached(["dropout", "adam"], encoder, "one", tmp_path)
    encoder.encoded.clear()
    found = encode_cached(["adam softmax", "dropout"], encoder, "one", tmp_path)
    assert encoder.encoded == ["adam softmax"]
    np.testing.assert_array_equal(found, embedded("adam softmax", "dropout"))


def test_a_text_that_is_gone_leaves_the_cache(tmp_path: Path) -> None:
    encode_cached(["dropout", "adam"], WordEncoder(), "one", tmp_path)
    encode_cached(["dropout"], WordEncoder(), "one", tmp_path)
    encoder = WordEncoder()
    encode_cached(["dropout", "adam"], encoder, "one", tmp_path)
    assert encoder.encoded == ["adam"]


def test_another_encoder_does_not_see_the_cache(tmp_path: Path) -> None:
    encode_cached(["dropout"], WordEncoder(), "one", tmp_path)
    other = WordEncoder()
    encode_cached(["dropout"], other, "two", tmp_path)
    assert other.encoded == ["dropout"]


@pytest.mark.parametrize("broken", [b"", b"not a zip file"])
def test_a_broken_cache_is_rebuilt_with_a_log_line(tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: bytes) -> None:
    texts = ["dropout", "adam"]
    encode_cached(texts, WordEncoder(), "one", tmp_path)
    (cache,) = tmp_path.iterdir()
    whole = cache.read_bytes()
    cache.write_bytes(broken)
    with caplog.at_level(logging.WARNING):
        found = encode_cached(texts, WordEncoder(), "one", tmp_path)
    assert "rebuilding" in caplog.text
    np.testing.assert_array_equal(found, embedded(*texts))
    assert len(cache.read_bytes()) == len(whole)
    assert list(tmp_path.iterdir()) == [cache]  # nothing half-written is left


def test_a_cache_of_other_dimensions_is_rebuilt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encode_cached(["dropout"], WordEncoder(), "one", tmp_path)
    (cache,) = tmp_path.iterdir()
    with np.load(cache) as stored:
        keys = stored["keys"]
    with cache.open("wb") as file:
        np.savez(file, keys=keys, vectors=np.ones((1, 2), dtype=np.float32))
    found = encode_cached(["dropout", "adam"], WordEncoder(), "one", tmp_path)
    assert "another encoder" in caplog.text
    np.testing.assert_array_equal(found, embedded("dropout", "adam"))
