"""Generated input for the package's ways in: what each takes, and which errors it may answer with."""

from __future__ import annotations

from fuzzing import data_rows, dumps, influence, mappings, recipes, records, rules
from fuzzing.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (influence, rules, mappings, recipes, dumps, records, data_rows)
    for target in module.TARGETS
}
"""By name."""
