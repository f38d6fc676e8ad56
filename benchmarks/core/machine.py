"""What a result was measured on and with. Names neither the host nor any of its paths."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from demos.core.device import available_devices
from tutor.encoder import DEFAULT_ENCODER

PACKAGES = ("torch", "gradio", "sentence-transformers", "faiss-cpu", "bm25s", "numpy", "ray")


def circumstances() -> dict[str, Any]:
    """Date, versions, processor and accelerators, cores and the load average as it is now."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "system": platform.system(),
        "devices": list(available_devices().values()),
        "cores": cores(),
        "load_average": load_average(),
    }


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_average() -> list[float] | None:
    """Processes that ran or wanted to, over the last 1, 5 and 15 minutes; None where the system does not say."""
    return [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None


def encoder_label(encoder: str) -> str:
    """The encoder's name, without the path of one in another folder."""
    return encoder if encoder == DEFAULT_ENCODER or not Path(encoder).expanduser().exists() else f"folder {Path(encoder).name}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
