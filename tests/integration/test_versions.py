"""Another verl is refused, other packages out of range are warned of, and both leave other runs alone."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest

from tests.integration.test_options import stock
from verl_nthr.integration.config import versions
from verl_nthr.integration.config.loss_options import POLICY_LOSS
from verl_nthr.integration.config.nodes import NTHRConfigError
from verl_nthr.integration.config.validation import OWN_CLASS, check_run

LLDS = ["algorithm.adv_estimator=grpo", f"{POLICY_LOSS}._target_={OWN_CLASS}", f"+{POLICY_LOSS}.llds_coef=0.1"]


def install(monkeypatch: pytest.MonkeyPatch, **found: str | None) -> None:
    """Pretend that these versions are installed; megatron_core stands for megatron-core."""
    named = {name.replace("_", "-"): version for name, version in found.items()}
    monkeypatch.setattr(versions, "installed_version", lambda package: named.get(package))


@pytest.mark.parametrize("overrides", [[], LLDS, ["algorithm.adv_estimator=grpo", "+algorithm.lld_monitor.freq=1"]])
@pytest.mark.parametrize(
    ("installed", "named"),
    [("0.8.2", r"verl 0\.8\.2"), ("0.10.0.dev0", r"verl 0\.10"), ("0.10", r"verl 0\.10"), (None, "unknown version")],
)
def test_another_verl_is_refused(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], installed: str | None, named: str
) -> None:
    install(monkeypatch, verl=installed)
    with pytest.raises(NTHRConfigError, match=rf"{named}.*verl>=0\.9,<0\.10"):
        check_run(stock(*overrides))


def test_other_runs_are_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, verl="0.8.2", torch="1.13", transformers="4.50")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(stock("algorithm.adv_estimator=grpo"))


FITTING = {
    "verl": "0.9.1",
    "torch": "2.13.0+cpu",
    "transformers": "5.10.4",
    "vllm": "0.27.1",
    "megatron_core": "0.16.1",
}


@pytest.mark.parametrize("overrides", [[], LLDS])
def test_nothing_is_said_of_versions_that_fit(monkeypatch: pytest.MonkeyPatch, overrides: list[str]) -> None:
    install(monkeypatch, **FITTING)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(stock(*overrides))


@pytest.mark.parametrize(
    ("package", "installed", "overrides", "is_used"),
    [
        ("torch", "2.5.1", [], True),
        ("torch", "3.0", LLDS, True),
        ("transformers", "5.6.0", [], True),
        ("transformers", "4.57.1", [], True),
        ("vllm", "0.28.0", ["actor_rollout_ref.rollout.name=vllm"], True),
        ("vllm", "0.28.0", ["actor_rollout_ref.rollout.name=sglang"], False),
        ("vllm", None, ["actor_rollout_ref.rollout.name=vllm"], False),
        ("megatron_core", "0.17.0", [], False),
        ("megatron_core", "0.17.0", ["model_engine=megatron"], True),
    ],
)
def test_what_a_run_uses_out_of_range_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, package: str, installed: str | None, overrides: list[str], is_used: bool
) -> None:
    install(monkeypatch, **FITTING | {package: installed})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_run(stock(*overrides))
    said = [str(each.message) for each in caught if "is tested" in str(each.message)]
    assert len(said) == is_used
    assert all(text.startswith(f"{package.replace('_', '-')} {installed} ") for text in said)


def test_in_another_verl_nothing_is_overridden_and_the_run_is_refused() -> None:
    code = (
        f"OVERRIDES = {LLDS}"
        + """
import importlib.metadata as metadata, logging
version = metadata.version
metadata.version = lambda name: "0.10.0" if name == "verl" else version(name)
logging.basicConfig(level="WARNING")
import verl
from verl_nthr.integration.plugin import status
from verl.utils.config import validate_config
from hydra import compose, initialize_config_module
print(sorted(name.partition(":")[0] for name, in_place in status().items() if in_place))
with initialize_config_module("verl.trainer.config", version_base=None):
    config = compose("ppo_trainer", OVERRIDES)
try:
    validate_config(config, use_reference_policy=False, use_critic=False)
except Exception as error:
    print(type(error).__name__, error)
"""
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VERL_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=240
    )
    assert "['verl.trainer.ppo.core_algos.ADV_ESTIMATOR_REGISTRY', 'verl.utils.config.validate_config']" in done.stdout
    assert "NTHRConfigError" in done.stdout
    assert "verl 0.10.0 is installed" in done.stdout
    said = "verl==0.10.0 is installed, and NTHR is for verl>=0.9,<0.10: runs that ask for it are refused"
    assert done.stderr.count(said) == 1
