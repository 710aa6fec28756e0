#!/usr/bin/env bash
# THR with ρ = -0.1, which favours Pass@K, in the NTHR paper's settings.

ESTIMATOR=${ESTIMATOR:-thr}
RHO=${RHO:--0.1}

source "$(dirname "${BASH_SOURCE[0]}")/qwen2_5_math_1_5b.sh"
