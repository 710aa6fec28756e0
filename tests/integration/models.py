"""Small random models for passes of verl's engines, and LoRA adapters for them."""

from __future__ import annotations

from pathlib import Path

import torch

ADAPTERS = {"linear": ["q_proj", "down_proj"], "head": ["v_proj", "lm_head"]}


def make_model(folder: Path, *, tied: bool, layers: int = 2, hidden: int = 32) -> None:
    """A random model whose next-token distributions are far from uniform, with a bias-free output layer."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from tests.toy import make_tokenizer

    tokenizer = make_tokenizer()
    config = Qwen2Config(
        vocab_size=-(-len(tokenizer) // 4) * 4,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        initializer_range=0.3 * (32 / hidden) ** 0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(1)
    model = Qwen2ForCausalLM(config).float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.copy_(1 + 0.3 * torch.randn_like(parameter))
            if "bias" in name:
                parameter.copy_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_adapters(folder: Path) -> None:
    """Random LoRA adapters for the untied model, and the models that peft merges them into."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    for name, modules in ADAPTERS.items():
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_pretrained(folder / "untied", dtype=torch.float32)
        config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=modules, init_lora_weights=False)
        adapted = get_peft_model(model, config)
        adapted.save_pretrained(folder / name)
        adapted.merge_and_unload().save_pretrained(folder / f"merged-{name}")
