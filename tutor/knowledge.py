"""The knowledge base: every question of a folder, checked across files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tutor.question import LANGUAGES, Fault, Question, QuestionError, Text, parse_question

# The topics of the project, in the order in which they are shown.
TOPICS: Mapping[str, Text] = {
    "activations": Text(zh="激活与梯度", en="Activations and gradients"),
    "regularization": Text(zh="正则化", en="Regularisation"),
    "normalization": Text(zh="归一化与初始化", en="Normalisation and initialisation"),
    "optimization": Text(zh="优化", en="Optimisation"),
    "architectures": Text(zh="网络结构", en="Architectures"),
    "losses": Text(zh="损失与曲面", en="Losses and landscapes"),
    "hardware": Text(zh="硬件", en="Hardware"),
}

_CHUNK = {"zh": 110, "en": 300}  # characters of an indexed passage


class KnowledgeError(ValueError):
    """A folder from which nothing can be served."""


@dataclass(frozen=True)
class KnowledgeBase:
    """The questions that can be served, by id in order of section, and the faults of those that cannot."""

    questions: Mapping[str, Question]
    faults: tuple[Fault, ...]

    @classmethod
    def load(cls, folder: Path, demos: Mapping[str, Collection[str]] | None = None) -> KnowledgeBase:
        """Reads `folder/<topic>/<id>.md`. `demos` maps each known demo to its presets (None: links are not checked).

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
        faults += _cross_faults(parsed, {path.stem for path in paths}, demos)
        broken = {fault.path for fault in faults}
        served = sorted((question for question in parsed if question.path not in broken), key=_section_order)
        if not served:
            reasons = "\n".join(map(str, faults)) or "it holds no <topic>/<id>.md"
            raise KnowledgeError(f"nothing can be served from {folder}:\n{reasons}")
        return cls({question.id: question for question in served}, tuple(faults))

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


def _comparable(text: str) -> str:
    """The text without case, width and punctuation: what makes two questions the same."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())


def _cross_faults(questions: list[Question], ids: set[str], demos: Mapping[str, Collection[str]] | None) -> Iterator[Fault]:
    by_id: dict[str, Question] = {}
    indexed = {_comparable(text): question for question in questions for text in passages(question)}
    for question in questions:
        if question.topic not in TOPICS:
            yield Fault(question.path, 1, f"unknown topic {question.topic!r}; there are: {', '.join(TOPICS)}")
        if question.id in by_id:
            yield Fault(question.path, 1, f"the id {question.id!r} is taken by {by_id[question.id].path}")
        by_id[question.id] = question
        for language in LANGUAGES:
            for position, probe in enumerate(question.meta.probes[language]):
                if twin := indexed.get(_comparable(probe)):
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
