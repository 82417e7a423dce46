# Everything here needs only git, make and Python >= 3.11: the tools live in .venv, pinned by requirements.lock.
PYTHON ?= python3
GPU_PYTHON ?= $(if $(wildcard .venv/installed),.venv/bin/python,$(PYTHON))
UV_VERSION := 0.13.9
BIN := .venv/bin
STAMP := .venv/installed
# DVC starts the stages through a shell: the environment's own programs come first.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY ?= true
export DVC_NO_ANALYTICS ?= true

.PHONY: help install links repro results-small gpu test lint types bench lock clean
.DEFAULT_GOAL := help

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

install: $(STAMP)  ## the environment in .venv, from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than Python 3.11: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	$(MAKE) --no-print-directory links
	@touch $(STAMP)

links:  # the packages under their import name: for editors, mypy, and to run without an installation
	@mkdir -p build/links/cimbench
	@for package in datasets methods benchmarks; do ln -sfn ../../../$$package build/links/cimbench/$$package; done

repro: install  ## run the suite in params.yaml, print its table, compare it with the committed one
	test -e .git || $(BIN)/dvc config --local core.no_scm true  # unpacked from an archive
	$(BIN)/cimbench repro

# SUITE: another one. LIMIT: seconds after which it stops at a checkpoint; the same command goes on.
SUITE ?= small
results-small: install  ## suite small on this machine, without DVC; in slices: make results-small LIMIT=540
	mkdir -p build
	$(BIN)/cimbench compose $(SUITE) build/$(SUITE).json
	$(BIN)/cimbench --params build/$(SUITE).json run-suite $(if $(LIMIT),--limit-seconds $(LIMIT))

# Needs what is installed already (torch, torchvision, numpy, pytest, pytest-benchmark), no network, no DVC, no MLflow.
gpu: links  ## check a GPU, test and measure on it, learn the first cells; in slices: make gpu LIMIT=540
	@PYTHONPATH=build/links:. $(GPU_PYTHON) -m cimbench.benchmarks.cli gpu $(if $(LIMIT),--limit-seconds $(LIMIT)) $(GPU_ARGUMENTS)

test: install  ## unit, contract, pipeline and tracking tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadgroup \
		|| { status=$$?; echo "Failed, as they came (build/failed-tests.txt):"; cat build/failed-tests.txt; exit $$status; }

lint: install  ## style, by ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install  ## types, by mypy --strict, over the import name cimbench
	cd build/links && MYPYPATH=. ../../$(BIN)/mypy --config-file ../../pyproject.toml -p cimbench

bench: install  ## throughput benchmarks of this machine, to results/throughput/
	mkdir -p build
	$(BIN)/python -m pytest benchmarks/throughput -s --benchmark-only --benchmark-columns=median,iqr,rounds \
		--benchmark-json=build/throughput.json
	$(BIN)/python -m cimbench.benchmarks.throughput.report build/throughput.json

lock: install  ## resolve requirements.lock again
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
		--custom-compile-command "make lock" --no-emit-index-url --constraint constraints.txt \
		pyproject.toml -o requirements.lock

clean:  ## remove the environment and build files (data/ and results/ stay)
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache
