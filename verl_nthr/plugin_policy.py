"""Which plugins verl loads, by an environment variable of its own."""

from __future__ import annotations

PLUGINS_ENV_VAR = "VERL_USE_EXTERNAL_PLUGINS"
"""The variable; unset, it is ``auto``."""


def lets_load(policy: str, plugin: str) -> bool:
    """Whether a value of :data:`PLUGINS_ENV_VAR` lets verl load a plugin; read as verl 0.9 does."""
    names = [name.strip() for name in policy.lower().split(",")]
    return names == ["auto"] or plugin in names
