"""Which devices there are, and what they are called."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from demos.core.lazy import torch
from demos.core.parameters import ParameterError
from demos.core.text import Text


class DeviceError(ParameterError):
    """A device that this machine does not have; the message names those it has."""


def available_devices() -> dict[str, str]:
    """Torch's name of each device → its human name; accelerators first, so the first one is the default."""
    devices = {f"cuda:{i}": torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        devices["mps"] = f"{_processor()} GPU"
    devices["cpu"] = f"{_processor()} ({_cores()})"
    return devices


def pick_device(name: str | None = None) -> torch.device:
    """The named device, or the best one there is. `cuda` means the first GPU. Raises DeviceError."""
    devices = available_devices()
    if name is None:
        return torch.device(next(iter(devices)))
    known = "cuda:0" if name == "cuda" else name
    if known not in devices:
        there_are = ", ".join(f"{device} ({label})" for device, label in devices.items())
        raise DeviceError(
            Text(f"这台机器上没有设备 {name!r:.60}，可用的有：{there_are}", f"no device {name!r:.60} here; there are: {there_are}")
        )
    return torch.device(known)


def device_label(device: torch.device) -> str:
    """The human name of a device."""
    return available_devices().get(str(device), str(device))


def _cores() -> str:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{count} core{'s' if count > 1 else ''}"


def _processor() -> str:
    """The processor's name; on Linux `platform` knows only the architecture, so the kernel is asked."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "CPU"
