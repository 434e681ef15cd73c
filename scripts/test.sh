#!/bin/sh
# Lint, types, then all tests: everything on SQLite, and what uses the database on MariaDB too.
set -eu
cd "$(dirname "$0")/.."
scripts/lint.sh
echo "Tests, on SQLite"
.venv/bin/python -m pytest -n 3 --dist loadfile
echo "Tests of the application and of transactions, on MariaDB"
TEST_DATABASE=mariadb .venv/bin/python -m pytest -n 3 --dist loadfile tests/tasks \
    tests/beaker_regions/django --ignore tests/beaker_regions/django/pages --ignore tests/beaker_regions/django/test_upstream.py
