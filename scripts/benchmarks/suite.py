"""The GPU tests and all benchmarks within a time budget, in one JSON file: what ``scripts/gpu_suite.sh`` runs."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from benchmarks.parts import Part, run_part
from benchmarks.report import device_name
from verl_nthr.arguments import positive_int
from verl_nthr.files import write_whole
from verl_nthr.supported import installed_version, versions

FURTHER_PACKAGES = ("accelerate", "flash-attn", "numpy", "peft", "tensordict", "triton")

TESTS = ("-m", "pytest", "tests/gpu", "-q", "-ra", "-p", "no:cacheprovider", "--timeout=170")
SMALL = ("--response=48", "--prompt=16", "--max-token-len=256", "--rounds=1")


def on_a_gpu() -> list[Part]:
    """The parts, in the order in which they are missed if time runs out."""
    return [
        Part("tests", (*TESTS, "-m", "gpu", "--junitxml"), 180, ".xml"),
        _overhead("qwen2.5-0.5b", "cuda", 80, "--groups=16"),
        _overhead("qwen2.5-1.5b", "cuda", 90, "--groups=16"),
        _overhead("qwen2.5-7b", "cuda", 120, "--groups=8", "--rounds=2"),
        _benchmark("accuracy", "cuda", 60),
        _benchmark("scaling", "cuda", 60),
        _benchmark("libraries", "cuda", 45),
    ]


def rehearsal() -> list[Part]:
    """The same on the CPU, as small as it goes; of the tests those that need no GPU."""
    return [
        Part("tests", (*TESTS, "-m", "not gpu", "--junitxml"), 240, ".xml"),
        _overhead("tiny", "cpu", 90, *SMALL),
        _benchmark("accuracy", "cpu", 60, "--quick"),
        _benchmark("scaling", "cpu", 90, "--quick", "--rounds=1"),
        _benchmark("libraries", "cpu", 60, "--quick", "--rounds=1"),
    ]


def _overhead(shape: str, device: str, limit: float, *options: str) -> Part:
    part = _benchmark("overhead", device, limit, f"--shape={shape}", *options)
    return Part(f"overhead-{shape}", part.arguments, limit)


def _benchmark(name: str, device: str, limit: float, *options: str) -> Part:
    return Part(name, (f"scripts/bench_{name}.py", f"--device={device}", *options, "--json"), limit)


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
        "chip": device_name(torch.device("cpu")) if args.rehearse else gpu(),
        "versions": versions() | {name: installed_version(name) for name in FURTHER_PACKAGES},
    }
    return run(rehearsal() if args.rehearse else on_a_gpu(), 60.0 * args.minutes, args.out, report)


def run(parts: Sequence[Part], seconds: float, out: Path, report: dict[str, Any]) -> int:
    """Run the parts, one after the other, and write the report after each of them.

    Args:
        parts: in order.
        seconds: for all of them.
        out: the report.
        report: what it begins with.

    Returns:
        0 if every part passed, else 1.
    """
    end = time.monotonic() + seconds
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            found[part.name] = run_part(part, end - time.monotonic(), Path(folder))
            rest = {other.name: {"outcome": "not run", "reason": "not reached"} for other in parts[len(found) :]}
            write_whole(out, json.dumps(report | {"parts": found | rest}, indent=1, allow_nan=False).encode())
            _print_outcome(part.name, found[part.name])
    return int(any(result["outcome"] != "passed" for result in found.values()))


def gpu() -> str:
    """Name, memory and driver of the GPU, by ``nvidia-smi``: torch would keep memory of its own on it."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown: nvidia-smi failed ({error})"


def _print_outcome(name: str, found: dict[str, Any]) -> None:
    line = f"gpu_suite: {name}: {found['outcome']} ({found['seconds']:.0f} s)"
    if found["outcome"] == "passed":
        print(line, flush=True)
        return
    print(f"{line}: {found['reason']}\n{found['output']}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
