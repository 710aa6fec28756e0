"""Passes in which verl's own work fails while features are recorded."""

from __future__ import annotations

from typing import Any

from torch import nn

from tests.integration.joining import score
from tests.integration.passes import Case, Rows, make_data, request_of
from verl_nthr.integration.protocol import REQUEST
from verl_nthr.integration.worker.token_slots import SLOT


def run_interrupted(engine: Any, model: nn.Module, layer: nn.Module, rows: Rows, mine: list[int], case: Case) -> Any:
    """What an error in the second forward of ``model`` leaves behind; all ranks of the engine take part.

    Args:
        engine: verl's.
        model: whose forward is to fail.
        layer: the output layer.
        rows: the batch.
        mine: rows of this rank.
        case: how to run the pass.
    """
    undisturbed, before = repr(score(engine, rows, mine, case)), _state(engine, layer)
    data, forwards = make_data(rows, mine, case, request=request_of(case)), [0]

    def fail(*_: Any) -> None:
        forwards[0] += 1
        if forwards[0] == 2:
            raise ArithmeticError("the forward fails")

    handle, error = model.register_forward_pre_hook(fail), "no error"
    try:
        with engine.eval_mode():
            engine.infer_batch(data)
    except ArithmeticError as raised:
        error = str(raised)
    finally:
        handle.remove()
    return {
        "error": error,
        "restored": _state(engine, layer) == before,
        "columns": sorted({SLOT, REQUEST} & set(data.keys())),
        "same afterwards": repr(score(engine, rows, mine, case)) == undisturbed,
    }


def check_interrupted(result: Any) -> None:
    """Check what :func:`run_interrupted` returned.

    Raises:
        AssertionError: something was left behind.
    """
    if isinstance(result, Exception):
        raise result
    assert result == {"error": "the forward fails", "restored": True, "columns": [], "same afterwards": True}


def _state(engine: Any, layer: nn.Module) -> Any:
    """What a capture changes."""
    hooks = len(layer._forward_hooks), len(layer._forward_pre_hooks)
    return hooks, {name for name in vars(engine) if name.startswith("prepare_model")}
