# What can be done with a checkout: `make` lists it. Every goal makes its own environment in .venv; nothing outside this folder changes.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
PARTS ?=

BIN := $(VENV)/bin
# Written last, so an interrupted installation is taken up again; newer than pyproject.toml means nothing to install.
STAMP := $(VENV)/.facesearch-installed
# An environment that is there already says which Python it is of; pip is the last thing that venv puts into it.
BASE := $(if $(wildcard $(BIN)/pip),$(BIN)/python,$(PYTHON))
CODE := facesearch migrations tests benchmarks examples cli.py hatch_build.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help venv demo check test test-all bench bench-peers bench-peers-env bench-detector bench-index clean

help:  ## list the goals
	@echo "facesearch: goals of make (PYTHON=$(PYTHON), VENV=$(VENV))"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

venv: $(STAMP)  ## make .venv with facesearch and everything its tests need

$(STAMP): pyproject.toml hatch_build.py $(wildcard facesearch/*/native/*.cpp facesearch/*/native/*.h)
	@command -v "$(BASE)" >/dev/null || { \
	  echo "make: no '$(BASE)' found; install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(BASE)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: '$(BASE)' is $$("$(BASE)" -V); facesearch needs 3.11 or newer: make clean, then make PYTHON=python3.11" >&2; exit 1; }
	@"$(BASE)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: '$(BASE)' cannot make environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@"$(BASE)" -c 'import pathlib, sysconfig, sys; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' || { \
	  echo "make: Python.h of '$(BASE)' is missing (hnswlib is compiled); on Debian and Ubuntu: apt install python3-dev" >&2; exit 1; }
	@command -v "$(CXX)" >/dev/null || { \
	  echo "make: no C++ compiler '$(CXX)' found (hnswlib is compiled); on Debian and Ubuntu: apt install g++" >&2; exit 1; }
	@test -e "$(BIN)/pip" || { echo "==> making $(VENV) with $$("$(PYTHON)" -V)"; "$(PYTHON)" -m venv --clear "$(VENV)"; }
	@echo "==> installing facesearch and its dependencies into $(VENV) (minutes the first time: torch and OpenVINO are large)"
	@"$(BIN)/python" -m pip install --quiet --editable '.[dev,server]'
	@touch "$@"

demo: $(STAMP)  ## enroll, verify and identify people in real photographs; shows a picture of the result
	@"$(BIN)/python" examples/demo.py

check: $(STAMP)  ## formatting, lint, docstrings, types, and who may import whom
	@echo "==> ruff format"
	@"$(BIN)/ruff" format --check $(CODE)
	@echo "==> ruff check"
	@"$(BIN)/ruff" check $(CODE)
	@echo "==> mypy --strict"
	@"$(BIN)/mypy"
	@echo "==> import-linter"
	@"$(BIN)/lint-imports" --no-logo --no-cache

test: check  ## the checks and all tests but the slow ones (minutes)
	@echo "==> pytest (without the slow tests; make test-all runs them too)"
	@"$(BIN)/python" -m pytest -q -m "not slow and not peers" $(PYTEST_ARGS)

test-all: check  ## the checks and every test (long; set FACESEARCH_DATA for those that need photographs)
	@echo "==> pytest (everything)"
	@"$(BIN)/python" -m pytest -q $(PYTEST_ARGS)

bench-detector: $(STAMP)  ## recall and false positives of the detector beside facenet-pytorch's
	@"$(BIN)/python" benchmarks/detector.py

bench-index: $(STAMP)  ## recall and speed of the vector index by setting
	@"$(BIN)/python" -m benchmarks.index

bench: bench-peers-env  ## everything beside its peers, into benchmarks/RESULTS.md (PARTS="detector million" runs some of it)
	@"$(BIN)/python" -m benchmarks.results run $(PARTS)

bench-peers: bench-peers-env  ## accuracy and speed beside face_recognition, facenet-pytorch, OpenCV, InsightFace and deepface (hours the first time)
	@"$(BIN)/python" -m benchmarks.peers --embed --json .bench/results/peers.json
	@"$(BIN)/python" -m benchmarks.results render

bench-peers-env: $(STAMP)  ## the peers' own environment in .bench/peers (many minutes the first time: dlib is compiled)
	@"$(BIN)/python" -m benchmarks.peers_env

clean:  ## delete what these goals made (the environment, caches, the demo's output)
	rm -rf "$(VENV)" demo-output build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .bench
	rm -f facesearch/*/native/*.so
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
