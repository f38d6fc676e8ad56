"""One turn of a conversation, over a retriever that finds by keyword (see `sample.py`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sample import KEYWORDS
from tutor.chat import Conversation, MessageError, Turn, Tutor, check_message
from tutor.knowledge import KnowledgeBase
from tutor.retriever import Decision


def talk(tutor: Tutor, *messages: str) -> tuple[Turn, ...]:
    conversation = Conversation()
    for message in messages:
        conversation = tutor.reply(message, conversation).conversation
    return conversation.turns


def test_a_sure_match_is_answered(tiny_tutor: Tutor) -> None:
    reply = tiny_tutor.reply("  What is ReLU?\n")
    assert reply.turn == Turn("What is ReLU?", "What is ReLU?", "en", Decision.ANSWER, ("relu",), 1.0, sure=True)
    assert reply.turn.parts == (reply.turn,)
    assert reply.conversation == Conversation((reply.turn,))
    assert [question.id for question in tiny_tutor.questions(reply.turn)] == ["relu"]


def test_an_unsure_match_is_suggested_with_the_three_nearest(tiny_tutor: Tutor) -> None:
    (turn,) = talk(tiny_tutor, "behaviour of layers when testing")
    assert (turn.decision, turn.confidence) == (Decision.SUGGEST, 0.5)
    assert turn.question_ids == ("dropout-test", "dropout", "relu")


def test_what_is_not_covered_is_not_answered(tiny_tutor: Tutor) -> None:
    (turn,) = talk(tiny_tutor, "How do I bake bread?")
    assert (turn.decision, turn.question_ids, turn.confidence) == (Decision.ABSTAIN, (), 0.0)
    assert (turn.outside, tiny_tutor.outside_name(turn), turn.alternatives) == (None, None, ())


@pytest.mark.parametrize(
    ("message", "alternatives", "nearby"),
    [
        ("What is ReLU?", (), ["dropout-test", "dropout"]),  # sure: what is related
        ("dropout in testing", ("dropout", "relu"), ["dropout", "relu"]),  # two questions fit: the next nearest
    ],
)
def test_an_unsure_answer_has_alternatives(tiny_tutor: Tutor, message: str, alternatives: tuple[str, ...], nearby: list[str]) -> None:
    (turn,) = talk(tiny_tutor, message)
    assert (turn.decision, turn.sure, turn.alternatives) == (Decision.ANSWER, not alternatives, alternatives)
    assert [question.id for question in tiny_tutor.nearby(turn)] == nearby


def test_a_suggestion_has_no_alternatives(tiny_tutor: Tutor) -> None:
    (turn,) = talk(tiny_tutor, "behaviour of layers when testing")
    assert (turn.sure, turn.alternatives, turn.outside) == (False, (), None)


@pytest.mark.parametrize(("message", "name"), [("How do diffusion models work?", "diffusion models"), ("扩散模型的原理", "扩散模型")])
def test_a_topic_outside_is_named_with_the_nearest_questions(tiny_tutor: Tutor, message: str, name: str) -> None:
    (turn,) = talk(tiny_tutor, message)
    assert (turn.decision, turn.outside, tiny_tutor.outside_name(turn)) == (Decision.ABSTAIN, "diffusion-models", name)
    assert turn.question_ids == ("dropout-test", "dropout")


def test_a_topic_outside_that_is_gone_has_no_name(tiny_tutor: Tutor, folder: Path) -> None:
    (turn,) = talk(tiny_tutor, "How do diffusion models work?")
    (folder / "outside" / "diffusion-models.yaml").unlink()
    assert Tutor(KnowledgeBase.load(folder), tiny_tutor.retriever).outside_name(turn) is None


# Several questions in one message


@pytest.mark.parametrize(
    ("message", "parts", "found"),
    [
        ("What is dropout? What is ReLU?", ["What is dropout?", "What is ReLU?"], ["dropout", "relu"]),
        ("什么是 dropout？什么是 ReLU？", ["什么是 dropout？", "什么是 ReLU？"], ["dropout", "relu"]),
        ("1. What is ReLU?\n2. What is dropout?", ["What is ReLU?", "What is dropout?"], ["relu", "dropout"]),
        ("relu 是什么，dropout 怎么用", ["relu 是什么", "dropout 怎么用"], ["relu", "dropout"]),
        ("What is ReLU? What is dropout? And at test time?", None, ["relu", "dropout", "dropout-test"]),
    ],
)
def test_several_questions_are_answered_one_by_one(tiny_tutor: Tutor, message: str, parts: list[str] | None, found: list[str]) -> None:
    reply = tiny_tutor.reply(message)
    turn = reply.turn
    assert [part.question_ids for part in turn.parts] == [(name,) for name in found]
    assert parts is None or [part.part or part.message for part in turn.parts] == parts
    assert [part.turn for part in reply.further] == list(turn.further)
    assert all(part.further == () for part in turn.further)
    assert reply.conversation.turns == (turn,)


def test_a_part_may_follow_up_on_the_part_before(tiny_tutor: Tutor) -> None:
    (turn,) = talk(tiny_tutor, "What is dropout? What does it do in testing?")
    assert [(part.question_ids, part.follow_up) for part in turn.parts] == [(("dropout",), False), (("dropout-test",), True)]


def test_the_next_message_follows_up_on_the_last_part(tiny_tutor: Tutor) -> None:
    turns = talk(tiny_tutor, "What is ReLU? What is dropout?", "and at test time?")
    assert (turns[1].follow_up, turns[1].subject, turns[1].question_ids) == (True, "What is dropout?", ("dropout-test",))


@pytest.mark.parametrize("message", ["What is ReLU? Explain ReLU.", "什么是 ReLU？ReLU 是什么？", "What is ReLU? Why?"])
def test_the_same_question_twice_is_one_answer(tiny_tutor: Tutor, message: str) -> None:
    (turn,) = talk(tiny_tutor, message)
    assert (turn.message, turn.question_ids, turn.further) == (message, ("relu",), ())


def test_the_same_question_among_others_is_answered_once(tiny_tutor: Tutor) -> None:
    (turn,) = talk(tiny_tutor, "What is ReLU? What is dropout? Explain ReLU.")
    assert [part.question_ids for part in turn.parts] == [("relu",), ("dropout",)]


@pytest.mark.parametrize(
    "message",
    [
        "What is a test of bread? What is ReLU?",  # one part is unclear
        "What is ReLU? What is a test of bread?",
        "Bread? What is ReLU?",  # one is too short to mean anything
        "Explain a test of bread. How do I bake bread?",
        "What is dropout? What is ReLU? " * 3,  # too many to be cut
    ],
)
def test_a_message_without_two_clear_parts_is_left_whole(tiny_tutor: Tutor, message: str) -> None:
    (turn,) = talk(tiny_tutor, message)
    assert (turn.message, turn.further) == (message.strip(), ())


@pytest.mark.parametrize(
    ("message", "decisions"),
    [
        ("What is dropout? What is a test of bread? What is ReLU?", ["answer", "suggest", "answer"]),
        ("What is dropout? How do I bake bread?", ["answer", "abstain"]),
        ("How do I bake bread? What is ReLU?", ["abstain", "answer"]),
    ],
)
def test_beside_two_clear_parts_each_has_a_decision_of_its_own(tiny_tutor: Tutor, message: str, decisions: list[str]) -> None:
    (turn,) = talk(tiny_tutor, message)
    assert [part.decision.value for part in turn.parts] == decisions


def test_a_part_may_be_about_a_topic_outside(tiny_tutor: Tutor) -> None:
    (turn,) = talk(tiny_tutor, "What is dropout? How do diffusion models work?")
    assert [(part.decision, part.outside) for part in turn.parts] == [(Decision.ANSWER, None), (Decision.ABSTAIN, "diffusion-models")]


def test_two_parts_about_one_topic_outside_are_one(tiny_tutor: Tutor) -> None:
    (turn,) = talk(tiny_tutor, "How do diffusion models work? Why is diffusion that slow? What is ReLU?")
    assert [part.outside for part in turn.parts] == ["diffusion-models", None]


def test_the_record_of_several_questions(tiny_tutor: Tutor) -> None:
    record = tiny_tutor.record(tiny_tutor.reply("What is dropout? What is ReLU? What is diffusion?"))
    relu, diffusion = record["further"]
    assert (record["decision"], record["hits"][0]["id"], record["demo"]) == ("answer", "dropout", None)
    assert (relu["question"], relu["hits"][0]["id"], relu["demo"]) == ("What is ReLU?", "relu", {"id": "tiny", "preset": "small"})
    assert (diffusion["decision"], diffusion["outside"], diffusion["sure"]) == ("abstain", "diffusion-models", False)
    assert list(record) == list(relu) == list(diffusion)
    assert relu["further"] == diffusion["further"] == []
    assert relu == tiny_tutor.record(tiny_tutor.reply("What is ReLU?"))


def test_a_retry_asks_all_the_questions_of_the_message_again(tiny_tutor: Tutor) -> None:
    before = Conversation(talk(tiny_tutor, "What is dropout?"))
    reply = tiny_tutor.reply("What is ReLU? What is dropout?", before)
    assert tiny_tutor.reply(reply.turn.message, reply.conversation.without_last()).conversation == reply.conversation


@pytest.mark.parametrize("message", ["What is dropout?? What is ReLU??", "什么是 dropout？？什么是 ReLU？"])
def test_a_repeated_question_mark_is_no_question(tiny_tutor: Tutor, message: str) -> None:
    (turn,) = talk(tiny_tutor, message)
    assert [part.question_ids for part in turn.parts] == [("dropout",), ("relu",)]


def test_the_language_is_that_of_the_message_unless_given(tiny_tutor: Tutor) -> None:
    assert [turn.language for turn in talk(tiny_tutor, "relu 是什么", "What is ReLU?")] == ["zh", "en"]
    assert tiny_tutor.reply("What is ReLU?", language="zh").turn.language == "zh"


@pytest.mark.parametrize(
    ("subject", "message", "found"),
    [
        ("什么是 dropout？", "那测试的时候呢？", "dropout-test"),
        ("What is dropout?", "and at test time?", "dropout-test"),
        ("What is dropout?", "What does it do in testing?", "dropout-test"),
        ("什么是 dropout？", "它在测试时怎么做？", "dropout-test"),
        ("什么是 dropout？", "测试时怎么做？", "dropout-test"),  # points nowhere, but is unclear alone and clear together
        ("什么是 dropout？", "为什么？", "dropout"),
        ("What is dropout?", "why?", "dropout"),
        ("What is ReLU?", "Tell me more", "relu"),
        ("ReLU 是什么？", "举个例子", "relu"),
    ],
)
def test_a_follow_up_is_read_with_its_subject(tiny_tutor: Tutor, subject: str, message: str, found: str) -> None:
    before, turn = talk(tiny_tutor, subject, message)
    assert turn.follow_up
    assert (turn.message, turn.subject) == (message, subject)
    assert (turn.decision, turn.question_ids) == (Decision.ANSWER, (found,))
    assert turn.repeated == (before.question_ids == (found,))


def test_a_second_follow_up_keeps_the_subject(tiny_tutor: Tutor) -> None:
    turns = talk(tiny_tutor, "What is dropout?", "why?", "and at test time?")
    assert [turn.subject for turn in turns] == ["What is dropout?"] * 3
    assert turns[2].question_ids == ("dropout-test",)


def test_the_first_message_is_no_follow_up(tiny_tutor: Tutor) -> None:
    (turn,) = talk(tiny_tutor, "why?")
    assert (turn.follow_up, turn.decision) == (False, Decision.ABSTAIN)


@pytest.mark.parametrize(
    "message",
    [
        "What is ReLU?",
        "什么是 ReLU？",
        "Then there is another thing that I would like to know: what is ReLU?",
        "那么请完整地介绍一下 ReLU 这个激活函数的定义和它的优点",
    ],
)
def test_a_new_subject_is_no_follow_up(tiny_tutor: Tutor, message: str) -> None:
    turn = talk(tiny_tutor, "What is dropout?", message)[-1]
    assert (turn.follow_up, turn.subject, turn.question_ids) == (False, message, ("relu",))


@pytest.mark.parametrize("message", ["why ReLU?", "为什么用 ReLU？"])
def test_a_new_subject_that_opens_like_a_follow_up(tiny_tutor: Tutor, message: str) -> None:
    turn = talk(tiny_tutor, "What is dropout?", message)[-1]
    assert (turn.follow_up, turn.subject, turn.question_ids) == (False, message, ("relu",))


def test_what_is_unclear_with_the_subject_too_is_no_follow_up(tiny_tutor: Tutor) -> None:
    turn = talk(tiny_tutor, "layers in testing", "a test of layers")[-1]
    assert (turn.follow_up, turn.subject, turn.decision) == (False, "a test of layers", Decision.SUGGEST)


def test_an_unrelated_question_is_not_answered_with_the_subject_before(tiny_tutor: Tutor) -> None:
    turn = talk(tiny_tutor, "What is dropout?", "How do I bake bread?")[-1]
    assert (turn.follow_up, turn.decision) == (False, Decision.ABSTAIN)


def test_nothing_is_carried_past_an_abstention(tiny_tutor: Tutor) -> None:
    turns = talk(tiny_tutor, "What is dropout?", "How do I bake bread?", "why?")
    assert (turns[2].follow_up, turns[2].decision) == (False, Decision.ABSTAIN)


def test_a_retry_repeats_the_last_turn_after_those_before(tiny_tutor: Tutor) -> None:
    reply = tiny_tutor.reply("why?", Conversation(talk(tiny_tutor, "What is dropout?")))
    again = tiny_tutor.reply(reply.turn.message, reply.conversation.without_last())
    assert again.conversation == reply.conversation
    assert len(again.conversation.turns) == 2
    assert Conversation().without_last() == Conversation()


def test_conversations_do_not_influence_each_other(tiny_tutor: Tutor) -> None:
    first, second = Conversation(), Conversation()
    for mine, yours in [("What is dropout?", "什么是 ReLU？"), ("and at test time?", "为什么？")]:
        first = tiny_tutor.reply(mine, first).conversation
        second = tiny_tutor.reply(yours, second).conversation
    assert first.turns == talk(tiny_tutor, "What is dropout?", "and at test time?")
    assert second.turns == talk(tiny_tutor, "什么是 ReLU？", "为什么？")
    assert [turn.question_ids for turn in second.turns] == [("relu",), ("relu",)]


def test_a_question_can_be_shown_by_name(tiny_tutor: Tutor) -> None:
    before = Conversation(talk(tiny_tutor, "How do I bake bread?"))
    reply = tiny_tutor.show("dropout-test", "zh", before)
    title = "什么是 Dropout at test time？"
    assert reply.turn == Turn(title, title, "zh", Decision.ANSWER, ("dropout-test",), 1.0, sure=True)
    assert reply.conversation.turns == (*before.turns, reply.turn)
    assert reply.retrieval.hits[0].question_id == "dropout-test"
    assert tiny_tutor.reply("为什么？", reply.conversation).turn.question_ids == ("dropout-test",)
    with pytest.raises(KeyError):
        tiny_tutor.show("nothing", "zh", before)


def test_the_question_shown_is_the_first_hit_even_if_its_own_words_do_not_find_it(
    tiny_tutor: Tutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KEYWORDS, "relu", ["rectifier"])
    record = tiny_tutor.record(tiny_tutor.show("relu", "en", Conversation()))
    assert [hit["id"] for hit in record["hits"]] == ["relu", "dropout-test", "dropout"]
    assert (record["decision"], record["confidence"], record["sure"], record["outside"]) == ("answer", 1.0, True, None)


def test_the_record_of_an_answer(tiny_tutor: Tutor) -> None:
    assert tiny_tutor.record(tiny_tutor.reply("What is ReLU?")) == {
        "question": "What is ReLU?",
        "language": "en",
        "decision": "answer",
        "confidence": 1.0,
        "sure": True,
        "outside": None,
        "hits": [
            {"id": "relu", "section": "1.12", "score": 1.0},
            {"id": "dropout-test", "section": "1.111", "score": 0.0},
            {"id": "dropout", "section": "1.10", "score": 0.0},
        ],
        "demo": {"id": "tiny", "preset": "small"},
        "further": [],
    }


@pytest.mark.parametrize(
    ("message", "decision"),
    [
        ("What is dropout?", "answer"),
        ("a test of relu-like units", "answer"),
        ("a test", "suggest"),
        ("?", "abstain"),
        ("diffusion", "abstain"),
    ],
)
def test_a_record_always_has_the_same_keys(tiny_tutor: Tutor, message: str, decision: str) -> None:
    record = tiny_tutor.record(tiny_tutor.reply(message))
    assert list(record) == ["question", "language", "decision", "confidence", "sure", "outside", "hits", "demo", "further"]
    assert all(list(hit) == ["id", "section", "score"] for hit in record["hits"])
    assert (record["decision"], record["sure"]) == (decision, decision == "answer")
    assert record["outside"] == ("diffusion-models" if message == "diffusion" else None)
    assert (record["demo"] is None) == ("relu" not in message)


def test_a_suggestion_has_no_demo(tiny_tutor: Tutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEYWORDS, "relu", ["relu", "rectifier"])
    record = tiny_tutor.record(tiny_tutor.reply("What is ReLU?"))
    assert (record["decision"], record["hits"][0]["id"], record["demo"]) == ("suggest", "relu", None)


@pytest.mark.parametrize("message", ["", " ", "\n\t\u3000\xa0"])
def test_a_blank_message_is_refused(tiny_tutor: Tutor, message: str) -> None:
    with pytest.raises(MessageError, match="no question yet"):
        tiny_tutor.reply(message)


@pytest.mark.parametrize("message", [None, 5, ["What is ReLU?"], {"text": "What is ReLU?"}, b"What is ReLU?"])
def test_a_message_is_text(tiny_tutor: Tutor, message: Any) -> None:
    with pytest.raises(MessageError) as caught:
        tiny_tutor.reply(message)
    assert (caught.value.text.zh, caught.value.text.en) == ("问题必须是一段文字。", "A question must be text.")


def test_a_message_has_at_most_two_thousand_characters(tiny_tutor: Tutor) -> None:
    assert check_message("问" * 2000) == "问" * 2000
    assert check_message("  " + "a" * 2000 + "\n") == "a" * 2000
    with pytest.raises(MessageError) as caught:
        tiny_tutor.reply("问" * 2001)
    for text in (caught.value.text.zh, caught.value.text.en):
        assert re.findall(r"[\d,]+\d", text) == ["2,001", "2,000"]


@pytest.mark.parametrize(
    "message", ["why?", "Why", "tell me more", "give me an example", "in PyTorch?", "为什么", "举个例子", "有公式吗", "说得具体一点"]
)
def test_a_request_for_more_stays_on_the_question_answered_last(tiny_tutor: Tutor, message: str) -> None:
    *_, before, turn = talk(tiny_tutor, "What is dropout?", "and at test time?", message)
    assert before.question_ids == turn.question_ids == ("dropout-test",)
    assert (turn.decision, turn.follow_up, turn.repeated) == (Decision.ANSWER, True, True)


@pytest.mark.parametrize("message", ["why ReLU?", "为什么用 relu"])
def test_a_request_that_names_a_subject_is_read_by_that(tiny_tutor: Tutor, message: str) -> None:
    *_, turn = talk(tiny_tutor, "What is dropout?", message)
    assert turn.question_ids[0] == "relu"
