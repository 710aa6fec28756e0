"""An evaluation: responses and rewards of each model to each benchmark, then the report's files."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from transformers import PreTrainedTokenizerBase

from verl_nthr.errors import InputError
from verl_nthr.evaluation.benchmarks import Benchmark
from verl_nthr.evaluation.figures import accuracy_png, pass_at_k_png
from verl_nthr.evaluation.models import Model, check_lengths
from verl_nthr.evaluation.report import grids
from verl_nthr.evaluation.settings import Settings
from verl_nthr.evaluation.summary import Group, summarise
from verl_nthr.files import write_whole
from verl_nthr.generation.loading import load_model, load_tokenizer, progress_bar
from verl_nthr.generation.records import Records
from verl_nthr.generation.sampler import Sampler, choose_sampler, sample_in_chunks
from verl_nthr.generation.scoring import Reward
from verl_nthr.generation.transformers_sampler import TransformersSampler
from verl_nthr.generation.vllm_sampler import VLLMSampler
from verl_nthr.tables import markdown
from verl_nthr.text import label

SCHEMA = 2
RESPONSES_AT_A_TIME = {"vllm": 512, "transformers": 64}
"""A kill loses at most so many; more would not make the sampler faster."""


@dataclass(frozen=True)
class Part:
    """The responses of one model to one benchmark, greedy or sampled."""

    benchmark: Benchmark
    """The prompts."""

    kind: str
    """``greedy`` or ``sampled``."""

    records: Records[Group]
    """Those that exist."""

    @property
    def missing(self) -> int:
        """Prompts without responses."""
        return len(self.benchmark.prompts) - len(self.records.entries)


def evaluate(
    models: list[Model],
    benchmarks: list[Benchmark],
    reward: Reward,
    settings: Settings,
    out: Path,
    console: Console,
) -> dict[str, Any]:
    """Run or continue an evaluation; all input is checked before the first model is loaded.

    Writes ``evaluation.json``, ``evaluation.md``, with samples ``pass_at_k.png``, and ``accuracy.png`` if there are
    several steps of a model.

    Args:
        models: at least one.
        benchmarks: at least one.
        reward: scores the responses.
        settings: how.
        out: folder of the run; what it holds of the same models, benchmarks and settings is not done again.
        console: shows progress.

    Returns:
        The content of ``evaluation.json``, described in ``docs/evaluation.md``.

    Raises:
        InputError: bad input, or ``out`` holds responses that were made in another way.
    """
    settings.ks()
    sampler = choose_sampler(settings.sampler)
    _check_reward(reward, benchmarks)
    parts = {model.label: _parts(model, benchmarks, reward, settings, sampler, out) for model in models}
    incomplete = [model for model in models if any(part.missing for part in parts[model.label])]
    tokenizers = {model.label: load_tokenizer(model.path) for model in incomplete}
    for model in incomplete:
        check_lengths(model, tokenizers[model.label], benchmarks, settings.max_response_tokens)
    with progress_bar(console) as progress:
        for model in incomplete:
            _complete(model, tokenizers[model.label], parts[model.label], reward, settings, sampler, progress)
    document = {
        "schema": SCHEMA,
        "settings": asdict(settings) | {"sampler": sampler},
        "reward": reward.source,
        "benchmarks": [
            {
                "name": each.name,
                "title": each.title,
                "path": str(each.path),
                "sha256": each.sha256,
                "prompts": len(each.prompts),
            }
            for each in benchmarks
        ],
        "models": [asdict(model) | summarise(_groups(parts[model.label]), settings) for model in models],
    }
    files = {
        "accuracy.png": accuracy_png(document),
        "pass_at_k.png": pass_at_k_png(document),
        "evaluation.md": markdown(grids(document)).encode(),
        "evaluation.json": json.dumps(document, indent=1, allow_nan=False).encode(),
    }
    for name, content in files.items():
        if content is None:
            (out / name).unlink(missing_ok=True)
        else:
            write_whole(out / name, content)
    return document


def _check_reward(reward: Reward, benchmarks: list[Benchmark]) -> None:
    """Score an empty response to the first prompt of each benchmark."""
    for benchmark in benchmarks:
        try:
            reward(benchmark.prompts[0], "")
        except InputError as error:
            raise InputError(f"--data: {benchmark.path}: {error}") from error


def _parts(
    model: Model, benchmarks: list[Benchmark], reward: Reward, settings: Settings, sampler: str, out: Path
) -> list[Part]:
    parts = []
    for benchmark in benchmarks:
        for kind in settings.decodings():
            made_with = {
                "model": model.path,
                "weights": model.weights(),
                "data_sha256": benchmark.sha256,
                "reward": reward.source,
                "reward_sha256": reward.sha256,
                "max_response_tokens": settings.max_response_tokens,
                "dtype": settings.dtype,
                "sampler": sampler,
            }
            if kind == "sampled":
                made_with |= {
                    "samples": settings.samples,
                    "temperature": settings.temperature,
                    "seed": settings.seed,
                }
            records = Records(out / model.label / f"{benchmark.name}.{kind}.jsonl", Group, made_with)
            parts.append(Part(benchmark, kind, records))
    return parts


def _complete(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    parts: list[Part],
    reward: Reward,
    settings: Settings,
    sampler: str,
    progress: Progress,
) -> None:
    """Fill what is missing, with one engine for all benchmarks."""
    with ExitStack() as stack:
        engine = functools.cache(lambda: _engine(model, tokenizer, settings, sampler, stack))
        for part in parts:
            total = len(part.benchmark.prompts)
            task = progress.add_task(
                label(f"{model.label}, {part.benchmark.title}, {part.kind}", 200),
                total=total,
                completed=total - part.missing,
            )
            for group in _new_groups(part, tokenizer, engine, reward, settings, RESPONSES_AT_A_TIME[sampler]):
                part.records.append(group)
                progress.advance(task)


def _new_groups(
    part: Part,
    tokenizer: PreTrainedTokenizerBase,
    engine: Callable[[], Sampler],
    reward: Reward,
    settings: Settings,
    at_a_time: int,
) -> Iterator[Group]:
    decoding = settings.decodings()[part.kind]
    seed = random.Random(f"{settings.seed} {part.benchmark.name}").getrandbits(32)
    chunk = max(1, at_a_time // decoding.responses)
    done = len(part.records.entries)
    for sampled in sample_in_chunks(part.benchmark.prompts, tokenizer, engine, decoding, seed, chunk, done):
        texts = [
            [tokenizer.decode(response, skip_special_tokens=True) for response in group.responses] for group in sampled
        ]
        rewards = reward.score([group.prompt for group in sampled], texts)
        for group, text, scores in zip(sampled, texts, rewards, strict=True):
            yield Group(responses=text, tokens=[*map(len, group.responses)], rewards=scores)


def _engine(
    model: Model, tokenizer: PreTrainedTokenizerBase, settings: Settings, sampler: str, stack: ExitStack
) -> Sampler:
    if sampler == "vllm":
        return stack.enter_context(VLLMSampler(model.path, settings.dtype))
    return TransformersSampler(load_model(model.path, settings.dtype).eval(), tokenizer)


def _groups(parts: list[Part]) -> dict[str, dict[str, list[Group]]]:
    groups: dict[str, dict[str, list[Group]]] = {}
    for part in parts:
        groups.setdefault(part.benchmark.name, {})[part.kind] = part.records.entries
    return groups
