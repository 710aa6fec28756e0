"""Checks clusters of two logical nodes on this machine, in a process of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from verl_nthr.recipes.cluster import main

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


def check_cluster(gpus: tuple[int, int], variables: dict[str, str], *arguments: str) -> int:
    """The exit code of the check on two nodes with these GPUs; the second has more environment variables."""
    with tempfile.TemporaryDirectory(prefix="vn", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        Path(folder, "ray").mkdir()
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": gpus[0]})
        try:
            os.environ.update(variables)
            cluster.add_node(num_cpus=1, num_gpus=gpus[1])
            for name in variables:
                del os.environ[name]
            os.environ["RAY_ADDRESS"] = cluster.address
            return main(["--nodes", "2", *arguments])
        finally:
            ray.shutdown()
            cluster.shutdown()


if __name__ == "__main__":
    assert check_cluster((4, 4), {}, "--gpus-per-node", "4") == 0
    assert check_cluster((8, 4), {}, "--gpus-per-node", "8", "--seconds", "1") == 2
    assert check_cluster((4, 4), {"VERL_USE_EXTERNAL_PLUGINS": "none"}, "--gpus-per-node", "4") == 2
