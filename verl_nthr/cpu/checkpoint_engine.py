"""Transfer of weights over gloo to rollout engines that are separate from the trainer's processes."""

import json
from collections.abc import AsyncGenerator, Iterable
from itertools import count
from typing import Any

import ray
import torch
import torch.distributed as dist
from verl.checkpoint_engine.base import CheckpointEngine

from verl_nthr.cpu.environment import TIMEOUT_VARIABLE, timeout


class GlooCheckpointEngine(CheckpointEngine):
    """Broadcast of every tensor from the trainer's first process to all processes of the rollout (verl 0.9.1).

    Registered as ``actor_rollout_ref.rollout.checkpoint_engine.backend=gloo``. Names and shapes go through a TCP store,
    data through gloo; both live for one update, and each side waits at most :func:`verl_nthr.cpu.environment.timeout`.
    """

    def __init__(self, bucket_size: int, is_master: bool = False) -> None:
        """Set up the trainer's first process (``is_master``) or another; every tensor is a message of its own."""
        self.is_master = is_master
        self.store: dist.TCPStore | None = None
        self.group: dist.ProcessGroupGloo | None = None

    def prepare(self) -> dict[str, Any]:
        """Open the store in the trainer's first process; returns where it listens, and {} elsewhere."""
        if not self.is_master:
            return {}
        host = ray.util.get_node_ip_address().strip("[]")
        self.store = dist.TCPStore(host, 0, is_master=True, timeout=timeout(), wait_for_workers=False)
        return {"host": host, "port": self.store.port}

    @classmethod
    def build_topology(
        cls, actor_wg_world_size: int, rollout_world_size: int, metadata: list[dict[str, Any]]
    ) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        """Assign rank 0 to the trainer's first process, the ranks from 1 to the rollout; −1 stays outside."""
        world_size = 1 + rollout_world_size

        def arguments(ranks: list[int]) -> dict[str, list[Any]]:
            return {"rank": ranks, "world_size": [world_size] * len(ranks), "master": [metadata[0]] * len(ranks)}

        return arguments([0] + [-1] * (actor_wg_world_size - 1)), arguments(list(range(1, world_size)))

    def init_process_group(self, rank: int, world_size: int, master: dict[str, Any]) -> None:
        """Join the group of an update, unless ``rank`` is −1."""
        if rank < 0:
            return
        if self.store is None:
            self.store = dist.TCPStore(master["host"], master["port"], timeout=timeout())
        self.group = dist.ProcessGroupGloo(dist.PrefixStore("gloo", self.store), rank, world_size, timeout())

    def finalize(self) -> None:
        """Leave the group and close the store."""
        self.group = self.store = None

    async def send_weights(self, weights: Iterable[tuple[str, torch.Tensor]], global_steps: int | None = None) -> None:
        """Broadcast the weights; a process outside the group only takes part in gathering them."""
        if self.group is None:
            for _ in weights:
                pass
            return
        index = count()
        for name, weight in weights:
            description = {"name": name, "dtype": str(weight.dtype).removeprefix("torch."), "shape": list(weight.shape)}
            self.store.set(str(next(index)), json.dumps(description))
            self._broadcast(weight.detach().contiguous())
        self.store.set(str(next(index)), json.dumps(None))

    async def receive_weights(self, global_steps: int | None = None) -> AsyncGenerator[tuple[str, torch.Tensor], None]:
        """Yield each name and weight in the order in which they were sent.

        Raises:
            TimeoutError: the trainer sends nothing.
        """
        for index in count():
            try:
                description = json.loads(self.store.get(str(index)))
            except dist.DistStoreError as error:
                seconds = timeout().total_seconds()
                raise TimeoutError(
                    f"no weights came from the trainer within {seconds:.0f} s (limit: {TIMEOUT_VARIABLE})"
                ) from error
            if description is None:
                return
            weight = torch.empty(description["shape"], dtype=getattr(torch, description["dtype"]))
            self._broadcast(weight)
            yield description["name"], weight

    def _broadcast(self, weight: torch.Tensor) -> None:
        """Copy rank 0's contiguous ``weight`` into that of the others, as bytes, because gloo lacks some dtypes."""
        self.group.broadcast(weight.view(-1).view(torch.uint8), 0).wait()
