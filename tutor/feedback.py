"""Thumbs and comments, one JSON object a line in a local file."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timezone
from pathlib import Path

from tutor.chat import Turn

MAX_COMMENT_CHARACTERS = 2000
_lock = threading.Lock()


def save_feedback(path: Path, turn: Turn, helpful: bool, comment: str = "") -> None:
    """Appends one line: what was asked, what was shown, the thumb and the comment (cut at 2,000 characters). Raises OSError."""
    record = {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "message": turn.message,
        "language": turn.language,
        "decision": turn.decision.value,
        "confidence": round(turn.confidence, 4),
        "question_ids": turn.question_ids,
        "helpful": helpful,
        "comment": comment[:MAX_COMMENT_CHARACTERS],
    }
    line = json.dumps(record, ensure_ascii=False) + "\n"
    with _lock:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
