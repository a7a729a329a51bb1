# Everything a newcomer needs: `make demo`, `make test`, `make check`. Assumes python3 >= 3.11 and make, nothing else.
#
# One virtual environment in .venv, filled in steps; each step is a stamp file that its lock file renews. The locks agree
# with each other, so a later step only adds packages:  runtime -> the project itself -> test -> dev.

PYTHON ?= python3
# Tests that run at a time: the two cores that a small machine has
WORKERS ?= 2
VENV   := .venv
BIN    := $(VENV)/bin
LOCKS  := .ci/lock
# --require-hashes: nothing is installed that the lock did not name; --only-binary: nothing is compiled on the way
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r
# uv resolves for all Python versions and platforms at once and writes pip's own format; `pip lock` sees only the machine
# it runs on, and pip-compile would need one run per Python version. It lives in a throw-away folder, never in .venv.
UV_VERSION := 0.13.8

.DEFAULT_GOAL := help
.PHONY: help demo test soak check coverage bench compose-check compose-test protos docs lock clean
.PHONY: check-format check-lint check-contracts check-types check-inner-types check-generated

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.stamp-project ## a thousand questionnaires through five services, the orchestrator killed half-way
	@$(BIN)/saga demo $(ARGS)

# What measures time needs the machine for itself; everything else shares it. Both passes are always run.
test: $(VENV)/.stamp-test ## all tests, in two passes (ARGS="tests/unit -k name" for some, in one)
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@failed=; \
	echo "== pass 1 of 2: $(WORKERS) side by side"; \
	$(BIN)/python -m pytest -m "not alone" --numprocesses $(WORKERS) --dist worksteal || failed="$$failed 1"; \
	echo "== pass 2 of 2: one after the other, what measures time or needs the whole machine"; \
	$(BIN)/python -m pytest -m alone $$(grep -rl --include='test_*.py' 'mark\.alone' tests) || failed="$$failed 2"; \
	if [ -n "$$failed" ]; then echo "== tests failed in pass$$failed"; exit 1; fi; \
	echo "== both passes are green"
endif

soak: $(VENV)/.stamp-test ## the long lanes and one page of figures (ARGS="--minutes 60", "--only kill", --list)
	@$(BIN)/python -m tests.soak $(ARGS)

check: check-format check-lint check-contracts check-types check-inner-types check-generated ## all gates but the tests

check-format: $(VENV)/.stamp-dev
	$(BIN)/ruff format --check --quiet .
check-lint: $(VENV)/.stamp-dev
	$(BIN)/ruff check --quiet .
check-contracts: $(VENV)/.stamp-dev
	$(BIN)/lint-imports --no-logo
check-types: $(VENV)/.stamp-dev
	$(BIN)/mypy
check-inner-types: $(VENV)/.stamp-dev
	$(BIN)/basedpyright --level error
check-generated: $(VENV)/.stamp-dev
	$(BIN)/python protos/generate.py --check
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m orchestrator.definition.schema --check

coverage: $(VENV)/.stamp-test ## the machine's branches, all of them, by the quick tests
	@mkdir -p build/coverage
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q tests/unit tests/scenarios tests/properties $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --include='orchestrator/saga/*' --fail-under=100

bench: $(VENV)/.stamp-test ## speed and cost beside the bare client, in ten minutes (CASE=name for one)
	@$(BIN)/python -m tests.benchmarks $(CASE)

compose-check: $(VENV)/.stamp-test ## compose/ held to its rules, without an engine; what else could look at it is named
	@$(BIN)/python -m pytest -q -rs tests/compose $(ARGS)

compose-test: $(VENV)/.stamp-test ## the mesh in containers, an orchestrator killed; skipped without a Docker engine
	@$(BIN)/python -m tests.compose $(ARGS)

protos: $(VENV)/.stamp-dev ## regenerate the code from protos/
	$(BIN)/python protos/generate.py

docs: $(VENV)/.stamp-test ## rewrite the pages that follow from code, and the definitions' JSON Schema
	$(BIN)/python docs/generate.py
	$(BIN)/python -m orchestrator.definition.schema

lock: ## renew .ci/lock from pyproject.toml (ARGS=--upgrade to move versions)
	@$(PYTHON) -m venv build/lock-venv
	@build/lock-venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@.ci/lock/renew build/lock-venv/bin/uv $(ARGS)

clean: ## remove the environment and everything built
	rm -rf $(VENV) build dist .demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find orchestrator services tests protos -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.stamp-created:
	@command -v $(PYTHON) >/dev/null 2>&1 \
	  || { echo "$(PYTHON) is not on the path: install Python 3.11 or newer, or say make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$$($(PYTHON) --version) is too old: Python 3.11 or newer is needed; say make PYTHON=python3.12 if you have one"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "this Python has no venv module: run 'apt install python3-venv' (Debian, Ubuntu), then make again"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.stamp-runtime: $(LOCKS)/runtime.txt $(VENV)/.stamp-created
	@echo "installing the runtime packages into $(VENV)"
	@$(INSTALL) $(LOCKS)/runtime.txt
	@touch $@

$(VENV)/.stamp-project: pyproject.toml $(VENV)/.stamp-runtime
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.stamp-test: $(LOCKS)/test.txt $(VENV)/.stamp-project
	@echo "installing the test packages into $(VENV)"
	@$(INSTALL) $(LOCKS)/test.txt
	@touch $@

$(VENV)/.stamp-dev: $(LOCKS)/dev.txt $(VENV)/.stamp-test
	@echo "installing the linters and type checkers into $(VENV)"
	@$(INSTALL) $(LOCKS)/dev.txt
	@touch $@
