# Checks the settings (and the nodes, if there are several) and trains. DRY_RUN=1 only prints and checks the command;
# SMOKE=1 trains a toy on the CPU.
# shellcheck shell=bash

COMMAND=(
  "$PYTHON" -m verl.trainer.main_ppo --config-path=pkg://verl_nthr.config --config-name=nthr_trainer "${SETTINGS[@]}"
)

[[ $DRY_RUN$SMOKE != 11 ]] || fail 'DRY_RUN=1 SMOKE=1: choose one of them'
if [[ $SMOKE == 1 ]]; then
  [[ $STRATEGY != megatron ]] || fail 'SMOKE=1 is for FSDP recipes: Megatron needs CUDA; use DRY_RUN=1'
  exec "$PYTHON" -m verl_nthr.recipes.smoke "${SETTINGS[@]}"
fi
if [[ $DRY_RUN == 1 ]]; then
  printf '%q' "${COMMAND[0]}"
  printf ' \\\n  %q' "${COMMAND[@]:1}"
  echo
  exec "$PYTHON" -m verl_nthr.recipes.check "${SETTINGS[@]}"
fi
"$PYTHON" -m verl_nthr.recipes.check --files "${SETTINGS[@]}"
if ((NNODES > 1)); then
  export RAY_ADDRESS=${RAY_ADDRESS:-auto}
  "$PYTHON" -m verl_nthr.recipes.cluster --nodes "$NNODES" --gpus-per-node "$NGPUS_PER_NODE"
fi
exec "${COMMAND[@]}"
