"""Requests for an experiment, and what only begins like one."""

from __future__ import annotations

import pytest

from tutor.demo_request import subject_of_request


@pytest.mark.parametrize(
    ("message", "subject"),
    [
        ("show me momentum", "momentum"),
        ("Can you show me a demo of batch norm?", "batch norm"),
        ("demo of exploding gradients", "exploding gradients"),
        ("run the GPU benchmark", "GPU benchmark"),
        ("let me play with the dropout experiment!", "dropout"),
        ("batch norm experiment", "batch norm"),
        ("saddle points in action", "saddle points"),
        ("show that relu is better", None),
        ("run out of memory on gpu", None),
        ("show me how momentum works", None),
        ("why does momentum help", None),
        ("dropout", None),
        ("show me", None),
    ],
)
def test_english(message: str, subject: str | None) -> None:
    assert subject_of_request(message.replace("?", ""), "en") == subject


@pytest.mark.parametrize(
    ("message", "subject"),
    [
        ("演示一下鞍点", "鞍点"),
        ("帮我跑一下批量归一化的实验", "批量归一化"),
        ("想看看学习率太大的动画", "学习率太大"),
        ("来个 L1 稀疏的演示吧", "L1 稀疏"),
        ("dropout 实验", "dropout"),
        ("试试动量", "动量"),
        ("看 loss 变成 nan 怎么办", None),
        ("给我讲个笑话", None),
        ("动量为什么能加速", None),
        ("看看", None),
    ],
)
def test_chinese(message: str, subject: str | None) -> None:
    assert subject_of_request(message, "zh") == subject
