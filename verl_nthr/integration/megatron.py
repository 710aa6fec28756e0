"""Features from a forward-only pass of verl's Megatron engine.

Stands in, for one pass, for ``prepare_model_inputs`` and ``prepare_model_outputs`` of
``verl.workers.engine.megatron.transformer_impl.MegatronEngineWithLMHead`` (0.9) on one engine object. Hidden states are
seen where they enter the output layer: by a hook on it, or in ``linear_cross_entropy`` of
``verl.models.mcore.model_forward_fused``. They stay on the context-parallel rank that computed them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from verl_nthr.influence.features import OutputRows
from verl_nthr.influence.sharding import Sharding, VocabularyShard
from verl_nthr.integration.recording import Recording, check_output_layer
from verl_nthr.integration.slots import SlottedTokens
from verl_nthr.integration.standing_in import standing_in

if TYPE_CHECKING:
    import torch.distributed as dist
    from tensordict import TensorDict
    from verl.workers.engine.megatron.transformer_impl import MegatronEngineWithLMHead


class MegatronCapture:
    """Records from one Megatron engine, on the ranks of the last pipeline stage."""

    def __init__(self, engine: MegatronEngineWithLMHead) -> None:
        from megatron.core import parallel_state

        self.engine = engine
        self.state = parallel_state

    def stages(self) -> dist.ProcessGroup:
        return self.state.get_pipeline_model_parallel_group()

    def has_output_layer(self) -> bool:
        return self.state.is_pipeline_last_stage(ignore_virtual=True)

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

    def vocab_size(self) -> int:
        return self.engine.model_config.hf_config.vocab_size

    def dim(self) -> int:
        return self.engine.tf_config.hidden_size

    def sharding(self) -> Sharding:
        ranks = self.state.get_tensor_model_parallel_group()
        start = ranks.rank() * self._layer().output_size_per_partition
        stop = start + self._layer().output_size_per_partition
        size = self.vocab_size()
        return Sharding(
            tokens=self.state.get_data_parallel_group(with_context_parallel=True),
            vocabulary=VocabularyShard(min(start, size), min(stop, size), ranks),
            context=self.state.get_context_parallel_group(),
        )

    @contextmanager
    def capture(self, recording: Recording) -> Iterator[None]:
        """Record the features of all tokens that have a slot while the context is open."""
        engine = self.engine
        prepare_inputs, prepare_outputs = engine.prepare_model_inputs, engine.prepare_model_outputs
        current: list[TensorDict] = []
        seen: list[_Observation] = []

        def prepare_model_inputs(batch: TensorDict) -> dict[str, Any]:
            current[:] = [batch]
            return prepare_inputs(batch)

        def observe(hidden: Tensor, weight: Tensor, logits: Tensor | None) -> None:
            with recording.local_work():
                seen[:] = [self._observe(current.pop(), recording, hidden.detach(), weight.detach(), logits)]

        def prepare_model_outputs(output: dict[str, Tensor], data: TensorDict) -> dict[str, Tensor]:
            model_output = prepare_outputs(output, data)
            with recording.local_work():
                found = seen.pop()
                log_probs = model_output["log_probs"].values()[found.tokens.position]
                recording.write(found.tokens.slot, found.hidden, log_probs, found.label_logits, found.log_sums)
            return model_output

        with (
            standing_in(engine, "prepare_model_inputs", prepare_model_inputs),
            standing_in(engine, "prepare_model_outputs", prepare_model_outputs),
            _seen_fused(observe) if engine.engine_config.use_fused_kernels else _seen_by_hook(self._layer(), observe),
        ):
            yield

    def _model(self) -> nn.Module:
        """The last part of the model that this rank holds."""
        from verl.utils.megatron_utils import unwrap_model

        return unwrap_model(self.engine.module[-1])

    def _layer(self) -> nn.Module:
        """The output layer, a ``ColumnParallelLinear``; with tied embeddings it may own no weight."""
        model = self._model()
        return getattr(model, "language_model", model).output_layer

    def _observe(
        self, micro_batch: TensorDict, recording: Recording, hidden: Tensor, weight: Tensor, logits: Tensor | None
    ) -> _Observation:
        """The micro-batch's tokens that this context-parallel rank holds.

        Args:
            micro_batch: what went into the model.
            recording: what is wanted of the output layer.
            hidden: [s, b, D] states that enter the output layer, of all tensor-parallel ranks.
            weight: [V / tensor-parallel ranks, D].
            logits: [s, b, V / tensor-parallel ranks], or None if they are never formed.
        """
        start = recording.sharding.vocabulary.start
        if recording.rows is None:
            recording.rows = _output_rows(weight, recording.sharding.vocabulary, recording.entries)
        tokens = SlottedTokens.of_micro_batch(micro_batch)
        place = self._places(micro_batch)[tokens.position]
        tokens, place = tokens[place >= 0], place[place >= 0]
        at = place % hidden.shape[0], place // hidden.shape[0]
        states, temperature = hidden[at], tokens.temperature
        column = tokens.token_ids - start
        owned = (column >= 0) & (column < weight.shape[0])
        label_logits = states.new_zeros(len(states), dtype=torch.float32)
        if logits is None:
            label_logits[owned] = (
                recording.rows.label_logits(states[owned], tokens.token_ids[owned]) / temperature[owned]
            )
        else:
            chosen = logits[at[0][owned], at[1][owned], column[owned]]
            label_logits[owned] = (chosen / temperature[owned].to(chosen.dtype)).float()
        few, log_sums = recording.unchecked, label_logits[:0]
        if few.stop:
            if logits is None:
                logits_tV = (states[few] @ weight.T).float()
            else:
                logits_tV, mine = logits[at[0][few], at[1][few]].float(), owned[few]
                check_output_layer(
                    recording.rows, states[few][mine], tokens.token_ids[few][mine], logits_tV[mine], column[few][mine]
                )
            log_sums = torch.logsumexp(logits_tV / temperature[few, None], dim=-1)
        return _Observation(tokens, states, label_logits, log_sums)

    def _places(self, micro_batch: TensorDict) -> Tensor:
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


@dataclass(frozen=True)
class _Observation:
    """Tokens of a micro-batch, and what :meth:`Recording.write` needs of them apart from their log-probs."""

    tokens: SlottedTokens
    hidden: Tensor
    label_logits: Tensor
    log_sums: Tensor


Observer = Callable[[Tensor, Tensor, Tensor | None], None]


@contextmanager
def _seen_by_hook(layer: nn.Module, observe: Observer) -> Iterator[None]:
    """Show hidden states, weight and logits of every forward of the output layer."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any], output: tuple[Tensor, Any]) -> None:
        from megatron.core.tensor_parallel import gather_from_sequence_parallel_region

        hidden, weight = args[0], kwargs.get("weight")
        if module.sequence_parallel:
            hidden = gather_from_sequence_parallel_region(hidden)
        observe(hidden, module.weight if weight is None else weight, output[0])

    handle = layer.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _seen_fused(observe: Observer) -> Iterator[None]:
    """Show hidden states and weight of every fused cross-entropy, which gets them after the gather."""
    from verl.models.mcore import model_forward_fused

    original = model_forward_fused.linear_cross_entropy

    def linear_cross_entropy(hidden: Tensor, weight: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
        observe(hidden, weight, None)
        return original(hidden, weight, *args)

    with standing_in(model_forward_fused, "linear_cross_entropy", linear_cross_entropy):
        yield


def _output_rows(weight: Tensor, shard: VocabularyShard, entries: Tensor | None) -> OutputRows:
    """Those of the wanted rows that this rank owns; its padding rows are left out."""
    if entries is None:
        entries = torch.arange(shard.start, shard.stop, device=weight.device)
    owned = entries[(entries >= shard.start) & (entries < shard.stop)]
    return OutputRows(weight[owned - shard.start], token_ids=owned)
