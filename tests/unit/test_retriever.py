"""The retriever on readable vectors: decisions, checked input, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from retrieval_fakes import WordEncoder, knowledge_of

from tutor.calibration import Calibration, Scale
from tutor.retriever import MAX_QUERY_CHARACTERS, Decision, QueryError, Retriever, detect_language

# confidence 0.5 at a cosine of 0.6; ANSWER from a cosine of about 0.79, SUGGEST from about 0.43
SCALE = Scale(intercept=-6, score=10, margin=0, answer=0.87, suggest=0.15)


@pytest.fixture
def retriever(tmp_path: Path) -> Retriever:
    calibration = Calibration("fake", {"zh": SCALE, "en": SCALE}, {})
    return Retriever.build(knowledge_of(tmp_path), WordEncoder(), calibration)


def test_the_best_question_comes_first_with_its_cosine(retriever: Retriever) -> None:
    retrieval = retriever.retrieve("adam adam adam softmax")
    assert [hit.question_id for hit in retrieval.hits[:2]] == ["adam", "softmax"]
    assert retrieval.hits[0].score == pytest.approx(3 / 10**0.5)
    assert retrieval.language == "en"


@pytest.mark.parametrize(
    ("query", "decision"),
    [
        ("adam", Decision.ANSWER),  # cosine 1
        ("adam why", Decision.SUGGEST),  # 0.71
        ("adam why why cook cook", Decision.ABSTAIN),  # 0.33
        ("为什么 优化", Decision.SUGGEST),
        ("红烧肉", Decision.ABSTAIN),
    ],
)
def test_confidence_decides(retriever: Retriever, query: str, decision: Decision) -> None:
    assert retriever.retrieve(query).decision is decision


@pytest.mark.parametrize("query", ["qwertz", "？？？", "😀", "0"])
def test_a_query_without_a_known_token_abstains_with_confidence_zero(retriever: Retriever, query: str) -> None:
    retrieval = retriever.retrieve(query)
    assert (retrieval.decision, retrieval.confidence, retrieval.hits) == (Decision.ABSTAIN, 0.0, ())


@pytest.mark.parametrize("query", ["", "  \n\t", "\u3000", "x" * (MAX_QUERY_CHARACTERS + 1), None, 7, b"adam"])
def test_a_bad_query_is_refused(retriever: Retriever, query: object) -> None:
    with pytest.raises(QueryError):
        retriever.retrieve(query)  # type: ignore[arg-type]  # wrong on purpose


def test_the_longest_query_is_accepted_and_top_k_bounds_the_hits(retriever: Retriever) -> None:
    assert len(retriever.retrieve("adam " * (MAX_QUERY_CHARACTERS // 5), top_k=2).hits) == 2
    with pytest.raises(QueryError, match="top_k"):
        retriever.retrieve("adam", top_k=0)


def test_full_width_letters_are_the_same_letters(retriever: Retriever) -> None:
    assert retriever.retrieve("ａｄａｍ").hits == retriever.retrieve("adam").hits


def test_probes_are_not_indexed(retriever: Retriever) -> None:
    # Every probe of the fake knowledge says "cook", no other text does.
    assert max(hit.score for hit in retriever.retrieve("cook").hits) == 0


def test_a_given_language_is_kept(retriever: Retriever) -> None:
    assert retriever.retrieve("adam", language="zh").language == "zh"


@pytest.mark.parametrize(
    ("text", "language"),
    [("BN 在 eval 时用什么", "zh"), ("why ReLU?", "en"), ("？！", "en"), ("𠀀", "zh"), ("123", "en"), ("ReLU 好在哪", "zh")],
)
def test_detect_language(text: str, language: str) -> None:
    assert detect_language(text) == language


def test_threads_get_the_same_answers(retriever: Retriever) -> None:
    queries = ["adam", "softmax", "dropout", "丢弃", "优化"] * 20
    alone = [retriever.retrieve(query) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(retriever.retrieve, queries)) == alone
