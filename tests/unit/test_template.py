"""The template of a new question: where it is written, what is refused, and that the validator leads through it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tutor.knowledge import KnowledgeBase
from tutor.template import TemplateError, write_template

TOPICS = "activations: {zh: 激活, en: Activations}\nregularization: {zh: 正则化, en: Regularisation}\n"


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def fill_in(path: Path) -> None:
    """What somebody writes into the template."""
    text = path.read_text(encoding="utf-8")
    for key, count in (("paraphrases", 10), ("probes", 4), ("key_points", 2)):
        for language in ("zh", "en"):
            items = ", ".join(f"{key} {language} {number}" for number in range(count))
            text = re.sub(rf"(\n{key}:.*\n(?:  zh: .*\n)?)  {language}: \[\]", rf"\1  {language}: [{items}]", text)
    text = text.replace("references: []", "references: [{title: T, authors: A, year: 2015, url: 'https://example.org'}]")
    text = re.sub(r"^  (zh|en): $", r"  \1: translated", text, flags=re.MULTILINE)
    path.write_text(re.sub(r"^(#{1,2} [^#\n:]+)$", r"\1\n\nText.", text, flags=re.MULTILINE), encoding="utf-8")


@pytest.mark.parametrize(
    ("question", "name", "expected"),
    [
        ("Why is momentum useful?", None, "momentum-useful"),
        ("How does Nesterov's accelerated gradient differ from classical momentum in practice?", None, None),
        ("  What is\n GELU? ", None, "gelu"),
        ("Qu'est-ce que l'entropie croisée", None, "qu-est-ce-que-l-entropie"),
        ("为什么 GELU 比 ReLU 好？", "gelu-vs-relu", "gelu-vs-relu"),
        ("What is GELU?", "gaussian-unit", "gaussian-unit"),
    ],
)
def test_it_is_written_under_its_topic(folder: Path, question: str, name: str | None, expected: str | None) -> None:
    before = files(folder)
    path = write_template(folder, "activations", question, name)
    assert files(folder) - before == {path}
    assert path.parent == folder / "activations"
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+){0,5}", path.stem)
    assert expected is None or path.stem == expected


def test_a_new_topic_makes_its_folder_where_no_file_lists_them(folder: Path) -> None:
    assert write_template(folder, "optimization", "What is Adam?") == folder / "optimization" / "adam.md"


@pytest.mark.parametrize(
    ("topic", "question", "name", "message"),
    [
        ("kernels", "What is a kernel?", None, "the topic 'kernels' is not in .*topics.yaml; there are: activations, regularization"),
        ("Activations", "What is GELU?", None, "the topic 'Activations' must be lower-case words"),
        ("../activations", "What is GELU?", None, "the topic '../activations' must be lower-case words"),
        ("", "What is GELU?", None, "the topic '' must be lower-case words"),
        ("activations", "What is ReLU?", None, r"the id relu is taken by .*activations/relu\.md: give another with --id"),
        ("regularization", "What is GELU?", "relu", r"the id relu is taken by .*activations/relu\.md"),
        ("activations", "What is GELU?", "GELU", "give one with --id"),
        ("activations", "What is GELU?", "../gelu", "give one with --id"),
        ("activations", "What is GELU?", "gelu-", "give one with --id"),
        ("activations", "什么是激活函数？", None, "no id can be made from this question: give one with --id"),
        ("activations", "What is it for?", None, "no id can be made from this question"),
        ("activations", "？！", None, "no id can be made from this question"),
        ("activations", " \n", None, "the question is empty"),
    ],
)
def test_what_cannot_be_written_is_refused(folder: Path, topic: str, question: str, name: str | None, message: str) -> None:
    (folder / "topics.yaml").write_text(TOPICS, encoding="utf-8")
    before = files(folder)
    with pytest.raises(TemplateError, match=message):
        write_template(folder, topic, question, name)
    assert files(folder) == before


@pytest.mark.parametrize(
    ("question", "missing"),
    [('What isn\'t "GELU": a # sign, or {that}?', "question.zh"), ("'GELU' 是什么：为什么 [好] #1", "question.en")],
)
def test_the_validator_names_what_is_to_be_filled_in_and_the_rest_is_served(folder: Path, question: str, missing: str) -> None:
    path = write_template(folder, "activations", question, "gelu")
    lines = path.read_text(encoding="utf-8").split("\n")
    knowledge = KnowledgeBase.load(folder)
    assert list(knowledge.questions) == ["dropout", "dropout-test", "relu"]
    found = [(fault.path, fault.message.split(":")[0]) for fault in knowledge.faults]
    wanted = [missing, *(f"{key}.{language}" for key in ("paraphrases", "probes", "key_points") for language in ("zh", "en")), "references"]
    headings = ["中文", "完整回答", "易错点", "English", "Full answer", "Common mistakes"]
    assert found == [("activations/gelu.md", what) for what in (*wanted, *(f"nothing stands under {title!r}" for title in headings))]
    for fault, what in zip(knowledge.faults, (*wanted, *headings), strict=True):
        assert what.split(".")[-1] in lines[fault.line - 1]


@pytest.mark.parametrize("question", ['What isn\'t "GELU": a # sign, or {that}?', "'GELU' 是什么：为什么 [好] #1", "- GELU?", "no", "12"])
def test_filled_in_it_is_sound(folder: Path, question: str) -> None:
    path = write_template(folder, "activations", question, "gelu")
    fill_in(path)
    knowledge = KnowledgeBase.load(folder)
    assert [str(fault) for fault in knowledge.faults] == []
    assert question in (knowledge.questions["gelu"].meta.question.zh, knowledge.questions["gelu"].meta.question.en)
