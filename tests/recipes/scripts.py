"""Running the scripts in ``recipes/`` with a stand-in for Python, which tells what it would have been called with."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from verl_nthr.integration.config.composition import compose_run

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "recipes"
SHARED = {"common", "single_gpu"}
RECIPES = sorted(path.stem for path in FOLDER.glob("*.sh") if path.stem not in SHARED)
MEGATRON = [name for name in RECIPES if name.endswith("_megatron")]
FSDP = [name for name in RECIPES if name not in MEGATRON]

STAND_IN = """#!/usr/bin/env bash
{ printf '%s\\t' "$@"; echo; } >>"$CALLS"
"""


def run(*command: str | Path, limit: float = 120, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script with no other variables than these, ``PATH`` and ``HOME``."""
    return subprocess.run(
        ["bash", *map(str, command)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/home/somebody"} | variables,
        capture_output=True,
        text=True,
        timeout=limit,
    )


def stand_in(folder: Path, name: str = "python", text: str = STAND_IN) -> Path:
    """An executable; by default it writes its arguments, with tabs between them, to the file that ``CALLS`` names."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


class Recipes:
    """Recipes whose Python is a stand-in."""

    def __init__(self, folder: Path) -> None:
        self._python = stand_in(folder)
        self._calls = folder / "calls"
        self._known: dict[object, list[str]] = {}

    def calls(self, name: str, *arguments: str, **knobs: str) -> list[list[str]]:
        """What Python is called with, call by call; the script has to succeed."""
        self._calls.write_text("", encoding="utf-8")
        done = run(FOLDER / f"{name}.sh", *arguments, PYTHON=str(self._python), CALLS=str(self._calls), **knobs)
        assert done.returncode == 0, done.stderr
        return [line.split("\t")[:-1] for line in self._calls.read_text(encoding="utf-8").splitlines()]

    def overrides(self, name: str, *arguments: str, **knobs: str) -> list[str]:
        """The overrides of verl's configuration that a recipe makes; each script runs once."""
        key = (name, arguments, tuple(sorted(knobs.items())))
        if key not in self._known:
            ((*module, first), *others) = [
                (*call[:2], call[2:]) for call in self.calls(name, *arguments, DRY_RUN="1", **knobs)
            ]
            assert (module, others) == (["-m", "verl_nthr.recipes.check"], [])
            self._known[key] = first
        return list(self._known[key])

    def settings(self, name: str, *arguments: str, **knobs: str) -> dict[str, str]:
        """The overrides, by key."""
        return dict(override.split("=", 1) for override in self.overrides(name, *arguments, **knobs))

    def config(self, name: str, *arguments: str, **knobs: str) -> DictConfig:
        """verl's configuration with the recipe's overrides."""
        return composed(tuple(self.overrides(name, *arguments, **knobs)))


@cache
def composed(overrides: tuple[str, ...]) -> DictConfig:
    """verl's configuration; do not change it."""
    return compose_run(overrides)


def differences(first: DictConfig, second: DictConfig) -> set[str]:
    """The keys in which two configurations differ."""
    left, right = (_flat(OmegaConf.to_container(config, resolve=True)) for config in (first, second))
    return {key for key in left.keys() | right.keys() if left.get(key, ...) != right.get(key, ...)}


def _flat(node: object, path: str = "") -> dict[str, object]:
    if not isinstance(node, dict):
        return {path: node}
    return {
        key: leaf for name, child in node.items() for key, leaf in _flat(child, f"{path}.{name}".lstrip(".")).items()
    }
