"""The real application in a process of its own, driven by Chromium through Playwright.

Every page fails its test on a console error, on an uncaught exception and on a request that leaves the host.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without Chromium the browser tests are skipped, with a reason; where TUTOR_REQUIRE_BROWSER is set they fail instead."""
    if CHROMIUM is None and not os.environ.get("TUTOR_REQUIRE_BROWSER"):
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(
                    pytest.mark.skip(reason="no Chromium here: install your system's chromium package to run the browser tests")
                )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, "no Chromium here: install Debian's chromium (and fonts-noto-cjk)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """`visit("?demo=batchnorm", locale="en-US", width=390)`: a visitor of their own, with a page that is ready."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def watch(page: Page) -> None:
        page.on("console", lambda message: faults.append(f"console: {message.text}") if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(f"exception: {error}"))
        page.on("request", lambda request: faults.append(f"external: {request.url}") if _leaves(request.url, address) else None)
        page.on("response", lambda response: faults.append(f"{response.status}: {response.url}") if response.status >= 400 else None)

    def visit(query: str = "", locale: str = "zh-CN", width: int = 1280, height: int = 900, **options: Any) -> Page:
        context = browser.new_context(locale=locale, viewport={"width": width, "height": height}, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        watch(page)
        page.goto(address + "/" + query)
        page.locator("#ask textarea, #run").first.wait_for(state="attached")
        page.wait_for_timeout(1500)  # the language arrives with the load event
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not faults, "\n".join(faults)


def _leaves(url: str, address: str) -> bool:
    return not url.startswith((address, "data:", "blob:", re.sub("^http", "ws", address)))
