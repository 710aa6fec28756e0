"""NTHR inside a worker: verl's own old-log-prob pass also records, then one reduction turns the record into scores."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.profiler import record_function

from verl_nthr.influence.deferred_errors import AgreedOutOfMemory, DeferredErrors
from verl_nthr.influence.features import LMHeadRows
from verl_nthr.influence.scores import influence_scores
from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys
from verl_nthr.integration.protocol import ANCHOR, REQUEST, RESPONSE, SCORE, SECONDS, ScoringRequest
from verl_nthr.integration.worker.capture import EngineCapture
from verl_nthr.integration.worker.engines import capture_of
from verl_nthr.integration.worker.hidden_store import HiddenStore, free_memory
from verl_nthr.integration.worker.recorder import Recorder
from verl_nthr.integration.worker.token_slots import SLOT, TokenSlots
from verl_nthr.integration.worker.verification import check_coverage, check_log_probs, check_logits

if TYPE_CHECKING:
    from tensordict import TensorDict
    from verl.workers.engine import BaseEngine


def around_infer_batch(
    wrapped: Callable[..., dict[str, Any]], engine: BaseEngine, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """verl's forward-only pass; one whose batch carries a request is scored, and returns the scores' columns too."""
    from verl.utils import tensordict_utils as tu
    from verl.utils.device import get_device_id

    data = kwargs["data"] if "data" in kwargs else args[0]
    request = tu.pop(data, REQUEST)
    if request is None:
        return wrapped(*args, **kwargs)
    capture, device = capture_of(engine), torch.device(get_device_id())
    # an error in the last stage must not leave the others waiting for activations or for the next step
    pipeline = DeferredErrors(capture.pipeline_group)
    scoring = None
    if capture.has_lm_head:
        scoring = pipeline.attempt(ScoringPass, capture, data, request, device)
    pipeline.raise_together(device)
    with nullcontext() if scoring is None else scoring.recording():
        outputs = wrapped(*args, **kwargs)
    columns = {} if scoring is None else pipeline.attempt(scoring.columns)
    pipeline.raise_together(device)
    if engine.is_mp_src_rank_with_outputs():
        outputs["model_output"].update(columns)
    return outputs


class ScoringPass:
    """One old-log-prob pass that carries a request, on a rank that holds the LM head.

    All such ranks run the same collectives: before the pass the union of the groups' vocabularies; after it the LM head
    rows if these are sharded, what was recorded if responses are spread, and the sums of M⁺ and of the anchors.
    """

    def __init__(self, capture: EngineCapture, data: TensorDict, request: ScoringRequest, device: torch.device) -> None:
        self.capture, self.data, self.request, self.device = capture, data, request, device
        self.seconds = 0.0
        self.grid = capture.grid()
        with self._timed(), record_function("nthr.vocabulary"):
            errors = DeferredErrors(self.grid.tokens)
            keys = errors.attempt(self._prepare)
            errors.raise_together(device)
            keys = self.grid.union(keys)
            if request.vocabulary == "full":
                self.vocabulary = GroupVocabulary.whole(request.num_groups, capture.vocab_size, device)
            else:
                self.vocabulary = GroupVocabulary.from_keys(keys, request.num_groups, capture.vocab_size)
            self.entries = self.vocabulary.unique_token_ids()

    def _prepare(self) -> Tensor:
        """Number the tokens, and return the keys of this rank's part of the groups' vocabularies."""
        self.capture.check_model()
        if self.request.vocabulary == "full":
            check_full_vocabulary(self.capture.vocab_size, self.capture.hidden_size, self.device)
        self.slots = TokenSlots.of_batch(self.data["responses"], self.data["response_mask"], self.data[RESPONSE])
        store = HiddenStore(
            len(self.slots),
            self.capture.hidden_size,
            self.device,
            self.request.feature_device,
            all_here=not self.grid.spreads_responses,
        )
        self.recorder = Recorder(self.slots, store, DeferredErrors(self.grid.tokens), self.device)
        group = self.request.group[self.slots.response]
        return vocabulary_keys(group, self.slots.token_ids, self.capture.vocab_size).to(self.device)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record while verl's pass runs; whatever it raises, all is as before afterwards."""
        self.data[SLOT] = self.slots.column
        try:
            with self.capture.record(self.recorder, self.entries):
                yield
        finally:
            del self.data[SLOT]
        self.seconds += self.recorder.seconds

    @torch.no_grad()
    def columns(self) -> dict[str, Tensor]:
        """Score, and return the columns of this rank's rows, on the host.

        Where device memory runs out on some ranks, all of them try again with the hidden states in host memory.

        Raises:
            RuntimeError: it ran out again.
        """
        with self._timed():
            shortage = ""
            try:
                columns = self._score(self.recorder.errors)
            except AgreedOutOfMemory as error:
                shortage = str(error)
            if shortage:
                columns = self._score_from_host(shortage)
        return columns | {SECONDS: torch.full(columns[ANCHOR].shape, self.seconds)}

    def _score(self, errors: DeferredErrors) -> dict[str, Tensor]:
        recorder, request, grid = self.recorder, self.request, self.grid
        evidence = errors.attempt(recorder.evidence)
        weight_and_bias = errors.attempt(self.capture.lm_head_rows, self.entries)
        errors.raise_together(self.device)
        if self.capture.vocabulary_group is not None:
            # every rank has written the rows that it owns, the rest are 0
            dist.all_reduce(weight_and_bias[0], group=self.capture.vocabulary_group)
        rows = LMHeadRows(*weight_and_bias, self.entries)
        grid.sum_over_response(evidence)
        log_sums = grid.gather_over_response(recorder.sampled_log_sums).logsumexp(dim=0)
        recorded = errors.attempt(self._verified_features, rows, evidence, log_sums)
        errors.raise_together(self.device)
        features, slot, group, correct = recorded
        found = influence_scores(
            features,
            rows,
            self.vocabulary,
            group,
            correct,
            grid,
            anchor_includes_self=request.anchor_includes_self,
            length_normalised=request.length_normalised,
        )
        slot_scores = errors.attempt(self._by_slot, slot, found.scores)
        errors.raise_together(self.device)
        grid.sum_over_response(slot_scores)
        columns = errors.attempt(self._columns, slot_scores, found.anchors)
        errors.raise_together(self.device)
        return columns

    def _by_slot(self, slot: Tensor, scores: Tensor) -> Tensor:
        return torch.zeros(len(self.slots), device=self.device).index_copy_(0, slot, scores)

    def _columns(self, slot_scores: Tensor, anchors: Tensor) -> dict[str, Tensor]:
        response = self.data[RESPONSE]
        row_anchor = torch.full(response.shape, torch.nan)
        row_anchor[response >= 0] = anchors.cpu()[response[response >= 0]]
        return {SCORE: self.slots.scatter(slot_scores, torch.nan), ANCHOR: row_anchor}

    def _verified_features(self, rows: LMHeadRows, evidence: Tensor, log_sums: Tensor) -> tuple[Any, ...]:
        recorder, request = self.recorder, self.request
        times_recorded, pass_logits = evidence
        check_coverage(times_recorded)
        features, slot = recorder.features(rows, request.group, self.temperature())
        if recorder.has_logits:
            check_logits(features, rows, pass_logits[slot], recorder.dtype)
        sample, token = (recorder.samples[:, None] == slot).nonzero(as_tuple=True)
        check_log_probs(features, token, log_sums[sample], recorder.dtype)
        return features, slot, request.group.to(self.device), request.correct.to(self.device)

    def _score_from_host(self, shortage: str) -> dict[str, Tensor]:
        from verl.utils.device import get_torch_device

        warnings.warn(
            "device memory ran out while NTHR took scores; they are taken once more with the hidden states in host "
            f"memory. Set algorithm.nthr.feature_device=host: {shortage}",
            stacklevel=3,
        )
        errors = DeferredErrors(self.grid.tokens)
        errors.attempt(self.recorder.store.move_to_host)
        gc.collect()  # the error's frames hold tensors, and refer to each other
        get_torch_device().empty_cache()
        try:
            return self._score(errors)
        except AgreedOutOfMemory as error:
            raise RuntimeError(
                "device memory ran out while NTHR took scores, also with the hidden states in host memory; set "
                "algorithm.nthr.vocabulary=response, lower data.train_batch_size, actor_rollout_ref.rollout.n or "
                "data.max_response_length, spread a step over more devices, or leave the trainer more memory "
                f"(actor_rollout_ref.rollout.gpu_memory_utilization): {error}"
            ) from error

    def temperature(self) -> Tensor:
        """[T] float32 by slot, the sampling temperature."""
        temperature = torch.as_tensor(self.data["temperature"], dtype=torch.float32)
        return temperature.expand(len(self.data))[self.slots.row]

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start


def check_full_vocabulary(vocab_size: int, hidden_size: int, device: torch.device) -> None:
    """Check that ``vocabulary=full`` fits: M⁺ of two groups, its working copies, and all rows of the LM head.

    Raises:
        MemoryError: it does not fit into the free memory of ``device``.
    """
    need, free = 6 * 4 * vocab_size * hidden_size, free_memory(device)
    if need > free:
        raise MemoryError(
            f"algorithm.nthr.vocabulary=full: M⁺ of one prompt group has {vocab_size} × {hidden_size} entries, which "
            f"with the LM head and working copies takes {need / 1e9:.1f} GB per rank; {free / 1e9:.1f} GB are free; "
            "set algorithm.nthr.vocabulary=response"
        )
