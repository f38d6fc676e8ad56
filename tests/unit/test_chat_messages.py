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
        "### What is ReLU?\n\n*a close match*\n\nReLU is $\\max(0, x)$.\n\n"
        "<details><summary>Full answer</summary>\n\nThe full answer about ReLU.\n\n</details>\n\n"
        "<details><summary>Common mistakes</summary>\n\n- A mistake about ReLU.\n\n</details>\n\n"
        "<details><summary>Sources</summary>\n\n- Source document, section 1.12\n"
        "- V. Nair, G. Hinton (2010). [Rectified Linear Units](https://example.org/relu)\n\n</details>"
    )


def test_a_chinese_question_is_answered_in_chinese(tiny_tutor: Tutor) -> None:
    content = shown(tiny_tutor, "relu 是什么")[1]["content"]
    assert re.findall("<summary>(.*?)</summary>", content) == ["完整回答", "易错点", "出处"]
    assert content.startswith("### 什么是 ReLU？\n\n*对得上*\n\nReLU 就是")
    assert "原始面经第 1.12 节" in content


def test_a_follow_up_says_so_and_a_repeated_answer_is_unfolded(tiny_tutor: Tutor) -> None:
    _, first, _, again, _, other = (message["content"] for message in shown(tiny_tutor, "What is dropout?", "why?", "and at test time?"))
    assert "<details open>" not in first and "follow-up" not in first
    assert again.startswith("### What is Dropout?\n\n*a close match · read as a follow-up to the question before*")
    assert re.findall("<details open><summary>(.*?)</summary>", again) == ["Full answer"]
    assert other.startswith("### What is Dropout at test time?\n\n*a close match · read as a follow-up to the question before*")
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


def test_an_experiment_that_is_not_there_has_no_button(tiny_tutor: Tutor) -> None:
    options = shown(tiny_tutor, "relu 是什么", demos={})[1]["options"]
    assert [option["value"] for option in options] == ["ask:dropout-test", "ask:dropout"]
    assert options[1]["label"] == "什么是 Dropout？"


def test_a_suggestion_offers_the_questions_as_buttons(tiny_tutor: Tutor) -> None:
    answer = shown(tiny_tutor, "a test")[1]
    assert answer["content"] == "Did you mean one of these? Pick one to see its answer:"
    assert [option["value"] for option in answer["options"]] == ["ask:dropout-test", "ask:dropout", "ask:relu"]


def test_an_abstention_names_the_topics(tiny_tutor: Tutor) -> None:
    _, english, _, chinese = shown(tiny_tutor, "How do I bake bread?", "怎么烤面包？")
    assert english["content"].startswith("I do not know this one: it is not covered.")
    assert "Activations and gradients, Regularisation, " in english["content"]
    assert "激活与梯度、正则化、" in chinese["content"]
    assert chinese["options"] == []


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
