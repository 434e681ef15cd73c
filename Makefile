# make run    the task list at http://127.0.0.1:8000 (PORT=8001 for another port)
# make test   lint, types and tests, against a real memcached, MariaDB and browser
# make test-all   the same, with the slow tests: more random runs, other clients
# make docs   the documentation, as var/docs/html/index.html
# make cluster-test   several hosts, as network namespaces of this machine, under faults

PORT ?= 8000
PYTHON ?= python3

.PHONY: run test test-all lint docs cluster-test

run: .venv/run
	@exec .venv/bin/python scripts/serve.py $(PORT)

test: .venv/test
	@exec scripts/test.sh

test-all: .venv/test
	@exec scripts/test.sh all

lint: .venv/test
	@scripts/lint.sh

docs: .venv/test
	@scripts/docs.sh

cluster-test: .venv/test
	@exec .venv/bin/python -m bench.cluster --full

# The packages of each, installed again when their list changes.
.venv/run: pyproject.toml requirements.txt scripts/install.sh
	@PYTHON=$(PYTHON) scripts/install.sh -c requirements.txt -e '.[tasks]'
	@touch $@

.venv/test: pyproject.toml requirements.txt scripts/install.sh scripts/install-servers.sh scripts/install-upstream-tests.sh scripts/install-django-5.2.sh
	@scripts/install-servers.sh
	@PYTHON=$(PYTHON) scripts/install.sh -r requirements.txt
	@PYTHON=$(PYTHON) scripts/install.sh --no-deps -e .
	@scripts/install-upstream-tests.sh
	@scripts/install-django-5.2.sh
	@touch $@
