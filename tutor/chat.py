"""`Tutor.reply(message, conversation)`: one turn of a conversation. Knows no Gradio."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from tutor.calibration import calibration_for
from tutor.config import Settings
from tutor.encoder import load_encoder
from tutor.knowledge import KnowledgeBase
from tutor.question import Language, Question, Text
from tutor.retriever import MAX_QUERY_CHARACTERS, Decision, Retrieval, Retriever

# A message that only makes sense after the one before it: it opens with a connective, or points back with a pronoun.
_FOLLOW_UP = {
    "zh": re.compile(
        r"^(那|所以|但是|可是|不过|然后|还有|如果|要是|为什么|为啥|怎么|怎样|比如|例如|举个?例子|具体|详细|继续|再|换成|此外|公式|代码)|(它|这个|这样|这里|上面|刚才|前面)"
    ),
    "en": re.compile(
        r"^(and|but|so|then|ok|okay|what about|how about|what if|why|how so|how come|really|for example|e\.?g|more|tell me more|go on|continue|formula|code)\b"
        r"|\b(it|its|that|this|those|these|they|them|there)\b",
        re.IGNORECASE,
    ),
}
_SHORT = {"zh": 18, "en": 48}  # characters: a longer message is taken to stand alone
_CARRIED = 120  # characters of the subject that a follow-up inherits


class MessageError(ValueError):
    """A message that cannot be answered; `text` says in both languages what is wrong."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text


@dataclass(frozen=True)
class Turn:
    """What was asked and what was shown for it.

    `question_ids` holds the question answered (ANSWER), those suggested (SUGGEST) or nothing (ABSTAIN). `subject` is the text that a
    follow-up builds on. `repeated` says that a follow-up led to the question shown last, so that the learner should see all of it.
    """

    message: str
    subject: str
    language: Language
    decision: Decision
    question_ids: tuple[str, ...]
    confidence: float
    follow_up: bool = False
    repeated: bool = False


@dataclass(frozen=True)
class Conversation:
    """The turns so far, oldest first."""

    turns: tuple[Turn, ...] = ()

    def without_last(self) -> Conversation:
        """The conversation before its last turn, for a retry."""
        return replace(self, turns=self.turns[:-1])


@dataclass(frozen=True)
class Reply:
    """The tutor's turn, what it was chosen from, and the conversation that ends with it."""

    turn: Turn
    retrieval: Retrieval
    conversation: Conversation


