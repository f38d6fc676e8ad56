"""A labelled query: what somebody might ask, and what should be found for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from tutor.knowledge import KnowledgeBase
from tutor.question import LANGUAGES, Language

Kind = Literal["in", "near", "far"]
KINDS: tuple[Kind, ...] = get_args(Kind)
COLUMNS = ("lang", "kind", "sections", "query")


class LabelledQueryError(ValueError):
    """A file with rows that cannot be used; the message names file and line of each."""


@dataclass(frozen=True)
class LabelledQuery:
    """A query with its kind: `in` (an entry answers it), `near` (machine learning beyond the entries) or `far` (anything else).

    `answers` names the sections or ids any of which is right: some for `in`, none otherwise.
    """

    language: Language
    kind: Kind
    answers: tuple[str, ...]
    query: str

    def question_ids(self, knowledge: KnowledgeBase) -> frozenset[str]:
        """The ids of the right questions that the knowledge base holds."""
        return frozenset(
            question.id for question in knowledge.questions.values() if {question.id, question.meta.section} & set(self.answers)
        )


def load_labelled_queries(path: Path) -> list[LabelledQuery]:
    """Reads a TSV with the header lang, kind, sections, query; sections are section numbers or ids, separated by commas.

    Raises LabelledQueryError with every malformed row.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelledQueryError(f"{path}: cannot be read as UTF-8: {error}") from error
    if not lines or tuple(lines[0].split("\t")) != COLUMNS:
        raise LabelledQueryError(f"{path}:1: expected the header {', '.join(COLUMNS)}, separated by tabs")
    queries: list[LabelledQuery] = []
    faults: list[str] = []
    for number, line in enumerate(lines[1:], start=2):
        fields = [field.strip() for field in line.split("\t")]
        problems = list(_problems(fields))
        faults += [f"{path}:{number}: {problem}" for problem in problems]
        if not problems:
            language, kind, sections, query = fields
            answers = tuple(name.strip() for name in sections.split(",") if name.strip())
            queries.append(LabelledQuery(cast(Language, language), cast(Kind, kind), answers, query))
    if not queries and not faults:
        faults.append(f"{path}: holds no query")
    if faults:
        raise LabelledQueryError("\n".join(faults))
    return queries


def _problems(fields: list[str]) -> Iterator[str]:
    if len(fields) != len(COLUMNS):
        yield f"expected {len(COLUMNS)} columns separated by tabs, found {len(fields)}"
        return
    language, kind, sections, query = fields
    if language not in LANGUAGES:
        yield f"lang must be one of {', '.join(LANGUAGES)}, not {language!r}"
    if kind not in KINDS:
        yield f"kind must be one of {', '.join(KINDS)}, not {kind!r}"
    elif (kind == "in") != bool(sections.strip(", ")):
        yield "a query of kind 'in' needs sections" if kind == "in" else f"a query of kind {kind!r} has no sections"
    if not query:
        yield "the query is empty"
