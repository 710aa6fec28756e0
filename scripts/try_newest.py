"""Try this project with the newest verl and what comes with it, in an environment of its own.

Starts from the pinned packages, lets pip upgrade verl, the packages named and all that they need, installs this project
with its ranges of versions lifted, compares verl's functions with those that it was written for, and runs the tests.
Needs the network and Python 3.11; some 3 GB, and an hour with all fast tests.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tarfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from verl_nthr.files import write_whole
from verl_nthr.supported import RANGES

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "requirements" / "cpu-py311.txt"
PACKAGES = ("verl", "transformers", "ray[default]", "tensordict", "TransferQueue", "peft", "megatron-core", "mbridge")
ABOUT_RANGES = ("tests/test_supported.py", "tests/integration/test_versions.py", "tests/docs", "tests/packaging")
"""Tests that compare ranges, pins and pages with each other: they say nothing of new versions."""
FAST = "-m 'not slow and not distributed and not gpu'"


class StepFailed(Exception):
    """Without this step the others cannot follow; the message names its log."""


@dataclass(frozen=True)
class Outcome:
    """How a step ended."""

    step: str
    passed: bool
    seconds: float
    log: str


def main() -> int:
    """Try; 0 if every contract is kept and every test passed, 1 if not, 2 if it did not come to that."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="for the environment, logs and report.json; new")
    parser.add_argument("--torch", default="torch==2.13.0", metavar="REQUIREMENT", help="kept as it is (%(default)s)")
    parser.add_argument("--packages", nargs="+", default=PACKAGES, metavar="NAME", help=f"({' '.join(PACKAGES)})")
    parser.add_argument("--tests", default=FAST, metavar="ARGUMENTS", help="of pytest, as one word (the fast tests)")
    args = parser.parse_args()
    if args.folder.exists():
        print(f"try_newest: {args.folder} exists; give a new folder", file=sys.stderr)
        return 2
    args.folder.mkdir(parents=True)
    try:
        return try_newest(args.folder.resolve(), args.torch, args.packages, shlex.split(args.tests))
    except StepFailed as error:
        print(f"try_newest: {error}", file=sys.stderr)
        return 2


def try_newest(folder: Path, torch: str, packages: list[str], tests: list[str]) -> int:
    """Make the environment, compare, test and report; the exit code of :func:`main`.

    Raises:
        StepFailed: the environment cannot be made.
    """
    source, python = unpack(folder), folder / "environment" / "bin" / "python"
    lift_ranges(source)
    (folder / "torch.txt").write_text(f"{torch}\n", encoding="utf-8")
    install = [python, "-m", "pip", "--disable-pip-version-check", "install"]
    newest = ["--upgrade", "--upgrade-strategy", "eager", "--constraint", folder / "torch.txt", *packages]
    outcomes = [
        run(folder, "environment", [sys.executable, "-m", "venv", folder / "environment"]),
        run(folder, "torch", [*install, "--constraint", LIST, torch]),
        run(folder, "pinned packages", [*install, "--no-deps", "--requirement", LIST]),
        run(folder, "newest packages", [*install, *newest]),
        run(folder, "this project", [*install, "--no-deps", "--no-build-isolation", source]),
    ]
    versions = installed_versions(python)
    contracts = [sys.executable, "-m", "tests.integration.contracts", versions["verl"]]
    ignored = [f"--ignore={path}" for path in ABOUT_RANGES]
    outcomes += [
        run(folder, "contracts", contracts, ROOT, is_result=True),
        run(folder, "tests", [python, "-m", "pytest", *tests, *ignored], source, is_result=True),
    ]
    report(folder, outcomes, changed(versions))
    return int(not all(outcome.passed for outcome in outcomes))


def unpack(folder: Path) -> Path:
    """A copy of the project, as its source distribution has it."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder]
    run(folder, "source", build, ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "unpacked", filter="data")
    return next((folder / "unpacked").iterdir()).rename(folder / "source")


def lift_ranges(source: Path) -> None:
    """Let a copy of the project take every version of what it has ranges for."""
    for name, form in (("verl_nthr/supported.py", '"{}": "{}"'), ("pyproject.toml", '"{}{}"')):
        text = (source / name).read_text(encoding="utf-8")
        for package, versions in RANGES.items():
            text = text.replace(form.format(package, versions), form.format(package, ""))
        (source / name).write_text(text, encoding="utf-8")


def run(folder: Path, step: str, command: list[str | Path], cwd: Path = ROOT, is_result: bool = False) -> Outcome:
    """Run a step with its output in a log of its own.

    Raises:
        StepFailed: it failed, and is no result but what others need.
    """
    log, begin = folder / f"{step.replace(' ', '-')}.log", time.monotonic()
    print(f"try_newest: {step}", flush=True)
    with log.open("wb") as out:
        code = subprocess.run(command, cwd=cwd, stdout=out, stderr=subprocess.STDOUT).returncode
    if code != 0 and not is_result:
        raise StepFailed(f"{step} failed with {code}; see {log}")
    return Outcome(step, code == 0, time.monotonic() - begin, str(log))


def installed_versions(python: Path) -> dict[str, str]:
    """The version of each distribution in an environment, by its normalised name."""
    command = [python, "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {normalised(each["name"]): each["version"] for each in listed}


def changed(versions: dict[str, str]) -> dict[str, tuple[str, str]]:
    """By distribution, pinned and installed version, where they differ; "none" for one that is not pinned."""
    pinned = re.findall(r"^([\w.-]+)==(\S+)$", LIST.read_text(encoding="utf-8"), re.MULTILINE)
    pins = {normalised(name): version for name, version in pinned}
    own = {"pip", "torch", "verl-nthr"}
    found = {name: (pins.get(name, "none"), version) for name, version in sorted(versions.items()) if name not in own}
    return {name: pair for name, pair in found.items() if pair[0] != pair[1]}


def normalised(name: str) -> str:
    """A distribution's name as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def report(folder: Path, outcomes: list[Outcome], versions: dict[str, tuple[str, str]]) -> None:
    """Print the steps and the changed versions, and write both to ``report.json``."""
    content = {"steps": [asdict(outcome) for outcome in outcomes], "changed": versions}
    write_whole(folder / "report.json", json.dumps(content, indent=1).encode())
    steps, packages = Table("step", "outcome", "seconds", "log"), Table("package", "pinned", "tried")
    for outcome in outcomes:
        steps.add_row(outcome.step, "passed" if outcome.passed else "failed", f"{outcome.seconds:.0f}", outcome.log)
    for name, pair in versions.items():
        packages.add_row(name, *pair)
    console = Console()
    console.print(packages if versions else "every version is the pinned one")
    console.print(steps)
    for name in ("contracts", "tests"):
        lines = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        console.print("\n".join(lines[-40:]), markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
