"""Settings and their environment overrides."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tutor.config import SettingError, Settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Nothing set but the home folder, and the packages of the extras `mcp` and `ray` installed."""
    for name in os.environ:
        if name.startswith("TUTOR_") or name in ("SPACE_ID", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("mcp", "ray", "grpc"):
        package = ModuleType(name)
        package.__spec__ = pytest.__spec__
        monkeypatch.setitem(sys.modules, name, package)
    return monkeypatch


def test_defaults(tmp_path: Path) -> None:
    cache = tmp_path / ".cache" / "deep-learning-tutor"
    assert Settings.from_environment() == Settings(
        knowledge=Path(__file__).resolve().parents[2] / "knowledge",
        encoder="zh-en-static-256",
        cache=cache,
        feedback=cache / "feedback.jsonl",
        demo_deadline=60.0,
        demo_concurrency=2,
        runner="in-process",
        mcp=False,
    )


def test_every_setting_can_be_overridden(environment: pytest.MonkeyPatch) -> None:
    for name, value in {
        "KNOWLEDGE": "/k", "ENCODER": "owner/name", "CACHE": "/c", "FEEDBACK": "/f.jsonl",
        "DEMO_DEADLINE": "12.5", "DEMO_CONCURRENCY": "8", "RUNNER": "ray://head:10001", "MCP": "1",
    }.items():  # fmt: skip
        environment.setenv(f"TUTOR_{name}", value)
    assert Settings.from_environment() == Settings(
        Path("/k"), "owner/name", Path("/c"), Path("/f.jsonl"), 12.5, 8, "ray://head:10001", True
    )


def test_an_empty_variable_is_as_none(environment: pytest.MonkeyPatch) -> None:
    default = Settings.from_environment()
    for name in ("KNOWLEDGE", "ENCODER", "CACHE", "FEEDBACK", "DEMO_DEADLINE", "DEMO_CONCURRENCY", "RUNNER", "MCP"):
        environment.setenv(f"TUTOR_{name}", "")
    assert Settings.from_environment() == default


def test_the_cache_is_where_the_system_keeps_caches(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("XDG_CACHE_HOME", "/x")
    assert Settings.from_environment().cache == Path("/x/deep-learning-tutor")


@pytest.mark.parametrize("variable", ["TUTOR_DEMO_DEADLINE", "TUTOR_DEMO_CONCURRENCY", "TUTOR_MCP"])
@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf", "1e9", "1,5"])
def test_a_bad_number_names_its_variable(environment: pytest.MonkeyPatch, variable: str, value: str) -> None:
    environment.setenv(variable, value)
    with pytest.raises(SettingError, match=f"^{variable}='{value}' is not a number in"):
        Settings.from_environment()


@pytest.mark.parametrize(
    ("variable", "lowest", "highest"), [("TUTOR_DEMO_DEADLINE", 1, 3600), ("TUTOR_DEMO_CONCURRENCY", 1, 64), ("TUTOR_MCP", 0, 1)]
)
def test_the_limits_of_a_number_are_named_and_included(environment: pytest.MonkeyPatch, variable: str, lowest: int, highest: int) -> None:
    for value in (lowest, highest):
        environment.setenv(variable, str(value))
        assert getattr(Settings.from_environment(), variable.removeprefix("TUTOR_").lower()) == value
    for value in (lowest - 1, highest + 1):
        environment.setenv(variable, str(value))
        with pytest.raises(SettingError, match=f"{variable}='{value}' is not a number in {lowest} … {highest}$"):
            Settings.from_environment()


def test_mcp_needs_its_package(environment: pytest.MonkeyPatch) -> None:
    environment.setitem(sys.modules, "mcp", None)
    assert not Settings.from_environment().mcp
    environment.setenv("TUTOR_MCP", "1")
    with pytest.raises(SettingError, match=r"TUTOR_MCP.*off"):
        Settings.from_environment()


@pytest.mark.parametrize("value", ["in-process", "ray://local", "ray://head:10001", "ray://192.0.2.7:1", "ray://[2001:db8::1]:65535"])
def test_a_runner_can_be_named(environment: pytest.MonkeyPatch, value: str) -> None:
    environment.setenv("TUTOR_RUNNER", value)
    assert Settings.from_environment().runner == value


@pytest.mark.parametrize(
    "value",
    ["ray", "ray://", "ray://head", "ray://head:", "ray://head:0", "ray://head:65536", "ray://head:port", "ray://:10001", "http://head:10001",
     "ray://head:10001/x", "ray://head:10001?x=1", "ray://head:10001#x", "ray://me:secret@head:10001", "ray://local:", "ray://[::1:10001"],
)  # fmt: skip
def test_a_bad_runner_names_its_variable(environment: pytest.MonkeyPatch, value: str) -> None:
    environment.setenv("TUTOR_RUNNER", value)
    with pytest.raises(
        SettingError, match=f"^TUTOR_RUNNER={re.escape(repr(value))} is none of in-process, ray://HOST:PORT and ray://local$"
    ):
        Settings.from_environment()


@pytest.mark.parametrize("missing", ["ray", "grpc"])
def test_a_cluster_needs_its_packages(environment: pytest.MonkeyPatch, missing: str) -> None:
    environment.setitem(sys.modules, missing, None)
    assert Settings.from_environment().runner == "in-process"
    environment.setenv("TUTOR_RUNNER", "ray://head:10001")
    with pytest.raises(SettingError, match=r"TUTOR_RUNNER=ray://head:10001.*pip install 'deep-learning-tutor\[ray\]'.*'ray\[client\]'"):
        Settings.from_environment()


@pytest.mark.parametrize("value", ["off", "OFF"])
def test_feedback_can_be_switched_off(environment: pytest.MonkeyPatch, value: str) -> None:
    environment.setenv("TUTOR_FEEDBACK", value)
    assert Settings.from_environment().feedback is None


def test_feedback_is_off_on_a_space_unless_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SPACE_ID", "owner/space")
    assert Settings.from_environment().feedback is None
    environment.setenv("TUTOR_FEEDBACK", "/data/feedback.jsonl")
    assert Settings.from_environment().feedback == Path("/data/feedback.jsonl")
