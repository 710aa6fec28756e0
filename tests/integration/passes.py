"""Old-log-prob passes of verl's real FSDP engine on the CPU platform, in processes of their own."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tests.integration import varlen_attention

if TYPE_CHECKING:
    from verl_nthr.integration.groups import Groups
    from verl_nthr.integration.request import ScoringRequest

TEMPERATURE = 0.7


@dataclass(frozen=True)
class Rows:
    """A batch of B rows: prompts and responses as lists of ids, and who belongs to which group."""

    prompts: list[list[int]]
    responses: list[list[int]]
    masks: list[list[int]]
    group: list[int]
    """Prompt group of each row, −1 for a padding row."""
    correct: list[bool]

    def __hash__(self) -> int:
        return hash(repr(self))

    def in_play(self) -> list[bool]:
        """Rows of groups with correct and wrong answers."""
        kinds = {x: {c for y, c in zip(self.group, self.correct, strict=True) if x == y} for x in set(self.group)}
        return [x >= 0 and len(kinds[x]) == 2 for x in self.group]


def make_rows(seed: int, vocab_size: int) -> Rows:
    """Twelve rows: two mixed groups, one all correct, one all wrong, a padding row; ragged, with masked-out tokens."""
    rng = torch.Generator().manual_seed(seed)

    def ids(low: int, high: int) -> list[int]:
        length = int(torch.randint(low, high, (1,), generator=rng))
        return torch.randint(4, vocab_size, (length,), generator=rng).tolist()

    group = [0, 1, 2, 0, 3, 1, 0, -1, 2, 1, 3, 0]
    correct = [True, False, True, False, False, True, False, False, True, False, False, True]
    prompt_of_group = [ids(2, 9) for _ in range(4)]
    responses = [ids(2, 12) for _ in group]
    responses[3] = responses[3][:1]  # a single token
    masks = [[1] * len(response) for response in responses]
    masks[6][len(masks[6]) // 2] = 0  # an observation in the middle
    masks[7] = [0] * len(masks[7])
    masks[9][-1] = 0
    return Rows([prompt_of_group[x] if x >= 0 else [4] for x in group], responses, masks, group, correct)


@dataclass(frozen=True)
class Case:
    """One way to run the pass."""

    strategy: str
    packed: bool
    dynamic: bool
    tied: bool = False
    dtype: str = "fp32"
    vocabulary: str = "response"
    anchor_includes_self: bool = True
    ulysses: int = 1
    """Ranks that share the tokens of a sequence."""
    fused: bool = False
    adapter: str = ""
    """Folder of a LoRA adapter, one of :data:`tests.integration.models.ADAPTERS`."""
    padded_to: int = 0
    """Multiple to which a packed micro-batch is padded; 0 for none."""
    offload: bool = False
    beta: float = 0.03
    """Random models score the tokens of wrong answers far below the anchors: this selects about half of them."""
    vocabulary_multiple: int = 1
    """What the engine pads the vocabulary to a multiple of, with output rows of zeros."""

    @property
    def model(self) -> str:
        """Name of the model's folder; with an adapter, of the model that it has been merged into."""
        return f"merged-{self.adapter}" if self.adapter else self.base

    @property
    def base(self) -> str:
        """Name of the folder of the model without an adapter."""
        return "tied" if self.tied else "untied"


def build_engine(models: str, case: Case) -> Any:
    """verl's engine for a case; call with ``VERL_PLATFORM=cpu`` in an initialised process group."""
    import verl.workers.engine  # noqa: F401 - registers the engines
    from verl.trainer.config import CheckpointConfig
    from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
    from verl.workers.engine import EngineRegistry

    model_config = HFModelConfig(
        path=f"{models}/{case.base}",
        use_remove_padding=case.packed,
        override_config={"attn_implementation": varlen_attention.NAME if case.ulysses > 1 else "sdpa"},
        enable_gradient_checkpointing=False,
        use_fused_kernels=case.fused,
        fused_kernel_options={"impl_backend": "torch"},
        lora_rank=4 if case.adapter else 0,
        lora_adapter_path=f"{models}/{case.adapter}" if case.adapter else None,
    )
    engine_config = FSDPEngineConfig(
        strategy=case.strategy,
        model_dtype="fp32",
        mixed_precision={"param_dtype": case.dtype, "reduce_dtype": "fp32", "buffer_dtype": "fp32"},
        use_torch_compile=False,
        use_remove_padding=case.packed,
        ulysses_sequence_parallel_size=case.ulysses,
        pad_to_length=case.padded_to > 0,
        pad_to_length_bucket=case.padded_to or 1024,
        param_offload=case.offload,
    )
    if case.ulysses > 1:
        varlen_attention.install()
    engine = EngineRegistry.get_engine_cls("language_model", case.strategy)(
        model_config=model_config,
        engine_config=engine_config,
        optimizer_config=FSDPOptimizerConfig(lr=1e-3, total_training_steps=10, clip_grad=1.0),
        checkpoint_config=CheckpointConfig(),
    )
    engine.initialize()
    return engine


