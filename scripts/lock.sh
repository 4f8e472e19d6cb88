#!/usr/bin/env bash
# Resolves pyproject.toml into the lock files: pinned and hashed, for every platform and every
# Python that the project supports. Pins that still fit are kept; delete a lock to start afresh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv=$(command -v uv) || {
    uv=.work/uv/bin/uv
    if [ ! -x $uv ]; then
        python3 -m venv .work/uv
        .work/uv/bin/pip install --quiet --disable-pip-version-check uv
    fi
}

compile() {
    # No index address and no header: the files say what is wanted, not where somebody found it.
    "$uv" pip compile --quiet --universal --python-version 3.11 \
        --generate-hashes --no-emit-index-url --no-header --no-annotate "$@"
}

compile pyproject.toml --output-file requirements.lock
compile --group build --output-file requirements-build.lock
compile --group dev pyproject.toml --output-file requirements-dev.lock
