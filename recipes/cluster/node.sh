#!/usr/bin/env bash
# One node of a Ray cluster that lasts as long as the training:
#
#   bash recipes/cluster/node.sh head RECIPE [OVERRIDE...]    on the first node: starts Ray and runs the recipe
#   bash recipes/cluster/node.sh worker HEAD                  on each other node: joins HEAD, a host name or address
#
# Set NNODES and the other knobs on the head. Both roles read RAY_PORT (6379), JOIN_SECONDS (600) and RAY_START_ARGS
# (arguments for `ray start`, such as --node-ip-address=10.0.0.7 on a node with several networks). At the end each node
# runs `ray stop`, which ends all Ray processes of this user on it.
set -euo pipefail

HERE=$(dirname "${BASH_SOURCE[0]}")
RAY_PORT=${RAY_PORT:-6379}
JOIN_SECONDS=${JOIN_SECONDS:-600}
read -ra START_ARGS <<<"${RAY_START_ARGS:-}"

fail() {
  echo "node: $*" >&2
  exit 2
}

answers() {
  timeout 5 bash -c ": <>/dev/tcp/$1/$RAY_PORT" 2>/dev/null
}

head() {
  local recipe=$HERE/../${1:-}.sh
  [[ -n ${1:-} && -f $recipe ]] || fail "no recipe named '${1:-}'; use a name from recipes/ without .sh, such as qwen3_32b_megatron"
  shift
  trap 'ray stop' EXIT
  ray start --head --port="$RAY_PORT" "${START_ARGS[@]}"
  RAY_ADDRESS=auto bash "$recipe" "$@"
}

worker() {
  local head=${1:-}
  [[ -n $head ]] || fail "worker needs the head's address: node.sh worker 10.0.0.1"
  until answers "$head"; do
    ((SECONDS < JOIN_SECONDS)) || fail "no Ray at $head:$RAY_PORT after $JOIN_SECONDS s"
    sleep 2
  done
  trap 'ray stop' EXIT
  ray start --address="$head:$RAY_PORT" "${START_ARGS[@]}"
  while answers "$head"; do
    sleep 5
  done
}

# One task per node of a Slurm job: HEAD RECIPE [OVERRIDE...]
slurm_task() {
  local head=$1
  shift
  if ((SLURM_PROCID == 0)); then head "$@"; else worker "$head"; fi
}

case ${1:-} in
  head | worker | slurm_task) "$@" ;;
  *) fail "'${1:-}' is neither head nor worker; see the first lines of $0" ;;
esac
