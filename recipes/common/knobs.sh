# Defaults for the knobs that a recipe does not set (those of the NTHR paper, except for its 0.5B model), and checks.
# shellcheck shell=bash

RECIPE=${RECIPE:-$(basename "$0" .sh)}
PYTHON=${PYTHON:-python3}
DRY_RUN=${DRY_RUN:-0}
SMOKE=${SMOKE:-0}

TEMPLATE=${TEMPLATE:-qwen2.5-math}
DATASET=${DATASET:-math}
DATA_DIR=${DATA_DIR:-$HOME/data/$TEMPLATE}
TRAIN_FILES=${TRAIN_FILES:-"'$DATA_DIR/$DATASET/train.parquet'"}
EVALUATION=$(printf ",'$DATA_DIR/evaluation/%s/test.parquet'" aime24 amc23 math500 minerva olympiadbench)
VAL_FILES=${VAL_FILES:-[${EVALUATION:1}]}
REWARD_PATH=${REWARD_PATH:-$ROOT/scripts/data/reward.py}

ESTIMATOR=${ESTIMATOR:-nthr}
BETA=${BETA:-1.0}
ETA=${ETA:-balanced}
RHO=${RHO:-0.1}
FILTER_GROUPS=${FILTER_GROUPS:-homogeneous}
MONITOR_FREQ=${MONITOR_FREQ:-0}
TOKEN_DUMP_DIR=${TOKEN_DUMP_DIR:-null}

TRAIN_BATCH_SIZE=${TRAIN_BATCH_SIZE:-256}
PPO_MINI_BATCH_SIZE=${PPO_MINI_BATCH_SIZE:-64}
MAX_PROMPT_LENGTH=${MAX_PROMPT_LENGTH:-1024}
MAX_RESPONSE_LENGTH=${MAX_RESPONSE_LENGTH:-4000}
TOTAL_TRAINING_STEPS=${TOTAL_TRAINING_STEPS:-40}
ACTOR_LR=${ACTOR_LR:-1e-6}
KL_LOSS_COEF=${KL_LOSS_COEF:-1e-4}
CLIP_RATIO_LOW=${CLIP_RATIO_LOW:-0.2}
CLIP_RATIO_HIGH=${CLIP_RATIO_HIGH:-0.2}
CLIP_RATIO_C=${CLIP_RATIO_C:-3.0}
LOSS_AGG_MODE=${LOSS_AGG_MODE:-token-mean}
ROLLOUT_N=${ROLLOUT_N:-8}
ROLLOUT_TEMPERATURE=${ROLLOUT_TEMPERATURE:-1.0}
SEED=${SEED:-42}

STRATEGY=${STRATEGY:-fsdp2}
NNODES=${NNODES:-1}
NGPUS_PER_NODE=${NGPUS_PER_NODE:-4}
PPO_MAX_TOKEN_LEN_PER_GPU=${PPO_MAX_TOKEN_LEN_PER_GPU:-16384}
LOG_PROB_MAX_TOKEN_LEN_PER_GPU=${LOG_PROB_MAX_TOKEN_LEN_PER_GPU:-$PPO_MAX_TOKEN_LEN_PER_GPU}
OFFLOAD=${OFFLOAD:-False}
FUSED_KERNELS=${FUSED_KERNELS:-False}
ROLLOUT_TP=${ROLLOUT_TP:-1}
ROLLOUT_GPU_MEM_UTIL=${ROLLOUT_GPU_MEM_UTIL:-0.5}

TEST_FREQ=${TEST_FREQ:-10}
SAVE_FREQ=${SAVE_FREQ:-20}
LOGGER=${LOGGER:-'["console","file"]'}
OUT_DIR=${OUT_DIR:-$PWD/outputs}
PROJECT_NAME=${PROJECT_NAME:-nthr_recipes}
EXPERIMENT_NAME=${EXPERIMENT_NAME:-${RECIPE}_$ESTIMATOR}

fail() {
  echo "$RECIPE: $*" >&2
  exit 2
}

# require PATTERN WANTED KNOB...
require() {
  local pattern=$1 wanted=$2 knob
  shift 2
  for knob in "$@"; do
    [[ ${!knob} =~ ^($pattern)$ ]] || fail "$knob=${!knob}: use $wanted"
  done
}

# only_with STRATEGY KNOB...: fails if a knob is set that works only with that strategy
only_with() {
  local strategy=$1 knob
  shift
  for knob in "$@"; do
    [[ -z ${!knob:-} ]] || fail "$knob=${!knob}: it works only with STRATEGY=$strategy; unset it"
  done
}

# divides KNOB NUMBER WHAT: fails unless the knob's value divides the number
divides() {
  (($2 % ${!1} == 0)) || fail "$1=${!1} does not divide $3, $2; change one of them"
}

NUMBER='[0-9]+\.?[0-9]*([eE][-+]?[0-9]+)?|\.[0-9]+([eE][-+]?[0-9]+)?'
require '0|1' '0 or 1' DRY_RUN SMOKE
require 'fsdp2|fsdp|megatron' 'fsdp2, fsdp or megatron' STRATEGY
require 'True|False' 'True or False' OFFLOAD FUSED_KERNELS
require 'homogeneous|all_correct|all_wrong|none' 'homogeneous, all_correct, all_wrong or none' FILTER_GROUPS
require '[1-9][0-9]*' 'an integer from 1' TRAIN_BATCH_SIZE PPO_MINI_BATCH_SIZE MAX_PROMPT_LENGTH MAX_RESPONSE_LENGTH \
  TOTAL_TRAINING_STEPS ROLLOUT_N NNODES NGPUS_PER_NODE ROLLOUT_TP PPO_MAX_TOKEN_LEN_PER_GPU LOG_PROB_MAX_TOKEN_LEN_PER_GPU
require '0|[1-9][0-9]*' 'an integer from 0' SEED MONITOR_FREQ
require '-1|[1-9][0-9]*' 'an integer from 1, or -1 for never' TEST_FREQ SAVE_FREQ
require "$NUMBER" 'a number such as 1e-6' ACTOR_LR KL_LOSS_COEF CLIP_RATIO_LOW CLIP_RATIO_HIGH CLIP_RATIO_C ROLLOUT_TEMPERATURE \
  ROLLOUT_GPU_MEM_UTIL

GPUS=$((NNODES * NGPUS_PER_NODE))
divides PPO_MINI_BATCH_SIZE "$TRAIN_BATCH_SIZE" TRAIN_BATCH_SIZE
divides ROLLOUT_TP "$GPUS" 'the number of GPUs'
