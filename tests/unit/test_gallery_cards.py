"""The gallery's cards, and what the stage is told of a run."""

from __future__ import annotations

import dataclasses
import json

import pytest

from demos.core.demo import Prediction
from demos.core.runner import run_demo
from demos.core.text import Text
from tests.unit.sample import DEMOS, TINY
from tutor.question import Text as Words
from tutor.results import Result
from tutor.ui import link
from tutor.ui.gallery import Gallery
from tutor.ui.shown import Shown, run_label, scored, tell

TOPICS = {"activations": Words(zh="激活", en="Activations"), "losses": Words(zh="损失", en="Losses")}
SMALL = link.of_preset(TINY, "small")


def value(language: str, results: list[Result]) -> dict[str, object]:
    return json.loads(Gallery(DEMOS, TOPICS).value(language, results))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_card_is_found_by_words_of_both_languages(language: str) -> None:
    data = value(language, [])
    (card,) = data["cards"]
    assert data["topics"] == [{"id": "losses", "name": TOPICS["losses"][language]}]  # no tab without an experiment
    assert card["title"] == TINY.title[language] and card["status"] is None and card["href"] == f"?demo=tiny&lang={language}"
    for word in ("tiny experiment", "小实验", "乘积", "large"):
        assert word in card["words"]


def test_the_badge_is_the_default_presets_and_the_table_has_all() -> None:
    both = {"zh": "乘积: 2", "en": "Product: 2"}
    runs = [
        Result("tiny", preset, 0, status, both, both, "d", 1.0, "now")
        for preset, status in (("large", "same_direction"), ("small", "reproduced"))
    ]
    gone = [Result("removed", "x", 0, "reproduced", both, both, "d", 1.0, "now")]
    data = value("zh", [*runs, *gone])
    assert data["cards"][0]["status"] == "reproduced"
    assert [(row["preset"], row["status"], row["measured"]) for row in data["results"]] == [
        ("大", "same_direction", "乘积: 2"),
        ("小", "reproduced", "乘积: 2"),
    ]


def after() -> Prediction:
    return Prediction(Text("哪一个？", "Which?"), {"yes": Text("是", "Yes"), "no": Text("否", "No")}, after=True)


def finished() -> Shown:
    *_, frame = run_demo(TINY, TINY.parameters.parse(SMALL.values), "cpu")
    return Shown(SMALL, after(), None, 1.0, frame, "done")


def test_a_prediction_after_the_run_keeps_the_verdict_back() -> None:
    shown = finished()
    told = json.loads(tell(shown, DEMOS, {}, "en"))
    assert shown.asks and "verdict" not in told and "figures" not in told
    answered = dataclasses.replace(shown, guess="no")
    told = json.loads(tell(answered, DEMOS, scored({}, answered), "en"))
    assert not answered.asks and told["verdict"]["status"] == "reproduced" and told["figures"]
    assert "You predicted" in told["verdict"]["prediction"] and "Score: 0 of 1" in told["verdict"]["prediction"]


def test_the_score_counts_rounds_and_survives_what_a_browser_may_hold() -> None:
    shown = dataclasses.replace(finished(), guess="yes")
    score = scored({"tiny": [2, 5], "other": [1, 1]}, shown)
    assert score == {"tiny": [3, 6], "other": [1, 1]}
    for broken in (None, [], "x", {"tiny": [1]}, {"tiny": ["a", 2]}, {"tiny": [-1, 3]}):
        assert scored(broken, shown) == {"tiny": [1, 1]}


def test_a_run_is_called_by_its_preset_its_changes_and_its_seed() -> None:
    changed = dataclasses.replace(SMALL, values=SMALL.values | {"rate": 0.25}, seed=9)
    assert run_label(SMALL, TINY, "en") == "Small · Random seed 0"
    assert run_label(changed, TINY, "zh").startswith("小 · ") and "= 0.25" in run_label(changed, TINY, "zh")
    assert run_label(changed, TINY, "zh").endswith("随机种子 9")
