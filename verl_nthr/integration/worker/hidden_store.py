"""Hidden states of a pass, on the device or on the host, in a buffer that grows."""

from __future__ import annotations

import warnings

import psutil
import torch
from torch import Tensor

AUTO_SHARE = 0.1
"""Share of the device's free memory that ``feature_device="auto"`` may take."""


class HiddenStore:
    """The hidden states of the tokens that this rank holds, in the order in which they come.

    Args:
        tokens: how many there can be at most.
        all_here: whether all of them will come, so that the first buffer can be the last.
        dim: D.
        device: where the pass runs.
        feature_device: "device", "host" or "auto".
    """

    def __init__(self, tokens: int, dim: int, device: torch.device, feature_device: str, *, all_here: bool) -> None:
        self._tokens, self._all_here = tokens, all_here
        self._device, self._feature_device = device, feature_device
        self._buffer = torch.empty(0, dim, device=device)
        self._count = 0

    @property
    def hidden(self) -> Tensor:
        """[T, D] in the model's dtype."""
        return self._buffer[: self._count]

    def append(self, hidden: Tensor) -> None:
        """Keep the hidden states [t, D] of t more tokens."""
        end = self._count + len(hidden)
        if end > len(self._buffer):
            self._buffer = self._enlarged(end, hidden)
        self._buffer[self._count : end].copy_(hidden, non_blocking=True)
        self._count = end

    def move_to_host(self) -> None:
        """Keep hidden states in host memory from now on."""
        self._feature_device = "host"
        self._buffer = self.hidden.cpu()

    def _enlarged(self, tokens: int, like: Tensor) -> Tensor:
        """A larger buffer with what has come; on the host it has room for all tokens from the start."""
        room = self._tokens if self._all_here else max(tokens, 2 * self._count)
        size = room * like.shape[-1] * like.element_size()
        enlarged = None
        if store_device(self._feature_device, size, self._device) == self._device:
            try:
                enlarged = torch.empty(room, like.shape[-1], dtype=like.dtype, device=self._device)
            except torch.OutOfMemoryError as error:
                self._feature_device = "host"
                warnings.warn(
                    "the device has no room for the hidden states that NTHR records; they go to host memory in this "
                    f"step. Set algorithm.nthr.feature_device=host: {error}",
                    stacklevel=2,
                )
        if enlarged is None:
            pin = self._device.type != "cpu"
            enlarged = torch.empty(self._tokens, like.shape[-1], dtype=like.dtype, device="cpu", pin_memory=pin)
        enlarged[: self._count] = self.hidden
        return enlarged


def store_device(feature_device: str, size: int, device: torch.device) -> torch.device:
    """Device on which ``size`` bytes of hidden states are kept, by the option ``feature_device``."""
    if device.type == "cpu" or feature_device == "device":
        return device
    if feature_device == "auto" and size <= AUTO_SHARE * free_memory(device):
        return device
    return torch.device("cpu")


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device."""
    if device.type == "cpu":
        return psutil.virtual_memory().available
    return torch.get_device_module(device).mem_get_info(device)[0]
