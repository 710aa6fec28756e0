"""verl's own FSDP2 engine around a random model of a true shape, in one process."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist

from benchmarks.errors import BenchmarkError
from benchmarks.shapes import Shape

DTYPES = {"float32": "fp32", "bfloat16": "bf16"}
"""verl's names for the dtypes of a pass."""

PLUGINS = ("verl_nthr.cpu.plugin", "verl_nthr.integration.plugin")
"""What verl loads by itself where the package is installed."""


def check_device(name: str) -> torch.device:
    """The device of an option ``--device``.

    Raises:
        BenchmarkError: there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise BenchmarkError("--device cuda: torch sees no CUDA device; use --device cpu")
    return torch.device(name)


@contextmanager
def one_process(device: torch.device) -> Iterator[None]:
    """A process group of this process alone; on the CPU with verl's platform for it."""
    if device.type == "cpu":
        os.environ["VERL_PLATFORM"] = "cpu"
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group(backend, init_method=f"file://{folder}/rendezvous", rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()


def attention(device: torch.device) -> str:
    """verl's default where it is installed, else torch's own."""
    flash = device.type == "cuda" and importlib.util.find_spec("flash_attn") is not None
    return "flash_attention_2" if flash else "sdpa"


def build_engine(shape: Shape, device: torch.device, dtype: str) -> Any:
    """The engine with float32 weights, drawn in place of being read from a file, and a forward pass in ``dtype``.

    Args:
        shape: of the model.
        device: of the pass.
        dtype: key of :data:`DTYPES`.
    """
    for plugin in PLUGINS:
        importlib.import_module(plugin)
    import verl.workers.engine  # noqa: F401 - registers the engines
    from transformers import AutoModelForCausalLM
    from verl.trainer.config import CheckpointConfig
    from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
    from verl.workers.engine import EngineRegistry

    def random_weights(*_: Any, config: Any, torch_dtype: torch.dtype, **__: Any) -> Any:
        torch.manual_seed(0)
        with device:  # a GPU draws in a second what takes the host a minute
            model = AutoModelForCausalLM.from_config(config, dtype=torch_dtype)
        # verl builds the model of every rank but the first without weights
        return model if model.device.type == "meta" else model.cpu()

    with tempfile.TemporaryDirectory() as folder:
        shape.config().save_pretrained(Path(folder))
        model_config = HFModelConfig(
            path=folder,
            load_tokenizer=False,
            use_remove_padding=True,
            override_config={"attn_implementation": attention(device)},
            enable_gradient_checkpointing=False,
        )
        engine_config = FSDPEngineConfig(
            strategy="fsdp2",
            model_dtype="fp32",
            mixed_precision={"param_dtype": DTYPES[dtype], "reduce_dtype": "fp32", "buffer_dtype": "fp32"},
            use_torch_compile=False,
        )
        engine = EngineRegistry.get_engine_cls("language_model", "fsdp2")(
            model_config=model_config,
            engine_config=engine_config,
            optimizer_config=FSDPOptimizerConfig(lr=1e-6, total_training_steps=1),
            checkpoint_config=CheckpointConfig(),
        )
        with mock.patch.object(AutoModelForCausalLM, "from_pretrained", random_weights), redirect_stdout(sys.stderr):
            engine.initialize()
    return engine
