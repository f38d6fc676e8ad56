"""From scores to confidences and decisions, and the file that keeps them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from retrieval_fakes import WordEncoder, knowledge_of

from tutor import calibration as module
from tutor.calibration import Calibration, CalibrationError, Scale, calibrate, calibration_for
from tutor.evaluation import evaluate
from tutor.index import Hit
from tutor.labelled import LabelledQuery, load_labelled_queries
from tutor.retriever import Retriever

SCALE = Scale(intercept=-5, score=8, margin=4, answer=0.9, suggest=0.3)
CALIBRATION = Calibration("abc", {"zh": SCALE, "en": SCALE}, {"en in": 3})


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


def test_confidence_is_the_logistic_of_score_and_lead() -> None:
    assert SCALE.confidence([Hit("a", 0.5), Hit("b", 0.25)]) == pytest.approx(0.5)  # -5 + 8 * 0.5 + 4 * 0.25 = 0
    assert SCALE.confidence([Hit("a", 0.5)]) == pytest.approx(0.7310586)  # no second question: a lead of 0.5, logit 1
    assert SCALE.confidence([]) == 0.0
    assert 0 <= Scale(-1e6, 0, 0, 1, 0).confidence([Hit("a", 1.0)]) < 1e-9  # no overflow


def test_calibration_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "calibration.json"
    CALIBRATION.save(path)
    assert Calibration.load(path) == CALIBRATION
    assert [file.name for file in path.parent.iterdir()] == ["calibration.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"encoder": "a", "scales": {"zh": {}}, "made_from": {}}',
        json.dumps({"encoder": "a", "made_from": {}, "scales": {name: {**vars(SCALE), "score": float("nan")} for name in ("zh", "en")}}),
        json.dumps({"encoder": "a", "made_from": {}, "scales": {name: {**vars(SCALE), "score": "8"} for name in ("zh", "en")}}),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=r"calibration\.json: not a calibration"):
        Calibration.load(path)


def test_calibrated_decisions_meet_the_aims(tmp_path: Path) -> None:
    knowledge, encoder, rows = knowledge_of(tmp_path), WordEncoder(), labelled_queries()
    calibration = calibrate(knowledge, encoder, rows, "fake")
    figures = evaluate(Retriever.build(knowledge, encoder, calibration), knowledge, rows)
    assert calibration.encoder == "fake"
    assert calibration.made_from["zh far"] == 12
    for of_language in figures.values():
        assert of_language.accuracy_at_1 == 1
        assert of_language.auroc_far == of_language.auroc_near == 1
        assert of_language.in_abstained <= 0.05
        assert of_language.in_unanswered == 0
        assert of_language.far_unanswered == of_language.near_unanswered == 1


def test_too_few_queries_are_refused(tmp_path: Path) -> None:
    rows = [row for row in labelled_queries() if (row.language, row.kind) != ("zh", "near")]
    with pytest.raises(CalibrationError, match="near in zh"):
        calibrate(knowledge_of(tmp_path), WordEncoder(), rows)


@pytest.fixture
def own_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fake's labelled queries in place of the shipped ones."""
    path = tmp_path / "queries.tsv"
    lines = ["\t".join((row.language, row.kind, ",".join(row.answers), row.query)) for row in labelled_queries()]
    path.write_text("\n".join(["lang\tkind\tsections\tquery", *lines]), encoding="utf-8")
    monkeypatch.setattr(module, "QUERIES", path)
    return path


def encoder_at(folder: Path, weights: str = "weights") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "modules.json").write_text(weights)
    return folder


@pytest.mark.usefixtures("own_queries")
def test_an_encoder_without_calibration_is_calibrated_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    knowledge, encoder, folder = knowledge_of(tmp_path / "knowledge"), WordEncoder(), encoder_at(tmp_path / "encoder")
    cache = tmp_path / "cache"
    with caplog.at_level(logging.WARNING):
        first = calibration_for(folder, knowledge, encoder, cache)
    assert "no calibration of its own" in caplog.text
    caplog.clear()
    encoder.encoded.clear()
    assert calibration_for(folder, knowledge, encoder, cache) == first
    assert (caplog.text, encoder.encoded) == ("", [])


@pytest.mark.usefixtures("own_queries")
def test_a_calibration_of_other_weights_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    knowledge, encoder, folder = knowledge_of(tmp_path / "knowledge"), WordEncoder(), encoder_at(tmp_path / "encoder")
    made = calibration_for(folder, knowledge, encoder)
    made.save(folder / "calibration.json")
    assert calibration_for(folder, knowledge, encoder).encoder == made.encoder
    caplog.clear()
    encoder_at(folder, "other weights")
    assert calibration_for(folder, knowledge, encoder).encoder != made.encoder
    assert "belongs to other weights" in caplog.text


def test_the_shipped_queries_are_sound() -> None:
    rows = load_labelled_queries(module.QUERIES)
    for language in ("zh", "en"):
        counts = [sum((row.language, row.kind) == (language, kind) for row in rows) for kind in ("in", "near", "far")]
        assert min(counts) >= 60
    assert len({row.query.casefold() for row in rows}) == len(rows)
