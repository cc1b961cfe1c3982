# Two commands do everything on a fresh machine: `make demo` and `make test`. Both start with `make setup`.

SHELL := /bin/bash
PY := .venv/bin/python
ARGS ?=
TRIALS ?= 10000
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 1); echo $$(( n < 4 ? n : 4 )))

.PHONY: help setup demo test soak lint clean

help:
	@echo 'make demo    the case study: train, sign, verify, tamper, see it refused     (ARGS=--quick for a tiny one)'
	@echo 'make test    the whole test suite                                            (ARGS="-k name" for a part, JOBS=N)'
	@echo 'make soak    what takes too long for that: 10,000 kills of a log              (TRIALS=N)'
	@echo 'make setup   only what both need: system packages, .venv, the C core         (PYTHON=..., TORCH=...)'
	@echo 'make lint    ruff, mypy, compiler warnings as errors, layering'
	@echo 'make clean   remove what was built; .venv and demo-out go too'

setup:
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' bash .ci/setup.sh

demo: setup
	@$(PY) examples/bert/run.py --out demo-out $(ARGS)

test: setup
	@$(PY) -m pytest -n $(JOBS) $(ARGS)

# Every state that a crash may leave, and writers killed at any moment, of the log.
soak: setup
	ATLAS_CRASH_SHARE=1 $(PY) -m pytest -q tests/integration/test_log_crash.py
	$(PY) -m tests.log_kill --trials $(TRIALS)

lint: setup
	$(PY) -m ruff check .
	$(PY) -m mypy
	@for cc in gcc clang; do \
	    command -v $$cc >/dev/null || { echo "$$cc is not installed: not checked"; continue; }; \
	    echo "$$cc: warnings of csrc as errors"; \
	    CC=$$cc $(PY) setup.py -q build_ext --force --build-lib $$(mktemp -d) --build-temp $$(mktemp -d) || exit 1; \
	done
	$(PY) -m pytest -q tests/test_layering.py

clean:
	rm -rf .venv build demo-out csrc/build *.egg-info atlas/_core*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
