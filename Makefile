# Everything runs in .venv, made from pyproject.toml alone.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
OLDEST ?= .venv-oldest
COLAB ?= .venv-colab
OUT ?= marks.csv
BIN := $(VENV)/bin
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] && echo --allow-root) # as in a container

# Threads that wait go to sleep soon, in place of spinning: see CONTRIBUTING.md, "Two at once".
export GOMP_SPINCOUNT ?= 1000

help:            ## this list
	@sed -n 's/^\([a-z-]*\): .*## /  make \1\t/p' $(MAKEFILE_LIST)

setup: $(VENV)/ready ## prepare .venv (3 to 10 minutes the first time); CPU=1: without GPU libraries

$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed: make PYTHON=python3.12 setup'; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo 'No venv here. On Debian and Ubuntu: sudo apt install python3-venv'; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(if $(CPU),$(BIN)/python -m pip install --quiet torch torchvision --index-url https://download.pytorch.org/whl/cpu)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

lab: setup       ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab --ServerApp.root_dir=notebooks $(AS_ROOT)

test: setup      ## every test, chapters and solutions under nbval included
	$(BIN)/python -m pytest

quick: setup     ## the tests of a minute: no notebook, no browser, none marked slow
	$(BIN)/python -m pytest tests -m 'not slow'

oldest: $(OLDEST)/ready ## all tests but the browser's, on the lowest versions that pyproject.toml allows
	$(OLDEST)/bin/python -m pytest --ignore=tests/test_browser.py

$(OLDEST)/ready: pyproject.toml tools/oldest.py
	python3.11 -m venv $(OLDEST)
	$(OLDEST)/bin/python tools/oldest.py > $(OLDEST)/pins.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/pins.txt --editable '.[test]'
	@touch $@

colab: setup $(COLAB)/ready ## run chapters 1 and 2 with the versions that Colab has
	rm -rf _build/colab && mkdir -p _build/colab
	$(BIN)/python -m pip wheel --quiet --no-deps -w _build/colab .
	cp -r notebooks/01*.ipynb notebooks/02*.ipynb notebooks/img _build/colab
	$(COLAB)/bin/python -m pip uninstall --quiet --yes d2l-gan # the set-up cell shall bring it
	$(COLAB)/bin/python tools/execute.py _build/colab/*.ipynb

$(COLAB)/ready: tools/colab.txt
	$(or $(shell command -v python3.13),$(PYTHON)) -m venv $(COLAB)
	$(COLAB)/bin/python -m pip install --quiet --requirement tools/colab.txt
	@touch $@

run: setup       ## execute the chapters into _build/, as notebooks and as HTML
	$(BIN)/python tools/execute.py --to _build

store: setup     ## execute chapters and solutions in clean kernels and store them with their outputs
	$(BIN)/python tools/execute.py --store notebooks/*.ipynb notebooks/solutions/*.ipynb

exercises: setup ## make the students' exercises from notebooks/solutions
	$(BIN)/python tools/exercises.py

grade: setup     ## mark the notebooks in DIR=folder, into OUT=marks.csv
	@test -n "$(DIR)" || { echo 'Which folder? make grade DIR=submissions'; exit 1; }
	$(BIN)/python -m d2l_gan.grade "$(DIR)" --out "$(OUT)"

slides: setup    ## write the three decks into _build/slides, each one file
	$(BIN)/python tools/slides.py

book: setup      ## build the book into _build/book: open index.html there, no network needed
	rm -rf _build/book
	$(BIN)/sphinx-build -q -E -W --keep-going -d _build/doctrees -c docs . _build/book
	$(BIN)/python tools/slides.py --to _build/book/slides

links: setup     ## ask every external address in the book whether it is still there
	$(BIN)/sphinx-build -q -b linkcheck -d _build/doctrees -c docs . _build/links

ready: setup     ## before class: is all there, and how long will chapter 2 take here?
	$(BIN)/python tools/ready.py

stick: setup     ## collect all for a room without a network in _build/stick; CPU=1: without GPU libraries
	$(BIN)/python tools/stick.py $(if $(CPU),--cpu)

bench: setup     ## time the course's code against the textbook's way (some 25 minutes)
	$(BIN)/python tools/benchmarks/bench.py

bench-gpu: setup ## the same at the book's size on a GPU, to a table (some 10 minutes)
	$(BIN)/python tools/benchmarks/gpu.py

lint: setup      ## ruff, notebooks included, and the types of d2l_gan
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.PHONY: help setup lab test quick oldest run store exercises grade slides book links colab ready stick bench bench-gpu lint
