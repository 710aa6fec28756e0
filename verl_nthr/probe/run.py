"""A run of the probe: rollouts, then prompt after prompt, then the report's files."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from verl_nthr.errors import InputError
from verl_nthr.extras import check_installed
from verl_nthr.files import write_whole
from verl_nthr.generation.loading import load_model, load_tokenizer
from verl_nthr.generation.progress import progress_bar
from verl_nthr.generation.prompts import read_prompts
from verl_nthr.generation.sampler import choose_sampler
from verl_nthr.generation.scoring import load_reward
from verl_nthr.generation.transformers_sampler import TransformersSampler
from verl_nthr.generation.vllm_sampler import VLLMSampler
from verl_nthr.json_lines import append_line, check_record, parse_line, recover_lines
from verl_nthr.probe.experiment import Experiment
from verl_nthr.probe.figures import FIGURE_1, FIGURE_4, figure_png
from verl_nthr.probe.policy import Policy
from verl_nthr.probe.rollouts import Rollout
from verl_nthr.probe.sampling import sample_rollouts
from verl_nthr.probe.settings import Settings
from verl_nthr.probe.stored import read_stored
from verl_nthr.probe.summary import Result, summarise
from verl_nthr.text import quoted


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
        sources: what is probed.
        settings: how.
        out: folder of the run; what a killed run left there is used.
        console: shows progress.

    Returns:
        The summary of :func:`verl_nthr.probe.summary.summarise`.

    Raises:
        InputError: bad input, or ``out`` holds a run with other settings.
    """
    check_installed("matplotlib", "pyarrow", "scipy")
    tokenizer = load_tokenizer(sources.model)
    model = functools.cache(functools.partial(load_model, sources.model, settings.dtype))
    with ExitStack() as stack, progress_bar(console) as progress:
        rollouts = _rollouts(sources, settings, out, tokenizer, model, stack)
        task = progress.add_task("mixed groups", total=settings.groups)
        mixed = _mixed(rollouts, settings, lambda: progress.advance(task))
        stack.close()
        if not mixed:
            raise InputError(
                "no mixed group: the responses to every prompt are all correct or all wrong "
                f"(reward threshold {settings.reward_threshold}); use other data, another model or more responses"
            )
        progress.update(task, total=len(mixed))
        policy = Policy(model(), settings.temperature, settings.tokens_per_forward)
        results = _measure(mixed, policy, settings, out, progress)
    summary = summarise(results)
    document = {"sources": asdict(sources), "settings": asdict(settings), "summary": summary, "results": results}
    write_whole(out / "figure1.png", figure_png(results, FIGURE_1))
    write_whole(out / "figure4.png", figure_png(results, FIGURE_4))
    write_whole(out / "probe.json", json.dumps(document, indent=1, allow_nan=False).encode())
    return summary


def _rollouts(
    sources: Sources,
    settings: Settings,
    out: Path,
    tokenizer: PreTrainedTokenizerBase,
    model: Callable[[], PreTrainedModel],
    stack: ExitStack,
) -> Iterable[Rollout]:
    """All input is checked before the folder of the run is made."""
    prompts = None if sources.data is None else read_prompts(Path(sources.data))
    if sources.stored is not None:
        stored = read_stored(Path(sources.stored), tokenizer, prompts, settings.max_response_tokens)
        _claim(out, sources, settings)
        return stored
    if prompts is None:
        raise InputError("DATA is missing: a parquet file in verl's format, or pass --from with a token dump")
    reward = load_reward(sources.reward)
    kind = choose_sampler(settings.sampler)

    @functools.cache
    def sampler() -> TransformersSampler | VLLMSampler:
        if kind == "vllm":
            return stack.enter_context(VLLMSampler(sources.model, settings.dtype))
        return TransformersSampler(model(), tokenizer)

    _claim(out, sources, settings)
    return sample_rollouts(prompts, tokenizer, sampler, reward, settings, out / "rollouts.jsonl")


def _mixed(rollouts: Iterable[Rollout], settings: Settings, found: Callable[[], None]) -> list[Rollout]:
    mixed: list[Rollout] = []
    for rollout in rollouts:
        if rollout.is_mixed(settings.reward_threshold) and all(rollout.responses):
            mixed.append(rollout)
            found()
            if len(mixed) == settings.groups:
                break
    return mixed


def _measure(
    mixed: list[Rollout], policy: Policy, settings: Settings, out: Path, progress: Progress
) -> list[dict[str, Any]]:
    """Results of all prompts; those in ``results.jsonl`` are not measured again."""
    path = out / "results.jsonl"
    results = recover_lines(path)[: len(mixed)]
    for number, (result, rollout) in enumerate(zip(results, mixed, strict=False), start=1):
        found = check_record(Result, result, f"{path}:{number}", "the file is damaged, pass another --out")
        if found.name != rollout.name:
            raise InputError(f"{path} belongs to other rollouts; pass another --out")
    experiment = Experiment(policy, settings)
    task = progress.add_task("updates", total=len(mixed), completed=len(results))
    for number in range(len(results), len(mixed)):
        result = experiment.measure(mixed[number], number)
        append_line(path, result)
        results.append(result)
        progress.advance(task)
    return results


def _claim(out: Path, sources: Sources, settings: Settings) -> None:
    """Make the folder, or check that what it holds was made from the same sources and settings."""
    path = out / "run.json"
    run = {"sources": asdict(sources), "settings": asdict(settings)}
    if (out / "results.jsonl").exists() or (out / "rollouts.jsonl").exists():
        theirs = parse_line(path.read_bytes(), str(path)) if path.is_file() else {}
        differ = [
            f"{name}={quoted(of_part.get(name))}"
            for part, values in run.items()
            for name, value in values.items()
            if (of_part := theirs.get(part) if isinstance(theirs.get(part), dict) else {}).get(name) != value
        ]
        if differ:
            raise InputError(f"{out} holds a run with {', '.join(differ)}; pass another --out, or remove it")
        return
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(run, indent=1).encode())
