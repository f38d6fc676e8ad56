"""The command line, over the tiny world of `sample.py`."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
from retrieval_fakes import WordEncoder, knowledge_of
from typer.testing import CliRunner, Result

from demos.core.registry import load_demos
from tests.unit.sample import DEMOS, RELU, write_question
from tutor.calibration import Calibration
from tutor.chat import Tutor
from tutor.cli import app
from tutor.encoder import fingerprint


def call(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch, tiny_tutor: Tutor, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The tiny tutor and the tiny demo instead of the shipped ones; no settings from outside."""
    for name in os.environ:
        if name.startswith("TUTOR_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("tutor.cli._tutor", lambda settings: tiny_tutor)
    monkeypatch.setattr("demos.core.registry.load_demos", lambda: DEMOS)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TUTOR_CACHE", str(tmp_path_factory.mktemp("cache")))


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


@pytest.mark.parametrize(
    ("question", "lines"),
    [
        (
            "How do diffusion models work?",
            [
                "That is about diffusion models, which is not covered. Nearest here:",
                "1.111 What is Dropout at test time?",
                "1.10 What is Dropout?",
            ],
        ),
        (
            "扩散模型怎么训练",
            ["这是关于扩散模型的问题，不在收录范围之内。最接近的是：", "1.111 什么是 Dropout at test time？", "1.10 什么是 Dropout？"],
        ),
    ],
)
def test_ask_names_a_topic_outside_with_the_nearest_questions(question: str, lines: list[str]) -> None:
    assert [" ".join(line.split()) for line in call("ask", question).stdout.splitlines()] == lines


def test_ask_prints_each_of_several_answers_under_its_question() -> None:
    printed = call("ask", "What is dropout? What is ReLU?").stdout
    places = [
        printed.index(text)
        for text in ("> What is dropout?", "answer about Dropout.", "> What is ReLU?", "answer about ReLU.", "demo tiny")
    ]
    assert places == sorted(places)
    assert "> " not in call("ask", "What is dropout?").stdout


def test_several_questions_are_one_object() -> None:
    (line,) = call("ask", "--batch", "-", stdin="What is dropout? What is ReLU?\n").stdout.splitlines()
    record = json.loads(line)
    assert [record["hits"][0]["id"], *(part["hits"][0]["id"] for part in record["further"])] == ["dropout", "relu"]


def test_ask_as_json() -> None:
    result = call("ask", "什么是 ReLU？", "--json")
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert list(record) == ["question", "language", "decision", "confidence", "sure", "outside", "hits", "demo", "further"]
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


# evaluate

LABELLED = """lang\tkind\tsections\tquery
en\tin\t1.12\tWhat is ReLU?
en\tin\t1.10\tdropout in testing
en\tin\trelu\ta test
en\tnear\t\tHow do diffusion models work?
en\tfar\t\tHow do I bake bread?
zh\tin\tdropout\t什么是 dropout
zh\tnear\t\t扩散模型
zh\tfar\t\t怎么烤面包
"""


@pytest.fixture
def labelled(tmp_path: Path) -> str:
    path = tmp_path / "labelled.tsv"
    path.write_text(LABELLED, encoding="utf-8")
    return str(path)


def test_evaluate_as_json(labelled: str) -> None:
    result = call("evaluate", labelled, "--json")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert (list(data), data["sections"], data["errors"]) == (["figures", "sections", "errors"], None, None)
    figures = data["figures"]
    assert figures["en"]["accuracy_at_1"]["value"] == pytest.approx(1 / 3)
    assert figures["zh"]["accuracy_at_1"] == {"value": 1.0, "interval": [1.0, 1.0]}
    assert (figures["en"]["sure"]["value"], figures["en"]["sure_right"]["value"]) == (pytest.approx(1 / 3), 1.0)
    for of_language in figures.values():
        for figure in of_language.values():
            low, high = figure["interval"]
            assert low <= figure["value"] <= high


def test_evaluate_by_section_and_with_its_errors(labelled: str) -> None:
    data = json.loads(call("evaluate", labelled, "--sections", "--errors", "--json").stdout)
    assert {
        language: {name: (item["value"], item["queries"]) for name, item in of.items()} for language, of in data["sections"].items()
    } == {
        "zh": {"dropout": (1.0, 1)},
        "en": {"dropout": (0.0, 1), "relu": (0.5, 2)},
    }
    assert data["sections"]["en"]["relu"]["interval"] == [0.0, 1.0]
    assert data["errors"] == [
        {"query": "dropout in testing", "expected": ["1.10"], "found": "dropout-test", "confidence": 1.0},
        {"query": "a test", "expected": ["relu"], "found": "dropout-test", "confidence": 0.5},
    ]


def test_evaluate_prints_tables_and_errors(labelled: str) -> None:
    printed = call("evaluate", labelled, "--sections", "--errors").stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if "│" in line]
    (accuracy,) = (row for row in rows if row[0] == "accuracy_at_1")
    assert accuracy[1] == "1.000 (1.000 … 1.000)"
    assert accuracy[2].startswith("0.333 (0.000 … ")
    assert ["relu", "", "0.500 (0.000 … 1.000)"] in rows
    assert "en 1.10 <- dropout-test (1.00): dropout in testing\nen relu <- dropout-test (0.50): a test\n" in printed
    plain = call("evaluate", labelled).stdout
    assert "accuracy_at_1" in plain and "relu" not in plain and "<-" not in plain


