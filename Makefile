# `make demo` and `make test` do all set-up themselves: a virtual environment, pinned packages, the native core.
# Needs Python >= 3.11 (PYTHON=...), a C++20 compiler (CXX=...) and make. On a machine with a GPU: TORCH=cuda.

PYTHON ?= python3
TORCH ?= cpu
# More options for the run of the demo, such as RUN_FLAGS="--set training.num_steps=100"
RUN_FLAGS ?=

BIN := .venv/bin
NATIVE := $(wildcard native/*.cc native/*.hpp native/CMakeLists.txt)
DEMO := examples/movielens

.PHONY: demo test explorer examples lint types native format clean

demo: .venv/installed
	$(BIN)/omnisage fetch movielens $(DEMO)/data
	$(BIN)/omnisage run $(DEMO)/omnisage.yaml $(RUN_FLAGS)

test: .venv/installed .venv/cluster
	$(BIN)/python -m pytest

# The explorer page, from its sources to what is committed. Needs Node.js >= 20; whoever only uses the page needs none.
explorer:
	cd explorer && npm ci && npm run check && npm run build

examples: .venv/installed
	$(BIN)/python examples/graph_alone.py
	$(BIN)/python examples/your_tables/make_tables.py
	$(BIN)/omnisage run examples/your_tables/omnisage.yaml

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(filter %.cc %.hpp,$(NATIVE))

types: .venv/installed .venv/cluster
	$(BIN)/pyright

# The native tests under the address, undefined-behaviour and thread sanitizers.
native: .venv/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" native/run_sanitizers.sh

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(filter %.cc %.hpp,$(NATIVE))

clean:
	rm -rf .venv build

# Stamps, so that a second call is quick: the environment, the packages in it, those of cluster engines, omnisage itself.
.venv/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "omnisage needs Python >= 3.11, this is " + \
	    sys.version.split()[0] + "; name another: make PYTHON=/path/to/python3")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/packages: requirements.lock tools/check_torch.py .venv/created
	$(BIN)/python -m pip install --quiet --constraint requirements.lock packaging
ifneq ($(TORCH),cuda)
	$(BIN)/python tools/check_torch.py
endif
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	touch $@

# Spark and Ray: much, and only tests need it.
.venv/cluster: requirements-cluster.lock .venv/packages
	$(BIN)/python -m pip install --quiet --requirement requirements.lock --requirement requirements-cluster.lock
	touch $@

# Without dependencies: the lock file is all that is installed. Editable: a change of a .py file needs no install.
.venv/installed: pyproject.toml $(NATIVE) .venv/packages
	@$${CXX:-c++} --version >/dev/null || { echo "no C++ compiler; install g++ >= 11 or clang >= 14, or set CXX"; exit 1; }
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@
