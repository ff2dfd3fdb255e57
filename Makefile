# Two commands for newcomers: `make run` and `make test` do all their own set-up.

PYTHON ?= python3
PORT ?= 8000
HOST ?= 127.0.0.1
BIN := .venv/bin

.PHONY: run test compare bench lint docs wheel client networks screenshots clean debian nchan

run: .venv/run  ## the lab, on port $(PORT)
	@$(BIN)/everywire lab --host $(HOST) --port $(PORT)

test: .venv/dev debian lint  ## everything that CI checks
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not alone"
	$(BIN)/python -m pytest -m alone

lint: .venv/dev  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

compare: .venv/dev  ## the three transports on this machine, in one table; say what else with ARGS="--network upgrade-cut"
	$(BIN)/everywire compare --quick $(ARGS)

bench: .venv/bench nchan  ## how fast it is beside others: 45 minutes, or with QUICK=1 five; say what else with ARGS="--only polls"
	$(BIN)/python -m tests.benchmarks $(if $(QUICK),--quick) $(ARGS)

docs: .venv/dev  ## the documentation, into docs/_build/html
	$(BIN)/sphinx-build -W -q -b html docs docs/_build/html

wheel: docs  ## what others install, into dist/, with the documentation in it
	rm -rf quart_app/built_docs && cp -r docs/_build/html quart_app/built_docs && rm -rf quart_app/built_docs/.[a-z]*
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist .

client: .venv/dev  ## what is served of the browser client, after a change of its source; takes a minute or two
	$(BIN)/node tests/static/minify.js

networks: .venv/dev debian  ## ride through all networks, and make their page of the documentation
	$(BIN)/python -m pytest tests/networks/test_matrix.py --record -k "python or chromium"
	$(BIN)/python docs/networks_page.py

screenshots: .venv/dev debian  ## the pictures of the lab and of a report, as they look now; three minutes
	$(BIN)/python docs/screenshot_lab.py
	rm -rf build/report && $(BIN)/everywire compare --quick --output build/report
	$(BIN)/python docs/screenshot_report.py build/report

clean:  ## all that the other targets made
	rm -rf .venv quart_app/built_docs tests/static/node_modules tests/benchmarks/subjects/node/node_modules build dist docs/_build compare-* bench-* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage

# One environment, two stages: what `make run` needs, and what the tests and the documentation need.
.venv/run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "everywire needs Python 3.11 or newer: make PYTHON=python3.12")'
	@test -x $(BIN)/pip || echo "making .venv, half a minute"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { $(call debian,python3-venv) && $(PYTHON) -m venv .venv; }
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[client,uvloop]'
	@touch $@

.venv/dev: .venv/run tests/static/package.json
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(npm) --prefix tests/static || echo "no npm registry: the browser client that is served is not compared with its source, nor the contract with the official schemas"
	@touch $@

NODE_SUBJECTS := tests/benchmarks/subjects/node

.venv/bench: .venv/run $(NODE_SUBJECTS)/package.json
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@$(npm) --prefix $(NODE_SUBJECTS) || echo "no npm registry: what runs on Node is not measured"
	@touch $@

# What makes the browser client small comes from npm, and so do the servers on Node that are measured; all else is from PyPI.
npm = $(BIN)/npm install --no-package-lock --no-audit --no-fund --silent

# The tests drive Debian's Chromium, proxies and Redis. What is not there and cannot be installed is skipped by name. On a machine that
# runs services the proxies would begin to serve port 80, and Redis its own, now and after every boot: they are installed in
# containers only.
SERVICES := nginx:nginx haproxy:haproxy apache2:apache2 varnishd:varnish caddy:caddy squid:squid redis-server:redis-server  # program:package

debian:
	@command -v cc >/dev/null || { $(call debian,gcc libc6-dev); } || echo "no C compiler: the tests of the benchmarks are skipped"
	@command -v chromium >/dev/null || { $(call debian,chromium); } || echo "no Chromium: the browser tests are skipped"
	@packages="$(call missing,$(SERVICES))"; test -z "$$packages" || \
		{ test ! -d /run/systemd/system && $(call debian,--no-install-recommends $$packages); } || \
		echo "not installed, and their tests are skipped: $$packages"

# Nchan is a module of nginx, and measured where both can be had. Nor does it find its way to a machine that runs services.
nchan:
	@test -e /usr/lib/nginx/modules/ngx_nchan_module.so || \
		{ test ! -d /run/systemd/system && $(call debian,--no-install-recommends nginx libnginx-mod-nchan); } || \
		echo "no Nchan: it is not measured"

# The packages among $(1) whose programs are not there.
missing = $$(PATH="$$PATH:/usr/sbin"; for each in $(1); do command -v $${each%:*} >/dev/null || printf '%s ' $${each\#*:}; done)

# Install a Debian package, as root or with a sudo that does not ask.
as_root = $$([ "$$(id -u)" = 0 ] || echo sudo -n)
debian = command -v apt-get >/dev/null && $(as_root) apt-get update -qq && \
	$(as_root) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1) >/dev/null
