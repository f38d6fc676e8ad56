"""From rankings to confidences and thresholds, and the file that keeps them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from retrieval_fakes import COSINE_SCALE, FEATURES, WordEncoder, knowledge_of

from tutor import calibration as module
from tutor.calibration import Calibration, CalibrationError, Judgement, Logistic, Scale, calibrate, calibration_for, features
from tutor.evaluation import auroc, evaluate, outcomes_of
from tutor.index import Hit
from tutor.labelled import LabelledQuery, load_labelled_queries
from tutor.ranking import Ranking
from tutor.retriever import Retriever

SCALE = Scale(
    scope=Logistic(-5.0, {"score": 8.0, "lead": 4.0, "over_neighbor": 2.0, "over_everyday": 1.0, "words": 0.5}),
    right=Logistic(-1.0, {"score": 2.0, "lead": 4.0}),
    usual={"over_neighbor": 0.2, "over_everyday": 0.3, "words": 1.5},
    in_scope=0.3,
    answer=0.6,
    sure=0.9,
)
CALIBRATION = Calibration("abc", {"zh": SCALE, "en": replace(SCALE, answer=0.7)}, {"en in": 3})


def labelled_queries() -> list[LabelledQuery]:
    """In scope: one word of an entry; near: with two words of none; far: with more of them, or nothing known."""
    rows: list[LabelledQuery] = []
    for section, zh, en in (("1.1", "丢弃", "dropout"), ("1.2", "优化", "adam"), ("1.3", "概率", "softmax")):
        for count in range(4):
            rows.append(LabelledQuery("zh", "in", (section,), f"{zh} 为什么"[: 2 + 4 * (count % 2)]))
            rows.append(LabelledQuery("en", "in", (section,), f"{en} why"[: len(en) + 4 * (count % 2)]))
            rows.append(LabelledQuery("zh", "near", (), f"{zh} cook cook"))
            rows.append(LabelledQuery("en", "near", (), f"{en} cook cook"))
            rows.append(LabelledQuery("zh", "far", (), "cook cook 为什么" if count else "红烧肉"))
            rows.append(LabelledQuery("en", "far", (), "why cook" if count else "rice"))
    return rows


RANKING = Ranking((Hit("a", 0.5), Hit("b", 0.375)), Hit("n", 0.25), Hit("e", 0.125), -0.5)


def test_features_by_hand() -> None:
    assert features(RANKING, {}) == {"score": 0.5, "lead": 0.125, "over_neighbor": 0.25, "over_everyday": 0.375, "words": -0.5}


@pytest.mark.parametrize(("left_out", "feature"), [("neighbor", "over_neighbor"), ("everyday", "over_everyday"), ("words", "words")])
def test_the_usual_stands_in_for_what_a_knowledge_base_does_not_give(left_out: str, feature: str) -> None:
    assert features(replace(RANKING, **{left_out: None}), SCALE.usual) == {**features(RANKING, {}), feature: SCALE.usual[feature]}


def test_a_neutral_feature_is_not_taken_for_a_missing_one() -> None:
    ranking = replace(RANKING, neighbor=Hit("n", 0.5), words=0.0)
    assert (features(ranking, SCALE.usual)["over_neighbor"], features(ranking, SCALE.usual)["words"]) == (0.0, 0.0)


def test_the_only_question_leads_by_its_score() -> None:
    assert features(Ranking((Hit("a", 0.5),)), SCALE.usual)["lead"] == 0.5


def test_the_logistic_by_hand() -> None:
    assert Logistic(-5, {"score": 8, "lead": 4})({"score": 0.5, "lead": 0.25, "words": 99}) == pytest.approx(0.5)
    assert Logistic(-5, {"score": 8, "lead": 4})({"score": 0.5, "lead": 0.5}) == pytest.approx(0.7310586)  # logit 1
    assert 0 <= Logistic(-1e6, {})({}) < 1e-9 < 1 - 1e-9 < Logistic(1e6, {})({}) <= 1  # no overflow


def test_confidence_is_the_chance_of_both() -> None:
    judgement = SCALE.judge(RANKING)
    # scope: -5 + 8 * 0.5 + 4 * 0.125 + 2 * 0.25 + 0.375 - 0.5 * 0.5 = 0.125; right: -1 + 2 * 0.5 + 4 * 0.125 = 0.5
    assert judgement.scope == pytest.approx(1 / (1 + np.exp(-0.125)))
    assert judgement.confidence == pytest.approx(judgement.scope / (1 + np.exp(-0.5)))


def test_a_ranking_without_hits_has_no_confidence() -> None:
    assert SCALE.judge(Ranking()) == Judgement(0.0, 0.0)


def test_calibration_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "calibration.json"
    CALIBRATION.save(path)
    assert Calibration.load(path) == CALIBRATION
    assert [file.name for file in path.parent.iterdir()] == ["calibration.json"]


def test_what_was_fitted_survives_its_file(tmp_path: Path) -> None:
    made = calibrate(knowledge_of(tmp_path / "knowledge", outside=True), WordEncoder(), labelled_queries(), "fake")
    made.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == made


def damaged(**changes: Any) -> str:
    """The file of CALIBRATION with other values in its Chinese scale; None removes one."""
    data = asdict(CALIBRATION)
    for place, value in changes.items():
        *way, last = place.split("__")
        target = data["scales"]["zh"]
        for step in way:
            target = target[step]
        target[last] = value
        if value is None:
            del target[last]
    return json.dumps(data)


def test_the_undamaged_file_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(damaged())
    assert Calibration.load(path) == CALIBRATION


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"encoder": "a", "scales": {"zh": {}}, "made_from": {}}',
        damaged(answer=None),
        damaged(sure=None),
        damaged(in_scope="high"),
        damaged(in_scope=float("nan")),
        damaged(scope=None),
        damaged(scope__intercept=float("inf")),
        damaged(scope__weights__words=None),
        damaged(scope__weights__score=float("nan")),
        damaged(scope__weights__score="eight"),
        damaged(right__weights__lead=None),
        damaged(right__weights=[1.0, 2.0]),
        damaged(usual__over_neighbor=None),
        damaged(usual__words=float("nan")),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=r"calibration\.json: not a calibration"):
        Calibration.load(path)


@pytest.mark.parametrize("outside", [False, True])
def test_calibrated_decisions_meet_the_aims(tmp_path: Path, outside: bool) -> None:
    knowledge, encoder, rows = knowledge_of(tmp_path, outside=outside), WordEncoder(), labelled_queries()
    calibration = calibrate(knowledge, encoder, rows, "fake")
    figures = evaluate(outcomes_of(Retriever.build(knowledge, encoder, calibration), knowledge, rows))
    assert calibration.encoder == "fake"
    assert calibration.made_from["zh far"] == 12
    for of_language in figures.values():
        assert of_language["accuracy_at_1"] == 1
        assert of_language["auroc_far"] == of_language["auroc_near"] == 1
        assert of_language["in_abstained"] <= 0.05
        assert of_language["in_unanswered"] == 0
        assert of_language["far_unanswered"] == of_language["near_unanswered"] == 1
        assert of_language["sure_right"] == 1


def test_the_thresholds_are_in_order(tmp_path: Path) -> None:
    for outside in (False, True):
        calibration = calibrate(knowledge_of(tmp_path / str(outside), outside=outside), WordEncoder(), labelled_queries())
        for scale in calibration.scales.values():
            assert 0 < scale.in_scope < 1
            assert module.LEAST_TO_ANSWER <= scale.answer <= scale.sure <= 1


def test_what_is_wrong_too_often_is_not_sure(tmp_path: Path) -> None:
    """With "why" every third query has another answer than the nearest; without, none has."""
    swapped = {"1.1": "1.2", "1.2": "1.3", "1.3": "1.1"}
    rows = labelled_queries() * 3
    asked = [place for place, row in enumerate(rows) if row.kind == "in" and row.query.endswith(("why", "为什么"))]
    for place in asked[::3]:
        rows[place] = replace(rows[place], answers=(swapped[rows[place].answers[0]],))
    knowledge, encoder = knowledge_of(tmp_path), WordEncoder()
    retriever = Retriever.build(knowledge, encoder, calibrate(knowledge, encoder, rows))
    found = [retriever.retrieve(query) for query in ("adam", "优化", "adam why", "优化 为什么")]
    assert [(retrieval.decision.value, retrieval.sure) for retrieval in found] == [("answer", True)] * 2 + [("answer", False)] * 2


def test_without_outside_topics_what_they_would_give_has_no_weight(tmp_path: Path) -> None:
    calibration = calibrate(knowledge_of(tmp_path), WordEncoder(), labelled_queries())
    for scale in calibration.scales.values():
        assert [scale.scope.weights[name] for name in FEATURES[2:]] == [0, 0, 0]
        assert scale.scope.weights["score"] > 0


def test_what_is_usual_is_the_median_in_scope(tmp_path: Path) -> None:
    calibration = calibrate(knowledge_of(tmp_path, outside=True), WordEncoder(), labelled_queries())
    # A query in scope has a cosine of 1 or 0.71 to its entry and of 0 to what lies outside: half of them each.
    for scale in calibration.scales.values():
        assert scale.usual["over_neighbor"] == scale.usual["over_everyday"] == pytest.approx((1 + 0.5**0.5) / 2, abs=1e-6)


class RandomEncoder:
    """Every text somewhere else, for no reason: no feature says anything about a query."""

    def encode(self, inputs: Sequence[str], *, show_progress_bar: bool | None = None) -> np.ndarray:
        return np.array([np.random.default_rng(list(text.encode())).normal(size=8) for text in inputs], dtype=np.float32)


def test_chance_gives_no_sure_answer(tmp_path: Path) -> None:
    rows = [
        LabelledQuery(language, kind, ("1.1",) if kind == "in" else (), f"{language} {kind} {number}")
        for language in ("zh", "en")
        for kind in ("in", "near", "far")
        for number in range(40)
    ]  # type: ignore[misc]
    knowledge, encoder = knowledge_of(tmp_path, outside=True), RandomEncoder()
    calibration = calibrate(knowledge, encoder, rows)
    outcomes = outcomes_of(Retriever.build(knowledge, encoder, calibration), knowledge, rows)
    assert 0.1 < np.mean([outcome.right for outcome in outcomes if outcome.row.kind == "in"]) < 0.6
    assert not any(outcome.sure for outcome in outcomes)


def test_thresholds_are_set_on_what_a_fit_has_not_seen() -> None:
    generator = np.random.default_rng(0)
    labels = generator.random(80) < 0.5
    noise = {f"noise {column}": generator.normal(size=80) for column in range(60)}
    fitted, unseen = module._regression(noise, labels, np.ones(80))
    seen = np.array([fitted({name: column[row] for name, column in noise.items()}) for row in range(80)])
    assert auroc(seen[labels], seen[~labels]) > 0.99  # so many columns can be learned by heart
    assert 0.3 < auroc(unseen[labels], unseen[~labels]) < 0.7


def test_too_few_queries_are_refused(tmp_path: Path) -> None:
    rows = [row for row in labelled_queries() if (row.language, row.kind) != ("zh", "near")]
    with pytest.raises(CalibrationError, match="near in zh"):
        calibrate(knowledge_of(tmp_path), WordEncoder(), rows)


def test_queries_of_other_questions_do_not_count(tmp_path: Path) -> None:
    rows = [replace(row, answers=("9.9",)) if row.language == "en" and row.kind == "in" else row for row in labelled_queries()]
    with pytest.raises(CalibrationError, match="of kind in in en"):
        calibrate(knowledge_of(tmp_path), WordEncoder(), rows)


@pytest.fixture
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake's questions and labelled queries in place of the shipped ones."""
    path = tmp_path / "queries.tsv"
    lines = ["\t".join((row.language, row.kind, ",".join(row.answers), row.query)) for row in labelled_queries()]
    path.write_text("\n".join(["lang\tkind\tsections\tquery", *lines]), encoding="utf-8")
    knowledge_of(tmp_path / "knowledge", outside=True)
    monkeypatch.setattr(module, "QUERIES", path)
    monkeypatch.setattr(module, "KNOWLEDGE", tmp_path / "knowledge")


