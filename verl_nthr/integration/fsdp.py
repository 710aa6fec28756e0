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
from verl_nthr.integration.slots import SLOT, Recording

if TYPE_CHECKING:
    from tensordict import TensorDict
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

CHECKED_TOKENS = 4


def output_layer(engine: FSDPEngineWithLMHead) -> nn.Linear:
    """The module that turns the last hidden state into logits.

    Raises:
        TypeError: the model has none, or it is not a linear layer.
    """
    layer = engine.module.get_output_embeddings()
    if not isinstance(layer, nn.Linear):
        raise TypeError(
            f"NTHR needs a linear output layer, but {type(engine.module).__name__}.get_output_embeddings() is "
            f"{type(layer).__name__}; use algorithm.adv_estimator=grpo for this model"
        )
    return layer


@contextmanager
def capture(engine: FSDPEngineWithLMHead, recording: Recording) -> Iterator[None]:
    """Record the features of all tokens that have a slot while the context is open."""
    layer, original = output_layer(engine), engine.prepare_model_outputs
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
            tokens = _SlottedTokens(micro_batch, packed=_is_packed(micro_batch))
            label_logits = tokens.label_logits(output.logits)
        model_output = original(
            output=output,
            output_args=output_args,
            micro_batch=micro_batch,
            logits_processor_func=logits_processor_func,
        )
        with recording.local_work():
            log_probs = model_output["log_probs"].values()[tokens.position].float()
            states = tokens.rows_of(hidden.pop())
            _check_output_layer(recording.rows, states, tokens, output.logits, log_probs)
            recording.store.write(tokens.slot, states, log_probs, label_logits - log_probs)
        return model_output

    handle = layer.register_forward_pre_hook(keep_hidden)
    engine.prepare_model_outputs = prepare_model_outputs
    try:
        yield
    finally:
        handle.remove()
        del engine.prepare_model_outputs


class _SlottedTokens:
    """The t tokens of a micro-batch that have a slot.

    Attributes:
        slot: [t] int64.
        token_ids: [t] int64.
        position: [t] int64, place that predicts the token, in the concatenation of all sequences.
        temperature: [t] float32.
    """

    def __init__(self, micro_batch: TensorDict, *, packed: bool) -> None:
        input_ids, slots = micro_batch["input_ids"], micro_batch[SLOT]
        starts, lengths, slot = input_ids.offsets(), slots.offsets().diff(), slots.values()
        row = torch.repeat_interleave(torch.arange(len(lengths), device=slot.device), lengths)
        # responses end their sequences: count the token's place from the sequence's end
        place = torch.arange(len(slot), device=slot.device) + (starts[1:] - slots.offsets()[1:])[row]
        kept = slot >= 0
        self.slot, row = slot[kept], row[kept]
        self.token_ids = input_ids.values()[place[kept]]
        self.position = place[kept] - 1
        temperature = torch.as_tensor(micro_batch["temperature"], dtype=torch.float32, device=slot.device)
        self.temperature = temperature.expand(len(lengths))[row]
        width = int(starts.diff().max())
        self._flat = self.position if packed else self.position - starts[row] + row * width

    def rows_of(self, tensor: Tensor, part: slice = slice(None)) -> Tensor:
        """[t, N] from the [1, tokens, N] of a packed or the [b, width, N] of a padded micro-batch."""
        return tensor.reshape(-1, tensor.shape[-1])[self._flat[part]]

    def label_logits(self, logits: Tensor) -> Tensor:
        """[t] float32: logit/temperature of the token itself, rounded as verl rounds it, from logits laid out alike."""
        chosen = logits.reshape(-1, logits.shape[-1])[self._flat, self.token_ids]
        return (chosen / self.temperature.to(chosen.dtype)).float()


def _is_packed(micro_batch: TensorDict) -> bool:
    from verl.utils import tensordict_utils as tu

    return tu.get_non_tensor_data(micro_batch, key="use_remove_padding", default=True)


def _output_rows(layer: nn.Linear, entries: Tensor | None) -> OutputRows:
    weight, bias = layer.weight.detach(), layer.bias
    if entries is None:
        return OutputRows(weight.clone(), None if bias is None else bias.detach().clone())
    return OutputRows(weight[entries], None if bias is None else bias.detach()[entries], entries)


def _check_output_layer(
    rows: OutputRows, states: Tensor, tokens: _SlottedTokens, logits: Tensor, log_probs: Tensor
) -> None:
    """The first tokens' log-probs must follow from their hidden states by the output layer alone.

    Raises:
        RuntimeError: they do not, as in models that cap or scale their logits.
    """
    few = slice(0, CHECKED_TOKENS)
    logits_tV = tokens.rows_of(logits, few).float()
    ids, temperature = tokens.token_ids[few, None], tokens.temperature[few, None]
    from_states = rows.label_logits(states[few], tokens.token_ids[few])
    from_logits = torch.log_softmax(logits_tV / temperature, dim=-1).gather(1, ids)[:, 0]
    rounding = 16 * torch.finfo(states.dtype).eps * (1 + logits_tV.abs().amax(dim=-1))
    if bool(((from_states - logits_tV.gather(1, ids)[:, 0]).abs() > rounding).any()):
        raise RuntimeError(
            "the model's logits are not its last hidden states times its output layer, as in models that cap or scale "
            "their logits, which NTHR does not cover; use algorithm.adv_estimator=grpo for this model"
        )
    if bool(((from_logits - log_probs[few]).abs() > rounding / temperature[:, 0]).any()):
        raise RuntimeError(
            f"verl's log-probs {log_probs[few].tolist()} are not those of the recorded tokens {from_logits.tolist()}: "
            "this version of verl lays out its micro-batches in another way"
        )
