#!/usr/bin/env bash
# Sets up .venv where needed and runs the tests, without the slow ones. Arguments go to pytest: a -m of yours wins,
# `bash scripts/test.sh -m slow` runs the slow tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
exec .venv/bin/python -m pytest -m "not slow" "$@"
