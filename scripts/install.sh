#!/bin/sh
# Makes .venv if there is none, and installs into it what the arguments tell pip.
set -eu
cd "$(dirname "$0")/.."
fail() {
    echo "$1" >&2
    exit 1
}

if [ ! -x .venv/bin/pip ]; then
    # PYTHON, or the newest that is here, those of pyenv included.
    pyenv=${PYENV_ROOT:-${HOME:-/root}/.pyenv}/versions
    candidates=${PYTHON:-}
    if [ -z "$candidates" ]; then
        for minor in 14 13 12 11; do
            candidates="$candidates python3.$minor"
            for candidate in "$pyenv/3.$minor".*/bin/python3; do
                [ ! -x "$candidate" ] || candidates="$candidates $candidate"
            done
        done
        candidates="$candidates python3"
    fi
    found=
    for candidate in $candidates; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            found=$candidate
            break
        fi
    done
    python=${PYTHON:-python3}
    [ -n "$found" ] || fail "Python 3.11 or newer is needed; $python is $("$python" -V 2>&1 || true). Install one, or name it: make run PYTHON=/path/of/python3.11"
    "$found" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$found has no venv module. Install it: apt-get install python3-venv"
    echo "Making .venv with $("$found" -V)"
    "$found" -m venv .venv || fail ".venv could not be made; see above"
fi
echo "Installing into .venv: pip install $*"
.venv/bin/pip install --quiet --disable-pip-version-check "$@" ||
    fail "pip could not install what is needed; see above"
