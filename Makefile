# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test test-slow test-all lint check docs bench adapters replay gates mutants wheel clean

setup: $(READY)

$(READY): constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(READY)

demo: setup  ## the purchasing crew, unsupervised and supervised, counted from the services' own books
	$(BIN)/chargehand demo

test: setup  ## the tests that take well under ten minutes
	$(BIN)/python -m pytest -n auto -m "not slow"

test-slow: setup  ## the real kills, the whole recorded data, the wheel
	$(BIN)/python -m pytest -n 2 -m slow --timeout 900

test-all: test test-slow  ## every test

lint: setup  ## format, lint, floors, types
	$(BIN)/ruff format --check src tests examples benchmarks docs
	$(BIN)/ruff check src tests examples benchmarks docs
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright

check: lint test  ## the whole gate

docs: setup  ## renew what the pages take from the code
	$(BIN)/python tests/docs/generated.py --write

bench: setup  ## speed and memory beside peers and the machine, in one run; ARGS=--quick, "--only NAME...", --docs
	$(BIN)/python -m benchmarks.speed $(ARGS)

adapters: setup  ## what supervision adds to a request to a model, for each framework; with ARGS="--rounds 3" sooner
	$(BIN)/python -m benchmarks.adapters $(ARGS)

replay: setup  ## recorded runs of real models, played as supervised runs
	$(BIN)/python -m benchmarks.replay

gates: setup  ## recall and false alarms of the built-in gates; with ARGS=--guide into docs/guides/gates.md
	$(BIN)/python -m benchmarks.gates $(ARGS)

mutants: .venv-mutants/.ready  ## small faults in the core and in the effects: which ones no quick test sees; with ARGS="core.ladder" fewer
	nice .venv-mutants/bin/python -m tests.mutation $(ARGS)

.venv-mutants/.ready: constraints.txt
	$(PYTHON) -m venv .venv-mutants
	.venv-mutants/bin/pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	.venv-mutants/bin/pip install --quiet --disable-pip-version-check mutmut==3.8.1
	.venv-mutants/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

wheel: setup  ## build the wheel and install it into an empty environment
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf $(VENV) .venv-mutants mutants build dist
