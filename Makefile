# Every command of this project, a line each. `make` alone lists them.
#
#   PYTHON    the interpreter to make the environment with; default: the first on PATH that fits
#   ENGINE    `make train ENGINE=` trains in a process although a Docker engine answers
#   IMAGE     the image's name; default cv-keras-cifar10:local
#   WORKERS   how many tests run at a time; default 3, for two cores: many wait for something
#   SDKS      `make check SDKS=` leaves the SageMaker SDKs' environments (1.4 GB), and the tests that need them, out
#   FUZZ_SECONDS, KILLS   `make check`: seconds of fuzzing each parser, kills of one job; default 25 and 25

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
export IMAGE ?= cv-keras-cifar10:local
# tests start hundreds of processes: compiled modules are kept
unexport PYTHONDONTWRITEBYTECODE

# TensorFlow 2.21 is published for these
FITS := -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	"$$p" $(FITS) 2>/dev/null && echo "$$p" && break; done)
VENV ?= .venv
RUN := $(VENV)/bin/python
SCRIPTS := $(wildcard *.sh */*.sh .ci/*)

# asked only where the answer matters: it may take a while
ifneq (,$(filter train test check serve tune,$(MAKECMDGOALS)))
ENGINE ?= $(if $(shell timeout 20 docker info >/dev/null 2>&1 && echo yes),docker)
endif

# everything that runs on this machine, and what the notebook needs of it
ENV = $(VENV)/.has-dataset,dev,lab,launch,train $(NATIVE)
LAB = $(VENV)/.has-dataset,lab,launch,train $(NATIVE)

# what runs jobs: the image where an engine answers, else a process with the training program's packages
PLATFORM = $(VENV)/.has-dataset$(if $(ENGINE),,,train) $(if $(ENGINE),build,$(NATIVE))
NATIVE = $(VENV)/.has-native
RUNNER = $(if $(ENGINE),docker,process)

# the SageMaker SDKs, which exclude each other: each has an environment of its own
SDKS = sdk-v2 sdk-v3

# $(call pytest,EXPRESSION,OPTIONS): the tests with these marks. Those with containers run one at a time, since they share
# the engine, its images and its networks; meanwhile the others run, and then what the first have said is shown.
WORKERS ?= 3
pytest = failed=; \
	$(if $(ENGINE),log=$$(mktemp); $(RUN) -m pytest -m "docker and $1" >"$$log" 2>&1 & containers=$$!; \
	trap 'kill $$containers; cat "$$log"; rm -f "$$log"; exit 130' INT TERM HUP;) \
	$(RUN) -m pytest -m "not docker and $1" --numprocesses $(WORKERS) --dist worksteal $2 || failed=yes; \
	$(if $(ENGINE),tail -n +1 -f "$$log" & follow=$$!; wait $$containers || failed=yes; sleep 1; kill $$follow; rm -f "$$log",\
	echo "no Docker engine: no test in containers" >&2); \
	[ -z "$$failed" ]
FUZZ_SECONDS ?= 25
KILLS ?= 25

.PHONY: help train test check build serve tune bench lint types env lab sdk-v2 sdk-v3 docs lock audit clean

help: ## list these commands
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 10

train: $(PLATFORM) ## the main job: pictures, FIFOs, training, result
	$(RUN) -m dataset prepare
	$(RUN) -m local_test train --runner $(RUNNER) --hyperparameter epochs=3

test: $(ENV) lint types $(if $(ENGINE),build) ## what a change needs: style, walls, types, and every quick test
	@$(call pytest,not slow,--cov --cov-report=)

check: $(ENV) $(if $(ENGINE),build) ## all other tests: SageMaker's SDKs, the notebook, long fuzzing, kills
	@$(if $(SDKS),$(MAKE) --no-print-directory --jobs 2 $(SDKS))
	@export FUZZ_SECONDS=$(FUZZ_SECONDS) KILLS=$(KILLS); $(call pytest,slow)

build: ## the training image, as IMAGE
	@echo "building the image $(IMAGE): minutes the first time, later seconds" >&2
	container/build.sh

serve: $(PLATFORM) ## SageMaker's API on this machine, until Ctrl-C
	$(RUN) -m local_test serve --runner $(RUNNER)

tune: $(PLATFORM) ## launch/tuning_job.json: six jobs, two in parallel
	$(RUN) -m dataset prepare
	$(RUN) -m local_test tune --job launch/tuning_job.json --runner $(RUNNER)

bench: build $(ENV) ## every benchmark, as tables
	$(RUN) -m dataset prepare
	$(RUN) -m benchmarks

lint: $(VENV)/.has-dev ## ruff, and shellcheck if it is there
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); else echo "shellcheck is not there: left out" >&2; fi

types: $(ENV) ## mypy
	$(RUN) -m mypy

env: $(ENV) ## the environment .venv, for everything on this machine

lab: $(LAB) ## the environment .venv, for launch/lab/lab.ipynb

sdk-v2: .venv-sdk-v2/.made ## SageMaker's SDK v2, in an environment of its own

sdk-v3: .venv-sdk-v3/.made ## SageMaker's SDK v3, in an environment of its own

docs: $(ENV) ## write the tables in docs/ that the code knows
	$(RUN) -m docs.generate

lock: ## lock what the image installs, with hashes
	container/lock.sh

audit: ## known vulnerabilities of what the image installs: asks a database, so needs a network
	@[ -n "$(PYTHON)" ] || { echo "no Python that fits: give PYTHON=…" >&2; exit 1; }
	@PYTHON=$(PYTHON) container/audit.sh

clean: ## remove what these commands made, but not data and jobs
	rm -rf $(VENV) .venv-sdk-v2 .venv-sdk-v3 .venv-lock .venv-audit .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info

COMMA := ,
# what takes minutes says every few seconds how far it is
QUIETLY := container/quietly.sh

# A virtual environment with the extras that its name lists. Made once, and again when pyproject.toml changes.
# editable: otherwise pip leaves a build folder in the checkout.
# A compiler is needed by nothing but the toolkit's C extension, which only MPI jobs load, but all import. Where it can't
# be built, `true` stands for the compiler, and an empty module for the extension.
NO_COMPILER := $(if $(PYTHON),$(shell $(PYTHON) -c 'import os, shutil, sysconfig as s; \
	compiler = os.environ.get("CC") or s.get_config_var("CC") or "cc"; \
	print("" if shutil.which(compiler.split()[0]) and os.path.exists(s.get_path("include") + "/Python.h") else "yes")'))
EXTENSION := import importlib.util as u, pathlib, sysconfig as s; \
	u.find_spec("gethostname") or pathlib.Path(s.get_path("purelib"), "gethostname.py").touch()

$(RUN):
	@[ -n "$(PYTHON)" ] && $(PYTHON) $(FITS) || \
		{ echo "no Python that fits. Received: $(or $(PYTHON),none on PATH). Needs 3.11, 3.12 or 3.13: give PYTHON=…" >&2; exit 1; }
	@$(QUIETLY) "making $(VENV)" $(PYTHON) -m venv $(VENV)

# The training program's compiled helper, into the environment. Without a compiler its work is done in NumPy.
$(VENV)/.has-native: train/records/native.c | $(RUN)
	$(if $(NO_COMPILER),@echo "no compiler: reading records is slower without train/records/native.c" >&2,$(CC) -O3 -Wall \
		-Wextra -shared -fPIC $< -o "$$($(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/train_native.so")
	@touch $@

$(VENV)/.has-%: pyproject.toml | $(RUN)
	@echo "installing the packages for $(subst $(COMMA),$(COMMA) ,$*) into $(VENV): minutes the first time" >&2
	@$(if $(NO_COMPILER),CC=true LDSHARED=true) $(QUIETLY) "installing into $(VENV)" \
		$(RUN) -m pip install --progress-bar off --editable '.[$*]'
	$(if $(findstring train,$*),@$(RUN) -c '$(EXTENSION)')
	@touch $@ $(foreach extra,$(subst $(COMMA), ,$*),$(VENV)/.has-$(extra))

.venv-sdk-%/.made: launch/requirements-sdk-%.txt
	@[ -n "$(PYTHON)" ] || { echo "no Python that fits: give PYTHON=…" >&2; exit 1; }
	@[ -x $(@D)/bin/pip ] || $(QUIETLY) "making $(@D)" $(PYTHON) -m venv $(@D)
	@echo "installing SageMaker's SDK $* into $(@D): a minute or two" >&2
	@$(QUIETLY) "installing into $(@D)" $(@D)/bin/python -m pip install --progress-bar off --requirement $<
	@touch $@
