"""What the questions do not cover: named neighbouring topics and everyday matters, so that the tutor knows when to say no.

`knowledge/outside/<topic>.yaml`: `texts` holds ways to ask, by language; `name`, by language, completes "That is about …". A topic without
a name is nothing to do with the subject at all. The texts are indexed beside the questions' own: a query nearer to them is not answered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from tutor.question import ID, LANGUAGES, Line, Paraphrases, Text
from tutor.strict_yaml import Fault, Lines, Strict, read_yaml

FOLDER = "outside"


class Texts(Paraphrases):
    """Ways to ask, by language."""

    zh: list[Line] = Field(min_length=5)
    en: list[Line] = Field(min_length=5)


class _Content(Strict):
    name: Text | None = None
    texts: Texts


@dataclass(frozen=True)
class OutsideTopic:
    """A topic beyond the questions. `name` is None for everyday matters."""

    id: str
    path: str
    name: Text | None
    texts: Texts
    lines: Lines

    @property
    def all_texts(self) -> list[str]:
        return [text for language in LANGUAGES for text in self.texts[language]]


def load_outside(folder: Path) -> tuple[list[OutsideTopic], list[Fault]]:
    """The topics in `folder/outside/*.yaml` (none if there is no such folder), and the faults of those that cannot be used."""
    topics: list[OutsideTopic] = []
    faults: list[Fault] = []
    for path in sorted((folder / FOLDER).glob("*.yaml")):
        name = path.relative_to(folder).as_posix()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            faults.append(Fault(name, 1, f"cannot be read as UTF-8: {error}"))
            continue
        content, lines, found = read_yaml(text, _Content, name)
        if not re.fullmatch(ID, path.stem):
            found.append(Fault(name, 1, f"the id {path.stem!r} must be lower-case words joined by hyphens"))
        faults += found
        if content is not None and not found:
            topics.append(OutsideTopic(path.stem, name, content.name, content.texts, lines))
    return topics, faults
