"""The student: one vector per token, averaged. Everything it knows it has from predicting the teacher.

Reimers and Gurevych, "Making Monolingual Sentence Embeddings Multilingual using Knowledge Distillation" (2020),
https://arxiv.org/abs/2004.09813: the student regresses on the teacher's vector of the English text from both languages. The entries of
the knowledge base add a contrastive term (Khosla et al., "Supervised Contrastive Learning", 2020, https://arxiv.org/abs/2004.11362): texts
of one entry attract each other, texts of different entries repel.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tutor.training.tokenizer import PADDING, split_tokens

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Everything that can be varied.

    The student first regresses on the teacher for `num_epochs` at `learning_rate`, then for `contrast_epochs` at
    `contrast_learning_rate` with the contrastive term, of weight `contrast`, added. Both rates fall linearly to nearly zero.
    `split` and `drop` are the chances that a token falls into its two parts, and that a token of an entry's text is left out.
    """

    vocabulary: int = 16_000
    dimensions: int = 256
    num_epochs: int = 3
    batch_size: int = 1024
    learning_rate: float = 1e-2
    split: float = 0.1
    contrast_epochs: int = 2
    contrast_learning_rate: float = 3e-3
    contrast: float = 0.5
    temperature: float = 0.1
    contrast_batch: int = 768
    drop: float = 0.2
    seed: int = 7


@dataclass(frozen=True)
class Lesson:
    """Texts with what they should mean: `bags` (texts, tokens) of token ids, `targets` (texts, dimensions) of unit vectors."""

    bags: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class EntryTexts:
    """Texts of the knowledge base: `bags` (texts, tokens) of token ids and `labels` (texts,), the number of the entry of each."""

    bags: np.ndarray
    labels: np.ndarray


def train_student(lesson: Lesson, entries: EntryTexts, parents: np.ndarray, recipe: Recipe) -> np.ndarray:
    """The token vectors, shape (vocabulary, dimensions), float32. The same recipe and data give the same vectors on one machine."""
    import torch

    generator = np.random.default_rng(recipe.seed)
    start = torch.randn(len(parents), recipe.dimensions, generator=torch.Generator().manual_seed(recipe.seed)) * 0.02
    taught = _descend(start, lesson, None, parents, recipe, generator)
    vectors: np.ndarray = _descend(taught, lesson, entries, parents, recipe, generator).numpy()
    return vectors


def _descend(
    weights: torch.Tensor, lesson: Lesson, entries: EntryTexts | None, parents: np.ndarray, recipe: Recipe, generator: np.random.Generator
) -> torch.Tensor:
    """The token vectors after one stage: regression alone without `entries`, with the contrastive term otherwise."""
    import torch

    weights = weights.clone().requires_grad_()
    targets = torch.from_numpy(lesson.targets.astype(np.float32))
    num_epochs = recipe.num_epochs if entries is None else recipe.contrast_epochs
    steps = num_epochs * math.ceil(len(targets) / recipe.batch_size)
    optimizer = torch.optim.Adam([weights], lr=recipe.learning_rate if entries is None else recipe.contrast_learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(1e-3, 1 - step / steps))
    for epoch in range(num_epochs):
        order = generator.permutation(len(targets))
        total = 0.0
        for start in range(0, len(order), recipe.batch_size):
            rows = order[start : start + recipe.batch_size]
            means = _embed(weights, lesson.bags[rows], parents, recipe.split, generator)
            loss = 1 - (means * targets[rows]).sum(dim=1).mean()
            total += float(loss.detach()) * len(rows)
            if entries is not None:
                loss = loss + recipe.contrast * _contrast(weights, entries, parents, recipe, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        stage = "regression" if entries is None else "contrast"
        _log.info("student: %s, epoch %d of %d, mean cosine to the teacher %.3f", stage, epoch + 1, num_epochs, 1 - total / len(order))
    return weights.detach()


def _embed(weights: torch.Tensor, bags: np.ndarray, parents: np.ndarray, split: float, generator: np.random.Generator) -> torch.Tensor:
    """Unit vectors of bags after randomly splitting their tokens twice, shape (texts, dimensions)."""
    import torch

    bags = bags[:, : max(1, int((bags != PADDING).sum(axis=1).max(initial=1)))]
    for _ in range(2 if split else 0):
        bags = split_tokens(bags, parents, split, generator)
    present = bags != PADDING
    offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))[:-1]])
    ids = torch.from_numpy(bags[present].astype(np.int64))
    means = torch.nn.functional.embedding_bag(ids, weights, torch.from_numpy(offsets), mode="mean")
    return torch.nn.functional.normalize(means, dim=1)


def _contrast(
    weights: torch.Tensor, entries: EntryTexts, parents: np.ndarray, recipe: Recipe, generator: np.random.Generator
) -> torch.Tensor:
    """The supervised contrastive loss over a random batch of the entries' texts, divided by log(batch) so that chance is about 1."""
    import torch

    rows = generator.permutation(len(entries.labels))[: recipe.contrast_batch]
    bags = entries.bags[rows]
    bags = np.where(generator.random(bags.shape) < recipe.drop, PADDING, bags)
    vectors = _embed(weights, bags, parents, recipe.split, generator)
    labels = torch.from_numpy(entries.labels[rows])
    same = labels[:, None] == labels[None, :]
    same.fill_diagonal_(False)
    logits = (vectors @ vectors.T / recipe.temperature).fill_diagonal_(-torch.inf)
    log_probability = torch.log_softmax(logits, dim=1).masked_fill(~same, 0)
    anchors = same.any(dim=1)
    losses = -log_probability.sum(dim=1)[anchors] / same.sum(dim=1)[anchors]
    return losses.mean() / math.log(len(rows)) if anchors.any() else weights.sum() * 0
