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
if {receiver}:
    thread = threading.Thread(target=receive)
    thread.start()
try:
    asyncio.run(BucketedWeightSender(handle, bucket_size_mb=2, use_shm=True).async_send_weights(iter(sent.items())))
except TimeoutError as error:
    print("TimeoutError", error)
else:
    thread.join()
    print(sorted(received) == sorted(sent) and all(torch.equal(received[name], sent[name]) for name in sent))
"""


def test_weights_arrive(tmp_path: Path) -> None:
    assert output_of(TRANSFER.format(folder=tmp_path, receiver=True), cpu=True).splitlines()[-1] == "True"


def test_an_engine_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    start = time.monotonic()
    code = TRANSFER.format(folder=tmp_path, receiver=False)
    last = output_of(code, cpu=True, environment={"VERL_CPU_TIMEOUT_SECONDS": "2"}).splitlines()[-1]
    assert last.startswith("TimeoutError the vLLM engine did not acknowledge a bucket of weights within 2 s")
    assert time.monotonic() - start < 100
