# Everything on a fresh machine with Python 3.11 and make: each target makes .venv and installs what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := api converters mappings verify tests examples benchmarks scripts

.PHONY: demo test lint types quick clean

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24" "setuptools>=77"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	$(BIN)/python -m pip check
	touch $@

demo: $(VENV)/ready  ## Convert, load in MindSpore, verify; offline.
	$(BIN)/python examples/demo.py

test: lint types $(VENV)/ready  ## All that CI runs.
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered --durations=15

quick: $(VENV)/ready  ## The tests that run no framework.
	$(BIN)/python -m pytest -q -m "not slow"

lint: $(VENV)/ready
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(VENV)/ready
	$(BIN)/python scripts/type_check.py

clean:
	rm -rf $(VENV) .typing build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage
