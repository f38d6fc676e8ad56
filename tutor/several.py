"""Several questions in one message: where it may be cut. Whether the parts are really different questions is for the answers to say."""

from __future__ import annotations

import re

MOST = 5  # questions of one message

_ASKING_ZH = r"什么|怎么|怎样|如何|为何|为啥|为什么|多少|多大|多久|哪|吗|呢|是否|能不能|可不可以|是不是|要不要|有没有|区别|谁|几|干嘛|啥|咋"
_ASKING_EN = (
    r"how|what|why|when|which|where|who|is|are|do|does|did|can|could|should|would|will|explain|tell|define|compare|describe|list|give"
)
_ASKS = {
    "zh": re.compile(_ASKING_ZH),
    "en": re.compile(rf"^\W*(?:(?:and|but|so|also|then|or|plus|please)\W+)*(?:{_ASKING_EN})\b", re.IGNORECASE),
}

# The end of a sentence or a line; the number or bullet of the next item of a list.
_SENTENCES = re.compile(r"(?<=[？！。；?!;])(?![？！。；?!;])\s*|(?<=[.])\s+(?=[A-Z(])|[\r\n]+")
_ITEM = re.compile(r"^\s*(?:\(?\d{1,2}[.)、）:：](?!\d)|[①-⑨]|[-*•])\s*|(?<=\s)\(?\d[)）、]\s*|[①-⑨]\s*")
# Inside a sentence: a joint with a question on either side.
_JOINTS = {
    "zh": re.compile(r"[，,、；]?\s*(?:以及|还有|另外|此外|并且|而且|顺便问一?下?|顺便|再问一?下?|同时|然后)[，,]?\s*|[，,]\s*"),
    "en": re.compile(
        rf"[,;]?\s+(?:and|or|also|plus|then)\s+(?:also\s+)?(?=(?:{_ASKING_EN})\b)|[,;]\s+(?=(?:{_ASKING_EN})\b)", re.IGNORECASE
    ),
}


def possible_questions(text: str, language: str) -> list[str]:
    """The text cut into what may be separate questions, in order; one item if it cannot be cut.

    What asks nothing ("My loss is flat.") stays with the question after it, or with the last one at the end.
    """
    sentences = [item for sentence in _SENTENCES.split(text) if sentence for item in _ITEM.split(sentence)]
    pieces = [piece.strip() for sentence in sentences for piece in _cut_at_joints(sentence, language)]
    questions: list[str] = []
    waiting = ""
    for piece in pieces:
        if not any(character.isalnum() for character in piece):
            continue
        if _asks(piece, language):
            questions.append(f"{waiting} {piece}".strip())
            waiting = ""
        else:
            waiting = f"{waiting} {piece}".strip()
    if waiting and questions:
        questions[-1] = f"{questions[-1]} {waiting}"
    return questions if 1 < len(questions) <= MOST else [text]


def _asks(piece: str, language: str) -> bool:
    return piece.rstrip().endswith(("?", "？")) or _ASKS[language].search(piece) is not None


def _cut_at_joints(sentence: str, language: str) -> list[str]:
    """The parts between joints that have a question on either side."""
    parts: list[str] = []
    start = 0
    for joint in _JOINTS[language].finditer(sentence):
        before, after = sentence[start : joint.start()], sentence[joint.end() :]
        if _asks(before, language) and _asks(after, language):
            parts.append(before)
            start = joint.end()
    return [*parts, sentence[start:]]
