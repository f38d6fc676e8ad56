"""The endpoints, called as nobody's widgets would: every function checks what it is given."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.serving import CallError, call


def test_ask_answers_with_its_documented_keys(address: str) -> None:
    reply = call(address, "ask", "BN 在 eval 的时候用什么均值", "")
    assert set(reply) == {"question", "language", "decision", "confidence", "sure", "outside", "hits", "demo", "answer", "further"}
    assert reply["hits"][0]["section"] in ("1.21", "1.7")
    assert len(reply["hits"]) == 5
    assert set(reply["answer"]) == {"question", "short", "full", "mistakes", "corrections"}


def test_several_questions_have_an_answer_each(address: str) -> None:
    reply = call(address, "ask", "What is dropout, and why do kernels have odd sizes?", "")
    (further,) = reply["further"]
    assert [part["hits"][0]["id"] for part in (reply, further)] == ["dropout", "odd-kernels"]
    assert reply["answer"]["short"] != further["answer"]["short"]


@pytest.mark.parametrize(
    ("question", "outside"), [("支持向量机的核函数怎么选", "support-vector-machines"), ("what does k-means do", "clustering")]
)
def test_a_neighbouring_topic_is_named(address: str, question: str, outside: str) -> None:
    reply = call(address, "ask", question, "")
    assert (reply["decision"], reply["outside"], reply["answer"]) == ("abstain", outside, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["", ""], "type one first"),
        (["   ", ""], "type one first"),
        (["x" * 2001, ""], "at most 2,000"),
        ([["a"], ""], "must be text"),
        ([None, ""], "must be text"),
        ([{"a": 1}, ""], "must be text"),
        (["dropout", "fr"], "zh or en"),
        (["dropout", [1]], "zh or en"),
    ],
)
def test_ask_refuses_what_is_no_question(address: str, arguments: list[Any], message: str) -> None:
    with pytest.raises(CallError, match=message):
        call(address, "ask", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense", "", {}, 0, "en"], "no experiment called nonsense"),
        ([["batchnorm"], "", {}, 0, "en"], "no experiment called"),
        (["batchnorm", "nonsense", {}, 0, "en"], "no preset nonsense"),
        (["batchnorm", "", {"nonsense": 1}, 0, "en"], "no parameter called nonsense"),
        (["learning_rate_sweep", "", {"steps": float("nan")}, 0, "en"], "steps"),
        (["learning_rate_sweep", "", {"steps": True}, 0, "en"], "steps"),
        (["learning_rate_sweep", "", {"steps": 10**9}, 0, "en"], "steps"),
        (["learning_rate_sweep", "", [1, 2], 0, "en"], "parameters"),
        (["learning_rate_sweep", "", {}, -1, "en"], "whole number"),
        (["learning_rate_sweep", "", {}, 1e99, "en"], "whole number"),
        (["learning_rate_sweep", "", {}, 0, "fr"], "zh or en"),
    ],
)
def test_run_experiment_refuses_what_it_cannot_run(address: str, arguments: list[Any], message: str) -> None:
    with pytest.raises(CallError, match=message):
        call(address, "run_experiment", *arguments)


def test_twenty_megabytes_are_refused_and_nobody_is_disturbed(address: str) -> None:
    with pytest.raises(CallError, match="at most 2,000"):
        call(address, "ask", "x" * 20_000_000, "")
    assert call(address, "ask", "what is momentum", "")["decision"] == "answer"


def test_private_functions_answer_bad_input_without_harm(address: str) -> None:
    """Hidden from the schema is not locked: each function can be called by its number."""
    config = httpx.get(f"{address}/config").json()
    for dependency in config["dependencies"]:
        for data in ([], [None] * 8, ["x"] * 8, [float("nan")] * 8, [["x"] * 1000] * 8):
            body = json.dumps({"fn_index": dependency["id"], "data": data, "session_hash": "mallory"})
            answer = httpx.post(f"{address}/gradio_api/run/predict", content=body, headers={"content-type": "application/json"}, timeout=30)
            assert answer.status_code in (200, 400, 403, 404, 422, 500)
    assert call(address, "ask", "what is momentum", "")["decision"] == "answer"
