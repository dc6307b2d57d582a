# Everything runs in .venv, made from pyproject.toml alone.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] && echo --allow-root) # as in a container

help:            ## this list
	@sed -n 's/^\([a-z]*\): .*## /  make \1\t/p' $(MAKEFILE_LIST)

setup: .venv/ready ## prepare .venv (3 to 10 minutes the first time, nothing the second)

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed: make PYTHON=python3.12 setup'; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { echo 'No venv here. On Debian and Ubuntu: sudo apt install python3-venv'; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

lab: setup       ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab --ServerApp.root_dir=notebooks $(AS_ROOT)

test: setup      ## every test, both notebooks under nbval included
	$(BIN)/python -m pytest

run: setup       ## execute both chapters into _build/, as notebooks and as HTML
	$(BIN)/python tests/execute.py --to _build

store: setup     ## execute both chapters in clean kernels and store them with their outputs
	$(BIN)/python tests/execute.py --store

bench: setup     ## time the course's code against the textbook's way (some 25 minutes)
	$(BIN)/python tests/benchmarks/bench.py

lint: setup      ## ruff, notebooks included
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: help setup lab test run store bench lint
