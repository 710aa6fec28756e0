"""verl's environment variable that decides which plugins it loads."""

from __future__ import annotations

PLUGINS_ENV_VAR = "VERL_USE_EXTERNAL_PLUGINS"
"""The variable; unset, it is ``auto``."""


def lets_load(policy: str, plugin: str) -> bool:
    """Tell whether a value of :data:`PLUGINS_ENV_VAR` lets verl 0.9 load a plugin."""
    names = [name.strip() for name in policy.lower().split(",")]
    return names == ["auto"] or plugin in names
