"""Writes the pages of docs/reference that are read off the code; ``--check`` says whether they are there already."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from verl_nthr.advantages import RULES
from verl_nthr.cli.main import make_parser
from verl_nthr.integration.config.estimators import BASES, ESTIMATORS
from verl_nthr.integration.config.loss_options import NORMALIZERS, POLICY_LOSS, LossTerms
from verl_nthr.integration.config.options import CHOICES, AlgorithmOptions
from verl_nthr.integration.igrpo.options import DraftOptions
from verl_nthr.weighting import WEIGHTINGS

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
NOTICE = "<!-- written by scripts/write_reference.py -->"


def field_docstrings(kind: type) -> dict[str, str]:
    """The docstring under every field of a dataclass, in one line each."""
    (node,) = ast.parse(inspect.cleandoc(inspect.getsource(kind))).body
    assert isinstance(node, ast.ClassDef)
    found = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = one_line(str(below.value.value))
    return found


def one_line(docstring: str) -> str:
    """A docstring's first paragraph as a cell of a Markdown table."""
    paragraph = inspect.cleandoc(docstring).split("\n\n")[0]
    return " ".join(paragraph.split()).replace("``", "`").replace("|", "\\|")


def table(*rows: tuple[str, ...]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *body))


def option_rows(kind: type, choices: dict[str, tuple[str | None, ...]], path: str = "") -> Iterator[tuple[str, ...]]:
    """Key, default, values and meaning of every option; those of nested options by their path."""
    texts = field_docstrings(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.default_factory):
            yield from option_rows(field.default_factory, choices, f"{path}{field.name}.")
            continue
        values = ", ".join("null" if value is None else f"`{value}`" for value in choices.get(field.name, ()))
        default = "null" if field.default is None else f"`{field.default!r}`".replace("'", "")
        yield f"`{path}{field.name}`", default, values, texts[field.name]


def options_page() -> str:
    """Every key that a run can set."""
    head = ("key", "default", "values", "meaning")
    return f"""# Options

On verl's own configuration these keys take a `+`, such as `+algorithm.nthr.beta=0`.
With the packaged one (`--config-path=pkg://verl_nthr.config --config-name=nthr_trainer`) they take none.
An unknown key or a value outside its range is refused before Ray starts.

## Below `algorithm`

{table(head, *option_rows(AlgorithmOptions, CHOICES))}

## Below `{POLICY_LOSS}`

They need `{POLICY_LOSS}._target_=verl_nthr.integration.policy_loss.PolicyLossConfig`; with every estimator.

{table(head, *option_rows(LossTerms, {"llds_normalizer": NORMALIZERS}))}

## Beside `_target_` of iGRPO's agent loop

In the file that `actor_rollout_ref.rollout.agent.agent_loop_config_path` names.

{table(head, *option_rows(DraftOptions, {}))}
"""


def estimators_page() -> str:
    """Every name of ``algorithm.adv_estimator``, base advantage and token weighting."""
    rows = [("`adv_estimator`", "base", "weighting", "reads hidden states", "compares the group")]
    rows += [
        (
            f"`{name}`",
            f"`{each.base}`",
            f"`{each.weighting}`" if each.weighting else "",
            "yes" if each.is_scored else "",
            "yes" if each.compares_group else "",
        )
        for name, each in ESTIMATORS.items()
    ]
    rules = [("`base`", "rule", "on correctness alone", "learns from all-wrong groups", "from all-correct groups")]
    for name, rule in RULES.items():
        flags = (rule.binary, rule.learns_from_all_wrong, rule.learns_from_all_correct)
        rules.append((f"`{name}`", one_line(rule.__doc__ or ""), *("yes" if flag else "" for flag in flags)))
    weightings = [("`weighting`", "rule", "reads hidden states")]
    for name, kind in WEIGHTINGS.items():
        weightings.append((f"`{name}`", one_line(kind.__doc__ or ""), "yes" if kind.is_scored else ""))
    others = ", ".join(f"`{base}`" for base in BASES if base not in RULES)
    return f"""# Estimators

A name of `algorithm.adv_estimator` is a base advantage of a response and a weighting of its tokens.
`algorithm.nthr.base` and `algorithm.nthr.weighting` set the half that a name leaves open.
Where each comes from: [the family](../family.md).

{table(*rows)}

## Base advantages

Beside these rules, `algorithm.nthr.base` takes {others}: verl's own.

{table(*rules)}

## Token weightings

{table(*weightings)}
"""


def command_line_page() -> str:
    """The help of the command and of every subcommand."""
    with mock.patch.dict(os.environ, {"COLUMNS": "100"}):
        parser = make_parser()
        (commands,) = (action.choices for action in parser._actions if isinstance(action.choices, dict))
        sections = [f"# Command line\n\n```text\n{parser.format_help()}```"]
        for name, command in commands.items():
            sections.append(f"## verl-nthr {name}\n\n```text\n{command.format_help()}```")
    return "\n\n".join(sections) + "\n"


PAGES = {
    "options.md": options_page,
    "estimators.md": estimators_page,
    "command-line.md": command_line_page,
}


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page is out of date")
    args = parser.parse_args()
    stale = []
    for name, page in PAGES.items():
        path, text = FOLDER / name, f"{NOTICE}\n{page()}"
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not args.check:
            path.write_text(text, encoding="utf-8")
    if args.check and stale:
        print(f"{', '.join(stale)}: not what the code says; run `python scripts/write_reference.py`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
