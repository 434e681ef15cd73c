#!/bin/sh
# The documentation, from docs/ and the docstrings. A warning, such as of a broken link, is an error.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/python -m sphinx -E -q -W --keep-going -n -b html -d var/docs/doctrees docs var/docs/html
echo "The documentation is var/docs/html/index.html"
