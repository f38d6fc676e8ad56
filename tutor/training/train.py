"""One command from the parallel corpus to the shipped encoder: corpus → teacher → tokenizer → student → calibration → model card.

    python -m tutor train --corpus ../shared/data/parallel.zh-en.tsv.gz

About ten minutes of teacher encoding on two cores (kept in the cache), then a few minutes for the student.
"""

from __future__ import annotations

import csv
import logging
import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tutor.calibration import QUERIES, calibrate
from tutor.encoder import DEFAULT_ENCODER, MODELS, fingerprint, load_encoder
from tutor.evaluation import evaluate, outcomes_of
from tutor.knowledge import KnowledgeBase, passages
from tutor.labelled import load_labelled_queries
from tutor.retriever import Retriever
from tutor.training.card import write_card
from tutor.training.corpus import Corpus, Pair, load_corpus
from tutor.training.student import EntryTexts, Lesson, Recipe, train_student
from tutor.training.teacher import principal_axes, project, teach
from tutor.training.tokenizer import token_bags, token_parents, train_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

GLOSSARY = Path(__file__).with_name("glossary.tsv")

# How often the few texts that matter most are repeated, in the tokenizer's texts and in the student's lesson.
_TOKENIZER_REPEATS = 10
_LESSON_REPEATS = 5

_log = logging.getLogger(__name__)


def train(
    corpus_path: Path,
    knowledge: KnowledgeBase,
    output: Path = MODELS / DEFAULT_ENCODER,
    recipe: Recipe = Recipe(),
    cache_dir: Path | None = None,
    calibration_queries: Path = QUERIES,
) -> Path:
    """Trains an encoder and writes it to the folder `output` with its calibration and model card; returns the folder.

    `cache_dir` keeps the teacher's vectors between runs. Neither the entries' probes nor the calibration queries are trained on. The same
    arguments give the same weights on one machine. Raises CorpusError, TeacherError or CalibrationError.
    """
    corpus = load_corpus(corpus_path)
    rows = load_labelled_queries(calibration_queries)
    tokenizer, weights = _train_weights(corpus, knowledge, recipe, cache_dir)
    partial = output.with_name(f"{output.name}.partial-{os.getpid()}")
    _save_encoder(tokenizer, weights, partial)
    encoder = load_encoder(partial)
    calibration = calibrate(knowledge, encoder, rows, fingerprint(partial))
    calibration.save(partial / "calibration.json")
    figures = evaluate(outcomes_of(Retriever.build(knowledge, encoder, calibration), knowledge, rows))
    write_card(partial, output.name, corpus, recipe, len(load_glossary()), figures)
    _replace(output, partial)
    return output


def load_glossary(path: Path = GLOSSARY) -> list[Pair]:
    """Words and abbreviations (in either language, in the first place of the pair) with their meaning in English."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Pair(row["text"], row["meaning"]) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def _train_weights(corpus: Corpus, knowledge: KnowledgeBase, recipe: Recipe, cache_dir: Path | None) -> tuple[Tokenizer, np.ndarray]:
    # What lies outside repels, and is repelled by, everything else like an entry.
    entries = [passages(question) for question in knowledge.questions.values()]
    entries += [topic.all_texts for topic in knowledge.outside.values()]
    vital = [*load_glossary(), *_aligned(knowledge)]
    pairs = [*corpus.pairs, *vital * _LESSON_REPEATS]
    taught = teach([pair.en for pair in pairs], cache_dir)
    axes = principal_axes(taught[: len(corpus.pairs)], recipe.dimensions)
    texts = [text for pair in corpus.pairs for text in pair]
    frequent = [text for of_entry in entries for text in of_entry] + [text for pair in vital for text in pair]
    tokenizer = train_tokenizer([*texts, *frequent * _TOKENIZER_REPEATS], recipe.vocabulary)
    bags = token_bags(tokenizer, [*(pair.zh for pair in pairs), *(pair.en for pair in pairs)])
    lesson = Lesson(bags, np.tile(project(taught, axes), (2, 1)))
    return tokenizer, train_student(lesson, _entry_texts(tokenizer, entries), token_parents(tokenizer), recipe)


def _aligned(knowledge: KnowledgeBase) -> list[Pair]:
    """The texts of the entries that stand in both languages one for one."""
    pairs: list[Pair] = []
    for question in knowledge.questions.values():
        pairs.append(Pair(question.meta.question.zh, question.meta.question.en))
        pairs += [Pair(zh, en) for zh, en in zip(question.meta.key_points.zh, question.meta.key_points.en, strict=True)]
        # An English way to ask means what the teacher says it means.
        pairs += [Pair(text, text) for text in question.meta.paraphrases["en"]]
    return pairs


def _entry_texts(tokenizer: Tokenizer, entries: Collection[Sequence[str]]) -> EntryTexts:
    labels = np.repeat(np.arange(len(entries)), [len(of_entry) for of_entry in entries])
    return EntryTexts(token_bags(tokenizer, [text for of_entry in entries for text in of_entry]), labels)


def _save_encoder(tokenizer: Tokenizer, weights: np.ndarray, folder: Path) -> None:
    """Half precision halves the file and moves a cosine by less than 0.001."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

    encoder = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights), Normalize()], device="cpu")
    encoder.half().save_pretrained(str(folder), create_model_card=False)


def _replace(output: Path, partial: Path) -> None:
    if output.exists():
        shutil.rmtree(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(output)
    _log.info("the encoder is in %s", output)


__all__ = ["Recipe", "load_glossary", "train"]
