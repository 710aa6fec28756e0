"""Old-log-prob passes of verl's real Megatron engine on gloo, in processes of their own."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

from tests.integration.passes import Case, Rows, answers_of, make_data, request_of

PLAIN_TRANSFORMER = {
    "use_cpu_initialization": True,
    "masked_softmax_fusion": False,
    "bias_activation_fusion": False,
    "apply_rope_fusion": False,
    "persist_layer_norm": False,
    "bias_dropout_fusion": False,
    "gradient_accumulation_fusion": False,
}
"""What megatron-core's transformer needs to be built and run without CUDA."""


@dataclass(frozen=True)
class MegatronCase(Case):
    """A cut of the model; the ranks that are left over are data parallel."""

    tensor: int = 1
    sequence_parallel: bool = False
    pipeline: int = 1
    virtual_pipeline: int | None = None
    context: int = 1
    fused: bool = False
    pad_to_length: bool = False
    megatron_bridge: bool = False
    """Megatron-Bridge instead of mbridge; all cases of a process must agree."""

    def __str__(self) -> str:
        fields = ((field.name, field.default, getattr(self, field.name)) for field in dataclasses.fields(self))
        return ", ".join(f"{name}={value}" for name, default, value in fields if value not in (default, "megatron"))


def case(**changes: Any) -> MegatronCase:
    """A packed dynamic batch without any cut, but for ``changes``."""
    return MegatronCase(**({"strategy": "megatron", "packed": True, "dynamic": True} | changes))


def support_rows(ranks: int, case: MegatronCase) -> list[str]:
    """The rows of the support matrix that a pass of ``case`` on ``ranks`` ranks belongs to."""
    tensor, pipeline, context = case.tensor > 1, case.pipeline > 1, case.context > 1
    shown = {
        "TP": tensor,
        "SP": case.sequence_parallel,
        "PP": pipeline,
        "virtual PP": case.virtual_pipeline is not None,
        "CP": context,
        "DP": ranks > case.tensor * case.pipeline * case.context,
        "TP × PP": tensor and pipeline,
        "TP × CP": tensor and context,
        "PP × CP": pipeline and context,
        "no cut": ranks == 1,
        "packed": case.packed,
        "padded": not case.packed,
        "packed to a multiple of a length": case.pad_to_length,
        "dynamic batch": case.dynamic,
        "static batch": not case.dynamic,
        "tied embeddings": case.tied,
        "untied embeddings": not case.tied,
        "padded vocabulary": case.vocabulary_multiple > 1,
        "fused cross-entropy": case.fused,
        "plain cross-entropy": not case.fused,
        "mbridge": not case.megatron_bridge,
        "Megatron-Bridge": case.megatron_bridge,
        "THR": case.length_normalised,
    }
    return [f"Megatron: {row}" for row, applies in shown.items() if applies]


def run_pass(rank: int, models: str, rows: Rows, cases: Sequence[MegatronCase]) -> list[dict[str, Any] | None]:
    """For every case, the columns of a scored pass if this rank has outputs."""
    prepare_process()
    if cases[0].megatron_bridge:
        from tests.megatron.bridge import prepare_megatron_bridge

        prepare_megatron_bridge()
    answers = []
    for case in cases:
        engine = build_engine(f"{models}/{case.model}", case)
        mine = rows_of(engine, rows)
        with engine.eval_mode():
            outputs = engine.infer_batch(make_data(rows, mine, case, request=request_of(case)))
        has_outputs = engine.is_mp_src_rank_with_outputs()
        answers.append(answers_of(mine, outputs["model_output"]) if has_outputs else None)
        leave_engine()
    return answers


def prepare_process() -> None:
    """Make megatron-core run here; call it before an engine is built, in an initialised process group."""
    os.environ["VERL_ENGINE_DEVICE"] = "cuda"  # verl registers its Megatron engines for it
    from tests.megatron.cuda_calls import answer_on_the_cpu

    answer_on_the_cpu()
    from tests.megatron.fused import use_torch_cross_entropy
    from tests.megatron.torch_layers import use_torch_layers

    use_torch_layers()
    use_torch_cross_entropy()


def configs(model: str, case: MegatronCase, *, forward_only: bool = True) -> dict[str, Any]:
    """verl's configs of an engine for a case; call it after :func:`prepare_process`."""
    from verl.trainer.config import CheckpointConfig
    from verl.workers.config import HFModelConfig, McoreEngineConfig, McoreOptimizerConfig

    engine_config = McoreEngineConfig(
        tensor_model_parallel_size=case.tensor,
        sequence_parallel=case.sequence_parallel,
        pipeline_model_parallel_size=case.pipeline,
        virtual_pipeline_model_parallel_size=case.virtual_pipeline,
        context_parallel_size=case.context,
        vanilla_mbridge=not case.megatron_bridge,
        forward_only=forward_only,
        use_remove_padding=case.packed,
        pad_to_length=case.pad_to_length,
        use_fused_kernels=case.fused,
        override_transformer_config=dict(PLAIN_TRANSFORMER),
    )
    if case.dtype == "fp32":
        use_float32(engine_config)
    return {
        "model_config": HFModelConfig(path=model, use_remove_padding=case.packed),
        "engine_config": engine_config,
        "optimizer_config": McoreOptimizerConfig(lr=1e-3, clip_grad=1.0, total_training_steps=10),
        "checkpoint_config": CheckpointConfig(),
    }


def build_engine(model: str, case: MegatronCase) -> Any:
    """verl's engine for a case, with the weights of a Hugging Face model loaded by mbridge."""
    import verl.workers.engine  # noqa: F401 - registers the engines
    from verl.models.mcore.mbridge import AutoBridge
    from verl.workers.engine import EngineRegistry

    engine = EngineRegistry.get_engine_cls("language_model", "megatron")(**configs(model, case))
    padded = partial(AutoBridge.from_config, make_vocab_size_divisible_by=case.vocabulary_multiple)
    with mock.patch.object(AutoBridge, "from_config", padded):
        engine.initialize()
    return engine


def use_float32(engine_config: Any) -> None:
    """Let an engine compute in float32, where verl's configuration allows half precisions alone."""
    object.__setattr__(engine_config, "dtype", "float32")


def rows_of(engine: Any, rows: Rows) -> list[int]:
    """The rows of this rank's data-parallel replica."""
    return list(range(len(rows.group)))[engine.get_data_parallel_rank() :: engine.get_data_parallel_size()]


def leave_engine() -> None:
    """Forget the cut, so that the next engine can have another."""
    from megatron.core import parallel_state

    parallel_state.destroy_model_parallel()
