"""The retriever on readable vectors: decisions, checked input, threads."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from retrieval_fakes import COSINE_CALIBRATION, OUTSIDE, WordEncoder, knowledge_of, scale_of

from tutor.calibration import Calibration, Logistic
from tutor.index import Hit
from tutor.ranking import Ranking
from tutor.retriever import MAX_QUERY_CHARACTERS, Decision, QueryError, Retriever, detect_language


@pytest.fixture
def retriever(tmp_path: Path) -> Retriever:
    return Retriever.build(knowledge_of(tmp_path), WordEncoder(), COSINE_CALIBRATION)


def test_the_best_question_comes_first_with_its_cosine(retriever: Retriever) -> None:
    retrieval = retriever.retrieve("adam adam adam softmax")
    assert [hit.question_id for hit in retrieval.hits[:2]] == ["adam", "softmax"]
    assert retrieval.hits[0].score == pytest.approx(3 / 10**0.5)
    assert retrieval.language == "en"


@pytest.mark.parametrize(
    ("query", "decision", "sure"),
    [
        ("adam", Decision.ANSWER, True),  # cosine 1
        ("adam adam why", Decision.ANSWER, False),  # 0.89
        ("adam why", Decision.SUGGEST, False),  # 0.71
        ("adam why why cook cook", Decision.ABSTAIN, False),  # 0.33
        ("优化 优化 为什么", Decision.ANSWER, False),
        ("为什么 优化", Decision.SUGGEST, False),
        ("红烧肉", Decision.ABSTAIN, False),
    ],
)
def test_confidence_decides(retriever: Retriever, query: str, decision: Decision, sure: bool) -> None:
    retrieval = retriever.retrieve(query)
    assert (retrieval.decision, retrieval.sure, retrieval.outside) == (decision, sure, None)


def test_each_language_has_its_own_scale(tmp_path: Path) -> None:
    strict = scale_of({"score": 10.0}, -60.0, in_scope=0.15, answer=0.87, sure=0.97)
    calibration = Calibration("fake", {"zh": strict, "en": COSINE_CALIBRATION.scales["en"]}, {})
    retriever = Retriever.build(knowledge_of(tmp_path), WordEncoder(), calibration)
    assert [retriever.retrieve("adam", language=language).decision for language in ("zh", "en")] == [Decision.ABSTAIN, Decision.ANSWER]


@pytest.fixture
def bounded(tmp_path: Path) -> Retriever:
    """With topics outside; in scope only what is clearly nearer to a question than to a neighbouring topic and to everyday matters."""
    scale = scale_of({"over_neighbor": 10.0, "over_everyday": 10.0}, -1.0, in_scope=0.5, answer=0.5, sure=0.9)
    calibration = Calibration("fake", {"zh": scale, "en": scale}, {})
    return Retriever.build(knowledge_of(tmp_path, outside=True), WordEncoder(), calibration)


@pytest.mark.parametrize(
    ("query", "decision", "outside"),
    [
        ("adam", Decision.ANSWER, None),
        ("diffusion", Decision.ABSTAIN, "diffusion-models"),
        ("什么是扩散", Decision.ABSTAIN, "diffusion-models"),
        ("diffusion diffusion adam", Decision.ABSTAIN, "diffusion-models"),
        ("diffusion soup soup", Decision.ABSTAIN, None),  # everyday matters are nearer
        ("soup", Decision.ABSTAIN, None),
        ("diffusion soup", Decision.ABSTAIN, None),  # as near as each other
        ("cook", Decision.ABSTAIN, None),  # near to nothing
        ("diffusion adam soup soup", Decision.ABSTAIN, None),
    ],
)
def test_an_abstention_names_the_neighbouring_topic_only_if_it_is_nearest(
    bounded: Retriever, query: str, decision: Decision, outside: str | None
) -> None:
    retrieval = bounded.retrieve(query)
    assert (retrieval.decision, retrieval.outside) == (decision, outside)
    assert len(retrieval.hits) == 3  # the nearest questions can still be offered


def test_a_neighbouring_topic_is_not_named_where_a_question_is_nearer(tmp_path: Path) -> None:
    scale = scale_of({}, -1.0, in_scope=0.5, answer=0.5, sure=0.9)  # nothing is ever in scope
    retriever = Retriever.build(knowledge_of(tmp_path, outside=True), WordEncoder(), Calibration("fake", {"zh": scale, "en": scale}, {}))
    found = [retriever.retrieve(query) for query in ("adam adam diffusion", "adam diffusion diffusion")]
    assert [(retrieval.decision, retrieval.outside) for retrieval in found] == [
        (Decision.ABSTAIN, None),
        (Decision.ABSTAIN, "diffusion-models"),
    ]


def test_what_is_in_scope_is_never_said_to_lie_outside(tmp_path: Path) -> None:
    retriever = Retriever.build(knowledge_of(tmp_path, outside=True), WordEncoder(), COSINE_CALIBRATION)
    retrieval = retriever.retrieve("adam adam diffusion diffusion diffusion")  # a cosine of 0.55, and 0.83 to diffusion
    assert (retrieval.decision, retrieval.outside) == (Decision.SUGGEST, None)


def test_everyday_matters_are_never_named(bounded: Retriever) -> None:
    assert OUTSIDE["cooking"][0] is None
    assert {bounded.retrieve(f"{word} {count}").outside for word in ("soup", "汤", "soup 汤") for count in range(3)} == {None}


@pytest.mark.parametrize(
    ("scope", "right", "decision", "sure"),
    [
        (0.9, 0.95, Decision.ANSWER, True),
        (0.9, 0.8, Decision.ANSWER, False),
        (0.9, 0.5, Decision.SUGGEST, False),
        (0.45, 0.99, Decision.SUGGEST, False),
        (0.45, 0.5, Decision.SUGGEST, False),
        (0.35, 0.99, Decision.ABSTAIN, False),  # the scope decides, not the confidence
    ],
)
def test_scope_and_confidence_decide_together(scope: float, right: float, decision: Decision, sure: bool) -> None:
    scale = replace(
        COSINE_CALIBRATION.scales["en"],
        scope=Logistic(math.log(scope / (1 - scope)), {}),
        right=Logistic(math.log(right / (1 - right)), {}),
        in_scope=0.4,
        answer=0.7,
        sure=0.85,
    )
    retrieval = Retriever(Always(), Calibration("fake", {"zh": scale, "en": scale}, {})).retrieve("anything")  # type: ignore[arg-type]
    assert (retrieval.decision, retrieval.sure) == (decision, sure)
    assert retrieval.confidence == pytest.approx(scope * right)


class Always:
    """A ranker of one answer."""

    def rank(self, query: str, context: str = "") -> Ranking:
        return Ranking((Hit("adam", 0.5), Hit("dropout", 0.4)))


@pytest.mark.parametrize("query", ["qwertz", "？？？", "😀", "0"])
def test_a_query_without_a_known_token_abstains_with_confidence_zero(retriever: Retriever, query: str) -> None:
    retrieval = retriever.retrieve(query)
    assert (retrieval.decision, retrieval.confidence, retrieval.hits) == (Decision.ABSTAIN, 0.0, ())
    assert (retrieval.sure, retrieval.outside) == (False, None)


@pytest.mark.parametrize("query", ["", "  \n\t", "\u3000", "x" * (MAX_QUERY_CHARACTERS + 1), None, 7, b"adam"])
def test_a_bad_query_is_refused(retriever: Retriever, query: object) -> None:
    with pytest.raises(QueryError):
        retriever.retrieve(query)  # type: ignore[arg-type]  # wrong on purpose


def test_the_longest_query_is_accepted_and_top_k_bounds_the_hits(retriever: Retriever) -> None:
    assert len(retriever.retrieve("adam " * (MAX_QUERY_CHARACTERS // 5), top_k=2).hits) == 2
    with pytest.raises(QueryError, match="top_k"):
        retriever.retrieve("adam", top_k=0)


@pytest.mark.parametrize(("typed", "plain"), [("ａｄａｍ", "adam"), ("為什麼 最佳化", "为什么 优化")])
def test_width_and_traditional_characters_make_no_difference(retriever: Retriever, typed: str, plain: str) -> None:
    found, expected = retriever.retrieve(typed), retriever.retrieve(plain)
    assert (found.hits, found.confidence, found.language) == (expected.hits, expected.confidence, expected.language)
    assert found.hits[0].score > 0.7
    assert found.query == typed


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
