"""Components whose words change with the interface language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from demos.core.text import Language
from tutor.ui.strings import STRINGS


class Localized:
    """Collects components as they are built, and makes the one update that switches all of them."""

    def __init__(self, language: Language) -> None:
        self.initial = language
        self._words: dict[Any, Callable[[Language], dict[str, Any]]] = {}

    def add(self, component: Any, words: Callable[[Language], dict[str, Any]]) -> Any:
        """Registers a component; `words` gives its properties (label, value, placeholder …) in a language."""
        self._words[component] = words
        return component

    def worded(self, kind: Callable[..., Any], words: str | dict[str, str], **properties: Any) -> Any:
        """Builds a component with strings of the interface, and registers it.

        `words` maps its properties to names of strings; a name alone is the label (of a button: the text).
        """
        if isinstance(words, str):
            words = {"value" if kind is gr.Button else "label": words}

        def spoken(language: Language) -> dict[str, Any]:
            return {attribute: STRINGS[name][language] for attribute, name in words.items()}

        return self.add(kind(**spoken(self.initial), **properties), spoken)

    @property
    def components(self) -> list[Any]:
        return list(self._words)

    def updates(self, language: Language) -> dict[Any, Any]:
        """Component → update, for a handler that returns a dictionary."""
        return {component: gr.update(**words(language)) for component, words in self._words.items()}
