"""A question of the knowledge base and the strict parser of its file: every fault names file and line.

The format is described in `knowledge/README.md`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tutor.strict_yaml import Fault, Lines, Strict, read_yaml

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

HEADINGS = {
    "zh": ("中文", "完整回答", "易错点", "原文勘误"),
    "en": ("English", "Full answer", "Common mistakes", "Corrections to the source"),
}

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
ID = r"[a-z0-9]+(?:-[a-z0-9]+)*"  # of a question or an outside topic: the stem of its file
SLUG = r"[a-z0-9]+(?:[-_][a-z0-9]+)*"  # of a topic or a demo
Slug = Annotated[str, StringConstraints(pattern=f"^{SLUG}$")]


class QuestionError(ValueError):
    """A question file that cannot be served; `faults` lists every reason."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


class Text(Strict):
    """One text in both languages; `text["zh"]` picks one."""

    zh: Line
    en: Line

    def __getitem__(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en


class Paraphrases(Strict):
    """Other ways to ask, by language: indexed, and trained on."""

    zh: list[Line] = Field(min_length=10)
    en: list[Line] = Field(min_length=10)

    def __getitem__(self, language: Language) -> list[str]:
        return self.zh if language == "zh" else self.en


class Probes(Paraphrases):
    """Held-out ways to ask, by language: read by tests and benchmarks only."""

    zh: list[Line] = Field(min_length=4)
    en: list[Line] = Field(min_length=4)


class KeyPoints(Paraphrases):
    """What a complete answer must contain, one sentence each, the same points in both languages."""

    zh: list[Line] = Field(min_length=2)
    en: list[Line] = Field(min_length=2)


class DemoLink(Strict):
    """The experiment that answers the question, and the preset that fits."""

    id: Slug
    preset: Slug


class Reference(Strict):
    """A source that a reader can open."""

    title: Line
    authors: Line
    year: int = Field(ge=1600, le=2100)
    url: Annotated[str, StringConstraints(pattern=r"^https://\S+$")]


class FrontMatter(Strict):
    """The metadata above the answer."""

    section: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+[a-z]?$")] | None = None
    question: Text
    paraphrases: Paraphrases
    probes: Probes
    key_points: KeyPoints
    demo: DemoLink | None = None
    related: list[Slug]
    references: list[Reference] = Field(min_length=1)


@dataclass(frozen=True)
class Answer:
    """The answer in one language, as Markdown."""

    short: str
    full: str
    mistakes: str
    corrections: str | None


@dataclass(frozen=True)
class Question:
    """One question with its answers. `meta` is the front matter, `answers` the body by language."""

    id: str
    topic: str
    path: str
    meta: FrontMatter
    answers: dict[Language, Answer]
    lines: Lines

    def line(self, *location: Hashable) -> int:
        """The line of a key of the front matter, for messages."""
        return self.lines.get(location, 1)


def parse_question(path: Path, folder: Path) -> Question:
    """The question in `folder/<topic>/<id>.md`. Raises QuestionError with every fault found."""
    name = path.relative_to(folder).as_posix()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise QuestionError([Fault(name, 1, f"cannot be read as UTF-8: {error}")]) from error
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    if match is None:
        raise QuestionError([Fault(name, 1, "no front matter: the file must start with --- and close it with --- on a line of its own")])
    body_line = text[: match.end()].count("\n") + 1
    meta, lines, faults = _front_matter(match.group(1), name)
    answers, body_faults = _body(text[match.end() :], name, body_line)
    faults += body_faults
    if not re.fullmatch(ID, path.stem):
        faults.append(Fault(name, 1, f"the id {path.stem!r} must be lower-case words joined by hyphens"))
    if faults or meta is None:
        raise QuestionError(faults)
    return Question(path.stem, path.parent.name, name, meta, answers, lines)


def _front_matter(text: str, name: str) -> tuple[FrontMatter | None, Lines, list[Fault]]:
    meta, lines, faults = read_yaml(text, FrontMatter, name, first_line=2)
    if meta is not None and len(meta.key_points.zh) != len(meta.key_points.en):
        faults.append(Fault(name, lines["key_points",], "key_points: not as many in one language as in the other"))
    return meta, lines, faults


def _body(text: str, name: str, first_line: int) -> tuple[dict[Language, Answer], list[Fault]]:
    parts, faults = _split_headings(text, name, first_line)
    titles = [(level, title) for level, title, _, _ in parts]
    corrected = (2, HEADINGS["zh"][3]) in titles or (2, HEADINGS["en"][3]) in titles
    expected = [
        (1 if position == 0 else 2, heading)
        for language in LANGUAGES
        for position, heading in enumerate(HEADINGS[language][: 4 if corrected else 3])
    ]
    for position, wanted in enumerate(expected):
        if position >= len(titles) or titles[position] != wanted:
            line = parts[position][2] if position < len(parts) else first_line + text.count("\n")
            found = repr(titles[position][1]) if position < len(titles) else "the end of the file"
            faults.append(Fault(name, line, f"expected the heading {'#' * wanted[0]} {wanted[1]}, found {found}"))
            return {}, faults
    if len(titles) > len(expected):
        faults.append(Fault(name, parts[len(expected)][2], f"unexpected heading {titles[len(expected)][1]!r}"))
    for _, title, line, content in parts:
        if not content:
            faults.append(Fault(name, line, f"nothing stands under {title!r}"))
    size = len(expected) // 2
    answers: dict[Language, Answer] = {}
    for language, start in zip(LANGUAGES, (0, size), strict=True):
        texts = [content for _, _, _, content in parts[start : start + size]]
        answers[language] = Answer(texts[0], texts[1], texts[2], texts[3] if corrected else None)
    return answers, faults


def _split_headings(text: str, name: str, first_line: int) -> tuple[list[tuple[int, str, int, str]], list[Fault]]:
    """(level, title, line, content) of each # and ## heading outside code, and the faults of fences and dollar signs."""
    parts: list[tuple[int, str, int, list[str]]] = []
    faults: list[Fault] = []
    fence_line: int | None = None
    block: list[str] = []  # the lines of the current paragraph, code removed
    block_line = first_line
    for line, content in enumerate([*text.split("\n"), ""], start=first_line):
        if re.match(r"\s*```", content):
            fence_line = line if fence_line is None else None
        elif fence_line is None:
            block_line = block_line if block else line
            block.append(re.sub(r"`[^`]*`", "", content).replace(r"\$", ""))
            if not content.strip():
                if "".join(block).count("$") % 2:
                    faults.append(Fault(name, block_line, "unbalanced $ in this paragraph"))
                block = []
            heading = re.fullmatch(r"(#{1,2}) (.+?)\s*", content)
            if heading:
                parts.append((len(heading.group(1)), heading.group(2), line, []))
                continue
        if parts:
            parts[-1][3].append(content)
        elif content.strip():
            faults.append(Fault(name, line, "text before the first heading"))
    if fence_line is not None:
        faults.append(Fault(name, fence_line, "this code fence is never closed"))
    return [(level, title, line, "\n".join(content).strip()) for level, title, line, content in parts], faults
