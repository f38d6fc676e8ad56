"""Running experiments in a real browser."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from demos.core.registry import load_demos
from tutor.ui.strings import STRINGS

Visit = Callable[..., Page]
DEMOS = load_demos()


def finish(page: Page) -> None:
    expect(page.locator(".stage-verdict .badge")).to_be_visible(timeout=90_000)


def test_an_answer_leads_to_its_experiment(visit: Visit) -> None:
    page = visit()
    page.locator("#ask textarea").fill("BN 和 dropout 在 train 和 eval 模式下有什么区别")
    page.keyboard.press("Enter")
    page.locator("#chat button", has_text="▶").click(timeout=60_000)
    expect(page.locator("#demo-header h2")).to_have_text(DEMOS["batchnorm"].question.zh)
    chosen = page.get_by_role("radio", name=DEMOS["batchnorm"].presets["train-eval"].label.zh, exact=True)
    expect(chosen).to_be_checked()
    page.locator("#prediction input").first.check()
    page.locator("#run").click()
    expect(page.locator(".stage-chart canvas").first).to_be_visible(timeout=15_000)
    finish(page)
    expect(page.locator(".stage-prediction")).to_contain_text("预测")
    page.locator("#demo-questions button, #demo-questions .gallery-item").first.click()
    expect(page.locator("#chat .prose > h3")).to_have_count(2, timeout=15_000)


@pytest.mark.parametrize(
    "query", ["demo=learning_rate_sweep&steps=1000&width=64&batch=64&seeds=8", "demo=gradient_flow&depth=100&steps=600"]
)
def test_stop_keeps_what_is_drawn(visit: Visit, query: str) -> None:
    """Runs long enough to be stopped by hand; `tests/contract` stops every experiment."""
    page = visit(f"?{query}", locale="en-US")
    page.locator("#run").click()
    expect(page.locator(".stage-chart canvas").first).to_be_visible(timeout=20_000)
    page.locator("#stop").click()
    expect(page.locator(".stage-status")).to_contain_text(STRINGS["stopped"].en, timeout=10_000)
    page.wait_for_timeout(1000)
    expect(page.locator(".stage-status")).to_contain_text(STRINGS["stopped"].en)
    expect(page.locator(".stage-chart canvas").first).to_be_visible()
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#stop")).to_be_disabled()


def test_the_link_reproduces_exactly_this_configuration(visit: Visit) -> None:
    page = visit("?demo=learning_rate_sweep", locale="en-US")
    page.locator("#seed input").fill("7")
    name, spec = next(
        (n, s) for n, s in DEMOS["learning_rate_sweep"].parameters.specs().items() if hasattr(s, "whole") and s.whole and not s.advanced
    )
    field = page.locator(f"#parameter-{name} input[type=number]").first
    field.fill(str(int(spec.low)))
    field.press("Tab")
    page.wait_for_function("location.search.includes('seed=7')")
    page.wait_for_function(f"location.search.includes('{name}={int(spec.low)}')")
    other = visit(page.evaluate("location.search"), locale="en-US")
    expect(other.locator(f"#parameter-{name} input[type=number]").first).to_have_value(str(int(spec.low)))
    expect(other.locator("#seed input")).to_have_value("7")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?demo=nonsense", "There is no experiment called nonsense"),
        ("?demo=batchnorm&preset=nonsense", "has no preset nonsense"),
        ("?demo=batchnorm&nonsense=1", "no parameter called nonsense"),
        ("?demo=batchnorm&seed=-1", "whole number"),
    ],
)
def test_a_broken_link_says_what_is_wrong(visit: Visit, query: str, message: str) -> None:
    page = visit(query, locale="en-US")
    expect(page.get_by_text(message)).to_be_visible()
    expect(page.locator("#ask textarea")).to_be_visible()


def test_the_language_switches_and_is_remembered(visit: Visit) -> None:
    page = visit("?demo=batchnorm")
    page.locator("#run").click()
    finish(page)
    page.get_by_role("radio", name="English").check()
    expect(page.locator("#demo-header h2")).to_have_text(DEMOS["batchnorm"].question.en)
    expect(page.locator("#run")).to_have_text(STRINGS["run"].en)
    expect(page.locator(".stage-chart h4").first).not_to_have_text("")
    chinese = "document.querySelector('#demo-row').innerText.match(/[\\u4e00-\\u9fff]+/g)"
    page.wait_for_function(f"!{chinese}")
    page.goto(page.url.split("?")[0])
    expect(page.get_by_role("tab", name="Experiments")).to_be_visible(timeout=10_000)


def test_the_downloads_hold_what_was_measured(visit: Visit) -> None:
    page = visit("?demo=batchnorm", locale="en-US")
    page.locator("#run").click()
    finish(page)
    with page.expect_download() as caught:
        page.locator(".stage-csv").click()
    rows = list(csv.DictReader(Path(caught.value.path()).read_text(encoding="utf-8-sig").splitlines()))
    assert {row["kind"] for row in rows} == {"figure", "chart"}
    assert all(row["value"] != "undefined" for row in rows)
    with page.expect_download() as caught:
        page.locator(".stage-png").click()
    assert Path(caught.value.path()).read_bytes().startswith(b"\x89PNG\r\n")


def test_a_refused_value_is_explained_and_nothing_is_lost(visit: Visit) -> None:
    page = visit("?demo=learning_rate_sweep", locale="en-US")
    page.locator("#seed input").fill("")
    page.locator("#seed input").press("Tab")
    page.locator("#run").click()
    expect(page.locator(".stage-status")).to_contain_text("whole number", timeout=10_000)
    expect(page.locator("#run")).to_be_enabled()


def test_the_language_switches_with_a_refused_value_in_place(visit: Visit) -> None:
    page = visit("?demo=learning_rate_sweep")
    page.locator("#parameter-low input").fill("")
    page.locator("#parameter-low input").press("Tab")
    page.wait_for_timeout(500)
    page.get_by_role("radio", name="English").check()
    expect(page.locator("#demo-header h2")).to_have_text(DEMOS["learning_rate_sweep"].question.en)


@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
def test_a_phone_needs_no_sideways_scrolling(visit: Visit, locale: str) -> None:
    page = visit(locale=locale, width=390, height=844)
    page.locator("#ask textarea").fill("batch norm 训练 测试")
    page.keyboard.press("Enter")
    expect(page.locator("#chat .prose > h3")).to_have_count(1, timeout=60_000)
    page.locator("#chat summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.goto(page.url.split("?")[0] + "?demo=batchnorm")
    page.locator("#run").click(timeout=20_000)
    finish(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
