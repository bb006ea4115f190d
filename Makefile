# make setup: the runtime in .venv; make demo: run the synthetic camera; make test: every test
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
ORT := $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
BIN := .venv/bin

.PHONY: setup dev demo test lint bench clean

setup: .venv/.runtime

.venv/.runtime: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
	  || { echo "mespot needs Python 3.11 or 3.12: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(ORT)]'
	touch $@

dev: .venv/.dev

.venv/.dev: .venv/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(ORT),dev]'
	touch $@

demo: setup
	$(BIN)/python run_live.py synthetic: --duration 20

test: dev
	$(BIN)/pytest

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: dev
	for what in flow throughput latency directions spotting; do $(BIN)/python -m bench $$what || exit 1; done

clean:
	rm -rf .venv build dist *.egg-info
