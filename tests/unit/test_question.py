"""The parser of a question file: what a sound one holds, and that every fault names file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.sample import RELU, write_question
from tutor.question import Answer, DemoLink, Question, QuestionError, Reference, parse_question
from tutor.strict_yaml import Fault

CORRECTED = (
    RELU.replace("# English\n", "## 原文勘误\n\n- 原文写错了。\n\n# English\n") + "\n## Corrections to the source\n\n- It was wrong.\n"
)


def parse(tmp_path: Path, text: str, name: str = "relu") -> Question:
    return parse_question(write_question(tmp_path, name, text), tmp_path)


def faults(tmp_path: Path, text: str, name: str = "relu") -> list[Fault]:
    with pytest.raises(QuestionError) as caught:
        parse(tmp_path, text, name)
    assert str(caught.value) == "\n".join(map(str, caught.value.faults))
    return caught.value.faults


def test_a_sound_file_is_read_whole(tmp_path: Path) -> None:
    question = parse(tmp_path, RELU)
    assert (question.id, question.topic, question.path) == ("relu", "activations", "activations/relu.md")
    assert question.meta.section == "1.12"
    assert (question.meta.question["zh"], question.meta.question["en"]) == ("什么是 ReLU？", "What is ReLU?")
    assert question.meta.paraphrases["zh"][9] == "换法十"
    assert question.meta.paraphrases["en"][0] == "way one"
    assert question.meta.probes["en"][1] == "rectifier unit"
    assert question.meta.key_points["zh"] == ["负数变成零。", "正数不变。"]
    assert question.meta.demo == DemoLink(id="tiny", preset="small")
    assert question.meta.related == ["dropout-test", "dropout"]
    assert question.meta.references == [
        Reference(title="Rectified Linear Units", authors="V. Nair, G. Hinton", year=2010, url="https://example.org/relu")
    ]
    assert question.answers == {
        "zh": Answer(r"ReLU 就是 $\max(0, x)$。", "ReLU 的完整回答。", "- ReLU 的易错点。", None),
        "en": Answer(r"ReLU is $\max(0, x)$.", "The full answer about ReLU.", "- A mistake about ReLU.", None),
    }


def test_section_and_demo_may_be_absent(tmp_path: Path) -> None:
    text = RELU.replace('section: "1.12"\n', "").replace("demo: {id: tiny, preset: small}\n", "")
    meta = parse(tmp_path, text).meta
    assert meta.section is None
    assert meta.demo is None


def test_corrections_stand_in_both_languages(tmp_path: Path) -> None:
    answers = parse(tmp_path, CORRECTED).answers
    assert answers["zh"].corrections == "- 原文写错了。"
    assert answers["zh"].mistakes == "- ReLU 的易错点。"
    assert answers["en"].corrections == "- It was wrong."


def test_a_file_with_windows_line_ends_is_the_same(tmp_path: Path) -> None:
    plain = parse(tmp_path, RELU)
    path = write_question(tmp_path, "relu", "")
    path.write_bytes(RELU.replace("\n", "\r\n").encode())
    assert parse_question(path, tmp_path) == plain


def test_every_key_and_item_knows_its_line(tmp_path: Path) -> None:
    question = parse(tmp_path, RELU)
    assert question.line("section") == 2
    assert question.line("question", "en") == 5
    assert question.line("probes", "zh", 0) == 11
    assert question.line("probes", "en", 3) == 19
    assert question.line("references", 0, "url") == 26
    assert question.line("nothing of that name") == 1


FAULTS = {
    # what is wrong: (text replaced, by what, line of the fault, its message)
    "unknown key": ("related:", "level: 3\nrelated:", 24, "level: unknown key"),
    "unknown key of a reference": ("year: 2010", "year: 2010, doi: x", 26, "references.0.doi: unknown key"),
    "unknown language": ("  en: What is", "  fr: Quoi ?\n  en: What is", 5, "question.fr: unknown key"),
    "missing key": ("related: [dropout-test, dropout]\n", "", 2, "related: missing"),
    "missing key of a reference": (", year: 2010", "", 26, "references.0.year: missing"),
    "question in one language": ("  en: What is ReLU?\n", "", 3, "question.en: missing"),
    "blank question": ("  en: What is ReLU?\n", "  en: '  '\n", 5, "question.en: String should have at least 1 character"),
    "key points in one language": ("  en: [Negatives become zero., Positives stay.]\n", "", 20, "key_points.en: missing"),
    "key twice": ("related:", "related: []\nrelated:", 25, "key 'related' appears twice"),
    "inner key twice": ("  en: What is", "  en: What\n  en: What is", 6, "key 'en' appears twice"),
    "colon in a plain text": ("en: What is ReLU?", "en: What: is ReLU?", 5, "not valid YAML"),
    "bracket never closed": ("[dropout-test, dropout]", "[dropout-test, dropout", 25, "not valid YAML"),
    "control character": ("What is ReLU?", "What is\x0cReLU?", 5, "not valid YAML"),
    "unknown tag": ("year: 2010", "year: !number 2010", 26, "not valid YAML"),
    "a list as key": ("related:", "? [a, b]\n: c\nrelated:", 24, "not valid YAML"),
    "impossible date": ("year: 2010", "year: 2010-02-30", 2, "not valid YAML"),
    "section 1.10 without quotes": ('section: "1.12"', "section: 1.10", 2, "section: Input should be a valid string"),
    "section in words": ('"1.12"', '"chapter one"', 2, "section: String should match pattern"),
    "nine paraphrases": ("换法九, 换法十", "换法九", 7, "paraphrases.zh: List should have at least 10 items"),
    "nine paraphrases in English": (", way ten", "", 8, "paraphrases.en: List should have at least 10 items"),
    "three probes in Chinese": ("    - 整流函数叫什么\n", "", 10, "probes.zh: List should have at least 4 items"),
    "three probes": ("    - half of the identity\n", "", 15, "probes.en: List should have at least 4 items"),
    "one key point in Chinese": (", 正数不变。", "", 21, "key_points.zh: List should have at least 2 items"),
    "one key point": (", Positives stay.", "", 22, "key_points.en: List should have at least 2 items"),
    "key points of different length": (", Positives stay.", ", Positives stay., Zero is zero.", 20, "key_points: not as many"),
    "plain http": ("https://example.org", "http://example.org", 26, "references.0.url: String should match pattern"),
    "space in the URL": ("example.org/relu", "example.org/re lu", 26, "references.0.url: String should match pattern"),
    "year in words": ("year: 2010", "year: '2010'", 26, "references.0.year: Input should be a valid integer"),
    "demo without preset": (", preset: small", "", 23, "demo.preset: missing"),
    "related id in capitals": ("[dropout-test, dropout]", "[dropout-test, Dropout]", 24, "related.1: String should match pattern"),
    "no front matter": ("---\nsection", "section", 1, "no front matter"),
    "front matter never closed": ("---\n# 中文", "# 中文", 1, "no front matter"),
    "heading missing": ("## 易错点\n\n- ReLU 的易错点。\n\n", "", 36, "expected the heading ## 易错点, found 'English'"),
    "heading unknown": ("## Full answer", "## The answer", 44, "expected the heading ## Full answer, found 'The answer'"),
    "heading of the wrong level": ("# English", "## English", 40, "expected the heading # English, found 'English'"),
    "heading beyond the last": ("- A mistake", "- One.\n\n## Notes\n\n- A mistake", 52, "unexpected heading 'Notes'"),
    "nothing under a heading": ("ReLU 的完整回答。\n", "", 32, "nothing stands under '完整回答'"),
    "no short answer": ("ReLU is $\\max(0, x)$.\n", "", 40, "nothing stands under 'English'"),
    "text before the first heading": ("---\n# 中文", "---\nHello\n# 中文", 28, "text before the first heading"),
    "dollar without its twin": ("ReLU 的完整回答。", "每次 $x 元。", 34, "unbalanced $"),
    "dollar in the second line of a paragraph": ("ReLU 的完整回答。", "一。\n二。\n\n三。\n每次 $x 元。", 37, "unbalanced $"),
    "dollar in a paragraph that runs into code": ("ReLU 的完整回答。", "每次 $x 元。\n```\na\nb\n```", 34, "unbalanced $"),
    "display formula never closed": ("ReLU 的完整回答。", "$$\nx\n$$ $", 34, "unbalanced $"),
}


@pytest.mark.parametrize(("old", "new", "line", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_names_file_and_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert RELU.count(old) == 1
    (fault,) = faults(tmp_path, RELU.replace(old, new))
    assert str(fault).startswith(f"activations/relu.md:{line}: {message}")


def test_headings_in_the_wrong_order(tmp_path: Path) -> None:
    text = RELU.replace("完整回答\n", "-\n").replace("## 易错点", "## 完整回答").replace("## -", "## 易错点")
    (fault,) = faults(tmp_path, text)
    assert str(fault) == "activations/relu.md:32: expected the heading ## 完整回答, found '易错点'"


def test_the_second_language_is_missing(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, RELU.split("# English")[0])
    assert fault.message == "expected the heading # English, found the end of the file"
    assert fault.line in (39, 40)


def test_corrections_in_chinese_only(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, CORRECTED.split("\n## Corrections")[0])
    assert fault.message == "expected the heading ## Corrections to the source, found the end of the file"
    assert fault.line in (54, 55)


def test_corrections_in_english_only(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, CORRECTED.replace("## 原文勘误\n\n- 原文写错了。\n\n", ""))
    assert str(fault) == "activations/relu.md:40: expected the heading ## 原文勘误, found 'English'"


def test_a_fence_never_closed_hides_the_headings_after_it(tmp_path: Path) -> None:
    found = faults(tmp_path, RELU.replace("The full answer about ReLU.", "```python\nrelu(x)"))
    assert [str(fault) for fault in found if "fence" in fault.message] == ["activations/relu.md:46: this code fence is never closed"]


@pytest.mark.parametrize(
    "sound",
    [
        "`echo $HOME` prints one dollar.",
        "```bash\necho $HOME\n```",
        "```python\n# 中文\n## not a heading\n```",
        r"It costs \$5.",
        "From $a$ to $b$.",
        "$$\nx = 1\n$$",
        "An open bracket, [ or (, is no formula.",
        "### A heading of the third level",
    ],
)
def test_code_and_formulas_are_no_faults(tmp_path: Path, sound: str) -> None:
    assert parse(tmp_path, RELU.replace("The full answer about ReLU.", sound)).answers["en"].full == sound


def test_all_faults_are_listed_together(tmp_path: Path) -> None:
    text = RELU.replace("year: 2010", "year: 20100").replace("换法九, 换法十", "换法九").replace("## Full answer", "## Answer")
    assert sorted(fault.line for fault in faults(tmp_path, text)) == [7, 26, 44]


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    path = write_question(tmp_path, "relu", "")
    path.write_bytes(RELU.encode("gbk"))
    with pytest.raises(QuestionError, match=r"^activations/relu\.md:1: cannot be read as UTF-8"):
        parse_question(path, tmp_path)


@pytest.mark.parametrize("name", ["ReLU", "what_is_relu", "relu-", "什么是-relu"])
def test_an_id_is_lower_case_words_and_hyphens(tmp_path: Path, name: str) -> None:
    (fault,) = faults(tmp_path, RELU, name)
    assert str(fault) == f"activations/{name}.md:1: the id {name!r} must be lower-case words joined by hyphens"
