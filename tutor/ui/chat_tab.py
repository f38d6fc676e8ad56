"""The tab of the questions: a conversation with the tutor."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from demos.core.demo import Demo
from demos.core.text import Language
from tutor.chat import Conversation, MessageError, Reply, Tutor, check_message
from tutor.feedback import MAX_COMMENT_CHARACTERS, save_feedback
from tutor.knowledge import KnowledgeBase
from tutor.ui.chat_messages import document, escape, messages
from tutor.ui.loading import Loading
from tutor.ui.localized import Localized
from tutor.ui.strings import STRINGS

log = logging.getLogger(__name__)

DELIMITERS: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "$", "right": "$", "display": False},
    {"left": "\\(", "right": "\\)", "display": False},
    {"left": "\\[", "right": "\\]", "display": True},
]
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
_CHAT: dict[str, Any] = _PRIVATE | {"concurrency_id": "chat", "concurrency_limit": 8}


class ChatTab:
    """Builds the tab inside the current Blocks and wires it. The conversation of a visitor lives in `gr.State`."""

    def __init__(
        self,
        loading: Loading,
        knowledge: KnowledgeBase,
        demos: Mapping[str, Demo],
        feedback: Path | None,
        localized: Localized,
        language: gr.Radio,
    ) -> None:
        self.loading, self.knowledge, self.demos, self.feedback = loading, knowledge, demos, feedback
        self.localized, self.language = localized, language
        self.conversation = gr.State(Conversation())
        self.thumb = gr.State(None)
        self._build(localized.initial)
        self._wire()

    def _build(self, language: Language) -> None:
        self.bot = self.localized.add(
            gr.Chatbot(
                label=STRINGS["chat_label"][language], show_label=False, placeholder=STRINGS["chat_empty"][language], height="58vh", min_height=380, autoscroll=False,
                latex_delimiters=DELIMITERS, buttons=["copy", "copy_all"], layout="panel", elem_id="chat",
                examples=self._examples(language), feedback_options=("Like", "Dislike") if self.feedback else None,
            ),
            lambda lang: {"label": STRINGS["chat_label"][lang], "placeholder": STRINGS["chat_empty"][lang], "examples": self._examples(lang)},
        )  # fmt: skip
        worded = self.localized.worded
        with gr.Row(visible=False, elem_id="comment-row") as self.comment_row:
            self.comment = worded(gr.Textbox, "thumb_thanks", max_length=MAX_COMMENT_CHARACTERS, scale=4, elem_id="comment")
            self.comment_send = worded(gr.Button, "comment_send", scale=1)
        self.box = worded(
            gr.Textbox,
            {"label": "ask_label", "placeholder": "ask_placeholder", "submit_btn": "send"},
            lines=1,
            max_lines=6,
            max_length=20_000,
            autofocus=True,
            elem_id="ask",
        )
        with gr.Row(elem_id="chat-actions"):
            self.retry, self.clear, self.download = (
                worded(gr.Button, name, size="sm", min_width=90, elem_id=name.replace("_", "-"))
                for name in ("retry", "clear", "download_chat")
            )
        self.document = gr.Textbox(visible="hidden", elem_id="conversation-document")

    def _examples(self, language: Language) -> list[Any]:
        """The first question of each of the first six topics."""
        firsts = {topic: next((q for q in self.knowledge.questions.values() if q.topic == topic), None) for topic in self.knowledge.topics}
        return [{"text": question.meta.question[language]} for question in list(firsts.values())[:6] if question]

    # --- events ---

    @property
    def replies(self) -> list[Any]:
        """The components that a reply updates."""
        return [self.bot, self.conversation, self.box, self.comment_row]

    def _wire(self) -> None:
        inputs = [self.conversation, self.language]
        self.box.submit(self._ask, [self.box, *inputs], self.replies, **_CHAT)
        self.bot.example_select(self._example, inputs, self.replies, **_CHAT)
        self.retry.click(self._retry, inputs, self.replies, **_CHAT)
        self.bot.change(None, None, None, js=_SHOW_NEWEST, api_visibility="private")
        for event in (self.clear.click, self.bot.clear):
            event(lambda: ([], Conversation(), "", gr.update(visible=False)), None, self.replies, queue=False, **_PRIVATE)
        self.download.click(self._document, inputs, self.document, **_CHAT).success(
            None, self.document, None, js=_SAVE_DOCUMENT, api_visibility="private"
        )
        if self.feedback:
            self.bot.like(self._liked, [self.conversation], [self.thumb, self.comment_row], **_CHAT)
            for event in (self.comment_send.click, self.comment.submit):
                event(self._commented, [self.comment, self.thumb, self.language], [self.comment, self.comment_row], **_CHAT)

    def _ask(self, message: object, conversation: Conversation, language: Language) -> Iterator[dict[Any, Any]]:
        try:
            text = check_message(message)
        except MessageError as error:
            gr.Warning(error.text[language])  # the box keeps what was typed
            yield {self.conversation: conversation}
            return
        if not self.loading.ready:
            waiting = [{"role": "user", "content": escape(text)}, {"role": "assistant", "content": STRINGS["loading"][language]}]
            yield {self.bot: waiting, self.box: ""}
        tutor = self._tutor(language)
        yield self._shown(tutor.reply(text, conversation), tutor)

    def _example(self, event: gr.SelectData, conversation: Conversation, language: Language) -> Iterator[dict[Any, Any]]:
        yield from self._ask(event.value["text"], conversation, language)

    def _retry(self, conversation: Conversation, language: Language) -> dict[Any, Any]:
        if not conversation.turns:
            return {self.conversation: conversation}
        tutor = self._tutor(language)
        return self._shown(tutor.reply(conversation.turns[-1].message, conversation.without_last()), tutor)

    def show(self, question_id: str, conversation: Conversation, language: Language) -> dict[Any, Any]:
        """Updates that add the answer of a picked question, in the language of the conversation so far."""
        tutor = self._tutor(language)
        spoken = conversation.turns[-1].language if conversation.turns else language
        return self._shown(tutor.show(question_id, spoken, conversation), tutor)

    def _tutor(self, language: Language) -> Tutor:
        try:
            return self.loading.tutor()
        except Exception as error:
            raise gr.Error(STRINGS["error_encoder"][language].format(reason=str(error)[:400]), duration=None) from error

    def _shown(self, reply: Reply, tutor: Tutor) -> dict[Any, Any]:
        return {
            self.bot: messages(reply.conversation, tutor, self.demos),
            self.conversation: reply.conversation,
            self.box: "",
            self.comment_row: gr.update(visible=False),
        }

    def _document(self, conversation: Conversation, language: Language) -> str:
        return document(conversation, self._tutor(language), language)

    def _liked(self, event: gr.LikeData, conversation: Conversation) -> tuple[Any, Any]:
        position = event.index if isinstance(event.index, int) else event.index[0]
        turn = conversation.turns[position // 2]
        helpful = event.liked is True or event.liked == "Like"
        self._save(turn, helpful)
        return (turn, helpful), gr.update(visible=True)

    def _commented(self, comment: object, thumb: Any, language: Language) -> tuple[Any, Any]:
        if thumb and isinstance(comment, str) and comment.strip():
            turn, helpful = thumb
            self._save(turn, helpful, comment.strip())
            gr.Info(STRINGS["comment_saved"][language])
        return "", gr.update(visible=False)

    def _save(self, turn: Any, helpful: bool, comment: str = "") -> None:
        if self.feedback is None:
            return
        try:
            save_feedback(self.feedback, turn, helpful, comment)
        except OSError as error:
            log.exception("feedback was not saved")
            raise gr.Error(STRINGS["error_feedback"][turn.language].format(reason=error.strerror)) from error


# The newest question at the top of the chat, its answer below: an answer is read from its beginning.
_SHOW_NEWEST = """() => setTimeout(() => {
  const log = document.querySelector('#chat [role=log]');
  const newest = [...document.querySelectorAll('#chat .user-row')].pop();
  if (log && newest) log.scrollTo({top: log.scrollTop + newest.getBoundingClientRect().top - log.getBoundingClientRect().top});
}, 200)"""

_SAVE_DOCUMENT = """(text) => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], {type: 'text/markdown;charset=utf-8'}));
  link.download = 'conversation.md';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""
