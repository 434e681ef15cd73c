#!/bin/sh
# Lint, types, the documentation, then all tests: on SQLite and the newest Django that this Python
# takes; and those of the database on MariaDB and the oldest Django, too.
set -eu
cd "$(dirname "$0")/.."
scripts/lint.sh
scripts/docs.sh
# Most tests wait for something, so there are more processes than processors. What takes longest
# begins first, so that no process has to end it alone.
pytest=".venv/bin/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder"
library=tests/beaker_regions
echo "Tests, on SQLite"
$pytest $library/engine/test_model.py $library/django/test_upstream.py $library/test_upstream.py \
    $library/stores/test_outages.py $library/django/test_of_applications.py tests/tasks/importing \
    tests/browser tests/deploy tests
echo "Tests of the application and of transactions, on MariaDB and Django 5.2"
# Archives, HTTP, pages and other programs ask no database for what only it may answer.
TEST_DATABASE=mariadb PYTHONPATH=.venv/django-5.2 $pytest tests/tasks $library/django \
    --ignore $library/django/pages --ignore $library/django/staff --ignore $library/django/cli \
    --ignore $library/django/test_upstream.py --ignore $library/django/test_of_applications.py \
    --ignore-glob 'tests/tasks/importing/test_archive*' \
    --ignore-glob 'tests/tasks/importing/test_http*' --ignore tests/tasks/importing/test_network.py
