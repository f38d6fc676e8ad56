"""Where a message is cut into questions, and where it is not."""

from __future__ import annotations

import time

import pytest

from tutor.several import MOST, possible_questions

CUT = {
    "zh": [
        ("什么是 dropout？什么是 BN？", ["什么是 dropout？", "什么是 BN？"]),
        ("什么是 dropout?什么是 BN?", ["什么是 dropout?", "什么是 BN?"]),
        ("什么是过拟合？\n\n\n什么是欠拟合？", ["什么是过拟合？", "什么是欠拟合？"]),
        ("什么是过拟合\r\n什么是欠拟合", ["什么是过拟合", "什么是欠拟合"]),
        ("dropout 是什么，BN 又是什么", ["dropout 是什么", "BN 又是什么"]),
        ("为什么用 ReLU 以及 Adam 怎么调", ["为什么用 ReLU", "Adam 怎么调"]),
        ("为什么用 ReLU？另外，Adam 怎么调？", ["为什么用 ReLU？", "另外，Adam 怎么调？"]),
        ("BN 有什么用，什么时候用，顺便问一下怎么实现", ["BN 有什么用", "什么时候用", "怎么实现"]),
        ("1. 什么是 BN？\n2. 什么是 LN？", ["什么是 BN？", "什么是 LN？"]),
        ("1、什么是 BN\n2、什么是 LN\n3、dropout 怎么用", ["什么是 BN", "什么是 LN", "dropout 怎么用"]),
        ("①什么是 BN\n②什么是 LN", ["什么是 BN", "什么是 LN"]),
        ("（1）什么是 BN？（2）什么是 LN？", None),  # the brackets may stay: only the number of questions counts
    ],
    "en": [
        ("What is dropout? What is ReLU?", ["What is dropout?", "What is ReLU?"]),
        ("what is dropout?what is relu?", ["what is dropout?", "what is relu?"]),
        ("What is dropout and how does BN work?", ["What is dropout", "how does BN work?"]),
        ("why relu, and what is dropout", ["why relu", "what is dropout"]),
        ("How do I train, do I need a GPU?", ["How do I train", "do I need a GPU?"]),
        ("Explain dropout. Then compare SGD and Adam.", ["Explain dropout.", "Then compare SGD and Adam."]),
        ("What is dropout\nWhat is ReLU", ["What is dropout", "What is ReLU"]),
        ("1. What is BN?\n2. What is LN?", ["What is BN?", "What is LN?"]),
        ("1) what is BN\n2) what is LN\n3) why ReLU", ["what is BN", "what is LN", "why ReLU"]),
        ("What is dropout?? What is ReLU?!", ["What is dropout??", "What is ReLU?!"]),
        ("- what is BN\n- what is LN", ["what is BN", "what is LN"]),
        ("Why flat after epoch 3. What now?", ["Why flat after epoch 3.", "What now?"]),
        ("(1) What is BN (2) what is LN", ["What is BN", "what is LN"]),
    ],
}


@pytest.mark.parametrize(("language", "text", "parts"), [(language, *case) for language, cases in CUT.items() for case in cases])
def test_several_questions_are_cut_apart(language: str, text: str, parts: list[str] | None) -> None:
    found = possible_questions(text, language)
    assert len(found) == 2 if parts is None else found == parts


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("zh", "什么是 dropout？"),
        ("zh", "BN 和 LN 有什么区别"),
        ("zh", "学习率 0.1 和 0.01 有什么区别？"),
        ("zh", "请问 0.5 的 dropout 是不是太大"),
        ("zh", "训练集上很好，测试集上很差，为什么？"),
        ("zh", "梯度消失，梯度爆炸，以及它们的解决办法"),
        ("zh", "今天天气不错。我想学习。"),
        ("zh", "1) BN 2) LN"),
        ("en", "What is the difference between SGD and Adam?"),
        ("en", "Which is better, Adam or SGD?"),
        ("en", "Explain dropout and batch norm"),
        ("en", "Is a rate of 0.5 too high?"),
        ("en", "What is e.g. dropout?"),
        ("en", "I think, therefore what I am is clear"),
        ("en", "What is ReLU?!"),
        ("en", "Why??"),
        ("zh", "为什么？？！"),
        ("en", "Why is the loss flat after epoch 3. I see no reason"),
        ("en", "It trains. It does not test."),
    ],
)
def test_one_question_is_left_whole(language: str, text: str) -> None:
    assert possible_questions(text, language) == [text]


@pytest.mark.parametrize(
    ("language", "text", "parts"),
    [
        ("zh", "我的损失不下降。怎么办？学习率怎么调？", ["我的损失不下降。 怎么办？", "学习率怎么调？"]),
        ("zh", "怎么办？为什么？我用的是 Adam。", ["怎么办？", "为什么？ 我用的是 Adam。"]),
        (
            "en",
            "My loss is flat. I use ReLU. What should I do? Is the rate too low?",
            ["My loss is flat. I use ReLU. What should I do?", "Is the rate too low?"],
        ),
        ("en", "Why is it flat? The rate is 0.1. Is that too low?", ["Why is it flat?", "The rate is 0.1. Is that too low?"]),
        ("en", "What is BN? What is LN? Thank you.", ["What is BN?", "What is LN? Thank you."]),
    ],
)
def test_what_asks_nothing_stays_with_its_question(language: str, text: str, parts: list[str]) -> None:
    assert possible_questions(text, language) == parts


@pytest.mark.parametrize(("language", "question"), [("zh", "什么是 BN？"), ("en", "What is BN? ")])
def test_more_than_five_questions_are_not_cut(language: str, question: str) -> None:
    assert MOST == 5
    assert possible_questions(question * 5, language) == [question.strip()] * 5
    assert possible_questions(question * 6, language) == [question * 6]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize(
    "text", ["", " ", "\n\n", "？", "?", "!!!", "。", "，，，", "1.", "1. 2. 3.", "😀", "\x00", "and", "以及", ", and what"]
)
def test_odd_input_is_left_whole(language: str, text: str) -> None:
    assert possible_questions(text, language) == [text]


UNITS = [
    "?",
    "？",
    "，",
    ",",
    "!",
    " ",
    " \t",
    "\n",
    "1. ",
    "①",
    "什么，",
    "，什么",
    "what, ",
    " and what ",
    " and ",
    "or also ",
    "然后",
    "a",
    "(",
]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("unit", UNITS)
def test_the_longest_message_takes_less_than_a_second(language: str, unit: str) -> None:
    text = (unit * 2000)[:2000]
    start = time.process_time()
    assert possible_questions(text, language) == [text]
    assert time.process_time() - start < 1
