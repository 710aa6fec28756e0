"""Passes of verl's FSDP2 engine on a device, and where tensors lie meanwhile."""

from __future__ import annotations

import os
import traceback
from importlib.util import find_spec
from typing import Any
from unittest import mock

import torch

from tests.integration.fsdp import build_engine
from tests.integration.joining import score
from tests.integration.passes import Case, Rows


def cases(device: str) -> dict[str, Case]:
    """Ways to run the pass on a device."""
    flash = device == "cuda" and find_spec("flash_attn") is not None
    packed = {"strategy": "fsdp2", "packed": True, "dynamic": True, "device": device}
    half = {"dtype": "bf16", "attention": "flash_attention_2" if flash else "sdpa"}
    return {
        "float32": Case(**packed),
        "bfloat16": Case(**packed, **half),
        "bfloat16, stored so": Case(**packed, **half, stored_dtype="bf16", tied=True),
        "padded": Case("fsdp2", packed=False, dynamic=False, device=device),
        "kept on the device": Case(**packed, feature_device="device"),
        "kept on the host": Case(**packed, feature_device="host"),
        "offload": Case(**packed, offload=True),
        "offload policy": Case(**packed, offload_policy=True),
    }


def fused_cases(device: str) -> dict[str, Case]:
    """Fused kernels, which replace the forward of the model's class: for a process of their own."""
    tied = {"strategy": "fsdp2", "packed": True, "dynamic": True, "tied": True, "fused": True, "device": device}
    return {backend: Case(**tied, dtype="bf16", fused_backend=backend) for backend in fused_backends(device)}


def fused_backends(device: str) -> tuple[str, ...]:
    """Triton's kernel is for GPUs."""
    return ("torch", "triton") if device == "cuda" else ("torch",)


def run_observed(rank: int, models: str, rows: Rows, chosen: list[Case]) -> list[dict[str, Any] | Exception]:
    """For every case the answers of a scored pass, and where parameters and hidden states lay; or what went wrong."""
    results: list[dict[str, Any] | Exception] = []
    for case in chosen:
        if case.device == "cpu":
            os.environ["VERL_PLATFORM"] = "cpu"
        try:
            results.append(_observed(build_engine(models, case), rows, case))
        except Exception as error:  # noqa: BLE001 - the other cases are tried all the same
            traceback.print_exc()
            results.append(error)
    return results


def _observed(engine: Any, rows: Rows, case: Case) -> dict[str, Any]:
    gate = engine.module.model.layers[0].mlp.gate_proj
    observed: dict[str, Any] = {"at_work": [], "kept": [], "before": _places(engine)}
    gate.register_forward_pre_hook(lambda layer, _: observed["at_work"].append(layer.weight.device.type))
    with _watching_recordings(observed["kept"]):
        answers = score(engine, rows, list(range(len(rows.group))), case)
    observed["after"] = _places(engine)
    observed["repeated"] = repr(answers) == repr(score(engine, rows, list(range(len(rows.group))), case))
    observed["states"] = states_in_training(engine, rows, case) if case.offload else {}
    return answers | {"observed": observed}


def states_in_training(engine: Any, rows: Rows, case: Case) -> dict[str, list[str]]:
    """Where the optimizer's states lie during a step of training, after it, and after a scored pass."""
    with engine.train_mode():
        for parameter in engine.module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        engine.optimizer.step()
        during = _places_of_states(engine)
    after = _places_of_states(engine)
    score(engine, rows, list(range(len(rows.group))), case)
    return {"during": during, "after": after, "after scoring": _places_of_states(engine)}


def _places(engine: Any) -> list[str]:
    return sorted({parameter.device.type for parameter in engine.module.parameters()})


def _places_of_states(engine: Any) -> list[str]:
    states = [x for state in engine.optimizer.state.values() for x in state.values() if torch.is_tensor(x) and x.dim()]
    return sorted({state.device.type for state in states})


def _watching_recordings(kept: list[tuple[str, bool]]) -> Any:
    """Note on which device each pass keeps its hidden states, and whether in pinned memory."""
    from verl_nthr.integration.worker.recorder import Recorder

    features = Recorder.features

    def watched(self: Any, *args: Any) -> Any:
        kept.append((self.store.hidden.device.type, self.store.hidden.is_pinned()))
        return features(self, *args)

    return mock.patch.object(Recorder, "features", watched)
