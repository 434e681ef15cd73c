#!/bin/sh
# Makes .venv if there is none, and runs pip install in it with the given arguments.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

fail() {
    echo "$1" >&2
    exit 1
}

if [ ! -x .venv/bin/pip ]; then
    # The first Python that is new enough; a system's python3 may be too old.
    found=
    for candidate in "$python" python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            found=$candidate
            break
        fi
    done
    [ -n "$found" ] || fail "Python 3.11 or newer is needed; $python is $("$python" -V 2>&1 || true). Install one, or name it: make run PYTHON=/path/of/python3.11"
    "$found" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$found has no venv module. Install it: apt-get install python3-venv"
    echo "Making .venv with $("$found" -V)"
    "$found" -m venv .venv || fail ".venv could not be made; see above"
fi
echo "Installing into .venv: pip install $*"
.venv/bin/pip install --quiet --disable-pip-version-check "$@" ||
    fail "pip could not install the packages; see above"
