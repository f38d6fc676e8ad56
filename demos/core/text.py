"""Text in the two languages of the learner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")


@dataclass(frozen=True)
class Text:
    """The same text in Chinese and English; `text["zh"]` picks one."""

    zh: str
    en: str

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
