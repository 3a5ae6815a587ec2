# `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test audit bench lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## Set up .venv from the lock file

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Name another: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## Simulate nine weekly deliveries in a local S3 server, load, publish and query them
	$(BIN)/offload demo

dev: $(READY)  ## Open the Dagster UI on this machine (feeds.yaml, else the demo's)
	$(BIN)/offload dev

test: $(READY)  ## Lint, type check, validate the definitions, and run the whole test suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OFFLOAD_FEEDS=feeds.example.yaml $(BIN)/dagster definitions validate --workspace workspace.yaml --log-level warning
	$(BIN)/pytest

audit: $(READY)  ## Ask PyPI for known vulnerabilities of the packages in the lock
	$(BIN)/python -m offload_platform_tests.audit

bench: $(READY)  ## Load the same files by this platform, bare engines and other tools: ten minutes (FULL=1: an hour)
	$(BIN)/python -m offload_platform_tests.benchmarks.compare $(if $(FULL),--full)

lock:  ## Resolve pyproject.toml anew into requirements.lock (needs uv)
	{ echo '# The exact versions that are tested together, with their hashes. Written by `make lock` from pyproject.toml.'; \
	  uv pip compile --quiet --universal --python-version 3.11 --extra test --generate-hashes --no-header pyproject.toml; } \
	  > requirements.lock.new && mv requirements.lock.new requirements.lock

clean:  ## Remove the environments and the demo
	rm -rf $(VENV) .bench demo
