#!/bin/sh
# Fetches the tests that Django's source releases have, and its wheels have not. What stands in for
# parts of Django here (its cache API, its sessions) is held against them.
set -eu
cd "$(dirname "$0")/.."
version=$(.venv/bin/python -c 'import django; print(django.__version__)')
target=.venv/django-tests/$version
[ ! -d "$target" ] || exit 0
echo "Fetching the tests of Django $version"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/pip download --quiet --disable-pip-version-check --no-deps --no-binary django \
    --dest "$folder" "django==$version"
tar -xzf "$folder"/*.tar.gz -C "$folder" --strip-components=1 --wildcards '*/tests/cache/*' '*/tests/sessions_tests/*'
mkdir -p "$(dirname "$target")"
mv -T "$folder/tests" "$target"
