"""Runs code in a fresh interpreter, because the platform changes the process that loads it."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def run_python(
    code: str, *, cpu: bool, timeout: float = 300, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``code`` with or without ``VERL_PLATFORM=cpu``; raises subprocess.TimeoutExpired after ``timeout`` s."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("VERL_", "VLLM_"))}
    variables |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"}
    if cpu:
        variables["VERL_PLATFORM"] = "cpu"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=variables | (environment or {}),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def output_of(code: str, *, cpu: bool, timeout: float = 300, environment: dict[str, str] | None = None) -> str:
    """What ``code`` prints; fails the test if it ends with an error."""
    result = run_python(code, cpu=cpu, timeout=timeout, environment=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
