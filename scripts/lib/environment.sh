# Sourced by test.sh and quickstart.sh: an environment made from requirements.lock, with the
# wheel of this tree in it. Uses uv where it is on PATH, else venv and pip.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

unset PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
QUIET=-q
[[ -t 2 ]] && QUIET= # at a terminal the installers' progress bars are welcome

say() { printf '\n==> %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

has_uv() { command -v uv >/dev/null; }

# Print the first suitable Python; OMNICODEC_PYTHON names another one.
find_python() {
    local name names=(python3 python3.13 python3.12 python3.11 python)
    [[ -z ${OMNICODEC_PYTHON:-} ]] || names=("$OMNICODEC_PYTHON")
    for name in "${names[@]}"; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
            2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# make_environment FOLDER: make a virtual environment, unless a working one is there.
make_environment() {
    local venv=$1 python
    if [[ -n $(ls -A "$venv" 2>/dev/null) && ! -e $venv/pyvenv.cfg ]]; then
        die "$venv is not empty and no virtual environment"
    fi
    if ! "$venv/bin/python" -c '' 2>/dev/null; then
        python=$(find_python) || python=
        if has_uv; then
            uv venv -q --allow-existing --python "${python:-3.12}" "$venv"
        else
            [[ -n $python ]] || die "this needs Python 3.11, 3.12 or 3.13 (or uv, which fetches one)"
            "$python" -c 'import ensurepip, venv' 2>/dev/null ||
                die "$python has no ensurepip: install python3-venv (Debian, Ubuntu), or uv"
            "$python" -m venv "$venv"
        fi
    fi
    if ! has_uv && ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        "$venv/bin/python" -m ensurepip >/dev/null # made by uv, or interrupted
    fi
}

# pip_install FOLDER ARGUMENT...: pip install, by whichever installer there is.
pip_install() {
    local python=$1/bin/python
    shift
    if has_uv; then
        uv pip install --python "$python" "$@"
    else
        "$python" -m pip install "$@"
    fi
}

# build_wheel FOLDER: build the wheel by way of the sdist, so that nothing stale gets in;
# WHEEL becomes its path, in a temporary folder that goes when the shell exits.
build_wheel() {
    local dist
    dist=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$dist'" EXIT
    "$1/bin/python" -P -m build --no-isolation --outdir "$dist" "$ROOT" >"$dist/log" 2>&1 || {
        cat "$dist/log" >&2
        die "the wheel does not build"
    }
    WHEEL=$(echo "$dist"/*.whl)
}
