"""A configuration as the query string of a link, and back."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest

from demos.core.parameters import ParameterError
from tests.unit.sample import DEMOS, TINY
from tutor.ui.link import Configuration, from_query, of_preset, parse_language, parse_seed, preferred_language, to_query

SMALL = {"count": 4, "rate": 0.5, "kind": "relu", "noisy": False}
LARGE = {"count": 40, "rate": 0.5, "kind": "tanh", "noisy": True}


def read(query: str) -> Configuration | None:
    """What the browser makes of the query string, and the page of that."""
    assert query.startswith("?")
    return from_query(dict(parse_qsl(query[1:], keep_blank_values=True, strict_parsing=True)), DEMOS)


@pytest.mark.parametrize(
    ("preset", "changed", "seed"),
    [
        ("small", {}, 0),
        ("small", {"count": 7, "rate": 1 / 3}, 1),
        ("small", {"rate": 1e-3, "noisy": True}, 2**31 - 1),
        ("large", {"noisy": False, "kind": "relu"}, 5),
        ("large", {"count": 4}, 0),  # a default of the parameters, but not of the preset
    ],
)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_link_reproduces_its_configuration(preset: str, changed: dict[str, Any], seed: int, language: Any) -> None:
    configuration = Configuration("tiny", preset, {**of_preset(TINY, preset).values, **changed}, seed)
    query = to_query(configuration, TINY, language)
    assert read(query) == configuration
    assert query.endswith(f"lang={language}")


def test_only_what_differs_from_the_preset_is_written() -> None:
    assert to_query(Configuration("tiny", "small", SMALL), TINY, "zh") == "?demo=tiny&preset=small&seed=0&lang=zh"
    changed = Configuration("tiny", "large", {**LARGE, "noisy": False, "count": 41}, 3)
    assert to_query(changed, TINY, "en") == "?demo=tiny&preset=large&count=41&noisy=false&seed=3&lang=en"


def test_a_short_link_is_filled_up_from_the_preset() -> None:
    assert from_query({"demo": "tiny"}, DEMOS) == Configuration("tiny", "small", SMALL, 0)
    assert from_query({"demo": "tiny", "preset": "large", "rate": "2"}, DEMOS) == Configuration("tiny", "large", {**LARGE, "rate": 2.0}, 0)


def test_a_link_that_names_no_demo_is_none() -> None:
    assert from_query({}, DEMOS) is None
    assert from_query({"lang": "zh", "__theme": "dark"}, DEMOS) is None


def test_names_of_the_platform_are_passed_over() -> None:
    assert from_query({"demo": "tiny", "__theme": "dark", "__sign": "abc", "lang": "en"}, DEMOS) == of_preset(TINY, "small")


@pytest.mark.parametrize(
    ("query", "zh", "en"),
    [
        ({"demo": "huge"}, "没有名为 huge 的实验，现有：tiny", "There is no experiment called huge; there are: tiny"),
        ({"demo": ""}, "没有名为  的实验", "There is no experiment called ;"),
        ({"preset": "middle"}, "没有预设 middle，现有：small, large", "has no preset middle; there are: small, large"),
        ({"speed": "1"}, "没有名为 speed 的参数", "no parameter called speed; there are: count, rate, kind, noisy"),
        ({"count": "99"}, "参数 count（个数）不接受 '99'，允许的取值：2 … 48", "count (Count) does not accept '99'; allowed: 2 … 48"),
        ({"rate": "nan"}, "允许的取值：0.001 … 10", "allowed: 0.001 … 10"),
        ({"kind": "<b>"}, "允许的取值：relu | tanh", "allowed: relu | tanh"),
        ({"noisy": ""}, "允许的取值：true | false", "allowed: true | false"),
        ({"seed": "-1"}, "0 到 2147483647", "0 … 2147483647"),
        ({"seed": "one"}, "0 到 2147483647", "0 … 2147483647"),
        ({"seed": ""}, "0 到 2147483647", "0 … 2147483647"),
    ],
)
def test_a_bad_link_says_what_is_wrong(query: dict[str, str], zh: str, en: str) -> None:
    with pytest.raises(ParameterError) as caught:
        from_query({"demo": "tiny", **query}, DEMOS)
    assert zh in caught.value.text.zh
    assert en in caught.value.text.en


@pytest.mark.parametrize(("raw", "seed"), [(0, 0), ("0", 0), (7, 7), ("7", 7), (7.0, 7), ("2147483647", 2**31 - 1)])
def test_seeds(raw: object, seed: int) -> None:
    parsed = parse_seed(raw)
    assert parsed == seed
    assert type(parsed) is int


@pytest.mark.parametrize("raw", [-1, 2**31, 0.5, "0.5", True, None, [1], "nan", "inf", "", float("nan"), float("inf"), "1e400"])
def test_a_seed_that_is_none(raw: object) -> None:
    with pytest.raises(ParameterError, match=r"0 … 2147483647"):
        parse_seed(raw)


def test_a_seed_too_large_for_a_float() -> None:
    with pytest.raises(ParameterError, match=r"0 … 2147483647"):
        parse_seed(10**400)


def test_languages() -> None:
    assert (parse_language("zh"), parse_language("en")) == ("zh", "en")
    for raw in ("fr", "ZH", "", None, 1, ["zh"]):
        with pytest.raises(ParameterError, match="zh or en"):
            parse_language(raw)


@pytest.mark.parametrize(
    ("query", "stored", "accept", "expected"),
    [
        ({"lang": "en"}, "zh", "zh-CN", "en"),  # the link first
        ({}, "en", "zh-CN", "en"),  # then what was chosen before
        ({"lang": "fr"}, "en", "zh-CN", "en"),
        ({}, None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),  # then the browser
        ({}, ["zh"], "ZH-tw", "zh"),
        ({"lang": ""}, "fr", "en-GB,zh;q=0.5", "en"),
        ({}, None, "fr", "en"),
        ({}, None, "", "en"),
    ],
)
def test_the_preferred_language(query: dict[str, str], stored: object, accept: str, expected: str) -> None:
    assert preferred_language(query, stored, accept) == expected
