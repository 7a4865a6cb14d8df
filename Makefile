# install  a virtual environment with the locked versions      demo   the whole job on this machine
# test     everything that must pass before a commit           check  lint, format and types only
# lint     correct what can be corrected                       lock   choose the versions anew
# nightly  what takes too long for each commit                 soak   eight hours of syncd run in as many minutes
# bench    all measurements, into docs/benchmarks.md           bench-quick   a little of each, prints ratios
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
# More than there are cores: some tests wait for a server while others work.
JOBS ?= 4
# What runs at night starts each process anew; by day they begin with what is imported already.
nightly soak: export SYNCD_TEST_FRESH = 1
# Tests of the night too.
ALL := -m "nightly or not nightly"
SEED ?= $(shell date +%s)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install demo test nightly soak check lint lock bench bench-quick
.DEFAULT_GOAL := install

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: syncd needs Python 3.11 or later, and $(PYTHON) is older or missing." >&2; \
	    echo "hint: name another one: make PYTHON=python3.12 install" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "hint: on Debian and Ubuntu, install the package python3-venv." >&2; \
	    rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: install
	$(BIN)/syncd demo

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

nightly: install
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m nightly
	SYNCD_TEST_VERSIONS=200 SYNCD_TEST_DEADLINE=1800 $(BIN)/python -m pytest $(ALL) tests/acceptance/test_reclaimed.py
	SYNCD_TEST_RUNS=50 SYNCD_TEST_DEADLINE=1800 $(BIN)/python -m pytest $(ALL) tests/acceptance/test_story.py
	SYNCD_TEST_SEQUENCES=500 $(BIN)/python -m pytest tests/unit/test_generated_project.py
	SYNCD_TEST_KILLS=200 SYNCD_TEST_SEED=$(SEED) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal \
	  tests/acceptance/test_killed_anywhere.py

# Prints its figures as JSON; those of a run stand in docs/daemon.md. SOAK: seconds.
SOAK ?= 480
soak: install
	SYNCD_TEST_SOAK=$(SOAK) $(BIN)/python -m pytest $(ALL) -q -s tests/acceptance/test_soak.py

lint: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# SYNCD_OXEN_SERVER names the server; scripts/install-oxen-server builds one. BENCH_DIR: where to work.
bench: install
	$(BIN)/python -m benchmarks.payload $(if $(BENCH_DIR),--dir $(BENCH_DIR))

bench-quick: install
	@$(BIN)/python -m benchmarks.payload --quick $(if $(BENCH_DIR),--dir $(BENCH_DIR))

# Needs uv (https://docs.astral.sh/uv/); nothing else here does. UPGRADE=--upgrade takes the newest.
lock:
	uv pip compile pyproject.toml --extra dev --extra demo --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links $(UPGRADE) \
	  --custom-compile-command "make lock" --quiet --output-file requirements.lock

# Made from the configuration's definition; a test compares.
config.example.toml: $(wildcard syncd/config/*.py) $(STAMP)
	$(BIN)/syncd config example > $@.new && mv $@.new $@
