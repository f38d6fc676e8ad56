"""The page: builds the interface, serves it, and loads the tutor behind it."""

from __future__ import annotations

import logging
import os
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read by gradio at its import

import gradio as gr

from demos.core.parameters import ParameterError
from demos.core.registry import load_demos
from demos.core.text import Language
from tutor.chat import Conversation
from tutor.config import Settings
from tutor.knowledge import KnowledgeBase
from tutor.ui import link
from tutor.ui.api import add_api
from tutor.ui.chat_messages import escape
from tutor.ui.chat_tab import ChatTab
from tutor.ui.demo_tab import DemoTab, Opened
from tutor.ui.link import preferred_language
from tutor.ui.loading import Loading
from tutor.ui.localized import Localized
from tutor.ui.static import STATIC
from tutor.ui.strings import STRINGS

log = logging.getLogger(__name__)

_STORED = "deep-learning-tutor"  # the browser's storage key


class Page:
    """The interface as Gradio Blocks. `loading` is started by whoever serves it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.demos = load_demos()
        self.knowledge = KnowledgeBase.load(settings.knowledge, {name: demo.presets for name, demo in self.demos.items()})
        for fault in self.knowledge.faults:
            log.error("left out: %s", fault)
        self.loading = Loading(self.knowledge, settings)
        self.localized = Localized("zh")
        with gr.Blocks(title=STRINGS["title"].zh, fill_width=True, analytics_enabled=False) as self.blocks:
            self._build()
            self._wire()
            add_api(self.loading, self.demos, settings)
        self.blocks.queue(max_size=256, api_open=False, default_concurrency_limit=8)

    def _build(self) -> None:
        add, language = self.localized.add, self.localized.initial
        with gr.Row(elem_id="masthead"):
            self.title = gr.Markdown(_title(language))
            self.language = gr.Radio(
                [("中文", "zh"), ("English", "en")], value=language, label="语言 / Language", container=False, scale=0, min_width=190,
                elem_id="language", elem_classes="pills",
            )  # fmt: skip
        add(self.title, lambda lang: {"value": _title(lang)})
        if self.knowledge.faults:
            add(gr.Markdown(self._faults(language), elem_id="faults"), lambda lang: {"value": self._faults(lang)})
        self.notice = gr.Markdown(visible=False, elem_id="notice")
        self.stored = gr.BrowserState(None, storage_key=_STORED, secret=_STORED)
        with gr.Tabs(elem_id="places") as self.places:
            with self.localized.worded(gr.Tab, "tab_ask", id="ask"):
                self.chat = ChatTab(self.loading, self.knowledge, self.demos, self.settings.feedback, self.localized, self.language)
            with self.localized.worded(gr.Tab, "tab_experiments", id="experiments"):
                self.experiments = DemoTab(self.blocks, self.demos, self.knowledge, self.settings, self.localized, self.language)

    def _faults(self, language: Language) -> str:
        files = ", ".join(sorted({fault.path for fault in self.knowledge.faults}))
        return STRINGS["broken_files"][language].format(count=len(self.knowledge.faults), files=files)

    def _wire(self) -> None:
        demo, chat = self.experiments, self.chat
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        worded = list(dict.fromkeys([*self.localized.components, *demo.described, demo.stage, demo.cards]))
        self.blocks.load(
            self._arrive,
            [self.stored, demo.opened],
            [self.language, self.places, self.notice, *dict.fromkeys([*worded, *demo.opens])],
            queue=False,
            **private,
        )
        self.language.change(
            self._speak,
            [self.language, demo.configuration, demo.opened, demo.shown, demo.score],
            [self.stored, demo.opened, demo.mark, *worded],
            queue=False,
            **private,
        )
        chat.bot.option_select(
            self._pick_option,
            [chat.conversation, demo.opened, self.language],
            [self.places, *demo.opens, *chat.replies],
            concurrency_id="chat",
            cancels=demo.under_way,
            **private,
        )
        demo.questions.click(
            self._pick_question,
            [demo.questions, demo.configuration, chat.conversation, self.language],
            [self.places, *chat.replies],
            concurrency_id="chat",
            **private,
        )

    def _arrive(self, stored: object, opened: Opened, request: gr.Request) -> dict[Any, Any]:
        """The page in the visitor's language, with the experiment that the link names."""
        query = dict(request.query_params)
        language = preferred_language(query, stored, request.headers.get("accept-language", ""))
        updates = self.localized.updates(language) | {self.language: language}
        configuration = None
        try:
            configuration = link.from_query(query, self.demos)
        except ParameterError as error:
            notice = STRINGS["error_link"][language].format(reason=error.text[language])
            updates[self.notice] = gr.update(value=escape(notice), visible=True)
        if configuration is None:
            return updates | self.experiments.describe(opened.configuration, language) | self.experiments.retell(None, language)
        shown = self.experiments.open(configuration, opened, language)
        return updates | shown | {self.places: gr.Tabs(selected="experiments")} | self.experiments.retell(None, language)

    def _speak(self, raw: object, configuration: link.Configuration, opened: Opened, shown: Any, score: object) -> dict[Any, Any]:
        """Everything on the page in the other language; the conversation stays as it was spoken."""
        language = link.parse_language(raw)
        return (
            self.localized.updates(language)
            | self.experiments.describe(configuration, language)
            | self.experiments.retell(shown, language, score)
            | self.experiments.respeak(opened, configuration, language)
            | {self.stored: language}
        )

    def _pick_option(self, event: gr.SelectData, conversation: Conversation, opened: Opened, language: Language) -> dict[Any, Any]:
        """A button under the newest answer: an experiment to open, or a question to answer."""
        kind, _, name = str(event.value).partition(":")
        if kind == "demo":
            demo_id, _, preset = name.partition("/")
            configuration = link.of_preset(self.demos[demo_id], preset)  # refuses what no button offers
            return self.experiments.open(configuration, opened, language) | {self.places: gr.Tabs(selected="experiments")}
        return self.chat.show(name, conversation, language)

    def _pick_question(
        self, position: int, configuration: link.Configuration, conversation: Conversation, language: Language
    ) -> dict[Any, Any]:
        name = self.experiments.question_at(configuration, position)
        return self.chat.show(name, conversation, language) | {self.places: gr.Tabs(selected="ask")}


