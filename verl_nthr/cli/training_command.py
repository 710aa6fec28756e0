"""A training command as people have it: the overrides alone, or pasted whole."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

MODULE = "verl.trainer.main_ppo"
VERLS_CONFIG = ("config", "ppo_trainer")
"""``--config-path`` and ``--config-name`` of ``verl.trainer.main_ppo`` where a command gives none."""


@dataclass(frozen=True)
class TrainingCommand:
    """Arguments of ``python -m verl.trainer.main_ppo``."""

    overrides: tuple[str, ...]
    """hydra's overrides, in their order."""

    config_path: str
    """``--config-path``."""

    config_name: str
    """``--config-name``."""

    json: bool = False
    """True if the doctor's own ``--json`` stands among them."""


def read_command(words: Sequence[str]) -> TrainingCommand:
    """Read what follows ``verl-nthr doctor --config``; argparse exits with 2 for flags that it does not know.

    Args:
        words: as a shell splits them, or one string, which is split as a shell does, environment variables included.
            What stands before the module's name, and from a pipe or redirection on, is left out.
    """
    if len(words) == 1:
        words = shlex.split(os.path.expandvars(words[0].replace("\\\n", " ")))
    end = next((i for i, word in enumerate(words) if re.fullmatch(r"[|;&]+|\d*[<>].*|&>.*", word)), len(words))
    words = [word for word in words[:end] if word not in ("$@", "$*")]
    if MODULE in words:
        words = words[words.index(MODULE) + 1 :]
    path, name = VERLS_CONFIG
    parser = argparse.ArgumentParser(prog="verl-nthr doctor --config", add_help=False, allow_abbrev=False)
    parser.add_argument("--config-path", "-cp", default=path)
    parser.add_argument("--config-name", "-cn", default=name)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_intermixed_args(words)
    return TrainingCommand(tuple(args.overrides), args.config_path, args.config_name, args.json)
