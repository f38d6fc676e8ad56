"""YAML read against a pydantic model: every fault names file and line."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

Model = TypeVar("Model", bound=BaseModel)
Lines = dict[tuple[Hashable, ...], int]


class Strict(BaseModel):
    """A model that takes no unknown key and converts nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class Fault:
    """What is wrong, and where."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def read_yaml(text: str, model: type[Model], name: str, first_line: int = 1) -> tuple[Model | None, Lines, list[Fault]]:
    """The text as a `model` (None if it is not one), the line of every key and item, and every fault.

    `name` is the file that faults name, `first_line` the line of the file on which the text starts.
    """
    try:
        node, data = _parsed(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + first_line if error.problem_mark else 1
        return None, {}, [Fault(name, line, f"not valid YAML: {error.problem or error}")]
    except (yaml.reader.ReaderError, ValueError) as error:  # a control character; a date that is not in the calendar
        line = text.count("\n", 0, getattr(error, "position", 0)) + first_line
        return None, {}, [Fault(name, line, f"not valid YAML: {error}")]
    lines: Lines = {}
    faults = [Fault(name, line, f"key {key!r} appears twice") for key, line in _locate(node, (), lines, first_line)]
    try:
        return model.model_validate(data), lines, faults
    except ValidationError as error:
        return None, lines, faults + [_schema_fault(name, lines, detail, first_line) for detail in error.errors()]


def _parsed(text: str) -> tuple[yaml.Node | None, Any]:
    """The tree of the text and what it stands for. libyaml is five times as fast; where it fails, PyYAML itself says better what is wrong."""
    try:
        return _parsed_by(getattr(yaml, "CSafeLoader", yaml.SafeLoader), text)
    except (yaml.YAMLError, ValueError):
        return _parsed_by(yaml.SafeLoader, text)


def _parsed_by(kind: Any, text: str) -> tuple[yaml.Node | None, Any]:
    loader = kind(text)
    try:
        node = loader.get_single_node()
        return node, loader.construct_document(node) if node is not None else None
    finally:
        loader.dispose()


def _locate(node: yaml.Node | None, location: tuple[Hashable, ...], lines: Lines, first_line: int) -> Iterator[tuple[str, int]]:
    """Fills `lines` with the line of every key and item; yields the keys that a mapping holds twice."""
    if node is None:
        return
    lines.setdefault(location, node.start_mark.line + first_line)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            place = (*location, key.value)
            lines[place] = key.start_mark.line + first_line
            if key.value in seen:
                yield key.value, key.start_mark.line + first_line
            seen.add(key.value)
            yield from _locate(value, place, lines, first_line)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield from _locate(item, (*location, position), lines, first_line)


def _schema_fault(name: str, lines: Mapping[tuple[Hashable, ...], int], detail: Any, first_line: int) -> Fault:
    location = tuple(detail["loc"])
    known = location
    while known and known not in lines:
        known = known[:-1]
    message = {"extra_forbidden": "unknown key", "missing": "missing"}.get(detail["type"], detail["msg"])
    where = ".".join(map(str, location))
    return Fault(name, lines.get(known, first_line), f"{where}: {message}" if where else message)
