"""The metrics ``nthr/*`` of a step."""

from __future__ import annotations

import torch
from torch import Tensor

from verl_nthr.influence.selection import penalty_factor
from verl_nthr.integration.groups import Groups
from verl_nthr.integration.options import NTHROptions


def step_metrics(
    groups: Groups, options: NTHROptions, score: Tensor, threshold: Tensor, seconds: Tensor
) -> dict[str, float]:
    """Summarise a step; figures that have no meaning without a mixed group are left out when there is none.

    Args:
        groups: the batch's groups.
        options: the run's options.
        score: [B, response length] jagged float32, nan where not scored.
        threshold: [B] float32, nan outside mixed groups.
        seconds: [B] float32, of the rank that held the row.

    Returns:
        nthr/selected_fraction (of the tokens of wrong answers in mixed groups), nthr/mixed_group_fraction,
        nthr/eta/mean, nthr/tau/mean and nthr/tau/negative_fraction over mixed groups, nthr/score/mean and
        nthr/score/max over the tokens of wrong answers in mixed groups, nthr/seconds (the slowest rank's).
    """
    row = torch.repeat_interleave(torch.arange(len(threshold)), score.offsets().diff())
    values = score.values()
    wrong = ~values.isnan() & ~groups.row_correct[row]
    wrong_scores, wrong_thresholds = values[wrong], threshold[row[wrong]]
    selected = wrong_scores > wrong_thresholds
    metrics = {
        "nthr/selected_fraction": float(selected.float().mean()) if len(selected) else 0.0,
        "nthr/mixed_group_fraction": groups.num_mixed / groups.num_groups if groups.num_groups else 0.0,
        "nthr/seconds": float(seconds.max()),
    }
    if groups.num_mixed:
        in_play = groups.response >= 0
        response = groups.response[in_play]
        tau = torch.full((groups.num_mixed,), torch.nan)
        tau[groups.group[response]] = threshold[in_play]
        eta = torch.full((groups.num_mixed,), torch.nan)
        eta[groups.group[response]] = penalty_factor(options.eta, groups.success_rate[in_play])
        tau = tau[~tau.isnan()]
        metrics["nthr/eta/mean"] = float(eta.mean())
        if len(tau):
            metrics["nthr/tau/mean"] = float(tau.mean())
            metrics["nthr/tau/negative_fraction"] = float((tau < 0).float().mean())
    if len(wrong_scores):
        metrics["nthr/score/mean"] = float(wrong_scores.mean())
        metrics["nthr/score/max"] = float(wrong_scores.max())
    return metrics
