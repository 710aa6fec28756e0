"""Every documented knob reaches verl's configuration, and a wrong value is refused with its name."""

from __future__ import annotations

import copy
import re

from omegaconf import OmegaConf

from tests.families import failures
from tests.recipes.scripts import FOLDER, ROOT, Recipes, run
from verl_nthr.recipes.check import check

ACTOR, ROLLOUT, REF = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "ref"))
MODEL = "actor_rollout_ref.model"

KNOBS: dict[str, tuple[str, dict[str, str]]] = {
    "MODEL_PATH": ("/models/a b", {f"{MODEL}.path": "'/models/a b'"}),
    "TRAIN_FILES": ("[a.parquet,b.parquet]", {"data.train_files": "[a.parquet,b.parquet]"}),
    "VAL_FILES": ("c.parquet", {"data.val_files": "c.parquet"}),
    "REWARD_PATH": ("reward.py", {"reward.custom_reward_function.path": "'reward.py'"}),
    "DATASET": ("gsm8k", {"data.train_files": "'/home/somebody/data/qwen2.5-math/gsm8k/train.parquet'"}),
    "BETA": ("-inf", {"algorithm.nthr.beta": "-inf"}),
    "ETA": ("1-p", {"algorithm.nthr.eta": "1-p"}),
    "RHO": ("-0.2", {"algorithm.thr.rho": "-0.2"}),
    "FILTER_GROUPS": ("all_correct", {"algorithm.filter_groups.drop": "all_correct"}),
    "MONITOR_FREQ": ("5", {"algorithm.lld_monitor.freq": "5"}),
    "TOKEN_DUMP_DIR": ("tokens", {"algorithm.nthr.token_dump_dir": "tokens"}),
    "TRAIN_BATCH_SIZE": ("128", {"data.train_batch_size": "128"}),
    "PPO_MINI_BATCH_SIZE": ("32", {f"{ACTOR}.ppo_mini_batch_size": "32"}),
    "MAX_PROMPT_LENGTH": ("512", {"data.max_prompt_length": "512", f"{ROLLOUT}.max_model_len": "3584"}),
    "MAX_RESPONSE_LENGTH": ("2048", {"data.max_response_length": "2048", f"{ROLLOUT}.max_model_len": "3072"}),
    "TOTAL_TRAINING_STEPS": ("200", {"trainer.total_training_steps": "200"}),
    "ACTOR_LR": ("2e-6", {f"{ACTOR}.optim.lr": "2e-6"}),
    "KL_LOSS_COEF": ("0", {f"{ACTOR}.kl_loss_coef": "0", f"{ACTOR}.use_kl_loss": "False"}),
    "CLIP_RATIO_LOW": ("0.16", {f"{ACTOR}.clip_ratio_low": "0.16"}),
    "CLIP_RATIO_HIGH": ("0.28", {f"{ACTOR}.clip_ratio_high": "0.28"}),
    "CLIP_RATIO_C": ("10", {f"{ACTOR}.clip_ratio_c": "10"}),
    "LOSS_AGG_MODE": ("seq-mean-token-mean", {f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean"}),
    "ROLLOUT_N": ("16", {f"{ROLLOUT}.n": "16"}),
    "ROLLOUT_TEMPERATURE": ("0.8", {f"{ROLLOUT}.temperature": "0.8"}),
    "SEED": (
        "7",
        dict.fromkeys(("data.seed", f"{ROLLOUT}.seed", f"{ACTOR}.data_loader_seed", f"{ACTOR}.fsdp_config.seed"), "7"),
    ),
    "STRATEGY": ("fsdp", {f"{ACTOR}.strategy": "fsdp"}),
    "NNODES": ("2", {"trainer.nnodes": "2"}),
    "NGPUS_PER_NODE": ("8", {"trainer.n_gpus_per_node": "8"}),
    "PPO_MAX_TOKEN_LEN_PER_GPU": (
        "8192",
        dict.fromkeys(
            (
                *(f"{ACTOR}.ppo_max_token_len_per_gpu", f"{ROLLOUT}.log_prob_max_token_len_per_gpu"),
                f"{REF}.log_prob_max_token_len_per_gpu",
            ),
            "8192",
        ),
    ),
    "LOG_PROB_MAX_TOKEN_LEN_PER_GPU": (
        "32768",
        dict.fromkeys((f"{part}.log_prob_max_token_len_per_gpu" for part in (ROLLOUT, REF)), "32768"),
    ),
    "OFFLOAD": (
        "True",
        dict.fromkeys((f"{ACTOR}.fsdp_config.{what}_offload" for what in ("param", "optimizer")), "True"),
    ),
    "FUSED_KERNELS": ("True", {f"{MODEL}.use_fused_kernels": "True"}),
    "SP_SIZE": (
        "2",
        dict.fromkeys((f"{part}.fsdp_config.ulysses_sequence_parallel_size" for part in (ACTOR, REF)), "2"),
    ),
    "ROLLOUT_TP": ("2", {f"{ROLLOUT}.tensor_model_parallel_size": "2"}),
    "ROLLOUT_GPU_MEM_UTIL": ("0.7", {f"{ROLLOUT}.gpu_memory_utilization": "0.7"}),
    "TEST_FREQ": ("-1", {"trainer.test_freq": "-1"}),
    "SAVE_FREQ": ("1", {"trainer.save_freq": "1"}),
    "LOGGER": ("[console,wandb]", {"trainer.logger": "[console,wandb]"}),
    "OUT_DIR": (
        "/shared/out",
        {
            "trainer.default_local_dir": "'/shared/out/${trainer.project_name}/${trainer.experiment_name}'",
            "+ray_kwargs.ray_init.runtime_env.env_vars.VERL_FILE_LOGGER_ROOT": "'/shared/out'",
        },
    ),
    "PROJECT_NAME": ("other", {"trainer.project_name": "'other'"}),
    "EXPERIMENT_NAME": ("first", {"trainer.experiment_name": "'first'"}),
}
"""By knob: another value, and what it sets on ``qwen2_5_math_1_5b``."""

MEGATRON_KNOBS = {
    "ACTOR_TP": ("4", "tensor_model_parallel_size"),
    "ACTOR_PP": ("2", "pipeline_model_parallel_size"),
    "ACTOR_VPP": ("2", "virtual_pipeline_model_parallel_size"),
    "ACTOR_CP": ("2", "context_parallel_size"),
    "ACTOR_EP": ("2", "expert_model_parallel_size"),
    "ACTOR_ETP": ("1", "expert_tensor_parallel_size"),
}
"""By knob: another value, and the setting of the Megatron engine that it is."""

OTHERS = {"DRY_RUN", "SMOKE", "PYTHON", "ESTIMATOR", "TEMPLATE", "DATA_DIR"}
"""Knobs with tests of their own."""


def changed(before: dict[str, str], after: dict[str, str]) -> dict[str, str | None]:
    return {key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def test_a_knob_sets_what_it_names_and_nothing_else(recipes: Recipes) -> None:
    name = "qwen2_5_math_1_5b"
    before = recipes.settings(name)

    def check_knob(knob: str) -> None:
        value, expected = KNOBS[knob]
        assert changed(before, recipes.settings(name, **{knob: value})) == expected

    assert failures(check_knob, KNOBS) == []


def test_knobs_of_megatron(recipes: Recipes) -> None:
    name, base = "qwen3_30b_a3b_megatron", {"ACTOR_ETP": "2", "ACTOR_EP": "1", "ACTOR_TP": "2"}

    def check_knob(knob: str) -> None:
        value, key = MEGATRON_KNOBS[knob]
        common = base | ({"ACTOR_PP": "2"} if knob == "ACTOR_VPP" else {})
        before, after = recipes.settings(name, **common), recipes.settings(name, **common | {knob: value})
        assert changed(before, after) == {f"{ACTOR}.megatron.{key}": value}

    assert failures(check_knob, MEGATRON_KNOBS) == []


def test_verl_accepts_all_knobs_together(recipes: Recipes) -> None:
    knobs = {knob: value for knob, (value, _) in KNOBS.items() if knob not in ("RHO", "NNODES")}
    config = recipes.config("qwen2_5_math_1_5b", **knobs)
    assert check(copy.deepcopy(config)) == []
    assert config.algorithm.nthr.beta == float("-inf")
    assert OmegaConf.select(config, f"{MODEL}.path") == "/models/a b"
    assert config.trainer.default_local_dir == "/shared/out/other/first"
    megatron = {knob: value for knob, (value, _) in MEGATRON_KNOBS.items()} | {"NNODES": "4"}
    config = recipes.config("qwen3_30b_a3b_megatron", **megatron)
    assert check(copy.deepcopy(config)) == []
    assert config.actor_rollout_ref.ref.megatron.virtual_pipeline_model_parallel_size == 2


def test_the_template_and_the_folder_choose_the_data(recipes: Recipes) -> None:
    settings = recipes.settings("qwen2_5_3b", TEMPLATE="llama-3.2")
    assert settings["data.train_files"] == "'/home/somebody/data/llama-3.2/math/train.parquet'"
    config = recipes.config("qwen2_5_3b", DATA_DIR="/data/with, comma")
    assert config.data.train_files == "/data/with, comma/math/train.parquet"
    assert config.data.val_files[1] == "/data/with, comma/evaluation/amc23/test.parquet"


def test_no_filter_of_groups(recipes: Recipes) -> None:
    without = recipes.settings("ngrpo_qwen2_5_math_7b", FILTER_GROUPS="none")
    assert without["algorithm.filter_groups.enable"] == "False"
    assert "algorithm.filter_groups.drop" not in without


def test_overrides_on_the_command_line_come_last(recipes: Recipes) -> None:
    overrides = recipes.overrides("qwen3_32b_megatron", "trainer.save_freq=3", "+data.extra=x y")
    assert overrides[-2:] == ["trainer.save_freq=3", "+data.extra=x y"]


REFUSED: list[tuple[str, dict[str, str], str]] = [
    ("qwen2_5_3b", {"TRAIN_BATCH_SIZE": "25o"}, "TRAIN_BATCH_SIZE=25o: use an integer from 1"),
    ("qwen2_5_3b", {"NGPUS_PER_NODE": "0"}, "NGPUS_PER_NODE=0: use an integer from 1"),
    ("qwen2_5_3b", {"ACTOR_LR": "1e-"}, "ACTOR_LR=1e-: use a number such as 1e-6"),
    ("qwen2_5_3b", {"OFFLOAD": "yes"}, "OFFLOAD=yes: use True or False"),
    ("qwen2_5_3b", {"STRATEGY": "fsdp3"}, "STRATEGY=fsdp3: use fsdp2, fsdp or megatron"),
    (
        "qwen2_5_3b",
        {"FILTER_GROUPS": "True"},
        "FILTER_GROUPS=True: use homogeneous, all_correct, all_wrong or none",
    ),
    ("qwen2_5_3b", {"TEST_FREQ": "0"}, "TEST_FREQ=0: use an integer from 1, or -1 for never"),
    ("qwen2_5_3b", {"PPO_MINI_BATCH_SIZE": "100"}, "PPO_MINI_BATCH_SIZE=100 does not divide TRAIN_BATCH_SIZE, 256"),
    ("qwen2_5_3b", {"ROLLOUT_TP": "3"}, "ROLLOUT_TP=3 does not divide the number of GPUs, 4"),
    ("qwen2_5_3b", {"NGPUS_PER_NODE": "3"}, "PPO_MINI_BATCH_SIZE=64 × ROLLOUT_N=8 does not split over 3"),
    (
        "qwen2_5_3b",
        {"MAX_RESPONSE_LENGTH": "20000"},
        "PPO_MAX_TOKEN_LEN_PER_GPU=16384: the longest sequence has 21024",
    ),
    ("qwen2_5_3b", {"ACTOR_TP": "2"}, "ACTOR_TP=2: it works only with STRATEGY=megatron"),
    ("qwen2_5_3b_megatron", {"SP_SIZE": "2"}, "SP_SIZE=2: it works only with STRATEGY=fsdp2"),
    ("qwen2_5_3b_megatron", {"ACTOR_TP": "3"}, "ACTOR_TP × ACTOR_PP × ACTOR_CP = 3 does not divide"),
    ("qwen3_30b_a3b_megatron", {"ACTOR_EP": "3"}, "ACTOR_ETP × ACTOR_EP × ACTOR_PP = 3 does not divide"),
    ("qwen2_5_3b_megatron", {"ACTOR_VPP": "2"}, "ACTOR_VPP=2: it needs ACTOR_PP of 2 or more"),
    ("qwen2_5_3b_megatron", {"SMOKE": "1", "DRY_RUN": "0"}, "SMOKE=1 is for FSDP recipes"),
    ("qwen2_5_3b", {"SMOKE": "1"}, "DRY_RUN=1 SMOKE=1: choose one of them"),
    ("qwen2_5_3b", {"SMOKE": "2"}, "SMOKE=2: use 0 or 1"),
]
"""Recipe, knobs, and how the message begins."""


def test_wrong_values_are_refused_by_name() -> None:
    def check_refusal(case: tuple[str, dict[str, str], str]) -> None:
        recipe, knobs, message = case
        done = run(FOLDER / f"{recipe}.sh", **{"DRY_RUN": "1", "PYTHON": "/no/python", **knobs})
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"{recipe}: {message}")
        assert len(done.stderr.splitlines()) == 1

    assert failures(check_refusal, REFUSED) == []


def test_the_documentation_names_every_knob_with_its_default() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8").split("\n## Knobs\n")[1].split("\n## ")[0]
    documented = dict(re.findall(r"^\| `([A-Z_]+)` \| `([^`]*)` \|", text, flags=re.MULTILINE))
    scripts = "".join(path.read_text(encoding="utf-8") for path in (FOLDER / "common").glob("*.sh"))
    defaults = dict(re.findall(r"^([A-Z_]+)=\$\{\1:-(.*)\}$", scripts, flags=re.MULTILINE))
    assert documented.keys() == {*KNOBS, *MEGATRON_KNOBS, *OTHERS}
    assert documented.keys() - {"MODEL_PATH"} == defaults.keys() - {"RECIPE"}
    plain = {name: value for name, value in defaults.items() if re.fullmatch(r"[\w.+-]+", value)}
    assert {name: documented[name] for name in plain} == plain
