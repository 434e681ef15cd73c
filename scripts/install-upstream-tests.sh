#!/bin/sh
# Fetches the tests that the source releases of others have, and their wheels have not. What stands
# in for parts of Django here (its cache API, its sessions) is held against them, and so are values.
set -eu
cd "$(dirname "$0")/.."

# fetch NAME VERSION PATTERN...: the files of that source release that match a pattern.
fetch() {
    name=$1 version=$2
    shift 2
    target=.venv/upstream-tests/$name
    if [ "$(cat "$target/version" 2>/dev/null)" = "$version" ]; then
        return
    fi
    echo "Fetching the tests of $name $version"
    folder=$(mktemp -d)
    .venv/bin/pip download --quiet --disable-pip-version-check --no-deps --no-binary "$name" \
        --dest "$folder" "$name==$version"
    tar -xzf "$folder"/*.tar.gz -C "$folder" --strip-components=1 --wildcards "$@"
    echo "$version" >"$folder/tests/version"
    mkdir -p .venv/upstream-tests
    rm -rf "$target"
    mv -T "$folder/tests" "$target"
    rm -rf "$folder"
}

installed() {
    .venv/bin/python -c "from importlib import metadata; print(metadata.version('$1'))"
}

fetch django "$(installed django)" '*/tests/cache/*' '*/tests/sessions_tests/*'
fetch cachelib "$(installed cachelib)" '*/tests/*'
