"""Inspects what verl has loaded in this process: the command itself, or a Ray actor."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from dataclasses import dataclass, field

from verl_nthr.plugin_policy import PLUGINS_ENV_VAR, lets_load

PLUGINS = {"nthr": "verl_nthr.integration.plugin", "nthr_cpu_platform": "verl_nthr.cpu.plugin"}
"""Entry points of this package in verl's group, and their modules."""

GROUP = "verl.plugins"
PLATFORM = "VERL_PLATFORM"
LOAD_ERRORS = (ImportError, AttributeError, OSError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Inspection:
    """State of one process."""

    import_error: str | None = None
    """Error of ``import verl``; None if it works."""

    loaded: dict[str, bool] = field(default_factory=dict)
    """By plugin: True if verl has loaded it."""

    errors: dict[str, str] = field(default_factory=dict)
    """By plugin: error of loading it, or a module that it changes."""

    status: dict[str, bool] = field(default_factory=dict)
    """By what the loaded plugins register and override: True if it is in place."""

    platform: str | None = None
    """Device name of verl's platform."""

    devices: int | None = None
    """Number of the platform's devices."""


def installed_plugins() -> dict[str, bool]:
    """Tell for each entry point of :data:`PLUGINS` whether it is installed with the right module."""
    found = {entry.name: entry.value for entry in importlib.metadata.entry_points(group=GROUP)}
    return {name: found.get(name) == module for name, module in PLUGINS.items()}


def allowed_plugins() -> dict[str, bool]:
    """Tell for each plugin whether the environment variable :data:`PLUGINS_ENV_VAR` lets verl load it."""
    policy = os.environ.get(PLUGINS_ENV_VAR, "auto")
    return {name: lets_load(policy, name) for name in PLUGINS}


def cpu_chosen() -> bool:
    """Tell whether the CPU platform is asked for."""
    return os.environ.get(PLATFORM, "").strip().lower() == "cpu"


def inspect_process() -> Inspection:
    """Import verl and look at what that has loaded; nothing is loaded that verl does not load itself."""
    if importlib.util.find_spec("verl") is None:
        return Inspection(import_error="verl is not installed")
    try:
        importlib.import_module("verl")
        manager = importlib.import_module("verl.plugin.platform.platform_manager")
        platform = manager.get_platform()
        name, devices = platform.device_name, platform.device_count()
    except LOAD_ERRORS as error:
        return Inspection(import_error=f"{type(error).__name__}: {error}")
    loaded = {plugin: module in sys.modules for plugin, module in PLUGINS.items()}
    errors: dict[str, str] = {}
    status: dict[str, bool] = {}
    for plugin, module in PLUGINS.items():
        try:
            if loaded[plugin]:
                status |= importlib.import_module(module).status()
            elif allowed_plugins()[plugin]:
                importlib.import_module(module)
        except LOAD_ERRORS as error:
            errors[plugin] = f"{type(error).__name__}: {error}"
    return Inspection(None, loaded, errors, status, name, devices)
