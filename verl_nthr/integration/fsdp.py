"""Features from a forward-only pass of verl's FSDP engine.

Stands in, for one pass, for ``prepare_model_inputs`` and ``prepare_model_outputs`` of
``verl.workers.engine.fsdp.transformer_impl.FSDPEngineWithLMHead`` (0.9) on one engine object. Hidden states are seen
where they enter the output layer; with fused kernels, which never call it, where they leave the decoder. Under Ulysses
they stay on the sequence-parallel rank that computed them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from verl_nthr.influence.features import OutputRows
from verl_nthr.influence.sharding import Sharding
from verl_nthr.integration.recording import Recording, check_output_layer
from verl_nthr.integration.slots import SlottedTokens
from verl_nthr.integration.standing_in import standing_in

if TYPE_CHECKING:
    from tensordict import TensorDict
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead


class FSDPCapture:
    """Records from one FSDP engine: every rank holds all layers during the forward, and tokens of its own."""

    def __init__(self, engine: FSDPEngineWithLMHead) -> None:
        self.engine = engine
        self.layer = engine.module.get_output_embeddings()
        self.fused = engine.model_config.use_fused_kernels
        # verl's fused kernel in plain torch has its logits in the model's dtype, the one in Triton in float32
        self.rounds_logits = self.fused and engine.model_config.fused_kernel_options.get("impl_backend") == "torch"

    def stages(self) -> None:
        return None

    def has_output_layer(self) -> bool:
        return True

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

    def vocab_size(self) -> int:
        return self.layer.out_features

    def dim(self) -> int:
        return self.layer.in_features

    def sharding(self) -> Sharding:
        if self.engine.use_ulysses_sp:
            return Sharding(dist.group.WORLD, context=self.engine.ulysses_parallel_group)
        return Sharding(self.engine.get_data_parallel_group())

    @contextmanager
    def capture(self, recording: Recording) -> Iterator[None]:
        """Record the features of all tokens that have a slot while the context is open."""
        from verl.utils.device import get_device_name

        engine = self.engine
        prepare_inputs, prepare_outputs = engine.prepare_model_inputs, engine.prepare_model_outputs
        micro_batches: list[_MicroBatch] = []

        @contextmanager
        def local_work() -> Iterator[None]:
            # verl's autocast would take these sums in half precision
            with recording.local_work(), torch.autocast(get_device_name(), enabled=False):
                yield

        def prepare_model_inputs(micro_batch: TensorDict) -> tuple[dict[str, Any], dict[str, Any]]:
            inputs, output_args = prepare_inputs(micro_batch)
            with local_work():
                micro_batches[:] = [self._held_here(micro_batch, output_args.get("pad_size", 0))]
            return inputs, output_args

        def observe(hidden: Tensor) -> None:
            with local_work():
                micro_batches[0].observe(hidden.detach(), self.layer, recording)
                if self.fused:
                    micro_batches[0].compute_logits(self.layer, recording, round_logits=self.rounds_logits)

        def prepare_model_outputs(
            output: Any, output_args: dict[str, Any], micro_batch: TensorDict, logits_processor_func: Any
        ) -> dict[str, Tensor]:
            if not self.fused:
                with local_work():
                    # verl scales and overwrites the logits
                    micro_batches[0].read_logits(_flat(output.logits), recording)
            model_output = prepare_outputs(
                output=output,
                output_args=output_args,
                micro_batch=micro_batch,
                logits_processor_func=logits_processor_func,
            )
            with local_work():
                micro_batches.pop().write(model_output["log_probs"].values(), recording)
            return model_output

        if self.fused:
            handle = self._decoder().register_forward_hook(lambda _, args, output: observe(output[0]))
        else:
            handle = self.layer.register_forward_pre_hook(lambda _, args: observe(args[0]))
        try:
            with (
                standing_in(engine, "prepare_model_inputs", prepare_model_inputs),
                standing_in(engine, "prepare_model_outputs", prepare_model_outputs),
            ):
                yield
        finally:
            handle.remove()

    def _decoder(self) -> nn.Module:
        """What the fused forward of ``verl.models.transformers.dense_common`` calls before its kernel."""
        module = getattr(self.engine.module, "_fsdp_wrapped_module", self.engine.module)
        return (module.get_base_model() if hasattr(module, "get_base_model") else module).model

    def _held_here(self, micro_batch: TensorDict, padding: int) -> _MicroBatch:
        """The tokens that this rank computes, and where.

        Args:
            micro_batch: what goes into the model.
            padding: positions that verl appends to a packed micro-batch.
        """
        from verl.utils import tensordict_utils as tu

        tokens = SlottedTokens.of_micro_batch(micro_batch)
        if not tu.get_non_tensor_data(micro_batch, key="use_remove_padding", default=True):
            width = int(micro_batch["input_ids"].offsets().diff().max())
            return _MicroBatch(tokens, tokens.row * width + tokens.position - tokens.start)
        if not self.engine.use_ulysses_sp:
            return _MicroBatch(tokens, tokens.position)
        ranks = self.engine.ulysses_parallel_group
        length = (micro_batch["input_ids"].values().shape[0] + padding) // ranks.size()
        place = tokens.position - ranks.rank() * length
        here = (place >= 0) & (place < length)
        return _MicroBatch(tokens[here], place[here])


class _MicroBatch:
    """The t tokens of a micro-batch that this rank computes."""

    def __init__(self, tokens: SlottedTokens, place: Tensor) -> None:
        """Start with the tokens and the place [t] that predicts each in this rank's flattened hidden states."""
        self.tokens, self.place = tokens, place

    def observe(self, hidden: Tensor, layer: nn.Linear, recording: Recording) -> None:
        """Take the hidden states while the output layer's weight is whole on this rank."""
        if recording.rows is None:
            recording.rows = _output_rows(layer, recording.entries)
        self.states = _flat(hidden)[self.place]

    def compute_logits(self, layer: nn.Linear, recording: Recording, *, round_logits: bool) -> None:
        """Compute the tokens' own logits where the model returns none."""
        few, temperature = recording.unchecked, self.tokens.temperature
        dtype = self.states.dtype if round_logits else torch.float32
        label_logits = recording.rows.label_logits(self.states, self.tokens.token_ids).to(dtype).float()
        self.label_logits = (label_logits / temperature).to(dtype).float()
        self.log_sums = self.label_logits[:0]
        if few.stop:
            weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
            logits_tV = nn.functional.linear(self.states[few].to(weight.dtype), weight, bias).float()
            self.log_sums = torch.logsumexp(logits_tV / temperature[few, None], dim=-1)

    def read_logits(self, logits: Tensor, recording: Recording) -> None:
        """Take the tokens' own logits, rounded as verl rounds them, and check them."""
        few, tokens = recording.unchecked, self.tokens
        chosen = logits[self.place, tokens.token_ids]
        self.label_logits = (chosen / tokens.temperature.to(chosen.dtype)).float()
        self.log_sums = self.label_logits[:0]
        if few.stop:
            logits_tV, ids = logits[self.place[few]].float(), tokens.token_ids[few]
            check_output_layer(recording.rows, self.states[few], ids, logits_tV, ids)
            self.log_sums = torch.logsumexp(logits_tV / tokens.temperature[few, None], dim=-1)

    def write(self, log_probs: Tensor, recording: Recording) -> None:
        """Hand everything over, with verl's log-probs of all positions."""
        tokens = self.tokens
        recording.write(tokens.slot, self.states, log_probs[tokens.position], self.label_logits, self.log_sums)


def _flat(tensor: Tensor) -> Tensor:
    """[tokens, N] from the [1, tokens, N] of a packed or the [b, width, N] of a padded micro-batch."""
    return tensor.reshape(-1, tensor.shape[-1])


def _output_rows(layer: nn.Linear, entries: Tensor | None) -> OutputRows:
    weight, bias = layer.weight.detach(), layer.bias
    if entries is None:
        return OutputRows(weight.clone(), None if bias is None else bias.detach().clone())
    return OutputRows(weight[entries], None if bias is None else bias.detach()[entries], entries)
