"""Pieces of the scripts that a learner copies. They use PyTorch and scikit-learn only, never this project."""

from __future__ import annotations

from demos.core.own_data import Target

_DIGITS = """\
from sklearn.datasets import load_digits

data = load_digits()
x = torch.tensor(data.data, dtype=torch.float32)
x = (x - x.mean(0)) / (x - x.mean(0)).std()
y = torch.tensor(data.target)
classes = 10
"""
_OWN = """\
import csv

with open("data.csv", newline="", encoding="utf-8-sig") as file:  # your table, saved beside this script
    text = file.read()
separator = max(",;\\t", key=text.lstrip().partition("\\n")[0].count)
rows = [row for row in csv.reader(text.splitlines(), delimiter=separator) if any(cell.strip() for cell in row)]
try:
    [float(cell) for cell in rows[0][:-1]]
except ValueError:
    rows = rows[1:]  # the line of names
x = torch.tensor([[float(cell) for cell in row[:-1]] for row in rows])
x = (x - x.mean(0)) / x.std(0).where(x.std(0) > 1e-12, 1.0)
"""
_CLASSES = """\
names = sorted({row[-1].strip() for row in rows})
y = torch.tensor([names.index(row[-1].strip()) for row in rows])
classes = len(names)
"""
_NUMBER = """\
y = torch.tensor([float(row[-1]) for row in rows])
y = (y - y.mean()) / y.std()
"""


def digits_or_own(own: str, target: Target = "classes", bundled: str = _DIGITS) -> str:
    """The lines that make `x` (N, F), standardised, `y` (N,) and, for classes, `classes`: from the digits (or other lines), or from data.csv."""
    if not own:
        return bundled
    return _OWN + (_CLASSES if target == "classes" else _NUMBER)
