"""The held-out data of `tests/data`: nobody who wrote what is indexed or trained on has seen it, and nothing was tuned on it but one rule.

The rule for elliptic follow-ups was added after the errors of conversations.tsv had been read (`benchmarks/retrieval.md`).

strangers.tsv: what people ask in forums, interviews and exercises, in words of our own; messy.tsv: keywords, logs, traditional Chinese, odd widths,
typing errors, mixed languages; conversations.tsv: two or three turns each; several.tsv: messages with several questions, or with one that looks like it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

from tutor.chat import Conversation, Decision, Turn, Tutor
from tutor.config import ROOT
from tutor.labelled import LabelledQuery, load_labelled_queries
from tutor.question import Language

DATA = ROOT / "tests" / "data"
NOTHING = ("-",)  # the label of a turn that lies outside


class LabelledTurn(NamedTuple):
    """What is typed, and the questions any of which is right; NOTHING where no answer is."""

    language: Language
    answers: tuple[str, ...]
    message: str


def strangers() -> list[LabelledQuery]:
    return load_labelled_queries(DATA / "strangers.tsv")


def messy() -> list[tuple[str, LabelledQuery]]:
    """Each query with the kind of mess."""
    return [
        (kind, LabelledQuery(cast(Language, language), "in", _names(answers), _unescaped(query)))
        for kind, language, answers, query in _rows(DATA / "messy.tsv")
    ]


def conversations() -> list[list[LabelledTurn]]:
    found: dict[str, list[LabelledTurn]] = {}
    for name, language, answers, query in _rows(DATA / "conversations.tsv"):
        found.setdefault(name, []).append(LabelledTurn(cast(Language, language), _names(answers), _unescaped(query)))
    return list(found.values())


def several() -> list[tuple[Language, list[tuple[str, ...]], str]]:
    """Language, the right questions of each part, and the message."""
    rows = _rows(DATA / "several.tsv")
    return [
        (cast(Language, language), [_names(part) for part in answers.split("|")], _unescaped(query)) for language, answers, query in rows
    ]


def talk(tutor: Tutor, turns: Sequence[LabelledTurn]) -> list[tuple[LabelledTurn, Turn, bool]]:
    """Each turn of a conversation with the tutor's and whether it is right."""
    conversation = Conversation()
    held = []
    for labelled in turns:
        conversation = tutor.reply(labelled.message, conversation).conversation
        held.append((labelled, conversation.turns[-1], is_right(conversation.turns[-1], labelled.answers)))
    return held


def is_right(turn: Turn, answers: tuple[str, ...]) -> bool:
    """Whether the first question shown is a right one; where nothing is right, whether nothing is answered outright."""
    if answers == NOTHING:
        return turn.decision is not Decision.ANSWER
    return turn.decision is not Decision.ABSTAIN and bool(turn.question_ids) and turn.question_ids[0] in answers


def is_split_right(parts: Sequence[Turn], answers: Sequence[tuple[str, ...]]) -> bool:
    """Whether a message was cut into as many questions as it holds, each with its right answer."""
    return len(parts) == len(answers) and all(is_right(part, names) for part, names in zip(parts, answers, strict=True))


def _rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def _names(field: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in field.split(","))


def _unescaped(query: str) -> str:
    return query.replace("\\n", "\n")
