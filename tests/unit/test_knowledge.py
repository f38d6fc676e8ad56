"""The knowledge base: the order of its questions, the checks across files, and what is indexed of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.sample import RELU, question_text, write_question
from tutor.knowledge import KnowledgeBase, KnowledgeError, passages, plain_text

PRESETS = {"tiny": ["small", "large"]}


def faults(folder: Path, demos: dict[str, list[str]] | None = PRESETS) -> list[str]:
    return [str(fault) for fault in KnowledgeBase.load(folder, demos).faults]


def test_a_sound_folder_is_served_whole(folder: Path) -> None:
    knowledge = KnowledgeBase.load(folder, PRESETS)
    assert knowledge.faults == ()
    assert list(knowledge.questions) == ["dropout", "dropout-test", "relu"]
    assert knowledge.questions["dropout"].topic == "regularization"


def test_questions_come_in_order_of_section(tmp_path: Path) -> None:
    for name, section in {
        "a": None, "b": "1.12", "c": "1.2", "d": "1.111b", "e": "1.10", "f": "1.111", "g": "2.1", "h": "1.111a", "i": "1.36", "j": None,
    }.items():  # fmt: skip
        write_question(tmp_path, name, question_text(section, "Dropout"))
    # 1.2, 1.10, then 1.11 (written 1.111 in the source) with its parts, 1.12, 1.36, 2.1, then those of no section by name.
    assert list(KnowledgeBase.load(tmp_path).questions) == list("cefhdbigaj")


def test_an_id_belongs_to_one_topic(folder: Path) -> None:
    write_question(folder, "relu", question_text("1.3", "Rectifier"), "optimization")
    knowledge = KnowledgeBase.load(folder)
    assert [str(fault) for fault in knowledge.faults] == ["optimization/relu.md:1: the id 'relu' is taken by activations/relu.md"]
    assert knowledge.questions["relu"].topic == "activations"


def test_without_a_topics_file_every_folder_is_a_topic(folder: Path) -> None:
    write_question(folder, "kernels", question_text("1.3", "Kernels"), "kernels")
    knowledge = KnowledgeBase.load(folder, PRESETS)
    assert not knowledge.faults
    assert knowledge.topics["kernels"].zh == "kernels"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("activations: {zh: 激活}\n", "topics.yaml:1: activations.en: missing"),
        ("- activations\n", "topics.yaml:1: Input should be a valid dictionary"),
        ("a: {zh: 一, en: one}\na: {zh: 一, en: one}\n", "topics.yaml:2: key 'a' appears twice"),
        ("a: [", "topics.yaml:1: not valid YAML: "),
    ],
)
def test_a_broken_topics_file_is_named_and_the_folders_stand_in(folder: Path, content: str, fault: str) -> None:
    (folder / "topics.yaml").write_text(content, encoding="utf-8")
    knowledge = KnowledgeBase.load(folder, PRESETS)
    assert str(knowledge.faults[0]).startswith(fault)
    assert set(knowledge.topics) == {"activations", "regularization"}
    assert len(knowledge.questions) == 3


def test_an_unknown_topic_is_refused_with_those_there_are(folder: Path) -> None:
    (folder / "topics.yaml").write_text("activations: {zh: 激活, en: A}\nregularization: {zh: 正则, en: R}\n", encoding="utf-8")
    write_question(folder, "kernels", question_text("1.3", "Kernels"), "kernels")
    (fault,) = faults(folder)
    assert fault == "kernels/kernels.md:1: the topic 'kernels' is not in topics.yaml; there are: activations, regularization"


@pytest.mark.parametrize(
    "probe",
    [
        "way ten",
        "Way  TEN?",
        "ｗａｙ　ｔｅｎ。",
        "What is ReLU",
        "什么是relu",
        "换法一！",
        "Positives stay.",
        "The full answer about ReLU.",
    ],
)
def test_a_probe_must_not_be_indexed(folder: Path, probe: str) -> None:
    write_question(folder, "relu", RELU.replace("rectifier unit", f"'{probe}'"))
    # 换法一, way ten and the key points are shared by the three questions; the rest is of relu alone.
    (fault,) = faults(folder)
    assert fault.startswith("activations/relu.md:17: this probe is also indexed, in ")


def test_a_probe_must_not_be_indexed_in_another_question(folder: Path) -> None:
    write_question(folder, "dropout", question_text("1.10", "Dropout").replace("rectifier unit", "what is relu"), "regularization")
    assert faults(folder) == ["regularization/dropout.md:17: this probe is also indexed, in activations/relu.md"]


def test_a_probe_that_only_resembles_an_indexed_text_is_sound(folder: Path) -> None:
    write_question(folder, "relu", RELU.replace("rectifier unit", "way eleven"))
    assert faults(folder) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("dropout]", "nowhere]", "activations/relu.md:24: unknown related question 'nowhere'"),
        ("dropout]", "relu]", "activations/relu.md:24: unknown related question 'relu'"),
        ("id: tiny", "id: huge", "activations/relu.md:23: unknown demo 'huge'; there are: tiny"),
        ("preset: small", "preset: middle", "activations/relu.md:23: demo tiny has no preset 'middle'; there are: small, large"),
    ],
)
def test_links_must_lead_somewhere(folder: Path, old: str, new: str, expected: str) -> None:
    write_question(folder, "relu", RELU.replace(old, new))
    knowledge = KnowledgeBase.load(folder, PRESETS)
    assert [str(fault) for fault in knowledge.faults] == [expected]
    assert list(knowledge.questions) == ["dropout", "dropout-test"]


def test_demos_are_not_checked_when_none_are_given(folder: Path) -> None:
    write_question(folder, "relu", RELU.replace("id: tiny", "id: huge"))
    assert faults(folder, demos=None) == []
    assert faults(folder, demos={}) == ["activations/relu.md:23: unknown demo 'huge'; there are: "]


@pytest.mark.parametrize("broken", ["", "no front matter", RELU.replace("## Full answer\n", ""), RELU.replace("2010", "2010-02-30")])
def test_a_broken_file_leaves_the_rest_served(folder: Path, broken: str) -> None:
    write_question(folder, "relu", broken)
    knowledge = KnowledgeBase.load(folder, PRESETS)
    assert list(knowledge.questions) == ["dropout", "dropout-test"]
    assert [fault.path for fault in knowledge.faults] == ["activations/relu.md"]  # nor is the link of dropout to relu a fault
    assert knowledge.related(knowledge.questions["dropout"]) == []


def test_related_questions_are_in_the_order_of_the_file(folder: Path) -> None:
    knowledge = KnowledgeBase.load(folder)
    assert [question.id for question in knowledge.related(knowledge.questions["relu"])] == ["dropout-test", "dropout"]


def test_a_folder_from_which_nothing_can_be_served(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match=r"there is no knowledge folder at .*absent"):
        KnowledgeBase.load(tmp_path / "absent")
    with pytest.raises(KnowledgeError, match=r"holds no <topic>/<id>\.md"):
        KnowledgeBase.load(tmp_path)
    (tmp_path / "README.md").write_text(RELU)
    with pytest.raises(KnowledgeError, match=r"holds no <topic>/<id>\.md"):
        KnowledgeBase.load(tmp_path)
    write_question(tmp_path, "relu", "")
    with pytest.raises(KnowledgeError, match=r"activations/relu\.md:1: no front matter"):
        KnowledgeBase.load(tmp_path)


def test_passages_are_all_texts_but_the_probes(folder: Path) -> None:
    question = KnowledgeBase.load(folder).questions["relu"]
    assert passages(question) == [
        "什么是 ReLU？",
        "换法一", "换法二", "换法三", "换法四", "换法五", "换法六", "换法七", "换法八", "换法九", "换法十",
        "负数变成零。", "正数不变。",
        r"ReLU 就是 \max(0, x)。", "ReLU 的完整回答。", "ReLU 的易错点。",
        "What is ReLU?",
        "way one", "way two", "way three", "way four", "way five", "way six", "way seven", "way eight", "way nine", "way ten",
        "Negatives become zero.", "Positives stay.",
        r"ReLU is \max(0, x).", "The full answer about ReLU.", "A mistake about ReLU.",
    ]  # fmt: skip


def test_corrections_of_the_source_are_not_indexed(folder: Path) -> None:
    corrected = RELU.replace("# English\n", "## 原文勘误\n\n- 原文写错了。\n\n# English\n")
    write_question(folder, "relu", corrected + "\n## Corrections to the source\n\n- It was wrong.\n")
    assert not {"原文写错了。", "It was wrong."} & set(passages(KnowledgeBase.load(folder).questions["relu"]))


def test_a_long_answer_is_indexed_in_whole_sentences(folder: Path) -> None:
    english, chinese = "This sentence has forty characters here.", "这一句话正好是十五个汉字那么长。"
    text = RELU.replace("The full answer about ReLU.", " ".join([english] * 8 + ["The end."]))
    write_question(folder, "relu", text.replace("ReLU 的完整回答。", chinese * 7 + "完。"))
    texts = passages(KnowledgeBase.load(folder).questions["relu"])
    # Up to 300 characters of English and 110 of Chinese each: seven sentences and six.
    assert " ".join([english] * 7) in texts
    assert f"{english} The end." in texts
    assert " ".join([chinese] * 6) in texts
    assert f"{chinese} 完。" in texts


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("a **bold** and *slanted* word", "a bold and slanted word"),
        ("inline $x^2$ stays", "inline x^2 stays"),
        ("`code` in a line", "code in a line"),
        ("see [the paper](https://example.org/a_b) here", "see the paper here"),
        ("see ![a picture](a.png) here", "see a picture here"),
        ("### A heading\ntext", "A heading\ntext"),
        ("- one\n* two\n+ three\n1. four\n> five", "one\ntwo\nthree\nfour\nfive"),
        ("before\n\n$$\nx = 1\n$$\n\nafter", "before after"),
        ("before\n\n```python\nx = 1\n```\n\nafter", "before after"),
        ("| a | b |\n| --- | :-: |\n| c | d |", "a b c d"),
        ("minus - and 3 * 4 stay in a line", "minus - and 3  4 stay in a line"),
    ],
)
def test_plain_text(markdown: str, expected: str) -> None:
    assert plain_text(markdown).split() == expected.split()
