# make demo   suggestions from a shipped checkpoint, on a machine that has only Python and make
# make test   every test
# make check  that cards, catalog and README table are what the results say; also: make lint, make types, make clean
#
# PYTHON     the interpreter that makes the environment, e.g. make demo PYTHON=python3.12
# PIP_FLAGS  for pip install; torch without CUDA on Linux:
#            make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
PYTEST_FLAGS ?=
BIN := $(VENV)/bin

.DEFAULT_GOAL := demo
.PHONY: demo test lint types check clean

demo: $(VENV)/core.stamp
	@HF_HUB_OFFLINE=1 $(BIN)/zoo suggest "the company said it" "shares of the" "analysts expect that the" --k 5

test: $(VENV)/dev.stamp
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

check: $(VENV)/dev.stamp
	$(BIN)/python -m model_cards.render --check

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp newer than pyproject.toml means that nothing has to be installed.
$(VENV)/core.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -e .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -e '.[train,bench,eval,export,opencl,search,dev]'
	@touch $(VENV)/core.stamp $@
