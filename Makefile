# Every target uses the packages in .venv, whatever is activated. `make` or `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# The first interpreter that runs and has a version TensorFlow 2.21 has wheels for. Choose another: make setup PYTHON=...
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$python && break; done)

# One more than there are cores, as a rule: a test often waits for a process that it started.
TEST_WORKERS ?= 3
PYTEST_FLAGS ?=
DEMO_FLAGS ?=
BENCHMARKS ?= startup train_step evaluation guards model_zoo scaling
export TF_CPP_MIN_LOG_LEVEL ?= 2
export PYTHONPATH :=
unexport PYTHONHOME
# Bytecode is kept whatever the caller has set: without it each process compiles TensorFlow anew, more than half of its start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup protos format lint test test-slow demo bench golden clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F '\t' '{printf "make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## create .venv with the exact packages of requirements.txt (Python 3.11 to 3.13)

$(STAMP): requirements.txt
	@'$(PYTHON)' -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
		echo "error: Python 3.11, 3.12 or 3.13 is needed, PYTHON=$(PYTHON) is none of them; install one, or run: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	@echo "Installing the packages of requirements.txt into $(VENV) (about a minute, once)"
	@'$(PYTHON)' -m venv $(VENV)
	@# Most of these modules are never imported: compiling each one would take longer than all the rest.
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	@touch $(STAMP)

protos: $(STAMP) ## generate protos/*_pb2.py and .pyi from protos/*.proto
	$(PY) -m protos.generate

format: $(STAMP) ## rewrite the code in the house's format, sort imports
	$(PY) -m ruff check --fix --quiet .
	$(PY) -m ruff format .

lint: $(STAMP) ## ruff, its format, and the types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m basedpyright --level error

test: lint ## lint and the tests; sets everything up on a fresh clone
	$(PY) -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder -m 'not slow' $(PYTEST_FLAGS)

test-slow: $(STAMP) ## the tests that take minutes each
	$(PY) -m pytest -m slow $(PYTEST_FLAGS)

demo: $(STAMP) ## data, training, evaluation, export and prediction on synthetic street scenes, in minutes
	@$(PY) -m demo.run_demo $(DEMO_FLAGS)

bench: $(STAMP) ## the benchmarks that take minutes, one JSON object each; docs/benchmarks.md names the longer ones
	@for name in $(BENCHMARKS); do $(PY) -m benchmarks.$$name; done

golden: $(STAMP) ## renew one golden file of the tests: make golden NAME=pspnet_dilated_resnet50
	@[ -n '$(NAME)' ] || { echo 'error: NAME is not set; for example: make golden NAME=pspnet_dilated_resnet50' >&2; exit 2; }
	GOLDEN='$(NAME)' $(PY) -m pytest -k golden tests/contracts

clean: ## remove .venv, caches and runs/demo (no other run)
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis runs/demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
