"""Everything that is measured on one prompt."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from verl_nthr.influence import NTHRResult, nthr_weights
from verl_nthr.probe.gwhes import gwhes
from verl_nthr.probe.policy import Policy, TokenRecord
from verl_nthr.probe.rollouts import Rollout
from verl_nthr.probe.settings import Settings
from verl_nthr.probe.spearman import spearman
from verl_nthr.probe.true_effect import TrueEffect
from verl_nthr.probe.update import InitialWeights, likelihood_change
from verl_nthr.probe.variants import ease, group_advantages, most_harmful, variants


class Experiment:
    """Measures prompt after prompt; the policy's weights are the same before and after each."""

    def __init__(self, policy: Policy, settings: Settings) -> None:
        self._policy = policy
        self._settings = settings
        self._initial = InitialWeights(policy)
        self._true_effect = TrueEffect(policy, self._initial)

    def measure(self, rollout: Rollout, number: int) -> dict[str, Any]:
        """The results of one mixed group, as JSON takes them.

        Args:
            rollout: the prompt.
            number: its place in the run, which decides the random variant's draw.

        Raises:
            InputError: the model is not one that NTHR is defined for.
        """
        settings, device = self._settings, self._policy.device
        is_correct = torch.tensor(rollout.correct(settings.reward_threshold), device=device)
        correct = is_correct.nonzero()[:, 0].tolist()
        lengths = torch.tensor([len(response) for response in rollout.responses], device=device)
        response = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths)
        token_ids = torch.tensor([token for tokens in rollout.responses for token in tokens], device=device)

        record = self._policy.record(rollout)
        nthr = self._nthr(record, token_ids, response, is_correct)
        layer = self._policy.lm_head
        expected = gwhes(
            record.hidden,
            token_ids,
            record.log_probs,
            response,
            is_correct,
            layer.weight,
            bias=getattr(layer, "bias", None),
            temperature=settings.temperature,
        )
        base = group_advantages(torch.tensor(rollout.rewards, device=device))[response]
        wrong = ~is_correct[response]
        advantages = variants(base, nthr, wrong, response, settings.seed * 1_000_003 + number)
        result: dict[str, Any] = {
            "name": rollout.name,
            "success_rate": len(correct) / len(rollout.responses),
            "gwhes": float(expected[is_correct].mean()),
            "threshold": float(nthr.threshold[0]),
            "wrong_tokens": int(wrong.sum()),
            "eased_tokens": int(nthr.selected.sum()),
        }
        if settings.true_effect:
            effect = self._true_effect(rollout, correct)
            advantages["exact"] = ease(base, most_harmful(nthr, wrong, effect), nthr)
            result["true_effect"] = self._compare(effect, nthr, record, wrong)
        before = self._policy.log_likelihood(rollout, correct)
        result["log_likelihood"] = float(before.mean())
        result["delta"], result["weights_moved"] = {}, {}
        for name, token_advantages in advantages.items():
            delta, moved = likelihood_change(
                self._policy,
                self._initial,
                rollout,
                correct,
                token_advantages,
                before,
                settings.optimizer,
                settings.learning_rate,
            )
            result["delta"][name], result["weights_moved"][name] = delta, moved
        return result

    def _nthr(self, record: TokenRecord, token_ids: Tensor, response: Tensor, is_correct: Tensor) -> NTHRResult:
        layer = self._policy.lm_head
        return nthr_weights(
            record.hidden,
            token_ids,
            record.log_probs,
            response,
            torch.zeros_like(is_correct, dtype=torch.int64),
            is_correct,
            layer.weight,
            bias=getattr(layer, "bias", None),
            temperature=self._settings.temperature,
            beta=self._settings.beta,
            eta=self._settings.eta,
        )

    def _compare(self, effect: Tensor, nthr: NTHRResult, record: TokenRecord, wrong: Tensor) -> dict[str, Any]:
        """Rank correlations over the tokens of wrong responses, and how many of them truly harm."""
        harmful = effect > 0
        return {
            "method": self._true_effect.method,
            "nthr": spearman(nthr.scores[wrong], effect[wrong]),
            "entropy": spearman(record.entropy[wrong], effect[wrong]),
            "neg_log_prob": spearman(-record.log_probs[wrong], effect[wrong]),
            "harmful_tokens": int(harmful[wrong].sum()),
            "harmful_eased": int((harmful & nthr.selected).sum()),
        }
