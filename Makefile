# `make demo` runs the main job, `make test` passes the tests, `make fuzz` tries bad input by the thousand (minutes).
# Each builds what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test fuzz check clean

MUTATIONS ?= 10000
SEED ?= 0

demo: $(VENV)/installed
	$(BIN)/python examples/demo.py demo-out

# Two processes of one thread each are faster than one of two: most tests are small.
test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# So many mutations of each kind of input; another SEED tries others. What fails says how to run it alone.
fuzz: $(VENV)/installed
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m tests.fuzz.run --mutations $(MUTATIONS) --seed $(SEED)

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch goes first: the pinned version is the CPU build where an index has one.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet torch -c constraints.txt
	$(BIN)/pip install --quiet -e '.[dev]' -c constraints.txt
	touch $@

clean:
	rm -rf $(VENV) demo-out
