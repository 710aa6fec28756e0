"""Weights get over gloo from two trainer processes to two of the rollout, and nobody waits without a limit."""

import pytest

from .interpreter import output_of

ENGINES = """
import asyncio, os, threading, torch, verl
from verl.checkpoint_engine import CheckpointEngineRegistry
cls = CheckpointEngineRegistry.get("gloo")
trainers = [CheckpointEngineRegistry.new("gloo", bucket_size=1, is_master=master) for master in (True, False)]
rollouts = [CheckpointEngineRegistry.new("gloo", bucket_size=1) for _ in range(2)]
engines = trainers + rollouts

def everywhere(calls):
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()

def join():
    arguments = cls.build_topology(2, 2, [engine.prepare() for engine in engines])
    rows = [dict(zip(kwargs, values)) for kwargs in arguments for values in zip(*kwargs.values())]
    everywhere([lambda e=e, row=row: e.init_process_group(**row) for e, row in zip(engines, rows, strict=True)])
"""

TRANSFERS = (
    ENGINES
    + """
async def receive(engine):
    return [(name, weight.clone()) async for name, weight in engine.receive_weights(global_steps=1)]

for update in range(2):
    sent = [("a", torch.full((2, 3), update + 0.5)), ("half", torch.arange(7).to(torch.bfloat16)),
            ("turned", torch.arange(6.0).reshape(2, 3).T), ("scalar", torch.tensor(update)),
            ("large", torch.rand(300_000))]
    gathered, received = [], [None, None]
    def export():
        for pair in sent:
            gathered.append(pair[0])
            yield pair
    def take(i):
        received[i] = asyncio.run(receive(rollouts[i]))
    join()
    everywhere([lambda e=e: asyncio.run(e.send_weights(export(), global_steps=1)) for e in trainers]
               + [lambda i=i: take(i) for i in range(2)])
    for engine in engines:
        engine.finalize()
    print(sorted(gathered) == sorted(2 * [name for name, _ in sent]),
          all(n == m and x.dtype == y.dtype and torch.equal(x, y)
              for got in received for (n, x), (m, y) in zip(sent, got, strict=True)))

os.environ["VERL_CPU_TIMEOUT_SECONDS"] = "3"
join()
try:
    asyncio.run(anext(rollouts[0].receive_weights()))
except TimeoutError as error:
    print("TimeoutError", error)
"""
)


@pytest.mark.slow
def test_weights_arrive_in_every_update_and_a_trainer_that_sends_nothing_is_an_error() -> None:
    *updates, last = output_of(TRANSFERS, cpu=True).splitlines()[-3:]
    assert updates == ["True True"] * 2
    assert last == "TimeoutError no weights came from the trainer within 3 s (limit: VERL_CPU_TIMEOUT_SECONDS)"
