# The daily commands. PYTHON is the interpreter of an environment with the extras cpu, onnx and dev.
PYTHON ?= .venv/bin/python
export OMP_NUM_THREADS ?= 1

.PHONY: help check format test slow benchmarks sentences generated

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' Makefile

check: ## formatter's check, linter, type checker
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

format: ## format the code
	$(PYTHON) -m ruff format .

test: ## the default test suite in two processes, with its coverage of lines
	$(PYTHON) -m pytest -q -n 2 --dist worksteal --cov --cov-report= --cov-fail-under=90

slow: ## the tests that take longer
	$(PYTHON) -m pytest -q -m slow

benchmarks: ## the tables of the synthetic fraction: hours, resumable
	$(PYTHON) benchmarks/fraction.py all --references 60 --workers 2 --keep fraction-rows.jsonl

sentences: ## forty sentences of the code's prose, drawn at random, to be read with fresh eyes
	$(PYTHON) scripts/sentences.py

generated: ## the list of files in docs/architecture.md and the schemas in docs/schemas
	$(PYTHON) scripts/tree.py
	$(PYTHON) scripts/schemas.py
