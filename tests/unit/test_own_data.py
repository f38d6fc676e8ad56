"""Tables of the learner's own: what is taken, and what is refused with the line and the column."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from demos.core.datasets import load_bundled, load_digits_or_own, load_own, moons, spirals
from demos.core.own_data import MAX_BYTES, own_data, read_table
from demos.core.parameters import ParameterError, Parameters
from demos.core.scripts import digits_or_own

HEADER = "length,width,kind\n"
ROWS = "".join(f"{i},{i % 7 / 2},{'abc'[i % 3]}\n" for i in range(60))


@dataclass(frozen=True)
class Own(Parameters):
    data: str = own_data("classes")


def test_a_table_of_classes() -> None:
    table = read_table(HEADER + ROWS, "classes")
    assert table.feature_names == ["length", "width"] and table.class_names == ["a", "b", "c"]
    assert table.features[4] == [4.0, 2.0] and table.targets[:4] == [0, 1, 2, 0]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separators_marks_and_missing_names(separator: str, mark: str) -> None:
    table = read_table(mark + ROWS.replace(",", separator).replace("\n", "\r\n"), "classes")
    assert len(table.targets) == 60 and table.feature_names == ["x1", "x2"]


def test_a_number_as_target() -> None:
    table = read_table("".join(f"{i},{i * i / 3}\n" for i in range(40)), "number")
    assert table.targets[3] == 3.0 and table.class_names == []


@pytest.mark.parametrize(
    ("text", "zh", "en"),
    [
        ("a,b\n" + "1,x\n" * 5, "只有 5 行", "only 5 rows"),
        ("hello", "读不出表格", "no table"),
        (HEADER + ROWS + "1,2\n", "第 62 行有 2 列", "line 62 has 2 columns"),
        (HEADER + ROWS + "1,oops,a\n", "第 62 行第 2 列（width）", "line 62, column 2 (width)"),
        (HEADER + ROWS + "1,nan,a\n", "不是有限的数", "not a finite number"),
        (HEADER + ROWS + "1,,a\n", "第 62 行第 2 列", "line 62, column 2"),
        (HEADER + ROWS + "1,2,\n", "第 62 行第 3 列（类别）是空的", "line 62, column 3 (the class) is empty"),
        (HEADER + ROWS + "1,2,rare\n", "'rare' 只有 1 行", "'rare' has only 1 rows"),
        ("".join(f"{i},k{i}\n" for i in range(60)), "60 种取值", "60 different values"),
        (",".join("1" for _ in range(65)) + "\n", "最多 64 列", "at most 64"),
        ("1,2,a\n" * (MAX_BYTES // 6 + 1), "最多 1,000,000", "at most 1,000,000"),
    ],
)
def test_a_fault_is_named_with_its_place(text: str, zh: str, en: str) -> None:
    with pytest.raises(ParameterError) as caught:
        read_table(text, "classes")
    assert zh in caught.value.text.zh and en in caught.value.text.en


def test_a_wanted_number_of_columns() -> None:
    assert read_table(ROWS, "classes", 2).feature_names == ["x1", "x2"]
    with pytest.raises(ParameterError, match="takes 3 columns"):
        read_table(ROWS, "classes", 3)


def test_the_parameter_takes_the_text_and_reports_only_its_size() -> None:
    assert Own.parse({}).data == "" and Own.parse({"data": " \n"}).data == ""
    p = Own.parse({"data": HEADER + ROWS})
    spec = Own.specs()["data"]
    assert spec.reported(p.data) == "CSV 60 × 3" and "length" not in spec.reported(p.data)
    for bad in ("no table", None, [1], 3.0):
        with pytest.raises(ParameterError) as caught:
            Own.parse({"data": bad})
        assert spec.label.zh in caught.value.text.zh and spec.label.en in caught.value.text.en


def test_own_rows_become_standardised_tensors() -> None:
    own = load_own(HEADER + ROWS, "classes", generator=torch.Generator().manual_seed(1))
    assert own.train_x.shape == (40, 2) and own.test_x.shape == (20, 2) and own.classes == 3
    assert own.train_x.mean(0).abs().max() < 1e-5 and own.train_x.std(0) == pytest.approx([1, 1], rel=1e-5)
    number = load_own("".join(f"5,{i},{i * 2}\n" for i in range(60)), "number")
    assert number.classes == 0 and number.train_y.std() == pytest.approx(1, rel=1e-5)
    assert not number.train_x[:, 0].any()  # a column that never changes


def test_digits_without_a_table_and_the_table_with_one() -> None:
    assert load_digits_or_own("", train_count=30).train_x.shape == (30, 64)
    own = load_digits_or_own(ROWS, train_count=10)
    assert own.train_x.shape == (10, 2) and own.classes == 3


@pytest.mark.parametrize(("name", "shape", "classes"), [("breast_cancer", 30, 2), ("wine", 13, 3), ("iris", 4, 3), ("diabetes", 10, 0)])
def test_bundled_tables_are_those_of_scikit_learn(name: str, shape: int, classes: int) -> None:
    from sklearn import datasets

    ours = load_bundled(name)
    options = {"scaled": False} if name == "diabetes" else {}
    theirs = getattr(datasets, f"load_{name}")(**options)
    assert (ours.features, ours.classes) == (shape, classes)
    assert len(ours.train_y) + len(ours.test_y) == len(theirs.target)
    x = torch.cat([ours.test_x, ours.train_x])
    expected = torch.tensor(theirs.data)[torch.randperm(len(theirs.target), generator=torch.Generator().manual_seed(0))].float()
    correlation = torch.corrcoef(torch.stack([x[:, 0], expected[:, 0]]))[0, 1]
    assert correlation == pytest.approx(1, abs=1e-4)


def test_sets_of_the_plane_have_two_classes_and_the_noise_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = spirals(500, 0.0, generator)
    assert x.norm(dim=1).max() <= 1 and y.bincount().tolist() == [250, 250]
    x, y = moons(400, 0.1, generator)
    assert x.shape == (400, 2) and set(y.tolist()) == {0, 1}


@pytest.mark.parametrize("header", [HEADER, ""])
def test_the_script_reads_the_same_table(tmp_path: Path, header: str) -> None:
    (tmp_path / "data.csv").write_text(header + ROWS, encoding="utf-8")
    code = "import torch\n" + digits_or_own("given") + "print(tuple(x.shape), classes, y.bincount().tolist(), round(x.std().item(), 2))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(60, 2) 3 [20, 20, 20] 1.0", done.stderr
