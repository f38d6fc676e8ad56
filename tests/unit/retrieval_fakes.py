"""A readable encoder and a small knowledge base for the tests of retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.unit.sample import write_outside
from tutor.calibration import Calibration, Logistic, Scale
from tutor.knowledge import KnowledgeBase

WORDS = ("dropout", "丢弃", "adam", "优化", "softmax", "概率", "why", "为什么", "cook", "diffusion", "扩散", "soup", "汤")


class WordEncoder:
    """A text's vector counts the WORDS in it; a text without any has the zero vector."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, inputs: Sequence[str], *, show_progress_bar: bool | None = None) -> np.ndarray:
        self.encoded += inputs
        return np.array([[text.lower().count(word) for word in WORDS] for text in inputs], dtype=np.float32)


# id: (section, Chinese word, English word)
ENTRIES = {"dropout": ("1.1", "丢弃", "dropout"), "adam": ("1.2", "优化", "adam"), "softmax": ("1.3", "概率", "softmax")}


# id: (name, Chinese word, English word)
OUTSIDE = {"diffusion-models": ("{zh: 扩散模型, en: diffusion models}", "扩散", "diffusion"), "cooking": (None, "汤", "soup")}

FEATURES = ("score", "lead", "over_neighbor", "over_everyday", "words")


def scale_of(
    scope: Mapping[str, float],
    scope_intercept: float,
    in_scope: float,
    answer: float,
    sure: float,
    usual: Mapping[str, float] | None = None,
) -> Scale:
    """A scale in which the best question is right if the query is in scope: its confidence is the logistic of the `scope` weights."""
    return Scale(
        scope=Logistic(scope_intercept, {**dict.fromkeys(FEATURES, 0.0), **scope}),
        right=Logistic(60.0, {"score": 0.0, "lead": 0.0}),
        usual={**dict.fromkeys(FEATURES[2:], 0.0), **(usual or {})},
        in_scope=in_scope,
        answer=answer,
        sure=sure,
    )


# Confidence 0.5 at a cosine of 0.6: in scope from 0.43, ANSWER from 0.79, sure from 0.95.
COSINE_SCALE = scale_of({"score": 10.0}, -6.0, in_scope=0.15, answer=0.87, sure=0.97)
COSINE_CALIBRATION = Calibration("fake", {"zh": COSINE_SCALE, "en": COSINE_SCALE}, {})


def knowledge_of(folder: Path, entries: dict[str, tuple[str, str, str]] = ENTRIES, outside: bool = False) -> KnowledgeBase:
    """A knowledge base in `folder` whose entries consist of their two words, and whose probes say `cook`.

    With `outside` a neighbouring topic and everyday matters (OUTSIDE) lie beside them.
    """
    for name, (section, zh, en) in entries.items():
        path = folder / "regularization" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_entry(section, zh, en), encoding="utf-8")
    for name, (title, zh, en) in OUTSIDE.items() if outside else ():
        texts = f"texts:\n  zh: {[f'{zh} {number}' for number in range(5)]}\n  en: {[f'{en} {number}' for number in range(5)]}\n"
        write_outside(folder, name, (f"name: {title}\n" if title else "") + texts)
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
