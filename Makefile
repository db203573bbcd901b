# make run    start the server on embedded stores
# make test   lint, types and the test suite
# make help   the rest
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready-run
READY_DEV := $(VENV)/.ready-dev
READY_BENCH := $(VENV)/.ready-bench
JS     := protocol/js
# npm writes it last.
READY_JS := $(JS)/node_modules/.package-lock.json
LOCK   := $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 --no-header --no-annotate pyproject.toml
NPM    := cd $(JS) && PATH="$(abspath $(BIN)):$$PATH" npm
# Tests wait more than they compute, so one process more than there are cores is at work.
WORKERS ?= $(shell expr $$(nproc) + 1)

.PHONY: run test lint format types pytest test-failover test-services js lock audit bench chaos fuzz help clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

run: $(READY) ## set up if needed, then start the server (ARGS='...' are passed on)
	@exec $(BIN)/python server.py serve $(ARGS)

test: lint types pytest ## set up if needed, then check and test everything but test-failover

lint: $(READY_DEV) ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY_DEV) ## mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY_DEV) ## strict types
	$(BIN)/mypy

# Each server that a test starts would compile the whole tree anew.
pytest test-failover: export PYTHONDONTWRITEBYTECODE :=

pytest: $(READY_DEV) $(READY_JS) ## the tests alone, side by side (ARGS='-k name' are passed on; WORKERS=0: one after the other)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder -m 'not failover' $(ARGS)

test-failover: $(READY_DEV) ## the slow tests: clusters and stores that are restarted, frozen and failed over
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile -m failover $(ARGS)

test-services: $(READY_DEV) ## the tests of every service, with each of the others left out (ARGS='chat': that one)
	@WORKERS=$(WORKERS) $(BIN)/python -m tests.left_out $(ARGS)

js: $(READY_DEV) $(READY_JS) ## build the TypeScript client from its sources
	@$(NPM) run --silent build

lock: $(READY_DEV) ## write the locks of deploy/ anew: the newest versions that pyproject.toml allows, with hashes
	@$(LOCK) --extra server --output-file deploy/requirements.lock
	@$(LOCK) --extra server --extra embedded --output-file deploy/requirements-embedded.lock

audit: $(READY_DEV) $(READY_JS) ## ask PyPI and npm for known faults of what is locked
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement deploy/requirements-embedded.lock
	@$(NPM) audit

bench: $(READY_BENCH) ## set up if needed, then measure a bit of everything (ARGS='--seconds 20')
	@$(BIN)/python -m bench.suite $(ARGS)

chaos: $(READY_DEV) ## set up if needed, then 50 kills and all other faults, judged (ARGS='--seed 7')
	@$(BIN)/python -m tests.chaos.run --faults 60 --kills 50 --away 1 --known-rooms 10000 $(ARGS)

fuzz: $(READY_DEV) ## set up if needed, then a million wrong frames and ten thousand handshakes (ARGS='--seed 7')
	@$(BIN)/python -m tests.protocol.fuzz $(ARGS)

clean: ## remove what was installed; data stays
	rm -rf $(VENV) $(JS)/node_modules *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# pip is what comes last into it: a half-made one, as on Debian without python3-venv or after a
# Ctrl-C, lacks it, is removed, and is made anew by the next run.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit("Greenroom needs Python 3.11 or newer; %s is %s. Try: make PYTHON=python3.12" % (sys.executable, sys.version.split()[0]) if sys.version_info < (3, 11) else 0)'
	@echo 'installing into $(VENV): a minute or two (make test: several)'
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

$(READY): $(BIN)/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[server,embedded,client]'
	@touch $@

$(READY_DEV): $(BIN)/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(READY) $(READY_BENCH)

$(READY_BENCH): $(BIN)/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@ $(READY)

# Without it the tests of the TypeScript client say that they could not run, and all others run.
$(READY_JS): $(JS)/package-lock.json | $(READY_DEV)
	@$(NPM) ci --no-audit --no-fund --loglevel error || echo 'npm could not install the tools of $(JS)' >&2
