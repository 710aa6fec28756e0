# The engine of STRATEGY=megatron; the reference model uses the actor's parallelism.
# shellcheck shell=bash disable=SC2034

only_with fsdp2 SP_SIZE
ACTOR_TP=${ACTOR_TP:-1}
ACTOR_PP=${ACTOR_PP:-1}
ACTOR_VPP=${ACTOR_VPP:-null}
ACTOR_CP=${ACTOR_CP:-1}
ACTOR_EP=${ACTOR_EP:-1}
ACTOR_ETP=${ACTOR_ETP:-$ACTOR_TP}
require '[1-9][0-9]*' 'an integer from 1' ACTOR_TP ACTOR_PP ACTOR_CP ACTOR_EP ACTOR_ETP
require 'null|[2-9]|[1-9][0-9]+' 'an integer from 2, or null for none' ACTOR_VPP
[[ $ACTOR_VPP == null || $ACTOR_PP -gt 1 ]] || fail "ACTOR_VPP=$ACTOR_VPP: it needs ACTOR_PP of 2 or more"
RANKS_PER_REPLICA=$((ACTOR_TP * ACTOR_PP * ACTOR_CP))
RANKS_PER_SEQUENCE=$ACTOR_CP
RANKS_PER_EXPERTS=$((ACTOR_ETP * ACTOR_EP * ACTOR_PP))
((GPUS % RANKS_PER_REPLICA == 0)) ||
  fail "ACTOR_TP × ACTOR_PP × ACTOR_CP = $RANKS_PER_REPLICA does not divide the number of GPUs, $GPUS; change one of them"
((GPUS % RANKS_PER_EXPERTS == 0)) ||
  fail "ACTOR_ETP × ACTOR_EP × ACTOR_PP = $RANKS_PER_EXPERTS does not divide the number of GPUs, $GPUS; change one of them"

ENGINE=(
  model_engine=megatron
  actor_rollout_ref.actor.megatron.tensor_model_parallel_size="$ACTOR_TP"
  actor_rollout_ref.actor.megatron.pipeline_model_parallel_size="$ACTOR_PP"
  actor_rollout_ref.actor.megatron.virtual_pipeline_model_parallel_size="$ACTOR_VPP"
  actor_rollout_ref.actor.megatron.context_parallel_size="$ACTOR_CP"
  actor_rollout_ref.actor.megatron.expert_model_parallel_size="$ACTOR_EP"
  actor_rollout_ref.actor.megatron.expert_tensor_parallel_size="$ACTOR_ETP"
  actor_rollout_ref.actor.megatron.param_offload="$OFFLOAD"
  actor_rollout_ref.actor.megatron.optimizer_offload="$OFFLOAD"
  actor_rollout_ref.actor.megatron.seed="$SEED"
  actor_rollout_ref.actor.megatron.override_transformer_config.recompute_granularity=full
  actor_rollout_ref.actor.megatron.override_transformer_config.recompute_method=uniform
  actor_rollout_ref.actor.megatron.override_transformer_config.recompute_num_layers=1
  actor_rollout_ref.ref.megatron.param_offload=True
)
