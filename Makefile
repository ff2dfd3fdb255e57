# Two commands for newcomers: `make run` and `make test` do all their own set-up.

PYTHON ?= python3
PORT ?= 8000
HOST ?= 127.0.0.1
BIN := .venv/bin

.PHONY: run test compare lint docs clean browser

run: .venv/run  ## serve the page and the stream on port $(PORT)
	$(BIN)/everywire serve --host $(HOST) --port $(PORT)

test: .venv/dev browser lint  ## everything that CI checks
	$(BIN)/python -m pytest
	@if command -v node >/dev/null; then node --test tests/static/; \
	elif [ -n "$$CI" ]; then echo "node is missing, and CI skips nothing" >&2; exit 1; \
	else echo "skipped: the tests of the browser client need node"; fi

lint: .venv/dev  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

compare: .venv/dev  ## the three transports on this machine, in one table
	$(BIN)/everywire compare --quick

docs: .venv/docs  ## the documentation, into docs/_build/html
	$(BIN)/sphinx-build -W -q -b html docs docs/_build/html

clean:  ## all that the other targets made
	rm -rf .venv build dist docs/_build compare-* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage

# One environment, three stages: what `make run` needs, what the tests need, what the documentation needs.
.venv/run: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "everywire needs Python 3.11 or newer; say PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[client]'
	touch $@

.venv/dev: .venv/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

.venv/docs: .venv/dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

# The browser tests drive Debian's Chromium, the client's tests run in Node. Without root they are skipped by name.
browser:
	@if ! command -v chromium >/dev/null || ! command -v node >/dev/null; then \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium nodejs >/dev/null; \
	  elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then \
	    sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium nodejs >/dev/null; \
	  else echo "no root: the tests that need chromium or node are skipped"; fi; fi
