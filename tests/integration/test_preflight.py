"""A worker that cannot do its part says so before the first step: no plugin there, or another one in the way."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.integration.colocated_workers import ColocatedWorker, worker_with
from tests.integration.runs import nthr, train
from tests.integration.test_options import stock
from tests.toy import make_toy
from verl_nthr.integration import plugin
from verl_nthr.integration.worker import preflight
from verl_nthr.integration.worker.preflight import WorkerReport, check_workers, inspect_worker, needed_methods


def engine_class(name: str = "FSDPEngineWithLMHead", module: str = __name__, **methods: Any) -> type:
    """A class derived from verl's FSDP engine, as another package would have it; without methods verl's own."""
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

    return type(name, (FSDPEngineWithLMHead,), {"__module__": module, **methods}) if methods else FSDPEngineWithLMHead


BOTH = ["infer_batch", "train_batch"]


def test_verls_engine_with_the_plugin_is_in_order() -> None:
    assert inspect_worker(worker_with(engine_class()), BOTH) == WorkerReport(None)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            "none",
            "runs without verl-nthr's plugin: VERL_USE_EXTERNAL_PLUGINS=none in its environment does not let verl",
        ),
        ("other, third", "VERL_USE_EXTERNAL_PLUGINS=other, third in its environment does not let verl load it; unset"),
        ("auto", "not installed"),
        ("nthr", "not installed"),
    ],
)
def test_a_worker_without_the_plugin_says_why(policy: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERL_USE_EXTERNAL_PLUGINS", policy)
    monkeypatch.delitem(sys.modules, preflight.PLUGIN)
    monkeypatch.setattr(preflight.importlib, "import_module", lambda name: plugin)
    problem = inspect_worker(worker_with(engine_class()), BOTH).problem
    assert problem is not None
    assert message in problem


def test_the_error_of_a_plugin_that_verl_hides_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError("no module named wrapt")

    monkeypatch.delenv("VERL_USE_EXTERNAL_PLUGINS", raising=False)
    monkeypatch.delitem(sys.modules, preflight.PLUGIN)
    monkeypatch.setattr(preflight.importlib, "import_module", broken)
    problem = inspect_worker(worker_with(engine_class()), BOTH).problem
    assert problem is not None
    assert "verl could not load it (ImportError: no module named wrapt); repair that environment" in problem


def test_another_packages_function_in_the_place_of_ours_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    from verl.workers.engine.base import BaseEngine

    def other(engine: Any, data: Any) -> None: ...

    monkeypatch.setattr(BaseEngine, "infer_batch", other)
    (said,) = inspect_worker(worker_with(engine_class()), BOTH).warnings
    assert said.startswith(f"infer_batch of its engine is {__name__}.")
    assert "another package's, which has to call what it replaced" in said
    other.__wrapped__ = None
    monkeypatch.undo()
    other.__wrapped__ = vars(BaseEngine)["infer_batch"]
    monkeypatch.setattr(BaseEngine, "infer_batch", other)
    assert inspect_worker(worker_with(engine_class()), BOTH) == WorkerReport(None)


def test_verls_own_function_in_the_place_of_ours_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from verl.workers.engine.base import BaseEngine

    monkeypatch.setattr(BaseEngine, "train_batch", vars(BaseEngine)["train_batch"].__wrapped__)
    problem = inspect_worker(worker_with(engine_class()), BOTH).problem
    assert problem is not None
    assert "verl.workers.engine.base.BaseEngine.train_batch" in problem
    assert inspect_worker(worker_with(engine_class()), ["infer_batch"]) == WorkerReport(None)


def test_an_engine_of_another_package_that_overrides_the_pass_is_warned_of() -> None:
    kind = engine_class("Faster", prepare_model_outputs=lambda engine: None, forward_step=lambda engine: None)
    (said,) = inspect_worker(worker_with(kind), BOTH).warnings
    assert said.startswith(
        f"{__name__}.Faster, another package's engine, overrides prepare_model_outputs, forward_step,"
    )


def test_an_engine_of_another_package_that_overrides_something_else_is_not() -> None:
    assert inspect_worker(
        worker_with(engine_class("Logged", save_checkpoint=lambda engine: None)), BOTH
    ) == WorkerReport(None)


def test_another_engine_is_an_error_whatever_its_name() -> None:
    kind = type("FSDPEngineWithLMHead", (engine_class().__mro__[-2],), {"__module__": "elsewhere"})
    problem = inspect_worker(worker_with(kind), BOTH).problem
    assert problem is not None
    assert (
        "cannot be scored: NTHR covers verl's FSDP and Megatron engines, not elsewhere.FSDPEngineWithLMHead" in problem
    )


@pytest.mark.parametrize(
    ("overrides", "methods"),
    [
        ([], ["infer_batch"]),
        (["algorithm.adv_estimator=psr"], []),
        (["algorithm.adv_estimator=grpo"], []),
        (["algorithm.adv_estimator=grpo", "+actor_rollout_ref.actor.policy_loss.llds_coef=0.1"], ["train_batch"]),
        (["+actor_rollout_ref.actor.policy_loss.llds_coef=0.1"], BOTH),
    ],
)
def test_only_what_a_run_needs_is_looked_at(overrides: list[str], methods: list[str]) -> None:
    trainer: Any = SimpleNamespace(config=stock(*overrides))
    assert needed_methods(trainer) == methods


class Handle:
    """Stands for a Ray actor: what it is asked is answered at once."""

    def __init__(self, answer: WorkerReport | Exception) -> None:
        self.__ray_call__ = SimpleNamespace(remote=lambda function, methods: answer)


def test_the_driver_names_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def get(answer: WorkerReport | Exception, timeout: float) -> WorkerReport:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ray, "get", get)
    with pytest.warns(UserWarning, match="worker 1: something"):
        check_workers([Handle(WorkerReport(None)), Handle(WorkerReport(None, ("something",)))], BOTH)
    with pytest.raises(RuntimeError, match=r"worker 1 runs without it\. `verl-nthr doctor` shows what is loaded"):
        check_workers([Handle(WorkerReport(None)), Handle(WorkerReport("runs without it"))], BOTH)
    absent = ray.exceptions.RaySystemError("No module named 'verl_nthr'")
    with pytest.warns(
        UserWarning, match=r"worker 0: it could not be asked .*No module named 'verl_nthr'.*; if the first"
    ):
        check_workers([Handle(absent), Handle(WorkerReport(None))], BOTH)


def test_a_worker_of_another_build_is_not_refused_on_a_guess() -> None:
    (said,) = inspect_worker(SimpleNamespace(), BOTH).warnings
    assert "engine" in said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_real_actors_are_asked() -> None:
    import ray

    with tempfile.TemporaryDirectory(prefix="vn", ignore_cleanup_errors=True) as folder:
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, _temp_dir=folder
        )
        try:
            actor = ray.remote(ColocatedWorker)
            without = {"env_vars": {"VERL_USE_EXTERNAL_PLUGINS": "none"}}
            workers = [actor.remote(), actor.options(runtime_env=without).remote()]
            check_workers(workers[:1], BOTH)
            with pytest.raises(
                RuntimeError, match=r"worker 1 runs without verl-nthr's plugin: VERL_USE_EXTERNAL_PLUGINS"
            ):
                check_workers(workers, BOTH)
        finally:
            ray.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("module", "messages"),
    [
        (
            "workers_without_plugin",
            [
                "worker 0 runs without verl-nthr's plugin: VERL_USE_EXTERNAL_PLUGINS=nthr_cpu_platform in its "
                "environment does not let verl load it; unset that there, or add nthr to it",
            ],
        ),
        (
            "workers_with_another_plugin",
            [
                "infer_batch of its engine is tests.integration.workers_with_another_plugin.infer_batch, another",
                "the workers returned no nthr_score, nthr_anchor, nthr_seconds",
            ],
        ),
    ],
)
def test_a_stock_run_whose_workers_cannot_score_ends_with_the_reason(
    module: str, messages: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERL_USE_EXTERNAL_MODULES", f"tests.integration.{module}")
    toy = make_toy(tmp_path / "toy")
    with pytest.raises(AssertionError):
        train(toy, tmp_path, nthr(tmp_path), steps=1)
    log = (tmp_path / "train.log").read_text(encoding="utf-8")
    for message in messages:
        assert message in log
