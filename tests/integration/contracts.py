"""What this package takes for granted of verl's functions, read from verl's sources without importing them.

``python -m tests.integration.contracts [VERSION]`` downloads a version (the newest by default) and says what differs.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TRAINER = "verl/trainer/ppo/v1/trainer_base.py"
FSDP = "verl/workers/engine/fsdp/transformer_impl.py"
MEGATRON = "verl/workers/engine/megatron/transformer_impl.py"
AGENT_LOOP = "verl/experimental/agent_loop/agent_loop.py"


@dataclass(frozen=True)
class Contract:
    """One function of verl that is overridden, stood in for, or called."""

    file: str
    """Below the folder that verl is installed in."""

    name: str
    """Of the function, with its class."""

    whole: bool
    """Whether the body matters too, not the signature alone."""

    digests: tuple[str, ...]
    """Of what matters, without annotations, comments, docstring and layout; one for each form that is known to fit."""

    look_at: str
    """What to check in this package when it has changed."""


def code(root: Path, file: str, name: str, whole: bool) -> tuple[str, str] | None:
    """What matters of a function below ``root``: arguments, and with ``whole`` the body; None if it is not there."""
    path = root / file
    if not path.is_file():
        return None
    nodes: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    node: ast.stmt | None = None
    for part in name.split("."):
        kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        node = next((n for n in nodes if isinstance(n, kinds) and n.name == part), None)
        if node is None:
            return None
        nodes = node.body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for argument in ast.walk(node.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return ast.unparse(node.args), ast.unparse(ast.Module(body=body, type_ignores=[])) if whole else ""


def digest(root: Path, file: str, name: str, whole: bool) -> str | None:
    """The digest of :func:`code`."""
    found = code(root, file, name, whole)
    return None if found is None else hashlib.sha256("".join(found).encode()).hexdigest()[:12]


def differences(root: Path) -> Iterator[tuple[Contract, str]]:
    """The contracts that the verl below ``root`` does not keep, and how."""
    for contract in CONTRACTS:
        found = digest(root, contract.file, contract.name, contract.whole)
        if found is None:
            places = ", ".join(sorted(elsewhere(root, contract.name)))
            yield contract, f"is gone; one of that name is in {places}" if places else "is gone"
        elif found not in contract.digests:
            yield contract, f"has changed ({found}, not {' or '.join(contract.digests)})"


def elsewhere(root: Path, name: str) -> Iterator[str]:
    """The files below ``root`` that hold a function of that name, with its class."""
    for path in (root / "verl").rglob("*.py"):
        file = path.relative_to(root).as_posix()
        if f"def {name.split('.')[-1]}(" in path.read_text(encoding="utf-8") and code(root, file, name, False):
            yield file


def describe(root: Path, known: Path | None = None) -> str:
    """One paragraph for each difference, with what changed since a verl below ``known``; empty if there is none."""
    paragraphs = []
    for contract, how in differences(root):
        lines = [f"{contract.file}: {contract.name} {how}.", f"    {contract.look_at}"]
        if known is not None:
            before, after = (code(each, contract.file, contract.name, contract.whole) for each in (known, root))
            if before is not None and after is not None:
                old, new = ("\n".join(each).splitlines() for each in (before, after))
                lines += [f"    {line}" for line in list(difflib.unified_diff(old, new, lineterm="", n=1))[2:]]
        paragraphs.append("\n".join(lines))
    return "\n".join(paragraphs)


def installed() -> Path:
    """The folder that verl is installed in."""
    spec = importlib.util.find_spec("verl")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]).parent


CONTRACTS: tuple[Contract, ...] = (
    Contract(
        "verl/utils/config.py",
        "validate_config",
        False,
        ("828961ede61f",),
        "integration/validation.py wraps it: main_ppo must call it with the whole configuration before Ray starts.",
    ),
    Contract(
        TRAINER,
        "PPOTrainer._compute_old_log_prob",
        True,
        ("130d29cec801",),
        "integration/trainer.py wraps it: extra info must reach infer_batch in the workers.",
    ),
    Contract(
        TRAINER,
        "PPOTrainer._compute_advantage",
        True,
        ("5ee57ffa2f0d",),
        "integration/trainer.py wraps it: it must call compute_advantage_for_multi_trajectories by its global name, "
        "adv_estimator by keyword, with old_log_probs in the batch.",
    ),
    Contract(
        TRAINER,
        "PPOTrainer._step_once",
        True,
        ("40a39bbe387a",),
        "integration/driver/lld_monitor.py wraps it: the actor's update must be its last act.",
    ),
    Contract(
        TRAINER,
        "PPOTrainer._build_replay_buffer",
        True,
        ("b7872225169e",),
        "integration/driver/group_filter.py wraps it: it returns verl's own buffer, unless there is a custom sampler.",
    ),
    Contract(
        "verl/trainer/ppo/v1/replay_buffer.py",
        "ReplayBuffer._dapo_filtered_keys",
        True,
        ("a88df43d1d50", "629bbcb4e046"),
        "integration/driver/group_filter.py replaces it: groups to drop and their counts; the cache holds metrics.",
    ),
    Contract(
        TRAINER,
        "PPOTrainer._update_actor",
        True,
        ("fe500ca76179",),
        "integration/loss_terms/driver.py wraps it: extra info must reach train_batch, and the workers' metrics ours.",
    ),
    Contract(
        TRAINER,
        "PPOTrainer.step",
        True,
        ("a06755c8cc73", "1bd1082c9b7b"),
        "integration/trainer.py: `local_trigger_step` counts the updates of a step, whose dumps are one file.",
    ),
    Contract(
        "verl/trainer/ppo/v1/trainer_separate_async.py",
        "PPOTrainerSeparateAsync._compute_old_log_prob",
        True,
        ("79668214f301",),
        "integration/trainer.py: the base's, which it wraps, must run while the old policy's weights are in place.",
    ),
    Contract(
        "verl/utils/fsdp_utils.py",
        "fsdp2_sharded_save_to_cpu",
        True,
        ("fefaeb783815",),
        "integration/checks.py refuses weights on the host, cpu/training.py copies: drop both where it returns copies.",
    ),
    Contract(
        "verl/trainer/ppo/v1/utils.py",
        "compute_advantage_for_multi_trajectories",
        True,
        ("9f495311f330",),
        "integration/trainer.py stands in, base_advantage.py calls it: for grpo it calls compute_advantage by its "
        "global name, with the last output of every session.",
    ),
    Contract(
        "verl/trainer/ppo/ray_trainer.py",
        "compute_advantage",
        True,
        ("c58023d181c1",),
        "integration/base_advantage.py stands in: adv_estimator by keyword, advantages and returns in its batch.",
    ),
    Contract(
        "verl/trainer/ppo/core_algos.py",
        "register_adv_est",
        False,
        ("bafc9757e83b",),
        "integration/estimators.py enters our names with it.",
    ),
    Contract(
        "verl/trainer/ppo/core_algos.py",
        "get_adv_estimator_fn",
        False,
        ("bafc9757e83b",),
        "integration/functions.py looks estimators up with it.",
    ),
    Contract(
        "verl/trainer/ppo/core_algos.py",
        "compute_grpo_outcome_advantage",
        True,
        ("4523b19d272b",),
        "the base advantage: README and docs describe this one.",
    ),
    Contract(
        "verl/trainer/ppo/core_algos.py",
        "compute_policy_loss_vanilla",
        False,
        ("688e1e0695ff",),
        "integration/functions.py calls it.",
    ),
    Contract(
        "verl/workers/engine/base.py",
        "BaseEngine.infer_batch",
        True,
        ("cf21efc98069",),
        "integration/worker.py wraps it: `data` first, and `model_output` in what it returns.",
    ),
    Contract(
        "verl/workers/engine/base.py",
        "BaseEngine.train_batch",
        True,
        ("6a8f11929664",),
        "integration/loss_terms/worker.py wraps it: one mini-batch; `loss_function` gets micro-batches by keywords.",
    ),
    Contract(
        "verl/workers/engine_workers.py",
        "TrainingWorker.train_mini_batch",
        True,
        ("a252184a7cdc", "1f58047e7ca7"),
        "integration/loss_terms/worker.py: mini-batches carry the extra info of the batch, and metrics are aggregated.",
    ),
    Contract(
        "verl/workers/utils/losses.py",
        "ppo_loss",
        True,
        ("ecb5718eba29",),
        "integration/loss_terms/worker.py scales and reports its terms as this loss does its own.",
    ),
    Contract(
        FSDP,
        "FSDPEngine.forward_backward_batch",
        True,
        ("f8779d1cd5f9", "c57e5ec5fc2d"),
        "integration/loss_terms/worker.py: micro-batches hold `dp_size`; gradients add up, ranks are averaged.",
    ),
    Contract(
        MEGATRON,
        "MegatronEngine.forward_backward_batch",
        True,
        ("487715d8388e", "3ee6dd5227f7"),
        "as FSDPEngine.forward_backward_batch.",
    ),
    Contract(
        MEGATRON,
        "MegatronEngineWithLMHead.postprocess_micro_batch_func",
        True,
        ("69b1175f2a97", "50b99ca5aec1"),
        "integration/loss_terms/worker.py: it undoes the schedule's division by the number of micro-batches.",
    ),
    Contract(
        "verl/workers/utils/padding.py",
        "no_padding_2_padding",
        True,
        ("d2a89244db05",),
        "integration/loss_terms/worker.py cuts log-probs with it.",
    ),
    Contract(
        "verl/workers/utils/padding.py",
        "response_from_nested",
        True,
        ("a95306370b74",),
        "integration/driver/lld_monitor.py cuts log-probs with it.",
    ),
    Contract(
        "verl/trainer/ppo/v1/agent_loop_tq.py",
        "AgentLoopWorkerTQ._run_prompt",
        True,
        ("131d4a2d533c",),
        "integration/igrpo/agent_loop.py: a prompt's sessions run in one event loop, and all start before one ends.",
    ),
    Contract(
        AGENT_LOOP,
        "AgentLoopWorker._compute_score",
        True,
        ("d08e1a2ac3d7",),
        "integration/igrpo/agent_loop.py sends a draft to a reward worker as this sends a response.",
    ),
    Contract(
        AGENT_LOOP,
        "AgentLoopBase._cap_text_prompt_length",
        True,
        ("b7698ee5df71",),
        "integration/igrpo/agent_loop.py overrides it: prompts that are too long pass through it.",
    ),
    Contract(
        "verl/experimental/agent_loop/single_turn_agent_loop.py",
        "SingleTurnAgentLoop.run",
        False,
        ("d816c651458c",),
        "integration/igrpo/agent_loop.py calls it with another `raw_prompt`.",
    ),
    Contract(
        "verl/single_controller/ray/base.py",
        "RayWorkerGroup.workers",
        True,
        ("d2eb50107668",),
        "integration/worker/preflight.py asks these Ray actors before the first step.",
    ),
    Contract(
        "verl/single_controller/ray/base.py",
        "create_colocated_worker_cls",
        True,
        ("eea59afc7b50",),
        "integration/worker/preflight.py looks for the actor among a colocated worker's `worker_dict`.",
    ),
    Contract(
        "verl/experimental/reward_loop/reward_loop.py",
        "RewardLoopManager._init_reward_loop_workers",
        True,
        ("925c82fe6ab6",),
        "integration/igrpo/agent_loop.py finds the reward workers by their names.",
    ),
    Contract(
        FSDP,
        "FSDPEngine.get_data_parallel_group",
        True,
        ("bb34179da5fc",),
        "integration/fsdp.py: the ranks that hold other tokens; all ranks without Ulysses.",
    ),
    Contract(
        FSDP,
        "FSDPEngine._gather_and_unpad_packed",
        True,
        ("a28103e9297f",),
        "integration/fsdp.py: padding is a suffix of the packed sequence, cut into equal parts by Ulysses.",
    ),
    Contract(
        FSDP,
        "FSDPEngineWithLMHead.prepare_model_inputs",
        True,
        ("7321210b38da", "405081190ad1"),
        "integration/fsdp.py stands in: packed or padded layout, `pad_size` among the output arguments.",
    ),
    Contract(
        FSDP,
        "FSDPEngineWithLMHead.prepare_model_outputs",
        True,
        ("61ee21968381", "92f0fde2fd08"),
        "integration/fsdp.py stands in: `output.logits` before the temperature, `log_probs` of all positions.",
    ),
    Contract(
        "verl/models/transformers/dense_common.py",
        "forward_with_torch_backend",
        True,
        ("5863d9d4bd8b", "c299dcf87dfc"),
        "integration/fsdp.py hooks `self.model`, whose first output must be what the fused kernel takes.",
    ),
    Contract(
        "verl/models/transformers/dense_common.py",
        "forward_with_triton_backend",
        True,
        ("da31fa9feabd",),
        "as forward_with_torch_backend.",
    ),
    Contract(
        MEGATRON,
        "MegatronEngineWithLMHead.prepare_model_inputs",
        True,
        ("0cd7235782c9",),
        "integration/megatron.py stands in: called once a micro-batch, before its forward.",
    ),
    Contract(
        MEGATRON,
        "MegatronEngineWithLMHead.prepare_model_outputs",
        True,
        ("10e3ae462c2f",),
        "integration/megatron.py stands in: `log_probs` of all positions, after the forward.",
    ),
    Contract(
        "verl/models/mcore/util.py",
        "preprocess_thd_engine",
        True,
        ("8facad3ae40a", "bc0baebdbf41"),
        "integration/megatron.py lays out the numbers of positions with it.",
    ),
    Contract(
        "verl/models/mcore/util.py",
        "preprocess_bshd_engine",
        True,
        ("db9f49a40f77",),
        "as preprocess_thd_engine.",
    ),
)
"""As in verl 0.9.0 and 0.9.1."""


def main() -> int:
    """Compare a version of verl from the package index; 1 if a contract is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?", metavar="VERSION", help="of verl, as 0.9.1 (default: the newest)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wanted = "verl" if args.version is None else f"verl=={args.version}"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--pre", "--dest", folder, wanted]
        subprocess.run(pip, check=True)
        (wheel,) = Path(folder).glob("verl-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        text = describe(Path(folder), installed())
        print(f"{wheel.name}: " + (f"what is known is on lines with -\n{text}" if text else "every contract is kept"))
    return 1 if text else 0


if __name__ == "__main__":
    sys.exit(main())
