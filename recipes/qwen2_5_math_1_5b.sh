#!/usr/bin/env bash
# NTHR paper: Qwen2.5-Math-1.5B (context of 4096 tokens) on MATH levels 3 to 5.

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen2.5-Math-1.5B}
MAX_RESPONSE_LENGTH=${MAX_RESPONSE_LENGTH:-3072}

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