class Tutor:
    """Answers from a knowledge base. Holds no conversation: what a visitor said comes in and goes out with each call."""

    def __init__(self, knowledge: KnowledgeBase, retriever: Retriever) -> None:
        self.knowledge = knowledge
        self.retriever = retriever

    @classmethod
    def load(cls, knowledge: KnowledgeBase, settings: Settings) -> Tutor:
        """Loads the encoder that the settings name and indexes the knowledge. Takes seconds; raises EncoderError, CalibrationError."""
        encoder = load_encoder(settings.encoder)
        calibration = calibration_for(settings.encoder, knowledge, encoder, settings.cache)
        return cls(knowledge, Retriever.build(knowledge, encoder, calibration, settings.cache))

    def reply(self, message: object, conversation: Conversation = Conversation(), language: Language | None = None) -> Reply:
        """The best answer to `message` (1 … 2,000 characters) after `conversation`. Raises MessageError for anything else."""
        text = check_message(message)
        alone = self.retriever.retrieve(text, language)
        previous = conversation.turns[-1] if conversation.turns else None
        carried = self._carried(text, alone, previous)
        if carried is not None and previous is not None:
            return self._reply(text, previous.subject, carried, conversation, follow_up=True)
        return self._reply(text, text, alone, conversation, follow_up=False)

    def show(self, question_id: str, language: Language, conversation: Conversation) -> Reply:
        """The reply for a question that was picked rather than typed. Raises KeyError for an unknown id."""
        text = self.knowledge.questions[question_id].meta.question[language]
        found = self.retriever.retrieve(text, language)
        hits = tuple(sorted(found.hits, key=lambda hit: hit.question_id != question_id))
        retrieval = replace(found, hits=hits, decision=Decision.ANSWER, confidence=1.0)
        turn = Turn(text, text, language, Decision.ANSWER, (question_id,), 1.0)
        return Reply(turn, retrieval, Conversation((*conversation.turns, turn)))

    def record(self, reply: Reply) -> dict[str, Any]:
        """The reply as the JSON object of the command line and of the API."""
        retrieval, turn = reply.retrieval, reply.turn
        hits = [
            {"id": hit.question_id, "section": self.knowledge.questions[hit.question_id].meta.section, "score": round(hit.score, 4)}
            for hit in retrieval.hits[:5]
        ]
        answered = self.knowledge.questions[turn.question_ids[0]] if turn.decision is Decision.ANSWER else None
        demo = answered.meta.demo if answered else None
        return {
            "question": turn.message,
            "language": turn.language,
            "decision": turn.decision.value,
            "confidence": round(turn.confidence, 4),
            "hits": hits,
            "demo": {"id": demo.id, "preset": demo.preset} if demo else None,
        }

    def questions(self, turn: Turn) -> list[Question]:
        """The questions that a turn shows."""
        return [self.knowledge.questions[name] for name in turn.question_ids]

    def _carried(self, message: str, alone: Retrieval, previous: Turn | None) -> Retrieval | None:
        """The retrieval of `message` together with what was talked about before, if it is a follow-up; else None."""
        if previous is None or not previous.question_ids:
            return None
        language = alone.language
        depends = len(message) <= _SHORT[language] and _FOLLOW_UP[language].search(message)
        if not depends and (alone.decision is not Decision.SUGGEST or len(message) > 2 * _SHORT[language]):
            return None
        together = self.retriever.retrieve(f"{previous.subject[:_CARRIED]} {message}"[:MAX_QUERY_CHARACTERS], language)
        if together.confidence <= alone.confidence:
            return None  # "why ReLU?" opens like a follow-up and names a subject of its own
        # A message that is unclear by itself without pointing back inherits the subject only for a certain answer.
        return together if depends or together.decision is Decision.ANSWER else None

    def _reply(self, message: str, subject: str, retrieval: Retrieval, conversation: Conversation, follow_up: bool) -> Reply:
        shown = {Decision.ANSWER: 1, Decision.SUGGEST: 3, Decision.ABSTAIN: 0}[retrieval.decision]
        ids = tuple(hit.question_id for hit in retrieval.hits[:shown])
        last = conversation.turns[-1] if conversation.turns else None
        shown_again = last is not None and (last.decision, last.question_ids) == (Decision.ANSWER, ids)
        repeated = follow_up and retrieval.decision is Decision.ANSWER and shown_again
        turn = Turn(message, subject, retrieval.language, retrieval.decision, ids, retrieval.confidence, follow_up, repeated)
        return Reply(turn, retrieval, Conversation((*conversation.turns, turn)))


def check_message(message: object) -> str:
    """The message without surrounding space. Raises MessageError if it is no text, blank, or over 2,000 characters."""
    if not isinstance(message, str):
        raise MessageError(Text(zh="问题必须是一段文字。", en="A question must be text."))
    text = message.encode("utf-8", "ignore").decode("utf-8").strip()  # half of a surrogate pair is no character
    if not text:
        raise MessageError(Text(zh="还没有输入问题。", en="There is no question yet: type one first."))
    if len(text) > MAX_QUERY_CHARACTERS:
        raise MessageError(
            Text(
                zh=f"问题太长：{len(text):,} 个字符，最多 {MAX_QUERY_CHARACTERS:,} 个。请删短后再发送。",
                en=f"The question is too long: {len(text):,} characters, at most {MAX_QUERY_CHARACTERS:,}. Shorten it and send it again.",
            )
        )
    return text


__all__ = ["Conversation", "Decision", "MessageError", "Reply", "Turn", "Tutor", "check_message"]
