"""The figures by hand, and the labelled queries they are made from."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from retrieval_fakes import WordEncoder, knowledge_of

from tutor.calibration import Calibration, Scale
from tutor.evaluation import auroc, evaluate
from tutor.labelled import LabelledQuery, LabelledQueryError, load_labelled_queries
from tutor.retriever import Retriever

SCALE = Scale(intercept=-6, score=10, margin=0, answer=0.87, suggest=0.15)  # ANSWER from cosine 0.79, SUGGEST from 0.43


def test_auroc_counts_ties_half() -> None:
    assert auroc([0.9, 0.5], [0.5, 0.1]) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert auroc([0.1], [0.9]) == 0
    assert math.isnan(auroc([], [0.1]))


def test_figures_by_hand(tmp_path: Path) -> None:
    knowledge = knowledge_of(tmp_path)
    retriever = Retriever.build(knowledge, WordEncoder(), Calibration("fake", {"zh": SCALE, "en": SCALE}, {}))
    rows = [
        LabelledQuery("en", "in", ("1.2",), "adam"),  # first, answered
        LabelledQuery("en", "in", ("dropout",), "adam adam softmax dropout"),  # second or third: never first
        LabelledQuery("en", "in", ("1.9", "softmax"), "softmax why"),  # first, suggested
        LabelledQuery("en", "in", ("1.9",), "qwertz"),  # no such question, nothing known: abstained
        LabelledQuery("en", "near", (), "dropout why"),  # suggested
        LabelledQuery("en", "near", (), "dropout"),  # answered
        LabelledQuery("en", "far", (), "cook"),  # abstained
    ]
    figures = evaluate(retriever, knowledge, rows)
    assert list(figures) == ["en"]
    found = figures["en"]
    assert (found.queries, found.accuracy_at_1, found.accuracy_at_3) == (7, 2 / 4, 3 / 4)
    assert found.mrr in (pytest.approx((1 + 1 / 2 + 1) / 4), pytest.approx((1 + 1 / 3 + 1) / 4))
    assert (found.in_abstained, found.in_unanswered) == (1 / 4, 2 / 4)
    assert (found.near_abstained, found.near_unanswered) == (0, 1 / 2)
    assert (found.far_abstained, found.far_unanswered) == (1, 1)
    assert found.auroc_far == 3 / 4  # the query without a known token ranks below "cook"


def test_labelled_queries_are_read(tmp_path: Path) -> None:
    path = tmp_path / "queries.tsv"
    path.write_text("lang\tkind\tsections\tquery\nzh\tin\t1.1, adam\t为啥\nen\tfar\t\thello\n", encoding="utf-8")
    assert load_labelled_queries(path) == [LabelledQuery("zh", "in", ("1.1", "adam"), "为啥"), LabelledQuery("en", "far", (), "hello")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"queries\.tsv:1: expected the header"),
        ("a\tb\n", r"queries\.tsv:1: expected the header"),
        ("lang\tkind\tsections\tquery\n", "holds no query"),
        ("lang\tkind\tsections\tquery\nen\tfar\t\thello\nen\tfar\n", r"queries\.tsv:3: expected 4 columns separated by tabs, found 2"),
        ("lang\tkind\tsections\tquery\nfr\tfar\t\thello\n", r":2: lang must be one of zh, en, not 'fr'"),
        ("lang\tkind\tsections\tquery\nen\tout\t\thello\n", r":2: kind must be one of in, near, far, not 'out'"),
        ("lang\tkind\tsections\tquery\nen\tin\t , \thello\n", r":2: a query of kind 'in' needs sections"),
        ("lang\tkind\tsections\tquery\nen\tfar\t1.1\thello\n", r":2: a query of kind 'far' has no sections"),
        ("lang\tkind\tsections\tquery\nen\tfar\t\t \n", r":2: the query is empty"),
    ],
)
def test_malformed_rows_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "queries.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelledQueryError, match=message):
        load_labelled_queries(path)


def test_every_malformed_row_is_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "queries.tsv"
    path.write_text("lang\tkind\tsections\tquery\nfr\tfar\t\thello\nen\tfar\t\t \n", encoding="utf-8")
    with pytest.raises(LabelledQueryError) as caught:
        load_labelled_queries(path)
    assert len(str(caught.value).splitlines()) == 2


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelledQueryError, match=r"none\.tsv: cannot be read"):
        load_labelled_queries(tmp_path / "none.tsv")
