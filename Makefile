# Two commands matter: `make demo` (sets up and reduces a simulated night) and `make test` (sets up and tests).
PYTHON ?= python3
VENV ?= .venv
ESOREX ?= .esorex
BIN := $(VENV)/bin
DEMO ?= demo
LOWEST ?= .lowest
LOWEST_TESTS ?= tests
# One thread a process: the pipeline is parallel over recipes, and results must not depend on a library's threads.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
export MPLBACKEND = Agg

.PHONY: help install demo test lowest esorex lint docs workflows bench accuracy peer clean

help:
	@echo "make demo      set up, simulate one small night, reduce it"
	@echo "make test      set up, run the tests"
	@echo "make lowest    run the tests (LOWEST_TESTS) with the lowest versions that pyproject.toml allows (Python 3.11)"
	@echo "make esorex    build EsoRex with Python recipes in $(ESOREX) (Debian or Ubuntu; tests use it when it is there)"
	@echo "make install   set up only (virtual environment in $(VENV))"
	@echo "make lint      check form"
	@echo "make docs      write the recipes' reference pages"
	@echo "make workflows write what the workflows of Reflex and EDPS take from the declarations"
	@echo "make bench     times, memory and accuracy beside soxspipe on one night (needs Python 3.12+)"
	@echo "make accuracy  many-seed accuracy runs against simulated truth"
	@echo "make peer      reduce the simulated night with soxspipe too (needs Python 3.12+)"

$(VENV)/.ready: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or newer, or make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

install: $(VENV)/.ready

demo: install
	$(BIN)/soxs demo --output $(DEMO)

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) tools/lowest_versions.py > $(LOWEST)/versions.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(LOWEST)/versions.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(LOWEST)/bin/python -m pytest $(LOWEST_TESTS)

esorex: install
	tools/build_esorex.sh $(ESOREX) $(VENV)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: install
	$(BIN)/python docs/build_reference.py

workflows: install
	$(BIN)/python workflows/build_workflows.py
	$(BIN)/python edps_workflow/build_parameters.py

bench: install
	$(BIN)/python benchmarks/bench.py

accuracy: install
	$(BIN)/python benchmarks/accuracy.py

peer: install
	$(BIN)/python benchmarks/peer.py

clean:
	rm -rf $(VENV) $(LOWEST) $(ESOREX) demo
