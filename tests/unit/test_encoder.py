"""Loading encoders: the shipped one, and the messages for those that are not there."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tutor.config import Settings
from tutor.encoder import DEFAULT_ENCODER, MODELS, Encoder, EncoderError, fingerprint, load_encoder
from tutor.index import EntryIndex, encode_cached
from tutor.training.teacher import teacher_folder

SHIPPED = MODELS / DEFAULT_ENCODER


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(DEFAULT_ENCODER)


def cosine(encoder: Encoder, one: str, other: str) -> float:
    first, second = encoder.encode([one, other])
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def test_it_understands_both_languages(encoder: Encoder) -> None:
    same = cosine(encoder, "如何解决梯度消失", "how to fix vanishing gradients")
    other = cosine(encoder, "如何解决梯度消失", "a recipe for noodle soup")
    assert same > 0.6
    assert other < 0.3


def test_vectors_are_single_precision_and_never_nan(encoder: Encoder) -> None:
    vectors = encoder.encode(["relu", "", "😀", "x" * 2000])
    assert vectors.shape == (4, 256)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert not vectors[1].any()  # no token, no direction


def test_a_local_encoder_loads_without_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert load_encoder(SHIPPED).encode(["relu"]).shape == (1, 256)


def test_the_name_and_the_folder_are_the_same_encoder() -> None:
    assert fingerprint(DEFAULT_ENCODER) == fingerprint(SHIPPED) == fingerprint(str(SHIPPED))


def test_every_shipped_file_stays_below_10_megabytes() -> None:
    sizes = {path.name: path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()}
    assert {"README.md", "calibration.json", "model.safetensors", "modules.json"} <= set(sizes)
    assert max(sizes.values()) < 10_000_000


def test_the_fingerprint_follows_the_weights_but_not_the_card(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(SHIPPED, folder)
    before = fingerprint(folder)
    assert before == fingerprint(SHIPPED)
    (folder / "README.md").write_text("another card")
    (folder / "calibration.json").unlink()
    assert fingerprint(folder) == before
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert fingerprint(folder) != before


@pytest.mark.parametrize("missing", ["/nowhere/at/all", "./nowhere", Path("nowhere")])
def test_a_missing_folder_is_named_together_with_what_there_is(missing: str | Path) -> None:
    with pytest.raises(EncoderError, match=rf"there is no encoder at .*nowhere.*{DEFAULT_ENCODER}"):
        load_encoder(missing)


def test_a_broken_folder_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(SHIPPED, folder)
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(EncoderError, match="does not load"):
        load_encoder(folder)


def test_an_unreachable_hub_id_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import sentence_transformers

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'")

    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", unreachable)
    with pytest.raises(
        EncoderError, match=rf"encoder owner/name was found neither.*couldn't connect.*unset TUTOR_ENCODER.*{DEFAULT_ENCODER}"
    ):
        load_encoder("owner/name")
    assert fingerprint("owner/name") == "owner/name@main"


def test_importing_retrieval_loads_none_of_the_heavy_libraries() -> None:
    script = (
        "import sys, tutor.retriever, tutor.encoder, tutor.index, tutor.calibration, tutor.evaluation\n"
        "print(*sorted({'torch', 'faiss', 'sentence_transformers', 'sklearn', 'gradio'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=MODELS.parent.parent)
    assert finished.stdout.strip() == ""


def test_a_real_transformer_can_be_named_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTOR_ENCODER", str(teacher_folder()))
    settings = Settings.from_environment()
    transformer = load_encoder(settings.encoder)
    assert transformer.encode(["dropout"]).shape == (1, 384)
    texts = {"momentum": "Why does momentum speed up training?", "dropout": "What is dropout?", "gpu": "Why are GPUs used?"}
    index = EntryIndex(dict.fromkeys(texts, 1), encode_cached(list(texts.values()), transformer))
    asked = {
        "momentum": "does a velocity term accelerate learning",
        "dropout": "explain dropping units",
        "gpu": "do I need a graphics card",
    }
    found = encode_cached(list(asked.values()), transformer)
    assert [index.rank(embedding)[0].question_id for embedding in found] == list(asked)
