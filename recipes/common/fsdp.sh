# The engine of STRATEGY=fsdp2 and STRATEGY=fsdp.
# shellcheck shell=bash disable=SC2034

only_with megatron ACTOR_TP ACTOR_PP ACTOR_VPP ACTOR_CP ACTOR_EP ACTOR_ETP
SP_SIZE=${SP_SIZE:-1}
require '[1-9][0-9]*' 'an integer from 1' SP_SIZE
divides SP_SIZE "$GPUS" 'the number of GPUs'
RANKS_PER_REPLICA=$SP_SIZE
RANKS_PER_SEQUENCE=$SP_SIZE

ENGINE=(
  actor_rollout_ref.actor.strategy="$STRATEGY"
  actor_rollout_ref.actor.fsdp_config.param_offload="$OFFLOAD"
  actor_rollout_ref.actor.fsdp_config.optimizer_offload="$OFFLOAD"
  actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size="$SP_SIZE"
  actor_rollout_ref.actor.fsdp_config.seed="$SEED"
  actor_rollout_ref.ref.fsdp_config.param_offload=True
  actor_rollout_ref.ref.fsdp_config.ulysses_sequence_parallel_size="$SP_SIZE"
)
