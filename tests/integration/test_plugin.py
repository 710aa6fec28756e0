"""What verl loads: light, complete, and harmless where it does not fit."""

from __future__ import annotations

import os
import subprocess
import sys


def run(code: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VERL_")} | variables
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=240
    )
    return answer.stdout.strip().splitlines()[-1] + answer.stderr * ("warning" in code)


def test_loading_the_plugin_imports_neither_trainer_nor_engines_nor_vllm() -> None:
    heavy = ("verl.trainer.ppo", "verl.workers", "vllm")
    code = f"import sys, verl; print([m for m in sys.modules if m.startswith({heavy})])"
    with_plugin, stock = (run(code, VERL_USE_EXTERNAL_PLUGINS=plugins) for plugins in ("nthr", "none"))
    assert with_plugin == stock
    assert "vllm" not in stock


def test_a_verl_without_the_overridden_method_still_runs_other_estimators() -> None:
    """A stand-in for a later verl: the method is gone when our hook looks for it."""
    code = """
import logging, wrapt
logging.basicConfig(level="WARNING")  # the warning goes to stderr
trainer_module = "verl.trainer.ppo.v1.trainer_base"
wrapt.register_post_import_hook(lambda module: delattr(module.PPOTrainer, "_compute_advantage"), trainer_module)
import verl
from verl.trainer.ppo.v1 import trainer_base
from verl.trainer.ppo.core_algos import get_adv_estimator_fn
try:
    get_adv_estimator_fn("nthr")()
except RuntimeError as error:
    print("refused:", type(trainer_base.compute_advantage_for_multi_trajectories).__name__, error)
"""
    answer = run(code)
    assert "refused: function algorithm.adv_estimator=nthr reached verl's estimator registry" in answer
    assert "NTHR does not fit the installed verl" in answer
