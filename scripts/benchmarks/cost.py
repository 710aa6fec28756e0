"""What scoring costs on paper: operations, memory and bytes of one step, from the sizes of a run."""

from __future__ import annotations

from dataclasses import dataclass

BFLOAT16, FLOAT32, INT64 = 2, 4, 8
"""Bytes of a number."""


@dataclass(frozen=True)
class Chip:
    """What an accelerator reaches, not what its data sheet promises."""

    dense: float = 400e12
    """bfloat16 operations/s of a forward pass (about 40 % of an H100's peak)."""

    products: float = 150e12
    """TF32 operations/s of the scoring's products (about 30 % of the peak)."""

    memory: float = 2.5e12
    """Bytes/s of device memory."""

    nvlink: float = 300e9
    """Bytes/s that one accelerator sends within its node."""

    network: float = 40e9
    """Bytes/s that one accelerator sends to other nodes (400 Gbit/s each)."""

    per_node: int = 8


@dataclass(frozen=True)
class Run:
    """One training step of a model on a number of accelerators."""

    name: str
    parameters: float
    """Active in a forward pass of one token."""

    hidden: int
    """D."""

    accelerators: int
    tensor: int = 1
    """Ranks that share the vocabulary."""

    pipeline: int = 1
    prompts: int = 512
    rollouts: int = 8
    response: int = 2048
    """Mean tokens."""

    prompt: int = 256
    """Mean tokens."""

    mixed: float = 0.6
    """Share of the prompts that are mixed groups."""

    correct: float = 0.5
    """Share of the mixed groups' responses that are correct."""

    @property
    def entries(self) -> float:
        """|V*| of a group: about 10·√tokens (Heaps' law); an assumption, to be replaced by what a run logs."""
        return 10 * (self.rollouts * self.response) ** 0.5

    @property
    def groups(self) -> float:
        """Mixed groups of a step."""
        return self.prompts * self.mixed

    @property
    def data(self) -> int:
        """Ranks that hold disjoint tokens."""
        return self.accelerators // (self.tensor * self.pipeline)

    @property
    def tokens(self) -> float:
        """Response tokens of mixed groups that one rank holds."""
        return self.groups * self.rollouts * self.response / self.data


def operations(tokens: float, correct: float, entries: float, hidden: int) -> float:
    """Operations of the products for some tokens: logits of the correct ones, M⁺, logits of all, M⁺h; two a product.

    Args:
        tokens: of mixed groups.
        correct: share of them in correct responses.
        entries: |V*|, or the part of it that the rank owns.
        hidden: D.
    """
    return 2 * entries * hidden * tokens * (2 * correct + 2)


def directions_bytes(run: Run) -> float:
    """Of the M⁺ of all groups, of the rows that one rank owns; what it gives to the reduction in a step."""
    return run.groups * run.entries / run.tensor * run.hidden * FLOAT32


def vocabulary_bytes(run: Run) -> float:
    """Keys of the groups' vocabularies that one rank gives to the union, if it holds one response a group."""
    held = min(run.groups, run.tokens / run.response)
    return held * 10 * run.response**0.5 * INT64


def features_bytes(run: Run) -> float:
    """Hidden states that one rank keeps until the end of the pass."""
    return run.tokens * run.hidden * BFLOAT16


def sent_bytes(size: float, ranks_in_node: int, nodes: int) -> tuple[float, float]:
    """Bytes that one accelerator sends over NVLink and over the network, to sum ``size`` bytes over all ranks.

    Reduce-scatter within the node, ring over the nodes for each part, all-gather within the node.
    """
    nvlink = 2 * (ranks_in_node - 1) / ranks_in_node * size
    network = 2 * (nodes - 1) / nodes * size / ranks_in_node
    return nvlink, network


@dataclass(frozen=True)
class Cost:
    """Of one step, for one rank that holds the output layer."""

    pass_seconds: float
    """verl's old-log-prob pass."""

    features: float
    """Bytes."""

    directions: float
    """Bytes of all M⁺; at most 2 GiB of them are there at once."""

    nvlink: float
    """Bytes sent."""

    network: float
    """Bytes sent."""

    products: float
    """Seconds."""

    elementwise: float
    """Seconds: errors are written, exponentiated and read again, hidden states are copied and gathered."""

    reduction: float
    """Seconds."""

    @property
    def seconds(self) -> float:
        return self.products + self.elementwise + self.reduction

    @property
    def share(self) -> float:
        """Of the pass."""
        return self.seconds / self.pass_seconds


def cost_of(run: Run, chip: Chip) -> Cost:
    """The cost of a step of ``run`` on ``chip``; nothing overlaps."""
    tokens_of_pass = run.prompts * run.rollouts * (run.response + run.prompt)
    own = run.entries / run.tensor
    elements = run.tokens * (run.correct + 1) * own
    copies = run.tokens * run.hidden * (2 * BFLOAT16 + (run.correct + 1) * (BFLOAT16 + FLOAT32))
    in_node = min(run.data, max(1, chip.per_node // run.tensor))
    nvlink, network = sent_bytes(directions_bytes(run), in_node, max(1, run.data // in_node))
    return Cost(
        pass_seconds=2 * run.parameters * tokens_of_pass / (run.accelerators * chip.dense),
        features=features_bytes(run),
        directions=directions_bytes(run),
        nvlink=nvlink,
        network=network,
        products=operations(run.tokens, run.correct, own, run.hidden) / chip.products,
        elementwise=(elements * 6 * FLOAT32 + copies) / chip.memory,
        reduction=nvlink / chip.nvlink + network / chip.network,
    )
