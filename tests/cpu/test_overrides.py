"""The overrides, against the configuration of the installed verl."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from tests.families import failures
from verl_nthr.cpu import environment, overrides


@pytest.fixture
def verl_config() -> Iterator[None]:
    GlobalHydra.instance().clear()
    with initialize_config_module("verl.trainer.config", version_base=None):
        yield


def composed(*extra: str, workers: int = 1, ray_dir: str = "/tmp/r") -> DictConfig:
    return compose("ppo_trainer", overrides=[*overrides(workers, ray_dir), *extra])


@pytest.mark.usefixtures("verl_config")
def test_they_compose_with_verls_own_configuration() -> None:
    workers = 5
    config = composed(workers=workers)
    assert (config.trainer.device, config.trainer.n_gpus_per_node) == ("cpu", workers)
    assert config.ray_kwargs.ray_init.num_gpus == workers
    actor = config.actor_rollout_ref
    for engine in (actor.actor.fsdp_config, actor.ref.fsdp_config, config.critic.fsdp):
        resolved = OmegaConf.to_container(engine, resolve=True)
        assert (resolved["strategy"], resolved["use_torch_compile"]) == ("fsdp2", False)
        assert resolved["mixed_precision"] == {"param_dtype": "fp32"}
    assert actor.ref.strategy == actor.actor.strategy == config.critic.strategy == "fsdp2"
    assert (actor.rollout.name, actor.rollout.dtype, actor.rollout.enforce_eager) == ("vllm", "float32", True)


@pytest.mark.usefixtures("verl_config")
def test_separate_rollouts_have_a_trainer_a_transport_and_devices() -> None:
    config = compose("ppo_trainer", overrides=overrides(2, "/tmp/r", separate_rollouts=3))
    rollout = config.actor_rollout_ref.rollout
    assert config.trainer.v1.trainer_mode == "separate_async"
    assert (rollout.nnodes, rollout.n_gpus_per_node, rollout.checkpoint_engine.backend) == (1, 3, "gloo")
    assert config.ray_kwargs.ray_init.num_gpus == 5


@pytest.mark.usefixtures("verl_config")
def test_a_later_override_wins() -> None:
    config = composed("actor_rollout_ref.model.use_remove_padding=True", "actor_rollout_ref.actor.strategy=fsdp")
    assert config.actor_rollout_ref.model.use_remove_padding is True
    assert config.actor_rollout_ref.actor.strategy == "fsdp"


@pytest.mark.usefixtures("verl_config")
def test_they_contain_no_settings_of_the_task() -> None:
    stock, ours = compose("ppo_trainer"), composed()
    for key in (
        "data.train_batch_size",
        "data.max_response_length",
        "algorithm.adv_estimator",
        "actor_rollout_ref.rollout.n",
        "actor_rollout_ref.actor.optim.lr",
        "actor_rollout_ref.actor.use_kl_loss",
        "trainer.total_training_steps",
    ):
        assert OmegaConf.select(ours, key) == OmegaConf.select(stock, key), key


@pytest.mark.usefixtures("verl_config")
def test_any_folder_name_survives_hydra() -> None:
    def check(name: str) -> None:
        assert composed(ray_dir=f"/tmp/{name}").ray_kwargs.ray_init._temp_dir == f"/tmp/{name}"

    assert failures(check, ["a b", "it's", "x,y", "k=v", "p{q}", "back\\slash", "end\\", "\\'x"]) == []


def test_relative_folders_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir("/tmp")
    assert any(item.endswith("_temp_dir='/tmp/rays'") for item in overrides(1, "rays"))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="workers must be at least 1"):
        overrides(0, "/tmp/r")
    with pytest.raises(ValueError, match="separate_rollouts must be at least 0"):
        overrides(1, "/tmp/r", separate_rollouts=-1)
    with pytest.raises(ValueError, match="too long"):
        overrides(1, "/tmp/" + "x" * 60)


def test_the_environment_is_text_and_chooses_the_platform() -> None:
    values = environment()
    assert values["VERL_PLATFORM"] == "cpu"
    assert all(isinstance(value, str) and value for value in values.values())
    assert int(values["OMP_NUM_THREADS"]) >= 1
