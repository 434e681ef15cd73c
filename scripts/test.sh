#!/bin/sh
# Checks style, types and documentation, then runs the tests on SQLite and the newest Django that
# this Python supports. The database's tests also run on MariaDB and the oldest Django. The argument
# "all" adds the slow tests: other clients and stores of the same kind, and more random runs.
set -eu
cd "$(dirname "$0")/.."
# The two checks use one processor each, so they run at the same time.
scripts/docs.sh &
docs=$!
scripts/lint.sh
wait $docs
# Most tests wait for something, so there are more processes than processors. What takes longest
# begins first, so that no process has to end it alone.
quick="not slow"
library=tests/beaker_regions
tasks=tests/tasks
# These take long and depend on no database in particular: MariaDB alone runs them, unless all run.
once="$tasks/importing/test_command.py $tasks/test_agreement.py $tasks/test_capacity.py \
    $tasks/test_leaks.py $tasks/test_names.py $library/django/models/test_every_write.py"
apart=$(printf -- "--ignore=%s " $once)
[ "${1:-}" = all ] && quick="" apart=""
pytest=".venv/bin/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder"
echo "Tests, on SQLite"
$pytest -m "$quick" $apart $library/engine/test_model.py $library/django/test_upstream.py \
    $library/test_upstream.py $library/stores/test_outages.py \
    $library/django/test_of_applications.py tests/tasks/importing tests/browser tests/deploy tests
echo "Tests of rows and transactions, on MariaDB and Django 5.2"
TEST_DATABASE=mariadb PYTHONPATH=.venv/django-5.2 $pytest -m "$quick" $once \
    $tasks/test_deletions.py $tasks/test_lists.py $tasks/test_migrations.py $tasks/test_order.py \
    $tasks/test_queries.py $tasks/test_security.py \
    $tasks/importing/test_import.py $tasks/importing/test_runs.py $library/django/outbox \
    $library/django/test_async_transactions.py $library/django/test_commits.py \
    $library/django/test_made_of_others.py $library/django/test_models.py \
    $library/django/test_outlived_blocks.py $library/django/test_sessions.py \
    $library/django/test_transactions.py $library/django/models/test_followed.py \
    $library/django/models/test_saving.py $library/django/models/test_walks.py
