"""A readable encoder and a small knowledge base for the tests of retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tutor.knowledge import KnowledgeBase

WORDS = ("dropout", "丢弃", "adam", "优化", "softmax", "概率", "why", "为什么", "cook")


class WordEncoder:
    """A text's vector counts the WORDS in it; a text without any has the zero vector."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, inputs: Sequence[str], *, show_progress_bar: bool | None = None) -> np.ndarray:
        self.encoded += inputs
        return np.array([[text.lower().count(word) for word in WORDS] for text in inputs], dtype=np.float32)


# id: (section, Chinese word, English word)
ENTRIES = {"dropout": ("1.1", "丢弃", "dropout"), "adam": ("1.2", "优化", "adam"), "softmax": ("1.3", "概率", "softmax")}


def knowledge_of(folder: Path, entries: dict[str, tuple[str, str, str]] = ENTRIES) -> KnowledgeBase:
    """A knowledge base in `folder` whose entries consist of their two words, and whose probes say `cook`."""
    for name, (section, zh, en) in entries.items():
        path = folder / "regularization" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_entry(section, zh, en), encoding="utf-8")
    knowledge = KnowledgeBase.load(folder)
    assert not knowledge.faults, knowledge.faults
    return knowledge


def _entry(section: str, zh: str, en: str) -> str:
    def both(key: str, chinese: list[str], english: list[str]) -> str:
        return f"{key}:\n  zh: {chinese}\n  en: {english}\n"

    numbers = [str(number) for number in range(10)]
    return (
        f"---\nsection: '{section}'\nquestion: {{zh: 问{zh}, en: ask {en}}}\n"
        + both("paraphrases", [f"{zh} {number}" for number in numbers], [f"{en} {number}" for number in numbers])
        + both("probes", [f"cook {zh} {number}" for number in "abcd"], [f"cook {en} {number}" for number in "abcd"])
        + both("key_points", [f"{zh} 一", f"{zh} 二"], [f"{en} one", f"{en} two"])
        + "related: []\nreferences: [{title: T, authors: A, year: 2020, url: 'https://example.org'}]\n---\n"
        + f"# 中文\n\n{zh}。\n\n## 完整回答\n\n{zh}完整。\n\n## 易错点\n\n- {zh}易错。\n\n"
        + f"# English\n\n{en}.\n\n## Full answer\n\nfull {en}.\n\n## Common mistakes\n\n- wrong {en}.\n"
    )
