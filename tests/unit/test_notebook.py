"""An experiment as a notebook that runs elsewhere."""

from __future__ import annotations

import nbformat
import pytest

from demos.core.notebook import build_notebook
from demos.core.registry import load_demos
from tests.unit.sample import TINY


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_notebook_is_valid_and_holds_the_script(language: str) -> None:
    preset = TINY.parameters.parse(TINY.presets["large"].values)
    notebook = nbformat.reads(build_notebook(TINY, "large", preset, language), as_version=4)
    nbformat.validate(notebook)
    introduction, code, scaled = notebook.cells
    assert code.source == TINY.code(preset)
    assert TINY.question[language] in introduction.source and TINY.presets["large"].label[language] in introduction.source
    assert TINY.predict(preset).options["yes"][language] in introduction.source and TINY.scaled_down[language] in scaled.source


def test_the_notebook_runs_outside_this_project(tmp_path: object) -> None:
    from nbclient import NotebookClient

    demo = load_demos()["learning_rate_sweep"]
    p = demo.parameters.parse({"count": 5, "steps": 20})
    notebook = nbformat.reads(build_notebook(demo, "network", p, "en"), as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    told = "".join(output.get("text", "") for output in notebook.cells[1].outputs)
    assert told.count("rate") == 5
