"""Parameters of a demo: what each kind accepts and refuses, and how it says so."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from demos.core.parameters import Number, ParameterError, Parameters, flag, integer, mode_choice, real
from demos.core.text import Text, same
from tests.unit.sample import TinyParameters

NO = Text("", "")


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("count", 12, 12),
        ("count", "12", 12),
        ("count", " 12 ", 12),
        ("count", 12.0, 12),
        ("count", "12.0", 12),
        ("count", 2, 2),
        ("count", 48, 48),
        ("rate", 1, 1.0),
        ("rate", "1e-3", 0.001),
        ("rate", 10, 10.0),
        ("rate", 0.123456789, 0.123456789),
        ("kind", "tanh", "tanh"),
        ("noisy", True, True),
        ("noisy", "true", True),
        ("noisy", "False", False),
    ],
)
def test_accepted(name: str, raw: object, expected: object) -> None:
    value = getattr(TinyParameters.parse({name: raw}), name)
    assert value == expected
    assert type(value) is type(expected)


NOT_A_NUMBER = [None, True, False, [], [3], {"a": 3}, b"3", "", "three", "NaN", float("nan"), "inf", float("inf"), float("-inf")]
REFUSED = {
    "count": [*NOT_A_NUMBER, 2.5, "2.5", 1, 49, "49", -4],
    "rate": [*NOT_A_NUMBER, 0.0009, 10.001, "0", -1],
    "kind": [None, True, 1, ["relu"], "ReLU", "", "sigmoid"],
    "noisy": [None, 1, 0, "1", "yes", "", [True]],
}
ALLOWED = {
    # name: (its label and the allowed values in Chinese, in English)
    "count": ("个数", "Count", "2 … 48"),
    "rate": ("学习率", "Rate", "0.001 … 10"),
    "kind": ("激活", "Activation", "relu | tanh"),
    "noisy": ("噪声", "Noise", "true | false"),
}


@pytest.mark.parametrize(("name", "raw"), [(name, raw) for name, values in REFUSED.items() for raw in values])
def test_refused_with_the_allowed_values_in_both_languages(name: str, raw: object) -> None:
    with pytest.raises(ParameterError) as caught:
        TinyParameters.parse({name: raw})
    zh, en, allowed = ALLOWED[name]
    text = caught.value.text
    assert text.zh.startswith(f"参数 {name}（{zh}）不接受 {repr(raw)[:60]}，允许的取值：{allowed}")
    assert text.en.startswith(f"{name} ({en}) does not accept {repr(raw)[:60]}; allowed: {allowed}")
    assert str(caught.value) == text.en


def test_a_number_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(ParameterError, match="Count"):
        TinyParameters.parse({"count": 10**400})


def test_a_whole_number_says_so() -> None:
    with pytest.raises(ParameterError, match=r"2 … 48 \(整数 / whole\)$"):
        TinyParameters.parse({"count": 2.5})


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ParameterError) as caught:
        TinyParameters.parse({"count": 4, "speed": 1, "colour": "red"})
    assert caught.value.text == Text(
        "没有名为 colour, speed 的参数，可用的有：count, rate, kind, noisy",
        "no parameter called colour, speed; there are: count, rate, kind, noisy",
    )


def test_what_is_not_given_takes_its_default() -> None:
    assert TinyParameters.parse({}) == TinyParameters(count=4, rate=0.5, kind="relu", noisy=False)
    assert TinyParameters.parse({"rate": "2"}).values() == {"count": 4, "rate": 2.0, "kind": "relu", "noisy": False}


@pytest.mark.parametrize("values", [{}, {"count": 48, "rate": 1 / 3, "kind": "tanh", "noisy": True}, {"rate": 1e-3}])
def test_values_and_parse_are_each_others_inverse(values: dict[str, object]) -> None:
    parameters = TinyParameters.parse(values)
    assert TinyParameters.parse(parameters.values()) == parameters
    spelled = {name: str(value) for name, value in parameters.values().items()}  # as a link or a command line spells them
    assert TinyParameters.parse(spelled) == parameters


def test_specs_are_in_the_order_of_declaration() -> None:
    specs = TinyParameters.specs()
    assert list(specs) == ["count", "rate", "kind", "noisy"]
    rate = specs["rate"]
    assert isinstance(rate, Number)
    assert (rate.low, rate.high, rate.log, rate.whole) == (0.001, 10, True, False)


@pytest.mark.parametrize("default", [0, 11, 2.5, "ten"])
def test_a_default_that_is_not_allowed_is_refused_at_once(default: int) -> None:
    with pytest.raises(ParameterError, match="default"):
        integer(default, 1, 10, label=NO, help=NO)


@dataclass(frozen=True)
class Modal(Parameters):
    study: str = mode_choice("depth", {"depth": same("depth"), "width": same("width")}, label=NO, help=NO)
    layers: int = integer(3, 1, 9, label=NO, help=NO, modes=("depth",))
    units: int = integer(8, 1, 99, label=NO, help=NO, modes=("width", "both"))
    rate: float = real(0.1, 0, 1, label=NO, help=NO)
    norm: bool = flag(False, label=NO, help=NO, modes=("depth", "width"))


def test_a_mode_shows_the_parameters_that_mean_something_in_it() -> None:
    assert list(Modal(study="depth").shown()) == ["layers", "rate", "norm"]
    assert list(Modal(study="width").shown()) == ["units", "rate", "norm"]


def test_parameters_without_a_mode_are_all_shown() -> None:
    assert TinyParameters().shown() == TinyParameters.specs()


def test_a_parameter_cannot_hide_a_method() -> None:
    with pytest.raises(TypeError, match="shown"):

        class Hiding(Parameters):
            shown: int = integer(1, 0, 2, label=Text("一", "One"), help=Text("一", "One"))
