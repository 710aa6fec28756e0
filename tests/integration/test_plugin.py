"""What verl loads: light, complete, and harmless where it does not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys


def run(code: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VERL_")} | variables
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=240
    )
    return answer.stdout.strip().splitlines()[-1] + answer.stderr * ("warning" in code)


STATUS = "import json, verl; from verl_nthr.integration.plugin import status; print(json.dumps(status()))"


def test_everything_is_in_place_after_import_verl() -> None:
    status = json.loads(run(STATUS))
    assert all(status.values())
    assert any(name.startswith("verl.workers.engine.base.BaseEngine.infer_batch: ") for name in status)


def test_loading_the_plugin_imports_neither_trainer_nor_engines_nor_vllm() -> None:
    code = 'import sys, verl; print([m for m in sys.modules if m.startswith(("verl.trainer.ppo", "verl.workers"))])'
    stock = run(code, VERL_USE_EXTERNAL_PLUGINS="none")
    assert run(code, VERL_USE_EXTERNAL_PLUGINS="nthr") == stock
    assert run('import sys, verl; print("vllm" in sys.modules)', VERL_USE_EXTERNAL_PLUGINS="nthr") == "False"


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
