"""Real data that comes with scikit-learn, as tensors. Nothing is downloaded."""

from __future__ import annotations

import functools
import gzip
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from demos.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = 10
PIXELS = 64
TEST_COUNT = 500


@dataclass(frozen=True)
class Digits:
    """Handwritten digits of 8×8 pixels: images (N, 64), labels (N,) in 0 … 9.

    Each pixel is centred on the training images, and all are divided by one number, so that the training images have variance 1 over all
    pixels. (One scale for each pixel would blow up the pixels at the rim, which are nearly always 0.)
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


@functools.cache
def _raw_digits() -> tuple[Tensor, Tensor]:
    """Images (1797, 64) with pixels 0 … 16, labels (1797,).

    Read straight from scikit-learn's file: importing its loader takes one to four seconds, in which a learner would wait for the first picture.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError("the digits come with scikit-learn, which is not installed: pip install scikit-learn")
    file = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    if file.exists():
        rows = gzip.decompress(file.read_bytes()).decode().split()
        table = torch.tensor([[float(value) for value in row.split(",")] for row in rows])
        return table[:, :-1], table[:, -1].long()
    data = importlib.import_module("sklearn.datasets").load_digits()
    return torch.tensor(data.data, dtype=torch.float32), torch.tensor(data.target, dtype=torch.long)


def load_digits(device: torch.device | str = "cpu", *, generator: torch.Generator | None = None, train_count: int | None = None) -> Digits:
    """The 1,797 digits, 500 of them for testing; the split is drawn from the CPU `generator`, or the same each time without one.

    `train_count` keeps only so many of the 1,297 training images (all without it). Raises ValueError if there are not so many.
    """
    images, labels = _raw_digits()
    most = len(labels) - TEST_COUNT
    train_count = most if train_count is None else train_count
    if not 1 <= train_count <= most:
        raise ValueError(f"train_count is {train_count}, there are 1 … {most} training digits")
    order = torch.randperm(len(labels), generator=generator or torch.Generator().manual_seed(0))
    test, train = order[:TEST_COUNT], order[TEST_COUNT : TEST_COUNT + train_count]
    centred = images - images[train].mean(0)
    scaled = centred / centred[train].std().clamp_min(1e-6)
    split = (scaled[train], labels[train], scaled[test], labels[test])
    return Digits(*(part.to(device) for part in split))
