#!/usr/bin/env bash
# Removes what make and the tools leave in the checkout. Files of mapped users (a rootless build's
# state) belong to sub-ids; only a user namespace with the same mapping may delete those.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

caches=(.venv .work .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist)
rm -rf "${caches[@]}" 2>/dev/null ||
    unshare --map-root-user --map-auto rm -rf "${caches[@]}"
find . -name __pycache__ -type d -prune -exec rm -rf {} +
find src -name '*.egg-info' -type d -prune -exec rm -rf {} +
