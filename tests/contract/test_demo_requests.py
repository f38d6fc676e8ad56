"""Whoever asks for an experiment finds it: each demo is linked from a question, and a request in its own words leads there."""

from __future__ import annotations

import pytest

from demos.core.demo import Demo
from demos.core.registry import load_demos
from demos.core.text import Language
from tutor.chat import Tutor
from tutor.retriever import Decision

DEMOS = load_demos()
ASKED = {"zh": ("演示一下{}", "{}实验"), "en": ("show me {}", "{} demo")}

# What a learner calls an experiment, where its title alone would be another question's words.
CALLED: dict[str, dict[Language, str]] = {
    "exploding_rnn": {
        "zh": "RNN 梯度爆炸的警报",
        "en": "exploding gradients in an RNN",
    },  # the title's first part is gradient_flow's as well
    "memorization": {"en": "memorisation of random labels"},
}


def called(demo: Demo, language: Language) -> str:
    """The title's first part, or what the experiment is called instead."""
    title = demo.title[language].replace("：", ":").partition(":")[0]
    return CALLED.get(demo.id, {}).get(language, title)


@pytest.mark.parametrize("demo", DEMOS.values(), ids=DEMOS)
def test_a_question_links_to_it(demo: Demo, tutor: Tutor) -> None:
    links = [question.meta.demo for question in tutor.knowledge.questions.values() if question.meta.demo]
    assert any(link.id == demo.id and link.preset in demo.presets for link in links)


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("demo", DEMOS.values(), ids=DEMOS)
def test_a_request_finds_it(demo: Demo, language: Language, tutor: Tutor) -> None:
    for words in ASKED[language]:
        message = words.format(called(demo, language))
        turn = tutor.reply(message).turn
        offered = [question.meta.demo.id for question in tutor.questions(turn) if question.meta.demo]
        assert turn.decision is not Decision.ABSTAIN, message
        assert demo.id in offered, f"{message}: {turn.decision.value} {turn.question_ids}"
