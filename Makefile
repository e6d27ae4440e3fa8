# Two commands: `make demo` and `make test`. Each makes its own virtual environment from constraints.txt.
PYTHON ?= python3
PIP_FLAGS = --quiet --disable-pip-version-check --constraint constraints.txt
# compat: by a path, not by an import hook, which loses against the clone's own folder when Python runs beside it.
EDITABLE = --no-build-isolation --config-settings editable_mode=compat --editable

# What is tested where there is no Dask.
STAGES = calibration dataset exporting model quantization sampling scanning store

# Test processes: a group of tests runs in one, for what it makes once. Those of SLURM, a group of their own, mostly wait:
# the second suite has one more.
JOBS ?= $(shell nproc)
PARALLEL = --dist loadgroup -n

.PHONY: demo test check reference clean constraints

demo: .venv/demo/.done
	rm -rf demo
	.venv/demo/bin/ncdb-dask synth demo/tree --faults
	.venv/demo/bin/ncdb-dask scan demo/tree demo/scan --split train_split.json --split val_split.json
	.venv/demo/bin/ncdb-dask sample demo/scan demo/calibration.json --size 60 --exclude val_split.json --contact-sheet
	.venv/demo/bin/ncdb-dask export demo/calibration.json demo/images --root demo/tree --format images

test: check .venv/stages/.done
	.venv/test/bin/coverage erase
	.venv/stages/bin/coverage run -m pytest -p no:cacheprovider -q $(PARALLEL) $(JOBS) $(STAGES:%=tests/%)
	.venv/test/bin/coverage run -m pytest $(PARALLEL) $$(($(JOBS) + 1)) $(STAGES:%=--ignore=tests/%) $(PYTEST_ARGS)
	.venv/test/bin/coverage combine --quiet
	.venv/test/bin/coverage report

check: .venv/test/.done
	.venv/test/bin/ruff check .
	.venv/test/bin/ruff format --check .
	.venv/test/bin/mypy
	.venv/test/bin/lint-imports --no-cache

.venv/demo/.done: pyproject.toml constraints.txt
	$(call environment,demo)
	.venv/demo/bin/pip install $(PIP_FLAGS) $(EDITABLE) .
	touch $@

.venv/test/.done: pyproject.toml constraints.txt
	$(call environment,test)
	.venv/test/bin/pip install $(PIP_FLAGS) $(EDITABLE) '.[dev,s3,slurm]'
	touch $@

# What the stages need, and no Dask: they must run without it.
.venv/stages/.done: pyproject.toml constraints.txt Makefile
	$(call environment,stages)
	.venv/stages/bin/pip install $(PIP_FLAGS) numpy pandas pyarrow pillow onnx onnxruntime matplotlib fsspec s3fs psutil coverage pytest pytest-timeout pytest-xdist hypothesis
	.venv/stages/bin/pip install $(PIP_FLAGS) --no-deps $(EDITABLE) .
	touch $@

define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed, found $$($(PYTHON) --version); name another: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear .venv/$(1)
	.venv/$(1)/bin/pip install $(PIP_FLAGS) setuptools
endef

# Writes the help of every command and the public docstrings into docs/reference; a test compares them.
reference: .venv/test/.done
	.venv/test/bin/python docs/reference/generate.py

# The newest versions that pip finds together, for a new constraints.txt; torch is left to its extra.
constraints:
	$(PYTHON) -m venv --clear .venv/constraints
	.venv/constraints/bin/pip install --quiet '.[dev,s3,slurm]'
	.venv/constraints/bin/pip freeze --all --exclude ncdb-dask --exclude pip > constraints.txt

clean:
	rm -rf .venv demo build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
