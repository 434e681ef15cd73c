#!/bin/sh
# Fetches the tests of Django, cachelib and Beaker from their source releases; wheels do not have
# them. They are run on the parts of this library that replace parts of those projects.
set -eu
cd "$(dirname "$0")/.."

# fetch FOLDER REQUIREMENT PATTERN...: fetches the files of a source release that match a pattern.
fetch() {
    target=.venv/upstream-tests/$1 requirement=$2
    shift 2
    if [ "$(cat "$target/version" 2>/dev/null)" = "$requirement" ]; then
        return
    fi
    echo "Fetching the tests of ${requirement%% *}"
    folder=$(mktemp -d)
    echo "$requirement" >"$folder/requirement"
    .venv/bin/pip download --quiet --disable-pip-version-check --no-deps --no-binary "${requirement%%=*}" \
        --dest "$folder" --requirement "$folder/requirement"
    tar -xzf "$folder"/*.tar.gz -C "$folder" --strip-components=1 --wildcards "$@"
    echo "$requirement" >"$folder/tests/version"
    mkdir -p .venv/upstream-tests
    rm -rf "$target"
    mv -T "$folder/tests" "$target"
    rm -rf "$folder"
}

installed() {
    echo "$1==$(.venv/bin/python -c "from importlib import metadata; print(metadata.version('$1'))")"
}

fetch django "$(installed django)" '*/tests/cache/*' '*/tests/sessions_tests/*'
fetch cachelib "$(installed cachelib)" '*/tests/*'
# The last source release of Beaker with tests. It is older than the installed one.
fetch beaker_tests "Beaker==1.13.0 \
--hash=sha256:e956cd8a35ad5de1b5212c7bff8fc01e2b3d34ab92466d24684c666abb8c9c30" '*/tests/*'
