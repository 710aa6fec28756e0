#!/usr/bin/env bash
# Sets up .venv where needed and runs the default tests, on two processes. Arguments go to pytest, and a -m of yours
# wins; tests/README.md lists the tiers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
exec .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
  -m "not slow and not distributed and not gpu and not docs and not browser" "$@"
