#!/usr/bin/env bash
# Qwen2.5-7B in the NTHR paper's settings on Megatron, one node.

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen2.5-7B}
STRATEGY=${STRATEGY:-megatron}
NGPUS_PER_NODE=${NGPUS_PER_NODE:-8}
ACTOR_TP=${ACTOR_TP:-4}

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
