"""Capture of verl's FSDP engine (``verl.workers.engine.fsdp.transformer_impl.FSDPEngineWithLMHead``, 0.9).

Hidden states are seen where they enter the LM head; with fused kernels, which never call it, where they leave the
decoder. Under Ulysses they stay on the sequence-parallel rank that computed them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch import Tensor, nn

from verl_nthr.influence.process_grid import ProcessGrid
from verl_nthr.integration.worker.capture import EngineCapture
from verl_nthr.integration.worker.token_slots import MicroBatchTokens

if TYPE_CHECKING:
    from tensordict import TensorDict
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

    from verl_nthr.integration.worker.recorder import Recorder


class FSDPCapture(EngineCapture):
    """Every rank holds all layers during the forward, and tokens of its own."""

    def __init__(self, engine: FSDPEngineWithLMHead) -> None:
        super().__init__(engine)
        self.layer = engine.module.get_output_embeddings()
        self.fused = engine.model_config.use_fused_kernels
        self._rows: tuple[Tensor, Tensor | None] | None = None

    @property
    def vocab_size(self) -> int:
        return self.layer.out_features

    @property
    def hidden_size(self) -> int:
        return self.layer.in_features

    def grid(self) -> ProcessGrid:
        if self.engine.use_ulysses_sp:
            return ProcessGrid(dist.group.WORLD, self.engine.ulysses_parallel_group)
        return ProcessGrid(self.engine.get_data_parallel_group())

    def check_model(self) -> None:
        from torch.distributed.fsdp import FSDPModule

        if hasattr(self.layer, "get_base_layer"):
            raise TypeError(
                "NTHR does not cover an adapter on the output layer; leave the layer out of "
                "actor_rollout_ref.model.target_modules"
            )
        if not isinstance(self.layer, nn.Linear):
            raise TypeError(
                f"NTHR needs a linear output layer, but {type(self.engine.module).__name__}.get_output_embeddings() is "
                f"{type(self.layer).__name__}; use algorithm.adv_estimator=grpo for this model"
            )
        if self.fused and isinstance(self.layer, FSDPModule):
            raise TypeError(
                "fused kernels read the output layer's weight outside of its forward, where fsdp2 has it sharded if it "
                "is not tied to the embedding; set actor_rollout_ref.model.use_fused_kernels=False or "
                "actor_rollout_ref.actor.strategy=fsdp"
            )

    def lm_head_rows(self, entries: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """As the first forward had them: outside of a forward, FSDP has the weight sharded."""
        return self._rows

    def begin(self, recorder: Recorder, micro_batch: TensorDict, model_inputs: tuple[Any, dict[str, Any]]) -> None:
        tokens, place = self.locate(micro_batch, padding=model_inputs[1].get("pad_size", 0))
        recorder.begin(tokens, place)

    def end(self, recorder: Recorder, output: Any) -> None:
        if not self.fused:
            recorder.observe_logits(_flat(output.logits))

    @contextmanager
    def hooks(self, recorder: Recorder, entries: Tensor | None) -> Iterator[None]:
        def observe(hidden: Tensor) -> None:
            layer, hidden = self.layer, _flat(hidden.detach())
            weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
            if self._rows is None:
                self._rows = _rows_of(weight, entries), None if bias is None else _rows_of(bias, entries)
            recorder.observe(hidden)
            if self.fused:
                recorder.observe_lm_head(hidden, weight, bias)

        if self.fused:
            handle = self._decoder().register_forward_hook(lambda _, args, output: recorder.attempt(observe, output[0]))
        else:
            handle = self.layer.register_forward_pre_hook(lambda _, args: recorder.attempt(observe, args[0]))
        try:
            yield
        finally:
            handle.remove()

    def _decoder(self) -> nn.Module:
        """Called by the fused forward of ``verl.models.transformers.dense_common`` before its kernel."""
        module = getattr(self.engine.module, "_fsdp_wrapped_module", self.engine.module)
        return (module.get_base_model() if hasattr(module, "get_base_model") else module).model

    def locate(self, micro_batch: TensorDict, padding: int) -> tuple[MicroBatchTokens, Tensor]:
        """The tokens that this rank computes, and the row of each in its flattened hidden states.

        Args:
            micro_batch: what goes into the model.
            padding: positions that verl appends to a packed micro-batch.
        """
        from verl.utils import tensordict_utils as tu

        tokens = MicroBatchTokens.of_micro_batch(micro_batch)
        if not tu.get_non_tensor_data(micro_batch, key="use_remove_padding", default=True):
            width = int(micro_batch["input_ids"].offsets().diff().max())
            return tokens, tokens.row * width + tokens.position - tokens.start
        if not self.engine.use_ulysses_sp:
            return tokens, tokens.position
        ranks = self.engine.ulysses_parallel_group
        length = (micro_batch["input_ids"].values().shape[0] + padding) // ranks.size()
        place = tokens.position - ranks.rank() * length
        here = ((place >= 0) & (place < length)).nonzero()[:, 0]
        return tokens[here], place[here]


def _flat(tensor: Tensor) -> Tensor:
    """[tokens, N] from the [1, tokens, N] of a packed or the [b, width, N] of a padded micro-batch."""
    return tensor.reshape(-1, tensor.shape[-1])


def _rows_of(tensor: Tensor, entries: Tensor | None) -> Tensor:
    """A copy of some rows, of all for None."""
    return tensor.clone() if entries is None else tensor[entries]
