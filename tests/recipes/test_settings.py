"""The recipes have the settings of the papers, and verl accepts them."""

from __future__ import annotations

import copy
import re

from omegaconf import OmegaConf

from tests.families import failures
from tests.recipes.scripts import FSDP, MEGATRON, RECIPES, ROOT, Recipes, differences
from verl_nthr.errors import InputError
from verl_nthr.recipes.check import check

PAPER = {
    "qwen2_5_0_5b_instruct": ("Qwen/Qwen2.5-0.5B-Instruct", "math", 32, 16, 5e-7, 2500, 105, 1.0, 1.0),
    "qwen2_5_1_5b_instruct": ("Qwen/Qwen2.5-1.5B-Instruct", "math", 256, 64, 1e-6, 4000, 40, 1.0, 1.0),
    "qwen2_5_math_1_5b": ("Qwen/Qwen2.5-Math-1.5B", "math", 256, 64, 1e-6, 3072, 40, 1.0, 1.0),
    "qwen2_5_math_1_5b_deepscaler": ("Qwen/Qwen2.5-Math-1.5B", "deepscaler", 256, 64, 1e-6, 3072, 45, 1.0, 1.0),
    "qwen2_5_3b": ("Qwen/Qwen2.5-3B", "math", 256, 64, 1e-6, 4000, 40, 1.0, 1.0),
    "llama3_2_1b_instruct": ("meta-llama/Llama-3.2-1B-Instruct", "math", 256, 64, 1e-6, 4000, 40, 1.0, 1.0),
    "deepseek_r1_distill_qwen_1_5b": (
        *("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "math", 256, 64, 1e-6, 4000, 35),
        *(0.6, 0.0),
    ),
}
"""By recipe: model, data, batch, mini-batch, learning rate, response tokens, steps, temperature, β."""

TEMPLATES = {
    "qwen2_5_0_5b_instruct": "qwen2.5-instruct",
    "qwen2_5_1_5b_instruct": "qwen2.5-instruct",
    "qwen2_5_math_1_5b": "qwen2.5-math",
    "qwen2_5_math_1_5b_deepscaler": "qwen2.5-math",
    "qwen2_5_3b": "qwen2.5-math",
    "llama3_2_1b_instruct": "llama-3.2",
    "deepseek_r1_distill_qwen_1_5b": "deepseek-r1-distill",
}

COMMON = {
    "algorithm.adv_estimator": "nthr",
    "algorithm.norm_adv_by_std_in_grpo": True,
    "algorithm.use_kl_in_reward": False,
    "algorithm.filter_groups.enable": True,
    "algorithm.filter_groups.metric": "reward",
    "algorithm.nthr.eta": "balanced",
    "actor_rollout_ref.rollout.name": "vllm",
    "actor_rollout_ref.rollout.n": 8,
    "actor_rollout_ref.rollout.top_p": 1.0,
    "actor_rollout_ref.rollout.val_kwargs.do_sample": False,
    "actor_rollout_ref.rollout.val_kwargs.temperature": 0,
    "actor_rollout_ref.rollout.val_kwargs.n": 1,
    "actor_rollout_ref.actor.strategy": "fsdp2",
    "actor_rollout_ref.actor.clip_ratio_low": 0.2,
    "actor_rollout_ref.actor.clip_ratio_high": 0.2,
    "actor_rollout_ref.actor.use_kl_loss": True,
    "actor_rollout_ref.actor.kl_loss_coef": 1e-4,
    "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
    "actor_rollout_ref.actor.entropy_coeff": 0,
    "actor_rollout_ref.actor.ppo_epochs": 1,
    "actor_rollout_ref.model.use_remove_padding": True,
}
EVALUATION = ["aime24", "amc23", "math500", "minerva", "olympiadbench"]


def test_a_recipe_of_the_paper_has_its_settings(recipes: Recipes) -> None:
    def check_recipe(name: str) -> None:
        model, data, batch, mini_batch, rate, response, steps, temperature, beta = PAPER[name]
        folder = f"/home/somebody/data/{TEMPLATES[name]}"
        expected = COMMON | {
            "actor_rollout_ref.model.path": model,
            "data.train_files": f"{folder}/{data}/train.parquet",
            "data.val_files": [f"{folder}/evaluation/{each}/test.parquet" for each in EVALUATION],
            "data.train_batch_size": batch,
            "actor_rollout_ref.actor.ppo_mini_batch_size": mini_batch,
            "actor_rollout_ref.actor.optim.lr": rate,
            "data.max_response_length": response,
            "trainer.total_training_steps": steps,
            "actor_rollout_ref.rollout.temperature": temperature,
            "algorithm.nthr.beta": beta,
        }
        config = recipes.config(name)
        assert {key: OmegaConf.select(config, key) for key in expected} == expected

    assert failures(check_recipe, PAPER, (InputError,)) == []


def test_the_context_of_qwen2_5_math_is_not_exceeded(recipes: Recipes) -> None:
    for name in ("qwen2_5_math_1_5b", "qwen2_5_math_1_5b_deepscaler", "ngrpo_qwen2_5_math_7b"):
        assert recipes.config(name).actor_rollout_ref.rollout.max_model_len == 4096


def test_ngrpo_has_the_settings_of_its_paper(recipes: Recipes) -> None:
    config = recipes.config("ngrpo_qwen2_5_math_7b")
    expected = {
        "algorithm.adv_estimator": "ngrpo",
        "algorithm.filter_groups.enable": True,
        "algorithm.filter_groups.drop": "all_correct",
        "actor_rollout_ref.model.path": "Qwen/Qwen2.5-Math-7B",
        "data.train_batch_size": 1024,
        "actor_rollout_ref.actor.ppo_mini_batch_size": 256,
        "actor_rollout_ref.rollout.n": 8,
        "actor_rollout_ref.actor.optim.lr": 1e-6,
        "actor_rollout_ref.actor.use_kl_loss": False,
        "actor_rollout_ref.actor.clip_ratio_low": 0.16,
        "actor_rollout_ref.actor.clip_ratio_high": 0.24,
        "actor_rollout_ref.actor.clip_ratio_c": 1e9,
    }
    assert {key: OmegaConf.select(config, key) for key in expected} == expected


def test_thr_differs_from_nthr_in_its_own_settings_alone(recipes: Recipes) -> None:
    nthr = recipes.config("qwen2_5_math_1_5b", EXPERIMENT_NAME="same")
    for direction, rho in (("exploitation", 0.1), ("exploration", -0.1)):
        config = recipes.config(f"thr_{direction}_qwen2_5_math_1_5b", EXPERIMENT_NAME="same")
        assert (config.algorithm.adv_estimator, config.algorithm.thr.rho) == ("thr", rho)
        assert differences(config, nthr) - {"algorithm.thr.rho"} == {"algorithm.adv_estimator"}


def test_the_estimator_changes_nothing_but_itself(recipes: Recipes) -> None:
    def check_recipe(name: str) -> None:
        nthr, grpo = (recipes.settings(name, ESTIMATOR=each) for each in ("nthr", "grpo"))
        assert {key for key in nthr.keys() | grpo.keys() if nthr.get(key) != grpo.get(key)} == {
            *("algorithm.adv_estimator", "trainer.experiment_name"),
        }
        assert grpo["trainer.experiment_name"] == f"'{name}_grpo'"

    assert failures(check_recipe, RECIPES, (InputError,)) == []


def test_the_estimator_changes_nothing_but_itself_in_the_whole_configuration(recipes: Recipes) -> None:
    for name in ("qwen2_5_0_5b_instruct", "qwen3_30b_a3b_megatron"):
        nthr, grpo = (recipes.config(name, ESTIMATOR=each, EXPERIMENT_NAME="same") for each in ("nthr", "grpo"))
        assert differences(nthr, grpo) == {"algorithm.adv_estimator"}


def test_verl_accepts_a_recipe_without_a_warning(recipes: Recipes) -> None:
    def check_recipe(name: str) -> None:
        assert check(copy.deepcopy(recipes.config(name))) == []

    assert failures(check_recipe, RECIPES, (InputError,)) == []


def test_one_gpu_changes_no_setting_of_the_method(recipes: Recipes) -> None:
    def check_recipe(name: str) -> None:
        one, paper = recipes.settings("single_gpu", name), recipes.settings(name)
        assert (one["trainer.nnodes"], one["trainer.n_gpus_per_node"]) == ("1", "1")
        changed = {key for key in one.keys() | paper.keys() if one.get(key) != paper.get(key)}
        assert {key.rpartition(".")[2] for key in changed} == {
            *("n_gpus_per_node", "experiment_name", "param_offload", "optimizer_offload", "gpu_memory_utilization"),
            *("ppo_max_token_len_per_gpu", "log_prob_max_token_len_per_gpu"),
        }

    assert failures(check_recipe, FSDP, (InputError,)) == []


def test_verl_accepts_a_recipe_on_one_gpu(recipes: Recipes) -> None:
    assert check(copy.deepcopy(recipes.config("single_gpu", "qwen2_5_0_5b_instruct"))) == []


def test_megatron_cuts_the_reference_as_the_actor(recipes: Recipes) -> None:
    def check_recipe(name: str) -> None:
        config = recipes.config(name).actor_rollout_ref
        assert config.actor.strategy == config.ref.strategy == "megatron"
        sizes = [key for key in config.actor.megatron if key.endswith("_size")]
        assert len(sizes) >= 6
        assert {key: config.actor.megatron[key] for key in sizes} == {key: config.ref.megatron[key] for key in sizes}

    assert failures(check_recipe, MEGATRON, (InputError,)) == []


def test_megatron_3b_is_the_recipe_of_the_paper_on_another_engine(recipes: Recipes) -> None:
    mine, paper = (recipes.settings(name) for name in ("qwen2_5_3b_megatron", "qwen2_5_3b"))
    changed = {key for key in mine.keys() | paper.keys() if mine.get(key) != paper.get(key)}
    engine = {key for key in changed if ".megatron." in key or ".fsdp_config." in key}
    assert changed - engine == {
        *("model_engine", "actor_rollout_ref.actor.strategy"),
        *("trainer.n_gpus_per_node", "trainer.experiment_name"),
    }


def test_the_documentation_lists_every_recipe_with_its_settings(recipes: Recipes) -> None:
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8").split("\n## Knobs\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `")]
    listed = {match[1]: cells[1:] for cells in rows if (match := re.match(r"`(\w+)`", cells[0]))}
    assert listed.keys() == set(RECIPES)
    for name, (_, _, batch, mini_batch, rate, response, steps, _, _) in PAPER.items():
        template, batches, learning_rate, tokens, trained, gpus = listed[name][:6]
        assert template == f"`{TEMPLATES[name]}`"
        assert batches == f"{batch} / {mini_batch}"
        assert (float(learning_rate), int(tokens), int(trained.split()[0])) == (rate, response, steps)
        assert gpus == recipes.settings(name)["trainer.n_gpus_per_node"]
    for name in listed.keys() - PAPER.keys():
        settings = recipes.settings(name)
        assert listed[name][2] == f"{settings['trainer.nnodes']} × {settings['trainer.n_gpus_per_node']}"
        for size, key in (("TP", "tensor"), ("PP", "pipeline"), ("EP", "expert")):
            value = settings.get(f"actor_rollout_ref.actor.megatron.{key}_model_parallel_size", "1")
            assert (f"{size} {value}" in listed[name][1]) == (value != "1")
