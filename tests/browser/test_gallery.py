"""The demo wing in a real browser: gallery, comparison, own data, exports, and the round of diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from playwright.sync_api import Page, expect

from demos.core.registry import load_demos
from tutor.ui.strings import STRINGS

Visit = Callable[..., Page]
DEMOS = load_demos()


def finish(page: Page) -> None:
    expect(page.locator(".stage-verdict .badge")).to_be_visible(timeout=120_000)
    expect(page.locator(".stage-chart canvas").first).to_be_visible(timeout=20_000)  # the chart library comes with the first chart


def series(page: Page, chart: int = 0) -> list[str]:
    """The names of what a chart draws."""
    return page.evaluate(
        "i => echarts.getInstanceByDom(document.querySelectorAll('.stage-canvas')[i]).getOption().series.map(series => series.name ?? '')",
        chart,
    )


def test_every_experiment_is_two_clicks_away(visit: Visit) -> None:
    page = visit()
    page.get_by_role("tab", name=STRINGS["tab_experiments"].zh).click()
    expect(page.locator(".gallery-card")).to_have_count(len(DEMOS))
    assert page.locator(".gallery-topics button").count() <= 7
    expect(page.locator("#experiment-view")).to_be_hidden()
    page.locator(".gallery-card", has_text=DEMOS["momentum"].title.zh).click()
    expect(page.locator("#demo-header h2")).to_have_text(DEMOS["momentum"].question.zh)
    assert page.locator("#siblings label").count() <= 7
    expect(page.locator("#gallery-view")).to_be_hidden()
    page.wait_for_function("location.search.includes('demo=momentum')")
    page.locator("#back").click()
    expect(page.locator(".gallery-card").first).to_be_visible()
    page.wait_for_function("!location.search")
    expect(page.locator("#experiment-view")).to_be_hidden()


def test_a_link_shows_the_experiment_and_not_the_gallery(visit: Visit) -> None:
    page = visit("?demo=momentum")
    expect(page.locator("#run")).to_be_visible()
    expect(page.locator("#gallery-view")).to_be_hidden()


def test_the_parameters_follow_card_preset_language_and_sibling(visit: Visit) -> None:
    page = visit()
    beta = page.locator("#parameter-beta input[type=number]")
    page.get_by_role("tab", name=STRINGS["tab_experiments"].zh).click()
    page.locator(".gallery-card", has_text=DEMOS["momentum"].title.zh).click()
    expect(beta).to_have_value(str(DEMOS["momentum"].parameters.parse({}).values()["beta"]))
    page.get_by_text(DEMOS["momentum"].presets["too-heavy"].label.zh, exact=True).click()
    expect(beta).to_have_value("0.99")
    beta.fill("0.98")
    beta.press("Tab")
    page.wait_for_function("location.search.includes('beta=0.98')")
    page.get_by_role("radio", name="English").check()
    expect(page.locator("#parameter-beta")).to_contain_text(DEMOS["momentum"].parameters.specs()["beta"].label.en)
    expect(beta).to_have_value("0.98")
    page.locator("#siblings").get_by_text(DEMOS["learning_rate_sweep"].title.en, exact=True).click()
    expect(page.locator("#parameter-low")).to_be_visible()
    expect(beta).to_have_count(0)


@pytest.mark.parametrize(("locale", "word"), [("zh-CN", "动量"), ("zh-CN", "momentum"), ("en-US", "heavy ball"), ("en-US", "动量")])
def test_a_word_of_either_language_finds_its_experiment(visit: Visit, locale: str, word: str) -> None:
    page = visit(locale=locale)
    page.get_by_role("tab").nth(1).click()
    page.locator(".gallery-search").fill(word)
    expect(page.locator(".gallery-card[href*='demo=momentum']")).to_be_visible()
    assert page.locator(".gallery-card").count() < len(DEMOS) / 2
    page.locator(".gallery-search").fill("nothing is called so")
    expect(page.locator(".gallery-card")).to_have_count(0)
    expect(page.locator(".gallery-count")).to_contain_text("nothing is called so")


def test_a_topic_shows_its_experiments_only(visit: Visit) -> None:
    page = visit(locale="en-US")
    page.get_by_role("tab").nth(1).click()
    button = page.locator(".gallery-topics button", has_text="Optimisation")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expected = sum(demo.topic == "optimization" for demo in DEMOS.values())
    expect(page.locator(".gallery-card")).to_have_count(expected)
    button.click()
    expect(page.locator(".gallery-card")).to_have_count(len(DEMOS))


def test_the_gallery_by_keyboard(visit: Visit) -> None:
    page = visit(locale="en-US")
    page.get_by_role("tab").nth(1).click()
    page.locator(".gallery-search").focus()
    page.keyboard.type("momentum")
    expect(page.locator(".gallery-card[href*='demo=momentum']")).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('gallery-card')"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#run")).to_be_visible()


def test_a_pinned_run_lies_under_the_next_one(visit: Visit) -> None:
    page = visit("?demo=learning_rate_sweep&preset=network&steps=40", locale="en-US")
    page.locator("#run").click()
    finish(page)
    plain = series(page)
    page.locator(".stage-pin").click()
    expect(page.locator(".stage-pinned")).to_contain_text("Random seed 0")
    page.locator("#seed input").fill("3")
    page.locator("#seed input").press("Tab")
    page.wait_for_function("location.search.includes('seed=3')")
    page.locator("#run").click()
    expect(page.locator(".stage-pin")).to_be_visible(timeout=60_000)  # the new run has ended, and can be pinned in its turn
    page.wait_for_timeout(300)
    both = series(page)
    mark = STRINGS["pinned_mark"].en
    assert not any(name.endswith(mark) for name in plain) and any(name.endswith(mark) for name in both)
    page.locator(".stage-figures summary").click()
    expect(page.locator(".stage-figures th")).to_have_count(4)
    page.locator(".stage-pinned button").click()
    expect(page.locator(".stage-pinned")).to_be_hidden()
    assert not any(name.endswith(mark) for name in series(page))


def test_what_moved_can_be_watched_again(visit: Visit) -> None:
    page = visit("?demo=momentum", locale="en-US")
    page.locator("#run").click()
    finish(page)
    slider = page.locator(".stage-replay input")
    last = int(slider.get_attribute("max") or 0)
    assert last >= 20
    end = page.locator(".stage-canvas").first.screenshot()
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_timeout(300)
    assert page.locator(".stage-canvas").first.screenshot() != end
    page.locator(".stage-replay button").click()
    page.wait_for_function(f"document.querySelector('.stage-replay input').value == {last}", timeout=20_000)
    page.wait_for_timeout(300)
    assert page.locator(".stage-canvas").first.screenshot() == end


def test_a_table_of_ones_own(visit: Visit, tmp_path: Path) -> None:
    rows = "\n".join(f"{i % 17},{(i * i) % 13},{'yes' if i % 17 > 8 else 'no'}" for i in range(200))
    (tmp_path / "mine.csv").write_text("a,b,kind\n" + rows + "\n", encoding="utf-8")
    (tmp_path / "broken.csv").write_text("a,b,kind\n" + rows + "\n1,oops,yes\n", encoding="utf-8")
    (tmp_path / "huge.csv").write_bytes(b"1,2,a\n" * 200_000)
    page = visit("?demo=learning_rate_sweep&steps=40&count=5", locale="en-US")
    page.locator("#demo-controls button", has_text=STRINGS["advanced"].en).click()
    picker = page.locator("#parameter-data input")
    picker.set_input_files(tmp_path / "huge.csv")
    expect(page.locator("#parameter-data [role=status]")).to_have_text(STRINGS["own_data_large"].en)
    picker.set_input_files(tmp_path / "broken.csv")
    expect(page.locator("#parameter-data [role=status]")).to_contain_text("line 202, column 2 (b) is not a finite number", timeout=10_000)
    picker.set_input_files(tmp_path / "mine.csv")
    expect(page.locator("#parameter-data [role=status]")).to_contain_text("mine.csv")
    page.wait_for_timeout(800)
    assert "yes" not in page.url
    page.locator("#run").click()
    finish(page)
    page.locator(".stage-pin").click()
    expect(page.locator(".stage-pinned")).to_contain_text("CSV 200 × 3")
    page.locator("#parameter-data button").click()
    expect(page.locator("#parameter-data [role=status]")).to_have_text(STRINGS["own_data_none"].en)


def test_everything_can_be_taken_along(visit: Visit) -> None:
    page = visit("?demo=momentum&beta=0.8", locale="en-US")
    page.locator("#run").click()
    finish(page)
    with page.expect_download() as caught:
        page.locator(".stage-svg").click()
    svg = ElementTree.parse(caught.value.path()).getroot()
    assert svg.tag.endswith("svg") and DEMOS["momentum"].title.en and len(list(svg.iter())) > 100
    page.locator("button", has_text=STRINGS["code"].en).click()
    with page.expect_download() as caught:
        page.locator("#save-script").click()
    p = DEMOS["momentum"].parameters.parse({**DEMOS["momentum"].presets[DEMOS["momentum"].default_preset].values, "beta": 0.8})
    assert caught.value.suggested_filename == "momentum.py"
    assert Path(caught.value.path()).read_text(encoding="utf-8") == DEMOS["momentum"].code(p)
    with page.expect_download() as caught:
        page.locator("#save-notebook").click()
    notebook = nbformat.read(caught.value.path(), as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[1].source == DEMOS["momentum"].code(p)


def test_a_diagnosis_is_made_after_the_run_and_counted(visit: Visit) -> None:
    page = visit("?demo=diagnose", locale="en-US")
    page.locator("#prediction input").first.check()  # too early: it does not count
    page.locator("#run").click()
    expect(page.locator(".stage-status")).to_contain_text(STRINGS["answer_now"].en[:20], timeout=90_000)
    assert not page.locator(".stage-verdict").is_visible() and not page.locator(".stage-figures").is_visible()
    expect(page.locator("#prediction input:checked")).to_have_count(0)
    page.locator("#prediction input").nth(1).check()
    finish(page)
    expect(page.locator(".stage-prediction")).to_contain_text("of 1")
    page.locator("#next-round").click()
    page.wait_for_function("location.search.includes('seed=1')")
    expect(page.locator(".stage-status")).to_contain_text(STRINGS["answer_now"].en[:20], timeout=90_000)
    page.locator("#prediction input").nth(2).check()
    expect(page.locator(".stage-prediction")).to_contain_text("of 2", timeout=10_000)


def test_a_finished_preset_stands_in_the_table_of_this_machine(visit: Visit) -> None:
    page = visit("?demo=momentum", locale="en-US")
    page.locator("#run").click()
    finish(page)
    page.locator("#back").click()
    card = page.locator(".gallery-card[href*='demo=momentum']")
    expect(card.locator(".badge")).to_be_visible()
    page.locator(".gallery-results summary").click()
    expect(page.locator(".gallery-results tr", has_text=DEMOS["momentum"].title.en).first).to_be_visible()


@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
def test_the_gallery_on_a_phone(visit: Visit, locale: str) -> None:
    page = visit(locale=locale, width=390, height=844)
    page.get_by_role("tab").nth(1).click()
    expect(page.locator(".gallery-card").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
