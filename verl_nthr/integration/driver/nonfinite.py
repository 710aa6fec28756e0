"""Prompt groups in which a number is not finite: counted and warned about, or the end of the run."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from verl_nthr.integration.driver.groups import Groups

RAISE = "raise"
SHOWN_GROUPS = 8
"""As many are named."""


class NonFiniteError(ArithmeticError):
    """A prompt group in which a number is not finite; the message names step, groups, what it is and the way out."""


class NonFiniteGroups:
    """Those of one update; the methods find them stage by stage, take note of them, and return their rows.

    Args:
        groups: the batch's.
        step: the training step.
        on_nonfinite: option ``on_nonfinite``; with "raise" the methods raise a :class:`NonFiniteError`.
        warned: kinds that the run has warned of; grows.
    """

    def __init__(self, groups: Groups, step: int, on_nonfinite: str, warned: set[str]) -> None:
        self._groups, self._step, self._on_nonfinite, self._warned = groups, step, on_nonfinite, warned
        self._found = torch.zeros(groups.num_groups, dtype=torch.bool)

    def __len__(self) -> int:
        return int(self._found.sum())

    def in_rewards(self, rewards: Tensor) -> Tensor:
        """[B] bool, rows of the prompt groups with a reward [B, L], or a value of the metric, that is not finite."""
        without_metric = self._groups.success_rate.isnan() & (self._groups.row_group >= 0)
        return self._add(
            without_metric | ~rewards.sum(-1).isfinite(),
            "a reward, or value of the metric,",
            "their advantages are 0, and the other groups' as if there were no such group",
            "the reward function, and with algorithm.use_kl_in_reward=True at the log-probs",
        )

    def in_base(self, advantages: Tensor, base: str) -> Tensor:
        """[B] bool, rows of the prompt groups with a base advantage [B, L] that is not finite."""
        return self._add(
            ~advantages.isfinite().all(-1),
            f"a base advantage ({base})",
            "their advantages are 0",
            "the size of the rewards, and at the log-probs",
        )

    def in_scores(self, score: Tensor, anchor: Tensor, mask: Tensor) -> Tensor:
        """[B] bool, rows without weights: outside of mixed groups, and of mixed groups with a number not finite.

        Args:
            score: [B, L]; only those inside the mask count.
            anchor: [B], s̄⁺ of the row's response; only those of correct responses with tokens count.
            mask: [B, L] bool.
        """
        groups, has_tokens = self._groups, mask.any(-1)
        mixed = groups.response >= 0
        has_anchor = anchor.isfinite() | ~groups.row_correct
        has_scores = (score.isfinite() | ~mask).all(-1)
        found = self._add(
            mixed & has_tokens & ~(has_anchor & has_scores),
            "a hidden state, log-prob or score",
            "their advantages are the base advantages, with no weights",
            "the model's weights and dtype, and at actor/grad_norm of the steps before",
        )
        return found | ~mixed

    def _add(self, rows: Tensor, what: str, consequence: str, look_at: str) -> Tensor:
        """The rows of the prompt groups that one of ``rows`` [B] bool belongs to, and the padding rows among ``rows``.

        Raises:
            NonFiniteError: there is such a group, and ``on_nonfinite`` is "raise".
        """
        found = self._groups.having(rows)
        self._found |= found
        if found.any():
            uids = [uid for uid, is_found in zip(self._groups.uids, found.tolist(), strict=True) if is_found]
            more = f" and {len(uids) - SHOWN_GROUPS} more" if len(uids) > SHOWN_GROUPS else ""
            where = f"step {self._step}: {what} of the prompt groups {', '.join(uids[:SHOWN_GROUPS])}{more}"
            if self._on_nonfinite == RAISE:
                raise NonFiniteError(
                    f"{where} is nan or infinite; look at {look_at}, or go on without such groups by "
                    "algorithm.nthr.on_nonfinite=fallback"
                )
            if what not in self._warned:
                self._warned.add(what)
                warnings.warn(
                    f"{where} is nan or infinite: {consequence}. Later ones are counted in nthr/nonfinite_groups "
                    f"alone; look at {look_at}, or stop the run at the first one by algorithm.nthr.on_nonfinite=raise",
                    stacklevel=2,
                )
        return rows | self._groups.rows_of(found)
