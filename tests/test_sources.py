"""The sources run nothing that comes with data or models: no pickle, no eval, no code of a model's folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [file for folder in ("verl_nthr", "scripts") for file in sorted((ROOT / folder).rglob("*.py"))]
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"),
    *("torch.load", "torch.hub.load", "np.load", "numpy.load", "pd.read_pickle", "pandas.read_pickle"),
}
MODULES = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
LOADERS = {"AutoConfig", "AutoTokenizer", "AutoModel", "AutoModelForCausalLM", "AutoProcessor"}
OWN_MODELS = {"verl_nthr/probe/toy.py", "verl_nthr/comparison/trainer.py"}
"""They load the toy that they have made a moment before."""

REWARD = "verl_nthr/generation/scoring.py"
"""Runs the reward function that ``--reward`` names, which is a person's own."""


def calls(tree: ast.AST) -> Iterator[tuple[str, dict[str, str]]]:
    """Every call's function and keywords."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {each.arg or "**": ast.unparse(each.value) for each in node.keywords}


def complaints(source: str, name: str) -> list[str]:
    """What a source must not do."""
    tree, found = ast.parse(source), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            found += [f"import {module}" for module in modules if module.split(".")[0] in MODULES]
    for function, keywords in calls(tree):
        if function in FORBIDDEN:
            found.append(function)
        if keywords.get("shell") == "True" or keywords.get("allow_pickle") == "True":
            found.append(f"{function}(shell or allow_pickle)")
        if keywords.get("trust_remote_code", "False") != "False":
            found.append(f"{function}(trust_remote_code)")
        owner, _, method = function.rpartition(".")
        unsaid = method == "from_pretrained" and owner in LOADERS and "trust_remote_code" not in keywords
        if unsaid and name not in OWN_MODELS:
            found.append(f"{function} without trust_remote_code=False")
        if method == "exec_module" and name != REWARD:
            found.append(function)
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_foreign_is_run(file: Path) -> None:
    assert complaints(file.read_text(encoding="utf-8"), str(file.relative_to(ROOT))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "np.load(path)",
        "yaml.load(text)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "AutoTokenizer.from_pretrained(path)",
        "AutoModelForCausalLM.from_pretrained(path, trust_remote_code=True)",
        "LLM(model=path, trust_remote_code=trusted)",
        "spec.loader.exec_module(module)",
    ],
)
def test_what_is_looked_for_is_found(source: str) -> None:
    assert len(complaints(source, "x.py")) == 1
