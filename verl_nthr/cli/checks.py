"""The checks of ``verl-nthr doctor``."""

from __future__ import annotations

import os
from dataclasses import dataclass

from verl_nthr.cli.ray_inspection import inspect_ray_actor
from verl_nthr.inspection import (
    PLATFORM,
    PLUGINS,
    Inspection,
    allowed_plugins,
    cpu_chosen,
    inspect_process,
    installed_plugins,
)
from verl_nthr.plugin_policy import PLUGINS_ENV_VAR
from verl_nthr.supported import RANGES, is_supported, requirement, versions

INSTALL_VERL = f'pip install "{requirement("verl")}"'
REINSTALL = "pip install --force-reinstall --no-deps verl-nthr, into the environment that runs verl"
HERE, ACTOR = "this process", "Ray actor"


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    """Thing that was looked at."""

    where: str
    """:data:`HERE`, :data:`ACTOR`, or empty for what concerns the environment."""

    ok: bool | None
    """None if it is only for information."""

    found: str
    """Its state."""

    remedy: str | None = None
    """Fix, if it is not ok."""


@dataclass(frozen=True)
class Report:
    """Findings of the doctor."""

    versions: dict[str, str | None]
    """None where a package is not installed."""

    here: Inspection
    """This process."""

    ray_actor: Inspection | None
    """A process that Ray has started; None if verl cannot be imported here."""

    checks: list[Check]
    """In the order of the report."""

    @property
    def ok(self) -> bool:
        """True if nothing is missing."""
        return all(check.ok is not False for check in self.checks)


def examine(ray_seconds: float) -> Report:
    """Look at this process and at a Ray actor, for which ``ray_seconds`` are allowed."""
    found = versions()
    here = inspect_process()
    actor = inspect_ray_actor(ray_seconds) if here.import_error is None else None
    checks = _checks_here(found, here)
    if actor is not None:
        checks += _process_checks(ACTOR, actor)
    return Report(found, here, actor, [*checks, _platform_check(here)])


def problems_here() -> list[str]:
    """List what is missing in this process, with the remedy."""
    failed = [check for check in _checks_here(versions(), inspect_process()) if check.ok is False]
    return [f"{check.name}: {check.found}; {check.remedy}" for check in failed]


def _checks_here(found: dict[str, str | None], here: Inspection) -> list[Check]:
    return [*_version_checks(found), *_plugin_checks(), *_process_checks(HERE, here)]


def _version_checks(found: dict[str, str | None]) -> list[Check]:
    return [_version_check(name, version) for name, version in found.items()]


def _version_check(package: str, version: str | None) -> Check:
    supported = version is not None and is_supported(package, version)
    described = version or "not installed"
    if package in RANGES:
        described = f"{described} (supported: {RANGES[package]})"
    if package == "verl":
        return Check("verl version", "", supported, described, INSTALL_VERL)
    if version is None or supported:
        return Check(f"{package} version", "", None, described)
    remedy = f"verl-nthr was not tried with {package} {version}; docs/compatibility.md has the reason for its range"
    return Check(f"{package} version", "", None, described, remedy)


def _plugin_checks() -> list[Check]:
    checks = []
    allowed = allowed_plugins()
    for name, installed in installed_plugins().items():
        needed = name == "nthr" or cpu_chosen()
        checks.append(
            Check(f"entry point {name}", "", installed, "installed" if installed else "not installed", REINSTALL)
        )
        if not allowed[name]:
            value = os.environ[PLUGINS_ENV_VAR]
            checks.append(
                Check(
                    f"{PLUGINS_ENV_VAR} for {name}",
                    "",
                    False if needed else None,
                    f"{value!r} does not let verl load it",
                    f"unset {PLUGINS_ENV_VAR}, or set it to {','.join(PLUGINS)}",
                )
            )
    return checks


def _process_checks(where: str, found: Inspection) -> list[Check]:
    if found.import_error is not None:
        remedy = INSTALL_VERL if where == HERE else "make `import verl` work in a Ray worker; see what it printed"
        return [Check("import verl", where, False, found.import_error, remedy)]
    checks = [Check("import verl", where, True, "works")]
    for name, loaded in found.loaded.items():
        needed = name == "nthr" or cpu_chosen()
        error = found.errors.get(name)
        state = error or ("loaded" if loaded else "not loaded by verl")
        ok = loaded and error is None
        verdict = ok if ok or needed or error else None
        checks.append(Check(f"plugin {name}", where, verdict, state, _load_remedy(error)))
    remedy = f"this verl is not the one that verl-nthr was made for: {INSTALL_VERL}"
    checks += [
        Check(name, where, in_place, "in place" if in_place else "missing", remedy)
        for name, in_place in found.status.items()
    ]
    return checks


def _load_remedy(error: str | None) -> str:
    if error is None:
        return f"unset {PLUGINS_ENV_VAR}, and install verl-nthr into the environment that runs verl"
    return f"verl hides this error of a plugin: {error}"


def _platform_check(here: Inspection) -> Check:
    chosen = os.environ.get(PLATFORM) or "not set"
    found = f"{here.platform or 'unknown'}, devices: {here.devices}; {PLATFORM} {chosen}"
    note = None if here.devices else f"no device found: {PLATFORM}=cpu trains without a GPU"
    return Check("platform", "", None, found, note)
