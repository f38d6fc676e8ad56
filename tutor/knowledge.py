"""The knowledge base: every question of a folder, checked across files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import RootModel

from tutor.outside import OutsideTopic, load_outside
from tutor.question import LANGUAGES, Question, QuestionError, Slug, Text, parse_question
from tutor.strict_yaml import Fault, read_yaml

TOPICS_FILE = "topics.yaml"

_CHUNK = {"zh": 110, "en": 300}  # characters of an indexed passage


class _Topics(RootModel[dict[Slug, Text]]):
    """Name by topic, in the order in which the topics are shown."""


class KnowledgeError(ValueError):
    """A folder from which nothing can be served."""


@dataclass(frozen=True)
class KnowledgeBase:
    """What can be served: questions by id in order of section, topics by folder, what lies outside by id; and the faults of the rest."""

    questions: Mapping[str, Question]
    topics: Mapping[str, Text]
    outside: Mapping[str, OutsideTopic]
    faults: tuple[Fault, ...]

    @classmethod
    def load(cls, folder: Path, demos: Mapping[str, Collection[str]] | None = None) -> KnowledgeBase:
        """Reads `folder/<topic>/<id>.md`, `folder/topics.yaml` (without it every sub-folder is a topic) and `folder/outside/*.yaml`.

        `demos` maps each known demo to its presets (None: links are not checked).

        A file with a fault is left out and its faults are listed. Raises KnowledgeError if nothing is left.
        """
        if not folder.is_dir():
            raise KnowledgeError(f"there is no knowledge folder at {folder}")
        paths = sorted(folder.glob("*/*.md"))
        parsed: list[Question] = []
        faults: list[Fault] = []
        for path in paths:
            try:
                parsed.append(parse_question(path, folder))
            except QuestionError as error:
                faults += error.faults
        topics, topic_faults = load_topics(folder, sorted({path.parent.name for path in paths}))
        outside, outside_faults = load_outside(folder)
        faults += topic_faults + outside_faults
        indexed = {comparable(text): question for question in parsed for text in passages(question)}
        faults += _cross_faults(parsed, indexed, topics, {path.stem for path in paths}, demos)
        faults += _outside_faults(parsed, indexed, outside)
        broken = {fault.path for fault in faults}
        served = sorted((question for question in parsed if question.path not in broken), key=_section_order)
        if not served:
            reasons = "\n".join(map(str, faults)) or "it holds no <topic>/<id>.md"
            raise KnowledgeError(f"nothing can be served from {folder}:\n{reasons}")
        sound = {topic.id: topic for topic in outside if topic.path not in broken}
        return cls({question.id: question for question in served}, topics, sound, tuple(faults))

    def related(self, question: Question) -> list[Question]:
        """The related questions that can be served."""
        return [self.questions[name] for name in question.meta.related if name in self.questions]


def passages(question: Question) -> list[str]:
    """The texts under which a question is indexed: never its probes."""
    texts: list[str] = []
    for language in LANGUAGES:
        texts.append(question.meta.question[language])
        texts += question.meta.paraphrases[language]
        texts += question.meta.key_points[language]
        answer = question.answers[language]
        for part in (answer.short, answer.full, answer.mistakes):
            texts += _chunks(plain_text(part), _CHUNK[language])
    return list(dict.fromkeys(texts))


def plain_text(markdown: str) -> str:
    """Markdown without code, display formulas and markup; inline formulas lose their dollar signs."""
    text = re.sub(r"```.*?```|\$\$.*?\$\$", " ", markdown, flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^\s*(?:#{1,6}|[-*+]|\d+\.|>)\s+|[*`$]|^\s*\|?[-:| ]+\|\s*$", "", text, flags=re.MULTILINE)
    return re.sub(r"[ \t]*\|[ \t]*", " ", text).strip()


def _chunks(text: str, size: int) -> Iterator[str]:
    """Whole sentences joined up to about `size` characters."""
    chunk = ""
    for sentence in re.split(r"(?<=[。！？；])|(?<=[.!?;])\s+|\n+", text):
        sentence = sentence.strip()
        if chunk and len(chunk) + len(sentence) > size:
            yield chunk
            chunk = ""
        chunk = f"{chunk} {sentence}".strip()
    if chunk:
        yield chunk


def _section_order(question: Question) -> tuple[bool, list[tuple[int, str]], str]:
    section = question.meta.section
    parts = [(int(number), letter) for number, letter in re.findall(r"(\d+)([a-z]?)", section or "")]
    # "1.111" is the missing 1.11 of the source document.
    return section is None, [(11, letter) if number == 111 else (number, letter) for number, letter in parts], question.id


def comparable(text: str) -> str:
    """The text without case, width and punctuation: what makes two questions the same."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", "", folded) or folded


def load_topics(folder: Path, folders: Sequence[str]) -> tuple[Mapping[str, Text], list[Fault]]:
    """The topics of the file; the folders under their own names if there is no file or it cannot be read."""
    by_folder = {name: Text(zh=name, en=name) for name in folders}
    path = folder / TOPICS_FILE
    if not path.is_file():
        return by_folder, []
    try:
        topics, _, faults = read_yaml(path.read_text(encoding="utf-8"), _Topics, TOPICS_FILE)
    except (OSError, UnicodeDecodeError) as error:
        topics, faults = None, [Fault(TOPICS_FILE, 1, f"cannot be read as UTF-8: {error}")]
    return topics.root if topics is not None and not faults else by_folder, faults


def _cross_faults(
    questions: list[Question],
    indexed: Mapping[str, Question],
    topics: Collection[str],
    ids: set[str],
    demos: Mapping[str, Collection[str]] | None,
) -> Iterator[Fault]:
    by_id: dict[str, Question] = {}
    for question in questions:
        if question.topic not in topics:
            yield Fault(question.path, 1, f"the topic {question.topic!r} is not in {TOPICS_FILE}; there are: {', '.join(topics)}")
        if question.id in by_id:
            yield Fault(question.path, 1, f"the id {question.id!r} is taken by {by_id[question.id].path}")
        by_id[question.id] = question
        for language in LANGUAGES:
            for position, probe in enumerate(question.meta.probes[language]):
                if twin := indexed.get(comparable(probe)):
                    line = question.line("probes", language, position)
                    yield Fault(question.path, line, f"this probe is also indexed, in {twin.path}")
        for position, name in enumerate(question.meta.related):
            if name not in ids or name == question.id:
                yield Fault(question.path, question.line("related", position), f"unknown related question {name!r}")
        link = question.meta.demo
        if link and demos is not None:
            if link.id not in demos:
                yield Fault(question.path, question.line("demo", "id"), f"unknown demo {link.id!r}; there are: {', '.join(demos)}")
            elif link.preset not in demos[link.id]:
                presets = ", ".join(demos[link.id])
                yield Fault(
                    question.path, question.line("demo", "preset"), f"demo {link.id} has no preset {link.preset!r}; there are: {presets}"
                )


def _outside_faults(questions: Iterable[Question], indexed: Mapping[str, Question], outside: Iterable[OutsideTopic]) -> Iterator[Fault]:
    """A text that a question is found by, or held out to be found by, does not lie outside."""
    inside = {**indexed} | {
        comparable(probe): question for question in questions for language in LANGUAGES for probe in question.meta.probes[language]
    }
    for topic in outside:
        for language in LANGUAGES:
            for position, text in enumerate(topic.texts[language]):
                if twin := inside.get(comparable(text)):
                    yield Fault(topic.path, topic.lines.get(("texts", language, position), 1), f"this text belongs to {twin.path}")
