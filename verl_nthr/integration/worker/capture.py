"""Hooks of a scoring pass into one of verl's engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from torch import Tensor

from verl_nthr.influence.process_grid import ProcessGrid

if TYPE_CHECKING:
    import torch.distributed as dist
    from tensordict import TensorDict

    from verl_nthr.integration.worker.recorder import Recorder


class EngineCapture(ABC):
    """Watches the forwards of one engine for one pass.

    For the time of a pass it replaces ``prepare_model_inputs`` and ``prepare_model_outputs`` on the engine object,
    between which verl runs one micro-batch's forward. A subclass says where the hidden states enter the LM head and
    where each token lies among them.

    Attributes:
        pipeline_group: ranks that hold other layers of the same model and batch; None if every rank holds all layers.
        vocabulary_group: ranks that own other rows of the LM head; None if every rank has all of them.
        has_lm_head: whether this rank holds the LM head, and so takes part in scoring.
        vocab_size: V, without the rows that pad the LM head.
        hidden_size: D.
    """

    pipeline_group: dist.ProcessGroup | None = None
    vocabulary_group: dist.ProcessGroup | None = None
    has_lm_head: bool = True
    vocab_size: int
    hidden_size: int

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    @abstractmethod
    def grid(self) -> ProcessGrid:
        """The ranks that the batch's tokens lie on."""

    @abstractmethod
    def check_model(self) -> None:
        """Refuse models that NTHR does not cover.

        Raises:
            TypeError: the message says why.
        """

    @abstractmethod
    def lm_head_rows(self, entries: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Weight [U, D] and bias [U] of the vocabulary ``entries`` [U], of all V for None, after the pass.

        Rows that another rank of ``vocabulary_group`` owns are 0.
        """

    @abstractmethod
    def begin(self, recorder: Recorder, micro_batch: TensorDict, model_inputs: Any) -> None:
        """Before a forward: note the micro-batch and what verl makes of it."""

    @abstractmethod
    def hooks(self, recorder: Recorder, entries: Tensor | None) -> AbstractContextManager[None]:
        """Hand hidden states to ``recorder`` during the forward while the context is open."""

    def end(self, recorder: Recorder, output: Any) -> None:  # noqa: B027 - one engine has nothing to do
        """After a forward, before verl turns its ``output`` into log-probs."""

    @contextmanager
    def record(self, recorder: Recorder, entries: Tensor | None) -> Iterator[None]:
        """Record all tokens that have a slot while the context is open.

        Args:
            recorder: takes them.
            entries: as for :meth:`lm_head_rows`.
        """
        engine = self.engine
        verl_inputs, verl_outputs = engine.prepare_model_inputs, engine.prepare_model_outputs

        def prepare_model_inputs(*args: Any, **kwargs: Any) -> Any:
            model_inputs = verl_inputs(*args, **kwargs)
            recorder.attempt(self.begin, recorder, _first(args, kwargs), model_inputs)
            return model_inputs

        def prepare_model_outputs(*args: Any, **kwargs: Any) -> dict[str, Tensor]:
            recorder.attempt(self.end, recorder, kwargs.get("output", _first(args, kwargs)))
            model_output = verl_outputs(*args, **kwargs)
            recorder.attempt(recorder.finish, model_output["log_probs"].values())
            return model_output

        with (
            mock.patch.object(engine, "prepare_model_inputs", prepare_model_inputs),
            mock.patch.object(engine, "prepare_model_outputs", prepare_model_outputs),
            self.hooks(recorder, entries),
        ):
            yield


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else next(iter(kwargs.values()))
