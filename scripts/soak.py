"""Many steps of capture, scoring and weighting in one worker: does anything grow?

Each step passes a new random batch of the demo's shape through verl's own FSDP2 engine around the demo's model, scores
and weights it as the trainer does, and now and then writes the token dump.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from rich.console import Console
from scipy import stats

from benchmarks import report
from benchmarks.engine import Shape, build_engine, one_process
from benchmarks.step import NTHRStep, make_batch
from verl_nthr.arguments import positive_int
from verl_nthr.demo import settings
from verl_nthr.demo.toy_model import make_model, make_tokenizer

TOLERATED = {"rss": 8192.0, "seconds": 0.0} | dict.fromkeys(
    ("tensors", "hooks", "open_files", "threads", "temporary_files"), 0.05
)
"""By measure, growth per step that counts as none; of memory, 80 MB in 10,000 steps."""

FEWEST_STEPS = 3
"""A slope with its standard error needs this many."""

MMAP_THRESHOLD = -3
"""glibc's M_MMAP_THRESHOLD: larger blocks return to the system when they are freed, so that RSS is what is held."""


def main() -> int:
    """Run the soak; 0 if nothing grew, 1 if memory or a count did, or with the reason on standard error."""
    parser = report.make_parser(__doc__)
    parser.add_argument("--steps", type=positive_int, default=500, metavar="N", help="(%(default)s)")
    parser.add_argument("--dump-every", type=positive_int, default=10, metavar="N", help="steps (%(default)s)")
    args = parser.parse_args()
    grew: list[str] = []

    def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
        warm_up = args.steps // 5
        if args.steps - warm_up < FEWEST_STEPS:
            raise report.BenchmarkError(f"--steps {args.steps}: a trend needs at least {FEWEST_STEPS + 1}")
        states = run_steps(args.steps, args.dump_every, args.device)
        trends = {name: trend([state[name] for state in states[warm_up:]], limit) for name, limit in TOLERATED.items()}
        print_trends(trends, warm_up, console)
        # other jobs of the machine show in the seconds, which are therefore reported only
        grew.extend(name for name, found in trends.items() if found["grows"] and name != "seconds")
        return {"warm_up": warm_up, "grew": grew, "trends": trends, "states": states}

    return report.run(measure, args) or int(bool(grew))


def run_steps(steps: int, dump_every: int, device: str) -> list[dict[str, float]]:
    """The measures of :data:`TOLERATED` after every step."""
    ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 65536)
    states = []
    with tempfile.TemporaryDirectory() as folder, one_process(device):
        temporary, dumps = Path(folder) / "temporary", Path(folder) / "dumps"
        temporary.mkdir()
        dumps.mkdir()
        tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
        tokenizer = make_tokenizer()
        engine = build_engine(demo_shape(tokenizer), device, "float32")
        longest = settings.MAX_PROMPT_TOKENS + settings.MAX_RESPONSE_TOKENS
        step = NTHRStep(engine, settings.ROWS_PER_MICRO_BATCH * longest, tokenizer)
        gc.freeze()  # what exists before the first step is not searched after every step
        for number in range(1, steps + 1):
            start = time.perf_counter()
            batch = make_batch(
                settings.PROMPTS_PER_STEP,
                settings.RESPONSES_PER_PROMPT,
                settings.MAX_RESPONSE_TOKENS,
                settings.MAX_PROMPT_TOKENS,
                len(tokenizer),
                seed=number,
            )
            step.run(batch, number, None if number % dump_every else dumps)
            states.append({"seconds": time.perf_counter() - start} | state_of(engine.module, temporary))
        tempfile.tempdir = None
    return states


def demo_shape(tokenizer: Any) -> Shape:
    """Sizes of the demo's model."""
    config = make_model(tokenizer, seed=0).config
    return Shape(
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.num_key_value_heads,
        tied=config.tie_word_embeddings,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
    )


def state_of(model: torch.nn.Module, temporary: Path) -> dict[str, float]:
    """Memory and counts of this process after its garbage is collected."""
    gc.collect()
    process = psutil.Process()
    return {
        "rss": process.memory_info().rss,
        "tensors": sum(issubclass(type(held), torch.Tensor) for held in gc.get_objects()),
        "hooks": sum(
            len(value) for module in model.modules() for name, value in vars(module).items() if name.endswith("_hooks")
        ),
        "open_files": process.num_fds(),
        "threads": process.num_threads(),
        "temporary_files": sum(path.is_file() for path in temporary.rglob("*")),
    }


def trend(values: list[float], tolerated: float) -> dict[str, Any]:
    """A least-squares line through the values of successive steps.

    They grow if the slope exceeds both what is ``tolerated`` and twice its standard error.
    """
    fit = stats.linregress(np.arange(len(values)), values)
    slope, error = float(fit.slope), float(np.nan_to_num(fit.stderr))  # nan where all values are equal
    return {
        "first": values[0],
        "last": values[-1],
        "slope": slope,
        "error": error,
        "grows": slope > max(tolerated, 2 * error),
    }


def print_trends(trends: dict[str, dict[str, Any]], warm_up: int, console: Console) -> None:
    """One row per measure."""
    rows = [
        [
            name,
            f"{found['first']:.6g}",
            f"{found['last']:.6g}",
            f"{found['slope']:+.3g} ± {found['error']:.2g}",
            "grows" if found["grows"] else "flat",
        ]
        for name, found in trends.items()
    ]
    title = f"after {warm_up} steps of warm-up (rss in bytes)"
    report.print_table(title, ["", "first", "last", "slope per step", ""], rows, console)


if __name__ == "__main__":
    sys.exit(main())
