"""Thumbs and comments in a file of JSON lines."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tutor.chat import Turn
from tutor.feedback import save_feedback
from tutor.retriever import Decision

TURN = Turn("什么是 ReLU？\n“引号”", "什么是 ReLU？", "zh", Decision.SUGGEST, ("relu", "dropout"), 0.123456)


def read(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_each_thumb_is_one_line_after_those_before(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "feedback.jsonl"
    save_feedback(path, TURN, True)
    save_feedback(path, TURN, False, "太短\n了")
    first, second = read(path)
    age = datetime.now(timezone.utc) - datetime.fromisoformat(first.pop("time"))
    assert timedelta(0) <= age < timedelta(minutes=1)
    assert first == {
        "message": "什么是 ReLU？\n“引号”",
        "language": "zh",
        "decision": "suggest",
        "confidence": 0.1235,
        "question_ids": ["relu", "dropout"],
        "helpful": True,
        "comment": "",
    }
    assert (second["helpful"], second["comment"]) == (False, "太短\n了")
    assert "什么是 ReLU" in path.read_text(encoding="utf-8")  # readable, not \u escapes


def test_a_comment_is_cut_at_two_thousand_characters(tmp_path: Path) -> None:
    for comment in ("字" * 2000, "字" * 1999 + "完毕"):
        save_feedback(tmp_path / "feedback.jsonl", TURN, True, comment)
    whole, cut = read(tmp_path / "feedback.jsonl")
    assert whole["comment"] == "字" * 2000
    assert cut["comment"] == "字" * 1999 + "完"


def test_threads_write_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line reaches the disk in two pieces here, as a long one may: nothing may come in between."""
    opened = Path.open

    def slow(self: Path, *arguments: Any, **keywords: Any) -> Any:
        file = opened(self, *arguments, **keywords)
        write = file.write

        def in_two(text: str) -> None:
            write(text[:20])
            file.flush()
            time.sleep(0.002)
            write(text[20:])

        file.write = in_two
        return file

    path = tmp_path / "feedback.jsonl"
    with monkeypatch.context() as patch, ThreadPoolExecutor(8) as pool:
        patch.setattr(Path, "open", slow)
        list(pool.map(lambda number: save_feedback(path, TURN, True, str(number)), range(40)))
    assert sorted(int(line["comment"]) for line in read(path)) == list(range(40))


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        save_feedback(tmp_path / "file" / "feedback.jsonl", TURN, True)
