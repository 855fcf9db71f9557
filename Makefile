# Every target makes .venv when it is missing, and installs again when pyproject.toml or constraints.txt changed.
.DEFAULT_GOAL := help
.PHONY: help demo test test-engines fast check format bench quality prove-resume prove-delivery prove-cluster cluster-up cluster-down constraints clean

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# the other environment: what stands in .venv, and the extras of engines on top
ENGINES := .venv-engines
EXTRAS := torch,sherpa,chatterbox
# what the tools under test may not pick up from the folder they are called in
export PYTHONSAFEPATH := 1

help:  ## this list
	@sed -n 's/^\([a-z-]*\): .*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-18s%s\n' "$$name" "$$text"; done

$(INSTALLED): pyproject.toml constraints.txt
	@found=; if ! test -x $(BIN)/pip; then \
	  for python in $(PYTHON) python3.11 python3.12 python3; do \
	    if $$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; \
	    then found=$$python; break; fi; \
	  done; \
	  if test -z "$$found"; then \
	    echo "wavemill needs Python 3.11 or 3.12 with its venv module (Debian: apt-get install python3-venv)." >&2; \
	    echo "Name one that is elsewhere with: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; \
	  fi; \
	  $$found -m venv $(VENV); \
	fi
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(ENGINES)/.installed: $(INSTALLED)
	$(BIN)/python -m venv --without-pip $(ENGINES)
	@where='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	echo "import site; site.addsitedir('`$(BIN)/python -c "$$where"`')" > "`$(ENGINES)/bin/python -c "$$where"`/base.pth"
	$(BIN)/pip --python $(ENGINES) install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

demo: $(INSTALLED)  ## speak the example story, join it, transcribe it back, and measure all three
	$(BIN)/python examples/demo.py

test: $(INSTALLED)  ## the whole suite
	$(BIN)/pytest

test-engines: $(ENGINES)/.installed  ## the tests of engines that need extras, torch among them (5 GB)
	$(ENGINES)/bin/python -m pytest -m extra

fast: $(INSTALLED)  ## the tests that take a moment each
	$(BIN)/pytest -m 'not slow'

check: $(INSTALLED)  ## lint, format, types, import arrows, names that dependencies must not own
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest --quiet tests/test_environment.py

format: $(INSTALLED)  ## mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(INSTALLED)  ## measure, and write docs/performance.md
	$(BIN)/python -m benchmarks

quality: $(INSTALLED)  ## measure what the models do, and write docs/quality.md
	$(BIN)/python -m benchmarks.quality

prove-resume: $(INSTALLED)  ## kill real runs at random moments, compare with unbroken ones, and write docs/resume.md
	$(BIN)/python -m benchmarks.resume 20

prove-delivery: $(INSTALLED)  ## kill stream workers, brokers and drains at random moments, count outcomes, and write docs/delivery.md
	$(BIN)/python -m benchmarks.delivery

prove-cluster: $(INSTALLED)  ## real runs on a Flink cluster of two hosts, and kills; writes docs/scale-out.md, and goes on where it was stopped
	$(BIN)/python -m benchmarks.cluster

cluster-up: $(INSTALLED)  ## a Flink cluster of two hosts with S3 and Kafka on this machine (root, Java 17, Maven); docs/scale-out.md
	$(BIN)/python deploy/cluster/cluster.py up --kafka

cluster-down: $(INSTALLED)  ## stop that cluster and remove its hosts
	$(BIN)/python deploy/cluster/cluster.py down

constraints: $(INSTALLED)  ## pin anew: the newest versions that pyproject.toml allows
	$(BIN)/python .ci/constraints.py

clean:  ## remove what the targets above made, but not the weights in their cache folder
	rm -rf $(VENV) $(ENGINES) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
