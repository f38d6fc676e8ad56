"""The figures by hand, and the labelled queries they are made from."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from retrieval_fakes import COSINE_CALIBRATION, WordEncoder, knowledge_of

from tutor.evaluation import (
    Bin,
    Outcome,
    auroc,
    bootstrap_interval,
    by_section,
    calibration_error,
    evaluate,
    intervals,
    outcomes_of,
    reliability,
)
from tutor.knowledge import KnowledgeBase
from tutor.labelled import LabelledQuery, LabelledQueryError, load_labelled_queries
from tutor.retriever import Decision, Retriever

ROWS = [
    LabelledQuery("en", "in", ("1.2",), "adam"),  # first, answered as sure
    LabelledQuery("en", "in", ("dropout",), "adam adam softmax dropout"),  # second or third: never first
    LabelledQuery("en", "in", ("1.9", "softmax"), "softmax why"),  # first, suggested
    LabelledQuery("en", "in", ("1.9",), "qwertz"),  # no such question, nothing known: abstained
    LabelledQuery("en", "near", (), "dropout why"),  # suggested
    LabelledQuery("en", "near", (), "dropout"),  # answered as sure
    LabelledQuery("en", "far", (), "cook"),  # abstained
]


@pytest.fixture
def knowledge(tmp_path: Path) -> KnowledgeBase:
    return knowledge_of(tmp_path)


@pytest.fixture
def outcomes(knowledge: KnowledgeBase) -> list[Outcome]:
    return outcomes_of(Retriever.build(knowledge, WordEncoder(), COSINE_CALIBRATION), knowledge, ROWS)


def outcome(confidence: float, right: bool, language: str = "en", kind: str = "in", answers: tuple[str, ...] = ("adam",)) -> Outcome:
    row = LabelledQuery(language, kind, answers if kind == "in" else (), "query")  # type: ignore[arg-type]
    return Outcome(row, "adam", int(right), confidence, Decision.SUGGEST, sure=False)


def test_auroc_counts_ties_half() -> None:
    assert auroc([0.9, 0.5], [0.5, 0.1]) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert auroc([0.1], [0.9]) == 0
    assert math.isnan(auroc([], [0.1]))
    assert math.isnan(auroc([0.1], []))


def test_what_was_found_for_each_query(outcomes: list[Outcome]) -> None:
    assert [outcome.row for outcome in outcomes] == ROWS
    assert [outcome.rank for outcome in outcomes[:1] + outcomes[2:]] == [1, 1, 0, 0, 0, 0]
    assert outcomes[1].rank in (2, 3)
    assert [outcome.right for outcome in outcomes] == [True, False, True, False, False, False, False]
    assert [outcome.found for outcome in outcomes[:6]] == ["adam", "adam", "softmax", "", "dropout", "dropout"]
    assert [outcome.decision.value for outcome in outcomes] == [
        "answer", "answer", "suggest", "abstain", "suggest", "answer", "abstain",
    ]  # fmt: skip
    assert [outcome.sure for outcome in outcomes] == [True, False, False, False, False, True, False]


def test_figures_by_hand(outcomes: list[Outcome]) -> None:
    figures = evaluate(outcomes)
    assert list(figures) == ["en"]
    found = figures["en"]
    assert (found["accuracy_at_1"], found["accuracy_at_3"]) == (2 / 4, 3 / 4)
    assert found["mrr"] in (pytest.approx((1 + 1 / 2 + 1) / 4), pytest.approx((1 + 1 / 3 + 1) / 4))
    assert (found["in_abstained"], found["in_unanswered"]) == (1 / 4, 2 / 4)
    assert (found["near_abstained"], found["near_unanswered"]) == (0, 1 / 2)
    assert (found["far_abstained"], found["far_unanswered"]) == (1, 1)
    assert found["auroc_far"] == 3 / 4  # the query without a known token ranks below "cook"
    # "adam" and "dropout" tie, and so do "softmax why" and "dropout why"; the second query lies between them.
    assert found["auroc_near"] == pytest.approx((1.5 + 1 + 0.5 + 0) / 8)
    assert (found["sure"], found["sure_right"]) == (1 / 4, 1 / 2)  # the "dropout" of nearby was shown as sure, and is wrong


def test_the_languages_are_apart(outcomes: list[Outcome]) -> None:
    chinese = [replace(outcome, row=replace(outcome.row, language="zh")) for outcome in outcomes if outcome.row.kind != "far"][:1]
    figures = evaluate([*outcomes, *chinese])
    assert list(figures) == ["zh", "en"]
    assert figures["en"] == evaluate(outcomes)["en"]
    assert (figures["zh"]["accuracy_at_1"], figures["zh"]["sure_right"]) == (1, 1)
    assert all(math.isnan(figures["zh"][name]) for name in ("auroc_far", "auroc_near", "far_abstained", "near_unanswered"))
    assert evaluate([]) == {}


def test_intervals_contain_the_value_and_repeat(outcomes: list[Outcome]) -> None:
    figures, found = evaluate(outcomes)["en"], intervals(outcomes, samples=200)["en"]
    assert list(found) == list(figures)
    for name, (low, high) in found.items():
        assert low <= figures[name] <= high, name
    assert found["accuracy_at_1"][0] < 2 / 4 < found["accuracy_at_1"][1]  # not a point
    assert found["far_abstained"] == (1, 1)  # a single query has nothing to vary
    assert intervals(outcomes, samples=200)["en"] == found


def test_more_queries_give_narrower_intervals(outcomes: list[Outcome]) -> None:
    few, many = (intervals(rows, samples=200)["en"]["accuracy_at_1"] for rows in (outcomes, outcomes * 25))
    assert many[1] - many[0] < (few[1] - few[0]) / 3


def test_a_figure_of_no_query_has_no_interval() -> None:
    found = intervals([outcome(0.5, True)], samples=20)["en"]
    assert all(math.isnan(bound) for bound in found["auroc_far"] + found["far_abstained"] + found["sure_right"])
    assert intervals([], samples=20) == {}


def test_the_bootstrap_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(size=400)
    low, high = bootstrap_interval(np.mean, values)
    half = 1.96 * values.std() / 20
    assert (low, high) == (pytest.approx(values.mean() - half, abs=0.02), pytest.approx(values.mean() + half, abs=0.02))
    assert bootstrap_interval(np.mean, values) == (low, high)
    assert bootstrap_interval(np.mean, values, seed=1) != (low, high)


def test_the_groups_of_a_bootstrap_are_drawn_apart() -> None:
    assert bootstrap_interval(auroc, [0.9, 0.8], [0.1, 0.2, 0.3], samples=50) == (1, 1)
    low, high = bootstrap_interval(auroc, [0.9, 0.1], [0.5], samples=200)
    assert (low, high) == (0, 1)
    assert all(math.isnan(bound) for bound in bootstrap_interval(auroc, [0.9], [], samples=50))


def test_reliability_by_hand() -> None:
    found = reliability(
        [outcome(*pair) for pair in ((0.0, False), (0.1, False), (0.3, True), (0.6, True), (0.8, False), (1.0, True))], bins=4
    )
    assert [(item.low, item.high, item.queries) for item in found] == [(0, 0.25, 2), (0.25, 0.5, 1), (0.5, 0.75, 1), (0.75, 1, 2)]
    assert [item.confidence for item in found] == [pytest.approx(value) for value in (0.05, 0.3, 0.6, 0.9)]
    assert [item.right for item in found] == [0, 1, 1, 0.5]
    # (2 * 0.05 + 0.7 + 0.4 + 2 * 0.4) / 6
    assert calibration_error(found) == pytest.approx(2 / 6)


def test_an_edge_belongs_to_the_bin_above_and_one_to_the_last() -> None:
    assert [item.queries for item in reliability([outcome(0.5, True), outcome(1.0, True)], bins=2)] == [0, 2]


def test_an_empty_bin_counts_for_nothing() -> None:
    found = reliability([outcome(0.75, True)] * 3 + [outcome(0.75, False)])
    assert len(found) == 10
    assert [item.queries for item in found] == [0] * 7 + [4, 0, 0]
    assert math.isnan(found[0].confidence) and math.isnan(found[0].right)
    assert calibration_error(found) == pytest.approx(0)
    assert calibration_error([Bin(0, 1, 4, 0.9, 0.5)]) == pytest.approx(0.4)
    assert math.isnan(calibration_error(reliability([])))


def test_a_query_out_of_scope_is_never_right() -> None:
    (item,) = reliability([outcome(0.5, True), outcome(0.5, False, kind="far")], bins=1)
    assert (item.queries, item.right) == (2, 0.5)


def test_figures_by_section(knowledge: KnowledgeBase) -> None:
    found = by_section(
        [
            outcome(0.9, True, answers=("softmax",)),
            outcome(0.9, True, answers=("1.2",)),
            outcome(0.9, False, answers=("adam", "1.1")),
            outcome(0.9, False, answers=("7.7",)),
            outcome(0.9, True, language="zh", answers=("1.1",)),
            outcome(0.9, False, kind="near"),
        ],
        knowledge,
        "en",
        samples=200,
    )
    # In the order of the questions; section and id are one; what the knowledge base lacks comes last under its own name.
    assert {name: (value, count) for name, (value, _, count) in found.items()} == {"adam": (0.5, 2), "softmax": (1, 1), "7.7": (0, 1)}
    assert list(found) == ["adam", "softmax", "7.7"]
    assert [interval for _, interval, _ in found.values()] == [(0, 1), (1, 1), (0, 0)]


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
