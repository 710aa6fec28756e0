"""Weight transfer through shared memory: it arrives, and nobody waits for ever."""

import time
from pathlib import Path

from .interpreter import output_of

TRANSFER = """
import asyncio, threading, torch, verl
from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver, BucketedWeightSender
handle = "ipc://{folder}/socket"
sent = {{"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(300_000), "c": torch.tensor([7], dtype=torch.int64)}}
received = {{}}
def receive():
    receiver = BucketedWeightReceiver(handle, torch.device("cpu"), use_shm=True)
    receiver.receive_weights(lambda bucket, last: received.update((name, value.clone()) for name, value in bucket))
{before}
if {receiver}:
    thread = threading.Thread(target=receive)
    thread.start()
try:
    asyncio.run(BucketedWeightSender(handle, bucket_size_mb=2, use_shm=True).async_send_weights(iter(sent.items())))
except (TimeoutError, ConnectionError) as error:
    print(type(error).__name__, error)
else:
    thread.join()
    print(sorted(received) == sorted(sent) and all(torch.equal(received[name], sent[name]) for name in sent))
"""

CALL = """
import ray
from verl_nthr.cpu.weights import around_execute_method
class Adapter:
    zmq_handle = handle
async def call(*args, **kwargs):
    return "call"
asyncio.run(around_execute_method(call, Adapter(), ("update_weights_from_ipc",), {{}}))
def get(ended):
    if ended:
        raise ConnectionError("the engine is dead")
def wait(calls, timeout):
    return (calls, []) if {fails} else ([], calls)
ray.wait, ray.get = wait, get
"""


def transfer(folder: Path, *, receiver: bool, before: str = "", limit: str = "1800") -> str:
    """The last line that a transfer prints."""
    code = TRANSFER.format(folder=folder, receiver=receiver, before=before)
    return output_of(code, cpu=True, environment={"VERL_CPU_TIMEOUT_SECONDS": limit}).splitlines()[-1]


def test_weights_arrive_while_the_call_that_receives_them_is_watched(tmp_path: Path) -> None:
    assert transfer(tmp_path, receiver=True, before=CALL.format(fails=False)) == "True"


def test_an_engine_whose_call_has_failed_is_not_waited_for(tmp_path: Path) -> None:
    start = time.monotonic()
    assert transfer(tmp_path, receiver=False, before=CALL.format(fails=True)) == "ConnectionError the engine is dead"
    assert time.monotonic() - start < 100


def test_an_engine_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    start = time.monotonic()
    last = transfer(tmp_path, receiver=False, limit="2")
    assert last.startswith("TimeoutError the vLLM engine did not acknowledge a bucket of weights within 2 s")
    assert time.monotonic() - start < 100
