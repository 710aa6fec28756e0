#!/usr/bin/env bash
# NTHR paper: Qwen2.5-Math-1.5B on DeepScaleR.

DATASET=${DATASET:-deepscaler}
TOTAL_TRAINING_STEPS=${TOTAL_TRAINING_STEPS:-45}

source "$(dirname "${BASH_SOURCE[0]}")/qwen2_5_math_1_5b.sh"
