# Two commands do all the set-up on a fresh machine (Python 3.11, pip, make): `make demo` and `make test`.
PYTHON ?= python3.11
VENV ?= .venv
MODELS_VENV ?= .venv-models
BIN := $(VENV)/bin
PIP := -m pip --quiet --disable-pip-version-check
DEMO ?= demo

.PHONY: demo test models test-models test-all check bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/.run  ## draw a small input with known masks, curate it, report it against the truth
	$(BIN)/python -m flows.demo --folder $(DEMO)

test: $(VENV)/.dev  ## the fast tests
	$(BIN)/python -m pytest

models: $(MODELS_VENV)/.models  ## an environment with the paper's models: GroundingDINO, SAM2, transformers

test-models: $(MODELS_VENV)/.models  ## the tests that need them, on tiny random networks
	$(MODELS_VENV)/bin/python -m pytest -m models

test-all: $(VENV)/.dev test-models  ## the slow ones too: kills, servers, workers, a browser if there is one
	$(BIN)/python -m pytest -m "not models"

check: $(VENV)/.dev  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.dev  ## the ratios of benchmarks/README.md
	$(BIN)/python -m benchmarks.bench_split
	$(BIN)/python -m benchmarks.bench_masks
	$(BIN)/python -m benchmarks.bench_flow
	$(BIN)/python -m benchmarks.bench_verify

clean:
	rm -rf $(VENV) $(MODELS_VENV) $(DEMO)

%/bin/python:
	$(PYTHON) -m venv $*

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python $(PIP) install -c constraints.txt -e .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python $(PIP) install -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.run

# sam2 first and by itself: its isolated build would fetch torch with CUDA to compile what nobody calls here.
# The headless OpenCV last, over groundingdino-py's, which is the same but for windows and wants libGL for them.
$(MODELS_VENV)/.models: pyproject.toml constraints.txt | $(MODELS_VENV)/bin/python
	$(MODELS_VENV)/bin/python $(PIP) install -c constraints.txt setuptools wheel
	SAM2_BUILD_CUDA=0 $(MODELS_VENV)/bin/python $(PIP) install --no-build-isolation --no-deps -c constraints.txt sam2
	$(MODELS_VENV)/bin/python $(PIP) install -c constraints.txt -e '.[dev,models]'
	$(MODELS_VENV)/bin/python $(PIP) install --force-reinstall --no-deps -c constraints.txt opencv-python-headless
	$(MODELS_VENV)/bin/python $(PIP) check
	touch $@
