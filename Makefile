# make demo and make test are all the set-up there is. Needs Python 3.11+ with pip, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export HF_HUB_DISABLE_TELEMETRY ?= 1

# how many seeded schedules of disk faults `make faults` plays
SCHEDULES ?= 100000

.PHONY: setup demo test faults lint bench findings docs clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "pliant needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "could not make $(VENV); on Debian install python3-venv"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

$(VENV)/.lint-ready: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[lint]'
	@touch $@

demo: setup
	$(BIN)/pliant demo --ledger runs/demo

# the fast tests first, so that a broken build says so in a minute
test: setup
	$(BIN)/python -m pytest -n 2 -m "not slow and not gpu"
	$(BIN)/python -m pytest -n 2 -m "slow and not gpu"

faults: setup
	$(BIN)/python tests/faults/simulate.py --schedules $(SCHEDULES)
	PLIANT_FAULTS_EVERY=1 $(BIN)/python -m pytest -n 2 --timeout 3000 -m "slow and not gpu" tests/faults

lint: $(VENV)/.lint-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: setup
	$(BIN)/python bench/run.py

findings: setup
	$(BIN)/pliant findings --size laptop --out docs/findings.md || [ $$? -eq 1 ]  # 1 says that a claim was contradicted

docs: setup
	$(BIN)/python docs/generate

clean:
	rm -rf $(VENV) runs
