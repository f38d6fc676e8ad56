"""The parallel corpus: Chinese and English sentences that mean the same, from sources with a permissive licence only.

Two sources of the corpus are share-alike (CC BY-SA 4.0) and are left out, so that the weights carry no share-alike text:
MegEngine/Documentation as a whole, and d2l-ai/d2l-zh because its English side is the text of d2l-en, which is CC BY-SA 4.0
even though the repository of the Chinese side is Apache 2.0.
"""

from __future__ import annotations

import csv
import gzip
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PERMISSIVE = frozenset({"Apache 2.0", "MIT", "BSD 3-Clause", "CC BY 4.0"})
SOURCES = Path(__file__).with_name("sources.tsv")

_log = logging.getLogger(__name__)


class CorpusError(ValueError):
    """A corpus file that cannot be read; the message names file and line."""


class Pair(NamedTuple):
    """One meaning in both languages."""

    zh: str
    en: str


@dataclass(frozen=True)
class Corpus:
    """The pairs that may be trained on, and how many came from (or were refused of) each source."""

    pairs: tuple[Pair, ...]
    used: Mapping[str, int]
    refused: Mapping[str, int]


def load_licences(path: Path = SOURCES) -> dict[str, str]:
    """Licence by source repository, from a TSV with the columns source, licence, commits."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["source"]: row["licence"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}


def load_corpus(path: Path, licences: Mapping[str, str] | None = None) -> Corpus:
    """Reads a gzip'd TSV of zh, en, source without header and keeps the sources with a permissive licence.

    A source that `licences` does not list is refused: nobody has looked at its licence. Raises CorpusError.
    """
    licences = load_licences() if licences is None else licences
    pairs: dict[Pair, None] = {}
    used: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for zh, en, source in _rows(path):
        if licences.get(source) in PERMISSIVE:
            used[source] += 1
            pairs[Pair(zh, en)] = None
        else:
            refused[source] += 1
    if not pairs:
        raise CorpusError(f"{path}: no pair comes from a source with a permissive licence (see {SOURCES.name})")
    for source, count in refused.items():
        _log.info("left out %d pairs of %s: %s", count, source, licences.get(source, "licence not known"))
    return Corpus(tuple(pairs), dict(used.most_common()), dict(refused.most_common()))


def _rows(path: Path) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                fields = [field.strip() for field in line.rstrip("\r\n").split("\t")]
                if len(fields) != 3 or not all(fields):
                    raise CorpusError(f"{path}:{number}: expected zh, en and source, separated by tabs")
                rows.append((fields[0], fields[1], fields[2]))
    except FileNotFoundError as error:
        raise CorpusError(f"there is no corpus at {path}") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: not a gzip'd UTF-8 file: {error}") from error
    return rows
