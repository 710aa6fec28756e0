"""The wheel and the source distribution of this project, built without a network."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build(target: str, source: Path, folder: Path) -> Path:
    """Build "wheel" or "sdist" of a source tree into a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


def unpack_sdist(archive: Path, folder: Path) -> Path:
    """The source tree in a source distribution."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    return tree


def files_of_wheel(wheel: Path) -> dict[str, bytes]:
    """Contents of a wheel, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
