"""Capture of verl's Megatron engine (``verl.workers.engine.megatron.transformer_impl.MegatronEngineWithLMHead``, 0.9).

Hidden states are seen where they enter the LM head: by a hook on it, or in ``linear_cross_entropy`` of
``verl.models.mcore.model_forward_fused``. A context-parallel rank has the tokens that it computed; the tensor-parallel
ranks, which all compute the same ones, share them: under sequence parallelism each keeps its shard of the sequence,
else every tp-th token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch import Tensor, nn

from verl_nthr.influence.process_grid import ProcessGrid
from verl_nthr.integration.worker.capture import EngineCapture
from verl_nthr.integration.worker.token_slots import MicroBatchTokens

if TYPE_CHECKING:
    from tensordict import TensorDict
    from verl.workers.engine.megatron.transformer_impl import MegatronEngineWithLMHead

    from verl_nthr.integration.worker.recorder import Recorder


class MegatronCapture(EngineCapture):
    """The ranks of the last pipeline stage hold the LM head."""

    def __init__(self, engine: MegatronEngineWithLMHead) -> None:
        from megatron.core import parallel_state

        super().__init__(engine)
        self.state = parallel_state
        self.pipeline_group = parallel_state.get_pipeline_model_parallel_group()
        self.vocabulary_group = parallel_state.get_tensor_model_parallel_group()
        self.has_lm_head = parallel_state.is_pipeline_last_stage(ignore_virtual=True)
        self._micro_batch: TensorDict | None = None

    @property
    def vocab_size(self) -> int:
        return self.engine.model_config.hf_config.vocab_size

    @property
    def hidden_size(self) -> int:
        return self.engine.tf_config.hidden_size

    def grid(self) -> ProcessGrid:
        return ProcessGrid(
            tokens=self.state.get_tensor_and_data_parallel_group(with_context_parallel=True),
            response=self.state.get_tensor_and_context_parallel_group(),
        )

    def check_model(self) -> None:
        engine, hf_config = self.engine, self.engine.model_config.hf_config
        reasons = {
            "models with images": hasattr(hf_config, "vision_config"),
            "multi-token prediction": engine.model_config.mtp.enable,
            "adapters": engine.peft_cls is not None,
            "dynamic context parallelism": engine.engine_config.dynamic_context_parallel,
            "FP8": bool(engine.tf_config.fp8),
            "a contiguous context-parallel layout": engine._get_context_parallel_layout(self._model()) != "zigzag",
            "an output layer with a bias": self._layer().bias is not None,
        }
        for reason, applies in reasons.items():
            if applies:
                raise TypeError(
                    f"NTHR does not cover {reason} on the Megatron engine; use algorithm.adv_estimator=grpo"
                )

    def lm_head_rows(self, entries: Tensor | None) -> tuple[Tensor, None]:
        weight, first = self._weight(), self.first_entry()
        if entries is None:
            entries = torch.arange(self.vocab_size, device=weight.device)
        rows = weight.new_zeros(len(entries), weight.shape[1])
        owned = ((entries >= first) & (entries < first + len(weight))).nonzero()[:, 0]
        rows[owned] = weight[entries[owned] - first]
        return rows, None

    def begin(self, recorder: Recorder, micro_batch: TensorDict, model_inputs: Any) -> None:
        self._micro_batch = micro_batch

    def hooks(self, recorder: Recorder, entries: Tensor | None) -> AbstractContextManager[None]:
        return (
            self._in_fused_loss(recorder) if self.engine.engine_config.use_fused_kernels else self._on_layer(recorder)
        )

    def observe(self, recorder: Recorder, hidden: Tensor, weight: Tensor, logits: Tensor | None) -> None:
        """Take one forward of the LM head.

        Args:
            recorder: takes it.
            hidden: [s, b, D] states that enter the LM head; this rank's shard of the sequence where the layer itself
                gathers the shards.
            weight: [V / tensor-parallel ranks, D].
            logits: [s, b, V / tensor-parallel ranks], or None if they are never formed.
        """
        tokens = MicroBatchTokens.of_micro_batch(self._micro_batch)
        place = self.places(self._micro_batch)[tokens.position]
        here = (place >= 0).nonzero()[:, 0]
        tokens, place = tokens[here], place[here]
        rank, ranks = self.vocabulary_group.rank(), self.vocabulary_group.size()
        is_shard = logits is not None and self._layer().sequence_parallel
        length, batch = hidden.shape[0] * (ranks if is_shard else 1), hidden.shape[1]
        # verl's layout is [b, s], the model's [s, b]
        step, row = place % length, place // length
        recorder.begin(tokens, step * batch + row)
        flat = hidden.reshape(-1, hidden.shape[-1])
        if is_shard:
            first = rank * hidden.shape[0]
            own = ((step >= first) & (step < first + hidden.shape[0])).nonzero()[:, 0]
            recorder.observe(flat, own, (step[own] - first) * batch + row[own])
        else:
            recorder.observe(flat, torch.arange(rank, len(place), ranks, device=place.device))
        if logits is None:
            recorder.observe_lm_head(flat, weight)
        else:
            recorder.observe_logits(logits.reshape(-1, logits.shape[-1]), self.first_entry(), whole=ranks == 1)

    @contextmanager
    def _on_layer(self, recorder: Recorder) -> Iterator[None]:
        """Observe every forward of the LM head."""

        def hook(
            layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any], output: tuple[Tensor, Any]
        ) -> None:
            weight = layer.weight if kwargs.get("weight") is None else kwargs["weight"]
            recorder.attempt(self.observe, recorder, args[0].detach(), weight.detach(), output[0])

        handle = self._layer().register_forward_hook(hook, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def _in_fused_loss(self, recorder: Recorder) -> Iterator[None]:
        """Observe every fused cross-entropy, which gets the hidden states after the gather."""
        from verl.models.mcore import model_forward_fused

        original = model_forward_fused.linear_cross_entropy

        def linear_cross_entropy(hidden: Tensor, weight: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
            recorder.attempt(self.observe, recorder, hidden.detach(), weight.detach(), None)
            return original(hidden, weight, *args)

        with mock.patch.object(model_forward_fused, "linear_cross_entropy", linear_cross_entropy):
            yield

    def _model(self) -> nn.Module:
        """The last part of the model that this rank holds."""
        from verl.utils.megatron_utils import unwrap_model

        model = unwrap_model(self.engine.module[-1])
        return getattr(model, "language_model", model)

    def _layer(self) -> nn.Module:
        """The LM head, a ``ColumnParallelLinear``; with tied embeddings it may own no weight."""
        return self._model().output_layer

    def _weight(self) -> Tensor:
        """[V / tensor-parallel ranks, D], padding rows included."""
        model = self._model()
        tied = model.share_embeddings_and_output_weights
        return (model.shared_embedding_or_output_weight() if tied else self._layer().weight).detach()

    def first_entry(self) -> int:
        return self.vocabulary_group.rank() * self._layer().output_size_per_partition

    def places(self, micro_batch: TensorDict) -> Tensor:
        """[N] place of each of a micro-batch's N positions in what this rank feeds to the model, −1 if elsewhere.

        verl's own preprocessing lays out the numbers of the positions.
        """
        from verl.models.mcore.util import preprocess_bshd_engine, preprocess_thd_engine
        from verl.utils import tensordict_utils as tu

        config, input_ids = self.engine.engine_config, micro_batch["input_ids"]
        total = input_ids.values().shape[0]
        # 0 stands for padding
        numbers = torch.arange(1, total + 1, device=input_ids.device)
        numbers = torch.nested.nested_tensor_from_jagged(numbers, input_ids.offsets())
        if config.use_remove_padding:
            bucket = config.pad_to_length_bucket if config.pad_to_length else None
            laid_out, _, _ = preprocess_thd_engine(numbers, pad_to_length_bucket=bucket)
        else:
            longest = tu.get_non_tensor_data(micro_batch, key="forced_max_seqlen", default=None)
            laid_out, _, _ = preprocess_bshd_engine(numbers, forced_max_seqlen=longest)
        laid_out = laid_out.reshape(-1)
        places = torch.full((total + 1,), -1, device=input_ids.device)
        places[laid_out] = torch.arange(len(laid_out), device=input_ids.device)
        return places[1:]
