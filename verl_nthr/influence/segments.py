"""Runs of tokens of unequal sizes, padded together with runs of similar sizes.

A product for every prompt group alone keeps neither a GPU nor a CPU busy; one product padded to the largest group is
mostly padding. Buckets lie between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PADDING_ELEMENTS = 1 << 16
"""Float32 elements of padding that cost less than one more bucket."""


@dataclass(frozen=True)
class BlockSizes:
    """Sizes of the blocks that padded runs are taken in."""

    block_elements: int
    """Float32 elements of one block: [B, L, D], [B, L, U] or [B, U, D]."""

    block_tokens: int
    """Tokens of a run that are taken together even so: fewer would not be worth reading the output rows."""

    padding_share: float
    """Padding that a bucket may have beyond :data:`PADDING_ELEMENTS`, as a share of what it holds."""

    @staticmethod
    def for_device(device: torch.device) -> BlockSizes:
        """The sizes that suit a device."""
        return CPU if device.type == "cpu" else ACCELERATOR


CPU = BlockSizes(block_elements=1 << 20, block_tokens=64, padding_share=0.0)
"""Blocks that fit a cache; a product for one run alone is as fast as one for many."""

ACCELERATOR = BlockSizes(block_elements=1 << 24, block_tokens=64, padding_share=0.25)
"""Blocks that take longer than their launch."""


@dataclass(frozen=True)
class TokenSegments:
    """Runs of neighbouring tokens in some order of all tokens; each belongs to one prompt group.

    Attributes:
        starts: place of each run's first token.
        counts: tokens of each run.
        groups: prompt group of each run.
    """

    starts: Sequence[int]
    counts: Sequence[int]
    groups: Sequence[int]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: Sequence[int]) -> TokenSegments:
        """Some of the runs."""
        return TokenSegments(*([column[i] for i in index] for column in (self.starts, self.counts, self.groups)))


def plan_buckets(counts: Sequence[int], sizes: Sequence[int], dim: int, block_sizes: BlockSizes) -> list[list[int]]:
    """Choose the runs that are padded together: indices of runs; those without tokens or entries are left out.

    Args:
        counts: tokens of each run.
        sizes: vocabulary entries of each run.
        dim: D.
        block_sizes: bounds of a bucket.
    """
    held = [i for i in range(len(counts)) if counts[i] and sizes[i]]
    # runs of about the same number of entries beside each other, within them by tokens
    held.sort(key=lambda i: (sizes[i].bit_length(), counts[i]), reverse=True)
    buckets: list[list[int]] = []
    used, count, size = 0, 0, 0
    for i in held:
        wider, longer = max(size, sizes[i]), max(count, counts[i])
        runs, area = (len(buckets[-1]) + 1, used + counts[i] * sizes[i]) if buckets else (1, 0)
        padding = runs * wider * longer - area
        fits = runs * max(wider * longer, wider * dim, longer * dim) <= block_sizes.block_elements
        if buckets and fits and padding <= block_sizes.padding_share * area + PADDING_ELEMENTS:
            buckets[-1].append(i)
            used, count, size = area, longer, wider
        else:
            buckets.append([i])
            used, count, size = counts[i] * sizes[i], counts[i], sizes[i]
    return buckets


def padded_places(starts: Tensor, counts: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Places of runs, as rows of equal length.

    Args:
        starts: [B].
        counts: [B].
        places: [L] counted from the start of a run.

    Returns:
        index [B, L] int64, in a run's padding that of its last element; inside [B, L] bool, False for padding.
    """
    inside = places < counts[:, None]
    return starts[:, None] + torch.minimum(places, (counts - 1).clamp_min(0)[:, None]), inside
