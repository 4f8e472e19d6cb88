# What a person does with this checkout. `make` alone lists it.

PYTHON := .venv/bin/python
# Test processes side by side; live tests start containers, so more than the cores does not help.
JOBS ?= $(shell nproc)
# make bench: which cases, how often, against whom (see bench/README.md).
CASES ?= all
ROUNDS ?= 3
PEERS ?= all
# make soak: how many times a build and a push are killed.
KILLS ?= 500

.PHONY: help setup demo test lint fmt bench soak lock clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## install what is missing; leaves .venv/bin/viaduct
	@scripts/setup.sh run

demo: setup ## build, push, inspect and run a two-platform image on this machine
	@scripts/demo.sh

test: ## the whole test suite, set-up included
	@scripts/setup.sh test
	$(PYTHON) -m pytest -n $(JOBS) --dist loadgroup $(PYTEST_ARGS)

lint: ## style, types and the import rules
	@scripts/setup.sh test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

fmt: ## let ruff lay out the code
	@scripts/setup.sh test
	.venv/bin/ruff check --fix --exit-zero --quiet .
	.venv/bin/ruff format .

bench: ## measure against the peers on this machine: make bench CASES=a,b ROUNDS=5
	@scripts/setup.sh test
	$(PYTHON) -m bench.run --cases $(CASES) --rounds $(ROUNDS) --peers $(PEERS)

soak: ## kill builds and pushes at random points for a long time: make soak KILLS=1000
	@scripts/setup.sh test
	VIADUCT_SOAK_KILLS=$(KILLS) $(PYTHON) -m pytest -n 0 -m soak --timeout 0 $(PYTEST_ARGS)

lock: ## resolve the dependencies anew into the lock files
	@scripts/lock.sh

clean: ## remove everything that make made
	@scripts/clean.sh
