"""One fixed batch, the ways to run an old-log-prob pass over it, and its answers in plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from verl_nthr.integration.driver.groups import Groups
    from verl_nthr.integration.protocol import ScoringRequest

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
    """Of the parameters that the forward computes with."""
    stored_dtype: str = "fp32"
    """Of the parameters that the optimizer updates."""
    vocabulary: str = "response"
    anchor_includes_self: bool = True
    length_normalised: bool = False
    """Whether correct responses count by their means over tokens, as for THR."""
    ulysses: int = 1
    """Ranks that share the tokens of a sequence."""
    fused: bool = False
    fused_backend: str = "torch"
    """What computes log-probs with fused kernels: "torch" or "triton"."""
    adapter: str = ""
    """Folder of a LoRA adapter, one of :data:`tests.integration.models.ADAPTERS`."""
    padded_to: int = 0
    """Multiple to which a packed micro-batch is padded; 0 for none."""
    micro_batch_size: int = 2
    """Rows of a micro-batch, if the batch is static."""
    offload: bool = False
    """Whether parameters and optimizer states wait on the host between passes."""
    offload_policy: bool = False
    """Whether fsdp2 keeps the parameters on the host and brings them layer by layer."""
    checkpointing: bool = False
    """Of activations, as for the backward pass of training."""
    activation_offload: bool = False
    device: str = "cpu"
    attention: str = "sdpa"
    """How Hugging Face names it; Ulysses on the CPU has its own."""
    feature_device: str = "auto"
    """Where hidden states are kept during the pass."""
    vocabulary_multiple: int = 1
    """What the engine pads the vocabulary to a multiple of, with output rows of zeros."""

    def __str__(self) -> str:
        changes = (f"{x.name}={getattr(self, x.name)}" for x in fields(self)[1:] if getattr(self, x.name) != x.default)
        return ", ".join([self.strategy, *changes])

    @property
    def model(self) -> str:
        """Name of the model's folder; with an adapter, of the model that it has been merged into."""
        return f"merged-{self.adapter}" if self.adapter else self.base

    @property
    def base(self) -> str:
        """Name of the folder of the model without an adapter."""
        return "tied" if self.tied else "untied"


def make_data(rows: Rows, mine: list[int], case: Case, *, request: Any = None) -> Any:
    """The rows ``mine`` as a worker gets them."""
    from tensordict import TensorDict
    from verl.utils import tensordict_utils as tu

    from verl_nthr.integration.driver.groups import group_responses
    from verl_nthr.integration.protocol import REQUEST, RESPONSE

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
        micro_batch_size_per_gpu=case.micro_batch_size,
    )
    if request is not None:
        tu.assign_non_tensor_data(data, REQUEST, request(groups))
    return data


def request_of(case: Case) -> Callable[[Groups], ScoringRequest]:
    """What the trainer would ask for in a case, given the batch's groups."""
    from verl_nthr.integration.protocol import ScoringRequest

    return lambda groups: ScoringRequest(
        groups.group,
        groups.correct,
        groups.num_mixed,
        case.vocabulary,
        case.anchor_includes_self,
        case.length_normalised,
        case.feature_device,
    )


def answers_of(mine: list[int], model_output: Any) -> dict[str, Any]:
    """The columns of a scored pass in plain numbers, row by row."""
    from verl_nthr.integration.protocol import ANCHOR, SCORE

    return {
        "mine": mine,
        "scores": [x.tolist() for x in model_output[SCORE].unbind()],
        "anchors": model_output[ANCHOR].tolist(),
        "log_probs": [x.tolist() for x in model_output["log_probs"].unbind()],
    }
