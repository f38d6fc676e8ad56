"""A conversation as messages and as a document. What a visitor typed is rendered here by markdown-it, which rich brings along."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.unit.sample import DEMOS, RELU, KeywordRetriever, question_text, write_question
from tutor.chat import Conversation, Tutor
from tutor.knowledge import KnowledgeBase
from tutor.ui.chat_messages import document, escape, messages


class Page(HTMLParser):
    """The elements and the text of a rendered message."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown))

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


TYPED = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "<b>bold</b> and </details>",
    "<!-- hidden --> <a href='javascript:alert(1)'>x</a>",
    "&lt;b&gt; &amp; &#36;",
    "**bold** and __bold__ and *slanted* and _slanted_",
    "`code` and\n```\nfenced\n```\n~~~\nfenced\n~~~",
    "# heading\n## heading",
    "heading\n===",
    "heading\n---",
    "a rule\n\n***",
    "- one\n* two\n+ three\n1. four\n2) five",
    "> quoted",
    "| a | b |\n| --- | --- |\n| c | d |",
    "[link](https://example.org) ![picture](a.png) [link]\n\n[link]: https://example.org",
    "<https://example.org> https://example.org www.example.org",
    "~~struck~~",
    r"\* a backslash \\ or two",
    "def relu(x):\n    return max(0, x)\n\n    # indented code\n\tand a tab",
    "loss = $x^2$ and $$y$$",
    r"\(x\) and \[y\]",
    "BatchNorm (BN): what is f(x)[0]?",
    "什么是 ReLU？（激活函数）",
]


@pytest.mark.parametrize("typed", TYPED)
def test_what_was_typed_shows_as_typed(typed: str) -> None:
    page = Page(escape(typed))
    assert page.tags == {"p"}
    assert page.text.split() == typed.split()


@pytest.mark.parametrize("typed", TYPED)
def test_what_was_typed_is_never_taken_for_a_formula(typed: str) -> None:
    # The chatbot looks for these in the source of a message, before it reads it as Markdown.
    for formula in (r"\$\$.+\$\$", r"\$.+\$", r"\\\(.+\\\)", r"\\\[.+\\\]"):
        assert not re.search(formula, escape(typed), re.DOTALL)


def test_indentation_stays_to_be_seen() -> None:
    assert Page(escape("def relu(x):\n  return x\n\n    y\n\tz")).text.split("\n")[1:4] == [
        "\xa0\xa0return x",
        "\xa0" * 4 + "y",
        "\xa0" * 4 + "z",
    ]


def talk(tutor: Tutor, *typed: str) -> Conversation:
    conversation = Conversation()
    for message in typed:
        conversation = tutor.reply(message, conversation).conversation
    return conversation


def shown(tutor: Tutor, *typed: str, demos: Any = DEMOS) -> list[dict[str, Any]]:
    return messages(talk(tutor, *typed), tutor, demos)


def test_no_conversation_is_no_message(tiny_tutor: Tutor) -> None:
    assert messages(Conversation(), tiny_tutor, DEMOS) == []


def test_user_and_tutor_take_turns_and_the_user_is_escaped(tiny_tutor: Tutor) -> None:
    found = shown(tiny_tutor, "<img src=x> What is ReLU?", "bread?")
    assert [message["role"] for message in found] == ["user", "assistant", "user", "assistant"]
    assert found[0]["content"] == escape("<img src=x> What is ReLU?")
    assert "<img" not in found[0]["content"]


def test_an_answer_is_a_card_with_folded_sections(tiny_tutor: Tutor) -> None:
    content = shown(tiny_tutor, "What is ReLU?")[1]["content"]
    assert content == (
        "### What is ReLU?\n\n*sure of this one*\n\nReLU is $\\max(0, x)$.\n\n"
        "<details><summary>Full answer</summary>\n\nThe full answer about ReLU.\n\n</details>\n\n"
        "<details><summary>Common mistakes</summary>\n\n- A mistake about ReLU.\n\n</details>\n\n"
        "<details><summary>Sources</summary>\n\n- Source document, section 1.12\n"
        "- V. Nair, G. Hinton (2010). [Rectified Linear Units](https://example.org/relu)\n\n</details>"
    )


def test_a_chinese_question_is_answered_in_chinese(tiny_tutor: Tutor) -> None:
    content = shown(tiny_tutor, "relu 是什么")[1]["content"]
    assert re.findall("<summary>(.*?)</summary>", content) == ["完整回答", "易错点", "出处"]
    assert content.startswith("### 什么是 ReLU？\n\n*有把握*\n\nReLU 就是")
    assert "原始面经第 1.12 节" in content


