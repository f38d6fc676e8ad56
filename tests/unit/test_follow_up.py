"""How a message refers to the one before it."""

from __future__ import annotations

import time

import pytest

from tutor.follow_up import asks_for_more, is_elliptic, names_no_subject, opens_with_connective, points_back
from tutor.question import Language


@pytest.mark.parametrize(
    ("message", "language", "more"),
    [
        ("why?", "en", True),
        ("Can you explain that further?", "en", True),
        ("show me the math", "en", True),
        ("in PyTorch?", "en", True),
        ("why ReLU?", "en", False),
        ("code for momentum", "en", False),
        ("为什么", "zh", True),
        ("能讲得更具体一点吗？", "zh", True),
        ("有公式吗", "zh", True),
        ("为什么用 relu", "zh", False),
        ("怎么解决", "zh", False),
    ],
)
def test_a_request_for_more(message: str, language: Language, more: bool) -> None:
    assert asks_for_more(message, language) is more


@pytest.mark.parametrize(
    ("message", "language", "empty"),
    [
        ("怎么解决？", "zh", True),
        ("各自适合什么任务", "zh", True),
        ("有什么缺点", "zh", True),
        ("学习率给多少", "zh", False),
        ("鞍点", "zh", False),
        ("那 dropout 呢", "zh", False),
        ("SVM 怎么用", "zh", False),
        ("any downsides in practice?", "en", True),
        ("so what's it good for", "en", True),
        ("how do I fix it", "en", True),
        ("momentum", "en", False),
        ("and for CNNs?", "en", False),
        ("what's the weather like", "en", False),
    ],
)
def test_a_message_without_a_subject(message: str, language: Language, empty: bool) -> None:
    assert names_no_subject(message, language) is empty


def test_connectives_and_pronouns() -> None:
    assert opens_with_connective("and at test time?", "en")
    assert opens_with_connective("那测试的时候呢", "zh")
    assert not opens_with_connective("androids dream", "en")
    assert points_back("does it help?", "en")
    assert points_back("它有用吗", "zh")
    assert not points_back("item", "en")


@pytest.mark.parametrize("text", ["多少" * 50 + "鞍", "再说" * 50 + "鞍", "and " * 30 + "x", "no " * 40 + "x", "能可以请麻烦" * 20])
def test_no_message_takes_long(text: str) -> None:
    started = time.perf_counter()
    for language in ("zh", "en"):
        asks_for_more(text[:100], language)
        names_no_subject(text, language)
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    ("message", "language", "elliptic"),
    [
        ("卷积层呢？", "zh", True),
        ("那 dropout 呢", "zh", True),
        ("为什么要除以它呢", "zh", False),
        ("动量是什么呢？", "zh", False),
        ("and for CNNs?", "en", True),
        ("also with Adam?", "en", True),
        ("in the last layer", "en", True),
        ("what about momentum", "en", False),
        ("with which optimizer do I train a transformer from scratch", "en", False),
    ],
)
def test_an_elliptic_message(message: str, language: Language, elliptic: bool) -> None:
    assert is_elliptic(message, language) is elliptic
