# `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DASHBOARD := .venv-dashboard
DASHBOARD_READY := $(DASHBOARD)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo dev dashboard test audit bench lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## Set up .venv from the lock file

define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Name another: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --no-deps --require-hashes --requirement $<
	$(@D)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
endef

$(READY): requirements.lock pyproject.toml
	$(environment)

# An environment of its own: what the dashboard brings along makes each process of the platform start later.
$(DASHBOARD_READY): requirements-dashboard.lock pyproject.toml
	$(environment)

demo: $(READY)  ## Simulate nine weekly deliveries in a local S3 server, load, publish and query them
	$(BIN)/offload demo

dev: $(READY)  ## Open the Dagster UI on this machine (feeds.yaml, else the demo's)
	$(BIN)/offload dev

dashboard: $(DASHBOARD_READY)  ## Open the dashboard on this machine over the published file (feeds.yaml, else the demo's)
	$(DASHBOARD)/bin/offload dashboard

test: $(READY) $(DASHBOARD_READY)  ## Lint, type check, validate the definitions, and run the whole test suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(DASHBOARD)/bin/mypy
	OFFLOAD_FEEDS=feeds.example.yaml $(BIN)/dagster definitions validate --workspace workspace.yaml --log-level warning
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile
	$(DASHBOARD)/bin/pytest offload_platform_tests/dashboard

audit: $(READY)  ## Ask PyPI for known vulnerabilities of the packages in the lock
	$(BIN)/python -m offload_platform_tests.audit

bench: $(READY)  ## Load the same files by this platform, bare engines and other tools: ten minutes (FULL=1: an hour)
	$(BIN)/python -m offload_platform_tests.benchmarks.compare $(if $(FULL),--full)

lock:  ## Resolve pyproject.toml anew into requirements.lock (needs uv)
	{ echo '# The exact versions that are tested together, with their hashes. Written by `make lock` from pyproject.toml.'; \
	  uv pip compile --quiet --universal --python-version 3.11 --extra test --generate-hashes --no-header pyproject.toml; } \
	  > requirements.lock.new && mv requirements.lock.new requirements.lock
	{ echo '# What requirements.lock has, and the dashboard. Written by `make lock` from pyproject.toml.'; \
	  uv pip compile --quiet --universal --python-version 3.11 --extra test --extra dashboard --generate-hashes \
	  --constraint requirements.lock --no-header pyproject.toml; } \
	  > requirements-dashboard.lock.new && mv requirements-dashboard.lock.new requirements-dashboard.lock

clean:  ## Remove the environments and the demo
	rm -rf $(VENV) $(DASHBOARD) .bench demo
