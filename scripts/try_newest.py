"""Try this project with the newest verl and what comes with it, in an environment of its own.

Starts from the pinned packages, lets pip upgrade verl and the other packages named, installs this project with its
ranges of versions lifted, compares verl's functions with those that it was written for, and runs the tests. Needs the
network and Python 3.11; some 3 GB, and an hour with all default tests.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

from verl_nthr.supported import RANGES

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "requirements" / "cpu-py311.txt"
PACKAGES = ("verl", "transformers", "ray[default]", "tensordict", "TransferQueue", "peft", "megatron-core", "mbridge")
ABOUT_RANGES = ("tests/test_supported.py", "tests/integration/test_versions.py", "tests/docs", "tests/packaging")
"""Tests that compare ranges, pins and pages with each other: they say nothing about new versions."""
FAST = "-m 'not slow and not distributed and not gpu'"


def main() -> int:
    """Try; 0 if every contract is kept and every test passed, 1 if not, 2 if the environment cannot be made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="for the environment and the logs; new")
    parser.add_argument("--torch", default="torch==2.13.0", metavar="REQUIREMENT", help="kept as it is (%(default)s)")
    parser.add_argument("--packages", nargs="+", default=PACKAGES, metavar="NAME", help=f"({' '.join(PACKAGES)})")
    parser.add_argument("--tests", default=FAST, metavar="ARGUMENTS", help="of pytest, as one word (the default tests)")
    args = parser.parse_args()
    if args.folder.exists():
        print(f"try_newest: {args.folder} exists; give a new folder", file=sys.stderr)
        return 2
    args.folder.mkdir(parents=True)
    return try_newest(args.folder.resolve(), args.torch, args.packages, shlex.split(args.tests))


def try_newest(folder: Path, torch: str, packages: list[str], tests: list[str]) -> int:
    """Make the environment, compare and test; the exit code of :func:`main`."""
    source, python = unpack(folder), folder / "environment" / "bin" / "python"
    lift_ranges(source)
    (folder / "torch.txt").write_text(f"{torch}\n", encoding="utf-8")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    newest = ["--upgrade", "--upgrade-strategy", "eager", "--constraint", folder / "torch.txt", *packages]
    for step, command in {
        "environment": [sys.executable, "-m", "venv", folder / "environment"],
        "torch": [*pip, "install", "--constraint", PINS, torch],
        "pinned packages": [*pip, "install", "--no-deps", "--requirement", PINS],
        "newest packages": [*pip, "install", *newest],
        "this project": [*pip, "install", "--no-deps", "--no-build-isolation", source],
    }.items():
        if not passed(folder, step, command):
            return 2
    listed = subprocess.run([*pip, "list", "--format", "freeze"], check=True, capture_output=True, text=True).stdout
    for name, (pinned, tried) in changed(listed).items():
        print(f"try_newest: {name}: {pinned} pinned, {tried} tried")
    verl = versions(listed)["verl"]
    contracts = passed(folder, "contracts", [sys.executable, "-m", "tests.integration.contracts", verl])
    ignored = [f"--ignore={path}" for path in ABOUT_RANGES]
    return int(not (passed(folder, "tests", [python, "-m", "pytest", *tests, *ignored], source) and contracts))


def unpack(folder: Path) -> Path:
    """A copy of the project, as its source distribution has it."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder]
    subprocess.run(build, cwd=ROOT, check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "unpacked", filter="data")
    return next((folder / "unpacked").iterdir()).rename(folder / "source")


def lift_ranges(source: Path) -> None:
    """Let a copy of the project accept every version of the packages that it has ranges for."""
    for name, form in (("verl_nthr/supported.py", '"{}": "{}"'), ("pyproject.toml", '"{}{}"')):
        text = (source / name).read_text(encoding="utf-8")
        for package, accepted in RANGES.items():
            text = text.replace(form.format(package, accepted), form.format(package, ""))
        (source / name).write_text(text, encoding="utf-8")


def passed(folder: Path, step: str, command: list[str | Path], cwd: Path = ROOT) -> bool:
    """Run a step with its output in a log of its own; print the end of the log if it fails."""
    log = folder / f"{step.replace(' ', '-')}.log"
    print(f"try_newest: {step}", flush=True)
    with log.open("wb") as out:
        code = subprocess.run(command, cwd=cwd, stdout=out, stderr=subprocess.STDOUT).returncode
    if code:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]
        print(*tail, f"try_newest: {step} failed with {code}; see {log}", sep="\n", file=sys.stderr)
    return code == 0


def versions(listed: str) -> dict[str, str]:
    """By normalised name (PEP 503), the version of each line ``name==version``."""
    found = re.findall(r"^([\w.-]+)==(\S+)$", listed, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def changed(listed: str) -> dict[str, tuple[str, str]]:
    """By distribution, pinned and installed version where they differ; "none" for one that is not pinned."""
    pins = versions(PINS.read_text(encoding="utf-8"))
    found = {name: (pins.get(name, "none"), version) for name, version in sorted(versions(listed).items())}
    own = ("pip", "torch", "verl-nthr")
    return {name: pair for name, pair in found.items() if pair[0] != pair[1] and name not in own}


if __name__ == "__main__":
    sys.exit(main())
