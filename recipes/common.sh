# Sourced at the end of every recipe: turns the knobs into verl's command and runs it.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$ROOT/recipes/common/knobs.sh"
if [[ $STRATEGY == megatron ]]; then
  source "$ROOT/recipes/common/megatron.sh"
else
  source "$ROOT/recipes/common/fsdp.sh"
fi

((PPO_MINI_BATCH_SIZE * ROLLOUT_N * RANKS_PER_REPLICA % GPUS == 0)) ||
  fail "PPO_MINI_BATCH_SIZE=$PPO_MINI_BATCH_SIZE × ROLLOUT_N=$ROLLOUT_N does not split over $((GPUS / RANKS_PER_REPLICA)) data-parallel ranks"
LONGEST=$((MAX_PROMPT_LENGTH + MAX_RESPONSE_LENGTH))
for knob in PPO_MAX_TOKEN_LEN_PER_GPU LOG_PROB_MAX_TOKEN_LEN_PER_GPU; do
  ((${!knob} * RANKS_PER_SEQUENCE >= LONGEST)) ||
    fail "$knob=${!knob}: the longest sequence has $LONGEST tokens over $RANKS_PER_SEQUENCE GPUs; use a larger one"
done

DATA=(
  data.train_files="$TRAIN_FILES"
  data.val_files="$VAL_FILES"
  data.train_batch_size="$TRAIN_BATCH_SIZE"
  data.max_prompt_length="$MAX_PROMPT_LENGTH"
  data.max_response_length="$MAX_RESPONSE_LENGTH"
  data.filter_overlong_prompts=True
  data.truncation=error
  data.seed="$SEED"
  reward.custom_reward_function.path="'$REWARD_PATH'"
  reward.custom_reward_function.name=compute_score
)

ALGORITHM=(
  algorithm.adv_estimator="$ESTIMATOR"
  algorithm.use_kl_in_reward=False
  critic.enable=False
  algorithm.nthr.beta="$BETA"
  algorithm.nthr.eta="$ETA"
  algorithm.thr.rho="$RHO"
  algorithm.lld_monitor.freq="$MONITOR_FREQ"
  algorithm.nthr.token_dump_dir="$TOKEN_DUMP_DIR"
)
case $FILTER_GROUPS in
  none) ALGORITHM+=(algorithm.filter_groups.enable=False) ;;
  homogeneous) ALGORITHM+=(algorithm.filter_groups.enable=True) ;;
  *) ALGORITHM+=(algorithm.filter_groups.enable=True algorithm.filter_groups.drop="$FILTER_GROUPS") ;;
esac

MODEL=(
  actor_rollout_ref.model.path="'$MODEL_PATH'"
  actor_rollout_ref.model.use_remove_padding=True
  actor_rollout_ref.model.use_fused_kernels="$FUSED_KERNELS"
  actor_rollout_ref.model.enable_gradient_checkpointing=True
)

if [[ $KL_LOSS_COEF =~ [1-9] ]]; then USE_KL_LOSS=True; else USE_KL_LOSS=False; fi
ACTOR=(
  actor_rollout_ref.actor.optim.lr="$ACTOR_LR"
  actor_rollout_ref.actor.ppo_mini_batch_size="$PPO_MINI_BATCH_SIZE"
  actor_rollout_ref.actor.use_dynamic_bsz=True
  actor_rollout_ref.actor.ppo_max_token_len_per_gpu="$PPO_MAX_TOKEN_LEN_PER_GPU"
  actor_rollout_ref.actor.clip_ratio_low="$CLIP_RATIO_LOW"
  actor_rollout_ref.actor.clip_ratio_high="$CLIP_RATIO_HIGH"
  actor_rollout_ref.actor.clip_ratio_c="$CLIP_RATIO_C"
  actor_rollout_ref.actor.loss_agg_mode="$LOSS_AGG_MODE"
  actor_rollout_ref.actor.use_kl_loss="$USE_KL_LOSS"
  actor_rollout_ref.actor.kl_loss_coef="$KL_LOSS_COEF"
  actor_rollout_ref.actor.kl_loss_type=low_var_kl
  actor_rollout_ref.actor.entropy_coeff=0
  actor_rollout_ref.actor.data_loader_seed="$SEED"
)

ROLLOUT=(
  actor_rollout_ref.rollout.name=vllm
  actor_rollout_ref.rollout.n="$ROLLOUT_N"
  actor_rollout_ref.rollout.temperature="$ROLLOUT_TEMPERATURE"
  actor_rollout_ref.rollout.top_p=1.0
  actor_rollout_ref.rollout.tensor_model_parallel_size="$ROLLOUT_TP"
  actor_rollout_ref.rollout.gpu_memory_utilization="$ROLLOUT_GPU_MEM_UTIL"
  actor_rollout_ref.rollout.max_model_len="$LONGEST"
  actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu="$LOG_PROB_MAX_TOKEN_LEN_PER_GPU"
  actor_rollout_ref.rollout.seed="$SEED"
  actor_rollout_ref.rollout.val_kwargs.do_sample=False
  actor_rollout_ref.rollout.val_kwargs.temperature=0
)

REF=(actor_rollout_ref.ref.log_prob_max_token_len_per_gpu="$LOG_PROB_MAX_TOKEN_LEN_PER_GPU")

TRAINER=(
  trainer.nnodes="$NNODES"
  trainer.n_gpus_per_node="$NGPUS_PER_NODE"
  trainer.total_training_steps="$TOTAL_TRAINING_STEPS"
  trainer.total_epochs=1000 # the steps end the run
  trainer.test_freq="$TEST_FREQ"
  trainer.save_freq="$SAVE_FREQ"
  trainer.logger="$LOGGER"
  trainer.project_name="'$PROJECT_NAME'"
  trainer.experiment_name="'$EXPERIMENT_NAME'"
  trainer.default_local_dir="'$OUT_DIR/\${trainer.project_name}/\${trainer.experiment_name}'"
  +ray_kwargs.ray_init.runtime_env.env_vars.VERL_FILE_LOGGER_ROOT="'$OUT_DIR'"
)

SETTINGS=(
  "${DATA[@]}" "${ALGORITHM[@]}" "${MODEL[@]}" "${ACTOR[@]}" "${ENGINE[@]}" "${ROLLOUT[@]}" "${REF[@]}" "${TRAINER[@]}"
  "${EXTRA[@]}" "$@"
)
source "$ROOT/recipes/common/launch.sh"
