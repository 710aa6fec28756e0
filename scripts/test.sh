#!/usr/bin/env bash
# Sets up .venv where needed and runs the fast tests. Arguments go to pytest, and a -m of yours wins: `bash
# scripts/test.sh -m docs` runs the tests of the pages, `-m browser` those in Chromium, `-m slow` the slow ones,
# `-m distributed` those of many shardings of the engines, `-m gpu` those that need CUDA.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
exec .venv/bin/python -m pytest -m "not slow and not distributed and not gpu and not docs and not browser" "$@"
