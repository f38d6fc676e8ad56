"""Charts as plain data."""

from __future__ import annotations

import base64
import json
import math
import struct

import pytest

from demos.core.charts import Axis, BarChart, Bars, Grid, Image, ImageGrid, Line, LineChart, PlaneChart, Points, Rule, to_data
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
        "x": {"label": "Step", "log": False, "low": None, "high": 2.0, "names": []},
        "y": {"label": "Loss", "log": True, "low": None, "high": None, "names": []},
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


# ---- planes and pictures ---------------------------------------------------------------------------------------------


def unpacked(cells: dict[str, object]) -> list[list[float]]:
    """The numbers behind packed cells, by the scale that the page uses."""
    whole = struct.unpack(f"<{cells['rows'] * cells['columns']}H", base64.b64decode(cells["cells"]))
    low, high = cells["low"], cells["high"]

    def number(step: int) -> float:
        if step == 65535:
            return math.nan
        return low * (high / low) ** (step / 65534) if cells.get("log") else low + (high - low) * step / 65534

    values = [number(step) for step in whole]
    return [values[row * cells["columns"] : (row + 1) * cells["columns"]] for row in range(cells["rows"])]


def plane(grid: Grid | None, **rest: object) -> PlaneChart:
    return PlaneChart(LOSS, Axis(LOSS, low=0, high=1), Axis(LOSS, low=0, high=1), LOSS, grid, **rest)


@pytest.mark.parametrize("log", [False, True])
def test_a_grid_survives_its_packing(log: bool) -> None:
    values = [[0.01, 0.5, 3.0], [20.0, 7.5, 1e-2]]
    data = to_data(plane(Grid(LOSS, values, log=log)), "en")["grid"]
    assert (data["rows"], data["columns"], data["low"], data["high"]) == (2, 3, 0.01, 20.0)
    for row, expected in zip(unpacked(data), values, strict=True):
        assert row == pytest.approx(expected, rel=1e-3, abs=0 if log else 20 / 65534)


def test_a_grid_tells_what_is_missing_or_beyond_its_scale() -> None:
    cells = unpacked(to_data(plane(Grid(LOSS, [[math.nan, math.inf, -math.inf, 5.0]], low=0, high=2)), "zh")["grid"])
    assert math.isnan(cells[0][0]) and cells[0][1:] == [2.0, 0.0, 2.0]


def test_a_diverging_grid_is_symmetric_and_one_value_has_a_scale() -> None:
    data = to_data(plane(Grid(LOSS, [[-1.0, 3.0]], diverging=True)), "en")["grid"]
    assert (data["low"], data["high"]) == (-3.0, 3.0)
    flat = to_data(plane(Grid(LOSS, [[2.0, 2.0]])), "en")["grid"]
    assert flat["low"] < flat["high"] and unpacked(flat) == [[2.0, 2.0]]


def test_a_tensor_packs_as_its_list_does() -> None:
    torch = pytest.importorskip("torch")
    values = [[0.25, 1.0], [0.5, 0.75]]
    assert to_data(plane(Grid(LOSS, torch.tensor(values))), "en") == to_data(plane(Grid(LOSS, values)), "en")


def test_pictures_share_one_scale() -> None:
    chart = ImageGrid(LOSS, (Image(LOSS, [[0.0, 1.0]]), Image(LOSS, [[4.0, 2.0]])), LOSS)
    images = to_data(chart, "en")["images"]
    assert [unpacked(image)[0] for image in images] == [pytest.approx([0, 1], abs=1e-4), pytest.approx([4, 2], abs=1e-4)]
    assert "pixels" not in images[0] and images[0]["name"] == "Loss"


def test_a_grid_without_limits_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="limits"):
        PlaneChart(LOSS, Axis(LOSS), Axis(LOSS, low=0, high=1), LOSS, Grid(LOSS, [[1.0]]))
    PlaneChart(LOSS, Axis(LOSS, names=(LOSS,)), Axis(LOSS, low=0, high=1), LOSS, Grid(LOSS, [[1.0]]))
    with pytest.raises(ValueError, match="differ in length"):
        Points(LOSS, [1, 2], [1])


def test_a_plane_is_json() -> None:
    points = (Points(LOSS, [0.5, math.nan], [1, 2], group=3),)
    data = json.loads(json.dumps(to_data(plane(Grid(LOSS, [[1.0]]), points=points, equal=True), "en"), allow_nan=False))
    assert data["kind"] == "plane" and data["points"][0]["group"] == 3 and data["points"][0]["x"] == [0.5, None] and data["equal"] is True
