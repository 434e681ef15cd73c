#!/bin/sh
# Builds the documentation from docs/ and the docstrings. A warning, as for a broken link, is an error.
set -eu
cd "$(dirname "$0")/.."
# The pages must not show the environment in which they are built.
export DOCS_CANARY=must-not-be-published
.venv/bin/python -m sphinx -E -q -W --keep-going -n -b html -d var/docs/doctrees docs var/docs/html
if grep -rq "$DOCS_CANARY" var/docs/html; then
    echo "The pages show the environment: see autodoc_preserve_defaults in docs/conf.py" >&2
    exit 1
fi
echo "The documentation is var/docs/html/index.html"
