# demo · test · check · interop · bench · fuzz · soak · failures · faults · pythons: nothing else to remember.

VENV ?= .venv
PYTHON := $(shell for name in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$name && break; done)
BIN := $(VENV)/bin

.DEFAULT_GOAL := test
.PHONY: demo test check interop bench fuzz soak failures faults pythons

# The stamp is newer than what the environment was built from.
$(VENV)/.stamp: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.10 or later is needed." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(VENV)/.stamp
	$(BIN)/python examples/demo.py

test: $(VENV)/.stamp
	$(BIN)/python -m pytest --ignore=tests/interop

check: $(VENV)/.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py

interop: $(VENV)/.stamp
	$(BIN)/python -m pytest tests/interop

bench: $(VENV)/.stamp
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/run_http2.py

# The long run; the test-suite runs a short form of it.
fuzz: $(VENV)/.stamp
	$(BIN)/python -m fuzz http11 --count 10000000 --seconds 3600
	$(BIN)/python -m fuzz hpack --count 10000000 --seconds 3600
	$(BIN)/python -m fuzz http2 --count 10000000 --seconds 3600

# The long runs; the test-suite runs a short form of each. Interrupted, they go on where they were.
soak: $(VENV)/.stamp
	$(BIN)/python -m tests.soak --seconds 14400

# A hundred thousand failures of each kind on each backend: it takes hours.
failures: $(VENV)/.stamp
	$(BIN)/python -m tests.soak.failing

# The table of the fault catalogue: which row passes on which backend.
faults: $(VENV)/.stamp
	$(BIN)/python -m tests.faults --write docs/faults.md

# The suite on every other Python that is installed, without the long runs and the real servers.
pythons: $(VENV)/.stamp
	$(BIN)/python .ci/suites.py pythons
