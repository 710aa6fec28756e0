#!/usr/bin/env bash
# NTHR paper: Qwen2.5-3B on MATH levels 3 to 5.

MODEL_PATH=${MODEL_PATH:-Qwen/Qwen2.5-3B}

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
