"""From a question to ranked answers: the shipped encoder against all-MiniLM-L6-v2 and against BM25, over the same texts and probes.

With either encoder all of `tutor.ranking` is timed: encoding, the search among questions and outside topics, and the words' evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.core.bm25 import BM25Index
from benchmarks.core.comparison import Aim, Row, data_of
from benchmarks.core.machine import encoder_label
from benchmarks.core.probes import accuracy_figures, first_entries, probes_of, reciprocal_rank, texts_of
from benchmarks.core.timing import timed
from tutor.config import Settings
from tutor.encoder import load_encoder
from tutor.index import Hit
from tutor.knowledge import KnowledgeBase
from tutor.labelled import LabelledQuery
from tutor.question import LANGUAGES
from tutor.ranking import Ranker
from tutor.training.teacher import teacher_folder

OURS, MINILM, BM25 = "shipped encoder + FAISS", "all-MiniLM-L6-v2 + FAISS", "BM25 + jieba"
LOADS, PASSES = 5, 3
WARM_UP = 10  # queries of each system and pass that are not measured
QUICK_ENTRIES = 8

NO_SLOWER, NO_WORSE = Aim("ratio", "≤", 1), Aim("ratio", "≥", 1)
FIVE_TIMES_AS_FAST = Aim("ratio", "≤", 0.2)
LOADED = Aim("result", "≤", 0.5)  # s

Search = Callable[[str], Sequence[Hit]]  # a query → questions, best first


def measure(quick: bool = False) -> dict[str, Any]:
    """Milliseconds of single queries in this process (encoding and search), accuracy on the same probes, and loading times."""
    settings = Settings.from_environment()
    knowledge = KnowledgeBase.load(settings.knowledge)
    loads, passes = (1, 1) if quick else (LOADS, PASSES)
    if quick:
        knowledge = first_entries(knowledge, QUICK_ENTRIES)
    encoders: dict[str, str | Path] = {OURS: settings.encoder, MINILM: teacher_folder()}
    loading = _loading_s(encoders, loads)
    searches, building = _build(encoders, knowledge)
    probes = probes_of(knowledge)
    milliseconds, ranks = _ask(searches, probes, passes)
    systems = {name: _figures(milliseconds[name], ranks[name], probes) for name in searches}
    for name in encoders:
        systems[name] |= {"loading_s": median(loading[name]), "indexing_s": building[name]}
    return {
        "rows": data_of(_rows(systems)),
        "encoder": encoder_label(settings.encoder),
        "questions": len(knowledge.questions),
        "texts": sum(map(len, texts_of(knowledge).values())),
        "outside_texts": sum(len(topic.all_texts) for topic in knowledge.outside.values()),
        "probes": len(probes),
        "passes": passes,
        "threads": _threads(),
        "systems": systems,
    }


def _loading_s(encoders: Mapping[str, str | Path], rounds: int) -> dict[str, list[float]]:
    """Seconds to load each encoder once everything is imported and in the file cache, taken in turns."""
    for encoder in encoders.values():
        load_encoder(encoder)
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for _ in range(rounds):
        for name, encoder in encoders.items():
            seconds[name].append(timed(load_encoder, encoder)[0])
    return seconds


def _build(encoders: Mapping[str, str | Path], knowledge: KnowledgeBase) -> tuple[dict[str, Search], dict[str, float]]:
    """The three systems over the same questions, and the seconds that it took to index all texts with each encoder."""
    searches: dict[str, Search] = {}
    seconds: dict[str, float] = {}
    for name, encoder in encoders.items():
        seconds[name], ranker = timed(Ranker.build, knowledge, load_encoder(encoder))
        searches[name] = partial(_hits, ranker)
    searches[BM25] = BM25Index(texts_of(knowledge)).rank
    return searches, seconds


def _hits(ranker: Ranker, query: str) -> Sequence[Hit]:
    return ranker.rank(query).hits


def _ask(
    searches: Mapping[str, Search], probes: Sequence[LabelledQuery], passes: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds of every probe in each pass, and its reciprocal rank, with each system.

    A system goes through all the probes before the next has its turn: right after a transformer, its threads still spin in wait for work and
    would slow the others' first milliseconds.
    """
    milliseconds: dict[str, list[float]] = {name: [] for name in searches}
    ranks: dict[str, list[float]] = {}
    for _ in range(passes):
        for name, search in searches.items():
            for probe in probes[:WARM_UP]:
                search(probe.query)
            answered = [timed(search, probe.query) for probe in probes]
            milliseconds[name] += [1000 * seconds for seconds, _ in answered]
            ranks[name] = [
                reciprocal_rank([hit.question_id for hit in hits], probe.answers[0])
                for (_, hits), probe in zip(answered, probes, strict=True)
            ]
    return milliseconds, ranks


def _figures(milliseconds: Sequence[float], ranks: Sequence[float], probes: Sequence[LabelledQuery]) -> dict[str, Any]:
    by_language: dict[str, Any] = {
        language: accuracy_figures([rank for rank, probe in zip(ranks, probes, strict=True) if probe.language == language])
        for language in LANGUAGES
    }
    return {"p50_ms": float(np.percentile(milliseconds, 50)), "p95_ms": float(np.percentile(milliseconds, 95)), **by_language}


def _rows(systems: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    ours, rows = systems[OURS], []
    for baseline, p50, p95 in ((MINILM, FIVE_TIMES_AS_FAST, NO_SLOWER), (BM25, None, None)):
        theirs = systems[baseline]
        rows += [Row(name[:3], ours[name], "ms", theirs[name], baseline, aim) for name, aim in (("p50_ms", p50), ("p95_ms", p95))]
        rows += [
            Row(f"{name}, {language}", ours[language][name], "", theirs[language][name], baseline, NO_WORSE)
            for language in LANGUAGES
            for name in ours[language]
        ]
    for name, words, aim in (("loading_s", "encoder loaded", LOADED), ("indexing_s", "all texts indexed", NO_SLOWER)):
        rows.append(Row(words, ours[name], "s", systems[MINILM][name], MINILM, aim))
    return rows


def _threads() -> int:
    import torch

    return torch.get_num_threads()
