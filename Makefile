# What a person types. Each target makes or refreshes .venv by itself; PYTHON=... picks the interpreter.
.DEFAULT_GOAL := help
.PHONY: help run chat test test-all check bench bench-accuracy clean

PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11 python3.10,$(shell $(p) -c \
	'import sys, venv, ensurepip; sys.version_info >= (3, 10) and print("$(p)")' 2>/dev/null)))
STAMPS := .venv/run.stamp .venv/chat.stamp .venv/dev.stamp .venv/bench.stamp
.venv/chat.stamp: EXTRAS := [serve]
.venv/dev.stamp: EXTRAS := [dev,serve,train,sim]
.venv/bench.stamp: EXTRAS := [bench]

SCENE ?= sample
QUERY ?= Where is open water, and where is vegetation?
OUT ?= out/$(shell date +%Y%m%d-%H%M%S)
DATA ?= $(SPEX_DATA)
RECORDS ?= out/records
export SCENE QUERY OUT DATA RECORDS

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMPS): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "SPEX needs Python 3.10 or newer with its venv module (on Debian: apt install python3-venv); found none, name one with PYTHON=..." >&2; exit 2; }
	@test -x .venv/bin/python || { echo "Making .venv with $(PYTHON); the first installation takes a few minutes"; $(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }; }
	@.venv/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".$(EXTRAS)"
	@touch $@

run: .venv/run.stamp ## Extract from the sample scene; your own with SCENE=path QUERY="..."
	@.venv/bin/spex extract "$$SCENE" "$$QUERY" -o "$$OUT"

chat: .venv/chat.stamp ## Open the chat in the browser
	@.venv/bin/spex serve

test: .venv/dev.stamp ## Run the tests
	@.venv/bin/python -m pytest -n auto --maxprocesses 4

test-all: .venv/dev.stamp ## Run all tests, the slow ones too
	@.venv/bin/python -m pytest -m ""

check: .venv/dev.stamp ## Style, types and import directions
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: .venv/dev.stamp ## Measure start-up, time and memory of an extraction, and the builder of instruction data
	@.venv/bin/python tests/benchmarks/startup.py
	@.venv/bin/python tests/benchmarks/extraction.py
	@.venv/bin/python tests/benchmarks/session.py
	@.venv/bin/python tests/benchmarks/builder.py

bench-accuracy: .venv/bench.stamp ## Measure accuracy on labelled scenes (DATA=folder, their RECORDS=folder) and 60 queries
	@test -d "$$DATA" || { echo "say where the labelled scenes are: make bench-accuracy DATA=folder" >&2; exit 2; }
	@test -d "$$RECORDS" || .venv/bin/spex spie build "$$DATA" --out "$$RECORDS" --dialogues 0
	@out="$$OUT" && .venv/bin/python tests/benchmarks/queries.py -o "$$out" && \
		.venv/bin/python tests/benchmarks/accuracy.py --records "$$RECORDS" --data "$$DATA" -o "$$out"

clean: ## Remove .venv and what tools leave behind
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
