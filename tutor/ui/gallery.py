"""The gallery in front of the experiments: a card for each, by topic, searched in the browser; and what this machine reproduced."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import gradio as gr

from demos.core.demo import Demo
from demos.core.text import LANGUAGES, Language
from tutor.question import Text
from tutor.results import Result
from tutor.ui.static import STATIC
from tutor.ui.strings import STRINGS

_WORDS = (
    "gallery_search", "gallery_none", "gallery_topics", "gallery_count", "about_seconds", "status_reproduced", "status_same_direction",
    "status_not_at_this_scale", "results_title", "results_none", "results_demo", "results_preset", "results_status", "measured", "published",
    "results_device", "results_when", "second",
)  # fmt: skip

_TEMPLATE = """
<section class="gallery">
  <div class="gallery-tools"><input type="search" class="gallery-search"><div class="gallery-topics" role="group"></div></div>
  <p class="gallery-count" role="status" aria-live="polite"></p>
  <div class="gallery-cards"></div>
  <details class="gallery-results"><summary></summary><div class="stage-table"></div></details>
</section>
"""


class Gallery:
    """Knows every demo and its topic; draws nothing itself: `value` is what the browser makes the cards from."""

    def __init__(self, demos: Mapping[str, Demo], topics: Mapping[str, Text]) -> None:
        self.demos, self.topics = demos, topics

    def build(self, language: Language) -> gr.HTML:
        """The component. Its `select` event carries the id of the demo whose card was picked."""
        return gr.HTML(
            value=self.value(language, []),
            html_template=_TEMPLATE,
            js_on_load=(STATIC / "gallery.js").read_text(encoding="utf-8"),
            elem_id="gallery",
            min_height=600,
        )

    def siblings(self, demo_id: str) -> list[str]:
        """The demos of the same topic, this one among them."""
        topic = self.demos[demo_id].topic
        return [name for name, demo in self.demos.items() if demo.topic == topic]

    def value(self, language: Language, results: list[Result]) -> str:
        """Cards, topics, words and the last result of each preset, as JSON in one language."""
        newest: dict[str, Result] = {}
        for result in results:  # of a demo's presets, the badge is the default one's
            if result.demo in self.demos and result.preset == self.demos[result.demo].default_preset:
                newest[result.demo] = result
        cards = [self._card(demo, language, newest.get(name)) for name, demo in self.demos.items()]
        present = {demo.topic for demo in self.demos.values()}
        return json.dumps(
            {
                "words": {name: STRINGS[name][language] for name in _WORDS},
                "topics": [{"id": name, "name": text[language]} for name, text in self.topics.items() if name in present],
                "cards": cards,
                "results": [self._row(result, language) for result in results if result.demo in self.demos],
            },
            ensure_ascii=False,
        )

    def _card(self, demo: Demo, language: Language, result: Result | None) -> dict[str, Any]:
        told = [text[spoken] for text in (demo.title, demo.question, demo.look_for) for spoken in LANGUAGES]
        told += [preset.label[spoken] for preset in demo.presets.values() for spoken in LANGUAGES]
        return {
            "id": demo.id,
            "topic": demo.topic,
            "title": demo.title[language],
            "line": demo.question[language],
            "about": demo.about_s,
            "href": f"?demo={quote(demo.id)}&lang={language}",
            "pictures": {mode: _picture(demo.id, mode) for mode in ("light", "dark")},
            "status": result.status if result else None,
            "words": " ".join([demo.id.replace("_", " "), *told]).lower(),
        }

    def _row(self, result: Result, language: Language) -> dict[str, Any]:
        demo = self.demos[result.demo]
        preset = demo.presets.get(result.preset)
        return {
            "demo": demo.title[language],
            "id": demo.id,
            "preset": preset.label[language] if preset else result.preset,
            "status": result.status,
            "measured": result.measured[language],
            "published": result.published[language],
            "device": result.device,
            "when": result.when,
            "seconds": result.seconds,
        }


def _picture(demo_id: str, mode: str) -> str | None:
    file = STATIC / "gallery" / f"{demo_id}.{mode}.webp"
    return f"/gradio_api/file={file}" if file.exists() else None
