"""Where the weights of a Hugging Face model are in a checkpoint of verl, and how to get them where they are not.

In ``global_step_N/actor``, the FSDP engine writes ``model_world_size_*.pt``, the Megatron engine ``model/dist_ckpt``.
A whole model beside the shards is in ``huggingface`` (FSDP) or ``model/huggingface`` (Megatron).
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from verl_nthr.errors import InputError
from verl_nthr.json_lines import parse_line

MERGED = "merged"
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def weight_files(folder: Path) -> list[Path]:
    """The weights of a Hugging Face model in a folder; empty if there are none, or no configuration."""
    if not (folder / "config.json").is_file():
        return []
    return sorted(file for pattern in WEIGHTS for file in folder.glob(pattern))


def find_model(path: str) -> str:
    """The folder of a Hugging Face model that ``path`` means, or ``path`` itself where it is a name on the hub.

    Args:
        path: a model's folder, one of verl's ``global_step_N`` (or the ``actor`` in it) that holds a whole model or was
            merged by ``scripts/merge_checkpoint.py``, or a name on the hub.

    Raises:
        InputError: there is no such folder, it holds shards that are not merged, or it holds no model.
    """
    folder = Path(path)
    if not folder.is_dir():
        if HUB_NAME.fullmatch(path) and not folder.parent.is_dir():
            return path
        raise InputError(
            f"MODEL: {path} is not a folder; pass the folder of a Hugging Face model, a checkpoint of verl, or "
            "a name on the hub, ORGANISATION/NAME"
        )
    actor = actor_folder(folder)
    step = actor.parent if actor.name == "actor" else actor
    whole = (folder, step / MERGED, actor / "huggingface", actor / "model" / "huggingface")
    found = next((each for each in whole if weight_files(each)), None)
    if found is not None:
        return str(found)
    if backend(actor) is not None:
        command = shlex.join(merge_command(actor, step / MERGED))
        raise InputError(f"MODEL: {path} is a checkpoint of verl whose shards are not merged; run: {command}")
    raise InputError(f"MODEL: {path} holds neither a Hugging Face model (config.json and weights) nor verl's shards")


def actor_folder(folder: Path) -> Path:
    """The folder that has the actor's shards: ``folder`` itself, or the ``actor`` in it."""
    return folder / "actor" if (folder / "actor").is_dir() else folder


def backend(actor: Path) -> str | None:
    """``fsdp`` or ``megatron``, whichever wrote the shards in ``actor``; None if there are none."""
    if list(actor.glob("model_world_size_*_rank_*.pt")):
        return "fsdp"
    return "megatron" if (actor / "model" / "dist_ckpt").is_dir() else None


def merge_command(actor: Path, target: Path) -> list[str]:
    """The command of verl's own merger that makes a Hugging Face model, in bfloat16, of the shards in ``actor``.

    Raises:
        InputError: there are no shards.
    """
    kind = backend(actor)
    if kind is None:
        raise InputError(
            f"{actor} holds no shards: neither model_world_size_*_rank_*.pt (FSDP) nor model/dist_ckpt (Megatron); "
            "pass a global_step_N folder of verl"
        )
    command = [sys.executable, "-m", "verl.model_merger", "merge", "--backend", kind]
    if kind == "megatron" and _ties_embeddings(actor / "model" / "huggingface" / "config.json"):
        command.append("--tie-word-embedding")
    return [*command, "--local_dir", str(actor), "--target_dir", str(target)]


def _ties_embeddings(config: Path) -> bool:
    return config.is_file() and bool(parse_line(config.read_bytes(), str(config)).get("tie_word_embeddings"))
