"""What ``verl-nthr doctor`` says of the installed versions."""

from __future__ import annotations

import pytest

from verl_nthr.cli.checks import _version_checks


@pytest.mark.parametrize(
    ("package", "version", "ok", "found", "remedy"),
    [
        ("verl", "0.9.1", True, "0.9.1 (supported: >=0.9,<0.10)", None),
        ("verl", "0.10.0", False, "0.10.0 (supported: >=0.9,<0.10)", 'pip install "verl>=0.9,<0.10"'),
        ("verl", None, False, "not installed (supported: >=0.9,<0.10)", 'pip install "verl>=0.9,<0.10"'),
        ("torch", "2.13.0+cpu", None, "2.13.0+cpu (supported: >=2.6,<3)", None),
        ("vllm", None, None, "not installed (supported: >=0.18,<0.28)", None),
        (
            "megatron-core",
            "0.17.0",
            None,
            "0.17.0 (supported: >=0.16,<0.17)",
            "was not tried with megatron-core 0.17.0",
        ),
        ("ray", "1.0", None, "1.0", None),
    ],
)
def test_each_version_is_shown_with_its_range(
    package: str, version: str | None, ok: bool | None, found: str, remedy: str | None
) -> None:
    (check,) = _version_checks({package: version})
    assert (check.name, check.ok, check.found) == (f"{package} version", ok, found)
    if remedy is None:
        assert ok or check.remedy is None
    else:
        assert check.remedy is not None
        assert remedy in check.remedy
