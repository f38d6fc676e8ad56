"""Requests for an experiment ("show me momentum", "演示一下鞍点"): what they are about, without the request itself."""

from __future__ import annotations

import re

from tutor.question import Language

_LONGEST = 60  # characters of a subject: what is longer tells a story
_EN_OPENING = re.compile(
    r"^\s*(?:please\s+|can you\s+|could you\s+|i(?:'d| would) like to\s+|i want to\s+|let me\s+|let's\s+)*"
    r"(?:show(?:\s+me)?|demo(?:nstrate)?|run|try|see|play\s+with|visuali[sz]e|simulate)\s+"
    r"(?:(?:a|an|the|some|your)\s+)?(?:live\s+)?(?:(?:demo(?:nstration)?|experiment|simulation|animation)s?\s*(?:of|for|on|about|with|:)\s*)?",
    re.IGNORECASE,
)
_EN_NOUN = re.compile(
    r"^\s*(?:give\s+me\s+)?(?:(?:a|an|the|live)\s+)*(?:demo(?:nstration)?|experiment|simulation|animation)s?\s+(?:of|for|on|about|with)\s+",
    re.IGNORECASE,
)
_EN_CLOSING = re.compile(
    r"\s+(?:demo(?:nstration)?|experiment|simulation|animation|in\s+action|live)s?(?:\s+please)?\s*[.!?]*$", re.IGNORECASE
)
_ZH_OPENING = re.compile(
    r"^\s*(?:请|麻烦|帮我|给我|我?想要?|能不能|能否|可以|让我|来)*\s*(?:演示|展示|运行|跑|试试|试|看看|看|玩|做|来)(?:一下|一遍|一次|一个|个|下)?\s*(?:关于|有关)?"
)
_ZH_CLOSING = re.compile(r"\s*(?:的|这个)?\s*(?:实验|演示|动画|demo)\s*(?:吧|吗|呢|看看)?\s*[。？！?!.]*$", re.IGNORECASE)
# What opens like a request but asks something: "run out of memory", "看到 loss 变成 nan 怎么办".
_ASKS = re.compile(
    r"^(?:me|it|this|that|one|more|这个|那个|它)$|[?？]|怎么|为什么|为何|如何|什么|哪|吗|\b(?:how|why|what|which|when|is|are|does|do|should|into|out|proof|that)\b",
    re.IGNORECASE,
)


def subject_of_request(message: str, language: Language) -> str | None:
    """What an experiment is asked for about; None if the message is no such request, or names no subject."""
    openings, closing = ((_ZH_OPENING,), _ZH_CLOSING) if language == "zh" else ((_EN_NOUN, _EN_OPENING), _EN_CLOSING)
    opened = next((rest for opening in openings if (rest := opening.sub("", message, count=1)) != message), message)
    subject = closing.sub("", opened).strip()
    is_request = subject != message.strip() and 2 <= len(subject) <= _LONGEST and not _ASKS.search(subject)
    return subject if is_request else None
