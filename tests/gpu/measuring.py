"""Waits of the host and memory that NTHR adds to a pass of verl."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from benchmarks.engine import SHAPES, Shape, build_engine
from benchmarks.measuring import profiled
from benchmarks.step import NTHRStep, make_batch, plain_pass
from tests.gpu.waits import count_waits

MEDIUM = Shape(512, 1408, 4, 8, 2, tied=True, vocabulary=32768, positions=4096)
SETTINGS: dict[str, dict[str, Any]] = {
    "cpu": {"shape": SHAPES["tiny"], "dtype": "float32", "batch": (2, 4, 64, 16), "tokens": (128, 1024)},
    "cuda": {"shape": MEDIUM, "dtype": "bfloat16", "batch": (8, 8, 512, 128), "tokens": (2048, 8192)},
}
"""By device: model, dtype of the pass, groups, rollouts, longest response and prompt, tokens of a micro-batch."""


def run_measured(rank: int, device: str) -> dict[str, float]:
    """Waits that each further micro-batch adds to verl's, the micro-batches tried, and the ratio of peak memories."""
    if device == "cpu":
        os.environ["VERL_PLATFORM"] = "cpu"
    settings = SETTINGS[device]
    shape = settings["shape"]
    engine = build_engine(shape, device, settings["dtype"])
    batch = make_batch(*settings["batch"], shape.vocabulary)
    forwards: list[int] = []
    engine.module.register_forward_hook(lambda *_: forwards.append(1))
    added, micro_batches, peaks = [], [], {}
    for tokens in settings["tokens"]:
        step = NTHRStep(engine, tokens, feature_device="device")
        ways = {"plain": partial(plain_pass, engine, batch, tokens), "nthr": partial(step.run, batch)}
        for way in ways.values():
            way()
        forwards.clear()
        waits = {name: count_waits(way, device) for name, way in ways.items()}
        added.append(waits["nthr"] - waits["plain"])
        micro_batches.append(len(forwards) / 2)
        peaks = {name: profiled(way, device)[0] for name, way in ways.items()}
    weights = sum(parameter.nbytes for parameter in engine.module.parameters())
    return {
        "waits": (added[0] - added[1]) / (micro_batches[0] - micro_batches[1]),
        "micro_batches": micro_batches,
        "memory": (weights + peaks["nthr"]) / (weights + peaks["plain"]),
    }