def _title(language: Language) -> str:
    return f"# {STRINGS['title'][language]}\n{STRINGS['subtitle'][language]}"


def serve(settings: Settings | None = None, **overrides: Any) -> Page:
    """Builds the page, serves it and starts loading the tutor. `overrides` go to `Blocks.launch`; blocks unless told otherwise."""
    page = Page(settings or Settings.from_environment())
    blocking = not overrides.pop("prevent_thread_lock", False)
    options: dict[str, Any] = {
        "prevent_thread_lock": True,
        "ssr_mode": False,
        "show_error": True,
        "enable_monitoring": False,
        "run_history": False,
        "max_threads": 40 + page.settings.demo_concurrency,  # each run on a cluster keeps one waiting
        "max_file_size": "1mb",
        "mcp_server": page.settings.mcp,
        "footer_links": ["settings"],
        "theme": theme(),
        "css_paths": [STATIC / "style.css"],
    }
    page.blocks.launch(**(options | overrides))
    page.loading.start()
    if blocking:
        page.blocks.block_thread()
    return page


def theme() -> gr.themes.Base:
    """Soft, with system fonts (nothing is fetched), plain labels, and text that keeps a contrast of 4.5 to 1."""
    fonts = ["system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif"]
    base = gr.themes.Soft(primary_hue="blue", neutral_hue="slate", font=fonts, font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"])
    plain = {
        "background_fill": "transparent",
        "background_fill_dark": "transparent",
        "text_color": "*body_text_color",
        "text_color_dark": "*body_text_color",
    }
    return base.set(
        **{f"{kind}_{name}": value for kind in ("block_title", "block_label") for name, value in plain.items()},
        block_title_padding="0",
        body_text_color_subdued="#475569",
        body_text_color_subdued_dark="#cbd5e1",
        block_info_text_color="#475569",
        block_info_text_color_dark="#cbd5e1",
        input_placeholder_color="#64748b",
        input_placeholder_color_dark="#94a3b8",
        button_primary_background_fill="#0068a8",
        button_primary_background_fill_hover="#00588e",
        button_primary_background_fill_dark="#0068a8",
        button_primary_background_fill_hover_dark="#00588e",
        checkbox_label_border_width="1px",
        checkbox_label_border_color="*border_color_primary",
        checkbox_label_border_color_dark="*border_color_primary",
        checkbox_label_background_fill_selected="#0068a8",
        checkbox_label_background_fill_selected_dark="#0072b2",
        checkbox_background_color_selected="#0068a8",
    )
