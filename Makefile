# Every command of this project, a line each. `make` alone lists them.
#
#   PYTHON    the interpreter to make the environment with; default: the first on PATH that fits
#   ENGINE    `make train ENGINE=` trains in a process although a Docker engine answers
#   IMAGE     the image's name; default cv-keras-cifar10:local
#   SDKS      `make test SDKS=` leaves the SageMaker SDKs' environments (1.4 GB), and the tests that need them, out

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
export IMAGE ?= cv-keras-cifar10:local

# TensorFlow 2.21 is published for these
FITS := -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	"$$p" $(FITS) 2>/dev/null && echo "$$p" && break; done)
VENV ?= .venv
RUN := $(VENV)/bin/python
SCRIPTS := $(wildcard *.sh */*.sh .ci/run)

# asked only where the answer matters: it may take a while
ifneq (,$(filter train test serve tune,$(MAKECMDGOALS)))
ENGINE ?= $(if $(shell timeout 20 docker info >/dev/null 2>&1 && echo yes),docker)
endif

# what runs jobs: the image where an engine answers, else a process with the training program's packages
PLATFORM = $(VENV)/.has-dataset$(if $(ENGINE),,,train) $(if $(ENGINE),build,$(NATIVE))
NATIVE = $(VENV)/.has-native
RUNNER = $(if $(ENGINE),docker,process)

# the SageMaker SDKs, which exclude each other: each has an environment of its own
SDKS = .venv-sdk-v2/.made .venv-sdk-v3/.made

.PHONY: help train test build serve tune bench lint lock clean

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 10

train: $(PLATFORM) ## the main job: pictures, FIFOs, training, result
	$(RUN) -m dataset prepare
	$(RUN) -m local_test train --runner $(RUNNER) --hyperparameter epochs=3

test: lint $(VENV)/.has-dataset,dev,lab,launch,train $(NATIVE) $(SDKS) $(if $(ENGINE),build) ## everything this machine can test
	$(RUN) -m pytest

build: ## the training image, as IMAGE
	container/build.sh

serve: $(PLATFORM) ## SageMaker's API on this machine, until Ctrl-C
	$(RUN) -m local_test serve --runner $(RUNNER)

tune: $(PLATFORM) ## launch/tuning_job.json: six jobs, two in parallel
	$(RUN) -m dataset prepare
	$(RUN) -m local_test tune --job launch/tuning_job.json --runner $(RUNNER)

bench: build $(VENV)/.has-dataset,dev,lab,launch,train $(NATIVE) ## every benchmark, as tables
	$(RUN) -m dataset prepare
	$(RUN) -m benchmarks

lint: $(VENV)/.has-dev ## ruff, and shellcheck if it is there
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); else echo "shellcheck is not there: left out" >&2; fi

lock: ## lock what the image installs, with hashes
	container/lock.sh

clean: ## remove what these commands made, but not data and jobs
	rm -rf $(VENV) .venv-sdk-v2 .venv-sdk-v3 .venv-lock .pytest_cache .ruff_cache .hypothesis *.egg-info

# A virtual environment with the extras that its name lists. Made once, and again when pyproject.toml changes.
# editable: otherwise pip leaves a build folder in the checkout.
# A compiler is needed by nothing but the toolkit's C extension, which only MPI jobs load, but all import. Where it can't
# be built, `true` stands for the compiler, and an empty module for the extension.
NO_COMPILER := $(if $(PYTHON),$(shell $(PYTHON) -c 'import os, shutil, sysconfig as s; \
	compiler = os.environ.get("CC") or s.get_config_var("CC") or "cc"; \
	print("" if shutil.which(compiler.split()[0]) and os.path.exists(s.get_path("include") + "/Python.h") else "yes")'))
EXTENSION := import importlib.util as u, pathlib, sysconfig as s; \
	u.find_spec("gethostname") or pathlib.Path(s.get_path("purelib"), "gethostname.py").touch()

# The training program's compiled helper, into the environment. Without a compiler its work is done in NumPy.
$(VENV)/.has-native: train/records/native.c
	$(if $(NO_COMPILER),@echo "no compiler: reading records is slower without train/records/native.c" >&2,$(CC) -O3 -Wall \
		-Wextra -shared -fPIC $< -o "$$($(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/train_native.so")
	@touch $@

$(VENV)/.has-%: pyproject.toml
	@[ -n "$(PYTHON)" ] && $(PYTHON) $(FITS) || \
		{ echo "no Python that fits. Received: $(or $(PYTHON),none on PATH). Needs 3.11, 3.12 or 3.13: give PYTHON=…" >&2; exit 1; }
	@[ -x $(RUN) ] || $(PYTHON) -m venv $(VENV)
	$(if $(NO_COMPILER),CC=true LDSHARED=true) $(RUN) -m pip install --quiet --editable '.[$*]'
	$(if $(findstring train,$*),@$(RUN) -c '$(EXTENSION)')
	@touch $@

.venv-sdk-%/.made: launch/requirements-sdk-%.txt
	@[ -n "$(PYTHON)" ] || { echo "no Python that fits: give PYTHON=…" >&2; exit 1; }
	@[ -x $(@D)/bin/python ] || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	@touch $@
