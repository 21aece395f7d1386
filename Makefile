# The doors of the project. Each sets up what it needs; all are quick the second time.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
STUDY  ?= examples/quickstart.study

# One OpenMP thread: the runtime gives every device slot its own, and tests must not fight over cores.
export OMP_NUM_THREADS ?= 1

.PHONY: run test lint unit seeds test-faults test-long bench docs clean help

help:                    ## say what the doors are
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(READY)            ## set up, then run the quickstart study end to end
	$(BIN)/isoloss run $(STUDY)

test: lint unit          ## set up, lint, type-check, test

lint: $(READY)           ## ruff, mypy, import rules
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-cache > $(VENV)/import-linter.log 2>&1 || { cat $(VENV)/import-linter.log; exit 1; }

unit: $(READY)           ## the tests, two processes
	$(BIN)/python -m pytest -n 2 --dist loadscope --durations 10

seeds: $(READY)          ## the property tests under twenty random seeds, by hand before a change of rules lands
	for seed in $$(seq 20); do \
	  $(BIN)/python -m pytest -x $$(grep -rl '@given\|RuleBasedStateMachine' tests) --hypothesis-seed=$$seed || exit 1; done

test-faults: $(READY)    ## the long fault-injection runs: 100 kills
	ISOLOSS_KILLS=100 $(BIN)/python -m pytest -n 2 --dist load --durations 5 tests/faults/test_kills.py tests/faults/test_studies.py

test-long: $(READY)      ## what takes many minutes: two nodes of a real Slurm over several walltimes, outages of a minute
	ISOLOSS_LONG=1 $(BIN)/python -m pytest -s tests/slurm/test_long.py tests/tracking

bench: $(READY)          ## every benchmark, with its peers, figures to stdout: hours, most of them design.py's and faults.py's
	for b in $$(grep -l __main__ benchmarks/*.py); do echo "== $$b"; $(BIN)/python $$b || exit 1; done

docs: $(READY)           ## regenerate the generated pages, the parser's tables and the pictures
	$(BIN)/python -m isoloss.dsl.editor.reference_pages
	$(BIN)/python -m isoloss.drawings.pictures

$(READY): pyproject.toml
	@echo "setting up $(VENV): a minute or two the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[dev]'
	@# Wheels are compiled when they are installed, a checkout is not: each worker would compile it anew where
	@# Python is told to write no bytecode.
	@$(BIN)/python -m compileall -q dsl compiler runtime isoloss
	@touch $@

clean:                   ## remove the environment and caches; stores stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
