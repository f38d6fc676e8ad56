"""Every formula of every answer, rendered by the same chatbot as in the application."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import Browser

from demos.core.registry import load_demos
from tests.serving import free_port
from tutor.chat import Conversation, Decision, Turn, Tutor
from tutor.config import ROOT
from tutor.knowledge import KnowledgeBase
from tutor.question import LANGUAGES, Language
from tutor.ui.chat_messages import messages
from tutor.ui.chat_tab import DELIMITERS

KNOWLEDGE = KnowledgeBase.load(ROOT / "knowledge")

# KaTeX marks what it cannot set; a dollar that is left outside code was meant to open a formula.
FAULTS = """() => {
  document.querySelectorAll('details').forEach(node => node.open = true);
  const errors = [...document.querySelectorAll('.katex-error')].map(node => node.title || node.textContent);
  const walker = document.createTreeWalker(document.querySelector('#chat'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.textContent.includes('$') && !node.parentElement.closest('pre, code, .katex')) errors.push(node.textContent.slice(0, 200));
  }
  return [errors, document.querySelectorAll('.katex').length];
}"""


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_formula_renders(browser: Browser, language: Language) -> None:
    tutor = Tutor(KNOWLEDGE, retriever=None)  # type: ignore[arg-type]  # nothing is searched for
    turns = tuple(Turn(name, name, language, Decision.ANSWER, (name,), 1.0) for name in KNOWLEDGE.questions)
    shown: Any = messages(Conversation(turns), tutor, load_demos())
    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.Chatbot(shown, latex_delimiters=DELIMITERS, elem_id="chat", height=600)
    port = free_port()
    blocks.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, server_port=port)
    try:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}")
        page.locator("#chat .prose > h3").nth(len(turns) - 1).wait_for(state="attached")
        page.wait_for_timeout(2000)
        errors, count = page.evaluate(FAULTS)
        page.close()
    finally:
        blocks.close()
    assert errors == []
    assert count > 5 * len(turns)