def test_evaluate_without_a_kind_is_still_json(tmp_path: Path) -> None:
    path = tmp_path / "labelled.tsv"
    path.write_text(LABELLED.partition("en\tnear")[0], encoding="utf-8")
    result = call("evaluate", str(path), "--json")
    assert result.exit_code == 0
    json.loads(result.stdout, parse_constant=pytest.fail)


def test_evaluate_names_the_rows_it_cannot_use(tmp_path: Path) -> None:
    path = tmp_path / "labelled.tsv"
    path.write_text(LABELLED.replace("zh\tin", "fr\tin"), encoding="utf-8")
    result = call("evaluate", str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "labelled.tsv:7: lang must be one of zh, en" in result.stderr
    assert call("evaluate", str(tmp_path / "absent.tsv")).exit_code == 2


# calibrate


@pytest.fixture
def readable_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an encoder, in whose place the readable one is loaded, with questions and queries that fit it."""
    lines = ["lang\tkind\tsections\tquery"]
    for number in range(6):
        lines += [f"{lang}\tin\t1.1\t{word} {number}" for lang, word in (("zh", "丢弃"), ("en", "dropout"))]
        lines += [f"{lang}\t{kind}\t\tcook {number}" for lang in ("zh", "en") for kind in ("near", "far")]
    (tmp_path / "queries.tsv").write_text("\n".join(lines), encoding="utf-8")
    knowledge_of(tmp_path / "own")
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "modules.json").write_text("[]")
    monkeypatch.setenv("TUTOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tutor.encoder.load_encoder", lambda name: WordEncoder())
    monkeypatch.setattr("tutor.calibration.QUERIES", tmp_path / "queries.tsv")
    monkeypatch.setattr("tutor.calibration.KNOWLEDGE", tmp_path / "own")
    return folder


@pytest.mark.parametrize("output", [None, "deep/other.json"])
def test_calibrate_writes_beside_the_weights_or_where_it_is_told(readable_encoder: Path, tmp_path: Path, output: str | None) -> None:
    path = tmp_path / output if output else readable_encoder / "calibration.json"
    result = call("calibrate", "--encoder", str(readable_encoder), *(["--output", str(path)] if output else []))
    assert result.exit_code == 0, result.output
    calibration = Calibration.load(path)
    assert calibration.encoder == fingerprint(readable_encoder)
    assert calibration.made_from == {f"{lang} {kind}": 6 for lang in ("en", "zh") for kind in ("far", "in", "near")}
    assert (readable_encoder / "calibration.json").exists() == (output is None)
    scale = calibration.scales["en"]
    assert f"en: in scope from {scale.in_scope:.3f}, answered from {scale.answer:.3f}, sure from {scale.sure:.3f}\n" in result.stdout
    assert result.stdout.endswith(f"the calibration is in {path}\n")


def test_calibrate_on_given_queries(readable_encoder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.tsv"
    text = (tmp_path / "queries.tsv").read_text(encoding="utf-8")
    own.write_text(text + "\nen\tfar\t\tcook 7", encoding="utf-8")
    output = tmp_path / "calibration.json"
    assert call("calibrate", "--encoder", str(readable_encoder), "--queries", str(own), "--output", str(output)).exit_code == 0
    assert Calibration.load(output).made_from["en far"] == 7


def test_calibrate_fails_with_a_message_and_writes_nothing(readable_encoder: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.tsv"
    few.write_text(LABELLED, encoding="utf-8")
    for queries, message in ((few, "fewer than 5 usable queries"), (tmp_path / "absent.tsv", "absent.tsv: cannot be read")):
        result = call("calibrate", "--encoder", str(readable_encoder), "--queries", str(queries))
        assert result.exit_code and not result.stdout
        assert message in result.stderr
    assert not (readable_encoder / "calibration.json").exists()


def test_calibrate_of_an_encoder_without_a_folder_needs_an_output(readable_encoder: Path) -> None:
    result = call("calibrate", "--encoder", "owner/no-such-encoder")
    assert result.exit_code == 2
    assert "name a file with --output" in result.stderr


# new


def test_new_writes_a_template_that_validate_leads_through(folder: Path) -> None:
    result = call("new", "What is GELU?", "--topic", "activations", "--knowledge", str(folder))
    path = folder / "activations" / "gelu.md"
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{path}: fill it in, then run: python -m tutor validate --knowledge {folder}\n"
    validated = call("validate", "--knowledge", str(folder))
    assert validated.exit_code == 1
    assert {line.rsplit(":", 1)[0].split(":")[0] for line in validated.stderr.splitlines()} == {"knowledge/activations/gelu.md"}
    assert validated.stdout.startswith("3 questions are sound, ")


def test_new_takes_an_id_for_a_chinese_question(folder: Path) -> None:
    arguments = ("new", "什么是 GELU？", "--topic", "activations", "--knowledge", str(folder))
    assert call(*arguments, "--id", "what-gelu").exit_code == 0
    assert "什么是 GELU？" in (folder / "activations" / "what-gelu.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["什么是激活函数？", "--topic", "activations"], "give one with --id"),
        (["What is ReLU?", "--topic", "activations"], "the id relu is taken by"),
        (["What is GELU?", "--topic", "Big Topic"], "the topic 'Big Topic' must be"),
        (["What is GELU?", "--topic", "activations", "--id", "A B"], "give one with --id"),
        (["What is GELU?"], "--topic"),
    ],
)
def test_new_refuses_wrong_input(folder: Path, arguments: list[str], message: str) -> None:
    before = sorted(folder.rglob("*"))
    result = call("new", *arguments, "--knowledge", str(folder))
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("topics", ["", "activations: {", "- activations\n- a\n", "5\n"])
def test_new_refuses_a_broken_topics_file(folder: Path, topics: str) -> None:
    (folder / "topics.yaml").write_text(topics)
    result = call("new", "What is GELU?", "--topic", "activations", "--knowledge", str(folder))
    assert result.exit_code == 2
    assert "topics.yaml" in result.stderr


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


def test_all_demos_as_lines_of_json_and_their_verdicts_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTOR_CACHE", str(tmp_path))
    result = call("demo", "--all", "--device", "cpu", "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [(row["demo"], row["preset"], row["verdict"]["status"]) for row in rows] == [
        ("tiny", "small", "reproduced"),
        ("tiny", "large", "reproduced"),
    ]
    assert all(row["elapsed_s"] >= row["first_frame_s"] >= 0 for row in rows)
    kept = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [row["preset"] for row in kept] == ["large", "small"]


def test_all_demos_go_on_after_one_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("no memory")
        yield

    twins = {"broken": dataclasses.replace(DEMOS["tiny"], id="broken", run=broken), **DEMOS}
    monkeypatch.setattr("demos.core.registry.load_demos", lambda: twins)
    result = call("demo", "--all", "--device", "cpu")
    assert result.exit_code == 1
    assert "failed broken" in result.stdout and "RuntimeError: no memory" in result.stdout and "tiny" in result.stdout


@pytest.mark.parametrize("arguments", [["tiny"], ["--preset", "small"], ["--set", "count=3"]])
def test_all_demos_take_nothing_else(arguments: list[str]) -> None:
    result = call("demo", "--all", *arguments)
    assert result.exit_code == 2 and "--all" in result.stderr


def test_a_demo_has_to_be_named() -> None:
    result = call("demo")
    assert result.exit_code == 2 and "name an experiment, or --all; there are: tiny" in result.stderr
