#!/usr/bin/env bash
# Runs every check on the wheel of this tree; needs nothing but Python 3.11 to 3.13.
#
#   scripts/test.sh [PYTEST ARGUMENT...]
#
# The environment is .venv-test, or the folder in OMNICODEC_VENV, and is kept for the next run, as are
# that of tritonclient and the folder of mosaicml-streaming beside it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

VENV=${OMNICODEC_VENV:-$ROOT/.venv-test}
[[ $VENV == /* ]] || VENV=$PWD/$VENV
cd "$ROOT"

say "environment: $VENV"
make_environment "$VENV"
if ! cmp -s requirements.lock "$VENV/requirements.lock"; then
    echo "installing requirements.lock (with PyTorch: some GB, once)"
    pip_install "$VENV" ${QUIET:+-q} -r requirements.lock
    cp requirements.lock "$VENV/requirements.lock"
fi
export PATH="$VENV/bin:$PATH"

# It needs another protobuf than requirements.lock has.
TRITON=$VENV-triton
NEEDED=tests/service/inference/requirements.txt
say "tritonclient, which judges the Open Inference Protocol: $TRITON"
if cmp -s "$NEEDED" "$TRITON/requirements.txt" ||
    { make_environment "$TRITON" &&
        # From another folder: here and below, uv would heed the constraints of pyproject.toml.
        (cd / && pip_install "$TRITON" ${QUIET:+-q} -r "$ROOT/$NEEDED") &&
        cp "$NEEDED" "$TRITON/requirements.txt"; }; then
    export OMNICODEC_TRITON_PYTHON=$TRITON/bin/python
else
    echo "warning: tritonclient cannot be installed here, so its tests are SKIPPED" >&2
fi

# It needs an older NumPy than requirements.lock has, and works with a newer one.
STREAMING=$VENV-streaming
NEEDED=tests/service/batch/sinks/requirements.txt
say "mosaicml-streaming, which judges MDS data sets: $STREAMING"
if cmp -s "$NEEDED" "$STREAMING/requirements.txt" ||
    { rm -rf "$STREAMING" &&
        (cd / && pip_install "$VENV" ${QUIET:+-q} --no-deps --target "$STREAMING" -r "$ROOT/$NEEDED") &&
        cp "$NEEDED" "$STREAMING/requirements.txt"; }; then
    export OMNICODEC_STREAMING=$STREAMING
else
    echo "warning: mosaicml-streaming cannot be installed here, so its test is SKIPPED" >&2
fi

say "wheel"
build_wheel "$VENV"
pip_install "$VENV" -q --no-deps --force-reinstall "$WHEEL"
basename "$WHEEL"

say "ruff"
ruff check
ruff format --check

say "import-linter"
lint-imports --no-logo --cache-dir "$VENV/.import-linter"

say "mypy --strict"
# From another folder: here, mypy would take codecs/ for the standard library's.
(cd "$VENV" && mypy --config-file "$ROOT/pyproject.toml" \
    -p omnicodec.codecs -p omnicodec.models -p omnicodec.service)

say "pytest"
pytest "$@"
