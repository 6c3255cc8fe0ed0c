# make repro: set up once, then run the pipeline.   make test: set up once, then test.

# The first Python on the path that is new enough; another one: make repro PYTHON=/path/to/python
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Stages call `python`: with the environment first on the path, that is its own.
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check
CPU_WHEELS := https://download.pytorch.org/whl/cpu

.PHONY: help setup setup-cpu repro test test-slow coverage lint

help:
	@sed -n "s/^# \(make repro.*\)/\1/p" Makefile; echo "Others: make setup, make setup-cpu, make test-slow, make coverage, make lint"

setup: .venv/.ready

# PyTorch without CUDA's libraries; what it needs besides comes with the rest
setup-cpu: .venv/bin/python
	@$(PIP) --no-deps --index-url $(CPU_WHEELS) $$(grep -oE '^torch(vision)?==[0-9.]+' constraints.txt)
	@$(MAKE) setup

repro: .venv/.ready
	@if test -e .git && grep -qs no_scm .dvc/config.local; then .venv/bin/dvc config --local --unset core.no_scm; fi
	@$(RUN) dvc repro
	@if test -e .git && git diff --quiet HEAD -- . ':!dvc.lock' ':!metrics' ':!plots' && \
	! git diff --quiet HEAD -- metrics ':!metrics/timing.json'; then \
	echo "Your numbers differ from the committed ones, as on another CPU. Keep yours as the base: git commit -a -m 'My base run'"; fi

test: .venv/.ready-test
	@$(RUN) python -m pytest -q -n logical --maxprocesses 4 --dist worksteal

test-slow: .venv/.ready-test
	@$(RUN) python -m pytest -q -m slow -n logical --maxprocesses 2 --dist worksteal

coverage: .venv/.ready-test
	@$(RUN) python -m pytest -q -m "" -n logical --maxprocesses 2 --dist worksteal --cov

lint: .venv/.ready-test
	@$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) mypy

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; install one, or: make repro PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || \
	{ rm -rf .venv; echo "error: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

.venv/.ready: requirements.txt constraints.txt pyproject.toml | .venv/bin/python
	@echo "Installing into .venv, once: up to 5.5 GB with the CUDA libraries of PyTorch, some 4 GB less by make setup-cpu"
	@$(PIP) --requirement requirements.txt
	@test -e .git || .venv/bin/dvc config --local core.no_scm true
	@.venv/bin/python .dvc/plots/offline.py
	@touch $@

.venv/.ready-test: requirements-test.txt .venv/.ready
	@$(PIP) --requirement requirements-test.txt
	@touch $@
