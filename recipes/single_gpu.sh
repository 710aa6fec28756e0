#!/usr/bin/env bash
# Runs another recipe on one GPU of 80 GB: bash recipes/single_gpu.sh qwen2_5_0_5b_instruct [OVERRIDE...]

HERE=$(dirname "${BASH_SOURCE[0]}")
NAME=${1:-}
if [[ -z $NAME || ! -f $HERE/$NAME.sh ]]; then
  echo "single_gpu: no recipe named '$NAME'; use a name from $HERE without .sh, such as qwen2_5_0_5b_instruct" >&2
  exit 2
fi
shift

RECIPE=${NAME}_1gpu
NNODES=1
NGPUS_PER_NODE=1
OFFLOAD=${OFFLOAD:-True}
PPO_MAX_TOKEN_LEN_PER_GPU=${PPO_MAX_TOKEN_LEN_PER_GPU:-8192}
ROLLOUT_GPU_MEM_UTIL=${ROLLOUT_GPU_MEM_UTIL:-0.4}

# shellcheck source=recipes/common.sh
source "$HERE/$NAME.sh"
