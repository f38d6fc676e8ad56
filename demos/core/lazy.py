"""`from demos.core.lazy import torch`: torch, imported at its first use.

Importing torch takes about two seconds. The page lists every demo with its parameters before anybody runs one, so demo files must load
without it. The proxy defers to `importlib`, whose module locks make the first use safe from several threads.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any


class _LazyModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


if TYPE_CHECKING:
    import torch
else:
    torch = _LazyModule("torch")

__all__ = ["torch"]
