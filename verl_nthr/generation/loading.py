"""Loads the model and tokenizer that MODEL names, without running code that comes with them, and shows progress."""

from __future__ import annotations

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from verl_nthr.errors import InputError


def load_tokenizer(model: str) -> PreTrainedTokenizerBase:
    """The model's tokenizer.

    Raises:
        InputError: there is none.
    """
    try:
        return AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except Exception as error:
        # a damaged file may raise anything: tokenizers and safetensors have no errors of their own for it
        raise InputError(f"no tokenizer can be loaded from MODEL={model}: {error}") from error


def load_model(model: str, dtype: str) -> PreTrainedModel:
    """The causal language model, on the GPU if there is one.

    Raises:
        InputError: there is none, or its files lack weights, such as those of the LM head.
    """
    disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        loaded, info = AutoModelForCausalLM.from_pretrained(
            model, dtype=getattr(torch, dtype), output_loading_info=True, trust_remote_code=False
        )
    except Exception as error:
        raise InputError(f"MODEL={model} cannot be loaded as a causal language model: {error}") from error
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:5])
        raise InputError(f"MODEL={model} lacks weights ({missing}); a causal language model has an LM head")
    return loaded.to(device)


def progress_bar(console: Console) -> Progress:
    """A bar for each task: its description, how many of how many, time spent and time left."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)
