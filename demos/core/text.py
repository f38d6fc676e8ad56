"""Text in the two languages of the learner."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

_PYTHON_POWER = re.compile(r"(?<![\w.])(\d(?:\.\d+)?)e([+-]\d\d+)")  # an exponent of two digits or more; nobody writes 1e-03 by hand
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _power_of_ten(match: re.Match[str]) -> str:
    power = "10" + str(int(match[2])).translate(_RAISED)
    return power if match[1] == "1" else f"{match[1]}×{power}"


@dataclass(frozen=True)
class Text:
    """The same text in Chinese and English; `text["zh"]` picks one. Numbers that Python formats as 4.7e-05 are read as 4.7×10⁻⁵."""

    zh: str
    en: str

    def __post_init__(self) -> None:
        for name in LANGUAGES:
            object.__setattr__(self, name, _PYTHON_POWER.sub(_power_of_ten, getattr(self, name)))

    def __getitem__(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en

    def __add__(self, other: Text) -> Text:
        return Text(self.zh + other.zh, self.en + other.en)

    def format(self, **values: object) -> Text:
        """`str.format` on both languages."""
        return Text(self.zh.format(**values), self.en.format(**values))


def joined(sentences: Iterable[Text]) -> Text:
    """Sentences one after the other: with a space between them in English, with none in Chinese."""
    told = list(sentences)
    return Text("".join(text.zh for text in told), " ".join(text.en.strip() for text in told if text.en.strip()))


def same(text: str) -> Text:
    """A text that reads alike in both languages: a symbol, a number, a name."""
    return Text(text, text)
