#!/usr/bin/env bash
# Installs omnicodec into .venv and runs scripts/quickstart.py; needs nothing but Python 3.11 to 3.13.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

VENV=$ROOT/.venv
cd "$ROOT"

say "environment: $VENV (with PyTorch: some GB, once)"
make_environment "$VENV"
pip_install "$VENV" ${QUIET:+-q} -c requirements.lock build setuptools
build_wheel "$VENV"
pip_install "$VENV" ${QUIET:+-q} -c requirements.lock "$WHEEL[serve]" scikit-image
pip_install "$VENV" -q --no-deps --force-reinstall "$WHEEL" # when this tree has changed

say "scripts/quickstart.py"
"$VENV/bin/python" scripts/quickstart.py
