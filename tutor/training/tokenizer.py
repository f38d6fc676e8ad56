"""A bilingual BPE tokenizer, and bags of its tokens.

Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016), https://arxiv.org/abs/1508.07909. Chinese is not
segmented: merges inside runs of Han characters find the words. Latin words, Han runs and single digits never share a token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADDING = -1  # of a bag with fewer tokens than the longest
_PIECES = r"\p{Han}+|(?:(?!\p{Han})[\p{L}\p{M}])+|\p{N}|[^\s\p{L}\p{M}\p{N}]"
_MAX_TOKENS = 96  # of a training text; longer ones are cut


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """A tokenizer of `vocabulary` tokens: NFKC, lower case, BPE without an unknown-token fallback (unknown characters vanish)."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True)
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, min_frequency=2, limit_alphabet=4000, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def token_bags(tokenizer: Tokenizer, texts: Sequence[str]) -> np.ndarray:
    """Token ids of each text, shape (texts, longest ≤ 96), int32, padded with -1."""
    encodings = [encoding.ids[:_MAX_TOKENS] for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
    bags = np.full((len(texts), max(map(len, encodings), default=1) or 1), PADDING, dtype=np.int32)
    for row, ids in enumerate(encodings):
        bags[row, : len(ids)] = ids
    return bags


def token_parents(tokenizer: Tokenizer) -> np.ndarray:
    """The two tokens that each token was merged from, shape (vocabulary, 2), int32; a single character has itself and padding."""
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    parents = np.full((len(vocabulary), 2), PADDING, dtype=np.int32)
    parents[:, 0] = np.arange(len(vocabulary))
    for left, right in model["merges"]:
        parents[vocabulary[left + right]] = vocabulary[left], vocabulary[right]
    return parents


def split_tokens(bags: np.ndarray, parents: np.ndarray, probability: float, generator: np.random.Generator) -> np.ndarray:
    """The bags with each token replaced by its two parents with this probability: shape (texts, 2 × longest).

    A seedable stand-in for BPE dropout (Provilkov et al. 2020, https://arxiv.org/abs/1910.13267), whose library version is not.
    """
    chosen = (generator.random(bags.shape) < probability) & (bags != PADDING)
    left = np.where(chosen, parents[bags, 0], bags)
    right = np.where(chosen, parents[bags, 1], PADDING)
    return np.concatenate([left, right], axis=1)