def test_a_follow_up_says_so_and_a_repeated_answer_is_unfolded(tiny_tutor: Tutor) -> None:
    _, first, _, again, _, other = (message["content"] for message in shown(tiny_tutor, "What is dropout?", "why?", "and at test time?"))
    assert "<details open>" not in first and "follow-up" not in first
    assert again.startswith("### What is Dropout?\n\n*sure of this one · read as a follow-up to the question before*")
    assert re.findall("<details open><summary>(.*?)</summary>", again) == ["Full answer"]
    unsure = "probably this one; if not, see the buttons below"
    assert other.startswith(f"### What is Dropout at test time?\n\n*{unsure} · read as a follow-up to the question before*")
    assert "<details open>" not in other


def test_only_the_newest_answer_has_buttons(tiny_tutor: Tutor) -> None:
    found = shown(tiny_tutor, "What is dropout?", "What is ReLU?")
    assert ["options" in message for message in found] == [False, False, False, True]
    assert found[3]["options"] == [
        {"value": "demo:tiny/small", "label": "▶ Run the experiment: Tiny experiment"},
        {"value": "ask:dropout-test", "label": "What is Dropout at test time?"},
        {"value": "ask:dropout", "label": "What is Dropout?"},
    ]


def test_at_most_two_related_questions_are_offered(folder: Path) -> None:
    write_question(folder, "leaky-relu", question_text(None, "Leaky ReLU"))
    write_question(folder, "relu", RELU.replace("[dropout-test, dropout]", "[dropout, leaky-relu, dropout-test]"))
    tutor = Tutor(KnowledgeBase.load(folder), KeywordRetriever())  # type: ignore[arg-type]
    assert [option["value"] for option in shown(tutor, "What is ReLU?")[1]["options"]] == [
        "demo:tiny/small",
        "ask:dropout",
        "ask:leaky-relu",
    ]


@pytest.mark.parametrize(
    ("typed", "note", "labels"),
    [
        ("dropout in testing", "probably this one; if not, see the buttons below", ["What is Dropout?", "What is ReLU?"]),
        ("dropout 测试", "应该是这个，不对的话看下面的按钮", ["什么是 Dropout？", "什么是 ReLU？"]),
    ],
)
def test_an_unsure_answer_says_so_and_has_the_alternatives_as_buttons(tiny_tutor: Tutor, typed: str, note: str, labels: list[str]) -> None:
    answer = shown(tiny_tutor, typed)[1]
    assert f"\n\n*{note}*\n\n" in answer["content"]
    assert answer["options"] == [
        {"value": f"ask:{name}", "label": label} for name, label in zip(("dropout", "relu"), labels, strict=True)
    ]  # not the related relu twice


def test_an_experiment_that_is_not_there_has_no_button(tiny_tutor: Tutor) -> None:
    options = shown(tiny_tutor, "relu 是什么", demos={})[1]["options"]
    assert [option["value"] for option in options] == ["ask:dropout-test", "ask:dropout"]
    assert options[1]["label"] == "什么是 Dropout？"


def test_a_suggestion_offers_the_questions_as_buttons(tiny_tutor: Tutor) -> None:
    answer = shown(tiny_tutor, "a test")[1]
    assert answer["content"] == "Did you mean one of these? Pick one to see its answer:"
    assert [option["value"] for option in answer["options"]] == ["ask:dropout-test", "ask:dropout", "ask:relu"]


def test_an_abstention_names_the_topics(folder: Path) -> None:
    topics = "activations: {zh: 激活, en: Activations}\nregularization: {zh: 正则化, en: Regularisation}\n"
    (folder / "topics.yaml").write_text(topics, encoding="utf-8")
    tutor = Tutor(KnowledgeBase.load(folder), KeywordRetriever())  # type: ignore[arg-type]
    _, english, _, chinese = shown(tutor, "How do I bake bread?", "怎么烤面包？")
    assert english["content"].startswith("I do not know this one: it is not covered.")
    assert english["content"].endswith("The topics I can answer are: Activations, Regularisation.")
    assert "我能回答的主题有：激活、正则化。" in chinese["content"]
    assert chinese["options"] == []


