"""Old-log-prob passes of verl's real FSDP engines, in processes of their own."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from tests.integration import varlen_attention
from tests.integration.passes import Case, Rows, answers_of, make_data, request_of


def configs(models: str, case: Case) -> dict[str, Any]:
    """verl's configs of an engine for a case."""
    from verl.trainer.config import CheckpointConfig
    from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig

    model_config = HFModelConfig(
        path=f"{models}/{case.base}",
        use_remove_padding=case.packed,
        override_config={"attn_implementation": varlen_attention.NAME if case.ulysses > 1 else case.attention},
        enable_gradient_checkpointing=case.checkpointing,
        enable_activation_offload=case.activation_offload,
        use_fused_kernels=case.fused,
        fused_kernel_options={"impl_backend": case.fused_backend},
        lora_rank=4 if case.adapter else 0,
        lora_adapter_path=f"{models}/{case.adapter}" if case.adapter else None,
    )
    engine_config = FSDPEngineConfig(
        strategy=case.strategy,
        model_dtype=case.stored_dtype,
        mixed_precision={"param_dtype": case.dtype, "reduce_dtype": "fp32", "buffer_dtype": "fp32"},
        use_torch_compile=False,
        use_remove_padding=case.packed,
        ulysses_sequence_parallel_size=case.ulysses,
        pad_to_length=case.padded_to > 0,
        pad_to_length_bucket=case.padded_to or 1024,
        param_offload=case.offload,
        optimizer_offload=case.offload,
        offload_policy=case.offload_policy,
    )
    return {
        "model_config": model_config,
        "engine_config": engine_config,
        "optimizer_config": FSDPOptimizerConfig(lr=1e-3, total_training_steps=10, clip_grad=1.0),
        "checkpoint_config": CheckpointConfig(),
    }


def build_engine(models: str, case: Case) -> Any:
    """verl's engine for a case in an initialised process group."""
    import verl.workers.engine  # noqa: F401 - registers the engines
    from verl.workers.engine import EngineRegistry

    if case.ulysses > 1:
        varlen_attention.install()
    engine = EngineRegistry.new("language_model", case.strategy, **configs(models, case))
    engine.initialize()
    return engine


def rows_of(engine: Any, rows: Rows) -> list[int]:
    """The rows of this rank's data-parallel replica."""
    return list(range(len(rows.group)))[engine.get_data_parallel_rank() :: engine.get_data_parallel_size()]


def run_scored(rank: int, models: str, rows: Rows, cases: list[Case]) -> list[dict[str, Any] | None]:
    """For every case the scored pass; None on a rank whose outputs verl does not collect."""
    results = []
    for case in cases:
        engine = build_engine(models, case)
        mine = rows_of(engine, rows)
        with engine.eval_mode():
            output = engine.infer_batch(make_data(rows, mine, case, request=request_of(case)))
        collected = engine.is_mp_src_rank_with_outputs()
        results.append(answers_of(mine, output["model_output"]) if collected else None)
    return results


def run_refused(rank: int, models: str, rows: Rows, cases: list[Case]) -> list[str]:
    """For every case what the TypeError says with which the pass is refused."""
    messages = []
    for case in cases:
        try:
            run_scored(rank, models, rows, [case])
            messages.append("not refused")
        except TypeError as error:
            messages.append(str(error))
    return messages


def run_pass(rank: int, models: str, rows: Rows, cases: list[Case]) -> list[dict[str, Any]]:
    """For every case: the pass without and with a request, and without a mixed group; every rank takes its rows."""
    import torch.distributed as dist

    from verl_nthr.integration.protocol import SCORE

    world_size = dist.get_world_size()
    mine = list(range(len(rows.group)))[rank::world_size]
    results = []
    for case in cases:
        engine = build_engine(models, case)
        forwards: list[int] = []
        layer = engine.module.get_output_embeddings()
        hooks = len(layer._forward_pre_hooks)
        engine.module.register_forward_hook(lambda *_, count=forwards: count.append(1))
        request = request_of(case)
        with engine.eval_mode():
            plain = engine.infer_batch(make_data(rows, mine, case))["model_output"]
        plain_forwards = len(forwards)
        with engine.eval_mode():
            scored = engine.infer_batch(make_data(rows, mine, case, request=request))["model_output"]
        scored_forwards = len(forwards) - plain_forwards
        no_mixed_group = dataclasses.replace(rows, correct=[False] * len(rows.correct))
        with engine.eval_mode():
            unscored = engine.infer_batch(make_data(no_mixed_group, mine, case, request=request))["model_output"]
        results.append(
            answers_of(mine, scored)
            | {
                "unscored": bool(unscored[SCORE].values().isnan().all()),
                "plain_keys": sorted(plain),
                "same_outputs": all(
                    torch.equal(plain[key].values(), scored[key].values()) for key in ("log_probs", "entropy")
                ),
                "forwards": (plain_forwards, scored_forwards),
                "left_behind": ("prepare_model_outputs" in vars(engine), len(layer._forward_pre_hooks) - hooks),
            }
        )
    return results
