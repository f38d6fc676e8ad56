"""A conversation as the messages of a chatbot, and as a Markdown document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from demos.core.demo import Demo
from demos.core.text import Language
from tutor.chat import Conversation, Decision, Turn, Tutor
from tutor.question import Question
from tutor.ui.strings import STRINGS

_NEARBY = 2  # questions offered beside an answer
# A backslash would not do for these: HTML knows none, and the chatbot takes \( and \[ for the start of a formula.
_REFERENCES = {character: f"&#{ord(character)};" for character in "<>&$()[]"}


def messages(conversation: Conversation, tutor: Tutor, demos: Mapping[str, Demo]) -> list[dict[str, Any]]:
    """User and assistant messages; the newest answer carries its buttons (values `demo:<id>/<preset>` and `ask:<id>`)."""
    shown: list[dict[str, Any]] = []
    for turn in conversation.turns:
        shown.append({"role": "user", "content": escape(turn.message)})
        shown.append({"role": "assistant", "content": _content(turn, tutor, folded=True)})
    if conversation.turns:
        shown[-1]["options"] = _options(conversation.turns[-1], tutor, demos)
    return shown


def document(conversation: Conversation, tutor: Tutor, language: Language) -> str:
    """The conversation as Markdown, everything unfolded."""
    parts = [f"# {STRINGS['title'][language]}"]
    for turn in conversation.turns:
        parts.append("> " + escape(turn.message).replace("\n", "\n> "))
        parts.append(_content(turn, tutor, folded=False))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """What a visitor typed, so that it shows as typed: no HTML, no Markdown, no formulas."""
    text = re.sub(r"[\\`*_{}\[\]()#+\-.!|~:=<>&$]", lambda found: _REFERENCES.get(found[0], "\\" + found[0]), text)
    # Indented text would become a block of code.
    return re.sub(r"^[ \t]+(?=\S)", lambda found: "&nbsp;" * len(found[0].expandtabs(4)), text, flags=re.MULTILINE)


def _content(turn: Turn, tutor: Tutor, folded: bool) -> str:
    """What is shown for a message: for each question in it, if it holds several."""
    if not turn.further:
        return _part(turn, tutor, folded)
    return "\n\n---\n\n".join(f"> {_quoted(part)}\n\n{_part(part, tutor, folded)}" for part in turn.parts)


def _quoted(turn: Turn) -> str:
    return escape(turn.part or turn.message).replace("\n", "\n> ")


def _part(turn: Turn, tutor: Tutor, folded: bool) -> str:
    language = turn.language
    questions = tutor.questions(turn)
    if turn.decision is Decision.ANSWER:
        return _card(questions[0], turn, folded)
    listed = "" if folded else "".join(f"\n- {question.meta.question[language]}" for question in questions)
    if turn.decision is Decision.SUGGEST:
        return STRINGS["suggest"][language] + listed
    if name := tutor.outside_name(turn):
        return STRINGS["outside"][language].format(name=name) + listed
    separator = "、" if language == "zh" else ", "
    return STRINGS["abstain"][language].format(topics=separator.join(text[language] for text in tutor.knowledge.topics.values()))


def _card(question: Question, turn: Turn, folded: bool) -> str:
    language, answer = turn.language, question.answers[turn.language]
    certain = STRINGS["confidence_high" if turn.sure else "confidence_fair"][language]
    notes = [certain] + ([STRINGS["understood_follow_up"][language]] if turn.follow_up else [])
    parts = [
        f"### {question.meta.question[language]}",
        f"*{' · '.join(notes)}*",
        answer.short,
        _section("answer_full", answer.full, language, folded, opened=turn.repeated),
        _section("answer_mistakes", answer.mistakes, language, folded),
        _section("answer_corrections", answer.corrections, language, folded) if answer.corrections else "",
        _section("answer_sources", _sources(question, language), language, folded),
    ]
    return "\n\n".join(part for part in parts if part)


def _section(name: str, content: str, language: Language, folded: bool, opened: bool = False) -> str:
    title = STRINGS[name][language]
    if not folded:
        return f"#### {title}\n\n{content}"
    return f"<details{' open' if opened else ''}><summary>{title}</summary>\n\n{content}\n\n</details>"


def _sources(question: Question, language: Language) -> str:
    lines = [f"- {reference.authors} ({reference.year}). [{reference.title}]({reference.url})" for reference in question.meta.references]
    if question.meta.section:
        lines.insert(0, "- " + STRINGS["source_section"][language].format(section=question.meta.section))
    return "\n".join(lines)


def _options(turn: Turn, tutor: Tutor, demos: Mapping[str, Demo]) -> list[dict[str, str]]:
    """Each experiment and each question once, the experiments first."""
    options: dict[str, str] = {}
    for part in turn.parts:
        link = tutor.questions(part)[0].meta.demo if part.decision is Decision.ANSWER else None
        if link and link.id in demos:
            label = STRINGS["run_experiment"][part.language].format(title=demos[link.id].title[part.language])
            options.setdefault(f"demo:{link.id}/{link.preset}", label)
    for part in turn.parts:
        questions = tutor.questions(part)
        if part.decision is Decision.ANSWER:
            questions = tutor.nearby(part)[: 1 if turn.further else _NEARBY]
        for question in questions:
            options.setdefault(f"ask:{question.id}", question.meta.question[part.language])
    return [{"value": value, "label": label} for value, label in options.items()]
