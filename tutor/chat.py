"""`Tutor.reply(message, conversation)`: one turn of a conversation. Knows no Gradio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutor.calibration import calibration_for
from tutor.config import Settings
from tutor.demo_request import subject_of_request
from tutor.encoder import load_encoder
from tutor.follow_up import asks_for_more, is_elliptic, names_no_subject, opens_with_connective, points_back
from tutor.knowledge import KnowledgeBase
from tutor.question import Language, Question, Text
from tutor.retriever import MAX_QUERY_CHARACTERS, Decision, Retrieval, Retriever
from tutor.several import possible_questions

_LONGEST = {"zh": 40, "en": 100}  # characters: a longer message is taken to stand alone
_LEANING = 0.05  # confidence by which a message that points back is more readily taken for a follow-up, and another one less
_SHORTEST = {"zh": 8, "en": 20}  # characters: what is shorter ("why?", "could you help?") may mean nothing by itself
_HOPELESS = 0.02  # confidence below which anything longer is certainly about something else
_SUGGESTED, _NEAREST = 3, 2  # questions offered for an unclear message, and beside an unsure answer or a topic outside


class MessageError(ValueError):
    """A message that cannot be answered; `text` says in both languages what is wrong."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text


@dataclass(frozen=True)
class Turn:
    """What was asked and what was shown for it.

    `question_ids` holds the question answered (ANSWER), those suggested (SUGGEST), or those nearest to a topic `outside` the questions
    (ABSTAIN; nothing if no such topic is known). `sure` marks an answer of high confidence; for another, `alternatives` are the next nearest
    questions. `subject` is the text that a follow-up builds on. `repeated` says that a follow-up led to the question shown last, so that the
    learner should see all of it. Of several questions in one message, `part` is the text of the first and `further` holds the turns of the
    others.
    """

    message: str
    subject: str
    language: Language
    decision: Decision
    question_ids: tuple[str, ...]
    confidence: float
    follow_up: bool = False
    repeated: bool = False
    sure: bool = False
    outside: str | None = None
    alternatives: tuple[str, ...] = ()
    part: str = ""
    further: tuple[Turn, ...] = ()

    @property
    def parts(self) -> tuple[Turn, ...]:
        """The turn of each question in the message, this one first."""
        return self, *self.further


@dataclass(frozen=True)
class Conversation:
    """The turns so far, oldest first."""

    turns: tuple[Turn, ...] = ()

    @property
    def last(self) -> Turn | None:
        """The turn that a follow-up refers to: of several questions in one message, the last."""
        return self.turns[-1].parts[-1] if self.turns else None

    def with_turn(self, turn: Turn) -> Conversation:
        return Conversation((*self.turns, turn))

    def without_last(self) -> Conversation:
        """The conversation before its last turn, for a retry."""
        return replace(self, turns=self.turns[:-1])


@dataclass(frozen=True)
class Reply:
    """The tutor's turn, what it was chosen from, the conversation that ends with it, and the replies to further questions of the message."""

    turn: Turn
    retrieval: Retrieval
    conversation: Conversation
    further: tuple[Reply, ...] = ()


