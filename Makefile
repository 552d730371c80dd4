# `make demo` and `make test` need only python3 and make: everything else is set up here, inside .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo up test lint format bench soak clean

help:
	@echo "make demo    a small payment shop, a death, and the alert (Ctrl-C ends it)"
	@echo "make up      the platform, on loopback, data in ./lastbeat-data"
	@echo "make test    all tests (under 8 minutes)        make lint   style, types, import directions"
	@echo "make bench   the figures in the README          make soak   the long fault tests"

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lastbeat needs Python 3.11 or newer; try: make PYTHON=python3.12 …"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "installing dependencies into .venv (once, a minute or two) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,all]'
	@touch $@

demo: .venv/.ready
	@$(BIN)/lastbeat demo

up: .venv/.ready
	@$(BIN)/lastbeat up

# The browser tests drive Debian's chromium. Without it, and without the means to install it, they are skipped with that
# reason (and fail under CI=true).
.venv/.browser: .venv/.ready
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing chromium for the browser tests …"; apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	  else echo "no chromium found: the browser tests will be skipped"; fi; }
	@touch $@

# Its hundreds of processes read what was compiled once, also where nobody else keeps bytecode.
export PYTHONDONTWRITEBYTECODE :=

# Three workers; which tests share one is decided in tests/conftest.py.
test: .venv/.browser
	@$(BIN)/python -m pytest -m "not soak and not bench" -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

soak: .venv/.browser
	@$(BIN)/python -m pytest -m soak --timeout=3600 $(ARGS)

bench: .venv/.ready
	@$(BIN)/python -m tests.bench $(ARGS)

lint: .venv/.ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/.ready
	@$(BIN)/ruff check --fix . || true
	@$(BIN)/ruff format .

clean:
	rm -rf .venv lastbeat-data build dist *.egg-info
