"""Asks :func:`verl_nthr.inspection.inspect_process` inside an actor of a private local Ray.

``python -m verl_nthr.cli.ray_inspection FILE FOLDER`` writes the answer to FILE as JSON, with Ray's files in FOLDER;
:func:`inspect_ray_actor` runs that in a process group of its own, which is ended when it takes too long.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from verl_nthr.inspection import Inspection, inspect_process
from verl_nthr.processes import ProcessFailed, ProcessTree

OBJECT_STORE_BYTES = 100_000_000


def inspect_ray_actor(seconds: float) -> Inspection:
    """Look at a process that Ray starts; ``import_error`` says so if Ray does not answer in time."""
    with tempfile.TemporaryDirectory(prefix="nthr-", ignore_cleanup_errors=True) as folder:
        answer, log = Path(folder) / "answer.json", Path(folder) / "log"
        command = [sys.executable, "-m", "verl_nthr.cli.ray_inspection", str(answer), str(Path(folder) / "r")]
        try:
            with ProcessTree(command, dict(os.environ), Path(folder), log) as process:
                process.wait(lambda: False, time_limit=seconds, stall_limit=seconds)
        except ProcessFailed as error:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return Inspection(
                import_error=f"the Ray process: {error}; its last line: {lines[-1] if lines else '(none)'}"
            )
        return Inspection(**json.loads(answer.read_text(encoding="utf-8")))


def main(answer: Path, ray_dir: Path) -> None:
    """Start Ray with logical resources in ``ray_dir``, ask an actor, write its answer, and shut Ray down."""
    import ray

    ray.init(
        address="local",
        num_cpus=1,
        num_gpus=0,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=str(ray_dir),
    )
    try:
        inspector = ray.remote(_Inspector).remote()
        answer.write_text(json.dumps(ray.get(inspector.ask.remote())), encoding="utf-8")
    finally:
        ray.shutdown()


class _Inspector:
    def ask(self) -> dict[str, object]:
        return asdict(inspect_process())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
