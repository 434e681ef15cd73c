#!/bin/sh
# Installs the oldest supported Django beside the newest, since the tests run on both. If Python is
# too old for the newest, the oldest is already installed.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/python -c 'import django, sys; sys.exit(django.VERSION < (6, 0))' || exit 0
oldest=$(grep -o '^Django==5\.2[0-9.]*' requirements.txt)
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --upgrade \
    --target .venv/django-5.2 "$oldest"
