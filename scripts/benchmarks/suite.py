"""The GPU tests and all benchmarks within a time budget, in one JSON file: what ``scripts/gpu_suite.sh`` runs.

A part that fails or runs out of time is reported, and the others still run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import device_name
from verl_nthr.arguments import positive_int
from verl_nthr.files import write_whole
from verl_nthr.supported import installed_version, versions

ROOT = Path(__file__).parents[2]
PACKAGES = ("accelerate", "flash-attn", "numpy", "peft", "tensordict", "triton")
TAIL = 12_000
"""Characters kept of a part's output."""


@dataclass(frozen=True)
class Part:
    """One command."""

    name: str

    arguments: tuple[str, ...]
    """Of Python; the path of the part's JSON file follows those that end with ``--json``."""

    limit: float
    """Seconds after which it is stopped."""


def parts(rehearse: bool) -> list[Part]:
    """All parts, in the order in which they are missed if time runs out; ``rehearse`` makes them small, on the CPU."""
    tests = ("-m", "pytest", "tests/gpu", "-q", "-rA", "--durations=0", "-p", "no:cacheprovider", "--timeout=170")
    if rehearse:
        small = ("--shape=tiny", "--response=48", "--prompt=16", "--max-token-len=256", "--rounds=1")
        return [
            Part("tests", (*tests, "-m", "not gpu"), 240),
            Part("overhead-tiny", ("scripts/bench_overhead.py", *small, "--json"), 90),
            Part("accuracy", ("scripts/bench_accuracy.py", "--quick", "--json"), 60),
            Part("scaling", ("scripts/bench_scaling.py", "--quick", "--rounds=1", "--json"), 90),
        ]
    overhead = {"qwen2.5-0.5b": ("--groups=16",), "qwen2.5-1.5b": ("--groups=16",)}
    overhead["qwen2.5-7b"] = ("--groups=8", "--rounds=2")
    cuda = ("--device=cuda", "--json")
    return [
        Part("tests", (*tests, "-m", "gpu"), 180),
        *(
            Part(f"overhead-{shape}", ("scripts/bench_overhead.py", f"--shape={shape}", *options, *cuda), 120)
            for shape, options in overhead.items()
        ),
        Part("accuracy", ("scripts/bench_accuracy.py", *cuda), 60),
        Part("scaling", ("scripts/bench_scaling.py", *cuda), 60),
    ]


def main() -> int:
    """Run the suite; 0 if every part passed, else 1 with the reasons on standard error."""
    parser = argparse.ArgumentParser(prog="gpu_suite.sh", description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, as small as it goes")
    parser.add_argument("--out", type=Path, default=Path("gpu-suite.json"), metavar="FILE", help="(%(default)s)")
    parser.add_argument("--minutes", type=positive_int, default=8, metavar="N", help="for all parts (%(default)s)")
    args = parser.parse_args()
    if not args.rehearse and not torch.cuda.is_available():
        print("gpu_suite: torch sees no CUDA device; --rehearse runs on the CPU", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the part that runs, too
    report = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["scripts/gpu_suite.sh", *sys.argv[1:]]),
        "chip": device_name("cpu" if args.rehearse else "cuda"),
        "versions": versions() | {name: installed_version(name) for name in PACKAGES},
    }
    return run(parts(args.rehearse), 60.0 * args.minutes, args.out, report)


def run(parts: Sequence[Part], seconds: float, out: Path, report: dict[str, Any]) -> int:
    """Run the parts one after another within ``seconds``, and write ``report`` and their results to ``out`` after each.

    Returns:
        0 if every part passed, else 1.
    """
    end = time.monotonic() + seconds
    found = {part.name: {"outcome": "not run", "reason": "out of time"} for part in parts}
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            if (left := end - time.monotonic()) > 0:
                found[part.name] = run_part(part, min(part.limit, left), Path(folder) / part.name)
            write_whole(out, json.dumps(report | {"parts": found}, indent=1, allow_nan=False).encode())
            result = found[part.name]
            print(f"gpu_suite: {part.name}: {result['outcome']}", result.get("reason", ""), flush=True)
            if result["outcome"] != "passed":
                print(result.get("output", ""), file=sys.stderr, flush=True)
    return int(any(result["outcome"] != "passed" for result in found.values()))


def run_part(part: Part, limit: float, path: Path) -> dict[str, Any]:
    """Run a part for at most ``limit`` seconds.

    Returns:
        ``command``, ``seconds``, ``outcome`` ("passed", "failed" or "not run"), ``reason`` unless it passed, the end of
        its ``output``, and ``result``: the content of its JSON file, None if there is none.
    """
    command = [sys.executable, *part.arguments, *([str(path)] if part.arguments[-1] == "--json" else [])]
    start = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)
        try:
            code = process.wait(timeout=limit)
            outcome = {"outcome": "failed", "reason": f"exit code {code}"} if code else {"outcome": "passed"}
        except subprocess.TimeoutExpired:
            outcome = {"outcome": "not run", "reason": f"out of time: stopped after {limit:.0f} s"}
        finally:  # with all that it started
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        output = log.read().decode(errors="replace")[-TAIL:]
    return outcome | {
        "command": shlex.join(["python", *command[1:]]),
        "seconds": round(time.monotonic() - start, 1),
        "output": output,
        "result": json.loads(path.read_bytes()) if path.exists() else None,
    }


if __name__ == "__main__":
    sys.exit(main())
