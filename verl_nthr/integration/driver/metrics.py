"""The metrics ``nthr/*`` of a step."""

from __future__ import annotations

import torch
from torch import Tensor

from verl_nthr.influence.selection import penalty_factor
from verl_nthr.integration.driver.groups import Groups
from verl_nthr.weighting import NTHR, Weighting, WeightingInputs


def step_metrics(groups: Groups, weighting: Weighting, inputs: WeightingInputs) -> dict[str, float]:
    """Summarise what a weighting did; figures that have no meaning without a mixed group are left out if there is none.

    Args:
        groups: the batch's groups.
        weighting: what chose the tokens.
        inputs: the batch, row by row as ``groups``.

    Returns:
        nthr/eased_fraction, kept_fraction or zeroed_fraction, by what the weighting does (of the tokens among which it
        chooses: for nthr those of wrong responses with Â < 0 in mixed groups), and nthr/mixed_group_fraction; of
        weightings by score also nthr/score/mean and nthr/score/max over the same tokens, nthr/tau/mean and
        nthr/tau/negative_fraction over mixed groups; of nthr and its ablation also nthr/eta/mean.
    """
    candidates = weighting.candidates(inputs)
    selected = weighting.selected(inputs)[candidates]
    metrics = {
        f"nthr/{weighting.effect}_fraction": float(selected.float().mean()) if len(selected) else 0.0,
        "nthr/mixed_group_fraction": groups.num_mixed / groups.num_groups if groups.num_groups else 0.0,
    }
    if not weighting.is_scored or not groups.num_mixed:
        return metrics
    in_play = groups.response >= 0
    group = groups.group[groups.response[in_play]]
    if isinstance(weighting, NTHR):
        eta = penalty_factor(weighting.eta, groups.success_rate[in_play])
        metrics["nthr/eta/mean"] = float(_of_groups(eta, group, groups.num_mixed).mean())
    tau = _of_groups(inputs.threshold[in_play], group, groups.num_mixed)
    tau = tau[~tau.isnan()]
    if len(tau):
        metrics["nthr/tau/mean"] = float(tau.mean())
        metrics["nthr/tau/negative_fraction"] = float((tau < 0).float().mean())
    scores = inputs.score[candidates]
    if len(scores):
        metrics["nthr/score/mean"] = float(scores.mean())
        metrics["nthr/score/max"] = float(scores.max())
    return metrics


def _of_groups(values: Tensor, group: Tensor, num_groups: int) -> Tensor:
    """Value that all rows of a group share: [num_groups]."""
    return torch.full((num_groups,), torch.nan).index_copy_(0, group, values)
