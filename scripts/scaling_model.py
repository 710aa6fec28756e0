"""Costs of NTHR from one node to many, on paper: prints the table of docs/scaling.md.

Tests hold the formulas beside the operations and bytes that scoring really takes. The constants of the chip, the share
of mixed groups and the size of a group's vocabulary are assumptions.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report import size
from verl_nthr.files import write_whole
from verl_nthr.influence.scores import REDUCTION_ELEMENTS

BFLOAT16, FLOAT32 = 2, 4
"""Bytes of a number."""


@dataclass(frozen=True)
class Chip:
    """Rates that an accelerator reaches in practice."""

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
    def ranks(self) -> int:
        """Ranks that hold disjoint tokens: those of the last stage of the pipeline."""
        return self.accelerators // self.pipeline

    @property
    def tokens(self) -> float:
        """Response tokens of mixed groups that one rank holds."""
        return self.groups * self.rollouts * self.response / self.ranks


@dataclass(frozen=True)
class Cost:
    """Of one step, for one rank that holds the output layer."""

    pass_seconds: float
    """verl's old-log-prob pass."""

    features: float
    """Bytes of the hidden states that the rank keeps until the end of the pass."""

    directions: float
    """Bytes of all M⁺ in float32; at most 1 GiB of them is there at once."""

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
    def overlapped(self) -> float:
        """Seconds in which one chunk of M⁺ is reduced while the products of its neighbours are taken."""
        chunks = max(1, math.ceil(self.directions / FLOAT32 / REDUCTION_ELEMENTS))
        return min(self.products + self.elementwise, self.reduction) * (chunks - 1) / chunks

    @property
    def share(self) -> float:
        """Of the pass."""
        return (self.products + self.elementwise + self.reduction - self.overlapped) / self.pass_seconds


def operations(tokens: float, correct: float, entries: float, hidden: int) -> float:
    """Operations of the products: logits of the correct tokens, M⁺, logits of all tokens, M⁺h; two per product.

    Args:
        tokens: of mixed groups.
        correct: share of them in correct responses.
        entries: |V*|.
        hidden: D.
    """
    return 2 * entries * hidden * tokens * (2 * correct + 2)


def directions_bytes(run: Run) -> float:
    """Bytes of the M⁺ of all groups in float32, as every rank holds them."""
    return run.groups * run.entries * run.hidden * FLOAT32


def sent_bytes(count: float, ranks_in_node: int, nodes: int) -> tuple[float, float]:
    """Bytes that one accelerator sends over NVLink and over the network, to sum ``count`` bytes over all ranks.

    Reduce-scatter within the node, ring over the nodes for each part, all-gather within the node.
    """
    nvlink = 2 * (ranks_in_node - 1) / ranks_in_node * count
    network = 2 * (nodes - 1) / nodes * count / ranks_in_node
    return nvlink, network


def cost_of(run: Run, chip: Chip) -> Cost:
    """The cost of a step of ``run`` on ``chip``."""
    tokens_of_pass = run.prompts * run.rollouts * (run.response + run.prompt)
    elements = run.tokens * (run.correct + 1) * run.entries
    copies = run.tokens * run.hidden * (2 * BFLOAT16 + (run.correct + 1) * (BFLOAT16 + FLOAT32))
    in_node = min(run.ranks, chip.per_node)
    # a model in bfloat16 exchanges them in bfloat16
    nvlink, network = sent_bytes(directions_bytes(run) * BFLOAT16 / FLOAT32, in_node, run.ranks // in_node)
    return Cost(
        pass_seconds=2 * run.parameters * tokens_of_pass / (run.accelerators * chip.dense),
        features=run.tokens * run.hidden * BFLOAT16,
        directions=directions_bytes(run),
        nvlink=nvlink,
        network=network,
        products=operations(run.tokens, run.correct, run.entries, run.hidden) / chip.products,
        elementwise=(elements * 6 * FLOAT32 + copies) / chip.memory,
        reduction=nvlink / chip.nvlink + network / chip.network,
    )


LARGE = {"prompts": 1024, "response": 8192}
RUNS = (
    Run("0.5B on 8", 0.49e9, 896, 8, response=1024),
    Run("7B on 64", 7.6e9, 3584, 64, response=4096),
    Run("70B on 512, TP 8, PP 4", 70e9, 8192, 512, pipeline=4, **LARGE),
    Run("671B-A37B on 1024, TP 8, PP 8", 37e9, 7168, 1024, pipeline=8, rollouts=16, **LARGE),
)
BEGIN, END = "<!-- python scripts/scaling_model.py --write -->", "<!-- end -->"
PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"


def table(costs: dict[Run, Cost]) -> str:
    """A Markdown table with a column for every run."""
    rows = {
        "mixed groups × responses × tokens": [f"{r.groups:.0f} × {r.rollouts} × {r.response}" for r in costs],
        "\\|V*\\| of a group": [f"{r.entries:.0f}" for r in costs],
        "ranks that hold disjoint tokens": [str(r.ranks) for r in costs],
        "verl's old-log-prob pass": [f"{c.pass_seconds:.2f} s" for c in costs.values()],
        "hidden states kept, per rank": [size(c.features) for c in costs.values()],
        "M⁺ of all groups, per rank": [size(c.directions) for c in costs.values()],
        "sent over NVLink, per rank": [size(c.nvlink) for c in costs.values()],
        "sent over the network, per rank": [size(c.network) for c in costs.values()],
        "products": [f"{1e3 * c.products:.0f} ms" for c in costs.values()],
        "element by element": [f"{1e3 * c.elementwise:.0f} ms" for c in costs.values()],
        "reduction": [f"{1e3 * c.reduction:.0f} ms" for c in costs.values()],
        "of it beside products": [f"{1e3 * c.overlapped:.0f} ms" for c in costs.values()],
        "NTHR, of the pass": [f"**{100 * c.share:.1f} %**" for c in costs.values()],
    }
    lines = ["| | " + " | ".join(run.name for run in costs) + " |", "|---|" + "---:|" * len(costs)]
    return "\n".join([*lines, *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items())])


def main() -> int:
    """Print the table; with options, write it elsewhere too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/scaling.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write runs, chip and costs to this file")
    args = parser.parse_args()
    chip = Chip()
    costs = {run: cost_of(run, chip) for run in RUNS}
    print(table(costs))
    if args.write:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        write_whole(PAGE, f"{before}{BEGIN}\n{table(costs)}\n{END}{rest.split(END)[1]}".encode())
    if args.json is not None:
        runs = [asdict(run) | asdict(cost) | {"share": cost.share} for run, cost in costs.items()]
        write_whole(args.json, json.dumps({"chip": asdict(chip), "runs": runs}, indent=1).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
