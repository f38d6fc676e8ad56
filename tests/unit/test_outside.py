"""What lies outside: the files of `outside/`, and that every fault names file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.sample import DIFFUSION, RELU, write_outside, write_question
from tutor.knowledge import KnowledgeBase
from tutor.outside import load_outside
from tutor.question import Text

PATH = "outside/diffusion-models.yaml"


def faults(folder: Path, text: str = DIFFUSION, name: str = "diffusion-models") -> list[str]:
    write_outside(folder, name, text)
    return [str(fault) for fault in KnowledgeBase.load(folder).faults]


def test_a_sound_file_is_read_whole(folder: Path) -> None:
    knowledge = KnowledgeBase.load(folder)
    assert knowledge.faults == ()
    (topic,) = knowledge.outside.values()
    assert (topic.id, topic.path, topic.name) == ("diffusion-models", PATH, Text(zh="扩散模型", en="diffusion models"))
    assert topic.texts["zh"] == ["扩散一", "扩散二", "扩散三", "扩散四", "扩散五"]
    assert topic.all_texts == [*topic.texts["zh"], *topic.texts["en"]]
    assert topic.texts["en"][4] == "diffusion five"
    assert topic.lines["texts", "en", 4] == 9


def test_everyday_matters_have_no_name(tmp_path: Path) -> None:
    write_outside(tmp_path, "cooking", DIFFUSION.split("\n", 1)[1])
    (topic,), found = load_outside(tmp_path)
    assert (topic.id, topic.name, found) == ("cooking", None, [])


def test_topics_come_in_order_of_their_names(tmp_path: Path) -> None:
    for name in ("speech", "clustering", "lstm"):
        write_outside(tmp_path, name, DIFFUSION)
    assert [topic.id for topic in load_outside(tmp_path)[0]] == ["clustering", "lstm", "speech"]


def test_without_the_folder_nothing_lies_outside(tmp_path: Path) -> None:
    assert load_outside(tmp_path) == ([], [])
    write_question(tmp_path, "relu", RELU.replace("[dropout-test, dropout]", "[]"))
    knowledge = KnowledgeBase.load(tmp_path)
    assert (dict(knowledge.outside), knowledge.faults) == ({}, ())


FAULTS = {
    # what is wrong: (text replaced, by what, line of the fault, its message)
    "unknown key": ("texts:", "title: x\ntexts:", 2, "title: unknown key"),
    "unknown language": ("  en:\n", "  fr: []\n  en:\n", 4, "texts.fr: unknown key"),
    "no texts": (DIFFUSION, "name: {zh: 扩散模型, en: diffusion models}\n", 1, "texts: missing"),
    "texts in one language": ("  zh: [扩散一, 扩散二, 扩散三, 扩散四, 扩散五]\n", "", 2, "texts.zh: missing"),
    "four texts in Chinese": (", 扩散五", "", 3, "texts.zh: List should have at least 5 items"),
    "four texts": ("    - diffusion five\n", "", 4, "texts.en: List should have at least 5 items"),
    "blank text": ("- diffusion three", "- ' '", 7, "texts.en.2: String should have at least 1 character"),
    "a number as text": ("- diffusion three", "- 3", 7, "texts.en.2: Input should be a valid string"),
    "name in one language": ("{zh: 扩散模型, en: diffusion models}", "{zh: 扩散模型}", 1, "name.en: missing"),
    "name as plain text": ("{zh: 扩散模型, en: diffusion models}", "diffusion", 1, "name: Input should be a valid dictionary"),
    "key twice": ("texts:", "name: {zh: 一, en: one}\ntexts:", 2, "key 'name' appears twice"),
    "bracket never closed": ("扩散五]", "扩散五", 4, "not valid YAML"),
    "control character": ("- diffusion three", "- diffusion\x07three", 7, "not valid YAML"),
    "a list": (DIFFUSION, "- diffusion\n", 1, "Input should be a valid dictionary"),
    "nothing": (DIFFUSION, "", 1, "Input should be a valid dictionary"),
}


@pytest.mark.parametrize(("old", "new", "line", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_names_file_and_line(folder: Path, old: str, new: str, line: int, message: str) -> None:
    assert DIFFUSION.count(old) == 1
    (fault,) = faults(folder, DIFFUSION.replace(old, new))
    assert fault.startswith(f"{PATH}:{line}: {message}")


def test_all_faults_of_a_file_are_listed_together(folder: Path) -> None:
    found = faults(folder, DIFFUSION.replace(", 扩散五", "").replace("- diffusion five", "- 5").replace("zh: 扩散模型, ", ""))
    assert sorted(fault.split(": ")[0] for fault in found) == [f"{PATH}:{line}" for line in (1, 3, 9)]


def test_a_file_that_is_not_utf_8(folder: Path) -> None:
    (folder / PATH).write_bytes(DIFFUSION.encode("gbk"))
    (fault,) = KnowledgeBase.load(folder).faults
    assert str(fault).startswith(f"{PATH}:1: cannot be read as UTF-8")


@pytest.mark.parametrize("name", ["Diffusion", "diffusion_models", "diffusion-", "扩散"])
def test_an_id_is_lower_case_words_and_hyphens(folder: Path, name: str) -> None:
    assert faults(folder, name=name) == [f"outside/{name}.yaml:1: the id {name!r} must be lower-case words joined by hyphens"]


@pytest.mark.parametrize(
    "text",
    [
        "What is ReLU?",
        "what  is ＲＥＬＵ",
        "way seven",  # a paraphrase
        "rectifier unit",  # a probe
        "Rectifier unit?!",
        "换法七",
        "整流函数叫什么",
        "Positives stay.",  # a key point
        "The full answer about ReLU.",
    ],
)
def test_a_text_of_a_question_does_not_lie_outside(folder: Path, text: str) -> None:
    (fault,) = faults(folder, DIFFUSION.replace("diffusion three", f"'{text}'"))
    assert fault.startswith(f"{PATH}:7: this text belongs to ")


def test_the_question_that_owns_the_text_is_named(folder: Path) -> None:
    assert faults(folder, DIFFUSION.replace("扩散二", "什么是 ReLU")) == [f"{PATH}:3: this text belongs to activations/relu.md"]


@pytest.mark.parametrize("broken", ["", "texts: [", DIFFUSION.replace(", 扩散五", ""), DIFFUSION.replace("扩散五", "什么是 ReLU")])
def test_a_broken_file_is_left_out_and_the_rest_served(folder: Path, broken: str) -> None:
    write_outside(folder, "speech", DIFFUSION)
    write_outside(folder, "diffusion-models", broken)
    knowledge = KnowledgeBase.load(folder)
    assert list(knowledge.outside) == ["speech"]
    assert list(knowledge.questions) == ["dropout", "dropout-test", "relu"]
    assert {fault.path for fault in knowledge.faults} == {PATH}


def test_a_text_of_a_question_that_cannot_be_served_is_free(folder: Path) -> None:
    write_question(folder, "relu", RELU.replace("## Full answer\n", ""))
    assert {fault.split(":")[0] for fault in faults(folder, DIFFUSION.replace("diffusion three", "What is ReLU?"))} == {
        "activations/relu.md"
    }
