"""A run of the probe: groups of responses, then update after update, then the report's files."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from verl_nthr.errors import InputError
from verl_nthr.extras import check_installed
from verl_nthr.files import write_whole
from verl_nthr.generation.loading import load_model, load_tokenizer, progress_bar
from verl_nthr.generation.prompts import Prompt, read_prompts
from verl_nthr.generation.records import Records
from verl_nthr.generation.sampler import Decoding, Sampler, choose_sampler, sample_in_chunks
from verl_nthr.generation.scoring import Reward
from verl_nthr.generation.transformers_sampler import TransformersSampler
from verl_nthr.generation.vllm_sampler import VLLMSampler
from verl_nthr.probe.experiment import Experiment
from verl_nthr.probe.figures import FIGURE_1, FIGURE_4, figure_png
from verl_nthr.probe.groups import Group, Result
from verl_nthr.probe.policy import Policy
from verl_nthr.probe.settings import Settings
from verl_nthr.probe.statistics import summarise
from verl_nthr.probe.stored import read_stored

PROMPTS_AT_A_TIME = 8


@dataclass(frozen=True)
class Sources:
    """The model and data to probe."""

    model: str
    """Path or name of a Hugging Face model."""

    data: str | None
    """Path of a verl parquet."""

    reward: str | None
    """``path.py[:name]``; None is verl's default."""

    stored: str | None
    """Path of stored rollouts; None samples."""


def run_probe(sources: Sources, settings: Settings, out: Path, console: Console) -> dict[str, Any]:
    """Run or continue a run, and write ``probe.json``, ``figure1.png`` and ``figure4.png`` into ``out``.

    Args:
        sources: model and data.
        settings: everything else.
        out: folder of the run; what a killed run left there is used.
        console: shows progress.

    Returns:
        The summary of :func:`verl_nthr.probe.statistics.summarise`.

    Raises:
        InputError: bad input, or ``out`` holds a run with other settings.
    """
    check_installed("matplotlib", "pyarrow", "scipy")
    tokenizer = load_tokenizer(sources.model)
    model = functools.cache(functools.partial(load_model, sources.model, settings.dtype))
    made_with = asdict(sources) | asdict(settings)
    with progress_bar(console) as progress:
        with ExitStack() as stack:
            groups = _groups(sources, settings, tokenizer, model, stack, out, made_with)
            mixed = (each for each in groups if each.is_mixed(settings.reward_threshold) and all(each.responses))
            chosen = list(progress.track(islice(mixed, settings.groups), settings.groups, description="mixed groups"))
        if not chosen:
            raise InputError(
                "no mixed group: the responses to every prompt are all correct or all wrong "
                f"(reward threshold {settings.reward_threshold}); use other data, another model or more responses"
            )
        records = Records(out / "results.jsonl", Result, made_with)
        done = records.entries[: len(chosen)]
        if [each.name for each in done] != [each.name for each in chosen[: len(done)]]:
            raise InputError(f"{out / 'results.jsonl'} belongs to other rollouts; pass another --out")
        experiment = Experiment(Policy(model(), settings.temperature, settings.tokens_per_forward), settings)
        task = progress.add_task("updates", total=len(chosen), completed=len(done))
        for number in range(len(done), len(chosen)):
            records.append(experiment.measure(chosen[number], number))
            progress.advance(task)
    results = records.entries[: len(chosen)]
    summary = summarise(results)
    document = {
        "sources": asdict(sources),
        "settings": asdict(settings),
        "summary": summary,
        "results": [each.model_dump() for each in results],
    }
    write_whole(out / "figure1.png", figure_png(results, FIGURE_1))
    write_whole(out / "figure4.png", figure_png(results, FIGURE_4))
    write_whole(out / "probe.json", json.dumps(document, indent=1, allow_nan=False).encode())
    return summary


def _groups(
    sources: Sources,
    settings: Settings,
    tokenizer: PreTrainedTokenizerBase,
    model: Callable[[], PreTrainedModel],
    stack: ExitStack,
    out: Path,
    made_with: dict[str, Any],
) -> Iterable[Group]:
    """Stored or sampled groups; all input is checked before the first file is written."""
    prompts = None if sources.data is None else read_prompts(Path(sources.data))
    if sources.stored is not None:
        return read_stored(Path(sources.stored), tokenizer, prompts, settings.max_response_tokens)
    if prompts is None:
        raise InputError("DATA is missing: a parquet file in verl's format, or pass --from with a token dump")
    reward, kind = Reward(sources.reward), choose_sampler(settings.sampler)

    @functools.cache
    def sampler() -> Sampler:
        if kind == "vllm":
            return stack.enter_context(VLLMSampler(sources.model, settings.dtype))
        return TransformersSampler(model(), tokenizer)

    return _sampled(prompts, tokenizer, sampler, reward, settings, Records(out / "groups.jsonl", Group, made_with))


def _sampled(
    prompts: list[Prompt],
    tokenizer: PreTrainedTokenizerBase,
    sampler: Callable[[], Sampler],
    reward: Reward,
    settings: Settings,
    records: Records[Group],
) -> Iterator[Group]:
    """The groups of ``records``, then new ones, which are stored before the next prompts are sampled."""
    yield from list(records.entries)
    decoding = Decoding(settings.responses, settings.temperature, settings.max_response_tokens)
    seed, done = settings.seed * 1_000_003, len(records.entries)
    for chunk in sample_in_chunks(prompts, tokenizer, sampler, decoding, seed, PROMPTS_AT_A_TIME, done):
        for each in chunk:
            texts = tokenizer.batch_decode(each.responses, skip_special_tokens=True)
            rewards = [reward(each.prompt, text) for text in texts]
            records.append(
                Group(name=str(each.prompt.index), prompt=each.prompt_ids, responses=each.responses, rewards=rewards)
            )
            yield records.entries[-1]
