"""A scored pass leaves verl's engine and outputs as they are, and refuses models that NTHR does not cover."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from tests.integration.passes import Rows, make_data, request_of
from tests.megatron import passes
from tests.megatron.passes import MegatronCase, build_engine, leave_engine, prepare_process, rows_of
from tests.processes import run_ranks

pytestmark = pytest.mark.distributed

REFUSALS = {
    "multi-token prediction": ("model_config.mtp", "enable", True),
    "models with images": ("model_config.hf_config", "vision_config", {}),
    "FP8": ("tf_config", "fp8", "e4m3"),
    "adapters": ("", "peft_cls", object()),
    "a contiguous context-parallel layout": ("tf_config", "experimental_attention_variant", "dsv4_hybrid"),
    "dynamic context parallelism": ("engine_config", "dynamic_context_parallel", True),
}


def run_side_by_side(rank: int, models: str, rows: Rows, cases: list[MegatronCase]) -> list[dict[str, Any]]:
    """For every case: what a request changes in outputs, forwards and engine; and what the refusals say."""
    prepare_process()
    from verl.models.mcore import model_forward_fused

    answers = []
    for case in cases:
        engine = build_engine(f"{models}/{case.model}", case)
        mine, forwards = rows_of(engine, rows), []
        for chunk in engine.module:
            chunk.register_forward_hook(lambda *_, count=forwards: count.append(1))
        before, fused = set(vars(engine)), model_forward_fused.linear_cross_entropy
        hooks = count_hooks(engine)
        with engine.eval_mode():
            plain = engine.infer_batch(make_data(rows, mine, case)).get("model_output", {})
            plain_forwards = len(forwards)
            scored = engine.infer_batch(make_data(rows, mine, case, request=request_of(case))).get("model_output", {})
        answers.append(
            {
                "columns": sorted(set(scored) - set(plain)),
                "same": all(torch.equal(plain[key].values(), scored[key].values()) for key in plain),
                "forwards": (plain_forwards, len(forwards) - plain_forwards),
                "left": sorted(set(vars(engine)) - before - {"_distillation_use_topk_active"}),
                "hooks": count_hooks(engine) - hooks,
                "fused": model_forward_fused.linear_cross_entropy is fused,
                "refusals": {reason: refusal(engine, rows, mine, case, *change) for reason, change in REFUSALS.items()},
            }
        )
        leave_engine()
    return answers


def count_hooks(engine: Any) -> int:
    return sum(len(module._forward_hooks) for chunk in engine.module for module in chunk.modules())


def refusal(engine: Any, rows: Rows, mine: list[int], case: MegatronCase, path: str, name: str, value: Any) -> str:
    """What a pass says when ``engine.path.name`` is ``value``."""
    owner = engine
    for part in filter(None, path.split(".")):
        owner = getattr(owner, part)
    with mock.patch.dict(vars(owner), {name: value}), engine.eval_mode():
        try:
            engine.infer_batch(make_data(rows, mine, case, request=request_of(case)))
        except (TypeError, RuntimeError) as error:
            return str(error)
    return "no refusal"


@pytest.mark.refuses("Megatron: models with images")
def test_a_request_changes_nothing_but_the_columns(models: Path, rows: Rows) -> None:
    cases = [
        passes.case(tensor=2, sequence_parallel=True),
        passes.case(tensor=2, fused=True),
        passes.case(pipeline=2, virtual_pipeline=2),
    ]
    results = run_ranks(run_side_by_side, 2, str(models), rows, cases, timeout=300)
    for result in results:
        if isinstance(result, Exception):
            raise result
        for found in result:
            assert found["same"]
            without, with_nthr = found["forwards"]
            assert without == with_nthr > 0
            assert found["left"] == []
            assert found["hooks"] == 0
            assert found["fused"]
            for reason, message in found["refusals"].items():
                assert f"does not cover {reason} on the Megatron engine" in message or "NTHR failed on" in message
    ours = ["nthr_anchor", "nthr_score", "nthr_seconds"]
    assert [found["columns"] for found in results[0]] == [ours, ours, []]
    assert [found["columns"] for found in results[1]] == [[], [], ours]
    for index in range(len(cases)):
        by_rank = [list(result[index]["refusals"].values()) for result in results]
        assert all(any("does not cover" in message for message in messages) for messages in zip(*by_rank, strict=True))
