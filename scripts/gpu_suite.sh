#!/usr/bin/env bash
# The GPU tests and the benchmarks on a machine with one GPU, without a network, in one JSON file.
#
#   scripts/gpu_suite.sh [--wheels DIR] [--out FILE] [--minutes N]    runs them, with $PYTHON or python3
#   scripts/gpu_suite.sh --rehearse [...]                             the same on the CPU, as small as it goes
#   scripts/gpu_suite.sh --collect DIR                                on a machine with a network: what --wheels needs
#
# --wheels leaves the machine's Python as it is: it makes .gpu-venv, which sees that Python's packages, and installs
# there what is missing. --collect fills DIR/1, DIR/2, … with at most 48 MiB each, to be copied one by one.
set -euo pipefail
ROOT="$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")"
LIST="$ROOT/requirements/gpu-py312.txt"
VENV="$ROOT/.gpu-venv"
PYTHON="${PYTHON:-python3}"
PARCEL=$((48 * 1024 * 1024))

collect() {
  local target="$1" staging number=1 used=0 file size
  if [[ -e "$target" && -n "$(ls -A "$target")" ]]; then
    echo "gpu_suite: --collect $target: not empty; give another folder" >&2
    return 1
  fi
  staging="$(mktemp -d)"
  # published as source alone
  "$PYTHON" -m pip wheel --quiet --no-deps --wheel-dir "$staging" "$(grep '^antlr4-python3-runtime==' "$LIST")"
  "$PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --find-links "$staging" --dest "$staging" --requirement "$LIST"
  for file in "$staging"/*; do
    if (($(stat --format=%s "$file") > PARCEL)); then
      split --bytes="$PARCEL" --numeric-suffixes "$file" "$file.part"
      rm "$file"
    fi
  done
  for file in "$staging"/*; do
    size="$(stat --format=%s "$file")"
    if ((used + size > PARCEL)); then
      number=$((number + 1)) used=0
    fi
    mkdir -p "$target/$number"
    mv "$file" "$target/$number/"
    used=$((used + size))
  done
  rmdir "$staging"
  du --human-readable "$target"/*
}

install_from() {
  local wheels first name
  if [[ ! -d "$1" ]]; then
    echo "gpu_suite: --wheels $1: no such folder; fill one with --collect" >&2
    return 1
  fi
  wheels="$(mktemp -d)"
  find "$1" -name '*.whl' -exec cp --target-directory="$wheels" {} +
  find "$1" -name '*.whl.part00' | while read -r first; do
    name="$(basename "${first%.part00}")"
    find "$1" -name "$name.part*" -printf '%f\t%p\n' | sort | cut -f2 | xargs -d '\n' cat >"$wheels/$name"
  done
  "$PYTHON" -m venv --without-pip --clear "$VENV"
  # --system-site-packages would leave out the packages of a Python that is itself a virtual environment
  "$PYTHON" -c 'import site; [print(f"import site; site.addsitedir({folder!r})") for folder in site.getsitepackages()]' \
    >"$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/parent.pth"
  "$PYTHON" -m pip --python "$VENV/bin/python" install --quiet --no-index --no-deps --find-links "$wheels" \
    --requirement "$LIST"
  "$PYTHON" -m pip --python "$VENV/bin/python" install --quiet --no-index --no-deps --no-build-isolation \
    --editable "$ROOT"
  rm -r "$wheels"
}

arguments=()
while (($#)); do
  case "$1" in
    --collect)
      collect "${2:?--collect needs a folder}"
      exit
      ;;
    --wheels)
      install_from "${2:?--wheels needs a folder}"
      PYTHON="$VENV/bin/python"
      shift 2
      ;;
    *)
      arguments+=("$1")
      shift
      ;;
  esac
done
PYTHONPATH="$ROOT:$ROOT/scripts" exec "$PYTHON" -m benchmarks.suite "${arguments[@]}"
