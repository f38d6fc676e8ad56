"""Search among up to a million texts: time, memory and what the approximation misses, beside an exact search; and what a changed entry costs.

The texts are synthetic: clauses of the knowledge base joined at random, encoded by the shipped encoder. Each size has a process of its own,
so that its memory is not that of the sizes before it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.core.application import memory_mb
from benchmarks.core.comparison import Aim, Row, data_of
from benchmarks.core.machine import encoder_label
from benchmarks.core.probes import texts_of
from benchmarks.core.timing import timed
from tutor.calibration import QUERIES
from tutor.config import ROOT, Settings
from tutor.encoder import Encoder, load_encoder
from tutor.index import VectorIndex, encode_cached, normalized
from tutor.knowledge import KnowledgeBase
from tutor.labelled import load_labelled_queries
from tutor.question import LANGUAGES, Question
from tutor.ranking import Ranker

SIZES, COMPARED_AT = (1_000, 10_000, 50_000, 100_000, 1_000_000), 100_000  # texts
QUICK_SIZES, QUICK_COMPARED_AT = (1_000, 60_000), 60_000
ASKED, NEAREST, WARM_UP = 300, 10, 10  # queries, texts found for each, and queries asked before the clock runs
CLAUSES, SHORTEST = 3, 4  # clauses of a text, characters of a clause
BLOCK = 20_000  # texts encoded at once
LINKS, WHILE_BUILDING, WHILE_SEARCHING = 32, 80, 512  # HNSW: links of a vector, and its candidates (efConstruction, efSearch)
SENTENCE = {"zh": "先说结论。", "en": "The short version first."}  # put before an answer

EXACT, SHIPPED = "exact FAISS index", "shipped VectorIndex"
QUICK_ENOUGH, COMPLETE = Aim("result", "≤", 5), Aim("result", "≥", 0.98)  # at the largest size: ms, recall

Search = Callable[[np.ndarray], np.ndarray]  # an embedding → positions of the nearest texts
Figures = dict[str, float]


def measure(quick: bool = False) -> dict[str, Any]:
    """Seconds, MB, milliseconds of single queries on one thread and recall by size; texts encoded again after a change."""
    sizes, compared_at = (QUICK_SIZES, QUICK_COMPARED_AT) if quick else (SIZES, COMPARED_AT)
    settings = Settings.from_environment()
    by_size = {size: _in_a_process(size, compared=size == compared_at) for size in sizes}
    changed = _changed_entry(settings)
    rows = [row for size, figures in by_size.items() for row in _rows(size, figures, aimed=size == max(SIZES))]
    rows += _compared_rows(compared_at, by_size[compared_at])
    rows.append(Row("texts encoded again, one entry changed", changed["encoded"], "", changed["texts"], "all texts"))
    return {
        "rows": data_of(rows),
        "encoder": encoder_label(settings.encoder),
        "queries": ASKED,
        "hnsw": {"links": LINKS, "efConstruction": WHILE_BUILDING, "efSearch": WHILE_SEARCHING},
        "sizes": by_size,
        "changed_entry": changed,
    }


def measure_size(size: int, compared: bool) -> dict[str, Any]:
    """All figures of an index of this many texts; `compared` adds an HNSW index of the same vectors."""
    import faiss

    settings = Settings.from_environment()
    encoder = load_encoder(settings.encoder)
    queries = _queries(encoder)
    clauses = clauses_of(KnowledgeBase.load(settings.knowledge))
    before = memory_mb(os.getpid())
    encode_s, embeddings = timed(_encoded, clauses, size, encoder)
    build_s, index = timed(VectorIndex, embeddings)
    del embeddings
    after = memory_mb(os.getpid())
    exact_s, exact = timed(_filled, faiss.IndexFlatIP(index.dimensions), index.vectors)
    truth: np.ndarray = exact.search(queries, NEAREST)[1]
    found = {
        "texts": size,
        "dimensions": index.dimensions,
        "exact": index.exact,
        "threads_building": faiss.omp_get_max_threads(),
        "encode_s": encode_s,
        "memory_before_mb": before,
        "memory_after_mb": after,
        "shipped": {"build_s": build_s, **_searched(lambda query: index.nearest(query, NEAREST)[0], queries, truth)},
        "baseline": {"build_s": exact_s, **_searched(_search_of(exact), queries, truth)},
    }
    if compared:
        graph = faiss.IndexHNSWFlat(index.dimensions, LINKS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction, graph.hnsw.efSearch = WHILE_BUILDING, WHILE_SEARCHING
        graph_s, _ = timed(_filled, graph, index.vectors)
        found["hnsw"] = {"build_s": graph_s, **_searched(_search_of(graph), queries, truth)}
    return found


def clauses_of(knowledge: KnowledgeBase) -> list[str]:
    """The clauses of all passages, cut at punctuation, without the shortest."""
    texts = [text for of_question in texts_of(knowledge).values() for text in of_question]
    clauses = [clause.strip() for text in texts for clause in re.split(r"[,.;:?!，。；：？！、]", text)]
    return [clause for clause in clauses if len(clause) >= SHORTEST]


def _in_a_process(size: int, compared: bool) -> dict[str, Any]:
    """`measure_size` in a fresh process, which ends with this one."""
    command = [sys.executable, "-m", "benchmarks.scale", str(size), *(["compared"] if compared else [])]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _queries(encoder: Encoder) -> np.ndarray:
    """Unit vectors (ASKED, dimensions) of queries drawn from those that the encoder is calibrated on."""
    rows = load_labelled_queries(QUERIES)
    drawn = np.random.default_rng(0).choice(len(rows), min(ASKED, len(rows)), replace=False)
    return normalized(encode_cached([rows[position].query for position in drawn.tolist()], encoder))


def _encoded(clauses: Sequence[str], size: int, encoder: Encoder) -> np.ndarray:
    """Embeddings (size, dimensions) of synthetic texts, block by block, so that never all texts are held."""
    generator = np.random.default_rng(0)
    blocks: list[np.ndarray] = []
    for start in range(0, size, BLOCK):
        chosen = generator.integers(0, len(clauses), (min(BLOCK, size - start), CLAUSES)).tolist()
        blocks.append(encode_cached([" ".join(clauses[position] for position in of_text) for of_text in chosen], encoder))
    return np.concatenate(blocks)


def _filled(index: Any, vectors: np.ndarray) -> Any:
    index.add(vectors)
    return index


def _search_of(index: Any) -> Search:
    def search(query: np.ndarray) -> np.ndarray:
        positions: np.ndarray = index.search(query[None], NEAREST)[1][0]
        return positions

    return search


def _searched(search: Search, queries: np.ndarray, truth: np.ndarray) -> Figures:
    """Milliseconds of single queries on one FAISS thread, and the share of the true nearest (queries, NEAREST) that is found."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        for query in queries[:WARM_UP]:
            search(query)
        answered = [timed(search, query) for query in queries]
    finally:
        faiss.omp_set_num_threads(threads)
    milliseconds = [1000 * seconds for seconds, _ in answered]
    shares = [len(np.intersect1d(positions, nearest)) / NEAREST for (_, positions), nearest in zip(answered, truth, strict=True)]
    return {
        "p50_ms": float(np.percentile(milliseconds, 50)),
        "p95_ms": float(np.percentile(milliseconds, 95)),
        f"recall_at_{NEAREST}": float(np.mean(shares)),
    }


