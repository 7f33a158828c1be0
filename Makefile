# `make test` and `make demo` need nothing but Python ≥ 3.11 and a network for the first installation.
# Another Python: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test lint format docs clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## go the whole way once: generate, train, evaluate, index, search; leaves a report
	@$(VENV)/bin/itma demo

test: lint ## check everything: format, lint, types, import layers, tests (ARGS=--slow adds the slow ones)
	$(RUN) pytest $(ARGS)

lint: $(READY) ## check format, lint, types and import layers
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports

format: $(READY) ## put the code into the agreed format
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

docs: $(READY) ## write the generated pages of docs/ anew
	$(VENV)/bin/python docs/make_cli.py

clean: ## remove the virtual environment and all caches; runs and demos stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	find itma tests docs bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "$(PYTHON) was not found; itma needs Python 3.11 or newer. Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is `$(PYTHON) -V 2>&1`; itma needs Python 3.11 or newer. Name one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing itma and what it needs into $(VENV), once (a minute or more)" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
