"""Records, micro-batch by micro-batch, what scoring needs of one old-log-prob pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.profiler import record_function

from verl_nthr.influence.deferred_errors import DeferredErrors
from verl_nthr.influence.features import LMHeadRows, TokenFeatures
from verl_nthr.integration.worker.hidden_store import HiddenStore
from verl_nthr.integration.worker.token_slots import MicroBatchTokens, TokenSlots

SAMPLED_TOKENS = 8
"""Tokens of a rank's batch whose log-probs are checked against the whole LM head, spread over the batch."""

TOKENS = 4096
"""Tokens whose own LM head rows are held at a time."""

LOGIT_ELEMENTS = 1 << 26
"""Float32 logits that are held at a time."""

Result = TypeVar("Result")


class Recorder:
    """Features of the tokens that this rank holds.

    For every micro-batch an engine's capture calls :meth:`begin`, :meth:`observe`, :meth:`observe_logits` or
    :meth:`observe_lm_head`, and :meth:`finish`, each through :meth:`attempt`.

    Attributes:
        errors: this rank's, until all ranks raise together.
        store: hidden states of the tokens that are this rank's own.
        seconds: host time spent on recording.
        tokens: the t tokens of the micro-batch that is under way, None between two of them.
        place: [t] their rows in the flattened logits.
        sampled_log_sums: [n] float32 of the sampled slots, log Σ_v exp(logit_v / temperature) over the part of the
            vocabulary that this rank owns; −inf for tokens that it has not seen.
    """

    def __init__(self, slots: TokenSlots, store: HiddenStore, errors: DeferredErrors, device: torch.device) -> None:
        self.slots, self.store, self.errors, self.seconds = slots, store, errors, 0.0
        self._device = device
        tokens = len(slots)
        samples = torch.linspace(0, max(tokens - 1, 0), min(SAMPLED_TOKENS, tokens)).long().unique()
        self.samples = samples.to(device)
        self._sample_of_slot = torch.full((tokens,), -1, device=device)
        self._sample_of_slot[self.samples] = torch.arange(len(samples), device=device)
        self.sampled_log_sums = torch.full((len(samples),), -torch.inf, device=device)
        self._times_recorded = torch.zeros(tokens, device=device)
        self._pass_logits = torch.zeros(tokens, device=device)
        self._logits_dtype: torch.dtype | None = None
        self._slot = [torch.empty(0, dtype=torch.int64, device=device)]
        self._log_probs = [torch.empty(0, device=device)]
        self._rounds_log_probs = True
        self._forget()

    def _forget(self) -> None:
        self.tokens: MicroBatchTokens | None = None
        self.place = self._own = self._hidden = self._exact_log_probs = None

    def attempt(self, work: Callable[..., Result], *args: object) -> Result:
        """Run ``work`` during the pass, timed; an error is raised on every rank after the pass."""
        start = time.perf_counter()
        with record_function("nthr.capture"), torch.autocast(self._device.type, enabled=False):
            result = self.errors.attempt(_explaining_shortage, work, *args)
        self.seconds += time.perf_counter() - start
        return result

    def begin(self, tokens: MicroBatchTokens, place: Tensor) -> None:
        """Start a micro-batch.

        Args:
            tokens: t tokens that this rank's forward computes logits of.
            place: [t] their rows in the flattened logits.
        """
        self._forget()
        self.tokens, self.place = tokens, place

    def observe(self, hidden: Tensor, own: Tensor | None = None, place: Tensor | None = None) -> None:
        """Take the hidden states of the tokens that are this rank's own.

        Args:
            hidden: [N, D], flattened.
            own: [o] indices among the t tokens; None for all of them.
            place: [o] rows of ``hidden``; None for those of the logits.
        """
        own_place = self.place if own is None else self.place[own]
        self._own, self._hidden = own, hidden[own_place if place is None else place]

    def observe_logits(self, logits: Tensor, first_entry: int = 0, *, whole: bool = True) -> None:
        """Take the tokens' own logits, to check them later, before verl scales and overwrites them.

        Args:
            logits: [N, V_rank] flattened logits as the model has them, before any temperature.
            first_entry: vocabulary entry of their first column.
            whole: whether they have the whole vocabulary.
        """
        tokens, place = self.tokens, self.place
        column = tokens.token_ids - first_entry
        owned = (column >= 0) & (column < logits.shape[1])
        label = logits[place, column.clamp(0, logits.shape[1] - 1)].float()
        self._pass_logits.index_add_(0, tokens.slot, torch.where(owned, label, 0.0))
        self._logits_dtype = logits.dtype
        sample, index = self._sampled(tokens)
        self._keep_log_sums(logits[place[index]], sample, index)
        if whole and self._rounds_log_probs and logits.dtype != torch.float32:
            self._exact_log_probs = _log_softmax(logits, place, tokens)

    def observe_lm_head(self, hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        """Take the logits of the sampled tokens where the pass forms none.

        Args:
            hidden: [N, D], flattened.
            weight: [V_rank, D] of the LM head.
            bias: [V_rank] or None.
        """
        sample, index = self._sampled(self.tokens)
        logits = torch.nn.functional.linear(hidden[self.place[index]].to(weight.dtype), weight, bias)
        self._keep_log_sums(logits, sample, index)

    def finish(self, log_probs: Tensor) -> None:
        """End the micro-batch with verl's log-probs [N] of all positions.

        Where verl rounds them to half precision, log π is that of the pass's logits in float32 instead: NTHR needs
        1 − π, of which rounding leaves nothing where π is close to 1.
        """
        tokens, own = self.tokens, self._own
        if self._hidden is None:
            return
        self._rounds_log_probs = log_probs.dtype != torch.float32
        kept = log_probs[tokens.position].float()
        if self._rounds_log_probs and self._exact_log_probs is not None:
            kept = self._exact_log_probs
        slot = tokens.slot if own is None else tokens.slot[own]
        self._times_recorded.index_add_(0, slot, torch.ones_like(slot, dtype=torch.float32))
        self.store.append(self._hidden)
        self._slot.append(slot)
        self._log_probs.append(kept if own is None else kept[own])
        self._forget()

    @property
    def has_logits(self) -> bool:
        """True if the pass formed logits."""
        return self._logits_dtype is not None

    @property
    def dtype(self) -> torch.dtype:
        """The coarser dtype of the hidden states and of the pass's logits."""
        dtypes = self.store.hidden.dtype, self._logits_dtype or self.store.hidden.dtype
        return max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)

    def evidence(self) -> Tensor:
        """[2, T] by slot: how often this rank recorded the token, and its logit as the pass formed it here, else 0."""
        return torch.stack([self._times_recorded, self._pass_logits])

    def features(self, rows: LMHeadRows, group: Tensor, temperature: Tensor) -> tuple[TokenFeatures, Tensor]:
        """The features of this rank's own tokens, and their slots [T_rank].

        log Z is h·W_y/T − log π, which needs no second pass over the vocabulary.

        Args:
            rows: the LM head at the tokens' ids.
            group: [R] int64, group of each response.
            temperature: [T] float32 by slot.
        """
        slot, log_probs = torch.cat(self._slot), torch.cat(self._log_probs)
        token_ids, response = self.slots.token_ids.to(self._device)[slot], self.slots.response.to(self._device)[slot]
        temperature = temperature.to(self._device)[slot]
        hidden = self.store.hidden
        label_logits = [
            rows.label_logits(part.to(self._device), ids)
            for part, ids in zip(hidden.split(TOKENS), token_ids.split(TOKENS), strict=True)
        ]
        return TokenFeatures(
            hidden=hidden,
            token_ids=token_ids,
            log_probs=log_probs,
            log_normalizer=torch.cat(label_logits) / temperature - log_probs,
            temperature=temperature,
            response=response,
            group=group.to(self._device)[response],
        ), slot

    def _sampled(self, tokens: MicroBatchTokens) -> tuple[Tensor, Tensor]:
        """Samples among the tokens: their numbers [k], and their indices [k] among the tokens."""
        sample = self._sample_of_slot[tokens.slot]
        index = (sample >= 0).nonzero()[:, 0]
        return sample[index], index

    def _keep_log_sums(self, logits: Tensor, sample: Tensor, index: Tensor) -> None:
        temperature = self.tokens.temperature[index, None]
        self.sampled_log_sums[sample] = torch.logsumexp(logits.float() / temperature, dim=-1)


def _log_softmax(logits: Tensor, place: Tensor, tokens: MicroBatchTokens) -> Tensor:
    """[t] float32: log softmax(logits / temperature)[token] of logits in half precision."""
    chunk = max(1, LOGIT_ELEMENTS // logits.shape[1])
    log_probs = [
        torch.log_softmax(logits[place[part]].float() / tokens.temperature[part, None], dim=-1).gather(
            1, tokens.token_ids[part, None]
        )[:, 0]
        for part in torch.arange(len(place), device=place.device).split(chunk)
    ]
    return torch.cat(log_probs)


def _explaining_shortage(work: Callable[..., Result], *args: object) -> Result:
    try:
        return work(*args)
    except torch.OutOfMemoryError as error:
        # not worth a retry: the pass goes on without what was to be recorded
        raise RuntimeError(
            "the device ran out of memory while NTHR recorded a micro-batch of the log-prob pass; set "
            "algorithm.nthr.feature_device=host, or lower "
            f"actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu: {error}"
        ) from error
