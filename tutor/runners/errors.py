"""What can go wrong around a run, in both languages."""

from __future__ import annotations

from demos.core.text import Text


class RunnerError(RuntimeError):
    """A run without a result for which neither its parameters nor its demo are to blame; `text` says so in both languages."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text

    def __reduce__(self) -> tuple[type[RunnerError], tuple[Text]]:
        return type(self), (self.text,)


class RunnerLost(RunnerError):
    """The worker of a run was lost, and so was that of its second attempt."""


class RunnerUnreachable(RunnerError):
    """The cluster does not answer, or cannot run this project."""