@pytest.mark.parametrize(
    ("typed", "content", "labels"),
    [
        (
            "How do diffusion models work?",
            "That is about diffusion models, which I do not cover, so I will not guess. Nearest here:",
            ["What is Dropout at test time?", "What is Dropout?"],
        ),
        (
            "扩散模型怎么训练",
            "这是关于扩散模型的问题，不在收录范围之内，我就不硬答了。这里最接近的是：",
            ["什么是 Dropout at test time？", "什么是 Dropout？"],
        ),
    ],
)
def test_a_topic_outside_is_named_with_the_nearest_questions(tiny_tutor: Tutor, typed: str, content: str, labels: list[str]) -> None:
    answer = shown(tiny_tutor, typed)[1]
    assert answer["content"] == content
    assert [option["label"] for option in answer["options"]] == labels
    listed = "".join(f"\n- {label}" for label in labels)
    assert document(talk(tiny_tutor, typed), tiny_tutor, "en").endswith(f"\n\n{content}{listed}\n")


# Several questions in one message


def test_each_part_is_shown_under_its_question(tiny_tutor: Tutor) -> None:
    found = shown(tiny_tutor, "What is *dropout*? What is ReLU? How do diffusion models work?")
    assert [message["role"] for message in found] == ["user", "assistant"]
    parts = found[1]["content"].split("\n\n---\n\n")
    assert parts[0].startswith(f"> {escape('What is *dropout*?')}\n\n### What is Dropout?\n\n*sure of this one*\n\n")
    assert parts[1].startswith(f"> {escape('What is ReLU?')}\n\n### What is ReLU?\n\n")
    assert parts[2] == (
        f"> {escape('How do diffusion models work?')}\n\n"
        "That is about diffusion models, which I do not cover, so I will not guess. Nearest here:"
    )
    page = Page(found[1]["content"])
    assert "What is *dropout*?" in page.text and "blockquote" in page.tags and "hr" in page.tags


def test_the_buttons_of_several_parts_have_no_duplicates(tiny_tutor: Tutor) -> None:
    options = shown(tiny_tutor, "What is dropout? What is ReLU? How do diffusion models work?")[1]["options"]
    # dropout: relu; ReLU: its experiment and dropout at test time; diffusion: the two nearest, of which one is there already.
    assert [option["value"] for option in options] == ["demo:tiny/small", "ask:relu", "ask:dropout-test", "ask:dropout"]


def test_each_button_is_in_the_language_of_its_part(tiny_tutor: Tutor) -> None:
    options = shown(tiny_tutor, "什么是 dropout？什么是 ReLU？")[1]["options"]
    assert [option["label"] for option in options] == ["▶ 运行实验：小实验", "什么是 ReLU？", "什么是 Dropout at test time？"]


def test_the_document_has_every_part(tiny_tutor: Tutor) -> None:
    text = document(talk(tiny_tutor, "What is dropout? What is ReLU?"), tiny_tutor, "en")
    assert re.findall("^### (.*)$", text, re.MULTILINE) == ["What is Dropout?", "What is ReLU?"]
    assert "<details" not in text


def test_the_whole_message_is_shown_as_typed(tiny_tutor: Tutor) -> None:
    typed = "I have two. What is dropout? What is ReLU?"
    assert shown(tiny_tutor, typed)[0]["content"] == escape(typed)
    assert "> " + escape(typed) in document(talk(tiny_tutor, typed), tiny_tutor, "en")


def test_the_document_unfolds_everything(tiny_tutor: Tutor) -> None:
    text = document(talk(tiny_tutor, "a test", "What is <b>ReLU</b>?\n\nTell me *all*."), tiny_tutor, "en")
    assert text.startswith(
        "# Deep-learning interview tutor\n\n> a test\n\nDid you mean one of these? Pick one to see its answer:\n"
        "- What is Dropout at test time?\n- What is Dropout?\n- What is ReLU?\n\n> What is "
    )
    assert re.findall("^#### (.*)$", text, re.MULTILINE) == ["Full answer", "Common mistakes", "Sources"]
    page = Page(text)
    assert page.tags == {"h1", "h3", "h4", "blockquote", "p", "em", "ul", "li", "a"}
    assert "What is <b>ReLU</b>?\nTell me *all*." in page.text
    assert "\n> \n> Tell me " in text  # the whole of it is quoted
    assert "The full answer about ReLU." in page.text


def test_the_title_of_the_document_is_in_the_language_of_the_page(tiny_tutor: Tutor) -> None:
    assert document(talk(tiny_tutor, "What is ReLU?"), tiny_tutor, "zh").startswith("# 深度学习面试助教\n")
    assert document(Conversation(), tiny_tutor, "en") == "# Deep-learning interview tutor\n"
