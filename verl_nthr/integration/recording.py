"""What an engine's capture writes into while verl's pass runs, and the features that come of it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.profiler import record_function

from verl_nthr.influence.features import OutputRows, TokenFeatures
from verl_nthr.influence.sharding import Sharding
from verl_nthr.integration.slots import TokenSlots

CHECKED_TOKENS = 4
AUTO_SHARE = 0.1


class Recording:
    """The features of the tokens that this rank holds, appended while the micro-batches pass.

    Attributes:
        rows: the output rows that this rank owns of those that are wanted, once the first micro-batch has passed.
        seconds: host time spent on recording.
    """

    def __init__(
        self,
        slots: TokenSlots,
        sharding: Sharding,
        entries: Tensor | None,
        dim: int,
        device: torch.device,
        feature_device: str,
    ) -> None:
        """Start without a token.

        Args:
            slots: the T tokens of the rank's batch; where responses are spread over ranks, it holds some of them.
            sharding: keeps errors of this rank until all ranks can raise them together.
            entries: [U] int64 ascending, vocabulary entries whose output rows are wanted; None for all.
            dim: D, size of a hidden state.
            device: where the pass runs.
            feature_device: "device", "host" or "auto", where hidden states are kept.
        """
        self.slots, self.sharding, self.entries = slots, sharding, entries
        self.rows: OutputRows | None = None
        self.seconds = 0.0
        self._device, self._feature_device = device, feature_device
        self._hidden = torch.empty(0, dim, device=device)
        self._slot = [torch.empty(0, dtype=torch.int64, device=device)]
        self._log_probs, self._label_logits, self._log_sums = ([torch.empty(0, device=device)] for _ in range(3))
        self._count = 0

    @contextmanager
    def local_work(self) -> Iterator[None]:
        """Work of this rank alone during the pass, timed; an error is raised on every rank by the next collective."""
        start = time.perf_counter()
        with self.sharding.local_work(), record_function("nthr.capture"):
            try:
                yield
            except torch.OutOfMemoryError as error:
                # not one to try again after: the pass goes on without what was to be recorded
                raise RuntimeError(
                    "the device ran out of memory while NTHR recorded a micro-batch of the log-prob pass; set "
                    "algorithm.nthr.feature_device=host, or lower "
                    f"actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu: {error}"
                ) from error
        self.seconds += time.perf_counter() - start

    @property
    def unchecked(self) -> slice:
        """Those of the tokens to be written next whose ``log_sums`` are wanted; most often none, up to 0."""
        return slice(max(0, CHECKED_TOKENS - self._count))

    def write(self, slot: Tensor, hidden: Tensor, log_probs: Tensor, label_logits: Tensor, log_sums: Tensor) -> None:
        """Keep the features of t tokens.

        Args:
            slot: [t] int64.
            hidden: [t, D] in its own dtype.
            log_probs: [t] verl's log π.
            label_logits: [t] logit/temperature of the token itself, 0 if this rank does not own its output row.
            log_sums: of the :attr:`unchecked` tokens, log Σ_v exp(logit_v/temperature) over the output rows owned.
        """
        end = self._count + len(slot)
        if end > self._hidden.shape[0]:
            self._hidden = self._enlarged(end, hidden)
        self._hidden[self._count : end].copy_(hidden, non_blocking=True)
        self._count = end
        self._slot.append(slot)
        self._log_probs.append(log_probs.float())
        self._label_logits.append(label_logits.float())
        self._log_sums.append(log_sums.float())

    def move_to_host(self, sharding: Sharding) -> None:
        """Keep hidden states in host memory from now on, and take part in another reduction.

        Args:
            sharding: of that reduction.
        """
        self.sharding = sharding
        self._feature_device = "host"
        with sharding.local_work():
            self._hidden = self._hidden[: self._count].cpu()

    def _enlarged(self, tokens: int, like: Tensor) -> Tensor:
        """A larger buffer with what has been recorded; on the host it has room for all tokens from the start."""
        room = max(tokens, 2 * self._count) if self.sharding.spreads_responses else len(self.slots)
        store = store_device(self._feature_device, room * like.shape[-1] * like.element_size(), self._device)
        enlarged = None
        if store == self._device:
            try:
                enlarged = torch.empty(room, like.shape[-1], dtype=like.dtype, device=store)
            except torch.OutOfMemoryError as error:
                self._feature_device = "host"
                warnings.warn(
                    "the device has no room for the hidden states that NTHR records, so they go to host memory in this "
                    f"step; set algorithm.nthr.feature_device=host: {error}",
                    stacklevel=2,
                )
        if enlarged is None:
            pin = self._device.type != "cpu"
            enlarged = torch.empty(len(self.slots), like.shape[-1], dtype=like.dtype, device="cpu", pin_memory=pin)
        enlarged[: self._count] = self._hidden[: self._count]
        return enlarged

    def features(self, group: Tensor, temperature: Tensor) -> tuple[TokenFeatures, Tensor]:
        """The features of this rank's tokens and their slots [T_rank]; a collective of all ranks of the sharding.

        Args:
            group: [R] int64, group of each response.
            temperature: [T] float32.

        Raises:
            RuntimeError: the pass left tokens unrecorded, or verl's log-probs do not follow from the hidden states by
                the output layer alone, as in models that cap or scale their logits.
        """
        with self.sharding.local_work(), record_function("nthr.capture"):
            slot, log_probs = torch.cat(self._slot), torch.cat(self._log_probs)
            label_logits, log_sums = torch.cat(self._label_logits), torch.cat(self._log_sums)
            records = torch.zeros(len(self.slots), device=self._device).index_add_(0, slot, torch.ones_like(log_probs))
            mass = torch.zeros(CHECKED_TOKENS, device=self._device)
        self.sharding.agree(self._device)
        self.sharding.sum_over_context(records)
        self.sharding.sum_over_vocabulary(label_logits)
        with self.sharding.local_work(), record_function("nthr.capture"):
            log_normalizer = label_logits - log_probs
            checked = slice(len(log_sums))
            mass[checked] = (log_sums - log_normalizer[checked]).exp()
        self.sharding.sum_over_vocabulary(mass)
        with self.sharding.local_work(), record_function("nthr.capture"):
            if bool((records != 1).any()):
                lost, twice = int((records < 1).sum()), int((records > 1).sum())
                raise RuntimeError(
                    f"of {len(self.slots)} response tokens the log-prob pass left {lost} unrecorded and recorded "
                    f"{twice} more than once: this version of verl lays out its micro-batches in another way"
                )
            size = 1 + log_normalizer[checked].abs() + label_logits[checked].abs()
            rounding = 16 * torch.finfo(self._hidden.dtype).eps * size
            if bool((mass[checked].log().abs() > rounding).any()):
                raise RuntimeError(
                    f"verl's log-probs {log_probs[checked].tolist()} do not follow from the recorded hidden states by "
                    f"the output layer alone (the probabilities add up to {mass[checked].tolist()}), as in models that "
                    "cap or scale their logits, which NTHR does not cover; use algorithm.adv_estimator=grpo for this "
                    "model"
                )
            token_ids, response = self.slots.token_ids.to(self._device), self.slots.response.to(self._device)
            features = TokenFeatures(
                hidden=self._hidden[: self._count],
                token_ids=token_ids[slot],
                log_probs=log_probs,
                log_normalizer=log_normalizer,
                temperature=temperature.to(self._device)[slot],
                response=response[slot],
                group=group.to(self._device)[response[slot]],
            )
        self.sharding.agree(self._device)
        return features, slot


def store_device(feature_device: str, size: int, device: torch.device) -> torch.device:
    """Where ``size`` bytes of hidden states are to be kept, by the option ``feature_device``; a CPU is its own host."""
    if device.type == "cpu" or feature_device == "device":
        return device
    if feature_device == "auto" and size <= AUTO_SHARE * torch.get_device_module(device).mem_get_info(device)[0]:
        return device
    return torch.device("cpu")


def check_output_layer(rows: OutputRows, hidden: Tensor, token_ids: Tensor, logits: Tensor, columns: Tensor) -> None:
    """The logits of t tokens must be their hidden states times the output layer, as far as both are finite.

    Args:
        rows: holds ``token_ids``.
        hidden: [t, D].
        token_ids: [t].
        logits: [t, N] float32 logits as the model has them, before any temperature.
        columns: [t] column of ``logits`` for each of ``token_ids``.

    Raises:
        RuntimeError: they are not, as in models that cap or scale their logits.
    """
    expected = rows.label_logits(hidden, token_ids)
    found = logits.gather(1, columns[:, None])[:, 0]
    rounding = 16 * torch.finfo(hidden.dtype).eps * (1 + logits.abs().amax(dim=-1))
    finite = expected.isfinite() & found.isfinite()
    if bool((finite & ((expected - found).abs() > rounding)).any()):
        raise RuntimeError(
            "the model's logits are not its last hidden states times its output layer, as in models that cap or scale "
            "their logits, which NTHR does not cover; use algorithm.adv_estimator=grpo for this model"
        )
