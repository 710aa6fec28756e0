"""Reading of options from a node of the configuration into a dataclass."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar

from verl_nthr.text import label, quoted, shortened

RENAMED = {
    "algorithm.nthr.filter_groups": "algorithm.filter_groups.drop",
    "algorithm.nthr.monitor_freq": "algorithm.lld_monitor.freq",
    "algorithm.nthr.monitor_epsilon": "algorithm.lld_monitor.epsilon",
    "algorithm.nthr.denominator": "algorithm.loss_denominator=kept_tokens|all_tokens",
    "algorithm.nthr.thr": "algorithm.thr",
    "algorithm.nthr.ngrpo": "algorithm.ngrpo",
    "algorithm.nthr.w_reinforce": "algorithm.w_reinforce",
    "algorithm.nthr.s_grpo": "algorithm.s_grpo",
    "algorithm.nthr.lens": "algorithm.lens",
    "verl_nthr.integration.igrpo.IGRPO": "verl_nthr.integration.igrpo.agent_loop.IGRPO",
}
"""New name by earlier name."""

Options = TypeVar("Options")


class NTHRConfigError(ValueError):
    """A configuration cannot work; the message names the key, the value and the fix."""


def read_options(cls: type[Options], node: Any, path: str) -> Options:
    """Read a node of the configuration into a dataclass.

    Args:
        cls: a dataclass; a field whose default factory is a dataclass is a node of its own.
        node: a mapping, or None for the defaults.
        path: the node's key, for messages.

    Raises:
        NTHRConfigError: an unknown option or a bad value.
    """
    if node is None:
        return cls()
    fields = {known.name: known for known in dataclasses.fields(cls)}
    if not isinstance(node, Mapping):
        name, default = next((name, known.default) for name, known in fields.items() if known.default is not None)
        raise NTHRConfigError(f"{path}={quoted(node)}: give options, such as {path}.{name}={default}")
    values = {}
    for name, value in node.items():
        if name not in fields:
            raise NTHRConfigError(unknown_option(path, str(name), value, list(fields)))
        kind = fields[name].default_factory
        values[name] = read_options(kind, value, f"{path}.{name}") if is_dataclass(kind) else value
    try:
        return cls(**values)
    except ValueError as error:
        raise NTHRConfigError(shortened(f"{path}.{error}", 1000)) from None


def unknown_option(path: str, name: str, value: object, known: list[str]) -> str:
    """Write the message about an option that does not exist, with its new name or the nearest one that does."""
    close = difflib.get_close_matches(name, known, n=1)
    if f"{path}.{name}" in RENAMED:
        hint = f"it is {RENAMED[f'{path}.{name}']} now"
    elif close:
        hint = f"did you mean {path}.{close[0]}?"
    else:
        hint = f"the options are {', '.join(known)}"
    return f"{path}.{label(name)}={quoted(value)}: there is no such option; {hint}"


def changed_options(options: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield key and value of every field that differs from its default, nested ones by their dotted path."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if is_dataclass(value):
            yield from changed_options(value, f"{path}{field.name}.")
        elif value != field.default:
            yield f"{path}{field.name}", value
