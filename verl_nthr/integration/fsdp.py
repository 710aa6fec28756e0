"""Features from a forward-only pass of verl's FSDP engine.

Stands in, for one pass, for ``prepare_model_outputs`` of
``verl.workers.engine.fsdp.transformer_impl.FSDPEngineWithLMHead`` (0.9) on one engine object, and hooks its
output layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from verl_nthr.influence.features import OutputRows
from verl_nthr.influence.sharding import Sharding
from verl_nthr.integration.recording import Recording, check_output_layer
from verl_nthr.integration.slots import SlottedTokens

if TYPE_CHECKING:
    from tensordict import TensorDict
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead


class FSDPCapture:
    """Records from one FSDP engine: every rank holds all layers during the forward, and tokens of its own."""

    def __init__(self, engine: FSDPEngineWithLMHead) -> None:
        self.engine = engine
        self.layer = engine.module.get_output_embeddings()

    def stages(self) -> None:
        return None

    def has_output_layer(self) -> bool:
        return True

    def check_model(self) -> None:
        if not isinstance(self.layer, nn.Linear):
            raise TypeError(
                f"NTHR needs a linear output layer, but {type(self.engine.module).__name__}.get_output_embeddings() is "
                f"{type(self.layer).__name__}; use algorithm.adv_estimator=grpo for this model"
            )

    def vocab_size(self) -> int:
        return self.layer.out_features

    def dim(self) -> int:
        return self.layer.in_features

    def sharding(self) -> Sharding:
        return Sharding(self.engine.get_data_parallel_group())

    @contextmanager
    def capture(self, recording: Recording) -> Iterator[None]:
        """Record the features of all tokens that have a slot while the context is open."""
        original = self.engine.prepare_model_outputs
        hidden: list[Tensor] = []

        def keep_hidden(module: nn.Linear, inputs: tuple[Tensor, ...]) -> None:
            hidden[:] = [inputs[0].detach()]
            if recording.rows is None:
                with recording.local_work():
                    recording.rows = _output_rows(module, recording.entries)

        def prepare_model_outputs(
            output: Any, output_args: dict[str, Any], micro_batch: TensorDict, logits_processor_func: Any
        ) -> dict[str, Tensor]:
            with recording.local_work():
                tokens = SlottedTokens.of_micro_batch(micro_batch)
                place = _places(tokens, micro_batch)
                label_logits = _label_logits(_flat(output.logits), place, tokens)
            model_output = original(
                output=output,
                output_args=output_args,
                micro_batch=micro_batch,
                logits_processor_func=logits_processor_func,
            )
            with recording.local_work():
                few = recording.unchecked
                states, logits_tV = _flat(hidden.pop())[place], _flat(output.logits)[place[few]].float()
                check_output_layer(recording.rows, states[few], tokens.token_ids[few], logits_tV, tokens.token_ids[few])
                recording.write(
                    tokens.slot,
                    states,
                    model_output["log_probs"].values()[tokens.position],
                    label_logits,
                    torch.logsumexp(logits_tV / tokens.temperature[few, None], dim=-1),
                )
            return model_output

        handle = self.layer.register_forward_pre_hook(keep_hidden)
        self.engine.prepare_model_outputs = prepare_model_outputs
        try:
            yield
        finally:
            handle.remove()
            del self.engine.prepare_model_outputs


def _places(tokens: SlottedTokens, micro_batch: TensorDict) -> Tensor:
    """[t] place that predicts each token, in the flattened output of a packed or padded micro-batch."""
    from verl.utils import tensordict_utils as tu

    if tu.get_non_tensor_data(micro_batch, key="use_remove_padding", default=True):
        return tokens.position
    width = int(micro_batch["input_ids"].offsets().diff().max())
    return tokens.row * width + tokens.position - tokens.start


def _flat(tensor: Tensor) -> Tensor:
    """[tokens, N] from the [1, tokens, N] of a packed or the [b, width, N] of a padded micro-batch."""
    return tensor.reshape(-1, tensor.shape[-1])


def _label_logits(logits: Tensor, place: Tensor, tokens: SlottedTokens) -> Tensor:
    """[t] float32: logit/temperature of the token itself, rounded as verl rounds it."""
    chosen = logits[place, tokens.token_ids]
    return (chosen / tokens.temperature.to(chosen.dtype)).float()


def _output_rows(layer: nn.Linear, entries: Tensor | None) -> OutputRows:
    weight, bias = layer.weight.detach(), layer.bias
    if entries is None:
        return OutputRows(weight.clone(), None if bias is None else bias.detach().clone())
    return OutputRows(weight[entries], None if bias is None else bias.detach()[entries], entries)
