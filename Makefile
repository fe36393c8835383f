# Two commands do all the set-up on a fresh machine (Python 3.11, pip, make): `make demo` and `make test`.
PYTHON ?= python3.11
VENV ?= .venv
MODELS_VENV ?= .venv-models
BLENDER_VENV ?= .venv-blender
BIN := $(VENV)/bin
PIP := -m pip --quiet --disable-pip-version-check
DEMO ?= demo
DEMO_KINEMASK ?= demo-kinemask
DEMO_DSR ?= demo-dsr
DEMO_TRAIN ?= demo-training
BLENDER_LIBRARIES := libgl1 libice6 libsm6 libx11-6 libxfixes3 libxi6 libxkbcommon0 libxrender1
BLENDER_PYTHON := $(abspath $(BLENDER_VENV))/bin/python

.PHONY: demo demo-kinemask demo-dsr demo-train test models test-models blender test-blender test-all check docs bench bench-render bench-learning clean
.DELETE_ON_ERROR:

demo: $(VENV)/.run  ## draw a small input with known masks, curate it, report it against the truth
	$(BIN)/triptych demo --folder $(DEMO)

demo-kinemask: $(VENV)/.kinemask $(BLENDER_VENV)/.blender  ## simulate and render a handful of clips with Blender
	TRIPTYCH_BLENDER_PYTHON=$(BLENDER_PYTHON) $(BIN)/triptych demo kinemask --folder $(DEMO_KINEMASK)

demo-dsr: $(VENV)/.run  ## prompts, drawn samples, scores, preference pairs
	$(BIN)/triptych demo dsr --folder $(DEMO_DSR)

demo-train: $(MODELS_VENV)/.models  ## the first demo's clips, and a tiny random model that learns from them
	$(MODELS_VENV)/bin/triptych demo training --folder $(DEMO_TRAIN)

test: $(VENV)/.dev  ## the fast tests, a file to a core at a time
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

models: $(MODELS_VENV)/.models  ## an environment with the paper's models: GroundingDINO, SAM2, TransNet, transformers

test-models: $(MODELS_VENV)/.models  ## the tests that need them, on tiny random networks
	$(MODELS_VENV)/bin/python -m pytest -m models

blender: $(BLENDER_VENV)/.blender  ## Blender's own environment

test-blender: $(VENV)/.dev $(BLENDER_VENV)/.blender  ## the tests that need it
	TRIPTYCH_BLENDER_PYTHON=$(BLENDER_PYTHON) $(BIN)/python -m pytest -m blender

test-all: test test-models test-blender  ## the slow ones too: kills, servers, workers, a browser if there is one
	$(BIN)/python -m pytest -m "slow and not models and not blender"

check: $(VENV)/.dev  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.run  ## docs/reference, from the code's own texts
	$(BIN)/python docs/generate_reference.py

bench: $(VENV)/.dev  ## the ratios of benchmarks/README.md
	$(BIN)/python -m benchmarks.bench_split
	$(BIN)/python -m benchmarks.bench_shots
	$(BIN)/python -m benchmarks.bench_masks
	$(BIN)/python -m benchmarks.bench_flow
	$(BIN)/python -m benchmarks.bench_verify
	$(BIN)/python -m benchmarks.bench_score
	$(BIN)/python -m benchmarks.bench_read
	$(BIN)/python -m benchmarks.bench_device
	$(BIN)/python -m benchmarks.bench_embedded

bench-render: $(VENV)/.dev $(BLENDER_VENV)/.blender  ## Blender's: about ten minutes
	TRIPTYCH_BLENDER_PYTHON=$(BLENDER_PYTHON) $(BIN)/python -m benchmarks.bench_render

bench-learning: $(MODELS_VENV)/.models  ## what trainings learn and cost, on tiny networks
	$(MODELS_VENV)/bin/python -m benchmarks.bench_learning_matrix --svg benchmarks/out/matrix.svg
	$(MODELS_VENV)/bin/python -m benchmarks.bench_learning_kinemask --svg benchmarks/out/kinemask.svg
	$(MODELS_VENV)/bin/python -m benchmarks.bench_learning_dsr --svg benchmarks/out/dsr.svg
	$(MODELS_VENV)/bin/python -m benchmarks.bench_training_data
	$(MODELS_VENV)/bin/python -m benchmarks.bench_alignment

clean:
	rm -rf $(VENV) $(MODELS_VENV) $(BLENDER_VENV) $(DEMO) $(DEMO_KINEMASK) $(DEMO_DSR) $(DEMO_TRAIN)

%/bin/python:
	$(PYTHON) -m venv $*

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python $(PIP) install -c constraints.txt -e .
	touch $@

$(VENV)/.kinemask: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python $(PIP) install -c constraints.txt -e '.[kinemask]'
	touch $@ $(VENV)/.run

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python $(PIP) install -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.run $(VENV)/.kinemask

# sam2 first and by itself: its isolated build would fetch torch with CUDA to compile what nobody calls here.
# The headless OpenCV last, over groundingdino-py's, which is the same but for windows and wants libGL for them.
$(MODELS_VENV)/.models: pyproject.toml constraints.txt | $(MODELS_VENV)/bin/python
	$(MODELS_VENV)/bin/python $(PIP) install -c constraints.txt setuptools wheel
	SAM2_BUILD_CUDA=0 $(MODELS_VENV)/bin/python $(PIP) install --no-build-isolation --no-deps -c constraints.txt sam2
	$(MODELS_VENV)/bin/python $(PIP) install -c constraints.txt -e '.[dev,models,transnet]'
	$(MODELS_VENV)/bin/python $(PIP) install --force-reinstall --no-deps -c constraints.txt opencv-python-headless
	$(MODELS_VENV)/bin/python $(PIP) check
	touch $@

# Its requirements are whole and exact: bpy wants a NumPy that the rest of Triptych cannot have.
$(BLENDER_VENV)/.blender: tasks/backends/cycles/requirements.txt | $(BLENDER_VENV)/bin/python
	$(BLENDER_PYTHON) $(PIP) install --no-deps -r $<
	$(BLENDER_PYTHON) $(PIP) check
	$(BLENDER_PYTHON) -c "import bpy" || { echo "Blender needs libraries of the system; on Debian and Ubuntu: \
	apt-get install $(BLENDER_LIBRARIES)"; exit 1; }
	touch $@
