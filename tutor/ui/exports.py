"""What a learner takes along: the script and the notebook of the experiment as it is set."""

from __future__ import annotations

import json

from demos.core.demo import Demo
from demos.core.notebook import build_notebook
from demos.core.text import Language
from tutor.ui.link import Configuration


def script(demo: Demo, configuration: Configuration, language: Language) -> str:
    """The plain PyTorch script as a file for the browser to save. Raises ParameterError."""
    return _file(f"{demo.id}.py", "text/x-python", demo.code(demo.parameters.parse(configuration.values)))


def notebook(demo: Demo, configuration: Configuration, language: Language) -> str:
    """The notebook as a file for the browser to save. Raises ParameterError."""
    text = build_notebook(demo, configuration.preset, demo.parameters.parse(configuration.values), language)
    return _file(f"{demo.id}.ipynb", "application/x-ipynb+json", text)


def _file(name: str, kind: str, text: str) -> str:
    return json.dumps({"name": name, "kind": kind, "text": text}, ensure_ascii=False)


# Saves such a file without a round trip through the server's disk.
SAVE = """(file) => {
  const { name, kind, text } = JSON.parse(file);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: kind + ';charset=utf-8' }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""
