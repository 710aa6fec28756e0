"""Checks that what a pass recorded is complete, and that its logits are hidden state × LM head and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

from verl_nthr.influence.features import LMHeadRows, TokenFeatures

ROUNDINGS = 16
"""Roundings, of the size of a logit, that a logit or log-sum may be off by."""


def check_coverage(times_recorded: Tensor) -> None:
    """Check that every token [T] was recorded exactly once by all ranks together.

    Raises:
        RuntimeError: otherwise.
    """
    if bool((times_recorded != 1).any()):
        lost, twice = int((times_recorded < 1).sum()), int((times_recorded > 1).sum())
        raise RuntimeError(
            f"of {len(times_recorded)} response tokens the log-prob pass left {lost} unrecorded and recorded {twice} "
            "more than once: this version of verl lays out its micro-batches in another way"
        )


def check_logits(features: TokenFeatures, rows: LMHeadRows, pass_logits: Tensor, dtype: torch.dtype) -> None:
    """Check the own logit of all T tokens, as far as it is finite: hidden state times LM head.

    Args:
        features: T tokens.
        rows: the LM head at their ids.
        pass_logits: [T] their own logits as the pass formed them.
        dtype: the coarser one of hidden states and logits.

    Raises:
        RuntimeError: the model caps or scales its logits.
    """
    for tokens in torch.arange(len(features), device=pass_logits.device).split(4096):
        hidden, found = features.hidden_of(tokens), pass_logits[tokens]
        weight, bias = rows.select(features.token_ids[tokens])
        products = hidden * weight
        expected = products.sum(-1) + (0.0 if bias is None else bias)
        size = 1 + found.abs() + products.norm(dim=-1)
        off = (expected - found).abs() > ROUNDINGS * _rounding(dtype) * size
        if bool((off & expected.isfinite() & found.isfinite()).any()):
            _refuse(
                f"a token's logit is {found[off][0]:.4g}, and its hidden state times the output layer "
                f"{expected[off][0]:.4g}"
            )


def check_log_probs(features: TokenFeatures, tokens: Tensor, log_sums: Tensor, dtype: torch.dtype) -> None:
    """Check that the probabilities of some tokens add up to 1: their log Z is the log-sum-exp of the pass's logits.

    Args:
        features: of this rank's tokens.
        tokens: [k] indices of some of them.
        log_sums: [k] log Σ_v exp(logit_v / temperature) over the whole vocabulary.
        dtype: as above.

    Raises:
        RuntimeError: the model caps or scales its logits.
    """
    log_normalizer = features.log_normalizer[tokens]
    size = 2 + 2 * log_normalizer.abs() + features.log_probs[tokens].abs()
    difference = log_sums - log_normalizer
    off = difference.abs() > ROUNDINGS * _rounding(dtype) * size
    if bool((off & log_normalizer.isfinite()).any()):
        _refuse(f"the probabilities of a token's vocabulary add up to {difference[off][0].exp():.4g}, not 1")


def _refuse(reason: str) -> None:
    raise RuntimeError(
        f"verl's log-probs do not follow from the last hidden states by the output layer alone ({reason}), as happens "
        "in models that cap or scale their logits. NTHR does not cover these; use algorithm.adv_estimator=grpo"
    )


def _rounding(dtype: torch.dtype) -> float:
    """Relative rounding of a logit of some dtype; on a GPU, torch's products of float32 may be coarser."""
    if dtype == torch.float32 and torch.cuda.is_available():
        return {"highest": 2.0**-23, "high": 2.0**-10, "medium": 2.0**-7}[torch.get_float32_matmul_precision()]
    return torch.finfo(dtype).eps
