#!/bin/sh
# Installs the oldest Django that is supported beside the newest: the tests run on both.
set -eu
cd "$(dirname "$0")/.."
oldest=$(grep -o '^Django==5\.2[0-9.]*' requirements.txt)
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --upgrade \
    --target .venv/django-5.2 "$oldest"
