"""Benchmarks: each module measures one promise of the project beside its baseline, in the same run.

`python -m benchmarks [NAME …] [--quick]` runs all or the named ones, prints a table and writes `results/<name>.json`. A module here is a
benchmark if it has `measure(quick=False)`, which returns its comparison as `rows` (`core/comparison.py`) and whatever else is worth keeping.
Timings mean something on an idle machine only: the load average at the start stands in every result.
"""
