# run · test · check · bench: each does all the set-up it needs. `make setup` makes the environment only.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run setup test check bench

run: $(VENV)/.run
	$(BIN)/python app.py

setup: $(VENV)/.dev

# A worker for each core: more threads would only get in their way.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadgroup

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tutor validate

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

# What running needs; a change of the requirements installs again, nothing else does.
$(VENV)/.run: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@
