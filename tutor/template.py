"""The template of a new question file, to be filled in."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from tutor.knowledge import TOPICS_FILE, load_topics
from tutor.question import HEADINGS, ID, LANGUAGES, SLUG
from tutor.retriever import detect_language

_MOST_WORDS = 6  # of an id made from a question
_EMPTY_WORDS = frozenset(
    "a an and are as at be by can do does for from how in is it its of on or should the to was what when which why with you your".split()  # noqa: SIM905
)


class TemplateError(ValueError):
    """A template that cannot be written; the message says why."""


def write_template(folder: Path, topic: str, question: str, name: str | None = None) -> Path:
    """Writes `folder/<topic>/<name>.md` with the question filled in; returns its path. Raises TemplateError.

    The lists are left empty on purpose: the validator refuses the file, line by line, until somebody has filled it in.
    """
    question = " ".join(question.split())
    if not question:
        raise TemplateError("the question is empty")
    if not re.fullmatch(SLUG, topic):
        raise TemplateError(f"the topic {topic!r} must be lower-case words joined by hyphens or underscores")
    topics, faults = load_topics(folder, [topic])
    if faults:
        raise TemplateError("\n".join(map(str, faults)))
    if topic not in topics:
        raise TemplateError(f"the topic {topic!r} is not in {folder / TOPICS_FILE}; there are: {', '.join(topics)} (or add it there)")
    name = name or _slug(question)
    if not re.fullmatch(ID, name):
        raise TemplateError("no id can be made from this question: give one with --id, lower-case words joined by hyphens")
    taken = next(folder.glob(f"*/{name}.md"), None)
    if taken is not None:
        raise TemplateError(f"the id {name} is taken by {taken}: give another with --id")
    path = folder / topic / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_content(question), encoding="utf-8")
    return path


def _slug(question: str) -> str:
    plain = unicodedata.normalize("NFKD", question).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain)
    return "-".join([word for word in words if word not in _EMPTY_WORDS][:_MOST_WORDS])


def _content(question: str) -> str:
    asked = detect_language(question)
    quoted = "'" + question.replace("'", "''") + "'"
    lines = [
        "---",
        "# Under # 中文 and # English: the short answer, one paragraph that stands alone. Then the full answer, then one item for each trap.",
        "question:",
    ]
    lines += [f"  {language}: {quoted if language == asked else ''}" for language in LANGUAGES]
    for key, meaning in (
        ("paraphrases", "at least 10 a language, one a line: other ways to ask; indexed, and trained on"),
        ("probes", "at least 4 a language, by somebody who has not read the paraphrases; held out for tests"),
        ("key_points", "what a complete answer must contain, one sentence each; as many in one language as in the other"),
    ):
        lines += [f"{key}:  # {meaning}", "  zh: []", "  en: []"]
    lines += [
        "# demo: {id: learning_rate_sweep, preset: textbook}  # the experiment that fits, if there is one",
        "related: []  # ids of other questions",
        "references: []  # - {title: '…', authors: '…', year: 2015, url: 'https://…'}",
        "---",
    ]
    for language in LANGUAGES:
        title, full, mistakes, _ = HEADINGS[language]
        lines += [f"# {title}", "", f"## {full}", "", f"## {mistakes}", ""]
    return "\n".join(lines)
