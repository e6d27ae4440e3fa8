# Two commands: `make demo` and `make test`. Each makes its own virtual environment from constraints.txt.
PYTHON ?= python3
PIP_FLAGS = --quiet --disable-pip-version-check --constraint constraints.txt
# compat: by a path, not by an import hook, which loses against the clone's own folder when Python runs beside it.
EDITABLE = --no-build-isolation --config-settings editable_mode=compat --editable

# Pinned here, as constraints.txt holds the onnx that all others are tested with.
QUARK = amd-quark==0.13 onnx==1.22.0 onnxslim==0.1.98 tqdm==4.70.1
PURELIB = import sysconfig; print(sysconfig.get_path("purelib"))

# What is tested where there is no Dask.
STAGES = calibration dataset exporting model quantization sampling scanning store

# Test processes: a group of tests runs in one, for what it makes once. Those of SLURM, a group of their own, mostly wait:
# the second suite has one more.
JOBS ?= $(shell nproc)
NETWORK = ncdb_dask/training/networks/resnet_unet
PARALLEL = --dist loadgroup -n

.PHONY: demo test coverage check reference network clean constraints

demo: .venv/demo/.done
	.venv/demo/bin/ncdb-dask demo demo

test: check .venv/stages/.done .venv/tools/.done
	rm -f .coverage*
	.venv/stages/bin/python $(TRACED) -m pytest -p no:cacheprovider -q $(PARALLEL) $(JOBS) $(STAGES:%=tests/%)
	.venv/test/bin/python $(TRACED) -m pytest $(PARALLEL) $$(($(JOBS) + 1)) $(STAGES:%=--ignore=tests/%) $(PYTEST_ARGS)

# The tests, traced, which takes half as long again; fails where less of the package runs than pyproject.toml says.
coverage: TRACED = -m coverage run
coverage: test
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
	.venv/test/bin/pip install $(PIP_FLAGS) $(EDITABLE) '.[dev,nncf,s3,slurm,train]'
	touch $@

# What the stages need, and no Dask: they must run without it.
.venv/stages/.done: pyproject.toml constraints.txt Makefile
	$(call environment,stages)
	.venv/stages/bin/pip install $(PIP_FLAGS) numpy pandas pyarrow pillow onnx onnxruntime matplotlib fsspec s3fs psutil coverage pytest pytest-timeout pytest-xdist hypothesis
	.venv/stages/bin/pip install $(PIP_FLAGS) --no-deps $(EDITABLE) .
	touch $@

# Quark beside an earlier onnx than the tests': what it needs besides is looked for in their environment.
.venv/tools/.done: .venv/test/.done Makefile
	$(PYTHON) -m venv --clear .venv/tools
	.venv/test/bin/python -c '$(PURELIB)' > "$$(.venv/tools/bin/python -c '$(PURELIB)')/test.pth"
	.venv/tools/bin/pip install --quiet --disable-pip-version-check --no-deps $(QUARK)
	touch $@

define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed, found $$($(PYTHON) --version); name another: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear .venv/$(1)
	.venv/$(1)/bin/pip install $(PIP_FLAGS) setuptools
endef

# Trains the network that comes with the package anew, and puts it into the package; some fifteen minutes on two cores.
network: .venv/test/.done
	rm -rf network && mkdir network
	cp $(NETWORK).recipe.toml network/recipe.toml
	.venv/test/bin/ncdb-dask synth network/tree --scenes 60
	.venv/test/bin/ncdb-dask finetune network/recipe.toml network/out
	cp network/out/lambda_0/network.onnx $(NETWORK).onnx
	cp network/out/lambda_0/best.pt $(NETWORK).pt

# Writes the help of every command and the public docstrings into docs/reference; a test compares them.
reference: .venv/test/.done
	.venv/test/bin/python docs/reference/generate.py

# The newest versions that pip finds together, for a new constraints.txt.
constraints:
	$(PYTHON) -m venv --clear .venv/constraints
	.venv/constraints/bin/pip install --quiet '.[dev,nncf,s3,slurm,train]'
	.venv/constraints/bin/pip freeze --all --exclude ncdb-dask --exclude pip > constraints.txt

clean:
	rm -rf .venv demo network build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