class _CountingEncoder:
    """An encoder that counts the texts that it is asked for."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.encoded = 0

    def encode(self, inputs: Sequence[str], *, show_progress_bar: bool | None = None) -> np.ndarray:
        self.encoded += len(inputs)
        return self._encoder.encode(inputs, show_progress_bar=show_progress_bar)


def _changed_entry(settings: Settings) -> dict[str, Any]:
    """Texts that are encoded when the knowledge is indexed at first, and again after a sentence is put before one entry's full answers.

    The entry is the one with the most texts. The sentence may shift where the passages after it begin.
    """
    knowledge = KnowledgeBase.load(settings.knowledge)
    texts = texts_of(knowledge)
    name = max(texts, key=lambda question: len(texts[question]))
    questions = {**knowledge.questions, name: _changed(knowledge.questions[name])}
    encoder = _CountingEncoder(load_encoder(settings.encoder))
    counts, seconds = [], []
    with tempfile.TemporaryDirectory() as cache:
        for version in (knowledge, dataclasses.replace(knowledge, questions=questions)):
            encoder.encoded = 0
            seconds.append(timed(Ranker.build, version, encoder, "counted", Path(cache))[0])
            counts.append(encoder.encoded)
    return {
        "entry": name,
        "texts_of_entry": len(texts[name]),
        "texts": counts[0],
        "encoded": counts[1],
        "first_build_s": seconds[0],
        "second_build_s": seconds[1],
    }


def _changed(question: Question) -> Question:
    answers = {
        language: dataclasses.replace(question.answers[language], full=f"{SENTENCE[language]} {question.answers[language].full}")
        for language in LANGUAGES
    }
    return dataclasses.replace(question, answers=answers)


def _rows(size: int, figures: Mapping[str, Any], aimed: bool) -> list[Row]:
    """`aimed` sets the limits of speed and recall."""
    about = f"{size:,} texts, {'exact' if figures['exact'] else 'approximate'}"
    ours, exact, recall = figures["shipped"], figures["baseline"], f"recall_at_{NEAREST}"
    return [
        Row(f"{about}: encoded", figures["encode_s"], "s"),
        Row(f"{about}: index built", ours["build_s"], "s", exact["build_s"], EXACT),
        Row(f"{about}: memory", figures["memory_after_mb"], "MB", figures["memory_before_mb"], "before the texts"),
        Row(f"{about}: p50", ours["p50_ms"], "ms", exact["p50_ms"], EXACT),
        Row(f"{about}: p95", ours["p95_ms"], "ms", exact["p95_ms"], EXACT, QUICK_ENOUGH if aimed else None),
        Row(f"{about}: {recall}", ours[recall], "", exact[recall], EXACT, COMPLETE if aimed else None),
    ]


def _compared_rows(size: int, figures: Mapping[str, Any]) -> list[Row]:
    """The approximation that was not chosen, beside the one that was."""
    graph, ours, recall = figures["hnsw"], figures["shipped"], f"recall_at_{NEAREST}"
    return [
        Row(f"{size:,} texts, HNSW instead: {words}", graph[name], unit, ours[name], SHIPPED)
        for name, words, unit in (("build_s", "index built", "s"), ("p95_ms", "p95", "ms"), (recall, recall, ""))
    ]


if __name__ == "__main__":
    print(json.dumps(measure_size(int(sys.argv[1]), compared="compared" in sys.argv[2:])))
