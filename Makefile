# Needs Python, pip and make only. Every target sets up the environment it needs; see `make help`.

PYTHON ?= python3
# The torch of the development environment; the package itself allows a range (setup.cfg).
TORCH ?= torch==2.13.0
# Test processes. One thread in each: torch's own threads would only fight over the cores.
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help train test test-slow test-gpu check format docs dev peers clean

help: ## show this list
	@$(PYTHON) -c "import re, sys; [print(f'make {m[1]:10} {m[2]}') for l in open('Makefile') if (m := re.match(r'([a-z-]+):.*?## (.*)', l))]"

train: $(READY) ## train SAC on Pendulum-v1 from its zoo file, evaluate it, write the run folder
	$(BIN)/slc-agents train sac Pendulum-v1

test: $(READY) ## the fast test suite
	$(PYTEST) -n $(WORKERS)

test-slow: $(READY) ## the slow tests: learning, several seeds
	$(PYTEST) -n $(WORKERS) -m "slow and not gpu"

test-gpu: $(READY) ## the tests that need a CUDA device
	$(PYTEST) -m gpu

check: $(READY) ## lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## mend formatting, and what the linter can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(READY) ## build the documentation's site into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html
	@echo "site: docs/_build/html/index.html"

dev: $(READY) ## set up the development environment, .venv

peers: .venv-peers/.ready ## set up the libraries that the benchmarks measure against, in .venv-peers

clean: ## remove the environment, build outputs and caches
	rm -rf $(VENV) .venv-peers build dist docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find slc_agents tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# Written last, so that a set-up that was interrupted is begun again, from an empty folder where it was the first one.
$(READY): setup.cfg pyproject.toml
	test -e $@ || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[dev]"
	touch $@

# Both in one environment: SBX stands on Stable-Baselines3. Their versions stand here, so it is renewed with this file.
.venv-peers/.ready: Makefile
	test -e $@ || $(PYTHON) -m venv --clear .venv-peers
	.venv-peers/bin/python -m pip install --disable-pip-version-check $(TORCH)
	.venv-peers/bin/python -m pip install --disable-pip-version-check "stable-baselines3==2.9.*" "sbx-rl==0.28.*" \
		"gymnasium[mujoco]"
	touch $@
