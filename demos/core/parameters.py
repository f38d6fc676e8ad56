"""Parameters of a demo, declared once.

Widgets, command-line flags, URL parameters and validation all derive from a frozen dataclass whose fields are made by `integer`, `real`,
`choice` and `flag`:

    @dataclass(frozen=True)
    class Rates(Parameters):
        count: int = integer(24, 2, 48, label=Text("学习率个数", "Learning rates"), help=Text("…", "…"))

    Rates.parse({"count": "12"})
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from demos.core.text import Text

P = TypeVar("P", bound="Parameters")


class ParameterError(ValueError):
    """A value that a demo refuses; `text` says in both languages what is wrong and what is allowed."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text

    def __reduce__(self) -> tuple[type[ParameterError], tuple[Text]]:
        """Made again from its text: a run may be in another process."""
        return type(self), (self.text,)


@dataclass(frozen=True)
class Spec:
    """What a parameter is called, whether it is folded away with the advanced ones, and in which modes it means anything (none named: all)."""

    in_link: ClassVar[bool] = True  # whether a link carries the value

    label: Text
    help: Text
    advanced: bool
    modes: tuple[str, ...]

    def parse(self, name: str, raw: object) -> Any:
        """The value of type and range that the spec allows. Raises ParameterError."""
        raise NotImplementedError

    def allowed(self) -> str:
        """What may be given, for messages: `0.01 … 10`, `relu | tanh`."""
        raise NotImplementedError

    def brief(self, value: Any) -> str:
        """A value as it is told in a line of text."""
        return f"{value:g}" if isinstance(value, float) else str(value)

    def reported(self, value: Any) -> Any:
        """A value as it stands in a report or a link: JSON-ready, and nothing of the learner's own data."""
        return value

    def refuse(self, name: str, raw: object) -> ParameterError:
        shown = repr(raw)[:60]
        return ParameterError(
            Text(
                f"参数 {name}（{self.label.zh}）不接受 {shown}，允许的取值：{self.allowed()}",
                f"{name} ({self.label.en}) does not accept {shown}; allowed: {self.allowed()}",
            )
        )


@dataclass(frozen=True)
class Number(Spec):
    """A number in `low … high`, both included. `step` is the widget's; any number in the range is accepted."""

    low: float
    high: float
    step: float
    log: bool = False
    whole: bool = False

    def parse(self, name: str, raw: object) -> int | float:
        if isinstance(raw, bool) or not isinstance(raw, (int, float, str)):
            raise self.refuse(name, raw)
        try:
            number = float(raw)
        except (ValueError, OverflowError):
            raise self.refuse(name, raw) from None
        if not math.isfinite(number) or not self.low <= number <= self.high:
            raise self.refuse(name, raw)
        if not self.whole:
            return number
        if number != int(number):
            raise self.refuse(name, raw)
        return int(number)

    def allowed(self) -> str:
        return f"{self.low:g} … {self.high:g}" + (" (整数 / whole)" if self.whole else "")


@dataclass(frozen=True)
class Choice(Spec):
    """One of the named options. A mode is chosen by the preset, not by a widget: it says which experiment of the demo is run."""

    options: Mapping[str, Text]
    is_mode: bool = False

    def parse(self, name: str, raw: object) -> str:
        if not isinstance(raw, str) or raw not in self.options:
            raise self.refuse(name, raw)
        return raw

    def allowed(self) -> str:
        return " | ".join(self.options)


@dataclass(frozen=True)
class Flag(Spec):
    """Yes or no."""

    def parse(self, name: str, raw: object) -> bool:
        if isinstance(raw, bool):
            return raw
        if isinstance(raw, str) and raw.lower() in ("true", "false"):
            return raw.lower() == "true"
        raise self.refuse(name, raw)

    def allowed(self) -> str:
        return "true | false"


def integer(
    default: int,
    low: int,
    high: int,
    *,
    label: Text,
    help: Text,
    step: int = 1,
    advanced: bool = False,
    modes: tuple[str, ...] = (),
) -> Any:
    """A whole number in `low … high`."""
    return declare(default, Number(label, help, advanced, modes, low, high, step, whole=True))


def real(
    default: float,
    low: float,
    high: float,
    *,
    label: Text,
    help: Text,
    step: float = 0.01,
    log: bool = False,
    advanced: bool = False,
    modes: tuple[str, ...] = (),
) -> Any:
    """A finite number in `low … high`; `log` asks for a widget that suits several orders of magnitude."""
    return declare(default, Number(label, help, advanced, modes, low, high, step, log=log))


def choice(
    default: str, options: Mapping[str, Text], *, label: Text, help: Text, advanced: bool = False, modes: tuple[str, ...] = ()
) -> Any:
    """One of `options`, named by its key."""
    return declare(default, Choice(label, help, advanced, modes, options))


def mode_choice(default: str, options: Mapping[str, Text], *, label: Text, help: Text) -> Any:
    """Which of a demo's experiments is run: set by the preset (or a flag, or a link), not by a widget."""
    return declare(default, Choice(label, help, False, (), options, is_mode=True))


def flag(default: bool, *, label: Text, help: Text, advanced: bool = False, modes: tuple[str, ...] = ()) -> Any:
    """Yes or no."""
    return declare(default, Flag(label, help, advanced, modes))


def declare(default: Any, spec: Spec) -> Any:
    """A field of a parameters class with this default and spec."""
    spec.parse("default", default)
    return dataclasses.field(default=default, metadata={"spec": spec})


@dataclass(frozen=True)
class Parameters:
    """Base of every demo's parameters."""

    def __init_subclass__(cls) -> None:
        taken = sorted(name for name in inspect.get_annotations(cls) if hasattr(Parameters, name))
        if taken:
            raise TypeError(f"{cls.__name__}: a parameter cannot be called {', '.join(taken)}, as a method is")

    @classmethod
    def specs(cls) -> dict[str, Spec]:
        """Name → spec, in the order of declaration."""
        return {field.name: field.metadata["spec"] for field in dataclasses.fields(cls)}

    def shown(self) -> dict[str, Spec]:
        """The specs of the parameters that mean something in this mode, without the mode itself."""
        modes = {name for name, spec in self.specs().items() if isinstance(spec, Choice) and spec.is_mode}
        current = {getattr(self, name) for name in modes}
        return {name: spec for name, spec in self.specs().items() if name not in modes and (not spec.modes or current & set(spec.modes))}

    @classmethod
    def parse(cls: type[P], values: Mapping[str, object]) -> P:
        """Parameters from raw values (widgets, URL, command line); missing ones take their default. Raises ParameterError."""
        specs = cls.specs()
        unknown = sorted(str(name)[:40] for name in values if name not in specs)
        if unknown:
            names = ", ".join(specs)
            raise ParameterError(
                Text(
                    f"没有名为 {', '.join(unknown)} 的参数，可用的有：{names}",
                    f"no parameter called {', '.join(unknown)}; there are: {names}",
                )
            )
        return cls(**{name: specs[name].parse(name, raw) for name, raw in values.items()})

    def values(self) -> dict[str, Any]:
        """Name → value, as `parse` takes them back."""
        return dataclasses.asdict(self)