class Tutor:
    """Answers from a knowledge base. Holds no conversation: what a visitor said comes in and goes out with each call."""

    def __init__(self, knowledge: KnowledgeBase, retriever: Retriever) -> None:
        self.knowledge = knowledge
        self.retriever = retriever

    @classmethod
    def load(cls, knowledge: KnowledgeBase, settings: Settings) -> Tutor:
        """Loads the encoder that the settings name and indexes the knowledge. Takes seconds; raises EncoderError, CalibrationError."""
        encoder = load_encoder(settings.encoder)
        calibration = calibration_for(settings.encoder, encoder, settings.cache)
        return cls(knowledge, Retriever.build(knowledge, encoder, calibration, settings.cache))

    def reply(self, message: object, conversation: Conversation = Conversation(), language: Language | None = None) -> Reply:
        """The best answer to `message` (1 … 2,000 characters) after `conversation`. Raises MessageError for anything else.

        Several questions in one message are answered one by one.
        """
        text = check_message(message)
        whole = self._answer(text, conversation, language)
        parts = possible_questions(text, whole.turn.language)
        replies = self._answer_each(parts, conversation, language) if len(parts) > 1 else []
        if len(replies) < 2:
            return whole
        first, *further = replies
        turn = replace(first.turn, message=text, part=first.turn.message, further=tuple(reply.turn for reply in further))
        return Reply(turn, first.retrieval, conversation.with_turn(turn), tuple(further))

    def show(self, question_id: str, language: Language, conversation: Conversation) -> Reply:
        """The reply for a question that was picked rather than typed. Raises KeyError for an unknown id."""
        text = self.knowledge.questions[question_id].meta.question[language]
        found = self.retriever.retrieve(text, language)
        hits = tuple(sorted(found.hits, key=lambda hit: hit.question_id != question_id))
        retrieval = replace(found, hits=hits, decision=Decision.ANSWER, confidence=1.0, sure=True, outside=None)
        turn = Turn(text, text, language, Decision.ANSWER, (question_id,), 1.0, sure=True)
        return Reply(turn, retrieval, conversation.with_turn(turn))

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
            "sure": turn.sure,
            "outside": turn.outside,
            "hits": hits,
            "demo": {"id": demo.id, "preset": demo.preset} if demo else None,
            "further": [self.record(part) for part in reply.further],
        }

    def questions(self, turn: Turn) -> list[Question]:
        """The questions that a turn shows."""
        return [self.knowledge.questions[name] for name in turn.question_ids]

    def nearby(self, turn: Turn) -> list[Question]:
        """What else to offer beside an answer: what the message may mean instead if the answer is not sure, else what is related."""
        if turn.alternatives:
            return [self.knowledge.questions[name] for name in turn.alternatives]
        return self.knowledge.related(self.questions(turn)[0])

    def outside_name(self, turn: Turn) -> str | None:
        """What the topic is called that a turn is about, if it is one that the questions do not cover."""
        topic = self.knowledge.outside.get(turn.outside or "")
        return topic.name[turn.language] if topic and topic.name else None

    def _answer(self, text: str, conversation: Conversation, language: Language | None) -> Reply:
        """The reply to one question, or to a request for an experiment, which is answered with the question that it belongs to."""
        alone = self.retriever.retrieve(text, language)
        if subject := subject_of_request(text, alone.language):
            found = self.retriever.retrieve(subject, alone.language)
            clearer = alone if found.decision is Decision.ABSTAIN else found
            return self._shown(text, subject, clearer, conversation, follow_up=False)
        previous = conversation.last
        carried = self._carried(text, alone, previous)
        if carried is not None and previous is not None:
            return self._shown(text, previous.subject, carried, conversation, follow_up=True)
        return self._shown(text, text, alone, conversation, follow_up=False)

    def _answer_each(self, parts: Sequence[str], conversation: Conversation, language: Language | None) -> list[Reply]:
        """The reply to each part, read after the parts before it; without those that ask nothing new.

        None at all unless two of them are clear: the message is one question, put in several sentences.
        """
        replies: list[Reply] = []
        for part in parts:
            reply = self._answer(part, conversation, language)
            conversation = conversation.with_turn(reply.turn)
            if not any(_says_the_same(reply.turn, other.turn) for other in replies):
                replies.append(reply)
        return replies if sum(_is_clear(reply.turn) for reply in replies) > 1 else []

    def _carried(self, message: str, alone: Retrieval, previous: Turn | None) -> Retrieval | None:
        """The retrieval of `message` after what was talked about before, if it is a follow-up; else None."""
        language = alone.language
        if previous is None or previous.decision is Decision.ABSTAIN or len(message) > _LONGEST[language]:
            return None
        more = previous.decision is Decision.ANSWER and asks_for_more(message, language)
        empty, elliptic = names_no_subject(message, language), is_elliptic(message, language)
        if alone.sure and not (more or empty or elliptic):
            return None
        after = self.retriever.retrieve(message, language, top_k=len(self.knowledge.questions), context=previous.subject)
        if more:
            return _on(previous, after)
        if empty or (elliptic and after.decision is not Decision.ABSTAIN):
            return after
        if alone.sure:
            return None
        depends = opens_with_connective(message, language) or points_back(message, language)
        if alone.decision is Decision.ABSTAIN:
            # "Why?" means nothing by itself; the weather is not what was talked about.
            elsewhere = _is_elsewhere(message, alone.confidence, language)
            follows = not elsewhere and (after.decision is Decision.ANSWER or (depends and after.decision is Decision.SUGGEST))
        else:
            follows = after.confidence > alone.confidence + (-_LEANING if depends else _LEANING)
        return after if follows else None

    def _shown(self, message: str, subject: str, retrieval: Retrieval, conversation: Conversation, follow_up: bool) -> Reply:
        counts = {Decision.ANSWER: 1, Decision.SUGGEST: _SUGGESTED, Decision.ABSTAIN: _NEAREST if retrieval.outside else 0}
        ids = tuple(hit.question_id for hit in retrieval.hits[: counts[retrieval.decision]])
        last = conversation.last
        shown_again = last is not None and (last.decision, last.question_ids) == (Decision.ANSWER, ids)
        repeated = follow_up and retrieval.decision is Decision.ANSWER and shown_again
        others = retrieval.hits[1 : 1 + _NEAREST] if retrieval.decision is Decision.ANSWER and not retrieval.sure else ()
        turn = Turn(
            message, subject, retrieval.language, retrieval.decision, ids, retrieval.confidence, follow_up, repeated,
            sure=retrieval.sure, outside=retrieval.outside, alternatives=tuple(hit.question_id for hit in others),
        )  # fmt: skip
        return Reply(turn, retrieval, conversation.with_turn(turn))


def _on(previous: Turn, retrieval: Retrieval) -> Retrieval:
    """The retrieval, staying on the question that was answered last."""
    hits = sorted(retrieval.hits, key=lambda hit: hit.question_id != previous.question_ids[0])
    if not hits or hits[0].question_id != previous.question_ids[0]:
        return retrieval
    return replace(retrieval, hits=tuple(hits), decision=Decision.ANSWER, confidence=previous.confidence, sure=previous.sure, outside=None)


def _says_the_same(turn: Turn, earlier: Turn) -> bool:
    """Whether a turn leads to what an earlier one of the same message showed."""
    return (turn.outside, turn.question_ids[:1]) == (earlier.outside, earlier.question_ids[:1])


def _is_clear(turn: Turn) -> bool:
    """Whether a turn stands for a question of its own: it has an answer, or is certainly about something else."""
    if turn.decision is Decision.ABSTAIN:
        named = turn.outside is not None and turn.confidence < _HOPELESS
        return named or _is_elsewhere(turn.message, turn.confidence, turn.language)
    return turn.decision is Decision.ANSWER


def _is_elsewhere(message: str, confidence: float, language: Language) -> bool:
    """Whether a message is certainly about something that is not covered, rather than too short to mean anything by itself."""
    return confidence < _HOPELESS and len(message) >= _SHORTEST[language]


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
