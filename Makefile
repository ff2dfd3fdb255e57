# Two commands for newcomers: `make run` and `make test` do all their own set-up.

PYTHON ?= python3
PORT ?= 8000
HOST ?= 127.0.0.1
BIN := .venv/bin

.PHONY: run test compare lint docs client clean chromium

run: .venv/run  ## serve the page and the stream on port $(PORT)
	@$(BIN)/everywire serve --host $(HOST) --port $(PORT)

test: .venv/dev chromium lint  ## everything that CI checks
	$(BIN)/python -m pytest

lint: .venv/dev  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

compare: .venv/dev  ## the three transports on this machine, in one table
	$(BIN)/everywire compare --quick

docs: .venv/dev  ## the documentation, into docs/_build/html
	$(BIN)/sphinx-build -W -q -b html docs docs/_build/html

client: .venv/dev  ## what is served of the browser client, after a change of its source; takes minutes
	$(BIN)/node tests/static/minify.js

clean:  ## all that the other targets made
	rm -rf .venv tests/static/node_modules build dist docs/_build compare-* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage

# One environment, two stages: what `make run` needs, and what the tests and the documentation need.
.venv/run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "everywire needs Python 3.11 or newer: make PYTHON=python3.12")'
	@test -x $(BIN)/pip || echo "making .venv, half a minute"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { $(call debian,python3-venv) && $(PYTHON) -m venv .venv; }
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[client]'
	@touch $@

.venv/dev: .venv/run tests/static/package.json
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(npm) || echo "no npm registry: the browser client that is served is not compared with its source"
	@touch $@

# What makes the browser client small comes from npm, all else from PyPI.
npm = $(BIN)/npm install --prefix tests/static --no-package-lock --no-audit --no-fund --silent

# The browser tests drive Debian's Chromium. Where it cannot be installed they are skipped by name.
chromium:
	@command -v chromium >/dev/null || { $(call debian,chromium); } || echo "no Chromium: the browser tests are skipped"

# Install a Debian package, as root or with a sudo that does not ask.
as_root = $$([ "$$(id -u)" = 0 ] || echo sudo -n)
debian = command -v apt-get >/dev/null && $(as_root) apt-get update -qq && \
	$(as_root) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1) >/dev/null
