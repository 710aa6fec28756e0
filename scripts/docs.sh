#!/usr/bin/env bash
# Builds the site into build/site; a warning is an error. .venv has what it needs; without .venv the packages of the
# extra `docs` go into .docs-venv (Python 3.11 or later). The build itself needs no network. Arguments go to mkdocs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=".venv/bin/python"
if ! "$PYTHON" -c "import material, mkdocstrings_handlers.python" 2>/dev/null; then
  PYTHON=".docs-venv/bin/python"
  [[ -x "$PYTHON" ]] || python3 -m venv .docs-venv
  read -r -a packages < <("$PYTHON" -c '
import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["optional-dependencies"]["docs"])')
  "$PYTHON" -m pip --disable-pip-version-check install --quiet --constraint requirements/cpu-py311.txt "${packages[@]}"
fi
export NO_MKDOCS_2_WARNING=1
"$PYTHON" -m mkdocs build --strict "$@"
echo "docs: open build/site/index.html"
