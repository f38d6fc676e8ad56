"""Charts as plain data."""

from __future__ import annotations

import json
import math

import pytest

from demos.core.charts import Axis, BarChart, Bars, Line, LineChart, Rule, to_data
from demos.core.text import Text, same

LOSS = Text("损失", "Loss")


@pytest.mark.parametrize(
    ("x", "y", "low", "high"),
    [
        ([1, 2], [1], [], []),
        ([1], [1, 2], [], []),
        ([1, 2], [1, 2], [0], [3]),
        ([1, 2], [1, 2], [0, 0], [3]),
        ([1, 2], [1, 2], [0, 0], []),
        ([1, 2], [1, 2], [], [3, 3]),
    ],
)
def test_a_line_of_unequal_parts_is_refused_by_name(x: list[float], y: list[float], low: list[float], high: list[float]) -> None:
    with pytest.raises(ValueError, match=r"'Loss'.*differ in length"):
        Line(LOSS, "first", x, y, low, high)


def test_a_line_keeps_what_an_iterator_yields() -> None:
    line = Line(LOSS, "first", range(3), (n * 2 for n in range(3)), iter([0, 1, 3]), [1, 3, 5])
    assert (line.x, line.y, line.low, line.high) == ((0.0, 1.0, 2.0), (0.0, 2.0, 4.0), (0.0, 1.0, 3.0), (1.0, 3.0, 5.0))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 / 3, 0.3333),
        (2 / 3e5, 6.667e-06),
        (123456.0, 123500.0),
        (-0.00012344, -0.0001234),
        (1.0, 1.0),
        (123456, 123456),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, None),
        (None, None),
        (True, True),
        ("words", "words"),
        (LOSS, "Loss"),
        ([1 / 3, (math.nan, LOSS)], [0.3333, [None, "Loss"]]),
    ],
)
def test_values_as_data(value: object, expected: object) -> None:
    data = to_data(value, "en")
    assert data == expected
    assert type(data) is type(expected)


def chart() -> LineChart:
    line = Line(LOSS, "first", [0, 1, 2], [1 / 3, math.inf, math.nan], style="dots", shade=0.25)
    return LineChart(
        title=Text("标题", "Title"),
        x=Axis(Text("步", "Step"), high=2.0),
        y=Axis(LOSS, log=True),
        lines=(line,),
        summary=Text("总结", "Summary"),
        rules=(Rule(Text("极限", "Limit"), 2 / 3),),
    )


def test_a_line_chart_as_data() -> None:
    assert to_data(chart(), "en") == {
        "kind": "lines",
        "title": "Title",
        "x": {"label": "Step", "log": False, "low": None, "high": 2.0},
        "y": {"label": "Loss", "log": True, "low": None, "high": None},
        "lines": [
            {
                "name": "Loss", "role": "first", "style": "dots", "shade": 0.25,
                "x": [0.0, 1.0, 2.0], "y": [0.3333, "inf", None], "low": [], "high": [],
            }
        ],
        "rules": [{"name": "Limit", "x": 0.6667, "role": "theory"}],
        "summary": "Summary",
    }  # fmt: skip


def test_data_is_in_one_language_and_json() -> None:
    data = to_data(chart(), "zh")
    assert (data["title"], data["x"]["label"], data["lines"][0]["name"]) == ("标题", "步", "损失")
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert "Loss" not in json.dumps(data)


def test_a_bar_chart_as_data() -> None:
    bars = BarChart(LOSS, (same("SGD"), same("Adam")), Axis(LOSS), (Bars(LOSS, "baseline", iter([1, math.inf]), [0.12345, 0]),), LOSS)
    data = to_data(bars, "en")
    assert (data["kind"], data["categories"]) == ("bars", ["SGD", "Adam"])
    assert data["groups"] == [{"name": "Loss", "role": "baseline", "values": [1.0, "inf"], "errors": [0.1235, 0.0]}]
