# Two commands do all set-up: `make demo` and `make test`. Both need Python 3.10 or later and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests wait more than they compute: four at a time keep two cores busy.
WORKERS ?= 4
SOURCES := packages/scheduler/pyproject.toml packages/scheduler/src/simple_gpu_scheduler/__init__.py

# The benchmarks start the commands thousands of times: compiled once is enough.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint types tests coverage bench bench-queue bench-peers data results bench-methods docs pictures clean

help:
	@echo 'make demo           install, run a small sweep with three jobs at a time, and print a table of results'
	@echo 'make test           run lint, type checks and all tests'
	@echo 'make coverage       run all tests, and list the lines that they do not run'
	@echo 'make bench          compare the speed of the scheduler and the search with other tools'
	@echo 'make bench-queue    compare the speed of the queue with other queues'
	@echo 'make bench-peers    install these other tools'
	@echo 'make data           download the data sets of the methods'
	@echo 'make results        run the experiments of the methods through the scheduler; writes RESULTS.md'
	@echo 'make bench-methods  compare the speed of the methods with references; writes BENCHMARKS.md'
	@echo 'make docs           build the site of all packages in build/docs'
	@echo 'make pictures       draw the pictures of README.md again, from the real programs'
	@echo 'make clean          remove $(VENV), caches and build results'

demo: $(VENV)/installed
	PATH="$(abspath $(BIN)):$$PATH" sh examples/demo.sh

test: lint types tests

lint: $(VENV)/developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/developed
	$(BIN)/mypy

tests: $(VENV)/developed
	HYPOTHESIS_PROFILE=thorough $(BIN)/pytest -n $(WORKERS)

coverage: $(VENV)/developed
	$(BIN)/pytest -n $(WORKERS) --cov --cov-report=term

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks

bench-queue: $(VENV)/installed
	$(BIN)/python -m benchmarks.queue

bench-peers:
	PYTHON=$(PYTHON) sh benchmarks/harness/install-peers.sh

data: $(VENV)/developed
	$(BIN)/python -m iclr2020.data install

results: data
	$(BIN)/python packages/methods/experiments/results.py

bench-methods: data
	$(BIN)/python packages/methods/benchmarks/run.py

docs: $(VENV)/developed
	$(BIN)/sphinx-build --quiet --fail-on-warning -c docs . build/docs
	@echo 'the site: build/docs/index.html'

pictures: $(VENV)/developed
	$(BIN)/python docs/pictures

$(VENV)/created:
	@command -v $(PYTHON) >/dev/null \
	|| { echo "make: there is no $(PYTHON); name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	|| { echo "make: $(PYTHON) is older than 3.10; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	|| { echo "make: $(PYTHON) has no working venv module (Debian: apt install python3-venv)" >&2; exit 1; }
	@touch $@

$(VENV)/installed: $(VENV)/created $(SOURCES) examples/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -e packages/scheduler -r examples/requirements.txt
	@touch $@

$(VENV)/developed: $(VENV)/installed requirements-dev.txt packages/methods/pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage benchmarks/build build packages/methods/docs/pages
