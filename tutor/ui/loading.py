"""The tutor, loaded behind the page: importing sentence-transformers takes seconds, and the page should not wait for it."""

from __future__ import annotations

import logging
import threading
import time

from tutor.chat import Tutor
from tutor.config import Settings
from tutor.knowledge import KnowledgeBase

log = logging.getLogger(__name__)


class Loading:
    """Loads the tutor in a background thread. `tutor()` waits for it and raises what the loading raised."""

    def __init__(self, knowledge: KnowledgeBase, settings: Settings) -> None:
        self._knowledge, self._settings = knowledge, settings
        self._ready = threading.Event()
        self._tutor: Tutor | None = None
        self._error: Exception | None = None

    def start(self) -> None:
        """Begins to load; call it once the page is served, so that it does not compete with it."""
        threading.Thread(target=self._load, name="load-tutor", daemon=True).start()

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    def tutor(self) -> Tutor:
        """The tutor, as soon as it is there. Raises what went wrong while loading."""
        self._ready.wait()
        if self._tutor is None:
            raise self._error or RuntimeError("the tutor was not loaded")
        return self._tutor

    def _load(self) -> None:
        started = time.monotonic()
        try:
            self._tutor = Tutor.load(self._knowledge, self._settings)
            log.info("tutor ready after %.1f s: %d questions", time.monotonic() - started, len(self._knowledge.questions))
        except Exception as error:
            log.exception("the tutor could not be loaded")
            self._error = error
        finally:
            self._ready.set()
