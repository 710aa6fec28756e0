#!/usr/bin/env bash
# The NTHR paper's Qwen2.5-3B on Megatron, one node.

STRATEGY=${STRATEGY:-megatron}
NGPUS_PER_NODE=${NGPUS_PER_NODE:-8}
ACTOR_TP=${ACTOR_TP:-2}

source "$(dirname "${BASH_SOURCE[0]}")/qwen2_5_3b.sh"
