#!/bin/sh
# Installs the oldest Django that is supported beside the newest, where Python is new enough for
# that: the tests run on both.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/python -c 'import django, sys; sys.exit(django.VERSION < (6, 0))' || exit 0
oldest=$(grep -o '^Django==5\.2[0-9.]*' requirements.txt)
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --upgrade \
    --target .venv/django-5.2 "$oldest"
