# Everything bootstraps itself into .venv: Python 3.11+ and make are all that a machine needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := $(VENV)/peers
UV := $(BIN)/uv
# Programs start again and again here, and in half the time from compiled modules.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-fast coverage mutants lint format docs bench bench-limits faults hostile lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "docsluice needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.installed: $(UV) requirements.lock pyproject.toml
	$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Each of the processes would otherwise compile all tests, and wait until the first of them has downloaded Apache Kafka.
$(VENV)/.tests-read: | $(VENV)/.installed
	@$(BIN)/python -c 'from docsluice_local.kafka import prepare; prepare()' >/dev/null 2>&1 & \
	  $(BIN)/python -m pytest -p no:xdist --collect-only -qq >/dev/null 2>&1; wait; touch $@

setup: $(VENV)/.installed ## Install everything into .venv

demo: setup ## Broker, model, consumer and real documents on this machine (MODEL=gpt-4o-mini uses your OpenAI key)
	@$(BIN)/docsluice demo $(if $(MODEL),--model $(MODEL))

test: setup $(VENV)/.tests-read ## Run all tests
	@# Tests of the wire wait three fifths of the time, so six processes keep two cores busy. Files are taken in order, which
	@# puts the long ones of tests/acceptance first; by default, those with the fewest tests would come last.
	$(BIN)/python -m pytest -n 6 --dist loadfile --no-loadscope-reorder

test-fast: setup ## Run the unit tests but for the long ones, with a tenth of the examples: no broker, under a minute
	DOCSLUICE_FEW_EXAMPLES=1 $(BIN)/python -m pytest -n auto -m "not long" tests/unit

coverage: setup ## Run the unit tests and tell what they do not reach. Fails below the floor in pyproject.toml
	DOCSLUICE_FEW_EXAMPLES=1 $(BIN)/coverage run -m pytest -p no:xdist tests/unit
	$(BIN)/coverage report

mutants: setup ## Change the pure rooms a little and tell what no test notices (ARGS="offsets limit")
	$(BIN)/python -m tests.mutants $(ARGS)

lint: setup ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Let ruff format and fix what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## Build the pages as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: setup $(PEERS)/.installed ## Measure everything beside a plain loop, FastStream and LangChain (ARGS="engine utilisation --quick")
	$(BIN)/python -m tests.bench $(ARGS)

# What others need is no dependency of ours. What both have comes in the same version.
$(PEERS)/.installed: $(VENV)/.installed
	$(UV) venv --quiet --clear $(PEERS)
	$(UV) pip install --quiet --python $(PEERS)/bin/python aiokafka=="$$($(BIN)/python -c 'import aiokafka; print(aiokafka.__version__)')" \
	  openai=="$$($(BIN)/python -c 'import openai; print(openai.__version__)')" 'faststream[kafka]' langchain-openai
	@touch $@

bench-limits: setup ## Measure what is used of each limit, through outages too (ARGS="requests tokens --quick")
	$(BIN)/python -m tests.bench.limits $(ARGS)

faults: setup ## Kill, freeze, cut and restart everything, and account for every document (ARGS="kill9 --documents 200")
	$(BIN)/python -m tests.acceptance.faults $(ARGS)

hostile: setup ## Attack the service with records, answers, files and clients, beside ordinary documents (ARGS="'zstd bomb'")
	$(BIN)/python -m tests.acceptance.hostile $(ARGS)

lock: $(UV) ## Resolve requirements.lock again
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --all-extras --group dev --group docs --no-emit-index-url \
	  --output-file requirements.lock pyproject.toml

clean: ## Remove .venv and all that runs have left
	find docsluice consumer producer deploy tests -name __pycache__ -prune -exec rm -rf {} +
	rm -rf $(VENV) .coverage site .docsluice .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
