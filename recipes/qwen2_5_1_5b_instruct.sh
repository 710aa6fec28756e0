#!/usr/bin/env bash
# NTHR paper: Qwen2.5-1.5B-Instruct on MATH levels 3 to 5; its table reports step 25 of the 40.

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen2.5-1.5B-Instruct}
TEMPLATE=${TEMPLATE:-qwen2.5-instruct}
TEST_FREQ=${TEST_FREQ:-5}
SAVE_FREQ=${SAVE_FREQ:-5}

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
