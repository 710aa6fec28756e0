"""Contents of the wheel and of the source distribution."""

from __future__ import annotations

import configparser
import email
import re
from pathlib import Path

import pytest

from tests.packaging.building import ROOT, build, files_of_wheel, unpack_sdist
from verl_nthr.supported import RANGES
from verl_nthr.version import __version__

INFO = f"verl_nthr-{__version__}.dist-info"
NOT_PACKED = {"__pycache__", ".pytest_cache", ".ruff_cache"}


def files_below(folder: Path, root: Path) -> set[str]:
    paths = (path for path in folder.rglob("*") if path.is_file() and not NOT_PACKED & set(path.parts))
    return {path.relative_to(root).as_posix() for path in paths}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    return unpack_sdist(build("sdist", ROOT, folder), folder / "tree")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return files_of_wheel(build("wheel", ROOT, tmp_path_factory.mktemp("wheel")))


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(wheel: dict[str, bytes]) -> None:
    packed = {name for name in wheel if not name.startswith(INFO)}
    assert packed == files_below(ROOT / "verl_nthr", ROOT)
    assert {"verl_nthr/py.typed", "verl_nthr/config/nthr_trainer.yaml", "verl_nthr/config/igrpo.yaml"} <= packed
    assert {Path(name).suffix for name in packed if name.startswith("verl_nthr/heatmap/")} >= {".js", ".css", ".j2"}


def test_the_wheel_says_what_it_is(wheel: dict[str, bytes]) -> None:
    metadata = email.message_from_string(wheel[f"{INFO}/METADATA"].decode())
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == (
        *("verl-nthr", __version__),
        "Apache-2.0",
    )
    assert wheel[f"{INFO}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    needed = {re.split(r"[<>=!]", text)[0] for text in metadata.get_all("Requires-Dist") if "extra ==" not in text}
    assert needed == {"torch", "verl", "wrapt", "packaging", "psutil", "rich"}
    assert needed >= {"torch", "verl"} == RANGES.keys() & needed


def test_the_wheel_has_its_entry_points(wheel: dict[str, bytes]) -> None:
    entries = configparser.ConfigParser()
    entries.read_string(wheel[f"{INFO}/entry_points.txt"].decode())
    assert dict(entries["console_scripts"]) == {"verl-nthr": "verl_nthr.cli.main:main"}
    assert dict(entries["verl.plugins"]) == {
        "nthr": "verl_nthr.integration.plugin",
        "nthr_cpu_platform": "verl_nthr.cpu.plugin",
    }
    for module in entries["verl.plugins"].values():
        assert f"{module.replace('.', '/')}.py" in wheel


def test_the_source_distribution_holds_what_tests_and_pages_need(source: Path) -> None:
    packed = files_below(source, source)
    for folder in ("verl_nthr", "tests", "scripts", "recipes", "requirements", "docs"):
        assert files_below(ROOT / folder, ROOT) <= packed, folder
    files = {"pyproject.toml", "mkdocs.yml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"}
    assert files <= packed
    assert {name.split("/")[0] for name in packed} == {
        *("verl_nthr", "tests", "scripts", "recipes", "requirements", "docs", ".gitignore", "PKG-INFO"),
        *files,
    }


def test_the_source_distribution_builds_the_same_wheel(source: Path, wheel: dict[str, bytes], tmp_path: Path) -> None:
    assert files_of_wheel(build("wheel", source, tmp_path)) == wheel
