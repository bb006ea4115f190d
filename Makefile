# make setup: the runtime in .venv; make demo: the synthetic camera and its page; make test: every test
# make recognisers: the shipped recognisers anew, from synthetic faces (an hour)
# make bench: every claim measured, docs/performance.md rewritten
# make soak: ten minutes of faults of all kinds, for a nightly run; every event accounted for
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
ORT := $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
BIN := .venv/bin

.PHONY: setup dev demo test lint bench soak recognisers clean

setup: .venv/.runtime

.venv/.runtime: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
	  || { echo "mespot needs Python 3.11 or 3.12: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(ORT),page]'
	touch $@

dev: .venv/.dev

.venv/.dev: .venv/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(ORT),page,dev]'
	touch $@

demo: setup
	$(BIN)/python run_live.py synthetic: --duration 60 --dashboard

# a file's tests stay together, for what they share
test: dev
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# an hour or so; on a machine at rest. Tables and curves of docs/performance.md are rewritten
bench: dev
	mkdir -p build
	$(BIN)/python -m bench all --into docs/performance.md --plot docs/growth.png --json build/bench.json

soak: dev
	$(BIN)/python -m bench soak --hours 0.17 --faults 14

# made faces of two portraits; the third, of the demo, is kept for the test of another face
MADE := build/recognisers
SHIPPED := models/data/recognisers
RECOGNITION := $(BIN)/mespot evaluate-recognition
CASME2 := --dataset casme2 --root $(MADE)/casme2
SAMM := --dataset samm --root $(MADE)/samm
MAP := --network map --width 0.25 --size 112 --epochs 30 --batch-size 32
AUGCN := --network augcn --features 128 --balance inverse --epochs 4

recognisers: dev
	test -d $(MADE)/casme2 || $(BIN)/mespot synth --as casme2 --subjects 12 --samples 20 --seed 41 \
	  --portraits biden,obama --out $(MADE)/casme2 --workers 2
	test -d $(MADE)/samm || $(BIN)/mespot synth --as samm --subjects 10 --samples 12 --seed 42 \
	  --portraits astronaut --out $(MADE)/samm --workers 2
	$(RECOGNITION) $(MAP) $(CASME2) --protocol as-published --out $(MADE)/map-loso
	$(RECOGNITION) $(AUGCN) $(CASME2) --protocol as-published --out $(MADE)/augcn-loso
	$(RECOGNITION) $(AUGCN) $(CASME2) $(SAMM) --evaluation hde --out $(MADE)/augcn-hde
	$(BIN)/mespot train $(MAP) $(CASME2) --out $(MADE)/map
	$(BIN)/mespot train $(AUGCN) $(CASME2) --out $(MADE)/augcn
	$(BIN)/mespot export $(MADE)/map --evaluated $(MADE)/map-loso --out $(SHIPPED)/map.onnx
	$(BIN)/mespot export $(MADE)/augcn --evaluated $(MADE)/augcn-loso --out $(SHIPPED)/augcn.onnx

clean:
	rm -rf .venv build dist *.egg-info
