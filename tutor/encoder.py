"""The encoder: anything whose `encode` turns texts into vectors, such as a SentenceTransformer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

MODELS = Path(__file__).resolve().parent / "models"
DEFAULT_ENCODER = "zh-en-static-256"

_BESIDE_THE_WEIGHTS = frozenset({"README.md", "calibration.json"})  # files that do not change what the encoder computes


class EncoderError(RuntimeError):
    """An encoder that cannot be loaded; the message says what was looked for and what to do."""


class Encoder(Protocol):
    """Anything that encodes texts. A SentenceTransformer fits as it is."""

    def encode(self, inputs: Sequence[str], *, show_progress_bar: bool | None = None) -> np.ndarray:
        """Vectors of the texts, shape (texts, dimensions); their length does not matter."""
        ...


def load_encoder(path_or_hub_id: str | Path = DEFAULT_ENCODER) -> Encoder:
    """The encoder of a bundled name, a local folder or a hub id, in single precision on the CPU.

    A local one is loaded without touching the network. Raises EncoderError if there is none or it does not load.
    """
    folder = _folder(path_or_hub_id)
    if folder is None and _is_path(path_or_hub_id):
        raise EncoderError(
            f"there is no encoder at {path_or_hub_id}: expected a folder with modules.json, the id of a sentence-transformers model on "
            f"the Hugging Face hub (owner/name), or one of the bundled {_bundled()}"
        )
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from sentence_transformers import SentenceTransformer

    try:
        encoder = SentenceTransformer(str(folder or path_or_hub_id), device="cpu", local_files_only=folder is not None)
    # Loading runs code of four libraries, each with errors of its own; whichever it is, the reader needs the same advice.
    except Exception as error:
        raise EncoderError(_advice(path_or_hub_id, folder, error)) from error
    # Half-precision weights save disk, not time: on a CPU they are slower, and an average of no tokens becomes NaN.
    loaded: Encoder = encoder.float().eval()
    return loaded


def fingerprint(path_or_hub_id: str | Path) -> str:
    """What identifies the encoder in caches and calibrations: a hash of a folder's content, or the hub id with its revision."""
    folder = _folder(path_or_hub_id)
    if folder is None:
        return f"{path_or_hub_id}@{_revision(str(path_or_hub_id))}"
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in _BESIDE_THE_WEIGHTS and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def encoder_folder(path_or_hub_id: str | Path) -> Path | None:
    """The folder of a bundled or local encoder; None for one of the hub."""
    return _folder(path_or_hub_id)


def _folder(path_or_hub_id: str | Path) -> Path | None:
    for candidate in (Path(path_or_hub_id).expanduser(), MODELS / path_or_hub_id):
        if (candidate / "modules.json").is_file():
            return candidate
    return None


def _is_path(path_or_hub_id: str | Path) -> bool:
    """Whether it cannot be a hub id, which is `name` or `owner/name`."""
    text = str(path_or_hub_id)
    return (
        isinstance(path_or_hub_id, Path) or text.count("/") > 1 or "\\" in text or text.startswith(("/", ".", "~")) or Path(text).exists()
    )


def _bundled() -> str:
    return ", ".join(sorted(path.parent.name for path in MODELS.glob("*/modules.json"))) or "(none)"


def _revision(hub_id: str) -> str:
    """The commit of the hub's copy on this machine; `main` if it is not here yet."""
    from huggingface_hub import try_to_load_from_cache

    found: Any = try_to_load_from_cache(hub_id, "config.json") or try_to_load_from_cache(hub_id, "modules.json")
    return Path(found).parent.name if isinstance(found, str) else "main"


def _advice(name: str | Path, folder: Path | None, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [""])[0]
    if folder is not None:
        return (
            f"the encoder in {folder} does not load ({type(error).__name__}: {reason}); copy its files again, or pick one of: {_bundled()}"
        )
    return (
        f"the encoder {name} was found neither in a folder of that name, nor among the bundled ({_bundled()}), nor on the Hugging Face hub "
        f"({type(error).__name__}: {reason}); check the name and the network, or unset TUTOR_ENCODER to use the bundled {DEFAULT_ENCODER}"
    )
