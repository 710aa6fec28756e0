"""NTHR inside a worker: verl's own old-log-prob pass also records, then one reduction turns records into scores."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
import wrapt
from torch import Tensor
from torch.profiler import record_function

from verl_nthr.influence.agreement import AgreedOutOfMemory
from verl_nthr.influence.scores import influence_scores
from verl_nthr.influence.selection import thresholds
from verl_nthr.influence.sharding import Sharding
from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys
from verl_nthr.integration.engines import Capture, capture_of
from verl_nthr.integration.recording import Recording
from verl_nthr.integration.request import REQUEST, RESPONSE, SCORE, SECONDS, THRESHOLD, ScoringRequest
from verl_nthr.integration.slots import SLOT, TokenSlots

if TYPE_CHECKING:
    from tensordict import TensorDict
    from verl.workers.engine import BaseEngine


def override_engine_base(base: ModuleType) -> None:
    """Wrap ``verl.workers.engine.base.BaseEngine.infer_batch`` (0.9): a batch that carries a request is also scored."""
    wrapt.wrap_function_wrapper(base, "BaseEngine.infer_batch", _infer_batch)


def _infer_batch(
    wrapped: Callable[..., dict[str, Any]], engine: BaseEngine, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    from verl.utils import tensordict_utils as tu
    from verl.utils.device import get_device_id

    data = kwargs["data"] if "data" in kwargs else args[0]
    request = tu.pop(data, REQUEST)
    if request is None:
        return wrapped(*args, **kwargs)
    engine_capture, device = capture_of(engine), torch.device(get_device_id())
    # an error in the last stage must not leave the others waiting for activations or for the next step
    stages = Sharding(engine_capture.stages())
    scoring = None
    with stages.local_work():
        if engine_capture.has_output_layer():
            scoring = ScoringPass(engine_capture, data, request, device)
    stages.agree(device)
    with nullcontext() if scoring is None else scoring.capture():
        outputs = wrapped(*args, **kwargs)
    columns = {}
    with stages.local_work():
        if scoring is not None:
            columns = scoring.columns()
    stages.agree(device)
    if engine.is_mp_src_rank_with_outputs():
        outputs["model_output"].update(columns)
    return outputs


class ScoringPass:
    """One old-log-prob pass that carries a request, on a rank that holds the output layer.

    All such ranks run the same collectives: the union of the groups' vocabularies before the pass; sums of the recorded
    tokens, of M⁺, of the scores and of the anchors after it.
    """

    def __init__(
        self, engine_capture: Capture, data: TensorDict, request: ScoringRequest, device: torch.device
    ) -> None:
        self.engine_capture, self.data, self.request, self.device = engine_capture, data, request, device
        self.seconds = 0.0
        self.sharding = engine_capture.sharding()
        with self._timed(), record_function("nthr.vocabulary"):
            keys = torch.empty(0, dtype=torch.int64, device=device)
            with self.sharding.local_work():
                engine_capture.check_model()
                vocab_size = engine_capture.vocab_size()
                self.slots = TokenSlots.of_batch(data["responses"], data["response_mask"], data[RESPONSE])
                keys = vocabulary_keys(request.group[self.slots.response], self.slots.token_ids, vocab_size)
                keys = keys.to(device)
            keys = self.sharding.union(keys)
            if request.options.vocabulary == "full":
                self.vocabulary = GroupVocabulary.whole(request.num_groups, vocab_size, device)
                entries = None
            else:
                self.vocabulary = GroupVocabulary.from_keys(keys, request.num_groups, vocab_size)
                entries = torch.unique(keys % vocab_size)
            self.recording = Recording(
                self.slots, self.sharding, entries, engine_capture.dim(), device, request.options.feature_device
            )

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Record features while verl's pass runs; whatever it raises, all is as before afterwards."""
        self.data[SLOT] = self.slots.column
        try:
            with self.engine_capture.capture(self.recording):
                yield
        finally:
            del self.data[SLOT]
        self.seconds += self.recording.seconds

    @torch.no_grad()
    def columns(self) -> dict[str, Tensor]:
        """Reduce over the ranks and return the columns of this rank's rows, on the host.

        Where device memory runs out on some ranks, all of them try again with the hidden states in host memory.

        Raises:
            RuntimeError: it ran out again.
        """
        with self._timed():
            shortage = ""
            try:
                columns = self._reduced()
            except AgreedOutOfMemory as error:
                shortage = str(error)
            if shortage:
                columns = self._reduced_from_host(shortage)
        return columns | {SECONDS: torch.full(columns[THRESHOLD].shape, self.seconds)}

    def _reduced(self) -> dict[str, Tensor]:
        request, options = self.request, self.request.options
        with self.sharding.local_work():
            group, correct = request.group.to(self.device), request.correct.to(self.device)
            slot_scores = torch.zeros(len(self.slots), device=self.device)
        features, slot = self.recording.features(request.group, self._temperature())
        scores, anchors, _ = influence_scores(
            features,
            self.recording.rows,
            self.vocabulary,
            group,
            correct,
            self.sharding,
            anchor_includes_self=options.anchor_includes_self,
            length_normalised=request.length_normalised,
        )
        with self.sharding.local_work():
            slot_scores.index_copy_(0, slot, scores)
        self.sharding.sum_over_context(slot_scores)
        with self.sharding.local_work():
            threshold = thresholds(anchors, group, request.num_groups, options.beta)
            response = self.data[RESPONSE]
            row_threshold = torch.full(response.shape, torch.nan)
            row_threshold[response >= 0] = threshold.cpu()[request.group[response[response >= 0]]]
            columns = {SCORE: self.slots.scatter(slot_scores, torch.nan), THRESHOLD: row_threshold}
        self.sharding.agree(self.device)
        return columns

    def _reduced_from_host(self, shortage: str) -> dict[str, Tensor]:
        from verl.utils.device import get_torch_device

        warnings.warn(
            "device memory ran out while NTHR took scores; they are taken once more with the hidden states in host "
            f"memory. Set algorithm.nthr.feature_device=host: {shortage}",
            stacklevel=3,
        )
        self.sharding = self.engine_capture.sharding()
        self.recording.move_to_host(self.sharding)
        gc.collect()  # the error's frames hold tensors, and refer to each other
        get_torch_device().empty_cache()
        try:
            return self._reduced()
        except AgreedOutOfMemory as error:
            raise RuntimeError(
                "device memory ran out while NTHR took scores, also with the hidden states in host memory; set "
                "algorithm.nthr.vocabulary=response, lower data.train_batch_size, actor_rollout_ref.rollout.n or "
                "data.max_response_length, spread a step over more devices, or leave the trainer more memory "
                f"(actor_rollout_ref.rollout.gpu_memory_utilization): {error}"
            ) from error

    def _temperature(self) -> Tensor:
        temperature = torch.as_tensor(self.data["temperature"], dtype=torch.float32)
        return temperature.expand(len(self.data))[self.slots.row]

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start
