"""Asking questions in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tutor.ui.strings import STRINGS

Visit = Callable[..., Page]


def ask(page: Page, question: str) -> None:
    page.locator("#ask textarea").fill(question)
    page.keyboard.press("Enter")


def answer(page: Page, heading: str) -> None:
    expect(page.locator("#chat .prose > h3").last).to_contain_text(heading, timeout=60_000)


def test_a_chinese_question_is_answered_in_chinese(visit: Visit) -> None:
    page = visit()
    ask(page, "BN 在训练和测试的时候有啥不一样")
    answer(page, "BN")
    page.get_by_text("完整回答").last.click()
    expect(page.locator("#chat .katex").first).to_be_visible()
    expect(page.locator("#chat .katex-error")).to_have_count(0)
    for section in ("易错点", "出处"):
        expect(page.locator("#chat summary", has_text=section)).to_be_visible()
    assert "$" not in page.locator("#chat .bot").last.inner_text()


def test_an_english_question_is_answered_in_english_on_a_chinese_page(visit: Visit) -> None:
    page = visit()
    ask(page, "What is dropout and why does it work?")
    answer(page, "dropout")
    expect(page.locator("#chat summary", has_text="Full answer")).to_be_visible()


def test_a_follow_up_is_read_with_the_question_before(visit: Visit) -> None:
    page = visit()
    ask(page, "什么是 dropout")
    answer(page, "Dropout")
    ask(page, "那测试的时候呢？")
    answer(page, "测试")
    expect(page.get_by_text(STRINGS["understood_follow_up"].zh)).to_be_visible()


def test_several_questions_are_answered_one_by_one_and_asked_again_together(visit: Visit) -> None:
    page = visit(locale="en-US")
    ask(page, "What is dropout, and why do kernels have odd sizes?")
    headings = page.locator("#chat .prose > h3")
    expect(headings).to_have_count(2, timeout=60_000)
    expect(headings.last).to_contain_text("odd sizes")
    expect(page.locator("#chat blockquote")).to_have_count(2)
    page.locator("#retry").click()
    page.wait_for_timeout(2000)
    expect(headings).to_have_count(2)


def test_a_neighbouring_topic_is_named_and_the_nearest_questions_are_one_click_away(visit: Visit) -> None:
    page = visit()
    ask(page, "支持向量机的核函数怎么选")
    expect(page.get_by_text("这是关于支持向量机的问题")).to_be_visible(timeout=60_000)
    page.locator("#chat button.option").first.click()
    expect(page.locator("#chat .prose > h3")).to_have_count(1)


def test_something_else_is_not_answered(visit: Visit) -> None:
    page = visit(locale="en-US")
    ask(page, "What is the capital of Australia?")
    expect(page.get_by_text("not covered")).to_be_visible(timeout=60_000)
    expect(page.locator("#chat .prose > h3")).to_have_count(0)


def test_an_example_and_a_related_question_are_one_click_each(visit: Visit) -> None:
    page = visit(locale="en-US")
    page.locator("#chat button.example").first.click()
    answer(page, "activation")
    before = page.locator("#chat .prose > h3").count()
    page.locator("#chat button.option").last.click()
    expect(page.locator("#chat .prose > h3")).to_have_count(before + 1)


def test_what_a_visitor_types_is_shown_as_typed(visit: Visit) -> None:
    page = visit(locale="en-US")
    text = "what is <b>dropout</b> <img src=x onerror=alert(1)> **bold** $x^2$"
    ask(page, text)
    expect(page.locator("#chat .user").last).to_contain_text(text, timeout=60_000)
    expect(page.locator("#chat .user img, #chat .user b, #chat .user strong, #chat .user .katex")).to_have_count(0)


def test_a_message_that_is_too_long_is_refused_and_kept(visit: Visit) -> None:
    page = visit(locale="en-US")
    ask(page, "dropout " * 400)
    expect(page.get_by_text("The question is too long")).to_be_visible(timeout=30_000)
    assert page.locator("#ask textarea").input_value().startswith("dropout dropout")


def test_visitors_do_not_see_each_other(visit: Visit) -> None:
    first, second = visit(locale="en-US"), visit(locale="en-US")
    ask(first, "what is momentum")
    answer(first, "momentum")
    ask(second, "why?")
    second.wait_for_timeout(2000)
    assert "what is momentum" not in second.locator("#chat").inner_text()
    expect(second.get_by_text(STRINGS["understood_follow_up"].en)).to_have_count(0)


def test_clear_and_ask_again(visit: Visit) -> None:
    page = visit(locale="en-US")
    ask(page, "what is a saddle point")
    answer(page, "saddle")
    page.locator("#retry").click()
    page.wait_for_timeout(1500)
    expect(page.locator("#chat .prose > h3")).to_have_count(1)
    page.locator("#clear").click()
    expect(page.locator("#chat .prose > h3")).to_have_count(0)


def test_the_conversation_downloads_as_markdown(visit: Visit) -> None:
    page = visit(locale="en-US")
    ask(page, "what is a saddle point")
    answer(page, "saddle")
    with page.expect_download() as caught:
        page.locator("#download-chat").click()
    text = Path(caught.value.path()).read_text(encoding="utf-8")
    assert text.startswith("# Deep-learning interview tutor\n")
    assert "> what is a saddle point" in text and "#### Full answer" in text


def test_a_thumb_and_its_comment_are_kept(visit: Visit, feedback_file: Path) -> None:
    page = visit(locale="en-US")
    ask(page, "what is a saddle point")
    answer(page, "saddle")
    page.locator("#chat button[aria-label*='Like' i], #chat button[title*='Like' i]").last.click()
    page.locator("#comment textarea, #comment input").first.fill("clear and short")
    page.get_by_role("button", name=STRINGS["comment_send"].en).click()
    expect(page.get_by_text(STRINGS["comment_saved"].en)).to_be_visible()
    records = [json.loads(line) for line in feedback_file.read_text(encoding="utf-8").splitlines()]
    assert records[-1]["comment"] == "clear and short"
    assert records[-1]["question_ids"] == ["saddle-points"]


@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
def test_the_keyboard_is_enough(visit: Visit, locale: str) -> None:
    page = visit(locale=locale)
    expect(page.locator("#ask textarea")).to_be_focused()
    page.keyboard.type("momentum")
    page.keyboard.press("Enter")
    expect(page.locator("#chat .prose > h3")).to_have_count(1, timeout=60_000)
    page.locator("#chat summary").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#chat details[open]")).to_have_count(1)


@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
def test_every_control_has_a_name(visit: Visit, locale: str) -> None:
    page = visit(locale=locale)
    ask(page, "dropout")
    expect(page.locator("#chat .prose > h3")).to_have_count(1, timeout=60_000)
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.wait_for_timeout(1500)
        assert page.evaluate(NAMELESS) == []


# Visible controls without any accessible name.
NAMELESS = """() => [...document.querySelectorAll('button, a[href], input, textarea, select, [role=slider], summary')]
  .filter(node => node.offsetParent !== null && node.type !== 'hidden')
  .filter(node => !(node.getAttribute('aria-label') || node.title || node.textContent?.trim() || node.labels?.length && [...node.labels].some(l => l.textContent.trim())
    || (node.getAttribute('aria-labelledby') || '').split(' ').some(id => document.getElementById(id)?.innerText.trim())))
  .map(node => node.outerHTML.slice(0, 200))"""
