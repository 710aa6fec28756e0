"""What a script would call, with variables, braces and loops filled in by a shell; none of it is carried out."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("bash", "python", "verl-nthr", "sbatch")
SHELLS_OWN = {"PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "CALLS", "_"}
SEPARATOR = "--call--"

STAND_IN = f"""#!/bin/bash
{{ /usr/bin/env -0; printf '%s\\0' {SEPARATOR} "${{0##*/}}" "$@"; echo; }} >>"$CALLS"
"""


@dataclass(frozen=True)
class Call:
    """A command that a script would run."""

    program: str
    """Name without its folder."""
    arguments: tuple[str, ...]
    """As the program would get them."""
    knobs: dict[str, str]
    """Variables that the script sets for it."""


def calls(script: str, folder: Path) -> list[Call]:
    """Run a script in an empty folder with stand-ins for :data:`PROGRAMS`, on the path and in ``.venv/bin``.

    Raises:
        AssertionError: the script fails, as when it calls anything else.
    """
    programs, log = folder / ".venv" / "bin", folder / "calls"
    programs.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        (programs / name).write_text(STAND_IN, encoding="utf-8")
        (programs / name).chmod(0o755)
    log.write_text("", encoding="utf-8")
    done = subprocess.run(
        ["/bin/bash", "-euc", script],
        cwd=folder,
        env={"PATH": str(programs), "HOME": "/home/somebody", "CALLS": str(log)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{script}\n{done.stderr}"
    return [_call(line.split("\0")[:-1]) for line in log.read_text(encoding="utf-8").splitlines()]


def _call(words: list[str]) -> Call:
    start = words.index(SEPARATOR)
    variables = dict(word.split("=", 1) for word in words[:start])
    program, *arguments = words[start + 1 :]
    return Call(program, tuple(arguments), {name: variables[name] for name in variables.keys() - SHELLS_OWN})
