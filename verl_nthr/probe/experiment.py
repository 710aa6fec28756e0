"""The measurements on one group."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from verl_nthr.influence import NTHRResult, nthr_weights
from verl_nthr.probe.groups import Effects, Group, Result, Variants
from verl_nthr.probe.gwhes import gwhes
from verl_nthr.probe.policy import Policy, TokenRecord
from verl_nthr.probe.settings import Settings
from verl_nthr.probe.statistics import spearman
from verl_nthr.probe.true_effect import TrueEffect
from verl_nthr.probe.update import InitialWeights, likelihood_change
from verl_nthr.probe.variants import ease, group_advantages, most_harmful, variants


class Experiment:
    """Measures group after group; the policy's weights are the same before and after each."""

    def __init__(self, policy: Policy, settings: Settings) -> None:
        self._policy = policy
        self._settings = settings
        self._initial = InitialWeights(policy)
        self._true_effect = TrueEffect(policy, self._initial)

    def measure(self, group: Group, number: int) -> Result:
        """The results of one mixed group.

        Args:
            group: the group.
            number: its place in the run, which decides the random variant's draw.

        Raises:
            InputError: the model is not one that NTHR is defined for.
        """
        policy, settings = self._policy, self._settings
        is_correct = torch.tensor(group.correct(settings.reward_threshold), device=policy.device)
        correct = is_correct.nonzero()[:, 0].tolist()
        lengths = torch.tensor([len(response) for response in group.responses], device=policy.device)
        response = torch.repeat_interleave(torch.arange(len(lengths), device=policy.device), lengths)
        token_ids = torch.tensor([token for tokens in group.responses for token in tokens], device=policy.device)
        record = policy.record(group)
        features = record.hidden, token_ids, record.log_probs, response
        head = {"bias": getattr(policy.lm_head, "bias", None), "temperature": settings.temperature}
        one_group = torch.zeros_like(is_correct, dtype=torch.int64)
        options = head | {"beta": settings.beta, "eta": settings.eta}
        nthr = nthr_weights(*features, one_group, is_correct, policy.lm_head.weight, **options)
        expected = gwhes(*features, is_correct, policy.lm_head.weight, **head)

        base = group_advantages(torch.tensor(group.rewards, device=policy.device))[response]
        wrong = ~is_correct[response]
        advantages = variants(base, nthr, wrong, response, settings.seed * 1_000_003 + number)
        effects = None
        if settings.true_effect:
            effect = self._true_effect(group, correct)
            advantages["exact"] = ease(base, most_harmful(nthr, wrong, effect), nthr)
            effects = self._compare(effect, nthr, record, wrong)
        before = policy.log_likelihood(group, correct)
        update = settings.optimizer, settings.learning_rate
        changes = {
            name: likelihood_change(policy, self._initial, group, correct, of_tokens, before, *update)
            for name, of_tokens in advantages.items()
        }
        threshold = float(nthr.threshold[0])
        return Result(
            name=group.name,
            success_rate=len(correct) / len(group.responses),
            gwhes=float(expected[is_correct].mean()),
            threshold=None if threshold == -math.inf else threshold,
            wrong_tokens=int(wrong.sum()),
            eased_tokens=int(nthr.selected.sum()),
            log_likelihood=float(before.mean()),
            delta=Variants(**{name: delta for name, (delta, _) in changes.items()}),
            weights_moved=Variants(**{name: moved for name, (_, moved) in changes.items()}),
            true_effect=effects,
        )

    def _compare(self, effect: Tensor, nthr: NTHRResult, record: TokenRecord, wrong: Tensor) -> Effects:
        """Rank correlations over the tokens of wrong responses, and the number of them that truly harm."""
        harmful = effect > 0
        signals = {"nthr": nthr.scores, "entropy": record.entropy, "neg_log_prob": -record.log_probs}
        return Effects(
            method=self._true_effect.method,
            harmful_tokens=int(harmful[wrong].sum()),
            harmful_eased=int((harmful & nthr.selected).sum()),
            **{name: spearman(values[wrong].cpu(), effect[wrong].cpu()) for name, values in signals.items()},
        )
