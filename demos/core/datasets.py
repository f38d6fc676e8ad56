"""Real data that comes with scikit-learn, the learner's own tables and 2-D sets made on the spot, as tensors. Nothing is downloaded."""

from __future__ import annotations

import functools
import gzip
import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from demos.core.lazy import torch
from demos.core.own_data import Target, read_table

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = 10
TEST_COUNT = 500
Bundled = Literal["breast_cancer", "wine", "iris", "diabetes"]


@dataclass(frozen=True)
class Dataset:
    """Features (N, F) and targets (N,), for training and for testing: classes 0 … `classes` − 1, or numbers (`classes` is 0)."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int

    @property
    def features(self) -> int:
        return self.train_x.shape[1]


def load_digits(device: torch.device | str = "cpu", *, generator: torch.Generator | None = None, train_count: int | None = None) -> Dataset:
    """The 1,797 handwritten digits of 8×8 pixels (F = 64, 10 classes), 500 of them for testing.

    Each pixel is centred on the training images, and all are divided by one number, so that the training images have variance 1 over all
    pixels. (One scale for each pixel would blow up the pixels at the rim, which are nearly always 0.) The split is drawn from the CPU
    `generator`, or the same each time without one. `train_count` keeps only so many of the 1,297 training images; ValueError if there are not so many.
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
    return _split(scaled, labels, train, test, CLASSES, device)


def load_bundled(name: Bundled, device: torch.device | str = "cpu", *, generator: torch.Generator | None = None) -> Dataset:
    """One of scikit-learn's tables, a third of it for testing, standardised by the training rows.

    breast_cancer (569 × 30, 2 classes), wine (178 × 13, 3), iris (150 × 4, 3); diabetes (442 × 10) has a number as its target, standardised too.
    """
    x, y, classes = raw_table(name)
    return _standardised(x, y, classes, device, generator)


def load_own(
    text: str, target: Target, device: torch.device | str = "cpu", *, generator: torch.Generator | None = None, columns: int = 0
) -> Dataset:
    """The learner's CSV text as a Dataset, a third of it for testing, standardised by the training rows. Raises ParameterError."""
    table = read_table(text, target, columns)
    y = torch.tensor(table.targets)
    classes = len(table.class_names)
    return _standardised(torch.tensor(table.features), y.long() if classes else y, classes, device, generator)


def load_digits_or_own(
    text: str, device: torch.device | str = "cpu", *, generator: torch.Generator | None = None, train_count: int | None = None
) -> Dataset:
    """The digits, or the learner's classes where `text` holds a CSV; `train_count` keeps so many training rows, or all if there are fewer."""
    if not text:
        return load_digits(device, generator=generator, train_count=train_count)
    own = load_own(text, "classes", device, generator=generator)
    return Dataset(own.train_x[:train_count], own.train_y[:train_count], own.test_x, own.test_y, own.classes)


def shuffles(total: int, seeds: int, generator: torch.Generator, size: int | None = None) -> Tensor:
    """For each of `seeds`, `size` of the numbers 0 … total − 1 in an order of chance, none twice; all of them without a size: (seeds, size)."""
    return torch.stack([torch.randperm(total, generator=generator)[:size] for _ in range(seeds)])


def moved(images: Tensor, reach: int = 1) -> Tensor:
    """Flattened square images (N, P), 0 where empty, moved by −reach … reach pixels each way: ((2·reach + 1)², N, P); the middle one is not moved."""
    side = math.isqrt(images.shape[1])
    square = torch.nn.functional.pad(images.view(-1, side, side), (reach,) * 4)
    offsets = range(2 * reach + 1)
    return torch.stack([square[:, i : i + side, j : j + side].reshape(len(images), -1) for i in offsets for j in offsets])


# ---- 2-D sets made on the spot ---------------------------------------------------------------------------------------


