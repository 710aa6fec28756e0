#!/usr/bin/env bash
# Installs into .venv what is missing, then runs `verl-nthr demo` with the arguments given.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$root/scripts/setup.sh"
exec "$root/.venv/bin/verl-nthr" demo "$@"
