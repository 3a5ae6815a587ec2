# `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DASHBOARD := .venv-dashboard
DASHBOARD_READY := $(DASHBOARD)/.ready
SCALE := .venv-scale
SCALE_READY := $(SCALE)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo dev dashboard scale test audit bench lock clean

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

# Another one: the extensions of DuckDB that a lake takes have no wheels for the DuckDB of requirements.lock.
$(SCALE_READY): requirements-scale.lock pyproject.toml
	$(environment)

demo: $(READY)  ## Simulate nine weekly deliveries in a local S3 server, load, publish and query them
	$(BIN)/offload demo

dev: $(READY)  ## Open the Dagster UI on this machine (feeds.yaml, else the demo's)
	$(BIN)/offload dev

dashboard: $(DASHBOARD_READY)  ## Open the dashboard on this machine over the published file (feeds.yaml, else the demo's)
	$(DASHBOARD)/bin/offload dashboard

scale: $(SCALE_READY)  ## Set up .venv-scale, for nodes and control machine of a cluster (docs/scale.md)

test: $(READY) $(DASHBOARD_READY) $(SCALE_READY)  ## Lint, type check, validate the definitions, and run the whole test suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(DASHBOARD)/bin/mypy
	OFFLOAD_FEEDS=feeds.example.yaml $(BIN)/dagster definitions validate --workspace workspace.yaml --log-level warning
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile
	$(DASHBOARD)/bin/pytest offload_platform_tests/dashboard
	$(SCALE)/bin/pytest offload_platform_tests/scale offload_platform_tests/warehouse/test_merge.py \
		offload_platform_tests/warehouse/test_commit.py offload_platform_tests/warehouse/test_publish.py

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
	{ echo '# What requirements.lock has, but for DuckDB, and the cluster. Written by `make lock` from pyproject.toml.'; \
	  grep -v '^duckdb==' requirements.lock | grep '^[a-z0-9].*==' | sed 's/ \\$$//' > requirements-scale.lock.constraints; \
	  uv pip compile --quiet --universal --python-version 3.11 --extra test --extra scale --generate-hashes \
	  --constraint requirements-scale.lock.constraints --no-annotate --no-header pyproject.toml; \
	  rm requirements-scale.lock.constraints; } \
	  > requirements-scale.lock.new && mv requirements-scale.lock.new requirements-scale.lock

clean:  ## Remove the environments and the demo
	rm -rf $(VENV) $(DASHBOARD) $(SCALE) .bench demo
