"""The command line, over the tiny world of `sample.py`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from demos.core.registry import load_demos
from tests.unit.sample import DEMOS, RELU, write_question
from tutor.chat import Tutor
from tutor.cli import app


def call(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch, tiny_tutor: Tutor) -> None:
    """The tiny tutor and the tiny demo instead of the shipped ones; no settings from outside."""
    for name in os.environ:
        if name.startswith("TUTOR_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("tutor.cli._tutor", lambda settings: tiny_tutor)
    monkeypatch.setattr("demos.core.registry.load_demos", lambda: DEMOS)
    monkeypatch.setenv("COLUMNS", "200")


# validate


def test_validate_counts_a_sound_folder(folder: Path) -> None:
    result = call("validate", "--knowledge", str(folder))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "3 questions are sound, 0 faults\n", "")


def test_validate_names_file_and_line_of_each_fault(folder: Path) -> None:
    write_question(folder, "relu", RELU.replace("year: 2010", "year: soon").replace("## Full answer", "## Answer"))
    write_question(folder, "linear", RELU.replace("id: tiny", "id: huge"))
    result = call("validate", "--knowledge", str(folder))
    assert result.exit_code == 1
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [
        "knowledge/activations/relu.md:26",
        "knowledge/activations/relu.md:44",
        "knowledge/activations/linear.md:23",
    ]
    assert "unknown demo 'huge'; there are: tiny" in result.stderr
    assert result.stdout == "2 questions are sound, 3 faults\n"


def test_validate_of_a_folder_without_a_sound_question(tmp_path: Path) -> None:
    write_question(tmp_path, "relu", "nothing")
    result = call("validate", "--knowledge", str(tmp_path))
    assert result.exit_code == 1
    assert "activations/relu.md:1: no front matter" in result.stderr
    assert call("validate", "--knowledge", str(tmp_path / "absent")).exit_code == 1


def test_the_folder_may_come_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTOR_KNOWLEDGE", str(folder))
    assert call("validate").stdout == "3 questions are sound, 0 faults\n"


def test_a_bad_setting_is_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTOR_MCP", "maybe")
    result = call("validate")
    assert result.exit_code == 2
    assert "TUTOR_MCP='maybe'" in result.stderr


# ask


def test_ask_prints_the_answer() -> None:
    result = call("ask", "What is ReLU?")
    assert result.exit_code == 0
    for text in ("What is ReLU?", "The full answer about ReLU.", "Common mistakes", "https://example.org/relu", "demo tiny --preset small"):
        assert text in result.stdout


def test_ask_prints_suggestions_and_what_is_not_covered() -> None:
    suggested = call("ask", "测试")
    assert suggested.stdout.splitlines()[1].split() == ["1.111", "什么是", "Dropout", "at", "test", "time？"]
    assert "not covered" in call("ask", "How do I bake bread?").stdout


def test_ask_as_json() -> None:
    result = call("ask", "什么是 ReLU？", "--json")
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert list(record) == ["question", "language", "decision", "confidence", "hits", "demo"]
    assert (record["question"], record["language"], record["decision"]) == ("什么是 ReLU？", "zh", "answer")
    assert record["hits"][0] == {"id": "relu", "section": "1.12", "score": 1.0}
    assert record["demo"] == {"id": "tiny", "preset": "small"}
    assert "什么是 ReLU？" in result.stdout  # readable, not \u escapes


def test_the_language_can_be_given() -> None:
    assert json.loads(call("ask", "What is ReLU?", "--json", "--lang", "zh").stdout)["language"] == "zh"


def test_questions_do_not_follow_up_on_each_other(tmp_path: Path) -> None:
    (tmp_path / "questions.txt").write_text("What is dropout?\nwhy?\n")
    records = [json.loads(line) for line in call("ask", "--batch", str(tmp_path / "questions.txt")).stdout.splitlines()]
    assert [record["decision"] for record in records] == ["answer", "abstain"]


BATCH = "What is ReLU?\n\n" + "字" * 2001 + "\n什么是 dropout？\n  \nbread?"


@pytest.mark.parametrize("ending", ["", "\n"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("source", ["file", "stdin"])
def test_a_batch_gives_one_object_a_line_in_order(tmp_path: Path, source: str, mark: str, newline: str, ending: str) -> None:
    content = (mark + (BATCH + ending).replace("\n", newline)).encode()
    path = tmp_path / "questions.txt"
    path.write_bytes(content)
    result = call("ask", "--batch", str(path)) if source == "file" else call("ask", "--batch", "-", stdin=content)
    assert result.exit_code == 0
    records = [json.loads(line) for line in result.stdout.split("\n")[:-1]]
    assert [record["question"] for record in records] == ["What is ReLU?", "", "字" * 2001, "什么是 dropout？", "  ", "bread?"]
    assert [record.get("decision") for record in records] == ["answer", None, None, "answer", None, "abstain"]
    assert [record["line"] for record in records if "error" in record] == [2, 3, 5]
    assert "2,001" in records[2]["error"]


def test_only_a_line_end_ends_a_line() -> None:
    result = call("ask", "--batch", "-", stdin="What is\u2028ReLU?\nWhat is\x0cdropout?\n")
    assert [json.loads(line)["question"] for line in result.stdout.split("\n")[:-1]] == ["What is\u2028ReLU?", "What is\x0cdropout?"]


def test_an_empty_batch_gives_nothing() -> None:
    result = call("ask", "--batch", "-", stdin="")
    assert (result.exit_code, result.stdout) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a question, or --batch FILE"),
        (["What is ReLU?", "--batch", "-"], "give a question, or --batch FILE"),
        (["What is ReLU?", "--lang", "fr"], "--lang fr is not a language here; there are: zh, en"),
        (["  "], "There is no question yet"),
        (["a" * 2001], "at most 2,000"),
        (["--batch", "absent.txt"], "--batch absent.txt: "),
    ],
)
def test_ask_refuses_wrong_input(arguments: list[str], message: str) -> None:
    result = call("ask", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_batch_that_is_not_utf_8_is_refused() -> None:
    result = call("ask", "--batch", "-", stdin="什么是 ReLU？".encode("gbk"))
    assert result.exit_code == 2
    assert result.stderr.startswith("--batch -: ")


# demo


def run(*arguments: str) -> dict[str, Any]:
    result = call("demo", "tiny", "--device", "cpu", "--json", *arguments)
    assert result.exit_code == 0, result.output
    data: dict[str, Any] = json.loads(result.stdout)
    return data


def test_a_demo_as_json() -> None:
    data = run()
    assert data.pop("device")
    assert data.pop("elapsed_s") >= 0
    product = {"name": "Product", "value": 2.0, "spread": None, "unit": ""}
    assert data == {
        "demo": "tiny",
        "preset": "small",
        "parameters": {"count": 4, "rate": 0.5, "kind": "relu", "noisy": False},
        "seed": 0,
        "figures": [product],
        "verdict": {
            "status": "reproduced",
            "measured": product,
            "published": "2",
            "source": {"title": "A paper", "authors": "A. Author", "year": 2020, "url": "https://example.org/tiny"},
            "explanation": "Explanation",
        },
        "prediction": {"question": "Will it?", "answer": "It will"},
    }


def test_preset_parameters_seed_and_language_can_be_given() -> None:
    data = run("--preset", "large", "--set", "rate=0.25", "--set", "noisy=false", "--seed", "7", "--lang", "zh")
    assert (data["preset"], data["seed"]) == ("large", 7)
    assert data["parameters"] == {"count": 40, "rate": 0.25, "kind": "tanh", "noisy": False}
    assert data["figures"] == [{"name": "乘积", "value": 10.0, "spread": None, "unit": ""}]
    assert data["prediction"] == {"question": "会吗？", "answer": "会"}


def test_a_demo_prints_figures_and_verdict() -> None:
    result = call("demo", "tiny", "--device", "cpu")
    assert result.exit_code == 0
    for text in ("Product", "reproduced", "Measured here: Product = 2", "A. Author 2020", "Outcome: It will", "Explanation"):
        assert text in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["huge"], "there is no experiment called huge; there are: tiny"),
        (["tiny", "--preset", "middle"], "tiny has no preset middle; there are: small, large"),
        (["tiny", "--set", "speed=1"], "no parameter called speed; there are: count, rate, kind, noisy"),
        (["tiny", "--set", "count=99"], "count (Count) does not accept '99'; allowed: 2 … 48"),
        (["tiny", "--set", "count=99", "--lang", "zh"], "参数 count（个数）不接受 '99'，允许的取值：2 … 48"),
        (["tiny", "--set", "rate=nan"], "allowed: 0.001 … 10"),
        (["tiny", "--set", "kind=gelu"], "allowed: relu | tanh"),
        (["tiny", "--set", "noisy=perhaps"], "allowed: true | false"),
        (["tiny", "--set", "count"], "--set count: expected NAME=VALUE"),
        (["tiny", "--device", "tpu"], "no device 'tpu' here; there are: "),
        (["tiny", "--seed", "-1"], "must be a whole number in 0 … 2147483647"),
        (["tiny", "--seed", "2147483648"], "must be a whole number in 0 … 2147483647"),
        (["tiny", "--lang", "fr"], "there are: zh, en"),
    ],
)
def test_a_demo_refuses_wrong_input_and_names_what_is_allowed(arguments: list[str], message: str) -> None:
    result = call("demo", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout.strip() == ""


def test_a_demo_that_passes_its_deadline_fails() -> None:
    result = call("demo", "tiny", "--device", "cpu", "--json", "--deadline", "-1")
    assert result.exit_code == 1
    assert "limit of -1 s" in result.stderr
    assert result.stdout == ""


def test_the_shipped_demos_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demos.core.registry.load_demos", load_demos)
    result = call("demo", "huge")
    assert result.exit_code == 2
    assert "learning_rate_sweep" in result.stderr.split("there are: ")[1]
