"""Runs of stock ``python -m verl.trainer.main_ppo`` whose actor is verl's Megatron engine, on the toy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from tests.integration.runs import actor, train
from tests.megatron.passes import PLAIN_TRANSFORMER
from tests.toy import ToyPaths, make_tokenizer, make_toy
from verl_nthr.cpu import overrides

ADAM_EPSILON = 1e-4
ENGINE = "actor_rollout_ref.actor.megatron"
SETTINGS = [
    "model_engine=megatron",
    f"{ENGINE}.vanilla_mbridge=True",
    *[f"+{ENGINE}.override_transformer_config.{name}={value}" for name, value in PLAIN_TRANSFORMER.items()],
    f"+actor_rollout_ref.actor.optim.override_optimizer_config.adam_eps={ADAM_EPSILON}",
    "actor_rollout_ref.model.use_remove_padding=True",
    "actor_rollout_ref.actor.checkpoint.save_contents=[hf_model]",
]


def make_divisible_toy(folder: Path) -> ToyPaths:
    """The toy with a model that two tensor-parallel ranks can share: an even vocabulary, two key-value heads."""
    toy = make_toy(folder)
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|spare|>"]})
    tokenizer.save_pretrained(toy.model)
    config = Qwen2Config.from_pretrained(toy.model)
    config.vocab_size, config.num_key_value_heads = len(tokenizer), 2
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(toy.model)
    return toy


def train_on_megatron(toy: ToyPaths, out: Path, settings: Sequence[str], *, steps: int) -> list[dict[str, float]]:
    """:func:`tests.integration.runs.train` with two workers; ``settings`` say how they share the model."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VERL_USE_EXTERNAL_MODULES", "tests.megatron.in_workers")
        environment.setenv("VERL_ENGINE_DEVICE", "cuda")  # verl registers its Megatron engines for it
        return train(toy, out, [*SETTINGS, *settings], workers=2, steps=steps, platform=without_fsdp)


def without_fsdp(workers: int, ray_dir: str) -> list[str]:
    """The CPU platform's settings but for those of FSDP engines and of the critic, whose keys Megatron's lack."""
    return [setting for setting in overrides(workers, ray_dir) if "fsdp" not in setting and "critic" not in setting]


def exported(out: Path, step: int) -> Path:
    """The actor after a step, as the engine exported it for Hugging Face."""
    return actor(out, step) / "model" / "huggingface"
