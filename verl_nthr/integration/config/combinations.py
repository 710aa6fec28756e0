"""Checks for estimators, options and settings that conflict, and for options without effect."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from verl_nthr.advantages import RULES
from verl_nthr.integration.config.estimators import BASES, ESTIMATORS
from verl_nthr.integration.config.nodes import changed_options
from verl_nthr.integration.config.options import ADVANTAGE_METRIC, ALL_CORRECT, ALL_WRONG, HOMOGENEOUS, REWARD_METRIC
from verl_nthr.integration.config.run import Caution, Findings, Problem, Run
from verl_nthr.integration.config.settings import ACTOR, ROLLOUT

NOTHING_LEFT = {("psr", "negative"), ("grpo_passk", "negative"), ("nsr", "positive")}
"""Pairs of a base of one sign and the weighting that removes advantages of that sign."""

USES: tuple[tuple[str, str, Callable[[Run], bool]], ...] = (
    (r"nthr\.(base|weighting|on_nonfinite)", "an estimator of this package", lambda run: run.estimator is not None),
    (
        r"nthr\.(beta|vocabulary|anchor_includes_self|feature_device|token_dump_dir)",
        "a weighting that scores tokens (nthr, random, thr)",
        lambda run: run.is_scored,
    ),
    (
        r"nthr\.reward_threshold",
        "a metric other than advantage",
        lambda run: run.options.nthr.metric != ADVANTAGE_METRIC,
    ),
    (r"nthr\.eta", "the weighting nthr or random", lambda run: run.weighting in ("nthr", "random")),
    (r"thr\.rho", "the weighting thr", lambda run: run.weighting == "thr"),
    ("loss_denominator", "psr, nsr or reinforce_rej", lambda run: run.base in ("psr", "nsr", "reinforce_rej")),
    (r"lld_monitor\.epsilon", "lld_monitor.freq above 0", lambda run: run.is_monitored),
    *(
        (rf"{base}\..*", f"the base advantage {base}", lambda run, base=base: run.base == base)
        for base in ("ngrpo", "w_reinforce", "s_grpo", "lens")
    ),
)
"""Options below ``algorithm`` (a pattern), what they need to have an effect, and a test whether a run has that."""


def check_unused_options(run: Run) -> Findings:
    """Warn of options that are set and have no effect."""
    for key, value in changed_options(run.options):
        for pattern, need, is_met in USES:
            if re.fullmatch(pattern, key) and not is_met(run):
                yield Caution(f"algorithm.{key}={value} has no effect here: it needs {need}; unset it")


def check_estimator(run: Run) -> Findings:
    """Compare the estimator with its options and with the reward."""
    name, nthr, base = str(run.config.algorithm.adv_estimator), run.options.nthr, run.base
    named = ESTIMATORS.get(name)
    if named is None:
        return
    if named.weighting is not None and nthr.weighting not in (None, named.weighting):
        yield Problem(
            f"algorithm.nthr.weighting={nthr.weighting}: adv_estimator={name} is named for its weighting; set it to "
            "null, or use an estimator that is named for its base, such as adv_estimator=ngrpo"
        )
    if named.weighting is None and nthr.base not in (None, named.base):
        yield Problem(
            f"algorithm.nthr.base={nthr.base}: adv_estimator={name} is named for its base; set it to null, or use an "
            "estimator that is named for its weighting, such as adv_estimator=nthr"
        )
    if (base, run.weighting) in NOTHING_LEFT:
        yield Problem(f"algorithm.nthr.weighting={run.weighting} removes all advantages of base={base}; unset one")
    if run.get("algorithm.use_kl_in_reward") and (base == "ngrpo" or run.estimator.is_binary):
        why = "compares rewards with algorithm.ngrpo.max_reward" if base == "ngrpo" else "looks at correctness alone"
        yield Problem(f"algorithm.use_kl_in_reward=True: {base} {why}; set it to False and {ACTOR}.use_kl_loss=True")


def check_metric(run: Run) -> Findings:
    """Look for what makes responses correct or wrong that are not."""
    metric, base = run.options.nthr.metric, run.base or str(run.config.algorithm.adv_estimator)
    is_binary = run.estimator is not None and run.estimator.is_binary
    uses_correctness = run.is_scored or run.is_monitored or is_binary
    asked, threshold = f"algorithm.nthr.metric={metric}", run.options.nthr.reward_threshold
    if metric == ADVANTAGE_METRIC and (base not in BASES or is_binary):
        why = "is computed from correctness" if is_binary else "takes more than the rewards of groups"
        yield Problem(f"{asked}: the base advantage {base} {why}; name an entry of the reward's extra info, or reward")
    if metric == ADVANTAGE_METRIC and run.is_filtered:
        yield Problem(
            f"{asked}: homogeneous groups have no advantages, so algorithm.filter_groups.drop="
            f"{run.options.filter_groups.drop} cannot tell them apart; set algorithm.filter_groups.drop={HOMOGENEOUS}"
        )
    if metric != REWARD_METRIC or not uses_correctness:
        return
    if run.get("reward.reward_kwargs.overlong_buffer_cfg.enable"):
        yield Caution(
            "reward.reward_kwargs.overlong_buffer_cfg.enable=True lowers rewards of long responses, and correct ones "
            f"below algorithm.nthr.reward_threshold={threshold} count as wrong; set algorithm.nthr.metric=acc, which "
            "the reward manager returns"
        )
    if run.get("reward.reward_model.enable") and not run.get("reward.custom_reward_function.path"):
        yield Caution(
            f"reward.reward_model.enable=True: algorithm.nthr.reward_threshold={threshold} tells little about the "
            "scores of a reward model; set algorithm.nthr.metric=advantage"
        )


def check_sampling(run: Run) -> Findings:
    """Warn of a setting that makes the responses to a prompt copies of each other."""
    if run.estimator is not None and run.estimator.compares_group and run.get(f"{ROLLOUT}.full_determinism"):
        yield Caution(
            f"{ROLLOUT}.full_determinism=True: verl 0.9 samples all responses to a prompt with one seed, so they are "
            "copies of each other and groups are never mixed; set it to False"
        )


def check_policy_loss(run: Run) -> Findings:
    """Compare the policy loss with the advantages and with the loss terms."""
    if run.is_scored and run.get(f"{ACTOR}.policy_loss.loss_mode") == "geo_mean":
        yield Problem(
            f"{ACTOR}.policy_loss.loss_mode=geo_mean: it averages the advantages of a response, which undoes token "
            "weights; use vanilla or gspo"
        )
    clip = [run.get(f"{ACTOR}.clip_ratio_{part}") for part in ("low", "high", "c")]
    is_asymmetric = all(isinstance(value, int | float) for value in clip) and clip[0] < clip[1] and clip[2] > 3
    if run.base == "ngrpo" and not is_asymmetric:
        yield Caution(
            f"{ACTOR}.clip_ratio_low={clip[0]}, clip_ratio_high={clip[1]}, clip_ratio_c={clip[2]}: NGRPO needs an "
            "asymmetric clip without dual clip; set them to 0.16, 0.24 and 1e9"
        )
    prompts, mini_batch = run.get("data.train_batch_size"), run.get(f"{ACTOR}.ppo_mini_batch_size")
    is_separate = run.get("trainer.v1.trainer_mode") == "separate_async"
    batches = run.get("trainer.v1.separate_async.parameter_sync_step") if is_separate else 1
    is_single = isinstance(prompts, int) and isinstance(mini_batch, int) and prompts < 2 * mini_batch
    if run.terms.llds_coef > 0 and is_single and run.get(f"{ACTOR}.ppo_epochs") == batches == 1:
        yield Caution(
            f"{ACTOR}.policy_loss.llds_coef={run.terms.llds_coef}: with one update per step LLDS sees only "
            f"rounding noise; set {ACTOR}.ppo_mini_batch_size below data.train_batch_size={prompts}"
        )


def check_filter(run: Run) -> Findings:
    """Compare ``drop`` with verl's settings of the group filter, and with the groups that the base learns from."""
    drop, node = run.options.filter_groups.drop, run.get("algorithm.filter_groups")
    verls = node if isinstance(node, Mapping) else {}
    asked, metric, is_enabled = f"algorithm.filter_groups.drop={drop}", run.options.nthr.metric, verls.get("enable")
    if run.is_filtered and not is_enabled:
        yield Caution(f"{asked} has no effect; set algorithm.filter_groups.enable=True")
    filters = f"algorithm.filter_groups.metric={verls.get('metric')}"
    differs = is_enabled and metric not in (verls.get("metric"), ADVANTAGE_METRIC)
    if differs and run.is_scored and not run.is_filtered:
        yield Caution(
            f"{filters} decides which groups are dropped, and algorithm.nthr.metric={metric} which are mixed; set both "
            "to the same"
        )
    if differs and run.is_filtered:
        yield Problem(
            f"{asked}: {filters} decides which groups are homogeneous, and "
            f"algorithm.nthr.metric={metric} which are all-correct; set both to the same"
        )
    sampler = run.get("trainer.v1.sampler.custom_sampler") or {}
    if run.is_filtered and sampler.get("path") and sampler.get("name"):
        yield Problem(
            f"{asked}: trainer.v1.sampler.custom_sampler.path={sampler.path} filters by its own rules; set it to null, "
            f"or algorithm.filter_groups.drop={HOMOGENEOUS}"
        )
    rule = RULES.get(run.base)
    if rule is not None and is_enabled:
        learns = {ALL_WRONG: rule.learns_from_all_wrong, ALL_CORRECT: rule.learns_from_all_correct}
        lost = [kind for kind in learns if learns[kind] and drop in (HOMOGENEOUS, kind)]
        other = [f"drop={kind}" for kind in learns if not learns[kind]] or ["enable=False"]
        if lost:
            yield Caution(
                f"{asked} drops groups that {run.base} learns from ({', '.join(lost)}); set "
                f"algorithm.filter_groups.{other[0]}"
            )
