"""Workers as verl builds them, around an engine that needs no model; imports nothing that loads the plugin."""

from __future__ import annotations

from types import SimpleNamespace

import torch


def worker_with(kind: type) -> SimpleNamespace:
    """A colocated worker with an engine of a class; its model is an output layer."""
    engine = object.__new__(kind)
    engine.module = SimpleNamespace(get_output_embeddings=lambda: torch.nn.Linear(2, 3))
    engine.model_config = SimpleNamespace(use_fused_kernels=False)
    actor = SimpleNamespace(engine=engine)
    return SimpleNamespace(worker_dict={"actor_rollout": SimpleNamespace(actor=actor)})


class ColocatedWorker:
    """An asynchronous actor of Ray, as verl's workers are."""

    def __init__(self) -> None:
        from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

        self.worker_dict = worker_with(FSDPEngineWithLMHead).worker_dict

    async def update_weights(self) -> None:
        """Makes the actor asynchronous."""
