#!/usr/bin/env bash
# Qwen3-32B, without thinking, on DAPO-17k with Megatron, four nodes.

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-32B}
TEMPLATE=${TEMPLATE:-qwen2.5-instruct}
DATASET=${DATASET:-dapo17k}
MAX_RESPONSE_LENGTH=${MAX_RESPONSE_LENGTH:-8192}
TOTAL_TRAINING_STEPS=${TOTAL_TRAINING_STEPS:-200}
STRATEGY=${STRATEGY:-megatron}
NNODES=${NNODES:-4}
NGPUS_PER_NODE=${NGPUS_PER_NODE:-8}
ACTOR_TP=${ACTOR_TP:-8}
ACTOR_PP=${ACTOR_PP:-2}
OFFLOAD=${OFFLOAD:-True}
ROLLOUT_TP=${ROLLOUT_TP:-4}
EXTRA=(+data.apply_chat_template_kwargs.enable_thinking=False)

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
