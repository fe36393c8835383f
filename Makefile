# Two commands do all the set-up on a fresh machine (Python 3.11, pip, make): `make demo` and `make test`.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: demo test test-all check bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/.run  ## draw a small input with known masks, curate it, report it against the truth
	$(BIN)/python -m flows.demo --folder $(DEMO)

test: $(VENV)/.dev  ## the fast tests
	$(BIN)/python -m pytest

test-all: $(VENV)/.dev  ## the slow ones too: kills, servers, workers, a browser if there is one
	$(BIN)/python -m pytest -m "slow or not slow"

check: $(VENV)/.dev  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.dev  ## the ratios of benchmarks/README.md
	$(BIN)/python -m benchmarks.bench_split
	$(BIN)/python -m benchmarks.bench_masks
	$(BIN)/python -m benchmarks.bench_flow

clean:
	rm -rf $(VENV) $(DEMO)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.run
