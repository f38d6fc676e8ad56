"""The ranking of questions and of what lies outside, against brute force on readable vectors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from retrieval_fakes import WordEncoder, knowledge_of

from tests.unit.sample import write_outside
from tutor.index import Hit
from tutor.knowledge import KnowledgeBase, passages
from tutor.ranking import Ranker, Ranking
from tutor.words import WordEvidence, words


@pytest.fixture
def knowledge(tmp_path: Path) -> KnowledgeBase:
    return knowledge_of(tmp_path / "knowledge", outside=True)


def brute_force(texts: list[str], query: str) -> float:
    """The mean cosine of the three nearest texts."""
    vectors, direction = WordEncoder().encode(texts), WordEncoder().encode([query])[0]
    cosines = vectors @ direction / np.linalg.norm(vectors, axis=1) / np.linalg.norm(direction)
    return float(np.sort(cosines)[-3:].mean())


@pytest.mark.parametrize(
    "query", ["adam", "dropout dropout adam why", "优化 为什么 扩散", "soup dropout", "diffusion adam cook", "汤 扩散 softmax"]
)
def test_scores_agree_with_brute_force(knowledge: KnowledgeBase, query: str) -> None:
    ranking = Ranker.build(knowledge, WordEncoder()).rank(query)
    expected = {question.id: brute_force(passages(question), query) for question in knowledge.questions.values()}
    outside = {topic.id: brute_force(topic.all_texts, query) for topic in knowledge.outside.values()}
    assert {hit.question_id: hit.score for hit in ranking.hits} == pytest.approx(expected, abs=1e-6)
    assert [hit.score for hit in ranking.hits] == sorted((hit.score for hit in ranking.hits), reverse=True)
    assert ranking.hits[0].score == pytest.approx(max(expected.values()), abs=1e-6)
    assert ranking.neighbor == Hit("diffusion-models", pytest.approx(outside["diffusion-models"], abs=1e-6))
    assert ranking.everyday == Hit("cooking", pytest.approx(outside["cooking"], abs=1e-6))


def test_the_nearest_of_several_neighbours_is_given(tmp_path: Path, knowledge: KnowledgeBase) -> None:
    texts = "texts:\n  zh: [为什么一, 为什么二, 为什么三, 为什么四, 为什么五]\n  en: [why 1, why 2, why 3, why 4, why 5]\n"
    write_outside(tmp_path / "knowledge", "reasons", "name: {zh: 理由, en: reasons}\n" + texts)
    ranker = Ranker.build(KnowledgeBase.load(tmp_path / "knowledge"), WordEncoder())
    assert [ranker.rank(query).neighbor.question_id for query in ("why why diffusion", "why diffusion diffusion")] == [  # type: ignore[union-attr]
        "reasons",
        "diffusion-models",
    ]


def test_probes_are_not_indexed(knowledge: KnowledgeBase) -> None:
    # Every probe of the fake knowledge says "cook", no other text does.
    assert max(hit.score for hit in Ranker.build(knowledge, WordEncoder()).rank("cook").hits) == 0


def test_without_outside_topics_there_is_no_neighbour(tmp_path: Path) -> None:
    ranking = Ranker.build(knowledge_of(tmp_path), WordEncoder()).rank("adam")
    assert (ranking.neighbor, ranking.everyday, ranking.words) == (None, None, None)
    assert ranking.hits[0] == Hit("adam", pytest.approx(1.0))


@pytest.mark.parametrize(("left", "missing"), [("cooking", "neighbor"), ("diffusion-models", "everyday")])
def test_one_kind_of_outside_topic_will_do(tmp_path: Path, knowledge: KnowledgeBase, left: str, missing: str) -> None:
    for path in (tmp_path / "knowledge" / "outside").iterdir():
        if path.stem != left:
            path.unlink()
    ranking = Ranker.build(KnowledgeBase.load(tmp_path / "knowledge"), WordEncoder()).rank("adam")
    assert [name for name in ("neighbor", "everyday", "words") if getattr(ranking, name) is None] == [missing]


@pytest.mark.parametrize("query", ["qwertz", "？？？", "😀", "0"])
def test_a_query_without_a_known_token_has_an_empty_ranking(knowledge: KnowledgeBase, query: str) -> None:
    assert Ranker.build(knowledge, WordEncoder()).rank(query) == Ranking()


def test_an_embedding_that_is_not_a_number_has_an_empty_ranking(knowledge: KnowledgeBase, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = WordEncoder()
    ranker = Ranker.build(knowledge, encoder)
    monkeypatch.setattr(encoder, "encode", lambda inputs, **_: np.full((len(inputs), 13), np.nan))
    assert ranker.rank("adam") == Ranking()


def test_width_space_and_traditional_characters_do_not_matter(knowledge: KnowledgeBase) -> None:
    ranker = Ranker.build(knowledge, WordEncoder())
    assert ranker.rank("ａｄａｍ　 為什麼\n最佳化") == ranker.rank("adam 为什么 优化")


def test_a_context_counts_beside_the_query_whatever_its_length(knowledge: KnowledgeBase) -> None:
    ranker = Ranker.build(knowledge, WordEncoder())
    assert [hit.question_id for hit in ranker.rank("dropout", "adam").hits[:2]] == ["dropout", "adam"]
    assert ranker.rank("dropout", "adam " * 100).hits == ranker.rank("dropout", "adam").hits
    assert ranker.rank("qwertz", "adam").hits == ranker.rank("adam").hits  # nothing is known of the query itself
    assert ranker.rank("qwertz", "qwertz") == Ranking()


def test_only_changed_texts_are_encoded_again(tmp_path: Path, knowledge: KnowledgeBase) -> None:
    encoder, cache = WordEncoder(), tmp_path / "cache"
    first = Ranker.build(knowledge, encoder, "one", cache).rank("soup adam")
    encoder.encoded.clear()
    again = Ranker.build(knowledge, encoder, "one", cache)
    assert encoder.encoded == []
    assert again.rank("soup adam") == first

    encoder.encoded.clear()
    for name, old, new in (("outside/cooking.yaml", "soup 3", "soup soup"), ("regularization/adam.md", "adam 7", "adam why adam")):
        path = tmp_path / "knowledge" / name
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    changed = KnowledgeBase.load(tmp_path / "knowledge")
    Ranker.build(changed, encoder, "one", cache)
    assert sorted(encoder.encoded) == ["adam why adam", "soup soup"]
    encoder.encoded.clear()
    Ranker.build(changed, encoder, "two", cache)
    assert len(encoder.encoded) > 100  # another encoder


def test_the_evidence_of_the_words_tells_inside_from_outside(knowledge: KnowledgeBase) -> None:
    ranker = Ranker.build(knowledge, WordEncoder())
    evidence = [ranker.rank(query).words for query in ("wrong adam", "优化", "soup", "扩散", "adam soup")]
    assert evidence[0] > 0 and evidence[1] > 0  # type: ignore[operator]
    assert evidence[2] < 0 and evidence[3] < 0  # type: ignore[operator]
    assert evidence[2] < evidence[4] < evidence[0]  # type: ignore[operator]


def test_the_evidence_by_hand() -> None:
    evidence = WordEvidence(["relu units", "relu", "batch norm", "norm"], ["soup", "hot soup"])
    relu = math.log(2.5 / 4) - math.log(0.5 / 2)  # half a count is added to each
    soup = math.log(0.5 / 4) - math.log(2.5 / 2)
    assert evidence.ratio("ReLU") == evidence.ratio("relu relu") == pytest.approx(relu)
    assert evidence.ratio("relu soup") == pytest.approx((relu + soup) / 2)
    assert evidence.ratio("？ 1") == 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What is ReLU?", {"what", "is", "relu"}),
        ("梯度消失", {"梯度", "度消", "消失"}),
        ("用 BN，好", {"用", "bn", "好"}),
        ("ＢＮ　在訓練", {"bn", "在训", "训练"}),
        ("a 1 ？", set()),
    ],
)
def test_words(text: str, found: set[str]) -> None:
    assert words(text) == found
