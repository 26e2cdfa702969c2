# The daily commands. PYTHON is the interpreter of an environment with the extras cpu, onnx and dev.
PYTHON ?= .venv/bin/python
CODE = indexes auditor loops service tests benchmarks scripts
export OMP_NUM_THREADS ?= 1

.PHONY: help check format test slow benchmarks

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' Makefile

check: ## formatter's check, linter, type checker
	$(PYTHON) -m ruff format --check $(CODE)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

format: ## format the code
	$(PYTHON) -m ruff format $(CODE)

test: ## the default test suite, in two processes
	$(PYTHON) -m pytest -q -n 2 --dist worksteal

slow: ## the tests that take longer
	$(PYTHON) -m pytest -q -m slow

benchmarks: ## the tables of the synthetic fraction: hours, resumable
	$(PYTHON) benchmarks/fraction.py all --references 60 --workers 2 --keep fraction-rows.jsonl