def encoder_at(folder: Path, weights: str = "weights") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "modules.json").write_text(weights)
    return folder


@pytest.mark.usefixtures("own_world")
def test_an_encoder_without_calibration_is_calibrated_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder, folder, cache = WordEncoder(), encoder_at(tmp_path / "encoder"), tmp_path / "cache"
    with caplog.at_level(logging.WARNING):
        first = calibration_for(folder, encoder, cache)
    assert "no calibration of its own" in caplog.text
    assert first.made_from["en in"] == 12
    caplog.clear()
    encoder.encoded.clear()
    assert calibration_for(folder, encoder, cache) == first
    assert (caplog.text, encoder.encoded) == ("", [])


@pytest.mark.usefixtures("own_world")
def test_a_calibration_of_other_weights_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder, folder = WordEncoder(), encoder_at(tmp_path / "encoder")
    made = calibration_for(folder, encoder)
    replace(made, made_from={"from": 1}).save(folder / "calibration.json")
    assert calibration_for(folder, encoder).made_from == {"from": 1}
    caplog.clear()
    encoder_at(folder, "other weights")
    found = calibration_for(folder, encoder)
    assert (found.encoder != made.encoder, found.made_from) == (True, made.made_from)
    assert "belongs to other weights" in caplog.text


@pytest.mark.usefixtures("own_world")
def test_a_broken_calibration_beside_the_weights_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = encoder_at(tmp_path / "encoder")
    (folder / "calibration.json").write_text("{}")
    assert calibration_for(folder, WordEncoder()).made_from["en in"] == 12
    assert "calibration.json: not a calibration" in caplog.text


def test_the_shipped_queries_are_sound() -> None:
    rows = load_labelled_queries(module.QUERIES)
    for language in ("zh", "en"):
        counts = [sum((row.language, row.kind) == (language, kind) for row in rows) for kind in ("in", "near", "far")]
        assert min(counts) >= 60
    assert len({row.query.casefold() for row in rows}) == len(rows)


def test_the_scale_of_the_other_tests_survives_its_file() -> None:
    assert Scale.from_json(asdict(COSINE_SCALE)) == COSINE_SCALE
