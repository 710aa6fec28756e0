"""NTHR inside a worker: verl's own old-log-prob pass also records, then one reduction turns records into weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
import wrapt

from verl_nthr.influence.scores import influence_scores
from verl_nthr.influence.selection import penalty_factor, select_tokens, success_rates, thresholds
from verl_nthr.influence.sharding import Sharding
from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys
from verl_nthr.integration import fsdp
from verl_nthr.integration.request import REQUEST, RESPONSE, SCORE, SECONDS, THRESHOLD, WEIGHT, ScoringRequest
from verl_nthr.integration.slots import SLOT, FeatureStore, Recording, TokenSlots

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

    data = kwargs["data"] if "data" in kwargs else args[0]
    request = tu.pop(data, REQUEST)
    if request is None:
        return wrapped(*args, **kwargs)
    scoring = ScoringPass(engine, data, request)
    with scoring.capture():
        outputs = wrapped(*args, **kwargs)
    columns = scoring.columns()
    if engine.is_mp_src_rank_with_outputs():
        outputs["model_output"].update(columns)
    return outputs


class ScoringPass:
    """One old-log-prob pass of one rank that carries a request.

    All ranks of the engine's data-parallel group run the same collectives: the union of the groups' vocabularies before
    the pass; an agreement on errors, the sum of M⁺ and the sum of the anchors after it.
    """

    def __init__(self, engine: BaseEngine, data: TensorDict, request: ScoringRequest) -> None:
        from verl.utils.device import get_device_id
        from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

        if not isinstance(engine, FSDPEngineWithLMHead):
            raise TypeError(f"NTHR covers verl's FSDP engines, not {type(engine).__name__}")
        self.engine, self.data, self.request = engine, data, request
        self.seconds = 0.0
        self.sharding = Sharding(engine.get_data_parallel_group())
        self.device = torch.device(get_device_id())
        with self._timed():
            keys = torch.zeros(0, dtype=torch.int64, device=self.device)
            with self.sharding.local_work():
                layer = fsdp.output_layer(engine)
                self.vocab_size, self.dim = layer.out_features, layer.in_features
                self.slots = TokenSlots.of_batch(data["responses"], data["response_mask"], data[RESPONSE])
                keys = vocabulary_keys(request.group[self.slots.response], self.slots.token_ids, self.vocab_size)
                keys = keys.to(self.device)
            keys = self.sharding.union(keys)
            if request.options.vocabulary == "full":
                self.vocabulary = GroupVocabulary.whole(request.num_groups, self.vocab_size, self.device)
                entries = None
            else:
                self.vocabulary = GroupVocabulary.from_keys(keys, request.num_groups, self.vocab_size)
                entries = torch.unique(keys % self.vocab_size)
            self.recording = Recording(FeatureStore(len(self.slots), self.device), self.sharding, entries)
            data[SLOT] = self.slots.column

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Record features while verl's pass runs."""
        with fsdp.capture(self.engine, self.recording):
            yield
        self.seconds += self.recording.seconds
        del self.data[SLOT]

    @torch.no_grad()
    def columns(self) -> dict[str, torch.Tensor]:
        """Reduce over the ranks and return the columns of this rank's rows, on the host."""
        request, options = self.request, self.request.options
        group, correct = request.group.to(self.device), request.correct.to(self.device)
        with self._timed():
            with self.sharding.local_work():
                features = self.recording.store.features(self.slots, request.group, self._temperature(), self.dim)
            self.sharding.agree(self.device)
            scores, anchors = influence_scores(
                features,
                self.recording.rows,
                self.vocabulary,
                correct,
                self.sharding,
                anchor_includes_self=options.anchor_includes_self,
            )
            threshold = thresholds(anchors, group, request.num_groups, options.beta)
            factor = penalty_factor(options.eta, success_rates(group, correct, request.num_groups))
            everywhere = torch.ones(request.num_groups, dtype=torch.bool, device=self.device)
            selected = select_tokens(scores, features.group, correct[features.response], threshold, everywhere)
            weight = torch.where(selected, factor[features.group], torch.ones_like(scores))
            response = self.data[RESPONSE]
            row_threshold = torch.full(response.shape, torch.nan)
            row_threshold[response >= 0] = threshold.cpu()[request.group[response[response >= 0]]]
            columns = {
                SCORE: self.slots.scatter(scores, torch.nan),
                WEIGHT: self.slots.scatter(weight, 1.0),
                THRESHOLD: row_threshold,
            }
        return columns | {SECONDS: torch.full(response.shape, self.seconds)}

    def _temperature(self) -> torch.Tensor:
        temperature = torch.as_tensor(self.data["temperature"], dtype=torch.float32)
        return temperature.expand(len(self.data))[self.slots.row]

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start
