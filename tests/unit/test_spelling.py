"""Misspelt words are put right; English and known words are left alone."""

from __future__ import annotations

import pytest

from tutor.spelling import Spelling, english_words

TEXTS = ["batch normalization", "dropout and momentum", "learning rate of ReLU", "overfitting", "softmax", "BatchNorm2d"] * 3


@pytest.fixture(scope="module")
def spelling() -> Spelling:
    return Spelling([*TEXTS, "rarely"])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("bacth noramlization", "batch normalization"),
        ("what dropuot does", "what dropout does"),
        ("momentun?", "momentum?"),
        ("learing rate", "learning rate"),
        ("OVERFITING", "overfitting"),
        ("softmx 和 sigmoid", "softmax 和 sigmoid"),
    ],
)
def test_a_misspelt_word_is_put_right(spelling: Spelling, typed: str, meant: str) -> None:
    assert spelling.corrected(typed) == meant


@pytest.mark.parametrize(
    "typed",
    [
        "Batch Normalization",
        "a dropped lorry",  # English words, near to known ones or not
        "monument",
        "relo",  # too short to tell
        "xomentum",  # another initial
        "momeentuumm",  # too far off
        "梯度消失",
        "",
    ],
)
def test_nothing_else_is_touched(spelling: Spelling, typed: str) -> None:
    assert spelling.corrected(typed) == typed


def test_a_rare_word_is_no_correction() -> None:
    assert Spelling(["normalization"] * 2).corrected("normalizatoin") == "normalizatoin"


def test_english_is_there() -> None:
    assert {"monument", "tired"} <= english_words()
    assert "dropuot" not in english_words()
