"""Weight transfer through shared memory: it arrives, and nobody waits without a limit."""

from pathlib import Path

import pytest

from .interpreter import output_of

TRANSFERS = """
import asyncio, os, ray, threading, torch, verl
from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver, BucketedWeightSender
from verl_nthr.cpu.weights import around_execute_method
handle = "ipc://{folder}/socket"
sent = {{"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(300_000), "c": torch.tensor([7], dtype=torch.int64)}}
received = {{}}

def receive():
    receiver = BucketedWeightReceiver(handle, torch.device("cpu"), use_shm=True)
    receiver.receive_weights(lambda bucket, last: received.update((name, value.clone()) for name, value in bucket))

def send():
    try:
        asyncio.run(BucketedWeightSender(handle, bucket_size_mb=2, use_shm=True).async_send_weights(iter(sent.items())))
    except (TimeoutError, ConnectionError) as error:
        print(type(error).__name__, error)

class Adapter:
    zmq_handle = handle

async def call(*args, **kwargs):
    return "call"

def get(ended):
    if ended:
        raise ConnectionError("the engine is dead")

def watch(fails):
    asyncio.run(around_execute_method(call, Adapter(), ("update_weights_from_ipc",), {{}}))
    ray.wait, ray.get = lambda calls, timeout: (calls, []) if fails else ([], calls), get

watch(fails=False)
thread = threading.Thread(target=receive)
thread.start()
send()
thread.join()
print(sorted(received) == sorted(sent) and all(torch.equal(received[name], sent[name]) for name in sent))
watch(fails=True)
send()
os.environ["VERL_CPU_TIMEOUT_SECONDS"] = "2"
send()
watch(fails=False)
send()
"""


@pytest.mark.slow
def test_weights_arrive_and_an_engine_that_failed_or_does_not_answer_is_an_error(tmp_path: Path) -> None:
    arrived, failed, *silent = output_of(TRANSFERS.format(folder=tmp_path), cpu=True).splitlines()[-4:]
    assert (arrived, failed) == ("True", "ConnectionError the engine is dead")
    for line in silent:
        assert line.startswith("TimeoutError the vLLM engine did not acknowledge a bucket of weights within 2 s")
