# `make test` and `make demo` need nothing but Python ≥ 3.11 and a network for the first installation.
# Another Python: make test PYTHON=python3.12. Torch for a GPU, or not: make demo TORCH=cuda, TORCH=cpu

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
READY := $(VENV)/.ready
# torch's build for processors alone is a tenth as large; where there is no GPU, or on macOS, it is the one that is wanted
TORCH ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
CPU_INDEX ?= https://download.pytorch.org/whl/cpu
# Tests run beside each other, each computing with one thread; freed memory is kept, for page faults cost more than sums.
# Python keeps what it compiled of the tests, which takes ten seconds a process, even where it is told not to in general.
TEST_ENV := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=300000000
JOBS ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test browser lint format docs bench-quick clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## draw a shop of clothes, index and search it with the model that comes with itma; leaves a report
	@$(VENV)/bin/itma demo

test: lint browser ## check everything: format, lint, types, import layers, tests (ARGS=--slow adds the slow ones)
	$(TEST_ENV) ITMA_SCREENSHOTS=$${ITMA_SCREENSHOTS-$(if $(findstring --slow,$(ARGS)),.artefacts/page)} \
	  $(RUN) pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# The search page is tested in Chromium. Root on Debian gets it here, without windows, which is three times as quick;
# others install it or have those tests skipped.
browser:
	@for name in chromium-headless-shell chromium chromium-browser google-chrome; do command -v $$name >/dev/null 2>&1 && exit 0; done; \
	  [ "`id -u`" = 0 ] && command -v apt-get >/dev/null 2>&1 || exit 0; \
	  echo "Installing Chromium, in which the search page is tested, once (a minute)" >&2; \
	  export DEBIAN_FRONTEND=noninteractive; install="apt-get -qq install --no-install-recommends fonts-dejavu-core"; \
	  { apt-get -qq update && { $$install chromium-headless-shell || $$install chromium; }; } >/dev/null 2>&1 || echo "It cannot be had; the page's tests are skipped" >&2

lint: $(READY) ## check format, lint, types and import layers
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports

format: $(READY) ## put the code into the agreed format
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

docs: $(READY) ## write the generated pages anew and build the site in .artefacts/site
	$(VENV)/bin/python docs/make_cli.py
	$(RUN) mkdocs build --strict --quiet
	@echo "open .artefacts/site/index.html in a browser"

bench-quick: $(READY) ## measure speed beside plain programs (minutes); fails where a ratio fell below half of the stored one
	$(RUN) bench.performance --quick --check bench/quick.json

clean: ## remove the virtual environment and all caches; runs and demos stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .artefacts build dist *.egg-info
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
	@[ $(TORCH) = cuda ] || [ "`uname -s`" = Darwin ] || \
	  $(RUN) pip install --quiet --disable-pip-version-check --no-deps --retries 1 --timeout 20 "$$(grep '^torch==' constraints.txt)+cpu" \
	    --extra-index-url $(CPU_INDEX) 2>/dev/null || \
	  echo "Torch's build for processors alone cannot be had ($(CPU_INDEX)); the usual one is taken" >&2
	@$(RUN) pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
