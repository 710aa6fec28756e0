"""Process groups on gloo."""

import time

import pytest

from verl_nthr.cpu.environment import TIMEOUT_VARIABLE, PlatformError, timeout

from .interpreter import output_of, run_python

INIT = """
import torch, torch.distributed as dist
{load}
dist.init_process_group("cpu:gloo,cpu:gloo", init_method="file://{file}", rank=0, world_size={world})
value = torch.ones(1)
dist.all_reduce(value)
print(value.item(), dist.get_backend())
"""


def test_a_duplicate_backend_works_with_the_platform_only(tmp_path) -> None:
    code = INIT.format(load="import verl_nthr.cpu.plugin", file=tmp_path / "a", world=1)
    assert output_of(code, cpu=True).splitlines()[-1].startswith("1.0")
    refused = run_python(INIT.format(load="", file=tmp_path / "b", world=1), cpu=False)
    assert refused.returncode != 0
    assert "uplicate" in refused.stderr


def test_a_rank_that_never_comes_is_an_error(tmp_path) -> None:
    start = time.monotonic()
    code = INIT.format(load="import verl_nthr.cpu.plugin", file=tmp_path / "c", world=2)
    result = run_python(code, cpu=True, environment={"VERL_CPU_TIMEOUT_SECONDS": "2"}, timeout=60)
    assert result.returncode != 0
    assert time.monotonic() - start < 40


def test_wrong_limits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("0", "-1", "soon", "inf", "nan", ""):
        monkeypatch.setenv(TIMEOUT_VARIABLE, value)
        with pytest.raises(PlatformError, match=f"{TIMEOUT_VARIABLE}='{value}'"):
            timeout()