def make_data(rows: Rows, mine: list[int], case: Case, *, request: Any = None) -> Any:
    """The rows ``mine`` as a worker gets them."""
    from tensordict import TensorDict
    from verl.utils import tensordict_utils as tu

    from verl_nthr.integration.groups import group_responses
    from verl_nthr.integration.request import REQUEST, RESPONSE

    def jagged(values: list[list[int]]) -> Tensor:
        return torch.nested.as_nested_tensor([torch.tensor(v) for v in values], layout=torch.jagged)

    sequences = [rows.prompts[i] + rows.responses[i] for i in mine]
    masks = jagged([rows.masks[i] for i in mine])
    groups = group_responses(
        [f"uid{x}_{i}_0" for i, x in enumerate(rows.group)], [x < 0 for x in rows.group], rows.correct
    )
    data = TensorDict(
        {
            "input_ids": jagged(sequences),
            "position_ids": jagged([list(range(len(s))) for s in sequences]),
            "prompts": jagged([rows.prompts[i] for i in mine]),
            "responses": jagged([rows.responses[i] for i in mine]),
            "response_mask": masks,
            "loss_mask": masks,
            RESPONSE: groups.response[mine],
        },
        batch_size=[len(mine)],
    )
    tu.assign_non_tensor(
        data,
        temperature=TEMPERATURE,
        calculate_entropy=True,
        use_remove_padding=case.packed,
        use_fused_kernels=case.fused,
        use_dynamic_bsz=case.dynamic,
        max_token_len_per_gpu=48,
        micro_batch_size_per_gpu=2,
    )
    if request is not None:
        tu.assign_non_tensor_data(data, REQUEST, request(groups))
    return data


def request_of(case: Case) -> Callable[[Groups], ScoringRequest]:
    """What the trainer would ask for in a case, given the batch's groups."""
    from verl_nthr.integration.options import NTHROptions
    from verl_nthr.integration.request import ScoringRequest

    options = NTHROptions(beta=case.beta, vocabulary=case.vocabulary, anchor_includes_self=case.anchor_includes_self)
    return lambda groups: ScoringRequest(groups.group, groups.correct, groups.num_mixed, options)


def answers_of(mine: list[int], model_output: Any) -> dict[str, Any]:
    """The columns of a scored pass in plain numbers, row by row."""
    from verl_nthr.integration.request import SCORE, THRESHOLD, WEIGHT

    return {
        "mine": mine,
        "scores": [x.tolist() for x in model_output[SCORE].unbind()],
        "weights": [x.tolist() for x in model_output[WEIGHT].unbind()],
        "threshold": model_output[THRESHOLD].tolist(),
        "log_probs": [x.tolist() for x in model_output["log_probs"].unbind()],
    }


def run_scored(rank: int, models: str, rows: Rows, cases: list[Case]) -> list[dict[str, Any] | None]:
    """For every case the scored pass; None on a rank whose outputs verl does not collect."""
    os.environ["VERL_PLATFORM"] = "cpu"
    results = []
    for case in cases:
        engine = build_engine(models, case)
        mine = list(range(len(rows.group)))[engine.get_data_parallel_rank() :: engine.get_data_parallel_size()]
        with engine.eval_mode():
            output = engine.infer_batch(make_data(rows, mine, case, request=request_of(case)))
        collected = engine.is_mp_src_rank_with_outputs()
        results.append(answers_of(mine, output["model_output"]) if collected else None)
    return results


def run_pass(rank: int, models: str, rows: Rows, cases: list[Case]) -> list[dict[str, Any]]:
    """For every case: the pass without and with a request, and without a mixed group; every rank takes its rows."""
    os.environ["VERL_PLATFORM"] = "cpu"
    import torch.distributed as dist

    from verl_nthr.integration.request import SCORE, WEIGHT

    world_size = dist.get_world_size()
    mine = list(range(len(rows.group)))[rank::world_size]
    results = []
    for case in cases:
        engine = build_engine(models, case)
        forwards: list[int] = []
        layer = engine.module.get_output_embeddings()
        hooks = len(layer._forward_pre_hooks)
        engine.module.register_forward_hook(lambda *_, count=forwards: count.append(1))
        request = request_of(case)
        with engine.eval_mode():
            plain = engine.infer_batch(make_data(rows, mine, case))["model_output"]
        plain_forwards = len(forwards)
        with engine.eval_mode():
            scored = engine.infer_batch(make_data(rows, mine, case, request=request))["model_output"]
        scored_forwards = len(forwards) - plain_forwards
        no_mixed_group = dataclasses.replace(rows, correct=[False] * len(rows.correct))
        with engine.eval_mode():
            unscored = engine.infer_batch(make_data(no_mixed_group, mine, case, request=request))["model_output"]
        results.append(
            answers_of(mine, scored)
            | {
                "unscored": (
                    bool(unscored[SCORE].values().isnan().all()),
                    bool((unscored[WEIGHT].values() == 1).all()),
                ),
                "plain_keys": sorted(plain),
                "same_outputs": all(
                    torch.equal(plain[key].values(), scored[key].values()) for key in ("log_probs", "entropy")
                ),
                "forwards": (plain_forwards, scored_forwards),
                "left_behind": ("prepare_model_outputs" in vars(engine), len(layer._forward_pre_hooks) - hooks),
            }
        )
    return results
