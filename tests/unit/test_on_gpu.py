"""ZeroGPU: the wrapper of the package `spaces` is used where it is installed, and only there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

from tutor.runners.in_process import on_gpu


def frames() -> Iterator[int]:
    yield from (1, 2)


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert on_gpu(frames) is frames


def test_on_zerogpu_the_run_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Callable[..., Any]] = []

    def gpu(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Iterator[Any]:
            asked.append(function)
            yield from function(*arguments)

        return wrapped

    spaces = ModuleType("spaces")
    spaces.__spec__ = ModuleSpec("spaces", None)
    spaces.GPU = gpu  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spaces", spaces)
    assert list(on_gpu(frames)()) == [1, 2]
    assert asked == [frames]
