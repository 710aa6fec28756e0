"""Waits for the nodes of a Ray cluster, and checks on each that verl loads NTHR.

``python -m verl_nthr.recipes.cluster --nodes N --gpus-per-node G`` looks at the cluster that ``RAY_ADDRESS`` names, or
that this machine belongs to. It exits with 2 and the reason if nodes are missing or one of them is not in order.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from verl_nthr.arguments import positive_float, positive_int
from verl_nthr.errors import InputError
from verl_nthr.inspection import Inspection, inspect_process
from verl_nthr.recipes.check import REFUSED
from verl_nthr.supported import versions
from verl_nthr.text import print_error

POLL_SECONDS = 2.0


def wait_for_nodes(nodes: int, gpus_per_node: int, seconds: float) -> list[dict[str, Any]]:
    """The living nodes that have the GPUs, as ``ray.nodes()`` describes them, once there are enough.

    Raises:
        InputError: there are not enough in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        alive = [node for node in ray.nodes() if node["Alive"]]
        ready = [node for node in alive if node["Resources"].get("GPU", 0) >= gpus_per_node]
        if len(ready) >= nodes:
            return ready
        if time.monotonic() > deadline:
            found = ", ".join(f"{_name(node)} ({node['Resources'].get('GPU', 0):.0f} GPUs)" for node in alive)
            raise InputError(
                f"{len(ready)} of {nodes} nodes with {gpus_per_node} GPUs after {seconds:.0f} s; the cluster has "
                f"{found}. Start the others with recipes/cluster/node.sh worker, or set NNODES and NGPUS_PER_NODE"
            )
        time.sleep(POLL_SECONDS)


def check_nodes(nodes: list[dict[str, Any]]) -> None:
    """Check that every node loads NTHR, with the versions of this process.

    Raises:
        InputError: a node does not; the message has a line for each.
    """
    ask = ray.remote(num_cpus=0, max_retries=0)(_ask)
    strategies = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    answers = [ask.options(scheduling_strategy=strategy).remote() for strategy in strategies]
    problems = []
    for node, answer in zip(nodes, answers, strict=True):
        try:
            problem = _problem(*ray.get(answer))
        except ray.exceptions.RayError as error:
            problem = f"no answer: {str(error).strip().splitlines()[-1]}"
        if problem:
            problems.append(f"  - {_name(node)}: {problem}")
    if problems:
        raise InputError("\n".join(["install verl-nthr as on this machine, and run verl-nthr doctor, on", *problems]))


def main(argv: list[str] | None = None) -> int:
    """Wait and check; 0 if all is in order, else 2 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m verl_nthr.recipes.cluster", description="Wait for a Ray cluster.")
    parser.add_argument("--nodes", type=positive_int, required=True, metavar="N")
    parser.add_argument("--gpus-per-node", type=positive_int, required=True, metavar="N")
    parser.add_argument(
        "--seconds", type=positive_float, default=600.0, metavar="S", help="to wait for the nodes (default: 600)"
    )
    args = parser.parse_args(argv)
    try:
        ray.init(address="auto", log_to_driver=False, logging_level="WARNING")
        check_nodes(wait_for_nodes(args.nodes, args.gpus_per_node, args.seconds))
    except (InputError, ConnectionError) as error:
        print_error("cluster", error)
        return REFUSED
    print(f"cluster: {args.nodes} nodes with {args.gpus_per_node} GPUs load NTHR")
    return 0


def _ask() -> tuple[dict[str, Any], dict[str, str | None]]:
    return asdict(inspect_process()), versions()


def _problem(answer: dict[str, Any], found: dict[str, str | None]) -> str | None:
    inspection = Inspection(**answer)
    if inspection.import_error:
        return inspection.import_error
    if inspection.errors:
        return "; ".join(inspection.errors.values())
    missing = [name for name, in_place in inspection.status.items() if not in_place]
    if not inspection.loaded["nthr"] or missing:
        return f"verl does not load NTHR ({', '.join(missing) or 'no entry point'})"
    differing = [f"{name} {found[name]} instead of {mine}" for name, mine in versions().items() if found[name] != mine]
    return ", ".join(differing) or None


def _name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


if __name__ == "__main__":
    sys.exit(main())
