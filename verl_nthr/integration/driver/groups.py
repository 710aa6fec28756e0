"""Prompt groups of a batch: which rows belong to which group, and which are correct."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from verl_nthr.influence.selection import success_rates, thresholds
from verl_nthr.integration.config.options import REWARD_METRIC, NTHROptions
from verl_nthr.integration.driver.columns import read_columns, read_extra_info
from verl_nthr.integration.driver.sessions import read_sessions
from verl_nthr.text import quoted

if TYPE_CHECKING:
    from transfer_queue import KVBatchMeta


@dataclass(frozen=True)
class Groups:
    """The responses of a batch; axis B runs over rows, R over the responses of mixed groups, G over mixed groups.

    A response is a session: all outputs ``{uid}_{session}_{index}`` of a multi-output session share one entry.
    As in verl's GRPO, the session's last output has the reward, which decides correctness.

    Attributes:
        response: [B] int64, the row's response, −1 for rows of homogeneous groups and for padding rows.
        group: [R] int64, mixed group of each response.
        correct: [R] bool.
        success_rate: [B] float32, p of the row's group, nan for padding rows and in groups with a reward that is not
            finite, which are not mixed.
        row_correct: [B] bool, False for padding rows.
        row_group: [B] int64, the row's prompt group among all of them, homogeneous ones included; −1 for padding rows.
        num_mixed: G.
        num_values: different finite values of the metric that decides correctness.
        uids: of all prompt groups.
    """

    response: Tensor
    group: Tensor
    correct: Tensor
    success_rate: Tensor
    row_correct: Tensor
    row_group: Tensor
    num_mixed: int
    num_values: int
    uids: tuple[str, ...]

    @property
    def num_groups(self) -> int:
        """Prompt groups of the batch, homogeneous ones included."""
        return len(self.uids)

    def thresholds(self, row_anchor: Tensor, beta: float) -> Tensor:
        """[B] float32: τ of the row's group, nan if it is not mixed or has no anchor.

        Args:
            row_anchor: [B] float32, s̄⁺ of the row's response, nan where there is none.
            beta: β.
        """
        in_play = self.response >= 0
        anchors = row_anchor.new_full(self.group.shape, torch.nan)
        anchors[self.response[in_play]] = row_anchor[in_play]
        threshold = torch.full_like(row_anchor, torch.nan)
        threshold[in_play] = thresholds(anchors, self.group, self.num_mixed, beta)[self.group[self.response[in_play]]]
        return threshold

    def having(self, rows: Tensor) -> Tensor:
        """[num_groups] bool: the prompt groups that one of the ``rows`` [B] bool belongs to."""
        # the last entry stands for padding rows
        found = torch.zeros(self.num_groups + 1, dtype=torch.bool)
        found[self.row_group[rows]] = True
        return found[:-1]

    def rows_of(self, groups: Tensor) -> Tensor:
        """[B] bool: the rows of some prompt groups [num_groups] bool."""
        return torch.cat([groups, torch.tensor([False])])[self.row_group]


def group_responses(
    keys: Sequence[str], is_padding: Sequence[bool], values: Sequence[float], threshold: float = 0.5
) -> Groups:
    """Group rows by the uid of their keys.

    Args:
        keys: B TransferQueue keys.
        is_padding: B flags; such rows take no part.
        values: B values of the metric; that of a session's last output counts.
        threshold: a response is correct if its value is finite and at least this.

    Raises:
        ValueError: a key has another form than ``{uid}_{session}_{index}``.
    """
    sessions = read_sessions(keys, [not padding for padding in is_padding])
    uids = {uid: i for i, uid in enumerate(dict.fromkeys(sessions.uids))}
    group = torch.tensor([uids[uid] for uid in sessions.uids], dtype=torch.int64)
    value_S = [float(values[row]) for row in sessions.last_row]
    finite_S = torch.tensor([math.isfinite(value) for value in value_S], dtype=torch.bool)
    correct_S = torch.tensor([value >= threshold for value in value_S], dtype=torch.bool) & finite_S
    success_rate = success_rates(group, correct_S, len(uids))
    success_rate[group[~finite_S]] = torch.nan
    mixed = (success_rate > 0) & (success_rate < 1)
    index_of_mixed = torch.where(mixed, mixed.cumsum(0) - 1, -1)
    in_play = mixed[group]
    response_of_session = torch.where(in_play, in_play.cumsum(0) - 1, -1)

    # the last entry stands for padding rows
    row = torch.tensor(sessions.of_row)
    minus_one = torch.tensor([-1])
    return Groups(
        response=torch.cat([response_of_session, minus_one])[row],
        group=index_of_mixed[group][in_play],
        correct=correct_S[in_play],
        success_rate=torch.cat([success_rate[group], torch.tensor([torch.nan])])[row],
        row_correct=torch.cat([correct_S, torch.tensor([False])])[row],
        row_group=torch.cat([group, minus_one])[row],
        num_mixed=int(mixed.sum()),
        num_values=len({value for value in value_S if math.isfinite(value)}),
        uids=tuple(uids),
    )


def entry_values(metric: str, keys: Sequence[str], extra_infos: Sequence[Mapping[str, Any]]) -> list[float]:
    """Read the entry that decides correctness off B extra infos: numbers, flags, and arrays or tensors of one of these.

    Args:
        metric: name of the entry.
        keys: B TransferQueue keys, for messages.
        extra_infos: by row what the reward function returned beside the reward.

    Raises:
        KeyError: a row has no such entry.
        ValueError: it is something else than a number.
    """
    values = []
    for key, extra_info in zip(keys, extra_infos, strict=True):
        if metric not in extra_info:
            raise KeyError(
                f"algorithm.nthr.metric={metric}: the reward function returned no such entry for row {key}, but "
                f"{sorted(extra_info) or 'none'}; return it in the reward's dict, or use algorithm.nthr.metric=reward"
            )
        value = extra_info[metric]
        size = value.numel() if isinstance(value, Tensor) else getattr(value, "size", None)
        number = value.item() if size == 1 else value
        if not isinstance(number, Real):
            raise ValueError(
                f"algorithm.nthr.metric={metric}: the reward function returned {quoted(value)} for row {key}; return a "
                "number or a flag there for every response"
            )
        values.append(float(number))
    return values


def read_groups(batch: KVBatchMeta, options: NTHROptions) -> Groups:
    """Read the groups of a batch in TransferQueue; verl's unshaped scores or their extra info decide correctness."""
    if options.metric == REWARD_METRIC:
        values = [float(scores.sum()) for scores in read_columns(batch, "rm_scores")["rm_scores"].unbind()]
    else:
        values = entry_values(options.metric, batch.keys, read_extra_info(batch))
    return group_responses(batch.keys, padding_rows(batch), values, options.reward_threshold)


def padding_rows(batch: KVBatchMeta) -> list[bool]:
    """Tell for each row of a batch whether it is padding."""
    return [bool(tag.get("is_padding", False)) for tag in batch.tags]
