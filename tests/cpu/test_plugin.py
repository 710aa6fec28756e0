"""The platform loads by VERL_PLATFORM=cpu alone, and is inert without it."""

import json

from .interpreter import output_of

CHANGED = """
import importlib.metadata, json, multiprocessing.shared_memory, os, sys
import torch.distributed, torch.distributed.fsdp
before = (torch.distributed.init_process_group, torch.distributed.fsdp.CPUOffloadPolicy.__init__,
          importlib.metadata.version, multiprocessing.shared_memory.SharedMemory.__init__, dict(os.environ),
          list(sys.meta_path))
import verl_nthr.cpu.plugin as plugin
after = (torch.distributed.init_process_group, torch.distributed.fsdp.CPUOffloadPolicy.__init__,
         importlib.metadata.version, multiprocessing.shared_memory.SharedMemory.__init__, dict(os.environ),
         list(sys.meta_path))
print(json.dumps({"changed": [x != y for x, y in zip(before, after)], "status": plugin.status(),
                  "loaded": sorted(name for name in sys.modules if name.startswith("verl_nthr.cpu."))}))
"""


def test_without_the_variable_the_plugin_changes_nothing() -> None:
    for environment in ({}, {"VERL_PLATFORM": "nvidia"}):
        answer = json.loads(output_of(CHANGED, cpu=False, environment=environment))
        loaded = {f"verl_nthr.cpu.{name}" for name in ("plugin", "environment", "overrides")}
        assert answer == {"changed": [False] * 6, "status": {}, "loaded": sorted(loaded)}


def test_verl_alone_loads_the_platform_and_every_patch_is_in_place() -> None:
    code = """
import json, os, verl
from verl.plugin.platform import platform_manager
from verl.utils.device import get_device_id, get_device_name, get_torch_device, is_support_ipc
import verl_nthr.cpu.plugin as plugin
import torch
print(json.dumps({"name": get_device_name(), "index": f"{get_device_name()}:{get_device_id()}",
                  "device": str(torch.ones(1).to(get_device_id()).device), "ipc": is_support_ipc(),
                  "memory": get_torch_device().memory_allocated() > 2**20, "status": plugin.status(),
                  "detected": (os.environ.pop("VERL_PLATFORM"), platform_manager._detect_platform_name())}))
"""
    answer = json.loads(output_of(code, cpu=True, timeout=400).splitlines()[-1])
    status, detected = answer.pop("status"), answer.pop("detected")
    assert answer == {"name": "cpu", "index": "cpu:0", "device": "cpu", "ipc": False, "memory": True}
    assert detected == ["cpu", "nvidia"], "nobody trains on the CPU by accident"
    assert len(status) >= 15
    assert [name for name, in_place in status.items() if not in_place] == []


def test_variables_that_are_set_are_kept() -> None:
    code = "import os, verl_nthr.cpu.plugin; print(os.environ['TQ_NUM_THREADS'], os.environ['VLLM_CPU_KVCACHE_SPACE'])"
    assert output_of(code, cpu=True, environment={"TQ_NUM_THREADS": "77"}) == "77 1"
