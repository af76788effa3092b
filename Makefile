# Everything happens in .venv; only git, make and python3 (3.11 or later, with venv) are needed.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo all sweep bench figures test test-slow lint clean

# A part of the graph on the embedded data set: the supervised network and three methods; the page shows what there is.
demo: .venv/installed
	dvc repro evaluate@supervised evaluate@consistency evaluate@auxiliary evaluate@contrastive
	python -m stages.report --out metrics/report.html
	@echo "open metrics/report.html"

# The whole graph: every method.
all: .venv/installed
	dvc repro
	@echo "open metrics/report.html"

# One training of the routing network for each budget, as a queue of DVC experiments, with whatever else is queued; the
# curve is in the report. Commit first: an experiment begins with what git holds.
BUDGETS ?= 0.4,0.55,0.7,0.85
SHOWN := Experiment|.*selene.steps|.*budget.share|.*miou|.*gmacs.*|.*images|.*seed
sweep: .venv/installed
	dvc exp run --queue -S '++selene.budget.share=$(BUDGETS)' evaluate@selene
	dvc exp run --run-all
	dvc exp show --csv --drop '.*' --keep '$(SHOWN)' > .dvc/tmp/experiments.csv
	mkdir -p metrics/plots && mv .dvc/tmp/experiments.csv metrics/plots/experiments.csv
	dvc repro report

# Measure the speed of every part, or of those in ARGS (ARGS='confusion filter', ARGS=--quick).
bench: .venv/installed-dev
	python -m benchmarks $(ARGS)

# How long the graph, the presets and README are, and how far an image is from its loss.
figures: .venv/installed-dev
	python -m benchmarks.figures

# Set up and pass the tests (pass more with ARGS, such as ARGS='-m slow'); many short processes share the cores.
test: export OMP_WAIT_POLICY ?= PASSIVE
test: .venv/installed-dev lint
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# The tests that take minutes.
test-slow: .venv/installed-dev
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

lint: .venv/installed-dev
	ruff check .
	ruff format --check .
	mypy

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	python -m pip install --quiet -e .
	@touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	python -m pip install --quiet -e '.[dev]'
	@touch $@ .venv/installed

# Generated files; what DVC cached stays in .dvc/cache.
clean:
	rm -rf .scratch build *.egg-info .pytest_cache .ruff_cache .mypy_cache
