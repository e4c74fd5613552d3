# Two commands for a new checkout; both need only Python >= 3.10 (with venv) and make:
#   make demo   environment, install, then the whole path on a small embedded corpus (minutes, CPU)
#   make test   environment, install, then the whole test suite
# make check runs lint, format check and types.
#
# PYTHON=python3.12 chooses the interpreter, PIP_ARGS='--index-url ...' the package index, VENV the environment's place.

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
DEMO_ARGS ?=
TEST_ARGS ?=
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check format clean

help:
	@sed -n '1,7p' Makefile

# Stamps: an install is repeated only when the requirements have changed. torch comes first, so that a CPU build that
# pip already finds on this machine is taken and not replaced.
$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else "mlcl needs Python 3.10 or newer: make PYTHON=python3.12 ...")'
	@echo "environment: creating $(VENV) and installing PyTorch (the largest download)"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) torch
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	@echo "environment: installing mlcl with the catalogs of the demo"
	@$(INSTALL) -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	@echo "environment: installing mlcl with all extras and the development tools"
	@$(INSTALL) -e '.[all,dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/mlcl quickstart $(DEMO_ARGS)

# One thread a worker: more would only compete for the same cores.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --durations 15 $(TEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
