# `make demo` and `make test` are all that a fresh machine needs; both set up what they use.
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu    another build of torch (the CPU one is about 1 GB, CUDA 5.5 GB)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
TORCH_INDEX ?=
PYTEST ?= -n 2 --dist loadfile
BENCH ?= --page
export MPLBACKEND := Agg

.PHONY: demo test test-all test-browser lint bench chromium screenshots wheel clean

demo: $(VENV)/.demo
	$(BIN)/auditor demo

test: $(VENV)/.dev chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST) -m "not slow"

test-all: $(VENV)/.dev chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST)

test-browser: $(VENV)/.dev chromium
	$(BIN)/python -m pytest -m browser

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every stage beside its peers, one table in docs/benchmarks.md: about two hours; `make bench BENCH=--small` is a try of minutes that writes no page.
bench: $(VENV)/.bench chromium
	$(BIN)/python -m benchmarks --out build/benchmarks $(BENCH)

screenshots: $(VENV)/.dev chromium
	$(BIN)/python benchmarks/screenshots.py

wheel: $(VENV)/.dev
	$(BIN)/python -m build --wheel

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "auditor needs Python 3.11 or newer; got $$($(PYTHON) --version). Install it, or: make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "the venv module is missing: apt-get install python3-venv"; exit 2; }
	@if [ -n "$(TORCH_INDEX)" ]; then $(BIN)/pip install --disable-pip-version-check "torch>=2.10" "torchvision>=0.25" --index-url "$(TORCH_INDEX)"; fi
	@touch $@

$(VENV)/.demo: pyproject.toml | $(VENV)/.venv
	$(BIN)/pip install --disable-pip-version-check -q -e ".[demo]"
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.venv
	$(BIN)/pip install --disable-pip-version-check -q -e ".[dev]"
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: pyproject.toml | $(VENV)/.dev
	$(BIN)/pip install --disable-pip-version-check -q -e ".[bench]"
	@touch $@

# The report is tested in a real browser: $$AUDITOR_CHROMIUM, or chromium on the PATH.
chromium:
	@if [ -n "$$AUDITOR_CHROMIUM" ] || command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	else echo "the browser tests need Chromium: sudo apt-get install chromium (or set AUDITOR_CHROMIUM to its path)"; exit 2; fi

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
