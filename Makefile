# `make demo` and `make test` set everything up by themselves; `make help` says what else there is.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
EXTRAS := dev,gptq,bnb,llm,sign,evaluate
# Runs $(1), and says every 20 seconds how long it has taken.
patiently = @start=$$(date +%s); (while sleep 20 >/dev/null 2>&1; do echo "  $$(( $$(date +%s) - start )) s"; done) & \
	trap "kill $$!" EXIT; $(1) && echo "  done in $$(( $$(date +%s) - start )) s."

.PHONY: help demo test test-all test-fast check format setup requirements clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: .venv/.core ## set up, then quantize, measure and ask the bundled model
	$(BIN)/lqmf demo

test: .venv/.dev ## set up, then run the tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not exhaustive"

test-all: .venv/.dev ## run the cases too for which others of their kind stand in `make test`
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-fast: .venv/.dev ## run the tests that are not marked slow
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not exhaustive and not slow"

check: .venv/.dev ## linters and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.dev ## put the code in its usual form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: .venv/.core ## only the set-up: .venv/bin/lqmf is ready afterwards

requirements: .venv/.dev ## write requirements.txt from the constraints: what a user's installation needs, pinned
	$(BIN)/python .ci/requirements.py > requirements.txt

clean: ## remove the environment; models and artifacts stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache

.venv/.core: pyproject.toml constraints.txt
	@echo "LQMF set-up: a virtual environment in .venv, with torch, transformers and llama.cpp."
	@echo "The first time on a machine, llama.cpp is compiled: 5 to 8 minutes on 2 cores. Set CMAKE_ARGS for a GPU (see README)."
	@command -v c++ >/dev/null || { echo "A C++ compiler is missing. On Debian or Ubuntu: sudo apt install g++"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m lqmf.ggml.build -c constraints.txt
	@echo "Installing torch, transformers and the rest ..."
	$(call patiently,$(PIP) -e .)
	@echo "Fetching the GGUF converter that belongs to this llama.cpp ..."
	$(BIN)/python -m lqmf.quantization.gguf.converter.toolchain
	@touch $@

.venv/.dev: .venv/.core
	@echo "Installing the test tools and every optional part ..."
	$(call patiently,$(PIP) -e '.[$(EXTRAS)]')
	@touch $@
