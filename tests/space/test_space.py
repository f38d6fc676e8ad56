"""A Space, as far as it can be had offline: a clean copy, a new environment with requirements.txt only, the app, and three calls over HTTP."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.serving import call, serving
from tutor.config import ROOT


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `python app.py` on a copy of the tracked files."""
    folder = tmp_path_factory.mktemp("space")
    copy = folder / "repository"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, tracked.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", copy / "requirements.txt"], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TUTOR_", "PYTHON"))}
    environment |= {"SPACE_ID": "someone/tutor", "XDG_CACHE_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    with serving(python, copy, folder, environment) as address:
        yield address


@pytest.mark.parametrize(
    ("question", "language", "answer"),
    [("什么是 Dropout，为什么有用？", "zh", "dropout"), ("Why does momentum speed up training?", "en", "momentum")],
)
def test_it_answers_in_both_languages(space: str, question: str, language: str, answer: str) -> None:
    reply = call(space, "ask", question, "")
    assert (reply["decision"], reply["language"], reply["hits"][0]["id"]) == ("answer", language, answer)


def test_it_runs_an_experiment(space: str) -> None:
    result = call(space, "run_experiment", "learning_rate_sweep", "quadratic", {}, 0, "en")
    assert result["verdict"]["status"] == "reproduced"


def test_only_the_two_endpoints_are_public(space: str) -> None:
    schema = httpx.get(f"{space}/gradio_api/info").raise_for_status().json()
    assert set(schema["named_endpoints"]) == {"/ask", "/run_experiment"}
