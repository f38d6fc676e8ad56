"""The evidence of the words, by hand."""

from __future__ import annotations

import math

import pytest

from tutor.words import WordEvidence, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What is BatchNorm2d?", {"what", "is", "batchnorm2d"}),
        ("梯度消失", {"梯度", "度消", "消失"}),
        ("梯", {"梯"}),
        ("ＢＮ 在 eval 時", {"bn", "在", "eval", "时"}),  # full width, traditional
        ("a 7 ？", set()),  # neither single letters nor digits are words
        ("", set()),
    ],
)
def test_words_are_latin_words_and_pairs_of_chinese_characters(text: str, found: set[str]) -> None:
    assert words(text) == found


def test_the_ratio_is_the_mean_log_likelihood_ratio() -> None:
    evidence = WordEvidence(["relu layer", "dropout layer"], ["cake layer", "cake", "rice", "soup"])
    # (count + 0.5) / texts, inside over outside
    layer = math.log((2.5 / 2) / (1.5 / 4))
    cake = math.log((0.5 / 2) / (2.5 / 4))
    assert evidence.ratio("layer") == pytest.approx(layer)
    assert evidence.ratio("Layer cake") == pytest.approx((layer + cake) / 2)
    assert evidence.ratio("cake") < 0 < evidence.ratio("dropout")


def test_a_word_is_counted_once_a_text_and_once_a_query() -> None:
    evidence = WordEvidence(["relu relu relu"], ["cake"])
    assert evidence.ratio("relu relu") == evidence.ratio("relu") == pytest.approx(math.log(1.5 / 0.5))


def test_without_words_there_is_no_evidence() -> None:
    assert WordEvidence(["relu"], ["cake"]).ratio("？？ 7") == 0
