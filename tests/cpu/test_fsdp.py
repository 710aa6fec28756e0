"""FSDP and verl's engines on the CPU."""

import textwrap

import pytest

from tests.toy import make_toy

from .interpreter import output_of, run_python

RANK = """
import os, sys, torch
import torch.distributed as dist, torch.multiprocessing as mp

def rank(index, folder):
    import verl
    from verl_nthr.cpu.platform import CPUDeviceId
    from torch.distributed.fsdp import CPUOffload, FullyShardedDataParallel as FSDP
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=index, world_size=2)
    torch.manual_seed(index)
    plain = torch.nn.Linear(3, 2)
    expected = [plain.weight.detach().clone(), plain.bias.detach().clone()]
    for tensor in expected:
        dist.broadcast(tensor, 0)
    for offload in (None, CPUOffload(offload_params=True)):
        torch.manual_seed(index)
        model = FSDP(torch.nn.Linear(3, 2), device_id=CPUDeviceId("cpu"), sync_module_states=True, cpu_offload=offload)
        out = model(torch.eye(3))
        torch.testing.assert_close(out, expected[0].T + expected[1])
    open(f"{folder}/rank{index}", "w").close()
    dist.destroy_process_group()

if __name__ == "__main__":
    mp.spawn(rank, (sys.argv[1],), nprocs=2)
"""


@pytest.mark.slow
def test_fsdp1_synchronises_two_ranks_on_the_cpu(tmp_path) -> None:
    script = tmp_path / "ranks.py"
    script.write_text(textwrap.dedent(RANK))
    code = f"import runpy, sys; sys.argv = ['ranks.py', {str(tmp_path)!r}]; sys.path.insert(0, {str(tmp_path)!r})\n"
    result = run_python(code + f"runpy.run_path({str(script)!r}, run_name='__main__')", cpu=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "rank0").exists()
    assert (tmp_path / "rank1").exists()


ENGINES = """
import sys, torch, verl
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard
from transformers import AutoConfig
from verl.utils import fsdp_utils
from verl.utils.model import load_valuehead_model
from verl.workers.engine import EngineRegistry

print(CPUOffloadPolicy(pin_memory=True).pin_memory, CPUOffloadPolicy().pin_memory)

dist.init_process_group("gloo", init_method="file://{folder}/store", rank=0, world_size=1)
model = fully_shard(torch.nn.Linear(3, 2), mesh=init_device_mesh("cpu", (1,)))
states = []
for _ in range(2):
    states.append((fsdp_utils.fsdp2_sharded_save_to_cpu(model), [p.full_tensor().clone() for p in model.parameters()]))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
for saved, expected in states:
    fsdp_utils.fsdp2_sharded_load_from_cpu(model, *saved)
    print(all(torch.equal(p.full_tensor(), e) for p, e in zip(model.parameters(), expected, strict=True)))
dist.destroy_process_group()

for model in ("language_model", "value_model"):
    for backend in ("fsdp", "fsdp2"):
        print(EngineRegistry.get_engine_cls(model, backend).__name__)

config = AutoConfig.from_pretrained({model!r}, attn_implementation="flash_attention_2")
config.num_labels = 1
model = load_valuehead_model({model!r}, torch.float32, config, False)
print(model.config._attn_implementation, tuple(model(torch.tensor([[5, 6, 7]])).logits.shape))
"""


@pytest.mark.slow
def test_what_verl_takes_from_an_accelerator(tmp_path) -> None:
    """Offloading pins no memory, saved weights are copies, engines are found, value heads need no flash attention."""
    code = ENGINES.format(folder=tmp_path, model=str(make_toy(tmp_path).model))
    pinned, *copies = (lines := output_of(code, cpu=True).splitlines()[-8:])[:3]
    assert pinned == "False False"
    assert copies == ["True", "True"]
    assert lines[3:7] == ["FSDPEngineWithLMHead"] * 2 + ["FSDPEngineWithValueHead"] * 2
    assert lines[7] == "sdpa (1, 3, 1)"
