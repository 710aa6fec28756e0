#!/usr/bin/env bash
# NTHR paper: Llama-3.2-1B-Instruct on MATH levels 3 to 5.

MODEL_PATH=${MODEL_PATH:-meta-llama/Llama-3.2-1B-Instruct}
TEMPLATE=${TEMPLATE:-llama-3.2}

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