def moons(count: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two half circles that reach into each other: x (count, 2) of about ±1.5, y (count,) in 0, 1; `noise` is the standard deviation added."""
    y = torch.arange(count) % 2
    angle = math.pi * torch.rand(count, generator=generator)
    flip = 1 - 2 * y.float()
    x = torch.stack([angle.cos() * flip + y.float() - 0.5, angle.sin() * flip + 0.5 * y.float() - 0.25], 1)
    return x + noise * torch.randn(count, 2, generator=generator), y


def circles(count: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A circle of radius ½ inside one of radius 1: x (count, 2), y (count,) in 0, 1; `noise` is the standard deviation added."""
    y = torch.arange(count) % 2
    angle = 2 * math.pi * torch.rand(count, generator=generator)
    x = torch.stack([angle.cos(), angle.sin()], 1) * (1 - 0.5 * y.float())[:, None]
    return x + noise * torch.randn(count, 2, generator=generator), y


def spirals(count: int, noise: float, generator: torch.Generator, arms: int = 2, turns: float = 1.5) -> tuple[Tensor, Tensor]:
    """Arms that wind about each other: x (count, 2) within radius 1, y (count,) in 0 … arms − 1; `noise` is the standard deviation added."""
    y = torch.arange(count) % arms
    radius = torch.rand(count, generator=generator).sqrt() * 0.95 + 0.05
    angle = 2 * math.pi * (turns * radius + y.float() / arms)
    x = torch.stack([angle.cos(), angle.sin()], 1) * radius[:, None]
    return x + noise * torch.randn(count, 2, generator=generator), y


# ---- files -----------------------------------------------------------------------------------------------------------


def _split(x: Tensor, y: Tensor, train: Tensor, test: Tensor, classes: int, device: torch.device | str) -> Dataset:
    return Dataset(x[train].to(device), y[train].to(device), x[test].to(device), y[test].to(device), classes)


def _standardised(x: Tensor, y: Tensor, classes: int, device: torch.device | str, generator: torch.Generator | None) -> Dataset:
    """A Dataset with mean 0 and variance 1 in each feature (and in the target, if it is a number) over the training rows."""
    order = torch.randperm(len(y), generator=generator or torch.Generator().manual_seed(0))
    test, train = order[: len(y) // 3], order[len(y) // 3 :]
    centred = x - x[train].mean(0)
    scaled = centred / _scale(centred[train].std(0))
    if not classes:
        y = (y - y[train].mean()) / _scale(y[train].std())
    return _split(scaled, y, train, test, classes, device)


def _scale(deviation: Tensor) -> Tensor:
    """What to divide by: a column that never changes stays 0."""
    return deviation.where(deviation > 1e-12, 1.0)


@functools.cache
def _raw_digits() -> tuple[Tensor, Tensor]:
    """Images (1797, 64) with pixels 0 … 16, labels (1797,)."""
    rows = _numbers_of("digits.csv.gz")
    return rows[:, :-1], rows[:, -1].long()


@functools.cache
def raw_table(name: Bundled) -> tuple[Tensor, Tensor, int]:
    """Features, targets and the number of classes (0 for numbers)."""
    if name == "diabetes":
        return _numbers_of("diabetes_data_raw.csv.gz"), _numbers_of("diabetes_target.csv.gz")[:, 0], 0
    rows = _numbers_of({"breast_cancer": "breast_cancer.csv", "wine": "wine_data.csv", "iris": "iris.csv"}[name], skip=1)
    return rows[:, :-1], rows[:, -1].long(), int(rows[:, -1].max()) + 1


def _numbers_of(file_name: str, skip: int = 0) -> Tensor:
    """The rows of one of scikit-learn's data files.

    Read straight from the file: importing scikit-learn's loaders takes one to four seconds, in which a learner would wait for the first picture.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError("the data come with scikit-learn, which is not installed: pip install scikit-learn")
    file = Path(package.submodule_search_locations[0]) / "datasets" / "data" / file_name
    if not file.exists():
        raise RuntimeError(f"this scikit-learn has no {file_name}: install scikit-learn 1.5 or newer")
    data = file.read_bytes()
    lines = (gzip.decompress(data) if file.suffix == ".gz" else data).decode().split("\n")
    return torch.tensor([[float(value) for value in line.replace(",", " ").split()] for line in lines[skip:] if line.strip()])
