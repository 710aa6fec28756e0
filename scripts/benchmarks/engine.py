"""verl's own FSDP2 engine around a random model of a true shape, in one process."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from transformers import Qwen2Config

DTYPES = {"float32": "fp32", "bfloat16": "bf16"}
"""verl's names for the dtypes of a pass."""

PLUGINS = ("verl_nthr.cpu.plugin", "verl_nthr.integration.plugin")
"""Loaded by verl itself where the package is installed."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a Qwen2 model."""

    hidden: int
    """D, size of a hidden state."""

    intermediate: int
    """Inner size of the MLPs."""

    layers: int
    heads: int
    key_value_heads: int

    tied: bool
    """The output layer is the embedding."""

    vocabulary: int = 151936
    """V, rows of the output layer."""

    positions: int = 32768
    """Longest sequence."""

    def config(self) -> Qwen2Config:
        """Configuration of a model of this shape."""
        from transformers import Qwen2Config

        return Qwen2Config(
            architectures=["Qwen2ForCausalLM"],
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_value_heads,
            vocab_size=self.vocabulary,
            max_position_embeddings=self.positions,
            tie_word_embeddings=self.tied,
            rms_norm_eps=1e-6,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        )


SHAPES = {
    "tiny": Shape(64, 128, 2, 4, 2, tied=True, vocabulary=512, positions=1024),
    "qwen2.5-0.5b": Shape(896, 4864, 24, 14, 2, tied=True),
    "qwen2.5-1.5b": Shape(1536, 8960, 28, 12, 2, tied=True),
    "qwen2.5-3b": Shape(2048, 11008, 36, 16, 2, tied=True),
    "qwen2.5-7b": Shape(3584, 18944, 28, 28, 4, tied=False, vocabulary=152064),
}
"""A shape for tests, and those of Qwen2.5 from the models' own ``config.json``."""


@contextmanager
def one_process(device: str) -> Iterator[None]:
    """A process group of this process alone; on the CPU with verl's platform for it."""
    if device == "cpu":
        os.environ["VERL_PLATFORM"] = "cpu"
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    with tempfile.TemporaryDirectory() as folder:
        backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, init_method=f"file://{folder}/rendezvous", rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()


def attention(device: str) -> str:
    """verl's default where it is installed, else torch's own."""
    flash = device == "cuda" and importlib.util.find_spec("flash_attn") is not None
    return "flash_attention_2" if flash else "sdpa"


def build_engine(shape: Shape, device: str, dtype: str) -> Any:
    """verl's FSDP2 engine with random float32 weights and a forward pass in ``dtype``, a key of :data:`DTYPES`."""
    for plugin in PLUGINS:
        importlib.import_module(plugin)
    import verl.workers.engine  # noqa: F401 - registers the engines
    from transformers import AutoModelForCausalLM
    from verl.trainer.config import CheckpointConfig
    from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
    from verl.workers.engine import EngineRegistry

    def random_weights(*_: Any, config: Any, torch_dtype: torch.dtype, **__: Any) -> Any:
        torch.manual_seed(0)
        with torch.device(device):  # a GPU draws in a second what takes the host a minute
            return AutoModelForCausalLM.from_config(config, dtype=torch_dtype).cpu()

    with tempfile.TemporaryDirectory() as folder:
        shape.config().save_pretrained(Path(folder))
        engine = EngineRegistry.get_engine_cls("language_model", "fsdp2")(
            model_config=HFModelConfig(
                path=folder,
                load_tokenizer=False,
                use_remove_padding=True,
                override_config={"attn_implementation": attention(device)},
                enable_gradient_checkpointing=False,
            ),
            engine_config=FSDPEngineConfig(
                strategy="fsdp2",
                model_dtype="fp32",
                mixed_precision={"param_dtype": DTYPES[dtype], "reduce_dtype": "fp32", "buffer_dtype": "fp32"},
                use_torch_compile=False,
            ),
            optimizer_config=FSDPOptimizerConfig(lr=1e-6, total_training_steps=1),
            checkpoint_config=CheckpointConfig(),
        )
        with mock.patch.object(AutoModelForCausalLM, "from_pretrained", random_weights), redirect_stdout(sys.stderr):
            engine.initialize()
    return engine
