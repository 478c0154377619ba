# SPDX-License-Identifier: Apache-2.0
# One word for each thing one does with a checkout. Needs python3.11, git, and root for real guests.

PYTHON ?= python3.11
export PYTHON
SEEDS ?= 1-200

.DEFAULT_GOAL := help
.PHONY: help setup demo test verify tempest check gen lock docs bench bench-lab simulate soak clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install system packages, .venv and dependencies
	@scripts/setup

demo: setup ## live-migrate a real guest through the API and show every stage
	@.venv/bin/python -m wherry.testing.demo

test: ## set up, check, run every suite; ends with one line of totals
	@$(PYTHON) scripts/run_stages.py

verify: ## the same with slow tests, all of tempest, and many more simulated schedules and examples
	@WHERRY_SETUP_ALL=1 WHERRY_HYPOTHESIS_PROFILE=thorough WHERRY_SIMULATION_SCHEDULES=1000 $(PYTHON) scripts/run_stages.py --slow

simulate: setup ## run simulated schedules with faults: SEEDS=1-200, or SEEDS=17 to replay one with its log
	@.venv/bin/python -m wherry.testing.simulation $(SEEDS)

soak: setup ## run ten thousand of them, quietly in the background of other work
	@nice .venv/bin/python -m wherry.testing.simulation 1-10000

tempest: setup ## run OpenStack's acceptance suite, tempest, with a real Keystone
	@scripts/tempest

check: setup ## format, lint, types, imports, sizes, generated pages
	@scripts/check

gen: setup ## write the pages that are made from code
	@scripts/gen

lock: ## pin dependencies anew into requirements/
	@scripts/lock

docs: setup ## check pages and links
	@scripts/docs

bench: setup ## measure accepts, migrations, lists, take-over and monitors, on simulated guests
	@.venv/bin/python -m benchmarks.run

bench-lab: setup ## compare a migration through Wherry with a bare one, on real guests
	@.venv/bin/python -m benchmarks.lab

clean: ## remove what setup, tests and tools made in this directory
	rm -rf .venv .venv.* .setup.lock .stages .tempest .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
