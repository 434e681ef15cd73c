#!/bin/sh
# The documentation, from docs/ and the docstrings. A warning, such as of a broken link, is an error.
set -eu
cd "$(dirname "$0")/.."
# The pages show nothing of the environment that they are built in.
export DOCS_CANARY=must-not-be-published
.venv/bin/python -m sphinx -E -q -W --keep-going -n -b html -d var/docs/doctrees docs var/docs/html
if grep -rq "$DOCS_CANARY" var/docs/html; then
    echo "The pages show the environment: see autodoc_preserve_defaults in docs/conf.py" >&2
    exit 1
fi
echo "The documentation is var/docs/html/index.html"
