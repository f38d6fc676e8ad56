"""Finds every demo by looking: each module of `demos` that ends with `DEMO = Demo(...)`."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Mapping

import demos
from demos.core.demo import Demo


@functools.cache
def load_demos() -> Mapping[str, Demo]:
    """Id → demo, in alphabetical order. A file without a `DEMO` raises: nothing is skipped in silence."""
    found = {}
    for module in sorted(pkgutil.iter_modules(demos.__path__), key=lambda module: module.name):
        if module.ispkg:
            continue
        demo = getattr(importlib.import_module(f"demos.{module.name}"), "DEMO", None)
        if not isinstance(demo, Demo):
            raise TypeError(f"demos/{module.name}.py defines no DEMO = Demo(...)")
        for name, preset in demo.presets.items():
            try:
                demo.parameters.parse(preset.values)
            except ValueError as error:
                raise ValueError(f"demos/{module.name}.py, preset {name!r}: {error}") from error
        found[module.name] = dataclasses.replace(demo, id=module.name)
    return found
