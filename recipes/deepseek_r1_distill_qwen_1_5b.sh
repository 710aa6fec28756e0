#!/usr/bin/env bash
# NTHR paper: DeepSeek-R1-Distill-Qwen-1.5B on MATH levels 3 to 5, with β = 0.

MODEL_PATH=${MODEL_PATH:-deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B}
TEMPLATE=${TEMPLATE:-deepseek-r1-distill}
ROLLOUT_TEMPERATURE=${ROLLOUT_TEMPERATURE:-0.6}
BETA=${BETA:-0.0}
TOTAL_TRAINING_STEPS=${TOTAL_TRAINING_STEPS:-35}
TEST_FREQ=${TEST_FREQ:-5}
SAVE_FREQ=${SAVE_FREQ:-5}

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
